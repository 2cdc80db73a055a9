"""Tables of text for the page: numbers rounded for people, units in the headings."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pandas as pd

from drofcm.report import statements, tables
from drofcm.report.inputs import ReportInput
from drofcm.report.style import aligned, amount, number, percent, technology

__all__ = [
    "Grid",
    "HeadlineRow",
    "certificate",
    "cost_terms",
    "download",
    "headline",
    "hubs",
    "nodes",
    "provenance",
    "quantities",
    "risk",
    "scenarios",
    "shipments",
]

MOST_ROWS: Final = 25


@dataclass(frozen=True)
class Grid:
    """A table as it stands on the page.

    Attributes
    ----------
    head, rows
        Text of the cells.
    numeric
        The columns that are set to the right.
    total
        Whether the last row sums the others.
    note
        A line below the table.
    """

    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    numeric: Sequence[bool]
    total: bool = False
    note: str = ""


@dataclass(frozen=True)
class HeadlineRow:
    """One figure of the headline: its key in `drofcm.report.tables.HEADLINE`, label, unit and text per plan."""

    key: str
    label: str
    unit: str
    shown: Mapping[str, str]


def headline(table: pd.DataFrame, alpha: float) -> list[HeadlineRow]:
    """The figures a planner compares first, from `drofcm.report.tables.headline`."""
    decimals = 0 if table.loc["objective"].max() >= 1e5 else 1
    rows = []
    for key, (label, unit) in tables.HEADLINE.items():
        values = table.loc[key]
        if unit == "k$/a":
            texts = [number(value / 1000, decimals) for value in values]
        elif unit == "MWh/event":
            texts = aligned(values)
        else:
            texts = [number(100 * value if unit == "%" else value, 0) for value in values]
        label = f"Events, CVaR {percent(alpha)}" if key == "cvar" else label
        rows.append(HeadlineRow(key, label, unit, dict(zip(table.columns, texts, strict=True))))
    return rows


def cost_terms(table: pd.DataFrame) -> Grid:
    """Terms of the cost with their sum, from `drofcm.report.tables.cost_terms`."""
    shown = table[(table.abs() > 1e-6 * table.abs().max().max()).any(axis=1)]
    labels = [*(tables.TERM_LABELS[str(term)] for term in shown.index), "Sum"]
    columns = [aligned([*(shown[name] / 1000), table[name].sum() / 1000], 4) for name in table]
    rows = [list(row) for row in zip(labels, *columns, strict=True)]
    return Grid(["k$/a", *table.columns], rows, [False, True, True, True], total=True)


def risk(inputs: ReportInput) -> Grid:
    """Mean, VaR, CVaR and worst cost of an event under each plan."""
    rate = float(inputs.data["event_rate"])
    columns = []
    for result in inputs.plans.values():
        cost, probability = result.recourse_cost.values / rate, result.probability.values
        var, cvar = tables.value_at_risk(cost, probability, inputs.alpha)
        columns.append(aligned(np.array([probability @ cost, var, cvar, cost[probability > 0].max()]) / 1000))
    level = percent(inputs.alpha)
    labels = ["Mean", f"VaR {level}", f"CVaR {level}", "Dearest scenario"]
    rows = [list(row) for row in zip(labels, *columns, strict=True)]
    return Grid(["k$ per event", *inputs.plans], rows, [False, True, True, True])


def scenarios(table: pd.DataFrame) -> Grid:
    """The dearest scenarios, from `drofcm.report.tables.scenarios`."""
    head = [
        "Scenario",
        "Class",
        "Probability",
        "Risk weight",
        "Cost, k$",
        "Do nothing, k$",
        "Unserved, MWh",
        "Not absorbed, MWh",
        "Stable nodes",
        "Largest shock",
        "Buses off",
    ]
    rows = [
        [
            str(line.Index),
            line.event_class,
            percent(line.probability, 1),
            percent(line.risk_weight, 1),
            number(line.cost / 1000, 1),
            number(line.cost_do_nothing / 1000, 1),
            number(line.unserved, 2),
            number(line.unabsorbed, 2),
            percent(line.stabilised),
            f"{number(line.peak, 2)} MW at {line.peak_node}" if line.peak > 0 else "–",
            number(line.buses_off, 0),
        ]
        for line in table.head(MOST_ROWS).itertuples()
    ]
    left = len(table) - len(rows)
    note = f"{left} cheaper scenarios are left out of this table." if left > 0 else ""
    return Grid(head, rows, [False, False, *[True] * 7, False, True], note=note)


def nodes(table: pd.DataFrame) -> Grid:
    """Nodes, from `drofcm.report.tables.nodes`."""

    def minutes(hours: float) -> str:
        return "never" if np.isinf(hours) else number(60 * hours, 0)

    head = [
        "Node",
        "Critical load, MW",
        "Touched by, of events",
        "Stable in time",
        "t_i median, min",
        "t_i worst, min",
        "Allowed, min",
        "Unserved, MWh/event",
        "Do nothing, MWh/event",
        "Not absorbed, MWh/event",
        "ENS, MWh/event",
    ]
    rows = [
        [
            str(line.Index),
            number(line.critical_load, 2),
            percent(line.touched),
            percent(line.stabilised),
            minutes(line.settled_median),
            minutes(line.settled_worst),
            minutes(line.stabilise_within),
            number(line.unserved, 3),
            number(line.unserved_do_nothing, 3),
            number(line.unabsorbed, 3),
            number(line.ens, 3),
        ]
        for line in table.itertuples()
    ]
    return Grid(head, rows, [False, *[True] * 10])


def shipments(inputs: ReportInput, table: pd.DataFrame) -> Grid:
    named = {name: statements.names(inputs, name) for name in ("suppliers", "hubs")}
    rows = [
        [
            named["suppliers"][str(line.supplier)],
            named["hubs"][str(line.hub)],
            technology(str(line.fcm)),
            number(line.modules, 0),
            number(line.distance, 0),
            number(line.cost_transport / 1000, 1),
            number(line.cost_modules / 1000, 1),
        ]
        for line in table.itertuples()
    ]
    rows.append(
        [
            "Sum",
            "",
            "",
            number(table["modules"].sum(), 0),
            "",
            number(table["cost_transport"].sum() / 1000, 1),
            number(table["cost_modules"].sum() / 1000, 1),
        ]
    )
    head = ["From supplier", "To hub", "Technology", "Modules", "Road, km", "Transport, k$/a", "Modules, k$/a"]
    return Grid(head, rows, [False, False, False, True, True, True, True], total=True)


def hubs(inputs: ReportInput) -> Grid:
    names = statements.names(inputs, "hubs")
    rows = [
        [
            names[str(line.Index)],
            "open" if line.active else "closed",
            f"{number(line.used, 1)} of {number(line.storage_limit, 1)}",
            percent(line.used / line.storage_limit) if line.storage_limit > 0 else "–",
            number(line.modules, 0),
            number(line.sent, 1),
            number(line.setup_cost / 1000, 1),
            percent(1 - line.available, 1),
        ]
        for line in tables.hub_use(inputs).sort_values("active", ascending=False, kind="stable").itertuples()
    ]
    head = [
        "Hub",
        "",
        "Slots used",
        "Share",
        "Modules held",
        "Sent, mean per event",
        "Cost if open, k$/a",
        "Out of use in events",
    ]
    return Grid(head, rows, [False, False, *[True] * 6])


def certificate(table: pd.DataFrame) -> Grid:
    """A table as it comes: numbers to four digits, flags as yes and no."""

    def text(value: Any) -> str:
        if isinstance(value, bool | np.bool_):
            return "yes" if value else "NO"
        if isinstance(value, float | np.floating):
            return f"{value:.3g}"
        return str(value)

    shown = table if isinstance(table.index, pd.RangeIndex) else table.reset_index()
    rows = [[text(value) for value in line] for line in shown.itertuples(index=False)]
    numeric = [pd.api.types.is_numeric_dtype(kind) and not pd.api.types.is_bool_dtype(kind) for kind in shown.dtypes]
    return Grid([str(name).replace("_", " ") for name in shown.columns], rows, numeric)


def quantities(inputs: ReportInput) -> Grid:
    rows = [
        [str(array.attrs.get("long_name", name)).replace("_", " "), amount(float(array)), array.attrs.get("units", "")]
        for name, array in inputs.quantities.data_vars.items()
        if array.ndim == 0 and array.dtype.kind in "biuf"
    ]
    return Grid(["Quantity", "Value", "Unit"], rows, [False, True, False])


def _flat(mapping: Mapping[str, Any], prefix: str = "") -> Iterator[list[str]]:
    for key, value in mapping.items():
        name = f"{prefix}.{key}" if prefix else str(key)
        if isinstance(value, Mapping):
            yield from _flat(value, name)
        else:
            yield [name, str(value)]


def download(table: pd.DataFrame) -> str:
    text = table.rename(
        columns={
            "distance": "distance_km",
            "cost_transport": "transport_usd_per_year",
            "cost_modules": "modules_usd_per_year",
        }
    ).to_csv(index=False)
    return "data:text/csv;base64," + base64.b64encode(text.encode()).decode()


def provenance(inputs: ReportInput) -> Grid:
    """Provenance of the study and of the solution, nested entries flattened."""
    rows = [*_flat(inputs.provenance), *_flat(inputs.plan.provenance, "solution")]
    return Grid(["Entry", "Value"], rows, [False, False])
