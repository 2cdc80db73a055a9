"""Every rule and every trap of the language: what breaks it is refused, and the message names variable or row."""

from __future__ import annotations

import re
from collections.abc import Callable
from operator import eq, ge, le
from typing import Any

import linopy
import numpy as np
import pytest
import xarray as xr
from linopy.expressions import LinearExpression

import drofcm as dro
from drofcm.core.errors import ModelError

Stage = Callable[[dro.Stage, xr.Dataset], Any]


def data() -> xr.Dataset:
    return xr.Dataset(
        {
            "cost": ("fcm", [1.0, 2.0]),
            "demand": (("scenario", "time"), [[1.0, 2.0, 3.0], [2.0, 2.0, 2.0]]),
        },
        coords={"scenario": [0, 1], "fcm": ["battery", "generator"], "time": [0, 1, 2]},
    )


def plan(m: dro.Stage, data: xr.Dataset) -> Any:
    return (data.cost * m.integer("built", over="fcm", upper=10)).sum()


def respond(m: dro.Stage, data: xr.Dataset) -> Any:
    return m.nonnegative("unserved", over="time").sum("time")


def build(first_stage: Stage = plan, recourse: Stage = respond, data: xr.Dataset | None = None) -> None:
    dro.TwoStageProgram(globals()["data"]() if data is None else data, first_stage, recourse).blocks()


def refused(*words: str, **stages: Any) -> str:
    with pytest.raises(ModelError) as caught:
        build(**stages)
    message = str(caught.value)
    for word in words:
        assert word in message, message
    return message


def test_the_program_that_the_others_break_is_accepted() -> None:
    build()


# ---- which rows and costs belong to which stage ---------------------------------------------------------------------


def test_recourse_row_without_scenario() -> None:
    def recourse(m: dro.Stage, data: xr.Dataset) -> Any:
        m.subject_to("stock", m["built"].sum() <= 4)
        return respond(m, data)

    refused("'stock'", "no scenario dimension", recourse=recourse)


def test_recourse_row_without_scenario_through_the_model() -> None:
    def recourse(m: dro.Stage, data: xr.Dataset) -> Any:
        m.model.add_constraints(m["built"].sum() <= 4, name="stock")
        return respond(m, data)

    refused("'stock'", "no scenario dimension", recourse=recourse)


def test_recourse_variable_without_scenario_through_the_model() -> None:
    def recourse(m: dro.Stage, data: xr.Dataset) -> Any:
        m.model.add_variables(lower=0, name="stray")
        return respond(m, data)

    refused("'stray'", "no scenario dimension", recourse=recourse)


def test_first_stage_row_with_scenario() -> None:
    peak = data().demand.max("time")

    def first(m: dro.Stage, data: xr.Dataset) -> Any:
        cost = plan(m, data)
        m.subject_to("peak", m["built"].sum() >= peak)
        return cost

    refused("'peak'", "first stage", "scenario dimension", first_stage=first)


def test_first_stage_row_with_scenario_through_the_model() -> None:
    peak = data().demand.max("time")

    def first(m: dro.Stage, data: xr.Dataset) -> Any:
        cost = plan(m, data)
        m.model.add_constraints(m["built"].sum() >= peak, name="peak")
        return cost

    refused("'peak'", "first stage", "scenario dimension", first_stage=first)


def test_first_stage_variable_over_scenario() -> None:
    refused("'late'", "before the scenario is known", first_stage=lambda m, data: m.binary("late", over="scenario"))


def test_recourse_adds_scenario_by_itself() -> None:
    refused("'late'", "added by itself", recourse=lambda m, data: m.binary("late", over="scenario"))


def test_first_stage_cannot_see_what_is_uncertain() -> None:
    def first(m: dro.Stage, data: xr.Dataset) -> Any:
        assert "scenario" not in data.dims
        assert "scenario" not in data.coords
        assert "probability" not in data
        return plan(m, data) * data.demand.sum()

    refused("first stage", "'demand' is uncertain", first_stage=first)
    refused("'demand' is uncertain", first_stage=lambda m, data: plan(m, data) * data["demand"].sum())


