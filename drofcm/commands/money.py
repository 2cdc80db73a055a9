"""Plans side by side in money, as a table of the terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from rich import box
from rich.table import Table

__all__ = ["money_table"]

_ROWS: Final = {
    "expected_cost": "expected cost, k$/a",
    "first_stage_cost": "  hubs, modules, transport",
    "events_cost": "  events",
    "event_mean": "one event, mean, k$",
    "event_tail": "one event, CVaR {level}, k$",
    "year_tail": "a year, CVaR {level}, k$",
    "risk_weighted_objective": "risk-weighted (no cash), k$/a",
}

_BOTH_SIDES: Final = 1.96
"""Standard errors that hold 95 %."""


def money_table(plans: Mapping[str, Mapping[str, float]], alpha: float, title: str) -> Table:
    """A column a plan.

    Parameters
    ----------
    plans
        Figures by plan, as `drofcm.validate.money.Money.figures`, $.
    alpha
        Confidence level of the tails.
    title
        Of the table.
    """
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("", no_wrap=True)
    for name in plans:
        # a hyphen is no place to wrap for rich, which would cut the word
        table.add_column(name.replace("-", "-\n"), justify="right")
    shown = list(plans.values())
    for key, label in _ROWS.items():
        table.add_row(label.format(level=f"{alpha:.0%}"), *(f"{own[key] / 1e3:,.1f}" for own in shown))
        if key == "year_tail":
            errors = (f"± {_BOTH_SIDES * own['year_tail_error'] / 1e3:,.1f}" for own in shown)
            table.add_row("  its sampling error, 95%", *errors)
    return table
