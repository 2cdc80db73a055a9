"""Supply disruptions and demand surges in one scenario: what paper A calls unified.

A storm puts lines out by their fragility, trips plants, darkens the sky, shuts hubs and slows roads, all in one field
of gusts; in the class ``storm_surge`` new load arrives at the data centres meanwhile. The classes of
`drofcm.scenarios.shocks` are drawn as there, bit for bit, with what plants do beside them. In place of classes, an
event x location matrix may say what happens where (paper D).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import xarray as xr

from drofcm.core.errors import Finding, raise_if_any, shorten, suggest
from drofcm.core.randomness import settled, stream
from drofcm.scenarios.ensemble import step_statistics
from drofcm.scenarios.events import EVENTS
from drofcm.scenarios.generate import check_count, check_size, draw_all
from drofcm.scenarios.outages import HUB_CURVE, LINE_CURVE, FragilityCurve, draw_hits, gusts
from drofcm.scenarios.plants import Plants, Sky, lost_output
from drofcm.scenarios.shocks import EVENT_CLASSES, SiteEvents, event_classes, site_events
from drofcm.scenarios.shocks_check import check_lines, check_shares

__all__ = ["ALL_CLASSES", "MATRIX_EVENTS", "Storm", "combined_events", "matrix_places"]

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

ALL_CLASSES: Final = (*EVENT_CLASSES, "storm", "storm_surge")
"""Classes of events: those of `drofcm.scenarios.shocks`, storms, and storms that a surge of load meets."""

MATRIX_EVENTS: Final = ("surge", "training", "drop", "line_fault", "hub_out", "dg_trip", "pv_trip", "pv_loss")
"""Events an event x location matrix may name. Locations: buses of data centres (surge, training, drop) and of plants
(dg_trip, pv_trip, pv_loss), lines (line_fault), hubs (hub_out)."""

_DEMAND: Final = ("surge", "training", "drop")
_RECIPE: Final = "combined_1"
_DIPS: Final = ("fault", "storm", "storm_surge")
_CLOUDY = 0.5
_TRANSFERS_IN_STORM = 0.5
_ROADS_SLOW = (1.2, 2.0)


@dataclass(frozen=True)
class Storm:
    """What a storm can reach, and how strong storms are.

    Attributes
    ----------
    lines, line_km
        Lines that are exposed, and the length of each that is, km over (line).
    line_x_km, line_y_km
        Their middles, km over (line).
    hub_x_km, hub_y_km
        The hubs, km over (hub), in the order of the study's hubs.
    gust_m_s, gust_spread, local_spread, correlation_km
        Strength and field: `drofcm.scenarios.outages.gusts`.
    line_curve, hub_curve
        Fragility of a kilometre of line, and of a hub.
    """

    lines: tuple[str, ...]
    line_km: Floats
    line_x_km: Floats
    line_y_km: Floats
    hub_x_km: Floats
    hub_y_km: Floats
    gust_m_s: float = 32.0
    gust_spread: float = 0.2
    local_spread: float = 0.1
    correlation_km: float = 5.0
    line_curve: FragilityCurve = LINE_CURVE
    hub_curve: FragilityCurve = HUB_CURVE

    def draw(self, rng: np.random.Generator) -> tuple[Flags, Flags, Floats]:
        """Exposed lines that fail, hubs that are hit, and how many times as long the road from each hub takes."""
        wind = gusts(
            np.concatenate([self.line_x_km, self.hub_x_km]),
            np.concatenate([self.line_y_km, self.hub_y_km]),
            rng=rng,
            median_m_s=self.gust_m_s,
            spread=self.gust_spread,
            local_spread=self.local_spread,
            correlation_km=self.correlation_km,
        )
        at_line, at_hub = wind[: len(self.lines)], wind[len(self.lines) :]
        fails = 1 - (1 - self.line_curve(at_line)) ** self.line_km
        lines = rng.random(len(at_line)) < fails
        hubs = rng.random(len(at_hub)) < self.hub_curve(at_hub)
        slow = rng.uniform(*_ROADS_SLOW) * np.exp(0.15 * rng.standard_normal(len(at_hub)))
        return lines, hubs, settled(np.maximum(slow, 1.0))


@dataclass(frozen=True)
class _Drawn:
    """One scenario: mean, high and low over (node, time), flags over (line) and (hub), factor on roads over (hub)."""

    steps: Floats
    line_out: Flags
    hub_up: Flags
    road: Floats


@dataclass(frozen=True)
class _Combined:
    """Everything that scenario k depends on; calling it draws scenario k."""

    sites: SiteEvents
    plants: Plants
    storm: Storm | None
    classes: tuple[str, ...]
    hits: xr.DataArray | None
    nodes: tuple[str, ...]
    lines: tuple[str, ...]
    feeds: Flags
    hubs: tuple[str, ...]
    hub_outage: float

    def __call__(self, scenario: int) -> _Drawn:
        line_out = np.zeros(len(self.lines), dtype=bool)
        # the draw that a study without storms makes for its hubs
        up = stream(self.sites.seed, "hubs", scenario).random(len(self.hubs)) >= self.hub_outage
        road = np.ones(len(self.hubs))
        seconds, event = int(self.sites.steps.sum()), self.classes[scenario]
        rng = stream(self.sites.seed, "plants", scenario)
        tripped, sky = self.plants.trips(event in _DIPS, rng), self._sky(event, rng)
        shaded = None
        if self.hits is not None:
            change, line_out, up, tripped, shaded = self._by_matrix(scenario, up)
            sky = "storm" if shaded.any() else "clear"
        elif event in EVENT_CLASSES:
            change, line = self.sites.draw(scenario, event)
            line_out[[name == line for name in self.lines]] = True
        else:
            assert self.storm is not None  # checked where the classes are
            hit, blocked, road = self.storm.draw(stream(self.sites.seed, "storm", scenario))
            line_out = np.isin(self.lines, np.asarray(self.storm.lines)[hit])
            up = up & ~blocked
            change = self._in_storm(scenario, event, line_out)
        dead = self._dead(line_out)
        lost = lost_output(self.plants, seconds, tripped=tripped, sky=sky, rng=rng, shaded=shaded)
        at_node = np.zeros((len(self.nodes), seconds))
        np.add.at(at_node, self._places(self.sites.nodes), change)
        at_plant = self._places(self.plants.node)
        # a plant without grid stops: its load falls to what else can serve it
        lost = np.where(dead[at_plant][:, None], self.plants.output[:, None], lost)
        np.add.at(at_node, at_plant, lost)
        return _Drawn(self._settle(np.stack(step_statistics(at_node, self.sites.steps))), line_out, up, road)

    def _settle(self, change: Floats) -> Floats:
        """Changes of load over (..., node, time) to a watt, within what data centres and plants can gain and lose."""
        least, most = np.zeros(len(self.nodes)), np.zeros(len(self.nodes))
        at = self._places(self.sites.nodes)
        np.add.at(least, at, -self.sites.sites.running)
        np.add.at(most, at, self.sites.sites.rating)
        np.add.at(most, self._places(self.plants.node), self.plants.output)
        return np.clip(settled(change), least[:, None], most[:, None])

    def _dead(self, line_out: Flags) -> Flags:
        """Nodes that the lines cut off, over (node)."""
        return np.asarray(np.any(self.feeds[line_out], axis=0), dtype=bool)

    def _sky(self, event: str, rng: np.random.Generator) -> Sky:
        if event in ("storm", "storm_surge"):
            return "storm"
        return "passing" if rng.random() < _CLOUDY else "clear"

    def _places(self, labels: Sequence[str] | npt.NDArray[np.str_]) -> npt.NDArray[np.int64]:
        place = {label: position for position, label in enumerate(self.nodes)}
        return np.array([place[str(label)] for label in labels], dtype=np.int64)

    def _in_storm(self, scenario: int, event: str, line_out: Flags) -> Floats:
        """What the data centres do: a surge meets the storm, or dips make them transfer to their own supply."""
        rng = stream(self.sites.seed, "shocks", scenario)
        cut = self._dead(line_out)[self._places(self.sites.nodes)]
        seconds = int(self.sites.steps.sum())
        if event == "storm_surge":
            return EVENTS["surge"](self.sites.sites.without(cut), seconds, rng)
        if rng.random() < _TRANSFERS_IN_STORM:
            return EVENTS["drop"](self.sites.sites.without(cut), seconds, rng)
        return np.zeros((len(cut), seconds))

    def _by_matrix(self, scenario: int, up: Flags) -> tuple[Floats, Flags, Flags, Flags, Flags]:
        """Change of load, lines out, hubs up, plants that trip and plants in the dark, as the matrix was drawn."""
        assert self.hits is not None
        hit = self.hits.isel(scenario=scenario)
        happens = dict.fromkeys(MATRIX_EVENTS, np.zeros(0, dtype=str)) | {
            str(event): hit["location"].values[hit.sel(event=event).values == 1] for event in hit["event"].values
        }
        line_out = np.isin(self.lines, happens["line_fault"])
        rng = stream(self.sites.seed, "shocks", scenario)
        seconds, sites = int(self.sites.steps.sum()), self.sites.sites
        cut = self._dead(line_out)[self._places(self.sites.nodes)]
        change = np.zeros((len(cut), seconds))
        for event in _DEMAND:
            for place in np.flatnonzero(np.isin(self.sites.nodes, happens[event]) & ~cut):
                # a site does one thing in an event: the first that the matrix names
                if not change[place].any():
                    others = np.arange(len(cut)) != place
                    change[place] = EVENTS[event](sites.without(others), seconds, rng)[place]
        is_pv = np.array(self.plants.kind, dtype=str) == "pv"
        trips = np.where(
            is_pv, np.isin(self.plants.node, happens["pv_trip"]), np.isin(self.plants.node, happens["dg_trip"])
        )
        shaded = is_pv & np.isin(self.plants.node, happens["pv_loss"])
        return change, line_out, up & ~np.isin(self.hubs, happens["hub_out"]), trips, shaded


def combined_events(
    *,
    scenarios: int,
    rating: xr.DataArray,
    running: xr.DataArray,
    step_length: xr.DataArray,
    shares: Mapping[str, float] | None,
    fault_lines: Sequence[str],
    downstream: xr.DataArray,
    seed: int,
    plants: Plants | None = None,
    storm: Storm | None = None,
    matrix: xr.DataArray | None = None,
    hubs: Sequence[str] = (),
    hub_outage_probability: float = 0.0,
    client: Any = None,
    chunk: int | None = None,
) -> xr.Dataset:
    """An ensemble of faults, storms, surges and drops, alone and together, equally probable.

    Parameters
    ----------
    scenarios, rating, running, step_length, fault_lines, seed
        As for `drofcm.scenarios.shocks.demand_shocks`.
    shares
        Share of each class of `ALL_CLASSES`; they sum to 1. None with a matrix.
    downstream
        0/1 over (line, node), for every line of the feeder, every data centre and every bus with a plant: 1 where the
        line feeds the node.
    plants
        Generators on the feeder.
    storm
        What storms can reach; needed if a share is on storms.
    matrix
        Probabilities over (event, location), events of `MATRIX_EVENTS`; in place of shares.
    hubs
        Labels of the hubs.
    hub_outage_probability
        Chance that a hub is out of use for reasons of its own.
    client, chunk
        A `dask.distributed.Client` that draws, and scenarios per task; the ensemble does not depend on them.

    Returns
    -------
    xarray.Dataset
        As from `demand_shocks`, with ``shock``, ``shock_high`` and ``shock_low`` also at the buses of plants (output
        that is lost is load that comes), ``hub_available`` over (scenario, hub) and ``travel_factor`` over (scenario,
        hub): times as long as on a fair day. Where an event cuts a bus off, the shock is the output its plants lose.

    Raises
    ------
    InputError
        With every finding: what `demand_shocks` refuses, storms without reach, and a matrix that names an unknown
        event or a place where it cannot happen.
    """
    plants = plants or Plants((), (), np.zeros(0))
    lines = [str(line) for line in downstream["line"].values]
    findings = [*check_count(scenarios), *check_lines(fault_lines, lines)]
    findings += _check_choice(shares, storm, matrix, lines)
    findings += _check_hubs(storm, hubs, hub_outage_probability)
    nodes = _nodes(rating, plants)
    absent = [node for node in nodes if node not in downstream.indexes["node"]]
    if absent:
        findings.append(Finding("downstream", f"node {shorten(absent)} is missing", "cover data centres and plants"))
    if matrix is not None and not findings:
        findings += _check_places(matrix, rating, plants, lines, hubs)
    sites = site_events(rating, running, step_length, shares or {}, fault_lines, seed, downstream, findings)
    raise_if_any(check_size(scenarios, len(nodes), len(sites.steps)))
    hits = None if matrix is None else draw_hits(matrix, scenarios, seed=seed)
    classes = _classes_of(hits) if hits is not None else event_classes(scenarios, shares or {}, ALL_CLASSES)
    study = _Combined(
        sites=sites,
        plants=plants,
        storm=storm,
        classes=tuple(map(str, classes)),
        hits=hits,
        nodes=nodes,
        lines=tuple(lines),
        feeds=downstream.transpose("line", "node").sel(node=list(nodes)).values.astype(bool),
        hubs=tuple(map(str, hubs)),
        hub_outage=hub_outage_probability,
    )
    drawn = draw_all(study, scenarios, client=client, chunk=chunk)
    return _dataset(study, drawn, np.asarray(step_length["time"].values))


def _dataset(study: _Combined, drawn: Sequence[_Drawn], time: npt.NDArray[Any]) -> xr.Dataset:
    mean, high, low = np.stack([one.steps for one in drawn], axis=1)
    over, count = ("scenario", "node", "time"), len(drawn)
    recipe = {
        "generator": _RECIPE,
        "shares": study.sites.shares,
        "horizon_s": int(study.sites.steps.sum()),
        "fault_lines": list(study.sites.fault_lines),
        "plants": [f"{kind} {mw:g} MW at {node}" for node, kind, mw in _each(study.plants)],
        "exposed_lines": list(study.storm.lines) if study.storm else [],
        "event_matrix": study.hits is not None,
    }
    data = {
        "shock": (over, mean, {"units": "MW", "long_name": "mean change of load in the step"}),
        "shock_high": (over, high, {"units": "MW", "long_name": "largest change of load within the step"}),
        "shock_low": (over, low, {"units": "MW", "long_name": "smallest change of load within the step"}),
        "line_out": (
            ("scenario", "line"),
            np.stack([one.line_out for one in drawn]).astype(np.int8),
            {"units": "1", "long_name": "1: the event puts the line out"},
        ),
        "probability": ("scenario", np.full(count, 1 / count), {"units": "1"}),
    }
    coords: dict[str, Any] = {
        "scenario": np.arange(count, dtype=np.int64),
        "node": list(study.nodes),
        "time": time,
        "line": list(study.lines),
        "event_class": ("scenario", np.asarray(study.classes)),
    }
    if study.hubs:
        up = np.stack([one.hub_up for one in drawn]).astype(np.int8)
        road = np.stack([one.road for one in drawn])
        by_hub = ("scenario", "hub")
        data["hub_available"] = (by_hub, up, {"units": "1", "long_name": "0: the hub is out of use"})
        data["travel_factor"] = (by_hub, road, {"units": "1", "long_name": "road time over that of a fair day"})
        coords["hub"] = list(study.hubs)
    return xr.Dataset(data, coords=coords, attrs={"seed": study.sites.seed, "recipe": json.dumps(recipe)})


def _each(plants: Plants) -> list[tuple[str, str, float]]:
    return [(n, k, float(mw)) for n, k, mw in zip(plants.node, plants.kind, plants.output, strict=True)]


def _nodes(rating: xr.DataArray, plants: Plants) -> tuple[str, ...]:
    """Buses of data centres, then those of plants that are not among them."""
    known = rating["node"].values if isinstance(rating, xr.DataArray) and "node" in rating.coords else ()
    return tuple(dict.fromkeys([*map(str, known), *plants.node]))


def _classes_of(hits: xr.DataArray) -> npt.NDArray[np.str_]:
    """``demand``, ``supply`` or ``demand_and_supply``: what the matrix made happen."""
    any_of = hits.any("location")
    demand = any_of.sel(event=np.isin(hits["event"], _DEMAND)).any("event").values
    supply = any_of.sel(event=~np.isin(hits["event"], _DEMAND)).any("event").values
    return np.select([demand & supply, demand, supply], ["demand_and_supply", "demand", "supply"], "none")


def _check_choice(
    shares: Mapping[str, float] | None, storm: Storm | None, matrix: xr.DataArray | None, lines: Sequence[str]
) -> list[Finding]:
    if (shares is None) == (matrix is None):
        given = "both are" if shares is not None else "neither is"
        return [Finding("shares", f"shares or a matrix say what happens; {given} given", "give one of them")]
    findings = list(check_shares(shares, ALL_CLASSES)) if shares is not None else []
    stormy = [name for name in ("storm", "storm_surge") if (shares or {}).get(name, 0) > 0]
    if stormy and (storm is None or not storm.lines):
        what = f"share is on {shorten(stormy)}, but no line is exposed"
        findings.append(Finding("storm", what, "name the lines that a storm can reach, or set the share to 0"))
    for line in storm.lines if storm else ():
        if line not in lines:
            findings.append(Finding("storm.lines", f"line {line!r} does not exist", suggest(line, lines)))
    return findings


def _check_hubs(storm: Storm | None, hubs: Sequence[str], outage: float) -> list[Finding]:
    findings = []
    if not 0 <= outage <= 1:
        findings.append(Finding("hub_outage_probability", f"must be within 0 and 1, got {outage!r}"))
    if storm is not None and len(storm.hub_x_km) != len(hubs):
        what = f"places {len(storm.hub_x_km)} hubs, the study has {len(hubs)}"
        findings.append(Finding("storm.hub_x_km", what, "one place per hub, in the same order"))
    return findings


def matrix_places(
    centres: Sequence[str], lines: Sequence[str], hubs: Sequence[str], dg: Sequence[str], pv: Sequence[str]
) -> dict[str, Sequence[str]]:
    """Where each event of a matrix can happen: at data centres, lines, hubs, and buses of plants of a kind."""
    able: dict[str, Sequence[str]] = dict.fromkeys(_DEMAND, centres)
    return able | {"line_fault": lines, "hub_out": hubs, "dg_trip": dg, "pv_trip": pv, "pv_loss": pv}


def _check_places(
    matrix: xr.DataArray, rating: xr.DataArray, plants: Plants, lines: Sequence[str], hubs: Sequence[str]
) -> list[Finding]:
    """Events the matrix may not name, and places where its events cannot happen."""
    if not {"event", "location"} <= set(matrix.coords):
        return []  # draw_hits says what is missing
    at = {kind: [node for node, its, _ in _each(plants) if its == kind] for kind in ("dg", "pv")}
    centres = [str(node) for node in rating["node"].values]
    able = matrix_places(centres, list(lines), list(map(str, hubs)), at["dg"], at["pv"])
    findings = []
    for event in map(str, matrix["event"].values):
        if event not in able:
            findings.append(Finding(f"matrix[event={event!r}]", "unknown event", suggest(event, MATRIX_EVENTS)))
            continue
        chance = matrix.sel(event=event)
        astray = [str(place) for place in chance["location"].values[chance.values > 0] if str(place) not in able[event]]
        if astray:
            what = f"cannot happen at {shorten(astray)}"
            findings.append(
                Finding(f"matrix[event={event!r}]", what, f"it can at: {shorten(able[event]) or 'no place'}")
            )
    return findings
