"""Values of information against textbooks, closed forms and enumeration."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import xarray as xr
from problems import farmer, newsvendor, newsvendor_day, newsvendor_plan, relabelled

import drofcm as dro
from drofcm.risk.weights import worst_case_weights


def test_the_farmer() -> None:
    """Birge and Louveaux, Introduction to Stochastic Programming, 2nd ed., 1.1: EVPI 7,016 $, VSS 1,150 $."""
    program = farmer().program()
    known = dro.expected_value_of_perfect_information(program, workers=1)
    assert known.value == pytest.approx(7015.56, abs=0.01)
    assert known.wait_and_see == pytest.approx(-115405.56, abs=0.01)
    assert known.lower <= known.value <= known.upper
    naive = dro.value_of_stochastic_solution(program, workers=1)
    assert naive.value == pytest.approx(1150, abs=0.01)
    assert naive.expected_value is not None
    assert naive.expected_value.objective == pytest.approx(-107240, abs=0.01)
    assert naive.expected_value.first_stage["area"].values == pytest.approx([120, 80, 300])


def test_the_newsvendor_in_closed_form() -> None:
    problem = newsvendor(0.0)
    demand, p = problem.data.demand.values, problem.data.probability.values
    known = dro.expected_value_of_perfect_information(problem.program(), workers=1)
    # who knows the demand orders it: margin 4 on each paper
    assert known.cost.values == pytest.approx(-4 * demand)
    assert known.value == pytest.approx(problem.optimum + 4 * p @ demand)
    naive = dro.value_of_stochastic_solution(problem.program(), workers=1)
    mean = p @ demand
    cost = 6 * mean - p @ (10 * np.minimum(mean, demand) + np.maximum(mean - demand, 0))
    assert naive.value == pytest.approx(cost - problem.optimum)


@pytest.mark.parametrize(
    ("risk", "total", "ambiguity"),
    [
        (dro.CVaR(0.5), 1.0, None),
        (0.5 * dro.Expectation() + 2.0 * dro.CVaR(0.7), 2.5, None),
        (0.5 * dro.Expectation() + 0.5 * dro.CVaR(0.5), 1.0, dro.TotalVariation(0.2)),
    ],
)
def test_under_risk_and_ambiguity(risk: Any, total: float, ambiguity: dro.TotalVariation | None) -> None:
    """Against the best of all orders that can be best; weights need not sum to one."""
    problem = newsvendor(0.0)
    demand, p = problem.data.demand.values, problem.data.probability

    def rho(cost: np.ndarray) -> float:
        labelled = p.copy(data=cost)
        return float((worst_case_weights(risk, ambiguity or dro.Nominal(), labelled, p) * labelled).sum())

    def income(order: float) -> np.ndarray:
        return 10 * np.minimum(order, demand) + np.maximum(order - demand, 0)

    best = min(6 * order + rho(-income(order)) for order in demand)
    informed = np.min([6 * order / total - income(order) for order in demand], axis=0)
    known = dro.expected_value_of_perfect_information(problem.program(), risk=risk, ambiguity=ambiguity, workers=1)
    assert known.stochastic.objective == pytest.approx(best, rel=1e-6)
    assert known.cost.values == pytest.approx(informed)
    assert known.wait_and_see == pytest.approx(rho(informed))
    assert known.value == pytest.approx(best - rho(informed))
    assert known.value > 0


def test_matrices_have_both_values_too() -> None:
    blocks = farmer().program().blocks()
    known = dro.expected_value_of_perfect_information(blocks, workers=1)
    assert known.value == pytest.approx(7015.56, abs=0.01)
    naive = dro.value_of_stochastic_solution(blocks, workers=1)
    assert naive.value == pytest.approx(1150, abs=0.01)
    assert naive.expected_value is not None
    assert naive.expected_value.first_stage["area"].values == pytest.approx([120, 80, 300])


def test_matrices_that_differ_in_more_than_numbers_have_no_mean() -> None:
    blocks = farmer().program().blocks()
    first, *others = blocks.scenarios
    free = replace(first, upper=np.where(np.isinf(first.upper), 1e6, first.upper))
    with pytest.raises(dro.InputError, match="differ from the first in columns, rows, integers or infinite bounds"):
        dro.value_of_stochastic_solution(replace(blocks, scenarios=(first, free, *others[1:])))


def test_processes_find_the_same() -> None:
    here = dro.expected_value_of_perfect_information(farmer().program(), workers=1)
    beside = dro.expected_value_of_perfect_information(farmer().program(), workers=2)
    assert beside.value == here.value
    xr.testing.assert_identical(beside.cost, here.cost)


def tower_plan(m: dro.Stage, data: xr.Dataset) -> object:
    return m.nonnegative("height", upper=10)


def tower_day(m: dro.Stage, data: xr.Dataset) -> object:
    spare = m.nonnegative("spare")
    m.subject_to("above_water", m["height"] - spare == data.water)
    return 0.0 * spare


def test_a_mean_plan_that_breaks_down_is_infinitely_worse() -> None:
    data = xr.Dataset({"water": ("scenario", [2.0, 6.0])}).assign_coords(scenario=[0, 1])
    naive = dro.value_of_stochastic_solution(dro.TwoStageProgram(data, tower_plan, tower_day), workers=1)
    assert naive.expected_value is None
    assert naive.value == naive.upper == np.inf
    assert naive.stochastic.objective == pytest.approx(6)


def test_what_has_no_mean_is_named() -> None:
    data = newsvendor(0.0).data.assign(open=("scenario", [True] * 7), kind=("scenario", ["a"] * 7))
    program = dro.TwoStageProgram(data, newsvendor_plan, newsvendor_day)
    with pytest.raises(dro.InputError) as error:
        dro.value_of_stochastic_solution(program)
    assert [finding.where for finding in error.value.findings] == ["open", "kind"]
    mean = program.on(relabelled(data.isel(scenario=[2]).assign(probability=("scenario", [1.0])), scenario=[0]))
    assert dro.value_of_stochastic_solution(program, mean=mean, workers=1).value >= 0
