"""What a search has learnt, on disk after every iteration, so that a client that dies loses one iteration.

A checkpoint belongs to one problem: the hash of all matrices, of the risk measure and of the ambiguity set. Cuts are
valid whatever the gap or the time limit is, so these may differ when the search is taken up again.
"""

from __future__ import annotations

import hashlib
import json
import os
import zipfile
import zlib
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
import xarray as xr

from drofcm.blocks.form import TwoStageBlocks
from drofcm.core.errors import Finding, InputError, SolveError
from drofcm.risk.ambiguity import AmbiguitySet
from drofcm.risk.measures import RiskMeasure
from drofcm.solve.cuts import CutPool
from drofcm.solve.regions import Region
from drofcm.solve.subproblem import Point

__all__ = ["Learnt", "expect", "problem_hash", "read", "write"]

Vector = npt.NDArray[np.float64]

_FACTS = ("lower", "lower_origin", "upper", "phase", "iteration", "ruled_out")
_ARRAYS = ("floor", "kept", "plan")
_OF_REGIONS = ("lower", "upper", "bound", "rounds", "value", "unfinished", "patience")

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
    phase: str
    iteration: int
    points: tuple[tuple[Point, ...], ...]
    regions: tuple[Region, ...] | None
    ruled_out: float


def problem_hash(blocks: TwoStageBlocks, risk: RiskMeasure, ambiguity: AmbiguitySet) -> str:
    """A hash of all that determines the answer."""
    hashed = _Hashed()
    for part in (risk, ambiguity, blocks.first_stage, blocks.scenarios, blocks.probability.values):
        hashed.take(part)
    return hashed.digest.hexdigest()


class _Hashed:
    """Content of nested dataclasses, to the last bit: what they print may be rounded."""

    def __init__(self) -> None:
        self.digest = hashlib.sha256()
        # scenarios share what they have in common; that is read once, and held so that no other takes its identity
        self._known: dict[int, tuple[Any, bytes]] = {}

    def take(self, value: Any) -> None:
        if isinstance(value, sp.csr_array):
            self.take((value.shape, value.indptr, value.indices, value.data))
        elif isinstance(value, xr.DataArray):
            self.take((value.dims, value.values))
        elif is_dataclass(value):
            self.digest.update(type(value).__name__.encode())
            self.take(tuple(getattr(value, field.name) for field in fields(value)))
        elif value is None:
            self.digest.update(b"None")
        elif isinstance(value, Mapping):
            self.take(tuple(item for pair in value.items() for item in pair))
        elif isinstance(value, tuple | list):
            self.digest.update(f"({len(value)}".encode())
            for own in value:
                self.take(own)
        else:
            if id(value) not in self._known:
                self._known[id(value)] = (value, self._of_array(np.ascontiguousarray(value)))
            self.digest.update(self._known[id(value)][1])

    def _of_array(self, array: npt.NDArray[Any]) -> bytes:
        if array.dtype.kind == "O":
            raise TypeError(f"cannot hash {array!r}")
        if array.dtype.kind == "i":
            # scipy chooses the width of indices by their size; it is no part of the problem
            array = array.astype(np.int64)
        return hashlib.sha256(f"{array.dtype.str}{array.shape}".encode() + array.tobytes()).digest()


def expect(path: Path | None, resume: bool) -> None:
    """Refuse a wish that the files do not fit: an old checkpoint without ``resume``, or ``resume`` without one.

    Parameters
    ----------
    path
        File of the checkpoint; None for none.
    resume
        Whether to go on from it.

    Raises
    ------
    InputError
        Naming the file.
    """
    if path is None:
        if resume:
            raise InputError([Finding("--resume", "needs the checkpoint to go on from", "add --checkpoint FILE")])
        return
    if resume and not path.exists():
        raise InputError([Finding(str(path), "there is no such checkpoint", "leave --resume out to begin one")])
    if path.exists() and not resume:
        raise InputError(
            [Finding(str(path), "a checkpoint is there already", "add --resume to go on from it, or delete it")]
        )
    if not path.parent.is_dir():
        raise InputError([Finding(str(path), f"there is no folder {path.parent} for it", "make it first")])


