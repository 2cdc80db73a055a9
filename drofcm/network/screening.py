"""Which network rows can bind at all.

A row that no change of withdrawal within its box can violate is never written. The test is exact: a linear
function attains its maximum over a box at the vertex that its signs choose, so a row is kept if and only if it is
violated there. Scenarios are taken in blocks, so memory beyond the answer does not grow with their number.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from drofcm.core.errors import Finding, raise_if_any, shorten
from drofcm.core.units import labels_where

__all__ = ["binding_flow_rows", "binding_voltage_rows", "polygon"]

BLOCK = 2_000_000
"""Entries of one intermediate array; with eight of them alive, about 130 MB."""

Array: TypeAlias = NDArray[np.float64]


def polygon(sides: int = 12) -> xr.Dataset:
    """The regular polygon inside the circle of apparent power.

    ``cos * P + sin * Q <= apothem * rating`` on every side implies ``P^2 + Q^2 <= rating^2``: the vertices lie on
    the circle, so the rating is never exceeded, and 1 - apothem is the most that is given away.

    Parameters
    ----------
    sides
        Number of sides, at least 3.

    Returns
    -------
    xr.Dataset
        ``cos`` and ``sin`` over ``side``, and ``apothem``, the distance of the sides from the centre.

    Raises
    ------
    ValueError
        If there are fewer than three sides.
    """
    if sides < 3:
        raise ValueError(f"sides: a polygon has at least 3, got {sides}")
    angle = 2 * np.pi * np.arange(sides) / sides
    return xr.Dataset(
        {"cos": ("side", np.cos(angle)), "sin": ("side", np.sin(angle)), "apothem": np.cos(np.pi / sides)},
        coords={"side": np.arange(sides)},
    )


def binding_voltage_rows(
    data: xr.Dataset,
    delta_low: xr.DataArray,
    delta_high: xr.DataArray,
    delta_reactive_low: xr.DataArray,
    delta_reactive_high: xr.DataArray,
) -> xr.Dataset:
    """Voltage rows that some change of withdrawal in the box violates.

    Parameters
    ----------
    data
        ``v_base``, ``v_min``, ``v_max`` [pu] and ``monitored_bus`` over bus, ``path_resistance`` [1/MW] and
        ``path_reactance`` [1/Mvar] over (bus, node), ``energised`` over (scenario, bus).
    delta_low, delta_high
        Bounds on the change of active withdrawal, MW, over (scenario, node, time).
    delta_reactive_low, delta_reactive_high
        Bounds on the change of reactive withdrawal, Mvar, over (scenario, node, time).

    Returns
    -------
    xr.Dataset
        Booleans ``lower`` (the row ``v >= v_min``) and ``upper`` (``v <= v_max``) over (scenario, bus, time).
        False as well where no row belongs: bus not monitored, or cut off.

    Raises
    ------
    InputError
        If a bound is missing (NaN), a lower one exceeds its upper one, or labels differ.
    """
    box = _Box.of(data, delta_low, delta_high, delta_reactive_low, delta_reactive_high)
    monitored = np.flatnonzero(data["monitored_bus"].values == 1)
    rows = data.isel(bus=monitored)
    resistance = 2 * rows["path_resistance"].transpose("bus", "node").values
    reactance = 2 * rows["path_reactance"].transpose("bus", "node").values
    room_below = (rows["v_base"] ** 2 - rows["v_min"] ** 2).values[:, None, None]
    room_above = (rows["v_max"] ** 2 - rows["v_base"] ** 2).values[:, None, None]
    # above zero: in the mean of all events energisation is a share
    live = (rows["energised"] > 0).transpose("scenario", "bus").values
    shape = (box.scenarios, data.sizes["bus"], box.times)
    lower, upper = np.zeros(shape, dtype=bool), np.zeros(shape, dtype=bool)
    for block in box.blocks(len(monitored)):
        active, reactive = box.active(block), box.reactive(block)
        exists = live[block].T[:, :, None]
        deepest = _highest(resistance, *active) + _highest(reactance, *reactive)
        lower[block, monitored] = _scenario_first((deepest > room_below) & exists)
        del deepest
        shallowest = _lowest(resistance, *active) + _lowest(reactance, *reactive)
        upper[block, monitored] = _scenario_first((-shallowest > room_above) & exists)
    dims = ("scenario", "bus", "time")
    coords = {**box.coords, "bus": data.indexes["bus"]}
    return xr.Dataset({"lower": (dims, lower), "upper": (dims, upper)}, coords=coords)


def binding_flow_rows(
    data: xr.Dataset,
    delta_low: xr.DataArray,
    delta_high: xr.DataArray,
    delta_reactive_low: xr.DataArray,
    delta_reactive_high: xr.DataArray,
    *,
    sides: int = 12,
) -> xr.DataArray:
    """Thermal rows that some change of withdrawal in the box violates.

    Parameters
    ----------
    data
        ``flow_base`` [MW], ``flow_base_reactive`` [Mvar], ``rating`` [MVA] and ``monitored_line`` over line,
        ``downstream`` over (line, node).
    delta_low, delta_high, delta_reactive_low, delta_reactive_high
        As in `binding_voltage_rows`.
    sides
        Sides of the polygon of apparent power, see `polygon`.

    Returns
    -------
    xr.DataArray
        Boolean over (scenario, line, time, side): the row
        ``cos P + sin Q <= apothem rating`` can be violated. False for lines that are not monitored.

    Raises
    ------
    InputError
        If a bound is missing (NaN), a lower one exceeds its upper one, or labels differ.
    """
    box = _Box.of(data, delta_low, delta_high, delta_reactive_low, delta_reactive_high)
    shape = polygon(sides)
    directions = list(zip(shape["cos"].values, shape["sin"].values, strict=True))
    monitored = np.flatnonzero(data["monitored_line"].values == 1)
    rows = data.isel(line=monitored)
    feeds = rows["downstream"].transpose("line", "node").values.astype(np.float64)
    limit = float(shape["apothem"]) * rows["rating"].values[:, None, None]
    base = rows["flow_base"].values[:, None, None], rows["flow_base_reactive"].values[:, None, None]
    binding = np.zeros((box.scenarios, data.sizes["line"], box.times, sides), dtype=bool)
    for block in box.blocks(len(monitored)):
        active, reactive = box.active(block), box.reactive(block)
        p_low, p_high = base[0] + _lowest(feeds, *active), base[0] + _highest(feeds, *active)
        q_low, q_high = base[1] + _lowest(feeds, *reactive), base[1] + _highest(feeds, *reactive)
        for side, (cos, sin) in enumerate(directions):
            furthest = cos * (p_high if cos > 0 else p_low) + sin * (q_high if sin > 0 else q_low)
            binding[..., side][block, monitored] = _scenario_first(furthest > limit)
    return xr.DataArray(
        binding,
        coords={**box.coords, "line": data.indexes["line"], "side": shape["side"].values},
        dims=("scenario", "line", "time", "side"),
        name="binding_flow_rows",
    )


# ==== Extremes of a linear function over a box ==========================================================


@dataclass(frozen=True)
class _Box:
    """The four bounds as arrays (node, scenario, time)."""

    p_low: Array
    p_high: Array
    q_low: Array
    q_high: Array
    coords: dict[str, NDArray[np.generic]]

    @classmethod
    def of(
        cls,
        data: xr.Dataset,
        p_low: xr.DataArray,
        p_high: xr.DataArray,
        q_low: xr.DataArray,
        q_high: xr.DataArray,
    ) -> _Box:
        bounds = {"delta_low": p_low, "delta_high": p_high, "delta_reactive_low": q_low, "delta_reactive_high": q_high}
        # A NaN compares as False, which would drop a row that can be violated.
        findings = [
            Finding(name, f"NaN at {labels_where(array.isnull())}", "every bound must be a number")
            for name, array in bounds.items()
            if bool(array.isnull().any())
        ]
        findings += [
            Finding(name, f"labels along {dim!r} differ from those of {other}", f"has {shorten(array[dim].values)}")
            for name, array in bounds.items()
            for dim, other in (("node", "the data"), ("scenario", "delta_low"), ("time", "delta_low"))
            if not array.indexes[dim].equals((data if dim == "node" else p_low).indexes[dim])
        ]
        if "energised" in data and not data.indexes["scenario"].equals(p_low.indexes["scenario"]):
            findings.append(Finding("delta_low", "labels along 'scenario' differ from those of the data"))
        raise_if_any(findings)
        for low, high, name in ((p_low, p_high, "delta_low"), (q_low, q_high, "delta_reactive_low")):
            crossed = low > high
            if bool(crossed.any()):
                findings.append(Finding(name, f"lies above its upper bound at {labels_where(crossed)}"))
        raise_if_any(findings)
        p_low_, p_high_, q_low_, q_high_ = (
            array.transpose("node", "scenario", "time").values.astype(np.float64) for array in bounds.values()
        )
        return cls(p_low_, p_high_, q_low_, q_high_, {dim: p_low[dim].values for dim in ("scenario", "time")})

    @property
    def scenarios(self) -> int:
        return int(self.p_low.shape[1])

    @property
    def times(self) -> int:
        return int(self.p_low.shape[2])

    def blocks(self, rows: int) -> Iterator[slice]:
        """Runs of scenarios for which ``rows`` rows fill one block."""
        step = max(1, BLOCK // max(1, rows * self.times))
        for start in range(0, self.scenarios, step):
            yield slice(start, start + step)

    def active(self, block: slice) -> tuple[Array, Array]:
        return self.p_low[:, block], self.p_high[:, block]

    def reactive(self, block: slice) -> tuple[Array, Array]:
        return self.q_low[:, block], self.q_high[:, block]


def _highest(matrix: Array, low: Array, high: Array) -> Array:
    """Row-wise maximum of ``matrix @ x`` for low <= x <= high; (row, scenario, time)."""
    negative = np.minimum(matrix, 0)
    highest = np.tensordot(np.maximum(matrix, 0), high, axes=1)
    return highest + np.tensordot(negative, low, axes=1) if negative.any() else highest


def _lowest(matrix: Array, low: Array, high: Array) -> Array:
    return -_highest(matrix, -high, -low)


def _scenario_first(rows: NDArray[np.bool_]) -> NDArray[np.bool_]:
    return rows.transpose(1, 0, 2)
