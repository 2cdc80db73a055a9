"""Run folders: equal input, equal key; whole or not at all; damage is noticed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from drofcm.config import StudyFile
from drofcm.core.errors import InputError
from drofcm.study.folder import RunFolder, digest_data, run_key, seal, writing


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
