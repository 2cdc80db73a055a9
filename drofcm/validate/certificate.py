"""A solution of the demand-shock problem, checked from the data alone.

Every cost is computed again and every row, bound of a variable and integrality of FORMULATION A.2 to A.4 (paper A,
equations 1 to 16) is evaluated with NumPy and xarray: no model, no solver, nothing from ``problems``. Whole numbers
are rounded first, after it was checked that they are whole to the tolerance; rows are then judged for the plan that
would be carried out, so that an ``u = 0.999999`` times a large constant cannot hide a violation.

What the worst case is follows from the definition of the ambiguity set, stated here a second time
(`drofcm.validate.set_figures`, `drofcm.validate.worst_case`, `drofcm.validate.worst_bound`), never from the functions
that gave the answer. That no *plan* costs less, the lower bound and the gap, is the solver's word and not certified.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from drofcm.risk.sets import AmbiguitySet
from drofcm.validate import recompute
from drofcm.validate.ledger import Certificate, Ledger
from drofcm.validate.worst_case import enter_worst_case

__all__ = ["Certificate", "certify", "report_quantities"]

POLYGON_SIDES = 12
LARGEST_BLOCK = 2_000_000  # entries of one array over the network

_NODE = ("scenario", "node")
_NODE_TIME = ("scenario", "node", "time")
_FLEET = ("scenario", "node", "fcm", "time")

_FIRST_STAGE = {"hub_active": ("hub",), "shipped": ("supplier", "hub", "fcm")}
_RECOURSE = {
    "sent": ("scenario", "node", "hub", "fcm"),
    "stabilised": _NODE,
    "missing_share": _NODE,
    "arrived": _FLEET,
    "charge": _FLEET,
    "discharge": _FLEET,
    "soc": _FLEET,
    "generation": _FLEET,
    "demand_response": _FLEET,
    "supply_follow": _NODE_TIME,
    "unserved_critical": _NODE_TIME,
    "unserved_flexible": _NODE_TIME,
    "unabsorbed": _NODE_TIME,
    "voltage_slack": ("scenario", "bus", "time"),
}
_FREE = ("stabilised", "supply_follow")
_TERMS = {
    **dict.fromkeys(("cost_hub_setup", "cost_transport", "cost_modules"), ()),
    **dict.fromkeys(
        (
            "cost_shortfall",
            "cost_interruption",
            "cost_dispatch",
            "cost_unserved_critical",
            "cost_unserved_flexible",
            "cost_unabsorbed",
            "cost_voltage_slack",
        ),
        ("scenario",),
    ),
    **dict.fromkeys(("ens", "unserved_energy", "unabsorbed_energy"), _NODE),
}


def certify(
    data: xr.Dataset,
    first_stage: xr.Dataset,
    recourse: xr.Dataset,
    terms: xr.Dataset,
    recourse_cost: xr.DataArray,
    *,
    objective: float,
    risk_weights: xr.DataArray | None,
    risk: Mapping[str, Any] | None = None,
    ambiguity: AmbiguitySet | None = None,
    worst_case_probability: xr.DataArray | None = None,
    tolerance: float = 1e-5,
) -> Certificate:
    """Check a solution against the data: every row, bound of a variable, integrality and cost.

    Parameters
    ----------
    data
        The labelled data (``drofcm.core.dims.DEMAND_SHOCK_DATA``).
    first_stage
        ``hub_active`` (hub), ``shipped`` (supplier, hub, fcm).
    recourse
        The recourse variables, ``scenario`` first, NaN where a variable does not exist; one that is left out exists
        nowhere.
    terms
        The recorded cost terms and energies.
    recourse_cost
        Recourse cost over ``scenario``, $/a.
    objective
        The reported objective, $/a.
    risk_weights
        Worst-case weights of the risk measure over ``scenario``, of which the objective is the weighted sum;
        None leaves that check out.
    risk
        The measure in plain numbers, for instance ``{"expectation": 0.5, "cvar": [(0.9, 0.5)], "worst_case": 0.0}``:
        the objective is then computed again by sorting the recourse costs. None leaves that check out.
    ambiguity, worst_case_probability
        The ambiguity set, bound or not, and the distribution over ``scenario`` that nature picked from it: the costs
        are then sorted under that distribution, which must lie in the set, and no other one in it may cost more.
        Distances and moments are computed again from the data; those that a bound set brings must be the same. Both
        or neither; without them the probabilities of the data are nature's.
    tolerance
        Largest violation that passes, relative to ``max(1, |left|, |right|)`` of the row; ten times the feasibility
        tolerance of the solver by default.

    Returns
    -------
    Certificate
        Solution arrays whose labels are not those of the data fail, and then nothing else is checked.
    """
    ledger = Ledger(tolerance)
    given: dict[str, tuple[xr.Dataset, Mapping[str, tuple[str, ...]], bool]] = {
        "first_stage": (first_stage, _FIRST_STAGE, True),
        "recourse": (recourse, _RECOURSE, False),
        "terms": (terms, _TERMS, True),
        "result": (recourse_cost.to_dataset(name="recourse_cost"), {"recourse_cost": ("scenario",)}, True),
    }
    if risk_weights is not None:
        given["risk"] = (risk_weights.to_dataset(name="risk_weight"), {"risk_weight": ("scenario",)}, True)
    if worst_case_probability is not None:
        chosen = worst_case_probability.to_dataset(name="worst_case_probability")
        given["nature"] = (chosen, {"worst_case_probability": ("scenario",)}, True)
    ledger.violation("labels", "A.1", xr.zeros_like(recourse_cost))
    arranged = {part: _arranged(ledger, data, *entry) for part, entry in given.items()}
    for part in ("result", "risk", "nature"):
        for array in arranged.get(part, xr.Dataset()).values():
            ledger.violation("numbers are finite", "A.1", array.copy(data=np.isnan(array.values).astype(float)))
    if not ledger.close().passed:
        return ledger.close()
    with xr.set_options(arithmetic_join="exact", keep_attrs=False):
        plan = _whole(ledger, arranged["first_stage"], ("hub_active", "shipped"))
        full = _whole(ledger, _completed(arranged["recourse"]), ("sent", "stabilised"))
        _first_stage_rows(ledger, data, plan)
        _existence_rows(ledger, data, arranged["recourse"], full)
        _logistics_rows(ledger, data, plan, full)
        modules = recompute.modules_in_operation(data, full.sent)
        ledger.equal("arrivals", "A.3", full.arrived, modules)
        _storage_rows(ledger, data, full, modules)
        _output_rows(ledger, data, full, modules)
        _balance_rows(ledger, data, full)
        _supply_rows(ledger, data, full)
        _stability_rows(ledger, data, full)
        _network_rows(ledger, data, full)
        cost = arranged["result"].recourse_cost
        _cost_rows(ledger, data, plan, full, arranged["terms"], cost)
        enter_worst_case(
            ledger,
            data,
            cost,
            spent=float(sum(recompute.first_stage_terms(data, plan).values(), start=xr.DataArray(0.0))),
            objective=float(objective),
            weights=arranged["risk"].risk_weight if risk_weights is not None else None,
            risk=risk,
            ambiguity=ambiguity,
            chosen=arranged["nature"].worst_case_probability if worst_case_probability is not None else None,
        )
    return ledger.close()


def _arranged(
    ledger: Ledger, data: xr.Dataset, given: xr.Dataset, wanted: Mapping[str, tuple[str, ...]], needed: bool
) -> xr.Dataset:
    """The arrays in the order of the data; a label that is missing or surplus is a failure, never a join."""
    arrays = {}
    for name, dims in wanted.items():
        if name not in given:
            if needed:
                ledger.fail("labels", "A.1", f"{name} is missing")
            labels = {dim: data[dim] for dim in dims}
            arrays[name] = xr.DataArray(np.nan, coords=labels, dims=dims)
            continue
        array = given[name].reset_coords(drop=True)
        if set(array.dims) != set(dims):
            ledger.fail("labels", "A.1", f"{name} is over {array.dims}, not {dims}")
            continue
        wrong = [
            dim
            for dim in dims
            if array.sizes[dim] != data.sizes[dim] or set(array.indexes[dim]) != set(data.indexes[dim])
        ]
        if wrong:
            ledger.fail("labels", "A.1", f"{name} has other labels of {', '.join(wrong)} than the data")
            continue
        array = array.transpose(*dims).astype(float)
        # infinite values would turn into NaN in the rows
        ledger.violation("numbers are finite", "A.1", array.copy(data=np.isinf(array.values).astype(float)))
        sorted_already = all(array.indexes[dim].equals(data.indexes[dim]) for dim in dims)
        arrays[name] = array if sorted_already else array.reindex({dim: data[dim] for dim in dims})
    return xr.Dataset(arrays)


def _completed(recourse: xr.Dataset) -> xr.Dataset:
    """Variables that do not exist are zero; a node without variables is stable."""
    filled = recourse.fillna(0.0)
    return filled.assign(stabilised=recourse.stabilised.fillna(1.0))


def _whole(ledger: Ledger, variables: xr.Dataset, names: tuple[str, ...]) -> xr.Dataset:
    rounded = {}
    for name in names:
        ledger.whole(f"{name} is whole", "integrality", variables[name])
        rounded[name] = np.round(variables[name])
    return variables.assign(rounded)


def _first_stage_rows(ledger: Ledger, data: xr.Dataset, plan: xr.Dataset) -> None:
    active, shipped = plan.hub_active, plan.shipped
    ledger.at_least("hub_active is 0 or 1", "(4)", active, 0.0)
    ledger.at_most("hub_active is 0 or 1", "(4)", active, 1.0)
    ledger.at_least("shipped is not negative", "(4)", shipped, 0.0)
    ledger.at_most("supplier stock", "(2)", shipped.sum("hub"), data.stock)
    room = (data.footprint * shipped).sum(["supplier", "fcm"])
    ledger.at_most("hub room", "(3)", room, data.storage_limit * active)
    ledger.at_least("hubs forced in", "A.2", active, data.hub_forced_in)
    ledger.at_most("hubs forced out", "A.2", active, 1 - data.hub_forced_out)
    ledger.at_least("least number of hubs", "A.2", active.sum(), data.hub_minimum)
    ledger.at_most("largest number of hubs", "A.2", active.sum(), data.hub_maximum)
    if "budget" in data:
        spent = sum(recompute.first_stage_terms(data, plan).values(), start=xr.DataArray(0.0))
        ledger.at_most("budget", "A.2", spent, data.budget)


def _existence_rows(ledger: Ledger, data: xr.Dataset, recourse: xr.Dataset, full: xr.Dataset) -> None:
    """Nothing is decided where there is nothing to decide, and nothing is left undecided where there is."""
    for name in _RECOURSE:
        if name not in _FREE:
            ledger.at_least("variables are not negative", "A.3", full[name], 0.0)
    ledger.at_least("stabilised is 0 or 1", "(8)", full.stabilised, 0.0)
    ledger.at_most("stabilised is 0 or 1", "(8)", full.stabilised, 1.0)
    absent = recourse.stabilised.isnull()
    ledger.zero_where("nodes without variables are in balance", "A.3", recompute.imbalance(data), absent)
    ledger.zero_where("nodes without variables need no modules", "A.3", data.requirement, absent)
    useless = ~((data.usable > 0) & recompute.reaches(data).any("time"))
    ledger.zero_where("modules are sent where they are of use", "A.3", full.sent, useless)
    storage = recompute.is_storage(data)
    for name in ("charge", "discharge", "soc"):
        ledger.zero_where("stores alone charge and discharge", "(10)", full[name], ~storage)
    ledger.zero_where("only what absorbs charges", "A.3", full.charge, ~recompute.can_absorb(data))
    ledger.zero_where("generators alone generate", "A.3", full.generation, ~recompute.is_generator(data))
    contracts = recompute.is_demand_response(data)
    ledger.zero_where("contracts alone shed load", "A.3", full.demand_response, ~contracts)
    node = xr.DataArray(data.indexes["bus"].isin(data.indexes["node"]), dims="bus", coords={"bus": data.bus})
    lost = (1 - data.energised) * (abs(data.base_load) + abs(data.base_reactive))
    ledger.zero_where("load that is cut off belongs to a node", "A.3", lost, ~node)


def _logistics_rows(ledger: Ledger, data: xr.Dataset, plan: xr.Dataset, full: xr.Dataset) -> None:
    staged = data.hub_available * plan.shipped.sum("supplier")
    ledger.at_most("modules staged", "(6)", full.sent.sum("node"), staged)
    ledger.at_most("modules needed", "(7)", full.sent.sum("hub"), data.usable)
    if recompute.missed_by_technology(data):
        return
    wanting = (data.requirement > 0).any("fcm")
    short = (1 - recompute.share_of_need(data, full.sent)).where(wanting, 0.0)
    ledger.at_least("share of the need without modules", "(5)", full.missing_share, short)
    ledger.at_most("share of the need without modules", "(5)", full.missing_share, 1.0)


def _previous(values: xr.DataArray) -> xr.DataArray:
    """The value one step before, zero before the onset."""
    return values.shift(time=1, fill_value=0.0)


def _storage_rows(ledger: Ledger, data: xr.Dataset, full: xr.Dataset, modules: xr.DataArray) -> None:
    storage = recompute.is_storage(data)
    stored = data.step_length * (data.eta_charge * full.charge - full.discharge / data.eta_discharge)
    brought = data.initial_soc * data.energy * (modules - _previous(modules))
    # energy that arrives in a step is there for that step, as is what was stored in the step before
    expected = (_previous(full.soc) + stored + brought).where(storage, 0.0)
    ledger.equal("state of charge", "(10)", full.soc, expected.transpose(*_FLEET))
    ledger.at_most("capacity of stores", "(11)", full.soc, data.energy * modules)
    ledger.at_most("power of stores", "(11)", full.charge + full.discharge, data.power * modules)


def _output_rows(ledger: Ledger, data: xr.Dataset, full: xr.Dataset, modules: xr.DataArray) -> None:
    step = data.step_length
    final = modules.isel(time=-1, drop=True)
    for name, label in (("generation", "fuel of generators"), ("demand_response", "energy of contracts")):
        ledger.at_most(f"power: {name}", "A.3", full[name], data.power * modules)
        ledger.at_most(label, "A.3", (full[name] * step).sum("time"), data.energy * final)
    fleets = {
        "stores": full.discharge - full.charge,
        "generators": full.generation,
        "contracts": full.demand_response,
    }
    reach = data.ramp * step * modules
    for name, output in fleets.items():
        ledger.at_most(f"ramp of {name}", "(12)", abs(output - _previous(output)), reach)


def _balance_rows(ledger: Ledger, data: xr.Dataset, full: xr.Dataset) -> None:
    needed = recompute.imbalance(data)
    delivered = (full.discharge - full.charge + full.generation + full.demand_response).sum("fcm")
    unserved = full.unserved_critical + full.unserved_flexible
    ledger.equal("node balance", "(9)", delivered + full.supply_follow + unserved - full.unabsorbed, needed)
    total = (recompute.base_at_node(data, "base_load") + data.shock).clip(min=0.0)
    flexible = (total - data.critical_load).clip(min=0.0)
    critical = np.minimum(data.critical_load, total)
    ledger.at_most("critical load", "A.3", full.unserved_critical, critical)
    ledger.at_most("flexible load", "A.3", full.unserved_flexible + full.demand_response.sum("fcm"), flexible)
    ledger.at_most("unserved is at most the surge", "A.3", unserved, needed.clip(min=0.0))
    ledger.at_most("unabsorbed is at most M-", "A.3", full.unabsorbed, recompute.surplus_limit(data))


def _supply_rows(ledger: Ledger, data: xr.Dataset, full: xr.Dataset) -> None:
    follow = full.supply_follow
    change = abs(follow - _previous(follow))
    ledger.at_most("supply ramp", "A.3", change, data.supply_ramp * data.step_length)
    live = recompute.base_at_node(data, "energised")
    ledger.at_most("supply headroom", "A.3", abs(follow), live * data.supply_headroom)
    ledger.at_most("feeder headroom", "A.3", follow.sum("node"), data.feeder_headroom)


def _stability_rows(ledger: Ledger, data: xr.Dataset, full: xr.Dataset) -> None:
    """Rows (8) as written, and what they are meant to say: u_i = 1 implies t_i <= T_i, on the grid of the steps."""
    start = recompute.start_of_step(data)
    late = start >= data.stabilise_within - 1e-9
    band, missed = data.stability_band, 1 - full.stabilised
    unserved = full.unserved_critical + full.unserved_flexible
    limits = {
        "unserved while stabilised": (unserved, recompute.imbalance(data).clip(min=0.0)),
        "unabsorbed while stabilised": (full.unabsorbed, recompute.surplus_limit(data)),
    }
    for name, (energy, most) in limits.items():
        right = band + (most - band).clip(min=0.0) * missed
        ledger.at_most(name, "(8)", energy.where(late, 0.0), right.where(late, 0.0))
    horizon = data.step_length.sum("time")
    allowed = start.where(late).min("time").fillna(horizon)
    settled = recompute.time_to_stable(data, full, ledger.tolerance)
    ledger.at_most("stabilised within T", "(8)", settled.where(full.stabilised == 1, 0.0).clip(max=1e6), allowed)


def _network_rows(ledger: Ledger, data: xr.Dataset, full: xr.Dataset) -> None:
    active, reactive = recompute.network_change(data, full)
    size = max(1, LARGEST_BLOCK // (data.sizes["time"] * max(data.sizes["bus"], data.sizes["line"] * POLYGON_SIDES)))
    # over a large feeder, all scenarios at once would fill the memory
    for first in range(0, data.sizes["scenario"], size):
        block = {"scenario": slice(first, first + size)}
        delta, delta_q = active.isel(block), reactive.isel(block)
        _voltage_rows(ledger, data, full.voltage_slack.isel(block), delta, delta_q)
        _line_rows(ledger, data, delta, delta_q)


def _voltage_rows(
    ledger: Ledger, data: xr.Dataset, slack: xr.DataArray, delta: xr.DataArray, delta_q: xr.DataArray
) -> None:
    fall = xr.dot(data.path_resistance, delta, dim="node") + xr.dot(data.path_reactance, delta_q, dim="node")
    voltage = data.v_base**2 - 2 * fall
    rows = (data.monitored_bus == 1) & (data.energised.sel(scenario=delta.scenario) == 1)
    ledger.at_most("upper voltage", "A.4", (voltage - slack).where(rows, 0.0), (data.v_max**2).where(rows, 0.0))
    ledger.at_least("lower voltage", "A.4", (voltage + slack).where(rows, 0.0), (data.v_min**2).where(rows, 0.0))


def _line_rows(ledger: Ledger, data: xr.Dataset, delta: xr.DataArray, delta_q: xr.DataArray) -> None:
    watched = data.monitored_line == 1
    flow = (data.flow_base + xr.dot(data.downstream, delta, dim="node")).where(watched, 0.0)
    flow_q = (data.flow_base_reactive + xr.dot(data.downstream, delta_q, dim="node")).where(watched, 0.0)
    angle = xr.DataArray(2 * np.pi * np.arange(POLYGON_SIDES) / POLYGON_SIDES, dims="side")
    apparent = np.cos(angle) * flow + np.sin(angle) * flow_q
    ledger.at_most("line rating, polygon", "A.4", apparent, data.rating * np.cos(np.pi / POLYGON_SIDES))
    ledger.at_most("line rating", "A.4", (flow**2 + flow_q**2) ** 0.5, data.rating)


def _cost_rows(
    ledger: Ledger, data: xr.Dataset, plan: xr.Dataset, full: xr.Dataset, terms: xr.Dataset, cost: xr.DataArray
) -> None:
    first = recompute.first_stage_terms(data, plan)
    event = recompute.cost_terms(data, full)
    energy = recompute.energy_terms(data, full)
    for name, value in {**first, **event}.items():
        ledger.equal(name, "(1)" if name in first else "(5)", terms[name], value)
    for name, value in energy.items():
        # a node without variables has no recorded energy
        ledger.equal(name, "(13)", terms[name].fillna(0.0), value)
    yearly = data.event_rate * sum(event.values(), start=xr.DataArray(0.0))
    ledger.equal("recourse cost", "(5)", cost, yearly)


def report_quantities(data: xr.Dataset, recourse: xr.Dataset) -> xr.Dataset:
    """Quantities that the report shows beside the costs.

    Parameters
    ----------
    data, recourse
        As for `certify`.

    Returns
    -------
    Dataset
        ``time_to_stable`` t_i (scenario, node), h, infinite where the node is outside its band in the last step, NaN
        where it has nothing to stabilise; ``share_stabilised`` (scenario), of the nodes with something to stabilise;
        ``charge_discharge_overlap`` (scenario) and ``unserved_unabsorbed_overlap`` (scenario), MWh;
        ``ramp_rows`` and ``ramp_rows_that_can_bind`` (fcm): rows (12) of fleets that may be sent, and those among
        them where a module cannot cross its whole range of output (P, for a store that absorbs 2 P) within the step.
    """
    ledger = Ledger(0.0)
    arranged = _arranged(ledger, data, recourse, _RECOURSE, False)
    ledger.close().raise_if_failed()
    full = _completed(arranged)
    concerned = arranged.stabilised.notnull()
    step = data.step_length
    unserved = full.unserved_critical + full.unserved_flexible
    both = np.minimum(full.charge, full.discharge)
    swing = data.power * (1 + recompute.can_absorb(data))
    rows = (data.usable > 0) & recompute.reaches(data).any("hub")
    binding = rows & (data.ramp * step < swing)
    others = {"scenario", "node", "time"}
    quantities = {
        "time_to_stable": (recompute.time_to_stable(data, full).where(concerned), "h"),
        "share_stabilised": (full.stabilised.where(concerned).mean("node"), "1"),
        "charge_discharge_overlap": ((both * step).sum(["node", "fcm", "time"]), "MWh"),
        "unserved_unabsorbed_overlap": ((np.minimum(unserved, full.unabsorbed) * step).sum(["node", "time"]), "MWh"),
        "ramp_rows": (rows.sum(others), "rows"),
        "ramp_rows_that_can_bind": (binding.sum(others), "rows"),
    }
    return xr.Dataset({name: array.assign_attrs(units=unit) for name, (array, unit) in quantities.items()})
