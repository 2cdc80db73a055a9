"""Ambiguity sets with finitely many rows, as linear programs by their definitions, and bounds by their multipliers."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
import xarray as xr
from scipy.optimize import linprog

from drofcm.core.dims import SCENARIO
from drofcm.risk.sets import (
    REFERENCE,
    AmbiguitySet,
    Moments,
    Nominal,
    ProbabilityBox,
    TotalVariation,
    Wasserstein,
    members,
)
from drofcm.validate.terms import Terms, Vector

__all__ = ["Program", "allowed_moves"]

_ROUNDS = 200
_FEW_MOVES = 20_000
"""Moves between scenarios up to which all are in the program from the start."""
_TIGHT = {"primal_feasibility_tolerance": 1e-10, "dual_feasibility_tolerance": 1e-10}
_PROVED = 1e-9
"""How far a bound may lie above a claim, as a share of the costs' spread."""


def allowed_moves(ambiguity: Wasserstein, probability: xr.DataArray) -> tuple[npt.NDArray[np.int64], Vector]:
    """Where mass is (R), and (distance / radius)^order of every move from there, (R x S); infinite: not allowed.

    A transport plan may spend 1. With a radius of 0 only moves over no distance are allowed.
    """
    assert ambiguity.distance is not None
    index = probability.indexes[SCENARIO]
    origin = np.flatnonzero(probability.values > 0)
    between = ambiguity.distance.sel({REFERENCE: index[origin], SCENARIO: index}).transpose(REFERENCE, SCENARIO)
    distance = between.values.astype(float)
    if ambiguity.radius == 0:
        cost = np.where(distance == 0, 0.0, np.inf)
    else:
        with np.errstate(over="ignore", under="ignore"):
            cost = (distance / ambiguity.radius) ** ambiguity.order
    if ambiguity.support is not None:
        closed = ~index.isin(list(ambiguity.support))
        stays = origin[:, None] == np.arange(len(index))
        cost[closed[None, :] & ~stays] = np.inf
    return origin, cost


