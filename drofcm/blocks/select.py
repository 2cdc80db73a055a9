"""Some of the scenarios of a program that is assembled already, or their mean in place of all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
import xarray as xr

from drofcm.blocks.form import LabelledMap, Scenario, TwoStageBlocks
from drofcm.core.dims import SCENARIO
from drofcm.core.errors import Finding, InputError, shorten

__all__ = ["mean_scenario", "select"]

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


def mean_scenario(blocks: TwoStageBlocks) -> TwoStageBlocks:
    """The program whose one scenario is the mean of all, number by number, under the nominal probabilities.

    Raises
    ------
    InputError
        If scenarios differ in their columns, rows, integer columns, or in which bounds are infinite: there is no mean
        of what one scenario has and another has not.
    """
    weights = blocks.probability.values
    first = blocks.scenarios[0]
    differ = [
        str(label)
        for label, own in zip(blocks.probability[SCENARIO].values, blocks.scenarios, strict=True)
        if not _alike(first, own)
    ]
    if differ:
        what = f"{shorten(differ)} differ from the first in columns, rows, integers or infinite bounds"
        raise InputError([Finding("scenarios", what, "give mean=, the program of the mean scenario")])
    names = [own.name for own in fields(Scenario) if own.name != "integer"]
    mean = {name: _mean([getattr(own, name) for own in blocks.scenarios], weights) for name in names}
    alone = select(blocks, [0], blocks.probability.isel({SCENARIO: [0]}).copy(data=[1.0]))
    return replace(alone, scenarios=(replace(first, **mean),), terms={})


def _alike(one: Scenario, other: Scenario) -> bool:
    bounds = ("row_lower", "row_upper", "lower", "upper")
    return (
        one.recourse.shape == other.recourse.shape
        and np.array_equal(one.integer, other.integer)
        and all(np.array_equal(np.isinf(getattr(one, name)), np.isinf(getattr(other, name))) for name in bounds)
    )


def _mean(values: Sequence[Any], weights: npt.NDArray[np.float64]) -> Any:
    if sp.issparse(values[0]):
        return sp.csr_array(sum(weight * value for weight, value in zip(weights, values, strict=True)))
    if np.isscalar(values[0]):
        return float(np.dot(weights, values))
    # weights may be zero and bounds infinite
    mean = weights @ np.where(np.isinf(values), 0, values)
    return np.where(np.isinf(values[0]), values[0], mean)


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
