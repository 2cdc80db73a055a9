"""The command line as a new user meets it: one clear message for each mistake, exit codes, nothing half written."""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from tiny import TINY
from typer.testing import CliRunner

from drofcm.cli import app
from drofcm.config import json_schema, load_study
from drofcm.study.folder import RunFolder


def call(*arguments: object) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.stdout, result.stderr


def write(folder: Path, text: str = TINY) -> Path:
    path = folder / "study.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def event_file(folder: Path, change: Callable[[xr.Dataset], object]) -> str:
    over = ("scenario", "node", "time")
    names = ("shock", "shock_high", "shock_low")
    events = xr.Dataset(
        {name: (over, np.full((2, 2, 5), 0.5), {"units": "MW"}) for name in names}
        | {"probability": ("scenario", [0.5, 0.5], {"units": "1"})},
        coords={"scenario": [0, 1], "node": ["4", "24"], "time": np.arange(5)},
    )
    change(events)
    events.to_netcdf(folder / "events.nc", engine="netcdf4")
    return re.sub("events: {.*}", "events: {file: events.nc}", TINY)


def misspelt(folder: Path, root: Path) -> str:
    return TINY + "solver:\n  mip_gpa: 0.1\n"


def not_a_number(folder: Path, root: Path) -> str:
    return event_file(folder, lambda events: events["shock"].values.__setitem__((1, 0, 2), np.nan))


def kilowatt(folder: Path, root: Path) -> str:
    return event_file(folder, lambda events: events["shock"].attrs.update(units="kW"))


def probabilities(folder: Path, root: Path) -> str:
    return event_file(folder, lambda events: events["probability"].values.__setitem__(0, 0.6))


def hub_without_distance(folder: Path, root: Path) -> str:
    suppliers = ("frederick", "winchester", "fredericksburg", "baltimore", "chambersburg")
    hubs = ("ashburn", "belmont", "brambleton", "broadlands", "dulles_town_center", "herndon", "leesburg")
    rows = [f"{supplier},{hub},50" for supplier in suppliers for hub in hubs]
    (folder / "roads.csv").write_text("\n".join(["supplier,hub,distance_km", *rows, ""]), encoding="utf-8")
    return TINY + "area: {distances: roads.csv}\n"


def meshed_feeder(folder: Path, root: Path) -> str:
    shutil.copytree(root / "datasets/feeders/ieee33", folder / "meshed")
    lines = folder / "meshed" / "lines.csv"
    with lines.open("a", encoding="utf-8") as stream:
        stream.write("8-21,8,21,2.0,2.0,5.0\n")
    descriptor = folder / "meshed" / "datapackage.yaml"
    digest = subprocess.run(["sha256sum", lines], check=True, capture_output=True, text=True).stdout.split()[0]
    text = descriptor.read_text(encoding="utf-8")
    descriptor.write_text(
        re.sub(r"(path: lines.csv.*?sha256:)\w+", rf"\g<1>{digest}", text, flags=re.S), encoding="utf-8"
    )
    return TINY + "feeder: {name: meshed}\n"


def degrees(folder: Path, root: Path) -> str:
    return TINY + 'area: {crs: "EPSG:4326"}\n'


def beyond_horizon(folder: Path, root: Path) -> str:
    return TINY + "nodes: {stabilise_within_h: 2}\n"


def unknown_bus(folder: Path, root: Path) -> str:
    return TINY.replace('"24"', '"34"')


@pytest.mark.parametrize(
    ("mistake", "message"),
    [
        (misspelt, "study.yaml:9:3: solver.mip_gpa: unknown key (did you mean 'mip_gap'?)"),
        (not_a_number, "events.nc['shock']: NaN at scenario=1, node=4, time=2"),
        (kilowatt, "events.nc['shock']: unit is 'kW', 'MW' is needed"),
        (probabilities, "events.nc['probability']: sums to 1.1, must sum to 1"),
        (hub_without_distance, "roads.csv: hub 'sterling' has no distance to supplier frederick, winchester"),
        (meshed_feeder, "feeder 'ieee33', line '20-21': closes a loop with line"),
        (degrees, "study.yaml:8:8: area.crs: the CRS EPSG:4326 is geographic"),
        (beyond_horizon, "study.yaml:8:9: nodes.stabilise_within_h: 2 h is beyond the horizon: steps_min end at 2.5 h"),
        (unknown_bus, "study.yaml:5:6: data_centres.1.bus: unknown bus '34' (did you mean"),
    ],
)
@pytest.mark.parametrize("command", ["validate", "run"])
def test_a_mistake_is_one_clear_error_and_nothing_is_written(
    tmp_path: Path, root: Path, mistake: Callable[[Path, Path], str], message: str, command: str
) -> None:
    study = write(tmp_path, mistake(tmp_path, root))
    options = ("--runs", tmp_path / "runs") if command == "run" else ()
    code, _, told = call(command, study, *options)
    assert code == 1
    assert message in told
    assert len(told.splitlines()) == 1
    assert "Traceback" not in told
    assert not (tmp_path / "runs").exists()


