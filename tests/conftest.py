"""Fixtures that every test may use, and the count of tests skipped for want of something outside the project."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import hypothesis
import pytest
from processes import Cluster
from tiny import TINY
from typer.testing import CliRunner

from drofcm.cli import app
from drofcm.study.folder import RunFolder

if TYPE_CHECKING:
    from distributed import Client

ROOT = Path(__file__).resolve().parents[1]
OUTSIDE = {"benchmarks": "benchmarks", "browser": "chromium"}
"""Marker of what a test needs from outside -> fixture that provides it or skips."""

# A suite that gives another verdict on the same code teaches people to run it again.
hypothesis.settings.register_profile(
    "drofcm", derandomize=True, deadline=None, database=None, print_blob=True, max_examples=60
)
hypothesis.settings.load_profile("drofcm")


@pytest.fixture(scope="session")
def root() -> Path:
    """The checkout."""
    return ROOT


@pytest.fixture(scope="session")
def benchmarks() -> Path:
    """The folder of external problems with published answers."""
    folder = Path(os.environ.get("DROFCM_BENCHMARKS") or ROOT.parent / "shared" / "benchmarks")
    if not folder.is_dir():
        pytest.skip(f"no benchmarks: {folder} does not exist ($DROFCM_BENCHMARKS)")
    return folder


@pytest.fixture(scope="session")
def chromium() -> str:
    """Path of the Chromium that playwright is to drive."""
    path = shutil.which("chromium")
    if path is None:
        pytest.skip("no browser: chromium is not on the path")
    return path


@pytest.fixture(scope="session")
def tiny_told(tmp_path_factory: pytest.TempPathFactory) -> tuple[RunFolder, str]:
    """The run of the tiny study by the command line, and what was shown; tests read it and change nothing."""
    # the processes of a parallel session have folders side by side: what one of them has run, the others read
    base = tmp_path_factory.getbasetemp()
    kept = (base.parent if os.environ.get("PYTEST_XDIST_WORKER") else base) / "tiny_told.json"
    if kept.exists():
        path, shown = json.loads(kept.read_text(encoding="utf-8"))
        return RunFolder(Path(path)), shown
    folder = tmp_path_factory.mktemp("tiny")
    study = folder / "study.yaml"
    study.write_text(TINY, encoding="utf-8")
    told = CliRunner().invoke(app, ["run", str(study), "--runs", str(folder / "runs")])
    assert told.exit_code == 0, told.output
    (path,) = (folder / "runs").iterdir()
    (folder / kept.name).write_text(json.dumps([str(path), told.stdout]), encoding="utf-8")
    (folder / kept.name).rename(kept)
    return RunFolder(path), told.stdout


@pytest.fixture(scope="module")
def processes_of_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A Dask scheduler of real processes; idle, they take a tenth of a core, so that they end with the file."""
    cluster = Cluster(tmp_path_factory.mktemp("cluster"))
    yield cluster
    cluster.close()


@pytest.fixture
def cluster(processes_of_cluster: Cluster) -> Cluster:
    """The Dask cluster with two live workers, of one thread and of two, whatever an earlier test killed."""
    processes_of_cluster.ensure(threads=(1, 2))
    return processes_of_cluster


@pytest.fixture
def client(cluster: Cluster) -> Iterator[Client]:
    """A client of that cluster."""
    # imported here, because it takes a second and most tests need no cluster
    from distributed import Client

    with Client(cluster.address, timeout=20) as client:
        client.wait_for_workers(2, timeout=60)
        yield client


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--forbid-skips",
        default="",
        metavar="WHAT",
        help=f"fail if a test was skipped for want of one of these, separated by commas: {', '.join(OUTSIDE)}",
    )


def pytest_configure(config: pytest.Config) -> None:
    # who starts the tests behind a shell, or by nohup, has told them to ignore signals that some of them send
    for number, usual in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, usual)
    unknown = set(_forbidden(config)) - set(OUTSIDE)
    if unknown:
        raise pytest.UsageError(f"--forbid-skips: unknown {', '.join(sorted(unknown))}; known: {', '.join(OUTSIDE)}")


def pytest_collection_modifyitems(items: Iterable[pytest.Item]) -> None:
    for item in items:
        for marker, fixture in OUTSIDE.items():
            if fixture in getattr(item, "fixturenames", ()):
                item.add_marker(marker)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    skips = _skips(config)
    terminalreporter.write_line("skipped: " + ", ".join(f"{count} for no {what}" for what, count in skips.items()))
    for what in _forbidden(config):
        if skips[what]:
            terminalreporter.write_line(f"--forbid-skips: {skips[what]} skipped for no {what}", red=True)


def pytest_sessionfinish(session: pytest.Session) -> None:
    skips = _skips(session.config)
    if session.exitstatus == pytest.ExitCode.OK and any(skips[what] for what in _forbidden(session.config)):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def _forbidden(config: pytest.Config) -> list[str]:
    return [word for word in config.getoption("--forbid-skips").split(",") if word]


def _skips(config: pytest.Config) -> dict[str, int]:
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    skipped = reporter.stats.get("skipped", []) if reporter else []
    return {
        what: sum(what in report.keywords or f"no {what}" in str(report.longrepr) for report in skipped)
        for what in OUTSIDE
    }
