"""The network of the Upper Rhine as pandapower computes it, and its region; test_geo.py has what all areas share."""

from __future__ import annotations

from pathlib import Path

import geopandas as gpd
import networkx as nx
import numpy as np
import pandas as pd
import pytest
from areas import area_layers

from drofcm.data import load_feeder, verify_datapackage
from drofcm.network.feeder import Feeder
from drofcm.network.lindistflow import base_case
from drofcm.siting.roads import RoadNetwork, closed_by
from drofcm.validate.replay import ac_power_flow


@pytest.fixture
def layers() -> dict[str, gpd.GeoDataFrame]:
    return area_layers("oberrhein")


@pytest.fixture(scope="module")
def feeder() -> Feeder:
    return Feeder.from_tables(load_feeder("oberrhein"))


def test_files_are_those_described(root: Path) -> None:
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


def test_buses_are_those_of_the_feeder(layers: dict[str, gpd.GeoDataFrame], feeder: Feeder) -> None:
    assert set(layers["buses"]["id"]) == set(feeder.bus)


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
