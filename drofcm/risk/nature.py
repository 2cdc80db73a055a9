"""What nature does with an ambiguity set: the worst distribution for given costs, and the scenarios it can reach."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import numpy.typing as npt
import xarray as xr

from drofcm.risk.ambiguity import (
    AmbiguitySet,
    Intersection,
    KullbackLeibler,
    ModifiedChiSquared,
    Moments,
    Nominal,
    ProbabilityBox,
    TotalVariation,
    Wasserstein,
)
from drofcm.risk.divergence import entropy_ball, euclidean_ball
from drofcm.risk.polytope import box, check_not_empty, maximise, moves, polytope, reachable_by_program
from drofcm.risk.transport import Transport

__all__ = ["Nature", "nature", "reachable"]

Vector = npt.NDArray[np.float64]

Nature = Callable[[Vector], Vector]
"""From values (S) that do not fall where costs rise to the distribution (S) of largest expected value."""


def nature(ambiguity: AmbiguitySet, probability: xr.DataArray, cost: Vector) -> Nature:
    """The best answer of nature to functions of the costs.

    Parameters
    ----------
    ambiguity
        A bound set.
    probability
        Nominal probability, (scenario).
    cost
        (S).

    Raises
    ------
    InputError
        If the set is not bound, holds no distribution, or was made for other scenarios.
    """
    p = probability.values
    match ambiguity:
        case Nominal():
            return lambda value: p
        case Wasserstein():
            return Transport(ambiguity, probability, cost)
        case TotalVariation():
            return partial(_total_variation, p, ambiguity.radius)
        case ProbabilityBox():
            return partial(_within_box, *box(ambiguity, probability))
        case ModifiedChiSquared():
            return lambda value: euclidean_ball(value, p, ambiguity.radius)
        case KullbackLeibler():
            return lambda value: entropy_ball(value, p, ambiguity.radius)
        case Moments() | Intersection():
            return _by_program(ambiguity, probability)
    raise TypeError(f"an ambiguity set is needed (Nominal, Wasserstein, TotalVariation, ...), got {ambiguity!r}")


def reachable(ambiguity: AmbiguitySet, probability: xr.DataArray) -> npt.NDArray[np.bool_]:
    """Which scenarios have probability in some distribution of the set, (S): what the worst case ranges over."""
    p = probability.values
    match ambiguity:
        case Nominal() | ModifiedChiSquared() | KullbackLeibler():
            return p > 0
        case TotalVariation():
            return p > 0 if ambiguity.radius == 0 else np.ones(len(p), dtype=bool)
        case Wasserstein():
            return np.asarray(moves(ambiguity, probability)[2].any(axis=0))
        case Moments() | Intersection() | ProbabilityBox():
            check_not_empty(ambiguity, probability)
            return reachable_by_program(polytope(ambiguity, probability))
    raise TypeError(f"an ambiguity set is needed (Nominal, Wasserstein, TotalVariation, ...), got {ambiguity!r}")


def _by_program(ambiguity: AmbiguitySet, probability: xr.DataArray) -> Nature:
    shape = polytope(ambiguity, probability)

    def answer(value: Vector) -> Vector:
        found = maximise(shape, value)
        if found is None:
            check_not_empty(ambiguity, probability)  # says which sets have nothing in common
            raise AssertionError("an empty polytope was found not to be empty")
        return found

    return answer


def _total_variation(p: Vector, radius: float, value: Vector) -> Vector:
    """Take from the cheapest scenarios up, give to the worst one."""
    order = np.argsort(value, kind="stable")
    worst = int(np.argmax(value))
    before = np.concatenate([[0.0], np.cumsum(p[order])[:-1]])
    taken = np.clip(radius - before, 0, p[order])
    moved = p.copy()
    moved[order] -= taken
    moved[worst] += taken.sum()
    return moved


def _within_box(lower: Vector, upper: Vector, value: Vector) -> Vector:
    """Fill up from the worst scenario down."""
    order = np.argsort(-value, kind="stable")
    room = (upper - lower)[order]
    before = np.concatenate([[0.0], np.cumsum(room)[:-1]])
    filled = lower.copy()
    filled[order] += np.clip(1 - lower.sum() - before, 0, room)
    return filled
