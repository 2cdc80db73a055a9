"""The part of the report about the ambiguity set."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from drofcm.report import tables
from drofcm.report.document import write_report
from drofcm.report.inputs import ReportInput
from drofcm.report.nature import nature, probabilities


@pytest.fixture(scope="module")
def robust(report_input: ReportInput) -> ReportInput:
    """The plan as if nature had moved a tenth of the probability to the dearest scenario."""
    plan = report_input.plan
    dearest = plan.recourse_cost.argmax("scenario")
    chosen = 0.9 * plan.probability.values
    chosen[int(dearest)] += 0.1
    provenance = {
        **plan.provenance,
        "ambiguity": "Wasserstein(0.5 over shock, norm 1, order 1)",
        "ambiguity_size": {"radius": 0.5, "mean_distance": 4.0, "radius_share": 0.125},
    }
    changed = replace(
        plan,
        worst_case_probability=plan.probability.copy(data=chosen).rename("worst_case_probability"),
        provenance=provenance,
    )
    return replace(report_input, plan=changed)


def test_probabilities_before_and_after(robust: ReportInput) -> None:
    table = probabilities(robust, tables.scenarios(robust))
    assert table["cost"].is_monotonic_increasing
    np.testing.assert_allclose(table[["probability", "worst", "weight"]].sum(), 1)
    moved = table["worst"] - table["probability"]
    assert moved.idxmax() == table.index[-1]
    assert (moved.iloc[:-1] < 0).all()


def test_the_page_says_what_nature_does(robust: ReportInput, tmp_path: Path) -> None:
    part = nature(robust, tables.scenarios(robust))
    assert part is not None
    moved = float((robust.plan.worst_case_probability - robust.plan.probability).clip(min=0).sum())
    assert f"Nature moves {100 * moved:.0f} % of the probability" in part.heading
    assert "Two events drawn at random are 4 apart on average; the radius is 12.5 % of that" in part.note
    assert part.classes.rows[-1][:3] == ["All", "100.0 %", "100.0 %"]
    write_report(tmp_path / "report.html", robust)
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert part.heading in page
    assert "Wasserstein(0.5 over shock, norm 1, order 1)" in page


def test_a_nominal_plan_has_no_such_part(report_input: ReportInput, report_file: Path) -> None:
    assert nature(report_input, tables.scenarios(report_input)) is None
    assert 'id="nature-heading"' not in report_file.read_text(encoding="utf-8")
