"""Worst-case weights: a coherent risk measure over an ambiguity set as a re-weighting of the scenarios.

rho(Q) = max { w.Q : w in W } with W = { a p' + sum_k b_k w^k : p' in P, 0 <= w^k <= p' / (1 - alpha_k), sum w^k = 1 }.
One distribution p' is shared by all terms. Given p', each w^k follows from the ordering of the costs; finding p' is
the work of `drofcm.risk.saddle` and `drofcm.risk.nature`. The worst case (alpha = 1) ranges over all scenarios that
some distribution of P reaches, whatever p' is. Everything that decomposition needs is this one function (Shapiro,
Dentcheva and Ruszczynski, Lectures on Stochastic Programming, theorem 6.7).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import xarray as xr

from drofcm.core.dims import SCENARIO
from drofcm.core.errors import Finding, InputError, shorten
from drofcm.risk.ambiguity import AmbiguitySet, Nominal
from drofcm.risk.measures import CVaR, Expectation, RiskMeasure, WeightedSum, as_sum
from drofcm.risk.nature import nature, reachable
from drofcm.risk.saddle import Tail, cvar_weights, value_at_risk, worst_distribution

__all__ = ["check_probability", "value_at_risk", "worst_case", "worst_case_probability", "worst_case_weights"]

Vector = npt.NDArray[np.float64]

_ROUNDING = 1e-9


def check_probability(probability: xr.DataArray) -> None:
    """Refuse probabilities that are negative, NaN or do not sum to one.

    Raises
    ------
    ValueError
        Naming the scenarios, or the sum.
    """
    _check_labelled("probability", probability)
    values = probability.values
    bad = ~(np.isfinite(values) & (values >= 0))
    if bad.any():
        labels = probability[SCENARIO].values[bad]
        listed = values[bad][:5].tolist()
        raise ValueError(f"probability must be at least 0, is {listed} at scenario {labels[:5].tolist()}")
    total = float(values.sum())
    if abs(total - 1) > _ROUNDING * max(1, len(values)):
        raise ValueError(f"probabilities must sum to 1, they sum to {total:.10g}; nothing is rescaled silently")


def _check_labelled(what: str, array: object) -> None:
    """Costs and probabilities meet by the labels of their scenarios."""
    if not isinstance(array, xr.DataArray):
        raise ValueError(
            f"{what}: a DataArray over {SCENARIO!r} is needed, got {type(array).__name__}; "
            f"xr.DataArray(values, coords={{{SCENARIO!r}: labels}}, dims={SCENARIO!r}) makes one"
        )
    if array.dims != (SCENARIO,) or SCENARIO not in array.indexes:
        raise ValueError(f"{what}: one value for each labelled {SCENARIO!r} is needed, got dimensions {array.dims}")


def worst_case_weights(
    risk: RiskMeasure, ambiguity: AmbiguitySet, cost: xr.DataArray, probability: xr.DataArray
) -> xr.DataArray:
    """The weights w with rho(cost) = sum(w * cost) that a risk measure over an ambiguity set puts on the scenarios.

    Parameters
    ----------
    risk
        The risk measure.
    ambiguity
        The ambiguity set, bound to its data (`drofcm.bind`).
    cost
        Cost per scenario, (scenario).
    probability
        Nominal probability, (scenario), summing to one.

    Returns
    -------
    xarray.DataArray
        Weights over ``scenario``; they sum to the sum of the weights of ``risk``. Under the nominal distribution the
        earlier one of scenarios of equal cost is taken first, so that the answer is unique.

    Raises
    ------
    ValueError
        If the probabilities are no distribution, or a cost is NaN or infinite.
    InputError
        If the set is not bound, holds no distribution, or was made for other scenarios.
    """
    return worst_case(risk, ambiguity, cost, probability)[0]


def worst_case_probability(
    risk: RiskMeasure, ambiguity: AmbiguitySet, cost: xr.DataArray, probability: xr.DataArray
) -> xr.DataArray:
    """The distribution, (scenario), that nature picks from the ambiguity set; it sums to one.

    It is not the vector of risk weights: CVaR re-weights this distribution again. Parameters and errors are those of
    `worst_case_weights`.
    """
    return worst_case(risk, ambiguity, cost, probability)[1]


def worst_case(
    risk: RiskMeasure, ambiguity: AmbiguitySet, cost: xr.DataArray, probability: xr.DataArray
) -> tuple[xr.DataArray, xr.DataArray]:
    """Both, for one search: `worst_case_weights` and `worst_case_probability`."""
    _check_labelled("probability", probability)
    _check_labelled("cost", cost)
    probability = _of_scenarios(probability, cost)
    if bool(cost.isnull().any()):
        labels = cost[SCENARIO].values[cost.isnull().values].tolist()
        raise InputError([Finding("cost", f"cost is NaN at scenario {shorten(labels)}", "every scenario has a cost")])
    measure = as_sum(risk)
    chosen = _worst_probability(measure, ambiguity, cost, probability)
    weights = np.zeros(len(chosen))
    for weight, term in measure.terms:
        if weight > 0:
            weights += weight * _weights(term, cost.values, chosen, ambiguity, probability)
    return (
        cost.copy(data=weights).rename("risk_weight"),
        probability.copy(data=chosen).rename("worst_case_probability"),
    )


def _of_scenarios(probability: xr.DataArray, cost: xr.DataArray) -> xr.DataArray:
    """The probabilities in the order of the costs: matched by label, never by position."""
    try:
        check_probability(probability)
    except ValueError as error:
        raise InputError([Finding("probability", str(error))]) from None
    ours, theirs = probability.indexes.get(SCENARIO), cost.indexes.get(SCENARIO)
    if ours is None or theirs is None or ours.equals(theirs):
        return xr.align(probability, cost, join="exact")[0]
    odd = ours.symmetric_difference(theirs)
    if len(odd) or len(ours) != len(theirs):
        what = f"has other scenarios than the probabilities: {shorten(odd.tolist())} on one side only"
        raise InputError([Finding("cost", what, "give one cost for each scenario")])
    return probability.sel({SCENARIO: theirs})


def _worst_probability(
    measure: WeightedSum, ambiguity: AmbiguitySet, cost: xr.DataArray, probability: xr.DataArray
) -> Vector:
    values = cost.values.astype(float)
    # a weight of zero times infinity would be a risk of NaN
    if not np.isfinite(values).all():
        raise ValueError(f"cost is infinite at scenario {cost[SCENARIO].values[~np.isfinite(values)].tolist()}")
    if isinstance(ambiguity, Nominal):
        return probability.values.astype(float)
    expectation = sum(weight for weight, term in measure.terms if isinstance(term, Expectation))
    tails = tuple(Tail(weight, term.alpha) for weight, term in measure.terms if isinstance(term, CVaR) and weight > 0)
    return worst_distribution(values, expectation, tails, nature(ambiguity, probability, values))


def _weights(
    term: RiskMeasure, cost: Vector, chosen: Vector, ambiguity: AmbiguitySet, probability: xr.DataArray
) -> Vector:
    if isinstance(term, Expectation):
        return chosen
    if isinstance(term, CVaR):
        return cvar_weights(cost, chosen, term.alpha)
    weights = np.zeros(len(cost))
    weights[np.argmax(np.where(reachable(ambiguity, probability), cost, -np.inf))] = 1
    return weights
