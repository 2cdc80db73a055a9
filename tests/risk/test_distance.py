"""Scenarios as points, and the distances between them."""

from __future__ import annotations

import tracemalloc
from typing import Any

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from drofcm.core.errors import InputError
from drofcm.risk.distance import distance_blocks, features, mean_distance


def data(seed: int = 1, count: int = 6) -> xr.Dataset:
    rng = np.random.default_rng(seed)
    return xr.Dataset(
        {
            "shock": (("scenario", "node", "time"), rng.normal(size=(count, 2, 3))),
            "price": ("scenario", 1000 * rng.normal(size=count)),
            "capacity": ("node", [1.0, 2.0]),
            "probability": ("scenario", np.full(count, 1 / count)),
        },
        coords={"scenario": [f"event {k}" for k in range(count)], "node": [4, 7], "time": [0, 1, 2]},
    )


def whole(points: Any, **options: Any) -> np.ndarray:
    return np.vstack([block for _, block in distance_blocks(points, **options)])


@pytest.mark.parametrize(("norm", "order"), [(1, 1.0), (2, 1.0), ("inf", 1.0), (2, 2.0)])
def test_distances_are_norms_of_differences(norm: Any, order: float) -> None:
    points = features(data(), "shock", scale="none")
    flat = data().shock.values.reshape(6, -1)
    kind = np.inf if norm == "inf" else norm
    expected = [[np.linalg.norm(one - other, kind) ** order for other in flat] for one in flat]
    np.testing.assert_allclose(whole(points, norm=norm, order=order), expected, atol=1e-12)


def test_variables_of_different_units_count_alike() -> None:
    both = features(data(), "shock price")
    for name in ("shock", "price"):
        own = both.values[:, both.variable == name]
        assert (own.std(axis=0) ** 2).mean() == pytest.approx(1)
    larger = data().assign(price=data().price * 1e6)
    np.testing.assert_allclose(whole(features(larger, "shock price")), whole(both))


def test_entries_scaled_one_by_one() -> None:
    constant = data().assign(shock=data().shock.where(data().time > 0, 3.0))
    points = features(constant, "shock", scale="entry")
    deviation = points.values.std(axis=0)
    assert sorted(np.round(deviation, 12)) == [0, 0, 1, 1, 1, 1]


def test_weights_by_entry_and_by_variable() -> None:
    hours = xr.DataArray([0.5, 1.0, 2.0], coords={"time": [0, 1, 2]}, dims="time")
    points = features(data(), ["shock", "price"], scale="none", weight={"shock": hours, "price": 0.0})
    expected = abs(data().shock - data().shock[0]) * hours
    np.testing.assert_allclose(whole(points)[0], expected.sum(["node", "time"]))


@settings(max_examples=30)
@given(st.integers(0, 10_000), st.sampled_from([1, 2, "inf"]))
def test_is_a_metric(seed: int, norm: Any) -> None:
    between = whole(features(data(seed), "shock price"), norm=norm)
    np.testing.assert_allclose(between, between.T)
    assert (np.diag(between) == 0).all()
    assert (between[:, None, :] <= between[:, :, None] + between[None, :, :] + 1e-12).all()


def test_mean_distance_is_that_of_two_draws() -> None:
    given_ = data().assign(probability=("scenario", [0.4, 0.2, 0.2, 0.1, 0.1, 0.0]))
    points = features(given_, "shock")
    p, between = given_.probability.values, whole(points)
    expected = sum(p[i] * p[j] * between[i, j] for i in range(6) for j in range(6))
    assert mean_distance(points, given_.probability) == pytest.approx(expected)


def test_blocks_keep_memory_small() -> None:
    """Distances between 6,000 points are 288 MB; never more than a few blocks of 16 MiB of them exist."""
    rng = np.random.default_rng(0)
    points = features(
        xr.Dataset({"load": (("scenario", "bus"), rng.normal(size=(6000, 2)))}, {"scenario": np.arange(6000)}), "load"
    )
    tracemalloc.start()
    total = sum(block.sum() for _, block in distance_blocks(points))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert total > 0
    assert peak < 64 * 2**20


def test_selected_scenarios_keep_their_labels() -> None:
    points = features(data(), "shock").select(np.array([3, 1]))
    assert list(points.scenario) == ["event 3", "event 1"]
    assert len(points) == 2
    full = whole(features(data(), "shock"))
    np.testing.assert_allclose(
        np.vstack([b for _, b in distance_blocks(points, features(data(), "shock"))]), full[[3, 1]]
    )


@pytest.mark.parametrize(
    ("over", "options", "message"),
    [
        (None, {}, r"over: is left out, but 2 variables are uncertain: price, shock"),
        ("", {}, r"over: names no variable \(choose among price, shock\)"),
        ("shock capacity", {}, r"over='capacity': is no variable with the dimension scenario"),
        ("shok", {}, r"did you mean 'shock'"),
        ("shock", {"weight": {"price": 1.0}}, r"weight\['price'\]: weighs a variable that is not in `over`"),
        ("shock", {"weight": {"shock": -1.0}}, r"weight\['shock'\]: must be finite and at least 0"),
        ("price", {"weight": {"price": xr.DataArray([1.0, 2], dims="node")}}, r"has the dimension node, which price"),
    ],
)
def test_what_cannot_be_measured_is_refused(over: Any, options: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        features(data(), over, **options)


def test_all_findings_at_once() -> None:
    broken = data().assign(shock=data().shock * np.nan, price=xr.zeros_like(data().price))
    with pytest.raises(InputError) as caught:
        features(broken, "shock price")
    assert [finding.where for finding in caught.value.findings] == ["shock", "price"]
    assert "is not finite at scenario ['event 0'" in str(caught.value)
    assert "is the same in every scenario" in str(caught.value)


def test_one_uncertain_variable_needs_no_name() -> None:
    one = data().drop_vars("price")
    np.testing.assert_array_equal(features(one).values, features(one, "shock").values)


def test_an_entry_that_changes_by_rounding_alone_counts_nothing() -> None:
    """Scaled by its own deviation, a rounding of 1e-16 would weigh as much as everything else."""
    own = data()
    noisy = own.shock.values.copy()
    noisy[:, 0, 0] = [0.3, 0.1 + 0.2, 0.3, 0.1 + 0.2, 0.3, 0.3]
    assert np.ptp(noisy[:, 0, 0]) > 0
    exact = noisy.copy()
    exact[:, 0, 0] = 0.3
    there, here = (
        whole(features(own.assign(shock=(own.shock.dims, values)), "shock", scale="entry")) for values in (noisy, exact)
    )
    np.testing.assert_allclose(there, here)


@pytest.mark.parametrize("unit", [1e-100, 1e-9, 1e9, 1e100])
def test_distances_of_scaled_data_do_not_know_their_unit(unit: float) -> None:
    own = data()
    for scale in ("variable", "entry"):
        there = whole(features(own.assign(shock=own.shock * unit), "shock", scale=scale))
        np.testing.assert_allclose(there, whole(features(own, "shock", scale=scale)), rtol=1e-9)


@pytest.mark.parametrize("unit", [1e-200, 1e200])
def test_a_spread_beyond_numbers_is_refused(unit: float) -> None:
    own = data()
    with pytest.raises(InputError, match="has no spread that can be computed"):
        features(own.assign(shock=own.shock * unit), "shock")
