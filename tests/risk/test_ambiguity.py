"""Worst cases over ambiguity sets: against linear programs written out from the definitions, and published values."""

from __future__ import annotations

import resource
import time
from typing import Any

import numpy as np
import pytest
import robust
import xarray as xr
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from scipy import optimize

import drofcm as dro
from drofcm.core.errors import InputError
from drofcm.risk.ambiguity import AmbiguitySet
from drofcm.risk.measures import RiskMeasure
from drofcm.risk.weights import worst_case

MEASURES = [
    dro.Expectation(),
    dro.CVaR(0.5),
    dro.CVaR(0.9),
    dro.WorstCase(),
    0.5 * dro.Expectation() + 0.5 * dro.CVaR(0.8),
    0.25 * dro.Expectation() + dro.CVaR(0.5) + 0.5 * dro.CVaR(0.8),
    dro.Expectation() + 0.5 * dro.CVaR(0.75) + 0.25 * dro.WorstCase(),
]


def over_scenarios(values: Any) -> xr.DataArray:
    values = np.asarray(values, dtype=float)
    return xr.DataArray(values, coords={"scenario": np.arange(len(values))}, dims="scenario")


def distances(points: np.ndarray) -> xr.DataArray:
    between = np.abs(points[:, None] - points[None]).sum(axis=2)
    labels = np.arange(len(points))
    return xr.DataArray(between, coords={"reference": labels, "scenario": labels}, dims=("reference", "scenario"))


def judged(
    risk: RiskMeasure, ambiguity: AmbiguitySet, cost: np.ndarray, p: np.ndarray
) -> tuple[float, np.ndarray, np.ndarray]:
    """Value, weights and probabilities."""
    weights, chosen = worst_case(risk, ambiguity, over_scenarios(cost), over_scenarios(p))
    return float(weights.values @ cost), weights.values, chosen.values


# ---- strategies -----------------------------------------------------------------------------------------------------

KINDS = ("wasserstein", "order 2", "support", "variation", "box", "chi-squared", "entropy", "both", "box & ball")


@st.composite
def cases(draw: st.DrawFn, kinds: tuple[str, ...] = KINDS) -> tuple[AmbiguitySet, np.ndarray, np.ndarray]:
    """A set, costs and probabilities of up to seven scenarios; ties and zeros are likely."""
    count = draw(st.integers(1, 7))

    def numbers(low: int, high: int, size: int = count) -> np.ndarray:
        return np.array(draw(st.lists(st.integers(low, high), min_size=size, max_size=size)), dtype=float)

    mass = numbers(0, 5)
    assume(mass.sum() > 0)
    p, cost = mass / mass.sum(), numbers(-20, 20)
    between = distances(numbers(-3, 3, 2 * count).reshape(count, 2))
    radius = draw(st.sampled_from([0.0, 0.05, 0.3, 1.0, 2.5]))
    width = draw(st.sampled_from([0.0, 0.1, 0.4]))
    kind = draw(st.sampled_from(kinds))
    upper = over_scenarios(np.minimum(p + width, 1.0))
    support = sorted(set(draw(st.lists(st.integers(0, count - 1), min_size=1, max_size=count))))
    made: dict[str, Any] = {
        "wasserstein": lambda: dro.Wasserstein(radius, distance=between),
        "order 2": lambda: dro.Wasserstein(radius, order=2, distance=between),
        "support": lambda: dro.Wasserstein(radius, support=support, distance=between),
        "variation": lambda: dro.TotalVariation(min(radius, 1.0)),
        "box": lambda: dro.ProbabilityBox(over_scenarios(np.maximum(p - width, 0.0)), upper),
        "chi-squared": lambda: dro.ModifiedChiSquared(radius),
        "entropy": lambda: dro.KullbackLeibler(radius),
        "both": lambda: dro.Wasserstein(radius, distance=between) & dro.TotalVariation(width),
        "box & ball": lambda: dro.ProbabilityBox(0.0, upper) & dro.Wasserstein(radius, distance=between),
    }
    return made[kind](), cost, p


