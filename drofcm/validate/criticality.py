"""What each candidate hub is worth: the cost of doing without it, or of having to open it, and near-optimal plans.

Every figure is an interval. A search stops at a gap, so the cost of a plan with a hub forced out is known between the
bound of that search and the cost of the plan it found; so is the optimum itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
import xarray as xr

from drofcm.core.errors import Finding, InfeasibleError, InputError, LimitError, suggest
from drofcm.problems import demand_shock
from drofcm.risk.ambiguity import AmbiguitySet
from drofcm.risk.measures import RiskMeasure
from drofcm.solve.result import Result
from drofcm.solve.spread import spread

__all__ = ["hub_criticality"]

Force = Literal["in", "out"]


@dataclass(frozen=True)
class _Task:
    """The problem with one hub forced in or out, and how far it is solved."""

    data: xr.Dataset
    hub: str
    force: Force
    risk: RiskMeasure
    ambiguity: AmbiguitySet | None
    gap: float
    time_limit: float | None
    start: xr.Dataset


def hub_criticality(
    data: xr.Dataset,
    plan: Result,
    risk: RiskMeasure,
    ambiguity: AmbiguitySet | None = None,
    *,
    hubs: Sequence[str] | None = None,
    within: float = 0.01,
    gap: float = 0.01,
    time_limit: float | None = None,
    workers: int | None = None,
    client: Any = None,
) -> pd.DataFrame:
    """Cost of forcing every open hub out and every closed hub in.

    Parameters
    ----------
    data
        Data of A.1.
    plan
        The best plan known, with its bounds.
    risk, ambiguity
        The risk measure and the ambiguity set it was made for; None: the stated probabilities.
    hubs
        Hubs to look at; all of them if left out.
    within
        A plan is near-optimal if it costs at most this share more than the best plan.
    gap, time_limit
        Of each search: relative gap, and seconds (None: no limit).
    workers
        Searches at a time, each in a process of its own; as many as there are cores if left out, 1 stays in this one.
    client
        A `dask.distributed.Client` on which they run instead.

    Returns
    -------
    pandas.DataFrame
        One line a hub, dearest first: ``open`` in the plan; ``force`` (``"out"`` or ``"in"``); ``extra_at_least`` and
        ``extra_at_most``, by how much that raises the risk-weighted objective, $/a (both infinite where no plan
        exists); ``extra_expected``, what the best plan found with the hub forced costs more than ``plan`` in
        expectation, $/a (NaN where none was found); and ``role``: ``"in every"``
        near-optimal plan, ``"in some"``, ``"in none"``, or ``"not known"`` where the intervals do not say.

    Raises
    ------
    InputError
        If a hub is unknown, or the plan has no bound.
    """
    labels = [str(hub) for hub in data.hub.values]
    chosen = labels if hubs is None else list(hubs)
    findings = [Finding("hubs", f"unknown hub {hub!r}", suggest(hub, labels)) for hub in chosen if hub not in labels]
    if not np.isfinite(plan.lower_bound):
        findings.append(Finding("plan", "has no lower bound: it was evaluated, not optimised", "solve the program"))
    if findings:
        raise InputError(findings)
    active = plan.first_stage["hub_active"]
    opened = {str(hub) for hub in active["hub"].values[(active > 0.5).values]}
    tasks = [
        _Task(data, hub, "out" if hub in opened else "in", risk, ambiguity, gap, time_limit, plan.first_stage)
        for hub in chosen
    ]
    rows = [
        _row(task, found, plan, within)
        for task, found in zip(tasks, spread(_bounds, tasks, client, workers), strict=True)
    ]
    table = pd.DataFrame(rows).set_index("hub")
    return table.sort_values(["open", "extra_at_most"], ascending=[False, False], kind="stable")


def _bounds(task: _Task) -> tuple[float, float, float]:
    """Lower bound of every plan with the hub forced; objective and expected cost of the best one found."""
    name = f"hub_forced_{task.force}"
    forced = task.data[name].copy(deep=True)
    forced.loc[{"hub": task.hub}] = 1
    data = task.data.assign({name: forced})
    program = demand_shock.program(data, checked=True)
    changed = _start(task)
    start: xr.Dataset | None = changed
    try:
        program.evaluate(changed, task.risk, task.ambiguity, preferred=False)
    except InfeasibleError:
        start = None  # the limits of the study do not allow it
    try:
        found = program.solve(
            task.risk,
            task.ambiguity,
            gap=task.gap,
            time_limit=task.time_limit,
            start=start,
            workers=1,
            preferred=False,
        )
    except InfeasibleError:
        return np.inf, np.inf, np.nan
    except LimitError as error:
        return error.lower_bound, np.inf, np.nan
    return found.lower_bound, found.upper_bound, found.mean


def _start(task: _Task) -> xr.Dataset:
    """The best plan with the hub opened, or closed and emptied."""
    start = task.start.copy(deep=True)
    start["hub_active"].loc[{"hub": task.hub}] = 1.0 if task.force == "in" else 0.0
    if task.force == "out":
        start["shipped"].loc[{"hub": task.hub}] = 0.0
    return start


def _row(task: _Task, found: tuple[float, float, float], plan: Result, within: float) -> dict[str, Any]:
    lower, upper, expected = found
    limit = plan.upper_bound + within * abs(plan.upper_bound)
    shut = task.force == "out"
    # a forced plan can cost no less than the best of all
    lower = max(lower, plan.lower_bound)
    if lower > limit:
        role = "in every" if shut else "in none"
    elif upper <= limit:
        role = "in some"
    else:
        role = "not known"
    return {
        "hub": task.hub,
        "open": shut,
        "force": task.force,
        "extra_at_least": max(lower - plan.upper_bound, 0.0),
        "extra_at_most": upper - plan.lower_bound,
        "extra_expected": expected - plan.mean,
        "role": role,
    }
