"""SMPS files (.cor, .tim, .sto) as `TwoStageBlocks`.

Sources: J.R. Birge, M.A.H. Dempster, H.I. Gassmann, E.A. Gunn, A.J. King, S.W. Wallace, "A standard input format for
multiperiod stochastic linear programs", COAL Newsletter 17 (1987); H.I. Gassmann, B. Kristjansson, "The SMPS format
explained", IMA Journal of Management Mathematics 19 (2008). What the sources leave open is decided here and stated in
the docstring of `read_smps`; what a file leaves open is refused, or decided and stated in the notes of the result.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NamedTuple, TypeVar, get_args

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
import xarray as xr

from drofcm.blocks.form import FirstStage, Scenario, TwoStageBlocks
from drofcm.core.dims import SCENARIO
from drofcm.core.errors import Finding, InputError, raise_if_any, shorten, suggest

__all__ = ["Layout", "Reading", "read_smps"]

Reading = Literal["standard", "core"]
Layout = Literal["auto", "fixed", "free"]
Vector = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]
Element = tuple[str, int]
"""What a scenario may change: a kind of quantity and its position in the recourse."""
Changes = Mapping[Element, float]
T = TypeVar("T")

INFINITE = 1e20
"""Bounds of this size or more are none, as in the solvers' own readers of MPS."""

ROUNDING = 1e-5
"""Probabilities are printed with few digits; a sum that is off by less is scaled to one."""

_SUFFIXES = {"core": (".cor", ".core"), "time": (".tim", ".time"), "stochastic": (".sto", ".stoch")}


def read_smps(
    stem: str | Path | None = None,
    *,
    core: str | Path | None = None,
    time: str | Path | None = None,
    stochastic: str | Path | None = None,
    reading: Reading = "standard",
    layout: Layout = "auto",
    max_scenarios: int = 100_000,
) -> TwoStageBlocks:
    """Read a two-stage stochastic program from its three SMPS files.

    Parameters
    ----------
    stem
        Common path of the files without suffix (``folder/lands``), or one of the files.
    core, time, stochastic
        Path of a file that does not follow the stem.
    reading
        What a block of the stochastic file starts from. ``"standard"``: a scenario (``SC``) inherits from its parent,
        a later realisation of a block (``BL``) from the first one listed. ``"core"``: each changes the core file.
    layout
        ``"fixed"`` fields (names may hold spaces) or ``"free"`` (separated by blanks). ``"auto"`` takes, file by
        file, the free one unless only the fixed one fits.
    max_scenarios
        Largest product of independent realisations that is formed.

    Returns
    -------
    TwoStageBlocks
        Variables ``x`` (column), the first stage, and ``y`` (scenario, recourse_column), labelled by the columns of
        the core file; no recorded terms. Scenarios are numbered in the order of the file, or of the product of all
        INDEP elements and BLOCKS, the last varying fastest. Scenarios with equal matrices or vectors share them.
        ``probability.attrs`` states ``sense`` (``"max"``: costs were negated), ``reading`` and ``notes``: every
        decision that the files left open.

    Raises
    ------
    InputError
        With every fault found, each with file and line.

    Notes
    -----
    Objective constant: minus the right-hand side of the objective. A random cost of a first-stage column, or a random
    constant, enters the recourse cost as its difference from the core. A negative UP without a lower bound drops the
    lower bound; an integer column between markers without any bound is binary (both as CPLEX reads them). Objective:
    the first N row; further N rows are ignored. Not supported, hence refused: more than two periods, distributions
    other than DISCRETE, modifications other than REPLACE, semi-continuous columns, several sets of RHS, RANGES or
    BOUNDS, sections other than those of linear two-stage programs. A right-hand side, range or bound given again with
    the same value is accepted, every other duplicate refused.
    """
    for name, value, legal in (("reading", reading, get_args(Reading)), ("layout", layout, get_args(Layout))):
        if value not in legal:
            raise InputError([Finding(name, f"unknown {name} {value!r}", f"one of {', '.join(legal)}")])
    log = _Log()
    paths = _locate(stem, {"core": core, "time": time, "stochastic": stochastic}, log)
    log.stop()
    the_core = _Core(paths["core"], layout, log)
    log.stop()
    periods = _Periods(paths["time"], layout, the_core, log)
    log.stop()
    stages = _Stages(the_core, periods, log)
    stochastics = _Stochastics(paths["stochastic"], layout, reading, stages, log)
    scenarios = stochastics.scenarios(max_scenarios)
    log.stop()
    return _assemble(stages, stochastics, scenarios, paths, log)


class _Log:
    """Findings that stop the reader, and notes that go with the result."""

    def __init__(self) -> None:
        self.findings: list[Finding] = []
        self.notes: list[str] = []

    def error(self, where: str, what: str, fix: str = "") -> None:
        self.findings.append(Finding(where, what, fix))

    def unknown(self, where: str, what: str, name: str, known: Iterable[str]) -> None:
        # a search for the nearest name is slow: a file of another problem would ask for thousands
        self.error(where, f"unknown {what} {name!r}", suggest(name, known) if len(self.findings) < 20 else "")

    def stop(self) -> None:
        raise_if_any(self.findings)


def _locate(stem: str | Path | None, given: Mapping[str, str | Path | None], log: _Log) -> dict[str, Path]:
    suffixes = [suffix for group in _SUFFIXES.values() for suffix in group]
    base = None if stem is None else Path(stem)
    if base is not None and base.suffix.lower() in suffixes:
        base = base.with_suffix("")
    paths = {}
    for kind, value in given.items():
        if value is not None:
            tried = [Path(value)]
        elif base is not None:
            tried = [base.with_name(base.name + end) for suffix in _SUFFIXES[kind] for end in (suffix, suffix.upper())]
        else:
            log.error(kind, f"no path of the {kind} file", f"pass a stem, or {kind}=")
            continue
        found = [path for path in tried if path.is_file()]
        if not found:
            log.error(str(tried[0]), f"no such {kind} file", f"pass {kind}= if it has another name")
        else:
            paths[kind] = found[0]
    return paths


