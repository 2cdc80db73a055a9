"""Minimal fleets, against cases worked by hand and against dispatch by an independent linear program."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import xarray as xr
from cases.loader import load_case
from fcm.technologies import FCM, TECHNOLOGIES, changed
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog

from drofcm.core.errors import DrofcmWarning
from drofcm.fcm import fleets
from drofcm.fcm.fleets import minimal_fleets, smallest_covers
from drofcm.problems import demand_shock
from drofcm.problems.demand_shock_data import derive

STEP = [0.5, 0.5, 1.0]
BAND = 0.05
LATE = np.array([False, True, True])  # the node is to be stable from the second step on


def case(imbalance: list[float], **changes: Any) -> xr.Dataset:
    """One node, three technologies that are all there at once, three steps; the supply follows up to 0.2 MW."""
    data = xr.Dataset(
        {
            "imbalance": (("scenario", "node", "time"), [[imbalance]]),
            "node_energised": (("scenario", "node"), [[1.0]]),
            "supply_ramp": ("node", [10.0]),
            "supply_headroom": ("node", [0.2]),
            "step_length": ("time", STEP),
            "usable": (("scenario", "node", "fcm"), [[[3.0, 1.0, 3.0]]]),
            "stock": (("supplier", "fcm"), [[9.0, 9.0, 9.0]]),
            "power": ("fcm", [0.5, 0.8, 0.1]),
            "energy": ("fcm", [2.0, 4.0, 1.0]),
            **TECHNOLOGIES,
        },
        coords={"scenario": [0], "node": ["2"], "time": range(len(STEP)), "fcm": FCM, "supplier": ["works"]},
    )
    return changed(data, **changes)


def found(data: xr.Dataset, available: npt.ArrayLike = True) -> set[tuple[int, ...]] | None:
    """The minimal fleets; None if the node needs none."""
    late = xr.DataArray(LATE, dims="time")
    follow = data["supply_headroom"]
    here = np.broadcast_to(available, (1, 1, len(FCM), len(STEP)))
    result = minimal_fleets(
        data,
        (data["imbalance"] - follow - BAND).clip(min=0).where(late, 0),
        (-data["imbalance"] - follow - BAND).clip(min=0).where(late, 0),
        xr.DataArray(here, dims=("scenario", "node", "fcm", "time")),
    ).isel(scenario=0, node=0)
    if not result["fleet_needed"]:
        return None
    fleets = result["minimal_fleet"].values[result["alternative_exists"].values]
    return {tuple(int(count) for count in fleet) for fleet in fleets}


def test_power_decides_when_energy_is_ample() -> None:
    # 0.95 - 0.2 - 0.05 = 0.7 MW: two batteries, a generator, or one battery and two contracts
    plenty = case([0, 0.95, 0], energy=[9.0, 9.0, 9.0])
    assert found(plenty) == {(2, 0, 0), (0, 1, 0), (1, 0, 2)}


def test_energy_decides_when_power_is_ample() -> None:
    # 0.4 MW over 1.5 h are 0.6 MWh; a battery brings 0.6 x 2 x 0.5 = 0.6 MWh and may take up 0.2 MW before
    assert found(case([0.65, 0.65, 0.65], power=[9.0, 9.0, 9.0], energy=[2.0, 0.3, 0.2])) == {
        (1, 0, 0),
        (0, 1, 2),
        (0, 0, 3),
    }


def test_what_a_store_takes_up_before_counts() -> None:
    # the need of 0.6 MWh less 0.1 MWh that the supply can charge in the first half hour, and 0.25 MWh of a drop
    stores_only = {"usable": [9.0, 0.0, 0.0], "power": [9.0, 9.0, 9.0], "energy": [0.5, 4.0, 1.0]}
    assert found(case([0.65, 0.65, 0.65], **stores_only)) == {(4, 0, 0)}  # 0.5 / 0.15, and 0.6 / 0.25 when full
    assert found(case([-0.5, 0.65, 0.65], **stores_only)) == {(3, 0, 0)}  # 0.25 / 0.15, and 0.6 / 0.25 when full


def test_a_drop_needs_what_absorbs() -> None:
    # 0.75 - 0.2 - 0.05 = 0.5 MW over an hour; a battery of 0.3 MWh without losses takes up 0.3 MWh
    assert found(case([0, 0, -0.75], energy=[0.3, 4.0, 1.0], eta_discharge=1.0, eta_charge=1.0)) == {(2, 0, 0)}


def test_a_store_that_charges_and_discharges_burns_power() -> None:
    # 0.3 MW over an hour; an empty battery of 0.12 MWh takes 0.4 MWh, gives back 0.1 and is full: 0.8 x 0.4 - 0.1 / 0.5
    assert found(case([0, 0, -0.55], energy=[0.12, 4.0, 1.0])) == {(1, 0, 0)}
    assert found(case([0, 0, -0.56], energy=[0.12, 4.0, 1.0])) == {(2, 0, 0)}


def test_who_comes_too_late_does_not_count() -> None:
    here = np.ones((1, 1, 3, 3), dtype=bool)
    here[0, 0, 1, :2] = False  # the generator is there from the third step on
    assert found(case([0, 0.95, 0.95], energy=[9.0, 9.0, 9.0]), here) == {(2, 0, 0), (1, 0, 2)}


def test_stock_limits_the_fleet() -> None:
    assert found(case([0, 0.95, 0], energy=9.0, stock=[1.0, 0.0, 9.0])) == {(1, 0, 2)}


@pytest.mark.parametrize("imbalance", [[0.9, 0.2, 0.1], [0.9, 0.25, -0.25]])
def test_supply_alone_is_enough(imbalance: list[float]) -> None:
    assert found(case(imbalance)) is None


def test_nothing_is_enough() -> None:
    assert found(case([0, 9.0, 0])) == set()


def can_be_stabilised(data: xr.Dataset, fleet: npt.NDArray[np.int64]) -> bool:
    """Whether rows (10) to (12) without ramps and the balance of A.3 have a solution with u = 1, for whole modules."""
    own = {name: data[name].values.ravel() for name in data.data_vars}
    steps, kinds = len(STEP), len(FCM)
    # columns per step: charge, output and state of each technology, then follow-up, unserved, unabsorbed
    width = 3 * kinds + 3
    equal, right, bounds = [], [], []
    energy_rows = [np.zeros(width * steps) for _ in range(kinds)]
    power_rows = []
    for t, length in enumerate(STEP):
        at = width * t
        balance = np.zeros(width * steps)
        balance[at : at + kinds] = -1
        balance[at + kinds : at + 2 * kinds] = 1
        balance[at + 3 * kinds : at + width] = [1, 1, -1]
        equal.append(balance)
        right.append(own["imbalance"][t])
        for k in range(kinds):
            if own["stores"][k]:
                state = np.zeros(width * steps)
                state[at + 2 * kinds + k] = 1
                state[at + k] = -length * own["eta_charge"][k]
                state[at + kinds + k] = length / own["eta_discharge"][k]
                if t:
                    state[at - width + 2 * kinds + k] = -1
                equal.append(state)
                right.append(0 if t else own["initial_soc"][k] * own["energy"][k] * fleet[k])
            else:
                energy_rows[k][at + kinds + k] = length
            both = np.zeros(width * steps)
            both[[at + k, at + kinds + k]] = 1
            power_rows.append((both, own["power"][k] * fleet[k]))
        bounds += [(0, None if own["stores"][k] else 0) for k in range(kinds)]
        bounds += [(0, None)] * kinds
        bounds += [(0, own["energy"][k] * fleet[k] if own["stores"][k] else 0) for k in range(kinds)]
        surge, drop = max(own["imbalance"][t], 0), max(-own["imbalance"][t], 0)
        bounds += [(-0.2, 0.2), (0, min(surge, BAND) if LATE[t] else surge), (0, BAND if LATE[t] else drop + 9)]
    upper = [row for row, _ in power_rows] + energy_rows
    limit = [value for _, value in power_rows] + [own["energy"][k] * fleet[k] for k in range(kinds)]
    solution = linprog(np.zeros(width * steps), upper, limit, equal, right, bounds, method="highs")
    assert solution.status in (0, 2)
    return bool(solution.status == 0)


@settings(max_examples=25, deadline=None, phases=[Phase.explicit, Phase.reuse, Phase.generate])
@given(
    imbalance=st.lists(st.floats(-1.5, 1.5).map(lambda x: round(x, 2)), min_size=3, max_size=3),
    energy=st.lists(st.floats(0.1, 2.0).map(lambda x: round(x, 2)), min_size=3, max_size=3),
    initial_soc=st.floats(0.0, 0.8).map(lambda x: round(x, 2)),
)
def test_whatever_can_be_stabilised_has_a_minimal_fleet(
    imbalance: list[float], energy: list[float], initial_soc: float
) -> None:
    data = case(imbalance, energy=energy, initial_soc=[initial_soc, 0, 0], usable=[2.0, 1.0, 2.0])
    minimal = found(data)
    for fleet in product(range(3), range(2), range(3)):
        counts = np.array(fleet)
        if minimal is not None and not any((counts >= one).all() for one in minimal):
            assert not can_be_stabilised(data, counts), f"{fleet} stabilises, and is above none of {minimal}"


def test_the_program_of_the_test_knows_what_is_enough() -> None:
    """The independent program would otherwise prove nothing."""
    surge = case([0, 0.95, 0], energy=9.0)
    assert can_be_stabilised(surge, np.array([2, 0, 0]))
    assert not can_be_stabilised(surge, np.array([1, 0, 1]))


# ---- the minimal ones, whatever they are to cover -------------------------------------------------------------------


def tried_out(rows: npt.NDArray[np.float64], least: npt.NDArray[np.float64], most: list[int]) -> set[tuple[int, ...]]:
    """By trying every number of every column."""
    enough = {n for n in product(*(range(top + 1) for top in most)) if (rows @ np.array(n) >= least - 1e-9).all()}
    return {n for n in enough if not any(tuple(np.subtract(n, one)) in enough for one in np.eye(len(most), dtype=int))}


@settings(max_examples=200, deadline=None, phases=[Phase.explicit, Phase.reuse, Phase.generate])
@given(seed=st.integers(0, 2**32 - 1), count=st.integers(1, 6), columns=st.integers(1, 4))
def test_smallest_covers_are_those_that_trying_finds(seed: int, count: int, columns: int) -> None:
    rng = np.random.default_rng(seed)
    rows = rng.integers(0, 6, (count, columns)) * rng.choice([0.1, 0.25, 1.0])
    least = rng.integers(0, 12, count) * 0.25
    most = rng.integers(0, 6, columns)
    found = smallest_covers(rows, least, most, limit=10_000)
    assert found is not None
    assert sorted(map(tuple, found.tolist())) == sorted(tried_out(rows, least, most.tolist()))


def test_nothing_to_cover_takes_nothing() -> None:
    found = smallest_covers(np.ones((1, 2)), np.zeros(1), np.array([3, 3]), limit=10)
    assert found is not None
    assert found.tolist() == [[0, 0]]


def test_ranges_that_could_not_be_looked_through_give_few_covers() -> None:
    """A trillion fleets lie in the ranges; ten modules of one kind, or of another, are all that it takes."""
    rows, most = 0.1 * np.eye(1, 6).repeat(2, axis=0), np.full(6, 100)
    rows[1] = [0.1, 1.0, 0, 0, 0, 0]
    found = smallest_covers(rows, np.array([0.0, 1.0]), most, limit=10)
    assert found is not None
    assert sorted(map(tuple, found.tolist())) == [(0, 1, 0, 0, 0, 0), (10, 0, 0, 0, 0, 0)]


def test_more_covers_than_the_limit_are_none_at_all() -> None:
    rows, least, most = np.ones((1, 3)), np.array([3.0]), np.array([3, 3, 3])
    every = smallest_covers(rows, least, most, limit=10)
    assert every is not None
    assert len(every) == 10  # three of three kinds
    assert smallest_covers(rows, least, most, limit=9) is None


def test_it_is_said_at_how_many_nodes_fleets_are_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    data = load_case("enumerated").data
    listed = derive(data)
    having = listed.alternative_exists.any("alternative")
    assert having.any()
    assert not listed.fleets_left_out.any()
    monkeypatch.setattr(fleets, "_MOST_FLEETS", 0)
    with pytest.warns(DrofcmWarning, match=f"at {int(having.sum())} of {int(listed.affected.sum())} nodes of events"):
        demand_shock.program(data)
    without = derive(data)
    xr.testing.assert_equal(without.fleets_left_out, having)
    # a node that no fleet can stabilise is known all the same
    xr.testing.assert_equal(without.fleet_needed, listed.fleet_needed & ~having)
