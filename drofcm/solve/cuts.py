"""Cuts on the recourse cost of a scenario, and the pool that lends them to the master.

An optimality cut says theta_s >= constant + gradient.x for every first stage x, a feasibility cut 0 >= constant +
gradient.x. Cuts that have been slack for some while leave the master and return when they are violated again, so the
master stays small and nothing that was learnt is lost.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

__all__ = ["Cut", "CutPool"]

Vector = npt.NDArray[np.float64]
Positions = npt.NDArray[np.int64]

_PATIENCE = 5
"""Solves for which a cut may stay slack before it leaves the master."""

_TOLERANCE = 1e-7
"""Violation, relative to the size of the cut's value, that counts."""


@dataclass(frozen=True)
class Cut:
    """One cut: ``bounds_cost * theta_s >= constant + gradient.x``, (n)."""

    scenario: int
    constant: float
    gradient: Vector
    bounds_cost: bool = True

    def at(self, x: Vector) -> float:
        """Right-hand side at a first stage."""
        return self.constant + float(self.gradient @ x)


class CutPool:
    """All cuts that were found, with the choice of those that the master holds.

    Parameters
    ----------
    columns
        Columns of the first stage.
    """

    def __init__(self, columns: int) -> None:
        self._columns = columns
        self._gradients: list[sp.csr_array] = []
        self._stacked = sp.csr_array((0, columns))
        self.scenario: Positions = np.zeros(0, dtype=np.int64)
        self.constant: Vector = np.zeros(0)
        self.bounds_cost: Vector = np.zeros(0)
        self.active: npt.NDArray[np.bool_] = np.zeros(0, dtype=bool)
        self._slack_for: Positions = np.zeros(0, dtype=np.int64)

    @classmethod
    def of(cls, scenario: Positions, constant: Vector, gradients: sp.csr_array, bounds_cost: Vector) -> CutPool:
        """A pool of the cuts with these attributes, (cuts) each and (cuts x n), all active."""
        pool = cls(gradients.shape[1])
        pool.scenario, pool.constant, pool.bounds_cost = scenario.astype(np.int64), constant, bounds_cost
        pool._stacked = gradients
        pool.active = np.ones(len(constant), dtype=bool)
        pool._slack_for = np.zeros(len(constant), dtype=np.int64)
        return pool

    def copy(self) -> CutPool:
        """The same cuts, all active, in a pool of its own."""
        return CutPool.of(self.scenario, self.constant, self.gradients, self.bounds_cost)

    def __len__(self) -> int:
        return len(self.constant)

    @property
    def gradients(self) -> sp.csr_array:
        """Gradients of all cuts, (cuts x n)."""
        if self._gradients:
            self._stacked = sp.csr_array(sp.vstack([self._stacked, *self._gradients]))
            self._gradients = []
        return self._stacked

    def add(self, cuts: Iterable[Cut]) -> None:
        """Take cuts in; they are active."""
        cuts = list(cuts)
        if not cuts:
            return
        self._gradients.append(sp.csr_array(np.array([cut.gradient for cut in cuts])))
        self.scenario = np.append(self.scenario, [cut.scenario for cut in cuts]).astype(np.int64)
        self.constant = np.append(self.constant, [cut.constant for cut in cuts])
        self.bounds_cost = np.append(self.bounds_cost, [float(cut.bounds_cost) for cut in cuts])
        self.active = np.append(self.active, np.ones(len(cuts), dtype=bool))
        self._slack_for = np.append(self._slack_for, np.zeros(len(cuts), dtype=np.int64))

    def value(self, x: Vector) -> Vector:
        """Right-hand sides at a first stage, (cuts)."""
        value: Vector = self.constant + self.gradients @ x
        return value

    def bound(self, x: Vector, floor: Vector) -> Vector:
        """The best lower bound of every scenario's cost at ``x`` that the pool knows, (S)."""
        best = floor.copy()
        optimality = self.bounds_cost > 0
        np.maximum.at(best, self.scenario[optimality], self.value(x)[optimality])
        return best

    def call_back(self, x: Vector, theta: Vector) -> int:
        """Activate the cuts that a point of the master violates; how many these are."""
        violated = ~self.active & (self._excess(x, theta) > _TOLERANCE)
        self.active |= violated
        self._slack_for[violated] = 0
        return int(violated.sum())

    def retire(self, x: Vector, theta: Vector) -> Positions:
        """Deactivate cuts that have been slack for long; their numbers."""
        slack = self._excess(x, theta) < -_TOLERANCE
        self._slack_for = np.where(self.active & slack, self._slack_for + 1, 0)
        leaving = self.active & (self._slack_for > _PATIENCE)
        self.active &= ~leaving
        return np.flatnonzero(leaving)

    def _excess(self, x: Vector, theta: Vector) -> Vector:
        value = self.value(x)
        return (value - self.bounds_cost * theta[self.scenario]) / np.maximum(1, np.abs(value))
