"""A small study whose solution is made by hand, so that every figure of the report has an independent answer."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import shapely
import xarray as xr

from drofcm.core.dims import DEMAND_SHOCK_DATA
from drofcm.report.document import write_report
from drofcm.report.inputs import DO_NOTHING, EXPECTED_VALUE_PLAN, ReportInput
from drofcm.solve.result import Result
from drofcm.validate.ledger import Certificate

FEEDER = [*zip(range(1, 12), range(2, 13), strict=True), (3, 13), (13, 14), (14, 15), (6, 16), (16, 17), (17, 18)]
BUSES = [str(bus) for bus in range(1, 19)]
LINES = [f"{start}-{end}" for start, end in FEEDER]
NODES = ["5", "9", "15", "18"]
FCM = ["battery", "generator", "demand_response", "long_duration"]
SUPPLIERS, HUBS = ["frederick", "fredericksburg"], ["ashburn", "leesburg", "sterling"]
CLASSES = ["surge", "surge", "training swing", "drop", "fault", "surge"]
STEP = np.repeat([1, 5, 15, 30, 60], [15, 3, 2, 2, 1]) / 60
ALPHA = 0.8


def _upstream(bus: int) -> set[str]:
    parent = {end: start for start, end in FEEDER}
    lines = set()
    while bus in parent:
        lines.add(f"{parent[bus]}-{bus}")
        bus = parent[bus]
    return lines


def _shock() -> np.ndarray:
    """MW over (scenario, node, time): a ramp up to a plateau that decays, or the reverse."""
    start = np.cumsum(STEP) - STEP
    shape = np.minimum((start + STEP) / 0.1, 1) * np.where(start < 1, 1, 0.4)
    height = np.zeros((6, 4))
    height[0] = [0.9, 0, 1.4, 0]
    height[1, 1] = 0.5
    height[2, [0, 3]] = [0.3, 0.25]
    height[3, 2] = -0.6
    height[5] = [1.5, 1.1, 1.2, 0.8]
    return height[:, :, None] * shape


def make_data() -> xr.Dataset:
    """A Dataset of the contract, with units."""
    shock = _shock()
    energised = np.ones((6, 18))
    energised[4, 17] = 0
    path = [_upstream(bus) for bus in range(1, 19)]
    common = np.array([[len(path[b] & path[int(n) - 1]) for n in NODES] for b in range(18)]) * 0.4 / 12.66**2
    load = np.full(18, 0.12)
    load[0] = 0
    downstream = np.array([[float(line in path[int(n) - 1]) for n in NODES] for line in LINES])
    fed = np.array([[float(line in path[b]) for b in range(18)] for line in LINES])
    all_common = np.array([[len(path[b] & path[n]) for n in range(18)] for b in range(18)]) * 0.4 / 12.66**2
    values: dict[str, Any] = {
        "setup_cost": [30e3, 26e3, 28e3], "storage_limit": [8, 8, 8], "hub_forced_in": [0] * 3,
        "hub_forced_out": [0] * 3,
        "hub_minimum": 0, "hub_maximum": 3, "hub_available": np.array([[1, 1, 1]] * 5 + [[0, 1, 1]]),
        "transport_cost": [6, 8, 1, 8], "module_cost": [45e3, 70e3, 7e3, 55e3], "footprint": [1, 1.5, 0.1, 2],
        "deployment_time": [0.1, 0.2, 0.08, 0.5], "power": [0.5, 0.8, 0.1, 0.25], "energy": [1, 4.8, 0.2, 2],
        "ramp": [1800, 9.6, 6, 3], "eta_charge": [0.93, 1, 1, 0.82], "eta_discharge": [0.93, 1, 1, 0.82],
        "initial_soc": [0.75, 0, 0, 0.75], "dispatch_cost": [10, 320, 500, 10], "stores": [1, 0, 0, 1],
        "absorbs": [1, 0, 0, 1], "travels": [1, 1, 0, 1], "distance": [[60, 48, 70], [104, 112, 98]],
        "stock": [[4, 2, 12, 2], [4, 2, 0, 2]], "travel_time": np.full((3, 4), 0.15), "step_length": STEP,
        "shock": shock, "shock_high": np.maximum(shock, 0), "shock_low": np.minimum(shock, 0),
        "requirement": np.where(np.abs(shock).sum(2) > 0, 15, 0)[:, :, None] * np.ones(4),
        "usable": np.where(np.abs(shock).sum(2) > 0, 15, 0)[:, :, None] * np.ones(4), "life": [16, 8, 3, 20],
        "energised": energised, "event_rate": 60,
        "probability": [0.25, 0.2, 0.2, 0.15, 0.15, 0.05], "stabilise_within": [0.5] * 4,
        "interruption_time": [0.5] * 4,
        "stability_band": [0.1] * 4, "critical_load": [0.8, 0.6, 0.9, 0.7], "base_load": load,
        "base_reactive": 0.3 * load, "tan_phi": np.full(18, 0.25), "shortfall_penalty": np.full((4, 4), 5.0),
        "unserved_penalty": [5e3] * 4, "critical_penalty": [15e3] * 4, "flexible_penalty": [4e3] * 4,
        "surplus_penalty": [800] * 4, "supply_ramp": [2.4] * 4, "supply_headroom": [0.4] * 4, "feeder_headroom": 1.2,
        "v_base": np.sqrt(1.03**2 - 2 * all_common @ load * 1.3), "v_min": np.full(18, 0.95),
        "v_max": np.full(18, 1.05),
        "slack_penalty": 2e6, "path_resistance": common, "path_reactance": common, "flow_base": fed @ load,
        "flow_base_reactive": 0.3 * fed @ load, "rating": np.full(17, 4.0), "downstream": downstream,
        "monitored_bus": [1] * 18, "monitored_line": [1] * 17,
    }  # fmt: skip
    labels = {
        "supplier": SUPPLIERS, "hub": HUBS, "fcm": FCM, "bus": BUSES, "line": LINES, "node": NODES,
        "scenario": np.arange(6), "time": np.arange(len(STEP)),
    }  # fmt: skip
    table = {
        name: (DEMAND_SHOCK_DATA[name].dims, np.asarray(value), {"units": DEMAND_SHOCK_DATA[name].unit})
        for name, value in values.items()
    }
    return xr.Dataset(table, coords=labels)


def make_result(data: xr.Dataset, shipped: dict[tuple[str, str, str], int], status: str = "evaluated") -> Result:
    """Ship and dispatch by a simple rule: supply, then generator, long duration, battery, demand response."""
    ship = xr.zeros_like(data["distance"] * data["power"]).transpose("supplier", "hub", "fcm")
    for (supplier, hub, fcm), count in shipped.items():
        ship.loc[{"supplier": supplier, "hub": hub, "fcm": fcm}] = count
    held = ship.sum("supplier")
    recourse = _recourse(data, held)
    terms = _terms(data, ship, held, recourse)
    cost = float(data["event_rate"]) * sum(
        terms[name] for name in terms if terms[name].dims == ("scenario",) and str(name).startswith("cost")
    )
    order = np.argsort(-cost.values, kind="stable")
    weight = np.zeros(6)
    weight[order] = np.diff(np.minimum(np.cumsum(data["probability"].values[order]), 1 - ALPHA), prepend=0) / (
        1 - ALPHA
    )
    risk_weight = 0.5 * data["probability"] + 0.5 * xr.DataArray(weight, dims="scenario")
    first = float(terms["cost_hub_setup"] + terms["cost_transport"] + terms["cost_modules"])
    objective = first + float((risk_weight * cost).sum())
    log = pd.DataFrame(
        {
            "seconds": [0.5, 4, 20, 41], "phase": ["lp", "integer", "recourse", "recourse"],
            "lower_bound": objective * np.array([0.8, 0.95, 0.98, 0.992]),
            "upper_bound": objective * np.array([1.4, 1.1, 1.02, 1]),
            "gap": [0.43, 0.14, 0.04, 0.008],
        }
    )  # fmt: skip
    return Result(
        first_stage=xr.Dataset({"hub_active": (held.sum("fcm") > 0).astype(float), "shipped": ship}),
        recourse=recourse,
        terms=terms,
        recourse_cost=cost,
        probability=data["probability"],
        worst_case_probability=data["probability"],
        risk_weight=risk_weight,
        objective=objective,
        lower_bound=0.992 * objective,
        upper_bound=objective,
        gap=0.008,
        status=status,  # type: ignore[arg-type]
        log=log,
        provenance={
            "versions": {"drofcm": "0.1.0", "highspy": "1.15"},
            "seed": 7,
            "risk": "0.5 E + 0.5 CVaR(0.8)",
            "ambiguity": "nominal",
        },
    )


def _recourse(data: xr.Dataset, held: xr.DataArray) -> xr.Dataset:
    at_node = data[["energised", "base_load"]].sel(bus=data["node"]).drop_vars("bus")
    right = data["shock"] + (1 - at_node["energised"]) * at_node["base_load"]
    right = right.transpose("scenario", "node", "time").values
    share = np.abs(right).sum(2)
    share = share / np.maximum(share.sum(1, keepdims=True), 1e-9)
    sent = np.round(share[:, :, None, None] * held.values)
    modules = sent.sum(2)
    size = (6, 4, 4, len(STEP))
    out, charge = np.zeros(size), np.zeros(size)
    ramped = np.minimum(0.4, 2.4 * np.cumsum(STEP))
    on = data["energised"].sel(bus=data["node"]).values[:, :, None]
    follow = np.clip(right, -ramped, ramped) * on
    rest = right - follow
    start = np.cumsum(STEP) - STEP
    for k in (1, 3, 0, 2):
        ready = start >= float(data["deployment_time"][k]) + 0.15 * float(data["travels"][k])
        most = modules[:, :, k, None] * float(data["power"][k]) * ready
        out[:, :, k] = np.clip(rest, 0, most)
        charge[:, :, k] = np.clip(-rest, 0, most) * float(data["absorbs"][k])
        rest = rest - out[:, :, k] + charge[:, :, k]
    unserved, surplus = np.maximum(rest, 0), np.maximum(-rest, 0)
    critical = np.minimum(unserved, 0.3)
    late = (start >= 0.5) & ((unserved > 0.1) | (surplus > 0.1))
    touched = np.abs(right).sum(2) > 0
    per_node, fleet = ("scenario", "node", "time"), ("scenario", "node", "fcm", "time")
    stores = data["stores"].values[None, None, :, None] == 1
    kind = {"generation": 1, "demand_response": 2}
    variables = {
        "sent": (("scenario", "node", "hub", "fcm"), sent),
        "stabilised": (("scenario", "node"), np.where(touched, ~late.any(2), np.nan)),
        "missing_share": (("scenario", "node"), np.where(touched, np.maximum(1 - modules.sum(2) / 15, 0), np.nan)),
        "charge": (fleet, np.where(stores, charge, np.nan)),
        "discharge": (fleet, np.where(stores, out, np.nan)),
        "supply_follow": (per_node, follow),
        "unserved_critical": (per_node, critical),
        "unserved_flexible": (per_node, unserved - critical),
        "unabsorbed": (per_node, surplus),
    }
    for name, k in kind.items():
        variables[name] = (fleet, np.where(np.arange(4)[:, None] == k, out, np.nan))
    return xr.Dataset(variables, coords={dim: data[dim] for dim in
                                         ("scenario", "node", "hub", "fcm", "time")})  # fmt: skip


def _terms(data: xr.Dataset, ship: xr.DataArray, held: xr.DataArray, recourse: xr.Dataset) -> xr.Dataset:
    def energy(name: str) -> xr.DataArray:
        return (recourse[name].fillna(0) * data["step_length"]).sum("time")

    out = energy("discharge") + energy("generation") + energy("demand_response")
    ens = (1 - recourse["stabilised"].fillna(1)) * data["critical_load"] * data["interruption_time"]
    missing = data["requirement"] * recourse["missing_share"].fillna(0) * data["shortfall_penalty"]
    unserved = energy("unserved_critical") + energy("unserved_flexible")
    terms = {
        "cost_hub_setup": (data["setup_cost"] * (held.sum("fcm") > 0)).sum(),
        "cost_transport": (ship * data["travels"] * data["transport_cost"] / data["life"] * data["distance"]).sum(),
        "cost_modules": (ship * data["module_cost"]).sum(),
        "cost_shortfall": missing.sum(["node", "fcm"]),
        "cost_interruption": (ens * data["unserved_penalty"]).sum("node"),
        "cost_dispatch": (out * data["dispatch_cost"]).sum(["node", "fcm"]),
        "cost_unserved_critical": (energy("unserved_critical") * data["critical_penalty"]).sum("node"),
        "cost_unserved_flexible": (energy("unserved_flexible") * data["flexible_penalty"]).sum("node"),
        "cost_unabsorbed": (energy("unabsorbed") * data["surplus_penalty"]).sum("node"),
        "cost_voltage_slack": xr.zeros_like(data["probability"]),
        "ens": ens,
        "unserved_energy": unserved,
        "unabsorbed_energy": energy("unabsorbed"),
    }
    return xr.Dataset(terms)


def make_layers(crs: str = "EPSG:32618") -> dict[str, gpd.GeoDataFrame]:
    """Hubs within 17 km, the feeder 8 km across, suppliers 70 and 100 km away."""
    at = {bus: (282_400 + 740 * (bus - 1), 4_325_500 + 250 * np.sin(bus)) for bus in range(1, 13)}
    at |= {13 + k: (284_200 + 350 * k, 4_326_300 + 500 * k) for k in range(3)}
    at |= {16 + k: (286_500 + 450 * k, 4_324_800 - 500 * k) for k in range(3)}

    def points(where: dict[str, tuple[float, float]], names: dict[str, str]) -> gpd.GeoDataFrame:
        table = {"id": list(where), "name": [names.get(label, label.capitalize()) for label in where]}
        return gpd.GeoDataFrame(table, geometry=[shapely.Point(xy) for xy in where.values()], crs=crs)

    lines = [shapely.LineString([at[start], at[end]]) for start, end in FEEDER]
    return {
        "suppliers": points({"frederick": (293_000, 4_366_000), "fredericksburg": (284_500, 4_242_300)}, {}),
        "hubs": points(
            {"ashburn": (288_100, 4_324_200), "leesburg": (278_400, 4_332_700), "sterling": (293_200, 4_320_300)}, {}
        ),
        "buses": points({str(bus): xy for bus, xy in sorted(at.items())}, {str(bus): f"bus {bus}" for bus in at}),
        "lines": gpd.GeoDataFrame({"id": LINES, "name": LINES}, geometry=lines, crs=crs),
    }  # fmt: skip


def make_input() -> ReportInput:
    """The whole input of the report."""
    data = make_data()
    plan = make_result(
        data,
        {
            ("frederick", "leesburg", "battery"): 2, ("frederick", "leesburg", "generator"): 1,
            ("frederick", "ashburn", "demand_response"): 12, ("fredericksburg", "ashburn", "battery"): 1,
            ("fredericksburg", "ashburn", "long_duration"): 2,
        },
        "optimal",
    )  # fmt: skip
    settled = xr.where(plan.recourse["stabilised"] == 1, 0.35, np.inf).where(plan.recourse["stabilised"].notnull())
    checks = pd.DataFrame(
        {
            "check": ["balance", "stock", "objective"], "equation": ["A.3", "(2)", "(1)"],
            "worst_violation": [2e-9, 0.0, 1e-10], "where": ["scenario=0, node=5", "", ""],
            "tolerance": [1e-6] * 3, "passed": [True] * 3,
        }
    )  # fmt: skip
    return ReportInput(
        title="Siting flexible capacity, test feeder",
        description="Which hubs to open and which modules to hold there against load shocks of data centres.",
        data=data.assign_coords(event_class=("scenario", CLASSES)),
        plan=plan,
        baselines={
            DO_NOTHING: make_result(data, {}),
            EXPECTED_VALUE_PLAN: make_result(data, {("frederick", "leesburg", "battery"): 1}),
        },
        layers=make_layers(),
        certificate=Certificate(checks),
        quantities=xr.Dataset(
            {
                "stabilisation_time": settled,
                "ramp_rows_that_can_bind": xr.DataArray(
                    [0, 38, 12, 20], {"fcm": FCM}, ["fcm"], attrs={"units": "rows"}
                ),
                "share_stabilised": plan.recourse["stabilised"].mean("node").assign_attrs(units="1"),
            }
        ),
        assumptions=[
            "The dispatch knows the whole event (perfect foresight).",
            "The feeder's place on the map is synthetic.",
        ],
        provenance={"seed": 7, "inputs": {"feeder": "sha256:0123"}},
        alpha=ALPHA,
    )


@pytest.fixture(scope="session")
def report_input() -> ReportInput:
    """A consistent input; change it with ``dataclasses.replace``."""
    return make_input()


@pytest.fixture(scope="session")
def report_file(report_input: ReportInput, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of that input."""
    path = tmp_path_factory.mktemp("report") / "report.html"
    write_report(path, report_input)
    return path


@pytest.fixture(scope="session")
def hostile_name() -> str:
    """A name that would run a script wherever it is taken for markup, or ask for a library of formulas."""
    return "</script><img src=x onerror='window.hit = 1'><script>window.hit = 1</script>$$x$$\"&"


@pytest.fixture(scope="session")
def hostile_file(report_input: ReportInput, hostile_name: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report with that name for a hub and as title, and with a certificate that failed."""
    hubs = report_input.layers["hubs"]
    names = [hostile_name if label == "ashburn" else old for label, old in zip(hubs["id"], hubs["name"], strict=True)]
    path = tmp_path_factory.mktemp("hostile") / "report.html"
    changed = replace(
        report_input,
        title=hostile_name,
        layers={**report_input.layers, "hubs": hubs.assign(name=names)},
        certificate=Certificate(report_input.certificate.checks.assign(passed=[True, False, True])),
    )
    write_report(path, changed)
    return path


@pytest.fixture(scope="session")
def browser(chromium: str) -> Iterator[Any]:
    """Headless Chromium; tests that use it are skipped where there is none."""
    playwright = pytest.importorskip("playwright.sync_api", reason="no chromium: playwright is not installed")
    with playwright.sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield started
        started.close()
