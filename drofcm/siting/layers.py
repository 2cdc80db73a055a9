"""Layers of places: reading them, and every check that a distance may rest on.

A layer is a GeoDataFrame of points with the columns ``id`` (unique text) and ``name``, and those of its kind:
suppliers state their stock as ``stock_<technology>`` [modules], hubs their ``setup_cost_usd_per_a`` [$/a] and
``storage_slots`` [slots]. Further columns are kept and ignored.
"""

from __future__ import annotations

from collections.abc import Iterator
from os import PathLike
from pathlib import Path
from typing import Any, Final, Literal

import geopandas as gpd
import numpy as np
import pandas as pd
import pandera.pandas as pa
import pyogrio
from pyproj import CRS

from drofcm.core.errors import Finding, InputError, raise_if_any, shorten, suggest

__all__ = ["SCHEMAS", "Kind", "check_layer", "load_layer", "point_findings", "utm_proposal"]

Kind = Literal["suppliers", "hubs", "buses"]

_Degrees = np.ndarray[Any, np.dtype[np.float64]]

AREA_MARGIN: Final = 3.0
"""Degrees beyond the area of use of a CRS up to which coordinates are believed (half a UTM zone)."""


def _is_text(column: pd.Series[Any]) -> pd.Series[bool]:
    return column.map(lambda value: isinstance(value, str) and value.strip() != "")


def _is_amount(column: pd.Series[Any]) -> pd.Series[bool]:
    numbers = _numbers(column)
    return (numbers >= 0) & (numbers < np.inf)


def _is_whole(column: pd.Series[Any]) -> pd.Series[bool]:
    numbers = _numbers(column)
    return numbers.isna() | (numbers % 1 == 0)  # what is no number is a finding of its own


def _numbers(column: pd.Series[Any]) -> pd.Series[float]:
    return pd.Series(pd.to_numeric(column, errors="coerce"), index=column.index, dtype=float)


_TEXT = pa.Check(_is_text, error="must be text")
_AMOUNT = pa.Check(_is_amount, error="must be a finite number, at least 0")
_WHOLE = pa.Check(_is_whole, error="must be a whole number")
_NAMED = {"id": pa.Column(checks=_TEXT, unique=True), "name": pa.Column(checks=_TEXT)}

SCHEMAS: Final[dict[Kind, pa.DataFrameSchema]] = {
    "suppliers": pa.DataFrameSchema({**_NAMED, "^stock_": pa.Column(checks=[_AMOUNT, _WHOLE], regex=True)}),
    "hubs": pa.DataFrameSchema(
        {**_NAMED, "setup_cost_usd_per_a": pa.Column(checks=_AMOUNT), "storage_slots": pa.Column(checks=_AMOUNT)}
    ),
    "buses": pa.DataFrameSchema(_NAMED),
}
"""What the columns of each kind of layer must be."""


def load_layer(path: str | PathLike[str], *, kind: Kind) -> gpd.GeoDataFrame:
    """Read one layer and check it completely.

    Parameters
    ----------
    path
        A GeoPackage (or any vector file that GDAL reads) with one layer, or GeoParquet (``.parquet``).
    kind
        ``"suppliers"``, ``"hubs"`` or ``"buses"``.

    Returns
    -------
    geopandas.GeoDataFrame
        Points in the CRS of the file; nothing is transformed.

    Raises
    ------
    InputError
        With every finding of `check_layer`, or with the one reason for which the file cannot be read.
    """
    path = Path(path)
    if kind not in SCHEMAS:
        raise InputError([Finding("kind", f"unknown kind of layer {kind!r}", suggest(str(kind), SCHEMAS))])
    layer = _read(path)
    raise_if_any(check_layer(layer, kind=kind, where=str(path)))
    return layer


def check_layer(layer: gpd.GeoDataFrame, *, kind: Kind, where: str) -> list[Finding]:
    """Every fault of a layer: its columns, its CRS and its points.

    Coordinates in the wrong order are found where the CRS tells them apart: in a projected CRS, and in a geographic
    one whose area of use does not hold the swapped point. In WGS 84 that is so only beyond 90 degrees of latitude.
    """
    return [*_column_findings(layer, SCHEMAS[kind], where), *point_findings(layer, where)]


def point_findings(layer: gpd.GeoDataFrame, where: str) -> Iterator[Finding]:
    """Faults of the CRS and the points of a layer; ``where`` names the layer in the findings."""
    if not isinstance(layer, gpd.GeoDataFrame) or layer.active_geometry_name is None:
        yield Finding(where, "has no geometry", "a layer needs one point per row")
        return
    if layer.crs is None:
        yield Finding(
            where,
            "has no CRS, so its coordinates have no meaning",
            "state the CRS the coordinates are in, for example layer.set_crs('EPSG:4326'); it is never guessed",
        )
    if layer.empty:
        yield Finding(where, "has no rows")
        return
    points = layer.geometry
    missing = points.isna() | points.is_empty
    if missing.any():
        yield Finding(where, f"no geometry at {_rows(layer, missing)}", "every place needs a point")
    other = ~missing & (points.geom_type != "Point")
    if other.any():
        kinds = shorten(sorted(points[other].geom_type.unique()))
        yield Finding(where, f"{kinds} at {_rows(layer, other)}, a point is needed", "layer.representative_point()")
    usable = ~missing & ~other
    broken = usable & ~points.where(usable).is_valid
    if broken.any():
        yield Finding(where, f"invalid point (coordinate not finite) at {_rows(layer, broken)}")
    sound = layer[usable & ~broken]
    if layer.crs is not None and not sound.empty:
        yield from _coordinate_findings(sound, where)


