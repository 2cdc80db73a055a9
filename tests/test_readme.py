"""The example of README.md runs and its plan is the best one."""

from __future__ import annotations

import contextlib
import io
import itertools
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

SURGE = np.array([[2.0, 0.0], [1.0, 3.0], [0.0, 5.0]])
PROBABILITY = np.array([0.5, 0.3, 0.2])


def _example(root: Path) -> dict[str, Any]:
    code = re.search(r"```python\n(.*?)```", (root / "README.md").read_text(), re.DOTALL)
    assert code is not None
    names: dict[str, Any] = {}
    with contextlib.redirect_stdout(io.StringIO()):
        exec(code.group(1), names)
    return names


def _recourse(batteries: int, responses: int, surge: np.ndarray) -> float:
    """Least cost over every way of sending what is staged to the two nodes."""
    ways = itertools.product(range(batteries + 1), range(responses + 1))
    return min(
        100 * (max(surge[0] - b - 0.5 * r, 0) + max(surge[1] - (batteries - b) - 0.5 * (responses - r), 0))
        for b, r in ways
    )


def _cost(batteries: int, responses: int) -> float:
    modules = batteries + responses
    hubs = min(
        (cost for cost, room in ((0, 0), (30, 4), (40, 6), (70, 10)) if room >= modules),
        default=np.inf,
    )
    recourse = np.array([_recourse(batteries, responses, surge) for surge in SURGE])
    # the worst tenth lies within the worst scenario, whose probability is at least 0.2
    return hubs + 8 * batteries + 5 * responses + 0.5 * PROBABILITY @ recourse + 0.5 * recourse.max()


def test_example_is_optimal(root: Path) -> None:
    result = _example(root)["result"]
    best = min(_cost(b, r) for b in range(11) for r in range(11) if b + r <= 10)
    assert result.objective == pytest.approx(best, rel=1e-6)
    assert result.status == "optimal"
