"""Some of the scenarios of a program that is assembled already: cross-validation, batches and single scenarios."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
import xarray as xr

from drofcm.blocks.form import LabelledMap, TwoStageBlocks
from drofcm.core.dims import SCENARIO

__all__ = ["select"]

Positions = npt.NDArray[np.int64]


def select(blocks: TwoStageBlocks, scenarios: Sequence[int], probability: xr.DataArray) -> TwoStageBlocks:
    """The blocks of some scenarios; matrices are shared with the blocks they come from.

    Parameters
    ----------
    blocks
        The program.
    scenarios
        Positions of the scenarios to keep, each once, in the order wanted.
    probability
        Their probabilities, (scenario).
    """
    keep = np.asarray(scenarios, dtype=np.int64)
    n = len(blocks.first_stage.cost)
    old = _begins(n, [len(own.cost) for own in blocks.scenarios])
    new = _begins(n, [len(blocks.scenarios[number].cost) for number in keep])
    columns = np.concatenate([np.arange(n), *(np.arange(old[k], old[k + 1]) for k in keep)]).astype(np.int64)
    variables = {
        name: at if name in blocks.first_stage_names else _moved(at, keep, new[:-1] - old[keep])
        for name, at in blocks.variables.items()
    }
    return TwoStageBlocks(
        first_stage=blocks.first_stage,
        scenarios=tuple(blocks.scenarios[number] for number in keep),
        probability=probability,
        variables=variables,
        first_stage_names=blocks.first_stage_names,
        terms={name: _some(term, keep, columns) for name, term in blocks.terms.items()},
        first_stage_rows=blocks.first_stage_rows,
    )


def _begins(n: int, widths: Sequence[int]) -> Positions:
    return n + np.concatenate([[0], np.cumsum(widths)]).astype(np.int64)


def _moved(at: xr.DataArray, keep: Positions, by: Positions) -> xr.DataArray:
    own = at.isel({SCENARIO: keep})
    shift = by.reshape(-1, *(1,) * (own.ndim - 1))
    return own.copy(data=np.where(own.values < 0, -1, own.values + shift))


def _some(term: LabelledMap, keep: Positions, columns: Positions) -> LabelledMap:
    if SCENARIO not in term.template.dims:
        return LabelledMap(sp.csr_array(term.matrix[:, columns]), term.constant, term.template)
    template = term.template.isel({SCENARIO: keep})
    entries = np.arange(term.template.size).reshape(term.template.sizes[SCENARIO], -1)[keep].ravel()
    matrix = sp.csr_array(term.matrix[entries][:, columns])
    return LabelledMap(matrix, term.constant[entries], template)
