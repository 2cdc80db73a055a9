"""Does robustness pay? Plans from few training events, tried on many fresh ones of a world that is not the planner's.

Every repetition draws its own training events from the planner's study and its own fresh events from a second study
file, which says what events are really like. Repetitions are independent, and within one all plans meet the same
fresh events, so differences between plans are paired. Each finished cell is a file; a run that was stopped goes on.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any, Final

import pandas as pd
import xarray as xr

from drofcm.config import StudyFile, resolved
from drofcm.core.errors import Finding, raise_if_any
from drofcm.core.randomness import stream
from drofcm.dsl.program import TwoStageProgram
from drofcm.problems import demand_shock
from drofcm.report.experiments import by_radius, differences, summary
from drofcm.report.robustness import verdict, write_robustness
from drofcm.risk.ambiguity import Nominal, Wasserstein
from drofcm.risk.measures import Expectation
from drofcm.solve.result import Result
from drofcm.solve.spread import spread
from drofcm.study.assemble import Assembly, assemble
from drofcm.study.folder import digest_files, digest_of
from drofcm.study.radius import ball
from drofcm.study.run import no_plan, open_study, risk_measure
from drofcm.validate.crossvalidation import MULTIPLES, candidate_radii, cross_validate
from drofcm.validate.evaluate import evaluate

__all__ = [
    "CHOSEN",
    "PRESETS",
    "RISK_AVERSE",
    "RISK_NEUTRAL",
    "Design",
    "Experiment",
    "differences",
    "run_robustness",
    "shift",
    "summary",
]

RISK_NEUTRAL: Final = "risk neutral"
RISK_AVERSE: Final = "CVaR"
CHOSEN: Final = "DRO, radius by cross-validation"
NOTHING: Final = "do nothing"
ALPHA: Final = 0.95
ENERGY: Final = ("ens", "unserved_energy")

_MAY_DIFFER: Final = frozenset({"name", "title", "description", "seed", "events", "data_centres"})
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
        Candidate radii as multiples of the starting radius; the first is 0, which is plain CVaR.
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
            yield Finding("multiples", f"must rise from 0, got {list(self.multiples)}", "0 is plain CVaR")


PRESETS: Final = {
    "full": Design(repetitions=10, training=20, fresh=500, folds=5),
    "ci": Design(repetitions=2, training=6, fresh=30, folds=2, multiples=(0.0, 1.0), gap=0.05, time_limit=8),
}


@dataclass(frozen=True)
class Experiment:
    """A finished experiment.

    Attributes
    ----------
    design
        Its size.
    shift
        What the fresh events' study says otherwise, one line per key: ``events.shares.fault: 0.15 -> 0.25``.
    outcomes
        One row per repetition and plan (index ``repetition``, ``plan``): ``mean_cost``, ``cvar_cost`` ($/a), ``ens``,
        ``unserved_energy`` (MWh an event), ``any_unserved`` (probability), ``first_stage_cost``, ``hubs``,
        ``modules``, ``objective`` and ``gap`` of the search.
    validation
        One row per repetition and multiple: radius and score of the cross-validation.
    folder
        Where its files stand.
    """

    design: Design
    shift: tuple[str, ...]
    outcomes: pd.DataFrame
    validation: pd.DataFrame
    folder: Path


def run_robustness(
    path: Path | str,
    shifted: Path | str,
    runs: Path = Path("runs"),
    *,
    design: Design = PRESETS["full"],
    client: Any = None,
    workers: int | None = None,
    progress: Callable[[str], None] | None = None,
) -> Experiment:
    """Run the experiment, or what is left of it, in ``<runs>/<name>-<hash>``.

    Parameters
    ----------
    path
        Study file of the planner.
    shifted
        Study file of what events are really like; it may differ in ``events`` and ``data_centres`` only.
    runs
        Where run folders stand.
    design
        Size.
    client, workers
        Where repetitions run: a `dask.distributed.Client` of the user's, whose workers share the file system, or
        local processes (None: as many as there are cores; 1: this process).
    progress
        Told of what is done already, before anything is begun.

    Raises
    ------
    InputError
        With every fault of both files, and of what differs between them.
    """
    planner, truth = open_study(path), open_study(shifted)
    changes = shift(planner.study, truth.study)
    inputs = {name: digest_files(own.sources.files) for name, own in (("planner", planner), ("truth", truth))}
    # more repetitions are more cells of the same experiment
    size = {key: value for key, value in asdict(design).items() if key != "repetitions"}
    content = {"design": size, "inputs": inputs, "drofcm": metadata.version("drofcm")}
    content |= {"planner": resolved(planner.study), "truth": resolved(truth.study)}
    folder = runs / f"{planner.study.name}-{digest_of(content)}"
    cells = (folder / "cells").resolve()
    cells.mkdir(parents=True, exist_ok=True)
    if progress is not None:
        done = len(list(cells.glob("*_outcome.json")))
        progress(f"{folder}: {done} of {design.repetitions} repetitions are there, {len(list(cells.iterdir()))} cells")
    folders = Path(path).resolve().parent, Path(shifted).resolve().parent
    task = _Repetition(planner.study, truth.study, folders, design, cells)
    found = spread(partial(_repeat, task), range(design.repetitions), client, workers)
    outcomes = pd.DataFrame([row for rows, _ in found for row in rows]).set_index(["repetition", "plan"])
    validation = pd.DataFrame([row for _, rows in found for row in rows]).set_index(["repetition", "multiple"])
    experiment = Experiment(design, changes, outcomes, validation, folder)
    _write(experiment, planner)
    return experiment


def statements(experiment: Experiment) -> list[str]:
    """Size, shift and how far searches got, for the page and the README of a study."""
    design, outcomes = experiment.design, experiment.outcomes
    gaps = outcomes["gap"].dropna()
    late = int((outcomes["status"] == "time_limit").sum())
    return [
        f"{design.repetitions} repetitions, each with {design.training} training events of its own and {design.fresh} "
        f"fresh ones; {design.folds} folds; the dispatch knows the whole event (perfect foresight within it).",
        "What the planner does not know: " + "; ".join(experiment.shift) + ".",
        f"Plans are optimal to {gaps.max():.1%} at worst, {gaps.mean():.1%} on average ({late} searches hit their "
        "time limit): differences between plans that are smaller than that are within what the searches left open.",
    ]


def run_experiment_of(
    path: Path | str,
    shifted: Path | str,
    runs: Path,
    *,
    preset: str,
    changes: Mapping[str, Any],
    **options: Any,
) -> list[str]:
    """Run a preset with changes (None changes nothing); the sentences in which it is told."""
    design = replace(PRESETS[preset], **{key: value for key, value in changes.items() if value is not None})
    done = run_robustness(path, shifted, runs, design=design, **options)
    told = verdict(differences(done.outcomes, RISK_AVERSE), CHOSEN, RISK_AVERSE)
    return [told, *statements(done), str(done.folder / "report.html")]


def shift(planner: StudyFile, truth: StudyFile) -> tuple[str, ...]:
    """What the second study says otherwise, one line per key.

    Raises
    ------
    InputError
        If it differs in anything but events and data centres: plans of one would be no plans of the other.
    """
    one, other = dict(_flat(resolved(planner))), dict(_flat(resolved(truth)))
    differ = [key for key in {**one, **other} if one.get(key) != other.get(key)]
    raise_if_any(
        Finding(
            f"shifted study: {key}", f"is {other.get(key)!r}, the planner's study has {one.get(key)!r}", "equal them"
        )
        for key in differ
        if key.split(".")[0] not in _MAY_DIFFER
    )
    named = [key for key in differ if key.split(".")[0] in ("events", "data_centres") and key != "events.scenarios"]
    return tuple(f"{key}: {one.get(key, '-')} -> {other.get(key, '-')}" for key in named)


def _flat(values: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(values, dict):
        for key, value in values.items():
            yield from _flat(value, f"{prefix}.{key}" if prefix else key)
    elif isinstance(values, list) and any(isinstance(value, dict) for value in values):
        for place, value in enumerate(values):
            name = str(value.get("bus", place)) if isinstance(value, dict) else str(place)
            yield from _flat(value, f"{prefix}.{name}")
    else:
        yield prefix, values


# ---- one repetition -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Repetition:
    """What every repetition shares."""

    planner: StudyFile
    truth: StudyFile
    folders: tuple[Path, Path]
    design: Design
    cells: Path


def _repeat(task: _Repetition, number: int) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Rows of outcomes and of the cross-validation; every cell that is there already is read, not made again."""
    file = task.cells / f"{number:03d}_outcome.json"
    if not file.exists():
        _store(file, _rows(task, number))
    content = json.loads(file.read_text(encoding="utf-8"))
    return content["outcomes"], content["validation"]


