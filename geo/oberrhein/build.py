"""Write the layers of this folder, and their checksums into datapackage.yaml.

Buses stand where pandapower's mv_oberrhein has them, suppliers in real towns. Roads, the river with its flood zones,
parcels and reserves are invented with a fixed seed: they look like a region on the Upper Rhine and show no real one.

Run ``python geo/oberrhein/build.py`` after editing a table.
"""

from __future__ import annotations

import hashlib
import itertools
from pathlib import Path

import geopandas as gpd
import networkx as nx
import numpy as np
import pandas as pd
import pyogrio
import shapely
import shapely.affinity
from ruamel.yaml import YAML

HERE = Path(__file__).resolve().parent
GEOGRAPHIC = "EPSG:4326"
PROJECTED = "EPSG:32632"
SEED = 20261121
RESOLUTION = 0.1
"""Metres to which every coordinate is rounded, so that the layers are the same on every machine."""

SPACING = 1000.0
"""Metres between crossings before they are moved."""
MAIN_EVERY = 4
"""Every so many rows and columns of crossings there is a main road; only those in rows bridge the river."""
REMOVED_SHARE = 0.3
"""Share of the small roads that are left out, as far as everything stays connected."""
ONEWAY_SHARE = 0.06
PARCELS = 25


def points(table: Path) -> gpd.GeoDataFrame:
    """Points of a table with columns ``latitude`` and ``longitude``, projected."""
    places = pd.read_csv(table, dtype={"id": str})
    drawn = gpd.points_from_xy(places["longitude"], places["latitude"], crs=GEOGRAPHIC).to_crs(PROJECTED)
    return rounded(gpd.GeoDataFrame(places, geometry=drawn))


def rounded(layer: gpd.GeoDataFrame) -> gpd.GeoDataFrame:
    return layer.set_geometry(layer.geometry.set_precision(RESOLUTION))


def bus_layer(folder: Path) -> gpd.GeoDataFrame:
    """The buses of the feeder."""
    buses = points(folder / "bus_positions.csv")
    return buses.assign(name="bus " + buses["id"])[["id", "name", "geometry"]]


def river(bounds: np.ndarray) -> shapely.LineString:
    """A river from south to north through the middle of the buses."""
    west, south, east, north = bounds
    up = np.linspace(south - 4000, north + 4000, 60)
    across = west + 0.52 * (east - west) + 900 * np.sin((up - south) / 3100) + 300 * np.sin((up - south) / 900)
    return shapely.LineString(np.column_stack([across, up]).round(1))


def road_layer(bounds: np.ndarray, water: shapely.LineString, suppliers: gpd.GeoDataFrame) -> gpd.GeoDataFrame:
    """Main and small roads on a lattice of moved crossings, and a trunk road to every supplier."""
    rng = np.random.default_rng([SEED, 1])
    graph, spot = _lattice(bounds, rng)
    for edge in [edge for edge in graph.edges if not graph.edges[edge]["bridge"]]:
        if shapely.LineString(spot[list(edge)]).intersects(water):
            graph.remove_edge(*edge)
    small = [edge for edge in sorted(graph.edges) if not graph.edges[edge]["main"]]
    for place in rng.permutation(len(small))[: int(REMOVED_SHARE * len(small))]:
        graph.remove_edge(*small[place])
        if not nx.is_connected(graph):
            graph.add_edge(*small[place], main=False, bridge=False)
    rows = [
        {"kind": "main road" if main else "road", "speed_km_h": 80.0 if main else 50.0, "ends": spot[list(edge)]}
        for *edge, main in sorted(graph.edges(data="main"))
    ]
    both, taken = nx.DiGraph(graph), 0
    for place in rng.permutation(len(rows)):
        one, other = sorted(graph.edges)[place]
        if rows[place]["kind"] == "road" and taken < ONEWAY_SHARE * len(rows):
            both.remove_edge(other, one)
            if nx.is_strongly_connected(both):
                rows[place]["oneway"], taken = 1, taken + 1
            else:
                both.add_edge(other, one)
    rows += [_trunk(point, spot) for point in suppliers.geometry]
    lines = [shapely.LineString(row.pop("ends").round(1)) for row in rows]
    columns = pd.DataFrame(rows)
    columns["oneway"] = columns["oneway"].fillna(0).astype(int)
    drawn = np.array([line.length / 1000 for line in lines])
    columns["length_km"] = (drawn * columns.pop("detour").fillna(1.05)).round(4)
    columns.insert(0, "id", [f"r{k:03d}" for k in range(len(rows))])
    return gpd.GeoDataFrame(columns[["id", "kind", "speed_km_h", "oneway", "length_km"]], geometry=lines, crs=PROJECTED)


