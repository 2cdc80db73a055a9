"""What scenarios cost at a few pilot plans, and the reduction that measures distance between scenarios by it.

Two scenarios that look alike may need different plans, and two that look different may cost the same whatever is
planned. Recourse costs at plans that are near what could be decided tell them apart in the unit that is minimised
(Keutchayan, Ortmann and Rei 2023; Bertsimas and Mundru 2023; see `drofcm.scenarios.reduce`).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any, Final

import numpy as np
import pandas as pd
import xarray as xr

from drofcm.blocks.form import TwoStageBlocks
from drofcm.core.dims import SCENARIO
from drofcm.core.errors import Finding, InfeasibleError, InputError, raise_if_any
from drofcm.dsl.program import TwoStageProgram
from drofcm.risk.measures import RiskMeasure
from drofcm.scenarios.reduce import Reduction, reduce_scenarios
from drofcm.scenarios.reduce_check import Labelled, budgets, check_arguments, ensemble_of, strata_of
from drofcm.solve.recourse import check_first_stage
from drofcm.validate.evaluate import evaluate

__all__ = ["NOTHING", "PLAN", "pilot_plans", "plan_costs", "reduce_by_cost"]

PLAN: Final = "plan"
NOTHING: Final = "nothing"
_COST: Final = "plan_cost"


def pilot_plans(
    program: TwoStageProgram,
    rng: np.random.Generator,
    *,
    count: int = 4,
    scenarios: int = 10,
    risk: RiskMeasure | None = None,
    gap: float = 1e-2,
    time_limit: float | None = None,
    client: Any = None,
    workers: int | None = 1,
    progress: Callable[[str], None] | None = None,
) -> xr.Dataset:
    """A few plans that are easily had: to do nothing, where that is a plan, and the best for small random draws.

    Parameters
    ----------
    program
        The program.
    rng
        Source of randomness: which scenarios are drawn. Those of probability zero are not.
    count
        Draws; 0 leaves doing nothing alone.
    scenarios
        Scenarios in a draw, all equally likely to be drawn and none twice; within it they keep the ratios of their
        probabilities. All there are if there are no more.
    risk
        Risk measure of the recourse cost; the expectation if left out.
    gap, time_limit
        Of each search. One that stops at its time limit depends on the machine: ``attrs`` says so.
    client, workers
        As `TwoStageProgram.solve`.
    progress
        Hears what is done next.

    Returns
    -------
    xarray.Dataset
        Every variable of the first stage by ``plan``: ``"nothing"``, ``"draw 1"``, ...; a plan that was found before
        is not repeated. ``attrs["pilots"]`` (JSON) lists every draw: its scenarios, status and gap.

    Raises
    ------
    InputError
        If numbers make no sense, or there is no pilot plan at all.
    ModelError, InfeasibleError, SolveError
        As `TwoStageProgram.solve`.
    """
    tell = progress or (lambda _: None)
    raise_if_any(_check_numbers(program, count, scenarios))
    blocks = program.blocks(client)
    raise_if_any(_check_names(blocks))
    probability = program.probability
    possible = np.flatnonzero(probability.values > 0)
    nothing = _nothing(blocks)
    plans: dict[str, xr.Dataset] = {} if nothing is None else {NOTHING: nothing}
    facts: list[dict[str, Any]] = []
    for number in range(1, count + 1):
        tell(f"searching pilot plan {number} of {count}")
        places = np.sort(rng.choice(possible, min(scenarios, len(possible)), replace=False))
        drawn = program.select(probability.indexes[SCENARIO][places].tolist())
        found = drawn.solve(
            risk, gap=gap, time_limit=time_limit, start=nothing, workers=workers, client=client, preferred=False
        )
        facts.append({"draw": number, "scenarios": places.tolist(), "status": found.status, "gap": found.gap})
        if not any(_same(found.first_stage, other) for other in plans.values()):
            plans[f"draw {number}"] = found.first_stage
    if not plans:
        raise_if_any([Finding("count=0", "to do nothing is no plan of this program", "draw one pilot plan at least")])
    joined = xr.concat(list(plans.values()), dim=pd.Index(list(plans), name=PLAN), join="exact")
    return joined.assign_attrs(pilots=json.dumps(facts))


def plan_costs(
    program: TwoStageProgram,
    plans: xr.Dataset,
    *,
    client: Any = None,
    workers: int | None = None,
    progress: Callable[[str], None] | None = None,
) -> xr.DataArray:
    """The recourse cost of every scenario at every plan, with the integers of the recourse.

    Parameters
    ----------
    program
        The program.
    plans
        Every variable of the first stage, by ``plan``.
    client, workers
        As `drofcm.evaluate`.
    progress
        Hears what is done next.

    Returns
    -------
    xarray.DataArray
        ``plan_cost`` (scenario, plan), in the unit of the objective.

    Raises
    ------
    InputError
        If there is no ``plan``, or scenarios have no recourse at some of the plans: naming all of these plans.
    ModelError
        If a plan does not match the program.
    """
    names = plans.indexes.get(PLAN)
    if names is None or not len(names):
        raise_if_any([Finding("plans", f"no labelled dimension {PLAN!r}", "concatenate plans along it")])
    assert names is not None
    tell = progress or (lambda _: None)
    costs, findings = [], []
    for place, name in enumerate(names):
        tell(f"evaluating pilot plan {place + 1} of {len(names)} on {program.data.sizes[SCENARIO]} scenarios")
        plan = plans.isel({PLAN: place}, drop=True)
        try:
            tried = evaluate(program, plan, client=client, workers=workers, preferred=False)
            costs.append(tried.recourse_cost)
        except InfeasibleError as error:
            said = str(error).splitlines()[0]
            findings.append(Finding(f"plans, plan={name!r}", f"has no cost: {said}", "leave it out: plans.drop_sel"))
    if findings:
        raise InputError(findings)
    return xr.concat(costs, dim=names, join="exact").transpose(SCENARIO, PLAN).rename(_COST).assign_attrs({})


def reduce_by_cost(
    program: TwoStageProgram,
    count: int | Mapping[str, int],
    *,
    rng: np.random.Generator,
    data: xr.Dataset | None = None,
    risk: RiskMeasure | None = None,
    pilots: int = 4,
    draw: int = 10,
    gap: float = 1e-2,
    time_limit: float | None = None,
    classes: Labelled | None = None,
    client: Any = None,
    workers: int | None = None,
    progress: Callable[[str], None] | None = None,
    **settings: Any,
) -> Reduction:
    """Keep few scenarios of many, by distance in recourse costs at `pilot_plans`, for a program and its risk measure.

    Parameters
    ----------
    program
        What the scenarios are for.
    count
        How many to keep, or how many of each class.
    rng
        Source of randomness of the pilot plans.
    data
        What is to be reduced, over the scenarios of the program and with its probabilities: what its data were
        computed from, for example. The data of the program if left out.
    risk
        The risk measure that plans are made under; scenarios count in the choice by their weight in the risk of the
        mean of their costs. The expectation if left out.
    pilots, draw, gap, time_limit
        ``count`` and ``scenarios`` of `pilot_plans`, and the gap and the limit of its searches.
    classes, **settings
        Classes that keep their probability, and other settings of `drofcm.reduce_scenarios`. ``severity`` is the mean
        of the costs if left out.
    client, workers
        Where plans are evaluated, as `drofcm.evaluate`.
    progress
        Hears what is done next.

    Returns
    -------
    Reduction
        Distances are in the unit of the objective, summed over the plans. ``recipe["pilots"]`` says which plans there
        were, from which draws, and the status and gap of each search.

    Raises
    ------
    InputError
        As `pilot_plans`, `plan_costs` and `drofcm.reduce_scenarios`; or if ``data`` have other scenarios or
        probabilities than the program.
    """
    data = program.data if data is None else data
    raise_if_any(_check_alike(program, data, settings))
    known = _over_scenario(data, program.probability)
    _check_before_solving(known, count, classes, settings)
    program.blocks(client)
    plans = pilot_plans(
        program, rng, count=pilots, scenarios=draw, risk=risk, gap=gap, time_limit=time_limit, progress=progress
    )
    costs = plan_costs(program, plans, client=client, workers=workers, progress=progress)
    settings = {"severity": costs.mean(PLAN).rename("mean plan_cost"), "scale": "none", **settings}
    found = reduce_scenarios(known.assign({_COST: costs}), count, over=_COST, classes=classes, risk=risk, **settings)
    facts = {
        "plans": [str(name) for name in plans[PLAN].values],
        "draws": json.loads(plans.attrs["pilots"]),
        "risk": "expectation" if risk is None else str(risk),
        "gap": gap,
        "time_limit": time_limit,
    }
    recipe = {**found.recipe, "by": "costs", "pilots": facts}
    kept = found.data["probability"]
    reduced = data.sel({SCENARIO: kept[SCENARIO].values})
    reduced = reduced.assign(probability=(SCENARIO, kept.values, data.get("probability", kept).attrs))
    return replace(found, data=reduced.assign_attrs(reduction=json.dumps(recipe)), recipe=recipe)


def _nothing(blocks: TwoStageBlocks) -> xr.Dataset | None:
    """Zero in every variable of the first stage, where its bounds and rows allow that."""
    x = np.zeros(len(blocks.first_stage.cost))
    try:
        check_first_stage(blocks, x)
    except InfeasibleError:
        return None
    return blocks.labelled_first_stage(x)


def _same(one: xr.Dataset, other: xr.Dataset) -> bool:
    return all(bool(np.allclose(one[name], other[name].reindex_like(one[name]), atol=1e-6)) for name in one)


def _over_scenario(data: xr.Dataset, probability: xr.DataArray) -> xr.Dataset:
    """Probability, and what else is over (scenario) only: a class may be among it."""
    known = data.drop_dims([dim for dim in data.dims if dim != SCENARIO])
    return known.drop_vars([PLAN, _COST], errors="ignore").assign(probability=probability)


def _check_numbers(program: TwoStageProgram, count: int, scenarios: int) -> Iterator[Finding]:
    if count < 0:
        yield Finding(f"count={count!r}", "must be at least 0", "4 pilot plans are usual")
    if scenarios < 1:
        yield Finding(f"scenarios={scenarios!r}", "must be at least 1", "10 scenarios a draw are usual")


def _check_names(blocks: TwoStageBlocks) -> Iterator[Finding]:
    for name in blocks.first_stage_names:
        if name == PLAN or PLAN in blocks.variables[name].dims:
            yield Finding(f"variable {name!r}", f"{PLAN!r} is what plans are told apart by", "rename it in the program")


def _check_before_solving(
    known: xr.Dataset, count: int | Mapping[str, int], classes: Labelled | None, settings: Mapping[str, Any]
) -> None:
    """Refuse what the reduction would refuse after an hour of solving."""
    tail = settings.get("tail", 0.0)
    raise_if_any(check_arguments(settings.get("method", "forward"), tail, settings.get("order", 1.0), 0.0))
    ensemble = ensemble_of(known, classes, settings.get("severity"))
    budgets(ensemble, strata_of(ensemble, np.arange(known.sizes[SCENARIO], dtype=float), tail), count)


def _check_alike(program: TwoStageProgram, data: xr.Dataset, settings: Mapping[str, Any]) -> Iterator[Finding]:
    own = program.data.indexes[SCENARIO]
    if not own.equals(data.indexes.get(SCENARIO)):
        yield Finding("data", "has other scenarios than the program", "give what the program's data were made from")
    elif "probability" in data and not np.allclose(data["probability"], program.probability, rtol=1e-9, atol=0):
        yield Finding("data['probability']", "is not that of the program", "reduce the data the program was made from")
    if "over" in settings:
        yield Finding("over", "distance is measured by the costs at pilot plans", "use drofcm.reduce_scenarios for it")
