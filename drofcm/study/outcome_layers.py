"""A plan as layers: what each open hub reaches and serves, and styles that QGIS applies when it opens the file."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import geopandas as gpd
import numpy as np
import shapely

from drofcm.solve.result import Result
from drofcm.study.assemble import Assembly
from drofcm.study.places import travel_times

__all__ = ["ISOCHRONES_MIN", "plan_layers", "write_styles"]

ISOCHRONES_MIN: Final = (5, 10, 20)
"""Minutes within which a place is reached from a hub, on open roads."""

_BEYOND_M: Final = 800.0
"""How far service areas extend beyond the outermost buses."""


def plan_layers(assembly: Assembly, plan: Result) -> dict[str, gpd.GeoDataFrame]:
    """Isochrones and service areas of the open hubs.

    Parameters
    ----------
    assembly
        The study with its layers and roads.
    plan
        The plan.

    Returns
    -------
    dict
        ``isochrones``: ``hub``, ``hub_name``, ``minutes``, the longest first. ``service_areas``: ``hub``, ``hub_name``,
        ``buses`` and ``base_load_mw`` that this hub reaches before any other open one, ``mean_h`` and ``worst_h``; a
        bus stands for what lies nearer to it than to any other. Both hold for open roads; both are empty if no hub
        opens.
    """
    opened = plan.first_stage["hub_active"].to_series() > 0.5
    hubs = assembly.layers["hubs"]
    hubs = hubs[hubs["id"].map(opened)].reset_index(drop=True)
    return {"isochrones": _isochrones(assembly, hubs), "service_areas": _service_areas(assembly, hubs)}


def _isochrones(assembly: Assembly, hubs: gpd.GeoDataFrame) -> gpd.GeoDataFrame:
    if hubs.empty:
        columns = ["hub", "hub_name", "minutes", "geometry"]
        return gpd.GeoDataFrame(columns=columns, geometry="geometry", crs=hubs.crs)
    area, roads = assembly.study.area, assembly.sources.roads
    hours = [minutes / 60 for minutes in ISOCHRONES_MIN]
    if roads is not None:
        found = roads.reachable(hubs, hours).rename(columns={"id": "hub"})
    else:
        metres = 1 / hubs.crs.axis_info[0].unit_conversion_factor
        reach = [1000 * limit * area.road_speed_km_h / area.detour * metres for limit in sorted(hours, reverse=True)]
        rows = {"hub": np.repeat(hubs["id"], len(hours)), "hours": np.tile(sorted(hours, reverse=True), len(hubs))}
        around = [point.buffer(radius) for point in hubs.geometry for radius in reach]
        found = gpd.GeoDataFrame({name: list(column) for name, column in rows.items()}, geometry=around, crs=hubs.crs)
    name = hubs.set_index("id")["name"]
    named = found.assign(hub_name=found["hub"].map(name), minutes=(60 * found["hours"]).round().astype(int))
    ordered = named.sort_values("minutes", ascending=False, kind="stable").reset_index(drop=True)
    return ordered[["hub", "hub_name", "minutes", "geometry"]]


def _service_areas(assembly: Assembly, hubs: gpd.GeoDataFrame) -> gpd.GeoDataFrame:
    columns = ["hub", "hub_name", "buses", "base_load_mw", "mean_h", "worst_h", "geometry"]
    if hubs.empty:
        return gpd.GeoDataFrame(columns=columns, geometry="geometry", crs=hubs.crs)
    buses = assembly.layers["buses"]
    # how far a bus lies from the roads does not matter for a picture
    anywhere = assembly.study.model_copy(
        update={"area": assembly.study.area.model_copy(update={"snap_limit_m": np.inf})}
    )
    times = travel_times(anywhere, hubs, buses, assembly.sources.roads, None)
    nearest, hours = times.idxmin("hub"), times.min("hub")
    load = assembly.data["base_load"]
    cell = _cells(buses)
    rows = []
    for hub in hubs.itertuples():
        mine = [str(bus) for bus in times["node"].values[(nearest == hub.id).values]]
        if mine:
            rows.append(
                {
                    "hub": hub.id,
                    "hub_name": hub.name,
                    "buses": len(mine),
                    "base_load_mw": float(load.sel(bus=[bus for bus in mine if bus in load.indexes["bus"]]).sum()),
                    "mean_h": float(hours.sel(node=mine).mean()),
                    "worst_h": float(hours.sel(node=mine).max()),
                    "geometry": shapely.union_all([cell[bus] for bus in mine]),
                }
            )
    return gpd.GeoDataFrame(rows, columns=columns, geometry="geometry", crs=hubs.crs)


def _cells(buses: gpd.GeoDataFrame) -> dict[str, shapely.Geometry]:
    """For every bus what lies nearer to it than to any other, within the hull of all and a margin."""
    margin = _BEYOND_M / buses.crs.axis_info[0].unit_conversion_factor
    points = buses.geometry.to_numpy()
    hull = shapely.buffer(shapely.convex_hull(shapely.union_all(points)), margin)
    cells = shapely.get_parts(shapely.voronoi_polygons(shapely.union_all(points), extend_to=hull))
    if not len(cells):  # all buses at one point
        return dict.fromkeys(buses["id"], hull)
    inside, bus = shapely.STRtree(points).query(cells, predicate="intersects")
    return {str(buses["id"].iloc[k]): shapely.intersection(cells[c], hull) for c, k in zip(inside, bus, strict=True)}


# ==== Styles ============================================================================================

_SYMBOLS: Final = {
    "suppliers": ("marker", "SimpleMarker", {"name": "square", "color": "68,68,68,255", "size": "3"}),
    "buses": ("marker", "SimpleMarker", {"name": "circle", "color": "255,255,255,255", "size": "1.6"}),
    "lines": ("line", "SimpleLine", {"line_color": "26,26,26,255", "line_width": "0.5"}),
    "roads": ("line", "SimpleLine", {"line_color": "190,190,185,255", "line_width": "0.3"}),
    "shipments": ("line", "SimpleLine", {"line_color": "0,102,75,255", "line_width": "0.7"}),
    "hazards": ("fill", "SimpleFill", {"color": "70,130,200,90", "outline_color": "70,130,200,255"}),
    "isochrones": ("fill", "SimpleFill", {"color": "230,140,20,40", "outline_color": "200,110,0,255"}),
    "service_areas": ("fill", "SimpleFill", {"color": "120,170,120,40", "outline_color": "60,110,60,255"}),
}
_OPEN: Final = ("marker", "SimpleMarker", {"name": "diamond", "color": "255,217,47,255", "size": "5"})
_CLOSED: Final = ("marker", "SimpleMarker", {"name": "diamond", "color": "255,255,255,255", "size": "3"})

_STYLE_TABLE: Final = """
CREATE TABLE layer_styles (
  id INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL, f_table_catalog TEXT(256), f_table_schema TEXT(256),
  f_table_name TEXT(256), f_geometry_column TEXT(256), styleName TEXT(30), styleQML TEXT, styleSLD TEXT,
  useAsDefault BOOLEAN, description TEXT, owner TEXT(30), ui TEXT(30), update_time DATETIME)