class Program:
    """max gain.x over x >= 0 of the definitions, x = (p', w_1, ..., w_K, what each set moves with), and its dual.

    Columns come in groups of which it is known what they sum to at most: a distribution to 1, the moves from one
    scenario to its probability. Columns that the multipliers do not cover add no more to the bound than the largest
    lack in their group times that sum.
    """

    def __init__(
        self, ambiguity: AmbiguitySet, probability: xr.DataArray, cvar: tuple[tuple[float, float], ...]
    ) -> None:
        self._probability, self._cvar = probability, cvar
        self._count = len(probability)
        self._blocks: list[list[sp.csr_array | None]] = []
        self._widths: list[int] = []
        self._totals: list[float] = []
        self._limits: list[Vector] = []
        self._equal: list[bool] = []
        self._transports: list[_Transport] = []
        chosen = self._columns(self._count, 1.0)
        self._row({chosen: _ones(self._count)}, [1.0], equal=True)
        for alpha, _ in cvar:
            tail = self._columns(self._count, 1.0)
            self._row({tail: _ones(self._count)}, [1.0], equal=True)
            self._row({tail: (1 - alpha) * _unit(self._count), chosen: -_unit(self._count)}, np.zeros(self._count))
        for own in members(ambiguity):
            self._restrict(own, chosen)

    def _columns(self, count: int, total: float) -> int:
        self._widths.append(count)
        self._totals.append(total)
        return len(self._widths) - 1

    def _row(self, parts: dict[int, Any], limit: Any, *, equal: bool = False) -> int:
        limits = np.atleast_1d(np.asarray(limit, dtype=float))
        row: list[sp.csr_array | None] = [None] * (max(parts) + 1)
        for group, part in parts.items():
            row[group] = sp.csr_array(part)
        self._blocks.append(row)
        self._limits.append(limits)
        self._equal.append(equal)
        return len(self._blocks) - 1

    def _restrict(self, own: AmbiguitySet, chosen: int) -> None:
        """The rows of one set, from its definition."""
        p, count, unit = self._probability, self._count, _unit(self._count)
        match own:
            case Nominal():
                self._row({chosen: unit}, p.values, equal=True)
            case TotalVariation():
                apart = self._columns(count, 2.0 * own.radius)
                self._row({chosen: unit, apart: -unit}, p.values)
                self._row({chosen: -unit, apart: -unit}, -p.values)
                self._row({apart: _ones(count)}, [2.0 * own.radius])
            case ProbabilityBox():
                low, high = (_side(side, p) for side in (own.lower, own.upper))
                self._row({chosen: unit}, high)
                self._row({chosen: -unit}, -low)
            case Moments():
                assert own.conditions is not None
                function = own.conditions.function.transpose(..., SCENARIO).values
                self._row({chosen: function}, own.conditions.upper.values)
                self._row({chosen: -function}, -own.conditions.lower.values)
            case Wasserstein():
                origin, cost = allowed_moves(own, p)
                group = self._columns(0, 0.0)
                first = self._row({group: sp.csr_array((len(origin), 0))}, p.values[origin], equal=True)
                self._row({chosen: unit, group: sp.csr_array((count, 0))}, np.zeros(count), equal=True)
                self._row({group: sp.csr_array((1, 0))}, [1.0])
                self._transports.append(_Transport(group, first, p.values[origin], origin, cost))
            case _:
                raise TypeError(f"no definition of {own!r} is known")

    def bound(self, unit: Vector, terms: Terms, target: float) -> float:
        """A bound on the terms; the search ends where it is the target."""
        gains = [terms.expectation * unit, *(weight * unit for _, weight in terms.cvar)]
        best = np.inf
        for transport in self._transports:
            transport.begin(unit)
        for _ in range(_ROUNDS):
            found = self._solved(gains)
            if found is None:
                return best
            _, bound, new = self._judged(gains, found)
            best = min(best, bound)
            if best <= target + _PROVED or not new:
                break
        return best

    def value(self, gain: Vector) -> float:
        """The largest value of gain.p', by the search alone."""
        for transport in self._transports:
            transport.begin(gain)
        for _ in range(_ROUNDS):
            found = self._solved([gain])
            if found is None:
                break
            value, _, new = self._judged([gain], found)
            if not new:
                return value
        return np.nan

    def _solved(self, gains: list[Vector]) -> tuple[Vector, list[Vector]] | None:
        """Solution and a multiplier of every row."""
        widths, blocks = self._filled()
        cost = np.zeros(sum(widths))
        cost[: self._count * len(gains)] = -np.concatenate(gains)
        rows = [
            sp.hstack([_or_zero(part, len(limit), width) for part, width in zip(row, widths, strict=True)])
            for row, limit in zip(blocks, self._limits, strict=True)
        ]
        kinds = {equal: [k for k, own in enumerate(self._equal) if own == equal] for equal in (True, False)}
        parts: dict[str, Any] = {}
        for equal, name in ((True, "eq"), (False, "ub")):
            if kinds[equal]:
                parts[f"A_{name}"] = sp.csr_array(sp.vstack([rows[k] for k in kinds[equal]]))
                parts[f"b_{name}"] = np.concatenate([self._limits[k] for k in kinds[equal]])
        solve: Any = linprog
        found = solve(cost, **parts, method="highs", options=_TIGHT)
        if found.status != 0:
            return None
        price: list[Vector] = [np.zeros(0)] * len(rows)
        for equal, marginals in ((True, found.eqlin.marginals), (False, found.ineqlin.marginals)):
            at = 0
            for k in kinds[equal]:
                own = -marginals[at : at + len(self._limits[k])]
                price[k] = own if equal else np.maximum(own, 0.0)
                at += len(self._limits[k])
        return found.x, price

    def _filled(self) -> tuple[list[int], list[list[sp.csr_array | None]]]:
        """Widths and blocks with the moves that are in the program."""
        widths, blocks = list(self._widths), [[*row] for row in self._blocks]
        for own in self._transports:
            widths[own.group] = len(own.row)
            for row, part in zip(range(own.first, own.first + 3), own.columns(self._count), strict=True):
                blocks[row][own.group] = part
        return widths, [[*row, *[None] * (len(widths) - len(row))] for row in blocks]

    def _judged(self, gains: list[Vector], found: tuple[Vector, list[Vector]]) -> tuple[float, float, bool]:
        """Value of the solution, bound of its multipliers, and whether moves came in that they do not cover."""
        solution, price = found
        bound = sum(float(limit @ own) for limit, own in zip(self._limits, price, strict=True))
        moving = {own.group for own in self._transports}
        for group, total in enumerate(self._totals):
            if group in moving:
                continue
            gain = gains[group] if group < len(gains) else np.zeros(self._widths[group])
            covered = np.zeros(self._widths[group])
            for row, own in zip(self._blocks, price, strict=True):
                part = row[group] if group < len(row) else None
                if part is not None:
                    covered = covered + part.T @ own
            bound += total * max(0.0, float((gain - covered).max(initial=0.0)))
        new = False
        for transport in self._transports:
            more, came = transport.judged(price)
            bound, new = bound + more, new or came
        value = sum(float(gain @ solution[k * self._count : (k + 1) * self._count]) for k, gain in enumerate(gains))
        return value, bound, new


