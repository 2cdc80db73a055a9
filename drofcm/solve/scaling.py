"""The scale of a program: what a unit of cost is, and of columns and rows where their figures are out of proportion.

Every tolerance of a solver and of the search is a figure without a unit: a millionth of a dollar and of a billion. So
a program is solved in units of its own. Costs are divided by a typical one of them, which is all that most programs
need; where coefficients, bounds or sides are very small or very large, continuous columns and all rows get units too,
such that these come as close to one as they can (least squares of logarithms, after Curtis and Reid). All units are
powers of two, so that nothing is rounded and a program whose costs are multiplied by one is the same program. What no
unit brings into the range of the solver is refused by name: dropped, it would void every bound.

References
----------
Curtis, A. R. and Reid, J. K. (1972). On the automatic scaling of matrices for Gaussian elimination. IMA Journal of
Applied Mathematics 10: 118-124.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
import xarray as xr

from drofcm.blocks.form import FirstStage, LabelledMap, Scenario, TwoStageBlocks
from drofcm.core.errors import LimitError, ModelError
from drofcm.solve.admissible import column_name, place, row_name
from drofcm.solve.progress import Progress, Standing
from drofcm.solve.result import Result

__all__ = ["Scaled", "scaled"]

Vector = npt.NDArray[np.float64]

_SMALL, _LARGE = 1e-5, 1e7
"""Coefficients outside this range are out of proportion."""

_SMALL_SIDE, _LARGE_SIDE = 1e-3, 1e6
"""So are bounds and sides, if half of them are outside this range."""

_INFINITE = 1e20
"""Bounds and sides that HiGHS takes for infinite."""

_DROPPED, _REFUSED = 1e-9, 1e15
"""Coefficients that HiGHS drops and refuses."""

_DUST = 1e-13
"""A coefficient below this share of the largest in its row is the rounding of whatever made it."""

_SWEEPS = 12
_COST, _FEW = -1, 6


@dataclass(frozen=True)
class Scaled:
    """A program in units of its own.

    Attributes
    ----------
    blocks
        The program; names, labels and recorded terms are those of the original.
    unit
        What a unit of its cost is in the original's.
    columns
        The same of every column, first stage first, then scenario by scenario; None where all are one.
    rows
        The same of every row of the first stage, by what its dual is multiplied with; None where all are one.
    """

    blocks: TwoStageBlocks
    unit: float
    columns: Vector | None = None
    rows: Vector | None = None

    def plan(self, plan: xr.Dataset) -> xr.Dataset:
        """A plan of the original as one of the program."""
        x = self.blocks.first_stage_columns(plan)
        return self.blocks.labelled_first_stage(x if self.columns is None else x / self.columns[: len(x)])

    def listener(self, progress: Progress | None) -> Progress | None:
        """The same listener, told in the original's units."""
        if progress is None or self.unit == 1:
            return progress

        def told(standing: Standing) -> None:
            progress(standing._replace(lower=standing.lower * self.unit, upper=standing.upper * self.unit))

        return told

    def limit(self, error: LimitError) -> LimitError:
        """An error with a bound in it, in the original's units."""
        return LimitError(error.status, error.seconds, error.lower_bound * self.unit)

    def result(self, result: Result) -> Result:
        """A result of the program as one of the original."""
        unit = self.unit
        prices = _times(result.prices, unit)
        first_stage, recourse = result.first_stage, result.recourse
        if self.columns is not None:
            first_stage = _times(first_stage, self.blocks.labelled_first_stage(self.columns))
            recourse = _times(recourse, self.blocks.labelled_recourse(self.columns))
        if self.rows is not None and len(prices):
            prices = _times(prices, self.blocks.labelled_first_stage_rows(self.rows))
        log = result.log.copy()
        for bound in ("lower_bound", "upper_bound"):
            log[bound] = log[bound].astype(float) * unit
        return replace(
            result,
            first_stage=first_stage,
            recourse=recourse,
            recourse_cost=result.recourse_cost.copy(data=result.recourse_cost.values * unit),
            objective=result.objective * unit,
            lower_bound=result.lower_bound * unit,
            upper_bound=result.upper_bound * unit,
            log=log,
            prices=prices,
        )


