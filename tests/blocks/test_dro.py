"""The reader of `.dro` files, and the published answers of DSP's distributionally robust problems."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from smps_files import write
from typer.testing import CliRunner

import drofcm as dro
from drofcm.cli import app
from drofcm.core.errors import InputError

# instance -> reading of the stochastic file -> optimum
OPTIMA = {
    ("drslp_5_5_5_5", "core"): 5.602475,
    ("drslp_5_5_5_5", "standard"): 15.003394,
    ("sslp_5_25_15_BB", "core"): -98.070226,
    ("sslp_5_25_15_BB", "standard"): -76.919624,
}


@pytest.mark.benchmarks
@pytest.mark.parametrize("method", ["extensive", "lshaped"])
@pytest.mark.parametrize(("name", "reading"), sorted(OPTIMA))
def test_published_optima(benchmarks: Path, name: str, reading: Any, method: Any) -> None:
    folder = benchmarks / "dsp_dro"
    blocks, ball = dro.read_dro(folder / f"{name}.dro", dro.read_smps(folder / name, reading=reading))
    result = dro.solve(blocks, ambiguity=ball, method=method, gap=1e-7, workers=1)
    assert result.objective == pytest.approx(OPTIMA[name, reading], abs=2e-6)
    assert result.lower_bound == pytest.approx(OPTIMA[name, reading], abs=2e-5)
    assert int((blocks.probability > 0).sum()) == 5


@pytest.mark.benchmarks
def test_from_the_command_line(benchmarks: Path) -> None:
    stem = benchmarks / "dsp_dro" / "drslp_5_5_5_5"
    arguments = [
        "smps",
        str(stem),
        "--dro",
        f"{stem}.dro",
        "--reading",
        "core",
        "--method",
        "extensive",
        "--gap",
        "1e-7",
    ]
    told = CliRunner().invoke(app, arguments)
    assert told.exit_code == 0, told.output
    assert "5.602" in told.output


# ---- the reader -----------------------------------------------------------------------------------------------------

BALL = """0.5
2
0.25, 0.75

0.0,1.5
1.5 0.0
2.0,3.0
0.5,2.5
"""


def test_a_small_file(tmp_path: Path) -> None:
    blocks = dro.read_smps(write(tmp_path))
    assert len(blocks.scenarios) == 4
    path = tmp_path / "toy.dro"
    path.write_text(BALL, encoding="ascii")
    read, ball = dro.read_dro(path, blocks)
    np.testing.assert_array_equal(read.probability, [0.25, 0.75, 0, 0])
    assert read.scenarios is blocks.scenarios
    assert (ball.radius, ball.order) == (0.5, 1)
    assert ball.distance is not None
    np.testing.assert_array_equal(ball.distance.sel(reference=1), [1.5, 0.0, 3.0, 2.5])
    np.testing.assert_array_equal(ball.distance.sel(scenario=2), [2.0, 3.0])


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("0.5\n2", "0.5 1\n2", r"toy.dro:1: the radius is one number, got 2"),
        ("0.5\n2", "-0.5\n2", r"radius must be finite and at least 0, got -0.5"),
        ("0.5\n2", "0.5\n9", r"toy.dro:2: the number of references is a whole number from 1 to 4, got 9"),
        ("0.5\n2", "0.5\n1.5", r"toy.dro:2: the number of references .* got 1.5"),
        ("0.25, 0.75", "0.25", r"toy.dro:3: holds 1 probabilities, references are 2"),
        ("0.25, 0.75", "0.25, 0.5", r"toy.dro:3: probabilities must .* sum 0.75"),
        ("0.0,1.5", "0.0,far", r"toy.dro:5: 'far' is no number"),
        ("0.0,1.5", "0.0,nan", r"toy.dro:5: 'nan' is no number"),
        ("0.0,1.5", "0.0", r"toy.dro:5: holds 1 distances, references are 2"),
        ("0.0,1.5", "0.3,1.5", r"distance from a scenario to itself must be 0, got 0.3 at 0"),
        ("2.0,3.0", "2.0,-3.0", r"distance must be at least 0, got -3.0 from 1 to 2"),
        ("2.0,3.0\n", "", r"has 6 lines of numbers, needed are 3 and one for each of the 4 scenarios"),
    ],
)
def test_faults_are_told_with_their_line(tmp_path: Path, old: str, new: str, message: str) -> None:
    blocks = dro.read_smps(write(tmp_path))
    path = tmp_path / "toy.dro"
    path.write_text(BALL.replace(old, new, 1), encoding="ascii")
    with pytest.raises(InputError, match=message):
        dro.read_dro(path, blocks)


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none.dro: cannot be read"):
        dro.read_dro(tmp_path / "none.dro", dro.read_smps(write(tmp_path)))
