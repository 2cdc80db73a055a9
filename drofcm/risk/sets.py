"""Ambiguity sets as values: their parameters, and what is refused when one is built."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Final, get_args

import numpy as np
import numpy.typing as npt
import xarray as xr

from drofcm.core.dims import SCENARIO
from drofcm.core.errors import shorten
from drofcm.risk.distance import Norm, Scale
from drofcm.risk.moments import Band, MomentConditions

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
    "members",
]

REFERENCE: Final = "reference"
"""Dimension of the scenarios that mass is moved from."""


class AmbiguitySet:
    """Base of the ambiguity sets; ``one & other`` is their intersection."""

    def __and__(self, other: AmbiguitySet) -> AmbiguitySet:
        if not isinstance(other, AmbiguitySet):
            return NotImplemented
        return Intersection((*members(self), *members(other)))

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return all(_same(getattr(self, name), getattr(other, name)) for name in _field_names(self))

    def __hash__(self) -> int:
        return hash((type(self).__name__, getattr(self, "radius", None)))


@dataclass(frozen=True, eq=False)
class Nominal(AmbiguitySet):
    """The stated probabilities and no other."""

    def __str__(self) -> str:
        return "nominal"


@dataclass(frozen=True, eq=False)
class Wasserstein(AmbiguitySet):
    """Every distribution that moving probability between scenarios makes out of the nominal one, at limited cost.

    The support is explicit: mass stays on the scenarios of the data, among them those of probability zero, so that
    an event nobody has seen can be listed and receive mass. (With a continuous, unbounded support and uncertain
    right-hand sides the worst case is the sample's value plus a constant, which moves no decision: Mohajerin Esfahani
    and Kuhn 2018, theorem 6.3.)

    Parameters
    ----------
    radius
        Largest distance (sum over moves of probability x distance^order)^(1/order) from the nominal distribution, at
        least 0, in the units of the distance; 0 is `Nominal`.
    over
        Variables whose entries distance is measured by, separated by spaces or in a sequence. May be left out where
        only one variable is uncertain.
    norm
        1, 2 or "inf".
    order
        Order of the distance, at least 1.
    support
        Labels of the scenarios that may receive mass; all if left out. What is not moved stays where it is.
    scale, weight
        How variables are brought to a common scale; see `drofcm.risk.distance.features`.
    distance
        Distances in place of ``over``, ``norm``, ``scale`` and ``weight``: (reference, scenario), from every scenario
        that has probability to every scenario, at least 0, and 0 from a scenario to itself.

    Raises
    ------
    ValueError
        If a parameter is outside its legal range.

    References
    ----------
    Mohajerin Esfahani, P. and Kuhn, D. (2018). Data-driven distributionally robust optimization using the Wasserstein
    metric. Mathematical Programming 171.
    """

    radius: float
    over: str | Sequence[str] | None = None
    norm: Norm = 1
    order: float = 1.0
    support: Sequence[Any] | None = None
    scale: Scale = "variable"
    weight: Mapping[str, float | xr.DataArray] | None = None
    distance: xr.DataArray | None = None

    def __post_init__(self) -> None:
        _check_radius(self)
        if self.norm not in get_args(Norm):
            raise ValueError(f"Wasserstein: norm must be 1, 2 or 'inf', got {self.norm!r}")
        if not (_is_number(self.order) and 1 <= self.order < math.inf):
            raise ValueError(f"Wasserstein: order must be finite and at least 1, got {self.order!r}")
        if self.scale not in get_args(Scale):
            raise ValueError(f"Wasserstein: scale must be one of {', '.join(get_args(Scale))}, got {self.scale!r}")
        if self.support is not None and (isinstance(self.support, str) or not len(self.support)):
            raise ValueError(f"Wasserstein: support must list at least one scenario, got {self.support!r}")
        if self.distance is not None:
            _check_distance(self.distance)

    def __str__(self) -> str:
        if self.over is None:
            over = "" if self.distance is None else ", given distances"
        else:
            over = f" over {self.over if isinstance(self.over, str) else ' '.join(self.over)}"
        return f"Wasserstein({self.radius:g}{over}, norm {self.norm}, order {self.order:g})"


@dataclass(frozen=True, eq=False)
class TotalVariation(AmbiguitySet):
    """Every distribution within a total-variation distance (half the 1-norm) of the nominal one.

    Scenarios of probability zero can receive mass.

    Parameters
    ----------
    radius
        In [0, 1]: the probability that may be moved; 0 is `Nominal`, 1 the worst scenario.

    Raises
    ------
    ValueError
        If ``radius`` is not in [0, 1].
    """

    radius: float

    def __post_init__(self) -> None:
        if not (_is_number(self.radius) and 0 <= self.radius <= 1):
            raise ValueError(f"TotalVariation: radius must lie in [0, 1], got {self.radius!r}")

    def __str__(self) -> str:
        return f"total variation({self.radius:g})"


@dataclass(frozen=True, eq=False)
class Moments(AmbiguitySet):
    """Every distribution on the scenarios whose moments lie within bands.

    A feature is an entry of a variable in ``over``. Second moments are taken about the nominal mean, which keeps them
    linear in the probabilities (Delage and Ye 2010); where the mean may move, they bound variance plus squared shift.

    Parameters
    ----------
    over
        Variables whose entries are the features, separated by spaces or in a sequence.
    mean
        A number d >= 0: every mean stays within d nominal standard deviations of the nominal one. Or a mapping from
        variable to (lower, upper), numbers or arrays over its entries, in its own unit. None: means are free.
    variance
        (low, high): every second moment about the nominal mean stays between low and high times the nominal variance;
        0 <= low <= 1 <= high. None: free.
    covariance
        From pairs of variables of equal dimensions, entry by entry, to the half-width of the band of their
        covariance, as a share (>= 0) of the product of their nominal standard deviations. None: free.
    conditions
        What `bind` fills in.

    Raises
    ------
    ValueError
        If a parameter is outside its legal range, or nothing is bounded.

    References
    ----------
    Delage, E. and Ye, Y. (2010). Distributionally robust optimization under moment uncertainty with application to
    data-driven problems. Operations Research 58.
    """

    over: str | Sequence[str]
    mean: float | Mapping[str, tuple[Band, Band]] | None = None
    variance: tuple[float, float] | None = None
    covariance: Mapping[tuple[str, str], float] | None = None
    conditions: MomentConditions | None = None

    def __post_init__(self) -> None:
        if self.mean is None and self.variance is None and not self.covariance:
            raise ValueError("Moments: at least one of mean, variance and covariance must be given, got none")
        if _is_number(self.mean) and not 0 <= self.mean < math.inf:  # type: ignore[operator]
            raise ValueError(f"Moments: mean must be finite and at least 0, got {self.mean!r}")
        if self.variance is not None:
            low, high = self.variance
            if not 0 <= low <= 1 <= high:
                raise ValueError(
                    "Moments: variance must be (low, high) with 0 <= low <= 1 <= high, so that the nominal "
                    f"distribution lies within, got {self.variance!r}"
                )
        for pair, width in (self.covariance or {}).items():
            if not (isinstance(pair, tuple) and len(pair) == 2 and pair[0] != pair[1]):
                raise ValueError(f"Moments: covariance is keyed by pairs of different variables, got {pair!r}")
            if not 0 <= width < math.inf:
                raise ValueError(f"Moments: covariance[{pair!r}] must be finite and at least 0, got {width!r}")

    def __str__(self) -> str:
        bands = []
        if self.mean is not None:
            bands.append(f"mean within {self.mean:g} sd" if _is_number(self.mean) else "means in bands")
        if self.variance is not None:
            bands.append(f"variance x {self.variance[0]:g} to {self.variance[1]:g}")
        if self.covariance:
            bands.append(f"{len(self.covariance)} covariances")
        over = self.over if isinstance(self.over, str) else " ".join(self.over)
        return f"moments of {over}({', '.join(bands)})"


@dataclass(frozen=True, eq=False)
class ProbabilityBox(AmbiguitySet):
    """Every distribution with the probability of each scenario in an interval.

    Parameters
    ----------
    lower, upper
        Bounds in [0, 1], a number for all scenarios or an array (scenario); lower <= upper, and the bounds leave room
        for a sum of 1. The nominal distribution need not lie within.

    Raises
    ------
    ValueError
        If a bound is outside its legal range; the scenarios are named.
    """

    lower: float | xr.DataArray = 0.0
    upper: float | xr.DataArray = 1.0

    def __post_init__(self) -> None:
        for name in ("lower", "upper"):
            array = xr.DataArray(getattr(self, name))
            if array.dims not in ((), (SCENARIO,)):
                raise ValueError(f"ProbabilityBox: {name} must be a number or over {SCENARIO!r}, is over {array.dims}")
            legal = (array >= 0) & (array <= 1)
            if not bool(legal.all()):
                raise ValueError(f"ProbabilityBox: {name} must lie in [0, 1], got {_listed(array, ~legal)}")
            if array.dims and (SCENARIO not in array.indexes or not array.indexes[SCENARIO].is_unique):
                raise ValueError(f"ProbabilityBox: {name} must have unique labels of {SCENARIO!r}")
        low, high = xr.DataArray(self.lower), xr.DataArray(self.upper)
        if low.dims and high.dims and set(low.indexes[SCENARIO]) != set(high.indexes[SCENARIO]):
            raise ValueError("ProbabilityBox: lower and upper must have the same scenarios")
        crossed = low > high
        if bool(crossed.any()):
            raise ValueError(
                f"ProbabilityBox: lower must be at most upper, got {_listed(low.broadcast_like(crossed), crossed)}"
            )
        for name, array, wrong in (
            ("lower", low, float(low.sum()) > 1 + 1e-9),
            ("upper", high, bool(high.dims) and float(high.sum()) < 1 - 1e-9),
        ):
            if wrong:
                side = "at most" if name == "lower" else "at least"
                raise ValueError(
                    f"ProbabilityBox: {name} must sum to {side} 1 for a distribution to lie within, got "
                    f"{float(array.sum()):.6g}"
                )

    def __str__(self) -> str:
        return "probabilities in intervals"


@dataclass(frozen=True, eq=False)
class ModifiedChiSquared(AmbiguitySet):
    """Every distribution within a Euclidean distance of the nominal one, on the scenarios of positive probability.

    For S equally likely scenarios this is the ball of the modified chi-squared divergence
    sum (p' - p)^2 / p <= S radius^2.

    Parameters
    ----------
    radius
        Largest value of sqrt(sum (p' - p)^2), at least 0; 0 is `Nominal`. From sqrt((S - 1) / S) on, with equal
        probabilities, it is the worst scenario.

    Raises
    ------
    ValueError
        If ``radius`` is negative or not finite.

    References
    ----------
    Philpott, A., de Matos, V. and Kapelevich, L. (2018). Distributionally robust SDDP. Computational Management
    Science 15.
    """

    radius: float

    def __post_init__(self) -> None:
        _check_radius(self)

    def __str__(self) -> str:
        return f"modified chi-squared({self.radius:g})"


@dataclass(frozen=True, eq=False)
class KullbackLeibler(AmbiguitySet):
    """Every distribution whose relative entropy sum p' log(p' / p) to the nominal one is limited.

    Parameters
    ----------
    radius
        Largest relative entropy, nats, at least 0; 0 is `Nominal`. From -log(p) of the worst scenario on it is that
        scenario.

    Raises
    ------
    ValueError
        If ``radius`` is negative or not finite.

    References
    ----------
    Hu, Z. and Hong, L. J. (2013). Kullback-Leibler divergence constrained distributionally robust optimization.
    """

    radius: float

    def __post_init__(self) -> None:
        _check_radius(self)

    def __str__(self) -> str:
        return f"Kullback-Leibler({self.radius:g})"


@dataclass(frozen=True, eq=False)
class Intersection(AmbiguitySet):
    """The distributions that lie in all of several polyhedral sets; written ``one & other``.

    Parameters
    ----------
    sets
        Two or more sets, none of them a divergence ball.

    Raises
    ------
    ValueError
        If a set is a divergence ball: what it shares with others has no finite description.
    """

    sets: tuple[AmbiguitySet, ...]

    def __post_init__(self) -> None:
        if len(self.sets) < 2:
            raise ValueError(f"Intersection: sets must hold at least two, got {len(self.sets)}")
        for own in self.sets:
            if isinstance(own, ModifiedChiSquared | KullbackLeibler):
                raise ValueError(
                    f"Intersection: sets must be polyhedral (Wasserstein, TotalVariation, Moments, ProbabilityBox), "
                    f"got {own}"
                )

    def __str__(self) -> str:
        return " & ".join(map(str, self.sets))


def members(ambiguity: AmbiguitySet) -> tuple[AmbiguitySet, ...]:
    """The sets of an intersection, or the set itself."""
    return ambiguity.sets if isinstance(ambiguity, Intersection) else (ambiguity,)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)


def _check_radius(ambiguity: Any) -> None:
    if not (_is_number(ambiguity.radius) and 0 <= ambiguity.radius < math.inf):
        raise ValueError(f"{type(ambiguity).__name__}: radius must be finite and at least 0, got {ambiguity.radius!r}")


def _check_distance(distance: xr.DataArray) -> None:
    if set(distance.dims) != {REFERENCE, SCENARIO}:
        raise ValueError(
            f"Wasserstein: distance must have the dimensions {REFERENCE!r} and {SCENARIO!r}, has {distance.dims}"
        )
    for dim in (REFERENCE, SCENARIO):
        if dim not in distance.indexes or not distance.indexes[dim].is_unique:
            raise ValueError(f"Wasserstein: distance must have unique labels of {dim!r}")
    stray = [label for label in distance.indexes[REFERENCE] if label not in distance.indexes[SCENARIO]]
    if stray:
        raise ValueError(f"Wasserstein: distance has references that are no scenario: {shorten(stray)}")
    values = distance.transpose(REFERENCE, SCENARIO).values
    if not (values >= 0).all():  # also refuses NaN
        row, column = np.argwhere(~(values >= 0))[0]
        pair = f"{distance.indexes[REFERENCE][row]} to {distance.indexes[SCENARIO][column]}"
        raise ValueError(f"Wasserstein: distance must be at least 0, got {values[row, column]} from {pair}")
    own: npt.NDArray[np.int64] = distance.indexes[SCENARIO].get_indexer(distance.indexes[REFERENCE])
    diagonal = values[np.arange(len(own)), own]
    if diagonal.any():
        label = distance.indexes[REFERENCE][int(np.flatnonzero(diagonal)[0])]
        raise ValueError(
            f"Wasserstein: distance from a scenario to itself must be 0, got {diagonal.max():g} at {label}"
        )


def _listed(array: xr.DataArray, where: xr.DataArray) -> str:
    if not array.dims:
        return str(float(array))
    labels = array[SCENARIO].values[where.values]
    return f"{array.values[where.values][:5].tolist()} at scenario {labels[:5].tolist()}"


def _field_names(ambiguity: Any) -> list[str]:
    return [field.name for field in fields(ambiguity)]


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, xr.DataArray) or isinstance(other, xr.DataArray):
        return isinstance(one, xr.DataArray) and isinstance(other, xr.DataArray) and one.identical(other)
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(_same(one[key], other[key]) for key in one)
    return bool(one == other)
