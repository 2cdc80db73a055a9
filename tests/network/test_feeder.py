"""A feeder is a forest with one source per tree; everything else is refused by name."""

from __future__ import annotations

from collections.abc import Callable

import networkx as nx
import numpy as np
import pytest
import xarray as xr

from drofcm.core.errors import InputError
from drofcm.network.feeder import Feeder

CHAIN = [("1-2", "1", "2"), ("2-3", "2", "3"), ("3-4", "3", "4")]
Make = Callable[..., xr.Dataset]


def findings(table: xr.Dataset) -> list[str]:
    with pytest.raises(InputError) as caught:
        Feeder.from_tables(table)
    return [str(finding) for finding in caught.value.findings]


def test_lines_are_oriented_away_from_the_source(make_tables: Make) -> None:
    lines = [("a", "2", "1"), ("b", "2", "long label"), ("c", "4", "long label")]
    feeder = Feeder.from_tables(make_tables(["4", "1", "long label", "2"], lines, "1"))
    ends = list(zip(feeder.table.from_bus.values, feeder.table.to_bus.values, strict=True))
    assert ends == [("1", "2"), ("2", "long label"), ("long label", "4")]
    assert [feeder.bus[position] for position in feeder.order] == ["1", "2", "long label", "4"]
    assert [feeder.bus[position] for position in feeder.fed_bus] == ["2", "long label", "4"]


@pytest.mark.parametrize("trees", [1, 3])
def test_sums_along_the_tree_equal_those_of_networkx(grow: Make, trees: int) -> None:
    table = grow(5, 60, trees)
    feeder = Feeder.from_tables(table)
    graph = nx.Graph(zip(table.from_bus.values.tolist(), table.to_bus.values.tolist(), strict=True))
    values = np.random.default_rng(0).normal(size=(60, 2))
    value = dict(zip(table.bus.values.tolist(), values, strict=True))
    source = {bus: root for root in feeder.sources for bus in nx.node_connected_component(graph, root)}
    paths = {bus: nx.shortest_path(graph, source[bus], bus) for bus in table.bus.values.tolist()}
    on_path = [sum(value[other] for other in paths[bus]) for bus in feeder.bus]
    below = [sum(value[other] for other in paths if bus in paths[other]) for bus in feeder.bus]
    np.testing.assert_allclose(feeder.path_sum(values), on_path, atol=1e-12)
    np.testing.assert_allclose(feeder.subtree_sum(values), below, atol=1e-12)


def test_a_single_bus_is_a_feeder(make_tables: Make) -> None:
    feeder = Feeder.from_tables(make_tables(["1"], [], "1"))
    np.testing.assert_array_equal(feeder.path_sum(np.array([2.0])), [2.0])


def test_meshed_feeder_names_the_loop(make_tables: Make) -> None:
    lines = [*CHAIN, ("4-2", "4", "2"), ("2-1 again", "2", "1"), ("3-3", "3", "3")]
    found = findings(make_tables(["1", "2", "3", "4"], lines, "1"))
    assert len(found) == 3
    loop = next(text for text in found if "4-2" in text)
    assert "closes a loop" in loop
    assert "2-3" in loop
    assert "3-4" in loop
    assert "1-2" not in loop
    assert any(
        "closes a loop with line 1-2" in text or "'1-2': closes a loop with line 2-1 again" in text for text in found
    )
    assert any("'3-3': both ends are the same bus" in text for text in found)


def test_closing_a_tie_of_the_ieee_33_bus_feeder_is_refused(ieee33_table: xr.Dataset) -> None:
    tie = ieee33_table.isel(line=[0]).drop_dims("bus").assign_coords(line=["8-21"])
    tie = tie.assign(from_bus=("line", ["8"]), to_bus=("line", ["21"]))
    meshed = xr.concat([ieee33_table.drop_dims("bus"), tie], dim="line").merge(ieee33_table.drop_dims("line"))
    (only,) = findings(meshed.assign_attrs(ieee33_table.attrs))
    assert "closes a loop" in only


def test_island_is_named(make_tables: Make) -> None:
    (only,) = findings(make_tables(["1", "2", "3", "4"], [CHAIN[0], CHAIN[2]], "1"))
    assert "bus 3, 4: an island" in only


def test_two_sources_in_one_tree_are_named(make_tables: Make) -> None:
    (only,) = findings(make_tables(["1", "2", "3", "4"], CHAIN, ["1", "4"]))
    assert "bus 1, 4: several sources" in only


def test_unknown_buses_are_named_with_a_suggestion(make_tables: Make) -> None:
    lines = [*CHAIN[:2], ("3-4", "3", "bus44")]
    found = findings(make_tables(["1", "2", "3", "bus4"], lines, "bus"))
    assert len(found) == 2
    assert "line '3-4': to_bus: unknown bus 'bus44' (did you mean 'bus4'?)" in "\n".join(found)
    assert "source_bus: unknown bus 'bus'" in "\n".join(found)


def test_impedances_that_are_not_positive_are_named(make_tables: Make) -> None:
    table = make_tables(["1", "2", "3", "4"], CHAIN, "1")
    table.resistance.values[:] = [0.0, 0.1, -0.1]
    table.reactance.values[:] = [0.0, 0.1, 0.1]
    found = findings(table)
    assert len(found) == 2
    assert any("line '1-2': impedance is zero" in text for text in found)
    assert any("'resistance'" in text and "line=3-4" in text for text in found)


def test_duplicate_labels_missing_figures_and_units_are_found_together(make_tables: Make) -> None:
    table = make_tables(["1", "2", "3", "3"], [CHAIN[0], CHAIN[1], ("2-3", "3", "2")], "1")
    table.rating.values[1] = np.nan
    table.base_load.attrs["units"] = "kW"
    table.attrs["nominal_kv"] = 0
    found = "\n".join(findings(table))
    for expected in ("duplicate labels: 3", "duplicate labels: 2-3", "'rating'", "unit is 'kW'", "nominal_kv"):
        assert expected in found


def test_labels_and_units_of_arrays_must_be_those_of_the_feeder(ieee33: Feeder) -> None:
    load = ieee33.table.base_load
    np.testing.assert_array_equal(ieee33.aligned(load[::-1], "bus", "MW", "load").values, load.values)
    for broken, message in (
        (load[1:], "no value for bus 1"),
        (load.assign_coords(bus=["x", *load.bus.values[1:]]), "bus x not in feeder"),
        (load.assign_attrs(units="kW"), "unit is 'kW'"),
        (load.where(load.bus != "7"), "NaN"),
        (load.drop_vars("bus"), "has no labels"),
    ):
        with pytest.raises(InputError, match=message):
            ieee33.aligned(broken, "bus", "MW", "load")
