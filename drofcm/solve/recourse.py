"""The recourse at a fixed first stage: every scenario solved for itself, integers included.

Under a risk measure that ignores part of the scenarios (pure CVaR, the worst case) the extensive form leaves the
recourse of the others arbitrary. So whatever is reported about a plan comes from here (FORMULATION C.4).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr

from drofcm.blocks.form import TwoStageBlocks
from drofcm.core.dims import SCENARIO
from drofcm.core.errors import InfeasibleError, shorten
from drofcm.risk.ambiguity import AmbiguitySet, describe
from drofcm.risk.measures import RiskMeasure
from drofcm.risk.weights import worst_case
from drofcm.solve.execution import Executor, executor
from drofcm.solve.highs import INTEGRALITY
from drofcm.solve.result import Result, Status
from drofcm.solve.subproblem import Request

__all__ = ["FixedPlan", "check_first_stage", "result_at", "solve_recourse"]

Vector = npt.NDArray[np.float64]


@dataclass(frozen=True)
class FixedPlan:
    """A first stage and the optimal recourse at it: columns by scenario, and cost (scenario)."""

    x: Vector
    recourse: tuple[Vector, ...]
    cost: xr.DataArray


def solve_recourse(blocks: TwoStageBlocks, x: Vector, ask: Executor | None = None) -> FixedPlan:
    """Solve the recourse of every scenario at a fixed first stage.

    Parameters
    ----------
    blocks
        The program.
    x
        The first stage, (n).
    ask
        Where the scenarios are solved; in this process if left out.

    Raises
    ------
    InfeasibleError
        If a scenario has no feasible recourse at ``x``; the scenarios are named.
    SolveError
        If a recourse is unbounded.
    """
    requests = {number: Request(x, relaxed=False, report=True) for number in range(len(blocks.scenarios))}
    if ask is None:
        with executor(blocks, workers=1) as here:
            answers = here.ask(requests)
    else:
        answers = ask.ask(requests)
    labels = blocks.probability[SCENARIO].values
    infeasible = [labels[number] for number in requests if answers[number].columns is None]
    if infeasible:
        raise InfeasibleError(f"the plan has no feasible recourse in scenario {shorten(infeasible)}")
    cost = xr.DataArray([answers[number].upper for number in requests], coords=blocks.probability.coords)
    columns = tuple(own for number in requests if (own := answers[number].columns) is not None)
    return FixedPlan(x, columns, cost.rename("recourse_cost"))


def check_first_stage(blocks: TwoStageBlocks, x: Vector) -> None:
    """Refuse a plan that breaks a bound, a row or the integrality of the first stage.

    Raises
    ------
    InfeasibleError
        Naming the variables at fault, or the rows that are broken.
    """
    first = blocks.first_stage
    slack = 1e-6 * np.maximum(1, np.abs(x))
    wrong = (x < first.lower - slack) | (x > first.upper + slack)
    wrong |= first.integer & (np.abs(x - np.round(x)) > INTEGRALITY)
    if wrong.any():
        names = [
            name for name in blocks.first_stage_names if np.isin(blocks.variables[name], np.flatnonzero(wrong)).any()
        ]
        raise InfeasibleError(f"the plan breaks bounds or integrality of {shorten(names)}")
    value = first.rows @ x
    slack = 1e-6 * np.maximum(1, np.abs(value))
    broken = (value < first.row_lower - slack) | (value > first.row_upper + slack)
    if broken.any():
        names = [name for name, rows in blocks.first_stage_rows.items() if np.isin(rows, np.flatnonzero(broken)).any()]
        raise InfeasibleError(f"the plan breaks {int(broken.sum())} rows of the first stage: {shorten(names)}")


def result_at(
    blocks: TwoStageBlocks,
    x: Vector,
    risk: RiskMeasure,
    ambiguity: AmbiguitySet,
    *,
    status: Status,
    lower_bound: float,
    log: pd.DataFrame,
    provenance: dict[str, Any],
    ask: Executor | None = None,
) -> Result:
    """Everything there is to report about a plan, with its recourse solved anew.

    Parameters
    ----------
    blocks
        The program.
    x
        The first stage, (n).
    risk, ambiguity
        What the recourse cost is judged by.
    status, lower_bound, log, provenance
        What the search has established; see `Result`.
    ask
        Where the scenarios are solved; in this process if left out.
    """
    plan = solve_recourse(blocks, x, ask)
    weights, chosen = worst_case(risk, ambiguity, plan.cost, blocks.probability)
    first_stage_cost = float(blocks.first_stage.cost @ x) + blocks.first_stage.constant
    objective = first_stage_cost + float((weights * plan.cost).sum())
    # both bounds hold to a tolerance; an optimum that was proven exactly must not show a negative gap
    lower_bound = min(lower_bound, objective)
    columns = blocks.columns(x, plan.recourse)
    size = describe(ambiguity, blocks.probability)
    return Result(
        first_stage=blocks.labelled_first_stage(x),
        recourse=blocks.labelled_recourse(columns),
        terms=blocks.labelled_terms(columns),
        recourse_cost=plan.cost,
        probability=blocks.probability,
        worst_case_probability=chosen,
        risk_weight=weights,
        objective=objective,
        lower_bound=lower_bound,
        upper_bound=objective,
        gap=relative_gap(lower_bound, objective),
        status=status,
        log=log,
        provenance={
            **provenance,
            **({"ambiguity_size": size} if size else {}),
            "upper_bound": "the plan, with every scenario's recourse solved with its integers",
        },
    )


def relative_gap(lower_bound: float, upper_bound: float) -> float:
    """(upper - lower) / abs(upper); zero where both are zero, infinite where either is."""
    difference = upper_bound - lower_bound
    if np.isinf(difference):
        return np.inf
    return 0.0 if difference == 0 else difference / max(abs(upper_bound), 1e-12)
