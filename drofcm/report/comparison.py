"""Bokeh figures of plans side by side: intervals, and how figures move along a scale of robustness."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
from bokeh.models import ColumnDataSource, FactorRange, HoverTool, NumeralTickFormatter, Span, Whisker
from bokeh.plotting import figure

from drofcm.report.figures import blank
from drofcm.report.style import INK, MUTED, plot_text

__all__ = ["curves", "frontier", "intervals"]

COLOURS = ("#332288", "#aa4499", "#117733", "#cc6677", "#88ccee", "#999933")


def intervals(name: str, title: str, table: pd.DataFrame, unit: str, *, zero: bool = False) -> figure:
    """Estimates with their intervals, one line each.

    Parameters
    ----------
    name, title
        Where the page puts the figure, and its head.
    table
        Index: labels; columns ``estimate``, ``lower``, ``upper``.
    unit
        Of the axis.
    zero
        Whether to mark zero: for differences.
    """
    labels = [plot_text(str(label)) for label in table.index]
    data = {column: table[column].to_numpy() for column in ("estimate", "lower", "upper")}
    source = ColumnDataSource({"label": labels, **data})
    height = 90 + 34 * len(labels)
    plot = blank(name, title, 580, height, y_range=FactorRange(*reversed(labels), range_padding=0.1))
    if zero:
        plot.add_layout(Span(location=0, dimension="height", line_color=MUTED, line_dash="dashed"))
    whisker = Whisker(base="label", lower="lower", upper="upper", source=source, dimension="width", line_color=INK)
    plot.add_layout(whisker)
    dots = plot.scatter("estimate", "label", source=source, size=9, color=COLOURS[0])
    tip = [("", "@label"), ("estimate", "@estimate{0,0.00}"), ("interval", "@lower{0,0.00} to @upper{0,0.00}")]
    plot.add_tools(HoverTool(renderers=[dots], tooltips=tip))
    plot.xaxis.axis_label = unit
    plot.xaxis.formatter = NumeralTickFormatter(format="0,0.[00]")
    plot.ygrid.grid_line_color = None
    # whiskers do not count for the automatic range
    low, high = float(table["lower"].min()), float(table["upper"].max())
    if zero:
        low, high = min(low, 0.0), max(high, 0.0)
    room = 0.06 * (high - low) or 1.0
    plot.x_range.start, plot.x_range.end = low - room, high + room
    return plot


def curves(name: str, title: str, table: pd.DataFrame, columns: dict[str, str], x_label: str, y_label: str) -> figure:
    """Columns of a table along its index, a line each.

    Parameters
    ----------
    name, title
        Where the page puts the figure, and its head.
    table
        Index: numbers in rising order.
    columns
        Column -> what the legend calls it.
    x_label, y_label
        Of the axes.
    """
    plot = blank(name, title, 580, 360)
    for colour, (column, label) in zip(COLOURS, columns.items(), strict=False):
        source = ColumnDataSource({"x": table.index.to_numpy(float), "y": table[column].to_numpy(float)})
        plot.line("x", "y", source=source, color=colour, line_width=2, legend_label=label)
        dots = plot.scatter("x", "y", source=source, color=colour, size=7, legend_label=label)
        plot.add_tools(HoverTool(renderers=[dots], tooltips=[(x_label, "@x{0.[000]}"), (label, "@y{0,0.00}")]))
    plot.xaxis.axis_label, plot.yaxis.axis_label = x_label, y_label
    plot.yaxis.formatter = NumeralTickFormatter(format="0,0.[00]")
    _legend_above(plot)
    return plot


def frontier(name: str, title: str, table: pd.DataFrame, x: str, y: str, labels: Sequence[str]) -> figure:
    """Plans in the plane of cost and tail risk, a line for each family.

    Parameters
    ----------
    name, title
        Where the page puts the figure, and its head.
    table
        Index ``family``, ``step``; columns of the two axes, k$/a.
    x, y
        Columns.
    labels
        Labels of the axes.
    """
    plot = blank(name, title, 720, 420)
    for place, (family, own) in enumerate(table.groupby(level=0, sort=False)):
        colour = COLOURS[place % len(COLOURS)]
        steps = [plot_text(str(step)) for step in own.index.get_level_values(1)]
        source = ColumnDataSource({"x": own[x].to_numpy(float), "y": own[y].to_numpy(float), "step": steps})
        legend = plot_text(str(family))
        plot.line("x", "y", source=source, color=colour, line_width=1.5, line_dash="dotted", legend_label=legend)
        dots = plot.scatter("x", "y", source=source, color=colour, size=8, legend_label=legend)
        tip = [("", f"{legend}, @step"), (labels[0], "@x{0,0.0}"), (labels[1], "@y{0,0.0}")]
        plot.add_tools(HoverTool(renderers=[dots], tooltips=tip))
    plot.xaxis.axis_label, plot.yaxis.axis_label = labels
    plot.xaxis.formatter = plot.yaxis.formatter = NumeralTickFormatter(format="0,0")
    _legend_above(plot)
    return plot


def _legend_above(plot: figure) -> None:
    legend = plot.legend[0]
    legend.update(orientation="horizontal", label_text_font_size="12px", border_line_color="white", padding=4)
    plot.add_layout(legend, "above")
