"""A plan to start from, and what is told on the way."""

from __future__ import annotations

import pytest
import sites
import xarray as xr

import drofcm as dro


def test_bounds_that_are_told_from_a_start_on_are_bounds() -> None:
    """HiGHS completes a start in a smaller problem, whose bounds would be above the optimum."""
    best = sites.optimum()
    empty = dro.solve(sites.blocks(), gap=1e-6).first_stage
    empty = empty.assign(opened=xr.zeros_like(empty.opened))
    told: list[tuple[float, float]] = []
    result = dro.solve(
        sites.blocks(), method="extensive", gap=1e-6, start=empty, progress=lambda _, low, up: told.append((low, up))
    )
    assert result.objective == pytest.approx(best, rel=1e-6)
    assert told
    assert all(low <= best * (1 + 1e-6) and up >= best * (1 - 1e-6) for low, up in told)
    assert (result.log.lower_bound <= best * (1 + 1e-6)).all()
