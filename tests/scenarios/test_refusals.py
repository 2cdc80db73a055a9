"""What generators and calibration refuse, told as findings and not as errors of the libraries below."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import xarray as xr

from drofcm.core.errors import InputError
from drofcm.scenarios.calibration import calibrate
from drofcm.scenarios.hazards import active_zones
from drofcm.scenarios.importance import reweight_classes
from drofcm.scenarios.loads import inference_load
from drofcm.scenarios.outages import draw_failures, draw_hits, repair_hours, sequential_outages
from drofcm.scenarios.shocks import demand_shocks

LINES = list("abc")


def zones(**changes: xr.DataArray) -> xr.DataArray:
    given: dict[str, Any] = {
        "line_out": xr.DataArray(np.zeros((2, 3)), {"scenario": [0, 1], "line": LINES}),
        "crosses": xr.DataArray(np.zeros((1, 3)), {"zone": ["z"], "line": LINES}),
        "probability": xr.DataArray([0.5], {"zone": ["z"]}),
    }
    return active_zones(**{**given, **changes}, seed=1)


def labelled(*scenarios: object) -> xr.DataArray:
    return xr.DataArray(
        np.ones((len(scenarios), 3)), {"scenario": list(scenarios), "line": LINES}, attrs={"units": "1"}
    )


def trace(power: np.ndarray) -> xr.DataArray:
    return xr.DataArray(power, dims="second")


def shocks(scenarios: int = 2, steps: int = 1, hours: float = 1.0) -> xr.Dataset:
    site = xr.DataArray([1.0], {"node": ["1"]}, attrs={"units": "MW"})
    return demand_shocks(
        scenarios=scenarios,
        rating=site,
        running=site,
        step_length=xr.DataArray(np.full(steps, hours), {"time": range(steps)}, attrs={"units": "h"}),
        shares={"surge": 1.0},
        fault_lines=[],
        lines=["a"],
        seed=1,
    )


def spikes() -> np.ndarray:
    power = np.zeros(7200)
    power[:3] = 5.0
    return power


REFUSALS: dict[str, tuple[Callable[[], object], str]] = {
    "events without lines": (lambda: zones(line_out=xr.DataArray([0.0], {"scenario": [0]})), "line_out"),
    "zones without labels": (lambda: zones(probability=xr.DataArray([0.5], dims="zone")), "dimension has no labels"),
    "a class without probability": (
        lambda: reweight_classes(
            xr.Dataset(
                {"probability": ("scenario", [0.5, 0.5, 0.0])},
                {"scenario": range(3), "event_class": ("scenario", ["fault", "fault", "surge"])},
            ),
            {"fault": 0.9, "surge": 0.1},
        ),
        "class 'surge': none of its scenarios has a probability",
    ),
    "failures of half scenarios": (lambda: draw_failures(labelled(0.2, 0.7), seed=1), "whole numbers"),
    "failures of named scenarios": (lambda: draw_failures(labelled("x"), seed=1), "whole numbers"),
    "repairs of named scenarios": (lambda: repair_hours(labelled("x"), seed=1), "whole numbers"),
    "repairs of negative scenarios": (lambda: repair_hours(labelled(-1), seed=1), "whole numbers"),
    "a billion scenarios": (lambda: shocks(scenarios=10**9), "1,000,000,000 scenarios are taken for a slip"),
    "scenarios that no memory holds": (
        lambda: shocks(scenarios=1_000_000, steps=2000, hours=0.05),
        "1,000,000 scenarios of 1 nodes and 2,000 steps take 45 GiB",
    ),
    "a step of a year": (lambda: shocks(hours=8760.0), "an event is drawn second by second (at most 168 h)"),
    "a trace of a billion seconds": (
        lambda: inference_load(10**9, rng=np.random.default_rng(0)),
        "1,000,000,000 s are 11,574 days, at most 366 are drawn at once",
    ),
    "a billion draws from a matrix": (
        lambda: draw_hits(xr.DataArray([[0.5]], {"event": ["surge"], "location": ["1"]}), 10**9, seed=1),
        "taken for a slip",
    ),
    "a history of a million years": (
        lambda: sequential_outages(
            xr.DataArray([1e3], {"component": ["a"]}, attrs={"units": "1/a"}),
            xr.DataArray([1.0], {"component": ["a"]}, attrs={"units": "h"}),
            years=1_000_000,
            seed=1,
        ),
        "outages of a are expected in 1,000,000 years (at most 10,000,000 are drawn)",
    ),
    "power in moments": (lambda: calibrate(trace(spikes())), "power is 0 in all but 3 seconds"),
    "a service that stalls all the time": (
        lambda: calibrate(trace(np.tile([1, 1, 0.1, 0.1], 100)), workload="inference"),
        "away from stalls",
    ),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_refused_with_a_finding(case: str) -> None:
    attempt, said = REFUSALS[case]
    with pytest.raises(InputError) as caught:
        attempt()
    assert said in str(caught.value)


def test_what_is_in_order_is_not_refused() -> None:
    assert zones().sizes == {"scenario": 2, "zone": 1}
    assert draw_failures(labelled(0, 7), seed=1).sum() == 6
    assert (repair_hours(labelled(3), seed=1) > 0).all()
    # crews beyond the lines stand idle and take no memory
    xr.testing.assert_identical(
        repair_hours(labelled(3), seed=1, crews=3), repair_hours(labelled(3), seed=1, crews=10**12)
    )
    assert shocks().sizes["scenario"] == 2