# ---- records: fixed and free ----------------------------------------------------------------------------------------

# Python's float() would take nan, 1_000 and 1e400 (infinite) as well; only a bound may be infinite
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eEdD][+-]?0*\d{1,2})?").fullmatch
_BOUND = re.compile(r"[+-]?((\d+\.?\d*|\.\d+)([eEdD][+-]?\d+)?|inf(inity)?)", re.IGNORECASE).fullmatch
_VALUED, _UNVALUED = frozenset(("UP", "LO", "FX", "UI", "LI")), frozenset(("FR", "MI", "PL", "BV", "SC"))
_RANDOM_BOUNDS = frozenset(("UP", "LO", "FX"))
_FIELDS = ((1, 3), (4, 12), (14, 22), (24, 36), (39, 47), (49, 61))


class _Record(NamedTuple):
    path: Path
    line: int
    section: str
    header: bool
    words: list[str]

    @property
    def where(self) -> str:
        return f"{self.path}:{self.line}"


@dataclass(frozen=True)
class _Section:
    """What a record of a section must look like."""

    fits: Callable[[Sequence[str]], bool]
    form: str


def _value(word: str) -> float:
    return float(word.lower().replace("d", "e"))


def _numbers(words: Sequence[str]) -> bool:
    return all(map(_NUMBER, words))


def _is_marker(words: Sequence[str]) -> bool:
    return len(words) == 3 and words[1].strip("'") == "MARKER" and not _NUMBER(words[2])


def _is_column(words: Sequence[str]) -> bool:
    return len(words) >= 3 and len(words) % 2 == 1 and _numbers(words[2::2])


def _is_vector(words: Sequence[str]) -> bool:
    return len(words) >= 2 and _numbers(words[2 if len(words) % 2 else 1 :: 2])


def _is_bound(words: Sequence[str]) -> bool:
    if words[0] in _VALUED:
        return len(words) in (3, 4) and bool(_BOUND(words[-1]))
    return words[0] in _UNVALUED and (len(words) in (2, 3) or (len(words) == 4 and bool(_BOUND(words[-1]))))


def _is_random_bound(words: Sequence[str]) -> bool:
    return words[0] in _RANDOM_BOUNDS and len(words) in (3, 4) and bool(_BOUND(words[-1]))


def _is_entry(words: Sequence[str]) -> bool:
    return bool(words) and (_is_random_bound(words) or _is_column(words))


def _without_tail(words: list[str]) -> list[str] | None:
    """An INDEP record without its (period and) probability."""
    for tail in (2, 1):
        entry = words[:-tail]
        if len(entry) <= 4 and _is_entry(entry) and _NUMBER(words[-1]):
            return entry
    return None


def _is_block(words: Sequence[str]) -> bool:
    return (len(words) == 4 and words[0] == "BL" and _numbers(words[3:])) or _is_entry(words)


def _is_scenario(words: Sequence[str]) -> bool:
    return (len(words) == 5 and words[0] == "SC" and _numbers(words[3:4])) or _is_entry(words)


_NOTHING = _Section(lambda words: False, "no records")
_ENTRY = "column, row, number (and again row, number), or UP/LO/FX, set, column, number"
_CORE = {
    "NAME": _NOTHING,
    "OBJSENSE": _Section(lambda words: len(words) == 1, "MIN or MAX"),
    "ROWS": _Section(lambda words: len(words) == 2, "N, L, G or E, and a name"),
    "COLUMNS": _Section(
        lambda words: _is_marker(words) or _is_column(words),
        "column, row, number (and again row, number), or marker, 'MARKER', 'INTORG'",
    ),
    "RHS": _Section(_is_vector, "(set,) row, number (and again row, number)"),
    "RANGES": _Section(_is_vector, "(set,) row, number (and again row, number)"),
    "BOUNDS": _Section(_is_bound, "type, (set,) column, and a number where the type has one"),
    "ENDATA": _NOTHING,
}
_TIME = {
    "TIME": _NOTHING,
    "PERIODS": _Section(lambda words: len(words) in (1, 3), "column, row, period; with EXPLICIT: period"),
    "ROWS": _Section(lambda words: len(words) == 2, "row, period"),
    "COLUMNS": _Section(lambda words: len(words) == 2, "column, period"),
    "ENDATA": _NOTHING,
}
_STOCH = {
    "STOCH": _NOTHING,
    "INDEP": _Section(
        lambda words: _without_tail(list(words)) is not None,
        "column, row, number, period, probability, or UP/LO/FX, set, column, number, period, probability",
    ),
    "BLOCKS": _Section(_is_block, f"BL, block, period, probability; then {_ENTRY}"),
    "SCENARIOS": _Section(_is_scenario, f"SC, scenario, parent, probability, period; then {_ENTRY}"),
    "ENDATA": _NOTHING,
}


def _fixed(text: str) -> list[str] | None:
    """The fields of a record in the fixed format; None if it does not stand in them."""
    text = text[:61]
    words, last = [], 0
    for first, end in _FIELDS:
        if text[last:first].strip() or "\t" in text:
            return None
        word = text[first:end].strip()
        if word:
            words.append(word)
        last = end
    return words


