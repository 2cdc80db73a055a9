"""The study file: what it may say, and every fault in it at once, with file, line and column.

Every quantity carries its unit in the name of its key. Defaults are the parameter set under which the main study was
developed; `drofcm new` writes them all out, so that nothing a study rests on stays hidden.
"""

from __future__ import annotations

import contextlib
import math
import re
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Final, Literal, NamedTuple, Self, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, TypeAdapter, ValidationError, model_validator
from pydantic_core import ErrorDetails, PydanticCustomError

from drofcm.core.document import Document
from drofcm.core.errors import Finding, InputError, raise_if_any, suggest

__all__ = [
    "Ambiguity",
    "Area",
    "Candidates",
    "Catalogue",
    "ChiSquaredBall",
    "CommonSet",
    "Contract",
    "DataCentre",
    "EntropyBall",
    "Events",
    "FeederSection",
    "Hubs",
    "IntervalSet",
    "MomentBands",
    "Nodes",
    "NominalSet",
    "Penalties",
    "Plant",
    "Risk",
    "Shares",
    "Solver",
    "StepGroup",
    "StudyFile",
    "Tail",
    "TotalVariationBall",
    "WassersteinBall",
    "Weather",
    "json_schema",
    "load_study",
    "resolved",
]

Location = tuple[str | int, ...]


class Broken(NamedTuple):
    """A rule between keys that does not hold: the key to blame (relative), what clashed and how to fix it."""

    loc: Location
    what: str
    fix: str


def _as_label(value: Any) -> Any:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


Label = Annotated[str, BeforeValidator(_as_label), Field(min_length=1)]
Labels = Annotated[tuple[Label, ...], Field(strict=False)]
LayerName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]+$")]
Share = Annotated[float, Field(ge=0, le=1)]
NotNegative = Annotated[float, Field(ge=0)]
Positive = Annotated[float, Field(gt=0)]
Slug = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]


