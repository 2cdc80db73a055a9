"""The figures of the report as tables: pure functions from labelled results to pandas, in the units of the data."""

from __future__ import annotations

import math
from typing import Final

import numpy as np
import pandas as pd
import xarray as xr

from drofcm.fcm.catalogue import yearly_transport
from drofcm.report.inputs import DO_NOTHING, FIRST_STAGE_TERMS, NOMINAL_PLAN, RECOURSE_TERMS, ReportInput
from drofcm.report.stable import dark, settling_time, share_dark, share_stable, stable
from drofcm.solve.result import Result

__all__ = [
    "cost_terms",
    "event_class",
    "expected",
    "gap_of_benefit",
    "headline",
    "hub_service",
    "hub_use",
    "moves",
    "network_state",
    "nodes",
    "scenarios",
    "shipments",
    "tail_by_class",
    "value_at_risk",
]

_SAME: Final = 1e-9
"""Costs that differ by less, as a share, are equal."""

_FULL: Final = 1e-6
"""Slots that count as none."""

TERM_LABELS = {
    "cost_hub_setup": "Hubs",
    "cost_transport": "Transport",
    "cost_modules": "Modules",
    "cost_shortfall": "Missing modules",
    "cost_interruption": "Interruption",
    "cost_dispatch": "Dispatch",
    "cost_unserved_critical": "Unserved, critical",
    "cost_unserved_flexible": "Unserved, flexible",
    "cost_unabsorbed": "Unabsorbed drop",
    "cost_voltage_slack": "Voltage limit violated",
}

HEADLINE: Final = {
    "expected_cost": ("Expected cost", "k$/a"),
    "first_stage_cost": ("of which hubs, modules and transport", "k$/a"),
    "events_cost": ("of which events", "k$/a"),
    "event_mean": ("One event, mean", "k$/event"),
    "event_tail": ("One event, CVaR", "k$/event"),
    "year_tail": ("A year, CVaR, simulated", "k$/a"),
    "unserved": ("Unserved energy, expected", "MWh/event"),
    "unabsorbed": ("Drop not absorbed, expected", "MWh/event"),
    "stabilised": ("Nodes stable in time", "%"),
    "dark": ("Nodes dark within their band", "%"),
    "hubs": ("Hubs open", ""),
    "modules": ("Modules and contracts", ""),
    "risk_weighted_objective": ("Risk-weighted objective (no cash)", "k$/a"),
}
"""Key -> label and unit, as the page shows it."""


def expected(result: Result, quantity: xr.DataArray) -> xr.DataArray:
    """Probability-weighted mean over scenarios."""
    return (quantity * result.probability).sum("scenario")


def value_at_risk(cost: np.ndarray, probability: np.ndarray, alpha: float) -> tuple[float, float]:
    """VaR and CVaR of a discrete cost at confidence ``alpha`` (Rockafellar and Uryasev 2002).

    Parameters
    ----------
    cost, probability
        Arrays of shape (scenario,); the probabilities sum to one.
    alpha
        Confidence level in [0, 1).
    """
    order = np.argsort(cost, kind="stable")
    reached = np.cumsum(probability[order])
    # rounding must not push the quantile one scenario up when alpha is a sum of probabilities
    value = float(cost[order][np.searchsorted(reached, alpha - 1e-9)])
    return value, value + float(probability @ np.maximum(cost - value, 0)) / (1 - alpha)


def headline(inputs: ReportInput) -> pd.DataFrame:
    """The figures a planner compares first, in $/a, $ and MWh an event, and shares.

    Returns
    -------
    pandas.DataFrame
        Index: the keys of ``HEADLINE``, and ``event_worst`` and ``year_tail_error``; columns: the plans.
    """
    return pd.DataFrame(
        {name: inputs.money[name].figures | _headline_of(inputs.data, own) for name, own in inputs.plans.items()}
    )


def _headline_of(data: xr.Dataset, result: Result) -> dict[str, float]:
    shares = {"stabilised": share_stable(data, result), "dark": share_dark(data, result)}
    return {
        "unserved": float(expected(result, result.terms["unserved_energy"].sum("node"))),
        "unabsorbed": float(expected(result, result.terms["unabsorbed_energy"].sum("node"))),
        **{name: float(share.weighted(result.probability).mean()) for name, share in shares.items()},
        "hubs": float(result.first_stage["hub_active"].sum()),
        "modules": float(result.first_stage["shipped"].sum()),
    }


