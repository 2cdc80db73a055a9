"""`TwoStageBlocks`: a two-stage program as canonical matrices, and the way back to labels.

    min  c.x + constant + rho(Q(x))   subject to  row_lower <= A x <= row_upper,  lower <= x <= upper
    Q_s(x) = min  h_s.x + q_s.w + constant_s   subject to  row_lower_s <= T_s x + W_s w <= row_upper_s,
                                                           lower_s <= w <= upper_s

with some x and w integer. Solution methods see nothing else; problems with uncertain costs, rows, bounds or sizes
all take this form. Columns and rows of a scenario stand in the order of their declaration, whatever the other
scenarios are, so that the blocks of a scenario do not depend on which scenarios are assembled with it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import linopy
import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
import xarray as xr
from linopy.expressions import LinearExpression

from drofcm.core.dims import SCENARIO
from drofcm.core.errors import ModelError, shorten

__all__ = ["FirstStage", "LabelledMap", "Scenario", "TwoStageBlocks", "extract", "join"]

Vector = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]
Positions = npt.NDArray[np.int64]

_TERM = "_term"


@dataclass(frozen=True)
class FirstStage:
    """Matrices of the first stage: n columns, m rows."""

    cost: Vector
    constant: float
    rows: sp.csr_array
    row_lower: Vector
    row_upper: Vector
    lower: Vector
    upper: Vector
    integer: Flags


@dataclass(frozen=True)
class Scenario:
    """Matrices of the recourse in one scenario: n_s columns, m_s rows.

    Attributes
    ----------
    cost, first_stage_cost, constant
        q_s (n_s), h_s (n) and the constant of the recourse cost.
    technology, recourse
        T_s (m_s x n) and W_s (m_s x n_s).
    """

    cost: Vector
    first_stage_cost: Vector
    constant: float
    technology: sp.csr_array
    recourse: sp.csr_array
    row_lower: Vector
    row_upper: Vector
    lower: Vector
    upper: Vector
    integer: Flags


@dataclass(frozen=True)
class LabelledMap:
    """An affine map from all columns (first stage, then scenario by scenario) to one labelled array."""

    matrix: sp.csr_array
    constant: Vector
    template: xr.DataArray

    def __call__(self, columns: Vector) -> xr.DataArray:
        """The array at the given columns."""
        return self.template.copy(data=(self.matrix @ columns + self.constant).reshape(self.template.shape))


@dataclass(frozen=True)
class TwoStageBlocks:
    """Canonical matrices of a two-stage program, with what leads back to labels.

    Attributes
    ----------
    first_stage, scenarios
        The matrices.
    probability
        Nominal probability, (scenario).
    variables
        For every variable its columns as a labelled array of positions among all columns (first stage, then scenario
        by scenario); -1 where the variable does not exist.
    first_stage_names
        Which of them belong to the first stage.
    terms
        The recorded terms.
    first_stage_rows
        For every named row of the first stage its positions among the first stage's rows; -1 where it is not written.
    """

    first_stage: FirstStage
    scenarios: tuple[Scenario, ...]
    probability: xr.DataArray
    variables: Mapping[str, xr.DataArray]
    first_stage_names: tuple[str, ...]
    terms: Mapping[str, LabelledMap]
    first_stage_rows: Mapping[str, xr.DataArray] = field(default_factory=dict)

    def columns(self, x: Vector, recourse: Sequence[Vector]) -> Vector:
        """All columns in one vector: first stage, then scenario by scenario."""
        return np.concatenate([x, *recourse])

    def labelled_first_stage(self, x: Vector) -> xr.Dataset:
        """The first stage's columns as the variables that were declared."""
        return _labelled({name: self.variables[name] for name in self.first_stage_names}, x)

    def labelled_recourse(self, columns: Vector) -> xr.Dataset:
        """The recourse's columns as the variables that were declared; NaN where a variable does not exist."""
        names = [name for name in self.variables if name not in self.first_stage_names]
        return _labelled({name: self.variables[name] for name in names}, columns)

    def labelled_terms(self, columns: Vector) -> xr.Dataset:
        """The recorded terms."""
        return xr.Dataset({name: term(columns) for name, term in self.terms.items()})

    def labelled_first_stage_rows(self, values: Vector) -> xr.Dataset:
        """One number for each row of the first stage, by the names and labels of the rows; NaN where there is none."""
        return _labelled(self.first_stage_rows, values)

    def first_stage_columns(self, plan: xr.Dataset) -> Vector:
        """A labelled plan as the first stage's columns.

        Parameters
        ----------
        plan
            Dataset with every variable of the first stage, on the declared labels.

        Raises
        ------
        ModelError
            If a variable is missing, labels do not match, or a value is NaN.
        """
        x = np.zeros(len(self.first_stage.cost))
        for name in self.first_stage_names:
            positions = self.variables[name]
            if name not in plan:
                raise ModelError(f"the plan lacks the first-stage variable {name!r} (it has {shorten(list(plan))})")
            values = plan[name]
            if set(values.dims) != set(positions.dims):
                raise ModelError(f"plan[{name!r}] has dimensions {values.dims}, declared are {positions.dims}")
            for dim in positions.dims:
                if set(values.indexes[dim]) != set(positions.indexes[dim]):
                    odd = sorted(map(str, set(values.indexes[dim]) ^ set(positions.indexes[dim])))
                    raise ModelError(f"plan[{name!r}]: labels of {dim!r} do not match the program: {shorten(odd)}")
            values = values.reindex_like(positions).transpose(*positions.dims)
            exists = positions.values >= 0
            if np.isnan(values.values[exists].astype(float)).any():
                raise ModelError(f"plan[{name!r}] is NaN")
            x[positions.values[exists]] = values.values[exists]
        return x


