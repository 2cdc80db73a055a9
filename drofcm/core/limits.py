"""Sizes beyond which a figure is taken for a slip: a wrong unit, a digit too many, a file that is not meant.

They lie far above whatever this product plans for, and below what would exhaust a machine, overflow, or reach the
solver as infinite.
"""

from __future__ import annotations

from typing import Final

__all__ = ["LARGEST", "LARGEST_ANY", "MOST_CELLS", "MOST_HOURS", "MOST_KV", "MOST_SCENARIOS", "MOST_STEPS"]

LARGEST: Final[dict[str, float]] = {
    "MW": 1e4,
    "Mvar": 1e4,
    # ratings of 99999 stand for none in exports of other programs
    "MVA": 1e5,
    "MWh": 1e6,
    "MW/h": 1e7,
    "h": 1e5,
    "a": 1e3,
    # from pole to pole and back
    "km": 4e4,
    "ohm": 1e6,
    "pu": 2.0,
    "events/a": 1e6,
    "modules": 1e6,
    "hubs": 1e6,
    "slots": 1e6,
}
"""Size that no quantity of a distribution grid and its logistics reaches, by unit."""

LARGEST_ANY: Final = 1e12
"""The same for units that are not listed, money among them."""

MOST_KV: Final = 150.0
"""Line-to-line voltage that no distribution feeder exceeds."""

MOST_SCENARIOS: Final = 1_000_000
MOST_STEPS: Final = 2_000
MOST_HOURS: Final = 168.0
"""Horizon of an event: its loads are drawn second by second, at every data centre."""
MOST_CELLS: Final = 50_000_000
"""Scenarios times steps times nodes: each array over them takes 8 bytes a cell, and a score of them are made."""
