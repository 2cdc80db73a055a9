"""The ambiguity set of a study: from its section ``ambiguity`` to a set bound to the assembled data."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import xarray as xr

from drofcm import config
from drofcm.config import StudyFile
from drofcm.core.errors import InputError
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
    bind,
)

__all__ = ["ambiguity_set", "declared_set"]


def ambiguity_set(study: StudyFile, data: xr.Dataset) -> AmbiguitySet:
    """The set that a study asks for, with distances and moments of its data in it.

    Raises
    ------
    InputError
        If a variable in ``over`` is unknown, certain or the same in every event.
    """
    try:
        return bind(declared_set(study, data), data)
    except InputError as error:
        raise InputError([replace(own, where=f"ambiguity: {own.where}") for own in error.findings]) from None


def declared_set(study: StudyFile, data: xr.Dataset) -> AmbiguitySet:
    """The set that a study asks for, before it knows the events: what solves a program binds it to their data."""
    return _declared(study.ambiguity, data)


def _declared(section: Any, data: xr.Dataset) -> AmbiguitySet:
    match section:
        case config.NominalSet():
            return Nominal()
        case config.WassersteinBall():
            weight = _durations(data, section.over) if section.by_duration else None
            return Wasserstein(section.radius, over=section.over, norm=section.norm, order=section.order, weight=weight)
        case config.TotalVariationBall():
            return TotalVariation(section.radius)
        case config.MomentBands():
            bands = (section.variance_low, section.variance_high)
            variance = None if bands == (None, None) else (bands[0] or 0.0, bands[1] or _UNBOUNDED)
            return Moments(section.over, mean=section.mean_deviations, variance=variance)
        case config.IntervalSet():
            return ProbabilityBox(section.lower, section.upper)
        case config.ChiSquaredBall():
            return ModifiedChiSquared(section.radius)
        case config.EntropyBall():
            return KullbackLeibler(section.radius)
        case config.CommonSet():
            return Intersection(tuple(_declared(own, data) for own in section.sets))
    raise TypeError(f"no ambiguity set: {section!r}")


_UNBOUNDED = 1e9
"""A second moment so many times the nominal one is out of reach of every distribution on the scenarios."""


def _durations(data: xr.Dataset, over: tuple[str, ...]) -> dict[str, xr.DataArray]:
    """Lengths of the steps over their mean, for every variable over time."""
    share = data["step_length"] / data["step_length"].mean()
    return {name: share for name in over if name in data and "time" in data[name].dims}
