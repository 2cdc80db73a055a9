"""LinDistFlow, the linear power flow of radial feeders, as labelled sensitivities.

Baran and Wu's DistFlow without the loss terms: squared voltages fall by 2 (r P + x Q) along a line, and flows are
the sums of the loads they feed. Linear in the loads, so one pass over the tree gives every row that the problem
may need (FORMULATION A.4).

References
----------
M. E. Baran and F. F. Wu, "Optimal capacitor placement on radial distribution systems", IEEE Transactions on Power
Delivery 4(1), 725-734, 1989, equations (1) and (2).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from drofcm.core.dims import DEMAND_SHOCK_DATA
from drofcm.core.errors import Finding, InputError, shorten
from drofcm.network.feeder import Feeder

__all__ = ["HIGHEST_VOLTAGE", "base_case", "check_source_voltage", "sensitivities"]

HIGHEST_VOLTAGE = 10.0
"""No feeder runs at so many times its nominal voltage: it was given in another unit."""


def sensitivities(feeder: Feeder, node: Sequence[str] | xr.DataArray) -> xr.Dataset:
    """How voltages and flows follow a change of withdrawal at the nodes.

    A withdrawal that grows by delta [MW] and delta^q [Mvar] at the nodes lowers the squared voltage [pu^2] by
    ``2 (path_resistance @ delta + path_reactance @ delta^q)`` and raises flows by ``downstream @ delta``.

    Parameters
    ----------
    feeder
        The feeder.
    node
        Labels of buses, each once.

    Returns
    -------
    xr.Dataset
        ``path_resistance`` [1/MW] and ``path_reactance`` [1/Mvar] over (bus, node): ohm of the path from the source
        that bus and node have in common, over squared kV. ``downstream`` [0/1] over (line, node): the line feeds
        the node. Nodes of another tree have nothing in common: zero.

    Raises
    ------
    InputError
        If a node is not a bus of the feeder or is given twice.
    """
    position = feeder.positions(node)
    at_node = np.zeros((len(feeder.bus), len(position)))
    at_node[position, np.arange(len(position))] = 1
    feeds = feeder.subtree_sum(at_node)
    return _labelled(
        {
            "path_resistance": feeder.path_sum(_per_unit(feeder, "resistance")[:, None] * feeds),
            "path_reactance": feeder.path_sum(_per_unit(feeder, "reactance")[:, None] * feeds),
            "downstream": feeds[feeder.fed_bus].astype(np.int8),
        },
        feeder,
        node=feeder.bus[position].rename("node"),
    )


def base_case(
    feeder: Feeder, base_load: xr.DataArray, base_reactive: xr.DataArray, source_voltage: float
) -> xr.Dataset:
    """Voltages and flows before the event.

    Parameters
    ----------
    feeder
        The feeder.
    base_load, base_reactive
        Load over bus, MW and Mvar.
    source_voltage
        Voltage magnitude at every source, pu.

    Returns
    -------
    xr.Dataset
        ``v_base`` [pu] over bus, a magnitude: the root of the squared voltage that LinDistFlow is linear in;
        ``flow_base`` [MW] and ``flow_base_reactive`` [Mvar] over line, positive away from the source, without
        losses.

    Raises
    ------
    InputError
        If labels or units differ, the source voltage is not positive, or the load is beyond what the feeder can
        carry at all (squared voltage not positive).
    """
    check_source_voltage(source_voltage)
    load = feeder.aligned(base_load, "bus", "MW", "base_load")
    reactive = feeder.aligned(base_reactive, "bus", "Mvar", "base_reactive")
    into = feeder.subtree_sum(load.values), feeder.subtree_sum(reactive.values)
    fall = _per_unit(feeder, "resistance") * into[0] + _per_unit(feeder, "reactance") * into[1]
    squared = source_voltage**2 - 2 * feeder.path_sum(fall)
    if (squared <= 0).any():
        collapsed = shorten(feeder.bus[squared <= 0].to_numpy())
        raise InputError([Finding(f"bus {collapsed}", "no voltage is left: the load is beyond what the lines carry")])
    return _labelled(
        {
            "v_base": np.sqrt(squared),
            "flow_base": into[0][feeder.fed_bus],
            "flow_base_reactive": into[1][feeder.fed_bus],
        },
        feeder,
    )


def check_source_voltage(source_voltage: float) -> None:
    """Refuse a voltage at the source that is none in per unit.

    Raises
    ------
    InputError
        If it is not positive, or far above what 1, the nominal voltage, stands for.
    """
    if not 0 < source_voltage <= HIGHEST_VOLTAGE:
        what = f"must be a positive number of pu, at most {HIGHEST_VOLTAGE:g}, is {source_voltage}"
        raise InputError([Finding("source_voltage", what, "1 is the nominal voltage; volts and kV are none")])


def _per_unit(feeder: Feeder, name: str) -> NDArray[np.float64]:
    """Impedance of the feeding line over squared kV, over bus."""
    return feeder.along_lines(feeder.table[name].values) / feeder.nominal_kv**2


def _labelled(arrays: dict[str, NDArray[Any]], feeder: Feeder, **coords: Any) -> xr.Dataset:
    labels = {"bus": feeder.bus, "line": feeder.line, **coords}
    variables = {
        name: (
            DEMAND_SHOCK_DATA[name].dims,
            values,
            {"units": DEMAND_SHOCK_DATA[name].unit, "long_name": DEMAND_SHOCK_DATA[name].description},
        )
        for name, values in arrays.items()
    }
    return xr.Dataset(variables, coords={dim: labels[dim] for _, (dims, *_) in variables.items() for dim in dims})
