"""Figures of independent repetitions: means with intervals, paired differences, and what each radius brought."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import pandas as pd

from drofcm.validate.outofsample import repetition_interval

__all__ = ["FIGURES", "by_radius", "differences", "summary"]

FIGURES: Final = {
    "expected_cost": "expected cost, $/a",
    "event_mean": "mean of one event, $",
    "event_tail": "CVaR 0.95 of one event, $",
    "year_tail": "CVaR 0.95 of a year, $/a",
    "ens": "ENS, MWh an event",
    "unserved_energy": "unserved energy, MWh an event",
    "any_unserved": "probability of any unserved load",
    "first_stage_cost": "first-stage cost, $/a",
    "modules": "modules",
}


def summary(outcomes: pd.DataFrame, level: float = 0.95) -> pd.DataFrame:
    """Mean over the repetitions of every figure of every plan, with Student's interval.

    Returns
    -------
    pandas.DataFrame
        Index ``figure``, ``plan``; columns ``estimate``, ``lower``, ``upper``, ``repetitions``.
    """
    return _intervals(outcomes, None, level)


def differences(outcomes: pd.DataFrame, against: str, level: float = 0.95) -> pd.DataFrame:
    """What every plan has over another one, paired by repetition; columns as `summary`, and ``significant``.

    ``significant`` means that the interval does not hold zero. It is given for each difference alone: of twenty
    differences that are nothing one is expected to look like something.
    """
    table = _intervals(outcomes, against, level)
    return table.assign(significant=(table["lower"] > 0) | (table["upper"] < 0))


def _intervals(outcomes: pd.DataFrame, against: str | None, level: float) -> pd.DataFrame:
    rows: dict[tuple[str, str], dict[str, Any]] = {}
    plans = [name for name in dict.fromkeys(outcomes.index.get_level_values("plan")) if name != against]
    for figure in FIGURES:
        by_plan = outcomes[figure].unstack("plan")
        for plan in plans:
            values = by_plan[plan] if against is None else by_plan[plan] - by_plan[against]
            own = repetition_interval(values.to_numpy(), level)
            row = {"estimate": own.estimate, "lower": own.lower, "upper": own.upper, "repetitions": len(values)}
            rows[figure, plan] = row
    index = pd.MultiIndex.from_tuples(list(rows), names=["figure", "plan"])
    return pd.DataFrame(list(rows.values()), index=index)


def by_radius(outcomes: pd.DataFrame, validation: pd.DataFrame, plan_of: Callable[[float], str]) -> pd.DataFrame:
    """What every candidate radius brought on average, and how often cross-validation took it.

    Returns
    -------
    pandas.DataFrame
        Index ``multiple``; ``radius``, ``taken``, ``score``, and the figures on the fresh events.
    """
    found = validation.groupby(level="multiple")[["radius", "score"]].mean()
    best = validation["score"].groupby(level="repetition").idxmin()
    taken = pd.Series([multiple for _, multiple in best]).value_counts()
    found.insert(1, "taken", taken.reindex(found.index, fill_value=0))
    plans = [plan_of(multiple) for multiple in found.index]
    fresh = outcomes[list(FIGURES)].groupby(level="plan").mean().loc[plans]
    return found.join(fresh.set_index(found.index))
