"""Blocks of some scenarios each as the blocks of all."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
import xarray as xr

from drofcm.blocks.form import FirstStage, LabelledMap, Positions, Scenario, TwoStageBlocks
from drofcm.core.dims import SCENARIO
from drofcm.core.errors import ModelError

__all__ = ["join"]


def join(chunks: Sequence[TwoStageBlocks], probability: xr.DataArray) -> TwoStageBlocks:
    """Blocks of some scenarios each as the blocks of all; what is equal in several scenarios is stored once.

    Parameters
    ----------
    chunks
        Blocks of consecutive scenarios.
    probability
        Nominal probability of all, (scenario).

    Raises
    ------
    ModelError
        If the chunks disagree about the first stage: a stage function that is not pure.
    """
    first = chunks[0]
    n = len(first.first_stage.cost)
    for chunk in chunks[1:]:
        _check_same(first.first_stage, chunk.first_stage)
    store = _Store()
    widths = [sum(len(own.cost) for own in chunk.scenarios) for chunk in chunks]
    offsets = np.concatenate([[0], np.cumsum(widths)]).astype(np.int64)
    variables: dict[str, xr.DataArray] = {}
    for name, at in first.variables.items():
        if name in first.first_stage_names:
            variables[name] = at
            continue
        parts = [
            chunk.variables[name].copy(
                data=np.where(chunk.variables[name].values < 0, -1, chunk.variables[name].values + offset)
            )
            for chunk, offset in zip(chunks, offsets[:-1], strict=True)
        ]
        variables[name] = xr.concat(parts, dim=SCENARIO, join="exact")
    total = n + int(offsets[-1])
    return TwoStageBlocks(
        first_stage=first.first_stage,
        scenarios=tuple(store.shared(own) for chunk in chunks for own in chunk.scenarios),
        probability=probability,
        variables=variables,
        first_stage_names=first.first_stage_names,
        terms={name: _join_terms([chunk.terms[name] for chunk in chunks], n, offsets, total) for name in first.terms},
        first_stage_rows=first.first_stage_rows,
    )


def _check_same(one: FirstStage, other: FirstStage) -> None:
    for name, value in vars(one).items():
        own = getattr(other, name)
        if isinstance(value, sp.csr_array):
            same = value.shape == own.shape and (value != own).nnz == 0
        else:
            same = np.array_equal(value, own)
        if not same:
            raise ModelError(
                f"the first stage came out differently for another set of scenarios ({name}): a stage function must "
                "depend on nothing but its arguments"
            )


def _join_terms(maps: Sequence[LabelledMap], n: int, offsets: Positions, total: int) -> LabelledMap:
    """Terms of chunks as a term of all scenarios; a term without scenarios is the same in every chunk."""
    if SCENARIO not in maps[0].template.dims:
        matrix = maps[0].matrix
        return LabelledMap(_shifted(matrix, n, 0, total), maps[0].constant, maps[0].template)
    rows = [_shifted(own.matrix, n, int(offset), total) for own, offset in zip(maps, offsets[:-1], strict=True)]
    template = xr.concat([own.template for own in maps], dim=SCENARIO, join="exact")
    return LabelledMap(sp.csr_array(sp.vstack(rows)), np.concatenate([own.constant for own in maps]), template)


def _shifted(matrix: sp.csr_array, n: int, offset: int, total: int) -> sp.csr_array:
    """The same rows over all columns: those of the recourse stand ``offset`` further right."""
    entries = matrix.tocoo()
    column = np.where(entries.col < n, entries.col, entries.col + offset)
    return sp.csr_array(sp.coo_array((entries.data, (entries.row, column)), shape=(matrix.shape[0], total)))


class _Store:
    """Arrays by content, so that equal ones are one object."""

    def __init__(self) -> None:
        self._arrays: dict[tuple[str, bytes], npt.NDArray[Any]] = {}

    def shared(self, own: Scenario) -> Scenario:
        return Scenario(**{name: self._one(value) for name, value in vars(own).items()})

    def _one(self, value: Any) -> Any:
        if isinstance(value, sp.csr_array):
            parts = (self._one(value.data), self._one(value.indices), self._one(value.indptr))
            return sp.csr_array(parts, shape=value.shape, copy=False)
        if isinstance(value, np.ndarray):
            digest = hashlib.blake2b(np.ascontiguousarray(value).tobytes(), digest_size=16).digest()
            return self._arrays.setdefault((value.dtype.str, digest), value)
        return value
