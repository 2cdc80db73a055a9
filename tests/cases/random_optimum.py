"""The optimum of a random program without drofcm: scipy's own HiGHS on an extensive form written out here.

Risk over an ambiguity set is a linear program over distributions and tails, from the sets' definitions; where a set is
round, planes that touch it are added until its boundary is reached. Its weights are cuts of the extensive form.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from cases.random_programs import Instance, box_of, mean_of
from scipy.optimize import Bounds, LinearConstraint, linprog, milp

Vector = npt.NDArray[np.float64]

_EXACT = {"primal_feasibility_tolerance": 1e-10, "dual_feasibility_tolerance": 1e-10}
_ON_BOUNDARY = 1e-11


def optimum(own: Instance) -> float | None:
    """The least cost of a plan; None where there is none."""
    n, count = len(own.first.cost), len(own.recourse)
    begin = n + np.concatenate([[0], np.cumsum([len(stage.cost) for stage in own.recourse])]).astype(int)
    width = int(begin[-1]) + count + 1
    rows, low, high = [_wide(own.first.rows, width, 0)], [own.first.low], [own.first.high]
    for k, (stage, enters, charged) in enumerate(zip(own.recourse, own.technology, own.charged, strict=True)):
        rows.append(_wide(enters, width, 0) + _wide(stage.rows, width, begin[k]))
        low.append(stage.low)
        high.append(stage.high)
        # the scenario's cost has a column of its own
        cost = np.zeros((1, width))
        cost[0, :n], cost[0, begin[k] : begin[k + 1]], cost[0, begin[-1] + k] = -charged, -stage.cost, 1
        rows.append(cost)
        low.append(np.array([stage.constant]))
        high.append(np.array([stage.constant]))
    free = np.full(count + 1, np.inf)
    stages = [own.first, *own.recourse]
    bounds = Bounds(
        np.concatenate([*(stage.lower for stage in stages), -free]),
        np.concatenate([*(stage.upper for stage in stages), free]),
    )
    integer = np.concatenate([*(stage.integer for stage in stages), np.zeros(count + 1, dtype=bool)])
    objective = np.zeros(width)
    objective[:n], objective[-1] = own.first.cost, 1
    cuts = [_worst_case(own, own_cost)[1] for own_cost in (np.zeros(count), *np.eye(count))]
    for _ in range(200):
        judged = np.zeros((len(cuts), width))
        judged[:, begin[-1] : begin[-1] + count], judged[:, -1] = -np.array(cuts), 1
        found = milp(
            objective,
            integrality=integer,
            bounds=bounds,
            constraints=LinearConstraint(
                np.vstack([*rows, judged]),
                np.concatenate([*low, np.zeros(len(cuts))]),
                np.concatenate([*high, np.full(len(cuts), np.inf)]),
            ),
            options={"mip_rel_gap": 0.0},
        )
        if found.status == 2:
            return None
        assert found.status == 0, found.message
        cost = found.x[begin[-1] : begin[-1] + count]
        value, weights = _worst_case(own, cost)
        if value - found.x[-1] <= 1e-8 * max(1.0, float(np.abs(weights) @ np.abs(cost))):
            return float(found.fun) + own.first.constant
        cuts.append(weights)
    raise AssertionError("no end of cuts")


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


def _worst_case(own: Instance, cost: Vector) -> tuple[float, Vector]:
    """The risk of costs, and the weights that it puts on them."""
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
    for _ in range(400):
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
        plane = _touching(own, there.move @ found.x[:width])
        if plane is None:
            break
        rows.append(_wide((plane[0] @ there.move)[None, :], len(objective), 0))
        limit.append(np.array([plane[1]]))
    weights = own.expectation * (there.move @ found.x[:width])
    for k, (_, weight) in enumerate(tails):
        weights = weights + weight * found.x[width + k * count : width + (k + 1) * count]
    if own.worst:
        weights = weights + own.worst * (np.arange(count) == np.argmax(np.where(_reached(own), cost, -np.inf)))
    return float(weights @ cost), weights


def _touching(own: Instance, p: Vector) -> tuple[Vector, float] | None:
    """A plane g.p <= h that the round set lies below and this point above; None where the point is in the set."""
    nominal = own.probability
    possible = nominal > 0
    if (p[~possible] > 1e-12).any() and own.kind in ("entropy",):
        return (~possible).astype(float), 0.0
    if own.kind == "chi_squared":
        away = np.where(possible, p - nominal, 0.0)
        if (p[~possible] > 1e-12).any():
            return (~possible).astype(float), 0.0
        far = float(np.sqrt(away @ away))
        return None if far <= own.size + _ON_BOUNDARY else (away / far, float(away @ nominal) / far + own.size)
    if own.kind == "entropy":
        inside = np.where(possible, np.maximum(p, 1e-300), 1.0)
        ratio = np.log(inside / np.where(possible, nominal, 1.0))
        far = float(inside[possible] @ ratio[possible])
        if far <= own.size + _ON_BOUNDARY:
            return None
        # towards the nominal distribution, to the boundary, where the plane touches
        low, high = 0.0, 1.0
        for _ in range(80):
            middle = (low + high) / 2
            tried = nominal + middle * (p - nominal)
            part = tried[possible]
            inner = float(np.where(part > 0, part * np.log(np.maximum(part, 1e-300) / nominal[possible]), 0).sum())
            low, high = (middle, high) if inner <= own.size else (low, middle)
        touch = nominal + low * (p - nominal)
        slope = np.where(possible, np.log(np.maximum(touch, 1e-300) / np.where(possible, nominal, 1.0)) + 1, 0.0)
        return slope, float(slope @ touch)
    return None


def _reached(own: Instance) -> npt.NDArray[np.bool_]:
    """Scenarios that some distribution of the set gives mass."""
    there, width = _Distributions(own), len(own.probability)
    if own.kind in ("chi_squared", "entropy"):
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
