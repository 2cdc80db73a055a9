"""Maps without tiles: the feeder with its state in events, and where modules come from."""

from __future__ import annotations

from typing import Any, Final

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely
import xarray as xr
from bokeh.layouts import column, row
from bokeh.models import (
    Arrow,
    Button,
    ColorBar,
    ColumnDataSource,
    CustomJS,
    HoverTool,
    Label,
    LabelSet,
    LinearColorMapper,
    Metric,
    NormalHead,
    Range1d,
    ScaleBar,
)
from bokeh.plotting import figure

from drofcm.report.figures import blank
from drofcm.report.inputs import LAYERS, ReportInput
from drofcm.report.overlays import overlays, switches
from drofcm.report.style import INK, MUTED, colours_of, number, percent, plot_text, technology
from drofcm.report.tables import hub_service, hub_use, shipments

__all__ = ["maps", "shipment_arcs"]

# cividis without its lightest end: ordered in lightness, safe for colour-blind readers, visible on white
LOADING_COLOURS: Final = ("#b9ac70", "#8f8a78", "#66696e", "#3f4d6b", "#1d3557", "#00204d")
MOST_NAMES: Final = 12
"""Closed hubs up to which their names are written on the map."""
OVERLOADED: Final = "#d7301f"
PAPER: Final = "#fbfbf8"


def maps(inputs: ReportInput, state: xr.Dataset) -> Any:
    """The map of feeder and hubs with buttons for three views, and the overview with every supplier.

    Parameters
    ----------
    inputs
        Layers, data and plan.
    state
        From `drofcm.report.tables.network_state`.

    Returns
    -------
    bokeh.models.Row
        Named ``maps``; the figures are named ``map_main`` and ``map_overview``.
    """
    layers = {name: _labelled(inputs.layers[name]) for name in LAYERS}
    feeder = layers["buses"].total_bounds
    near = _union(feeder, layers["hubs"].total_bounds)
    far = _union(near, layers["suppliers"].total_bounds)
    main = _frame("map_main", "Feeder and hubs", 690, 600, near)
    overview = _frame("map_overview", "Suppliers and hubs", 480, 600, far)
    below = overlays(main, inputs)
    arcs = {plot.name: _shipments(plot, inputs, layers, legend=plot is overview) for plot in (main, overview)}
    for plot in (main, overview):
        _lines(plot, inputs, layers["lines"], state, detailed=plot is main)
        _suppliers(plot, inputs, layers["suppliers"])
    labels = _buses(main, inputs, layers["buses"], state)
    shut = {plot.name: _hubs(plot, inputs, layers["hubs"], named=plot is main) for plot in (main, overview)}
    for plot in (main, overview):
        _orientation(plot)
    views = {"Feeder": feeder, "Feeder and hubs": near, "Everything": far}
    buttons = [
        _view(main, text, bounds, labels if text == "Feeder" else None, labels) for text, bounds in views.items()
    ]
    shown = switches({**below, "Shipments": arcs["map_main"], "Closed hubs": shut["map_main"]})
    return row(column(row(*buttons), shown, main), overview, name="maps")


def shipment_arcs(inputs: ReportInput) -> pd.DataFrame:
    """The table of shipments with the course of each as arc in map coordinates (columns ``xs``, ``ys``).

    Arcs of several technologies between the same places bend differently, so that none hides another.
    """
    table = shipments(inputs)
    suppliers, hubs = (_labelled(inputs.layers[name]) for name in ("suppliers", "hubs"))
    order = table.groupby(["supplier", "hub"]).cumcount()
    courses: list[tuple[np.ndarray, np.ndarray]] = [
        _arc(suppliers.geometry[str(line.supplier)], hubs.geometry[str(line.hub)], 0.08 + 0.09 * rank)
        for line, rank in zip(table.itertuples(), order, strict=True)
    ]
    table["xs"] = pd.Series([course[0] for course in courses], index=table.index, dtype=object)
    table["ys"] = pd.Series([course[1] for course in courses], index=table.index, dtype=object)
    return table


def _arc(start: shapely.Point, end: shapely.Point, bend: float) -> tuple[np.ndarray, np.ndarray]:
    share = np.linspace(0, 1, 25)
    lift = 4 * share * (1 - share) * bend
    dx, dy = end.x - start.x, end.y - start.y
    return start.x + share * dx - lift * dy, start.y + share * dy + lift * dx


