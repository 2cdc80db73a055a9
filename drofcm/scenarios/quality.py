"""How well one ensemble stands for another.

Two ensembles are compared by the Kantorovich distance, and by what a planner reads: moments and tails of quantities
per scenario, autocorrelation in time, dependence between places, and shares of classes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr

from drofcm.core.dims import SCENARIO
from drofcm.core.errors import Finding, SolveError, raise_if_any, shorten
from drofcm.core.units import labels_where
from drofcm.risk.ambiguity import Nominal
from drofcm.risk.distance import Features, Norm, Scale, distance_blocks, features
from drofcm.risk.measures import CVaR
from drofcm.risk.weights import value_at_risk, worst_case_weights
from drofcm.scenarios.importance import check_distribution

__all__ = ["compare", "kantorovich"]

Vector = npt.NDArray[np.float64]
Functional: TypeAlias = Callable[[xr.Dataset], xr.DataArray]

_TRANSPORT_STEPS = 10_000_000


def kantorovich(
    reference: xr.Dataset,
    other: xr.Dataset,
    *,
    over: str | Sequence[str] | None = None,
    norm: Norm = 1,
    order: float = 1.0,
    scale: Scale = "variable",
    weight: Mapping[str, float | xr.DataArray] | None = None,
) -> float:
    """The Kantorovich (Wasserstein) distance of two ensembles: what moving one's probability onto the other costs.

    Parameters
    ----------
    reference
        An ensemble with ``scenario`` and ``probability``; distances are scaled by its spread.
    other
        Another one; the variables in ``over`` have the same labels besides ``scenario``.
    over, norm, order, scale, weight
        As in `drofcm.risk.distance.features` and `distance_blocks`.

    Returns
    -------
    float
        The optimum of the transport problem, found exactly, to the power 1 / order.

    Raises
    ------
    InputError
        If the ensembles do not match, or one is no ensemble.
    SolveError
        If the transport problem was not solved to optimality.
    """
    # importing the library takes seconds, which only those should wait for who measure
    import ot

    raise_if_any([*check_distribution(reference, "reference"), *check_distribution(other, "other")])
    one, two = _scaled_alike(reference, other, over, scale, weight)
    cost = np.concatenate([block for _, block in distance_blocks(one, two, norm=norm, order=order)])
    p, q = _probability(reference), _probability(other)
    value, log = ot.emd2(p / p.sum(), q / q.sum(), cost, numItermax=_TRANSPORT_STEPS, log=True)
    if log["warning"] is not None:
        raise SolveError(f"the transport between {len(p)} and {len(q)} scenarios was not solved: {log['warning']}")
    return math.pow(max(float(value), 0.0), 1 / order)


def compare(
    full: xr.Dataset,
    reduced: xr.Dataset,
    *,
    over: str | Sequence[str] | None = None,
    functionals: Mapping[str, Functional] | None = None,
    classes: str | None = None,
    quantiles: Sequence[float] = (0.05, 0.5, 0.95),
    alphas: Sequence[float] = (0.9, 0.95),
    lags: Sequence[int] = (1, 5),
) -> pd.DataFrame:
    """What a reduced ensemble keeps of a full one, figure by figure.

    Parameters
    ----------
    full, reduced
        Ensembles with ``scenario`` and ``probability``; everything but scenarios has the same labels.
    over
        Variables to compare; see `drofcm.risk.distance.features`.
    functionals
        Quantities per scenario by name, each a function from an ensemble to an array over (scenario). Left out they
        are the largest entry of every variable and of its negative, the mean entry, and the largest change from one
        step to the next where it has the dimension ``time``.
    classes
        A variable or coordinate over (scenario) whose shares are compared.
    quantiles, alphas
        Of the functionals: levels of quantiles, and confidence levels of CVaR (means of the largest).
    lags
        Of the autocorrelation, in steps, for variables with the dimension ``time``.

    Returns
    -------
    pandas.DataFrame
        Columns ``quantity``, ``statistic``, ``full``, ``reduced`` and ``difference`` (reduced - full).

    Raises
    ------
    InputError
        If the ensembles do not match, or a functional does not give one finite number per scenario.
    """
    distance = kantorovich(full, reduced, over=over)
    names = list(dict.fromkeys(features(full, over, scale="none").variable.tolist()))
    chosen = functionals if functionals is not None else _usual_functionals(full, names)
    both = (full, reduced)
    rows: list[tuple[str, str, float, float]] = [("all", "Kantorovich distance", 0.0, distance)]
    for quantity, functional in chosen.items():
        sides = [_statistics(_evaluated(quantity, functional, own), own, quantiles, alphas) for own in both]
        rows += [(quantity, name, sides[0][name], sides[1][name]) for name in sides[0]]
    for name in names:
        if "time" in full[name].dims:
            rows += [
                (name, f"autocorrelation, lag {lag}", *(_autocorrelation(own, name, lag) for own in both))
                for lag in lags
                if lag < full.sizes["time"]
            ]
        rows += _dependence_rows(full, reduced, name)
    if classes is not None:
        rows += _class_rows(full, reduced, classes)
    table = pd.DataFrame(rows, columns=["quantity", "statistic", "full", "reduced"])
    return table.assign(difference=table["reduced"] - table["full"])


# ---- two ensembles on one scale -------------------------------------------------------------------------------------


def _probability(data: xr.Dataset) -> Vector:
    return np.asarray(data["probability"].values, dtype=np.float64)


def _check_entries(reference: xr.Dataset, other: xr.Dataset, names: Sequence[str]) -> Iterator[Finding]:
    for name in names:
        if name not in other:
            yield Finding(f"other[{name!r}]", "is missing", "compare what both ensembles hold")
            continue
        one, two = (own[name].isel({SCENARIO: 0}, drop=True) for own in (reference, other))
        if set(one.dims) != set(two.dims):
            yield Finding(f"other[{name!r}]", f"is over {two.dims}, the reference over {one.dims}", "align them first")
            continue
        for dim in map(str, one.dims):
            if one.sizes[dim] != two.sizes[dim] or not one[dim].equals(two[dim]):
                yield Finding(f"other[{name!r}]", f"has other labels of {dim}", "select and order them alike")


def _scaled_alike(
    reference: xr.Dataset,
    other: xr.Dataset,
    over: str | Sequence[str] | None,
    scale: Scale,
    weight: Mapping[str, float | xr.DataArray] | None,
) -> tuple[Features, Features]:
    """Both ensembles as points, on the scale of the reference."""
    one = features(reference, over, scale=scale, weight=weight)
    names = list(dict.fromkeys(one.variable.tolist()))
    raise_if_any(_check_entries(reference, other, names))
    dims = {name: [dim for dim in reference[name].dims if dim != SCENARIO] for name in names}
    alike = other.assign({name: other[name].transpose(SCENARIO, *dims[name]) for name in names})
    two = features(alike, names, scale="none", weight=weight)
    deviation = features(reference, names, scale="none").values.std(axis=0)
    factor = np.ones(len(deviation))
    for name in names:
        own = one.variable == name
        if scale == "variable":
            factor[own] = 1 / math.sqrt(float((deviation[own] ** 2).mean()))
        elif scale == "entry":
            factor[own] = np.divide(1.0, deviation[own], out=np.zeros(own.sum()), where=deviation[own] > 0)
    return one, Features(two.values * factor, two.scenario, two.variable)


# ---- statistics -----------------------------------------------------------------------------------------------------


def _usual_functionals(full: xr.Dataset, names: Sequence[str]) -> dict[str, Functional]:
    chosen: dict[str, Functional] = {}
    for name in names:
        # bound here, because a closure would see the last name only
        chosen[f"{name}, largest"] = lambda own, name=name: own[name].max(_entries(own, name))  # type: ignore[misc]
        # turned round, so that its upper tail is the bad one
        chosen[f"{name}, largest of -{name}"] = lambda own, name=name: (-own[name]).max(_entries(own, name))  # type: ignore[misc]
        chosen[f"{name}, mean"] = lambda own, name=name: own[name].mean(_entries(own, name))  # type: ignore[misc]
        if full[name].sizes.get("time", 0) > 1:
            chosen[f"{name}, largest step"] = lambda own, name=name: abs(own[name].diff("time")).max(  # type: ignore[misc]
                _entries(own, name)
            )
    return chosen


def _entries(data: xr.Dataset, name: str) -> list[str]:
    return [str(dim) for dim in data[name].dims if dim != SCENARIO]


def _evaluated(quantity: str, functional: Functional, data: xr.Dataset) -> xr.DataArray:
    value = functional(data)
    where = f"functionals[{quantity!r}]"
    if value.dims != (SCENARIO,) or not value.indexes[SCENARIO].equals(data.indexes[SCENARIO]):
        raise_if_any([Finding(where, f"must give an array over (scenario), gives {value.dims}", "reduce the others")])
    missing = value.copy(data=~np.isfinite(value.values.astype(float)))
    if bool(missing.any()):
        raise_if_any([Finding(where, f"is not finite at {labels_where(missing)}", "every scenario needs a number")])
    return value.reset_coords(drop=True).astype(float)


def _statistics(
    value: xr.DataArray, data: xr.Dataset, quantiles: Sequence[float], alphas: Sequence[float]
) -> dict[str, float]:
    probability = data["probability"].reset_coords(drop=True).astype(float)
    p, f = probability.values, value.values
    mean = float(p @ f)
    deviation = math.sqrt(float(p @ (f - mean) ** 2))
    rounding = 1e-12 * max(1.0, float(np.abs(f).max()))
    out = {"mean": mean, "standard deviation": deviation}
    out["skewness"] = float(p @ ((f - mean) / deviation) ** 3) if deviation > rounding else 0.0
    out |= {f"quantile {level:g}": value_at_risk(f, p, level) for level in quantiles}
    for alpha in alphas:
        weights = worst_case_weights(CVaR(alpha), Nominal(), value, probability)
        out[f"CVaR {alpha:g}"] = float((weights * value).sum())
    return out


def _autocorrelation(data: xr.Dataset, name: str, lag: int) -> float:
    """Of the deviations from the mean over the scenarios, pooled over all other dimensions; NaN if nothing varies."""
    array = data[name].transpose(..., "time").astype(float)
    p = data["probability"]
    away = array - (p * array).sum(SCENARIO)
    early, late = away.isel(time=slice(None, -lag)), away.isel(time=slice(lag, None))
    early, late = early.drop_vars("time", errors="ignore"), late.drop_vars("time", errors="ignore")
    both = float((p * early * late).sum())
    size = math.sqrt(float((p * early**2).sum()) * float((p * late**2).sum()))
    return both / size if size > 0 else math.nan


def _dependence_rows(full: xr.Dataset, reduced: xr.Dataset, name: str) -> list[tuple[str, str, float, float]]:
    """Rank correlation of the largest deviations from zero, between the labels of each dimension but time."""
    rows = []
    for dim in (dim for dim in _entries(full, name) if dim != "time" and full.sizes[dim] > 1):
        one, two = (_rank_correlation(own, name, dim) for own in (full, reduced))
        above = np.triu_indices(len(one), 1)
        known = np.isfinite(one[above]) & np.isfinite(two[above])
        if not known.any():
            continue
        first, second = one[above][known], two[above][known]
        rows.append((name, f"rank correlation between {dim}s, mean", float(first.mean()), float(second.mean())))
        far = int(np.abs(first - second).argmax())
        pair = shorten([full[dim].values[axis[known][far]] for axis in above])
        rows.append(
            (name, f"rank correlation between {dim}s {pair} (differs most)", float(first[far]), float(second[far]))
        )
    return rows


def _rank_correlation(data: xr.Dataset, name: str, dim: str) -> Vector:
    """Spearman's correlation under the probabilities, (label, label); NaN where a label never varies."""
    others = [own for own in _entries(data, name) if own != dim]
    peak = abs(data[name]).max(others).transpose(SCENARIO, dim).values.astype(float)
    p = _probability(data)
    ranks = np.stack([_weighted_ranks(column, p) for column in peak.T])
    away = ranks - (ranks @ p)[:, None]
    covariance = (away * p) @ away.T
    deviation = np.sqrt(np.diag(covariance))
    size = np.outer(deviation, deviation)
    correlation: Vector = np.divide(covariance, size, out=np.full_like(size, math.nan), where=size > 1e-15)
    return correlation


def _weighted_ranks(values: Vector, probability: Vector) -> Vector:
    """Mid-ranks: the probability of less, and half of that of the same."""
    unique, place = np.unique(values, return_inverse=True)
    mass = np.bincount(place, weights=probability, minlength=len(unique))
    return np.asarray((np.cumsum(mass) - mass / 2)[place])


def _class_rows(full: xr.Dataset, reduced: xr.Dataset, classes: str) -> list[tuple[str, str, float, float]]:
    missing = [where for where, own in (("full", full), ("reduced", reduced)) if classes not in own.variables]
    raise_if_any([Finding(f"classes={classes!r}", f"is not in the {where} ensemble") for where in missing])
    shares = [own["probability"].to_series().groupby(own[classes].values.astype(str)).sum() for own in (full, reduced)]
    names = sorted(set(shares[0].index) | set(shares[1].index))
    before, after = shares
    return [(classes, f"share of {name}", float(before.get(name, 0)), float(after.get(name, 0))) for name in names]
