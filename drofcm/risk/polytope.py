"""Polyhedral ambiguity sets in matrix form, the one statement of what they are.

    P = { base + movement u : u >= 0, rows u <= limit (= limit where `equal`) }

Worst cases come from it by linear programming, rows of a model by its dual (`drofcm.risk.rows`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import singledispatch
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
import xarray as xr
from scipy.optimize import linprog

from drofcm.core.dims import SCENARIO
from drofcm.core.errors import Finding, InputError, SolveError, shorten
from drofcm.risk.ambiguity import (
    REFERENCE,
    AmbiguitySet,
    Intersection,
    Moments,
    Nominal,
    ProbabilityBox,
    TotalVariation,
    Wasserstein,
    require_bound,
)

__all__ = ["Polytope", "box", "check_not_empty", "maximise", "moves", "polytope", "reachable_by_program"]

Vector = npt.NDArray[np.float64]

_DEAREST = 1e15
"""A move that costs so many budgets can carry no mass that counts; HiGHS takes no larger coefficient."""
_MOST_BUDGETS = 1e6
_SMALLEST = 1e-300

_TIGHT = {"primal_feasibility_tolerance": 1e-10, "dual_feasibility_tolerance": 1e-10}


@dataclass(frozen=True)
class Polytope:
    """Distributions over S scenarios, moved from a base by U columns under M rows.

    Attributes
    ----------
    base, movement
        (S) and (S x U).
    rows, limit, equal
        (M x U), (M) and (M).
    """

    base: Vector
    movement: sp.csr_array
    rows: sp.csr_array
    limit: Vector
    equal: npt.NDArray[np.bool_]


@singledispatch
def polytope(ambiguity: AmbiguitySet, probability: xr.DataArray) -> Polytope:
    """A polyhedral set in matrix form.

    Parameters
    ----------
    ambiguity
        A bound set that is no divergence ball.
    probability
        Nominal probability, (scenario).
    """
    raise TypeError(f"an ambiguity set with finitely many rows is needed, got {ambiguity!r}")


@polytope.register
def _(ambiguity: Nominal, probability: xr.DataArray) -> Polytope:
    p = probability.values
    none = sp.csr_array((len(p), 0))
    return Polytope(p, none, sp.csr_array((0, 0)), np.zeros(0), np.zeros(0, dtype=bool))


@polytope.register
def _(ambiguity: TotalVariation, probability: xr.DataArray) -> Polytope:
    p = probability.values
    count, from_ = len(p), np.flatnonzero(p > 0)
    unit = sp.eye_array(count, format="csr")
    taken = unit[:, from_]
    total = np.ones((1, count))
    rows = [
        sp.hstack([sp.csr_array(total), -sp.csr_array(total[:, from_])]),
        sp.hstack([sp.csr_array(total), sp.csr_array((1, len(from_)))]),
        sp.hstack([sp.csr_array((len(from_), count)), sp.eye_array(len(from_))]),
    ]
    return Polytope(
        base=p,
        movement=sp.csr_array(sp.hstack([unit, -taken])),
        rows=sp.csr_array(sp.vstack(rows)),
        limit=np.concatenate([[0.0, ambiguity.radius], p[from_]]),
        equal=np.arange(2 + len(from_)) == 0,
    )


@polytope.register
def _(ambiguity: ProbabilityBox, probability: xr.DataArray) -> Polytope:
    lower, upper = box(ambiguity, probability)
    unit = sp.eye_array(len(lower), format="csr")
    return Polytope(
        base=lower,
        movement=unit,
        rows=sp.csr_array(sp.vstack([sp.csr_array(np.ones((1, len(lower)))), unit])),
        limit=np.concatenate([[1 - lower.sum()], upper - lower]),
        equal=np.arange(1 + len(lower)) == 0,
    )


@polytope.register
def _(ambiguity: Moments, probability: xr.DataArray) -> Polytope:
    require_bound(ambiguity)
    own = ambiguity.conditions
    assert own is not None
    _check_labels(ambiguity, own.function, probability)
    function = own.function.sel({SCENARIO: probability.indexes[SCENARIO]}).transpose(SCENARIO, ...).values
    count = len(function)
    # a side that no mean of the function can reach is no row: limits without end are large numbers
    above = own.upper.values < function.max(axis=0)
    below = own.lower.values > function.min(axis=0)
    rows = np.vstack([np.ones((1, count)), function.T[above], -function.T[below]])
    return Polytope(
        base=np.zeros(count),
        movement=sp.csr_array(sp.eye_array(count)),
        rows=sp.csr_array(rows),
        limit=np.concatenate([[1.0], own.upper.values[above], -own.lower.values[below]]),
        equal=np.arange(len(rows)) == 0,
    )


@polytope.register
def _(ambiguity: Wasserstein, probability: xr.DataArray) -> Polytope:
    origin, cost, allowed = moves(ambiguity, probability)
    allowed &= cost < _DEAREST
    # the dearest move costs 1, or the budget is a millionth: neither vanishes beside the other
    largest = float(cost[allowed].max(initial=0.0))
    scale = min(largest, _MOST_BUDGETS) or 1.0
    row, target = np.nonzero(allowed)
    count, moved = len(probability), len(row)
    column = np.arange(moved)
    of_origin = sp.csr_array((np.ones(moved), (row, column)), shape=(len(origin), moved))
    spent = sp.csr_array(cost[row, target].astype(float)[None, :] / scale)
    return Polytope(
        base=np.zeros(count),
        movement=sp.csr_array((np.ones(moved), (target, column)), shape=(count, moved)),
        rows=sp.csr_array(sp.vstack([of_origin, spent])),
        # no plan spends more than its dearest move
        limit=np.concatenate([probability.values[origin], [min(1.0, max(largest, _SMALLEST)) / scale]]),
        equal=np.arange(len(origin) + 1) < len(origin),
    )


@polytope.register
def _(ambiguity: Intersection, probability: xr.DataArray) -> Polytope:
    parts = [polytope(own, probability) for own in ambiguity.sets]
    first = parts[0]
    count = len(first.base)
    rows = [sp.block_diag([part.rows for part in parts])]
    limit, equal = [part.limit for part in parts], [part.equal for part in parts]
    for number, part in enumerate(parts[1:], start=1):
        # base_1 + movement_1 u_1 = base_k + movement_k u_k
        link = [sp.csr_array((count, own.movement.shape[1])) for own in parts]
        link[0], link[number] = first.movement, -part.movement
        rows.append(sp.hstack(link))
        limit.append(part.base - first.base)
        equal.append(np.ones(count, dtype=bool))
    width = sum(part.movement.shape[1] for part in parts)
    rest = sp.csr_array((count, width - first.movement.shape[1]))
    return Polytope(
        base=first.base,
        movement=sp.csr_array(sp.hstack([first.movement, rest])),
        rows=sp.csr_array(sp.vstack(rows)),
        limit=np.concatenate(limit),
        equal=np.concatenate(equal),
    )


def moves(
    ambiguity: Wasserstein, probability: xr.DataArray
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.floating], npt.NDArray[np.bool_]]:
    """Where mass is, what moving it costs, and where it may go.

    Costs are in shares of the budget, so that they mean the same in every unit of distance and no power of a large or
    small distance overflows or vanishes: a plan may spend 1.

    Returns
    -------
    numpy.ndarray, numpy.ndarray, numpy.ndarray
        Positions of the R scenarios with probability; (distance / radius)^order, (R x S); whether the move is allowed,
        (R x S). With a radius of 0 only moves over no distance are.
    """
    require_bound(ambiguity)
    distance = ambiguity.distance
    assert distance is not None
    _check_labels(ambiguity, distance, probability)
    index = probability.indexes[SCENARIO]
    origin = np.flatnonzero(probability.values > 0)
    lacking = index[origin].difference(distance.indexes[REFERENCE])
    if len(lacking):
        what = f"scenario {shorten(lacking)} has probability and is no reference of the distances"
        raise InputError([Finding(str(ambiguity), what, "give distances from every scenario with probability")])
    cost = _shares(_arranged(distance, index[origin], index), ambiguity)
    allowed = np.isfinite(cost)
    if ambiguity.support is not None:
        stray = [label for label in ambiguity.support if label not in index]
        if stray:
            what = f"support lists what is no scenario: {shorten(stray)}"
            raise InputError([Finding(str(ambiguity), what, "list labels of scenarios")])
        allowed &= index.isin(list(ambiguity.support))
        allowed[np.arange(len(origin)), origin] = True
    return origin, cost, allowed


def _shares(distance: npt.NDArray[np.floating], ambiguity: Wasserstein) -> npt.NDArray[np.floating]:
    if ambiguity.radius == 0:
        return np.where(distance == 0, distance, np.inf)
    # what overflows is dearer than any mass can pay
    with np.errstate(over="ignore", under="ignore"):
        radius = max(ambiguity.radius, float(np.finfo(distance.dtype).tiny))
        share: npt.NDArray[np.floating] = distance / distance.dtype.type(radius)
        return share if ambiguity.order == 1 else share**ambiguity.order


def _arranged(distance: xr.DataArray, origin: object, index: object) -> npt.NDArray[np.floating]:
    """Distances in the order of the scenarios, without a copy where they are in it."""
    array = distance.transpose(REFERENCE, SCENARIO)
    if not array.indexes[SCENARIO].equals(index):
        array = array.sel({SCENARIO: index})
    if not array.indexes[REFERENCE].equals(origin):
        array = array.sel({REFERENCE: origin})
    values: npt.NDArray[np.floating] = array.values
    return values


def box(ambiguity: ProbabilityBox, probability: xr.DataArray) -> tuple[Vector, Vector]:
    """Lower and upper bounds of every scenario's probability, (S) each."""
    sides = []
    for name in ("lower", "upper"):
        side = getattr(ambiguity, name)
        if isinstance(side, xr.DataArray) and side.dims:
            _check_labels(ambiguity, side, probability)
            sides.append(side.sel({SCENARIO: probability.indexes[SCENARIO]}).values.astype(float))
        else:
            sides.append(np.full(len(probability), float(side)))
    if sides[0].sum() > 1 + 1e-9 or sides[1].sum() < 1 - 1e-9:
        lower, upper = sides[0].sum(), sides[1].sum()
        what = f"holds no distribution: lower bounds sum to {lower:.6g}, upper bounds to {upper:.6g}"
        raise InputError([Finding(str(ambiguity), what, "leave room for a sum of 1")])
    return sides[0], sides[1]


