"""A study whose hubs, ways and floods come from layers: study 03, checked against its layers."""

from __future__ import annotations

from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import shapely.ops
from shapely.geometry import Point

from drofcm.config import load_study, resolved
from drofcm.core.errors import InputError
from drofcm.core.randomness import stream
from drofcm.siting.roads import RoadNetwork
from drofcm.study.assemble import Assembly, assemble
from drofcm.study.sources import load_sources

STUDY = "03_hub_siting_oberrhein"


@pytest.fixture(scope="module")
def area(root: Path) -> Path:
    return root / "geo" / "oberrhein"


@pytest.fixture(scope="module")
def assembly(root: Path) -> Assembly:
    path = root / "studies" / STUDY / "study.yaml"
    return assemble(load_study(path), path.parent)


def line_out(assembly: Assembly) -> np.ndarray:
    """Whether an event puts out line 237-247, the only fault of the study: one of its ends is then cut off."""
    return (assembly.data["energised"].sel(bus=["237", "247"]) == 0).any("bus").values


def test_candidates_are_the_parcels_outside_the_exclusions(assembly: Assembly, area: Path) -> None:
    parcels, zones = (gpd.read_file(area / f"{name}.gpkg") for name in ("parcels", "exclusions"))
    middle = parcels.set_geometry(parcels.centroid)
    near = [
        any(point.distance(zone.geometry) < zone.buffer_m for zone in zones.itertuples()) for point in middle.geometry
    ]
    assert 0 < sum(near) < len(parcels) - 20
    hubs = assembly.layers["hubs"]
    assert list(hubs["id"]) == list(middle["id"][~np.array(near)])
    assert list(assembly.data["hub"].values) == list(hubs["id"])
    assert assembly.data["setup_cost"].values.tolist() == list(parcels["setup_cost_usd_per_a"][~np.array(near)])


def test_floods_follow_the_line_that_is_out_or_their_chance(assembly: Assembly, area: Path) -> None:
    zones = gpd.read_file(area / "hazards.gpkg")
    share = assembly.layers["hazards"].set_index("id")["active_share"]
    count = assembly.data.sizes["scenario"]
    drawn = np.array([stream(20261121, "hazards", k).random(3) < zones["probability"].to_numpy() for k in range(count)])
    assert (share.to_numpy() >= drawn.mean(axis=0) - 1e-12).all()
    # line 237-247 passes through the middle reach; some fault of the study puts it out
    out = line_out(assembly)
    assert out.any()
    assert share["middle"] == pytest.approx((out | drawn[:, 1]).mean())


def test_travel_times_are_those_of_the_roads_that_are_open(assembly: Assembly, area: Path) -> None:
    data = assembly.data
    assert set(data["travel_time"].dims) == {"scenario", "node", "hub"}
    roads, zones = (gpd.read_file(area / f"{name}.gpkg") for name in ("roads", "hazards"))
    network = RoadNetwork.from_layer(roads)
    hubs = assembly.layers["hubs"]
    buses = assembly.layers["buses"].set_index("id", drop=False).loc[data["node"].values]
    usual = network.travel_time(hubs, buses, snap_limit_m=700).transpose("node", "hub").values
    out = line_out(assembly)
    for k, times in enumerate(data["travel_time"].transpose("scenario", "node", "hub").values):
        drawn = stream(20261121, "hazards", k).random(3) < zones["probability"].to_numpy()
        drawn[1] |= out[k]
        flooded = zones.geometry[drawn].union_all()
        shut = [] if flooded.is_empty else list(roads["id"][roads.intersects(flooded)])
        around = network.travel_time(hubs, buses, snap_limit_m=700, closed=shut, unreachable="infinite")
        np.testing.assert_allclose(times, np.minimum(around.transpose("node", "hub").values, usual + 24))
        wet = hubs.intersects(flooded).to_numpy() if shut else np.zeros(len(hubs), dtype=bool)
        assert (data["hub_available"].isel(scenario=k).values[wet] == 0).all()
    assert float(data["travel_time"].max()) > 24
    assert len({times.tobytes() for times in data["travel_time"].transpose("scenario", ...).values}) > 1


def test_shipments_follow_the_roads(assembly: Assembly) -> None:
    straight = assembly.layers["suppliers"].geometry[0].distance(assembly.layers["hubs"].geometry[0]) / 1000
    assert float(assembly.data["distance"][0, 0]) > straight


# ==== What a study file may say =========================================================================

HEAD = """\
name: places
seed: 20261121
feeder: {name: oberrhein, source_voltage_pu: 1.03}
data_centres: [{bus: "43", rating_mw: 1.0}]
events: {scenarios: 2, shares: {surge: 1, training: 0, drop: 0, fault: 0}}
"""


def refused(folder: Path, text: str) -> list[str]:
    path = folder / "study.yaml"
    path.write_text(HEAD + text, encoding="utf-8")
    with pytest.raises(InputError) as caught:
        assemble(load_study(path), folder)
    return [str(finding) for finding in caught.value.findings]


def test_layers_that_are_missing_are_all_named(tmp_path: Path) -> None:
    text = (
        'area: {name: oberrhein, crs: "EPSG:32632", roads: streets, hazards: hazard}\n'
        "hubs: {candidates: {method: parcels, layer: parcel, keep_out: [exclusion]}}\n"
    )
    told = "\n".join(refused(tmp_path, text))
    for part in (
        "study: area.roads: the area holds no layer 'streets'",
        "study: area.hazards: the area holds no layer 'hazard' (did you mean 'hazards'?)",
        "study: hubs.candidates.layer: the area holds no layer 'parcel' (did you mean 'parcels'?)",
        "study: hubs.candidates.keep_out.0: the area holds no layer 'exclusion' (did you mean 'exclusions'?)",
    ):
        assert part in told


