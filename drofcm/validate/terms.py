"""A risk measure in plain numbers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["Terms", "Vector"]

Vector = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Terms:
    """A risk measure in plain numbers: weight of the mean, and (level below 1, weight) of every CVaR."""

    expectation: float
    cvar: tuple[tuple[float, float], ...]

    @property
    def total(self) -> float:
        """Value of a sure cost of one."""
        return self.expectation + sum(weight for _, weight in self.cvar)

    def worth(self, cost: Vector, threshold: Vector) -> Vector:
        """What a cost is worth beside the thresholds, (S): a Q + sum b (Q - zeta)^+ / (1 - alpha)."""
        worth = self.expectation * cost
        for (alpha, weight), zeta in zip(self.cvar, threshold, strict=True):
            worth = worth + weight / (1 - alpha) * np.maximum(cost - zeta, 0.0)
        return worth
