"""What no solver can be asked: matrices with entries that are no numbers, named by variable, labels and scenario."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import scipy.sparse as sp

from drofcm.blocks.form import FirstStage, Scenario, TwoStageBlocks
from drofcm.core.dims import SCENARIO
from drofcm.core.errors import ModelError, shorten

__all__ = ["column_name", "place", "refuse_undefined", "row_name"]

_MOST = 6
"""Faults that are named; how many more there are is said."""


def refuse_undefined(blocks: TwoStageBlocks) -> None:
    """Refuse matrices with NaN, with infinite costs, coefficients or constants, or with bounds on the wrong side.

    Raises
    ------
    ModelError
        Naming stage or scenario, variable and labels.
    """
    faults = list(_faults(blocks))
    if faults:
        more = f" (and {len(faults) - _MOST} more)" if len(faults) > _MOST else ""
        raise ModelError("; ".join(faults[:_MOST]) + more)


def column_name(blocks: TwoStageBlocks, scenario: int | None, column: int) -> str:
    """The variable of a column with its labels, ``x[site='b']``; without a scenario it is one of the first stage."""
    begin = 0
    if scenario is not None:
        begin = len(blocks.first_stage.cost) + sum(len(own.cost) for own in blocks.scenarios[:scenario])
    for name, at in blocks.variables.items():
        places = np.argwhere(at.values == begin + column)
        if len(places):
            labels = [
                f"{dim}={at[dim].values.tolist()[place]!r}"
                for dim, place in zip(at.dims, places[0].tolist(), strict=True)
                if dim != SCENARIO
            ]
            return f"{name}[{', '.join(labels)}]" if labels else name
    return f"column {column}"


def row_name(blocks: TwoStageBlocks, scenario: int | None, row: int) -> str:
    """The row of the first stage by name and labels; the number of a scenario's row, which has no name here."""
    if scenario is None:
        for name, at in blocks.first_stage_rows.items():
            places = np.argwhere(at.values == row)
            if len(places):
                pairs = zip(at.dims, places[0].tolist(), strict=True)
                labels = [f"{dim}={at[dim].values.tolist()[place]!r}" for dim, place in pairs]
                return f"row {name}[{', '.join(labels)}]" if labels else f"row {name}"
    return f"row {row}"


def place(blocks: TwoStageBlocks, scenario: int | None) -> str:
    """The stage or the scenario, for messages."""
    return "first stage" if scenario is None else f"scenario {blocks.probability[SCENARIO].values.tolist()[scenario]!r}"


def _faults(blocks: TwoStageBlocks) -> Iterator[str]:
    undefined = [number for number, own in enumerate(blocks.scenarios) if _has_nan(own)]
    if undefined:
        labels = [blocks.probability[SCENARIO].values.tolist()[number] for number in undefined]
        yield f"scenario {shorten(labels)}: a cost, bound or coefficient is NaN"
    if _has_nan(blocks.first_stage):
        yield "first stage: a cost, bound or coefficient is NaN"
    yield from _infinite(blocks, None, blocks.first_stage)
    for number, own in enumerate(blocks.scenarios):
        yield from _infinite(blocks, number, own)


def _has_nan(part: FirstStage | Scenario) -> bool:
    arrays = [value.data if isinstance(value, sp.csr_array) else np.asarray(value) for value in vars(part).values()]
    return any(bool(np.isnan(array).any()) for array in arrays if array.dtype.kind == "f")


def _infinite(blocks: TwoStageBlocks, scenario: int | None, part: FirstStage | Scenario) -> Iterator[str]:
    where = place(blocks, scenario)
    own = None if isinstance(part, FirstStage) else scenario
    for column in np.flatnonzero(np.isinf(part.cost)).tolist():
        yield f"{where}: the cost of {column_name(blocks, own, column)} is {part.cost[column]} (leave it out instead)"
    if isinstance(part, Scenario):
        for column in np.flatnonzero(np.isinf(part.first_stage_cost)).tolist():
            yield f"{where}: the cost of {column_name(blocks, None, column)} is {part.first_stage_cost[column]}"
    if np.isinf(part.constant):
        yield f"{where}: the constant of the cost is {part.constant}"
    rows = [(None, part.rows)] if isinstance(part, FirstStage) else [(None, part.technology), (own, part.recourse)]
    for stage, matrix in rows:
        for at in np.flatnonzero(np.isinf(matrix.data)).tolist():
            row = int(np.searchsorted(matrix.indptr, at, side="right")) - 1
            name = column_name(blocks, stage, int(matrix.indices[at]))
            yield f"{where}: the coefficient of {name} in {row_name(blocks, own, row)} is {matrix.data[at]}"
    for column in np.flatnonzero(np.isposinf(part.lower) | np.isneginf(part.upper)).tolist():
        yield f"{where}: the bounds of {column_name(blocks, own, column)} leave nothing finite"
    for row in np.flatnonzero(np.isposinf(part.row_lower) | np.isneginf(part.row_upper)).tolist():
        yield f"{where}: the sides of {row_name(blocks, own, row)} leave nothing finite"