class Section(BaseModel):
    """One mapping of the study file: unknown keys are refused, values are never converted, instances never change."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    def rules(self) -> Iterator[Broken]:
        """Rules between the keys of this section that do not hold."""
        return iter(())

    @model_validator(mode="after")
    def _obey_rules(self) -> Self:
        broken = list(self.rules())
        if broken:
            text = "; ".join(f"{'.'.join(map(str, rule.loc))}: {rule.what} ({rule.fix})" for rule in broken)
            raise PydanticCustomError("rules", "{text}", {"text": text, "broken": broken})
        return self


def _twice(labels: Labels, key: str) -> Iterator[Broken]:
    for place, label in enumerate(labels):
        if label in labels[:place]:
            yield Broken((key, place), f"{label!r} is listed twice", "keep one")


class FeederSection(Section):
    """The feeder and its limits."""

    name: str = Field(
        default="ieee33", min_length=1, description="dataset under datasets/feeders, or a folder beside this file"
    )
    source_voltage_pu: Positive = Field(default=1.045, description="voltage at the source bus")
    voltage_minimum_pu: Positive = Field(default=0.95, description="lower limit of every monitored bus")
    voltage_maximum_pu: Positive = Field(default=1.05, description="upper limit of every monitored bus")
    tan_phi: NotNegative = Field(default=0.25, description="reactive over active power of a shock")
    monitored_buses: Labels | None = Field(default=None, description="buses whose voltage is limited; null: all")
    monitored_lines: Labels | None = Field(default=None, description="lines whose rating is enforced; null: all")

    def rules(self) -> Iterator[Broken]:
        """Order of the voltage limits; labels listed twice."""
        if self.voltage_minimum_pu >= self.voltage_maximum_pu:
            yield Broken(
                ("voltage_minimum_pu",),
                f"{self.voltage_minimum_pu:g} is not below voltage_maximum_pu {self.voltage_maximum_pu:g}",
                "exchange or correct the two limits",
            )
        for key in ("monitored_buses", "monitored_lines"):
            yield from _twice(getattr(self, key) or (), key)


class Area(Section):
    """Where suppliers, hubs and buses stand, and how roads connect them."""

    name: str = Field(default="loudoun", min_length=1, description="layers under geo, or a folder beside this file")
    crs: str = Field(default="EPSG:32618", description="projected CRS in which distances are measured")
    detour: Annotated[float, Field(ge=1)] = Field(default=1.3, description="road distance over straight line")
    road_speed_km_h: Positive = Field(default=40.0, description="mean speed on the road")
    distances: str | None = Field(
        default=None, description="CSV beside this file with columns supplier, hub, distance_km; null: from the layers"
    )
    roads: LayerName | None = Field(
        default=None, description="layer of roads, ways follow it; null: straight line, detour and road_speed_km_h"
    )
    snap_limit_m: Positive = Field(default=500.0, description="how far a place may lie from the nearest road")
    hazards: LayerName | None = Field(
        default=None, description="layer of zones that events may flood: roads close there and hubs are out of use"
    )
    closed_h: NotNegative = Field(default=24.0, description="how long roads stay closed after the onset")

    def rules(self) -> Iterator[Broken]:
        """Keys without effect."""
        for key in ("detour", "road_speed_km_h"):
            if self.roads is not None and key in self.model_fields_set:
                yield Broken((key,), "has no effect when ways follow roads", f"remove {key} or roads")
        if self.roads is None and "snap_limit_m" in self.model_fields_set:
            yield Broken(("snap_limit_m",), "has no effect without roads", "remove it, or name the layer of roads")
        if (self.roads is None or self.hazards is None) and "closed_h" in self.model_fields_set:
            yield Broken(("closed_h",), "has no effect without roads and hazards", "remove it, or name both layers")


class Contract(Section):
    """Stock of a technology in place of a column of the suppliers layer."""

    technology: Label = Field(description="label of the catalogue")
    modules: Annotated[int, Field(ge=0)] = Field(description="modules that every supplier has")
    data_centres_only: bool = Field(default=False, description="whether it is part of a data centre: no other node")


class Catalogue(Section):
    """The technologies that may be sited."""

    name: str = Field(
        default="fcm_2026", min_length=1, description="dataset under datasets/catalogue, or a folder beside this file"
    )
    contracts: Annotated[tuple[Contract, ...], Field(strict=False)] = Field(
        default=(), description="stock of technologies that the suppliers layer does not list"
    )

    def rules(self) -> Iterator[Broken]:
        """Technologies listed twice."""
        yield from _twice(tuple(contract.technology for contract in self.contracts), "contracts")


class Candidates(Section):
    """Candidate hubs found in layers, in place of a layer of hubs."""

    method: Literal["parcels", "grid", "poisson_disc", "clusters"] = Field(
        description="middle of each parcel, points in areas, or places amid volatile load"
    )
    layer: LayerName = Field(description="parcels or areas (polygons), or clusters (points with volatile_mw)")
    spacing_m: Positive | None = Field(default=None, description="grid, poisson_disc: distance between candidates")
    count: Annotated[int, Field(ge=1)] | None = Field(default=None, description="clusters: number of candidates")
    keep_out: Annotated[tuple[LayerName, ...], Field(strict=False)] = Field(
        default=(), description="layers of zones in which nothing may stand, with their buffer_m"
    )
    setup_cost_usd_per_a: NotNegative | None = Field(default=None, description="of each; null: column of the layer")
    storage_slots: NotNegative | None = Field(default=None, description="of each; null: column of the layer")

    def rules(self) -> Iterator[Broken]:
        """What each method needs, and what has no effect on it; clusters state no cost."""
        needed = {"grid": "spacing_m", "poisson_disc": "spacing_m", "clusters": "count"}.get(self.method)
        for key in ("spacing_m", "count"):
            given = getattr(self, key) is not None
            if key == needed and not given:
                yield Broken((key,), f"missing: method {self.method} needs it", f"give {key}")
            if key != needed and given:
                yield Broken((key,), f"has no effect on method {self.method}", f"remove {key}")
        for key in ("setup_cost_usd_per_a", "storage_slots"):
            if self.method == "clusters" and getattr(self, key) is None:
                yield Broken((key,), "missing: clusters have none of their own", f"give {key}")
        yield from _twice(self.keep_out, "keep_out")


class Hubs(Section):
    """How many hubs, and which."""

    candidates: Candidates | None = Field(
        default=None, description="how candidates are found in layers; null: those of the layer hubs"
    )

    minimum: Annotated[int, Field(ge=0)] = Field(default=0, description="least number of hubs")
    maximum: Annotated[int, Field(ge=0)] | None = Field(default=None, description="largest number; null: no limit")
    forced_in: Labels = Field(default=(), description="hubs that must be opened")
    forced_out: Labels = Field(default=(), description="hubs that must not be opened")

    def rules(self) -> Iterator[Broken]:
        """Order of the counts; hubs both in and out; more hubs forced in than allowed."""
        if self.maximum is not None and self.minimum > self.maximum:
            yield Broken(("minimum",), f"{self.minimum} is above maximum {self.maximum}", "lower it or raise maximum")
        if self.maximum is not None and len(set(self.forced_in)) > self.maximum:
            yield Broken(
                ("forced_in",),
                f"{len(set(self.forced_in))} hubs are forced in, maximum is {self.maximum}",
                "force fewer or raise maximum",
            )
        for place, hub in enumerate(self.forced_in):
            if hub in self.forced_out:
                yield Broken(("forced_in", place), f"{hub!r} is forced in and out at once", "remove it from one list")
        yield from _twice(self.forced_in, "forced_in")
        yield from _twice(self.forced_out, "forced_out")


class DataCentre(Section):
    """A data centre on the feeder."""

    bus: Label = Field(description="bus that feeds it")
    rating_mw: Positive = Field(description="largest surge above the running load")
    running_mw: NotNegative = Field(default=0.5, description="load before the event, which a drop can take away")


class Shares(Section):
    """Shares of the kinds of events; they sum to one."""

    surge: Share = 0.5
    training: Share = 0.15
    drop: Share = 0.2
    fault: Share = 0.15
    storm: Share = 0.0
    storm_surge: Share = 0.0

    def rules(self) -> Iterator[Broken]:
        """Shares sum to one."""
        total = sum(self.model_dump().values())
        if not math.isclose(total, 1, abs_tol=1e-6):
            yield Broken(
                (), f"{' + '.join(type(self).model_fields)} is {total:g}, not 1", "shares of events must sum to 1"
            )


class Plant(Section):
    """A generator on the feeder, which runs before the event."""

    bus: Label = Field(description="bus it feeds into")
    kind: Literal["dg", "pv"] = Field(description="dg: engine or turbine; pv: photovoltaics")
    output_mw: Positive = Field(description="output before the event, at most the feeder's load at the bus")


class Weather(Section):
    """Storms: how strong they are and what they can reach."""

    exposed_lines: Labels | None = Field(
        default=None, description="overhead lines; null: those that a fault may put out"
    )
    gust_m_s: Positive = Field(default=32.0, description="median of the largest gust of a storm")
    gust_spread: NotNegative = Field(default=0.2, description="standard deviation of its logarithm")
    local_spread: NotNegative = Field(default=0.1, description="the same from place to place in one storm")
    correlation_km: Positive = Field(default=5.0, description="distance over which gusts are alike")
    line_median_m_s: Positive = Field(default=45.0, description="gust at which one half of the kilometres of line fail")
    line_spread: Positive = Field(default=0.2, description="standard deviation of its logarithm")
    hub_median_m_s: Positive = Field(default=50.0, description="gust at which one half of the hubs are cut off")
    hub_spread: Positive = Field(default=0.2, description="standard deviation of its logarithm")

    def rules(self) -> Iterator[Broken]:
        """Lines listed twice."""
        yield from _twice(self.exposed_lines or (), "exposed_lines")


_GENERATOR_KEYS: Final = frozenset({"scenarios", "shares", "fault_lines", "weather", "matrix"})


class Events(Section):
    """The events a plan is made for: generated with the study's seed, or read from a file."""

    rate_per_year: Positive = Field(default=24.0, description="events in a year")
    scenarios: Annotated[int, Field(ge=1)] = Field(default=20, description="number of events to generate")
    shares: Shares = Field(default=Shares(), description="what kinds of events there are; they sum to 1")
    fault_lines: Labels | None = Field(
        default=None, description="lines that a fault may put out; null: all that feed at most half of the load"
    )
    hub_outage_probability: Share = Field(default=0.03, description="chance that the event puts a hub out of use")
    weather: Weather | None = Field(default=None, description="what storms do; null: no share is on storms")
    matrix: str | None = Field(
        default=None,
        description="CSV beside this file with columns event, location, probability, in place of shares; null: shares",
    )
    file: str | None = Field(
        default=None,
        description="netCDF beside this file, as drofcm scenarios writes it; null: generate",
    )

    def rules(self) -> Iterator[Broken]:
        """Lines listed twice; keys without effect."""
        yield from _twice(self.fault_lines or (), "fault_lines")
        if self.file is not None:
            for key in sorted(_GENERATOR_KEYS & self.model_fields_set):
                yield Broken((key,), "has no effect on events that are read from a file", f"remove {key} or file")
        elif self.matrix is not None:
            for key in sorted({"shares", "fault_lines", "weather"} & self.model_fields_set):
                yield Broken((key,), "has no effect: the matrix says what happens", f"remove {key} or matrix")
        elif (self.shares.storm + self.shares.storm_surge > 0) != (self.weather is not None):
            what = "a share is on storms, but" if self.weather is None else "no share is on storms, but weather"
            yield Broken(
                ("shares",) if self.weather is None else ("weather",),
                f"{what} {'weather is null' if self.weather is None else 'is given'}",
                "weather: {} takes the defaults" if self.weather is None else "give storm a share, or remove weather",
            )


