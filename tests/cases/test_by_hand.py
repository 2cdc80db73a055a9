"""Physical cases whose numbers are worked out in the README of each folder."""

from __future__ import annotations

import pytest
from cases.enumeration import Enumeration
from cases.labelled import Solution, labelled
from cases.loader import BY_HAND, load_case
from cases.model import solve_and_certify


def _check_drop_raises_voltage(found: Solution) -> None:
    surplus = found.recourse.unabsorbed.sel(scenario=0, node="3")
    charge = found.recourse.charge.sel(scenario=0, node="3", fcm="battery")
    soc = found.recourse.soc.sel(scenario=0, node="3", fcm="battery")
    assert surplus.values == pytest.approx([0.1, 0.1, 0.1], abs=1e-6)
    assert charge.values == pytest.approx([0.5, 0.5, 0.5], abs=1e-6)
    assert soc.values == pytest.approx([2.1125, 2.225, 2.45], abs=1e-6)
    assert found.recourse.stabilised.sel(scenario=0, node="3") == 1
    assert float(found.recourse.voltage_slack.fillna(0).sum()) == pytest.approx(0, abs=1e-9)


def _check_two_waves(found: Solution) -> None:
    at_node = found.recourse.sel(scenario=0, node="3")
    assert at_node.arrived.sel(fcm="generator").values.tolist() == [0, 1, 2]
    assert at_node.generation.sel(fcm="generator").values == pytest.approx([0, 0.5, 1.0], abs=1e-6)
    assert at_node.unserved_flexible.values == pytest.approx([1.0, 0.5, 0], abs=1e-6)
    assert at_node.stabilised == 1


def _check_bus_cut_off(found: Solution) -> None:
    at_node = found.recourse.sel(scenario=0, node="3")
    assert at_node.supply_follow.fillna(0).values == pytest.approx([0, 0, 0], abs=1e-9)
    assert at_node.unserved_flexible.values == pytest.approx([0.2, 0.2, 0.2], abs=1e-6)
    assert float((at_node.generation.sel(fcm="generator") * found.data.step_length).sum()) == pytest.approx(0.3)
    assert float(found.terms.cost_unserved_critical.sel(scenario=0)) == pytest.approx(4500)
    assert float(found.terms.cost_voltage_slack.sel(scenario=0)) == pytest.approx(0, abs=1e-6)


def _check_capacitor_cut_off(found: Solution) -> None:
    slack = found.recourse.voltage_slack.sel(scenario=0)
    assert slack.sel(bus="4").values == pytest.approx([0.002001] * 3, abs=1e-9)
    assert float(slack.fillna(0).drop_sel(bus="4").sum()) == pytest.approx(0, abs=1e-9)
    assert float(found.terms.cost_voltage_slack.sel(scenario=0)) == pytest.approx(4002, rel=1e-5)


def _check_supply_follows(found: Solution) -> None:
    follow = found.recourse.supply_follow
    assert follow.sel(scenario=0, node="3").values == pytest.approx([0.2, 0.4, 0.4], abs=1e-6)
    assert follow.sel(scenario=2).sum("node").values == pytest.approx([0.4, 0.6, 0.6], abs=1e-6)
    assert found.recourse_cost.values == pytest.approx([0, 100, 1850], abs=1e-3)
    stabilised = found.recourse.stabilised
    assert stabilised.sel(node="3").values.tolist() == [1, 1, 1]
    assert float(stabilised.sel(scenario=2, node="4")) == 0
    assert float(found.first_stage.shipped.sum()) == 0


def _check_swing(found: Solution) -> None:
    at_node = found.recourse.sel(scenario=0, node="3")
    assert at_node.supply_follow.values == pytest.approx([0.17, -0.23, -0.25], abs=1e-6)
    assert at_node.unserved_flexible.values == pytest.approx([0.23, 0, 0], abs=1e-6)
    assert at_node.unabsorbed.values == pytest.approx([0, 0.05, 0.03], abs=1e-6)
    assert at_node.charge.sel(fcm="battery").values == pytest.approx([0, 0.22, 0.22], abs=1e-6)
    assert at_node.stabilised == 1


def _check_missing_modules(found: Solution) -> None:
    assert float(found.recourse.missing_share.sel(scenario=0, node="3")) == pytest.approx(0.5)
    assert found.recourse.missing_share.sel(node="4").isnull().all()
    assert float(found.terms.cost_shortfall.sel(scenario=0)) == pytest.approx(350)
    assert float(found.terms.cost_transport) == pytest.approx(10)


_CHECKS = {
    "drop_raises_voltage": _check_drop_raises_voltage,
    "two_waves": _check_two_waves,
    "bus_cut_off": _check_bus_cut_off,
    "capacitor_cut_off": _check_capacitor_cut_off,
    "supply_follows": _check_supply_follows,
    "swing": _check_swing,
    "missing_modules": _check_missing_modules,
}


@pytest.mark.parametrize("name", BY_HAND)
def test_enumeration_gives_what_is_worked_out_by_hand(name: str) -> None:
    case = load_case(name)
    enumeration = Enumeration(case.data)
    best = enumeration.optimum(case.risk)
    assert best.objective == pytest.approx(case.expected["objective"])
    _CHECKS[name](labelled(enumeration.figures, best))


@pytest.mark.parametrize("name", BY_HAND)
def test_model_gives_what_is_worked_out_by_hand(name: str) -> None:
    case = load_case(name)
    found = solve_and_certify(case.data, case.risk)
    assert found.objective == pytest.approx(case.expected["objective"], rel=1e-5)
    _CHECKS[name](found)


def test_voltage_slack_is_paid_where_no_module_absorbs_the_drop() -> None:
    case = load_case("drop_raises_voltage", hub_maximum=0)
    found = solve_and_certify(case.data, case.risk)
    assert found.objective == pytest.approx(case.expected["objective_without_modules"], rel=1e-5)
    slack = found.recourse.voltage_slack.fillna(0).sel(scenario=0)
    assert slack.sel(bus="3").values == pytest.approx([0.0097] * 3, abs=1e-7)
    assert float(slack.drop_sel(bus="3").sum()) == pytest.approx(0, abs=1e-9)
    assert float(found.terms.cost_voltage_slack.sel(scenario=0)) == pytest.approx(19400, rel=1e-5)


def test_modules_are_missed_technology_by_technology_where_the_data_say_so() -> None:
    """As (5) and (7) are printed."""
    case = load_case("missing_modules", usable=[[[1, 1], [0, 0]]], shortfall_by_technology=1)
    found = solve_and_certify(case.data, case.risk)
    assert found.objective == pytest.approx(case.expected["objective_by_technology"], rel=1e-9)
    assert Enumeration(case.data).optimum(case.risk).objective == pytest.approx(found.objective, rel=1e-9)
    assert "missing_share" not in found.recourse or found.recourse.missing_share.isnull().all()
    assert float(found.terms.cost_shortfall.sel(scenario=0)) == pytest.approx(400)
