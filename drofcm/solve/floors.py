"""What stages cost at least, by the bounds of their columns alone: no solver is asked."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from drofcm.blocks.form import FirstStage, Scenario, TwoStageBlocks
from drofcm.risk.ambiguity import AmbiguitySet
from drofcm.risk.measures import RiskMeasure
from drofcm.risk.weights import worst_case_weights

__all__ = ["bound_by_columns", "least_cost"]

Vector = npt.NDArray[np.float64]


def least_cost(first: FirstStage, own: Scenario) -> float:
    """What a scenario costs at least, by the bounds of its columns alone; -inf where a bound is missing."""
    here = _least(own.cost, own.lower, own.upper)
    return own.constant + here + _least(own.first_stage_cost, first.lower, first.upper)


def bound_by_columns(blocks: TwoStageBlocks, risk: RiskMeasure, ambiguity: AmbiguitySet) -> float:
    """What a plan costs at least: a bound where a search had no time for one; -inf where a bound is missing."""
    first = blocks.first_stage
    floor = np.array([least_cost(first, own) for own in blocks.scenarios])
    own = first.constant + _least(first.cost, first.lower, first.upper)
    if not np.isfinite(floor).all() or not np.isfinite(own):
        return -np.inf
    cost = blocks.probability.copy(data=floor)
    return own + float(worst_case_weights(risk, ambiguity, cost, blocks.probability).values @ floor)


def _least(cost: Vector, lower: Vector, upper: Vector) -> float:
    charged = cost != 0
    return float((cost[charged] * np.where(cost > 0, lower, upper)[charged]).sum())
