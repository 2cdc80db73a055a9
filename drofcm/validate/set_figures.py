"""What an ambiguity set says of labelled data, computed a second time: distances between scenarios, moment functions.

A set that was bound carries figures that its answer was made with. A certificate must not believe them: here they are
computed again from the data and from what the set declares, by the text of FORMULATION, part B, and compared. Nothing
is taken from `drofcm.risk.distance` or `drofcm.risk.moments`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from drofcm.core.dims import SCENARIO
from drofcm.risk.moments import MomentConditions
from drofcm.risk.sets import REFERENCE, AmbiguitySet, Intersection, Moments, Wasserstein
from drofcm.validate.ledger import Ledger

__all__ = ["from_data"]

Vector = npt.NDArray[np.float64]

_EQUATION = "B"
_CONDITION = "condition"


def from_data(
    ledger: Ledger, ambiguity: AmbiguitySet, data: xr.Dataset, probability: xr.DataArray
) -> AmbiguitySet | None:
    """The set with figures of its own made from the data; figures that it brings must be the same.

    Parameters
    ----------
    ledger
        Takes the comparison.
    ambiguity
        A set, bound or not. Distances that were given in place of ``over`` are data themselves and stay.
    data
        Labelled data.
    probability
        Nominal probability, (scenario), in the order of the data.

    Returns
    -------
    AmbiguitySet or None
        None if the figures cannot be made; the ledger then holds why.
    """
    match ambiguity:
        case Intersection():
            members = [from_data(ledger, own, data, probability) for own in ambiguity.sets]
            known = tuple(own for own in members if own is not None)
            return Intersection(known) if len(known) == len(members) else None
        case Wasserstein():
            return _measured(ledger, ambiguity, data, probability)
        case Moments():
            return _with_moments(ledger, ambiguity, data, probability)
    return ambiguity


# ---- distances ------------------------------------------------------------------------------------------------------


def _measured(
    ledger: Ledger, ambiguity: Wasserstein, data: xr.Dataset, probability: xr.DataArray
) -> AmbiguitySet | None:
    check = f"distances are those of the data: {ambiguity}"
    given = ambiguity.distance
    if given is not None:
        odd = given.indexes[SCENARIO].symmetric_difference(probability.indexes[SCENARIO])
        lacking = probability.indexes[SCENARIO][probability.values > 0].difference(given.indexes[REFERENCE])
        if len(odd) or len(lacking):
            ledger.fail(check, _EQUATION, f"labels: {[*odd, *lacking][:3]}")
            return None
        if ambiguity.over is None:
            return ambiguity
    missing = [name for name in _names(ambiguity.over, data) if name not in data]
    if missing:
        ledger.fail(check, _EQUATION, f"{', '.join(missing)} is not in the data")
        return None
    points = np.concatenate([_coordinates(ambiguity, name, data) for name in _names(ambiguity.over, data)], axis=1)
    origin = np.flatnonzero(probability.values > 0)
    between = np.array([_norm(np.abs(points[place] - points), ambiguity.norm) for place in origin])
    index = probability.indexes[SCENARIO]
    labels = {REFERENCE: index[origin].rename(REFERENCE), SCENARIO: index}
    own = xr.DataArray(between, coords=labels, dims=(REFERENCE, SCENARIO))
    if given is not None:
        # in units of the largest, which the ledger's tolerance is then a share of
        largest = float(own.max()) or 1.0
        theirs = given.sel({REFERENCE: labels[REFERENCE], SCENARIO: index}).transpose(REFERENCE, SCENARIO)
        ledger.equal(check, _EQUATION, theirs / largest, own / largest)
    return replace(ambiguity, distance=own)


def _names(over: Any, data: xr.Dataset) -> list[str]:
    if over is None:
        return [str(name) for name in data.data_vars if SCENARIO in data[name].dims and name != "probability"]
    return over.split() if isinstance(over, str) else [str(name) for name in over]


def _coordinates(ambiguity: Wasserstein, name: str, data: xr.Dataset) -> Vector:
    """Entries of a variable, (scenario, entry), after scaling and weighing."""
    array = data[name].transpose(SCENARIO, ...).astype(float)
    entries = array.values.reshape(array.sizes[SCENARIO], -1)
    spread = np.sqrt(np.mean((entries - entries.mean(axis=0)) ** 2, axis=0))
    if ambiguity.scale == "variable":
        entries = entries / np.sqrt(np.mean(spread**2))
    elif ambiguity.scale == "entry":
        entries = np.where(_steady(entries), 0.0, entries / np.where(spread > 0, spread, 1.0))
    entry = array.isel({SCENARIO: 0}, drop=True)
    weighed: Vector = entries * _over_entries((ambiguity.weight or {}).get(name, 1.0), entry)
    return weighed


def _steady(entries: Vector) -> npt.NDArray[np.bool_]:
    """Entries that change by no more than the rounding of sums and units, (entry)."""
    return np.asarray(entries.max(axis=0) - entries.min(axis=0) <= 1e-12 * np.abs(entries).max(axis=0))


def _norm(differences: Vector, norm: Any) -> Vector:
    if norm == 1:
        return np.asarray(differences.sum(axis=1))
    if norm == 2:
        return np.asarray(np.sqrt((differences**2).sum(axis=1)))
    return np.asarray(differences.max(axis=1))


# ---- moments --------------------------------------------------------------------------------------------------------

Row = tuple[Vector, float, float]


def _with_moments(
    ledger: Ledger, ambiguity: Moments, data: xr.Dataset, probability: xr.DataArray
) -> AmbiguitySet | None:
    check = f"moments are those of the data: {ambiguity}"
    missing = [name for name in _names(ambiguity.over, data) if name not in data]
    if missing:
        ledger.fail(check, _EQUATION, f"{', '.join(missing)} is not in the data")
        return None
    rows = list(_moment_rows(ambiguity, data, probability.values))
    index = probability.indexes[SCENARIO]
    number = np.arange(len(rows))
    function = np.column_stack([values for values, _, _ in rows]) if rows else np.zeros((len(index), 0))
    own = MomentConditions(
        function=xr.DataArray(function, coords={SCENARIO: index, _CONDITION: number}, dims=(SCENARIO, _CONDITION)),
        lower=xr.DataArray([low for _, low, _ in rows], coords={_CONDITION: number}, dims=_CONDITION),
        upper=xr.DataArray([high for _, _, high in rows], coords={_CONDITION: number}, dims=_CONDITION),
    )
    given = ambiguity.conditions
    if given is not None:
        if given.function.sizes[_CONDITION] != len(rows) or set(given.function.indexes[SCENARIO]) != set(index):
            ledger.fail(
                check, _EQUATION, f"{given.function.sizes[_CONDITION]} conditions where {len(rows)} are declared"
            )
        else:
            theirs = given.function.sel({SCENARIO: index}).transpose(SCENARIO, _CONDITION)
            for one, other in (
                (theirs, own.function),
                (given.lower, own.lower),
                (given.upper, own.upper),
            ):
                ledger.equal(check, _EQUATION, one.assign_coords({_CONDITION: number}), other)
    return replace(ambiguity, conditions=own)


def _moment_rows(ambiguity: Moments, data: xr.Dataset, p: Vector) -> Iterator[Row]:
    """Function, lower and upper limit of every condition, a deviation of 1 being one nominal standard deviation."""
    centred: dict[str, Vector] = {}
    for name in _names(ambiguity.over, data):
        array = data[name].transpose(SCENARIO, ...).astype(float)
        entries = array.values.reshape(array.sizes[SCENARIO], -1)
        mean = p @ entries
        centred[name] = np.where(_steady(entries), 0.0, entries - mean)
        deviation = np.sqrt(p @ centred[name] ** 2)
        yield from _mean_rows(ambiguity, name, array, centred[name], mean, deviation)
        if ambiguity.variance is not None:
            for k in np.flatnonzero(deviation > 0).tolist():
                yield (centred[name][:, k] / deviation[k]) ** 2, *ambiguity.variance
    for (first, second), width in (ambiguity.covariance or {}).items():
        one, other = centred[first], centred[second]
        for k in range(one.shape[1]):
            scale = np.sqrt((p @ one[:, k] ** 2) * (p @ other[:, k] ** 2))
            if scale > 0:
                product = one[:, k] * other[:, k] / scale
                yield product, float(p @ product) - width, float(p @ product) + width


def _mean_rows(
    ambiguity: Moments, name: str, array: xr.DataArray, centred: Vector, mean: Vector, deviation: Vector
) -> Iterator[Row]:
    if ambiguity.mean is None or (isinstance(ambiguity.mean, Mapping) and name not in ambiguity.mean):
        return
    if isinstance(ambiguity.mean, Mapping):
        entry = array.isel({SCENARIO: 0}, drop=True)
        sides = [_over_entries(side, entry) for side in ambiguity.mean[name]]
        # a band that touches the nominal mean may miss it by rounding
        lower, upper = np.minimum(sides[0] - mean, 0), np.maximum(sides[1] - mean, 0)
    else:
        lower, upper = -ambiguity.mean * deviation, ambiguity.mean * deviation
    for k in range(centred.shape[1]):
        if np.ptp(centred[:, k]) > 0:
            unit = deviation[k] if deviation[k] > 0 else float(np.abs(centred[:, k]).max())
            yield centred[:, k] / unit, float(lower[k] / unit), float(upper[k] / unit)


def _over_entries(side: Any, entry: xr.DataArray) -> Vector:
    spread = xr.DataArray(side).broadcast_like(entry).transpose(*entry.dims)
    return np.asarray(spread.reindex_like(entry).values, dtype=np.float64).ravel()
