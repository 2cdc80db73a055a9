"""Roads that look joined on a map and are not: ends on or just short of other roads, crossings, islands.

Roads are joined at their ends. A side road that ends in the middle of another one, or a hand's breadth short of it,
makes every way a detour, and nothing else shows it. Bridges and ends that are meant to be apart look the same, so
these are warnings.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import geopandas as gpd
import numpy as np
import shapely
from scipy import sparse
from scipy.sparse.csgraph import connected_components

from drofcm.core.errors import Finding, shorten
from drofcm.siting.road_graph import Floats, Places

__all__ = ["NEAR_M", "network_findings"]

NEAR_M: Final = 5.0
"""Ends of roads that lie this close to a road which they do not join are told, metres."""

_SHOWN: Final = 3
_TOUCHES_M: Final = 1e-3
_FIX: Final = "split roads where they meet and let their ends coincide, unless they are meant to be apart"


def network_findings(layer: gpd.GeoDataFrame, start: Places, end: Places, length: Floats, where: str) -> list[Finding]:
    """Warnings of a network: where its roads nearly meet, where they cross, and into how many parts it falls.

    Parameters
    ----------
    layer
        Lines with the column ``id`` in a projected CRS.
    start, end
        Numbers of the crossings at both ends of each road, (edge,).
    length
        Length of each road, km over (edge,).
    where
        Names the layer in the findings.
    """
    found = [*_near_ends(layer, start, end, where), *_crossings(layer, start, end, where)]
    return [*found, *_parts(layer, start, end, length, where)]


def _near_ends(layer: gpd.GeoDataFrame, start: Places, end: Places, where: str) -> Iterator[Finding]:
    """Ends that lie near a road which they do not join."""
    lines, label = layer.geometry.to_numpy(), layer["id"].to_list()
    metres = layer.crs.axis_info[0].unit_conversion_factor
    tips, crossing = np.concatenate([shapely.get_point(lines, 0), shapely.get_point(lines, -1)]), np.append(start, end)
    tip, road = shapely.STRtree(lines).query(tips, predicate="dwithin", distance=NEAR_M / metres)
    apart = (start[road] != crossing[tip]) & (end[road] != crossing[tip])
    tip, road = tip[apart], road[apart]
    to_ends = metres * np.stack([shapely.distance(tips[tip], tips[road + last]) for last in (0, len(lines))])
    to_end, met = to_ends.min(axis=0), np.where(to_ends[0] <= to_ends[1], start[road], end[road])
    # two crossings that nearly meet are seen from either; several ends at one crossing are one fault
    pair = np.sort(np.column_stack([crossing[tip], met]), axis=1)
    key = np.where((to_end <= NEAR_M)[:, None], pair, np.column_stack([crossing[tip], -1 - road]))
    places = np.sort(np.unique(key, axis=0, return_index=True)[1])
    texts = []
    for at in places[:_SHOWN]:
        point, mine, other = tips[tip[at]], label[tip[at] % len(lines)], label[road[at]]
        if to_end[at] <= NEAR_M:
            text = f"ends of {mine!r} and {other!r} are {to_end[at]:.3g} m apart"
        else:
            gap = float(shapely.distance(point, lines[road[at]])) * metres
            along = float(shapely.line_locate_point(lines[road[at]], point)) * metres
            lies = "lies on" if gap < _TOUCHES_M else f"lies {gap:.2g} m beside"
            text = f"the end of {mine!r} {lies} {other!r}, {along:,.0f} m from its start"
        texts.append(f"{text}, at {_place(point)}")
    if texts:
        ends = "1 end of a road lies" if len(places) == 1 else f"{len(places)} ends of roads lie"
        what = f"{ends} within {NEAR_M:g} m of a road without joining it: {_listed(texts, len(places))}"
        yield Finding(where, what, _FIX, "warning")


def _crossings(layer: gpd.GeoDataFrame, start: Places, end: Places, where: str) -> Iterator[Finding]:
    """Roads that cross between their ends."""
    lines, label = layer.geometry.to_numpy(), layer["id"].to_list()
    one, other = shapely.STRtree(lines).query(lines, predicate="crosses")
    one, other = one[one < other], other[one < other]
    if not len(one):
        return
    points = shapely.point_on_surface(shapely.intersection(lines[one], lines[other]))
    # a side road that ends in the middle of the other is a near end, not a crossing
    tips = np.array([shapely.get_point(lines[at], place) for at in (one, other) for place in (0, -1)])
    metres = layer.crs.axis_info[0].unit_conversion_factor
    inside = (shapely.distance(tips, points) * metres > NEAR_M).all(axis=0)
    places = np.flatnonzero(inside)
    texts = [f"{label[one[at]]!r} and {label[other[at]]!r} at {_place(points[at])}" for at in places[:_SHOWN]]
    if texts:
        pairs = "1 pair of roads crosses" if len(places) == 1 else f"{len(places)} pairs of roads cross"
        what = f"{pairs} between their ends without joining there: {_listed(texts, len(places))}"
        yield Finding(where, what, f"right for bridges; else {_FIX}", "warning")


def _parts(layer: gpd.GeoDataFrame, start: Places, end: Places, length: Floats, where: str) -> Iterator[Finding]:
    """How much of the length the largest part of the network holds."""
    count = int(max(start.max(), end.max())) + 1
    links = sparse.csr_array((np.ones(len(start)), (start, end)), shape=(count, count))
    parts, part = connected_components(links, directed=False)
    if parts == 1:
        return
    held = np.bincount(part[start], weights=length, minlength=parts)
    order = np.argsort(-held, kind="stable")
    samples = [str(layer["id"].to_numpy()[part[start] == number][0]) for number in order[1:]]
    what = f"fall apart into {parts} networks; the largest holds {held.max() / held.sum():.1%} of the length"
    others = f"the others are those of {shorten([repr(sample) for sample in samples], _SHOWN)}"
    yield Finding(where, f"{what}, {others}", "no way leads from one to another: add the links", "warning")


def _listed(texts: list[str], count: int) -> str:
    left = count - len(texts)
    return "; ".join(texts) + (f"; and {left} more" if left else "")


def _place(point: shapely.Point) -> str:
    return f"({point.x:.1f}, {point.y:.1f})"
