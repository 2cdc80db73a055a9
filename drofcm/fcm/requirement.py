"""How many modules a node needs of each technology in a scenario, d_il of paper A, and how many it could use, c_il.

What a node needs is what the supply cannot follow. The paper leaves d_il open, and caps with it what may be sent (7);
that a technology is capped by what it could do alone is the rule of FORMULATION A.3.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import xarray as xr

from drofcm.fcm.catalogue import can_absorb, is_storage

__all__ = ["arrival_time", "imbalance", "requirement", "step_end", "supply_follow_up", "usable"]

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


def requirement(data: xr.Dataset, margin: float = 1.0) -> xr.DataArray:
    """Share of every technology in what a node needs, modules, (scenario, node, fcm), whole numbers: d_il.

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
        Factor on the need, at least 1: where ``requirement`` caps what may be sent, room for technologies to
        substitute each other.

    Raises
    ------
    ValueError
        If ``margin`` is below 1.
    """
    if not margin >= 1:
        raise ValueError(f"requirement_margin must be at least 1, got {margin!r}")
    in_time = data["stabilise_within"]
    quick = np.minimum(1, data["ramp"] * in_time / data["power"])
    arrival = arrival_time(data).min("hub")
    near = xr.where(arrival > in_time, in_time / arrival.where(arrival > 0, 1.0), 1.0)
    modules = []
    for need in _needs(data):
        weight = quick * near * need.helps
        total = weight.sum("fcm")
        share = weight / total.where(total > 0, 1.0)
        by_power, by_energy = share * need.by_power, share * need.by_energy
        modules.append(np.maximum(by_power, np.minimum(by_energy, _ENERGY_OVER_POWER * by_power)))
    whole = _largest_remainder(_touched(data, margin * np.maximum(*modules)))
    return whole.drop_attrs().assign_attrs(units="modules", margin=margin).rename("requirement")


def usable(data: xr.Dataset, required: xr.DataArray) -> xr.DataArray:
    """Modules of every technology that a node could use if it had no others, (scenario, node, fcm): c_il.

    The larger of the power need and the energy need as `requirement` has them, each met by the technology alone and
    rounded up, with no margin and no limit of energy over power; never less than what is required of it.

    Parameters
    ----------
    data
        Technologies, events, node data and travel times of the A.1 Dataset.
    required
        What `requirement` says.
    """
    surge, drop = (need.helps * np.maximum(need.by_power, need.by_energy) for need in _needs(data))
    whole = np.ceil(_touched(data, xr.DataArray(np.maximum(surge, drop))) - _ROUNDING)
    at_least = xr.DataArray(np.maximum(whole, required))
    return at_least.drop_attrs().assign_attrs(units="modules").rename("usable")


@dataclass(frozen=True)
class _Need:
    """What supply cannot follow of a surge, or of a drop, in modules of each technology by itself."""

    by_power: xr.DataArray
    by_energy: xr.DataArray
    helps: xr.DataArray
    """Whether a module of the technology is of any use, and can be there before the event ends."""


def _needs(data: xr.Dataset) -> tuple[_Need, _Need]:
    """The need of the surge, and that of the drop, over (scenario, node, fcm)."""
    follow = supply_follow_up(data)
    storage = is_storage(data)
    within = arrival_time(data).min("hub") < float(data["step_length"].sum())
    if "placeable" in data:
        within = within & (data["placeable"].drop_attrs() == 1)
    surge = _need(
        data,
        extreme=imbalance(data, "shock_high") - follow,
        mean=imbalance(data) - follow,
        energy=data["energy"] * xr.where(storage, data["initial_soc"] * data["eta_discharge"], 1.0),
        helps=within,
    )
    drop = _need(
        data,
        extreme=follow - imbalance(data, "shock_low"),
        mean=follow - imbalance(data),
        energy=data["energy"] * xr.where(storage, (1 - data["initial_soc"]) / data["eta_charge"], 1.0),
        helps=within & can_absorb(data),
    )
    return surge, drop


def _need(
    data: xr.Dataset, *, extreme: xr.DataArray, mean: xr.DataArray, energy: xr.DataArray, helps: xr.DataArray
) -> _Need:
    """``energy`` is what a module gives, or takes up, over the event, MWh."""
    left = mean.clip(min=0)
    return _Need(
        by_power=extreme.clip(min=0).max("time") / data["power"],
        by_energy=(left * data["step_length"]).sum("time") / energy.where(energy > 0, 1.0),
        helps=helps & (energy > 0),
    )


def _touched(data: xr.Dataset, modules: xr.DataArray) -> xr.DataArray:
    """Nothing is needed where nothing happens."""
    touched = (imbalance(data) != 0).any("time")
    return modules.where(touched, 0.0).transpose("scenario", "node", "fcm", ...)


def _largest_remainder(wanted: xr.DataArray) -> xr.DataArray:
    """Round along ``fcm`` so that the sum is the rounded-up sum; the largest fractions are rounded up."""
    whole = np.floor(wanted.values + _ROUNDING)
    fraction = wanted.values - whole
    missing = np.ceil(fraction.sum(axis=-1) - 1e-6).astype(int)
    rank = np.argsort(np.argsort(-fraction, axis=-1, kind="stable"), axis=-1, kind="stable")
    return wanted.copy(data=whole + (rank < missing[..., None]))
