"""Storms, plants, surges and matrices in one ensemble; the same ensemble whatever the chunks and workers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import xarray as xr

from drofcm.core.errors import InputError
from drofcm.scenarios.combined import Storm, combined_events
from drofcm.scenarios.ensemble import check
from drofcm.scenarios.outages import FragilityCurve
from drofcm.scenarios.plants import Plants, clear_share, lost_output
from drofcm.scenarios.shocks import demand_shocks

if TYPE_CHECKING:
    from distributed import Client

LINES, SITES, HUBS = ["1-2", "2-3", "2-4"], ["3", "4"], ["h1", "h2"]
SHARES = {"surge": 0.25, "drop": 0.25, "storm": 0.25, "storm_surge": 0.25}
PLANTS = Plants(("3", "4", "5"), ("dg", "pv", "pv"), np.array([0.4, 0.3, 0.2]))


def over(values: object, unit: str, **coords: object) -> xr.DataArray:
    return xr.DataArray(values, dims=tuple(coords), coords=coords, attrs={"units": unit})


def storm(**changes: Any) -> Storm:
    base = {
        "lines": ("2-3",),
        **{"line_km": np.array([1.0]), "line_x_km": np.array([0.0]), "line_y_km": np.array([0.0])},
        **{"hub_x_km": np.array([3.0, 8.0]), "hub_y_km": np.array([0.0, 0.0])},
    }
    return Storm(**{**base, **changes})


def study(**changes: Any) -> dict[str, Any]:
    """Line 1-2 feeds everything, 2-3 bus 3, 2-4 bus 4; bus 5 hangs on 2-3 too."""
    base = {
        "rating": over([1.0, 2.0], "MW", node=SITES),
        "running": over([0.5, 0.5], "MW", node=SITES),
        "step_length": over([1 / 60] * 10 + [50 / 60], "h", time=range(11)),
        "shares": SHARES,
        "fault_lines": ["2-3"],
        "downstream": over([[1, 1, 1], [1, 0, 1], [0, 1, 0]], "1", line=LINES, node=["3", "4", "5"]),
        **{"seed": 5, "plants": PLANTS, "storm": storm(), "hubs": HUBS, "hub_outage_probability": 0.1},
    }
    return {**base, **changes}


@pytest.fixture(scope="module")
def ensemble() -> xr.Dataset:
    return combined_events(scenarios=80, **study())


def of_class(ensemble: xr.Dataset, *names: str) -> xr.Dataset:
    return ensemble.isel(scenario=np.flatnonzero(np.isin(ensemble["event_class"], names)))


def test_the_ensemble_is_sound(ensemble: xr.Dataset) -> None:
    assert check(ensemble) == []
    assert list(ensemble["node"].values) == ["3", "4", "5"]
    counts = dict(zip(*np.unique(ensemble["event_class"], return_counts=True), strict=True))
    assert counts == dict.fromkeys(sorted(SHARES), 20)


def test_what_has_no_storm_and_no_plant_is_as_without_them(ensemble: xr.Dataset) -> None:
    """The shocks of a surge or a drop are those of `demand_shocks`, bit for bit."""
    alone = combined_events(scenarios=80, **study(plants=None))
    kept = {**study(), "shares": {"surge": 0.5, "drop": 0.5}}
    for name in ("plants", "storm", "hubs", "hub_outage_probability"):
        kept.pop(name)
    same = combined_events(scenarios=12, **{**study(plants=None, storm=None), "shares": kept["shares"]})
    plain = demand_shocks(scenarios=12, lines=LINES, **kept)
    for name in ("shock", "shock_high", "shock_low", "line_out"):
        assert np.array_equal(same[name], plain[name])
    assert not np.array_equal(alone["shock"], ensemble["shock"].sel(node=SITES))


def test_a_bus_that_is_cut_off_loses_its_generation_and_has_no_other_shock(ensemble: xr.Dataset) -> None:
    hit = ensemble["line_out"].sel(line="2-3") == 1
    assert 2 < int(hit.sum()) < 78
    dark = ensemble.isel(scenario=np.flatnonzero(hit))
    for name in ("shock", "shock_high", "shock_low"):
        assert dark[name].sel(node="3").values == pytest.approx(0.4)
        assert dark[name].sel(node="5").values == pytest.approx(0.2)


def test_plants_lose_at_most_their_output(ensemble: xr.Dataset) -> None:
    at_5 = ensemble["shock"].sel(node="5")
    assert float(at_5.min()) >= 0
    assert float(at_5.max()) <= 0.2 + 1e-12
    # a storm darkens the sky for good, so that three quarters and more of PV is gone at the end of the hour
    assert float(of_class(ensemble, "storm", "storm_surge")["shock_high"].sel(node="5").max("time").min()) > 0.6 * 0.2


def test_storms_hit_hubs_and_roads_and_nothing_else_does(ensemble: xr.Dataset) -> None:
    fair, rough = of_class(ensemble, "surge", "drop"), of_class(ensemble, "storm", "storm_surge")
    assert (fair["travel_factor"] == 1).all()
    assert (fair["line_out"] == 0).all()
    assert float(rough["travel_factor"].min()) >= 1
    assert 1.3 < float(rough["travel_factor"].mean()) < 2.0
    calm = combined_events(scenarios=80, **study(storm=storm(hub_curve=FragilityCurve(1e6, 0.1))))
    # with hubs that withstand anything, only the outages of their own are left
    assert float((calm["hub_available"] - ensemble["hub_available"]).min()) >= 0
    assert bool((calm["hub_available"] == ensemble["hub_available"]).isel(scenario=rough["scenario"]).all()) is False
    assert np.array_equal(of_class(calm, "surge")["hub_available"], of_class(ensemble, "surge")["hub_available"])


def test_surges_meet_storms_only_where_they_should(ensemble: xr.Dataset) -> None:
    lit = ensemble["line_out"].sel(line="2-3") == 0
    alone = of_class(ensemble.isel(scenario=np.flatnonzero(lit)), "storm")
    # at bus 4 there is 0.3 MW of PV; what goes beyond is a surge
    assert float(alone["shock_high"].sel(node="4").max()) <= 0.3 + 1e-12
    assert float(of_class(ensemble, "storm_surge")["shock_high"].sel(node="4").max()) > 0.5


def test_stronger_curves_fail_less() -> None:
    def rate(median: float) -> float:
        curve = FragilityCurve(median, 0.2)
        events = combined_events(scenarios=60, **study(shares={"storm": 1.0}, storm=storm(line_curve=curve)))
        return float(events["line_out"].sel(line="2-3").mean())

    weak, usual, strong = rate(5.0), rate(32.0), rate(500.0)
    assert (weak, strong) == (1, 0)
    assert 0.25 < usual < 0.75  # storms of 32 m/s at the median against one kilometre that half fails at 32 m/s


@pytest.mark.parametrize("chunk", [1, 7, 80])
def test_chunks_do_not_matter(ensemble: xr.Dataset, chunk: int) -> None:
    assert combined_events(scenarios=80, chunk=chunk, **study()).identical(ensemble)


def test_a_longer_ensemble_begins_with_the_shorter_one(ensemble: xr.Dataset) -> None:
    fewer = combined_events(scenarios=30, **study())
    assert fewer.drop_vars("probability").identical(ensemble.isel(scenario=slice(30)).drop_vars("probability"))


@pytest.mark.slow
def test_workers_do_not_matter(ensemble: xr.Dataset, client: Client) -> None:
    there = combined_events(scenarios=12, client=client, chunk=5, **study())
    assert there.drop_vars("probability").identical(ensemble.isel(scenario=slice(12)).drop_vars("probability"))
    plain = {name: value for name, value in study().items() if name not in ("plants", "storm", "hubs")}
    plain = {**plain, "lines": LINES, "shares": {"surge": 0.6, "fault": 0.4}}
    plain.pop("hub_outage_probability")
    here = demand_shocks(scenarios=8, **plain)
    assert demand_shocks(scenarios=8, client=client, chunk=3, **plain).identical(here)


def test_streams_of_plants_storms_and_loads_are_apart(ensemble: xr.Dataset) -> None:
    """More plants change no surge and no line; another storm changes no sky."""
    other = combined_events(scenarios=80, **study(plants=Plants(("5",), ("pv",), np.array([0.1]))))
    assert np.array_equal(other["line_out"], ensemble["line_out"])
    assert np.array_equal(other["travel_factor"], ensemble["travel_factor"])
    calm = combined_events(scenarios=80, **study(storm=storm(line_curve=FragilityCurve(1e6, 0.1))))
    lit = np.flatnonzero(ensemble["line_out"].sel(line="2-3") == 0)
    assert np.array_equal(calm["shock"].isel(scenario=lit), ensemble["shock"].isel(scenario=lit))
    # and across scenarios: what happens in one says nothing about the next
    strength = of_class(ensemble, "storm", "storm_surge")["travel_factor"].mean("hub").values
    assert abs(np.corrcoef(strength[1:], strength[:-1])[0, 1]) < 0.4


def test_a_matrix_says_what_happens_where() -> None:
    names = {"event": ["surge", "line_fault", "dg_trip", "pv_loss", "hub_out"], "location": ["3", "4", "2-3", "h2"]}
    table = np.zeros((5, 4))
    table[0, 1], table[1, 2], table[2, 0], table[3, 1], table[4, 3] = 0.5, 0.3, 0.4, 0.4, 0.3
    matrix = xr.DataArray(table, dims=tuple(names), coords=names)
    events = combined_events(scenarios=60, **study(shares=None, matrix=matrix, storm=None, hub_outage_probability=0.0))
    assert check(events) == []
    assert set(events["event_class"].values) <= {"demand", "supply", "demand_and_supply"}
    assert (events["line_out"].sel(line=["1-2", "2-4"]) == 0).all()
    assert (events["hub_available"].sel(hub="h1") == 1).all()
    assert 0.4 < float(events["hub_available"].sel(hub="h2").mean()) < 0.85
    lit = events.isel(scenario=np.flatnonzero(events["line_out"].sel(line="2-3") == 0))
    assert float(lit["shock_high"].sel(node="3").max()) == pytest.approx(0.4)  # its generator, no surge
    assert float(lit["shock_high"].sel(node="5").max()) == 0  # its PV is not in the matrix
    demand = events.isel(scenario=np.flatnonzero(events["event_class"] == "demand"))
    assert float(demand["shock_high"].sel(node="4").min()) > 0.2


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"storm": None}, "share is on storm, storm_surge, but no line is exposed"),
        ({"storm": storm(lines=("2-9",))}, "storm.lines: line '2-9' does not exist"),
        ({"hubs": ["h1"]}, "places 2 hubs, the study has 1"),
        ({"shares": {**SHARES, "strom": 0.1}}, "unknown class of event (did you mean 'storm'?)"),
        ({"shares": None}, "neither is given"),
        ({"shares": {**SHARES, "surge": 0.5}}, "sum to 1.25, must sum to 1"),
        ({"hub_outage_probability": 1.5}, "must be within 0 and 1, got 1.5"),
        ({"rating": over([0.0, 0.0], "MW", node=SITES)}, "no node has a rating above 0 MW"),
        ({"plants": Plants(("9",), ("pv",), np.array([0.1]))}, "node 9 is missing"),
        ({"chunk": 0}, "chunk: must be a whole number of at least 1, got 0"),
    ],
)
def test_bad_input_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as caught:
        combined_events(scenarios=4, **study(**changes))
    assert message in str(caught.value)


def test_places_where_an_event_of_the_matrix_cannot_happen() -> None:
    names = {"event": ["surge", "line_falt", "dg_trip"], "location": ["5", "4"]}
    matrix = xr.DataArray(np.full((3, 2), 0.2), dims=tuple(names), coords=names)
    with pytest.raises(InputError) as caught:
        combined_events(scenarios=4, **study(shares=None, matrix=matrix))
    text = str(caught.value)
    assert "matrix[event='surge']: cannot happen at 5 (it can at: 3, 4)" in text
    assert "unknown event (did you mean 'line_fault'?)" in text
    assert "matrix[event='dg_trip']: cannot happen at 5, 4 (it can at: 3)" in text


def test_plants_that_cannot_be() -> None:
    with pytest.raises(InputError) as caught:
        Plants(("3", "4"), ("wind", "pv"), np.array([-1.0, 1.0]))
    assert len(caught.value.findings) == 2
    with pytest.raises(InputError, match="2 nodes, 1 kinds, 1 outputs do not match"):
        Plants(("3", "4"), ("pv",), np.array([1.0]))


def test_pv_waits_five_minutes_and_a_generator_longer() -> None:
    plants = Plants(("1", "2"), ("pv", "dg"), np.array([1.0, 1.0]))
    for seed in range(5):
        lost = lost_output(plants, 7200, tripped=np.array([True, True]), sky="clear", rng=np.random.default_rng(seed))
        trip = [int(np.argmax(row > 0)) for row in lost]
        assert trip[0] == trip[1] <= 82
        gone = [int((row == 1).sum()) for row in lost]
        assert gone[0] == pytest.approx(300, abs=2)
        assert gone[1] >= 600
        assert lost[0, trip[0] + 610 :].max() == 0


@pytest.mark.parametrize("sky", ["clear", "passing", "storm"])
def test_the_sky_begins_in_the_sun(sky: Any) -> None:
    shares = np.stack([clear_share(3600, sky, np.random.default_rng(seed)) for seed in range(30)])
    assert shares[:, 0] == pytest.approx(1, abs=0.05)
    assert shares.min() >= 0
    assert shares.max() <= 1 + 1e-12
    assert shares[:, -1].mean() == pytest.approx({"clear": 1.0, "passing": 0.83, "storm": 0.165}[sky], abs=0.12)
    assert np.abs(np.diff(shares, axis=1)).max() <= {"clear": 0.0, "passing": 0.05, "storm": 0.005}[sky]
