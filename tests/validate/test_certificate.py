"""The certificate passes what is right and catches every single thing that is wrong."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from cases.enumeration import Enumeration
from cases.labelled import Solution, labelled
from cases.loader import load_case
from cases.model import certificate

from drofcm.core.errors import SolveError
from drofcm.validate.certificate import Certificate, report_quantities

RISK = {"expectation": 0.5, "cvar": [(0.8, 0.5)]}
FIRST_STAGE = ("hub_active", "shipped")
RECOURSE = (
    "sent",
    "stabilised",
    "missing_share",
    "arrived",
    "charge",
    "discharge",
    "soc",
    "generation",
    "demand_response",
    "supply_follow",
    "unserved_critical",
    "unserved_flexible",
    "unabsorbed",
    "voltage_slack",
)
TERMS = (
    "cost_hub_setup",
    "cost_transport",
    "cost_modules",
    "cost_shortfall",
    "cost_interruption",
    "cost_dispatch",
    "cost_unserved_critical",
    "cost_unserved_flexible",
    "cost_unabsorbed",
    "cost_voltage_slack",
    "ens",
    "unserved_energy",
    "unabsorbed_energy",
)


@pytest.fixture(scope="module")
def rich() -> Solution:
    """The enumerated optimum of a case in which stores, a generator and contracts all run, and some are missing."""
    usable = [[[2, 1, 1], [0, 0, 0]], [[0, 0, 0], [4, 0, 0]], [[2, 1, 1], [1, 0, 1]], [[1, 2, 1], [0, 0, 0]]]
    case = load_case("enumerated", module_cost=100, supply_headroom=0.25, usable=usable)
    enumeration = Enumeration(case.data)
    return labelled(enumeration.figures, enumeration.optimum(RISK))


def check(solution: Solution, *, weights: xr.DataArray | None = None, risk: dict[str, Any] = RISK) -> Certificate:
    return certificate(solution, risk, weights)


def two_waves_by_hand() -> Solution:
    """The case ``two_waves``, every number as its README has it."""
    data = load_case("two_waves").data
    first = xr.Dataset(
        {
            "hub_active": ("hub", [1.0, 1.0]),
            "shipped": (("supplier", "hub", "fcm"), [[[1.0], [0.0]], [[0.0], [1.0]]]),
        },
        coords={name: data[name] for name in ("supplier", "hub", "fcm")},
    )
    fleet, node_time = ("scenario", "node", "fcm", "time"), ("scenario", "node", "time")
    nan = [np.nan] * 3
    zero = [0.0] * 3
    recourse = xr.Dataset(
        {
            "sent": (("scenario", "node", "hub", "fcm"), [[[[1.0], [1.0]], [[np.nan], [np.nan]]]]),
            "stabilised": (("scenario", "node"), [[1.0, np.nan]]),
            "missing_share": (("scenario", "node"), [[0.0, np.nan]]),
            "arrived": (fleet, [[[[0.0, 1.0, 2.0]], [nan]]]),
            "generation": (fleet, [[[[0.0, 0.5, 1.0]], [nan]]]),
            "supply_follow": (node_time, [[zero, nan]]),
            "unserved_critical": (node_time, [[zero, nan]]),
            "unserved_flexible": (node_time, [[[1.0, 0.5, 0.0], nan]]),
            "unabsorbed": (node_time, [[zero, nan]]),
        },
        coords={name: data[name] for name in ("scenario", "node", "hub", "fcm", "time")},
    )
    per_event = {name: 0.0 for name in TERMS if name.startswith("cost_")}
    per_event |= {"cost_unserved_flexible": 1500.0, "cost_dispatch": 62.5}
    terms = xr.Dataset(
        {
            "cost_hub_setup": 200.0,
            "cost_transport": 18.0,
            "cost_modules": 400.0,
            **{name: ("scenario", [value]) for name, value in per_event.items() if name not in TERMS[:3]},
            "ens": (("scenario", "node"), [[0.0, 0.0]]),
            "unserved_energy": (("scenario", "node"), [[0.375, 0.0]]),
            "unabsorbed_energy": (("scenario", "node"), [[0.0, 0.0]]),
        },
        coords={"scenario": data.scenario, "node": data.node},
    )
    cost = xr.DataArray([1562.5], dims="scenario", coords={"scenario": data.scenario})
    return Solution(data, first, recourse, terms, cost, 2180.5)


def test_solution_written_by_hand_passes() -> None:
    weights = xr.DataArray([1.0], dims="scenario", coords={"scenario": [0]})
    judged = check(two_waves_by_hand(), risk={"expectation": 1.0}, weights=weights)
    judged.raise_if_failed()
    assert judged.passed
    assert list(judged.checks) == ["check", "equation", "worst_violation", "where", "tolerance", "passed"]
    assert str(judged).startswith("certificate: all")


def test_enumerated_solution_passes(rich: Solution) -> None:
    for name in ("charge", "discharge", "generation", "demand_response", "unabsorbed", "voltage_slack"):
        assert float(rich.recourse[name].max()) > 1e-3, f"{name}: the case shows nothing of it"
    check(rich).raise_if_failed()


def shifted(values: xr.DataArray, by: float) -> xr.DataArray:
    """The largest entry changed by an amount."""
    changed = values.astype(float).copy(deep=True)
    position = np.unravel_index(int(np.nanargmax(np.abs(changed.values))), changed.shape)
    changed.values[position] += by
    return changed


def _with(solution: Solution, part: str, name: str, change: Callable[[xr.DataArray], xr.DataArray]) -> Solution:
    dataset = getattr(solution, part)
    return replace(solution, **{part: dataset.assign({name: change(dataset[name])})})


PARTS = [
    *(("first_stage", name) for name in FIRST_STAGE),
    *(("recourse", name) for name in RECOURSE),
    *(("terms", name) for name in TERMS),
]


def changes() -> Iterator[Any]:
    """Every number more and less; by default one of the two in turn."""
    for index, (part, name) in enumerate(PARTS):
        for by in (-0.37, 0.37):
            marks = [] if (by > 0) == (index % 2 == 0) else [pytest.mark.slow]
            yield pytest.param(part, name, by, id=f"{name} {by:+}", marks=marks)


@pytest.mark.parametrize(("part", "name", "by"), list(changes()))
def test_each_changed_number_is_caught(rich: Solution, part: str, name: str, by: float) -> None:
    # costs are in $: the change must stand out of the relative tolerance
    scale = 100.0 if name.startswith("cost_") else 1.0
    corrupted = _with(rich, part, name, lambda values: shifted(values, by * scale))
    assert not check(corrupted).passed


def not_finite() -> Iterator[Any]:
    """Infinity anywhere; NaN where it does not say that there is no such variable; by default one of them."""
    for part, name in PARTS:
        yield pytest.param(part, name, np.inf, id=f"{name} inf", marks=[] if part == "recourse" else [pytest.mark.slow])
        if part != "recourse":
            yield pytest.param(part, name, np.nan, id=f"{name} nan")


@pytest.mark.parametrize(("part", "name", "by"), list(not_finite()))
def test_each_number_that_is_infinite_or_missing_is_caught(rich: Solution, part: str, name: str, by: float) -> None:
    missing = check(_with(rich, part, name, lambda values: shifted(values, by)))
    # an energy that is not recorded counts as zero, where it is not zero that is a fault too
    assert not missing.passed


@pytest.mark.parametrize("by", [1, -1])
@pytest.mark.parametrize("name", ["hub_active", "shipped"])
def test_a_whole_module_or_hub_more_or_less_is_caught(rich: Solution, name: str, by: int) -> None:
    assert not check(_with(rich, "first_stage", name, lambda values: shifted(values, by))).passed


@pytest.mark.parametrize("by", [1, -1])
@pytest.mark.parametrize("name", ["sent", "stabilised"])
def test_a_whole_recourse_decision_more_or_less_is_caught(rich: Solution, name: str, by: int) -> None:
    assert not check(_with(rich, "recourse", name, lambda values: shifted(values, by))).passed


def test_recourse_cost_and_objective_are_checked(rich: Solution) -> None:
    wrong_cost = replace(rich, recourse_cost=shifted(rich.recourse_cost, 50.0))
    assert "recourse cost" in set(check(wrong_cost).failures["check"])
    wrong = check(replace(rich, objective=rich.objective + 50))
    assert list(wrong.failures["check"]) == ["objective by sorting"]
    with pytest.raises(SolveError, match="objective by sorting"):
        wrong.raise_if_failed()


def test_risk_weights_are_checked(rich: Solution) -> None:
    probability = rich.data.probability
    order = np.argsort(-rich.recourse_cost.values)
    left, tail = 0.2, np.zeros(len(order))
    for index in order:
        tail[index] = min(left, float(probability[index]))
        left -= tail[index]
    weights = (0.5 * probability + 0.5 * tail / 0.2).drop_attrs()
    assert check(rich, weights=weights).passed
    assert "objective by risk weights" in set(check(rich, weights=shifted(weights, 0.1)).failures["check"])
    assert "sum of risk weights" in set(check(rich, weights=shifted(weights, 0.1)).failures["check"])
    moved = weights.roll(scenario=1, roll_coords=False)
    assert "risk weights stay in their set" in set(check(rich, weights=moved).failures["check"])
    with pytest.raises(ValueError, match="variance"):
        check(rich, risk={"variance": 1.0})


@pytest.mark.parametrize(
    ("part", "change", "message"),
    [
        ("recourse", lambda d: d.isel(scenario=slice(1, None)), "labels"),
        ("recourse", lambda d: d.assign_coords(node=["3", "5"]), "labels"),
        ("recourse", lambda d: d.assign(sent=d.sent.isel(hub=0, drop=True)), "sent is over"),
        ("first_stage", lambda d: d.drop_vars("shipped"), "shipped is missing"),
        ("terms", lambda d: d.drop_vars("cost_dispatch"), "cost_dispatch is missing"),
    ],
)
def test_labels_that_do_not_match_fail(rich: Solution, part: str, change: Any, message: str) -> None:
    judged = check(replace(rich, **{part: change(getattr(rich, part))}))
    assert list(judged.failures["check"]) == ["labels"]
    assert message in str(judged)


def test_order_of_labels_does_not_matter(rich: Solution) -> None:
    backwards = slice(None, None, -1)
    turned = replace(
        rich,
        recourse=rich.recourse.isel(scenario=backwards, node=backwards, time=backwards, fcm=backwards),
        first_stage=rich.first_stage.isel(hub=backwards),
    )
    assert check(turned).passed


def _data(**values: Any) -> Callable[[xr.Dataset], xr.Dataset]:
    return lambda data: data.assign({name: xr.full_like(data[name], value) for name, value in values.items()})


def _scaled(name: str, factor: float) -> Callable[[xr.Dataset], xr.Dataset]:
    return lambda data: data.assign({name: data[name] * factor})


LIMITS: dict[str, Callable[[xr.Dataset], xr.Dataset]] = {
    "supplier stock": _data(stock=0.0),
    "hub room": _data(storage_limit=0.5),
    "hubs forced out": _data(hub_forced_out=1.0),
    "least number of hubs": _data(hub_minimum=3.0),
    "largest number of hubs": _data(hub_maximum=0.0),
    "budget": lambda data: data.assign(budget=10.0),
    "modules staged": _data(hub_available=0.0),
    "modules needed": _scaled("usable", 0.5),
    "modules are sent where they are of use": _data(usable=0.0),
    "share of the need without modules": _scaled("usable", 1.5),
    "arrivals": _data(deployment_time=0.45),
    "state of charge": _scaled("eta_discharge", 0.9),
    "capacity of stores": _scaled("energy", 0.5),
    "power of stores": _scaled("power", 0.5),
    "power: generation": _scaled("power", 0.2),
    "power: demand_response": _scaled("power", 0.2),
    "fuel of generators": _data(energy=0.01),
    "energy of contracts": _data(energy=0.01),
    "ramp of stores": _data(ramp=0.01),
    "ramp of generators": _data(ramp=0.01),
    "ramp of contracts": _data(ramp=0.01),
    "node balance": _scaled("shock", 1.1),
    "critical load": _data(critical_load=0.1),
    "flexible load": _data(critical_load=5.0),
    "unserved is at most the surge": _scaled("shock", 0.1),
    "unabsorbed is at most M-": lambda data: data.assign(shock=abs(data.shock) * 0.0, usable=data.usable * 0),
    "supply ramp": _data(supply_ramp=0.1),
    "supply headroom": _data(supply_headroom=0.1),
    "feeder headroom": _data(feeder_headroom=0.1),
    "unserved while stabilised": _data(stability_band=0.0, stabilise_within=0.0),
    "unabsorbed while stabilised": _data(stability_band=0.0, stabilise_within=0.0),
    "stabilised within T": _data(stabilise_within=0.0),
    "upper voltage": _data(v_max=1.0),
    "lower voltage": _data(v_min=1.04),
    "line rating, polygon": _data(rating=0.5),
    "line rating": _data(rating=0.5),
    "load that is cut off belongs to a node": lambda data: data.assign(
        energised=data.energised * (data.bus != "2"), base_load=data.base_load + 0.1
    ),
    "stores alone charge and discharge": _data(stores=0.0),
    "generators alone generate": _data(travels=0.0),
    "contracts alone shed load": _data(travels=1.0),
}


@pytest.mark.parametrize("name", LIMITS)
def test_each_row_fails_when_its_data_are_tightened(rich: Solution, name: str) -> None:
    tightened = replace(rich, data=LIMITS[name](rich.data))
    assert name in set(check(tightened).failures["check"])


def test_a_hub_that_is_forced_in_must_be_open(rich: Solution) -> None:
    closed = _with(rich, "first_stage", "hub_active", lambda values: values * 0)
    failed = check(replace(closed, data=_data(hub_forced_in=1.0)(rich.data)))
    assert {"hubs forced in", "hub room"} <= set(failed.failures["check"])


def test_a_node_without_variables_must_need_nothing(rich: Solution) -> None:
    absent = _with(rich, "recourse", "stabilised", lambda values: values * np.nan)
    names = set(check(absent).failures["check"])
    assert {"nodes without variables are in balance", "nodes without variables need no modules"} <= names


def test_a_share_of_the_need_that_is_left_out_is_caught(rich: Solution) -> None:
    """Modules are missing and nothing says so; what they cost is left out with them."""
    assert float(rich.recourse.missing_share.max()) > 0.1
    free = _with(rich, "recourse", "missing_share", lambda values: values * 0)
    free = _with(free, "terms", "cost_shortfall", lambda values: values * 0)
    cheaper = rich.recourse_cost - float(rich.data.event_rate) * rich.terms.cost_shortfall
    failed = set(check(replace(free, recourse_cost=cheaper)).failures["check"])
    assert failed == {"share of the need without modules", "objective by sorting"}


def test_contracts_pay_no_transport_and_modules_once_in_their_life(rich: Solution) -> None:
    """The certificate's own reading: the enumerated plan, priced as (1) is printed, is not what the data say."""
    data = rich.data
    printed = (data.transport_cost * data.distance * rich.first_stage.shipped).sum()
    assert float(printed) > float(rich.terms.cost_transport) > 0
    dearer = _with(rich, "terms", "cost_transport", lambda _: printed)
    assert "cost_transport" in set(check(dearer).failures["check"])


