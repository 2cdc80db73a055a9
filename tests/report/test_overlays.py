"""Layers under the map: drawn, switched and told by hovering, in a browser without network."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import geopandas as gpd
import pandas as pd
import pytest
from shapely.geometry import LineString, box

from drofcm.report import tables
from drofcm.report.document import write_report
from drofcm.report.inputs import ReportInput

VISIBLE = "name => Bokeh.documents[0].get_model_by_name(name).visible"
DRAWN = ("roads", "hazards", "isochrones", "service_areas")


@pytest.fixture(scope="module")
def with_layers(report_input: ReportInput) -> ReportInput:
    """The report's input with a road, a flood and areas around the hubs, in the CRS of its layers."""
    hubs, buses = report_input.layers["hubs"], report_input.layers["buses"]
    west, south, east, north = buses.total_bounds
    ids = hubs["id"].astype(str).to_list()
    across = box(west, (south + north) / 2 - 300, east, (south + north) / 2 + 300)
    around = [point.buffer(radius) for radius in (3000, 1500) for point in hubs.geometry]
    layers: dict[str, Any] = {
        "roads": ({"id": ["r1"], "speed_km_h": [50.0], "oneway": [1]}, [LineString([(west, south), (east, north)])]),
        "hazards": ({"id": ["river"], "name": ["The <b>river</b>"], "active_share": [0.25]}, [across]),
        "isochrones": ({"hub": ids * 2, "hub_name": ids * 2, "minutes": [10] * len(ids) + [5] * len(ids)}, around),
        "service_areas": (
            {"hub": ["x"], "hub_name": ["x"], "buses": [4], "base_load_mw": [1.0], "mean_h": [0.1], "worst_h": [0.2]},
            [box(west, south, east, north).difference(across)],
        ),
    }
    drawn = {name: gpd.GeoDataFrame(table, geometry=shapes, crs=hubs.crs) for name, (table, shapes) in layers.items()}
    return replace(report_input, layers={**report_input.layers, **drawn})


@pytest.fixture(scope="module")
def page(browser: Any, with_layers: ReportInput, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    path = tmp_path_factory.mktemp("overlays") / "report.html"
    write_report(path, with_layers)
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    context.set_offline(True)
    page = context.new_page()
    page.complaints = []
    page.on("pageerror", lambda error: page.complaints.append(str(error)))
    page.on("console", lambda line: page.complaints.append(line.text) if line.type in ("error", "warning") else None)
    page.goto(path.as_uri())
    page.wait_for_function("() => window.Bokeh && Bokeh.documents.length == 1 && Bokeh.documents[0].is_idle")
    yield page
    context.close()


def visible(page: Any) -> dict[str, bool]:
    return {name: page.evaluate(VISIBLE, f"overlay_{name}") for name in DRAWN}


def test_switches_show_and_hide_layers(page: Any) -> None:
    before = visible(page)
    assert before == {"roads": True, "hazards": True, "isochrones": False, "service_areas": False}
    for text in ("Travel time", "Hazard zones", "Service areas"):
        page.get_by_role("button", name=text, exact=True).click()
    assert visible(page) == {"roads": True, "hazards": False, "isochrones": True, "service_areas": True}
    for text in ("Hazard zones", "Travel time", "Service areas"):
        page.get_by_role("button", name=text, exact=True).click()
    assert visible(page) == before
    assert page.complaints == []


def test_pointing_at_a_zone_tells_its_name_and_how_often_it_is_active(page: Any, with_layers: ReportInput) -> None:
    # where no line, bus or hub lies: a little inside the western end of the zone
    west, south, _, north = with_layers.layers["hazards"].total_bounds
    x, y = page.evaluate(
        """([x, y]) => {
          const view = Bokeh.index.find_one_by_id(Bokeh.documents[0].get_model_by_name("map_main").id)
          view.el.scrollIntoView({block: "center"})
          const corner = view.canvas.el.getBoundingClientRect()
          return [corner.x + view.frame.x_scale.compute(x), corner.y + view.frame.y_scale.compute(y)]
        }""",
        [west + 40, south + 0.8 * (north - south)],
    )
    page.mouse.move(x - 3, y)
    page.mouse.move(x, y)
    tooltip = page.locator(".bk-Tooltip", has_text="hazard zone").first
    tooltip.wait_for(timeout=5000)
    told = tooltip.evaluate("one => one.shadowRoot.textContent")
    assert "The <b>river</b>" in told  # text, not markup
    assert "25" in told
    assert "of events" in told


def test_hubs_serve_in_the_events_in_which_they_send(report_input: ReportInput) -> None:
    table = tables.hub_service(report_input)
    plan = report_input.plan
    sent = plan.recourse["sent"].fillna(0).sum(["node", "fcm"]).transpose("scenario", "hub").to_pandas()
    probability = plan.probability.to_series()
    for hub in table.index:
        assert table.loc[hub, "serves"] == pytest.approx(probability[sent[hub] > 0.5].sum())
    # the tail by hand: dearest events until 1 - alpha of probability is full
    order = plan.recourse_cost.to_series().sort_values(ascending=False).index
    left, weight = 1 - report_input.alpha, {}
    for scenario in order:
        weight[scenario] = min(left, probability[scenario])
        left -= weight[scenario]
    tail = pd.Series(weight) / (1 - report_input.alpha)
    for hub in table.index:
        assert table.loc[hub, "serves_tail"] == pytest.approx(tail[sent.index[sent[hub] > 0.5]].sum())
