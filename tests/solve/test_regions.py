"""Parts of the first stage: which are left, what holds there, and that masters of several are solved side by side."""

from __future__ import annotations

from typing import Any

import depots
import numpy as np
import pytest
import sites

import drofcm as dro
from drofcm.blocks.tender import with_tender
from drofcm.core.errors import ModelError
from drofcm.solve import integers
from drofcm.solve.cuts import Cut, CutPool
from drofcm.solve.execution import executor
from drofcm.solve.highs import Task
from drofcm.solve.master import Master, Question
from drofcm.solve.regions import Choices, Region, binaries
from drofcm.solve.search import Search
from drofcm.solve.stopping import Stopping
from drofcm.solve.subproblem import Request, Subproblem


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
    found = Choices(blocks.first_stage, made.bound_in, columns).split(target, 100)
    assert found is not None
    regions, ruled_out = found
    feasible = {plan: value(plan) - 1 for plan in sites.plans() if sum(plan) <= sites.MOST}
    left = {tuple(int(k) for k in region.lower[columns]): region.bound for region in regions}
    assert left.keys() == {plan for plan, bound in feasible.items() if bound < target}
    for plan, bound in left.items():
        assert bound == pytest.approx(feasible[plan])
    assert all(ruled_out <= bound + 1e-6 for plan, bound in feasible.items() if plan not in left)
    assert ruled_out >= target


@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize("count", [0, 1, 3])
@pytest.mark.parametrize("target", [30.0, 45.0, 1e9])
def test_every_plan_is_in_one_region_or_ruled_out(target: float, count: int, whole: bool) -> None:
    """Choices in part too, and those that were found before there was a target; each region's bound holds in it."""
    blocks, made = sites.blocks(), master()
    choices = Choices(blocks.first_stage, made.bound_in, binaries(blocks.first_stage), whole)
    first = choices.leading(count)
    found = choices.split(target, 100)
    assert found is not None
    regions, ruled_out = found
    assert regions[: len(first)] == first
    assert ruled_out >= target
    for plan in sites.plans():
        if sum(plan) > sites.MOST:
            continue
        own = [region for region in regions if ((region.lower <= plan) & (plan <= region.upper)).all()]
        assert len(own) <= 1
        bound = own[0].bound if own else ruled_out
        assert bound <= value(plan) - 1 + 1e-6


def test_too_many_to_be_worth_while() -> None:
    blocks, made = sites.blocks(), master()
    assert Choices(blocks.first_stage, made.bound_in, binaries(blocks.first_stage)).split(1e9, 3) is None
    assert Choices(blocks.first_stage, made.bound_in, np.zeros(0, dtype=np.int64)).split(1e9, 100) is None


def test_many_binaries_are_left_to_the_master() -> None:
    blocks, many = sites.blocks(), np.arange(25, dtype=np.int64)
    choices = Choices(blocks.first_stage, lambda *_: pytest.fail("looked at"), many)
    assert choices.leading(2) == []
    assert choices.split(1e9, 100) is None


def test_leading_regions_have_the_least_bounds() -> None:
    blocks, made = sites.blocks(), master()
    columns = binaries(blocks.first_stage)
    feasible = sorted((plan for plan in sites.plans() if sum(plan) <= sites.MOST), key=value)
    for count in (1, 3, 100):
        regions = Choices(blocks.first_stage, made.bound_in, columns).leading(count)
        assert [region.lower.tolist() for region in regions] == [list(plan) for plan in feasible[:count]]
        assert all(region.lower.tolist() == region.upper.tolist() for region in regions)
        assert [region.bound for region in regions] == pytest.approx([value(plan) - 1 for plan in feasible[:count]])
    assert Choices(blocks.first_stage, lambda *_: (np.inf, None), columns).leading(1) == []
    assert Choices(blocks.first_stage, made.bound_in, columns[:0]).leading(1) == []


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
    task = made.task(Question(gap=1e-9))
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
    found = Choices(blocks.first_stage, made.bound_in, binaries(blocks.first_stage)).split(1e9, 100)
    assert found is not None
    before = made.relax().bound
    region = found[0][0]
    region.lower[:] = 1.0
    assert made.relax_in(region).bound == np.inf
    outcome = made.task(Question(1e-9, region=region)).run()
    assert outcome.status == "infeasible"
    assert made.point(outcome).bound == np.inf
    # the relaxation is what it was
    assert made.relax().bound == pytest.approx(before)


