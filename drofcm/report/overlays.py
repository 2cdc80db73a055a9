"""What can be laid under the map: roads, hazard zones, isochrones and service areas, each with a switch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

import geopandas as gpd
import numpy as np
import shapely
from bokeh.models import CheckboxButtonGroup, ColumnDataSource, CustomJS, HoverTool
from bokeh.plotting import figure

from drofcm.report.inputs import ReportInput
from drofcm.report.style import percent

__all__ = ["SHOWN_AT_FIRST", "overlays", "switches"]

MOST_ROADS: Final = 20_000
"""Roads beyond which the page would become slow; then they are left out of the map."""

SHOWN_AT_FIRST: Final = frozenset({"Roads", "Hazard zones", "Shipments", "Closed hubs"})

_REACHED: Final = ("#fdd49e", "#fdbb84", "#ef8548")
_SERVED: Final = ("#8da0cb", "#66c2a5", "#e78ac3", "#a6d854", "#e5c494", "#b3b3b3")


def overlays(plot: figure, inputs: ReportInput) -> dict[str, list[Any]]:
    """Draw every layer there is under the rest of the map; the renderers by the text of their switch."""
    drawn = {
        "Service areas": list(_areas(plot, inputs, "service_areas")),
        "Travel time": list(_areas(plot, inputs, "isochrones")),
        "Hazard zones": list(_areas(plot, inputs, "hazards")),
        "Roads": list(_roads(plot, inputs)),
    }
    drawn = {text: renderers for text, renderers in drawn.items() if renderers}
    for text, renderers in drawn.items():
        for renderer in renderers:
            renderer.visible = text in SHOWN_AT_FIRST
    return drawn


def switches(drawn: dict[str, list[Any]]) -> CheckboxButtonGroup:
    """Buttons that show and hide layers, without a server."""
    texts = list(drawn)
    group = CheckboxButtonGroup(
        labels=texts, active=[k for k, text in enumerate(texts) if text in SHOWN_AT_FIRST], name="layer_switches"
    )
    group.js_on_change(
        "active",
        CustomJS(
            args={"layers": [drawn[text] for text in texts]},
            code="layers.forEach((layer, k) => layer.forEach(one => one.visible = cb_obj.active.includes(k)))",
        ),
    )
    return group


def _roads(plot: figure, inputs: ReportInput) -> Iterator[Any]:
    roads = inputs.layers.get("roads")
    if roads is None or len(roads) > MOST_ROADS:
        return
    speed = roads["speed_km_h"].to_numpy(dtype=float)
    oneway = roads["oneway"].to_numpy() == 1 if "oneway" in roads else np.zeros(len(roads), dtype=bool)
    source = ColumnDataSource(
        {
            "xs": [np.array(line.coords)[:, 0] for line in roads.geometry],
            "ys": [np.array(line.coords)[:, 1] for line in roads.geometry],
            "road": roads["id"].to_numpy(dtype=str),
            "speed": speed,
            "way": np.where(oneway, ", one-way", ""),
            "width": 0.8 + 1.4 * (speed - speed.min()) / max(float(np.ptp(speed)), 1.0),
        }
    )
    line = plot.multi_line("xs", "ys", source=source, line_width="width", line_color="#c4c1b6", name="overlay_roads")
    plot.add_tools(HoverTool(renderers=[line], tooltips=[("road", "@road, @speed{0} km/h@way")]))
    yield line


def _areas(plot: figure, inputs: ReportInput, name: str) -> Iterator[Any]:
    layer = inputs.layers.get(name)
    if layer is None or layer.empty:
        return
    columns, look, tooltips = {"hazards": _hazards, "isochrones": _isochrones, "service_areas": _served}[name](layer)
    xs, ys = zip(*(_rings(area) for area in layer.geometry), strict=True)
    source = ColumnDataSource({"xs": list(xs), "ys": list(ys), **columns})
    patches = plot.multi_polygons("xs", "ys", source=source, name=f"overlay_{name}", **look)
    plot.add_tools(HoverTool(renderers=[patches], tooltips=tooltips))
    yield patches


_Drawing = tuple[dict[str, Any], dict[str, Any], Sequence[tuple[str, str]]]


def _hazards(layer: gpd.GeoDataFrame) -> _Drawing:
    known = layer["active_share"] if "active_share" in layer else [float("nan")] * len(layer)
    columns = {
        "name": layer["name"].to_numpy(dtype=str),
        "share": ["an unknown share" if np.isnan(share) else percent(share) for share in known],
    }
    look = {
        "fill_color": "#4682c8",
        "fill_alpha": 0.25,
        "line_color": "#4682c8",
        "hatch_pattern": "right_diagonal_line",
    }
    look |= {"hatch_color": "#4682c8", "hatch_alpha": 0.35}
    return columns, look, [("hazard zone", "@name"), ("active in", "@share of events")]


def _isochrones(layer: gpd.GeoDataFrame) -> _Drawing:
    steps = sorted(layer["minutes"].unique(), reverse=True)
    colour = {minutes: _REACHED[min(k, len(_REACHED) - 1)] for k, minutes in enumerate(steps)}
    columns = {
        "hub": layer["hub_name"].to_numpy(dtype=str),
        "minutes": layer["minutes"].to_numpy(),
        "fill": [colour[minutes] for minutes in layer["minutes"]],
    }
    look = {"fill_color": "fill", "fill_alpha": 0.45, "line_color": "#b35806", "line_width": 0.6}
    return columns, look, [("reached from", "@hub"), ("within", "@minutes min on open roads")]


def _served(layer: gpd.GeoDataFrame) -> _Drawing:
    columns = {
        "hub": layer["hub_name"].to_numpy(dtype=str),
        "buses": layer["buses"].to_numpy(),
        "load": layer["base_load_mw"].to_numpy(),
        "mean": 60 * layer["mean_h"].to_numpy(),
        "worst": 60 * layer["worst_h"].to_numpy(),
        "fill": [_SERVED[k % len(_SERVED)] for k in range(len(layer))],
    }
    look = {"fill_color": "fill", "fill_alpha": 0.3, "line_color": "#555555", "line_width": 1, "line_dash": "dashed"}
    tooltips = [
        ("nearest open hub", "@hub"),
        ("serves", "@buses buses, @load{0.0} MW"),
        ("travel time", "mean @mean{0} min, worst @worst{0} min"),
    ]
    return columns, look, tooltips


def _rings(area: shapely.Geometry) -> tuple[list[Any], list[Any]]:
    """Coordinates as Bokeh wants them: polygons, each a list of rings, the outer one first."""
    polygons = [part for part in shapely.get_parts(area) if part.geom_type == "Polygon"]
    rings = [[np.array(ring.coords) for ring in (one.exterior, *one.interiors)] for one in polygons]
    return [[ring[:, 0] for ring in one] for one in rings], [[ring[:, 1] for ring in one] for one in rings]