def test_no_plan_exists(tmp_path: Path) -> None:
    study = write(tmp_path, TINY + "budget_per_year: 1000\nhubs: {minimum: 1}\n")
    code, _, told = call("run", study, "--runs", tmp_path / "runs")
    assert code == 2
    assert "budget" in told
    assert "hub_minimum" in told
    assert not (tmp_path / "runs").exists()


def test_run_evaluate_and_report(tmp_path: Path, tiny_told: tuple[RunFolder, str]) -> None:
    run, shown = tiny_told
    study = run.path.parents[1] / "study.yaml"
    assert str(run.path / "report.html") in shown
    assert "optimal: risk-weighted objective" in shown
    for sentence in run.provenance["told"]:
        assert sentence in shown
    code, shown, _ = call("evaluate", study, run.path / "tables" / "shipments.csv")
    assert code == 0
    objective = run.provenance["risk_weighted_objective"]
    assert f"{objective / 1e3:,.1f}" in shown
    priced = run.provenance["money"]["this plan"]
    for figure in ("expected_cost", "event_mean", "event_tail", "year_tail"):
        assert f"{priced[figure] / 1e3:,.1f}" in shown
    assert "How sure that is: by resampling the 3 events" in shown
    assert "hubs, modules and transport + 24 x (0.5 E + 0.5 CVaR(0.9)) of the cost of one event" in " ".join(
        shown.split()
    )
    copy = tmp_path / run.path.name
    shutil.copytree(run.path, copy)
    (copy / "report.html").write_text("", encoding="utf-8")
    code, shown, _ = call("report", copy)
    assert (code, shown.strip()) == (0, str(copy / "report.html"))
    assert (copy / "report.html").stat().st_size > 100_000
    (copy / "data.nc").unlink()
    code, _, told = call("report", copy)
    assert code == 1
    assert "is missing" in told
    code, shown, _ = call("run", study, "--runs", run.path.parent)
    assert code == 0
    assert "nothing was solved" in shown


def test_new_study_is_in_order(tmp_path: Path) -> None:
    code, shown, _ = call("new", "mine", "--folder", tmp_path)
    assert code == 0
    study = load_study(tmp_path / "mine" / "study.yaml")
    assert study.name == "mine"
    schema = json.loads((tmp_path / "mine" / "study.schema.json").read_text(encoding="utf-8"))
    assert schema == json_schema()
    code, shown, _ = call("validate", tmp_path / "mine" / "study.yaml")
    assert code == 0
    assert re.search(r"[\d,]+ variables \([\d,]+ integer\)", shown)
    assert re.search(r"24 +│ 2 +│ \d+\.\d\d", shown)


def test_new_study_never_overwrites(tmp_path: Path) -> None:
    assert call("new", "mine", "--folder", tmp_path)[0] == 0
    assert call("new", "mine", "--folder", tmp_path)[0] == 1
    assert call("new", "Not a name", "--folder", tmp_path)[0] == 1


def test_base_case_outside_its_limits_is_shown(tmp_path: Path) -> None:
    text = TINY + "feeder: {source_voltage_pu: 1.0, voltage_minimum_pu: 0.93}\n"
    code, _, told = call("validate", write(tmp_path, text))
    assert code == 1
    assert "buses violate their limits before the event" in told


def test_shipped_schema_is_that_of_the_models(root: Path) -> None:
    code, shown, _ = call("schema")
    assert code == 0
    assert json.loads(shown) == json_schema()
    assert json.loads((root / "studies" / "study.schema.json").read_text(encoding="utf-8")) == json_schema()


def started(study: Path, runs: Path) -> subprocess.Popen[str]:
    program = "from drofcm.cli import app; app()"
    command = [sys.executable, "-u", "-c", program, "run", str(study), "--runs", str(runs), "--gap", "0"]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def interrupted_after(process: subprocess.Popen[str], phase: str, seconds: float = 0) -> tuple[int, str]:
    assert process.stdout is not None
    assert any(phase in line for line in process.stdout)
    time.sleep(seconds)
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=180)
    return process.returncode, told


def test_ctrl_c_before_there_is_a_plan_writes_nothing(tmp_path: Path) -> None:
    code, told = interrupted_after(started(write(tmp_path), tmp_path / "runs"), "evaluating: do nothing")
    assert code == 4
    assert told.strip() == "interrupted before there was a plan; nothing was written"
    assert not (tmp_path / "runs").exists()


@pytest.mark.slow
def test_ctrl_c_during_the_search_keeps_the_plan_and_valid_bounds(tmp_path: Path, root: Path) -> None:
    study = root / "studies" / "01_demand_shock_ieee33" / "study.yaml"
    code, told = interrupted_after(started(study, tmp_path / "runs"), "solving: the plan", seconds=25)
    assert code == 3
    assert "stopped early (interrupted)" in told
    (path,) = (tmp_path / "runs").iterdir()
    run = RunFolder(path)
    assert run.faults() == []
    facts = run.provenance
    assert facts["certified"] is True
    assert facts["status"] == "interrupted"
    assert facts["lower_bound"] < facts["upper_bound"] <= facts["risk_weighted_objective, do nothing"]