def moves(inputs: ReportInput) -> pd.DataFrame:
    """Modules of the plan and of the nominal plan, where either has some.

    Returns
    -------
    pandas.DataFrame
        Columns ``hub``, ``fcm``, ``nominal``, ``modules`` and ``change``, the difference of the two.
    """
    plans = {"nominal": inputs.baselines[NOMINAL_PLAN], "modules": inputs.plan}
    shipped = {name: plan.first_stage["shipped"].sum("supplier").round() for name, plan in plans.items()}
    table = xr.Dataset(shipped).to_dataframe(["hub", "fcm"])
    table = table[(table > 0).any(axis=1)]
    return table.assign(change=table["modules"] - table["nominal"]).reset_index()


def gap_of_benefit(inputs: ReportInput) -> float:
    """(upper - lower bound) over (do nothing - lower bound): constants in the objective cannot flatter it.

    NaN where no bound is known, and where nothing can be gained over doing nothing.
    """
    plan, nothing = inputs.plan, inputs.baselines[DO_NOTHING].objective
    room = nothing - plan.lower_bound
    if not math.isfinite(room) or room <= _SAME * abs(nothing):
        return math.nan
    return (plan.upper_bound - plan.lower_bound) / room


def cost_terms(inputs: ReportInput) -> pd.DataFrame:
    """Each term of the cost in $/a, the terms of the recourse as expected values; columns sum to the expected costs."""
    rate = float(inputs.data["event_rate"])
    table = {}
    for name, result in inputs.plans.items():
        column = {term: float(result.terms[term]) for term in FIRST_STAGE_TERMS}
        column |= {term: rate * float(expected(result, result.terms[term])) for term in RECOURSE_TERMS}
        table[name] = column
    return pd.DataFrame(table)


def event_class(data: xr.Dataset) -> pd.Series:
    """The class of each scenario as text; ``"event"`` where the data do not tell classes apart."""
    for name in ("event_class", "event", "kind"):
        if name in data.coords and data[name].dims == ("scenario",):
            return pd.Series(data[name].values.astype(str), index=data.indexes["scenario"])
    return pd.Series("event", index=data.indexes["scenario"])


def scenarios(inputs: ReportInput) -> pd.DataFrame:
    """One line per scenario, dearest first: class, weights, cost, energy and the largest shock with its node."""
    data, plan = inputs.data, inputs.plan
    peak = abs(data["shock"]).max("time")
    rate = float(data["event_rate"])
    table = pd.DataFrame(
        {
            "event_class": event_class(data),
            "probability": plan.probability.to_series(),
            "risk_weight": plan.risk_weight.to_series(),
            "cost": plan.recourse_cost.to_series() / rate,
            "cost_do_nothing": inputs.baselines[DO_NOTHING].recourse_cost.to_series() / rate,
            "unserved": plan.terms["unserved_energy"].sum("node").to_series(),
            "unabsorbed": plan.terms["unabsorbed_energy"].sum("node").to_series(),
            "stabilised": share_stable(data, plan).to_series(),
            "buses_off": (1 - data["energised"]).sum("bus").to_series(),
            "peak": peak.max("node").to_series(),
            "peak_node": peak.idxmax("node").to_series(),
        }
    )
    return table.sort_values("cost", ascending=False, kind="stable")


def tail_by_class(inputs: ReportInput) -> pd.Series:
    """Share of each event class in the part of the distribution that makes the CVaR; sums to one."""
    plan = inputs.plan
    order = np.argsort(-plan.recourse_cost.values, kind="stable")
    left = np.minimum(np.cumsum(plan.probability.values[order]), 1 - inputs.alpha)
    share = pd.Series(np.diff(left, prepend=0.0), index=inputs.data.indexes["scenario"][order])
    by_class = share.groupby(event_class(inputs.data)).sum() / (1 - inputs.alpha)
    return by_class[by_class > 1e-9].sort_values(ascending=False)


