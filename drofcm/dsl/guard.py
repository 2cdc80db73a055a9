"""The traps of linopy's arithmetic, watched while a stage is built.

linopy's ``v1`` semantics refuse labels that do not match. Two silent losses remain, and both are caught here by
watching methods of `linopy.LinearExpression` for as long as a stage function runs:

* ``1 <= x <= 5`` builds two rows and Python keeps the second only, so every row that is built must reach the model;
* a sum (also ``@``, ``cumsum``, ``groupby`` or ``rolling``) over an expression in which a masked variable has removed
  the whole slot (``(p - charge).sum("fcm")``) loses ``p`` as well, so sums over combined expressions with absent slots
  are refused.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import linopy
import numpy as np
from linopy.constraints import ConstraintBase
from linopy.expressions import LinearExpression

from drofcm.core.errors import ModelError
from drofcm.core.units import labels_where

__all__ = ["StageModel", "v1_semantics", "watched"]

_TERM = "_term"
_SUMS = ("sum", "cumsum", "dot", "__matmul__", "groupby", "rolling")

# linopy's options and the watched methods are global to the process
_LOCK = threading.RLock()


class StageModel(linopy.Model):
    """A `linopy.Model` that remembers which rows were built and which of them were added."""

    __slots__ = ("_adding", "_pending")

    def __init__(self) -> None:
        super().__init__()
        self._adding = False
        self._pending: dict[int, ConstraintBase] = {}

    def add_constraints(self, lhs: Any, *args: Any, **kwargs: Any) -> Any:
        """As `linopy.Model.add_constraints`; the row counts as used."""
        self._pending.pop(id(lhs), None)
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


@contextmanager
def v1_semantics() -> Iterator[None]:
    """Linopy's strict alignment for the code inside, and the caller's setting again afterwards."""
    with _LOCK, linopy.options as options:
        options["semantics"] = "v1"
        yield


@contextmanager
def watched(model: StageModel) -> Iterator[None]:
    """Run a stage function under ``v1`` semantics with both traps armed."""
    with v1_semantics(), ExitStack() as stack:
        wraps = {"to_constraint": _remember_rows} | dict.fromkeys(_SUMS, _refuse_lossy_sum)
        for name, wrap in wraps.items():
            original = getattr(LinearExpression, name)
            # a method that LinearExpression only inherits must disappear again, not be copied onto it
            owned = name in vars(LinearExpression)
            setattr(LinearExpression, name, wrap(original))
            stack.callback(setattr if owned else _remove, LinearExpression, name, *([original] if owned else []))
        model.forgotten()
        yield
        rows = model.forgotten()
        if rows:
            raise ModelError(
                f"a row was built but never passed to subject_to: {_one_line(rows[0])}. "
                "It would be lost. Pass it to m.subject_to(name, row); a chained comparison such as "
                "`1 <= x <= 5` keeps one side only: write two rows, or use the bounds of the variable."
            )


def _remove(owner: type, name: str) -> None:
    delattr(owner, name)


def _one_line(row: ConstraintBase) -> str:
    return " ".join(str(row).split())[:200]


def _remember_rows(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def to_constraint(self: LinearExpression, *args: Any, **kwargs: Any) -> Any:
        row = original(self, *args, **kwargs)
        if isinstance(self.model, StageModel):
            self.model.built(row)
        return row

    return to_constraint


def _refuse_lossy_sum(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def checked(self: LinearExpression, *args: Any, **kwargs: Any) -> Any:
        constant = self.const.values
        absent = np.isnan(constant)
        if absent.any():
            combined = self.data.sizes[_TERM] > 1 or bool((constant[~absent] != 0).any())
            if combined:
                names = _variables_in(self)
                raise ModelError(
                    f"a sum over an expression of {names} skips {labels_where(self.const.isnull())}: there a masked "
                    "variable has removed the whole slot, and the other terms with it. Let the masked variable enter "
                    "through .fillna(0) (m['x'].fillna(0)) or through a sum of its own."
                )
        return original(self, *args, **kwargs)

    return checked


def _variables_in(expression: LinearExpression) -> str:
    labels = np.unique(expression.data["vars"].values)
    names = sorted(
        name
        for name, variable in expression.model.variables.items()
        if np.isin(variable.labels.values, labels[labels >= 0]).any()
    )
    return ", ".join(repr(name) for name in names) or "constants"
