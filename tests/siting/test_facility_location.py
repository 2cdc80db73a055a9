"""Facility location against spopt, against enumeration, and against the published optima of cap41 to cap44."""

from __future__ import annotations

import itertools
import warnings
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pulp
import pytest
import xarray as xr
from shapely.geometry import Point

from drofcm.core.errors import InfeasibleError, InputError
from drofcm.problems.facility_location import (
    CapacitatedFixedCharge,
    MaximalCoverage,
    PCentre,
    PMedian,
    SetCovering,
)

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from spopt.locate import LSCP, MCLP, PCenter
    from spopt.locate import PMedian as SpoptPMedian

SEEDS = (1, 2, 3, 4, 5)

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:pulp")


def instance(seed: int) -> tuple[np.ndarray, np.ndarray, int, float]:
    """Costs between 18 clients and 9 sites in a square, weights, how many sites, and a radius all can be covered by."""
    rng = np.random.default_rng([20261121, seed])
    clients, sites = rng.uniform(0, 10, (18, 2)), rng.uniform(0, 10, (9, 2))
    cost = np.hypot(*(clients[:, None] - sites[None]).transpose(2, 0, 1)).round(3)
    radius = float(np.quantile(cost.min(axis=1), 0.95).round(3))
    return cost, rng.integers(1, 20, 18).astype(float), 3, max(radius, float(cost.min(axis=1).max()))


def solver() -> Any:
    return pulp.PULP_CBC_CMD(msg=False, gapRel=0)


@pytest.mark.parametrize("seed", SEEDS)
def test_p_median_as_spopt(seed: int) -> None:
    cost, weights, p, _ = instance(seed)
    theirs = SpoptPMedian.from_cost_matrix(cost, weights, p_facilities=p).solve(solver())
    ours = PMedian.from_cost_matrix(cost, weights, p_facilities=p).solve()
    assert ours.objective == pytest.approx(theirs.problem.objective.value(), rel=1e-6)
    opened = [int(label[1:]) for label in ours.facilities]
    assert len(opened) == p
    assert (weights * cost[:, opened].min(axis=1)).sum() == pytest.approx(ours.objective, rel=1e-6)
    assert ours.lower_bound <= ours.objective * (1 + 1e-9)


@pytest.mark.parametrize("seed", SEEDS)
def test_maximal_coverage_as_spopt(seed: int) -> None:
    cost, weights, _, radius = instance(seed)
    theirs = MCLP.from_cost_matrix(cost, weights, radius, p_facilities=2).solve(solver())
    ours = MaximalCoverage.from_cost_matrix(cost, weights, p_facilities=2, service_radius=radius).solve()
    assert weights.sum() - ours.objective == pytest.approx(theirs.problem.objective.value(), rel=1e-6)
    assert sum(weights[int(label[1:])] for label in ours.covered) == pytest.approx(weights.sum() - ours.objective)


@pytest.mark.parametrize("seed", SEEDS)
def test_set_covering_as_spopt(seed: int) -> None:
    cost, _, _, radius = instance(seed)
    theirs = LSCP.from_cost_matrix(cost, radius).solve(solver())
    ours = SetCovering.from_cost_matrix(cost, service_radius=radius).solve()
    assert ours.objective == pytest.approx(theirs.problem.objective.value()) == len(ours.facilities)
    assert len(ours.covered) == 18


@pytest.mark.parametrize("seed", SEEDS)
def test_p_centre_as_spopt(seed: int) -> None:
    cost, _, p, _ = instance(seed)
    theirs = PCenter.from_cost_matrix(cost, p_facilities=p).solve(solver())
    ours = PCentre.from_cost_matrix(cost, p_facilities=p).solve()
    assert ours.objective == pytest.approx(theirs.problem.objective.value(), rel=1e-6)
    assert ours.clients["cost"].max() == pytest.approx(ours.objective, rel=1e-6)


@pytest.mark.parametrize("seed", SEEDS[:2])
def test_sites_that_stand_already_as_spopt(seed: int) -> None:
    cost, weights, p, _ = instance(seed)
    stands = np.zeros(9)
    stands[[0, 4]] = 1
    theirs = SpoptPMedian.from_cost_matrix(cost, weights, p_facilities=p, predefined_facilities_arr=stands)
    ours = PMedian.from_cost_matrix(cost, weights, p_facilities=p, predefined=["f0", "f4"]).solve()
    assert ours.objective == pytest.approx(theirs.solve(solver()).problem.objective.value(), rel=1e-6)
    assert {"f0", "f4"} <= set(ours.facilities)


