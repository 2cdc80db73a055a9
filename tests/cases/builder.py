"""Complete, valid data of the demand-shock problem on a hand-sized feeder, changed where a test wants it changed.

    supplier a, b  ->  hub h, k  ->  node 3, node 4

    1 (source) --- 2 --- 3 (data centre)
                    \\
                     4 (data centre)
"""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from drofcm.core.dims import DEMAND_SHOCK_DATA

TECHNOLOGIES = ("battery", "generator", "demand_response", "long_duration")
PARENT = {"2": "1", "3": "2", "4": "2"}

# ohm / kV^2 of each line, so that 1 MW over line 1-2 lowers v^2 by 0.02
RESISTANCE = {"1-2": 0.010, "2-3": 0.012, "2-4": 0.008}
REACTANCE = {"1-2": 0.006, "2-3": 0.008, "2-4": 0.004}

_CATALOGUE: dict[str, list[float]] = {
    "transport_cost": [6, 8, 1, 8],
    "life": [4, 5, 3, 8],
    "module_cost": [45e3, 70e3, 7e3, 55e3],
    "footprint": [1, 1.5, 0.1, 2],
    "deployment_time": [0.1, 0.2, 0.0, 0.5],
    "power": [0.5, 0.8, 0.1, 0.25],
    "energy": [1, 4.8, 0.2, 2],
    "ramp": [1800, 9.6, 6, 3],
    "eta_charge": [0.9, 1, 1, 0.8],
    "eta_discharge": [0.9, 1, 1, 0.8],
    "initial_soc": [0.75, 0, 0, 0.75],
    "dispatch_cost": [10, 320, 500, 10],
    "stores": [1, 0, 0, 1],
    "absorbs": [1, 0, 0, 1],
    "travels": [1, 1, 0, 1],
    "shortfall_penalty": [300, 400, 50, 300],
}

_DEFAULT: dict[str, Any] = {
    "setup_cost": [30e3, 40e3],
    "storage_limit": 6,
    "hub_forced_in": 0,
    "hub_forced_out": 0,
    "hub_minimum": 0,
    "hub_available": 1,
    "distance": [[40, 60], [80, 50]],
    "stock": 2,
    "travel_time": [[0.1, 0.3], [0.4, 0.1]],
    "step_length": [0.25, 0.25, 0.5],
    "energised": 1,
    "event_rate": 24,
    "stabilise_within": 0.25,
    "interruption_time": 0.5,
    "stability_band": 0.05,
    "critical_load": [0.6, 0.5],
    "base_load": [0, 0, 0.8, 0.7],
    "base_reactive": [0, 0, 0.2, 0.15],
    "tan_phi": 0.25,
    "unserved_penalty": 5000,
    "critical_penalty": 15000,
    "flexible_penalty": 4000,
    "surplus_penalty": 800,
    "supply_ramp": 0.8,
    "supply_headroom": 0.4,
    "feeder_headroom": 0.6,
    "v_min": 0.9,
    "v_max": 1.05,
    "slack_penalty": 2e6,
    "rating": 5,
    "monitored_bus": 1,
    "monitored_line": 1,
    # a surge at node 3, a drop at node 4
    "shock": [[[0.7, 0.7, 0.5], [0, 0, 0]], [[0, 0, 0], [-0.6, -0.4, -0.4]]],
}


def small_data(
    *, fcm: tuple[str, ...] | list[str] = TECHNOLOGIES, source_voltage: float = 1.03, **overrides: Any
) -> xr.Dataset:
    """A complete A.1 Dataset: 2 suppliers, 2 hubs, 2 nodes, 4 buses, 3 lines; time and scenario as the data say.

    Parameters
    ----------
    fcm
        Technologies of the small catalogue that are offered.
    source_voltage
        Voltage of bus 1 before the event, pu.
    **overrides
        A variable of ``DEMAND_SHOCK_DATA``: a number for all entries, a nested list in the order of the table's
        dimensions, a dict from label to number where it has one dimension, or None to leave it out. The length of
        ``shock`` sets the number of scenarios, that of ``step_length`` the number of steps. ``requirement`` is one
        module of each technology wherever there is a shock, or a nested list, and ``usable`` is the requirement unless
        it is given; what the network sees before the event
        (``v_base``, ``flow_base``, ...) follows from ``base_load`` unless it is given.
    """
    unknown = set(overrides) - set(DEMAND_SHOCK_DATA)
    if unknown:
        raise ValueError(f"not in DEMAND_SHOCK_DATA: {sorted(unknown)}")
    values = {**_DEFAULT, **overrides}
    columns = [TECHNOLOGIES.index(name) for name in fcm]
    catalogue = {name: [row[column] for column in columns] for name, row in _CATALOGUE.items()}
    catalogue["shortfall_penalty"] = [[row, row] for row in catalogue["shortfall_penalty"]]  # type: ignore[misc]
    values = {**catalogue, **values}
    labels = _labels(values, list(fcm))
    values.setdefault("hub_maximum", len(labels["hub"]))
    values.setdefault("probability", 1 / len(labels["scenario"]))
    values.setdefault("shock_high", values["shock"])
    values.setdefault("shock_low", values["shock"])
    data = xr.Dataset(coords={name: (name, index) for name, index in labels.items()})
    for name, value in values.items():
        if value is not None:
            data[name] = _array(name, value, labels)
    for name, value in {**_network(data, source_voltage), **_requirement(data)}.items():
        if name not in data:
            data[name] = _array(name, value, labels)
    return data


