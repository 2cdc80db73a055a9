"""The third function of a program: what it may say, and that nothing else hears of it."""

from __future__ import annotations

import hashlib
import pickle
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
import xarray as xr

import drofcm as dro
from drofcm.blocks.form import TwoStageBlocks
from drofcm.dsl.preference import Preference, assembled

DATA = xr.Dataset(
    {
        "demand": (("scenario", "hour"), [[1.0, 1.0, 1.0], [1.0, 0.0, 1.0], [0.0, 1.0, 1.0]]),
        "probability": ("scenario", [0.5, 0.3, 0.2]),
        "weight": ("hour", [0.0, 1.0, 2.0]),
    },
    coords={"scenario": ["a", "b", "c"], "hour": [8, 9, 10], "site": ["east", "west"]},
)
PLAN = xr.Dataset({"built": 1.0, "open": ("site", [1.0, 0.0])}, coords={"site": ["east", "west"]})


def build(m: dro.Stage, data: xr.Dataset) -> Any:
    built = m.integer("built", upper=3)
    opened = m.binary("open", over="site")
    m.subject_to("somewhere", opened.sum("site") >= 1)
    return 10 * built + opened.sum("site")


def serve(m: dro.Stage, data: xr.Dataset) -> Any:
    served = m.nonnegative("served", over="hour", upper=data.demand, where=data.demand > 0)
    moved = m.binary("moved", over="site")
    m.subject_to("energy", served.fillna(0).sum("hour") <= m["built"])
    m.subject_to("moved", moved <= m["open"])
    return 100 * (data.demand.sum("hour") - served.fillna(0).sum("hour")) - moved.sum("site")


def early(m: dro.Stage, data: xr.Dataset) -> Any:
    """What is served later than the first hour, through a variable and a row of its own."""
    late = m.nonnegative("late")
    m.subject_to("late", late >= (data.weight * m["served"].fillna(0)).sum("hour"))
    return [late, m["served"].fillna(0).isel(hour=-1, drop=True) + m["moved"].sum("site") + m["open"].sum("site")]


def program(preference: Any = early) -> dro.TwoStageProgram:
    return dro.TwoStageProgram(DATA, build, serve, preference)


def digest(blocks: TwoStageBlocks) -> str:
    told = hashlib.sha256()
    for part in (blocks.first_stage, *blocks.scenarios):
        for name, value in vars(part).items():
            arrays = [value.data, value.indices, value.indptr] if isinstance(value, sp.csr_array) else [value]
            told.update(name.encode() + b"".join(np.asarray(array).tobytes() for array in arrays))
    for name, at in blocks.variables.items():
        told.update(name.encode() + at.values.tobytes())
    return told.hexdigest()


def refuse(m: dro.Stage, data: xr.Dataset) -> Any:
    raise AssertionError("nobody asked for a recourse")