class StepGroup(Section):
    """Steps of equal length."""

    count: Annotated[int, Field(ge=1)] = Field(description="number of steps")
    length: Positive = Field(description="length of each, minutes")


class Nodes(Section):
    """What is asked of the nodes, and what the supply can do for them."""

    stabilise_within_h: Positive = Field(default=0.5, description="time allowed to stabilise, T_i")
    interruption_h: NotNegative | None = Field(
        default=None, description="interruption charged when not stabilised; null: as stabilise_within_h"
    )
    band_mw: NotNegative = Field(default=0.1, description="imbalance that counts as stable")
    critical_share: Share = Field(default=0.6, description="share of base load and data-centre rating served first")
    supply_ramp_mw_h: NotNegative = Field(default=2.4, description="how fast the supply of a node follows")
    supply_headroom_mw: NotNegative = Field(default=0.4, description="how far the supply of a node follows")
    feeder_headroom_mw: NotNegative = Field(default=1.2, description="how far it follows, all nodes together")
    requirement_margin: Annotated[float, Field(ge=1)] = Field(
        default=1.25, description="modules a node can use over what it needs, so that types can substitute"
    )


class Penalties(Section):
    """What it costs not to serve."""

    unserved_per_mwh: NotNegative = Field(default=5000.0, description="$, interruption of a node not stabilised, gamma")
    critical_per_mwh: NotNegative = Field(default=15000.0, description="$, unserved critical energy")
    flexible_per_mwh: NotNegative = Field(default=4000.0, description="$, unserved flexible energy")
    surplus_per_mwh: NotNegative = Field(default=800.0, description="$, energy of a drop that is not absorbed")
    voltage_slack_per_pu2_h: NotNegative = Field(default=2e6, description="$, violation of a voltage limit, squared pu")

    def rules(self) -> Iterator[Broken]:
        """Critical load is worth at least as much as flexible load."""
        if self.critical_per_mwh < self.flexible_per_mwh:
            yield Broken(
                ("critical_per_mwh",),
                f"{self.critical_per_mwh:g} is below flexible_per_mwh {self.flexible_per_mwh:g}",
                "critical load is served first, so it must cost at least as much",
            )


