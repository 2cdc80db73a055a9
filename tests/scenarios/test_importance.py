"""Importance sampling against closed forms."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats
import xarray as xr

from drofcm.core.errors import InputError
from drofcm.scenarios.importance import effective_size, importance_probability, reweight_classes

RARE = {"fault": 0.004, "surge": 0.996}


def drawn(rng: np.random.Generator, faults: int, surges: int) -> xr.Dataset:
    """Losses: exponential of mean 50 in faults, of mean 1 in surges."""
    loss = np.concatenate([rng.exponential(50, faults), rng.exponential(1, surges)])
    count = faults + surges
    return xr.Dataset(
        {"loss": ("scenario", loss), "probability": ("scenario", np.full(count, 1 / count), {"units": "1"})},
        coords={
            "scenario": np.arange(count),
            "event_class": ("scenario", np.repeat(["fault", "surge"], [faults, surges])),
        },
    )


def test_shares_of_classes_give_an_unbiased_mean_and_a_better_one() -> None:
    rng = np.random.default_rng(4)
    truth = RARE["fault"] * 50 + RARE["surge"] * 1
    found, plain = [], []
    for _ in range(400):
        data = reweight_classes(drawn(rng, 40, 60), RARE)
        assert float(data["probability"].sum()) == pytest.approx(1, abs=1e-15)
        found.append(float((data["loss"] * data["probability"]).sum()))
        faults = rng.binomial(100, RARE["fault"])
        plain.append(float(drawn(rng, faults, 100 - faults)["loss"].mean()))
    error = np.std(found) / np.sqrt(len(found))
    assert abs(np.mean(found) - truth) < 4 * error
    # as many draws in proportion to the shares are many times worse
    assert np.std(plain) > 3 * np.std(found)


def test_relative_probability_within_a_class_is_kept() -> None:
    data = drawn(np.random.default_rng(1), 3, 2).assign(probability=("scenario", [0.1, 0.2, 0.1, 0.3, 0.3]))
    p = reweight_classes(data, {"fault": 0.02, "surge": 0.98})["probability"]
    assert p.values == pytest.approx([0.005, 0.01, 0.005, 0.49, 0.49])
    assert p.attrs["effective_size"] == pytest.approx(1 / (2 * 0.005**2 + 0.01**2 + 2 * 0.49**2))


def test_ratios_of_densities_find_a_normal_tail() -> None:
    # P(X > 4) for a standard normal, drawn from a normal around 4
    truth = scipy.stats.norm.sf(4)
    found, sizes = [], []
    for seed in range(60):
        x = np.random.default_rng(seed).normal(2.5, 1.5, 4000)
        ratio = scipy.stats.norm.pdf(x) / scipy.stats.norm.pdf(x, 2.5, 1.5)
        p = importance_probability(xr.DataArray(ratio, coords={"scenario": np.arange(4000)}, dims="scenario"))
        assert float(p.sum()) == pytest.approx(1, abs=1e-12)
        found.append(float(p.where(xr.DataArray(x, dims="scenario") > 4, 0).sum()))
        sizes.append(p.attrs["effective_size"])
    assert abs(np.mean(found) - truth) < 4 * np.std(found) / np.sqrt(60)
    assert np.std(found) < 0.15 * truth  # 4,000 plain draws hit once in eight ensembles
    # E[ratio^2] has a closed form, and the effective size follows from it
    s2 = 1.5**2
    second = 1.5 * np.sqrt(1 / (2 - 1 / s2)) * np.exp(2.5**2 / (2 * s2 - 1))
    assert np.mean(sizes) == pytest.approx(4000 / second, rel=0.1)


def test_effective_size() -> None:
    assert effective_size(xr.DataArray([0.25] * 4)) == pytest.approx(4)
    assert effective_size(xr.DataArray([1.0, 0.0])) == pytest.approx(1)
    assert effective_size(xr.DataArray([0.5, 0.25, 0.25])) == pytest.approx(1 / 0.375)


def test_refusals() -> None:
    data = drawn(np.random.default_rng(1), 3, 2)
    with pytest.raises(InputError) as caught:
        reweight_classes(data, {"fault": -0.1, "flood": 0.5})
    for said in ("no scenario is of this class", "class 'surge' has none", "shares['fault']", "sum to 0.4"):
        assert said in str(caught.value)
    with pytest.raises(InputError, match="did you mean 'event_class'"):
        reweight_classes(data, RARE, classes="event_clas")
    with pytest.raises(InputError, match="probability"):
        reweight_classes(data.drop_vars("probability"), RARE)
    ratio = xr.DataArray([1.0, 0.0, np.nan], coords={"scenario": ["a", "b", "c"]}, dims="scenario")
    with pytest.raises(InputError, match="scenario=b; scenario=c"):
        importance_probability(ratio)
    with pytest.raises(InputError, match="the mean is 3"):
        importance_probability(xr.full_like(ratio, 3.0))
