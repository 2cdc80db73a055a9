"""The master problem: first stage, a cost theta_s per scenario, the risk rows over it, cuts, and scenarios kept whole.

Columns stand in the order x (n), theta (S), auxiliary columns of the risk measure, then the recourse of every scenario
that is kept whole. Its optimum is a lower bound of the program's whatever cuts it holds.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from drofcm.blocks.form import TwoStageBlocks
from drofcm.risk.ambiguity import AmbiguitySet
from drofcm.risk.measures import RiskMeasure
from drofcm.risk.rows import RiskRows, risk_rows
from drofcm.risk.weights import worst_case_weights
from drofcm.solve.consolidated import Consolidated
from drofcm.solve.cuts import Cut, CutPool
from drofcm.solve.highs import INTEGRALITY, LinearOutcome, LinearProgram, MatrixProblem, Outcome, Status, Task
from drofcm.solve.regions import Region

__all__ = ["Master", "MasterPoint", "Question"]

Vector = npt.NDArray[np.float64]
Columns = npt.NDArray[np.int64]


_MOST_MOVES = 10_000
"""Moves between scenarios up to which a Wasserstein ball stands in the master as rows, so that it stays small."""

_RISK_GAP = 1e-7
"""By how much, relative to the risk, the risk-set cuts may fall short of the risk measure at the relaxation."""

_RISK_ROUNDS = 200
"""Risk-set cuts that are added at most before scenarios are asked again."""

_RISK_CUT = -1

_TRIED = 6
"""Columns on which it is tried to halve a region."""

_LEAST_GAIN = 1e-9
"""What a half's bound gains counts as at least, relative to it, so that a half that gains nothing does not decide."""

_FEW_CUTS = 1_000
"""Cuts up to which a master with all of them is solved sooner than consolidated ones are found."""

_BOX, _WIDER, _WIDEST = 1e3, 16.0, 1e13
"""How far from a feasible first stage one is looked for while the master is unbounded: at first, by what factor more
every time, and at most. The bounds of such a box prove nothing."""


@dataclass(frozen=True)
class MasterPoint:
    """A point of the master.

    Attributes
    ----------
    status
        How the solve ended.
    x, theta
        First stage (n) and costs of the scenarios (S).
    bound
        No plan costs less.
    weight, gradient
        From the relaxation: dual weight of every scenario's cuts (S), and their mean gradient (S x n).
    row_price
        From the relaxation: dual of every row of the first stage.
    """

    status: Status
    x: Vector
    theta: Vector
    bound: float
    weight: Vector
    gradient: Vector
    row_price: Vector


@dataclass(frozen=True)
class Question:
    """A search of the master with integers.

    Attributes
    ----------
    gap
        Relative gap of the search.
    time_limit
        Seconds; None for no limit.
    start
        A first stage to start from, (n).
    region
        Where to search, with the cuts and the whole scenarios of that region; everywhere if left out.
    enough
        Bound at which the search may stop.
    """

    gap: float
    time_limit: float | None = None
    start: Vector | None = None
    region: Region | None = None
    enough: float = np.inf


