"""Every bad layer gets one clear message per fault, all faults at once."""

from __future__ import annotations

from pathlib import Path

import geopandas as gpd
import pandas as pd
import pytest
from shapely.geometry import LineString, Point, Polygon, box

from drofcm.core.errors import InputError
from drofcm.siting.coordinates import far_findings
from drofcm.siting.layers import check_layer, find_layer, load_layer

UTM18 = "EPSG:32618"


def hubs(**columns: object) -> gpd.GeoDataFrame:
    """Three sound hubs in Loudoun County, with some columns replaced."""
    table: dict[str, object] = {
        "id": ["ashburn", "sterling", "leesburg"],
        "name": ["Ashburn", "Sterling", "Leesburg"],
        "setup_cost_usd_per_a": [45000.0, 34000.0, 25000.0],
        "storage_slots": [6, 6, 4.5],
    }
    points = columns.pop("geometry", gpd.points_from_xy([284788, 289764, 278435], [4324493, 4320190, 4332640]))
    return gpd.GeoDataFrame(table | columns, geometry=points, crs=UTM18)


def suppliers(**columns: object) -> gpd.GeoDataFrame:
    table: dict[str, object] = {
        "id": ["a", "b"],
        "name": ["A", "B"],
        "stock_battery": [2, 0],
        "stock_generator": [0, 1],
    }
    return gpd.GeoDataFrame(
        table | columns, geometry=gpd.points_from_xy([284788, 289764], [4324493, 4320190]), crs=UTM18
    )


def messages(layer: gpd.GeoDataFrame, kind: str = "hubs") -> list[str]:
    return [str(finding) for finding in check_layer(layer, kind=kind, where="hubs.gpkg")]


def test_sound_layers_have_no_findings() -> None:
    assert messages(hubs()) == []
    assert messages(suppliers(), kind="suppliers") == []
    assert messages(hubs()[["id", "name", "geometry"]], kind="buses") == []


def test_file_comes_back_as_written(tmp_path: Path) -> None:
    hubs().to_file(tmp_path / "hubs.gpkg")
    hubs().to_parquet(tmp_path / "hubs.parquet")
    for name in ("hubs.gpkg", "hubs.parquet"):
        layer = load_layer(tmp_path / name, kind="hubs")
        assert layer.crs == UTM18
        assert list(layer["id"]) == ["ashburn", "sterling", "leesburg"]
        assert list(layer.geometry) == list(hubs().geometry)


@pytest.mark.parametrize(
    ("layer", "expected"),
    [
        (hubs().set_crs(None, allow_override=True), "has no CRS, so its coordinates have no meaning"),
        (hubs().iloc[:0], "has no rows"),
        (hubs(id=["ashburn", "ashburn", "leesburg"]), "hubs.gpkg['id']: duplicate: ashburn"),
        (hubs(id=["ashburn", None, "leesburg"]), "hubs.gpkg['id']: value is missing at id"),
        (hubs(id=[1, 2, 3]), "hubs.gpkg['id']: must be text, is 1, 2, 3"),
        (hubs(id=[{}, "sterling", {}]), "hubs.gpkg['id']: must be text, is {}, {}"),
        (hubs(id=[["ashburn"], "sterling", "leesburg"]), "hubs.gpkg['id']: must be text, is ['ashburn']"),
        (hubs(name=[{"a": 1}, "sterling", "leesburg"]), "hubs.gpkg['name']: must be text, is {'a': 1}"),
        (hubs(storage_slots=[{}, 6, 6]), "must be a finite number, at least 0, is {}"),
        (hubs(storage_slots=[[6], 6, 6]), "must be a finite number, at least 0, is [6]"),
        (hubs().rename(columns={"storage_slots": "storage_slot"}), "did you mean 'storage_slot'?"),
        (hubs(storage_slots=[6, -1, 6]), "must be a finite number, at least 0, is -1 at id sterling"),
        (hubs(storage_slots=[6, "six", 6]), "must be a finite number, at least 0, is 'six' at id sterling"),
        (hubs(setup_cost_usd_per_a=[1.0, float("inf"), 1.0]), "at least 0, is inf at id sterling"),
        (hubs(setup_cost_usd_per_a=[1.0, 1.0, None]), "value is missing at id leesburg"),
        (hubs(geometry=[Point(284788, 4324493), None, Point(278435, 4332640)]), "no geometry at id sterling"),
        (hubs(geometry=[Point(284788, 4324493), Point(), Point(278435, 4332640)]), "no geometry at id sterling"),
        (
            hubs(geometry=[Point(284788, 4324493), Point(289764, float("inf")), Point(278435, 4332640)]),
            "invalid point (coordinate not finite) at id sterling",
        ),
        (
            hubs(geometry=[LineString([(0, 0), (1, 1)]), Point(289764, 4320190), Point(278435, 4332640)]),
            "LineString at id ashburn, a point is needed",
        ),
        (
            hubs(geometry=gpd.points_from_xy([4324493, 4320190, 4332640], [284788, 289764, 278435])),
            "x and y (longitude and latitude) look swapped at id ashburn, sterling, leesburg",
        ),
        (hubs(geometry=gpd.points_from_xy([-77.49, -77.43, -77.56], [39.04, 39.01, 39.12])), "look like degrees"),
        (
            hubs(geometry=gpd.points_from_xy([284788, 289764, 0], [4324493, 4320190, 0])),
            "id leesburg lies at (0, 0), where",
        ),
        (hubs(storage_slots=pd.to_datetime(["2026-01-01"] * 3)), "must be a finite number, at least 0, is Timestamp"),
        (
            hubs(geometry=gpd.points_from_xy([284788, 289764, 5000000], [4324493, 4320190, 4332640])),
            "id leesburg lies outside the area where EPSG:32618 is used",
        ),
    ],
)
def test_one_fault_one_finding(layer: gpd.GeoDataFrame, expected: str) -> None:
    found = messages(layer)
    assert len(found) == 1, found
    assert expected in found[0]


