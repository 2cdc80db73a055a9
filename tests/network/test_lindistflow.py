"""LinDistFlow against a sweep in plain Python, its own finite differences, and the signs of the physics."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import xarray as xr

from drofcm.core.errors import InputError
from drofcm.network.feeder import Feeder
from drofcm.network.lindistflow import base_case, sensitivities

Make = Callable[..., xr.Dataset]
SOURCE = 1.03


def sweep(table: xr.Dataset, source_voltage: float) -> tuple[dict[str, float], dict[str, tuple[float, float]]]:
    """Squared voltage of each bus and flow (P, Q) of each line, line by line from the tables."""
    buses = table.bus.values.tolist()
    load = dict(zip(buses, zip(table.base_load.values, table.base_reactive.values, strict=True), strict=True))
    neighbours: dict[str, list[tuple[str, str]]] = {bus: [] for bus in buses}
    for line, one, other in zip(
        table.line.values.tolist(), table.from_bus.values.tolist(), table.to_bus.values.tolist(), strict=True
    ):
        neighbours[one].append((line, other))
        neighbours[other].append((line, one))
    flow: dict[str, tuple[float, float]] = {}
    squared: dict[str, float] = {}

    def backward(bus: str, came_by: str | None) -> tuple[float, float]:
        p, q = load[bus]
        for line, far in neighbours[bus]:
            if line != came_by:
                flow[line] = backward(far, line)
                p, q = p + flow[line][0], q + flow[line][1]
        return p, q

    def forward(bus: str, came_by: str | None, level: float) -> None:
        squared[bus] = level
        for line, far in neighbours[bus]:
            if line != came_by:
                r, x = (
                    table[name].sel(line=line).item() / table.attrs["nominal_kv"] ** 2
                    for name in ("resistance", "reactance")
                )
                forward(far, line, level - 2 * (r * flow[line][0] + x * flow[line][1]))

    sources = table.attrs["source_bus"]
    for source in [sources] if isinstance(sources, str) else sources:
        backward(source, None)
        forward(source, None, source_voltage**2)
    return squared, flow


@pytest.mark.parametrize("trees", [1, 2])
@pytest.mark.parametrize("seed", range(3))
def test_base_case_equals_a_sweep(grow: Make, seed: int, trees: int) -> None:
    table = grow(seed, 40, trees)
    squared, flow = sweep(table, SOURCE)
    case = base_case(Feeder.from_tables(table), table.base_load, table.base_reactive, SOURCE)
    np.testing.assert_allclose(case.v_base.values**2, [squared[bus] for bus in case.bus.values], rtol=1e-12)
    np.testing.assert_allclose(case.flow_base.values, [flow[line][0] for line in case.line.values], atol=1e-12)
    np.testing.assert_allclose(case.flow_base_reactive.values, [flow[line][1] for line in case.line.values], atol=1e-12)


@pytest.mark.parametrize("trees", [1, 2])
def test_sensitivities_are_the_differences_of_base_cases(grow: Make, trees: int) -> None:
    table = grow(11, 30, trees)
    feeder = Feeder.from_tables(table)
    nodes = ["bus7", "bus0", "bus29", "bus12"]
    sensitivity = sensitivities(feeder, nodes)
    before = base_case(feeder, table.base_load, table.base_reactive, SOURCE)
    step = 0.5
    for node in nodes:
        at_node = xr.where(table.bus == node, step, 0.0)
        active = base_case(feeder, table.base_load + at_node, table.base_reactive, SOURCE)
        reactive = base_case(feeder, table.base_load, table.base_reactive + at_node, SOURCE)
        for after, path in ((active, "path_resistance"), (reactive, "path_reactance")):
            fall = (before.v_base**2 - after.v_base**2) / (2 * step)
            np.testing.assert_allclose(sensitivity[path].sel(node=node), fall, atol=1e-13)
        np.testing.assert_allclose(
            sensitivity.downstream.sel(node=node), (active.flow_base - before.flow_base) / step, atol=1e-11
        )


def test_a_drop_raises_voltage_and_a_surge_lowers_it(ieee33: Feeder) -> None:
    table = ieee33.table
    before = base_case(ieee33, table.base_load, table.base_reactive, 1.0).v_base
    resistance = sensitivities(ieee33, ["25"]).path_resistance.sel(node="25")
    drop = base_case(ieee33, table.base_load - 0.3 * (table.bus == "25"), table.base_reactive, 1.0).v_base
    surge = base_case(ieee33, table.base_load + 0.3 * (table.bus == "25"), table.base_reactive, 1.0).v_base
    apart = table.bus == "1"
    assert (drop > before).where(~apart, True).all()
    assert (surge < before).where(~apart, True).all()
    np.testing.assert_allclose(drop**2, before**2 + 2 * 0.3 * resistance, rtol=1e-12)


def test_labels_and_units_are_written(ieee33: Feeder) -> None:
    result = sensitivities(ieee33, ["25", "4"])
    assert result.path_resistance.dims == ("bus", "node")
    assert result.downstream.dims == ("line", "node")
    assert result.node.values.tolist() == ["25", "4"]
    assert result.path_resistance.attrs["units"] == "1/MW"
    # the path to bus 4 and that to bus 25 have lines 1-2 and 2-3 in common
    assert result.path_resistance.sel(bus="4", node="25").item() == pytest.approx((0.0922 + 0.4930) / 12.66**2)


def test_unsound_arguments_are_refused_by_name(ieee33: Feeder) -> None:
    table = ieee33.table
    with pytest.raises(InputError, match=r"(?s)bus '34'.*bus '35'"):
        sensitivities(ieee33, ["34", "3", "35"])
    with pytest.raises(InputError, match="given twice: 3"):
        sensitivities(ieee33, ["3", "3"])
    for voltage in (0.0, -1.0, float("nan"), 12660.0, 1e300):
        with pytest.raises(InputError, match="source_voltage: must be a positive number of pu"):
            base_case(ieee33, table.base_load, table.base_reactive, voltage)
    with pytest.raises(InputError, match="unit is 'kW'"):
        base_case(ieee33, (1000 * table.base_load).assign_attrs(units="kW"), table.base_reactive, 1.0)
    with pytest.raises(InputError, match=r"bus 8, 9, 10.*no voltage is left"):
        base_case(ieee33, table.base_load + 30 * (table.bus == "18"), table.base_reactive, 1.0)
