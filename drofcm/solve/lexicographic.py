"""Aims one after another, at a cost that stays what it is: linear programs at fixed integers.

What an aim has reached is a row for the aims behind it. Processes that work on this see no labels.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from drofcm.core.errors import SolveError
from drofcm.solve.highs import MatrixProblem, Outcome, solve
from drofcm.solve.problem import cost_of

__all__ = ["Chosen", "Wish", "grant"]

Vector = npt.NDArray[np.float64]

_SAME = 1e-9
"""By how much the cost may change, relative to its terms."""

_UNIT = 2.0**10
"""What the terms of a row that holds a value add up to: the solver's tolerance of 1e-7 is then less than `_SAME`."""


@dataclass(frozen=True)
class Wish:
    """What is wanted of a recourse whose cost is known.

    Attributes
    ----------
    problem
        The recourse at the plan with its integers fixed, and behind its columns and rows those of the preference.
    aims
        What is to be small, most important first, (aims x columns).
    cost
        What the recourse costs; it stays that.
    """

    problem: MatrixProblem
    aims: sp.csr_array
    cost: float


@dataclass(frozen=True)
class Chosen:
    """The columns that were chosen; or None, and why there are none."""

    columns: Vector | None
    why: str = ""


def grant(wish: Wish) -> Chosen:
    """The recourse that is wanted among those of the same cost."""
    problem, chosen = wish.problem, None
    held, level = problem.cost, wish.cost - problem.constant
    # what the terms of the cost add up to is not known before there is a solution
    size = max(abs(wish.cost), abs(problem.constant))
    for number in range(wish.aims.shape[0]):
        aim = wish.aims[[number], :].toarray()[0]
        if not aim.any():
            continue
        try:
            problem, outcome = _least(problem, aim, held, level, size)
        except SolveError as error:
            return Chosen(None, str(error))
        if outcome.status == "infeasible":
            return Chosen(None, "no recourse of its cost satisfies the rows of the preference")
        if outcome.status == "unbounded":
            return Chosen(None, f"expression {number + 1} of the preference has no least value")
        if outcome.x is None or outcome.status != "optimal":
            return Chosen(None, f"the solver cannot tell the least value of expression {number + 1} of the preference")
        chosen, held, level = outcome.x, aim, float(aim @ outcome.x)
        size = float(np.abs(aim) @ np.abs(outcome.x))
    if chosen is None:
        return Chosen(None)
    value, terms = cost_of(wish.problem, chosen)
    if abs(value - wish.cost) > _SAME * max(terms, abs(wish.cost)):
        return Chosen(None, f"its cost would change by {(value - wish.cost) / max(terms, abs(wish.cost)):.1g}")
    return Chosen(chosen)


def _least(
    problem: MatrixProblem, aim: Vector, held: Vector, level: float, size: float
) -> tuple[MatrixProblem, Outcome]:
    """The least value of an aim where ``held.x <= level``, and the problem with that row."""
    # a value from the solver is right to its tolerance, and there may be nothing exactly as small
    for slack in (0.0, _SAME / 2):
        limited = _with_row(problem, held, level + slack * size, size)
        outcome = solve(replace(limited, cost=aim, constant=0.0), threads=1)
        if outcome.status != "infeasible":
            break
    return limited, outcome


def _with_row(problem: MatrixProblem, held: Vector, level: float, size: float) -> MatrixProblem:
    """The problem with the row ``held.x <= level``."""
    largest = float(np.abs(held).max(initial=0.0))
    unit = 2.0 ** np.round(np.log2(_UNIT / (size or largest or 1.0)))
    row = sp.csr_array((held * unit)[np.newaxis, :])
    return replace(
        problem,
        rows=sp.csr_array(sp.vstack([problem.rows, row])),
        row_lower=np.append(problem.row_lower, -np.inf),
        row_upper=np.append(problem.row_upper, level * unit),
    )
