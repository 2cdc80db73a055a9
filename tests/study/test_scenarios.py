"""`drofcm scenarios`: the file that is written is what the study would generate, and a study can point to it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from ruamel.yaml import YAML
from typer.testing import CliRunner

import drofcm as dro
from drofcm.cli import app
from drofcm.core.errors import InputError
from drofcm.scenarios.ensemble import check
from drofcm.study.run import open_study
from drofcm.study.scenarios import EVENTS_FILE, MadeScenarios, make_scenarios

STORMY = """\
name: stormy
seed: 7
data_centres:
  - {bus: "4", rating_mw: 1.6}
  - {bus: "24", rating_mw: 2.0, running_mw: 0.4}
plants: [{bus: "30", kind: dg, output_mw: 0.2}, {bus: "24", kind: pv, output_mw: 0.3}]
events:
  scenarios: 8
  fault_lines: ["3-23", "30-31"]
  shares: {surge: 0.5, training: 0, drop: 0, fault: 0, storm: 0.25, storm_surge: 0.25}
  weather: {line_median_m_s: 30}
steps_min: [{count: 3, length: 10}, {count: 2, length: 60}]
solver: {mip_gap: 0.1}
"""


@pytest.fixture(scope="module")
def stormy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("stormy") / "study.yaml"
    path.write_text(STORMY, encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def told(stormy: Path) -> str:
    """Eight events, reduced to five by their costs at pilot plans, by the command line."""
    done = CliRunner().invoke(app, ["scenarios", str(stormy), "--count", "8", "--reduce", "5", "--pilots", "1"])
    assert done.exit_code == 0, done.output
    return done.stdout


@pytest.fixture(scope="module")
def whole(stormy: Path) -> MadeScenarios:
    """All eight events, in the folder ``all`` beside the study."""
    return make_scenarios(stormy, stormy.parent / "all")


def pointing(stormy: Path, name: str, events: str) -> Path:
    """The same study with its events read from a file."""
    values = YAML(typ="safe").load(STORMY)
    values["events"] = {"file": events}
    path = stormy.parent / name
    with path.open("w", encoding="utf-8") as stream:
        YAML().dump(values, stream)
    return path


def test_what_is_written_and_told(stormy: Path, told: str, whole: MadeScenarios) -> None:
    folder = stormy.parent / "scenarios"
    pictures = {"fan.png", "fan_reduced.png", "classes.png", "dependence.png", "ramps.png"}
    assert {path.name for path in folder.iterdir()} == pictures | {EVENTS_FILE, "classes.csv"}
    assert all((folder / name).read_bytes().startswith(b"\x89PNG") for name in pictures)
    assert "8 scenarios reduced to 5 (forward)" in told
    assert "by recourse costs at 2 plans: nothing, draw 1" in " ".join(told.split())
    assert "events: {file: ...}" in told
    events = xr.load_dataset(folder / EVENTS_FILE)
    assert check(events) == []
    assert events.sizes["scenario"] == 5
    mass = events["probability"].groupby("event_class").sum().to_series()
    assert mass.to_dict() == pytest.approx({"surge": 0.5, "storm": 0.25, "storm_surge": 0.25})
    assert list(events["scenario"].values) == list(range(5))
    assert np.array_equal(events["shock"], whole.data["shock"].sel(scenario=events["original"]))
    recipe = json.loads(events.attrs["recipe"])
    assert recipe["generated"] == 8
    said = recipe["reduction"]
    assert (said["by"], said["classes"], said["tail"], said["over"]) == ("costs", "event_class", 0.0, ["plan_cost"])
    assert said["pilots"]["plans"] == ["nothing", "draw 1"]
    assert len(said["pilots"]["draws"][0]["scenarios"]) == 8


def test_by_data_nothing_is_solved(stormy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dro.TwoStageProgram, "solve", None)
    command = ["scenarios", str(stormy), "--count", "16", "--reduce", "8", "--by", "data"]
    done = CliRunner().invoke(app, [*command, "--folder", str(stormy.parent / "data")])
    assert done.exit_code == 0, done.output
    assert "by data" in done.stdout
    made = xr.load_dataset(stormy.parent / "data" / EVENTS_FILE)
    said = json.loads(made.attrs["recipe"])["reduction"]
    assert said["tail"] == 0.1
    assert "shock" in said["over"]
    mass = made["probability"].groupby("event_class").sum().to_series()
    assert mass.to_dict() == pytest.approx({"surge": 0.5, "storm": 0.25, "storm_surge": 0.25})


def test_hubs_that_are_out_are_kept_with_the_events_that_were_chosen(tiny: Path) -> None:
    """They are drawn by the place of an event in the ensemble, which the kept ones have left."""
    text = tiny.read_text(encoding="utf-8").replace("scenarios: 3,", "scenarios: 5, hub_outage_probability: 0.4,")
    tiny.write_text(text, encoding="utf-8")
    whole = open_study(tiny).data
    kept = make_scenarios(tiny, tiny.parent / "kept", reduce=4, pilots=0).data
    reading = tiny.parent / "reading.yaml"
    values = YAML(typ="safe").load(text)
    values["events"] = {"file": f"kept/{EVENTS_FILE}"}
    with reading.open("w", encoding="utf-8") as stream:
        YAML().dump(values, stream)
    read = open_study(reading).data
    assert not read["hub_available"].all()
    for name in ("hub_available", "shock", "energised", "travel_time"):
        own = whole[name].sel(scenario=kept["original"].values) if "scenario" in whole[name].dims else whole[name]
        if "node" in own.dims:
            own = own.sel(node=read["node"])
        assert np.array_equal(read[name], own), name


def test_what_cannot_be_reduced_is_refused_before_anything_is_solved(stormy: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="2 problems") as caught:
        make_scenarios(stormy, tmp_path / "a", reduce=9, pilots=-1)
    assert [finding.where for finding in caught.value.findings] == ["pilots=-1", "reduce=9"]
    with pytest.raises(InputError, match="did you mean 'costs'"):
        make_scenarios(stormy, tmp_path / "a", reduce=3, by="cost")  # type: ignore[arg-type]
    assert not (tmp_path / "a").exists()


@pytest.mark.usefixtures("whole")
def test_a_study_that_points_to_the_file_has_the_data_of_one_that_generates(stormy: Path) -> None:
    generated = open_study(stormy).data
    read = open_study(pointing(stormy, "reading.yaml", f"all/{EVENTS_FILE}")).data
    for name in generated.data_vars:
        assert np.array_equal(generated[name], read[name]), name
    assert np.array_equal(generated["event_class"], read["event_class"])


def test_the_reduced_file_keeps_its_probabilities_in_the_study(stormy: Path, told: str) -> None:
    data = open_study(pointing(stormy, "few.yaml", f"scenarios/{EVENTS_FILE}")).data
    assert data.sizes["scenario"] == 5
    assert float(data["probability"].std()) > 0
    assert float(data["probability"].sum()) == pytest.approx(1)


def test_steps_of_another_length_are_refused(stormy: Path, told: str) -> None:
    path = pointing(stormy, "other.yaml", f"scenarios/{EVENTS_FILE}")
    path.write_text(path.read_text(encoding="utf-8").replace("length: 10", "length: 15"), encoding="utf-8")
    with pytest.raises(InputError, match="the steps have other lengths than steps_min of the study"):
        open_study(path)


def test_a_label_of_the_file_that_the_study_does_not_know(stormy: Path, told: str) -> None:
    path = pointing(stormy, "fewer.yaml", f"scenarios/{EVENTS_FILE}")
    text = path.read_text(encoding="utf-8").replace("- bus: '30'\n  kind: dg\n  output_mw: 0.2\n", "")
    assert "kind: dg" not in text
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match="unknown data centre or plant '30'"):
        open_study(path)


def test_nothing_else_is_overwritten_and_nothing_half_written(stormy: Path) -> None:
    precious = stormy.parent / "precious"
    precious.mkdir()
    (precious / "thesis.txt").write_text("mine", encoding="utf-8")
    done = CliRunner().invoke(app, ["scenarios", str(stormy), "--folder", str(precious)])
    assert done.exit_code == 1
    assert "exists and holds no ensemble: it is not replaced" in done.stderr
    assert [path.name for path in precious.iterdir()] == ["thesis.txt"]
    new = stormy.parent / "new"
    done = CliRunner().invoke(app, ["scenarios", str(stormy), "--folder", str(new), "--reduce", "99"])
    assert done.exit_code == 1
    assert not new.exists()


def test_bad_traces_and_a_study_that_reads_its_events_are_refused(stormy: Path, told: str, tmp_path: Path) -> None:
    bad = tmp_path / "bad.csv"
    bad.write_text("t,p_W\n0,1\n1,-1\n1,1\n", encoding="utf-8")
    done = CliRunner().invoke(app, ["scenarios", str(stormy), "--trace", str(bad), "--folder", str(tmp_path / "a")])
    assert done.exit_code == 1
    assert "bad.csv:3: p_W: is negative" in done.stderr
    assert "bad.csv:4: t: the same time as in line 3" in done.stderr
    # options say what the columns of a trace do not, and the messages name them
    bad.write_text("time;note;load;cooling\n0;a;100,5;1\n0,5;b;-1;1\n", encoding="utf-8")
    asked = ["scenarios", str(stormy), "--trace", str(bad), "--folder", str(tmp_path / "a")]
    for options, said in (
        ([], "cannot be told: 'note', 'load', 'cooling' (name it: power= (--power on the command line))"),
        (["--power", "load"], "no unit is stated (end the name in _W, _kW or _MW, or give unit= (--unit"),
        (["--power", "load", "--unit", "kW"], "no unit of time is stated"),
        (["--power", "load", "--unit", "kW", "--time-unit", "min"], "bad.csv:3: load: is negative: -1"),
        (["--time", "none"], "no column 'none'"),
        (["--longest-gap-s", "0"], "must be above 0 s"),
    ):
        done = CliRunner().invoke(app, [*asked, *options])
        assert done.exit_code == 1
        assert said in done.stderr
    done = CliRunner().invoke(app, ["scenarios", str(stormy), "--unit", "kW", "--folder", str(tmp_path / "a")])
    assert "unit: has no effect without a trace" in done.stderr
    reading = pointing(stormy, "again.yaml", f"scenarios/{EVENTS_FILE}")
    with pytest.raises(InputError, match=r"again\.yaml:\d+:3: events\.file: the events are read from a file already"):
        make_scenarios(reading, tmp_path / "b")
