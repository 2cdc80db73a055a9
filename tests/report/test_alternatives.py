"""The plan beside the nominal one, and the frontier, as the page tells them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from drofcm.report import style
from drofcm.report.alternatives import frontier_part, moves_part
from drofcm.report.document import write_report
from drofcm.report.inputs import EXPECTED_VALUE_PLAN, NOMINAL_PLAN, ReportInput


def beside(inputs: ReportInput, nominal: str) -> ReportInput:
    """The input with one of its plans as the nominal one."""
    plan = inputs.plan if nominal == "this plan" else inputs.baselines[nominal]
    return replace(inputs, baselines={**inputs.baselines, NOMINAL_PLAN: plan})


def test_what_robustness_moves(report_input: ReportInput, tmp_path: Path) -> None:
    """One battery at Leesburg against the plan of the fixture."""
    inputs = beside(report_input, EXPECTED_VALUE_PLAN)
    part = moves_part(inputs)
    assert part is not None
    assert part.heading == (
        "Robustness opens Ashburn and changes modules by +2 battery, +1 generator, +12 demand response and "
        "+2 long-duration"
    )
    assert ["Leesburg", "battery", "1", "2", "+1"] in part.moves.rows
    nominal, plan = inputs.baselines[NOMINAL_PLAN], inputs.plan
    assert f"this plan costs {style.money(abs(plan.mean - nominal.mean))} k$/a" in part.note
    write_report(tmp_path / "report.html", inputs)
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert part.heading in page
    assert "Nominal plan" in page


def test_a_robust_plan_that_is_the_nominal_one(report_input: ReportInput) -> None:
    part = moves_part(beside(report_input, "this plan"))
    assert part is not None
    assert part.heading.startswith("Robustness moves nothing")
    assert all(row[-1] == "–" for row in part.moves.rows)


def test_nothing_to_compare_with(report_input: ReportInput) -> None:
    assert moves_part(report_input) is None
    assert frontier_part(report_input) is None


def test_frontier_names_its_ends(report_input: ReportInput, tmp_path: Path) -> None:
    index = pd.MultiIndex.from_tuples([("E", 0.0), ("E", 1.0), ("CVaR(0.9)", 0.0)], names=["risk", "multiple"])
    figures = {"gap": [0.0, 0.012, 0.0], "first_stage_cost": 7e3, "ens": 0.1, "hubs": 1, "modules": 2}
    figures |= {"event_mean": 3e3, "year_tail": 300e3, "risk_weighted_objective": 500e3}
    money = {"expected_cost": [100e3, 120e3, 250e3], "event_tail": [900e3, 700e3, 400e3]}
    inputs = replace(report_input, frontier=pd.DataFrame({**figures, **money}, index=index))
    part = frontier_part(inputs)
    assert part is not None
    assert part.heading.endswith("of one event falls by 500 k$ and the expected cost of a year rises by 150 k$")
    assert "Largest gap of these searches: 1.2 %" in part.note
    assert [row[:6] for row in part.plans.rows] == [
        ["E", "0.00", "100.0", "7.0", "3.0", "900.0"],
        ["E", "1.00", "120.0", "7.0", "3.0", "700.0"],
        ["CVaR(0.9)", "0.00", "250.0", "7.0", "3.0", "400.0"],
    ]
    write_report(tmp_path / "report.html", inputs)
    assert part.heading in (tmp_path / "report.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["moves-heading", "frontier-heading"])
def test_a_page_without_them_shows_neither(report_file: Path, name: str) -> None:
    assert f'id="{name}"' not in report_file.read_text(encoding="utf-8")
