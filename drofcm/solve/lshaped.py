"""Decomposition by scenario with exact integer recourse: a multi-cut L-shaped method in three phases.

1. *Relaxation* and 2. *strengthening* (`drofcm.solve.relaxation`) give cuts and a first lower bound.
3. *Integer first stage* (`drofcm.solve.integers`) proposes plans, evaluates them exactly and closes what cuts miss.

The master's dual bound is a lower bound in every phase.
"""

from __future__ import annotations

import warnings
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr

from drofcm.blocks.form import TwoStageBlocks
from drofcm.blocks.tender import with_tender
from drofcm.core.errors import DrofcmWarning, LimitError, LostError, OverdueError
from drofcm.risk.ambiguity import AmbiguitySet
from drofcm.risk.measures import RiskMeasure
from drofcm.solve.checkpoint import held
from drofcm.solve.execution import executor
from drofcm.solve.integers import IntegerPhase
from drofcm.solve.progress import Progress
from drofcm.solve.recourse import result_at
from drofcm.solve.relaxation import relax, strengthen
from drofcm.solve.result import Result, Status
from drofcm.solve.search import LOGGED, Search
from drofcm.solve.stopping import Stopping

__all__ = ["solve_lshaped"]

Vector = npt.NDArray[np.float64]


def solve_lshaped(
    blocks: TwoStageBlocks,
    risk: RiskMeasure,
    ambiguity: AmbiguitySet,
    *,
    gap: float,
    time_limit: float | None = None,
    iterations: int | None = None,
    start: xr.Dataset | None = None,
    progress: Progress | None = None,
    client: Any = None,
    workers: int | None = None,
    checkpoint: Path | None = None,
) -> Result:
    """Solve a program by decomposition.

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
    iterations
        Number of iterations; None for no limit.
    start
        A plan to start from, labelled as `Result.first_stage`.
    progress
        Called with a `drofcm.solve.progress.Standing` after every iteration.
    client, workers
        Where scenarios are solved; see `drofcm.solve.execution.executor`.
    checkpoint
        File that keeps what was learnt; a search that finds it there goes on from it.

    Raises
    ------
    InfeasibleError
        If no plan exists.
    SolveError
        If the problem is unbounded.
    LimitError
        If a limit was hit before any plan was found.
    InputError
        If the checkpoint belongs to another problem.
    """
    tender = with_tender(blocks)
    blocks, first = tender.blocks, None if start is None else tender.lift(blocks.first_stage_columns(start))
    stop = Stopping(gap, time_limit, iterations)
    with held(checkpoint), executor(blocks, client, workers, lambda: stop.remaining) as ask:
        search = Search(blocks, risk, ambiguity, stop, ask, progress, checkpoint, tender.settled)
        try:
            status = _run(search, first)
        except KeyboardInterrupt:
            status = "interrupted"
        except OverdueError:
            status = "time_limit"
        except LostError as error:
            status = "interrupted"
            _tell_of_loss(error, search, checkpoint)
        if search.plan is None:
            raise LimitError(status, stop.seconds, search.lower)
        if not search.log:
            # a search that was finished when it began has its bounds to show, too
            search.note()
        report = partial(
            result_at,
            blocks,
            search.plan,
            risk,
            ambiguity,
            status=status,
            lower_bound=search.lower,
            log=pd.DataFrame(search.log, columns=LOGGED),
            provenance=search.provenance(),
            gap=gap,
        )
        try:
            result = report(ask=ask)
        except KeyboardInterrupt:
            # the search is over and its plan is not to be lost; who presses Ctrl-C again means it
            result = report(ask=ask)
        except LostError as error:
            _tell_of_loss(error, search, checkpoint)
            result = report(ask=None)
    return result if search.price is None else replace(result, prices=blocks.labelled_first_stage_rows(search.price))


def _tell_of_loss(error: LostError, search: Search, checkpoint: Path | None) -> None:
    """Warn that those who did the work are gone; the error itself where there is no plan to go on with."""
    hint = "" if checkpoint is None else f"; what was learnt is in {checkpoint}, and --resume goes on from it"
    if search.plan is None:
        raise LostError(f"{error}, before any plan was found{hint}") from error
    warnings.warn(f"{error}; the best plan so far is reported, from this process{hint}", DrofcmWarning, stacklevel=2)


def _run(search: Search, start: Vector | None) -> Status:
    """All phases, until a limit is reached."""
    search.begin()
    integers = IntegerPhase(search)
    for known in (search.resumed, start):
        if known is not None and search.plan is None:
            integers.evaluation.at(known)
    reason = search.reason
    if reason is None and search.phase == "relaxation":
        reason = relax(search)
        search.phase = "strengthening"
    if reason is None and search.phase == "strengthening":
        if search.integer_recourse:
            strengthen(search)
        search.phase = "integer first stage"
        reason = search.reason
    while reason is None:
        integers.step()
        reason = search.reason
    return reason
