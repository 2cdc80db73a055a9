"""How many modules of each technology a node can use in a scenario: d_il of paper A, equation (7).

What a node needs is what the supply cannot follow. The paper leaves d_il open; the rule is FORMULATION A.3.
"""

from __future__ import annotations

import numpy as np
import xarray as xr

from drofcm.core.units import Quantity
from drofcm.fcm.catalogue import can_absorb, is_storage

__all__ = ["MARGIN", "arrival_time", "imbalance", "requirement", "step_end", "supply_follow_up"]

MARGIN = Quantity("1", (), "modules asked for over the bare need, so that technologies can substitute", lower=1)

_ENERGY_OVER_POWER = 3.0
"""The energy need asks for at most this many times the modules that the power need asks for."""

_ROUNDING = 1e-9


def step_end(data: xr.Dataset) -> xr.DataArray:
    """End of every step, h after the onset, (time)."""
    return data["step_length"].cumsum("time").drop_attrs()


def arrival_time(data: xr.Dataset) -> xr.DataArray:
    """Hours from the onset until a module sent from a hub can run at a node, (hub, node, fcm) and perhaps scenario.

    What does not travel (demand response) is at the node already and only has to be deployed.
    """
    return (data["travels"] * data["travel_time"] + data["deployment_time"]).drop_attrs()


def imbalance(data: xr.Dataset, shock: str = "shock") -> xr.DataArray:
    """Right-hand side of the node balance, MW, (scenario, node, time): the shock, or the whole load where cut off.

    Parameters
    ----------
    data
        Needs the shock, ``energised`` and ``base_load``.
    shock
        Which shock: the mean of the step, or one of its extremes ``shock_high`` and ``shock_low``.
    """
    at_node = (
        data[["energised", "base_load"]]
        .sel(bus=data.indexes["node"])
        .rename(bus="node")
        .assign_coords(node=data.indexes["node"])
    )
    return (data[shock] + (1 - at_node["energised"]) * at_node["base_load"]).drop_attrs()


def supply_follow_up(data: xr.Dataset) -> xr.DataArray:
    """The part of the imbalance that the supply of each node alone follows, MW, (scenario, node, time).

    The supply starts at rest and tracks the imbalance as closely as ``supply_ramp`` and ``supply_headroom`` allow.
    """
    wanted = imbalance(data).transpose("scenario", "node", "time")
    energised = data["energised"].sel(bus=data.indexes["node"]).transpose("scenario", "bus").values
    room = energised * data["supply_headroom"].values
    ramp, length = data["supply_ramp"].values, data["step_length"].values
    follow = np.zeros(wanted.shape)
    level = np.zeros(wanted.shape[:2])
    for step in range(wanted.sizes["time"]):
        reach = ramp * length[step]
        level = np.clip(np.clip(wanted.values[..., step], level - reach, level + reach), -room, room)
        follow[..., step] = level
    return wanted.copy(data=follow)


def requirement(data: xr.Dataset, margin: float = 1.25) -> xr.DataArray:
    """Modules that each node can use, (scenario, node, fcm), whole numbers.

    A surge is shared among all technologies, a drop among those that absorb, in proportion to how much of their power
    is there in time: min(1, ramp T / power) x min(1, T / first arrival). Each technology's modules are the larger of
    its power need (within-step extremes) and its energy need (step means; at most three times the power need),
    times ``margin``; a scenario with both a surge and a drop takes the larger. Technologies are rounded together by
    largest remainder.

    Parameters
    ----------
    data
        Technologies, events, node data and travel times of the A.1 Dataset.
    margin
        Factor on the need, at least 1.

    Raises
    ------
    ValueError
        If ``margin`` is below 1.
    """
    if not margin >= MARGIN.lower:
        raise ValueError(f"requirement_margin must be at least 1, got {margin!r}")
    follow = supply_follow_up(data)
    short = {
        "surge": ((imbalance(data, "shock_high") - follow).clip(min=0), (imbalance(data) - follow).clip(min=0)),
        "drop": ((follow - imbalance(data, "shock_low")).clip(min=0), (follow - imbalance(data)).clip(min=0)),
    }
    storage = is_storage(data)
    usable = {
        "surge": data["energy"] * xr.where(storage, data["initial_soc"] * data["eta_discharge"], 1.0),
        "drop": data["energy"] * xr.where(storage, (1 - data["initial_soc"]) / data["eta_charge"], 1.0),
    }
    allowed = {"surge": xr.ones_like(data["absorbs"]), "drop": can_absorb(data)}
    horizon = float(data["step_length"].sum())
    arrival = arrival_time(data).min("hub")
    in_time = data["stabilise_within"]
    quick = np.minimum(1, data["ramp"] * in_time / data["power"])
    near = xr.where(arrival > in_time, in_time / arrival.where(arrival > 0, 1.0), 1.0)
    modules = []
    for kind, (extreme, mean) in short.items():
        weight = quick * near * allowed[kind] * (arrival < horizon) * (usable[kind] > 0)
        if "placeable" in data:
            weight = weight * data["placeable"].drop_attrs()
        total = weight.sum("fcm")
        share = weight / total.where(total > 0, 1.0)
        by_power = share * extreme.max("time") / data["power"]
        by_energy = share * (mean * data["step_length"]).sum("time") / usable[kind].where(usable[kind] > 0, 1.0)
        modules.append(np.maximum(by_power, np.minimum(by_energy, _ENERGY_OVER_POWER * by_power)))
    wanted = margin * np.maximum(*modules)
    touched = (imbalance(data) != 0).any("time")
    whole = _largest_remainder(wanted.where(touched, 0.0).transpose("scenario", "node", "fcm", ...))
    return whole.drop_attrs().assign_attrs(units="modules", margin=margin).rename("requirement")


def _largest_remainder(wanted: xr.DataArray) -> xr.DataArray:
    """Round along ``fcm`` so that the sum is the rounded-up sum; the largest fractions are rounded up."""
    whole = np.floor(wanted.values + _ROUNDING)
    fraction = wanted.values - whole
    missing = np.ceil(fraction.sum(axis=-1) - 1e-6).astype(int)
    rank = np.argsort(np.argsort(-fraction, axis=-1, kind="stable"), axis=-1, kind="stable")
    return wanted.copy(data=whole + (rank < missing[..., None]))
