"""Ways along roads against networkx, and what one-way streets, closures and gaps do to them."""

from __future__ import annotations

import geopandas as gpd
import networkx as nx
import numpy as np
import pytest
import shapely
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from shapely.geometry import LineString, Point, box

from drofcm.core.errors import InputError
from drofcm.siting.roads import RoadNetwork, closed_by

UTM32 = "EPSG:32632"
EAST, NORTH = 420_000.0, 5_360_000.0
"""A corner near Offenburg; figures below are metres from it."""


def at(x: float, y: float) -> tuple[float, float]:
    return EAST + x, NORTH + y


def roads(*lines: list[tuple[float, float]], **columns: object) -> gpd.GeoDataFrame:
    table = {"id": [f"r{k}" for k in range(len(lines))], "speed_km_h": 60.0} | columns
    return gpd.GeoDataFrame(table, geometry=[LineString([at(*point) for point in line]) for line in lines], crs=UTM32)


def places(*points: tuple[float, float], prefix: str = "p") -> gpd.GeoDataFrame:
    table = {"id": [f"{prefix}{k}" for k in range(len(points))]}
    return gpd.GeoDataFrame(table, geometry=[Point(*at(*point)) for point in points], crs=UTM32)


def only(ways: xr.DataArray) -> float:
    return float(ways.item())


def square(**columns: object) -> RoadNetwork:
    """Four roads of 1 km around a block, drawn clockwise from the south-west corner."""
    corner = [(0, 0), (0, 1000), (1000, 1000), (1000, 0), (0, 0)]
    return RoadNetwork.from_layer(roads(*([corner[k], corner[k + 1]] for k in range(4)), **columns))


def test_around_the_block_and_from_the_middle_of_a_road() -> None:
    here, there = places((0, 0), (-30, 250)), places((1000, 1000), (0, 750), prefix="q")
    ways = square().distance(here, there, dims=("a", "b"))
    np.testing.assert_allclose(ways, [[2.0, 0.75], [1.75, 0.5]], atol=1e-9)
    np.testing.assert_allclose(ways["a_snap_m"], [0, 30], atol=1e-9)
    times = square().travel_time(here, there, dims=("a", "b"))
    np.testing.assert_allclose(times, ways / 60)
    assert (ways.attrs["units"], times.attrs["units"]) == ("km", "h")


def test_a_one_way_street_changes_the_answer() -> None:
    ends = places((0, 250)), places((0, 750))
    both = square().distance(*ends), square().distance(*ends[::-1])
    clockwise = square(oneway=1)
    one = clockwise.distance(*ends), clockwise.distance(*ends[::-1])
    assert [only(way) for way in both] == pytest.approx([0.5, 0.5])
    assert [only(way) for way in one] == pytest.approx([0.5, 3.5])  # against the street: all around the block


def test_fastest_is_not_shortest() -> None:
    slow = square(speed_km_h=[10.0, 60.0, 60.0, 60.0])
    ends = places((0, 0)), places((0, 1000))
    assert only(slow.distance(*ends)) == pytest.approx(1.0)
    assert only(slow.travel_time(*ends)) == pytest.approx(3 / 60)


def test_of_parallel_roads_the_shorter_counts() -> None:
    network = RoadNetwork.from_layer(roads([(0, 0), (1000, 0)], [(0, 0), (500, 800), (1000, 0)]))
    assert only(network.distance(places((0, 0)), places((1000, 0)))) == pytest.approx(1.0)


def test_a_stated_length_replaces_that_of_the_line() -> None:
    network = RoadNetwork.from_layer(roads([(0, 0), (1000, 0)], length_km=[1.5]))
    assert only(network.distance(places((0, 0)), places((500, 0)))) == pytest.approx(0.75)


