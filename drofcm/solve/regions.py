"""Parts of the first stage, one for every choice of its binaries that may still hold a better plan.

Fixing the binaries (which hubs are open) makes everything much easier: what belongs to a closed hub vanishes, in the
master and in the scenarios. And a Lagrangian cut that has to hold in one region only is higher there. The master's
cuts alone rule most choices out; the few that are left are searched one by one, and the least of their bounds is a
bound of the program: branching on the first stage, as in dual decomposition.

References
----------
Caroe, C. C. and Schultz, R. (1999). Dual decomposition in stochastic integer programming.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from drofcm.blocks.form import FirstStage
from drofcm.solve.cuts import CutPool

__all__ = ["MOST_NODES", "Choices", "Region", "binaries"]

Vector = npt.NDArray[np.float64]
Columns = npt.NDArray[np.int64]

_MOST_BINARIES = 24
MOST_NODES = 2000
"""Choices, whole or in part, that are looked at."""

_INTEGRAL = 1e-6

_TOLERANCE = 1e-6
"""By how much a point may lie outside a region."""


@dataclass(eq=False)
class Region:
    """Part of the first stage, and what is known of it.

    Attributes
    ----------
    lower, upper
        Bounds of the first stage, (n).
    bound
        No plan of the region costs less.
    cuts
        Cuts that hold in this region, perhaps not elsewhere.
    kept
        Scenarios that its master holds whole.
    rounds
        How often it was searched.
    value, plan
        The best plan that was found in it; None before there is one.
    unfinished, patience
        Whether its last search hit its time limit, and the factor on that limit.
    """

    lower: Vector
    upper: Vector
    bound: float
    cuts: CutPool
    kept: list[int] = field(default_factory=list)
    rounds: int = 0
    value: float = np.inf
    plan: Vector | None = None
    unfinished: bool = False
    patience: int = 1

    def holds(self, x: Vector) -> bool:
        """Whether a first stage lies in it."""
        return bool(((self.lower - _TOLERANCE <= x) & (x <= self.upper + _TOLERANCE)).all())

    def part(self, column: int, lower: Vector, upper: Vector, bound: float) -> Region:
        """The part where one column lies between other bounds, with all that is known of the whole."""
        low, high = self.lower.copy(), self.upper.copy()
        low[[column]], high[[column]] = lower, upper
        return Region(low, high, max(bound, self.bound), self.cuts.copy(), list(self.kept))

    def keep(self, scenarios: list[int]) -> None:
        """Hold scenarios whole, integers included, from now on."""
        self.kept += [scenario for scenario in scenarios if scenario not in self.kept]

    def take_plan(self, x: Vector, value: float) -> None:
        """A plan of the region and what it costs."""
        if value < self.value:
            self.value, self.plan = value, x


def binaries(first_stage: FirstStage) -> Columns:
    """Columns of the first stage that are zero or one and not fixed."""
    zero_or_one = (first_stage.lower == 0) & (first_stage.upper == 1)
    return np.flatnonzero(first_stage.integer & zero_or_one).astype(np.int64)


BoundIn = Callable[[Columns, Vector, Vector], tuple[float, Vector | None]]
"""Lower bound of the program where the given columns have the given bounds, and their values in its relaxation."""


@dataclass(order=True)
class _Node:
    """Some binaries fixed: bound, how many are free, number of the node; of equal bounds the longer choice first."""

    bound: float
    free: int
    number: int
    lower: Vector = field(compare=False)
    upper: Vector = field(compare=False)
    values: Vector | None = field(compare=False)


class Choices:
    """Branch and bound over the binaries of the first stage, by the bounds that cuts give; best bound first.

    Parameters
    ----------
    first_stage
        Of the program.
    bound_in
        Lower bound of the program where the given columns have the given bounds.
    columns
        The binaries.
    whole
        Whether regions have all binaries fixed. Otherwise a choice in part is one if the relaxation has no binary
        between zero and one there: what is left of it a master decides.
    """

    def __init__(self, first_stage: FirstStage, bound_in: BoundIn, columns: Columns, whole: bool = True) -> None:
        self._first, self._bound_in, self._columns, self._whole = first_stage, bound_in, columns, whole
        self._found: list[Region] = []
        self._waiting: list[_Node] = []
        self._nodes = 0
        self._few = 0 < len(columns) <= _MOST_BINARIES
        if self._few:
            self._look(np.zeros(len(columns)), np.ones(len(columns)), -np.inf)

    def leading(self, count: int) -> list[Region]:
        """The regions with the least bounds, at most ``count``; none without binaries, with too many, or no choice."""
        while self._waiting and len(self._found) < count and self._nodes < MOST_NODES:
            self._branch()
        return self._found[:count]

    def split(self, target: float, most: int) -> tuple[list[Region], float] | None:
        """All choices that are not ruled out.

        Parameters
        ----------
        target
            Choices whose bound is at least this are ruled out.
        most
            Number of regions that is worth while.

        Returns
        -------
        The regions, with those that `leading` has found, and the least bound among what was ruled out; None if there
        are no binaries, or too many of them or of the regions.
        """
        if not self._few:
            return None
        while self._waiting and self._waiting[0].bound < target:
            if self._nodes > MOST_NODES or len(self._found) > most:
                return None
            self._branch()
        if len(self._found) > most:
            return None
        return self._found, min((node.bound for node in self._waiting), default=np.inf)

    def _branch(self) -> None:
        """Take the choice with the least bound: it is a region, or two longer ones take its place."""
        node = heapq.heappop(self._waiting)
        open_ = np.flatnonzero(node.lower < node.upper)
        away = np.full(len(open_), 0.5) if node.values is None else np.abs(node.values - np.round(node.values))[open_]
        if not len(open_) or (not self._whole and away.max() <= _INTEGRAL):
            self._found.append(self._region(node))
            return
        at = open_[np.argmax(away)]
        for value in (0.0, 1.0):
            lower, upper = node.lower.copy(), node.upper.copy()
            lower[at] = upper[at] = value
            if node.values is not None and abs(node.values[at] - value) <= _INTEGRAL:
                # the relaxation chose so by itself
                self._wait(lower, upper, node.bound, node.values)
            else:
                self._look(lower, upper, node.bound)

    def _look(self, lower: Vector, upper: Vector, least: float) -> None:
        bound, values = self._bound_in(self._columns, lower, upper)
        self._nodes += 1
        if not np.isposinf(bound):
            self._wait(lower, upper, max(bound, least), values)

    def _wait(self, lower: Vector, upper: Vector, bound: float, values: Vector | None) -> None:
        free, number = int((lower < upper).sum()), self._nodes * 2 + len(self._waiting)
        heapq.heappush(self._waiting, _Node(bound, free, number, lower, upper, values))

    def _region(self, node: _Node) -> Region:
        lower, upper = self._first.lower.copy(), self._first.upper.copy()
        lower[self._columns], upper[self._columns] = node.lower, node.upper
        return Region(lower, upper, node.bound, CutPool(len(lower)))
