"""Screening drops a row if and only if no vertex of the box violates it, and stays within memory."""

from __future__ import annotations

import itertools
import tracemalloc
from collections.abc import Callable

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from drofcm.core.errors import InputError
from drofcm.network.feeder import Feeder
from drofcm.network.lindistflow import base_case, sensitivities
from drofcm.network.screening import binding_flow_rows, binding_voltage_rows, polygon

Make = Callable[..., xr.Dataset]
Box = tuple[xr.DataArray, xr.DataArray, xr.DataArray, xr.DataArray]
TINY = 1e-10
"""Rounding apart, a row on its limit may be judged either way."""


def problem(table: xr.Dataset, nodes: list[str], scenarios: int, band: float = 0.01) -> xr.Dataset:
    """The network part of the data contract, limits ``band`` pu around the source voltage."""
    feeder = Feeder.from_tables(table)
    buses, lines = table.sizes["bus"], table.sizes["line"]
    data = base_case(feeder, table.base_load, table.base_reactive, 1.0).merge(sensitivities(feeder, nodes))
    return data.assign(
        rating=table.rating,
        v_min=("bus", np.full(buses, 1 - band)),
        v_max=("bus", np.full(buses, 1 + band)),
        monitored_bus=("bus", np.ones(buses, dtype=int)),
        monitored_line=("line", np.ones(lines, dtype=int)),
        energised=(("scenario", "bus"), np.ones((scenarios, buses), dtype=int)),
    ).assign_coords(scenario=np.arange(scenarios))


def box(seed: int, nodes: list[str], scenarios: int, times: int, size: float) -> Box:
    rng = np.random.default_rng(seed)
    coords = {"scenario": np.arange(scenarios), "node": nodes, "time": np.arange(times)}
    shape = (scenarios, len(nodes), times)
    # some bounds are single points and some boxes leave zero out
    low = rng.uniform(-size, size, shape)
    high = low + rng.uniform(0, size, shape) * rng.integers(0, 2, shape)
    tan = rng.uniform(0, 0.4, shape)
    arrays = (low, high, np.minimum(low * tan, high * tan), np.maximum(low * tan, high * tan))
    p_low, p_high, q_low, q_high = (xr.DataArray(array, coords, list(coords)) for array in arrays)
    return p_low, p_high, q_low, q_high


def vertices(bounds: Box, scenario: int, time: int) -> np.ndarray:
    """Every corner of the box as (corner, node, P or Q)."""
    p_low, p_high, q_low, q_high = (array.sel(scenario=scenario, time=time).values for array in bounds)
    sides = list(zip(p_low, p_high, strict=True)) + list(zip(q_low, q_high, strict=True))
    return np.array(list(itertools.product(*sides))).reshape(-1, 2, len(p_low)).transpose(0, 2, 1)


@settings(max_examples=25)
@given(seed=st.integers(0, 2**20), size=st.floats(0.1, 8.0), trees=st.integers(1, 2))
def test_voltage_rows_are_kept_exactly_where_a_corner_violates_them(
    grow: Make, seed: int, size: float, trees: int
) -> None:
    nodes = ["bus3", "bus11", "bus6"]
    data = problem(grow(seed, 14, trees), nodes, 2)
    data["energised"][1, ::3] = 0
    data["monitored_bus"][1::4] = 0
    bounds = box(seed, nodes, 2, 3, size)
    kept = binding_voltage_rows(data, *bounds)
    for scenario, time in itertools.product(range(2), range(3)):
        corners = vertices(bounds, scenario, time)
        fall = corners[:, :, 0] @ data.path_resistance.values.T + corners[:, :, 1] @ data.path_reactance.values.T
        squared = data.v_base.values**2 - 2 * fall
        exists = (data.energised.sel(scenario=scenario).values == 1) & (data.monitored_bus.values == 1)
        below = data.v_min.values**2 - squared.min(axis=0)
        above = squared.max(axis=0) - data.v_max.values**2
        for name, violation in (("lower", below), ("upper", above)):
            row = kept[name].sel(scenario=scenario, time=time).values
            assert not row[~exists].any()
            assert (violation[exists & ~row] <= TINY).all()
            assert (violation[exists & row] > -TINY).all()


