"""What hubs are worth, on the case of the closed bridge, whose plans are all worked out by hand."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from cases.builder import bridge_data, small_data
from cases.model import measure

from drofcm.core.errors import InputError
from drofcm.dsl.program import TwoStageProgram
from drofcm.problems import demand_shock
from drofcm.problems.location_plan import median_plan
from drofcm.solve.result import Result
from drofcm.validate import criticality
from drofcm.validate.criticality import hub_criticality

RISK = measure({"expectation": 1.0})


@pytest.fixture(scope="module")
def data() -> xr.Dataset:
    """As in tests/cases/test_closed_road.py: k costs 4,000, h 4,125, both 4,375, no hub 5,000 $/a."""
    return bridge_data([[[0.2, 0.2], [0.4, 0.4]], [[1.0, 1.0], [0.4, 0.4]]])


@pytest.fixture(scope="module")
def program(data: xr.Dataset) -> TwoStageProgram:
    return demand_shock.program(data)


@pytest.fixture(scope="module")
def plan(program: TwoStageProgram) -> Result:
    return program.solve(risk=RISK, gap=1e-7)


@pytest.fixture(scope="module")
def searches() -> dict[tuple[str, str], tuple[float, float, float]]:
    """What the searches found that were made so far, by hub and what it was forced to."""
    return {}


@pytest.fixture
def searched_once(monkeypatch: pytest.MonkeyPatch, searches: dict[tuple[str, str], tuple[float, float, float]]) -> None:
    """The same problem is searched once for all tests: what they differ in is how its bounds are read."""
    search = criticality._bounds

    def remembered(task: Any) -> tuple[float, float, float]:
        key = (task.hub, task.force)
        if key not in searches:
            searches[key] = search(task)
        return searches[key]

    monkeypatch.setattr(criticality, "_bounds", remembered)


def check_what_is_worked_out(table: pd.DataFrame) -> None:
    assert table["open"].to_dict() == {"k": True, "h": False}
    assert table["force"].to_dict() == {"k": "out", "h": "in"}
    # without k the best is h alone; with h in, h alone is cheaper than both
    # under the expectation the objective is the expected cost
    for bound in ("extra_at_least", "extra_at_most", "extra_expected"):
        np.testing.assert_allclose(table[bound], 125, atol=0.1)
    assert set(table["role"]) == {"in every", "in none"}


@pytest.mark.usefixtures("searched_once")
def test_forcing_out_and_in_costs_what_is_worked_out(data: xr.Dataset, plan: Result) -> None:
    check_what_is_worked_out(hub_criticality(data, plan, RISK, gap=1e-7, workers=1))


@pytest.mark.slow
def test_processes_find_the_same(data: xr.Dataset, plan: Result) -> None:
    check_what_is_worked_out(hub_criticality(data, plan, RISK, gap=1e-7, workers=2))


@pytest.mark.usefixtures("searched_once")
@pytest.mark.usefixtures("searched_once")
def test_hubs_of_a_plan_are_known_by_label(data: xr.Dataset, plan: Result) -> None:
    """A plan whose hubs stand in another order than those of the data."""
    turned = replace(plan, first_stage=plan.first_stage.isel(hub=slice(None, None, -1)))
    hub = str(data.hub.values[0])
    one, other = (hub_criticality(data, own, RISK, hubs=[hub], gap=1e-7, workers=1) for own in (plan, turned))
    assert one["open"].equals(other["open"])


def test_roles_change_with_what_counts_as_near(data: xr.Dataset, plan: Result) -> None:
    """125 of 4,000 is 3.125 %."""
    table = hub_criticality(data, plan, RISK, gap=1e-7, within=0.04, workers=1)
    assert table["role"].to_dict() == {"k": "in some", "h": "in some"}


@pytest.mark.usefixtures("searched_once")
def test_what_the_bounds_do_not_say_is_not_known(data: xr.Dataset, plan: Result) -> None:
    loose = replace(plan, lower_bound=3900.0)
    table = hub_criticality(data, loose, RISK, gap=1e-7, hubs=["k"], workers=1)
    assert table.loc["k", "extra_at_least"] == pytest.approx(125, abs=0.1)
    assert table.loc["k", "extra_at_most"] == pytest.approx(225, abs=0.1)


@pytest.mark.slow
def test_a_hub_that_the_study_forces_out_or_needs_has_no_plan(data: xr.Dataset) -> None:
    forced = data.assign(hub_minimum=xr.full_like(data.hub_minimum, 2))
    plan = demand_shock.program(forced).solve(risk=RISK, gap=1e-7)
    table = hub_criticality(forced, plan, RISK, gap=1e-7, workers=1)
    assert np.isinf(table["extra_at_least"]).all()
    assert table["extra_expected"].isna().all()
    assert (table["role"] == "in every").all()


def test_unknown_hubs_and_plans_without_bounds_are_refused(
    data: xr.Dataset, program: TwoStageProgram, plan: Result
) -> None:
    with pytest.raises(InputError, match="unknown hub 'kk'"):
        hub_criticality(data, plan, RISK, hubs=["kk"])
    given = program.evaluate(plan.first_stage, risk=RISK)
    with pytest.raises(InputError, match="has no lower bound"):
        hub_criticality(data, given, RISK)


def test_the_median_plan_is_a_plan_and_no_better_than_the_best(
    data: xr.Dataset, program: TwoStageProgram, plan: Result
) -> None:
    # mean times to the node: h 0.6 h, k 0.4 h
    one = median_plan(data, 1)
    assert data.hub.values[one.hub_active.values > 0].tolist() == ["k"]
    assert float(one.shipped.sum()) == 1
    assert program.evaluate(one, risk=RISK).objective == pytest.approx(4000)
    both = median_plan(data, 2)
    assert program.evaluate(both, risk=RISK).objective >= plan.objective - 1e-6
    assert program.solve(risk=RISK, gap=1e-7, start=one).objective == pytest.approx(plan.objective)
    with pytest.raises(InputError, match="must be between 1 and 2, is 3"):
        median_plan(data, 3)


def test_the_median_plan_keeps_within_stock_and_room() -> None:
    rich = small_data(storage_limit=[2, 3], stock=1)
    made = median_plan(rich, 2)
    assert (made.shipped.sum("hub") <= rich.stock).all()
    assert ((made.shipped * rich.footprint).sum(["supplier", "fcm"]) <= rich.storage_limit + 1e-9).all()
    assert float(made.shipped.sum()) > 0
    demand_shock.program(rich).evaluate(made)
