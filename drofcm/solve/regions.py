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

__all__ = ["MOST_NODES", "Region", "binaries", "leading", "split"]

Vector = npt.NDArray[np.float64]
Columns = npt.NDArray[np.int64]

_MOST_BINARIES = 24
MOST_NODES = 2000
"""Choices, whole or in part, that are looked at."""


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


BoundIn = Callable[[Columns, Vector, Vector], float]
"""Lower bound of the program where the given columns have the given bounds."""


def leading(first_stage: FirstStage, bound_in: BoundIn, columns: Columns, count: int) -> list[Region]:
    """The choices of the binaries with the least bounds, found by branch and bound.

    Parameters
    ----------
    first_stage
        Of the program.
    bound_in
        Lower bound of the program where the given columns have the given bounds.
    columns
        The binaries.
    count
        How many at most.

    Returns
    -------
    The regions, the least bound first; none if there are no binaries, too many, or no choice of them is feasible.
    """
    found: list[Region] = []
    if not 0 < len(columns) <= _MOST_BINARIES:
        return found
    # of equal bounds the longer choice first; the order of the entries breaks what ties are left
    waiting: list[tuple[float, int, tuple[float, ...]]] = [(-np.inf, 0, ())]
    for _ in range(MOST_NODES):
        if len(found) == count or not waiting:
            break
        bound, _, values = heapq.heappop(waiting)
        if np.isposinf(bound):
            break
        if len(values) == len(columns):
            found.append(_region(first_stage, columns, np.array(values), bound))
            continue
        for value in (0.0, 1.0):
            longer = (*values, value)
            lower, upper = _between(longer, len(columns))
            heapq.heappush(waiting, (max(bound, bound_in(columns, lower, upper)), -len(longer), longer))
    return found


def _between(values: tuple[float, ...], count: int) -> tuple[Vector, Vector]:
    """Bounds of binaries of which the first ones are fixed."""
    lower, upper = np.zeros(count), np.ones(count)
    lower[: len(values)] = upper[: len(values)] = values
    return lower, upper


def split(
    first_stage: FirstStage,
    bound_in: BoundIn,
    columns: Columns,
    target: float,
    most: int,
) -> tuple[list[Region], float] | None:
    """All choices of the binaries that are not ruled out.

    Parameters
    ----------
    first_stage
        Of the program.
    bound_in
        Lower bound of the program where the given columns have the given bounds.
    columns
        The binaries.
    target
        Regions whose bound is at least this are ruled out.
    most
        Number of regions that is worth while.

    Returns
    -------
    The regions, and the least bound among those that were ruled out; None if there are no binaries, or too many of
    them or of the regions.
    """
    if not 0 < len(columns) <= _MOST_BINARIES:
        return None
    regions: list[Region] = []
    ruled_out = np.inf
    stack: list[tuple[float, ...]] = [()]
    nodes = 0
    while stack:
        values = stack.pop()
        nodes += 1
        if nodes > MOST_NODES or len(regions) > most:
            return None
        lower, upper = _between(values, len(columns))
        bound = bound_in(columns, lower, upper)
        if bound >= target:
            ruled_out = min(ruled_out, bound)
        elif len(values) == len(columns):
            regions.append(_region(first_stage, columns, lower, bound))
        else:
            stack += [(*values, 0.0), (*values, 1.0)]
    return regions, ruled_out


def _region(first_stage: FirstStage, columns: Columns, values: Vector, bound: float) -> Region:
    lower, upper = first_stage.lower.copy(), first_stage.upper.copy()
    lower[columns] = upper[columns] = values
    return Region(lower, upper, bound, CutPool(len(lower)))
