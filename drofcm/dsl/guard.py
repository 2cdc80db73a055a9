"""linopy watched while a stage is built: whose model it is, and the traps of its arithmetic.

linopy's semantics are one setting for the whole process, and its expressions are shared by every model in it. A stage
needs the strict ``v1`` semantics; a model of the user's own, in another thread or inside the stage function, keeps what
the user has set. So for as long as some stage function runs, methods of linopy ask whose model they work on:

* for a `StageModel` they work under ``v1``, and refuse what would be lost or mixed up without a word: operands that
  would be matched by position (`drofcm.dsl.operands`), a row that is built and never added (``1 <= x <= 5`` keeps one
  side), a sum over an expression in which a masked variable has removed a slot with everything in it
  (``(p - charge).sum("fcm")`` loses ``p``), and an explicit ``join=``, which fills or drops labels;
* for any other model they do what they always do.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Final

import linopy
import numpy as np
import pandas as pd
import xarray as xr
from linopy import expressions
from linopy.config import OptionSettings
from linopy.constraints import ConstraintBase
from linopy.expressions import BaseExpression, LinearExpression, LinearExpressionGroupby, QuadraticExpression

from drofcm.core.errors import ModelError
from drofcm.core.units import labels_where
from drofcm.dsl.operands import aligned, indexes_of, labelled, operand, stray_coordinates, variables_in

__all__ = ["StageModel", "v1_semantics", "watched"]

_TERM: Final = "_term"

_OPERATORS: Final = (
    *("__add__", "__radd__", "__sub__", "__rsub__", "__mul__", "__rmul__", "__matmul__", "__div__", "__truediv__"),
    *("__le__", "__ge__", "__eq__", "add", "sub", "mul", "div", "le", "ge", "eq", "dot"),
)
_SUMS: Final = ("sum", "cumsum", "dot", "__matmul__", "groupby", "rolling")
_SELECTIONS: Final = ("sel", "isel", "__getitem__")
_STRICT: Final = ("__lt__", "__gt__")
_OTHERS: Final = ("to_linexpr", "to_constraint", "where", "fillna", "isnull", "diff", "shift")
_OPERAND_WORDS: Final = ("other", "rhs", "coefficient", "value", "fill_value")
_OF_MODELS: Final = ("add_variables", "add_constraints", "add_expressions", "add_objective", "linexpr")

_SEMANTICS: ContextVar[str | None] = ContextVar("drofcm_semantics", default=None)
"""The semantics of this thread, where it is not the user's."""

_INSIDE: ContextVar[bool] = ContextVar("drofcm_inside_linopy", default=False)
"""Whether linopy is calling itself: what it hands to itself has been looked at."""

_LOCK: Final = threading.Lock()
_INSTALLED: list[tuple[Any, str, Any]] = []
_USERS = 0
_MISSING: Final = object()