def scaled(blocks: TwoStageBlocks) -> Scaled:
    """A program in units of its own.

    Raises
    ------
    ModelError
        If a coefficient stays out of the range of the solver and counts: with the names of row and column.
    """
    blocks = _without_distant_bounds(blocks)
    units = _Units(blocks) if _out_of_proportion(blocks) else None
    columns = rows = None
    if units is not None:
        blocks, columns, rows = units.applied()
        _refuse_out_of_range(blocks)
    unit = _typical_cost(blocks)
    return Scaled(_in_units_of_cost(blocks, unit), unit, columns, rows)


# ---- costs ------------------------------------------------------------------------------------------------------


def _typical_cost(blocks: TwoStageBlocks) -> float:
    parts = [blocks.first_stage.cost, *_once(own.cost for own in blocks.scenarios)]
    parts += _once(own.first_stage_cost for own in blocks.scenarios)
    sizes = np.abs(np.concatenate(parts))
    sizes = sizes[sizes > 0]
    if not len(sizes):
        constants = [abs(blocks.first_stage.constant), *(abs(own.constant) for own in blocks.scenarios)]
        sizes = np.array([value for value in constants if value > 0])
    return float(2.0 ** np.round(np.median(np.log2(sizes)))) if len(sizes) else 1.0


def _in_units_of_cost(blocks: TwoStageBlocks, unit: float) -> TwoStageBlocks:
    if unit == 1:
        return blocks
    memo = _Memo()
    first = blocks.first_stage
    return replace(
        blocks,
        first_stage=replace(first, cost=first.cost / unit, constant=first.constant / unit),
        scenarios=tuple(
            replace(
                own,
                cost=memo.of(own.cost, lambda cost: cost / unit),
                first_stage_cost=memo.of(own.first_stage_cost, lambda cost: cost / unit),
                constant=own.constant / unit,
            )
            for own in blocks.scenarios
        ),
    )


# ---- columns and rows -------------------------------------------------------------------------------------------


def _without_distant_bounds(blocks: TwoStageBlocks) -> TwoStageBlocks:
    """Bounds that HiGHS takes for infinite are infinite everywhere."""
    names = ("lower", "upper", "row_lower", "row_upper")
    parts = (blocks.first_stage, *blocks.scenarios)
    arrays = _once(getattr(part, name) for part in parts for name in names)
    if not any(bool((np.isfinite(array) & (np.abs(array) >= _INFINITE)).any()) for array in arrays):
        return blocks
    memo = _Memo()

    def near(bound: Vector) -> Vector:
        return np.where(np.abs(bound) >= _INFINITE, np.sign(bound) * np.inf, bound)

    def clear(part: Any) -> Any:
        return replace(part, **{name: memo.of(getattr(part, name), near) for name in names})

    return replace(
        blocks, first_stage=clear(blocks.first_stage), scenarios=tuple(clear(own) for own in blocks.scenarios)
    )


def _out_of_proportion(blocks: TwoStageBlocks) -> bool:
    """Whether columns and rows need units."""
    matrices = [blocks.first_stage.rows, *_matrices(blocks.scenarios)]
    for matrix in _once(matrices):
        size = np.abs(matrix.data)
        if size.max(initial=0.0) > _LARGE:
            return True
        small = np.flatnonzero((size < _SMALL) & (size > 0))
        if len(small) and (size[small] > _DUST * _largest_by_row(matrix)[_row_of(matrix, small)]).any():
            return True
    sides = [blocks.first_stage.row_lower, blocks.first_stage.row_upper]
    sides += _once(side for own in blocks.scenarios for side in (own.row_lower, own.row_upper))
    for part in _once([blocks.first_stage, *blocks.scenarios]):
        sides += [part.lower[~part.integer], part.upper[~part.integer]]
    sizes = np.abs(np.concatenate(sides))
    sizes = sizes[np.isfinite(sizes) & (sizes > 0)]
    return bool(len(sizes)) and not _SMALL_SIDE <= float(np.median(sizes)) <= _LARGE_SIDE