def _records(path: Path, sections: Mapping[str, _Section], layout: Layout, log: _Log) -> list[_Record]:
    """All headers and all records that have the form of their section."""
    try:
        lines = path.read_bytes().decode("utf-8").split("\n")
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise InputError([Finding(f"{path}:{line}", "not UTF-8 text", "convert the file")]) from error
    headers, texts = _split(path, lines, sections, log)
    readings: list[tuple[list[_Record], list[Finding]]] = []
    for name, split in (("free", str.split), ("fixed", _fixed)):
        if layout == name or (layout == "auto" and (not readings or readings[0][1])):
            readings.append(_formed(path, texts, sections, split))
    # on a tie the free format speaks: its messages are about words, not about positions in the line
    records, findings = min(readings, key=lambda reading: len(reading[1]))
    log.findings.extend(findings)
    return sorted(headers + records, key=lambda record: record.line)


def _split(
    path: Path, lines: Sequence[str], sections: Mapping[str, _Section], log: _Log
) -> tuple[list[_Record], list[tuple[int, str, str]]]:
    headers: list[_Record] = []
    texts: list[tuple[int, str, str]] = []
    section: str | None = None
    for number, line in enumerate(lines, start=1):
        if line.startswith("*") or not line.strip():
            continue
        if not line[0].isspace():
            word, *rest = line.split()
            section = word.upper() if word.upper() in sections else None
            if section is None:
                known = f"known: {', '.join(sections)}; records begin with a blank"
                log.error(f"{path}:{number}", f"unknown or unsupported section {word!r}", known)
                continue
            headers.append(_Record(path, number, section, True, rest))
            if section == "ENDATA":
                return headers, texts
        elif section is not None:
            texts.append((number, section, line.rstrip()))
        elif not headers:
            log.error(f"{path}:{number}", "a record before any section")
    last = max((number for number, line in enumerate(lines, start=1) if line.strip()), default=1)
    log.error(f"{path}:{last}", "no ENDATA: the file may be cut off")
    return headers, texts


def _formed(
    path: Path,
    texts: Sequence[tuple[int, str, str]],
    sections: Mapping[str, _Section],
    split: Callable[[str], list[str] | None],
) -> tuple[list[_Record], list[Finding]]:
    records, findings = [], []
    for number, section, text in texts:
        words = split(text)
        if words and sections[section].fits(words):
            records.append(_Record(path, number, section, False, words))
        else:
            what = f"not a record of {section}: {' '.join(text.split())!r}"
            fix = f"expected {sections[section].form}; names with spaces only in the fixed fields of MPS"
            findings.append(Finding(f"{path}:{number}", what, fix))
    return records, findings


# ---- the core file --------------------------------------------------------------------------------------------------


class _Core:
    """The deterministic program as the core file states it; a value that was not given is NaN or absent."""

    def __init__(self, path: Path, layout: Layout, log: _Log) -> None:
        self.path, self.log = path, log
        self.objective = ""
        self.ignored: dict[str, str] = {}  # N rows beyond the objective -> where
        self.rows: dict[str, int] = {}  # constraints
        self.senses: list[str] = []
        self.columns: dict[str, int] = {}
        self.marked: list[bool] = []
        self.integer: set[int] = set()
        self.maximise = False
        self.coefficients: dict[tuple[int, int], float] = {}  # row (objective: -1), column
        self.lines: dict[tuple[int, int], str] = {}
        self.rhs: dict[int, float] = {}  # row, objective: -1
        self.ranges: dict[int, float] = {}
        self.lower: dict[int, float] = {}
        self.upper: dict[int, float] = {}
        self.bounded_at: dict[int, str] = {}
        self.sets: dict[str, dict[str, str]] = {"RHS": {}, "RANGES": {}, "BOUNDS": {}}  # name of the set -> where
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
        for record in _records(path, _CORE, layout, log):
            if not record.header:
                readers[record.section](record)
            elif record.section == "OBJSENSE" and record.words:
                self._sense(record)
        self._finish()

    def _sense(self, record: _Record) -> None:
        word = record.words[0].upper()
        if word not in ("MIN", "MAX", "MINIMIZE", "MAXIMIZE", "MINIMISE", "MAXIMISE"):
            self.log.error(record.where, f"unknown sense {record.words[0]!r}", "MIN or MAX")
        self.maximise = word.startswith("MAX")

    def _row(self, record: _Record) -> None:
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

    def row(self, record: _Record, name: str) -> int | None:
        """Position of a row, -1 for the objective, None for one that is ignored or unknown."""
        if name == self.objective:
            return -1
        if name not in self.rows and name not in self.ignored:
            self.log.unknown(record.where, "row", name, [self.objective, *self.rows])
        return self.rows.get(name)

    def _column(self, record: _Record) -> None:
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
                self.marked.append(self._in_marker)
            self._last_column = name
        column = self.columns[name]
        for label, word in zip(record.words[1::2], record.words[2::2], strict=True):
            row = self.row(record, label)
            if row is not None and self._once(self.lines, (row, column), record, f"column {name!r}, row {label!r}"):
                self.coefficients[row, column] = _value(word)

    def _once(self, seen: dict[T, str], key: T, record: _Record, what: str) -> bool:
        if key in seen:
            self.log.error(record.where, f"{what} is given twice", f"first at {seen[key]}")
            return False
        seen[key] = record.where
        return True

    def _one_set(self, name: str, record: _Record) -> None:
        sets = self.sets[record.section]
        sets.setdefault(name, record.where)
        if len(sets) == 2 and sets[name] == record.where:
            first = next(iter(sets))
            self.log.error(
                record.where, f"a second set of {record.section}: {name!r} after {first!r}", "keep one of them"
            )

    def _vector(self, record: _Record) -> None:
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
                self._give(values, row, _value(word), record, f"{record.section} of row {label!r}")

    def _give(self, values: dict[int, float], at: int, value: float, record: _Record, what: str) -> None:
        """Note a value; the same one again changes nothing (the published 4node does it), another one is refused."""
        before = values.setdefault(at, value)
        if before != value:
            self.log.error(record.where, f"{what} is given twice: {value:g} after {before:g}", "keep one of them")

    def _bound(self, record: _Record) -> None:
        kind, *words = record.words
        valued = kind in _VALUED or len(words) == 3 or (len(words) == 2 and words[1] not in self.columns)
        value = _value(words.pop()) if valued and len(words) > 1 and _BOUND(words[-1]) else math.nan
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

    def _set_bound(self, record: _Record, kind: str, name: str, column: int, value: float) -> None:
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
        binary = [
            name for name, j in self.columns.items() if self.marked[j] and j not in self.lower and j not in self.upper
        ]
        for name in binary:
            self.upper[self.columns[name]] = 1.0
        self.integer.update(np.flatnonzero(self.marked).tolist())
        if binary:
            text = f"{len(binary)} integer columns without a bound are binary: {shorten(binary)}"
            self.log.notes.append(text)
        if self.ignored:
            self.log.notes.append(f"rows of type N beyond the objective are ignored: {shorten(self.ignored)}")


