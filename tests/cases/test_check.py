"""What is wrong with the data of the problem is said in one finding, where it stands, before anything is built."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import xarray as xr
from cases.loader import load_case

from drofcm.core.errors import InputError
from drofcm.problems import demand_shock
from drofcm.problems.demand_shock_data import check

Change = Callable[[xr.Dataset], xr.Dataset]


@pytest.fixture(scope="module")
def data() -> xr.Dataset:
    return load_case("enumerated").data


def put(name: str, value: float, **labels: object) -> Change:
    def change(data: xr.Dataset) -> xr.Dataset:
        array = data[name].copy(deep=True)
        array.loc[labels] = value
        return data.assign({name: array})

    return change


def unit(name: str, units: str) -> Change:
    return lambda data: data.assign({name: data[name].assign_attrs(units=units)})


def without_a_hub(data: xr.Dataset) -> xr.Dataset:
    return data.assign(distance=data.distance.isel(hub=[0]).reindex(hub=data.hub))


SHOCKS = ("shock", "shock_high", "shock_low")
MISTAKES: dict[str, tuple[Change, str]] = {
    "NaN shock": (put("shock", np.nan, scenario=1, node="3", time=2), "['shock']: NaN at scenario=1, node=3, time=2"),
    "kilowatt": (unit("shock", "kW"), "['shock']: unit is 'kW', 'MW' is needed"),
    "hub without distance": (without_a_hub, "['distance']: NaN at supplier=a, hub=k; supplier=b, hub=k"),
    "probabilities": (
        put("probability", 0.45, scenario=0),
        "['probability']: probabilities must sum to 1, they sum to 1.1",
    ),
    "T beyond the horizon": (
        put("stabilise_within", 5, node="3"),
        "['stabilise_within']: no step starts at or after T_i",
    ),
    "T in the last step": (
        put("stabilise_within", 0.6, node="3"),
        "['stabilise_within']: no step starts at or after T_i",
    ),
    "left out": (lambda data: data.drop_vars("stock"), "['stock']: missing"),
    "unknown node": (lambda data: data.assign_coords(node=["3", "9"]), "['node']: 9 is no bus of the feeder"),
    "drop beyond the load": (put("shock_low", 0.1, scenario=0, node="4"), "['shock_high']: the mean lies outside"),
    "shock where there is no supply": (
        lambda data: data.assign({name: put(name, 0.2, scenario=2, node="3", time=0)(data)[name] for name in SHOCKS}),
        "['shock']: there is a shock where the bus is cut off: scenario=2, node=3",
    ),
    "capacitor cut off where no node is": (
        lambda data: put("energised", 0, scenario=1, bus="2")(put("base_reactive", -0.1, bus="2")(data)),
        "['node']: bus 2 has load and is cut off in some scenario, but is no node",
    ),
    "required and not usable": (
        put("usable", 0, scenario=0, node="3", fcm="battery"),
        "['usable']: fewer than required at scenario=0, node=3, fcm=battery",
    ),
    "usable where nothing happens": (
        put("usable", 1, scenario=0, node="4", fcm="battery"),
        "['usable']: modules are usable where nothing happens: scenario=0, node=4, fcm=battery",
    ),
    "more than is missed": (
        lambda data: data.assign(shortfall_by_technology=((), 1, {"units": "1"})),
        "['usable']: more than required at scenario=2, node=3, fcm=battery",
    ),
    "hubs": (put("hub_minimum", 3), "['hub_minimum']: 3 hubs at least and 2 at most contradict each other"),
    "sponge": (put("absorbs", 1, fcm="generator"), "['absorbs']: absorbs without being a store: fcm=generator"),
    "voltage": (put("v_base", 0.85, bus="4"), "['v_base']: 1 buses violate their limits before the event"),
    "rating": (put("rating", 0.5, line="1-2"), "['rating']: before the event over 96.6% of the rating is taken"),
}


def test_case_is_in_order(data: xr.Dataset) -> None:
    assert [finding for finding in check(data) if finding.severity == "error"] == []


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_found(data: xr.Dataset, name: str) -> None:
    change, message = MISTAKES[name]
    with pytest.raises(InputError) as caught:
        demand_shock.program(change(data))
    told = [str(finding) for finding in caught.value.findings if finding.severity == "error"]
    assert f"data{message}" in told[0], told
    assert len(told) == 1


def test_all_mistakes_are_told_at_once(data: xr.Dataset) -> None:
    wrong = unit("power", "kW")(put("shock", np.nan, scenario=0, node="4", time=0)(data)).drop_vars("stock")
    with pytest.raises(InputError) as caught:
        demand_shock.program(put("hub_minimum", 3)(wrong))
    assert {finding.where for finding in caught.value.findings} == {
        f"data['{name}']" for name in ("shock", "power", "stock", "hub_minimum")
    }
