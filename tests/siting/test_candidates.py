"""Candidate hubs and exclusion zones: where points lie, what is left out, and how they are scored."""

from __future__ import annotations

import itertools

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from shapely.geometry import Point, Polygon, box

from drofcm.core.errors import InputError
from drofcm.siting.candidates import (
    Criterion,
    distance_to,
    from_clusters,
    from_grid,
    from_parcels,
    from_poisson_disc,
    sample,
    slope,
    suitability,
)
from drofcm.siting.exclusion import exclude, overlaps

UTM32 = "EPSG:32632"
EAST, NORTH = 420_000.0, 5_360_000.0


def areas(*shapes: Polygon, crs: str = UTM32, **columns: object) -> gpd.GeoDataFrame:
    names = [f"a{k}" for k in range(len(shapes))]
    return gpd.GeoDataFrame(
        {"id": names, "name": [name.upper() for name in names]} | columns, geometry=list(shapes), crs=crs
    )


def block(x: float, y: float, wide: float, high: float) -> Polygon:
    return box(EAST + x, NORTH + y, EAST + x + wide, NORTH + y + high)


L_SHAPE = Polygon(
    [(EAST + x, NORTH + y) for x, y in [(0, 0), (1000, 0), (1000, 100), (100, 100), (100, 1000), (0, 1000)]]
)


# ==== Points ============================================================================================


def test_a_grid_has_its_points_at_multiples_inside_the_areas() -> None:
    found = from_grid(areas(block(-10, -10, 1020, 520), block(2000, 0, 100, 100)), spacing_m=250)
    assert len(found) == 5 * 3 + 1
    assert (found.geometry.x % 250 == 0).all()
    assert found["area"].value_counts().to_dict() == {"a0": 15, "a1": 1}
    assert found["id"].is_unique
    wider = from_grid(areas(block(-500, -500, 3000, 3000)), spacing_m=250)
    assert set(found.geometry) <= set(wider.geometry)


def test_a_grid_in_feet_is_measured_in_metres() -> None:
    metres = areas(box(230_000, 900_000, 231_000, 901_000), crs="EPSG:26986")
    feet = from_grid(metres.to_crs("EPSG:2249"), spacing_m=250)
    apart = [a.distance(b) for a, b in itertools.combinations(feet.geometry, 2)]
    assert min(apart) * 1200 / 3937 == pytest.approx(250)


def test_a_point_on_the_border_of_two_areas_counts_once() -> None:
    found = from_grid(areas(block(0, 0, 500, 500), block(500, 0, 500, 500)), spacing_m=250)
    assert len(found) == 5 * 3
    assert (found.loc[found.geometry.x == EAST + 500, "area"] == "a0").all()


@settings(max_examples=15)
@given(seed=st.integers(0, 2**32 - 1), spacing=st.floats(120, 400))
def test_poisson_points_keep_their_distance_and_fill_the_areas(seed: int, spacing: float) -> None:
    shapes = areas(L_SHAPE, block(1500, 0, 800, 900))
    found = from_poisson_disc(shapes, spacing_m=spacing, rng=np.random.default_rng(seed))
    apart = [a.distance(b) for a, b in itertools.combinations(found.geometry, 2)]
    assert min(apart, default=np.inf) >= spacing * (1 - 1e-9)
    assert found.geometry.covered_by(shapes.union_all()).all()
    again = from_poisson_disc(shapes, spacing_m=spacing, rng=np.random.default_rng(seed))
    assert list(again.geometry) == list(found.geometry)


def test_parcels_give_their_middle_or_a_point_inside() -> None:
    parcels = areas(block(0, 0, 200, 100), L_SHAPE, block(0, 0, 10, 10), storage_slots=[6, 4, 1])
    found = from_parcels(parcels, area_at_least_m2=1000)
    assert list(found["id"]) == ["a0", "a1"]
    assert list(found["storage_slots"]) == [6, 4]
    assert found.geometry[0] == Point(EAST + 100, NORTH + 50)
    assert not L_SHAPE.contains(L_SHAPE.centroid)
    assert L_SHAPE.contains(found.geometry[1])
    with pytest.raises(InputError, match="no parcel has 1e\\+06 m2, the largest has 190,000"):
        from_parcels(parcels, area_at_least_m2=1e6)


# ==== Clusters ==========================================================================================


def loads(points: np.ndarray, weight: np.ndarray) -> gpd.GeoDataFrame:
    geometry = gpd.points_from_xy(EAST + points[:, 0], NORTH + points[:, 1])
    names = [f"l{k}" for k in range(len(points))]
    return gpd.GeoDataFrame({"id": names, "volatile_mw": weight}, geometry=geometry, crs=UTM32)


@settings(max_examples=25)
@given(seed=st.integers(0, 2**32 - 1), count=st.integers(1, 3))
def test_no_exchange_of_a_medoid_lowers_the_sum_and_it_is_near_the_least(seed: int, count: int) -> None:
    rng = np.random.default_rng(seed)
    points, weight = rng.uniform(0, 5000, (9, 2)), rng.uniform(0.5, 5, 9)
    layer = loads(points, weight)
    apart = np.hypot(*(points[:, None] - points[None]).transpose(2, 0, 1)) / 1000

    def total(chosen: tuple[int, ...]) -> float:
        return float(weight @ apart[:, list(chosen)].min(axis=1))

    found = from_clusters(layer, count=count)
    chosen = tuple(int(label[1:]) for label in found["id"])
    best = min(total(other) for other in itertools.combinations(range(9), count))
    assert total(chosen) <= 1.3 * best + 1e-9
    for leave, enter in itertools.product(chosen, range(9)):
        assert total((*(k for k in chosen if k != leave), enter)) >= total(chosen) - 1e-9
    assert found["volatile_mw"].sum() == pytest.approx(weight.sum())
    assert (found["volatile_mw"] * found["mean_km"]).sum() == pytest.approx(total(chosen))


