"""The rows of `drofcm.risk.rows` in a linopy model: a risk measure in the extensive form."""

from __future__ import annotations

import linopy
import numpy as np
import scipy.sparse as sp
import xarray as xr
from linopy.expressions import LinearExpression

from drofcm.core.dims import SCENARIO
from drofcm.core.errors import ModelError
from drofcm.risk.ambiguity import AmbiguitySet
from drofcm.risk.measures import RiskMeasure
from drofcm.risk.rows import risk_rows

__all__ = ["risk_expression"]

_COLUMN, _ROW, _TERM = "risk_column", "risk_row", "_term"


def risk_expression(
    model: linopy.Model,
    risk: RiskMeasure,
    ambiguity: AmbiguitySet,
    cost: LinearExpression,
    probability: xr.DataArray,
) -> LinearExpression:
    """Write the rows of a risk measure over an ambiguity set into a model; return what bounds it from above.

    Parameters
    ----------
    model
        Model that holds the variables of ``cost``; variables ``risk_...`` and rows of the same names are added.
    risk, ambiguity
        What to minimise; the set is bound.
    cost
        Recourse cost, (scenario).
    probability
        Nominal probability, (scenario).

    Returns
    -------
    linopy.LinearExpression
        Scalar; equal to rho(cost) wherever it is minimised.

    Raises
    ------
    ModelError
        If the set is a divergence ball, which has no finite rows.
    """
    rows = risk_rows(risk, ambiguity, probability)
    if rows is None:
        raise ModelError(
            f"{ambiguity} has no finite rows, so it cannot stand in an extensive form; solve() adds them as cuts"
        )
    total = LinearExpression(xr.DataArray(0.0), model)
    if not len(rows.auxiliary_cost):
        return total + (probability.copy(data=rows.cost) * cost).sum(SCENARIO)
    # costs enter many rows, so each of them is one column there
    theta = model.add_variables(coords=[probability.indexes[SCENARIO]], name="risk_cost")
    model.add_constraints(theta >= cost, name="risk_cost")
    number = np.arange(len(rows.auxiliary_cost))
    lower = xr.DataArray(rows.lower, coords={_COLUMN: number}, dims=_COLUMN)
    auxiliary = model.add_variables(lower=lower, name="risk_auxiliary")
    labels = np.concatenate([theta.labels.values, auxiliary.labels.values])
    matrix = sp.csr_array(sp.hstack([rows.rows, rows.auxiliary_rows]))
    model.add_constraints(_product(model, matrix, labels) >= 0, name="risk_rows")
    weighed = (xr.DataArray(rows.auxiliary_cost, coords={_COLUMN: number}, dims=_COLUMN) * auxiliary).sum(_COLUMN)
    return total + (probability.copy(data=rows.cost) * theta).sum(SCENARIO) + weighed


def _product(model: linopy.Model, matrix: sp.csr_array, labels: np.ndarray) -> LinearExpression:
    """A sparse matrix times variables, row by row, as one expression."""
    count = np.diff(matrix.indptr)
    width = int(count.max(initial=0))
    row = np.repeat(np.arange(len(count)), count)
    place = np.arange(matrix.nnz) - matrix.indptr[row]
    # what a shorter row does not use stands for no variable
    variables = np.full((len(count), width), -1)
    variables[row, place] = labels[matrix.indices]
    coefficients = np.full((len(count), width), np.nan)
    coefficients[row, place] = matrix.data
    parts = {
        "vars": ((_ROW, _TERM), variables),
        "coeffs": ((_ROW, _TERM), coefficients),
        "const": (_ROW, np.zeros(len(count))),
    }
    return LinearExpression(xr.Dataset(parts, coords={_ROW: np.arange(len(count))}), model)
