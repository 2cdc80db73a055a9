"""What a search has learnt, on disk after every iteration, so that a client that dies loses one iteration.

A checkpoint belongs to one problem: the hash of all matrices, of the risk measure and of the ambiguity set. Cuts are
valid whatever the gap or the time limit is, so these may differ when the search is taken up again.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from drofcm.blocks.form import FirstStage, Scenario, TwoStageBlocks
from drofcm.core.errors import Finding, InputError
from drofcm.risk.ambiguity import AmbiguitySet
from drofcm.risk.measures import RiskMeasure

__all__ = ["Learnt", "problem_hash", "read", "write"]

Vector = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Learnt:
    """Everything a search needs to go on.

    Attributes
    ----------
    scenario, constant, gradients, bounds_cost
        The cuts; see `drofcm.solve.cuts.CutPool`.
    floor
        Lower bound of every scenario's cost, (S).
    kept
        Scenarios that are kept whole.
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
    """

    scenario: npt.NDArray[np.int64]
    constant: Vector
    gradients: sp.csr_array
    bounds_cost: Vector
    floor: Vector
    kept: npt.NDArray[np.int64]
    lower: float
    lower_origin: str
    plan: Vector
    upper: float
    phase: str
    iteration: int


def problem_hash(blocks: TwoStageBlocks, risk: RiskMeasure, ambiguity: AmbiguitySet) -> str:
    """A hash of all that determines the answer."""
    digest = hashlib.sha256(f"{risk}|{ambiguity}".encode())
    parts: list[FirstStage | Scenario] = [blocks.first_stage, *blocks.scenarios]
    for part in parts:
        for field in fields(part):
            _update(digest, getattr(part, field.name))
    _update(digest, blocks.probability.values)
    return digest.hexdigest()


def _update(digest: Any, value: Any) -> None:
    if isinstance(value, sp.csr_array):
        for array in (np.array(value.shape), value.indptr.astype(np.int64), value.indices.astype(np.int64), value.data):
            digest.update(np.ascontiguousarray(array).tobytes())
    else:
        digest.update(np.ascontiguousarray(value).tobytes())


def write(path: Path, key: str, learnt: Learnt) -> None:
    """Write a checkpoint; the file appears complete or not at all."""
    cuts = learnt.gradients
    temporary = path.with_name(path.name + ".part")
    facts = {name: getattr(learnt, name) for name in ("lower", "lower_origin", "upper", "phase", "iteration")}
    try:
        with temporary.open("wb") as file:
            np.savez(
                file,
                facts=np.array(json.dumps({**facts, "key": key})),
                scenario=learnt.scenario,
                constant=learnt.constant,
                bounds_cost=learnt.bounds_cost,
                floor=learnt.floor,
                kept=learnt.kept,
                plan=learnt.plan,
                data=cuts.data,
                indices=cuts.indices,
                indptr=cuts.indptr,
                shape=np.array(cuts.shape),
            )
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


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
        with np.load(path, allow_pickle=False) as stored:
            arrays = dict(stored)
        facts = json.loads(str(arrays.pop("facts")))
        shape = tuple(arrays.pop("shape").tolist())
        gradients = sp.csr_array((arrays.pop("data"), arrays.pop("indices"), arrays.pop("indptr")), shape=shape)
    except (OSError, ValueError, KeyError, EOFError) as error:
        raise InputError([Finding(str(path), f"cannot be read as a checkpoint: {error}", "delete it")]) from error
    if facts.pop("key") != key:
        raise InputError(
            [
                Finding(
                    str(path),
                    "is the checkpoint of another problem: data, risk measure or ambiguity set differ",
                    "give another name, or delete it",
                )
            ]
        )
    return Learnt(**arrays, **facts, gradients=gradients)
