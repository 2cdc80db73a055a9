"""What the plan is beside other plans: what robustness moves, and the frontier of cost against tail risk."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from bokeh.plotting import figure

from drofcm.report import tables
from drofcm.report.comparison import frontier
from drofcm.report.grids import Grid
from drofcm.report.inputs import NOMINAL_PLAN, ReportInput
from drofcm.report.statements import names
from drofcm.report.style import aligned, join, money, number, percent, technology

__all__ = ["FrontierPart", "MovesPart", "frontier_part", "moves_part"]


@dataclass(frozen=True)
class MovesPart:
    """What the page says about the plan beside the one made for the stated probabilities."""

    heading: str
    note: str
    moves: Grid


@dataclass(frozen=True)
class FrontierPart:
    """What the page says and shows about plans of other risk measures and sizes of the ambiguity set."""

    heading: str
    note: str
    plans: Grid
    drawing: figure


def moves_part(inputs: ReportInput) -> MovesPart | None:
    """Hubs and modules against the nominal plan; None where there is none."""
    if NOMINAL_PLAN not in inputs.baselines:
        return None
    nominal, plan = inputs.baselines[NOMINAL_PLAN], inputs.plan
    table = tables.moves(inputs)
    dearer, saved = plan.mean - nominal.mean, nominal.objective - plan.objective
    moved = table[table["change"] != 0]
    if moved.empty:
        what = "Robustness moves nothing: hubs and modules are those of the plan for the stated probabilities"
    else:
        total = moved.groupby("fcm")["change"].sum().reindex(inputs.data["fcm"].values, fill_value=0)
        changes = [f"{_signed(change)} {technology(str(label))}" for label, change in total.items() if change]
        opened, closed = _hubs(inputs)
        parts = [f"{verb} {join(hubs)}" for verb, hubs in (("opens", opened), ("closes", closed)) if hubs]
        parts.append(f"changes modules by {join(changes)}" if changes else "moves modules between hubs")
        what = f"Robustness {join(parts)}"
    note = (
        "Against the plan made for the stated probabilities alone, this plan costs "
        f"{money(abs(dearer))} k$/a {'more' if dearer >= 0 else 'less'} in expectation under those probabilities; its "
        f"risk-weighted objective, at worst over the ambiguity set, is {money(abs(saved))} k$/a "
        f"{'lower' if saved >= 0 else 'higher'}. "
        "What searches left open (the gap) is part of such differences."
        if not moved.empty
        else "The search for that plan found nothing better, within its gap, than what this plan already is."
    )
    called = names(inputs, "hubs")
    rows = [
        [called[hub], technology(fcm), number(before, 0), number(now, 0), _signed(change)]
        for hub, fcm, before, now, change in table.itertuples(index=False)
    ]
    head = ["Hub", "Technology", NOMINAL_PLAN.capitalize(), "This plan", "Change"]
    return MovesPart(what, note, Grid(head, rows, [False, False, True, True, True]))


def _signed(change: float) -> str:
    return f"{change:+.0f}".replace("-", "−") if change else "–"


def _hubs(inputs: ReportInput) -> tuple[list[str], list[str]]:
    """Names of the hubs that this plan opens and closes against the nominal one."""
    called = names(inputs, "hubs")
    change = inputs.plan.first_stage["hub_active"] - inputs.baselines[NOMINAL_PLAN].first_stage["hub_active"]
    labels = change["hub"].to_numpy()
    return tuple([called[str(label)] for label in labels[sign * change.to_numpy() > 0.5]] for sign in (1, -1))  # type: ignore[return-value]


def frontier_part(inputs: ReportInput) -> FrontierPart | None:
    """The frontier; None where none was sought."""
    table = inputs.frontier
    if table is None:
        return None
    level, plans = percent(inputs.alpha), table.to_dict("records")
    safe, cheap = (min(plans, key=lambda own: own[name]) for name in ("event_tail", "expected_cost"))
    fallen, risen = cheap["event_tail"] - safe["event_tail"], safe["expected_cost"] - cheap["expected_cost"]
    heading = (
        f"From the cheapest plan in expectation to the one with the lightest tail, CVaR {level} of one event falls by "
        f"{money(fallen)} k$ and the expected cost of a year rises by {money(risen)} k$"
    )
    worst = float(table["gap"].max())
    note = (
        "A line for each way to weigh mean and tail, a dot for each size of the ambiguity set: 0 is the stated "
        "probabilities, 1 the set of the study. Money is under the stated probabilities, the risk-weighted objective "
        f"is that of each search. Largest gap of these searches: {percent(worst, 1)}; dots nearer to each other than "
        "that are the same."
    )
    axes = ("expected cost, k$/a", f"CVaR {level} of one event, k$")
    thousands = table[["expected_cost", "event_tail"]] / 1000
    drawing = frontier("frontier", "Expected cost against tail risk", thousands, "expected_cost", "event_tail", axes)
    columns = {
        "Expected, k$/a": _thousands(table["expected_cost"]),
        "of which hubs and modules": _thousands(table["first_stage_cost"]),
        "One event, mean, k$": _thousands(table["event_mean"]),
        f"One event, CVaR {level}, k$": _thousands(table["event_tail"]),
        f"A year, CVaR {level}, k$": _thousands(table["year_tail"]),
        "ENS, MWh an event": aligned(table["ens"]),
        "Hubs": [number(value, 0) for value in table["hubs"]],
        "Modules": [number(value, 0) for value in table["modules"]],
        "Risk-weighted objective, k$/a": _thousands(table["risk_weighted_objective"]),
        "Gap": [percent(value, 1) for value in table["gap"]],
    }
    labels = [(str(risk), number(multiple, 2)) for risk, multiple in table.index]
    rows = [[*own, *texts] for own, texts in zip(labels, zip(*columns.values(), strict=True), strict=True)]
    grid = Grid(["Risk", "Size of the set", *columns], rows, [False, True, *[True] * len(columns)])
    return FrontierPart(heading, note, grid, drawing)


def _thousands(column: pd.Series) -> list[str]:
    return [number(value, 1) for value in np.asarray(column, dtype=float) / 1000]
