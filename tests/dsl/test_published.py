"""Problems with published or closed-form optima, solved through the DSL (CONTRIBUTING, rules 5, 11, 14 and 16)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from problems import (
    NETDES_OPTIMA,
    ORLIB_OPTIMA,
    Problem,
    facility_location,
    farmer,
    lands,
    network_design,
    newsvendor,
    robust_portfolio,
)

import drofcm as dro

SMALL = [
    farmer(),
    # whatever is planted, the poor harvest is the worst one: planning for it alone is best (same source, table 4)
    farmer(risk=dro.WorstCase(), optimum=-59950.0, plan=(100, 25, 375)),
    lands(),
    robust_portfolio(),
    *(newsvendor(alpha) for alpha in (0.0, 0.3, 0.7, 0.9)),
]


def check(problem: Problem, rtol: float = 1e-6, **options: object) -> None:
    result = problem.program().solve(risk=problem.risk, **options)
    assert result.status == "optimal"
    assert result.objective == pytest.approx(problem.optimum, rel=rtol)
    slack = rtol * abs(problem.optimum)
    assert result.lower_bound - slack <= result.objective <= result.upper_bound + slack
    for name, values in problem.plan.items():
        np.testing.assert_allclose(np.atleast_1d(result.first_stage[name].values), values, rtol=1e-5, atol=1e-6)
    assert set(result.recourse_cost.dims) == {"scenario"}


@pytest.mark.parametrize("problem", SMALL, ids=lambda problem: f"{problem.name}, {problem.risk}")
def test_small_problem(problem: Problem) -> None:
    check(problem, gap=1e-9)


def test_farmer_as_decorated_functions() -> None:
    """The other way to declare a program gives the same program."""
    known = farmer()
    program = dro.TwoStageProgram(known.data)
    program.first_stage(known.first_stage)
    program.recourse(known.recourse)
    assert program.solve(gap=1e-9).objective == pytest.approx(known.optimum)


def test_farmer_recourse_by_harvest() -> None:
    """What is sold and bought in each year, and what each year yields (same source, table 5)."""
    result = farmer().program().solve(gap=1e-9)
    np.testing.assert_allclose(result.recourse["sold"].sel(crop="wheat"), [310, 225, 140], atol=1e-5)
    np.testing.assert_allclose(result.recourse["bought"].sel(crop="corn"), [0, 0, 48], atol=1e-5)
    np.testing.assert_allclose(result.recourse["sold"].sel(crop="sugar_beet"), [6000, 5000, 4000], atol=1e-4)
    planting = 150 * 170 + 230 * 80 + 260 * 250
    np.testing.assert_allclose(-result.recourse_cost - planting, [167000, 109350, 48820], atol=1e-3)


@pytest.mark.benchmarks
@pytest.mark.parametrize("fixed_cost", sorted(ORLIB_OPTIMA))
def test_facility_location(benchmarks: Path, fixed_cost: float) -> None:
    check(facility_location(benchmarks / "orlib" / "cap41.txt", fixed_cost), rtol=1e-6, gap=1e-8)


@pytest.mark.benchmarks
@pytest.mark.parametrize("name", sorted(NETDES_OPTIMA))
def test_network_design(benchmarks: Path, name: str) -> None:
    check(network_design(benchmarks / "netdes" / f"{name}.dat"), rtol=1e-4, gap=1e-5)
