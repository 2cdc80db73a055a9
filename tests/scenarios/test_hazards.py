"""Zones that events find active: with the lines they put out, and by chance."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from drofcm.core.errors import InputError
from drofcm.core.randomness import stream
from drofcm.scenarios.hazards import active_zones

LINES = ["1-2", "2-3", "3-4"]


def arrays(scenarios: int, chance: float = 0.0) -> tuple[xr.DataArray, xr.DataArray, xr.DataArray]:
    out = xr.DataArray(np.zeros((scenarios, 3)), coords={"scenario": np.arange(scenarios), "line": LINES})
    crosses = xr.DataArray([[0, 1, 0], [0, 0, 0]], coords={"zone": ["river", "hill"], "line": LINES})
    return out, crosses, xr.DataArray([chance, 0.0], coords={"zone": ["river", "hill"]})


def test_a_line_that_is_out_takes_its_zone_with_it() -> None:
    out, crosses, chance = arrays(3)
    out.loc[{"scenario": 1, "line": "2-3"}] = 1
    out.loc[{"scenario": 2, "line": "1-2"}] = 1
    assert active_zones(out, crosses, chance, 1).values.tolist() == [[0, 0], [1, 0], [0, 0]]
    # the order of lines does not matter
    turned = crosses.sel(line=LINES[::-1])
    assert active_zones(out, turned, chance, 1).values.tolist() == [[0, 0], [1, 0], [0, 0]]


def test_chance_draws_from_a_stream_per_scenario() -> None:
    few, many = (active_zones(*arrays(count, 0.3), 5) for count in (10, 400))
    xr.testing.assert_equal(few, many.isel(scenario=slice(10)))
    drawn = [stream(5, "hazards", k).random(2)[0] < 0.3 for k in range(400)]
    assert many.sel(zone="river").values.astype(bool).tolist() == drawn
    assert 0.2 < float(many.sel(zone="river").mean()) < 0.4
    assert float(many.sel(zone="hill").sum()) == 0


def test_labels_that_do_not_fit_are_refused() -> None:
    out, crosses, chance = arrays(2)
    with pytest.raises(InputError) as caught:
        active_zones(out, crosses.sel(line=LINES[:2]), chance.sel(zone=["hill", "river"]), 1)
    assert len(caught.value.findings) == 2
    with pytest.raises(InputError, match=r"must be at most 1 1, is 1\.5 at zone=river"):
        active_zones(out, crosses, arrays(2, 1.5)[2], 1)
