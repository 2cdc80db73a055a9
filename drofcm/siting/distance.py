"""Distances and travel times between the places of two layers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import geopandas as gpd
import numpy as np
import xarray as xr
from pyproj import CRS, Geod, Proj

from drofcm.core.errors import Finding, InputError, raise_if_any
from drofcm.core.units import labels_where
from drofcm.siting.coordinates import degrees_of, middles, utm_proposal
from drofcm.siting.layers import id_findings, point_findings

__all__ = ["great_circle", "projection_findings", "straight_line", "travel_time"]

SCALE_TOLERANCE: Final = 0.01
"""How far the scale of a projection may differ from 1 where the places lie; UTM stays within 0.1 % in its zone."""


def straight_line(
    origins: gpd.GeoDataFrame,
    destinations: gpd.GeoDataFrame,
    *,
    detour: float = 1.0,
    dims: tuple[str, str] = ("supplier", "hub"),
) -> xr.DataArray:
    """Straight-line distances in the common projected CRS of two layers, times a detour factor.

    Parameters
    ----------
    origins, destinations
        Layers of points with the column ``id``; both in the same projected CRS, metres or feet.
    detour
        Road distance over straight line, at least 1 (typically 1.2 to 1.4).
    dims
        Names of the two dimensions of the result.

    Returns
    -------
    xarray.DataArray
        km over ``dims``, labelled with the ids.

    Raises
    ------
    InputError
        If a layer has no CRS, a geographic one or one whose scale is wrong by more than 1 % where the places lie
        (Web Mercator), if the two layers differ in CRS, if ids are missing or not unique, if a geometry is not a
        sound point, or if ``detour`` is below 1; all findings at once.
    """
    if dims[0] == dims[1]:
        raise InputError([Finding("dims", f"both dimensions are called {dims[0]!r}", "give them different names")])
    layers = ((f"{dims[0]} layer", origins), (f"{dims[1]} layer", destinations))
    findings = [finding for where, layer in layers for finding in _findings(layer, where)]
    findings += _common_crs(origins, destinations, dims)
    if not (np.isfinite(detour) and detour >= 1):
        findings.append(Finding("detour", f"must be a finite number, at least 1, is {detour}"))
    raise_if_any(findings)

    kilometres_per_unit = origins.crs.axis_info[0].unit_conversion_factor / 1000
    lengths = np.stack([destinations.distance(point).to_numpy() for point in origins.geometry])
    return xr.DataArray(
        lengths * (kilometres_per_unit * detour),
        dims=dims,
        coords={dims[0]: origins["id"].to_list(), dims[1]: destinations["id"].to_list()},
        name="distance",
        attrs={"units": "km", "crs": origins.crs.to_string(), "detour": float(detour)},
    )


def great_circle(
    origins: gpd.GeoDataFrame,
    destinations: gpd.GeoDataFrame,
    *,
    dims: tuple[str, str] = ("supplier", "hub"),
) -> xr.DataArray:
    """Geodesics on WGS 84, whatever the CRS of the two layers: the shortest way over the ellipsoid.

    Parameters
    ----------
    origins, destinations
        Layers of points with the column ``id``; each states its CRS.
    dims
        Names of the two dimensions of the result.

    Returns
    -------
    xarray.DataArray
        km over ``dims``, labelled with the ids.

    Raises
    ------
    InputError
        If a layer has no CRS, ids are missing or not unique, or a geometry is not a sound point; all findings at once.

    References
    ----------
    Karney, C. F. F. (2013). Algorithms for geodesics. Journal of Geodesy 87, 43-55, as implemented in pyproj.
    """
    layers = ((f"{dims[0]} layer", origins), (f"{dims[1]} layer", destinations))
    raise_if_any(
        finding for where, layer in layers for found in (id_findings, point_findings) for finding in found(layer, where)
    )
    start, end = (layer.geometry.to_crs("EPSG:4326") for layer in (origins, destinations))
    ends = np.meshgrid(np.arange(len(start)), np.arange(len(end)), indexing="ij")
    one, other = (part.ravel() for part in ends)
    x, y, to_x, to_y = start.x.to_numpy(), start.y.to_numpy(), end.x.to_numpy(), end.y.to_numpy()
    metres = np.asarray(Geod(ellps="WGS84").inv(x[one], y[one], to_x[other], to_y[other])[2])
    return xr.DataArray(
        metres.reshape(len(start), len(end)) / 1000,
        dims=dims,
        coords={dims[0]: origins["id"].to_list(), dims[1]: destinations["id"].to_list()},
        name="distance",
        attrs={"units": "km"},
    )


def travel_time(distance: xr.DataArray, speed: float) -> xr.DataArray:
    """Travel time at a constant speed.

    Parameters
    ----------
    distance
        km, as `straight_line` returns it.
    speed
        km/h, above 0.

    Returns
    -------
    xarray.DataArray
        Hours over the dimensions of ``distance``.

    Raises
    ------
    InputError
        If ``distance`` does not state km, is negative or NaN, or if ``speed`` is not above 0.
    """
    findings = []
    unit = distance.attrs.get("units")
    if unit != "km":
        stated = "no unit is stated" if unit is None else f"unit is {unit!r}"
        findings.append(Finding("distance", f"{stated}, 'km' is needed", "nothing is converted silently"))
    wrong = ~(distance >= 0)
    if wrong.any():
        findings.append(Finding("distance", f"must be at least 0 km, is not at {labels_where(wrong)}"))
    if not (np.isfinite(speed) and speed > 0):
        findings.append(Finding("speed", f"must be a finite number of km/h above 0, is {speed}"))
    raise_if_any(findings)
    time = (distance / speed).rename("travel_time")
    time.attrs = {"units": "h", "speed_km_h": float(speed)}
    return time


def _findings(layer: gpd.GeoDataFrame, where: str) -> Iterator[Finding]:
    yield from id_findings(layer, where)
    faults = list(point_findings(layer, where))
    yield from faults
    if not faults:
        yield from projection_findings(layer, where)


def projection_findings(layer: gpd.GeoDataFrame, where: str) -> Iterator[Finding]:
    """Why lengths in the CRS of a layer would be wrong where it lies."""
    crs: CRS = layer.crs
    if crs.is_geographic:
        yield Finding(
            where,
            f"the CRS {crs.to_string()} is geographic: its units are degrees, and a degree is no distance",
            f"transform it first: {utm_proposal(layer)}",
        )
        return
    if not crs.is_projected:
        yield Finding(where, f"the CRS {crs.to_string()} is not projected", "distances need a projected CRS")
        return
    factors = Proj(crs).get_factors(*degrees_of(*middles(layer), crs))
    scale = np.array([factors.meridional_scale, factors.parallel_scale])
    worst = float(np.abs(scale - 1).max())
    if not worst <= SCALE_TOLERANCE:
        yield Finding(
            where,
            f"distances in the CRS {crs.to_string()} are wrong by up to {worst:.0%} where the places lie",
            f"transform it first: {utm_proposal(layer)}",
        )


def _common_crs(origins: gpd.GeoDataFrame, destinations: gpd.GeoDataFrame, dims: tuple[str, str]) -> Iterator[Finding]:
    first, second = getattr(origins, "crs", None), getattr(destinations, "crs", None)
    if first is not None and second is not None and first != second:
        yield Finding(
            f"{dims[0]} and {dims[1]} layer",
            f"have different CRSs, {first.to_string()} and {second.to_string()}",
            "transform one of them: destinations.to_crs(origins.crs); it is not done silently",
        )