def test_a_fixed_charge_by_enumeration() -> None:
    """Seven clients and four sites with room for all: every set of sites is tried."""
    rng = np.random.default_rng(8)
    cost, fixed = rng.uniform(1, 20, (7, 4)), rng.uniform(5, 25, 4)
    best = min(
        fixed[list(sites)].sum() + cost[:, sites].min(axis=1).sum()
        for count in range(1, 5)
        for sites in itertools.combinations(range(4), count)
    )
    ours = CapacitatedFixedCharge.from_cost_matrix(cost, 1.0, fixed_cost=fixed, capacity=7.0).solve()
    assert ours.objective == pytest.approx(best, rel=1e-6)
    tight = CapacitatedFixedCharge.from_cost_matrix(cost, 1.0, fixed_cost=fixed, capacity=2.5).solve()
    assert len(tight.facilities) >= 3
    assert tight.assigned is not None
    assert (tight.assigned.sum("client") <= 2.5 + 1e-6).all()


FIXED = {"cap41": (7500, 1040444.375), "cap42": (12500, 1098000.450), "cap43": (17500, 1153000.450)}
FIXED["cap44"] = (25000, 1235500.450)


@pytest.mark.benchmarks
@pytest.mark.parametrize("name", FIXED)
def test_capacitated_fixed_charge_equals_the_published_optimum(name: str, benchmarks: Path) -> None:
    """Beasley's OR-Library; cap42 to cap44 are cap41 with another fixed cost, site 11 stays free."""
    figures = (benchmarks / "orlib" / "cap41.txt").read_text().split()
    sites, clients = int(figures[0]), int(figures[1])
    table = np.array(figures[2 : 2 + 2 * sites], dtype=float).reshape(sites, 2)
    rows = np.array(figures[2 + 2 * sites :], dtype=float).reshape(clients, 1 + sites)
    fixed, optimum = FIXED[name]
    ours = CapacitatedFixedCharge.from_cost_matrix(
        rows[:, 1:], rows[:, 0], fixed_cost=np.where(table[:, 1] > 0, fixed, 0), capacity=table[:, 0]
    ).solve(gap=1e-7)
    assert ours.objective == pytest.approx(optimum, abs=0.01)


# ==== From layers =======================================================================================


def layers() -> tuple[gpd.GeoDataFrame, gpd.GeoDataFrame]:
    clients = gpd.GeoDataFrame(
        {"id": ["a", "b", "c"], "load": [1.0, 1.0, 5.0]},
        geometry=[Point(400_000 + x, 5_300_000) for x in (0, 2000, 10_000)],
        crs="EPSG:32632",
    )
    sites = gpd.GeoDataFrame(
        {"id": ["west", "east"], "stands": [0, 1]},
        geometry=[Point(401_000, 5_300_000), Point(408_000, 5_300_000)],
        crs="EPSG:32632",
    )
    return clients, sites


def test_layers_give_kilometres_or_what_is_given() -> None:
    clients, sites = layers()
    problem = PMedian.from_geodataframe(clients, sites, "load", 1)
    # west: 1 + 1 + 5 x 9 = 47; east: 8 + 6 + 5 x 2 = 24
    assert problem.solve().facilities == ("east",)
    assert problem.solve().objective == pytest.approx(24, rel=1e-3)
    hours = xr.DataArray(
        [[3.0, 0.1], [3.0, 0.1], [4.0, 0.2]], coords={"node": ["c", "b", "a"], "hub": ["east", "west"]}
    )
    found = PMedian.from_geodataframe(clients, sites, "load", 1, cost=hours).solve()
    assert found.facilities == ("west",)
    assert found.objective == pytest.approx(5 * 0.1 + 0.1 + 0.2)
    assert list(found.clients.index) == ["a", "b", "c"]
    stands = PMedian.from_geodataframe(clients, sites, "load", 1, predefined_col="stands", cost=hours).solve()
    assert stands.facilities == ("east",)


def test_everything_wrong_is_told_at_once() -> None:
    cost, weights, _, _ = instance(1)
    bad = cost.copy()
    bad[2, 3] = np.inf
    with pytest.raises(InputError) as caught:
        PMedian.from_cost_matrix(bad, -weights, p_facilities=12, capacity=3, predefined=["f12"])
    told = "\n".join(str(finding) for finding in caught.value.findings)
    for part in (
        "weights: must be finite numbers of at least 0",
        "capacity: has no effect on PMedian",
        "p_facilities: must be a whole number between 1 and the number of sites, 9, is 12",
        "predefined: unknown site 'f12' (did you mean",
        "cost_matrix: must be finite and at least 0, is not at client=c2, facility=f3",
    ):
        assert part in told, told
    with pytest.raises(InputError, match=r"service_radius: no site lies within 0\.001 of c0"):
        SetCovering.from_cost_matrix(cost, service_radius=0.001)
    with pytest.raises(InputError, match="fixed_cost: missing: CapacitatedFixedCharge needs it"):
        CapacitatedFixedCharge.from_cost_matrix(cost, 1.0, capacity=2)
    clients, sites = layers()
    with pytest.raises(InputError, match=r"weights_col: no column 'loads' \(did you mean 'load'"):
        PMedian.from_geodataframe(clients, sites, "loads", 1)


def test_too_little_capacity_is_infeasible() -> None:
    with pytest.raises(InfeasibleError):
        CapacitatedFixedCharge.from_cost_matrix([[1.0], [2.0]], 1.0, fixed_cost=1.0, capacity=1.5).solve()
