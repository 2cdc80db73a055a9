"""Checks of the demand-shock data on entry: every variable for itself, then the rules that tie several together.

A rule is a function of the data that yields findings; it is run where the variables it reads are sound by
themselves, so that one missing variable does not hide what else is wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import xarray as xr

from drofcm.core.dims import DEMAND_SHOCK_DATA
from drofcm.core.errors import Finding, errors_of, shorten
from drofcm.core.units import check_quantities, labels_where
from drofcm.fcm.requirement import arrival_time, imbalance, step_end
from drofcm.network.screening import polygon

__all__ = ["check"]

Rule = Callable[[xr.Dataset], Iterator[Finding]]

_TOLERANCE = 1e-9


def check(data: xr.Dataset) -> list[Finding]:
    """Every finding about the data of the demand-shock problem.

    Parameters
    ----------
    data
        The Dataset of A.1.

    Returns
    -------
    list of Finding
        Errors and warnings: units, dimensions, labels, signs, missing values, probabilities, the horizon, what an
        event may do to a bus, and the limits before the event.
    """
    findings = check_quantities(data, DEMAND_SHOCK_DATA)
    faulty = {name for name in DEMAND_SHOCK_DATA if any(f"[{name!r}]" in f.where for f in errors_of(findings))}
    faulty |= {name for name in DEMAND_SHOCK_DATA if name not in data}
    astray = list(_labels(data)) if {"node", "bus"} <= data.indexes.keys() else []
    if astray:
        # nothing at the nodes can be looked up
        return findings + astray
    for reads, rule in _RULES:
        if not faulty.intersection(reads):
            findings += rule(data)
    return findings


def _probabilities(data: xr.Dataset) -> Iterator[Finding]:
    total = float(data["probability"].sum())
    if abs(total - 1) > 1e-9 * data.sizes["scenario"]:
        yield Finding(
            "data['probability']",
            f"probabilities must sum to 1, they sum to {total:.10g}",
            "nothing is rescaled silently",
        )


def _labels(data: xr.Dataset) -> Iterator[Finding]:
    unknown = data.indexes["node"].difference(data.indexes["bus"])
    if len(unknown):
        yield Finding("data['node']", f"{shorten(unknown)} is no bus of the feeder", "nodes carry the labels of buses")


def _horizon(data: xr.Dataset) -> Iterator[Finding]:
    ends = step_end(data)
    late = data["stabilise_within"] > float((ends - data["step_length"]).max()) + _TOLERANCE
    if bool(late.any()):
        yield Finding(
            "data['stabilise_within']",
            f"no step starts at or after T_i at {labels_where(late)}: the horizon of {float(ends.max()):g} h would not "
            "show whether the node is stable",
            "add steps, or shorten T_i",
        )


def _hubs(data: xr.Dataset) -> Iterator[Finding]:
    both = (data["hub_forced_in"] > 0) & (data["hub_forced_out"] > 0)
    if bool(both.any()):
        yield Finding("data['hub_forced_in']", f"forced in and out at once: {labels_where(both)}", "choose one")
    least, most = float(data["hub_minimum"]), float(data["hub_maximum"])
    usable = int((data["hub_forced_out"] == 0).sum())
    if least > most:
        yield Finding("data['hub_minimum']", f"{least:g} hubs at least and {most:g} at most contradict each other")
    elif least > usable:
        yield Finding("data['hub_minimum']", f"{least:g} hubs are asked for, {usable} may be opened")
    forced = int(data["hub_forced_in"].sum())
    if forced > most:
        yield Finding("data['hub_maximum']", f"{forced} hubs are forced in, {most:g} are allowed")


def _events(data: xr.Dataset) -> Iterator[Finding]:
    buses = data.indexes["node"]
    load = data["base_load"].sel(bus=buses).rename(bus="node").assign_coords(node=buses)
    energised = data["energised"].sel(bus=buses).rename(bus="node").assign_coords(node=buses)
    below = data["shock"] < -load - _TOLERANCE
    if bool(below.any()):
        yield Finding("data['shock']", f"a drop exceeds the base load at {labels_where(below)}", "xi >= -base_load")
    lost = xr.zeros_like(load)
    if "embedded_generation" in data:
        # the load that the generators at a bus carried is what base_load leaves out
        lost = data["embedded_generation"].sel(bus=buses).rename(bus="node").assign_coords(node=buses)
    away = xr.concat([abs(data[name] - lost) for name in ("shock", "shock_high", "shock_low")], "extreme").max(
        "extreme"
    )
    dead = (energised == 0) & (away > _TOLERANCE * lost)
    if bool(dead.any()):
        yield Finding(
            "data['shock']",
            f"there is a shock where the bus is cut off: {labels_where(dead)}",
            "the cut-off load is accounted for by `energised`: set it to the generation lost there, 0 if there is none",
        )
    crossed = (data["shock"] > data["shock_high"] + _TOLERANCE) | (data["shock"] < data["shock_low"] - _TOLERANCE)
    if bool(crossed.any()):
        yield Finding("data['shock_high']", f"the mean lies outside its step's extremes at {labels_where(crossed)}")
    loaded = (data["base_load"] > 0) | (data["base_reactive"] != 0)
    cut = (data["energised"] == 0).any("scenario") & loaded
    missing = data.indexes["bus"][cut.values].difference(buses)
    if len(missing):
        yield Finding(
            "data['node']", f"bus {shorten(missing)} has load and is cut off in some scenario, but is no node", "add it"
        )


def _modules(data: xr.Dataset) -> Iterator[Finding]:
    calm = ~(imbalance(data) != 0).any("time")
    for name, what in (("requirement", "required"), ("usable", "usable")):
        idle = (data[name] > 0) & calm
        if bool(idle.any()):
            yield Finding(f"data[{name!r}]", f"modules are {what} where nothing happens: {labels_where(idle)}")
    beyond = data["requirement"] > data["usable"]
    if bool(beyond.any()):
        what = f"fewer than required at {labels_where(beyond)}"
        yield Finding("data['usable']", what, "what a node needs of a technology it can use")


def _shortfall(data: xr.Dataset) -> Iterator[Finding]:
    more = data["usable"] > data["requirement"]
    if bool(data["shortfall_by_technology"] == 1) and bool(more.any()):
        yield Finding(
            "data['usable']",
            f"more than required at {labels_where(more)}, and modules are missed technology by technology",
            "what is sent beyond the requirement would pay off: make the two equal",
        )


def _technologies(data: xr.Dataset) -> Iterator[Finding]:
    rooted = (data["stores"] == 1) & (data["travels"] == 0)
    if bool(rooted.any()):
        yield Finding("data['travels']", f"a store that does not travel: {labels_where(rooted)}", "set travels to 1")
    sponge = (data["stores"] == 0) & (data["absorbs"] == 1)
    if bool(sponge.any()):
        yield Finding("data['absorbs']", f"absorbs without being a store: {labels_where(sponge)}", "set absorbs to 0")


def _voltages(data: xr.Dataset) -> Iterator[Finding]:
    crossed = data["v_min"] >= data["v_max"]
    if bool(crossed.any()):
        yield Finding("data['v_min']", f"not below v_max at {labels_where(crossed)}")
    monitored = data["monitored_bus"] == 1
    outside = monitored & ((data["v_base"] < data["v_min"]) | (data["v_base"] > data["v_max"]))
    if bool(outside.any()):
        low, high = float(data["v_base"].where(outside).min()), float(data["v_base"].where(outside).max())
        yield Finding(
            "data['v_base']",
            f"{int(outside.sum())} buses violate their limits before the event ({low:.4f} to {high:.4f} pu): "
            f"{labels_where(outside)}",
            "raise the source voltage, widen the limits, or do not monitor these buses",
        )


def _flows(data: xr.Dataset) -> Iterator[Finding]:
    # with every change unserved or unabsorbed at the node the flows stay below those before the event, so a base case
    # within the polygon leaves a feasible recourse for every plan
    over = _overloaded(data, data["flow_base"], data["flow_base_reactive"])
    if bool(over.any()):
        yield Finding(
            "data['rating']",
            f"before the event over {float(polygon()['apothem']):.1%} of the rating is taken: {labels_where(over)}",
            "raise the rating, or do not monitor these lines",
        )


def _overloaded(data: xr.Dataset, p: xr.DataArray, q: xr.DataArray) -> xr.DataArray:
    """Whether a monitored line would lie outside the inner polygon of its rating."""
    sides = polygon()
    over = xr.zeros_like(p, dtype=bool)
    for side in range(sides.sizes["side"]):
        chosen = sides.isel(side=side, drop=True)
        over |= chosen["cos"] * p + chosen["sin"] * q > sides["apothem"] * data["rating"] + _TOLERANCE
    return over & (data["monitored_line"] == 1)


def _finite_times(data: xr.Dataset) -> Iterator[Finding]:
    never = abs(data["travel_time"]) == np.inf
    if bool(never.any()):
        horizon = float(data["step_length"].sum())
        yield Finding(
            "data['travel_time']",
            f"no finite time at {labels_where(never)}",
            f"where no road is open give the time until one is; beyond the horizon of {horizon:g} h nothing arrives",
        )


def _reach(data: xr.Dataset) -> Iterator[Finding]:
    travelling = data["travels"] == 1
    first = arrival_time(data).where(travelling).min(["hub", "fcm"])
    late = first > data["stabilise_within"]
    if bool(late.any()):
        yield Finding(
            "data['travel_time']",
            f"no hub reaches {labels_where(late)} before T_i: only demand response can help to stabilise it",
            severity="warning",
        )


def _base_feasible_after(data: xr.Dataset) -> Iterator[Finding]:
    # the flows that remain when every change is shed or left unabsorbed: cut-off load leaves, drops leave
    buses = data.indexes["node"]
    at_node = data[["energised", "base_load", "base_reactive", "tan_phi"]].sel(bus=buses).rename(bus="node")
    at_node = at_node.assign_coords(node=buses)
    live = at_node["energised"]
    drop = data["shock"].clip(max=0)
    active = live * drop - (1 - live) * at_node["base_load"]
    reactive = live * at_node["tan_phi"] * drop - (1 - live) * at_node["base_reactive"]
    p = data["flow_base"] + (data["downstream"] * active).sum("node")
    q = data["flow_base_reactive"] + (data["downstream"] * reactive).sum("node")
    # a line that is overloaded before the event is named there
    over = _overloaded(data, p, q) & ~_overloaded(data, data["flow_base"], data["flow_base_reactive"])
    if bool(over.any()):
        yield Finding(
            "data['rating']",
            f"lines stay overloaded when all shocks are shed or left unabsorbed: {labels_where(over)}",
            "no plan can be feasible; raise the rating or do not monitor these lines",
        )


_RULES: tuple[tuple[tuple[str, ...], Rule], ...] = (
    (("probability",), _probabilities),
    (("stabilise_within", "step_length"), _horizon),
    (("hub_forced_in", "hub_forced_out", "hub_minimum", "hub_maximum"), _hubs),
    (("shock", "shock_high", "shock_low", "base_load", "base_reactive", "energised"), _events),
    (("shock", "base_load", "energised", "requirement", "usable"), _modules),
    (("requirement", "usable", "shortfall_by_technology"), _shortfall),
    (("stores", "absorbs", "travels"), _technologies),
    (("v_base", "v_min", "v_max", "monitored_bus"), _voltages),
    (("flow_base", "flow_base_reactive", "rating", "monitored_line"), _flows),
    (
        (
            *("shock", "energised", "base_load", "base_reactive", "tan_phi", "downstream"),
            *("flow_base", "flow_base_reactive", "rating", "monitored_line"),
        ),
        _base_feasible_after,
    ),
    (("travel_time", "step_length"), _finite_times),
    (("travel_time", "deployment_time", "travels", "stabilise_within"), _reach),
)
