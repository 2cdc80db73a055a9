"""Which recourse is shown of those that cost the same: against enumeration and by hand, wherever it is chosen."""

from __future__ import annotations

import itertools
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
import xarray as xr

import drofcm as dro
from drofcm.core.errors import DrofcmWarning, LostError
from drofcm.dsl import program as program_module
from drofcm.solve.lexicographic import Wish, grant
from drofcm.solve.preference import preferred
from drofcm.solve.problem import MatrixProblem

choice = import_module("drofcm.solve.preference")

HOURS, MOST = 4, 2


def build(m: dro.Stage, data: xr.Dataset) -> Any:
    return 3.0 * m.integer("built", upper=3)


def serve(m: dro.Stage, data: xr.Dataset) -> Any:
    """Stores of whole energy serve load by the hour; one of two prices is paid for what stays dark."""
    used = m.integer("used", upper=data.used_at_most)
    served = m.nonnegative("served", over="hour", upper=data.demand, where=data.demand > 0)
    m.subject_to("stores", used <= m["built"])
    m.subject_to("energy", served.fillna(0).sum("hour") <= data.energy * used)
    m.record("served_energy", served.fillna(0).sum("hour"))
    return used + data.price * (data.demand.sum("hour") - served.fillna(0).sum("hour"))


def wish(m: dro.Stage, data: xr.Dataset) -> Any:
    served = m["served"].fillna(0)
    return [(data.first * served).sum("hour"), (data.second * served).sum("hour")]


def store_data(seed: int, scenarios: int = 5) -> xr.Dataset:
    rng = np.random.default_rng(seed)
    by_hour = ("scenario", "hour")
    return xr.Dataset(
        {
            "demand": (by_hour, rng.integers(0, MOST + 1, (scenarios, HOURS)).astype(float)),
            "used_at_most": ("scenario", rng.integers(1, 3, scenarios).astype(float)),
            "energy": 2.0,
            "price": 50.0,
            "first": (by_hour, rng.integers(-1, 2, (scenarios, HOURS)).astype(float)),
            "second": (by_hour, rng.integers(-5, 6, (scenarios, HOURS)).astype(float)),
        },
        coords={"scenario": [f"day {k}" for k in range(scenarios)], "hour": range(HOURS)},
    )


def store(seed: int, scenarios: int = 5, **changed: Any) -> dro.TwoStageProgram:
    return dro.TwoStageProgram(store_data(seed, scenarios).assign(changed), build, serve, wish)


def by_enumeration(data: xr.Dataset, label: str, used: float) -> tuple[float, float, float]:
    """The least cost with so many stores, then the first expression, then the second.

    Each is least at a corner of the polytope, and its corners are whole: hours and energy bound sums of intervals.
    """
    own = data.sel(scenario=label)
    hours = [range(int(most) + 1) for most in own.demand.values]
    found = []
    for served in itertools.product(*hours):
        if sum(served) <= float(own.energy) * used:
            cost = used + float(own.price) * (float(own.demand.sum()) - sum(served))
            found.append((cost, float(own.first.values @ served), float(own.second.values @ served)))
    return min(found)


@pytest.mark.parametrize("seed", range(8))
def test_expressions_are_least_one_after_the_other_at_the_cost_that_was_found(seed: int) -> None:
    program = store(seed)
    plan = xr.Dataset({"built": float(1 + seed % 2)})
    plain, result = program.evaluate(plan, preferred=False), program.evaluate(plan)
    assert result.provenance["preference"] == {"expressions": 2, "kept": {}}
    assert "preference" not in plain.provenance
    xr.testing.assert_identical(result.recourse_cost, plain.recourse_cost)
    xr.testing.assert_identical(result.recourse["used"], plain.recourse["used"])
    assert (result.objective, result.lower_bound) == (plain.objective, plain.lower_bound)
    served = result.recourse["served"].fillna(0)
    for label in program.data.scenario.values:
        own = program.data.sel(scenario=label)
        used = float(result.recourse["used"].sel(scenario=label))
        chosen = served.sel(scenario=label).values
        found = (
            used + 50.0 * float(own.demand.sum() - chosen.sum()),
            float(own.first.values @ chosen),
            float(own.second.values @ chosen),
        )
        assert found == pytest.approx(by_enumeration(program.data, label, used), abs=1e-7)
        assert found[0] == pytest.approx(float(result.recourse_cost.sel(scenario=label)), rel=1e-9)
    # terms are those of the recourse that is shown; a variable is NaN where it does not exist
    assert result.terms["served_energy"].values == pytest.approx(served.sum("hour").values)
    assert (result.recourse["served"].isnull() == (program.data.demand == 0)).all()