# ---- exact ----------------------------------------------------------------------------------------------------------


@settings(max_examples=120)
@given(cases(), st.sampled_from(MEASURES))
@example((dro.TotalVariation(0.05), np.array([0.0, 0.0, 1.0]), np.array([0.4, 0.4, 0.2])), dro.CVaR(0.8))
def test_worst_case_is_that_of_the_linear_program(
    case: tuple[AmbiguitySet, np.ndarray, np.ndarray], risk: RiskMeasure
) -> None:
    ambiguity, cost, p = case
    value, weights, chosen = judged(risk, ambiguity, cost, p)
    ball = isinstance(ambiguity, dro.ModifiedChiSquared | dro.KullbackLeibler)
    expected = robust.worst_value(risk, ambiguity, cost, p)
    assert value == pytest.approx(expected, abs=1e-6 if ball else 1e-8, rel=1e-8)
    total = sum(weight for weight, _ in getattr(risk, "terms", ((1.0, risk),)))
    assert weights.sum() == pytest.approx(total)
    assert chosen.sum() == pytest.approx(1.0)
    assert (chosen >= 0).all()
    assert (weights >= -1e-12).all()


@settings(max_examples=80)
@given(cases(), st.sampled_from(MEASURES))
def test_the_distribution_lies_in_the_set_and_the_weights_follow_from_it(
    case: tuple[AmbiguitySet, np.ndarray, np.ndarray], risk: RiskMeasure
) -> None:
    """With p' fixed, a nominal set around it, the weights have the same value; and p' breaks no row of the set."""
    ambiguity, cost, p = case
    value, _, chosen = judged(risk, ambiguity, cost, p)
    if isinstance(ambiguity, dro.ModifiedChiSquared | dro.KullbackLeibler):
        assert robust.excess(ambiguity, p)(chosen)[0] <= 1e-9
        assert (chosen[p == 0] == 0).all()
    else:
        program = robust.Program()
        columns = robust.distribution(program, ambiguity, p)
        apart = program.columns(1)[0]
        for column, own in zip(columns, chosen, strict=True):
            program.at_most += [({column: 1.0, apart: -1.0}, own), ({column: -1.0, apart: -1.0}, -own)]
        assert -program.maximise({apart: -1.0})[0] <= 1e-9
    if "max" not in str(risk):
        fixed = judged(risk, dro.Nominal(), cost, chosen / chosen.sum())[0]
        assert fixed == pytest.approx(value, abs=1e-8)


@settings(max_examples=40)
@given(
    cases(("wasserstein", "variation", "chi-squared", "entropy")), st.sampled_from(MEASURES), st.floats(0, 1), st.data()
)
def test_grows_with_the_radius(
    case: tuple[Any, np.ndarray, np.ndarray], risk: RiskMeasure, share: float, data: st.DataObject
) -> None:
    ambiguity, cost, p = case
    smaller = type(ambiguity)(
        share * ambiguity.radius, **({"distance": ambiguity.distance} if hasattr(ambiguity, "distance") else {})
    )
    value = judged(risk, ambiguity, cost, p)[0]
    assert judged(risk, smaller, cost, p)[0] <= value + 1e-8
    assert judged(risk, dro.Nominal(), cost, p)[0] <= value + 1e-8