def test_clusters_follow_the_weight() -> None:
    points = np.array([[0, 0], [1000, 0], [2000, 0]], dtype=float)
    assert list(from_clusters(loads(points, np.array([1.0, 1, 1])), count=1)["id"]) == ["l1"]
    assert list(from_clusters(loads(points, np.array([9.0, 1, 1])), count=1)["id"]) == ["l0"]
    with pytest.raises(InputError, match="must be between 1 and the number of loads, 3, is 4"):
        from_clusters(loads(points, np.ones(3)), count=4)


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        (lambda: from_grid(areas(block(0, 0, 9, 9)), spacing_m=0), "must be a finite number of metres above 0"),
        (lambda: from_grid(areas(block(1, 1, 90, 90)), spacing_m=500), "no point lies in an area"),
        (lambda: from_grid(areas(block(0, 0, 9e4, 9e4)), spacing_m=10), "over 100,000 points"),
        (lambda: from_grid(areas(block(0, 0, 9, 9)).to_crs(4326), spacing_m=5), "is geographic"),
        (lambda: from_parcels(areas(block(0, 0, 9, 9)).drop(columns="name")), "column 'name' is missing"),
    ],
)
def test_what_gives_no_candidates_is_said(call: object, expected: str) -> None:
    with pytest.raises(InputError, match=expected):
        call()  # type: ignore[operator]


# ==== Exclusion =========================================================================================


def test_zones_and_their_buffers_leave_candidates_out() -> None:
    points = loads(np.array([[50, 50], [150, 50], [250, 50], [100, 50]], dtype=float), np.ones(4))
    zones = {"flood": areas(block(0, 0, 100, 100), buffer_m=[60.0]), "reserve": areas(block(240, 0, 20, 100))}
    kept, dropped = exclude(points, zones)
    assert kept["id"].to_list() == []
    assert dropped.set_index(["id", "layer"])["distance_m"].to_dict() == {
        ("l0", "flood"): 0.0,
        ("l1", "flood"): 50.0,
        ("l3", "flood"): 0.0,  # on the border
        ("l2", "reserve"): 0.0,
    }
    kept, dropped = exclude(points, {"flood": zones["flood"].assign(buffer_m=50.0)})
    assert kept["id"].to_list() == ["l1", "l2"]  # exactly as far as the buffer: may stay


def test_a_layer_of_zones_without_rows_or_in_another_crs_is_no_permission() -> None:
    points = loads(np.array([[50.0, 50.0]]), np.ones(1))
    with pytest.raises(InputError) as caught:
        exclude(points, {"flood": areas(block(0, 0, 9, 9)).iloc[:0], "fire": areas(block(0, 0, 9, 9)).to_crs(4326)})
    assert [finding.where for finding in caught.value.findings] == ["flood", "fire"]


def test_overlaps_tell_area_and_share() -> None:
    table = overlaps(areas(block(0, 0, 100, 100), block(500, 0, 10, 10)), areas(block(75, 0, 100, 50)))
    assert table.to_dict("records") == [{"id": "a0", "zone": "a0", "area_m2": 1250.0, "share": 0.125}]


# ==== Scores ============================================================================================


def test_score_is_the_weighted_mean_of_what_is_clipped_between_worst_and_best() -> None:
    values = pd.DataFrame({"road_m": [0.0, 500, 2000], "slope": [10.0, 0, 0]}, index=["x", "y", "z"])
    criteria = {"road_m": Criterion(best=0, worst=1000, weight=3), "slope": Criterion(best=0, worst=10)}
    scores = suitability(values, criteria)
    assert scores["score"].to_dict() == pytest.approx({"x": 0.75, "y": 0.625, "z": 0.25})
    assert list(scores.index) == ["x", "y", "z"]
    with pytest.raises(InputError, match=r"no column 'roads_m' \(did you mean 'road_m'"):
        suitability(values, {"roads_m": criteria["slope"]})
    with pytest.raises(InputError, match=r"values\['slope'\]: no finite value at y"):
        suitability(values.assign(slope=[1, np.nan, 1]), criteria)
    with pytest.raises(ValueError, match="two different finite numbers"):
        Criterion(best=1, worst=1)


def test_distances_to_a_layer() -> None:
    points = loads(np.array([[50, 50], [150, 50]], dtype=float), np.ones(2))
    found = distance_to(points, areas(block(0, 0, 100, 100)))
    assert found.to_dict() == {"l0": 0.0, "l1": 50.0}


def test_slope_of_a_plane_and_values_between_cells() -> None:
    x, y = EAST + np.arange(0, 500, 50.0), NORTH + np.arange(400, -1, -50.0)
    plane = xr.DataArray(0.3 * (x - EAST) + 0.4 * (y[:, None] - NORTH), coords={"y": y, "x": x}, dims=("y", "x"))
    np.testing.assert_allclose(slope(plane), np.degrees(np.arctan(0.5)))
    points = loads(np.array([[75, 125], [9000, 0]], dtype=float), np.ones(2))
    assert sample(plane, points)["l0"] == pytest.approx(0.3 * 75 + 0.4 * 125)
    assert np.isnan(sample(plane, points)["l1"])
    with pytest.raises(InputError, match="a raster is over y and x"):
        slope(plane.rename(x="longitude"))