@settings(max_examples=25)
@given(seed=st.integers(0, 2**20), size=st.floats(0.5, 8.0), sides=st.integers(3, 16))
def test_flow_rows_are_kept_exactly_where_a_corner_violates_them(
    grow: Make, seed: int, size: float, sides: int
) -> None:
    nodes = ["bus3", "bus11", "bus6"]
    data = problem(grow(seed, 14), nodes, 2)
    data["monitored_line"][1::4] = 0
    bounds = box(seed, nodes, 2, 2, size)
    kept = binding_flow_rows(data, *bounds, sides=sides)
    shape = polygon(sides)
    for scenario, time in itertools.product(range(2), range(2)):
        corners = vertices(bounds, scenario, time)
        active = data.flow_base.values + corners[:, :, 0] @ data.downstream.values.T
        reactive = data.flow_base_reactive.values + corners[:, :, 1] @ data.downstream.values.T
        for side in range(sides):
            reach = active * shape.cos.values[side] + reactive * shape.sin.values[side]
            violation = reach.max(axis=0) - shape.apothem.item() * data.rating.values
            row = kept.sel(scenario=scenario, time=time, side=side).values
            monitored = data.monitored_line.values == 1
            assert not row[~monitored].any()
            assert (violation[monitored & ~row] <= TINY).all()
            assert (violation[monitored & row] > -TINY).all()


def test_both_verdicts_occur(grow: Make) -> None:
    """The properties above would hold for a screening that never meets a limit; these figures show it does."""
    nodes = ["bus3", "bus11", "bus6"]
    data = problem(grow(1, 14), nodes, 2)
    kept = binding_voltage_rows(data, *box(1, nodes, 2, 3, 5.0))
    flows = binding_flow_rows(data, *box(1, nodes, 2, 3, 5.0))
    for rows in (kept.lower, kept.upper, flows):
        assert 0.02 < float(rows.mean()) < 0.98


def test_a_drop_can_only_break_upper_limits_and_a_surge_lower_ones(ieee33_table: xr.Dataset) -> None:
    nodes = ["4", "25"]
    data = problem(ieee33_table, nodes, 1, band=0.1)
    zero = box(0, nodes, 1, 1, 1.0)[0] * 0
    surge = binding_voltage_rows(data, zero, zero + 20, zero, zero)
    drop = binding_voltage_rows(data, zero - 20, zero, zero, zero)
    still = binding_voltage_rows(data, zero, zero, zero, zero)
    assert surge.lower.any()
    assert not surge.upper.any()
    assert drop.upper.any()
    assert not drop.lower.any()
    assert not still.lower.any()
    assert not still.upper.any()


@given(sides=st.integers(3, 48), angle=st.floats(0, 2 * np.pi))
def test_the_polygon_never_lets_the_rating_be_exceeded(sides: int, angle: float) -> None:
    shape = polygon(sides)
    reach = np.max(shape.cos.values * np.cos(angle) + shape.sin.values * np.sin(angle))
    # the largest apparent power in this direction, in units of the rating
    assert shape.apothem.item() - 1e-12 <= shape.apothem.item() / reach <= 1 + 1e-12


def test_a_polygon_has_three_sides_at_least() -> None:
    with pytest.raises(ValueError, match="at least 3, got 2"):
        polygon(2)


def test_blocks_do_not_change_the_answer(grow: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    nodes = ["bus3", "bus11", "bus6"]
    data = problem(grow(1, 14), nodes, 7)
    bounds = box(1, nodes, 7, 3, 1.0)
    whole = binding_voltage_rows(data, *bounds), binding_flow_rows(data, *bounds)
    monkeypatch.setattr("drofcm.network.screening.BLOCK", 100)
    xr.testing.assert_identical(binding_voltage_rows(data, *bounds), whole[0])
    xr.testing.assert_identical(binding_flow_rows(data, *bounds), whole[1])


def test_unsound_boxes_are_refused(grow: Make) -> None:
    nodes = ["bus3", "bus11"]
    data = problem(grow(1, 14), nodes, 2)
    low, high, *reactive = box(1, nodes, 2, 3, 1.0)
    with pytest.raises(InputError, match=r"delta_high: NaN at scenario=1, node=bus3, time=2"):
        binding_voltage_rows(
            data, low, high.where((high.scenario != 1) | (high.node != "bus3") | (high.time != 2)), *reactive
        )
    with pytest.raises(InputError, match="delta_low: lies above its upper bound"):
        binding_flow_rows(data, high + 1, high, *reactive)
    with pytest.raises(InputError, match="labels along 'node' differ"):
        binding_flow_rows(data, low, high[:, ::-1], *reactive)
    with pytest.raises(InputError, match="labels along 'scenario' differ"):
        binding_voltage_rows(data, *(array[:1] for array in (low, high, *reactive)))


def test_a_feeder_of_9500_buses_is_screened_in_little_memory(grow: Make) -> None:
    table = grow(0, 9500, 3)
    nodes = [f"bus{number}" for number in range(50, 9500, 95)][:100]
    data = problem(table, nodes, 50, band=0.05)
    bounds = box(0, nodes, 50, 24, 0.05)
    for screen, most in ((binding_voltage_rows, 256), (binding_flow_rows, 512)):
        tracemalloc.start()
        rows = screen(data, *bounds)
        peak = tracemalloc.get_traced_memory()[1] / 2**20
        tracemalloc.stop()
        assert rows.sizes["scenario"] == 50
        assert peak < most, f"{screen.__name__}: {peak:.0f} MiB"
