"""Datasets as netCDF can hold them, and back: labels of any kind, names with a slash."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Final
from urllib.parse import quote, unquote

import numpy as np
import pandas as pd
import xarray as xr

__all__ = ["restored", "storable"]

_KIND: Final = "drofcm_labels"
_NAMES: Final = "drofcm_names"


def storable(data: xr.Dataset) -> xr.Dataset:
    """The same data with labels and names that netCDF can hold; `restored` gives back what was there.

    Months, intervals, times with a zone and labels of several types are written as text that says what they were. A
    label of another type is written as what it prints.
    """
    # categories are labels like any other, and come back as such
    whole = {dim: index.astype(index.categories.dtype) for dim, index in data.indexes.items() if _is_category(index)}
    data = data.assign_coords({dim: (dim, index) for dim, index in whole.items()})
    labels = {dim: _plain(index) for dim, index in data.indexes.items() if _is_strange(index)}
    kept = data
    for dim, (kind, values) in labels.items():
        kept = kept.assign_coords({dim: (dim, values, {_KIND: json.dumps(kind)})})
    strange = {str(name): quote(str(name), safe=" ") for name in {*kept.variables, *kept.dims} if "/" in str(name)}
    if strange:
        kept = kept.rename(strange).assign_attrs({_NAMES: json.dumps(sorted(strange.values()))})
    return kept


def restored(data: xr.Dataset) -> xr.Dataset:
    """What `storable` was given."""
    names = json.loads(data.attrs.get(_NAMES, "[]"))
    if names:
        attrs = {key: value for key, value in data.attrs.items() if key != _NAMES}
        data = data.rename({name: unquote(name) for name in names}).assign_attrs(attrs)
        data.attrs.pop(_NAMES, None)
    for dim in list(data.indexes):
        kind = data[dim].attrs.get(_KIND)
        if kind is not None:
            data = data.assign_coords({dim: _index(json.loads(kind), data[dim].values.tolist())})
    return data


def _is_category(index: pd.Index[Any]) -> bool:
    return isinstance(index.dtype, pd.CategoricalDtype)


def _is_strange(index: pd.Index[Any]) -> bool:
    if isinstance(index, pd.PeriodIndex | pd.IntervalIndex) or isinstance(index.dtype, pd.DatetimeTZDtype):
        return True
    return index.dtype == object and not all(isinstance(label, str) for label in index)


def _plain(index: pd.Index[Any]) -> tuple[dict[str, Any], list[str]]:
    """What the labels are, and each as text."""
    if isinstance(index, pd.IntervalIndex):
        pairs = zip(_texts(index.left), _texts(index.right), strict=True)
        return {"closed": index.closed, "of": str(index.left.dtype)}, [json.dumps(pair) for pair in pairs]
    if index.dtype == object:
        return {"of": None}, [json.dumps(_simple(label)) for label in index]
    return {"of": str(index.dtype)}, _texts(index)


def _texts(index: pd.Index[Any]) -> list[str]:
    return [str(label) for label in index]


def _simple(label: Any) -> Any:
    label = label.item() if isinstance(label, np.generic) else label
    return label if isinstance(label, str | int | float | bool) else str(label)


def _index(kind: dict[str, Any], texts: list[str]) -> pd.Index[Any]:
    found: pd.Index[Any]
    if kind["of"] is None:
        found = pd.Index([json.loads(text) for text in texts], dtype=object)
    elif "closed" in kind:
        left, right = (_labels(side, kind["of"]) for side in zip(*map(json.loads, texts), strict=True))
        found = pd.IntervalIndex.from_arrays(left, right, closed=kind["closed"])
    else:
        found = pd.Index(_labels(texts, kind["of"]))
    return found


def _labels(texts: Sequence[str], of: Any) -> Any:
    return pd.Series(list(texts), dtype=object).astype(of).array
