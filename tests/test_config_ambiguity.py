"""The study key ``ambiguity``: what it may say, its faults at their places, and the set it stands for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

import drofcm as dro
from drofcm.config import StudyFile, load_study, resolved
from drofcm.core.errors import InputError
from drofcm.study.ambiguity import ambiguity_set

HEAD = {"name": "tiny", "seed": 7, "data_centres": [{"bus": "4", "rating_mw": 1.6}]}
TEXT = 'name: tiny\nseed: 7\ndata_centres: [{bus: "4", rating_mw: 1.6}]\n'
DATA = xr.Dataset(
    {
        "shock": (("scenario", "time"), [[1.0, 0.0], [2.0, 1.0], [4.0, 0.5]]),
        "hub_available": ("scenario", [1.0, 1.0, 0.0]),
        "step_length": ("time", [0.5, 1.5]),
        "probability": ("scenario", [0.5, 0.3, 0.2]),
    },
    coords={"scenario": [0, 1, 2], "time": [0, 1]},
)


def study(**ambiguity: Any) -> StudyFile:
    return StudyFile.model_validate({**HEAD, "ambiguity": ambiguity})


@pytest.mark.parametrize(
    ("section", "expected"),
    [
        ({"kind": "nominal"}, dro.Nominal()),
        ({"kind": "total_variation", "radius": 0.1}, dro.TotalVariation(0.1)),
        ({"kind": "probability_box", "upper": 0.6}, dro.ProbabilityBox(0.0, 0.6)),
        ({"kind": "modified_chi_squared", "radius": 0.3}, dro.ModifiedChiSquared(0.3)),
        ({"kind": "kullback_leibler", "radius": 0.2}, dro.KullbackLeibler(0.2)),
        (
            {"kind": "wasserstein", "radius": 0.3, "over": ["shock", "hub_available"], "norm": 2, "by_duration": False},
            dro.Wasserstein(0.3, over=("shock", "hub_available"), norm=2, weight=None),
        ),
        (
            {"kind": "moments", "mean_deviations": 0.2, "variance_high": 1.5},
            dro.Moments(("shock",), mean=0.2, variance=(0.0, 1.5)),
        ),
        (
            {"kind": "intersection", "sets": [{"kind": "total_variation", "radius": 0.1}, {"kind": "probability_box"}]},
            dro.TotalVariation(0.1) & dro.ProbabilityBox(),
        ),
    ],
    ids=lambda value: value.get("kind") if isinstance(value, dict) else "",
)
def test_every_kind_stands_for_its_set(section: dict[str, Any], expected: Any) -> None:
    assert ambiguity_set(study(**section), DATA) == dro.bind(expected, DATA)


def test_steps_count_by_their_length() -> None:
    """A difference of 1 MW over 1.5 h counts three times as much as over 0.5 h."""
    ball: Any = ambiguity_set(study(kind="wasserstein", radius=1), DATA)
    plain: Any = ambiguity_set(study(kind="wasserstein", radius=1, by_duration=False), DATA)
    deviation = np.sqrt(DATA.shock.values.var(axis=0).mean())
    assert float(ball.distance.sel(reference=0, scenario=1)) == pytest.approx((0.5 * 1 + 1.5 * 1) / deviation)
    assert float(ball.distance.sel(reference=0, scenario=2)) == pytest.approx((0.5 * 3 + 1.5 * 0.5) / deviation)
    assert float(plain.distance.sel(reference=0, scenario=2)) == pytest.approx(3.5 / deviation)


def test_a_name_that_the_data_lack_is_told() -> None:
    with pytest.raises(InputError, match=r"ambiguity: over='shok': is no variable .*did you mean 'shock'"):
        ambiguity_set(study(kind="wasserstein", radius=1, over=["shok"]), DATA)


def test_default_is_nominal_and_reads_back(tmp_path: Path) -> None:
    least = StudyFile.model_validate(HEAD)
    assert ambiguity_set(least, DATA) == dro.Nominal()
    full = study(kind="intersection", sets=[{"kind": "moments", "variance_high": 2}, {"kind": "probability_box"}])
    assert StudyFile.model_validate(resolved(full)) == full


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (
            "ambiguity: {kind: wasserstein, radius: -1, radus: 3}",
            [
                "study.yaml:4:32: ambiguity.radius: must be greater than or equal to 0, got -1",
                "study.yaml:4:44: ambiguity.radus: unknown key (did you mean 'radius'?)",
            ],
        ),
        (
            "ambiguity: {kind: wasserstein, radius: .nan}",
            ["study.yaml:4:32: ambiguity.radius: must be a finite number"],
        ),
        ("ambiguity: {kind: total_variation}", ["study.yaml:4:1: ambiguity.radius: missing"]),
        ("ambiguity: {kind: nominal, radius: 1}", ["study.yaml:4:28: ambiguity.radius: unknown key"]),
        (
            "ambiguity: {kind: waserstein}",
            ["study.yaml:4:13: ambiguity.kind: 'waserstein' is no kind of ambiguity set"],
        ),
        (
            "ambiguity: {radius: 1}",
            ["study.yaml:4:1: ambiguity: the key kind is missing (one of nominal, wasserstein,"],
        ),
        (
            "ambiguity: {kind: probability_box, lower: 0.5, upper: 0.1}",
            ["study.yaml:4:36: ambiguity.lower: 0.5 is above"],
        ),
        (
            "ambiguity:\n  kind: intersection\n  sets:\n    - {kind: moments}\n    - {kind: kullback_leibler}",
            [
                "study.yaml:7:7: ambiguity.sets.0: bounds no moment",
                "study.yaml:8:8: ambiguity.sets.1.kind: 'kullback_leibler' is no kind of ambiguity set",
            ],
        ),
        (
            "ambiguity:\n  kind: intersection\n  sets:\n    - {kind: total_variation, radius: 0.1}",
            ["study.yaml:6:3: ambiguity.sets: lists 1, an intersection needs two"],
        ),
    ],
)
def test_faults_stand_at_their_places(tmp_path: Path, lines: str, expected: list[str]) -> None:
    path = tmp_path / "study.yaml"
    path.write_text(TEXT + lines + "\n", encoding="utf-8")
    with pytest.raises(InputError) as caught:
        load_study(path)
    found = [str(finding) for finding in caught.value.findings]
    assert len(found) == len(expected)
    for one, beginning in zip(found, expected, strict=True):
        assert one.startswith(beginning)
