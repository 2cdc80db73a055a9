"""The layers of the areas that are shipped, read once; tests change nothing in them."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import get_args

import geopandas as gpd

from drofcm.siting.layers import Kind, load_layer

GEO = Path(__file__).resolve().parents[1] / "geo"


@cache
def area_layers(name: str) -> dict[str, gpd.GeoDataFrame]:
    """Layer by kind; a file of a kind that is none fails."""
    kinds: dict[str, Kind] = {kind: kind for kind in get_args(Kind)}
    return {path.stem: load_layer(path, kind=kinds[path.stem]) for path in sorted((GEO / name).glob("*.gpkg"))}