@pytest.mark.parametrize("method", ["extensive", "lshaped"])
def test_a_search_ends_with_the_same_plan_cost_and_bounds(method: Any, tmp_path: Path) -> None:
    program = store(3)
    plain = program.solve(method=method, gap=1e-6, preferred=False, workers=1)
    result = program.solve(method=method, gap=1e-6, workers=1)
    xr.testing.assert_identical(result.first_stage, plain.first_stage)
    xr.testing.assert_identical(result.recourse_cost, plain.recourse_cost)
    for name in ("objective", "lower_bound", "upper_bound", "gap", "status"):
        assert getattr(result, name) == getattr(plain, name)
    served = result.recourse["served"].fillna(0)
    for label in program.data.scenario.values:
        best = by_enumeration(program.data, label, float(result.recourse["used"].sel(scenario=label)))
        own = program.data.sel(scenario=label)
        assert float((own.first * served.sel(scenario=label)).sum()) == pytest.approx(best[1], abs=1e-7)
    result.to_netcdf(tmp_path / "result.nc")
    again = dro.Result.from_netcdf(tmp_path / "result.nc")
    assert again.provenance["preference"] == {"expressions": 2, "kept": {}}


def test_every_place_chooses_the_same(client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    program = store(11, scenarios=9)
    plain = program.evaluate(xr.Dataset({"built": 2.0}), preferred=False)
    blocks, wanted = program.blocks(), program._wishes(program.blocks(), None)
    here = preferred(blocks, wanted, plain, workers=1)
    monkeypatch.setattr(choice, "_FEW", 1)
    beside = preferred(blocks, wanted, plain, workers=2)
    afar = preferred(blocks, program.on(program.data)._wishes(blocks, client), plain, client)
    for there in (beside, afar):
        xr.testing.assert_identical(there.recourse, here.recourse)
        xr.testing.assert_identical(there.terms, here.terms)


def test_work_that_is_lost_is_done_here(monkeypatch: pytest.MonkeyPatch) -> None:
    program, plan = store(5), xr.Dataset({"built": 1.0})
    plain, expected = program.evaluate(plan, preferred=False), program.evaluate(plan)
    original, places = choice.spread, []

    def lossy(function: Any, items: Any, client: Any = None, workers: int | None = None) -> Any:
        places.append(workers)
        if workers != 1:
            raise LostError("the cluster is gone")
        return original(function, items, client, workers)

    monkeypatch.setattr(choice, "spread", lossy)
    monkeypatch.setattr(choice, "_FEW", 1)
    result = preferred(program.blocks(), program._wishes(program.blocks(), None), plain, workers=2)
    assert places == [2, 1]
    xr.testing.assert_identical(result.recourse, expected.recourse)


@pytest.mark.parametrize("unit", [1e-6, 1e4, 1e8])
def test_the_unit_of_money_does_not_matter(unit: float) -> None:
    plan = xr.Dataset({"built": 1.0})

    def dear(m: dro.Stage, data: xr.Dataset) -> Any:
        return unit * serve(m, data)

    data = store_data(2)
    expected = dro.TwoStageProgram(data, build, serve, wish).evaluate(plan)
    result = dro.TwoStageProgram(data, build, dear, wish).evaluate(plan)
    assert result.provenance["preference"]["kept"] == {}
    np.testing.assert_allclose(result.recourse["served"], expected.recourse["served"], atol=1e-9)


def test_the_unit_of_energy_does_not_matter() -> None:
    data = store_data(2)
    small = data.assign({"price": 1e7 * data.price, **{name: 1e-7 * data[name] for name in ("demand", "energy")}})
    plan = xr.Dataset({"built": 1.0})
    expected = dro.TwoStageProgram(data, build, serve, wish).evaluate(plan)
    result = dro.TwoStageProgram(small, build, serve, wish).evaluate(plan)
    assert result.provenance["preference"]["kept"] == {}
    np.testing.assert_allclose(1e7 * result.recourse["served"], expected.recourse["served"], atol=1e-6)


def test_variables_and_rows_of_a_preference_say_what_is_steady() -> None:
    """4 MWh in 4 h: the least change from rest, counted up and down, is one MW up, and only a flat output has it."""

    def steady(m: dro.Stage, data: xr.Dataset) -> Any:
        change = m["served"] - m["served"].shift(hour=1).fillna(0)
        moved = m.nonnegative("moved", over="hour")
        m.subject_to("up", change <= moved)
        m.subject_to("down", -change <= moved)
        return moved.sum("hour")

    flat = store_data(0, 1).assign(
        demand=(("scenario", "hour"), [[2.0, 2.0, 2.0, 2.0]]), used_at_most=("scenario", [2.0])
    )
    result = dro.TwoStageProgram(flat, build, serve, steady).evaluate(xr.Dataset({"built": 2.0}))
    assert result.recourse["served"].values == pytest.approx(np.ones((1, 4)), abs=1e-9)
    assert sorted(result.recourse) == ["served", "used"]


def test_the_plan_may_stand_in_a_preference() -> None:
    """What is served in the last hour beyond the number of stores counts; serving it there is dearer than elsewhere."""

    def away_from_the_last(m: dro.Stage, data: xr.Dataset) -> Any:
        beyond = m.nonnegative("beyond")
        m.subject_to("beyond", beyond >= m["served"].isel(hour=-1, drop=True) - m["built"])
        return [10 * m["built"] + beyond, -m["served"].isel(hour=-1, drop=True)]

    flat = store_data(0, 1).assign(
        demand=(("scenario", "hour"), [[2.0, 2.0, 2.0, 2.0]]), used_at_most=("scenario", [1.0])
    )
    result = dro.TwoStageProgram(flat, build, serve, away_from_the_last).evaluate(xr.Dataset({"built": 1.0}))
    assert float(result.recourse["served"].isel(scenario=0, hour=-1)) == pytest.approx(1.0, abs=1e-9)


# ---- what leaves the recourse as it came ----------------------------------------------------------------------------


def unbounded(m: dro.Stage, data: xr.Dataset) -> Any:
    return [(data.first * m["served"].fillna(0)).sum("hour"), m.variable("free")]


def impossible(m: dro.Stage, data: xr.Dataset) -> Any:
    served = m["served"].fillna(0).sum("hour")
    m.subject_to("more_than_there_is", served >= 100)
    return served


def dearer(m: dro.Stage, data: xr.Dataset) -> Any:
    served = m["served"].fillna(0).sum("hour")
    m.subject_to("nothing", served <= 0)
    return served


@pytest.mark.parametrize(
    ("function", "why"),
    [
        (unbounded, "expression 2 of the preference has no least value"),
        (impossible, "no recourse of its cost satisfies the rows of the preference"),
        (dearer, "no recourse of its cost satisfies the rows of the preference"),
    ],
)
def test_a_preference_that_cannot_be_had_leaves_the_recourse_and_says_so(function: Any, why: str) -> None:
    data = store_data(4).assign(demand=(("scenario", "hour"), np.full((5, HOURS), 2.0)))
    program, plan = dro.TwoStageProgram(data, build, serve, function), xr.Dataset({"built": 1.0})
    plain = program.evaluate(plan, preferred=False)
    with pytest.warns(DrofcmWarning, match=f"not the preferred one in scenario 'day 0'.*: {why}"):
        result = program.evaluate(plan)
    xr.testing.assert_identical(result.recourse, plain.recourse)
    xr.testing.assert_identical(result.terms, plain.terms)
    assert result.provenance["preference"]["kept"] == {why: [f"'day {k}'" for k in range(5)]}


def test_some_scenarios_may_have_what_others_have_not() -> None:
    def dearer_on_two(m: dro.Stage, data: xr.Dataset) -> Any:
        served = m["served"].fillna(0)
        m.subject_to("nothing", served.sum("hour") <= 100 * (1 - data.forbidden))
        return (data.second * served).sum("hour")

    data = store_data(4).assign(
        demand=(("scenario", "hour"), np.full((5, HOURS), 2.0)), forbidden=("scenario", [0.0, 1.0, 0.0, 1.0, 0.0])
    )
    program, plan = dro.TwoStageProgram(data, build, serve, dearer_on_two), xr.Dataset({"built": 1.0})
    plain = program.evaluate(plan, preferred=False)
    with pytest.warns(DrofcmWarning, match="in scenario 'day 1', 'day 3': no recourse"):
        result = program.evaluate(plan)
    for label in ("day 1", "day 3"):
        xr.testing.assert_identical(result.recourse.sel(scenario=label), plain.recourse.sel(scenario=label))
    for label in ("day 0", "day 2", "day 4"):
        own = data.second.sel(scenario=label)
        # two units, both in the hour where they weigh least
        assert float((own * result.recourse["served"].sel(scenario=label)).sum()) == pytest.approx(2 * float(own.min()))


def test_integers_that_are_whole_by_tolerance_only_stay_as_they_came() -> None:
    program = store(6)
    plain = program.evaluate(xr.Dataset({"built": 1.0}), preferred=False)
    used = plain.recourse["used"].copy(deep=True)
    used[2] = used[2] - 1e-7
    near = replace(plain, recourse=plain.recourse.assign(used=used))
    with pytest.warns(DrofcmWarning, match="in scenario 'day 2': its integers are not whole"):
        result = preferred(program.blocks(), program._wishes(program.blocks(), None), near)
    xr.testing.assert_identical(result.recourse.isel(scenario=2), near.recourse.isel(scenario=2))
    expected = program.evaluate(plain.first_stage)
    others = [0, 1, 3, 4]
    xr.testing.assert_identical(result.recourse.isel(scenario=others), expected.recourse.isel(scenario=others))


def test_a_cost_that_is_not_the_least_is_kept_rather_than_changed() -> None:
    """A recourse that costs more than it must: with its cost as a limit the first expression would make it cheaper."""
    data = store_data(6).assign(
        demand=(("scenario", "hour"), np.full((5, HOURS), 2.0)),
        first=(("scenario", "hour"), -np.ones((5, HOURS))),
    )
    program = dro.TwoStageProgram(data, build, serve, wish)
    plain = program.evaluate(xr.Dataset({"built": 1.0}), preferred=False)
    dear = replace(plain, recourse_cost=plain.recourse_cost + 50.0)
    with pytest.warns(DrofcmWarning, match="its cost would change by"):
        result = preferred(program.blocks(), program._wishes(program.blocks(), None), dear)
    xr.testing.assert_identical(result.recourse, dear.recourse)
    xr.testing.assert_identical(result.recourse_cost, dear.recourse_cost)


def test_an_interrupted_choice_loses_no_plan(monkeypatch: pytest.MonkeyPatch) -> None:
    program = store(7)
    plain = program.solve(preferred=False)

    def interrupted(*arguments: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(program_module, "choose_preferred", interrupted)
    with pytest.warns(DrofcmWarning, match="the choice was interrupted"):
        result = program.solve()
    xr.testing.assert_identical(result.first_stage, plain.first_stage)
    xr.testing.assert_identical(result.recourse, plain.recourse)
    with pytest.raises(KeyboardInterrupt):
        program.evaluate(plain.first_stage)


def test_a_recourse_of_continuous_variables_alone() -> None:
    def serve_some(m: dro.Stage, data: xr.Dataset) -> Any:
        served = m.nonnegative("served", over="hour", upper=data.demand)
        m.subject_to("energy", served.sum("hour") <= data.energy * m["built"])
        return data.price * (data.demand - served).sum("hour")

    data = store_data(8).assign(demand=(("scenario", "hour"), np.full((5, HOURS), 2.0)))
    result = dro.TwoStageProgram(data, build, serve_some, wish).evaluate(xr.Dataset({"built": 2.0}))
    for label in data.scenario.values:
        best = by_enumeration(data, label, 2.0)
        served = result.recourse["served"].sel(scenario=label)
        assert float((data.first.sel(scenario=label) * served).sum()) == pytest.approx(best[1], abs=1e-7)
        assert float((data.second.sel(scenario=label) * served).sum()) == pytest.approx(best[2], abs=1e-7)


def cheapest_pair(cost: float) -> Wish:
    """x + y >= 1 at the cost x + y, which is 1 at least; y is wanted."""
    two = np.ones(2)
    problem = MatrixProblem(
        cost=two,
        constant=0.0,
        rows=sp.csr_array(two[np.newaxis, :]),
        row_lower=np.ones(1),
        row_upper=np.full(1, np.inf),
        lower=np.zeros(2),
        upper=two,
        integer=np.zeros(2, dtype=bool),
    )
    return Wish(problem, sp.csr_array(np.array([[1.0, 0.0]])), cost)


def test_a_cost_that_is_right_to_the_solver_s_tolerance_is_close_enough() -> None:
    for cost in (1.0, 1 - 3e-10, 1 + 3e-10):
        chosen = grant(cheapest_pair(cost)).columns
        assert chosen is not None
        assert chosen == pytest.approx([0, 1], abs=1e-9)
    assert "no recourse of its cost" in grant(cheapest_pair(1 - 1e-6)).why
    assert grant(cheapest_pair(1 - 1e-6)).columns is None
