"""A study from its file to its run folder: assemble, compare, solve, certify, write."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final, Protocol

import pandas as pd
import xarray as xr

from drofcm.config import changed, read_study
from drofcm.core.errors import (
    Finding,
    InfeasibleError,
    InputError,
    LimitError,
    NotWrittenError,
    SolveError,
    raise_if_any,
    shorten,
)
from drofcm.core.files import unwritable
from drofcm.core.interrupts import heeded, held
from drofcm.dsl.program import TwoStageProgram
from drofcm.problems import demand_shock, demand_shock_data
from drofcm.problems.location_plan import median_plan
from drofcm.report.inputs import DO_NOTHING, EXPECTED_VALUE_PLAN, MEDIAN_PLAN, NOMINAL_PLAN
from drofcm.report.tables import gap_of_benefit
from drofcm.risk.ambiguity import AmbiguitySet, Nominal
from drofcm.risk.measures import RiskMeasure
from drofcm.solve.checkpoint import expect
from drofcm.solve.progress import Standing
from drofcm.solve.result import Result, Status
from drofcm.study.ambiguity import ambiguity_set
from drofcm.study.assemble import Assembly, assemble
from drofcm.study.contents import money_facts, rebuild_report, report_input, write_contents
from drofcm.study.folder import (
    CHANGED,
    CONTENTS,
    OBJECTIVE,
    PROVENANCE,
    RunFolder,
    digest_files,
    is_better,
    run_key,
    seal,
    versions,
)
from drofcm.study.foresight import foresight, plain
from drofcm.study.frontier import frontier_of
from drofcm.study.kept import full_disk_told, summary_of_plan, table_of_plan
from drofcm.study.outcome_layers import plan_layers
from drofcm.study.publish import alone, check_target, tidy, writing
from drofcm.study.risk import risk_measure
from drofcm.study.sources import source_findings
from drofcm.validate.information import Foresight

__all__ = ["Progress", "no_plan", "open_study", "run_study", "solve_do_nothing"]


class Progress(Protocol):
    """Hears how a run gets on."""

    def phase(self, name: str) -> None:
        """Say that a phase begins."""

    def bounds(self, standing: Standing) -> None:
        """Say where the search of the current phase stands; bounds in $/a."""


class _Silent:
    def phase(self, name: str) -> None:
        """Say nothing."""

    def bounds(self, standing: Standing) -> None:
        """Say nothing."""


class _Logged:
    """Passes progress on and keeps a line per phase for ``log.txt``."""

    def __init__(self, listener: Progress) -> None:
        self.lines: list[str] = []
        self._listener = listener
        self._began = time.perf_counter()

    @property
    def seconds(self) -> float:
        return time.perf_counter() - self._began

    def phase(self, name: str) -> None:
        self.note(name)
        self._listener.phase(name)

    def note(self, text: str) -> None:
        self.lines.append(f"{self.seconds:8.1f} s  {text}")

    def bounds(self, standing: Standing) -> None:
        self._listener.bounds(standing)


def open_study(path: Path | str, **solver: Any) -> Assembly:
    """Read a study file and assemble its data.

    Parameters
    ----------
    path
        The study file.
    **solver
        Keys of the section ``solver`` that take the place of those in the file; None changes nothing.

    Raises
    ------
    InputError
        With every fault; those of the study file carry line and column.
    """
    path = Path(path)
    read = read_study(path)
    if read.findings:
        also = [] if read.study is None else source_findings(read.study, path.parent, read.where)
        raise InputError([*read.findings, *(finding for finding in also if finding not in read.findings)])
    study = read.study
    assert study is not None  # without a study there is a finding
    changes = {key: value for key, value in solver.items() if value is not None}
    if changes:
        study = changed(study, solver=changes)
    return assemble(study, path.parent, read.where)


def solve_do_nothing(assembly: Assembly) -> Result:
    """No hub, no module: what events cost as things are, whatever the study demands of a plan."""
    data = assembly.data.drop_vars("budget", errors="ignore")
    for name in ("hub_minimum", "hub_forced_in"):
        data = data.assign({name: xr.zeros_like(data[name])})
    program = demand_shock.program(data, checked=True)
    return program.evaluate(
        no_plan(data),
        risk_measure(assembly.study),
        ambiguity_set(assembly.study, assembly.data),
        preferred=False,
    )


def no_plan(data: xr.Dataset) -> xr.Dataset:
    """The plan to open no hub and ship nothing."""
    empty = {"hub_active": ("hub",), "shipped": ("supplier", "hub", "fcm")}
    return xr.Dataset(
        {
            name: xr.DataArray(0.0, coords={dim: data.indexes[dim] for dim in dims}, dims=dims)
            for name, dims in empty.items()
        }
    )


def run_study(
    path: Path | str,
    runs: Path = Path("runs"),
    *,
    gap: float | None = None,
    time_limit: float | None = None,
    client: Any = None,
    checkpoint: Path | None = None,
    resume: bool = False,
    progress: Progress | None = None,
) -> RunFolder:
    """Run a study to its folder ``<runs>/<name>-<hash>``.

    An equal run that was finished is opened again. One that was stopped at a limit is taken up from its plan, and
    replaced where the plan, its bounds or the comparison become better. With an ambiguity set the plan for the stated
    probabilities is sought too, for comparison, within the same gap and time; with a section ``frontier`` so are the
    plans of that. What is not compared for an interrupt or an error is a warning of the run, and the run is taken up
    when it is started again.

    Ctrl-C (and SIGTERM, where the process takes it for Ctrl-C) stops the search. Once there is a plan the first one is
    held back until the plan is written.

    Parameters
    ----------
    path
        The study file.
    runs
        Where run folders stand.
    gap, time_limit
        In place of ``solver.mip_gap`` and ``solver.time_limit_s`` of the study.
    client
        A `dask.distributed.Client` on which the decomposition solves scenarios.
    checkpoint
        File that keeps what the decomposition has learnt.
    resume
        Go on from the checkpoint; without, one that exists is refused.
    progress
        Hears phases and bounds.

    Returns
    -------
    RunFolder
        Complete; nothing else is ever written.

    Raises
    ------
    InputError
        With every fault of the input.
    InfeasibleError
        If no plan exists, with the rows that contradict each other.
    SolveError
        If a limit was hit before any plan was found.
    NotWrittenError
        If there is a plan, but its folder cannot be written; the error has the plan.
    KeyboardInterrupt
        If the run was interrupted before any plan was found.
    """
    log = _Logged(progress or _Silent())
    expect(checkpoint, resume)
    with held():
        with heeded():
            log.phase("reading the study and its data")
            assembly = open_study(path, mip_gap=gap, time_limit_s=time_limit)
            for finding in assembly.findings:
                log.note(f"warning: {finding}")
            inputs = digest_files(assembly.sources.files)
            key = run_key(assembly.study, inputs, assembly.data)
            target = runs / f"{assembly.study.name}-{key}"
            earlier = _earlier(target)
            if earlier.whole and earlier.run.status == "optimal" and earlier.run.provenance.get("compared"):
                if not (target / "report.html").is_file():
                    rebuild_report(target)
                return earlier.run
            start = Result.from_netcdf(target / "result.nc").first_stage if earlier.whole else None
        outcome = _solve(assembly, log, start, client, checkpoint)
        provenance = {
            "study": assembly.study.name,
            "key": key,
            "seed": assembly.study.seed,
            "inputs": inputs,
            "versions": versions(),
            "taken_up": earlier.whole,
            "warnings": [asdict(finding) for finding in (*assembly.findings, *earlier.damage, *outcome.findings)],
            "compared": not outcome.left_out,
        }
        return _write(target, assembly, outcome, provenance, log)


@dataclass(frozen=True)
class _Earlier:
    """What stands where the run is to stand: a whole run, one with ``damage``, or nothing."""

    run: RunFolder
    whole: bool
    damage: tuple[Finding, ...] = ()


def _earlier(target: Path) -> _Earlier:
    """Look at the folder of a run before anything is solved, and refuse one that could not be written."""
    run = RunFolder(target, reopened=True)
    if os.path.isdir(target.parent):
        with suppress(OSError), alone(target.parent) as safe:
            if safe:
                tidy(target.parent)
    faults = run.faults() if run.begun else []
    if run.begun and not faults:
        return _Earlier(run, whole=True)
    changed = [fault for fault in faults if fault.what == CHANGED]
    fix = "nothing was done: move the folder away, or choose another --runs"
    raise_if_any(replace(fault, fix=fix) for fault in changed)
    check_target(target, "--runs", _own, CONTENTS)
    damage = (replace(fault, fix="the study was run again", severity="warning") for fault in faults)
    return _Earlier(run, whole=False, damage=tuple(damage))


_MEDIAN_HUBS: Final = 3
"""Most hubs of a median plan: more of them stage what few events ask for."""


@dataclass(frozen=True)
class _Outcome:
    plan: Result
    baselines: dict[str, Result]
    frontier: pd.DataFrame | None
    left_out: tuple[Finding, ...]

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What is to be known of the plan: what it is not compared with, where its dispatch is not the preferred."""
        kept = self.plan.provenance.get("preference", {}).get("kept", {})
        fix = "costs and certificate are not touched by it: of dispatches that cost the same some other one is shown"
        return (
            *self.left_out,
            *(
                Finding(f"dispatch of scenario {shorten(labels)}", f"not the preferred one: {why}", fix, "warning")
                for why, labels in kept.items()
            ),
        )

    foresight: Foresight