class Tail(Section):
    """One CVaR term."""

    alpha: Annotated[float, Field(ge=0, lt=1)] = Field(description="confidence level; 0.9 averages the worst 10 %")
    weight: NotNegative = Field(description="weight of the term")


class Risk(Section):
    """Weights of the risk measures of the yearly recourse cost."""

    expectation: NotNegative = Field(default=0.5, description="weight of the mean")
    cvar: Annotated[tuple[Tail, ...], Field(strict=False)] = Field(
        default=(Tail(alpha=0.9, weight=0.5),), description="weights of means of the worst share"
    )
    worst_case: NotNegative = Field(default=0.0, description="weight of the worst scenario")

    @property
    def total(self) -> float:
        """Sum of the weights."""
        return self.expectation + self.worst_case + sum(tail.weight for tail in self.cvar)

    def rules(self) -> Iterator[Broken]:
        """At least one weight is positive."""
        if self.total <= 0:
            yield Broken((), "all weights are zero, so events would cost nothing", "give one of them a weight")


class NominalSet(Section):
    """The stated probabilities and no other."""

    kind: Literal["nominal"] = "nominal"


class WassersteinBall(Section):
    """Probability may move between events, at a cost that grows with their distance."""

    kind: Literal["wasserstein"]
    radius: NotNegative = Field(description="largest mean distance that probability is moved; 0: nominal")
    over: Annotated[Labels, Field(min_length=1)] = Field(
        default=("shock",), description="variables that distance is measured by, each in units of its deviation"
    )
    norm: Literal[1, 2, "inf"] = Field(default=1, description="norm of the distance")
    order: Annotated[float, Field(ge=1)] = Field(default=1.0, description="order of the distance")
    by_duration: bool = Field(default=True, description="steps count by their length")


