"""How robust a study should be: candidate radii by cross-validation, what plans they give, and what these cost."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import Any, Final

import pandas as pd
import xarray as xr

from drofcm.config import NominalSet, StudyFile, WassersteinBall, resolved
from drofcm.core.dims import SCENARIO
from drofcm.core.errors import Finding, InputError, raise_if_any
from drofcm.core.interrupts import held
from drofcm.core.randomness import stream
from drofcm.problems import demand_shock
from drofcm.report.radius import finding, write_radius
from drofcm.risk.ambiguity import Nominal, Wasserstein, bind, describe
from drofcm.study.ambiguity import ambiguity_set
from drofcm.study.assemble import Assembly
from drofcm.study.folder import digest_files, digest_of
from drofcm.study.frontier import OWN, Family, Solved, solve_families, table_of, tail_level, tail_mixtures
from drofcm.study.publish import check_target, writing
from drofcm.study.risk import risk_measure
from drofcm.study.run import open_study
from drofcm.validate.crossvalidation import MULTIPLES, CrossValidation, candidate_radii, cross_validate

__all__ = ["MULTIPLES", "TAIL_WEIGHTS", "RadiusRun", "ball", "choose_radius", "distance_variables"]

TAIL_WEIGHTS: Final = (0.0, 0.5, 1.0)
FILES: Final = (
    *(f"{name}.{kind}" for name in ("radius", "frontier", "moves") for kind in ("csv", "parquet")),
    "radius.html",
)
"""What is written."""
_DISTANCE: Final = ("shock", "energised", "hub_available")


@dataclass(frozen=True)
class RadiusRun:
    """What was found about the radius.

    Attributes
    ----------
    finding
        Which radius is taken, in one sentence.
    folder
        ``radius.csv``, ``frontier.csv``, ``moves.csv`` (each also as parquet) and ``radius.html``.
    best
        Radius of the lowest held-out risk, in the unit of the distance.
    radius
        Index ``multiple``: ``radius``, ``share`` (of the mean distance of two events), what cross-validation found, and
        the plan on all events: the figures of `drofcm.study.frontier.solve_families`.
    frontier
        The same figures of the plan over the weight of the tail and the radius.
    moves
        Modules by hub and technology that plans ship more (or fewer) than the one of radius 0.
    """

    finding: str
    folder: Path
    best: float
    radius: pd.DataFrame
    frontier: pd.DataFrame
    moves: pd.DataFrame


def choose_radius(
    path: Path | str,
    runs: Path = Path("runs"),
    *,
    multiples: Sequence[float] = MULTIPLES,
    tail_weights: Sequence[float] = TAIL_WEIGHTS,
    folds: int = 5,
    gap: float | None = None,
    time_limit: float | None = None,
    client: Any = None,
    workers: int | None = None,
    progress: Callable[[str], None] | None = None,
) -> RadiusRun:
    """Cross-validate radii on the events of a study and write tables and page to ``<runs>/<name>-radius-<hash>``.

    Parameters
    ----------
    path
        The study file.
    runs
        Where run folders stand.
    multiples
        Candidate radii as multiples of the starting radius (`drofcm.candidate_radii`), rising from 0.
    tail_weights
        Weights lambda of the frontier: (1 - lambda) E + lambda CVaR at the largest confidence level of the study.
    folds
        Of the cross-validation.
    gap, time_limit
        In place of those of the study.
    client, workers
        As `drofcm.cross_validate`.
    progress
        Told what begins.

    Raises
    ------
    InputError
        With every fault of the study and of the arguments.
    """
    _check(multiples, tail_weights)
    tell = progress or (lambda _: None)
    tell("reading the study and its data")
    assembly = open_study(path, mip_gap=gap, time_limit_s=time_limit)
    study = assembly.study
    target = runs / f"{study.name}-radius-{_key(assembly, [list(multiples), list(tail_weights), folds])}"
    check_target(target, "--runs", lambda _: FILES, FILES)
    program = demand_shock.program(assembly.data)
    around = ball(study, assembly.data)
    radii = candidate_radii(program, around, multiples)
    sets = {multiple: _set(around, radius) for multiple, radius in radii.items()}
    settings: dict[str, Any] = {
        "method": study.solver.method,
        "gap": study.solver.mip_gap,
        "time_limit": study.solver.time_limit_s,
    }
    tell(f"cross-validation: {len(radii)} radii, {folds} folds")
    validation = cross_validate(
        program,
        sets,
        risk=risk_measure(study),
        folds=folds,
        rng=stream(study.seed, "folds"),
        client=client,
        workers=workers,
        **settings,
    )
    rate = float(assembly.data["event_rate"])
    alpha, measures = tail_level(study), tail_mixtures(study, tail_weights)
    tell(f"frontier: {len(measures)} risk measures, {len(radii)} radii")
    families = {name: Family(program, sets, risk, alpha, rate, study.seed, settings) for name, risk in measures.items()}
    found = solve_families(families, client, workers)
    facts = describe(bind(around, program.data), program.probability)
    own = _radius_table(radii, facts["mean_distance"], validation, found[OWN])
    tables = {name: table_of(plans).assign(radius=list(radii.values())) for name, plans in found.items()}
    frontier = pd.concat(tables, names=["risk"])
    moves = _moves(found[OWN])
    with held(), writing(target) as folder:
        for name, table in {"radius": own, "frontier": frontier, "moves": moves}.items():
            table.to_csv(folder / f"{name}.csv")
            table.reset_index().to_parquet(folder / f"{name}.parquet", index=False)
        write_radius(
            folder / "radius.html",
            study.title or study.name,
            str(around),
            alpha,
            len(validation.fold),
            validation.caution,
            own,
            frontier,
            moves,
        )
    said = finding(own, len(validation.fold), validation.caution)
    return RadiusRun(said, target, radii[float(validation.best)], own, frontier, moves)  # type: ignore[arg-type]


def _key(assembly: Assembly, choice: list[Any]) -> str:
    """What names the folder: study, inputs, what was asked for, version."""
    return digest_of(
        {
            "study": resolved(assembly.study),
            "inputs": digest_files(assembly.sources.files),
            "choice": choice,
            "drofcm": metadata.version("drofcm"),
        }
    )


def ball(study: StudyFile, data: xr.Dataset) -> Wasserstein:
    """The Wasserstein ball, of radius 0, in which the radius of a study is sought.

    That of the study's section ``ambiguity``; where it asks for none, one over every uncertain thing of its own.

    Raises
    ------
    InputError
        If the study asks for another kind of set: its radius is none of a Wasserstein ball.
    """
    if not isinstance(study.ambiguity, WassersteinBall | NominalSet):
        what = f"the radius that is chosen is that of a Wasserstein ball, the study asks for {study.ambiguity.kind}"
        raise InputError([Finding("ambiguity.kind", what, "make it wasserstein, or leave the section out")])
    if isinstance(study.ambiguity, WassersteinBall):
        asked = ambiguity_set(study, data)
        assert isinstance(asked, Wasserstein)
        return replace(asked, radius=0.0)
    return Wasserstein(0.0, over=distance_variables(data))


def distance_variables(data: xr.Dataset) -> str:
    """What distance between events is measured by: every uncertain thing of its own that differs between events."""
    return " ".join(name for name in _DISTANCE if bool((data[name] != data[name].isel({SCENARIO: 0})).any()))


def _check(multiples: Sequence[float], tail_weights: Sequence[float]) -> None:
    findings = []
    if not multiples or multiples[0] != 0 or list(multiples) != sorted(set(multiples)):
        findings.append(
            Finding("radius", f"multiples must rise from 0, got {list(multiples)}", "0 is the nominal plan")
        )
    findings += [
        Finding("tail weight", f"must lie within 0 and 1, got {weight:g}")
        for weight in tail_weights
        if not 0 <= weight <= 1
    ]
    raise_if_any(findings)


def _set(around: Wasserstein, radius: float) -> Nominal | Wasserstein:
    return Nominal() if radius == 0 else replace(around, radius=radius)


def _radius_table(
    radii: dict[float, float],
    distance: float,
    validation: CrossValidation,
    plans: Solved,
) -> pd.DataFrame:
    names = {"mean": "held_out_expected_cost", "gap": "largest_gap_of_folds"}
    # a yearly cost in which every event is one of the worst is no money that a year costs
    held_out = validation.table.drop(columns=["seconds", "cvar_0.9"]).rename(columns=names).rename_axis("multiple")
    held_out["draws_behind_score"] = validation.draws
    shipped = validation.plans["shipped"].sum(["supplier", "hub", "fcm"])
    spread_of = shipped.std("fold").to_series().rename("modules_sd_over_folds")
    table = pd.DataFrame({"radius": radii}).rename_axis("multiple")
    table["share"] = table["radius"] / distance
    table["best"] = table.index == validation.best
    return table.join(held_out).join(spread_of).join(table_of(plans))


def _moves(plans: Solved) -> pd.DataFrame:
    """Modules by hub and technology, and their change against radius 0; only what some plan ships."""
    shipped = {multiple: result.first_stage["shipped"].sum("supplier") for multiple, (result, _) in plans.items()}
    nominal = next(iter(shipped.values()))
    tables = []
    for multiple, own in shipped.items():
        table = own.round().to_series().rename("modules").to_frame()
        tables.append(table.assign(change=(own - nominal).round().to_series(), multiple=multiple).reset_index())
    moves = pd.concat(tables).set_index(["hub", "fcm", "multiple"])
    some = moves["modules"].groupby(level=["hub", "fcm"]).transform("max") > 0
    return moves[some].sort_index()
