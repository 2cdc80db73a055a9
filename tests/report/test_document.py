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
from drofcm.report import statements, style, tables
from drofcm.report.document import write_report
from drofcm.report.inputs import DO_NOTHING, ReportInput


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


def test_outcome_compares_with_both_baselines(report_input: ReportInput) -> None:
    headline = tables.headline(report_input)
    saved = 1 - report_input.plan.objective / report_input.baselines[DO_NOTHING].objective
    text = statements.outcome(headline)
    assert f"{100 * saved:.0f} % less than doing nothing" in text
    assert text.startswith(f"It costs {report_input.plan.objective / 1000:.0f} k$ a year")


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
