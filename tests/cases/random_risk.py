"""The risk of costs over an ambiguity set, from the sets' definitions, for the optimum of random programs."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from cases.random_programs import Instance, box_of, mean_of
from scipy.optimize import brentq, linprog, minimize_scalar

Vector = npt.NDArray[np.float64]

ROUND = ("chi_squared", "entropy")
_EXACT = {"primal_feasibility_tolerance": 1e-10, "dual_feasibility_tolerance": 1e-10}


def worst_case(own: Instance, cost: Vector) -> tuple[float, Vector]:
    """The risk of costs, and weights of the set that show it."""
    value, weights = (_in_ball if own.kind in ROUND else _in_polytope)(own, cost)
    if own.worst:
        most = np.argmax(np.where(_reached(own), cost, -np.inf))
        weights = weights + own.worst * (np.arange(len(cost)) == most)
        value += own.worst * float(cost[most])
    return value, weights


def _wide(matrix: Vector, width: int, at: int) -> Vector:
    wide = np.zeros((matrix.shape[0], width))
    wide[:, at : at + matrix.shape[1]] = matrix
    return wide


class _Distributions:
    """The distributions p = base + move u, u >= 0, with rows u <= limit and equal u = value."""

    def __init__(self, own: Instance) -> None:
        p, count = own.probability, len(own.probability)
        self.move = np.eye(count)
        self.rows, self.limit = np.zeros((0, count)), np.zeros(0)
        self.equal, self.value = np.ones((1, count)), np.ones(1)
        if own.kind == "nominal":
            self.equal, self.value = np.eye(count), p
        elif own.kind in ("total_variation", "two"):
            self._vary(own)
        if own.kind in ("wasserstein", "wasserstein_2", "two"):
            self._transport(own, {"wasserstein_2": 2}.get(own.kind, 1), 1.0 if own.kind == "two" else own.size)
        elif own.kind == "box":
            low, high = box_of(own)
            self.rows, self.limit = np.vstack([self.move, -self.move]), np.append(high, -low)
        elif own.kind == "moments":
            mean, spread = mean_of(own)
            feature = ((own.points - mean) / spread).T
            self.rows = np.vstack([feature, -feature])
            self.limit = np.full(len(self.rows), own.size)

    def _vary(self, own: Instance) -> None:
        count = len(own.probability)
        zero, one = np.zeros((count, count)), np.eye(count)
        self.move = np.hstack([one, zero, zero])
        self.equal = np.vstack(
            [np.hstack([one, -one, one]), np.hstack([np.ones((1, count)), np.zeros((1, 2 * count))])]
        )
        self.value = np.append(own.probability, 1.0)
        self.rows = np.hstack([np.zeros((1, count)), np.ones((1, 2 * count))])
        self.limit = np.array([2 * own.size])

    def _transport(self, own: Instance, order: int, radius: float) -> None:
        """Mass that moves from every scenario to every other; beside what is there already, if anything is."""
        count = len(own.probability)
        leaves = np.kron(np.eye(count), np.ones((1, count)))
        arrives = np.kron(np.ones((1, count)), np.eye(count))
        pays = (own.distances**order).reshape(1, -1)
        if own.kind != "two":
            self.move, self.equal, self.value = arrives, leaves, own.probability
            self.rows, self.limit = pays, np.array([radius**order])
            return
        before, moved = self.move.shape[1], count * count
        same = np.hstack([self.move, -arrives])
        self.equal = np.vstack(
            [np.hstack([self.equal, np.zeros((len(self.equal), moved))]), same, _wide(leaves, before + moved, before)]
        )
        self.value = np.concatenate([self.value, np.zeros(count), own.probability])
        self.rows = np.vstack([_wide(self.rows, before + moved, 0), _wide(pays, before + moved, before)])
        self.limit = np.append(self.limit, radius**order)
        self.move = _wide(self.move, before + moved, 0)


def _in_polytope(own: Instance, cost: Vector) -> tuple[float, Vector]:
    """By a linear program over distributions and the weights of the tails."""
    count, tails = len(cost), own.tails
    there = _Distributions(own)
    width = there.move.shape[1]
    objective = np.concatenate([-own.expectation * (there.move.T @ cost), *(-weight * cost for _, weight in tails)])
    rows, limit = [_wide(there.rows, len(objective), 0)], [there.limit]
    equal, value = [_wide(there.equal, len(objective), 0)], [there.value]
    for k, (level, _) in enumerate(tails):
        at = width + k * count
        rows.append(_wide(np.eye(count), len(objective), at) - _wide(there.move / (1 - level), len(objective), 0))
        limit.append(np.zeros(count))
        equal.append(_wide(np.ones((1, count)), len(objective), at))
        value.append(np.ones(1))
    sides = np.concatenate(limit)
    found = linprog(
        objective,
        A_ub=np.vstack(rows) if len(sides) else None,
        b_ub=sides if len(sides) else None,
        A_eq=np.vstack(equal),
        b_eq=np.concatenate(value),
        method="highs",
        options=_EXACT,
    )
    assert found.status == 0, found.message
    weights = own.expectation * (there.move @ found.x[:width])
    for k, (_, weight) in enumerate(tails):
        weights = weights + weight * found.x[width + k * count : width + (k + 1) * count]
    return float(weights @ cost), weights


def _in_ball(own: Instance, cost: Vector) -> tuple[float, Vector]:
    """By the level of the tail: the least of a convex function of one number, the support function of the ball.

    Any level bounds the risk from above, any distribution of the ball from below, and both must meet.
    """
    nominal, radius = own.probability, own.size
    farthest = {"chi_squared": _farthest_in_two_norm, "entropy": _farthest_in_entropy}[own.kind]
    if not own.tails:
        p, most = farthest(nominal, cost, radius)
        return own.expectation * most, own.expectation * p
    ((level, weight),) = own.tails

    def slope(at: float) -> Vector:
        return own.expectation * cost + weight / (1 - level) * np.maximum(cost - at, 0.0)

    def above(at: float) -> float:
        return weight * at + farthest(nominal, slope(at), radius)[1]

    low, high = float(cost.min()), float(cost.max())
    spread = high - low
    if spread <= 1e-12 * max(1.0, abs(high)):
        return (own.expectation + weight) * high, (own.expectation + weight) * nominal
    at = _least(above, cost)
    # the best distribution lies between those just below and just above the level
    below, beyond = (farthest(nominal, slope(at + step * spread), radius)[0] for step in (-1e-10, 1e-10))

    def judged(share: float) -> tuple[float, Vector]:
        p = (1 - share) * below + share * beyond
        weights = own.expectation * p + weight * _tail(p, cost, level)
        return float(weights @ cost), weights

    inner = minimize_scalar(lambda share: -judged(share)[0], bounds=(0, 1), options={"xatol": 1e-12}).x
    value, weights = max((judged(share) for share in (0.0, float(inner), 1.0)), key=lambda pair: pair[0])
    most = above(at)
    assert -1e-9 <= (most - value) / max(1.0, spread) <= 1e-8, (most, value)
    return most, weights


def _least(convex: Callable[[float], float], cost: Vector) -> float:
    """Where a convex function with corners at costs is least: at a corner, or beside the best one."""
    at = sorted(set(cost.tolist()))
    best = min(range(len(at)), key=lambda k: convex(at[k]))
    tried = [at[best]]
    for one, other in zip(at[max(best - 1, 0) : best + 1], at[best : best + 2], strict=False):
        if other > one:
            tried.append(float(minimize_scalar(convex, bounds=(one, other), options={"xatol": 1e-13}).x))
    return min(tried, key=convex)


def _tail(p: Vector, cost: Vector, level: float) -> Vector:
    """The weights of the dearest costs that hold 1 - level of the mass."""
    weights, left = np.zeros(len(p)), 1.0
    for k in np.argsort(-cost, kind="stable"):
        weights[k] = min(left, p[k] / (1 - level))
        left -= weights[k]
    return weights


def _dearest(nominal: Vector, slope: Vector) -> npt.NDArray[np.bool_]:
    possible = nominal > 0
    return possible & (slope >= slope[possible].max() - 1e-13 * max(1.0, float(np.abs(slope).max())))


def _farthest_in_two_norm(nominal: Vector, slope: Vector, radius: float) -> tuple[Vector, float]:
    """The dearest distribution within a radius (2-norm), and a bound of all of them by weak duality.

    Nominal plus slope over a scale, put back on the simplex (Held, Wolfe and Crowder 1974). A level and slopes that are
    raised where the distribution has no mass bound the rest: slope <= level + scale (p - nominal) everywhere.
    """
    possible, top = nominal > 0, _dearest(nominal, slope)
    corner = np.where(top, nominal + nominal[~top].sum() / top.sum(), 0.0)
    if np.linalg.norm(corner - nominal) <= radius:
        return corner, float(slope[possible].max())

    def at(scale: float) -> tuple[Vector, float]:
        point = nominal[possible] + slope[possible] / scale
        down = np.sort(point)[::-1]
        levels = (np.cumsum(down) - 1) / np.arange(1, len(down) + 1)
        level = levels[np.flatnonzero(down > levels)[-1]]
        p = np.zeros(len(nominal))
        p[possible] = np.maximum(point - level, 0.0)
        return p, scale * float(level)

    scale = _scale(lambda scale: float(np.linalg.norm(at(scale)[0] - nominal)) - radius, slope)
    p, level = at(scale)
    assert np.linalg.norm(p - nominal) <= radius + 1e-12
    return p, level + scale * float(nominal @ (p - nominal) + radius * np.linalg.norm(p - nominal))


def _farthest_in_entropy(nominal: Vector, slope: Vector, radius: float) -> tuple[Vector, float]:
    """The dearest distribution within a radius (relative entropy), and a bound of all of them.

    Nominal times exp(slope / scale); any scale bounds the rest (Ben-Tal et al. 2013).
    """
    possible, top = nominal > 0, _dearest(nominal, slope)
    most = float(slope[possible].max())
    if -np.log(nominal[top].sum()) <= radius:
        return np.where(top, nominal, 0.0) / nominal[top].sum(), most

    def tilted(scale: float) -> Vector:
        return nominal * np.exp(np.where(possible, slope - most, 0.0) / scale)

    def entropy(scale: float) -> float:
        p = tilted(scale) / tilted(scale).sum()
        there = p > 0
        return float(p[there] @ np.log(p[there] / nominal[there]))

    scale = _scale(lambda scale: entropy(scale) - radius, slope)
    assert entropy(scale) <= radius + 1e-12
    mass = tilted(scale).sum()
    return tilted(scale) / mass, most + scale * float(np.log(mass) + radius)


def _scale(excess: Callable[[float], float], slope: Vector) -> float:
    """Where a distance that falls with the scale is the radius."""
    size = max(float(np.ptp(slope)), 1e-300)
    low, high = 1e-6 * size, 1e6 * size
    while excess(low) < 0:
        low /= 1e3
    while excess(high) > 0:
        high *= 1e3
    return float(np.exp(brentq(lambda power: excess(float(np.exp(power))), np.log(low), np.log(high), xtol=1e-14)))


def _reached(own: Instance) -> npt.NDArray[np.bool_]:
    """Scenarios that some distribution of the set gives mass."""
    there, width = _Distributions(own), len(own.probability)
    if own.kind in ROUND:
        return own.probability > 0
    reached = np.zeros(width, dtype=bool)
    for k in range(width):
        found = linprog(
            -there.move[k],
            A_ub=there.rows if len(there.limit) else None,
            b_ub=there.limit if len(there.limit) else None,
            A_eq=there.equal,
            b_eq=there.value,
            method="highs",
        )
        reached[k] = -found.fun > 1e-9
    return reached
