"""Labels decide, never positions: what would be matched by position, lost or mixed up is refused by name."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable
from typing import Any

import linopy
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from linopy.expressions import LinearExpression

import drofcm as dro
from drofcm.core.errors import ModelError

SITES = ["a", "b", "c"]
PRICES = [40.0, 35.0, 30.0]


def data(**coords: Any) -> xr.Dataset:
    return xr.Dataset(
        {
            "price": ("site", PRICES),
            "zone": ("site", ["north", "south", "north"]),
            "demand": ("scenario", [1.0, 1.0]),
        },
        coords={"site": SITES, "scenario": [0, 1], "region": ["north", "south"]} | coords,
    )


def program(cost: Callable[..., Any], given: xr.Dataset | None = None) -> dro.TwoStageProgram:
    def first(m: dro.Stage, data: xr.Dataset) -> Any:
        return cost(m, data, m.binary("open", over="site"))

    def recourse(m: dro.Stage, data: xr.Dataset) -> Any:
        bought = m.nonnegative("bought")
        m.subject_to("met", m["open"].sum() + bought >= data.demand)
        return 100 * bought

    return dro.TwoStageProgram(data() if given is None else given, first, recourse)


def solved(cost: Callable[..., Any], given: xr.Dataset | None = None) -> dro.Result:
    return program(cost, given).solve(method="extensive")


def refused(cost: Callable[..., Any], *words: str) -> None:
    with pytest.raises(ModelError) as caught:
        program(cost).blocks()
    for word in words:
        assert word in str(caught.value), str(caught.value)


def then(m: dro.Stage, row: Any, x: Any) -> Any:
    m.subject_to("row", row)
    return x.sum()


UNNAMED = pd.Series([35.0, 40.0, 30.0], index=list("cba"))
NAMED = pd.Series(PRICES, index=pd.Index(SITES, name="site"))
VALUES = np.array(PRICES)
NO_LABELS = xr.DataArray(PRICES, dims="site")

BY_POSITION: dict[str, Callable[..., Any]] = {
    "series * variable": lambda m, d, x: (UNNAMED * x).sum(),
    "variable * series": lambda m, d, x: (x * UNNAMED).sum(),
    "array * variable": lambda m, d, x: (VALUES * x).sum(),
    "list * variable": lambda m, d, x: (PRICES * x).sum(),
    "tuple * variable": lambda m, d, x: (tuple(PRICES) * x).sum(),
    "expression * array": lambda m, d, x: (2 * x * VALUES).sum(),
    "expression + array": lambda m, d, x: (2 * x + VALUES).sum(),
    "expression - series": lambda m, d, x: (2 * x - UNNAMED).sum(),
    "variable / series": lambda m, d, x: (x / UNNAMED).sum(),
    "variable @ array": lambda m, d, x: x @ VALUES,
    "variable.dot": lambda m, d, x: x.dot(UNNAMED),
    "variable.mul": lambda m, d, x: x.mul(UNNAMED).sum(),
    "to_linexpr": lambda m, d, x: x.to_linexpr(VALUES).sum(),
    "unlabelled DataArray * variable": lambda m, d, x: (NO_LABELS * x).sum(),
    "unlabelled DataArray * expression": lambda m, d, x: (NO_LABELS * (2 * x)).sum(),
    "right-hand side": lambda m, d, x: then(m, x <= UNNAMED, x),
    "left-hand side": lambda m, d, x: then(m, VALUES <= x, x),  # noqa: SIM300
    "equality with a list": lambda m, d, x: then(m, x == [1, 0, 0], x),
    "upper bound": lambda m, d, x: m.nonnegative("y", over="site", upper=UNNAMED).sum(),
    "where": lambda m, d, x: m.nonnegative("y", over="site", where=np.array([True, False, True])).sum(),
    "variable.where": lambda m, d, x: x.where(np.array([True, False, True])).sum(),
    "groups": lambda m, d, x: x.groupby(pd.Series(["n", "s", "n"])).sum().sum(),
    "term": lambda m, d, x: m.record("t", UNNAMED),
    "cost": lambda m, d, x: UNNAMED,
    "linexpr of the model": lambda m, d, x: m.model.linexpr((UNNAMED, x)).sum(),
    "from_tuples": lambda m, d, x: linopy.LinearExpression.from_tuples((1, x), VALUES, model=m.model).sum(),
    "constant expression": lambda m, d, x: (linopy.LinearExpression(UNNAMED, m.model) + x).sum(),
    "from_constant": lambda m, d, x: (LinearExpression.from_constant(m.model, VALUES) + x).sum(),
    "row of the model": lambda m, d, x: m.model.add_constraints(1 * x, "<=", VALUES, name="r"),
    "mask of the model": lambda m, d, x: m.model.add_constraints(x <= 1, mask=np.array([True] * 3), name="r"),
    "bound of the model": lambda m, d, x: m.model.add_variables(0, VALUES, coords=[d.indexes["site"]], name="y"),
}


@pytest.mark.parametrize("how", BY_POSITION)
def test_what_would_be_matched_by_position_is_refused(how: str) -> None:
    refused(BY_POSITION[how], "by position")


MEANT: dict[str, Callable[..., Any]] = {
    "named series": lambda m, d, x: (NAMED * x).sum(),
    "named series as a bound": lambda m, d, x: then(m, m.nonnegative("y", "site", upper=NAMED) >= 0, d.price * x),
    "groups of labels": lambda m, d, x: (d.price * x).groupby(d.zone).sum().sum(),
    "selections together": lambda m, d, x: then(m, x.sel(site="a") + x.sel(site="b") <= 1, d.price * x),
    "merged": lambda m, d, x: linopy.merge([d.price * x, 0 * x]).sum(),
    "bounds of a binary": lambda m, d, x: (d.price * m.binary("y", "site", upper=d.price > 0) + d.price * x).sum(),
    "object numbers": lambda m, d, x: (d.price.astype(object) * x).sum(),
}


@pytest.mark.parametrize("how", MEANT)
def test_what_carries_its_labels_opens_the_cheapest_site(how: str) -> None:
    result = solved(MEANT[how])
    assert result.objective == pytest.approx(30)
    assert result.first_stage.open.sel(site="c") == 1


MISTAKES: dict[str, tuple[Callable[..., Any], tuple[str, ...]]] = {
    "NaN": (lambda m, d, x: (d.price.where(d.site != "b") * x).sum(), ("'price'", "'open'", "NaN at site=b")),
    "NaN at the right": (lambda m, d, x: then(m, x <= d.price.where(d.site != "b"), x), ("'price'", "site=b")),
    "other labels": (
        lambda m, d, x: (d.price.isel(site=[0, 1]) * x).sum(),
        ("'site' do not match", "'c' missing", "'price'", "'open'"),
    ),
    "other order": (lambda m, d, x: (NAMED[::-1] * x).sum(), ("'site' do not match", "in another order")),
    "misspelt dimension": (lambda m, d, x: (NAMED.rename_axis("sites") * x).sum(), ("'sites'", "did you mean 'site'")),
    "two variables": (lambda m, d, x: (x.sel(site=["a"]) + x).sum(), ("'site' do not match", "'open'")),
    "merge": (lambda m, d, x: linopy.merge([1 * x, 2 * x.sel(site=["a"])]).sum(), ("'site' do not match",)),
    "join": (lambda m, d, x: x.add(NAMED, join="override").sum(), ("join='override'", "select or reindex")),
    "strictly less": (lambda m, d, x: then(m, x < 1, x), ("line", "use <= or >=")),
    "linopy's words": (lambda m, d, x: m.add_variables(name="y"), ("m.variable(name, over=",)),
    "linopy's keywords": (lambda m, d, x: m.variable("y", coords=[1]), ("over=",)),
    "times": (lambda m, d, x: (d.price.astype("m8[s]") * x).sum(), ("no numbers", "timedelta64")),
    "text": (lambda m, d, x: (d.zone * x).sum(), ("'zone'", "no numbers")),
    "infinite cost": (
        lambda m, d, x: (d.price.where(d.site != "b", np.inf) * x).sum(),
        ("cost of the first stage", "'open' at site='b' is inf"),
    ),
    "infinite term": (lambda m, d, x: m.record("t", d.price * np.inf * x), ("term 't'", "'open' at site='a'")),
    "infinite constant": (lambda m, d, x: m.record("t", d.price / 0), ("term 't' is infinite at site=a",)),
    "infinite coefficient": (
        lambda m, d, x: then(m, d.price * np.inf * x <= 1, x),
        ("row 'row'", "'open' at site='a'"),
    ),
    "infinite right-hand side": (
        lambda m, d, x: then(m, x == np.inf * d.price, x),
        ("row 'row'", "infinite at site=a"),
    ),
    "infinite lower bound": (lambda m, d, x: m.variable("y", lower=np.inf), ("'y'", "lower bound is +inf")),
    "bound in text": (lambda m, d, x: m.variable("y", upper="8"), ("'y': upper bound", "got str")),
    "fraction for a binary": (lambda m, d, x: m.binary("y", upper=0.5), ("'y'", "0 or 1")),
    "variable called as a dimension": (lambda m, d, x: m.binary("site", over="site"), ("'site'", "dimension")),
    "row called as a dimension": (lambda m, d, x: m.subject_to("region", x <= 1), ("row 'region'", "dimension")),
    "term called as a dimension": (lambda m, d, x: m.record("site", x), ("term 'site'", "dimension")),
    "variable of the model": (
        lambda m, d, x: m.model.add_variables(coords=[d.indexes["site"]], name="site"),
        ("'site'", "dimension"),
    ),
    "name without text": (lambda m, d, x: m.binary(3), ("variable 3", "no text but int")),
    "empty name": (lambda m, d, x: m.binary(" "), ("the name is empty",)),
    "name of the extensive form": (lambda m, d, x: m.binary("risk_cost"), ("'risk_cost'", "rename")),
    "numbers against text": (
        lambda m, d, x: m.variable("y", over="level", upper=xr.DataArray([1.0, 2.0], coords={"level": [1, 2]})),
        ("1, 2 (numbers) against '1', '2' (text)",),
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_told_by_name_and_label(mistake: str) -> None:
    cost, words = MISTAKES[mistake]

    def first(m: dro.Stage, d: xr.Dataset, x: Any) -> Any:
        made = cost(m, d, x)
        return made if isinstance(made, LinearExpression) and not made.coord_dims else x.sum()

    with pytest.raises(ModelError) as caught:
        program(first, data(level=["1", "2"])).blocks()
    for word in words:
        assert word in str(caught.value), str(caught.value)
    # labels are neither filled in nor joined here
    assert "fillna(value)" not in str(caught.value)
    assert "override)" not in str(caught.value)


@pytest.mark.parametrize("penalty", [[10.0, np.inf], [np.nan, 10.0]])
def test_an_infinite_cost_of_the_recourse_is_told_by_scenario(penalty: list[float]) -> None:
    given = data().assign(penalty=("scenario", penalty))

    def recourse(m: dro.Stage, data: xr.Dataset) -> Any:
        return data.penalty * m.nonnegative("bought")

    with pytest.raises(ModelError, match=r"'bought'.*scenario=1.*'penalty' at scenario=1|'penalty'.*NaN at scenario=0"):
        dro.TwoStageProgram(given, lambda m, data: 0, recourse).blocks()


def test_the_recourse_does_not_see_the_probability_of_a_scenario() -> None:
    def recourse(m: dro.Stage, data: xr.Dataset) -> Any:
        return data.probability * m.nonnegative("bought")

    with pytest.raises(ModelError, match="the risk measure applies the probabilities"):
        dro.TwoStageProgram(data(), lambda m, data: 0, recourse).blocks()


def test_scenarios_of_a_row_or_cost_in_another_order_are_refused() -> None:
    swapped = xr.DataArray([1.0, 2.0], coords={"scenario": [1, 0]})
    for stage in (
        lambda m, data: swapped,
        lambda m, data: m.record("t", swapped),
        lambda m, data: m.subject_to("row", m.nonnegative("y").sel(scenario=[1]) >= 1),
    ):
        with pytest.raises(ModelError, match="'scenario' do not match"):
            dro.TwoStageProgram(data(), lambda m, data: 0, stage).blocks()


def gathered(m: dro.Stage, d: xr.Dataset, x: Any) -> Any:
    depot = m.binary("depot", over="region")
    m.subject_to("served", x <= depot.sel(region=d.zone))
    m.subject_to("once", x + depot.sel(region=d.zone) <= 2)
    return (d.price * x).sum() + 3 * depot.sum()


def test_gathering_by_label_leaves_nothing_behind() -> None:
    """Site c stands in the north: 30 and a depot for 3."""
    result = solved(gathered)
    assert result.objective == pytest.approx(33)
    assert result.first_stage.depot.sel(region="north") == 1


@pytest.mark.parametrize("method", ["extensive", "lshaped"])
def test_selections_of_several_labels_live_in_one_result(method: str) -> None:
    def cost(m: dro.Stage, d: xr.Dataset, x: Any) -> Any:
        m.subject_to("first", x.sel(site="a") >= 1)
        m.subject_to("last", x.sel(site=["c", "b"]) <= 1)
        m.subject_to("all", x <= 1)
        m.record("of_a", 2 * x.sel(site="a"))
        m.record("of_b", 3 * x.sel(site="b"))
        return (d.price * x).sum()

    result = program(cost).solve(method=method, workers=1)
    assert result.objective == pytest.approx(40)
    assert (float(result.terms.of_a), float(result.terms.of_b)) == (2, 0)
    if method == "lshaped":
        assert set(result.prices["last"].dropna("site").site.values) == {"b", "c"}
    else:
        assert "lshaped" in result.prices.attrs["why_empty"]


# ---- data ------------------------------------------------------------------------------------------------------------


def stacked() -> xr.Dataset:
    grid = xr.Dataset({"demand": (("wind", "level"), [[5.0, 9.0]])}, coords={"wind": ["low"], "level": [1, 2]})
    return grid.stack(scenario=("wind", "level"))


DATA: dict[str, tuple[Callable[[], Any], tuple[str, ...]]] = {
    "no scenario": (lambda: data().isel(scenario=[]), ("'scenario' is empty",)),
    "no site": (lambda: data().isel(site=[]), ("'site' is empty",)),
    "labels twice": (lambda: data(site=["a", "a", "b"]), ("'site'", "not unique: 'a'")),
    "missing label": (lambda: data(site=["a", None, "b"]), ("'site'", "1 missing labels")),
    "missing time": (lambda: data(site=pd.DatetimeIndex(["2030-01-01", None, "2030-01-03"])), ("'site'", "missing")),
    "stacked scenarios": (stacked, ("'scenario' is stacked from 'wind', 'level'", "reset_index")),
    "odd labels": (lambda: data(site=[object(), object(), object()]), ("'site'", "no file can hold")),
    "rows of a table": (lambda: pd.DataFrame({"price": [1.0]}), ("an xarray.Dataset is needed, got DataFrame",)),
    "mapping": (lambda: {"price": [1.0]}, ("an xarray.Dataset is needed, got dict",)),
    "number as a name": (lambda: data().assign({3: 1.0}), ("variable 3", "no text")),
    "number as a dimension": (lambda: data().assign({"q": ((7,), [1.0])}), ("dimension 7", "no text")),
}


@pytest.mark.parametrize("fault", DATA)
def test_faulty_data_are_refused_when_the_program_is_made(fault: str) -> None:
    make, words = DATA[fault]
    with pytest.raises(ModelError) as caught:
        dro.TwoStageProgram(make())
    for word in words:
        assert word in str(caught.value), str(caught.value)


@pytest.mark.parametrize("name", ["load", "rank", "count", "max", "first" if hasattr(xr.Dataset, "first") else "mean"])
def test_data_hidden_by_a_method_of_a_dataset_are_refused(name: str) -> None:
    with pytest.raises(ModelError, match=rf"'{name}' is hidden.*rename"):
        dro.TwoStageProgram(data().rename(price=name))


@pytest.mark.parametrize("name", ["lower", "upper", "sign", "rhs", "labels", "coeffs", "vars", "_term", "scaling"])
def test_a_dimension_that_linopy_needs_is_refused(name: str) -> None:
    with pytest.raises(ModelError, match=f"cannot be called '{name}'"):
        dro.TwoStageProgram(data().rename(site=name))


def test_all_faults_of_the_data_are_told_at_once() -> None:
    with pytest.raises(ModelError, match=r"(?s)2 faults.*'site' is empty.*'rank' is hidden"):
        dro.TwoStageProgram(data().rename(price="rank").isel(site=[]))


@pytest.mark.parametrize(
    "changed",
    [
        lambda given: given.chunk(site=1),
        lambda given: given.assign(price=given.price.astype(int)),
        lambda given: given.assign_coords(site=[1, 2, 3]),
        lambda given: given.assign_coords(site=[1.0, 2.0, 3.0]),
        lambda given: given.assign_coords(site=[True, "x", 3]),
        lambda given: given.assign_coords(site=pd.CategoricalIndex(SITES)),
        lambda given: given.assign_coords(site=[3, 1, 2], country="x"),
    ],
    ids=["chunks", "integers", "numbers", "fractions", "mixed", "categories", "stray coordinate"],
)
def test_the_kind_of_data_and_labels_does_not_change_the_plan(changed: Callable[[xr.Dataset], xr.Dataset]) -> None:
    given = changed(data())
    result = solved(lambda m, d, x: (d.price * x).sum(), given)
    assert result.objective == pytest.approx(30)
    assert result.first_stage.open.values.tolist() == [0, 0, 1]
    assert result.first_stage.indexes["site"].equals(given.indexes["site"])


def test_read_only_arrays_are_left_as_they_are() -> None:
    values = np.array(PRICES)
    values.flags.writeable = False
    assert solved(lambda m, d, x: (d.price * x).sum(), data().assign(price=("site", values))).objective == 30


@settings(max_examples=12, deadline=None)
@given(
    order=st.permutations([0, 1, 2]),
    names=st.lists(st.one_of(st.text(max_size=3), st.integers(-3, 3)), min_size=3, max_size=3, unique_by=str),
    named=st.booleans(),
)
def test_labels_permuted_and_renamed_give_the_same_optimum_or_an_error(
    order: list[int], names: list[Any], named: bool
) -> None:
    """A Series with the price of every label: in whatever order, never another plan."""
    index = pd.Index([names[k] for k in order], name="site" if named else None)
    price = pd.Series([PRICES[k] for k in order], index=index)
    given = data().assign_coords(site=pd.Index(names, dtype=object))
    try:
        blocks = program(lambda m, d, x: (price * x).sum(), given).blocks()
    except ModelError:
        assert not named or order != [0, 1, 2]
    else:
        assert blocks.first_stage.cost.tolist() == PRICES


# ---- linopy beside a program -----------------------------------------------------------------------------------------


def masked_sum() -> tuple[int, str]:
    """What a model of the user's own gives: terms of a sum over a masked slot, and the semantics it reads."""
    index = pd.Index(["x", "y"], name="side")
    model = linopy.Model()
    a = model.add_variables(coords=[index], name="a")
    b = model.add_variables(coords=[index], name="b", mask=xr.DataArray([True, False], coords={"side": index}))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        total = (np.array([1.0, 2.0]) * a + b).sum()
        a >= 1  # noqa: B015
    return int((total.vars.values >= 0).sum()), linopy.options["semantics"]


