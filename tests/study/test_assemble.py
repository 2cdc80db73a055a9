"""The data that a study file leads to, against figures worked out by hand from the tables and layers."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from pyproj import Geod

from drofcm.config import StudyFile, changed, load_study
from drofcm.core.errors import InputError
from drofcm.core.randomness import stream
from drofcm.fcm.requirement import imbalance
from drofcm.problems.demand_shock_data import expected_value
from drofcm.study.assemble import Assembly, assemble, fault_lines
from drofcm.study.folder import digest_data

MAIN_STUDY = "930f8bcc6770376b493f4fd12ebc3f4105438c02b73ad14f8a28b47444f4b2c1"
AS_PRINTED = "2a1bb52aab86494aa41bcfb64baa360894ea39690c66627d119888389075e28b"
"""With the requirement as the cap, margin and all."""


@pytest.fixture(scope="module")
def assembly(tmp_path_factory: pytest.TempPathFactory) -> Assembly:
    path = tmp_path_factory.mktemp("assemble") / "study.yaml"
    path.write_text(
        """\
name: hand
seed: 3
data_centres:
  - {bus: "4", rating_mw: 1.6}
  - {bus: "24", rating_mw: 2.0, running_mw: 0.4}
events:
  scenarios: 40
  shares: {surge: 0, training: 0, drop: 0.5, fault: 0.5}
  fault_lines: ["30-31"]
  hub_outage_probability: 0.25