def utm_proposal(layer: gpd.GeoDataFrame) -> str:
    """The words with which a projected CRS for this layer is offered; nothing is transformed."""
    try:
        here = f", here {layer.estimate_utm_crs().to_string()}"
    except RuntimeError:  # beyond 84 degrees of latitude there is no UTM zone
        here = ""
    return f"layer.to_crs(layer.estimate_utm_crs()){here}"


def _read(path: Path) -> gpd.GeoDataFrame:
    if not path.is_file():
        near = suggest(path.name, (file.name for file in path.parent.iterdir())) if path.parent.is_dir() else ""
        raise InputError([Finding(str(path), "no such file", near)])
    try:
        if path.suffix == ".parquet":
            return gpd.read_parquet(path)
        names = [str(name) for name, _ in pyogrio.list_layers(path)]
        layer = gpd.read_file(path, layer=names[0]) if names else gpd.GeoDataFrame()
    except (pyogrio.errors.DataSourceError, pyogrio.errors.DataLayerError, ValueError) as error:
        raise InputError([Finding(str(path), f"cannot be read as a layer: {error}")]) from error
    if len(names) != 1:
        held = f"holds several layers: {shorten(names)}" if names else "holds no layer"
        raise InputError([Finding(str(path), held, "write one layer a file")])
    return layer


def _column_findings(layer: pd.DataFrame, schema: pa.DataFrameSchema, where: str) -> Iterator[Finding]:
    try:
        schema.validate(_attributes(layer), lazy=True)
    except pa.errors.SchemaErrors as errors:
        cases = errors.failure_cases
    else:
        return
    for (column, check), group in cases.groupby(["column", "check"], dropna=False, sort=False):
        if check == "column_in_dataframe":
            for name in group["failure_case"]:
                yield Finding(where, f"column {name!r} is missing", suggest(str(name), layer.columns))
        elif "no_regex_column_match" in str(check):
            known = shorten([str(name) for name in layer.columns])
            yield Finding(where, f"no column {str(column).lstrip('^')}<technology>", f"columns: {known}")
        else:
            yield _value_finding(layer, f"{where}[{str(column)!r}]", str(check), group)


def _attributes(layer: pd.DataFrame) -> pd.DataFrame:
    geometry = getattr(layer, "active_geometry_name", None)
    return pd.DataFrame(layer if geometry is None else layer.drop(columns=geometry))


def _value_finding(layer: pd.DataFrame, where: str, check: str, group: pd.DataFrame) -> Finding:
    at = _rows(layer, layer.index.isin(group["index"]))
    if check == "field_uniqueness":
        return Finding(where, f"duplicate: {shorten(group['failure_case'].unique())}", "every id may occur once")
    if check == "not_nullable":
        return Finding(where, f"value is missing at {at}")
    values = shorten([repr(value) for value in group["failure_case"]])
    return Finding(where, f"{check}, is {values} at {at}")


def _coordinate_findings(layer: gpd.GeoDataFrame, where: str) -> Iterator[Finding]:
    crs: CRS = layer.crs
    x, y = layer.geometry.x.to_numpy(), layer.geometry.y.to_numpy()
    if crs.is_projected and (np.abs(x) <= 180).all() and (np.abs(y) <= 90).all():
        yield Finding(
            where,
            f"the coordinates look like degrees, but the CRS {crs.to_string()} is projected",
            "state the CRS the numbers are in: layer.set_crs('EPSG:4326', allow_override=True), then layer.to_crs(...)",
        )
        return
    area = crs.area_of_use
    if area is None:
        return
    outside = ~_inside(area.bounds, *_degrees(x, y, crs), margin=0.0 if crs.is_geographic else AREA_MARGIN)
    if not outside.any():
        return
    at = _rows(layer, outside)
    if _inside(area.bounds, *_degrees(y[outside], x[outside], crs), margin=0.0).all():
        yield Finding(where, f"x and y (longitude and latitude) look swapped at {at}", "x is east, y is north")
    else:
        yield Finding(
            where,
            f"{at} lies outside the area where {crs.to_string()} is used ({area.name})",
            "check the coordinates and the CRS",
        )


def _degrees(x: _Degrees, y: _Degrees, crs: CRS) -> tuple[_Degrees, _Degrees]:
    points = gpd.GeoSeries(gpd.points_from_xy(x, y, crs=crs))
    if crs.is_projected:
        points = points.to_crs(crs.geodetic_crs)
    return points.x.to_numpy(), points.y.to_numpy()


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


def _rows(layer: pd.DataFrame, mask: Any) -> str:
    positions = np.flatnonzero(np.asarray(mask))
    if "id" in layer:
        return "id " + shorten([str(layer["id"].iloc[position]) for position in positions])
    return "row " + shorten([str(position) for position in positions])