def test_blocks_and_extensive_form_know_nothing_of_it() -> None:
    with_it, without = program(refuse), program(None)
    assert digest(with_it.blocks()) == digest(without.blocks())
    assert digest(with_it.blocks(chunk=1)) == digest(without.blocks())
    assert digest(with_it.select(["a", "c"]).blocks()) == digest(without.select(["a", "c"]).blocks())
    one, other = (own.extensive_form(dro.CVaR(0.5)).matrices for own in (with_it, without))
    assert (one.A != other.A).nnz == 0
    for name in ("b", "c", "lb", "ub"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
    # nor does a search or a price of which no recourse is shown
    assert with_it.solve(preferred=False).objective == without.solve().objective
    assert with_it.evaluate(PLAN, preferred=False).objective == without.evaluate(PLAN).objective
    fresh = dro.evaluate(with_it, PLAN, data=DATA.isel(scenario=[2, 0]).drop_vars("probability"))
    assert fresh.recourse_cost.values.tolist() == without.evaluate(PLAN).recourse_cost.values[[2, 0]].tolist()


def test_it_is_given_by_decoration_or_as_a_function_and_goes_with_the_program() -> None:
    decorated = program(None)
    assert decorated.preference(early) is early
    expected = [[1.0, 0.0, 0.0], [1.0, np.nan, 0.0], [np.nan, 1.0, 0.0]]
    others = {
        "given": program(),
        "decorated": decorated,
        "on": program().on(DATA),
        "selected": program().select(["a", "b", "c"]),
        "travelled": pickle.loads(pickle.dumps(program())),
    }
    for name, own in others.items():
        result = own.evaluate(PLAN)
        np.testing.assert_allclose(result.recourse["served"], expected, atol=1e-9, err_msg=name)
        assert sorted(result.recourse) == ["moved", "served"]
        assert result.provenance["preference"] == {"expressions": 2, "kept": {}}
    assert dro.solve(program()).recourse["served"].sel(scenario="a").values.tolist() == [1.0, 1.0, 1.0]
    asked = dro.evaluate(program(), PLAN, data=DATA.isel(scenario=[0]).drop_vars("probability"), preferred=True)
    np.testing.assert_allclose(asked.recourse["served"], expected[:1], atol=1e-9)
    # matrices have none, whatever is asked for
    assert "preference" not in dro.solve(program().blocks(), preferred=True).provenance


def test_chunks_of_any_size_add_the_same() -> None:
    blocks = program().blocks()
    whole = assembled(*Preference.parts(early, DATA, blocks, 3))
    for size in (1, 2):
        parts = [own for part in Preference.parts(early, DATA, blocks, size) for own in assembled(part)]
        assert len(parts) == len(whole) == 3
        for one, other in zip(parts, whole, strict=True):
            for name, value in vars(one).items():
                expected = getattr(other, name)
                dense = [own.toarray() if isinstance(own, sp.csr_array) else own for own in (value, expected)]
                np.testing.assert_array_equal(*dense, err_msg=name)
    # (late) of scenario b: late - 2 served[10] >= 0, with served[8], served[10], moved[east], moved[west], late
    second = whole[1]
    assert second.rows.toarray().tolist() == [[0.0, -2.0, 0.0, 0.0, 1.0]]
    assert second.technology.toarray().tolist() == [[0.0, 0.0, 0.0]]
    assert second.aims.toarray().tolist() == [[0.0, 0.0, 0.0, 0.0, 1.0], [0.0, 1.0, 1.0, 1.0, 0.0]]
    assert (second.lower.tolist(), second.upper.tolist()) == ([0.0], [np.inf])
    assert (second.row_lower.tolist(), second.row_upper.tolist()) == ([0.0], [np.inf])


def test_it_is_assembled_once_for_the_same_blocks() -> None:
    calls = []

    def counted(m: dro.Stage, data: xr.Dataset) -> Any:
        calls.append(data.sizes["scenario"])
        assert "probability" not in data
        return early(m, data)

    own = program(counted)
    own.solve()
    own.evaluate(PLAN)
    assert calls == [3]


# ---- what it may not say --------------------------------------------------------------------------------------------


def whole_variable(m: dro.Stage, data: xr.Dataset) -> Any:
    return m.integer("late")


def binary_variable(m: dro.Stage, data: xr.Dataset) -> Any:
    return m.binary("late", over="hour").sum("hour")


def whole_through_the_model(m: dro.Stage, data: xr.Dataset) -> Any:
    late = m.model.add_variables(lower=0, coords=[data.indexes["scenario"]], name="late", integer=True)
    return 1 * late


def without_scenarios(m: dro.Stage, data: xr.Dataset) -> Any:
    m.model.add_variables(lower=0, coords=[data.indexes["hour"]], name="late")
    return m["served"].fillna(0).sum("hour")


def row_without_scenarios(m: dro.Stage, data: xr.Dataset) -> Any:
    m.subject_to("few", m["built"] <= 2)
    return m["served"].fillna(0).sum("hour")


def row_through_the_model(m: dro.Stage, data: xr.Dataset) -> Any:
    m.model.add_constraints(m["built"] <= 2, name="few")
    return m["served"].fillna(0).sum("hour")


def foreign_dimension(m: dro.Stage, data: xr.Dataset) -> Any:
    return m.nonnegative("late", over="day")


def by_the_hour(m: dro.Stage, data: xr.Dataset) -> Any:
    return [m["served"].fillna(0).sum("hour"), data.weight * m["served"].fillna(0)]


def nothing(m: dro.Stage, data: xr.Dataset) -> Any:
    m.nonnegative("late")


def empty(m: dro.Stage, data: xr.Dataset) -> Any:
    return []


def named(m: dro.Stage, data: xr.Dataset) -> Any:
    return {"early": m["served"].fillna(0).sum("hour")}


def lost(m: dro.Stage, data: xr.Dataset) -> Any:
    return (data.weight * (m["served"] + m["moved"].sum("site"))).sum("hour")


def absent(m: dro.Stage, data: xr.Dataset) -> Any:
    return m["served"].isel(hour=0, drop=True)


def squared(m: dro.Stage, data: xr.Dataset) -> Any:
    return (m["served"].fillna(0) * m["served"].fillna(0)).sum("hour")


def endless(m: dro.Stage, data: xr.Dataset) -> Any:
    return (np.inf * m["moved"]).sum("site")


def misspelt(m: dro.Stage, data: xr.Dataset) -> Any:
    return m["serve"]


def missing_data(m: dro.Stage, data: xr.Dataset) -> Any:
    return data.wieght * m["served"]


def likely(m: dro.Stage, data: xr.Dataset) -> Any:
    return data.probability * m["served"].fillna(0).sum("hour")


def taken(m: dro.Stage, data: xr.Dataset) -> Any:
    return m.nonnegative("moved")


def recorded(m: dro.Stage, data: xr.Dataset) -> Any:
    m.record("late", m["served"].fillna(0).sum("hour"))


def coupled(m: dro.Stage, data: xr.Dataset) -> Any:
    return m["moved"].sum("site").shift(scenario=1).fillna(0)


def coupled_row(m: dro.Stage, data: xr.Dataset) -> Any:
    m.subject_to("alike", m["moved"].sum("site") >= m["moved"].sum("site").shift(scenario=1).fillna(0))
    return m["moved"].sum("site")


def changing(m: dro.Stage, data: xr.Dataset) -> Any:
    m["served"].update(upper=0)
    return m["served"].fillna(0).sum("hour")


def removing(m: dro.Stage, data: xr.Dataset) -> Any:
    served = 1 * m["served"].fillna(0).sum("hour")
    m.model.remove_variables("moved")
    return served


def forgotten(m: dro.Stage, data: xr.Dataset) -> Any:
    m["served"].fillna(0).sum("hour") <= 1  # noqa: B015
    return m["served"].fillna(0).sum("hour")


def by_position(m: dro.Stage, data: xr.Dataset) -> Any:
    return (np.array([0.0, 1.0, 2.0]) * m["served"].fillna(0)).sum("hour")


@pytest.mark.parametrize(
    ("function", "what"),
    [
        (whole_variable, "variable 'late' of the preference is integer: it may add continuous variables only"),
        (binary_variable, "variable 'late' of the preference is binary: it may add continuous variables only"),
        (whole_through_the_model, "variable 'late' of the preference is whole-numbered"),
        (without_scenarios, "variable 'late' of the preference has no scenario dimension"),
        (row_without_scenarios, "row 'few' of the preference has no scenario dimension"),
        (row_through_the_model, "row 'few' of the preference has no scenario dimension"),
        (foreign_dimension, "variable 'late': the data have no dimension 'day'"),
        (by_the_hour, r"expression 2 of the preference has dimension hour: sum it over \['hour'\]"),
        (nothing, "the preference returned nothing"),
        (empty, "the preference returned nothing"),
        (named, "expression 1 of the preference must be a linear expression, got dict"),
        (lost, "in the preference, lost, line .*served"),
        (absent, "expression 1 of the preference is absent at scenario=c"),
        (squared, "expression 1 of the preference is not linear"),
        (endless, "the coefficient of 'moved'"),
        (misspelt, "no variable is called 'serve'"),
        (missing_data, "in the preference, missing_data, line .*wieght"),
        (likely, "a stage does not see how likely a scenario is"),
        (taken, "variable 'moved': the name is taken"),
        (recorded, "term 'late' of the preference is recorded: record it in the recourse"),
        (coupled, "expression 1 of the preference holds, in one scenario, 'moved' of another"),
        (coupled_row, "row 'alike' of one scenario holds 'moved' of another scenario"),
        (changing, "the preference changes variable 'served'"),
        (removing, "the preference changes variable 'moved'"),
        (forgotten, "a row was built but never passed to subject_to"),
        (by_position, "in the preference, by_position, line .*: "),
    ],
)
def test_what_it_may_not_say_is_told_before_anything_is_searched_for(
    function: Any, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = program(function)

    def search(*arguments: Any, **settings: Any) -> Any:
        raise AssertionError("the mistake comes to light after the search")

    monkeypatch.setattr("drofcm.dsl.program.solve_blocks", search)
    monkeypatch.setattr("drofcm.dsl.program.evaluate_blocks", search)
    with pytest.raises(dro.ModelError, match=what):
        own.solve()
    with pytest.raises(dro.ModelError, match=what):
        own.evaluate(PLAN)


def test_a_stage_says_of_itself_what_it_said_before() -> None:
    def narrow(m: dro.Stage, data: xr.Dataset) -> Any:
        m.subject_to("few", m["built"] <= 2)
        return 0

    with pytest.raises(
        dro.ModelError, match="row 'few' of the recourse has no scenario dimension; what holds in every"
    ):
        dro.TwoStageProgram(DATA, build, narrow).blocks()
