"""Where layers lie: coordinates that cannot be meant, and places that no plan reaches."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely
from pyproj import CRS, Transformer

from drofcm.core.errors import Finding, shorten

__all__ = ["coordinate_findings", "degrees_of", "far_findings", "middles", "rows_where", "utm_proposal"]

_Degrees = np.ndarray[Any, np.dtype[np.float64]]

FAR_KM: Final = 1000.0
"""Distance of a place from the middle of the buses beyond which it is taken for a slip, km."""

AREA_MARGIN: Final = 3.0
"""Degrees beyond the area of use of a CRS up to which coordinates are believed (half a UTM zone)."""


def coordinate_findings(layer: gpd.GeoDataFrame, where: str) -> Iterator[Finding]:
    """Sound geometries whose coordinates cannot be meant in the CRS of the layer, or in which distances are wrong."""
    crs: CRS = layer.crs
    x, y = middles(layer)
    nowhere = (x == 0) & (y == 0)
    if crs.is_projected and not nowhere.all() and (np.abs(x) <= 180).all() and (np.abs(y) <= 90).all():
        yield Finding(
            where,
            f"the coordinates look like degrees, but the CRS {crs.to_string()} is projected",
            "state the CRS the numbers are in: layer.set_crs('EPSG:4326', allow_override=True), then layer.to_crs(...)",
        )
        return
    if nowhere.any():
        what = f"{rows_where(layer, nowhere)} lies at (0, 0), where places without coordinates end up"
        yield Finding(where, what, "give its coordinates")
    area = crs.area_of_use
    if area is None:
        return
    margin = 0.0 if crs.is_geographic else AREA_MARGIN
    outside = ~nowhere & ~_inside(area.bounds, *degrees_of(x, y, crs), margin=margin)
    if not outside.any():
        return
    at = rows_where(layer, outside)
    if _inside(area.bounds, *degrees_of(y[outside], x[outside], crs), margin=0.0).all():
        yield Finding(where, f"x and y (longitude and latitude) look swapped at {at}", "x is east, y is north")
    else:
        yield Finding(
            where,
            f"{at} lies outside the area where {crs.to_string()} is used ({area.name})",
            "check the coordinates and the CRS",
        )


def far_findings(layers: Mapping[str, gpd.GeoDataFrame], of: str = "buses") -> Iterator[Finding]:
    """Warnings of suppliers, hubs and buses that lie very far from the middle of the buses.

    Parameters
    ----------
    layers
        Layers of points by name in one projected CRS.
    of
        The layer whose middle counts.
    """
    kilometres_per_unit = layers[of].crs.axis_info[0].unit_conversion_factor / 1000
    middle = [np.median(along) for along in middles(layers[of])]
    for name in ("suppliers", "hubs", "buses"):
        if name not in layers:
            continue
        x, y = middles(layers[name])
        away = np.hypot(x - middle[0], y - middle[1]) * kilometres_per_unit
        if (away > FAR_KM).any():
            what = (
                f"{rows_where(layers[name], away > FAR_KM)} lies up to {away.max():,.0f} km from the middle of the {of}"
            )
            yield Finding(f"{name} layer", what, f"over {FAR_KM:,.0f} km: check the coordinates", "warning")


def degrees_of(x: _Degrees, y: _Degrees, crs: CRS) -> tuple[_Degrees, _Degrees]:
    """Longitude and latitude of coordinates in a CRS."""
    if not crs.is_projected:
        return x, y
    longitude, latitude = Transformer.from_crs(crs, crs.geodetic_crs, always_xy=True).transform(x, y)
    return np.asarray(longitude), np.asarray(latitude)


def _inside(
    bounds: tuple[float, float, float, float], longitude: _Degrees, latitude: _Degrees, margin: float
) -> np.ndarray[Any, np.dtype[np.bool_]]:
    west, south, east, north = bounds
    width = (east - west) % 360 or 360.0  # an area may span the date line
    with np.errstate(invalid="ignore"):  # what the projection cannot place comes back as inf
        between = (longitude - west + margin) % 360 <= width + 2 * margin
    return (
        (np.abs(longitude) <= 180)
        & between
        & (latitude >= max(south - margin, -90))
        & (latitude <= min(north + margin, 90))
    )


def middles(layer: gpd.GeoDataFrame) -> tuple[_Degrees, _Degrees]:
    """Coordinates x and y of the middle of what every row draws; for points the point."""
    box = shapely.bounds(layer.geometry.to_numpy())
    return box[:, 0] + (box[:, 2] - box[:, 0]) / 2, box[:, 1] + (box[:, 3] - box[:, 1]) / 2


def utm_proposal(layer: gpd.GeoDataFrame) -> str:
    """The words with which a projected CRS for this layer is offered; nothing is transformed."""
    try:
        here = f", here {layer.estimate_utm_crs().to_string()}"
    except RuntimeError:  # beyond 84 degrees of latitude there is no UTM zone
        here = ""
    return f"layer.to_crs(layer.estimate_utm_crs()){here}"


def rows_where(layer: pd.DataFrame, mask: Any) -> str:
    """The ids of the rows at which a mask holds, or their numbers where there are no ids."""
    positions = np.flatnonzero(np.asarray(mask))
    if "id" in layer:
        return "id " + shorten([str(layer["id"].iloc[position]) for position in positions])
    return "row " + shorten([str(position) for position in positions])
