"""When a search ends."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from drofcm.solve.gap import closed
from drofcm.solve.result import Status

__all__ = ["Stopping"]


@dataclass(frozen=True)
class Stopping:
    """The limits of a search; the clock runs from its making.

    Parameters
    ----------
    gap
        Relative gap that is small enough.
    time_limit
        Seconds; None for no limit.
    iterations
        Number of iterations; None for no limit.
    """

    gap: float
    time_limit: float | None = None
    iterations: int | None = None
    _began: float = field(default_factory=time.perf_counter)

    @property
    def seconds(self) -> float:
        """Since the beginning."""
        return time.perf_counter() - self._began

    @property
    def remaining(self) -> float | None:
        """Seconds that are left, None without a limit."""
        return None if self.time_limit is None else max(0.0, self.time_limit - self.seconds)

    def reason(self, lower: float, upper: float, iteration: int, size: float = 0.0) -> Status | None:
        """Why the search ends here, or None if it goes on; ``size`` is that of the terms of the upper bound."""
        if closed(lower, upper, self.gap, size):
            return "optimal"
        if self.remaining == 0.0:
            return "time_limit"
        if self.iterations is not None and iteration >= self.iterations:
            return "iteration_limit"
        return None
