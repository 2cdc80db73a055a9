"""Labels and names of any kind come back from a file as they were."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from drofcm.core.errors import InputError
from drofcm.solve.result import Result

LABELS: dict[str, Any] = {
    "text": ["a", "b"],
    "numbers": [1, 2],
    "truth": [True, False],
    "times": pd.date_range("2024-03-31", periods=2, freq="h"),
    "times with a zone, where the clock changes": pd.date_range("2024-03-31", periods=2, tz="Europe/Berlin", freq="h"),
    "durations": pd.to_timedelta([1, 2], unit="h"),
    "months": pd.period_range("2024-01", periods=2, freq="M"),
    "quarters": pd.period_range("2024Q1", periods=2, freq="Q"),
    "intervals": pd.interval_range(0, 2),
    "intervals that are closed at the left": pd.interval_range(0.5, 2.5, closed="left"),
    "intervals of time": pd.interval_range(pd.Timestamp("2024-01-01"), periods=2),
    "text and number": np.array(["a", 2], dtype=object),
    "text and text that looks like a number": np.array(["2", 2], dtype=object),
}


def result(first_stage: xr.Dataset) -> Result:
    series = xr.DataArray([1.0, 2.0], dims="scenario", coords={"scenario": [0, 1]})
    empty = xr.Dataset()
    return Result(
        first_stage, empty, empty, *(series.rename(name) for name in ("recourse_cost", "probability")), series, series,
        1.0, 0.5, 1.0, 0.5, "optimal", pd.DataFrame(), {"gap": 0.1},
    )  # fmt: skip


def round_trip(first_stage: xr.Dataset, folder: Path) -> Result:
    result(first_stage).to_netcdf(folder / "result.nc")
    assert [file.name for file in folder.iterdir()] == ["result.nc"]
    return Result.from_netcdf(folder / "result.nc")


@pytest.mark.parametrize("labels", LABELS.values(), ids=LABELS)
def test_labels_come_back(labels: Any, tmp_path: Path) -> None:
    plan = xr.Dataset({"build": ("site", [1.0, 2.0])}, coords={"site": labels})
    back = round_trip(plan, tmp_path).first_stage
    xr.testing.assert_equal(back, plan)
    assert back.indexes["site"].equals(plan.indexes["site"])
    assert [type(label) for label in back.indexes["site"]] == [type(label) for label in plan.indexes["site"]]


@pytest.mark.parametrize(
    ("labels", "seen"),
    [
        (pd.CategoricalIndex(["a", "b"]), ["a", "b"]),
        (np.array([datetime.date(2024, 1, day) for day in (1, 2)], dtype=object), ["2024-01-01", "2024-01-02"]),
    ],
    ids=["categories", "dates"],
)
def test_other_labels_come_back_as_what_they_print(labels: Any, seen: list[str], tmp_path: Path) -> None:
    plan = xr.Dataset({"build": ("site", [1.0, 2.0])}, coords={"site": labels})
    assert round_trip(plan, tmp_path).first_stage["site"].values.tolist() == seen


def test_names_with_a_slash_come_back(tmp_path: Path) -> None:
    plan = xr.Dataset({"build/MW": ("si/te", [1.0, 2.0])}, coords={"si/te": ["a/b", "c"]})
    back = round_trip(plan, tmp_path)
    xr.testing.assert_identical(back.first_stage, plan)


def test_an_empty_log_comes_back(tmp_path: Path) -> None:
    back = round_trip(xr.Dataset({"build": 1.0}), tmp_path)
    assert back.log.empty
    assert (back.status, back.provenance) == ("optimal", {"gap": 0.1})


@pytest.mark.parametrize("group", ["first_stage", "scenario", "log"])
def test_a_file_without_a_part_is_refused_by_its_name(group: str, tmp_path: Path) -> None:
    whole = tmp_path / "result.nc"
    result(xr.Dataset({"build": 1.0})).to_netcdf(whole)
    with xr.open_datatree(whole, engine="netcdf4") as opened:
        tree = opened.load()
    del tree[group]
    tree.to_netcdf(tmp_path / "other.nc", engine="netcdf4")
    with pytest.raises(InputError, match=r"other\.nc: does not hold what a result of drofcm holds"):
        Result.from_netcdf(tmp_path / "other.nc")