def _rows(task: _Repetition, number: int) -> dict[str, Any]:
    training = _drawn(task.planner, task.folders[0], number, task.design.training, "training")
    program = demand_shock.program(training.data)
    program.blocks()
    around = ball(training.study, training.data)
    radii = candidate_radii(program, around, task.design.multiples)
    validation = _validated(task, number, program, around, radii)
    plans = _plans(task, number, program, around, radii)
    best = min(validation, key=lambda row: (row["score"], row["multiple"]))["multiple"]
    chosen = _name_of(best)
    fresh = _drawn(task.truth, task.folders[1], number, task.design.fresh, "fresh")
    tried = _tried(task, number, plans, fresh)
    outcomes = [{"repetition": number, "plan": name, **plans[name][1], **tried[name]} for name in plans]
    outcomes += [{**row, "plan": CHOSEN} for row in outcomes if row["plan"] == chosen]
    return {"outcomes": outcomes, "validation": validation}


def _drawn(study: StudyFile, folder: Path, number: int, scenarios: int, purpose: str) -> Assembly:
    """The study with events of its own for one repetition."""
    seed = int(stream(study.seed, purpose, number).integers(2**31))
    values = study.model_dump(exclude_unset=True)
    values["events"] = {**values.get("events", {}), "scenarios": scenarios}
    return assemble(StudyFile.model_validate({**values, "seed": seed}), folder)


