"""Files of the user's: read as text, as rows of a table or as labelled arrays, or refused with file and line.

Every reader goes through here, so that what is wrong with a file itself (missing, a folder, a pipe, not allowed, too
large, not UTF-8, no CSV, no netCDF) is told in one way, and what a number is, is one thing in every table.
"""

from __future__ import annotations

import csv
import hashlib
import io
import math
import re
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from drofcm.core.errors import Finding, InputError, quoted, shorten, suggest

if TYPE_CHECKING:
    import xarray as xr

__all__ = [
    "MOST_ARRAYS",
    "MOST_TABLE",
    "Faults",
    "Row",
    "digest_file",
    "file_fault",
    "number",
    "read_columns",
    "read_dataset",
    "read_rows",
    "read_text",
    "whole",
]

MOST_TABLE: Final = 64 * 2**20
"""Bytes of a table or another text; a larger one is no table that a person made."""

MOST_ARRAYS: Final = 2 * 2**30
"""Bytes that the arrays of a netCDF file may take once they are read, whatever the file packs them into."""

_MOST_FAULTS = 20
"""Faults of one file that are told one by one: a file of another kind is wrong in every line."""

# Python's float() would take 1_000, other scripts' digits, nan and 1e400 (infinite) as well
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_WHOLE_DIGITS = 15


class Row(NamedTuple):
    """A line of a table: where it ends in the file, and its cells by column, without blanks around them."""

    line: int
    cells: dict[str, str]


