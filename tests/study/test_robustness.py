"""The experiment whether robustness pays: what it compares, what it keeps, and what it says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scipy.stats
from tiny import TINY

from drofcm.core.errors import InputError
from drofcm.report.experiments import by_radius, differences, summary
from drofcm.report.robustness import verdict
from drofcm.study.repetition import CHOSEN, NO_BALL, Design
from drofcm.study.robustness import PRESETS, run_robustness, shift
from drofcm.study.run import open_study

SHIFTED = TINY.replace("rating_mw: 1.6", "rating_mw: 1.8").replace("seed: 7", "seed: 8") + "description: other\n"
SMALL = Design(repetitions=2, training=3, fresh=20, folds=2, multiples=(0.0, 1.0), gap=0.05, time_limit=30)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("studies")
    paths = folder / "study.yaml", folder / "shifted.yaml"
    for path, text in zip(paths, (TINY, SHIFTED), strict=True):
        path.write_text(text, encoding="utf-8")
    return paths


def outcomes(cvar: dict[str, list[float]]) -> pd.DataFrame:
    rows = []
    for plan, values in cvar.items():
        for repetition, value in enumerate(values):
            figures = {
                "expected_cost": 1.0,
                "event_mean": 1.0,
                "year_tail": 1.0,
                "ens": 0.0,
                "unserved_energy": 0.0,
                "any_unserved": 0.0,
            }
            rows.append({"repetition": repetition, "plan": plan, "event_tail": value, **figures})
    table = pd.DataFrame(rows).assign(first_stage_cost=0.0, modules=3.0)
    return table.set_index(["repetition", "plan"])


# ---- tables ---------------------------------------------------------------------------------------------------------


def test_differences_are_paired_by_repetition() -> None:
    rng = np.random.default_rng(1)
    base = rng.normal(1e6, 3e5, 10)
    change = rng.normal(-2e4, 1e4, 10)
    table = outcomes({NO_BALL: list(base), CHOSEN: list(base + change)})
    row = differences(table, NO_BALL).loc[("event_tail", CHOSEN)]
    by_scipy = scipy.stats.ttest_rel(base + change, base).confidence_interval(0.95)
    assert (row["lower"], row["upper"]) == pytest.approx((by_scipy.low, by_scipy.high))
    assert row["significant"]
    alone = summary(table).loc[("event_tail", CHOSEN)]
    assert alone["upper"] - alone["lower"] > 5 * (row["upper"] - row["lower"])


@pytest.mark.parametrize(
    ("change", "said"),
    [([-9e4, -8e4, -7e4], "pays"), ([9e4, 8e4, 7e4], "harm"), ([-9e4, 8e4, 1e4], "No significant difference")],
)
def test_the_verdict_follows_the_interval(change: list[float], said: str) -> None:
    table = outcomes({NO_BALL: [1e6] * 3, CHOSEN: [1e6 + own for own in change]})
    assert said in verdict(differences(table, NO_BALL), CHOSEN, NO_BALL)


def test_what_each_radius_brought() -> None:
    table = outcomes({"CVaR": [1.0, 3.0], "robust 2": [5.0, 7.0]})
    rows = [(0, 0.0, 4.0), (0, 2.0, 3.0), (1, 0.0, 4.0), (1, 2.0, 5.0)]
    found = pd.DataFrame(rows, columns=["repetition", "multiple", "score"]).assign(radius=1.0)
    radius = by_radius(
        table, found.set_index(["repetition", "multiple"]), lambda own: "CVaR" if own == 0 else f"robust {own:g}"
    )
    assert radius["taken"].to_dict() == {0.0: 1, 2.0: 1}
    assert radius["event_tail"].to_dict() == {0.0: 2.0, 2.0: 6.0}
    assert radius["score"].to_dict() == {0.0: 4.0, 2.0: 4.0}


# ---- what may be compared -------------------------------------------------------------------------------------------


def test_the_shift_is_said_key_by_key(files: tuple[Path, Path]) -> None:
    planner, truth = (open_study(path).study for path in files)
    assert shift(planner, truth) == ("data_centres.4.rating_mw: 1.6 -> 1.8",)


def test_a_world_in_which_plans_are_no_plans_is_refused(files: tuple[Path, Path], tmp_path: Path) -> None:
    other = tmp_path / "other.yaml"
    other.write_text(TINY + "budget_per_year: 1000\nhubs: {maximum: 2}\n", encoding="utf-8")
    with pytest.raises(InputError) as error:
        run_robustness(files[0], other, tmp_path / "runs", design=SMALL)
    assert {"shifted study: budget_per_year", "shifted study: hubs.maximum"} == {
        finding.where for finding in error.value.findings
    }
    assert not (tmp_path / "runs").exists()


def test_a_design_that_is_none_is_refused() -> None:
    with pytest.raises(InputError) as error:
        Design(repetitions=1, training=3, fresh=5, folds=4, multiples=(1.0, 0.5))
    assert [finding.where for finding in error.value.findings] == ["repetitions", "fresh", "folds", "multiples"]


def test_the_full_design_is_what_the_study_asks_for() -> None:
    full = PRESETS["full"]
    assert full.training == 20
    assert full.fresh >= 500
    assert full.repetitions >= 10


# ---- a small experiment ---------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_an_experiment_that_is_stopped_goes_on(files: tuple[Path, Path], tmp_path: Path) -> None:
    first = run_robustness(*files, tmp_path, design=SMALL, workers=1)
    assert list(first.outcomes.index.get_level_values("plan")[:2]) == ["do nothing", "risk neutral"]
    nothing = first.outcomes.xs("do nothing", level="plan")
    assert (first.outcomes.xs(CHOSEN, level="plan")["expected_cost"] <= nothing["expected_cost"]).all()
    assert (nothing["first_stage_cost"] == 0).all()
    for name in ("outcomes", "validation", "summary", "differences", "radius"):
        assert (first.folder / f"{name}.csv").is_file()
    assert "rating_mw: 1.6 -&gt; 1.8" in (first.folder / "report.html").read_text(encoding="utf-8")

    kept = first.folder.parent / "001_validation.json"
    stamp = kept.stat().st_mtime_ns
    for gone in ("001_outcome.json", "../001_plan_1.nc", "001_fresh_2.json"):
        (first.folder / gone).unlink()
    told: list[str] = []
    again = run_robustness(*files, tmp_path, design=SMALL, workers=1, progress=told.append)
    pd.testing.assert_frame_equal(again.outcomes.drop(columns="gap"), first.outcomes.drop(columns="gap"))
    assert kept.stat().st_mtime_ns == stamp
    assert "1 of 2 repetitions are there" in told[0]
    # more repetitions are more cells of the same experiment
    assert again.folder == first.folder
    assert not list(tmp_path.rglob("*.part"))
