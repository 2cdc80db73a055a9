"""One repetition of the experiment whether robustness pays, cell by cell.

A cell is a file: the cross-validation, each plan, and the figures of each plan on the fresh events. One that is there
is read and not made again.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import xarray as xr

from drofcm.config import StudyFile, changed
from drofcm.core.errors import Finding, InputError, raise_if_any
from drofcm.core.files import whole_file
from drofcm.core.randomness import stream
from drofcm.dsl.program import TwoStageProgram
from drofcm.problems import demand_shock
from drofcm.risk.ambiguity import Nominal, Wasserstein
from drofcm.risk.measures import Expectation
from drofcm.solve.result import Result
from drofcm.study.assemble import Assembly, assemble
from drofcm.study.radius import ball
from drofcm.study.risk import risk_measure
from drofcm.study.run import no_plan
from drofcm.validate.crossvalidation import MULTIPLES, candidate_radii, cross_validate
from drofcm.validate.evaluate import evaluate
from drofcm.validate.money import money_of

__all__ = ["CHOSEN", "NO_BALL", "RISK_NEUTRAL", "Design", "Repetitions", "plan_of", "repeat"]

RISK_NEUTRAL: Final = "risk neutral"
NO_BALL: Final = "without a ball"
CHOSEN: Final = "DRO, radius by cross-validation"
NOTHING: Final = "do nothing"
ALPHA: Final = 0.95
ENERGY: Final = ("ens", "unserved_energy")
_SOME: Final = 1e-6
"""MWh that count as unserved: what a solver finds to a tolerance is not."""


@dataclass(frozen=True)
class Design:
    """How large an experiment is.

    Attributes
    ----------
    repetitions, training, fresh
        Repetitions, training events and fresh events of each.
    folds
        Of the cross-validation.
    multiples
        Candidate radii as multiples of the starting radius; the first is 0, the plan without a ball.
    gap, time_limit
        Of every search; None takes those of the study.
    """

    repetitions: int
    training: int
    fresh: int
    folds: int
    multiples: tuple[float, ...] = MULTIPLES
    gap: float | None = None
    time_limit: float | None = None

    def __post_init__(self) -> None:
        raise_if_any(self._findings())

    def _findings(self) -> Iterator[Finding]:
        for name, least in (("repetitions", 2), ("training", 2), ("fresh", 20), ("folds", 2)):
            if getattr(self, name) < least:
                yield Finding(name, f"must be at least {least}, got {getattr(self, name)}")
        if self.folds > self.training:
            yield Finding("folds", f"{self.folds} folds need as many training events, there are {self.training}")
        if not self.multiples or self.multiples[0] != 0 or list(self.multiples) != sorted(set(self.multiples)):
            yield Finding("multiples", f"must rise from 0, got {list(self.multiples)}", "0 is the plan without a ball")


@dataclass(frozen=True)
class Repetitions:
    """What every repetition shares.

    Attributes
    ----------
    planner, truth
        The two studies.
    folders
        Where their files stand.
    design
        Size.
    cells, world
        Where cells of the training events stand, and those of the fresh events.
    """

    planner: StudyFile
    truth: StudyFile
    folders: tuple[Path, Path]
    design: Design
    cells: Path
    world: Path


def repeat(task: Repetitions, number: int) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Rows of outcomes and of the cross-validation; every cell that is there already is read, not made again."""
    file = task.world / f"{number:03d}_outcome.json"
    if not file.exists():
        _store(file, _rows(task, number))
    content = _stored(file)
    return content["outcomes"], content["validation"]


def _rows(task: Repetitions, number: int) -> dict[str, Any]:
    training = _drawn(task.planner, task.folders[0], number, task.design.training, "training")
    program = demand_shock.program(training.data)
    program.blocks()
    around = ball(training.study, training.data)
    radii = candidate_radii(program, around, task.design.multiples)
    validation = _validated(task, number, program, around, radii)
    plans = _plans(task, number, program, around, radii)
    best = min(validation, key=lambda row: (row["score"], row["multiple"]))["multiple"]
    chosen = plan_of(best)
    fresh = _drawn(task.truth, task.folders[1], number, task.design.fresh, "fresh")
    tried = _tried(task, number, plans, fresh)
    outcomes = [{"repetition": number, "plan": name, **plans[name][1], **tried[name]} for name in plans]
    outcomes += [{**row, "plan": CHOSEN} for row in outcomes if row["plan"] == chosen]
    return {"outcomes": outcomes, "validation": validation}


def _drawn(study: StudyFile, folder: Path, number: int, scenarios: int, purpose: str) -> Assembly:
    """The study with events of its own for one repetition."""
    seed = int(stream(study.seed, purpose, number).integers(2**31))
    return assemble(changed(study, seed=seed, events={"scenarios": scenarios}), folder)


