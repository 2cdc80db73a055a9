"""What a study file names: datasets, layers, tables and events, found, loaded and checked against each other.

Every fault of every source is collected before anything is raised, and each points at the key of the study file, or
the file and labels, that it is about.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, TypeVar

import geopandas as gpd
import xarray as xr
from pyproj import CRS
from pyproj.exceptions import CRSError
from shapely.geometry import LineString

from drofcm.config import StudyFile
from drofcm.core.errors import Finding, InputError, quoted, raise_if_any, shorten, suggest
from drofcm.core.reading import file_fault
from drofcm.data import find_dataset, read_catalogue, read_feeder
from drofcm.fcm.catalogue import check_catalogue
from drofcm.network.feeder import Feeder
from drofcm.scenarios.combined import matrix_places
from drofcm.siting.coordinates import coordinate_findings, far_findings
from drofcm.siting.layers import SUFFIXES, Kind, find_layer, load_layer
from drofcm.siting.roads import RoadNetwork
from drofcm.study.beside import file_beside, folder_beside, strays
from drofcm.study.given import read_distances, read_events
from drofcm.study.matrix import read_matrix
from drofcm.study.places import Where, candidate_hubs, named_layers, road_distance

__all__ = ["Sources", "Where", "dotted", "load_sources", "source_findings"]

T = TypeVar("T")

DRAWN: Final[tuple[str, ...]] = ("suppliers", "hubs", "buses", "lines", "roads", "hazards")
"""Layers that are kept for maps and run folders; parcels and exclusions have done their work."""
_SHAPEFILE = (".shp", ".shx", ".dbf", ".prj", ".cpg")
_DATA_SUFFIXES: Final = frozenset({".csv", ".gpkg", ".parquet", ".yaml", ".geojson", *_SHAPEFILE})


def dotted(loc: Sequence[str | int]) -> str:
    """``study: hubs.forced_in.0``: a key of the study file when its text is not at hand."""
    return "study: " + ".".join(map(str, loc))


@dataclass(frozen=True)
class Sources:
    """Everything a study names, before anything is computed from it.

    Attributes
    ----------
    feeder
        The feeder, oriented away from its sources.
    catalogue
        Technologies over fcm.
    layers
        ``suppliers``, ``hubs``, ``buses`` (points) and ``lines``, and ``roads`` and ``hazards`` where the study names
        them, in the CRS of the study.
    roads
        The road network; None if ways are straight lines with a detour.
    distance
        Road distance, km over (supplier, hub).
    events
        Events read from a file; None if they are to be generated.
    matrix
        Event x location matrix read from a file; None if there is none.
    files
        Every file that was read, under a name that is the same on every machine.
    findings
        What is worth knowing and does not stop the study.
    """

    feeder: Feeder
    catalogue: xr.Dataset
    layers: dict[str, gpd.GeoDataFrame]
    roads: RoadNetwork | None
    distance: xr.DataArray
    events: xr.Dataset | None
    matrix: xr.DataArray | None
    files: dict[str, Path]
    findings: tuple[Finding, ...] = ()


class _Attempts:
    """Runs steps one after another and keeps the findings of those that fail, so that all are raised together."""

    def __init__(self) -> None:
        self.findings: list[Finding] = []

    def __call__(self, step: Callable[..., T], *args: Any, **options: Any) -> T | None:
        try:
            return step(*args, **options)
        except InputError as error:
            self.findings += [finding for finding in error.findings if finding not in self.findings]
            return None


def load_sources(study: StudyFile, folder: Path, where: Where = dotted) -> Sources:
    """Load everything a study names and check that it fits together.

    Parameters
    ----------
    study
        The study file.
    folder
        Folder of the study file; relative names start there.
    where
        Says where a key of the study file stands, for messages.

    Raises
    ------
    InputError
        With every fault of the sources and of what the study file says about them.
    """
    attempt = _Attempts()
    folders = {kind: attempt(_folder, study, folder, kind, where) for kind in ("feeder", "catalogue", "area")}
    for kind, base in folders.items():
        if base is not None and base.is_relative_to(folder):
            attempt.findings += strays(base, folder, where((kind, "name")))
    table = attempt(_without_errors, *read_feeder(folders["feeder"]), attempt) if folders["feeder"] else None
    feeder = None if table is None else attempt(Feeder.from_tables, table)
    catalogue = attempt(_catalogue, folders["catalogue"], attempt) if folders["catalogue"] else None
    layers: dict[str, gpd.GeoDataFrame] = {}
    for role, (name, kind, key) in named_layers(study).items():
        layer = attempt(_layer, area, name, kind, where(key)) if (area := folders["area"]) else None
        if layer is not None:
            layers[role] = layer
    layers = attempt(_projected, study, layers, where) or layers
    projected = all(layer.crs.is_projected for layer in layers.values())
    if projected and {f"keep_out {name}" for name in _keep_out(study)} | {"candidates"} <= layers.keys():
        hubs = attempt(candidate_hubs, study, layers, where)
        layers |= {} if hubs is None else {"hubs": hubs}
    roads = attempt(RoadNetwork.from_layer, layers["roads"]) if projected and "roads" in layers else None
    located = projected and {"suppliers", "hubs"} <= layers.keys() and (roads is None) == (study.area.roads is None)
    distance = attempt(_distance, study, folder, layers, roads, where) if located else None
    events = attempt(_events, study, folder, where, attempt) if study.events.file is not None else None
    matrix = None
    if study.events.matrix is not None:
        matrix = attempt(_matrix, study, folder, feeder, layers, where)
    attempt.findings += _label_findings(study, feeder, catalogue, layers, events, where)
    raise_if_any(attempt.findings)
    assert feeder is not None
    assert catalogue is not None
    assert distance is not None
    layers["lines"] = _lines(feeder, layers["buses"])
    drawn: dict[str, gpd.GeoDataFrame] = {name: layers[name] for name in DRAWN if name in layers}
    files = _files(study, folder, folders)
    seen = (*attempt.findings, *far_findings(drawn), *(() if roads is None else roads.findings))
    return Sources(feeder, catalogue, drawn, roads, distance, events, matrix, files, seen)


def _without_errors(table: T | None, findings: Sequence[Finding], notes: _Attempts) -> T:
    """What was read, if nothing but warnings came with it, which are kept."""
    raise_if_any(findings)
    notes.findings += findings
    assert table is not None  # without a table there is an error
    return table


def source_findings(study: StudyFile, folder: Path, where: Where = dotted) -> list[Finding]:
    """What `load_sources` would raise, for a study that is refused for other reasons already."""
    try:
        load_sources(study, folder, where)
    except InputError as error:
        return list(error.findings)
    return []


def _layer(area: Path, name: str, kind: Kind, key: str) -> gpd.GeoDataFrame:
    """A layer of the area; one that is not there is blamed on the key that names it, unless it is always needed."""
    path = find_layer(area, name)
    if not path.is_file() and name != kind:
        held = sorted(file.stem for file in area.iterdir() if file.suffix.lower() in SUFFIXES)
        raise InputError([Finding(key, f"the area holds no layer {name!r}", suggest(name, held))])
    return load_layer(path, kind=kind)


def _keep_out(study: StudyFile) -> tuple[str, ...]:
    return study.hubs.candidates.keep_out if study.hubs.candidates is not None else ()


def _folder(study: StudyFile, folder: Path, kind: Literal["feeder", "catalogue", "area"], where: Where) -> Path:
    """The folder of a dataset: one beside the study file if the name is a path, one that comes with drofcm if not."""
    name: str = getattr(study, kind).name
    key = where((kind, "name"))
    found = folder_beside(folder, name, key)
    if found is not None:
        return found
    try:
        return find_dataset(kind, name)
    except InputError as error:
        raise InputError(
            [
                Finding(key, f"{quoted(name)}: {fault.what}, nor a folder beside the study file", fault.fix)
                for fault in error.findings
            ]
        ) from None


def _catalogue(folder: Path, notes: _Attempts) -> xr.Dataset:
    table = _without_errors(*read_catalogue(folder), notes)
    raise_if_any(check_catalogue(table))
    return table


def _projected(study: StudyFile, layers: Mapping[str, gpd.GeoDataFrame], where: Where) -> dict[str, gpd.GeoDataFrame]:
    """The layers in the CRS of the study, in which distances are measured."""
    named, key = study.area.crs, where(("area", "crs"))
    try:
        crs = CRS.from_user_input(named)
    except CRSError:
        raise InputError([Finding(key, f"{quoted(named)} is not a CRS", "for example EPSG:32618")]) from None
    if not crs.is_projected:
        near = [layer.estimate_utm_crs().to_string() for layer in layers.values()]
        fix = f"give a projected one, here {near[-1]}" if near else "give a projected one"
        raise InputError([Finding(key, f"the CRS {named} is geographic: a degree is no distance", fix)])
    projected = {kind: layer.to_crs(crs) for kind, layer in layers.items()}
    # sound where they were drawn, they may still lie where lengths in the CRS of the study are wrong
    raise_if_any(found for kind, layer in projected.items() for found in coordinate_findings(layer, f"{kind} layer"))
    return projected


def _distance(
    study: StudyFile,
    folder: Path,
    layers: Mapping[str, gpd.GeoDataFrame],
    roads: RoadNetwork | None,
    where: Where,
) -> xr.DataArray:
    direct = road_distance(study, layers, roads).reset_coords(drop=True)
    if study.area.distances is None:
        return direct
    return read_distances(file_beside(folder, study.area.distances, where(("area", "distances"))), direct)


def _events(study: StudyFile, folder: Path, where: Where, notes: _Attempts) -> xr.Dataset:
    assert study.events.file is not None
    events, findings = read_events(file_beside(folder, study.events.file, where(("events", "file"))), study.step_hours)
    notes.findings += findings
    return events


def _matrix(
    study: StudyFile, folder: Path, feeder: Feeder | None, layers: Mapping[str, gpd.GeoDataFrame], where: Where
) -> xr.DataArray:
    assert study.events.matrix is not None
    path = file_beside(folder, study.events.matrix, where(("events", "matrix")))
    if feeder is None or "hubs" not in layers:
        return read_matrix(path)  # where events can happen is not known
    plants = {kind: [plant.bus for plant in study.plants if plant.kind == kind] for kind in ("dg", "pv")}
    places = matrix_places(
        [centre.bus for centre in study.data_centres],
        [str(line) for line in feeder.line],
        [str(hub) for hub in layers["hubs"]["id"]],
        plants["dg"],
        plants["pv"],
    )
    return read_matrix(path, places)


def _label_findings(
    study: StudyFile,
    feeder: Feeder | None,
    catalogue: xr.Dataset | None,
    layers: Mapping[str, gpd.GeoDataFrame],
    events: xr.Dataset | None,
    where: Where,
) -> Iterator[Finding]:
    """Labels that one source uses and the other does not have."""
    centres = [centre.bus for centre in study.data_centres]
    if feeder is not None:
        for place, bus in enumerate(centres):
            yield from _unknown(bus, "bus", feeder.bus, where(("data_centres", place, "bus")))
        yield from _all_known(study.feeder.monitored_buses, "bus", feeder.bus, ("feeder", "monitored_buses"), where)
        yield from _all_known(study.feeder.monitored_lines, "line", feeder.line, ("feeder", "monitored_lines"), where)
        yield from _all_known(study.events.fault_lines, "line", feeder.line, ("events", "fault_lines"), where)
        if study.events.weather is not None:
            exposed = study.events.weather.exposed_lines
            yield from _all_known(exposed, "line", feeder.line, ("events", "weather", "exposed_lines"), where)
        yield from _plant_findings(study, feeder, where)
    if "hubs" in layers:
        hubs = list(layers["hubs"]["id"])
        yield from _all_known(study.hubs.forced_in, "hub", hubs, ("hubs", "forced_in"), where)
        yield from _all_known(study.hubs.forced_out, "hub", hubs, ("hubs", "forced_out"), where)
        if study.hubs.minimum > len(hubs) - len(study.hubs.forced_out):
            what = f"{study.hubs.minimum} hubs are asked for, {len(hubs) - len(study.hubs.forced_out)} can be opened"
            yield Finding(where(("hubs", "minimum")), what, "lower it or add hubs to the layer")
    if feeder is not None and "buses" in layers:
        absent = [bus for bus in feeder.bus if bus not in set(layers["buses"]["id"])]
        if absent:
            yield Finding("buses layer", f"no point for bus {shorten(absent)}", "place every bus of the feeder")
    contracts = [contract.technology for contract in study.catalogue.contracts]
    if catalogue is not None:
        for place, label in enumerate(contracts):
            key = where(("catalogue", "contracts", place, "technology"))
            yield from _unknown(label, "technology", catalogue["fcm"].values, key)
    if catalogue is not None and "suppliers" in layers:
        for label in catalogue["fcm"].values:
            if label not in contracts and f"stock_{label}" not in layers["suppliers"]:
                yield Finding("suppliers layer", f"column 'stock_{label}' is missing", "0 where there is no stock")
    if events is not None:
        plants = [plant.bus for plant in study.plants]
        yield from _event_labels(events, centres, plants, feeder, layers, where(("events", "file")))


def _plant_findings(study: StudyFile, feeder: Feeder, where: Where) -> Iterator[Finding]:
    """Plants at unknown buses, and plants that feed in more than the feeder's load at their bus takes."""
    load = feeder.table["base_load"].to_series()
    fed = dict.fromkeys((plant.bus for plant in study.plants), 0.0)
    for place, plant in enumerate(study.plants):
        yield from _unknown(plant.bus, "bus", feeder.bus, where(("plants", place, "bus")))
        fed[plant.bus] += plant.output_mw
        if plant.bus in load.index and fed[plant.bus] > load[plant.bus] + 1e-9:
            what = f"{fed[plant.bus]:g} MW at bus {plant.bus!r} exceed its load of {load[plant.bus]:g} MW"
            fix = "a plant carries load of its own bus, so that its trip is load that comes: lower it or move it"
            yield Finding(where(("plants", place, "output_mw")), what, fix)