class Master:
    """The master problem of one program.

    Parameters
    ----------
    blocks
        The program.
    risk, ambiguity
        What judges the recourse cost.
    floor
        A lower bound of every scenario's cost, (S); -inf where none is known.
    settled
        What makes a solver's first stage exact in columns that follow from others; nothing if left out.
    """

    def __init__(
        self,
        blocks: TwoStageBlocks,
        risk: RiskMeasure,
        ambiguity: AmbiguitySet,
        floor: Vector,
        settled: Callable[[Vector], Vector] | None = None,
    ) -> None:
        self.pool = CutPool(len(blocks.first_stage.cost))
        self.kept: list[int] = []
        self.floor = floor
        self._blocks, self._risk, self._ambiguity = blocks, risk, ambiguity
        self._settled = (lambda x: x) if settled is None else settled
        self._box = _BOX
        rows = risk_rows(risk, ambiguity, blocks.probability, _MOST_MOVES)
        self.explicit = rows is not None
        self._risk_rows = rows if rows is not None else self._first_risk_cut()
        self._relaxation: LinearProgram | None = None
        # what follows the base in the relaxation: numbers of cuts, and _RISK_CUT
        self._in_relaxation: list[int] = []
        self._risk_rows_loaded = 0
        self._consolidated: tuple[int, Consolidated] | None = None

    # ---- what is learnt -----------------------------------------------------------------------------------------

    def add(self, cuts: list[Cut]) -> None:
        """Take cuts in."""
        self.pool.add(cuts)

    def keep(self, scenarios: list[int]) -> None:
        """Hold scenarios whole, integers included, from now on."""
        self.kept += [scenario for scenario in scenarios if scenario not in self.kept]

    def learn_weights(self, cost: Vector) -> bool:
        """Where the risk measure has no rows: one more risk-set cut, tight at these costs, (S), if it is needed."""
        if self.explicit or not np.isfinite(cost).all():
            return False
        weights, rows = self._weights(cost), self._risk_rows
        known = float((-(rows.rows @ cost)).max())
        if float(weights @ cost) - known <= _RISK_GAP * max(1.0, float(np.abs(weights) @ np.abs(cost))):
            return False
        self._risk_rows = replace(
            rows,
            rows=sp.csr_array(sp.vstack([rows.rows, sp.csr_array(-weights[None, :])])),
            auxiliary_rows=sp.csr_array(np.ones((rows.auxiliary_rows.shape[0] + 1, 1))),
        )
        return True

    @property
    def risk_cuts(self) -> int:
        """Rows that say what judges the costs."""
        return int(self._risk_rows.rows.shape[0])

    # ---- solving ------------------------------------------------------------------------------------------------

    def relax_in(self, region: Region) -> MasterPoint:
        """The relaxation of a region, without the scenarios that are kept whole."""
        if len(region.cuts):
            return self._relax_with_cuts(region)
        first = self._blocks.first_stage
        columns = np.flatnonzero((region.lower != first.lower) | (region.upper != first.upper)).astype(np.int64)
        relaxation = self._load()
        relaxation.set_column_bounds(columns, region.lower[columns], region.upper[columns])
        try:
            return self.relax(retire=False)
        finally:
            relaxation.set_column_bounds(columns, first.lower[columns], first.upper[columns])

    def _relax_with_cuts(self, region: Region) -> MasterPoint:
        n, count = self._sizes
        outcome = LinearProgram(self._with_cuts(region)).solve()
        if outcome.status != "optimal":
            nothing = np.zeros(0)
            bound = np.inf if outcome.status == "infeasible" else -np.inf
            return MasterPoint(outcome.status, nothing, nothing, bound, nothing, nothing, nothing)
        lent = self._lent(region)
        price = outcome.dual[len(outcome.dual) - sum(len(numbers) for _, numbers in lent) :]
        weight, gradient = _mean_gradient(lent, price, count)
        x, theta = outcome.x[:n], outcome.x[n : n + count]
        return MasterPoint("optimal", x, theta, outcome.bound, weight, gradient, np.zeros(0))

    def halves(self, region: Region) -> list[Region]:
        """Two parts of a region, below and above a value of an integer column that is not whole at its relaxation.

        Of the columns farthest from whole some are tried, and the one is taken that raises both bounds most (strong
        branching). None if all are whole; a part where nothing is feasible is left out.
        """
        n, _ = self._sizes
        relaxation = LinearProgram(self._with_cuts(region))
        outcome = relaxation.solve()
        if outcome.status != "optimal":
            return []
        x = outcome.x[:n]
        away = np.where(self._blocks.first_stage.integer, np.abs(x - np.round(x)), 0)
        best: list[Region] = []
        most = -np.inf
        for column in np.argsort(-away, kind="stable")[:_TRIED]:
            if away[column] <= INTEGRALITY:
                break
            at = np.array([column])
            whole = region.lower[at], region.upper[at]
            sides = ((whole[0], np.floor(x[at])), (np.ceil(x[at]), whole[1]))
            bounds = [self._between(relaxation, at, side)[0] for side in sides]
            relaxation.set_column_bounds(at, *whole)
            gains = np.array(bounds) - outcome.bound
            gain = float(np.prod(np.maximum(gains, _LEAST_GAIN * abs(outcome.objective))))
            if gain > most:
                parts = [region.part(column, *side, bound) for side, bound in zip(sides, bounds, strict=True)]
                best, most = [part for part in parts if part.bound < np.inf], gain
        return best

    def relax(self, retire: bool = True) -> MasterPoint:
        """Solve without integers and without the scenarios that are kept whole.

        Before there are cuts enough the master can be unbounded although the program is not; a point within a box is
        returned then, of status ``"unbounded"`` and with a bound of minus infinity.

        Parameters
        ----------
        retire
            Whether cuts that have been slack for long leave.
        """
        n, count = self._sizes
        rounds = 0
        while True:
            relaxation = self._load()
            outcome = relaxation.solve()
            bounded = outcome.status != "unbounded"
            if not bounded:
                outcome = self._solve_in_box(relaxation)
                self._box *= _WIDER
            if outcome.status == "infeasible":
                nothing = np.zeros(0)
                return MasterPoint("infeasible", nothing, nothing, np.inf, nothing, nothing, nothing)
            x, theta = self._settled(outcome.x[:n]), outcome.x[n : n + count]
            rounds += 1
            short = bounded and rounds <= _RISK_ROUNDS and self.learn_weights(theta)
            if not self.pool.call_back(x, theta) and not short:
                break
        weight, gradient = self._dual_mean(outcome.dual)
        price = outcome.dual[: len(self._blocks.first_stage.row_lower)]
        if retire:
            self._retire(x, theta)
        if bounded:
            return MasterPoint("optimal", x, theta, outcome.bound, weight, gradient, price)
        return MasterPoint("unbounded", x, theta, -np.inf, weight, gradient, price)

    @property
    def looked_far(self) -> bool:
        """Whether the master has been unbounded for so long that it is time to ask whether the program is."""
        return self._box > _WIDEST

    def _solve_in_box(self, relaxation: LinearProgram) -> LinearOutcome:
        """Solve with the first stage drawn in around a feasible point, then take that back.

        Costs without floor or cut are held where they are at that point.
        """
        somewhere = LinearProgram(replace(relaxation.problem, cost=np.zeros_like(relaxation.problem.cost))).solve()
        if somewhere.status != "optimal":
            return somewhere
        base, (n, count) = self._base(), self._sizes
        columns = np.arange(n + count, dtype=np.int64)
        lower, upper, at = base.lower[: n + count], base.upper[: n + count], somewhere.x[: n + count]
        known = np.isfinite(self.floor)
        known[self.pool.scenario[self.pool.active & (self.pool.bounds_cost > 0)]] = True
        least = np.where(known, lower[n:], at[n:])
        near = np.maximum(lower[:n], at[:n] - self._box), np.minimum(upper[:n], at[:n] + self._box)
        relaxation.set_column_bounds(columns, np.append(near[0], least), np.append(near[1], upper[n:]))
        outcome = relaxation.solve()
        relaxation.set_column_bounds(columns, lower, upper)
        # what judges the costs can leave it unbounded still; any feasible point tells more about these
        return outcome if outcome.status == "optimal" else somewhere

    def bound_in(self, columns: Columns, lower: Vector, upper: Vector) -> tuple[float, Vector | None]:
        """Bound of the relaxation where some columns of the first stage have other bounds; inf where nothing is.

        And the values of these columns there, if it was solved.
        """
        if self._many_cuts(None):
            if self._consolidated is None or self._consolidated[0] != len(self.pool):
                self._consolidated = len(self.pool), self._consolidate(None)
            consolidated = self._consolidated[1]
            if consolidated.usable:
                bound, x = consolidated.bound_in(columns, lower, upper)
                return bound, None if x is None else x[columns]
        relaxation, first = self._load(), self._blocks.first_stage
        bound, x = self._between(relaxation, columns, (lower, upper))
        relaxation.set_column_bounds(columns, first.lower[columns], first.upper[columns])
        return bound, None if x is None else x[columns]

    def search(self, question: Question) -> MasterPoint | None:
        """The search with integers, by consolidated cuts; None with few cuts, whole scenarios, or where it fails."""
        region, first = question.region, self._blocks.first_stage
        if self.kept or (region is not None and region.kept) or not self._many_cuts(region):
            return None
        consolidated = self._consolidate(region)
        if not consolidated.usable:
            return None
        sides = (first.lower, first.upper) if region is None else (region.lower, region.upper)
        found = consolidated.search(*sides, question.gap, question.time_limit, question.start, question.enough)
        if found is None:
            return None
        nothing = np.zeros(0)
        if found.x is None or found.theta is None:
            return MasterPoint(found.status, nothing, nothing, found.bound, nothing, nothing, nothing)
        return MasterPoint(found.status, self._settled(found.x), found.theta, found.bound, nothing, nothing, nothing)

    def _many_cuts(self, region: Region | None) -> bool:
        return sum(len(numbers) for _, numbers in self._lent(region)) > _FEW_CUTS

    def _consolidate(self, region: Region | None) -> Consolidated:
        pools = [self.pool] if region is None else [self.pool, region.cuts]
        return Consolidated(self._blocks.first_stage, pools, self.floor, self._weights)

    def _between(
        self, relaxation: LinearProgram, columns: Columns, sides: tuple[Vector, Vector]
    ) -> tuple[float, Vector | None]:
        relaxation.set_column_bounds(columns, *sides)
        outcome = relaxation.solve()
        if outcome.status == "infeasible":
            return np.inf, None
        return (outcome.bound, outcome.x) if outcome.status == "optimal" else (-np.inf, None)

    def task(self, question: Question) -> Task:
        """The search with integers, with all cuts and the scenarios that are kept whole."""
        columns = np.arange(self._sizes[0], dtype=np.int32)
        first = None if question.start is None else (columns, question.start)
        return Task(self.problem(question.region), question.gap, question.time_limit, first, question.enough)

    def point(self, outcome: Outcome) -> MasterPoint:
        """What the search has found."""
        n, count = self._sizes
        nothing = np.zeros(0)
        if outcome.x is None:
            return MasterPoint(outcome.status, nothing, nothing, outcome.bound, nothing, nothing, nothing)
        x = self._settled(np.where(self._blocks.first_stage.integer, np.round(outcome.x[:n]), outcome.x[:n]))
        theta = outcome.x[n : n + count]
        self.pool.call_back(x, theta)
        self.learn_weights(theta)
        return MasterPoint(outcome.status, x, theta, outcome.bound, nothing, nothing, nothing)

    def problem(self, region: Region | None = None) -> MatrixProblem:
        """The master as it stands, with integers and the scenarios that are kept whole; of a region or of all."""
        own, n = self._with_cuts(region), self._sizes[0]
        kept = [*self.kept, *(s for s in (region.kept if region is not None else []) if s not in self.kept)]
        blocks = [self._blocks.scenarios[number] for number in kept]
        count, width = own.rows.shape
        below = [sp.hstack([each.technology, sp.csr_array((len(each.row_lower), width - n))]) for each in blocks]
        left = sp.vstack([own.rows, *below, self._link(kept, width)])
        beside = sp.block_diag([sp.csr_array((0, 0)), *(each.recourse for each in blocks)])
        costs = sp.block_diag([sp.csr_array((0, 0)), *(sp.csr_array(-each.cost[None, :]) for each in blocks)])
        right = sp.vstack([sp.csr_array((count, beside.shape[1])), beside, costs])
        constant = np.array([each.constant for each in blocks])
        return MatrixProblem(
            cost=np.concatenate([own.cost, np.zeros(beside.shape[1])]),
            constant=own.constant,
            rows=sp.csr_array(sp.hstack([left, right])),
            row_lower=np.concatenate([own.row_lower, *(each.row_lower for each in blocks), constant]),
            row_upper=np.concatenate(
                [own.row_upper, *(each.row_upper for each in blocks), np.full(len(blocks), np.inf)]
            ),
            lower=np.concatenate([own.lower, *(each.lower for each in blocks)]),
            upper=np.concatenate([own.upper, *(each.upper for each in blocks)]),
            integer=np.concatenate([own.integer, *(each.integer for each in blocks)]),
        )

    # ---- parts --------------------------------------------------------------------------------------------------

    @property
    def _sizes(self) -> tuple[int, int]:
        return len(self._blocks.first_stage.cost), len(self._blocks.scenarios)

    def _weights(self, cost: Vector) -> Vector:
        probability = self._blocks.probability
        return worst_case_weights(self._risk, self._ambiguity, probability.copy(data=cost), probability).values

    def _first_risk_cut(self) -> RiskRows:
        count = len(self._blocks.scenarios)
        weights = self._weights(np.where(np.isfinite(self.floor), self.floor, 0.0))
        return RiskRows(
            cost=np.zeros(count),
            auxiliary_cost=np.ones(1),
            lower=np.array([-np.inf]),
            rows=sp.csr_array(-weights[None, :]),
            auxiliary_rows=sp.csr_array(np.ones((1, 1))),
        )

    def _base(self) -> MatrixProblem:
        """First stage and risk rows, without cuts."""
        first, risk = self._blocks.first_stage, self._risk_rows
        n, count = self._sizes
        extra = len(risk.auxiliary_cost)
        above = sp.hstack([first.rows, sp.csr_array((len(first.row_lower), count + extra))])
        judged = sp.hstack([sp.csr_array((risk.rows.shape[0], n)), risk.rows, risk.auxiliary_rows])
        return MatrixProblem(
            cost=np.concatenate([first.cost, risk.cost, risk.auxiliary_cost]),
            constant=first.constant,
            rows=sp.csr_array(sp.vstack([above, judged])),
            row_lower=np.concatenate([first.row_lower, np.zeros(risk.rows.shape[0])]),
            row_upper=np.concatenate([first.row_upper, np.full(risk.rows.shape[0], np.inf)]),
            lower=np.concatenate([first.lower, self.floor, risk.lower]),
            upper=np.concatenate([first.upper, np.full(count + extra, np.inf)]),
            integer=np.concatenate([first.integer, np.zeros(count + extra, dtype=bool)]),
        )

    def _with_cuts(self, region: Region | None) -> MatrixProblem:
        """First stage, risk rows and cuts; of a region or of all."""
        base, n = self._base(), self._sizes[0]
        if region is not None:
            base.lower[:n], base.upper[:n] = region.lower, region.upper
        cuts = [self._cut_rows(pool, numbers) for pool, numbers in self._lent(region)]
        lower = np.concatenate([side for _, side in cuts])
        return replace(
            base,
            rows=sp.csr_array(sp.vstack([base.rows, *(rows for rows, _ in cuts)])),
            row_lower=np.concatenate([base.row_lower, lower]),
            row_upper=np.concatenate([base.row_upper, np.full(len(lower), np.inf)]),
        )

    def _lent(self, region: Region | None) -> list[tuple[CutPool, Columns]]:
        """The cuts that the master of a region, or of all, holds."""
        lent = [(self.pool, np.flatnonzero(self.pool.active))]
        return lent if region is None else [*lent, (region.cuts, np.arange(len(region.cuts)))]

    def _cut_rows(self, pool: CutPool, numbers: npt.NDArray[np.int64]) -> tuple[sp.csr_array, Vector]:
        _, count = self._sizes
        theta = sp.csr_array(
            (pool.bounds_cost[numbers], (np.arange(len(numbers)), pool.scenario[numbers])), shape=(len(numbers), count)
        )
        extra = sp.csr_array((len(numbers), len(self._risk_rows.auxiliary_cost)))
        return sp.csr_array(sp.hstack([-pool.gradients[numbers], theta, extra])), pool.constant[numbers]

    def _link(self, kept: list[int], columns: int) -> sp.csr_array:
        """theta_s >= h_s.x + q_s.w + constant of the scenarios that are kept, without the part of w."""
        n, _ = self._sizes
        count = len(kept)
        shared = [sp.csr_array(-self._blocks.scenarios[number].first_stage_cost[None, :]) for number in kept]
        theta = sp.csr_array((np.ones(count), (np.arange(count), kept)), shape=(count, columns - n))
        return sp.csr_array(sp.hstack([sp.vstack([sp.csr_array((0, n)), *shared]), theta]))

    def _load(self) -> LinearProgram:
        """Bring the relaxation in memory up to the active cuts."""
        if self._relaxation is None:
            base = self._base()
            self._relaxation = LinearProgram(base)
            self._in_relaxation = []
            self._base_rows = len(base.row_lower)
            self._risk_rows_loaded = self._risk_rows.rows.shape[0]
        self._load_risk_cuts(self._relaxation)
        missing = np.setdiff1d(np.flatnonzero(self.pool.active), self._in_relaxation)
        if len(missing):
            rows, lower = self._cut_rows(self.pool, missing)
            self._relaxation.add_rows(rows, lower, np.full(len(missing), np.inf))
            self._in_relaxation += missing.tolist()
        return self._relaxation

    def _load_risk_cuts(self, relaxation: LinearProgram) -> None:
        risk = self._risk_rows
        new = risk.rows.shape[0] - self._risk_rows_loaded
        if new:
            n, _ = self._sizes
            rows = sp.hstack([sp.csr_array((new, n)), risk.rows[-new:], risk.auxiliary_rows[-new:]])
            relaxation.add_rows(sp.csr_array(rows), np.zeros(new), np.full(new, np.inf))
            self._in_relaxation += [_RISK_CUT] * new
            self._risk_rows_loaded += new

    def _retire(self, x: Vector, theta: Vector) -> None:
        leaving = set(self.pool.retire(x, theta).tolist())
        if leaving and self._relaxation is not None:
            positions = [k for k, cut in enumerate(self._in_relaxation) if cut in leaving]
            self._relaxation.remove_rows(self._base_rows + np.array(positions, dtype=np.int64))
            self._in_relaxation = [cut for cut in self._in_relaxation if cut not in leaving]

    def _dual_mean(self, dual: Vector) -> tuple[Vector, Vector]:
        """Weight of every scenario's optimality cuts, and the mean of their gradients under these weights."""
        loaded = np.array(self._in_relaxation, dtype=np.int64)
        numbers = loaded[loaded != _RISK_CUT]
        price = dual[self._base_rows :][loaded != _RISK_CUT]
        return _mean_gradient([(self.pool, numbers)], price, self._sizes[1])


def _mean_gradient(lent: list[tuple[CutPool, Columns]], price: Vector, count: int) -> tuple[Vector, Vector]:
    """Weight of every scenario's cuts at these prices, (S), and the mean of their gradients, (S x n)."""
    scenario = np.concatenate([pool.scenario[numbers] for pool, numbers in lent])
    bounds_cost = np.concatenate([pool.bounds_cost[numbers] for pool, numbers in lent])
    gradients = sp.csr_array(sp.vstack([pool.gradients[numbers] for pool, numbers in lent]))
    price = np.maximum(price, 0) * bounds_cost
    weight = np.bincount(scenario, weights=price, minlength=count).astype(float)
    share = sp.csr_array((price, (scenario, np.arange(len(price)))), shape=(count, len(price)))
    return weight, (share @ gradients).toarray() / np.maximum(weight, 1e-300)[:, None]
