"""The feeder in full AC power flow, independent of the linear model, through power-grid-model.

Used to state the error of LinDistFlow, to report violations of the base case, to find the hosting capacity of
buses and to replay the dispatch of a plan. Loads draw constant power; every source is an ideal voltage.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from power_grid_model import (
    ComponentType,
    DatasetType,
    LoadGenType,
    PowerGridModel,
    initialize_array,
)

from drofcm.core.errors import Finding, SolveError, raise_if_any, shorten
from drofcm.core.units import labels_where
from drofcm.network.feeder import Feeder
from drofcm.network.lindistflow import check_source_voltage

__all__ = ["ac_power_flow", "base_violations", "hosting_capacity"]

IDEAL_SOURCE_VA = 1e18
"""Short-circuit power at which the drop behind a source is below the tolerance of the power flow."""

LARGEST_BATCH = 4096

Array = NDArray[np.float64]


def ac_power_flow(feeder: Feeder, load_mw: xr.DataArray, load_mvar: xr.DataArray, source_voltage: float) -> xr.Dataset:
    """AC power flow of one or many load situations.

    Parameters
    ----------
    feeder
        The feeder. A bus that an event cuts off is given zero load: the rest of the feeder sees the same.
    load_mw, load_mvar
        Load over bus and, for many situations, any further dimensions (scenario, time).
    source_voltage
        Voltage magnitude at every source, pu.

    Returns
    -------
    xr.Dataset
        Over the further dimensions: ``v`` [pu] over bus; ``loading`` [1] over line, the larger of the currents at
        both ends over the rated current; ``losses`` [MW].

    Raises
    ------
    InputError
        If labels or units differ.
    SolveError
        If a situation has no solution (voltage collapse); the message names it.
    """
    load = feeder.aligned(load_mw, "bus", "MW", "load_mw")
    reactive = feeder.aligned(load_mvar, "bus", "Mvar", "load_mvar")
    load, reactive = xr.align(*xr.broadcast(load, reactive), join="exact")
    further = [dim for dim in load.dims if dim != "bus"]
    load, reactive = (array.transpose(*further, "bus") for array in (load, reactive))
    shape = tuple(load.sizes[dim] for dim in further)
    count = len(feeder.bus)
    solved = _AcModel.of(feeder, source_voltage).solve(
        load.values.reshape(-1, count), reactive.values.reshape(-1, count)
    )
    if not solved.converged.all():
        failed = xr.DataArray(~solved.converged.reshape(shape), {dim: load[dim].values for dim in further}, further)
        raise SolveError(f"AC power flow has no solution (voltage collapse): {labels_where(failed)}")
    return xr.Dataset(
        {
            "v": ([*further, "bus"], solved.v.reshape(*shape, -1), {"units": "pu"}),
            "loading": ([*further, "line"], solved.loading.reshape(*shape, -1), {"units": "1"}),
            "losses": (further, solved.losses.reshape(shape), {"units": "MW"}),
        },
        coords={
            **{dim: load.indexes[dim] for dim in further if dim in load.indexes},
            "bus": feeder.bus,
            "line": feeder.line,
        },
    )


def hosting_capacity(
    feeder: Feeder,
    bus: Sequence[str] | xr.DataArray,
    base_load: xr.DataArray,
    base_reactive: xr.DataArray,
    source_voltage: float,
    v_min: float | xr.DataArray,
    v_max: float | xr.DataArray,
    tan_phi: float,
    *,
    tolerance: float = 1e-3,
) -> xr.DataArray:
    """The largest load that each bus alone can take on in addition, by AC power flow.

    Largest means: with it, all voltages are within limits and all lines within their ratings. Found for all buses
    at once by bisection; the load returned is feasible, ``tolerance`` more is not.

    Parameters
    ----------
    feeder
        The feeder.
    bus
        Labels of the buses asked about.
    base_load, base_reactive
        Load over bus before anything is added, MW and Mvar.
    source_voltage
        Voltage magnitude at every source, pu.
    v_min, v_max
        Voltage limits, pu, a number or over bus.
    tan_phi
        Reactive over active power of the added load.
    tolerance
        Width at which the bisection stops, MW.

    Returns
    -------
    xr.DataArray
        MW over bus. 0 everywhere if the base case already breaks a limit (see `base_violations`); infinite at a
        source, where no line carries the load.

    Raises
    ------
    InputError
        If a label is unknown, or labels, units or limits are not sound.
    ValueError
        If ``tolerance`` is not above 0 or ``tan_phi`` is not finite.
    """
    if not tolerance > 0:
        raise ValueError(f"tolerance must be above 0, got {tolerance!r}")
    if not np.isfinite(tan_phi):
        raise ValueError(f"tan_phi must be finite, got {tan_phi!r}")
    load, reactive, low_limit, high_limit = _base(feeder, base_load, base_reactive, v_min, v_max)
    position = feeder.positions(bus)
    model = _AcModel.of(feeder, source_voltage)

    def feasible(added: Array) -> NDArray[np.bool_]:
        at_bus = np.zeros((len(position), len(feeder.bus)))
        at_bus[np.arange(len(position)), position] = added
        flow = model.solve(load + at_bus, reactive + tan_phi * at_bus)
        held = ((flow.v >= low_limit) & (flow.v <= high_limit)).all(axis=1) & (flow.loading <= 1).all(axis=1)
        return held & flow.converged

    capacity = np.zeros(len(position))
    if len(position) and feasible(capacity).all():
        at_source = feeder.feeding_line[position] < 0
        too_much = np.where(at_source, 0.0, 1.0)
        while (within := feasible(too_much) & ~at_source).any():
            capacity, too_much = np.where(within, too_much, capacity), np.where(within, 2 * too_much, too_much)
        while (too_much - capacity).max() > tolerance:
            middle = (capacity + too_much) / 2
            within = feasible(middle)
            capacity, too_much = np.where(within, middle, capacity), np.where(within, too_much, middle)
        capacity[at_source] = np.inf
    return xr.DataArray(
        capacity, coords={"bus": feeder.bus[position]}, dims="bus", name="hosting_capacity", attrs={"units": "MW"}
    )


def base_violations(
    feeder: Feeder,
    base_load: xr.DataArray,
    base_reactive: xr.DataArray,
    source_voltage: float,
    v_min: float | xr.DataArray,
    v_max: float | xr.DataArray,
) -> list[Finding]:
    """Limits that the load before the event already breaks, by AC power flow; one warning for each kind.

    Parameters are those of `hosting_capacity`. Raises `SolveError` if the base case has no solution at all.
    """
    *_, low_limit, high_limit = _base(feeder, base_load, base_reactive, v_min, v_max)
    flow = ac_power_flow(feeder, base_load, base_reactive, source_voltage)
    v, loading = flow["v"].values, flow["loading"].values
    kinds = (
        ("bus", v < low_limit, f"below v_min before any event, lowest {v.min():.4f} pu", "raise the source voltage"),
        ("bus", v > high_limit, f"above v_max before any event, highest {v.max():.4f} pu", "lower the source voltage"),
        ("line", loading > 1, f"above its rating before any event, up to {loading.max():.0%}", "reduce the base load"),
    )
    return [
        Finding(f"{dim} {shorten(flow[dim].values[broken])}", f"{int(broken.sum())} {what}", fix, "warning")
        for dim, broken, what, fix in kinds
        if broken.any()
    ]


def _base(
    feeder: Feeder,
    base_load: xr.DataArray,
    base_reactive: xr.DataArray,
    v_min: float | xr.DataArray,
    v_max: float | xr.DataArray,
) -> tuple[Array, Array, Array, Array]:
    """Base load and voltage limits in the order of the feeder's buses."""
    limits = []
    for limit, name in ((v_min, "v_min"), (v_max, "v_max")):
        over_bus = (
            limit
            if isinstance(limit, xr.DataArray)
            else xr.DataArray(np.full(len(feeder.bus), float(limit)), coords={"bus": feeder.bus}, dims="bus")
        )
        limits.append(feeder.aligned(over_bus, "bus", "pu", name).values.astype(np.float64))
    crossed = limits[0] >= limits[1]
    raise_if_any(
        [Finding(f"bus {shorten(feeder.bus[crossed].to_numpy())}", "v_min must be below v_max")]
        if crossed.any()
        else []
    )
    load = feeder.aligned(base_load, "bus", "MW", "base_load").values.astype(np.float64)
    reactive = feeder.aligned(base_reactive, "bus", "Mvar", "base_reactive").values.astype(np.float64)
    return load, reactive, limits[0], limits[1]