def _check_labels(ambiguity: AmbiguitySet, array: xr.DataArray, probability: xr.DataArray) -> None:
    odd = array.indexes[SCENARIO].symmetric_difference(probability.indexes[SCENARIO])
    if len(odd):
        what = f"was made for other scenarios than the costs: {shorten(odd.tolist())} on one side only"
        raise InputError([Finding(str(ambiguity), what, "bind the set to the data of this program")])


def maximise(shape: Polytope, value: Vector) -> Vector | None:
    """The distribution of largest expected value in a polytope; None if it is empty."""
    found = _program(-(shape.movement.T @ value), shape.rows, shape.limit, shape.equal)
    if found.status == 2:
        return None
    if not found.success:
        raise SolveError(f"worst-case probabilities: {found.message}")
    chosen = np.maximum(shape.base + shape.movement @ found.x, 0)
    scaled: Vector = chosen / chosen.sum()
    return scaled


def check_not_empty(ambiguity: AmbiguitySet, probability: xr.DataArray) -> None:
    """Refuse a polyhedral set that holds no distribution.

    Raises
    ------
    InputError
        Naming the sets that have nothing in common.
    """
    if not isinstance(ambiguity, Intersection | Moments | ProbabilityBox):
        return
    if maximise(polytope(ambiguity, probability), np.zeros(len(probability))) is None:
        if isinstance(ambiguity, Intersection):
            raise InputError([_nothing_in_common(ambiguity.sets, probability)])
        raise InputError([Finding(str(ambiguity), "holds no distribution", "widen its bands")])


