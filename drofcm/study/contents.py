"""What a run folder holds: written from the outcome of a run, and read back to draw its report again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import geopandas as gpd
import pandas as pd
import pyogrio
import xarray as xr
from ruamel.yaml import YAML
from shapely.geometry import LineString

from drofcm.config import StudyFile, load_study, resolved
from drofcm.core.errors import Finding, InputError, raise_if_any
from drofcm.core.files import unwritable
from drofcm.report import evidence, statements, tables
from drofcm.report.document import write_report
from drofcm.report.inputs import DO_NOTHING, EXPECTED_VALUE_PLAN, MEDIAN_PLAN, NOMINAL_PLAN, ReportInput
from drofcm.report.maps import maps
from drofcm.solve.result import Result
from drofcm.study.ambiguity import ambiguity_set
from drofcm.study.folder import RunFolder
from drofcm.study.foresight import foresight_from
from drofcm.study.frontier import tail_level
from drofcm.study.outcome_layers import write_styles
from drofcm.validate.certificate import certify, report_quantities

__all__ = ["explore", "money_facts", "read_back", "read_data", "rebuild_report", "report_input", "write_contents"]

BASELINES: Final = {
    DO_NOTHING: "do_nothing",
    EXPECTED_VALUE_PLAN: "expected_value",
    MEDIAN_PLAN: "median",
    NOMINAL_PLAN: "nominal",
}
FRONTIER: Final = "frontier"
MONEY_UNITS: Final = {
    "expected_cost": "expected_cost_usd_per_a",
    "first_stage_cost": "first_stage_cost_usd_per_a",
    "events_cost": "events_cost_usd_per_a",
    "event_mean": "event_mean_usd_per_event",
    "event_tail": "event_cvar_usd_per_event",
    "event_worst": "event_worst_usd_per_event",
    "year_tail": "year_cvar_usd_per_a",
    "year_tail_error": "year_cvar_standard_error_usd_per_a",
    "risk_weighted_objective": "risk_weighted_objective_usd_per_a",
}
"""Figures of `drofcm.validate.money.Money` -> columns of tables."""
_FRONTIER_UNITS: Final = {**MONEY_UNITS, "ens": "ens_mwh_per_event"}
_HEADLINE_UNITS: Final = {
    **MONEY_UNITS,
    "unserved": "unserved_mwh_per_event",
    "unabsorbed": "unabsorbed_mwh_per_event",
    "stabilised": "stable_in_time_share",
    "dark": "dark_within_band_share",
}
LAYERS: Final = ("suppliers", "hubs", "buses", "lines")
EXTRA_LAYERS: Final = ("roads", "hazards", "isochrones", "service_areas")
"""Layers that a run may have besides."""
_AREAS: Final = frozenset({"isochrones", "service_areas", "hazards"})

_UNITS: Final = {
    "cost": "cost_usd_per_event",
    "cost_do_nothing": "cost_do_nothing_usd_per_event",
    "cost_modules": "cost_modules_usd_per_a",
    "cost_transport": "cost_transport_usd_per_a",
    "critical_load": "critical_load_mw",
    "distance": "distance_km",
    "ens": "ens_mwh_per_event",
    "peak": "peak_mw",
    "dark": "dark_within_band_share",
    "settled_median": "settled_median_h",
    "settled_worst": "settled_worst_h",
    "setup_cost": "setup_cost_usd_per_a",
    "slot_worth": "slot_worth_usd_per_a",
    "stabilise_within": "stabilise_within_h",
    "storage_limit": "storage_limit_slots",
    "unabsorbed": "unabsorbed_mwh_per_event",
    "unserved": "unserved_mwh_per_event",
    "unserved_do_nothing": "unserved_do_nothing_mwh_per_event",
    "serves": "serves_share_of_events",
    "serves_tail": "serves_share_of_tail",
    "used": "used_slots",
}


def report_input(
    study: StudyFile,
    data: xr.Dataset,
    layers: Mapping[str, gpd.GeoDataFrame],
    plan: Result,
    baselines: Mapping[str, Result],
    provenance: Mapping[str, Any],
    frontier: pd.DataFrame | None = None,
) -> ReportInput:
    """Everything the report and the tables show; the plan is certified from the data on the way."""
    risk = study.risk
    certificate = certify(
        data,
        plan.first_stage,
        plan.recourse,
        plan.terms,
        plan.recourse_cost,
        objective=plan.objective,
        risk_weights=plan.risk_weight,
        risk={
            "expectation": risk.expectation,
            "cvar": [(tail.alpha, tail.weight) for tail in risk.cvar],
            "worst_case": risk.worst_case,
        },
        ambiguity=ambiguity_set(study, data),
        worst_case_probability=plan.worst_case_probability,
    )
    quantities = report_quantities(data, plan.recourse).rename(time_to_stable="stabilisation_time")
    return ReportInput(
        title=study.title or study.name,
        description=study.description,
        data=data,
        plan=plan,
        baselines=baselines,
        layers=layers,
        certificate=certificate,
        quantities=quantities,
        assumptions=list(_assumptions(study, layers)),
        provenance=provenance,
        alpha=tail_level(study),
        frontier=frontier,
        seed=study.seed,
        foresight=foresight_from(provenance.get("perfect_information")),
    )


def money_facts(inputs: ReportInput) -> dict[str, Any]:
    """What the provenance of a run says of money: figures by plan, and the sentences that are told of them."""
    return {
        "alpha": inputs.alpha,
        "money": {name: own.figures for name, own in inputs.money.items()},
        "told": [
            statements.decision(inputs),
            *statements.outcome(inputs, tables.headline(inputs)),
            evidence.sure(inputs.benefit, inputs.event_rate),
            *(f"{label}: {text}." for label, text in evidence.information(inputs)),
            f"Risk-weighted objective: {inputs.formula}.",
        ],
    }


def _assumptions(study: StudyFile, layers: Mapping[str, gpd.GeoDataFrame]) -> Iterator[str]:
    buses = layers["buses"]
    if "placement" in buses and (buses["placement"] == "synthetic").any():
        yield "The placement of the buses on the map is synthetic: no real feeder is shown."
    yield (
        "Perfect foresight within the event: dispatch knows how the event goes on from its first minute, "
        "so the figures are what the modules can do at best."
    )
    if study.events.file is None:
        yield (
            f"Events are generated with seed {study.seed}; their shapes follow measured traces, how often and how deep "
            "they are is engineering judgement. Each is equally likely."
        )
    else:
        yield "Events and their probabilities were read from a file given with the study."
    if study.plants:
        output = sum(plant.output_mw for plant in study.plants)
        yield (
            f"Existing generators ({output:g} MW) carry load of their own bus: when one trips that load comes, and a "
            "bus that is cut off loses them."
        )
    if study.events.weather is not None:
        yield "Gusts, fragility of lines and hubs, trips of generators and slow roads in storms: engineering judgement."
    yield f"{study.events.rate_per_year:g} events a year, each met with all modules ready at their hubs."
    yield (
        "Voltages and flows are linear (LinDistFlow, without losses); no switch is thrown, so what a fault cuts off "
        "stays off for the whole event."
    )
    yield from _ways(study, layers)


def _ways(study: StudyFile, layers: Mapping[str, gpd.GeoDataFrame]) -> Iterator[str]:
    area = study.area
    travel = f"Roads: straight line times {area.detour:g}, {area.road_speed_km_h:g} km/h."
    if area.roads is not None:
        travel = (
            f"Ways follow {len(layers['roads']):,} roads of the layer {area.roads}, the fastest for vehicles and the "
            "shortest for shipments; traffic is left out."
        )
    yield travel if area.distances is None else f"{travel} Distances from suppliers are those of a table."
    if area.hazards is None:
        return
    yield (
        f"Zones of the layer {area.hazards} are flooded when the event puts out a line in them, and otherwise with the "
        "probability they state: hubs in them are then out of use"
        + (f", roads in them closed for {area.closed_h:g} h." if area.roads is not None else ".")
    )


def write_contents(folder: Path, study: StudyFile, inputs: ReportInput, log: Sequence[str]) -> None:
    """Write every file of a run except its provenance.

    Parameters
    ----------
    folder
        An empty folder.
    study
        The study file.
    inputs
        The outcome.
    log
        Lines of ``log.txt``.
    """
    inputs.plan.to_netcdf(folder / "result.nc")
    inputs.data.to_netcdf(folder / "data.nc", engine="netcdf4")
    (folder / "baselines").mkdir()
    for name, result in inputs.baselines.items():
        result.to_netcdf(folder / "baselines" / f"{BASELINES[name]}.nc")
    _write_layers(folder / "hubs.gpkg", inputs)
    (folder / "tables").mkdir()
    for name, table in _tables(inputs).items():
        table.to_csv(folder / "tables" / f"{name}.csv", index=False)
        table.to_parquet(folder / "tables" / f"{name}.parquet", index=False)
    inputs.certificate.checks.to_csv(folder / "certificate.csv", index=False)
    with (folder / "study.resolved.yaml").open("w", encoding="utf-8") as stream:
        _yaml().dump(resolved(study), stream)
    (folder / "log.txt").write_text("\n".join([*log, "", inputs.plan.log.to_string(index=False), ""]), encoding="utf-8")
    write_report(folder / "report.html", inputs)


def rebuild_report(path: Path) -> Path:
    """Draw ``report.html`` of a run folder again from its files.

    Raises
    ------
    InputError
        If files of the folder are missing or were changed.
    """
    inputs, report = read_back(path), path / "report.html"
    with _reading(path):
        try:
            write_report(report, inputs)
        except OSError as error:
            raise InputError([Finding(str(report), unwritable(error), "make room for it")]) from error
    return report


def explore(path: Path) -> Any:
    """The maps of a run folder with their layer switches, for a notebook: ``bokeh.io.show(explore(folder))``.

    Raises
    ------
    InputError
        If files of the folder are missing or were changed.
    """
    inputs = read_back(path)
    return maps(inputs, tables.network_state(inputs.data, inputs.plan.recourse))


def read_back(path: Path) -> ReportInput:
    """What a run folder says, as the report takes it; the plan is certified again on the way.

    Raises
    ------
    InputError
        If files of the folder are missing or were changed.
    """
    run = RunFolder(path)
    raise_if_any(run.faults())
    with _reading(path / "study.resolved.yaml"):
        study = load_study(path / "study.resolved.yaml")
    data = read_data(path)
    with _reading(path / "hubs.gpkg"):
        held = {str(name) for name, _ in pyogrio.list_layers(path / "hubs.gpkg")}
        names = [*LAYERS, *(name for name in EXTRA_LAYERS if name in held)]
        layers = {name: gpd.read_file(path / "hubs.gpkg", layer=name) for name in names}
    plan = Result.from_netcdf(path / "result.nc")
    stored = {name: path / "baselines" / f"{stem}.nc" for name, stem in BASELINES.items()}
    baselines = {name: Result.from_netcdf(file) for name, file in stored.items() if file.exists()}
    provenance = {key: value for key, value in run.provenance.items() if key != "files"}
    table = path / "tables" / f"{FRONTIER}.parquet"
    frontier = None
    if table.exists():
        plain = {unit: name for name, unit in _FRONTIER_UNITS.items()}
        with _reading(table):
            frontier = pd.read_parquet(table).rename(columns=plain).set_index(["risk", "multiple"])
    with _reading(path):
        return report_input(study, data, layers, plan, baselines, provenance, frontier)


def read_data(path: Path) -> xr.Dataset:
    """The labelled data of a run folder.

    Raises
    ------
    InputError
        If the file cannot be read, or claims to hold far more than its bytes can.
    """
    file = path / "data.nc"
    with _reading(file), xr.open_dataset(file, engine="netcdf4") as opened:
        if opened.nbytes > max(_ANY_SIZE, _MOST_PER_BYTE * file.stat().st_size):
            raise InputError([Finding(str(file), f"claims to hold {opened.nbytes:,} bytes", "run the study again")])
        return opened.load()


_ANY_SIZE: Final = 2**28
_MOST_PER_BYTE: Final = 1000
"""Compression does no better; arrays that were never written take no room in a file and all of it in memory."""


@contextmanager
def _reading(file: Path) -> Iterator[None]:
    """Name the file of a run that fits its seal and yet does not hold what a run writes."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        what = f"does not hold what a run writes ({type(error).__name__}: {error})"
        raise InputError([Finding(str(file), what, "run the study again")]) from error


