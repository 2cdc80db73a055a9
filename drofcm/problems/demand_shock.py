"""Flexible capacity against demand shocks: equations (1) to (16) of paper A.

Where the paper leaves something open, the decision taken is that of FORMULATION A.1 to A.4. Costs of the first stage
are in $/a; the recourse is declared in $ an event and enters the objective times ``event_rate``. The risk measure
(14) to (16) over the ambiguity set is chosen when the program is solved.

References
----------
Wang, C., Dawaghreh, O. and Magableh, S. K. (2026). A two-stage risk-averse DRO-MILP methodological framework for
managing AI/data center demand shocks. arXiv:2601.14665.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import linopy
import xarray as xr
from linopy.expressions import LinearExpression

from drofcm.core.errors import DrofcmWarning, raise_if_any
from drofcm.dsl.program import TwoStageProgram
from drofcm.dsl.stage import Stage
from drofcm.problems.demand_shock_data import check, derive
from drofcm.problems.demand_shock_dispatch import serve_early_and_steadily

__all__ = ["place_modules", "program", "respond"]


def program(data: xr.Dataset, *, checked: bool = False, cover_rows: bool = True) -> TwoStageProgram:
    """The demand-shock problem on a Dataset of A.1.

    Parameters
    ----------
    data
        Exactly the variables of `drofcm.core.dims.DEMAND_SHOCK_DATA`.
    checked
        Skip the check: for data that are no event, such as the mean of all events.
    cover_rows
        Also write rows that no plan violates but that tighten the relaxation.

    Raises
    ------
    InputError
        With every finding.

    Warns
    -----
    DrofcmWarning
        If nodes have too many minimal fleets to list them: the relaxation is weaker there.
    """
    if not checked:
        raise_if_any(check(data))
    derived = derive(data, cover_rows=cover_rows)
    left_out, affected = int(derived["fleets_left_out"].sum()), int(derived["affected"].sum())
    if left_out:
        what = f"at {left_out} of {affected} nodes of events there are too many minimal fleets to list"
        warnings.warn(f"{what}; plans and costs are the same, the search is slower", DrofcmWarning, stacklevel=2)
    return TwoStageProgram(
        derived,
        first_stage=place_modules,
        recourse=respond,
        preference=serve_early_and_steadily,
    )


def place_modules(m: Stage, data: xr.Dataset) -> LinearExpression:
    """Stage I, before the event: which hubs to open, how many modules to ship from which supplier."""
    active = m.binary("hub_active", over="hub")  # z_d
    shipped = m.integer("shipped", over="supplier hub fcm")  # y_ldg
    m.subject_to("stock", shipped.sum("hub") <= data.stock)  # (2)
    m.subject_to("hub_room", (data.footprint * shipped).sum(["supplier", "fcm"]) <= data.storage_limit * active)  # (3)
    m.subject_to("hub_forced_in", active >= data.hub_forced_in)
    m.subject_to("hub_forced_out", active <= 1 - data.hub_forced_out)
    m.subject_to("hub_minimum", active.sum("hub") >= data.hub_minimum)
    m.subject_to("hub_maximum", active.sum("hub") <= data.hub_maximum)

    setup = (data.setup_cost * active).sum("hub")
    # paid once in the life of what travels
    per_year = data.transport_cost * data.travels / data.life
    transport = (per_year * data.distance * shipped).sum()
    modules = (data.module_cost * shipped).sum()
    m.record("cost_hub_setup", setup)
    m.record("cost_transport", transport)
    m.record("cost_modules", modules)
    cost: LinearExpression = setup + transport + modules
    if "budget" in data:
        m.subject_to("budget", cost <= data.budget)
    return cost  # (1), first part


def respond(m: Stage, data: xr.Dataset) -> LinearExpression:
    """Stage II, after the event: send modules, run them, follow with the supply; the rest is unserved or unabsorbed."""
    send(m, data)
    run_storage(m, data)
    run_generation_and_response(m, data)
    run_fleets(m, data)
    follow_with_supply(m, data)
    modules = Modules.at_node(m)
    balance(m, data, modules)
    stabilise(m, data, modules)
    bring_a_fleet(m, data)
    change = withdrawal(m, data, modules)
    keep_voltages(m, data, *change)
    keep_flows(m, data, *change)
    yearly: LinearExpression = data.event_rate * event_cost(m, data)
    return yearly


def send(m: Stage, data: xr.Dataset) -> None:
    """Modules from hubs to nodes, and when they arrive: (6) and (7)."""
    # (2), (3) and (7) imply the bound; with it no scenario need be solved to learn that its cost is bounded below
    sent = m.integer("sent", over="node hub fcm", upper=data.most_sent, where=data.sendable)  # x_idl
    staged = data.hub_available * m["shipped"].sum("supplier")
    m.subject_to("staged", sent.sum("node") <= staged, where=data.sendable.any("node"))  # (6)
    m.subject_to("needed", sent.sum("hub") <= data.usable, where=data.fleet)  # (7)
    # implied by (2), (3), (6) and (7) with whole hubs, and what makes their relaxation tight
    m.subject_to("from_open_hub", sent <= data.most_sent * data.hub_available * m["hub_active"], where=data.sendable)
    arrived = m.nonnegative("arrived", over="node fcm time", where=data.fleet)  # n_ilt
    m.subject_to("arrival", arrived == (data.arrives * sent).sum("hub"), where=data.fleet_in_time)


def run_storage(m: Stage, data: xr.Dataset) -> None:
    """Batteries and long-duration storage: (10) and (11); the state of charge stands at the end of the step.

    A store that does not absorb takes no power from the feeder: it delivers what it brought.
    """
    here = data.fleet & data.is_storage
    charge = m.nonnegative("charge", over="node fcm time", where=here & data.can_absorb)
    discharge = m.nonnegative("discharge", over="node fcm time", where=here)
    soc = m.nonnegative("soc", over="node fcm time", where=here)
    n = m["arrived"]
    # what cannot take power from the feeder never charges
    stored = data.step_length * ((data.eta_charge * charge).fillna(0) - discharge / data.eta_discharge)
    brought = data.initial_soc * data.energy * (n - before(n))
    m.subject_to("soc", soc == before(soc) + stored + brought, where=data.fleet_in_time & data.is_storage)  # (10)
    m.subject_to("soc_limit", soc <= data.energy * n, where=data.fleet_in_time & data.is_storage)  # (11)


def run_generation_and_response(m: Stage, data: xr.Dataset) -> None:
    """Fast generators with their fuel, and demand response with the energy that may be called."""
    generation = m.nonnegative("generation", over="node fcm time", where=data.fleet & data.is_generator)
    called = m.nonnegative("demand_response", over="node fcm time", where=data.fleet & data.is_demand_response)
    used = energy_of(generation.fillna(0) + called.fillna(0), data)
    available = data.energy * m["arrived"].isel(time=-1, drop=True)
    m.subject_to("energy", used <= available, where=data.fleet & ~data.is_storage)


def run_fleets(m: Stage, data: xr.Dataset) -> None:
    """(12) for every fleet: power, and a ramp of the net output from rest; ramps that cannot bind are not written."""
    n, charge = m["arrived"], m["charge"].fillna(0)
    delivered = m["discharge"].fillna(0) + m["generation"].fillna(0) + m["demand_response"].fillna(0)
    m.subject_to("power", delivered + charge <= data.power * n, where=data.fleet_in_time)
    output = delivered - charge
    rise, limit = output - before(output), data.ramp * data.step_length * n
    m.subject_to("ramp_up", rise <= limit, where=data.fleet & data.ramp_binds)
    m.subject_to("ramp_down", -rise <= limit, where=data.fleet & data.ramp_binds)


def follow_with_supply(m: Stage, data: xr.Dataset) -> None:
    """What the supply adds (or takes back) at each node, within ramp and headroom, and over the feeder."""
    limit = data.supply_limit
    g = m.variable("supply_follow", over="node time", lower=-limit, upper=limit, where=data.affected_in_time)
    rise, change = g - before(g), data.supply_ramp * data.step_length
    m.subject_to("supply_up", rise <= change, where=data.affected_in_time)
    m.subject_to("supply_down", -rise <= change, where=data.affected_in_time)
    m.subject_to("feeder_headroom", g.sum("node") <= data.feeder_headroom, where=data.affected.any("node"))


@dataclass(frozen=True)
class Modules:
    """What all modules at a node do together, MW over (scenario, node, time)."""

    injected: LinearExpression  # discharge and generation
    called: LinearExpression  # demand response
    charged: LinearExpression

    @classmethod
    def at_node(cls, m: Stage) -> Modules:
        """Sums over the technologies; a variable counts where it exists."""
        discharge, generation, called, charge = (
            m[name].sum("fcm") for name in ("discharge", "generation", "demand_response", "charge")
        )
        return cls(discharge + generation, called, charge)


def balance(m: Stage, data: xr.Dataset, modules: Modules) -> None:
    """Power at every node: modules, supply, unserved surge e+ and unabsorbed drop e- meet the imbalance."""
    here = data.affected_in_time
    critical = m.nonnegative("unserved_critical", over="node time", upper=data.critical_part, where=here)
    flexible = m.nonnegative("unserved_flexible", over="node time", upper=data.flexible_part, where=here)
    surplus = m.nonnegative("unabsorbed", over="node time", upper=data.surplus_limit, where=here)
    unserved = critical + flexible
    met = modules.injected + modules.called - modules.charged + m["supply_follow"] + unserved - surplus
    m.subject_to("balance", met == data.imbalance, where=here)
    # no load is shed twice
    m.subject_to("flexible_once", flexible + modules.called <= data.flexible_part, where=here)
    m.subject_to("unserved_limit", unserved <= data.surge, where=here)


def stabilise(m: Stage, data: xr.Dataset, modules: Modules) -> None:
    """(8): a node counts as stabilised when its imbalance stays within the band from T_i on."""
    missed = 1 - m.binary("stabilised", over="node", where=data.affected)  # 1 - u_i
    unserved = m["unserved_critical"] + m["unserved_flexible"]
    beyond_surge = (data.surge - data.stability_band).clip(min=0)
    beyond_drop = (data.surplus_limit - data.stability_band).clip(min=0)
    late = data.affected & data.after_deadline
    m.subject_to(
        "stable_surge", unserved <= data.stability_band + beyond_surge * missed, where=late & (beyond_surge > 0)
    )
    m.subject_to(
        "stable_drop", m["unabsorbed"] <= data.stability_band + beyond_drop * missed, where=late & (beyond_drop > 0)
    )
    # implied by the rows above, and what makes their relaxation tight
    u, delivered = m["stabilised"], modules.injected + modules.called
    m.subject_to("cover_surge", delivered >= data.cover_surge * u, where=late & (data.cover_surge > 0))
    m.subject_to("cover_drop", modules.charged >= data.cover_drop * u, where=late & (data.cover_drop > 0))


def bring_a_fleet(m: Stage, data: xr.Dataset) -> None:
    """A stabilised node has one of its minimal fleets; implied by whole modules, and tight where they are relaxed."""
    share = m.nonnegative("fleet_share", over="node alternative", where=data.alternative_exists)
    held = m["arrived"].isel(time=-1, drop=True)
    m.subject_to("one_fleet", share.fillna(0).sum("alternative") - m["stabilised"] >= 0, where=data.fleet_needed)
    part = (data.minimal_fleet * share.fillna(0)).sum("alternative")
    m.subject_to("fleet_held", held - part >= 0, where=(data.minimal_fleet > 0).any("alternative"))


def withdrawal(m: Stage, data: xr.Dataset, modules: Modules) -> tuple[LinearExpression, LinearExpression]:
    """Change of what the nodes draw from the feeder, MW and Mvar: A.4. Modules inject at unity power factor."""
    net = m["supply_follow"].fillna(0) - m["unabsorbed"].fillna(0)
    active = data.node_energised * net - data.cut_off_load
    reactive = (
        data.node_energised * data.node_tan_phi * (net + modules.injected - modules.charged) - data.cut_off_reactive
    )
    return active, reactive


def keep_voltages(m: Stage, data: xr.Dataset, active: LinearExpression, reactive: LinearExpression) -> None:
    """Linearised voltages, squared pu, within limits up to a slack, where they can be violated at all."""
    rows = data.voltage_low_rows | data.voltage_high_rows
    slack = m.nonnegative("voltage_slack", over="bus time", where=rows)
    bus = rows.any([dim for dim in rows.dims if dim != "bus"])
    if not bus.any():
        return
    near = data.sel(bus=data.indexes["bus"][bus.values])
    drop = (near.path_resistance * active).sum("node") + (near.path_reactance * reactive).sum("node")
    squared = near.v_base**2 - 2 * drop
    slack = slack.sel(bus=near.indexes["bus"])
    m.subject_to("voltage_low", squared + slack >= near.v_min**2, where=near.voltage_low_rows)
    m.subject_to("voltage_high", squared - slack <= near.v_max**2, where=near.voltage_high_rows)


def keep_flows(m: Stage, data: xr.Dataset, active: LinearExpression, reactive: LinearExpression) -> None:
    """Apparent power within the rating by an inner polygon of P and Q, where it can be violated at all."""
    line = data.flow_rows.any([dim for dim in data.flow_rows.dims if dim != "line"])
    if not line.any():
        return
    near = data.sel(line=data.indexes["line"][line.values])
    p = near.flow_base + (near.downstream * active).sum("node")
    q = near.flow_base_reactive + (near.downstream * reactive).sum("node")
    m.subject_to("rating", near.side_cos * p + near.side_sin * q <= near.apothem * near.rating, where=near.flow_rows)


def event_cost(m: Stage, data: xr.Dataset) -> LinearExpression:
    """(5) with the energy terms that its text names, $ an event; every term is recorded."""
    hours = data.step_length
    over_node = ["node"]
    load_at_risk = (data.critical_load * data.interruption_time).where(data.affected, 0)
    ens = load_at_risk - load_at_risk * m["stabilised"].fillna(0)  # (13)
    delivered = m["discharge"].sum("node") + m["generation"].sum("node") + m["demand_response"].sum("node")
    critical, flexible = (energy_of(m[name], data) for name in ("unserved_critical", "unserved_flexible"))
    surplus = energy_of(m["unabsorbed"], data)
    cost = {
        "cost_shortfall": shortfall(m, data),
        "cost_interruption": (data.unserved_penalty * ens).sum(over_node),
        "cost_dispatch": (data.dispatch_cost * hours * delivered).sum(["fcm", "time"]),
        "cost_unserved_critical": (data.critical_penalty * critical).sum(over_node),
        "cost_unserved_flexible": (data.flexible_penalty * flexible).sum(over_node),
        "cost_unabsorbed": (data.surplus_penalty * surplus).sum(over_node),
        "cost_voltage_slack": (data.slack_penalty * hours * m["voltage_slack"]).sum(["bus", "time"]),
    }
    for name, term in cost.items():
        m.record(name, term)
    m.record("ens", ens)
    m.record("unserved_energy", critical + flexible)
    m.record("unabsorbed_energy", surplus)
    return m.linear("the cost of an event", linopy.merge(list(cost.values())))


def shortfall(m: Stage, data: xr.Dataset) -> LinearExpression:
    """First term of (5): the share of the node's need without modules, or, as printed, what every technology misses."""
    if data.shortfall_by_technology:
        missing = data.shortfall_penalty * (data.requirement - m["sent"].sum("hub"))
        return m.linear("the missing modules", missing.sum(["node", "fcm"]))
    share = m.nonnegative("missing_share", over="node", upper=1, where=data.lacking)  # m_i
    met = (data.need_met * m["sent"]).sum(["hub", "fcm"])
    m.subject_to("missing_share", share + met >= 1, where=data.lacking)
    need = (data.shortfall_penalty * data.requirement).sum("fcm")
    return m.linear("the missing share", (need * share).sum("node"))


def energy_of(power: LinearExpression | linopy.Variable, data: xr.Dataset) -> LinearExpression:
    """MWh over all steps."""
    energy: LinearExpression = (data.step_length * power).sum("time")
    return energy


def before(quantity: linopy.Variable | LinearExpression) -> LinearExpression:
    """The quantity one step earlier, nothing before the first step."""
    earlier: LinearExpression = quantity.shift(time=1).fillna(0)
    return earlier
