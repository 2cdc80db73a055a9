"""`MatrixProblem`, and what can be said of an answer to one without the solver that gave it.

A solver's word is an objective, a bound and a status. Here all of it is computed again from the problem as it was
given, before any scaling: the cost of a point, whether it satisfies rows, bounds and integrality, and the bound that
multipliers of the rows prove by weak duality, whatever they come from.

References
----------
Neumaier, A. and Shcherbina, O. (2004). Safe bounds in linear and mixed-integer linear programming. Mathematical
Programming 99: 283-296.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

__all__ = [
    "INTEGRALITY",
    "MatrixProblem",
    "broken",
    "cost_of",
    "dual_bound",
    "elastic",
    "largest_by_column",
    "proves_infeasible",
]

Vector = npt.NDArray[np.float64]

INTEGRALITY = 1e-6
"""How far from a whole number an integer column may be."""

_FEASIBLE = 4e-6
"""How far a row or a bound may be missed, relative to what its terms add up to; the solver's own limit is 1e-6."""

_ROUNDING = 1e-11
"""A reduced cost up to this share of what it is computed from is rounding."""

_DUAL_FEASIBLE = 1e-9
"""The same where the column has no bound on the side in question, so that anything else would prove nothing."""


@dataclass(frozen=True)
class MatrixProblem:
    """min cost.x + constant subject to row_lower <= rows x <= row_upper, lower <= x <= upper, some x integer."""

    cost: Vector
    constant: float
    rows: sp.csr_array
    row_lower: Vector
    row_upper: Vector
    lower: Vector
    upper: Vector
    integer: npt.NDArray[np.bool_]


def cost_of(problem: MatrixProblem, x: Vector) -> tuple[float, float]:
    """What a point costs, and what the absolute values of the terms of that sum add up to."""
    terms = problem.cost * x
    return float(terms.sum()) + problem.constant, float(np.abs(terms).sum()) + abs(problem.constant)


def broken(problem: MatrixProblem, x: Vector) -> str:
    """Which rows, bounds or whole numbers a point misses; empty where it satisfies all of them."""
    slack = _FEASIBLE * np.maximum(1.0, np.abs(x))
    outside = (x < problem.lower - slack) | (x > problem.upper + slack)
    if outside.any():
        return f"column {int(np.argmax(outside))} lies outside its bounds"
    if problem.integer.any():
        away = np.abs(x - np.round(x)) > 2 * INTEGRALITY
        if (away & problem.integer).any():
            return f"column {int(np.argmax(away & problem.integer))} is not whole"
    value = problem.rows @ x
    missed = np.maximum(problem.row_lower - value, value - problem.row_upper)
    suspects = np.flatnonzero(~(missed <= _FEASIBLE))
    if len(suspects):
        size = abs(problem.rows[suspects]) @ np.abs(x)
        wrong = suspects[~(missed[suspects] <= _FEASIBLE * np.maximum(1.0, size))]
        if len(wrong):
            return f"row {int(wrong[0])} is missed by {missed[wrong[0]]:.3g}"
    return ""


def largest_by_column(rows: sp.csr_array, columns: int) -> Vector:
    """The largest absolute coefficient of every column."""
    largest = np.zeros(columns)
    np.maximum.at(largest, rows.indices, np.abs(rows.data))
    return largest


def dual_bound(problem: MatrixProblem, dual: Vector, largest: Vector | None = None) -> float:
    """The lower bound of the problem's linear relaxation that multipliers of its rows prove; -inf if they prove none.

    Parameters
    ----------
    problem
        The problem.
    dual
        A multiplier of every row: positive where its lower side is active.
    largest
        As of `largest_by_column`, if it is known.
    """
    # a multiplier whose side is missing counts for nothing, and then not in the reduced costs either
    dual = np.where(np.isinf(np.where(dual > 0, problem.row_lower, problem.row_upper)), 0.0, dual)
    sides = np.where(dual > 0, problem.row_lower, problem.row_upper)
    largest = largest_by_column(problem.rows, len(problem.cost)) if largest is None else largest
    reduced = problem.cost - problem.rows.T @ dual
    size = np.abs(problem.cost) + largest * np.abs(dual).max(initial=0.0)
    used = dual != 0
    bound = problem.constant + float(dual[used] @ sides[used])
    return bound + _least_over_box(reduced, size, problem.lower, problem.upper)


def proves_infeasible(problem: MatrixProblem, ray: Vector, largest: Vector | None = None) -> bool:
    """Whether multipliers of the rows prove that nothing satisfies these and the bounds (Farkas)."""
    scale = float(np.abs(ray).max(initial=0.0))
    if not np.isfinite(scale) or scale == 0:
        return False
    nothing = MatrixProblem(
        np.zeros_like(problem.cost),
        0.0,
        problem.rows,
        problem.row_lower,
        problem.row_upper,
        problem.lower,
        problem.upper,
        problem.integer,
    )
    # the cost of any feasible point is zero
    return dual_bound(nothing, ray / scale, largest) > _FEASIBLE


def elastic(problem: MatrixProblem) -> MatrixProblem:
    """How far rows must be missed at least: two more columns for each of them, and no other cost."""
    count, columns = len(problem.row_lower), len(problem.cost)
    slack = sp.eye_array(count)
    return MatrixProblem(
        cost=np.concatenate([np.zeros(columns), np.ones(2 * count)]),
        constant=0.0,
        rows=sp.csr_array(sp.hstack([problem.rows, slack, -slack])),
        row_lower=problem.row_lower,
        row_upper=problem.row_upper,
        lower=np.concatenate([problem.lower, np.zeros(2 * count)]),
        upper=np.concatenate([problem.upper, np.full(2 * count, np.inf)]),
        integer=np.concatenate([problem.integer, np.zeros(2 * count, dtype=bool)]),
    )


def _least_over_box(reduced: Vector, size: Vector, lower: Vector, upper: Vector) -> float:
    reduced = np.where(np.abs(reduced) <= _ROUNDING * size, 0.0, reduced)
    sides = np.where(reduced > 0, lower, upper)
    infinite = np.isinf(sides) & (reduced != 0)
    if (np.abs(reduced[infinite]) > _DUAL_FEASIBLE * size[infinite]).any():
        return -np.inf
    counted = (reduced != 0) & ~infinite
    return float(reduced[counted] @ sides[counted])