def shipments(inputs: ReportInput) -> pd.DataFrame:
    """What to ship where: one line per supplier, hub and technology with a shipment, costs in $/a."""
    data, shipped = inputs.data, inputs.plan.first_stage["shipped"]
    table = shipped.transpose("supplier", "hub", "fcm").to_series().rename("modules").reset_index()
    table = table[table["modules"] > 0.5].sort_values(["hub", "fcm", "supplier"]).reset_index(drop=True)
    at = {dim: xr.DataArray(table[dim].values, dims="row") for dim in ("supplier", "hub", "fcm")}
    table["modules"] = table["modules"].round().astype(int)
    table["distance"] = data["distance"].sel(supplier=at["supplier"], hub=at["hub"]).values
    table["cost_transport"] = yearly_transport(data).sel(fcm=at["fcm"]).values * table["distance"] * table["modules"]
    table["cost_modules"] = data["module_cost"].sel(fcm=at["fcm"]).values * table["modules"]
    return table


def hub_use(inputs: ReportInput) -> pd.DataFrame:
    """One line per hub: open or not, room used, modules held and sent in an event (expected), cost $/a.

    By decomposition also ``slot_worth``, what one more slot takes off the risk-weighted objective, $/a: the price of
    the hub's room in the relaxation; NaN where slots are empty, so that one more is worth nothing.
    """
    data, plan = inputs.data, inputs.plan
    held = plan.first_stage["shipped"].sum("supplier")
    out = expected(plan, plan.recourse["sent"].sum(["node", "fcm"]))
    available = (data["hub_available"] * plan.probability).sum("scenario")
    table = xr.Dataset(
        {
            "active": plan.first_stage["hub_active"],
            "setup_cost": data["setup_cost"],
            "storage_limit": data["storage_limit"],
            "used": (held * data["footprint"]).sum("fcm"),
            "modules": held.sum("fcm"),
            "sent": out,
            "available": available,
        }
    ).to_dataframe()
    table["active"] = table["active"] > 0.5
    if "hub_room" in plan.prices:
        full = table["used"] > table["storage_limit"] - _FULL
        table["slot_worth"] = -plan.prices["hub_room"].to_series().where(full & table["active"])
    return table


def hub_service(inputs: ReportInput) -> pd.DataFrame:
    """One line per hub: share of its room in use, and of all events, and of the dearest, in which it sends a module.

    Returns
    -------
    pandas.DataFrame
        ``used_share`` (NaN without room), ``serves`` (by probability) and ``serves_tail`` (by weight in the CVaR).
    """
    data, plan = inputs.data, inputs.plan
    sends = (plan.recourse["sent"].fillna(0).sum(["node", "fcm"]) > 0.5).transpose("scenario", "hub")
    held = (plan.first_stage["shipped"].sum("supplier") * data["footprint"]).sum("fcm")
    order = np.argsort(-plan.recourse_cost.values, kind="stable")
    left = np.minimum(np.cumsum(plan.probability.values[order]), 1 - inputs.alpha)
    weight = np.zeros(len(order))
    weight[order] = np.diff(left, prepend=0.0) / (1 - inputs.alpha)
    table = {
        "used_share": (held / data["storage_limit"].where(data["storage_limit"] > 0)).to_series(),
        "serves": (sends * plan.probability).sum("scenario").to_series(),
        "serves_tail": pd.Series(weight @ sends.values, index=sends.indexes["hub"]),
    }
    return pd.DataFrame(table)


