"""The extensive form: both stages and all scenarios as one mixed-integer problem, solved by HiGHS."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable
from typing import Any

import linopy
import numpy as np
import numpy.typing as npt
import pandas as pd
import scipy.sparse as sp
import xarray as xr

from drofcm.blocks.form import TwoStageBlocks
from drofcm.core.errors import InfeasibleError, SolveError
from drofcm.risk.ambiguity import AmbiguitySet
from drofcm.risk.measures import RiskMeasure
from drofcm.solve.highs import MatrixProblem, solve
from drofcm.solve.recourse import relative_gap, result_at
from drofcm.solve.result import Result

__all__ = ["Progress", "matrix_problem", "solve_extensive", "versions"]

Progress = Callable[[float, float, float], None]
"""Called with seconds, lower bound and upper bound."""


def matrix_problem(model: linopy.Model) -> MatrixProblem:
    """A linopy model as the matrices HiGHS receives."""
    matrices = model.matrices
    sense, rhs = matrices.sense, matrices.b.astype(float)
    rows = sp.csr_array((0, len(matrices.lb))) if matrices.A is None else sp.csr_array(matrices.A)
    return MatrixProblem(
        cost=np.asarray(matrices.c, dtype=float),
        constant=0.0,
        rows=rows,
        row_lower=np.where(sense == "<", -np.inf, rhs),
        row_upper=np.where(sense == ">", np.inf, rhs),
        lower=matrices.lb,
        upper=matrices.ub,
        integer=matrices.vtypes != "C",
    )


def solve_extensive(
    model: linopy.Model,
    blocks: TwoStageBlocks,
    risk: RiskMeasure,
    ambiguity: AmbiguitySet,
    *,
    gap: float,
    time_limit: float | None = None,
    start: xr.Dataset | None = None,
    progress: Progress | None = None,
) -> Result:
    """Solve a program by its extensive form.

    Parameters
    ----------
    model
        The extensive form, risk rows and objective included.
    blocks
        The same program as matrices; the recourse is re-solved on them at the plan that is found.
    risk, ambiguity
        What the rows of ``model`` stand for.
    gap
        Relative gap at which the search may stop.
    time_limit
        Seconds; None for no limit.
    start
        A plan to start from.
    progress
        Called with seconds, lower and upper bound.

    Raises
    ------
    InfeasibleError
        If no plan exists; with the rows that contradict each other.
    SolveError
        If the problem is unbounded, or the limit was hit before any plan was found.
    """
    problem = matrix_problem(model)
    columns = _columns(model, blocks)
    rows: list[tuple[float, float, float]] = []

    def listen(seconds: float, lower: float, upper: float) -> None:
        rows.append((seconds, lower, upper))
        if progress is not None:
            progress(seconds, lower, upper)

    outcome = solve(
        problem,
        gap=gap,
        time_limit=time_limit,
        start=None if start is None else (columns.astype(np.int32), blocks.first_stage_columns(start)),
        interruptible=True,
        listen=listen,
    )
    if outcome.status == "infeasible":
        raise InfeasibleError("no plan satisfies every row of the program", infeasibility_listing(model))
    if outcome.status == "unbounded":
        raise SolveError("the cost is unbounded below: a cost or a bound is missing")
    if outcome.x is None:
        raise SolveError(
            f"stopped ({outcome.status}) after {outcome.seconds:.0f} s before any plan was found; "
            f"no plan costs less than {outcome.bound:,.6g}. Give it more time"
        )
    x = outcome.x[columns]
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
        status="optimal" if outcome.status == "optimal" else outcome.status,
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
    )


def versions() -> dict[str, str]:
    """Versions of what computes."""
    return {name: importlib.metadata.version(name) for name in ("drofcm", "linopy", "highspy", "xarray", "numpy")}


def _columns(model: linopy.Model, blocks: TwoStageBlocks) -> npt.NDArray[np.int64]:
    """For every column of the first stage of ``blocks`` its column in ``model``."""
    labels = model.matrices.vlabels
    position = np.full(int(labels.max(initial=-1)) + 1, -1, dtype=np.int64)
    position[labels] = np.arange(len(labels))
    columns = np.empty(len(blocks.first_stage.cost), dtype=np.int64)
    for name in blocks.first_stage_names:
        own = model.variables[name].labels.transpose(*blocks.variables[name].dims).values
        used = own >= 0
        columns[blocks.variables[name].values[used]] = position[own[used]]
    return columns


def infeasibility_listing(model: linopy.Model) -> str:
    """The rows that contradict each other, as linopy lists them."""
    status: Any = model.solve(solver_name="highs", io_api="direct", output_flag=False)
    try:
        return model.format_infeasibilities()
    except RuntimeError as error:
        return f"no listing ({error}; status {status}): the rows contradict each other only together with integrality"
