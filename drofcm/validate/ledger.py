"""The list of checks that a certificate consists of, and how a row is judged."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from drofcm.core.errors import SolveError

__all__ = ["Certificate", "Ledger"]

_Array = NDArray[np.float64]

_COLUMNS = ("check", "equation", "worst_violation", "where", "tolerance", "passed")


@dataclass(frozen=True)
class Certificate:
    """What was checked of a solution, and how far each check was from failing.

    Attributes
    ----------
    checks
        One row per check: ``check``, ``equation`` (FORMULATION, paper A), ``worst_violation`` (relative to the scale of
        the row, at most 0 where nothing is violated), ``where`` (labels of the worst), ``tolerance``, ``passed``.
    """

    checks: pd.DataFrame

    @property
    def passed(self) -> bool:
        """Whether every check passed."""
        return bool(self.checks["passed"].all())

    @property
    def failures(self) -> pd.DataFrame:
        """The checks that failed."""
        return self.checks[~self.checks["passed"]]

    def raise_if_failed(self) -> None:
        """Raise ``SolveError`` with every failed check; return if there is none."""
        if not self.passed:
            raise SolveError(str(self))

    def __str__(self) -> str:
        failures = self.failures
        count = len(self.checks)
        if failures.empty:
            return f"certificate: all {count} checks passed, worst {self.checks['worst_violation'].max():.1e}"
        lines = [
            f"  {row.check} {row.equation}: {row.worst_violation:.3g} over {row.tolerance:g} at {row.where}"
            for row in failures.itertuples(index=False)
        ]
        return "\n".join([f"certificate: {len(failures)} of {count} checks failed:", *lines])


class Ledger:
    """Collects checks; a check that is written several times (per scenario) keeps its worst violation.

    Parameters
    ----------
    tolerance
        Largest violation that passes, relative to ``max(1, |left|, |right|)`` of the row.
    """

    def __init__(self, tolerance: float) -> None:
        self.tolerance = tolerance
        self._worst: dict[str, tuple[str, float, str]] = {}

    def at_most(self, check: str, equation: str, left: xr.DataArray, right: xr.DataArray | float) -> None:
        """``left <= right``."""
        labels, left_values, right_values = _together(left, right)
        self._judge(check, equation, labels, left_values - right_values, left_values, right_values)

    def at_least(self, check: str, equation: str, left: xr.DataArray, right: xr.DataArray | float) -> None:
        """``left >= right``."""
        self.at_most(check, equation, -left, -right)

    def equal(self, check: str, equation: str, left: xr.DataArray, right: xr.DataArray | float) -> None:
        """``left == right``."""
        labels, left_values, right_values = _together(left, right)
        self._judge(check, equation, labels, np.abs(left_values - right_values), left_values, right_values)

    def whole(self, check: str, equation: str, values: xr.DataArray) -> None:
        """``values`` are whole numbers, to the tolerance itself: a larger number is not less whole."""
        self.violation(check, equation, abs(values - np.round(values)))

    def zero_where(self, check: str, equation: str, values: xr.DataArray, where: xr.DataArray) -> None:
        """``values`` are zero wherever ``where`` holds."""
        self.violation(check, equation, (abs(values) * where).transpose(*values.dims, ...))

    def violation(self, check: str, equation: str, values: xr.DataArray) -> None:
        """Enter violations as they are; NaN counts as a violation without bound."""
        self._worst_of(check, equation, values, values.values)

    def fail(self, check: str, equation: str, where: str) -> None:
        """Enter a failure that has no size, such as a variable that is missing."""
        self._enter(check, equation, np.inf, where)

    def _judge(
        self, check: str, equation: str, labels: xr.DataArray, excess: _Array, left: _Array, right: _Array | float
    ) -> None:
        scale = np.maximum(np.maximum(np.abs(left), np.abs(right)), 1.0)
        self._worst_of(check, equation, labels, excess / scale)

    def _worst_of(self, check: str, equation: str, labels: xr.DataArray, values: _Array) -> None:
        numbers = np.where(np.isnan(values), np.inf, values)
        if numbers.size == 0:
            self._enter(check, equation, -np.inf, "no row")
            return
        position = np.unravel_index(int(np.argmax(numbers)), numbers.shape)
        where = ", ".join(
            f"{dim}={labels[dim].values[index] if dim in labels.coords else index}"
            for dim, index in zip(labels.dims, position, strict=True)
        )
        self._enter(check, equation, float(numbers[position]), where or "the value")

    def _enter(self, check: str, equation: str, worst: float, where: str) -> None:
        if check not in self._worst or worst > self._worst[check][1]:
            self._worst[check] = (equation, worst, where)

    def close(self) -> Certificate:
        """The certificate over everything entered so far."""
        rows = [
            (check, equation, worst, where, self.tolerance, worst <= self.tolerance)
            for check, (equation, worst, where) in self._worst.items()
        ]
        return Certificate(pd.DataFrame(rows, columns=list(_COLUMNS)))


def _together(left: xr.DataArray, right: xr.DataArray | float) -> tuple[xr.DataArray, _Array, _Array | float]:
    """Both sides over the same dimensions; labels that differ become NaN, which fails."""
    if not isinstance(right, xr.DataArray):
        return left, left.values, right
    # broadcasting is slow, and its work is done where all labels are those of the data already
    if not _same_labels(left, right):
        left, right = xr.broadcast(left, right)
    return left, left.values, right.values


def _same_labels(left: xr.DataArray, right: xr.DataArray) -> bool:
    here, there = left.indexes, right.indexes
    return left.dims == right.dims and set(here) == set(there) and all(here[dim].equals(there[dim]) for dim in here)
