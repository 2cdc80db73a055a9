"""What stages cost at least, by the bounds of their columns alone: no solver is asked."""

from __future__ import annotations

import numpy as np

from drofcm.blocks.form import FirstStage, Scenario, TwoStageBlocks
from drofcm.risk.ambiguity import AmbiguitySet
from drofcm.risk.measures import RiskMeasure
from drofcm.risk.weights import worst_case_weights

__all__ = ["bound_by_columns", "least_cost"]


def least_cost(first: FirstStage, own: Scenario) -> float:
    """What a scenario costs at least, by the bounds of its columns alone; -inf where a bound is missing."""
    least = own.constant
    parts = ((own.cost, own.lower, own.upper), (own.first_stage_cost, first.lower, first.upper))
    for cost, lower, upper in parts:
        charged = cost != 0
        least += float((cost[charged] * np.where(cost > 0, lower, upper)[charged]).sum())
    return least


def bound_by_columns(blocks: TwoStageBlocks, risk: RiskMeasure, ambiguity: AmbiguitySet) -> float:
    """What a plan costs at least: a bound where a search had no time for one; -inf where a bound is missing."""
    first = blocks.first_stage
    floor = np.array([least_cost(first, own) for own in blocks.scenarios])
    charged = first.cost != 0
    own = float((first.cost * np.where(first.cost > 0, first.lower, first.upper))[charged].sum()) + first.constant
    if not np.isfinite(floor).all() or not np.isfinite(own):
        return -np.inf
    cost = blocks.probability.copy(data=floor)
    return own + float(worst_case_weights(risk, ambiguity, cost, blocks.probability).values @ floor)
