"""HiGHS: the one place that imports highspy.

A `MatrixProblem` goes in, an `Outcome` with valid bounds comes out. No word of the solver is taken as it comes: its
point is priced and checked in the problem as it was given, the bound of a linear program is computed from its
multipliers, and where an answer does not hold together the question is asked again in another way.
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

from drofcm.core.descriptors import silenced, unprinted
from drofcm.core.errors import SolveError
from drofcm.solve.problem import (
    INTEGRALITY,
    MatrixProblem,
    broken,
    cost_of,
    dual_bound,
    elastic,
    largest_by_column,
    proves_infeasible,
)

__all__ = ["INTEGRALITY", "LinearOutcome", "LinearProgram", "MatrixProblem", "Outcome", "Task", "solve"]

Vector = npt.NDArray[np.float64]
Start = tuple[npt.NDArray[np.int32], Vector]
Status = Literal["optimal", "stalled", "enough", "time_limit", "interrupted", "infeasible", "unbounded"]
Listener = Callable[[float, float, float], None]

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
"""Options, with their usual values, under which a linear program is solved anew whose answer does not hold."""

_FINER = ("dual_feasibility_tolerance", 1e-10, 1e-7)
"""The same where the answer holds and its multipliers prove too little."""

_TIGHT = {"primal_feasibility_tolerance": 1e-9, "dual_feasibility_tolerance": 1e-9}

_WAYS: tuple[tuple[bool, dict[str, Any]], ...] = (
    (True, {}),
    (False, {}),
    (False, {"presolve": "off"}),
    (False, {"presolve": "off", **_TIGHT}),
)
"""How a problem is asked, one way after the other until an answer holds: with the start or without, and options."""

_WITHOUT_PRESOLVE = 2

_AGREES = 1e-6
"""How far an objective or a bound that is reported may be from what is computed, relative to its terms."""

_LEAST_DOUBT = 1e-9
"""A gap, relative to the terms of the cost, that is nothing but rounding."""

_LARGEST = 1e15
"""Coefficients that HiGHS refuses."""

_SMALLEST, _HIGHS_LEAST = 1e-9, 1e-12
"""Coefficients that HiGHS would drop by default, and the least it can be told to keep."""

_FINEST = 2.0**24
"""By how much a cost is scaled up at most where the solver's absolute tolerances are too coarse for it."""

_LEAN = {
    "mip_allow_restart": False,
    "mip_heuristic_effort": 0.0,
    "mip_heuristic_run_feasibility_jump": False,
    "mip_heuristic_run_rins": False,
    "mip_heuristic_run_rens": False,
    "mip_heuristic_run_root_reduced_cost": False,
}


@dataclass(frozen=True)
class Outcome:
    """What HiGHS found, as far as it holds.

    Attributes
    ----------
    status
        Why it stopped; ``"optimal"`` means within the gap that was asked for, by ``objective`` and ``bound``;
        ``"stalled"`` that HiGHS took a wider gap for none in every way it was asked, ``"enough"`` that the bound is as
        high as was asked for.
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
    start: Start | None = None
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
    start: Start | None = None,
    interruptible: bool = False,
    listen: Listener | None = None,
    enough: float = np.inf,
    known: float = np.inf,
    lean: bool = False,
    threads: int = 0,
    exact: bool = False,
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
    known
        What a solution costs that is known already: a bound above it is none.
    lean
        Whether to leave out restarts and primal heuristics: small problems that are solved by the hundred are proven
        optimal in half the time without them.
    threads
        Threads HiGHS may use; 0 leaves it to HiGHS.
    exact
        Whether to hold rows and bounds as tightly as HiGHS can.

    Raises
    ------
    SolveError
        If HiGHS refuses the problem or fails, or no answer of it holds.
    """
    began = time.perf_counter()
    if len(problem.cost) == 0:
        return _without_columns(problem)
    if _bounds_cross(problem):
        return Outcome("infeasible", None, np.inf, np.inf, 0.0)
    problem = replace(problem, rows=sp.csr_array(problem.rows))

    def left() -> float | None:
        return None if time_limit is None else max(0.0, time_limit - (time.perf_counter() - began))

    first: Outcome | None = None
    if start is not None:
        first = _complete(problem, start, gap, time_limit, interruptible, threads)
        if first.status == "interrupted":
            # what bounds the problem with these columns fixed does not bound it without
            return replace(first, bound=-np.inf)
    asked = _Asked(problem, gap, interruptible, listen, enough, known, lean, threads, _TIGHT if exact else {})
    outcome = _ask_until_it_holds(asked, None if first is None else first.x, left)
    return replace(outcome, seconds=time.perf_counter() - began)


