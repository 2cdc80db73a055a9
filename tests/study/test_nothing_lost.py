"""A plan that was found is written, or handed on; what is there already is neither lost nor made worse."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from typer.testing import CliRunner

from drofcm.cli import app
from drofcm.core.errors import InputError, LimitError, NotWrittenError
from drofcm.dsl.program import TwoStageProgram
from drofcm.report import figures
from drofcm.report.inputs import DO_NOTHING, EXPECTED_VALUE_PLAN
from drofcm.solve.result import Result
from drofcm.study import run
from drofcm.study.assemble import Assembly
from drofcm.study.folder import PROVENANCE, RunFolder
from drofcm.study.plan import read_plan
from drofcm.study.run import open_study, run_study
from drofcm.validate.information import Foresight


@pytest.fixture
def copy(tiny_run: RunFolder, tmp_path: Path) -> RunFolder:
    """The run of the tiny study, to be changed, with a file of the user's in it."""
    path = tmp_path / "runs" / tiny_run.path.name
    shutil.copytree(tiny_run.path, path)
    (path / "notes.txt").write_text("mine", encoding="utf-8")
    return RunFolder(path)


@pytest.fixture(scope="module")
def assembly(tiny_run: RunFolder) -> Assembly:
    return open_study(tiny_run.path.parents[1] / "study.yaml")


@pytest.fixture(scope="module")
def outcome(tiny_run: RunFolder) -> run._Outcome:
    """What the search of the tiny study found."""
    read = Result.from_netcdf
    baselines = {name: read(tiny_run.path / "baselines" / f"{stem}.nc") for name, stem in STEMS.items()}
    return run._Outcome(read(tiny_run.path / "result.nc"), baselines, None, (), Foresight())


STEMS = {DO_NOTHING: "do_nothing", EXPECTED_VALUE_PLAN: "expected_value"}
FACTS: dict[str, Any] = {"study": "tiny", "seed": 7, "warnings": [], "compared": True}


def written(target: Path, assembly: Assembly, outcome: run._Outcome) -> RunFolder:
    return run._write(target, assembly, outcome, FACTS, run._Logged(run._Silent()))


# ---- what is there --------------------------------------------------------------------------------------------------


def test_a_changed_file_is_said_and_nothing_is_touched(tiny: Path, copy: RunFolder) -> None:
    with (copy.path / "hubs.gpkg").open("ab") as file:
        file.write(b"changed in QGIS")
    before = {file: file.read_bytes() for file in copy.path.rglob("*") if file.is_file()}
    with pytest.raises(InputError, match=r"hubs\.gpkg: was changed after the run \(nothing was done: move the folder"):
        run_study(tiny, copy.path.parent)
    assert {file: file.read_bytes() for file in copy.path.rglob("*") if file.is_file()} == before


def test_a_missing_file_is_said_and_the_run_is_made_anew(copy: RunFolder) -> None:
    (copy.path / "data.nc").unlink()
    earlier = run._earlier(copy.path)
    assert not earlier.whole
    assert [(fault.what, fault.severity) for fault in earlier.damage] == [("is missing", "warning")]


def test_a_folder_whose_seal_is_gone_is_the_users(copy: RunFolder) -> None:
    (copy.path / PROVENANCE).unlink()
    with pytest.raises(InputError, match="not as this command wrote it"):
        run._earlier(copy.path)


def test_a_missing_report_is_drawn_again(tiny: Path, copy: RunFolder) -> None:
    (copy.path / "report.html").unlink()
    assert run_study(tiny, copy.path.parent).reopened
    assert (copy.path / "report.html").stat().st_size > 100_000


def test_a_worse_run_does_not_replace_a_better_one(copy: RunFolder, assembly: Assembly, outcome: run._Outcome) -> None:
    before = {file: file.read_bytes() for file in copy.path.rglob("*") if file.is_file()}
    worse = replace(outcome, plan=replace(outcome.plan, status="interrupted", lower_bound=0.0, gap=1.0))
    assert written(copy.path, assembly, worse).stayed
    assert {file: file.read_bytes() for file in copy.path.rglob("*") if file.is_file()} == before


def test_a_better_run_replaces_a_worse_one_and_leaves_the_rest(
    copy: RunFolder, assembly: Assembly, outcome: run._Outcome
) -> None:
    facts = {**copy.provenance, "status": "interrupted", "lower_bound": 0.0}
    (copy.path / PROVENANCE).write_text(json.dumps(facts), encoding="utf-8")
    assert not written(copy.path, assembly, outcome).stayed
    assert copy.faults() == []
    assert copy.status == "optimal"
    assert (copy.path / "notes.txt").read_text(encoding="utf-8") == "mine"


# ---- what cannot be written -----------------------------------------------------------------------------------------


def handed_on(error: NotWrittenError, assembly: Assembly, folder: Path) -> xr.DataArray:
    (folder / "plan.csv").write_text(error.table, encoding="utf-8")
    return read_plan(folder / "plan.csv", assembly.data)["shipped"]


