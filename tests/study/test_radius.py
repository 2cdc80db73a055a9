"""Choosing the radius of a study: tables, page, and what they must agree on."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from tiny import TINY

from drofcm.core.errors import InputError
from drofcm.study.radius import RadiusRun, choose_radius


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> RadiusRun:
    folder = tmp_path_factory.mktemp("radius")
    study = folder / "study.yaml"
    study.write_text(TINY, encoding="utf-8")
    return choose_radius(
        study, folder / "runs", multiples=(0, 2), tail_weights=(0,), folds=2, gap=1e-4, time_limit=60, workers=1
    )


def test_tables_agree(found: RadiusRun) -> None:
    own = found.radius
    assert own["best"].sum() == 1
    assert own.loc[own["best"], "score"].item() == own["score"].min()
    assert own["radius"][own["best"]].item() == found.best
    # worse distributions to choose from never make the objective better; judged nominally, no plan beats the nominal
    assert own["risk_weighted_objective"].iloc[1] >= own["risk_weighted_objective"].iloc[0] * (1 - 1e-4)
    assert own["price"].iloc[0] == 0
    assert own["price"].iloc[1] >= -1e-4
    assert own["share"].iloc[1] == pytest.approx(2 / 3**0.5)
    families = found.frontier.index.get_level_values("risk").unique()
    assert list(families) == ["as in the study", "E"]
    neutral = found.frontier.loc["E"].iloc[0]
    assert neutral["expected_cost"] <= found.frontier["expected_cost"].min() * (1 + 1e-4)
    shipped = found.moves["modules"].groupby(level="multiple").sum()
    assert shipped.reindex(own.index, fill_value=0).tolist() == own["modules"].tolist()


def test_files_are_whole(found: RadiusRun) -> None:
    names = {path.name for path in found.folder.iterdir()}
    assert names == {f"{name}.{kind}" for name in ("radius", "frontier", "moves") for kind in ("csv", "parquet")} | {
        "radius.html"
    }
    table = pd.read_csv(found.folder / "radius.csv", index_col="multiple")
    assert table["score"].tolist() == pytest.approx(found.radius["score"].tolist())
    page = (found.folder / "radius.html").read_text(encoding="utf-8")
    assert found.finding.replace("'", "&#39;") in page
    assert "http://" not in page.split("</style>", 1)[1].split("<script", 1)[0]


def test_radii_that_are_none_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError) as error:
        choose_radius(tmp_path / "study.yaml", tmp_path, multiples=(1, 2), tail_weights=(0.5, 2))
    assert [finding.where for finding in error.value.findings] == ["radius", "tail weight"]