def _labelled(layer: gpd.GeoDataFrame) -> gpd.GeoDataFrame:
    shown = layer.assign(id=layer["id"].astype(str))
    if "name" not in shown:
        shown = shown.assign(name=shown["id"])
    return shown.set_index("id", drop=False)


def _union(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    return np.concatenate([np.minimum(first[:2], second[:2]), np.maximum(first[2:], second[2:])])


def _ranges(bounds: np.ndarray, width: int, height: int) -> tuple[float, float, float, float]:
    """Ranges that hold the bounds with a margin and one metre as long up as across."""
    x, y = (bounds[0] + bounds[2]) / 2, (bounds[1] + bounds[3]) / 2
    across, up = np.maximum(1.22 * (bounds[2:] - bounds[:2]), 100.0)
    per_pixel = max(across / width, up / height)
    return (
        x - per_pixel * width / 2,
        x + per_pixel * width / 2,
        y - per_pixel * height / 2,
        y + per_pixel * height / 2,
    )


def _frame(name: str, title: str, width: int, height: int, bounds: np.ndarray) -> figure:
    left, right, bottom, top = _ranges(bounds, width, height)
    plot = blank(
        name,
        title,
        width,
        height,
        tools="pan,wheel_zoom,box_zoom,reset,save",
        match_aspect=True,
        x_range=Range1d(left, right),
        y_range=Range1d(bottom, top),
        frame_width=width - 20,
        frame_height=height - (120 if name == "map_main" else 90),
    )
    plot.axis.visible = False
    plot.grid.visible = False
    plot.outline_line_color = "#c9c9c9"
    plot.background_fill_color = PAPER
    return plot


def _shipments(plot: figure, inputs: ReportInput, layers: dict[str, gpd.GeoDataFrame], legend: bool) -> list[Any]:
    arcs = shipment_arcs(inputs)
    drawn = []
    for label, colour in colours_of([str(value) for value in inputs.data["fcm"].values]).items():
        part = arcs[arcs["fcm"] == label]
        if part.empty:
            continue
        source = ColumnDataSource(
            {
                "xs": list(part["xs"]),
                "ys": list(part["ys"]),
                "width": (1.5 + 1.5 * np.sqrt(part["modules"])).to_numpy(),
                "modules": part["modules"].to_numpy(),
                "technology": [technology(label)] * len(part),
                "supplier": layers["suppliers"].loc[part["supplier"].astype(str), "name"].to_numpy(dtype=str),
                "hub": layers["hubs"].loc[part["hub"].astype(str), "name"].to_numpy(dtype=str),
                "distance": part["distance"].to_numpy(),
            }
        )
        named = {"legend_label": technology(label)} if legend else {}
        drawn.append(
            plot.multi_line("xs", "ys", source=source, line_width="width", line_color=colour, line_alpha=0.8, **named)
        )
    tooltips = [
        ("shipment", "@modules x @technology"),
        ("from", "@supplier"),
        ("to", "@hub"),
        ("distance", "@distance{0} km"),
    ]
    plot.add_tools(HoverTool(renderers=drawn, tooltips=tooltips))
    if legend and drawn:
        shown = plot.legend[0]
        shown.update(
            orientation="horizontal",
            ncols=2,
            label_text_font_size="12px",
            border_line_color=None,
            padding=2,
            spacing=12,
        )
        plot.add_layout(shown, "below")
    return drawn


def _lines(plot: figure, inputs: ReportInput, layer: gpd.GeoDataFrame, state: xr.Dataset, detailed: bool) -> None:
    layer = layer.loc[[str(label) for label in inputs.data["line"].values]]
    paths = layer.geometry.explode(index_parts=False)
    xs, ys = zip(*((part.coords.xy[0].tolist(), part.coords.xy[1].tolist()) for part in paths), strict=True)
    if not detailed:
        plot.multi_line(list(xs), list(ys), line_color=INK, line_width=1)
        return
    values = state.assign_coords(line=[str(label) for label in state["line"].values]).sel(line=list(paths.index))
    loading = 100 * values["loading"].values
    mapper = LinearColorMapper(palette=list(LOADING_COLOURS), low=0, high=100, high_color=OVERLOADED)
    source = ColumnDataSource(
        {
            "xs": list(xs),
            "ys": list(ys),
            "line": list(paths.index),
            "loading": loading,
            "base": 100 * values["loading_base"].values,
            "rating": inputs.data["rating"].values[[list(layer.index).index(label) for label in paths.index]],
        }
    )
    drawn = plot.multi_line(
        "xs", "ys", source=source, line_width=5, line_color={"field": "loading", "transform": mapper}, line_cap="round"
    )
    tooltips = [
        ("line", "@line"),
        ("largest loading in events", "@loading{0.0} %"),
        ("before the event", "@base{0.0} %"),
        ("rating", "@rating{0.00} MVA"),
    ]
    plot.add_tools(HoverTool(renderers=[drawn], tooltips=tooltips))
    plot.add_layout(
        ColorBar(
            color_mapper=mapper,
            title="line loading, largest in events, % of rating (red: above)",
            height=10,
            title_text_font_size="12px",
            title_text_font_style="normal",
            major_label_text_font_size="12px",
            padding=4,
            margin=2,
        ),
        "below",
    )


def _buses(plot: figure, inputs: ReportInput, layer: gpd.GeoDataFrame, state: xr.Dataset) -> LabelSet:
    data = inputs.data
    labels = [str(label) for label in data["bus"].values]
    points = layer.loc[labels].geometry
    low, high = state["voltage_low"].values, state["voltage_high"].values
    outside = (low < data["v_min"].values - 1e-6) | (high > data["v_max"].values + 1e-6)
    nodes = {str(label) for label in data["node"].values}
    source = ColumnDataSource(
        {
            "x": points.x.to_numpy(),
            "y": points.y.to_numpy(),
            "bus": [plot_text(label) for label in labels],
            "base": data["v_base"].values,
            "low": low,
            "high": high,
            "load": data["base_load"].values,
            "fill": np.where(outside, OVERLOADED, "white"),
            "size": np.where([label in nodes for label in labels], 10, 6),
            "kind": np.where([label in nodes for label in labels], "node: events or critical load here", "bus"),
        }
    )
    drawn = plot.scatter("x", "y", source=source, size="size", fill_color="fill", line_color=INK, line_width=1.2)
    tooltips = [
        ("bus", "@bus (@kind)"),
        ("voltage in events", "@low{0.000} to @high{0.000} pu"),
        ("before the event", "@base{0.000} pu"),
        ("load", "@load{0.000} MW"),
    ]
    plot.add_tools(HoverTool(renderers=[drawn], tooltips=tooltips))
    named = LabelSet(
        x="x",
        y="y",
        text="bus",
        source=source,
        x_offset=6,
        y_offset=4,
        text_font_size="11px",
        text_color=INK,
        visible=False,
    )
    plot.add_layout(named)
    return named


def _suppliers(plot: figure, inputs: ReportInput, layer: gpd.GeoDataFrame) -> None:
    table = shipments(inputs).groupby("supplier")["modules"].sum()
    labels = [str(label) for label in inputs.data["supplier"].values]
    layer = layer.loc[labels]
    shipped = [int(table.get(label, 0)) for label in inputs.data["supplier"].values]
    source = ColumnDataSource(
        {
            "x": layer.geometry.x.to_numpy(),
            "y": layer.geometry.y.to_numpy(),
            "name": layer["name"].to_numpy(dtype=str),
            "shipped": shipped,
            "text": [plot_text(str(name)) for name in layer["name"]],
            "stock": inputs.data["stock"].sum("fcm").values,
            "fill": np.where(np.array(shipped) > 0, "#444444", "white"),
        }
    )
    drawn = plot.scatter(
        "x", "y", source=source, marker="square", size=11, fill_color="fill", line_color="#444444", line_width=1.5
    )
    tooltips = [("supplier", "@name"), ("shipped", "@shipped of @stock modules in stock")]
    plot.add_tools(HoverTool(renderers=[drawn], tooltips=tooltips))
    _names(plot, source, text_color=INK)


def _hubs(plot: figure, inputs: ReportInput, layer: gpd.GeoDataFrame, named: bool) -> list[Any]:
    """Open hubs with their names, closed ones small; what is drawn of the closed ones comes back."""
    use = hub_use(inputs).join(hub_service(inputs))
    layer = layer.loc[[str(label) for label in use.index]]
    columns = {
        "x": layer.geometry.x.to_numpy(),
        "y": layer.geometry.y.to_numpy(),
        "name": layer["name"].to_numpy(dtype=str),
        "text": np.array([plot_text(str(name)) for name in layer["name"]]),
        "state": np.where(use["active"], "open", "closed"),
        "modules": use["modules"].to_numpy(),
        "room": np.array(
            [
                f"{number(used, 1)} of {number(room, 1)} slots"
                for used, room in zip(use["used"], use["storage_limit"], strict=True)
            ]
        ),
        "sent": use["sent"].to_numpy(),
        "serves": np.array([percent(share) for share in use["serves"]]),
        "tail": np.array([percent(share) for share in use["serves_tail"]]),
        "out": np.array([percent(1 - share) for share in use["available"]]),
        "setup": use["setup_cost"].to_numpy() / 1000,
    }
    facts = [
        ("hub", "@name (@state)"),
        ("holds", "@modules{0} modules, @room"),
        ("sent in an event", "@sent{0.0} modules, expected"),
        ("serves in", "@serves of events, @tail of the dearest"),
        ("out of use", "in @out of events"),
    ]
    candidate = [facts[0], ("would cost", "@setup{0.0} k$/a"), facts[-1]]
    parts = []
    for open_, size, fill, line, tooltips in (
        (False, 11, "white", MUTED, candidate),
        (True, 17, "#ffd92f", INK, facts),
    ):
        chosen = (use["active"] == open_).to_numpy()
        source = ColumnDataSource({name: column[chosen] for name, column in columns.items()})
        look = {"marker": "diamond", "size": size, "fill_color": fill, "line_color": line, "line_width": 1.5}
        drawn: list[Any] = [plot.scatter("x", "y", source=source, **look)]
        plot.add_tools(HoverTool(renderers=[*drawn], tooltips=tooltips))
        # names of many closed candidates would hide the map
        if named and (open_ or chosen.sum() <= MOST_NAMES):
            drawn.append(_names(plot, source, text_color=line, text_font_style="bold"))
        parts.append(drawn)
    return parts[0]


def _names(plot: figure, source: ColumnDataSource, **look: Any) -> Any:
    """Names beside the points, on the left of those that are near the right edge, readable on top of lines."""
    x = np.asarray(source.data["x"])
    right = x > plot.x_range.start + 0.75 * (plot.x_range.end - plot.x_range.start)
    source.data["name_align"] = np.where(right, "right", "left")
    source.data["name_offset"] = np.where(right, -10, 10)
    return plot.text(
        "x",
        "y",
        text="text",
        source=source,
        x_offset="name_offset",
        y_offset=5,
        text_align="name_align",
        text_font_size="12px",
        background_fill_color=PAPER,
        background_fill_alpha=0.7,
        **look,
    )


def _orientation(plot: figure) -> None:
    plot.add_layout(
        ScaleBar(
            range=plot.x_range,
            unit="m",
            dimensional=Metric(base_unit="m"),
            location="bottom_left",
            bar_length=0.2,
            background_fill_alpha=0.8,
            border_line_color=None,
            label_text_font_size="12px",
        )
    )
    x, y = 22, plot.frame_height - 44
    screen = {"x_units": "screen", "y_units": "screen"}
    plot.add_layout(
        Arrow(
            end=NormalHead(size=9, fill_color=INK),
            x_start=x,
            x_end=x,
            y_start=y,
            y_end=y + 26,
            line_width=2,
            start_units="screen",
            end_units="screen",
        )
    )
    plot.add_layout(Label(x=x + 8, y=y + 4, text="N", text_font_size="13px", text_font_style="bold", **screen))


def _view(plot: figure, text: str, bounds: np.ndarray, shown: LabelSet | None, labels: LabelSet) -> Button:
    left, right, bottom, top = _ranges(bounds, plot.frame_width, plot.frame_height)
    button = Button(label=text, width=130, name=f"view_{text.lower().replace(' ', '_')}")
    button.js_on_click(
        CustomJS(
            args={
                "x": plot.x_range,
                "y": plot.y_range,
                "labels": labels,
                "show": shown is not None,
                "to": [left, right, bottom, top],
            },
            code="x.setv({start: to[0], end: to[1]}); y.setv({start: to[2], end: to[3]}); labels.visible = show",
        )
    )
    return button
