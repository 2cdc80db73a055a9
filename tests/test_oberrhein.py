"""The network and the region of the Upper Rhine: as described, as built, and as pandapower computes it."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import geopandas as gpd
import networkx as nx
import numpy as np
import pandas as pd
import pytest
from geopandas.testing import assert_geodataframe_equal
from ruamel.yaml import YAML

from drofcm.data import load_catalogue, load_feeder, verify_datapackage
from drofcm.network.feeder import Feeder
from drofcm.network.lindistflow import base_case
from drofcm.siting.layers import Kind, load_layer
from drofcm.siting.roads import RoadNetwork, closed_by
from drofcm.validate.replay import ac_power_flow

KINDS: tuple[Kind, ...] = ("suppliers", "buses", "roads", "hazards", "exclusions", "parcels")


@pytest.fixture(scope="module")
def folder(root: Path) -> Path:
    return root / "geo" / "oberrhein"


@pytest.fixture(scope="module")
def layers(folder: Path) -> dict[str, gpd.GeoDataFrame]:
    return {kind: load_layer(folder / f"{kind}.gpkg", kind=kind) for kind in KINDS}


@pytest.fixture(scope="module")
def builder(folder: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("oberrhein_build", folder / "build.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def feeder() -> Feeder:
    return Feeder.from_tables(load_feeder("oberrhein"))


def test_files_are_those_described(root: Path, folder: Path) -> None:
    assert verify_datapackage(folder) == []
    assert verify_datapackage(root / "datasets" / "feeders" / "oberrhein") == []


def test_two_trees_with_a_source_each(feeder: Feeder) -> None:
    assert feeder.sources == ("39", "319")
    load = feeder.subtree_sum(feeder.table["base_load"].values)
    fed = feeder.subtree_sum(np.ones(len(feeder.bus)))
    at = feeder.positions(["39", "319"])
    assert fed[at].tolist() == [69, 108]
    assert load[at] == pytest.approx([16.842, 20.274])


def test_voltages_are_those_of_pandapower(root: Path, feeder: Feeder) -> None:
    table = feeder.table
    solved = ac_power_flow(feeder, table["base_load"], table["base_reactive"], 1.03)["v"].to_series()
    theirs = pd.read_csv(root / "datasets/feeders/oberrhein/checks.csv", dtype={"bus": str}).set_index("bus")["v"]
    assert (solved - theirs).abs().max() < 5e-5
    linear = base_case(feeder, table["base_load"], table["base_reactive"], 1.03)["v_base"].to_series()
    assert 0 <= (linear - theirs).max() < 0.0016


def test_layers_are_those_of_the_script(builder: ModuleType, layers: dict[str, gpd.GeoDataFrame]) -> None:
    rebuilt = builder.layers()
    assert set(rebuilt) == set(layers)
    for kind, layer in layers.items():
        assert_geodataframe_equal(rebuilt[kind], layer, check_dtype=False, check_less_precise=True)


def test_places_lie_in_the_box_that_the_package_states(folder: Path, layers: dict[str, gpd.GeoDataFrame]) -> None:
    package = YAML(typ="safe").load((folder / "datapackage.yaml").read_text(encoding="utf-8"))
    assert all(layer.crs == package["crs"] for layer in layers.values())
    bounds = np.array([layer.to_crs("EPSG:4326").total_bounds for layer in layers.values()])
    box = [*bounds[:, :2].min(axis=0), *bounds[:, 2:].max(axis=0)]
    np.testing.assert_allclose(package["bbox"], box, atol=2e-4)


def test_buses_and_stocks_are_those_of_the_feeder_and_the_catalogue(
    layers: dict[str, gpd.GeoDataFrame], feeder: Feeder
) -> None:
    assert set(layers["buses"]["id"]) == set(feeder.bus)
    stock = [name.removeprefix("stock_") for name in layers["suppliers"] if name.startswith("stock_")]
    assert stock == list(load_catalogue("fcm_2026")["fcm"].values)


def test_everything_reaches_everything_and_floods_close_bridges(layers: dict[str, gpd.GeoDataFrame]) -> None:
    network = RoadNetwork.from_layer(layers["roads"])
    graph = nx.DiGraph(zip(network.start, network.end, strict=True))
    both = ~network.oneway
    graph.add_edges_from(zip(network.end[both], network.start[both], strict=True))
    assert nx.is_strongly_connected(graph)
    assert network.oneway.any()
    assert network.snap(layers["buses"])["snap_m"].max() < 700
    assert len(layers["parcels"]) - 5 >= 20
    closed = closed_by(layers["roads"], layers["hazards"])
    assert (closed.sum("road") >= 5).all()
    hubs = layers["parcels"].set_geometry(layers["parcels"].centroid)
    usual = network.travel_time(hubs, layers["buses"], snap_limit_m=700)
    for zone in closed["zone"].values:
        shut = list(closed["road"].values[closed.sel(zone=zone).values == 1])
        around = network.travel_time(hubs, layers["buses"], snap_limit_m=700, closed=shut, unreachable="infinite")
        assert float((around > usual + 0.02).mean()) > 0.02
        assert float(np.isinf(around).mean()) < 0.3
