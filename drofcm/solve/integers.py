"""The third phase: the master keeps its integers, and so do the scenarios.

At every plan the master proposes all scenarios are solved with their integers: that is an upper bound. Where the cuts
fall short of the true cost, weighted by the risk measure, Lagrangian cuts are driven towards it. Scenarios that stay
out of reach of cuts join the master whole (partial Benders), which in the end makes it the extensive form. From then
on the master is searched by regions, one for every choice of the first stage's binaries that the cuts do not rule out.

References
----------
Crainic, T. G., Hewitt, M., Maggioni, F. and Rei, W. (2021). Partial Benders decomposition: general methodology and
application to stochastic network design.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from drofcm.solve.master import MasterPoint
from drofcm.solve.recourse import relative_gap
from drofcm.solve.regions import Region, binaries, split
from drofcm.solve.search import Search
from drofcm.solve.subproblem import Answer, Request

__all__ = ["IntegerPhase"]

Vector = npt.NDArray[np.float64]

_STEPS = 12
"""Steps of the Lagrangian dual that are shared out among scenarios, at a plan that is seen for the first time."""

_AGAIN = 3
"""Factor on these steps every time the master proposes the same plan again."""

_MOST_STEPS = 40
"""Steps of one scenario at one visit."""

_PLANS = 3
_PROGRESS = 0.2
"""The search has stalled if so many plans closed less than this share of the gap."""

_REGION_SECONDS = 20.0
"""Time limit of the first search of a region with scenarios kept whole; it doubles every time."""

_SHARE = 0.25
"""Share of the gap that may be lost to the master's own gap, and as much again to cuts that fall short."""

_ROOM, _LOOSEST = 1 / 8, 1e-2
"""The master's own gap: this share of what is left to close, and never more than that; early masters need no more."""

_STUCK = 0.7
"""A scenario joins the master if a plan's shortfall, met again, stays above this share of what it was."""


@dataclass
class _Visited:
    """A plan that was evaluated: cost, (S), what the scenarios answered, and how often it was proposed."""

    cost: Vector
    answers: dict[int, Answer] = field(repr=False)
    times: int = 0


