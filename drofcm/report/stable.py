"""Which nodes are stable in time, and which only count as stable because their whole load lies within their band."""

from __future__ import annotations

from typing import Final

import xarray as xr

from drofcm.fcm.requirement import imbalance, step_end
from drofcm.solve.result import Result

__all__ = ["dark", "settling_time", "share_dark", "share_stable", "stable"]

_ON_TIME: Final = 1e-9
"""Hours; rounding of times only."""
_SERVED: Final = 0.1
"""Share of a node's load that may be missing while it still counts as served: that of the band (FORMULATION A.3)."""
_NOTHING: Final = 1e-6


def dark(data: xr.Dataset, result: Result) -> xr.DataArray:
    """Nodes that are dark within their band, over (scenario, node).

    Such a node is cut off, and its imbalance stays within its band from the time allowed on, so that (8) counts it as
    stable; yet more than a tenth of its load stays unserved from then on.

    Parameters
    ----------
    data
        The labelled data of the study.
    result
        A plan with its recourse.
    """
    recourse = result.recourse
    start = step_end(data) - data["step_length"]
    late = start >= data["stabilise_within"] - _ON_TIME
    unserved = recourse["unserved_critical"].fillna(0) + recourse["unserved_flexible"].fillna(0)
    needed = imbalance(data).clip(min=0)
    missed, wanted = ((power * data["step_length"]).where(late, 0).sum("time") for power in (unserved, needed))
    cut_off = data["energised"].sel(bus=data["node"]).drop_vars("bus") < 0.5
    found = (recourse["stabilised"] > 0.5) & cut_off & (missed > _SERVED * wanted + _NOTHING)
    return found.transpose("scenario", "node").rename("dark")


def stable(data: xr.Dataset, result: Result) -> xr.DataArray:
    """1 where a node is stable in time, 0 where not or dark, NaN where no event touches it; over (scenario, node)."""
    counted = result.recourse["stabilised"].transpose("scenario", "node")
    return counted.where(~dark(data, result), 0.0)


def share_stable(data: xr.Dataset, result: Result) -> xr.DataArray:
    """Share of the nodes an event touches that are stable in time, over (scenario); NaN where it touches none."""
    return stable(data, result).mean("node")


def share_dark(data: xr.Dataset, result: Result) -> xr.DataArray:
    """Share of the nodes an event touches that are dark within their band, (scenario); NaN where it touches none."""
    touched = result.recourse["stabilised"].notnull()
    return dark(data, result).astype(float).where(touched).mean("node")


def settling_time(data: xr.Dataset, result: Result, time: xr.DataArray) -> xr.DataArray:
    """Time until a node is stable, h, (scenario, node): ``time``, infinite where the node is dark within its band."""
    return time.transpose("scenario", "node").where(~dark(data, result), float("inf"))