hubs: {maximum: 3, forced_in: [leesburg], forced_out: [ashburn]}
feeder: {monitored_buses: ["18", "33"]}
risk: {expectation: 1, cvar: [{alpha: 0.9, weight: 0.5}]}
""",
        encoding="utf-8",
    )
    return assemble(load_study(path), path.parent)


def test_load_of_the_feeder_and_of_the_data_centres(assembly: Assembly) -> None:
    data = assembly.data
    # Baran and Wu: 0.120 MW at bus 4, 0.420 MW and 0.200 Mvar at bus 24
    assert float(data["base_load"].sel(bus="4")) == pytest.approx(0.120 + 0.5)
    assert float(data["base_load"].sel(bus="24")) == pytest.approx(0.420 + 0.4)
    assert float(data["base_reactive"].sel(bus="24")) == pytest.approx(0.200 + 0.25 * 0.4)
    assert float(data["base_load"].sum()) == pytest.approx(3.715 + 0.9)


def test_critical_load_is_a_share_of_base_load_and_rating(assembly: Assembly) -> None:
    critical = assembly.data["critical_load"]
    assert float(critical.sel(node="24")) == pytest.approx(0.6 * (0.82 + 2.0))
    assert float(critical.sel(node="31")) == pytest.approx(0.6 * 0.150)


def test_the_band_is_a_share_of_the_node_and_no_more_than_a_tenth_of_a_megawatt(assembly: Assembly) -> None:
    # 0.1 x (0.82 + 2.0) MW is beyond the 0.1 MW; 0.1 x 0.150 MW at bus 31 is not
    band = assembly.data["stability_band"]
    assert float(band.sel(node="24")) == 0.1
    assert float(band.sel(node="31")) == pytest.approx(0.015)
    fixed = assembled(band="fixed")
    assert (fixed["stability_band"] == 0.1).all()
    narrow = assembled(band_share=0.01)["stability_band"]
    assert float(narrow.sel(node="24")) == pytest.approx(0.0282)


def test_what_may_be_sent_is_what_a_technology_can_do_alone(assembly: Assembly) -> None:
    data = assembly.data
    assert int(data["shortfall_by_technology"]) == 0
    assert data["requirement"].attrs["margin"] == 1
    assert bool((data["usable"] >= data["requirement"]).all())
    # bus 31 is cut off with 0.15 MW for 8 h: 1.2 MWh, of which a battery of 1 MWh brings 0.75 x 0.92
    event = int(np.flatnonzero(data["energised"].sel(bus="31").values == 0)[0])
    usable = data["usable"].isel(scenario=event).sel(node="31")
    assert usable.to_series().to_dict() == {"battery": 2, "generator": 1, "demand_response": 6, "long_duration": 1}


def test_the_letter_of_the_paper_caps_at_the_share_of_the_need() -> None:
    printed = assembled(cap="share", requirement_margin=1.5)
    assert int(printed["shortfall_by_technology"]) == 1
    assert printed["requirement"].attrs["margin"] == 1.5
    assert bool((printed["usable"] == printed["requirement"]).all())


def test_transport_is_paid_over_the_life_of_the_catalogue_unless_the_study_says_another(assembly: Assembly) -> None:
    assert assembly.data["life"].to_series().to_dict() == {
        "battery": 16,
        "generator": 15,
        "demand_response": 3,
        "long_duration": 20,
    }
    every_year = assemble(StudyFile.model_validate({**plain(), "catalogue": {"life_a": 1.0}}), Path()).data
    assert (every_year["life"] == 1).all()
    assert every_year["life"].attrs["units"] == "a"


def assembled(**nodes: object) -> xr.Dataset:
    """A few events that put out line 30-31, with these keys of the section nodes."""
    events = {"scenarios": 4, "shares": {"surge": 0.5, "training": 0.0, "drop": 0.0, "fault": 0.5}}
    centres = [{"bus": "24", "rating_mw": 2.0, "running_mw": 0.4}]
    study = {**plain(), "data_centres": centres, "events": {**events, "fault_lines": ["30-31"]}, "nodes": nodes}
    return assemble(StudyFile.model_validate(study), Path()).data


def test_nodes_are_data_centres_and_loads_that_are_cut_off(assembly: Assembly) -> None:
    # behind line 30-31 lie buses 31, 32 and 33, all with load
    assert list(assembly.data["node"].values) == ["4", "24", "31", "32", "33"]


def test_fault_cuts_off_what_lies_behind_the_line(assembly: Assembly) -> None:
    data = assembly.data
    fault = data["event_class"] == "fault"
    assert int(fault.sum()) == 20
    off = data["energised"].where(fault, drop=True).min("scenario")
    assert list(data["bus"].values[(off == 0).values]) == ["31", "32", "33"]
    assert bool((data["energised"].where(~fault, 1) == 1).all())


def test_no_shock_where_there_is_no_data_centre(assembly: Assembly) -> None:
    elsewhere = assembly.data[["shock", "shock_low", "shock_high"]].sel(node=["31", "32", "33"])
    assert all(bool((array == 0).all()) for array in elsewhere.data_vars.values())
    assert float(abs(assembly.data["shock"]).max()) > 0.1


def test_voltage_at_the_end_of_the_feeder_by_hand(assembly: Assembly, root: Path) -> None:
    """Squared voltage of bus 22: source less 2 (r P + x Q) on lines 1-2, 2-19, 19-20, 20-21, 21-22."""
    with (root / "datasets/feeders/ieee33/lines.csv").open(encoding="utf-8") as stream:
        line = {row["line"]: row for row in csv.DictReader(stream)}
    laterals = {"2-19": (0.36, 0.16), "19-20": (0.27, 0.12), "20-21": (0.18, 0.08), "21-22": (0.09, 0.04)}
    flows = {"1-2": (3.715 + 0.9, 2.3 + 0.225), **laterals}
    fall = sum(
        2 * (float(line[name]["resistance"]) * p + float(line[name]["reactance"]) * q) / 12.66**2
        for name, (p, q) in flows.items()
    )
    assert float(assembly.data["v_base"].sel(bus="22")) == pytest.approx(np.sqrt(1.045**2 - fall), abs=1e-9)


def test_distances_agree_with_the_ellipsoid(assembly: Assembly) -> None:
    layers = {name: assembly.layers[name].set_index("id").to_crs(4326).geometry for name in ("suppliers", "hubs")}
    start, end = layers["suppliers"]["frederick"], layers["hubs"]["leesburg"]
    metres = Geod(ellps="WGS84").inv(start.x, start.y, end.x, end.y)[2]
    road = float(assembly.data["distance"].sel(supplier="frederick", hub="leesburg"))
    assert road == pytest.approx(1.3 * metres / 1000, rel=2e-3)


def test_travel_time_follows_from_the_distance_of_hub_and_bus(assembly: Assembly) -> None:
    hub = assembly.layers["hubs"].set_index("id").geometry["sterling"]
    bus = assembly.layers["buses"].set_index("id").geometry["24"]
    hours = 1.3 * hub.distance(bus) / 1000 / 40
    assert float(assembly.data["travel_time"].sel(hub="sterling", node="24")) == pytest.approx(hours)


def test_hub_limits_and_monitored_buses(assembly: Assembly) -> None:
    data = assembly.data
    assert (int(data["hub_minimum"]), int(data["hub_maximum"])) == (0, 3)
    assert list(data["hub"].values[data["hub_forced_in"].values == 1]) == ["leesburg"]
    assert list(data["hub"].values[data["hub_forced_out"].values == 1]) == ["ashburn"]
    assert list(data["bus"].values[data["monitored_bus"].values == 1]) == ["18", "33"]
    assert bool((data["monitored_line"] == 1).all())
    assert "budget" not in data


def test_outages_of_hubs_are_drawn_per_scenario(assembly: Assembly) -> None:
    data = assembly.data
    expected = stream(3, "hubs", 17).random(data.sizes["hub"]) >= 0.25
    assert np.array_equal(data["hub_available"].sel(scenario=17).values, expected)
    assert 0.15 < 1 - float(data["hub_available"].mean()) < 0.35


def test_lines_run_between_their_buses(assembly: Assembly) -> None:
    lines = assembly.layers["lines"].set_index("id").geometry
    buses = assembly.layers["buses"].set_index("id").geometry
    assert list(lines["3-23"].coords) == [buses["3"].coords[0], buses["23"].coords[0]]


def test_weights_that_do_not_sum_to_one_are_a_warning(assembly: Assembly) -> None:
    assert any("weights sum to 1.5" in finding.what for finding in assembly.findings)


def test_faults_are_on_laterals_unless_the_study_says_otherwise(assembly: Assembly) -> None:
    chosen = fault_lines(StudyFile.model_validate(plain()), assembly.sources.feeder)
    # 5-6 still carries more than half of 3.715 MW, the branches behind bus 6 do not
    assert {"1-2", "2-3", "3-4", "4-5", "5-6"}.isdisjoint(chosen)
    assert {"2-19", "3-23", "6-7", "6-26"} <= set(chosen)
    assert len(chosen) == 27


def test_unknown_labels_are_found_together_with_a_suggestion(tmp_path: Path) -> None:
    changes = {
        "data_centres": [{"bus": "44", "rating_mw": 1.0}],
        "hubs": {"forced_in": ["leesberg"]},
        "events": {"fault_lines": ["3-24"]},
        "catalogue": {"name": "fcm_2025"},
    }
    with pytest.raises(InputError) as caught:
        assemble(StudyFile.model_validate({**plain(), **changes}), tmp_path)
    text = "\n".join(map(str, caught.value.findings))
    assert len(caught.value.findings) == 4
    assert "data_centres.0.bus: unknown bus '44'" in text
    assert "hubs.forced_in.0: unknown hub 'leesberg' (did you mean 'leesburg'?)" in text
    assert "events.fault_lines.0: unknown line '3-24'" in text
    assert "did you mean 'fcm_2026'?" in text


def test_events_of_a_file_take_the_place_of_generated_ones(tmp_path: Path) -> None:
    over = ("scenario", "node", "time")
    shock = np.array([[[0.5, 1.0]], [[-0.2, 0.0]]])
    events = xr.Dataset(
        {name: (over, shock, {"units": "MW"}) for name in ("shock", "shock_high", "shock_low")}
        | {"probability": ("scenario", [0.25, 0.75], {"units": "1"})},
        coords={"scenario": [0, 1], "node": ["4"], "time": [0, 1]},
    )
    events.to_netcdf(tmp_path / "mine.nc", engine="netcdf4")
    changes = {"events": {"file": "mine.nc"}, "steps_min": [{"count": 2, "length": 45.0}]}
    data = assemble(StudyFile.model_validate({**plain(), **changes}), tmp_path).data
    assert np.array_equal(data["shock"].sel(node="4").values, shock[:, 0])
    assert list(data["probability"].values) == [0.25, 0.75]
    assert bool((data["energised"] == 1).all())


def test_plants_carry_load_of_their_bus_and_lose_it_when_it_is_cut_off(tmp_path: Path) -> None:
    changes = {
        "plants": [{"bus": "30", "kind": "dg", "output_mw": 0.15}, {"bus": "32", "kind": "pv", "output_mw": 0.2}],
        "events": {
            "scenarios": 12,
            "shares": {"surge": 0.0, "training": 0.0, "drop": 0.0, "fault": 0.5, "storm": 0.25, "storm_surge": 0.25},
            "fault_lines": ["30-31"],
            "weather": {"gust_m_s": 38.0, "line_median_m_s": 25.0},
        },
    }
    data = assemble(StudyFile.model_validate({**plain(), **changes}), tmp_path).data
    # Baran and Wu: 0.2 MW at bus 30, 0.21 MW at bus 32
    assert float(data["base_load"].sel(bus="30")) == pytest.approx(0.05)
    assert float(data["base_load"].sel(bus="32")) == pytest.approx(0.01)
    assert float(data["critical_load"].sel(node="30")) == pytest.approx(0.6 * 0.2)
    assert float(data["flow_base"].sel(line="31-32")) == pytest.approx(0.01 + 0.06)
    dark = data.isel(scenario=np.flatnonzero(data["energised"].sel(bus="32") == 0))
    assert dark.sizes["scenario"] >= 6
    for name in ("shock", "shock_high", "shock_low"):
        assert dark[name].sel(node="32").values == pytest.approx(0.2)
    # what must be served there is the whole load, though the feeder carried the net of it
    assert imbalance(dark).sel(node="32").values == pytest.approx(0.21)
    assert list(data["node"].values) == ["4", "30", "31", "32", "33"]


def test_storms_slow_the_roads_of_the_scenario(tmp_path: Path) -> None:
    shares = {"surge": 0.5, "training": 0.0, "drop": 0.0, "fault": 0.0, "storm": 0.5}
    changes = {"events": {"scenarios": 8, "shares": shares, "weather": {}}}
    data = assemble(StudyFile.model_validate({**plain(), **changes}), tmp_path).data
    fair = assemble(StudyFile.model_validate(plain()), tmp_path).data["travel_time"].sel(node="4")
    times = data["travel_time"].sel(node="4")
    assert set(times.dims) == {"scenario", "hub"}
    stormy = (data["event_class"] == "storm").values
    assert times.values[~stormy] == pytest.approx(np.tile(fair.values, (4, 1)))
    assert (times.values[stormy] >= fair.values - 1e-12).all()
    assert (times.values[stormy] > 1.1 * fair.values).mean() > 0.8


def test_contracts_of_data_centres_serve_data_centres_only(tmp_path: Path) -> None:
    contracts = [
        {"technology": "ups", "modules": 2, "data_centres_only": True},
        {"technology": "workload_shifting", "modules": 5},
    ]
    shares = {"surge": 0.5, "training": 0.0, "drop": 0.0, "fault": 0.5}
    changes = {
        "catalogue": {"name": "fcm_2026_flexible", "contracts": contracts},
        "events": {"scenarios": 8, "shares": shares, "fault_lines": ["30-31"]},
    }
    data = assemble(StudyFile.model_validate({**plain(), **changes}), tmp_path).data
    assert (data["stock"].sel(fcm="ups") == 2).all()
    assert (data["stock"].sel(fcm="workload_shifting") == 5).all()
    needed = data["requirement"].sum("scenario")
    assert needed.sel(fcm="ups", node=["31", "32", "33"]).sum() == 0
    assert needed.sel(fcm="ups", node="4") > 0
    assert needed.sel(fcm="workload_shifting", node=["31", "32", "33"]).sum() > 0
    mean = expected_value(data)
    for name in ("requirement", "usable"):
        assert float(mean[name].sel(fcm="ups", node=["31", "32", "33"]).sum()) == 0


def test_a_matrix_takes_the_place_of_shares(tmp_path: Path) -> None:
    (tmp_path / "matrix.csv").write_text("event,location,probability\nsurge,4,0.5\nline_fault,30-31,0.4\n")
    changes = {"events": {"scenarios": 30, "matrix": "matrix.csv"}}
    assembly = assemble(StudyFile.model_validate({**plain(), **changes}), tmp_path)
    data = assembly.data
    assert "study/matrix.csv" in assembly.sources.files
    dark = float((data["energised"].sel(bus="31") == 0).mean())
    assert dark == pytest.approx(0.4 / 0.7, abs=0.2)  # 0.4 given that one of two independent events happens
    (tmp_path / "matrix.csv").write_text("event,location,probability\nsurge,4,1.5\nsurge,4,x\n,4,0.1\nsurge,4\n")
    with pytest.raises(InputError) as caught:
        assemble(StudyFile.model_validate({**plain(), **changes}), tmp_path)
    text = "\n".join(map(str, caught.value.findings))
    for part in ("matrix.csv:2: probability: must be a probability", "matrix.csv:3", "matrix.csv:4: event or location"):
        assert part in text
    assert "matrix.csv:5: number of cells differs" in text


def test_faults_of_plants_weather_and_contracts_are_found_together(tmp_path: Path) -> None:
    changes = {
        "plants": [{"bus": "30", "kind": "dg", "output_mw": 0.3}, {"bus": "99", "kind": "pv", "output_mw": 0.1}],
        "events": {"shares": {"surge": 0.35, "storm": 0.15}, "weather": {"exposed_lines": ["3-24"]}},
        "catalogue": {"contracts": [{"technology": "upps", "modules": 1}]},
    }
    with pytest.raises(InputError) as caught:
        assemble(StudyFile.model_validate({**plain(), **changes}), tmp_path)
    text = "\n".join(map(str, caught.value.findings))
    assert len(caught.value.findings) == 4
    assert "plants.0.output_mw: 0.3 MW at bus '30' exceed its load of 0.2 MW" in text
    assert "plants.1.bus: unknown bus '99'" in text
    assert "events.weather.exposed_lines.0: unknown line '3-24'" in text
    assert "catalogue.contracts.0.technology: unknown technology 'upps'" in text


def test_the_data_of_the_main_study_are_what_they_were(root: Path) -> None:
    """Its proven interval holds for these data and no others: streams and draws must never change."""
    folder = root / "studies" / "01_demand_shock_ieee33"
    study = load_study(folder / "study.yaml")
    data = assemble(study, folder).data
    events = ["shock", "shock_high", "shock_low", "energised", "hub_available"]
    assert digest_data(data[[*events, "requirement", "usable", "probability"]]) == MAIN_STUDY
    printed = assemble(changed(study, nodes={"cap": "share", "band": "fixed"}), folder).data
    assert digest_data(printed[[*events, "requirement", "probability"]]) == AS_PRINTED
    assert "embedded_generation" not in data
    assert "placeable" not in data
    assert "scenario" not in data["travel_time"].dims


def plain() -> dict[str, object]:
    return {"name": "a", "seed": 1, "data_centres": [{"bus": "4", "rating_mw": 1.0}]}
