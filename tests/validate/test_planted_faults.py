"""Faults planted in what finds the worst case: each gives a consistent wrong answer, and the certificate catches it.

Weights, distribution and objective come from the same faulty function, so that nothing but the definition of the set
and of the measure can tell. What is right passes, at any scale of costs, radii and distances.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pytest
import xarray as xr

import drofcm as dro
from drofcm.risk import divergence, nature, polytope, saddle, transport, weights
from drofcm.risk.ambiguity import AmbiguitySet
from drofcm.risk.measures import as_sum
from drofcm.risk.weights import worst_case
from drofcm.validate.ledger import Certificate, Ledger
from drofcm.validate.worst_case import enter_worst_case

COUNT = 8
RISK: dict[str, Any] = {"expectation": 0.5, "cvar": [(0.8, 0.3), (0.5, 0.1)], "worst_case": 0.1}
SPENT = 1000.0


@pytest.fixture(scope="module")
def data() -> xr.Dataset:
    """Eight scenarios, one of probability zero, with two uncertain variables; costs are no function of them."""
    rng = np.random.default_rng(20)
    p = np.append(rng.dirichlet(np.ones(COUNT - 1)), 0.0)
    return xr.Dataset(
        {
            "load": (("scenario", "node"), rng.normal(size=(COUNT, 3)) * [1.0, 5.0, 0.2]),
            "price": ("scenario", 100 * rng.normal(size=COUNT)),
            "probability": ("scenario", p),
        },
        coords={"scenario": [f"event {k}" for k in range(COUNT)], "node": ["x", "y", "z"]},
    )


@pytest.fixture(scope="module")
def cost(data: xr.Dataset) -> xr.DataArray:
    values = np.random.default_rng(21).normal(5e5, 2e5, COUNT)
    return xr.DataArray(values, coords={"scenario": data.scenario}, dims="scenario")


def box(data: xr.Dataset, width: float) -> dro.ProbabilityBox:
    p = data.probability.drop_attrs()
    return dro.ProbabilityBox((p - width).clip(min=0), (p + width).clip(max=1))


SETS: dict[str, Callable[[xr.Dataset], AmbiguitySet]] = {
    "nominal": lambda data: dro.Nominal(),
    "total variation": lambda data: dro.TotalVariation(0.15),
    "Wasserstein": lambda data: dro.Wasserstein(0.8, over="load"),
    "Wasserstein by entry": lambda data: dro.Wasserstein(0.8, over="load price", scale="entry", norm=2, order=2),
    "Wasserstein weighed": lambda data: dro.Wasserstein(
        0.5, over="load", norm="inf", scale="none", weight={"load": data.price.isel(scenario=0, drop=True) * 0 + 0.3}
    ),
    "Wasserstein, few targets": lambda data: dro.Wasserstein(3.0, over="load", support=["event 2", "event 7"]),
    "box": lambda data: box(data, 0.1),
    "means": lambda data: dro.Moments("load price", mean=0.2),
    "bands": lambda data: dro.Moments("price", mean={"price": (-40.0, 60.0)}, variance=(0.5, 1.5)),
    "covariance": lambda data: dro.Moments("a b", variance=(0.2, 2.0), covariance={("a", "b"): 0.1}),
    "chi-squared": lambda data: dro.ModifiedChiSquared(0.2),
    "entropy": lambda data: dro.KullbackLeibler(0.1),
    "ball in a box": lambda data: dro.Wasserstein(0.8, over="load") & box(data, 0.1) & dro.TotalVariation(0.2),
    "ball and means": lambda data: dro.Wasserstein(1.5, over="load", order=2) & dro.Moments("price", mean=0.3),
}


def measure(risk: dict[str, Any]) -> Any:
    terms = [risk["expectation"] * dro.Expectation(), risk["worst_case"] * dro.WorstCase()]
    return sum((weight * dro.CVaR(alpha) for alpha, weight in risk["cvar"]), terms[0] + terms[1])


def certified(
    ambiguity: AmbiguitySet,
    data: xr.Dataset,
    cost: xr.DataArray,
    *,
    risk: dict[str, Any] = RISK,
    answer: AmbiguitySet | None = None,
    answered: Any = None,
) -> Certificate:
    """The certificate of the declared set about an answer for a bound one, and perhaps another measure."""
    bound = dro.bind(answer or ambiguity, data)
    found, chosen = worst_case(answered or measure(risk), bound, cost, data.probability)
    ledger = Ledger(1e-6)
    enter_worst_case(
        ledger,
        data,
        cost,
        spent=SPENT,
        objective=SPENT + float(found @ cost),
        weights=found,
        risk=risk,
        # what the answer was found with is what is judged, figures and all, but for a set that was changed on the way
        ambiguity=bound if answer is None else ambiguity,
        chosen=chosen,
    )
    return ledger.close()


def with_pair(data: xr.Dataset) -> xr.Dataset:
    """Two variables of equal dimensions beside the others."""
    return data.assign(a=data["load"].isel(node=0, drop=True), b=data["load"].isel(node=1, drop=True))


@pytest.mark.parametrize("name", SETS)
def test_what_is_right_passes(name: str, data: xr.Dataset, cost: xr.DataArray) -> None:
    own = with_pair(data)
    certified(SETS[name](own), own, cost).raise_if_failed()


@pytest.mark.parametrize("scale", [1e-9, 1e-4, 1e9])
@pytest.mark.parametrize("name", ["Wasserstein", "ball and means", "box", "entropy", "chi-squared"])
def test_what_is_right_passes_in_any_unit(name: str, scale: float, data: xr.Dataset, cost: xr.DataArray) -> None:
    """Costs, and distances with their radius, in other units: the same distribution."""
    own = with_pair(data)
    ambiguity = SETS[name](own)
    certified(ambiguity, own, scale * cost).raise_if_failed()
    there = worst_case(measure(RISK), dro.bind(ambiguity, own), scale * cost, own.probability)[1]
    here = worst_case(measure(RISK), dro.bind(ambiguity, own), cost, own.probability)[1]
    np.testing.assert_allclose(there, here, atol=1e-9)
    if isinstance(ambiguity, dro.Wasserstein):
        bound: Any = dro.bind(ambiguity, own)
        other = replace(bound, over=None, distance=bound.distance * scale, radius=bound.radius * scale)
        certified(other, own, cost).raise_if_failed()
        found = worst_case(measure(RISK), other, cost, own.probability)[1]
        np.testing.assert_allclose(found, here, atol=1e-9)


# ---- faults in the functions ----------------------------------------------------------------------------------------


def nothing_moves(patch: pytest.MonkeyPatch, data: xr.Dataset) -> None:
    patch.setattr(weights, "nature", lambda *given: lambda value: data.probability.values)


def transport_stays(patch: pytest.MonkeyPatch, data: xr.Dataset) -> None:
    patch.setattr(transport.Transport, "__call__", lambda self, value: data.probability.values)


def distances_doubled(patch: pytest.MonkeyPatch, data: xr.Dataset) -> None:
    original = polytope.moves
    patch.setattr(transport, "moves", lambda *given: (lambda o, c, a: (o, 2 * c, a))(*original(*given)))


def nearest_moves_lost(patch: pytest.MonkeyPatch, data: xr.Dataset) -> None:
    """Every scenario may go to the last alone."""
    original = polytope.moves

    def last(*given: Any) -> Any:
        origin, cost, allowed = original(*given)
        kept = np.zeros_like(allowed)
        kept[np.arange(len(origin)), origin] = kept[:, -1] = True
        return origin, cost, allowed & kept

    patch.setattr(transport, "moves", last)


def upper_side_lost(patch: pytest.MonkeyPatch, data: xr.Dataset) -> None:
    patch.setattr(nature, "_within_box", lambda lower, upper, value: np.eye(len(value))[np.argmax(value)])


def lower_side_raised(patch: pytest.MonkeyPatch, data: xr.Dataset) -> None:
    original = nature._within_box
    patch.setattr(
        nature, "_within_box", lambda low, up, value: original((low + data.probability.values) / 2, up, value)
    )


def ball_halved(name: str, patch: pytest.MonkeyPatch, data: xr.Dataset) -> None:
    original = getattr(divergence, name)
    patch.setattr(nature, name, lambda value, p, radius: original(value, p, radius / 2))


def ball_doubled(name: str, patch: pytest.MonkeyPatch, data: xr.Dataset) -> None:
    original = getattr(divergence, name)
    patch.setattr(nature, name, lambda value, p, radius: original(value, p, 2 * radius))


def variation_halved(patch: pytest.MonkeyPatch, data: xr.Dataset) -> None:
    original = nature._total_variation
    patch.setattr(nature, "_total_variation", lambda p, radius, value: original(p, radius / 2, value))


def rows_lost(patch: pytest.MonkeyPatch, data: xr.Dataset) -> None:
    """Of a program every row that is no equation."""
    original = nature.polytope

    def fewer(*given: Any) -> Any:
        shape = original(*given)
        kept = shape.equal
        return replace(shape, rows=shape.rows[kept], limit=shape.limit[kept], equal=shape.equal[kept])

    patch.setattr(nature, "polytope", fewer)


def level_off(patch: pytest.MonkeyPatch, data: xr.Dataset) -> None:
    """CVaR of another level, in the search and in the weights."""
    original = saddle.cvar_weights
    for module in (saddle, weights):
        patch.setattr(module, "cvar_weights", lambda cost, p, alpha: original(cost, p, alpha - 0.1))
    patch.setattr(saddle, "_ACCEPTED", np.inf)


def lower_tail(patch: pytest.MonkeyPatch, data: xr.Dataset) -> None:
    original = saddle.cvar_weights
    patch.setattr(weights, "cvar_weights", lambda cost, p, alpha: original(-cost, p, alpha))


def wrong_worst_case(patch: pytest.MonkeyPatch, data: xr.Dataset) -> None:
    """The worst case ranges over one cheap scenario, whatever the set can reach."""
    patch.setattr(weights, "reachable", lambda ambiguity, p: np.arange(len(p)) == 2)


FAULTS: list[Any] = [
    *((name, nothing_moves) for name in SETS if name != "nominal"),
    *((name, transport_stays) for name in SETS if name.startswith("Wasserstein")),
    ("Wasserstein", distances_doubled),
    ("Wasserstein by entry", distances_doubled),
    ("Wasserstein", nearest_moves_lost),
    ("box", upper_side_lost),
    ("box", lower_side_raised),
    ("entropy", partial(ball_halved, "entropy_ball")),
    ("entropy", partial(ball_doubled, "entropy_ball")),
    ("chi-squared", partial(ball_halved, "euclidean_ball")),
    ("chi-squared", partial(ball_doubled, "euclidean_ball")),
    ("total variation", variation_halved),
    ("means", rows_lost),
    ("bands", rows_lost),
    ("ball in a box", rows_lost),
    *((name, level_off) for name in ("nominal", "Wasserstein", "entropy")),
    *((name, lower_tail) for name in ("nominal", "Wasserstein", "box")),
    ("nominal", wrong_worst_case),
    ("Wasserstein", wrong_worst_case),
]


@pytest.mark.parametrize(
    ("name", "plant"),
    FAULTS,
    ids=[f"{name}: {getattr(f, '__name__', getattr(f, 'func', f).__name__)}" for name, f in FAULTS],
)
def test_a_planted_fault_is_caught(
    name: str, plant: Any, data: xr.Dataset, cost: xr.DataArray, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = with_pair(data)
    # costs at which the last scenario, of probability zero, is not the dearest, and at which it is
    dear = cost.where(cost.scenario != "event 7", cost.max() * 1.2)
    plant(monkeypatch, own)
    assert not all(certified(SETS[name](own), own, each).passed for each in (cost, dear))


# ---- faults in the figures of the set -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["Wasserstein", "Wasserstein by entry", "ball in a box"])
def test_distances_that_are_not_those_of_the_data_are_caught(
    name: str, data: xr.Dataset, cost: xr.DataArray, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The answer keeps to the distances that it was bound with; the data say others."""
    from drofcm.risk import ambiguity as binding

    original = binding._distances
    monkeypatch.setattr(binding, "_distances", lambda *given: original(*given) * 1.01)
    failed = certified(SETS[name](data), data, cost).failures
    assert any(check.startswith("distances are those of the data") for check in failed["check"])


