"""The area layers: as described, as built from their tables, and where the places really are."""

from __future__ import annotations

import importlib.util

import geopandas as gpd
import numpy as np
import pytest
from areas import GEO, area_layers
from geopandas.testing import assert_geodataframe_equal
from pyproj import Geod
from ruamel.yaml import YAML

from drofcm.data import load_catalogue, load_feeder, verify_datapackage
from drofcm.siting.distance import straight_line, travel_time

ASHBURN = (-77.4875, 39.0437)
KINDS = {
    "loudoun": {"suppliers", "hubs", "buses"},
    "oberrhein": {"suppliers", "buses", "roads", "hazards", "exclusions", "parcels"},
}


@pytest.fixture(params=KINDS)
def area(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def layers() -> dict[str, gpd.GeoDataFrame]:
    """Those of Loudoun County."""
    return area_layers("loudoun")


# ---- every area -----------------------------------------------------------------------------------------------------


def test_files_are_those_described(area: str) -> None:
    assert verify_datapackage(GEO / area) == []


def test_layers_are_those_of_the_script(area: str) -> None:
    spec = importlib.util.spec_from_file_location(f"{area}_build", GEO / area / "build.py")
    assert spec is not None
    assert spec.loader is not None
    builder = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(builder)
    rebuilt = builder.layers()
    assert set(rebuilt) == set(area_layers(area)) == KINDS[area]
    for kind, layer in area_layers(area).items():
        assert_geodataframe_equal(rebuilt[kind], layer, check_dtype=False, check_less_precise=area == "oberrhein")


def test_places_lie_in_the_box_that_the_package_states(area: str) -> None:
    package = YAML(typ="safe").load((GEO / area / "datapackage.yaml").read_text(encoding="utf-8"))
    layers = area_layers(area).values()
    assert all(layer.crs == package["crs"] for layer in layers)
    bounds = np.array([layer.to_crs("EPSG:4326").total_bounds for layer in layers])
    box = [*bounds[:, :2].min(axis=0), *bounds[:, 2:].max(axis=0)]
    np.testing.assert_allclose(package["bbox"], box, atol=2e-4)


def test_stock_covers_the_technologies_of_the_catalogue(area: str) -> None:
    suppliers = area_layers(area)["suppliers"]
    stock = [name.removeprefix("stock_") for name in suppliers if name.startswith("stock_")]
    assert stock == list(load_catalogue("fcm_2026")["fcm"].values)
    assert (suppliers[[f"stock_{name}" for name in stock]].sum() > 0).all()


# ---- Loudoun County -------------------------------------------------------------------------------------------------


def test_points_are_the_coordinates_of_the_tables(layers: dict[str, gpd.GeoDataFrame]) -> None:
    """The 4 decimals of the gazetteer are good to 5 m in latitude; the layers may be off by half a decimetre."""
    for kind in ("suppliers", "hubs"):
        degrees = layers[kind].to_crs("EPSG:4326")
        geod = Geod(ellps="WGS84")
        columns = (degrees.geometry.x, degrees.geometry.y, degrees["longitude"], degrees["latitude"])
        off = geod.inv(*(column.to_numpy(dtype=float) for column in columns))[2]
        assert max(off) < 0.1


def test_suppliers_are_40_to_160_road_kilometres_from_every_hub(layers: dict[str, gpd.GeoDataFrame]) -> None:
    distance = straight_line(layers["suppliers"], layers["hubs"], detour=1.3)
    assert distance.shape == (5, 8)
    assert 40 <= float(distance.min()) <= float(distance.max()) <= 160


def test_hubs_lie_around_ashburn_and_reach_the_feeder_in_half_an_hour(layers: dict[str, gpd.GeoDataFrame]) -> None:
    degrees = layers["hubs"].to_crs("EPSG:4326").geometry
    off = [Geod(ellps="WGS84").inv(*ASHBURN, point.x, point.y)[2] / 1000 for point in degrees]
    assert max(off) < 12.1
    time = travel_time(straight_line(layers["hubs"], layers["buses"], detour=1.3, dims=("hub", "node")), 40)
    assert float(time.max()) < 0.5
    assert (layers["hubs"]["setup_cost_usd_per_a"].between(25_000, 45_000)).all()
    assert (layers["hubs"]["storage_slots"] == 6).all()


def test_buses_are_a_synthetic_picture_of_the_feeder(layers: dict[str, gpd.GeoDataFrame]) -> None:
    feeder, buses = load_feeder("ieee33"), layers["buses"].set_index("id")
    assert set(buses.index) == set(feeder["bus"].values)
    assert (buses["placement"] == "synthetic").all()
    starts = buses.geometry.loc[feeder["from_bus"].values].reset_index(drop=True)
    ends = buses.geometry.loc[feeder["to_bus"].values].reset_index(drop=True)
    assert starts.distance(ends).between(395, 805).all()
    segments = [gpd.GeoSeries([a, b]).union_all().convex_hull for a, b in zip(starts, ends, strict=True)]
    crossing = [(i, j) for i, a in enumerate(segments) for j, b in enumerate(segments[:i]) if a.crosses(b)]
    assert not crossing
    apart = [a.distance(b) for i, a in enumerate(buses.geometry) for b in buses.geometry.iloc[:i]]
    assert min(apart) > 200
