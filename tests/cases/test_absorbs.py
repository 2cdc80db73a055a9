"""A store that does not absorb takes nothing from the feeder, with and without rows that only tighten.

The case ``drop_raises_voltage`` with a battery that cannot take up the drop: staged, it saves its shortfall of 300 $
and nothing else, so 19,400 + 480 + 1,500 $ of the case's README are left, and it costs 310 $/a. The best plan has none.
"""

from __future__ import annotations

import pytest
import xarray as xr
from cases.enumeration import Enumeration
from cases.labelled import Solution
from cases.loader import load_case
from cases.model import certificate

from drofcm.problems import demand_shock

RISK = {"expectation": 1.0}


@pytest.fixture(scope="module")
def data() -> xr.Dataset:
    return load_case("drop_raises_voltage", absorbs=0).data


def staged(data: xr.Dataset) -> xr.Dataset:
    """The plan with the battery."""
    shipped = xr.zeros_like(data.stock.astype(float)).expand_dims(hub=data.hub).transpose("supplier", "hub", "fcm")
    shipped = shipped.copy(deep=True).drop_attrs()
    shipped.loc[{"supplier": "a", "hub": "h", "fcm": "battery"}] = 1
    active = xr.DataArray((data.hub == "h").astype(float).values, coords={"hub": data.hub}, dims="hub")
    return xr.Dataset({"hub_active": active, "shipped": shipped})


@pytest.mark.parametrize("cover_rows", [True, False])
def test_one_answer_whatever_tightens_the_relaxation(data: xr.Dataset, cover_rows: bool) -> None:
    program = demand_shock.program(data, cover_rows=cover_rows)
    tried = program.evaluate(staged(data))
    assert tried.recourse_cost.item() == pytest.approx(19400 + 480 + 1500, rel=1e-5)
    assert float(tried.recourse.charge.fillna(0).sum()) == 0
    found = program.solve(gap=1e-7)
    assert found.objective == pytest.approx(21680, rel=1e-5)
    assert Enumeration(data).optimum(RISK).objective == pytest.approx(found.objective, rel=1e-5)


def test_the_certificate_catches_a_store_that_charges_all_the_same(data: xr.Dataset) -> None:
    """The recourse of a battery that absorbs, passed off as one of a battery that does not."""
    absorbing = load_case("drop_raises_voltage").data
    result = demand_shock.program(absorbing).evaluate(staged(data))
    parts = (result.first_stage, result.recourse, result.terms, result.recourse_cost, result.objective)
    certificate(Solution(absorbing, *parts), RISK, result.risk_weight).raise_if_failed()
    failed = certificate(Solution(data, *parts), RISK, result.risk_weight).failures
    assert list(failed["check"]) == ["only what absorbs charges"]