def _solve(
    assembly: Assembly, log: _Logged, start: xr.Dataset | None, client: Any, checkpoint: Path | None
) -> _Outcome:
    """The plan and what it is compared with; to be called where interrupts are held."""
    risk, solver = risk_measure(assembly.study), assembly.study.solver
    ambiguity = ambiguity_set(assembly.study, assembly.data)
    limits: dict[str, Any] = {"gap": solver.mip_gap, "time_limit": solver.time_limit_s}
    with heeded():
        log.phase("evaluating: do nothing")
        baselines = {DO_NOTHING: solve_do_nothing(assembly)}
        log.phase("building the program")
        program = demand_shock.program(assembly.data)
        log.phase("solving: expected-value plan")
        mean = demand_shock.program(demand_shock_data.expected_value(assembly.data), checked=True)
        guess = mean.solve(preferred=False, **limits)
        if guess.status == "interrupted":
            raise KeyboardInterrupt
        baselines[EXPECTED_VALUE_PLAN] = program.evaluate(guess.first_stage, risk, ambiguity, preferred=False)
        log.phase("evaluating: median plan")
        median = _median_plan(program, assembly.data, risk, ambiguity)
        if median is not None:
            baselines[MEDIAN_PLAN] = median
    known = min((own for name, own in baselines.items() if name != DO_NOTHING), key=lambda own: own.objective)
    method: Any = solver.method
    plan: Result | None = None
    try:
        with heeded():
            log.phase("solving: the plan")
            plan = program.solve(
                risk=risk,
                ambiguity=ambiguity,
                method=method,
                start=known.first_stage if start is None else start,
                progress=log.bounds,
                client=client,
                checkpoint=checkpoint,
                **limits,
            )
    except (KeyboardInterrupt, LimitError) as error:
        # what was found after the last plan that was known is lost with the search, but not that plan
        if plan is None:
            status: Status = (
                "time_limit" if isinstance(error, LimitError) and error.status == "time_limit" else "interrupted"
            )
            best = program.evaluate(known.first_stage if start is None else start, risk, ambiguity)
            plan = replace(best, status=status)
    log.note(str(plan))
    log.note(f"method: {plan.provenance.get('method')}, {plan.provenance.get('method_chosen')}")
    return _compared(assembly, program, plan, baselines, log, client)


