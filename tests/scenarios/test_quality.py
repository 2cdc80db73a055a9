"""Quality of ensembles against closed forms and other libraries."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.stats
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog
from scipy.spatial.distance import cdist

import drofcm as dro
from drofcm.core.errors import InputError
from drofcm.risk.distance import Scale, features
from drofcm.scenarios.quality import _scaled_alike, compare, kantorovich


def ensemble(values: np.ndarray, probability: np.ndarray | None = None) -> xr.Dataset:
    count = len(values)
    p = np.full(count, 1 / count) if probability is None else probability
    return xr.Dataset(
        {"load": (("scenario", "node", "time"), values), "probability": ("scenario", p)},
        coords={
            "scenario": np.arange(count),
            "node": ["a", "b"][: values.shape[1]],
            "time": np.arange(values.shape[2]),
        },
    )


def random_ensemble(count: int, seed: int) -> xr.Dataset:
    rng = np.random.default_rng(seed)
    return ensemble(rng.normal(size=(count, 2, 3)), rng.dirichlet(np.ones(count)))


# ---- Kantorovich distance -------------------------------------------------------------------------------------------


@settings(max_examples=25)
@given(st.integers(1, 8), st.integers(1, 8), st.integers(0, 1000), st.sampled_from([1.0, 2.0]))
def test_kantorovich_is_the_linear_program(first: int, second: int, seed: int, order: float) -> None:
    one, two = random_ensemble(first, seed), random_ensemble(second, seed + 1)
    cost = cdist(one["load"].values.reshape(first, -1), two["load"].values.reshape(second, -1), "cityblock") ** order
    rows = np.zeros((first + second, first * second))
    for i in range(first):
        rows[i, i * second : (i + 1) * second] = 1
    for j in range(second):
        rows[first + j, j::second] = 1
    totals = np.concatenate([one["probability"].values, two["probability"].values])
    optimum = linprog(cost.ravel(), A_eq=rows[:-1], b_eq=totals[:-1], method="highs")
    assert optimum.status == 0
    found = kantorovich(one, two, scale="none", order=order)
    assert found**order == pytest.approx(optimum.fun, abs=1e-9)
    assert kantorovich(one, one, scale="none") == pytest.approx(0, abs=1e-12)


def test_kantorovich_on_the_line_is_that_of_scipy() -> None:
    rng = np.random.default_rng(1)
    one, two = (ensemble(rng.normal(size=(n, 1, 1)), rng.dirichlet(np.ones(n))) for n in (30, 20))
    values = [(own["load"].values.ravel(), own["probability"].values) for own in (one, two)]
    expected = scipy.stats.wasserstein_distance(values[0][0], values[1][0], values[0][1], values[1][1])
    assert kantorovich(one, two, scale="none") == pytest.approx(expected)
    assert kantorovich(one, two) == pytest.approx(expected / values[0][0].std())


@pytest.mark.parametrize("scale", ["variable", "entry", "none"])
def test_the_scale_is_that_of_the_reference(scale: Scale) -> None:
    one, two = random_ensemble(9, 3), random_ensemble(5, 4)
    weight = {"load": xr.DataArray([1.0, 0.0, 3.0], coords={"time": [0, 1, 2]}, dims="time")}
    mine, other = _scaled_alike(one, two, "load", scale, weight)
    both = _scaled_alike(one, one, "load", scale, weight)[1]
    np.testing.assert_allclose(both.values, features(one, "load", scale=scale, weight=weight).values)
    np.testing.assert_allclose(both.values, mine.values)
    turned = two.transpose("time", "scenario", "node")
    np.testing.assert_allclose(_scaled_alike(one, turned, "load", scale, weight)[1].values, other.values)


def test_a_reduction_states_the_distance_that_transport_finds() -> None:
    data = random_ensemble(40, 6)
    reduction = dro.reduce_scenarios(data, 7)
    assert kantorovich(data, reduction.data) == pytest.approx(reduction.distance, rel=1e-9)


def test_ensembles_that_do_not_match_are_refused() -> None:
    one = random_ensemble(4, 1)
    with pytest.raises(InputError, match="has other labels of node"):
        kantorovich(one, one.assign_coords(node=["a", "c"]))
    with pytest.raises(InputError, match=r"other\['load'\]: is missing"):
        kantorovich(one, one.rename(load="charge"), over="load")
    with pytest.raises(InputError, match="sum to 1"):
        kantorovich(one, one.assign(probability=one["probability"] / 2))
    with pytest.raises(InputError, match=r"other\['probability'\]: is missing"):
        kantorovich(one, one.drop_vars("probability"))


# ---- comparison -----------------------------------------------------------------------------------------------------


def figure(table: object, quantity: str, statistic: str, side: str = "full") -> float:
    rows = table[(table["quantity"] == quantity) & (table["statistic"] == statistic)]  # type: ignore[index]
    assert len(rows) == 1, (quantity, statistic)
    return float(rows[side].iloc[0])


def test_an_ensemble_differs_in_nothing_from_itself() -> None:
    data = random_ensemble(12, 2).assign_coords(event_class=("scenario", ["x"] * 5 + ["y"] * 7))
    table = compare(data, data, classes="event_class")
    assert table["difference"].abs().max() == pytest.approx(0, abs=1e-12)
    assert not table.isna().any().any()


def test_equal_weights_give_the_figures_of_numpy_and_scipy() -> None:
    rng = np.random.default_rng(5)
    values = rng.gamma(2.0, size=(400, 2, 6)).cumsum(axis=2)
    values[:, 1] += 0.5 * values[:, 0]
    data = ensemble(values)
    table = compare(data, data)
    peak = values.max(axis=(1, 2))
    assert figure(table, "load, largest", "mean") == pytest.approx(peak.mean())
    assert figure(table, "load, largest", "standard deviation") == pytest.approx(peak.std())
    assert figure(table, "load, largest", "skewness") == pytest.approx(scipy.stats.skew(peak))
    assert figure(table, "load, largest", "quantile 0.95") == np.quantile(peak, 0.95, method="inverted_cdf")
    assert figure(table, "load, largest", "CVaR 0.9") == pytest.approx(np.sort(peak)[-40:].mean())
    ramps = np.abs(np.diff(values, axis=2)).max(axis=(1, 2))
    assert figure(table, "load, largest step", "mean") == pytest.approx(ramps.mean())
    ranks = scipy.stats.spearmanr(values[:, 0].max(axis=1), values[:, 1].max(axis=1)).statistic
    assert figure(table, "load", "rank correlation between nodes, mean") == pytest.approx(ranks)


def test_autocorrelation_of_an_autoregression() -> None:
    rng = np.random.default_rng(8)
    steps, count, phi = 40, 4000, 0.8
    values = np.empty((count, 1, steps))
    values[:, 0, 0] = rng.normal(size=count) / math.sqrt(1 - phi**2)
    for t in range(1, steps):
        values[:, 0, t] = phi * values[:, 0, t - 1] + rng.normal(size=count)
    data = ensemble(values)
    table = compare(data, data.isel(scenario=slice(0, 50)).assign(probability=("scenario", np.full(50, 0.02))))
    assert figure(table, "load", "autocorrelation, lag 1") == pytest.approx(phi, abs=0.01)
    assert figure(table, "load", "autocorrelation, lag 5") == pytest.approx(phi**5, abs=0.02)


@settings(max_examples=20)
@given(st.integers(2, 10), st.integers(0, 1000))
def test_probability_counts_as_copies_would(count: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    copies = rng.integers(1, 5, count)
    data = ensemble(rng.normal(size=(count, 2, 3)), copies / copies.sum())
    repeated = data.isel(scenario=np.repeat(np.arange(count), copies))
    repeated = repeated.assign_coords(scenario=np.arange(copies.sum()))
    repeated = repeated.assign(probability=("scenario", np.full(copies.sum(), 1 / copies.sum())))
    table = compare(data, repeated)
    assert table["difference"].abs().max() == pytest.approx(0, abs=1e-9)


def test_own_functionals_and_classes() -> None:
    data = random_ensemble(12, 2).assign_coords(event_class=("scenario", ["x"] * 5 + ["y"] * 7))
    small = dro.reduce_scenarios(data, 4, classes="event_class").data
    table = compare(
        data, small, functionals={"energy": lambda own: own["load"].sum(["node", "time"])}, classes="event_class"
    )
    energy = data["load"].sum(["node", "time"])
    assert figure(table, "energy", "mean") == pytest.approx(float((energy * data["probability"]).sum()))
    assert figure(table, "event_class", "share of x", "difference") == pytest.approx(0, abs=1e-15)
    with pytest.raises(InputError, match=r"functionals\['bad'\]: must give an array over \(scenario\)"):
        compare(data, small, functionals={"bad": lambda own: own["load"].sum("time")})
    with pytest.raises(InputError, match="is not finite at scenario="):
        compare(data, small, functionals={"bad": lambda own: own["probability"] / 0})
