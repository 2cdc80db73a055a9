"""Checks of labelled data at the border: units, dimensions, labels, signs and missing values.

Units are checked where data enter and written where results leave; between the two, arithmetic is on plain
numbers, because xarray keeps the attributes of its left operand (``MW * MW`` would stay ``MW``).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from drofcm.core.errors import Finding, quoted, shorten, suggest
from drofcm.core.limits import LARGEST, LARGEST_ANY

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["Quantity", "check_quantities", "labels_where"]


@dataclass(frozen=True)
class Quantity:
    """What one variable of a labelled Dataset must be.

    Attributes
    ----------
    unit
        The unit that ``attrs["units"]`` must state; ``"1"`` for shares, flags and factors.
    dims
        Dimensions that the variable must have (order is free).
    description
        One line for people.
    symbol
        The symbol of the paper, if it has one.
    optional_dims
        Dimensions that it may have besides.
    lower, upper
        Closed range of legal values; ``above`` makes the lower end open.
    integer
        Whether only whole numbers are legal.
    required
        Whether the variable may be left out.
    infinite
        Whether infinity passes here, because a rule of its own has more to say about it.
    """

    unit: str
    dims: tuple[str, ...]
    description: str
    symbol: str = ""
    optional_dims: tuple[str, ...] = ()
    lower: float = -np.inf
    upper: float = np.inf
    above: bool = False
    integer: bool = False
    required: bool = True
    infinite: bool = False

    @property
    def largest(self) -> float:
        """Size beyond which a value is taken for a slip; without end where the range says itself what is too much."""
        return LARGEST.get(self.unit, LARGEST_ANY) if self.upper == np.inf else np.inf

    def refusal(self, value: float) -> str:
        """Why one value is refused, as ``must be at least 0 MW``; empty if it is legal."""
        if value < self.lower or (self.above and value <= self.lower):
            return f"must be {'above' if self.above else 'at least'} {self.lower:g} {self.unit}"
        if value > self.upper:
            return f"must be at most {self.upper:g} {self.unit}"
        if abs(value) > self.largest:
            return f"is taken for a slip, at most {self.largest:g} {self.unit} are believed"
        if self.integer and value != round(value):
            return "must be a whole number"
        return ""


def labels_where(mask: xr.DataArray, most: int = 3) -> str:
    """The labels of the first entries at which ``mask`` holds, as ``scenario=3, node='24'; ...``."""
    positions = np.argwhere(mask.values)
    texts = []
    for position in positions[:most]:
        labels = (f"{dim}={mask[dim].values[index]!s}" for dim, index in zip(mask.dims, position, strict=True))
        texts.append(", ".join(labels) or "the value")
    left = len(positions) - len(texts)
    return "; ".join(texts) + (f" and {left} more" if left > 0 else "")


def check_quantities(data: xr.Dataset, table: Mapping[str, Quantity], where: str = "data") -> list[Finding]:
    """Check a Dataset against a table of quantities; return every finding.

    Parameters
    ----------
    data
        The labelled data.
    table
        What each variable must be; variables that the table does not know are findings too.
    where
        How the data are called in messages.
    """
    findings = [
        Finding(f"{where}[{name!r}]", "unknown variable", suggest(str(name), table))
        for name in data.data_vars
        if name not in table
    ]
    for dim in data.dims:
        index = data.indexes.get(dim)
        if index is None:
            findings.append(Finding(f"{where}[{dim!r}]", "dimension has no labels", f"assign_coords({dim}=...)"))
        elif not index.is_unique:
            twice = index[index.duplicated()].unique()
            findings.append(
                Finding(f"{where}[{dim!r}]", f"duplicate labels: {shorten(twice)}", "labels must be unique")
            )
    for name, quantity in table.items():
        if name in data.data_vars:
            findings += _check_one(data[name], quantity, f"{where}[{name!r}]")
        elif quantity.required:
            dims = ", ".join(quantity.dims) or "scalar"
            findings.append(
                Finding(f"{where}[{name!r}]", f"missing: {quantity.description} [{quantity.unit}] over ({dims})")
            )
    return findings


def _check_one(array: xr.DataArray, quantity: Quantity, where: str) -> Iterator[Finding]:
    unit = array.attrs.get("units")
    # an attribute of a file may be an array, which compares element by element
    if not isinstance(unit, str) or unit != quantity.unit:
        stated = "no unit is stated" if unit is None else f"unit is {quoted(unit)}"
        yield Finding(
            where,
            f"{stated}, {quantity.unit!r} is needed",
            f"convert the values and set attrs['units'] = {quantity.unit!r}; nothing is converted silently",
        )
    missing = [dim for dim in quantity.dims if dim not in array.dims]
    surplus = [str(dim) for dim in array.dims if dim not in quantity.dims + quantity.optional_dims]
    if missing:
        yield Finding(where, f"dimension {shorten(missing)} is missing", f"has ({shorten(array.dims)})")
    if surplus:
        allowed = quantity.dims + quantity.optional_dims
        yield Finding(where, f"dimension {shorten(surplus)} does not belong", f"allowed: ({shorten(allowed)})")
    if array.dtype.kind not in "biuf":
        yield Finding(where, f"values are not numbers (dtype {array.dtype})")
        return
    bad = array.isnull()
    if bad.any():
        yield Finding(where, f"NaN at {labels_where(bad)}", "fill in the missing figures")
    endless = abs(array) == np.inf
    if endless.any() and not quantity.infinite:
        yield Finding(where, f"infinite at {labels_where(endless)}", "give a figure")
    astray = (abs(array) > quantity.largest) & ~endless
    if astray.any():
        yield Finding(
            where,
            f"{float(abs(array).where(astray).max()):g} {quantity.unit} at {labels_where(astray)} is taken for a slip, "
            f"at most {quantity.largest:g} is believed",
            "are the values in another unit?",
        )
    too_low = array <= quantity.lower if quantity.above else array < quantity.lower
    if too_low.any():
        relation = "above" if quantity.above else "at least"
        yield Finding(
            where,
            f"must be {relation} {quantity.lower:g} {quantity.unit}, "
            f"is {float(array.where(too_low).min()):g} at {labels_where(too_low)}",
        )
    too_high = array > quantity.upper
    if too_high.any():
        yield Finding(
            where,
            f"must be at most {quantity.upper:g} {quantity.unit}, "
            f"is {float(array.where(too_high).max()):g} at {labels_where(too_high)}",
        )
    if quantity.integer:
        broken = array.notnull() & (array != np.round(array))
        if broken.any():
            yield Finding(where, f"must be whole numbers, is not at {labels_where(broken)}")
