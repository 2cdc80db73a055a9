"""The dispatch that is shown of the demand-shock problem (FORMULATION A.6)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from cases.builder import small_data

import drofcm as dro
from drofcm.problems import demand_shock
from drofcm.problems.location_plan import median_plan
from drofcm.study.risk import risk_measure
from drofcm.study.run import open_study
from drofcm.validate.certificate import certify

HOURS = 8


def dark_for_hours(**changed: Any) -> xr.Dataset:
    """Node 3 is dark from 0 to 8 h, in equal steps; one technology, no shock."""
    return small_data(
        **{
            "fcm": ["battery"],
            "step_length": [1.0] * HOURS,
            "shock": [[[0.0] * HOURS] * 2],
            "energised": [[1, 1, 0, 1]],
            "stabilise_within": 1.0,
            "requirement": [[[1], [0]]],
            **changed,
        }
    )


def one_module(data: xr.Dataset) -> xr.Dataset:
    """One module from supplier a, at hub h, which is 0.1 h from node 3."""
    shipped = xr.zeros_like(data.stock.expand_dims(hub=data.hub)).transpose("supplier", "hub", "fcm").drop_attrs()
    shipped[0, 0, 0] = 1.0
    active = xr.DataArray([1.0, 0.0], coords={"hub": data.hub}, dims="hub")
    return xr.Dataset({"hub_active": active, "shipped": shipped})


def test_a_battery_beside_dark_load_discharges_first() -> None:
    """It arrives after 0.2 h with 0.75 MWh, gives 0.9 of it, 0.5 MW at most: 0.5 MW in step 1 and 0.175 MW in step 2.

    When it does so makes no difference to the cost: the node is dark from first to last.
    """
    data = dark_for_hours()
    program = demand_shock.program(data)
    shown = program.evaluate(one_module(data))
    discharge = shown.recourse["discharge"].sel(scenario=0, node="3", fcm="battery").values
    assert discharge == pytest.approx([0, 0.5, 0.175, 0, 0, 0, 0, 0], abs=1e-9)
    unserved = (shown.recourse["unserved_critical"] + shown.recourse["unserved_flexible"]).sel(scenario=0, node="3")
    assert unserved.values == pytest.approx(0.8 - discharge, abs=1e-9)
    assert float(shown.recourse["charge"].fillna(0).sum()) == pytest.approx(0, abs=1e-9)
    # discharging last costs as much: the order is the preference's, not the cost's
    plain = program.evaluate(one_module(data), preferred=False)
    assert float(shown.recourse_cost[0]) == float(plain.recourse_cost[0])
    by_hand = data.event_rate * (5000 * 0.6 * 0.5 + 10 * 0.675 + 15_000 * (0.6 * HOURS - 0.675) + 4000 * 0.2 * HOURS)
    assert float(shown.recourse_cost[0]) == pytest.approx(float(by_hand), rel=1e-9)


def test_fleets_move_no_more_than_they_must() -> None:
    """Two kinds of store, of equal cost, beside 0.2 MW of dark load for seven hours: who delivers when is free.

    They have 0.675 and 1.2 MWh for 1.4, so both are needed, and one rise to 0.2 MW together is the least movement.
    """
    data = dark_for_hours(
        fcm=["battery", "long_duration"],
        base_load=[0, 0, 0.2, 0.7],
        critical_load=[0.2, 0.5],
        requirement=[[[1, 1], [0, 0]]],
    )
    plan = one_module(data)
    plan["shipped"][0, 0, :] = 1.0
    shown = demand_shock.program(data).evaluate(plan).recourse.sel(scenario=0, node="3")
    output = shown["discharge"] - shown["charge"]
    assert output.sum("fcm").values == pytest.approx([0, *[0.2] * (HOURS - 1)], abs=1e-9)
    assert float(abs(output - output.shift(time=1, fill_value=0)).sum()) == pytest.approx(0.2, abs=1e-9)


def test_what_is_shown_passes_the_certificate_and_costs_the_same() -> None:
    program = demand_shock.program(small_data())
    risk = 0.5 * dro.Expectation() + 0.5 * dro.CVaR(0.5)
    plain = program.solve(risk, gap=1e-6, preferred=False)
    shown = program.solve(risk, gap=1e-6)
    _assert_unchanged(shown, plain)
    certificate = certify(
        small_data(),
        shown.first_stage,
        shown.recourse,
        shown.terms,
        shown.recourse_cost,
        objective=shown.objective,
        risk_weights=shown.risk_weight,
        risk={"expectation": 0.5, "cvar": [(0.5, 0.5)], "worst_case": 0.0},
    )
    assert certificate.passed, certificate

    steps = small_data().step_length
    assert (_late(shown, steps) <= _late(plain, steps) + 1e-9).all()


@pytest.mark.slow
@pytest.mark.parametrize("study", ["01", "02", "03", "06"])
def test_no_cost_and_no_bound_of_a_study_changes(study: str, root: Path) -> None:
    """At a plan of the study; the search itself never hears of the preference."""
    assembly = open_study(next((root / "studies").glob(f"{study}_*/study.yaml")))
    program, risk = demand_shock.program(assembly.data), risk_measure(assembly.study)
    plan = median_plan(assembly.data, max(1, int(assembly.data["hub_minimum"])))
    plain = program.evaluate(plan, risk, preferred=False)
    shown = program.evaluate(plan, risk)
    assert shown.provenance["preference"] == {"expressions": 2, "kept": {}}
    _assert_unchanged(shown, plain)
    costs = [name for name in shown.terms if str(name).startswith("cost_") and "scenario" in shown.terms[name].dims]
    rebuilt = float(assembly.data.event_rate) * sum(shown.terms[name] for name in costs)
    np.testing.assert_allclose(rebuilt, plain.recourse_cost, rtol=1e-9)
    steps = assembly.data.step_length
    assert (_late(shown, steps) <= _late(plain, steps) + 1e-6).all()
    assert float(_late(shown, steps).sum()) < float(_late(plain, steps).sum())


def _assert_unchanged(shown: dro.Result, plain: dro.Result) -> None:
    xr.testing.assert_identical(shown.recourse_cost, plain.recourse_cost)
    xr.testing.assert_identical(shown.first_stage, plain.first_stage)
    for name in ("sent", "stabilised"):
        xr.testing.assert_identical(shown.recourse[name], plain.recourse[name])
    for name in ("objective", "lower_bound", "upper_bound", "gap", "status"):
        assert getattr(shown, name) == getattr(plain, name)


def _late(result: dro.Result, steps: xr.DataArray) -> xr.DataArray:
    """What is unserved or unabsorbed, times the hours that are left, by scenario."""
    wrong = sum(result.recourse[name].fillna(0) for name in ("unserved_critical", "unserved_flexible", "unabsorbed"))
    end = steps.cumsum("time")
    left = end.isel(time=-1) - (end - steps / 2)
    return (wrong * steps * left).sum(["node", "time"])
