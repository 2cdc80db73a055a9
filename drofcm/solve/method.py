"""Which method solves a program, and the one function through which all of them are called."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import xarray as xr

from drofcm.blocks.form import TwoStageBlocks
from drofcm.core.errors import InfeasibleError, LimitError, ModelError
from drofcm.risk.ambiguity import AmbiguitySet, Nominal, require_bound
from drofcm.risk.measures import Expectation, RiskMeasure
from drofcm.solve.admissible import refuse_undefined
from drofcm.solve.execution import executor
from drofcm.solve.extensive import solve_extensive, versions
from drofcm.solve.lshaped import solve_lshaped
from drofcm.solve.progress import Progress
from drofcm.solve.recourse import check_first_stage, result_at
from drofcm.solve.result import Result
from drofcm.solve.scaling import scaled

__all__ = ["Method", "choose", "evaluate_blocks", "solve_blocks"]

Method = Literal["auto", "extensive", "lshaped"]

_SMALL_MIXED_INTEGER = 200
"""Integer columns of all scenarios up to which the extensive form is the faster way."""

_SMALL_RECOURSE = 4_000
"""Columns of all scenarios up to which it is for linear recourse behind integers in the first stage."""

_SMALL_LINEAR = 10_000
"""Columns of all scenarios up to which it is where there are no integers at all."""


def choose(blocks: TwoStageBlocks) -> tuple[Literal["extensive", "lshaped"], str]:
    """The method for a program, and why.

    On the main study the decomposition is 1.3 times as fast with 250 integer columns and 2.7 times with 483, with
    linear recourse 4.1 times with 4,134 columns and 3.6 times with 7,792 (``tests/benchmarks/decomposition.py race
    --scenarios 3 5``, and ``--linear``). Below that its processes take longer to start than most extensive forms to
    solve.
    """
    count = len(blocks.scenarios)
    columns = sum(len(own.cost) for own in blocks.scenarios)
    integers = sum(int(np.count_nonzero(own.integer)) for own in blocks.scenarios)
    size = f"{count} scenarios with {columns:,} columns, {integers:,} of them integer"
    if count == 1:
        return "extensive", f"{size}: nothing to decompose"
    if integers:
        small = integers <= _SMALL_MIXED_INTEGER
    else:
        small = columns <= (_SMALL_RECOURSE if blocks.first_stage.integer.any() else _SMALL_LINEAR)
    if small:
        return "extensive", f"{size}: small enough for the extensive form"
    return "lshaped", f"{size}: too large for the extensive form"


def solve_blocks(
    blocks: TwoStageBlocks,
    risk: RiskMeasure | None = None,
    ambiguity: AmbiguitySet | None = None,
    *,
    method: Method = "auto",
    gap: float = 1e-3,
    time_limit: float | None = None,
    iterations: int | None = None,
    client: Any = None,
    workers: int | None = None,
    checkpoint: Path | str | None = None,
    start: xr.Dataset | None = None,
    progress: Progress | None = None,
) -> Result:
    """Solve a program given as matrices; parameters as `drofcm.TwoStageProgram.solve`.

    Raises
    ------
    ValueError
        If a setting is not one of those allowed.
    ModelError
        If the start breaks a bound, a row or the integrality of the first stage, or its labels do not match.
    InfeasibleError
        If no plan exists.
    SolveError
        If the program is unbounded, or a limit was hit before any plan was found.
    InputError
        If the ambiguity set is not bound to labelled data, or holds no distribution.
    """
    if method not in ("auto", "extensive", "lshaped"):
        raise ValueError(f"method must be 'auto', 'extensive' or 'lshaped', got {method!r}")
    if not gap >= 0:
        raise ValueError(f"gap must be at least 0, got {gap!r}")
    risk, ambiguity = risk or Expectation(), ambiguity or Nominal()
    require_bound(ambiguity)
    spread = client is not None or checkpoint is not None
    if method == "extensive" and spread:
        raise ValueError("a client or a checkpoint needs method='lshaped': the extensive form is solved in one piece")
    refuse_undefined(blocks)
    if start is not None:
        _check_start(blocks, start)
    if method == "auto":
        chosen, why = ("lshaped", "a client or a checkpoint was given") if spread else choose(blocks)
    else:
        chosen, why = method, "asked for"
    program = scaled(blocks)
    limits: dict[str, Any] = {
        "gap": gap,
        "time_limit": time_limit,
        "start": None if start is None else program.plan(start),
        "progress": program.listener(progress),
    }
    if chosen == "lshaped":
        limits |= {
            "iterations": iterations,
            "client": client,
            "workers": workers,
            "checkpoint": None if checkpoint is None else Path(checkpoint),
        }
    try:
        result = (solve_extensive if chosen == "extensive" else solve_lshaped)(
            program.blocks, risk, ambiguity, **limits
        )
    except LimitError as error:
        raise program.limit(error) from None
    result = program.result(result)
    return replace(result, provenance={**result.provenance, "method_chosen": why})


def evaluate_blocks(
    blocks: TwoStageBlocks,
    plan: xr.Dataset,
    risk: RiskMeasure | None = None,
    ambiguity: AmbiguitySet | None = None,
    *,
    client: Any = None,
    workers: int | None = 1,
) -> Result:
    """The cost of a given plan on a program given as matrices; parameters as `drofcm.TwoStageProgram.evaluate`.

    Raises
    ------
    ModelError
        If the plan's variables or labels do not match the program.
    InfeasibleError
        If the plan breaks a first-stage row, or a scenario has no recourse at it.
    """
    risk, ambiguity = risk or Expectation(), ambiguity or Nominal()
    refuse_undefined(blocks)
    x = blocks.first_stage_columns(plan)
    check_first_stage(blocks, x)
    program = scaled(blocks)
    x = program.blocks.first_stage_columns(program.plan(plan))
    with executor(program.blocks, client, workers) as ask:
        result = result_at(
            program.blocks,
            x,
            risk,
            ambiguity,
            status="evaluated",
            lower_bound=-np.inf,
            log=pd.DataFrame(columns=["seconds", "lower_bound", "upper_bound", "gap", "phase"]),
            provenance={
                "method": "evaluate",
                "risk": str(risk),
                "ambiguity": str(ambiguity),
                "lower_bound": "none: the plan was given",
                "versions": versions(),
            },
            ask=ask,
        )
    return program.result(result)


def _check_start(blocks: TwoStageBlocks, start: xr.Dataset) -> None:
    """Refuse a start that is no plan: taken as the best plan so far it would be a wrong answer."""
    try:
        check_first_stage(blocks, blocks.first_stage_columns(start))
    except InfeasibleError as error:
        raise ModelError(f"start: {error}") from None