def test_row_of_the_first_stage_holds_a_recourse_variable() -> None:
    """The recourse function reaches back: a row without scenario may not hold what is decided after the event."""

    def recourse(m: dro.Stage, data: xr.Dataset) -> Any:
        unserved = m.nonnegative("unserved", over="time")
        m.subject_to("mean", unserved.sum(["scenario", "time"]) <= 4)
        return unserved.sum("time")

    refused("'mean'", recourse=recourse)


def test_first_stage_cost_must_be_scalar() -> None:
    refused("cost of the first stage", "fcm", first_stage=lambda m, data: data.cost * m.integer("built", over="fcm"))


def test_recourse_cost_with_another_dimension() -> None:
    refused("cost of the recourse", "time", recourse=lambda m, data: m.nonnegative("unserved", over="time"))


@pytest.mark.parametrize("stage", ["first_stage", "recourse"])
def test_missing_cost(stage: str) -> None:
    def silent(m: dro.Stage, data: xr.Dataset) -> None:
        m.nonnegative("anything")

    refused("cost of the " + stage.replace("_", " "), "is missing", **{stage: silent})


@pytest.mark.parametrize("stage", ["first_stage", "recourse"])
def test_cost_that_is_not_linear(stage: str) -> None:
    def squared(m: dro.Stage, data: xr.Dataset) -> Any:
        x = m.nonnegative("anything")
        return x * x

    refused("cost of the " + stage.replace("_", " "), "not linear", **{stage: squared})


def test_missing_stage() -> None:
    with pytest.raises(ModelError, match="no recourse"):
        dro.TwoStageProgram(data(), first_stage=plan).blocks()


# ---- dimensions, labels, probabilities ------------------------------------------------------------------------------


def test_unknown_dimension_with_suggestion() -> None:
    refused("'unserved'", "'tiem'", "did you mean 'time'?", recourse=lambda m, data: m.nonnegative("unserved", "tiem"))


def test_unknown_variable_with_suggestion() -> None:
    refused("'biult'", "did you mean 'built'?", recourse=lambda m, data: m["biult"].sum())


def test_dimension_without_labels() -> None:
    refused("'unserved'", "'time'", "no labels", data=data().drop_vars("time"))


def test_data_without_scenario() -> None:
    with pytest.raises(ModelError, match="'scenario' dimension"):
        dro.TwoStageProgram(data().isel(scenario=0))


def test_scenario_labels_that_repeat() -> None:
    with pytest.raises(ModelError, match="not unique"):
        dro.TwoStageProgram(data().assign_coords(scenario=[3, 3]))


@pytest.mark.parametrize("probability", [(1.2, -0.2), (np.nan, 1.0), (0.5, 0.4), (0.6, 0.6)])
def test_probabilities_that_are_no_distribution(probability: tuple[float, float]) -> None:
    with pytest.raises(ModelError, match="probabilit"):
        dro.TwoStageProgram(data().assign(probability=("scenario", list(probability))))


def test_probability_with_another_dimension() -> None:
    with pytest.raises(ModelError, match="probability"):
        dro.TwoStageProgram(data().assign(probability=(("scenario", "fcm"), np.full((2, 2), 0.25))))


WRONG = xr.DataArray([1.0, 2.0], coords={"fcm": ["battery", "diesel"]})
REORDERED = xr.DataArray([1.0, 2.0], coords={"fcm": ["generator", "battery"]})


@pytest.mark.parametrize("labels", [WRONG, REORDERED], ids=["other", "reordered"])
def test_labels_of_a_bound_do_not_match(labels: xr.DataArray) -> None:
    refused("'built'", "'fcm'", "do not match", first_stage=lambda m, data: m.integer("built", "fcm", upper=labels))


