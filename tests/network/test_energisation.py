"""Buses cut off, against graph search on what is left of the feeder."""

from __future__ import annotations

from collections.abc import Callable

import networkx as nx
import numpy as np
import pytest
import xarray as xr

from drofcm.core.errors import InputError
from drofcm.network.energisation import energised
from drofcm.network.feeder import Feeder

Make = Callable[..., xr.Dataset]


@pytest.mark.parametrize("trees", [1, 3])
def test_equals_a_search_from_the_sources(grow: Make, trees: int) -> None:
    table = grow(2, 50, trees)
    feeder = Feeder.from_tables(table)
    out = np.random.default_rng(3).random((40, table.sizes["line"])) < np.linspace(0, 1, 40)[:, None] ** 2
    lines_out = xr.DataArray(out, {"scenario": np.arange(40), "line": table.line.values}, ("scenario", "line"))
    result = energised(feeder, lines_out[:, ::-1])
    assert result.dims == ("scenario", "bus")
    assert result.attrs["units"] == "1"
    for scenario in range(40):
        left = table.isel(line=~out[scenario])
        graph = nx.Graph(zip(left.from_bus.values.tolist(), left.to_bus.values.tolist(), strict=True))
        graph.add_nodes_from(table.bus.values.tolist())
        reached = set().union(*(nx.node_connected_component(graph, source) for source in feeder.sources))
        assert set(result.bus.values[result.sel(scenario=scenario).values == 1].tolist()) == reached
    assert 0 < float(result.mean()) < 1


def test_losing_line_3_23_cuts_off_its_lateral(ieee33: Feeder) -> None:
    out = xr.zeros_like(ieee33.table.rating, dtype=bool).drop_attrs().expand_dims(scenario=[7]).copy()
    out.loc[7, "3-23"] = True
    dark = energised(ieee33, out).sel(scenario=7)
    assert dark.bus.values[dark.values == 0].tolist() == ["23", "24", "25"]


def test_values_other_than_0_and_1_are_refused(ieee33: Feeder) -> None:
    out = xr.zeros_like(ieee33.table.rating).drop_attrs().expand_dims(scenario=[0]).copy()
    out.loc[0, "5-6"] = 2
    with pytest.raises(InputError, match="5-6"):
        energised(ieee33, out)
    with pytest.raises(InputError, match="no value for line 1-2"):
        energised(ieee33, xr.zeros_like(out)[:, 1:])
