"""Coherent risk measures as values: `Expectation`, `CVaR`, `WorstCase` and their non-negative combinations.

A measure holds one number and no behaviour; `drofcm.risk.weights` and `drofcm.risk.reformulate` say what it means.
Costs are minimised. The confidence level alpha of CVaR runs from 0, where CVaR is the expectation, to 1, where it is
the worst case.

References
----------
Rockafellar, R. T. and Uryasev, S. (2002). Conditional value-at-risk for general loss distributions.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

__all__ = ["CVaR", "Expectation", "RiskMeasure", "WeightedSum", "WorstCase", "as_sum"]


class RiskMeasure:
    """Base of the measures; gives them ``+`` and multiplication by a non-negative number."""

    def __add__(self, other: RiskMeasure) -> WeightedSum:
        if not isinstance(other, RiskMeasure):
            return NotImplemented
        return WeightedSum(as_sum(self).terms + as_sum(other).terms)

    def __mul__(self, weight: float) -> WeightedSum:
        if not isinstance(weight, int | float):
            return NotImplemented
        return WeightedSum(tuple((weight * own, measure) for own, measure in as_sum(self).terms))

    __rmul__ = __mul__


@dataclass(frozen=True)
class Expectation(RiskMeasure):
    """The mean cost."""

    def __str__(self) -> str:
        return "E"


@dataclass(frozen=True)
class CVaR(RiskMeasure):
    """The mean cost of the worst share ``1 - alpha`` of outcomes.

    Parameters
    ----------
    alpha
        Confidence level in [0, 1]: ``CVaR(0.95)`` averages the worst 5 %. ``CVaR(0)`` is `Expectation`,
        ``CVaR(1)`` is `WorstCase`.

    Raises
    ------
    ValueError
        If ``alpha`` is not in [0, 1].
    """

    alpha: float

    def __post_init__(self) -> None:
        if not 0 <= self.alpha <= 1:
            raise ValueError(f"CVaR: alpha must lie in [0, 1], got {self.alpha!r}")

    def __str__(self) -> str:
        return f"CVaR({self.alpha:g})"


@dataclass(frozen=True)
class WorstCase(RiskMeasure):
    """The largest cost among scenarios of positive probability."""

    def __str__(self) -> str:
        return "max"


@dataclass(frozen=True)
class WeightedSum(RiskMeasure):
    """A combination of measures with non-negative weights, for example ``Expectation() + 0.5 * CVaR(0.9)``.

    Parameters
    ----------
    terms
        Pairs of weight and measure.

    Raises
    ------
    ValueError
        If a weight is negative or not finite: the combination would not be a risk measure.
    """

    terms: tuple[tuple[float, Expectation | CVaR | WorstCase], ...]

    def __post_init__(self) -> None:
        for weight, measure in self.terms:
            if not (math.isfinite(weight) and weight >= 0):
                raise ValueError(f"weight of {measure} must be finite and at least 0, got {weight!r}")

    @property
    def total(self) -> float:
        """Sum of the weights: what a constant cost of one is worth."""
        return sum(weight for weight, _ in self.terms)

    def __str__(self) -> str:
        return " + ".join(f"{measure}" if weight == 1 else f"{weight:g} {measure}" for weight, measure in self.terms)


def as_sum(risk: RiskMeasure) -> WeightedSum:
    """Any measure as a weighted sum, with the limits of CVaR replaced by the measures they are."""
    if isinstance(risk, WeightedSum):
        terms = risk.terms
    elif isinstance(risk, Expectation | CVaR | WorstCase):
        terms = ((1.0, risk),)
    else:
        raise TypeError(f"a risk measure is needed (Expectation, CVaR, WorstCase or a sum of them), got {risk!r}")
    return WeightedSum(tuple((weight, _limit(measure)) for weight, measure in terms))


def _limit(measure: Expectation | CVaR | WorstCase) -> Expectation | CVaR | WorstCase:
    if isinstance(measure, CVaR) and measure.alpha == 0:
        return Expectation()
    if isinstance(measure, CVaR) and measure.alpha == 1:
        return WorstCase()
    return measure
