"""Write the layers of this folder from its three CSV tables, and their checksums into datapackage.yaml.

Run ``python geo/loudoun/build.py`` after editing a table.
"""

from __future__ import annotations

import hashlib
import math
from pathlib import Path

import geopandas as gpd
import pandas as pd
import pyogrio
from ruamel.yaml import YAML

HERE = Path(__file__).resolve().parent
GEOGRAPHIC = "EPSG:4326"
PROJECTED = "EPSG:32618"
SOURCE_BUS = (39.0520, -77.5150)
"""Latitude and longitude chosen for bus 1, so that the feeder lies around Ashburn."""
RESOLUTION = 0.1
"""Metres; the place coordinates are good to about 10 m, and rounding makes the layers the same on every machine."""


def place_layer(table: Path) -> gpd.GeoDataFrame:
    """Points of a table with columns ``latitude`` and ``longitude``, projected."""
    places = pd.read_csv(table, dtype={"id": str, "name": str})
    points = gpd.points_from_xy(places["longitude"], places["latitude"], crs=GEOGRAPHIC).to_crs(PROJECTED)
    return _rounded(gpd.GeoDataFrame(places, geometry=points))


def bus_layer(table: Path) -> gpd.GeoDataFrame:
    """Points of the buses: each lies ``length_km`` from its upstream bus in direction ``bearing_deg`` of the grid."""
    layout = pd.read_csv(table, dtype={"id": str, "feeder_from": str})
    source = gpd.points_from_xy([SOURCE_BUS[1]], [SOURCE_BUS[0]], crs=GEOGRAPHIC).to_crs(PROJECTED)[0]
    position = {"1": (source.x, source.y)}
    for bus in layout.iloc[1:].itertuples():
        east, north = position[bus.feeder_from]
        angle = math.radians(bus.bearing_deg)
        metres = 1000.0 * bus.length_km
        position[bus.id] = (east + metres * math.sin(angle), north + metres * math.cos(angle))
    columns = {"id": layout["id"], "name": "bus " + layout["id"], "placement": "synthetic"}
    points = gpd.points_from_xy(*zip(*(position[bus] for bus in layout["id"]), strict=True), crs=PROJECTED)
    return _rounded(gpd.GeoDataFrame(columns, geometry=points))


def layers(folder: Path = HERE) -> dict[str, gpd.GeoDataFrame]:
    """Every layer of the area by name."""
    return {
        "suppliers": place_layer(folder / "suppliers.csv"),
        "hubs": place_layer(folder / "hubs.csv"),
        "buses": bus_layer(folder / "bus_layout.csv"),
    }


def _rounded(layer: gpd.GeoDataFrame) -> gpd.GeoDataFrame:
    return layer.set_geometry(layer.geometry.set_precision(RESOLUTION))


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
