"""What a search has learnt, as arrays and back; arrays that nothing could have learnt are refused."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from drofcm.solve.cuts import CutPool
from drofcm.solve.regions import Region
from drofcm.solve.subproblem import Point

__all__ = ["FACTS", "MOST_POINTS", "NAMES", "TOLERANCE", "Learnt", "packed", "unpacked"]

Vector = npt.NDArray[np.float64]
Arrays = Mapping[str, npt.NDArray[Any]]

MOST_POINTS = 60
"""Points of the Lagrangian dual that are remembered for each scenario."""

TOLERANCE = 1e-5
"""By how much, relative to the cost, bounds that were found numerically may contradict it."""

FACTS = "facts"
"""The array that holds the single figures, as JSON."""

_FIGURES: Final = {
    "lower": float,
    "lower_origin": str,
    "upper": float,
    "phase": str,
    "iteration": int,
    "ruled_out": float,
}
_ARRAYS = ("floor", "kept", "plan", "price")
_OF_CUTS = ("home", "scenario", "constant", "bounds_cost")
_OF_REGIONS = {
    "lower": "f",
    "upper": "f",
    "bound": "f",
    "rounds": "i",
    "value": "f",
    "unfinished": "b",
    "patience": "i",
    "plan": "f",
    "kept": "b",
}
_SPARSE = ("data", "indices", "indptr", "shape")
_TYPES: Final = {"f": np.float64, "i": np.int64, "b": np.bool_}

NAMES = (
    FACTS,
    *_ARRAYS,
    *_OF_CUTS,
    *(f"gradient_{part}" for part in _SPARSE),
    "point_scenario",
    "point_cost",
    *(f"point_{part}" for part in _SPARSE),
    *(f"region_{name}" for name in _OF_REGIONS),
)
"""The arrays of a checkpoint."""

_PHASES = ("relaxation", "strengthening", "integer first stage", "regions of the first stage")
_MOST_PATIENCE = 2**40
_EVERYWHERE = -1


@dataclass(frozen=True)
class Learnt:
    """Everything a search needs to go on.

    Attributes
    ----------
    cuts
        The cuts that hold everywhere.
    floor
        Lower bound of every scenario's cost, (S).
    kept
        Scenarios that are kept whole everywhere.
    lower, lower_origin
        Lower bound and where it comes from.
    plan
        The best first stage; empty if there is none.
    upper
        Its cost.
    price
        Prices of the rows of the first stage; empty if they are not known.
    phase
        Which phase the search was in.
    iteration
        Iterations done.
    points
        Points of every scenario's Lagrangian dual.
    regions, ruled_out
        Parts of the first stage that are searched one by one (None: it is searched as one), and the least bound of
        what lies outside them.
    """

    cuts: CutPool
    floor: Vector
    kept: npt.NDArray[np.int64]
    lower: float
    lower_origin: str
    plan: Vector
    upper: float
    price: Vector
    phase: str
    iteration: int
    points: tuple[tuple[Point, ...], ...]
    regions: tuple[Region, ...] | None
    ruled_out: float


# ---- there ----------------------------------------------------------------------------------------------------------


def packed(learnt: Learnt, key: str) -> dict[str, npt.NDArray[Any]]:
    """The arrays of what was learnt about the problem with a key."""
    regions = learnt.regions or ()
    facts = {name: getattr(learnt, name) for name in _FIGURES}
    pools = [learnt.cuts, *(region.cuts for region in regions)]
    n, count = learnt.cuts.gradients.shape[1], len(learnt.floor)
    points = [(s, point) for s, own in enumerate(learnt.points) for point in own]
    of_regions = {
        "plan": np.array([np.full(n, np.nan) if own.plan is None else own.plan for own in regions]).reshape(-1, n),
        "kept": np.array([np.isin(np.arange(count), own.kept) for own in regions], dtype=bool).reshape(-1, count),
        **{name: np.array([getattr(own, name) for own in regions]).reshape(-1, n) for name in ("lower", "upper")},
    }
    for name, kind in _OF_REGIONS.items():
        if name not in of_regions:
            of_regions[name] = np.array([getattr(own, name) for own in regions], dtype=_TYPES[kind])
    return {
        FACTS: np.array(json.dumps({**facts, "split": learnt.regions is not None, "key": key})),
        **{name: np.asarray(getattr(learnt, name)) for name in _ARRAYS},
        "home": np.repeat(np.arange(len(pools)) + _EVERYWHERE, [len(pool) for pool in pools]),
        **{name: np.concatenate([getattr(pool, name) for pool in pools]) for name in _OF_CUTS[1:]},
        **_sparse("gradient", sp.csr_array(sp.vstack([pool.gradients for pool in pools]))),
        "point_scenario": np.array([s for s, _ in points], dtype=np.int64),
        "point_cost": np.array([point.cost for _, point in points], dtype=float),
        **_sparse("point", sp.csr_array(np.array([point.x for _, point in points], dtype=float).reshape(-1, n))),
        **{f"region_{name}": array for name, array in of_regions.items()},
    }


def _sparse(name: str, matrix: sp.csr_array) -> dict[str, npt.NDArray[Any]]:
    parts = {"data": matrix.data, "indices": matrix.indices, "indptr": matrix.indptr, "shape": np.array(matrix.shape)}
    return {f"{name}_{part}": array for part, array in parts.items()}


# ---- and back -------------------------------------------------------------------------------------------------------


def unpacked(arrays: Arrays, facts: Mapping[str, Any], count: int, n: int) -> Learnt:
    """What was learnt, from its arrays.

    Parameters
    ----------
    arrays
        As `packed` made them.
    facts
        The single figures.
    count, n
        Scenarios of the problem, and columns of its first stage.

    Raises
    ------
    ValueError
        Naming what no search can have learnt.
    """
    _check_facts(facts)
    cuts = _Cuts(arrays, count, n)
    regions = _regions(arrays, cuts, count, n)
    _require(facts["split"] or not regions, "it has regions and is not split into any")
    _require(facts["split"] or facts["phase"] != _PHASES[-1], "it is split into regions and has none")
    kept = _vector(arrays, "kept", "i")
    _require(len(set(kept.tolist())) == len(kept) and _within(kept, 0, count), "kept: no such scenarios")
    floor = _vector(arrays, "floor", "f", count)
    _require(not (np.isnan(floor) | np.isposinf(floor)).any(), "floor: no lower bounds")
    plan, price = _vector(arrays, "plan", "f"), _vector(arrays, "price", "f")
    _require(len(plan) in (0, n) and bool(np.isfinite(plan).all()), "plan: not one of this problem")
    _require(bool(np.isfinite(price).all()), "price: not finite")
    _require(math.isfinite(facts["upper"]) == (len(plan) > 0), "a plan without a cost, or a cost without a plan")
    return Learnt(
        cuts=cuts.at(_EVERYWHERE),
        floor=floor,
        kept=kept,
        plan=plan,
        price=price,
        points=_points(arrays, count, n),
        regions=tuple(regions) if facts["split"] else None,
        **{name: facts[name] for name in _FIGURES},
    )


def _check_facts(facts: Any) -> None:
    _require(isinstance(facts, Mapping) and set(facts) == {*_FIGURES, "split", "key"}, "facts: not those of a search")
    for name, kind in _FIGURES.items():
        own = facts[name]
        _require(type(own) is kind, f"{name}: {own!r} is no {kind.__name__}")
        _require(kind is not float or not math.isnan(own), f"{name}: is no number")
    _require(type(facts["split"]) is bool, "split: is neither true nor false")
    _require(facts["phase"] in _PHASES, f"phase: there is none called {facts['phase']!r}")
    _require(0 <= facts["iteration"] < 2**62, "iteration: no count")
    lower, upper = facts["lower"], facts["upper"]
    _require(lower < math.inf and upper > -math.inf, "the bounds leave no plan")
    slack = TOLERANCE * max(1.0, abs(upper))
    _require(math.isinf(upper) or lower <= upper + slack, "the lower bound is above the cost of the plan")


class _Cuts:
    """All cuts, to be told apart by where they hold."""

    def __init__(self, arrays: Arrays, count: int, n: int) -> None:
        self.home = _vector(arrays, "home", "i")
        size = len(self.home)
        self._scenario = _vector(arrays, "scenario", "i", size)
        self._constant = _vector(arrays, "constant", "f", size)
        self._bounds_cost = _vector(arrays, "bounds_cost", "f", size)
        self._gradients = _matrix(arrays, "gradient", size, n)
        _require(_within(self._scenario, 0, count), "scenario: cuts of no such scenario")
        _require(bool(np.isfinite(self._constant).all()), "constant: cuts are not finite")
        _require(bool(np.isin(self._bounds_cost, (0.0, 1.0)).all()), "bounds_cost: neither zero nor one")

    def at(self, home: int) -> CutPool:
        own = self.home == home
        gradients = sp.csr_array(self._gradients[np.flatnonzero(own)])
        return CutPool.of(self._scenario[own], self._constant[own], gradients, self._bounds_cost[own])


def _regions(arrays: Arrays, cuts: _Cuts, count: int, n: int) -> list[Region]:
    number = len(_vector(arrays, "region_bound", "f"))
    wide = {"lower": (number, n), "upper": (number, n), "plan": (number, n), "kept": (number, count)}
    own = {
        name: _shaped(arrays, f"region_{name}", kind, wide.get(name, (number,))) for name, kind in _OF_REGIONS.items()
    }
    _require(_within(cuts.home, _EVERYWHERE, number), "home: cuts of no such region")
    _require(bool((own["lower"] <= own["upper"]).all()), "region: bounds that hold nothing")
    _require(not (np.isnan(own["bound"]) | np.isnan(own["value"])).any(), "region: bounds that are no numbers")
    planned = np.isfinite(own["plan"]).all(axis=1)
    _require(bool((planned | np.isnan(own["plan"]).all(axis=1)).all()), "region_plan: neither a plan nor none")
    _require(bool((planned == np.isfinite(own["value"])).all()), "region_value: a plan without a cost, or the reverse")
    _require(_within(own["rounds"], 0, 2**40), "region_rounds: no count")
    _require(_within(own["patience"], 1, _MOST_PATIENCE), "region_patience: no factor")
    return [
        Region(
            own["lower"][k],
            own["upper"][k],
            float(own["bound"][k]),
            cuts.at(k),
            np.flatnonzero(own["kept"][k]).tolist(),
            int(own["rounds"][k]),
            float(own["value"][k]),
            own["plan"][k] if planned[k] else None,
            bool(own["unfinished"][k]),
            int(own["patience"][k]),
        )
        for k in range(number)
    ]


def _points(arrays: Arrays, count: int, n: int) -> tuple[tuple[Point, ...], ...]:
    scenario = _vector(arrays, "point_scenario", "i")
    cost = _vector(arrays, "point_cost", "f", len(scenario))
    matrix = _matrix(arrays, "point", len(scenario), n)
    _require(_within(scenario, 0, count), "point_scenario: no such scenario")
    _require(bool(np.isfinite(cost).all()), "point_cost: not finite")
    _require(not len(scenario) or int(np.bincount(scenario).max()) <= MOST_POINTS, "point: more than are remembered")
    points: list[list[Point]] = [[] for _ in range(count)]
    for s, x, own in zip(scenario, matrix.toarray(), cost, strict=True):
        points[s].append(Point(x, float(own)))
    return tuple(tuple(own) for own in points)


def _matrix(arrays: Arrays, name: str, rows: int, columns: int) -> sp.csr_array:
    shape = _shaped(arrays, f"{name}_shape", "i", (2,))
    _require(shape.tolist() == [rows, columns], f"{name}: {tuple(shape.tolist())} instead of {(rows, columns)}")
    data = _vector(arrays, f"{name}_data", "f")
    _require(bool(np.isfinite(data).all()), f"{name}: not finite")
    # scipy chooses the width of indices by their size
    wide = {f"{name}_{part}": np.asarray(arrays[f"{name}_{part}"]) for part in ("indices", "indptr")}
    wide = {part: own.astype(np.int64) if own.dtype == np.int32 else own for part, own in wide.items()}
    indices = _vector(wide, f"{name}_indices", "i", len(data))
    indptr = _vector(wide, f"{name}_indptr", "i", rows + 1)
    _require(_within(indices, 0, columns), f"{name}_indices: no such columns")
    ends = (int(indptr[0]), int(indptr[-1])) == (0, len(data))
    _require(ends and bool((np.diff(indptr) >= 0).all()), f"{name}_indptr: rows that are none")
    return sp.csr_array((data, indices, indptr), shape=(rows, columns))


def _vector(arrays: Arrays, name: str, kind: str, length: int | None = None) -> npt.NDArray[Any]:
    array = arrays[name]
    return _shaped(arrays, name, kind, (length if length is not None else array.size,))


def _shaped(arrays: Arrays, name: str, kind: str, shape: tuple[int, ...]) -> npt.NDArray[Any]:
    array = arrays[name]
    wanted = np.dtype(_TYPES[kind])
    told = f"{name}: {array.dtype} {array.shape} instead of {wanted} {shape}"
    _require(array.dtype == wanted and array.shape == shape, told)
    return array


def _within(array: npt.NDArray[Any], least: int, most: int) -> bool:
    """Whether whole numbers lie between two, the upper one left out."""
    return bool(((array >= least) & (array < most)).all())


def _require(so: bool, told: str) -> None:
    if not so:
        raise ValueError(told)
