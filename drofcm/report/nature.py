"""Which scenarios nature picks: nominal against worst-case probabilities, where an ambiguity set is in use."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from bokeh.models import ColumnDataSource, FactorRange, HoverTool, NumeralTickFormatter
from bokeh.plotting import figure
from bokeh.transform import dodge

from drofcm.report.figures import MOST_LABELS, blank
from drofcm.report.grids import Grid
from drofcm.report.inputs import ReportInput
from drofcm.report.style import MUTED, PLAN_COLOURS, amount, join, number, percent, plot_text

__all__ = ["NaturePart", "nature", "probabilities"]

NOMINAL, WORST = "as generated", "worst case"
_NOTICEABLE = 0.005


@dataclass(frozen=True)
class NaturePart:
    """What the page says and shows about the ambiguity set."""

    heading: str
    note: str
    classes: Grid
    drawing: figure


def nature(inputs: ReportInput, scenarios: pd.DataFrame) -> NaturePart | None:
    """The part of the page about the ambiguity set; None for a plan made for the nominal distribution alone.

    Parameters
    ----------
    inputs
        The plan and its provenance.
    scenarios
        From `drofcm.report.tables.scenarios`.
    """
    name = str(inputs.plan.provenance.get("ambiguity", "nominal"))
    if name == "nominal":
        return None
    table = probabilities(inputs, scenarios)
    return NaturePart(_heading(table), _note(inputs, name), _classes(table), _drawing(table))


def probabilities(inputs: ReportInput, scenarios: pd.DataFrame) -> pd.DataFrame:
    """One line per scenario, cheapest first: class, cost [$ per event], ``probability``, ``worst`` and ``weight``.

    ``worst`` is the distribution that nature picks and sums to one; ``weight``, the risk weights scaled to a sum of
    one, is what each scenario counts in the objective.
    """
    table = scenarios[["event_class", "cost", "probability", "risk_weight"]].copy()
    table["worst"] = inputs.plan.worst_case_probability.to_series().reindex(table.index)
    table["weight"] = table["risk_weight"] / table["risk_weight"].sum()
    return table.drop(columns="risk_weight").sort_values("cost", kind="stable")


def _heading(table: pd.DataFrame) -> str:
    moved = (table["worst"] - table["probability"]).clip(lower=0)
    if moved.sum() < _NOTICEABLE:
        return "In the worst case over the ambiguity set the events are as likely as generated"
    means = [float(table["cost"].to_numpy() @ table[name].to_numpy()) / 1000 for name in ("probability", "worst")]
    by_class = moved.groupby(table["event_class"]).sum().sort_values(ascending=False)
    to = join([f"{name} ({percent(share)})" for name, share in by_class.items() if share >= _NOTICEABLE])
    given = f" to events of class {to}" if len(set(table["event_class"])) > 1 else ""
    return (
        f"Nature moves {percent(moved.sum())} of the probability{given}: the mean cost of an event rises from "
        f"{number(means[0], 1)} to {number(means[1], 1)} k$"
    )


def _note(inputs: ReportInput, name: str) -> str:
    size = inputs.plan.provenance.get("ambiguity_size", {})
    text = f"Ambiguity set: {name}."
    if "radius_share" in size:
        text += (
            f" Two events drawn at random are {amount(size['mean_distance'])} apart on average; the radius is "
            f"{percent(size['radius_share'], 1)} of that."
        )
    return (
        f"{text} The worst case is a distribution and sums to 1. The weight in the objective is that distribution "
        "weighted again by the risk measure."
    )


def _classes(table: pd.DataFrame) -> Grid:
    total = table.groupby("event_class")[["probability", "worst", "weight"]].sum()
    columns = [[*(percent(value, 1) for value in total[name]), percent(total[name].sum(), 1)] for name in total]
    rows = [list(row) for row in zip([*map(str, total.index), "All"], *columns, strict=True)]
    head = ["Class", NOMINAL.capitalize(), WORST.capitalize(), "Weight in the objective"]
    return Grid(head, rows, [False, True, True, True], True, "")


def _drawing(table: pd.DataFrame) -> figure:
    moved = (table["worst"] - table["probability"]).abs()
    shown = table.loc[table.index.isin(moved.nlargest(MOST_LABELS).index)]
    labels = [plot_text(str(label)) for label in shown.index]
    source = ColumnDataSource(
        {
            "scenario": labels,
            "event_class": shown["event_class"].to_numpy(dtype=str),
            "cost": shown["cost"].to_numpy() / 1000,
        }
        | {name: shown[name].to_numpy() for name in ("probability", "worst", "weight")}
    )
    left_out = f", the {len(shown)} that change most" if len(shown) < len(table) else ""
    title = f"Probability of scenarios from cheapest to dearest{left_out}"
    plot = blank("nature", title, 720, 380, x_range=FactorRange(*labels))
    colours = {"probability": MUTED, "worst": PLAN_COLOURS["this plan"]}
    for offset, (column, label) in zip((-0.2, 0.2), (("probability", NOMINAL), ("worst", WORST)), strict=True):
        x = dodge("scenario", offset, range=plot.x_range)
        bars = plot.vbar(x=x, top=column, width=0.38, source=source, color=colours[column], legend_label=label)
        tooltips = [
            ("scenario", "@scenario, @event_class"),
            ("cost", "@cost{0,0.0} k$"),
            (NOMINAL, "@probability{0.00 %}"),
            (WORST, "@worst{0.00 %}"),
            ("weight in the objective", "@weight{0.00 %}"),
        ]
        plot.add_tools(HoverTool(renderers=[bars], tooltips=tooltips))
    plot.y_range.start = 0
    plot.yaxis.formatter = NumeralTickFormatter(format="0.0 %")
    plot.xaxis.axis_label = "scenario"
    plot.xgrid.grid_line_color = None
    if sum(map(len, labels)) > MOST_LABELS:
        plot.xaxis.major_label_orientation = np.pi / 2
    plot.legend.location = "top_left"
    plot.legend.background_fill_alpha = 0.85
    return plot