@pytest.mark.parametrize("labels", [WRONG, REORDERED], ids=["other", "reordered"])
def test_labels_of_where_do_not_match(labels: xr.DataArray) -> None:
    refused("'built'", "'fcm'", "do not match", first_stage=lambda m, data: m.integer("built", "fcm", where=labels > 0))


def test_where_must_be_boolean() -> None:
    refused("'built'", "boolean", first_stage=lambda m, data: m.integer("built", "fcm", where=data.cost))


@pytest.mark.parametrize("labels", [WRONG, WRONG.isel(fcm=[0])], ids=["other", "fewer"])
def test_labels_of_data_times_variable_do_not_match(labels: xr.DataArray) -> None:
    """Neither an outer join nor a fill: linopy's legacy semantics would drop or invent a term here."""
    refused("first stage", "fcm", first_stage=lambda m, data: (labels * m.integer("built", "fcm")).sum())


def test_a_bound_over_a_dimension_the_variable_lacks() -> None:
    refused("'x'", "lower bound", "time", recourse=lambda m, data: m.variable("x", lower=data.demand))


# ---- scenarios are not coupled --------------------------------------------------------------------------------------


def over_scenario(name: str) -> Stage:
    def recourse(m: dro.Stage, data: xr.Dataset) -> Any:
        x = m.nonnegative("x")
        y = m.nonnegative("y")
        where = xr.DataArray([False, True], coords={"scenario": data.scenario})
        left = {
            "sum": lambda: x + 0 * y - x.sum("scenario"),
            "shift": lambda: x - x.shift(scenario=1),
            "cumsum": lambda: y + (1 * x).cumsum("scenario"),
        }[name]()
        m.subject_to("row", left >= 0, where=where if name == "shift" else None)
        return y

    return recourse


@pytest.mark.parametrize("how", ["sum", "shift", "cumsum"])
def test_row_that_couples_scenarios(how: str) -> None:
    refused("row 'row'", "'x' of another scenario", recourse=over_scenario(how))


def test_cost_that_couples_scenarios() -> None:
    def recourse(m: dro.Stage, data: xr.Dataset) -> Any:
        return m.nonnegative("y") + m.nonnegative("x").sum("scenario")

    refused("the recourse cost", "'x' of another scenario", recourse=recourse)


@pytest.mark.parametrize("how", ["sum", "shift", "cumsum"])
def test_coupling_is_found_by_extensive_form_and_solve(how: str) -> None:
    program = dro.TwoStageProgram(data(), plan, over_scenario(how))
    for run in (program.extensive_form, program.solve):
        with pytest.raises(ModelError, match="'x' of another scenario"):
            run()


# ---- traps of linopy's arithmetic -----------------------------------------------------------------------------------

STORES = xr.DataArray([True, False], coords={"fcm": ["battery", "generator"]})


def masked(balance: Callable[[linopy.Variable, linopy.Variable], Any]) -> Stage:
    def recourse(m: dro.Stage, data: xr.Dataset) -> Any:
        output = m.nonnegative("output", over="fcm")
        charge = m.nonnegative("charge", over="fcm", where=STORES)
        m.subject_to("balance", balance(output, charge) == 1)
        return output.sum("fcm")

    return recourse


def test_masked_variable_in_a_sum_is_refused() -> None:
    refused("'charge'", "'output'", "fcm=generator", recourse=masked(lambda p, c: (p - c).sum("fcm")))


ONES = xr.ones_like(STORES, dtype=float)
GROUPS = xr.DataArray(["all", "all"], coords={"fcm": STORES.fcm}, name="group")