def test_moments_that_are_not_those_of_the_data_are_caught(data: xr.Dataset, cost: xr.DataArray) -> None:
    bound: Any = dro.bind(SETS["means"](data), data)
    wide = replace(bound, conditions=replace(bound.conditions, upper=bound.conditions.upper * 1.01))
    failed = certified(wide, data, cost).failures
    assert any(check.startswith("moments are those of the data") for check in failed["check"])
    fewer = replace(bound, conditions=dro.bind(dro.Moments("price", mean=0.2), data).conditions)
    assert not certified(fewer, data, cost).passed


@pytest.mark.parametrize(
    ("declared", "answer"),
    [
        (dro.Wasserstein(0.8, over="load"), dro.Wasserstein(0.4, over="load")),
        (dro.Wasserstein(0.8, over="load"), dro.Wasserstein(0.8, over="price")),
        (dro.Wasserstein(0.8, over="load", order=2), dro.Wasserstein(0.8, over="load")),
        (dro.Wasserstein(0.8, over="load", support=["event 1"]), dro.Wasserstein(0.8, over="load")),
        (dro.TotalVariation(0.1), dro.TotalVariation(0.2)),
        (dro.KullbackLeibler(0.1), dro.ModifiedChiSquared(0.1)),
        (dro.Moments("load", mean=0.2), dro.Moments("load", mean=0.1)),
        (dro.TotalVariation(0.1) & dro.ProbabilityBox(0.0, 0.27), dro.TotalVariation(0.1) & dro.ProbabilityBox(0, 0.5)),
    ],
    ids=str,
)
def test_an_answer_for_another_set_is_caught(
    declared: AmbiguitySet, answer: AmbiguitySet, data: xr.Dataset, cost: xr.DataArray
) -> None:
    assert not certified(declared, data, cost, answer=answer).passed


