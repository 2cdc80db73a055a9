"""Moments of labelled features as conditions that are linear in the probabilities of the scenarios."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import xarray as xr

from drofcm.core.dims import SCENARIO
from drofcm.core.errors import Finding, raise_if_any, shorten, suggest
from drofcm.risk.distance import named_variables, steady

__all__ = ["Band", "MomentConditions", "conditions"]

Vector = npt.NDArray[np.float64]
Band = float | xr.DataArray

_ROUNDING = 1e-9


@dataclass(frozen=True)
class MomentConditions:
    """lower <= sum over scenarios of p' function <= upper, one condition for each moment.

    Attributes
    ----------
    function
        (scenario, condition); in units in which a deviation of 1 is one nominal standard deviation, or its square.
    lower, upper
        (condition).
    """

    function: xr.DataArray
    lower: xr.DataArray
    upper: xr.DataArray

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, MomentConditions):
            return NotImplemented
        parts = ("function", "lower", "upper")
        return all(getattr(self, name).identical(getattr(other, name)) for name in parts)

    __hash__ = None  # type: ignore[assignment]


@dataclass(frozen=True)
class _Feature:
    """One variable: entries centred at their nominal means, (scenario, entry)."""

    name: str
    entries: tuple[str, ...]
    dims: frozenset[str]
    centred: Vector
    mean: Vector
    deviation: Vector
    template: xr.DataArray


def conditions(
    data: xr.Dataset,
    probability: xr.DataArray,
    over: str | Sequence[str],
    mean: float | Mapping[str, tuple[Band, Band]] | None,
    variance: tuple[float, float] | None,
    covariance: Mapping[tuple[str, str], float],
    *,
    nominal_within: bool = True,
) -> MomentConditions:
    """The conditions of a moment set on labelled data; parameters as `drofcm.Moments`.

    Entries that are the same in every scenario with probability, and in every other, bound nothing and are left out.
    Bands of means in units of the data must hold the nominal mean, unless ``nominal_within`` is False: a part of the
    scenarios may have another mean than the whole, and the bands then are what they are.

    Raises
    ------
    InputError
        If a variable is unknown, not finite, or the same in every scenario; if a band excludes the nominal mean, or
        is given for a variable that is not in ``over``; if a pair of variables has different dimensions.
    """
    weight = probability.values
    findings: list[Finding] = []
    known = {name: _feature(data, name, weight, findings) for name in named_variables(data, over)}
    bands = mean if isinstance(mean, Mapping) else {}
    findings += [
        Finding(f"mean[{name!r}]", "bounds a variable that is not in `over`", suggest(name, known))
        for name in bands
        if name not in known
    ]
    findings += [
        Finding(f"covariance[{pair!r}]", f"names {name!r}, which is not in `over`", suggest(name, known))
        for pair in covariance
        for name in pair
        if name not in known
    ]
    raise_if_any(findings)
    rows: list[tuple[str, Vector, float, float]] = []
    for own in known.values():
        if mean is not None and not isinstance(mean, Mapping):
            rows += _mean_rows(own, -mean * own.deviation, mean * own.deviation)
        elif own.name in bands:
            rows += _absolute_mean_rows(own, bands[own.name], findings, nominal_within)
        if variance is not None:
            rows += [
                (f"variance of {entry}", (own.centred[:, k] / own.deviation[k]) ** 2, *variance)
                for k, entry in enumerate(own.entries)
                if own.deviation[k] > 0
            ]
    for (first, second), width in covariance.items():
        rows += _covariance_rows(known[first], known[second], width, weight, findings)
    raise_if_any(findings)
    labels = {"condition": [name for name, *_ in rows]}
    function = np.column_stack([values for _, values, _, _ in rows]) if rows else np.zeros((len(weight), 0))
    scenario = {SCENARIO: data.indexes[SCENARIO]}
    return MomentConditions(
        function=xr.DataArray(function, coords={**scenario, **labels}, dims=(SCENARIO, "condition")),
        lower=xr.DataArray([low for *_, low, _ in rows], coords=labels, dims="condition"),
        upper=xr.DataArray([high for *_, high in rows], coords=labels, dims="condition"),
    )


def _feature(data: xr.Dataset, name: str, weight: Vector, findings: list[Finding]) -> _Feature:
    array = data[name].transpose(SCENARIO, ...).astype(float)
    values = array.values.reshape(array.sizes[SCENARIO], -1)
    finite = np.isfinite(values).all(axis=1)
    if not finite.all():
        labels = array[SCENARIO].values[~finite]
        findings.append(Finding(name, f"is not finite at scenario {shorten(labels)}", "fill in or remove these"))
        values = np.where(np.isfinite(values), values, 0.0)
    elif steady(values).all():
        findings.append(Finding(name, "is the same in every scenario: it has no moments to bound", "leave it out"))
    mean = weight @ values
    # an entry that changes by rounding alone has no moments of its own
    centred = np.where(steady(values), 0.0, values - mean)
    template = array.isel({SCENARIO: 0}, drop=True)
    return _Feature(
        name=name,
        entries=tuple(_entry_names(name, template)),
        dims=frozenset(map(str, template.dims)),
        centred=centred,
        mean=mean,
        deviation=np.sqrt(weight @ centred**2),
        template=template,
    )


def _entry_names(name: str, template: xr.DataArray) -> Iterator[str]:
    for at in np.ndindex(template.shape):
        labels = [str(template[dim].values[k]) for dim, k in zip(template.dims, at, strict=True)]
        yield f"{name}[{', '.join(labels)}]" if labels else name


def _mean_rows(own: _Feature, lower: Vector, upper: Vector) -> list[tuple[str, Vector, float, float]]:
    """Bands of the shift of the mean, scaled by the standard deviation where there is one."""
    rows = []
    for k, entry in enumerate(own.entries):
        if np.ptp(own.centred[:, k]) == 0:
            continue
        unit = own.deviation[k] if own.deviation[k] > 0 else float(np.abs(own.centred[:, k]).max())
        rows.append((f"mean of {entry}", own.centred[:, k] / unit, lower[k] / unit, upper[k] / unit))
    return rows


def _absolute_mean_rows(
    own: _Feature, band: tuple[Band, Band], findings: list[Finding], nominal_within: bool
) -> list[tuple[str, Vector, float, float]]:
    sides = [_over_entries(own, side, findings) for side in band]
    if not nominal_within:
        return _mean_rows(own, sides[0] - own.mean, sides[1] - own.mean)
    slack = _ROUNDING * np.maximum(1, np.abs(own.mean))
    outside = ~((sides[0] <= own.mean + slack) & (sides[1] >= own.mean - slack))
    findings += [
        Finding(
            f"mean of {own.entries[k]}",
            f"the band [{sides[0][k]:g}, {sides[1][k]:g}] excludes the nominal mean {own.mean[k]:g}",
            "widen the band, or mend the probabilities",
        )
        for k in np.flatnonzero(outside).tolist()
    ]
    return _mean_rows(own, np.minimum(sides[0] - own.mean, 0), np.maximum(sides[1] - own.mean, 0))


def _over_entries(own: _Feature, side: Band, findings: list[Finding]) -> Vector:
    array = side if isinstance(side, xr.DataArray) else xr.DataArray(side)
    stray = set(map(str, array.dims)) - own.dims
    if stray:
        fix = "sum or select them"
        findings.append(Finding(f"mean[{own.name!r}]", f"has dimensions {shorten(sorted(stray))} of its own", fix))
        return own.mean
    spread, _ = xr.broadcast(*xr.align(array, own.template, join="exact"))
    return np.asarray(spread.transpose(*own.template.dims).values, dtype=np.float64).reshape(-1)


def _covariance_rows(
    one: _Feature, other: _Feature, width: float, weight: Vector, findings: list[Finding]
) -> list[tuple[str, Vector, float, float]]:
    if one.dims != other.dims or one.template.shape != other.template.shape:
        findings.append(
            Finding(
                f"covariance of {one.name} and {other.name}",
                f"their dimensions differ: {sorted(one.dims)} and {sorted(other.dims)}",
                "give variables of equal dimensions; covariances are taken entry by entry",
            )
        )
        return []
    rows = []
    for k, (first, second) in enumerate(zip(one.entries, other.entries, strict=True)):
        if one.deviation[k] > 0 and other.deviation[k] > 0:
            product = one.centred[:, k] / one.deviation[k] * other.centred[:, k] / other.deviation[k]
            nominal = float(weight @ product)
            rows.append((f"covariance of {first} and {second}", product, nominal - width, nominal + width))
    return rows
