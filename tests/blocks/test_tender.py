"""What scenarios see of the first stage as columns of its own: the same program, and the same labels."""

from __future__ import annotations

from dataclasses import replace

import depots
import numpy as np
import pytest
import scipy.sparse as sp
import sites
from hypothesis import given, settings
from hypothesis import strategies as st

import drofcm as dro
from drofcm.blocks.form import TwoStageBlocks
from drofcm.blocks.tender import with_tender
from drofcm.solve.extensive import whole_problem
from drofcm.solve.highs import solve


def optimum(blocks: TwoStageBlocks) -> float:
    return solve(whole_problem(blocks, dro.Expectation(), dro.Nominal()), gap=0.0, threads=1).objective


def test_a_sum_for_every_depot() -> None:
    """Suppliers cannot be told apart by a scenario, depots can."""
    blocks = depots.blocks()
    tender = with_tender(blocks)
    plan = np.arange(8.0)
    assert tender.sums.toarray().tolist() == [[0, 0, 1, 0, 1, 0, 1, 0], [0, 0, 0, 1, 0, 1, 0, 1]]
    assert tender.lift(plan).tolist() == [*plan, 2 + 4 + 6, 3 + 5 + 7]
    assert tender.blocks.first_stage.integer.all()
    for own in tender.blocks.scenarios:
        assert np.unique(own.technology.indices).tolist() == [8, 9]


def test_program_stays_the_same() -> None:
    best = depots.optimum()
    assert optimum(depots.blocks()) == pytest.approx(best)
    assert optimum(with_tender(depots.blocks()).blocks) == pytest.approx(best)


def test_labels_lead_to_the_same_numbers() -> None:
    """First stage, recourse and recorded terms, read through the wider columns."""
    blocks = depots.blocks()
    wide = with_tender(blocks)
    rng = np.random.default_rng(3)
    x = rng.random(8)
    recourse = [rng.random(len(own.cost)) for own in blocks.scenarios]
    narrow, lifted = blocks.columns(x, recourse), wide.blocks.columns(wide.lift(x), recourse)
    assert blocks.labelled_first_stage(x).identical(wide.blocks.labelled_first_stage(wide.lift(x)))
    assert blocks.labelled_recourse(narrow).identical(wide.blocks.labelled_recourse(lifted))
    assert blocks.labelled_terms(narrow).identical(wide.blocks.labelled_terms(lifted))


def test_nothing_alike_leaves_the_program_alone() -> None:
    assert with_tender(sites.blocks()).blocks is sites.blocks()


def test_columns_that_no_scenario_sees_get_no_sum() -> None:
    blocks = depots.blocks()
    unseen = [replace(own, technology=sp.csr_array(own.technology.shape)) for own in blocks.scenarios]
    assert with_tender(replace(blocks, scenarios=tuple(unseen))).sums.shape[0] == 0


def test_sum_with_a_continuous_part_is_continuous() -> None:
    blocks = depots.blocks()
    integer = blocks.first_stage.integer.copy()
    integer[4] = False
    mixed = with_tender(replace(blocks, first_stage=replace(blocks.first_stage, integer=integer))).blocks.first_stage
    assert mixed.integer.tolist() == [*integer, False, True]


@given(seed=st.integers(0, 10_000))
@settings(max_examples=25, deadline=None)
def test_any_coefficients(seed: int) -> None:
    """Random technologies with columns repeated, costs of the first stage within the recourse, bounds of all kinds."""
    rng = np.random.default_rng(seed)
    blocks = depots.blocks()
    like = rng.integers(0, 4, 8)
    charged = rng.integers(0, 3, 4)[like].astype(float)
    lower = rng.integers(-1, 1, 8).astype(float)
    first = replace(blocks.first_stage, lower=lower, upper=lower + rng.integers(0, 3, 8))
    scenarios = tuple(
        replace(
            own,
            technology=sp.csr_array(rng.integers(-2, 3, (own.technology.shape[0], 4))[:, like].astype(float)),
            first_stage_cost=charged,
            row_lower=np.full_like(own.row_lower, -np.inf),
            row_upper=np.full_like(own.row_upper, 50.0),
        )
        for own in blocks.scenarios
    )
    changed = replace(blocks, first_stage=first, scenarios=scenarios)
    tender = with_tender(changed)
    assert optimum(tender.blocks) == pytest.approx(optimum(changed), abs=1e-6)
    x = rng.random(8)
    for narrow, wide in zip(changed.scenarios, tender.blocks.scenarios, strict=True):
        assert wide.technology @ tender.lift(x) == pytest.approx(narrow.technology @ x)
        assert wide.first_stage_cost @ tender.lift(x) == pytest.approx(narrow.first_stage_cost @ x)
