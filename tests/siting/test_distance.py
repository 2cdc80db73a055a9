"""Distances against geodesics, and every CRS in which they would be wrong."""

from __future__ import annotations

import geopandas as gpd
import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from pyproj import Geod
from shapely.affinity import rotate, translate

from drofcm.core.errors import InputError
from drofcm.siting.distance import great_circle, straight_line, travel_time

UTM18 = "EPSG:32618"
PLACES = {"ashburn": (-77.4875, 39.0437), "winchester": (-78.1633, 39.1857), "baltimore": (-76.6122, 39.2904)}


def layer(*names: str, crs: str = UTM18) -> gpd.GeoDataFrame:
    longitude, latitude = zip(*(PLACES[name] for name in names), strict=True)
    points = gpd.points_from_xy(longitude, latitude, crs="EPSG:4326").to_crs(crs)
    return gpd.GeoDataFrame({"id": list(names)}, geometry=points)


def metres(points: list[tuple[float, float]]) -> gpd.GeoDataFrame:
    x, y = zip(*points, strict=True)
    return gpd.GeoDataFrame({"id": [f"p{i}" for i in range(len(x))]}, geometry=gpd.points_from_xy(x, y, crs=UTM18))


def test_pythagoras_in_kilometres() -> None:
    distance = straight_line(metres([(500000, 4300000)]), metres([(503000, 4304000), (500000, 4300000)]), detour=1.3)
    np.testing.assert_allclose(distance, [[6.5, 0.0]], rtol=1e-12, atol=1e-12)
    assert distance.dims == ("supplier", "hub")
    assert list(distance["hub"].values) == ["p0", "p1"]
    assert distance.attrs["units"] == "km"
    assert distance.attrs["detour"] == 1.3


@pytest.mark.parametrize("crs", [UTM18, "EPSG:2283"])  # metres; Virginia North in US survey feet
def test_geodesics_within_a_tenth_of_a_percent(crs: str) -> None:
    names = list(PLACES) if crs == UTM18 else ["ashburn", "winchester"]
    distance = straight_line(layer(*names, crs=crs), layer(*names, crs=crs), dims=("origin", "destination"))
    geod = Geod(ellps="WGS84")
    for origin in names:
        for destination in names:
            truth = geod.inv(*PLACES[origin], *PLACES[destination])[2] / 1000
            assert float(distance.sel(origin=origin, destination=destination)) == pytest.approx(truth, rel=1e-3)


coordinate = st.tuples(st.floats(250_000, 750_000), st.floats(4_200_000, 4_400_000))


@given(st.lists(coordinate, min_size=2, max_size=5), st.floats(-5_000, 5_000), st.floats(0, 360))
def test_moving_and_turning_all_places_changes_nothing(
    points: list[tuple[float, float]], shift: float, angle: float
) -> None:
    places = metres(points)
    before = straight_line(places, places, dims=("a", "b"))
    moved = places.geometry.apply(lambda p: translate(rotate(p, angle, origin=(500_000, 4_300_000)), shift, -shift))
    after = straight_line(places.set_geometry(moved), places.set_geometry(moved), dims=("a", "b"))
    np.testing.assert_allclose(after, before, atol=1e-6)
    np.testing.assert_allclose(before, before.values.T, atol=1e-12)
    assert (np.diag(before) == 0).all()
    through = (before.values[:, :, None] + before.values[None, :, :]).min(axis=1)
    assert (before.values <= through + 1e-9).all()


@given(st.permutations(["ashburn", "winchester", "baltimore"]))
def test_order_of_rows_changes_nothing(order: list[str]) -> None:
    expected = straight_line(layer("ashburn"), layer(*PLACES))
    xr.testing.assert_allclose(straight_line(layer("ashburn"), layer(*order)).sel(hub=expected["hub"]), expected)


