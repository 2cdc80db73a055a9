"""Perfect information as a run states it: the textbook's value where there is time, and why not where there is none."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from problems import farmer, newsvendor

import drofcm as dro
from drofcm.study.foresight import foresight, foresight_from, plain


@pytest.fixture(scope="module")
def solved() -> tuple[dro.TwoStageProgram, dro.Result]:
    program = farmer().program()
    return program, program.solve(gap=1e-6, workers=1)


def test_the_farmers_value_lies_in_the_interval(solved: tuple[dro.TwoStageProgram, dro.Result]) -> None:
    """Birge and Louveaux, Introduction to Stochastic Programming, 1.1: 7,016 $."""
    program, plan = solved
    found = foresight(program, plan, dro.Expectation(), dro.Nominal(), 1e-4)
    assert found.left_out == ""
    assert found.lower - 0.01 <= 7015.56 <= found.upper + 0.01
    assert found.upper - found.lower < 100
    assert foresight_from(plain(found)) == found


def test_searches_without_time_leave_an_interval_that_holds(solved: tuple[dro.TwoStageProgram, dro.Result]) -> None:
    program, plan = solved
    found = dro.expected_value_of_perfect_information(program, solution=plan, seconds=1e-9, workers=1)
    assert found.lower - 0.01 <= 7015.56 <= found.upper + 0.01
    # who knows the scenario may keep to the plan that is made for all
    assert (found.cost.values <= plan.cost.values + 1e-6).all()


def test_it_is_left_out_with_the_reason(solved: tuple[dro.TwoStageProgram, dro.Result]) -> None:
    program, plan = solved
    stopped = foresight(program, replace(plan, status="interrupted"), dro.Expectation(), dro.Nominal(), 1e-4)
    assert stopped.left_out == "the search was interrupted"
    data = newsvendor(0.0).data
    many = data.isel(scenario=np.zeros(400, dtype=int)).assign_coords(scenario=np.arange(400))
    wide = newsvendor(0.0).program().on(many.assign(probability=("scenario", np.full(400, 1 / 400))))
    short = replace(plan, provenance={**plan.provenance, "seconds": 60.0})
    told = foresight(wide, short, dro.Expectation(), dro.Nominal(), 1e-4).left_out
    assert told == "10% of the time of the search (60 s) is 0.015 s for each of 400 scenarios, too little to tell"
    assert foresight_from(None) is None
