"""The master with one column for the judged cost, and the cuts of all scenarios consolidated where they are needed.

With a cost column and a dozen cuts for each of a thousand scenarios a master is large, and its search with integers
slow. Yet at a point the cuts of all scenarios come down to one: the best cut of each, weighted as the risk measure
weighs these costs. A few dozen of these, tight at the optima of the small master and halfway between them and the best
point so far, say as much there as all cuts together; finding one takes no solver, only all cuts' values.

References
----------
Wolf, C. and Koberstein, A. (2013). Dynamic sequencing and cut consolidation for the parallel hybrid-cut nested L-shaped
method. European Journal of Operational Research 230: 143-156.
Ben-Ameur, W. and Neto, J. (2007). Acceleration of cutting-plane and column generation algorithms.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from drofcm.blocks.form import FirstStage
from drofcm.solve.cuts import CutPool
from drofcm.solve.highs import LinearOutcome, LinearProgram, MatrixProblem, Status, solve

__all__ = ["Consolidated", "Found"]

Vector = npt.NDArray[np.float64]
Columns = npt.NDArray[np.int64]

_ENOUGH = 1e-4
"""Relative gap at which the linear master is as good as with all cuts."""

_LEAST = 1e-9
"""Relative gap below which there is nothing but rounding."""

_ROUNDS = 300
"""Rounds of the linear master at most; its bound is valid whenever it stops."""

_SEARCHES = 60
"""Searches with integers, one consolidated cut and its neighbour after each."""

_OWN_GAP = 1 / 4
"""The gap of one search with integers, as a share of the gap that is left to search and cuts together."""

_VIOLATED = 1e-7
"""Violation of a feasibility cut, relative to its size, that counts."""

_AT_ONCE = 20
"""Feasibility cuts that join at a time."""


@dataclass(frozen=True)
class Found:
    """What a search with integers found.

    Attributes
    ----------
    status
        As of `drofcm.solve.highs.Outcome`.
    x, theta
        The best first stage by what cuts know, (n), and the bound of every scenario's cost there, (S); None without.
    bound
        No first stage costs less.
    """

    status: Status
    x: Vector | None
    theta: Vector | None
    bound: float


class Consolidated:
    """The first stage, a column for the judged cost of recourse, and consolidated cuts; asked in one way or the other.

    Parameters
    ----------
    first
        First stage.
    pools
        Cuts that hold where this master is searched.
    floor
        A lower bound of every scenario's cost, (S).
    weights
        How the risk measure weighs costs, (S) each.
    """

    def __init__(
        self, first: FirstStage, pools: list[CutPool], floor: Vector, weights: Callable[[Vector], Vector]
    ) -> None:
        self._first, self._floor, self._weights = first, floor, weights
        self._n = len(first.cost)
        scenario = np.concatenate([pool.scenario for pool in pools])
        constant = np.concatenate([pool.constant for pool in pools])
        bounds_cost = np.concatenate([pool.bounds_cost for pool in pools]) > 0
        gradients = sp.csr_array(sp.vstack([pool.gradients for pool in pools]))
        order = np.flatnonzero(bounds_cost)[np.argsort(scenario[bounds_cost], kind="stable")]
        self._scenario, self._constant, self._gradients = scenario[order], constant[order], gradients[order]
        self._begins = np.flatnonzero(np.diff(self._scenario, prepend=-1))
        self._feasibility = constant[~bounds_cost], gradients[~bounds_cost]
        self._taken = np.zeros(int((~bounds_cost).sum()), dtype=bool)
        # rows of cuts as they stand behind those of the first stage: constants, and coefficients of x and of the cost
        self._sides: list[float] = []
        self._cuts: list[Vector] = []
        self._linear: LinearProgram | None = None

    @property
    def usable(self) -> bool:
        """Whether something bounds the cost of every scenario."""
        bounded = np.isfinite(self._floor)
        bounded[self._scenario] = True
        return bool(bounded.all())

    def bound_in(self, columns: Columns, lower: Vector, upper: Vector) -> tuple[float, Vector | None]:
        """Bound of the linear relaxation where some columns have other bounds; inf where nothing is feasible.

        And its first stage, if it was solved.
        """
        if self._linear is None:
            self._take(np.zeros(self._n))
            self._linear = LinearProgram(self._problem(self._first.lower, self._first.upper, whole=False))
        self._linear.set_column_bounds(columns, lower, upper)
        outcome = self._converge(self._linear, _ENOUGH)
        self._linear.set_column_bounds(columns, self._first.lower[columns], self._first.upper[columns])
        if outcome.status == "infeasible":
            return np.inf, None
        return (outcome.bound, outcome.x[: self._n]) if outcome.status == "optimal" else (-np.inf, None)

    def search(
        self, lower: Vector, upper: Vector, gap: float, time_limit: float | None, start: Vector | None, enough: float
    ) -> Found | None:
        """Search between bounds of the first stage with its integers.

        Parameters
        ----------
        lower, upper
            Bounds of the first stage, (n).
        gap
            Relative gap between the bound and what cuts know of the best first stage.
        time_limit
            Seconds; None for no limit.
        start
            A first stage to start from, (n).
        enough
            Bound at which the search may stop.

        Returns
        -------
        What was found; None where consolidated cuts are a poor choice: it is unbounded, or takes too many of them.
        """
        deadline = np.inf if time_limit is None else time.perf_counter() + time_limit
        value, best = self._take(np.zeros(self._n) if start is None else start), start
        enough_linear = max(_LEAST, min(_ENOUGH, gap * _OWN_GAP))
        linear = self._converge(LinearProgram(self._problem(lower, upper, whole=False)), enough_linear)
        if linear.status == "infeasible":
            return Found("infeasible", None, None, np.inf)
        if linear.status == "unbounded":
            return None
        bound, met = linear.bound, set[bytes]()
        for _ in range(_SEARCHES):
            if bound >= enough:
                return self._found("enough", best, bound)
            if best is not None and value - bound <= gap * abs(value):
                return self._found("optimal", best, bound)
            outcome = solve(
                self._problem(lower, upper, whole=True),
                gap=gap * _OWN_GAP,
                time_limit=None if np.isinf(deadline) else max(0.0, deadline - time.perf_counter()),
                start=None if best is None else (np.arange(self._n, dtype=np.int32), best),
                interruptible=True,
                enough=enough,
                threads=1,
            )
            bound = max(bound, outcome.bound)
            if outcome.x is None or outcome.status not in ("optimal", "stalled", "time_limit"):
                return self._found(outcome.status, best, bound)
            x = np.where(self._first.integer, np.round(outcome.x[: self._n]), outcome.x[: self._n])
            feasible, cost = not self._take_feasibility(x), self._take(x)
            if best is not None:
                self._take((x + best) / 2)
            if feasible and (best is None or cost < value):
                value, best = cost, x
            if outcome.status == "time_limit" or (feasible and x.tobytes() in met):
                # where its cut is there and it comes again, what is left is the solver's tolerance
                return self._found(outcome.status, best, bound)
            met.add(x.tobytes())
        return None

    # ---- parts --------------------------------------------------------------------------------------------------

    def _found(self, status: Status, best: Vector | None, bound: float) -> Found:
        return Found(status, best, None if best is None else self._best(best)[0], bound)

    def _converge(self, linear: LinearProgram, gap: float) -> LinearOutcome:
        """Solve, with cuts halfway between the optimum and the best point so far, until these say no more."""
        least, centre = np.inf, None
        outcome = linear.solve()
        for _ in range(_ROUNDS):
            if outcome.status != "optimal":
                break
            x, loaded = outcome.x[: self._n], len(self._sides)
            if not self._take_feasibility(x):
                at = x if centre is None else (x + centre) / 2
                cost = self._take(at)
                if cost < least:
                    least, centre = cost, at
                if least - outcome.objective <= gap * abs(least):
                    self._load(linear, loaded)
                    break
            self._load(linear, loaded)
            outcome = linear.solve()
        return outcome

    def _load(self, linear: LinearProgram, loaded: int) -> None:
        """Bring the linear master in memory up to the cuts."""
        rows, sides = sp.csr_array(np.array(self._cuts[loaded:])), np.array(self._sides[loaded:])
        linear.add_rows(rows, sides, np.full(len(sides), np.inf))

    def _best(self, x: Vector) -> tuple[Vector, npt.NDArray[np.int64]]:
        """The best known bound of every scenario's cost, (S), and the cut it comes from, -1 for the floor, (S)."""
        best, source = self._floor.copy(), np.full(len(self._floor), -1)
        if not len(self._begins):
            return best, source
        value = self._constant + self._gradients @ x
        most = np.maximum.reduceat(value, self._begins)
        length = np.diff(self._begins, append=len(value))
        tight = np.flatnonzero(value == np.repeat(most, length))
        owner, first = np.unique(self._scenario[tight], return_index=True)
        higher = most > best[owner]
        best[owner[higher]], source[owner[higher]] = most[higher], tight[first[higher]]
        return best, source

    def _take(self, x: Vector) -> float:
        """One more consolidated cut, tight at ``x``; what ``x`` costs by all cuts."""
        best, source = self._best(x)
        weights = self._weights(best)
        known = source >= 0
        gradient = self._gradients[source[known]].T @ weights[known]
        judged = float(weights @ best)
        self._sides.append(judged - float(gradient @ x))
        self._cuts.append(np.concatenate([-gradient, [1.0]]))
        return float(self._first.cost @ x) + self._first.constant + judged

    def _take_feasibility(self, x: Vector) -> bool:
        """The feasibility cuts that ``x`` violates most; whether there are any."""
        constant, gradients = self._feasibility
        value = constant + gradients @ x
        violation = np.where(self._taken, 0.0, value / np.maximum(1, np.abs(constant)))
        worst = np.argsort(-violation, kind="stable")[:_AT_ONCE]
        worst = worst[violation[worst] > _VIOLATED]
        self._taken[worst] = True
        for number in worst:
            self._sides.append(float(constant[number]))
            self._cuts.append(np.concatenate([-gradients[[number]].toarray()[0], [0.0]]))
        return bool(len(worst))

    def _problem(self, lower: Vector, upper: Vector, whole: bool) -> MatrixProblem:
        first, count = self._first, len(self._sides)
        above = sp.hstack([first.rows, sp.csr_array((len(first.row_lower), 1))])
        return MatrixProblem(
            cost=np.append(first.cost, 1.0),
            constant=first.constant,
            rows=sp.csr_array(sp.vstack([above, sp.csr_array(np.array(self._cuts))])),
            row_lower=np.concatenate([first.row_lower, self._sides]),
            row_upper=np.concatenate([first.row_upper, np.full(count, np.inf)]),
            lower=np.append(lower, -np.inf),
            upper=np.append(upper, np.inf),
            integer=np.append(first.integer & whole, False),
        )