@settings(max_examples=40)
@given(cases(), st.sampled_from(MEASURES))
def test_nominal_at_radius_zero_and_the_worst_scenario_at_a_large_one(
    case: tuple[AmbiguitySet, np.ndarray, np.ndarray], risk: RiskMeasure
) -> None:
    _, cost, p = case
    total = sum(weight for weight, _ in getattr(risk, "terms", ((1.0, risk),)))
    between = distances(np.arange(len(p), dtype=float)[:, None])
    nominal = judged(risk, dro.Nominal(), cost, p)[0]
    everything, possible = total * cost.max(), total * cost[p > 0].max()
    for narrow, wide, worst in (
        (dro.Wasserstein(0, distance=between), dro.Wasserstein(100, distance=between), everything),
        (dro.TotalVariation(0), dro.TotalVariation(1), everything),
        (dro.ModifiedChiSquared(0), dro.ModifiedChiSquared(2), possible),
        (dro.KullbackLeibler(0), dro.KullbackLeibler(50), possible),
    ):
        assert judged(risk, narrow, cost, p)[0] == pytest.approx(nominal, abs=1e-9)
        assert judged(risk, wide, cost, p)[0] == pytest.approx(worst, abs=1e-9)


def test_moments_against_the_linear_program() -> None:
    """Bands of means, second moments and covariances, the rows written out here from the data."""
    rng = np.random.default_rng(11)
    for _ in range(10):
        count = int(rng.integers(4, 9))
        p = rng.dirichlet(np.ones(count))
        a, b = rng.normal(size=(2, count))
        data = xr.Dataset(
            {"a": ("scenario", a), "b": ("scenario", b), "probability": ("scenario", p)},
            coords={"scenario": np.arange(count)},
        )
        declared = dro.Moments("a b", mean=0.2, variance=(0.7, 1.3), covariance={("a", "b"): 0.15})
        bound = dro.bind(declared, data)
        cost = rng.normal(size=count)
        ca, cb = a - p @ a, b - p @ b
        sa, sb = np.sqrt(p @ ca**2), np.sqrt(p @ cb**2)
        joint = p @ (ca * cb)
        program = robust.Program()
        chosen = program.columns(count)
        program.equal.append((dict.fromkeys(chosen, 1.0), 1.0))
        bands = [(a, p @ a - 0.2 * sa, p @ a + 0.2 * sa), (b, p @ b - 0.2 * sb, p @ b + 0.2 * sb)]
        bands += [(ca**2, 0.7 * sa**2, 1.3 * sa**2), (cb**2, 0.7 * sb**2, 1.3 * sb**2)]
        bands += [(ca * cb, joint - 0.15 * sa * sb, joint + 0.15 * sa * sb)]
        robust.bounded_moments(program, chosen, bands)
        expected = program.maximise(dict(zip(chosen, cost, strict=True)))[0]
        assert judged(dro.Expectation(), bound, cost, p)[0] == pytest.approx(expected, abs=1e-8)
        own = program.columns(count)
        program.equal.append((dict.fromkeys(own, 1.0), 1.0))
        program.at_most += [({own[s]: 0.3, chosen[s]: -1.0}, 0.0) for s in range(count)]
        expected = program.maximise(dict(zip(own, cost, strict=True)))[0]
        assert judged(dro.CVaR(0.7), bound, cost, p)[0] == pytest.approx(expected, abs=1e-8)


# ---- published ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("radius", "weights"), [(0.0, [0.1, 0.2, 0.3, 0.4]), (0.1, [0, 1 / 6, 5 / 6, 0]), (10.0, [0, 0, 1, 0])]
)
def test_wasserstein_of_sddp_jl(radius: float, weights: list[float]) -> None:
    """SDDP.jl, test/plugins/risk_measures.jl; rewards are maximised there, so costs are their negatives."""
    ball = dro.Wasserstein(radius, distance=distances(np.array([[0.5], [0.3], [0.6], [0.4]])))
    cost = -np.array([1.1, 1.2, 0.6, 1.3])
    value, found, chosen = judged(dro.Expectation(), ball, cost, np.array([0.1, 0.2, 0.3, 0.4]))
    np.testing.assert_allclose(found, weights, atol=1e-12)
    np.testing.assert_allclose(chosen, weights, atol=1e-12)
    if radius == 0.1:
        assert value == pytest.approx(-0.7)


