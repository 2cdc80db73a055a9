"""The page in a browser without network: it draws itself, asks for nothing, and follows the planner's choice."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from drofcm.report import tables
from drofcm.report.inputs import DO_NOTHING, EXPECTED_VALUE_PLAN, ReportInput

FIGURES = 11
WRONG = ("error", "warning")
SCENARIO, NODE = "select[name=dispatch_scenario]", "select[name=dispatch_node]"
DRAWN = """
canvases => canvases.some(canvas => {
  const pixels = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data
  let drawn = 0
  for (let i = 0; i < pixels.length; i += 4)
    if (pixels[i + 3] > 0 && pixels[i] + pixels[i + 1] + pixels[i + 2] < 600) drawn++
  return drawn > 500
})
"""


@dataclass
class Opened:
    page: Any
    url: str
    requests: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

    def view(self) -> dict[str, list[float]]:
        """The data that the panels of the dispatch show."""
        code = """() => {
          const data = Bokeh.documents[0].get_model_by_name("dispatch_view").data
          return Object.fromEntries(Object.entries(data).map(([name, column]) => [name, Array.from(column)]))
        }"""
        return self.page.evaluate(code)


@pytest.fixture(scope="module")
def open_report(browser: Any) -> Iterator[Callable[[Path], Opened]]:
    contexts = []

    def opened(path: Path) -> Opened:
        context = browser.new_context(viewport={"width": 1280, "height": 900})
        contexts.append(context)
        context.set_offline(True)
        one = Opened(context.new_page(), path.as_uri())
        one.page.on("request", lambda request: one.requests.append(request.url))
        one.page.on("pageerror", lambda error: one.complaints.append(str(error)))
        one.page.on("console", lambda line: one.complaints.append(line.text) if line.type in WRONG else None)
        one.page.goto(one.url)
        one.page.wait_for_function("() => window.Bokeh && Bokeh.documents.length == 1 && Bokeh.documents[0].is_idle")
        return one

    yield opened
    for context in contexts:
        context.close()


@pytest.fixture(scope="module")
def report(open_report: Callable[[Path], Opened], report_file: Path) -> Opened:
    return open_report(report_file)


def test_nothing_is_requested_and_nothing_complains(report: Opened) -> None:
    outside = [url for url in report.requests if url != report.url and not url.startswith("data:")]
    assert outside == []
    assert report.complaints == []


def test_every_figure_is_drawn(report: Opened) -> None:
    figures = report.page.locator(".bk-Figure")
    assert figures.count() == FIGURES
    for position in range(FIGURES):
        figure = figures.nth(position)
        figure.scroll_into_view_if_needed()
        assert figure.locator("canvas").evaluate_all(DRAWN), f"figure {position} is blank"


def test_the_page_fits_the_screen_and_figures_stand_apart(report: Opened) -> None:
    assert report.page.evaluate("document.documentElement.scrollWidth") <= 1280
    boxes = [figure.bounding_box() for figure in report.page.locator(".bk-Figure").all()]
    assert max(box["x"] + box["width"] for box in boxes) <= 1280
    for i, one in enumerate(boxes):
        for other in boxes[i + 1 :]:
            apart_x = one["x"] + one["width"] <= other["x"] + 1 or other["x"] + other["width"] <= one["x"] + 1
            apart_y = one["y"] + one["height"] <= other["y"] + 1 or other["y"] + other["height"] <= one["y"] + 1
            assert apart_x or apart_y


def test_headline_shows_the_figures_of_the_input(report: Opened, report_input: ReportInput) -> None:
    expected = tables.headline(report_input)
    head = report.page.locator("#headline th").all_inner_texts()
    assert head[2:] == ["This plan", EXPECTED_VALUE_PLAN.capitalize(), DO_NOTHING.capitalize()]
    scale = {"k$/a": 1e-3, "k$/event": 1e-3, "%": 100}
    for key, (_, unit) in tables.HEADLINE.items():
        if key == "dark":  # no node is
            continue
        cells = report.page.locator(f"#headline tr[data-key={key}] td").all_inner_texts()
        shown = [float(text.replace(",", "").replace("−", "-")) for text in cells[2:]]
        exact = expected.loc[key].to_numpy() * scale.get(unit, 1)
        step = (
            0.05
            if unit == "k$/event"
            else 0.5
            if unit in ("k$/a", "%", "")
            else 0.5 * 10 ** (np.floor(np.log10(exact.max())) - 2)
        )
        np.testing.assert_allclose(shown, exact, atol=step + 1e-9, rtol=0)


def test_choosing_scenario_and_node_changes_the_dispatch(report: Opened, report_input: ReportInput) -> None:
    page, data = report.page, report_input.data
    dearest = int(report_input.plan.recourse_cost.argmax("scenario"))
    np.testing.assert_allclose(report.view()["imbalance"], data["shock"][dearest].sum("node"), atol=1e-6)

    options = page.locator(f"{SCENARIO} option").all_inner_texts()
    page.select_option(SCENARIO, index=next(i for i, text in enumerate(options) if text.startswith("3: drop")))
    assert page.locator(f"{NODE} option").all_inner_texts() == ["all nodes touched", "15"]
    page.select_option(NODE, label="15")
    shown = report.view()
    np.testing.assert_allclose(shown["imbalance"], data["shock"].sel(scenario=3, node="15"), atol=1e-6)
    count = sum(name.startswith("value") for name in shown)
    ends = np.array([shown[f"to{k}"] for k in range(count)])
    np.testing.assert_allclose(ends.max(0) + ends.min(0), shown["imbalance"], atol=1e-6)
    spans = page.evaluate(
        "() => Bokeh.documents[0].get_model_by_name('dispatch_whole').center"
        ".filter(part => part.type == 'Span' && part.dimension == 'height').map(part => [part.visible, part.location])"
    )
    assert spans == [[True, 0.5], [True, pytest.approx(0.35)]]

    page.select_option(SCENARIO, index=0)
    np.testing.assert_allclose(report.view()["imbalance"], data["shock"].sel(scenario=dearest, node="15"), atol=1e-6)
    page.select_option(SCENARIO, index=next(i for i, text in enumerate(options) if text.startswith("1: surge")))
    assert page.locator(NODE).evaluate("select => select.selectedOptions[0].text") == "all nodes touched"
    np.testing.assert_allclose(report.view()["imbalance"], data["shock"][1].sum("node"), atol=1e-6)
    assert report.complaints == []


def test_map_buttons_keep_the_aspect(report: Opened) -> None:
    code = """() => {
      const plot = Bokeh.documents[0].get_model_by_name("map_main")
      const metres = range => range.end - range.start
      return [metres(plot.x_range) / plot.frame_width, metres(plot.y_range) / plot.frame_height]
    }"""
    seen = []
    for name in ("Feeder", "Everything", "Feeder and hubs"):
        report.page.get_by_role("button", name=name, exact=True).click()
        across, up = report.page.evaluate(code)
        assert across == pytest.approx(up)
        seen.append(across)
    assert seen[0] < seen[2] < seen[1]


def test_hostile_names_run_nothing(
    open_report: Callable[[Path], Opened], hostile_file: Path, hostile_name: str, report_input: ReportInput
) -> None:
    report = open_report(hostile_file)
    report.page.get_by_role("button", name="Feeder and hubs", exact=True).click()
    hub = report_input.layers["hubs"].geometry.iloc[0]
    x, y = report.page.evaluate(
        """([x, y]) => {
          const view = Bokeh.index.find_one_by_id(Bokeh.documents[0].get_model_by_name("map_main").id)
          view.el.scrollIntoView({block: "center"})
          const corner = view.canvas.el.getBoundingClientRect()
          return [corner.x + view.frame.x_scale.compute(x), corner.y + view.frame.y_scale.compute(y)]
        }""",
        [hub.x, hub.y],
    )
    report.page.mouse.move(x - 3, y)
    report.page.mouse.move(x, y)
    tooltip = report.page.locator(".bk-Tooltip", has_text="onerror").first
    tooltip.wait_for(timeout=5000)
    assert report.page.evaluate("window.hit") is None
    assert hostile_name in report.page.locator("#decision").inner_text()
    assert report.complaints == []
