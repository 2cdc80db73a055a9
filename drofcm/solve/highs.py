"""HiGHS: the one place that imports highspy.

A `MatrixProblem` goes in, an `Outcome` with valid bounds comes out. Every return status is checked: HiGHS hands back
zeros when a run did not take place.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

import highspy
import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from drofcm.core.descriptors import silenced
from drofcm.core.errors import SolveError

__all__ = ["INTEGRALITY", "LinearOutcome", "LinearProgram", "MatrixProblem", "Outcome", "Task", "solve"]

Vector = npt.NDArray[np.float64]
Status = Literal["optimal", "enough", "time_limit", "interrupted", "infeasible", "unbounded"]
Listener = Callable[[float, float, float], None]

INTEGRALITY = 1e-6
"""How far from a whole number HiGHS lets an integer column be."""

_STOPPED: dict[highspy.HighsModelStatus, Status] = {
    highspy.HighsModelStatus.kTimeLimit: "time_limit",
    highspy.HighsModelStatus.kInterrupt: "interrupted",
}
_LINEAR: dict[highspy.HighsModelStatus, Status] = {
    highspy.HighsModelStatus.kOptimal: "optimal",
    highspy.HighsModelStatus.kInfeasible: "infeasible",
    highspy.HighsModelStatus.kUnbounded: "unbounded",
}


_FROM_SCRATCH = (("presolve", "off", "choose"), ("presolve", "on", "choose"), ("solver", "ipm", "choose"))
"""Options, with their usual values, under which a linear program is solved anew that HiGHS gave up; in this order."""

_LEAN = {
    "mip_allow_restart": False,
    "mip_heuristic_effort": 0.0,
    "mip_heuristic_run_feasibility_jump": False,
    "mip_heuristic_run_rins": False,
    "mip_heuristic_run_rens": False,
    "mip_heuristic_run_root_reduced_cost": False,
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
        Why it stopped; ``"optimal"`` means within the gap that was asked for, ``"enough"`` that the bound is as high
        as was asked for.
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


@dataclass(frozen=True)
class Task:
    """A mixed-integer problem with the limits of its search, to be solved here or elsewhere.

    Attributes
    ----------
    problem, gap, time_limit, start, enough
        As of `solve`.
    """

    problem: MatrixProblem
    gap: float
    time_limit: float | None = None
    start: tuple[npt.NDArray[np.int32], Vector] | None = None
    enough: float = np.inf

    def run(self, interruptible: bool = False) -> Outcome:
        """Solve it on one thread."""
        return solve(
            self.problem,
            gap=self.gap,
            time_limit=self.time_limit,
            start=self.start,
            interruptible=interruptible,
            enough=self.enough,
            threads=1,
        )


def solve(
    problem: MatrixProblem,
    *,
    gap: float = 1e-6,
    time_limit: float | None = None,
    start: tuple[npt.NDArray[np.int32], Vector] | None = None,
    interruptible: bool = False,
    listen: Listener | None = None,
    enough: float = np.inf,
    lean: bool = False,
    threads: int = 0,
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
    enough
        Lower bound at which a mixed-integer search stops, whatever its gap.
    lean
        Whether to leave out restarts and primal heuristics: small problems that are solved by the hundred are proven
        optimal in half the time without them.
    threads
        Threads HiGHS may use; 0 leaves it to HiGHS.

    Raises
    ------
    SolveError
        If HiGHS refuses the problem or fails.
    """
    began = time.perf_counter()
    if len(problem.cost) == 0:
        return _without_columns(problem)
    first: Outcome | None = None
    if start is not None:
        first = _complete(problem, start, gap, time_limit, interruptible, threads)
        if first.status == "interrupted":
            # what bounds the problem with these columns fixed does not bound it without
            return replace(first, bound=-np.inf)
        time_limit = None if time_limit is None else max(0.0, time_limit - first.seconds)
    scale = _scale_of(problem.cost)
    highs = _load(problem, scale)
    highs.setOptionValue("mip_rel_gap", gap)
    highs.setOptionValue("mip_feasibility_tolerance", INTEGRALITY)
    for name, value in _LEAN.items() if lean else ():
        _check(highs.setOptionValue(name, value), f"option {name}")
    if time_limit is not None:
        highs.setOptionValue("time_limit", float(time_limit))
    if listen is not None:
        # without output_flag the search does not report progress to callbacks either
        highs.setOptionValue("log_to_console", False)
        highs.setOptionValue("output_flag", True)
    if first is not None and first.x is not None:
        highs.setSolution(len(first.x), np.arange(len(first.x), dtype=np.int32), first.x)
    if listen is not None:
        highs.cbMipLogging += _reporter(listen, scale)
    reached: list[float] = []
    if np.isfinite(enough):
        highs.cbMipInterrupt += _stopper(enough * scale, reached)
    if interruptible:
        highs.HandleKeyboardInterrupt = True
    _use_threads(highs, threads)
    _check(highs.solve(), "run")
    status = highs.getModelStatus()
    if status == highspy.HighsModelStatus.kUnboundedOrInfeasible:
        highs.setOptionValue("presolve", "off")
        _check(highs.solve(), "run")
        status = highs.getModelStatus()
    outcome = _outcome(highs, status, scale, bool(problem.integer.any()), time.perf_counter() - began)
    if outcome.status == "interrupted" and reached:
        return replace(outcome, status="enough", bound=max(outcome.bound, reached[0] / scale))
    return outcome


