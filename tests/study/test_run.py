"""A run from the study file to its folder: complete, certified, found again, taken up where it was stopped."""

from __future__ import annotations

import shutil
from pathlib import Path

import geopandas as gpd
import pandas as pd
import pytest
import xarray as xr

import drofcm as dro
from drofcm.config import load_study
from drofcm.core.errors import InputError
from drofcm.problems import demand_shock
from drofcm.problems.location_plan import median_plan
from drofcm.solve.result import Result
from drofcm.study import run
from drofcm.study.folder import RunFolder
from drofcm.study.plan import read_plan
from drofcm.study.risk import risk_measure
from drofcm.study.run import open_study, run_study

FILES = {
    "result.nc",
    "data.nc",
    "baselines/do_nothing.nc",
    "baselines/expected_value.nc",
    "baselines/median.nc",
    "hubs.gpkg",
    "certificate.csv",
    "study.resolved.yaml",
    "log.txt",
    "report.html",
} | {
    f"tables/{name}.{kind}"
    for name in ("headline", "shipments", "hubs", "costs", "nodes", "scenarios", "dispatch")
    for kind in ("csv", "parquet")
}


def test_folder_is_complete_and_certified(tiny_run: RunFolder) -> None:
    facts = tiny_run.provenance
    assert set(facts["files"]) == FILES
    assert tiny_run.faults() == []
    assert facts["certified"] is True
    assert facts["seed"] == 7
    assert tiny_run.path.name == f"tiny-{facts['key']}"
    assert sorted(path.name for path in tiny_run.path.parent.iterdir()) == [tiny_run.path.name]


def test_bounds_hold_and_the_plan_is_worth_its_money(tiny_run: RunFolder) -> None:
    facts = tiny_run.provenance
    assert facts["status"] == "optimal"
    assert facts["lower_bound"] <= facts["risk_weighted_objective"] * (1 + 1e-9)
    assert facts["risk_weighted_objective"] <= facts["risk_weighted_objective, expected-value plan"] * (1 + 1e-9)
    assert facts["risk_weighted_objective"] <= facts["risk_weighted_objective, median plan"] * (1 + 1e-9)
    assert facts["risk_weighted_objective"] < facts["risk_weighted_objective, do nothing"]
    benefit = (facts["upper_bound"] - facts["lower_bound"]) / (
        facts["risk_weighted_objective, do nothing"] - facts["lower_bound"]
    )
    assert facts["gap_of_benefit"] == pytest.approx(benefit)


def test_money_is_stated_apart_from_what_was_minimised(tiny_run: RunFolder) -> None:
    facts, plan = tiny_run.provenance, Result.from_netcdf(tiny_run.path / "result.nc")
    money = facts["money"]["this plan"]
    assert money["expected_cost"] == pytest.approx(plan.mean)
    assert money["risk_weighted_objective"] == facts["risk_weighted_objective"] == plan.objective
    # 24 events a year, three scenarios: the dearest tenth is the dearest one
    assert money["event_tail"] == pytest.approx(float(plan.recourse_cost.max()) / 24)
    headline = pd.read_csv(tiny_run.path / "tables" / "headline.csv", index_col="plan")
    assert headline.loc["this plan", "expected_cost_usd_per_a"] == pytest.approx(plan.mean)
    assert headline.loc["do nothing", "first_stage_cost_usd_per_a"] == 0
    known = facts["perfect_information"]
    assert known["left_out"] == ""
    # who knows the event does no worse than the plan, and no better than any bound
    assert 0 <= known["lower"] <= known["upper"] <= facts["risk_weighted_objective"]


def test_median_plan_is_the_cheapest_that_keeps_the_rows(tiny: Path) -> None:
    """Of one to three hubs, and none where even one is beyond the budget."""
    data = open_study(tiny).data
    risk, ambiguity = dro.Expectation(), dro.Nominal()
    program = demand_shock.program(data)
    costs = [program.evaluate(median_plan(data, hubs), risk).objective for hubs in (1, 2, 3)]
    found = run._median_plan(program, data, risk, ambiguity)
    assert found is not None
    assert found.objective == pytest.approx(min(costs))
    poor = data.assign(budget=xr.DataArray(1.0, attrs={"units": "$/a"}))
    assert run._median_plan(demand_shock.program(poor), poor, risk, ambiguity) is None


def test_no_path_of_this_machine_in_the_folder(tiny_run: RunFolder) -> None:
    for name in ("provenance.json", "log.txt", "study.resolved.yaml", "report.html"):
        assert str(tiny_run.path.parent) not in (tiny_run.path / name).read_text(encoding="utf-8")


