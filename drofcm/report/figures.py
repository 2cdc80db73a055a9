"""Bokeh figures of cost, risk, nodes, network and convergence; every function returns a model of its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from bokeh.models import (
    BoxAnnotation,
    ColumnDataSource,
    FactorRange,
    FixedTicker,
    HoverTool,
    NumeralTickFormatter,
    Range1d,
    Span,
)
from bokeh.plotting import figure
from bokeh.transform import dodge

from drofcm.report.inputs import DO_NOTHING, ReportInput
from drofcm.report.style import INK, MUTED, PLAN_COLOURS, number, percent, plot_text
from drofcm.report.tables import TERM_LABELS, value_at_risk

__all__ = ["blank", "convergence", "cost_bars", "cost_distribution", "loadings", "settling", "unserved", "voltages"]

# Tol's muted scheme: none of these colours stands for a technology
CLASS_COLOURS = ("#332288", "#ddcc77", "#88ccee", "#aa4499", "#999933", "#661100", "#44aa99", "#bbbbbb")
INK_BLUE = "#1b2a4a"
MOST_LABELS = 60
_STEPS = (0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 24.0)
_MOST_TICKS = 6
"""Hours between ticks of an axis of times, the first that needs no more ticks than this."""
LABEL_ROOM = 460
"""Pixels along the axis of a figure of half the page; labels that need more stand upright."""


def blank(name: str, title: str, width: int, height: int, **options: Any) -> figure:
    """An empty figure in the style of the report; ``name`` is where the page puts it."""
    tools = options.pop("tools", "pan,box_zoom,wheel_zoom,reset,save")
    plot = figure(name=name, title=title, width=width, height=height, tools=tools, active_drag=None, **options)
    plot.toolbar.logo = None
    plot.toolbar.autohide = True
    plot.title.text_font_size = "14px"
    plot.title.text_color = INK
    plot.outline_line_color = None
    plot.grid.grid_line_color = "#e6e6e6"
    for axis in plot.axis:
        axis.axis_label_text_font_style = "normal"
        axis.axis_label_text_font_size = "13px"
        axis.major_label_text_font_size = "12px"
        axis.axis_label_text_color = axis.major_label_text_color = INK
        axis.axis_line_color = axis.major_tick_line_color = MUTED
        axis.minor_tick_line_color = None
    return plot


def _legend(plot: figure, place: str = "above", **options: Any) -> None:
    legend = plot.legend[0]
    legend.update(
        label_text_font_size="12px",
        border_line_color="white",
        background_fill_alpha=0.85,
        spacing=14,
        label_standoff=5,
        padding=4,
        margin=4,
    )
    if place in ("above", "right", "below"):
        legend.orientation = "horizontal" if place != "right" else "vertical"
        plot.add_layout(legend, place)
        if place == "right":
            legend.update(spacing=4, padding=12)
    else:
        legend.location = place
    legend.update(**options)


def cost_bars(terms: pd.DataFrame) -> figure:
    """Each term of the expected cost as bars, the plan beside what it is compared with.

    Parameters
    ----------
    terms
        $/a; index: term, columns: plans.
    """
    shown = terms[(terms.abs() > 1e-6 * terms.abs().max().max()).any(axis=1)]
    labels = [TERM_LABELS[term] for term in shown.index]
    source = ColumnDataSource({"term": labels} | {name: shown[name].to_numpy() / 1000 for name in shown})
    plot = blank(
        "cost_bars",
        "Expected cost of a year by term",
        580,
        80 + 42 * len(labels),
        y_range=FactorRange(*reversed(labels), range_padding=0.05),
    )
    count = len(shown.columns)
    for position, name in enumerate(shown):
        offset = (count - 1) / 2 - position
        y = dodge("term", 0.27 * offset, range=plot.y_range)
        bars = plot.hbar(
            y=y,
            right=name,
            height=0.25,
            source=source,
            color=PLAN_COLOURS[name],
            legend_label=name,
        )
        plot.add_tools(HoverTool(renderers=[bars], tooltips=[(name, f"@{{{name}}}{{0,0.0}} k$/a"), ("term", "@term")]))
    plot.xaxis.axis_label = "k$/a"
    plot.xaxis.formatter = NumeralTickFormatter(format="0,0")
    plot.ygrid.grid_line_color = None
    plot.x_range.start = min(0.0, 1.05 * float(shown.min().min()) / 1000)
    _legend(plot)
    return plot


def cost_distribution(inputs: ReportInput, table: pd.DataFrame) -> figure:
    """Cost of an event against cumulative probability: a bar per scenario as wide as it is probable.

    Parameters
    ----------
    inputs
        For the confidence level.
    table
        From `drofcm.report.tables.scenarios`; cost in $ per event.
    """
    ordered = table.sort_values("cost", kind="stable")
    right = ordered["probability"].cumsum()
    plot = blank("cost_distribution", "Cost of an event, scenarios from cheapest to dearest", 720, 420)
    _distribution_bars(plot, ordered, right)
    _do_nothing_line(plot, table)
    probability, cost = table["probability"].to_numpy(), table["cost"].to_numpy()
    var, cvar = value_at_risk(cost, probability, inputs.alpha)
    level = percent(inputs.alpha)
    marks = {"mean": float(probability @ cost), f"VaR {level}": var, f"CVaR {level}": cvar}
    for (label, value), dash in zip(marks.items(), ("dotted", "dashed", "solid"), strict=True):
        line = {"color": INK, "line_dash": dash, "line_width": 1.8}
        plot.line([0, 1], [value / 1000] * 2, legend_label=f"{label}: {number(value / 1000, 1)} k$", **line)
    plot.add_layout(BoxAnnotation(left=inputs.alpha, right=1, fill_color="#f2d7c9", fill_alpha=0.5, level="underlay"))
    plot.x_range = Range1d(0, 1)
    plot.y_range.start = 0
    plot.y_range.range_padding = 0.12
    plot.xaxis.axis_label = f"cumulative probability (shaded: the dearest {percent(1 - inputs.alpha)})"
    plot.yaxis.axis_label = "k$ per event"
    plot.xaxis.formatter = NumeralTickFormatter(format="0 %")
    plot.yaxis.formatter = NumeralTickFormatter(format="0,0")
    _legend(plot, "right")
    return plot


def _distribution_bars(plot: figure, ordered: pd.DataFrame, right: pd.Series) -> None:
    bars = []
    for position, name in enumerate(dict.fromkeys(sorted(ordered["event_class"]))):
        of_class = ordered[ordered["event_class"] == name]
        source = ColumnDataSource(
            {
                "scenario": of_class.index.to_numpy(),
                "event_class": of_class["event_class"].to_numpy(dtype=str),
                "left": (right - ordered["probability"])[of_class.index].to_numpy(),
                "right": right[of_class.index].to_numpy(),
                "cost": of_class["cost"].to_numpy() / 1000,
                "do_nothing": of_class["cost_do_nothing"].to_numpy() / 1000,
                "probability": of_class["probability"].to_numpy(),
                "unserved": of_class["unserved"].to_numpy(),
            }
        )
        colour = CLASS_COLOURS[position % len(CLASS_COLOURS)]
        bars.append(
            plot.quad(
                left="left",
                right="right",
                bottom=0,
                top="cost",
                source=source,
                fill_color=colour,
                line_color="white",
                line_width=0.5,
                legend_label=plot_text(name),
            )
        )
    tooltips = [
        ("scenario", "@scenario (@event_class)"),
        ("probability", "@probability{0.0 %}"),
        ("cost", "@cost{0,0.0} k$ per event"),
        ("do nothing", "@do_nothing{0,0.0} k$ per event"),
        ("unserved", "@unserved{0.00} MWh"),
    ]
    plot.add_tools(HoverTool(renderers=bars, tooltips=tooltips))


def _do_nothing_line(plot: figure, table: pd.DataFrame) -> None:
    ordered = table.sort_values("cost_do_nothing", kind="stable")
    x = np.concatenate([[0.0], ordered["probability"].cumsum()])
    y = ordered["cost_do_nothing"].to_numpy() / 1000
    plot.step(x, np.append(y, y[-1]), mode="after", color=MUTED, line_width=2, legend_label=DO_NOTHING)


def unserved(table: pd.DataFrame) -> figure:
    """Expected unserved energy by node under the plan and when nothing is done, MWh per event."""
    shown = _most(table, table["unserved_do_nothing"] + table["unserved"])
    labels = [plot_text(str(label)) for label in shown.index]
    columns = {"this plan": "unserved", DO_NOTHING: "unserved_do_nothing"}
    source = ColumnDataSource({"node": labels} | {name: shown[key].to_numpy() for name, key in columns.items()})
    plot = blank("unserved", "Unserved energy, expected, by node", 580, 330, x_range=FactorRange(*labels))
    for name, offset in {"this plan": -0.2, DO_NOTHING: 0.2}.items():
        x = dodge("node", offset, range=plot.x_range)
        bars = plot.vbar(x=x, top=name, width=0.36, source=source, color=PLAN_COLOURS[name], legend_label=name)
        tooltips = [("node", "@node"), (name, f"@{{{name}}}{{0.000}} MWh per event")]
        plot.add_tools(HoverTool(renderers=[bars], tooltips=tooltips))
    plot.y_range.start = 0
    plot.yaxis.axis_label = "MWh per event"
    plot.xaxis.axis_label = "node"
    _label_axis(plot, labels)
    _legend(plot)
    return plot


def settling(table: pd.DataFrame, horizon: float) -> figure:
    """Time until each node is stable: median to worst event, and the time allowed; hours.

    A node that is never stable, or dark within its band, has no time: its mark stands at the edge, at "never".
    """
    shown = _most(table, table["settled_worst"])
    labels = [plot_text(str(label)) for label in shown.index]
    settled = shown[["settled_median", "settled_worst"]]
    finite = settled.where(np.isfinite(settled)).max().max()
    # an axis to the end of the horizon would flatten everything that can be told apart
    end = min(horizon, float(np.nanmax([2 * shown["stabilise_within"].max(), 1.1 * finite])))
    never = 1.12 * end
    source = _settling_source(shown, labels, never)
    plot = blank("settling", "Time until the node is stable, t_i", 580, 330, x_range=FactorRange(*labels))
    plot.segment("node", "median", "node", "worst", source=source, color=MUTED, line_width=3)
    look = {"size": 10, "color": INK_BLUE}
    hollow = {"size": 9, "fill_color": "white", "line_color": INK_BLUE, "line_width": 2}
    drawn = []
    for column, marker, label, style in (
        ("worst_at", "circle", "worst event", look),
        ("median_at", "circle", "median", hollow),
        ("worst_never", "triangle", "never in the worst", look),
        ("median_never", "triangle", "nor in the median", hollow),
    ):
        if np.isfinite(source.data[column]).any():
            drawn.append(plot.scatter("node", column, source=source, marker=marker, legend_label=label, **style))
    plot.scatter(
        "node", "allowed", source=source, marker="dash", size=22, color="#d55e00", line_width=3, legend_label="allowed"
    )
    some_never = bool(np.isinf(settled).any(axis=None))
    if some_never:
        edge = {"line_color": MUTED, "line_dash": "dotted", "line_width": 1.5}
        plot.add_layout(Span(location=(end + never) / 2, dimension="width", **edge))
        step = min((own for own in _STEPS if end / own <= _MOST_TICKS), default=end)
        plot.yaxis.ticker = FixedTicker(ticks=[*np.arange(0, end + 1e-9, step).tolist(), never])
        plot.yaxis.major_label_overrides = {never: "never"}
    tooltips = [
        ("node", "@node"),
        ("median", "@median_text"),
        ("worst", "@worst_text"),
        ("dark within its band", "@dark{0 %} of its events"),
        ("allowed", "@allowed_min{0} min"),
    ]
    plot.add_tools(HoverTool(renderers=drawn, tooltips=tooltips))
    plot.y_range = Range1d(-0.04 * end, 1.06 * (never if some_never else end))
    plot.yaxis.axis_label = "h after the onset"
    plot.xaxis.axis_label = "node"
    _label_axis(plot, labels)
    _legend(plot)
    return plot


def _settling_source(shown: pd.DataFrame, labels: Sequence[str], never: float) -> ColumnDataSource:
    """Median and worst time by node, as words and as marks: on the axis, or at ``never`` where there is no time."""

    def words(column: str) -> list[str]:
        return [
            "never within the horizon" if np.isinf(value) else f"{number(60 * value, 0)} min" for value in shown[column]
        ]

    columns: dict[str, Any] = {"node": labels}
    for name in ("median", "worst"):
        value = shown[f"settled_{name}"].to_numpy(dtype=float)
        columns |= {
            name: np.where(np.isinf(value), never, value),
            f"{name}_at": np.where(np.isinf(value), np.nan, value),
            f"{name}_never": np.where(np.isinf(value), never, np.nan),
            f"{name}_text": words(f"settled_{name}"),
        }
    # whoever is never stable in the median is so in the worst event too: one mark says both
    columns["worst_never"] = np.where(np.isfinite(columns["median_never"]), np.nan, columns["worst_never"])
    columns |= {
        "dark": shown["dark"].to_numpy(),
        "allowed": shown["stabilise_within"].to_numpy(),
        "allowed_min": 60 * shown["stabilise_within"].to_numpy(),
    }
    return ColumnDataSource(columns)


def voltages(state: pd.DataFrame) -> figure:
    """Range of the voltage at each bus over all scenarios and steps, with the limits; pu.

    Parameters
    ----------
    state
        Index: bus; columns ``voltage_low``, ``voltage_high``, ``v_base``, ``v_min``, ``v_max``.
    """
    excess = pd.concat([state["v_min"] - state["voltage_low"], state["voltage_high"] - state["v_max"]], axis=1)
    shown = _most(state, excess.max(axis=1))
    labels = [plot_text(str(label)) for label in shown.index]
    source = ColumnDataSource(
        {"bus": labels}
        | {name: shown[name].to_numpy() for name in ("voltage_low", "voltage_high", "v_base", "v_min", "v_max")}
    )
    plot = blank(
        "voltages", "Voltage in the linear model: range over all events", 580, 330, x_range=FactorRange(*labels)
    )
    limits = {"color": "#d55e00", "line_width": 2, "line_dash": "dashed"}
    for limit in ("v_min", "v_max"):
        plot.line("bus", limit, source=source, legend_label="limits", **limits)
    plot.segment(
        "bus",
        "voltage_low",
        "bus",
        "voltage_high",
        source=source,
        color="#1b2a4a",
        line_width=6,
        line_alpha=0.65,
        legend_label="in events",
    )
    base = plot.scatter(
        "bus",
        "v_base",
        source=source,
        size=7,
        fill_color="white",
        line_color="#1b2a4a",
        line_width=1.5,
        legend_label="before the event",
    )
    tooltips = [
        ("bus", "@bus"),
        ("before the event", "@v_base{0.000} pu"),
        ("in events", "@voltage_low{0.000} to @voltage_high{0.000} pu"),
        ("limits", "@v_min{0.000} to @v_max{0.000} pu"),
    ]
    plot.add_tools(HoverTool(renderers=[base], tooltips=tooltips))
    plot.xaxis.axis_label = "bus"
    plot.yaxis.axis_label = "pu"
    plot.yaxis.formatter = NumeralTickFormatter(format="0.00")
    _label_axis(plot, labels)
    _legend(plot)
    return plot


def loadings(state: pd.DataFrame) -> figure:
    """Largest loading of each line over all scenarios and steps, and before the event; % of the rating.

    Parameters
    ----------
    state
        Index: line; columns ``loading``, ``loading_base`` as shares.
    """
    shown = _most(state, state["loading"])
    labels = [plot_text(str(label)) for label in shown.index]
    source = ColumnDataSource({"line": labels, "loading": 100 * shown["loading"], "base": 100 * shown["loading_base"]})
    plot = blank(
        "loadings", "Line loading in the linear model: largest in events", 580, 330, x_range=FactorRange(*labels)
    )
    bars = plot.vbar("line", top="loading", width=0.7, source=source, color="#8796b5", legend_label="largest in events")
    plot.scatter(
        "line",
        "base",
        source=source,
        marker="dash",
        size=10,
        color=INK,
        line_width=2.5,
        legend_label="before the event",
    )
    plot.add_layout(Span(location=100, dimension="width", line_color="#d55e00", line_dash="dashed", line_width=2))
    tooltips = [("line", "@line"), ("largest", "@loading{0.0} %"), ("before the event", "@base{0.0} %")]
    plot.add_tools(HoverTool(renderers=[bars], tooltips=tooltips))
    plot.y_range.start = 0
    plot.y_range.end = max(108.0, 105 * float(shown["loading"].max()))
    plot.yaxis.axis_label = "% of rating"
    plot.xaxis.axis_label = "line"
    _label_axis(plot, labels)
    _legend(plot)
    return plot


def convergence(log: pd.DataFrame) -> figure | None:
    """Bounds of the risk-weighted objective against time, k$/a; None where the log holds no two finite bounds."""
    # the log of a search that had nothing left to do has no columns
    bounds = log.reindex(columns=["seconds", "lower_bound", "upper_bound"]).astype(float)
    bounds = bounds.where(np.isfinite(bounds)).dropna(subset="seconds")
    if bounds["lower_bound"].count() < 2 or bounds["upper_bound"].count() < 1:
        return None
    plot = blank("convergence", "Bounds of the risk-weighted objective while solving", 580, 300)
    styles = {"upper_bound": ("upper bound", "#1b2a4a", "solid"), "lower_bound": ("lower bound", "#d55e00", "dashed")}
    for column, (label, colour, dash) in styles.items():
        part = bounds[["seconds", column]].dropna()
        plot.step(
            part["seconds"],
            part[column] / 1000,
            mode="after",
            color=colour,
            line_dash=dash,
            line_width=2,
            legend_label=label,
        )
    plot.xaxis.axis_label = "s"
    plot.yaxis.axis_label = "k$/a"
    plot.yaxis.formatter = NumeralTickFormatter(format="0,0")
    _legend(plot)
    return plot


def _most(table: pd.DataFrame, importance: pd.Series) -> pd.DataFrame:
    """The rows that matter most, in their own order, so that every one can carry a label."""
    if len(table) <= MOST_LABELS:
        return table
    kept = importance.sort_values(ascending=False, kind="stable").index[:MOST_LABELS]
    return table.loc[table.index.isin(kept)]


def _label_axis(plot: figure, labels: Sequence[str]) -> None:
    plot.xgrid.grid_line_color = None
    if sum(7 * len(label) + 8 for label in labels) > LABEL_ROOM:
        plot.xaxis.major_label_orientation = "vertical"
        plot.xaxis.major_label_text_font_size = "11px"
