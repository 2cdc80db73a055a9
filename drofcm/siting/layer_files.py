"""Files of layers: found in a folder, told apart by their content, and opened as the one format that they hold.

GDAL would guess the format of a file from its content and follow what that says: a description of a virtual or web
layer reads other files and asks servers, whatever the file is called. So nothing is opened here before its first bytes
are those of the format that its name promises, and nothing in it points elsewhere.
"""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any, Final

import geopandas as gpd
import pyogrio

from drofcm.core.errors import Finding, InputError, raise_if_any, shorten, suggest

__all__ = ["SUFFIXES", "find_layer", "read_layer"]

SUFFIXES: Final = (".gpkg", ".parquet", ".geojson", ".shp")
"""Formats of layers, in the order in which they are looked for; capitals do not count."""

_NAMES: Final = {".gpkg": "GeoPackage", ".parquet": "GeoParquet", ".geojson": "GeoJSON", ".shp": "Shapefile"}
_DRIVERS: Final = {".gpkg": "GPKG", ".geojson": "GeoJSON", ".shp": "ESRI Shapefile"}
_HEAD_BYTES: Final = 100
_SQLITE: Final = b"SQLite format 3\x00"
# PRAGMA application_id of a GeoPackage: GP10, GP11, or GPKG since version 1.2
_PACKAGE_ID: Final = slice(68, 70)
_GEOMETRIES: Final = frozenset(
    {"Point", "MultiPoint", "LineString", "MultiLineString", "Polygon", "MultiPolygon", "GeometryCollection"}
)
# what names a CRS without an address to ask
_CRS_NAME = re.compile(r"(urn:(x-)?ogc:def:crs:|https?://(www\.)?opengis\.net/(gml/srs|def/crs)/|[A-Za-z]+:[\w.]+$)")


def find_layer(folder: Path, name: str) -> Path:
    """The file of the layer ``name`` in a folder, whatever its format; the GeoPackage of that name if there is none.

    Raises
    ------
    InputError
        If several could be meant.
    """
    held = [file for file in folder.iterdir() if file.stem == name and file.is_file()] if folder.is_dir() else []
    found = sorted(file for file in held if file.suffix.lower() in SUFFIXES)
    if len(found) > 1:
        what = f"several files could be meant: {shorten([file.name for file in found])}"
        raise InputError([Finding(str(folder / name), what, "keep one")])
    return found[0] if found else folder / f"{name}{SUFFIXES[0]}"


def read_layer(path: Path) -> gpd.GeoDataFrame:
    """The one layer that a file holds, as it stands there.

    Raises
    ------
    InputError
        If there is no such file, its content is not of the format that its name promises, it points to other files or
        addresses, or it holds no layer or several.
    """
    if not path.is_file():
        near = suggest(path.name, (file.name for file in path.parent.iterdir())) if path.parent.is_dir() else ""
        raise InputError([Finding(str(path), "no such file", near)])
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        known = ", ".join(f"{name} ({end})" for end, name in _NAMES.items())
        raise InputError([Finding(str(path), f"is no format of layers: {path.suffix!r}", f"write one of {known}")])
    try:
        raise_if_any(_content_findings(path, suffix))
        # an absolute path is no address, whatever the file is called
        return gpd.read_parquet(path.absolute()) if suffix == ".parquet" else _vector(path, suffix)
    except InputError:
        raise
    # the libraries underneath raise almost anything where the content of a file contradicts itself
    except Exception as error:
        raise InputError([Finding(str(path), f"cannot be read as a layer: {error}")]) from error


def _vector(path: Path, suffix: str) -> gpd.GeoDataFrame:
    file = path.absolute()
    # QGIS keeps styles in a table of the same file: what has no geometry is no layer
    names = [str(name) for name, geometry in pyogrio.list_layers(file) if geometry is not None]
    if len(names) != 1:
        held = f"holds several layers: {shorten(names)}" if names else "holds no layer with geometries"
        raise InputError([Finding(str(path), held, "write one layer a file")])
    driver = pyogrio.read_info(file, layer=names[0])["driver"]
    if driver != _DRIVERS[suffix]:
        raise InputError([Finding(str(path), f"is read as {driver}, not as {_NAMES[suffix]}", "save it anew")])
    return gpd.read_file(file, layer=names[0], engine="pyogrio")