@pytest.mark.parametrize(
    ("bad", "expected"),
    [
        (layer("ashburn").set_crs(None, allow_override=True), "supplier layer: has no CRS"),
        (layer("ashburn", crs="EPSG:4326"), r"EPSG:4326 is geographic.*estimate_utm_crs\(\)\), here EPSG:32618"),
        (layer("ashburn", crs="EPSG:3857"), r"EPSG:3857 are wrong by up to 29%.*estimate_utm_crs"),
        (layer("ashburn", crs="EPSG:32617"), "different CRSs, EPSG:32617 and EPSG:32618"),
        (layer("ashburn").drop(columns="id"), "column 'id' is missing"),
        (layer("ashburn", "ashburn"), "duplicate: ashburn"),
        (layer("ashburn", "winchester").assign(id=[1, 1]), "duplicate: 1"),
        (layer("ashburn", "winchester").assign(id=[{}, {}]), "duplicate: {}"),
        (layer("ashburn").assign(id=[None]), "value is missing"),
        (layer("ashburn").iloc[:0], "has no rows"),
        (layer("ashburn").buffer(10).to_frame("geometry").assign(id="a"), "Polygon at id a, a point is needed"),
    ],
)
def test_refused_layers(bad: gpd.GeoDataFrame, expected: str) -> None:
    with pytest.raises(InputError, match=expected):
        straight_line(bad, layer("baltimore"))


def test_all_findings_come_at_once() -> None:
    with pytest.raises(InputError) as caught:
        straight_line(
            layer("ashburn").set_crs(None, allow_override=True), layer("baltimore", crs="EPSG:4326"), detour=0.9
        )
    assert [finding.where for finding in caught.value.findings] == ["supplier layer", "hub layer", "detour"]


def test_dimensions_need_different_names() -> None:
    with pytest.raises(InputError, match="both dimensions are called 'hub'"):
        straight_line(layer("ashburn"), layer("baltimore"), dims=("hub", "hub"))


def test_travel_time() -> None:
    distance = straight_line(metres([(0, 4300000)]), metres([(12000, 4300000)]), dims=("hub", "node"))
    time = travel_time(distance, 40)
    np.testing.assert_allclose(time, [[0.3]])
    assert time.attrs["units"] == "h"
    assert time.dims == ("hub", "node")


@pytest.mark.parametrize(
    ("distance", "speed", "expected"),
    [
        (xr.DataArray([1.0], dims="hub"), 40, "no unit is stated, 'km' is needed"),
        (xr.DataArray([1.0], dims="hub", attrs={"units": "m"}), 40, "unit is 'm', 'km' is needed"),
        (xr.DataArray([-1.0], dims="hub", coords={"hub": ["a"]}, attrs={"units": "km"}), 40, "is not at hub=a"),
        (xr.DataArray([np.nan], dims="hub", coords={"hub": ["a"]}, attrs={"units": "km"}), 40, "is not at hub=a"),
        (xr.DataArray([1.0], dims="hub", attrs={"units": "km"}), 0, "speed: must be a finite number"),
        (xr.DataArray([1.0], dims="hub", attrs={"units": "km"}), float("nan"), "speed: must be a finite number"),
    ],
)
def test_refused_travel_times(distance: xr.DataArray, speed: float, expected: str) -> None:
    with pytest.raises(InputError, match=expected):
        travel_time(distance, speed)


@given(st.lists(st.tuples(st.floats(-179, 179), st.floats(-80, 80)), min_size=1, max_size=4, unique=True))
def test_great_circles_are_geodesics_and_obey_the_triangle_inequality(degrees: list[tuple[float, float]]) -> None:
    points = gpd.GeoDataFrame(
        {"id": [f"p{k}" for k in range(len(degrees))]},
        geometry=gpd.points_from_xy(*zip(*degrees, strict=True), crs="EPSG:4326"),
    )
    found = great_circle(points, points, dims=("a", "b"))
    geod = Geod(ellps="WGS84")
    truth = [[geod.inv(*here, *there)[2] / 1000 for there in degrees] for here in degrees]
    np.testing.assert_allclose(found, truth, atol=1e-9)
    assert (found.values[:, None] <= found.values[:, :, None] + found.values[None] + 1e-9).all()


def test_great_circles_do_not_depend_on_the_crs() -> None:
    names = list(PLACES)
    found = {
        crs: great_circle(layer(*names, crs=crs), layer(*names), dims=("a", "b"))
        for crs in ("EPSG:4326", UTM18, "EPSG:3857")
    }
    for distance in found.values():
        np.testing.assert_allclose(distance, found["EPSG:4326"], atol=1e-5)
    assert float(found[UTM18].sel(a="ashburn", b="baltimore")) == pytest.approx(80.49, abs=0.05)


def test_great_circle_needs_a_crs_and_ids() -> None:
    lost = layer("ashburn").set_crs(None, allow_override=True)
    with pytest.raises(InputError) as caught:
        great_circle(lost, layer("winchester").drop(columns="id"))
    assert {finding.where for finding in caught.value.findings} == {"supplier layer", "hub layer"}