def _settings(task: Repetitions) -> dict[str, Any]:
    solver, design = task.planner.solver, task.design
    return {
        "method": solver.method,
        "gap": solver.mip_gap if design.gap is None else design.gap,
        "time_limit": solver.time_limit_s if design.time_limit is None else design.time_limit,
        "workers": 1,
    }


def _validated(
    task: Repetitions, number: int, program: TwoStageProgram, around: Wasserstein, radii: dict[float, float]
) -> list[dict[str, Any]]:
    file = task.cells / f"{number:03d}_validation.json"
    if not file.exists():
        found = cross_validate(
            program,
            {multiple: _set(around, radius) for multiple, radius in radii.items()},
            risk=risk_measure(task.planner),
            folds=task.design.folds,
            rng=stream(task.planner.seed, "folds", number),
            start=_start(program.data),
            **_settings(task),
        )
        table = found.table.to_dict("index")
        rows = [
            {"repetition": number, "multiple": multiple, "radius": radius, **table[multiple]}
            for multiple, radius in radii.items()
        ]
        _store(file, rows)
    return list(_stored(file))


def _start(data: xr.Dataset) -> xr.Dataset | None:
    """To do nothing, where a plan may: a search that is stopped early then has something to show."""
    forced = float(data["hub_minimum"]) > 0 or bool(data["hub_forced_in"].any())
    return None if forced else no_plan(data)


def _set(around: Wasserstein, radius: float) -> Nominal | Wasserstein:
    return Nominal() if radius == 0 else replace(around, radius=radius)


def plan_of(multiple: float) -> str:
    """What the plan of a candidate radius is called."""
    return NO_BALL if multiple == 0 else f"DRO, {multiple:g} x starting radius"


def _plans(
    task: Repetitions, number: int, program: TwoStageProgram, around: Wasserstein, radii: dict[float, float]
) -> dict[str, tuple[xr.Dataset, dict[str, Any]]]:
    """Every plan with the figures of its search."""
    averse = risk_measure(task.planner)
    wanted: dict[str, Any] = {RISK_NEUTRAL: (Expectation(), Nominal())}
    for multiple, radius in radii.items():
        wanted[plan_of(multiple)] = (averse, _set(around, radius))
    no_search: dict[str, Any] = {"risk_weighted_objective": None, "gap": None, "status": "evaluated"}
    plans = {NOTHING: (no_plan(program.data), no_search)}
    for place, (name, (risk, ambiguity)) in enumerate(wanted.items()):
        file = task.cells / f"{number:03d}_plan_{place}.nc"
        if not file.exists():
            start = _start(program.data) if len(plans) == 1 else plans[next(reversed(plans))][0]
            program.solve(risk, ambiguity, start=start, preferred=False, **_settings(task)).to_netcdf(file)
        found = Result.from_netcdf(file)
        facts = {"risk_weighted_objective": found.objective, "gap": found.gap, "status": found.status}
        plans[name] = (found.first_stage, facts)
    return plans


def _tried(
    task: Repetitions, number: int, plans: dict[str, tuple[xr.Dataset, dict[str, Any]]], fresh: Assembly
) -> dict[str, dict[str, Any]]:
    """Figures of every plan on the fresh events; plans that are equal are tried once."""
    program = demand_shock.program(fresh.data)
    found: dict[str, dict[str, Any]] = {}
    known: list[tuple[xr.Dataset, dict[str, Any]]] = []
    for place, (name, (plan, _)) in enumerate(plans.items()):
        file = task.world / f"{number:03d}_fresh_{place}.json"
        if not file.exists():
            same = next((figures for other, figures in known if other.equals(plan)), None)
            if same is None:
                years = stream(task.planner.seed, "years", number)
                same = _figures(
                    evaluate(program, plan, workers=1, preferred=False), float(fresh.data["event_rate"]), years
                )
            _store(file, same)
        found[name] = _stored(file)
        known.append((plan, found[name]))
    return found


def _figures(result: Result, rate: float, years: np.random.Generator) -> dict[str, Any]:
    money = money_of(result, rate, ALPHA, rng=years).figures
    # evaluated without a risk measure: what a search minimises is among the facts of the plan
    del money["risk_weighted_objective"]
    energy = {name: result.terms[name].sum("node") for name in ENERGY}
    return {
        **money,
        **{name: float(own.mean()) for name, own in energy.items()},
        "any_unserved": float((energy["unserved_energy"] > _SOME).mean()),
        "hubs": float(result.first_stage["hub_active"].sum()),
        "modules": float(result.first_stage["shipped"].sum()),
    }


def _store(file: Path, content: Any) -> None:
    with whole_file(file) as unfinished:
        unfinished.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def _stored(file: Path) -> Any:
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError([Finding(str(file), f"cannot be read: {error}", "delete it, it is made again")]) from error