def test_tables_are_the_result(tiny_run: RunFolder) -> None:
    result = Result.from_netcdf(tiny_run.path / "result.nc")
    shipments = pd.read_csv(tiny_run.path / "tables" / "shipments.csv")
    assert shipments["modules"].sum() == float(result.first_stage["shipped"].sum())
    costs = pd.read_parquet(tiny_run.path / "tables" / "costs.parquet")
    assert costs.loc[costs["plan"] == "this plan", "usd_per_a"].sum() == pytest.approx(result.mean)
    dispatch = pd.read_csv(tiny_run.path / "tables" / "dispatch.csv", dtype={"node": str})
    hours = dispatch["end_h"] - dispatch["start_h"]
    unserved = (dispatch["unserved_critical_mw"] + dispatch["unserved_flexible_mw"]) * hours
    expected = result.terms["unserved_energy"].sum("node").values
    assert unserved.groupby(dispatch["scenario"]).sum().to_numpy() == pytest.approx(expected, abs=1e-6)


def test_layers_carry_the_plan(tiny_run: RunFolder) -> None:
    hubs = gpd.read_file(tiny_run.path / "hubs.gpkg", layer="hubs")
    lines = gpd.read_file(tiny_run.path / "hubs.gpkg", layer="shipments")
    shipments = pd.read_csv(tiny_run.path / "tables" / "shipments.csv")
    assert set(hubs.loc[hubs["active"], "id"]) == set(shipments["hub"])
    assert len(lines) == len(shipments)
    assert lines.crs.to_epsg() == 32618


def test_equal_run_is_opened_again(tiny: Path, tiny_run: RunFolder) -> None:
    again = run_study(tiny, tiny_run.path.parent)
    assert again.reopened
    assert again.path == tiny_run.path


def test_resolved_study_is_the_same_run(tiny_run: RunFolder) -> None:
    assert run_study(tiny_run.path / "study.resolved.yaml", tiny_run.path.parent).path == tiny_run.path


@pytest.mark.slow
def test_run_that_was_stopped_is_taken_up_and_replaced(tiny: Path, tiny_run: RunFolder, tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    shutil.copytree(tiny_run.path.parent, runs)
    first = RunFolder(runs / tiny_run.path.name)
    text = (first.path / "provenance.json").read_text(encoding="utf-8")
    assert '"status": "optimal"' in text
    stopped = text.replace('"status": "optimal"', '"status": "interrupted"')
    (first.path / "provenance.json").write_text(stopped, encoding="utf-8")
    second = run_study(tiny, runs)
    assert not second.reopened
    assert second.provenance["taken_up"] is True
    assert second.provenance["risk_weighted_objective"] == pytest.approx(first.provenance["risk_weighted_objective"])
    assert [path.name for path in runs.iterdir()] == [first.path.name]


def test_shipments_read_back_are_the_plan(tiny: Path, tiny_run: RunFolder) -> None:
    """What such a plan costs is asked in test_cli.py, and of the shipped plans in test_studies.py."""
    plan = read_plan(tiny_run.path / "tables" / "shipments.csv", open_study(tiny).data)
    result = Result.from_netcdf(tiny_run.path / "result.nc")
    xr.testing.assert_allclose(plan["shipped"], result.first_stage["shipped"].reset_coords(drop=True))


def test_every_fault_of_a_plan_at_once(tiny: Path, tmp_path: Path) -> None:
    table = tmp_path / "plan.csv"
    table.write_text(
        "supplier,hub,fcm,modules\n"
        "fredrick,leesburg,battery,1\n"
        "frederick,leesburg,batery,1\n"
        "frederick,leesburg,battery,-1\n"
        "frederick,leesburg,generator,0.5\n"
        "frederick,leesburg,generator,1\n",
        encoding="utf-8",
    )
    with pytest.raises(InputError) as caught:
        read_plan(table, open_study(tiny).data)
    assert [str(finding) for finding in caught.value.findings] == [
        "plan.csv:2: supplier: unknown supplier 'fredrick' (did you mean 'frederick'?)",
        "plan.csv:3: fcm: unknown fcm 'batery' (did you mean 'battery'?)",
        "plan.csv:4: modules: must be a whole number of at least 0, got '-1'",
        "plan.csv:5: modules: must be a whole number of at least 0, got '0.5'",
        "plan.csv:6: frederick, leesburg, generator is given already in line 5 (add the two up)",
    ]


def test_plan_over_stock_and_room(tiny: Path, tmp_path: Path) -> None:
    table = tmp_path / "plan.csv"
    # frederick has one long-duration store; two slots each, leesburg has six
    table.write_text("supplier,hub,fcm,modules\nfrederick,leesburg,long_duration,4\n", encoding="utf-8")
    with pytest.raises(InputError) as caught:
        read_plan(table, open_study(tiny).data)
    assert [str(finding) for finding in caught.value.findings] == [
        "plan.csv: supplier frederick ships 4 long_duration, its stock is 1 (ship less, or from another supplier)",
        "plan.csv: hub leesburg holds 8 slots, it has 6 (ship less to it)",
    ]


def test_risk_of_a_study_leaves_out_terms_without_weight(tiny: Path) -> None:
    study = load_study(tiny)
    assert str(risk_measure(study)) == "0.5 E + 0.5 CVaR(0.9)"
    averse = study.model_copy(update={"risk": study.risk.model_copy(update={"expectation": 0.0})})
    assert str(risk_measure(averse)) == "0.5 CVaR(0.9)"