class TotalVariationBall(Section):
    """Some of the probability may move anywhere."""

    kind: Literal["total_variation"]
    radius: Share = Field(description="probability that may be moved; 0: nominal")


class MomentBands(Section):
    """Means and variances of variables stay within bands; the distribution is free otherwise."""

    kind: Literal["moments"]
    over: Annotated[Labels, Field(min_length=1)] = Field(default=("shock",), description="variables, entry by entry")
    mean_deviations: NotNegative | None = Field(
        default=None, description="half-width of the band of means, nominal standard deviations; null: free"
    )
    variance_low: Annotated[float, Field(ge=0, le=1)] | None = Field(
        default=None, description="lower bound of second moments over nominal variances; null: 0"
    )
    variance_high: Annotated[float, Field(ge=1)] | None = Field(
        default=None, description="upper bound of second moments over nominal variances; null: none"
    )

    def rules(self) -> Iterator[Broken]:
        """Something is bounded."""
        if self.mean_deviations is None and self.variance_low is None and self.variance_high is None:
            yield Broken((), "bounds no moment", "give mean_deviations, variance_low or variance_high")


class IntervalSet(Section):
    """The probability of every event lies in an interval."""

    kind: Literal["probability_box"]
    lower: Share = Field(default=0.0, description="least probability of an event")
    upper: Share = Field(default=1.0, description="largest probability of an event")

    def rules(self) -> Iterator[Broken]:
        """Order of the bounds."""
        if self.lower > self.upper:
            yield Broken(("lower",), f"{self.lower:g} is above upper {self.upper:g}", "exchange the two")


class ChiSquaredBall(Section):
    """Euclidean distance between the probabilities."""

    kind: Literal["modified_chi_squared"]
    radius: NotNegative = Field(description="largest distance; 0: nominal")


class EntropyBall(Section):
    """Relative entropy to the nominal probabilities."""

    kind: Literal["kullback_leibler"]
    radius: NotNegative = Field(description="largest relative entropy, nats; 0: nominal")


Polyhedron = Annotated[WassersteinBall | TotalVariationBall | MomentBands | IntervalSet, Field(discriminator="kind")]


class CommonSet(Section):
    """What lies in all of several sets."""

    kind: Literal["intersection"]
    sets: Annotated[tuple[Polyhedron, ...], Field(strict=False)] = Field(
        description="two sets or more; divergence balls cannot be among them"
    )

    def rules(self) -> Iterator[Broken]:
        """Two sets at least."""
        if len(self.sets) < 2:
            yield Broken(("sets",), f"lists {len(self.sets)}, an intersection needs two", "list more, or use its kind")


Ambiguity = Annotated[
    NominalSet
    | WassersteinBall
    | TotalVariationBall
    | MomentBands
    | IntervalSet
    | ChiSquaredBall
    | EntropyBall
    | CommonSet,
    Field(discriminator="kind"),
]

_POLYHEDRAL: Final = ("wasserstein", "total_variation", "moments", "probability_box")
_AMBIGUITY: Final[dict[str, type[Section]]] = {
    get_args(section.model_fields["kind"].annotation)[0]: section for section in get_args(get_args(Ambiguity)[0])
}


