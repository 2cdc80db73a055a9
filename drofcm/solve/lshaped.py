"""Decomposition by scenario with exact integer recourse: a multi-cut L-shaped method in three phases.

1. *Relaxation.* All integers relaxed, Benders cuts, the point where they are taken halfway between the master's
   optimum and the best point so far (Ben-Ameur and Neto 2007).
2. *Strengthening.* One strengthened Benders cut (Zou, Ahmed and Sun 2019) for every scenario at the multipliers of the
   relaxation's optimum.
3. *Integer first stage.* The master keeps its integers. At every plan it proposes all scenarios are solved with theirs:
   that is an upper bound. Where the cuts fall short of the true cost, weighted by the risk measure, Lagrangian cuts
   are driven towards it; scenarios that stay out of reach of cuts join the master whole (partial Benders, Crainic,
   Hewitt, Maggioni and Rei 2021), which in the end makes it the extensive form. From then on the master is searched
   by regions, one for every choice of the first stage's binaries that the cuts do not rule out.

The master's dual bound is a lower bound in every phase.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import scipy.sparse as sp
import xarray as xr

from drofcm.blocks.form import TwoStageBlocks
from drofcm.core.dims import SCENARIO
from drofcm.core.errors import InfeasibleError, ModelError, SolveError, shorten
from drofcm.risk.ambiguity import AmbiguitySet
from drofcm.risk.measures import RiskMeasure
from drofcm.risk.weights import worst_case_weights
from drofcm.solve import checkpoint as checkpoints
from drofcm.solve.cuts import Cut
from drofcm.solve.execution import Executor, executor
from drofcm.solve.extensive import Progress, versions
from drofcm.solve.master import Master, MasterPoint
from drofcm.solve.recourse import relative_gap, result_at
from drofcm.solve.regions import Region, binaries, split
from drofcm.solve.result import Result, Status
from drofcm.solve.stopping import Stopping
from drofcm.solve.subproblem import Answer, Point, Request

__all__ = ["solve_lshaped"]

Vector = npt.NDArray[np.float64]

_RELAXATION_GAP = 5e-4
"""Relative gap at which the relaxation is left for the integers."""

_STEPS = 12
"""Steps of the Lagrangian dual that are shared out among scenarios, at a plan that is seen for the first time."""

_AGAIN = 3
"""Factor on these steps every time the master proposes the same plan again."""

_MOST_STEPS = 40
"""Steps of one scenario at one visit."""

_SECONDS = 2.0
"""Time limit of one Lagrangian problem; its dual bound is valid whenever it stops."""

_UNBOUNDED = 50
"""Iterations after which a master that is still unbounded is believed."""

_PLANS = 3
_PROGRESS = 0.2
"""The search has stalled if so many plans closed less than this share of the gap."""

_REGION_SECONDS = 20.0
"""Time limit of the first search of a region with scenarios kept whole; it doubles every time."""

_MEMORY = 60
"""Points of the Lagrangian dual that are remembered for each scenario."""

_SHARE = 0.25
"""Share of the gap that may be lost to the master's own gap, and as much again to cuts that fall short."""

_STUCK = 0.7
"""A scenario joins the master if a plan's shortfall, met again, stays above this share of what it was."""


def solve_lshaped(
    blocks: TwoStageBlocks,
    risk: RiskMeasure,
    ambiguity: AmbiguitySet,
    *,
    gap: float,
    time_limit: float | None = None,
    iterations: int | None = None,
    start: xr.Dataset | None = None,
    progress: Progress | None = None,
    client: Any = None,
    workers: int | None = None,
    checkpoint: Path | None = None,
) -> Result:
    """Solve a program by decomposition.

    Parameters
    ----------
    blocks
        The program.
    risk, ambiguity
        What to minimise.
    gap
        Relative gap at which the search may stop.
    time_limit
        Seconds; None for no limit.
    iterations
        Number of iterations; None for no limit.
    start
        A plan to start from, labelled as `Result.first_stage`.
    progress
        Called with seconds, lower and upper bound after every iteration.
    client, workers
        Where scenarios are solved; see `drofcm.solve.execution.executor`.
    checkpoint
        File that keeps what was learnt; a search that finds it there goes on from it.

    Raises
    ------
    InfeasibleError
        If no plan exists.
    SolveError
        If the problem is unbounded, or a limit was hit before any plan was found.
    InputError
        If the checkpoint belongs to another problem.
    """
    _refuse_undefined(blocks)
    stop = Stopping(gap, time_limit, iterations)
    with executor(blocks, client, workers) as ask:
        search = _Search(blocks, risk, ambiguity, stop, ask, progress, checkpoint)
        try:
            search.prepare(None if start is None else blocks.first_stage_columns(start))
            status = search.run()
        except KeyboardInterrupt:
            status = "interrupted"
        if search.plan is None:
            raise SolveError(
                f"stopped ({status}) after {stop.seconds:.0f} s before any plan was found; "
                f"no plan costs less than {search.lower:,.6g}. Give it more time"
            )
        result = result_at(
            blocks,
            search.plan,
            risk,
            ambiguity,
            status=status,
            lower_bound=search.lower,
            log=pd.DataFrame(search.log),
            provenance=search.provenance(str(risk), str(ambiguity)),
            ask=ask,
        )
    return result if search.price is None else replace(result, prices=blocks.labelled_first_stage_rows(search.price))