class StageModel(linopy.Model):
    """A `linopy.Model` that remembers which rows were built and which of them were added."""

    __slots__ = ("_adding", "_pending", "dimensions", "watching")

    def __init__(self, dimensions: frozenset[Hashable] = frozenset()) -> None:
        # first: linopy's own constructor builds expressions, and another stage may be watched meanwhile
        self.dimensions = dimensions
        self.watching = False
        super().__init__()
        self._adding = False
        self._pending: dict[int, ConstraintBase] = {}

    def add_variables(self, *args: Any, **kwargs: Any) -> Any:
        """As `linopy.Model.add_variables`; bounds and masks carry labels."""
        args, kwargs = self._with_labels(args, kwargs, positional=2, names=("lower", "upper", "mask"))
        return super().add_variables(*args, **kwargs)

    def add_constraints(self, lhs: Any, *args: Any, **kwargs: Any) -> Any:
        """As `linopy.Model.add_constraints`; the row counts as used, right-hand sides and masks carry labels."""
        self._pending.pop(id(lhs), None)
        args, kwargs = self._with_labels(args, kwargs, positional=2, names=("rhs", "mask"))
        before, self._adding = self._adding, True
        try:
            return super().add_constraints(lhs, *args, **kwargs)
        finally:
            self._adding = before

    def built(self, row: ConstraintBase) -> None:
        """Remember a row that a comparison has built."""
        if not self._adding:
            self._pending[id(row)] = row

    def forgotten(self) -> list[ConstraintBase]:
        """Rows built since the last call that never reached the model."""
        rows = list(self._pending.values())
        self._pending.clear()
        return rows

    def _with_labels(
        self, args: tuple[Any, ...], kwargs: dict[str, Any], positional: int, names: tuple[str, ...]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        if not self.watching:
            return args, kwargs
        name = kwargs.get("name", "without a name")
        own = functools.partial(_own, f"{name!r}", self)
        head = tuple(own(value) for value in args[:positional])
        return head + args[positional:], {key: own(value) if key in names else value for key, value in kwargs.items()}


def _own(whose: str, model: StageModel, value: Any) -> Any:
    if isinstance(value, linopy.Variable | BaseExpression | str) or value is None:
        return value
    return labelled(value, {}, lambda: whose, model.dimensions)


class _Scoped(OptionSettings):
    """linopy's options; a thread that builds a stage reads ``v1``, every other one what the user has set."""

    def get_value(self, name: str) -> Any:
        own = _SEMANTICS.get()
        return own if own is not None and name == "semantics" else super().get_value(name)


@contextmanager
def v1_semantics() -> Iterator[None]:
    """Linopy's strict alignment for the code inside, in this thread only."""
    with _installed(), _semantics("v1"):
        if linopy.options["semantics"] != "v1":
            raise RuntimeError("linopy does not take its semantics from linopy.options")
        yield


@contextmanager
def watched(model: StageModel) -> Iterator[None]:
    """Run a stage function on ``model`` under ``v1`` semantics with all traps armed."""
    with v1_semantics():
        model.forgotten()
        model.watching = True
        try:
            yield
        finally:
            model.watching = False
        rows = model.forgotten()
        if rows:
            raise ModelError(
                f"a row was built but never passed to subject_to: {_one_line(rows[0])}. "
                "It would be lost. Pass it to m.subject_to(name, row); a chained comparison such as "
                "`1 <= x <= 5` keeps one side only: write two rows, or use the bounds of the variable."
            )


@contextmanager
def _semantics(own: str | None) -> Iterator[None]:
    token = _SEMANTICS.set(own)
    try:
        yield
    finally:
        _SEMANTICS.reset(token)


@contextmanager
def _installed() -> Iterator[None]:
    """Linopy's methods ask whose model it is, as long as somebody is inside."""
    global _USERS
    with _LOCK:
        _USERS += 1
        if _USERS == 1:
            _install()
    try:
        yield
    finally:
        with _LOCK:
            _USERS -= 1
            if _USERS == 0:
                _uninstall()


def _install() -> None:
    names = {*_OPERATORS, *_SUMS, *_SELECTIONS, *_STRICT, *_OTHERS}
    for owner in (linopy.Variable, LinearExpression, QuadraticExpression):
        for name in sorted(names):
            if hasattr(owner, name):
                _replace(owner, name, _asking(name, getattr(owner, name)))
    for name in _OF_MODELS:
        _replace(linopy.Model, name, _of_model(getattr(linopy.Model, name)))
    _replace(LinearExpressionGroupby, "sum", _of_model(LinearExpressionGroupby.sum))
    _replace(LinearExpression, "__init__", _constant(LinearExpression.__init__))
    from_constant = _constant(vars(LinearExpression)["from_constant"].__func__)
    _replace(LinearExpression, "from_constant", classmethod(from_constant))
    merge = _merging(expressions.merge)
    for module in (expressions, linopy):
        _replace(module, "merge", merge)
    _INSTALLED.append((linopy.options, "__class__", type(linopy.options)))
    linopy.options.__class__ = _Scoped


def _replace(owner: Any, name: str, new: Any) -> None:
    # a method that a class only inherits must disappear again, not be copied onto it
    _INSTALLED.append((owner, name, vars(owner).get(name, _MISSING)))
    setattr(owner, name, new)


def _uninstall() -> None:
    while _INSTALLED:
        owner, name, original = _INSTALLED.pop()
        if original is _MISSING:
            delattr(owner, name)
        else:
            setattr(owner, name, original)


def _asking(name: str, original: Callable[..., Any]) -> Callable[..., Any]:
    """A method of a variable or expression that asks whose model it works on."""

    @functools.wraps(original)
    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        model = self.model
        if not isinstance(model, StageModel):
            with _semantics(None):
                return original(self, *args, **kwargs)
        if not model.watching or _INSIDE.get():
            return original(self, *args, **kwargs)
        args, kwargs = _checked(name, self, model, args, kwargs)
        token, semantics = _INSIDE.set(True), _SEMANTICS.set("v1")
        try:
            result = original(self, *args, **kwargs)
        finally:
            _SEMANTICS.reset(semantics)
            _INSIDE.reset(token)
        if name in _SELECTIONS and isinstance(result, linopy.Variable | BaseExpression):
            return _without_stray(result, model)
        if isinstance(result, ConstraintBase):
            model.built(result)
        return result

    return method


def _checked(
    name: str, self: Any, model: StageModel, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The arguments of a method, looked at."""

    def whose() -> str:
        return variables_in(self)

    def meets(value: Any) -> Any:
        return operand(value, indexes_of(self), whose, model, model.dimensions)

    if name in _STRICT:
        raise ValueError(f"a row of {whose()} is written with < or >: use <= or >=, rows include their limit")
    if kwargs.get("join", "exact") not in (None, "exact"):
        raise ValueError(
            f"join={kwargs['join']!r} would fill or drop labels of {whose()}: select or reindex explicitly"
        )
    if name in _SUMS and not isinstance(self, linopy.Variable):
        _refuse_lossy_sum(self)
    place = 1 if name == "to_constraint" else 0
    place = 1 if name == "to_constraint" else 0
    if name in (*_OPERATORS, "to_constraint", "to_linexpr", "fillna") and len(args) > place:
        args = (*args[:place], meets(args[place]), *args[place + 1 :])
    elif name == "where" and args and not callable(args[0]):
        condition = aligned(args[0], indexes_of(self), whose, model.dimensions)
        args = (condition, *(meets(value) for value in args[1:]))
    elif name == "groupby" and args:
        _check_grouper(args[0], self, whose, model)
    operands: dict[str, Any] = {key: meets(kwargs[key]) for key in _OPERAND_WORDS if key in kwargs}
    return args, {**kwargs, **operands}


def _check_grouper(group: Any, self: Any, whose: Callable[[], str], model: StageModel) -> None:
    """Groups are told by labels too; linopy takes what has none by position."""
    if isinstance(group, pd.DataFrame):
        group = group.iloc[:, 0]
    unnamed = isinstance(group, np.ndarray | pd.Index) or (
        isinstance(group, list) and not all(isinstance(name, str) for name in group)
    )
    if unnamed or isinstance(group, pd.Series | xr.DataArray):
        aligned(group, indexes_of(self), whose, model.dimensions)


def _without_stray(selected: Any, model: StageModel) -> Any:
    """What a selection leaves behind goes: it would clash with other selections, and no value depends on it."""
    stray = stray_coordinates(selected, model.dimensions)
    if not stray:
        return selected
    data = selected.data.drop_vars(stray)
    if isinstance(selected, linopy.Variable):
        return type(selected)(data, model, selected.name)
    return type(selected)(data, model)


def _constant(original: Callable[..., Any]) -> Callable[..., Any]:
    """What makes an expression of a constant alone: it carries labels."""

    @functools.wraps(original)
    def method(first: Any, *args: Any, **kwargs: Any) -> Any:
        model = next((value for value in (*args, *kwargs.values()) if isinstance(value, StageModel)), None)
        if model is not None and model.watching and not _INSIDE.get():
            args = tuple(_constant_of(value, model) for value in args)
            kwargs = {key: _constant_of(value, model) for key, value in kwargs.items()}
        return original(first, *args, **kwargs)

    return method


def _constant_of(value: Any, model: StageModel) -> Any:
    if value is None or isinstance(value, xr.Dataset | linopy.Model):
        return value
    return operand(value, {}, lambda: "an expression", model, model.dimensions)


def _merging(original: Callable[..., Any]) -> Callable[..., Any]:
    """`linopy.merge`, which adds expressions up: their labels match."""

    @functools.wraps(original)
    def merge(exprs: Any, *more: Any, **kwargs: Any) -> Any:
        parts = [exprs, *more] if isinstance(exprs, linopy.Variable | BaseExpression) else [*exprs, *more]
        model = getattr(parts[0], "model", None) if parts else None
        if not isinstance(model, StageModel):
            with _semantics(None):
                return original(exprs, *more, **kwargs)
        if not model.watching:
            return original(exprs, *more, **kwargs)
        if not _INSIDE.get():
            if kwargs.get("join", "exact") not in (None, "exact"):
                raise ValueError(f"join={kwargs['join']!r} would fill or drop labels: select or reindex explicitly")
            first = parts[0]
            for part in parts[1:]:
                operand(part, indexes_of(first), lambda: variables_in(first), model, model.dimensions)
        with _semantics("v1"):
            return original(exprs, *more, **kwargs)

    return merge


def _of_model(original: Callable[..., Any]) -> Callable[..., Any]:
    """A method of a model, or of groups of an expression."""

    @functools.wraps(original)
    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        model = self if isinstance(self, linopy.Model) else self.model
        if isinstance(model, StageModel) and not model.watching:
            return original(self, *args, **kwargs)
        with _semantics("v1" if isinstance(model, StageModel) else None):
            return original(self, *args, **kwargs)

    return method


def _one_line(row: ConstraintBase) -> str:
    return " ".join(str(row).split())[:200]


def _refuse_lossy_sum(expression: BaseExpression) -> None:
    """A slot that a masked variable has removed takes the other terms along: no sum over it."""
    constant = expression.const.values
    absent = np.isnan(constant)
    if absent.any():
        combined = expression.data.sizes[_TERM] > 1 or bool((constant[~absent] != 0).any())
        if combined:
            raise ValueError(
                f"a sum over an expression of {variables_in(expression)} skips "
                f"{labels_where(expression.const.isnull())}: there a masked variable has removed the whole slot, and "
                "the other terms with it. Let the masked variable enter through .fillna(0) (m['x'].fillna(0)) or "
                "through a sum of its own."
            )
