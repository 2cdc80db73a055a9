"""Commands that make, check, run and look at one study."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from rich.table import Table

from drofcm.commands.cluster import cluster
from drofcm.commands.console import (
    DONE,
    NOT_CERTIFIED,
    STOPPED,
    Shown,
    StudyPath,
    err,
    out,
    say,
    warn,
    working,
)
from drofcm.commands.money import money_table
from drofcm.commands.options import figure, positive
from drofcm.core.errors import Finding, NotWrittenError
from drofcm.core.files import check_file_target, unwritable, whole_file
from drofcm.core.interrupts import heeded, held
from drofcm.solve.progress import ended

if TYPE_CHECKING:
    import pandas as pd

    from drofcm.study.folder import RunFolder

DO_NOTHING: Final = "do nothing"
_EQUAL: Final = 1e-9
"""Costs that differ by less, as a share, are equal."""

__all__ = ["criticality", "evaluate", "new", "report", "run", "validate"]


def new(
    name: Annotated[str, typer.Argument(help="Lower case, digits and underscore; the folder to make")],
    folder: Annotated[Path, typer.Option(help="Where to make it")] = Path("."),
) -> None:
    """Make a folder with a study file that runs as it is, every key explained, and the schema for editors."""
    from drofcm.study.template import new_study

    path = new_study(folder, name)
    out.print(f"{path}\nnext: drofcm validate {path}")


def validate(study: StudyPath) -> None:
    """Check a study and everything it names; show its size, base case and hosting capacity. Nothing is solved."""
    from drofcm.study.survey import survey

    with working("reading the study and its data"):
        found = survey(study)
    warn(found.findings)
    sizes = found.assembly.data.sizes
    names = ("scenario", "time", "node", "bus", "line", "hub", "supplier", "fcm")
    out.print("in order: " + ", ".join(f"{sizes[name]} {name}" for name in names))
    out.print(
        f"program: {found.variables:,} variables ({found.integers:,} integer), {found.rows:,} rows, "
        f"{found.nonzeros:,} non-zeros"
    )
    table = Table("data centre at bus", "rating MW", "AC hosting capacity MW", title="What each bus alone can take on")
    for centre in found.assembly.study.data_centres:
        room = float(found.hosting.sel(bus=centre.bus))
        table.add_row(centre.bus, f"{centre.rating_mw:g}", f"{room:.2f}")
    out.print(table)


def run(
    study: StudyPath,
    runs: Annotated[Path, typer.Option(help="Where run folders stand")] = Path("runs"),
    gap: Annotated[
        float | None, typer.Option(help="Relative gap, in place of solver.mip_gap", min=0, callback=figure)
    ] = None,
    time_limit: Annotated[
        float | None, typer.Option(help="Seconds, in place of solver.time_limit_s", callback=positive)
    ] = None,
    scheduler: Annotated[str | None, typer.Option(help="Running Dask scheduler, tcp://host:port")] = None,
    checkpoint: Annotated[Path | None, typer.Option(help="File that keeps what the search has learnt")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the checkpoint")] = False,
) -> None:
    """Run a study to its report, in <runs>/<name>-<hash>; an equal run that was finished is opened again."""
    from drofcm.study.run import run_study

    # what is shown of a run that is written is shown, whoever asks to stop
    with held():
        with Shown("starting", unit="k$/a risk-weighted") as shown, _heeded_cluster(scheduler) as client:
            folder = run_study(
                study,
                runs,
                gap=gap,
                time_limit=time_limit,
                client=client,
                checkpoint=checkpoint,
                resume=resume,
                progress=shown,
            )
        raise typer.Exit(_show_run(folder))


@contextmanager
def _heeded_cluster(scheduler: str | None) -> Iterator[Any]:
    """`cluster`, whose connecting may be interrupted."""
    with ExitStack() as stack:
        with heeded():
            client = stack.enter_context(cluster(scheduler))
        yield client


def _show_run(folder: RunFolder) -> int:
    """Print where a run stands; its exit code."""
    facts = folder.provenance
    warn([Finding(**finding) for finding in facts["warnings"]])
    if folder.reopened:
        out.print("an equal run is there already; nothing was solved")
    if folder.stayed:
        out.print("the run that is there is at least as good and stays; this is what it says")
    for sentence in facts["told"]:
        say(sentence)
    figures = dict(sorted(facts["money"].items(), key=lambda own: own[0] != "this plan"))
    out.print(money_table(figures, facts["alpha"], "Plans in money, and the objective that was minimised"))
    out.print(_bounds(facts))
    out.print(str(folder.path / "report.html"))
    if not facts["certified"]:
        err.print("the plan failed its certificate, see certificate.csv: do not use it", style="bold red")
        return NOT_CERTIFIED
    if folder.status != "optimal":
        bounds = (
            "its bounds are valid, the gap is not reached" if facts["lower_bound"] > -math.inf else "has no bound yet"
        )
        err.print(f"stopped early ({folder.status}): the plan is valid and {bounds}")
        return STOPPED
    return DONE


def evaluate(
    study: StudyPath,
    plan: Annotated[Path, typer.Argument(help="CSV with columns supplier, hub, fcm, modules", show_default=False)],
) -> None:
    """Price your own plan on the events of a study, beside doing nothing."""
    from drofcm.report.evidence import sure
    from drofcm.study.plan import evaluate_plan, judged, read_plan
    from drofcm.study.run import open_study, solve_do_nothing

    with working("reading the study and its data") as tell:
        assembly = open_study(study)
        chosen = read_plan(plan, assembly.data)
        tell("solving every event at the plan")
        results = {"your plan": evaluate_plan(assembly, chosen), DO_NOTHING: solve_do_nothing(assembly)}
        tell("simulating years")
        found = judged(assembly, *results.values())
    warn(assembly.findings)
    figures = dict(zip(results, (own.figures for own in found.money), strict=True))
    table = money_table(figures, found.alpha, "The plan on the events of the study")
    table.add_row("unserved, MWh an event", *(f"{energy:,.3f}" for energy in found.unserved))
    out.print(table)
    say(sure(found.benefit, found.rate))
    say(f"Risk-weighted objective: {found.formula}.")


def report(folder: Annotated[Path, typer.Argument(help="Run folder", show_default=False)]) -> None:
    """Draw the report of a run folder again, from its files alone."""
    from drofcm.study.contents import rebuild_report

    with working("drawing the report"):
        path = rebuild_report(folder)
    out.print(str(path))


def criticality(
    folder: Annotated[Path, typer.Argument(help="Run folder", show_default=False)],
    hub: Annotated[list[str] | None, typer.Option(help="Hub to look at, may be repeated; all if left out")] = None,
    within: Annotated[
        float, typer.Option(help="Share of extra cost up to which a plan is near-optimal", min=0, callback=figure)
    ] = 0.01,
    gap: Annotated[float, typer.Option(help="Relative gap of each search", min=0, callback=figure)] = 0.01,
    time_limit: Annotated[float | None, typer.Option(help="Seconds for each search", callback=positive)] = 120.0,
    workers: Annotated[int | None, typer.Option(help="Searches at a time; all cores if left out", min=1)] = None,
    save: Annotated[Path | None, typer.Option(help="Write the table here, CSV")] = None,
) -> None:
    """What each candidate hub is worth: the cost of forcing open hubs out and closed ones in, one search a hub."""
    from drofcm.study.regret import criticality_of_run

    if save is not None:
        check_file_target(save, "--save")
    with working("one search a hub"):
        table = criticality_of_run(folder, hub, within=within, gap=gap, time_limit=time_limit, workers=workers)
    with held():
        out.print(_criticality(table, within))
        if save is not None:
            try:
                with whole_file(save) as unfinished:
                    table.to_csv(unfinished)
            except OSError as error:
                raise NotWrittenError(str(save), unwritable(error), table.to_csv(), what="table") from error


def _criticality(table: pd.DataFrame, within: float) -> Table:
    shown = Table(
        "hub", "in the plan", "forced", "expected k$/a", "objective at least", "at most", f"plans within {within:.0%}",
        title="What forcing a hub adds: to the expected cost of the best plan found, to the risk-weighted objective",
    )  # fmt: skip
    for name, row in table.iterrows():
        columns = ("extra_expected", "extra_at_least", "extra_at_most")
        amounts = [f"{row[column] / 1e3:+,.1f}" if row[column] == row[column] else "–" for column in columns]
        shown.add_row(str(name), "open" if row["open"] else "closed", row["force"], *amounts, row["role"])
    return shown


def _bounds(facts: dict[str, Any]) -> str:
    """How the search ended, in the risk-weighted objective."""
    from drofcm.study.folder import OBJECTIVE

    cost, bound, benefit = facts[OBJECTIVE], facts["lower_bound"], facts["gap_of_benefit"]
    head = f"{ended(facts['status'], facts['gap'])}: risk-weighted objective {cost / 1e3:,.1f} k$/a"
    if bound == -math.inf:
        return f"{head}, no bound yet"
    head += f", no plan has less than {bound / 1e3:,.1f}; gap {facts['gap']:.2%} of it"
    if math.isfinite(benefit):
        return f"{head}, {benefit:.2%} of (do nothing - lower bound)"
    nothing = facts.get(f"{OBJECTIVE}, {DO_NOTHING}", math.inf)
    return f"{head}; it has more than doing nothing" if nothing < cost * (1 - _EQUAL) else head
