"""`drofcm smps` on published problems: answers, exit codes, one clear message for each mistake."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import smps_files
from processes import ENVIRONMENT, until
from typer.testing import CliRunner

import drofcm as dro
from drofcm.cli import app
from drofcm.commands import cluster

LANDS = 381.853333


def call(*arguments: object) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, ["smps", *map(str, arguments)])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.stdout, result.stderr


def number(name: str, told: str) -> float:
    (found,) = re.findall(rf"{name} (-?[\d.]+(?:e[+-]\d+)?)", told)
    return float(found)


@pytest.fixture
def lands(benchmarks: Path) -> Path:
    return benchmarks / "slp" / "lands"


# ---- answers --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["extensive", "lshaped"])
def test_lands_has_the_published_optimum(lands: Path, method: str, tmp_path: Path) -> None:
    code, told, wrong = call(lands, "--method", method, "--gap", 1e-7, "--workers", 1, "--save", tmp_path / "lands.nc")
    assert (code, wrong) == (0, "")
    assert f"method: {method} (asked for)" in told
    assert number("optimal: objective", told) == pytest.approx(LANDS, rel=1e-6)
    assert number("lower bound", told) <= LANDS * (1 + 1e-7)
    assert number("upper bound", told) >= LANDS * (1 - 1e-7)
    plan = dict(re.findall(r"(X\d) ([\d.]+)", told))
    assert [float(plan[name]) for name in ("X1", "X2", "X3", "X4")] == pytest.approx([8 / 3, 4, 10 / 3, 2], rel=1e-3)
    saved = dro.Result.from_netcdf(tmp_path / "lands.nc")
    assert saved.objective == pytest.approx(LANDS, rel=1e-6)


def test_lands_on_a_running_scheduler(lands: Path, cluster: Any) -> None:
    code, told, wrong = call(lands, "--gap", 1e-6, "--scheduler", cluster.address)
    assert (code, wrong) == (0, "")
    assert "method: lshaped (a client or a checkpoint was given)" in told
    assert number("optimal: objective", told) == pytest.approx(LANDS, rel=1e-6)


@pytest.mark.parametrize("method", ["extensive", "lshaped"])
def test_maximum_is_told_as_one(tmp_path: Path, method: str) -> None:
    """The same problem as minus the minimum: 0.25, 0.75 for NEED of 4, 6 and halves for the price of BUY."""
    least = smps_files.write(tmp_path)
    _, told, _ = call(least, "--method", method, "--gap", 1e-9, "--workers", 1)
    cost = number("optimal: objective", told)
    (tmp_path / "max").mkdir()
    opposite = re.sub(r"(COST +)(-?)([\d.]+)", lambda m: f"{m[1]}{'' if m[2] else '-'}{m[3]}", smps_files.CORE)
    core = opposite.replace("ROWS\n", "OBJSENSE\n    MAX\nROWS\n", 1)
    stochastic = re.sub(r"(BUY +COST +)", r"\g<1>-", smps_files.INDEP)
    most = smps_files.write(tmp_path / "max", core=core, stochastic=stochastic)
    code, told, wrong = call(most, "--method", method, "--gap", 1e-9, "--workers", 1)
    assert (code, wrong) == (0, "")
    assert "note: maximised" in told
    assert number("optimal: objective", told) == pytest.approx(-cost, rel=1e-6)
    assert -cost * (1 + 1e-6) <= number("lower bound", told) <= number("upper bound", told) + 1e-9
    assert re.search("lower bound .*: the plan", told)
    assert not re.search("upper bound .*: the plan", told)


@pytest.mark.slow
def test_stopped_at_the_time_limit_with_a_plan(benchmarks: Path) -> None:
    code, told, _ = call(benchmarks / "siplib" / "dcap233_200", "--method", "extensive", "--time-limit", 2)
    assert code == 3
    assert "time limit: objective" in told
    assert number("lower bound", told) <= 1834.568 * (1 + 1e-4)
    assert number("upper bound", told) >= 1834.568 * (1 - 1e-4)


def test_stopped_before_there_is_a_plan(lands: Path) -> None:
    code, told, wrong = call(lands, "--method", "lshaped", "--workers", 1, "--time-limit", 1e-9)
    assert code == 4
    assert told == ""
    assert "before any plan was found" in wrong


# ---- mistakes -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["extensive", "lshaped"])
def test_probabilities_that_do_not_sum_to_one(benchmarks: Path, method: str) -> None:
    folder = benchmarks / "slp"
    code, told, wrong = call(
        folder / "pltexpa-2", "--stochastic", folder / "pltexpa-2-16.sto", "--method", method, "--workers", 1
    )
    assert code == 1
    assert told == ""
    assert wrong.startswith(f"{folder / 'pltexpa-2-16.sto'}:3: ")
    assert "1.0002" in wrong
    assert wrong.count("\n") == 1


def test_files_that_are_not_there(tmp_path: Path) -> None:
    code, told, wrong = call(tmp_path / "nothing")
    assert (code, told) == (1, "")
    assert str(tmp_path / "nothing") in wrong


@pytest.mark.parametrize("method", ["extensive", "lshaped"])
def test_problem_without_any_plan(tmp_path: Path, method: str) -> None:
    core = smps_files.CORE.replace("    RHS       CAP       10.0", "    RHS       CAP       -1.0")
    code, told, wrong = call(smps_files.write(tmp_path, core=core), "--method", method, "--workers", 1)
    assert (code, told) == (2, "")
    assert wrong


@pytest.mark.parametrize("option", [("--method", "benders"), ("--reading", "mine"), ("--workers", "0")])
def test_options_that_do_not_exist(lands: Path, option: tuple[str, str]) -> None:
    code, told, wrong = call(lands, *option)
    assert (code, told) == (64, "")
    assert option[0] in wrong


@pytest.mark.parametrize(
    "address",
    [
        "tcp://127.0.0.1:1",
        "nonsense",
        "",
        "tls://127.0.0.1:1",
        "ucx://127.0.0.1:1",
        "inproc://x",
        "foo://x",
        "tcp://[::1",
    ],
)
def test_scheduler_that_does_not_answer(lands: Path, address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "ANSWER_SECONDS", 1)
    code, told, wrong = call(lands, "--scheduler", address)
    assert (code, told) == (1, "")
    assert wrong.startswith(f"--scheduler: no scheduler answers at '{address}'")
    assert wrong.count("\n") == 1


@pytest.mark.parametrize("option", [("--checkpoint", "file"), ("--scheduler", "tcp://127.0.0.1:1")])
def test_extensive_form_neither_travels_nor_stops_halfway(lands: Path, option: tuple[str, str]) -> None:
    code, told, wrong = call(lands, "--method", "extensive", *option)
    assert (code, told) == (1, "")
    assert wrong.startswith(f"{option[0]}: the extensive form is solved in one piece")


# ---- checkpoints ----------------------------------------------------------------------------------------------------


def test_checkpoint_is_taken_up_only_where_that_is_asked_for(lands: Path, tmp_path: Path, benchmarks: Path) -> None:
    path = tmp_path / "checkpoint"
    settings = ("--method", "lshaped", "--workers", 1, "--checkpoint", path)
    assert call(lands, *settings, "--resume")[0] == 1
    assert call(lands, *settings, "--gap", 0.2)[0] == 0
    before = path.read_bytes()
    code, told, wrong = call(lands, *settings)
    assert (code, told) == (1, "")
    assert wrong == f"{path}: a checkpoint is there already (add --resume to go on from it, or delete it)\n"
    assert path.read_bytes() == before
    code, told, wrong = call(lands, *settings, "--gap", 1e-7, "--resume")
    assert (code, wrong) == (0, "")
    assert number("optimal: objective", told) == pytest.approx(LANDS, rel=1e-6)
    code, _, wrong = call(benchmarks / "slp" / "4node", "--stochastic", "4node-16.sto", *settings, "--resume")
    assert code == 1
    code, _, wrong = call(lands, *settings, "--cvar", 0.5, "--resume")
    assert code == 1
    assert wrong.startswith(f"{path}: is the checkpoint of another problem")
    path.write_bytes(before[:-100])
    code, _, wrong = call(lands, *settings, "--resume")
    assert code == 1
    assert wrong.startswith(f"{path}: cannot be read as a checkpoint")


def test_command_is_killed_and_taken_up(benchmarks: Path, tmp_path: Path) -> None:
    """SIGKILL while sslp_5_25_50 is searched; --resume ends at the optimum."""
    path = tmp_path / "checkpoint"
    command = [benchmarks / "siplib" / "sslp_5_25_50", "--method", "lshaped", "--checkpoint", path]
    process = subprocess.Popen(
        [sys.executable, "-c", "from drofcm.cli import app; app()", "smps", *map(str, command), "--workers", "1"],
        env=ENVIRONMENT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        until(path.exists, 60)
        assert process.poll() is None
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    code, told, wrong = call(*command, "--workers", 1, "--resume")
    assert (code, wrong) == (0, "")
    assert number("optimal: objective", told) == pytest.approx(-121.6, rel=1e-6)
    assert re.findall(r"first stage: (.*)", told) == ["x_1 1, x_3 1"]
