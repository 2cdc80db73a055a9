"""One cost column and consolidated cuts: the same bounds and plans as with a column and all cuts for every scenario."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import depots
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import drofcm as dro
from drofcm.blocks.tender import with_tender
from drofcm.solve import master as module
from drofcm.solve.cuts import Cut, CutPool
from drofcm.solve.highs import LinearProgram
from drofcm.solve.master import Master, Question
from drofcm.solve.regions import Region, binaries

BLOCKS = with_tender(depots.blocks()).blocks
FIRST = BLOCKS.first_stage
SEEN = slice(len(FIRST.cost) - depots.DEPOTS, None)
RISKS = [dro.Expectation(), dro.CVaR(0.6), 0.5 * dro.Expectation() + 0.5 * dro.CVaR(0.8), dro.WorstCase()]
SETS: list[Any] = [dro.Nominal(), dro.TotalVariation(0.2)]


@pytest.fixture(autouse=True, scope="module")
def _with_few_cuts_too() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_FEW_CUTS", 0)
        yield


def cuts(rng: np.random.Generator, most: int, feasibility: int) -> list[Cut]:
    """Random cuts on the modules at the depots; feasibility cuts leave plans with some of them."""

    def gradient(low: float, high: float) -> np.ndarray:
        made = np.zeros(len(FIRST.cost))
        made[SEEN] = rng.uniform(low, high, depots.DEPOTS)
        return made

    made = [
        Cut(s, float(rng.uniform(0, 12)), gradient(-4, 0.5))
        for s in range(depots.EVENTS)
        for _ in range(rng.integers(1, most + 1))
    ]
    made += [Cut(0, float(rng.uniform(0.5, 3)), gradient(-2, -0.6), bounds_cost=False) for _ in range(feasibility)]
    return made


def master(seed: int, risk: Any, ambiguity: Any, most: int, feasibility: int) -> Master:
    rng = np.random.default_rng(seed)
    floor = rng.choice([-np.inf, 0.0, 2.0], depots.EVENTS)
    made = Master(BLOCKS, risk, ambiguity, floor)
    made.add(cuts(rng, most, feasibility))
    return made


def region(rng: np.random.Generator) -> Region:
    """One depot rented or not, and some cuts of its own."""
    column = rng.choice(binaries(FIRST))
    lower, upper = FIRST.lower.copy(), FIRST.upper.copy()
    lower[column] = upper[column] = rng.integers(0, 2)
    own = CutPool(len(FIRST.cost))
    own.add(cuts(rng, 2, 0))
    return Region(lower, upper, -np.inf, own)


@given(
    st.integers(0, 10**6),
    st.sampled_from(RISKS),
    st.sampled_from(SETS),
    st.integers(1, 8),
    st.integers(0, 3),
    st.booleans(),
)
def test_search_finds_what_all_cuts_find(
    seed: int, risk: Any, ambiguity: Any, most: int, feasibility: int, part: bool
) -> None:
    made = master(seed, risk, ambiguity, most, feasibility)
    question = Question(1e-7, region=region(np.random.default_rng(seed + 1)) if part else None)
    expected = made.task(question).run()
    point = made.search(question)
    assert point is not None
    assert point.status == expected.status
    if point.status == "infeasible":
        assert point.bound == np.inf
        return
    assert point.bound == pytest.approx(expected.objective, rel=1e-6, abs=1e-6)
    assert point.bound <= expected.objective + 1e-6
    # and the plan costs that much, by all cuts
    again = made.task(Question(1e-7, region=fixed(point.x, question.region))).run()
    assert again.objective == pytest.approx(expected.objective, rel=1e-6, abs=1e-6)


def fixed(x: np.ndarray, inside: Region | None) -> Region:
    return Region(x, x, -np.inf, CutPool(len(x)) if inside is None else inside.cuts)


@given(st.integers(0, 10**6), st.sampled_from(RISKS), st.sampled_from(SETS), st.integers(1, 8), st.integers(0, 3))
def test_bounds_of_choices_are_those_of_all_cuts(
    seed: int, risk: Any, ambiguity: Any, most: int, feasibility: int
) -> None:
    """One after the other, as a branch and bound asks for them; at most a ten-thousandth below."""
    made, rng = master(seed, risk, ambiguity, most, feasibility), np.random.default_rng(seed)
    columns = binaries(FIRST)
    for _ in range(4):
        lower = rng.integers(0, 2, len(columns)).astype(float)
        upper = np.maximum(lower, rng.integers(0, 2, len(columns)))
        whole = made.problem()
        whole.lower[columns], whole.upper[columns] = lower, upper
        expected = LinearProgram(whole).solve()
        bound, values = made.bound_in(columns, lower, upper)
        if expected.status == "infeasible":
            assert bound == np.inf
            assert values is None
            continue
        assert bound <= expected.objective + 1e-6
        assert bound >= expected.objective - 2e-4 * abs(expected.objective) - 1e-6
        assert values is not None
        assert ((lower - 1e-6 <= values) & (values <= upper + 1e-6)).all()


def test_search_that_may_end_early() -> None:
    made = master(3, RISKS[2], SETS[0], 6, 0)
    best = made.task(Question(1e-9)).run().objective
    point = made.search(Question(1e-9, enough=best - 2))
    assert point is not None
    assert point.status == "enough"
    assert best - 2 <= point.bound <= best
    late = made.search(Question(1e-9, time_limit=0.0))
    assert late is not None
    assert late.status == "time_limit"
    assert late.bound <= best + 1e-6
    began = made.search(Question(1e-9, start=with_tender(depots.blocks()).lift(depots.columns((1, 0, 1, 0, 0, 0)))))
    assert began is not None
    assert began.bound == pytest.approx(best)


def test_nothing_to_consolidate_where_a_cost_has_no_bound_or_a_scenario_is_whole() -> None:
    made = Master(BLOCKS, dro.Expectation(), dro.Nominal(), np.full(depots.EVENTS, -np.inf))
    made.add(cuts(np.random.default_rng(1), 2, 0)[:1])
    assert made.search(Question(1e-6)) is None
    kept = master(1, RISKS[0], SETS[0], 3, 0)
    assert kept.search(Question(1e-6)) is not None
    kept.keep([2])
    assert kept.search(Question(1e-6)) is None


def test_few_cuts_are_not_consolidated(monkeypatch: pytest.MonkeyPatch) -> None:
    made = master(1, RISKS[0], SETS[0], 3, 0)
    monkeypatch.setattr(module, "_FEW_CUTS", len(made.pool))
    assert made.search(Question(1e-6)) is None
    monkeypatch.setattr(module, "_FEW_CUTS", len(made.pool) - 1)
    assert made.search(Question(1e-6)) is not None