def _labelled(variables: Mapping[str, xr.DataArray], columns: Vector) -> xr.Dataset:
    # one more entry, so that position -1 reads NaN
    extended = np.append(columns, np.nan)
    return xr.Dataset({name: at.copy(data=extended[at.values]) for name, at in variables.items()})


def extract(
    model: linopy.Model,
    first_stage_names: Sequence[str],
    first_stage_cost: LinearExpression,
    recourse_cost: LinearExpression,
    terms: Mapping[str, LinearExpression],
    probability: xr.DataArray,
) -> TwoStageBlocks:
    """Read the canonical matrices out of a model that holds both stages.

    Parameters
    ----------
    model
        Model with the variables and rows of both stages; those of the recourse have the ``scenario`` dimension.
    first_stage_names
        Variables of the first stage.
    first_stage_cost, recourse_cost
        Scalar, and one per scenario.
    terms
        Recorded terms.
    probability
        Nominal probability, (scenario).

    Raises
    ------
    ModelError
        If a row or cost couples scenarios, or a first-stage row holds a recourse variable; row and variable are named.
    """
    matrices = model.matrices
    if (matrices.vtypes == "S").any():
        raise ModelError("semi-continuous variables are not part of two-stage programs: use a binary variable")
    index = probability.indexes[SCENARIO]
    columns = _Order.of(model.variables, matrices.vlabels, index, set(first_stage_names))
    rows = _Order.of(model.constraints, matrices.clabels, index, set())
    count = len(matrices.clabels)
    matrix = sp.csr_array((count, len(matrices.vlabels))) if matrices.A is None else sp.csr_array(matrices.A)
    _check_coupling(model, matrices, matrix, rows.owner, columns.owner)
    matrix = sp.csr_array(matrix[rows.order][:, columns.order])
    sense, rhs = matrices.sense[rows.order], matrices.b[rows.order].astype(float)
    row_lower = np.where(sense == "<", -np.inf, rhs)
    row_upper = np.where(sense == ">", np.inf, rhs)
    lower, upper = matrices.lb[columns.order], matrices.ub[columns.order]
    integer = matrices.vtypes[columns.order] != "C"

    cost = _affine(first_stage_cost, columns)
    recourse = _affine(recourse_cost, columns)
    _check_cost_coupling(model, recourse, columns)
    own, x = rows.own(-1), columns.own(-1)
    first = FirstStage(
        cost=cost.matrix.toarray()[0, x],
        constant=float(cost.constant[0]),
        rows=sp.csr_array(matrix[own, x]),
        row_lower=row_lower[own],
        row_upper=row_upper[own],
        lower=lower[x],
        upper=upper[x],
        integer=integer[x],
    )
    scenarios = []
    for number in range(len(index)):
        own, w = rows.own(number), columns.own(number)
        costs = recourse.matrix[[number], :]
        scenarios.append(
            Scenario(
                cost=costs[:, w].toarray()[0],
                first_stage_cost=costs[:, x].toarray()[0],
                constant=float(recourse.constant[number]),
                technology=sp.csr_array(matrix[own, x]),
                recourse=sp.csr_array(matrix[own, w]),
                row_lower=row_lower[own],
                row_upper=row_upper[own],
                lower=lower[w],
                upper=upper[w],
                integer=integer[w],
            )
        )
    return TwoStageBlocks(
        first_stage=first,
        scenarios=tuple(scenarios),
        probability=probability,
        variables={name: _positions(variable.labels, columns) for name, variable in model.variables.items()},
        first_stage_names=tuple(first_stage_names),
        terms={name: _affine(term, columns) for name, term in terms.items()},
        first_stage_rows={
            str(name): _positions(row.labels, rows)
            for name, row in model.constraints.items()
            if SCENARIO not in row.labels.dims
        },
    )


