"""The cost of a year of events against closed forms: moments, the Poisson quantile, and an exact convolution."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from drofcm.core.randomness import stream
from drofcm.validate.outofsample import tail_mean
from drofcm.validate.year import simulate_year


def poisson_cvar(rate: float, alpha: float) -> float:
    """Of a Poisson number: E[N; N > q] is rate P(N >= q), and the rest of the tail stands at the quantile q."""
    q = stats.poisson.ppf(alpha, rate)
    beyond = rate * stats.poisson.sf(q - 1, rate)
    return float((beyond + (stats.poisson.cdf(q, rate) - alpha) * q) / (1 - alpha))


def exact_cvar(cost: list[int], probability: list[float], rate: float, alpha: float) -> float:
    """Panjer's recursion (1981) for whole costs, to where nothing is left."""
    size = np.zeros(max(cost) + 1)
    np.add.at(size, cost, probability)
    total = [np.exp(rate * (size[0] - 1))]
    while sum(total) < 1 - 1e-12:
        k = len(total)
        total.append(rate / k * sum(j * size[j] * total[k - j] for j in range(1, min(k, max(cost)) + 1)))
    reached = np.cumsum(total)
    weight = np.clip(reached - alpha, 0, total)
    return float(weight @ np.arange(len(total)) / (1 - alpha))


@pytest.mark.parametrize(("rate", "alpha"), [(24.0, 0.9), (0.3, 0.5), (3.0, 0.95), (400.0, 0.9)])
def test_one_scenario_is_a_poisson_number(rate: float, alpha: float) -> None:
    year = simulate_year([7.0], [1.0], rate, alpha, rng=stream(1, "years"))
    assert year.mean == pytest.approx(7 * rate)
    assert year.deviation == pytest.approx(7 * np.sqrt(rate))
    assert abs(year.cvar - 7 * poisson_cvar(rate, alpha)) < 4 * year.error
    assert year.error < 0.01 * year.cvar


@pytest.mark.parametrize("rate", [2.0, 24.0])
def test_several_scenarios_against_panjers_recursion(rate: float) -> None:
    """With fewer scenarios than events a year and with more: the two are drawn in different ways."""
    cost, probability = [0, 1, 4, 9], [0.4, 0.3, 0.2, 0.1]
    year = simulate_year(cost, probability, rate, 0.9, rng=stream(2, "years"))
    assert abs(year.cvar - exact_cvar(cost, probability, rate, 0.9)) < 4 * year.error


def test_moments_of_what_is_drawn_are_those_in_closed_form() -> None:
    """A tail that is all there is is the mean; the same years, squared costs or not."""
    rng = np.random.default_rng(3)
    cost, probability = rng.gamma(2.0, 10.0, 12), rng.dirichlet(np.ones(12))
    year = simulate_year(cost, probability, 24.0, 0.0, rng=stream(3, "years"))
    assert abs(year.cvar - year.mean) < 4 * year.error
    # the error of a mean is the deviation over the root of the number of years
    assert year.error == pytest.approx(year.deviation / np.sqrt(year.years), rel=0.02)


def test_the_stated_error_holds_the_truth_as_often_as_it_says() -> None:
    cost, probability = [0, 1, 4, 9], [0.4, 0.3, 0.2, 0.1]
    truth = exact_cvar(cost, probability, 6.0, 0.9)
    found = [
        simulate_year(cost, probability, 6.0, 0.9, years=2000, rng=np.random.default_rng(seed)) for seed in range(400)
    ]
    share = np.mean([abs(own.cvar - truth) < 1.96 * own.error for own in found])
    assert 0.92 < share < 0.98


def test_a_year_of_worst_events_is_no_year_of_the_worst_tenth() -> None:
    rng = np.random.default_rng(4)
    cost = rng.lognormal(2.0, 1.0, 20)
    year = simulate_year(cost, np.full(20, 0.05), 24.0, 0.9, rng=stream(4, "years"))
    assert year.mean < year.cvar < 24 * tail_mean(cost, 0.9)


def test_equal_streams_meet_the_same_years() -> None:
    cost, probability = np.array([1.0, 5.0]), [0.7, 0.3]
    one, other = (simulate_year(own, probability, 5.0, 0.8, rng=stream(5, "years")) for own in (cost, 3 * cost))
    assert other.cvar == pytest.approx(3 * one.cvar)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"cost": [1.0]}, "same scenarios"),
        ({"cost": [1.0, np.inf]}, "1 are not"),
        ({"probability": [0.7, 0.7]}, "sum to 1.4"),
        ({"rate": -1.0}, "rate must be"),
        ({"alpha": 1.0}, "alpha must be"),
        ({"years": 1}, "years must be at least"),
    ],
)
def test_what_makes_no_year_is_refused(change: dict[str, object], message: str) -> None:
    given: dict[str, object] = {"cost": [1.0, 2.0], "probability": [0.5, 0.5], "rate": 2.0, "alpha": 0.9, **change}
    with pytest.raises(ValueError, match=message):
        simulate_year(**given, rng=np.random.default_rng(0))  # type: ignore[arg-type]
