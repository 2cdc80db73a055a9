"""HiGHS: the one place that imports highspy.

A `MatrixProblem` goes in, an `Outcome` with valid bounds comes out. Every return status is checked: HiGHS hands back
zeros when a run did not take place.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import highspy
import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from drofcm.core.errors import SolveError

__all__ = ["INTEGRALITY", "MatrixProblem", "Outcome", "solve"]

Vector = npt.NDArray[np.float64]
Status = Literal["optimal", "time_limit", "interrupted", "infeasible", "unbounded"]
Listener = Callable[[float, float, float], None]

INTEGRALITY = 1e-6
"""How far from a whole number HiGHS lets an integer column be."""

_STOPPED: dict[highspy.HighsModelStatus, Status] = {
    highspy.HighsModelStatus.kTimeLimit: "time_limit",
    highspy.HighsModelStatus.kInterrupt: "interrupted",
}


@dataclass(frozen=True)
class MatrixProblem:
    """min cost.x + constant subject to row_lower <= rows x <= row_upper, lower <= x <= upper, some x integer."""

    cost: Vector
    constant: float
    rows: sp.csr_array
    row_lower: Vector
    row_upper: Vector
    lower: Vector
    upper: Vector
    integer: npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Outcome:
    """What HiGHS found.

    Attributes
    ----------
    status
        Why it stopped; ``"optimal"`` means within the gap that was asked for.
    x
        The best solution, or None if there is none.
    objective
        Its cost; +inf if there is none.
    bound
        No solution costs less.
    seconds
        Wall-clock time.
    """

    status: Status
    x: Vector | None
    objective: float
    bound: float
    seconds: float


def solve(
    problem: MatrixProblem,
    *,
    gap: float = 1e-6,
    time_limit: float | None = None,
    start: tuple[npt.NDArray[np.int32], Vector] | None = None,
    interruptible: bool = False,
    listen: Listener | None = None,
) -> Outcome:
    """Solve a linear or mixed-integer problem.

    Parameters
    ----------
    problem
        The problem.
    gap
        Relative gap at which a mixed-integer search may stop.
    time_limit
        Seconds; None for no limit.
    start
        Columns and values of a partial solution to complete and start from.
    interruptible
        Whether Ctrl-C stops the search and keeps the best solution (costs a thread).
    listen
        Called with seconds, lower bound and upper bound whenever the search reports progress.

    Raises
    ------
    SolveError
        If HiGHS refuses the problem or fails.
    """
    began = time.perf_counter()
    if len(problem.cost) == 0:
        return _without_columns(problem)
    # a power of two, so that scaling is exact; the typical cost becomes one, as HiGHS' absolute tolerances expect
    sizes = np.abs(problem.cost[problem.cost != 0])
    scale = 2.0 ** -np.round(np.log2(np.median(sizes))) if len(sizes) else 1.0
    highs = _load(problem, scale, gap, time_limit)
    if start is not None:
        highs.setSolution(len(start[0]), start[0], start[1])
    if listen is not None:
        highs.cbMipLogging += _reporter(listen, scale)
    if interruptible:
        highs.HandleKeyboardInterrupt = True
    _check(highs.solve(), "run")
    status = highs.getModelStatus()
    if status == highspy.HighsModelStatus.kUnboundedOrInfeasible:
        highs.setOptionValue("presolve", "off")
        _check(highs.solve(), "run")
        status = highs.getModelStatus()
    return _outcome(highs, status, scale, bool(problem.integer.any()), time.perf_counter() - began)


def _without_columns(problem: MatrixProblem) -> Outcome:
    feasible = bool(np.all(problem.row_lower <= INTEGRALITY) and np.all(problem.row_upper >= -INTEGRALITY))
    if not feasible:
        return Outcome("infeasible", None, np.inf, np.inf, 0.0)
    return Outcome("optimal", np.zeros(0), problem.constant, problem.constant, 0.0)


def _load(problem: MatrixProblem, scale: float, gap: float, time_limit: float | None) -> highspy.Highs:
    lp = highspy.HighsLp()
    lp.num_col_, lp.num_row_ = len(problem.cost), len(problem.row_lower)
    lp.col_cost_, lp.offset_ = problem.cost * scale, problem.constant * scale
    lp.col_lower_, lp.col_upper_ = problem.lower, problem.upper
    lp.row_lower_, lp.row_upper_ = problem.row_lower, problem.row_upper
    rows = sp.csr_array(problem.rows)
    lp.a_matrix_.format_ = highspy.MatrixFormat.kRowwise
    lp.a_matrix_.start_ = rows.indptr.astype(np.int32)
    lp.a_matrix_.index_ = rows.indices.astype(np.int32)
    lp.a_matrix_.value_ = rows.data.astype(float)
    if problem.integer.any():
        kinds = (highspy.HighsVarType.kContinuous, highspy.HighsVarType.kInteger)
        lp.integrality_ = [kinds[int(flag)] for flag in problem.integer]
    highs = highspy.Highs()
    # without output_flag the search does not report progress to callbacks either
    highs.setOptionValue("output_flag", True)
    highs.setOptionValue("log_to_console", False)
    highs.setOptionValue("mip_rel_gap", gap)
    highs.setOptionValue("mip_feasibility_tolerance", INTEGRALITY)
    if time_limit is not None:
        highs.setOptionValue("time_limit", float(time_limit))
    _check(highs.passModel(lp), "passModel")
    return highs


def _check(status: highspy.HighsStatus | None, what: str) -> None:
    # None: another instance holds the scheduler with a different number of threads, nothing was run
    if status is None or status == highspy.HighsStatus.kError:
        raise SolveError(f"HiGHS: {what} failed with status {status}")


def _reporter(listen: Listener, scale: float) -> Callable[[Any], None]:
    def report(event: Any) -> None:
        data = event.data_out
        listen(data.running_time, data.mip_dual_bound / scale, data.mip_primal_bound / scale)

    return report


def _outcome(
    highs: highspy.Highs, status: highspy.HighsModelStatus, scale: float, mixed_integer: bool, seconds: float
) -> Outcome:
    if status == highspy.HighsModelStatus.kInfeasible:
        return Outcome("infeasible", None, np.inf, np.inf, seconds)
    if status == highspy.HighsModelStatus.kUnbounded:
        return Outcome("unbounded", None, -np.inf, -np.inf, seconds)
    info = highs.getInfo()
    found = info.primal_solution_status == highspy.SolutionStatus.kSolutionStatusFeasible
    x = np.asarray(highs.getSolution().col_value, dtype=float) if found else None
    objective = info.objective_function_value / scale if found else np.inf
    if status == highspy.HighsModelStatus.kOptimal and x is not None:
        return Outcome("optimal", x, objective, info.mip_dual_bound / scale if mixed_integer else objective, seconds)
    if status in _STOPPED:
        # a linear program that was stopped is not dual feasible: nothing is known below
        bound = info.mip_dual_bound / scale if mixed_integer else -np.inf
        return Outcome(_STOPPED[status], x, objective, bound, seconds)
    raise SolveError(f"HiGHS stopped with {highs.modelStatusToString(status)!r}")
