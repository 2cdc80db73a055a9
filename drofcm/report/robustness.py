"""The page of the experiment whether robustness pays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from drofcm.report.comparison import curves, intervals
from drofcm.report.experiments import FIGURES
from drofcm.report.sheet import Section, write_sheet
from drofcm.report.style import number

__all__ = ["verdict", "write_robustness"]

_DRAWN = ("expected_cost", "event_tail", "ens", "unserved_energy")
_MONEY = ("expected_cost", "event_mean", "event_tail", "year_tail", "first_stage_cost")
_DECIMALS = {**dict.fromkeys(_MONEY, 1), "modules": 1}


def verdict(differences: pd.DataFrame, chosen: str, against: str) -> str:
    """In one sentence whether the tail of the chosen plan differs from that of the plan it is compared with."""
    row = _of(_scaled(differences), "event_tail").loc[[chosen]].to_dict("records")[0]
    span = f"{number(row['lower'], 1)} to {number(row['upper'], 1)} k$"
    change = f"{number(row['estimate'], 1)} k$ (95 %: {span}, {int(row['repetitions'])} repetitions)"
    what = f"out of sample, {chosen} changes CVaR 0.95 of one event against that {against} by {change}."
    if row["upper"] < 0:
        return f"Robustness pays here: {what}"
    if row["lower"] > 0:
        return f"Robustness does harm here: {what}"
    return f"No significant difference: {what}"


def write_robustness(
    path: Path,
    title: str,
    facts: Sequence[str],
    tables: Mapping[str, pd.DataFrame],
    plans: tuple[str, str],
) -> None:
    """Write the page.

    Parameters
    ----------
    path
        The file to write.
    title
        Of the planner's study.
    facts
        Sentences on size and shift.
    tables
        ``summary`` and ``differences`` (index figure, plan), ``radius`` (index multiple).
    plans
        The plan that is judged, and the one it is compared with.
    """
    summary, differences = _scaled(tables["summary"]), _scaled(tables["differences"])
    chosen, against = plans
    drawn = [
        intervals(f"difference_{name}", _label(label), _of(differences, name), _unit(label), zero=True)
        for name, label in FIGURES.items()
        if name in _DRAWN
    ]
    radius = tables["radius"]
    money = radius[["score", "expected_cost", "year_tail"]] / 1000
    lines = curves(
        "radius",
        "Mean over the repetitions",
        money,
        {
            "score": "score of the cross-validation",
            "expected_cost": "expected cost, fresh events",
            "year_tail": "CVaR 0.95 of a year, fresh events",
        },
        "radius, multiples of the starting radius",
        "k$/a",
    )
    sections = [
        Section(
            f"What plans have over that {against}",
            ["Dots: mean over the repetitions; whiskers: 95 % Student interval of the paired differences. Left: less."],
            drawn,
            _texts(differences, significant=True),
            text_columns=2,
            note="Each interval stands for itself: of twenty differences that are nothing one leaves out zero by luck.",
        ),
        Section("What plans cost", ["Mean over the repetitions, 95 % interval."], (), _texts(summary), 2),
        Section(
            "Radius",
            [
                "How often cross-validation took each radius, and what it would have brought in every repetition. "
                "The score is the risk-weighted objective on held-out events (no cash)."
            ],
            [lines],
            _radius_texts(radius),
        ),
    ]
    write_sheet(path, title, [verdict(tables["differences"], chosen, against), *facts], sections)


def _scaled(table: pd.DataFrame) -> pd.DataFrame:
    """Money in thousands."""
    scaled = table.copy()
    money = scaled.index.get_level_values("figure").isin(_MONEY)
    scaled.loc[money, ["estimate", "lower", "upper"]] /= 1000
    return scaled


def _of(table: pd.DataFrame, figure: str) -> pd.DataFrame:
    """The rows of one figure, by plan."""
    return table[table.index.get_level_values("figure") == figure].droplevel("figure")


def _label(label: str) -> str:
    return label.split(", ")[0]


def _unit(label: str) -> str:
    return label.partition(", ")[2].replace("$", "k$")


def _texts(table: pd.DataFrame, significant: bool = False) -> pd.DataFrame:
    rows = []
    for row in table.reset_index().to_dict("records"):
        label, decimals = FIGURES[row["figure"]], _DECIMALS.get(row["figure"], 3)
        low, high = number(row["lower"], decimals), number(row["upper"], decimals)
        own = {
            "figure": ", ".join(filter(None, (_label(label), _unit(label)))),
            "plan": row["plan"],
            "mean": number(row["estimate"], decimals),
            "95 % interval": f"{low} to {high}",
        }
        if significant:
            own["holds zero"] = "no" if row["significant"] else "yes"
        rows.append(own)
    return pd.DataFrame(rows)


def _radius_texts(radius: pd.DataFrame) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "multiple of the starting radius": [number(value, 2) for value in radius.index],
            "mean radius": [number(value, 2) for value in radius["radius"]],
            "taken by cross-validation": [number(value, 0) for value in radius["taken"]],
            "score, k$/a": [number(value / 1000, 1) for value in radius["score"]],
            "expected cost, fresh events, k$/a": [number(value / 1000, 1) for value in radius["expected_cost"]],
            "CVaR 0.95 of one event, k$": [number(value / 1000, 1) for value in radius["event_tail"]],
            "CVaR 0.95 of a year, k$": [number(value / 1000, 1) for value in radius["year_tail"]],
            "ENS, MWh an event": [number(value, 3) for value in radius["ens"]],
        }
    )
