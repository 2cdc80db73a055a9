"""`drofcm run` that is stopped or killed at any moment: the answer, or an exit code that says why not; no plan lost."""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from processes import ENVIRONMENT, until, worker_processes
from typer.testing import CliRunner

from drofcm.cli import app
from drofcm.study.folder import RunFolder

GAP = 0.005
STUDY = f"""\
name: stopped
seed: 20261202
hubs: {{forced_out: [broadlands, dulles_town_center, herndon, leesburg, sterling]}}
data_centres:
  - {{bus: "4", rating_mw: 1.6}}
  - {{bus: "24", rating_mw: 2.0, running_mw: 0.4}}
events: {{scenarios: 6, fault_lines: ["3-23", "30-31"]}}
steps_min: [{{count: 3, length: 10}}, {{count: 2, length: 60}}]
solver: {{method: lshaped, mip_gap: {GAP}, time_limit_s: 600}}
"""
BEFORE = (130, -signal.SIGINT, -signal.SIGTERM)
"""Exit codes of a process that was stopped while the interpreter started."""
WRITING = "certifying and writing the report"


@dataclass(frozen=True)
class Undisturbed:
    """A run that nobody stops."""

    study: Path
    objective: float
    began: float
    """Seconds from the start to the first line."""
    search: float
    """Seconds from the first line to the writing."""
    writing: float
    """Seconds from there to the end."""


class Run:
    """One `drofcm run` of its own."""

    def __init__(self, study: Path, runs: Path) -> None:
        self.runs = runs
        code = "from drofcm.cli import app; app()"
        self.process = subprocess.Popen(
            [sys.executable, "-u", "-c", code, "run", str(study), "--runs", str(runs)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=ENVIRONMENT,
            cwd=study.parent,
        )
        self.lines: list[str] = []

    def wait_for(self, text: str) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line)
            if text in line:
                return
        raise AssertionError(f"{text!r} was never said: {self.lines}, {self.process.communicate()[1]}")

    def end(self, number: int) -> tuple[int, str]:
        """Send a signal, wait for the end; exit code and what was said on stderr."""
        workers = worker_processes(self.process.pid)
        with suppress(ProcessLookupError):
            self.process.send_signal(number)
        _, told = self.process.communicate(timeout=300)
        until(lambda: not any(Path(f"/proc/{worker}").exists() for worker in workers), 30)
        return self.process.returncode, told


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    folder = tmp_path_factory.mktemp("stopped")
    study = folder / "study.yaml"
    study.write_text(STUDY, encoding="utf-8")
    moments = [time.monotonic()]
    run = Run(study, folder / "runs")
    for text in ("reading", WRITING):
        run.wait_for(text)
        moments.append(time.monotonic())
    run.process.communicate(timeout=600)
    moments.append(time.monotonic())
    assert run.process.returncode == 0
    (path,) = (folder / "runs").iterdir()
    return Undisturbed(study, RunFolder(path).provenance["risk_weighted_objective"], *np.diff(moments))


def stopped(own: Undisturbed, runs: Path, number: int, writing: bool, share: float) -> tuple[int, str]:
    run = Run(own.study, runs)
    if writing:
        run.wait_for(WRITING)
        time.sleep(share * 0.9 * own.writing)
    else:
        time.sleep(share * (own.began + own.search))
    return run.end(number)


def is_whole(own: Undisturbed, runs: Path, code: int, told: str) -> None:
    """What stands there is a whole run with the exit code that belongs to it, or nothing stands there."""
    found = list(runs.iterdir()) if runs.exists() else []
    if code in BEFORE:
        assert found == []
        return
    assert "Traceback" not in told
    if code == 4:
        assert found == []
        assert "interrupted before there was a plan" in told
        return
    assert code in (0, 3)
    (path,) = found
    run = RunFolder(path)
    assert run.faults() == []
    facts = run.provenance
    assert facts["certified"]
    assert (code == 0) == (facts["status"] == "optimal")
    assert facts["lower_bound"] <= own.objective * (1 + 1e-9)
    # two searches that are done may end with two plans, either of them within the gap that was asked for
    assert facts["risk_weighted_objective"] >= own.objective * (1 - GAP)
    assert code == 3 or facts["risk_weighted_objective"] <= own.objective * (1 + GAP)


def moments(count: int, purpose: int) -> Iterator[tuple[bool, float]]:
    """Whether while writing, which half of them are, and after what share of the time."""
    shares = np.random.default_rng([20261201, purpose]).uniform(size=count)
    for place, share in enumerate(shares):
        yield place % 2 == 1, float(share)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_stopped_at_any_moment_no_plan_is_lost(
    undisturbed: Undisturbed, tmp_path: Path, number: signal.Signals
) -> None:
    for place, (writing, share) in enumerate(moments(20, number)):
        runs = tmp_path / str(place)
        code, told = stopped(undisturbed, runs, number, writing, share)
        is_whole(undisturbed, runs, code, told)
        assert not writing or code == 0, (share, told)


@pytest.mark.slow
def test_killed_while_writing_the_next_run_gives_the_same_answer(undisturbed: Undisturbed, tmp_path: Path) -> None:
    left = 0
    for place, (_, share) in enumerate(moments(10, signal.SIGKILL)):
        runs = tmp_path / str(place)
        stopped(undisturbed, runs, signal.SIGKILL, True, share)
        there = list(runs.iterdir()) if runs.exists() else []
        left += any(path.name.startswith(".") for path in there)
        assert all(path.name.startswith(".") or RunFolder(path).faults() == [] for path in there)
        done = CliRunner().invoke(app, ["run", str(undisturbed.study), "--runs", str(runs)])
        assert done.exit_code == 0, done.output
        (path,) = runs.iterdir()
        assert RunFolder(path).faults() == []
        assert RunFolder(path).provenance["risk_weighted_objective"] == pytest.approx(undisturbed.objective, rel=GAP)
        shutil.rmtree(runs)
    assert left > 0


def test_sigterm_before_there_is_a_plan_writes_nothing(tmp_path: Path) -> None:
    study = tmp_path / "study.yaml"
    study.write_text(STUDY, encoding="utf-8")
    run = Run(study, tmp_path / "runs")
    run.wait_for("evaluating: do nothing")
    code, told = run.end(signal.SIGTERM)
    assert code == 4
    assert re.fullmatch("interrupted before there was a plan; nothing was written\n", told)
    assert not (tmp_path / "runs").exists()
