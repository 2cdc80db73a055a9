"""Divergence balls: bounds on their worst case by Lagrangians of one or two multipliers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.optimize import brentq, linprog, minimize_scalar

from drofcm.risk.sets import KullbackLeibler, ModifiedChiSquared, Nominal
from drofcm.validate.terms import Terms, Vector

__all__ = ["ball_bound"]

_ROUNDS = 200
_PROVED = 1e-9
"""How far a bound may lie above a claim, as a share of the costs' spread."""

Answer = tuple[float, Vector]
"""A bound on max p'.value over the ball, and a distribution near the one that attains it."""


def ball_bound(
    ambiguity: Nominal | KullbackLeibler | ModifiedChiSquared,
    probability: Vector,
    unit: Vector,
    terms: Terms,
    target: float,
) -> float:
    """Any thresholds give a bound; planes through those that were tried lead to lower ones (Kelley 1960)."""
    possible = probability > 0
    p, cost = probability[possible], unit[possible]
    # the nominal distribution alone is a ball of radius 0
    radius = 0.0 if isinstance(ambiguity, Nominal) else float(ambiguity.radius)
    inner = _euclidean_bound if isinstance(ambiguity, ModifiedChiSquared) else _entropy_bound
    weight = np.array([own for _, own in terms.cvar])
    share = np.array([own / (1 - alpha) for alpha, own in terms.cvar])
    count = len(weight)
    best, slopes, offsets = np.inf, [], []
    at = np.array([_quantile(cost, p, alpha) for alpha, _ in terms.cvar])
    for _ in range(_ROUNDS):
        found, answer = inner(terms.worth(cost, at), p, radius)
        bound = float(weight @ at) + found
        best = min(best, bound)
        if best <= target + _PROVED or not count:
            break
        beyond = (cost[None, :] > at[:, None]) @ answer
        slopes.append(weight - share * beyond)
        offsets.append(slopes[-1] @ at - bound)
        solve: Any = linprog
        lowest = solve(
            np.append(np.zeros(count), 1.0),
            A_ub=np.column_stack([np.array(slopes), -np.ones(len(slopes))]),
            b_ub=np.array(offsets),
            bounds=[*((0.0, 1.0) for _ in range(count)), (-10.0 * terms.total, None)],
            method="highs",
        )
        if lowest.status != 0 or best - lowest.fun <= 1e-10 or np.allclose(lowest.x[:count], at, rtol=0, atol=1e-15):
            break
        at = lowest.x[:count]
    return best


def _quantile(cost: Vector, p: Vector, alpha: float) -> float:
    order = np.argsort(cost, kind="stable")
    return float(cost[order][min(len(cost) - 1, int(np.searchsorted(np.cumsum(p[order]), alpha - 1e-12)))])


def _entropy_bound(value: Vector, p: Vector, radius: float) -> Answer:
    """For every t > 0, p'.value is at most t radius + t log sum p exp(value / t) (Hu and Hong 2013, theorem 1)."""
    top = float(value.max())

    def bound(log_t: float) -> float:
        t = np.exp(log_t)
        return float(t * radius + top + t * np.log(p @ np.exp((value - top) / t)))

    log_t = _lowest(bound)
    tilted = p * np.exp((value - top) / np.exp(log_t))
    return (min(bound(log_t), top) if radius > 0 else float(p @ value)), (tilted / tilted.sum() if radius > 0 else p)


def _euclidean_bound(value: Vector, p: Vector, radius: float) -> Answer:
    """The Lagrangian of norm(p' - p) <= radius and sum p' = 1, its maximum over p' >= 0 taken entry by entry."""
    if radius == 0:
        return float(p @ value), p

    def entries(curvature: float, mean: float) -> Vector:
        return np.asarray(np.maximum(p + (value - mean) / curvature, 0.0))

    def mean_of(curvature: float) -> float:
        low, high = float(value.min()) - curvature, float(value.max()) + curvature
        return float(brentq(lambda mean: entries(curvature, mean).sum() - 1.0, low, high, xtol=1e-14))

    def bound(log_curvature: float) -> float:
        curvature = float(np.exp(log_curvature))
        mean = mean_of(curvature)
        q = entries(curvature, mean)
        return float(curvature * radius**2 / 2 + mean + (value - mean) @ q - curvature / 2 * float((q - p) @ (q - p)))

    log_curvature = _lowest(bound)
    curvature = float(np.exp(log_curvature))
    answer = entries(curvature, mean_of(curvature))
    return min(bound(log_curvature), float(value.max())), answer / answer.sum()


def _lowest(bound: Callable[[float], float]) -> float:
    """Where a function of a logarithm with one valley is lowest: a coarse look first, then Brent's search."""
    look = np.linspace(-30.0, 30.0, 61)
    place = int(np.argmin([bound(float(own)) for own in look]))
    low, high = look[max(place - 1, 0)], look[min(place + 1, len(look) - 1)]
    search: Any = minimize_scalar
    found = search(bound, bounds=(float(low), float(high)), method="bounded", options={"xatol": 1e-9})
    return float(found.x) if found.fun <= bound(float(look[place])) else float(look[place])
