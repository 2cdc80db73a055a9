"""How sure it is that a plan is worth its money against another one, such as doing nothing.

Two plans are compared event by event, so that what is common to both falls out of the difference, and resampling the
events says how far the difference would move if others had been drawn. What that cannot say: the plan was chosen on
these same events, so fresh ones will treat it worse; and rate, penalties and the shape of events are taken as true.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from drofcm.solve.result import Result
from drofcm.validate.outofsample import Interval, bootstrap_interval, tail_mean

__all__ = ["Benefit", "benefit_of"]

Values = npt.NDArray[np.float64]

_WEIGHTED = "events are not equally likely, so they are no independent draws: how far others would move it is not known"


@dataclass(frozen=True)
class Benefit:
    """What a plan saves against another one, expected, and how sure that is.

    Attributes
    ----------
    saving
        Expected cost of the other plan less that of this one, first stages included, $/a.
    tail
        CVaR of the cost of one event under the other plan less that under this one, $.
    cheaper
        Probability of an event that costs less with this plan, its own cost apart.
    pays
        Probability of an event in which this plan saves more than its own cost spread evenly over the events of a year.
    break_even
        Events a year from which on this plan costs less in expectation; 0 if its own cost is no higher, infinite if its
        events cost no less.
    events
        How many events the figures rest on.
    same
        Whether the plans are the same one.
    """

    saving: Interval
    tail: Interval
    cheaper: float
    pays: float
    break_even: float
    events: int
    same: bool


def benefit_of(
    plan: Result,
    other: Result,
    rate: float,
    alpha: float,
    *,
    level: float = 0.95,
    resamples: int = 4999,
    rng: np.random.Generator,
) -> Benefit:
    """Compare two plans on the same events.

    Parameters
    ----------
    plan, other
        Evaluated on the same scenarios; recourse costs are yearly.
    rate
        Events a year, above 0.
    alpha
        Confidence level of the tail.
    level, resamples, rng
        As `drofcm.validate.outofsample.bootstrap_interval`.

    Raises
    ------
    ValueError
        If the scenarios differ.

    Notes
    -----
    Scenarios of probability zero are left out: they are no draws. Where the others are not equally likely (reduced, or
    weighted by whoever made them), intervals have no ends and say why.
    """
    if not plan.recourse_cost.indexes["scenario"].equals(other.recourse_cost.indexes["scenario"]):
        raise ValueError("plans must be evaluated on the same scenarios to be compared event by event")
    p = plan.probability.values
    drawn = p > 0
    p = p[drawn]
    mine, theirs = (own.recourse_cost.values[drawn] / rate for own in (plan, other))
    extra = plan.first_stage_cost - other.first_stage_cost
    saved = theirs - mine
    mean = float(p @ saved)
    options: dict[str, Any] = {"level": level, "resamples": resamples, "rng": rng}
    if np.ptp(p) > 1e-6 * p.mean():
        tails = [float(tail_mean(own, alpha, weight=p)) for own in (theirs, mine)]
        saving, tail = (_unknown(value, level) for value in (rate * mean - extra, tails[0] - tails[1]))
    else:
        saving = bootstrap_interval(rate * saved - extra, np.mean, **options)

        def difference(one: Values, two: Values, axis: int = -1) -> Any:
            return tail_mean(one, alpha, axis) - tail_mean(two, alpha, axis)

        tail = bootstrap_interval((theirs, mine), difference, draws=(1 - alpha) * len(p), **options)
    return Benefit(
        saving=saving,
        tail=tail,
        cheaper=float(p[saved > 0].sum()),
        pays=float(p[rate * saved > extra].sum()),
        break_even=_break_even(extra, mean),
        events=len(p),
        same=plan.first_stage.equals(other.first_stage),
    )


def _unknown(estimate: float, level: float) -> Interval:
    return Interval(estimate, -math.inf, math.inf, level, "none", 0.0, _WEIGHTED)


def _break_even(extra: float, saved: float) -> float:
    if extra <= 0:
        return 0.0
    return extra / saved if saved > 0 else math.inf
