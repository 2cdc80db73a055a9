"""Published values of risk measures, as weights and as rows of the extensive form (CONTRIBUTING, rules 14 and 15)."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import xarray as xr

import drofcm as dro

COST = [10.0, 20.0, 30.0, 40.0]
EQUAL = [0.25] * 4

# risk measure, weights, value; CVaR(0.6) of four equally likely costs is mpi-sppy's test_cvar.py
VALUES = [
    (dro.Expectation(), [0.25, 0.25, 0.25, 0.25], 25.0),
    (dro.CVaR(0.0), [0.25, 0.25, 0.25, 0.25], 25.0),
    (dro.CVaR(0.6), [0.0, 0.0, 0.375, 0.625], 36.25),
    (dro.CVaR(0.75), [0.0, 0.0, 0.0, 1.0], 40.0),
    (dro.CVaR(1.0), [0.0, 0.0, 0.0, 1.0], 40.0),
    (dro.WorstCase(), [0.0, 0.0, 0.0, 1.0], 40.0),
    (dro.Expectation() + 0.5 * dro.CVaR(0.6), [0.25, 0.25, 0.4375, 0.5625], 43.125),
    (0.5 * dro.Expectation() + 0.25 * dro.CVaR(0.6) + 0.25 * dro.WorstCase(), None, 31.5625),
]
NAMED = pytest.mark.parametrize(("risk", "weights", "value"), VALUES, ids=[str(risk) for risk, _, _ in VALUES])


def over_scenarios(values: list[float]) -> xr.DataArray:
    return xr.DataArray(values, dims="scenario", coords={"scenario": np.arange(len(values))})


@NAMED
def test_weights(risk: Any, weights: list[float] | None, value: float) -> None:
    found = dro.worst_case_weights(risk, dro.Nominal(), over_scenarios(COST), over_scenarios(EQUAL))
    if weights is not None:
        np.testing.assert_allclose(found, weights, atol=1e-12)
    assert float(found @ over_scenarios(COST)) == pytest.approx(value)


def nothing_to_plan(m: dro.Stage, data: xr.Dataset) -> Any:
    fee = m.nonnegative("fee")
    m.subject_to("fee", fee == data.fee)
    return fee + 0


def pay(m: dro.Stage, data: xr.Dataset) -> Any:
    paid = m.nonnegative("paid")
    m.subject_to("bill", paid >= data.bill)
    return paid + 0


@NAMED
def test_rows_of_the_extensive_form(risk: Any, weights: list[float] | None, value: float) -> None:
    data = xr.Dataset({"fee": 3.0, "bill": over_scenarios(COST), "probability": over_scenarios(EQUAL)})
    program = dro.TwoStageProgram(data, first_stage=nothing_to_plan, recourse=pay)
    result = program.solve(risk=risk, method="extensive", gap=1e-9)
    assert result.objective == pytest.approx(3.0 + value)
    np.testing.assert_allclose(result.recourse_cost, COST)
    np.testing.assert_allclose(result.worst_case_probability, EQUAL)
    if weights is not None:
        np.testing.assert_allclose(result.risk_weight, weights, atol=1e-9)


@pytest.mark.parametrize("alpha", [-0.01, 1.01, float("nan")])
def test_a_confidence_level_outside_zero_to_one_cannot_be_built(alpha: float) -> None:
    with pytest.raises(ValueError, match=r"alpha must lie in \[0, 1\], got"):
        dro.CVaR(alpha)


def test_a_negative_weight_cannot_be_built() -> None:
    with pytest.raises(ValueError, match="weight of CVaR"):
        dro.Expectation() + -0.5 * dro.CVaR(0.9)


def test_the_algebra_prints_as_it_is_written() -> None:
    assert str(0.5 * dro.Expectation() + 0.5 * dro.CVaR(0.9)) == "0.5 E + 0.5 CVaR(0.9)"