def test_ends_that_almost_meet_are_one_crossing_and_gaps_are_named() -> None:
    joined = RoadNetwork.from_layer(roads([(0, 0), (500, 0)], [(500.05, 0.05), (1000, 0)]))
    assert only(joined.distance(places((0, 0)), places((1000, 0)))) == pytest.approx(1.0, abs=1e-3)
    apart = RoadNetwork.from_layer(roads([(0, 0), (500, 0)], [(503, 0), (1000, 0)]))
    with pytest.raises(InputError, match=r"supplier p0: no way leads to hub q0.*fall apart into 2 networks"):
        apart.distance(places((0, 0)), places((1000, 0), (100, 0), prefix="q"))
    lost = apart.distance(places((0, 0)), places((1000, 0), (100, 0), prefix="q"), unreachable="infinite")
    np.testing.assert_allclose(lost, [[np.inf, 0.1]])


def test_a_closed_road_makes_a_detour_or_a_wait() -> None:
    network = square()
    here, there = places((0, 0), prefix="h"), places((0, 1000), (0, 500), prefix="n")
    closed = xr.DataArray(
        [[0, 0, 0, 0], [1, 0, 0, 0], [1, 1, 0, 0]],
        coords={"scenario": ["calm", "flood", "worse"], "road": ["r0", "r1", "r2", "r3"]},
    )
    times = network.scenario_travel_time(here, there, closed, closed_h=24)
    assert times.dims == ("scenario", "hub", "node")
    # n1 lies on the closed road itself, n0 is cut off when both roads at its corner are closed
    expected = [[[1 / 60, 0.5 / 60]], [[3 / 60, 24 + 0.5 / 60]], [[24 + 1 / 60, 24 + 0.5 / 60]]]
    np.testing.assert_allclose(times, expected)
    soon = network.scenario_travel_time(here, there, closed, closed_h=0.01)
    np.testing.assert_allclose(soon.sel(scenario="flood"), [[0.01 + 1 / 60, 0.01 + 0.5 / 60]])
    with pytest.raises(InputError, match=r"closed_h: must be a finite number"):
        network.scenario_travel_time(here, there, closed, closed_h=np.inf)


def test_zones_close_the_roads_that_enter_them() -> None:
    layer = square().layer
    zones = gpd.GeoDataFrame(
        {"id": ["west", "outside", "beside"]},
        geometry=[
            box(*at(-50, 400), *at(50, 600)),
            box(*at(3000, 0), *at(3100, 100)),
            box(*at(1000, 200), *at(1100, 300)),  # its edge runs along the eastern road
        ],
        crs=UTM32,
    )
    hit = closed_by(layer, zones)
    assert hit.dims == ("zone", "road")
    np.testing.assert_array_equal(hit, [[1, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]])
    with pytest.raises(InputError, match=r"zones.to_crs\(roads.crs\)"):
        closed_by(layer, zones.to_crs("EPSG:4326"))


def test_isochrones_end_where_the_time_is_over() -> None:
    network = RoadNetwork.from_layer(roads([(0, 0), (4000, 0)], [(4000, 0), (4000, 4000)], speed_km_h=[60.0, 30.0]))
    areas = network.reachable(places((1000, 0), prefix="h"), [1 / 60, 4 / 60], width_m=10)
    assert list(areas["hours"]) == [4 / 60, 1 / 60]
    near, far = areas.geometry.iloc[1], areas.geometry.iloc[0]
    assert near.covers(Point(*at(1990, 0)))
    assert not near.covers(Point(*at(2020, 0)))
    assert near.covers(Point(*at(20, 0)))
    # 3 minutes to the corner, one minute left at half the speed
    assert far.covers(Point(*at(4000, 490)))
    assert not far.covers(Point(*at(4000, 520)))
    oneway = RoadNetwork.from_layer(roads([(0, 0), (4000, 0)], oneway=[1]))
    assert not oneway.reachable(places((1000, 0)), [1 / 60], width_m=10).geometry[0].covers(Point(*at(900, 0)))


# ==== Random networks ===================================================================================


@st.composite
def networks(draw: st.DrawFn) -> gpd.GeoDataFrame:
    """Up to nine crossings with streets among them, some parallel, some one-way."""
    count = draw(st.integers(3, 9))
    spot = draw(
        st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40)), min_size=count, max_size=count, unique=True)
    )
    ends = st.tuples(st.integers(0, count - 1), st.integers(0, count - 1)).filter(lambda pair: pair[0] != pair[1])
    chosen = draw(st.lists(ends, min_size=count, max_size=3 * count))
    speed = draw(st.lists(st.sampled_from([20.0, 50.0, 90.0]), min_size=len(chosen), max_size=len(chosen)))
    oneway = draw(st.lists(st.integers(0, 1), min_size=len(chosen), max_size=len(chosen)))
    lines = [[(100 * spot[k][0], 100 * spot[k][1]) for k in pair] for pair in chosen]
    return roads(*lines, speed_km_h=speed, oneway=oneway)


