"""Parts of the first stage: which are left, what holds there, and that masters of several are solved side by side."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import sites

import drofcm as dro
from drofcm.core.errors import ModelError
from drofcm.solve import integers
from drofcm.solve.cuts import Cut
from drofcm.solve.execution import executor
from drofcm.solve.highs import Task
from drofcm.solve.master import Master
from drofcm.solve.regions import binaries, leading, split
from drofcm.solve.subproblem import Request


def value(plan: tuple[int, ...]) -> float:
    given = sites.data()
    return float(given.fixed.values @ plan + given.probability.values @ np.array(sites.recourse_cost(plan)))


def master() -> Master:
    """With a cut through the expected cost of every plan, less one: bounds are known and differ from values."""
    blocks = sites.blocks()
    made = Master(blocks, dro.Expectation(), dro.Nominal(), np.zeros(sites.EVENTS))
    cuts = []
    for plan in sites.plans():
        steep = 1e4 * (2 * np.array(plan) - 1)
        for s, cost in enumerate(sites.recourse_cost(plan)):
            cuts.append(Cut(s, cost - 1 - 1e4 * sum(plan), steep.astype(float)))
    made.add(cuts)
    return made


@pytest.mark.parametrize("target", [0.0, 30.0, 45.0, 1e9])
def test_what_is_left_and_what_is_ruled_out(target: float) -> None:
    """The relaxation's bound of a whole choice is its value less one; every choice is left or bounds the rest."""
    blocks, made = sites.blocks(), master()
    columns = binaries(blocks.first_stage)
    found = split(blocks.first_stage, made.bound_in, columns, target, 100)
    assert found is not None
    regions, ruled_out = found
    feasible = {plan: value(plan) - 1 for plan in sites.plans() if sum(plan) <= sites.MOST}
    left = {tuple(int(k) for k in region.lower[columns]): region.bound for region in regions}
    assert left.keys() == {plan for plan, bound in feasible.items() if bound < target}
    for plan, bound in left.items():
        assert bound == pytest.approx(feasible[plan])
    assert all(ruled_out <= bound + 1e-6 for plan, bound in feasible.items() if plan not in left)
    assert ruled_out >= target


def test_too_many_to_be_worth_while() -> None:
    blocks, made = sites.blocks(), master()
    assert split(blocks.first_stage, made.bound_in, binaries(blocks.first_stage), 1e9, 3) is None
    assert split(blocks.first_stage, made.bound_in, np.zeros(0, dtype=np.int64), 1e9, 100) is None


def test_leading_region_has_the_least_bound() -> None:
    blocks, made = sites.blocks(), master()
    columns = binaries(blocks.first_stage)
    region = leading(blocks.first_stage, made.bound_in, columns)
    assert region is not None
    best = min((plan for plan in sites.plans() if sum(plan) <= sites.MOST), key=value)
    assert region.lower.tolist() == region.upper.tolist() == list(best)
    assert region.bound == pytest.approx(value(best) - 1)
    assert leading(blocks.first_stage, lambda *_: np.inf, columns) is None
    assert leading(blocks.first_stage, made.bound_in, columns[:0]) is None


def test_first_plan_is_sought_in_the_leading_region(monkeypatch: pytest.MonkeyPatch) -> None:
    """No master of all regions is solved as long as one of them gives a plan."""
    monkeypatch.setattr(integers.IntegerPhase, "_improve", lambda self: pytest.fail("the master of all regions"))
    result = dro.solve(sites.blocks(), method="lshaped", gap=1e-6, workers=1)
    assert result.objective == pytest.approx(sites.optimum(), rel=1e-6)
    assert result.lower_bound == pytest.approx(sites.optimum(), rel=1e-6)


def test_lagrangian_cuts_hold_within_and_are_higher_there() -> None:
    """At every plan of the region they stay below the enumerated cost; the best of a region beats the general one."""
    blocks = sites.blocks()
    n = sites.SITES
    higher = 0
    for first in ((1.0, 0.0), (0.0, 1.0)):
        lower, upper = np.zeros(n), np.ones(n)
        lower[:2] = upper[:2] = first
        own = [plan for plan in sites.plans() if plan[:2] == first and sum(plan) <= sites.MOST]
        at = np.array([*first, 0.5, 0.0])
        ask: dict[str, Any] = {"steps": 3, "target": 1e3}
        with executor(blocks, workers=1) as here:
            within = here.ask({s: Request(at, within=(lower, upper), **ask) for s in range(sites.EVENTS)})
            anywhere = here.ask({s: Request(at, **ask) for s in range(sites.EVENTS)})
        for s in range(sites.EVENTS):
            assert within[s].lagrangian
            for constant, gradient in within[s].lagrangian:
                for plan in own:
                    assert constant + float(gradient @ plan) <= sites.recourse_cost(plan)[s] * (1 + 1e-6) + 1e-6
            best = [max(c + float(g @ at) for c, g in answers[s].lagrangian) for answers in (within, anywhere)]
            higher += best[0] > best[1] + 1e-6
    assert higher > 0


def knapsack(seed: int) -> tuple[Task, float]:
    """A small master and its optimum by enumeration."""
    made = master()
    rng = np.random.default_rng(seed)
    task = made.task(gap=1e-9, time_limit=None, start=None)
    problem = task.problem
    problem.cost[: sites.SITES] += rng.uniform(-5, 5, sites.SITES)
    extra = problem.cost[: sites.SITES] - sites.data().fixed.values
    best = min(value(plan) - 1 + float(extra @ plan) for plan in sites.plans() if sum(plan) <= sites.MOST)
    return task, best


@pytest.mark.parametrize("where", ["here", "processes", "dask"])
def test_masters_side_by_side(where: str, request: pytest.FixtureRequest) -> None:
    """More than there are workers, in the order in which they were given."""
    settings = {"client": request.getfixturevalue("client")} if where == "dask" else {"workers": 1 + (where != "here")}
    tasks, optima = zip(*(knapsack(seed) for seed in range(5)), strict=True)
    with executor(sites.blocks(), **settings) as ask:
        found = ask.solve(tasks)
        (alone,) = ask.solve(tasks[:1])
    assert [outcome.status for outcome in found] == ["optimal"] * len(tasks)
    assert [outcome.objective for outcome in found] == pytest.approx(list(optima))
    assert alone.objective == pytest.approx(optima[0])


def test_region_that_holds_nothing() -> None:
    """More sites than may be opened: infeasible, so no plan of it costs less than infinity."""
    blocks, made = sites.blocks(), master()
    found = split(blocks.first_stage, made.bound_in, binaries(blocks.first_stage), 1e9, 100)
    assert found is not None
    before = made.relax().bound
    region = found[0][0]
    region.lower[:] = 1.0
    assert made.relax_in(region).bound == np.inf
    outcome = made.task(1e-9, None, None, region).run()
    assert outcome.status == "infeasible"
    assert made.point(outcome).bound == np.inf
    # the relaxation is what it was
    assert made.relax().bound == pytest.approx(before)


def test_start_of_another_shape_is_refused() -> None:
    plan = dro.solve(sites.blocks(), gap=1e-3).first_stage
    with pytest.raises(ModelError):
        dro.solve(sites.blocks(), method="lshaped", start=plan.isel(site=[0, 1]))
