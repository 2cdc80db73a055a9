"""The risk measure that a study asks for."""

from __future__ import annotations

from drofcm.config import StudyFile
from drofcm.risk.measures import CVaR, Expectation, WeightedSum, WorstCase

__all__ = ["risk_measure"]


def risk_measure(study: StudyFile) -> WeightedSum:
    """The risk measure of a study; terms without weight are left out."""
    risk = study.risk
    terms: list[tuple[float, Expectation | CVaR | WorstCase]] = [(risk.expectation, Expectation())]
    terms += [(tail.weight, CVaR(tail.alpha)) for tail in risk.cvar]
    terms.append((risk.worst_case, WorstCase()))
    return WeightedSum(tuple((weight, term) for weight, term in terms if weight > 0))
