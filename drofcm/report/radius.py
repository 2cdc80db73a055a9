"""The page on which the radius of a study is chosen."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from drofcm.report.comparison import curves, frontier, intervals
from drofcm.report.sheet import Section, write_sheet
from drofcm.report.style import number, percent, technology

__all__ = ["finding", "write_radius"]


def finding(table: pd.DataFrame, events: int, caution: str = "") -> str:
    """In one sentence which radius cross-validation takes, and whether so many events say so clearly.

    ``caution`` is that of `drofcm.validate.crossvalidation.CrossValidation`: why the interval is too narrow.
    """
    best = table[table["best"]].reset_index().to_dict("records")[0]
    zero = table.reset_index().to_dict("records")[0]
    if best["multiple"] == 0:
        return "Cross-validation takes radius 0: no candidate did better than the nominal plan on held-out events."
    change = best["score"] / zero["score"] - 1
    clear = best["upper"] < 0 and not caution
    few = f"{events} events do not settle it" + (f" (the score {caution})" if caution else "")
    doubt = (
        "the interval leaves zero out" if clear else f"{few}{'' if best['upper'] < 0 else ', the interval holds zero'}"
    )
    span = f"{number(best['lower'] / 1000, 0)} to {number(best['upper'] / 1000, 0)} k$/a"
    return (
        f"Cross-validation takes radius {number(best['radius'], 2)} ({percent(best['share'])} of the mean distance of "
        f"two events): {percent(change, 1)} in the held-out risk-weighted objective against radius 0 "
        f"(90 %: {span}); {doubt}."
    )


def write_radius(
    path: Path,
    title: str,
    ambiguity: str,
    alpha: float,
    events: int,
    caution: str,
    table: pd.DataFrame,
    plans: pd.DataFrame,
    moves: pd.DataFrame,
) -> None:
    """Write the page.

    Parameters
    ----------
    path
        The file to write.
    title
        Of the study.
    ambiguity
        How distance is measured.
    alpha
        Confidence level of the tail.
    events
        How many were held out in turn.
    caution
        Why the intervals of the score are narrower than they say, if they are.
    table, plans, moves
        ``radius``, ``frontier`` and ``moves`` of `drofcm.study.radius.RadiusRun`.
    """
    money = table[["score", "risk_weighted_objective", "expected_cost"]] / 1000
    labels = [
        f"{number(row['multiple'], 2)} x ({number(row['radius'], 2)})" for row in table.reset_index().to_dict("records")
    ]
    gain = (table[["score", "lower", "upper"]] / 1000).set_axis(labels)
    gain["estimate"] = gain["score"] - gain["score"].iloc[0]
    drawn = [
        curves(
            "score",
            "Risk-weighted objective held out and on all events, and expected cost",
            money,
            {
                "score": "held out",
                "risk_weighted_objective": "all events, worst over the ball",
                "expected_cost": "expected cost",
            },
            "radius, multiples of the starting radius",
            "k$/a",
        ),
        intervals(
            "gain",
            "Held-out objective less that of radius 0, 90 % bootstrap" + (f" ({caution})" if caution else ""),
            gain.iloc[1:],
            "k$/a",
            zero=True,
        ),
    ]
    both = plans[["expected_cost", "event_tail"]] / 1000
    axes = ("expected cost, k$/a", f"CVaR {alpha:g} of one event, k$")
    lines = frontier("frontier", "Every plan under the stated probabilities", both, "expected_cost", "event_tail", axes)
    sections = [
        Section(
            "How robust",
            [
                "The score is the risk-weighted objective (first stage + event rate x the study's weights of mean and "
                "tail of one event; no cash) on events that were held out when the plan was made. "
                f"Ambiguity: {ambiguity}. Candidates are multiples of the mean distance of two events over "
                "the root of their number: a rate that theory gives, whose constant it does not.",
            ],
            drawn,
            _radius_texts(table),
        ),
        Section(
            "What robustness moves",
            ["Modules at each hub, and the change against the plan of radius 0."],
            (),
            _move_texts(moves),
            text_columns=2,
        ),
        Section(
            "Cost against tail risk",
            ["Dots along a line: rising radius. Lines: how the objective weighs mean and tail."],
            [lines],
            note="Every plan is judged under the stated probabilities: a robust plan lies below the frontier of plans "
            "that were optimised for them only by what searches left open.",
        ),
    ]
    write_sheet(path, title, [finding(table, events, caution)], sections)


def _radius_texts(table: pd.DataFrame) -> pd.DataFrame:
    def thousands(column: str) -> list[str]:
        return [number(value / 1000, 1) for value in table[column]]

    return pd.DataFrame(
        {
            "multiple": [number(value, 2) for value in table.index],
            "radius": [number(value, 2) for value in table["radius"]],
            "share of mean distance": [percent(value, 1) for value in table["share"]],
            "held-out objective, k$/a": thousands("score"),
            "held-out expected cost, k$/a": thousands("held_out_expected_cost"),
            "expected cost, k$/a": thousands("expected_cost"),
            "CVaR of one event, k$": thousands("event_tail"),
            "CVaR of a year, k$": thousands("year_tail"),
            "price of robustness": [percent(value, 1) for value in table["price"]],
            "first stage, k$/a": thousands("first_stage_cost"),
            "hubs": [number(value, 0) for value in table["hubs"]],
            "modules": [number(value, 0) for value in table["modules"]],
            "± over folds": [number(value, 1) for value in table["modules_sd_over_folds"]],
            "ENS, MWh an event": [number(value, 3) for value in table["ens"]],
            "gap": [percent(value, 1) for value in table["gap"]],
        }
    )


def _move_texts(moves: pd.DataFrame) -> pd.DataFrame:
    rows = []
    for (hub, fcm), own in moves.groupby(level=["hub", "fcm"]):
        row = {"hub": str(hub), "technology": technology(str(fcm))}
        for record in own.reset_index().to_dict("records"):
            change = record["change"]
            text = number(record["modules"], 0) + (f" ({change:+.0f})" if change else "")
            row[f"{number(record['multiple'], 2)} x"] = text.replace("-", "−")
        rows.append(row)
    return pd.DataFrame(rows)
