"""From what a study names to the labelled data of its problem."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import numpy.typing as npt
import xarray as xr

from drofcm.config import StudyFile
from drofcm.core.dims import DEMAND_SHOCK_DATA
from drofcm.core.errors import Finding, raise_if_any
from drofcm.core.randomness import stream
from drofcm.fcm.requirement import requirement, usable
from drofcm.network.energisation import energised
from drofcm.network.feeder import Feeder
from drofcm.network.lindistflow import base_case, sensitivities
from drofcm.problems import demand_shock_data
from drofcm.scenarios.hazards import active_zones
from drofcm.study.events import fault_lines, study_events
from drofcm.study.places import Where, travel_times, zone_crossings
from drofcm.study.sources import Sources, dotted, load_sources

__all__ = ["Assembly", "assemble", "fault_lines", "step_lengths"]

SHOCKS = ("shock", "shock_high", "shock_low")
ORDER = ("scenario", "node", "supplier", "hub", "bus", "line", "fcm", "time")


@dataclass(frozen=True)
class Assembly:
    """A study with its data.

    Attributes
    ----------
    study
        The study file.
    data
        The labelled data (``drofcm.core.dims.DEMAND_SHOCK_DATA``), with the coordinate ``event_class`` (scenario).
    sources
        What the data were computed from.
    findings
        What is worth knowing and does not stop the study.
    """

    study: StudyFile
    data: xr.Dataset
    sources: Sources
    findings: tuple[Finding, ...]

    @property
    def layers(self) -> dict[str, gpd.GeoDataFrame]:
        """``suppliers``, ``hubs``, ``buses`` (points) and ``lines``, in the projected CRS of the study."""
        return self.sources.layers


def assemble(study: StudyFile, folder: Path, where: Where = dotted, *, events: xr.Dataset | None = None) -> Assembly:
    """Load, check and lay out everything a study names.

    Parameters
    ----------
    study
        The study file.
    folder
        Folder of the study file; relative names start there.
    where
        Says where a key of the study file stands, for messages.
    events
        Events that were generated from this study already (`drofcm.study.events.generate_events`), in place of those
        that it reads or generates.

    Raises
    ------
    InputError
        With every fault of the sources and of what the study file says about them; if there is none, with every
        fault of the data that follow.
    """
    sources = load_sources(study, folder, where)
    if events is not None:
        sources = replace(sources, events=events)
    feeder = sources.feeder
    steps = step_lengths(study)
    load = _load(study, feeder)
    events = study_events(study, sources, steps)
    live = _live(feeder, events)
    # what is there to be served: the generators at a bus stop when it is cut off
    gross = load["base_load"] + load["embedded_generation"] if study.plants else load["base_load"]
    nodes = _nodes(study, feeder, gross, load["base_reactive"], live)
    hazards = _hazards(study, sources, events)
    parts = [
        xr.Dataset({"step_length": steps, "energised": live}),
        load,
        _shocks(study, events, live, load.get("embedded_generation"), nodes),
        _hubs(study, sources, events, hazards),
        _technologies(study, sources, nodes),
        _logistics(study, sources, events, nodes, hazards),
        _demands(study, gross, nodes),
        _network(study, feeder, load, nodes),
    ]
    # every part brings the same labels in the same order; "exact" makes a slip an error instead of a gap
    data = xr.merge(parts, join="exact", compat="identical", combine_attrs="override")
    data = data.assign(_modules(study, data)).transpose(*ORDER)
    data.attrs = {"title": study.title or study.name, "seed": study.seed}
    findings = demand_shock_data.check(data)
    raise_if_any(findings)
    sources = _with_shares(sources, hazards, data["probability"])
    return Assembly(study, data, sources, tuple([*sources.findings, *findings, *_weight_findings(study, where)]))


def step_lengths(study: StudyFile) -> xr.DataArray:
    """Length of every step, h over (time)."""
    return _array("step_length", study.step_hours, time=np.arange(len(study.step_hours)))


def _array(name: str, values: npt.ArrayLike | xr.DataArray, **coords: Any) -> xr.DataArray:
    """Values with the unit and description that the table of quantities gives this name."""
    quantity = DEMAND_SHOCK_DATA[name]
    attrs = {"units": quantity.unit, "long_name": quantity.description}
    if isinstance(values, xr.DataArray):
        return values.reset_coords(drop=True).rename(name).assign_attrs(attrs)
    return xr.DataArray(np.asarray(values), coords=coords, dims=tuple(coords), name=name, attrs=attrs)


def _even(names: Mapping[str, float], labels: Sequence[str], dim: str) -> dict[str, xr.DataArray]:
    """Quantities that are the same at every label of a dimension."""
    return {name: _array(name, np.full(len(labels), float(value)), **{dim: labels}) for name, value in names.items()}


def _load(study: StudyFile, feeder: Feeder) -> xr.Dataset:
    """Load before the event: that of the feeder and the running load of the data centres, less what plants feed in."""
    running = xr.zeros_like(feeder.table["base_load"])
    for centre in study.data_centres:
        running.loc[{"bus": centre.bus}] = centre.running_mw
    load = xr.Dataset(
        {
            "base_load": _array("base_load", feeder.table["base_load"] + running),
            "base_reactive": _array("base_reactive", feeder.table["base_reactive"] + study.feeder.tan_phi * running),
        }
    )
    if not study.plants:
        return load
    fed = xr.zeros_like(running)
    for plant in study.plants:
        fed.loc[{"bus": plant.bus}] += plant.output_mw
    return load.assign(
        base_load=_array("base_load", load["base_load"] - fed), embedded_generation=_array("embedded_generation", fed)
    )


def _live(feeder: Feeder, events: xr.Dataset) -> xr.DataArray:
    out = events["line_out"].reset_coords(drop=True).assign_attrs(units="1")
    return _array("energised", energised(feeder, out))


def _nodes(
    study: StudyFile, feeder: Feeder, gross: xr.DataArray, reactive: xr.DataArray, live: xr.DataArray
) -> list[str]:
    """Data centres, plants, and every bus with load, if only reactive, that an event cuts off, in feeder order."""
    centres = {centre.bus for centre in study.data_centres} | {plant.bus for plant in study.plants}
    cut_off = ((live == 0).any("scenario") & ((gross > 0) | (reactive != 0))).values
    return [str(bus) for bus, cut in zip(feeder.bus, cut_off, strict=True) if cut or bus in centres]


def _shocks(
    study: StudyFile, events: xr.Dataset, live: xr.DataArray, embedded: xr.DataArray | None, nodes: list[str]
) -> xr.Dataset:
    """Shocks at every node: none where nothing stands that changes; where the event cuts it off, the output lost."""
    at_node = live.sel(bus=nodes).rename(bus="node")
    shocks = {name: _array(name, events[name].reindex(node=nodes, fill_value=0.0) * at_node) for name in SHOCKS}
    if embedded is not None:
        lost = (1 - at_node) * embedded.sel(bus=nodes).rename(bus="node")
        shocks = {name: _array(name, shock + lost) for name, shock in shocks.items()}
    return xr.Dataset(
        {
            **shocks,
            "probability": _array("probability", events["probability"]),
            "event_rate": _array("event_rate", study.events.rate_per_year),
        }
    ).assign_coords(event_class=("scenario", events["event_class"].values.astype(str)))


def _hazards(study: StudyFile, sources: Sources, events: xr.Dataset) -> xr.Dataset:
    """What the zones that an event finds active hit: ``hub_hit`` (scenario, hub), ``road_closed`` (scenario, road)."""
    if "hazards" not in sources.layers:
        return xr.Dataset()
    zones, crosses = sources.layers["hazards"], zone_crossings(sources.layers)
    chance = zones["probability"].to_numpy(dtype=float) if "probability" in zones else np.zeros(len(zones))
    active = active_zones(
        events["line_out"].reset_coords(drop=True),
        crosses["line"],
        xr.DataArray(chance, coords={"zone": zones["id"].to_list()}),
        study.seed,
    )
    names = {"hub": "hub_hit", "road": "road_closed"}
    hit = {name: (active * crosses[dim]).max("zone") for dim, name in names.items() if dim in crosses}
    return xr.Dataset({"zone_active": active, **hit})


def _with_shares(sources: Sources, hazards: xr.Dataset, probability: xr.DataArray) -> Sources:
    """The hazard zones with the share of events that find each active, for maps."""
    if "zone_active" not in hazards:
        return sources
    share = (hazards["zone_active"] * probability).sum("scenario").values
    zones = sources.layers["hazards"].assign(active_share=share)
    return replace(sources, layers={**sources.layers, "hazards": zones})


def _hubs(study: StudyFile, sources: Sources, events: xr.Dataset, hazards: xr.Dataset) -> xr.Dataset:
    layer, limits = sources.layers["hubs"], study.hubs
    hub = layer["id"].to_list()
    values = {
        "setup_cost": layer["setup_cost_usd_per_a"].to_numpy(dtype=float),
        "storage_limit": layer["storage_slots"].to_numpy(dtype=float),
        "hub_forced_in": np.isin(hub, limits.forced_in).astype(np.int8),
        "hub_forced_out": np.isin(hub, limits.forced_out).astype(np.int8),
    }
    data = xr.Dataset({name: _array(name, value, hub=hub) for name, value in values.items()})
    data["hub_minimum"] = _array("hub_minimum", limits.minimum)
    data["hub_maximum"] = _array("hub_maximum", len(hub) if limits.maximum is None else limits.maximum)
    if study.budget_per_year is not None:
        data["budget"] = _array("budget", study.budget_per_year)
    if "hub_available" in events:
        stated = events["hub_available"].reindex(hub=hub, fill_value=1)
        return data.assign(hub_available=_array("hub_available", _spared(stated, hazards)))
    # a stream per scenario, so that scenario 17 is the same however many there are
    draws = [stream(study.seed, "hubs", place).random(len(hub)) for place in range(events.sizes["scenario"])]
    available = (np.array(draws) >= study.events.hub_outage_probability).astype(np.int8)
    drawn = _array("hub_available", available, scenario=events["scenario"].values, hub=hub)
    return data.assign(hub_available=_array("hub_available", _spared(drawn, hazards)))


def _spared(available: xr.DataArray, hazards: xr.Dataset) -> xr.DataArray:
    """Hubs in a zone that the event finds active are out of use besides."""
    if "hub_hit" not in hazards:
        return available
    spared = 1 - hazards["hub_hit"].sel(hub=available["hub"].values)
    return available.copy(data=available.values * spared.transpose(*available.dims).values)


def _technologies(study: StudyFile, sources: Sources, nodes: list[str]) -> xr.Dataset:
    catalogue, suppliers = sources.catalogue, sources.layers["suppliers"]
    fcm = [str(label) for label in catalogue["fcm"].values]
    contract = {contract.technology: contract for contract in study.catalogue.contracts}
    columns = [
        np.full(len(suppliers), contract[label].modules)
        if label in contract
        else suppliers[f"stock_{label}"].to_numpy(dtype=np.int64)
        for label in fcm
    ]
    stock = np.column_stack(columns).astype(np.int64)
    numbers = catalogue[[name for name in catalogue.data_vars if name in DEMAND_SHOCK_DATA]].drop_vars(
        "shortfall_penalty"
    )
    bound = [label for label in fcm if label in contract and contract[label].data_centres_only]
    if study.catalogue.life_a is not None:
        numbers = numbers.assign(life=_array("life", xr.full_like(numbers["life"], study.catalogue.life_a, float)))
    if bound:
        elsewhere = ~np.isin(nodes, [centre.bus for centre in study.data_centres])
        placeable = np.where(np.isin(fcm, bound)[:, None] & elsewhere, 0, 1).astype(np.int8)
        numbers = numbers.assign(placeable=_array("placeable", placeable, fcm=fcm, node=nodes))
    return numbers.assign(
        stock=_array("stock", stock, supplier=suppliers["id"].to_list(), fcm=fcm),
        shortfall_penalty=_array("shortfall_penalty", catalogue["shortfall_penalty"].expand_dims(node=nodes)),
    )


def _logistics(
    study: StudyFile, sources: Sources, events: xr.Dataset, nodes: list[str], hazards: xr.Dataset
) -> xr.Dataset:
    places = sources.layers["buses"].set_index("id", drop=False).loc[nodes]
    takes = travel_times(study, sources.layers["hubs"], places, sources.roads, hazards.get("road_closed"))
    if "travel_factor" in events:
        takes = takes * events["travel_factor"].reindex(hub=takes["hub"], fill_value=1.0).reset_coords(drop=True)
    return xr.Dataset({"distance": _array("distance", sources.distance), "travel_time": _array("travel_time", takes)})


def _demands(study: StudyFile, base_load: xr.DataArray, nodes: list[str]) -> xr.Dataset:
    """What the nodes ask for, what it costs not to serve them, and how the supply follows."""
    asked, price = study.nodes, study.penalties
    waiting = asked.stabilise_within_h if asked.interruption_h is None else asked.interruption_h
    rating = {centre.bus: centre.rating_mw for centre in study.data_centres}
    size = base_load.sel(bus=nodes).values + [rating.get(node, 0.0) for node in nodes]
    band = np.minimum(asked.band_mw, asked.band_share * size) if asked.band == "share" else asked.band_mw
    even = {
        "stabilise_within": asked.stabilise_within_h,
        "interruption_time": waiting,
        "unserved_penalty": price.unserved_per_mwh,
        "critical_penalty": price.critical_per_mwh,
        "flexible_penalty": price.flexible_per_mwh,
        "surplus_penalty": price.surplus_per_mwh,
        "supply_ramp": asked.supply_ramp_mw_h,
        "supply_headroom": asked.supply_headroom_mw,
    }
    return xr.Dataset(
        {
            **_even(even, nodes, "node"),
            "critical_load": _array("critical_load", asked.critical_share * size, node=nodes),
            "stability_band": _array("stability_band", np.broadcast_to(band, size.shape).copy(), node=nodes),
            "feeder_headroom": _array("feeder_headroom", asked.feeder_headroom_mw),
        }
    )


def _modules(study: StudyFile, data: xr.Dataset) -> dict[str, xr.DataArray]:
    """What nodes need of each technology, and what may be sent to them."""
    by_technology = study.nodes.cap == "share"
    required = requirement(data, study.nodes.requirement_margin if by_technology else 1.0)
    cap = required if by_technology else usable(data, required)
    flag = _array("shortfall_by_technology", np.int8(by_technology))
    return {"requirement": required, "usable": _array("usable", cap), "shortfall_by_technology": flag}


def _network(study: StudyFile, feeder: Feeder, load: xr.Dataset, nodes: list[str]) -> xr.Dataset:
    section = study.feeder
    bus, line = list(feeder.bus), list(feeder.line)
    before = base_case(feeder, load["base_load"], load["base_reactive"], section.source_voltage_pu)
    limits = {"v_min": section.voltage_minimum_pu, "v_max": section.voltage_maximum_pu, "tan_phi": section.tan_phi}
    watched = {
        "monitored_bus": _array("monitored_bus", _chosen(section.monitored_buses, bus), bus=bus),
        "monitored_line": _array("monitored_line", _chosen(section.monitored_lines, line), line=line),
    }
    rating = {"rating": _array("rating", feeder.table["rating"])}
    slack = {"slack_penalty": _array("slack_penalty", study.penalties.voltage_slack_per_pu2_h)}
    own = xr.Dataset({**_even(limits, bus, "bus"), **watched, **rating, **slack})
    return xr.merge([before, sensitivities(feeder, nodes), own], join="exact", compat="identical")


def _chosen(labels: Sequence[str] | None, known: list[str]) -> npt.NDArray[np.int8]:
    return np.ones(len(known), dtype=np.int8) if labels is None else np.isin(known, labels).astype(np.int8)


def _weight_findings(study: StudyFile, where: Where) -> list[Finding]:
    if abs(study.risk.total - 1) <= 1e-9:
        return []
    what = f"weights sum to {study.risk.total:g}: the yearly cost of events is counted that many times"
    return [Finding(where(("risk",)), what, "weights that sum to 1 keep it a yearly cost", "warning")]