class Faults(list[Finding]):
    """Findings of one file: the first of them in full, the rest as a count."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name
        self._left = 0

    def add(self, where: str, what: str, fix: str = "") -> None:
        """Note a fault."""
        if len(self) < _MOST_FAULTS:
            self.append(Finding(where, what, fix))
        else:
            self._left += 1

    def unknown(self, where: str, kind: str, label: str, known: Sequence[str]) -> None:
        """Note a label that is not known, with the nearest one that is."""
        # the search for the nearest one is slow, and nobody reads the thousandth
        self.add(where, f"unknown {kind} {quoted(label)}", suggest(label, known) if len(self) < _MOST_FAULTS else "")

    @property
    def all(self) -> list[Finding]:
        """Every finding, and how many were left out."""
        if not self._left:
            return list(self)
        return [*self, Finding(self.name, f"and {self._left:,} more faults", "mend these first")]


def number(text: str) -> float | None:
    """The finite number that a cell states in the digits 0 to 9, or None if it states none."""
    text = text.strip()
    if not _NUMBER.fullmatch(text):
        return None
    value = float(text)
    return value if math.isfinite(value) else None


def whole(text: str) -> int | None:
    """The whole number that a cell states (``3``, ``3.0``), or None; beyond 15 digits floats are not exact."""
    value = number(text)
    if value is None or value != round(value) or abs(value) >= 10**_WHOLE_DIGITS:
        return None
    return int(value)


def file_fault(path: Path, name: str | None = None) -> Finding | None:
    """Why a path is no file that can be read; None if it is one. Pipes and devices are not opened."""
    where = str(path) if name is None else name
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return Finding(where, "cannot be read: no such file")
    except OSError as error:
        return Finding(where, f"cannot be read: {error.strerror}")
    except ValueError:  # a name with a zero byte
        return Finding(where, "cannot be read: no file can have such a name")
    if stat.S_ISDIR(mode):
        return Finding(where, "is a folder, a file is needed")
    if not stat.S_ISREG(mode):
        return Finding(where, "is no regular file but a pipe or a device", "copy its content to a file")
    return None


@contextmanager
def _opened(path: Path, where: str) -> Iterator[BufferedReader]:
    fault = file_fault(path, where)
    if fault is not None:
        raise InputError([fault])
    try:
        with path.open("rb") as file:
            yield file
    except OSError as error:
        raise InputError([Finding(where, f"cannot be read: {error.strerror}")]) from None


def digest_file(path: Path, name: str | None = None) -> str:
    """SHA-256 of a file, hexadecimal.

    Raises
    ------
    InputError
        If the file cannot be read.
    """
    with _opened(path, str(path) if name is None else name) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_text(path: Path, *, name: str | None = None, most: int = MOST_TABLE) -> str:
    """The text of a UTF-8 file, with or without a byte order mark.

    Parameters
    ----------
    path
        The file.
    name
        How findings call it; the path if left out.
    most
        Bytes that it may have.

    Raises
    ------
    InputError
        If it is missing, a folder, a pipe or a device, not allowed, too large or not UTF-8 text.
    """
    where = str(path) if name is None else name
    with _opened(path, where) as file:
        raw = file.read(most + 1)
    if len(raw) > most:
        what = f"holds more than {_size(most)}"
        raise InputError([Finding(where, what, "such a file is taken for a slip: is it the one that is meant?")])
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise InputError([Finding(f"{where}:{line}", "is not UTF-8 text", "save the file as UTF-8")]) from None


def read_columns(path: Path, *, name: str | None = None) -> list[str]:
    """The head of a CSV file.

    Raises
    ------
    InputError
        As `read_text`, or if the first line is no CSV.
    """
    return _table(path, str(path) if name is None else name)[0]


def read_rows(
    path: Path, columns: Sequence[str], *, name: str | None = None, further: bool = False, empty: bool = False
) -> tuple[list[Row], Faults]:
    """The rows of a CSV file that have as many cells as its head, and what is wrong with the others.

    Parameters
    ----------
    path
        The file: UTF-8, columns separated by commas, the first line names them.
    columns
        Columns that it must have.
    name
        How findings call it; the path if left out.
    further
        Whether it may have columns besides.
    empty
        Whether it may have no row.

    Raises
    ------
    InputError
        As `read_text`; if it is no CSV, or its columns are others.
    """
    where = str(path) if name is None else name
    head, lines = _table(path, where)
    faults = Faults(where)
    _check_head(head, columns, where, further, faults)
    if faults:
        raise InputError(faults.all)
    rows = []
    for line, cells in lines:
        if len(cells) == len(head):
            rows.append(Row(line, dict(zip(head, cells, strict=True))))
        else:
            what = f"number of cells differs from the header: {len(cells)}, not {len(head)}"
            faults.add(f"{where}:{line}", what, "quote a cell that holds a comma" if len(cells) > len(head) else "")
    if not lines and not empty:
        faults.add(where, "the table has no rows")
    return rows, faults


def _table(path: Path, where: str) -> tuple[list[str], list[tuple[int, list[str]]]]:
    reader = csv.reader(io.StringIO(read_text(path, name=where), newline=""), strict=True)
    lines: list[tuple[int, list[str]]] = []
    try:
        for cells in reader:
            stripped = [cell.strip() for cell in cells]
            if any(stripped) or not lines:
                lines.append((reader.line_num, stripped))
    except csv.Error as error:
        limit = csv.field_size_limit()
        what = f"a cell of more than {limit:,} characters" if "field larger" in str(error) else f"is no CSV: {error}"
        raise InputError([Finding(f"{where}:{reader.line_num}", what, "is a quotation mark left open?")]) from None
    return (lines[0][1], lines[1:]) if lines else ([], [])


def _check_head(head: Sequence[str], columns: Sequence[str], where: str, further: bool, faults: Faults) -> None:
    at = f"{where}:1"
    fix = f"the columns are {', '.join(columns)}" if columns else ""
    if len(head) == 1 and len(columns) != 1 and any(mark in head[0] for mark in ";\t|"):
        faults.add(at, "the columns are not separated by commas", "; ".join(filter(None, ("save it with commas", fix))))
        return
    for column in dict.fromkeys(head):
        if head.count(column) > 1:
            faults.add(at, f"column {quoted(column)} is named {head.count(column)} times", "name each column once")
    missing = [column for column in columns if column not in head]
    if missing:
        faults.add(at, f"column {shorten(missing)} is missing", fix)
    surplus = [column for column in head if column not in columns]
    if surplus and not further:
        faults.add(at, f"column {shorten([quoted(column) for column in surplus])} does not belong", fix)


def read_dataset(path: Path, *, name: str | None = None) -> xr.Dataset:
    """The arrays of a netCDF file, in memory.

    Parameters
    ----------
    path
        The file.
    name
        How findings call it; the path if left out.

    Raises
    ------
    InputError
        If it cannot be read, is no netCDF, or declares arrays that no memory should be asked for.
    """
    import netCDF4
    import xarray as xr

    where = str(path) if name is None else name
    with _opened(path, where):
        pass  # a pipe would be waited for
    try:
        with netCDF4.Dataset(path, "r") as file:
            declared = sum(_declared(variable) for variable in file.variables.values())
        if declared > MOST_ARRAYS:
            what = f"declares arrays of {_size(declared)}, at most {_size(MOST_ARRAYS)} are read"
            raise InputError([Finding(where, what, "is it the file that is meant?")])
        return xr.load_dataset(path, engine="netcdf4")
    except InputError:
        raise
    # the libraries underneath raise almost anything where the content of a file contradicts itself
    except Exception as error:
        raise InputError([Finding(where, f"cannot be read as netCDF: {error}")]) from None


def _declared(variable: object) -> int:
    shape, kind = getattr(variable, "shape", ()), getattr(variable, "dtype", None)
    # a decoded array may be wider than the packed one
    width = max(8, kind.itemsize) if isinstance(kind, np.dtype) else 64
    return math.prod(shape) * width


def _size(count: int) -> str:
    value, units = float(count), ["bytes", "KiB", "MiB", "GiB", "TiB"]
    while value >= 1024 and len(units) > 1:
        value, units = value / 1024, units[1:]
    return f"{value:,.0f} {units[0]}"
