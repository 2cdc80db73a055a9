"""The AC power flow: the published solution of the feeder, power balance, hosting capacity, base-case warnings."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from drofcm.core.errors import InputError, SolveError
from drofcm.data import load_feeder
from drofcm.network.feeder import Feeder
from drofcm.network.lindistflow import base_case
from drofcm.validate.replay import ac_power_flow, base_violations, hosting_capacity


@pytest.fixture(scope="module")
def table() -> xr.Dataset:
    return load_feeder("ieee33")


@pytest.fixture(scope="module")
def feeder(table: xr.Dataset) -> Feeder:
    return Feeder.from_tables(table)


def two_buses(resistance: float, reactance: float, rating: float = 100.0) -> Feeder:
    """A source and one bus without load on a 10 kV line."""
    return Feeder.from_tables(
        xr.Dataset(
            {
                "base_load": ("bus", [0.0, 0.0], {"units": "MW"}),
                "base_reactive": ("bus", [0.0, 0.0], {"units": "Mvar"}),
                "from_bus": ("line", ["a"]),
                "to_bus": ("line", ["b"]),
                "resistance": ("line", [resistance], {"units": "ohm"}),
                "reactance": ("line", [reactance], {"units": "ohm"}),
                "rating": ("line", [rating], {"units": "MVA"}),
            },
            coords={"bus": ["a", "b"], "line": ["a-b"]},
            attrs={"name": "two buses", "nominal_kv": 10.0, "source_bus": "a"},
        )
    )


# ==== The IEEE 33-bus feeder ============================================================================


def test_losses_and_lowest_voltage_are_the_published_ones(table: xr.Dataset, feeder: Feeder) -> None:
    flow = ac_power_flow(feeder, table.base_load, table.base_reactive, 1.0)
    assert flow.losses.item() * 1e3 == pytest.approx(202.677126, abs=1e-5)
    assert flow.v.min().item() == pytest.approx(0.913090479, abs=1e-8)
    assert flow.v.idxmin().item() == "18"


def test_every_voltage_is_that_of_the_benchmark(table: xr.Dataset, feeder: Feeder, benchmarks: Path) -> None:
    published = pd.read_csv(benchmarks / "power_flow" / "case33bw_V.csv", dtype={"bus": str}).set_index("bus")["vm_pu"]
    v = ac_power_flow(feeder, table.base_load, table.base_reactive, 1.0).v.to_series()
    np.testing.assert_allclose(v, published[v.index], atol=1e-8)


def test_lindistflow_is_too_high_by_less_than_3_thousandths(table: xr.Dataset, feeder: Feeder) -> None:
    linear = base_case(feeder, table.base_load, table.base_reactive, 1.0).v_base
    error = linear - ac_power_flow(feeder, table.base_load, table.base_reactive, 1.0).v
    assert error.min() > -1e-9, "without losses no voltage can be too low"
    assert 0.0027 < error.max() < 0.0030
    assert error.idxmax() == "18"


def test_the_readme_states_what_its_command_prints(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = (root / "datasets" / "feeders" / "ieee33" / "README.md").read_text(encoding="utf-8")
    example = re.search(r"```python\n(?P<code>.*?)```\n\n```text\n(?P<output>.*?)```", text, re.DOTALL)
    assert example is not None
    exec(example["code"], {})
    assert capsys.readouterr().out == example["output"]


def test_the_ratings_carry_the_loads_that_the_readme_names(table: xr.Dataset, feeder: Feeder) -> None:
    centres = table.bus.isin(["4", "20", "23", "24", "25"])
    load, reactive = table.base_load + 0.5 * centres, table.base_reactive + 0.125 * centres
    added = xr.DataArray([[0, 0], [4, 0], [0, 2.3]], {"case": [0, 1, 2], "bus": ["4", "23"]}, ("case", "bus"))
    added = added.reindex(bus=table.bus.values, fill_value=0)
    loading = ac_power_flow(feeder, load + added, reactive + 0.25 * added, 1.045).loading
    assert loading.sel(line="1-2").values[:2] == pytest.approx([0.60, 0.97], abs=0.005)
    assert loading.sel(line="3-23").values[[0, 2]] == pytest.approx([0.51, 1.0], abs=0.005)
    base = ac_power_flow(feeder, table.base_load, table.base_reactive, 1.0).loading
    trunk = base.line.isin(["1-2", "2-3", "3-4", "4-5", "5-6"])
    assert base.where(trunk).max() == pytest.approx(0.40, abs=0.005)
    assert base.where(~trunk).max() == pytest.approx(0.29, abs=0.005)


# ==== Power flow ========================================================================================


@pytest.mark.parametrize(("p", "q"), [(8.0, 2.0), (-6.0, 1.0), (0.0, 0.0)])
def test_two_buses_have_a_closed_form(p: float, q: float) -> None:
    r, x, source = 0.5 / 100, 0.8 / 100, 1.02
    # v^4 + (2 (r p + x q) - source^2) v^2 + |z|^2 |s|^2 = 0, upper root
    half = source**2 / 2 - (r * p + x * q)
    squared = half + np.sqrt(half**2 - (r**2 + x**2) * (p**2 + q**2))
    feeder = two_buses(0.5, 0.8, rating=20.0)
    load, reactive = (xr.DataArray([0.0, value], {"bus": ["a", "b"]}, "bus") for value in (p, q))
    flow = ac_power_flow(feeder, load, reactive, source)
    assert flow.v.sel(bus="b").item() == pytest.approx(np.sqrt(squared), abs=1e-9)
    current = np.hypot(p, q) / np.sqrt(squared)
    assert flow.loading.item() == pytest.approx(current / 20.0, abs=1e-8)
    assert flow.losses.item() == pytest.approx(r * current**2, abs=1e-8)


def test_many_situations_equal_each_alone(table: xr.Dataset, feeder: Feeder) -> None:
    factor = xr.DataArray([[0.5, 1.0], [1.5, -1.0]], {"scenario": [3, 4], "time": [0, 1]}, ("scenario", "time"))
    flow = ac_power_flow(feeder, table.base_load * factor, table.base_reactive, 1.02)
    assert flow.v.dims == ("scenario", "time", "bus")
    assert flow.losses.dims == ("scenario", "time")
    for scenario, time in ((3, 0), (3, 1), (4, 0), (4, 1)):
        one = {"scenario": scenario, "time": time}
        alone = ac_power_flow(feeder, table.base_load * factor.sel(one).item(), table.base_reactive, 1.02)
        xr.testing.assert_allclose(flow.sel(one).drop_vars(["scenario", "time"]), alone, rtol=1e-9, atol=1e-9)


def test_voltage_collapse_is_an_error_that_names_the_situation(table: xr.Dataset, feeder: Feeder) -> None:
    factor = xr.DataArray([1.0, 20.0, 0.5], {"scenario": [3, 4, 5]}, "scenario")
    with pytest.raises(SolveError, match=r"scenario=4$"):
        ac_power_flow(feeder, table.base_load * factor, table.base_reactive, 1.0)
    with pytest.raises(SolveError, match="voltage collapse"):
        ac_power_flow(feeder, 20 * table.base_load, table.base_reactive, 1.0)


# ==== Hosting capacity and the base case ================================================================


def test_hosting_capacity_of_two_buses_has_a_closed_form() -> None:
    none = xr.DataArray([0.0, 0.0], {"bus": ["a", "b"]}, "bus")
    r, tan, v = 0.5 / 100, 0.25, 0.95
    # with x = 0 and unity source the root above gives r p = v (1 - v) for q = 0
    by_voltage = hosting_capacity(two_buses(0.5, 0.0), ["b"], none, none, 1.0, v, 1.05, 0.0)
    assert by_voltage.item() == pytest.approx(v * (1 - v) / r, abs=2e-3)
    # a line without much impedance is limited by its current
    by_rating = hosting_capacity(two_buses(1e-6, 0.0, 4.0), ["b"], none, none, 1.0, v, 1.05, tan)
    assert by_rating.item() == pytest.approx(4 / np.hypot(1, tan), abs=2e-3)


def test_hosting_capacity_lies_on_the_limit(table: xr.Dataset, feeder: Feeder) -> None:
    buses = ["25", "18", "2"]
    base = (table.base_load, table.base_reactive)
    capacity = hosting_capacity(feeder, buses, *base, 1.045, 0.95, 1.05, 0.25)
    assert capacity.bus.values.tolist() == buses
    assert capacity.attrs["units"] == "MW"
    for bus in buses:
        within = {}
        for more in (0.0, 2e-3):
            added = (capacity.sel(bus=bus).item() + more) * (table.bus == bus)
            flow = ac_power_flow(feeder, base[0] + added, base[1] + 0.25 * added, 1.045)
            within[more] = bool((flow.v >= 0.95).all() & (flow.v <= 1.05).all() & (flow.loading <= 1).all())
        assert within == {0.0: True, 2e-3: False}


def test_nothing_can_be_hosted_where_the_base_case_breaks_limits(table: xr.Dataset, feeder: Feeder) -> None:
    base = (table.base_load, table.base_reactive)
    assert (hosting_capacity(feeder, ["2", "25"], *base, 1.0, 0.95, 1.05, 0.25) == 0).all()


def test_a_source_hosts_without_limit(table: xr.Dataset, feeder: Feeder) -> None:
    base = (table.base_load, table.base_reactive)
    capacity = hosting_capacity(feeder, ["1", "2"], *base, 1.045, 0.95, 1.05, 0.25)
    assert np.isinf(capacity.sel(bus="1"))
    assert np.isfinite(capacity.sel(bus="2"))


def test_base_violations_are_warnings_with_labels(table: xr.Dataset, feeder: Feeder) -> None:
    base = (table.base_load, table.base_reactive)
    (low,) = base_violations(feeder, *base, 1.0, 0.95, 1.05)
    assert low.severity == "warning"
    assert "21 below v_min" in low.what
    assert "0.9131 pu" in low.what
    assert low.where.startswith("bus 6, 7, 8")
    assert base_violations(feeder, *base, 1.045, 0.95, 1.05) == []
    (high,) = base_violations(feeder, *base, 1.06, 0.95, 1.05)
    assert "above v_max" in high.what
    heavy = base_violations(feeder, 3 * base[0], base[1], 1.0, 0.5, 1.05)
    assert [finding.where for finding in heavy] == ["line 1-2, 2-3"]


def test_unsound_arguments_are_refused(table: xr.Dataset, feeder: Feeder) -> None:
    base = (table.base_load, table.base_reactive)
    with pytest.raises(InputError, match="bus '34'"):
        hosting_capacity(feeder, ["34"], *base, 1.045, 0.95, 1.05, 0.25)
    with pytest.raises(InputError, match="v_min must be below v_max"):
        hosting_capacity(feeder, ["2"], *base, 1.045, 1.05, 0.95, 0.25)
    with pytest.raises(InputError, match="no value for bus 1"):
        ac_power_flow(feeder, base[0][1:], base[1], 1.0)
    for voltage in (-1.0, 1e300):
        with pytest.raises(InputError, match="source_voltage"):
            ac_power_flow(feeder, *base, voltage)
    with pytest.raises(ValueError, match="tolerance must be above 0, got 0"):
        hosting_capacity(feeder, ["2"], *base, 1.045, 0.95, 1.05, 0.25, tolerance=0)
    with pytest.raises(ValueError, match="tan_phi must be finite, got nan"):
        hosting_capacity(feeder, ["2"], *base, 1.045, 0.95, 1.05, float("nan"))
