"""``hubs.gpkg`` as other programs see it: read with fiona and sqlite, not with what wrote it."""

from __future__ import annotations

import sqlite3
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import fiona
import pytest
import shapely
from shapely.geometry import shape

from drofcm.study.contents import explore, read_back
from drofcm.study.folder import RunFolder

GEOMETRY = {
    "suppliers": "Point",
    "hubs": "Point",
    "buses": "Point",
    "lines": "LineString",
    "shipments": "LineString",
    "isochrones": "MultiPolygon",
    "service_areas": "MultiPolygon",
}


@pytest.fixture(scope="module")
def package(tiny_told: tuple[RunFolder, str]) -> Path:
    return tiny_told[0].path / "hubs.gpkg"


def test_layers_crs_geometry_types_and_attributes(package: Path) -> None:
    assert set(GEOMETRY) <= set(fiona.listlayers(package))
    for name, geometry in GEOMETRY.items():
        with fiona.open(package, layer=name) as layer:
            assert layer.crs.to_epsg() == 32618
            assert layer.schema["geometry"] == geometry
            assert all(shapely.is_valid(shape(feature["geometry"])) for feature in layer)
    with fiona.open(package, layer="hubs") as hubs:
        fields = dict(hubs.schema["properties"])
        assert fields["active"] == "bool"
        assert {"used_share", "serves_share_of_events", "serves_share_of_tail", "used_slots", "sent"} <= set(fields)
        found = [feature["properties"] for feature in hubs]
    assert len(found) == 8
    for hub in found:
        assert hub["used_share"] == pytest.approx(hub["used_slots"] / hub["storage_limit_slots"])
        assert 0 <= hub["serves_share_of_events"] <= 1 + 1e-9
        assert hub["active"] or hub["serves_share_of_events"] == hub["serves_share_of_tail"] == 0
    # whoever holds modules that an event needs sends them in some event
    assert max(hub["serves_share_of_events"] for hub in found) > 0


def test_isochrones_of_open_hubs_are_circles_where_there_are_no_roads(package: Path) -> None:
    with fiona.open(package, layer="hubs") as layer:
        place = {one["properties"]["id"]: shape(one["geometry"]) for one in layer if one["properties"]["active"]}
    with fiona.open(package, layer="isochrones") as layer:
        areas = [(one["properties"], shape(one["geometry"])) for one in layer]
    assert {facts["hub"] for facts, _ in areas} == set(place)
    assert [facts["minutes"] for facts, _ in areas] == sorted((m for m in (5, 10, 20) for _ in place), reverse=True)
    for facts, area in areas:
        radius = facts["minutes"] / 60 * 40 / 1.3 * 1000  # 40 km/h over a detour of 1.3
        assert place[facts["hub"]].distance(area.boundary) == pytest.approx(radius, rel=0.01)


def test_service_areas_part_the_buses_by_the_nearest_open_hub(package: Path) -> None:
    with fiona.open(package, layer="service_areas") as layer:
        areas = [(one["properties"], shape(one["geometry"])) for one in layer]
    with fiona.open(package, layer="buses") as layer:
        buses = [shape(one["geometry"]) for one in layer]
    with fiona.open(package, layer="hubs") as layer:
        place = {one["properties"]["id"]: shape(one["geometry"]) for one in layer if one["properties"]["active"]}
    assert sum(facts["buses"] for facts, _ in areas) == len(buses) == 33
    assert sum(facts["base_load_mw"] for facts, _ in areas) > 3.715
    for bus in buses:
        (owner,) = [facts for facts, area in areas if area.contains(bus)]
        nearest = min(place, key=lambda hub: place[hub].distance(bus))
        assert owner["hub"] == nearest
    assert sum(area.area for _, area in areas) == pytest.approx(shapely.union_all([area for _, area in areas]).area)


def test_every_layer_has_a_style_that_qgis_applies(package: Path) -> None:
    with sqlite3.connect(package) as file:
        rows = file.execute(
            "SELECT f_table_name, f_geometry_column, styleQML, useAsDefault FROM layer_styles"
        ).fetchall()
        columns = dict(file.execute("SELECT table_name, column_name FROM gpkg_geometry_columns").fetchall())
        listed = dict(file.execute("SELECT table_name, data_type FROM gpkg_contents").fetchall())
    file.close()
    assert {name for name, *_ in rows} == set(columns)
    assert listed["layer_styles"] == "attributes"
    for name, column, style, default in rows:
        assert column == columns[name]
        assert default == 1
        root = ElementTree.fromstring(style.split(">", 1)[1])
        symbols = {one.get("name") for one in root.iter("symbol")}
        assert {one.get("symbol") for one in root.iter("category")} <= symbols
        assert root.tag == "qgis"


def test_maps_can_be_explored_from_the_folder_alone(tiny_told: tuple[RunFolder, str]) -> None:
    folder = tiny_told[0].path
    assert {"isochrones", "service_areas"} <= set(read_back(folder).layers)
    drawn = explore(folder)
    switches = drawn.select_one({"name": "layer_switches"})
    assert switches.labels == ["Service areas", "Travel time", "Shipments", "Closed hubs"]
