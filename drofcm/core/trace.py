"""Measured power traces: read from CSV, checked line by line, brought to one-second means in MW.

A reading stands until the next one (``between="hold"``), or power runs straight between two readings (``"linear"``);
either way the energy between the first and the last whole second is that of the readings.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr

from drofcm.core.errors import Finding, InputError, raise_if_any, shorten, suggest

__all__ = ["Between", "read_trace"]

Between = Literal["hold", "linear"]
Floats = npt.NDArray[np.float64]

_MEGAWATT: Final = {"W": 1e-6, "kW": 1e-3, "MW": 1.0}
_SUFFIX = re.compile(r"(?:^|[^A-Za-z])(MW|kW|KW|kw|mw|W|w)[\])]?$")
_SPELLED: Final = {"mw": "MW", "kw": "kW", "w": "W"}
_TYPICAL_GAPS = 10.0
# many rows of a broken file are wrong in the same way
_MOST_OF_A_KIND = 20


def read_trace(
    path: Path,
    *,
    time: str | None = None,
    power: str | None = None,
    unit: str | None = None,
    longest_gap_s: float | None = None,
    between: Between = "hold",
) -> xr.DataArray:
    """Read a power trace; the arguments and errors are those of `drofcm.data.load_trace`."""
    if between not in ("hold", "linear"):
        raise InputError([Finding("between", f"unknown rule {between!r}", suggest(str(between), ("hold", "linear")))])
    if longest_gap_s is not None and not longest_gap_s > 0:
        raise InputError([Finding("longest_gap_s", f"must be above 0 s, got {longest_gap_s!r}")])
    header, rows = _rows(path)
    time_at, power_at, scale = _columns(path, header, time, power, unit)
    stamps, values, lines, findings = _numbers(path, header, rows, time_at, power_at)
    findings += _order(path, header[time_at], stamps, lines)
    findings += _gaps(path, stamps, lines, longest_gap_s)
    raise_if_any(findings)
    if len(stamps) < 2 or stamps[-1] - stamps[0] < 1:
        raise InputError([Finding(str(path), "holds less than a second of readings", "give a longer trace")])
    return _per_second(path, stamps, values * scale, between)


def _rows(path: Path) -> tuple[list[str], list[tuple[int, list[str]]]]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file)
            header = [cell.strip() for cell in next(reader, [])]
            rows = [(reader.line_num, cells) for cells in reader if any(cell.strip() for cell in cells)]
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise InputError([Finding(str(path), f"cannot be read: {reason}", "give a CSV file")]) from None
    if not header or not rows:
        raise InputError([Finding(f"{path}:1", "holds no readings", "a header, then one reading a line")])
    return header, rows


def _columns(
    path: Path, header: list[str], time: str | None, power: str | None, unit: str | None
) -> tuple[int, int, float]:
    """Positions of time and power, and the factor to MW."""
    findings = [
        Finding(f"{path}:1", f"no column {name!r}", suggest(name, header))
        for name in (time, power)
        if name is not None and name not in header
    ]
    raise_if_any(findings)
    time_at = 0 if time is None else header.index(time)
    others = [place for place in range(len(header)) if place != time_at]
    told = [place for place in others if _unit_of(header[place])]
    if power is not None:
        power_at = header.index(power)
    elif len(others) == 1 or len(told) == 1:
        power_at = others[0] if len(others) == 1 else told[0]
    else:
        what = f"which column is the power cannot be told: {shorten([header[place] for place in told or others])}"
        raise InputError([Finding(f"{path}:1", what, "name it: power='...'")])
    stated = _unit_of(header[power_at])
    where = f"{path}:1: {header[power_at]}"
    if unit is not None and unit not in _MEGAWATT:
        raise InputError([Finding("unit", f"unknown unit {unit!r}", suggest(unit, _MEGAWATT))])
    if unit is not None and stated is not None and unit != stated:
        raise InputError([Finding(where, f"the column says {stated}, unit='{unit}' is asked for", "correct one")])
    if unit is None and stated is None:
        raise InputError([Finding(where, "no unit is stated", "end the name in _W, _kW or _MW, or give unit=")])
    return time_at, power_at, _MEGAWATT[unit or stated or ""]


def _unit_of(name: str) -> str | None:
    found = _SUFFIX.search(name)
    return _SPELLED[found.group(1).lower()] if found else None


def _numbers(
    path: Path, header: list[str], rows: list[tuple[int, list[str]]], time_at: int, power_at: int
) -> tuple[Floats, Floats, npt.NDArray[np.int64], list[Finding]]:
    """Seconds since the first reading, power as it stands in the file, and the lines of the file they stand in."""
    lines = np.array([line for line, _ in rows], dtype=np.int64)
    short = np.array([len(cells) != len(header) for _, cells in rows])
    cell = [(cells[time_at], cells[power_at]) if len(cells) == len(header) else ("", "") for _, cells in rows]
    stamps = _seconds([stamp for stamp, _ in cell])
    values = pd.to_numeric(pd.Series([value.strip() for _, value in cell]), errors="coerce").to_numpy(dtype=float)
    broken_time, broken_power = ~np.isfinite(stamps) & ~short, ~np.isfinite(values) & ~short
    kinds = (
        (short, lambda k: f"{path}:{lines[k]}", lambda k: "number of cells differs from the header"),
        (
            broken_time,
            lambda k: f"{path}:{lines[k]}: {header[time_at]}",
            lambda k: f"is no time: {cell[k][0]!r}",
        ),
        (
            broken_power,
            lambda k: f"{path}:{lines[k]}: {header[power_at]}",
            lambda k: f"is no number: {cell[k][1]!r}",
        ),
        (
            values < 0,
            lambda k: f"{path}:{lines[k]}: {header[power_at]}",
            lambda k: f"is negative: {cell[k][1].strip()}",
        ),
    )
    findings = [found for mask, where, what in kinds for found in _each(mask, where, what)]
    sound = ~short & ~broken_time & ~broken_power
    return stamps[sound], values[sound], lines[sound], findings


def _seconds(texts: list[str]) -> Floats:
    """Numbers are seconds; anything else is read as ISO 8601 dates and times."""
    column = pd.Series([text.strip() for text in texts])
    numbers = pd.to_numeric(column, errors="coerce")
    if numbers.notna().sum() >= 0.5 * (column != "").sum():
        return np.asarray(numbers, dtype=float)
    moments = pd.to_datetime(column, errors="coerce", format="ISO8601", utc=True)
    since = (moments - moments.min()).dt.total_seconds()
    return np.asarray(since, dtype=float)


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
        yield Finding(finding.where, finding.what, "cut the trace there, or raise longest_gap_s")


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
