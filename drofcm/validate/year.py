"""What the events of a year cost together: a compound Poisson cost, its tail by simulation.

Events come independently of each other, their number in a year is Poisson, and each is one of the scenarios, drawn with
their probabilities. Mean and variance are known in closed form, the tail is not. The CVaR of one event times the number
of events in a year is no CVaR of a year: it is what a year would cost in which every event is one of the worst.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from drofcm.validate.outofsample import tail_mean

__all__ = ["Year", "simulate_year"]

Values = npt.NDArray[np.float64]

_MOST_YEARS: Final = 100_000
_FEWEST_YEARS: Final = 10_000
_DRAWS: Final = 10_000_000
"""Numbers that are drawn at most, unless the fewest years need more: about a second of a processor."""
_AT_ONCE: Final = 2_000_000
"""Numbers that are held at a time."""


@dataclass(frozen=True)
class Year:
    """What the events of one year cost together, $.

    Attributes
    ----------
    mean, deviation
        Mean and standard deviation, in closed form.
    cvar
        Mean of the costliest share ``1 - alpha`` of years, by simulation.
    error
        Standard error of ``cvar``: what is left to the luck of the draw. The scenarios and the rate are taken as true.
    alpha
        Confidence level.
    years
        How many were simulated.
    """

    mean: float
    deviation: float
    cvar: float
    error: float
    alpha: float
    years: int


def simulate_year(
    cost: npt.ArrayLike,
    probability: npt.ArrayLike,
    rate: float,
    alpha: float,
    *,
    years: int | None = None,
    rng: np.random.Generator,
) -> Year:
    """Simulate the yearly cost of events.

    The standard error is that of the mean excess over the quantile: to first order the quantile's own error does not
    count, because CVaR is the minimum over it (Trindade, Uryasev, Shapiro and Zrazhevsky 2007, Financial prediction
    with constrained tail risk, Journal of Banking and Finance 31).

    Parameters
    ----------
    cost
        Of one event, $, (scenario).
    probability
        Sums to one, (scenario).
    rate
        Events a year on average.
    alpha
        Confidence level, at least 0 and below 1.
    years
        How many to simulate; left out, 100,000, fewer where more than a hundred scenarios meet more than a hundred
        events a year.
    rng
        Source of randomness. Plans that are to be compared are given equal streams: they meet the same years.

    Raises
    ------
    ValueError
        If probabilities are no distribution, a cost is not finite, the rate is negative, or there are under two years.

    Examples
    --------
    >>> import numpy as np
    >>> year = simulate_year([0.0, 10.0], [0.5, 0.5], 4.0, 0.9, rng=np.random.default_rng(0))
    >>> year.mean, round(year.deviation, 3), 40 < year.cvar < 48, year.error < 0.1
    (20.0, 14.142, True, True)
    """
    c, p = np.asarray(cost, dtype=float), np.asarray(probability, dtype=float)
    _check(c, p, rate, alpha)
    each = max(1, int(min(len(c), rate)))
    count = max(_FEWEST_YEARS, min(_MOST_YEARS, _DRAWS // each)) if years is None else years
    if count < 2:
        raise ValueError(f"years must be at least 2, got {count!r}")
    size = max(1, _AT_ONCE // each)
    parts = [_drawn(c, p, rate, min(size, count - first), rng) for first in range(0, count, size)]
    total = np.concatenate(parts)
    cvar = float(tail_mean(total, alpha))
    quantile = float(np.quantile(total, alpha, method="inverted_cdf"))
    error = float(np.maximum(total - quantile, 0).std(ddof=1) / (1 - alpha) / np.sqrt(count))
    return Year(rate * float(p @ c), float(np.sqrt(rate * (p @ c**2))), cvar, error, alpha, count)


def _drawn(cost: Values, probability: Values, rate: float, years: int, rng: np.random.Generator) -> Values:
    """Cost of the events of some years, (year)."""
    if len(cost) <= rate:
        # the numbers of events of each scenario are independent Poisson numbers (Kingman 1993, Poisson Processes, 5.1)
        totals: Values = rng.poisson(rate * probability, (years, len(cost))) @ cost
        return totals
    events = rng.poisson(rate, years)
    last = int(np.flatnonzero(probability)[-1])
    which = np.searchsorted(np.cumsum(probability), rng.random(int(events.sum())), side="right")
    year = np.repeat(np.arange(years), events)
    return np.bincount(year, cost[np.minimum(which, last)], minlength=years).astype(float, copy=False)


def _check(cost: Values, probability: Values, rate: float, alpha: float) -> None:
    if cost.ndim != 1 or cost.shape != probability.shape or not cost.size:
        raise ValueError(f"cost and probability must be over the same scenarios, got {cost.shape}, {probability.shape}")
    if not np.isfinite(cost).all():
        raise ValueError(f"every cost must be finite, {int((~np.isfinite(cost)).sum())} are not")
    if not (probability >= 0).all() or abs(probability.sum() - 1) > 1e-6:
        raise ValueError(f"probabilities must not be negative and sum to 1, they sum to {probability.sum():.6g}")
    if not (np.isfinite(rate) and rate >= 0):
        raise ValueError(f"rate must be finite and at least 0, got {rate!r}")
    if not 0 <= alpha < 1:
        raise ValueError(f"alpha must be at least 0 and below 1, got {alpha!r}")
