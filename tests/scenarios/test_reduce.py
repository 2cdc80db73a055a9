"""Scenario reduction: published cases, brute force at every greedy step, redistribution against a linear program."""

from __future__ import annotations

import itertools
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import ot
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import cdist

import drofcm as dro
from drofcm.core.errors import InputError
from drofcm.risk.distance import features
from drofcm.scenarios.reduce import METHODS, Reduction, redistribute
from drofcm.scenarios.selection import Distances, backward, forward

CASES = "scenario_reduction/cases.json"


def ensemble(points: Any, probability: Any = None, event_class: Any = None) -> xr.Dataset:
    values = np.asarray(points, dtype=float)
    count = len(values)
    p = np.full(count, 1 / count) if probability is None else np.asarray(probability, dtype=float)
    data = xr.Dataset(
        {"x": (("scenario", "entry"), values.reshape(count, -1)), "probability": ("scenario", p)},
        coords={"scenario": [f"s{k:03}" for k in range(count)]},
    )
    return data if event_class is None else data.assign_coords(event_class=("scenario", np.asarray(event_class)))


def random_ensemble(count: int, seed: int, classes: int = 1, width: int = 3) -> xr.Dataset:
    rng = np.random.default_rng(seed)
    names = np.array(["fault", "surge", "drop", "training"])[:classes]
    own = np.concatenate([names, rng.choice(names, count - classes)])
    return ensemble(rng.normal(size=(count, width)), rng.dirichlet(np.full(count, 0.7)) * 0.9 + 0.1 / count, own)


def positions(data: xr.Dataset, reduction: Reduction) -> list[int]:
    return data.indexes["scenario"].get_indexer(reduction.data.indexes["scenario"]).tolist()


def cost_of(distance: np.ndarray, probability: np.ndarray, kept: Any) -> float:
    return float(probability @ distance[:, list(kept)].min(axis=1))


def split_distance(data: xr.Dataset) -> np.ndarray:
    """Distances by the norm 1, infinite between classes."""
    distance = cdist(data["x"].values, data["x"].values, "cityblock")
    if "event_class" in data.coords:
        own = data["event_class"].values
        distance[own[:, None] != own[None, :]] = math.inf
    return distance


# ---- published cases ------------------------------------------------------------------------------------------------