def bridge_data(travel_time: Any) -> xr.Dataset:
    """The case of the closed bridge, worked out in test_closed_road.py, with the travel times that are given."""
    shock = [[0.5, 0.5, 0.5], [0, 0, 0]]
    return small_data(
        fcm=["generator"],
        travel_time=travel_time,
        shock=[shock, shock],
        setup_cost={"h": 1000, "k": 1500},
        transport_cost=0,
        module_cost=0,
        deployment_time=0,
        ramp=100,
        dispatch_cost=0,
        shortfall_penalty=0,
        unserved_penalty=0,
        critical_penalty=10_000,
        flexible_penalty=10_000,
        supply_ramp=0,
        supply_headroom=0,
        event_rate=1,
        stock=1,
    )


def _labels(values: dict[str, Any], fcm: list[str]) -> dict[str, np.ndarray]:
    names = {
        "supplier": ["a", "b"],
        "hub": ["h", "k"],
        "fcm": fcm,
        "node": ["3", "4"],
        "bus": ["1", "2", "3", "4"],
        "line": list(RESISTANCE),
        "time": np.arange(len(values["step_length"])),
        "scenario": np.arange(len(values["shock"])),
    }
    return {name: np.asarray(index) for name, index in names.items()}


def _array(name: str, value: Any, labels: dict[str, np.ndarray]) -> xr.DataArray:
    quantity = DEMAND_SHOCK_DATA[name]
    dims = quantity.dims
    if isinstance(value, xr.DataArray):
        return value.transpose(*dims, ...).assign_attrs(units=quantity.unit)
    if isinstance(value, dict):
        value = [value[str(label)] for label in labels[dims[0]]]
    numbers = np.asarray(value, dtype=float)
    if numbers.ndim > len(dims):
        dims = (*quantity.optional_dims, *dims)
    shape = tuple(len(labels[dim]) for dim in dims)
    full = numbers if numbers.shape == shape else np.broadcast_to(numbers, shape).copy()
    return xr.DataArray(full, dims=dims, coords={d: labels[d] for d in dims}, attrs={"units": quantity.unit})


def _downstream(line: str, bus: str) -> bool:
    """Whether the line lies on the way from the source to the bus."""
    while bus in PARENT:
        if line == f"{PARENT[bus]}-{bus}":
            return True
        bus = PARENT[bus]
    return False


def _network(data: xr.Dataset, source_voltage: float) -> dict[str, Any]:
    lines, buses = list(RESISTANCE), [str(bus) for bus in data.bus.values]
    feeds = np.array([[_downstream(line, bus) for bus in buses] for line in lines], dtype=float)
    resistance = feeds.T @ np.diag(list(RESISTANCE.values())) @ feeds
    reactance = feeds.T @ np.diag(list(REACTANCE.values())) @ feeds
    load, load_q = data.base_load.values, data.base_reactive.values
    column = [buses.index(str(node)) for node in data.node.values]
    return {
        "path_resistance": resistance[:, column],
        "path_reactance": reactance[:, column],
        "v_base": np.sqrt(source_voltage**2 - 2 * (resistance @ load + reactance @ load_q)),
        "flow_base": feeds @ load,
        "flow_base_reactive": feeds @ load_q,
        "downstream": feeds[:, column],
    }


def _requirement(data: xr.Dataset) -> dict[str, Any]:
    """One module of each technology per node that is shocked; for a drop, of those that absorb. No more is usable."""
    if "requirement" in data:
        return {"usable": data.requirement}
    dark = (1 - data.energised) * data.base_load
    surge = (data.shock > 0).any("time") | (dark.sel(bus=data.node) > 0)
    drop = (data.shock < 0).any("time")
    wanted = surge | (drop & (data.absorbs == 1))
    modules = wanted.transpose("scenario", "node", "fcm").astype(float)
    return {"requirement": modules, "usable": modules}
