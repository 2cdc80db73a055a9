"""Probabilities of ensembles that were drawn from other shares, or another distribution, than they stand for.

Rare events are drawn more often than they happen and given the probability they have (importance sampling). Within
classes that is exact (`reweight_classes`); for any other proposal there are ratios of densities
(`importance_probability`).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

import numpy as np
import xarray as xr

from drofcm.core.dims import SCENARIO
from drofcm.core.errors import Finding, raise_if_any, suggest
from drofcm.core.units import labels_where
from drofcm.risk.weights import check_probability

__all__ = ["check_distribution", "effective_size", "importance_probability", "reweight_classes"]

_ROUNDING = 1e-9


def effective_size(probability: xr.DataArray) -> float:
    """How many equally likely scenarios are worth as much: (sum p)^2 / sum p^2 (Kish)."""
    p = probability.values.astype(float)
    return float(p.sum() ** 2 / (p**2).sum())


def reweight_classes(data: xr.Dataset, shares: Mapping[str, float], classes: str = "event_class") -> xr.Dataset:
    """An ensemble that was drawn with other shares of its classes, with the probabilities that the classes have.

    Within a class scenarios keep their relative probability. So whatever the shares they were drawn with, a mean over
    the ensemble is unbiased: it is the sum over classes of share times mean within the class (stratified sampling).

    Parameters
    ----------
    data
        The ensemble, with ``probability`` (scenario).
    shares
        Probability of each class; they sum to 1.
    classes
        Variable or coordinate over (scenario) that holds the class.

    Returns
    -------
    xarray.Dataset
        The same with ``probability`` replaced; it sums to 1. ``attrs["effective_size"]`` of the probability says how
        many equally likely scenarios are worth as much.

    Raises
    ------
    InputError
        If a class has no members, no probability, no share, or a share of zero; or the shares are no distribution.

    Examples
    --------
    >>> import xarray as xr
    >>> drawn = xr.Dataset(
    ...     {"probability": ("scenario", [0.25] * 4)},
    ...     coords={"scenario": range(4), "event_class": ("scenario", ["fault", "fault", "surge", "surge"])},
    ... )
    >>> reweight_classes(drawn, {"fault": 0.02, "surge": 0.98})["probability"].values.tolist()
    [0.01, 0.01, 0.49, 0.49]
    """
    findings = check_distribution(data, "data")
    if classes not in data.variables or data[classes].dims != (SCENARIO,):
        known = [str(name) for name in data.variables if data[name].dims == (SCENARIO,)]
        findings.append(Finding(f"classes={classes!r}", "is nothing over (scenario)", suggest(classes, known)))
    raise_if_any(findings)
    names = data[classes].values.astype(str)
    before, after = data["probability"].values.astype(float), np.empty(len(names))
    held = set(names.tolist())
    empty = [name for name in sorted(held) if not before[names == name].sum() > 0]
    raise_if_any(
        [
            *_check_shares(held, shares),
            *(
                Finding(f"class {name!r}", "none of its scenarios has a probability", "remove them, or give them some")
                for name in empty
            ),
        ]
    )
    for name in dict.fromkeys(names.tolist()):
        members = names == name
        after[members] = before[members] * (shares[name] / math.fsum(before[members]))
    probability = data["probability"].copy(data=after)
    probability.attrs["effective_size"] = effective_size(probability)
    return data.assign(probability=probability)


def importance_probability(ratio: xr.DataArray) -> xr.DataArray:
    """Probabilities of scenarios that were drawn from another distribution than the one they stand for.

    p_s = ratio_s / sum(ratio): self-normalised importance sampling, because the probabilities of a program must sum to
    one. Its bias falls as 1 / scenarios, its error as 1 / sqrt(effective size) (Owen 2013, Monte Carlo theory, methods
    and examples, chapter 9). The ratios have mean 1 over the distribution that was drawn from; a mean far from it says
    that too few scenarios were drawn, or that a ratio is wrong.

    Parameters
    ----------
    ratio
        Density of the distribution meant over that of the one drawn from, at each scenario, over (scenario).

    Returns
    -------
    xarray.DataArray
        ``probability`` over (scenario), with ``attrs``: ``effective_size``, ``mean_ratio`` and its ``standard_error``.

    Raises
    ------
    InputError
        If a ratio is negative, zero or not finite; or their mean lies more than five standard errors from 1.
    """
    findings = []
    if ratio.dims != (SCENARIO,):
        raise_if_any([Finding("ratio", f"must be over (scenario), is over {ratio.dims}")])
    values = ratio.values.astype(float)
    bad = ~(np.isfinite(values) & (values > 0))
    if bad.any():
        where = labels_where(ratio.copy(data=bad))
        findings.append(Finding("ratio", f"must be finite and above 0, is not at {where}", "remove these scenarios"))
    raise_if_any(findings)
    mean = float(values.mean())
    error = float(values.std(ddof=1) / math.sqrt(len(values))) if len(values) > 1 else math.inf
    if abs(mean - 1) > 5 * error + _ROUNDING:
        what = f"the mean is {mean:.4g} with a standard error of {error:.2g}, it must be 1"
        raise_if_any([Finding("ratio", what, "meant over drawn, both normalised; scenarios as they were drawn")])
    probability = ratio.copy(data=values / values.sum()).rename("probability")
    facts = {"units": "1", "effective_size": effective_size(probability), "mean_ratio": mean, "standard_error": error}
    return probability.assign_attrs(facts)


def check_distribution(data: xr.Dataset, where: str) -> list[Finding]:
    """Findings about the scenarios of an ensemble and their probabilities."""
    if SCENARIO not in data.indexes:
        return [Finding(where, "has no labelled dimension 'scenario'", "assign_coords(scenario=...)")]
    if "probability" not in data or data["probability"].dims != (SCENARIO,):
        fix = "equal weights are 1 / number of scenarios"
        return [Finding(f"{where}['probability']", "is missing or not over (scenario)", fix)]
    try:
        check_probability(data["probability"])
    except ValueError as error:
        return [Finding(f"{where}['probability']", str(error))]
    return []


def _check_shares(names: set[str], shares: Mapping[str, float]) -> Iterator[Finding]:
    for name in sorted(shares.keys() - names):
        yield Finding(f"shares[{name!r}]", "no scenario is of this class", suggest(name, names))
    for name in sorted(names - shares.keys()):
        yield Finding("shares", f"class {name!r} has none", "give one, or remove its scenarios")
    for name, share in shares.items():
        if not (math.isfinite(share) and share > 0):
            yield Finding(f"shares[{name!r}]", f"must be finite and above 0, is {share!r}", "remove its scenarios if 0")
    total = math.fsum(shares.values())
    if not abs(total - 1) <= _ROUNDING:
        yield Finding("shares", f"sum to {total:.9g}, must sum to 1", "divide by the sum if the proportions are right")
