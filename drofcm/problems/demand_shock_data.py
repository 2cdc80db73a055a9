"""Data of the demand-shock problem: what is checked on entry, and what the equations need besides.

The Dataset of A.1 (`drofcm.core.dims.DEMAND_SHOCK_DATA`) is checked completely before anything is built. `derive` then
computes, once and on plain arrays, the masks and limits of A.3 and A.4, so that the page with the equations contains
no data handling.
"""

from __future__ import annotations

import numpy as np
import xarray as xr

from drofcm.core.dims import UNCERTAIN
from drofcm.fcm.catalogue import can_absorb, is_demand_response, is_generator, is_storage
from drofcm.fcm.fleets import minimal_fleets
from drofcm.fcm.requirement import arrival_time, imbalance, requirement, step_end, usable
from drofcm.network.screening import binding_flow_rows, binding_voltage_rows, polygon
from drofcm.problems.demand_shock_check import check

__all__ = ["SIDES", "check", "derive", "expected_value"]

SIDES = 12
"""Sides of the polygon inside the circle of apparent power."""

_ON_TIME = 1e-9
"""Hours by which a module may arrive after a step has begun: rounding of times only."""

_WHOLE = 1e-9
"""What a quotient may lack of a whole number: rounding only."""


def derive(data: xr.Dataset, *, cover_rows: bool = True) -> xr.Dataset:
    """The Dataset of A.1 with the masks and limits that the equations refer to.

    Parameters
    ----------
    data
        Checked data.
    cover_rows
        Whether to fill in what only tightens the relaxation: the right-hand sides of the cover rows and the minimal
        fleets; without, they are zero and no row is written.

    Returns
    -------
    xarray.Dataset
        The data and, besides: ``imbalance``, ``surge`` (its positive part), ``affected`` (nodes of M_s), ``sendable``
        (where x_idl exists), ``most_sent`` (what stock, room and use leave of it), ``fleet``, ``arrives``, ``lacking``
        (where m_i exists), ``need_met`` (the share of a node's need that a module meets), ``supply_limit``,
        ``surplus_limit`` (M-), ``critical_part`` and ``flexible_part`` of the load, ``after_deadline``,
        ``ramp_binds``, the kinds of technology, what `drofcm.fcm.fleets.minimal_fleets` finds, and the network rows
        that can bind.
    """
    data = data.drop_attrs(deep=True)
    at_node = data[["energised", "base_load", "base_reactive", "tan_phi"]].sel(bus=data.indexes["node"])
    at_node = at_node.rename(bus="node").assign_coords(node=data.indexes["node"])
    end = step_end(data)
    start = end - data["step_length"]
    balance = imbalance(data)
    surge = balance.clip(min=0)
    affected = (balance != 0).any("time")
    all_steps = xr.ones_like(data["step_length"], dtype=bool)

    arrives = arrival_time(data) <= start + _ON_TIME
    sendable = (data["usable"] > 0) & arrives.any("time") & affected
    fleet = sendable.any("hub")
    room = np.floor(data["storage_limit"] / data["footprint"] + _WHOLE)
    most_sent = xr.DataArray(np.minimum(np.minimum(data["usable"], data["stock"].sum("supplier")), room))

    supply_limit = at_node["energised"] * data["supply_headroom"] * all_steps
    follow_limit = at_node["energised"] * np.minimum(data["supply_headroom"], data["supply_ramp"] * end)
    # modules are not run beyond the largest surge of the node and what the supply follows of it
    run = np.minimum((data["power"] * data["usable"]).sum("fcm"), surge.max("time") + follow_limit)
    surplus_limit = (-balance).clip(min=0) + follow_limit + run
    total = (at_node["base_load"] + data["shock"]).clip(min=0)
    band = data["stability_band"]
    cover = 1.0 if cover_rows else 0.0
    derived = data.assign(
        imbalance=balance,
        surge=surge,
        affected=affected,
        affected_in_time=affected & all_steps,
        arrives=arrives,
        sendable=sendable.transpose("scenario", "node", "hub", "fcm"),
        most_sent=most_sent.transpose("scenario", "node", "hub", "fcm"),
        shortfall_by_technology=data.get("shortfall_by_technology", xr.DataArray(0)),
        lacking=(data["requirement"] > 0).any("fcm"),
        need_met=1 / data["usable"].where(data["usable"] > 0, np.inf),
        fleet=fleet.transpose("scenario", "node", "fcm"),
        fleet_in_time=(fleet & all_steps).transpose("scenario", "node", "fcm", "time"),
        after_deadline=start >= data["stabilise_within"] - _ON_TIME,
        supply_limit=supply_limit,
        surplus_limit=surplus_limit,
        critical_part=np.minimum(data["critical_load"], total),
        flexible_part=(total - data["critical_load"]).clip(min=0),
        cover_surge=cover * (balance - follow_limit - band).clip(min=0),
        cover_drop=cover * (-balance - follow_limit - band).clip(min=0),
        # a store that absorbs can swing from full charge to full discharge
        ramp_binds=data["ramp"] * data["step_length"] < data["power"] * xr.where(can_absorb(data), 2, 1),
        is_storage=is_storage(data),
        can_absorb=can_absorb(data),
        is_generator=is_generator(data),
        is_demand_response=is_demand_response(data),
        node_energised=at_node["energised"],
        node_tan_phi=at_node["tan_phi"],
        cut_off_load=(1 - at_node["energised"]) * at_node["base_load"],
        cut_off_reactive=(1 - at_node["energised"]) * at_node["base_reactive"],
    )
    late = derived["affected"] & derived["after_deadline"]
    derived = derived.assign(
        minimal_fleets(
            derived,
            derived["cover_surge"].where(late, 0.0),
            derived["cover_drop"].where(late, 0.0),
            (arrives & sendable & (data["hub_available"] > 0)).any("hub"),
        )
    )
    return derived.assign(_network_rows(derived, follow_limit))