@pytest.fixture
def cases(benchmarks: Path) -> dict[str, Any]:
    return json.loads((benchmarks / CASES).read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", ["forward_1d", "forward_2d"])
def test_forward_selection_of_published_cases(cases: dict[str, Any], name: str) -> None:
    case = cases[name]
    data = ensemble(case["points"], case["prob"])
    norm = 1 if name == "forward_1d" else 2
    reduction = dro.reduce_scenarios(data, case["keep"], scale="none", norm=norm)
    assert positions(data, reduction) == case["selected"]
    assert reduction.distance == pytest.approx(case["kantorovich"], rel=1e-12)


@pytest.mark.parametrize("name", ["redistribute_a", "redistribute_b"])
def test_redistribution_of_published_cases(cases: dict[str, Any], name: str) -> None:
    case = cases[name]
    data = ensemble(case["points"], None if case["prob"] == "uniform" else case["prob"])
    reduction = redistribute(data, data["scenario"].values[case["selected"]], scale="none")
    assert reduction.data["probability"].values == pytest.approx(case["new_prob"], abs=1e-15)


# ---- brute force ----------------------------------------------------------------------------------------------------


@settings(max_examples=30)
@given(st.integers(2, 9), st.integers(0, 10_000), st.integers(1, 3), st.booleans())
def test_forward_is_the_best_choice_at_every_step(count: int, seed: int, classes: int, whole: bool) -> None:
    data = random_ensemble(count, seed, min(classes, count))
    if whole:  # many ties
        data = data.assign(x=data["x"].round(), probability=xr.full_like(data["probability"], 1 / count))
    distance, p = split_distance(data), data["probability"].values
    own = data["event_class"].values
    chosen: list[int] = []
    for name in dict.fromkeys(own.tolist()):  # the best single scenario of each class
        members = np.flatnonzero(own == name)
        costs = [p[members] @ distance[np.ix_(members, [j])][:, 0] for j in members]
        chosen.append(int(members[np.flatnonzero(np.array(costs) <= min(costs) + 1e-12)[0]]))
    for keep in range(len(chosen), count + 1):
        reduction = dro.reduce_scenarios(data, keep, classes="event_class", scale="none")
        assert positions(data, reduction) == sorted(chosen)
        assert reduction.distance == pytest.approx(cost_of(distance, p, chosen), abs=1e-12)
        if keep < count:
            left = [j for j in range(count) if j not in chosen]
            costs = [cost_of(distance, p, [*chosen, j]) for j in left]
            chosen.append(next(j for j, cost in zip(left, costs, strict=True) if cost <= min(costs) + 1e-12))


@settings(max_examples=30)
@given(st.integers(2, 9), st.integers(0, 10_000), st.integers(1, 3), st.booleans())
def test_backward_drops_the_cheapest_at_every_step(count: int, seed: int, classes: int, whole: bool) -> None:
    data = random_ensemble(count, seed, min(classes, count))
    if whole:
        data = data.assign(x=data["x"].round(), probability=xr.full_like(data["probability"], 1 / count))
    distance, p = split_distance(data), data["probability"].values
    kept = list(range(count))
    for keep in range(count, len(set(data["event_class"].values)) - 1, -1):
        reduction = dro.reduce_scenarios(data, keep, classes="event_class", scale="none", method="backward")
        assert positions(data, reduction) == kept
        assert reduction.distance == pytest.approx(cost_of(distance, p, kept), abs=1e-12)
        costs = [cost_of(distance, p, [i for i in kept if i != j]) if len(kept) > 1 else math.inf for j in kept]
        last = [j for j, cost in zip(kept, costs, strict=True) if cost <= min(costs) * (1 + 1e-11)][-1]
        kept = [j for j in kept if j != last]


@settings(max_examples=25)
@given(st.integers(4, 10), st.integers(0, 10_000), st.integers(1, 2))
def test_medoids_cannot_be_improved_by_an_exchange(count: int, seed: int, classes: int) -> None:
    data = random_ensemble(count, seed, classes)
    reduction = dro.reduce_scenarios(data, 3, classes="event_class", scale="none", method="k-medoids")
    distance, p = split_distance(data), data["probability"].values
    kept = positions(data, reduction)
    own = data["event_class"].values
    for out, entering in itertools.product(kept, range(count)):
        if own[out] == own[entering]:
            other = [j for j in kept if j != out] + [entering]
            assert cost_of(distance, p, other) >= reduction.distance - 1e-9
    greedy = dro.reduce_scenarios(data, 3, classes="event_class", scale="none")
    assert reduction.distance <= greedy.distance + 1e-9


@settings(max_examples=30)
@given(st.integers(2, 10), st.integers(1, 4), st.integers(0, 10_000), st.sampled_from([1.0, 2.0]))
def test_redistribution_is_the_best_transport_to_the_kept(count: int, keep: int, seed: int, order: float) -> None:
    data = random_ensemble(count, seed)
    keep = min(keep, count)
    kept = np.sort(np.random.default_rng(seed).choice(count, keep, replace=False))
    reduction = redistribute(data, data["scenario"].values[kept], scale="none", order=order)
    cost = cdist(data["x"].values, data["x"].values[kept], "cityblock") ** order
    p, q = data["probability"].values, reduction.data["probability"].values
    # with these weights the transport problem costs what the reduction says it does ...
    assert ot.emd2(p, q, cost) == pytest.approx(reduction.distance**order, abs=1e-9)
    # ... and no other weights on the kept scenarios are nearer
    rng = np.random.default_rng(seed + 1)
    for _ in range(5):
        assert ot.emd2(p, rng.dirichlet(np.ones(keep)), cost) >= reduction.distance**order - 1e-9


# ---- promises -------------------------------------------------------------------------------------------------------


@settings(max_examples=30)
@given(st.integers(8, 40), st.integers(0, 10_000), st.sampled_from(METHODS), st.booleans(), st.booleans())
def test_class_mass_is_kept_to_the_last_bit(count: int, seed: int, method: Any, tail: bool, alike: bool) -> None:
    data = random_ensemble(count, seed, 3)
    if alike:
        data = data.assign(probability=xr.full_like(data["probability"], 1 / count))
    share = 0.2 if tail else 0.0
    reduction = dro.reduce_scenarios(data, 8, classes="event_class", method=method, tail=share)
    before, after = data["probability"], reduction.data["probability"]
    assert reduction.data.sizes["scenario"] == 8
    assert (after > 0).all()
    for name in set(data["event_class"].values):
        kept = after.values[reduction.data["event_class"].values == name]
        assert math.fsum(kept) == pytest.approx(math.fsum(before.values[data["event_class"].values == name]), rel=1e-15)
    table = reduction.table()
    assert (table["probability"] == table["probability_kept"]).all()
    # nobody is moved out of its set, and the representative is the nearest kept one in it
    stands = reduction.representative.values
    assert (reduction.stratum.sel(scenario=stands).values == reduction.stratum.values).all()
    dro.TwoStageProgram(reduction.data)  # accepts the probabilities


@settings(max_examples=30)
@given(st.integers(5, 30), st.integers(0, 10_000), st.sampled_from(METHODS))
def test_the_way_back(count: int, seed: int, method: Any) -> None:
    data = random_ensemble(count, seed)
    reduction = dro.reduce_scenarios(data, 4, method=method)
    back = reduction.expand(reduction.data)
    assert back.indexes["scenario"].equals(data.indexes["scenario"])
    # a mean over the reduced ensemble is the mean of what it says of the originals
    reduced = (reduction.data["x"] * reduction.data["probability"]).sum("scenario")
    original = (back["x"] * data["probability"]).sum("scenario")
    np.testing.assert_allclose(reduced, original, atol=1e-12)
    scaled = features(data, "x").values
    moved = np.abs(scaled - features(data, "x").values[data.indexes["scenario"].get_indexer(reduction.representative)])
    np.testing.assert_allclose(reduction.moved, moved.sum(axis=1), atol=1e-12)
    kept = reduction.data.indexes["scenario"]
    assert (reduction.representative.sel(scenario=kept).values == kept.values).all()


def test_forward_choices_are_nested_and_all_are_kept_at_no_distance() -> None:
    data = random_ensemble(30, 1, 2)
    kept = [set(dro.reduce_scenarios(data, k).data["scenario"].values.tolist()) for k in range(1, 31)]
    assert all(small < large for small, large in itertools.pairwise(kept))
    whole = dro.reduce_scenarios(data, 30)
    assert whole.distance == 0
    xr.testing.assert_equal(whole.data, data)


def test_one_mean_scenario_is_all_of_the_relative_distance() -> None:
    data = ensemble([[-1.0], [0.0], [1.0]])
    assert dro.reduce_scenarios(data, 1).relative_distance == pytest.approx(1.0)
    assert dro.reduce_scenarios(data, 3).relative_distance == 0


def test_twins_stand_for_themselves() -> None:
    data = ensemble([[0.0], [0.0], [5.0]], [0.5, 0.2, 0.3])
    whole = dro.reduce_scenarios(data, 3)
    assert whole.data["probability"].values.tolist() == [0.5, 0.2, 0.3]
    assert whole.representative.values.tolist() == ["s000", "s001", "s002"]


def test_tail_keeps_its_mass_and_risk_moves_the_choice() -> None:
    rng = np.random.default_rng(3)
    bad = rng.lognormal(0, 1, 200)
    data = ensemble(np.stack([bad, rng.normal(size=200)], axis=1)).assign(bad=("scenario", bad))
    reduction = dro.reduce_scenarios(data, 12, over="x", tail=0.1, severity="bad")
    threshold = np.sort(bad)[-20]
    kept = reduction.data
    assert float(kept["probability"].where(kept["bad"] >= threshold, 0).sum()) == pytest.approx(0.1)
    risk = 0.5 * dro.Expectation() + 0.5 * dro.CVaR(0.9)
    aware = dro.reduce_scenarios(data, 12, over="x", tail=0.1, severity="bad", risk=risk)
    plain = dro.reduce_scenarios(data, 12, over="x")
    severe = [int((own.data["bad"] >= threshold).sum()) for own in (plain, reduction, aware)]
    assert severe[2] > severe[0]
    # more of the kept scenarios are severe, so the tail lies nearer to what it was
    moved = [own.table().loc["all (tail)", "distance"] for own in (reduction, aware)]
    assert moved[1] < moved[0]


def test_counts_by_class() -> None:
    data = random_ensemble(40, 5, 3)
    reduction = dro.reduce_scenarios(data, {"fault": 2, "surge": 5, "drop": 1}, classes="event_class")
    names, counts = np.unique(reduction.data["event_class"], return_counts=True)
    assert dict(zip(names.tolist(), counts.tolist(), strict=True)) == {"drop": 1, "fault": 2, "surge": 5}
    numbered = data.assign_coords(event_class=("scenario", np.arange(40) % 2))
    assert dro.reduce_scenarios(numbered, {0: 3, 1: np.int64(2)}, classes="event_class").data.sizes["scenario"] == 5
    assert dro.reduce_scenarios(data, np.int64(3)).recipe["count"] == 3


def test_kept_scenarios_stay_as_they_are_and_carry_a_recipe(tmp_path: Path) -> None:
    data = random_ensemble(20, 2, 2).assign(certain=("entry", [1.0, 2.0, 3.0])).assign_attrs(seed=7)
    reduction = dro.reduce_scenarios(data, 5, over="x", classes="event_class")
    kept = reduction.data["scenario"]
    xr.testing.assert_identical(
        reduction.data.drop_vars("probability").drop_attrs(),
        data.drop_vars("probability").sel(scenario=kept).drop_attrs(),
    )
    assert reduction.data.attrs["seed"] == 7
    reduction.data.to_netcdf(tmp_path / "reduced.nc")
    recipe = json.loads(xr.load_dataset(tmp_path / "reduced.nc").attrs["reduction"])
    assert recipe["method"] == "forward"
    assert recipe["scenarios_before"] == 20
    assert "20 scenarios reduced to 5" in str(reduction)


# ---- the matrix -----------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_where_distances_are_computed_does_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    data = random_ensemble(300, 8, 2, width=20)
    here = dro.reduce_scenarios(data, 25, workers=1)
    asked = dro.reduce_scenarios(data, 25, memory=0)  # nothing is held
    monkeypatch.setattr("drofcm.scenarios.selection._TASK_OPERATIONS", 3e5)
    beside = dro.reduce_scenarios(data, 25, workers=2)
    for other in (asked, beside):
        xr.testing.assert_identical(other.data, here.data)
    single = dro.reduce_scenarios(data, 25, memory=300**2 * 5 / 2**30)  # room for single precision only
    assert single.distance == pytest.approx(here.distance, rel=1e-3)


def test_blocks_on_a_cluster(client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    data = random_ensemble(200, 9, width=10)
    here = dro.reduce_scenarios(data, 15, workers=1)
    monkeypatch.setattr("drofcm.scenarios.selection._TASK_OPERATIONS", 1e5)
    xr.testing.assert_identical(dro.reduce_scenarios(data, 15, client=client).data, here.data)


def test_gains_never_rise_and_costs_never_fall() -> None:
    points = features(random_ensemble(60, 4), "x")
    mass = np.random.default_rng(1).dirichlet(np.ones(60))
    gains = [gain for _, gain in forward(Distances(points), mass)]
    assert all(one >= other - 1e-12 for one, other in itertools.pairwise(gains))
    costs = [cost for _, cost in backward(Distances(points), mass)]
    assert all(one <= other + 1e-12 for one, other in itertools.pairwise(costs))


# ---- refusals -------------------------------------------------------------------------------------------------------


def refused(*said: str, data: xr.Dataset | None = None, count: Any = 3, **settings: Any) -> None:
    with pytest.raises(InputError) as caught:
        dro.reduce_scenarios(random_ensemble(10, 0, 3) if data is None else data, count, **settings)
    for text in said:
        assert text in str(caught.value)


def test_refusals() -> None:
    data = random_ensemble(10, 0, 3)
    refused("count=11: only 10 scenarios exist", count=11)
    refused("count=0", "at least 1", count=0)
    refused("count=2.5", "whole number", count=2.5)
    refused("count=2: 3 sets keep their probability apart: fault, surge, drop", count=2, classes="event_class")
    refused("count=4", "fault (tail)", count=4, classes="event_class", tail=0.1)
    refused("count['flood']: no scenario is of this class", count={"flood": 1}, classes="event_class")
    refused("class 'surge' has no number", "class 'drop'", count={"fault": 1}, classes="event_class")
    refused("no classes are given", count={"fault": 1})
    refused("classes='event_clas'", "did you mean 'event_class'?", classes="event_clas")
    refused("severity", "must be numbers", severity="event_class")
    refused("method='foward'", "did you mean 'forward'?", "tail=1.0", method="foward", tail=1.0)
    refused("order=0.5", order=0.5)
    refused("needs the distances of 10 scenarios at once", method="backward", memory=0)
    refused("is 0 at scenario s004", data=data.assign(probability=("scenario", [0.125] * 4 + [0] + [0.1] * 5)))
    refused(
        "at least 0, is [-0.1] at scenario ['s000']", data=data.assign(probability=("scenario", [-0.1] + [1.1 / 9] * 9))
    )
    refused("must sum to 1", data=data.assign(probability=("scenario", [0.2] * 10)))
    refused("[nan] at scenario ['s000']", data=data.assign(probability=("scenario", [np.nan] + [0.1] * 9)))
    refused("x: is not finite at scenario ['s002']", data=data.assign(x=data["x"].where(data["scenario"] != "s002")))
    refused("no labelled dimension 'scenario'", data=data.drop_vars("scenario"))
    refused("duplicate labels: a", data=data.assign_coords(scenario=["a", "a", *"bcdefghi"]))
    missing = data.assign_coords(event_class=("scenario", np.array([None, *"abcdefghi"], dtype=object)))
    refused("classes: is missing or not finite at scenario s000", data=missing, classes="event_class")


def test_refusals_of_a_given_choice() -> None:
    data = random_ensemble(10, 0, 3)
    with pytest.raises(InputError, match=r"unknown scenario s999\b") as caught:
        redistribute(data, ["s000", "s000", "s999"], classes="event_class")
    assert "s000 is given twice" in str(caught.value)
    assert "no scenario of class drop, surge is kept" in str(caught.value)


# ---- the decision ---------------------------------------------------------------------------------------------------


def newsvendor_plan(data: xr.Dataset, margin: np.ndarray) -> np.ndarray:
    """The optimal order at each site: the critical quantile of its demand."""
    p = data["probability"].values
    orders = []
    for demand, ratio in zip(data["demand"].transpose("site", "scenario").values, margin, strict=True):
        order = np.argsort(demand)
        orders.append(demand[order][np.searchsorted(np.cumsum(p[order]), 1 - ratio - 1e-12)])
    return np.array(orders)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_plans_for_reduced_sets_lose_less_than_plans_for_random_ones(seed: int) -> None:
    rng = np.random.default_rng(seed)
    count, keep = 600, 20
    own = np.where(rng.random(count) < 0.08, "fault", "surge")
    demand = rng.gamma(3, 10, (count, 1)) * rng.uniform(0.5, 1.5, (count, 8)) * np.where(own == "fault", 4, 1)[:, None]
    data = xr.Dataset(
        {"demand": (("scenario", "site"), demand), "probability": ("scenario", np.full(count, 1 / count))},
        coords={"scenario": np.arange(count), "event_class": ("scenario", own)},
    )
    margin = np.linspace(0.1, 0.6, 8)

    def cost(reduced: xr.Dataset) -> float:
        x = newsvendor_plan(reduced, margin)
        return float((margin * x).sum() - np.minimum(x, demand).sum(axis=1).mean())

    optimum = cost(data)
    random = []
    for number in range(20):
        kept = np.random.default_rng(number).choice(count, keep, replace=False)
        random.append(
            cost(data.isel(scenario=kept).assign(probability=("scenario", np.full(keep, 1 / keep)))) - optimum
        )
    for method in METHODS:
        loss = cost(dro.reduce_scenarios(data, keep, over="demand", method=method).data) - optimum
        assert -1e-9 <= loss < 0.5 * np.mean(random)
    by_class = cost(dro.reduce_scenarios(data, keep, over="demand", classes="event_class", tail=0.1).data) - optimum
    assert -1e-9 <= by_class < 0.5 * np.mean(random)
