"""A study small enough to be run in a test, and its run."""

from __future__ import annotations

from pathlib import Path

import pytest

from drofcm.study.folder import RunFolder
from drofcm.study.run import run_study

TINY = """\
name: tiny
seed: 7
data_centres:
  - {bus: "4", rating_mw: 1.6}
  - {bus: "24", rating_mw: 2.0, running_mw: 0.4}
events: {scenarios: 3, fault_lines: ["3-23", "30-31"]}
steps_min: [{count: 3, length: 10}, {count: 2, length: 60}]
"""


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    """A study file of two data centres, three events and five steps."""
    path = tmp_path / "study.yaml"
    path.write_text(TINY, encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def tiny_run(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """The run of the tiny study; tests read it and change nothing."""
    folder = tmp_path_factory.mktemp("tiny")
    (folder / "study.yaml").write_text(TINY, encoding="utf-8")
    return run_study(folder / "study.yaml", folder / "runs")