def _compared(
    assembly: Assembly,
    program: TwoStageProgram,
    plan: Result,
    baselines: dict[str, Result],
    log: _Logged,
    client: Any,
) -> _Outcome:
    """The plan with those that need a search of their own; the plan is not lost for one of them."""
    study, risk = assembly.study, risk_measure(assembly.study)
    ambiguity = ambiguity_set(study, assembly.data)
    table = None
    try:
        if plan.status == "interrupted" and (study.frontier or not isinstance(ambiguity, Nominal)):
            raise KeyboardInterrupt
        with heeded():
            if not isinstance(ambiguity, Nominal):
                log.phase("solving: the plan for the stated probabilities")
                nominal = program.solve(
                    risk,
                    method=study.solver.method,
                    gap=study.solver.mip_gap,
                    time_limit=study.solver.time_limit_s,
                    start=plan.first_stage,
                    progress=log.bounds,
                    client=client,
                    preferred=False,
                )
                log.note(f"for the stated probabilities: {nominal}")
                baselines[NOMINAL_PLAN] = program.evaluate(nominal.first_stage, risk, ambiguity, preferred=False)
                if nominal.status == "interrupted":
                    raise KeyboardInterrupt
            if study.frontier is not None:
                log.phase("solving: the frontier of cost against tail risk")
                table = frontier_of(assembly, program, plan.first_stage, client)
        known = _foreseen(assembly, program, plan, log, client)
    except (KeyboardInterrupt, SolveError) as error:
        why = str(error) or "interrupted"
        log.note(f"comparison left out: {why}")
        fix = "the plan stands as it is; run the study again for the comparison"
        left_out = Finding("comparison with other plans", f"left out: {why}", fix)
        return _Outcome(plan, baselines, None, (left_out,), Foresight(left_out=why))
    return _Outcome(plan, baselines, table, (), known)