def graph_of(layer: gpd.GeoDataFrame) -> nx.MultiDiGraph:
    graph = nx.MultiDiGraph()
    for road in layer.itertuples():
        start, end = road.geometry.coords[0], road.geometry.coords[-1]
        hours = road.geometry.length / 1000 / road.speed_km_h
        graph.add_edge(start, end, hours=hours)
        if not road.oneway:
            graph.add_edge(end, start, hours=hours)
    return graph


def crossings(layer: gpd.GeoDataFrame) -> gpd.GeoDataFrame:
    points = sorted({point for line in layer.geometry for point in line.coords})
    return gpd.GeoDataFrame(
        {"id": [f"c{k}" for k in range(len(points))]}, geometry=[Point(point) for point in points], crs=UTM32
    )


@settings(max_examples=25)
@given(networks())
def test_as_networkx_and_the_triangle_inequality(layer: gpd.GeoDataFrame) -> None:
    network, points, graph = RoadNetwork.from_layer(layer), crossings(layer), graph_of(layer)
    times = network.travel_time(points, points, dims=("a", "b"), unreachable="infinite").values
    for row, point in enumerate(points.geometry):
        found = nx.single_source_dijkstra_path_length(graph, point.coords[0], weight="hours")
        expected = [found.get(other.coords[0], np.inf) for other in points.geometry]
        np.testing.assert_allclose(times[row], expected, rtol=1e-9, atol=1e-12)
    assert (times[:, None, :] <= times[:, :, None] + times[None, :, :] + 1e-12).all()


@settings(max_examples=25)
@given(networks(), st.data())
def test_places_along_roads_as_networkx_with_cut_roads(layer: gpd.GeoDataFrame, data: st.DataObject) -> None:
    """Every road is cut into four pieces for networkx; places lie at the cuts."""
    quarters = layer.loc[layer.index.repeat(4)].reset_index(drop=True)
    pieces = [
        LineString([line.interpolate(k / 4, normalized=True), line.interpolate((k + 1) / 4, normalized=True)])
        for line in layer.geometry
        for k in range(4)
    ]
    quarters = quarters.set_geometry(gpd.GeoSeries(pieces, crs=UTM32)).assign(
        id=[f"{label}-{k}" for k, label in enumerate(quarters["id"])]
    )
    which = data.draw(st.lists(st.integers(0, len(quarters) - 1), min_size=1, max_size=4, unique=True))
    points = gpd.GeoDataFrame(
        {"id": [f"p{k}" for k in which]},
        geometry=[Point(quarters.geometry[k].coords[0]) for k in which],
        crs=UTM32,
    )
    whole = RoadNetwork.from_layer(layer).travel_time(points, points, dims=("a", "b"), unreachable="infinite")
    snapped = RoadNetwork.from_layer(layer).snap(points)
    # where two roads cross without a crossing, or run along each other, the nearest road is not unique
    nearest = [(layer.distance(point) < 1e-6).sum() for point in points.geometry]
    graph = graph_of(quarters)
    single = [k for k, count in enumerate(nearest) if count == 1]
    assert (snapped["snap_m"] < 1e-6).all()
    for row in single:
        found = nx.single_source_dijkstra_path_length(graph, points.geometry[row].coords[0], weight="hours")
        for column in single:
            expected = found.get(points.geometry[column].coords[0], np.inf)
            assert only(whole[row, column]) == pytest.approx(expected, rel=1e-6, abs=1e-9)