class _Units:
    """Units of columns and rows by least squares of logarithms, one coefficient, bound or side an observation.

    Scenarios that share their matrices share their units, so that these stay shared.
    """

    def __init__(self, blocks: TwoStageBlocks) -> None:
        self._blocks = blocks
        first = blocks.first_stage
        self._kind = [_key(own) for own in blocks.scenarios]
        own = dict(zip(reversed(self._kind), reversed(blocks.scenarios), strict=True))
        self._own = {kind: own[kind] for kind in dict.fromkeys(self._kind)}
        self._column_begin, self._row_begin = {}, {}
        columns, rows = len(first.cost), len(first.row_lower)
        for kind, scenario in self._own.items():
            self._column_begin[kind], self._row_begin[kind] = columns, rows
            columns, rows = columns + len(scenario.cost), rows + len(scenario.row_lower)
        self._sizes = columns, rows
        self._column, self._row = self._balanced()

    def applied(self) -> tuple[TwoStageBlocks, Vector, Vector]:
        """The program in these units, and the units of all columns and of the first stage's rows."""
        blocks, first = self._blocks, self._blocks.first_stage
        n, m = len(first.cost), len(first.row_lower)
        memo = _Memo()
        x, above = self._column[:n], self._row[:m]
        widened = replace(
            first,
            cost=first.cost * x,
            rows=_both(first.rows, above, x),
            row_lower=first.row_lower * above,
            row_upper=first.row_upper * above,
            lower=first.lower / x,
            upper=first.upper / x,
        )
        scenarios, units = [], [x]
        for kind, own in zip(self._kind, blocks.scenarios, strict=True):
            begin, under = self._column_begin[kind], self._row_begin[kind]
            w, r = self._column[begin : begin + len(own.cost)], self._row[under : under + len(own.row_lower)]
            units.append(w)
            scenarios.append(
                replace(
                    own,
                    cost=own.cost * w,
                    first_stage_cost=memo.of(own.first_stage_cost, lambda cost: cost * x),
                    technology=memo.of(own.technology, lambda matrix, r=r: _both(matrix, r, x), kind),
                    recourse=memo.of(own.recourse, lambda matrix, r=r, w=w: _both(matrix, r, w), kind),
                    row_lower=own.row_lower * r,
                    row_upper=own.row_upper * r,
                    lower=own.lower / w,
                    upper=own.upper / w,
                )
            )
        columns = np.concatenate(units)
        terms = {name: _in_units(term, columns) for name, term in blocks.terms.items()}
        whole = replace(blocks, first_stage=widened, scenarios=tuple(scenarios), terms=terms)
        return whole, columns, above

    def _balanced(self) -> tuple[Vector, Vector]:
        row, column, size = (np.concatenate(parts) for parts in zip(*self._observations(), strict=True))
        count, width = self._sizes[1] + 1, self._sizes[0] + 1
        # the last row is the cost; the last column stands for one: sides and bounds are observed beside it
        row, column = np.where(row == _COST, count - 1, row), np.where(column == _COST, width - 1, column)
        bound = row == -2
        fixed = np.append(self._integer(), True)
        r, c = np.zeros(count), np.zeros(width)
        target = size.copy()
        for _ in range(_SWEEPS):
            r = -_mean(row[~bound], (size + c[column])[~bound], count)
            target = np.where(bound, size, -(size + r[np.where(bound, 0, row)]))
            c = np.where(fixed, 0.0, _mean(column, target, width))
        c = np.round(c)
        r = np.round(-_mean(row[~bound], (size + c[column])[~bound], count))
        return 2.0 ** c[:-1], 2.0 ** r[:-1]

    def _integer(self) -> npt.NDArray[np.bool_]:
        return np.concatenate([self._blocks.first_stage.integer, *(own.integer for own in self._own.values())])

    def _observations(self) -> Iterator[tuple[Any, Any, Vector]]:
        """Rows, columns and logarithms of what is to come close to one."""
        first = self._blocks.first_stage
        yield self._of_matrix(first.rows, 0, 0)
        yield self._of_sides(first, 0)
        yield self._of_bounds(first, 0)
        yield self._of_cost(first.cost, 0)
        for kind, own in self._own.items():
            under, begin = self._row_begin[kind], self._column_begin[kind]
            yield self._of_matrix(own.technology, under, 0)
            yield self._of_matrix(own.recourse, under, begin)
            yield self._of_sides(own, under)
            yield self._of_bounds(own, begin)
            yield self._of_cost(own.cost, begin)

    def _of_matrix(self, matrix: sp.csr_array, row: int, column: int) -> tuple[Any, Any, Vector]:
        size = np.abs(matrix.data)
        at = np.flatnonzero(size > 0)
        at = at[size[at] > _DUST * _largest_by_row(matrix)[_row_of(matrix, at)]]
        return _row_of(matrix, at) + row, matrix.indices[at].astype(np.int64) + column, np.log2(size[at])

    def _of_sides(self, part: FirstStage | Scenario, row: int) -> tuple[Any, Any, Vector]:
        sides = np.fmax(_finite(part.row_lower), _finite(part.row_upper))
        at = np.flatnonzero(sides > 0)
        return at + row, np.full(len(at), _COST), np.log2(sides[at])

    def _of_bounds(self, part: FirstStage | Scenario, column: int) -> tuple[Any, Any, Vector]:
        bounds = np.fmax(_finite(part.lower), _finite(part.upper))
        at = np.flatnonzero((bounds > 0) & ~part.integer)
        return np.full(len(at), -2), at + column, np.log2(bounds[at])

    def _of_cost(self, cost: Vector, column: int) -> tuple[Any, Any, Vector]:
        at = np.flatnonzero(cost)
        return np.full(len(at), _COST), at + column, np.log2(np.abs(cost[at]))


