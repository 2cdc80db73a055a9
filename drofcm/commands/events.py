"""Commands about the events of a study: generating them, and how far the plan hangs on which were drawn."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, Literal

import typer
from rich.table import Table

from drofcm.commands.cluster import cluster
from drofcm.commands.console import StudyPath, out, working
from drofcm.commands.options import figure, positive

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["scenarios", "stability"]


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
        float | None,
        typer.Option(help="Share of each class whose worst events are kept apart; by data 0.1", min=0, callback=figure),
    ] = None,
    trace: Annotated[list[Path] | None, typer.Option(help="Measured power, CSV; may be repeated")] = None,
    time: Annotated[str | None, typer.Option(help="Column of stamps in the traces; the first if left out")] = None,
    power: Annotated[str | None, typer.Option(help="Column of power in the traces")] = None,
    unit: Annotated[str | None, typer.Option(help="W, kW or MW, if that column's name does not say it")] = None,
    time_unit: Annotated[
        str | None, typer.Option(help="ns, us, ms, s, min, h or d, if the name of the stamps does not say it")
    ] = None,
    longest_gap_s: Annotated[
        float | None, typer.Option(help="Seconds that readings of the traces may be apart", min=0)
    ] = None,
    scheduler: Annotated[str | None, typer.Option(help="Running Dask scheduler, tcp://host:port")] = None,
    chunk: Annotated[int | None, typer.Option(help="Scenarios per task", min=1)] = None,
) -> None:
    """Generate the events of a study, draw them, and write them to a file the study can point to."""
    from drofcm.study.scenarios import EVENTS_FILE, make_scenarios

    columns = {"time": time, "power": power, "unit": unit, "time_unit": time_unit, "longest_gap_s": longest_gap_s}
    with working("generating") as tell, cluster(scheduler) as client:
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
            columns={name: value for name, value in columns.items() if value is not None},
            client=client,
            chunk=chunk,
            progress=tell,
        )
    table = Table("class", *made.classes.columns, title=f"{made.data.sizes['scenario']} events")
    for name, row in made.classes.iterrows():
        table.add_row(str(name), *(f"{value:.6g}" for value in row))
    out.print(table)
    if made.summary:
        out.print(made.summary)
    out.print(f"{made.folder / EVENTS_FILE}\nto use it, name it in the study file: events: {{file: ...}}")


_EXPECTED: Final = {"in sample": "mean_in_sample", "out of sample": "mean_out_of_sample"}
_OBJECTIVE: Final = {
    "in sample": "in_sample",
    "lower bound": "lower_bound",
    "out of sample": "out_of_sample",
    "in - out": "promise",
}


def _costs(found: pd.DataFrame, title: str, columns: Mapping[str, str]) -> Table:
    table = Table("ensemble", "events", *columns, title=title)
    for name, row in found.iterrows():
        costs = (f"{row[column] / 1e3:,.1f}" for column in columns.values())
        table.add_row(str(name), f"{row['scenarios']:.0f}", *costs)
    return table


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
    gap: Annotated[float | None, typer.Option(help="Relative gap of each search", min=0, callback=figure)] = None,
    time_limit: Annotated[float | None, typer.Option(help="Seconds of each search", callback=positive)] = None,
) -> None:
    """Show how far the plan depends on which events were drawn: in-sample and out-of-sample stability."""
    from drofcm.study.stability import study_stability

    with working("reading the study and its data") as tell:
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
            progress=tell,
        )
    out.print(_costs(found.table, "Expected cost of plans, k$/a", _EXPECTED))
    out.print(_costs(found.table, "Risk-weighted objective of plans (no cash), k$/a", _OBJECTIVE))
    out.print(f"of the risk-weighted objective: {found}")
