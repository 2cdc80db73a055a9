"""Scenarios drawn one by one, in chunks, here or on a Dask cluster: the same ensemble whichever way.

A draw takes the number of a scenario and nothing else that changes; its random streams are keyed by that number
(`drofcm.core.randomness.stream`). So chunks and workers decide only where and when a scenario is drawn.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final, TypeVar

import numpy as np

from drofcm.core.errors import Finding, raise_if_any
from drofcm.core.limits import MOST_HOURS, MOST_SCENARIOS

__all__ = ["check_count", "check_horizon", "check_size", "draw_all", "whole"]

T = TypeVar("T")

MOST_BYTES: Final = 8 * 2**30
"""Memory that the steps of an ensemble may take."""

_CHUNK = 50


def whole(number: object) -> bool:
    """Whether a value is a whole number; True and False are none."""
    return isinstance(number, int | np.integer) and not isinstance(number, bool)


def check_count(scenarios: object) -> Iterator[Finding]:
    """A number of scenarios that is none, or more than anybody draws."""
    if not isinstance(scenarios, int | np.integer) or isinstance(scenarios, bool) or scenarios < 1:
        yield Finding("scenarios", f"must be a whole number of at least 1, got {scenarios!r}")
    elif scenarios > MOST_SCENARIOS:
        fix = f"at most {MOST_SCENARIOS:,} are drawn"
        yield Finding("scenarios", f"{scenarios:,} scenarios are taken for a slip", fix)


def check_size(scenarios: int, nodes: int, steps: int) -> Iterator[Finding]:
    """An ensemble that no memory holds."""
    size = scenarios * nodes * steps * 3 * 8
    if size > MOST_BYTES:
        what = f"{scenarios:,} scenarios of {nodes} nodes and {steps:,} steps take {size / 2**30:,.0f} GiB"
        yield Finding("scenarios", what, f"at most {MOST_BYTES // 2**30} GiB are drawn: fewer scenarios or steps")


def check_horizon(seconds: int) -> Iterator[Finding]:
    """A horizon that is not drawn second by second."""
    if seconds > MOST_HOURS * 3600:
        what = f"the steps add up to {seconds / 3600:,.0f} h, an event is drawn second by second"
        yield Finding("step_length", what, f"at most {MOST_HOURS:g} h")


def draw_all(draw: Callable[[int], T], scenarios: int, *, client: Any = None, chunk: int | None = None) -> list[T]:
    """What ``draw`` gives for 0, 1, 2, ..., in this order.

    Parameters
    ----------
    draw
        A function of the number of the scenario alone; with a client it must be picklable.
    scenarios
        How many.
    client
        A `dask.distributed.Client`; None draws in this process.
    chunk
        Scenarios per task; 50 if left out.

    Raises
    ------
    InputError
        If ``chunk`` is not a whole number of at least 1.
    """
    if chunk is not None and (not whole(chunk) or chunk < 1):
        raise_if_any([Finding("chunk", f"must be a whole number of at least 1, got {chunk!r}")])
    size = chunk or _CHUNK
    spans = [(first, min(first + size, scenarios)) for first in range(0, scenarios, size)]
    if client is None:
        parts = [_draw(draw, *span) for span in spans]
    else:
        shared = client.scatter(draw, broadcast=True, hash=False)
        parts = client.gather([client.submit(_draw, shared, *span, pure=False) for span in spans])
    return [drawn for part in parts for drawn in part]


def _draw(draw: Callable[[int], T], first: int, beyond: int) -> list[T]:
    return [draw(scenario) for scenario in range(first, beyond)]
