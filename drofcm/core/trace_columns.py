"""What the columns of a trace hold: separators and decimal marks of the file, units of time and power.

Nothing is guessed: a unit stands in the head of its column or is given, and where head and figures contradict each
other, or a head can be read in two ways, the trace is refused with what would settle it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from drofcm.core.errors import Finding, InputError, suggest

__all__ = [
    "POWER_UNITS",
    "TIME_UNITS",
    "decimal_of",
    "numbers_of",
    "power_factor",
    "power_unit",
    "seconds_of",
    "separator_of",
]

Floats = npt.NDArray[np.float64]

TIME_UNITS: Final = {"ns": 1e-9, "us": 1e-6, "ms": 1e-3, "s": 1.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
"""Seconds in each unit of time that a trace may have."""

POWER_UNITS: Final = {"W": 1e-6, "kW": 1e-3, "MW": 1.0}
"""MW in each unit of power that a trace may have."""

_SPELLED: Final = {
    "ns": ("ns", "nsec", "nanos", "nanosecond", "nanoseconds"),
    "us": ("us", "µs", "μs", "usec", "micros", "microsecond", "microseconds"),
    "ms": ("ms", "msec", "millis", "millisec", "millisecond", "milliseconds"),
    "s": ("s", "sec", "secs", "second", "seconds"),
    "min": ("min", "mins", "minute", "minutes"),
    "h": ("h", "hr", "hrs", "hour", "hours"),
    "d": ("d", "day", "days"),
}
_TIME_WORDS: Final = {word: unit for unit, words in _SPELLED.items() for word in words}
# a letter or two name a unit at the end of a head only: h_start, d_1 are something else
_LONG = 3
_WORDS = re.compile(r"[A-ZÄÖÜ]+(?![a-zäöü])|[A-ZÄÖÜ]?[a-zäöüµμ]+|\d+")
_POWER = re.compile(r"(?:^|[^A-Za-z])([GMkKm]?[Ww])[\])]?$")
_POWER_SPELLED: Final = {"kw": "kW", "KW": "kW", "kW": "kW", "Kw": "kW", "MW": "MW", "W": "W", "w": "W"}
_OTHER_QUANTITY = re.compile(r"(?:^|[^A-Za-z])([kKMmG]?(?:[Ww][Hh]|VA|va|VAr|var)|[kKMG]J|%|pct|percent)[\])]?$")
_COMMA = re.compile(r"[+-]?\d+,\d+")
_THOUSANDS = re.compile(r"[+-]?\d{1,3}(,\d{3})+")
_ZONE = re.compile(r"(Z|[+-]\d\d:?(\d\d)?)$")
# seconds since 1970 between 2001 and 2096, which no unit shares with another
_SINCE_1970 = (1e9, 4e9)
_SERIAL_DAYS = (30_000.0, 80_000.0)


def separator_of(lines: Sequence[str], where: str) -> str:
    """The separator of a table: comma, semicolon or tab, whichever its first lines have alike.

    Parameters
    ----------
    lines
        The head and a few lines below.
    where
        Names the head in the finding.

    Raises
    ------
    InputError
        If two could be meant.
    """
    head = lines[0] if lines else ""
    present = [mark for mark in (",", ";", "\t") if mark in head]
    if len(present) <= 1:
        return present[0] if present else ","
    even = [mark for mark in present if len({line.count(mark) for line in lines}) == 1]
    if len(even) != 1:
        shown = " and ".join({",": "commas", ";": "semicolons", "\t": "tabs"}[mark] for mark in present)
        what = f"cells may be separated by {shown}"
        raise InputError([Finding(where, what, "keep one of them, and quote names that hold another")])
    return even[0]


def decimal_of(texts: Sequence[str]) -> str | None:
    """The decimal mark of a column: point or comma, or None where the commas may be either mark."""
    commas = [text for text in texts if _COMMA.fullmatch(text) or _THOUSANDS.fullmatch(text)]
    if not commas:
        return "."
    if all(_THOUSANDS.fullmatch(text) for text in commas):
        return None
    return ","


def numbers_of(texts: Sequence[str], decimal: str) -> pd.Series[float]:
    """The numbers that cells hold, NaN where they hold none; whole numbers stay whole, for stamps of 19 digits."""
    column = pd.Series(list(texts), dtype=object)
    if decimal == ",":
        # a point beside decimal commas would set thousands apart: such a cell is no number here
        column = column.where(~column.str.contains(".", regex=False), "").str.replace(",", ".", regex=False)
    return pd.to_numeric(column, errors="coerce")


def power_unit(name: str) -> str | None:
    """The unit of power that a head states at its end; None if it states none, or one that can be read in two ways."""
    found = _POWER.search(name)
    return _POWER_SPELLED.get(found.group(1)) if found else None


def power_factor(where: str, name: str, unit: str | None) -> tuple[float, list[Finding]]:
    """MW in the unit of a column, as its head or the argument says it.

    Parameters
    ----------
    where
        Names the column in findings.
    name
        Its head.
    unit
        What is asked for, if anything.
    """
    give = "give unit= (--unit on the command line)"
    if unit is not None and unit not in POWER_UNITS:
        return 1.0, [Finding("unit", f"unknown unit {unit!r}", suggest(unit, POWER_UNITS))]
    other, found = _OTHER_QUANTITY.search(name), _POWER.search(name)
    if other:
        return 1.0, [Finding(where, f"is in {other.group(1)}, which is no power", "choose a column of power")]
    stated = power_unit(name)
    if unit is not None and stated is not None and unit != stated:
        return 1.0, [Finding(where, f"the column says {stated}, unit={unit!r} is asked for", "correct one")]
    if unit is not None:
        return POWER_UNITS[unit], []
    if stated is not None:
        return POWER_UNITS[stated], []
    if found and found.group(1) != "GW":
        what = f"{found.group(1)} may be milliwatts or megawatts"
        return 1.0, [Finding(where, what, f"end the name in _W, _kW or _MW, or {give}")]
    return 1.0, [Finding(where, "no unit is stated", f"end the name in _W, _kW or _MW, or {give}")]


def _time_unit(name: str) -> list[str]:
    """The units of time that the words of a head name; ``t`` alone stands for seconds."""
    words = [word.lower() for word in _WORDS.findall(name)]
    last = words[-1:]
    named = [word for word in words[:-1] if len(word) >= _LONG or word in ("ms", "us", "ns", "µs", "μs")]
    if words == ["t"]:
        return ["s"]
    return list(dict.fromkeys(_TIME_WORDS[word] for word in [*named, *last] if word in _TIME_WORDS))


def seconds_of(where: str, name: str, texts: Sequence[str], unit: str | None) -> tuple[Floats, list[Finding]]:
    """Seconds since the earliest stamp, NaN where a cell holds none, and why they cannot be told.

    Parameters
    ----------
    where
        Names the column in findings.
    name
        Its head.
    texts
        Its cells, without blanks around them.
    unit
        The unit that is asked for, if any.

    Notes
    -----
    Numbers are in the unit that the head names or that is given; without either only stamps that count from 1970 are
    taken, whose size tells their unit. Anything else is read as ISO 8601 dates and times, all with a zone or none.
    """
    if unit is not None and unit not in TIME_UNITS:
        return np.zeros(0), [Finding("time_unit", f"unknown unit {unit!r}", suggest(unit, TIME_UNITS))]
    decimal = decimal_of(texts)
    if decimal is None:
        what = "its commas may be decimal marks or set thousands apart"
        return np.zeros(0), [Finding(where, what, "write numbers with a point, and nothing between thousands")]
    numbers = numbers_of(texts, decimal)
    filled = sum(text != "" for text in texts)
    if numbers.notna().sum() < 0.5 * filled:
        return _moments(where, texts, unit)
    named = _time_unit(name)
    if unit is not None and named and named != [unit]:
        what = f"the column says {' and '.join(named)}, time_unit={unit!r} is asked for"
        return np.zeros(0), [Finding(where, what, "correct one")]
    # whole numbers are subtracted before they are rounded: nanoseconds since 1970 have 19 digits
    least = numbers.min()
    middle = float(numbers.median())
    since = np.asarray(numbers - least, dtype=float)
    epoch = [one for one, factor in TIME_UNITS.items() if factor <= 1 and _within(middle * factor, _SINCE_1970)]
    told = unit or (named[0] if len(named) == 1 else epoch[0] if epoch and not named else None)
    if told is None:
        return since, [_no_unit(where, named, middle)]
    if epoch and told != epoch[0]:
        what = f"is in {told}, but {middle:.0f} {told} look like {epoch[0]} since 1970"
        return since, [Finding(where, what, f"correct the name, or leave out the unit: {epoch[0]} is then read")]
    return since * TIME_UNITS[told], []


def _no_unit(where: str, named: Sequence[str], middle: float) -> Finding:
    fix = f"end the name in _s, _ms, _min or _h, or give time_unit= (--time-unit): {', '.join(TIME_UNITS)}"
    if len(named) > 1:
        return Finding(where, f"the unit of time may be {' or '.join(named)}", fix)
    like = "; days since 1900, as spreadsheets count them, are 'd'" if _within(middle, _SERIAL_DAYS) else ""
    return Finding(where, "no unit of time is stated", fix + like)


def _within(value: float, limits: tuple[float, float]) -> bool:
    return limits[0] <= value <= limits[1]


def _moments(where: str, texts: Sequence[str], unit: str | None) -> tuple[Floats, list[Finding]]:
    """Dates and times as seconds since the earliest."""
    column = pd.Series(list(texts), dtype=object)
    moments = pd.to_datetime(column, errors="coerce", format="ISO8601", utc=True)
    read = moments.notna()
    since = np.asarray((moments - moments.min()).dt.total_seconds(), dtype=float)
    if not read.any():
        return since, []
    if unit is not None:
        what = f"holds dates and times, time_unit={unit!r} is asked for"
        return since, [Finding(where, what, "leave time_unit out")]
    zoned = column[read].map(lambda text: _ZONE.search(text.split(":", 1)[-1]) is not None)
    if zoned.any() and not zoned.all():
        what = f"{int(zoned.sum())} stamps state a time zone and {int((~zoned).sum())} do not"
        return since, [Finding(where, what, "state it in all of them, or in none")]
    return since, []
