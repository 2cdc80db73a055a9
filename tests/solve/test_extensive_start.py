"""A plan to start from, and what is told on the way."""

from __future__ import annotations

import numpy as np
import pytest
import sites
import xarray as xr

import drofcm as dro
from drofcm.solve.extensive import whole_problem
from drofcm.solve.highs import solve
from drofcm.solve.progress import Standing


def test_bounds_that_are_told_from_a_start_on_are_bounds() -> None:
    """HiGHS completes a start in a smaller problem, whose bounds would be above the optimum."""
    best = sites.optimum()
    empty = dro.solve(sites.blocks(), gap=1e-6).first_stage
    empty = empty.assign(opened=xr.zeros_like(empty.opened))
    told: list[Standing] = []
    result = dro.solve(
        sites.blocks(),
        method="extensive",
        gap=1e-6,
        start=empty,
        progress=told.append,
    )
    assert result.objective == pytest.approx(best, rel=1e-6)
    assert told
    assert all(own.lower <= best * (1 + 1e-6) and own.upper >= best * (1 - 1e-6) for own in told)
    assert (result.log.lower_bound <= best * (1 + 1e-6)).all()


@pytest.mark.parametrize("plan", [(0, 0, 0, 0), (1, 0, 0, 0), (0, 1, 0, 1)])
def test_bound_that_is_enough_is_a_bound_of_the_whole_problem(plan: tuple[int, ...]) -> None:
    """With a start that costs more than what is enough, its own bound must not end the search."""
    best = sites.optimum()
    whole = whole_problem(sites.blocks(), dro.Expectation(), dro.Nominal())
    enough = best + 1e-3
    start = (np.arange(sites.SITES, dtype=np.int32), np.array(plan, dtype=float))
    outcome = solve(whole, gap=1e-6, start=start, enough=enough, threads=1)
    assert outcome.status == "optimal"
    assert outcome.objective == pytest.approx(best, rel=1e-6)
    assert outcome.bound <= best * (1 + 1e-6)


def test_start_that_cannot_be_completed_is_left_out() -> None:
    whole = whole_problem(sites.blocks(), dro.Expectation(), dro.Nominal())
    start = (np.arange(sites.SITES, dtype=np.int32), np.ones(sites.SITES))
    assert sites.MOST < sites.SITES
    assert solve(whole, start=start, threads=1).objective == pytest.approx(sites.optimum(), rel=1e-6)
