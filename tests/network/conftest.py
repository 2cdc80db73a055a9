"""Feeders for the tests of the network: the IEEE 33-bus feeder and forests grown at random."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest
import xarray as xr

from drofcm.data import load_feeder
from drofcm.network.feeder import Feeder


@pytest.fixture(scope="session")
def ieee33_table() -> xr.Dataset:
    return load_feeder("ieee33")


@pytest.fixture(scope="session")
def ieee33(ieee33_table: xr.Dataset) -> Feeder:
    return Feeder.from_tables(ieee33_table)


def tables(bus: Sequence[str], lines: Sequence[tuple[str, str, str]], sources: str | list[str]) -> xr.Dataset:
    """Tables of a feeder with these buses and (line, from_bus, to_bus), 0.1 + j0.2 ohm and 5 MVA each."""
    count = len(lines)
    return xr.Dataset(
        {
            "base_load": ("bus", np.full(len(bus), 0.1), {"units": "MW"}),
            "base_reactive": ("bus", np.full(len(bus), 0.05), {"units": "Mvar"}),
            "from_bus": ("line", np.array([line[1] for line in lines], dtype=str)),
            "to_bus": ("line", np.array([line[2] for line in lines], dtype=str)),
            "resistance": ("line", np.full(count, 0.1), {"units": "ohm"}),
            "reactance": ("line", np.full(count, 0.2), {"units": "ohm"}),
            "rating": ("line", np.full(count, 5.0), {"units": "MVA"}),
        },
        coords={"bus": np.array(bus, dtype=str), "line": np.array([line[0] for line in lines], dtype=str)},
        attrs={"name": "made", "nominal_kv": 12.0, "source_bus": sources},
    )


def grown(seed: int, count: int, trees: int = 1, reach: int = 30) -> xr.Dataset:
    """A random forest: buses and lines in shuffled order, lines in both directions, loads of either sign."""
    rng = np.random.default_rng(seed)
    names = [f"bus{number}" for number in range(count)]
    lines = []
    for number in range(trees, count):
        # every tree keeps to its own numbers, so that the trees stay apart
        own = [parent for parent in range(max(0, number - reach * trees), number) if parent % trees == number % trees]
        ends = (names[number], names[int(rng.choice(own))])
        lines.append((f"line{number}", *(ends if rng.random() < 0.5 else ends[::-1])))
    rng.shuffle(lines)
    table = tables(rng.permutation(names).tolist(), lines, names[:trees])
    for name, low, high in (
        ("resistance", 0.01, 0.5),
        ("reactance", 0.01, 0.5),
        ("base_load", 0.0, 4.0 / count),
        ("base_reactive", -1.0 / count, 2.0 / count),
    ):
        table[name].values[:] = rng.uniform(low, high, table[name].size)
    return table


@pytest.fixture(scope="session")
def make_tables() -> Callable[..., xr.Dataset]:
    return tables


@pytest.fixture(scope="session")
def grow() -> Callable[..., xr.Dataset]:
    return grown