@settings(max_examples=12)
@given(networks())
def test_invariant_under_the_crs(layer: gpd.GeoDataFrame) -> None:
    """UTM and Gauss-Kruger scale lengths differently, by less than 0.1 % here; feet are converted."""
    points = crossings(layer)
    there = layer.to_crs("EPSG:31467")
    utm = RoadNetwork.from_layer(layer).distance(points, points, dims=("a", "b"), unreachable="infinite")
    gauss = RoadNetwork.from_layer(there).distance(
        points.to_crs("EPSG:31467"), points.to_crs("EPSG:31467"), dims=("a", "b"), unreachable="infinite"
    )
    np.testing.assert_allclose(gauss, utm, rtol=1e-3, atol=1e-6)


def test_lengths_in_feet_are_converted() -> None:
    line = LineString([(-71.10, 42.36), (-71.08, 42.36)])  # Boston, in degrees
    layer = gpd.GeoDataFrame({"id": ["r"], "speed_km_h": [50.0]}, geometry=[line], crs="EPSG:4326")
    ends = gpd.GeoDataFrame({"id": ["a", "b"]}, geometry=[Point(p) for p in line.coords], crs="EPSG:4326")
    for crs in ("EPSG:26986", "EPSG:2249"):  # Massachusetts in metres and in US survey feet
        network = RoadNetwork.from_layer(layer.to_crs(crs))
        ways = network.distance(ends.to_crs(crs).iloc[:1], ends.to_crs(crs).iloc[1:])
        assert only(ways) == pytest.approx(1.6473, rel=1e-3)


# ==== What is refused ===================================================================================


@pytest.mark.parametrize(
    ("layer", "expected"),
    [
        (square().layer.to_crs("EPSG:4326"), "is geographic"),
        (square().layer.to_crs("EPSG:3857"), "are wrong by up to"),
        (square().layer.assign(speed_km_h=[50, 0, 50, 50]), "must be a finite number above 0, is 0 at id r1"),
        (square().layer.assign(oneway=[0, 1, -1, 0]), "must be 0 or 1, is -1 at id r2"),
        (square().layer.assign(id=["a", "a", "b", "c"]), "duplicate: a"),
        (square().layer.iloc[:0], "has no rows"),
        (square().layer.assign(length_km=[0.5, 1, 1, 1]), "shorter than the straight line"),
        (square().layer.assign(length_km=1000.0), "they look like metres"),
        (roads([(0, 0), (0, 0)]), "invalid geometry (Too few points in geometry component) at id r0"),
        (square().layer.set_geometry(square().layer.buffer(5)), "Polygon at id r0, r1, r2, r3, a line is needed"),
    ],
)
def test_bad_roads_are_refused(layer: gpd.GeoDataFrame, expected: str) -> None:
    with pytest.raises(InputError) as caught:
        RoadNetwork.from_layer(layer)
    assert [finding for finding in caught.value.findings if expected in str(finding)], str(caught.value)
    assert len(caught.value.findings) == 1


def test_places_far_from_every_road_in_another_crs_or_without_id_are_refused() -> None:
    network = square()
    with pytest.raises(InputError, match=r"hub layer: farther than 500 m from every road: p0 \(700 m\)"):
        network.travel_time(places((-700, 0)), places((0, 0)))
    assert only(network.travel_time(places((-700, 0)), places((0, 0)), snap_limit_m=800)) == 0
    with pytest.raises(InputError, match=r"places.to_crs\(network.crs\)"):
        network.travel_time(places((0, 0)).to_crs("EPSG:4326"), places((0, 0)))
    with pytest.raises(InputError, match="column 'id' is missing"):
        network.snap(places((0, 0)).drop(columns="id"))
    with pytest.raises(InputError, match=r"closed: unknown road 'r9' \(known: r0"):
        network.travel_time(places((0, 0)), places((0, 0)), closed=["r9"])
    with pytest.raises(InputError, match="both dimensions are called"):
        network.travel_time(places((0, 0)), places((0, 0)), dims=("a", "a"))


def test_snapping_finds_the_nearest_road() -> None:
    rng = np.random.default_rng(3)
    spot = rng.uniform(-400, 1400, (40, 2))
    network = square()
    points = places(*map(tuple, spot))
    snapped = network.snap(points)
    gaps = np.array([[line.distance(point) for line in network.layer.geometry] for point in points.geometry])
    np.testing.assert_allclose(snapped["snap_m"], gaps.min(axis=1))
    assert (
        shapely.distance(snapped.geometry.to_numpy(), points.geometry.to_numpy()) - snapped["snap_m"]
    ).abs().max() < 1e-6