@dataclass(frozen=True)
class _Asked:
    """A question that may be asked in several ways."""

    problem: MatrixProblem
    gap: float
    interruptible: bool
    listen: Listener | None
    enough: float
    known: float
    lean: bool
    threads: int
    options: dict[str, Any]


def _ask_until_it_holds(asked: _Asked, first: Vector | None, left: Callable[[], float | None]) -> Outcome:
    best: Outcome | None = None
    doubt, infeasible, finer = "", 0, 1.0
    way = 0
    while way < len(_WAYS):
        with_start, options = _WAYS[way]
        if with_start and first is None:
            way += 1
            continue
        told = _ask(asked, first if with_start else None, {**asked.options, **options}, finer, left())
        outcome, doubt = _judged(asked, told, first)
        if outcome.status == "infeasible" and not doubt:
            infeasible += 1
            # one who says that there is nothing is asked again without the step that says so most often
            if infeasible == 2 or way >= _WITHOUT_PRESOLVE or left() == 0:
                return outcome
            way = _WITHOUT_PRESOLVE
            continue
        if not doubt:
            coarse = _too_coarse(asked, outcome) if finer == 1.0 else 1.0
            if coarse == 1.0 or left() == 0:
                return outcome
            best, finer = _better(best, outcome), coarse
            continue
        best = _better(best, outcome)
        if left() == 0 or outcome.status in ("time_limit", "interrupted"):
            break
        way += 1
    assert best is not None
    if best.x is not None or best.status in ("time_limit", "interrupted"):
        return best
    raise SolveError(f"HiGHS: no answer holds, however it is asked: {doubt}")


def _better(one: Outcome | None, other: Outcome) -> Outcome:
    """The outcome with the cheaper point, and the higher of the bounds: each of them holds."""
    if one is None:
        return other
    point = one if one.objective < other.objective else other
    return replace(point, bound=max(one.bound, other.bound))


def _judged(asked: _Asked, told: _Told, first: Vector | None) -> tuple[Outcome, str]:
    """What holds of an answer, and what does not."""
    problem, mixed = asked.problem, bool(asked.problem.integer.any())
    if told.status == "infeasible":
        known = first is not None and not broken(problem, first)
        doubt = "it finds nothing where there is a start" if known else ""
        return Outcome("infeasible", None, np.inf, -np.inf if known else np.inf, 0.0), doubt
    if told.status == "unbounded":
        return Outcome("unbounded", None, -np.inf, -np.inf, 0.0), ""
    above = told.bound > asked.known + _agreement(problem, asked.known, abs(asked.known)) and mixed
    false = f"it reports a bound of {told.bound:.10g} above a solution that is known, of {asked.known:.10g}"
    if told.x is None:
        bound = told.bound if mixed and not above else -np.inf
        return Outcome(told.status, None, np.inf, bound, 0.0), false if above else ""
    missed = broken(problem, told.x)
    if missed:
        return Outcome("stalled", None, np.inf, -np.inf, 0.0), f"its solution is none: {missed}"
    value, size = cost_of(problem, told.x)
    agrees = _agreement(problem, value, size)
    if abs(told.objective - value) > agrees:
        doubt = f"it reports an objective of {told.objective:.10g} for a solution that costs {value:.10g}"
        return Outcome(_unproven(told.status), told.x, value, -np.inf, 0.0), doubt
    if mixed:
        bound = told.bound
    elif told.dual is None:
        bound = -np.inf
    else:
        bound = dual_bound(problem, told.dual)
    if bound > value + agrees and told.status != "enough":
        doubt = f"it reports a bound of {bound:.10g} above a solution that costs {value:.10g}"
        return Outcome(_unproven(told.status), told.x, value, -np.inf, 0.0), doubt
    if above:
        return Outcome(_unproven(told.status), told.x, value, -np.inf, 0.0), false
    outcome = Outcome(told.status, told.x, value, bound, 0.0)
    allowed = max((asked.gap if mixed else _AGREES) * abs(value), _LEAST_DOUBT * size) * (1 + _AGREES)
    if told.status == "optimal" and value - bound > (allowed if mixed else max(allowed, agrees)):
        wide = f"it stops between {bound:.10g} and {value:.10g}, a wider gap than {asked.gap:g}"
        # small problems by the hundred are asked for a bound, which holds as it is
        return replace(outcome, status="stalled"), "" if asked.lean else wide
    return outcome, ""