# ---- the time file --------------------------------------------------------------------------------------------------


class _Periods:
    """Which rows and columns belong to the second period."""

    def __init__(self, path: Path, layout: Layout, core: _Core, log: _Log) -> None:
        self.path, self.core, self.log = path, core, log
        self.names: list[str] = []
        self.second_row = np.zeros(len(core.rows), dtype=bool)
        self.second_column = np.zeros(len(core.columns), dtype=bool)
        records = _records(path, _TIME, layout, log)
        explicit = False
        for record in records:
            if record.header and record.section == "PERIODS" and record.words:
                explicit = record.words[0].upper() == "EXPLICIT"
                if record.words[0].upper() not in ("EXPLICIT", "IMPLICIT", "LP", "IP", "MIP"):
                    log.error(record.where, f"unknown kind of PERIODS {record.words[0]!r}", "IMPLICIT or EXPLICIT")
        data = [record for record in records if not record.header]
        (self._explicit if explicit else self._implicit)(data)
        if len(self.names) < 2 and not log.findings:
            log.error(str(path), f"{len(self.names)} periods", "a two-stage program has two")
        for name, columns in zip(self.names, (~self.second_column, self.second_column), strict=False):
            if not columns.any() and not log.findings:
                log.error(str(path), f"period {name!r} has no columns", "a two-stage program decides in both periods")

    def _period(self, record: _Record, name: str) -> int:
        if name not in self.names:
            self.names.append(name)
            if len(self.names) > 2:
                self.log.error(record.where, f"a third period {name!r}", "only two-stage programs can be read")
        return self.names.index(name)

    def _implicit(self, records: Sequence[_Record]) -> None:
        core = self.core
        for record in records:
            if record.section != "PERIODS" or len(record.words) != 3:
                form = _TIME["PERIODS"].form
                self.log.error(record.where, f"{record.section} needs PERIODS EXPLICIT here", f"expected {form}")
                continue
            column, row, name = record.words
            if name in self.names:
                self.log.error(record.where, f"period {name!r} is declared twice")
                continue
            period = self._period(record, name)
            if column not in core.columns:
                self.log.unknown(record.where, "column", column, core.columns)
            at = core.row(record, row)
            if row in core.ignored:
                self.log.error(
                    record.where, f"row {row!r} of type N is ignored: it begins no period", "name a constraint"
                )
            if at is None or column not in core.columns or period > 1:
                continue
            if period == 0 and (at > 0 or core.columns[column] > 0):
                what = f"the first period begins with column {column!r}, row {row!r}: those before have no period"
                first = f"{next(iter(core.columns))!r}, {next(iter(core.rows), core.objective)!r}"
                self.log.error(record.where, what, f"it must begin with the first of the core, {first}")
            elif period == 1 and at < 0:
                self.log.error(record.where, "the second period begins with the objective", "name its first row")
            elif period == 1:
                self.second_row[at:] = True
                self.second_column[core.columns[column] :] = True

    def _explicit(self, records: Sequence[_Record]) -> None:
        core, seen = self.core, {"ROWS": set[str](), "COLUMNS": set[str]()}
        for record in records:
            if record.section == "PERIODS":
                self._period(record, record.words[-1])
                continue
            name, period = record.words
            if name in seen[record.section]:
                self.log.error(record.where, f"{name!r} is given a period twice")
            seen[record.section].add(name)
            second = self._period(record, period) == 1
            if record.section == "ROWS":
                at = core.row(record, name)
                if at is not None and at >= 0:
                    self.second_row[at] = second
            elif name in core.columns:
                self.second_column[core.columns[name]] = second
            else:
                self.log.unknown(record.where, "column", name, core.columns)
        for section, names in (("ROWS", core.rows), ("COLUMNS", core.columns)):
            missing = [name for name in names if name not in seen[section]]
            if missing:
                self.log.error(str(self.path), f"{section} without a period: {shorten(missing)}")


# ---- both stages ----------------------------------------------------------------------------------------------------


