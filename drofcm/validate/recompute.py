"""Quantities of the demand-shock problem, computed from data and a labelled solution with NumPy and xarray alone.

Nothing here knows the model or the solver, so that a fault of either cannot hide itself. Equations: FORMULATION.md,
parts A.2 to A.4, and paper A.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

__all__ = [
    "band_exceeded",
    "base_at_node",
    "can_absorb",
    "cost_terms",
    "energy_terms",
    "first_stage_terms",
    "imbalance",
    "is_demand_response",
    "is_generator",
    "is_storage",
    "missed_by_technology",
    "modules_in_operation",
    "network_change",
    "reaches",
    "risk_by_sorting",
    "share_of_need",
    "start_of_step",
    "surplus_limit",
    "time_to_stable",
]

_SAME_INSTANT = 1e-9  # h; sums of step lengths such as 1/60 h are not exact


def is_storage(data: xr.Dataset) -> xr.DataArray:
    """Technologies that charge and discharge, over ``fcm``."""
    return data["stores"] == 1


def can_absorb(data: xr.Dataset) -> xr.DataArray:
    """Stores that take power from the feeder, over ``fcm``; others deliver what they brought."""
    return is_storage(data) & (data["absorbs"] == 1)


def is_generator(data: xr.Dataset) -> xr.DataArray:
    """Technologies that travel and deliver without storing, over ``fcm``."""
    return (data["stores"] == 0) & (data["travels"] == 1)


def is_demand_response(data: xr.Dataset) -> xr.DataArray:
    """Contracts that are at the node already, over ``fcm``."""
    return (data["stores"] == 0) & (data["travels"] == 0)


def start_of_step(data: xr.Dataset) -> xr.DataArray:
    """Start of each step after the onset, h, over ``time``."""
    step = data["step_length"]
    return step.cumsum("time") - step


def reaches(data: xr.Dataset) -> xr.DataArray:
    """Whether a module from the hub is in operation at the start of the step: (hub, node, fcm, time[, scenario])."""
    ready = data["travels"] * data["travel_time"] + data["deployment_time"]
    return ready <= start_of_step(data) + _SAME_INSTANT


def modules_in_operation(data: xr.Dataset, sent: xr.DataArray) -> xr.DataArray:
    """Modules in operation n_ilt, from the modules sent: (scenario, node, fcm, time)."""
    return (sent * reaches(data)).sum("hub").transpose("scenario", "node", "fcm", "time")


def base_at_node(data: xr.Dataset, name: str) -> xr.DataArray:
    """A quantity over ``bus`` at the nodes, over ``node``."""
    return data[name].sel(bus=data.node).drop_vars("bus")


def imbalance(data: xr.Dataset) -> xr.DataArray:
    """Right-hand side of the node balance, MW: (scenario, node, time)."""
    dark = 1 - base_at_node(data, "energised")
    needed: xr.DataArray = data["shock"] + dark * base_at_node(data, "base_load")
    return needed.transpose("scenario", "node", "time")


def surplus_limit(data: xr.Dataset) -> xr.DataArray:
    """Largest drop that can be left unabsorbed M-, MW: (scenario, node, time).

    The drop itself, what the supply may have followed by the end of the step, and what the modules may put on top: all
    that are usable at full power, but no more than the node's largest surge and that follow-up.
    """
    needed = imbalance(data)
    end = data["step_length"].cumsum("time")
    reach: xr.DataArray = np.minimum(data.supply_headroom, data.supply_ramp * end) * base_at_node(data, "energised")
    at_full_power = (data["power"] * data["usable"]).sum("fcm")
    largest_surge = needed.clip(min=0.0).max("time")
    return (-needed).clip(min=0.0) + reach + np.minimum(at_full_power, largest_surge + reach)


def missed_by_technology(data: xr.Dataset) -> bool:
    """Whether (5) counts the missing modules of each technology, as the paper prints it."""
    return "shortfall_by_technology" in data and bool(data["shortfall_by_technology"] == 1)


def share_of_need(data: xr.Dataset, sent: xr.DataArray) -> xr.DataArray:
    """How much of a node's need is met by the modules sent, each a part of what its technology could use alone.

    Over (scenario, node); may exceed 1.
    """
    alone = data["usable"]
    part = (sent.sum("hub") / alone.where(alone > 0)).fillna(0.0)
    return part.sum("fcm")


def first_stage_terms(data: xr.Dataset, first_stage: xr.Dataset) -> dict[str, xr.DataArray]:
    """The terms of the first-stage cost (1), $/a, scalars."""
    shipped = first_stage.shipped
    return {
        "cost_hub_setup": (data.setup_cost * first_stage.hub_active).sum(),
        "cost_transport": (data.travels * data.transport_cost * data.distance * shipped / data.life).sum(),
        "cost_modules": (data.module_cost * shipped).sum(),
    }


def energy_terms(data: xr.Dataset, recourse: xr.Dataset) -> dict[str, xr.DataArray]:
    """Energy not served (13), energy unserved and energy unabsorbed, MWh, over (scenario, node)."""
    step = data.step_length
    unserved = recourse.unserved_critical + recourse.unserved_flexible
    # a node without variables has nothing to stabilise
    missed = 1 - recourse.stabilised
    return {
        "ens": missed * data.critical_load * data.interruption_time,
        "unserved_energy": (unserved * step).sum("time"),
        "unabsorbed_energy": (recourse.unabsorbed * step).sum("time"),
    }


def cost_terms(data: xr.Dataset, recourse: xr.Dataset) -> dict[str, xr.DataArray]:
    """The terms of the recourse cost (5), $ per event, over ``scenario``."""
    step = data.step_length
    energy = energy_terms(data, recourse)
    delivered = recourse.discharge + recourse.generation + recourse.demand_response
    missing = data.requirement * recourse.missing_share
    if missed_by_technology(data):
        missing = data.requirement - recourse.sent.sum("hub")
    slack = recourse.voltage_slack
    return {
        "cost_shortfall": (data.shortfall_penalty * missing).sum(["node", "fcm"]),
        "cost_interruption": (data.unserved_penalty * energy["ens"]).sum("node"),
        "cost_dispatch": (data.dispatch_cost * delivered * step).sum(["node", "fcm", "time"]),
        "cost_unserved_critical": (data.critical_penalty * recourse.unserved_critical * step).sum(["node", "time"]),
        "cost_unserved_flexible": (data.flexible_penalty * recourse.unserved_flexible * step).sum(["node", "time"]),
        "cost_unabsorbed": (data.surplus_penalty * energy["unabsorbed_energy"]).sum("node"),
        "cost_voltage_slack": (data.slack_penalty * slack * step).sum(["bus", "time"]),
    }


def network_change(data: xr.Dataset, recourse: xr.Dataset) -> tuple[xr.DataArray, xr.DataArray]:
    """Change of withdrawal at the nodes, MW and Mvar: two arrays over (scenario, node, time).

    A de-energised node withdraws nothing, whatever happens behind it.
    """
    live = base_at_node(data, "energised")
    followed = recourse.supply_follow - recourse.unabsorbed
    modules = (recourse.discharge - recourse.charge + recourse.generation).sum("fcm")
    active = live * followed - (1 - live) * base_at_node(data, "base_load")
    reactive = live * base_at_node(data, "tan_phi") * (followed + modules)
    reactive = reactive - (1 - live) * base_at_node(data, "base_reactive")
    order = ("scenario", "node", "time")
    return active.transpose(*order), reactive.transpose(*order)


def band_exceeded(data: xr.Dataset, recourse: xr.Dataset, tolerance: float) -> xr.DataArray:
    """Steps in which more than the band is unserved or unabsorbed: bool over (scenario, node, time)."""
    unserved = recourse.unserved_critical + recourse.unserved_flexible
    worst: xr.DataArray = np.maximum(unserved, recourse.unabsorbed)
    return worst > data["stability_band"] + tolerance * data["stability_band"].clip(min=1.0)


def time_to_stable(data: xr.Dataset, recourse: xr.Dataset, tolerance: float = 1e-5) -> xr.DataArray:
    """Time t_i from which the node stays within its band, h, over (scenario, node).

    Zero where it never leaves the band; infinite where it is outside in the last step, because the horizon then
    does not show that it ever becomes stable.
    """
    outside = band_exceeded(data, recourse, tolerance)
    last = (data["step_length"].cumsum("time") * outside).max("time")
    return last.where(~outside.isel(time=-1, drop=True), np.inf)


def risk_by_sorting(
    cost: np.ndarray, probability: np.ndarray, risk: Mapping[str, Any], dearest: int | None = None
) -> float:
    """Value of the measure under a distribution: CVaR as the mean of the worst ``1 - alpha`` of the probability.

    The worst case is the cost of the scenario ``dearest``, by default the dearest of those with probability.
    """
    unknown = set(risk) - {"expectation", "cvar", "worst_case"}
    if unknown:
        raise ValueError(f"unknown key of risk: {sorted(unknown)}; known: expectation, cvar, worst_case")
    worst = float(cost[probability > 0].max() if dearest is None else cost[dearest])
    order = np.argsort(-cost)
    falling, share = cost[order], probability[order]
    value = risk.get("expectation", 0.0) * float(cost @ probability) + risk.get("worst_case", 0.0) * worst
    for alpha, weight in risk.get("cvar", ()):
        tail = 1.0 - alpha
        if tail == 0:
            value += weight * worst
            continue
        before = np.concatenate([[0.0], np.cumsum(share)[:-1]])
        taken = np.clip(tail - before, 0.0, share)
        value += weight * float(falling @ taken) / tail
    return float(value)
