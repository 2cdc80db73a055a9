"""What a solver says is computed again: wrong objectives, points, bounds and statuses do not pass."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp

from drofcm.core.errors import SolveError
from drofcm.solve import highs
from drofcm.solve.highs import LinearProgram, MatrixProblem, solve
from drofcm.solve.problem import broken, cost_of, dual_bound, proves_infeasible

Tamper = Callable[[Any], Any]


def knapsack() -> MatrixProblem:
    """max 5a + 4b + 3c subject to 2a + 3b + c <= 4, all zero or one: 8 at (1, 0, 1)."""
    return MatrixProblem(
        cost=np.array([-5.0, -4.0, -3.0]),
        constant=0.0,
        rows=sp.csr_array(np.array([[2.0, 3.0, 1.0]])),
        row_lower=np.array([-np.inf]),
        row_upper=np.array([4.0]),
        lower=np.zeros(3),
        upper=np.ones(3),
        integer=np.ones(3, dtype=bool),
    )


START = (np.arange(3, dtype=np.int32), np.array([0.0, 1.0, 1.0]))


def lying(monkeypatch: pytest.MonkeyPatch, tamper: Tamper, times: float) -> list[dict[str, Any]]:
    """Make the first answers of HiGHS wrong; the ways in which it was asked."""
    ask, asked = highs._ask, list[dict[str, Any]]()

    def telling(own: Any, first: Any, options: dict[str, Any], *rest: Any) -> Any:
        told = ask(own, first, options, *rest)
        # the problem that completes the start has all columns fixed
        if np.array_equal(own.problem.lower, own.problem.upper):
            return told
        asked.append({"start": first is not None, **options})
        return tamper(told) if len(asked) <= times else told

    monkeypatch.setattr(highs, "_ask", telling)
    return asked


LIES: dict[str, Tamper] = {
    "objective is not that of the point": lambda told: replace(told, objective=told.objective - 2),
    "point breaks a row": lambda told: replace(told, x=np.ones(3)),
    "point is not whole": lambda told: replace(told, x=np.array([1.0, 0.5, 0.5])),
    "point is outside its bounds": lambda told: replace(told, x=np.array([1.0, -1.0, 1.0])),
    "bound is above the point": lambda told: replace(told, bound=told.objective + 1),
    "gap is wider than asked": lambda told: replace(told, bound=told.objective * 1.3),
    "nothing is feasible": lambda told: replace(told, status="infeasible", x=None),
}


@pytest.mark.parametrize("lie", LIES)
@pytest.mark.parametrize("times", [1, 3])
def test_wrong_answers_are_asked_again_until_one_holds(lie: str, times: int, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = lying(monkeypatch, LIES[lie], times)
    outcome = solve(knapsack(), start=START)
    assert outcome.status == "optimal"
    assert outcome.objective == outcome.bound == pytest.approx(-8)
    assert outcome.x == pytest.approx([1, 0, 1])
    assert asked[0] == {"start": True}
    assert len(asked) == times + 1
    assert "presolve" in asked[-1] or asked[-1] == {"start": False}


@pytest.mark.parametrize("lie", LIES)
def test_what_never_holds_is_not_said(lie: str, monkeypatch: pytest.MonkeyPatch) -> None:
    lying(monkeypatch, LIES[lie], np.inf)
    if lie.startswith("point") or lie.startswith("nothing"):
        with pytest.raises(SolveError, match="no answer holds"):
            solve(knapsack(), start=START)
        return
    outcome = solve(knapsack(), start=START)
    # the point may be a good one, but nobody says so
    assert outcome.status == "stalled"
    assert outcome.bound <= -8
    assert outcome.objective >= -8


def test_a_bound_above_a_known_solution_is_asked_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    # the first answer is consistent in itself: a worse solution, and a bound that calls it the best
    worse = np.array([0.0, 1.0, 1.0])
    asked = lying(monkeypatch, lambda told: replace(told, x=worse, objective=-7.0, bound=-7.0), 1)
    assert solve(knapsack(), lean=True).bound == -7
    asked.clear()
    outcome = solve(knapsack(), lean=True, known=-8.0)
    assert len(asked) == 2
    assert outcome.bound == outcome.objective == pytest.approx(-8)


def test_infeasibility_is_said_once_more_without_presolve(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = lying(monkeypatch, lambda told: told, 0)
    problem = replace(knapsack(), row_lower=np.array([7.0]), row_upper=np.array([8.0]))
    assert solve(problem).status == "infeasible"
    assert asked == [{"start": False}, {"start": False, "presolve": "off"}]


@pytest.mark.parametrize("scale", [1e-9, 1e-6, 1.0, 1e6])
def test_gap_is_relative_at_any_scale_of_cost(scale: float) -> None:
    own = knapsack()
    outcome = solve(replace(own, cost=own.cost * scale, constant=9 * scale), gap=0.0)
    assert outcome.status == "optimal"
    assert outcome.objective == pytest.approx(scale, rel=1e-9)
    assert outcome.bound == pytest.approx(scale, rel=1e-6)


def line(cost: float, upper: float = np.inf) -> MatrixProblem:
    """min cost x subject to x >= 1, written as a row."""
    return MatrixProblem(
        cost=np.array([cost]),
        constant=0.5,
        rows=sp.csr_array(np.array([[1.0]])),
        row_lower=np.array([1.0]),
        row_upper=np.array([np.inf]),
        lower=np.zeros(1),
        upper=np.array([upper]),
        integer=np.zeros(1, dtype=bool),
    )


@pytest.mark.parametrize(
    ("dual", "upper", "bound"),
    [
        (2.0, np.inf, 2.5),  # exact
        (1.5, np.inf, 2.0),  # less than it could be
        (3.0, np.inf, -np.inf),  # not dual feasible, and nothing repairs it
        (3.0, 4.0, -0.5),  # the column's bound does: 3 + 0.5 - 1 x 4
        (-1.0, np.inf, 0.5),  # the wrong side, which is not there
    ],
)
def test_bound_that_multipliers_prove(dual: float, upper: float, bound: float) -> None:
    assert dual_bound(line(2.0, upper), np.array([dual])) == pytest.approx(bound)


def test_ray_proves_that_nothing_is_feasible_or_does_not() -> None:
    assert proves_infeasible(line(1.0, upper=0.5), np.array([1.0]))
    assert not proves_infeasible(line(1.0, upper=2.0), np.array([1.0]))
    assert not proves_infeasible(line(1.0, upper=0.5), np.array([-1.0]))
    assert not proves_infeasible(line(1.0, upper=0.5), np.array([np.nan]))


def test_tolerance_of_a_row_is_relative_to_its_terms() -> None:
    rows = sp.csr_array(np.array([[1e9, -1e9]]))
    big = replace(
        line(0.0),
        cost=np.zeros(2),
        rows=rows,
        row_lower=np.zeros(1),
        row_upper=np.zeros(1),
        lower=np.zeros(2),
        upper=np.ones(2),
        integer=np.zeros(2, dtype=bool),
    )
    assert broken(big, np.array([1.0, 1.0 + 1e-9])) == ""
    assert broken(big, np.array([1.0, 1.0 - 1e-3])) == "row 0 is missed by 1e+06"
    assert cost_of(replace(big, cost=np.array([3.0, -2.0])), np.array([1.0, 1.0])) == (1.5, 5.5)


def test_linear_program_whose_multipliers_prove_too_much_is_solved_again(monkeypatch: pytest.MonkeyPatch) -> None:
    bounds = iter([5.0, 2.5])
    monkeypatch.setattr(highs, "dual_bound", lambda *_: next(bounds))
    outcome = LinearProgram(line(2.0)).solve()
    assert outcome.objective == outcome.bound == 2.5


def test_linear_program_without_proof_of_infeasibility_is_asked_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    runs: list[int] = []
    run = LinearProgram._run
    monkeypatch.setattr(LinearProgram, "_is_proven", lambda *_: False)
    monkeypatch.setattr(LinearProgram, "_run", lambda self: (runs.append(1), run(self))[1])
    assert LinearProgram(line(1.0, upper=0.5)).solve().status == "infeasible"
    assert len(runs) == 2


def test_coefficients_that_would_be_dropped_or_refused_are_named() -> None:
    tiny = replace(line(1.0), rows=sp.csr_array(np.array([[1e-13]])))
    with pytest.raises(SolveError, match=r"column 0 has the coefficient 1e-13 in row 0.*drop"):
        solve(tiny)
    with pytest.raises(SolveError, match=r"column 0 has the coefficient 1e\+16 in row 0"):
        LinearProgram(line(1.0)).add_rows(sp.csr_array(np.array([[1e16]])), np.zeros(1), np.ones(1))
    # what cannot matter within its bounds may go
    small = replace(tiny, upper=np.array([2.0]), row_lower=np.array([-1.0]))
    assert solve(small).objective == pytest.approx(0.5)