def write(path: Path, key: str, learnt: Learnt) -> None:
    """Write a checkpoint; the file appears complete or not at all.

    Raises
    ------
    SolveError
        If the file cannot be written; an earlier one is left as it was.
    """
    temporary = path.with_name(path.name + ".part")
    try:
        with temporary.open("wb") as file:
            np.savez(file, allow_pickle=False, **_arrays(key, learnt))
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        raise SolveError(f"the checkpoint {path} cannot be written: {error}") from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def _arrays(key: str, learnt: Learnt) -> dict[str, Any]:
    regions = learnt.regions or ()
    facts = {name: getattr(learnt, name) for name in _FACTS}
    arrays = {name: getattr(learnt, name) for name in _ARRAYS}
    pools = [learnt.cuts, *(region.cuts for region in regions)]
    n, count = learnt.cuts.gradients.shape[1], len(learnt.floor)
    home = np.repeat(np.arange(len(pools)) + _EVERYWHERE, [len(pool) for pool in pools])
    points = [(s, point) for s, own in enumerate(learnt.points) for point in own]
    known = [np.full(n, np.nan) if region.plan is None else region.plan for region in regions]
    return {
        "facts": np.array(json.dumps({**facts, "split": learnt.regions is not None, "key": key})),
        **arrays,
        "home": home,
        "scenario": np.concatenate([pool.scenario for pool in pools]),
        "constant": np.concatenate([pool.constant for pool in pools]),
        "bounds_cost": np.concatenate([pool.bounds_cost for pool in pools]),
        **_packed("gradient", sp.csr_array(sp.vstack([pool.gradients for pool in pools]))),
        "point_scenario": np.array([s for s, _ in points], dtype=np.int64),
        "point_cost": np.array([point.cost for _, point in points]),
        **_packed("point", sp.csr_array(np.array([point.x for _, point in points]).reshape(-1, n))),
        **{f"region_{name}": np.array([getattr(region, name) for region in regions]) for name in _OF_REGIONS},
        "region_plan": np.array(known).reshape(-1, n),
        "region_kept": np.array([np.isin(np.arange(count), region.kept) for region in regions]).reshape(-1, count),
    }


def _packed(name: str, matrix: sp.csr_array) -> dict[str, Any]:
    parts = {"data": matrix.data, "indices": matrix.indices, "indptr": matrix.indptr, "shape": np.array(matrix.shape)}
    return {f"{name}_{part}": array for part, array in parts.items()}


def _unpacked(name: str, arrays: Mapping[str, Any]) -> sp.csr_array:
    data, indices, indptr, shape = (arrays[f"{name}_{part}"] for part in ("data", "indices", "indptr", "shape"))
    return sp.csr_array((data, indices, indptr), shape=tuple(shape.tolist()))


def _learnt(arrays: Mapping[str, Any], facts: Mapping[str, Any]) -> Learnt:
    gradients = _unpacked("gradient", arrays)

    def pool(home: int) -> CutPool:
        own = arrays["home"] == home
        scenario, constant, bounds_cost = (arrays[name][own] for name in ("scenario", "constant", "bounds_cost"))
        return CutPool.of(scenario, constant, sp.csr_array(gradients[np.flatnonzero(own)]), bounds_cost)

    regions = []
    for k, plan in enumerate(arrays["region_plan"]):
        lower, upper, bound, rounds, value, unfinished, patience = (arrays[f"region_{name}"][k] for name in _OF_REGIONS)
        kept = np.flatnonzero(arrays["region_kept"][k]).tolist()
        best = None if np.isnan(plan).any() else plan
        regions.append(
            Region(
                lower,
                upper,
                float(bound),
                pool(k),
                kept,
                int(rounds),
                float(value),
                best,
                bool(unfinished),
                int(patience),
            )
        )
    points: list[list[Point]] = [[] for _ in arrays["floor"]]
    at = _unpacked("point", arrays).toarray()
    for s, x, cost in zip(arrays["point_scenario"], at, arrays["point_cost"], strict=True):
        points[s].append(Point(x, float(cost)))
    return Learnt(
        cuts=pool(_EVERYWHERE),
        points=tuple(tuple(own) for own in points),
        regions=tuple(regions) if facts["split"] else None,
        **{name: arrays[name] for name in _ARRAYS},
        **{name: facts[name] for name in _FACTS},
    )


def read(path: Path, key: str) -> Learnt | None:
    """Read a checkpoint; None if there is none.

    Raises
    ------
    InputError
        If the file is no checkpoint, or one of another problem.
    """
    if not path.exists():
        return None
    try:
        # numpy hands back a bare array, without a way to close it, for a file that is no archive
        if not zipfile.is_zipfile(path):
            raise ValueError("it is cut short, or was never one")
        with np.load(path, allow_pickle=False) as stored:
            arrays = dict(stored)
        facts = json.loads(str(arrays["facts"]))
        learnt = _learnt(arrays, facts)
        same = facts["key"] == key
    except (OSError, ValueError, LookupError, TypeError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise InputError([Finding(str(path), f"cannot be read as a checkpoint: {error}", "delete it")]) from error
    if not same:
        raise InputError(
            [
                Finding(
                    str(path),
                    "is the checkpoint of another problem: data, risk measure or ambiguity set differ",
                    "give another name, or delete it",
                )
            ]
        )
    return learnt
