"""How sure a benefit is: against paired differences, a textbook interval, and figures worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from drofcm.solve.result import Result
from drofcm.validate.benefit import benefit_of
from drofcm.validate.money import formula, money_of
from drofcm.validate.outofsample import paired_differences, tail_mean

RATE = 24.0


def result(first: float, cost: np.ndarray, probability: np.ndarray | None = None, weight: float = 1.0) -> Result:
    """A plan whose events cost what is given, $ an event."""
    p = np.full(len(cost), 1 / len(cost)) if probability is None else probability
    series = [xr.DataArray(own, {"scenario": np.arange(len(cost))}, ["scenario"]) for own in (RATE * cost, p)]
    objective = first + weight * float((series[0] * series[1]).sum())
    return Result(
        xr.Dataset({"spent": first}), xr.Dataset(), xr.Dataset(), series[0], series[1], series[1], weight * series[1],
        objective, -math.inf, objective, math.inf, "evaluated", pd.DataFrame(),
    )  # fmt: skip


def test_money_by_hand() -> None:
    cost, p = np.array([1.0, 2.0, 10.0, 99.0]), np.array([0.5, 0.3, 0.2, 0.0])
    plan = result(100.0, cost, p, weight=1.5)
    found = money_of(plan, RATE, 0.75, rng=np.random.default_rng(0))
    assert found.event_mean == pytest.approx(3.1)
    assert found.expected == pytest.approx(100 + 24 * 3.1)
    assert found.expected == pytest.approx(plan.mean)
    # the dearest quarter: all of the 10, and 0.05 of the 2
    assert found.event_tail == pytest.approx((0.2 * 10 + 0.05 * 2) / 0.25)
    assert found.event_worst == 10.0
    assert found.risk_weighted == pytest.approx(100 + 1.5 * 24 * 3.1)
    assert found.year_tail == pytest.approx(100 + found.year.cvar)
    assert found.figures["events_cost"] == pytest.approx(24 * 3.1)
    with pytest.raises(ValueError, match="rate must be above 0"):
        money_of(plan, 0.0, 0.9, rng=np.random.default_rng(0))


def test_the_formula_names_the_set() -> None:
    assert formula("E", 2.0, "TotalVariation(0.1)").endswith("cost of one event, at worst over TotalVariation(0.1)")


def test_the_interval_is_that_of_paired_differences() -> None:
    rng = np.random.default_rng(1)
    nothing, mine = rng.gamma(2.0, 20.0, 60), rng.gamma(2.0, 8.0, 60)
    plans = {"plan": result(300.0, mine), "nothing": result(0.0, nothing)}
    found = benefit_of(plans["plan"], plans["nothing"], RATE, 0.8, rng=np.random.default_rng(7))
    known = paired_differences(plans, "nothing", alpha=0.8, rng=np.random.default_rng(8)).loc["plan"]
    mean = known.loc["mean cost"]
    assert found.saving.estimate == pytest.approx(-mean["estimate"])
    width = mean["upper"] - mean["lower"]
    # other resamples of the same draws
    assert found.saving.lower == pytest.approx(-mean["upper"], abs=0.1 * width)
    assert found.saving.upper == pytest.approx(-mean["lower"], abs=0.1 * width)
    assert found.tail.estimate == pytest.approx(tail_mean(nothing, 0.8) - tail_mean(mine, 0.8))
    assert found.tail.draws == pytest.approx(12)
    assert "rests on 12 draws only" in found.tail.caution
    assert found.saving.caution == ""


def test_of_many_draws_the_interval_is_the_textbooks() -> None:
    saved = np.random.default_rng(2).normal(5.0, 3.0, 4000)
    found = benefit_of(
        result(60.0, np.zeros(4000)), result(0.0, saved), RATE, 0.5, resamples=999, rng=np.random.default_rng(3)
    )
    half = 1.96 * RATE * saved.std(ddof=1) / np.sqrt(4000)
    assert found.saving.estimate == pytest.approx(RATE * saved.mean() - 60)
    assert (found.saving.upper - found.saving.lower) / 2 == pytest.approx(half, rel=0.08)


def test_shares_and_break_even_by_hand() -> None:
    """Saved in the five events: 4, 3, 1, 0 and -1; the plan costs 48 a year, 2 for each of 24 events."""
    nothing = np.array([10.0, 10.0, 10.0, 10.0, 10.0])
    mine = np.array([6.0, 7.0, 9.0, 10.0, 11.0])
    found = benefit_of(result(48.0, mine), result(0.0, nothing), RATE, 0.5, rng=np.random.default_rng(0))
    assert found.cheaper == pytest.approx(0.6)
    assert found.pays == pytest.approx(0.4)
    assert found.saving.estimate == pytest.approx(24 * 1.4 - 48)
    assert found.break_even == pytest.approx(48 / 1.4)
    assert found.saving.lower < 0 < found.saving.upper
    free = benefit_of(result(0.0, mine), result(0.0, nothing), RATE, 0.5, rng=np.random.default_rng(0))
    assert free.break_even == 0
    assert (found.same, free.same) == (False, True)
    vain = benefit_of(result(1.0, nothing), result(0.0, mine), RATE, 0.5, rng=np.random.default_rng(0))
    assert vain.break_even == math.inf


def test_few_draws_are_no_certainty() -> None:
    found = benefit_of(
        result(0.0, np.array([1.0, 2.0, 3.0])),
        result(0.0, np.array([9.0, 8.0, 7.5])),
        RATE,
        0.9,
        rng=np.random.default_rng(0),
    )
    assert found.saving.lower > 0
    assert "rests on 3 draws only" in found.saving.caution


def test_weighted_events_have_no_interval() -> None:
    p = np.array([0.5, 0.3, 0.2, 0.0])
    mine, nothing = np.array([1.0, 1.0, 1.0, 0.0]), np.array([3.0, 2.0, 9.0, 99.0])
    found = benefit_of(result(0.0, mine, p), result(0.0, nothing, p), RATE, 0.75, rng=np.random.default_rng(0))
    assert found.saving.estimate == pytest.approx(RATE * (0.5 * 2 + 0.3 * 1 + 0.2 * 8))
    assert found.tail.estimate == pytest.approx((0.2 * 9 + 0.05 * 3) / 0.25 - 1)
    assert (found.saving.lower, found.saving.upper) == (-math.inf, math.inf)
    assert "not equally likely" in found.saving.caution
    assert found.events == 3


def test_events_without_probability_are_no_draws() -> None:
    p = np.array([0.25, 0.25, 0.25, 0.25, 0.0])
    mine, nothing = np.zeros(5), np.array([1.0, 2.0, 3.0, 4.0, 1000.0])
    found = benefit_of(result(0.0, mine, p), result(0.0, nothing, p), RATE, 0.5, rng=np.random.default_rng(0))
    assert found.events == 4
    assert found.saving.upper <= RATE * 4


def test_other_scenarios_are_refused() -> None:
    one, other = result(0.0, np.zeros(3)), result(0.0, np.zeros(4))
    with pytest.raises(ValueError, match="same scenarios"):
        benefit_of(one, other, RATE, 0.5, rng=np.random.default_rng(0))
