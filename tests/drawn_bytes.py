"""Prints, as JSON, digests of drawn figures and of what they are drawn by; run with other instruction sets."""

from __future__ import annotations

import hashlib
import json

import geopandas as gpd
import numpy as np
import xarray as xr
from shapely.geometry import box

from drofcm.core.randomness import stream
from drofcm.scenarios.combined import Storm, combined_events
from drofcm.scenarios.facility import Facility, facility_load
from drofcm.scenarios.loads import inference_load, training_load
from drofcm.scenarios.outages import gusts, repair_hours, sequential_outages
from drofcm.scenarios.plants import Plants
from drofcm.siting.candidates import from_poisson_disc

LINES = ["1-2", "2-3", "3-4"]


def of(*arrays: object) -> str:
    state = hashlib.sha256()
    for array in arrays:
        state.update(np.ascontiguousarray(np.asarray(array, dtype=float)).tobytes())
    return state.hexdigest()


def ensemble(scenarios: int = 6) -> xr.Dataset:
    """Every class of event at two data centres and two plants, with hubs and roads."""

    def at(values: list[float]) -> xr.DataArray:
        return xr.DataArray(values, {"node": ["3", "4"]}, attrs={"units": "MW"})

    return combined_events(
        scenarios=scenarios,
        rating=at([1.6, 0.1234567]),
        running=at([0.5, 0.7654321]),
        step_length=xr.DataArray([1 / 60, 4 / 60, 10 / 60, 0.75], {"time": range(4)}, attrs={"units": "h"}),
        shares={"surge": 0.3, "training": 0.2, "drop": 0.2, "storm": 0.15, "storm_surge": 0.15},
        fault_lines=LINES,
        downstream=xr.DataArray([[1, 1], [1, 1], [0, 1]], {"line": LINES, "node": ["3", "4"]}, attrs={"units": "1"}),
        seed=11,
        plants=Plants(("3", "4"), ("pv", "dg"), np.array([0.3333333, 0.2])),
        storm=Storm(tuple(LINES), np.ones(3), np.arange(3.0), np.zeros(3), np.array([1.0]), np.array([2.0])),
        hubs=["h"],
    )


def drawn() -> dict[str, str]:
    """Digests of everything that is drawn."""
    events = ensemble()
    here = np.linspace(0, 20, 12)
    out = xr.DataArray(np.ones((2, 3)), {"scenario": [0, 1], "line": LINES}, attrs={"units": "1"})
    rate = xr.DataArray([3.0, 0.5], {"component": ["a", "b"]}, attrs={"units": "1/a"})
    mean = xr.DataArray([5.0, 8.0], {"component": ["a", "b"]}, attrs={"units": "h"})
    history = sequential_outages(rate, mean, years=20, seed=4)
    area = gpd.GeoDataFrame({"id": ["a"], "name": ["A"]}, geometry=[box(4e5, 5.3e6, 4.1e5, 5.31e6)], crs="EPSG:32632")
    points = from_poisson_disc(area, spacing_m=900, rng=stream(3, "points"))
    return {
        "events": of(*(events[name] for name in sorted(map(str, events.data_vars)))),
        "training": of(training_load(3000, rng=stream(1, "a"), job="checkpoint_100")),
        "inference": of(inference_load(3000, rng=stream(1, "b"), service="llama_405b", filling=True)),
        "facility": of(facility_load(Facility((0.5,), 0.3), 900, rng=stream(1, "c"))),
        "gusts": of(gusts(here, here[::-1], rng=stream(2, "wind"), median_m_s=32, spread=0.2)),
        "repairs": of(repair_hours(out, seed=5)),
        "outages": of(history["begin_h"], history["hours"]),
        "points": of(points.geometry.x, points.geometry.y),
    }


def tools() -> str:
    """Digest of elementary functions and sums of products: what differs between instruction sets."""
    rng = np.random.default_rng(0)
    x = rng.uniform(0.01, 5, 50_000)
    square = rng.normal(size=(60, 60))
    return of(np.exp(-x), np.log(x), np.tanh(x), rng.lognormal(0, 1, 50_000), square @ square.T)


if __name__ == "__main__":
    print(json.dumps({"drawn": drawn(), "tools": tools()}))
