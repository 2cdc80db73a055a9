"""Data and names of a program, checked when it is made.

Names and labels come back in results and files, and linopy and xarray use some of them for themselves. What would fail
or be mixed up later is told here, all of it at once.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterator
from typing import Any, Final

import pandas as pd
import xarray as xr

from drofcm.core.dims import SCENARIO
from drofcm.core.errors import ModelError
from drofcm.core.labels import index_fault, name_fault

__all__ = ["RESERVED_ROWS", "RESERVED_VARIABLES", "check_name", "checked_data"]

RESERVED_VARIABLES: Final = frozenset({"objective_constant", "risk_cost", "risk_auxiliary"})
"""Variables that the extensive form adds."""

RESERVED_ROWS: Final = frozenset({"risk_cost", "risk_rows"})
"""Rows that the extensive form adds."""

_FIELDS: Final = frozenset({"coeffs", "const", "labels", "lower", "rhs", "scaling", "sign", "upper", "vars"})
"""What linopy keeps beside the dimensions of a variable, expression or row."""


def check_name(kind: str, name: Any, dimensions: Collection[Hashable], reserved: Collection[str] = frozenset()) -> None:
    """Refuse a name of a variable, row or term that would be lost in a result.

    Raises
    ------
    ModelError
        Naming it.
    """
    fault = name_fault(name)
    if fault:
        raise ModelError(f"{kind} {name!r}: the name {fault}")
    if name in dimensions:
        raise ModelError(
            f"{kind} {name!r} has the name of a dimension: its values would take the place of the labels; rename it"
        )
    if name in reserved:
        raise ModelError(f"{kind} {name!r}: drofcm adds a {kind} of that name itself; rename it")


def checked_data(data: Any) -> xr.Dataset:
    """The data in memory, or an error with everything that is wrong with their names, dimensions and labels.

    Raises
    ------
    ModelError
        With every finding.
    """
    if not isinstance(data, xr.Dataset):
        hint = {
            pd.DataFrame: ": frame.rename_axis('dimension').to_xarray() makes one of a table",
            pd.Series: ": series.rename_axis('dimension').to_xarray().to_dataset(name=...) makes one",
            xr.DataArray: ": array.to_dataset(name=...) makes one",
        }.get(type(data), "")
        raise ModelError(f"the data of a program: an xarray.Dataset is needed, got {type(data).__name__}{hint}")
    if SCENARIO not in data.dims or SCENARIO not in data.indexes:
        raise ModelError(
            f"the data need a {SCENARIO!r} dimension with labels (assign_coords); one scenario if all is certain"
        )
    findings = [*_dimensions(data), *_variables(data)]
    if findings:
        if len(findings) == 1:
            raise ModelError(f"the data of the program: {findings[0]}")
        raise ModelError("\n  ".join([f"{len(findings)} faults of the program's data:", *findings]))
    # what is opened lazily or in chunks would be read again for every expression, or after its file is closed
    return data.compute()


def _dimensions(data: xr.Dataset) -> Iterator[str]:
    for dim, size in data.sizes.items():
        fault = name_fault(dim)
        if fault:
            yield f"dimension {dim!r}: the name {fault}; rename it"
            continue
        if dim in _FIELDS or str(dim).startswith("_"):
            yield (
                f"a dimension cannot be called {dim!r}: linopy keeps something of its own under that name; "
                f"rename it, data.rename({{{dim!r}: ...}})"
            )
        if size == 0:
            what = "there is no scenario" if dim == SCENARIO else "it has no labels"
            yield f"dimension {dim!r} is empty: {what}"
        elif dim in data.indexes:
            found = index_fault(data.indexes[dim])
            if found:
                yield f"dimension {dim!r} {found[0]} ({found[1].replace('dim', repr(str(dim)))})"


def _variables(data: xr.Dataset) -> Iterator[str]:
    levels = {level for index in data.indexes.values() if isinstance(index, pd.MultiIndex) for level in index.names}
    for name in data.variables:
        if name in levels:
            continue
        if name not in data.dims and not isinstance(name, str):
            yield f"variable {name!r}: the name is no text but {type(name).__name__}; rename it"
        elif isinstance(name, str) and hasattr(xr.Dataset, name):
            yield (
                f"{name!r} is hidden: data.{name} is a method or attribute of every xarray.Dataset, not this variable; "
                f"rename it, data.rename({{{name!r}: {name + '_of'!r}}}) for example"
            )
