"""The command line: parse, call one function, print.

Exit codes: 0 done; 1 the input is wrong; 2 no plan exists; 3 stopped at a limit or by Ctrl-C, with a plan and valid
bounds; 4 stopped without a plan, nothing was written; 5 the plan failed its certificate.
"""

from __future__ import annotations

import json
import math
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.console import Console
from rich.table import Table

from drofcm.core.errors import DrofcmError, Finding, InfeasibleError, InputError

__all__ = ["app"]

app = typer.Typer(
    help="Siting and dispatching flexible capacity on grids with AI data centres.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
out = Console(soft_wrap=True, highlight=False)
err = Console(stderr=True, soft_wrap=True, highlight=False)

StudyPath = Annotated[Path, typer.Argument(help="Study file, study.yaml", show_default=False)]

WRONG_INPUT, INFEASIBLE, STOPPED, NOTHING_FOUND, NOT_CERTIFIED = 1, 2, 3, 4, 5
ANSWER_SECONDS = 10
"""How long a scheduler is given to answer, at the start and when its connection is lost."""


@app.command()
def new(
    name: Annotated[str, typer.Argument(help="Lower case, digits and underscore; the folder to make")],
    folder: Annotated[Path, typer.Option(help="Where to make it")] = Path("."),
) -> None:
    """Make a folder with a study file that runs as it is, every key explained, and the schema for editors."""
    from drofcm.study.template import new_study

    with _told():
        path = new_study(folder, name)
        out.print(f"{path}\nnext: drofcm validate {path}", markup=False)


@app.command()
def validate(study: StudyPath) -> None:
    """Check a study and everything it names; show its size, base case and hosting capacity. Nothing is solved."""
    from drofcm.study.survey import survey

    with _told():
        with out.status("reading the study and its data"):
            found = survey(study)
        _warn(found.findings)
        sizes = found.assembly.data.sizes
        names = ("scenario", "time", "node", "bus", "line", "hub", "supplier", "fcm")
        out.print("in order: " + ", ".join(f"{sizes[name]} {name}" for name in names))
        out.print(
            f"program: {found.variables:,} variables ({found.integers:,} integer), {found.rows:,} rows, "
            f"{found.nonzeros:,} non-zeros"
        )
        table = Table(
            "data centre at bus", "rating MW", "AC hosting capacity MW", title="What each bus alone can take on"
        )
        for centre in found.assembly.study.data_centres:
            room = float(found.hosting.sel(bus=centre.bus))
            table.add_row(centre.bus, f"{centre.rating_mw:g}", f"{room:.2f}")
        out.print(table)


@app.command()
def run(
    study: StudyPath,
    runs: Annotated[Path, typer.Option(help="Where run folders stand")] = Path("runs"),
    gap: Annotated[float | None, typer.Option(help="Relative gap, in place of solver.mip_gap", min=0)] = None,
    time_limit: Annotated[float | None, typer.Option(help="Seconds, in place of solver.time_limit_s", min=0)] = None,
    scheduler: Annotated[str | None, typer.Option(help="Running Dask scheduler, tcp://host:port")] = None,
    checkpoint: Annotated[Path | None, typer.Option(help="File that keeps what the search has learnt")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the checkpoint")] = False,
) -> None:
    """Run a study to its report, in <runs>/<name>-<hash>; an equal run that was finished is opened again."""
    from drofcm.study.run import run_study

    _stop_at_sigterm()
    with _told(), out.status("starting") as status, _cluster(scheduler) as client:
        from drofcm.study.run import run_study

        folder = run_study(
            study,
            runs,
            gap=gap,
            time_limit=time_limit,
            client=client,
            checkpoint=checkpoint,
            resume=resume,
            progress=_Shown(status),
        )
    facts = folder.provenance
    _warn([Finding(**finding) for finding in facts["warnings"]])
    if folder.reopened:
        out.print("an equal run is there already; nothing was solved")
    out.print(_headline(facts))
    out.print(str(folder.path / "report.html"), markup=False)
    if not facts["certified"]:
        err.print("the plan failed its certificate, see certificate.csv: do not use it", style="bold red")
        raise typer.Exit(NOT_CERTIFIED)
    if folder.status != "optimal":
        err.print(f"stopped early ({folder.status}): the plan and its bounds are valid, the gap is not reached")
        raise typer.Exit(STOPPED)


@app.command()
def smps(
    file: Annotated[Path, typer.Argument(help="Common stem, or one of the files", show_default=False)],
    stochastic: Annotated[Path | None, typer.Option(help=".sto file, if its name differs")] = None,
    reading: Annotated[
        Literal["standard", "core"],
        typer.Option(help="What a scenario changes: its parent, as the standard says, or the core"),
    ] = "standard",
    dro: Annotated[Path | None, typer.Option(help=".dro file: the worst case over its Wasserstein ball")] = None,
    method: Annotated[Literal["auto", "extensive", "lshaped"], typer.Option(help="How it is solved")] = "auto",
    gap: Annotated[float, typer.Option(help="Relative gap", min=0)] = 1e-4,
    time_limit: Annotated[float | None, typer.Option(help="Seconds", min=0)] = None,
    cvar: Annotated[float, typer.Option(help="Weight of CVaR; the expectation has the rest", min=0, max=1)] = 0.0,
    alpha: Annotated[float, typer.Option(help="Confidence level of CVaR", min=0, max=1)] = 0.9,
    workers: Annotated[int | None, typer.Option(help="Local processes; all cores if left out", min=1)] = None,
    scheduler: Annotated[str | None, typer.Option(help="Running Dask scheduler, tcp://host:port")] = None,
    checkpoint: Annotated[Path | None, typer.Option(help="File that keeps what the search has learnt")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the checkpoint")] = False,
    save: Annotated[Path | None, typer.Option(help="Write the result here, netCDF")] = None,
) -> None:
    """Solve a two-stage problem in SMPS format (.cor, .tim, .sto)."""
    from drofcm.study.smps import solve_smps

    _stop_at_sigterm()
    with _told():
        if method == "extensive" and (scheduler or checkpoint):
            what = "--scheduler" if scheduler else "--checkpoint"
            raise InputError([Finding(what, "the extensive form is solved in one piece", "choose --method lshaped")])
    with _told(), out.status("reading") as status, _cluster(scheduler) as client:
        result = solve_smps(
            file,
            stochastic=stochastic,
            reading=reading,
            dro=dro,
            method=method,
            gap=gap,
            time_limit=time_limit,
            cvar=cvar,
            alpha=alpha,
            workers=workers,
            client=client,
            checkpoint=checkpoint,
            resume=resume,
            progress=lambda seconds, low, high: status.update(f"{seconds:.0f} s, {low:,.6g} to {high:,.6g}"),
        )
        if save is not None:
            result.to_netcdf(save)
    _print_smps(result)
    if result.status != "optimal":
        raise typer.Exit(STOPPED)


@app.command()
def evaluate(
    study: StudyPath,
    plan: Annotated[Path, typer.Argument(help="CSV with columns supplier, hub, fcm, modules", show_default=False)],
) -> None:
    """Price your own plan on the events of a study, beside doing nothing."""
    from drofcm.study.plan import evaluate_plan, read_plan
    from drofcm.study.run import open_study, solve_do_nothing

    with _told(), out.status("reading the study and its data") as status:
        assembly = open_study(study)
        chosen = read_plan(plan, assembly.data)
        status.update("solving every event at the plan")
        results = {"your plan": evaluate_plan(assembly, chosen), "do nothing": solve_do_nothing(assembly)}
    _warn(assembly.findings)
    out.print(_comparison(results))


@app.command()
def radius(
    study: StudyPath,
    runs: Annotated[Path, typer.Option(help="Where run folders stand")] = Path("runs"),
    multiple: Annotated[list[float] | None, typer.Option(help="Of the starting radius, rising from 0")] = None,
    tail_weight: Annotated[list[float] | None, typer.Option(help="Of CVaR, for the frontier")] = None,
    folds: Annotated[int, typer.Option(help="Folds of the cross-validation", min=2)] = 5,
    gap: Annotated[float | None, typer.Option(help="Relative gap, in place of solver.mip_gap", min=0)] = None,
    time_limit: Annotated[float | None, typer.Option(help="Seconds of every search", min=0)] = None,
    workers: Annotated[int | None, typer.Option(help="Local processes; all cores if left out", min=1)] = None,
    scheduler: Annotated[str | None, typer.Option(help="Running Dask scheduler, tcp://host:port")] = None,
) -> None:
    """Choose the radius of robustness by cross-validation; show what it moves and the frontier of cost and tail."""
    from drofcm.study.radius import MULTIPLES, TAIL_WEIGHTS, choose_radius

    _stop_at_sigterm()
    with _told(), _cluster(scheduler) as client:
        found = choose_radius(
            study,
            runs,
            multiples=tuple(multiple or MULTIPLES),
            tail_weights=tuple(tail_weight or TAIL_WEIGHTS),
            folds=folds,
            gap=gap,
            time_limit=time_limit,
            client=client,
            workers=workers,
            progress=partial(out.print, markup=False),
        )
    out.print(found.finding, markup=False)
    out.print(str(found.folder / "radius.html"), markup=False)


@app.command()
def robustness(
    study: StudyPath,
    shifted: Annotated[Path, typer.Argument(help="Study file of what events are really like", show_default=False)],
    runs: Annotated[Path, typer.Option(help="Where run folders stand")] = Path("runs"),
    preset: Annotated[Literal["full", "ci"], typer.Option(help="Size of the experiment")] = "full",
    repetitions: Annotated[int | None, typer.Option(help="In place of the preset's", min=2)] = None,
    training: Annotated[int | None, typer.Option(help="Training events, in place of the preset's")] = None,
    fresh: Annotated[int | None, typer.Option(help="Fresh events, in place of the preset's")] = None,
    folds: Annotated[int | None, typer.Option(help="Folds, in place of the preset's")] = None,
    multiple: Annotated[list[float] | None, typer.Option(help="Of the starting radius, rising from 0")] = None,
    gap: Annotated[float | None, typer.Option(help="Relative gap, in place of the preset's", min=0)] = None,
    time_limit: Annotated[float | None, typer.Option(help="Seconds of every search", min=0)] = None,
    workers: Annotated[int | None, typer.Option(help="Local processes; all cores if left out", min=1)] = None,
    scheduler: Annotated[str | None, typer.Option(help="Running Dask scheduler, tcp://host:port")] = None,
) -> None:
    """Try plans from few events on many fresh ones of a shifted world; a run that was stopped goes on."""
    from drofcm.study.robustness import run_experiment_of

    _stop_at_sigterm()
    changes = {
        "repetitions": repetitions,
        "training": training,
        "fresh": fresh,
        "folds": folds,
        "multiples": tuple(multiple) if multiple else None,
        "gap": gap,
        "time_limit": time_limit,
    }
    with _told(), _cluster(scheduler) as client:
        tell = partial(out.print, markup=False)
        told = run_experiment_of(
            study, shifted, runs, preset=preset, changes=changes, client=client, workers=workers, progress=tell
        )
        for line in told:
            out.print(line, markup=False)


@app.command()
def scenarios(
    study: StudyPath,
    folder: Annotated[Path | None, typer.Option(help="Where to write; scenarios beside the study if left out")] = None,
    count: Annotated[int | None, typer.Option(help="How many, in place of events.scenarios", min=1)] = None,
    reduce: Annotated[int | None, typer.Option(help="Keep so many of them, with redistributed probability")] = None,
    by: Annotated[
        Literal["costs", "data"], typer.Option(help="Keep events by what they cost at pilot plans, or by their data")
    ] = "costs",
    pilots: Annotated[int, typer.Option(help="Pilot plans that are searched, beside doing nothing", min=0)] = 4,
    method: Annotated[
        Literal["forward", "backward", "k-medoids"], typer.Option(help="How they are chosen")
    ] = "forward",
    tail: Annotated[
        float | None, typer.Option(help="Share of each class whose worst events are kept apart; by data 0.1", min=0)
    ] = None,
    trace: Annotated[list[Path] | None, typer.Option(help="Measured power, CSV; may be repeated")] = None,
    scheduler: Annotated[str | None, typer.Option(help="Running Dask scheduler, tcp://host:port")] = None,
    chunk: Annotated[int | None, typer.Option(help="Scenarios per task", min=1)] = None,
) -> None:
    """Generate the events of a study, draw them, and write them to a file the study can point to."""
    from drofcm.study.scenarios import EVENTS_FILE, make_scenarios

    with _told(), out.status("generating") as status, _cluster(scheduler) as client:
        made = make_scenarios(
            study,
            folder,
            scenarios=count,
            reduce=reduce,
            by=by,
            pilots=pilots,
            method=method,
            tail=tail,
            traces=trace or (),
            client=client,
            chunk=chunk,
            progress=status.update,
        )
    table = Table("class", *made.classes.columns, title=f"{made.data.sizes['scenario']} events")
    for name, row in made.classes.iterrows():
        table.add_row(str(name), *(f"{value:.6g}" for value in row))
    out.print(table)
    if made.summary:
        out.print(made.summary, markup=False)
    out.print(f"{made.folder / EVENTS_FILE}\nto use it, name it in the study file: events: {{file: ...}}", markup=False)


@app.command()
def stability(
    study: StudyPath,
    scenarios: Annotated[int, typer.Option(help="Events that each plan is made from", min=1)] = 20,
    drawn: Annotated[int | None, typer.Option(help="Events drawn and reduced to these; as many if left out")] = None,
    repeats: Annotated[int, typer.Option(help="Ensembles, each with a seed of its own", min=2)] = 5,
    reference: Annotated[int, typer.Option(help="Events that every plan is judged by", min=1)] = 100,
    by: Annotated[
        Literal["costs", "data"], typer.Option(help="Reduce by what events cost at pilot plans, or by their data")
    ] = "costs",
    pilots: Annotated[int, typer.Option(help="Pilot plans of a reduction, beside doing nothing", min=0)] = 4,
    gap: Annotated[float | None, typer.Option(help="Relative gap of each search", min=0)] = None,
    time_limit: Annotated[float | None, typer.Option(help="Seconds of each search", min=0)] = None,
) -> None:
    """Show how far the plan depends on which events were drawn: in-sample and out-of-sample stability."""
    from drofcm.study.stability import study_stability

    with _told(), out.status("reading the study and its data") as status:
        found = study_stability(
            study,
            scenarios=scenarios,
            drawn=drawn,
            repeats=repeats,
            reference=reference,
            by=by,
            pilots=pilots,
            gap=gap,
            time_limit=time_limit,
            progress=status.update,
        )
    table = Table(
        "ensemble", "events", "in sample", "lower bound", "out of sample", "in - out", title="Cost of plans, k$/a"
    )
    for name, row in found.table.iterrows():
        costs = (f"{row[column] / 1e3:,.1f}" for column in ("in_sample", "lower_bound", "out_of_sample", "promise"))
        table.add_row(str(name), f"{row['scenarios']:.0f}", *costs)
    out.print(table)
    out.print(str(found), markup=False)


@app.command()
def report(folder: Annotated[Path, typer.Argument(help="Run folder", show_default=False)]) -> None:
    """Draw the report of a run folder again, from its files alone."""
    from drofcm.study.contents import rebuild_report

    with _told():
        out.print(str(rebuild_report(folder)), markup=False)


@app.command()
def criticality(
    folder: Annotated[Path, typer.Argument(help="Run folder", show_default=False)],
    hub: Annotated[list[str] | None, typer.Option(help="Hub to look at, may be repeated; all if left out")] = None,
    within: Annotated[float, typer.Option(help="Share of extra cost up to which a plan is near-optimal", min=0)] = 0.01,
    gap: Annotated[float, typer.Option(help="Relative gap of each search", min=0)] = 0.01,
    time_limit: Annotated[float | None, typer.Option(help="Seconds for each search", min=0)] = 120.0,
    workers: Annotated[int | None, typer.Option(help="Searches at a time; all cores if left out", min=1)] = None,
    save: Annotated[Path | None, typer.Option(help="Write the table here, CSV")] = None,
) -> None:
    """What each candidate hub is worth: the cost of forcing open hubs out and closed ones in, one search a hub."""
    from drofcm.study.regret import criticality_of_run

    with _told(), out.status("one search a hub"):
        table = criticality_of_run(folder, hub, within=within, gap=gap, time_limit=time_limit, workers=workers)
        if save is not None:
            table.to_csv(save)
    shown = Table("hub", "in the plan", "forced", "costs at least k$/a", "at most", f"plans within {within:.0%}")
    for name, row in table.iterrows():
        amounts = [f"{row[bound] / 1e3:,.1f}" for bound in ("extra_at_least", "extra_at_most")]
        shown.add_row(str(name), "open" if row["open"] else "closed", row["force"], *amounts, row["role"])
    out.print(shown)


@app.command()
def schema() -> None:
    """Print the JSON schema of study files."""
    from drofcm.config import json_schema

    typer.echo(json.dumps(json_schema(), indent=2))


def _stop_at_sigterm() -> None:
    """Schedulers end a job with SIGTERM: it stops the search as Ctrl-C does, and the plan so far is written."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)


_QUIET = 20.0
"""Seconds after which a log that is no terminal hears of the bounds again."""


class _Shown:
    """Shows the phase and the bounds of a run."""

    def __init__(self, status: Any) -> None:
        self._status = status
        self._phase = ""
        self._best = math.inf
        self._told = 0.0

    def phase(self, name: str) -> None:
        self._phase = name
        self._status.update(name)
        if not out.is_terminal:
            out.print(name)

    def bounds(self, seconds: float, lower: float, upper: float) -> None:
        gap = (upper - lower) / abs(upper) if math.isfinite(upper) and math.isfinite(lower) else math.inf
        line = f"{self._phase}: {seconds:.0f} s, {lower / 1e3:,.1f} to {upper / 1e3:,.1f} k$/a, gap {gap:.2%}"
        self._status.update(line)
        if not out.is_terminal and (upper < self._best or seconds > self._told + _QUIET):
            out.print(line)
            self._told = seconds
        self._best = min(upper, self._best)


@contextmanager
def _cluster(scheduler: str | None) -> Iterator[Any]:
    """A client of a running scheduler, or None."""
    if scheduler is None:
        yield None
        return
    from distributed import Client

    try:
        client = Client(scheduler, timeout=ANSWER_SECONDS)
    except (OSError, ValueError) as error:
        raise InputError([Finding("--scheduler", f"no scheduler answers at {scheduler!r}: {error}")]) from None
    with client:
        yield client


@contextmanager
def _told() -> Iterator[None]:
    """Every error that is meant for people as a message and an exit code, never as a traceback."""
    try:
        yield
    except InputError as error:
        for finding in error.findings:
            err.print(str(finding), markup=False)
        raise typer.Exit(WRONG_INPUT) from None
    except InfeasibleError as error:
        err.print(str(error), markup=False)
        raise typer.Exit(INFEASIBLE) from None
    except DrofcmError as error:
        err.print(str(error), markup=False)
        raise typer.Exit(NOTHING_FOUND) from None
    except KeyboardInterrupt:
        err.print("interrupted before there was a plan; nothing was written")
        raise typer.Exit(NOTHING_FOUND) from None


def _warn(findings: Any) -> None:
    for finding in findings:
        err.print(f"warning: {finding}", markup=False, style="yellow")


def _headline(facts: dict[str, Any]) -> str:
    nothing, expected = facts["objective, do nothing"], facts["objective, expected-value plan"]
    cost, bound = facts["objective"], facts["lower_bound"]
    benefit = facts["gap_of_benefit"]
    return (
        f"{facts['status']}: {cost / 1e3:,.1f} k$/a, no plan costs less than {bound / 1e3:,.1f}; "
        f"gap {facts['gap']:.2%} of the cost, {benefit:.2%} of (do nothing - lower bound)\n"
        f"do nothing {nothing / cost - 1:+.0%}, expected-value plan {expected / cost - 1:+.0%}"
    )


def _print_smps(result: Any) -> None:
    facts, bounds = result.provenance, {"lower": result.lower_bound, "upper": result.upper_bound}
    origins = {name: facts[f"{name}_bound"] for name in bounds}
    objective = result.objective
    for note in filter(None, result.probability.attrs.get("notes", "").split("; ")):
        out.print(f"note: {note}", markup=False)
    if result.probability.attrs.get("sense") == "max":
        out.print("note: maximised; figures are those of the maximum")
        objective, bounds = -objective, {"lower": -bounds["upper"], "upper": -bounds["lower"]}
        origins = {"lower": origins["upper"], "upper": origins["lower"]}
    out.print(f"method: {facts['method']} ({facts['method_chosen']}); {facts['seconds']:.1f} s")
    out.print(f"{result.status}: objective {objective:.10g}, gap {result.gap:.2e}")
    for name, bound in bounds.items():
        out.print(f"{name} bound {bound:.10g}: {origins[name]}")
    plan = result.first_stage["x"]
    chosen = {str(label): float(value) for label, value in plan.to_series().items() if value != 0}
    out.print("first stage: " + ", ".join(f"{label} {value:.6g}" for label, value in list(chosen.items())[:20]))


def _comparison(results: dict[str, Any]) -> Table:
    table = Table("k$/a", *results, title="The plan on the events of the study")
    table.add_row("objective", *(f"{result.objective / 1e3:,.1f}" for result in results.values()))
    for term in ("cost_hub_setup", "cost_transport", "cost_modules"):
        name = term.removeprefix("cost_").replace("_", " ")
        table.add_row(name, *(f"{float(result.terms[term]) / 1e3:,.1f}" for result in results.values()))
    mean = [float((result.recourse_cost * result.probability).sum()) for result in results.values()]
    table.add_row("events, expected", *(f"{cost / 1e3:,.1f}" for cost in mean))
    unserved = [
        float((result.terms["unserved_energy"].sum("node") * result.probability).sum()) for result in results.values()
    ]
    table.add_row("unserved, MWh an event", *(f"{energy:,.3f}" for energy in unserved))
    return table
