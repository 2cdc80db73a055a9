"""Plans along the weight of the tail and the size of the ambiguity set: what safety costs, and what it changes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np
import pandas as pd
import xarray as xr

from drofcm.config import StudyFile
from drofcm.core.randomness import stream
from drofcm.dsl.program import TwoStageProgram
from drofcm.risk.ambiguity import (
    AmbiguitySet,
    KullbackLeibler,
    ModifiedChiSquared,
    Nominal,
    TotalVariation,
    Wasserstein,
)
from drofcm.risk.measures import CVaR, Expectation, WeightedSum
from drofcm.solve.result import Result
from drofcm.solve.spread import spread
from drofcm.study.ambiguity import ambiguity_set
from drofcm.study.assemble import Assembly
from drofcm.study.risk import risk_measure
from drofcm.validate.money import money_of

__all__ = ["OWN", "Family", "Solved", "frontier_of", "solve_families", "table_of", "tail_level", "tail_mixtures"]

OWN: Final = "as in the study"
"""The family of plans that weigh mean and tail as the study does."""

Solved = dict[float, tuple[Result, dict[str, float]]]
"""Plan and figures by multiple of the size of the set."""


@dataclass(frozen=True)
class Family:
    """Plans of one risk measure along growing ambiguity sets.

    Attributes
    ----------
    program
        The program.
    sets
        Ambiguity sets by multiple, from the nominal distribution (0) on.
    risk
        What they minimise.
    alpha
        Confidence level of the tail that is reported.
    rate, seed
        Events a year, and from which years are drawn.
    settings
        Of each search, as `TwoStageProgram.solve`.
    start
        A plan that the first search starts from; each of the others starts from the plan before it.
    """

    program: TwoStageProgram
    sets: Mapping[float, AmbiguitySet]
    risk: WeightedSum
    alpha: float
    rate: float
    seed: int
    settings: Mapping[str, Any] = field(default_factory=dict)
    start: xr.Dataset | None = None


def frontier_of(assembly: Assembly, program: TwoStageProgram, start: xr.Dataset, client: Any) -> pd.DataFrame:
    """The frontier that the section ``frontier`` of a study asks for.

    Returns
    -------
    pandas.DataFrame
        Index ``risk``, ``multiple`` (of the size of the study's ambiguity set; for sets without a radius 0, nominal,
        and 1, the set). Columns as `solve_families`.
    """
    study = assembly.study
    asked = study.frontier
    assert asked is not None, "nothing asks for a frontier"
    sets = _sizes(ambiguity_set(study, assembly.data), asked.multiples)
    settings = {"method": study.solver.method, "gap": study.solver.mip_gap, "time_limit": study.solver.time_limit_s}
    families = {
        name: Family(
            program, sets, risk, tail_level(study), float(assembly.data["event_rate"]), study.seed, settings, start
        )
        for name, risk in tail_mixtures(study, asked.tail_weights).items()
    }
    found = solve_families(families, client)
    return pd.concat({name: table_of(plans) for name, plans in found.items()}, names=["risk"])


def solve_families(families: Mapping[str, Family], client: Any, workers: int | None = None) -> dict[str, Solved]:
    """Plans of every family, families side by side.

    Returns
    -------
    dict
        By family and multiple the plan and its figures: those of `drofcm.validate.money.Money`, ``gap``, ``ens`` [MWh
        an event], ``hubs``, ``modules`` and ``price`` (of robustness: what the plan's risk-weighted objective is more
        than that of the nominal plan under the stated probabilities, share). ``risk_weighted_objective`` is over the
        ambiguity set, all other money under the stated probabilities.
    """
    return dict(zip(families, spread(_solve_family, list(families.values()), client, workers), strict=True))


def table_of(plans: Solved) -> pd.DataFrame:
    """The figures of a family by ``multiple``."""
    rows = [figures for _, figures in plans.values()]
    return pd.DataFrame(rows, index=pd.Index(list(plans), name="multiple"))


def tail_level(study: StudyFile) -> float:
    """Confidence level of the tail, as in the report: the largest of the study, 0.9 if it names none."""
    return max((tail.alpha for tail in study.risk.cvar), default=0.9)


def tail_mixtures(study: StudyFile, tail_weights: Sequence[float]) -> dict[str, WeightedSum]:
    """The risk measure of the study, and (1 - w) E + w CVaR for each weight w where it differs from that."""
    own, alpha = risk_measure(study), tail_level(study)
    mixtures = [_mixture(weight, alpha) for weight in tail_weights]
    return {OWN: own} | {str(risk): risk for risk in mixtures if str(risk) != str(own)}


def _mixture(weight: float, alpha: float) -> WeightedSum:
    terms = ((1 - weight, Expectation()), (weight, CVaR(alpha)))
    return WeightedSum(tuple((share, term) for share, term in terms if share > 0))


def _sizes(ambiguity: AmbiguitySet, multiples: Sequence[float]) -> dict[float, AmbiguitySet]:
    if isinstance(ambiguity, Nominal):
        return {0.0: ambiguity}
    if isinstance(ambiguity, TotalVariation):
        return {m: replace(ambiguity, radius=min(m * ambiguity.radius, 1.0)) if m else Nominal() for m in multiples}
    if isinstance(ambiguity, Wasserstein | ModifiedChiSquared | KullbackLeibler):
        return {m: replace(ambiguity, radius=m * ambiguity.radius) if m else Nominal() for m in multiples}
    return {0.0: Nominal(), 1.0: ambiguity}


def _solve_family(family: Family) -> Solved:
    found: Solved = {}
    program, start, nominal = family.program, family.start, None
    for multiple, ambiguity in family.sets.items():
        result = program.solve(family.risk, ambiguity, start=start, workers=1, preferred=False, **family.settings)
        start = result.first_stage
        judged = program.evaluate(start, family.risk, preferred=False)
        nominal = judged.objective if nominal is None else nominal
        money = money_of(judged, family.rate, family.alpha, rng=stream(family.seed, "years"))
        energy = (judged.terms["ens"].sum("node") * judged.probability).sum()
        found[multiple] = (
            result,
            {
                **money.figures,
                "risk_weighted_objective": result.objective,
                "gap": result.gap,
                "ens": float(energy),
                "hubs": float(start["hub_active"].sum()),
                "modules": float(start["shipped"].sum()),
                "price": judged.objective / nominal - 1 if nominal else np.nan,
            },
        )
    return found
