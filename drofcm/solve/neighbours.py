"""Plans one move away from a plan: a module more, one less, one of another type or at another hub.

Masters propose plans that are good by their cuts; the best plan lies close to them more often than not. Moves change
the integer columns that scenarios see, binaries apart (`drofcm.solve.regions` chooses among those); the cheapest first
stage with these values completes them, and what cuts know already rules most of them out, so that few are solved with
their integers.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np
import numpy.typing as npt

from drofcm.blocks.form import TwoStageBlocks
from drofcm.solve.evaluation import Evaluation
from drofcm.solve.highs import LinearProgram, MatrixProblem, solve
from drofcm.solve.regions import Region
from drofcm.solve.search import Search

__all__ = ["Nearby", "Neighbours", "Polish"]

Vector = npt.NDArray[np.float64]

_MOST_COLUMNS = 64
"""Columns that are moved at most: pairs of them are looked at."""

_TRIES = 4
"""Neighbours of the best plan that are tried in vain before the search goes on."""

_WORTH = 0.25
"""Share of the gap asked for by which a neighbour must be able to cost less."""


class Neighbours:
    """The moves of a program.

    Parameters
    ----------
    blocks
        The program.
    """

    def __init__(self, blocks: TwoStageBlocks) -> None:
        first = blocks.first_stage
        sides = (first.row_lower, first.row_upper)
        self._problem = MatrixProblem(
            first.cost, first.constant, first.rows, *sides, first.lower, first.upper, first.integer
        )
        seen = np.zeros(len(first.cost), dtype=bool)
        for technology in {id(own.technology): own.technology for own in blocks.scenarios}.values():
            seen[technology.indices[technology.data != 0]] = True
        for own in blocks.scenarios:
            seen |= own.first_stage_cost != 0
        self._seen = np.flatnonzero(seen).astype(np.int64)
        zero_or_one = (first.lower >= 0) & (first.upper <= 1)
        moved = np.flatnonzero(seen & first.integer & ~zero_or_one)
        self._moved = moved if len(moved) <= _MOST_COLUMNS else moved[:0]
        self._relaxation = LinearProgram(self._problem)

    def of(self, x: Vector) -> Vector:
        """The first stages around ``x``, (moves x n); what scenarios do not see of them is that of ``x`` still."""
        one = np.eye(len(self._moved))
        elsewhere = [to - away for away, to in itertools.permutations(one, 2)]
        moves = np.vstack([one, -one, *elsewhere])
        around = np.repeat(x[None, :], len(moves), axis=0)
        around[:, self._moved] += moves
        lower, upper = self._problem.lower[self._moved], self._problem.upper[self._moved]
        possible = ((around[:, self._moved] >= lower) & (around[:, self._moved] <= upper)).all(axis=1)
        return around[possible]

    def least_cost(self, x: Vector) -> float:
        """What a first stage with all that scenarios see of ``x`` costs at least; inf where there is none."""
        self._relaxation.set_column_bounds(self._seen, x[self._seen], x[self._seen])
        outcome = self._relaxation.solve()
        # what is not solved is not ruled out
        return outcome.bound if outcome.status == "optimal" else np.inf if outcome.status == "infeasible" else -np.inf

    def complete(self, x: Vector) -> Vector | None:
        """The cheapest first stage with all that scenarios see of ``x``; None where there is none."""
        lower, upper = self._problem.lower.copy(), self._problem.upper.copy()
        lower[self._seen] = upper[self._seen] = x[self._seen]
        outcome = solve(replace(self._problem, lower=lower, upper=upper), threads=1)
        if outcome.x is None:
            return None
        return np.where(self._problem.integer, np.round(outcome.x), outcome.x)


class Nearby:
    """The neighbours of one plan, the one that may cost least first; cuts that are found meanwhile tell on the rest.

    Parameters
    ----------
    neighbours
        The moves.
    x
        The plan, (n).
    recourse
        Lower bound of the judged recourse cost at a first stage.
    """

    def __init__(self, neighbours: Neighbours, x: Vector, recourse: Callable[[Vector], float]) -> None:
        self._neighbours, self._recourse = neighbours, recourse
        self._around = neighbours.of(x)
        self._first = [neighbours.least_cost(other) for other in self._around]
        self._waiting = [
            (first + recourse(other), number)
            for number, (first, other) in enumerate(zip(self._first, self._around, strict=True))
            if first < np.inf
        ]
        heapq.heapify(self._waiting)

    def next(self, below: float) -> Vector | None:
        """The neighbour with the least bound, (n); None if that is not below a cost."""
        while self._waiting and self._waiting[0][0] < below:
            _, number = heapq.heappop(self._waiting)
            other = self._around[number]
            bound = self._first[number] + self._recourse(other)
            if self._waiting and bound > self._waiting[0][0]:
                heapq.heappush(self._waiting, (bound, number))
                continue
            whole = self._neighbours.complete(other)
            if whole is not None and bound < below:
                return whole
        return None


class Polish:
    """Goes from the best plan to a better one nearby.

    Parameters
    ----------
    search, evaluation
        What is known so far.
    """

    def __init__(self, search: Search, evaluation: Evaluation) -> None:
        self._search, self._evaluation = search, evaluation
        self._neighbours: Neighbours | None = None
        self._nearby: tuple[Vector, Nearby] | None = None

    def run(self, regions: list[Region]) -> None:
        """Go on as long as the cuts, those of regions included, leave hope for a better plan."""
        search, tried = self._search, 0
        while tried < _TRIES and search.plan is not None and search.reason is None:
            below = search.upper - _WORTH * search.allowed
            x = search.timed("neighbours", partial(self._next, search.plan, below, regions))
            if x is None:
                return
            if x in self._evaluation:
                continue
            before = search.upper
            # where the cuts fall short most at the best plan they will do so next to it
            short = self._evaluation.at(search.plan).cost - self._known(search.plan, regions)
            weights = search.weights(self._evaluation.at(search.plan).cost)
            weighted = np.where(weights > 0, weights * np.nan_to_num(short), 0)
            self._evaluation.attempt(x, below, self._known(x, regions), np.argsort(-weighted, kind="stable"))
            tried = 0 if search.upper < before else tried + 1

    def _next(self, plan: Vector, below: float, regions: list[Region]) -> Vector | None:
        """The neighbour of the best plan that may cost least, if it may cost less than ``below``."""
        search = self._search
        if self._nearby is None or self._nearby[0] is not plan:
            if self._neighbours is None:
                self._neighbours = Neighbours(search.blocks)
            weights = search.weights(self._evaluation.at(plan).cost)
            self._nearby = plan, Nearby(self._neighbours, plan, lambda x: _weighed(weights, self._known(x, regions)))
        following = self._nearby[1].next(below)
        return None if following is None else search.settled(following)

    def _known(self, x: Vector, regions: list[Region]) -> Vector:
        """What cuts know of every scenario's cost, (S), with those of the region that holds the plan."""
        return self._search.known(x, next((own for own in regions if own.holds(x)), None))


def _weighed(weights: Vector, known: Vector) -> float:
    """The judged cost by lower bounds, (S); those without weight do not count, even if nothing is known of them."""
    counts = weights > 0
    return float(weights[counts] @ known[counts])
