"""Study 03 means something: a proven interval, a plan in it, and a plan that matters."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from drofcm.study.plan import evaluate_plan, read_plan
from drofcm.study.run import open_study, run_study, solve_do_nothing

STUDY = "03_hub_siting_oberrhein"


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
    assert interval["upper"] - interval["lower"] <= 0.01 * interval["upper"]


def test_the_plan_costs_what_is_said_and_doing_nothing_much_more(
    results: dict[str, Any], interval: dict[str, float]
) -> None:
    assert results["plan"].objective == pytest.approx(interval["upper"], rel=1e-5)
    assert results["do nothing"].objective >= 1.25 * results["plan"].objective


def test_the_plan_mixes_hubs_and_technologies(results: dict[str, Any]) -> None:
    shipped = results["plan"].first_stage.shipped
    assert int((shipped.sum(["supplier", "fcm"]) > 0).sum()) >= 2
    assert int((shipped.sum(["supplier", "hub"]) > 0).sum()) >= 2


@pytest.mark.slow
def test_the_study_runs_into_the_interval(folder: Path, interval: dict[str, float], tmp_path: Path) -> None:
    facts = run_study(folder / "study.yaml", tmp_path).provenance
    assert facts["certified"]
    assert facts["status"] == "optimal"
    assert facts["lower_bound"] <= interval["upper"]
    assert interval["lower"] <= facts["objective"] <= interval["upper"] * 1.01
