"""How long a reduction takes, and what it costs the decision.

    python tests/benchmarks/reduction.py speed
    nice -n 19 python tests/benchmarks/reduction.py decision --scenarios 400 --keep 40
    nice -n 19 python tests/benchmarks/reduction.py decision --scenarios 2000 --keep 100
    nice -n 19 python tests/benchmarks/reduction.py decision --scenarios 60 --keep 8 --integer --brief --limit 45

``speed`` reduces 10,000 scenarios of 500 numbers to 200. ``decision`` takes the events of
``studies/01_demand_shock_ieee33``, reduces them in several ways, makes a plan for each reduced set and evaluates it on
all events. Plans and recourse are linear relaxations, solved to the gap; with ``--integer`` plans have their integers,
are made with linear recourse, and are evaluated with linear recourse and with the integers of the recourse. Then
`drofcm.validate.pilots.reduce_by_cost`, which keeps all integers and is what ``drofcm scenarios --reduce`` does, is one
of the ways; ``--brief`` sets it against random subsets and distance by data only. What is shown is how much more a plan
costs on all events than the plan that was made for all of them, as a share of (do nothing - plan for all), and its
ratio to the mean loss of random subsets of the same size in the same run.
"""

from __future__ import annotations

import argparse
import os
import resource
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from decomposition import instance, relaxed

import drofcm as dro
from drofcm.blocks.form import TwoStageBlocks
from drofcm.problems import demand_shock
from drofcm.risk.measures import RiskMeasure
from drofcm.risk.weights import worst_case_weights
from drofcm.scenarios.reduce import METHODS, redistribute
from drofcm.solve.execution import Executor, executor
from drofcm.solve.method import solve_blocks
from drofcm.solve.subproblem import Request
from drofcm.validate.pilots import reduce_by_cost

COMMAND = "as drofcm scenarios --reduce"


# ---- speed ----------------------------------------------------------------------------------------------------------


