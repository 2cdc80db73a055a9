"""Where suppliers and hubs stand, which technologies may be sited, and how many hubs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from drofcm.core.limits import LARGEST
from drofcm.sections.base import Broken, Count, Hours, Label, Labels, LayerName, NotNegative, Positive, Section, twice

__all__ = [
    "Area",
    "Candidates",
    "Catalogue",
    "Contract",
    "Hubs",
]


class Area(Section):
    """Where suppliers, hubs and buses stand, and how roads connect them."""

    name: str = Field(default="loudoun", min_length=1, description="layers under geo, or a folder beside this file")
    crs: str = Field(default="EPSG:32618", description="projected CRS in which distances are measured")
    detour: Annotated[float, Field(ge=1, le=100)] = Field(default=1.3, description="road distance over straight line")
    road_speed_km_h: Annotated[Positive, Field(le=1000)] = Field(default=40.0, description="mean speed on the road")
    distances: str | None = Field(
        default=None, description="CSV beside this file with columns supplier, hub, distance_km; null: from the layers"
    )
    roads: LayerName | None = Field(
        default=None, description="layer of roads, ways follow it; null: straight line, detour and road_speed_km_h"
    )
    snap_limit_m: Annotated[Positive, Field(le=1000 * LARGEST["km"])] = Field(
        default=500.0, description="how far a place may lie from the nearest road"
    )
    hazards: LayerName | None = Field(
        default=None, description="layer of zones that events may flood: roads close there and hubs are out of use"
    )
    closed_h: Hours = Field(default=24.0, description="how long roads stay closed after the onset")

    def rules(self) -> Iterator[Broken]:
        """Keys without effect."""
        for key in ("detour", "road_speed_km_h"):
            if self.roads is not None and key in self.model_fields_set:
                yield Broken((key,), "has no effect when ways follow roads", f"remove {key} or roads")
        if self.roads is None and "snap_limit_m" in self.model_fields_set:
            yield Broken(("snap_limit_m",), "has no effect without roads", "remove it, or name the layer of roads")
        if (self.roads is None or self.hazards is None) and "closed_h" in self.model_fields_set:
            yield Broken(("closed_h",), "has no effect without roads and hazards", "remove it, or name both layers")


class Contract(Section):
    """Stock of a technology in place of a column of the suppliers layer."""

    technology: Label = Field(description="label of the catalogue")
    modules: Count = Field(description="modules that every supplier has")
    data_centres_only: bool = Field(default=False, description="whether it is part of a data centre: no other node")


class Catalogue(Section):
    """The technologies that may be sited."""

    name: str = Field(
        default="fcm_2026", min_length=1, description="dataset under datasets/catalogue, or a folder beside this file"
    )
    life_a: Annotated[Positive, Field(le=LARGEST["a"])] | None = Field(
        default=None,
        description="years over which transport is paid, of every module; 1: every year anew; null: of the catalogue",
    )
    contracts: Annotated[tuple[Contract, ...], Field(strict=False)] = Field(
        default=(), description="stock of technologies that the suppliers layer does not list"
    )

    def rules(self) -> Iterator[Broken]:
        """Technologies listed twice."""
        yield from twice(tuple(contract.technology for contract in self.contracts), "contracts")


class Candidates(Section):
    """Candidate hubs found in layers, in place of a layer of hubs."""

    essential: ClassVar[bool] = True

    method: Literal["parcels", "grid", "poisson_disc", "clusters"] = Field(
        description="middle of each parcel, points in areas, or places amid volatile load"
    )
    layer: LayerName = Field(description="parcels or areas (polygons), or clusters (points with volatile_mw)")
    spacing_m: Annotated[Positive, Field(le=1000 * LARGEST["km"])] | None = Field(
        default=None, description="grid, poisson_disc: distance between candidates"
    )
    count: Annotated[Count, Field(ge=1)] | None = Field(default=None, description="clusters: number of candidates")
    keep_out: Annotated[tuple[LayerName, ...], Field(strict=False)] = Field(
        default=(), description="layers of zones in which nothing may stand, with their buffer_m"
    )
    setup_cost_usd_per_a: NotNegative | None = Field(default=None, description="of each; null: column of the layer")
    storage_slots: Annotated[NotNegative, Field(le=LARGEST["slots"])] | None = Field(
        default=None, description="of each; null: column of the layer"
    )

    def rules(self) -> Iterator[Broken]:
        """What each method needs, and what has no effect on it; clusters state no cost."""
        needed = {"grid": "spacing_m", "poisson_disc": "spacing_m", "clusters": "count"}.get(self.method)
        for key in ("spacing_m", "count"):
            given = getattr(self, key) is not None
            if key == needed and not given:
                yield Broken((key,), f"missing: method {self.method} needs it", f"give {key}")
            if key != needed and given:
                yield Broken((key,), f"has no effect on method {self.method}", f"remove {key}")
        for key in ("setup_cost_usd_per_a", "storage_slots"):
            if self.method == "clusters" and getattr(self, key) is None:
                yield Broken((key,), "missing: clusters have none of their own", f"give {key}")
        yield from twice(self.keep_out, "keep_out")


class Hubs(Section):
    """How many hubs, and which."""

    candidates: Candidates | None = Field(
        default=None, description="how candidates are found in layers; null: those of the layer hubs"
    )

    minimum: Count = Field(default=0, description="least number of hubs")
    maximum: Count | None = Field(default=None, description="largest number; null: no limit")
    forced_in: Labels = Field(default=(), description="hubs that must be opened")
    forced_out: Labels = Field(default=(), description="hubs that must not be opened")

    def rules(self) -> Iterator[Broken]:
        """Order of the counts; hubs both in and out; more hubs forced in than allowed."""
        if self.maximum is not None and self.minimum > self.maximum:
            yield Broken(("minimum",), f"{self.minimum} is above maximum {self.maximum}", "lower it or raise maximum")
        if self.maximum is not None and len(set(self.forced_in)) > self.maximum:
            yield Broken(
                ("forced_in",),
                f"{len(set(self.forced_in))} hubs are forced in, maximum is {self.maximum}",
                "force fewer or raise maximum",
            )
        for place, hub in enumerate(self.forced_in):
            if hub in self.forced_out:
                yield Broken(("forced_in", place), f"{hub!r} is forced in and out at once", "remove it from one list")
        yield from twice(self.forced_in, "forced_in")
        yield from twice(self.forced_out, "forced_out")
