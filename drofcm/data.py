"""Data folders: finding them, checking them against their descriptor, and reading them as labelled tables.

Every folder below ``datasets`` and ``geo`` is a Frictionless Data Package: tables in open formats beside a
``datapackage.yaml`` that names source, licence, sha256 and the columns with their units. Nothing is read from a
folder whose files differ from that descriptor, and no unit is converted silently.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

import numpy as np
import xarray as xr

from drofcm.core.datapackage import (
    DESCRIPTOR,
    DataPackage,
    Resource,
    read_datapackage,
    read_descriptor,
    verify_datapackage,
    verify_files,
)
from drofcm.core.dims import DEMAND_SHOCK_DATA
from drofcm.core.errors import Finding, InputError, errors_of, quoted, raise_if_any, shorten, suggest
from drofcm.core.reading import Faults, Row, file_fault, number, read_rows
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
    "read_catalogue",
    "read_datapackage",
    "read_feeder",
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
        raise InputError([Finding(f"{kind} {quoted(name)}", "no such dataset", suggest(name, known))])
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
        if resource is None or resource.table is None:
            return xr.Dataset()
        path, descriptor = self.folder / resource.path, self.folder / DESCRIPTOR
        if file_fault(path) is not None or not path.resolve().is_relative_to(self.folder.resolve()):
            return xr.Dataset()  # told by verify_files
        described = {column.name: column for column in resource.table.fields_}
        wanted = [*texts, *quantities]
        missing = [column for column in wanted if column not in described]
        if missing:
            what = f"column {shorten([repr(column) for column in missing], 99)} is missing"
            self.findings.append(Finding(f"{path}:1", what, f"described in {DESCRIPTOR}, as all others"))
        for column, quantity in quantities.items():
            if column in described and described[column].unit != quantity.unit:
                self.findings.append(
                    Finding(
                        f"{descriptor}: resource {name!r}, column {column!r}",
                        f"unit is {quoted(described[column].unit)}, {quantity.unit!r} is needed",
                        "convert the values and state the unit; nothing is converted silently",
                    )
                )
        try:
            rows, faults = read_rows(path, (), further=True)
        except InputError as error:
            self.findings.extend(finding for finding in error.findings if finding not in self.findings)
            return xr.Dataset()
        # whether the file has the columns that are described, verify_files has said
        held = set(rows[0].cells if rows else ())
        cells = _Cells(path, faults)
        labels = cells.labels(rows, texts[0]) if texts[0] in held else []
        variables: dict[str, Any] = {
            column: (dim, np.array(cells.texts(rows, column), dtype=str)) for column in texts[1:] if column in held
        }
        for column, quantity in quantities.items():
            if column in held:
                values = np.array(cells.numbers(rows, column, quantity))
                variables[column] = (dim, values, {"units": quantity.unit, "long_name": quantity.description})
        self.findings.extend(faults.all)
        self.findings.extend(_unread(path, rows, [column for column in described if column in held - set(wanted)]))
        if not held.issuperset(wanted) or faults:
            return xr.Dataset()  # of no use, and told above
        return xr.Dataset(variables, coords={dim: np.array(labels, dtype=str)})

    def _resource(self, name: str) -> Resource | None:
        resources = {} if self.package is None else {resource.name: resource for resource in self.package.resources}
        if self.package is not None and name not in resources:
            where = str(self.folder / DESCRIPTOR)
            self.findings.append(Finding(where, f"resource {name!r} is missing", suggest(name, resources)))
        return resources.get(name)


@dataclass(frozen=True)
class _Cells:
    """Columns of a table as what they are; a fault with file, line and column for every cell that is not."""

    path: Path
    faults: Faults

    def texts(self, rows: Sequence[Row], column: str) -> list[str]:
        for row in rows:
            if not row.cells[column]:
                self.faults.add(f"{self.path}:{row.line}: {column}", "is empty", "give a text")
        return [row.cells[column] for row in rows]

    def labels(self, rows: Sequence[Row], column: str) -> list[str]:
        labels = self.texts(rows, column)
        first: dict[str, int] = {}
        for row, label in zip(rows, labels, strict=True):
            if label in first:
                what = f"label {quoted(label)} stands already in line {first[label]}"
                self.faults.add(f"{self.path}:{row.line}: {column}", what, "labels must be unique")
            first.setdefault(label, row.line)
        return labels

    def numbers(self, rows: Sequence[Row], column: str, quantity: Quantity) -> list[float] | list[int]:
        found = []
        for row in rows:
            cell = row.cells[column]
            value, refused = number(cell), ""
            if value is None:
                refused = "must be a number in plain digits"
                refused += ", with a point before decimals" if "," in cell else ""
            else:
                refused = quantity.refusal(value)
            if refused:
                self.faults.add(f"{self.path}:{row.line}: {column}", f"{refused}, is {quoted(cell)}")
            found.append(np.nan if value is None else value)
        return [0 if np.isnan(value) else int(value) for value in found] if quantity.integer else found


_ON: Final = frozenset({"1", "1.0", "true", "t", "yes", "y", "on", "closed", "in", "in service", "in_service"})
_OFF: Final = frozenset({"0", "0.0", "false", "f", "no", "n", "off"})
_NEUTRAL: Final[dict[str, frozenset[str]]] = {
    **dict.fromkeys(
        (
            *(
                "closed",
                "is_closed",
                "in_service",
                "inservice",
                "service",
                "status",
                "state",
                "switch",
                "switch_status",
            ),
            *("switch_state", "normally_closed", "connected", "is_connected", "energised", "energized", "enabled"),
            *("active", "available", "on", "operational", "position", "normal_state"),
        ),
        _ON,
    ),
    **dict.fromkeys(
        (
            *("open", "is_open", "opened", "normally_open", "out_of_service", "disabled", "disconnected", "outage"),
            *("failed", "tie", "is_tie", "tie_switch"),
        ),
        _OFF,
    ),
    **dict.fromkeys(("parallel", "n_parallel", "circuits", "scaling", "scale", "multiplier"), frozenset({"1", "1.0"})),
}
"""Columns that other programs write and that would change what a table means -> cells at which they change nothing."""


def _unread(path: Path, rows: Sequence[Row], columns: Sequence[str]) -> Iterator[Finding]:
    """Columns that nobody reads: worth knowing, and refused where they say that a row is not what it seems."""
    for column in columns:
        neutral = _NEUTRAL.get(column.lower().replace(" ", "_").replace("-", "_"))
        if neutral is None:
            yield Finding(f"{path}:1: {column}", "the column is described, but not read", severity="warning")
            continue
        astray = [row for row in rows if row.cells[column].lower() not in neutral]
        if not astray:
            yield Finding(
                f"{path}:1: {column}", "the column is not read; as it stands it changes nothing", severity="warning"
            )
            continue
        lines = shorten([f"line {row.line}: {row.cells[column]!r}" for row in astray])
        yield Finding(
            f"{path}:{astray[0].line}: {column}",
            f"says that a row does not count as it stands ({lines}), and nothing reads it",
            "leave out rows that are open or out of service, write out what others stand for, then remove the column",
        )


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
    table, findings = read_feeder(name_or_folder)
    raise_if_any(findings)
    assert table is not None  # without a table there is an error
    return table


def read_feeder(name_or_folder: str | Path) -> tuple[xr.Dataset | None, list[Finding]]:
    """As `load_feeder`, with every finding, warnings included, in place of an error; None where there is an error."""
    source = _Package.open("feeder", name_or_folder)
    buses = source.table("buses", ("bus",), FEEDER_BUSES, "bus")
    lines = source.table("lines", ("line", "from_bus", "to_bus"), FEEDER_LINES, "line")
    package = source.package
    if package is not None and package.feeder is None:
        where = str(source.folder / DESCRIPTOR)
        source.findings.append(Finding(where, "key 'feeder' is missing", "feeder: {nominal_kv: ..., source_bus: ...}"))
    if package is None or package.feeder is None or errors_of(source.findings):
        return None, source.findings
    bus = package.feeder.source_bus
    table = xr.merge([buses, lines]).assign_attrs(
        name=package.name,
        nominal_kv=package.feeder.nominal_kv,
        source_bus=bus if isinstance(bus, str) else list(bus),
    )
    return table, source.findings


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
    table, findings = read_catalogue(name_or_folder)
    raise_if_any(findings)
    assert table is not None  # without a table there is an error
    return table


def read_catalogue(name_or_folder: str | Path) -> tuple[xr.Dataset | None, list[Finding]]:
    """As `load_catalogue`, with every finding in place of an error; None where there is an error."""
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
    if source.package is None or errors_of(source.findings):
        return None, source.findings
    return table.assign_attrs(name=source.package.name), source.findings


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