# ==== Roads that look joined and are not ================================================================


def seen(*lines: list[tuple[float, float]], **columns: object) -> list[str]:
    """Warnings of a network of these lines."""
    findings = RoadNetwork.from_layer(roads(*lines, **columns)).findings
    assert all(finding.severity == "warning" and finding.where == "roads" for finding in findings)
    return [finding.what for finding in findings]


ROUND = [(1000, 0), (5000, 0), (5000, 500), (500, 500)]


def test_a_side_road_that_ends_in_the_middle_of_another_is_told() -> None:
    (what,) = seen([(0, 0), (1000, 0)], [(500, 0), (500, 500)], ROUND)
    assert what.startswith("1 end of a road lies within 5 m of a road without joining it: the end of")
    assert "lies on" in what
    assert "500 m from its start" in what
    # both side roads end at one place of the main road: one fault, though the two join each other
    (what,) = seen([(0, 0), (1000, 0)], [(500, 0), (500, 500)], [(500, 0), (500, -500)], ROUND)
    assert what.startswith("1 end of a road lies")
    (what,) = seen([(0, 0), (1000, 0)], [(500, 0.3), (500, 500)], ROUND)
    assert "lies 0.3 m beside" in what


@pytest.mark.parametrize(("gap", "told"), [(0.05, 0), (0.2, 1), (4.9, 1), (5.1, 0)])
def test_ends_that_fall_short_of_each_other_are_told_up_to_five_metres(gap: float, told: int) -> None:
    around = [(1000, 0), (1000, 3000), (2000, 0)]
    found = seen([(0, 0), (1000, 0)], [(1000 + gap, 0), (2000, 0)], around)
    assert len(found) == told
    if told:
        assert found[0].startswith("1 end of a road lies within 5 m")
        assert f"are {gap:g} m apart" in found[0]


def test_many_gaps_are_counted_and_a_few_shown() -> None:
    lines = [[(100 * k + 1, 0), (100 * k + 100, 0)] for k in range(8)]
    found = seen(*lines)
    assert found[0].startswith("7 ends of roads lie within 5 m")
    assert found[0].endswith("; and 4 more")
    assert found[1].startswith("fall apart into 8 networks; the largest holds 12.5% of the length")


def test_roads_that_cross_without_a_crossing_are_told() -> None:
    (what,) = seen([(0, 0), (1000, 0)], [(500, -500), (500, 500)], [(500, 500), (1000, 500), (1000, 0)])
    assert what.startswith("1 pair of roads crosses between their ends without joining there")
    assert seen([(0, 0), (500, 0)], [(500, 0), (1000, 0)], [(500, -500), (500, 0)], [(500, 0), (500, 500)]) == []


def test_the_share_of_the_largest_part_is_told() -> None:
    (what,) = seen([(0, 0), (900, 0)], [(5000, 5000), (5100, 5000)])
    assert what.startswith("fall apart into 2 networks; the largest holds 90.0% of the length")


def test_flags_in_text_are_the_flags_they_were_checked_as() -> None:
    for flags in ([1], ["1"], [" 1.0 "], [True]):
        network = RoadNetwork.from_layer(roads([(0, 0), (1000, 0)], oneway=flags))
        assert network.oneway.tolist() == [True]
        assert only(network.distance(places((0, 0)), places((1000, 0)))) == 1.0
        assert np.isinf(only(network.distance(places((1000, 0)), places((0, 0)), unreachable="infinite")))
    for flags in (["yes"], ["-1"], ["T"], [2]):
        with pytest.raises(InputError, match="must be 0 or 1"):
            RoadNetwork.from_layer(roads([(0, 0), (1000, 0)], oneway=flags))


def test_numbers_in_text_are_used_as_numbers() -> None:
    network = RoadNetwork.from_layer(roads([(0, 0), (1000, 0)], speed_km_h=["30"], length_km=["1.5"]))
    assert network.hours.tolist() == [0.05]
