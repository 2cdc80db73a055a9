"""A small study with every kind of file that one can name, and seeded changes that break them.

A change takes a generator and the folder of the study, edits one file, and says what it did.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import xarray as xr
from smps_files import CORE, INDEP, TIME

Change = Callable[[np.random.Generator, Path], str]

STUDY = """\
name: mine
title: three buses
description: "what is asked"
seed: 3
feeder: {name: net, source_voltage_pu: 1.0, tan_phi: 0.25, monitored_buses: ["3"], monitored_lines: [2-3]}
area: {name: place, crs: "EPSG:32632", detour: 1.3, road_speed_km_h: 40.0, distances: km.csv}
catalogue: {name: modules, contracts: [{technology: long_duration, modules: 2, data_centres_only: true}]}
hubs: {minimum: 0, maximum: 2, forced_in: [a], forced_out: []}
budget_per_year: 500000.0
data_centres:
  - {bus: "3", rating_mw: 1.0, running_mw: 0.5}
plants:
  - {bus: "2", kind: dg, output_mw: 0.1}
events: {rate_per_year: 12.0, hub_outage_probability: 0.1, EVENTS}
steps_min:
  - {count: 3, length: 10.0}
  - {count: 1, length: 30.0}
nodes: {stabilise_within_h: 0.5, interruption_h: 1.0, band_mw: 0.1, critical_share: 0.6, supply_ramp_mw_h: 1.0, \
supply_headroom_mw: 0.1, feeder_headroom_mw: 0.1, cap: share, requirement_margin: 1.1}
penalties: {unserved_per_mwh: 5000.0, critical_per_mwh: 15000.0, flexible_per_mwh: 4000.0, surplus_per_mwh: 800.0}
risk: {expectation: 0.5, cvar: [{alpha: 0.9, weight: 0.5}], worst_case: 0.0}
ambiguity: {kind: wasserstein, radius: 0.1, over: [shock], norm: 1, order: 1.0}
frontier: {tail_weights: [0.0, 1.0], multiples: [0.0, 1.0]}
solver: {method: extensive, mip_gap: 0.01, time_limit_s: 60.0}
"""
SAYS = {
    "study": "scenarios: 2, shares: {surge: 0.5, training: 0.25, drop: 0.0, fault: 0.25}, fault_lines: [2-3]",
    "matrix": "scenarios: 2, matrix: matrix.csv",
    "events": "file: events.nc",
}
"""What the study says of its events."""

BUSES = "bus,base_load,base_reactive\n1,0.0,0.0\n2,0.3,0.1\n3,0.4,0.1\n"
LINES = "line,from_bus,to_bus,resistance,reactance,rating\n1-2,1,2,0.10,0.05,8.0\n2-3,2,3,0.20,0.10,8.0\n"
PACKAGE = """\
name: three
title: three buses
description: made for a test
sources:
  - {title: made up}
licenses:
  - {name: CC0-1.0}
feeder: {nominal_kv: 20.0, source_bus: "1"}
resources:
  - name: buses
    path: buses.csv
    format: csv
    hash: sha256:BUSES
    schema:
      fields:
        - {name: bus, type: string, description: label}
        - {name: base_load, type: number, unit: MW, description: load}
        - {name: base_reactive, type: number, unit: Mvar, description: load}
  - name: lines
    path: lines.csv
    format: csv
    hash: sha256:LINES
    schema:
      fields:
        - {name: line, type: string, description: label}
        - {name: from_bus, type: string, description: end}
        - {name: to_bus, type: string, description: end}
        - {name: resistance, type: number, unit: ohm, description: r}
        - {name: reactance, type: number, unit: ohm, description: x}
        - {name: rating, type: number, unit: MVA, description: limit}
