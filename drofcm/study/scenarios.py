"""The ensemble of a study as a file of its own: generated, reduced if asked for, drawn, and written whole or not."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
import xarray as xr

from drofcm.config import load_study
from drofcm.core.document import Document
from drofcm.core.errors import Finding, InputError, raise_if_any
from drofcm.core.randomness import stream
from drofcm.data import load_trace
from drofcm.report import ensembles
from drofcm.scenarios import ensemble
from drofcm.scenarios.calibration import calibrate, reference_table
from drofcm.scenarios.loads import TrainingJob, inference_load, training_load
from drofcm.scenarios.reduce import reduce_scenarios
from drofcm.scenarios.reduce_check import Method
from drofcm.study.assemble import step_lengths
from drofcm.study.events import generate_events
from drofcm.study.folder import writing
from drofcm.study.sources import load_sources

__all__ = ["EVENTS_FILE", "MadeScenarios", "make_scenarios"]

EVENTS_FILE: Final = "events.nc"
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
    method: Method = "forward",
    tail: float = 0.1,
    traces: Sequence[Path] = (),
    client: Any = None,
    chunk: int | None = None,
) -> MadeScenarios:
    """Generate the ensemble that a study describes, draw it, and write it where the study can point to it.

    Parameters
    ----------
    path
        The study file.
    folder
        Where to write; ``scenarios`` beside the study file if left out. A folder that holds an ensemble is replaced.
    scenarios
        How many to generate, in place of ``events.scenarios``.
    reduce
        How many of them to keep (`drofcm.scenarios.reduce.reduce_scenarios`), by shocks, lines and hubs that are out;
        every class keeps its probability, and its worst events are kept apart. All if left out.
    method, tail
        How they are chosen, and the share of each class that counts as its worst.
    traces
        Measured power traces (`drofcm.data.load_trace`) to set the ramps of calibrated processes against.
    client, chunk
        A `dask.distributed.Client` that draws, and scenarios per task; the ensemble does not depend on them.

    Raises
    ------
    InputError
        With every fault of the study, its sources and the traces; if the folder holds anything else than an ensemble.
    """
    path = Path(path)
    target = path.parent / "scenarios" if folder is None else folder
    study = load_study(path)
    findings = list(_check_target(target))
    if study.events.file is not None:
        where = Document.read(path).where(("events", "file"))
        findings.append(Finding(where, "the events are read from a file already", "remove file to generate them"))
    raise_if_any(findings)
    measured = _read_traces(traces)
    sources = load_sources(study, path.parent, Document.read(path).where)
    steps = step_lengths(study)
    generated = generate_events(study, sources, steps, scenarios=scenarios, client=client, chunk=chunk)
    generated = generated.assign_coords(step_length=steps)
    raise_if_any(ensemble.check(generated))
    kept, summary = _reduced(generated, reduce, method, tail)
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
    with writing(target) as made:
        kept.to_netcdf(made / EVENTS_FILE, engine="netcdf4")
        classes.to_csv(made / "classes.csv")
        for name, figure in figures.items():
            figure.savefig(made / f"{name}.png", dpi=_DPI)
    return MadeScenarios(target, kept, classes, summary)


def _reduced(data: xr.Dataset, count: int | None, method: Method, tail: float) -> tuple[xr.Dataset, str]:
    """The kept scenarios under labels of their own, 0, 1, 2, ...; ``original`` says which they were."""
    if count is None:
        return data, ""
    over = [name for name in ("shock", "line_out", "hub_available") if name in data and _varies(data[name])]
    reduction = reduce_scenarios(data, count, over=over, method=method, classes="event_class", tail=tail)
    kept = reduction.data
    original = kept["scenario"].values
    kept = kept.assign_coords(scenario=np.arange(len(original)), original=("scenario", original))
    recipe = json.loads(data.attrs["recipe"]) | {"reduction": reduction.recipe, "generated": data.sizes["scenario"]}
    return kept.assign_attrs(seed=data.attrs["seed"], recipe=json.dumps(recipe)), str(reduction)


def _varies(array: xr.DataArray) -> bool:
    return bool((array != array.isel(scenario=0)).any())


def _check_target(target: Path) -> list[Finding]:
    if target.exists() and not (target / EVENTS_FILE).is_file():
        what = "exists and holds no ensemble: it is not replaced"
        return [Finding(str(target), what, "choose another folder")]
    return []


def _read_traces(paths: Sequence[Path]) -> dict[str, tuple[xr.DataArray, xr.DataArray]]:
    """Each trace beside one that the process calibrated to it generates, longer so that its tail shows."""
    found: dict[str, tuple[xr.DataArray, xr.DataArray]] = {}
    findings: list[Finding] = []
    for path in paths:
        try:
            trace = load_trace(path)
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
        found[path.stem] = (trace, load)
    raise_if_any(findings)
    return found


def _classes(data: xr.Dataset) -> pd.DataFrame:
    table = pd.DataFrame({"class": data["event_class"].values.astype(str), "probability": data["probability"].values})
    groups = table.groupby("class", sort=False)["probability"]
    return pd.DataFrame({"scenarios": groups.size(), "probability": groups.sum()})
