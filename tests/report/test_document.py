"""The page as text: what it says, what it refuses, and that a hostile name stays a name."""

from __future__ import annotations

import base64
import io
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from drofcm.core.errors import InputError
from drofcm.core.files import whole_file
from drofcm.report import evidence, statements, style, tables
from drofcm.report.document import write_report
from drofcm.report.inputs import DO_NOTHING, EXPECTED_VALUE_PLAN, ReportInput
from drofcm.validate.benefit import benefit_of
from drofcm.validate.information import Foresight


@pytest.fixture(scope="module")
def page(report_file: Path) -> str:
    return report_file.read_text(encoding="utf-8")


def test_one_file_of_moderate_size_that_names_no_other(page: str, report_file: Path) -> None:
    assert list(report_file.parent.iterdir()) == [report_file]
    assert 1e6 < len(page.encode()) < 3e6
    assert not re.search(r"<script\b[^>]*\bsrc=", page)
    markup = re.sub(r"<script\b.*?</script>", "", page, flags=re.DOTALL)
    assert re.findall(r"\b(?:src|href)=[\"'](?!data:)[^\"']*", markup) == []
    assert "@import" not in page


def test_decision_names_hubs_and_modules(report_input: ReportInput) -> None:
    assert statements.decision(report_input) == (
        "Open hubs Ashburn and Leesburg; ship 3 batteries, 1 generator and 2 long-duration stores; "
        "arrange 12 demand-response contracts."
    )
    nothing = replace(report_input, plan=report_input.baselines[DO_NOTHING])
    assert statements.decision(nothing) == "Open no hub and ship no module."


def test_outcome_is_money_and_compares_with_doing_nothing(report_input: ReportInput) -> None:
    plan, nothing = report_input.plan, report_input.baselines[DO_NOTHING]
    year, event = statements.outcome(report_input, tables.headline(report_input))
    saved = 1 - plan.mean / nothing.mean
    assert year.startswith(f"It costs {plan.first_stage_cost / 1000:.0f} k$ a year for hubs, modules and transport")
    assert f"({100 * abs(saved):.0f} %) {'less' if saved > 0 else 'more'} than doing nothing" in year
    assert f"{plan.objective / 1000:,.0f}" not in year + event
    of_event = [float(own.probability @ own.recourse_cost) / 60 / 1000 for own in (plan, nothing)]
    assert f"One event costs {of_event[0]:.1f} instead of {of_event[1]:.1f} k$ on average" in event


def test_the_objective_is_called_risk_weighted_and_has_its_formula(page: str, report_input: ReportInput) -> None:
    formula = "hubs, modules and transport + 60 x (0.5 E + 0.5 CVaR(0.8)) of the cost of one event"
    assert report_input.formula == formula
    assert dict(statements.proof(report_input))["Risk-weighted objective"] == formula
    assert formula in page
    assert "Risk-weighted objective (no cash)" in page


def test_what_scenarios_and_foresight_are_worth(report_input: ReportInput) -> None:
    plan, naive = report_input.plan, report_input.baselines[EXPECTED_VALUE_PLAN]
    told = dict(evidence.information(report_input))
    low, high = naive.objective - plan.upper_bound, naive.objective - plan.lower_bound
    assert low > 0
    shown = re.match(r"([\d,.]+) to ([\d,.]+) k\$/a of the risk-weighted", told["Scenarios are worth (VSS)"])
    assert shown
    assert [float(text.replace(",", "")) for text in shown.groups()] == pytest.approx(
        [low / 1000, high / 1000], rel=0.01
    )
    assert f"{style.money(abs(naive.mean - plan.mean))} k$/a" in told["Scenarios are worth (VSS)"]
    assert "Knowing the event would be worth (EVPI)" not in told
    known = replace(report_input, foresight=Foresight(20e3, 150e3, 3.2))
    assert dict(evidence.information(known))["Knowing the event would be worth (EVPI)"] == (
        "20 to 150 k$/a of the risk-weighted objective, found in 3 s"
    )
    without = replace(report_input, foresight=Foresight(left_out="the search was interrupted"))
    text = dict(evidence.information(without))["Knowing the event would be worth (EVPI)"]
    assert text == "left out: the search was interrupted"


