"""The core file of SMPS: a deterministic linear program in MPS, as the file states it.

A value that the file does not give is absent here; what it then is, the stages decide. An integer column between
markers without any bound is binary and, of the rows of type N, the first one is the objective, both noted in the log.

Sources: H.I. Gassmann, B. Kristjansson, "The SMPS format explained", IMA Journal of Management Mathematics 19 (2008);
for MPS itself, "MPS file format: industry standard", IBM ILOG CPLEX Optimization Studio, file formats reference.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from drofcm.blocks.smps_records import (
    BOUND,
    NOTHING,
    NUMBER,
    Layout,
    Log,
    Record,
    Section,
    all_numbers,
    is_entry,
    number_of,
    read_records,
)
from drofcm.core.errors import shorten

__all__ = ["Core"]

_VALUED, _UNVALUED = frozenset(("UP", "LO", "FX", "UI", "LI")), frozenset(("FR", "MI", "PL", "BV", "SC"))


def _is_marker(words: Sequence[str]) -> bool:
    return len(words) == 3 and words[1].strip("'") == "MARKER" and not NUMBER.fullmatch(words[2])


def _is_vector(words: Sequence[str]) -> bool:
    return len(words) >= 2 and all_numbers(words[2 if len(words) % 2 else 1 :: 2])


def _is_bound(words: Sequence[str]) -> bool:
    if words[0] in _VALUED:
        return len(words) in (3, 4) and bool(BOUND.fullmatch(words[-1]))
    return words[0] in _UNVALUED and (len(words) in (2, 3) or (len(words) == 4 and bool(BOUND.fullmatch(words[-1]))))


_SECTIONS = {
    "NAME": NOTHING,
    "OBJSENSE": Section(lambda words: len(words) == 1, "MIN or MAX"),
    "ROWS": Section(lambda words: len(words) == 2, "N, L, G or E, and a name"),
    "COLUMNS": Section(
        lambda words: _is_marker(words) or is_entry(words),
        "column, row, number (and again row, number), or marker, 'MARKER', 'INTORG'",
    ),
    "RHS": Section(_is_vector, "(set,) row, number (and again row, number)"),
    "RANGES": Section(_is_vector, "(set,) row, number (and again row, number)"),
    "BOUNDS": Section(_is_bound, "type, (set,) column, and a number where the type has one"),
    "ENDATA": NOTHING,
}


class Core:
    """The program as the core file states it; rows and columns are numbered in its order, the objective is row -1.

    Attributes
    ----------
    objective, maximise
        Name of the objective, and whether it is to be maximised.
    rows, columns
        Name -> number; ``rows`` are the constraints.
    ignored
        Rows of type N beyond the objective -> file and line.
    senses
        L, G or E of every row.
    integer
        Numbers of the integer columns.
    coefficients, lines
        (row, column) -> value, and -> file and line.
    rhs, ranges
        Row -> value.
    lower, upper, bounded_at
        Column -> value, and -> file and line of its last bound.
    sets
        For RHS, RANGES and BOUNDS: name of the set -> file and line of its first record.
    """

    def __init__(self, path: Path, layout: Layout, log: Log) -> None:
        self.path, self.log = path, log
        self.objective = ""
        self.ignored: dict[str, str] = {}
        self.rows: dict[str, int] = {}
        self.senses: list[str] = []
        self.columns: dict[str, int] = {}
        self.integer: set[int] = set()
        self.maximise = False
        self.coefficients: dict[tuple[int, int], float] = {}
        self.lines: dict[tuple[int, int], str] = {}
        self.rhs: dict[int, float] = {}
        self.ranges: dict[int, float] = {}
        self.lower: dict[int, float] = {}
        self.upper: dict[int, float] = {}
        self.bounded_at: dict[int, str] = {}
        self.sets: dict[str, dict[str, str]] = {"RHS": {}, "RANGES": {}, "BOUNDS": {}}
        self._marked: list[bool] = []
        self._in_marker = False
        self._last_column = ""
        readers = {
            "OBJSENSE": self._sense,
            "ROWS": self._row,
            "COLUMNS": self._column,
            "RHS": self._vector,
            "RANGES": self._vector,
            "BOUNDS": self._bound,
        }
        for record in read_records(path, _SECTIONS, layout, log):
            if not record.header:
                readers[record.section](record)
            elif record.section == "OBJSENSE" and record.words:
                self._sense(record)
        self._finish()

    def _sense(self, record: Record) -> None:
        word = record.words[0].upper()
        if word not in ("MIN", "MAX", "MINIMIZE", "MAXIMIZE", "MINIMISE", "MAXIMISE"):
            self.log.error(record.where, f"unknown sense {record.words[0]!r}", "MIN or MAX")
        self.maximise = word.startswith("MAX")

    def _row(self, record: Record) -> None:
        sense, name = record.words
        if name in self.rows or name in self.ignored or name == self.objective:
            self.log.error(record.where, f"row {name!r} is declared twice")
        elif sense not in ("N", "L", "G", "E"):
            self.log.error(record.where, f"unknown type of row {sense!r}", "N, L, G or E")
        elif sense == "N" and not self.objective:
            self.objective = name
        elif sense == "N":
            self.ignored[name] = record.where
        else:
            self.rows[name] = len(self.rows)
            self.senses.append(sense)

    def row(self, record: Record, name: str) -> int | None:
        """Position of a row, -1 for the objective, None for one that is ignored or unknown."""
        if name == self.objective:
            return -1
        if name not in self.rows and name not in self.ignored:
            self.log.unknown(record.where, "row", name, [self.objective, *self.rows])
        return self.rows.get(name)

    def _column(self, record: Record) -> None:
        name = record.words[0]
        if _is_marker(record.words):
            kind = record.words[2].strip("'")
            if kind not in ("INTORG", "INTEND"):
                self.log.error(record.where, f"unknown marker {record.words[2]}", "'INTORG' or 'INTEND'")
            self._in_marker = kind == "INTORG"
            return
        if name != self._last_column:
            if name in self.columns:
                self.log.error(record.where, f"column {name!r} is declared twice", "its records must follow each other")
            else:
                self.columns[name] = len(self.columns)
                self._marked.append(self._in_marker)
            self._last_column = name
        column = self.columns[name]
        for label, word in zip(record.words[1::2], record.words[2::2], strict=True):
            row = self.row(record, label)
            if row is None:
                continue
            if (row, column) in self.lines:
                first = f"first at {self.lines[row, column]}"
                self.log.error(record.where, f"column {name!r}, row {label!r} is given twice", first)
            else:
                self.lines[row, column] = record.where
                self.coefficients[row, column] = number_of(word)

    def _one_set(self, name: str, record: Record) -> None:
        sets = self.sets[record.section]
        sets.setdefault(name, record.where)
        if len(sets) == 2 and sets[name] == record.where:
            first = next(iter(sets))
            what = f"a second set of {record.section}: {name!r} after {first!r}"
            self.log.error(record.where, what, "keep one of them")

    def _vector(self, record: Record) -> None:
        words = record.words
        if len(words) % 2:
            self._one_set(words[0], record)
            words = words[1:]
        values = self.rhs if record.section == "RHS" else self.ranges
        for label, word in zip(words[::2], words[1::2], strict=True):
            row = self.row(record, label)
            if row is None:
                continue
            if row == -1 and record.section == "RANGES":
                self.log.error(record.where, f"the objective {label!r} has no range")
            else:
                self._give(values, row, number_of(word), record, f"{record.section} of row {label!r}")

    def _give(self, values: dict[int, float], at: int, value: float, record: Record, what: str) -> None:
        """Note a value; the same one again changes nothing (the published 4node does it), another one is refused."""
        before = values.setdefault(at, value)
        if before != value:
            self.log.error(record.where, f"{what} is given twice: {value:g} after {before:g}", "keep one of them")

    def _bound(self, record: Record) -> None:
        kind, *words = record.words
        valued = kind in _VALUED or len(words) == 3 or (len(words) == 2 and words[1] not in self.columns)
        value = number_of(words.pop()) if valued and len(words) > 1 and BOUND.fullmatch(words[-1]) else math.nan
        if len(words) == 2:
            self._one_set(words[0], record)
        name = words[-1]
        column = self.columns.get(name)
        if kind == "SC":
            self.log.error(record.where, f"column {name!r} is semi-continuous", "use a binary column")
        elif column is None:
            self.log.unknown(record.where, "column", name, self.columns)
        else:
            self._set_bound(record, kind, name, column, value)

    def _set_bound(self, record: Record, kind: str, name: str, column: int, value: float) -> None:
        lower = {"LO": value, "LI": value, "FX": value, "FR": -math.inf, "MI": -math.inf, "BV": 0.0}.get(kind)
        upper = {"UP": value, "UI": value, "FX": value, "FR": math.inf, "PL": math.inf, "BV": 1.0}.get(kind)
        for side, given, new in (("lower", self.lower, lower), ("upper", self.upper, upper)):
            if new is not None:
                self._give(given, column, new, record, f"the {side} bound of column {name!r}")
        self.bounded_at[column] = record.where
        if kind in ("LI", "UI", "BV"):
            self.integer.add(column)

    def _finish(self) -> None:
        if not self.objective:
            self.log.error(str(self.path), "no objective", "ROWS needs a row of type N")
        if not self.columns:
            self.log.error(str(self.path), "no columns")
        marked = np.flatnonzero(self._marked).tolist()
        self.integer.update(marked)
        names = list(self.columns)
        binary = {j: names[j] for j in marked if j not in self.lower and j not in self.upper}
        self.upper.update(dict.fromkeys(binary, 1.0))
        if binary:
            named = shorten(binary.values())
            self.log.notes.append(f"{len(binary)} integer columns without a bound are binary: {named}")
        if self.ignored:
            self.log.notes.append(f"rows of type N beyond the objective are ignored: {shorten(self.ignored)}")
