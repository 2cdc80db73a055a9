"""Studies that are changed or written back: what is refused is told, and what was written can be read again."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML
from tiny import TINY
from typer.testing import CliRunner

from drofcm.cli import app
from drofcm.config import StudyFile, changed, load_study, resolved
from drofcm.core.errors import InputError

PLAIN: dict[str, Any] = {"name": "mine", "seed": 1, "data_centres": [{"bus": "4", "rating_mw": 1.0}]}


@pytest.mark.parametrize(
    "own",
    [
        {},
        {"events": {"matrix": "matrix.csv", "scenarios": 30}},
        {"events": {"file": "events.nc"}},
        {"area": {"roads": "roads", "hazards": "zones"}},
        {"events": {"shares": {"surge": 0.35, "storm": 0.15}, "weather": {}}},
        {"ambiguity": {"kind": "intersection", "sets": [{"kind": "total_variation", "radius": 0.1}] * 2}},
    ],
)
def test_a_study_that_is_written_out_can_be_read_again(own: dict[str, Any], tmp_path: Path) -> None:
    study = StudyFile.model_validate({**PLAIN, **own})
    with (tmp_path / "study.resolved.yaml").open("w", encoding="utf-8") as stream:
        YAML(typ="rt").dump(resolved(study), stream)
    again = load_study(tmp_path / "study.resolved.yaml")
    assert again == study
    assert resolved(again) == resolved(study)


def test_a_study_that_reads_a_matrix_can_have_other_events() -> None:
    study = StudyFile.model_validate({**PLAIN, "events": {"matrix": "matrix.csv"}})
    other = changed(study, seed=2, events={"scenarios": 50})
    assert (other.seed, other.events.scenarios, other.events.matrix) == (2, 50, "matrix.csv")
    assert changed(other, seed=1, events={"scenarios": study.events.scenarios}) == study


def test_changes_that_make_no_study_are_refused_together() -> None:
    study = StudyFile.model_validate(PLAIN)
    with pytest.raises(InputError) as caught:
        changed(study, seed=-1, solver={"mip_gap": 2.0, "mip_gpa": 0.1})
    assert {finding.where for finding in caught.value.findings} == {"seed", "solver.mip_gap", "solver.mip_gpa"}


def test_option_that_no_study_could_state_is_a_message(tmp_path: Path) -> None:
    (tmp_path / "study.yaml").write_text(TINY, encoding="utf-8")
    told = CliRunner().invoke(app, ["run", str(tmp_path / "study.yaml"), "--runs", str(tmp_path), "--gap", "2"])
    assert told.exit_code == 1, told.exception
    assert told.stderr.startswith("solver.mip_gap: must be ")
    assert told.stderr.count("\n") == 1


@pytest.mark.slow
def test_a_study_without_a_plan_is_told_in_our_words_alone(tmp_path: Path) -> None:
    text = TINY.replace("scenarios: 3", "scenarios: 1").replace("{count: 3, length: 10}, {count: 2", "{count: 2")
    (tmp_path / "study.yaml").write_text(text + "budget_per_year: 1000\nhubs: {minimum: 1}\n", encoding="utf-8")
    command = [sys.executable, "-c", "from drofcm.cli import app; app()", "run", "study.yaml"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 2
    assert "budget" in done.stderr
    assert "hub_minimum" in done.stderr
    for word in ("Optimization", "Termination", "WARNING", "Solver"):
        assert word not in done.stderr
    assert done.stderr.startswith("no plan")
