"""The preference of a program: what it adds to the recourse, on the recourse's variables alone.

A preference is assembled when the blocks of the program are there, from their variables and bounds: neither stage runs
again, and nothing of the blocks can change.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
import xarray as xr
from linopy.expressions import LinearExpression

from drofcm.blocks.extract import extract
from drofcm.blocks.form import TwoStageBlocks
from drofcm.core.dims import SCENARIO
from drofcm.core.errors import DrofcmError, ModelError
from drofcm.dsl.guard import StageModel, v1_semantics, watched
from drofcm.dsl.hints import PROBABILITY, hint, place
from drofcm.dsl.sound import check_model
from drofcm.dsl.stage import Stage
from drofcm.solve.preference import Wanted

__all__ = ["Preference", "assembled"]

Vector = npt.NDArray[np.float64]
Positions = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Preference:
    """A preference on some of the scenarios, before it is assembled.

    Attributes
    ----------
    function
        ``function(stage, data)`` of the program.
    data
        The data of these scenarios.
    variables
        Positions of the variables of both stages among the columns of the first stage and of these scenarios; -1 where
        there is none.
    first_stage_names
        Which of them belong to the first stage.
    begins
        The first column of each of these scenarios, and where the last one ends.
    lower, upper
        Bounds of these columns.
    """

    function: Callable[[Stage, xr.Dataset], Any]
    data: xr.Dataset
    variables: Mapping[str, xr.DataArray]
    first_stage_names: tuple[str, ...]
    begins: Positions
    lower: Vector
    upper: Vector

    @classmethod
    def parts(
        cls, function: Callable[[Stage, xr.Dataset], Any], data: xr.Dataset, blocks: TwoStageBlocks, size: int
    ) -> list[Preference]:
        """The preference of a program, so many scenarios at a time."""
        count = len(blocks.scenarios)
        return [
            cls._of(function, data, blocks, slice(begin, min(begin + size, count))) for begin in range(0, count, size)
        ]

    @classmethod
    def _of(
        cls, function: Callable[[Stage, xr.Dataset], Any], data: xr.Dataset, blocks: TwoStageBlocks, some: slice
    ) -> Preference:
        names, n = blocks.first_stage_names, len(blocks.first_stage.cost)
        before = sum(len(own.cost) for own in blocks.scenarios[: some.start])
        scenarios = blocks.scenarios[some]
        variables = {
            name: at if name in names else _moved(at.isel({SCENARIO: some}), before)
            for name, at in blocks.variables.items()
        }
        lower, upper = (
            np.concatenate([getattr(part, side) for part in (blocks.first_stage, *scenarios)])
            for side in ("lower", "upper")
        )
        widths = [len(own.cost) for own in scenarios]
        begins = n + np.concatenate([[0], np.cumsum(widths)]).astype(np.int64)
        return cls(function, data.isel({SCENARIO: some}), variables, names, begins, lower, upper)


def _moved(at: xr.DataArray, by: int) -> xr.DataArray:
    return at.copy(data=np.where(at.values < 0, -1, at.values - by))


def assembled(preference: Preference) -> list[Wanted]:
    """What a preference adds to each of its scenarios.

    Raises
    ------
    ModelError
        If the preference breaks a rule of the language.
    """
    data = preference.data
    model = _with_variables(preference)
    aims = _run(model, preference)
    check_model(model, data)
    with v1_semantics():
        nothing = LinearExpression(xr.DataArray(0.0), model)
        free = LinearExpression(xr.zeros_like(data[PROBABILITY].reset_coords(drop=True), dtype=float), model)
    blocks = extract(
        model,
        preference.first_stage_names,
        nothing,
        free,
        {str(number): aim for number, aim in enumerate(aims)},
        data[PROBABILITY].reset_coords(drop=True).astype(float),
    )
    return _by_scenario(preference, blocks)


def _with_variables(preference: Preference) -> StageModel:
    """A model that has the variables of both stages and nothing else."""
    model = StageModel(frozenset(preference.data.dims))
    lower, upper = (np.append(side, 0.0) for side in (preference.lower, preference.upper))
    with v1_semantics():
        for name, at in preference.variables.items():
            bounds = (at.copy(data=side[at.values]) for side in (lower, upper))
            model.add_variables(*bounds, coords=[at.indexes[dim] for dim in at.dims], name=name, mask=at >= 0)
    return model


def _run(model: StageModel, preference: Preference) -> tuple[LinearExpression, ...]:
    """Run the preference on the variables; the expressions that it returned."""
    known = {name: variable.data for name, variable in model.variables.items()}
    stage = Stage(model, preference.data, "preference")
    with watched(model):
        try:
            returned = preference.function(stage, preference.data.drop_vars(PROBABILITY))
        except DrofcmError:
            raise
        except (ValueError, KeyError, AttributeError, TypeError, IndexError, NotImplementedError) as error:
            told = hint(error, "preference", preference.data)
            raise ModelError(f"in the preference, {place(error, preference.function)}: {error}{told}") from error
        aims = stage.aims(returned)
    for name, data in known.items():
        if name not in model.variables or model.variables[name].data is not data:
            raise ModelError(
                f"the preference changes variable {name!r}: it may add rows, the variables of the program stay as they "
                "are"
            )
    whole = {*model.variables.integers, *model.variables.binaries}
    for name, variable in model.variables.items():
        if name in whole:
            raise ModelError(f"variable {name!r} of the preference is whole-numbered: it may add continuous ones only")
        if name not in known and SCENARIO not in variable.dims:
            raise ModelError(f"variable {name!r} of the preference has no scenario dimension")
    for name, row in model.constraints.items():
        if SCENARIO not in row.coord_dims:
            raise ModelError(f"row {name!r} of the preference has no scenario dimension")
    return aims


def _by_scenario(preference: Preference, blocks: TwoStageBlocks) -> list[Wanted]:
    """The rows and expressions of a preference, their columns in the order that the program has."""
    n, begins = len(blocks.first_stage.cost), preference.begins
    ends = n + np.cumsum([len(own.cost) for own in blocks.scenarios])
    owner = np.concatenate([np.full(n, -1), np.repeat(np.arange(len(ends)), np.diff(ends, prepend=n))])
    aims = [sp.csr_array(term.matrix) for term in blocks.terms.values()]
    _check_coupling(blocks, aims, owner)
    # where the columns of the program stand among those of the model that was made of its variables
    program, here = (
        np.concatenate(
            [np.zeros(0, dtype=np.int64), *(variables[name].values.ravel() for name in preference.variables)]
        )
        for variables in (preference.variables, blocks.variables)
    )
    program, here = program[program >= 0], here[here >= 0]
    first = np.empty(n, dtype=np.int64)
    first[program[owner[here] < 0]] = here[owner[here] < 0]
    wanted = []
    for number, own in enumerate(blocks.scenarios):
        mine = owner[here] == number
        columns = np.empty(int(begins[number + 1] - begins[number]), dtype=np.int64)
        columns[program[mine] - begins[number]] = here[mine]
        begin = int(ends[number]) - len(own.cost)
        added = np.setdiff1d(np.arange(begin, ends[number]), columns)
        order = np.concatenate([columns, added])
        wanted.append(
            Wanted(
                technology=sp.csr_array(own.technology[:, first]),
                rows=sp.csr_array(own.recourse[:, order - begin]),
                row_lower=own.row_lower,
                row_upper=own.row_upper,
                lower=own.lower[added - begin],
                upper=own.upper[added - begin],
                aims=sp.csr_array(sp.vstack([aim[[number], :][:, order] for aim in aims])),
            )
        )
    return wanted


def _check_coupling(blocks: TwoStageBlocks, aims: list[sp.csr_array], owner: Positions) -> None:
    for number, aim in enumerate(aims, 1):
        entries = aim.tocoo()
        bad = np.flatnonzero((owner[entries.col] >= 0) & (owner[entries.col] != entries.row))
        if len(bad):
            column = int(entries.col[bad[0]])
            name = next(name for name, at in blocks.variables.items() if (at.values == column).any())
            raise ModelError(
                f"expression {number} of the preference holds, in one scenario, {name!r} of another (a sum, shift or "
                "cumsum over 'scenario'): scenarios may share first-stage variables only"
            )