class _Stages:
    """The core file, split by stage: positions within a stage, and vectors with NaN where nothing was given."""

    def __init__(self, core: _Core, periods: _Periods, log: _Log) -> None:
        self.core, self.periods, self.log = core, periods, log
        self.row_at = _within(periods.second_row)
        self.column_at = _within(periods.second_column)
        columns = np.array(list(core.columns), dtype=str)
        self.names = [columns[~periods.second_column], columns[periods.second_column]]
        self.sign = -1.0 if core.maximise else 1.0
        for (row, column), where in core.lines.items():
            if row >= 0 and periods.second_column[column] and not periods.second_row[row]:
                name, label = list(core.columns)[column], list(core.rows)[row]
                log.error(where, f"row {label!r} of the first period holds column {name!r} of the second")
        lower, upper = _bounds(*(_dense(given, len(columns)) for given in (core.lower, core.upper)))
        for j in np.flatnonzero(lower > upper):
            log.error(
                core.bounded_at[int(j)], f"column {columns[j]!r}: lower bound {lower[j]:g} above upper {upper[j]:g}"
            )
        self.dropped = {name for name, j in core.columns.items() if j not in core.lower and core.upper.get(j, 0) < 0}

    def rows(self, second: bool, values: Mapping[int, float]) -> Vector:
        """A value for every row of a stage, NaN where there is none."""
        return np.compress(self.periods.second_row == second, _dense(values, len(self.row_at)))

    def columns(self, second: bool, values: Mapping[int, float]) -> Vector:
        """A value for every column of a stage, NaN where there is none."""
        return np.compress(self.periods.second_column == second, _dense(values, len(self.column_at)))

    def senses(self, second: bool) -> npt.NDArray[np.str_]:
        """Types of the rows of a stage."""
        return np.compress(self.periods.second_row == second, np.array(self.core.senses, dtype="U1"))

    def cost(self, second: bool) -> Vector:
        """Costs of the columns of a stage, to be minimised."""
        costs = {column: value for (row, column), value in self.core.coefficients.items() if row == -1}
        return self.sign * np.nan_to_num(self.columns(second, costs))

    def integer(self, second: bool) -> Flags:
        """Integer columns of a stage."""
        return ~np.isnan(self.columns(second, dict.fromkeys(self.core.integer, 1.0)))

    def matrix(self, row_stage: bool, column_stage: bool) -> dict[tuple[int, int], float]:
        """Coefficients of one block by their position in it."""
        rows, columns = self.periods.second_row, self.periods.second_column
        return {
            (int(self.row_at[i]), int(self.column_at[j])): value
            for (i, j), value in self.core.coefficients.items()
            if i >= 0 and value and rows[i] == row_stage and columns[j] == column_stage
        }


def _within(second: Flags) -> npt.NDArray[np.int64]:
    """Position of every item within its stage."""
    return np.where(second, np.cumsum(second), np.cumsum(~second)) - 1


def _dense(values: Mapping[int, float], size: int) -> Vector:
    dense = np.full(size, np.nan)
    for at, value in values.items():
        if at >= 0:
            dense[at] = value
    return dense


def _bounds(given_lower: Vector, given_upper: Vector) -> tuple[Vector, Vector]:
    """Bounds from those given, NaN where none was: a negative upper bound alone drops the lower one."""
    lower = np.where(np.isnan(given_lower), np.where(given_upper < 0, -np.inf, 0.0), given_lower)
    upper = np.where(np.isnan(given_upper), np.inf, given_upper)
    return _unbounded(lower, upper)


def _unbounded(lower: Vector, upper: Vector) -> tuple[Vector, Vector]:
    return np.where(lower <= -INFINITE, -np.inf, lower), np.where(upper >= INFINITE, np.inf, upper)


def _row_bounds(sense: npt.NDArray[np.str_], rhs: Vector, ranges: Vector) -> tuple[Vector, Vector]:
    """Bounds of rows; NaN in ``rhs`` is zero, NaN in ``ranges`` none."""
    rhs, width = np.nan_to_num(rhs), np.abs(ranges)
    lower, upper = rhs.copy(), rhs.copy()
    less, greater, ranged = sense == "L", sense == "G", ~np.isnan(ranges)
    lower[less], upper[greater] = -np.inf, np.inf
    down = ranged & (less | ((sense == "E") & (ranges < 0)))
    up = ranged & (greater | ((sense == "E") & (ranges > 0)))
    lower[down] = rhs[down] - width[down]
    upper[up] = rhs[up] + width[up]
    return _unbounded(lower, upper)


# ---- the stochastic file --------------------------------------------------------------------------------------------


@dataclass
class _Block:
    """Realisations of one independent block, or of one element of INDEP."""

    label: str
    where: str
    probabilities: list[float] = field(default_factory=list)
    changes: list[dict[Element, float]] = field(default_factory=list)