def _refuse_out_of_range(blocks: TwoStageBlocks) -> None:
    """Refuse coefficients that no unit brings into the range of the solver, by row and column."""
    first = blocks.first_stage
    faults: list[str] = _distant_sides(blocks, None, first)
    checked: set[Any] = set()
    parts: list[tuple[int | None, int | None, sp.csr_array, FirstStage | Scenario]] = [(None, None, first.rows, first)]
    for number, own in enumerate(blocks.scenarios):
        parts += [(number, None, own.technology, first), (number, number, own.recourse, own)]
        faults += _distant_sides(blocks, number, own)
    for at, stage, matrix, bounds in parts:
        if _identity(matrix) in checked:
            continue
        checked.add(_identity(matrix))
        faults += [
            f"{place(blocks, at)}: the coefficient of {column_name(blocks, stage, column)} in "
            f"{row_name(blocks, at, row)} is {share:.3g} times what else stands there"
            for row, column, share in _out_of_range(matrix, bounds)
        ]
    if faults:
        more = f" (and {len(faults) - _FEW} more)" if len(faults) > _FEW else ""
        raise ModelError(
            f"badly scaled, the solver would drop or refuse it: {'; '.join(faults[:_FEW])}{more}. "
            "Give these variables or rows other units"
        )


def _distant_sides(blocks: TwoStageBlocks, scenario: int | None, part: FirstStage | Scenario) -> list[str]:
    """Bounds and sides that only the units have made as large as what the solver takes for infinite."""
    sides = (part.lower, part.upper, part.row_lower, part.row_upper)
    if not any(bool((np.isfinite(side) & (np.abs(side) >= _INFINITE)).any()) for side in sides):
        return []
    return [f"{place(blocks, scenario)}: a bound or a side is more than {_INFINITE:g} times what else there is"]


