"""Properties of the demand-shock ensemble."""

from __future__ import annotations

import itertools
import json
import tracemalloc
from typing import Any

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from drofcm.core.errors import InputError
from drofcm.scenarios.ensemble import aggregate, check
from drofcm.scenarios.events import EVENTS, Sites
from drofcm.scenarios.shocks import EVENT_CLASSES, demand_shocks, event_classes, shock_trace

NODES = ["4", "20", "23", "24", "25"]
RATING = [1.6, 1.2, 1.4, 2.0, 2.0]
SHARES = {"surge": 0.5, "training": 0.15, "drop": 0.2, "fault": 0.15}
LINES = ["1-2", "2-19", "6-26", "26-27"]
MINUTES = [1] * 15 + [5] * 3 + [15] * 2 + [30] * 2 + [60, 120, 180]
HOUR = 3600
WATT = 1e-6
"""MW to which changes of load are rounded."""


def at_nodes(values: list[float], nodes: list[str] | None = None) -> xr.DataArray:
    return xr.DataArray(values, dims="node", coords={"node": nodes or NODES}, attrs={"units": "MW"})


def steps(minutes: list[float] | None = None) -> xr.DataArray:
    hours = np.asarray(minutes or MINUTES) / 60
    return xr.DataArray(hours, dims="time", coords={"time": np.arange(len(hours))}, attrs={"units": "h"})


def study(**changes: Any) -> dict[str, Any]:
    """Arguments that `demand_shocks` and `shock_trace` share: the data centres of FORMULATION A.5."""
    base = {"rating": at_nodes(RATING), "running": at_nodes([0.5] * 5), "step_length": steps(), "shares": SHARES}
    return {**base, "fault_lines": ["2-19", "6-26"], "seed": 20261121, **changes}


@pytest.fixture(scope="module")
def ensemble() -> xr.Dataset:
    return demand_shocks(scenarios=20, lines=LINES, **study())


@pytest.fixture(scope="module")
def traces() -> list[xr.DataArray]:
    return [shock_trace(scenario=k, **study()) for k in range(20)]


def test_the_ensemble_is_sound(ensemble: xr.Dataset) -> None:
    assert check(ensemble) == []
    assert ensemble["shock"].dims == ("scenario", "node", "time")
    assert ensemble["probability"].values == pytest.approx(1 / 20)
    assert ensemble.attrs["seed"] == 20261121
    assert json.loads(ensemble.attrs["recipe"])["shares"] == SHARES
    assert ensemble["event_class"].dtype.kind == "U"


def test_a_shock_stays_between_running_load_and_rating(ensemble: xr.Dataset) -> None:
    assert (ensemble["shock_high"] <= at_nodes(RATING) + 1e-12).all()
    assert (ensemble["shock_low"] >= -0.5 - 1e-12).all()


@settings(max_examples=40)
@given(
    event=st.sampled_from(sorted(EVENTS)),
    seed=st.integers(0, 10_000),
    seconds=st.sampled_from([1, 7, 90, 1800]),
    rating=st.lists(st.sampled_from([0.0, 0.1, 2.0]), min_size=3, max_size=3),
    running=st.lists(st.sampled_from([0.0, 0.3, 5.0]), min_size=3, max_size=3),
)
def test_events_respect_the_bounds(
    event: str, seed: int, seconds: int, rating: list[float], running: list[float]
) -> None:
    sites = Sites(np.array(rating), np.array(running))
    change = EVENTS[event](sites, seconds, np.random.default_rng(seed))
    assert change.shape == (3, seconds)
    assert np.isfinite(change).all()
    assert (change <= sites.rating[:, None] + 1e-12).all()
    assert (change >= -sites.running[:, None] - 1e-12).all()
    assert {"surge": change >= 0, "drop": change <= 0}.get(event, np.array(True)).all()