@pytest.mark.parametrize(
    "balance",
    [
        lambda p, c: (p - c) @ ONES,
        lambda p, c: (p - c).groupby(GROUPS).sum(),
        lambda p, c: (p - c).cumsum("fcm"),
        lambda p, c: (p - c).rolling(fcm=2).sum(),
    ],
    ids=["matmul", "groupby", "cumsum", "rolling"],
)
def test_masked_variable_in_a_sum_by_another_name_is_refused(balance: Any) -> None:
    refused("'charge'", "'output'", "fcm=generator", recourse=masked(balance))


@pytest.mark.parametrize(
    "balance",
    [lambda p, c: (p - c.fillna(0)).sum("fcm"), lambda p, c: p.sum("fcm") - c.sum("fcm")],
    ids=["fillna", "own sum"],
)
def test_masked_variable_that_enters_rightly_keeps_the_others(balance: Any) -> None:
    blocks = dro.TwoStageProgram(data(), plan, masked(balance)).blocks()
    # output of battery, output of generator, charge of battery
    np.testing.assert_array_equal(blocks.scenarios[0].recourse.toarray(), [[1, 1, -1]])


def test_masked_variable_removes_a_row() -> None:
    def recourse(m: dro.Stage, data: xr.Dataset) -> Any:
        output, charge = m.nonnegative("output", over="fcm"), m.nonnegative("charge", over="fcm", where=STORES)
        m.subject_to("power", output + charge <= 1)
        return output.sum("fcm")

    refused("'power'", "absent", "fcm=generator", recourse=recourse)


def test_masked_variable_removes_a_cost() -> None:
    keep = xr.DataArray([True, False], coords={"scenario": [0, 1]})
    refused(
        "cost of the recourse",
        "scenario=1",
        recourse=lambda m, data: m.nonnegative("a") + m.nonnegative("b", where=keep),
    )


def soc(m: dro.Stage, where: xr.DataArray | None) -> Any:
    level = m.nonnegative("soc", over="time")
    m.subject_to("storage", level - level.shift(time=1) == 1, where=where)
    return level.sum("time")


def test_shift_without_initial_row() -> None:
    refused("'storage'", "time=0", "initial conditions", recourse=lambda m, data: soc(m, None))


def test_shift_where_the_row_is_meant() -> None:
    later = xr.DataArray([False, True, True], coords={"time": [0, 1, 2]})
    blocks = dro.TwoStageProgram(data(), plan, lambda m, data: soc(m, later)).blocks()
    np.testing.assert_array_equal(blocks.scenarios[1].recourse.toarray(), [[-1, 1, 0], [0, -1, 1]])


def test_chained_comparison() -> None:
    def first(m: dro.Stage, data: xr.Dataset) -> Any:
        built = m.integer("built", over="fcm")
        m.subject_to("range", 1 <= built <= 5)
        return built.sum()

    refused("built", "never passed to subject_to", "1 <= x <= 5", first_stage=first)


def test_row_that_is_built_and_never_passed() -> None:
    def recourse(m: dro.Stage, data: xr.Dataset) -> Any:
        unserved = m.nonnegative("unserved", over="time")
        unserved.sum("time") >= 3  # noqa: B015
        return unserved.sum("time")

    refused("unserved", "never passed to subject_to", recourse=recourse)


def test_comparison_of_constants_is_no_row() -> None:
    def first(m: dro.Stage, data: xr.Dataset) -> Any:
        m.subject_to("cheap", data.cost <= 5)
        return plan(m, data)

    refused("'cheap'", "both sides are constants", first_stage=first)


@pytest.mark.parametrize("side", ["lower", "upper"])
def test_bound_that_is_nan(side: str) -> None:
    bound = xr.DataArray([1.0, np.nan], coords={"fcm": ["battery", "generator"]})
    refused(
        "'built'",
        f"{side} bound is NaN",
        "fcm=generator",
        first_stage=lambda m, data: m.variable("built", "fcm", **{side: bound}).sum(),
    )


def test_bounds_that_cross() -> None:
    lower = xr.DataArray([1.0, 6.0], coords={"fcm": ["battery", "generator"]})
    refused(
        "'built'",
        "above upper bound at fcm=generator",
        first_stage=lambda m, data: m.variable("built", "fcm", lower=lower, upper=5).sum(),
    )


