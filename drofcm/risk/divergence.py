"""Worst distributions in divergence balls: a search in one variable, then the closed form.

Scenarios of probability zero stay there. ``value`` is what nature maximises the expectation of, (S).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from scipy.optimize import brentq

__all__ = ["entropy_ball", "euclidean_ball"]

Vector = npt.NDArray[np.float64]

_ROUNDING = 1e-13
_LOG_RANGE = 600.0
"""Natural logarithm of the largest step or temperature that is tried; its exponential is still a number."""


def entropy_ball(value: Vector, probability: Vector, radius: float) -> Vector:
    """Max p'.value over distributions with relative entropy to ``probability`` of at most ``radius``.

    p' is proportional to p exp(value / temperature), the temperature such that the radius is used up (Hu and Hong
    2013, theorem 4); if even the worst scenarios alone lie within, p' is p on them.
    """
    possible = probability > 0
    p, f = probability[possible] / probability.sum(), value[possible]
    spread = float(np.ptp(f))
    if radius == 0 or spread == 0:
        return probability.copy()
    f = (f - f.max()) / spread
    worst = p[f == 0].sum()
    if -np.log(worst) <= radius * (1 + _ROUNDING):
        chosen = np.where(f == 0, p / worst, 0.0)
    else:
        root = _crossing(lambda log: _entropy(f, p, log)[0] - radius)
        chosen = _entropy(f, p, root)[1]
    full = np.zeros(len(probability))
    full[possible] = chosen
    return full


def _crossing(falling: Callable[[float], float]) -> float:
    """Where a function of a logarithm that falls from above zero to below it passes zero."""
    below, above = -1.0, 1.0
    while below > -_LOG_RANGE and falling(below) <= 0:
        below -= 2.0
    while above < _LOG_RANGE and falling(above) >= 0:
        above += 2.0
    if falling(below) <= 0 or falling(above) >= 0:
        # within rounding of one end
        return below if falling(below) <= 0 else above
    return float(brentq(falling, below, above, xtol=1e-15, rtol=1e-15))


def _entropy(f: Vector, p: Vector, log_temperature: float) -> tuple[float, Vector]:
    exponent = f / np.exp(log_temperature)
    # exact to the last digits also where the temperature is high and everything nearly cancels
    more = p @ np.expm1(exponent)
    tilted = p * np.exp(exponent) / (1 + more)
    return float(tilted @ exponent - np.log1p(more)), tilted


def euclidean_ball(value: Vector, probability: Vector, radius: float) -> Vector:
    """Max p'.value over distributions with a Euclidean distance to ``probability`` of at most ``radius``.

    p' is the projection of p + step value on the simplex. The search over the step finds which scenarios keep
    probability; on these p' is p plus a multiple of the value's deviation from its mean (Philpott, de Matos and
    Kapelevich 2018, algorithm 1).
    """
    possible = probability > 0
    p, f = probability[possible] / probability.sum(), value[possible]
    spread = float(np.ptp(f))
    if radius == 0 or spread == 0:
        return probability.copy()
    f = (f - f.max()) / spread
    away = f - f.mean()
    short = p + radius * away / np.linalg.norm(away)
    if short.min() >= 0:
        chosen = short
    else:
        top = f == 0
        chosen = np.where(top, p + (1 - p[top].sum()) / top.sum(), 0.0)
        if np.linalg.norm(chosen - p) > radius * (1 + _ROUNDING):
            root = _crossing(lambda log: _norm_at(f, p, -log) - radius)
            chosen = _on_support(f, p, radius, _projected(p + np.exp(-root) * f) > 0)
    full = np.zeros(len(probability))
    full[possible] = chosen
    return full


def _norm_at(f: Vector, p: Vector, log_step: float) -> float:
    return float(np.linalg.norm(_projected(p + np.exp(log_step) * f) - p))


def _projected(point: Vector) -> Vector:
    """Euclidean projection on the probability simplex."""
    falling = np.sort(point)[::-1]
    excess = (np.cumsum(falling) - 1) / np.arange(1, len(point) + 1)
    threshold = excess[np.flatnonzero(falling > excess)[-1]]
    projected: Vector = np.maximum(point - threshold, 0)
    return projected


def _on_support(f: Vector, p: Vector, radius: float, support: npt.NDArray[np.bool_]) -> Vector:
    count, lost = int(support.sum()), p[~support]
    deviation = f[support] - f[support].mean()
    norm = float(np.linalg.norm(deviation))
    left = max(0.0, radius**2 - float(lost @ lost) - float(lost.sum()) ** 2 / count)
    chosen = np.zeros(len(p))
    step = np.sqrt(left) * deviation / norm if norm > _ROUNDING else 0.0
    chosen[support] = np.maximum(p[support] + lost.sum() / count + step, 0)
    total: Vector = chosen / chosen.sum()
    return total
