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

import numpy as np
import numpy.typing as npt

from drofcm.blocks.form import TwoStageBlocks
from drofcm.solve.highs import LinearProgram, MatrixProblem, solve

__all__ = ["Nearby", "Neighbours"]

Vector = npt.NDArray[np.float64]

_MOST_COLUMNS = 64
"""Columns that are moved at most: pairs of them are looked at."""


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
        return outcome.objective if outcome.status == "optimal" else np.inf

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
