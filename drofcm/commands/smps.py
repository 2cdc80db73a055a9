"""The command that solves standard SMPS problems."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from drofcm.commands.cluster import cluster
from drofcm.commands.console import STOPPED, Shown, out
from drofcm.commands.options import figure, positive
from drofcm.core.errors import Finding, InputError, NotWrittenError
from drofcm.core.files import check_file_target, unwritable
from drofcm.core.interrupts import heeded, held
from drofcm.solve.progress import ended

__all__ = ["smps"]


def smps(
    file: Annotated[Path, typer.Argument(help="Common stem, or one of the files", show_default=False)],
    core: Annotated[Path | None, typer.Option(help=".cor or .mps file, if its name differs")] = None,
    time: Annotated[Path | None, typer.Option(help=".tim file, if its name differs")] = None,
    stochastic: Annotated[Path | None, typer.Option(help=".sto file, if its name differs")] = None,
    reading: Annotated[
        Literal["standard", "core"],
        typer.Option(help="What a scenario changes: its parent, as the standard says, or the core"),
    ] = "standard",
    dro: Annotated[Path | None, typer.Option(help=".dro file: the worst case over its Wasserstein ball")] = None,
    method: Annotated[Literal["auto", "extensive", "lshaped"], typer.Option(help="How it is solved")] = "auto",
    gap: Annotated[float, typer.Option(help="Relative gap", min=0, callback=figure)] = 1e-4,
    time_limit: Annotated[float | None, typer.Option(help="Seconds", callback=positive)] = None,
    cvar: Annotated[
        float, typer.Option(help="Weight of CVaR; the expectation has the rest", min=0, max=1, callback=figure)
    ] = 0.0,
    alpha: Annotated[float, typer.Option(help="Confidence level of CVaR", min=0, max=1, callback=figure)] = 0.9,
    workers: Annotated[int | None, typer.Option(help="Local processes; all cores if left out", min=1)] = None,
    scheduler: Annotated[str | None, typer.Option(help="Running Dask scheduler, tcp://host:port")] = None,
    checkpoint: Annotated[Path | None, typer.Option(help="File that keeps what the search has learnt")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the checkpoint")] = False,
    save: Annotated[Path | None, typer.Option(help="Write the result here, netCDF")] = None,
) -> None:
    """Solve a two-stage problem in SMPS format (.cor, .tim, .sto)."""
    from drofcm.study.smps import solve_smps

    if method == "extensive" and (scheduler or checkpoint):
        what = "--scheduler" if scheduler else "--checkpoint"
        raise InputError([Finding(what, "the extensive form is solved in one piece", "choose --method lshaped")])
    if save is not None:
        check_file_target(save, "--save")
    # once there is a plan it is printed and written, whoever asks to stop
    with held():
        with heeded(), Shown("reading and solving", scale=1.0, unit="") as shown, cluster(scheduler) as client:
            result = solve_smps(
                file,
                core=core,
                time=time,
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
                progress=shown.bounds,
            )
        _print_smps(result)
        if save is not None:
            _save(result, save)
    if result.status != "optimal":
        raise typer.Exit(STOPPED)


def _save(result: Any, path: Path) -> None:
    from drofcm.study.kept import full_disk_told, table_of_columns

    try:
        with full_disk_told(path.parent):
            result.to_netcdf(path)
    except (Exception, KeyboardInterrupt) as error:
        raise NotWrittenError(str(path), unwritable(error), table_of_columns(result), str(result)) from error


def _print_smps(result: Any) -> None:
    facts, bounds = result.provenance, {"lower": result.lower_bound, "upper": result.upper_bound}
    origins = {name: facts[f"{name}_bound"] for name in bounds}
    objective = result.objective
    for note in filter(None, result.probability.attrs.get("notes", "").split("; ")):
        out.print(f"note: {note}")
    if result.probability.attrs.get("sense") == "max":
        out.print("note: maximised; figures are those of the maximum")
        objective, bounds = -objective, {"lower": -bounds["upper"], "upper": -bounds["lower"]}
        origins = {"lower": origins["upper"], "upper": origins["lower"]}
    out.print(f"method: {facts['method']} ({facts['method_chosen']}); {facts['seconds']:.1f} s")
    gap = f"gap {result.gap:.2e}" if math.isfinite(result.gap) else "no bound yet"
    out.print(f"{ended(result.status, result.gap)}: objective {objective:.10g}, {gap}")
    for name, bound in bounds.items():
        out.print(f"{name} bound {bound:.10g}: {origins[name]}")
    plan = result.first_stage["x"]
    chosen = {str(label): float(value) for label, value in plan.to_series().items() if value != 0}
    out.print("first stage: " + ", ".join(f"{label} {value:.6g}" for label, value in list(chosen.items())[:20]))