def nodes(inputs: ReportInput) -> pd.DataFrame:
    """One line per node that some event touches: load, energy missed, shares stable in time and dark, and t_i [h].

    Shares are of the events that touch the node. Where it is dark within its band it is not stable, and t_i is
    infinite.
    """
    data, plan = inputs.data, inputs.plan
    in_time = stable(data, plan)
    touched = in_time.notnull()
    # a node that no event touches, such as one that only loses reactive load, has no time to speak of
    some = touched.any("scenario")
    settled = settling_time(data, plan, inputs.quantities["stabilisation_time"])
    settled = settled.where(settled.notnull(), np.inf).where(touched | ~some)
    table = xr.Dataset(
        {
            "touched": (touched * plan.probability).sum("scenario"),
            "critical_load": data["critical_load"],
            "stabilise_within": data["stabilise_within"],
            "unserved": expected(plan, plan.terms["unserved_energy"]),
            "unserved_do_nothing": expected(
                inputs.baselines[DO_NOTHING], inputs.baselines[DO_NOTHING].terms["unserved_energy"]
            ),
            "unabsorbed": expected(plan, plan.terms["unabsorbed_energy"]),
            "ens": expected(plan, plan.terms["ens"]),
            "stabilised": in_time.weighted(plan.probability).mean("scenario"),
            "dark": dark(data, plan).astype(float).where(touched).weighted(plan.probability).mean("scenario"),
            "settled_median": settled.quantile(0.5, "scenario", method="inverted_cdf").drop_vars("quantile"),
            "settled_worst": settled.max("scenario"),
        }
    ).to_dataframe()
    return table[table["touched"] > 0]


def network_state(data: xr.Dataset, recourse: xr.Dataset) -> xr.Dataset:
    """Voltages and loadings that follow from a solution, as ranges over scenarios and steps (FORMULATION A.4).

    The squared voltage is ``v_base**2 - 2 (R delta + X delta_q)`` with the change of withdrawal
    ``delta = energised (g - e_minus) - (1 - energised) base_load`` at the nodes; modules inject at unity power factor.

    Parameters
    ----------
    data
        The labelled data of the study.
    recourse
        Variables over (scenario, node, time) and (scenario, node, fcm, time); NaN where one does not exist.

    Returns
    -------
    xarray.Dataset
        ``voltage_low``, ``voltage_high`` [pu] (bus), the base case included and buses left out while de-energised;
        ``loading`` [1], ``loading_base`` [1] (line), largest apparent power over the rating.
    """
    base = _apparent(data["flow_base"], data["flow_base_reactive"])
    low, high, peak = [data["v_base"]], [data["v_base"]], [base]
    for scenario in data["scenario"].values:
        case, event = data.sel(scenario=scenario), recourse.sel(scenario=scenario)
        active, reactive = _change_of_withdrawal(case, event)
        squared = data["v_base"] ** 2 - 2 * (
            xr.dot(data["path_resistance"], active, dim="node") + xr.dot(data["path_reactance"], reactive, dim="node")
        )
        voltage = np.sqrt(squared.clip(min=0)).where(case["energised"] > 0.5)
        low.append(voltage.min("time"))
        high.append(voltage.max("time"))
        flow = data["flow_base"] + xr.dot(data["downstream"], active, dim="node")
        flow_reactive = data["flow_base_reactive"] + xr.dot(data["downstream"], reactive, dim="node")
        peak.append(_apparent(flow, flow_reactive).max("time"))

    def over_cases(arrays: list[xr.DataArray]) -> xr.DataArray:
        return xr.concat(
            [array.reset_coords(drop=True) for array in arrays], "case", coords="minimal", compat="override"
        )

    state = {
        "voltage_low": over_cases(low).min("case"),
        "voltage_high": over_cases(high).max("case"),
        "loading": over_cases(peak).max("case") / data["rating"],
        "loading_base": base / data["rating"],
    }
    return xr.Dataset({name: array.drop_attrs() for name, array in state.items()})


def _apparent(active: xr.DataArray, reactive: xr.DataArray) -> xr.DataArray:
    return (active**2 + reactive**2) ** 0.5


def _change_of_withdrawal(case: xr.Dataset, event: xr.Dataset) -> tuple[xr.DataArray, xr.DataArray]:
    """Change of active [MW] and reactive [Mvar] withdrawal at the nodes, over (node, time), for one scenario."""
    at_node = case[["energised", "base_load", "base_reactive", "tan_phi"]].sel(bus=case["node"]).drop_vars("bus")
    follow = event["supply_follow"].fillna(0) - event["unabsorbed"].fillna(0)
    modules = sum(
        sign * event[name].fillna(0).sum("fcm")
        for name, sign in {"discharge": 1, "charge": -1, "generation": 1}.items()
        if name in event
    )
    on = at_node["energised"]
    active = on * follow - (1 - on) * at_node["base_load"]
    reactive = on * at_node["tan_phi"] * (follow + modules) - (1 - on) * at_node["base_reactive"]
    return active, reactive
