"""Ambiguity sets: which probability distributions over the scenarios nature may choose from.

A set is a value. `Wasserstein` and `Moments` speak of the data of the scenarios, so they are *bound* before they are
used: `bind` returns the same set with the figures of labelled data in it (distances, moment functions). A program
binds the set it is solved with; matrices without labelled data take a set that already holds its figures, such as
``Wasserstein(radius, distance=...)``.

Costs and probabilities come later: `drofcm.risk.weights` and `drofcm.risk.rows` say what a set means.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import xarray as xr

from drofcm.core.dims import SCENARIO
from drofcm.core.errors import Finding, InputError, raise_if_any, shorten
from drofcm.risk.distance import distance_blocks, features
from drofcm.risk.moments import conditions
from drofcm.risk.sets import (
    REFERENCE,
    AmbiguitySet,
    Intersection,
    KullbackLeibler,
    ModifiedChiSquared,
    Moments,
    Nominal,
    ProbabilityBox,
    TotalVariation,
    Wasserstein,
    members,
)

__all__ = [
    "REFERENCE",
    "AmbiguitySet",
    "Intersection",
    "KullbackLeibler",
    "ModifiedChiSquared",
    "Moments",
    "Nominal",
    "ProbabilityBox",
    "TotalVariation",
    "Wasserstein",
    "bind",
    "describe",
    "require_bound",
]

_DOUBLE_PRECISION = 16_000_000
"""Distances that are kept in double precision (128 MB); more of them are kept in single precision."""


def bind(ambiguity: AmbiguitySet, data: xr.Dataset) -> AmbiguitySet:
    """A set with the figures of labelled data in it; a set that needs none, or holds them, is returned as it is.

    Parameters
    ----------
    ambiguity
        Any ambiguity set.
    data
        Labelled data with the dimension ``scenario``, and ``probability`` (scenario); equally likely without it.

    Returns
    -------
    AmbiguitySet
        A `Wasserstein` set with ``distance``, a `Moments` set with ``conditions``, an intersection of such.

    Raises
    ------
    InputError
        If ``over`` is missing although several variables are uncertain, or names something unknown; if a variable is
        not finite or the same in every scenario; if a band of moments excludes the nominal distribution. Variable and
        labels are named.
    """
    probability = _nominal_probability(data)
    if isinstance(ambiguity, Intersection):
        return replace(ambiguity, sets=tuple(bind(own, data) for own in ambiguity.sets))
    if isinstance(ambiguity, Wasserstein) and ambiguity.distance is None:
        return replace(ambiguity, distance=_distances(ambiguity, data, probability))
    if isinstance(ambiguity, Moments) and ambiguity.conditions is None:
        made = conditions(
            data, probability, ambiguity.over, ambiguity.mean, ambiguity.variance, ambiguity.covariance or {}
        )
        return replace(ambiguity, conditions=made)
    return ambiguity


def require_bound(ambiguity: AmbiguitySet) -> None:
    """Refuse a set that still lacks the figures of labelled data.

    Raises
    ------
    InputError
        Naming the set.
    """
    findings = []
    for own in members(ambiguity):
        if isinstance(own, Wasserstein) and own.distance is None:
            fix = "give Wasserstein(radius, distance=...), or bind it to the data first"
            findings.append(Finding(str(own), "has no distances: it is not bound to labelled data", fix))
        if isinstance(own, Moments) and own.conditions is None:
            findings.append(Finding(str(own), "has no features: it is not bound to labelled data", "bind it first"))
    raise_if_any(findings)


def describe(ambiguity: AmbiguitySet, probability: xr.DataArray) -> dict[str, float]:
    """Figures by which the size of a bound set is read.

    Parameters
    ----------
    ambiguity
        A bound set.
    probability
        Nominal probability, (scenario).

    Returns
    -------
    dict
        For the first Wasserstein ball in it ``radius``, ``mean_distance`` (of two independent draws from the nominal
        distribution) and ``radius_share``, their quotient (infinite where all scenarios coincide); for other sets
        with a radius, ``radius``; otherwise nothing.
    """
    require_bound(ambiguity)
    for own in members(ambiguity):
        if isinstance(own, Wasserstein):
            assert own.distance is not None
            origin = own.distance.indexes[REFERENCE]
            odd = own.distance.indexes[SCENARIO].symmetric_difference(probability.indexes[SCENARIO])
            if len(odd):
                what = f"was made for other scenarios than the probabilities: {shorten(odd.tolist())} on one side only"
                raise InputError([Finding(str(own), what, "bind the set to the data of this program")])
            p = probability.sel({SCENARIO: origin}).values
            between = own.distance.sel({SCENARIO: origin}).transpose(REFERENCE, SCENARIO).values
            mean = float(p @ (between @ p))
            share = own.radius / mean if mean > 0 else (0.0 if own.radius == 0 else math.inf)
            return {"radius": float(own.radius), "mean_distance": mean, "radius_share": share}
    radius = getattr(ambiguity, "radius", None)
    return {} if radius is None else {"radius": float(radius)}


def _nominal_probability(data: xr.Dataset) -> xr.DataArray:
    """Nominal probability of labelled data, (scenario); equally likely where none is given."""
    if "probability" in data:
        probability = data["probability"].reset_coords(drop=True)
        if probability.dtype.kind not in "biuf":
            what = f"must be numbers, is of type {probability.dtype}"
            raise InputError([Finding("data['probability']", what, "give numbers that sum to 1")])
        return probability.astype(float)
    count = data.sizes[SCENARIO]
    return xr.DataArray(np.full(count, 1 / count), coords={SCENARIO: data.indexes[SCENARIO]}, dims=SCENARIO)


def _distances(ambiguity: Wasserstein, data: xr.Dataset, probability: xr.DataArray) -> xr.DataArray:
    points = features(data, ambiguity.over, scale=ambiguity.scale, weight=ambiguity.weight)
    origin = np.flatnonzero(probability.values > 0)
    size = len(origin) * len(points)
    values = np.empty((len(origin), len(points)), dtype=float if size <= _DOUBLE_PRECISION else np.float32)
    for rows, block in distance_blocks(points.select(origin), points, norm=ambiguity.norm):
        values[rows] = block
    labels = {REFERENCE: points.scenario[origin].rename(REFERENCE), SCENARIO: points.scenario}
    return xr.DataArray(values, coords=labels, dims=(REFERENCE, SCENARIO))
