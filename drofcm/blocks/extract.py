"""The canonical matrices of a two-stage program, read out of a linopy model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import linopy
import numpy as np
import scipy.sparse as sp
import xarray as xr
from linopy.expressions import LinearExpression

from drofcm.blocks.form import FirstStage, LabelledMap, Positions, Scenario, TwoStageBlocks
from drofcm.core.dims import SCENARIO
from drofcm.core.errors import ModelError

__all__ = ["extract"]

_TERM = "_term"


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

    def limits(own: slice, kept: slice) -> dict[str, Any]:
        return {
            "row_lower": row_lower[own],
            "row_upper": row_upper[own],
            "lower": lower[kept],
            "upper": upper[kept],
            "integer": integer[kept],
        }

    def recourse_of(number: int) -> Scenario:
        own, w = rows.own(number), columns.own(number)
        costs = recourse.matrix[[number], :]
        return Scenario(
            cost=costs[:, w].toarray()[0],
            first_stage_cost=costs[:, x].toarray()[0],
            constant=float(recourse.constant[number]),
            technology=sp.csr_array(matrix[own, x]),
            recourse=sp.csr_array(matrix[own, w]),
            **limits(own, w),
        )

    here, x = rows.own(-1), columns.own(-1)
    return TwoStageBlocks(
        first_stage=FirstStage(
            cost=cost.matrix.toarray()[0, x],
            constant=float(cost.constant[0]),
            rows=sp.csr_array(matrix[here, x]),
            **limits(here, x),
        ),
        scenarios=tuple(recourse_of(number) for number in range(len(index))),
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
    # a selection leaves its label behind: it says nothing about the values, and differs between members of a result
    labels = labels.reset_coords(drop=True)
    if SCENARIO in labels.dims:
        labels = labels.transpose(SCENARIO, ...)
    extended = np.append(columns.position, -1)
    values = labels.values.astype(np.int64)
    return labels.copy(data=extended[np.where(values < 0, len(columns.position), values)])


def _affine(expression: LinearExpression, columns: _Order) -> LabelledMap:
    template = expression.const.reset_coords(drop=True)
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