def _yaml() -> YAML:
    yaml = YAML(typ="rt")
    yaml.width = 120
    return yaml


def _write_layers(path: Path, inputs: ReportInput) -> None:
    """Every layer of the study; hubs carry the plan, shipments are lines from supplier to hub."""
    use = _hubs(inputs).rename(columns=_UNITS).rename_axis("id").reset_index()
    held = [name for name in (*LAYERS, *EXTRA_LAYERS) if name in inputs.layers]
    for name in held:
        layer = inputs.layers[name]
        if name == "hubs":
            layer = layer[["id", "name", "geometry"]].merge(use, on="id", validate="one_to_one")
        many = {"geometry_type": "MultiPolygon", "promote_to_multi": True} if name in _AREAS else {}
        layer.to_file(path, layer=name, driver="GPKG", **many)
    shipped = tables.shipments(inputs).rename(columns=_UNITS)
    point = {name: inputs.layers[name].set_index("id").geometry for name in ("suppliers", "hubs")}
    ends = zip(shipped["supplier"], shipped["hub"], strict=True)
    geometry = [LineString([point["suppliers"][origin], point["hubs"][hub]]) for origin, hub in ends]
    lines = gpd.GeoDataFrame(shipped, geometry=geometry, crs=inputs.layers["hubs"].crs)
    lines.to_file(path, layer="shipments", driver="GPKG", geometry_type="LineString")
    write_styles(path, dict.fromkeys([*held, "shipments"], "geom"))


