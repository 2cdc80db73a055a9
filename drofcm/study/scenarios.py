"""The ensemble of a study as a file of its own: generated, reduced if asked for, drawn, and written whole or not."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, get_args

import numpy as np
import pandas as pd
import xarray as xr

from drofcm.config import StudyFile, load_study
from drofcm.core.document import Document
from drofcm.core.errors import Finding, InputError, raise_if_any, shorten, suggest
from drofcm.core.files import unwritable
from drofcm.core.interrupts import held
from drofcm.core.randomness import stream
from drofcm.data import load_trace
from drofcm.report import ensembles
from drofcm.scenarios import ensemble
from drofcm.scenarios.calibration import calibrate, reference_table
from drofcm.scenarios.loads import TrainingJob, inference_load, training_load
from drofcm.scenarios.reduce import Reduction, reduce_scenarios
from drofcm.scenarios.reduce_check import Method
from drofcm.study.assemble import assemble, step_lengths
from drofcm.study.events import generate_events
from drofcm.study.kept import full_disk_told
from drofcm.study.publish import alone, check_target, tidy, writing
from drofcm.study.reduction import DATA_TAIL, By, reduce_for_plan
from drofcm.study.sources import load_sources

__all__ = ["EVENTS_FILE", "MadeScenarios", "make_scenarios"]

EVENTS_FILE: Final = "events.nc"
_PICTURES: Final = ("fan", "classes", "dependence", "ramps", "traces", "fan_reduced")
FILES: Final = (EVENTS_FILE, "classes.csv", *(f"{name}.png" for name in _PICTURES))
"""What is written; whatever else is in the folder is the user's."""
_DPI = 100
_GENERATED_S = 7200


@dataclass(frozen=True)
class MadeScenarios:
    """A folder with an ensemble.

    Attributes
    ----------
    folder
        Where it stands: `EVENTS_FILE`, ``classes.csv`` and the pictures.
    data
        The ensemble that was written.
    classes
        For each class: scenarios and probability, before and after reduction.
    summary
        What the reduction did; empty without one.
    """

    folder: Path
    data: xr.Dataset
    classes: pd.DataFrame
    summary: str = ""


def make_scenarios(
    path: Path | str,
    folder: Path | None = None,
    *,
    scenarios: int | None = None,
    reduce: int | None = None,
    by: By = "costs",
    pilots: int = 4,
    method: Method = "forward",
    tail: float | None = None,
    traces: Sequence[Path] = (),
    columns: Mapping[str, Any] | None = None,
    client: Any = None,
    chunk: int | None = None,
    progress: Callable[[str], None] | None = None,
) -> MadeScenarios:
    """Generate the ensemble that a study describes, draw it, and write it where the study can point to it.

    Parameters
    ----------
    path
        The study file.
    folder
        Where to write; ``scenarios`` beside the study file if left out. In a folder that
        holds an ensemble the files of that are replaced, and nothing else is touched.
    scenarios
        How many to generate, in place of ``events.scenarios``.
    reduce
        How many of them to keep; every class keeps its probability. All if left out.
    by
        What distance between events is measured by: ``"costs"``, what they cost the study at pilot plans
        (`drofcm.study.reduction.reduce_for_plan`), or ``"data"``: shocks, lines and hubs that are out. Costs ask for
        the study to be solved on small draws, and for all events to be evaluated; what that is worth to the plan is
        told in `drofcm.scenarios.reduce`.
    pilots
        Pilot plans that are searched, beside doing nothing.
    method, tail
        How they are chosen, and the share of each class that counts as its worst and is kept apart: 0 by costs and
        0.1 by data if left out.
    traces
        Measured power traces (`drofcm.data.load_trace`) to set the ramps of calibrated processes against.
    columns
        How their columns are read: further arguments of `drofcm.data.load_trace`.
    client, chunk
        A `dask.distributed.Client` that draws and evaluates pilot plans, and scenarios per task; the ensemble does not
        depend on them.
    progress
        Hears what is done next.

    Raises
    ------
    InputError
        With every fault of the study, its sources and the traces; if the folder holds anything else than an ensemble.
    """
    path = Path(path)
    target = path.parent / "scenarios" if folder is None else folder
    study = load_study(path)
    findings = [*_check_target(target), *_check_reduction(by, pilots, reduce, scenarios or study.events.scenarios)]
    if study.events.file is not None:
        where = Document.read(path).where(("events", "file"))
        findings.append(Finding(where, "the events are read from a file already", "remove file to generate them"))
    raise_if_any(findings)
    _make_ready(target)
    measured = _read_traces(traces, columns or {})
    sources = load_sources(study, path.parent, Document.read(path).where)
    steps = step_lengths(study)
    generated = generate_events(study, sources, steps, scenarios=scenarios, client=client, chunk=chunk)
    generated = generated.assign_coords(step_length=steps)
    raise_if_any(ensemble.check(generated))
    kept, summary = generated, ""
    if reduce is not None:
        settings = {"method": method, "tail": (0.0 if by == "costs" else DATA_TAIL) if tail is None else tail}
        if by == "costs":
            reduction = _by_costs(study, path, generated, reduce, pilots, settings, client, progress)
        else:
            reduction = _by_data(generated, reduce, settings)
        kept, summary = _written(generated, reduction), _summary(reduction)
    figures = {
        "fan": ensembles.fan_chart(generated, steps),
        "classes": ensembles.class_chart(generated, None if reduce is None else kept),
        "dependence": ensembles.dependence_chart(generated),
        "ramps": ensembles.ramp_chart(reference_table(traces=20)),
    }
    if measured:
        figures["traces"] = ensembles.exceedance_chart(measured)
    classes = _classes(generated)
    if reduce is not None:
        figures["fan_reduced"] = ensembles.fan_chart(kept, steps)
        classes = classes.join(_classes(kept).add_suffix("_kept"))
    with held(), _written_to(target) as made:
        kept.to_netcdf(made / EVENTS_FILE, engine="netcdf4")
        classes.to_csv(made / "classes.csv")
        for name, figure in figures.items():
            figure.savefig(made / f"{name}.png", dpi=_DPI)
    return MadeScenarios(target, kept, classes, summary)