def test_how_sure_the_saving_is(report_input: ReportInput) -> None:
    """The events of the fixture are not equally likely: nothing is known of other draws."""
    told = evidence.sure(report_input.benefit, 60)
    assert told.startswith("How sure that is cannot be told: events are not equally likely")
    equal = report_input.data["probability"].copy(data=np.full(6, 1 / 6))
    plans = [replace(own, probability=equal) for own in (report_input.plan, report_input.baselines[DO_NOTHING])]
    found = benefit_of(*plans, 60, 0.8, rng=np.random.default_rng(0))
    told = evidence.sure(found, 60)
    assert told.startswith("How sure that is: by resampling the 6 events it saves ")
    assert "rests on 6 draws only" in told
    assert f"It pays from {style.amount(found.break_even)} events a year on, 60 are assumed" in told
    same = benefit_of(plans[1], plans[1], 60, 0.8, rng=np.random.default_rng(0))
    assert evidence.sure(same, 60) == "There is nothing to be sure of: the plan is to do nothing."


def test_download_holds_the_shipments(page: str, report_input: ReportInput) -> None:
    encoded = re.search(r"data:text/csv;base64,([A-Za-z0-9+/=]+)", page)
    assert encoded
    table = pd.read_csv(io.BytesIO(base64.b64decode(encoded[1])))
    assert table["modules"].sum() == 18
    assert table["distance_km"].tolist() == tables.shipments(report_input)["distance"].tolist()


def test_a_hostile_name_is_shown_as_a_name(hostile_file: Path) -> None:
    text = hostile_file.read_text(encoding="utf-8")
    assert "<img src=x" not in text
    assert "<script>window.hit" not in text
    assert "&lt;script&gt;window.hit" in text


def test_a_failed_certificate_is_said_at_the_top(page: str, hostile_file: Path) -> None:
    text = hostile_file.read_text(encoding="utf-8")
    assert "Certificate FAILED: do not act on this plan" in text
    assert "Certificate passed" not in text
    assert "Certificate passed" in page


def test_everything_wrong_is_said_at_once_and_nothing_is_written(report_input: ReportInput, tmp_path: Path) -> None:
    layers = dict(report_input.layers)
    layers["suppliers"] = layers["suppliers"].to_crs("EPSG:4326")
    layers["hubs"] = layers["hubs"].iloc[1:]
    del layers["lines"]
    wrong = replace(
        report_input,
        layers=layers,
        baselines={DO_NOTHING: report_input.plan},
        quantities=report_input.quantities.drop_vars("stabilisation_time"),
        alpha=1.0,
    )
    with pytest.raises(InputError) as caught:
        write_report(tmp_path / "report.html", wrong)
    message = str(caught.value)
    for part in ("EPSG:4326", "ashburn", "'lines' is missing", "expected-value plan", "stabilisation_time", "alpha"):
        assert part in message
    assert list(tmp_path.iterdir()) == []


def test_scenarios_of_another_study_are_refused(report_input: ReportInput, tmp_path: Path) -> None:
    other = replace(report_input, data=report_input.data.assign_coords(scenario=np.arange(10, 16)))
    with pytest.raises(InputError, match="its scenarios are not those of the data"):
        write_report(tmp_path / "report.html", other)


def test_a_write_that_fails_leaves_nothing_behind(tmp_path: Path) -> None:
    taken = tmp_path / "report.html"
    taken.mkdir()
    with pytest.raises(OSError, match=r"report\.html"), whole_file(taken) as unfinished:
        unfinished.write_text("<!DOCTYPE html>", encoding="utf-8")
    assert list(tmp_path.iterdir()) == [taken]


def test_a_plan_that_was_only_evaluated_has_no_gap(report_input: ReportInput) -> None:
    plan = replace(report_input.plan, lower_bound=-np.inf, gap=np.inf, status="evaluated")
    lines = dict(statements.proof(replace(report_input, plan=plan)))
    assert lines["Lower bound"] == "none yet"
    assert lines["Gap"] == lines["Gap of the benefit"] == "unknown: no bound yet"


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (2.3649, "2.36"), (0.0123456, "0.0123"), (38.0, "38"), (1234.5, "1,230"), (-0.0, "0"), (np.nan, "–")],
)
def test_amount(value: float, text: str) -> None:
    assert style.amount(value) == text


def test_numbers_of_one_column_have_equal_decimals() -> None:
    assert style.aligned([2.36, 0.384, 0.0]) == ["2.36", "0.38", "0.00"]
    assert style.number(-0.04, 1) == "0.0"
    assert style.number(-12.5, 1) == "−12.5"


def test_technologies_never_share_a_colour() -> None:
    labels = ["battery", "flywheel", "generator", "fuel_cell", "demand_response", "long_duration"]
    colours = style.colours_of(labels)
    missed = {style.SUPPLY, style.UNSERVED_CRITICAL, style.UNSERVED_FLEXIBLE, style.UNABSORBED}
    assert len(set(colours.values()) | missed) == len(labels) + len(missed)
    assert colours["battery"] == style.colours_of(["battery"])["battery"]
