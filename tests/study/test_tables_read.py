"""Tables and traces that a study names: what is given twice is told, never taken by its last line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from drofcm.core.errors import InputError
from drofcm.study.given import read_distances
from drofcm.study.scenarios import _read_traces

LIKE = xr.DataArray(np.zeros((1, 2)), {"supplier": ["s"], "hub": ["h", "k"]})


def write(path: Path, *rows: str) -> Path:
    path.write_text("\n".join(["supplier,hub,distance_km", *rows, ""]), encoding="utf-8")
    return path


def test_distances_are_read(tmp_path: Path) -> None:
    table = read_distances(write(tmp_path / "km.csv", "s,k,2.5", "s,h,1"), LIKE)
    assert table.sel(supplier="s").to_series().to_dict() == {"h": 1.0, "k": 2.5}


def test_every_fault_of_a_table_of_distances_is_told(tmp_path: Path) -> None:
    path = write(tmp_path / "km.csv", "s,h,1", "s,h,2", "s,j,-1", "s,k,3,4", "s,k")
    with pytest.raises(InputError) as caught:
        read_distances(path, LIKE)
    told = [str(finding) for finding in caught.value.findings]
    for line, what in (
        (3, "s to h stands already in line 2"),
        (4, "unknown hub 'j'"),
        (4, "must be a number of km"),
        (5, "number of cells differs"),
        (6, "number of cells differs"),
    ):
        assert any(text.startswith(f"km.csv:{line}") and what in text for text in told), (line, told)
    assert any("hub 'k' has no distance to supplier s" in text for text in told)


def test_traces_of_the_same_name_in_two_folders_are_both_shown(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    paths = []
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        paths.append(tmp_path / folder / "power.csv")
        table = pd.DataFrame({"t": np.arange(300), "power_kW": 50 + rng.normal(0, 2, 300)})
        table.to_csv(paths[-1], index=False)
    assert list(_read_traces(paths, {})) == ["power", str(paths[1])]