def test_swapped_degrees_are_found_where_the_crs_tells_them_apart() -> None:
    degrees = hubs().to_crs("EPSG:4269")  # NAD 83 is used in North America alone
    assert messages(degrees) == []
    swapped = degrees.set_geometry(gpd.points_from_xy(degrees.geometry.y, degrees.geometry.x, crs="EPSG:4269"))
    assert "look swapped at id ashburn" in messages(swapped)[0]
    eastern = gpd.points_from_xy([39.0, 38.9, 39.1], [121.0, 117.0, 116.0], crs="EPSG:4326")
    assert "look swapped" in messages(hubs().set_geometry(eastern))[0]


def test_places_a_little_outside_their_utm_zone_are_accepted() -> None:
    west = gpd.GeoSeries(gpd.points_from_xy([-78.4, -78.2, -77.0], [39.0, 39.0, 39.0]), crs="EPSG:4326").to_crs(UTM18)
    assert messages(hubs(geometry=west)) == []


def test_places_without_coordinates_are_found_in_degrees_too() -> None:
    degrees = hubs(geometry=[Point(284788, 4324493)] * 3).to_crs("EPSG:4326")
    degrees.geometry = [Point(0, 0), *degrees.geometry[1:]]
    assert messages(degrees) == [
        "hubs.gpkg: id ashburn lies at (0, 0), where places without coordinates end up (give its coordinates)"
    ]


def test_places_very_far_from_the_buses_are_told() -> None:
    south = hubs(geometry=gpd.points_from_xy([284788, 289764, 284788], [4324493, 4320190, 424493]))
    (found,) = far_findings({"buses": hubs(), "hubs": south})
    assert found.severity == "warning"
    assert str(found).startswith("hubs layer: id leesburg lies up to 3,9")
    assert list(far_findings({"buses": hubs(), "hubs": hubs()})) == []


def test_supplier_without_stock_or_with_half_a_module() -> None:
    bare = suppliers().drop(columns=["stock_battery", "stock_generator"])
    assert "no column stock_<technology>" in messages(bare, kind="suppliers")[0]
    half = messages(suppliers(stock_battery=[0.5, 1]), kind="suppliers")
    assert half == ["hubs.gpkg['stock_battery']: must be a whole number, is 0.5 at id a"]
    many = messages(suppliers(stock_battery=["1e19", 1]), kind="suppliers")
    assert many == ["hubs.gpkg['stock_battery']: must be at most 1,000,000, is '1e19' at id a"]


def test_all_findings_come_at_once(tmp_path: Path) -> None:
    bad = hubs(id=["ashburn", "ashburn", "leesburg"], storage_slots=[6, -1, 6]).drop(columns="name")
    bad = bad.set_crs(None, allow_override=True)
    bad.to_parquet(tmp_path / "hubs.parquet")
    with pytest.raises(InputError) as caught:
        load_layer(tmp_path / "hubs.parquet", kind="hubs")
    text = str(caught.value)
    for part in ("duplicate: ashburn", "is -1", "column 'name' is missing", "has no CRS"):
        assert part in text
    assert len(caught.value.findings) == 4
    assert all(finding.where.startswith(str(tmp_path)) for finding in caught.value.findings)


def test_files_that_are_no_layer(tmp_path: Path) -> None:
    hubs().to_file(tmp_path / "hubs.gpkg", layer="first")
    with pytest.raises(InputError, match=r"no such file.*did you mean 'hubs.gpkg'"):
        load_layer(tmp_path / "hub.gpkg", kind="hubs")
    hubs().to_file(tmp_path / "hubs.gpkg", layer="second")
    with pytest.raises(InputError, match="holds several layers: first, second"):
        load_layer(tmp_path / "hubs.gpkg", kind="hubs")
    (tmp_path / "text.gpkg").write_text("not a database")
    with pytest.raises(InputError, match="cannot be read as a layer"):
        load_layer(tmp_path / "text.gpkg", kind="hubs")
    (tmp_path / "table.csv").write_text("id,name\na,A\n")
    with pytest.raises(InputError, match=r"is no format of layers: '\.csv' \(write one of GeoPackage \(\.gpkg\)"):
        load_layer(tmp_path / "table.csv", kind="buses")
    (tmp_path / "text.parquet").write_text("not parquet")
    with pytest.raises(InputError, match="cannot be read as a layer"):
        load_layer(tmp_path / "text.parquet", kind="hubs")


