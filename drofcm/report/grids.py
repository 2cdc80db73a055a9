"""Tables of text for the page: numbers rounded for people, units in the headings."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Iterator, Mapping, Sequence
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
    "years",
]

MOST_ROWS: Final = 25
_BOTH_SIDES: Final = 1.96
"""Standard errors that hold 95 %."""


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
    plans = [str(name) for name in table.columns]
    decimals = 0 if table.loc["expected_cost"].max() >= 1e5 else 1
    rows = []
    for key, (label, unit) in tables.HEADLINE.items():
        values = [float(table[name][key]) for name in plans]
        if key == "dark" and not any(values):
            continue
        if unit == "k$/a":
            texts = [number(value / 1000, decimals) for value in values]
        elif unit == "k$/event":
            texts = [number(value / 1000, 1) for value in values]
        elif unit == "MWh/event":
            texts = aligned(values)
        else:
            texts = [number(100 * value if unit == "%" else value, 0) for value in values]
        label = label.replace("CVaR", f"CVaR {percent(alpha)}")
        rows.append(HeadlineRow(key, label, unit, dict(zip(plans, texts, strict=True))))
    return rows


def cost_terms(table: pd.DataFrame) -> Grid:
    """Terms of the cost with their sum, from `drofcm.report.tables.cost_terms`."""
    shown = table[(table.abs() > 1e-6 * table.abs().max().max()).any(axis=1)]
    labels = [*(tables.TERM_LABELS[str(term)] for term in shown.index), "Sum"]
    columns = [_numbers([*(shown[name] / 1000), table[name].sum() / 1000], 1) for name in table]
    rows = [list(row) for row in zip(labels, *columns, strict=True)]
    return Grid(["k$/a", *table.columns], rows, [False] + [True] * table.shape[1], total=True)


def risk(inputs: ReportInput) -> Grid:
    """Mean, VaR, CVaR and worst cost of an event under each plan, $ an event."""
    columns = []
    for name, result in inputs.plans.items():
        cost, own = result.recourse_cost.values / inputs.event_rate, inputs.money[name]
        var, _ = tables.value_at_risk(cost, result.probability.values, inputs.alpha)
        columns.append(_numbers(np.array([own.event_mean, var, own.event_tail, own.event_worst]) / 1000, 1))
    level = percent(inputs.alpha)
    labels = ["Mean", f"VaR {level}", f"CVaR {level}", "Dearest scenario"]
    rows = [list(row) for row in zip(labels, *columns, strict=True)]
    return Grid(["k$ per event", *inputs.plans], rows, [False] + [True] * len(inputs.plans))


def years(inputs: ReportInput) -> Grid:
    """What a year costs under each plan, hubs and modules included: mean and spread in closed form, tail simulated."""
    columns = []
    for own in inputs.money.values():
        plain = np.array([own.expected, own.year.deviation, own.year_tail]) / 1000
        columns.append([*_numbers(plain, 1), f"± {number(_BOTH_SIDES * own.year.error / 1000, 1)}"])
    labels = ["Mean", "Standard deviation", f"CVaR {percent(inputs.alpha)}", "its sampling error, 95 %"]
    rows = [list(row) for row in zip(labels, *columns, strict=True)]
    count = inputs.money["this plan"].year.years
    note = (
        f"{number(count, 0)} years simulated: the number of events is Poisson with mean {amount(inputs.event_rate)}, "
        "each is one of the scenarios, drawn with their probabilities and independent of the others; all plans meet "
        "the same years. The error is that of the simulation alone."
    )
    return Grid(["k$ per year", *inputs.plans], rows, [False] + [True] * len(inputs.plans), note=note)


def scenarios(table: pd.DataFrame) -> Grid:
    """The dearest scenarios, from `drofcm.report.tables.scenarios`."""
    shown = table.head(MOST_ROWS)
    peaks = zip(shown["peak"].tolist(), shown["peak_node"].tolist(), strict=True)
    columns = {
        "Scenario": _text(shown.index),
        "Class": _text(shown["event_class"]),
        "Probability": _percents(shown["probability"], 1),
        "Risk weight": _percents(shown["risk_weight"], 1),
        "Cost, k$": _numbers(shown["cost"] / 1000, 1),
        "Do nothing, k$": _numbers(shown["cost_do_nothing"] / 1000, 1),
        "Unserved, MWh": _numbers(shown["unserved"], 2),
        "Not absorbed, MWh": _numbers(shown["unabsorbed"], 2),
        "Stable nodes": _percents(shown["stabilised"]),
        "Largest shock": [f"{number(peak, 2)} MW at {node}" if peak > 0 else "–" for peak, node in peaks],
        "Buses off": _numbers(shown["buses_off"], 0),
    }
    left = len(table) - len(shown)
    note = f"{left} cheaper scenarios are left out of this table." if left > 0 else ""
    return _grid(columns, left=("Scenario", "Class", "Largest shock"), note=note)


def nodes(table: pd.DataFrame) -> Grid:
    """Nodes, from `drofcm.report.tables.nodes`."""
    columns = {
        "Node": _text(table.index),
        "Critical load, MW": _numbers(table["critical_load"], 2),
        "Touched by, of events": _percents(table["touched"]),
        "Stable in time": _percents(table["stabilised"]),
        **({"Dark within the band": _percents(table["dark"])} if (table["dark"] > 0).any() else {}),
        "t_i median, min": _minutes(table["settled_median"]),
        "t_i worst, min": _minutes(table["settled_worst"]),
        "Allowed, min": _minutes(table["stabilise_within"]),
        "Unserved, MWh/event": _numbers(table["unserved"], 3),
        "Do nothing, MWh/event": _numbers(table["unserved_do_nothing"], 3),
        "Not absorbed, MWh/event": _numbers(table["unabsorbed"], 3),
        "ENS, MWh/event": _numbers(table["ens"], 3),
    }
    return _grid(columns, left=("Node",))


def shipments(inputs: ReportInput, table: pd.DataFrame) -> Grid:
    """What to ship where, from `drofcm.report.tables.shipments`."""
    suppliers, hubs = (statements.names(inputs, layer) for layer in ("suppliers", "hubs"))
    sums = table[["modules", "cost_transport", "cost_modules"]].sum()
    columns = {
        "From supplier": [*(suppliers[label] for label in _text(table["supplier"])), "Sum"],
        "To hub": [*(hubs[label] for label in _text(table["hub"])), ""],
        "Technology": [*(technology(label) for label in _text(table["fcm"])), ""],
        "Modules": _numbers([*table["modules"], sums["modules"]], 0),
        "Road, km": [*_numbers(table["distance"], 0), ""],
        "Transport, k$/a": _numbers([value / 1000 for value in [*table["cost_transport"], sums["cost_transport"]]], 1),
        "Modules, k$/a": _numbers([value / 1000 for value in [*table["cost_modules"], sums["cost_modules"]]], 1),
    }
    return _grid(columns, left=("From supplier", "To hub", "Technology"), total=True)


def hubs(inputs: ReportInput) -> Grid:
    """Use of the hubs, open ones first."""
    table = tables.hub_use(inputs).sort_values("active", ascending=False, kind="stable")
    called = statements.names(inputs, "hubs")
    room = zip(_numbers(table["used"], 1), _numbers(table["storage_limit"], 1), strict=True)
    columns = {
        "Hub": [called[label] for label in _text(table.index)],
        "State": ["open" if active else "closed" for active in table["active"]],
        "Slots used": [f"{used} of {limit}" for used, limit in room],
        "Share": _percents((table["used"] / table["storage_limit"]).where(table["storage_limit"] > 0)),
        "Modules held": _numbers(table["modules"], 0),
        "Sent, mean per event": _numbers(table["sent"], 1),
        "Cost if open, k$/a": _numbers(table["setup_cost"] / 1000, 1),
        "Out of use in events": _percents(1 - table["available"], 1),
    }
    note = ""
    if "slot_worth" in table and table["slot_worth"].notna().any():
        columns["One more slot is worth, k$/a"] = _numbers(table["slot_worth"] / 1000, 1)
        note = (
            "What one more slot is worth is its price in the linear relaxation of the risk-weighted objective: a "
            "guide, not a promise. No price is shown where slots are empty: the relaxation fills them with parts of "
            "modules."
        )
    return _grid(columns, left=("Hub", "State"), note=note)


def certificate(table: pd.DataFrame) -> Grid:
    """A table as it comes: numbers to three digits, flags as yes and no."""

    def text(value: Any) -> str:
        if isinstance(value, bool | np.bool_):
            return "yes" if value else "NO"
        if isinstance(value, float | np.floating):
            return f"{value + 0.0:.3g}"
        return str(value)

    shown = table if isinstance(table.index, pd.RangeIndex) else table.reset_index()
    rows = [[text(value) for value in line] for line in shown.itertuples(index=False)]
    numeric = [pd.api.types.is_numeric_dtype(kind) and not pd.api.types.is_bool_dtype(kind) for kind in shown.dtypes]
    return Grid([str(name).replace("_", " ") for name in shown.columns], rows, numeric)


def quantities(inputs: ReportInput) -> Grid:
    """What else was computed from the solution: scalars, expected values over scenarios, one line per technology."""
    rows = []
    for name, array in inputs.quantities.data_vars.items():
        if name == "share_stabilised":
            continue  # it counts nodes that are dark within their band; the headline does not
        label, unit = str(name).replace("_", " "), str(array.attrs.get("units", ""))
        if array.dims == ("scenario",):
            mean = float(array.weighted(inputs.plan.probability).mean())
            rows.append([f"{label}, expected", amount(mean), f"{unit}/event" if unit != "1" else ""])
        elif array.dims == ("fcm",):
            named = [(technology(str(one)), float(value)) for one, value in array.to_series().items()]
            rows += [[f"{label}, {one}", amount(value), unit] for one, value in named]
        elif array.ndim == 0:
            rows.append([label, amount(float(array)), unit])
    return Grid(["Quantity", "Value", "Unit"], rows, [False, True, False])


def _flat(mapping: Mapping[str, Any], prefix: str = "") -> Iterator[list[str]]:
    for key, value in mapping.items():
        name = f"{prefix}.{key}" if prefix else str(key)
        if isinstance(value, Mapping):
            yield from _flat(value, name)
        else:
            yield [name, str(value)]


def download(table: pd.DataFrame) -> str:
    """The shipments as CSV in a data address, with labels and units in the heading."""
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
    study = {key: value for key, value in inputs.provenance.items() if key not in ("solution", "money", "told")}
    rows = [*_flat(study), *_flat(inputs.plan.provenance, "solution")]
    return Grid(["Entry", "Value"], rows, [False, False])


def _grid(columns: Mapping[str, Sequence[str]], left: Sequence[str], total: bool = False, note: str = "") -> Grid:
    rows = [list(row) for row in zip(*columns.values(), strict=True)]
    return Grid(list(columns), rows, [name not in left for name in columns], total, note)


def _text(values: Iterable[Any]) -> list[str]:
    return [str(value) for value in values]


def _numbers(values: Iterable[float], decimals: int) -> list[str]:
    return [number(float(value), decimals) for value in values]


def _percents(values: Iterable[float], decimals: int = 0) -> list[str]:
    return [percent(float(value), decimals) for value in values]


def _minutes(hours: Iterable[float]) -> list[str]:
    return ["never" if np.isinf(value) else number(60 * float(value), 0) for value in hours]