# ==== power-grid-model ==================================================================================


@dataclass(frozen=True)
class _Flow:
    """Results over situation; NaN where the power flow has not converged."""

    v: Array
    loading: Array
    losses: Array
    converged: NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class _AcModel:
    """The feeder as a balanced power-grid-model; ids: buses, then lines, then sources, then loads."""

    feeder: Feeder
    model: PowerGridModel
    load_id: NDArray[np.int64]

    @classmethod
    def of(cls, feeder: Feeder, source_voltage: float) -> _AcModel:
        check_source_voltage(source_voltage)
        buses, lines, sources = len(feeder.bus), len(feeder.line), len(feeder.sources)
        volt = feeder.nominal_kv * 1e3
        node = initialize_array(DatasetType.input, ComponentType.node, buses)
        node["id"], node["u_rated"] = np.arange(buses), volt
        line = initialize_array(DatasetType.input, ComponentType.line, lines)
        line["id"] = buses + np.arange(lines)
        line["from_node"] = feeder.parent[feeder.fed_bus]
        line["to_node"] = feeder.fed_bus
        line["from_status"], line["to_status"] = 1, 1
        line["r1"], line["x1"] = feeder.table["resistance"].values, feeder.table["reactance"].values
        line["c1"], line["tan1"] = 0, 0
        line["i_n"] = feeder.table["rating"].values * 1e6 / (np.sqrt(3) * volt)
        source = initialize_array(DatasetType.input, ComponentType.source, sources)
        source["id"] = buses + lines + np.arange(sources)
        source["node"] = feeder.positions(feeder.sources)
        source["status"], source["u_ref"], source["sk"] = 1, source_voltage, IDEAL_SOURCE_VA
        load = initialize_array(DatasetType.input, ComponentType.sym_load, buses)
        load["id"] = buses + lines + sources + np.arange(buses)
        load["node"], load["status"], load["type"] = np.arange(buses), 1, LoadGenType.const_power
        load["p_specified"], load["q_specified"] = 0, 0
        model = PowerGridModel(
            {
                ComponentType.node: node,
                ComponentType.line: line,
                ComponentType.source: source,
                ComponentType.sym_load: load,
            }
        )
        return cls(feeder, model, load["id"].astype(np.int64))

    def solve(self, load: Array, reactive: Array) -> _Flow:
        """Solve every row of ``load`` and ``reactive`` (situation, bus) in MW and Mvar."""
        parts = [
            self._solve(load[start : start + LARGEST_BATCH], reactive[start : start + LARGEST_BATCH])
            for start in range(0, max(1, len(load)), LARGEST_BATCH)
        ]
        joined = (np.concatenate([getattr(part, name) for part in parts]) for name in _Flow.__dataclass_fields__)
        return _Flow(*joined)

    def _solve(self, load: Array, reactive: Array) -> _Flow:
        update = initialize_array(DatasetType.update, ComponentType.sym_load, load.shape)
        update["id"] = self.load_id
        update["p_specified"], update["q_specified"] = load * 1e6, reactive * 1e6
        output = self.model.calculate_power_flow(
            update_data={ComponentType.sym_load: update},
            error_tolerance=1e-10,
            continue_on_batch_error=True,
            output_component_types={
                ComponentType.node: ["u_pu"],
                ComponentType.line: ["loading", "p_from", "p_to"],
            },
        )
        converged = np.ones(len(load), dtype=bool)
        if self.model.batch_error is not None:
            converged[self.model.batch_error.failed_scenarios] = False
        line = output[ComponentType.line]
        v, loading = output[ComponentType.node]["u_pu"].copy(), line["loading"].copy()
        losses = (line["p_from"] + line["p_to"]).sum(axis=1) / 1e6
        for array in (v, loading, losses):
            array[~converged] = np.nan
        return _Flow(v, loading, losses, converged)
