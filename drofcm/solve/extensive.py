"""The extensive form: both stages and all scenarios as one mixed-integer problem, solved by HiGHS."""

from __future__ import annotations

import importlib.metadata
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import linopy
import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr

from drofcm.blocks.form import TwoStageBlocks
from drofcm.core.descriptors import silenced
from drofcm.core.errors import InfeasibleError, LimitError, SolveError
from drofcm.risk.ambiguity import AmbiguitySet
from drofcm.risk.measures import RiskMeasure
from drofcm.risk.weights import worst_case_weights
from drofcm.solve.execution import Executor
from drofcm.solve.floors import bound_by_columns
from drofcm.solve.gap import closed, relative_gap
from drofcm.solve.highs import MatrixProblem, Outcome, solve
from drofcm.solve.master import Master
from drofcm.solve.progress import Progress, Standing
from drofcm.solve.recourse import check_first_stage, result_at, solve_recourse
from drofcm.solve.result import Result, Status

__all__ = ["infeasibility_listing", "solve_extensive", "versions", "whole_problem"]

Vector = npt.NDArray[np.float64]

_ROUNDS = 200
"""Risk-set cuts at the linear relaxation of the extensive form."""

_ENDED: dict[str, Status] = {
    "optimal": "optimal",
    "stalled": "stalled",
    "time_limit": "time_limit",
    "interrupted": "interrupted",
}


def whole_problem(blocks: TwoStageBlocks, risk: RiskMeasure, ambiguity: AmbiguitySet) -> MatrixProblem:
    """The extensive form: the master problem with every scenario kept whole."""
    return _whole(blocks, risk, ambiguity).problem()


