"""The first two phases: everything linear, then one cut with integers for every scenario.

1. *Relaxation.* Benders cuts with all integers relaxed, taken halfway between the master's optimum and the best point
   so far.
2. *Strengthening.* One strengthened Benders cut for every scenario at the multipliers of the relaxation's optimum.

References
----------
Ben-Ameur, W. and Neto, J. (2007). Acceleration of cutting-plane and column generation algorithms.
Zou, J., Ahmed, S. and Sun, X. A. (2019). Stochastic dual dynamic integer programming.
"""

from __future__ import annotations

import numpy as np

from drofcm.solve.gap import relative_gap
from drofcm.solve.result import Status
from drofcm.solve.search import Search
from drofcm.solve.subproblem import Request

__all__ = ["relax", "strengthen"]

_GAP = 5e-4
"""Relative gap at which the relaxation is left for the integers."""

_STALLED, _STUCK = 25, 200
"""Iterations without any progress after which the relaxation is left: the rest is rounding. And where no point has a
recourse in every scenario yet, so that feasibility cuts may still be on their way."""


def relax(search: Search) -> Status | None:
    """Solve the linear relaxation of the whole program; the reason to end the search, if there is one."""
    integers = search.integer_recourse or bool(search.blocks.first_stage.integer.any())
    enough = max(_GAP, search.stop.gap / 4) if integers else 0.0
    best, best_x, stalled = np.inf, search.plan, 0
    while True:
        before = search.lower, best
        point = search.timed("master", search.master.relax)
        unbounded = point.status == "unbounded"
        if unbounded and search.master.looked_far:
            search.take_whole()
            return search.reason
        if not unbounded:
            search.take_point(point, "linear relaxation of the master, all cuts valid")
        search.price = point.row_price
        if search.reason is not None or relative_gap(search.lower, best) <= enough:
            return search.reason
        at = point.x if best_x is None or unbounded else search.settled((point.x + best_x) / 2)
        answers = search.answers({s: Request(at) for s in range(search.count)})
        search.take_cuts(at, answers)
        if all(answer.violation == 0 for answer in answers.values()):
            cost = np.array([answers[s].relaxed for s in range(search.count)], dtype=float)
            search.master.learn_weights(cost)
            value = search.objective(at, cost)
            if value < best or best_x is None:
                best, best_x = value, at
            if not integers:
                search.take_plan(at, cost)
        elif best_x is not None and not np.isfinite(best):
            best_x = None
        search.record()
        stalled = stalled + 1 if before == (search.lower, best) else 0
        if stalled >= (_STALLED if np.isfinite(best) else _STUCK):
            return search.reason


def strengthen(search: Search) -> None:
    """One cut for every scenario that bears weight, at the multipliers of the relaxation's optimum."""
    point = search.timed("master", search.master.relax)
    requests = {
        s: Request(point.x, relaxed=False, steps=1, gradient=point.gradient[s], seconds=search.seconds_each)
        for s in np.flatnonzero(point.weight > 0).tolist()
    }
    search.take_cuts(point.x, search.answers(requests))
    point = search.timed("master", search.master.relax)
    search.take_point(point, "linear relaxation of the master with strengthened cuts")
    search.record()