def _nothing_in_common(sets: Sequence[AmbiguitySet], probability: xr.DataArray) -> Finding:
    for number in range(2, len(sets) + 1):
        shared = Intersection(tuple(sets[:number]))
        if maximise(polytope(shared, probability), np.zeros(len(probability))) is None:
            what = f"has no distribution in common with {' & '.join(map(str, sets[: number - 1]))}"
            return Finding(str(sets[number - 1]), what, "widen one of them: both must hold some distribution")
    raise AssertionError("an empty intersection has an empty beginning")


def reachable_by_program(shape: Polytope) -> npt.NDArray[np.bool_]:
    """Which scenarios have probability in some distribution of a polytope, (S).

    One linear program over the cone of the polytope: y <= t p', y <= 1, maximise sum y; a scenario that can have any
    probability at all has y = 1 for t large enough.
    """
    count, width = shape.movement.shape
    zero = sp.csr_array((shape.rows.shape[0], count))
    # columns: u scaled by t, t, y
    scaled = sp.hstack([shape.rows, sp.csr_array(-shape.limit[:, None]), zero])
    below = sp.hstack([-shape.movement, sp.csr_array(-shape.base[:, None]), sp.eye_array(count)])
    found = _program(
        np.concatenate([np.zeros(width + 1), -np.ones(count)]),
        sp.csr_array(sp.vstack([scaled, below])),
        np.zeros(shape.rows.shape[0] + count),
        np.concatenate([shape.equal, np.zeros(count, dtype=bool)]),
        upper=np.concatenate([np.full(width + 1, np.inf), np.ones(count)]),
    )
    if not found.success:
        raise SolveError(f"support of the ambiguity set: {found.message}")
    reached: npt.NDArray[np.bool_] = found.x[-count:] > 0.5
    return reached


def _program(
    cost: Vector, rows: sp.csr_array, limit: Vector, equal: npt.NDArray[np.bool_], upper: Vector | None = None
) -> Any:
    """Minimise over columns of at least 0; HiGHS, by way of scipy."""
    above = np.full(len(cost), np.inf) if upper is None else upper
    solve: Any = linprog
    return solve(
        cost,
        A_ub=rows[~equal],
        b_ub=limit[~equal],
        A_eq=rows[equal],
        b_eq=limit[equal],
        bounds=np.column_stack([np.zeros(len(cost)), above]),
        method="highs",
        options=_TIGHT,
    )
