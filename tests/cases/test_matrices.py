"""The model against plain rows and columns: the small cases here, the main study as it is shipped, to nine digits."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import xarray as xr
from cases.enumeration import Enumeration
from cases.loader import BY_HAND, load_case
from cases.matrices import Problem
from cases.model import measure

from drofcm.core.randomness import stream
from drofcm.problems import demand_shock
from drofcm.problems.demand_shock_check import check
from drofcm.study.assemble import Assembly
from drofcm.study.run import no_plan, open_study

MIXED = {"expectation": 0.5, "cvar": [(0.9, 0.5)]}
NEUTRAL = {"expectation": 1.0}
AGREES = 1e-9


def best(data: xr.Dataset, risk: dict[str, Any]) -> float:
    """The optimum by rows and columns."""
    return Problem(data).optimum(risk.get("expectation", 0.0), dict(risk.get("cvar", ())))


@pytest.mark.parametrize("name", ["stress", "enumerated", *BY_HAND])
def test_rows_and_columns_give_what_trying_every_decision_gives(name: str) -> None:
    """Two readings of the text, neither of the page."""
    case = load_case(name)
    wanted = Enumeration(case.data).optimum(case.risk).objective
    assert best(case.data, case.risk) == pytest.approx(wanted, rel=AGREES)


@pytest.fixture(scope="module")
def main_study(root: Path) -> Assembly:
    return open_study(root / "studies/01_demand_shock_ieee33/study.yaml")


def some(data: xr.Dataset, places: list[int]) -> xr.Dataset:
    """Some scenarios, equally likely."""
    chosen = data.isel(scenario=places)
    return chosen.assign(probability=chosen.probability.copy(data=np.full(len(places), 1 / len(places))))


def plan_of(data: xr.Dataset, shipped: dict[tuple[str, str, str], int]) -> xr.Dataset:
    """These modules, and the hubs that they need."""
    plan = no_plan(data)
    for (supplier, hub, fcm), modules in shipped.items():
        plan.shipped.loc[{"supplier": supplier, "hub": hub, "fcm": fcm}] = modules
        plan.hub_active.loc[{"hub": hub}] = 1
    return plan


def plans(data: xr.Dataset) -> list[xr.Dataset]:
    """Nothing, a plan of one hub, and five that are drawn."""
    one = {("frederick", "ashburn", "battery"): 2, ("frederick", "ashburn", "generator"): 1}
    one |= {("winchester", "ashburn", "generator"): 1, ("frederick", "ashburn", "demand_response"): 10}
    chosen = [no_plan(data), plan_of(data, one)]
    rng = stream(7, "plans")
    for _ in range(5):
        drawn: dict[tuple[str, str, str], int] = {}
        room = data.storage_limit.to_series().to_dict()
        stock = data.stock.to_series().to_dict()
        for hub in rng.choice(data.hub.values, 2, replace=False):
            for supplier in data.supplier.values:
                for fcm in data.fcm.values:
                    modules = int(rng.integers(0, 3))
                    taken = modules * float(data.footprint.sel(fcm=fcm))
                    if modules <= stock[supplier, fcm] and taken <= room[hub]:
                        drawn[str(supplier), str(hub), str(fcm)] = modules
                        room[hub] -= taken
                        stock[supplier, fcm] -= modules
        chosen.append(plan_of(data, drawn))
    return chosen


@pytest.mark.slow
def test_some_events_of_the_main_study_cost_what_rows_and_columns_say(main_study: Assembly) -> None:
    """A surge, a drop and a fault, at three plans."""
    classes = main_study.data.event_class.values
    places = [int(np.flatnonzero(classes == name)[0]) for name in ("surge", "drop", "fault")]
    _compare(some(main_study.data, places), plans(main_study.data)[:3])


@pytest.mark.slow
def test_every_event_of_the_main_study_costs_what_rows_and_columns_say(main_study: Assembly) -> None:
    _compare(main_study.data, plans(main_study.data))


def _compare(data: xr.Dataset, chosen: list[xr.Dataset]) -> None:
    program, independent = demand_shock.program(data), Problem(data)
    for plan in chosen:
        found = program.evaluate(plan).recourse_cost
        wanted = [independent.recourse_cost(plan, int(scenario)) for scenario in data.scenario.values]
        np.testing.assert_allclose(found.values, wanted, rtol=AGREES)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["extensive", "lshaped"])
@pytest.mark.parametrize(
    ("places", "risk"),
    [([7, 18], NEUTRAL), ([7, 18], MIXED), ([9, 2, 7], NEUTRAL), ([9, 2, 7], MIXED), ([12, 14], NEUTRAL)],
)
def test_few_events_of_the_main_study_have_the_optimum_of_rows_and_columns(
    main_study: Assembly, places: list[int], risk: dict[str, Any], method: Literal["extensive", "lshaped"]
) -> None:
    data = some(main_study.data, places)
    found = demand_shock.program(data).solve(risk=measure(risk), method=method, gap=AGREES)
    assert found.objective == pytest.approx(best(data, risk), rel=AGREES)


# ---- a store that does not absorb -----------------------------------------------------------------------------------


def drop_that_nothing_absorbs(data: xr.Dataset) -> xr.Dataset:
    """One event: 0.9 MW less at node 25 for all but the last three steps, and stores that take nothing up."""
    one = some(data, [0])
    shock = xr.zeros_like(one.shock)
    shock.loc[{"node": "25", "time": one.time[:22]}] = -0.9
    wanted = xr.zeros_like(one.requirement)
    wanted.loc[{"node": "25", "fcm": ["battery", "long_duration"]}] = 2
    load = one.base_load.copy(deep=True)
    load.loc[{"bus": "25"}] = 1.2
    return one.assign(
        absorbs=xr.zeros_like(one.absorbs),
        **{name: shock.assign_attrs(units="MW") for name in ("shock", "shock_high", "shock_low")},
        base_load=load,
        energised=xr.ones_like(one.energised),
        requirement=wanted,
        usable=wanted,
        hub_available=xr.ones_like(one.hub_available),
        stock=(one.stock + 10).assign_attrs(one.stock.attrs),
    )


@pytest.mark.parametrize("cover_rows", [True, False])
def test_what_does_not_absorb_is_of_no_use_in_a_drop(main_study: Assembly, cover_rows: bool) -> None:
    """Nothing is staged; 153,696 $/a are the price of the surplus, of the interruption and of four missing modules.

    If stores could charge all the same the optimum would be 137,875 $/a.
    """
    data = drop_that_nothing_absorbs(main_study.data)
    assert not [finding for finding in check(data) if finding.severity == "error"]
    found = demand_shock.program(data, cover_rows=cover_rows).solve(gap=1e-7)
    assert found.objective == pytest.approx(153_696, abs=1)
    assert float(found.first_stage.shipped.sum()) == 0
    assert best(data, NEUTRAL) == pytest.approx(found.objective, rel=AGREES)
