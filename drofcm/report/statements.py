"""What the figures say, in sentences computed from them: the decision and the headings of the page."""

from __future__ import annotations

import math
from typing import Final

import pandas as pd
import xarray as xr

from drofcm.core.errors import shorten
from drofcm.report.evidence import information
from drofcm.report.inputs import DO_NOTHING, FIRST_STAGE_TERMS, ReportInput
from drofcm.report.style import aligned, amount, join, money, number, percent, technology
from drofcm.report.tables import gap_of_benefit, shipments, tail_by_class
from drofcm.solve.progress import ended

__all__ = [
    "cost",
    "decision",
    "dispatch",
    "names",
    "network",
    "nodes",
    "outcome",
    "proof",
    "risk",
    "where",
]

_SAME: Final = 1e-9
"""Costs that differ by less, as a share, are equal."""


def names(inputs: ReportInput, layer: str) -> dict[str, str]:
    """Names for people by label, from a layer."""
    table = inputs.layers[layer]
    return dict(zip(table["id"].astype(str), table.get("name", table["id"]).astype(str), strict=True))


def decision(inputs: ReportInput) -> str:
    """The decision in one sentence: hubs to open, modules to ship."""
    active = inputs.plan.first_stage["hub_active"]
    called = names(inputs, "hubs")
    opened = [called[str(label)] for label in active["hub"].values[active.values > 0.5]]
    if not opened:
        return "Open no hub and ship no module."
    shipped = inputs.plan.first_stage["shipped"].sum(["supplier", "hub"])
    parts = [f"Open hub{'s' if len(opened) > 1 else ''} {join(opened)}"]
    for verb, travels in (("ship", 1), ("arrange", 0)):
        counts = shipped.where(inputs.data["travels"] == travels, 0)
        modules = [
            technology(str(label), float(counts.sel(fcm=label)))
            for label in counts["fcm"].values
            if counts.sel(fcm=label) > 0.5
        ]
        if modules:
            parts.append(f"{verb} {join(modules)}")
    return "; ".join(parts) + "."


def outcome(inputs: ReportInput, headline: pd.DataFrame) -> list[str]:
    """What the plan costs and saves in money, in a year and in an event, against doing nothing."""
    plan, nothing = inputs.money["this plan"], inputs.money[DO_NOTHING]
    saved = nothing.expected - plan.expected
    share = f" ({percent(abs(saved) / nothing.expected)})" if nothing.expected > 0 else ""
    year = (
        f"It costs {money(plan.first_stage)} k$ a year for hubs, modules and transport; events then cost "
        f"{money(plan.events)} instead of {money(nothing.events)} k$ a year in expectation. In all that is "
        f"{money(plan.expected)} k$/a, {money(abs(saved))} k$/a{share} {'less' if saved >= 0 else 'more'} than doing "
        "nothing."
    )
    before, after = aligned([headline[DO_NOTHING]["unserved"], headline["this plan"]["unserved"]])
    tail = percent(1 - inputs.alpha)
    event = (
        f"One event costs {money(plan.event_mean)} instead of {money(nothing.event_mean)} k$ on average, one of the "
        f"dearest {tail} {money(plan.event_tail)} instead of {money(nothing.event_tail)} k$; a year of the dearest "
        f"{tail} of years costs {money(plan.year_tail)} instead of {money(nothing.year_tail)} k$, all told. Unserved "
        f"energy goes from {before} to {after} MWh an event."
    )
    return [year, event]


def proof(inputs: ReportInput) -> list[tuple[str, str]]:
    """How good the plan is known to be: status, bounds with their origin, gaps."""
    plan = inputs.plan
    status = {
        "optimal": "solved to the gap that was asked for",
        "stalled": "the solver can tell no closer; the plan is valid",
        "time_limit": "stopped at the time limit; the plan is valid",
        "interrupted": "stopped by the user; the plan is valid",
        "evaluated": "a given plan, evaluated; not optimised",
    }
    word = ended(plan.status, plan.gap)
    if word == "within the gap asked for":
        status["optimal"] = "a plan of a lower objective may exist, by no more than the gap"
    lines = [
        ("Risk-weighted objective", inputs.formula),
        ("Status", f"{word}: {status.get(plan.status, 'see the log')}"),
    ]
    origins = {
        "lower_bound": "proven by the solver: no plan has a lower one",
        "upper_bound": "this plan, the recourse of every scenario solved again at it",
    }
    for key, default in origins.items():
        value = getattr(plan, key)
        origin = str(plan.provenance.get(key, default))
        shown = f"{money(value)} k$/a, {origin}" if math.isfinite(value) else "none yet"
        lines.append((key.replace("_", " ").capitalize(), shown))
    gap = f"{percent(plan.gap, 2)} of the objective" if math.isfinite(plan.gap) else "unknown: no bound yet"
    lines += [("Gap", gap), ("Gap of the benefit", _gap_of_benefit(inputs))]
    return [*lines, *information(inputs)]


