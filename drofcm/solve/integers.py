"""The third phase: the master keeps its integers, and so do the scenarios.

At every plan the master proposes all scenarios are solved with their integers: that is an upper bound. Where the cuts
fall short of the true cost, weighted by the risk measure, Lagrangian cuts are driven towards it. As soon as few
choices of the first stage's binaries are left, each of them is a region with a master and cuts of its own, searched
in the order of their bounds, several side by side; one that takes too long is halved on an integer column. Scenarios
that stay out of reach of cuts join a master whole (partial Benders), which in the end makes it the extensive form.

References
----------
Crainic, T. G., Hewitt, M., Maggioni, F. and Rei, W. (2021). Partial Benders decomposition: general methodology and
application to stochastic network design.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from drofcm.core.errors import SolveError
from drofcm.solve.evaluation import Evaluation, Visited
from drofcm.solve.gap import AGREEMENT, LEAST_GAP, relative_gap
from drofcm.solve.master import MasterPoint, Question
from drofcm.solve.neighbours import Polish
from drofcm.solve.regions import MOST_NODES, Choices, Region, binaries
from drofcm.solve.search import Search
from drofcm.solve.subproblem import Request

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

_MOST_REGIONS = 200
"""Regions that are worth searching one by one although no scenario is kept whole yet."""

_LEADS = 4
"""Plans that are sought in a leading region at most before all regions are compared."""

_REGION_SECONDS = 60.0
"""Time limit of a search of a region; one that hits it is halved, or searched twice as long if it cannot be."""

_LEFT = 0.2
"""Share of what cuts miss at a region's plan that may be left to cuts; the scenarios with the rest are kept whole."""

_SHARE = 0.25
"""Share of the gap that may be lost to the master's own gap, and as much again to cuts that fall short."""

_ROOM, _LOOSEST = 1 / 8, 1e-2
"""The master's own gap: this share of what is left to close, and never more than that; early masters need no more."""

_IN_VAIN = 3
"""Steps that tell nothing new, one after the other, with which the search ends."""

_CLOSER = 1 / 16
"""The share of its own gap to which a master is solved, without a start, that told nothing new the time before."""

_STUCK = 0.7
"""A scenario joins the master if a plan's shortfall, met again, stays above this share of what it was."""


