"""A study small enough to be run in a test, and its run."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny import TINY

from drofcm.study.folder import RunFolder


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    """A study file of two data centres, three events and five steps."""
    path = tmp_path / "study.yaml"
    path.write_text(TINY, encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def tiny_run(tiny_told: tuple[RunFolder, str]) -> RunFolder:
    """The run of the tiny study; tests read it and change nothing."""
    return tiny_told[0]