def test_the_trace_is_the_draw_that_was_aggregated(ensemble: xr.Dataset, traces: list[xr.DataArray]) -> None:
    for k, trace in enumerate(traces):
        steps_of_trace = aggregate(trace.rename(event_class="kind"), steps())
        row = ensemble.sel(scenario=k)
        assert trace.sizes == {"node": 5, "second": 8 * HOUR}
        # both are rounded to a watt, the mean before and after
        np.testing.assert_allclose(steps_of_trace["mean"], row["shock"], rtol=0, atol=WATT)
        assert np.array_equal(steps_of_trace["high"], row["shock_high"])
        assert np.array_equal(steps_of_trace["low"], row["shock_low"])
        assert trace["event_class"].item() == row["event_class"].item()
        out = [line for line in LINES if row["line_out"].sel(line=line) == 1]
        assert out == ([trace["line_out"].item()] if trace["line_out"].item() else [])


def test_energy_is_kept(ensemble: xr.Dataset, traces: list[xr.DataArray]) -> None:
    energy = (ensemble["shock"] * steps()).sum("time")
    one_second = np.array([trace.sum("second").values / HOUR for trace in traces])
    assert energy.values == pytest.approx(one_second, abs=8 * WATT)


def test_a_scenario_does_not_depend_on_how_many_there_are(ensemble: xr.Dataset) -> None:
    fewer = demand_shocks(scenarios=7, lines=LINES, **study())
    first = ensemble.isel(scenario=slice(7))
    xr.testing.assert_identical(fewer.drop_vars("probability"), first.drop_vars("probability"))
    # nor on what was drawn before: the last one alone, from a fresh call, is the same
    alone = shock_trace(scenario=19, **study())
    assert float(alone.max()) == float(ensemble["shock_high"].sel(scenario=19).max())


def test_streams_are_apart() -> None:
    once = demand_shocks(scenarios=8, lines=LINES, **study())
    more_lines = demand_shocks(scenarios=8, lines=LINES, **study(fault_lines=["26-27", "2-19", "6-26"]))
    other_seed = demand_shocks(scenarios=8, lines=LINES, **study(seed=1))
    # choosing among other lines leaves every shock as it is
    xr.testing.assert_equal(once["shock"], more_lines["shock"])
    assert (once["shock"] != other_seed["shock"]).any(["node", "time"]).sum() >= 7
    drawn = once["shock"].where(once["event_class"] == "surge", drop=True).values
    assert len({scenario.tobytes() for scenario in drawn}) == len(drawn)


@settings(max_examples=60)
@given(st.lists(st.integers(0, 20), min_size=4, max_size=4).filter(any), st.integers(1, 150))
def test_every_prefix_holds_its_shares(weights: list[int], scenarios: int) -> None:
    shares = {name: weight / sum(weights) for name, weight in zip(EVENT_CLASSES, weights, strict=True)}
    classes = event_classes(scenarios, shares)
    for name, share in shares.items():
        counts = np.cumsum(classes == name)
        assert np.abs(counts - share * np.arange(1, scenarios + 1)).max() < 1


def test_shares_are_exact_where_they_can_be() -> None:
    classes = event_classes(20, SHARES)
    assert {name: int((classes == name).sum()) for name in EVENT_CLASSES} == {
        **{"surge": 10, "training": 3, "drop": 4, "fault": 3}
    }
    reordered = dict(reversed(SHARES.items()))
    assert list(event_classes(20, reordered)) == list(classes)
    assert set(event_classes(5, {"drop": 1.0, "surge": 0.0})) == {"drop"}


def test_faults_fall_on_the_given_lines_and_in_their_class_only() -> None:
    data = demand_shocks(scenarios=40, lines=LINES, **study(step_length=steps([10])))
    out = data["line_out"]
    is_fault = (data["event_class"] == "fault").astype(int)
    assert (out.sum("line") == is_fault).all()
    assert set(out["line"].values[out.any("scenario")]) == {"2-19", "6-26"}
    # a fault comes alone, with a drop and with a surge
    shock = data["shock"].where(is_fault, drop=True)
    assert {np.sign(x) for x in shock.sum(["node", "time"]).values} == {-1.0, 0.0, 1.0}


