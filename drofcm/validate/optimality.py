"""How far a plan is from the best one for the *whole* distribution, of which its scenarios are a sample."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr
from scipy import special

from drofcm.core.errors import Finding, InputError
from drofcm.dsl.program import TwoStageProgram
from drofcm.risk.measures import CVaR, Expectation, RiskMeasure, as_sum
from drofcm.risk.weights import value_at_risk
from drofcm.solve.result import Result
from drofcm.solve.spread import spread

__all__ = ["OptimalityGap", "gap_interval", "optimality_gap"]

Sampler = Callable[[int, int], TwoStageProgram]


@dataclass(frozen=True)
class OptimalityGap:
    """The optimality gap of a plan, estimated from independent replications.

    Attributes
    ----------
    estimate
        Mean of the replications' gaps; on average at least the true gap.
    upper
        With confidence ``level`` the plan costs at most this much more than the best plan there is.
    level
        Confidence of the one-sided interval [0, ``upper``].
    gaps
        The gap in each replication, (replication).
    cost
        Mean over the replications of the plan's cost, to set the gap against.
    """

    estimate: float
    upper: float
    level: float
    gaps: npt.NDArray[np.float64]
    cost: float

    def __str__(self) -> str:
        return f"gap {self.estimate:,.6g}, with {self.level:.0%} confidence at most {self.upper:,.6g}"


@dataclass(frozen=True)
class _Replication:
    number: int
    sample: Sampler
    plan: xr.Dataset
    scenarios: int
    risk: RiskMeasure
    thresholds: tuple[float, ...]
    settings: dict[str, Any] = field(default_factory=dict)


def optimality_gap(
    sample: Sampler,
    plan: xr.Dataset | Result,
    *,
    scenarios: int,
    replications: int = 30,
    risk: RiskMeasure | None = None,
    level: float = 0.95,
    client: Any = None,
    workers: int | None = None,
    **settings: Any,
) -> OptimalityGap:
    """The multiple-replication procedure of Mak, Morton and Wood (1999).

    Each replication draws a batch of scenarios and takes the plan's cost on the batch less the optimum of the batch.
    A batch's optimum lies on average below the true one, and the same scenarios on both sides make the difference
    narrow; the mean over independent replications and its t-quantile bound the true gap from above. A batch that is
    solved to a gap only counts with its lower bound, which keeps the bound valid.

    With CVaR in ``risk`` the thresholds zeta of Rockafellar and Uryasev are decisions, too. Those of the plan are
    fixed from one more batch: a plan that chose them anew on every batch would look cheaper than it is.

    Parameters
    ----------
    sample
        ``sample(scenarios, replication)`` returns the program on that many independent, equally likely draws;
        replications are independent of each other and numbered from 0. It travels to other processes.
    plan
        The candidate.
    scenarios
        Size of a batch.
    replications
        Number of batches, at least 2; about 30 for the t-quantile to hold.
    risk
        Expectation, CVaR or a sum of them; the expectation if left out.
    level
        Confidence.
    client, workers
        Where replications are solved: a `dask.distributed.Client` of the user's, or local processes (None: as many as
        there are cores; 1: this process).
    **settings
        As `TwoStageProgram.solve`.

    Raises
    ------
    ValueError
        If there are fewer than two replications, or the risk measure is no sample average (the worst case).
    InputError
        If the scenarios of a replication are not equally likely.
    ModelError, InfeasibleError, SolveError
        As `TwoStageProgram.solve` and `TwoStageProgram.evaluate`.

    References
    ----------
    Mak, W.-K., Morton, D. P. and Wood, R. K. (1999). Monte Carlo bounding techniques for determining solution quality
    in stochastic programs. Operations Research Letters 24.
    """
    if replications < 2:
        raise ValueError(f"replications must be at least 2, got {replications!r}")
    measure = as_sum(risk or Expectation())
    if not all(isinstance(own, Expectation | CVaR) for _, own in measure.terms):
        raise ValueError(f"risk must be made of Expectation and CVaR, whose sample averages converge, got {measure}")
    first_stage = plan.first_stage if isinstance(plan, Result) else plan
    thresholds = _thresholds(sample(scenarios, 0), first_stage, measure)
    batches = [
        _Replication(number, sample, first_stage, scenarios, measure, thresholds, settings)
        for number in range(1, replications + 1)
    ]
    found = np.array(spread(_solved, batches, client, workers))
    gaps, cost = found[:, 0], found[:, 1]
    estimate, upper = gap_interval(gaps, level)
    return OptimalityGap(estimate, upper, level, gaps, float(cost.mean()))


def gap_interval(gaps: npt.ArrayLike, level: float = 0.95) -> tuple[float, float]:
    """Mean of independent gaps and the upper end of the one-sided t-interval; infinite if one gap is.

    Raises
    ------
    ValueError
        If there are fewer than two gaps, one is NaN, or the level is not between 0 and 1.
    """
    values = np.asarray(gaps, dtype=float)
    if len(values) < 2:
        raise ValueError(f"an interval needs at least two replications, got {len(values)}")
    if not 0 < level < 1:
        raise ValueError(f"level must lie between 0 and 1, got {level!r}")
    if np.isnan(values).any():
        raise ValueError(f"every gap must be a number, {int(np.isnan(values).sum())} are not")
    if np.isinf(values).any():
        # a search without a bound leaves the gap open
        return np.inf, np.inf
    quantile = float(special.stdtrit(len(values) - 1, level))
    return float(values.mean()), float(values.mean() + quantile * values.std(ddof=1) / np.sqrt(len(values)))


def _thresholds(program: TwoStageProgram, plan: xr.Dataset, risk: Any) -> tuple[float, ...]:
    levels = [own.alpha if isinstance(own, CVaR) else None for _, own in risk.terms]
    if all(alpha is None for alpha in levels):
        return tuple(0.0 for _ in levels)
    cost = program.evaluate(plan, preferred=False).recourse_cost.values
    p = program.probability.values
    return tuple(0.0 if alpha is None else value_at_risk(cost, p, alpha) for alpha in levels)


def _solved(own: _Replication) -> tuple[float, float]:
    """Gap of one batch, and the plan's cost on it."""
    program = own.sample(own.scenarios, own.number)
    if np.ptp(program.probability.values) > 1e-6 * float(program.probability.mean()):
        what = f"scenarios of replication {own.number} are not equally likely, so they are no independent draws"
        raise InputError([Finding("sample", what, "draw each scenario from the distribution itself")])
    tried = program.evaluate(own.plan, preferred=False)
    p, cost = tried.probability.values, tried.recourse_cost.values
    total = tried.first_stage_cost
    for (weight, measure), zeta in zip(as_sum(own.risk).terms, own.thresholds, strict=True):
        tail = zeta + p @ np.maximum(cost - zeta, 0) / (1 - measure.alpha) if isinstance(measure, CVaR) else p @ cost
        total += weight * float(tail)
    best = program.solve(own.risk, start=own.plan, **{"workers": 1, "preferred": False, **own.settings})
    return total - best.lower_bound, total
