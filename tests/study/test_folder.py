"""Run folders: equal input, equal key; whole or not at all; damage is noticed."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from drofcm.config import StudyFile
from drofcm.core.errors import InputError
from drofcm.study.folder import RunFolder, digest_data, digest_files, is_better, run_key, seal, writing
from drofcm.validate.money import FIGURES

FACTS: dict[str, Any] = {
    "status": "optimal",
    "certified": True,
    "compared": True,
    "risk_weighted_objective": 100.0,
    "lower_bound": 99.5,
    "upper_bound": 100.0,
    "gap": 0.005,
    "gap_of_benefit": 0.01,
    "warnings": [],
    "alpha": 0.9,
    "money": {"this plan": dict.fromkeys(FIGURES, 1.0)},
    "told": ["Open no hub."],
}
"""What the provenance of a run states, as far as those who open it ask."""


def study(**changes: object) -> StudyFile:
    return StudyFile.model_validate(
        {"name": "a", "seed": 1, "data_centres": [{"bus": "4", "rating_mw": 1.0}], **changes}
    )


def data() -> xr.Dataset:
    return xr.Dataset(
        {
            "shock": (("node", "time"), np.arange(6.0).reshape(2, 3), {"units": "MW"}),
            "energised": ("node", np.array([0, 1], dtype=np.int8), {"units": "1"}),
        },
        coords={"node": ["4", "24"], "time": [0, 1, 2]},
    )


def test_equal_input_gives_an_equal_key_whatever_the_order() -> None:
    swapped = data()[["energised", "shock"]]
    assert run_key(study(), {"a": "1", "b": "2"}, data()) == run_key(study(), {"b": "2", "a": "1"}, swapped)


@given(node=st.integers(0, 1), time=st.integers(0, 2), change=st.floats(1e-9, 1e3))
def test_any_changed_cell_changes_the_key(node: int, time: int, change: float) -> None:
    changed = data()
    changed["shock"][node, time] += change
    assert digest_data(changed) != digest_data(data())


@pytest.mark.parametrize(
    "changed",
    [
        data().assign_coords(node=["4", "25"]),
        data().assign(shock=data()["shock"].assign_attrs(units="kW")),
        data().rename(shock="shock_high"),
        data().transpose("time", "node"),
    ],
    ids=["label", "unit", "name", "order of dimensions"],
)
def test_labels_units_and_names_count(changed: xr.Dataset) -> None:
    assert digest_data(changed) != digest_data(data())


def test_study_and_inputs_count() -> None:
    keys = {
        run_key(study(), {"a": "1"}, data()),
        run_key(study(), {"a": "2"}, data()),
        run_key(study(seed=2), {"a": "1"}, data()),
        run_key(study(solver={"mip_gap": 0.02}), {"a": "1"}, data()),
    }
    assert len(keys) == 4


@pytest.mark.parametrize("stop", [KeyboardInterrupt, ValueError], ids=["Ctrl-C", "error"])
def test_stopped_in_the_middle_leaves_nothing(tmp_path: Path, stop: type[BaseException]) -> None:
    target = tmp_path / "runs" / "a-1"

    def half() -> None:
        with writing(target) as folder:
            (folder / "half").write_text("half", encoding="utf-8")
            raise stop

    with pytest.raises(stop):
        half()
    assert list(tmp_path.iterdir()) == []


def test_stopped_in_the_middle_keeps_what_was_there(tmp_path: Path) -> None:
    target = tmp_path / "a-1"
    target.mkdir()
    (target / "old").write_text("old", encoding="utf-8")
    with pytest.raises(KeyboardInterrupt), writing(target):
        raise KeyboardInterrupt
    assert [path.name for path in tmp_path.iterdir()] == ["a-1"]
    assert (target / "old").read_text(encoding="utf-8") == "old"


def test_nothing_stands_under_the_name_before_the_end(tmp_path: Path) -> None:
    target = tmp_path / "a-1"
    with writing(target) as folder:
        (folder / "file").write_text("new", encoding="utf-8")
        assert not target.exists()
    assert [path.name for path in tmp_path.iterdir()] == ["a-1"]
    assert (target / "file").read_text(encoding="utf-8") == "new"


def test_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("a file", encoding="utf-8")
    with pytest.raises(InputError, match="cannot be written"), writing(tmp_path / "runs" / "a-1"):
        pass


def test_damage_is_noticed(tmp_path: Path) -> None:
    for name in ("result.nc", "data.nc", "report.html"):
        (tmp_path / name).write_text(name, encoding="utf-8")
    seal(tmp_path, FACTS)
    assert RunFolder(tmp_path).faults() == []
    (tmp_path / "report.html").write_text("drawn again", encoding="utf-8")
    assert RunFolder(tmp_path).faults() == []
    (tmp_path / "result.nc").write_text("other", encoding="utf-8")
    (tmp_path / "data.nc").unlink()
    assert [fault.what for fault in RunFolder(tmp_path).faults()] == ["is missing", "was changed after the run"]
    (tmp_path / "provenance.json").unlink()
    assert "provenance.json" in RunFolder(tmp_path).faults()[0].what


# ---- provenance that is none ----------------------------------------------------------------------------------------

PROVENANCES = {
    "list": "[]",
    "text": '"a"',
    "nothing": "",
    "cut": '{"files": {',
    "no bytes of text": "\udcff",
    "nested": "[" * 100_000,
    "no files": "{}",
    "files as a list": '{"files": ["result.nc"]}',
    "digest that is none": '{"files": {"result.nc": 1}}',
    "file outside": '{"files": {"../x": "0"}}',
    "absolute file": '{"files": {"/etc/passwd": "0"}}',
}


@pytest.mark.parametrize("text", PROVENANCES.values(), ids=PROVENANCES)
def test_provenance_that_is_none_is_one_finding(tmp_path: Path, text: str) -> None:
    (tmp_path / "provenance.json").write_text(text, encoding="utf-8", errors="surrogateescape")
    assert [fault.what for fault in RunFolder(tmp_path).faults()] == ["provenance.json is missing or unreadable"]
    assert RunFolder(tmp_path).own() == set()


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("risk_weighted_objective", "100"),
        ("gap", None),
        ("certified", 1),
        ("warnings", [{"where": "a"}]),
        ("status", []),
        ("lower_bound", True),
        ("money", {"this plan": {"expected_cost": 1.0}}),
        ("money", {"this plan": {**dict.fromkeys(FIGURES, 1.0), "event_tail": "1"}}),
        ("told", [1]),
    ],
)
def test_facts_of_another_kind_are_named(tmp_path: Path, key: str, value: object) -> None:
    seal(tmp_path, {**FACTS, key: value})
    assert [fault.what for fault in RunFolder(tmp_path).faults()] == [f"does not state {key} as a run does"]


@pytest.mark.parametrize("name", ["x" * 300, "a\0b", "result.nc/x"])
def test_names_that_no_file_can_have_are_missing(tmp_path: Path, name: str) -> None:
    (tmp_path / "result.nc").write_text("", encoding="utf-8")
    (tmp_path / "provenance.json").write_text(json.dumps({**FACTS, "files": {name: "0"}}), encoding="utf-8")
    assert [fault.what for fault in RunFolder(tmp_path).faults()] == ["is missing"]


def test_a_folder_that_is_not_there_is_said_to_be_so(tmp_path: Path) -> None:
    assert [fault.what for fault in RunFolder(tmp_path / "none").faults()] == ["there is no such folder"]
    (tmp_path / "file").write_text("", encoding="utf-8")
    assert [fault.what for fault in RunFolder(tmp_path / "file").faults()] == ["is no folder"]


# ---- what is no regular file ----------------------------------------------------------------------------------------


def a_pipe(path: Path) -> None:
    os.mkfifo(path)


def a_folder(path: Path) -> None:
    path.mkdir()


def a_link_to_nothing(path: Path) -> None:
    path.symlink_to("nothing")


def a_link_to_a_device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def a_link_to_itself(path: Path) -> None:
    path.symlink_to(path)


@pytest.mark.parametrize("make", [a_pipe, a_folder, a_link_to_nothing, a_link_to_a_device, a_link_to_itself])
def test_what_is_no_regular_file_is_never_read(tmp_path: Path, make: Callable[[Path], None]) -> None:
    (tmp_path / "buses.csv").write_text("bus", encoding="utf-8")
    make(tmp_path / "old.csv")
    found = digest_files({name: tmp_path / name for name in ("buses.csv", "old.csv")})
    assert list(found) == ["buses.csv"]
    seal(tmp_path, FACTS)
    assert list(RunFolder(tmp_path).provenance["files"]) == ["buses.csv"]
    (tmp_path / "buses.csv").unlink()
    make(tmp_path / "buses.csv")
    assert [fault.what for fault in RunFolder(tmp_path).faults()] == ["is missing"]


def test_a_file_beyond_all_size_is_named(tmp_path: Path) -> None:
    with (tmp_path / "huge.csv").open("wb") as file:
        file.truncate(2**35)  # takes no room
    with pytest.raises(InputError, match=r"huge\.csv: is larger than 16 GiB"):
        digest_files({"huge.csv": tmp_path / "huge.csv"})


# ---- which of two runs stays ----------------------------------------------------------------------------------------

BETTER: dict[str, dict[str, Any]] = {
    "cheaper": {"risk_weighted_objective": 99.9},
    "bounded more tightly": {"lower_bound": 99.6},
}
WORSE: dict[str, dict[str, Any]] = {
    "dearer": {"risk_weighted_objective": 100.1},
    "bounded less tightly": {"lower_bound": 90.0},
    "without a bound": {"lower_bound": -np.inf},
    "not compared": {"compared": False},
    "stopped, though cheaper": {"status": "interrupted", "risk_weighted_objective": 99.9, "lower_bound": 50.0},
    "not certified, though cheaper": {"certified": False, "risk_weighted_objective": 50.0},
    "no figure": {"risk_weighted_objective": np.nan},
    "figure of another kind": {"risk_weighted_objective": "0"},
}


@pytest.mark.parametrize("change", BETTER.values(), ids=BETTER)
def test_better_runs_replace(change: dict[str, Any]) -> None:
    assert is_better({**FACTS, **change}, FACTS)
    assert not is_better(FACTS, {**FACTS, **change})


@pytest.mark.parametrize("change", WORSE.values(), ids=WORSE)
def test_worse_runs_do_not(change: dict[str, Any]) -> None:
    assert not is_better({**FACTS, **change}, FACTS)
    assert is_better(FACTS, {**FACTS, **change})


def test_equal_runs_stay() -> None:
    assert not is_better(FACTS, {**FACTS, "risk_weighted_objective": FACTS["risk_weighted_objective"] * (1 + 1e-12)})
    stopped = {**FACTS, "status": "time_limit", "compared": False}
    assert not is_better({**stopped, "risk_weighted_objective": 101.0, "compared": True}, stopped)
