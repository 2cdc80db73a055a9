"""What rows, costs and terms must be before they become matrices: present, finite, and of every scenario once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import linopy
import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr
from linopy.constraints import ConstraintBase
from linopy.expressions import LinearExpression

from drofcm.core.dims import SCENARIO
from drofcm.core.errors import ModelError, text_of
from drofcm.core.labels import clash, index_fault
from drofcm.core.units import labels_where
from drofcm.dsl.names import RESERVED_ROWS, RESERVED_VARIABLES, check_name

__all__ = ["check_finite", "check_model", "check_row", "check_scenarios"]

_TERM: Final = "_term"
_HOLDS: Final = {"<=": np.less_equal, ">=": np.greater_equal, "=": np.equal}


def check_scenarios(what: str, theirs: Mapping[Any, pd.Index], ours: Mapping[Any, pd.Index]) -> None:
    """Refuse what has other scenarios than the data: blocks are cut scenario by scenario."""
    if SCENARIO in theirs and SCENARIO in ours and not theirs[SCENARIO].equals(ours[SCENARIO]):
        raise ModelError(
            f"{what}: labels of {SCENARIO!r} do not match: {clash(ours[SCENARIO], theirs[SCENARIO])}; state where a "
            "row is meant with where=..."
        )


def check_finite(what: str, expression: LinearExpression, data: xr.Dataset) -> None:
    """Refuse a cost or term with an infinite coefficient or constant, by variable and label."""
    _check_coefficients(what, expression, data)
    endless = expression.const.copy(data=np.isinf(expression.const.values))
    if bool(endless.any()):
        at = labels_where(endless)
        raise ModelError(f"{what} is infinite at {at}{_culprits(data, _labels_at(endless))}: give a finite figure")


def check_row(what: str, row: ConstraintBase, where: xr.DataArray | None, data: xr.Dataset) -> None:
    """Refuse rows that come out absent, that cannot hold, or that have infinite coefficients."""
    # on plain arrays: aligning what is aligned already would cost more than the check
    parts, sizes = row.data, {dim: row.sizes[dim] for dim in row.coord_dims}
    rhs, sign = (parts[part].variable.set_dims(sizes).values for part in ("rhs", "sign"))
    absent = np.isnan(rhs)
    wanted = np.ones_like(absent) if where is None else where.values
    lost = absent & wanted
    if lost.any():
        raise ModelError(
            f"{what} is absent at {_labels_of(row, lost)}: a masked variable or a shift removed it there. "
            "State where the row is meant with where=..., let masked variables enter through .fillna(0), and write "
            "initial conditions as rows of their own."
        )
    endless = wanted & (((sign != "<=") & np.isposinf(rhs)) | ((sign != ">=") & np.isneginf(rhs)))
    if endless.any():
        raise ModelError(
            f"{what}: the right-hand side is infinite at {_labels_of(row, endless)}, so that nothing fulfils it: give "
            "a finite figure, or leave the row out there with where=..."
        )
    empty = (parts["vars"].variable.transpose(*sizes, _TERM).values == -1).all(axis=-1) & wanted & ~absent
    if empty.any():
        kept = np.select([sign == s for s in _HOLDS], [holds(0.0, rhs + 0.0) for holds in _HOLDS.values()])
        broken = empty & ~kept.astype(bool)
        if broken.any():
            raise ModelError(
                f"{what} has no variable at {_labels_of(row, broken)} and is not fulfilled there "
                "(it reads 0 against a constant that contradicts it)"
            )
    _check_coefficients(what, row, data, wanted)


def check_model(model: linopy.Model, data: xr.Dataset) -> None:
    """The same for what a stage function has added through ``m.model`` itself."""
    for name, variable in model.variables.items():
        what = f"variable {name!r}"
        check_name("variable", name, {*data.dims, *variable.dims}, RESERVED_VARIABLES)
        _check_indexes(what, variable.indexes, data)
        for side in ("lower", "upper"):
            missing = getattr(variable, side).isnull() & (variable.labels >= 0)
            if bool(missing.any()):
                raise ModelError(f"{what}: {side} bound is NaN at {labels_where(missing)}")
    for name, row in model.constraints.items():
        check_name("row", name, {*data.dims, *row.coord_dims}, RESERVED_ROWS)
        _check_indexes(f"row {name!r}", row.indexes, data)
        _check_coefficients(f"row {name!r}", row, data)


def _check_indexes(what: str, indexes: Mapping[Any, pd.Index], data: xr.Dataset) -> None:
    check_scenarios(what, indexes, data.indexes)
    for dim, index in indexes.items():
        if dim not in data.indexes:
            fault = index_fault(index)
            if fault:
                raise ModelError(f"{what}: dimension {dim!r} {fault[0]} ({fault[1]})")


def _check_coefficients(what: str, thing: Any, data: xr.Dataset, wanted: npt.NDArray[np.bool_] | None = None) -> None:
    parts = thing.data
    dims = [dim for dim in parts["vars"].dims if dim != _TERM]
    coefficients = parts["coeffs"].variable.transpose(*dims, _TERM).values
    # what is infinite times nothing is NaN
    bad = ~np.isfinite(coefficients) & (parts["vars"].variable.transpose(*dims, _TERM).values >= 0)
    if wanted is not None:
        bad &= wanted[..., np.newaxis]
    if not bad.any():
        return
    place = tuple(int(axis[0]) for axis in np.nonzero(bad))
    number = int(parts["vars"].variable.transpose(*dims, _TERM).values[place])
    name, labels = thing.model.variables.get_label_position(number)
    of = f"{name!r}" + (f" at {_text(labels)}" if labels else "")
    here = {dim: thing.indexes[dim][at] for dim, at in zip(dims, place, strict=False) if dim in thing.indexes}
    culprits = _culprits(data, {**here, **labels})
    raise ModelError(
        f"{what}: the coefficient of {of} is {coefficients[place]:g}{culprits}: give a finite figure, or forbid the "
        "variable with where= or a bound"
    )


def _culprits(data: xr.Dataset, labels: Mapping[Any, Any]) -> str:
    """Which data are infinite there."""
    names = []
    for name, array in data.data_vars.items():
        if array.dtype.kind == "f":
            own = {dim: label for dim, label in labels.items() if dim in array.dims and label in array.indexes[dim]}
            if bool(np.isinf(array.sel(own)).any()):
                names.append(f"{str(name)!r}" + (f" at {_text(own)}" if own else ""))
    return f" ({', '.join(names)} in the data is infinite)" if names else ""


def _labels_at(flags: xr.DataArray) -> dict[Any, Any]:
    place = np.argwhere(flags.values)[0]
    return {dim: flags.indexes[dim][at] for dim, at in zip(flags.dims, place, strict=True) if dim in flags.indexes}


def _text(labels: Mapping[Any, Any]) -> str:
    return ", ".join(f"{dim}={text_of(label)}" for dim, label in labels.items())


def _labels_of(row: ConstraintBase, flags: npt.NDArray[np.bool_]) -> str:
    dims = list(row.coord_dims)
    return labels_where(xr.DataArray(flags, [row.indexes[dim] for dim in dims], dims))