def _agreement(problem: MatrixProblem, value: float, size: float) -> float:
    """By how much two ways to one cost may differ: a share of its terms, and rounding where all of these are zero."""
    return max(_AGREES * max(size, abs(value)), _LEAST_DOUBT / _scale_of(problem.cost))


def _unproven(status: Status) -> Status:
    return "stalled" if status == "optimal" else status


def _too_coarse(asked: _Asked, outcome: Outcome) -> float:
    """The power of two by which the cost is to be scaled up so that the solver's absolute tolerance is small enough."""
    if outcome.x is None or outcome.status != "optimal" or asked.lean or not asked.problem.integer.any():
        return 1.0
    value, size = cost_of(asked.problem, outcome.x)
    wanted = max(asked.gap * abs(value), _LEAST_DOUBT * size) * _scale_of(asked.problem.cost)
    if wanted == 0 or wanted >= INTEGRALITY:
        return 1.0
    return float(min(2.0 ** np.ceil(np.log2(INTEGRALITY / wanted)), _FINEST))


@dataclass(frozen=True)
class _Told:
    """An answer as HiGHS gives it, in the units of the problem."""

    status: Status
    x: Vector | None = None
    objective: float = np.inf
    bound: float = -np.inf
    dual: Vector | None = None


def _ask(asked: _Asked, first: Vector | None, options: dict[str, Any], finer: float, time_limit: float | None) -> _Told:
    problem = asked.problem
    scale = _scale_of(problem.cost) * finer
    highs = _load(problem, scale)
    settings = {"mip_rel_gap": asked.gap, "mip_abs_gap": 0.0, "mip_feasibility_tolerance": INTEGRALITY}
    for name, value in {**settings, **(_LEAN if asked.lean else {}), **options}.items():
        _check(highs.setOptionValue(name, value), f"option {name}")
    if time_limit is not None:
        highs.setOptionValue("time_limit", float(time_limit))
    if asked.listen is not None:
        # without output_flag the search does not report progress to callbacks either
        highs.setOptionValue("log_to_console", False)
        highs.setOptionValue("output_flag", True)
        highs.cbMipLogging += _reporter(asked.listen, scale)
    if first is not None:
        highs.setSolution(len(first), np.arange(len(first), dtype=np.int32), first)
    reached: list[float] = []
    if np.isfinite(asked.enough):
        highs.cbMipInterrupt += _stopper(asked.enough * scale, reached)
    if asked.interruptible:
        highs.HandleKeyboardInterrupt = True
    _use_threads(highs, asked.threads)
    _check(_solved(highs), "run")
    status = highs.getModelStatus()
    if status == highspy.HighsModelStatus.kUnboundedOrInfeasible:
        highs.setOptionValue("presolve", "off")
        _check(_solved(highs), "run")
        status = highs.getModelStatus()
    told = _told(highs, status, scale, bool(problem.integer.any()))
    if told.status == "interrupted" and reached:
        return replace(told, status="enough", bound=max(told.bound, reached[0] / scale))
    return told


def _solved(highs: highspy.Highs) -> highspy.HighsStatus | None:
    # there are versions that print in the middle of a search, whatever their options say
    with unprinted():
        return highs.solve()