def _foreseen(assembly: Assembly, program: TwoStageProgram, plan: Result, log: _Logged, client: Any) -> Foresight:
    """What perfect information would be worth; who interrupts that loses nothing else."""
    risk, ambiguity = risk_measure(assembly.study), ambiguity_set(assembly.study, assembly.data)
    try:
        with heeded():
            log.phase("bounding: the value of perfect information")
            return foresight(program, plan, risk, ambiguity, assembly.study.solver.mip_gap, client)
    except KeyboardInterrupt:
        return Foresight(left_out="interrupted")
    except Exception as error:
        # whatever stands against a figure beside the plan, the plan is not lost for it; log and report say what it was
        why = f"the search failed: {type(error).__name__}: {error}"
        log.note(f"value of perfect information left out: {why}")
        return Foresight(left_out=why)


def _median_plan(
    program: TwoStageProgram, data: xr.Dataset, risk: RiskMeasure, ambiguity: AmbiguitySet
) -> Result | None:
    """The cheapest plan with few hubs that are chosen by travel alone; None if each breaks a row, as a budget."""
    usable = int((data["hub_forced_out"] == 0).sum())
    least = max(int(data["hub_minimum"]), int((data["hub_forced_in"] == 1).sum()), 1)
    most = min(int(data["hub_maximum"]), usable, max(least, _MEDIAN_HUBS))
    found: list[Result] = []
    for hubs in range(least, most + 1):
        with suppress(InfeasibleError):
            found.append(program.evaluate(median_plan(data, hubs), risk, ambiguity, preferred=False))
    return min(found, key=lambda own: own.objective, default=None)


def _write(target: Path, assembly: Assembly, outcome: _Outcome, provenance: dict[str, Any], log: _Logged) -> RunFolder:
    """Certify the plan and write the folder; whatever stands against that, the plan is handed on."""
    try:
        return _written(target, assembly, outcome, provenance, log)
    except (Exception, KeyboardInterrupt) as error:
        plan = outcome.plan
        raise NotWrittenError(str(target), _why(error), table_of_plan(plan), summary_of_plan(plan)) from error


def _why(error: BaseException) -> str:
    if isinstance(error, KeyboardInterrupt):
        return "not written: interrupted once more while it was"
    if isinstance(error, InputError):
        return "; ".join(str(finding) for finding in error.findings)
    return unwritable(error)


def _written(
    target: Path, assembly: Assembly, outcome: _Outcome, provenance: dict[str, Any], log: _Logged
) -> RunFolder:
    plan = outcome.plan
    log.phase("certifying and writing the report")
    facts = {
        **provenance,
        "status": plan.status,
        OBJECTIVE: plan.objective,
        "lower_bound": plan.lower_bound,
        "upper_bound": plan.upper_bound,
        "gap": plan.gap,
        "solution": plan.provenance,
        "perfect_information": plain(outcome.foresight),
    }
    layers = {**assembly.layers, **plan_layers(assembly, plan)}
    inputs = report_input(assembly.study, assembly.data, layers, plan, outcome.baselines, facts, outcome.frontier)
    facts |= {"gap_of_benefit": gap_of_benefit(inputs), "certified": inputs.certificate.passed}
    facts |= {f"{OBJECTIVE}, {name}": result.objective for name, result in outcome.baselines.items()}
    facts |= money_facts(inputs)
    log.note(str(inputs.certificate))
    stayed = False

    def stays(_: Path, there: Path) -> bool:
        nonlocal stayed
        run = RunFolder(there)
        stayed = not run.faults() and not is_better(facts, run.provenance)
        return stayed

    with writing(target, own=_own, stays=stays, last=PROVENANCE) as folder, full_disk_told(target.parent):
        write_contents(folder, assembly.study, inputs, log.lines)
        seal(folder, facts)
    return RunFolder(target, stayed=stayed)


def _own(path: Path) -> set[str]:
    return RunFolder(path).own()