def _refuse_undefined(blocks: TwoStageBlocks) -> None:
    """Refuse matrices with NaN, naming the scenarios."""
    labels = blocks.probability[SCENARIO].values
    bad = [label for label, own in zip(labels, blocks.scenarios, strict=True) if not _is_defined(own)]
    if bad:
        raise ModelError(f"scenario {shorten(bad)}: a cost, bound or coefficient is NaN")
    if not _is_defined(blocks.first_stage):
        raise ModelError("first stage: a cost, bound or coefficient is NaN")


def _is_defined(part: Any) -> bool:
    arrays = [value.data if isinstance(value, sp.csr_array) else np.asarray(value) for value in vars(part).values()]
    return not any(np.isnan(array).any() for array in arrays if array.dtype.kind == "f")


class _Search:
    """One run of the method and what it has learnt."""

    def __init__(
        self,
        blocks: TwoStageBlocks,
        risk: RiskMeasure,
        ambiguity: AmbiguitySet,
        stop: Stopping,
        ask: Executor,
        progress: Progress | None,
        checkpoint: Path | None,
    ) -> None:
        self.lower, self.lower_origin = -np.inf, "none"
        self.upper = np.inf
        self.plan: Vector | None = None
        self.log: list[dict[str, Any]] = []
        self._blocks, self._risk, self._ambiguity = blocks, risk, ambiguity
        self._stop, self._ask, self._progress = stop, ask, progress
        self._count = len(blocks.scenarios)
        self._integer_recourse = any(own.integer.any() for own in blocks.scenarios)
        self._integers = self._integer_recourse or bool(blocks.first_stage.integer.any())
        self._points: list[tuple[Point, ...]] = [()] * self._count
        self._visits: dict[bytes, int] = {}
        self._spent: dict[str, float] = {}
        self._iteration = 0
        self._phase = "relaxation"
        self.price: Vector | None = None
        self._binaries = binaries(blocks.first_stage)
        self._regions: list[Region] | None = None
        self._ruled_out = np.inf
        self._whole = False
        self._bounds: list[float] = []
        self._path = checkpoint
        self._key = checkpoints.problem_hash(blocks, risk, ambiguity) if checkpoint is not None else ""

    # ---- the three phases -------------------------------------------------------------------------------------------

    def prepare(self, start: Vector | None) -> None:
        """Floors of all costs, what an earlier search has learnt, and the plan to start from."""
        learnt = None if self._path is None else checkpoints.read(self._path, self._key)
        if learnt is None:
            floors = self._ask.floors()
            floor = np.array([floors[number] for number in range(self._count)])
            if np.isposinf(floor).any():
                bad = self._labels(np.flatnonzero(np.isposinf(floor)))
                raise InfeasibleError(f"scenario {bad} has no feasible recourse at any first stage")
            self._master = Master(self._blocks, self._risk, self._ambiguity, floor)
        else:
            self._take_up(learnt)
        if start is not None and self.plan is None:
            self._visit(start, steps=0)

    def run(self) -> Status:
        """All phases, until a limit is reached."""
        reason = self._stop.reason(self.lower, self.upper, self._iteration)
        if reason is None and self._phase == "relaxation":
            reason = self._relax()
            self._phase = "strengthening"
        if reason is None and self._phase == "strengthening":
            if self._integer_recourse:
                self._strengthen()
            self._phase = "integer first stage"
            reason = self._stop.reason(self.lower, self.upper, self._iteration)
        while reason is None:
            if self._regions is None:
                self._improve()
            else:
                self._search_region()
            reason = self._stop.reason(self.lower, self.upper, self._iteration)
        return reason

    def _relax(self) -> Status | None:
        best, best_x, unbounded = np.inf, self.plan, 0
        while True:
            point = self._timed("master", self._master.relax)
            self._raise_lower(point, "linear relaxation of the master, all cuts valid")
            unbounded = unbounded + 1 if np.isneginf(point.bound) else 0
            if unbounded > _UNBOUNDED:
                raise SolveError("the cost is unbounded below: a cost or a bound is missing")
            self.price = point.row_price
            reason = self._stop.reason(self.lower, self.upper, self._iteration)
            if reason is not None or relative_gap(self.lower, best) <= self._relaxation_gap:
                return reason
            at = point.x if best_x is None or unbounded else (point.x + best_x) / 2
            answers = self._answers({s: Request(at) for s in range(self._count)})
            self._take_cuts(at, answers)
            if all(answer.violation == 0 for answer in answers.values()):
                cost = np.array([answers[s].relaxed for s in range(self._count)], dtype=float)
                self._master.learn_weights(cost)
                value = self._objective(at, cost)
                if value < best or best_x is None:
                    best, best_x = value, at
                if not self._integers:
                    self._take_plan(at, value)
            elif best_x is not None and not np.isfinite(best):
                best_x = None
            self._record()

    @property
    def _relaxation_gap(self) -> float:
        return max(_RELAXATION_GAP, self._stop.gap / 4) if self._integers else 0.0

    def _strengthen(self) -> None:
        point = self._timed("master", self._master.relax)
        requests = {
            s: Request(point.x, relaxed=False, steps=1, gradient=point.gradient[s], seconds=self._seconds())
            for s in np.flatnonzero(point.weight > 0).tolist()
        }
        self._take_cuts(point.x, self._answers(requests))
        point = self._timed("master", self._master.relax)
        self._raise_lower(point, "linear relaxation of the master with strengthened cuts")
        self._record()

    def _improve(self) -> None:
        """Let the master propose a plan, evaluate it, learn where the cuts fall short of it."""
        room = relative_gap(self.lower, self.upper)
        share = _SHARE * max(self._stop.gap, min(room / 2, 1e-2))
        point = self._timed(
            "master", lambda: self._master.integer(gap=share, time_limit=self._stop.remaining, start=self.plan)
        )
        self._raise_lower(point, "dual bound of the master with integers")
        if point.status == "interrupted":
            raise KeyboardInterrupt
        if len(point.x) and self._stop.reason(self.lower, self.upper, self._iteration) != "optimal":
            self._consider(point)
        # without a plan no region can be ruled out
        if self._master.kept and self._regions is None and not self._whole and np.isfinite(self.upper):
            self._split()
        self._record()

    def _split(self) -> None:
        """From the first scenario that is kept whole on, search by regions of the first stage, if that can be done."""
        found = split(self._master, self._binaries, self._target)
        if found is None:
            self._whole = True
        else:
            self._regions, self._ruled_out = found
            self._phase = "regions of the first stage"

    @property
    def _target(self) -> float:
        """A bound at which a region holds nothing that is worth finding."""
        return self.upper - self._stop.gap * abs(self.upper)

    def _search_region(self) -> None:
        """Search the region of the least bound: with cuts alone first, then with the scenarios that are kept whole."""
        assert self._regions is not None
        region = min(self._regions, key=lambda one: one.bound, default=None)
        if region is not None and region.bound < self._target:
            remaining = self._stop.remaining
            longest = _REGION_SECONDS * 2 ** max(0, region.rounds - 1)
            point = self._timed(
                "master",
                lambda: self._master.integer(
                    gap=_SHARE * self._stop.gap,
                    time_limit=longest if remaining is None else min(longest, remaining),
                    start=self.plan if self._holds_plan(region) else None,
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
        bound = min([self._ruled_out, *(one.bound for one in self._regions)])
        if min(bound, self.upper) > self.lower:
            self.lower, self.lower_origin = min(bound, self.upper), "least dual bound of the master over all regions"
        self._record()

    def _holds_plan(self, region: Region) -> bool:
        return self.plan is not None and np.array_equal(np.round(self.plan[self._binaries]), region.values)

    def _consider(self, point: MasterPoint) -> None:
        key = np.round(point.x, 9).tobytes()
        seen = self._visits.get(key, 0)
        self._visits[key] = seen + 1
        before = self._master.pool.bound(point.x, self._master.floor)
        cost, bound = self._visit(point.x, steps=_STEPS * _AGAIN**seen)
        if not np.isfinite(cost).all():
            return
        short_before, short = self._short(cost, before), self._short(cost, bound)
        stuck = seen > 0 and short.sum() > _STUCK * short_before.sum()
        if (stuck or self._stalled()) and short.sum() > _SHARE * self._allowed:
            # what no cut reaches joins the master, where it is exact
            order = np.argsort(-short, kind="stable")
            left = short.sum() - np.concatenate([[0.0], np.cumsum(short[order])[:-1]])
            self._master.keep(order[left > _SHARE * self._allowed].tolist())

    def _stalled(self) -> bool:
        """Whether the last plans have hardly raised the lower bound, whatever their cuts have closed at them."""
        self._bounds.append(self.lower)
        if self._regions is not None or len(self._bounds) <= _PLANS:
            return False
        return self._bounds[-1] - self._bounds[-1 - _PLANS] < _PROGRESS * (self.upper - self.lower)

    def _short(self, cost: Vector, bound: Vector) -> Vector:
        """By how much the cuts of every scenario fall short of its cost, weighted by the risk measure, (S)."""
        short = self._weights(cost) * np.maximum(cost - bound, 0)
        short[self._master.kept] = 0
        return short

    def _visit(self, x: Vector, steps: int) -> tuple[Vector, Vector]:
        """Evaluate a plan with all integers; costs, and what the cuts know at it afterwards, (S) each."""
        answers = self._answers({s: Request(x, exact=True, seconds=self._stop.remaining) for s in range(self._count)})
        self._take_cuts(x, answers)
        cost = np.array([answers[s].upper for s in range(self._count)])
        nothing = [s for s in range(self._count) if answers[s].violation == 0 and np.isposinf(answers[s].lower)]
        if nothing:
            # its relaxation has a recourse and the scenario has none: no cut of the relaxation will tell
            self._master.keep(nothing)
        bound = self._master.pool.bound(x, self._master.floor)
        if not np.isfinite(cost).all():
            return cost, bound
        self._master.learn_weights(cost)
        self._take_plan(x, self._objective(x, cost))
        if steps and self._integer_recourse:
            self._drive(x, cost, bound, answers, steps)
            bound = self._master.pool.bound(x, self._master.floor)
        return cost, bound

    def _drive(self, x: Vector, cost: Vector, bound: Vector, answers: dict[int, Answer], steps: int) -> None:
        """Lagrangian cuts for the scenarios that matter: weight times shortfall, the largest first."""
        short = self._short(cost, bound)
        allowed = _SHARE * self._allowed / 2
        order = np.argsort(-short, kind="stable")
        left = short.sum() - np.concatenate([[0.0], np.cumsum(short[order])[:-1]])
        close = allowed / max(self._weights(cost).sum(), 1e-12)
        requests = {
            int(s): Request(
                x,
                relaxed=False,
                steps=min(1 + round(steps * short[s] / short.sum()), _MOST_STEPS),
                gradient=answers[int(s)].gradient,
                points=self._points[int(s)],
                target=float(cost[s]),
                close=close,
                seconds=self._seconds(),
            )
            for s in order[(left > allowed) & (short[order] > 0)]
        }
        self._take_cuts(x, self._answers(requests))

    # ---- book-keeping -----------------------------------------------------------------------------------------------

    @property
    def _allowed(self) -> float:
        """The absolute gap that was asked for."""
        return self._stop.gap * abs(self.upper)

    def _seconds(self) -> float:
        remaining = self._stop.remaining
        return _SECONDS if remaining is None else max(0.1, min(_SECONDS, remaining))

    def _weights(self, cost: Vector) -> Vector:
        probability = self._blocks.probability
        return worst_case_weights(self._risk, self._ambiguity, probability.copy(data=cost), probability).values

    def _objective(self, x: Vector, cost: Vector) -> float:
        first = self._blocks.first_stage
        return float(first.cost @ x) + first.constant + float(self._weights(cost) @ cost)

    def _answers(self, requests: dict[int, Request]) -> dict[int, Answer]:
        answers: dict[int, Answer] = self._timed("scenarios", lambda: self._ask.ask(requests))
        for answer in answers.values():
            for kind, seconds in answer.seconds.items():
                self._spent[kind] = self._spent.get(kind, 0.0) + seconds
        return answers

    def _timed(self, kind: str, action: Callable[[], Any]) -> Any:
        began = self._stop.seconds
        outcome = action()
        self._spent[kind] = self._spent.get(kind, 0.0) + self._stop.seconds - began
        return outcome

    def _take_cuts(self, x: Vector, answers: dict[int, Answer]) -> None:
        cuts = []
        for s, answer in sorted(answers.items()):
            if answer.gradient is not None:
                feasible = answer.violation == 0
                value = answer.relaxed if answer.relaxed is not None else answer.violation
                cuts.append(Cut(s, value - float(answer.gradient @ x), answer.gradient, bounds_cost=feasible))
            cuts += [Cut(s, constant, gradient) for constant, gradient in answer.lagrangian]
            self._points[s] = (*self._points[s], *answer.points)[-_MEMORY:]
        self._master.add(cuts)

    def _take_plan(self, x: Vector, value: float) -> None:
        if value < self.upper:
            self.upper, self.plan = value, x

    def _raise_lower(self, point: MasterPoint, origin: str) -> None:
        if point.status == "infeasible":
            raise InfeasibleError("no plan satisfies every row of the program")
        if point.status == "unbounded":
            raise SolveError("the cost is unbounded below: a cost or a bound is missing")
        if point.bound > self.lower:
            self.lower, self.lower_origin = point.bound, origin

    def _labels(self, numbers: npt.NDArray[np.int64]) -> str:
        return shorten(self._blocks.probability[SCENARIO].values[numbers].tolist())

    def _record(self) -> None:
        self._iteration += 1
        self.log.append(
            {
                "seconds": self._stop.seconds,
                "lower_bound": self.lower,
                "upper_bound": self.upper,
                "gap": relative_gap(self.lower, self.upper),
                "phase": self._phase,
                "cuts": len(self._master.pool),
                "cuts_active": int(self._master.pool.active.sum()),
                "kept": len(self._master.kept),
                "master_seconds": self._spent.get("master", 0.0),
                "scenario_seconds": self._spent.get("scenarios", 0.0),
            }
        )
        if self._progress is not None:
            self._progress(self._stop.seconds, self.lower, self.upper)
        if self._path is not None:
            checkpoints.write(self._path, self._key, self._learnt())

    def _learnt(self) -> checkpoints.Learnt:
        pool = self._master.pool
        return checkpoints.Learnt(
            scenario=pool.scenario,
            constant=pool.constant,
            gradients=pool.gradients,
            bounds_cost=pool.bounds_cost,
            floor=self._master.floor,
            kept=np.array(self._master.kept, dtype=np.int64),
            lower=self.lower,
            lower_origin=self.lower_origin,
            plan=np.zeros(0) if self.plan is None else self.plan,
            upper=self.upper,
            phase=self._phase,
            iteration=self._iteration,
        )

    def _take_up(self, learnt: checkpoints.Learnt) -> None:
        self._master = Master(self._blocks, self._risk, self._ambiguity, learnt.floor)
        gradients = learnt.gradients.toarray()
        self._master.add(
            [
                Cut(int(s), float(constant), gradient, bool(bounds))
                for s, constant, gradient, bounds in zip(
                    learnt.scenario, learnt.constant, gradients, learnt.bounds_cost, strict=True
                )
            ]
        )
        self._master.keep(learnt.kept.tolist())
        self.lower, self.lower_origin = learnt.lower, learnt.lower_origin
        self.upper, self.plan = learnt.upper, learnt.plan if len(learnt.plan) else None
        self._phase, self._iteration = learnt.phase, learnt.iteration

    def provenance(self, risk: str, ambiguity: str) -> dict[str, Any]:
        """What is to be known about this search."""
        return {
            "method": "lshaped",
            "risk": risk,
            "ambiguity": ambiguity,
            "gap_asked": self._stop.gap,
            "time_limit": self._stop.time_limit,
            "seconds": self._stop.seconds,
            "seconds_by_kind": self._spent,
            "lower_bound": self.lower_origin,
            "iterations": self._iteration,
            "cuts": len(self._master.pool),
            "kept_whole": self._blocks.probability[SCENARIO].values[self._master.kept].tolist(),
            "workers": self._ask.workers,
            "versions": versions(),
        }
