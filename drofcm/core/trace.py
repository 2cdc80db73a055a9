"""Measured power traces: read from CSV, checked line by line, brought to one-second means in MW.

A reading stands until the next one (``between="hold"``), or power runs straight between two readings (``"linear"``);
either way the energy between the first and the last whole second is that of the readings.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr

from drofcm.core.errors import Finding, InputError, raise_if_any, shorten, suggest
from drofcm.core.reading import read_text
from drofcm.core.trace_columns import decimal_of, numbers_of, power_factor, power_unit, seconds_of, separator_of

__all__ = ["Between", "read_trace"]

Between = Literal["hold", "linear"]
Floats = npt.NDArray[np.float64]

MOST_MW: Final = 10_000.0
"""Power that no site draws."""

MOST_SECONDS: Final = 366 * 86_400
"""Length beyond which a trace is taken for one with a wrong unit of time."""

_TYPICAL_GAPS = 10.0
# many rows of a broken file are wrong in the same way
_MOST_OF_A_KIND = 20
# lines by which separators are told
_FIRST_LINES = 50


class _Table(NamedTuple):
    """A file taken apart: the cells of its head, and its further rows with the lines they stand in."""

    path: Path
    head_line: int
    header: list[str]
    rows: list[tuple[int, list[str]]]

    @property
    def head(self) -> str:
        """Where the head stands."""
        return f"{self.path}:{self.head_line}"

    def column(self, place: int) -> list[str]:
        """The cells of one column; none where a row has another number of cells than the head."""
        return [cells[place] if len(cells) == len(self.header) else "" for _, cells in self.rows]


def read_trace(
    path: Path,
    *,
    time: str | None = None,
    power: str | None = None,
    unit: str | None = None,
    time_unit: str | None = None,
    longest_gap_s: float | None = None,
    between: Between = "hold",
) -> xr.DataArray:
    """Read a power trace; the arguments and errors are those of `drofcm.data.load_trace`."""
    if between not in ("hold", "linear"):
        raise InputError([Finding("between", f"unknown rule {between!r}", suggest(str(between), ("hold", "linear")))])
    if longest_gap_s is not None and not longest_gap_s > 0:
        raise InputError([Finding("longest_gap_s", f"must be above 0 s, got {longest_gap_s!r}")])
    table = _table(path)
    time_at, power_at = _columns(table, time, power)
    time_where, power_where = (f"{table.head}: {table.header[place]}" for place in (time_at, power_at))
    scale, findings = power_factor(power_where, table.header[power_at], unit)
    stamps, more = seconds_of(time_where, table.header[time_at], table.column(time_at), time_unit)
    decimal = decimal_of(table.column(power_at))
    if decimal is None:
        what = "its commas may be decimal marks or set thousands apart"
        more.append(Finding(power_where, what, "write numbers with a point, and nothing between thousands"))
    raise_if_any([*findings, *more])
    values = np.asarray(numbers_of(table.column(power_at), decimal or "."), dtype=float)
    lines, sound, findings = _sound(table, time_at, stamps, power_at, values)
    stamps, values = stamps[sound], values[sound] * scale
    findings += _order(path, table.header[time_at], stamps, lines)
    findings += _gaps(path, stamps, lines, longest_gap_s)
    findings += _extent(power_where, time_where, stamps, values)
    raise_if_any(findings)
    if len(stamps) < 2 or stamps[-1] - stamps[0] < 1:
        raise InputError([Finding(str(path), "holds less than a second of readings", "give a longer trace")])
    return _per_second(path, stamps, values, between)


def _table(path: Path) -> _Table:
    text = read_text(path)
    first = [line for line in text[: csv.field_size_limit()].splitlines()[:_FIRST_LINES] if line.strip()]
    separator = separator_of(first, f"{path}:1")
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
    rows = []
    try:
        for cells in reader:
            stripped = [cell.strip() for cell in cells]
            if any(stripped):
                rows.append((reader.line_num, stripped))
    except csv.Error as error:
        limit = csv.field_size_limit()
        what = f"a cell of more than {limit:,} characters" if "field larger" in str(error) else f"is no CSV: {error}"
        raise InputError([Finding(f"{path}:{reader.line_num}", what, "is a quotation mark left open?")]) from None
    if len(rows) < 2:
        raise InputError([Finding(f"{path}:1", "holds no readings", "a header, then one reading a line")])
    (head_line, header), *readings = rows
    if all(_is_reading(cell) for cell in header if cell):
        what = "the first line holds readings; a header is needed"
        fix = "name the columns in a line above them, for example time_s,power_kW"
        raise InputError([Finding(f"{path}:{head_line}", what, fix)])
    return _Table(path, head_line, header, readings)


def _is_reading(cell: str) -> bool:
    """Whether a cell of the head is a number or a date."""
    column = pd.Series([cell.replace(",", ".")])
    number = pd.to_numeric(column, errors="coerce").notna().all()
    return bool(number or pd.to_datetime(column, errors="coerce", format="ISO8601", utc=True).notna().all())


def _columns(table: _Table, time: str | None, power: str | None) -> tuple[int, int]:
    """Positions of time and power."""
    header = table.header
    findings = [
        Finding(table.head, f"no column {name!r}", suggest(name, header))
        for name in (time, power)
        if name is not None and name not in header
    ]
    findings += [
        Finding(table.head, f"column {name!r} stands there {header.count(name)} times", "name each column once")
        for name in (time, power)
        if name is not None and header.count(name) > 1
    ]
    if time is not None and time == power:
        findings.append(Finding(table.head, f"column {time!r} cannot be time and power", "name two columns"))
    raise_if_any(findings)
    power_named = None if power is None else header.index(power)
    time_at = header.index(time) if time is not None else int(power_named == 0)
    others = [place for place in range(len(header)) if place != time_at]
    told = [place for place in others if power_unit(header[place])]
    if power_named is not None and others:
        return time_at, power_named
    if len(others) == 1 or len(told) == 1:
        return time_at, others[0] if len(others) == 1 else told[0]
    if not others:
        what = f"there is one column, {shorten([repr(name) for name in header])}"
        raise InputError([Finding(table.head, what, "a column of time and one of power, separated by commas")])
    candidates = shorten([repr(header[place]) for place in told or others])
    what = f"which column is the power cannot be told: {candidates}"
    raise InputError([Finding(table.head, what, "name it: power= (--power on the command line)")])


def _sound(
    table: _Table, time_at: int, stamps: Floats, power_at: int, values: Floats
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_], list[Finding]]:
    """Lines of the readings that are sound, where those stand among the rows, and what is wrong with the others."""
    path, header = table.path, table.header
    lines = np.array([line for line, _ in table.rows], dtype=np.int64)
    short = np.array([len(cells) != len(header) for _, cells in table.rows])
    times, powers = table.column(time_at), table.column(power_at)
    broken_time, broken_power = ~np.isfinite(stamps) & ~short, ~np.isfinite(values) & ~short

    def at(place: int) -> Callable[[int], str]:
        return lambda k: f"{path}:{lines[k]}: {header[place]}"

    kinds = (
        (short, lambda k: f"{path}:{lines[k]}", lambda k: "number of cells differs from the header"),
        (broken_time, at(time_at), lambda k: f"is no time: {times[k]!r}"),
        (broken_power, at(power_at), lambda k: f"is no number: {powers[k]!r}"),
        (values < 0, at(power_at), lambda k: f"is negative: {powers[k]}"),
    )
    findings = [found for mask, where, what in kinds for found in _each(mask, where, what)]
    sound = ~short & ~broken_time & ~broken_power
    return lines[sound], sound, findings


def _extent(power_where: str, time_where: str, stamps: Floats, megawatts: Floats) -> Iterator[Finding]:
    """Sizes that no trace has, which a wrong unit makes."""
    if len(megawatts) and megawatts.max() > MOST_MW:
        what = f"{megawatts.max():,.6g} MW are more than any site draws"
        yield Finding(power_where, what, "correct the unit: end the name in _W, _kW or _MW, or give unit= (--unit)")
    if len(stamps) and np.ptp(stamps) > MOST_SECONDS:
        what = f"the readings span {np.ptp(stamps) / 86_400:,.0f} days, over a year is taken for a slip"
        yield Finding(time_where, what, "correct the unit of time, or cut the trace")


def _each(mask: npt.NDArray[np.bool_], where: Callable[[int], str], what: Callable[[int], str]) -> Iterator[Finding]:
    """A finding per place at which the mask holds, the last one for all beyond the first few."""
    places = list(map(int, np.flatnonzero(mask)))
    for place in places[:_MOST_OF_A_KIND]:
        yield Finding(where(place), what(place))
    if len(places) > _MOST_OF_A_KIND:
        last = places[_MOST_OF_A_KIND]
        yield Finding(where(last), f"{what(last)}, and {len(places) - _MOST_OF_A_KIND - 1} more lines like it")


def _order(path: Path, column: str, stamps: Floats, lines: npt.NDArray[np.int64]) -> Iterator[Finding]:
    step = np.diff(stamps)

    def where(k: int) -> str:
        return f"{path}:{lines[k + 1]}: {column}"

    yield from _each(step == 0, where, lambda k: f"the same time as in line {lines[k]}")
    yield from _each(step < 0, where, lambda k: f"lies before line {lines[k]}")


def _gaps(path: Path, stamps: Floats, lines: npt.NDArray[np.int64], longest: float | None) -> Iterator[Finding]:
    step = np.diff(stamps)
    forward = step[step > 0]
    if not len(forward):
        return
    typical = float(np.median(forward))
    limit = max(1.0, _TYPICAL_GAPS * typical) if longest is None else longest
    rule = "1 s, or ten times the usual interval if that is longer" if longest is None else "longest_gap_s"
    for finding in _each(
        step > limit * (1 + 1e-9),
        lambda k: f"{path}:{lines[k + 1]}",
        lambda k: f"no reading for {step[k]:.6g} s; at most {limit:.6g} s are bridged ({rule})",
    ):
        yield Finding(finding.where, finding.what, "cut the trace there, or raise longest_gap_s (--longest-gap-s)")


def _per_second(path: Path, stamps: Floats, power: Floats, between: Between) -> xr.DataArray:
    since = stamps - stamps[0]
    typical = float(np.median(np.diff(since)))
    if between == "hold":
        # the last reading stands as long as readings usually do
        since = np.append(since, since[-1] + typical)
        energy = np.concatenate([[0.0], np.cumsum(power * np.diff(since))])
    else:
        energy = np.concatenate([[0.0], np.cumsum(0.5 * (power[1:] + power[:-1]) * np.diff(since))])
    seconds = int(np.floor(since[-1] + 1e-6))
    edges = np.arange(seconds + 1, dtype=float)
    at_edge = np.interp(edges, since, energy)
    if between == "linear":
        place = np.clip(np.searchsorted(since, edges, side="right") - 1, 0, len(since) - 2)
        part = np.clip(edges, None, since[-1]) - since[place]
        slope = (power[place + 1] - power[place]) / (since[place + 1] - since[place])
        at_edge = energy[place] + part * (power[place] + 0.5 * slope * part)
    return xr.DataArray(
        np.diff(at_edge),
        dims="second",
        coords={"second": np.arange(seconds)},
        name="power",
        attrs={
            "units": "MW",
            "long_name": "one-second mean of measured power",
            "interval_s": typical,
            "longest_gap_s": float(np.diff(stamps).max()),
            "between": between,
            "source": path.name,
        },
    )
