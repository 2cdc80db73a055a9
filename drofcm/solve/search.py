"""What one run of the decomposition knows: bounds, the best plan, the master with its cuts, and where time went.

The phases (`drofcm.solve.relaxation`, `drofcm.solve.integers`) ask scenarios and the master through it; every lower
bound, plan and cut that they find is taken down here, with its origin.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from drofcm.blocks.form import FirstStage, TwoStageBlocks
from drofcm.core.dims import SCENARIO
from drofcm.core.errors import DrofcmWarning, InfeasibleError, SolveError, shorten
from drofcm.risk.ambiguity import AmbiguitySet
from drofcm.risk.measures import RiskMeasure
from drofcm.risk.weights import worst_case_weights
from drofcm.solve import checkpoint as checkpoints
from drofcm.solve.cuts import Cut
from drofcm.solve.execution import Executor
from drofcm.solve.extensive import versions
from drofcm.solve.floors import least_cost
from drofcm.solve.gap import allowance, relative_gap
from drofcm.solve.highs import MatrixProblem, Task, solve
from drofcm.solve.learnt import MOST_POINTS, TOLERANCE
from drofcm.solve.master import Master, MasterPoint
from drofcm.solve.progress import Progress, Standing
from drofcm.solve.recourse import check_first_stage
from drofcm.solve.regions import Region
from drofcm.solve.result import Status
from drofcm.solve.stopping import Stopping
from drofcm.solve.subproblem import Answer, Point, Request

__all__ = ["LOGGED", "Search"]

Vector = npt.NDArray[np.float64]
T = TypeVar("T")

_SECONDS = 2.0
"""Time limit of one Lagrangian problem; its dual bound is valid whenever it stops."""

LOGGED = (
    "seconds",
    "lower_bound",
    "upper_bound",
    "gap",
    "phase",
    "cuts",
    "cuts_active",
    "kept",
    "master_seconds",
    "scenario_seconds",
)
"""What the log says of every iteration."""


class Search:
    """One run of the method and what it has learnt.

    Parameters
    ----------
    blocks
        The program.
    risk, ambiguity
        What to minimise.
    stop
        When to end.
    ask
        Answers for the scenarios.
    progress
        Called with a `drofcm.solve.progress.Standing` after every iteration.
    checkpoint
        File that keeps what was learnt; where it is there already, the search goes on from it.
    settled
        What makes a solver's first stage exact in columns that follow from others; nothing if left out.

    Attributes
    ----------
    master
        The master problem with all cuts, once the search has begun.
    lower, lower_origin
        The best lower bound and where it comes from.
    upper, plan, size
        Cost of the best plan, the plan, (n), and what the terms of its cost add up to; None before there is one.
    resumed
        The plan of an earlier search, which is evaluated again before it counts.
    stalled
        Whether the masters have nothing more to say.
    price
        Prices of the first-stage rows in the relaxation, None before it was solved.
    phase
        Name of the phase, for the log.
    log
        One entry an iteration.
    regions
        Parts of the first stage that are searched one by one; None while it is searched as one.
    ruled_out
        The least bound of what lies outside these regions.
    """

    def __init__(
        self,
        blocks: TwoStageBlocks,
        risk: RiskMeasure,
        ambiguity: AmbiguitySet,
        stop: Stopping,
        ask: Executor,
        progress: Progress | None = None,
        checkpoint: Path | None = None,
        settled: Callable[[Vector], Vector] | None = None,
    ) -> None:
        self.blocks, self.stop = blocks, stop
        self.settled = (lambda x: x) if settled is None else settled
        self.count = len(blocks.scenarios)
        self.integer_recourse = any(own.integer.any() for own in blocks.scenarios)
        self.lower, self.lower_origin = -np.inf, "none"
        self.upper = np.inf
        self.plan: Vector | None = None
        self.size = 0.0
        self.resumed: Vector | None = None
        self.stalled = False
        self.price: Vector | None = None
        self.phase = "relaxation"
        self.log: list[dict[str, Any]] = []
        self.master: Master
        self.regions: list[Region] | None = None
        self.ruled_out = np.inf
        self._points: list[tuple[Point, ...]] = [()] * self.count
        self._risk, self._ambiguity = risk, ambiguity
        self._ask, self._progress = ask, progress
        self._spent: dict[str, float] = {}
        self._iteration = 0
        self._path, self._unkept = checkpoint, False
        self._key = checkpoints.problem_hash(blocks, risk, ambiguity) if checkpoint is not None else ""

    def begin(self) -> None:
        """Take up what an earlier search has learnt, or begin with what the bounds of columns say about the costs.

        Raises
        ------
        InfeasibleError
            If the first stage, or the recourse of a scenario, is infeasible whatever is done.
        InputError
            If the checkpoint belongs to another problem, or holds what cannot be true of this one.
        """
        n = len(self.blocks.first_stage.cost)
        learnt = None if self._path is None else checkpoints.read(self._path, self._key, self.count, n)
        self.master = self._fresh_master() if learnt is None else self._take_up(learnt)

    # ---- limits -----------------------------------------------------------------------------------------------------

    @property
    def reason(self) -> Status | None:
        """Why the search ends here, or None if it goes on."""
        reason = self.stop.reason(self.lower, self.upper, self._iteration, self.size)
        return "stalled" if reason is None and self.stalled else reason

    @property
    def allowed(self) -> float:
        """The absolute gap that was asked for, or the least that can be told."""
        return allowance(self.upper, self.stop.gap, self.size)

    @property
    def seconds_each(self) -> float:
        """Time limit of one Lagrangian problem."""
        remaining = self.stop.remaining
        return _SECONDS if remaining is None else max(0.1, min(_SECONDS, remaining))

    @property
    def workers(self) -> int:
        """How much is done side by side."""
        return self._ask.workers

    @property
    def kept(self) -> list[int]:
        """Scenarios that some master holds whole."""
        return sorted({*self.master.kept, *(s for region in self.regions or [] for s in region.kept)})

    # ---- asking -----------------------------------------------------------------------------------------------------

    def answers(self, requests: dict[int, Request]) -> dict[int, Answer]:
        """Ask scenarios."""
        answers = self.timed("scenarios", lambda: self._ask.ask(requests))
        for answer in answers.values():
            for kind, seconds in answer.seconds.items():
                self._spent[kind] = self._spent.get(kind, 0.0) + seconds
        return answers

    def solve(self, tasks: list[Task]) -> list[MasterPoint]:
        """Solve masters with their integers, side by side."""
        return [self.master.point(outcome) for outcome in self.timed("master", lambda: self._ask.solve(tasks))]

    def timed(self, kind: str, action: Callable[[], T]) -> T:
        """Do something and book its seconds."""
        began = self.stop.seconds
        outcome = action()
        self._spent[kind] = self._spent.get(kind, 0.0) + self.stop.seconds - began
        return outcome

    def known(self, x: Vector, region: Region | None) -> Vector:
        """The best lower bound of every scenario's cost at ``x``, (S), with the cuts of its region."""
        bound = self.master.pool.bound(x, self.master.floor)
        return bound if region is None else region.cuts.bound(x, bound)

    def points_of(self, s: int, region: Region | None) -> tuple[Point, ...]:
        """Points of a scenario's Lagrangian dual, those of one region only."""
        if region is None:
            return self._points[s]
        return tuple(point for point in self._points[s] if region.holds(point.x))

    def weights(self, cost: Vector) -> Vector:
        """The risk weights at these costs, (S)."""
        probability = self.blocks.probability
        return worst_case_weights(self._risk, self._ambiguity, probability.copy(data=cost), probability).values

    def objective(self, x: Vector, cost: Vector) -> float:
        """What a plan costs at least, by lower bounds of its recourse costs, or exactly, by these costs, (S)."""
        first = self.blocks.first_stage
        if np.isposinf(cost).any():
            return np.inf
        if np.isneginf(cost).any():
            return -np.inf
        return float(first.cost @ x) + first.constant + float(self.weights(cost) @ cost)

    # ---- taking down ------------------------------------------------------------------------------------------------

    def take_cuts(self, x: Vector, answers: dict[int, Answer], region: Region | None = None) -> None:
        """Cuts and points that scenarios found at ``x``; Lagrangian cuts hold in ``region``, everywhere without."""
        cuts, lagrangian = [], []
        for s, answer in sorted(answers.items()):
            if answer.gradient is not None:
                feasible = answer.violation == 0
                if np.isfinite(answer.least):
                    constant = answer.least - float(answer.gradient @ x)
                    cuts.append(Cut(s, constant, answer.gradient, bounds_cost=feasible))
            lagrangian += [Cut(s, constant, gradient) for constant, gradient in answer.lagrangian]
            self._points[s] = (*self._points[s], *answer.points)[-MOST_POINTS:]
        self.master.add(cuts)
        (self.master.pool if region is None else region.cuts).add(lagrangian)

    def take_plan(self, x: Vector, cost: Vector) -> None:
        """A plan and its recourse costs, (S), solved with all integers."""
        value, first = self.objective(x, cost), self.blocks.first_stage
        if value < self.upper:
            self.upper, self.plan = value, x
            own = float(np.abs(first.cost) @ np.abs(x)) + abs(first.constant)
            self.size = own + float(self.weights(cost) @ np.abs(cost))

    def take_bound(self, bound: float, origin: str) -> None:
        """A lower bound of the program."""
        if bound > self.lower:
            self.lower, self.lower_origin = bound, origin

    def take_point(self, point: MasterPoint, origin: str) -> None:
        """What the master found.

        Raises
        ------
        InfeasibleError
            If no plan exists.
        SolveError
            If the cost is unbounded.
        KeyboardInterrupt
            If Ctrl-C stopped it; its bound is taken down before.
        """
        if point.status == "infeasible":
            self._floors()
            raise InfeasibleError("no plan satisfies every row of the program")
        if point.status == "unbounded":
            self.take_whole()
        self.take_bound(point.bound, origin)
        if point.status == "interrupted":
            raise KeyboardInterrupt

    def take_whole(self) -> None:
        """Whether the program is unbounded, by the relaxation of its extensive form; if not, all scenarios stay whole.

        A master that is unbounded, or has no point within some box, says nothing of the program.

        Raises
        ------
        SolveError
            If the program is unbounded.
        InfeasibleError
            If no plan exists.
        """
        self.master.keep(list(range(self.count)))
        whole = self.master.problem()
        outcome = solve(replace(whole, integer=np.zeros_like(whole.integer)), time_limit=self.stop.remaining, threads=1)
        if outcome.status == "unbounded":
            raise SolveError("the cost is unbounded below: a cost or a bound is missing")
        if outcome.status == "infeasible":
            raise InfeasibleError("no plan satisfies every row of the program")
        self.take_bound(outcome.bound, "linear relaxation of the extensive form")

    def record(self) -> None:
        """End of an iteration."""
        self._iteration += 1
        self.note()
        if self._path is None:
            return
        try:
            checkpoints.write(self._path, self._key, self._learnt())
        except SolveError as error:
            # what is searched for is the plan; whoever has told once that it is not kept need not tell again
            if not self._unkept:
                warnings.warn(f"{error}; the search goes on without it", DrofcmWarning, stacklevel=2)
            self._unkept = True

    def note(self) -> None:
        """Take down how the search stands, and tell who listens."""
        pool, regions = self.master.pool, self.regions or []
        own = sum(len(region.cuts) for region in regions)
        standing = Standing(
            seconds=self.stop.seconds,
            lower=self.lower,
            upper=self.upper,
            phase=self.phase,
            cuts=len(pool) + own,
            kept=len(self.kept),
            master_seconds=self._spent.get("master", 0.0),
            scenario_seconds=self._spent.get("scenarios", 0.0),
        )
        self.log.append(
            {
                "seconds": standing.seconds,
                "lower_bound": standing.lower,
                "upper_bound": standing.upper,
                "gap": relative_gap(standing.lower, standing.upper),
                "phase": standing.phase,
                "cuts": standing.cuts,
                "cuts_active": int(pool.active.sum()) + own,
                "kept": standing.kept,
                "master_seconds": standing.master_seconds,
                "scenario_seconds": standing.scenario_seconds,
            }
        )
        if self._progress is not None:
            self._progress(standing)

    def provenance(self) -> dict[str, Any]:
        """What is to be known about this search."""
        return {
            "method": "lshaped",
            "risk": str(self._risk),
            "ambiguity": str(self._ambiguity),
            "gap_asked": self.stop.gap,
            "time_limit": self.stop.time_limit,
            "seconds": self.stop.seconds,
            "seconds_by_kind": self._spent,
            "lower_bound": self.lower_origin,
            "iterations": self._iteration,
            "cuts": len(self.master.pool) + sum(len(region.cuts) for region in self.regions or []),
            "kept_whole": self.blocks.probability[SCENARIO].values[self.kept].tolist(),
            "workers": self._ask.workers,
            "versions": versions(),
        }

    # ---- beginning --------------------------------------------------------------------------------------------------

    def _fresh_master(self) -> Master:
        floor = np.array([least_cost(self.blocks.first_stage, own) for own in self.blocks.scenarios])
        if not np.isfinite(floor).all():
            floor = np.maximum(floor, self._floors())
        return Master(self.blocks, self._risk, self._ambiguity, floor, self.settled)

    def _floors(self) -> Vector:
        """The least cost of every scenario over all first stages, integers relaxed.

        Raises
        ------
        InfeasibleError
            If the first stage, or the recourse of a scenario, is infeasible whatever is done.
        """
        floors = self._ask.floors()
        floor = np.array([floors[number] for number in range(self.count)])
        if np.isposinf(floor).all() and not _has_plan(self.blocks.first_stage):
            raise InfeasibleError("the first stage is infeasible: no plan satisfies its rows")
        if np.isposinf(floor).any():
            bad = shorten(self.blocks.probability[SCENARIO].values[np.isposinf(floor)].tolist())
            raise InfeasibleError(f"scenario {bad} has no feasible recourse at any first stage")
        return floor

    def _learnt(self) -> checkpoints.Learnt:
        return checkpoints.Learnt(
            cuts=self.master.pool,
            floor=self.master.floor,
            kept=np.array(self.master.kept, dtype=np.int64),
            lower=self.lower,
            lower_origin=self.lower_origin,
            plan=np.zeros(0) if self.plan is None else self.plan,
            upper=self.upper,
            price=np.zeros(0) if self.price is None else self.price,
            phase=self.phase,
            iteration=self._iteration,
            points=tuple(self._points),
            regions=None if self.regions is None else tuple(self.regions),
            ruled_out=self.ruled_out,
        )

    def _take_up(self, learnt: checkpoints.Learnt) -> Master:
        self.resumed = self._checked(learnt) if len(learnt.plan) else None
        master = Master(self.blocks, self._risk, self._ambiguity, learnt.floor, self.settled)
        master.pool = learnt.cuts
        master.keep(learnt.kept.tolist())
        self.lower, self.lower_origin = learnt.lower, learnt.lower_origin
        self.price = learnt.price if len(learnt.price) else None
        self.phase, self._iteration = learnt.phase, learnt.iteration
        self._points = list(learnt.points)
        self.regions = None if learnt.regions is None else list(learnt.regions)
        self.ruled_out = learnt.ruled_out
        return master

    def _checked(self, learnt: checkpoints.Learnt) -> Vector:
        """The plan of a checkpoint; what is false at it is refused: it is the answer that the file could spoil."""
        assert self._path is not None
        x = self.settled(learnt.plan)
        try:
            check_first_stage(self.blocks, x)
        except InfeasibleError as error:
            raise checkpoints.refuse(self._path, error) from None
        exact = Request(x, exact=True, seconds=self.stop.remaining)
        answers = self.answers(dict.fromkeys(range(self.count), exact))
        least = np.array([answers[s].lower if answers[s].violation == 0 else np.inf for s in range(self.count)])
        cost = self.objective(x, least) if np.isfinite(least).all() else float(least.max())
        if cost > learnt.upper + TOLERANCE * max(1.0, abs(learnt.upper)):
            raise checkpoints.refuse(self._path, f"its plan costs {cost:.10g} at least, not {learnt.upper:.10g}")
        most = np.array([answers[s].upper for s in range(self.count)])
        known = learnt.cuts.bound(x, learnt.floor)
        for region in learnt.regions or ():
            known = region.cuts.bound(x, known) if region.holds(x) else known
        if (known > most + TOLERANCE * np.maximum(1.0, np.abs(most))).any():
            raise checkpoints.refuse(self._path, "a scenario costs less at its plan than its bounds allow")
        return x


def _has_plan(first: FirstStage) -> bool:
    """Whether anything satisfies the first stage alone."""
    nothing = np.zeros_like(first.cost)
    rows, sides = first.rows, (first.row_lower, first.row_upper)
    problem = MatrixProblem(nothing, 0.0, rows, *sides, first.lower, first.upper, first.integer)
    return solve(problem, threads=1).status != "infeasible"