def test_start_of_another_shape_is_refused() -> None:
    plan = dro.solve(sites.blocks(), gap=1e-3).first_stage
    with pytest.raises(ModelError):
        dro.solve(sites.blocks(), method="lshaped", start=plan.isel(site=[0, 1]))


def some_region() -> tuple[Master, Region]:
    """All plans of the depots, with cuts of the relaxation at two of them in the pool and one more of its own."""
    blocks = with_tender(depots.blocks()).blocks
    made = Master(blocks, dro.Expectation(), dro.Nominal(), np.full(depots.EVENTS, -1e3))
    first = blocks.first_stage
    whole = Region(first.lower.copy(), first.upper.copy(), -np.inf, CutPool(len(first.cost)))
    rng = np.random.default_rng(8)
    for pool, count in ((made.pool, 4), (whole.cuts, 2)):
        for _ in range(count):
            x = rng.uniform(0, 2, len(first.cost))
            for s, own in enumerate(blocks.scenarios):
                answer = Subproblem(first, own, s).answer(Request(x))
                assert answer.relaxed is not None
                assert answer.gradient is not None
                pool.add([Cut(s, answer.relaxed - float(answer.gradient @ x), answer.gradient)])
    return made, whole


def test_halves_share_out_every_plan_and_bound_what_they_hold() -> None:
    made, whole = some_region()
    whole.keep([2])
    parts = made.halves(whole)
    assert len(parts) == 2
    sums = with_tender(depots.blocks())
    for plan in depots.plans():
        x = sums.lift(depots.columns(plan))
        home = [part for part in parts if ((part.lower <= x) & (x <= part.upper)).all()]
        assert len(home) == 1
        assert home[0].bound <= depots.value(plan) + 1e-6
    for part in parts:
        assert part.kept == [2]
        assert len(part.cuts) == len(whole.cuts)
        part.cuts.add([Cut(0, 0.0, np.zeros(len(part.lower)))])
    assert len(parts[0].cuts) == len(whole.cuts) + 1


def test_half_without_a_bound_is_not_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    """An unbounded relaxation says nothing; only a part without any plan is left out."""
    made, whole = some_region()
    monkeypatch.setattr(Master, "_between", lambda self, relaxation, at, sides: (-np.inf, None))
    assert len(made.halves(whole)) == 2
    monkeypatch.setattr(Master, "_between", lambda self, relaxation, at, sides: (7.0 if sides[0] > 0 else np.inf, None))
    (part,) = made.halves(whole)
    assert part.bound == 7.0


def test_relaxation_of_a_region_uses_its_own_cuts() -> None:
    """Against the same linear program with all cuts in the common pool."""
    made, whole = some_region()
    alone = made.relax_in(whole)
    own = whole.cuts
    facts = zip(own.scenario, own.constant, own.gradients.toarray(), strict=True)
    made.add([Cut(int(scenario), float(constant), gradient) for scenario, constant, gradient in facts])
    together = made.relax()
    assert alone.bound == pytest.approx(together.bound)
    assert alone.weight == pytest.approx(depots.data().probability.values)
    assert together.weight == pytest.approx(depots.data().probability.values)


def test_region_without_a_fraction_is_not_halved() -> None:
    made, whole = some_region()
    whole.lower[:] = whole.upper[:] = 0
    assert made.halves(whole) == []


def test_search_by_halves_ends_at_the_optimum(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every region that was searched once is halved as long as its relaxation is not whole."""
    parts: list[Region] = []
    halves = Master.halves

    def halved(self: Master, region: Region) -> list[Region]:
        found = halves(self, region)
        parts.extend(found)
        return found

    monkeypatch.setattr(Master, "halves", halved)
    monkeypatch.setattr(integers.IntegerPhase, "_is_slow", lambda self, region, beside: region.rounds > 0)
    result = dro.solve(depots.blocks(), method="lshaped", gap=1e-7, workers=1)
    assert result.objective == pytest.approx(depots.optimum(), rel=1e-6)
    assert result.lower_bound == pytest.approx(depots.optimum(), rel=1e-6)
    assert parts


def test_region_that_cannot_be_halved_is_searched_for_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Master, "halves", lambda self, region: [])
    blocks = depots.blocks()
    with executor(blocks, None, 1) as ask:
        search = Search(blocks, dro.Expectation(), dro.Nominal(), Stopping(1e-7, None, None), ask)
        search.begin()
        phase = integers.IntegerPhase(search)
        first = blocks.first_stage
        region = Region(first.lower, first.upper, -np.inf, CutPool(len(first.cost)), rounds=1, unfinished=True)
        search.regions = [region]
        phase.step()
    assert region.patience == 2
    assert region.rounds == 2
