"""The optimum of a random program without drofcm: scipy's own HiGHS on an extensive form written out here.

Risk over an ambiguity set is a linear program over distributions and tails, from the sets' definitions; where a set is
round, its support function is known by one number and the tail's level is searched. The weights of the worst case are
cuts of the extensive form. The answer is a bracket: a bound of the mixed-integer program with cuts from below, the cost
of a plan from above.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from cases.random_programs import Instance
from cases.random_risk import worst_case
from scipy.optimize import Bounds, LinearConstraint, linprog, milp

Vector = npt.NDArray[np.float64]

_EXACT = {"primal_feasibility_tolerance": 1e-10, "dual_feasibility_tolerance": 1e-10}
_NARROW = 2e-7
"""Of the size of the costs: where the bracket is closed. What HiGHS allows a row of an integer program is 1e-6."""


@dataclass
class _Extensive:
    """Columns: first stage, each scenario's recourse, each scenario's cost, the risk of these costs."""

    objective: Vector
    rows: Vector
    low: Vector
    high: Vector
    lower: Vector
    upper: Vector
    integer: npt.NDArray[np.bool_]
    costs: slice


def optimum(own: Instance) -> tuple[float, float] | None:
    """Bounds of the least cost of a plan; None where there is no plan."""
    form = _extensive(own)
    count, constant = len(own.recourse), own.first.constant
    cuts = [worst_case(own, cost)[1] for cost in (np.zeros(count), *np.eye(count))]
    least, best = -np.inf, np.inf
    for _ in range(60):
        found = milp(
            form.objective,
            integrality=form.integer,
            bounds=Bounds(form.lower, form.upper),
            constraints=LinearConstraint(*_with_cuts(form, cuts)),
            options={"mip_rel_gap": 0.0},
        )
        if found.status == 2:
            return None
        assert found.status == 0, found.message
        least = max(least, float(found.mip_dual_bound if form.integer.any() else found.fun))
        if best < np.inf and best - least <= _NARROW * max(1.0, abs(best)):
            break
        best = min(best, _at_integers(own, form, cuts, found.x))
    # a plan may be cheaper than the bound by what HiGHS allows a row
    return min(least, best) + constant, best + constant


def _at_integers(own: Instance, form: _Extensive, cuts: list[Vector], point: Vector) -> float:
    """The least cost with the integers of a point; cuts are added at the points that are tried, and between them."""
    lower, upper = form.lower.copy(), form.upper.copy()
    lower[form.integer] = upper[form.integer] = np.round(point[form.integer])
    best, center = np.inf, None
    for _ in range(300):
        rows, low, high = _with_cuts(form, cuts)
        same = low == high
        above, below = ~same & np.isfinite(high), ~same & np.isfinite(low)
        found = linprog(
            form.objective,
            A_ub=np.vstack([rows[above], -rows[below]]),
            b_ub=np.concatenate([high[above], -low[below]]),
            A_eq=rows[same],
            b_eq=low[same],
            bounds=np.column_stack([lower, upper]),
            method="highs",
            options=_EXACT,
        )
        if found.status == 2:
            # integers that fit within the tolerance of an integer program only
            return best
        assert found.status == 0, found.message
        # cuts where the linear program looks and, as these swing about on a round set, half way back to the best
        for tried in [found.x] if center is None else [found.x, (found.x + center) / 2]:
            value, weights = worst_case(own, tried[form.costs])
            cuts.append(weights)
            cost = float(form.objective[:-1] @ tried[:-1]) + value
            if cost < best:
                best, center = cost, tried
        if best - found.fun <= _NARROW / 4 * max(1.0, abs(best)):
            return best
    raise AssertionError("no end of cuts")


def _with_cuts(form: _Extensive, cuts: list[Vector]) -> tuple[Vector, Vector, Vector]:
    judged = np.zeros((len(cuts), len(form.objective)))
    judged[:, form.costs], judged[:, -1] = -np.array(cuts), 1
    return (
        np.vstack([form.rows, judged]),
        np.concatenate([form.low, np.zeros(len(cuts))]),
        np.concatenate([form.high, np.full(len(cuts), np.inf)]),
    )


def _extensive(own: Instance) -> _Extensive:
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
    free, stages = np.full(count + 1, np.inf), [own.first, *own.recourse]
    objective = np.zeros(width)
    objective[:n], objective[-1] = own.first.cost, 1
    return _Extensive(
        objective,
        np.vstack(rows),
        np.concatenate(low),
        np.concatenate(high),
        np.concatenate([*(stage.lower for stage in stages), -free]),
        np.concatenate([*(stage.upper for stage in stages), free]),
        np.concatenate([*(stage.integer for stage in stages), np.zeros(count + 1, dtype=bool)]),
        slice(int(begin[-1]), int(begin[-1]) + count),
    )


def _wide(matrix: Vector, width: int, at: int) -> Vector:
    wide = np.zeros((matrix.shape[0], width))
    wide[:, at : at + matrix.shape[1]] = matrix
    return wide