def join(chunks: Sequence[TwoStageBlocks], probability: xr.DataArray) -> TwoStageBlocks:
    """Blocks of some scenarios each as the blocks of all; what is equal in several scenarios is stored once.

    Parameters
    ----------
    chunks
        Blocks of consecutive scenarios.
    probability
        Nominal probability of all, (scenario).

    Raises
    ------
    ModelError
        If the chunks disagree about the first stage: a stage function that is not pure.
    """
    first = chunks[0]
    n = len(first.first_stage.cost)
    for chunk in chunks[1:]:
        _check_same(first.first_stage, chunk.first_stage)
    store = _Store()
    widths = [sum(len(own.cost) for own in chunk.scenarios) for chunk in chunks]
    offsets = np.concatenate([[0], np.cumsum(widths)]).astype(np.int64)
    variables: dict[str, xr.DataArray] = {}
    for name, at in first.variables.items():
        if name in first.first_stage_names:
            variables[name] = at
            continue
        parts = [
            chunk.variables[name].copy(
                data=np.where(chunk.variables[name].values < 0, -1, chunk.variables[name].values + offset)
            )
            for chunk, offset in zip(chunks, offsets[:-1], strict=True)
        ]
        variables[name] = xr.concat(parts, dim=SCENARIO, join="exact")
    total = n + int(offsets[-1])
    return TwoStageBlocks(
        first_stage=first.first_stage,
        scenarios=tuple(store.shared(own) for chunk in chunks for own in chunk.scenarios),
        probability=probability,
        variables=variables,
        first_stage_names=first.first_stage_names,
        terms={name: _join_terms([chunk.terms[name] for chunk in chunks], n, offsets, total) for name in first.terms},
        first_stage_rows=first.first_stage_rows,
    )


def _check_same(one: FirstStage, other: FirstStage) -> None:
    for name, value in vars(one).items():
        own = getattr(other, name)
        if isinstance(value, sp.csr_array):
            same = value.shape == own.shape and (value != own).nnz == 0
        else:
            same = np.array_equal(value, own)
        if not same:
            raise ModelError(
                f"the first stage came out differently for another set of scenarios ({name}): a stage function must "
                "depend on nothing but its arguments"
            )


def _join_terms(maps: Sequence[LabelledMap], n: int, offsets: Positions, total: int) -> LabelledMap:
    """Terms of chunks as a term of all scenarios; a term without scenarios is the same in every chunk."""
    if SCENARIO not in maps[0].template.dims:
        matrix = maps[0].matrix
        return LabelledMap(_shifted(matrix, n, 0, total), maps[0].constant, maps[0].template)
    rows = [_shifted(own.matrix, n, int(offset), total) for own, offset in zip(maps, offsets[:-1], strict=True)]
    template = xr.concat([own.template for own in maps], dim=SCENARIO, join="exact")
    return LabelledMap(sp.csr_array(sp.vstack(rows)), np.concatenate([own.constant for own in maps]), template)


def _shifted(matrix: sp.csr_array, n: int, offset: int, total: int) -> sp.csr_array:
    """The same rows over all columns: those of the recourse stand ``offset`` further right."""
    entries = matrix.tocoo()
    column = np.where(entries.col < n, entries.col, entries.col + offset)
    return sp.csr_array(sp.coo_array((entries.data, (entries.row, column)), shape=(matrix.shape[0], total)))


class _Store:
    """Arrays by content, so that equal ones are one object."""

    def __init__(self) -> None:
        self._arrays: dict[tuple[str, bytes], npt.NDArray[Any]] = {}

    def shared(self, own: Scenario) -> Scenario:
        return Scenario(**{name: self._one(value) for name, value in vars(own).items()})

    def _one(self, value: Any) -> Any:
        if isinstance(value, sp.csr_array):
            parts = (self._one(value.data), self._one(value.indices), self._one(value.indptr))
            return sp.csr_array(parts, shape=value.shape, copy=False)
        if isinstance(value, np.ndarray):
            digest = hashlib.blake2b(np.ascontiguousarray(value).tobytes(), digest_size=16).digest()
            return self._arrays.setdefault((value.dtype.str, digest), value)
        return value