def _event_labels(
    events: xr.Dataset,
    centres: list[str],
    plants: list[str],
    feeder: Feeder | None,
    layers: Mapping[str, gpd.GeoDataFrame],
    key: str,
) -> Iterator[Finding]:
    known = {"node": [*centres, *plants]}
    if feeder is not None:
        known["line"] = list(feeder.line)
    if "hubs" in layers:
        known["hub"] = list(layers["hubs"]["id"])
    for dim, labels in known.items():
        for label in map(str, events[dim].values if dim in events.dims else ()):
            kind = "data centre or plant" if dim == "node" and plants else "data centre" if dim == "node" else dim
            yield from _unknown(label, kind, labels, key)
    for label in centres:
        if label not in events["node"].values:
            yield Finding(key, f"has no shock for the data centre at bus {label!r}", "0 where nothing happens")


def _all_known(
    labels: Sequence[str] | None, kind: str, known: Collection[str], loc: tuple[str, ...], where: Where
) -> Iterator[Finding]:
    for place, label in enumerate(labels or ()):
        yield from _unknown(label, kind, known, where((*loc, place)))


def _unknown(label: str, kind: str, known: Any, where: str) -> Iterator[Finding]:
    if label not in set(known):
        yield Finding(where, f"unknown {kind} {quoted(label)}", suggest(label, known))


def _lines(feeder: Feeder, buses: gpd.GeoDataFrame) -> gpd.GeoDataFrame:
    """The lines of the feeder, straight between its buses."""
    point = buses.set_index("id").geometry
    ends = list(zip(feeder.table["from_bus"].values, feeder.table["to_bus"].values, strict=True))
    columns = {"id": list(feeder.line), "name": [f"line {near} to {far}" for near, far in ends]}
    geometry = [LineString([point[near], point[far]]) for near, far in ends]
    return gpd.GeoDataFrame(columns, geometry=geometry, crs=buses.crs)


def _files(study: StudyFile, folder: Path, folders: Mapping[str, Path | None]) -> dict[str, Path]:
    files = {
        f"{kind}/{file.relative_to(base).as_posix()}": file
        for kind, base in folders.items()
        if base is not None
        for file in sorted(base.rglob("*"))
        if file.suffix.lower() in _DATA_SUFFIXES and file_fault(file) is None
    }
    for name in (study.area.distances, study.events.file, study.events.matrix):
        if name is not None:
            files[f"study/{Path(name).name}"] = folder / name
    return files