def _settings(task: _Repetition) -> dict[str, Any]:
    solver, design = task.planner.solver, task.design
    return {
        "method": solver.method,
        "gap": solver.mip_gap if design.gap is None else design.gap,
        "time_limit": solver.time_limit_s if design.time_limit is None else design.time_limit,
        "workers": 1,
    }


def _validated(
    task: _Repetition, number: int, program: TwoStageProgram, around: Wasserstein, radii: dict[float, float]
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
    rows = json.loads(file.read_text(encoding="utf-8"))
    return list(rows)


def _start(data: xr.Dataset) -> xr.Dataset | None:
    """To do nothing, where a plan may: a search that is stopped early then has something to show."""
    forced = float(data["hub_minimum"]) > 0 or bool(data["hub_forced_in"].any())
    return None if forced else no_plan(data)


def _set(around: Wasserstein, radius: float) -> Nominal | Wasserstein:
    return Nominal() if radius == 0 else replace(around, radius=radius)


def _name_of(multiple: float) -> str:
    return RISK_AVERSE if multiple == 0 else f"DRO, {multiple:g} x starting radius"


def _plans(
    task: _Repetition, number: int, program: TwoStageProgram, around: Wasserstein, radii: dict[float, float]
) -> dict[str, tuple[xr.Dataset, dict[str, Any]]]:
    """Every plan with the figures of its search."""
    averse = risk_measure(task.planner)
    wanted: dict[str, Any] = {RISK_NEUTRAL: (Expectation(), Nominal())}
    for multiple, radius in radii.items():
        wanted[_name_of(multiple)] = (averse, _set(around, radius))
    no_search: dict[str, Any] = {"objective": None, "gap": None, "status": "evaluated"}
    plans = {NOTHING: (no_plan(program.data), no_search)}
    for place, (name, (risk, ambiguity)) in enumerate(wanted.items()):
        file = task.cells / f"{number:03d}_plan_{place}.nc"
        if not file.exists():
            start = _start(program.data) if len(plans) == 1 else plans[next(reversed(plans))][0]
            program.solve(risk, ambiguity, start=start, **_settings(task)).to_netcdf(file)
        found = Result.from_netcdf(file)
        facts = {"objective": found.objective, "gap": found.gap, "status": found.status}
        plans[name] = (found.first_stage, facts)
    return plans


def _tried(
    task: _Repetition, number: int, plans: dict[str, tuple[xr.Dataset, dict[str, Any]]], fresh: Assembly
) -> dict[str, dict[str, Any]]:
    """Figures of every plan on the fresh events; plans that are equal are tried once."""
    program = demand_shock.program(fresh.data)
    found: dict[str, dict[str, Any]] = {}
    known: list[tuple[xr.Dataset, dict[str, Any]]] = []
    for place, (name, (plan, _)) in enumerate(plans.items()):
        file = task.cells / f"{number:03d}_fresh_{place}.json"
        if not file.exists():
            same = next((figures for other, figures in known if other.equals(plan)), None)
            _store(file, _figures(evaluate(program, plan, workers=1)) if same is None else same)
        found[name] = json.loads(file.read_text(encoding="utf-8"))
        known.append((plan, found[name]))
    return found


def _figures(result: Result) -> dict[str, Any]:
    energy = {name: result.terms[name].sum("node") for name in ENERGY}
    return {
        "mean_cost": result.mean,
        "cvar_cost": result.cvar(ALPHA),
        **{name: float(own.mean()) for name, own in energy.items()},
        "any_unserved": float((energy["unserved_energy"] > _SOME).mean()),
        "first_stage_cost": result.first_stage_cost,
        "hubs": float(result.first_stage["hub_active"].sum()),
        "modules": float(result.first_stage["shipped"].sum()),
    }


def _write(experiment: Experiment, planner: Assembly) -> None:
    """Tables and page, each complete or not there."""
    tables = {
        "outcomes": experiment.outcomes,
        "validation": experiment.validation,
        "summary": summary(experiment.outcomes),
        "differences": differences(experiment.outcomes, RISK_AVERSE),
        "radius": by_radius(experiment.outcomes, experiment.validation, _name_of),
    }
    for name, table in tables.items():
        file = experiment.folder / f"{name}.csv"
        temporary = file.with_name(f".{file.name}.part")
        table.to_csv(temporary)
        temporary.replace(file)
    title = planner.study.title or planner.study.name
    facts = statements(experiment)
    write_robustness(experiment.folder / "report.html", title, facts, tables, (CHOSEN, RISK_AVERSE))


def _store(file: Path, content: Any) -> None:
    temporary = file.with_name(file.name + ".part")
    temporary.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    temporary.replace(file)
