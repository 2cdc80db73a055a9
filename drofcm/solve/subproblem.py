"""The recourse of one scenario, asked in four ways: relaxed, exact, and as a Lagrangian over the first stage.

Every answer is a pure function of the scenario's matrices and the request, so it does not matter where or how often
it is computed. What stays in memory between requests is a basis, which saves time only.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from drofcm.blocks.form import FirstStage, Scenario
from drofcm.core.errors import SolveError
from drofcm.solve.highs import LinearProgram, MatrixProblem, Outcome, Status, solve
from drofcm.solve.problem import dual_bound, elastic

__all__ = ["REPORTED_GAP", "Answer", "Point", "Request", "Subproblem", "at_plan", "reported"]

Vector = npt.NDArray[np.float64]
Columns = npt.NDArray[np.int64]

REPORTED_GAP = 1e-6
"""Relative gap of a recourse that is reported; its value is an upper bound within this share of the optimum."""

_LAGRANGIAN_GAP = 1e-3

_MISSED = 1e-6
"""By how much the rows of a recourse may be missed together, relative to their sides, to count as satisfied."""


@dataclass(frozen=True)
class Point:
    """A first stage and the cost of some feasible recourse at it."""

    x: Vector
    cost: float


@dataclass(frozen=True)
class Request:
    """What to find out about one scenario at the first stage ``x``, (n).

    Attributes
    ----------
    relaxed
        Solve the linear relaxation of the recourse: a cost and a subgradient.
    exact
        Solve the recourse with its integers.
    gap
        Relative gap of the exact cost.
    report
        Solve the recourse to be reported: to ``REPORTED_GAP`` or ``gap``, whichever is less, with integers that are
        whole, columns included.
    steps
        Steps of the Lagrangian dual; 0 for none. The first is at ``gradient``, or else at the relaxation's.
    gradient
        Where the Lagrangian dual starts, (n).
    points
        Points of earlier steps; they guide the later ones.
    target, close
        Stop the Lagrangian steps when the bound at ``x`` comes within ``close`` of ``target``, the exact cost.
    within
        Least and largest first stage, (n) each, for which the Lagrangian cuts are to hold; None for all.
    seconds
        Time limit of every mixed-integer problem.
    """

    x: Vector
    relaxed: bool = True
    exact: bool = False
    gap: float = 1e-4
    report: bool = False
    steps: int = 0
    gradient: Vector | None = None
    points: tuple[Point, ...] = ()
    target: float = np.inf
    close: float = 0.0
    within: tuple[Vector, Vector] | None = None
    seconds: float | None = None


@dataclass(frozen=True)
class Answer:
    """What was found.

    Attributes
    ----------
    relaxed, gradient
        Cost of the relaxation and its subgradient; None where it was not asked for or is infeasible.
    least
        What the multipliers behind ``gradient`` prove of the relaxation's cost, or of ``violation`` where that is not
        zero: what a cut may say.
    violation
        Cost of the relaxation's infeasibility, with ``gradient`` its subgradient; 0 where it is feasible.
    lagrangian
        Pairs (constant, gradient) with cost >= constant + gradient.x for every feasible first stage that the request
        asked about.
    upper, lower
        Bounds of the exact cost at ``x``; both infinite where no recourse exists.
    columns
        The recourse, where a report was asked for.
    points
        Points that the Lagrangian steps came by.
    seconds
        Spent inside the solver, by kind.
    """

    relaxed: float | None = None
    least: float = -np.inf
    gradient: Vector | None = None
    violation: float = 0.0
    lagrangian: tuple[tuple[float, Vector], ...] = ()
    upper: float = np.inf
    lower: float = -np.inf
    columns: Vector | None = None
    points: tuple[Point, ...] = ()
    seconds: dict[str, float] = field(default_factory=dict)


def at_plan(scenario: Scenario, x: Vector) -> MatrixProblem:
    """The recourse problem of one scenario at a fixed first stage."""
    fixed = scenario.technology @ x
    return MatrixProblem(
        cost=scenario.cost,
        constant=scenario.constant + float(scenario.first_stage_cost @ x),
        rows=scenario.recourse,
        row_lower=scenario.row_lower - fixed,
        row_upper=scenario.row_upper - fixed,
        lower=scenario.lower,
        upper=scenario.upper,
        integer=scenario.integer,
    )


def widened(problem: MatrixProblem) -> MatrixProblem | None:
    """A problem without solution, its rows as wide as one needs that misses them by rounding; None if none does.

    A first stage from a solver is right to a tolerance, and rows that leave nothing to choose pass the error on.
    """
    columns = len(problem.cost)
    outcome = solve(elastic(problem), threads=1)
    if outcome.x is None:
        return None
    sides = np.concatenate([np.abs(side[np.isfinite(side)]) for side in (problem.row_lower, problem.row_upper)])
    if outcome.objective > _MISSED * max(1.0, sides.max(initial=0.0)):
        return None
    value = problem.rows @ outcome.x[:columns]
    return replace(
        problem, row_lower=np.minimum(problem.row_lower, value), row_upper=np.maximum(problem.row_upper, value)
    )


def reported(problem: MatrixProblem, gap: float = REPORTED_GAP) -> Outcome:
    """Solve, then solve again with the integers fixed at whole numbers, so that what is reported is whole."""
    outcome = solve(problem, gap=min(gap, REPORTED_GAP), lean=True, threads=1)
    if outcome.x is None or not problem.integer.any():
        return outcome
    whole = np.round(outcome.x)
    fixed = replace(
        problem,
        lower=np.where(problem.integer, whole, problem.lower),
        upper=np.where(problem.integer, whole, problem.upper),
        integer=np.zeros_like(problem.integer),
    )
    polished = solve(fixed, threads=1)
    # rounding can cost feasibility where a row leans on the integrality tolerance; the unrounded answer holds then
    return polished if polished.x is not None else outcome


class Subproblem:
    """One scenario, with the first stage it belongs to.

    Parameters
    ----------
    first_stage, scenario
        The matrices.
    label
        Name of the scenario, for messages.
    """

    def __init__(self, first_stage: FirstStage, scenario: Scenario, label: object) -> None:
        self._first, self._scenario, self._label = first_stage, scenario, label
        self._relaxation: LinearProgram | None = None
        self._joint: MatrixProblem | None = None

    def answer(self, request: Request) -> Answer:
        """Find out what is asked for.

        Raises
        ------
        SolveError
            If the recourse is unbounded, or HiGHS fails.
        """
        clock = _Clock()
        answer = Answer()
        if request.report:
            problem = at_plan(self._scenario, request.x)
            outcome = reported(problem, request.gap)
            if outcome.status == "infeasible":
                near = widened(problem)
                outcome = outcome if near is None else reported(near, request.gap)
            self._refuse_unbounded(outcome.status)
            return Answer(upper=outcome.objective, lower=outcome.bound, columns=outcome.x)
        if request.relaxed:
            with clock("relaxed"):
                answer = self._relaxed(request.x)
        if request.exact and answer.violation == 0:
            with clock("exact"):
                answer = self._exact(request, answer)
        start = answer.gradient if request.gradient is None else request.gradient
        if request.steps and start is not None and answer.violation == 0:
            with clock("lagrangian"):
                cuts, points = self._lagrangian(request, start)
            answer = replace(answer, lagrangian=cuts, points=points)
        return replace(answer, seconds=clock.spent)

    def floor(self) -> float:
        """The least cost over all first stages, integers relaxed; -inf where there is none."""
        joint = self.joint()
        outcome = solve(replace(joint, integer=np.zeros_like(joint.integer)), threads=1)
        if outcome.status == "infeasible":
            return np.inf
        return outcome.bound

    def joint(self) -> MatrixProblem:
        """Recourse and first stage chosen together: columns x, then w; all rows of both."""
        if self._joint is None:
            first, own = self._first, self._scenario
            rows = [[own.technology, own.recourse], [first.rows, sp.csr_array((len(first.row_lower), len(own.cost)))]]
            self._joint = MatrixProblem(
                cost=np.concatenate([own.first_stage_cost, own.cost]),
                constant=own.constant,
                rows=sp.csr_array(sp.vstack([sp.hstack(pair) for pair in rows])),
                row_lower=np.concatenate([own.row_lower, first.row_lower]),
                row_upper=np.concatenate([own.row_upper, first.row_upper]),
                lower=np.concatenate([first.lower, own.lower]),
                upper=np.concatenate([first.upper, own.upper]),
                integer=np.concatenate([first.integer, own.integer]),
            )
        return self._joint

    def _seen(self) -> Columns:
        """Columns of the first stage that enter the scenario."""
        own = self._scenario
        return np.union1d(own.technology.indices, np.flatnonzero(own.first_stage_cost)).astype(np.int64)

    def _relaxed(self, x: Vector) -> Answer:
        own = self._scenario
        problem = at_plan(own, x)
        if self._relaxation is None:
            self._relaxation = LinearProgram(replace(problem, constant=0.0))
        else:
            self._relaxation.set_row_bounds(problem.row_lower, problem.row_upper)
        outcome = self._relaxation.solve()
        self._refuse_unbounded(outcome.status)
        least = outcome.bound
        if outcome.status == "infeasible":
            near = widened(replace(problem, integer=np.zeros_like(problem.integer)))
            if near is None:
                return self._violation(problem)
            outcome = LinearProgram(replace(near, constant=0.0)).solve()
            if outcome.status != "optimal":
                return self._violation(problem)
            # multipliers of the rows as they were widened prove something of the rows as they are
            least = dual_bound(replace(problem, constant=0.0), outcome.dual)
        gradient = own.first_stage_cost - own.technology.T @ outcome.dual
        constant = problem.constant
        return Answer(relaxed=outcome.objective + constant, least=least + constant, gradient=gradient)

    def _refuse_unbounded(self, status: Status) -> None:
        if status == "unbounded":
            raise SolveError(f"the recourse of scenario {self._label!r} is unbounded: a cost or a bound is missing")

    def _violation(self, problem: MatrixProblem) -> Answer:
        """How far the rows are from being satisfiable, and what the first stage can do about it."""
        outcome = LinearProgram(elastic(problem)).solve()
        if outcome.status != "optimal" or outcome.objective <= 0:
            raise SolveError(f"the recourse of scenario {self._label!r} is infeasible by less than the tolerance")
        gradient = -(self._scenario.technology.T @ outcome.dual)
        return Answer(violation=outcome.objective, least=outcome.bound, gradient=gradient)

    def _exact(self, request: Request, answer: Answer) -> Answer:
        if not self._scenario.integer.any() and answer.relaxed is not None:
            return replace(answer, upper=answer.relaxed, lower=answer.relaxed)
        problem = at_plan(self._scenario, request.x)
        outcome = solve(problem, gap=request.gap, time_limit=request.seconds, lean=True, threads=1)
        self._refuse_unbounded(outcome.status)
        return replace(answer, upper=outcome.objective, lower=outcome.bound)

    def _lagrangian(
        self, request: Request, start: Vector
    ) -> tuple[tuple[tuple[float, Vector], ...], tuple[Point, ...]]:
        """Raise v(g) + g.x, v(g) = min over all (x', w) of cost - g.x', by a level bundle.

        The first step is the strengthened Benders cut of Zou, Ahmed and Sun (2019), the following ones move towards
        the Lagrangian cut, which is tight at every first stage where the convex hull of the scenario's problem is.
        The level lies close below the exact cost, which is the value of the dual where there is no duality gap.
        """
        cuts: list[tuple[float, Vector]] = []
        points: list[Point] = []
        gradient, centre, best, target = start, start, -np.inf, request.target
        for step in range(request.steps):
            # the Lagrangian at any solution, the best at this first stage too, bounds it from above
            met = (Point(request.x, request.target), *request.points, *points)
            known = min(own.cost - float(gradient @ own.x) + _MISSED * abs(own.cost) for own in met)
            bound, point = self._dual_value(gradient, request, known)
            if point is not None:
                points.append(point)
            if not np.isfinite(bound):
                break
            value = bound + float(gradient @ request.x)
            cuts.append((bound, gradient))
            if value > best:
                centre, best = gradient, value
            solutions = (*request.points, *points)
            if step + 1 == request.steps or not solutions or not np.isfinite(target):
                break
            following, model = None, _BundleModel(solutions, request.x, centre, self._seen())
            while following is None and target - best > max(request.close, _LAGRANGIAN_GAP * abs(best) / 4):
                level = best + _LEVEL * (target - best)
                following = model.reach(level)
                # a level that the model does not reach is above the dual's value
                target = target if following is not None else level
            if following is None:
                break
            gradient = following
        keep = sorted(cuts, key=lambda cut: -(cut[0] + float(cut[1] @ request.x)))[:_KEPT_CUTS]
        return tuple(keep), tuple(points)

    def _dual_value(self, gradient: Vector, request: Request, known: float) -> tuple[float, Point | None]:
        joint, n = self.joint(), len(gradient)
        if request.within is not None:
            lower, upper = joint.lower.copy(), joint.upper.copy()
            lower[:n], upper[:n] = request.within
            joint = replace(joint, lower=lower, upper=upper)
        cost = joint.cost.copy()
        cost[:n] -= gradient
        outcome = solve(
            replace(joint, cost=cost),
            gap=_LAGRANGIAN_GAP,
            time_limit=request.seconds,
            known=known,
            lean=True,
            threads=1,
        )
        if outcome.status == "infeasible":
            return np.inf, None
        if outcome.x is None:
            return outcome.bound, None
        x = np.where(self._first.integer, np.round(outcome.x[:n]), outcome.x[:n])
        return outcome.bound, Point(x, outcome.objective + float(gradient @ x))


_LEVEL = 0.9
"""Where the level lies between the best value of the dual and what it can reach at most."""

_EQUAL = 1e-12
"""Share of a figure by which two of them differ that are equal."""

_KEPT_CUTS = 2
"""Lagrangian cuts handed back: the best at the point."""


class _BundleModel:
    """The bundle's model of the dual, min_k cost_k + g.(x - x_k) over gradients g.

    Parameters
    ----------
    points
        The bundle.
    x
        Where the dual is to be high, (n).
    centre
        The best gradient so far, (n).
    seen
        The columns in which gradients may differ from it.
    """

    def __init__(self, points: tuple[Point, ...], x: Vector, centre: Vector, seen: Columns) -> None:
        n, count = len(seen), len(points)
        away = sp.csr_array(np.ones((n, 1)))
        apart = np.array([point.x - x for point in points])
        # what is the rounding of equal figures is no direction
        apart[np.abs(apart) <= _EQUAL * np.maximum(1.0, np.abs(x))] = 0.0
        unit = sp.eye_array(n)
        steps = sp.hstack([sp.csr_array(apart[:, seen]), sp.csr_array((count, 1))])
        self._centre, self._seen = centre, seen
        # what the other columns contribute does not change
        fixed = apart @ centre - apart[:, seen] @ centre[seen]
        self._most = np.array([point.cost for point in points]) - fixed
        self._below = np.full(count + 2 * n, -np.inf)
        self._program = LinearProgram(
            MatrixProblem(
                cost=np.concatenate([np.zeros(n), [1.0]]),
                constant=0.0,
                rows=sp.csr_array(sp.vstack([steps, sp.hstack([unit, -away]), sp.hstack([-unit, -away])])),
                row_lower=self._below,
                row_upper=self._above(0.0),
                lower=np.concatenate([np.full(n, -np.inf), [0.0]]),
                upper=np.full(n + 1, np.inf),
                integer=np.zeros(n + 1, dtype=bool),
            )
        )

    def reach(self, level: float) -> Vector | None:
        """The gradient nearest to the centre, by its largest component, where the model is at least ``level``.

        None if the model does not reach the level anywhere.
        """
        self._program.set_row_bounds(self._below, self._above(level))
        try:
            outcome = self._program.solve()
        except SolveError:
            # it is a direction that is sought; without one the search stays where it is
            return None
        if outcome.status != "optimal":
            return None
        reached = self._centre.copy()
        reached[self._seen] = outcome.x[: len(self._seen)]
        return reached

    def _above(self, level: float) -> Vector:
        return np.concatenate([self._most - level, self._centre[self._seen], -self._centre[self._seen]])


class _Clock:
    def __init__(self) -> None:
        self.spent: dict[str, float] = {}
        self._kind = ""
        self._began = 0.0

    def __call__(self, kind: str) -> _Clock:
        self._kind = kind
        return self

    def __enter__(self) -> None:
        self._began = time.perf_counter()

    def __exit__(self, *error: object) -> None:
        self.spent[self._kind] = self.spent.get(self._kind, 0.0) + time.perf_counter() - self._began