class _Stochastics:
    """Independent blocks, or scenarios, with what each of them changes."""

    def __init__(self, path: Path, layout: Layout, reading: Reading, stages: _Stages, log: _Log) -> None:
        self.path, self.reading, self.stages, self.log = path, reading, stages, log
        self.blocks: dict[tuple[str, ...], _Block] = {}
        self.listed = _Block("the scenarios", str(path))
        self.names: dict[str, int] = {}
        self.where: dict[Element, str] = {}
        self.owner: dict[Element, _Block] = {}
        self._target: dict[Element, float] | None = None
        self._fresh: set[Element] = set()
        self._block: _Block | None = None
        self._incomplete: dict[str, None] = {}
        self._children = 0
        self._sections: dict[str, str] = {}
        readers = {"INDEP": self._indep, "BLOCKS": self._blocks, "SCENARIOS": self._scenarios}
        for record in _records(path, _STOCH, layout, log):
            if record.header:
                self._header(record)
            else:
                readers[record.section](record)
        self._end_of_realisation()
        self._finish()

    def _header(self, record: _Record) -> None:
        self._end_of_realisation()
        self._target = None
        if record.section not in ("INDEP", "BLOCKS", "SCENARIOS"):
            return
        self._sections.setdefault(record.section, record.where)
        if "SCENARIOS" in self._sections and len(self._sections) > 1:
            self.log.error(record.where, "SCENARIOS together with INDEP or BLOCKS: the joint distribution is open")
        kind, *modifications = [word.upper() for word in record.words] or ["DISCRETE"]
        if kind == "REPLACE":
            kind, modifications = "DISCRETE", ["REPLACE"]
        if kind != "DISCRETE":
            self.log.error(record.where, f"{record.section} with distribution {kind!r}", "only DISCRETE can be read")
        for word in modifications:
            if word != "REPLACE":
                self.log.error(record.where, f"{record.section} with modification {word!r}", "only REPLACE can be read")

    def _probability(self, record: _Record, word: str) -> float:
        value = _value(word)
        if not 0 <= value <= 1:
            self.log.error(record.where, f"probability {word} is not between 0 and 1")
        return value

    def _second(self, record: _Record, period: str, what: str) -> bool:
        names = self.stages.periods.names
        if period not in names:
            self.log.unknown(record.where, "period", period, names)
        elif period == names[0]:
            self.log.error(record.where, f"{what} in the first period {period!r}", "only the second can be random")
        return period == names[1]

    def _indep(self, record: _Record) -> None:
        entry = _without_tail(record.words)
        assert entry is not None
        rest = record.words[len(entry) :]
        if len(rest) == 2 and not self._second(record, rest[0], "a random element"):
            return
        probability = self._probability(record, rest[-1])
        changes = dict(self._elements(record, entry))
        if not changes:
            return
        key = ("INDEP", *map(str, changes))
        block = self.blocks.setdefault(key, _Block(f"element {' '.join(entry[:-1])!r}", record.where))
        self._claim(record, block, changes)
        block.probabilities.append(probability)
        block.changes.append(changes)

    def _claim(self, record: _Record, block: _Block, elements: Iterable[Element]) -> None:
        for element in elements:
            owner = self.owner.setdefault(element, block)
            if owner is not block:
                what = f"{block.label} changes what {owner.label} changes already"
                self.log.error(record.where, what, f"see {owner.where}: independent blocks must not overlap")

    def _blocks(self, record: _Record) -> None:
        if record.words[0] != "BL" or len(record.words) != 4:
            self._entry(record)
            return
        self._end_of_realisation()
        _, name, period, probability = record.words
        self._second(record, period, f"block {name!r}")
        block = self.blocks.setdefault(("BLOCKS", name), _Block(f"block {name!r}", record.where))
        inherited = block.changes[0] if block.changes and self.reading == "standard" else {}
        self._begin(block, self._probability(record, probability), inherited)

    def _scenarios(self, record: _Record) -> None:
        if record.words[0] != "SC" or len(record.words) != 5:
            self._entry(record)
            return
        self._end_of_realisation()
        name, parent, probability, period = (word.strip("'") for word in record.words[1:])
        inherited: Changes = {}
        if parent in self.names:
            self._children += 1
            inherited = self.listed.changes[self.names[parent]] if self.reading == "standard" else {}
        elif parent != "ROOT":
            self.log.unknown(record.where, "parent", parent, ["ROOT", *self.names])
        if not self.listed.changes:
            self.listed.where = record.where
        # the first scenario starts the tree: whether it is said to branch in the first period changes nothing
        if self.listed.changes or period != self.stages.periods.names[0]:
            self._second(record, period, f"scenario {name!r} branches")
        if name in self.names:
            self.log.error(record.where, f"scenario {name!r} is declared twice")
        self.names.setdefault(name, len(self.listed.changes))
        self._begin(self.listed, self._probability(record, probability), inherited)

    def _begin(self, block: _Block, probability: float, inherited: Changes) -> None:
        self._target = dict(inherited)
        self._fresh, self._block = set(), block
        block.probabilities.append(probability)
        block.changes.append(self._target)

    def _end_of_realisation(self) -> None:
        block, self._block = self._block, None
        if block is not None and block is not self.listed and self._fresh != block.changes[0].keys():
            self._incomplete[block.label] = None

    def _entry(self, record: _Record) -> None:
        if self._target is None or self._block is None:
            opening = "BL" if record.section == "BLOCKS" else "SC"
            self.log.error(record.where, f"an entry before the first {opening} record")
            return
        elements = list(self._elements(record, record.words))
        if self._block is not self.listed:
            self._claim(record, self._block, (element for element, _ in elements))
        for element, value in elements:
            if element in self._fresh:
                self.log.error(record.where, f"{' '.join(record.words)!r}: given twice in the same realisation")
            self._fresh.add(element)
            self._target[element] = value

    def _elements(self, record: _Record, entry: Sequence[str]) -> Iterator[tuple[Element, float]]:
        """What an entry changes; nothing where it is faulty or concerns an ignored row."""
        core = self.stages.core
        if _is_random_bound(entry) and not (len(entry) == 3 and entry[0] in core.columns):
            for element in self._bound_elements(record, entry[0], entry[-2]):
                self.where[element] = record.where
                yield element, _value(entry[-1])
            return
        for label, word in zip(entry[1::2], entry[2::2], strict=True):
            row = core.row(record, label)
            if row is None:
                continue
            if row >= 0 and not self.stages.periods.second_row[row]:
                self.log.error(record.where, f"row {label!r} of the first period cannot be random")
                continue
            found = self._element(record, entry[0], row)
            if found is not None:
                self.where[found] = record.where
                yield found, _value(word)

    def _bound_elements(self, record: _Record, kind: str, name: str) -> Iterator[Element]:
        core, stages = self.stages.core, self.stages
        column = core.columns.get(name)
        if column is None:
            self.log.unknown(record.where, "column", name, core.columns)
        elif not stages.periods.second_column[column]:
            self.log.error(record.where, f"the bound of column {name!r} of the first period cannot be random")
        else:
            sides = {"UP": ("upper",), "LO": ("lower",), "FX": ("lower", "upper")}[kind]
            yield from ((side, int(stages.column_at[column])) for side in sides)

    def _element(self, record: _Record, name: str, row: int) -> Element | None:
        core, stages = self.stages.core, self.stages
        sets = {kind for kind in ("RHS", "RANGES") if name in core.sets[kind] or name.upper() == kind}
        if len(sets) + (name in core.columns) > 1:
            what = f"{name!r} may be {' or '.join([*sorted(sets), 'a column'][: len(sets) + 1])}"
            self.log.error(record.where, what, "rename the column or the set")
            return None
        position = int(stages.row_at[row]) if row >= 0 else 0
        if sets == {"RHS"}:
            return ("constant", 0) if row < 0 else ("rhs", position)
        if sets == {"RANGES"}:
            if row < 0:
                self.log.error(record.where, "the objective has no range")
                return None
            return "ranges", position
        if name not in core.columns:
            self.log.unknown(record.where, "column or set", name, [*core.columns, "RHS", *core.sets["RHS"]])
            return None
        column = core.columns[name]
        second, at = bool(stages.periods.second_column[column]), int(stages.column_at[column])
        if row < 0:
            return ("cost" if second else "first_stage_cost"), at
        return ("recourse" if second else "technology"), position * len(stages.names[second]) + at

    def _finish(self) -> None:
        for block in [*self.blocks.values(), *([self.listed] if self.listed.changes else [])]:
            total = math.fsum(block.probabilities)
            if abs(total - 1) > ROUNDING:
                self.log.error(block.where, f"the probabilities of {block.label} sum to {total:.10g}, not to 1")
            elif abs(total - 1) > 1e-12:
                self.log.notes.append(f"the probabilities of {block.label} sum to {total:.10g} and were scaled to 1")
                block.probabilities = [probability / total for probability in block.probabilities]
        if self._incomplete:
            rule = (
                "those of the first listed, if any, or of the core"
                if self.reading == "standard"
                else "those of the core"
            )
            self.log.notes.append(f"values that a realisation does not list are {rule}: {shorten(self._incomplete)}")
        if self._children:
            rule = "inherit from it" if self.reading == "standard" else "change the core file all the same"
            self.log.notes.append(f"{self._children} scenarios have another scenario as parent and {rule}")

    def scenarios(self, most: int) -> list[tuple[float, Changes]]:
        """Probability of every scenario and what it changes."""
        if self.listed.changes:
            return list(zip(self.listed.probabilities, self.listed.changes, strict=True))
        blocks = list(self.blocks.values())
        count = math.prod(len(block.changes) for block in blocks)
        if count > most:
            what = f"{len(blocks)} independent blocks have {count:,} joint realisations, more than {most:,}"
            self.log.error(blocks[0].where, what, "raise max_scenarios, or sample")
            return []
        realisations = [list(zip(block.probabilities, block.changes, strict=True)) for block in blocks]
        return [
            (math.prod(probability for probability, _ in joint), _union(changes for _, changes in joint))
            for joint in itertools.product(*realisations)
        ]