def _complete(
    problem: MatrixProblem,
    start: tuple[npt.NDArray[np.int32], Vector],
    gap: float,
    time_limit: float | None,
    interruptible: bool,
    threads: int,
) -> Outcome:
    """The best solution with some columns as given.

    HiGHS would complete a partial start itself, but tell the callbacks the bounds of that smaller problem, which are
    above those of the whole.
    """
    positions, values = start
    lower, upper = problem.lower.copy(), problem.upper.copy()
    lower[positions] = upper[positions] = np.where(problem.integer[positions], np.round(values), values)
    fixed = replace(problem, lower=lower, upper=upper)
    return solve(fixed, gap=gap, time_limit=time_limit, interruptible=interruptible, threads=threads)


def _without_columns(problem: MatrixProblem) -> Outcome:
    if _without_columns_status(problem.row_lower, problem.row_upper) == "infeasible":
        return Outcome("infeasible", None, np.inf, np.inf, 0.0)
    return Outcome("optimal", np.zeros(0), problem.constant, problem.constant, 0.0)


def _without_columns_status(lower: Vector, upper: Vector) -> Status:
    return "optimal" if bool(np.all(lower <= INTEGRALITY) and np.all(upper >= -INTEGRALITY)) else "infeasible"


class _Threads:
    """The number of threads that HiGHS' scheduler, one for the whole process, was started with."""

    started = 0


def _use_threads(highs: highspy.Highs, threads: int) -> None:
    if threads != _Threads.started:
        # an instance that asks for another number than the scheduler has would not run at all
        highspy.Highs.resetGlobalScheduler(True)
        _Threads.started = threads
    highs.setOptionValue("threads", threads)


def _scale_of(cost: Vector) -> float:
    """A power of two, so that scaling is exact; the typical cost becomes one, as HiGHS' absolute tolerances expect."""
    sizes = np.abs(cost[cost != 0])
    return float(2.0 ** -np.round(np.log2(np.median(sizes)))) if len(sizes) else 1.0


def _load(problem: MatrixProblem, scale: float) -> highspy.Highs:
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
    with silenced():  # there are versions whose constructor prints, before any option can be set
        highs = highspy.Highs()
    highs.setOptionValue("output_flag", False)
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


def _stopper(enough: float, reached: list[float]) -> Callable[[Any], None]:
    def stop(event: Any) -> None:
        if event.data_out.mip_dual_bound >= enough:
            reached.append(event.data_out.mip_dual_bound)
            event.interrupt()

    return stop


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


@dataclass(frozen=True)
class LinearOutcome:
    """Solution of a linear program.

    Attributes
    ----------
    status
        ``"optimal"``, ``"infeasible"`` or ``"unbounded"``; there is a solution in the first case only.
    x
        Columns.
    objective
        Cost.
    dual
        Of the rows: what the cost rises by when a row's active side rises by one.
    """

    status: Status
    x: Vector
    objective: float
    dual: Vector


class LinearProgram:
    """A linear program that stays in memory: its rows change and it is solved again from its last basis.

    Parameters
    ----------
    problem
        The problem; its integrality is ignored.
    """

    def __init__(self, problem: MatrixProblem) -> None:
        self._scale = _scale_of(problem.cost)
        self._rows = len(problem.row_lower)
        self._constant = problem.constant if len(problem.cost) == 0 else None
        self._sides = (problem.row_lower, problem.row_upper)
        self._highs = _load(replace(problem, integer=np.zeros_like(problem.integer)), self._scale)

    def set_row_bounds(self, lower: Vector, upper: Vector) -> None:
        """New sides for all rows."""
        positions = np.arange(self._rows, dtype=np.int32)
        self._sides = (lower, upper)
        change = self._highs.changeRowsBounds  # type: ignore[attr-defined]  # not in highspy's stub
        _check(change(self._rows, positions, lower, upper), "changeRowsBounds")

    def set_column_bounds(self, positions: npt.NDArray[np.int64], lower: Vector, upper: Vector) -> None:
        """New bounds for some columns."""
        change = self._highs.changeColsBounds
        _check(change(len(positions), positions.astype(np.int32), lower, upper), "changeColsBounds")

    def add_rows(self, rows: sp.csr_array, lower: Vector, upper: Vector) -> None:
        """More rows, behind those there are."""
        start, index = rows.indptr[:-1].astype(np.int32), rows.indices.astype(np.int32)
        count = rows.shape[0]
        _check(self._highs.addRows(count, lower, upper, rows.nnz, start, index, rows.data.astype(float)), "addRows")
        self._rows += count

    def remove_rows(self, positions: npt.NDArray[np.int64]) -> None:
        """Take rows out; those behind move up."""
        _check(self._highs.deleteRows(len(positions), positions.astype(np.int32)), "deleteRows")
        self._rows -= len(positions)

    def solve(self) -> LinearOutcome:
        """Solve from the last basis.

        Raises
        ------
        SolveError
            If HiGHS fails.
        """
        if self._constant is not None:
            whole = _without_columns_status(*self._sides)
            return LinearOutcome(whole, np.zeros(0), self._constant, np.zeros(self._rows))
        status = self._run()
        for name, value, usual in _FROM_SCRATCH:
            if status in _LINEAR:
                break
            # a basis can lead astray, and so can a way to the optimum
            self._highs.clearSolver()
            _check(self._highs.setOptionValue(name, value), f"option {name}")
            status = self._run()
            _check(self._highs.setOptionValue(name, usual), f"option {name}")
        if status not in _LINEAR:
            raise SolveError(f"HiGHS stopped with {self._highs.modelStatusToString(status)!r}")
        solution = self._highs.getSolution()
        return LinearOutcome(
            _LINEAR[status],
            np.asarray(solution.col_value, dtype=float),
            self._highs.getInfo().objective_function_value / self._scale,
            np.asarray(solution.row_dual, dtype=float) / self._scale,
        )

    def _run(self) -> highspy.HighsModelStatus:
        _use_threads(self._highs, 1)
        _check(self._highs.run(), "run")
        return self._highs.getModelStatus()