def test_no_shock_falls_on_nodes_that_the_fault_cuts_off() -> None:
    feeds = xr.DataArray(
        [[1, 1, 1, 1, 1], [0, 1, 0, 0, 0], [0, 0, 1, 1, 1], [0] * 5],
        dims=("line", "node"),
        coords={"line": LINES, "node": NODES},
        attrs={"units": "1"},
    )
    shares = {"fault": 1.0}
    data = demand_shocks(scenarios=40, lines=LINES, **study(shares=shares, step_length=steps([10]), downstream=feeds))
    cut_off = (data["line_out"] * feeds).sum("line") > 0
    assert float(abs(data["shock_low"]).where(cut_off, 0.0).max()) == 0
    assert float(data["shock_high"].where(cut_off, 0.0).max()) == 0
    assert (abs(data["shock"]).where(~cut_off, 0.0).max("time") > 0.05).any()


def test_the_onset_is_at_zero_and_faster_than_supply_can_follow() -> None:
    shares = {"surge": 0.5, "drop": 0.5}
    for k in range(16):
        trace = shock_trace(scenario=k, **study(shares=shares, step_length=steps([10])))
        assert float(abs(trace.isel(second=0)).max()) > 0
        # supply follows 2.4 MW/h: 0.04 MW in the first minute
        assert float(abs(trace.isel(second=slice(60))).max()) > 0.1


def test_surges_are_of_a_size_and_length_worth_planning_for() -> None:
    shares = {"surge": 1.0}
    levels, hours, together = [], [], []
    for k in range(60):
        trace = shock_trace(scenario=k, **study(shares=shares))
        share = (trace / at_nodes(RATING)).values
        active = share[share.max(axis=1) > 0]
        together.append(len(active))
        levels += list(np.quantile(active, 0.999, axis=1))
        hours += [np.flatnonzero(site > 0.2 * site.max())[-1] / HOUR for site in active]
    assert set(together) == {1, 2, 3, 4}
    assert np.mean([0.35 <= level <= 1.0 for level in levels]) > 0.6
    assert 0.5 <= np.median(hours) <= 2.5
    assert np.mean([hour < 0.6 for hour in hours]) > 0.08
    assert np.mean([hour > 4 for hour in hours]) > 0.05