def test_unknown_kind(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="did you mean 'hubs'"):
        load_layer(tmp_path / "hubs.gpkg", kind="hub")  # type: ignore[arg-type]


# ==== Roads and zones ===================================================================================


def zones(**columns: object) -> gpd.GeoDataFrame:
    areas = columns.pop(
        "geometry", [box(280_000, 4_320_000, 281_000, 4_321_000), box(290_000, 4_320_000, 291_000, 4e6)]
    )
    return gpd.GeoDataFrame({"id": ["a", "b"], "name": ["A", "B"]} | columns, geometry=areas, crs=UTM18)


def roads(**columns: object) -> gpd.GeoDataFrame:
    lines = columns.pop("geometry", [LineString([(280_000, 4_320_000), (281_000, 4_321_000)])])
    return gpd.GeoDataFrame({"id": ["r"], "speed_km_h": [50.0]} | columns, geometry=lines, crs=UTM18)


BOW = Polygon([(280_000, 4_320_000), (281_000, 4_321_000), (281_000, 4_320_000), (280_000, 4_321_000)])


@pytest.mark.parametrize(
    ("layer", "kind", "expected"),
    [
        (zones(geometry=[BOW, zones().geometry[1]]), "hazards", "invalid geometry (Self-intersection) at id a"),
        (zones(probability=[0.2, 1.2]), "hazards", "must be between 0 and 1, is 1.2 at id b"),
        (zones(buffer_m=[100, -5]), "exclusions", "must be a finite number, at least 0, is -5 at id b"),
        (zones(geometry=zones().centroid), "parcels", "Point at id a, b, a polygon is needed"),
        (zones(geometry=[None, zones().geometry[1]]), "parcels", "no geometry at id a (every row needs a polygon)"),
        (roads(geometry=[LineString()]), "roads", "no geometry at id r (every row needs a line)"),
        (roads(geometry=[BOW]), "roads", "Polygon at id r, a line is needed"),
        (roads(speed_km_h=["fast"]), "roads", "must be a finite number above 0, is 'fast' at id r"),
        (roads(geometry=[LineString([(4_320_000, 280_000), (4_321_000, 281_000)])]), "roads", "look swapped at id r"),
        (roads(geometry=[LineString([(-77.5, 39.0), (-77.4, 39.1)])]), "roads", "look like degrees"),
        (zones().set_crs(None, allow_override=True), "exclusions", "has no CRS"),
        (zones().iloc[:0], "hazards", "has no rows"),
        (hubs(volatile_mw=[1, 0, 2]), "clusters", "must be a finite number above 0, is 0 at id sterling"),
    ],
)
def test_one_fault_of_a_road_or_a_zone_one_finding(layer: gpd.GeoDataFrame, kind: str, expected: str) -> None:
    found = messages(layer, kind=kind)
    assert len(found) == 1, found
    assert expected in found[0]


@pytest.mark.filterwarnings("ignore:.*(Column names|Normalized)")
def test_every_format_brings_the_same_layer_back(tmp_path: Path) -> None:
    layer = zones(probability=[0.1, 0.0])
    layer.to_file(tmp_path / "one.gpkg")
    layer.to_parquet(tmp_path / "two.parquet")
    layer.to_file(tmp_path / "three.shp")
    layer.to_crs("EPSG:4326").to_file(tmp_path / "four.geojson")  # GeoJSON is in WGS 84 by its standard
    for name in ("one", "two", "three", "four"):
        found = load_layer(find_layer(tmp_path, name), kind="hazards")
        assert list(found["probability"]) == [0.1, 0.0]
        # formats orient polygons differently
        assert (found.to_crs(UTM18).bounds - layer.bounds).abs().to_numpy().max() < 0.05, name


@pytest.mark.filterwarnings("ignore:.*(Column names|Normalized)")
def test_names_that_a_shapefile_cuts_are_restored(tmp_path: Path) -> None:
    hubs().to_file(tmp_path / "hubs.shp")
    assert "setup_cost" in gpd.read_file(tmp_path / "hubs.shp")
    found = load_layer(tmp_path / "hubs.shp", kind="hubs")
    assert list(found["setup_cost_usd_per_a"]) == [45000.0, 34000.0, 25000.0]
    assert list(found["storage_slots"]) == [6, 6, 4.5]


def test_two_files_that_could_be_meant_are_named(tmp_path: Path) -> None:
    hubs().to_file(tmp_path / "hubs.gpkg")
    hubs().to_parquet(tmp_path / "hubs.parquet")
    with pytest.raises(InputError, match=r"several files could be meant: hubs\.gpkg, hubs\.parquet"):
        find_layer(tmp_path, "hubs")
    with pytest.raises(InputError, match=r"roads.gpkg: no such file"):
        load_layer(find_layer(tmp_path, "roads"), kind="roads")
