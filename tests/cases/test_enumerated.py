"""The model against the optimum found by trying every integer decision."""

from __future__ import annotations

from typing import Any

import pytest
import xarray as xr
from cases.enumeration import Enumeration
from cases.labelled import labelled
from cases.loader import load_case
from cases.model import solve_and_certify

from drofcm.dsl.program import TwoStageProgram
from drofcm.problems import demand_shock

EXPECTATION = {"expectation": 1.0}
MIXED = {"expectation": 0.5, "cvar": [(0.8, 0.5)]}
TAIL = {"cvar": [(0.9, 1.0)]}


@pytest.fixture(scope="module")
def enumeration() -> Enumeration:
    return Enumeration(load_case("enumerated").data)


@pytest.fixture(scope="module")
def program(enumeration: Enumeration) -> TwoStageProgram:
    """The problem of the case, assembled once for all risk measures."""
    return demand_shock.program(enumeration.figures.data)


@pytest.mark.parametrize("risk", [EXPECTATION, MIXED, TAIL], ids=["expectation", "mixed", "tail"])
def test_model_finds_the_enumerated_optimum(
    enumeration: Enumeration, program: TwoStageProgram, risk: dict[str, Any]
) -> None:
    best = enumeration.optimum(risk)
    found = solve_and_certify(enumeration.figures.data, risk, program)
    assert found.objective == pytest.approx(best.objective, rel=1e-5)


def test_case_uses_everything_it_is_meant_to_show(enumeration: Enumeration) -> None:
    best = enumeration.optimum(MIXED)
    solution = labelled(enumeration.figures, best)
    assert sum(best.active.values()) == 2
    assert {fcm for (_, _, fcm), number in best.shipped.items() if number > 0} == {"battery", "demand_response"}
    for name in ("charge", "discharge", "demand_response", "unserved_critical", "unserved_flexible", "unabsorbed"):
        assert float(solution.recourse[name].max()) > 0.01, name
    assert float(solution.recourse.voltage_slack.max()) > 1e-3
    stabilised = solution.recourse.stabilised.values
    assert {0.0, 1.0} <= set(stabilised[~(stabilised != stabilised)])


@pytest.mark.parametrize(
    "change",
    [
        # left alone, the plan opens hub h alone
        {"hub_minimum": 2, "setup_cost": [6000, 200000]},
        {"hub_forced_in": {"h": 0, "k": 1}, "hub_maximum": 1},
        {"hub_forced_out": {"h": 1, "k": 0}, "budget": 21000},
    ],
    ids=["minimum", "forced in and maximum", "forced out and budget"],
)
@pytest.mark.slow
def test_options_of_the_first_stage(enumeration: Enumeration, change: dict[str, Any]) -> None:
    data = load_case("enumerated", **change).data
    best = enumeration.with_first_stage_of(data).optimum(EXPECTATION)
    if "hub_minimum" in change:
        free = load_case("enumerated", setup_cost=change["setup_cost"]).data
        assert enumeration.with_first_stage_of(free).optimum(EXPECTATION).objective < best.objective - 1
    assert solve_and_certify(data, EXPECTATION).objective == pytest.approx(best.objective, rel=1e-5)


@pytest.mark.slow
def test_labels_in_another_order_change_nothing(enumeration: Enumeration) -> None:
    data: xr.Dataset = enumeration.figures.data
    turned = data.isel({dim: slice(None, None, -1) for dim in ("supplier", "hub", "fcm", "node", "bus", "line")})
    best = enumeration.optimum(EXPECTATION)
    assert solve_and_certify(turned, EXPECTATION).objective == pytest.approx(best.objective, rel=1e-5)