def _network_rows(data: xr.Dataset, follow_limit: xr.DataArray) -> xr.Dataset:
    """Masks of the voltage and flow rows that a change of withdrawal within its box can violate."""
    box = _withdrawal_box(data, follow_limit)
    voltage = binding_voltage_rows(data, *box)
    sides = polygon(SIDES)
    return xr.Dataset(
        {
            "voltage_low_rows": voltage["lower"],
            "voltage_high_rows": voltage["upper"],
            "flow_rows": binding_flow_rows(data, *box, sides=SIDES),
            "side_cos": sides["cos"],
            "side_sin": sides["sin"],
            "apothem": sides["apothem"],
        }
    )


def _withdrawal_box(data: xr.Dataset, follow_limit: xr.DataArray) -> tuple[xr.DataArray, ...]:
    """Bounds of the change of active and reactive withdrawal, (scenario, node, time)."""
    live = data["node_energised"] * data["affected"]
    limit = follow_limit * data["affected"]
    low = live * (-limit - data["surplus_limit"]) - data["cut_off_load"]
    high = live * limit - data["cut_off_load"]
    # what the load draws is the shock less what is shed or called off, and never less than nothing
    most = data["imbalance"]
    least = -np.minimum(data["surge"] + data["flexible_part"], data["critical_part"] + data["flexible_part"]) + most
    reactive_low = live * data["node_tan_phi"] * least - data["cut_off_reactive"]
    reactive_high = live * data["node_tan_phi"] * most - data["cut_off_reactive"]
    dims = ("scenario", "node", "time")
    all_steps = xr.ones_like(data["step_length"])
    return tuple((bound * all_steps).transpose(*dims) for bound in (low, high, reactive_low, reactive_high))


def expected_value(data: xr.Dataset) -> xr.Dataset:
    """The mean of all events as one scenario, with what nodes need and can use computed anew.

    The plan for it is the yardstick of the value of the stochastic solution (Birge 1982). Energisation becomes a share:
    it scales loads, supply and withdrawals, whose means it gives. A hub is available where it is so more often than
    not: a share of a module cannot be sent, so the mean would close every hub that ever fails. The data are no event
    and must not be checked as one.

    Parameters
    ----------
    data
        Data of A.1, with ``probability``.
    """
    weight = data["probability"]
    mean = data.drop_dims("scenario")
    for name in (*UNCERTAIN, "travel_time"):
        if name in data and "scenario" in data[name].dims and name not in ("requirement", "usable"):
            value = (weight * data[name]).sum("scenario").drop_attrs()
            if name == "hub_available":
                value = (value >= 0.5).astype(data[name].dtype)
            if name == "travel_time":
                value = _usual(data[name], weight)
            mean[name] = value.expand_dims(scenario=[0]).assign_attrs(data[name].attrs)
    mean["probability"] = ("scenario", [1.0], weight.attrs)
    mean["requirement"] = requirement(mean, float(data["requirement"].attrs.get("margin", 1.0)))
    if "shortfall_by_technology" in data and bool(data["shortfall_by_technology"]):
        return mean.assign(usable=mean["requirement"])
    return mean.assign(usable=usable(mean, mean["requirement"]))


def _usual(times: xr.DataArray, weight: xr.DataArray) -> xr.DataArray:
    """The weighted median over scenarios, the lower one where two would do."""
    times = times.transpose("scenario", ...)
    order = np.argsort(times.values, axis=0, kind="stable")
    reached = np.cumsum(weight.values[order], axis=0) >= 0.5 - 1e-9
    middle = np.take_along_axis(order, reached.argmax(axis=0)[None], axis=0)
    return times.isel(scenario=0, drop=True).copy(data=np.take_along_axis(times.values, middle, axis=0)[0])
