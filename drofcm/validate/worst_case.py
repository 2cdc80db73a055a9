"""What a solution says of the worst case, judged by the definition of its ambiguity set and of its risk measure.

Three statements, none of which asks the functions that gave the answer: the distribution that nature is said to pick
lies in the set; no distribution of the set is worse (`drofcm.validate.worst_bound`); and the risk weights are weights
that the measure can have under that distribution.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
import xarray as xr
from scipy.optimize import linprog

from drofcm.core.dims import SCENARIO
from drofcm.risk.sets import (
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
from drofcm.validate import recompute
from drofcm.validate.ledger import Ledger
from drofcm.validate.polyhedral_bound import allowed_moves
from drofcm.validate.set_figures import from_data
from drofcm.validate.terms import Terms
from drofcm.validate.worst_bound import largest_probability, worst_bound

__all__ = [
    "dearest_possible",
    "enter_distribution",
    "enter_weights",
    "enter_worst_case",
    "transport_cost",
    "worst_value",
]

Vector = npt.NDArray[np.float64]

_EQUATION = "B"
_EQUATION_RISK = "(14)-(16)"
_NO_MASS = 1e-14
"""Mass that a sum of probabilities does not tell from none."""
_ROUNDING = 1e-9
_POSSIBLE = 1e-9
"""Probability from which a scenario counts as possible in a set that only a program can tell it of."""


def enter_worst_case(
    ledger: Ledger,
    data: xr.Dataset,
    cost: xr.DataArray,
    *,
    spent: float,
    objective: float,
    weights: xr.DataArray | None = None,
    risk: Mapping[str, Any] | None = None,
    ambiguity: AmbiguitySet | None = None,
    chosen: xr.DataArray | None = None,
) -> None:
    """Enter what an objective says of the risk of costs: from the labelled data, the set and the measure alone.

    Parameters
    ----------
    ledger
        Takes the checks.
    data
        Labelled data with ``probability``, (scenario).
    cost
        Finite costs of the recourse, (scenario), in the order of the data, as all arrays here.
    spent, objective
        Cost of the first stage, and with it the risk of the costs, as reported.
    weights
        Risk weights, (scenario).
    risk
        ``{"expectation": a, "cvar": [(alpha, b)], "worst_case": c}``.
    ambiguity, chosen
        The set, bound or not, and the distribution that nature is said to pick.
    """
    probability = data["probability"].reset_coords(drop=True)
    known = None if ambiguity is None else from_data(ledger, ambiguity, data, probability)
    reported, nature = xr.DataArray(objective), probability
    if known is not None and chosen is not None:
        nature = chosen
        enter_distribution(ledger, known, probability, chosen)
    if weights is not None:
        ledger.at_least("risk weights are not negative", _EQUATION_RISK, weights, 0.0)
        ledger.equal("objective by risk weights", "(1)", reported, spent + (weights * cost).sum())
    if risk is None:
        return
    dearest = dearest_possible(known or Nominal(), probability, cost.values)
    value = recompute.risk_by_sorting(cost.values, nature.values, risk, dearest)
    ledger.equal("objective by sorting", _EQUATION_RISK, reported, xr.DataArray(spent + value))
    if weights is not None:
        enter_weights(ledger, risk, nature, weights, dearest)
    if known is not None:
        worst = worst_value(risk, known, probability, cost.values, objective - spent)
        check = "no distribution of the set is worse"
        if np.isfinite(worst):
            ledger.at_most(check, _EQUATION, xr.DataArray(spent + worst), objective)
        else:
            ledger.fail(check, _EQUATION, "no bound was found")


# ---- the distribution -----------------------------------------------------------------------------------------------


def enter_distribution(
    ledger: Ledger, ambiguity: AmbiguitySet, probability: xr.DataArray, chosen: xr.DataArray
) -> None:
    """Enter that worst-case probabilities are a distribution, and one of the set.

    Limits are judged as shares of themselves: a radius of 1e-6 is not lost in a tolerance of 1e-5.

    Parameters
    ----------
    ledger
        Takes the checks.
    ambiguity
        A set with its figures.
    probability, chosen
        Nominal and worst-case probability, (scenario), in the same order.
    """
    # in units of an even probability, so that many scenarios do not hide what happens to one
    count = len(probability)
    ledger.at_least("worst-case probabilities are not negative", _EQUATION, chosen * count, 0.0)
    ledger.equal("worst-case probabilities sum to 1", _EQUATION, chosen.sum(), xr.DataArray(1.0))
    check = f"worst case lies in: {ambiguity}"
    apart = chosen - probability
    match ambiguity:
        case Intersection():
            for own in ambiguity.sets:
                enter_distribution(ledger, own, probability, chosen)
        case Nominal():
            ledger.equal(check, _EQUATION, chosen * count, probability * count)
        case TotalVariation():
            _within(ledger, check, float(abs(apart).sum() / 2), ambiguity.radius)
        case ProbabilityBox():
            lower, upper = (xr.DataArray(side) for side in (ambiguity.lower, ambiguity.upper))
            ledger.at_least(check, _EQUATION, chosen * count, lower.broadcast_like(chosen) * count)
            ledger.at_most(check, _EQUATION, chosen * count, upper.broadcast_like(chosen) * count)
        case Moments():
            assert ambiguity.conditions is not None
            moment = xr.dot(ambiguity.conditions.function, chosen, dim=SCENARIO)
            ledger.at_least(check, _EQUATION, moment, ambiguity.conditions.lower)
            ledger.at_most(check, _EQUATION, moment, ambiguity.conditions.upper)
        case ModifiedChiSquared():
            ledger.zero_where(check, _EQUATION, chosen * count, probability == 0)
            _within(ledger, check, float((apart**2).sum() ** 0.5), ambiguity.radius)
        case KullbackLeibler():
            share = (chosen / probability.where(probability > 0)).where(chosen > 0, 1.0)
            _within(ledger, check, float((chosen * np.log(share)).sum(skipna=False)), ambiguity.radius)
        case Wasserstein():
            spent = transport_cost(ambiguity, probability, chosen)
            _within(ledger, check, spent, ambiguity.radius)
        case _:
            ledger.fail(check, _EQUATION, "no definition is known")


def _within(ledger: Ledger, check: str, found: float, radius: float) -> None:
    """A distance is at most a radius, as a share of it; nothing moves where the radius is 0."""
    if not np.isfinite(found):
        ledger.fail(check, _EQUATION, "mass lies where none can be")
        return
    ledger.at_most(check, _EQUATION, xr.DataArray(found / radius if radius > 0 else found), float(radius > 0))


def transport_cost(ambiguity: Wasserstein, probability: xr.DataArray, chosen: xr.DataArray) -> float:
    """Distance of the set's order from one distribution to the other, by the linear program of the definition.

    That what both have in common stays in place is a plan, though of an order above 1 not always the best one: what
    arrives may push on what was there. The program with such moves is solved only if that plan exceeds the radius.
    Infinite where nothing leads from one to the other.
    """
    # moves in units of the radius: powers of large or small distances neither overflow nor vanish
    origin, cost = allowed_moves(ambiguity, probability)
    whole = np.full((len(probability), len(probability)), np.inf)
    whole[origin] = cost
    surplus = probability.values - chosen.values
    moved = _least(whole, surplus, np.maximum(surplus, 0.0))
    if moved > 1:
        moved = min(moved, _least(whole, surplus, probability.values))
    if not np.isfinite(moved):
        return np.inf
    return float(moved ** (1 / ambiguity.order) * ambiguity.radius)


def _least(cost: Vector, surplus: Vector, leaves: Vector) -> float:
    """Least cost of flows (from, to) that carry every surplus to a lack, where no more may leave than ``leaves``."""
    total = float(np.maximum(surplus, 0.0).sum())
    if total <= _NO_MASS:
        return 0.0
    usable = np.isfinite(cost) & (leaves > 0)[:, None] & ~np.eye(len(cost), dtype=bool)
    if leaves.sum() <= total * (1 + _ROUNDING):
        # nothing is pushed on: only what lacks receives
        usable &= (surplus < 0)[None, :]
    row, target = np.nonzero(usable)
    if not len(row):
        return np.inf
    count, at = len(row), np.arange(len(row))
    shape = (len(cost), count)
    out = sp.csr_array((np.ones(count), (row, at)), shape=shape)
    into = sp.csr_array((np.ones(count), (target, at)), shape=shape)
    # shares of what is moved: little mass is not lost in a tolerance; and both sides sum to 1
    lack = np.maximum(-surplus, 0.0)
    net = (np.maximum(surplus, 0.0) - lack * (total / lack.sum())) / total
    unit = cost[row, target]
    largest = float(unit.max()) or 1.0
    solve: Any = linprog
    found = solve(
        unit / largest,
        A_eq=sp.csr_array(out - into)[:-1],
        b_eq=net[:-1],
        A_ub=out,
        b_ub=leaves / total * (1 + _ROUNDING),
        method="highs",
    )
    return float(found.fun) * largest * total if found.success else np.inf


# ---- the value ------------------------------------------------------------------------------------------------------


def terms_of(risk: Mapping[str, Any]) -> Terms:
    """Mean and CVaR of a measure in plain numbers, limits of CVaR as what they are; the worst case stands apart."""
    tails = [(float(alpha), float(weight)) for alpha, weight in risk.get("cvar", ()) if weight > 0]
    mean = float(risk.get("expectation", 0.0)) + sum(weight for alpha, weight in tails if alpha == 0)
    return Terms(mean, tuple((alpha, weight) for alpha, weight in tails if 0 < alpha < 1))


def worst_value(
    risk: Mapping[str, Any], ambiguity: AmbiguitySet, probability: xr.DataArray, cost: Vector, claimed: float
) -> float:
    """What the measure is at most over the set: a bound for mean and CVaR, and the dearest possible scenario.

    Parameters
    ----------
    risk
        ``{"expectation": a, "cvar": [(alpha, b)], "worst_case": c}``.
    ambiguity
        A set with its figures.
    probability
        Nominal probability, (scenario).
    cost
        (S), in the order of the probability.
    claimed
        The value to prove.
    """
    sure = worst_weight(risk)
    dearest = dearest_possible(ambiguity, probability, cost) if sure > 0 else None
    worst = sure * float(cost[dearest]) if dearest is not None else 0.0
    return worst + worst_bound(ambiguity, probability, cost, terms_of(risk), claimed - worst)


def worst_weight(risk: Mapping[str, Any]) -> float:
    """Weight of the worst case, CVaR of level 1 with it."""
    return float(risk.get("worst_case", 0.0)) + sum(float(own) for alpha, own in risk.get("cvar", ()) if alpha == 1)


def dearest_possible(ambiguity: AmbiguitySet, probability: xr.DataArray, cost: Vector) -> int:
    """The dearest scenario that has probability in some distribution of the set; the first of equally dear ones."""
    possible = _possible(ambiguity, probability)
    order = np.argsort(-cost, kind="stable")
    if possible is not None:
        return int(order[np.argmax(possible[order])])
    for scenario in order.tolist():
        # where it cannot be told, too high a worst case is said
        if not largest_probability(ambiguity, probability, scenario) <= _POSSIBLE:
            return int(scenario)
    return int(order[0])


def _possible(ambiguity: AmbiguitySet, probability: xr.DataArray) -> npt.NDArray[np.bool_] | None:
    """Which scenarios have probability somewhere in the set, (S), where the definition says so directly."""
    seen = np.asarray(probability.values > 0)
    match ambiguity:
        case Nominal() | ModifiedChiSquared() | KullbackLeibler():
            return seen
        case TotalVariation():
            return seen if ambiguity.radius == 0 else np.ones_like(seen)
        case Wasserstein():
            return np.asarray(np.isfinite(allowed_moves(ambiguity, probability)[1]).any(axis=0))
    return None


# ---- the weights ----------------------------------------------------------------------------------------------------


def enter_weights(
    ledger: Ledger, risk: Mapping[str, Any], chosen: xr.DataArray, weights: xr.DataArray, dearest: int | None
) -> None:
    """Enter that weights are a p' + sum b_k w^k + c w^0 with 0 <= w^k <= p' / (1 - alpha_k), each w^k summing to 1.

    The w^k need not be known: what a group of scenarios can be given is submodular in the group, so the weights exist
    if and only if no group has more than its terms can give it (Edmonds 1970). For each choice of the terms that are
    used up by a group the worst group is that of every scenario above its share.

    Parameters
    ----------
    ledger
        Takes the checks.
    risk
        As in `worst_value`.
    chosen, weights
        Worst-case probability and risk weight, (scenario), in the same order.
    dearest
        Beside the scenarios with probability the one that the worst case may take.
    """
    count = len(chosen)
    terms, sure = terms_of(risk), worst_weight(risk)
    ledger.equal("sum of risk weights", _EQUATION_RISK, weights.sum(), xr.DataArray(terms.total + sure))
    tails = weights - terms.expectation * chosen
    ledger.at_least("risk weights are not below those of the mean", _EQUATION_RISK, tails * count, 0.0)
    possible = (chosen > 0).values
    if dearest is not None:
        possible = possible | (np.arange(count) == dearest)
    for used in itertools.product((False, True), repeat=len(terms.cvar)):
        full = sum(weight for (_, weight), own in zip(terms.cvar, used, strict=True) if own)
        slope = sum(weight / (1 - alpha) for (alpha, weight), own in zip(terms.cvar, used, strict=True) if not own)
        beyond = (tails - slope * chosen).clip(min=0.0)
        name = "risk weights stay in their set"
        ledger.at_most(name, _EQUATION_RISK, beyond.sum(), xr.DataArray(full + sure))
        ledger.at_most(name, _EQUATION_RISK, beyond.where(~possible, 0.0).sum(), xr.DataArray(float(full)))
