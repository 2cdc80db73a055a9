"""Dimension names, and the table of every quantity of the demand-shock problem.

The table is the contract of the labelled Dataset that `drofcm.problems.demand_shock` receives: names, symbols of
the paper, units, dimensions and sign rules. Signs: powers are MW, a surge of load is positive, a drop negative;
costs are positive and minimised; times are hours after the onset of the event (t = 0).
"""

from __future__ import annotations

from typing import Final

from drofcm.core.units import Quantity

__all__ = ["DEMAND_SHOCK_DATA", "SCENARIO", "UNCERTAIN"]

SCENARIO: Final = "scenario"


def _flag(dims: tuple[str, ...], description: str, *, required: bool = True) -> Quantity:
    return Quantity("1", dims, description, lower=0, upper=1, integer=True, required=required)


DEMAND_SHOCK_DATA: Final[dict[str, Quantity]] = {
    # hubs
    "setup_cost": Quantity("$/a", ("hub",), "annualised cost of opening the hub", "c_d", lower=0),
    "storage_limit": Quantity("slots", ("hub",), "room for modules at the hub", "D_max(d)", lower=0),
    "hub_forced_in": _flag(("hub",), "1: the hub must be opened"),
    "hub_forced_out": _flag(("hub",), "1: the hub must not be opened"),
    "hub_minimum": Quantity("hubs", (), "least number of hubs", lower=0, integer=True),
    "hub_maximum": Quantity("hubs", (), "largest number of hubs", lower=0, integer=True),
    "budget": Quantity("$/a", (), "limit of the first-stage cost; left out: no limit", lower=0, required=False),
    "hub_available": _flag(("scenario", "hub"), "0: the event puts the hub out of use"),
    # technologies, per module
    "transport_cost": Quantity("$/(module km)", ("fcm",), "transport from supplier to hub", "b_l", lower=0),
    "life": Quantity("a", ("fcm",), "years of service, over which transport is paid", lower=0, above=True),
    "module_cost": Quantity("$/(module a)", ("fcm",), "annualised cost of a module", lower=0),
    "footprint": Quantity("slots/module", ("fcm",), "room a module takes", "f_l", lower=0, above=True),
    "deployment_time": Quantity("h", ("fcm",), "from arrival to operation", "a_l", lower=0),
    "power": Quantity("MW", ("fcm",), "rated power", "P_l", lower=0, above=True),
    "energy": Quantity(
        "MWh", ("fcm",), "storage: capacity; generator: fuel; demand response: callable", "E_l", lower=0, above=True
    ),
    "ramp": Quantity("MW/h", ("fcm",), "largest change of net output", "R_l", lower=0, above=True),
    "eta_charge": Quantity("1", ("fcm",), "charging efficiency", "eta_ch", lower=0, upper=1, above=True),
    "eta_discharge": Quantity("1", ("fcm",), "discharging efficiency", "eta_dis", lower=0, upper=1, above=True),
    # a full store could circulate power to shed a surplus it has no room for
    "initial_soc": Quantity("1", ("fcm",), "state of charge on arrival, share of energy", "soc0_l", lower=0, upper=0.8),
    "dispatch_cost": Quantity("$/MWh", ("fcm",), "cost of energy delivered", lower=0),
    "stores": _flag(("fcm",), "1: a store that charges and discharges"),
    "absorbs": _flag(("fcm",), "1: can take up surplus power"),
    "travels": _flag(("fcm",), "0: already at the node (demand response)"),
    "placeable": _flag(("fcm", "node"), "0: the technology cannot serve the node", required=False),
    # logistics
    "distance": Quantity("km", ("supplier", "hub"), "road distance", "s_gd", lower=0),
    "stock": Quantity("modules", ("supplier", "fcm"), "modules the supplier has", "G_gl", lower=0, integer=True),
    "travel_time": Quantity(
        "h",
        ("hub", "node"),
        "road time from hub to node",
        "tau_di",
        optional_dims=("scenario",),
        lower=0,
        infinite=True,
    ),
    # events
    "step_length": Quantity(
        "h", ("time",), "length of the step; the first begins at the onset", "dt_t", lower=0, above=True
    ),
    "shock": Quantity("MW", ("scenario", "node", "time"), "mean change of load in the step", "xi"),
    "shock_high": Quantity("MW", ("scenario", "node", "time"), "largest change of load within the step"),
    "shock_low": Quantity("MW", ("scenario", "node", "time"), "smallest change of load within the step"),
    "requirement": Quantity(
        "modules",
        ("scenario", "node", "fcm"),
        "share of the technology in what the node needs",
        "d_il",
        lower=0,
        integer=True,
    ),
    "usable": Quantity(
        "modules",
        ("scenario", "node", "fcm"),
        "modules the node could use if it had no others",
        "c_il",
        lower=0,
        integer=True,
    ),
    "shortfall_by_technology": _flag(
        (), "1: modules are missed technology by technology, as (5) is printed; left out: 0", required=False
    ),
    "energised": _flag(("scenario", "bus"), "0: the event cuts the bus off"),
    "event_rate": Quantity("events/a", (), "events in a year", lower=0, above=True),
    "probability": Quantity("1", ("scenario",), "probability given an event", "p_s", lower=0, upper=1),
    # nodes and load
    "stabilise_within": Quantity("h", ("node",), "time allowed to stabilise", "T_i", lower=0, above=True),
    "interruption_time": Quantity("h", ("node",), "interruption charged when not stabilised", lower=0),
    "stability_band": Quantity("MW", ("node",), "imbalance that counts as stable", lower=0),
    "critical_load": Quantity("MW", ("node",), "load that is served first", "load_i", lower=0),
    "base_load": Quantity("MW", ("bus",), "load before the event", lower=0),
    "embedded_generation": Quantity(
        "MW", ("bus",), "generators at the bus before the event; base_load is net of them", lower=0, required=False
    ),
    "base_reactive": Quantity("Mvar", ("bus",), "reactive load before the event"),
    "tan_phi": Quantity("1", ("bus",), "reactive over active power of the shock", lower=0),
    "shortfall_penalty": Quantity("$/module", ("fcm", "node"), "required module that is missing", "P_li", lower=0),
    "unserved_penalty": Quantity("$/MWh", ("node",), "interruption of a node not stabilised", "gamma", lower=0),
    "critical_penalty": Quantity("$/MWh", ("node",), "unserved critical energy", "pi_c", lower=0),
    "flexible_penalty": Quantity("$/MWh", ("node",), "unserved flexible energy", "pi_f", lower=0),
    "surplus_penalty": Quantity("$/MWh", ("node",), "energy of a drop that is not absorbed", "pi_s", lower=0),
    "supply_ramp": Quantity("MW/h", ("node",), "how fast the supply follows", lower=0),
    "supply_headroom": Quantity("MW", ("node",), "how far the supply follows", lower=0),
    "feeder_headroom": Quantity("MW", (), "how far the supply follows, all nodes together", lower=0),
    # network, linear in the change of withdrawal at the nodes
    "v_base": Quantity("pu", ("bus",), "voltage before the event", lower=0, above=True),
    "v_min": Quantity("pu", ("bus",), "lower voltage limit", lower=0, above=True),
    "v_max": Quantity("pu", ("bus",), "upper voltage limit", lower=0, above=True),
    "slack_penalty": Quantity("$/(pu2 h)", (), "violation of a voltage limit, squared voltage", lower=0),
    "path_resistance": Quantity("1/MW", ("bus", "node"), "common-path resistance over squared kV", "R_ni", lower=0),
    "path_reactance": Quantity("1/Mvar", ("bus", "node"), "common-path reactance over squared kV", "X_ni", lower=0),
    "flow_base": Quantity("MW", ("line",), "active flow before the event, away from the source"),
    "flow_base_reactive": Quantity("Mvar", ("line",), "reactive flow before the event"),
    "rating": Quantity("MVA", ("line",), "thermal rating", lower=0, above=True),
    "downstream": _flag(("line", "node"), "1: the line feeds the node (A_ei)"),
    "monitored_bus": _flag(("bus",), "1: voltage limits are enforced"),
    "monitored_line": _flag(("line",), "1: the rating is enforced"),
}
"""Variables of the Dataset (FORMULATION A.1): the unit stands in ``attrs["units"]``, labels in the coordinates."""

UNCERTAIN: Final = tuple(name for name, q in DEMAND_SHOCK_DATA.items() if SCENARIO in q.dims and name != "probability")
"""Variables that differ between scenarios."""