@dataclass(frozen=True)
class _Order:
    """Columns (or rows) sorted by the scenario that owns them, -1 for the first stage."""

    order: Positions  # order[new] = old
    position: Positions  # position[label] = new, -1 for labels not in use
    owner: Positions  # owner[old]
    bounds: Positions  # bounds[k] .. bounds[k + 1]: those of scenario k - 1

    @classmethod
    def of(cls, container: Any, labels: Positions, index: Any, first_stage: set[str]) -> _Order:
        size = int(labels.max(initial=-1)) + 1
        by_label = np.full(size, -1, dtype=np.int64)
        for name, item in container.items():
            array = item.labels
            if name in first_stage or SCENARIO not in array.dims:
                continue
            array = array.transpose(SCENARIO, ...)
            values = array.values.reshape(len(index), -1)
            scenario = np.broadcast_to(np.arange(len(index))[:, None], values.shape)
            used = (values >= 0) & (values < size)
            by_label[values[used]] = scenario[used]
        owner = by_label[labels]
        order = np.argsort(owner, kind="stable")
        position = np.full(size, -1, dtype=np.int64)
        position[labels[order]] = np.arange(len(order))
        bounds = np.searchsorted(owner[order], np.arange(-1, len(index) + 1))
        return cls(order, position, owner, bounds)

    def own(self, scenario: int) -> slice:
        return slice(int(self.bounds[scenario + 1]), int(self.bounds[scenario + 2]))


def _positions(labels: xr.DataArray, columns: _Order) -> xr.DataArray:
    if SCENARIO in labels.dims:
        labels = labels.transpose(SCENARIO, ...)
    extended = np.append(columns.position, -1)
    values = labels.values.astype(np.int64)
    return labels.copy(data=extended[np.where(values < 0, len(columns.position), values)])


def _affine(expression: LinearExpression, columns: _Order) -> LabelledMap:
    template = expression.const
    if SCENARIO in template.dims:
        template = template.transpose(SCENARIO, ...)
    labels = expression.data["vars"].transpose(*template.dims, _TERM).values.reshape(template.size, -1)
    coefficients = expression.data["coeffs"].transpose(*template.dims, _TERM).values.reshape(template.size, -1)
    entry = np.broadcast_to(np.arange(template.size)[:, None], labels.shape)
    used = labels >= 0
    matrix = sp.coo_array(
        (coefficients[used], (entry[used], columns.position[labels[used]])),
        shape=(template.size, len(columns.order)),
    )
    return LabelledMap(sp.csr_array(matrix), template.values.ravel().astype(float), template)


def _name_of(container: Any, label: int) -> str:
    return next(str(name) for name, item in container.items() if (item.labels.values == label).any())


def _check_coupling(
    model: linopy.Model, matrices: Any, matrix: sp.csr_array, row_owner: Positions, column_owner: Positions
) -> None:
    entries = matrix.tocoo()
    owner = column_owner[entries.col]
    bad = np.flatnonzero((owner >= 0) & (owner != row_owner[entries.row]))
    if len(bad):
        row = _name_of(model.constraints, int(matrices.clabels[entries.row[bad[0]]]))
        variable = _name_of(model.variables, int(matrices.vlabels[entries.col[bad[0]]]))
        raise ModelError(_coupled(f"row {row!r}", variable, row_owner[entries.row[bad[0]]] < 0))


def _check_cost_coupling(model: linopy.Model, cost: LabelledMap, columns: _Order) -> None:
    entries = cost.matrix.tocoo()
    owner = columns.owner[columns.order][entries.col]
    bad = np.flatnonzero((owner >= 0) & (owner != entries.row))
    if len(bad):
        label = int(np.flatnonzero(columns.position == entries.col[bad[0]])[0])
        variable = _name_of(model.variables, label)
        raise ModelError(_coupled("the recourse cost", variable, first_stage=False))


def _coupled(what: str, variable: str, first_stage: bool) -> str:
    if first_stage:
        return f"{what} of the first stage holds the recourse variable {variable!r}: it belongs to the recourse"
    return (
        f"{what} of one scenario holds {variable!r} of another scenario (a sum, shift or cumsum over 'scenario'): "
        "scenarios may share first-stage variables only"
    )