def test_modified_chi_squared_of_sddp_jl() -> None:
    """SDDP.jl, test/plugins/risk_measures.jl, rewards maximised."""
    cost = -np.array([2.0, 1.0, 3.0, 4.0, 5.0])
    found = judged(dro.Expectation(), dro.ModifiedChiSquared(0.25), cost, np.full(5, 0.2))[1]
    np.testing.assert_allclose(found, [0.279057, 0.358114, 0.2, 0.120943, 0.0418861], atol=1e-6)


# ---- what nature may do ---------------------------------------------------------------------------------------------


def test_an_event_nobody_has_seen_receives_mass() -> None:
    ball = dro.Wasserstein(0.5, distance=distances(np.array([[0.0], [1.0], [2.0]])))
    _, weights, chosen = judged(dro.Expectation(), ball, np.array([1.0, 2.0, 9.0]), np.array([0.5, 0.5, 0.0]))
    np.testing.assert_allclose(chosen, [0.5, 0.0, 0.5])
    np.testing.assert_allclose(weights, chosen)
    closed = dro.Wasserstein(0.5, support=[0, 1], distance=ball.distance)
    chosen = judged(dro.Expectation(), closed, np.array([1.0, 2.0, 9.0]), np.array([0.5, 0.5, 0.0]))[2]
    np.testing.assert_allclose(chosen, [0.0, 1.0, 0.0])


def test_risk_weight_and_probability_are_not_the_same() -> None:
    cost, p = np.array([1.0, 2.0, 3.0, 4.0]), np.full(4, 0.25)
    _, weights, chosen = judged(2 * dro.CVaR(0.5), dro.TotalVariation(0.1), cost, p)
    np.testing.assert_allclose(chosen, [0.15, 0.25, 0.25, 0.35])
    np.testing.assert_allclose(weights, [0.0, 0.0, 0.6, 1.4])


def test_one_distribution_for_all_terms() -> None:
    """Several terms share p': the value is below the sum of the terms' own worst cases."""
    ball = dro.Wasserstein(0.5, distance=distances(np.array([[3.0, 4.0], [0.0, 2.0], [4.0, 3.0], [2.0, 2.0]])))
    cost, p = np.array([5.0, 6.0, 2.0, 9.0]), np.array([0.4, 0.3, 0.2, 0.1])
    terms = (dro.Expectation(), dro.CVaR(0.7))
    apart = sum(judged(own, ball, cost, p)[0] for own in terms)
    together = judged(terms[0] + terms[1], ball, cost, p)[0]
    assert together == pytest.approx(robust.worst_value(terms[0] + terms[1], ball, cost, p))
    assert together == pytest.approx(apart - 1 / 6)


@pytest.mark.parametrize("grows_with", ["nothing", "the distance"])
def test_two_thousand_scenarios_in_a_second(grows_with: str) -> None:
    """Mean-CVaR over 2,000 scenarios; the dual of the transport problem proves the value."""
    rng = np.random.default_rng(3)
    count, alpha = 2000, 0.9
    points = rng.normal(size=(count, 1))
    data = xr.Dataset({"load": (("scenario", "bus"), points)}, coords={"scenario": np.arange(count)})
    ball: Any = dro.bind(dro.Wasserstein(0.3, over="load"), data)
    cost = 1e5 * (points[:, 0] if grows_with == "the distance" else rng.normal(size=count))
    p, risk = np.full(count, 1 / count), 0.5 * dro.Expectation() + 0.5 * dro.CVaR(alpha)
    began = time.process_time()
    value, _, chosen = judged(risk, ball, cost, p)
    assert time.process_time() - began < 2.0  # under one second alone on a core
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < 1.5e6
    # any price and threshold give an upper bound; at the best price it comes down to the value
    between = ball.distance.values
    rising = np.argsort(cost)
    threshold = cost[rising][np.searchsorted(np.cumsum(chosen[rising]), alpha - 1e-9)]
    worth = 0.5 * cost + 0.5 * (threshold + np.maximum(cost - threshold, 0) / (1 - alpha))

    def bound(price: float) -> float:
        return float(price * 0.3 + (worth[None] - price * between).max(axis=1) @ p)

    found = optimize.minimize_scalar(bound, bounds=(0.0, 4e6), options={"maxiter": 40, "xatol": 1e-6})
    assert value <= found.fun * (1 + 1e-9)
    assert value == pytest.approx(found.fun, rel=1e-6)


