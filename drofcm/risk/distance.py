"""Distance between scenarios: what a Wasserstein ball, a reduction and a quality report measure by.

A scenario is a point whose coordinates are the entries of chosen variables of the labelled data, brought to a common
scale. Distances are computed in blocks of rows, so that the full matrix never has to exist.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr
from scipy.spatial.distance import cdist

from drofcm.core.dims import SCENARIO
from drofcm.core.errors import Finding, raise_if_any, suggest

__all__ = ["Features", "Norm", "Scale", "distance_blocks", "features", "mean_distance", "named_variables", "steady"]

Norm = Literal[1, 2, "inf"]
Scale = Literal["variable", "entry", "none"]

_METRIC: dict[Norm, Literal["cityblock", "euclidean", "chebyshev"]] = {
    1: "cityblock",
    2: "euclidean",
    "inf": "chebyshev",
}
_LEAST = 1e-140
"""Spread below which, or above whose inverse, squares lose digits."""
STEADY = 1e-12
"""Share of its size by which an entry may change and still be the same: the rounding of sums and units."""
_BLOCK_ENTRIES = 2_000_000  # 16 MiB of distances at a time


@dataclass(frozen=True)
class Features:
    """Scenarios as points.

    Attributes
    ----------
    values
        Coordinates after scaling, (scenario, feature).
    scenario
        Labels of the rows.
    variable
        The variable that each column comes from, (feature).
    """

    values: npt.NDArray[np.float64]
    scenario: pd.Index
    variable: npt.NDArray[np.str_]

    def __len__(self) -> int:
        return len(self.values)

    def select(self, positions: npt.NDArray[np.int64]) -> Features:
        """Some of the scenarios."""
        return Features(self.values[positions], self.scenario[positions], self.variable)


def features(
    data: xr.Dataset,
    over: str | Sequence[str] | None = None,
    *,
    scale: Scale = "variable",
    weight: Mapping[str, float | xr.DataArray] | None = None,
) -> Features:
    """Scenarios as points whose coordinates are the entries of labelled variables.

    Parameters
    ----------
    data
        Labelled data; the variables in ``over`` have the dimension ``scenario``.
    over
        Names of variables, separated by spaces or in a sequence. May be left out where only one variable (apart from
        ``probability``) is uncertain.
    scale
        ``"variable"`` divides each variable by the standard deviation of its entries about their means over the
        scenarios, pooled over the entries, so that variables of different units count alike and a rare entry is not
        blown up. ``"entry"`` divides every entry by its own standard deviation; an entry that never changes
        contributes nothing. ``"none"`` keeps the units of the data.
    weight
        What a variable counts after scaling, a number or an array over some of its dimensions (the step lengths, for
        example); 1 where it is left out.

    Returns
    -------
    Features

    Raises
    ------
    InputError
        If ``over`` is missing although several variables are uncertain, names something unknown or certain, or if a
        variable is not finite or is the same in every scenario; all findings at once, each with its variable.
    """
    names = named_variables(data, over)
    findings: list[Finding] = []
    columns: list[npt.NDArray[np.float64]] = []
    for name in names:
        array = data[name].transpose(SCENARIO, ...)
        points = array.values.reshape(array.sizes[SCENARIO], -1).astype(float)
        finding = _unusable(name, array, points, scale)
        if finding is not None:
            findings.append(finding)
            continue
        factor = np.broadcast_to(_scale_factor(points, scale), points.shape[1:])
        if weight is not None and name in weight:
            factor = factor * _entry_weight(name, weight[name], array)
        columns.append(points * factor)
    unknown = set(weight or ()) - set(names)
    findings.extend(
        Finding(f"weight[{name!r}]", "weighs a variable that is not in `over`", "leave it out or add it to over")
        for name in sorted(unknown)
    )
    raise_if_any(findings)
    return Features(
        values=np.ascontiguousarray(np.concatenate(columns, axis=1)),
        scenario=data.indexes[SCENARIO],
        variable=np.repeat(np.array(names), [own.shape[1] for own in columns]),
    )


def distance_blocks(
    points: Features, others: Features | None = None, *, norm: Norm = 1, order: float = 1.0
) -> Iterator[tuple[slice, npt.NDArray[np.float64]]]:
    """Distances from blocks of points to all others, one block of rows at a time.

    Parameters
    ----------
    points, others
        The points of the rows and of the columns (the same where left out).
    norm
        1, 2 or "inf".
    order
        Distances are raised to this power, as the cost of a transport plan of that order is.

    Yields
    ------
    slice, numpy.ndarray
        The rows, and their distances, (row, column).
    """
    others = points if others is None else others
    rows = max(1, _BLOCK_ENTRIES // max(1, len(others)))
    for start in range(0, len(points), rows):
        block = slice(start, min(start + rows, len(points)))
        distance = cdist(points.values[block], others.values, _METRIC[norm])
        yield block, distance if order == 1 else distance**order


def mean_distance(points: Features, probability: xr.DataArray, *, norm: Norm = 1) -> float:
    """Expected distance of two independent draws: the scale against which a Wasserstein radius is read."""
    p = probability.sel({SCENARIO: points.scenario}).values
    return float(sum(p[rows] @ block @ p for rows, block in distance_blocks(points, norm=norm)))


def named_variables(data: xr.Dataset, over: str | Sequence[str] | None) -> list[str]:
    """The uncertain variables that ``over`` names, or the only one there is.

    Raises
    ------
    InputError
        If a name is unknown or stands for something certain, or none is given and several variables are uncertain.
    """
    uncertain = sorted(str(name) for name in data.data_vars if SCENARIO in data[name].dims and name != "probability")
    if over is None:
        if len(uncertain) == 1:
            return uncertain
        raise_if_any(
            [
                Finding(
                    "over",
                    f"is left out, but {len(uncertain)} variables are uncertain: {', '.join(uncertain)}",
                    "name those that distance is measured by; what is derived from them would count twice",
                )
            ]
        )
    names = over.split() if isinstance(over, str) else list(over or ())
    findings = [
        Finding(f"over={name!r}", "is no variable with the dimension scenario", suggest(name, uncertain))
        for name in names
        if name not in uncertain
    ]
    if not names:
        findings.append(Finding("over", "names no variable", f"choose among {', '.join(uncertain)}"))
    raise_if_any(findings)
    return names


def _unusable(name: str, array: xr.DataArray, points: npt.NDArray[np.float64], scale: Scale) -> Finding | None:
    if not np.isfinite(points).all():
        rows = array[SCENARIO].values[~np.isfinite(points).all(axis=1)]
        return Finding(name, f"is not finite at scenario {rows[:5].tolist()}", "fill in or remove these scenarios")
    if scale == "none":
        return None
    with np.errstate(over="ignore", invalid="ignore"):
        spread = float(points.std(axis=0).max())
    if steady(points).all():
        return Finding(name, "is the same in every scenario: distances by it are all zero", "leave it out of `over`")
    if not _LEAST < spread < 1 / _LEAST:
        what = f"has no spread that can be computed: values of up to {np.abs(points).max():.3g}"
        return Finding(name, what, "give it in another unit")
    return None


def _scale_factor(points: npt.NDArray[np.float64], scale: Scale) -> npt.NDArray[np.float64]:
    if scale == "none":
        return np.ones(1)
    deviation = points.std(axis=0)
    if scale == "variable":
        # in shares of the largest, whose square might be no number
        largest = float(deviation.max())
        return np.array([1 / (largest * math.sqrt(float(((deviation / largest) ** 2).mean())))])
    changes = ~steady(points)
    factor: npt.NDArray[np.float64] = np.divide(1.0, deviation, out=np.zeros_like(deviation), where=changes)
    return factor


def steady(points: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
    """Which entries are the same in every scenario but for rounding, (entry): scaled up, it would look like chance."""
    return np.asarray(np.ptp(points, axis=0) <= STEADY * np.abs(points).max(axis=0))


def _entry_weight(name: str, weight: float | xr.DataArray, array: xr.DataArray) -> npt.NDArray[np.float64]:
    entries = array.isel({SCENARIO: 0}, drop=True)
    full = xr.DataArray(weight) if not isinstance(weight, xr.DataArray) else weight
    stray = set(full.dims) - set(entries.dims)
    bad = not bool((np.isfinite(full) & (full >= 0)).all())
    raise_if_any(
        [
            Finding(f"weight[{name!r}]", f"has the dimension {dim}, which {name} does not have", "sum or select it")
            for dim in sorted(map(str, stray))
        ]
        + ([Finding(f"weight[{name!r}]", "must be finite and at least 0", "mend the weight")] if bad else [])
    )
    spread, _ = xr.broadcast(*xr.align(full, entries, join="exact"))
    flat = np.asarray(spread.transpose(*entries.dims).values, dtype=np.float64).reshape(-1)
    return flat
