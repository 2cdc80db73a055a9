"""Layers of places, roads and zones: reading them, and every check that a distance may rest on.

A layer is a GeoDataFrame with the column ``id`` (unique text) and those of its kind; further columns are kept and
ignored.

| kind | geometry | columns besides ``id`` |
| --- | --- | --- |
| suppliers | points | ``name``, ``stock_<technology>`` [modules] |
| hubs | points | ``name``, ``setup_cost_usd_per_a`` [$/a], ``storage_slots`` [slots] |
| buses | points | ``name`` |
| clusters | points | ``volatile_mw`` [MW]: load that may change suddenly |
| roads | lines | ``speed_km_h``; optional ``length_km`` (else that of the line), ``oneway`` (1: as drawn only) |
| parcels | polygons | ``name`` |
| hazards | polygons | ``name``; optional ``probability``: chance that an event finds the zone flooded or burning |
| exclusions | polygons | ``name``; optional ``buffer_m``: distance to keep besides |
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from os import PathLike
from pathlib import Path
from typing import Any, Final, Literal

import geopandas as gpd
import numpy as np
import pandas as pd
import pandera.pandas as pa
import shapely

from drofcm.core.errors import Finding, InputError, raise_if_any, shorten, suggest
from drofcm.siting.coordinates import coordinate_findings, rows_where
from drofcm.siting.layer_files import SUFFIXES, find_layer, read_layer

__all__ = [
    "SCHEMAS",
    "SUFFIXES",
    "Kind",
    "as_checked",
    "check_layer",
    "find_layer",
    "geometry_findings",
    "id_findings",
    "load_layer",
    "point_findings",
]

Kind = Literal["suppliers", "hubs", "buses", "clusters", "roads", "parcels", "hazards", "exclusions"]

_POINT: Final = ("Point",)
_LINE: Final = ("LineString",)
_AREA: Final = ("Polygon", "MultiPolygon")
_SINGLE: Final = {
    "Point": ("a point", "layer.representative_point()"),
    "LineString": ("a line", "layer.explode() takes lines of several parts apart"),
    "Polygon": ("a polygon", "draw the zone as a polygon, for example layer.buffer(...)"),
}

MOST_MODULES: Final = 1_000_000
"""Modules of one technology at one supplier beyond which a stock is taken for a slip."""


_SHAPEFILE_NAME: Final = 10


def _is_text(column: pd.Series[Any]) -> pd.Series[bool]:
    return column.map(lambda value: isinstance(value, str) and value.strip() != "")


def _occurs_above(column: pd.Series[Any]) -> pd.Series[bool]:
    """Where a value stands further up already, as it is written: GeoJSON may hold objects, which have no hash."""
    return column.map(repr).duplicated()


def _is_new(column: pd.Series[Any]) -> pd.Series[bool]:
    # what is no text is a finding of its own
    return ~(_is_text(column).astype(bool) & _occurs_above(column))


def _different(values: pd.Series[Any]) -> list[str]:
    return list(dict.fromkeys(map(str, values)))


def _is_amount(column: pd.Series[Any]) -> pd.Series[bool]:
    numbers = _numbers(column)
    return (numbers >= 0) & (numbers < np.inf)


def _is_whole(column: pd.Series[Any]) -> pd.Series[bool]:
    numbers = _numbers(column)
    return ~(numbers < np.inf) | (numbers % 1 == 0)  # what is no number is a finding of its own


def _is_count(column: pd.Series[Any]) -> pd.Series[bool]:
    numbers = _numbers(column)
    return ~(numbers < np.inf) | (numbers <= MOST_MODULES)


def _numbers(column: pd.Series[Any]) -> pd.Series[float]:
    """The numbers that a column holds, NaN where it holds something else; text may be a number, a date is none."""
    if pd.api.types.is_datetime64_any_dtype(column) or pd.api.types.is_timedelta64_dtype(column):
        return pd.Series(np.nan, index=column.index, dtype=float)
    return pd.Series(pd.to_numeric(column, errors="coerce"), index=column.index, dtype=float)


def _is_positive(column: pd.Series[Any]) -> pd.Series[bool]:
    numbers = _numbers(column)
    return (numbers > 0) & (numbers < np.inf)


def _is_flag(column: pd.Series[Any]) -> pd.Series[bool]:
    return _numbers(column).isin([0, 1])


def _is_share(column: pd.Series[Any]) -> pd.Series[bool]:
    return _numbers(column).between(0, 1)


_TEXT = pa.Check(_is_text, error="must be text")
_AMOUNT = pa.Check(_is_amount, error="must be a finite number, at least 0")
_WHOLE = pa.Check(_is_whole, error="must be a whole number")
_COUNT = pa.Check(_is_count, error=f"must be at most {MOST_MODULES:,}")
_POSITIVE = pa.Check(_is_positive, error="must be a finite number above 0")
_FLAG = pa.Check(_is_flag, error="must be 0 or 1")
_SHARE = pa.Check(_is_share, error="must be between 0 and 1")
_UNIQUE = pa.Check(_is_new, error="duplicate")
_ID = {"id": pa.Column(checks=[_TEXT, _UNIQUE])}
_NAMED = {**_ID, "name": pa.Column(checks=_TEXT)}


def _optional(check: pa.Check) -> pa.Column:
    return pa.Column(checks=check, required=False)


SCHEMAS: Final[dict[Kind, pa.DataFrameSchema]] = {
    "suppliers": pa.DataFrameSchema({**_NAMED, "^stock_": pa.Column(checks=[_AMOUNT, _WHOLE, _COUNT], regex=True)}),
    "hubs": pa.DataFrameSchema(
        {**_NAMED, "setup_cost_usd_per_a": pa.Column(checks=_AMOUNT), "storage_slots": pa.Column(checks=_AMOUNT)}
    ),
    "buses": pa.DataFrameSchema(_NAMED),
    "clusters": pa.DataFrameSchema({**_ID, "volatile_mw": pa.Column(checks=_POSITIVE)}),
    "roads": pa.DataFrameSchema(
        {
            **_ID,
            "speed_km_h": pa.Column(checks=_POSITIVE),
            "length_km": _optional(_POSITIVE),
            "oneway": _optional(_FLAG),
        }
    ),
    "parcels": pa.DataFrameSchema(_NAMED),
    "hazards": pa.DataFrameSchema({**_NAMED, "probability": _optional(_SHARE)}),
    "exclusions": pa.DataFrameSchema({**_NAMED, "buffer_m": _optional(_AMOUNT)}),
}
"""What the columns of each kind of layer must be."""

_SHAPES: Final[dict[Kind, Sequence[str]]] = {
    "roads": _LINE,
    "parcels": _AREA,
    "hazards": _AREA,
    "exclusions": _AREA,
}


def load_layer(path: str | PathLike[str], *, kind: Kind) -> gpd.GeoDataFrame:
    """Read one layer and check it completely.

    Parameters
    ----------
    path
        A GeoPackage (``.gpkg``) with one layer, GeoParquet (``.parquet``), GeoJSON (``.geojson``) or a Shapefile
        (``.shp``), by name and by content; nothing else is opened, and no other file or address that one points to.
        Shapefiles cut names to ten characters; columns that this leaves unmistakable are restored.
    kind
        One of the table above, such as ``"suppliers"`` or ``"roads"``.

    Returns
    -------
    geopandas.GeoDataFrame
        In the CRS of the file; nothing is transformed. Columns hold what was checked (`as_checked`), also where the
        file holds numbers and flags as text.

    Raises
    ------
    InputError
        With every finding of `check_layer`, or with the one reason for which the file cannot be read.
    """
    path = Path(path)
    if kind not in SCHEMAS:
        raise InputError([Finding("kind", f"unknown kind of layer {kind!r}", suggest(str(kind), SCHEMAS))])
    layer = read_layer(path)
    if path.suffix.lower() == ".shp":
        layer = layer.rename(columns=_restored(layer, SCHEMAS[kind]))
    raise_if_any(check_layer(layer, kind=kind, where=str(path)))
    return as_checked(layer, kind=kind)


def as_checked(layer: gpd.GeoDataFrame, *, kind: Kind) -> gpd.GeoDataFrame:
    """A sound layer as its check understood it: numbers as numbers, flags as True and False, places without height.

    Every user of a column takes it from here, so that what is used is what was checked. Heights are of no use for
    ways in the plane, and points with and without one do not mix.

    Parameters
    ----------
    layer
        A layer without findings of `check_layer`; it is not changed.
    kind
        Its kind.
    """
    shapes = layer.geometry
    flat = layer.set_geometry(shapes.force_2d()) if shapes.has_z.any() else layer.copy()
    for name, column in SCHEMAS[kind].columns.items():
        for held in [key for key in flat.columns if (re.match(name, str(key)) if column.regex else key == name)]:
            if _FLAG in column.checks:
                flat[held] = _numbers(flat[held]) == 1
            elif _WHOLE in column.checks:
                flat[held] = _numbers(flat[held]).astype(np.int64)
            elif _TEXT not in column.checks:
                flat[held] = _numbers(flat[held])
    return flat


def check_layer(layer: gpd.GeoDataFrame, *, kind: Kind, where: str) -> list[Finding]:
    """Every fault of a layer: its columns, its CRS and its geometries.

    Coordinates in the wrong order are found where the CRS tells them apart: in a projected CRS, and in a geographic
    one whose area of use does not hold the swapped point. In WGS 84 that is so only beyond 90 degrees of latitude.
    """
    shapes = _SHAPES.get(kind, _POINT)
    return [*_column_findings(layer, SCHEMAS[kind], where), *geometry_findings(layer, where, shapes)]


def id_findings(layer: gpd.GeoDataFrame, where: str) -> Iterator[Finding]:
    """Faults of the column ``id``: missing, with gaps, or not unique."""
    if "id" not in layer:
        yield Finding(where, "column 'id' is missing", f"columns: {shorten([str(name) for name in layer.columns])}")
    elif layer["id"].isna().any():
        yield Finding(f"{where}['id']", "value is missing", "every place needs an id")
    elif (again := _occurs_above(layer["id"])).any():
        twice = shorten(_different(layer["id"][again]))
        yield Finding(f"{where}['id']", f"duplicate: {twice}", "every id may occur once")


def point_findings(layer: gpd.GeoDataFrame, where: str) -> Iterator[Finding]:
    """Faults of the CRS and the points of a layer; ``where`` names the layer in the findings."""
    yield from geometry_findings(layer, where, _POINT)


def geometry_findings(layer: gpd.GeoDataFrame, where: str, shapes: Sequence[str]) -> Iterator[Finding]:
    """Faults of the CRS and the geometries of a layer.

    Parameters
    ----------
    layer
        The layer.
    where
        Names the layer in the findings.
    shapes
        Types that are accepted, as ``geom_type`` calls them.
    """
    single, remedy = _SINGLE[shapes[0]]
    if not isinstance(layer, gpd.GeoDataFrame) or layer.active_geometry_name is None:
        yield Finding(where, "has no geometry", f"a layer needs {single.replace('a ', 'one ', 1)} per row")
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
    drawn = layer.geometry
    missing = drawn.isna() | drawn.is_empty
    if missing.any():
        every = "place needs a point" if shapes == _POINT else f"row needs {single}"
        yield Finding(where, f"no geometry at {rows_where(layer, missing)}", f"every {every}")
    other = ~missing & ~drawn.geom_type.isin(shapes)
    if other.any():
        kinds = shorten(sorted(drawn[other].geom_type.unique()))
        yield Finding(where, f"{kinds} at {rows_where(layer, other)}, {single} is needed", remedy)
    usable = ~missing & ~other
    broken = usable & ~drawn.where(usable).is_valid
    if broken.any():
        yield _broken_finding(layer, broken, where, shapes)
    sound = layer[usable & ~broken]
    if layer.crs is not None and not sound.empty:
        yield from coordinate_findings(sound, where)


def _broken_finding(layer: gpd.GeoDataFrame, broken: Any, where: str, shapes: Sequence[str]) -> Finding:
    at = rows_where(layer, broken)
    if shapes == _POINT:
        return Finding(where, f"invalid point (coordinate not finite) at {at}")
    reasons = sorted({reason.split("[")[0] for reason in shapely.is_valid_reason(layer.geometry[broken].to_numpy())})
    fix = "a line needs two different points with finite coordinates" if shapes == _LINE else "layer.make_valid()"
    return Finding(where, f"invalid geometry ({shorten(reasons)}) at {at}", fix)


def _restored(layer: gpd.GeoDataFrame, schema: pa.DataFrameSchema) -> dict[str, str]:
    """Names of columns that a Shapefile cut, where only one column of the kind can be meant."""
    whole = [str(name) for name in schema.columns if len(str(name)) > _SHAPEFILE_NAME]
    short = [name[:_SHAPEFILE_NAME] for name in whole]
    return {cut: name for cut, name in zip(short, whole, strict=True) if cut in layer and short.count(cut) == 1}


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
    at = rows_where(layer, layer.index.isin(group["index"]))
    if check == _UNIQUE.error:
        return Finding(where, f"duplicate: {shorten(_different(group['failure_case']))}", "every id may occur once")
    if check == "not_nullable":
        return Finding(where, f"value is missing at {at}")
    values = shorten([repr(value) for value in group["failure_case"]])
    return Finding(where, f"{check}, is {values} at {at}")
