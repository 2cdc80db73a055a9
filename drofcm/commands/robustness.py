"""Commands about robustness against events that are not well known."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from drofcm.commands.cluster import cluster
from drofcm.commands.console import NOTHING_FOUND, StudyPath, err, out
from drofcm.commands.options import figure, figures, positive

__all__ = ["radius", "robustness"]


def radius(
    study: StudyPath,
    runs: Annotated[Path, typer.Option(help="Where run folders stand")] = Path("runs"),
    multiple: Annotated[
        list[float] | None, typer.Option(help="Of the starting radius, rising from 0", callback=figures)
    ] = None,
    tail_weight: Annotated[list[float] | None, typer.Option(help="Of CVaR, for the frontier", callback=figures)] = None,
    folds: Annotated[int, typer.Option(help="Folds of the cross-validation", min=2)] = 5,
    gap: Annotated[
        float | None, typer.Option(help="Relative gap, in place of solver.mip_gap", min=0, callback=figure)
    ] = None,
    time_limit: Annotated[float | None, typer.Option(help="Seconds of every search", callback=positive)] = None,
    workers: Annotated[int | None, typer.Option(help="Local processes; all cores if left out", min=1)] = None,
    scheduler: Annotated[str | None, typer.Option(help="Running Dask scheduler, tcp://host:port")] = None,
) -> None:
    """Choose the radius of robustness by cross-validation; show what it moves and the frontier of cost and tail."""
    from drofcm.study.radius import MULTIPLES, TAIL_WEIGHTS, choose_radius

    with cluster(scheduler) as client:
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
            progress=out.print,
        )
    out.print(found.finding)
    out.print(str(found.folder / "radius.html"))


def robustness(
    study: StudyPath,
    shifted: Annotated[Path, typer.Argument(help="Study file of what events are really like", show_default=False)],
    runs: Annotated[Path, typer.Option(help="Where run folders stand")] = Path("runs"),
    preset: Annotated[Literal["full", "ci"], typer.Option(help="Size of the experiment")] = "full",
    repetitions: Annotated[int | None, typer.Option(help="In place of the preset's", min=2)] = None,
    training: Annotated[int | None, typer.Option(help="Training events, in place of the preset's")] = None,
    fresh: Annotated[int | None, typer.Option(help="Fresh events, in place of the preset's")] = None,
    folds: Annotated[int | None, typer.Option(help="Folds, in place of the preset's")] = None,
    multiple: Annotated[
        list[float] | None, typer.Option(help="Of the starting radius, rising from 0", callback=figures)
    ] = None,
    gap: Annotated[
        float | None, typer.Option(help="Relative gap, in place of the preset's", min=0, callback=figure)
    ] = None,
    time_limit: Annotated[float | None, typer.Option(help="Seconds of every search", callback=positive)] = None,
    workers: Annotated[int | None, typer.Option(help="Local processes; all cores if left out", min=1)] = None,
    scheduler: Annotated[str | None, typer.Option(help="Running Dask scheduler, tcp://host:port")] = None,
) -> None:
    """Try plans from few events on many fresh ones of a shifted world; a run that was stopped goes on."""
    from drofcm.study.robustness import run_experiment_of

    changes = {
        "repetitions": repetitions,
        "training": training,
        "fresh": fresh,
        "folds": folds,
        "multiples": tuple(multiple) if multiple else None,
        "gap": gap,
        "time_limit": time_limit,
    }
    try:
        with cluster(scheduler) as client:
            lines = run_experiment_of(
                study, shifted, runs, preset=preset, changes=changes, client=client, workers=workers, progress=out.print
            )
    except KeyboardInterrupt:
        err.print("interrupted; what is done is kept, and the same command goes on from there")
        raise typer.Exit(NOTHING_FOUND) from None
    for line in lines:
        out.print(line)