def test_a_layer_of_another_kind_is_refused(tmp_path: Path) -> None:
    told = refused(tmp_path, 'area: {name: oberrhein, crs: "EPSG:32632", roads: hazards}\nhubs: {maximum: 1}\n')
    assert any("column 'speed_km_h' is missing" in line for line in told)
    assert any("a line is needed" in line for line in told)


def test_candidates_without_a_cost_and_places_far_from_roads_are_refused(tmp_path: Path) -> None:
    text = (
        'area: {name: oberrhein, crs: "EPSG:32632", roads: roads, snap_limit_m: 5}\n'
        "hubs: {candidates: {method: grid, layer: exclusions, spacing_m: 700, storage_slots: 6}}\n"
    )
    told = "\n".join(refused(tmp_path, text))
    assert "column 'setup_cost_usd_per_a' is missing" in told
    text = text.replace("storage_slots: 6", "storage_slots: 6, setup_cost_usd_per_a: 3.0e+4")
    told = "\n".join(refused(tmp_path, text))
    assert "hub layer: farther than 5 m from every road: c01" in told


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("area: {roads: roads, detour: 1.2}", "area.detour: has no effect when ways follow roads"),
        ("area: {snap_limit_m: 900}", "area.snap_limit_m: has no effect without roads"),
        ("area: {hazards: hazards, closed_h: 9}", "area.closed_h: has no effect without roads and hazards"),
        ("hubs: {candidates: {method: grid, layer: a}}", "hubs.candidates.spacing_m: missing: method grid needs it"),
        (
            "hubs: {candidates: {method: parcels, layer: a, count: 3}}",
            "hubs.candidates.count: has no effect on method parcels",
        ),
        (
            "hubs: {candidates: {method: clusters, layer: a, count: 3, storage_slots: 1}}",
            "hubs.candidates.setup_cost_usd_per_a: missing: clusters have none of their own",
        ),
        ("area: {roads: ../roads}", "area.roads: must match"),
    ],
)
def test_keys_that_do_not_fit_each_other(tmp_path: Path, text: str, expected: str) -> None:
    (tmp_path / "study.yaml").write_text(HEAD + text + "\n", encoding="utf-8")
    with pytest.raises(InputError) as caught:
        load_study(tmp_path / "study.yaml")
    assert any(expected in str(finding) for finding in caught.value.findings), str(caught.value)


def test_a_resolved_study_reads_back(root: Path, tmp_path: Path) -> None:
    from ruamel.yaml import YAML

    study = load_study(root / "studies" / STUDY / "study.yaml")
    YAML(typ="safe").dump(resolved(study), tmp_path / "study.yaml")
    assert load_study(tmp_path / "study.yaml") == study.model_copy()


# ==== What is told of layers that are sound and yet not meant ===========================================


def own_area(folder: Path, area: Path, **layers: gpd.GeoDataFrame) -> Path:
    """A study on copies of the layers of the region, some of them replaced."""
    (folder / "place").mkdir()
    for name in ("suppliers", "buses", "roads", "parcels"):
        layer = layers.get(name)
        (gpd.read_file(area / f"{name}.gpkg") if layer is None else layer).to_file(folder / "place" / f"{name}.gpkg")
    text = (
        'area: {name: place, crs: "EPSG:32632", roads: roads, snap_limit_m: 700}\n'
        "hubs: {candidates: {method: parcels, layer: parcels}}\n"
    )
    (folder / "study.yaml").write_text(HEAD + text, encoding="utf-8")
    return folder / "study.yaml"


def test_roads_that_do_not_meet_are_a_warning_of_the_study(tmp_path: Path, area: Path) -> None:
    roads, buses = gpd.read_file(area / "roads.gpkg"), gpd.read_file(area / "buses.gpkg")
    # a road that ends half a metre short, and points of which some have a height
    line = roads.geometry[0]
    roads.loc[0, "geometry"] = shapely.ops.substring(line, 0, line.length - 0.5)
    buses.loc[0, "geometry"] = Point(buses.geometry[0].x, buses.geometry[0].y, 140.0)
    path = own_area(tmp_path, area, roads=roads, buses=buses)
    sources = load_sources(load_study(path), tmp_path)
    assert not sources.layers["lines"].has_z.any()
    told, parts = sources.findings
    assert (told.severity, told.where) == ("warning", "roads")
    assert parts.what.startswith("fall apart into 2 networks; the largest holds 99.")
    assert f"{roads['id'][0]!r}" in told.what
    assert "are 0.5 m apart" in told.what


def test_places_far_from_where_the_crs_of_the_study_is_used_are_refused(tmp_path: Path, area: Path) -> None:
    suppliers = gpd.read_file(area / "suppliers.gpkg").to_crs("EPSG:4326")
    first = suppliers.geometry[0]
    suppliers.loc[0, "geometry"] = Point(-first.x, first.y)  # west and east exchanged
    path = own_area(tmp_path, area, suppliers=suppliers)
    with pytest.raises(InputError) as caught:
        load_sources(load_study(path), tmp_path)
    (found,) = map(str, caught.value.findings)
    assert found.startswith(f"suppliers layer: id {suppliers['id'][0]} lies outside the area where EPSG:32632 is used")
