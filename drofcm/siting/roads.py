"""Road networks: distances and travel times along roads, with one-way streets, closures and reachable areas.

A network is a layer of lines that meet at their ends. Places are moved to the nearest point of the nearest road, how
far is told, and roads are cut there, so that a way may begin and end in the middle of a road. Shortest ways are found
by `scipy.sparse.csgraph.dijkstra`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, Literal

import geopandas as gpd
import numpy as np
import numpy.typing as npt
import pandas as pd
import shapely
import xarray as xr
from pyproj import CRS
from scipy import sparse
from scipy.sparse.csgraph import connected_components

from drofcm.core.errors import Finding, InputError, raise_if_any, shorten, suggest
from drofcm.siting.distance import projection_findings
from drofcm.siting.layers import as_checked, check_layer, id_findings, point_findings
from drofcm.siting.road_faults import network_findings
from drofcm.siting.road_graph import Floats, Places, cut_roads, joined, lightest, part_of, renumbered, search

__all__ = ["JOIN_WITHIN_M", "SNAP_LIMIT_M", "RoadNetwork", "closed_by"]

JOIN_WITHIN_M: Final = 0.1
"""Ends of roads that lie this close together are one crossing, metres."""
SNAP_LIMIT_M: Final = 500.0
"""How far a place may lie from the nearest road, metres, unless said otherwise."""

_AT_ONCE: Final = 64
"""Origins searched at a time, so that memory does not grow with their number."""
_SHORTER: Final = 0.99
"""Share of the straight line between its ends below which a stated length is refused; projections differ by less."""

Weight = Literal["hours", "length_km"]


@dataclass(frozen=True, eq=False)
class RoadNetwork:
    """Roads with their crossings; build it with `from_layer`.

    Attributes
    ----------
    layer
        The roads in a projected CRS, one line each, with the columns ``id`` and ``speed_km_h``.
    start, end
        Numbers of the crossings at both ends of each road, (edge,).
    length_km, hours
        Length and travel time of each road, (edge,).
    oneway
        Whether a road may be used only as it is drawn, (edge,).
    crossings
        Number of crossings.
    findings
        Warnings: ends within 5 m of a road that they do not join, roads that cross between their ends, and how much of
        the length the largest part holds where the roads fall apart.
    """

    layer: gpd.GeoDataFrame
    start: Places
    end: Places
    length_km: Floats
    hours: Floats
    oneway: npt.NDArray[np.bool_]
    crossings: int
    findings: tuple[Finding, ...] = ()

    @classmethod
    def from_layer(cls, layer: gpd.GeoDataFrame, *, where: str = "roads") -> RoadNetwork:
        """Check a layer of roads and join them at their ends.

        Parameters
        ----------
        layer
            Lines in a projected CRS with ``id`` and ``speed_km_h``; optional ``length_km`` (left out: the length of the
            line) and ``oneway`` (1: only in the direction in which the line is drawn).
        where
            Names the layer in messages.

        Raises
        ------
        InputError
            With every fault of the layer, of its CRS as a base of lengths, and every stated length that is shorter
            than the straight line between the ends of the road.
        """
        findings = check_layer(layer, kind="roads", where=where)
        if not findings:
            findings += projection_findings(layer, where)
        raise_if_any(findings)
        layer = as_checked(layer, kind="roads")
        kilometres_per_unit = layer.crs.axis_info[0].unit_conversion_factor / 1000
        lines = layer.geometry.to_numpy()
        drawn = shapely.length(lines) * kilometres_per_unit
        length = layer["length_km"].to_numpy() if "length_km" in layer else drawn
        ends = np.concatenate([shapely.get_point(lines, 0), shapely.get_point(lines, -1)])
        raise_if_any(_length_findings(layer, length, ends, kilometres_per_unit, where))
        crossing, count = joined(shapely.get_coordinates(ends), JOIN_WITHIN_M / 1000 / kilometres_per_unit)
        start, end = crossing[: len(lines)], crossing[len(lines) :]
        hours = length / layer["speed_km_h"].to_numpy()
        oneway = layer["oneway"].to_numpy() if "oneway" in layer else np.zeros(len(lines), dtype=bool)
        seen = network_findings(layer, start, end, length, where)
        return cls(layer.reset_index(drop=True), start, end, length, hours, oneway, count, tuple(seen))

    @property
    def crs(self) -> CRS:
        """The projected CRS of the network."""
        return CRS.from_user_input(self.layer.crs)

    def snap(self, places: gpd.GeoDataFrame) -> gpd.GeoDataFrame:
        """The nearest point of the network for every place.

        Parameters
        ----------
        places
            Points with the column ``id``, in the CRS of the network.

        Returns
        -------
        geopandas.GeoDataFrame
            ``id``, ``road`` (its id), ``along`` (share of the line from its start), ``snap_m`` (how far the place was
            moved, metres) and the point on the road.

        Raises
        ------
        InputError
            If the places have another CRS, no sound points, or ids that are missing or not unique.
        """
        findings = [*id_findings(places, "places"), *point_findings(places, "places")]
        if not findings and places.crs != self.crs:
            what = f"the CRS is {places.crs.to_string()}, that of the roads {self.crs.to_string()}"
            findings.append(Finding("places", what, "places.to_crs(network.crs); it is not done silently"))
        raise_if_any(findings)
        points, lines = places.geometry.to_numpy(), self.layer.geometry.to_numpy()
        (_, edge), gap = self._tree.query_nearest(points, return_distance=True, all_matches=False)
        along = shapely.line_locate_point(lines[edge], points, normalized=True)
        on_road = shapely.line_interpolate_point(lines[edge], along, normalized=True)
        columns = {
            "id": places["id"].to_numpy(),
            "road": self.layer["id"].to_numpy()[edge],
            "edge": edge,
            "along": along,
            "snap_m": gap * self.crs.axis_info[0].unit_conversion_factor,
        }
        return gpd.GeoDataFrame(columns, geometry=on_road, crs=self.crs)

    @cached_property
    def _tree(self) -> shapely.STRtree:
        return shapely.STRtree(self.layer.geometry.to_numpy())

    def distance(
        self,
        origins: gpd.GeoDataFrame,
        destinations: gpd.GeoDataFrame,
        *,
        dims: tuple[str, str] = ("supplier", "hub"),
        closed: Collection[str] = (),
        snap_limit_m: float = SNAP_LIMIT_M,
        unreachable: Literal["refuse", "infinite"] = "refuse",
    ) -> xr.DataArray:
        """Length of the shortest way between the places of two layers, km; see `travel_time` for the parameters."""
        ways = self._ways(origins, destinations, "length_km", dims, closed, snap_limit_m, unreachable)
        return ways.rename("distance").assign_attrs(units="km")

    def travel_time(
        self,
        origins: gpd.GeoDataFrame,
        destinations: gpd.GeoDataFrame,
        *,
        dims: tuple[str, str] = ("hub", "node"),
        closed: Collection[str] = (),
        snap_limit_m: float = SNAP_LIMIT_M,
        unreachable: Literal["refuse", "infinite"] = "refuse",
    ) -> xr.DataArray:
        """Time of the fastest way between the places of two layers.

        The way from a place to the nearest road takes no time: how long it is stands in the coordinates ``snap_m``
        of the result, and places farther away than ``snap_limit_m`` are refused.

        Parameters
        ----------
        origins, destinations
            Points with the column ``id``, in the CRS of the network.
        dims
            Names of the two dimensions of the result.
        closed
            Ids of roads that cannot be used. Places stay where they were snapped, so one on a closed road is cut off.
        snap_limit_m
            How far a place may lie from the nearest road, metres.
        unreachable
            ``"refuse"`` names pairs without a way in an error; ``"infinite"`` gives them an infinite time.

        Returns
        -------
        xarray.DataArray
            Hours over ``dims``, with the distances of snapping as coordinates ``<dim>_snap_m``.

        Raises
        ------
        InputError
            If a layer is faulty, a place lies too far from every road, a closed road is unknown, or a pair has no way.
        """
        ways = self._ways(origins, destinations, "hours", dims, closed, snap_limit_m, unreachable)
        return ways.rename("travel_time").assign_attrs(units="h")

    def scenario_travel_time(
        self,
        origins: gpd.GeoDataFrame,
        destinations: gpd.GeoDataFrame,
        closed: xr.DataArray,
        *,
        closed_h: float,
        dims: tuple[str, str] = ("hub", "node"),
        snap_limit_m: float = SNAP_LIMIT_M,
    ) -> xr.DataArray:
        """Travel times when events close roads.

        A vehicle takes the fastest way that is open, or waits until the roads are open again, whichever arrives first:
        the time is the smaller of the way around and ``closed_h`` plus the time on open roads. It is never infinite.

        Parameters
        ----------
        origins, destinations, dims, snap_limit_m
            As in `travel_time`.
        closed
            1 where the event closes the road, (scenario, road), labelled with ids of roads.
        closed_h
            How long closed roads stay closed, hours after the onset.

        Returns
        -------
        xarray.DataArray
            Hours over (scenario, ``dims``); every set of closed roads is searched once.

        Raises
        ------
        InputError
            As in `travel_time`; pairs without a way are named when they have none on open roads.
        """
        if not (np.isfinite(closed_h) and closed_h >= 0):
            raise InputError([Finding("closed_h", f"must be a finite number of hours, at least 0, is {closed_h}")])
        usual = self.travel_time(origins, destinations, dims=dims, snap_limit_m=snap_limit_m)
        state = closed.transpose("scenario", "road").values.astype(bool)
        patterns, which = np.unique(state, axis=0, return_inverse=True)
        roads, times = closed["road"].values, []
        for pattern in patterns:
            around = usual
            if pattern.any():
                around = self.travel_time(
                    origins,
                    destinations,
                    dims=dims,
                    closed=list(roads[pattern]),
                    snap_limit_m=snap_limit_m,
                    unreachable="infinite",
                )
            times.append(np.minimum(around.values, closed_h + usual.values))
        return xr.DataArray(
            np.stack(times)[which.ravel()],
            dims=("scenario", *dims),
            coords={"scenario": closed["scenario"].values, **{dim: usual[dim].values for dim in dims}},
            name="travel_time",
            attrs={"units": "h"},
        )

    def reachable(
        self, origins: gpd.GeoDataFrame, hours: Sequence[float], *, closed: Collection[str] = (), width_m: float = 150.0
    ) -> gpd.GeoDataFrame:
        """Isochrones: what can be reached from each place in a given time.

        Roads are followed to the point that is reached in time, in both directions, and widened.

        Parameters
        ----------
        origins
            Points with the column ``id``, in the CRS of the network.
        hours
            Times, each above 0.
        closed
            Ids of roads that cannot be used.
        width_m
            How far besides the reached roads the area extends, metres.

        Returns
        -------
        geopandas.GeoDataFrame
            One polygon a place and time: ``id``, ``hours``; the longest time first, so that shorter ones are on top.

        Raises
        ------
        InputError
            If the places are faulty, a closed road is unknown, or a time is not finite and above 0.
        """
        raise_if_any(
            Finding("hours", f"must be finite and above 0, got {limit!r}", "hours of travel")
            for limit in hours
            if not (np.isfinite(limit) and limit > 0)
        )
        snapped = self.snap(origins)
        usable = self._open(closed)
        graph, place = self._graph("hours", snapped, usable)
        graph, number = renumbered(graph)
        width = width_m / self.crs.axis_info[0].unit_conversion_factor
        rows: list[dict[str, Any]] = []
        for which, label in enumerate(snapped["id"]):
            time = search(graph, number[place[which : which + 1]])[0][number]
            for limit in sorted(hours, reverse=True):
                parts = [*self._reached(time, limit, usable), *self._around(snapped.iloc[which], limit, usable)]
                area = shapely.buffer(shapely.union_all(np.array(parts, dtype=object)), width)
                rows.append({"id": label, "hours": float(limit), "geometry": area})
        return gpd.GeoDataFrame(rows, columns=["id", "hours", "geometry"], crs=self.crs)

    def _reached(self, time: Floats, limit: float, usable: npt.NDArray[np.bool_]) -> list[Any]:
        """The parts of the roads from their ends to the point that is reached in time."""
        lines, parts = self.layer.geometry.to_numpy(), []
        for near, backwards in ((self.start, False), (self.end, True)):
            left = limit - time[near]
            taken = np.flatnonzero(usable & (left > 0) & ~(self.oneway & backwards))
            for edge, share in zip(taken, left[taken] / self.hours[taken], strict=True):
                begin, end = (max(1 - share, 0), 1) if backwards else (0, min(share, 1))
                parts.append(part_of(lines[edge], begin, end))
        return parts

    def _around(self, place: pd.Series, limit: float, usable: npt.NDArray[np.bool_]) -> list[Any]:
        """The part of the road at which a place lies, and the place itself."""
        edge = int(place["edge"])
        if not usable[edge]:
            return [place["geometry"]]
        share = limit / self.hours[edge]
        begin = place["along"] if self.oneway[edge] else max(place["along"] - share, 0)
        return [place["geometry"], part_of(self.layer.geometry.iloc[edge], begin, min(place["along"] + share, 1))]

    def _open(self, closed: Collection[str]) -> npt.NDArray[np.bool_]:
        known = self.layer["id"]
        unknown = [label for label in closed if label not in set(known)] if len(closed) else []
        raise_if_any(Finding("closed", f"unknown road {label!r}", suggest(str(label), known)) for label in unknown)
        return np.asarray(~known.isin(list(closed)), dtype=bool)

    def _ways(
        self,
        origins: gpd.GeoDataFrame,
        destinations: gpd.GeoDataFrame,
        weight: Weight,
        dims: tuple[str, str],
        closed: Collection[str],
        snap_limit_m: float,
        unreachable: str,
    ) -> xr.DataArray:
        if dims[0] == dims[1]:
            raise InputError([Finding("dims", f"both dimensions are called {dims[0]!r}", "give them different names")])
        usable = self._open(closed)
        here, there = self.snap(origins), self.snap(destinations)
        raise_if_any(
            finding
            for dim, snapped in zip(dims, (here, there), strict=True)
            for finding in _snap_findings(snapped, dim, snap_limit_m)
        )
        graph, place = self._graph(weight, pd.concat([here, there], ignore_index=True), usable)
        graph, number = renumbered(graph)
        sources, targets = number[place[: len(here)]], number[place[len(here) :]]
        lengths = np.empty((len(here), len(there)))
        for begin in range(0, len(here), _AT_ONCE):
            part = slice(begin, begin + _AT_ONCE)
            lengths[part] = search(graph, sources[part])[:, targets]
        ways = xr.DataArray(
            lengths,
            dims=dims,
            coords={
                dims[0]: here["id"].to_list(),
                dims[1]: there["id"].to_list(),
                f"{dims[0]}_snap_m": (dims[0], here["snap_m"].to_numpy()),
                f"{dims[1]}_snap_m": (dims[1], there["snap_m"].to_numpy()),
            },
        )
        if unreachable == "refuse":
            raise_if_any(self._pair_findings(ways, dims))
        return ways

    def _pair_findings(self, ways: xr.DataArray, dims: tuple[str, str]) -> Iterator[Finding]:
        """One finding per origin that does not reach everything."""
        lost = ~np.isfinite(ways.values)
        if not lost.any():
            return
        links = sparse.csr_array((np.ones(len(self.start)), (self.start, self.end)), shape=(self.crossings,) * 2)
        parts = connected_components(links, directed=False)[0]
        fix = (
            f"the roads fall apart into {parts} networks: join their ends (within {JOIN_WITHIN_M:g} m) or add the links"
            if parts > 1
            else "look for one-way or closed roads"
        )
        for row in np.flatnonzero(lost.any(axis=1)):
            missing = shorten(ways[dims[1]].values[lost[row]])
            yield Finding(f"{dims[0]} {ways[dims[0]].values[row]!s}", f"no way leads to {dims[1]} {missing}", fix)

    def _graph(
        self, weight: Weight, snapped: gpd.GeoDataFrame, usable: npt.NDArray[np.bool_]
    ) -> tuple[sparse.csr_array, Places]:
        """The network with its roads cut where places are, and the numbers of the places in it."""
        cost: Floats = getattr(self, weight)
        cut = cut_roads(snapped["edge"].to_numpy(), snapped["along"].to_numpy(), self.start, self.end, self.crossings)
        whole = usable.copy()
        whole[cut.edge] = False
        pieces = usable[cut.edge]
        tail = np.concatenate([self.start[whole], cut.tail[pieces]])
        head = np.concatenate([self.end[whole], cut.head[pieces]])
        value = np.concatenate([cost[whole], (cost[cut.edge] * cut.share)[pieces]])
        oneway = np.concatenate([self.oneway[whole], self.oneway[cut.edge][pieces]])
        both = ~oneway
        tails, heads = np.concatenate([tail, head[both]]), np.concatenate([head, tail[both]])
        return lightest(tails, heads, np.concatenate([value, value[both]]), cut.count), cut.place


def _length_findings(
    layer: gpd.GeoDataFrame, length: Floats, ends: Any, kilometres_per_unit: float, where: str
) -> Iterator[Finding]:
    if "length_km" not in layer:
        return
    straight = shapely.distance(ends[: len(length)], ends[len(length) :]) * kilometres_per_unit
    ratio = np.median(length / (shapely.length(layer.geometry.to_numpy()) * kilometres_per_unit))
    if ratio > 100:
        what = f"lengths are {ratio:.0f} times those of the lines: they look like metres"
        yield Finding(f"{where}['length_km']", what, "divide by 1000")
    short = length < _SHORTER * straight
    if short.any():
        labels = shorten(layer["id"].to_numpy()[short])
        what = f"shorter than the straight line between the ends of the road at id {labels}"
        yield Finding(f"{where}['length_km']", what, "correct the lengths, or leave the column out")


def _snap_findings(snapped: gpd.GeoDataFrame, dim: str, limit: float) -> Iterator[Finding]:
    far = snapped[snapped["snap_m"] > limit]
    if not far.empty:
        named = shorten([f"{row.id} ({row.snap_m:,.0f} m)" for row in far.itertuples()])
        yield Finding(
            f"{dim} layer",
            f"farther than {limit:g} m from every road: {named}",
            "add the road, move the place, or raise the limit of snapping",
        )


def closed_by(roads: gpd.GeoDataFrame, zones: gpd.GeoDataFrame) -> xr.DataArray:
    """Which roads each hazard zone closes: those that have a point in its inside.

    Parameters
    ----------
    roads
        Lines with the column ``id``.
    zones
        Polygons with the column ``id``, in the same CRS.

    Returns
    -------
    xarray.DataArray
        1 where the zone closes the road, (zone, road).

    Raises
    ------
    InputError
        If the two layers differ in CRS.
    """
    if roads.crs != zones.crs:
        what = f"the CRS is {zones.crs}, that of the roads {roads.crs}"
        raise InputError([Finding("hazard zones", what, "zones.to_crs(roads.crs); it is not done silently")])
    hit = np.zeros((len(zones), len(roads)), dtype=np.int8)
    lines, areas = roads.geometry.to_numpy(), zones.geometry.to_numpy()
    which = shapely.STRtree(lines).query(areas, predicate="intersects")
    inside = ~shapely.touches(lines[which[1]], areas[which[0]])
    hit[which[0][inside], which[1][inside]] = 1
    return xr.DataArray(hit, coords={"zone": zones["id"].to_list(), "road": roads["id"].to_list()}, name="closed")