# ---- bad input ------------------------------------------------------------------------------------------------------

DATA = xr.Dataset(
    {
        "load": ("scenario", [1.0, 2.0, 4.0]),
        "price": ("scenario", [5.0, 3.0, 3.0]),
        "constant": ("scenario", [2.0, 2.0, 2.0]),
        "by_bus": (("scenario", "bus"), np.eye(3)),
    },
    coords={"scenario": ["a", "b", "c"], "bus": [1, 2, 3]},
)
BETWEEN = distances(np.array([[0.0], [1.0]]))


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: dro.Wasserstein(-0.1), r"Wasserstein: radius must be finite and at least 0, got -0.1"),
        (lambda: dro.Wasserstein(float("nan")), r"radius must be finite and at least 0, got nan"),
        (lambda: dro.Wasserstein(float("inf")), r"radius must be finite"),
        (lambda: dro.Wasserstein("0.1"), r"radius must be finite and at least 0, got '0.1'"),  # type: ignore[arg-type]
        (lambda: dro.Wasserstein(1, norm=3), r"norm must be 1, 2 or 'inf', got 3"),  # type: ignore[arg-type]
        (lambda: dro.Wasserstein(1, order=0.5), r"order must be finite and at least 1, got 0.5"),
        (lambda: dro.Wasserstein(1, scale="unit"), r"scale must be one of .*, got 'unit'"),  # type: ignore[arg-type]
        (lambda: dro.Wasserstein(1, support=[]), r"support must list at least one scenario"),
        (lambda: dro.Wasserstein(1, distance=-BETWEEN), r"distance must be at least 0, got -1.0 from 0 to 1"),
        (lambda: dro.Wasserstein(1, distance=BETWEEN + 1), r"to itself must be 0, got 1 at 0"),
        (lambda: dro.Wasserstein(1, distance=BETWEEN.rename(reference="to")), r"dimensions 'reference' and 'scenario'"),
        (
            lambda: dro.Wasserstein(1, distance=BETWEEN.assign_coords(reference=[0, 7])),
            r"references that are no scenario: 7",
        ),
        (lambda: dro.TotalVariation(1.2), r"radius must lie in \[0, 1\], got 1.2"),
        (lambda: dro.TotalVariation(float("nan")), r"radius must lie in \[0, 1\], got nan"),
        (lambda: dro.ModifiedChiSquared(-1), r"ModifiedChiSquared: radius must be finite and at least 0, got -1"),
        (lambda: dro.KullbackLeibler(float("nan")), r"KullbackLeibler: radius must be .*, got nan"),
        (lambda: dro.Moments("load"), r"at least one of mean, variance and covariance"),
        (lambda: dro.Moments("load", mean=-0.1), r"mean must be finite and at least 0, got -0.1"),
        (lambda: dro.Moments("load", variance=(1.1, 2)), r"low <= 1 <= high.*got \(1.1, 2\)"),
        (lambda: dro.Moments("load", covariance={("load", "load"): 0.1}), r"pairs of different variables"),
        (lambda: dro.Moments("load", covariance={("load", "price"): -1}), r"must be finite and at least 0, got -1"),
        (lambda: dro.ProbabilityBox(0.5, 0.2), r"lower must be at most upper, got 0.5"),
        (lambda: dro.ProbabilityBox(0, over_scenarios([0.2, 0.3])), r"upper must sum to at least 1.*got 0.5"),
        (lambda: dro.ProbabilityBox(over_scenarios([0.8, 0.3])), r"lower must sum to at most 1.*got 1.1"),
        (
            lambda: dro.ProbabilityBox(0, over_scenarios([0.2, 1.3])),
            r"upper must lie in .* got \[1.3\] at scenario \[1",
        ),
        (lambda: dro.KullbackLeibler(1) & dro.TotalVariation(0.1), r"must be polyhedral .* got Kullback-Leibler"),
    ],
)
def test_a_set_cannot_be_built_with_what_it_does_not_allow(build: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build()


@pytest.mark.parametrize(
    ("ambiguity", "message"),
    [
        (dro.Wasserstein(0.1), r"over: is left out, but 4 variables are uncertain: by_bus, constant, load, price"),
        (dro.Wasserstein(0.1, over="lod"), r"over='lod': is no variable .*did you mean 'load'"),
        (dro.Wasserstein(0.1, over="load constant"), r"constant: is the same in every scenario"),
        (dro.Moments("constant", mean=0.1), r"constant: is the same in every scenario"),
        (
            dro.Moments("load", mean={"load": (3.0, 4.0)}),
            r"mean of load: the band \[3, 4\] excludes the nominal mean 2.3",
        ),
        (dro.Moments("by_bus", mean={"by_bus": (0.5, 1.0)}), r"mean of by_bus\[1\]: the band"),
        (dro.Moments("load", mean={"price": (3.0, 4.0)}), r"mean\['price'\]: bounds a variable that is not in"),
        (dro.Moments("load", covariance={("load", "price"): 0.1}), r"names 'price', which is not in"),
        (dro.Moments("load by_bus", covariance={("load", "by_bus"): 0.1}), r"their dimensions differ"),
    ],
)
def test_a_set_that_does_not_fit_the_data_is_refused(ambiguity: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        dro.bind(ambiguity, DATA)


def test_sets_that_share_nothing_are_named() -> None:
    far = dro.ProbabilityBox(over_scenarios([0.0, 0.0, 0.9]))
    p, cost = over_scenarios([0.5, 0.5, 0.0]), over_scenarios([1.0, 2.0, 3.0])
    ambiguity = dro.TotalVariation(0.5) & dro.TotalVariation(0.1) & far
    with pytest.raises(InputError, match=r"intervals: has no distribution in common with total variation\(0.5\) &"):
        dro.worst_case_weights(dro.Expectation(), ambiguity, cost, p)


def test_what_is_not_bound_is_refused() -> None:
    p = over_scenarios([0.5, 0.5])
    for ambiguity in (dro.Wasserstein(0.1, over="load"), dro.Moments("load", mean=0.1)):
        with pytest.raises(InputError, match="is not bound to labelled data"):
            dro.worst_case_weights(dro.Expectation(), ambiguity, p, p)


def test_distances_of_other_scenarios_are_refused() -> None:
    p = over_scenarios([0.5, 0.3, 0.2])
    with pytest.raises(InputError, match="made for other scenarios than the costs: 2 on one side"):
        dro.worst_case_weights(dro.Expectation(), dro.Wasserstein(0.1, distance=BETWEEN), p, p)
    short = distances(np.array([[0.0], [1.0], [2.0]])).isel(reference=[0, 1])
    with pytest.raises(InputError, match="scenario 2 has probability and is no reference"):
        dro.worst_case_weights(dro.Expectation(), dro.Wasserstein(0.1, distance=short), p, p)


def test_sets_are_values() -> None:
    assert dro.Wasserstein(0.1, over="load") == dro.Wasserstein(0.1, over="load")
    assert dro.Wasserstein(0.1, over="load") != dro.Wasserstein(0.2, over="load")
    assert dro.bind(dro.Wasserstein(0.1, over="load"), DATA) == dro.bind(dro.Wasserstein(0.1, over="load"), DATA)
    assert dro.bind(dro.Wasserstein(0.1, over="load"), DATA) != dro.Wasserstein(0.1, over="load")
    assert len({dro.TotalVariation(0.1), dro.TotalVariation(0.1), dro.KullbackLeibler(0.1)}) == 2
