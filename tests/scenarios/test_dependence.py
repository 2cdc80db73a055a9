"""Copulas against their closed forms, tail dependence against counting, block bootstrap against the record."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from scipy.stats import kendalltau, multivariate_t, norm, t

from drofcm.core.errors import InputError
from drofcm.scenarios.dependence import block_bootstrap, fit_copula, tail_dependence, tail_report


def observed(values: np.ndarray, names: tuple[str, ...] = ("load", "wind", "sun"), **attrs: str) -> xr.DataArray:
    coords = {"variable": list(names)[: values.shape[1]]}
    return xr.DataArray(values, dims=("observation", "variable"), coords=coords, attrs=attrs)


@pytest.fixture(scope="module")
def gaussian() -> xr.DataArray:
    """Margins far from normal, correlation of the normal scores 0.7, -0.4 and 0."""
    rng = np.random.default_rng(1)
    covariance = np.array([[1, 0.7, 0.0], [0.7, 1, -0.4], [0.0, -0.4, 1]])
    scores = rng.multivariate_normal(np.zeros(3), covariance, size=1500)
    return observed(np.stack([np.exp(scores[:, 0]), scores[:, 1] ** 3, norm.cdf(scores[:, 2])], axis=1), units="MW")


@pytest.fixture(scope="module")
def heavy() -> xr.DataArray:
    """A t copula with 2 degrees of freedom: extremes come together."""
    sample = multivariate_t([0, 0], [[1, 0.6], [0.6, 1]], df=2).rvs(3000, random_state=np.random.default_rng(2))
    return observed(sample)


def test_a_gaussian_copula_comes_back(gaussian: xr.DataArray) -> None:
    copula = fit_copula(gaussian, "gaussian")
    assert copula.correlation[0, 1] == pytest.approx(0.7, abs=0.05)
    assert copula.correlation[1, 2] == pytest.approx(-0.4, abs=0.06)
    sample = copula.sample(4000, seed=3)
    assert sample.attrs["units"] == "MW"
    for one, other, rho in ((0, 1, 0.7), (1, 2, -0.4), (0, 2, 0.0)):
        # Kendall's tau of a Gaussian copula is 2 / pi arcsin(rho)
        tau = kendalltau(sample[:, one], sample[:, other]).statistic
        assert tau == pytest.approx(2 / np.pi * np.arcsin(rho), abs=0.04)


@pytest.mark.parametrize("kind", ["gaussian", "vine"])
def test_margins_are_those_of_the_data(gaussian: xr.DataArray, kind: str) -> None:
    sample = fit_copula(gaussian, kind).sample(2000, seed=3)  # type: ignore[arg-type]
    for name in gaussian["variable"].values:
        mine, theirs = gaussian.sel(variable=name).values, sample.sel(variable=name).values
        assert theirs.min() >= mine.min()
        assert theirs.max() <= mine.max()
        for level in (0.1, 0.5, 0.9):
            # four standard deviations of a share of 2000
            sampled = (theirs <= np.quantile(mine, level)).mean()
            assert sampled == pytest.approx(level, abs=4 * np.sqrt(level * (1 - level) / 2000))


def test_a_vine_has_the_tails_that_a_gaussian_copula_lacks(heavy: xr.DataArray) -> None:
    report = {kind: tail_report(heavy, fit_copula(heavy, kind), seed=1, level=0.02) for kind in ("gaussian", "vine")}
    # coefficient of tail dependence of a t copula, Demarta and McNeil 2005: 2 t_{nu+1}(-sqrt((nu+1)(1-rho)/(1+rho)))
    exact = 2 * t(3).cdf(-np.sqrt(3 * 0.4 / 1.6))
    for side in ("lower", "upper"):
        tails = {kind: table.sel(tail=side, variable="load", other="wind") for kind, table in report.items()}
        assert float(tails["vine"]["copula"]) == pytest.approx(exact, abs=0.09)
        assert float(tails["vine"]["data"]) == pytest.approx(exact, abs=0.15)
        assert float(tails["gaussian"]["copula"]) < exact - 0.1


@pytest.mark.parametrize("kind", ["gaussian", "vine"])
def test_a_scenario_does_not_depend_on_the_others(gaussian: xr.DataArray, kind: str) -> None:
    copula = fit_copula(gaussian, kind)  # type: ignore[arg-type]
    together = copula.sample(20, seed=7)
    parts = xr.concat([copula.sample(7, seed=7), copula.sample(13, seed=7, first=7)], "scenario")
    assert np.array_equal(together, parts)
    assert not np.array_equal(copula.sample(20, seed=8), together)
    assert not np.array_equal(copula.sample(20, seed=7, purpose="other"), together)


def test_tail_dependence_is_a_count() -> None:
    values = np.column_stack([np.arange(100), np.arange(100), np.arange(100)[::-1]]).astype(float)
    table = tail_dependence(observed(values), 0.1)
    assert table.sel(variable="load", other="wind").values == pytest.approx([1, 1])
    assert table.sel(variable="load", other="sun").values == pytest.approx([0, 0])
    rng = np.random.default_rng(4)
    apart = tail_dependence(observed(rng.random((20_000, 2))), 0.1)
    assert apart.sel(variable="load", other="wind").values == pytest.approx([0.1, 0.1], abs=0.02)


def test_a_constant_is_named() -> None:
    values = np.random.default_rng(1).random((100, 3))
    values[:, 1] = 4.0
    values[:80, 2] = 0.0
    with pytest.raises(InputError) as caught:
        fit_copula(observed(values))
    found = [str(finding) for finding in caught.value.findings]
    assert found == [
        "data[variable='wind']: is constant at 4: nothing depends on it (leave it out, and set it in every scenario)",
        "data[variable='sun']: is 0 in 80 of 100 observations: ranks say little (model how often it takes that value "
        "apart from how large it is)",
    ]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda data: data[:20], "has 20 observations, 30 are needed"),
        (lambda data: data[:, :1], "has one variable"),
        (lambda data: data.where(data["variable"] != "wind"), "NaN at observation=0, variable=wind"),
        (lambda data: data.rename(variable="what"), "must be over (observation, variable)"),
        (lambda data: data.assign_coords(variable=["a", "a", "b"]), "labels are missing or given twice"),
        (lambda data: data.values, "must be a labelled array"),
        (
            lambda data: xr.concat([data, np.exp(data[:, :1]).assign_coords(variable=["again"])], "variable"),
            "'load' and 'again' are functions of each other",
        ),
    ],
)
def test_bad_observations_are_refused(gaussian: xr.DataArray, change, message: str) -> None:
    plain = gaussian.assign_coords(observation=np.arange(gaussian.sizes["observation"]))
    with pytest.raises(InputError) as caught:
        fit_copula(change(plain))
    assert message in str(caught.value)


def test_bad_arguments_are_refused(gaussian: xr.DataArray) -> None:
    with pytest.raises(InputError, match=r"unknown kind of copula 'gausian' \(did you mean 'gaussian'\?\)"):
        fit_copula(gaussian, "gausian")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="scenarios: must be a whole number of at least 1, got 0"):
        fit_copula(gaussian, "gaussian").sample(0, seed=1)
    with pytest.raises(InputError, match="holds fewer than 5"):
        tail_dependence(gaussian[:40], 0.05)


def record(steps: int = 2000) -> xr.DataArray:
    """A first-order process of memory 0.8, and another that follows it."""
    rng = np.random.default_rng(5)
    path = np.zeros(steps)
    for step in range(1, steps):
        path[step] = 0.8 * path[step - 1] + rng.standard_normal()
    follower = 0.9 * path + 0.3 * rng.standard_normal(steps)
    coords = {"variable": ["a", "b"]}
    return xr.DataArray(np.column_stack([path, follower]), dims=("time", "variable"), coords=coords)


def test_blocks_keep_what_neighbours_have_in_common() -> None:
    paths = block_bootstrap(record(), 60, seed=2, steps=400)
    assert paths.sizes == {"scenario": 60, "time": 400, "variable": 2}
    flat = paths.transpose("scenario", "time", "variable").values
    memory = np.mean([np.corrcoef(path[1:, 0], path[:-1, 0])[0, 1] for path in flat])
    assert memory == pytest.approx(0.8, abs=0.08)
    assert np.mean([np.corrcoef(path.T)[0, 1] for path in flat]) == pytest.approx(
        np.corrcoef(record().values.T)[0, 1], abs=0.02
    )
    single = block_bootstrap(record(), 60, seed=2, steps=400, block=1).values
    assert abs(np.mean([np.corrcoef(path[1:, 0], path[:-1, 0])[0, 1] for path in single])) < 0.05
    known = set(record().values[:, 0])
    assert set(flat[..., 0].ravel()) <= known


def test_paths_do_not_depend_on_how_many_there_are() -> None:
    many, few = (block_bootstrap(record(300), count, seed=4, block=10) for count in (9, 3))
    assert np.array_equal(many[:3], few)
    assert not np.array_equal(many[0], many[1])


def test_bad_records_are_found_together() -> None:
    bad = record(20).copy()
    bad[:, 1] = 1.0
    with pytest.raises(InputError) as caught:
        block_bootstrap(bad, 0, seed=1, steps=30, block=99)
    assert len(caught.value.findings) == 5
    assert "residuals[variable='b']: is constant" in str(caught.value)
