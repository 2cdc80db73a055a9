"""The mean of all events as one scenario: its data, and its optimum against enumeration."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from cases.enumeration import Enumeration
from cases.loader import load_case
from cases.model import measure

from drofcm.fcm.requirement import usable
from drofcm.problems import demand_shock
from drofcm.problems.demand_shock_data import derive, expected_value

EXPECTATION = {"expectation": 1.0}
SHARES = ("shock", "shock_high", "shock_low", "energised")


@pytest.fixture(scope="module", params=["stress", "enumerated"])
def data(request: pytest.FixtureRequest) -> xr.Dataset:
    return load_case(request.param).data


def test_mean_is_that_of_the_scenarios(data: xr.Dataset) -> None:
    mean = expected_value(data)
    for name in SHARES:
        wanted = np.zeros_like(data[name].isel(scenario=0).values)
        for scenario, probability in zip(data.scenario.values, data.probability.values, strict=True):
            wanted += probability * data[name].sel(scenario=scenario).values
        np.testing.assert_allclose(mean[name].isel(scenario=0).values, wanted, atol=1e-15)
        assert mean[name].attrs["units"] == data[name].attrs["units"]
    assert mean.sizes["scenario"] == 1
    assert mean.probability.values.tolist() == [1.0]


def test_a_hub_that_seldom_fails_can_send_whole_modules(data: xr.Dataset) -> None:
    # hub h is out of use in one event of probability 0.15
    assert float((data.probability * data.hub_available.sel(hub="h")).sum()) == pytest.approx(0.85)
    assert expected_value(data).hub_available.values.tolist() == [[1, 1]]
    often = data.assign(hub_available=data.hub_available.where(data.scenario > 0, 0))
    less_often = often.assign(probability=data.probability.copy(data=_first(data, 0.6)))
    assert expected_value(less_often).hub_available.values.tolist() == [[0, 0]]


def _first(data: xr.Dataset, probability: float) -> np.ndarray:
    others = data.sizes["scenario"] - 1
    return np.array([probability, *[(1 - probability) / others] * others])


def test_load_is_critical_or_flexible_and_covers_the_surge(data: xr.Dataset) -> None:
    for events in (data, expected_value(data)):
        derived = derive(events)
        load = events.base_load.sel(bus=events.node).drop_vars("bus") + events.shock
        parts = derived.critical_part + derived.flexible_part
        xr.testing.assert_allclose(parts.transpose(*load.dims), load)
        assert bool((derived.critical_part <= events.critical_load + 1e-12).all())
        assert bool((derived.surge <= parts + 1e-12).all())
        # what is supplied or withdrawn in the mean is no more than the share of events in which the node is alive
        alive = events.energised.sel(bus=events.node).drop_vars("bus")
        most = (alive * events.supply_headroom).broadcast_like(derived.supply_limit)
        xr.testing.assert_allclose(derived.supply_limit, most.transpose(*derived.supply_limit.dims))


def test_what_is_usable_is_that_of_the_mean_event(data: xr.Dataset) -> None:
    mean = expected_value(data)
    xr.testing.assert_equal(mean.usable, usable(mean, mean.requirement))
    printed = expected_value(data.assign(shortfall_by_technology=1, usable=data.requirement))
    xr.testing.assert_equal(printed.usable, printed.requirement)


def test_optimum_is_the_enumerated_one(data: xr.Dataset) -> None:
    mean = expected_value(data)
    found = demand_shock.program(mean, checked=True).solve(risk=measure(EXPECTATION), gap=1e-7)
    assert 0 < float(mean.energised.min()) < 1
    assert found.objective == pytest.approx(Enumeration(mean).optimum(EXPECTATION).objective, rel=1e-5)
