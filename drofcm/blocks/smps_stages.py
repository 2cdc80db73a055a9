"""The time file of SMPS, and the core file split by it into the matrices and vectors of the two stages.

Implicit periods begin at a row and a column of the core file, explicit ones name every row and column. Values that
the core file does not give get their defaults only in `column_bounds` and `row_bounds`, after the stochastic file had
its say: whether a lower bound was given decides what a negative upper bound means.

Source: H.I. Gassmann, B. Kristjansson, "The SMPS format explained", IMA Journal of Management Mathematics 19 (2008).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from drofcm.blocks.form import Flags, Positions, Vector
from drofcm.blocks.smps_core import Core
from drofcm.blocks.smps_records import NOTHING, Layout, Log, Record, Section, read_records
from drofcm.core.errors import shorten

__all__ = ["INFINITE", "Periods", "Stages", "column_bounds", "row_bounds"]

INFINITE = 1e20
"""Bounds of this size or more are none, as in the solvers' own readers of MPS."""

_SECTIONS = {
    "TIME": NOTHING,
    "PERIODS": Section(lambda words: len(words) in (1, 3), "column, row, period; with EXPLICIT: period"),
    "ROWS": Section(lambda words: len(words) == 2, "row, period"),
    "COLUMNS": Section(lambda words: len(words) == 2, "column, period"),
    "ENDATA": NOTHING,
}


class Periods:
    """Which rows and columns belong to the second period.

    Attributes
    ----------
    names
        Names of the periods.
    second_row, second_column
        True where a row or a column of the core file belongs to the second period.
    """

    def __init__(self, path: Path, layout: Layout, core: Core, log: Log) -> None:
        self.path, self.core, self.log = path, core, log
        self.names: list[str] = []
        self.second_row = np.zeros(len(core.rows), dtype=bool)
        self.second_column = np.zeros(len(core.columns), dtype=bool)
        explicit = False
        records = read_records(path, _SECTIONS, layout, log)
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

    def _period(self, record: Record, name: str) -> int:
        if name not in self.names:
            self.names.append(name)
            if len(self.names) > 2:
                self.log.error(record.where, f"a third period {name!r}", "only two-stage programs can be read")
        return self.names.index(name)

    def _implicit(self, records: Sequence[Record]) -> None:
        core = self.core
        for record in records:
            if record.section != "PERIODS" or len(record.words) != 3:
                form = _SECTIONS["PERIODS"].form
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

    def _explicit(self, records: Sequence[Record]) -> None:
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


class Stages:
    """The core file split by stage.

    Attributes
    ----------
    row_at, column_at
        Position of every row and column of the core file within its stage.
    names
        Columns of the first stage, columns of the recourse.
    sign
        -1 if the core file maximises: costs are to be minimised.
    dropped
        Columns whose negative upper bound drops the lower bound.
    """

    def __init__(self, core: Core, periods: Periods, log: Log) -> None:
        self.core, self.periods, self.log = core, periods, log
        self.row_at = _within(periods.second_row)
        self.column_at = _within(periods.second_column)
        columns, rows = list(core.columns), list(core.rows)
        names = np.array(columns, dtype=str)
        self.names = [names[~periods.second_column], names[periods.second_column]]
        self.sign = -1.0 if core.maximise else 1.0
        for (row, column), where in core.lines.items():
            if row >= 0 and periods.second_column[column] and not periods.second_row[row]:
                what = f"row {rows[row]!r} of the first period holds column {columns[column]!r} of the second"
                log.error(where, what)
        lower, upper = column_bounds(*(_dense(given, len(columns)) for given in (core.lower, core.upper)))
        for j in np.flatnonzero(lower > upper).tolist():
            what = f"column {columns[j]!r}: lower bound {lower[j]:g} above upper {upper[j]:g}"
            log.error(core.bounded_at[j], what)
        self.dropped = {name for name, j in core.columns.items() if j not in core.lower and core.upper.get(j, 0) < 0}

    def rows(self, values: Mapping[int, float], *, second: bool) -> Vector:
        """A value for every row of a stage, NaN where there is none."""
        return np.compress(self.periods.second_row == second, _dense(values, len(self.row_at)))

    def columns(self, values: Mapping[int, float], *, second: bool) -> Vector:
        """A value for every column of a stage, NaN where there is none."""
        return np.compress(self.periods.second_column == second, _dense(values, len(self.column_at)))

    def senses(self, *, second: bool) -> npt.NDArray[np.str_]:
        """Types of the rows of a stage."""
        return np.compress(self.periods.second_row == second, np.array(self.core.senses, dtype="U1"))

    def cost(self, *, second: bool) -> Vector:
        """Costs of the columns of a stage, to be minimised."""
        costs = {column: value for (row, column), value in self.core.coefficients.items() if row == -1}
        return self.sign * np.nan_to_num(self.columns(costs, second=second))

    def integer(self, *, second: bool) -> Flags:
        """Integer columns of a stage."""
        return ~np.isnan(self.columns(dict.fromkeys(self.core.integer, 1.0), second=second))

    def matrix(self, *, second_row: bool, second_column: bool) -> dict[tuple[int, int], float]:
        """Coefficients of one block by their position in it."""
        rows, columns = self.periods.second_row, self.periods.second_column
        return {
            (int(self.row_at[i]), int(self.column_at[j])): value
            for (i, j), value in self.core.coefficients.items()
            if i >= 0 and value and rows[i] == second_row and columns[j] == second_column
        }


def _within(second: Flags) -> Positions:
    """Position of every item within its stage."""
    return np.where(second, np.cumsum(second), np.cumsum(~second)) - 1


def _dense(values: Mapping[int, float], size: int) -> Vector:
    dense = np.full(size, np.nan)
    for at, value in values.items():
        if at >= 0:
            dense[at] = value
    return dense


def column_bounds(given_lower: Vector, given_upper: Vector) -> tuple[Vector, Vector]:
    """Bounds of columns from those given, NaN where none was: a negative upper bound alone drops the lower one."""
    lower = np.where(np.isnan(given_lower), np.where(given_upper < 0, -np.inf, 0.0), given_lower)
    upper = np.where(np.isnan(given_upper), np.inf, given_upper)
    return _unbounded(lower, upper)


def _unbounded(lower: Vector, upper: Vector) -> tuple[Vector, Vector]:
    return np.where(lower <= -INFINITE, -np.inf, lower), np.where(upper >= INFINITE, np.inf, upper)


def row_bounds(senses: npt.NDArray[np.str_], rhs: Vector, ranges: Vector) -> tuple[Vector, Vector]:
    """Bounds of rows; NaN in ``rhs`` is zero, NaN in ``ranges`` none."""
    rhs, width = np.nan_to_num(rhs), np.abs(ranges)
    lower, upper = rhs.copy(), rhs.copy()
    less, greater, equal = senses == "L", senses == "G", senses == "E"
    lower[less], upper[greater] = -np.inf, np.inf
    down = (less & ~np.isnan(ranges)) | (equal & (ranges < 0))
    up = (greater & ~np.isnan(ranges)) | (equal & (ranges > 0))
    lower[down] = rhs[down] - width[down]
    upper[up] = rhs[up] + width[up]
    return _unbounded(lower, upper)
