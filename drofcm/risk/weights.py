"""Worst-case weights: a coherent risk measure over an ambiguity set as a re-weighting of the scenarios.

rho(Q) = max { w.Q : w in W }. For ``sum_k b_k rho_k`` the maximiser is ``sum_k b_k w_k`` with ``w_k`` the maximiser of
each measure, because all of them share the ordering of the costs. Everything that decomposition needs is this one
function (Shapiro, Dentcheva and Ruszczynski, Lectures on Stochastic Programming, theorem 6.7).
"""

from __future__ import annotations

from functools import singledispatch

import numpy as np
import xarray as xr

from drofcm.core.dims import SCENARIO
from drofcm.risk.ambiguity import AmbiguitySet, Nominal
from drofcm.risk.measures import CVaR, Expectation, RiskMeasure, WorstCase, as_sum

__all__ = ["check_probability", "value_at_risk", "worst_case_probability", "worst_case_weights"]

_ROUNDING = 1e-9


def check_probability(probability: xr.DataArray) -> None:
    """Refuse probabilities that are negative, NaN or do not sum to one.

    Raises
    ------
    ValueError
        Naming the scenarios, or the sum.
    """
    values = probability.values
    bad = ~(np.isfinite(values) & (values >= 0))
    if bad.any():
        labels = probability[SCENARIO].values[bad]
        listed = values[bad][:5].tolist()
        raise ValueError(f"probability must be at least 0, is {listed} at scenario {labels[:5].tolist()}")
    total = float(values.sum())
    if abs(total - 1) > _ROUNDING * max(1, len(values)):
        raise ValueError(f"probabilities must sum to 1, they sum to {total:.10g}; nothing is rescaled silently")


def worst_case_weights(
    risk: RiskMeasure, ambiguity: AmbiguitySet, cost: xr.DataArray, probability: xr.DataArray
) -> xr.DataArray:
    """The weights w with rho(cost) = sum(w * cost) that a risk measure puts on the scenarios.

    Parameters
    ----------
    risk
        The risk measure.
    ambiguity
        The ambiguity set.
    cost
        Cost per scenario, (scenario).
    probability
        Nominal probability, (scenario), summing to one.

    Returns
    -------
    xarray.DataArray
        Weights over ``scenario``; they sum to the sum of the weights of ``risk``. Between scenarios of equal cost the
        earlier one is taken first, so that the answer is unique.

    Raises
    ------
    ValueError
        If the probabilities are no distribution, or a cost is NaN.
    """
    check_probability(probability)
    if bool(cost.isnull().any()):
        raise ValueError(f"cost is NaN at scenario {cost[SCENARIO].values[cost.isnull().values].tolist()}")
    probability, cost = xr.align(probability, cost, join="exact")
    worst = worst_case_probability(risk, ambiguity, cost, probability).values
    weights = np.zeros(len(worst))
    for weight, measure in as_sum(risk).terms:
        weights += weight * _weights(measure, cost.values, worst)
    return cost.copy(data=weights).rename("risk_weight")


def worst_case_probability(
    risk: RiskMeasure, ambiguity: AmbiguitySet, cost: xr.DataArray, probability: xr.DataArray
) -> xr.DataArray:
    """The distribution, (scenario), that nature picks from the ambiguity set; it sums to one.

    It is not the vector of risk weights: CVaR re-weights this distribution again.
    """
    if not isinstance(ambiguity, Nominal):
        raise TypeError(f"an ambiguity set is needed, got {ambiguity!r}")
    return probability.rename("worst_case_probability")


def value_at_risk(cost: np.ndarray, probability: np.ndarray, alpha: float) -> float:
    """The smallest cost that is not exceeded with probability ``alpha`` at least."""
    order = np.argsort(cost, kind="stable")
    reached = np.cumsum(probability[order]) >= alpha - _ROUNDING
    return float(cost[order][np.argmax(reached)])


@singledispatch
def _weights(measure: RiskMeasure, cost: np.ndarray, probability: np.ndarray) -> np.ndarray:
    raise TypeError(f"no weights are known for {measure!r}")


@_weights.register
def _(measure: Expectation, cost: np.ndarray, probability: np.ndarray) -> np.ndarray:
    return probability


@_weights.register
def _(measure: WorstCase, cost: np.ndarray, probability: np.ndarray) -> np.ndarray:
    weights = np.zeros(len(cost))
    weights[np.argmax(np.where(probability > 0, cost, -np.inf))] = 1
    return weights


@_weights.register
def _(measure: CVaR, cost: np.ndarray, probability: np.ndarray) -> np.ndarray:
    # fill from the most expensive scenario down, each with at most p / (1 - alpha), until the weights sum to one
    order = np.argsort(-cost, kind="stable")
    room = probability[order] / (1 - measure.alpha)
    before = np.concatenate([[0.0], np.cumsum(room)[:-1]])
    weights = np.empty(len(cost))
    weights[order] = np.clip(1 - before, 0, room)
    return weights
