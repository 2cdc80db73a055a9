"""Data folders: finding them, checking them against their descriptor, and reading them as labelled tables.

Every folder below ``datasets`` and ``geo`` is a Frictionless Data Package: tables in open formats beside a
``datapackage.yaml`` that names source, licence, sha256 and the columns with their units. Nothing is read from a
folder whose files differ from that descriptor, and no unit is converted silently.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final, Literal, TypeAlias

import numpy as np
import pydantic
import xarray as xr

from drofcm.core.datapackage import (
    DESCRIPTOR,
    DataPackage,
    Resource,
    dotted,
    plain,
    read_datapackage,
    read_descriptor,
    verify_datapackage,
    verify_files,
)
from drofcm.core.dims import DEMAND_SHOCK_DATA
from drofcm.core.errors import Finding, InputError, raise_if_any, shorten, suggest
from drofcm.core.trace import Between, read_trace
from drofcm.core.units import Quantity

__all__ = [
    "CATALOGUE",
    "FEEDER_BUSES",
    "FEEDER_LINES",
    "DataPackage",
    "find_dataset",
    "load_catalogue",
    "load_feeder",
    "load_trace",
    "read_datapackage",
    "verify_datapackage",
]

Kind: TypeAlias = Literal["feeder", "catalogue", "trace", "area"]

FOLDERS: Final[dict[str, str]] = {
    "feeder": "datasets/feeders",
    "catalogue": "datasets/catalogue",
    "trace": "datasets/traces",
    "area": "geo",
}

FEEDER_BUSES: Final = {name: DEMAND_SHOCK_DATA[name] for name in ("base_load", "base_reactive")}
"""Quantities of ``buses.csv``, over bus."""

FEEDER_LINES: Final = {
    "resistance": Quantity("ohm", ("line",), "series resistance of the line", "r_e", lower=0),
    "reactance": Quantity("ohm", ("line",), "series reactance of the line", "x_e", lower=0),
    "rating": DEMAND_SHOCK_DATA["rating"],
}
"""Quantities of ``lines.csv``, over line."""

CATALOGUE: Final = {name: quantity for name, quantity in DEMAND_SHOCK_DATA.items() if quantity.dims == ("fcm",)} | {
    "shortfall_penalty": Quantity("$/module", ("fcm",), "missing module", "P_l", lower=0)
}
"""Quantities of ``technologies.csv``, over fcm."""


def find_dataset(kind: Kind, name: str) -> Path:
    """The folder of a dataset that comes with drofcm.

    The data of an installed package are looked up first (``drofcm/_data``), then those of the checkout.

    Parameters
    ----------
    kind
        ``"feeder"``, ``"catalogue"``, ``"trace"`` or ``"area"``.
    name
        Name of the folder, for example ``"ieee33"``.

    Raises
    ------
    InputError
        If there is no such kind or dataset; the message proposes what exists.
    """
    if kind not in FOLDERS:
        raise InputError([Finding("find_dataset", f"unknown kind of dataset {kind!r}", suggest(kind, FOLDERS))])
    package = Path(__file__).resolve().parent
    shelves = [root / FOLDERS[kind] for root in (package / "_data", package.parent)]
    known = {
        folder.name: folder
        for shelf in reversed(shelves)
        if shelf.is_dir()
        for folder in shelf.iterdir()
        if (folder / DESCRIPTOR).is_file()
    }
    if name not in known:
        raise InputError([Finding(f"{kind} {name!r}", "no such dataset", suggest(name, known))])
    return known[name]


@dataclass(frozen=True)
class _Package:
    """A data folder under examination: its descriptor and everything found so far."""

    folder: Path
    package: DataPackage | None
    findings: list[Finding]

    @classmethod
    def open(cls, kind: Kind, name_or_folder: str | Path) -> _Package:
        is_folder = isinstance(name_or_folder, Path) or os.sep in name_or_folder
        folder = Path(name_or_folder) if is_folder else find_dataset(kind, str(name_or_folder))
        package, findings = read_descriptor(folder)
        if package is not None:
            findings += verify_files(folder, package)
        return cls(folder, package, findings)

    def table(self, name: str, texts: Sequence[str], quantities: Mapping[str, Quantity], dim: str) -> xr.Dataset:
        """Read resource ``name`` as a Dataset over ``dim``, whose labels are the first column of ``texts``."""
        resource = self._resource(name)
        if resource is None or resource.table is None or not (self.folder / resource.path).is_file():
            return xr.Dataset()
        described = {column.name: column for column in resource.table.fields_}
        wanted = [*texts, *quantities]
        path = self.folder / resource.path
        for column in wanted:
            if column not in described:
                self.findings.append(
                    Finding(f"{path}:1", f"column {column!r} is missing", f"needed: {shorten(wanted, 99)}")
                )
        for column, quantity in quantities.items():
            if column in described and described[column].unit != quantity.unit:
                self.findings.append(
                    Finding(
                        f"{self.folder / DESCRIPTOR}: resource {name!r}, column {column!r}",
                        f"unit is {described[column].unit!r}, {quantity.unit!r} is needed",
                        "convert the values and state the unit; nothing is converted silently",
                    )
                )
        rows = self._rows(path, _row_model(texts, quantities), texts[0])
        variables: dict[str, Any] = {
            column: (dim, np.array([getattr(row, column) for row in rows], dtype=str)) for column in texts[1:]
        }
        for column, quantity in quantities.items():
            dtype = np.int64 if quantity.integer else np.float64
            values = np.array([getattr(row, column) for row in rows], dtype=dtype)
            variables[column] = (dim, values, {"units": quantity.unit, "long_name": quantity.description})
        return xr.Dataset(variables, coords={dim: np.array([getattr(row, texts[0]) for row in rows], dtype=str)})

    def _resource(self, name: str) -> Resource | None:
        resources = {} if self.package is None else {resource.name: resource for resource in self.package.resources}
        if self.package is not None and name not in resources:
            where = str(self.folder / DESCRIPTOR)
            self.findings.append(Finding(where, f"resource {name!r} is missing", suggest(name, resources)))
        return resources.get(name)

    def _rows(self, path: Path, model: type[pydantic.BaseModel], key: str) -> list[Any]:
        """The rows that are sound; a finding with file, line and column for every cell that is not."""
        rows: list[Any] = []
        first_line: dict[str, int] = {}
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, restkey="")
            for cells in reader:
                line = reader.line_num
                if "" in cells or None in cells.values():
                    self.findings.append(Finding(f"{path}:{line}", "number of cells differs from the header"))
                    continue
                try:
                    rows.append(model.model_validate({name: cell.strip() for name, cell in cells.items()}))
                except pydantic.ValidationError as error:
                    # A column that is missing altogether is one finding, not one per row.
                    self.findings.extend(
                        Finding(f"{path}:{line}: {dotted(fault['loc'])}", f"{plain(fault)}, is {fault['input']!r}")
                        for fault in error.errors()
                        if fault["type"] != "missing"
                    )
                label = cells.get(key, "").strip()
                if label in first_line:
                    self.findings.append(
                        Finding(f"{path}:{line}: {key}", f"label {label!r} stands already in line {first_line[label]}")
                    )
                first_line.setdefault(label, line)
        if not first_line:
            self.findings.append(Finding(str(path), "the table has no rows"))
        return rows


def _row_model(texts: Sequence[str], quantities: Mapping[str, Quantity]) -> type[pydantic.BaseModel]:
    columns: dict[str, Any] = {name: (Annotated[str, pydantic.Field(min_length=1)], ...) for name in texts}
    for name, quantity in quantities.items():
        lower = None if quantity.lower == -np.inf else quantity.lower
        upper = None if quantity.upper == np.inf else quantity.upper
        limits = pydantic.Field(gt=lower, le=upper) if quantity.above else pydantic.Field(ge=lower, le=upper)
        columns[name] = (Annotated[int if quantity.integer else pydantic.FiniteFloat, limits], ...)
    return pydantic.create_model("Row", **columns)


def load_feeder(name_or_folder: str | Path) -> xr.Dataset:
    """A feeder as labelled tables.

    Parameters
    ----------
    name_or_folder
        Name of a dataset (``"ieee33"``), or a folder: a ``Path``, or a text with a path separator.

    Returns
    -------
    xr.Dataset
        ``base_load`` [MW] and ``base_reactive`` [Mvar] over ``bus``; ``from_bus``, ``to_bus`` (labels),
        ``resistance`` and ``reactance`` [ohm] and ``rating`` [MVA] over ``line``. Attributes: ``name``,
        ``nominal_kv`` and ``source_bus`` (a label, or a list of labels where there are several sources).

    Raises
    ------
    InputError
        With every finding: descriptor, sha256, columns, units, and each bad cell as ``file:line: column``.
        Whether the feeder is radial is checked by `drofcm.network.feeder.Feeder`.
    """
    source = _Package.open("feeder", name_or_folder)
    buses = source.table("buses", ("bus",), FEEDER_BUSES, "bus")
    lines = source.table("lines", ("line", "from_bus", "to_bus"), FEEDER_LINES, "line")
    package = source.package
    if package is not None and package.feeder is None:
        where = str(source.folder / DESCRIPTOR)
        source.findings.append(Finding(where, "key 'feeder' is missing", "feeder: {nominal_kv: ..., source_bus: ...}"))
    raise_if_any(source.findings)
    assert package is not None
    assert package.feeder is not None
    bus = package.feeder.source_bus
    return xr.merge([buses, lines]).assign_attrs(
        name=package.name,
        nominal_kv=package.feeder.nominal_kv,
        source_bus=bus if isinstance(bus, str) else list(bus),
    )


def load_catalogue(name_or_folder: str | Path) -> xr.Dataset:
    """A catalogue of flexible capacity modules, one technology a label of ``fcm``.

    Parameters
    ----------
    name_or_folder
        Name of a dataset (``"fcm_2026"``), or a folder: a ``Path``, or a text with a path separator.

    Returns
    -------
    xr.Dataset
        Over ``fcm``: the variables of `CATALOGUE` with their units, and the texts ``name`` and ``source``.

    Raises
    ------
    InputError
        With every finding: descriptor, sha256, columns, units, each bad cell as ``file:line: column``, and
        technologies that absorb power without a store to put it in.
    """
    source = _Package.open("catalogue", name_or_folder)
    table = source.table("technologies", ("id", "name", "source"), CATALOGUE, "fcm")
    if "absorbs" in table and "stores" in table:
        impossible = table["fcm"].values[(table["absorbs"] > table["stores"]).values]
        if len(impossible):
            source.findings.append(
                Finding(
                    f"{source.folder}: {shorten(impossible)}",
                    "absorbs = 1 needs stores = 1: only a store can take up surplus power",
                )
            )
    raise_if_any(source.findings)
    return table.assign_attrs(name=source.package.name if source.package else "")


def load_trace(
    path: str | Path,
    *,
    time: str | None = None,
    power: str | None = None,
    unit: str | None = None,
    time_unit: str | None = None,
    longest_gap_s: float | None = None,
    between: Between = "hold",
) -> xr.DataArray:
    """A measured power trace as one-second means in MW.

    Parameters
    ----------
    path
        A CSV file with a header, its cells separated by commas, semicolons or tabs, with points or (unless they could
        set thousands apart) commas as decimal marks: a column of stamps, numbers or ISO 8601 dates and times, which may
        be irregular, and a column of power.
    time
        Name of the column of stamps; the first column if left out.
    power
        Name of the column of power; if left out, the only other one, or the only one that states a unit.
    unit
        ``"W"``, ``"kW"`` or ``"MW"``; if left out, read from the end of the column's name (``power_total_W``,
        ``power [MW]``; ``_mw`` may be milliwatts and is refused).
    time_unit
        ``"ns"``, ``"us"``, ``"ms"``, ``"s"``, ``"min"``, ``"h"`` or ``"d"`` of stamps that are numbers; if left out,
        read from the column's name (``time_s``, ``timestamp_ms``, ``minute``; ``t`` alone is seconds) or, where that
        names none, from stamps that count from 1970, whose size tells it.
    longest_gap_s
        The gap rule: readings may be at most so many seconds apart, and what lies between is bridged as ``between``
        says; if left out, one second, or ten times the usual interval if that is longer.
    between
        ``"hold"``: a reading stands until the next one. ``"linear"``: power runs straight between readings.

    Returns
    -------
    xarray.DataArray
        MW over (second,), whole seconds from the first reading on. Attributes: ``interval_s`` (the usual interval),
        ``longest_gap_s`` (that was bridged), ``between`` and ``source``.

    Raises
    ------
    InputError
        With every finding as ``file:line``: cells that are no number, negative power, stamps given twice or out of
        order, gaps beyond the rule; a unit of power or time that is not stated, contradicts the column, or makes powers
        or lengths that no trace has; time zones in some stamps only; a first line that is no header.
    """
    return read_trace(
        Path(path),
        time=time,
        power=power,
        unit=unit,
        time_unit=time_unit,
        longest_gap_s=longest_gap_s,
        between=between,
    )
