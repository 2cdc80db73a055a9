"""The studies that are shipped mean something: a proven interval, a plan in it, and a plan that matters."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from drofcm.study.plan import evaluate_plan, read_plan
from drofcm.study.run import open_study, run_study, solve_do_nothing

STUDY = "01_demand_shock_ieee33"


@pytest.fixture(scope="module")
def folder(root: Path) -> Path:
    return root / "studies" / STUDY


@pytest.fixture(scope="module")
def interval(folder: Path) -> dict[str, float]:
    expected = YAML(typ="safe").load(folder / "expected.yaml")
    return {name: float(value) for name, value in expected["objective_per_year"].items()}


@pytest.fixture(scope="module")
def results(folder: Path) -> dict[str, Any]:
    assembly = open_study(folder / "study.yaml")
    plan = read_plan(folder / "plan.csv", assembly.data)
    return {"plan": evaluate_plan(assembly, plan), "do nothing": solve_do_nothing(assembly)}


def test_the_interval_is_narrow(interval: dict[str, float]) -> None:
    assert 0 < interval["lower"] <= interval["upper"]
    assert interval["upper"] - interval["lower"] <= 0.003 * interval["upper"]


def test_the_plan_costs_what_is_said(results: dict[str, Any], interval: dict[str, float]) -> None:
    """The upper end is the cost of ``plan.csv``, all scenarios solved anew."""
    assert results["plan"].objective == pytest.approx(interval["upper"], rel=1e-5)


def test_doing_nothing_is_much_worse(results: dict[str, Any]) -> None:
    """The expected-value plan is to do nothing: the mean shock lies within what the supply follows."""
    assert results["do nothing"].objective >= 1.25 * results["plan"].objective


def test_the_plan_mixes_hubs_and_technologies(results: dict[str, Any]) -> None:
    shipped = results["plan"].first_stage.shipped
    assert int((shipped.sum(["supplier", "fcm"]) > 0).sum()) >= 2
    assert int((shipped.sum(["supplier", "hub"]) > 0).sum()) >= 2


def test_most_of_the_unserved_energy_is_avoided_but_not_all(results: dict[str, Any]) -> None:
    energy = {
        name: float((result.terms["unserved_energy"].sum("node") * result.probability).sum())
        for name, result in results.items()
    }
    assert 0.02 * energy["do nothing"] < energy["plan"] < 0.5 * energy["do nothing"]


@pytest.mark.slow
def test_the_study_runs_into_the_interval(folder: Path, interval: dict[str, float], tmp_path: Path) -> None:
    run = run_study(folder / "study.yaml", tmp_path)
    facts = run.provenance
    assert facts["certified"]
    assert run.status == "optimal"
    assert facts["lower_bound"] <= interval["upper"]
    assert interval["lower"] <= facts["objective"] <= interval["upper"] * 1.01


# ---- surges and faults together -------------------------------------------------------------------------------------

UNIFIED = "06_surges_and_faults_ieee33"
SINGLE = ("plan_surges_only", "plan_outages_only")


def priced(root: Path, *names: str) -> dict[str, Any]:
    """The plans of study 06 and doing nothing on its events, what is expected of them, and the data."""
    folder = root / "studies" / UNIFIED
    assembly = open_study(folder / "study.yaml")
    plans = {name: evaluate_plan(assembly, read_plan(folder / f"{name}.csv", assembly.data)) for name in names}
    expected = YAML(typ="safe").load(folder / "expected.yaml")
    return {**plans, "nothing": solve_do_nothing(assembly), "expected": expected, "data": assembly.data}


@pytest.fixture(scope="module")
def unified(root: Path) -> dict[str, Any]:
    return priced(root, "plan")


@pytest.fixture(scope="module")
def compared(root: Path) -> dict[str, Any]:
    return priced(root, "plan", *SINGLE)


def test_the_unified_plan_costs_what_is_said(unified: dict[str, Any]) -> None:
    interval = unified["expected"]["objective_per_year"]
    assert 0 < interval["lower"] <= interval["upper"] <= 1.02 * interval["lower"]
    assert unified["plan"].objective == pytest.approx(interval["upper"], rel=1e-5)
    assert unified["nothing"].objective >= 1.5 * unified["plan"].objective


def test_the_unified_plan_serves_outages_surges_and_both(unified: dict[str, Any]) -> None:
    energy = by_class(unified, "plan", "nothing")
    assert set(energy["plan"]) == {"surge", "storm", "storm_surge"}
    assert all(energy["plan"][name] < 0.5 * energy["nothing"][name] for name in energy["plan"])


def by_class(results: dict[str, Any], *plans: str) -> dict[str, dict[str, float]]:
    """Unserved energy of all events of a class."""
    classes = results["data"]["event_class"].values
    energy = {plan: results[plan].terms["unserved_energy"].sum("node").values for plan in plans}
    return {plan: {str(name): float(energy[plan][classes == name].sum()) for name in set(classes)} for plan in plans}


@pytest.mark.slow
def test_planning_for_one_costs_more_than_planning_for_both(compared: dict[str, Any]) -> None:
    best, said = compared["plan"].objective, compared["expected"]["plans_for_one_per_year"]
    energy = by_class(compared, "plan", *SINGLE)
    for plan in SINGLE:
        assert compared[plan].objective == pytest.approx(said[plan], rel=1e-5)
        assert compared[plan].objective >= 1.05 * best
        assert all(energy["plan"][name] <= energy[plan][name] for name in energy["plan"])


def test_the_unified_events_put_lines_plants_and_hubs_out(unified: dict[str, Any]) -> None:
    data = unified["data"]
    assert int((data["energised"] == 0).any("bus").sum()) >= 3
    assert int((data["hub_available"] == 0).any("hub").sum()) >= 3
    assert float(data["embedded_generation"].sum()) == pytest.approx(1.3)
    dark = data["energised"].sel(bus="30") == 0
    assert float(data["shock_high"].sel(node="30").where(~dark).max()) == pytest.approx(0.2)  # its generator trips
