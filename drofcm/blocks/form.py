"""`TwoStageBlocks`: a two-stage program as canonical matrices, and the way back to labels.

    min  c.x + constant + rho(Q(x))   subject to  row_lower <= A x <= row_upper,  lower <= x <= upper
    Q_s(x) = min  h_s.x + q_s.w + constant_s   subject to  row_lower_s <= T_s x + W_s w <= row_upper_s,
                                                           lower_s <= w <= upper_s

with some x and w integer. Solution methods see nothing else; problems with uncertain costs, rows, bounds or sizes
all take this form. Columns and rows of a scenario stand in the order of their declaration, whatever the other
scenarios are, so that the blocks of a scenario do not depend on which scenarios are assembled with it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from drofcm.core.errors import ModelError, shorten, text_of

if TYPE_CHECKING:
    # Processes that solve scenarios import this module and see no labels: xarray would double the time they start in.
    import xarray as xr

__all__ = ["FirstStage", "LabelledMap", "Scenario", "TwoStageBlocks"]

Vector = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]
Positions = npt.NDArray[np.int64]


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
        values = self.matrix @ columns + self.constant
        return self.template.copy(data=values.reshape(self.template.shape) + 0.0)


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
        return _together({name: term(columns) for name, term in self.terms.items()})

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
        _check_plan(plan)
        x = np.zeros(len(self.first_stage.cost))
        for name in self.first_stage_names:
            positions = self.variables[name]
            if name not in plan:
                raise ModelError(f"the plan lacks the first-stage variable {name!r} (it has {shorten(list(plan))})")
            values = _on_labels(plan[name], positions, f"plan[{name!r}]")
            exists = positions.values >= 0
            missing = exists & np.isnan(values.values)
            if missing.any():
                place = np.argwhere(missing)[0]
                at = [
                    f"{dim}={text_of(positions.indexes[dim][k])}" for dim, k in zip(positions.dims, place, strict=True)
                ]
                raise ModelError(f"plan[{name!r}] is NaN" + (f" at {', '.join(at)}" if at else ""))
            x[positions.values[exists]] = values.values[exists]
        return x


def _check_plan(plan: Any) -> None:
    import xarray as xr

    if not isinstance(plan, xr.Dataset):
        raise ModelError(
            f"a plan: an xarray.Dataset is needed, got {type(plan).__name__}; Result.first_stage is one, and "
            "xr.Dataset({'built': ('site', [1, 0])}, coords={'site': ['a', 'b']}) makes one"
        )


def _on_labels(values: xr.DataArray, positions: xr.DataArray, what: str) -> xr.DataArray:
    """The values of a plan in the order of the program's labels."""
    from drofcm.core.labels import clash

    if set(values.dims) != set(positions.dims):
        raise ModelError(f"{what} has dimensions {values.dims}, declared are {positions.dims}")
    if values.dtype.kind not in "biufO":
        raise ModelError(f"{what} holds no numbers (dtype {values.dtype})")
    for dim in positions.dims:
        if dim not in values.indexes:
            raise ModelError(f"{what}: dimension {dim!r} has no labels; use assign_coords")
        theirs, ours = values.indexes[dim], positions.indexes[dim]
        if not theirs.is_unique or set(theirs) != set(ours):
            raise ModelError(f"{what}: labels of {dim!r} do not match the program: {clash(ours, theirs)}")
    return values.reindex_like(positions).transpose(*positions.dims).astype(float)


def _labelled(variables: Mapping[str, xr.DataArray], columns: Vector) -> xr.Dataset:
    # one more entry, so that position -1 reads NaN; -0 would be shown as such
    extended = np.append(columns, np.nan) + 0.0
    return _together({name: at.copy(data=extended[at.values]) for name, at in variables.items()})


def _together(arrays: Mapping[str, xr.DataArray]) -> xr.Dataset:
    """Arrays in one Dataset, NaN where one of them lacks a label of another; labels stand in the order they come in."""
    import pandas as pd
    import xarray as xr

    labels: dict[Any, Any] = {}
    for array in arrays.values():
        for dim in array.dims:
            index = array.indexes[dim]
            known = labels.setdefault(dim, index)
            if not index.equals(known):
                new = index[~index.isin(known)]
                labels[dim] = known.append(new) if len(new) else known
    return xr.Dataset(
        {
            name: array.reindex({dim: labels[dim] for dim in array.dims if not array.indexes[dim].equals(labels[dim])})
            for name, array in arrays.items()
        },
        coords={dim: pd.Index(index, name=dim) for dim, index in labels.items()},
    )