class IntegerPhase:
    """The search among integer plans.

    Parameters
    ----------
    search
        What is known so far.

    Attributes
    ----------
    evaluation
        The plans that were evaluated.
    """

    def __init__(self, search: Search) -> None:
        self._search = search
        self.evaluation = Evaluation(search)
        self._polish = Polish(search, self.evaluation)
        self._binaries = binaries(search.blocks.first_stage)
        self._bounds: list[float] = []
        self._choices: Choices | None = None
        self._leading: list[Region] = []
        self._led = False
        self._stubborn = np.zeros(search.count, dtype=bool)
        self._in_vain = 0

    def step(self) -> None:
        """One plan of the master, or one of each of some regions.

        A step that tells nothing new would be the same for ever. After the first one masters are asked more closely
        and without a start, after the second the scenarios that cuts fall short of join them whole, and after the third
        the search ends with the bounds it has.
        """
        search, before = self._search, self._state()
        if search.regions is None:
            led = self._lead()
            if not led:
                self._improve()
            # without a plan no region can be ruled out, and with a poor one only few
            waiting = led and any(self._leads(own) for own in self._leading)
            if search.reason is None and np.isfinite(search.upper) and not waiting:
                self._split()
        else:
            self._search_regions(search.regions)
        self._polish.run(self._leading if search.regions is None else search.regions)
        self._in_vain = self._in_vain + 1 if self._state() == before else 0
        if self._in_vain == _IN_VAIN - 1:
            self._keep_what_is_short()
        search.stalled = self._in_vain >= _IN_VAIN
        search.record()

    def _state(self) -> tuple[Any, ...]:
        """All that a step can change for the next one."""
        search = self._search
        regions = search.regions if search.regions is not None else self._leading
        own = tuple((id(r), r.bound, len(r.cuts), len(r.kept), r.patience, r.unfinished) for r in regions)
        leads = sum(r.rounds for r in self._leading) if search.regions is None else -1
        master = search.master
        known = len(master.pool), int(master.pool.active.sum()), len(master.kept), master.risk_cuts
        return search.lower, search.upper, known, len(self.evaluation), leads, own

    def _keep_what_is_short(self) -> None:
        """Hold every scenario whole whose cost cuts fall short of at the best plan; all if that is none."""
        search = self._search
        everything = list(range(search.count))
        if search.plan is None:
            search.master.keep(everything)
            return
        cost = self.evaluation.at(search.plan).cost
        holders = [region for region in search.regions or [] if region.bound < self._target]
        if not holders:
            search.master.keep(self._short_of(cost, None) or everything)
        for region in holders:
            region.keep(self._short_of(cost, region) or everything)

    def _short_of(self, cost: Vector, region: Region | None) -> list[int]:
        """The scenarios that are not whole yet and cost more at the best plan than their cuts know."""
        search = self._search
        if search.plan is None:
            return []
        whole = [*search.master.kept, *([] if region is None else region.kept)]
        short = np.flatnonzero(cost > search.known(search.plan, region))
        return [s for s in short.tolist() if s not in whole]

    # ---- plans of the master ----------------------------------------------------------------------------------------

    def _lead(self) -> bool:
        """A plan in each of the regions with the least bounds, whose masters are much easier than that of all."""
        search = self._search
        if not self._led and np.isinf(search.upper):
            self._leading = search.timed("master", lambda: self._looked_at().leading(search.workers))
        self._led = True
        worth = self._open([own for own in self._leading if self._leads(own)])
        self._search_in(worth)
        return bool(worth)

    def _leads(self, own: Region) -> bool:
        """Whether a leading region is worth another plan, cheap as it is, before all regions are compared."""
        if own.rounds >= _LEADS or own.kept or own.bound >= self._target:
            return False
        return relative_gap(own.bound, own.value) > _LOOSEST

    def _improve(self) -> None:
        """Let the master propose a plan, evaluate it, learn where the cuts fall short of it."""
        search = self._search
        start = None if self._in_vain else search.plan
        (point,) = self._points([Question(self._gap(search.lower), search.stop.remaining, start)])
        search.take_point(point, "dual bound of the master with integers")
        if len(point.x) and search.reason != "optimal":
            self._consider(point)

    def _gap(self, lower: float) -> float:
        """The gap to which a master is worth solving: early ones need no more than a direction."""
        asked = max(self._search.stop.gap, LEAST_GAP)
        own = max(_SHARE * asked, min(_ROOM * relative_gap(lower, self._search.upper), _LOOSEST))
        return max(_CLOSER * own, LEAST_GAP) if self._in_vain else own

    def _split(self) -> None:
        """From now on search by regions of the first stage, if they are few or what is kept whole asks for it."""
        search = self._search
        most = _MOST_REGIONS if not search.master.kept else MOST_NODES
        found = search.timed("master", lambda: self._looked_at().split(self._target, most))
        # what was looked at with the cuts of today need not be looked at again, with those of tomorrow it must
        self._choices = None
        if found is not None:
            regions, search.ruled_out = found
            known = {_box(own): own for own in self._leading}
            search.regions = [known.get(_box(own), own) for own in regions]
            search.phase = "regions of the first stage"

    def _looked_at(self) -> Choices:
        """The choices of the binaries, as far as they have been looked at."""
        if self._choices is None:
            search = self._search
            first_stage, bound_in = search.blocks.first_stage, search.master.bound_in
            self._choices = Choices(first_stage, bound_in, self._binaries, whole=search.integer_recourse)
        return self._choices

    @property
    def _target(self) -> float:
        """A bound at which a region holds nothing that is worth finding; none before there is a plan."""
        return self._search.upper - self._search.allowed if np.isfinite(self._search.upper) else np.inf

    def _search_regions(self, regions: list[Region]) -> None:
        """One plan of each of the regions with the least bounds, as many as there are workers."""
        search = self._search
        chosen = self._open(regions)
        while search.reason is None and any(
            [self._halve(own, regions) for own in chosen if self._is_slow(own, len(chosen))]
        ):
            chosen = self._open(regions)
        self._search_in(chosen)
        bound = min([search.ruled_out, *(own.bound for own in regions)])
        self._refuse_false_bounds(regions)
        # what is above the best plan's cost says that nothing better is left
        search.take_bound(min(bound, search.upper), "least dual bound of the master over all regions")

    def _refuse_false_bounds(self, regions: list[Region]) -> None:
        """The best plan lies in some region, or in what was ruled out: not all bounds there can be above its cost.

        Raises
        ------
        SolveError
            If they are: the solver has proven what is not true.
        """
        search = self._search
        if search.plan is None:
            return
        there = [own.bound for own in regions if own.holds(search.plan)]
        bound = min([search.ruled_out, *there])
        if np.isfinite(bound) and bound > search.upper + AGREEMENT * max(1.0, search.size):
            raise SolveError(
                f"a region of the first stage costs at least {bound:,.6g} by its master, and a plan in it "
                f"{search.upper:,.6g} (in units of a typical cost): the solver's bounds do not hold"
            )

    def _is_slow(self, region: Region, beside: int) -> bool:
        """Whether a region is better searched in parts: its search took too long, or would leave workers idle."""
        return region.unfinished or (bool(region.kept) and beside < self._search.workers)

    def _halve(self, region: Region, regions: list[Region]) -> bool:
        """Put two parts in the place of a region, if it can be halved."""
        parts = self._search.timed("master", lambda: self._search.master.halves(region))
        if parts:
            regions[:] = [own for own in regions if own is not region] + parts
        elif region.unfinished:
            region.patience *= 2
        return bool(parts)

    def _open(self, regions: list[Region]) -> list[Region]:
        """The regions with the least bounds that may hold a better plan, as many as there are workers."""
        search = self._search
        chosen: list[Region] = []
        for region in sorted(regions, key=_bound):
            if len(chosen) == search.workers or region.bound >= self._target:
                break
            if region.rounds == 0 and search.integer_recourse:
                self._strengthen(region)
            if region.bound < self._target:
                chosen.append(region)
        return chosen

    def _search_in(self, regions: list[Region]) -> None:
        """One plan of each region; where no scenario is kept whole first, because that takes a fraction of the time."""
        search = self._search
        chosen = [region for region in regions if not region.kept] or regions
        points = self._points([self._question(region) for region in chosen])
        for region, point in zip(chosen, points, strict=True):
            region.rounds += 1
            region.bound = max(region.bound, point.bound)
            region.unfinished = point.status == "time_limit"
        if any(point.status == "interrupted" for point in points):
            raise KeyboardInterrupt
        for region, point in zip(chosen, points, strict=True):
            if len(point.x) and region.bound < self._target and search.reason is None:
                self._consider(point, region)

    def _question(self, region: Region) -> Question:
        search = self._search
        remaining, longest = search.stop.remaining, _REGION_SECONDS * region.patience
        return Question(
            gap=self._gap(region.bound),
            time_limit=longest if remaining is None else min(longest, remaining),
            start=None if self._in_vain else region.plan,
            region=region,
            enough=self._target,
        )

    def _points(self, questions: list[Question]) -> list[MasterPoint]:
        """What masters propose: by consolidated cuts, which takes seconds, or else side by side."""
        search = self._search
        points: dict[int, MasterPoint] = {}
        for number, question in enumerate(questions):
            point = search.timed("master", partial(search.master.search, question))
            if point is not None:
                points[number] = point
        rest = [number for number in range(len(questions)) if number not in points]
        if rest:
            points |= zip(rest, search.solve([search.master.task(questions[number]) for number in rest]), strict=True)
        return [points[number] for number in range(len(questions))]

    def _strengthen(self, region: Region) -> None:
        """One cut for every scenario that bears weight, at the multipliers of the region's relaxation."""
        search = self._search
        point = search.timed("master", lambda: search.master.relax_in(region))
        region.bound = max(region.bound, point.bound)
        if region.bound >= self._target:
            return
        requests = {
            s: Request(
                point.x,
                relaxed=False,
                steps=1,
                gradient=point.gradient[s],
                within=(region.lower, region.upper),
                seconds=search.seconds_each,
            )
            for s in np.flatnonzero(point.weight > 0).tolist()
        }
        search.take_cuts(point.x, search.answers(requests), region)

    # ---- what cuts miss at a plan -----------------------------------------------------------------------------------

    def _consider(self, point: MasterPoint, region: Region | None = None) -> None:
        search, x = self._search, point.x
        before = search.known(x, region)
        visited = self.evaluation.at(x)
        seen, visited.times = visited.times, visited.times + 1
        cost = visited.cost
        if not np.isfinite(cost).all():
            return
        if region is not None:
            region.take_plan(x, search.objective(x, cost))
        short_before = self._short(cost, before, region)
        if region is not None:
            self._keep(region, np.where(self._stubborn, self._short(cost, search.known(x, region), region), 0))
        if search.integer_recourse and not any(own is region for own in visited.regions):
            self._drive(x, visited, _STEPS if region is not None else _STEPS * _AGAIN**seen, region)
        if region is not None:
            visited.regions.append(region)
        short = self._short(cost, search.known(x, region), region)
        if short.sum() <= _SHARE * search.allowed:
            return
        order, left = _largest_first(short)
        if region is not None:
            self._keep(region, short)
        elif (seen > 0 and short.sum() > _STUCK * short_before.sum()) or self._stalled():
            # what no cut reaches joins the master, where it is exact
            search.master.keep(order[left > _SHARE * search.allowed].tolist())

    def _keep(self, region: Region, short: Vector) -> None:
        """Hold the scenarios with the largest part of what is short whole in the region's master."""
        order, left = _largest_first(short)
        region.keep(order[left > max(_SHARE * self._search.allowed, _LEFT * short.sum())].tolist())

    def _stalled(self) -> bool:
        """Whether the last plans have hardly raised the lower bound, whatever their cuts have closed at them."""
        search = self._search
        self._bounds.append(search.lower)
        if len(self._bounds) <= _PLANS:
            return False
        return self._bounds[-1] - self._bounds[-1 - _PLANS] < _PROGRESS * (search.upper - search.lower)

    def _short(self, cost: Vector, bound: Vector, region: Region | None) -> Vector:
        """By how much the cuts of every scenario fall short of its cost, weighted by the risk measure, (S)."""
        weights = self._search.weights(cost)
        short = np.where(weights > 0, weights * np.maximum(cost - bound, 0), 0)
        short[self._search.master.kept + ([] if region is None else region.kept)] = 0
        return short

    def _drive(self, x: Vector, visited: Visited, steps: int, region: Region | None) -> None:
        """Lagrangian cuts for the scenarios that matter: weight times shortfall, the largest first."""
        search, cost = self._search, visited.cost
        short = self._short(cost, search.known(x, region), region)
        allowed = _SHARE * search.allowed / 2
        order, left = _largest_first(short)
        close = allowed / max(search.weights(cost).sum(), 1e-12)
        within = None if region is None else (region.lower, region.upper)
        requests = {
            int(s): Request(
                x,
                relaxed=False,
                steps=min(1 + round(steps * short[s] / short.sum()), _MOST_STEPS),
                gradient=visited.answers[int(s)].gradient,
                points=search.points_of(int(s), region),
                target=float(cost[s]),
                close=close,
                within=within,
                seconds=search.seconds_each,
            )
            for s in order[(left > allowed) & (short[order] > 0)]
        }
        search.take_cuts(x, search.answers(requests), region)
        after = self._short(cost, search.known(x, region), region)
        driven = list(requests)
        self._stubborn[driven] = after[driven] > _STUCK * short[driven]


def _bound(region: Region) -> float:
    return region.bound


def _box(region: Region) -> bytes:
    return region.lower.tobytes() + region.upper.tobytes()


def _largest_first(short: Vector) -> tuple[npt.NDArray[np.int64], Vector]:
    """Scenarios by shortfall, and what is short of each and all behind it together."""
    order = np.argsort(-short, kind="stable")
    return order, short.sum() - np.concatenate([[0.0], np.cumsum(short[order])[:-1]])
