"""The worst distribution in a Wasserstein ball without the linear program over all pairs of scenarios.

    max { sum pi_ij f_j : sum_j pi_ij = p_i, sum pi_ij c_ij <= budget }
        = min over kappa >= 0 of  kappa budget + sum_i p_i max_j (f_j - kappa c_ij)

The dual is convex and piecewise linear in one variable. Its minimum lies where two of its tangents meet; the plans
of the two tangents, mixed so that they spend the budget exactly, are an optimal plan (FORMULATION, part B).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import xarray as xr

from drofcm.risk.ambiguity import Wasserstein
from drofcm.risk.polytope import moves

__all__ = ["Transport"]

Vector = npt.NDArray[np.float64]
Positions = npt.NDArray[np.int64]

_BLOCK_ENTRIES = 2_000_000
_ROUNDING = 1e-14


@dataclass(frozen=True)
class _Tangent:
    """A plan: where every reference's mass goes, its expected value and its cost."""

    target: Positions
    value: float
    cost: float


class Transport:
    """Moves of a Wasserstein ball that can pay off for one ordering of the scenarios.

    A move from i to j is of no use if another scenario costs at least as much and is at most as far, whatever
    non-decreasing function of the costs is maximised. What is left is found once for a vector of costs: for every i
    the moves in the order of rising cost and rising distance.

    Parameters
    ----------
    ambiguity
        A bound set.
    probability
        Nominal probability, (scenario).
    cost
        Costs whose ordering counts, (S).
    """

    def __init__(self, ambiguity: Wasserstein, probability: xr.DataArray, cost: Vector) -> None:
        origin, distance, allowed = moves(ambiguity, probability)
        self._mass = probability.values[origin]
        self._budget = 1.0  # costs are shares of it
        self._count = len(cost)
        self._target, self._cost, self._start = _useful(distance, allowed, cost)
        self._row = np.repeat(np.arange(len(origin)), np.diff(np.append(self._start, len(self._target))))
        self._price: float | None = None

    def __call__(self, value: Vector) -> Vector:
        """The distribution of largest expected value, (S); ``value`` must not fall where the costs rise."""
        dear, sparing = self._at(value, 0.0), self._staying(value)
        if dear.cost <= self._budget:
            return self._moved(dear.target)
        if self._price is not None and sparing.cost < self._budget:
            # where the last minimum was, this one is likely to be near
            dear, sparing = self._replaced(self._at(value, self._price), dear, sparing)
        while dear.cost > sparing.cost and sparing.cost < self._budget:
            price = (dear.value - sparing.value) / (dear.cost - sparing.cost)
            between = self._at(value, price)
            gain = between.value - price * between.cost - (sparing.value - price * sparing.cost)
            if gain <= _ROUNDING * max(1.0, abs(between.value)):
                self._price = price
                break
            dear, sparing = self._replaced(between, dear, sparing)
        if sparing.cost >= self._budget:
            return self._moved(sparing.target)
        share = (self._budget - sparing.cost) / (dear.cost - sparing.cost)
        return share * self._moved(dear.target) + (1 - share) * self._moved(sparing.target)

    def _replaced(self, between: _Tangent, dear: _Tangent, sparing: _Tangent) -> tuple[_Tangent, _Tangent]:
        return (between, sparing) if between.cost > self._budget else (dear, between)

    def _at(self, value: Vector, price: float) -> _Tangent:
        """The best plan where a unit of distance costs ``price``; the shortest moves among equally good ones."""
        worth = value[self._target] - price * self._cost
        best = np.maximum.reduceat(worth, self._start)
        candidates = np.flatnonzero(worth == best[self._row])
        first = np.searchsorted(self._row[candidates], np.arange(len(self._start)))
        return self._plan(value, candidates[first])

    def _staying(self, value: Vector) -> _Tangent:
        return self._plan(value, self._start)

    def _plan(self, value: Vector, chosen: Positions) -> _Tangent:
        target = self._target[chosen]
        return _Tangent(target, float(self._mass @ value[target]), float(self._mass @ self._cost[chosen]))

    def _moved(self, target: Positions) -> Vector:
        moved: Vector = np.bincount(target, weights=self._mass, minlength=self._count).astype(float)
        return moved


def _useful(
    distance: npt.NDArray[np.floating], allowed: npt.NDArray[np.bool_], cost: Vector
) -> tuple[Positions, Vector, Positions]:
    """Targets and distances of the moves that no other dominates, and where those of each row start."""
    order = np.argsort(-cost, kind="stable")
    rows = max(1, _BLOCK_ENTRIES // distance.shape[1])
    targets, costs, counts = [], [], []
    for begin in range(0, len(distance), rows):
        block = slice(begin, begin + rows)
        own = np.where(allowed[block], distance[block], np.inf)[:, order]
        least = np.minimum.accumulate(own, axis=1)
        useful = np.isfinite(own)
        useful[:, 1:] &= own[:, 1:] < least[:, :-1]
        # each row from the nearest move to the dearest
        row, place = np.nonzero(useful[:, ::-1])
        place = len(order) - 1 - place
        targets.append(order[place])
        costs.append(own[row, place].astype(float))
        counts.append(np.count_nonzero(useful, axis=1))
    count = np.concatenate(counts)
    start = np.concatenate([[0], np.cumsum(count)[:-1]])
    return np.concatenate(targets), np.concatenate(costs), start
