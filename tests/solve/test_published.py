"""Every published optimum of the external problems by decomposition, with one worker and with two, and in SMPS by both.

The extensive forms of what is built in the DSL (netdes, orlib) are those of ``tests/dsl/test_published.py``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from problems import NETDES_OPTIMA, ORLIB_OPTIMA, Problem, facility_location, network_design

import drofcm as dro

pytestmark = pytest.mark.benchmarks

slow = pytest.mark.slow

SLP = {
    ("lands", "lands"): 381.853333,
    ("4node", "4node-16"): 423.0125,
    ("4node", "4node-128"): 423.0125,
    ("env", "env-aggr"): 20478.698994,
    ("pltexpa-2", "pltexpa-2-6"): -9.479354,
    ("stormg2", "stormg2-8"): 15535235.730145,
}
WAYS: list[dict[str, Any]] = [
    {"method": "extensive"},
    {"method": "lshaped", "workers": 1},
    {"method": "lshaped", "workers": 2},
]


def check(result: dro.Result, optimum: float, rel: float) -> None:
    """The value, with bounds on the right sides, each within what the gap allows."""
    assert result.status == "optimal"
    assert result.objective == pytest.approx(optimum, rel=rel)
    assert result.lower_bound <= optimum + rel * abs(optimum)
    assert result.lower_bound == pytest.approx(optimum, rel=2 * rel)


@pytest.mark.parametrize(
    "way",
    [WAYS[0], WAYS[1], pytest.param(WAYS[2], marks=slow)],
    ids=lambda way: "-".join(map(str, way.values())),
)
@pytest.mark.parametrize(
    ("stem", "stochastic"),
    [pytest.param(*names, marks=slow) if names[1] == "4node-128" else names for names in SLP],
)
def test_linear(benchmarks: Path, stem: str, stochastic: str, way: dict[str, Any]) -> None:
    folder = benchmarks / "slp"
    blocks = dro.read_smps(folder / stem, stochastic=folder / f"{stochastic}.sto")
    check(dro.solve(blocks, gap=1e-7, **way), SLP[stem, stochastic], 1e-6)


@pytest.mark.parametrize(
    "way",
    [pytest.param(WAYS[0], marks=slow), pytest.param(WAYS[1], marks=slow), WAYS[2]],
    ids=lambda way: "-".join(map(str, way.values())),
)
def test_integer_recourse(benchmarks: Path, way: dict[str, Any]) -> None:
    result = dro.solve(dro.read_smps(benchmarks / "siplib" / "sslp_5_25_50"), gap=1e-4, **way)
    check(result, -121.60, 1e-4)
    assert result.first_stage["x"].values.tolist() == [1, 0, 1, 0, 0]


@slow
@pytest.mark.parametrize("way", WAYS, ids=lambda way: "-".join(map(str, way.values())))
def test_integer_recourse_whose_relaxation_is_far_below(benchmarks: Path, way: dict[str, Any]) -> None:
    """With the recourse relaxed it would be 882.6; a search that ends at its limit has the optimum between bounds."""
    result = dro.solve(dro.read_smps(benchmarks / "siplib" / "dcap233_200"), gap=1e-4, time_limit=900, **way)
    check(result, 1834.568, 1e-4)


def solved(problem: Problem, gap: float, workers: int) -> dro.Result:
    return problem.program().solve(risk=problem.risk, method="lshaped", gap=gap, workers=workers)


@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=slow)])
@pytest.mark.parametrize(
    "name",
    [name if name.startswith("network-10-10") else pytest.param(name, marks=slow) for name in sorted(NETDES_OPTIMA)],
)
def test_without_complete_recourse(benchmarks: Path, name: str, workers: int) -> None:
    problem = network_design(benchmarks / "netdes" / f"{name}.dat")
    check(solved(problem, 1e-5, workers), NETDES_OPTIMA[name], 1e-4)


@pytest.mark.parametrize("workers", [pytest.param(1, marks=slow), pytest.param(2, marks=slow)])
@pytest.mark.parametrize("fixed_cost", sorted(ORLIB_OPTIMA))
def test_one_scenario(benchmarks: Path, fixed_cost: float, workers: int) -> None:
    problem = facility_location(benchmarks / "orlib" / "cap41.txt", fixed_cost)
    check(solved(problem, 1e-7, workers), ORLIB_OPTIMA[fixed_cost], 1e-6)
