"""How a search stands, for those who listen to it."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

__all__ = ["Progress", "Standing"]


class Standing(NamedTuple):
    """How a search stands.

    Attributes
    ----------
    seconds
        Since it began.
    lower, upper
        Bounds; infinite before there are any.
    phase
        Of the decomposition; empty for the extensive form, as are the figures that follow.
    cuts, kept
        Cuts that are known, and scenarios that some master holds whole.
    master_seconds, scenario_seconds
        Spent in masters and waiting for scenarios.
    """

    seconds: float
    lower: float
    upper: float
    phase: str = ""
    cuts: int = 0
    kept: int = 0
    master_seconds: float = 0.0
    scenario_seconds: float = 0.0


Progress = Callable[[Standing], object]
"""Hears of every iteration of the decomposition, and whenever the search of the extensive form reports."""