"""
TABLES = {
    "km.csv": "supplier,hub,distance_km\ns,a,5.0\ns,b,7.5\n",
    "matrix.csv": "event,location,probability\nsurge,3,0.5\nline_fault,2-3,0.25\nhub_out,b,0.125\ndg_trip,2,0.5\n",
    "plan.csv": "supplier,hub,fcm,modules\ns,a,battery,2\ns,a,generator,1\n",
}
STOCK = {f"stock_{name}": 6 for name in ("battery", "generator", "demand_response")}
PLACES = {
    "buses": [("1", "source", 9.0, {}), ("2", "middle", 9.0134, {}), ("3", "end", 9.0267, {})],
    "hubs": [
        ("a", "yard a", 9.0254, {"setup_cost_usd_per_a": 5000.0, "storage_slots": 20.0}),
        ("b", "yard b", 9.0013, {"setup_cost_usd_per_a": 4000.0, "storage_slots": 20.0}),
    ],
    "suppliers": [("s", "works", 9.0134, STOCK)],
}


def write_study(folder: Path, says: str, catalogue: Path) -> None:
    """Write the study and every file that it names; ``says`` is a key of `SAYS`."""
    (folder / "study.yaml").write_text(STUDY.replace("EVENTS", SAYS[says]), encoding="utf-8")
    for base in ("net", "place", "modules"):
        (folder / base).mkdir()
    for file in catalogue.glob("*.[cy][sa][vm]*"):
        (folder / "modules" / file.name).write_bytes(file.read_bytes())
    package = PACKAGE
    for name, text in (("buses", BUSES), ("lines", LINES)):
        (folder / "net" / f"{name}.csv").write_text(text, encoding="utf-8")
        package = package.replace(name.upper(), hashlib.sha256(text.encode()).hexdigest())
    (folder / "net" / "datapackage.yaml").write_text(package, encoding="utf-8")
    for name, text in TABLES.items():
        (folder / name).write_text(text, encoding="utf-8")
    for layer, places in PLACES.items():
        features = [
            {
                "type": "Feature",
                "properties": {"id": label, "name": name, **more},
                "geometry": {"type": "Point", "coordinates": [east, 47.85 + 0.001 * place]},
            }
            for place, (label, name, east, more) in enumerate(places)
        ]
        text = json.dumps({"type": "FeatureCollection", "features": features}, indent=1)
        (folder / "place" / f"{layer}.geojson").write_text(text, encoding="utf-8")
    events().to_netcdf(folder / "events.nc", engine="netcdf4")
    for suffix, text in ((".cor", CORE), (".tim", TIME), (".sto", INDEP)):
        (folder / f"p{suffix}").write_text(text, encoding="utf-8")


def events() -> xr.Dataset:
    """Two events of four steps at the data centre and the plant."""
    over, megawatt = ("scenario", "node", "time"), {"units": "MW"}
    shock = np.array([[[0.4, 0.4, 0.2, 0.0], [0.0, 0.0, 0.1, 0.0]], [[0.0, 0.1, 0.1, 0.1], [0.0, 0.0, 0.0, 0.0]]])
    return xr.Dataset(
        {name: (over, shock, megawatt) for name in ("shock", "shock_high", "shock_low")}
        | {"probability": ("scenario", [0.5, 0.5], {"units": "1"})},
        coords={
            "scenario": [0, 1],
            "node": ["3", "2"],
            "time": np.arange(4),
            "step_length": ("time", [1 / 6, 1 / 6, 1 / 6, 0.5], {"units": "h"}),
        },
        attrs={"seed": 3, "recipe": "by hand"},
    )


# ==== Changes of text ===================================================================================

_VALUES = (
    *("null", "true", "~", "-1", "0", "1", "-0.0", "0.5", "1e308", "1.0e+300", "-1.0e+300", "1e-320", ".nan", ".inf"),
    *("-.inf", '""', "x", "[]", "{}", "[[]]", "{a: 1}", "[1, 2]", "9" * 30, "9" * 400, "9" * 4400, "1_0", "0x10"),
    *(
        "007",
        "1:30",
        '"\\e[31m"',
        '"\\ud800"',
        '"\\0"',
        '"a\\nb"',
        "2024-02-30",
        "2024-02-28",
        "!!int abc",
        "!!bool no",
    ),
    *("!!binary x", "!!python/object x", "!mine x", "&a [*a]", "*nowhere", "../x", "/etc/passwd", "/", "..", "."),
    *("a" * 300, "'", '"', "|", ">", "?", "- 1", "1000000", "1000000000", "525600", "12660", "\u0661", "'1 '", "[1]"),
    *("[/x]", ":x:", "{kind: nominal}", "[3, 3]", "'3'", "study.yaml", "net", "place/hubs.geojson", "1e3", "+5", "0o7"),
)
_CELLS = (
    *(
        "",
        " ",
        "-1",
        "0",
        "1",
        "1e308",
        "1e400",
        "nan",
        "inf",
        "1_0",
        "1,5",
        "1.000,5",
        "\u0661",
        "x",
        "true",
        "9" * 30,
    ),
    *('"', '"a', "a" * 200_000, "\x1b[31m", "\x00", "=1+1", "1-2", "2-3", "3", "[/x]", "\u202e", "1e-320", "1000000"),
)
_BYTES = (
    b"\x00",
    b"\xff",
    b"\x1b[2J",
    b"\t",
    b'"',
    b"'",
    b",",
    b";",
    b"\n",
    b"\r",
    b"{",
    b"[",
    b":",
    b"\xfc",
    b"-",
    b"9",
)


def _line(rng: np.random.Generator, text: str) -> str:
    """Lines left out, given twice, exchanged or cut."""
    lines = text.split("\n")
    at, other = rng.integers(len(lines), size=2)
    match rng.integers(4):
        case 0:
            del lines[at]
        case 1:
            lines.insert(other, lines[at])
        case 2:
            lines[at], lines[other] = lines[other], lines[at]
        case _:
            lines = [*lines[:at], lines[at][: rng.integers(len(lines[at]) + 1)]]
    return "\n".join(lines)


def _bytes(rng: np.random.Generator, raw: bytes) -> bytes:
    """A few bytes more, fewer or others."""
    for _ in range(rng.integers(1, 4)):
        at = int(rng.integers(len(raw) + 1))
        new = _BYTES[rng.integers(len(_BYTES))]
        raw = raw[:at] + new + raw[at + int(rng.integers(3)) :]
    return raw


def text(*names: str) -> Change:
    """Lines and bytes of one of some files."""

    def change(rng: np.random.Generator, folder: Path) -> str:
        name = names[rng.integers(len(names))]
        path = folder / name
        if rng.random() < 0.5:
            path.write_text(_line(rng, path.read_text(encoding="utf-8")), encoding="utf-8")
        else:
            path.write_bytes(_bytes(rng, path.read_bytes()))
        renew(folder, path)
        return name

    return change


def values(name: str) -> Change:
    """The value of one key of a YAML file, or its name."""

    def change(rng: np.random.Generator, folder: Path) -> str:
        path = folder / name
        content = path.read_text(encoding="utf-8")
        pairs = list(re.finditer(r"(\w+): (\"[^\"]*\"|\[[^\]]*\]|\{[^}]*\}|[^\s,{}\[\]]+)", content))
        pair = pairs[rng.integers(len(pairs))]
        new = _VALUES[rng.integers(len(_VALUES))]
        group = 1 if rng.random() < 0.1 else 2
        path.write_text(content[: pair.start(group)] + new + content[pair.end(group) :], encoding="utf-8")
        return f"{pair[0][:60]!r} -> {new[:60]!r}"

    return change


def cells(*names: str) -> Change:
    """A cell of one of some tables."""

    def change(rng: np.random.Generator, folder: Path) -> str:
        name = names[rng.integers(len(names))]
        path = folder / name
        rows = [row.split(",") for row in path.read_text(encoding="utf-8").split("\n")]
        row = rows[rng.integers(len(rows))]
        at = int(rng.integers(len(row)))
        row[at] = new = _CELLS[rng.integers(len(_CELLS))]
        path.write_text("\n".join(",".join(row) for row in rows), encoding="utf-8")
        renew(folder, path)
        return f"{name}: {new[:60]!r}"

    return change


def renew(folder: Path, path: Path) -> None:
    """Put the hash of a described file right, so that its content is looked at."""
    package = path.parent / "datapackage.yaml"
    if package.is_file() and package != path and path.suffix == ".csv":
        lines, at = package.read_text(encoding="utf-8").split("\n"), 0
        for number, line in enumerate(lines):
            at = number if path.name in line else at
            if at and "hash:" in line:
                lines[number] = (
                    line[: line.index("hash:")] + f"hash: sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}"
                )
                break
        package.write_text("\n".join(lines), encoding="utf-8")


# ==== Changes of layers and arrays ======================================================================


def layers(rng: np.random.Generator, folder: Path) -> str:
    """A coordinate, a property or the kind of geometry in a layer, or its text."""
    names = [f"place/{name}.geojson" for name in PLACES]
    if rng.random() < 0.3:
        return text(*names)(rng, folder)
    path = folder / names[rng.integers(len(names))]
    content = json.loads(path.read_text(encoding="utf-8"))
    feature = content["features"][rng.integers(len(content["features"]))]
    odd = (
        None,
        True,
        -1,
        0,
        1.5,
        1e308,
        10**30,
        "",
        "x",
        "1_0",
        "\u0661",
        "\x1b[31m",
        "[/x]",
        [],
        {},
        "a" * 500,
        "3",
        3,
    )
    new = odd[rng.integers(len(odd))]
    match rng.integers(5):
        case 0 | 1:
            keys = list(feature["properties"])
            feature["properties"][keys[rng.integers(len(keys))]] = new
        case 2:
            points = ([], [9.0], [9.0, 47.85, 3.0], [47.85, 9.0], [500.0, 5e6], [None, 1], [1e308, -1e308], ["a", "b"])
            feature["geometry"]["coordinates"] = points[rng.integers(len(points))]
        case 3:
            shapes = ("LineString", "Polygon", "MultiPoint", "GeometryCollection", "x", None)
            feature["geometry"]["type"] = shapes[rng.integers(len(shapes))]
        case _:
            feature["properties"][("id", "name", "extra", "geometry", "fid", "stock_x")[rng.integers(6)]] = new
    path.write_text(json.dumps(content), encoding="utf-8")
    return f"{path.name}: {new!r:.60}"


def arrays(rng: np.random.Generator, folder: Path) -> str:
    """Values, labels, units, types or dimensions of the events, or the bytes of their file."""
    path, data = folder / "events.nc", events()
    names = [*map(str, data.variables)]
    name = names[rng.integers(len(names))]
    units = ("kW", "", 5, [1, 2], "1", "hours since 2000-01-01", "\x1b[31m")
    match kind := int(rng.integers(9)):
        case 0:
            raw = path.read_bytes()
            path.write_bytes(raw[: rng.integers(len(raw))] if rng.random() < 0.3 else _bytes(rng, raw))
            return "bytes"
        case 1:
            value = (np.inf, -np.inf, np.nan, 1e300, -5.0, 1e6)[rng.integers(6)]
            data[name] = data[name].astype(float if data[name].dtype.kind in "iuf" else object)
            spot = data[name].values.ravel()
            if data[name].dtype.kind == "f" and spot.size:
                flat = data[name].values.copy().ravel()
                flat[rng.integers(flat.size)] = value
                data[name] = data[name].copy(data=flat.reshape(data[name].shape))
        case 2:
            data[name] = data[name].astype(str)
        case 3:
            data = data.drop_vars(name)
        case 4:
            data[name].attrs["units"] = units[rng.integers(len(units))]
        case 5:
            dim = ("scenario", "node", "time")[rng.integers(3)]
            data = data.rename({dim: ("x", "line", "hub")[rng.integers(3)]})
        case 6:
            dim = ("scenario", "node", "time")[rng.integers(3)]
            data = data.isel({dim: list([(0, 0), (0,), (), (1, 0)][rng.integers(4)])})
        case 7:
            dims = [("scenario",), ("time",), ("scenario", "time"), ()][rng.integers(4)]
            more = ("line_out", "hub_available", "travel_factor", "event_class", "extra")[rng.integers(5)]
            shape = [data.sizes[dim] for dim in dims]
            data[more] = (dims, np.ones(shape), {"units": "1"})
            data = data.set_coords(more) if rng.random() < 0.5 else data
        case _:
            labels = ([3, 2], [3.0, 2.0], ["3", "9"], ["3", "3"], ["\x1b", "3"])
            data = data.assign_coords(node=labels[rng.integers(len(labels))])
    data.to_netcdf(path, engine="netcdf4")
    return f"{name}, kind {kind}"


def runs(rng: np.random.Generator, folder: Path) -> str:
    """A file of a run folder: its bytes, or a value of its text; sealed again in half of the cases."""
    from drofcm.study.folder import PROVENANCE, digest_files

    run = folder / "run"
    names = ("provenance.json", "study.resolved.yaml", "result.nc", "data.nc", "hubs.gpkg", "baselines/do_nothing.nc")
    path = run / names[rng.integers(len(names))]
    raw = path.read_bytes()
    if path.suffix == ".json":
        content = json.loads(raw)
        keys = list(content)
        odd = (None, [], {}, "x", -1, 1e300, {"a": 1}, ["a"], "a" * 300, {"": {}}, "\x1b[31m")
        content[keys[rng.integers(len(keys))]] = odd[rng.integers(len(odd))]
        path.write_text(json.dumps(odd[rng.integers(len(odd))] if rng.random() < 0.2 else content), encoding="utf-8")
        return path.name
    if path.suffix == ".yaml":
        values("run/study.resolved.yaml")(rng, folder)
    elif rng.random() < 0.2:
        path.unlink()
    else:
        path.write_bytes(_bytes(rng, raw) if rng.random() < 0.7 else raw[: rng.integers(len(raw))])
    if path.is_file() and rng.random() < 0.5:
        sealed = json.loads((run / PROVENANCE).read_text(encoding="utf-8"))
        sealed["files"] |= digest_files({str(path.relative_to(run)): path})
        (run / PROVENANCE).write_text(json.dumps(sealed), encoding="utf-8")
    return path.name
