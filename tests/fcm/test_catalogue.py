"""Kinds of technology and the rules of a catalogue."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import xarray as xr

from drofcm.data import find_dataset, load_catalogue, verify_datapackage
from drofcm.fcm.catalogue import check_catalogue, is_demand_response, is_generator, is_storage


@pytest.fixture
def table() -> xr.Dataset:
    return load_catalogue("fcm_2026").copy(deep=True)


def test_the_catalogue_is_sound(table: xr.Dataset) -> None:
    assert verify_datapackage(find_dataset("catalogue", "fcm_2026")) == []
    assert check_catalogue(table) == []
    assert list(table["fcm"].values) == ["battery", "generator", "demand_response", "long_duration"]
    assert all(table["source"].values)


def test_every_technology_is_of_one_kind(table: xr.Dataset) -> None:
    kinds = {
        kind.__name__: list(table["fcm"].values[kind(table)]) for kind in (is_storage, is_generator, is_demand_response)
    }
    assert kinds == {
        "is_storage": ["battery", "long_duration"],
        "is_generator": ["generator"],
        "is_demand_response": ["demand_response"],
    }
    assert all(kind(table).dtype == bool for kind in (is_storage, is_generator, is_demand_response))


def test_figures_lie_within_the_published_ranges(table: xr.Dataset) -> None:
    """The ranges of README.md, recomputed from the published figures."""
    figures = table.to_dataframe()
    battery, generator, contract, store = (figures.loc[name] for name in table["fcm"].values)

    def annuity(years: int, rate: float = 0.05) -> float:
        return rate / (1 - (1 + rate) ** -years)

    # PNNL-33283: AC round trip 0.845 (LFP) and 0.65 (vanadium); REopt: 0.975 x 0.96 x 0.96
    assert 0.845 <= battery["eta_charge"] * battery["eta_discharge"] <= 0.975 * 0.96**2
    assert store["eta_charge"] * store["eta_discharge"] == pytest.approx(0.65, abs=0.01)
    # EIA 2024 diesel over REopt's efficiency is the fuel share of the generator's cost
    fuel = 3.76 / (0.322 * 40.7) * 1000
    assert fuel < generator["dispatch_cost"] < 1.4 * fuel
    # hardware (PNNL, EUR 2020 at 1.14 $) to installed (REopt after ATB 2025, with 2.5 % upkeep)
    assert 1.14 * (0.5 * 88_569 + 281_087) * annuity(16) < battery["module_cost"] < 522_000 * (annuity(15) + 0.025)
    hardware = 1.14 * (0.25 * 139_487 + 2 * 287_844)
    assert hardware * annuity(20) < store["module_cost"] < hardware * annuity(12) + 3_000
    assert 800 * (650 * annuity(15) + 20) < generator["module_cost"] < 800 * (880 * annuity(15) + 10)
    # PJM capacity: 18 $/(kW a) in 2022/23 to 444.26 $/(MW d) in Dominion's zone in 2025/26
    assert 100 * 18 < contract["module_cost"] < 0.1 * 365 * 444.26
    # a truck there and back at 2.26 $/mile is the least that a heavy module costs
    assert battery["transport_cost"] > 2 * 2.26 / 1.609
    assert contract["transport_cost"] == pytest.approx(2 * 0.70 / 1.609, rel=0.2)


def put(name: str, fcm: str, value: float) -> Callable[[xr.Dataset], object]:
    def change(table: xr.Dataset) -> None:
        table[name] = table[name].astype(float)
        table[name].loc[{"fcm": fcm}] = value

    return change


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (put("travels", "battery", 0), "catalogue['travels']: contradicts the kind of the technology at fcm=battery"),
        (put("absorbs", "demand_response", 1), "catalogue['absorbs']: contradicts the kind of the technology"),
        (put("absorbs", "generator", 1), "fcm=generator (only a store can take up surplus power)"),
        (put("initial_soc", "generator", 0.5), "catalogue['initial_soc']: contradicts the kind"),
        (put("eta_charge", "demand_response", 0.9), "only a store has one; write 1"),
        (put("eta_discharge", "battery", 1.1), "must be at most 1 1, is 1.1 at fcm=battery"),
        (put("eta_charge", "battery", 0), "must be above 0 1, is 0 at fcm=battery"),
        (put("initial_soc", "battery", 0.9), "must be at most 0.8"),
        (put("footprint", "battery", 0), "must be above 0 slots/module"),
        (put("stores", "battery", 0.5), "must be whole numbers"),
        (put("power", "battery", float("nan")), "NaN at fcm=battery"),
    ],
)
def test_every_fault_is_named(table: xr.Dataset, change: Callable[[xr.Dataset], object], expected: str) -> None:
    change(table)
    assert expected in "\n".join(str(finding) for finding in check_catalogue(table))


def test_wrong_unit_and_missing_column_come_at_once(table: xr.Dataset) -> None:
    table["power"].attrs["units"] = "kW"
    found = [str(finding) for finding in check_catalogue(table.drop_vars("stores").rename(ramp="ramps"))]
    assert any("unit is 'kW', 'MW' is needed" in text for text in found)
    assert any("catalogue['stores']: missing" in text for text in found)
    assert any("catalogue['ramps']: unknown variable (did you mean 'ramp'?)" in text for text in found)
    assert len(found) == 4  # ramp is missing too


def test_a_storage_that_absorbs_nothing_is_legal(table: xr.Dataset) -> None:
    put("absorbs", "battery", 0)(table)
    assert check_catalogue(table) == []
