"""What a report is made from, and the check that all of it fits together before anything is drawn."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final

import geopandas as gpd
import pandas as pd
import xarray as xr

from drofcm.core.errors import Finding, shorten
from drofcm.core.randomness import stream
from drofcm.solve.result import Result
from drofcm.validate.benefit import Benefit, benefit_of
from drofcm.validate.information import Foresight, StochasticSolution
from drofcm.validate.ledger import Certificate
from drofcm.validate.money import Money, formula, money_of

__all__ = ["DO_NOTHING", "EXPECTED_VALUE_PLAN", "LAYERS", "MEDIAN_PLAN", "NOMINAL_PLAN", "ReportInput", "check"]

DO_NOTHING: Final = "do nothing"
EXPECTED_VALUE_PLAN: Final = "expected-value plan"
MEDIAN_PLAN: Final = "median plan"
NOMINAL_PLAN: Final = "nominal plan"

LAYERS: Final = {"suppliers": "supplier", "hubs": "hub", "buses": "bus", "lines": "line"}
"""Layer names and the dimension of the data that column ``id`` of the layer labels."""

FIRST_STAGE_TERMS: Final = ("cost_hub_setup", "cost_transport", "cost_modules")
RECOURSE_TERMS: Final = (
    "cost_shortfall",
    "cost_interruption",
    "cost_dispatch",
    "cost_unserved_critical",
    "cost_unserved_flexible",
    "cost_unabsorbed",
    "cost_voltage_slack",
)


@dataclass(frozen=True)
class ReportInput:
    """Everything a report shows; nothing is computed by the report that a solver would have to answer.

    Attributes
    ----------
    title, description
        Heading of the page and one paragraph below it, plain text.
    data
        The labelled data of the study, as `drofcm.core.dims.DEMAND_SHOCK_DATA`. A text coordinate over ``scenario``
        called ``event_class`` (or ``event``, ``kind``) names the class of each event.
    plan
        The plan that is reported.
    baselines
        Plans to compare with, evaluated on the same scenarios: ``"do nothing"``, ``"expected-value plan"`` and, if
        there are, ``"median plan"``, whose hubs are chosen by travel alone, and ``"nominal plan"``, made for the stated
        probabilities where the plan is made for an ambiguity set.
    layers
        ``"suppliers"``, ``"hubs"``, ``"buses"`` (points) and ``"lines"``, in one projected coordinate system, with
        the labels of the data in column ``id`` and, if there is one, a name for people in column ``name``.
    certificate
        The solver-free check of the plan.
    quantities
        Computed from the solution: ``stabilisation_time`` [h] (scenario, node), infinite or NaN where the node is not
        stable by the end of the horizon; the rest is listed if scalar or over (scenario) or (fcm), with its ``units``.
    assumptions
        What the figures rest on, one sentence each.
    provenance
        Versions, seed, hashes and settings; nested mappings are flattened.
    alpha
        Confidence level of the VaR and CVaR that are shown.
    frontier
        Other plans by ``risk`` and ``multiple`` (of the size of the ambiguity set) with ``gap``, the figures of
        `drofcm.validate.money.Money`, ``ens`` [MWh an event], ``hubs`` and ``modules``; None if none were sought.
    seed
        From which years and resamples are drawn.
    foresight
        What it would be worth to know the event before the plan is made; None if nobody asked.
    """

    title: str
    description: str
    data: xr.Dataset
    plan: Result
    baselines: Mapping[str, Result]
    layers: Mapping[str, gpd.GeoDataFrame]
    certificate: Certificate
    quantities: xr.Dataset
    assumptions: Sequence[str]
    provenance: Mapping[str, Any] = field(default_factory=dict)
    alpha: float = 0.9
    frontier: pd.DataFrame | None = None
    seed: int = 0
    foresight: Foresight | None = None

    @property
    def plans(self) -> dict[str, Result]:
        """The plan and what it is compared with, in the order of the page."""
        order = [
            name for name in (NOMINAL_PLAN, EXPECTED_VALUE_PLAN, MEDIAN_PLAN, DO_NOTHING) if name in self.baselines
        ]
        return {"this plan": self.plan} | {name: self.baselines[name] for name in order}

    @property
    def event_rate(self) -> float:
        """Events a year."""
        return float(self.data["event_rate"])

    @cached_property
    def money(self) -> dict[str, Money]:
        """Every plan in money; all plans meet the same years."""
        return {
            name: money_of(result, self.event_rate, self.alpha, rng=stream(self.seed, "years"))
            for name, result in self.plans.items()
        }

    @cached_property
    def benefit(self) -> Benefit:
        """What the plan saves against doing nothing, and how sure that is."""
        nothing = self.baselines[DO_NOTHING]
        return benefit_of(self.plan, nothing, self.event_rate, self.alpha, rng=stream(self.seed, "benefit"))

    @property
    def stochastic_solution(self) -> StochasticSolution:
        """What planning with scenarios saves against planning for their mean, in the risk-weighted objective."""
        return StochasticSolution.between(self.plan, self.baselines[EXPECTED_VALUE_PLAN])

    @property
    def formula(self) -> str:
        """How the risk-weighted objective is made."""
        facts = self.plan.provenance
        return formula(str(facts.get("risk", "risk")), self.event_rate, str(facts.get("ambiguity", "nominal")))


def check(inputs: ReportInput) -> list[Finding]:
    """Every reason why the report could not be drawn or would show figures that do not belong together."""
    return [*_check_plans(inputs), *_check_layers(inputs), *_check_quantities(inputs)]


def _check_plans(inputs: ReportInput) -> Iterator[Finding]:
    if not 0 <= inputs.alpha < 1:
        yield Finding("alpha", f"confidence level must be in [0, 1), is {inputs.alpha:g}")
    plans = {"plan": inputs.plan}
    plans |= {f"baselines[{name!r}]": result for name, result in inputs.baselines.items()}
    for name in (DO_NOTHING, EXPECTED_VALUE_PLAN):
        if name not in inputs.baselines:
            yield Finding("baselines", f"{name!r} is missing", "evaluate it on the same scenarios")
    scenarios = inputs.data.indexes["scenario"]
    for where, result in plans.items():
        if not scenarios.equals(result.recourse_cost.indexes["scenario"]):
            yield Finding(where, "its scenarios are not those of the data", "evaluate it on the scenarios of the study")
        missing = [term for term in FIRST_STAGE_TERMS + RECOURSE_TERMS if term not in result.terms]
        if missing:
            yield Finding(f"{where}.terms", f"{shorten(missing)} missing", "record every cost term of the problem")


def _check_layers(inputs: ReportInput) -> Iterator[Finding]:
    systems = {}
    for name, dim in LAYERS.items():
        layer = inputs.layers.get(name)
        if layer is None:
            yield Finding("layers", f"{name!r} is missing", f"give a layer with the labels of {dim!r} in column 'id'")
            continue
        if layer.crs is None or not layer.crs.is_projected:
            stated = "none" if layer.crs is None else layer.crs.to_string()
            yield Finding(
                f"layers[{name!r}]",
                f"a projected coordinate system is needed, has {stated}",
                "layer.to_crs(layer.estimate_utm_crs())",
            )
        else:
            systems[name] = layer.crs
        if "id" not in layer:
            yield Finding(f"layers[{name!r}]", "column 'id' is missing", f"put the labels of {dim!r} there")
            continue
        absent = [label for label in inputs.data[dim].values if str(label) not in set(layer["id"].astype(str))]
        if absent:
            yield Finding(f"layers[{name!r}]", f"no geometry for {dim} {shorten(absent)}", "add the missing features")
    if len(set(systems.values())) > 1:
        named = ", ".join(f"{name} {crs.to_string()}" for name, crs in systems.items())
        yield Finding("layers", f"coordinate systems differ: {named}", "bring all layers to one with to_crs")


def _check_quantities(inputs: ReportInput) -> Iterator[Finding]:
    if "stabilisation_time" not in inputs.quantities:
        yield Finding("quantities", "'stabilisation_time' over (scenario, node) is missing")
        return
    for dim in ("scenario", "node"):
        if not inputs.quantities.indexes[dim].equals(inputs.data.indexes[dim]):
            yield Finding("quantities['stabilisation_time']", f"labels of {dim!r} are not those of the data")