def _make_ready(target: Path) -> None:
    if os.path.isdir(target.parent):
        with suppress(OSError), alone(target.parent) as safe:
            if safe:
                tidy(target.parent)
    check_target(target, "--folder", lambda _: FILES, FILES)


@contextmanager
def _written_to(target: Path) -> Iterator[Path]:
    try:
        with writing(target, own=lambda _: FILES, last=EVENTS_FILE) as made, full_disk_told(target.parent):
            yield made
    except (OSError, RuntimeError) as error:
        raise InputError([Finding(str(target), unwritable(error), "choose another --folder")]) from error


def _by_data(data: xr.Dataset, count: int, settings: Mapping[str, Any]) -> Reduction:
    over = [name for name in ("shock", "line_out", "hub_available") if name in data and _varies(data[name])]
    return reduce_scenarios(data, count, over=over, classes="event_class", **settings)


def _by_costs(
    study: StudyFile,
    path: Path,
    data: xr.Dataset,
    count: int,
    pilots: int,
    settings: Mapping[str, Any],
    client: Any,
    progress: Callable[[str], None] | None,
) -> Reduction:
    assembly = assemble(study, path.parent, Document.read(path).where, events=data)
    if "hub_available" not in data and "hazards" not in assembly.sources.layers:
        # drawn by place in the ensemble: without it a kept event would meet other hubs than those it was chosen with
        data = data.assign(hub_available=assembly.data["hub_available"])
    return reduce_for_plan(
        assembly, count, data=data, pilots=pilots, client=client, progress=progress, settings=settings
    )


def _written(data: xr.Dataset, reduction: Reduction) -> xr.Dataset:
    """The kept scenarios under labels of their own, 0, 1, 2, ...; ``original`` says which they were."""
    kept = reduction.data
    original = kept["scenario"].values
    kept = kept.assign_coords(scenario=np.arange(len(original)), original=("scenario", original))
    recipe = json.loads(data.attrs["recipe"]) | {"reduction": reduction.recipe, "generated": data.sizes["scenario"]}
    return kept.assign_attrs(seed=data.attrs["seed"], recipe=json.dumps(recipe))


def _summary(reduction: Reduction) -> str:
    """What was done, and which searches did not end."""
    facts = reduction.recipe.get("pilots")
    if facts is None:
        return f"{reduction}, by data"
    told = f"{reduction}, by recourse costs at {len(facts['plans'])} plans: {', '.join(facts['plans'])}"
    late = [draw for draw in facts["draws"] if draw["gap"] > facts["gap"]]
    if not late:
        return told
    stopped = ", ".join(f"draw {draw['draw']} at a gap of {draw['gap']:.1%}" for draw in late)
    return f"{told}\nstopped by the time limit, so that another machine may keep others: {stopped}"


def _varies(array: xr.DataArray) -> bool:
    return bool((array != array.isel(scenario=0)).any())


def _check_target(target: Path) -> list[Finding]:
    if os.path.lexists(target) and not (target / EVENTS_FILE).is_file():
        what = "exists and holds no ensemble: it is not replaced"
        return [Finding(str(target), what, "choose another folder")]
    return []


def _check_reduction(by: str, pilots: int, count: int | None, scenarios: int) -> list[Finding]:
    findings = []
    if by not in get_args(By):
        findings.append(Finding(f"by={by!r}", "is unknown", suggest(by, get_args(By))))
    if pilots < 0:
        findings.append(Finding(f"pilots={pilots}", "must be at least 0", "0 measures costs of doing nothing alone"))
    if count is not None and not 1 <= count <= scenarios:
        findings.append(Finding(f"reduce={count}", f"{scenarios} scenarios exist", f"keep 1 to {scenarios}"))
    return findings


def _read_traces(paths: Sequence[Path], columns: Mapping[str, Any]) -> dict[str, tuple[xr.DataArray, xr.DataArray]]:
    """Each trace beside one that the process calibrated to it generates, longer so that its tail shows."""
    found: dict[str, tuple[xr.DataArray, xr.DataArray]] = {}
    findings: list[Finding] = []
    if columns and not paths:
        findings.append(
            Finding(shorten(list(columns)), "has no effect without a trace", "give --trace, or leave it out")
        )
    for path in paths:
        try:
            trace = load_trace(path, **columns)
            process = calibrate(trace)
        except InputError as error:
            findings += [
                Finding(fault.where if str(path) in fault.where else f"{path}: {fault.where}", fault.what, fault.fix)
                for fault in error.findings
            ]
            continue
        rng = stream(0, "traces", path.name)
        if isinstance(process, TrainingJob):
            load = training_load(_GENERATED_S, rng=rng, job=process)
        else:
            load = inference_load(_GENERATED_S, rng=rng, service=process)
        found[path.stem if path.stem not in found else str(path)] = (trace, load)
    raise_if_any(findings)
    return found


def _classes(data: xr.Dataset) -> pd.DataFrame:
    table = pd.DataFrame({"class": data["event_class"].values.astype(str), "probability": data["probability"].values})
    groups = table.groupby("class", sort=False)["probability"]
    return pd.DataFrame({"scenarios": groups.size(), "probability": groups.sum()})