class IntegerPhase:
    """The search among integer plans.

    Parameters
    ----------
    search
        What is known so far.
    """

    def __init__(self, search: Search) -> None:
        self._search = search
        self._visited: dict[bytes, _Visited] = {}
        self._binaries = binaries(search.blocks.first_stage)
        self._regions: list[Region] | None = None
        self._ruled_out = np.inf
        self._whole = False
        self._bounds: list[float] = []

    def step(self) -> None:
        """One plan of the master."""
        if self._regions is None:
            self._improve()
        else:
            self._search_region(self._regions)
        self._search.record()

    def evaluate(self, x: Vector) -> _Visited:
        """Solve all scenarios at a plan with their integers; a plan that was met before is not solved again."""
        search = self._search
        key = np.round(x, 9).tobytes()
        if key in self._visited:
            return self._visited[key]
        everywhere = {s: Request(x, exact=True, seconds=search.stop.remaining) for s in range(search.count)}
        answers = search.answers(everywhere)
        search.take_cuts(x, answers)
        cost = np.array([answers[s].upper for s in range(search.count)])
        nothing = [s for s in range(search.count) if answers[s].violation == 0 and np.isposinf(answers[s].lower)]
        if nothing:
            # its relaxation has a recourse and the scenario has none: no cut of the relaxation will tell
            search.master.keep(nothing)
        if np.isfinite(cost).all():
            search.master.learn_weights(cost)
            search.take_plan(x, search.objective(x, cost))
        self._visited[key] = _Visited(cost, answers)
        return self._visited[key]

    # ---- plans of the master ----------------------------------------------------------------------------------------

    def _improve(self) -> None:
        """Let the master propose a plan, evaluate it, learn where the cuts fall short of it."""
        search = self._search
        room = relative_gap(search.lower, search.upper)
        share = max(_SHARE * search.stop.gap, min(_ROOM * room, _LOOSEST))
        point = search.timed(
            "master", lambda: search.master.integer(gap=share, time_limit=search.stop.remaining, start=search.plan)
        )
        search.take_point(point, "dual bound of the master with integers")
        if len(point.x) and search.reason != "optimal":
            self._consider(point)
        # without a plan no region can be ruled out
        if search.master.kept and not self._whole and np.isfinite(search.upper):
            self._split()

    def _split(self) -> None:
        """From the first scenario that is kept whole on, search by regions of the first stage, if that can be done."""
        found = split(self._search.master, self._binaries, self._target)
        if found is None:
            self._whole = True
        else:
            self._regions, self._ruled_out = found
            self._search.phase = "regions of the first stage"

    @property
    def _target(self) -> float:
        """A bound at which a region holds nothing that is worth finding."""
        return self._search.upper - self._search.allowed

    def _search_region(self, regions: list[Region]) -> None:
        """Search the region of the least bound: with cuts alone first, then with the scenarios that are kept whole."""
        search = self._search
        region = min(regions, key=lambda one: one.bound, default=None)
        if region is not None and region.bound < self._target:
            remaining = search.stop.remaining
            longest = _REGION_SECONDS * 2 ** max(0, region.rounds - 1)
            point = search.timed(
                "master",
                lambda: search.master.integer(
                    gap=_SHARE * search.stop.gap,
                    time_limit=longest if remaining is None else min(longest, remaining),
                    start=search.plan if self._holds_plan(region) else None,
                    fixed=(self._binaries, region.values),
                    whole=region.rounds > 0,
                    enough=self._target,
                ),
            )
            if point.status == "interrupted":
                raise KeyboardInterrupt
            region.rounds += 1
            region.bound = max(region.bound, point.bound)
            if len(point.x) and region.bound < self._target:
                self._consider(point)
        bound = min([self._ruled_out, *(one.bound for one in regions)])
        search.take_bound(min(bound, search.upper), "least dual bound of the master over all regions")

    def _holds_plan(self, region: Region) -> bool:
        plan = self._search.plan
        return plan is not None and np.array_equal(np.round(plan[self._binaries]), region.values)

    # ---- what cuts miss at a plan -----------------------------------------------------------------------------------

    def _consider(self, point: MasterPoint) -> None:
        search, pool = self._search, self._search.master.pool
        before = pool.bound(point.x, search.master.floor)
        visited = self.evaluate(point.x)
        seen, visited.times = visited.times, visited.times + 1
        cost = visited.cost
        if not np.isfinite(cost).all():
            return
        if search.integer_recourse:
            self._drive(point.x, visited, _STEPS * _AGAIN**seen)
        short_before = self._short(cost, before)
        short = self._short(cost, pool.bound(point.x, search.master.floor))
        stuck = seen > 0 and short.sum() > _STUCK * short_before.sum()
        if (stuck or self._stalled()) and short.sum() > _SHARE * search.allowed:
            # what no cut reaches joins the master, where it is exact
            order, left = _largest_first(short)
            search.master.keep(order[left > _SHARE * search.allowed].tolist())

    def _stalled(self) -> bool:
        """Whether the last plans have hardly raised the lower bound, whatever their cuts have closed at them."""
        search = self._search
        self._bounds.append(search.lower)
        if self._regions is not None or len(self._bounds) <= _PLANS:
            return False
        return self._bounds[-1] - self._bounds[-1 - _PLANS] < _PROGRESS * (search.upper - search.lower)

    def _short(self, cost: Vector, bound: Vector) -> Vector:
        """By how much the cuts of every scenario fall short of its cost, weighted by the risk measure, (S)."""
        short = self._search.weights(cost) * np.maximum(cost - bound, 0)
        short[self._search.master.kept] = 0
        return short

    def _drive(self, x: Vector, visited: _Visited, steps: int) -> None:
        """Lagrangian cuts for the scenarios that matter: weight times shortfall, the largest first."""
        search, cost = self._search, visited.cost
        short = self._short(cost, search.master.pool.bound(x, search.master.floor))
        allowed = _SHARE * search.allowed / 2
        order, left = _largest_first(short)
        close = allowed / max(search.weights(cost).sum(), 1e-12)
        requests = {
            int(s): Request(
                x,
                relaxed=False,
                steps=min(1 + round(steps * short[s] / short.sum()), _MOST_STEPS),
                gradient=visited.answers[int(s)].gradient,
                points=search.points[int(s)],
                target=float(cost[s]),
                close=close,
                seconds=search.seconds_each,
            )
            for s in order[(left > allowed) & (short[order] > 0)]
        }
        search.take_cuts(x, search.answers(requests))


def _largest_first(short: Vector) -> tuple[npt.NDArray[np.int64], Vector]:
    """Scenarios by shortfall, and what is short of each and all behind it together."""
    order = np.argsort(-short, kind="stable")
    return order, short.sum() - np.concatenate([[0.0], np.cumsum(short[order])[:-1]])
