"""A result comes back from its file as it was, whatever its labels and names are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import drofcm as dro

LABELS: dict[str, Any] = {
    "text": ["a", "b"],
    "numbers": [3, 1],
    "fractions": [0.5, 0.25],
    "flags": [True, False],
    "text and numbers": np.array(["a", 2], dtype=object),
    "number as text": np.array(["1", 1], dtype=object),
    "umlauts": ["Köln/Süd", "東京"],
    "times": pd.date_range("2024-03-31", periods=2, freq="h"),
    "times with a zone": pd.date_range("2024-03-31", periods=2, tz="Europe/Berlin", freq="h"),
    "times with an offset": pd.date_range("2024-03-31", periods=2, tz="+02:30", freq="h"),
    "durations": pd.to_timedelta([1, 90], unit="min"),
    "months": pd.period_range("2024-01", periods=2, freq="M"),
    "quarters": pd.period_range("2024-01", periods=2, freq="Q"),
    "intervals": pd.interval_range(0, 2),
    "intervals of time": pd.interval_range(pd.Timestamp("2024-01-01", tz="UTC"), periods=2, freq="D"),
    "categories": pd.CategoricalIndex(["x", "y"]),
}
NAMES = ["x", "build/MW", "50 %", "x ", "$x", "Größe", "a%2Fb", "1"]


def program(labels: Any, name: str = "x", scenarios: Any = (0, 1)) -> dro.TwoStageProgram:
    data = xr.Dataset(
        {"cost": ("site", [2.0, 3.0]), "demand": ("scenario", [5.0, 9.0])},
        coords={"site": labels, "scenario": list(scenarios) if isinstance(scenarios, tuple) else scenarios},
    )

    def first(m: dro.Stage, data: xr.Dataset) -> Any:
        m.subject_to(f"room {name}", m.nonnegative(name, over="site", upper=8) <= 8)
        m.record(f"spent {name}", data.cost * m[name])
        return (data.cost * m[name]).sum()

    def recourse(m: dro.Stage, data: xr.Dataset) -> Any:
        m.subject_to("met", m[name].sum() + m.nonnegative("bought") >= data.demand)
        return 10 * m["bought"]

    return dro.TwoStageProgram(data, first, recourse)


def same(result: dro.Result, path: Path) -> None:
    result.to_netcdf(path)
    back = dro.Result.from_netcdf(path)
    for group in ("first_stage", "recourse", "terms", "prices"):
        one, other = getattr(result, group), getattr(back, group)
        assert list(one) == list(other)
        xr.testing.assert_equal(one, other)
        for dim, index in one.indexes.items():
            assert index.equals(other.indexes[dim]), (index, other.indexes[dim])
            assert [type(label) for label in index] == [type(label) for label in other.indexes[dim]]
    xr.testing.assert_equal(result.recourse_cost, back.recourse_cost)


@pytest.mark.parametrize("kind", LABELS)
def test_labels_of_any_kind_come_back(kind: str, tmp_path: Path) -> None:
    own = program(LABELS[kind])
    result = own.solve(method="extensive")
    # 8 at cost 2, then one more at 3 against 10 / 2
    assert result.objective == pytest.approx(19)
    assert result.first_stage.indexes["site"].equals(own.data.indexes["site"])
    assert result.first_stage.x.values.tolist() == [8, 1]
    same(result, tmp_path / "r.nc")
    assert own.evaluate(dro.Result.from_netcdf(tmp_path / "r.nc").first_stage).objective == pytest.approx(19)


@pytest.mark.parametrize("kind", ["times with a zone", "months", "text and numbers"])
def test_labels_of_scenarios_come_back_from_chunks_too(kind: str, tmp_path: Path) -> None:
    own = program(["a", "b"], scenarios=LABELS[kind])
    blocks = own.blocks(chunk=1)
    assert blocks.variables["bought"].indexes["scenario"].equals(own.data.indexes["scenario"])
    same(dro.solve(blocks, method="extensive"), tmp_path / "r.nc")


@pytest.mark.parametrize("name", NAMES)
def test_names_of_any_kind_come_back(name: str, tmp_path: Path) -> None:
    result = program(["a", "b"], name).solve(method="lshaped", workers=1, gap=1e-7)
    same(result, tmp_path / "r.nc")
    plan = dro.Result.from_netcdf(tmp_path / "r.nc").first_stage[name]
    assert plan.values.tolist() == pytest.approx([8, 1], abs=1e-4)


def test_a_missing_folder_is_named_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        program(["a", "b"]).solve(method="extensive").to_netcdf(tmp_path / "none" / "r.nc")
