"""Plans one move away: all of them, completed at least cost, in the order of their bounds; against enumeration."""

from __future__ import annotations

import itertools

import depots
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import drofcm as dro
from drofcm.blocks.tender import with_tender
from drofcm.solve import neighbours
from drofcm.solve.evaluation import Evaluation
from drofcm.solve.execution import executor
from drofcm.solve.neighbours import Nearby, Neighbours, Polish
from drofcm.solve.search import Search
from drofcm.solve.stopping import Stopping

TENDER = with_tender(depots.blocks())
PLANS = depots.plans()
WHOLE = [TENDER.lift(depots.columns(plan)) for plan in PLANS]
FIRST = TENDER.blocks.first_stage


def there(x: np.ndarray) -> tuple[int, ...]:
    """Modules at the depots, which is what scenarios see."""
    return tuple(round(value) for value in x[-depots.DEPOTS :])


def cheapest(modules: tuple[int, ...]) -> float:
    """The least cost of the first stage with so many modules at the depots; by trying all plans."""
    return min((float(FIRST.cost @ x) for x in WHOLE if there(x) == modules), default=np.inf)


@given(st.sampled_from(range(len(PLANS))))
def test_all_plans_one_move_away(number: int) -> None:
    """One more, one less, or one elsewhere."""
    x = WHOLE[number]
    here = np.array(there(x))
    around = Neighbours(TENDER.blocks).of(x)
    moves = [move for move in itertools.product((-1, 0, 1), repeat=2) if any(move) and abs(sum(move)) <= 1]
    # the sum of a depot's modules is at most all there are
    most = int(depots.data().stock.sum())
    expected = sorted(tuple(here + move) for move in moves if ((here + move >= 0) & (here + move <= most)).all())
    assert sorted(there(other) for other in around) == expected
    assert (around[:, : -depots.DEPOTS] == x[: -depots.DEPOTS]).all()


@given(st.sampled_from(range(len(PLANS))))
def test_completed_at_least_cost(number: int) -> None:
    """What is shipped from where follows the prices and stocks; a bound by the relaxation comes first."""
    moves = Neighbours(TENDER.blocks)
    for other in moves.of(WHOLE[number]):
        least, whole = cheapest(there(other)), moves.complete(other)
        if np.isinf(least):
            assert whole is None
        else:
            assert whole is not None
            assert there(whole) == there(other)
            assert float(FIRST.cost @ whole) == pytest.approx(least)
            assert any((whole == plan).all() for plan in WHOLE)
        assert moves.least_cost(other) <= least + 1e-9


@given(st.sampled_from(range(len(PLANS))), st.floats(0, 20), st.data())
def test_least_bound_first_and_none_that_costs_too_much(number: int, below: float, data: st.DataObject) -> None:
    """Bounds that rise between two questions are heeded."""
    moves, x = Neighbours(TENDER.blocks), WHOLE[number]
    least = {there(other): moves.least_cost(other) for other in moves.of(x)}
    recourse = {modules: data.draw(st.floats(0, 10)) for modules in least}
    left = {modules for modules in least if np.isfinite(cheapest(modules))}
    nearby = Nearby(moves, x, lambda other: recourse[there(other)])
    while (told := nearby.next(below)) is not None:
        bounds = {modules: least[modules] + recourse[modules] for modules in left}
        assert bounds[there(told)] == pytest.approx(min(bounds.values()))
        assert bounds[there(told)] < below
        left.remove(there(told))
        for modules in left:
            recourse[modules] += data.draw(st.sampled_from([0.0, 0.0, 5.0]))
    assert all(least[modules] + recourse[modules] >= below for modules in left)


@pytest.mark.parametrize("number", [0, 17, 60])
def test_search_ends_where_no_neighbour_is_better(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """From any plan, without a master; all neighbours are tried here, and the cuts found on the way may stay."""
    monkeypatch.setattr(neighbours, "_TRIES", 100)
    blocks = TENDER.blocks
    with executor(blocks, None, 1) as ask:
        search = Search(blocks, dro.Expectation(), dro.Nominal(), Stopping(1e-7, None, None), ask)
        search.begin()
        evaluation = Evaluation(search)
        evaluation.at(WHOLE[number])
        Polish(search, evaluation).run([])
    best: dict[tuple[int, ...], float] = {}
    for plan, x in zip(PLANS, WHOLE, strict=True):
        best[there(x)] = min(best.get(there(x), np.inf), depots.value(plan))
    assert search.plan is not None
    assert search.upper == pytest.approx(best[there(search.plan)])
    for move in itertools.product((-1, 0, 1), repeat=2):
        if abs(sum(move)) <= 1:
            assert best.get(tuple(np.array(there(search.plan)) + move), np.inf) >= search.upper - 1e-6