def test_large_constants_hide_nothing(rich: Solution) -> None:
    """Integers within the tolerance are judged as the whole numbers that would be carried out."""
    nearly = _with(rich, "recourse", "stabilised", lambda values: values - 1e-7)
    assert check(nearly).passed
    half = _with(rich, "recourse", "stabilised", lambda values: values.where(values == 0, 1 - 1e-3))
    assert "stabilised is whole" in set(check(half).failures["check"])


def test_report_quantities_of_the_case_by_hand() -> None:
    solution = two_waves_by_hand()
    quantities = report_quantities(solution.data, solution.recourse)
    assert float(quantities.time_to_stable.sel(scenario=0, node="3")) == 0.5
    assert np.isnan(float(quantities.time_to_stable.sel(scenario=0, node="4")))
    assert float(quantities.share_stabilised.sel(scenario=0)) == 1
    assert float(quantities.unserved_unabsorbed_overlap.sel(scenario=0)) == 0
    # from h in operation for two steps, from k for one; the ramp of 1000 MW/h never binds
    assert quantities.ramp_rows.values.tolist() == [2]
    assert quantities.ramp_rows_that_can_bind.values.tolist() == [0]
    slow = solution.data.assign(ramp=solution.data.ramp * 0 + 1.5)
    # 1.5 MW/h: 0.375 MW in the quarter of an hour, less than 0.5 MW; 0.75 MW in the half hour
    assert report_quantities(slow, solution.recourse).ramp_rows_that_can_bind.values.tolist() == [1]


def test_overlaps_are_reported() -> None:
    solution = two_waves_by_hand()
    both = solution.recourse.assign(
        charge=solution.recourse.generation * 0 + 0.2,
        discharge=solution.recourse.generation * 0 + 0.1,
        unabsorbed=solution.recourse.unserved_flexible * 0.5,
    )
    quantities = report_quantities(solution.data, both)
    assert float(quantities.charge_discharge_overlap.sel(scenario=0)) == pytest.approx(0.1 * 1.0)
    assert float(quantities.unserved_unabsorbed_overlap.sel(scenario=0)) == pytest.approx(0.1875)


def test_certificate_knows_no_model_and_no_solver(root: Path) -> None:
    # the package itself imports the DSL: stand in for it, so that only what the certificate asks for is imported
    code = (
        "import sys, types; package = types.ModuleType('drofcm'); package.__path__ = [sys.argv[1]];"
        "sys.modules['drofcm'] = package; import drofcm.validate.certificate;"
        "print([m for m in sys.modules if m.split('.')[0] in ('linopy', 'highspy')"
        " or m.startswith(('drofcm.problems', 'drofcm.dsl', 'drofcm.solve'))])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(root / "drofcm")], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
