"""Whether the distribution that nature is said to pick lies in its ambiguity set, from the definition of the set."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
import xarray as xr
from scipy.optimize import linprog

from drofcm.risk.ambiguity import (
    REFERENCE,
    AmbiguitySet,
    Intersection,
    KullbackLeibler,
    ModifiedChiSquared,
    Moments,
    Nominal,
    ProbabilityBox,
    TotalVariation,
    Wasserstein,
)
from drofcm.validate.ledger import Ledger

__all__ = ["enter_distribution", "transport_cost"]

Vector = npt.NDArray[np.float64]

_EQUATION = "B"


def enter_distribution(
    ledger: Ledger, ambiguity: AmbiguitySet, probability: xr.DataArray, chosen: xr.DataArray
) -> None:
    """Enter that worst-case probabilities are a distribution, and one of the set.

    Parameters
    ----------
    ledger
        Takes the checks.
    ambiguity
        A bound set.
    probability, chosen
        Nominal and worst-case probability, (scenario), in the same order.
    """
    ledger.at_least("worst-case probabilities are not negative", _EQUATION, chosen, 0.0)
    ledger.equal("worst-case probabilities sum to 1", _EQUATION, chosen.sum(), xr.DataArray(1.0))
    check = f"worst case lies in: {ambiguity}"
    match ambiguity:
        case Intersection():
            for own in ambiguity.sets:
                enter_distribution(ledger, own, probability, chosen)
        case Nominal():
            ledger.equal(check, _EQUATION, chosen, probability)
        case TotalVariation():
            ledger.at_most(check, _EQUATION, abs(chosen - probability).sum() / 2, ambiguity.radius)
        case ProbabilityBox():
            lower, upper = (xr.DataArray(side) for side in (ambiguity.lower, ambiguity.upper))
            ledger.at_least(check, _EQUATION, chosen, lower.broadcast_like(chosen))
            ledger.at_most(check, _EQUATION, chosen, upper.broadcast_like(chosen))
        case Moments():
            assert ambiguity.conditions is not None
            moment = xr.dot(ambiguity.conditions.function, chosen, dim="scenario")
            ledger.at_least(check, _EQUATION, moment, ambiguity.conditions.lower)
            ledger.at_most(check, _EQUATION, moment, ambiguity.conditions.upper)
        case ModifiedChiSquared():
            ledger.at_most(check, _EQUATION, ((chosen - probability) ** 2).sum() ** 0.5, ambiguity.radius)
        case KullbackLeibler():
            share = (chosen / probability.where(probability > 0)).where(chosen > 0, 1.0)
            ledger.at_most(check, _EQUATION, (chosen * np.log(share)).sum(skipna=False), ambiguity.radius)
        case Wasserstein():
            spent = transport_cost(ambiguity, probability.values, chosen.values, probability.indexes["scenario"])
            ledger.at_most(check, _EQUATION, xr.DataArray(spent), float(ambiguity.radius**ambiguity.order))
        case _:
            ledger.fail(check, _EQUATION, "no definition is known")


def transport_cost(ambiguity: Wasserstein, probability: Vector, chosen: Vector, scenario: Any) -> float:
    """Least cost of moving one distribution to the other, by the linear program of the definition.

    What stays in place is left out first, which is a plan, though not always the best one; the whole program is
    solved only if that plan exceeds the budget.
    """
    distance = ambiguity.distance
    assert distance is not None
    gained = np.maximum(chosen - probability, 0)
    cost = _least(ambiguity, np.maximum(probability - chosen, 0), gained, scenario)
    if cost > ambiguity.radius**ambiguity.order:
        cost = min(cost, _least(ambiguity, probability, chosen, scenario))
    return cost


def _least(ambiguity: Wasserstein, given: Vector, taken: Vector, scenario: Any) -> float:
    assert ambiguity.distance is not None
    rows, columns = np.flatnonzero(given > 0), np.flatnonzero(taken > 0)
    if not len(rows) or not len(columns):
        return 0.0
    between = ambiguity.distance.sel({REFERENCE: scenario[rows], "scenario": scenario[columns]})
    cost = between.transpose(REFERENCE, "scenario").values.astype(float) ** ambiguity.order
    if ambiguity.support is not None:
        closed = ~scenario[columns].isin(list(ambiguity.support))
        cost = np.where(closed[None, :] & (rows[:, None] != columns[None, :]), np.inf, cost)
    moves = np.argwhere(np.isfinite(cost))
    count = len(moves)
    of_row = sp.csr_array((np.ones(count), (moves[:, 0], np.arange(count))), shape=(len(rows), count))
    of_column = sp.csr_array((np.ones(count), (moves[:, 1], np.arange(count))), shape=(len(columns), count))
    # both sides sum to the same up to rounding, which must not make the program infeasible
    amount = given[rows] / given.sum() * taken.sum()
    solve: Any = linprog
    found = solve(
        cost[moves[:, 0], moves[:, 1]],
        A_eq=sp.vstack([of_row, of_column[:-1]]),
        b_eq=np.concatenate([amount, taken[columns][:-1]]),
        method="highs",
    )
    return float(found.fun) if found.success else np.inf