def _hubs(inputs: ReportInput) -> pd.DataFrame:
    return tables.hub_use(inputs).join(tables.hub_service(inputs))


def _tables(inputs: ReportInput) -> dict[str, pd.DataFrame]:
    """The tables of a run, tidy, with the unit in the name of the column."""
    found = {
        "headline": tables.headline(inputs).T.rename(columns=_HEADLINE_UNITS).rename_axis("plan").reset_index(),
        "shipments": tables.shipments(inputs),
        "hubs": _hubs(inputs).rename_axis("hub").reset_index(),
        "costs": _costs(inputs),
        "nodes": tables.nodes(inputs).rename_axis("node").reset_index(),
        "scenarios": tables.scenarios(inputs).rename_axis("scenario").reset_index(),
        "dispatch": _dispatch(inputs),
    }
    if NOMINAL_PLAN in inputs.baselines:
        found["moves"] = tables.moves(inputs)
    if inputs.frontier is not None:
        found[FRONTIER] = inputs.frontier.rename(columns=_FRONTIER_UNITS).reset_index()
    return {name: table.rename(columns=_UNITS) for name, table in found.items()}


def _costs(inputs: ReportInput) -> pd.DataFrame:
    long = tables.cost_terms(inputs).rename_axis("term").reset_index()
    return long.melt("term", var_name="plan", value_name="usd_per_a")


def _dispatch(inputs: ReportInput) -> pd.DataFrame:
    """One line per scenario, node and step that the event touches: imbalance shares in MW, each technology by name."""
    data, recourse = inputs.data, inputs.plan.recourse
    end = data["step_length"].cumsum("time")
    columns = {"start_h": end - data["step_length"], "end_h": end, "shock_mw": data["shock"]}
    for name in ("supply_follow", "unserved_critical", "unserved_flexible", "unabsorbed"):
        columns[f"{name}_mw"] = recourse[name]
    present = {name: recourse[name].fillna(0) for name in ("discharge", "generation", "demand_response")}
    output = present["discharge"] + present["generation"] + present["demand_response"] - recourse["charge"].fillna(0)
    columns |= {f"{label}_mw": output.sel(fcm=label, drop=True) for label in data["fcm"].values}
    plain = {name: column.reset_coords(drop=True) for name, column in columns.items()}
    table = xr.Dataset(plain).to_dataframe(["scenario", "node", "time"]).reset_index()
    return table[table["supply_follow_mw"].notna()]