def test_a_title_that_cannot_be_encoded_costs_no_plan(
    tmp_path: Path, assembly: Assembly, outcome: run._Outcome
) -> None:
    strange = replace(assembly, study=assembly.study.model_copy(update={"title": "\udc80"}))
    with pytest.raises(NotWrittenError) as caught:
        written(tmp_path / "runs" / "a-1", strange, outcome)
    shipped = handed_on(caught.value, assembly, tmp_path)
    np.testing.assert_allclose(shipped, outcome.plan.first_stage["shipped"])
    assert "hubs open: " in caught.value.summary
    assert not (tmp_path / "runs").exists()


def no_space(*_: object) -> None:
    raise OSError(28, "No space left on device")


def no_driver(*_: object) -> None:
    raise RuntimeError("NetCDF: HDF error")


def stopped_twice(*_: object) -> None:
    os.kill(os.getpid(), signal.SIGINT)
    os.kill(os.getpid(), signal.SIGINT)


@pytest.mark.parametrize(
    ("fails", "why"),
    [(no_space, "no space left at"), (no_driver, "cannot be written: NetCDF: HDF error"), (stopped_twice, "once more")],
)
def test_whatever_stands_against_writing_the_plan_is_handed_on(
    tmp_path: Path,
    assembly: Assembly,
    outcome: run._Outcome,
    monkeypatch: pytest.MonkeyPatch,
    fails: Callable[..., None],
    why: str,
) -> None:
    monkeypatch.setattr(run, "write_contents", fails)
    monkeypatch.setattr(run, "report_input", lambda *_: _Certified())
    monkeypatch.setattr(run, "gap_of_benefit", lambda _: 0.0)
    monkeypatch.setattr(run, "money_facts", lambda _: {})
    with run.held(), pytest.raises(NotWrittenError, match=why) as caught:
        written(tmp_path / "runs" / "a-1", assembly, outcome)
    np.testing.assert_allclose(handed_on(caught.value, assembly, tmp_path), outcome.plan.first_stage["shipped"])
    assert not (tmp_path / "runs").exists()


class _Certified:
    class certificate:  # noqa: N801
        passed = True


def test_one_signal_while_it_is_written_changes_nothing(
    tmp_path: Path, assembly: Assembly, outcome: run._Outcome, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = run.write_contents

    def interrupted(*arguments: Any) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        whole(*arguments)

    monkeypatch.setattr(run, "write_contents", interrupted)
    with run.held():
        found = written(tmp_path / "a-1", assembly, outcome)
    assert found.faults() == []
    assert found.status == "optimal"


# ---- searches that end without a word -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "status"),
    [(KeyboardInterrupt(), "interrupted"), (LimitError("time_limit", 1.0, -np.inf), "time_limit")],
    ids=["Ctrl-C", "time limit"],
)
def test_a_search_that_hands_nothing_back_leaves_the_best_plan_that_was_known(
    assembly: Assembly, monkeypatch: pytest.MonkeyPatch, error: BaseException, status: str
) -> None:
    solve = TwoStageProgram.solve

    def ends(program: TwoStageProgram, *arguments: Any, **options: Any) -> Result:
        if "start" in options:
            raise error
        return solve(program, *arguments, **options)

    monkeypatch.setattr(TwoStageProgram, "solve", ends)
    found = run._solve(assembly, run._Logged(run._Silent()), None, None, None)
    known = [own.objective for name, own in found.baselines.items() if name != DO_NOTHING]
    assert found.plan.objective == min(known)
    assert found.plan.status == status
    assert found.plan.lower_bound == -np.inf


def test_a_search_that_had_nothing_left_to_do_has_no_convergence_to_draw() -> None:
    assert figures.convergence(pd.DataFrame()) is None


# ---- reports of folders that hold something else --------------------------------------------------------------------


def reseal(path: Path, name: str) -> None:
    facts = json.loads((path / PROVENANCE).read_text(encoding="utf-8"))
    facts["files"][name] = hashlib.sha256((path / name).read_bytes()).hexdigest()
    (path / PROVENANCE).write_text(json.dumps(facts), encoding="utf-8")


def nothing_in_it(path: Path) -> None:
    path.write_bytes(b"")


def a_bomb(path: Path) -> None:
    import netCDF4

    with netCDF4.Dataset(path, "w") as file:
        file.createDimension("scenario", 10**6)
        file.createDimension("time", 10**5)
        file.createVariable("shock", "f8", ("scenario", "time"), chunksizes=(1, 10**5))


def other_scenarios(path: Path) -> None:
    data = xr.load_dataset(path, engine="netcdf4")
    data.isel(scenario=slice(0, 2)).to_netcdf(path, engine="netcdf4")


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("data.nc", nothing_in_it),
        ("data.nc", a_bomb),
        ("data.nc", other_scenarios),
        ("result.nc", nothing_in_it),
        ("hubs.gpkg", nothing_in_it),
        ("study.resolved.yaml", nothing_in_it),
        ("baselines/do_nothing.nc", nothing_in_it),
    ],
)
def test_a_sealed_file_that_holds_something_else_is_named(
    copy: RunFolder, name: str, change: Callable[[Path], None]
) -> None:
    report = (copy.path / "report.html").read_bytes()
    change(copy.path / name)
    reseal(copy.path, name)
    done = CliRunner().invoke(app, ["report", str(copy.path)])
    assert done.exit_code == 1, done.output
    assert str(copy.path) in done.stderr or name in done.stderr
    assert "Traceback" not in done.stderr
    assert (copy.path / "report.html").read_bytes() == report