@pytest.mark.parametrize("semantics", ["legacy", "v1"])
def test_a_model_of_the_users_own_is_left_alone_before_during_and_after(semantics: str) -> None:
    seen: dict[str, Any] = {}

    def first(m: dro.Stage, data: xr.Dataset, x: Any) -> Any:
        seen["inside"] = masked_sum()[0]
        thread = threading.Thread(target=lambda: seen.update(beside=masked_sum()))
        thread.start()
        thread.join()
        assert linopy.options["semantics"] == "v1"
        return (data.price * x).sum()

    with linopy.options as options:
        options["semantics"] = semantics
        before = masked_sum()
        assert solved(first).objective == pytest.approx(30)
        assert masked_sum() == before
    assert seen == {"inside": before[0], "beside": before}
    # legacy keeps the term of a at the masked slot, v1 loses it: the user's choice
    assert before == ({"legacy": 3, "v1": 2}[semantics], semantics)


def test_programs_are_built_in_two_threads_at_once() -> None:
    barrier = threading.Barrier(2, timeout=60)
    found: list[float] = []

    def first(m: dro.Stage, data: xr.Dataset, x: Any) -> Any:
        barrier.wait()
        return (data.price * x).sum()

    def work() -> None:
        found.append(float(program(first).blocks().first_stage.cost.sum()))

    original = LinearExpression.sum
    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [105.0, 105.0]
    assert LinearExpression.sum is original


