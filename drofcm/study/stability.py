"""How far the plan of a study depends on which events were drawn, and on how they were reduced."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

import xarray as xr

from drofcm.config import StudyFile, changed
from drofcm.core.errors import Finding, raise_if_any, suggest
from drofcm.problems import demand_shock
from drofcm.scenarios.reduce import reduce_scenarios
from drofcm.study.ambiguity import declared_set
from drofcm.study.assemble import Assembly, assemble
from drofcm.study.reduction import DATA_TAIL, By, reduce_for_plan
from drofcm.study.risk import risk_measure
from drofcm.study.run import open_study
from drofcm.validate.stability import Stability, stability

__all__ = ["study_stability"]


def study_stability(
    path: Path | str,
    *,
    scenarios: int,
    drawn: int | None = None,
    repeats: int = 5,
    reference: int = 100,
    by: By = "costs",
    pilots: int = 4,
    over: str | Sequence[str] | None = None,
    reduction: Mapping[str, Any] | None = None,
    gap: float | None = None,
    time_limit: float | None = None,
    progress: Callable[[str], None] | None = None,
) -> Stability:
    """In-sample and out-of-sample stability of a study's plan, by its own risk measure and ambiguity set.

    Parameters
    ----------
    path
        The study file; its events are generated.
    scenarios
        Events that a plan is made from.
    drawn
        Events that are drawn before they are reduced to ``scenarios``; as many, without any reduction, if left out.
    repeats
        Ensembles, each with a seed of its own that follows the study's.
    reference
        Events, with the study's own seed, that every plan is evaluated on.
    by
        What distance between events is measured by in the reduction: ``"costs"`` at pilot plans, or ``"data"``.
    pilots
        Pilot plans of each ensemble, beside doing nothing (`drofcm.study.reduction.reduce_for_plan`).
    over
        With ``by="data"``: variables that distance is measured by; shocks and what is energised, if they differ
        between events.
    reduction
        Settings of `drofcm.reduce_scenarios` in place of keeping classes (and, by data, their tails).
    gap, time_limit
        Of each search, in place of the study's.
    progress
        Hears what is done next.

    Raises
    ------
    InputError
        With every fault of the study, if its events are read from a file, or numbers make no sense.
    """
    opened = open_study(path)
    drawn = scenarios if drawn is None else drawn
    raise_if_any([*_check(opened.study, scenarios, drawn, repeats, reference), *_check_by(by, over, pilots)])
    tell = progress or (lambda _: None)
    by_data = {"classes": "event_class", "tail": DATA_TAIL, **(reduction or {})}
    searching: dict[str, Any] = {"pilots": pilots, "gap": gap, "time_limit": time_limit, "progress": progress}
    programs = {}
    for number in range(1, repeats + 1):
        tell(f"drawing ensemble {number}")
        ensemble = _drawn(opened, Path(path).parent, opened.study.seed + number, drawn)
        data = ensemble.data
        if drawn > scenarios and by == "costs":
            data = reduce_for_plan(ensemble, scenarios, settings=reduction, **searching).data
        elif drawn > scenarios:
            data = reduce_scenarios(data, scenarios, over=over or _differing(data), **by_data).data
        programs[str(number)] = demand_shock.program(data)
    tell("drawing the reference")
    truth = demand_shock.program(_drawn(opened, Path(path).parent, opened.study.seed, reference).data)
    solver = opened.study.solver
    return stability(
        programs,
        truth,
        risk=risk_measure(opened.study),
        ambiguity=declared_set(opened.study, opened.data),
        progress=progress,
        method=solver.method,
        gap=solver.mip_gap if gap is None else gap,
        time_limit=solver.time_limit_s if time_limit is None else time_limit,
    )


def _check(study: StudyFile, scenarios: int, drawn: int, repeats: int, reference: int) -> list[Finding]:
    findings = []
    if study.events.file is not None:
        what = "events are read from a file: no other ensemble can be drawn"
        findings.append(Finding("events.file", what, "use generated events, or drofcm.validate.stability in Python"))
    for name, value, least in (("scenarios", scenarios, 1), ("repeats", repeats, 2), ("reference", reference, 1)):
        if value < least:
            findings.append(Finding(name, f"must be at least {least}, is {value}"))
    if drawn < scenarios:
        findings.append(
            Finding("drawn", f"{drawn} events cannot be reduced to {scenarios}", "draw more, or keep fewer")
        )
    return findings


def _check_by(by: str, over: str | Sequence[str] | None, pilots: int) -> list[Finding]:
    findings = []
    if by not in get_args(By):
        findings.append(Finding(f"by={by!r}", "is unknown", suggest(by, get_args(By))))
    if by == "costs" and over:
        findings.append(Finding("over", "distance is measured by costs at pilot plans", 'give by="data" with it'))
    if pilots < 0:
        findings.append(Finding("pilots", f"must be at least 0, is {pilots}"))
    return findings


def _differing(data: xr.Dataset) -> list[str]:
    """Which of what an event does is not the same in all events."""
    return [name for name in ("shock", "energised") if bool((data[name] != data[name].isel(scenario=0)).any())]


def _drawn(opened: Assembly, folder: Path, seed: int, scenarios: int) -> Assembly:
    """The study with other events."""
    return assemble(changed(opened.study, seed=seed, events={"scenarios": scenarios}), folder)
