"""Modules a node can use, against cases worked by hand (FORMULATION A.3)."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import xarray as xr
from fcm.technologies import FCM, TECHNOLOGIES, changed

from drofcm.fcm.requirement import imbalance, requirement, supply_follow_up, usable

STEP = [0.25, 0.25, 0.5, 1.0]


def case(
    mean: list[float], high: list[float] | None = None, low: list[float] | None = None, **changes: Any
) -> xr.Dataset:
    """One node with 1 MW of base load, three technologies, one hub, four steps that add up to 2 h.

    Supply follows 1 MW/h up to 0.5 MW. All technologies ramp fully within half an hour, but the generator arrives after
    one hour, twice the time in which the node is to be stable: its weight is one half.
    """

    def shock(values: list[float]) -> tuple[tuple[str, ...], list[list[list[float]]]]:
        return ("scenario", "node", "time"), [[values]]

    data = xr.Dataset(
        {
            "shock": shock(mean),
            "shock_high": shock(high or mean),
            "shock_low": shock(low or mean),
            "energised": (("scenario", "bus"), [[1.0, 1.0]]),
            "base_load": ("bus", [0.0, 1.0]),
            "supply_ramp": ("node", [1.0]),
            "supply_headroom": ("node", [0.5]),
            "stabilise_within": ("node", [0.5]),
            "step_length": ("time", STEP),
            "power": ("fcm", [0.5, 1.0, 0.1]),
            "energy": ("fcm", [1.0, 8.0, 0.3]),
            "ramp": ("fcm", [60.0, 2.0, 0.2]),
            **TECHNOLOGIES,
            "deployment_time": ("fcm", [0.1, 0.6, 0.05]),
            "travel_time": (("hub", "node"), [[0.4]]),
        },
        coords={"scenario": [0], "node": ["2"], "bus": ["1", "2"], "time": range(4), "fcm": FCM, "hub": ["yard"]},
    )
    return changed(data, **changes)


def modules(data: xr.Dataset, **options: float) -> list[float]:
    return requirement(data, **options).squeeze(["scenario", "node"], drop=True).sel(fcm=FCM).values.tolist()


# ---- supply ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shock", "follow"),
    [
        # 0.25 MW by the end of the first quarter of an hour, 0.5 by the end of the second, then the headroom
        ([1.2, 1.2, 1.2, 1.2], [0.25, 0.5, 0.5, 0.5]),
        ([-0.9, -0.9, -0.9, -0.9], [-0.25, -0.5, -0.5, -0.5]),
        # never more than is asked for, and back down no faster than it came
        ([0.1, 0.4, 0.4, 0.4], [0.1, 0.35, 0.4, 0.4]),
        ([1.2, 1.2, 0.0, 0.0], [0.25, 0.5, 0.0, 0.0]),
        ([0.4, -0.4, -0.4, 0.0], [0.25, 0.0, -0.4, 0.0]),
        ([0.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0]),
    ],
)
def test_supply_follows_as_closely_as_it_can(shock: list[float], follow: list[float]) -> None:
    np.testing.assert_allclose(supply_follow_up(case(shock)).squeeze(), follow, atol=1e-12)


def test_supply_of_a_bus_that_is_cut_off_follows_nothing() -> None:
    data = case([0.0] * 4, energised=[[1.0, 0.0]])
    np.testing.assert_array_equal(imbalance(data).squeeze(), 1.0)
    np.testing.assert_array_equal(supply_follow_up(data).squeeze(), 0.0)


# ---- the requirement ------------------------------------------------------------------------------------------------


def test_surge_by_power() -> None:
    """A peak of 2.25 MW in the first step against 0.25 MW of supply: 2 MW are missing.

    Weights: battery 1, generator min(1, 2 x 0.5 / 1) x 0.5 / 1 = 0.5, demand response min(1, 0.2 x 0.5 / 0.1) = 1;
    shares 0.4, 0.2, 0.4 of 2 MW are 1.6, 0.4 and 8 modules by power. The mean is what supply follows: no energy.
    """
    # 1.6, 0.4, 8.0 add up to 10: the battery has the largest fraction
    assert modules(case([0.25, 0.5, 0.5, 0.5], high=[2.25, 0.5, 0.5, 0.5]), margin=1) == [2, 0, 8]
    # 2.0, 0.5, 10.0 add up to 12.5: the generator gets the one that is left
    assert modules(case([0.25, 0.5, 0.5, 0.5], high=[2.25, 0.5, 0.5, 0.5]), margin=1.25) == [2, 1, 10]


def test_surge_by_energy() -> None:
    """0.5 MW beyond the headroom for the last hour, 1.0 MW before it: energy asks for more than power.

    Supply gives 0.25, 0.5, 0.5, 0.5. Missing 1.0, 0.5, 0.5, 0.5 MW, so 0.25 + 0.125 + 0.25 + 0.5 = 1.125 MWh.
    Battery: power 0.4 x 1.0 / 0.5 = 0.8, energy 0.4 x 1.125 / (1.0 x 0.6 x 0.5) = 1.5.
    Generator: power 0.2 x 1.0 / 1.0 = 0.2, energy 0.2 x 1.125 / 8 = 0.028.
    Demand response: power 0.4 x 1.0 / 0.1 = 4, energy 0.4 x 1.125 / 0.3 = 1.5.
    """
    # 1.5, 0.2, 4.0 add up to 5.7: one is left for the battery
    assert modules(case([1.25, 1.0, 1.0, 1.0]), margin=1) == [2, 0, 4]
    # 15.0, 2.0, 40.0
    assert modules(case([1.25, 1.0, 1.0, 1.0]), margin=10) == [15, 2, 40]


def test_energy_asks_for_at_most_three_times_the_power() -> None:
    """A battery of 0.1 MWh: by energy 0.4 x 1.125 / (0.1 x 0.6 x 0.5) = 15, by power 0.8, so 2.4."""
    data = case([1.25, 1.0, 1.0, 1.0], energy=[0.1, 8.0, 0.3])
    assert modules(data, margin=10) == [24, 2, 40]


def test_drop_asks_only_for_what_absorbs() -> None:
    """The whole of a drop of 0.95 MW in the first step goes to the battery.

    Supply gives -0.25, -0.5, -0.5, -0.5, so 0.7, 0.45, 0.3, 0.1 MW are left: by power 0.7 / 0.5 = 1.4. Energy:
    0.175 + 0.1125 + 0.15 + 0.1 = 0.5375 MWh into 1.0 x 0.4 / 0.8 = 0.5 MWh: 1.075.
    """
    data = case([-0.95, -0.95, -0.8, -0.6])
    assert modules(data, margin=1) == [2, 0, 0]
    assert modules(data, margin=5) == [7, 0, 0]


def test_drop_by_energy() -> None:
    """0.4 MW less room for energy: 0.5375 MWh into 0.5 x 0.4 / 0.8 = 0.25 MWh is 2.15, more than 1.4 by power."""
    data = case([-0.95, -0.95, -0.8, -0.6], energy=[0.5, 8.0, 0.3])
    assert modules(data, margin=20) == [43, 0, 0]


def test_surge_and_drop_take_the_larger() -> None:
    """Peak and trough within one step, around a mean that supply follows.

    Up: 1.0 MW, by power 0.8, 0.2, 4. Down: 1.5 MW, battery alone, 3.
    """
    data = case([0.25, 0.5, 0.5, 0.5], high=[1.25, 0.5, 0.5, 0.5], low=[-1.25, 0.5, 0.5, 0.5])
    assert modules(data, margin=5) == [15, 1, 20]


def test_bus_that_is_cut_off_needs_its_whole_load() -> None:
    """1 MW for 2 h, of which supply gives nothing.

    Battery: by power 0.8, by energy 0.4 x 2 / 0.3 = 2.667, at most 2.4. Generator: 0.2. Demand response: by power 4, by
    energy 0.4 x 2 / 0.3 = 2.667.
    """
    assert modules(case([0.0] * 4, energised=[[1.0, 0.0]]), margin=10) == [24, 2, 40]


def test_what_arrives_after_the_event_is_not_asked_for() -> None:
    """The generator takes three hours to deploy, the event lasts two: battery and demand response share by halves."""
    data = case([0.25, 0.5, 0.5, 0.5], high=[2.25, 0.5, 0.5, 0.5], deployment_time=[0.1, 3.0, 0.05])
    assert modules(data, margin=1) == [2, 0, 10]


def test_the_nearest_hub_counts() -> None:
    near = case([0.25, 0.5, 0.5, 0.5], high=[2.25, 0.5, 0.5, 0.5])
    far = near.assign_coords(hub=["far"]).assign(travel_time=near.travel_time.assign_coords(hub=["far"]) + 5)
    both = xr.concat([far, near], "hub", data_vars="minimal", coords="minimal", compat="override", join="outer")
    assert modules(both, margin=1.25) == modules(near, margin=1.25)


def test_nothing_happens_nothing_is_needed() -> None:
    assert modules(case([0.0] * 4), margin=3) == [0, 0, 0]


def test_supply_that_follows_alone_needs_nothing() -> None:
    assert modules(case([0.2, 0.4, 0.5, 0.5]), margin=3) == [0, 0, 0]


@pytest.mark.parametrize("seed", range(5))
def test_more_margin_never_asks_for_fewer_in_sum(seed: int) -> None:
    """The sum over technologies is the wanted sum rounded up; each technology is its own want rounded down or up."""
    rng = np.random.default_rng(seed)
    data = case(rng.uniform(-1, 1.5, 4).tolist())
    data["shock_high"] = data.shock + rng.uniform(0, 1, data.shock.shape)
    data["shock_low"] = data.shock - rng.uniform(0, 1, data.shock.shape)
    margins = (1.0, 1.1, 1.25, 1.5, 2.0, 4.0)
    counts = [requirement(data, margin) for margin in margins]
    for few, many in pairwise(counts):
        assert float(many.sum()) >= float(few.sum())
        assert bool((many >= few - 1).all())
    for count in counts:
        assert bool((count == count.round()).all())
        assert bool((count >= 0).all())
    # with ever more margin the share of a technology is that of its need
    need = requirement(data, 1e6) / 1e6
    for margin, count in zip(margins, counts, strict=True):
        assert float(abs(count - margin * need).max()) <= 1 + 1e-4
        assert float(count.sum()) == pytest.approx(np.ceil(float(need.sum()) * margin - 1e-4))


@pytest.mark.parametrize("margin", [0.99, 0.0, -1.0, np.nan])
def test_margin_below_one_is_refused(margin: float) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        requirement(case([1.0] * 4), margin)


def test_result_is_labelled() -> None:
    result = requirement(case([1.0] * 4), 1.25)
    assert result.dims == ("scenario", "node", "fcm")
    assert result.name == "requirement"
    assert result.attrs == {"units": "modules", "margin": 1.25}


# ---- what could be used alone ---------------------------------------------------------------------------------------


def alone(data: xr.Dataset, required: list[float] | None = None) -> list[float]:
    least = xr.DataArray(required or [0.0] * len(FCM), dims="fcm", coords={"fcm": FCM})
    return usable(data, least).squeeze(["scenario", "node"], drop=True).sel(fcm=FCM).values.tolist()


def test_usable_is_the_whole_need_of_each_technology() -> None:
    """Missing are at most 1.0 MW, and 1.125 MWh (see `test_surge_by_energy`).

    Battery: 1.125 / 0.3 = 3.75; generator: 1.0 / 1.0; demand response: 1.0 / 0.1.
    """
    assert alone(case([1.25, 1.0, 1.0, 1.0])) == [4, 1, 10]


def test_usable_by_energy_is_not_limited_by_power() -> None:
    """A battery of 0.1 MWh gives 0.03 MWh: 1.125 / 0.03 = 37.5, nineteen times what its power asks for."""
    assert alone(case([1.25, 1.0, 1.0, 1.0], energy=[0.1, 8.0, 0.3])) == [38, 1, 10]


def test_usable_in_a_drop_is_what_absorbs() -> None:
    """0.7 MW / 0.5 = 1.4 by power, 0.5375 MWh into 0.5 MWh by energy (see `test_drop_asks_only_for_what_absorbs`)."""
    assert alone(case([-0.95, -0.95, -0.8, -0.6])) == [2, 0, 0]


def test_slow_and_late_technologies_are_usable_all_the_same() -> None:
    """What weighs little in the share counts in full alone; what comes after the event, or not to this node, never."""
    surge = [1.25, 1.0, 1.0, 1.0]
    assert alone(case(surge, ramp=[0.01, 0.01, 0.01], deployment_time=[1.0, 1.0, 1.0])) == [4, 1, 10]
    assert alone(case(surge, deployment_time=[0.1, 3.0, 0.05])) == [4, 0, 10]
    elsewhere = case(surge).assign(placeable=(("fcm", "node"), [[1], [1], [0]]))
    assert alone(elsewhere) == [4, 1, 0]


def test_usable_is_never_less_than_required() -> None:
    assert alone(case([1.25, 1.0, 1.0, 1.0]), [5.0, 1.0, 2.0]) == [5, 1, 10]


def test_nothing_is_usable_where_nothing_happens() -> None:
    assert alone(case([0.0] * 4)) == [0, 0, 0]


@pytest.mark.parametrize("seed", range(5))
def test_another_technology_takes_nothing_from_what_is_usable(seed: int) -> None:
    """Shares shrink when a technology is added; what each could do alone does not."""
    rng = np.random.default_rng(seed)
    data = case(rng.uniform(-1, 1.5, 4).tolist())
    few = data.sel(fcm=FCM[:2])
    none = xr.zeros_like(data["power"])
    every, less = usable(data, none), usable(few, none.sel(fcm=FCM[:2]))
    xr.testing.assert_equal(every.sel(fcm=FCM[:2]), less)
    assert bool((every >= requirement(data)).all())