def speed(arguments: argparse.Namespace) -> None:
    """Seconds and memory of a large reduction by each method."""
    count, width, keep = arguments.scenarios or 10_000, 500, arguments.keep or 200
    rng = np.random.default_rng(arguments.seed)
    spread = rng.lognormal(0, 0.7, (count, 1))
    values = (rng.standard_normal((count, 20)) @ rng.standard_normal((20, width))) * spread
    data = xr.Dataset({"shock": (("scenario", "entry"), values)}, coords={"scenario": np.arange(count)})
    data = data.assign_coords(event_class=("scenario", np.arange(count) % 4))
    print(f"{count:,} scenarios of {width} numbers to {keep}; {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    for classes in (None, "event_class"):
        for method in METHODS:
            began = time.perf_counter()
            reduction = dro.reduce_scenarios(data, keep, method=method, classes=classes, workers=arguments.workers)
            seconds = time.perf_counter() - began
            own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
            beside = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20
            print(
                f"{method:>10}{', four classes apart' if classes else '':20} {seconds:6.1f} s, peak so far {own:.2f} "
                f"GiB and {beside:.2f} GiB in a process beside it; distance {reduction.relative_distance:.1%}",
                flush=True,
            )


# ---- decision -------------------------------------------------------------------------------------------------------


def linear_plan(blocks: TwoStageBlocks) -> TwoStageBlocks:
    """The same with a continuous first stage."""
    first = replace(blocks.first_stage, integer=np.zeros_like(blocks.first_stage.integer))
    return replace(blocks, first_stage=first)


def some(blocks: TwoStageBlocks, probability: xr.DataArray) -> TwoStageBlocks:
    """Only the scenarios that ``probability`` names; nothing of the recourse is labelled."""
    places = blocks.probability.indexes["scenario"].get_indexer(probability.indexes["scenario"])
    return replace(
        blocks,
        scenarios=tuple(blocks.scenarios[place] for place in places),
        probability=probability,
        variables={name: blocks.variables[name] for name in blocks.first_stage_names},
        terms={},
    )


class Events:
    """All events, and what plans cost on them."""

    def __init__(self, blocks: TwoStageBlocks, risk: RiskMeasure, ask: Executor, exact: bool = False) -> None:
        self.blocks, self.risk, self._ask, self._exact = blocks, risk, ask, exact

    def recourse_cost(self, x: np.ndarray) -> xr.DataArray:
        request = Request(x, relaxed=not self._exact, report=self._exact)
        answers = self._ask.ask(dict.fromkeys(range(len(self.blocks.scenarios)), request))
        costs = [own.upper if self._exact else own.relaxed for _, own in sorted(answers.items())]
        return self.blocks.probability.copy(data=costs)

    def cost(self, x: np.ndarray) -> float:
        own = self.recourse_cost(x)
        weights = worst_case_weights(self.risk, dro.Nominal(), own, self.blocks.probability)
        first = self.blocks.first_stage
        return float(first.cost @ x + first.constant + (weights * own).sum())

    def plan(self, probability: xr.DataArray, gap: float, limit: float) -> tuple[np.ndarray, str]:
        """The best plan for some of the events."""
        blocks = some(self.blocks, probability)
        few = len(blocks.scenarios) < (20 if blocks.first_stage.integer.any() else 100)
        method = "extensive" if few else "lshaped"
        # to do nothing is a plan of this study: a search that is stopped early has something to show
        nothing = blocks.labelled_first_stage(np.zeros_like(blocks.first_stage.cost))
        result = solve_blocks(
            blocks,
            self.risk,
            method=method,
            gap=gap,
            time_limit=limit,
            start=nothing if blocks.first_stage.integer.any() else None,
            **({} if few else {"workers": 1}),
        )
        if result.gap > gap:
            print(f"a plan stands at a gap of {result.gap:.2%}", flush=True)
        return blocks.first_stage_columns(result.first_stage), f"{result.status}, gap {result.gap:.2%}"


Choice = Callable[[int], xr.DataArray]


def choices(
    events: Events, program: dro.TwoStageProgram, data: xr.Dataset, keep: int, arguments: argparse.Namespace
) -> Iterator[tuple[str, Choice, int]]:
    """Name, probabilities of the kept events by repetition, repetitions."""
    over, risk = "shock energised", events.risk
    labels, own = data.indexes["scenario"], data["event_class"].values
    nothing = np.zeros(len(events.blocks.first_stage.cost))

    def random(number: int) -> xr.DataArray:
        rng = np.random.default_rng([arguments.seed or 0, number])
        kept = np.sort(rng.choice(len(labels), keep, replace=False))
        return xr.DataArray(np.full(keep, 1 / keep), coords={"scenario": labels[kept]}, dims="scenario")

    def random_by_class(number: int) -> xr.DataArray:
        rng = np.random.default_rng([arguments.seed or 0, number])
        weight, kept = [], []
        for name in np.unique(own):
            members = np.flatnonzero(own == name)
            count = max(1, round(keep * len(members) / len(labels)))
            kept += list(rng.choice(members, count, replace=False))
            weight += [len(members) / len(labels) / count] * count
        order = np.argsort(kept)
        places = np.array(kept)[order]
        return xr.DataArray(np.array(weight)[order], coords={"scenario": labels[places]}, dims="scenario")

    def reduced(**settings: Any) -> Choice:
        return lambda number: dro.reduce_scenarios(data, keep, **settings).data["probability"]

    repeats = arguments.repeats
    yield "random", random, repeats
    if not arguments.brief:
        yield "forward", reduced(over=over), 1
        yield "forward, classes", reduced(over=over, classes="event_class"), 1
    yield "forward, classes and tails", reduced(over=over, classes="event_class", tail=0.1), 1
    yield "random by class", random_by_class, repeats
    yield (
        COMMAND,
        lambda number: reduce_by_cost(
            program,
            keep,
            rng=np.random.default_rng([arguments.seed or 0, 2000]),
            risk=risk,
            classes="event_class",
            time_limit=arguments.limit,
            workers=arguments.workers,
            progress=print,
        ).data["probability"],
        1,
    )
    if arguments.brief:
        return
    began = time.perf_counter()
    idle = events.recourse_cost(nothing)
    print(f"cost of doing nothing: {time.perf_counter() - began:.1f} s")
    yield "forward, classes, tails by cost", reduced(over=over, classes="event_class", tail=0.1, severity=idle), 1
    yield (
        "forward, classes, risk by cost",
        reduced(over=over, classes="event_class", severity=idle, risk=risk),
        1,
    )
    yield (
        "forward, classes, tails, risk by cost",
        reduced(over=over, classes="event_class", tail=0.1, severity=idle, risk=risk),
        1,
    )
    began = time.perf_counter()
    pilots = [nothing, *(events.plan(random(1000 + n)[:10].pipe(lambda p: p / p.sum()), 1e-2, 30)[0] for n in range(4))]
    costs = xr.concat([events.recourse_cost(x) for x in pilots], dim=pd.Index(range(len(pilots)), name="plan"))
    data = data.assign(plan_cost=costs.transpose("scenario", "plan"))
    print(f"costs at {len(pilots)} pilot plans: {time.perf_counter() - began:.1f} s")
    mean = costs.mean("plan")
    yield "forward on plan costs", reduced(over="plan_cost", scale="none"), 1
    yield "forward on plan costs, classes", reduced(over="plan_cost", scale="none", classes="event_class"), 1
    yield "forward on plan costs, risk", reduced(over="plan_cost", scale="none", severity=mean, risk=risk), 1
    yield (
        "forward on plan costs, classes, risk",
        reduced(over="plan_cost", scale="none", classes="event_class", severity=mean, risk=risk),
        1,
    )
    yield (
        "forward on data and plan costs, classes, risk",
        reduced(over=f"{over} plan_cost", classes="event_class", severity=mean, risk=risk),
        1,
    )
    yield "backward", reduced(over=over, method="backward"), 1
    yield "k-medoids", reduced(over=over, method="k-medoids"), 1
    yield (
        "random, redistributed",
        lambda n: redistribute(data, random(n)["scenario"].values, over=over).data["probability"],
        repeats,
    )


def decision(arguments: argparse.Namespace) -> None:
    """What plans made for few events cost on all of them."""
    count, keep = arguments.scenarios or 400, arguments.keep or 40
    data, risk = instance(count, arguments.seed)
    began = time.perf_counter()
    program = demand_shock.program(data)
    whole = program.blocks()
    whole = whole if arguments.integer else linear_plan(whole)
    linear = relaxed(whole)
    print(f"{count} events to {keep}; assembled in {time.perf_counter() - began:.0f} s; {os.cpu_count()} cores")
    with executor(linear, workers=arguments.workers) as ask, executor(whole, workers=arguments.workers) as ask_exact:
        events = Events(linear, risk, ask)
        scales = [events, *([Events(whole, risk, ask_exact, exact=True)] if arguments.integer else [])]
        began = time.perf_counter()
        best, said = events.plan(linear.probability, arguments.gap, arguments.limit and 4 * arguments.limit)
        print(f"plan for all events: {time.perf_counter() - began:.0f} s, {said}")
        nothing = np.zeros_like(best)
        base = [own.cost(best) for own in scales]
        room = [own.cost(nothing) - cost for own, cost in zip(scales, base, strict=True)]
        print("cost, doing nothing less: " + ", ".join(f"{b:,.0f}, {r:,.0f}" for b, r in zip(base, room, strict=True)))
        print(
            f"{'loss on all events, share of the benefit':45}"
            + "linear mean  (worst)   of random"
            + " | exact" * arguments.integer
        )
        reference: list[float] = []
        for name, choose, repeats in choices(events, program, data, keep, arguments):
            if name == COMMAND and not arguments.integer:
                continue
            shares = []
            for number in range(repeats):
                x, _ = events.plan(choose(number), arguments.gap, arguments.limit)
                shares.append([(own.cost(x) - b) / r for own, b, r in zip(scales, base, room, strict=True)])
            mean, worst = np.mean(shares, axis=0), np.max(shares, axis=0)
            reference = reference or mean.tolist()
            columns = (f"{m:9.2%} ({w:7.2%}) {m / ref:9.2f}" for m, w, ref in zip(mean, worst, reference, strict=True))
            print(f"{name:45}" + " | ".join(columns), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["speed", "decision"])
    parser.add_argument("--scenarios", type=int, default=None, help="10,000 for speed, 400 for decision")
    parser.add_argument("--keep", type=int, default=None, help="200 for speed, 40 for decision")
    parser.add_argument("--repeats", type=int, default=8, help="random subsets")
    parser.add_argument("--gap", type=float, default=1e-3, help="at which each plan is taken")
    parser.add_argument("--limit", type=float, default=None, help="seconds for each plan, four times as many for all")
    parser.add_argument("--integer", action="store_true", help="plans with integers, evaluated with all integers too")
    parser.add_argument("--brief", action="store_true", help="by data, random, and what the command does by itself")
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--workers", type=int, default=None)
    arguments = parser.parse_args()
    sys.stdout.reconfigure(line_buffering=True)
    {"speed": speed, "decision": decision}[arguments.what](arguments)


if __name__ == "__main__":
    main()