def _lattice(bounds: np.ndarray, rng: np.random.Generator) -> tuple[nx.Graph, np.ndarray]:
    low, high = bounds[:2] - 1500, bounds[2:] + 1500
    columns, rows = (np.ceil((high - low) / SPACING) + 1).astype(int)
    place = np.arange(columns * rows).reshape(rows, columns)
    spot = low + SPACING * np.column_stack([place.ravel() % columns, place.ravel() // columns])
    spot = (spot + rng.uniform(-250, 250, spot.shape)).round(1)
    graph = nx.Graph()
    for row in range(rows):
        for column in range(columns):
            main = row % MAIN_EVERY == 1
            if column + 1 < columns:
                graph.add_edge(int(place[row, column]), int(place[row, column + 1]), main=main, bridge=main)
            if row + 1 < rows:
                up = column % MAIN_EVERY == 1
                graph.add_edge(int(place[row, column]), int(place[row + 1, column]), main=up, bridge=False)
    return graph, spot


def _trunk(town: shapely.Point, spot: np.ndarray) -> dict[str, object]:
    """A trunk road from the nearest crossing to a town, a quarter longer than the straight line."""
    nearest = spot[np.hypot(*(spot - (town.x, town.y)).T).argmin()]
    ends = np.array([nearest, (town.x, town.y)])
    return {"kind": "trunk road", "speed_km_h": 90.0, "ends": ends, "detour": 1.25}


def hazard_layer(bounds: np.ndarray, water: shapely.LineString) -> gpd.GeoDataFrame:
    """Three reaches of the river that flood one by one."""
    south, north = bounds[1], bounds[3]
    cuts = [south - 4000, south + 0.3 * (north - south), south + 0.64 * (north - south), north + 4000]
    west, east = bounds[0] - 9000, bounds[2] + 9000
    reach = [shapely.box(west, low, east, high) for low, high in itertools.pairwise(cuts)]
    zones = [water.buffer(width).intersection(area) for width, area in zip((420, 520, 380), reach, strict=True)]
    columns = {
        "id": ["south", "middle", "north"],
        "name": ["Flood, southern reach", "Flood, middle reach", "Flood, northern reach"],
        "probability": [0.05, 0.08, 0.04],
    }
    return rounded(gpd.GeoDataFrame(columns, geometry=zones, crs=PROJECTED))


def exclusion_layer(bounds: np.ndarray) -> gpd.GeoDataFrame:
    """Areas on which nothing may stand."""
    west, south, east, north = bounds
    reserve = shapely.Point(west + 0.3 * (east - west), south + 0.62 * (north - south)).buffer(1100)
    waterworks = shapely.Point(west + 0.72 * (east - west), south + 3800).buffer(800, cap_style="square")
    columns = {"id": ["reserve", "waterworks"], "name": ["Nature reserve", "Waterworks"], "buffer_m": [200.0, 100.0]}
    return rounded(gpd.GeoDataFrame(columns, geometry=[reserve, waterworks], crs=PROJECTED))


def parcel_layer(roads: gpd.GeoDataFrame, bounds: np.ndarray) -> gpd.GeoDataFrame:
    """Yards beside roads, with what it costs to rent them and the room they have."""
    rng = np.random.default_rng([SEED, 2])
    local = roads[roads["kind"] != "trunk road"].geometry.to_numpy()
    centre = (bounds[:2] + bounds[2:]) / 2
    areas: list[shapely.Polygon] = []
    while len(areas) < PARCELS:
        beside = local[rng.integers(len(local))].interpolate(rng.uniform(0.2, 0.8), normalized=True)
        x, y = np.array([beside.x, beside.y]) + rng.choice([-1, 1]) * rng.uniform(110, 200, 2)
        wide, deep = rng.uniform(60, 120, 2)
        area = shapely.affinity.rotate(shapely.box(x - wide, y - deep, x + wide, y + deep), rng.uniform(0, 90))
        inside = (bounds[:2] - 500 < (x, y)).all() and ((x, y) < bounds[2:] + 500).all()
        if inside and all(area.distance(other) > 1200 for other in areas):
            areas.append(area)
    far = np.array([np.hypot(*(np.array(area.centroid.coords[0]) - centre)) for area in areas]) / 1000
    names = [f"y{k + 1:02d}" for k in range(PARCELS)]
    columns = {
        "id": names,
        "name": [f"Yard {name[1:]}" for name in names],
        "setup_cost_usd_per_a": (np.clip(44 - 1.8 * far + rng.uniform(-2, 2, PARCELS), 25, 45) * 1000).round(-2),
        "storage_slots": rng.integers(5, 9, PARCELS),
    }
    return rounded(gpd.GeoDataFrame(columns, geometry=areas, crs=PROJECTED))


def layers(folder: Path = HERE) -> dict[str, gpd.GeoDataFrame]:
    """Every layer of the area by name."""
    buses, suppliers = bus_layer(folder), points(folder / "suppliers.csv")
    bounds = buses.total_bounds
    water = river(bounds)
    roads = road_layer(bounds, water, suppliers)
    return {
        "suppliers": suppliers,
        "buses": buses,
        "roads": roads,
        "hazards": hazard_layer(bounds, water),
        "exclusions": exclusion_layer(bounds),
        "parcels": parcel_layer(roads, bounds),
    }


def write(folder: Path = HERE) -> None:
    """Write the GeoPackages and note the checksum of every resource in datapackage.yaml."""
    # GeoPackage notes when it was written; a fixed date keeps the checksum the same when nothing changed
    pyogrio.set_gdal_config_options({"OGR_CURRENT_DATE": "2026-01-01T00:00:00.000Z"})
    for name, layer in layers(folder).items():
        path = folder / f"{name}.gpkg"
        path.unlink(missing_ok=True)
        layer.to_file(path, layer=name, driver="GPKG")
    yaml = YAML()
    yaml.width = 4096
    yaml.preserve_quotes = True
    yaml.indent(mapping=2, sequence=4, offset=2)
    package = yaml.load(folder / "datapackage.yaml")
    for resource in package["resources"]:
        digest = hashlib.sha256((folder / resource["path"]).read_bytes()).hexdigest()
        resource["hash"] = f"sha256:{digest}"
    yaml.dump(package, folder / "datapackage.yaml")


if __name__ == "__main__":
    write()
