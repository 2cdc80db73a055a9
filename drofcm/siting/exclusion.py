"""Where nothing may stand: zones with their buffers, and what lies in them."""

from __future__ import annotations

from collections.abc import Mapping

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely

from drofcm.core.errors import Finding, raise_if_any
from drofcm.siting.distance import projection_findings
from drofcm.siting.layers import as_checked, check_layer, geometry_findings, id_findings

__all__ = ["exclude", "overlaps"]


def exclude(
    candidates: gpd.GeoDataFrame, zones: Mapping[str, gpd.GeoDataFrame]
) -> tuple[gpd.GeoDataFrame, pd.DataFrame]:
    """Leave out the candidates that stand in zones, or nearer to them than their buffer.

    Parameters
    ----------
    candidates
        Points or polygons with the column ``id`` in a projected CRS.
    zones
        Layers of polygons by name (``"flood"``, ``"reserves"``) in the same CRS, with ``id``, ``name`` and, optional,
        ``buffer_m``: the distance to keep besides, metres.

    Returns
    -------
    tuple
        The candidates that may stay, and a table with one line for every reason to leave one out: ``id``, ``layer``,
        ``zone``, ``zone_name``, ``distance_m`` (0 inside) and ``buffer_m``.

    Raises
    ------
    InputError
        With every fault of every layer; layers of zones without rows are faults, not permissions.
    """
    findings = [*id_findings(candidates, "candidates")]
    findings += geometry_findings(candidates, "candidates", ("Point", "Polygon", "MultiPolygon"))
    if not findings:
        findings += projection_findings(candidates, "candidates")
    for name, layer in zones.items():
        findings += _zone_findings(layer, name, candidates)
    raise_if_any(findings)
    metres = candidates.crs.axis_info[0].unit_conversion_factor
    shapes, reasons = candidates.geometry.to_numpy(), []
    for name, given in zones.items():
        layer = as_checked(given, kind="exclusions")
        keep = layer["buffer_m"].to_numpy() if "buffer_m" in layer else np.zeros(len(layer))
        for row, (zone, buffer_m) in enumerate(zip(layer.geometry, keep, strict=True)):
            gap = shapely.distance(shapes, zone) * metres
            hit = shapely.intersects(shapes, zone) | (gap < buffer_m)
            reasons += [
                {
                    "id": candidates["id"].iloc[place],
                    "layer": name,
                    "zone": layer["id"].iloc[row],
                    "zone_name": layer["name"].iloc[row],
                    "distance_m": gap[place],
                    "buffer_m": buffer_m,
                }
                for place in np.flatnonzero(hit)
            ]
    columns = ["id", "layer", "zone", "zone_name", "distance_m", "buffer_m"]
    table = pd.DataFrame(reasons, columns=columns)
    return candidates[~candidates["id"].isin(table["id"])].reset_index(drop=True), table


def overlaps(areas: gpd.GeoDataFrame, zones: gpd.GeoDataFrame) -> pd.DataFrame:
    """How much of each area lies in each zone.

    Parameters
    ----------
    areas, zones
        Polygons with ``id`` and ``name`` in the same projected CRS.

    Returns
    -------
    pandas.DataFrame
        One line for every pair that shares an area: ``id``, ``zone``, ``area_m2`` and ``share`` of the area, 0 to 1.

    Raises
    ------
    InputError
        With every fault of both layers.
    """
    findings = check_layer(areas, kind="parcels", where="areas")
    if not findings:
        findings += projection_findings(areas, "areas")
    findings += _zone_findings(zones, "zones", areas)
    raise_if_any(findings)
    shapes, others = areas.geometry.to_numpy(), zones.geometry.to_numpy()
    one, other = shapely.STRtree(others).query(shapes, predicate="intersects")
    common = shapely.area(shapely.intersection(shapes[one], others[other]))
    table = pd.DataFrame(
        {
            "id": areas["id"].to_numpy()[one],
            "zone": zones["id"].to_numpy()[other],
            "area_m2": common * areas.crs.axis_info[0].unit_conversion_factor ** 2,
            "share": common / shapely.area(shapes[one]),
        }
    )
    return table[table["area_m2"] > 0].sort_values(["id", "zone"]).reset_index(drop=True)


def _zone_findings(layer: gpd.GeoDataFrame, name: str, like: gpd.GeoDataFrame) -> list[Finding]:
    findings = check_layer(layer, kind="exclusions", where=name)
    crs = getattr(like, "crs", None)
    if not findings and crs is not None and layer.crs != crs:
        what = f"the CRS is {layer.crs.to_string()}, that of the candidates {crs.to_string()}"
        findings.append(Finding(name, what, "zones.to_crs(candidates.crs); it is not done silently"))
    return findings