def correlations(pairs: list[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    return np.array([np.corrcoef(one, other)[0, 1] for one, other in pairs])


def test_sites_of_a_surge_have_a_common_cause() -> None:
    window = slice(60, 1500)
    by_scenario = []
    for k in range(40):
        trace = shock_trace(scenario=k, **study(shares={"surge": 1.0}, step_length=steps([30]))).values[:, window]
        by_scenario.append([site for site in trace if site.min() < 0.7 * site.max() and site.mean() > 0.1])
    within = correlations([pair for sites in by_scenario for pair in itertools.combinations(sites, 2)])
    # sites of different scenarios share nothing: what idiosyncratic parts alone would give
    flat = [sites[0] for sites in by_scenario if sites]
    apart = correlations(list(itertools.combinations(flat, 2)))
    assert len(within) > 20
    assert abs(apart.mean()) < 0.1
    assert within.mean() > 0.5
    assert (within > 0).mean() > 0.9
    assert within.max() < 1 - 1e-6


def test_a_training_swing_keeps_the_planned_energy_and_jumps_within_a_second() -> None:
    jumps = []
    for k in range(8):
        trace = shock_trace(scenario=k, **study(shares={"training": 1.0}))
        assert trace.mean("second").values == pytest.approx(0, abs=WATT)
        active = trace.values[np.ptp(trace.values, axis=1) > 0]
        size = np.ptp(active, axis=1)
        jumps += list(np.abs(np.diff(active, axis=1)).max(axis=1) / size)
    # 47 to 53 % of peak, which swings over 85 % of peak; parts of other jobs soften or sharpen it
    assert 0.4 < np.median(jumps) < 0.8


def test_a_drop_takes_most_of_the_campus_at_once_and_returns_in_stages() -> None:
    shares_lost, at_once, hold, steps_back = [], [], [], []
    for k in range(40):
        drop = -shock_trace(scenario=k, **study(shares={"drop": 1.0})).values
        hit = drop.max(axis=1) > 0
        trips = np.argmax(drop[hit] > 0, axis=1)
        assert trips.min() == 0
        assert trips.max() <= 82  # six faults in 82 s, as on 10 July 2024
        shares_lost.append(hit.mean())
        at_once.append(np.bincount(trips).max() / hit.sum())
        for site, trip in zip(drop[hit], trips, strict=True):
            back = np.diff(site[trip:])
            assert (back <= 1e-12).all()
            assert site[-1] == 0
            hold.append(np.flatnonzero(back < 0)[0] / 60)
            steps_back.append(int((np.diff(np.flatnonzero(back < -1e-9)) > 30).sum()) + 1)
    assert np.mean(shares_lost) > 0.6
    assert np.mean(at_once) > 0.8
    assert min(hold) >= 0.9
    assert max(hold) <= 60.1
    assert set(steps_back) <= {1, 2, 3, 4, 5}
    assert np.mean(steps_back) > 2


def test_many_scenarios_do_not_hold_their_one_second_traces() -> None:
    tracemalloc.start()
    data = demand_shocks(scenarios=60, lines=LINES, **study())
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert data.sizes["scenario"] == 60
    all_traces = 60 * 5 * 8 * HOUR * 8
    assert peak < all_traces / 4


def test_all_findings_at_once() -> None:
    with pytest.raises(InputError) as caught:
        demand_shocks(
            scenarios=0,
            lines=LINES,
            **study(
                rating=at_nodes([1.6, -1.2, 1.4, 2.0, 2.0]),
                running=at_nodes([0.5] * 5).assign_attrs(units="kW"),
                step_length=steps([1, 0.51]),
                shares={"surge": 0.5, "trainig": 0.4, "fault": 0.2},
                fault_lines=["2-91"],
                seed=-1,
            ),
        )
    text = str(caught.value)
    for part in (
        "scenarios: must be a whole number of at least 1, got 0",
        "must be at least 0 MW, is -1.2 at node=20",
        "unit is 'kW', 'MW' is needed",
        "30.6 s is not a whole second at time=1",
        "unknown class of event (did you mean 'training'?)",
        "sum to 1.1, must sum to 1",
        "line '2-91' does not exist (did you mean '2-19'?)",
        "seed: must be a whole number of 0 or above, got -1",
    ):
        assert part in text
    assert len(caught.value.findings) == 8


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"fault_lines": []}, "share of 'fault' is 0.15, but no line may fail"),
        ({"running": at_nodes([0.5] * 5, ["4", "20", "23", "24", "26"])}, "nodes 25 are not in running"),
        ({"running": at_nodes([0.0] * 5)}, "no node has running load above 0 MW"),
        ({"rating": at_nodes([0.0] * 5)}, "no node has a rating above 0 MW"),
        ({"rating": at_nodes([1.0, np.nan, 1.0, 1.0, 1.0])}, "NaN at node=20"),
        ({"rating": at_nodes([1.0] * 5, ["4", "4", "23", "24", "25"])}, "duplicate labels: 4"),
        ({"rating": [1.6] * 5}, "must be a labelled array, got list"),
        ({"shares": {**SHARES, "surge": -0.5, "drop": 1.2}}, "must be a share within 0 and 1, got -0.5"),
        ({"shares": {**SHARES, "surge": np.nan}}, "must be a share within 0 and 1, got nan"),
        ({"shares": {}}, "sum to 0, must sum to 1"),
        ({"seed": 1.5}, "seed: must be a whole number"),
    ],
)
def test_bad_input_is_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as caught:
        demand_shocks(scenarios=4, lines=LINES, **study(**change))
    assert message in str(caught.value)


def test_bad_lines_and_labels_of_downstream_are_refused() -> None:
    with pytest.raises(InputError, match="duplicate labels: 2-19"):
        demand_shocks(scenarios=4, lines=[*LINES, "2-19"], **study())
    feeds = xr.DataArray(
        np.zeros((1, 5), dtype=int),
        dims=("line", "node"),
        coords={"line": ["2-19"], "node": NODES},
        attrs={"units": "1"},
    )
    with pytest.raises(InputError, match="line 6-26 is missing"):
        demand_shocks(scenarios=4, lines=LINES, **study(downstream=feeds))
    with pytest.raises(InputError, match="scenario: must be a whole number of 0 or above, got -3"):
        shock_trace(scenario=-3, **study())
