"""The certificate under an ambiguity set: what nature is said to pick lies in the set, and nothing in it is worse."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
import xarray as xr
from cases.loader import load_case
from cases.model import measure as mean_and_tail
from scipy import stats

import drofcm as dro
from drofcm.problems import demand_shock
from drofcm.validate.certificate import Certificate, certify
from drofcm.validate.ledger import Ledger
from drofcm.validate.worst_case import enter_distribution, transport_cost

RISK: dict[str, Any] = {"expectation": 0.5, "cvar": [(0.8, 0.3)], "worst_case": 0.2}
SETS = [
    dro.Wasserstein(0.4, over="shock"),
    dro.TotalVariation(0.2),
    dro.KullbackLeibler(0.1),
    dro.TotalVariation(0.3) & dro.ProbabilityBox(0.0, 0.8),
]


def measure() -> Any:
    return mean_and_tail(RISK) + RISK["worst_case"] * dro.WorstCase()


def over_scenarios(values: Any) -> xr.DataArray:
    values = np.asarray(values, dtype=float)
    return xr.DataArray(values, coords={"scenario": np.arange(len(values))}, dims="scenario")


def line(points: np.ndarray) -> xr.DataArray:
    labels = np.arange(len(points))
    between = np.abs(points[:, None] - points)
    return xr.DataArray(between, coords={"reference": labels, "scenario": labels}, dims=("reference", "scenario"))


# ---- membership -----------------------------------------------------------------------------------------------------


def test_transport_cost_on_a_line_is_that_of_scipy() -> None:
    rng = np.random.default_rng(5)
    for _ in range(20):
        points = rng.normal(size=7)
        p, q = rng.dirichlet(np.ones(7), size=2)
        for radius in (0.01, 10.0):
            found = transport_cost(dro.Wasserstein(radius, distance=line(points)), over_scenarios(p), over_scenarios(q))
            assert found == pytest.approx(stats.wasserstein_distance(points, points, p, q), abs=1e-9)


def test_of_second_order_moving_everything_on_can_be_cheaper() -> None:
    """From 0 to 2 by way of 1: two moves of squared length 1 beat one of 4."""
    ball = dro.Wasserstein(1.2, order=2, distance=line(np.array([0.0, 1.0, 2.0])))
    p, q = np.array([0.5, 0.5, 0.0]), np.array([0.0, 0.5, 0.5])
    assert transport_cost(ball, over_scenarios(p), over_scenarios(q)) == pytest.approx(1.0)


P = over_scenarios([0.5, 0.3, 0.2, 0.0])
BOUND = dro.bind(
    dro.Moments("load", mean=0.2),
    xr.Dataset({"load": ("scenario", [1.0, 2.0, 3.0, 9.0]), "probability": P}, coords=P.coords),
)


@pytest.mark.parametrize(
    ("ambiguity", "inside", "outside"),
    [
        (dro.Nominal(), [0.5, 0.3, 0.2, 0.0], [0.5, 0.3, 0.19, 0.01]),
        (dro.TotalVariation(0.1), [0.4, 0.3, 0.2, 0.1], [0.39, 0.3, 0.2, 0.11]),
        (dro.ProbabilityBox(0.0, 0.5), [0.1, 0.2, 0.2, 0.5], [0.6, 0.2, 0.2, 0.0]),
        (BOUND, [0.5, 0.3, 0.2, 0.0], [0.0, 0.3, 0.2, 0.5]),
        (dro.ModifiedChiSquared(0.2), [0.6, 0.3, 0.1, 0.0], [0.7, 0.3, 0.0, 0.0]),
        (dro.KullbackLeibler(0.2), [0.6, 0.3, 0.1, 0.0], [0.4, 0.3, 0.2, 0.1]),
        (dro.Wasserstein(0.2, distance=line(np.arange(4.0))), [0.3, 0.5, 0.2, 0.0], [0.3, 0.3, 0.4, 0.0]),
        (dro.TotalVariation(0.1) & dro.ProbabilityBox(0.0, 0.5), [0.4, 0.4, 0.2, 0.0], [0.6, 0.3, 0.1, 0.0]),
        (dro.TotalVariation(1.0), [0.1, 0.1, 0.8, 0.0], [0.3, 0.3, 0.5, 0.0]),
        (dro.TotalVariation(1.0), [0.0, 0.0, 0.0, 1.0], [0.8, 0.3, 0.0, -0.1]),
    ],
    ids=str,
)
def test_what_leaves_the_set_fails(ambiguity: Any, inside: list[float], outside: list[float]) -> None:
    for values, passes in ((inside, True), (outside, False)):
        ledger = Ledger(1e-6)
        enter_distribution(ledger, ambiguity, P, over_scenarios(values))
        assert ledger.close().passed == passes


# ---- the whole certificate ------------------------------------------------------------------------------------------


@cache
def problem() -> tuple[xr.Dataset, dro.TwoStageProgram]:
    """The case and its program, assembled once for all sets."""
    data = load_case("enumerated").data
    return data, demand_shock.program(data)


@cache
def solved(ambiguity: Any) -> tuple[dro.Result, xr.Dataset, Any]:
    data, program = problem()
    bound = dro.bind(ambiguity, data)
    return program.solve(risk=measure(), ambiguity=bound, gap=1e-6), data, bound


def certificate(result: dro.Result, data: xr.Dataset, bound: Any) -> Certificate:
    return certify(
        data,
        result.first_stage,
        result.recourse,
        result.terms,
        result.recourse_cost,
        objective=result.objective,
        risk_weights=result.risk_weight,
        risk=RISK,
        ambiguity=bound,
        worst_case_probability=result.worst_case_probability,
    )


@pytest.mark.parametrize("ambiguity", SETS, ids=str)
def test_a_robust_plan_passes(ambiguity: Any) -> None:
    certificate(*solved(ambiguity)).raise_if_failed()


def test_a_distribution_that_is_not_the_worst_is_caught() -> None:
    """Weights and objective of the nominal distribution, passed off as those of the set."""
    result, data, bound = solved(SETS[1])
    mild = problem()[1].evaluate(result.first_stage, measure())
    assert mild.objective < result.objective - 1e-3
    failures = certificate(replace(mild, worst_case_probability=mild.probability), data, bound).failures
    assert "no distribution of the set is worse" in set(failures["check"])


def test_probabilities_and_weights_that_do_not_belong_together_are_caught() -> None:
    result, data, bound = solved(SETS[1])
    swapped = replace(result, worst_case_probability=result.risk_weight)
    failures = set(certificate(swapped, data, bound).failures["check"])
    assert any(check.startswith("worst case lies in") for check in failures)
    assert "objective by sorting" in failures
