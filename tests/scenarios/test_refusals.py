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
from drofcm.scenarios.outages import draw_failures, repair_hours

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