def _union(parts: Iterable[Changes]) -> Changes:
    union: dict[Element, float] = {}
    for part in parts:
        union.update(part)
    return union


# ---- assembly -------------------------------------------------------------------------------------------------------


class _Pattern:
    """A matrix whose scenarios differ in the values of some entries only, so that they share its pattern."""

    def __init__(self, entries: Mapping[tuple[int, int], float], shape: tuple[int, int], changing: set[int]) -> None:
        values = {row * shape[1] + column: value for (row, column), value in entries.items()}
        self.keys = np.array(sorted(values.keys() | changing), dtype=np.int64)
        self.shape = shape
        data = np.array([values.get(key, 0.0) for key in self.keys.tolist()], dtype=float)
        columns = self.keys % shape[1] if shape[1] else self.keys
        rows = self.keys // shape[1] if shape[1] else self.keys
        start = np.searchsorted(rows, np.arange(shape[0] + 1))
        self.base = sp.csr_array((data, columns, start), shape=shape)

    def at(self, changes: Mapping[int, float]) -> sp.csr_array:
        data = self.base.data
        if changes:
            data = data.copy()
            data[np.searchsorted(self.keys, list(changes))] = list(changes.values())
        matrix = sp.csr_array((data, self.base.indices, self.base.indptr), shape=self.shape)
        if not data.all():
            matrix = matrix.copy()
            matrix.eliminate_zeros()
        return matrix


