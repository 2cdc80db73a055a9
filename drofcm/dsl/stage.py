"""`Stage`: the layer over a `linopy.Model` through which one stage of a program is declared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal

import linopy
import numpy as np
import pandas as pd
import xarray as xr
from linopy.constraints import ConstraintBase
from linopy.expressions import LinearExpression, QuadraticExpression

from drofcm.core.dims import SCENARIO
from drofcm.core.errors import ModelError, shorten, suggest
from drofcm.core.labels import clash
from drofcm.core.units import labels_where
from drofcm.dsl.guard import StageModel
from drofcm.dsl.names import RESERVED_ROWS, RESERVED_VARIABLES, check_name
from drofcm.dsl.operands import labelled, operand
from drofcm.dsl.sound import check_finite, check_row, check_scenarios

__all__ = ["Stage"]

Kind = Literal["first stage", "recourse", "preference"]
Labels = Mapping[str, pd.Index]

_CONTINUOUS: Final = "it may add continuous variables only, the integers of the recourse stay as they are"


class Stage:
    """One stage of a two-stage program: names first, dimensions by name, coordinates from the data.

    A stage function receives it as its first argument. Expressions are linopy's; in the recourse every variable gets
    the ``scenario`` dimension, and variables of the first stage are reached by name.

    Parameters
    ----------
    model
        The model that both stages share.
    data
        The labelled data; its coordinates are the labels of all variables.
    kind
        ``"first stage"``, ``"recourse"`` or ``"preference"``: the last adds to the recourse what tells apart those that
        cost the same.
    """

    def __init__(self, model: StageModel, data: xr.Dataset, kind: Kind) -> None:
        self.model: linopy.Model = model
        self.kind: Kind = kind
        self._in_scenarios = kind != "first stage"
        self._known = model.dimensions
        self.terms: dict[str, LinearExpression] = {}
        self._data = data

    def __getitem__(self, name: str) -> linopy.Variable:
        """The variable of that name, of this stage or of the first."""
        if name not in self.model.variables:
            raise ModelError(f"no variable is called {name!r} ({suggest(name, self.model.variables)})")
        return self.model.variables[name]

    def variable(
        self,
        name: str,
        over: str | Sequence[str] = "",
        lower: float | xr.DataArray = -np.inf,
        upper: float | xr.DataArray = np.inf,
        where: xr.DataArray | None = None,
    ) -> linopy.Variable:
        """A continuous variable.

        Parameters
        ----------
        name
            Its name, unique in the program.
        over
            Dimensions, separated by spaces or as a sequence; in the recourse ``scenario`` is added in front.
        lower, upper
            Bounds: numbers, or arrays over some of the variable's dimensions. NaN is refused.
        where
            Boolean array over some of the dimensions: the variable exists where it holds. Elsewhere it is absent, and
            so is every expression it is part of; use ``.fillna(0)`` where an absent variable counts as zero.

        Raises
        ------
        ModelError
            If the name is taken, a dimension is unknown, a bound is NaN or crosses the other, or labels do not match.
        """
        return self._declare(name, over, lower, upper, where)

    def nonnegative(
        self,
        name: str,
        over: str | Sequence[str] = "",
        upper: float | xr.DataArray = np.inf,
        where: xr.DataArray | None = None,
    ) -> linopy.Variable:
        """A continuous variable that is at least zero; see `variable`."""
        return self._declare(name, over, 0, upper, where)

    def integer(
        self,
        name: str,
        over: str | Sequence[str] = "",
        lower: float | xr.DataArray = 0,
        upper: float | xr.DataArray = np.inf,
        where: xr.DataArray | None = None,
    ) -> linopy.Variable:
        """A whole-numbered variable, at least zero unless said otherwise; see `variable`."""
        self._refuse_in_preference(f"variable {name!r}", "integer", _CONTINUOUS)
        return self._declare(name, over, lower, upper, where, integer=True)

    def binary(
        self,
        name: str,
        over: str | Sequence[str] = "",
        where: xr.DataArray | None = None,
        *,
        lower: float | xr.DataArray = 0,
        upper: float | xr.DataArray = 1,
    ) -> linopy.Variable:
        """A variable that is zero or one; see `variable`. Bounds of 0 or 1 fix it where they meet."""
        self._refuse_in_preference(f"variable {name!r}", "binary", _CONTINUOUS)
        return self._declare(name, over, lower, upper, where, binary=True)

    def subject_to(self, name: str, row: ConstraintBase, where: xr.DataArray | None = None) -> None:
        """Add rows to the program.

        Parameters
        ----------
        name
            Name of the rows, unique in the program.
        row
            A comparison of expressions; one row per entry of its dimensions.
        where
            Boolean array: write the rows where it holds only.

        Raises
        ------
        ModelError
            If ``row`` is not a comparison, has or lacks the scenario dimension against the rule of its stage, comes out
            absent where it is wanted, or contains no variable and is not fulfilled.
        """
        if not isinstance(row, ConstraintBase):
            raise ModelError(
                f"row {name!r}: a comparison of expressions (<=, >=, ==) is needed, got {type(row).__name__}"
                + ("; both sides are constants" if isinstance(row, bool | np.bool_ | xr.DataArray) else "")
            )
        if name in self.model.constraints:
            raise ModelError(f"row {name!r}: the name is taken")
        what = f"row {name!r}"
        dims = [str(dim) for dim in row.coord_dims]
        check_name("row", name, {*self._known, *dims}, RESERVED_ROWS)
        self._check_scenario(what, dims)
        check_scenarios(what, row.indexes, self._data.indexes)
        if where is not None:
            where = self._checked_mask(what, where, {dim: row.indexes[dim] for dim in dims})
        check_row(what, row, where, self._data)
        self.model.add_constraints(row, name=name, mask=where)

    def record(self, name: str, expression: Any) -> None:
        """Put a named term, such as a part of the cost, into ``Result.terms``.

        Parameters
        ----------
        name
            Name of the term, unique in the program.
        expression
            A linear expression, a variable or a constant; any dimensions in the first stage, ``scenario`` and any
            others in the recourse. A preference records none.
        """
        self._refuse_in_preference(f"term {name!r}", "recorded", "record it in the recourse")
        term = self.linear(f"term {name!r}", expression)
        if name in self.terms:
            raise ModelError(f"term {name!r}: the name is taken")
        dims = [str(dim) for dim in term.coord_dims]
        check_name("term", name, {*self._known, *dims})
        self._check_scenario(f"term {name!r}", dims)
        check_scenarios(f"term {name!r}", term.indexes, self._data.indexes)
        check_finite(f"term {name!r}", term, self._data)
        self.terms[name] = term

    def linear(self, what: str, expression: Any) -> LinearExpression:
        """``expression`` as a linear one, constants included; refuse anything else."""
        if isinstance(expression, QuadraticExpression):
            raise ModelError(f"{what} is not linear: it multiplies two variables")
        if isinstance(expression, linopy.Variable):
            return expression.to_linexpr()
        if isinstance(expression, LinearExpression):
            return expression
        if isinstance(expression, int | float | np.number | xr.DataArray | pd.Series):
            try:
                constant = operand(expression, {}, lambda: what, self.model, self._known)
            except ValueError as error:
                raise ModelError(f"{what}: {error}") from None
            return LinearExpression(xr.DataArray(constant), self.model)
        raise ModelError(f"{what} must be a linear expression, got {type(expression).__name__}")

    def cost(self, expression: Any) -> LinearExpression:
        """Check what a stage function returned: a scalar, or one cost per scenario."""
        what = f"the cost of the {self.kind}"
        if expression is None:
            raise ModelError(f"{what} is missing: the stage function returned nothing (0 stands for no cost)")
        return self._scalar(what, expression)

    def aims(self, returned: Any) -> tuple[LinearExpression, ...]:
        """Check what a preference returned: one expression or several, the most important first."""
        several = list(returned) if isinstance(returned, list | tuple) else [returned]
        if returned is None or not several:
            raise ModelError(
                "the preference returned nothing: return what is to be small, one expression or a list of them, the "
                "most important first"
            )
        return tuple(self._scalar(f"expression {k} of the preference", own) for k, own in enumerate(several, 1))

    def _scalar(self, what: str, expression: Any) -> LinearExpression:
        """A linear expression of no dimension in the first stage, of the scenario alone after it."""
        value = self.linear(what, expression)
        dims = {str(dim) for dim in value.coord_dims}
        if self._in_scenarios and not dims:
            # a constant, or a first-stage expression: the same in every scenario
            labels = xr.DataArray(np.zeros(self._data.sizes[SCENARIO]), coords=[self._index(SCENARIO, what)])
            value = value + labels
            dims = {SCENARIO}
        wanted = {SCENARIO} if self._in_scenarios else set()
        if dims != wanted:
            surplus = sorted(dims - wanted)
            raise ModelError(f"{what} has dimension {shorten(surplus)}: sum it over {surplus!r}")
        check_scenarios(what, value.indexes, self._data.indexes)
        absent = value.const.isnull()
        if bool(absent.any()):
            raise ModelError(f"{what} is absent at {labels_where(absent)}: a masked variable is in it; use .fillna(0)")
        check_finite(what, value, self._data)
        return value

    def _refuse_in_preference(self, what: str, is_what: str, instead: str) -> None:
        if self.kind == "preference":
            raise ModelError(f"{what} of the preference is {is_what}: {instead}")

    def _declare(
        self,
        name: str,
        over: str | Sequence[str],
        lower: float | xr.DataArray,
        upper: float | xr.DataArray,
        where: xr.DataArray | None,
        **kind: bool,
    ) -> linopy.Variable:
        what = f"variable {name!r}"
        if name in self.model.variables:
            raise ModelError(f"{what}: the name is taken")
        check_name("variable", name, self._known, RESERVED_VARIABLES)
        dims = over.split() if isinstance(over, str) else list(over)
        if SCENARIO in dims:
            if self.kind == "first stage":
                raise ModelError(f"{what}: the first stage is decided before the scenario is known")
            raise ModelError(f"{what}: the scenario dimension is added by itself, leave it out of `over`")
        if len(set(dims)) < len(dims):
            raise ModelError(f"{what}: a dimension is named twice in {dims}")
        if self._in_scenarios:
            dims = [SCENARIO, *dims]
        labels = {dim: self._index(dim, what) for dim in dims}
        coords = list(labels.values())
        mask = None if where is None else self._checked_mask(what, where, labels)
        low = self._checked_bound(f"{what}: lower bound", lower, labels)
        high = self._checked_bound(f"{what}: upper bound", upper, labels)
        if kind.get("binary"):
            _check_binary(what, low, high)
        crossed = low > high if mask is None else (low > high) & mask
        if bool(crossed.any()):
            raise ModelError(f"{what}: lower bound above upper bound at {labels_where(crossed)}")
        for which, bound, worthless in (("lower", low, np.inf), ("upper", high, -np.inf)):
            endless = bound == worthless if mask is None else (bound == worthless) & mask
            if bool(endless.any()):
                raise ModelError(
                    f"{what}: {which} bound is {worthless:+g} at {labels_where(endless)}: no value is left"
                )
        return self.model.add_variables(lower=low, upper=high, coords=coords, name=name, mask=mask, **kind)

    def _index(self, dim: str, what: str) -> pd.Index:
        if dim not in self._data.dims:
            raise ModelError(
                f"{what}: the data have no dimension {dim!r} ({suggest(str(dim), map(str, self._data.dims))})"
            )
        if dim not in self._data.indexes:
            raise ModelError(f"{what}: dimension {dim!r} of the data has no labels; use assign_coords")
        return self._data.indexes[dim].rename(dim)

    def _checked_bound(self, what: str, bound: Any, labels: Labels) -> xr.DataArray:
        array = self._labelled(what, bound, labels)
        missing = array.isnull()
        if bool(missing.any()):
            raise ModelError(f"{what} is NaN at {labels_where(missing)}")
        # -0 would be shown as such where rows and values are listed
        return array.astype(float) + 0.0

    def _checked_mask(self, what: str, where: Any, labels: Labels) -> xr.DataArray:
        array = self._labelled(f"{what}: `where`", where, labels)
        if array.dtype != bool:
            raise ModelError(f"{what}: `where` must be a boolean DataArray, got {array.dtype}")
        missing = {dim: index for dim, index in labels.items() if dim not in array.dims}
        return array.expand_dims(missing).transpose(*labels)

    def _labelled(self, what: str, value: Any, labels: Labels) -> xr.DataArray:
        """A number or an array over some of the dimensions, on their labels."""
        if np.ndim(value) == 0 and not isinstance(value, xr.DataArray):
            if not isinstance(value, bool | int | float | np.number | np.bool_ | np.ndarray):
                raise ModelError(f"{what}: a number or an array is needed, got {type(value).__name__}")
            return xr.DataArray(value)
        try:
            array = labelled(value, labels, lambda: "it", self._known)
        except ValueError as error:
            raise ModelError(f"{what}: {error}") from None
        if not isinstance(array, xr.DataArray) or array.dtype.kind not in "biufO":
            raise ModelError(f"{what}: numbers are needed, got {getattr(array, 'dtype', type(array).__name__)}")
        surplus = [str(dim) for dim in array.dims if dim not in labels]
        if surplus:
            raise ModelError(
                f"{what} has dimension {shorten(surplus)} that does not belong to ({shorten(list(labels))})"
            )
        for dim in map(str, array.dims):
            if not array.indexes[dim].equals(labels[dim]):
                raise ModelError(
                    f"{what}: labels of {dim!r} do not match: {clash(labels[dim], array.indexes[dim])}; select or "
                    "reindex explicitly"
                )
        return array.drop_vars([name for name in array.coords if name not in array.dims])

    def _check_scenario(self, what: str, dims: list[str]) -> None:
        if not self._in_scenarios and SCENARIO in dims:
            raise ModelError(f"{what} of the first stage has the scenario dimension: decisions there know no scenario")
        if self._in_scenarios and SCENARIO not in dims:
            raise ModelError(
                f"{what} of the {self.kind} has no scenario dimension; what holds in every scenario alike belongs to "
                "the first stage"
            )


def _check_binary(what: str, lower: xr.DataArray, upper: xr.DataArray) -> None:
    for which, bound in (("lower", lower), ("upper", upper)):
        odd = (bound != 0) & (bound != 1)
        if bool(odd.any()):
            raise ModelError(f"{what}: the {which} bound of a binary is 0 or 1, is not at {labels_where(odd)}")
