"""Cross-validation deals every scenario out once, solves on the others, and picks what does best on held-out ones."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import xarray as xr
from problems import newsvendor_day, newsvendor_plan

import drofcm as dro
from drofcm.risk.distance import features, mean_distance
from drofcm.validate.crossvalidation import _narrowed, candidate_radii

MIXTURE = 0.5 * dro.Expectation() + 0.5 * dro.CVaR(0.5)


def program(demand: np.ndarray, probability: np.ndarray | None = None) -> dro.TwoStageProgram:
    data = xr.Dataset({"unit_cost": 6.0, "price": 10.0, "salvage": 1.0, "demand": ("scenario", demand)})
    if probability is not None:
        data["probability"] = ("scenario", probability)
    labels = [f"day {number}" for number in range(len(demand))]
    return dro.TwoStageProgram(data.assign_coords(scenario=labels), newsvendor_plan, newsvendor_day)


def cost_of(order: float, demand: Any) -> Any:
    return 6 * order - 10 * np.minimum(order, demand) - np.maximum(order - demand, 0)


def best_order(demand: np.ndarray) -> float:
    return float(min(demand, key=lambda order: cost_of(order, demand).mean()))


def test_every_scenario_is_held_out_once_and_unseen() -> None:
    """Against the closed form: on each fold the plan is the best order for the other days."""
    demand = np.random.default_rng(1).uniform(10, 90, 11)
    found = dro.cross_validate(
        program(demand), {"nominal": dro.Nominal()}, folds=4, rng=np.random.default_rng(2), workers=1
    )
    assert sorted(np.bincount(found.fold.values).tolist()) == [2, 3, 3, 3]
    held_out = np.empty(11)
    for fold in range(4):
        out = found.fold.values == fold
        order = best_order(demand[~out])
        assert cost_of(float(found.plans.ordered.sel(candidate="nominal").isel(fold=fold)), demand[~out]).mean() == (
            pytest.approx(cost_of(order, demand[~out]).mean())
        )
        held_out[out] = cost_of(float(found.plans.ordered.isel(candidate=0, fold=fold)), demand[out])
    assert found.cost.sel(candidate="nominal").values == pytest.approx(held_out)
    assert found.table.loc["nominal", "score"] == pytest.approx(held_out.mean())
    assert found.table.loc["nominal", "mean"] == pytest.approx(held_out.mean())


def test_the_score_is_the_risk_of_all_held_out_costs() -> None:
    demand = np.random.default_rng(3).uniform(10, 90, 12)
    candidates = {radius: dro.Wasserstein(radius, over="demand") for radius in (0.0, 0.3, 3.0)}
    found = dro.cross_validate(
        program(demand), candidates, risk=MIXTURE, folds=3, rng=np.random.default_rng(4), workers=1
    )
    for radius in candidates:
        cost = found.cost.sel(candidate=radius).values
        by_hand = 0.5 * cost.mean() + 0.5 * np.sort(cost)[-6:].mean()
        assert found.table.loc[radius, "score"] == pytest.approx(by_hand)
    assert found.best == found.table["score"].idxmin()
    # the more robust, the fewer papers: the worst days are those of low demand
    assert (found.plans.ordered.diff("candidate") <= 1e-6).all()
    assert (found.plans.ordered.sel(candidate=3.0) < found.plans.ordered.sel(candidate=0.0)).any()


def test_scenarios_without_probability_stay_in_every_training_set() -> None:
    """A bad day that was never seen is there to be feared, and is never held out."""
    demand = np.array([60.0, 70.0, 80.0, 65.0, 75.0, 5.0])
    own = program(demand, np.array([0.2] * 5 + [0.0]))
    candidates = {0: dro.Nominal(), 1: dro.TotalVariation(1.0)}
    found = dro.cross_validate(own, candidates, folds=5, rng=np.random.default_rng(5), workers=1)
    assert found.cost["scenario"].values.tolist() == [f"day {number}" for number in range(5)]
    assert found.plans.ordered.sel(candidate=1).values == pytest.approx([5.0] * 5)


def test_a_radius_means_the_same_in_every_fold() -> None:
    demand = np.random.default_rng(6).uniform(10, 90, 8)
    own = program(demand)
    bound = dro.bind(dro.Wasserstein(0.5, over="demand"), own.data)
    labels = ["day 1", "day 4", "day 6"]
    narrowed = _narrowed(bound & dro.TotalVariation(0.5), own.select(labels)).sets[0]
    apart = np.abs(np.subtract.outer(demand[[1, 4, 6]], demand[[1, 4, 6]])) / demand.std()
    assert narrowed.distance.values == pytest.approx(apart)
    assert narrowed.distance["scenario"].values.tolist() == labels


def test_candidate_radii_shrink_with_the_root_of_the_sample() -> None:
    demand = np.random.default_rng(7).uniform(10, 90, 25)
    own = program(demand)
    radii = candidate_radii(own, dro.Wasserstein(0.0, over="demand"), (0, 1, 2))
    apart = np.abs(np.subtract.outer(demand, demand)).mean() / demand.std()
    assert radii == pytest.approx({0: 0, 1: apart / 5, 2: 2 * apart / 5})
    assert apart == pytest.approx(mean_distance(features(own.data, "demand"), own.probability))


def test_processes_find_the_same() -> None:
    own = program(np.random.default_rng(8).uniform(10, 90, 8))
    candidates = {0: dro.Nominal(), 1: dro.TotalVariation(0.3)}
    here, beside = (
        dro.cross_validate(own, candidates, folds=2, rng=np.random.default_rng(9), workers=workers)
        for workers in (1, 2)
    )
    xr.testing.assert_identical(here.cost, beside.cost)
    assert here.table["score"].equals(beside.table["score"])


def test_every_fault_at_once() -> None:
    with pytest.raises(dro.InputError) as error:
        dro.cross_validate(program(np.array([1.0, 2.0])), {}, folds=3, rng=np.random.default_rng(0))
    assert [finding.where for finding in error.value.findings] == ["candidates", "folds"]