def test_a_variable_of_another_model_cannot_enter() -> None:
    stranger = linopy.Model().add_variables(coords=[pd.Index(SITES, name="site")], name="theirs")
    refused(lambda m, d, x: (x + stranger).sum(), "'theirs'", "another linopy.Model")


# ---- calls -----------------------------------------------------------------------------------------------------------


def cheapest(m: dro.Stage, d: xr.Dataset, x: Any) -> Any:
    return (d.price * x).sum()


def test_settings_of_other_tools_are_told_in_the_words_of_this_one() -> None:
    with pytest.raises(TypeError, match=r"'solver_name'.*HiGHS.*extensive_form"):
        program(cheapest).solve(solver_name="gurobi")
    with pytest.raises(TypeError, match=r"'sense'.*negate"):
        dro.solve(program(cheapest).blocks(), sense="max")
    with pytest.raises(ModelError, match="TwoStageProgram"):
        dro.solve(linopy.Model())


@pytest.mark.parametrize("plan", [{"open": [1, 0, 0]}, {"open": 1}, pd.DataFrame({"open": [1, 0, 0]})])
def test_a_plan_is_a_dataset(plan: Any) -> None:
    own = program(cheapest)
    with pytest.raises(ModelError, match=r"an xarray\.Dataset is needed"):
        own.evaluate(plan)
    with pytest.raises(ModelError, match=r"an xarray\.Dataset is needed"):
        own.solve(start=plan)


def test_weights_of_risk_that_do_not_sum_to_one_are_told() -> None:
    with pytest.warns(UserWarning, match=r"sum to 1\.1: the recourse cost is counted that many times"):
        program(cheapest).solve(risk=0.5 * dro.Expectation() + 0.6 * dro.CVaR(0.5))


def test_plain_arrays_have_no_scenarios() -> None:
    probability = xr.DataArray([0.5, 0.5], coords={"scenario": [0, 1]})
    with pytest.raises(ValueError, match="cost: a DataArray over 'scenario' is needed, got list"):
        dro.worst_case_weights(dro.CVaR(0.5), dro.Nominal(), [1.0, 2.0], probability)
    with pytest.raises(ValueError, match="probability: a DataArray"):
        dro.worst_case_weights(dro.CVaR(0.5), dro.Nominal(), probability, np.array([0.5, 0.5]))


def test_nothing_in_a_result_reads_minus_zero() -> None:
    result = solved(lambda m, d, x: (d.price * x).sum() - m.nonnegative("y", upper=-0.0))
    for values in (*result.first_stage.values(), *result.recourse.values(), *result.terms.values()):
        assert not np.signbit(values.values).any()
