"""Intervals cover what they say they cover; figures are those of the draws."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.stats
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from problems import newsvendor_day, newsvendor_plan

import drofcm as dro
from drofcm.risk.weights import worst_case_weights
from drofcm.validate.outofsample import (
    ENOUGH,
    bootstrap_interval,
    draws_behind,
    price_of_robustness,
    proportion_interval,
    repetition_interval,
    tail_mean,
)


def shop(m: dro.Stage, data: xr.Dataset) -> object:
    cost = newsvendor_day(m, data)
    m.record("lost", data.demand - m["sold"])
    return cost


def program(demand: np.ndarray) -> dro.TwoStageProgram:
    data = xr.Dataset({"unit_cost": 6.0, "price": 10.0, "salvage": 1.0, "demand": ("scenario", demand)})
    return dro.TwoStageProgram(data.assign_coords(scenario=np.arange(len(demand))), newsvendor_plan, shop)


def ordering(papers: float, demand: np.ndarray) -> dro.Result:
    return dro.evaluate(program(demand), xr.Dataset({"ordered": papers}), workers=1)


def cost_of(papers: float, demand: np.ndarray) -> np.ndarray:
    return 6 * papers - 10 * np.minimum(papers, demand) - np.maximum(papers - demand, 0)


@given(
    hnp.arrays(float, st.integers(1, 40), elements=st.floats(-1e3, 1e3)),
    st.floats(0, 0.99),
)
def test_tail_mean_is_cvar(values: np.ndarray, alpha: float) -> None:
    p = xr.DataArray(np.full(len(values), 1 / len(values)), coords={"scenario": np.arange(len(values))})
    cost = p.copy(data=values)
    by_weights = float((worst_case_weights(dro.CVaR(alpha), dro.Nominal(), cost, p) * cost).sum())
    assert tail_mean(values, alpha) == pytest.approx(by_weights, rel=1e-9, abs=1e-6)


def test_tail_mean_along_an_axis() -> None:
    values = np.random.default_rng(1).normal(size=(3, 5, 40))
    one_by_one = [[tail_mean(values[i, :, j], 0.7) for j in range(40)] for i in range(3)]
    assert tail_mean(values, 0.7, axis=1) == pytest.approx(np.array(one_by_one))


@pytest.mark.parametrize(("alpha", "least"), [(0.0, 0.88), (0.9, 0.85)])
def test_coverage_of_mean_and_tail(alpha: float, least: float) -> None:
    """400 draws of a skewed law, 95 % intervals: the share that holds the true figure.

    The true CVaR of the exponential law is 1 - log(1 - alpha). With 40 draws in the tail the bootstrap falls a few
    points short of its level; the bound leaves it three standard errors of 120 experiments besides.
    """
    rng = np.random.default_rng(2)
    truth = 1 - np.log(1 - alpha)
    hits = 0
    for _ in range(120):
        found = bootstrap_interval(
            rng.exponential(size=400), lambda x, axis: tail_mean(x, alpha, axis), resamples=499, rng=rng
        )
        hits += found.lower <= truth <= found.upper
    assert least <= hits / 120 < 1


@pytest.mark.slow
def test_coverage_with_few_draws_in_the_tail_is_what_the_caution_says() -> None:
    """CVaR 0.9 of exponential draws: three in the tail hold the truth two times in three, enough nine in ten."""
    rng, truth = np.random.default_rng(14), 1 - np.log(0.1)
    shares = {}
    for draws in (3, ENOUGH):
        count = 10 * draws
        found = [
            bootstrap_interval(rng.exponential(size=count), tail_of, resamples=499, rng=rng, draws=draws)
            for _ in range(150)
        ]
        shares[draws] = np.mean([own.lower <= truth <= own.upper for own in found])
        assert all(bool(own.caution) == (draws < ENOUGH) for own in found)
    assert shares[3] < 0.8
    assert shares[ENOUGH] > 0.85


def tail_of(values: np.ndarray, axis: int) -> np.ndarray:
    return tail_mean(values, 0.9, axis)


def test_a_tail_of_few_draws_says_so() -> None:
    demand = np.random.default_rng(15).gamma(4, 10, 30)
    results = {"bold": ordering(45, demand), "shy": ordering(40, demand)}
    rng = np.random.default_rng(16)
    alone = dro.out_of_sample(results["bold"], alpha=0.9, resamples=99, rng=rng)
    apart = dro.paired_differences(results, "shy", alpha=0.9, resamples=99, rng=rng).loc["bold"]
    for table in (alone, apart):
        assert table.loc["CVaR 0.9 of cost", "draws"] == pytest.approx(3)
        assert table.loc["CVaR 0.9 of cost", "caution"].startswith("rests on 3 draws only")
        assert table.loc["mean cost", "caution"] == ""
    found = bootstrap_interval(demand, tail_of, resamples=99, rng=rng, draws=3)
    assert str(found).endswith("rests on 3 draws only (20 are needed to take it at its word)")
    assert draws_behind(0.5 * dro.Expectation() + 0.5 * dro.CVaR(0.9), 30) == pytest.approx(3)
    assert draws_behind(dro.Expectation() + 0.1 * dro.WorstCase(), 30) == pytest.approx(1)
    assert draws_behind(dro.Expectation() + 0 * dro.CVaR(0.9), 30) == pytest.approx(30)


def test_one_draw_and_equal_draws_are_no_certainty() -> None:
    rng = np.random.default_rng(17)
    one = bootstrap_interval(np.array([5.0]), np.mean, rng=rng)
    assert (one.estimate, one.lower, one.upper) == (5.0, -np.inf, np.inf)
    assert "one draw" in str(one)
    two = bootstrap_interval(np.array([5.0, 7.0]), np.mean, resamples=99, rng=rng)
    assert "2 draws only" in two.caution
    equal = bootstrap_interval(np.full(50, 5.0), np.mean, resamples=99, rng=rng)
    assert (equal.lower, equal.upper) == (5.0, 5.0)
    assert "all draws are equal" in equal.caution


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda rng: bootstrap_interval(np.array([]), np.mean, rng=rng), "needs draws, there are none"),
        (lambda rng: bootstrap_interval(np.array([1.0, np.inf]), np.mean, rng=rng), "every draw must be finite"),
        (lambda rng: bootstrap_interval(np.array([1.0, 2.0]), np.mean, level=1.0, rng=rng), "between 0 and 1, got 1.0"),
        (lambda rng: bootstrap_interval([np.ones(2), np.ones(3)], np.mean, rng=rng), r"same draws, got \[2, 3\]"),
        (lambda rng: tail_mean(np.ones(3), 1.0), "alpha must be at least 0 and below 1, got 1.0"),
        (lambda rng: tail_mean(np.ones(0), 0.5), "no values"),
        (lambda rng: proportion_interval([]), "needs draws, there are none"),
        (lambda rng: repetition_interval([1.0]), "at least two repetitions, got 1"),
        (lambda rng: repetition_interval([1.0, np.nan, 2.0]), "must be finite, 1 are not"),
    ],
)
def test_draws_that_give_no_interval_are_refused(build: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build(np.random.default_rng(0))


def test_coverage_of_repetitions() -> None:
    rng = np.random.default_rng(3)
    found = [repetition_interval(rng.normal(5, 2, 8)) for _ in range(2000)]
    assert np.mean([own.lower <= 5 <= own.upper for own in found]) == pytest.approx(0.95, abs=0.02)


def test_nothing_seen_is_not_certainty() -> None:
    never = proportion_interval(np.zeros(100))
    # the rule of three, exactly: 1 - 0.025 ** (1 / 100)
    assert (never.lower, never.upper) == pytest.approx((0, 0.0362167), abs=1e-6)


def test_figures_of_a_plan() -> None:
    demand = np.random.default_rng(4).gamma(4, 10, 200)
    table = dro.out_of_sample(
        ordering(40, demand), alpha=0.9, terms=["lost"], unserved="lost", resamples=499, rng=np.random.default_rng(5)
    )
    cost, lost = cost_of(40, demand), np.maximum(demand - 40, 0)
    assert table.loc["mean cost", "estimate"] == pytest.approx(cost.mean())
    assert table.loc["CVaR 0.9 of cost", "estimate"] == pytest.approx(np.sort(cost)[-20:].mean())
    assert table.loc["mean lost", "estimate"] == pytest.approx(lost.mean())
    assert table.loc["probability of any lost", "estimate"] == pytest.approx((lost > 0).mean())
    assert (table["lower"] < table["estimate"]).all()
    assert (table["estimate"] < table["upper"]).all()
    half = 1.96 * cost.std() / np.sqrt(200)
    assert table.loc["mean cost", "upper"] - table.loc["mean cost", "lower"] == pytest.approx(2 * half, rel=0.15)


def test_pairing_removes_what_plans_share() -> None:
    demand = np.random.default_rng(6).gamma(4, 10, 150)
    results = {"bold": ordering(45, demand), "shy": ordering(40, demand), "shy again": ordering(40, demand)}
    rng = np.random.default_rng(7)
    table = dro.paired_differences(results, "shy", terms=["lost"], unserved="lost", resamples=499, rng=rng)
    apart = cost_of(45, demand) - cost_of(40, demand)
    bold = table.loc[("bold", "mean cost")]
    assert bold["estimate"] == pytest.approx(apart.mean())
    by_t = scipy.stats.ttest_1samp(apart, 0).confidence_interval()
    assert (bold["lower"], bold["upper"]) == pytest.approx((by_t.low, by_t.high), abs=0.25 * (by_t.high - by_t.low))
    alone = dro.out_of_sample(results["bold"], resamples=499, rng=rng).loc["mean cost"]
    assert bold["upper"] - bold["lower"] < alone["upper"] - alone["lower"]
    same = table.loc["shy again"]
    assert (same[["estimate", "lower", "upper"]] == 0).all(axis=None)


def test_what_no_interval_can_be_made_of_is_refused() -> None:
    demand = np.array([10.0, 20.0, 30.0])
    one = ordering(20, demand)
    data = program(demand).data.assign(probability=("scenario", [0.5, 0.25, 0.25]))
    skewed = dro.evaluate(program(demand), xr.Dataset({"ordered": 20.0}), data=data)
    other = dro.evaluate(program(demand), one, data=program(demand).data.assign_coords(scenario=[3, 4, 5]))
    rng = np.random.default_rng(0)
    with pytest.raises(dro.InputError) as error:
        dro.paired_differences({"a": one, "b": skewed, "c": other}, "a", terms=["lsot"], rng=rng)
    told = str(error.value)
    assert "not equally likely" in told
    assert "different scenarios" in told
    assert "did you mean 'lost'?" in told
    with pytest.raises(dro.InputError, match="no plan 'd'"):
        dro.paired_differences({"a": one}, "d", rng=rng)


def test_price_of_robustness() -> None:
    """A robust order against the nominal one, both under the stated probabilities."""
    demand = np.array([10.0, 20.0, 30.0, 40.0, 50.0])
    shop_of = program(demand)
    nominal = shop_of.solve()
    robust = shop_of.solve(ambiguity=dro.TotalVariation(0.3))
    price = price_of_robustness(shop_of, robust, nominal)
    best = min(cost_of(order, demand).mean() for order in demand)
    paid = cost_of(float(robust.first_stage.ordered), demand).mean() - best
    assert paid > 0
    assert price.cost == pytest.approx(paid)
    assert price.share == pytest.approx(paid / abs(best))
    assert isinstance(dro.out_of_sample(price.robust, rng=np.random.default_rng(0)), pd.DataFrame)