def _told(highs: highspy.Highs, status: highspy.HighsModelStatus, scale: float, mixed_integer: bool) -> _Told:
    if status == highspy.HighsModelStatus.kInfeasible:
        return _Told("infeasible")
    if status == highspy.HighsModelStatus.kUnbounded:
        return _Told("unbounded")
    info = highs.getInfo()
    found = info.primal_solution_status == highspy.SolutionStatus.kSolutionStatusFeasible
    solution = highs.getSolution()
    x = np.asarray(solution.col_value, dtype=float) if found else None
    objective = info.objective_function_value / scale if found else np.inf
    bound = info.mip_dual_bound / scale if mixed_integer else -np.inf
    if status == highspy.HighsModelStatus.kOptimal and x is not None:
        dual = None if mixed_integer else np.asarray(solution.row_dual, dtype=float) / scale
        return _Told("optimal", x, objective, bound, dual)
    if status in _STOPPED:
        # a linear program that was stopped is not dual feasible: nothing is known below
        return _Told(_STOPPED[status], x, objective, bound)
    raise SolveError(f"HiGHS stopped with {highs.modelStatusToString(status)!r}")


def _complete(
    problem: MatrixProblem,
    start: Start,
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


def _bounds_cross(problem: MatrixProblem) -> bool:
    """Whether a column or a row has a least value above its largest, by more than rounding."""
    pairs = ((problem.lower, problem.upper), (problem.row_lower, problem.row_upper))
    return any(bool((low > high + INTEGRALITY * np.maximum(1.0, np.abs(high))).any()) for low, high in pairs)


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
    rows = _kept(problem.rows, problem.lower, problem.upper)
    lp = highspy.HighsLp()
    lp.num_col_, lp.num_row_ = len(problem.cost), len(problem.row_lower)
    lp.col_cost_, lp.offset_ = problem.cost * scale, problem.constant * scale
    # bounds that cross by rounding are one value
    lp.col_lower_, lp.col_upper_ = np.minimum(problem.lower, problem.upper), problem.upper
    lp.row_lower_, lp.row_upper_ = np.minimum(problem.row_lower, problem.row_upper), problem.row_upper
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
    highs.setOptionValue("small_matrix_value", _HIGHS_LEAST)
    # with a warning HiGHS would solve another problem than the one it was given
    _check(highs.passModel(lp), "passModel", warnings=False)
    return highs


def _kept(rows: sp.csr_array, lower: Vector, upper: Vector) -> sp.csr_array:
    """The rows without coefficients that are too small to tell; what can be neither kept nor left out is refused.

    Raises
    ------
    SolveError
        If a coefficient is too large for HiGHS, or too small and yet not negligible within the bounds of its column.
    """
    size = np.abs(rows.data)
    if size.max(initial=0.0) >= _LARGEST:
        at = int(np.argmax(size))
        first = int(np.searchsorted(rows.indptr, at, side="right")) - 1
        raise SolveError(
            f"badly scaled: column {int(rows.indices[at])} has the coefficient {rows.data[at]:g} in row {first}, which "
            "is more than HiGHS takes"
        )
    suspects = np.flatnonzero(size <= _SMALLEST)
    if not len(suspects):
        return rows
    columns = rows.indices[suspects]
    reach = np.maximum(np.abs(lower[columns]), np.abs(upper[columns]))
    row = np.asarray(np.searchsorted(rows.indptr, suspects, side="right")) - 1
    largest = np.zeros(rows.shape[0])
    np.maximum.at(largest, np.repeat(np.arange(rows.shape[0]), np.diff(rows.indptr)), size)
    with np.errstate(invalid="ignore"):
        negligible = size[suspects] * reach <= _SMALLEST
    # beside others in its row it is the rounding of whatever made the row; programs are asked for theirs before
    dust = (size[suspects] <= _HIGHS_LEAST) & (size[suspects] <= _SMALLEST * largest[row])
    lost = ~negligible & ~dust & (size[suspects] <= _HIGHS_LEAST)
    if lost.any():
        worst = suspects[np.argmax(lost)]
        raise SolveError(
            f"badly scaled: column {int(rows.indices[worst])} has the coefficient {rows.data[worst]:g} in row "
            f"{int(row[np.argmax(lost)])}, which HiGHS would drop although it counts"
        )
    negligible |= dust
    data = rows.data.copy()
    data[suspects[negligible]] = 0
    kept = sp.csr_array((data, rows.indices.copy(), rows.indptr.copy()), shape=rows.shape)
    kept.eliminate_zeros()
    return kept


def _check(status: highspy.HighsStatus | None, what: str, warnings: bool = True) -> None:
    # None: another instance holds the scheduler with a different number of threads, nothing was run
    if status is None or status == highspy.HighsStatus.kError or (status != highspy.HighsStatus.kOk and not warnings):
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
    bound
        What these multipliers prove: no solution costs less. It is the objective but for rounding, and less where the
        multipliers are not exact.
    """

    status: Status
    x: Vector
    objective: float
    dual: Vector
    bound: float


class LinearProgram:
    """A linear program that stays in memory: its rows change and it is solved again from its last basis.

    Parameters
    ----------
    problem
        The problem; its integrality is ignored.
    """

    def __init__(self, problem: MatrixProblem) -> None:
        self._scale = _scale_of(problem.cost)
        self._problem = replace(
            problem,
            lower=problem.lower.copy(),
            upper=problem.upper.copy(),
            rows=sp.csr_array(problem.rows),
            integer=np.zeros_like(problem.integer),
        )
        # rows that were added and do not stand in the problem yet
        self._added: list[sp.csr_array] = []
        self._largest: Vector | None = None
        self._highs = _load(self._problem, self._scale)

    @property
    def problem(self) -> MatrixProblem:
        """The problem as it stands."""
        return self._whole()

    def set_row_bounds(self, lower: Vector, upper: Vector) -> None:
        """New sides for all rows."""
        count = len(self._problem.row_lower)
        positions = np.arange(count, dtype=np.int32)
        self._problem = replace(self._problem, row_lower=lower, row_upper=upper)
        change = self._highs.changeRowsBounds  # type: ignore[attr-defined]  # not in highspy's stub
        _check(change(count, positions, lower, upper), "changeRowsBounds")

    def set_column_bounds(self, positions: npt.NDArray[np.int64], lower: Vector, upper: Vector) -> None:
        """New bounds for some columns."""
        self._problem.lower[positions], self._problem.upper[positions] = lower, upper
        change = self._highs.changeColsBounds
        _check(change(len(positions), positions.astype(np.int32), lower, upper), "changeColsBounds")

    def add_rows(self, rows: sp.csr_array, lower: Vector, upper: Vector) -> None:
        """More rows, behind those there are."""
        problem, count = self._problem, rows.shape[0]
        told = _kept(sp.csr_array(rows), problem.lower, problem.upper)
        start, index = told.indptr[:-1].astype(np.int32), told.indices.astype(np.int32)
        added = self._highs.addRows(count, lower, upper, told.nnz, start, index, told.data.astype(float))
        _check(added, "addRows", warnings=False)
        self._added.append(sp.csr_array(rows))
        sides = np.append(problem.row_lower, lower), np.append(problem.row_upper, upper)
        self._problem = replace(problem, row_lower=sides[0], row_upper=sides[1])
        self._largest = None

    def remove_rows(self, positions: npt.NDArray[np.int64]) -> None:
        """Take rows out; those behind move up."""
        _check(self._highs.deleteRows(len(positions), positions.astype(np.int32)), "deleteRows")
        problem = self._whole()
        stays = np.ones(len(problem.row_lower), dtype=bool)
        stays[positions] = False
        rows, sides = sp.csr_array(problem.rows[np.flatnonzero(stays)]), (problem.row_lower, problem.row_upper)
        self._problem = replace(problem, rows=rows, row_lower=sides[0][stays], row_upper=sides[1][stays])
        self._largest = None

    def solve(self) -> LinearOutcome:
        """Solve from the last basis.

        Raises
        ------
        SolveError
            If HiGHS fails, or no answer of it holds.
        """
        problem = self._whole()
        if len(problem.cost) == 0:
            status = _without_columns_status(problem.row_lower, problem.row_upper)
            return LinearOutcome(
                status, np.zeros(0), problem.constant, np.zeros(len(problem.row_lower)), problem.constant
            )
        outcome, doubt = self._answer(problem)
        nothing = int(doubt == _NOTHING)
        for name, value, usual in _FROM_SCRATCH:
            # that there is nothing is believed if it is said twice, once from scratch
            if outcome is not None or nothing > 1:
                break
            # a basis can lead astray, and so can a way to the optimum
            self._highs.clearSolver()
            outcome, doubt = self._answer(problem, (name, value, usual))
            nothing += doubt == _NOTHING
        if outcome is None and (nothing > 1 or (nothing and _misses(problem))):
            outcome = self._without_solution("infeasible")
        if outcome is None:
            raise SolveError(f"HiGHS: no answer holds, however it is asked: {doubt}")
        if outcome.status == "optimal" and not self._proves_enough(outcome):
            finer, _ = self._answer(problem, _FINER)
            if finer is not None and finer.status == "optimal" and finer.bound > outcome.bound:
                return finer
        return outcome

    def _answer(
        self, problem: MatrixProblem, option: tuple[str, Any, Any] | None = None
    ) -> tuple[LinearOutcome | None, str]:
        """One answer, under another value of one option, if it holds; and otherwise why not."""
        if option is not None:
            _check(self._highs.setOptionValue(option[0], option[1]), f"option {option[0]}")
        status = self._run()
        if option is not None:
            _check(self._highs.setOptionValue(option[0], option[2]), f"option {option[0]}")
        if status not in _LINEAR:
            return None, f"HiGHS stopped with {self._highs.modelStatusToString(status)!r}"
        if _LINEAR[status] == "infeasible":
            return (self._without_solution("infeasible"), "") if self._is_proven(problem) else (None, _NOTHING)
        if _LINEAR[status] == "unbounded":
            return self._without_solution("unbounded"), ""
        solution = self._highs.getSolution()
        x = np.asarray(solution.col_value, dtype=float)
        dual = np.asarray(solution.row_dual, dtype=float) / self._scale
        missed = broken(problem, x)
        if missed:
            return None, f"its solution is none: {missed}"
        value, size = cost_of(problem, x)
        reported = self._highs.getInfo().objective_function_value / self._scale
        agrees = _agreement(problem, value, size)
        if abs(reported - value) > agrees:
            return None, f"it reports an objective of {reported:.10g} for a solution that costs {value:.10g}"
        if self._largest is None:
            self._largest = largest_by_column(problem.rows, len(problem.cost))
        bound = dual_bound(problem, dual, self._largest)
        if bound > value + agrees:
            return None, f"its multipliers prove {bound:.10g} where a solution costs {value:.10g}"
        return LinearOutcome("optimal", x, value, dual, min(bound, value)), ""

    def _proves_enough(self, outcome: LinearOutcome) -> bool:
        _, size = cost_of(self._problem, outcome.x)
        return outcome.objective - outcome.bound <= _LEAST_DOUBT * max(size, abs(outcome.objective))

    def _is_proven(self, problem: MatrixProblem) -> bool:
        """Whether the ray that HiGHS has, if it has one, proves that there is no solution."""
        _, there, ray = self._highs.getDualRay()  # type: ignore[attr-defined]  # not in highspy's stub
        return bool(there) and proves_infeasible(problem, np.asarray(ray, dtype=float))

    def _without_solution(self, status: Status) -> LinearOutcome:
        nothing, far = np.zeros(0), np.inf if status == "infeasible" else -np.inf
        return LinearOutcome(status, nothing, far, nothing, far)

    def _whole(self) -> MatrixProblem:
        """The problem with all its rows."""
        if self._added:
            self._problem = replace(self._problem, rows=sp.csr_array(sp.vstack([self._problem.rows, *self._added])))
            self._added = []
        return self._problem

    def _run(self) -> highspy.HighsModelStatus:
        _use_threads(self._highs, 1)
        with unprinted():
            ended = self._highs.run()
        _check(ended, "run")
        return self._highs.getModelStatus()


_NOTHING = "it finds no solution and cannot prove that there is none"


def _misses(problem: MatrixProblem) -> bool:
    """Whether rows must be missed, by the multipliers of the problem of missing them least."""
    return LinearProgram(elastic(problem)).solve().bound > INTEGRALITY