def _out_of_range(matrix: sp.csr_array, bounds: FirstStage | Scenario) -> Iterator[tuple[int, int, float]]:
    size = np.abs(matrix.data)
    largest = _largest_by_row(matrix)
    reach = np.maximum(np.abs(bounds.lower), np.abs(bounds.upper))
    for at in np.flatnonzero(((size <= _DROPPED) & (size > 0)) | (size >= _REFUSED)):
        row, column = int(_row_of(matrix, np.array([at]))[0]), int(matrix.indices[at])
        dust = size[at] <= _DUST * largest[row] or size[at] * reach[column] <= _DROPPED
        if not dust:
            others = size[(_row_of(matrix, np.arange(len(size))) == row) & (matrix.indices != column)]
            yield row, column, float(size[at] / others.max(initial=1.0))


# ---- helpers ----------------------------------------------------------------------------------------------------


class _Memo:
    """What was made of an array that several scenarios share is shared too."""

    def __init__(self) -> None:
        self._made: dict[Any, tuple[Any, Any]] = {}

    def of(self, array: Any, make: Any, beside: Any = None) -> Any:
        key = _identity(array), beside
        if key not in self._made:
            # the array is kept, so that its number is not given to another
            self._made[key] = array, make(array)
        return self._made[key][1]


def _identity(item: Any) -> Any:
    """What two objects have in common that are the same; matrices that share their figures are so by their pattern."""
    if not isinstance(item, sp.csr_array):
        return id(item)
    return id(item.data), item.shape, item.indices.tobytes(), item.indptr.tobytes()


def _once(items: Any) -> list[Any]:
    """Objects, each once."""
    return list({_identity(item): item for item in items}.values())


def _matrices(scenarios: tuple[Scenario, ...]) -> Iterator[sp.csr_array]:
    for own in scenarios:
        yield own.technology
        yield own.recourse


def _key(own: Scenario) -> tuple[Any, Any, bytes]:
    return _identity(own.technology), _identity(own.recourse), own.integer.tobytes()


def _both(matrix: sp.csr_array, rows: Vector, columns: Vector) -> sp.csr_array:
    data = matrix.data * columns[matrix.indices] * np.repeat(rows, np.diff(matrix.indptr))
    return sp.csr_array((data, matrix.indices, matrix.indptr), shape=matrix.shape)


def _in_units(term: LabelledMap, columns: Vector) -> LabelledMap:
    return replace(term, matrix=_both(sp.csr_array(term.matrix), np.ones(term.matrix.shape[0]), columns))


def _row_of(matrix: sp.csr_array, at: Any) -> Any:
    return np.searchsorted(matrix.indptr, at, side="right") - 1


def _largest_by_row(matrix: sp.csr_array) -> Vector:
    largest = np.zeros(matrix.shape[0])
    np.maximum.at(largest, np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr)), np.abs(matrix.data))
    return largest


def _finite(values: Vector) -> Vector:
    return np.where(np.isfinite(values), np.abs(values), 0.0)


def _mean(groups: Any, values: Vector, count: int) -> Vector:
    """The mean of every group, zero where it is empty."""
    sums = np.bincount(groups, weights=values, minlength=count)
    return np.asarray(sums / np.maximum(np.bincount(groups, minlength=count), 1), dtype=float)


def _times(values: xr.Dataset, factors: xr.Dataset | float) -> xr.Dataset:
    """A dataset times one number, or times one of the same variables; dimensions, labels and attributes stay."""
    changed = {}
    for name, value in values.items():
        factor = factors[name].values if isinstance(factors, xr.Dataset) else factors
        changed[name] = value.copy(data=value.values * factor)
    return values.assign(changed)