def _gap_of_benefit(inputs: ReportInput) -> str:
    benefit, plan = gap_of_benefit(inputs), inputs.plan
    if math.isfinite(benefit):
        return f"{percent(benefit, 2)} of (do nothing − lower bound)"
    if not math.isfinite(plan.lower_bound):
        return "unknown: no bound yet"
    dearer = plan.objective > inputs.baselines[DO_NOTHING].objective * (1 + _SAME)
    return "none: the plan costs more than doing nothing" if dearer else "none: nothing is gained over doing nothing"


def where(inputs: ReportInput) -> str:
    """How far modules come and how many hubs hold them."""
    table = shipments(inputs)
    if table.empty:
        return "No module is shipped"
    mean = float((table["distance"] * table["modules"]).sum() / table["modules"].sum())
    hubs, suppliers = table["hub"].nunique(), table["supplier"].nunique()
    total = int(table["modules"].sum())
    modules = _count(total, "module or contract", "modules and contracts")
    return (
        f"{modules[0].upper()}{modules[1:]} from {_count(suppliers, 'supplier')} "
        f"{'are' if total != 1 else 'is'} held at {_count(hubs, 'hub')}, after {number(mean, 0)} km on average"
    )


def cost(terms: pd.DataFrame) -> str:
    """What the money is spent on."""
    plan = terms["this plan"]
    invested = float(plan[list(FIRST_STAGE_TERMS)].sum())
    saved = float(terms[DO_NOTHING].sum()) - (float(plan.sum()) - invested)
    if invested <= 0:
        return "Nothing is invested; the cost is that of events"
    spent = f"{money(invested)} k$/a for hubs, modules and transport"
    if saved <= 0:
        return f"{spent} do not lower the expected cost of events"
    return f"{spent} save {money(saved)} k$/a of expected event cost, {amount(saved / invested, 2)} $ for each $"


def risk(inputs: ReportInput, var: float, cvar: float, mean: float) -> str:
    """How heavy the tail is and which events make it."""
    share = tail_by_class(inputs)
    dear = f"The dearest {percent(1 - inputs.alpha)} of events cost {money(cvar)} k$ each on average"
    if mean > 0:
        dear += f", {amount(cvar / mean, 2)} times the mean"
    if len(share) == 1:
        return dear if share.index[0] == "event" else f"{dear}; all of them are of class {share.index[0]}"
    made = [f"{name} ({percent(value)})" for name, value in share.items() if value >= 0.05]
    return f"{dear}; by class: {join(made)}"


def dispatch(scenarios: pd.DataFrame) -> str:
    """In how many events something stays unserved."""
    short = scenarios["unserved"] > 0.01
    probability = float(scenarios.loc[short, "probability"].sum())
    if not short.any():
        return "No event leaves more than 0.01 MWh unserved"
    worst = int(scenarios["unserved"].to_numpy().argmax())
    in_class = scenarios["event_class"].iloc[worst]
    most = f"{number(scenarios['unserved'].max(), 2)} MWh, in scenario {scenarios.index[worst]} ({in_class})"
    return f"{percent(probability)} of events leave more than 0.01 MWh unserved; the most, {most}"


def nodes(table: pd.DataFrame) -> str:
    """Which nodes are not always stable in time, and which are dark within their band."""
    late = table[table["stabilised"] < 1 - 1e-9]
    if late.empty:
        return f"All {len(table)} nodes that events touch are stable in time in every event"
    worst = table["stabilised"].idxmin()
    steady = len(table) - len(late)
    told = (
        f"{steady} of {len(table)} nodes {'is' if steady == 1 else 'are'} stable in time in every event; "
        f"the weakest is node {worst}, stable in {percent(table['stabilised'].min())} of its events"
    )
    black = [str(label) for label in table.index[table["dark"] > 0]]
    if not black:
        return told
    named = f"node {black[0]} is" if len(black) == 1 else f"{len(black)} nodes ({shorten(black)}) are"
    return f"{told}; {named} dark in some, within the band"


def network(data: xr.Dataset, state: xr.Dataset) -> str:
    """Whether voltages and ratings hold in every event, of the linear model alone."""
    low = state["voltage_low"].idxmin().item()
    lowest = float(state["voltage_low"].min())
    loaded = state["loading"].idxmax().item()
    broken = int(((state["voltage_low"] < data["v_min"] - 1e-6) | (state["voltage_high"] > data["v_max"] + 1e-6)).sum())
    limits = "every voltage limit holds in every event"
    if broken:
        limits = f"{_count(broken, 'bus leaves its', 'buses leave their')} voltage limits in some event"
    return (
        f"In the linear model {limits}; AC power flow was not run at this plan. There "
        f"lowest {number(lowest, 3)} pu at bus {low}; line {loaded} is loaded most, "
        f"{percent(float(state['loading'].max()))} of its rating"
    )


def _count(count: int, noun: str, nouns: str = "") -> str:
    words = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
    text = words[count] if count < len(words) else number(count, 0)
    return f"{text} {noun if count == 1 else nouns or noun + 's'}"
