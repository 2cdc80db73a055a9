"""The gap between two bounds, and when arithmetic can no longer tell it from none."""

from __future__ import annotations

import numpy as np

__all__ = ["AGREEMENT", "LEAST_GAP", "allowance", "closed", "relative_gap", "same"]

_ROUNDING = 1e-9
"""What arithmetic leaves of a gap, relative to what the terms of the cost add up to."""

LEAST_GAP = 1e-7
"""The least gap that a search can be sure to reach, relative to what the terms of the cost add up to: HiGHS holds rows
and multipliers to that, so two ways to the same optimum differ by as much."""

AGREEMENT = 1e-6
"""A lower bound that is above the cost of a plan by more than this share of its terms proves a fault."""


def relative_gap(lower_bound: float, upper_bound: float) -> float:
    """(upper - lower) / abs(upper); zero where both are the same, infinite where either is, or the upper is zero."""
    difference = upper_bound - lower_bound
    if difference == 0:
        return 0.0
    if np.isinf(difference) or upper_bound == 0:
        return np.inf
    return difference / abs(upper_bound)


def allowance(upper_bound: float, gap: float, size: float) -> float:
    """The absolute gap that was asked for, or the least that arithmetic can tell; see `closed`."""
    return max(gap * abs(upper_bound), _ROUNDING * max(1.0, size))


def closed(lower_bound: float, upper_bound: float, gap: float, size: float) -> bool:
    """Whether two bounds are as close as asked for, or closer than arithmetic can tell.

    Parameters
    ----------
    lower_bound, upper_bound
        The bounds, of a program whose costs are scaled to about one.
    gap
        Relative gap that is small enough.
    size
        What the absolute values of the terms of the upper bound add up to.
    """
    if not np.isfinite(upper_bound) or not np.isfinite(lower_bound):
        return False
    return upper_bound - lower_bound <= allowance(upper_bound, gap, size)


def same(lower_bound: float, upper_bound: float, size: float) -> bool:
    """Whether two bounds differ by no more than the solver's tolerances: all that is left when a search has stalled."""
    return closed(lower_bound, upper_bound, 0.0, LEAST_GAP / _ROUNDING * max(1.0, size))