def _whole(blocks: TwoStageBlocks, risk: RiskMeasure, ambiguity: AmbiguitySet) -> Master:
    count = len(blocks.scenarios)
    master = Master(blocks, risk, ambiguity, np.full(count, -np.inf))
    master.keep(list(range(count)))
    return master


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

    Where the risk measure over the ambiguity set has no rows, risk-set cuts are added first at the linear relaxation,
    then at the plans found, until a plan is within the gap.

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
        Called with a `drofcm.solve.progress.Standing`.
    ask
        Where the recourse is solved again at the plan; in this process if left out.

    Raises
    ------
    InfeasibleError
        If no plan exists.
    SolveError
        If the problem is unbounded.
    LimitError
        If the limit was hit before any plan was found.
    """
    began = time.perf_counter()
    master = _whole(blocks, risk, ambiguity)
    n = len(blocks.first_stage.cost)
    rows: list[tuple[float, float, float]] = []

    def listen(seconds: float, lower: float, upper: float) -> None:
        rows.append((seconds, lower, upper))
        if progress is not None:
            progress(Standing(seconds, lower, upper))

    def attempt(problem: MatrixProblem, asked: float, from_: Vector | None) -> Outcome:
        left = None if time_limit is None else max(0.0, time_limit - (time.perf_counter() - began))
        return solve(
            problem,
            gap=asked,
            time_limit=left,
            start=None if from_ is None else (np.arange(len(from_), dtype=np.int32), from_),
            interruptible=True,
            listen=listen if master.explicit else None,
        )

    def tell(lower: float, upper: float) -> None:
        listen(time.perf_counter() - began, lower, upper)

    first = None if start is None else blocks.first_stage_columns(start)
    if master.explicit:
        outcome = attempt(master.problem(), gap, first)
    else:
        outcome = _with_cuts(master, blocks, (risk, ambiguity), gap, first, attempt, ask, tell)
    problem = master.problem()
    if outcome.status == "infeasible":
        raise InfeasibleError("no plan satisfies every row of the program")
    if outcome.status == "unbounded":
        raise SolveError("the cost is unbounded below: a cost or a bound is missing")
    if outcome.x is None:
        raise LimitError(outcome.status, outcome.seconds, outcome.bound)
    bound = max(outcome.bound, bound_by_columns(blocks, risk, ambiguity))
    report = partial(
        result_at,
        blocks,
        risk=risk,
        ambiguity=ambiguity,
        status=_ENDED[outcome.status],
        lower_bound=bound,
        log=_log(rows, time.perf_counter() - began, bound, outcome.objective),
        gap=gap,
        ask=ask,
        provenance={
            "method": "extensive",
            "risk": str(risk),
            "ambiguity": str(ambiguity),
            "gap_asked": gap,
            "time_limit": time_limit,
            "seconds": time.perf_counter() - began,
            "lower_bound": "dual bound of HiGHS on the extensive form, all integers kept",
            "columns": len(problem.cost),
            "rows": len(problem.row_lower),
            "nonzeros": int(problem.rows.nnz),
            "versions": versions(),
        },
    )
    x = np.where(blocks.first_stage.integer, np.round(outcome.x[:n]), outcome.x[:n])
    try:
        check_first_stage(blocks, x)
        return _whatever_stops(report, x)
    except InfeasibleError as error:
        # right to the solver's tolerance, which the rows of a recourse may not forgive
        x = _closer(problem, outcome.x, error)[:n]
        return _whatever_stops(report, x)


def _whatever_stops(report: Callable[..., Result], x: Vector) -> Result:
    """The report of a plan: who presses Ctrl-C when the search is over does not lose it, who presses again means it."""
    try:
        return report(x=x)
    except KeyboardInterrupt:
        return report(x=x)


def _log(rows: list[tuple[float, float, float]], seconds: float, bound: float, objective: float) -> pd.DataFrame:
    """What was told on the way, without what turned out not to be true."""
    told = [(at, min(low, bound), high) for at, low, high in rows if high >= bound]
    log = pd.DataFrame([*told, (seconds, bound, objective)], columns=["seconds", "lower_bound", "upper_bound"])
    log["gap"] = [relative_gap(low, high) for low, high in zip(log["lower_bound"], log["upper_bound"], strict=True)]
    log["phase"] = "extensive form"
    return log


def _closer(problem: MatrixProblem, x: Vector, error: InfeasibleError) -> Vector:
    """The solution with the same integers, as close to rows and bounds as the solver can.

    Raises
    ------
    SolveError
        If there is none: whole numbers that are so by the solver's tolerance only.
    """
    whole = np.where(problem.integer, np.round(x), x)
    fixed = replace(
        problem,
        lower=np.where(problem.integer, whole, problem.lower),
        upper=np.where(problem.integer, whole, problem.upper),
        integer=np.zeros_like(problem.integer),
    )
    outcome = solve(fixed, exact=True)
    if outcome.x is None:
        raise SolveError(
            f"the plan that was found holds by the solver's tolerance only ({error}): figures of very different size "
            "stand in one row; give variables or rows other units"
        )
    return np.where(problem.integer, whole, outcome.x)


def _with_cuts(
    master: Master,
    blocks: TwoStageBlocks,
    judged: tuple[RiskMeasure, AmbiguitySet],
    gap: float,
    start: Vector | None,
    attempt: Callable[[MatrixProblem, float, Vector | None], Outcome],
    ask: Executor | None,
    tell: Callable[[float, float], None],
) -> Outcome:
    """The best plan and bound of the extensive form whose risk-set cuts are found on the way."""
    n = len(blocks.first_stage.cost)
    costs = slice(n, n + len(blocks.scenarios))
    for _ in range(_ROUNDS):
        whole = master.problem()
        relaxed = attempt(replace(whole, integer=np.zeros_like(whole.integer)), gap, None)
        # by what is known of the risk measure only it may be unbounded: one scenario dearer than all others, for each
        if relaxed.status == "unbounded" and sum(master.learn_weights(own) for own in np.eye(len(blocks.scenarios))):
            continue
        if relaxed.x is None:
            return relaxed
        if relaxed.status != "optimal" or not master.learn_weights(relaxed.x[costs]):
            break
    lower, upper, best, asked = -np.inf, np.inf, start, gap / 2
    while True:
        outcome = attempt(master.problem(), asked, best)
        lower = max(lower, outcome.bound)
        if outcome.x is None:
            return (
                outcome if best is None or np.isinf(upper) else replace(outcome, x=best, objective=upper, bound=lower)
            )
        x = np.where(blocks.first_stage.integer, np.round(outcome.x[:n]), outcome.x[:n])
        try:
            cost = solve_recourse(blocks, x, ask).cost
        except KeyboardInterrupt:
            # the best plan that has its price, or this one: what is reported is priced anew
            found = outcome.x if best is None or np.isinf(upper) else best
            return replace(outcome, status="interrupted", x=found, objective=upper, bound=lower)
        weights = worst_case_weights(*judged, cost, blocks.probability)
        value = float(blocks.first_stage.cost @ x) + blocks.first_stage.constant + float(weights @ cost)
        size = float(np.abs(blocks.first_stage.cost) @ np.abs(x)) + float(weights @ np.abs(cost))
        if value < upper:
            upper, best = value, x
        tell(lower, upper)
        done = closed(lower, upper, gap, size) or outcome.status not in ("optimal", "stalled")
        # a plan that is met again is judged rightly by its cut: what is left is the search's own gap
        if not done and not master.learn_weights(cost.values):
            done, asked = asked == 0, 0.0
        if done:
            return replace(outcome, x=best, objective=upper, bound=lower)


def versions() -> dict[str, str]:
    """Versions of what computes."""
    return {name: importlib.metadata.version(name) for name in ("drofcm", "linopy", "highspy", "xarray", "numpy")}


def infeasibility_listing(model: linopy.Model) -> str:
    """The rows that contradict each other, as linopy lists them."""
    try:
        with silenced():  # linopy passes the options that silence HiGHS only after HiGHS has spoken
            status: Any = model.solve(solver_name="highs", output_flag=False)
            return model.format_infeasibilities()
    except RuntimeError as error:
        return f"no listing ({error}; status {status}): the rows contradict each other only together with integrality"
