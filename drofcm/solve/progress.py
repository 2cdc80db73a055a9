"""How a search stands, for those who listen to it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

__all__ = ["Progress", "Standing", "ended"]

_NEAR: Final = 1e-3
"""Gap up to which a plan is called optimal: what is left is what solvers are commonly asked for."""


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


def ended(status: str, gap: float) -> str:
    """How a search ended, in words for people: ``optimal`` only where next to nothing is left open."""
    if status == "optimal":
        return status if gap <= _NEAR else "within the gap asked for"
    return status.replace("_", " ")
