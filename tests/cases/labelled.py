"""The enumerated optimum as the labelled solution that drofcm reports."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from cases.enumeration import Figures, Optimum, dispatch, missing_share, shortfall

_FLEET = ("scenario", "node", "fcm", "time")
_NODE_TIME = ("scenario", "node", "time")
_DIMS = {
    "sent": ("scenario", "node", "hub", "fcm"),
    "stabilised": ("scenario", "node"),
    "missing_share": ("scenario", "node"),
    **dict.fromkeys(("arrived", "charge", "discharge", "soc", "generation", "demand_response"), _FLEET),
    **dict.fromkeys(("supply_follow", "unserved_critical", "unserved_flexible", "unabsorbed"), _NODE_TIME),
    "voltage_slack": ("scenario", "bus", "time"),
}
_NAMES = {
    "n": "arrived",
    "generator": "generation",
    "contract": "demand_response",
    "g": "supply_follow",
    "critical": "unserved_critical",
    "flexible": "unserved_flexible",
    "surplus": "unabsorbed",
    "slack": "voltage_slack",
}


@dataclass
class Solution:
    """The arguments of `drofcm.validate.certificate.certify`."""

    data: xr.Dataset
    first_stage: xr.Dataset
    recourse: xr.Dataset
    terms: xr.Dataset
    recourse_cost: xr.DataArray
    objective: float


def labelled(f: Figures, optimum: Optimum) -> Solution:
    """Labelled arrays of the optimum, NaN where a variable does not exist, with every cost term."""
    data = f.data
    first = xr.Dataset(
        {"hub_active": _empty(data, ("hub",), 0.0), "shipped": _empty(data, ("supplier", "hub", "fcm"), 0.0)}
    )
    for d, value in optimum.active.items():
        first.hub_active.loc[d] = value
    for key, value in optimum.shipped.items():
        first.shipped.loc[key] = value
    recourse = xr.Dataset({name: _empty(data, dims, np.nan) for name, dims in _DIMS.items()})
    for s, (_, sent, stabilised) in optimum.recourse.items():
        _fill(recourse, f, s, sent, stabilised)
    terms = _terms(f, optimum, recourse)
    costs = [name for name in terms if name.startswith("cost_") and terms[name].dims == ("scenario",)]
    cost = f("event_rate") * sum(terms[name] for name in costs)
    return Solution(data, first, recourse, xr.Dataset(terms), cost, optimum.objective)


def _empty(data: xr.Dataset, dims: tuple[str, ...], fill: float) -> xr.DataArray:
    coords = {dim: data[dim].values for dim in dims}
    return xr.DataArray(np.full([data.sizes[dim] for dim in dims], fill), dims=dims, coords=coords)


def _fill(recourse: xr.Dataset, f: Figures, s: int, sent: Any, stabilised: dict[str, int]) -> None:
    solved = dispatch(f, s, sent, stabilised)
    assert solved is not None
    for i in f.concerned(s):
        recourse.stabilised.loc[s, i] = stabilised[i]
        if any(f("requirement", s, i, fc) > 0 for fc in f.fcms) and not f.by_technology:
            recourse.missing_share.loc[s, i] = missing_share(f, s, i, sent)
        for d in f.hubs:
            for fc in f.fcms:
                if f("usable", s, i, fc) > 0 and f.ready(s, d, i, fc) <= f.start[-1] + 1e-9:
                    recourse.sent.loc[s, i, d, fc] = 0
    for (i, d, fc), x in sent:
        recourse.sent.loc[s, i, d, fc] = x
    for (name, *labels), value in solved[1].items():
        recourse[_NAMES.get(name, name)].loc[(s, *labels)] = value


def _terms(f: Figures, optimum: Optimum, recourse: xr.Dataset) -> dict[str, xr.DataArray]:
    """Cost terms, one number after the other."""
    data, r = f.data, {name: recourse[name].fillna(0.0) for name in recourse}
    shipped = optimum.shipped.items()
    terms = {
        "cost_hub_setup": xr.DataArray(float(sum(f("setup_cost", d) * z for d, z in optimum.active.items()))),
        "cost_transport": xr.DataArray(
            float(sum(f.transport(fc) * f("distance", g, d) * x for (g, d, fc), x in shipped))
        ),
        "cost_modules": xr.DataArray(float(sum(f("module_cost", fc) * x for (_, _, fc), x in shipped))),
    }
    names = ("shortfall", "interruption", "dispatch", "unserved_critical", "unserved_flexible", "unabsorbed")
    for name in (*names, "voltage_slack"):
        terms[f"cost_{name}"] = _empty(data, ("scenario",), 0.0)
    for name in ("ens", "unserved_energy", "unabsorbed_energy"):
        terms[name] = _empty(data, ("scenario", "node"), 0.0)
    for s in f.scenarios:
        for i in f.nodes:
            missed = 1 - float(recourse.stabilised.fillna(1.0).sel(scenario=s, node=i))
            terms["ens"].loc[s, i] = missed * f("critical_load", i) * f("interruption_time", i)
            terms["cost_interruption"].loc[s] += f("unserved_penalty", i) * float(terms["ens"].loc[s, i])
            terms["cost_shortfall"].loc[s] += shortfall(f, s, i, optimum.recourse[s][1])
            for t in f.times:
                _step_terms(f, terms, r, s, i, t)
        for b in f.buses:
            for t in f.times:
                slack = float(r["voltage_slack"].loc[s, b, t])
                terms["cost_voltage_slack"].loc[s] += f("slack_penalty") * f("step_length", t) * slack
    return terms


def _step_terms(f: Figures, terms: dict[str, xr.DataArray], r: dict[Any, xr.DataArray], s: int, i: str, t: int) -> None:
    dt = f("step_length", t)
    critical, flexible, surplus = (
        float(r[name].loc[s, i, t]) for name in ("unserved_critical", "unserved_flexible", "unabsorbed")
    )
    terms["unserved_energy"].loc[s, i] += (critical + flexible) * dt
    terms["unabsorbed_energy"].loc[s, i] += surplus * dt
    terms["cost_unserved_critical"].loc[s] += f("critical_penalty", i) * critical * dt
    terms["cost_unserved_flexible"].loc[s] += f("flexible_penalty", i) * flexible * dt
    terms["cost_unabsorbed"].loc[s] += f("surplus_penalty", i) * surplus * dt
    for fc in f.fcms:
        output = sum(float(r[name].loc[s, i, fc, t]) for name in ("discharge", "generation", "demand_response"))
        terms["cost_dispatch"].loc[s] += f("dispatch_cost", fc) * output * dt
