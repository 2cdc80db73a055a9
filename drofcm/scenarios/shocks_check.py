"""Checks of what the generators of demand shocks are given: every finding, nothing raised."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Final

import numpy as np
import xarray as xr

from drofcm.core.errors import Finding, shorten, suggest
from drofcm.core.units import Quantity, check_quantities
from drofcm.scenarios.ensemble import check_labelled

__all__ = [
    "check_array",
    "check_downstream",
    "check_lines",
    "check_shares",
    "check_sites",
]

_TOLERANCE: Final = 1e-9

_RATING = Quantity("MW", ("node",), "largest surge above the running load", lower=0)
_RUNNING = Quantity("MW", ("node",), "load before the event that can leave", lower=0)
_DOWNSTREAM = Quantity("1", ("line", "node"), "1: the line feeds the node", lower=0, upper=1, integer=True)


def check_shares(shares: Mapping[str, float], known: Collection[str]) -> Iterator[Finding]:
    """Shares of unknown classes, negative shares, a sum that is not 1."""
    for name, share in shares.items():
        where = f"shares[{name!r}]"
        if name not in known:
            yield Finding(where, "unknown class of event", suggest(str(name), known))
        if not np.isfinite(share) or share < 0:
            yield Finding(where, f"must be a share within 0 and 1, got {share!r}")
    total = float(sum(shares.values()))
    if np.isfinite(total) and abs(total - 1) > _TOLERANCE:
        yield Finding("shares", f"sum to {total:.9g}, must sum to 1", "divide by the sum if the proportions are right")


def check_sites(rating: xr.DataArray, running: xr.DataArray, shares: Mapping[str, float]) -> Iterator[Finding]:
    """Data centres: units, labels, signs, and whether the classes can happen at any of them."""
    found = [*check_array("rating", rating, _RATING), *check_array("running", running, _RUNNING)]
    if found:
        yield from found
        return
    if rating.size == 0:
        yield Finding("rating", "there is no data centre", "give at least one node")
        return
    alone = {"rating": set(rating["node"].values), "running": set(running["node"].values)}
    for name, other in (("rating", "running"), ("running", "rating")):
        extra = sorted(alone[name] - alone[other])
        if extra:
            yield Finding(name, f"nodes {shorten(extra)} are not in {other}", "both need the same labels")
    if alone["rating"] != alone["running"]:
        return
    running = running.sel(node=rating["node"].values)
    able = {
        "surge": rating > 0,
        "storm_surge": rating > 0,
        "training": (rating > 0) & (running > 0),
        "drop": running > 0,
    }
    for name, sites in able.items():
        if shares.get(name, 0) > 0 and not sites.any():
            need = {"surge": "a rating", "storm_surge": "a rating", "drop": "running load"}.get(
                name, "both a rating and running load"
            )
            what = f"share is {shares[name]:g}, but no node has {need} above 0 MW"
            yield Finding(f"shares[{name!r}]", what, "set the share to 0 or correct the data centres")


def check_array(name: str, array: xr.DataArray, quantity: Quantity) -> list[Finding]:
    """What is wrong with one labelled array."""
    findings = check_labelled(name, array)
    if findings:
        return findings
    return check_quantities(array.reset_coords(drop=True).to_dataset(name=name), {name: quantity}, "shocks")


def check_lines(fault_lines: Sequence[str], lines: Sequence[str]) -> Iterator[Finding]:
    """Lines given twice, lines that do not exist."""
    known = [str(line) for line in lines]
    twice = sorted({line for line in known if known.count(line) > 1})
    if twice:
        yield Finding("lines", f"duplicate labels: {shorten(twice)}", "labels must be unique")
    for line in fault_lines:
        if str(line) not in known:
            yield Finding("fault_lines", f"line {str(line)!r} does not exist", suggest(str(line), known))


def check_downstream(
    downstream: xr.DataArray | None, fault_lines: Sequence[str], rating: xr.DataArray
) -> Iterator[Finding]:
    """Lines and nodes of the study that ``downstream`` does not cover."""
    if downstream is None:
        return
    found = check_array("downstream", downstream, _DOWNSTREAM)
    if found or check_labelled("rating", rating) or "node" not in rating.coords:
        yield from found
        return
    for dim, needed in (("line", [str(line) for line in fault_lines]), ("node", list(rating["node"].values))):
        missing = [label for label in needed if label not in downstream.indexes[dim]]
        if missing:
            yield Finding("downstream", f"{dim} {shorten(missing)} is missing", f"cover every {dim} of the study")
