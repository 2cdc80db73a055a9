"""The extensive form: both stages and all scenarios as one mixed-integer problem, solved by HiGHS."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable
from typing import Any

import linopy
import numpy as np
import pandas as pd
import xarray as xr

from drofcm.blocks.form import TwoStageBlocks
from drofcm.core.errors import InfeasibleError, SolveError
from drofcm.risk.ambiguity import AmbiguitySet
from drofcm.risk.measures import RiskMeasure
from drofcm.solve.execution import Executor
from drofcm.solve.highs import MatrixProblem, solve
from drofcm.solve.master import Master
from drofcm.solve.recourse import relative_gap, result_at
from drofcm.solve.result import Result, Status

__all__ = ["Progress", "infeasibility_listing", "solve_extensive", "versions", "whole_problem"]

Progress = Callable[[float, float, float], None]
"""Called with seconds, lower bound and upper bound."""


_ENDED: dict[str, Status] = {"optimal": "optimal", "time_limit": "time_limit", "interrupted": "interrupted"}


def whole_problem(blocks: TwoStageBlocks, risk: RiskMeasure, ambiguity: AmbiguitySet) -> MatrixProblem:
    """The extensive form: the master problem with every scenario kept whole."""
    count = len(blocks.scenarios)
    master = Master(blocks, risk, ambiguity, np.full(count, -np.inf))
    master.keep(list(range(count)))
    return master.problem()


def solve_extensive(
    blocks: TwoStageBlocks,
    risk: RiskMeasure,
    ambiguity: AmbiguitySet,
    *,
    gap: float,
    time_limit: float | None = None,
    start: xr.Dataset | None = None,
    progress: Progress | None = None,
    ask: Executor | None = None,
) -> Result:
    """Solve a program by its extensive form.

    Parameters
    ----------
    blocks
        The program.
    risk, ambiguity
        What to minimise.
    gap
        Relative gap at which the search may stop.
    time_limit
        Seconds; None for no limit.
    start
        A plan to start from.
    progress
        Called with seconds, lower and upper bound.
    ask
        Where the recourse is solved again at the plan; in this process if left out.

    Raises
    ------
    InfeasibleError
        If no plan exists.
    SolveError
        If the problem is unbounded, or the limit was hit before any plan was found.
    """
    problem = whole_problem(blocks, risk, ambiguity)
    n = len(blocks.first_stage.cost)
    rows: list[tuple[float, float, float]] = []

    def listen(seconds: float, lower: float, upper: float) -> None:
        rows.append((seconds, lower, upper))
        if progress is not None:
            progress(seconds, lower, upper)

    outcome = solve(
        problem,
        gap=gap,
        time_limit=time_limit,
        start=None if start is None else (np.arange(n, dtype=np.int32), blocks.first_stage_columns(start)),
        interruptible=True,
        listen=listen,
    )
    if outcome.status == "infeasible":
        raise InfeasibleError("no plan satisfies every row of the program")
    if outcome.status == "unbounded":
        raise SolveError("the cost is unbounded below: a cost or a bound is missing")
    if outcome.x is None:
        raise SolveError(
            f"stopped ({outcome.status}) after {outcome.seconds:.0f} s before any plan was found; "
            f"no plan costs less than {outcome.bound:,.6g}. Give it more time"
        )
    x = outcome.x[:n]
    x = np.where(blocks.first_stage.integer, np.round(x), x)
    log = pd.DataFrame(rows, columns=["seconds", "lower_bound", "upper_bound"])
    log.loc[len(log)] = [outcome.seconds, outcome.bound, outcome.objective]
    log["gap"] = [relative_gap(low, high) for low, high in zip(log["lower_bound"], log["upper_bound"], strict=True)]
    log["phase"] = "extensive form"
    return result_at(
        blocks,
        x,
        risk,
        ambiguity,
        status=_ENDED[outcome.status],
        lower_bound=outcome.bound,
        log=log,
        provenance={
            "method": "extensive",
            "risk": str(risk),
            "ambiguity": str(ambiguity),
            "gap_asked": gap,
            "time_limit": time_limit,
            "seconds": outcome.seconds,
            "lower_bound": "dual bound of HiGHS on the extensive form, all integers kept",
            "columns": len(problem.cost),
            "rows": len(problem.row_lower),
            "nonzeros": int(problem.rows.nnz),
            "versions": versions(),
        },
        ask=ask,
    )


def versions() -> dict[str, str]:
    """Versions of what computes."""
    return {name: importlib.metadata.version(name) for name in ("drofcm", "linopy", "highspy", "xarray", "numpy")}


def infeasibility_listing(model: linopy.Model) -> str:
    """The rows that contradict each other, as linopy lists them."""
    status: Any = model.solve(solver_name="highs", io_api="direct", output_flag=False)
    try:
        return model.format_infeasibilities()
    except RuntimeError as error:
        return f"no listing ({error}; status {status}): the rows contradict each other only together with integrality"