@pytest.mark.parametrize(
    "answered",
    [
        dro.Expectation(),
        0.5 * dro.Expectation() + 0.3 * dro.CVaR(0.3) + 0.1 * dro.CVaR(0.5) + 0.1 * dro.WorstCase(),
        0.6 * dro.Expectation() + 0.3 * dro.CVaR(0.8) + 0.1 * dro.CVaR(0.5),
    ],
    ids=str,
)
def test_an_answer_for_another_measure_is_caught(answered: Any, data: xr.Dataset, cost: xr.DataArray) -> None:
    assert as_sum(answered).total == pytest.approx(1)
    assert not certified(SETS["entropy"](data), data, cost, answered=answered).passed


def test_weights_with_the_right_value_outside_their_set_are_caught(data: xr.Dataset, cost: xr.DataArray) -> None:
    """Sum and weighted costs are right and every weight is below its own limit; two tails give too much at once."""
    p = np.full(4, 0.25)
    even = xr.Dataset({"probability": ("scenario", p)}, coords={"scenario": range(4)})
    costs = xr.DataArray([4.0, 4.0, 0.0, 0.0], coords=even.coords, dims="scenario")
    risk = {"expectation": 0.0, "cvar": [(0.5, 0.5), (0.75, 0.5)], "worst_case": 0.0}
    for weight, passes in (([0.75, 0.25, 0, 0], True), ([0.25, 0.75, 0, 0], True), ([1.0, 0.0, 0, 0], False)):
        ledger = Ledger(1e-6)
        found = xr.DataArray(np.array(weight), coords=costs.coords, dims="scenario")
        enter_worst_case(ledger, even, costs, spent=0.0, objective=4.0, weights=found, risk=risk)
        assert ledger.close().passed == passes, weight