# ==== What a file really holds ==========================================================================


def _content_findings(path: Path, suffix: str) -> Iterator[Finding]:
    """Why the content of a file is not to be opened as what its name promises."""
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
    if not _STARTS[suffix](head):
        what = f"cannot be read as a layer: its content is no {_NAMES[suffix]}, whatever its name says"
        like = [name for end, name in _NAMES.items() if _STARTS[end](head)]
        fix = f"it looks like {like[0]}: rename it" if like else "save it anew from the program that made it"
        yield Finding(str(path), what, fix)
    elif suffix == ".gpkg":
        yield from _virtual_tables(path)
    elif suffix == ".geojson":
        yield from _foreign_parts(path)


def _is_package(head: bytes) -> bool:
    return head.startswith(_SQLITE) and head[_PACKAGE_ID] == b"GP"


def _is_object(head: bytes) -> bool:
    return head.removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"{")


_STARTS: Final[Mapping[str, Callable[[bytes], bool]]] = {
    ".gpkg": _is_package,
    ".parquet": lambda head: head.startswith(b"PAR1"),
    ".geojson": _is_object,
    ".shp": lambda head: head.startswith((9994).to_bytes(4, "big")),
}


def _virtual_tables(path: Path) -> Iterator[Finding]:
    """Tables of a GeoPackage that are no tables but other files; its spatial index is one that may be."""
    with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro&immutable=1", uri=True)) as database:
        rows = database.execute("SELECT name, sql FROM sqlite_master WHERE type = 'table'").fetchall()
    for name, text in rows:
        words = re.match(r"\s*CREATE\s+VIRTUAL\s+TABLE.*?\sUSING\s+(\w+)", text or "", re.IGNORECASE | re.DOTALL)
        if words and words.group(1).lower() != "rtree":
            what = f"table {name!r} is virtual ({words.group(1)}): it may stand for another file"
            yield Finding(str(path), what, "save it as a table")


def _foreign_parts(path: Path) -> Iterator[Finding]:
    """What makes JSON no GeoJSON, and CRSs that would have to be asked for or differ from place to place."""
    try:
        content = json.loads(path.read_bytes())
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        reason = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
        yield Finding(str(path), f"cannot be read as a layer: {reason}", "save it as GeoJSON, in UTF-8")
        return
    kind = content.get("type")
    if kind not in {"FeatureCollection", "Feature", *_GEOMETRIES}:
        what = f"cannot be read as a layer: its type is {kind!r}, not 'FeatureCollection'"
        yield Finding(str(path), what, "save it as GeoJSON")
        return
    stated = content.get("crs")
    if stated is not None and not _named(stated):
        what = "states its CRS by other means than a name; no address is asked for it"
        yield Finding(f"{path}: crs", what, "name it (urn:ogc:def:crs:EPSG::32618), or leave it out for WGS 84")
    features = content.get("features")
    inner = [
        place
        for place, feature in enumerate(features if isinstance(features, list) else [content], start=1)
        if _states_crs(feature, feature is content)
    ]
    if inner:
        what = f"feature {shorten(inner)} states a CRS of its own"
        yield Finding(str(path), what, "one CRS serves the whole layer: transform the features, then drop theirs")


def _named(crs: Any) -> bool:
    properties = crs.get("properties") if isinstance(crs, dict) and crs.get("type") == "name" else None
    name = properties.get("name") if isinstance(properties, dict) else None
    return isinstance(name, str) and _CRS_NAME.match(name) is not None


def _states_crs(node: Any, is_root: bool = False) -> bool:
    """Whether a feature or anything in its geometry has a CRS."""
    if not isinstance(node, dict):
        return False
    inside = node.get("geometries")
    return (
        (not is_root and node.get("crs") is not None)
        or _states_crs(node.get("geometry"))
        or (isinstance(inside, list) and any(map(_states_crs, inside)))
    )
