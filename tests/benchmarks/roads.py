"""Road distances at the size of a region: 200,000 roads, 50 hubs, 500 nodes.

Run ``python tests/benchmarks/roads.py``; it prints the seconds of each step, of the clock and of the processor (the
clock also counts what other programs take), and the largest memory of the process.
"""

from __future__ import annotations

import resource
import time

import geopandas as gpd
import numpy as np
import shapely
import xarray as xr

from drofcm.siting.roads import RoadNetwork

SIDE = 317  # crossings along each side of the grid
CRS = "EPSG:32632"
CORNER = np.array([400_000.0, 5_300_000.0])


def roads(rng: np.random.Generator) -> gpd.GeoDataFrame:
    """A grid of streets with crossings off their places, 250 m apart, one in ten of them one-way."""
    place = np.arange(SIDE * SIDE).reshape(SIDE, SIDE)
    spot = 250.0 * np.stack(np.meshgrid(np.arange(SIDE), np.arange(SIDE)), axis=-1).reshape(-1, 2)
    spot += rng.uniform(-80, 80, spot.shape) + CORNER
    ends = np.concatenate(
        [
            np.column_stack([place[:, :-1].ravel(), place[:, 1:].ravel()]),
            np.column_stack([place[:-1].ravel(), place[1:].ravel()]),
        ]
    )
    lines = shapely.linestrings(spot[ends])
    columns = {
        "id": [f"r{k}" for k in range(len(lines))],
        "speed_km_h": rng.choice([30.0, 50.0, 80.0], len(lines)),
        "oneway": (rng.random(len(lines)) < 0.1).astype(int),
    }
    return gpd.GeoDataFrame(columns, geometry=lines, crs=CRS)


def places(count: int, rng: np.random.Generator) -> gpd.GeoDataFrame:
    """Points anywhere in the middle of the grid."""
    spot = rng.uniform(500, 250.0 * (SIDE - 3), (count, 2)) + CORNER
    return gpd.GeoDataFrame({"id": [f"p{k}" for k in range(count)]}, geometry=shapely.points(spot), crs=CRS)


def main() -> None:
    """Measure and print."""
    rng = np.random.default_rng(20261121)
    layer, hubs, nodes = roads(rng), places(50, rng), places(500, rng)
    RoadNetwork.from_layer(layer.iloc[:1])
    xr.DataArray(np.zeros(1))  # both import what a first use imports
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    began, busy = time.perf_counter(), time.process_time()
    network = RoadNetwork.from_layer(layer)
    built, busy_then = time.perf_counter(), time.process_time()
    hours = network.travel_time(hubs, nodes)
    done, busy_now = time.perf_counter(), time.process_time()
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{len(layer):,} roads, {network.crossings:,} crossings, {hours.shape[0]} x {hours.shape[1]} pairs")
    print(f"checked and joined in {built - began:.2f} s ({busy_then - busy:.2f} s of processor time)")
    print(f"travel times in {done - built:.2f} s ({busy_now - busy_then:.2f} s of processor time)")
    print(f"largest memory {after:.0f} MiB, of it {before:.0f} MiB libraries and the layer")


if __name__ == "__main__":
    main()
