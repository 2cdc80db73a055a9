"""The multiple-replication procedure on a newsvendor whose demand is uniform, so that the optimum is known."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from problems import newsvendor_day, newsvendor_plan

import drofcm as dro
from drofcm.validate.optimality import gap_interval

MOST = 100.0
"""Demand is uniform on 0 to 100; a paper costs 6, sells at 10 and comes back at 1."""


def batch(scenarios: int, replication: int) -> dro.TwoStageProgram:
    demand = np.random.default_rng([11, replication]).uniform(0, MOST, scenarios)
    data = xr.Dataset({"unit_cost": 6.0, "price": 10.0, "salvage": 1.0, "demand": ("scenario", demand)})
    return dro.TwoStageProgram(data.assign_coords(scenario=np.arange(scenarios)), newsvendor_plan, newsvendor_day)


def cost(order: float, alpha: float) -> float:
    """Exact: the worst share 1 - alpha of days is that of demand below (1 - alpha) MOST."""
    top = (1 - alpha) * MOST
    sold = order - order**2 / (2 * top) if order <= top else top / 2
    return 6 * order - 10 * sold - (order - sold)


def best_order(alpha: float) -> float:
    return (1 - alpha) * MOST * 4 / 9


def sample_gap(order: float, demand: np.ndarray) -> float:
    """Cost of an order on a sample less the cost of the sample's best order, the 4/9 quantile."""
    ordered = np.sort(demand)
    best = ordered[int(np.ceil(len(demand) * 4 / 9)) - 1]
    on_sample = [6 * x - np.mean(10 * np.minimum(x, demand) + np.maximum(x - demand, 0)) for x in (order, best)]
    return float(on_sample[0] - on_sample[1])


def recourse(order: float, demand: np.ndarray) -> np.ndarray:
    return -10 * np.minimum(order, demand) - np.maximum(order - demand, 0)


def tail_gap(order: float, demand: np.ndarray, zeta: float) -> float:
    """As `sample_gap` for CVaR(0.5) of an even number of days, the order's threshold being given."""
    kept = 6 * order + zeta + np.maximum(recourse(order, demand) - zeta, 0).mean() / 0.5
    half = len(demand) // 2
    return float(kept - min(6 * x + np.sort(recourse(x, demand))[half:].mean() for x in demand))


@pytest.mark.parametrize("order", [44.4, 60.0])
def test_the_interval_holds_the_true_gap(order: float) -> None:
    """400 procedures of 15 replications at 90 %; the sample's optimum is biased downwards, so more of them hold it."""
    rng = np.random.default_rng(12)
    truth = cost(order, 0.0) - cost(best_order(0.0), 0.0)
    found = [gap_interval([sample_gap(order, rng.uniform(0, MOST, 30)) for _ in range(15)], 0.9) for _ in range(400)]
    assert np.mean([upper >= truth for _, upper in found]) >= 0.9 - 0.03
    assert np.mean([estimate for estimate, _ in found]) >= truth


@pytest.mark.parametrize(("alpha", "order"), [(0.0, 60.0), (0.5, 40.0)])
def test_a_bad_plan_is_found_out(alpha: float, order: float) -> None:
    """Estimate and bound lie above the true gap, and near it."""
    plan = xr.Dataset({"ordered": order})
    risk = dro.CVaR(alpha) if alpha else dro.Expectation()
    found = dro.optimality_gap(batch, plan, scenarios=40, replications=10, risk=risk, level=0.95, workers=1)
    truth = cost(order, alpha) - cost(best_order(alpha), alpha)
    assert 0.5 * truth < found.estimate < found.upper
    assert truth <= found.upper <= truth + 60
    assert (found.gaps >= -1e-6).all()
    assert found.cost == pytest.approx(cost(order, alpha), abs=45)
    first, *others = [batch(40, number).data.demand.values for number in range(11)]
    if alpha == 0:
        by_hand = [sample_gap(order, own) for own in others]
    else:
        # the threshold is that of the first batch, in which 20 of 40 days are no worse
        zeta = np.sort(recourse(order, first))[19]
        by_hand = [tail_gap(order, own, zeta) for own in others]
    assert found.gaps == pytest.approx(by_hand, abs=1e-4)


def test_what_is_no_sample_average_is_refused() -> None:
    plan = xr.Dataset({"ordered": 40.0})
    with pytest.raises(ValueError, match="Expectation and CVaR"):
        dro.optimality_gap(batch, plan, scenarios=5, risk=dro.WorstCase())
    with pytest.raises(ValueError, match="at least 2"):
        dro.optimality_gap(batch, plan, scenarios=5, replications=1)


def test_a_search_without_a_bound_leaves_the_gap_open() -> None:
    assert gap_interval([0.5, np.inf, 0.1]) == (np.inf, np.inf)
    for gaps, level, message in (
        ([0.5], 0.95, "at least two replications, got 1"),
        ([0.5, np.nan], 0.95, "must be a number, 1 are not"),
        ([0.5, 0.6], 1.0, "level must lie between 0 and 1"),
    ):
        with pytest.raises(ValueError, match=message):
            gap_interval(gaps, level)
