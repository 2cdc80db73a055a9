"""The recourse that is shown: among those of the same cost the one that the program's preference wants.

The cheapest recourse is seldom the only one, and which of them a solver returns is chance. A preference adds what tells
them apart, and is looked at when plan, costs and bounds are established; it changes none of them (FORMULATION A.6).
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
import xarray as xr

from drofcm.blocks.form import LabelledMap, Scenario, TwoStageBlocks
from drofcm.core.dims import SCENARIO
from drofcm.core.errors import DrofcmError, DrofcmWarning, LostError, labels_of, text_of
from drofcm.solve.lexicographic import Chosen, Wish, grant
from drofcm.solve.result import Result
from drofcm.solve.scaling import scaled
from drofcm.solve.spread import spread
from drofcm.solve.subproblem import at_plan

__all__ = ["Wanted", "as_it_came", "preferred"]

Vector = npt.NDArray[np.float64]

_FEW = 200
"""Scenarios up to which starting processes, or sending matrices, takes longer than what others save."""

_BATCH = 500
"""Scenarios whose matrices are in memory a second time."""

_AIMS = "aims"


@dataclass(frozen=True)
class Wanted:
    """What a preference adds to one scenario: m rows, e columns, and k expressions that are to be small.

    Attributes
    ----------
    technology, rows
        The rows over the first stage's columns, (m x n), and over those of the scenario with the new ones behind,
        (m x (n_s + e)).
    row_lower, row_upper, lower, upper
        Sides of the rows, bounds of the new columns.
    aims
        The expressions, most important first, (k x (n_s + e)); what the first stage contributes is constant.
    """

    technology: sp.csr_array
    rows: sp.csr_array
    row_lower: Vector
    row_upper: Vector
    lower: Vector
    upper: Vector
    aims: sp.csr_array


def preferred(
    blocks: TwoStageBlocks, wanted: Sequence[Wanted], result: Result, client: Any = None, workers: int | None = None
) -> Result:
    """The same result with, in every scenario, the recourse that is wanted among those of the same cost.

    Parameters
    ----------
    blocks
        The program.
    wanted
        What is wanted, by scenario.
    result
        Of the program.
    client, workers
        Where scenarios are looked at if there are more than a few: on the cluster of a `dask.distributed.Client`, or in
        local processes; 1 stays in this one, None takes as many as there are cores.

    Returns
    -------
    Result
        Recourse and terms are those that are wanted, all else is the same. ``provenance["preference"]`` says how many
        expressions there are and where the recourse stays as it came from the solver, and why; of that there is a
        warning too.
    """
    x, recourse = blocks.first_stage_columns(result.first_stage), _recourse_columns(blocks, result.recourse)
    cost = result.recourse_cost.values
    if len(wanted) <= _FEW:
        client, workers = None, 1
    chosen: list[Chosen] = []
    for begin in range(0, len(wanted), _BATCH):
        some = range(begin, min(begin + _BATCH, len(wanted)))
        asked = [_Asked.of(blocks, number, wanted[number], x, recourse[number], float(cost[number])) for number in some]
        wishes = [own.wish for own in asked if own.wish is not None]
        try:
            answers = iter(spread(grant, wishes, client, workers))
        except LostError:
            client, workers = None, 1
            answers = iter(spread(grant, wishes, client, workers))
        chosen += [own.answered(answers) for own in asked]
    columns = [
        old if own.columns is None else own.columns[: len(old)] for old, own in zip(recourse, chosen, strict=True)
    ]
    labels = blocks.probability[SCENARIO].values.tolist()
    kept = {label: own.why for label, own in zip(labels, chosen, strict=True) if own.why}
    everything = blocks.columns(x, columns)
    new = replace(result, recourse=blocks.labelled_recourse(everything), terms=blocks.labelled_terms(everything))
    return _told(new, wanted[0].aims.shape[0], kept)


def as_it_came(result: Result, wanted: Sequence[Wanted], why: str) -> Result:
    """The result as it is, for a reason that holds in all of its scenarios."""
    return _told(result, wanted[0].aims.shape[0], dict.fromkeys(result.probability[SCENARIO].values.tolist(), why))


def _told(result: Result, expressions: int, kept: Mapping[Any, str]) -> Result:
    by_reason: dict[str, list[Any]] = {}
    for label, why in kept.items():
        by_reason.setdefault(why, []).append(label)
    if by_reason:
        told = "; ".join(f"in {SCENARIO} {labels_of(labels)}: {why}" for why, labels in by_reason.items())
        warnings.warn(
            f"the recourse that is shown costs what it must, but is not the preferred one {told}",
            DrofcmWarning,
            stacklevel=4,
        )
    as_text = {why: [text_of(label) for label in labels] for why, labels in by_reason.items()}
    told_of = {"expressions": expressions, "kept": as_text}
    return replace(result, provenance={**result.provenance, "preference": told_of})


def _recourse_columns(blocks: TwoStageBlocks, recourse: xr.Dataset) -> list[Vector]:
    """The labelled recourse as columns, by scenario."""
    n, widths = len(blocks.first_stage.cost), [len(own.cost) for own in blocks.scenarios]
    columns = np.full(n + sum(widths), np.nan)
    for name, at in blocks.variables.items():
        if name not in blocks.first_stage_names:
            values, exists = recourse[name].reindex_like(at).transpose(*at.dims).values, at.values >= 0
            columns[at.values[exists]] = values[exists]
    return np.split(columns[n:], np.cumsum(widths)[:-1])


@dataclass(frozen=True)
class _Asked:
    """What is asked of one scenario, in units of its own; or why nothing is."""

    wish: Wish | None
    units: Vector | float = 1.0
    why: str = ""

    @classmethod
    def of(cls, blocks: TwoStageBlocks, number: int, wanted: Wanted, x: Vector, columns: Vector, cost: float) -> _Asked:
        own = blocks.scenarios[number]
        whole = columns[own.integer]
        if (whole != np.round(whole)).any():
            return cls(None, why="its integers are not whole, but for the solver's tolerance")
        try:
            program = scaled(_alone(blocks, number, wanted))
        except DrofcmError as error:
            return cls(None, why=str(error))
        n, scenario = len(x), program.blocks.scenarios[0]
        units = np.ones(n + len(scenario.cost)) if program.columns is None else program.columns
        problem = at_plan(scenario, x / units[:n])
        at = np.flatnonzero(scenario.integer)
        lower, upper = problem.lower.copy(), problem.upper.copy()
        # a unit of what is whole is one
        lower[at] = upper[at] = columns[at]
        fixed = replace(problem, lower=lower, upper=upper, integer=np.zeros_like(problem.integer))
        aims = sp.csr_array(sp.csr_array(program.blocks.terms[_AIMS].matrix)[:, n:])
        return cls(Wish(fixed, aims, cost / program.unit), units[n:])

    def answered(self, answers: Iterator[Chosen]) -> Chosen:
        """The answer in the units of the program; the next one belongs to the next that asks."""
        if self.wish is None:
            return Chosen(None, self.why)
        chosen = next(answers)
        return chosen if chosen.columns is None else replace(chosen, columns=chosen.columns * self.units)


def _alone(blocks: TwoStageBlocks, number: int, wanted: Wanted) -> TwoStageBlocks:
    """One scenario with what is wanted of it, as a program of its own."""
    own, n, added = blocks.scenarios[number], len(blocks.first_stage.cost), len(wanted.lower)
    beside = sp.csr_array((own.recourse.shape[0], added))
    scenario = Scenario(
        cost=np.concatenate([own.cost, np.zeros(added)]),
        first_stage_cost=own.first_stage_cost,
        constant=own.constant,
        technology=sp.csr_array(sp.vstack([own.technology, wanted.technology])),
        recourse=sp.csr_array(sp.vstack([sp.hstack([own.recourse, beside]), wanted.rows])),
        row_lower=np.concatenate([own.row_lower, wanted.row_lower]),
        row_upper=np.concatenate([own.row_upper, wanted.row_upper]),
        lower=np.concatenate([own.lower, wanted.lower]),
        upper=np.concatenate([own.upper, wanted.upper]),
        integer=np.concatenate([own.integer, np.zeros(added, dtype=bool)]),
    )
    count = wanted.aims.shape[0]
    aims = sp.csr_array(sp.hstack([sp.csr_array((count, n)), wanted.aims]))
    return TwoStageBlocks(
        first_stage=blocks.first_stage,
        scenarios=(scenario,),
        probability=blocks.probability.isel({SCENARIO: [number]}),
        variables={},
        first_stage_names=(),
        terms={_AIMS: LabelledMap(aims, np.zeros(count), xr.DataArray(np.zeros(count), dims="aim"))},
    )
