"""Parts of the first stage, one for every choice of its binaries that may still hold a better plan.

Fixing the binaries (which hubs are open) makes a master much easier: what belongs to a closed hub vanishes, in the
scenarios that are kept whole as well. The master's cuts alone rule most choices out; the few that are left are
searched one by one, and the least of their bounds is a bound of the program.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from drofcm.blocks.form import FirstStage
from drofcm.solve.master import Columns, Master

__all__ = ["Region", "binaries", "split"]

Vector = npt.NDArray[np.float64]

_MOST_BINARIES = 24
_MOST_NODES = 2000


@dataclass
class Region:
    """One choice of the binaries.

    Attributes
    ----------
    values
        Of the binaries.
    bound
        No plan of the region costs less.
    rounds
        How often it was searched.
    """

    values: Vector
    bound: float
    rounds: int = 0


def binaries(first_stage: FirstStage) -> Columns:
    """Columns of the first stage that are zero or one and not fixed."""
    zero_or_one = (first_stage.lower == 0) & (first_stage.upper == 1)
    return np.flatnonzero(first_stage.integer & zero_or_one).astype(np.int64)


def split(master: Master, columns: Columns, target: float) -> tuple[list[Region], float] | None:
    """All choices that the master's relaxation does not rule out.

    Parameters
    ----------
    master
        The master with its cuts.
    columns
        The binaries.
    target
        Regions whose bound is at least this are ruled out.

    Returns
    -------
    The regions, and the least bound among those that were ruled out; None if there are no binaries, or too many.
    """
    if not 0 < len(columns) <= _MOST_BINARIES:
        return None
    regions: list[Region] = []
    ruled_out = np.inf
    stack: list[tuple[float, ...]] = [()]
    nodes = 0
    while stack:
        values = stack.pop()
        nodes += 1
        if nodes > _MOST_NODES:
            return None
        lower, upper = np.zeros(len(columns)), np.ones(len(columns))
        lower[: len(values)] = upper[: len(values)] = values
        bound = master.bound_in(columns, lower, upper)
        if bound >= target:
            ruled_out = min(ruled_out, bound)
        elif len(values) == len(columns):
            regions.append(Region(np.array(values), bound))
        else:
            stack += [(*values, 0.0), (*values, 1.0)]
    return regions, ruled_out