def test_name_of_a_variable_is_taken() -> None:
    refused("'built'", "taken", recourse=lambda m, data: m.nonnegative("built"))


def test_name_of_a_row_is_taken() -> None:
    def first(m: dro.Stage, data: xr.Dataset) -> Any:
        built = m.integer("built", over="fcm")
        m.subject_to("room", built <= 5)
        m.subject_to("room", built >= 1)
        return built.sum()

    refused("'room'", "taken", first_stage=first)


def test_name_of_a_term_is_taken() -> None:
    def first(m: dro.Stage, data: xr.Dataset) -> Any:
        cost = plan(m, data)
        m.record("cost", cost)
        return cost

    def recourse(m: dro.Stage, data: xr.Dataset) -> Any:
        cost = respond(m, data)
        m.record("cost", cost)
        return cost

    refused("'cost'", "both stages", first_stage=first, recourse=recourse)
    refused("'cost'", "taken", first_stage=lambda m, data: [m.record("cost", 1), m.record("cost", 2)])


@pytest.mark.parametrize(
    ("compare", "constant", "fulfilled"),
    [(le, 1, True), (le, -1, False), (ge, -1, True), (ge, 1, False), (eq, 0, True), (eq, 1, False)],
)
def test_constant_row(compare: Callable[[Any, Any], Any], constant: float, fulfilled: bool) -> None:
    """A row without a variable reads 0 against a constant."""

    def recourse(m: dro.Stage, data: xr.Dataset) -> Any:
        x = m.nonnegative("x", over="time")
        nothing = x.where(xr.zeros_like(data.demand, dtype=bool)).fillna(0)
        m.subject_to("constant", compare(nothing, constant))
        return x.sum("time")

    if fulfilled:
        build(recourse=recourse)
    else:
        refused("'constant'", "no variable at scenario=0, time=0", "not fulfilled", recourse=recourse)


def test_error_inside_a_stage_names_the_line() -> None:
    message = refused("recourse", recourse=lambda m, data: data.wind * m.nonnegative("x"))
    assert re.search(r"line \d+", message)
    assert "wind" in message


# ---- nothing of this stays behind -----------------------------------------------------------------------------------


def state() -> tuple[Any, ...]:
    return (
        linopy.options["semantics"],
        LinearExpression.sum,
        LinearExpression.to_constraint,
        "sum" in vars(LinearExpression),
        "to_constraint" in vars(LinearExpression),
    )


def raising(error: BaseException) -> Stage:
    def recourse(m: dro.Stage, data: xr.Dataset) -> Any:
        assert linopy.options["semantics"] == "v1"
        raise error

    return recourse


@pytest.mark.parametrize("error", [None, ModelError("x"), ValueError("x"), ZeroDivisionError(), KeyboardInterrupt()])
@pytest.mark.parametrize("semantics", ["legacy", "v1"])
def test_linopy_is_as_it_was(error: BaseException | None, semantics: str) -> None:
    with linopy.options as options:
        options["semantics"] = semantics
        before = state()
        assert before[0] == semantics
        program = dro.TwoStageProgram(data(), plan, respond if error is None else raising(error))
        if error is None:
            program.extensive_form()
        else:
            with pytest.raises(ModelError if isinstance(error, ValueError) else type(error)):
                program.extensive_form()
        assert state() == before


def test_linopy_outside_a_stage_is_not_watched() -> None:
    build()
    with linopy.options as options:
        options["semantics"] = "v1"
        model = linopy.Model()
        a = model.add_variables(coords=[data().indexes["fcm"]], name="a")
        b = model.add_variables(coords=[data().indexes["fcm"]], mask=STORES, name="b")
        assert (a + b).sum().nterm >= 2
        assert (a >= 1) is not None
