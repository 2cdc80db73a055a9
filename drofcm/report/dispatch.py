"""How an event is met over time: every power of the node balance, for a chosen scenario and node."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import xarray as xr
from bokeh.layouts import row
from bokeh.models import ColumnDataSource, CustomJS, DataRange1d, HoverTool, Legend, LegendItem, Range1d, Select, Span
from bokeh.plotting import figure

from drofcm.report.figures import blank
from drofcm.report.inputs import ReportInput
from drofcm.report.stable import settling_time
from drofcm.report.style import (
    INK,
    MUTED,
    SUPPLY,
    UNABSORBED,
    UNSERVED_CRITICAL,
    UNSERVED_FLEXIBLE,
    colours_of,
    money,
    number,
    technology,
)
from drofcm.report.tables import scenarios

__all__ = ["ALL_NODES", "MOST_SCENARIOS", "Series", "balance", "dispatch"]

ALL_NODES: Final = "all nodes touched"
MOST_SCENARIOS: Final = 60
"""Scenarios whose dispatch is put into the page, the dearest first; more would only make the file large."""


@dataclass(frozen=True)
class Series:
    """One power of the balance, MW, not negative.

    Attributes
    ----------
    label, colour
        As in the legend; both directions of a technology share them.
    up
        Whether it serves a surge (stacked above zero) or takes up a drop (below zero).
    values
        Over (scenario, node, time).
    hatch
        Whether it is energy that is missed, drawn hatched.
    """

    label: str
    colour: str
    up: bool
    values: xr.DataArray
    hatch: bool = False


def balance(data: xr.Dataset, recourse: xr.Dataset) -> tuple[list[Series], xr.DataArray]:
    """The node balance of FORMULATION A.3 as series that stack to the imbalance.

    Returns
    -------
    series
        In stacking order; powers that are zero throughout are left out.
    imbalance
        Right-hand side of the balance, MW, over (scenario, node, time): those above zero less those below.
    """
    energised = data["energised"].sel(bus=data["node"]).drop_vars("bus")
    base_load = data["base_load"].sel(bus=data["node"]).drop_vars("bus")
    imbalance = data["shock"] + (1 - energised) * base_load
    follow = recourse["supply_follow"].fillna(0)
    colours = colours_of([str(label) for label in data["fcm"].values])
    series = [
        Series("supply follow-up", SUPPLY, True, follow.clip(min=0)),
        Series("supply follow-up", SUPPLY, False, (-follow).clip(min=0)),
    ]
    for label, colour in colours.items():
        for name in ("discharge", "generation", "demand_response", "charge"):
            if name in recourse and label in recourse[name]["fcm"]:
                values = recourse[name].sel(fcm=label).drop_vars("fcm").fillna(0)
                series.append(Series(technology(label), colour, name != "charge", values))
    missed = {
        "unserved_flexible": ("unserved, flexible", UNSERVED_FLEXIBLE, True),
        "unserved_critical": ("unserved, critical", UNSERVED_CRITICAL, True),
        "unabsorbed": ("drop not absorbed", UNABSORBED, False),
    }
    series += [Series(*look, recourse[name].fillna(0), hatch=True) for name, look in missed.items()]
    order = ("scenario", "node", "time")
    kept = [
        Series(one.label, one.colour, one.up, one.values.transpose(*order), one.hatch)
        for one in series
        if float(np.abs(one.values).max()) > 1e-6
    ]
    return kept, imbalance.transpose(*order)


def dispatch(inputs: ReportInput) -> Any:
    """Two panels on one time scale each (first quarter of an hour, whole event) and the choice of scenario and node.

    Returns
    -------
    bokeh.models.Row, bokeh.models.Row
        The widgets (name ``dispatch_choice``) and the panels (name ``dispatch``); they share a data source named
        ``dispatch_view``.
    """
    series, imbalance = balance(inputs.data, inputs.plan.recourse)
    pairs = _pairs(inputs)
    everything, time = _columns(inputs, series, imbalance, pairs)
    steps = inputs.data.sizes["time"]
    view = ColumnDataSource(time | {name: values[:steps] for name, values in everything.items()}, name="dispatch_view")
    y_range = DataRange1d(range_padding=0.08)
    horizon = float(inputs.data["step_length"].sum())
    close = min(0.25, horizon)
    panels = [
        _panel("dispatch_first", "First quarter of an hour", 430, view, series, y_range, 60, close),
        _panel("dispatch_whole", "Whole event", 750, view, series, y_range, 1, horizon),
    ]
    marks = [_mark(panel, scale) for panel, scale in zip(panels, (60, 1), strict=True)]
    choice = _choice(inputs, pairs, ColumnDataSource(everything), view, marks, steps)
    return choice, row(*panels, name="dispatch")


def _pairs(inputs: ReportInput) -> list[tuple[Any, str]]:
    """Scenario and node of every block of the embedded data; each scenario starts with the sum over its nodes."""
    touched = inputs.plan.recourse["stabilised"].notnull()
    pairs: list[tuple[Any, str]] = []
    for scenario in scenarios(inputs).index[:MOST_SCENARIOS]:
        of_scenario = touched.sel(scenario=scenario)
        labels = [str(label) for label in of_scenario["node"].values[of_scenario.values]]
        pairs += [(scenario, ALL_NODES), *((scenario, label) for label in labels)]
    return pairs


def _columns(
    inputs: ReportInput, series: list[Series], imbalance: xr.DataArray, pairs: list[tuple[Any, str]]
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Columns of all blocks behind each other (value, bottom and top of each series), and those of the time axis."""

    def blocks(values: xr.DataArray) -> np.ndarray:
        one_by_one = [
            values.sel(scenario=scenario).sum("node") if node == ALL_NODES else values.sel(scenario=scenario, node=node)
            for scenario, node in pairs
        ]
        return np.concatenate([block.values for block in one_by_one]).astype(np.float32)

    columns: dict[str, np.ndarray] = {}
    reached = {True: np.zeros(1, np.float32), False: np.zeros(1, np.float32)}
    for position, one in enumerate(series):
        value = blocks(one.values)
        start = np.broadcast_to(reached[one.up], value.shape)
        end = start + value if one.up else start - value
        columns |= {f"value{position}": value, f"from{position}": start.copy(), f"to{position}": end}
        reached[one.up] = end
    needed = blocks(imbalance)
    before = np.concatenate([[0], needed[:-1]]).astype(np.float32)
    before[:: inputs.data.sizes["time"]] = 0
    columns |= {"imbalance": needed, "imbalance_before": before}
    columns["cover_top"] = np.maximum(np.broadcast_to(reached[True], needed.shape), needed)
    columns["cover_bottom"] = np.minimum(np.broadcast_to(reached[False], needed.shape), needed)
    end = np.cumsum(inputs.data["step_length"].values)
    start = np.concatenate([[0], end[:-1]])
    time = {"left1": start, "right1": end, "left60": 60 * start, "right60": 60 * end}
    return columns, time


