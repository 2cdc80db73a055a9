"""Cross-validation deals every scenario out once, solves on the others, and picks what does best on held-out ones."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import xarray as xr
from problems import newsvendor_day, newsvendor_plan
from scipy.optimize import linprog

import drofcm as dro
from drofcm.risk.distance import features, mean_distance
from drofcm.validate.crossvalidation import _held_out_cost, _narrowed, candidate_radii
from drofcm.validate.outofsample import tail_mean

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
    narrowed = _narrowed(bound & dro.TotalVariation(0.5), own.select(labels), 3 / 8).sets[0]
    apart = np.abs(np.subtract.outer(demand[[1, 4, 6]], demand[[1, 4, 6]])) / demand.std()
    assert narrowed.distance.values == pytest.approx(apart)
    assert narrowed.distance["scenario"].values.tolist() == labels


PROBABILITY = np.array([0.2, 0.02, 0.08, 0.1, 0.05, 0.15, 0.12, 0.08, 0.03, 0.17])


def test_unequal_probabilities_weigh_every_figure() -> None:
    """Score, mean and tail by hand from the held-out costs; the interval holds the difference that is scored."""
    demand = np.random.default_rng(10).uniform(10, 90, 10)
    candidates = {0: dro.Nominal(), 1: dro.Wasserstein(2.0, over="demand")}
    rng = np.random.default_rng(11)
    found = dro.cross_validate(program(demand, PROBABILITY), candidates, risk=MIXTURE, folds=3, rng=rng, workers=1)
    for label in candidates:
        cost = found.cost.sel(candidate=label).values
        tail = [worst_mean(cost, PROBABILITY, share) for share in (0.5, 0.1)]
        assert found.table.loc[label, "mean"] == pytest.approx(PROBABILITY @ cost)
        assert found.table.loc[label, "score"] == pytest.approx(0.5 * PROBABILITY @ cost + 0.5 * tail[0])
        assert found.table.loc[label, "cvar_0.9"] == pytest.approx(tail[1])
    assert found.draws == pytest.approx(0.5 / (PROBABILITY**2).sum())
    assert "3.78 draws only" in found.caution
    difference = found.table.loc[1, "score"] - found.table.loc[0, "score"]
    assert found.table.loc[1, "lower"] < difference < found.table.loc[1, "upper"]


def worst_mean(cost: np.ndarray, probability: np.ndarray, share: float) -> float:
    """Mean of the dearest share of the probability, filled up scenario by scenario."""
    left, total = share, 0.0
    for place in np.argsort(-cost):
        taken = min(left, probability[place])
        left, total = left - taken, total + taken * cost[place]
    return total / share


def test_repeated_scenarios_count_as_the_weight_they_have() -> None:
    """Of two equal halves one with twice the weight of the other: intervals of weighted draws, not of rows."""
    values = np.random.default_rng(12).normal(size=400)
    twice = np.concatenate([values, values])
    weight = np.repeat([2.0, 1.0], 400)
    assert tail_mean(twice, 0.9, weight=weight) == pytest.approx(tail_mean(values, 0.9))
    assert tail_mean(twice[None], 0.0, weight=weight[None]) == pytest.approx([values.mean()])


@pytest.mark.parametrize(
    "ambiguity",
    [
        dro.ProbabilityBox(0.02, 0.2),
        dro.ProbabilityBox(0.0, 0.15) & dro.TotalVariation(0.5),
        dro.ProbabilityBox(
            0.0, xr.DataArray(np.full(10, 0.15), dims="scenario", coords={"scenario": [f"day {k}" for k in range(10)]})
        ),
        dro.Moments("demand", mean={"demand": (45.0, 55.0)}),
        dro.Moments("demand", mean=0.3, variance=(0.5, 1.5)),
    ],
    ids=str,
)
def test_boxes_and_bands_are_candidates(ambiguity: Any) -> None:
    """Each plan is that of a linear program over the training days, written out from the definition."""
    demand = np.array([12.0, 88.0, 30.0, 70.0, 45.0, 55.0, 20.0, 80.0, 60.0, 40.0])
    found = dro.cross_validate(program(demand), {"own": ambiguity}, folds=2, rng=np.random.default_rng(13), workers=1)
    for fold in range(2):
        training = demand[found.fold.values != fold]
        order = float(found.plans.ordered.isel(candidate=0, fold=fold))
        best = min(worst_mean_cost(ambiguity, training, candidate) for candidate in np.linspace(10, 90, 161))
        assert worst_mean_cost(ambiguity, training, order) <= best + 1e-6


def worst_mean_cost(ambiguity: Any, demand: np.ndarray, order: float) -> float:
    """The largest mean cost of an order: bounds of boxes twice as large where half of the probability is left."""
    count = len(demand)
    rows, limits, bounds = [np.zeros(count)], [0.0], [(0.0, 1.0)] * count
    mean, deviation = demand.mean(), demand.std()
    for own in getattr(ambiguity, "sets", (ambiguity,)):
        if isinstance(own, dro.ProbabilityBox):
            bounds = [(2 * float(own.lower), 2 * float(np.max(own.upper)))] * count
        elif isinstance(own, dro.TotalVariation):
            # of five even days half of the probability may move: with bounds of 0.3 nothing is cut off
            assert float(np.abs(np.array([0.3, 0.3, 0.3, 0.1, 0.0]) - 0.2).sum()) / 2 <= own.radius
        else:
            low, high = own.mean["demand"] if isinstance(own.mean, dict) else (mean - own.mean * deviation, None)
            high = mean + own.mean * deviation if high is None else high
            rows += [demand, -demand]
            limits += [high, -low]
            if own.variance is not None:
                square = (demand - mean) ** 2
                rows += [square, -square]
                limits += [own.variance[1] * deviation**2, -own.variance[0] * deviation**2]
    found = linprog(-cost_of(order, demand), np.array(rows), limits, np.ones((1, count)), [1.0], bounds)
    assert found.success
    return float(-found.fun)


def test_a_candidate_without_a_distribution_in_a_fold_is_named() -> None:
    box = dro.ProbabilityBox(0.0, xr.DataArray([1.0, 0.0, 0.0, 0.0], dims="scenario").assign_coords(scenario=DAYS))
    own = program(np.array([10.0, 20.0, 30.0, 40.0]))
    with pytest.raises(dro.InputError, match=r"candidate 'narrow', fold \d: .*bounds on the training scenarios sum to"):
        dro.cross_validate(own, {"narrow": box}, folds=2, rng=np.random.default_rng(0), workers=1)
    with pytest.raises(dro.InputError, match="has no weight"):
        dro.cross_validate(
            own, {"n": dro.Nominal()}, risk=0 * dro.CVaR(0.5), folds=2, rng=np.random.default_rng(0), workers=1
        )


DAYS = [f"day {number}" for number in range(4)]


def short_of(m: dro.Stage, data: xr.Dataset) -> Any:
    """No day without enough papers can be lived with."""
    m.subject_to("enough", m["ordered"] >= data.demand)
    return 0 * m.nonnegative("idle")


def test_only_scenarios_without_recourse_cost_infinitely() -> None:
    data = xr.Dataset({"unit_cost": 1.0, "demand": ("scenario", [10.0, 20.0, 30.0, 40.0])}, coords={"scenario": DAYS})
    own = dro.TwoStageProgram(data, newsvendor_plan, short_of)
    with pytest.raises(dro.InfeasibleError, match="every candidate has a plan without recourse"):
        dro.cross_validate(own, {"n": dro.Nominal()}, folds=2, rng=np.random.default_rng(1), workers=1)
    held_out = own.select(["day 0", "day 3"])
    assert _held_out_cost(held_out, xr.Dataset({"ordered": 25.0})).values.tolist() == [0.0, np.inf]


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