class _Transport:
    """The moves of one Wasserstein ball, of which a large program holds those that pay."""

    def __init__(self, group: int, first: int, mass: Vector, origin: npt.NDArray[np.int64], cost: Vector) -> None:
        self.group, self.first, self.cost = group, first, cost
        self._mass, self._origin = mass, origin
        self.row: npt.NDArray[np.int64] = np.zeros(0, dtype=np.int64)
        self.target: npt.NDArray[np.int64] = np.zeros(0, dtype=np.int64)

    def begin(self, gain: Vector) -> None:
        """All moves where they are few; otherwise staying, and going where the gain is largest."""
        finite = np.isfinite(self.cost)
        if np.count_nonzero(finite) <= _FEW_MOVES:
            self.row, self.target = np.nonzero(finite)
            return
        rows = np.arange(len(self._origin))
        best = np.where(finite, gain[None, :], -np.inf).argmax(axis=1)
        self._take(np.concatenate([rows, rows]), np.concatenate([self._origin, best]))

    def _take(self, row: npt.NDArray[np.int64], target: npt.NDArray[np.int64]) -> bool:
        width = self.cost.shape[1]
        known = self.row * width + self.target
        joined = np.union1d(known, row * width + target)
        self.row, self.target = joined // width, joined % width
        return len(joined) > len(known)

    def columns(self, count: int) -> tuple[sp.csr_array, sp.csr_array, sp.csr_array]:
        """Rows of the moves: sums from each scenario, negative sums to each, and what they cost."""
        width, ones = len(self.row), np.ones(len(self.row))
        at = np.arange(width)
        return (
            sp.csr_array((ones, (self.row, at)), shape=(len(self._origin), width)),
            sp.csr_array((-ones, (self.target, at)), shape=(count, width)),
            sp.csr_array(self.cost[self.row, self.target][None, :]),
        )

    def judged(self, price: list[Vector]) -> tuple[float, bool]:
        """What the moves add to the bound beyond the multipliers, over all of them; whether some came in."""
        of_origin, of_target, of_cost = price[self.first], price[self.first + 1], float(price[self.first + 2][0])
        # infinitely dear moves are none, even where distance costs nothing
        lack = np.where(
            np.isfinite(self.cost), of_target[None, :] - of_cost * np.nan_to_num(self.cost, posinf=0.0), -np.inf
        )
        lack = lack - of_origin[:, None]
        best = lack.argmax(axis=1)
        most = lack[np.arange(len(best)), best]
        lacking = np.flatnonzero(most > 1e-10)
        return float(self._mass @ np.maximum(most, 0.0)), bool(len(lacking)) and self._take(lacking, best[lacking])


def _side(side: Any, probability: xr.DataArray) -> Vector:
    array = xr.DataArray(side)
    if not array.dims:
        return np.full(len(probability), float(array))
    return np.asarray(array.sel({SCENARIO: probability.indexes[SCENARIO]}).values, dtype=float)


def _unit(count: int) -> sp.csr_array:
    return sp.eye_array(count, format="csr")


def _ones(count: int) -> sp.csr_array:
    return sp.csr_array(np.ones((1, count)))


def _or_zero(part: sp.csr_array | None, rows: int, columns: int) -> sp.csr_array:
    return sp.csr_array((rows, columns)) if part is None else part