def _panel(
    name: str,
    title: str,
    width: int,
    view: ColumnDataSource,
    series: list[Series],
    y_range: DataRange1d,
    scale: int,
    end: float,
) -> figure:
    plot = blank(name, title, width, 400, y_range=y_range, x_range=Range1d(0, scale * end))
    left, right = f"left{scale}", f"right{scale}"
    items: dict[str, list[Any]] = {}
    for position, one in enumerate(series):
        look: dict[str, Any] = {"fill_color": one.colour, "line_color": one.colour, "line_width": 0.5}
        if one.hatch:
            look |= {
                "hatch_pattern": "/",
                "hatch_color": "white",
                "hatch_alpha": 0.5,
                "hatch_scale": 14,
                "hatch_weight": 1,
            }
        drawn = plot.quad(left=left, right=right, bottom=f"from{position}", top=f"to{position}", source=view, **look)
        items.setdefault(one.label, []).append(drawn)
    line = {"color": INK, "line_width": 2, "source": view}
    items["imbalance"] = [
        plot.segment(left, "imbalance", right, "imbalance", **line),
        plot.segment(left, "imbalance_before", left, "imbalance", **line),
    ]
    cover = plot.quad(
        left=left, right=right, bottom="cover_bottom", top="cover_top", source=view, fill_alpha=0, line_alpha=0
    )
    unit = "min" if scale == 60 else "h"
    tooltips = [("time", f"@{left}{{0.0[0]}} to @{right}{{0.0[0]}} {unit}"), ("imbalance", "@imbalance{0.000} MW")]
    tooltips += [
        (one.label + ("" if one.up else " (taking up)"), f"@value{position}{{0.000}} MW")
        for position, one in enumerate(series)
    ]
    plot.add_tools(HoverTool(renderers=[cover], tooltips=tooltips, mode="vline"))
    plot.add_layout(Span(location=0, dimension="width", line_color=MUTED, line_width=1))
    plot.xaxis.axis_label = f"{unit} after the onset"
    plot.yaxis.axis_label = "MW"
    if scale == 1:
        legend = Legend(
            items=[LegendItem(label=label, renderers=drawn) for label, drawn in items.items()],
            label_text_font_size="12px",
            border_line_color="white",
            spacing=2,
            padding=12,
        )
        plot.add_layout(legend, "right")
    return plot