class Solver(Section):
    """How, and how far, the program is solved."""

    method: Literal["auto", "extensive", "lshaped"] = Field(
        default="auto", description="auto chooses by size; extensive: one program; lshaped: decomposition by scenario"
    )
    mip_gap: Annotated[float, Field(ge=0, lt=1)] = Field(default=0.01, description="relative gap at which to stop")
    time_limit_s: Positive | None = Field(default=600.0, description="seconds; null: no limit")


class StudyFile(Section):
    """A study, complete and consistent in itself; what it names is checked against the data when it is assembled."""

    name: Slug = Field(description="lower case, digits and underscore; names the run folder")
    title: str = Field(default="", description="one line for the head of the report")
    description: str = Field(default="", description="the question of the study, for the report")
    problem: Literal["demand_shock"] = "demand_shock"
    seed: Annotated[int, Field(ge=0)] = Field(description="every random draw depends on it")
    feeder: FeederSection = FeederSection()
    area: Area = Area()
    catalogue: Catalogue = Catalogue()
    hubs: Hubs = Hubs()
    budget_per_year: NotNegative | None = Field(default=None, description="$, limit of first-stage cost; null: none")
    data_centres: Annotated[tuple[DataCentre, ...], Field(strict=False)]
    plants: Annotated[tuple[Plant, ...], Field(strict=False)] = Field(
        default=(), description="generators on the feeder that run before the event and may trip"
    )
    events: Events = Events()
    steps_min: Annotated[tuple[StepGroup, ...], Field(strict=False)] = Field(
        default=tuple(
            StepGroup(count=count, length=length)
            for count, length in ((15, 1.0), (3, 5.0), (2, 15.0), (2, 30.0), (1, 60.0), (1, 120.0), (1, 180.0))
        ),
        description="steps after the onset, minutes",
    )
    nodes: Nodes = Nodes()
    penalties: Penalties = Penalties()
    risk: Risk = Risk()
    ambiguity: Ambiguity = Field(
        default=NominalSet(), description="which distributions of events the plan is made for; nominal: as generated"
    )
    solver: Solver = Solver()

    @property
    def step_hours(self) -> tuple[float, ...]:
        """Length of every step, h."""
        return tuple(group.length / 60 for group in self.steps_min for _ in range(group.count))

    def rules(self) -> Iterator[Broken]:
        """Rules between sections."""
        sections = {name: getattr(self, name) for name in type(self).model_fields}
        return _across(sections)


def _horizon(nodes: Nodes, steps_min: tuple[StepGroup, ...]) -> Iterator[Broken]:
    if not steps_min:
        yield Broken(("steps_min",), "has no steps", "list at least one group: {count: 15, length: 1}")
        return
    horizon = sum(group.count * group.length for group in steps_min) / 60
    last = horizon - steps_min[-1].length / 60
    if nodes.stabilise_within_h > last + 1e-9:
        yield Broken(
            ("nodes", "stabilise_within_h"),
            f"{nodes.stabilise_within_h:g} h is beyond the horizon: steps_min end at {horizon:g} h and no step starts "
            "at or after it, so nothing would say whether a node is stable",
            "add steps or lower stabilise_within_h",
        )


def _one_per_bus(data_centres: tuple[DataCentre, ...]) -> Iterator[Broken]:
    if not data_centres:
        yield Broken(("data_centres",), "lists no data centre", "list at least one: {bus: ..., rating_mw: ...}")
    seen: set[str] = set()
    for place, centre in enumerate(data_centres):
        if centre.bus in seen:
            yield Broken(("data_centres", place, "bus"), f"bus {centre.bus!r} is given twice", "merge them")
        seen.add(centre.bus)


_ACROSS: Final[tuple[tuple[tuple[str, ...], Callable[..., Iterator[Broken]]], ...]] = (
    (("nodes", "steps_min"), _horizon),
    (("data_centres",), _one_per_bus),
)


def _across(sections: dict[str, Any]) -> Iterator[Broken]:
    for names, rule in _ACROSS:
        if all(name in sections for name in names):
            yield from rule(*(sections[name] for name in names))


