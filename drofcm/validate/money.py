"""What a plan costs in money: expected, in an event, in a bad year; beside them the objective, which is none of these.

A search minimises the *risk-weighted objective*: first stage + event_rate x (a E + b CVaR of the cost of one event), at
worst over the ambiguity set. It is what makes a plan cautious, and no sum that anybody pays: nobody pays the mean of an
expected and a bad event, and 24 times the worst tenth of events is no year.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from drofcm.solve.result import Result
from drofcm.validate.outofsample import tail_mean
from drofcm.validate.year import Year, simulate_year

__all__ = ["FIGURES", "Money", "formula", "money_of"]


FIGURES: Final = (
    "expected_cost",
    "first_stage_cost",
    "events_cost",
    "event_mean",
    "event_tail",
    "event_worst",
    "year_tail",
    "year_tail_error",
    "risk_weighted_objective",
)
"""What the figures of a plan are called in tables."""


@dataclass(frozen=True)
class Money:
    """A plan in money, under the stated probabilities.

    Attributes
    ----------
    expected
        First stage and expected cost of events, $/a.
    first_stage, events
        Its parts, $/a.
    event_mean, event_tail
        Mean, and mean of the costliest share ``1 - alpha``, of the cost of one event, $.
    event_worst
        Cost of the dearest event that has probability, $.
    year
        What the events of a year cost together; the first stage is not part of it.
    risk_weighted
        The objective of the result, $/a.
    alpha
        Confidence level of the tails.
    """

    expected: float
    first_stage: float
    events: float
    event_mean: float
    event_tail: float
    event_worst: float
    year: Year
    risk_weighted: float
    alpha: float

    @property
    def year_tail(self) -> float:
        """A year of the costliest share ``1 - alpha``, first stage included, $/a; its error is that of ``year``."""
        return self.first_stage + self.year.cvar

    @property
    def figures(self) -> dict[str, float]:
        """All of it as plain numbers, called as in `FIGURES`."""
        event = (self.event_mean, self.event_tail, self.event_worst)
        year = (self.year_tail, self.year.error)
        values = (self.expected, self.first_stage, self.events, *event, *year, self.risk_weighted)
        return dict(zip(FIGURES, values, strict=True))


def money_of(result: Result, rate: float, alpha: float, *, rng: np.random.Generator) -> Money:
    """The money of a plan whose recourse cost is yearly: ``rate`` times the cost of one event.

    Parameters
    ----------
    result
        A plan, solved or evaluated.
    rate
        Events a year, above 0.
    alpha
        Confidence level of the tails.
    rng
        Draws the years. Plans that are to be compared are given equal streams.

    Raises
    ------
    ValueError
        As `drofcm.validate.year.simulate_year`, and if the rate is not positive.
    """
    if not rate > 0:
        raise ValueError(f"rate must be above 0: the cost of one event is the yearly cost over it, got {rate!r}")
    cost, probability = result.recourse_cost.values / rate, result.probability.values
    mean = float(probability @ cost)
    first = result.first_stage_cost
    return Money(
        expected=first + rate * mean,
        first_stage=first,
        events=rate * mean,
        event_mean=mean,
        event_tail=float(tail_mean(cost, alpha, weight=probability)),
        event_worst=float(cost[probability > 0].max()),
        year=simulate_year(cost, probability, rate, alpha, rng=rng),
        risk_weighted=result.objective,
        alpha=alpha,
    )


def formula(risk: str, rate: float, ambiguity: str = "nominal") -> str:
    """How the risk-weighted objective is made, in one line.

    Examples
    --------
    >>> formula("0.5 E + 0.5 CVaR(0.9)", 24.0)
    'hubs, modules and transport + 24 x (0.5 E + 0.5 CVaR(0.9)) of the cost of one event'
    """
    worst = "" if ambiguity == "nominal" else f", at worst over {ambiguity}"
    return f"hubs, modules and transport + {rate:g} x ({risk}) of the cost of one event{worst}"
