"""Layers of a study's area: read, projected, candidates found in them, roads joined."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final, TypeAlias

import geopandas as gpd
import numpy as np
import xarray as xr

from drofcm.config import Candidates, StudyFile
from drofcm.core.errors import Finding, InputError, raise_if_any, shorten
from drofcm.core.randomness import stream
from drofcm.siting import candidates as found_in
from drofcm.siting.distance import straight_line
from drofcm.siting.distance import travel_time as at_speed
from drofcm.siting.exclusion import exclude
from drofcm.siting.layers import Kind, check_layer
from drofcm.siting.roads import RoadNetwork, closed_by

__all__ = ["candidate_hubs", "named_layers", "road_distance", "travel_times", "zone_crossings"]

Where: TypeAlias = Callable[[Sequence[str | int]], str]

_AREAS: Final = frozenset({"parcels", "grid", "poisson_disc"})


def named_layers(study: StudyFile) -> dict[str, tuple[str, Kind, tuple[str | int, ...]]]:
    """Layers that a study needs: role -> name of the file, kind, and the key that names it."""
    layers: dict[str, tuple[str, Kind, tuple[str | int, ...]]] = {
        "suppliers": ("suppliers", "suppliers", ("area", "name")),
        "buses": ("buses", "buses", ("area", "name")),
    }
    area, wanted = study.area, study.hubs.candidates
    if area.roads is not None:
        layers["roads"] = (area.roads, "roads", ("area", "roads"))
    if area.hazards is not None:
        layers["hazards"] = (area.hazards, "hazards", ("area", "hazards"))
    if wanted is None:
        layers["hubs"] = ("hubs", "hubs", ("area", "name"))
        return layers
    kind: Kind = "parcels" if wanted.method in _AREAS else "clusters"
    layers["candidates"] = (wanted.layer, kind, ("hubs", "candidates", "layer"))
    for place, name in enumerate(wanted.keep_out):
        layers[f"keep_out {name}"] = (name, "exclusions", ("hubs", "candidates", "keep_out", place))
    return layers


def candidate_hubs(study: StudyFile, layers: Mapping[str, gpd.GeoDataFrame], where: Where) -> gpd.GeoDataFrame:
    """The candidate hubs that a study has found in its layers, without those that stand where nothing may.

    Raises
    ------
    InputError
        If what the layers hold makes no sound layer of hubs, or nothing is left.
    """
    wanted = study.hubs.candidates
    assert wanted is not None
    key = where(("hubs", "candidates"))
    try:
        hubs = _found(wanted, layers["candidates"], study.seed)
    except InputError as error:
        raise InputError(
            [Finding(f"{key}: {fault.where}", fault.what, fault.fix) for fault in error.findings]
        ) from None
    for column in ("setup_cost_usd_per_a", "storage_slots"):
        value = getattr(wanted, column)
        if value is not None:
            hubs = hubs.assign(**{column: float(value)})
    zones = {name: layers[f"keep_out {name}"] for name in wanted.keep_out}
    kept, dropped = exclude(hubs, zones) if zones else (hubs, None)
    if kept.empty:
        assert dropped is not None
        what = f"every candidate stands in a zone or its buffer: {shorten(dropped['zone_name'].unique())}"
        raise InputError([Finding(key, what, "widen the area, or shorten keep_out")])
    raise_if_any(check_layer(kept, kind="hubs", where=f"candidates from layer {wanted.layer}"))
    return kept[["id", "name", "setup_cost_usd_per_a", "storage_slots", kept.active_geometry_name]]


def _found(wanted: Candidates, layer: gpd.GeoDataFrame, seed: int) -> gpd.GeoDataFrame:
    if wanted.method == "parcels":
        return found_in.from_parcels(layer)
    if wanted.method == "clusters":
        assert wanted.count is not None
        return found_in.from_clusters(layer, count=wanted.count)
    assert wanted.spacing_m is not None
    if wanted.method == "grid":
        return found_in.from_grid(layer, spacing_m=wanted.spacing_m)
    return found_in.from_poisson_disc(layer, spacing_m=wanted.spacing_m, rng=stream(seed, "candidates"))


def road_distance(study: StudyFile, layers: Mapping[str, gpd.GeoDataFrame], roads: RoadNetwork | None) -> xr.DataArray:
    """Distance from suppliers to hubs, km: along the roads, or straight with a detour."""
    if roads is None:
        return straight_line(layers["suppliers"], layers["hubs"], detour=study.area.detour)
    return roads.distance(layers["suppliers"], layers["hubs"], snap_limit_m=study.area.snap_limit_m)


def travel_times(
    study: StudyFile,
    hubs: gpd.GeoDataFrame,
    nodes: gpd.GeoDataFrame,
    roads: RoadNetwork | None,
    closed: xr.DataArray | None,
) -> xr.DataArray:
    """Travel time from hubs to nodes, h: (hub, node), and over scenario where events close roads."""
    area = study.area
    if roads is None:
        return at_speed(straight_line(hubs, nodes, detour=area.detour, dims=("hub", "node")), area.road_speed_km_h)
    if closed is None:
        times = roads.travel_time(hubs, nodes, snap_limit_m=area.snap_limit_m)
    else:
        times = roads.scenario_travel_time(hubs, nodes, closed, closed_h=area.closed_h, snap_limit_m=area.snap_limit_m)
    return times.reset_coords(drop=True)


def zone_crossings(layers: Mapping[str, gpd.GeoDataFrame]) -> dict[str, xr.DataArray]:
    """What lies in each hazard zone, 0 or 1: ``line`` and ``hub`` over (zone, ...), and ``road`` if there are roads."""
    zones = layers["hazards"]
    found = {"line": _hit(zones, layers["lines"], "line"), "hub": _hit(zones, layers["hubs"], "hub")}
    if "roads" in layers:
        found["road"] = closed_by(layers["roads"], zones)
    return found


def _hit(zones: gpd.GeoDataFrame, layer: gpd.GeoDataFrame, dim: str) -> xr.DataArray:
    inside = np.array([layer.intersects(zone).to_numpy() for zone in zones.geometry], dtype=np.int8)
    return xr.DataArray(inside, coords={"zone": zones["id"].to_list(), dim: layer["id"].to_list()})
