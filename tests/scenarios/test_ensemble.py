"""Aggregation against brute force, and the checks of an ensemble."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from drofcm.core.errors import InputError, errors_of
from drofcm.scenarios.ensemble import aggregate, check, coarsen


def steps_of(seconds: list[int] | list[float]) -> xr.DataArray:
    coords = {"time": np.arange(len(seconds))}
    return xr.DataArray(np.asarray(seconds) / 3600, dims="time", coords=coords, attrs={"units": "h"})


@st.composite
def traces_and_steps(draw: st.DrawFn) -> tuple[np.ndarray, list[int]]:
    seconds = draw(st.lists(st.integers(1, 40), min_size=1, max_size=8))
    values = hnp.arrays(float, (draw(st.integers(1, 3)), sum(seconds)), elements=st.floats(-1e3, 1e3, width=32))
    return draw(values), seconds


@given(traces_and_steps())
def test_aggregation_is_that_of_brute_force(case: tuple[np.ndarray, list[int]]) -> None:
    values, seconds = case
    out = aggregate(xr.DataArray(values, dims=("node", "second"), attrs={"units": "MW"}), steps_of(seconds))
    for site in range(len(values)):
        begin = 0
        for step, length in enumerate(seconds):
            inside = [float(value) for value in values[site, begin : begin + length]]
            assert float(out["mean"][site, step]) == pytest.approx(sum(inside) / length, rel=1e-9, abs=1e-9)
            assert float(out["high"][site, step]) == max(inside)
            assert float(out["low"][site, step]) == min(inside)
            begin += length
    # energy is kept, and rounding never puts a mean outside its extremes
    energy = (out["mean"].values * np.asarray(seconds)).sum(axis=1)
    assert energy == pytest.approx(values.sum(axis=1), rel=1e-9, abs=1e-6)
    assert (out["low"] <= out["mean"]).all()
    assert (out["mean"] <= out["high"]).all()


def test_aggregation_keeps_labels_and_unit() -> None:
    trace = xr.DataArray(
        np.arange(12.0).reshape(6, 2),
        dims=("second", "node"),
        coords={"second": np.arange(6), "node": ["4", "20"], "scenario": 3},
        attrs={"units": "MW"},
    )
    out = aggregate(trace, steps_of([1, 5]))
    assert out["mean"].dims == ("node", "time")
    assert list(out["node"].values) == ["4", "20"]
    assert out["scenario"].item() == 3
    assert {variable.attrs["units"] for variable in out.data_vars.values()} == {"MW"}
    assert out["mean"].sel(node="20").values == pytest.approx([1, 7])
    assert "second" not in out.coords


@pytest.mark.parametrize(
    ("seconds", "message"),
    [
        ([1.5, 4.5], r"1\.5 s is not a whole second at time=0; time=1"),
        ([0.2, 5.8], "is not a whole second"),
        ([2, 3], "the steps cover 5 s, the trace has 6 s"),
        ([-1, 7], "must be above 0 h"),
        ([np.nan, 6], "NaN at time=0"),
    ],
)
def test_steps_that_do_not_fit_are_refused(seconds: list[float], message: str) -> None:
    with pytest.raises(InputError, match=message):
        aggregate(xr.DataArray(np.zeros((1, 6)), dims=("node", "second")), steps_of(seconds))


def test_all_findings_of_an_aggregation_at_once() -> None:
    trace = xr.DataArray([[0.0, np.nan, 1.0]], dims=("node", "second"), coords={"second": [0, 1, 3]})
    minutes = steps_of([3]).assign_attrs(units="min")
    with pytest.raises(InputError) as caught:
        aggregate(trace, minutes)
    text = str(caught.value)
    assert len(caught.value.findings) == 3
    assert all(part in text for part in ("unit is 'min'", "the trace has gaps", "NaN at node=0, second=1"))
    with pytest.raises(InputError, match="dimension second is missing"):
        aggregate(xr.DataArray([0.0], dims="time"), steps_of([1]))
    with pytest.raises(InputError, match="must be a labelled array, got list"):
        aggregate([0.0], steps_of([1]))  # type: ignore[arg-type]


@pytest.fixture
def ensemble() -> xr.Dataset:
    coords = {"scenario": np.arange(4), "node": ["4", "20"], "time": np.arange(3)}
    mean = xr.DataArray(np.ones((4, 2, 3)), dims=("scenario", "node", "time"), attrs={"units": "MW"})
    probability = xr.DataArray(np.full(4, 0.25), dims="scenario", attrs={"units": "1"})
    extremes = {"shock_high": (mean + 0.5).assign_attrs(mean.attrs), "shock_low": (mean - 0.5).assign_attrs(mean.attrs)}
    variables = {"shock": mean, **extremes, "probability": probability}
    return xr.Dataset(variables, coords=coords, attrs={"seed": 1, "recipe": "by hand"})


def test_a_sound_ensemble_has_no_finding(ensemble: xr.Dataset) -> None:
    assert check(ensemble) == []


def set_nan(data: xr.Dataset) -> xr.Dataset:
    data["shock"][1, 0, 2] = np.nan
    return data


def raise_mean(data: xr.Dataset) -> xr.Dataset:
    data["shock"][3, 1, 0] = 9.0
    return data


def scale_probability(data: xr.Dataset) -> xr.Dataset:
    data["probability"] *= 1.1
    return data


def negate_probability(data: xr.Dataset) -> xr.Dataset:
    data["probability"][:] = [0.75, 0.75, -0.25, -0.25]
    return data


def forget_unit(data: xr.Dataset) -> xr.Dataset:
    del data["shock"].attrs["units"]
    return data


FAULTS: list[tuple[Callable[[xr.Dataset], xr.Dataset], str]] = [
    (set_nan, "NaN at scenario=1, node=4, time=2"),
    (raise_mean, "the mean is above shock_high at scenario=3, node=20, time=0"),
    (scale_probability, "sums to 1.1, must sum to 1"),
    (negate_probability, "must be at least 0 1, is -0.25 at scenario=2; scenario=3"),
    (forget_unit, "no unit is stated"),
    (lambda data: data.drop_vars("probability"), "ensemble['probability']: missing"),
    (lambda data: data.assign_coords(scenario=[0, 1, 1, 3]), "duplicate labels: 1"),
    (lambda data: data.assign_coords(time=[0, 1, 3]), "has gaps"),
    (lambda data: data.drop_vars("node"), "dimension has no labels"),
    (lambda data: data.isel(scenario=[]), "there is no scenario"),
]


@pytest.mark.parametrize(("break_it", "message"), FAULTS)
def test_each_fault_of_an_ensemble_is_found(
    ensemble: xr.Dataset, break_it: Callable[[xr.Dataset], xr.Dataset], message: str
) -> None:
    findings = errors_of(check(break_it(ensemble)))
    assert len(findings) == 1
    assert message in str(findings[0])


def test_faults_are_found_together_and_a_lost_recipe_is_a_warning(ensemble: xr.Dataset) -> None:
    broken = scale_probability(forget_unit(set_nan(ensemble)))
    broken.attrs = {}
    findings = check(broken)
    assert len(errors_of(findings)) == 3
    assert [finding.severity for finding in findings].count("warning") == 2


@given(st.lists(st.lists(st.integers(1, 20), min_size=1, max_size=4), min_size=1, max_size=5), st.integers(0, 99))
def test_steps_made_longer_are_those_of_the_trace(groups: list[list[int]], seed: int) -> None:
    """Seconds to steps to longer steps is seconds to longer steps: energy and extremes survive every resampling."""
    short, wide = [length for group in groups for length in group], [sum(group) for group in groups]
    values = np.random.default_rng(seed).normal(size=(2, sum(short)))
    trace = xr.DataArray(values, dims=("node", "second"), attrs={"units": "MW"})
    twice = coarsen(aggregate(trace, steps_of(short)), steps_of(short), steps_of(wide))
    once = aggregate(trace, steps_of(wide))
    for name in ("mean", "high", "low"):
        assert twice[name].values == pytest.approx(once[name].values, abs=1e-12)
        assert twice[name].attrs["units"] == "MW"


@pytest.mark.parametrize("length", [1, 60, 3600])
def test_a_ramp_within_a_second_survives_any_step(length: int) -> None:
    values = np.zeros(7200)
    values[1234:1300] = 5.0
    out = aggregate(xr.DataArray(values, dims="second", attrs={"units": "MW"}), steps_of([length] * (7200 // length)))
    assert float((out["high"] - out["low"]).max()) == (0 if length == 1 else 5)
    assert float(out["high"].max()) == 5
    assert float((out["mean"] * length).sum()) == pytest.approx(5 * 66)


def test_longer_steps_must_be_made_of_shorter_ones() -> None:
    steps = aggregate(xr.DataArray(np.arange(60.0), dims="second"), steps_of([20, 20, 20]))
    with pytest.raises(InputError, match="edges at 30 s fall within shorter steps"):
        coarsen(steps, steps_of([20, 20, 20]), steps_of([30, 30]))
    with pytest.raises(InputError, match="end earlier or later"):
        coarsen(steps, steps_of([20, 20, 20]), steps_of([20, 20]))
