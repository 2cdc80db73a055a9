"""Fragility, failures, repairs, sequences and the event x location matrix, against closed forms and enumeration."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import xarray as xr
from scipy.stats import lognorm

from drofcm.core.errors import InputError
from drofcm.scenarios.outages import (
    FragilityCurve,
    draw_failures,
    draw_hits,
    gusts,
    line_failure_probability,
    out_in_time,
    repair_hours,
    sequential_outages,
)

CURVE = FragilityCurve(40.0, 0.25)


def over(values: object, unit: str, **coords: object) -> xr.DataArray:
    return xr.DataArray(values, dims=tuple(coords), coords=coords, attrs={"units": unit})


def wind(speeds: list[list[float]]) -> xr.DataArray:
    return over(speeds, "m/s", scenario=range(len(speeds)), line=["a", "b", "c"][: len(speeds[0])])


def length(km: list[float]) -> xr.DataArray:
    return over(km, "km", line=["a", "b", "c"][: len(km)])


def test_fragility_is_the_log_normal_distribution_over_sections_in_series() -> None:
    out = line_failure_probability(wind([[20.0, 40.0, 55.0]]), length([1.0, 2.0, 0.5]), curve=CURVE)
    each = lognorm(0.25, scale=40.0).cdf([20.0, 40.0, 55.0])
    assert out.values[0] == pytest.approx(1 - (1 - each) ** [1.0, 2.0, 0.5])
    assert float(out[0, 1]) == pytest.approx(0.75)  # a half per kilometre, two of them


def test_exposure_is_length_that_wind_reaches() -> None:
    exposure = over([0.0, 0.5, 1.0], "1", line=["a", "b", "c"])
    out = line_failure_probability(
        wind([[90.0] * 3, [0.0] * 3]), length([3.0, 3.0, 3.0]), curve=CURVE, exposure=exposure
    )
    half = line_failure_probability(wind([[90.0] * 3]), length([3.0, 1.5, 3.0]), curve=CURVE)
    assert float(out[0, 0]) == 0  # a cable
    assert float(out[0, 1]) == pytest.approx(float(half[0, 1]))
    assert (out[1] == 0).all()


def test_certain_failure_is_certain() -> None:
    steep = FragilityCurve(10.0, 1e-3)
    assert float(line_failure_probability(wind([[30.0]]), length([0.1]), curve=steep)[0, 0]) == 1


def test_bad_weather_data_are_found_together() -> None:
    with pytest.raises(InputError) as caught:
        line_failure_probability(
            wind([[20.0, -1.0]]).assign_attrs(units="km/h"), length([1.0, np.nan]), exposure=length([1.0, 1.0])
        )
    text = str(caught.value)
    for part in ("unit is 'km/h', 'm/s' is needed", "is -1 at scenario=0, line=b", "NaN at line=b", "unit is 'km'"):
        assert part in text
    with pytest.raises(InputError, match="length: line c is not in both"):
        line_failure_probability(wind([[20.0, 30.0]]), length([1.0, 1.0, 1.0]))
    with pytest.raises(InputError, match=r"FragilityCurve\.spread: must be above 0, got 0"):
        FragilityCurve(40.0, 0)


def test_gusts_are_alike_nearby() -> None:
    rng = np.random.default_rng(1)
    drawn = np.log(
        [gusts([0, 1, 50], [0, 0, 0], rng=rng, median_m_s=30, spread=0.0, local_spread=0.2) for _ in range(4000)]
    )
    assert np.exp(np.median(drawn, axis=0)) == pytest.approx(30, rel=0.02)
    assert drawn.std(axis=0) == pytest.approx(0.2, rel=0.05)
    correlation = np.corrcoef(drawn, rowvar=False)
    assert correlation[0, 1] == pytest.approx(np.exp(-1 / 5), abs=0.03)
    assert correlation[0, 2] == pytest.approx(0, abs=0.05)


def test_failures_come_as_often_as_they_should_and_do_not_depend_on_the_ensemble() -> None:
    chance = over(np.tile([0.0, 0.1, 0.6], (4000, 1)), "1", scenario=range(4000), line=["a", "b", "c"])
    out = draw_failures(chance, seed=3)
    assert out.mean("scenario").values == pytest.approx([0, 0.1, 0.6], abs=0.025)
    some = draw_failures(chance.isel(scenario=[7, 3999, 5]), seed=3)
    assert (some == out.sel(scenario=some["scenario"])).all()
    other = draw_failures(chance, seed=3, purpose="hub failures")
    assert np.corrcoef(out[:, 2], other[:, 2])[0, 1] == pytest.approx(0, abs=0.05)
    with pytest.raises(InputError, match="is not within 0 and 1 at scenario=0, line=b"):
        draw_failures(over([[0.1, 1.1]], "1", scenario=[0], line=["a", "b"]), seed=1)


def test_one_crew_repairs_one_after_another() -> None:
    flags = over([[1, 1, 0, 1]], "1", scenario=[4], line=["a", "b", "c", "d"])
    one, two, many = (repair_hours(flags, seed=5, crews=crews).values[0] for crews in (1, 2, 9))
    assert one == pytest.approx([many[0], many[0] + many[1], 0, many[0] + many[1] + many[3]])
    assert two == pytest.approx([many[0], many[1], 0, min(many[0], many[1]) + many[3]])
    fewer = repair_hours(flags.where(flags["line"] != "a", 0).assign_attrs(units="1"), seed=5, crews=9)
    assert fewer.values[0, 1] == many[1]


def test_repairs_have_the_stated_distribution() -> None:
    flags = over(np.ones((3000, 1), dtype=int), "1", scenario=range(3000), line=["a"])
    hours = repair_hours(flags, seed=2, median_h=4, spread=0.5).values
    assert np.median(hours) == pytest.approx(4, rel=0.05)
    assert np.log(hours).std() == pytest.approx(0.5, rel=0.05)
    with pytest.raises(InputError) as caught:
        repair_hours(flags, seed=2, median_h=0, spread=-1, crews=0)
    assert len(caught.value.findings) == 3


def test_what_is_out_in_each_step() -> None:
    back = over([[0.0, 1.5]], "h", scenario=[0], line=["a", "b"])
    share = out_in_time(back, over([1.0, 1.0, 2.0], "h", time=[0, 1, 2]))
    assert share.values[0].tolist() == [[0, 0, 0], [1, 0.5, 0]]


def test_a_sequence_has_the_unavailability_of_the_closed_form() -> None:
    component = ["a", "b", "quiet"]
    rate, repair = (
        over([12.0, 2.0, 0.0], "1/a", component=component),
        over([40.0, 100.0, 5.0], "h", component=component),
    )
    history = sequential_outages(rate, repair, years=2000, seed=1)
    for label, failures, hours in (("a", 12.0, 40.0), ("b", 2.0, 100.0)):
        mine = history[history["component"] == label]
        expected = failures * hours / (8760 + failures * hours)
        assert mine["hours"].sum() / (2000 * 8760) == pytest.approx(expected, rel=0.05)
        assert len(mine) / 2000 == pytest.approx(failures * (1 - expected), rel=0.05)
        end = mine["begin_h"] + mine["hours"]
        assert (mine["begin_h"].to_numpy()[1:] >= end.to_numpy()[:-1]).all()  # repaired before it fails again
        assert end.max() <= 2000 * 8760 + 1e-6
    assert "quiet" not in set(history["component"])
    # the other components do not change what happens to this one
    alone = sequential_outages(rate.sel(component=["b"]), repair.sel(component=["b"]), years=2000, seed=1)
    assert alone["hours"].tolist() == history.loc[history["component"] == "b", "hours"].tolist()
    with pytest.raises(InputError, match="components differ"):
        sequential_outages(rate, repair.sel(component=["a", "b"]), years=1, seed=1)


MATRIX = xr.DataArray([[0.2, 0.0], [0.5, 0.1]], {"event": ["surge", "line_fault"], "location": ["4", "2-19"]})


def test_the_matrix_given_that_something_happens_is_that_of_enumeration() -> None:
    hits = draw_hits(MATRIX, 6000, seed=9)
    chance = MATRIX.values.ravel()
    exact = np.zeros(4)
    total = 0.0
    for outcome in itertools.product((0, 1), repeat=4):
        weight = np.prod([p if hit else 1 - p for p, hit in zip(chance, outcome, strict=True)])
        if any(outcome):
            exact += weight * np.array(outcome)
            total += weight
    assert hits.mean("scenario").values.ravel() == pytest.approx(exact / total, abs=0.02)
    flat = hits.values.reshape(6000, 4)
    assert flat.any(axis=1).all()
    both = (flat[:, 0] & flat[:, 2]).mean()
    assert both == pytest.approx(0.2 * 0.5 / total, abs=0.02)
    assert (draw_hits(MATRIX, 40, seed=9) == hits[:40]).all()


def test_the_matrix_as_it_stands() -> None:
    hits = draw_hits(MATRIX, 6000, seed=9, at_least_one=False)
    assert hits.mean("scenario").values == pytest.approx(MATRIX.values, abs=0.02)


@pytest.mark.parametrize(
    ("matrix", "message"),
    [
        (MATRIX * 3, "is not within 0 and 1 at event=line_fault, location=4"),
        (MATRIX * 0, "every probability is 0: nothing can happen"),
        (MATRIX.rename(event="what"), "must be over (event, location)"),
        (MATRIX.assign_coords(location=["4", "4"]), "labels are missing or given twice"),
        (MATRIX.where(MATRIX > 0.1), "is not within 0 and 1 at event=surge, location=2-19"),
        ([[0.1]], "must be a labelled array"),
    ],
)
def test_bad_matrices_are_refused(matrix: object, message: str) -> None:
    with pytest.raises(InputError) as caught:
        draw_hits(matrix, 3, seed=1)  # type: ignore[arg-type]
    assert message in str(caught.value)
