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
from drofcm.core.errors import InfeasibleError, SolveError, shorten
from drofcm.risk.ambiguity import AmbiguitySet, describe
from drofcm.risk.measures import RiskMeasure
from drofcm.risk.weights import worst_case
from drofcm.solve.execution import Executor, executor
from drofcm.solve.gap import AGREEMENT, LEAST_GAP, closed, relative_gap, same
from drofcm.solve.problem import INTEGRALITY
from drofcm.solve.result import Result, Status
from drofcm.solve.subproblem import REPORTED_GAP, Request

__all__ = ["FixedPlan", "check_first_stage", "result_at", "solve_recourse"]

Vector = npt.NDArray[np.float64]


@dataclass(frozen=True)
class FixedPlan:
    """A first stage and the optimal recourse at it: columns by scenario, and cost (scenario)."""

    x: Vector
    recourse: tuple[Vector, ...]
    cost: xr.DataArray


def solve_recourse(
    blocks: TwoStageBlocks, x: Vector, ask: Executor | None = None, gap: float = REPORTED_GAP
) -> FixedPlan:
    """Solve the recourse of every scenario at a fixed first stage.

    Parameters
    ----------
    blocks
        The program.
    x
        The first stage, (n).
    ask
        Where the scenarios are solved; in this process if left out.
    gap
        Relative gap of every scenario's cost, at most.

    Raises
    ------
    InfeasibleError
        If a scenario has no feasible recourse at ``x``; the scenarios are named.
    SolveError
        If a recourse is unbounded.
    """
    requests = {number: Request(x, relaxed=False, report=True, gap=gap) for number in range(len(blocks.scenarios))}
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
    gap: float = np.inf,
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
    gap
        Relative gap that was asked for: what ``status`` says of the search holds by the bounds that are reported, or
        is not said.

    Raises
    ------
    InfeasibleError
        If a scenario has no recourse at the plan.
    SolveError
        If the lower bound is above the cost of the plan: then one of them is wrong.
    """
    first = blocks.first_stage
    plan = solve_recourse(blocks, x, ask, max(LEAST_GAP, min(REPORTED_GAP, gap / 4)))
    weights, chosen = worst_case(risk, ambiguity, plan.cost, blocks.probability)
    objective = float(first.cost @ x) + first.constant + float((weights * plan.cost).sum())
    size = float(np.abs(first.cost) @ np.abs(x)) + abs(first.constant) + float((weights * abs(plan.cost)).sum())
    if lower_bound > objective + AGREEMENT * max(1.0, size):
        raise SolveError(
            f"the lower bound is above the cost of a plan by {(lower_bound - objective) / max(1.0, size):.2g} of its "
            "terms: the solver's bounds do not hold, and no plan is called optimal"
        )
    # above the cost by rounding alone
    lower_bound = min(lower_bound, objective)
    if status in ("optimal", "stalled"):
        enough = closed(lower_bound, objective, gap, size) or same(lower_bound, objective, size)
        status = "optimal" if enough else "stalled"
    columns = blocks.columns(x, plan.recourse)
    described = describe(ambiguity, blocks.probability)
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
            **({"ambiguity_size": described} if described else {}),
            "upper_bound": "the plan, with every scenario's recourse solved with its integers",
        },
    )
