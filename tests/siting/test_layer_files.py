"""Files of layers: only the promised formats are opened, by content, and nothing that points elsewhere is followed."""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import geopandas as gpd
import pandas as pd
import pyogrio
import pytest
from shapely.geometry import Point

from drofcm.core.errors import InputError
from drofcm.siting.layers import find_layer, load_layer


def buses(count: int = 3) -> gpd.GeoDataFrame:
    points = gpd.points_from_xy([284788 + 10 * k for k in range(count)], [4324493] * count)
    names = [str(k) for k in range(count)]
    return gpd.GeoDataFrame({"id": names, "name": names}, geometry=points, crs="EPSG:32618")


def collection(**changes: object) -> dict[str, object]:
    features = [
        {
            "type": "Feature",
            "properties": {"id": str(k), "name": str(k)},
            "geometry": {"type": "Point", "coordinates": [-77.4 + k / 100, 39.0]},
        }
        for k in range(2)
    ]
    return {"type": "FeatureCollection", "features": features} | changes


def fault(path: Path, kind: str = "buses") -> str:
    with pytest.raises(InputError) as caught:
        load_layer(path, kind=kind)  # type: ignore[arg-type]
    return str(caught.value.findings[0])


# ==== Nothing is asked of anybody =======================================================================


@pytest.fixture(scope="module")
def server() -> Iterator[tuple[str, list[str]]]:
    """An address on this machine, and what was asked of it."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_error(404)

        do_HEAD = do_POST = do_GET  # noqa: N815

        def log_message(self, *args: object) -> None:
            pass

    running = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=running.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{running.server_port}", asked
    running.shutdown()
    thread.join()


def disguises(url: str) -> dict[str, str]:
    """Content that makes GDAL ask a server or read another file, whatever the file is called."""
    vrt = (
        "<OGRVRTDataSource><OGRVRTLayer name='buses'><SrcDataSource>{}</SrcDataSource></OGRVRTLayer></OGRVRTDataSource>"
    )
    linked = {"type": "link", "properties": {"href": f"{url}/crs", "type": "proj4"}}
    inside = collection()
    inside["features"][0]["geometry"]["crs"] = linked  # type: ignore[index]
    return {
        "virtual": vrt.format(f"/vsicurl/{url}/a.geojson"),
        "wfs": f"<OGRWFSDataSource><URL>{url}/wfs</URL></OGRWFSDataSource>",
        "gml": f"<ogr:FeatureCollection xmlns:ogr='x' xsi:schemaLocation='x {url}/a.xsd'/>",
        "kml": f"<kml><NetworkLink><Link><href>{url}/a.kml</href></Link></NetworkLink></kml>",
        "crs_link": json.dumps(collection(crs=linked)),
        "crs_url": json.dumps(collection(crs={"type": "URL", "properties": {"url": f"{url}/crs"}})),
        "crs_name": json.dumps(collection(crs={"type": "name", "properties": {"name": f"{url}/crs"}})),
        "crs_inside": json.dumps(inside),
        "esri": json.dumps(
            {"objectIdFieldName": "id", "geometryType": "esriGeometryPoint", "features": [], "url": url}
        ),
        "address": f"{url}/layer.geojson",
    }


@pytest.mark.parametrize("suffix", [".gpkg", ".geojson", ".shp", ".parquet", ".GPKG", ".json", ".vrt", ".xml"])
def test_descriptions_of_other_layers_are_refused_and_nobody_is_asked(tmp_path: Path, server, suffix: str) -> None:
    url, asked = server
    for name, text in disguises(url).items():
        path = tmp_path / f"{name}{suffix}"
        path.write_text(text, encoding="utf-8")
        found = fault(path)
        assert found.startswith(str(path))
    assert asked == []


def test_the_server_would_have_seen_a_request(server, tmp_path: Path) -> None:
    url, asked = server
    path = tmp_path / "buses.gpkg"
    path.write_text(disguises(url)["virtual"], encoding="utf-8")
    with pytest.raises((pyogrio.errors.DataSourceError, pyogrio.errors.CRSError)):
        pyogrio.read_info(path)
    assert asked
    asked.clear()


def test_files_outside_are_not_read_by_disguise(tmp_path: Path) -> None:
    outside = tmp_path / "outside.geojson"
    outside.write_text(json.dumps(collection()), encoding="utf-8")
    inside = tmp_path / "buses.gpkg"
    inside.write_text(
        f"<OGRVRTDataSource><OGRVRTLayer name='outside'><SrcDataSource>{outside}</SrcDataSource></OGRVRTLayer>"
        "</OGRVRTDataSource>",
        encoding="utf-8",
    )
    assert len(pyogrio.read_dataframe(inside)) == 2
    assert "its content is no GeoPackage, whatever its name says" in fault(inside)


def test_virtual_tables_of_a_database_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "buses.gpkg"
    buses().to_file(path)
    with sqlite3.connect(path) as database:
        database.execute("CREATE VIRTUAL TABLE other USING fts5(text)")
    database.close()
    assert "table 'other' is virtual (fts5)" in fault(path)
    plain = tmp_path / "plain.gpkg"
    with sqlite3.connect(plain) as database:
        database.execute("CREATE TABLE buses (id TEXT, name TEXT)")
    database.close()
    assert "its content is no GeoPackage" in fault(plain)


# ==== What is read ======================================================================================


@pytest.mark.parametrize("suffix", [".gpkg", ".GPKG", ".parquet", ".PARQUET", ".geojson", ".GeoJSON", ".shp", ".SHP"])
def test_every_format_is_read_whatever_the_case_of_its_name(tmp_path: Path, suffix: str) -> None:
    layer = buses().to_crs("EPSG:4326") if suffix.lower() == ".geojson" else buses()
    small = tmp_path / f"hubs{suffix.lower()}"
    layer.to_parquet(small) if suffix.lower() == ".parquet" else layer.to_file(small)
    path = small.rename(tmp_path / f"hubs{suffix}")
    assert find_layer(tmp_path, "hubs") == path
    found = load_layer(path, kind="buses")
    assert list(found["id"]) == ["0", "1", "2"]
    assert found.crs == layer.crs


def test_two_files_of_one_name_are_one_too_many_whatever_their_case(tmp_path: Path) -> None:
    for name in ("hubs.gpkg", "hubs.GEOJSON"):
        (tmp_path / name).touch()
    with pytest.raises(InputError, match=r"several files could be meant: hubs\.GEOJSON, hubs\.gpkg"):
        find_layer(tmp_path, "hubs")
    assert find_layer(tmp_path / "none", "hubs") == tmp_path / "none" / "hubs.gpkg"


def test_tables_without_geometry_are_no_layers(tmp_path: Path) -> None:
    path = tmp_path / "buses.gpkg"
    buses().to_file(path, layer="buses")
    styles = pd.DataFrame({"f_table_name": ["buses"], "styleName": ["plain"]})
    pyogrio.write_dataframe(styles, path, layer="layer_styles")
    assert list(load_layer(path, kind="buses")["id"]) == ["0", "1", "2"]
    alone = tmp_path / "styles.gpkg"
    pyogrio.write_dataframe(styles, alone, layer="layer_styles")
    assert "holds no layer with geometries" in fault(alone)


def test_content_and_name_must_agree(tmp_path: Path) -> None:
    buses().to_parquet(tmp_path / "buses.parquet")
    path = (tmp_path / "buses.parquet").rename(tmp_path / "buses.gpkg")
    assert "is no GeoPackage, whatever its name says (it looks like GeoParquet: rename it)" in fault(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "its content is no GeoJSON"),
        ("[1, 2]", "its content is no GeoJSON"),
        ('{"type": "FeatureCollection", "features": [', "cannot be read as a layer: Expecting value: line 1"),
        ('{"type": "Topology", "objects": {}}', "its type is 'Topology', not 'FeatureCollection'"),
        ('{"features": []}', "its type is None"),
        ('{"a":' * 20_000 + "1" + "}" * 20_000, "nested too deeply"),
        (json.dumps(collection(features=[])), ""),
        (json.dumps(collection(features=7)), ""),
        (json.dumps(collection()) + "\n" + json.dumps(collection()), "Extra data: line 2"),
    ],
)
def test_json_that_is_no_layer(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "buses.geojson"
    path.write_text(text, encoding="utf-8")
    found = fault(path)
    assert found.startswith(str(path))
    assert message in found


def test_a_crs_by_name_is_read_and_one_of_a_feature_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "buses.geojson"
    named = {"type": "name", "properties": {"name": "urn:ogc:def:crs:EPSG::4269"}}
    path.write_text("﻿" + json.dumps(collection(crs=named)), encoding="utf-8")
    assert load_layer(path, kind="buses").crs == "EPSG:4269"
    mixed = collection()
    mixed["features"][1]["crs"] = named  # type: ignore[index]
    path.write_text(json.dumps(mixed), encoding="utf-8")
    assert "feature 2 states a CRS of its own" in fault(path)


@pytest.mark.parametrize("content", [b"", b"PAR1", b"PAR1" + b"\0" * 200 + b"PAR1"])
def test_broken_binary_files_are_findings(tmp_path: Path, content: bytes) -> None:
    for suffix in (".parquet", ".gpkg", ".shp"):
        path = tmp_path / f"buses{suffix}"
        path.write_bytes(content)
        assert fault(path).startswith(f"{path}: cannot be read as a layer")
    pd.DataFrame({"id": ["a"]}).to_parquet(tmp_path / "table.parquet")
    assert "cannot be read as a layer" in fault(tmp_path / "table.parquet")


# ==== What was checked is what is used ==================================================================


def test_numbers_and_flags_in_text_become_what_they_were_checked_as(tmp_path: Path) -> None:
    point = gpd.GeoSeries([Point(284788, 4324493)], crs="EPSG:32618")
    rows: dict[str, dict[str, object]] = {
        "hubs": {"setup_cost_usd_per_a": "45000", "storage_slots": " 6.5 "},
        "suppliers": {"stock_battery": "3.0"},
        "clusters": {"volatile_mw": "2"},
    }
    for kind, columns in rows.items():
        path = tmp_path / f"{kind}.gpkg"
        gpd.GeoDataFrame(
            {"id": ["a"], "name": ["A"]} | {name: [value] for name, value in columns.items()}, geometry=point
        ).to_file(path)
        found = load_layer(path, kind=kind)  # type: ignore[arg-type]
        for name, value in columns.items():
            assert pd.api.types.is_numeric_dtype(found[name])
            assert found[name].iloc[0] == float(str(value))
    dated = gpd.GeoDataFrame({"id": ["a"], "volatile_mw": [pd.Timestamp("2026-01-01")]}, geometry=point)
    dated.to_file(tmp_path / "dated.gpkg")
    assert "must be a finite number above 0" in fault(tmp_path / "dated.gpkg", "clusters")


def test_heights_are_left_out_also_where_only_some_points_have_one(tmp_path: Path) -> None:
    layer = buses()
    layer.geometry = [Point(284788, 4324493), Point(284798, 4324493, 12.5), Point(284808, 4324493, float("nan"))]
    layer.to_parquet(tmp_path / "buses.parquet")
    found = load_layer(tmp_path / "buses.parquet", kind="buses")
    assert not found.has_z.any()
    assert list(found.geometry.x) == [284788, 284798, 284808]
