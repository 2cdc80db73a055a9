"""Worst cases over ambiguity sets by linear programs written out from the definitions, without drofcm's mathematics.

A divergence ball is enclosed by tangent planes until the optimum over the planes lies in the ball: what is returned
then is an upper bound that is attained.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import xarray as xr
from scipy import optimize

import drofcm as dro
from drofcm.risk.ambiguity import AmbiguitySet, Intersection
from drofcm.risk.measures import RiskMeasure, as_sum

Vector = np.ndarray


@dataclass
class Program:
    """Rows over named groups of columns of at least 0; everything dense and slow."""

    width: int = 0
    equal: list[tuple[dict[int, float], float]] = field(default_factory=list)
    at_most: list[tuple[dict[int, float], float]] = field(default_factory=list)

    def columns(self, count: int) -> list[int]:
        self.width += count
        return list(range(self.width - count, self.width))

    def maximise(self, gain: dict[int, float]) -> tuple[float, Vector]:
        cost = np.zeros(self.width)
        for column, value in gain.items():
            cost[column] -= value
        found = optimize.linprog(
            cost,
            **self._rows("ub", self.at_most),
            **self._rows("eq", self.equal),
            method="highs",
            options={"primal_feasibility_tolerance": 1e-10, "dual_feasibility_tolerance": 1e-10},
        )
        assert found.success, found.message
        return -found.fun, found.x

    def _rows(self, kind: str, rows: list[tuple[dict[int, float], float]]) -> dict[str, np.ndarray]:
        matrix = np.zeros((len(rows), self.width))
        for number, (row, _) in enumerate(rows):
            for column, value in row.items():
                matrix[number, column] += value
        return {f"A_{kind}": matrix, f"b_{kind}": np.array([limit for _, limit in rows])}


def distribution(program: Program, ambiguity: AmbiguitySet, p: Vector) -> list[int]:
    """Columns of a distribution of the set; for a divergence ball of one on the scenarios with probability."""
    count = len(p)
    chosen = program.columns(count)
    program.equal.append((dict.fromkeys(chosen, 1.0), 1.0))
    members = ambiguity.sets if isinstance(ambiguity, Intersection) else (ambiguity,)
    for own in members:
        _restrict(program, own, chosen, p)
    return chosen


def _restrict(program: Program, own: AmbiguitySet, chosen: list[int], p: Vector) -> None:
    count = len(p)
    if isinstance(own, dro.Nominal):
        program.equal += [({column: 1.0}, p[s]) for s, column in enumerate(chosen)]
    elif isinstance(own, dro.TotalVariation):
        apart = program.columns(count)
        for s, column in enumerate(chosen):
            program.at_most.append(({column: 1.0, apart[s]: -1.0}, p[s]))
            program.at_most.append(({column: -1.0, apart[s]: -1.0}, -p[s]))
        program.at_most.append((dict.fromkeys(apart, 0.5), own.radius))
    elif isinstance(own, dro.Wasserstein):
        plan = np.array(program.columns(count * count)).reshape(count, count)
        distance = np.full((count, count), np.nan)
        given = own.distance.transpose("reference", "scenario")
        for label in given.indexes["reference"]:
            distance[label] = given.sel(reference=label, scenario=np.arange(count))
        for i in range(count):
            program.equal.append(({plan[i, j]: 1.0 for j in range(count)}, p[i]))
        for j, column in enumerate(chosen):
            program.equal.append(({column: -1.0, **{plan[i, j]: 1.0 for i in range(count)}}, 0.0))
        spent = {}
        for i in range(count):
            for j in range(count):
                closed = own.support is not None and j not in own.support and i != j
                if p[i] > 0:
                    spent[plan[i, j]] = distance[i, j] ** own.order
                    if closed:
                        program.equal.append(({plan[i, j]: 1.0}, 0.0))
        program.at_most.append((spent, own.radius**own.order))
    elif isinstance(own, dro.ProbabilityBox):
        low, high = (np.broadcast_to(xr.DataArray(side).values, count) for side in (own.lower, own.upper))
        for s, column in enumerate(chosen):
            program.at_most += [({column: 1.0}, high[s]), ({column: -1.0}, -low[s])]
    elif isinstance(own, dro.ModifiedChiSquared | dro.KullbackLeibler):
        program.equal += [({column: 1.0}, p[s]) for s, column in enumerate(chosen) if p[s] * own.radius == 0]
    elif isinstance(own, dro.Moments):
        found = own.conditions
        for name in found.function.condition.values:
            band = (float(found.lower.sel(condition=name)), float(found.upper.sel(condition=name)))
            bounded_moments(program, chosen, [(found.function.sel(condition=name).values, *band)])
    else:
        raise AssertionError(own)


def bounded_moments(program: Program, chosen: list[int], functions: list[tuple[Vector, float, float]]) -> None:
    """lower <= E function <= upper."""
    for values, low, high in functions:
        program.at_most.append((dict(zip(chosen, values, strict=True)), high))
        program.at_most.append((dict(zip(chosen, -values, strict=True)), -low))


def worst_value(risk: RiskMeasure, ambiguity: AmbiguitySet, cost: Vector, p: Vector) -> float:
    """rho(cost), by a linear program over one shared distribution and the weights of every CVaR term."""
    program = Program()
    chosen = distribution(program, ambiguity, p)
    gain = dict.fromkeys(chosen, 0.0)
    sure = 0.0
    for weight, measure in as_sum(risk).terms:
        if isinstance(measure, dro.Expectation):
            for s, column in enumerate(chosen):
                gain[column] += weight * cost[s]
        elif isinstance(measure, dro.CVaR):
            own = program.columns(len(p))
            program.equal.append((dict.fromkeys(own, 1.0), 1.0))
            for s, column in enumerate(own):
                program.at_most.append(({column: 1 - measure.alpha, chosen[s]: -1.0}, 0.0))
                gain[column] = weight * cost[s]
        else:
            sure += weight * max(cost[s] for s in range(len(p)) if largest(ambiguity, s, p) > 1e-9)
    if isinstance(ambiguity, dro.ModifiedChiSquared | dro.KullbackLeibler):
        return sure + _in_ball(program, gain, chosen, p, ambiguity)
    return sure + program.maximise(gain)[0]


def largest(ambiguity: AmbiguitySet, scenario: int, p: Vector) -> float:
    """The largest probability a scenario can have; in a divergence ball, whether it can have any."""
    if isinstance(ambiguity, dro.ModifiedChiSquared | dro.KullbackLeibler):
        return float(p[scenario])
    program = Program()
    chosen = distribution(program, ambiguity, p)
    return program.maximise({chosen[scenario]: 1.0})[0]


def excess(ambiguity: AmbiguitySet, p: Vector) -> Callable[[Vector], tuple[float, Vector]]:
    """By how much a distribution leaves a divergence ball, and the gradient of that."""
    possible = p > 0

    def chi_squared(at: Vector) -> tuple[float, Vector]:
        return float(((at - p) ** 2).sum()) - ambiguity.radius**2, 2 * (at - p)

    def entropy(at: Vector) -> tuple[float, Vector]:
        inside = np.maximum(at[possible], 1e-14)
        log = np.log(inside / p[possible])
        gradient = np.zeros(len(p))
        gradient[possible] = log + 1
        return float(inside @ log) - ambiguity.radius, gradient

    return chi_squared if isinstance(ambiguity, dro.ModifiedChiSquared) else entropy


def _in_ball(program: Program, gain: dict[int, float], chosen: list[int], p: Vector, ball: AmbiguitySet) -> float:
    leaves = excess(ball, p)
    for _ in range(400):
        value, found = program.maximise(gain)
        beyond, gradient = leaves(found[chosen])
        if beyond <= 1e-10:
            return value
        program.at_most.append((dict(zip(chosen, gradient, strict=True)), float(gradient @ found[chosen]) - beyond))
    raise AssertionError("the tangent planes did not close in")