"""


def write_styles(path: Path, layers: Mapping[str, str]) -> None:
    """Put a default style for every layer into a GeoPackage, in the table ``layer_styles`` that QGIS looks for.

    Parameters
    ----------
    path
        A GeoPackage that holds the layers.
    layers
        Name of each layer and of its geometry column.
    """
    with sqlite3.connect(path) as file:
        file.execute(_STYLE_TABLE)
        stamp = "2026-01-01T00:00:00.000Z"
        entry = "INSERT INTO gpkg_contents (table_name, data_type, identifier, last_change) VALUES (?, ?, ?, ?)"
        file.execute(entry, ("layer_styles", "attributes", "layer_styles", stamp))
        for name, column in layers.items():
            file.execute(
                "INSERT INTO layer_styles (f_table_catalog, f_table_schema, f_table_name, f_geometry_column, styleName,"
                " styleQML, styleSLD, useAsDefault, description, owner, update_time)"
                " VALUES ('', '', ?, ?, ?, ?, '', 1, ?, '', ?)",
                (name, column, name, _qml(name), f"drofcm: {name}", stamp),
            )
    file.close()


def _qml(name: str) -> str:
    """A style in the format of QGIS 3; hubs are told apart by whether they are open."""
    if name == "hubs":
        symbols = _symbol("0", *_OPEN) + _symbol("1", *_CLOSED)
        categories = (
            '<category symbol="0" value="true" label="open" render="true"/>'
            '<category symbol="1" value="false" label="closed" render="true"/>'
        )
        renderer = (
            f'<renderer-v2 type="categorizedSymbol" attr="active" forceraster="0" enableorderby="0">'
            f"<categories>{categories}</categories><symbols>{symbols}</symbols></renderer-v2>"
        )
    else:
        symbols = _symbol("0", *_SYMBOLS[name])
        renderer = f'<renderer-v2 type="singleSymbol" forceraster="0"><symbols>{symbols}</symbols></renderer-v2>'
    head = '<!DOCTYPE qgis PUBLIC "http://mrcc.com/qgis.dtd" "SYSTEM">'
    return f'{head}<qgis version="3.28" styleCategories="Symbology">{renderer}</qgis>'


def _symbol(name: str, kind: str, layer: str, options: Mapping[str, str]) -> str:
    listed = "".join(f'<Option type="QString" name="{key}" value="{value}"/>' for key, value in options.items())
    return (
        f'<symbol type="{kind}" name="{name}" alpha="1" clip_to_extent="1" force_rhr="0">'
        f'<layer class="{layer}" enabled="1" pass="0" locked="0"><Option type="Map">{listed}</Option></layer></symbol>'
    )