def test_a_tiny_radius_is_not_lost_in_the_tolerance(data: xr.Dataset, cost: xr.DataArray) -> None:
    """Twice a radius of 1e-6 is twice what is allowed."""
    for one, other in (
        (dro.TotalVariation(1e-6), dro.TotalVariation(2e-6)),
        (dro.Wasserstein(1e-6, over="load", order=2), dro.Wasserstein(2e-6, over="load", order=2)),
        (dro.KullbackLeibler(1e-9), dro.KullbackLeibler(2e-9)),
        (dro.ModifiedChiSquared(1e-6), dro.ModifiedChiSquared(2e-6)),
    ):
        certified(one, data, cost).raise_if_failed()
        failed = certified(one, data, cost, answer=other).failures
        assert any(check.startswith("worst case lies in") for check in failed["check"]), one


@pytest.mark.slow
def test_many_scenarios_are_proved() -> None:
    """A program of 160,000 moves, of which few are looked at."""
    rng = np.random.default_rng(22)
    many = xr.Dataset({"load": ("scenario", rng.normal(size=400))}, coords={"scenario": range(400)})
    many["probability"] = ("scenario", np.full(400, 1 / 400))
    costs = xr.DataArray(rng.lognormal(size=400), coords={"scenario": many.scenario}, dims="scenario")
    certified(dro.Wasserstein(0.2, over="load"), many, costs).raise_if_failed()
