"""Labels of dimensions: what may be one, how two sets of them clash, and how a file holds them.

netCDF knows numbers, text and times without a zone. Other labels (times with a zone, months, intervals, text among
numbers) are written as text, with an attribute that leads back.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Hashable
from datetime import date
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, unquote

import numpy as np
import pandas as pd

from drofcm.core.errors import labels_of, text_of

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["clash", "from_file", "index_fault", "name_fault", "to_file"]

_KIND: Final = "drofcm_labels"

_PLAIN_NAME: Final = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_ .+-]*[A-Za-z0-9_.+-])?")
"""Names that every reader of netCDF takes; others are quoted as in an address (build/MW: _%build%2FMW)."""

_QUOTED: Final = "_%"


def name_fault(name: Any) -> str:
    """What keeps ``name`` from naming a variable, row or dimension; empty if nothing does."""
    if not isinstance(name, str):
        return f"is no text but {type(name).__name__}"
    if not name.strip():
        return "is empty"
    return "" if name.isprintable() else "holds characters that cannot be printed"


def index_fault(index: pd.Index) -> tuple[str, str] | None:
    """What keeps an index from labelling a dimension, and what to do about it."""
    if isinstance(index, pd.MultiIndex):
        levels = [str(name) for name in index.names]
        return (
            f"is stacked from {labels_of(levels)} (a MultiIndex), and a label must be one value",
            "flatten it: data.reset_index(dim).assign_coords({dim: labels}), with one text or number for each entry",
        )
    missing = np.asarray(index.isna())
    if missing.any():
        return f"has {int(missing.sum())} missing labels (NaN, NaT or None)", "give every entry a label"
    if not index.is_unique:
        twice = index[index.duplicated()].unique()
        return f"has labels that are not unique: {labels_of(twice)}", "give every entry a label of its own"
    try:
        _encoded(index)
    except TypeError as error:
        return f"has labels that no file can hold: {error}", "use text, numbers, times, months or intervals"
    return None


def clash(ours: Collection[Hashable], theirs: Collection[Hashable]) -> str:
    """How labels differ, for messages: those that are missing, those that are unknown, or their order or kind."""
    # as text says what equals what on paper, so that '1' against 1 is told
    missing = [label for label in ours if label not in set(theirs)]
    unknown = [label for label in theirs if label not in set(ours)]
    if not missing and not unknown:
        if len(ours) == len(theirs):
            return f"{labels_of(theirs)} are the labels {labels_of(ours)} in another order"
        return f"{labels_of(theirs)} repeat labels"
    if [str(label) for label in ours] == [str(label) for label in theirs]:
        return f"{labels_of(theirs)} ({_kinds(theirs)}) against {labels_of(ours)} ({_kinds(ours)})"
    parts = [f"{labels_of(theirs)} against {labels_of(ours)}"]
    if missing:
        parts.append(f"{labels_of(missing)} missing")
    if unknown:
        parts.append(f"{labels_of(unknown)} unknown")
    return "; ".join(parts)


def _kinds(labels: Collection[Hashable]) -> str:
    kinds = {
        "text" if isinstance(label, str) else "numbers" if isinstance(label, int | float | np.number) else "other"
        for label in labels
    }
    return " and ".join(sorted(kinds))


def to_file(data: xr.Dataset) -> xr.Dataset:
    """The same Dataset with names and labels that netCDF holds; `from_file` leads back."""
    for dim in [dim for dim in data.dims if dim in data.indexes]:
        values, said = _encoded(data.indexes[dim])
        if said or not isinstance(data.indexes[dim].dtype, np.dtype):
            data = data.assign_coords({dim: (dim, values, {_KIND: json.dumps(said)} if said else {})})
    return _renamed(data, lambda name: name if _PLAIN_NAME.fullmatch(name) else _QUOTED + quote(name, safe=""))


def from_file(data: xr.Dataset) -> xr.Dataset:
    """What `to_file` was given."""
    data = _renamed(data, lambda name: unquote(name.removeprefix(_QUOTED)) if name.startswith(_QUOTED) else name)
    for dim in [dim for dim in data.dims if dim in data.indexes]:
        said = data[dim].attrs.get(_KIND)
        if said is not None:
            data = data.assign_coords({dim: _decoded(data.indexes[dim], json.loads(said)).rename(dim)})
    return data


def _renamed(data: xr.Dataset, new: Any) -> xr.Dataset:
    names = {name: new(str(name)) for name in (*data.variables, *data.dims)}
    return data.rename({name: other for name, other in names.items() if name != other})


def _encoded(index: pd.Index) -> tuple[Any, dict[str, Any]]:
    """Values that netCDF holds, and how to come back from them; nothing said where they are the labels themselves."""
    if isinstance(index, pd.IntervalIndex):
        left, right = _encoded(index.left), _encoded(index.right)
        pairs = zip(np.asarray(left[0]).tolist(), np.asarray(right[0]).tolist(), strict=True)
        said: dict[str, Any] = {"kind": "interval", "closed": index.closed, "left": left[1], "right": right[1]}
        return [json.dumps(pair) for pair in pairs], said
    if isinstance(index, pd.PeriodIndex):
        return [str(label) for label in index], {"kind": "period", "freq": index.freqstr}
    if isinstance(index, pd.DatetimeIndex):
        said = {"kind": "datetime", "zone": None if index.tz is None else str(index.tz), "unit": index.unit}
        return index.asi8, said
    if isinstance(index, pd.TimedeltaIndex):
        return index.asi8, {"kind": "timedelta", "unit": index.unit}
    if isinstance(index, pd.CategoricalIndex):
        return _encoded(pd.Index(index.tolist()))
    if isinstance(index.dtype, np.dtype) and index.dtype.kind in "iuf":
        return index.to_numpy(), {}
    labels = index.tolist()
    if all(isinstance(label, str) and label.isprintable() for label in labels):
        return np.array(labels, dtype=object), {}
    return [json.dumps(_plain(label)) for label in labels], {"kind": "mixed"}


def _plain(label: Any) -> Any:
    if isinstance(label, np.generic):
        label = label.item()
    if isinstance(label, pd.Timestamp) or type(label) is date:
        return {type(label).__name__: label.isoformat()}
    if isinstance(label, bool | int | float | str):
        return label
    raise TypeError(f"{text_of(label)} is of type {type(label).__name__}")


def _decoded(values: pd.Index, said: dict[str, Any]) -> Any:
    kind = said.get("kind")
    if kind == "interval":
        pairs = [json.loads(pair) for pair in values]
        left, right = (
            _decoded(pd.Index([pair[side] for pair in pairs]), said[name])
            for side, name in enumerate(("left", "right"))
        )
        return pd.IntervalIndex.from_arrays(left, right, closed=said["closed"])
    if kind == "period":
        return pd.PeriodIndex(values, freq=said["freq"])
    if kind == "datetime":
        plain = pd.DatetimeIndex(values.to_numpy(dtype=np.int64).view(f"datetime64[{said['unit']}]"))
        if said["zone"] is None:
            return plain
        return pd.DatetimeIndex(plain.tz_localize("UTC").tz_convert(said["zone"]))
    if kind == "timedelta":
        return pd.TimedeltaIndex(values.to_numpy(dtype=np.int64).view(f"timedelta64[{said['unit']}]"))
    if kind == "mixed":
        return pd.Index([_label(json.loads(value)) for value in values], dtype=object)
    return values


def _label(value: Any) -> Any:
    if isinstance(value, dict):
        ((kind, text),) = value.items()
        return pd.Timestamp(text) if kind == "Timestamp" else date.fromisoformat(text)
    return value
