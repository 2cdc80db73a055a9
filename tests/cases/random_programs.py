"""Small random two-stage programs, as plain matrices and as drofcm's blocks.

Every draw has a feasible point by construction. Columns are binary, integer, continuous or free, rows are equalities or
sides with or without slack, the recourse is complete (by elastic columns) or not, and scenarios share their matrices or
have their own sizes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
import xarray as xr

import drofcm as dro
from drofcm.blocks.form import FirstStage, Scenario, TwoStageBlocks

Vector = npt.NDArray[np.float64]


@dataclass
class Stage:
    """min cost.y + constant subject to low <= rows y (+ T x) <= high, lower <= y <= upper, some y integer."""

    cost: Vector
    constant: float
    rows: Vector
    low: Vector
    high: Vector
    lower: Vector
    upper: Vector
    integer: npt.NDArray[np.bool_]


@dataclass
class Instance:
    """A program, what judges it, and the points on which ambiguity sets stand."""

    first: Stage
    recourse: list[Stage]
    technology: list[Vector]
    charged: list[Vector]
    probability: Vector
    expectation: float
    tails: list[tuple[float, float]]
    worst: float
    kind: str
    size: float
    points: Vector

    @property
    def distances(self) -> Vector:
        """Taxicab distances of all pairs of points."""
        return np.abs(self.points[:, None] - self.points[None]).sum(axis=-1)

    def times(self, factor: float) -> Instance:
        """The same program with all costs multiplied."""

        def dearer(stage: Stage) -> Stage:
            return Stage(**{**vars(stage), "cost": stage.cost * factor, "constant": stage.constant * factor})

        changed = {
            "first": dearer(self.first),
            "recourse": [dearer(own) for own in self.recourse],
            "charged": [own * factor for own in self.charged],
        }
        return Instance(**{**vars(self), **changed})


KINDS = (
    "nominal",
    "total_variation",
    "wasserstein",
    "wasserstein_2",
    "box",
    "moments",
    "chi_squared",
    "entropy",
    "two",
)


def _columns(rng: np.random.Generator, count: int, integers: float, free: bool) -> tuple[Vector, Vector, Any]:
    lower, upper, integer = np.zeros(count), np.zeros(count), np.zeros(count, dtype=bool)
    for j in range(count):
        drawn = rng.random()
        if drawn < integers / 2:
            upper[j], integer[j] = 1, True
        elif drawn < integers:
            lower[j] = rng.integers(-3, 2)
            upper[j], integer[j] = lower[j] + rng.integers(1, 7), True
        elif free and drawn < integers + 0.2:
            lower[j], upper[j] = -np.inf, np.inf
        else:
            lower[j] = rng.choice([0.0, -2.5])
            upper[j] = lower[j] + rng.choice([1.0, 4.5, 30.0])
    return lower, upper, integer


def _point(rng: np.random.Generator, lower: Vector, upper: Vector, integer: Any) -> Vector:
    low, high = np.where(np.isinf(lower), 0.0, lower), np.where(np.isinf(upper), 0.0, upper)
    drawn = rng.uniform(low, high)
    return np.where(integer, np.clip(np.round(drawn), low, high), drawn)


def _sides(rng: np.random.Generator, value: Vector) -> tuple[Vector, Vector]:
    slack = rng.choice([0.0, 0.5, 2.0], len(value))
    kind = rng.integers(0, 4, len(value))
    low = np.where(kind == 1, -np.inf, value - np.where(kind == 0, 0, slack))
    high = np.where(kind == 2, np.inf, value + np.where(kind == 0, 0, slack))
    return low, high


def _matrix(rng: np.random.Generator, rows: int, columns: int) -> Vector:
    return np.round(rng.normal(0, 2, (rows, columns)) * (rng.random((rows, columns)) < 0.8), 1)


def instance(seed: int) -> Instance:
    """The program of one seed."""
    rng = np.random.default_rng([2718, seed])
    n, count = int(rng.integers(2, 6)), int(rng.integers(2, 6))
    lower, upper, integer = _columns(rng, n, rng.choice([0.0, 0.5, 1.0]), free=False)
    x = _point(rng, lower, upper, integer)
    rows = _matrix(rng, int(rng.integers(0, 3)), n)
    first = Stage(
        np.round(rng.normal(0, 4, n), 2),
        round(rng.normal(0, 5), 1),
        rows,
        *_sides(rng, rows @ x),
        lower,
        upper,
        integer,
    )
    complete, shared = rng.random() < 0.65, rng.random() < 0.4
    integers, width, height = rng.choice([0.0, 0.5, 0.8]), int(rng.integers(2, 5)), int(rng.integers(1, 4))
    recourse, technology, charged, base = [], [], [], None
    for _ in range(count):
        if base is None or not shared:
            if not shared:
                width, height = int(rng.integers(2, 5)), int(rng.integers(1, 4))
            base = _columns(rng, width, integers, free=True), _matrix(rng, height, n), _matrix(rng, height, width)
        columns, enters, own = base
        stage = _recourse(rng, columns, own, enters @ x, complete)
        technology.append(np.vstack([enters, np.zeros((len(stage.low) - len(enters), n))]))
        recourse.append(stage)
        charged.append(np.round(rng.normal(0, 1, n), 1) * (rng.random() < 0.3))
    probability = rng.dirichlet(np.ones(count))
    if count > 2 and rng.random() < 0.25:
        probability[rng.integers(count)] = 0
        probability /= probability.sum()
    expectation = float(rng.choice([0.0, 0.5, 1.0]))
    tails = [(float(rng.choice([0.3, 0.5, 0.9])), 0.7)] if expectation == 0 or rng.random() < 0.6 else []
    return Instance(
        first,
        recourse,
        technology,
        charged,
        probability,
        expectation,
        tails,
        float(rng.choice([0.0, 0.0, 0.0, 0.5])),
        KINDS[seed % len(KINDS)],
        float(rng.choice([0.05, 0.3, 0.8])),
        rng.normal(0, 1, (count, 2)),
    )


def _recourse(rng: np.random.Generator, columns: Any, rows: Vector, fixed: Vector, complete: bool) -> Stage:
    """Rows that a point satisfies; what is free or may be missed is charged in two parts, above and below zero."""
    lower, upper, integer = (part.copy() for part in columns)
    cost = np.where(np.isinf(lower), 0.0, np.round(rng.normal(1, 4, len(lower)), 2))
    low, high = _sides(rng, rows @ _point(rng, lower, upper, integer) + fixed)
    parts = [np.eye(len(low))[:, [k]] for k in range(len(low))] if complete else []
    for k in np.flatnonzero(np.isinf(lower)):
        rows = np.vstack([rows, np.eye(rows.shape[1])[k]])
        low, high = np.append(low, 0.0), np.append(high, 0.0)
        parts = [np.vstack([part, [[0.0]]]) for part in parts] + [np.eye(len(low))[:, [len(low) - 1]]]
    for part in parts:
        rows = np.hstack([rows, part, -part])
        cost = np.append(cost, rng.uniform(3, 30, 2).round(1))
        lower, upper, integer = (
            np.append(lower, [0, 0]),
            np.append(upper, [np.inf] * 2),
            np.append(integer, [False] * 2),
        )
    return Stage(cost, round(rng.normal(0, 3), 1), rows, low, high, lower, upper, integer)


def blocks_of(own: Instance) -> TwoStageBlocks:
    """The program as drofcm takes it."""
    first, n = own.first, len(own.first.cost)
    labels = [f"s{k}" for k in range(len(own.recourse))]
    widest, begin = max(len(stage.cost) for stage in own.recourse), n
    at = np.full((len(labels), widest), -1)
    for k, stage in enumerate(own.recourse):
        at[k, : len(stage.cost)] = begin + np.arange(len(stage.cost))
        begin += len(stage.cost)
    scenario = {"scenario": labels}
    return TwoStageBlocks(
        FirstStage(
            first.cost,
            first.constant,
            sp.csr_array(first.rows),
            first.low,
            first.high,
            first.lower,
            first.upper,
            first.integer,
        ),
        tuple(
            Scenario(
                stage.cost,
                charged,
                stage.constant,
                sp.csr_array(enters),
                sp.csr_array(stage.rows),
                stage.low,
                stage.high,
                stage.lower,
                stage.upper,
                stage.integer,
            )
            for stage, enters, charged in zip(own.recourse, own.technology, own.charged, strict=True)
        ),
        xr.DataArray(own.probability, coords=scenario, dims="scenario"),
        {
            "x": xr.DataArray(np.arange(n), coords={"place": np.arange(n)}, dims="place"),
            "w": xr.DataArray(at, coords={**scenario, "part": np.arange(widest)}, dims=("scenario", "part")),
        },
        ("x",),
        {},
    )


def risk_of(own: Instance) -> Any:
    """What judges the recourse cost."""
    total = own.expectation * dro.Expectation()
    for level, weight in own.tails:
        total = total + weight * dro.CVaR(level)
    return total + own.worst * dro.WorstCase()


def box_of(own: Instance) -> tuple[Vector, Vector]:
    """Bounds of the probabilities."""
    return own.probability * (1 - own.size), np.minimum(1.0, own.probability * (1 + own.size) + 0.05)


def mean_of(own: Instance) -> tuple[Vector, Vector]:
    """Mean and spread of the points under the nominal distribution."""
    mean = own.probability @ own.points
    return mean, np.sqrt(own.probability @ (own.points - mean) ** 2)


def ambiguity_of(own: Instance) -> Any:
    """The ambiguity set."""
    labels = [f"s{k}" for k in range(len(own.probability))]
    possible = np.flatnonzero(own.probability > 0)
    distance = xr.DataArray(
        own.distances[possible],
        coords={"reference": [labels[k] for k in possible], "scenario": labels},
        dims=("reference", "scenario"),
    )

    def box() -> Any:
        return dro.ProbabilityBox(
            *(xr.DataArray(side, coords={"scenario": labels}, dims="scenario") for side in box_of(own))
        )

    def moments() -> Any:
        data = xr.Dataset(
            {"point": (("scenario", "axis"), own.points), "probability": ("scenario", own.probability)},
            coords={"scenario": labels, "axis": [0, 1]},
        )
        return dro.bind(dro.Moments(over="point", mean=own.size), data)

    sets: dict[str, Callable[[], Any]] = {
        "nominal": dro.Nominal,
        "total_variation": lambda: dro.TotalVariation(own.size),
        "wasserstein": lambda: dro.Wasserstein(own.size, distance=distance),
        "wasserstein_2": lambda: dro.Wasserstein(own.size, order=2, distance=distance),
        "box": box,
        "moments": moments,
        "chi_squared": lambda: dro.ModifiedChiSquared(own.size),
        "entropy": lambda: dro.KullbackLeibler(own.size),
        "two": lambda: dro.TotalVariation(own.size) & dro.Wasserstein(1.0, distance=distance),
    }
    return sets[own.kind]()
