"""The report of a plan: sections, numbers as text, figures."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import xarray as xr
from bokeh.models import Model

from drofcm.core.errors import raise_if_any
from drofcm.report import evidence, figures, grids, statements, tables
from drofcm.report.alternatives import frontier_part, moves_part
from drofcm.report.dispatch import MOST_SCENARIOS, dispatch
from drofcm.report.inputs import ReportInput, check
from drofcm.report.maps import maps
from drofcm.report.nature import nature
from drofcm.report.page import write_page
from drofcm.report.style import amount, percent

__all__ = ["ReportInput", "write_report"]


def write_report(path: Path, inputs: ReportInput) -> None:
    """Write the report as one HTML file that needs no other file, no server and no network.

    The file appears under its name only when it is complete.

    Parameters
    ----------
    path
        The file to write; its folder exists.
    inputs
        The study, its plan and what the plan is compared with.

    Raises
    ------
    InputError
        If parts are missing or do not belong together: every finding at once, and nothing is written.
    """
    raise_if_any(check(inputs))
    data = inputs.data
    state = tables.network_state(data, inputs.plan.recourse)
    headline = tables.headline(inputs)
    terms = tables.cost_terms(inputs)
    scenarios = tables.scenarios(inputs)
    nodes = tables.nodes(inputs)
    shipped = tables.shipments(inputs)
    models = _models(inputs, state, terms, scenarios, nodes)
    about_nature = nature(inputs, scenarios)
    if about_nature is not None:
        models.append(about_nature.drawing)
    tradeoff = frontier_part(inputs)
    if tradeoff is not None:
        models.append(tradeoff.drawing)
    rate = float(data["event_rate"])
    var, cvar = tables.value_at_risk(scenarios["cost"].to_numpy(), scenarios["probability"].to_numpy(), inputs.alpha)
    mean = float(scenarios["cost"].to_numpy() @ scenarios["probability"].to_numpy())
    context = {
        "inputs": inputs,
        "decision": statements.decision(inputs),
        "outcome": statements.outcome(inputs, headline),
        "sure": evidence.sure(inputs.benefit, inputs.event_rate),
        "proof": statements.proof(inputs),
        "says": {
            "where": statements.where(inputs),
            "network": statements.network(data, state),
            "cost": statements.cost(terms),
            "risk": statements.risk(inputs, var, cvar, mean),
            "dispatch": statements.dispatch(scenarios),
            "nodes": statements.nodes(nodes),
        },
        "headline": grids.headline(headline, inputs.alpha),
        "counts": {name: data.sizes[name] for name in ("scenario", "time", "bus", "node", "hub", "supplier")},
        "event_rate": amount(rate),
        "tail": percent(1 - inputs.alpha),
        "crs": inputs.layers["buses"].crs.to_string(),
        "grids": {
            "terms": grids.cost_terms(terms),
            "risk": grids.risk(inputs),
            "years": grids.years(inputs),
            "scenarios": grids.scenarios(scenarios),
            "nodes": grids.nodes(nodes),
            "shipments": grids.shipments(inputs, shipped),
            "hubs": grids.hubs(inputs),
            "certificate": grids.certificate(inputs.certificate.checks),
            "quantities": grids.quantities(inputs),
            "provenance": grids.provenance(inputs),
        },
        "nature": about_nature,
        "moves": moves_part(inputs),
        "frontier": tradeoff,
        "csv": grids.download(shipped),
        "most_scenarios": MOST_SCENARIOS if data.sizes["scenario"] > MOST_SCENARIOS else None,
        "names": {model.name for model in models},
    }
    write_page(path, "template.html", inputs.title, models, context)


def _models(
    inputs: ReportInput, state: xr.Dataset, terms: pd.DataFrame, scenarios: pd.DataFrame, nodes: pd.DataFrame
) -> list[Model]:
    data = inputs.data
    buses = pd.concat(
        [state[["voltage_low", "voltage_high"]].to_dataframe(), data[["v_base", "v_min", "v_max"]].to_dataframe()],
        axis=1,
    )
    lines = state[["loading", "loading_base"]].to_dataframe()
    drawn = [
        maps(inputs, state),
        figures.voltages(buses),
        figures.loadings(lines),
        figures.cost_bars(terms),
        figures.cost_distribution(inputs, scenarios),
        *dispatch(inputs),
        figures.unserved(nodes),
        figures.settling(nodes, float(data["step_length"].sum())),
        figures.convergence(inputs.plan.log),
    ]
    return [model for model in drawn if model is not None]