def _mark(plot: figure, scale: int) -> dict[str, Any]:
    look = {"dimension": "height", "line_width": 2, "visible": False}
    allowed = Span(line_color="#d55e00", line_dash="dashed", **look)
    settled = Span(line_color="#009e73", line_dash="dotted", **look)
    plot.add_layout(allowed)
    plot.add_layout(settled)
    return {"allowed": allowed, "settled": settled, "scale": scale}


def _choice(
    inputs: ReportInput,
    pairs: list[tuple[Any, str]],
    everything: ColumnDataSource,
    view: ColumnDataSource,
    marks: list[dict[str, Any]],
    steps: int,
) -> Any:
    table = scenarios(inputs)
    shown = list(dict.fromkeys(scenario for scenario, _ in pairs))
    options = [
        (
            str(scenario),
            f"{scenario}: {table['event_class'][scenario]}, {money(table['cost'][scenario])} k$, "
            f"{number(table['unserved'][scenario], 2)} MWh unserved",
        )
        for scenario in shown
    ]
    nodes_of = {str(scenario): [node for of, node in pairs if of == scenario] for scenario in shown}
    first = str(shown[0])
    scenario = Select(
        title="Scenario, dearest first", options=options, value=first, name="dispatch_scenario", width=430
    )
    node = Select(title="Node", options=nodes_of[first], value=ALL_NODES, name="dispatch_node", width=200)
    settled = settling_time(inputs.data, inputs.plan, inputs.quantities["stabilisation_time"])
    code = CustomJS(
        args={
            "scenario": scenario,
            "node": node,
            "everything": everything,
            "view": view,
            "steps": steps,
            "pairs": [f"{of}|{label}" for of, label in pairs],
            "nodes_of": nodes_of,
            "settled": {
                f"{of}|{label}": _finite(settled.sel(scenario=of, node=label).item())
                for of, label in pairs
                if label != ALL_NODES
            },
            "allowed": {
                str(label): float(inputs.data["stabilise_within"].sel(node=label))
                for label in inputs.data["node"].values
            },
            "marks": [[mark["allowed"], mark["settled"], mark["scale"]] for mark in marks],
        },
        code=_SHOW,
    )
    scenario.js_on_change("value", code)
    node.js_on_change("value", code)
    return row(scenario, node, name="dispatch_choice")


def _finite(value: float) -> float:
    """JSON has no infinity: -1 stands for a node that is never stable."""
    return value if np.isfinite(value) else -1.0


_SHOW: Final = """
const labels = nodes_of[scenario.value]
if (node.options !== labels) node.options = labels
if (!labels.includes(node.value)) { node.value = labels[0]; return }
const key = scenario.value + "|" + node.value
const start = pairs.indexOf(key) * steps
const next = {...view.data}
for (const name of Object.keys(everything.data)) {
  const column = everything.data[name]
  next[name] = Float32Array.from({length: steps}, (_, i) => column[start + i])
}
view.data = next
const one = key in settled
for (const [limit, reached, scale] of marks) {
  limit.visible = one
  reached.visible = one && settled[key] >= 0
  if (one) { limit.location = scale * allowed[node.value]; reached.location = scale * settled[key] }
}
"""
