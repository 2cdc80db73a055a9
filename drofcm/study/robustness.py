"""Does robustness pay? Plans from few training events, tried on many fresh ones of a world that is not the planner's.

Every repetition draws its own training events from the planner's study and its own fresh events from a second study
file, which says what events are really like. Repetitions are independent, and within one all plans meet the same
fresh events, so differences between plans are paired. Each finished cell is a file; a run that was stopped goes on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any, Final

import pandas as pd

from drofcm.config import StudyFile, resolved
from drofcm.core.errors import Finding, raise_if_any
from drofcm.core.files import whole_file
from drofcm.core.interrupts import held
from drofcm.report.experiments import FIGURES, by_radius, differences, summary
from drofcm.report.robustness import verdict, write_robustness
from drofcm.solve.spread import spread
from drofcm.study.assemble import Assembly
from drofcm.study.folder import digest_files, digest_of
from drofcm.study.publish import check_target
from drofcm.study.radius import ball
from drofcm.study.repetition import ALPHA, CHOSEN, NO_BALL, Design, Repetitions, plan_of, repeat
from drofcm.study.run import open_study
from drofcm.validate.outofsample import caution_of

__all__ = ["PRESETS", "Experiment", "run_experiment_of", "run_robustness", "shift"]

_MAY_DIFFER: Final = frozenset(
    {"name", "title", "description", "seed", "events", "data_centres", "risk", "ambiguity", "frontier", "solver"}
)
"""The world, and how a planner decides, which says nothing of the world."""

FILES: Final = (
    *(f"{name}.csv" for name in ("outcomes", "validation", "summary", "differences", "radius")),
    "report.html",
)
"""What is written beside the cells."""

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
        One row per repetition and plan (index ``repetition``, ``plan``): the figures of `drofcm.validate.money.Money`,
        ``ens``, ``unserved_energy`` (MWh an event), ``any_unserved`` (probability), ``hubs``, ``modules``,
        ``risk_weighted_objective`` and ``gap`` of the search.
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
    """Run the experiment, or what is left of it, in ``<runs>/<name>-<hash>/<shifted>-<hash>``.

    Plans do not depend on the second study: another shifted world finds them there.

    Parameters
    ----------
    path
        Study file of the planner.
    shifted
        Study file of what events are really like: ``events`` and ``data_centres`` may differ; how it would decide
        (risk, ambiguity, solver) plays no part.
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
    ball(planner.study, planner.data)  # refuses a study whose set is none, before anything is made
    inputs = {name: digest_files(own.sources.files) for name, own in (("planner", planner), ("truth", truth))}
    # more repetitions are more cells of the same experiment
    size = {key: value for key, value in asdict(design).items() if key not in ("repetitions", "fresh")}
    size |= {key: float(size[key]) for key in ("gap", "time_limit") if size[key] is not None}
    size["multiples"] = [float(multiple) for multiple in design.multiples]
    plans = {"design": size, "planner": resolved(planner.study), "inputs": inputs["planner"]}
    tests = {"fresh": design.fresh, "figures": list(FIGURES), "truth": resolved(truth.study), "inputs": inputs["truth"]}
    version = {"drofcm": metadata.version("drofcm")}
    cells = runs / f"{planner.study.name}-{digest_of({**plans, **version})}"
    folder = cells / f"{Path(shifted).stem}-{digest_of({**tests, **version})}"
    check_target(folder, "--runs", lambda _: FILES, FILES)
    folder.mkdir(parents=True, exist_ok=True)
    if progress is not None:
        done = len(list(folder.glob("*_outcome.json")))
        count = len([*cells.glob("*_*.nc"), *cells.glob("*_*.json"), *folder.glob("*_*.json")])
        progress(f"{folder}: {done} of {design.repetitions} repetitions are there, {count} cells")
    folders = Path(path).resolve().parent, Path(shifted).resolve().parent
    task = Repetitions(planner.study, truth.study, folders, design, cells.resolve(), folder.resolve())
    found = spread(partial(repeat, task), range(design.repetitions), client, workers)
    outcomes = pd.DataFrame([row for rows, _ in found for row in rows]).set_index(["repetition", "plan"])
    validation = pd.DataFrame([row for _, rows in found for row in rows]).set_index(["repetition", "multiple"])
    experiment = Experiment(design, changes, outcomes, validation, folder)
    with held():
        _write(experiment, planner)
    return experiment


def statements(experiment: Experiment) -> list[str]:
    """Size, shift and how far searches got, for the page and the README of a study."""
    design, outcomes = experiment.design, experiment.outcomes
    gaps = outcomes["gap"].dropna()
    late = int((outcomes["status"] == "time_limit").sum())
    few = caution_of((1 - ALPHA) * design.fresh)
    tail = [f"In each repetition CVaR {ALPHA:g} {few}: it lies below that of all events."] if few else []
    return [
        f"{design.repetitions} repetitions, each with {design.training} training events of its own and {design.fresh} "
        f"fresh ones; {design.folds} folds; the dispatch knows the whole event (perfect foresight within it).",
        "What the planner does not know: " + "; ".join(experiment.shift) + ".",
        f"Plans are optimal to {gaps.max():.1%} at worst, {gaps.mean():.1%} on average ({late} searches hit their "
        "time limit): differences between plans that are smaller than that are within what the searches left open.",
        *tail,
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
    told = verdict(differences(done.outcomes, NO_BALL), CHOSEN, NO_BALL)
    return [told, *statements(done), str(done.folder / "report.html")]


def shift(planner: StudyFile, truth: StudyFile) -> tuple[str, ...]:
    """What the second study says otherwise, one line per key.

    Raises
    ------
    InputError
        If it differs in anything but events and data centres, or how a planner decides: plans of one would be no plans
        of the other.
    """
    raise_if_any(
        Finding(
            f"{name}: events.file", "events that are read from a file cannot be drawn anew", "let them be generated"
        )
        for name, study in (("planner's study", planner), ("shifted study", truth))
        if study.events.file is not None
    )
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


def _write(experiment: Experiment, planner: Assembly) -> None:
    """Tables and page, each complete or not there."""
    tables = {
        "outcomes": experiment.outcomes,
        "validation": experiment.validation,
        "summary": summary(experiment.outcomes),
        "differences": differences(experiment.outcomes, NO_BALL),
        "radius": by_radius(experiment.outcomes, experiment.validation, plan_of),
    }
    for name, table in tables.items():
        with whole_file(experiment.folder / f"{name}.csv") as unfinished:
            table.to_csv(unfinished)
    title = planner.study.title or planner.study.name
    facts = statements(experiment)
    write_robustness(experiment.folder / "report.html", title, facts, tables, (CHOSEN, NO_BALL))
