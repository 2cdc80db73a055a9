"""Searches that would repeat themselves end, and what has no cost or no recourse is weighed with care."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import xarray as xr
from cases.random_programs import blocks_of, instance, risk_of

import drofcm as dro
from drofcm.core.errors import SolveError
from drofcm.solve import search as searching
from drofcm.solve.gap import closed, relative_gap
from drofcm.solve.integers import IntegerPhase
from drofcm.solve.master import Master
from drofcm.solve.recourse import result_at
from drofcm.solve.stopping import Stopping


def lots(scenarios: int = 3) -> dro.TwoStageProgram:
    """Whole lots at two depots, sent in whole lots: cuts of the relaxation fall short."""
    demand = np.array([0.8, 1.9, 1.1])[:scenarios]
    data = xr.Dataset(
        {"price": ("depot", [0.72, 0.63]), "rent": ("depot", [0.75, 0.98]), "demand": ("scenario", demand)},
        coords={"depot": ["a", "b"], "scenario": list(range(scenarios))},
    )
    program = dro.TwoStageProgram(data)

    @program.first_stage
    def buy(m: Any, data: Any) -> Any:
        active, kept = m.binary("active", over="depot"), m.integer("kept", over="depot", upper=2.0)
        m.subject_to("room", kept <= 2 * active)
        return (data.price * kept + data.rent * active).sum()

    @program.recourse
    def use(m: Any, data: Any) -> Any:
        sent, missing = m.integer("sent", over="depot"), m.nonnegative("missing")
        m.subject_to("there", sent <= m["kept"])
        m.subject_to("met", sent.sum("depot") + missing >= data.demand)
        return 0.1 * sent.sum("depot") + 3.5 * missing

    return program


def test_steps_that_tell_nothing_new_end_the_search_with_its_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    right = lots().solve(method="extensive", gap=1e-6).objective
    steps: list[int] = []

    def nothing(self: IntegerPhase) -> None:
        steps.append(1)

    monkeypatch.setattr(IntegerPhase, "_improve", nothing)
    monkeypatch.setattr(IntegerPhase, "_lead", lambda self: False)
    start = xr.Dataset({"active": ("depot", [1.0, 0.0]), "kept": ("depot", [2.0, 0.0])})
    start = start.assign_coords(depot=["a", "b"])
    monkeypatch.setattr(IntegerPhase, "_split", lambda self: None)
    result = lots().solve(method="lshaped", gap=0.0, workers=1, start=start)
    assert result.status == "stalled"
    assert result.lower_bound <= right <= result.objective
    # three times in vain, after those that still found neighbours of the plan
    assert len(steps) <= 8


@pytest.mark.parametrize("gap", [0.0, 1e-6])
def test_gap_of_zero_ends(gap: float) -> None:
    right = lots().solve(method="extensive", gap=1e-6)
    result = lots().solve(method="lshaped", gap=gap, workers=1, risk=dro.Expectation())
    assert result.status == "optimal"
    assert result.objective == pytest.approx(right.objective, rel=1e-6)


@pytest.mark.parametrize(
    ("lower", "upper", "gap", "size", "enough"),
    [
        (1.0, 1.0 + 2e-16, 0.0, 1.0, True),
        (0.0, 1e-10, 0.0, 0.0, True),
        (99.0, 100.0, 0.0, 1e12, True),
        (99.0, 100.0, 0.0, 1e3, False),
        (99.0, 100.0, 0.01, 1e3, True),
        (-np.inf, 0.0, np.inf, 1.0, False),
    ],
)
def test_least_gap_that_can_be_told(lower: float, upper: float, gap: float, size: float, enough: bool) -> None:
    assert closed(lower, upper, gap, size) is enough
    assert (Stopping(gap).reason(lower, upper, 0, size) == "optimal") is enough


def test_what_tolerances_leave_is_sought_and_then_called_optimal() -> None:
    blocks, settings = lots().blocks(), {"log": None, "provenance": {}, "gap": 1e-9}
    x = blocks.first_stage_columns(lots().solve(method="extensive", gap=1e-6).first_stage)
    right = result_at(blocks, x, dro.Expectation(), dro.Nominal(), lower_bound=-1.0, status="stalled", **settings)
    for share, status in ((0.5e-7, "optimal"), (1e-5, "stalled")):
        lower = right.objective - share * abs(right.objective)
        assert Stopping(1e-9).reason(lower, right.objective, 0, abs(right.objective)) is None
        told = result_at(blocks, x, dro.Expectation(), dro.Nominal(), lower_bound=lower, status="stalled", **settings)
        assert told.status == status


@pytest.mark.parametrize(("lower", "upper", "gap"), [(1.0, 2.0, 0.5), (0.0, 0.0, 0.0), (-1.0, 0.0, np.inf)])
def test_relative_gap(lower: float, upper: float, gap: float) -> None:
    assert relative_gap(lower, upper) == gap
    assert relative_gap(lower * 1e-15, upper * 1e-15) == pytest.approx(gap)


def test_lower_bound_above_the_cost_of_the_plan_is_no_answer() -> None:
    blocks, settings = lots().blocks(), {"log": None, "provenance": {}, "status": "optimal", "gap": 1e-3}
    x = blocks.first_stage_columns(lots().solve(method="extensive", gap=1e-6).first_stage)
    right = result_at(blocks, x, dro.Expectation(), dro.Nominal(), lower_bound=-1.0, **settings)
    # what the search called optimal is not by these bounds
    assert right.status == "stalled"
    near = right.objective * (1 + 1e-8)
    assert result_at(blocks, x, dro.Expectation(), dro.Nominal(), lower_bound=near, **settings).gap == 0
    with pytest.raises(SolveError, match="above the cost of a plan"):
        result_at(blocks, x, dro.Expectation(), dro.Nominal(), lower_bound=right.objective * 1.01, **settings)


def test_false_bound_of_the_region_of_the_best_plan_is_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    point = Master.point

    def false(self: Master, outcome: Any) -> Any:
        told = point(self, outcome)
        return told.__class__(**{**vars(told), "bound": told.bound + 1.0})

    monkeypatch.setattr(Master, "point", false)
    with pytest.raises(SolveError, match=r"bounds do not hold|above the cost of a plan"):
        lots().solve(method="lshaped", gap=1e-6, workers=1)


def test_cost_that_is_infinite_somewhere_needs_no_weights() -> None:
    own = instance(10)
    blocks = blocks_of(own)
    search = searching.Search(blocks, risk_of(own), dro.TotalVariation(0.3), Stopping(0.1), ask=None)  # type: ignore[arg-type]
    count = len(own.probability)
    x = np.zeros(len(own.first.cost))
    assert search.objective(x, np.append(np.zeros(count - 1), np.inf)) == np.inf
    assert search.objective(x, np.append(np.zeros(count - 1), -np.inf)) == -np.inf
