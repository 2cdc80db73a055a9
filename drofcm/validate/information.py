"""What it is worth to plan with scenarios at all, and what it would be worth to know which of them comes.

Both are differences of optimal costs in the sense of the objective that is minimised, c.x + rho(Q(x)), rho being any
risk measure over any ambiguity set; under the expectation they are the textbook values (Birge 1982; Birge and
Louveaux, Introduction to Stochastic Programming, chapter 4), otherwise those of Noyan (2012), who calls them RVSS and
RVPI. Costs that a search left open make them intervals.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import loky
import numpy as np
import xarray as xr

from drofcm.blocks.form import TwoStageBlocks
from drofcm.blocks.select import mean_scenario, select
from drofcm.core.dims import SCENARIO
from drofcm.core.errors import Finding, InfeasibleError, LimitError, raise_if_any
from drofcm.dsl.program import TwoStageProgram, solve
from drofcm.risk.ambiguity import AmbiguitySet, Nominal, bind
from drofcm.risk.measures import Expectation, RiskMeasure, as_sum
from drofcm.risk.weights import worst_case_weights
from drofcm.solve.method import solve_blocks
from drofcm.solve.result import Result
from drofcm.solve.spread import spread
from drofcm.validate.evaluate import evaluate

__all__ = [
    "Foresight",
    "PerfectInformation",
    "StochasticSolution",
    "expected_value_of_perfect_information",
    "value_of_stochastic_solution",
]


@dataclass(frozen=True)
class StochasticSolution:
    """What planning with scenarios saves against planning for their mean.

    Attributes
    ----------
    value
        Objective of the expected-value plan less that of the best plan found; infinite if the expected-value plan
        breaks down in a scenario.
    lower, upper
        The exact value lies between them: the best plan found may not be the best there is.
    stochastic
        The best plan found.
    expected_value
        The plan for the mean, evaluated on the scenarios; None if a scenario has no recourse at it.
    """

    value: float
    lower: float
    upper: float
    stochastic: Result
    expected_value: Result | None

    @classmethod
    def between(cls, best: Result, naive: Result | None) -> StochasticSolution:
        """From the best plan found and the plan for the mean, both under the same risk and ambiguity."""
        cost = np.inf if naive is None else naive.objective
        return cls(
            value=cost - best.objective,
            lower=max(0.0, cost - best.upper_bound),
            upper=cost - best.lower_bound,
            stochastic=best,
            expected_value=naive,
        )

    def __str__(self) -> str:
        return f"value of the stochastic solution {self.value:,.6g} (between {self.lower:,.6g} and {self.upper:,.6g})"


@dataclass(frozen=True)
class PerfectInformation:
    """What it would be worth to know the scenario before the plan is made.

    Attributes
    ----------
    value
        Objective of the best plan found less the wait-and-see cost.
    lower, upper
        The exact value lies between them.
    wait_and_see
        Risk of the cost of a planner who knows the scenario; no plan costs less.
    cost
        Least cost of first stage and recourse together where scenario s is certain, (scenario).
    stochastic
        The best plan found.
    """

    value: float
    lower: float
    upper: float
    wait_and_see: float
    cost: xr.DataArray
    stochastic: Result

    def __str__(self) -> str:
        return f"value of perfect information {self.value:,.6g} (between {self.lower:,.6g} and {self.upper:,.6g})"


@dataclass(frozen=True)
class Foresight:
    """Perfect information in short, as a run states it: figures in the unit of the objective.

    Attributes
    ----------
    lower, upper
        The value of perfect information lies between them.
    seconds
        What finding it took.
    left_out
        Why it was not found; empty if it was.
    """

    lower: float = 0.0
    upper: float = np.inf
    seconds: float = 0.0
    left_out: str = ""


def value_of_stochastic_solution(
    problem: TwoStageProgram | TwoStageBlocks,
    *,
    risk: RiskMeasure | None = None,
    ambiguity: AmbiguitySet | None = None,
    mean: TwoStageProgram | TwoStageBlocks | None = None,
    solution: Result | None = None,
    gap: float = 1e-4,
    client: Any = None,
    workers: int | None = None,
    **settings: Any,
) -> StochasticSolution:
    """VSS: the cost of the expected-value plan less that of the stochastic plan, both on all scenarios.

    The expected-value plan is the optimum of the program whose single scenario is the mean of all. Under a risk
    measure the same plan is judged by the objective with that measure (RVSS of Noyan 2012): what the scenarios *and*
    the aversion are worth together.

    Parameters
    ----------
    problem
        A program of the language, or matrices such as `drofcm.read_smps` returns.
    risk, ambiguity
        What is minimised: the expectation over the nominal probabilities if left out.
    mean
        The program of the mean scenario. Left out, every uncertain variable (of matrices: every number) is averaged
        with the nominal probabilities; give it where the mean of a variable means nothing, or follows from means of
        others.
    solution
        A solution of ``problem`` under the same risk and ambiguity, if there is one already.
    gap, client, workers, **settings
        As `TwoStageProgram.solve`, for both programs; the gap widens the interval.

    Raises
    ------
    InputError
        If an uncertain variable is not a number, or matrices differ in more than numbers: there is no mean.
    ModelError, InfeasibleError, SolveError
        As `TwoStageProgram.solve`.

    References
    ----------
    Birge, J. R. (1982). The value of the stochastic solution in stochastic linear programs with fixed recourse.
    Mathematical Programming 24.
    Noyan, N. (2012). Risk-averse two-stage stochastic programming with an application to disaster management.
    Computers and Operations Research 39.
    """
    guess = solve(_of_mean(problem) if mean is None else mean, **{"gap": gap, **settings, "preferred": False})
    try:
        naive = evaluate(problem, guess, risk=risk, ambiguity=ambiguity, client=client, workers=workers)
    except InfeasibleError:
        naive = None
    best = solution
    if best is None:
        start = None if naive is None else naive.first_stage
        limits = {"gap": gap, "client": client, "workers": workers, "start": start, **settings}
        best = solve(problem, risk=risk, ambiguity=ambiguity, **limits)
    return StochasticSolution.between(best, naive)


def expected_value_of_perfect_information(
    problem: TwoStageProgram | TwoStageBlocks,
    *,
    risk: RiskMeasure | None = None,
    ambiguity: AmbiguitySet | None = None,
    solution: Result | None = None,
    gap: float = 1e-4,
    seconds: float | None = None,
    client: Any = None,
    workers: int | None = None,
    **settings: Any,
) -> PerfectInformation:
    """EVPI: the cost of the stochastic plan less the cost of a planner who knows the scenario.

    With W the sum of the weights of the risk measure, the objective c.x + rho(Q(x)) equals rho(c.x / W + Q(x)), since
    rho is translation equivariant. The wait-and-see cost is rho of z_s = min over x of c.x / W + Q_s(x). It is a lower
    bound on the cost of every plan, because rho is monotone. Under the expectation W = 1 and this is the textbook
    value; under a risk measure it is RVPI of Noyan (2012). Over an ambiguity set nature picks the worst distribution
    of the informed planner's costs, which need not be the worst one for the plan.

    Parameters
    ----------
    problem
        A program of the language, or matrices such as `drofcm.read_smps` returns.
    risk, ambiguity
        What is minimised: the expectation over the nominal probabilities if left out.
    solution
        A solution of ``problem`` under the same risk and ambiguity, if there is one already.
    gap
        Relative gap of every search; it widens the interval.
    seconds
        Of all searches for one scenario each, which run in ``workers`` processes: what one does not need is left to
        those after it. One that is stopped counts with its bounds, which widens the interval: its best plan is at most
        as dear as the solution's. None: no limit.
    client, workers
        Where scenarios are solved: a `dask.distributed.Client` of the user's, or local processes (None: as many as
        there are cores; 1: this process).
    **settings
        As `TwoStageProgram.solve`, for the stochastic program.

    Raises
    ------
    ValueError
        If the risk measure has no weight.
    ModelError, InfeasibleError, SolveError
        As `TwoStageProgram.solve`.
    """
    measure = risk or Expectation()
    if as_sum(measure).total == 0:
        raise ValueError(f"risk must have some weight: under {measure} every plan costs the same afterwards")
    best = solution
    if best is None:
        best = solve(problem, risk=risk, ambiguity=ambiguity, gap=gap, client=client, workers=workers, **settings)
    blocks = problem.blocks() if isinstance(problem, TwoStageProgram) else problem
    bound = bind(ambiguity or Nominal(), problem.data) if isinstance(problem, TwoStageProgram) else ambiguity
    total = as_sum(measure).total
    alone = [_alone(blocks, number, total) for number in range(len(blocks.scenarios))]
    found = _spread_known(alone, gap, seconds, client, workers)
    # who knows the scenario may keep to the plan that is made for all
    kept = best.first_stage_cost / total + best.recourse_cost.sel({SCENARIO: blocks.probability[SCENARIO]}).values
    cost = blocks.probability.copy(data=np.minimum([high for _, high in found], kept)).rename("wait_and_see")
    least = cost.copy(data=[low for low, _ in found])
    high, low = (_risk_of(measure, bound or Nominal(), own, blocks.probability) for own in (cost, least))
    return PerfectInformation(
        value=best.objective - high,
        lower=max(0.0, best.lower_bound - high),
        upper=best.upper_bound - low,
        wait_and_see=high,
        cost=cost,
        stochastic=best,
    )


def _risk_of(risk: RiskMeasure, ambiguity: AmbiguitySet, cost: xr.DataArray, probability: xr.DataArray) -> float:
    if not np.isfinite(cost).all():
        # a search without time knows no plan, or no bound, of some scenario: nothing is known of them together
        return float(cost.max() if np.isposinf(cost).any() else cost.min())
    return float((worst_case_weights(risk, ambiguity, cost, probability) * cost).sum())


def _alone(blocks: TwoStageBlocks, number: int, total: float) -> TwoStageBlocks:
    """The program in which one scenario is certain, its first stage weighed as the risk measure weighs it."""
    certain = blocks.probability.isel({SCENARIO: [number]})
    own = select(blocks, [number], certain.copy(data=[1.0]))
    first = own.first_stage
    weighed = replace(first, cost=first.cost / total, constant=first.constant / total)
    return replace(own, first_stage=weighed, terms={})


def _spread_known(
    alone: list[TwoStageBlocks], gap: float, seconds: float | None, client: Any, workers: int | None
) -> list[tuple[float, float]]:
    """Bounds of every scenario's own program, in as many batches as there are processes."""
    count = min(len(alone), workers if workers is not None else loky.cpu_count())
    batches = [alone[first::count] for first in range(count)]
    found = spread(partial(_known, gap=gap, seconds=seconds), batches, client, workers)
    return [found[number % count][number // count] for number in range(len(alone))]


def _known(batch: list[TwoStageBlocks], gap: float, seconds: float | None) -> list[tuple[float, float]]:
    """Bounds of some programs, one after the other, each with its share of the time that is left."""
    began, bounds = time.perf_counter(), []
    for number, blocks in enumerate(batch):
        left = None if seconds is None else max(seconds - (time.perf_counter() - began), 0.0) / (len(batch) - number)
        try:
            result = solve_blocks(blocks, Expectation(), Nominal(), method="extensive", gap=gap, time_limit=left)
        except LimitError as error:
            bounds.append((error.lower_bound, np.inf))
        else:
            bounds.append((result.lower_bound, result.upper_bound))
    return bounds


def _of_mean(problem: TwoStageProgram | TwoStageBlocks) -> TwoStageProgram | TwoStageBlocks:
    return problem.on(_mean(problem.data)) if isinstance(problem, TwoStageProgram) else mean_scenario(problem)


def _mean(data: xr.Dataset) -> xr.Dataset:
    """The mean of all scenarios as one scenario."""
    uncertain = [str(name) for name in data.data_vars if SCENARIO in data[name].dims and name != "probability"]
    raise_if_any(
        Finding(name, f"has no mean: its values are of type {data[name].dtype}", "give mean=, the program of the mean")
        for name in uncertain
        if data[name].dtype.kind not in "iuf"
    )
    certain = data.drop_dims(SCENARIO)
    for name in uncertain:
        value = (data["probability"] * data[name]).sum(SCENARIO)
        certain[name] = value.expand_dims({SCENARIO: [0]}).assign_attrs(data[name].attrs)
    certain["probability"] = (SCENARIO, [1.0])
    return certain
