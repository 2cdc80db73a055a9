"""Candidate hubs: points in areas, on parcels or amid volatile load, and how suitable each is.

Every function returns a layer of points with ``id`` and ``name`` in the CRS it was given; columns of what a point
stands on are kept. Which of them stand where nothing may stand is a matter of `drofcm.siting.exclusion`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import geopandas as gpd
import numpy as np
import numpy.typing as npt
import pandas as pd
import shapely
import xarray as xr
from scipy.stats import qmc

from drofcm.core.errors import Finding, InputError, raise_if_any, shorten, suggest
from drofcm.core.randomness import settled
from drofcm.siting.distance import projection_findings
from drofcm.siting.layers import Kind, as_checked, check_layer, point_findings

__all__ = [
    "Criterion",
    "distance_to",
    "from_clusters",
    "from_grid",
    "from_parcels",
    "from_poisson_disc",
    "sample",
    "slope",
    "suitability",
]

MOST = 100_000
"""Points beyond which a spacing is taken for a slip."""


# ==== Where hubs could stand ============================================================================


def from_grid(areas: gpd.GeoDataFrame, *, spacing_m: float) -> gpd.GeoDataFrame:
    """The points of a square grid that lie in areas.

    Parameters
    ----------
    areas
        Polygons with ``id`` and ``name`` in a projected CRS.
    spacing_m
        Distance between neighbours, metres. Points stand at whole multiples of it, so that a larger area keeps them.

    Raises
    ------
    InputError
        If the layer is faulty, the spacing is not above 0 or so small that over 100,000 points would come out, or no
        point lies in an area.
    """
    step = _checked(areas, spacing_m, "spacing_m")
    west, south, east, north = areas.total_bounds
    x = step * np.arange(np.ceil(west / step), np.floor(east / step) + 1)
    y = step * np.arange(np.ceil(south / step), np.floor(north / step) + 1)
    return _inside(areas, np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2), "spacing_m")


def from_poisson_disc(areas: gpd.GeoDataFrame, *, spacing_m: float, rng: np.random.Generator) -> gpd.GeoDataFrame:
    """Random points in areas, none nearer to another than a distance: even, and without the bias of a grid.

    Parameters
    ----------
    areas
        Polygons with ``id`` and ``name`` in a projected CRS.
    spacing_m
        Least distance between points, metres.
    rng
        Source of randomness.

    Raises
    ------
    InputError
        As `from_grid`.

    References
    ----------
    Bridson, R. (2007). Fast Poisson disk sampling in arbitrary dimensions. SIGGRAPH sketches, as implemented in
    `scipy.stats.qmc.PoissonDisk`.
    """
    step = _checked(areas, spacing_m, "spacing_m")
    west, south, east, north = areas.total_bounds
    side = max(east - west, north - south)
    # in units of the extent, of which a billionth is no distance
    unit = settled(qmc.PoissonDisk(d=2, radius=min(step / side, 1.0), rng=rng).fill_space(), decimals=9)
    return _inside(areas, np.array([west, south]) + side * unit, "spacing_m")


def from_parcels(parcels: gpd.GeoDataFrame, *, area_at_least_m2: float = 0.0) -> gpd.GeoDataFrame:
    """The middle of every parcel that is large enough: its centroid, or a point inside where that lies outside.

    Parameters
    ----------
    parcels
        Polygons with ``id`` and ``name`` in a projected CRS; all columns are kept.
    area_at_least_m2
        Parcels smaller than this are left out.

    Raises
    ------
    InputError
        If the layer is faulty or no parcel is large enough.
    """
    raise_if_any(_area_findings(parcels, "parcels", "parcels"))
    size = parcels.area * parcels.crs.axis_info[0].unit_conversion_factor ** 2
    kept = parcels[size >= area_at_least_m2]
    if kept.empty:
        what = f"no parcel has {area_at_least_m2:g} m2, the largest has {size.max():,.0f}"
        raise InputError([Finding("area_at_least_m2", what, "lower it")])
    middle = kept.geometry.centroid
    return kept.set_geometry(middle.where(kept.geometry.contains(middle), kept.representative_point())).reset_index(
        drop=True
    )


def from_clusters(loads: gpd.GeoDataFrame, *, count: int) -> gpd.GeoDataFrame:
    """Places amid volatile load: the medoids that make the sum of load times distance small.

    Medoids are built up one by one and then exchanged while that lowers the sum, as in PAM (Kaufman and Rousseeuw
    1990), with the volatile load as weight. The result cannot be improved by any single exchange.

    Parameters
    ----------
    loads
        Points with ``id`` and ``volatile_mw`` in a projected CRS.
    count
        Number of medoids, at most that of the points.

    Returns
    -------
    geopandas.GeoDataFrame
        ``id`` and ``name`` (those of the load at the medoid), ``volatile_mw`` of its cluster, and ``mean_km``, the mean
        distance of that load.

    Raises
    ------
    InputError
        If the layer is faulty or the count is not between 1 and the number of points.
    """
    raise_if_any(_area_findings(loads, "loads", "clusters"))
    loads = as_checked(loads, kind="clusters")
    if not 1 <= count <= len(loads):
        what = f"must be between 1 and the number of loads, {len(loads)}, is {count}"
        raise InputError([Finding("count", what)])
    spot = shapely.get_coordinates(loads.geometry.to_numpy()) * loads.crs.axis_info[0].unit_conversion_factor / 1000
    apart = np.hypot(*(spot[:, None] - spot[None]).transpose(2, 0, 1))
    weight = loads["volatile_mw"].to_numpy()
    medoid = _medoids(apart * weight[:, None], count)
    nearest = apart[:, medoid].argmin(axis=1)
    load = np.bincount(nearest, weights=weight, minlength=count)
    far = np.bincount(nearest, weights=weight * apart[np.arange(len(loads)), medoid[nearest]], minlength=count)
    chosen = loads.iloc[medoid].reset_index(drop=True)
    if "name" not in chosen:
        chosen = chosen.assign(name=chosen["id"])
    return chosen[["id", "name", loads.active_geometry_name]].assign(volatile_mw=load, mean_km=far / load)


def _medoids(cost: npt.NDArray[np.float64], count: int) -> npt.NDArray[np.int64]:
    """Columns that make the sum over rows of the least cost small; cost (place, medoid)."""
    chosen: list[int] = []
    for _ in range(count):
        best = np.min(cost[:, chosen], axis=1, initial=np.inf)
        total = np.minimum(cost, best[:, None]).sum(axis=0)
        total[chosen] = np.inf
        chosen.append(int(total.argmin()))
    value = cost[:, chosen].min(axis=1).sum()
    while True:
        others = [np.min(np.delete(cost[:, chosen], k, axis=1), axis=1, initial=np.inf) for k in range(count)]
        totals = np.array([np.minimum(cost, rest[:, None]).sum(axis=0) for rest in others])
        leave, enter = np.unravel_index(totals.argmin(), totals.shape)
        if totals[leave, enter] >= value - 1e-9 * abs(value):
            return np.sort(np.array(chosen))
        chosen[int(leave)], value = int(enter), float(totals[leave, enter])


def _inside(areas: gpd.GeoDataFrame, spot: npt.NDArray[np.float64], key: str) -> gpd.GeoDataFrame:
    points = shapely.points(spot)
    which, where = shapely.STRtree(points).query(areas.geometry.to_numpy(), predicate="covers")[::-1]
    if not len(which):
        raise InputError([Finding(key, "no point lies in an area", "choose a smaller spacing or larger areas")])
    # a point on the border of two areas, or where they overlap, belongs to the first
    which, first = np.unique(which, return_index=True)
    taken = areas.iloc[where[first]].reset_index(drop=True)
    width = len(str(len(which)))
    label = [f"c{k + 1:0{width}d}" for k in range(len(which))]
    name = [f"{area}, point {k + 1}" for k, area in enumerate(taken["name"])]
    return taken.assign(area=taken["id"], id=label, name=name).set_geometry(gpd.GeoSeries(points[which], crs=areas.crs))


def _checked(areas: gpd.GeoDataFrame, metres: float, key: str) -> float:
    """A distance in units of the CRS of the areas, after every check."""
    findings = list(_area_findings(areas, "areas", "parcels"))
    if not (np.isfinite(metres) and metres > 0):
        findings.append(Finding(key, f"must be a finite number of metres above 0, is {metres}"))
    raise_if_any(findings)
    step = float(metres / areas.crs.axis_info[0].unit_conversion_factor)
    west, south, east, north = areas.total_bounds
    if (east - west) * (north - south) > MOST * step**2:
        what = f"{metres:g} m would give over {MOST:,} points on the extent of the areas"
        raise InputError([Finding(key, what, "choose a wider spacing")])
    return step


def _area_findings(layer: gpd.GeoDataFrame, where: str, kind: Kind) -> Iterator[Finding]:
    findings = check_layer(layer, kind=kind, where=where)
    yield from findings or projection_findings(layer, where)


# ==== How suitable they are =============================================================================


@dataclass(frozen=True)
class Criterion:
    """One layer of a suitability score: linear from the worst value (0) to the best (1), clipped beyond.

    Attributes
    ----------
    best, worst
        Values that score 1 and 0; either may be the larger.
    weight
        Weight in the score, above 0; only its share counts.
    """

    best: float
    worst: float
    weight: float = 1.0

    def __post_init__(self) -> None:
        if not (np.isfinite(self.best) and np.isfinite(self.worst) and self.best != self.worst):
            raise ValueError(f"best and worst must be two different finite numbers, got {self.best} and {self.worst}")
        if not (np.isfinite(self.weight) and self.weight > 0):
            raise ValueError(f"weight must be a finite number above 0, got {self.weight}")


def suitability(values: pd.DataFrame, criteria: Mapping[str, Criterion]) -> pd.DataFrame:
    """Weighted score of candidates between 0 and 1.

    Parameters
    ----------
    values
        One row a candidate, one column a criterion, for example distances to roads and substations or the slope.
    criteria
        How each column is scored; further columns are ignored.

    Returns
    -------
    pandas.DataFrame
        The score of every criterion, 0 to 1, and ``score``, their weighted mean; the best candidate first.

    Raises
    ------
    InputError
        If there are no criteria, a column is missing, or a value is missing or not finite.
    """
    findings = [
        Finding("values", f"no column {name!r}", suggest(name, map(str, values.columns)))
        for name in criteria
        if name not in values
    ]
    if not criteria:
        findings.append(Finding("criteria", "none is given"))
    for name in criteria:
        lost = ~np.isfinite(values[name].to_numpy(dtype=float)) if name in values else np.zeros(0, dtype=bool)
        if lost.any():
            findings.append(Finding(f"values[{name!r}]", f"no finite value at {shorten(values.index[lost])}"))
    raise_if_any(findings)
    scores = pd.DataFrame(
        {name: ((values[name] - one.worst) / (one.best - one.worst)).clip(0, 1) for name, one in criteria.items()}
    )
    weight = np.array([one.weight for one in criteria.values()])
    return scores.assign(score=scores.to_numpy() @ weight / weight.sum()).sort_values(
        "score", ascending=False, kind="stable"
    )


def distance_to(candidates: gpd.GeoDataFrame, layer: gpd.GeoDataFrame) -> pd.Series:
    """Metres from every candidate to the nearest feature of a layer, indexed by id; 0 inside a polygon.

    Raises
    ------
    InputError
        If the candidates are faulty, the CRS is not a base of lengths, the layers differ in CRS or have no rows.
    """
    findings = list(point_findings(candidates, "candidates"))
    if not findings:
        findings += projection_findings(candidates, "candidates")
    if layer.empty:
        findings.append(Finding("layer", "has no rows"))
    if not findings and layer.crs != candidates.crs:
        findings.append(Finding("layer", f"has CRS {layer.crs}, not {candidates.crs}", "layer.to_crs(candidates.crs)"))
    raise_if_any(findings)
    tree = shapely.STRtree(layer.geometry.to_numpy())
    gap = tree.query_nearest(candidates.geometry.to_numpy(), return_distance=True, all_matches=False)[1]
    metres = gap * candidates.crs.axis_info[0].unit_conversion_factor
    return pd.Series(metres, index=pd.Index(candidates["id"], name="id"), name="distance_m")


def slope(elevation: xr.DataArray) -> xr.DataArray:
    """Slope of a raster of elevations, degrees, by central differences.

    Parameters
    ----------
    elevation
        Metres over (y, x), both coordinates in metres of a projected CRS, evenly spaced or not.

    Raises
    ------
    InputError
        If a dimension is missing, has fewer than two labels, or is not monotonic.
    """
    findings = list(_raster_findings(elevation, "elevation"))
    raise_if_any(findings)
    grid = elevation.transpose("y", "x")
    up, across = np.gradient(grid.values, grid["y"].values, grid["x"].values)
    degrees = np.degrees(np.arctan(np.hypot(up, across)))
    return grid.copy(data=degrees).rename("slope").assign_attrs(units="degree")


def sample(raster: xr.DataArray, candidates: gpd.GeoDataFrame) -> pd.Series:
    """Values of a raster at candidates, linear between its cells; NaN beyond its edge.

    Parameters
    ----------
    raster
        Values over (y, x) in the CRS of the candidates.
    candidates
        Points with the column ``id``.

    Raises
    ------
    InputError
        If the raster or the points are faulty.
    """
    raise_if_any([*_raster_findings(raster, "raster"), *point_findings(candidates, "candidates")])
    at = {axis: xr.DataArray(getattr(candidates.geometry, axis).to_numpy(), dims="id") for axis in ("x", "y")}
    values = raster.interp(at, method="linear").to_numpy()
    return pd.Series(values, index=pd.Index(candidates["id"], name="id"), name=str(raster.name or "raster"))


def _raster_findings(raster: xr.DataArray, where: str) -> Iterator[Finding]:
    if set(raster.dims) != {"x", "y"}:
        yield Finding(where, f"has dimensions ({shorten(raster.dims)})", "a raster is over y and x")
        return
    for axis in ("x", "y"):
        index = raster.indexes.get(axis)
        if index is None or len(index) < 2 or not (index.is_monotonic_increasing or index.is_monotonic_decreasing):
            yield Finding(f"{where}[{axis!r}]", "needs at least two coordinates in order", f"raster.sortby({axis!r})")