def load_study(path: Path | str) -> StudyFile:
    """Read and check a study file.

    Parameters
    ----------
    path
        A YAML 1.2 file.

    Raises
    ------
    InputError
        With every fault of the file as ``study.yaml:5:3: solver.mip_gpa: unknown key (did you mean 'mip_gap'?)``:
        syntax, duplicate keys, unknown keys, missing keys, wrong types, values out of range, rules between keys.
    """
    document = Document.read(Path(path))
    try:
        study = StudyFile.model_validate(document.values)
    except ValidationError as error:
        broken = [fault for details in error.errors() for fault in _faults(details)]
        broken += [rule for rule in _across(_valid_sections(document.values)) if rule not in broken]
        broken.sort(key=lambda fault: document.position(fault.loc))
        findings = [Finding(document.where(loc), what, fix) for loc, what, fix in broken]
        raise InputError([*document.findings, *findings]) from None
    raise_if_any(document.findings)
    return study


def _valid_sections(values: dict[str, Any]) -> dict[str, Any]:
    """The sections that are in order by themselves, so that the rules between them can still be checked."""
    sections = {}
    for name, field in StudyFile.model_fields.items():
        if name in values:
            # a faulty section has been reported already
            with contextlib.suppress(ValidationError):
                sections[name] = _adapter(name).validate_python(values[name])
        elif not field.is_required():
            sections[name] = field.get_default()
    return sections


@cache
def _adapter(name: str) -> TypeAdapter[Any]:
    field = StudyFile.model_fields[name]
    annotation: Any = Annotated[field.annotation, field]
    return TypeAdapter(annotation)


def _faults(details: ErrorDetails) -> Iterator[Broken]:
    """What one finding of pydantic means in the words of this file."""
    tagged = details["loc"]
    loc = tuple(part for place, part in enumerate(tagged) if not _is_tag(tagged, place))
    if details["type"] == "rules":
        yield from (Broken((*loc, *rule.loc), rule.what, rule.fix) for rule in details["ctx"]["broken"])
    elif details["type"] == "extra_forbidden":
        yield Broken(loc, "unknown key", suggest(str(loc[-1]), _keys_at(tagged[:-1])))
    elif details["type"] in ("union_tag_invalid", "union_tag_not_found"):
        kinds = list(_AMBIGUITY) if loc == ("ambiguity",) else [kind for kind in _AMBIGUITY if kind in _POLYHEDRAL]
        given = details["ctx"].get("tag")
        if given is None:
            yield Broken(loc, "the key kind is missing", f"one of {', '.join(kinds)}")
        else:
            yield Broken((*loc, "kind"), f"{given!r} is no kind of ambiguity set", suggest(str(given), kinds))
    elif details["type"] == "missing":
        yield Broken(loc, "missing", "the key has no default")
    else:
        must = re.sub(r"^(Input|String) should ", "must ", details["msg"]).replace("valid tuple", "list")
        yield Broken(loc, f"{must}, got {details['input']!r}", "")


def _is_tag(loc: Location, place: int) -> bool:
    """Whether a part of pydantic's path names the kind of an ambiguity set, which is no level of the file."""
    before = loc[:place]
    return loc[place] in _AMBIGUITY and (before == ("ambiguity",) or before[-2:-1] == ("sets",))


def _keys_at(loc: Location) -> list[str]:
    """The keys that the section at ``loc`` may have."""
    section: Any = StudyFile
    for place, part in enumerate(loc):
        if _is_tag(loc, place):
            section = _AMBIGUITY[str(part)]
        elif isinstance(part, str):
            section = _section_of(section.model_fields[part].annotation)
    return list(section.model_fields)


def _section_of(annotation: Any) -> Any:
    """The section type inside ``tuple[Section, ...]`` and the like."""
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return annotation
    return next((found for part in get_args(annotation) if (found := _section_of(part)) is not None), None)


def resolved(study: StudyFile) -> dict[str, Any]:
    """Every key of the study with its value, defaults included, as plain types that YAML and JSON can hold."""
    values = study.model_dump(mode="json")
    if study.events.file is not None:
        for key in _GENERATOR_KEYS:  # without effect, so load_study refuses them
            del values["events"][key]
    area = study.area
    for key, used in {
        "detour": area.roads is None,
        "road_speed_km_h": area.roads is None,
        "snap_limit_m": area.roads is not None,
        "closed_h": area.roads is not None and area.hazards is not None,
    }.items():
        if not used:
            del values["area"][key]
    return values


def json_schema() -> dict[str, Any]:
    """The JSON schema of study files, for completion and checks in editors."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **StudyFile.model_json_schema()}
