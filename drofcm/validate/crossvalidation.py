"""Choosing how robust to be: candidates are judged on scenarios that were held out when their plans were made."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr

from drofcm.core.dims import SCENARIO
from drofcm.core.errors import Finding, InfeasibleError, InputError, raise_if_any
from drofcm.dsl.program import TwoStageProgram
from drofcm.risk.ambiguity import (
    REFERENCE,
    AmbiguitySet,
    Intersection,
    Moments,
    Nominal,
    ProbabilityBox,
    Wasserstein,
    bind,
    describe,
)
from drofcm.risk.measures import Expectation, RiskMeasure, as_sum
from drofcm.risk.moments import conditions
from drofcm.risk.polytope import check_not_empty
from drofcm.risk.weights import worst_case_weights
from drofcm.scenarios.importance import effective_size
from drofcm.solve.spread import spread
from drofcm.validate.outofsample import bootstrap_interval, caution_of, draws_behind, tail_mean

__all__ = ["CrossValidation", "candidate_radii", "cross_validate"]

Values = npt.NDArray[np.float64]
Numbers = npt.NDArray[np.int64]

MULTIPLES = (0.0, 0.25, 0.5, 1.0, 2.0, 4.0)
"""Candidate radii as multiples of the starting radius."""

_RESAMPLES = 999
_ROUNDING = 1e-9


@dataclass(frozen=True)
class CrossValidation:
    """How candidates did on scenarios that their plans had not seen.

    Attributes
    ----------
    best
        The candidate of the lowest score; of equal ones the first.
    table
        One row per candidate (index ``candidate``): ``score`` (risk of the held-out costs, the sense in which the
        objective is minimised), ``lower`` and ``upper`` (90 % bootstrap interval of its difference to the first
        candidate), ``mean`` and ``cvar_0.9`` of the held-out costs, ``gap`` (largest of the searches), ``seconds``.
        Every figure weighs the scenarios with their probabilities.
    draws
        Held-out draws that the score rests on: how many equally likely ones the scenarios are worth
        (`drofcm.scenarios.importance.effective_size`), of a tail those in it.
    caution
        Why intervals are narrower than they say: `drofcm.validate.outofsample.caution_of` the draws.
    cost
        Held-out cost, first stage and recourse, (candidate, scenario); infinite where a plan has no recourse.
    fold
        The fold in which each scenario was held out, (scenario).
    plans
        The plan of every candidate in every fold, (candidate, fold, ...): how far they move with the candidate,
        and how far with the sample.
    """

    best: Hashable
    table: pd.DataFrame
    draws: float
    caution: str
    cost: xr.DataArray
    fold: xr.DataArray
    plans: xr.Dataset


@dataclass(frozen=True)
class _Fold:
    training: TwoStageProgram
    held_out: TwoStageProgram
    candidates: tuple[AmbiguitySet, ...]
    risk: RiskMeasure
    start: xr.Dataset | None
    settings: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class _Tried:
    """One candidate in one fold."""

    plan: xr.Dataset
    first_stage_cost: float
    recourse_cost: xr.DataArray
    gap: float
    seconds: float


def candidate_radii(
    program: TwoStageProgram, ambiguity: Wasserstein, multiples: Sequence[float] = MULTIPLES
) -> dict[float, float]:
    """Radii about a starting value that shrinks with the sample as theory says it should.

    The starting radius is the mean distance of two scenarios over the square root of their number. The rate
    N^(-1/2) suffices for a guarantee out of sample whatever the dimension (Gao 2023, section 3); the rate
    N^(-1/max(m, 2)) of Mohajerin Esfahani and Kuhn (2018, theorem 3.4) covers the distribution itself and is far too
    large for data of many entries. Neither gives the constant: the mean distance only sets the scale, and
    cross-validation chooses.

    Parameters
    ----------
    program
        The program with its training scenarios.
    ambiguity
        The ball whose radius is sought; its own radius is of no account.
    multiples
        Of the starting radius.

    Returns
    -------
    dict
        Multiple -> radius, in the unit of the distance.

    References
    ----------
    Gao, R. (2023). Finite-sample guarantees for Wasserstein distributionally robust optimization: breaking the curse
    of dimensionality. Operations Research 71.
    Mohajerin Esfahani, P. and Kuhn, D. (2018). Data-driven distributionally robust optimization using the Wasserstein
    metric. Mathematical Programming 171.
    """
    bound = bind(ambiguity, program.data)
    facts = describe(bound, program.probability)
    count = int((program.probability > 0).sum())
    start = facts["mean_distance"] / np.sqrt(count)
    return {float(multiple): float(multiple * start) for multiple in multiples}


def cross_validate(
    program: TwoStageProgram,
    candidates: Mapping[Any, AmbiguitySet],
    *,
    risk: RiskMeasure | None = None,
    folds: int = 5,
    rng: np.random.Generator,
    start: xr.Dataset | None = None,
    client: Any = None,
    workers: int | None = None,
    **settings: Any,
) -> CrossValidation:
    """K-fold cross-validation over ambiguity sets (Mohajerin Esfahani and Kuhn 2018, section 7.2).

    The scenarios are dealt at random into folds. For each fold every candidate is solved on the other scenarios and
    its plan evaluated on the fold, recourse with integers. The held-out costs of all folds together are judged by the
    risk measure: a tail of four scenarios would mean nothing.

    What a candidate means in a fold: distances are taken from all scenarios once, so that a radius means the same in
    every fold. Moments are those of the training scenarios; bands of means in units of the data stay as they are,
    whether or not the mean of a training set lies within. The bounds of a probability box keep their ratio to the
    nominal probabilities, which grow where fewer scenarios share them. Scenarios of probability zero (events that
    nobody has seen) stay in every training set and are never held out.

    Parameters
    ----------
    program
        The program with its training scenarios.
    candidates
        Ambiguity sets by label, from the least to the most robust: each search starts from the plan before it.
    risk
        Risk measure, of the plans and of the score; the expectation if left out.
    folds
        Between 2 and the number of scenarios that have probability.
    rng
        Deals the scenarios.
    start
        A plan from which the first search of every fold starts.
    client, workers
        Where folds are solved: a `dask.distributed.Client` of the user's, or local processes (None: as many as there
        are cores; 1: this process).
    **settings
        As `TwoStageProgram.solve`: gap, time_limit, method.

    Raises
    ------
    InputError
        If there is no candidate, folds are too few or too many, the risk measure has no weight, or a candidate holds
        no distribution on the training scenarios of a fold; or as `drofcm.bind`.
    InfeasibleError
        If no candidate gives plans that have a recourse in every held-out scenario.
    ModelError, SolveError
        As `TwoStageProgram.solve`.
    """
    measure = risk or Expectation()
    possible = np.flatnonzero(program.probability.values > 0)
    findings = []
    if not candidates:
        findings.append(Finding("candidates", "there is none", "give at least one ambiguity set"))
    if not 2 <= folds <= len(possible):
        what = f"must lie between 2 and {len(possible)}, the number of scenarios, got {folds}"
        findings.append(Finding("folds", what))
    if as_sum(measure).total == 0:
        findings.append(Finding("risk", f"{measure} has no weight: every plan costs the same", "weigh some part of it"))
    raise_if_any(findings)
    index = program.data.indexes[SCENARIO]
    number = np.full(len(index), -1)
    number[rng.permutation(possible)] = np.arange(len(possible)) % folds
    program.blocks()  # assembled once, shared by all folds
    bound = [bind(own, program.data) for own in candidates.values()]
    tasks = []
    for fold in range(folds):
        training = program.select(index[number != fold])
        left = float(program.probability.values[number != fold].sum())
        own = tuple(
            _told(partial(_narrowed, one, training, left), label, fold)
            for label, one in zip(candidates, bound, strict=True)
        )
        tasks.append(_Fold(training, program.select(index[number == fold]), own, measure, start, settings))
    tried = spread(_solve_fold, tasks, client, workers)
    return _summary(program, list(candidates), measure, number, tried)


def _told(narrow: Callable[[], AmbiguitySet], label: Any, fold: int) -> AmbiguitySet:
    """A set on the training scenarios, or why it is none, with the candidate and the fold."""
    try:
        return narrow()
    except InputError as error:
        where = f"candidate {label!r}, fold {fold}"
        raise InputError([replace(own, where=f"{where}: {own.where}") for own in error.findings]) from None


def _narrowed(ambiguity: AmbiguitySet, training: TwoStageProgram, left: float) -> AmbiguitySet:
    """A bound set on some of its scenarios, which hold a share ``left`` of the probability."""
    narrowed = _on(ambiguity, training, left)
    check_not_empty(narrowed, training.probability)
    return narrowed


def _on(ambiguity: AmbiguitySet, training: TwoStageProgram, left: float) -> AmbiguitySet:
    labels = training.data.indexes[SCENARIO]
    if isinstance(ambiguity, Intersection):
        return replace(ambiguity, sets=tuple(_on(own, training, left) for own in ambiguity.sets))
    if isinstance(ambiguity, ProbabilityBox):
        # numbers and arrays alike: over scenarios, because a sum of numbers says nothing
        lower, upper = (_bound_of(side, labels) / left for side in (ambiguity.lower, ambiguity.upper))
        if float(lower.sum()) > 1 + _ROUNDING or float(upper.sum()) < 1 - _ROUNDING:
            what = f"bounds on the training scenarios sum to {float(lower.sum()):.6g} and {float(upper.sum()):.6g}"
            raise InputError([Finding(str(ambiguity), what, "widen the bounds: a sum of 1 must lie between")])
        return ProbabilityBox(lower.clip(max=1.0), upper.clip(max=1.0))
    if isinstance(ambiguity, Wasserstein) and ambiguity.distance is not None:
        origin = labels.intersection(ambiguity.distance.indexes[REFERENCE], sort=False)
        support = ambiguity.support
        if support is not None:
            support = [label for label in support if label in labels]
        distance = ambiguity.distance.sel({REFERENCE: origin, SCENARIO: labels})
        return replace(ambiguity, distance=distance, support=support)
    if isinstance(ambiguity, Moments):
        made = conditions(
            training.data,
            training.probability,
            ambiguity.over,
            ambiguity.mean,
            ambiguity.variance,
            ambiguity.covariance or {},
            nominal_within=False,
        )
        return replace(ambiguity, conditions=made)
    return ambiguity


def _bound_of(side: float | xr.DataArray, labels: pd.Index) -> xr.DataArray:
    if isinstance(side, xr.DataArray) and side.dims:
        return side.sel({SCENARIO: labels}).drop_vars([name for name in side.coords if name != SCENARIO])
    return xr.DataArray(np.full(len(labels), float(side)), coords={SCENARIO: labels}, dims=SCENARIO)


def _solve_fold(fold: _Fold) -> list[_Tried]:
    found: list[_Tried] = []
    for ambiguity in fold.candidates:
        start = found[-1].plan if found else fold.start
        result = fold.training.solve(
            fold.risk, ambiguity, start=start, **{"workers": 1, "preferred": False, **fold.settings}
        )
        recourse = _held_out_cost(fold.held_out, result.first_stage)
        seconds = float(result.provenance.get("seconds", np.nan))
        found.append(_Tried(result.first_stage, result.first_stage_cost, recourse, result.gap, seconds))
    return found


def _held_out_cost(held_out: TwoStageProgram, plan: xr.Dataset) -> xr.DataArray:
    """Recourse cost of every scenario; infinite where the plan has none."""
    try:
        return held_out.evaluate(plan, preferred=False).recourse_cost
    except InfeasibleError:
        labels = held_out.probability.indexes[SCENARIO]
        if len(labels) == 1:
            return held_out.probability.copy(data=[np.inf])
        # one by one, so that scenarios that have a recourse keep its cost
        return xr.concat([_held_out_cost(held_out.select([label]), plan) for label in labels], SCENARIO, join="exact")


def _summary(
    program: TwoStageProgram,
    labels: list[Any],
    risk: RiskMeasure,
    number: Numbers,
    tried: list[list[_Tried]],
) -> CrossValidation:
    total = as_sum(risk).total
    index = program.data.indexes[SCENARIO][number >= 0]
    p = program.probability.sel({SCENARIO: index})
    cost = np.empty((len(labels), len(index)))
    judged = np.empty_like(cost)
    for fold in tried:
        for place, one in enumerate(fold):
            at = index.get_indexer(one.recourse_cost.indexes[SCENARIO])
            cost[place, at] = one.first_stage_cost + one.recourse_cost.values
            # c.x + rho(Q) is rho(c.x / W + Q), W being the sum of the weights
            judged[place, at] = one.first_stage_cost / total + one.recourse_cost.values
    if not np.isfinite(cost).all(axis=1).any():
        raise InfeasibleError("every candidate has a plan without recourse in some scenario that was held out")
    draws = draws_behind(risk, effective_size(p))
    rows = []
    for place in range(len(labels)):
        score = _score(risk, p.copy(data=judged[place]), p)
        low, high = _difference(judged[place], judged[0], p.values, risk, draws)
        rows.append(
            {
                "score": score,
                "lower": low,
                "upper": high,
                "mean": float(cost[place] @ p.values),
                "cvar_0.9": float(tail_mean(cost[place], 0.9, weight=p.values)) if np.isfinite(score) else np.inf,
                "gap": max(fold[place].gap for fold in tried),
                "seconds": sum(fold[place].seconds for fold in tried),
            }
        )
    table = pd.DataFrame(rows, index=pd.Index(labels, name="candidate"))
    plans = [xr.concat([fold[place].plan for fold in tried], dim="fold", join="exact") for place in range(len(labels))]
    return CrossValidation(
        best=labels[int(np.argmin(table["score"]))],
        table=table,
        draws=draws,
        caution=caution_of(draws),
        cost=xr.DataArray(cost, coords={"candidate": labels, SCENARIO: index}, dims=("candidate", SCENARIO)),
        fold=xr.DataArray(number[number >= 0], coords={SCENARIO: index}, dims=SCENARIO, name="fold"),
        plans=xr.concat(plans, dim=pd.Index(labels, name="candidate"), join="exact"),
    )


def _score(risk: RiskMeasure, cost: xr.DataArray, probability: xr.DataArray) -> float:
    if not np.isfinite(cost.values).all():
        return np.inf
    return float((worst_case_weights(risk, Nominal(), cost, probability) * cost).sum())


@dataclass(frozen=True)
class _RiskDifference:
    """Difference of the risk of two paired samples, each pair with the weight that was drawn with it."""

    risk: RiskMeasure

    def __call__(self, one: Values, other: Values, weight: Values, axis: int = -1) -> Any:
        return _risk_along(self.risk, one, weight, axis) - _risk_along(self.risk, other, weight, axis)


def _risk_along(risk: RiskMeasure, values: Values, weight: Values, axis: int) -> Any:
    total: Any = 0.0
    for share, measure in as_sum(risk).terms:
        alpha = getattr(measure, "alpha", None)
        if isinstance(measure, Expectation):
            part = tail_mean(values, 0.0, axis, weight)
        elif alpha is not None:
            part = tail_mean(values, alpha, axis, weight)
        else:
            part = np.max(values, axis=axis)
        total = total + share * part
    return total


def _difference(
    one: Values, other: Values, probability: Values, risk: RiskMeasure, draws: float
) -> tuple[float, float]:
    if not (np.isfinite(one).all() and np.isfinite(other).all()):
        return np.nan, np.nan
    # the interval shows how little few scenarios say; its own draw is fixed, so that a table can be made again
    rng = np.random.default_rng(0)
    pairs = (one, other, probability)
    found = bootstrap_interval(pairs, _RiskDifference(risk), level=0.9, resamples=_RESAMPLES, rng=rng, draws=draws)
    return found.lower, found.upper
