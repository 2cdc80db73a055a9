"""What may meet a variable: numbers, and arrays that carry their labels.

linopy pairs lists, numpy arrays and pandas objects without names with the dimension of the same length: by position,
whatever their labels say. Here labels decide, so such operands are refused, and so are labels that differ, missing
values, and what is no number.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Mapping
from typing import Any

import linopy
import numpy as np
import pandas as pd
import xarray as xr
from linopy.expressions import BaseExpression, ScalarLinearExpression
from linopy.variables import ScalarVariable

from drofcm.core.errors import labels_of, suggest
from drofcm.core.labels import clash
from drofcm.core.units import labels_where

__all__ = ["aligned", "indexes_of", "labelled", "operand", "stray_coordinates", "variables_in"]

Indexes = Mapping[Any, pd.Index]

_LINOPY = (linopy.Variable, BaseExpression)
_SCALARS = (ScalarVariable, ScalarLinearExpression)
_FIX = "select (.sel) or reindex explicitly"


def operand(
    value: Any, ours: Indexes, whose: Callable[[], str], model: linopy.Model, known: Collection[Hashable]
) -> Any:
    """``value`` as something that meets variables by its labels.

    Parameters
    ----------
    value
        What stands on the other side of an operator.
    ours
        Labels of the expression it meets.
    whose
        How that expression is called in messages.
    model
        The model of the expression.
    known
        Dimensions of the data.

    Returns
    -------
    Any
        A number, an object of linopy, or an array without coordinates that label no dimension.

    Raises
    ------
    ValueError
        If it would be matched by position, its labels differ, or it holds something that is no number.
    """
    if isinstance(value, _LINOPY):
        if value.model is not model:
            raise ValueError(f"{_name(value)} belongs to another linopy.Model than {whose()}: they cannot be mixed")
        _same_labels(value.indexes, ours, _name(value), whose)
        return value
    if isinstance(value, _SCALARS) or value is None:
        return value
    if isinstance(value, np.ndarray) and value.ndim == 0:
        value = value.item()
    if isinstance(value, bool | int | float | np.number | np.bool_):
        if np.isnan(value):
            raise ValueError(f"NaN meets {whose()}: a missing value is never zero by default")
        return value
    array = aligned(value, ours, whose, known)
    if not isinstance(array, xr.DataArray):
        return array
    what = _what(array)
    if array.dtype.kind == "O":
        array = _numbers(array, what)
    if array.dtype.kind not in "biuf":
        raise ValueError(f"{what} that meets {whose()} holds no numbers (dtype {array.dtype})")
    missing = np.isnan(array.values)
    if missing.any():
        at = labels_where(array.copy(data=missing))
        raise ValueError(f"{what} that meets {whose()} is NaN at {at}: a missing value is never zero by default")
    return array


def aligned(value: Any, ours: Indexes, whose: Callable[[], str], known: Collection[Hashable]) -> Any:
    """As `labelled`, and its labels are those of the expression it meets."""
    array = labelled(value, ours, whose, known)
    if isinstance(array, xr.DataArray):
        _same_labels(array.indexes, ours, _what(array), whose)
    return array


def labelled(value: Any, ours: Indexes, whose: Callable[[], str], known: Collection[Hashable]) -> Any:
    """An array with a label for every entry and nothing besides; what is no array comes back as it is."""
    if isinstance(value, xr.Dataset):
        raise ValueError(
            f"a Dataset meets {whose()}: choose one of its variables ({suggest('', map(str, value.data_vars))})"
        )
    if isinstance(value, pd.Series | pd.DataFrame):
        value = _from_pandas(value, ours, whose, known)
    elif not isinstance(value, xr.DataArray) and not isinstance(value, str) and hasattr(value, "__len__"):
        kind, dims = type(value).__name__, ", ".join(f"{dim!r}" for dim in ours)
        raise ValueError(
            f"{_article(kind)} of {len(value)} values would meet {whose()} by position, for it has no labels. Give it "
            f"labels, over {dims or 'dimensions of the data'}: xr.DataArray(values, coords={{dimension: labels}})"
        )
    if not isinstance(value, xr.DataArray):
        return value
    what = _what(value)
    for dim in value.dims:
        if dim not in value.indexes:
            raise ValueError(
                f"{what} that meets {whose()} has no labels along {dim!r} and would be matched by position: "
                f"use assign_coords({dim}=labels)"
            )
        _check_index(value.indexes[dim], f"{what}: dimension {dim!r}")
    return value.drop_vars(stray_coordinates(value, {*ours, *known}))


def indexes_of(thing: Any) -> Indexes:
    """Labels of an expression by its dimensions."""
    dims = thing.coord_dims if hasattr(thing, "coord_dims") else thing.dims
    return {dim: thing.indexes[dim] for dim in dims if dim in thing.indexes}


def stray_coordinates(array: Any, known: Collection[Hashable]) -> list[Hashable]:
    """What a selection leaves behind: its label, or the labels of a dimension that is gone. No value depends on it."""
    names = [name for name in array.coords if name not in array.dims]
    return [name for name in names if array.coords[name].ndim == 0 or name in known]


def _check_index(index: pd.Index, what: str) -> None:
    if isinstance(index, pd.MultiIndex):
        raise ValueError(f"{what} is stacked (a MultiIndex): unstack it, a label must be one value")
    if not index.is_unique:
        raise ValueError(f"{what} has labels that are not unique: {labels_of(index[index.duplicated()].unique())}")


def _same_labels(theirs: Indexes, ours: Indexes, what: str, whose: Callable[[], str]) -> None:
    for dim, index in theirs.items():
        if dim in ours and index is not ours[dim] and not index.equals(ours[dim]):
            raise ValueError(
                f"labels of {dim!r} do not match: {clash(ours[dim], index)} ({what} meets {whose()}); {_FIX}"
            )


def _what(array: xr.DataArray) -> str:
    return f"array {array.name!r}" if array.name is not None else "an array"


def _numbers(array: xr.DataArray, what: str) -> xr.DataArray:
    if not all(isinstance(entry, bool | int | float | np.number) for entry in array.values.ravel()):
        raise ValueError(f"{what} holds no numbers (dtype object)")
    return array.astype(float)


def _from_pandas(
    value: pd.Series | pd.DataFrame, ours: Indexes, whose: Callable[[], str], known: Collection[Hashable]
) -> xr.DataArray:
    axes = [value.index] if isinstance(value, pd.Series) else [value.index, value.columns]
    kind = type(value).__name__
    names = [name for axis in axes for name in axis.names]
    if any(name is None for name in names):
        unnamed = next(axis for axis in axes if None in axis.names)
        near = next((dim for dim, index in ours.items() if set(unnamed) & set(index)), None)
        raise ValueError(
            f"a pandas {kind} whose {'index' if unnamed is axes[0] else 'columns'} has no name would meet {whose()} by "
            f"position, whatever its labels are: name the dimension, .rename_axis({near or 'dimension'!r})"
        )
    stray = [name for name in names if name not in ours and name not in known]
    if stray:
        raise ValueError(
            f"a pandas {kind} over {labels_of(stray)} meets {whose()}, and the data have no such dimension "
            f"({suggest(str(stray[0]), map(str, {*ours, *known}))}): name its index after the dimension"
        )
    for axis in axes:
        if not axis.is_unique:
            raise ValueError(
                f"a pandas {kind} that meets {whose()} repeats labels: {labels_of(axis[axis.duplicated()].unique())}"
            )
    if isinstance(value, pd.DataFrame):
        if any(isinstance(axis, pd.MultiIndex) for axis in axes):
            raise ValueError(f"a pandas {kind} with stacked axes meets {whose()}: use .stack().to_xarray()")
        return xr.DataArray(value)
    array: xr.DataArray = value.to_xarray()
    return array


def _name(thing: Any) -> str:
    if isinstance(thing, linopy.Variable):
        return repr(thing.name)
    return f"an expression of {variables_in(thing)}"


def variables_in(expression: Any) -> str:
    """The names of the variables of an expression, for messages."""
    if isinstance(expression, linopy.Variable):
        return repr(expression.name)
    labels = np.unique(expression.data["vars"].values)
    names = sorted(
        name
        for name, variable in expression.model.variables.items()
        if np.isin(variable.labels.values, labels[labels >= 0]).any()
    )
    return ", ".join(repr(name) for name in names) or "constants"


def _article(kind: str) -> str:
    kind = {"ndarray": "numpy array"}.get(kind, kind)
    return f"an {kind}" if kind[0] in "aeiouAEIOU" else f"a {kind}"
