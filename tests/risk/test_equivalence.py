"""One risk measure, three independent routes to its value: weights, rows of the extensive form, a linear program.

Rule numbers are those of CONTRIBUTING: probabilities and risk (13 to 16).
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
import xarray as xr
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from scipy import optimize

import drofcm as dro

ALPHAS = (0.0, 0.25, 0.5, 0.8, 0.95)
AT_MOST = 2
SHORTAGE = 25.0


# ---- what a measure is, without drofcm ------------------------------------------------------------------------------


@dataclass(frozen=True)
class Mixture:
    """``expectation`` E + sum of weight CVaR(alpha) + ``worst`` max."""

    expectation: float
    cvar: tuple[tuple[float, float], ...]
    worst: float

    @property
    def total(self) -> float:
        return self.expectation + sum(weight for _, weight in self.cvar) + self.worst

    def measure(self) -> Any:
        terms = [self.expectation * dro.Expectation(), self.worst * dro.WorstCase()]
        terms += [weight * dro.CVaR(alpha) for alpha, weight in self.cvar]
        return terms[0] + terms[1] if len(terms) == 2 else sum(terms[2:], terms[0] + terms[1])

    def value(self, cost: np.ndarray, probability: np.ndarray) -> float:
        """Expectation and maximum as they are; CVaR as the minimum over its threshold, which lies at a cost."""
        value = self.expectation * probability @ cost + self.worst * cost[probability > 0].max()
        for alpha, weight in self.cvar:
            excess = np.maximum(cost[np.newaxis] - cost[:, np.newaxis], 0.0)
            value += weight * (cost + excess @ probability / (1 - alpha)).min()
        return float(value)


def weights_by_linear_program(mixture: Mixture, cost: np.ndarray, probability: np.ndarray) -> float:
    """max w.Q with w = a p + sum b_k w_k + c w_0, every w_k in its own polytope (FORMULATION, part B)."""
    value = mixture.expectation * float(probability @ cost)
    caps = [(weight, probability / (1 - alpha)) for alpha, weight in mixture.cvar]
    caps.append((mixture.worst, (probability > 0).astype(float)))
    for weight, cap in caps:
        bounds = np.column_stack([np.zeros_like(cap), cap])
        found = optimize.linprog(-cost, A_eq=np.ones((1, len(cost))), b_eq=[1.0], bounds=bounds)
        assert found.success
        value -= weight * found.fun
    return float(value)


# ---- strategies -----------------------------------------------------------------------------------------------------

parts = st.sampled_from([0.0, 0.25, 0.5, 1.0])


@st.composite
def mixtures(draw: st.DrawFn) -> Mixture:
    levels = draw(st.lists(st.tuples(st.sampled_from(ALPHAS), parts), max_size=2))
    mixture = Mixture(draw(parts), tuple(levels), draw(parts))
    assume(mixture.total > 0)
    return mixture


@st.composite
def distributions(draw: st.DrawFn, scenarios: int) -> np.ndarray:
    """Probabilities; zero is legal."""
    mass = np.array(draw(st.lists(st.integers(0, 5), min_size=scenarios, max_size=scenarios)), dtype=float)
    assume(mass.sum() > 0)
    return mass / mass.sum()


@st.composite
def outcomes(draw: st.DrawFn, sets: int = 1) -> tuple[np.ndarray, ...]:
    """Probabilities and as many cost vectors as asked for; equal costs are likely."""
    scenarios = draw(st.integers(1, 6))
    costs = st.lists(st.integers(-20, 20), min_size=scenarios, max_size=scenarios)
    return (draw(distributions(scenarios)), *(np.array(draw(costs), dtype=float) for _ in range(sets)))


def over_scenarios(values: np.ndarray) -> xr.DataArray:
    return xr.DataArray(values, dims="scenario", coords={"scenario": np.arange(len(values))})


def weights(mixture: Mixture, cost: np.ndarray, probability: np.ndarray) -> np.ndarray:
    found = dro.worst_case_weights(mixture.measure(), dro.Nominal(), over_scenarios(cost), over_scenarios(probability))
    return np.asarray(found.sel(scenario=np.arange(len(cost))))


def rho(mixture: Mixture, cost: np.ndarray, probability: np.ndarray) -> float:
    return float(weights(mixture, cost, probability) @ cost)


# ---- weights --------------------------------------------------------------------------------------------------------


@given(mixtures(), outcomes())
def test_weights_attain_the_measure(mixture: Mixture, outcome: tuple[np.ndarray, np.ndarray]) -> None:
    probability, cost = outcome
    value = rho(mixture, cost, probability)
    assert value == pytest.approx(mixture.value(cost, probability), abs=1e-9)
    assert value == pytest.approx(weights_by_linear_program(mixture, cost, probability), abs=1e-7)


@given(mixtures(), outcomes())
def test_weights_lie_in_their_set(mixture: Mixture, outcome: tuple[np.ndarray, np.ndarray]) -> None:
    probability, cost = outcome
    found = weights(mixture, cost, probability)
    assert found.sum() == pytest.approx(mixture.total)
    assert (found >= mixture.expectation * probability - 1e-12).all()
    most = mixture.expectation * probability + mixture.worst
    for alpha, weight in mixture.cvar:
        most = most + weight * np.minimum(probability / (1 - alpha), 1.0)
    assert (found <= most + 1e-12).all()
    assert (found[probability == 0] == 0).all()


@given(mixtures(), outcomes(), st.permutations(range(6)))
def test_the_order_of_scenarios_does_not_matter(
    mixture: Mixture, outcome: tuple[np.ndarray, np.ndarray], order: list[int]
) -> None:
    probability, cost = outcome
    keep = [index for index in order if index < len(cost)]
    assert rho(mixture, cost[keep], probability[keep]) == pytest.approx(rho(mixture, cost, probability), abs=1e-9)


# ---- coherence (Artzner, Delbaen, Eber and Heath 1999), for weights that sum to `total` ------------------------------


@given(mixtures(), outcomes(sets=2))
def test_monotone(mixture: Mixture, outcome: tuple[np.ndarray, ...]) -> None:
    probability, cost, more = outcome
    assert rho(mixture, cost, probability) <= rho(mixture, cost + np.abs(more), probability) + 1e-9


@given(mixtures(), outcomes(), st.integers(-30, 30))
def test_a_sure_cost_counts_in_full(mixture: Mixture, outcome: tuple[np.ndarray, ...], sure: int) -> None:
    probability, cost = outcome
    expected = rho(mixture, cost, probability) + mixture.total * sure
    assert rho(mixture, cost + sure, probability) == pytest.approx(expected, abs=1e-9)


@given(mixtures(), outcomes(), st.sampled_from([0.0, 0.1, 3.0, 1000.0]))
def test_positively_homogeneous(mixture: Mixture, outcome: tuple[np.ndarray, ...], factor: float) -> None:
    probability, cost = outcome
    expected = factor * rho(mixture, cost, probability)
    assert rho(mixture, factor * cost, probability) == pytest.approx(expected, abs=1e-8)


@given(mixtures(), outcomes(sets=2), st.sampled_from([0.1, 0.5, 0.8]))
def test_convex(mixture: Mixture, outcome: tuple[np.ndarray, ...], share: float) -> None:
    probability, one, other = outcome
    mixed = rho(mixture, share * one + (1 - share) * other, probability)
    assert mixed <= share * rho(mixture, one, probability) + (1 - share) * rho(mixture, other, probability) + 1e-9


# ---- the extensive form against enumeration -------------------------------------------------------------------------


@dataclass(frozen=True)
class Instance:
    """Cover the need for each resource from stock bought beforehand, activities afterwards, and shortage."""

    price: np.ndarray  # item
    content: np.ndarray  # resource, item
    need: np.ndarray  # scenario, resource
    output: np.ndarray  # resource, activity
    activity_cost: np.ndarray  # scenario, activity
    whole: bool
    probability: np.ndarray

    def data(self) -> xr.Dataset:
        data = xr.Dataset(
            {
                "price": ("item", self.price),
                "content": (("resource", "item"), self.content),
                "need": (("scenario", "resource"), self.need),
                "output": (("resource", "activity"), self.output),
                "activity_cost": (("scenario", "activity"), self.activity_cost),
                "whole": self.whole,
                "probability": ("scenario", self.probability),
            }
        )
        return data.assign_coords({dim: np.arange(size) for dim, size in data.sizes.items()})

    def plans(self) -> list[np.ndarray]:
        levels = range(AT_MOST + 1)
        return [np.array(plan, dtype=float) for plan in itertools.product(levels, repeat=len(self.price))]

    def recourse_cost(self, plan: np.ndarray) -> np.ndarray:
        """Optimal recourse cost of every scenario, (scenario), by scipy."""
        resources, activities = self.output.shape
        rows = np.hstack([self.output, np.eye(resources)])
        integrality = np.r_[np.full(activities, int(self.whole)), np.zeros(resources)]
        costs = []
        for need, price in zip(self.need, self.activity_cost, strict=True):
            found = optimize.milp(
                np.r_[price, np.full(resources, SHORTAGE)],
                constraints=optimize.LinearConstraint(rows, lb=need - self.content @ plan),
                integrality=integrality,
            )
            assert found.success
            costs.append(found.fun)
        return np.array(costs)


def buy(m: dro.Stage, data: xr.Dataset) -> Any:
    stock = m.integer("stock", over="item", upper=AT_MOST)
    return (data.price * stock).sum()


def cover(m: dro.Stage, data: xr.Dataset) -> Any:
    declare = m.integer if bool(data.whole) else m.nonnegative
    level = declare("level", over="activity")
    shortage = m.nonnegative("shortage", over="resource")
    supplied = (data.content * m["stock"]).sum("item") + (data.output * level).sum("activity")
    m.subject_to("need", supplied + shortage >= data.need)
    return (data.activity_cost * level).sum("activity") + SHORTAGE * shortage.sum("resource")


@st.composite
def instances(draw: st.DrawFn) -> Instance:
    def whole_numbers(low: int, high: int, *shape: int) -> np.ndarray:
        size = int(np.prod(shape))
        drawn = draw(st.lists(st.integers(low, high), min_size=size, max_size=size))
        return np.array(drawn, dtype=float).reshape(shape)

    scenarios = draw(st.integers(1, 4))
    return Instance(
        price=whole_numbers(1, 20, 2),
        content=whole_numbers(0, 4, 2, 2),
        need=whole_numbers(0, 9, scenarios, 2),
        output=whole_numbers(0, 3, 2, 2),
        activity_cost=whole_numbers(1, 15, scenarios, 2),
        whole=draw(st.booleans()),
        probability=draw(distributions(scenarios)),
    )


THREE_YEARS = Instance(
    price=np.array([3.0, 8.0]),
    content=np.array([[1.0, 2.0], [0.0, 3.0]]),
    need=np.array([[1.0, 2.0], [4.0, 6.0], [7.0, 9.0]]),
    output=np.array([[2.0, 1.0], [1.0, 3.0]]),
    activity_cost=np.array([[5.0, 9.0], [6.0, 8.0], [9.0, 15.0]]),
    whole=True,
    probability=np.array([0.5, 0.3, 0.2]),
)
CANNOT_HAPPEN = replace(THREE_YEARS, probability=np.array([0.6, 0.4, 0.0]))  # the costliest scenario


@settings(max_examples=15)
@given(instances(), mixtures())
@example(THREE_YEARS, Mixture(0.0, ((0.8, 1.0),), 0.0))
@example(THREE_YEARS, Mixture(0.5, ((0.5, 0.5),), 0.25))
@example(CANNOT_HAPPEN, Mixture(0.0, (), 1.0))
def test_extensive_form_equals_enumeration(instance: Instance, mixture: Mixture) -> None:
    program = dro.TwoStageProgram(instance.data(), first_stage=buy, recourse=cover)
    result = program.solve(risk=mixture.measure(), method="extensive", gap=1e-9)

    by_value, by_weights = [], []
    for plan in instance.plans():
        cost = instance.recourse_cost(plan)
        by_value.append(instance.price @ plan + mixture.value(cost, instance.probability))
        by_weights.append(instance.price @ plan + rho(mixture, cost, instance.probability))
    assert min(by_weights) == pytest.approx(min(by_value), abs=1e-6)
    assert result.objective == pytest.approx(min(by_value), abs=1e-5)

    # what is reported belongs to the plan: scenario by scenario, in and out of the tail
    plan = np.asarray(result.first_stage["stock"])
    np.testing.assert_allclose(result.recourse_cost, instance.recourse_cost(plan), atol=1e-5)
    assert float(result.risk_weight.sum()) == pytest.approx(mixture.total)
    assert instance.price @ plan + float(result.risk_weight @ result.recourse_cost) == pytest.approx(
        result.objective, abs=1e-5
    )


def test_recourse_outside_the_tail_is_reported_as_it_would_be_carried_out() -> None:
    """Pure CVaR leaves the recourse of cheap scenarios arbitrary in the extensive form, never in the report (16)."""
    rng = np.random.default_rng(20261121)
    scenarios = 20
    instance = Instance(
        price=np.array([4.0, 7.0]),
        content=np.array([[1.0, 2.0], [2.0, 1.0]]),
        need=rng.integers(0, 20, (scenarios, 2)).astype(float),
        output=np.array([[2.0, 1.0], [1.0, 3.0]]),
        activity_cost=rng.integers(3, 15, (scenarios, 2)).astype(float),
        whole=False,
        probability=np.full(scenarios, 1 / scenarios),
    )
    program = dro.TwoStageProgram(instance.data(), first_stage=buy, recourse=cover)
    result = program.solve(risk=dro.CVaR(0.9), method="extensive", gap=1e-9)

    independent = instance.recourse_cost(np.asarray(result.first_stage["stock"]))
    assert float(result.recourse_cost.mean()) == pytest.approx(independent.mean(), rel=1e-6)
    level, shortage = result.recourse["level"], result.recourse["shortage"]
    rebuilt = (instance.data()["activity_cost"] * level).sum("activity") + SHORTAGE * shortage.sum("resource")
    np.testing.assert_allclose(rebuilt, independent, atol=1e-6)
    assert float(result.risk_weight @ result.recourse_cost) > 1.2 * independent.mean()