class _Recourse:
    """Matrices of the recourse scenario by scenario; equal parts are the same object."""

    def __init__(self, stages: _Stages, changing: Iterable[Element]) -> None:
        self.stages = stages
        core = stages.core
        sizes = {"technology": len(stages.names[0]), "recourse": len(stages.names[1])}
        rows = int(stages.periods.second_row.sum())
        elements = set(changing)
        self.patterns = {
            name: _Pattern(
                stages.matrix(True, name == "recourse"),
                (rows, sizes[name]),
                {at for kind, at in elements if kind == name},
            )
            for name in sizes
        }
        self.given = {
            "rhs": stages.rows(True, core.rhs),
            "ranges": stages.rows(True, core.ranges),
            "lower": stages.columns(True, core.lower),
            "upper": stages.columns(True, core.upper),
            "cost": stages.cost(True),
            "first_stage_cost": stages.cost(False),
        }
        self.senses, self.integer = stages.senses(True), stages.integer(True)
        self._parts: dict[tuple[object, ...], object] = {}

    def scenario(self, changes: Changes) -> Scenario:
        by_kind: dict[str, dict[int, float]] = {}
        for (kind, at), value in changes.items():
            by_kind.setdefault(kind, {})[at] = value
        row_lower, row_upper = self._shared(by_kind, ("rhs", "ranges"), self._row_bounds)
        lower, upper = self._shared(by_kind, ("lower", "upper"), self._column_bounds)
        core = self.stages.core
        constant = by_kind.get("constant", {}).get(0)
        return Scenario(
            cost=self._shared(by_kind, ("cost",), self._cost),
            first_stage_cost=self._shared(by_kind, ("first_stage_cost",), self._first_stage_cost),
            constant=0.0 if constant is None else self.stages.sign * (core.rhs.get(-1, 0.0) - constant),
            technology=self._shared(by_kind, ("technology",), self.patterns["technology"].at),
            recourse=self._shared(by_kind, ("recourse",), self.patterns["recourse"].at),
            row_lower=row_lower,
            row_upper=row_upper,
            lower=lower,
            upper=upper,
            integer=self.integer,
        )

    def _shared(self, by_kind: Mapping[str, Mapping[int, float]], kinds: Sequence[str], build: Callable[..., T]) -> T:
        parts = [by_kind.get(kind, {}) for kind in kinds]
        key = (*kinds, *(tuple(sorted(part.items())) for part in parts))
        if key not in self._parts:
            self._parts[key] = build(*parts)
        return self._parts[key]  # type: ignore[return-value]  # the key names the builder

    def _changed(self, kind: str, changes: Mapping[int, float], sign: float = 1.0) -> Vector:
        vector = self.given[kind].copy()
        vector[list(changes)] = [sign * value for value in changes.values()]
        return vector

    def _row_bounds(self, rhs: Mapping[int, float], ranges: Mapping[int, float]) -> tuple[Vector, Vector]:
        return _row_bounds(self.senses, self._changed("rhs", rhs), self._changed("ranges", ranges))

    def _column_bounds(self, lower: Mapping[int, float], upper: Mapping[int, float]) -> tuple[Vector, Vector]:
        given = self._changed("lower", lower), self._changed("upper", upper)
        names = self.stages.names[1]
        self.stages.dropped.update(names[np.isnan(given[0]) & (given[1] < 0)])
        return _bounds(*given)

    def _cost(self, changes: Mapping[int, float]) -> Vector:
        return self._changed("cost", changes, self.stages.sign)

    def _first_stage_cost(self, changes: Mapping[int, float]) -> Vector:
        return self._changed("first_stage_cost", changes, self.stages.sign) - self.given["first_stage_cost"]


def _assemble(
    stages: _Stages,
    stochastics: _Stochastics,
    scenarios: Sequence[tuple[float, Changes]],
    paths: Mapping[str, Path],
    log: _Log,
) -> TwoStageBlocks:
    recourse = _Recourse(stages, stochastics.where)
    built = tuple(recourse.scenario(changes) for _, changes in scenarios)
    _check_bounds(stages, stochastics, scenarios, built)
    log.stop()
    if stages.dropped:
        named = shorten(sorted(stages.dropped))
        log.notes.append(f"a negative upper bound without a lower bound drops the lower bound: {named}")
    probability = np.array([weight for weight, _ in scenarios])
    first, second = (len(names) for names in stages.names)
    number = np.arange(len(built), dtype=np.int64)
    coords = {SCENARIO: number}
    positions = first + number[:, None] * second + np.arange(second)
    return TwoStageBlocks(
        first_stage=_first_stage(stages),
        scenarios=built,
        probability=xr.DataArray(
            probability,
            coords=coords,
            dims=SCENARIO,
            name="probability",
            attrs={
                "units": "1",
                "source": ", ".join(path.name for path in paths.values()),
                "sense": "max" if stages.core.maximise else "min",
                "reading": stochastics.reading,
                "notes": "; ".join(log.notes),
            },
        ),
        variables={
            "x": xr.DataArray(np.arange(first), coords={"column": stages.names[0]}, dims="column"),
            "y": xr.DataArray(
                positions, coords={**coords, "recourse_column": stages.names[1]}, dims=(SCENARIO, "recourse_column")
            ),
        },
        first_stage_names=("x",),
        terms={},
    )


def _first_stage(stages: _Stages) -> FirstStage:
    core = stages.core
    row_lower, row_upper = _row_bounds(
        stages.senses(False), stages.rows(False, core.rhs), stages.rows(False, core.ranges)
    )
    lower, upper = _bounds(stages.columns(False, core.lower), stages.columns(False, core.upper))
    shape = (len(row_lower), len(lower))
    return FirstStage(
        cost=stages.cost(False),
        constant=-stages.sign * core.rhs.get(-1, 0.0),
        rows=_Pattern(stages.matrix(False, False), shape, set()).at({}),
        row_lower=row_lower,
        row_upper=row_upper,
        lower=lower,
        upper=upper,
        integer=stages.integer(False),
    )


def _check_bounds(
    stages: _Stages,
    stochastics: _Stochastics,
    scenarios: Sequence[tuple[float, Changes]],
    built: Sequence[Scenario],
) -> None:
    """Random bounds that cross; those of the core file were checked before."""
    seen: set[int] = set()
    for number, (scenario, (_, changes)) in enumerate(zip(built, scenarios, strict=True)):
        if id(scenario.lower) in seen:
            continue
        seen.add(id(scenario.lower))
        for at in np.flatnonzero(scenario.lower > scenario.upper).tolist():
            side = ("upper", at) if ("upper", at) in changes else ("lower", at)
            bounds = f"lower bound {scenario.lower[at]:g} above upper {scenario.upper[at]:g}"
            what = f"column {stages.names[1][at]!r}: {bounds} in scenario {number}"
            stages.log.error(stochastics.where[side], what)
