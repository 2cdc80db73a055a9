"""Fewer events for a study: near in what they cost at pilot plans of it, or near in their data."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, Literal

import xarray as xr

from drofcm.core.randomness import stream
from drofcm.problems import demand_shock
from drofcm.scenarios.reduce import Reduction
from drofcm.study.assemble import Assembly
from drofcm.study.risk import risk_measure
from drofcm.validate.pilots import reduce_by_cost

__all__ = ["DATA_TAIL", "By", "reduce_for_plan"]

By = Literal["costs", "data"]
"""What distance between events is measured by."""

DATA_TAIL: Final = 0.1
"""Share of each class whose worst events are kept apart by data; costs and the risk measure look after them without."""

_GAP = 1e-2
"""A pilot plan need not be better proven than this."""


def reduce_for_plan(
    assembly: Assembly,
    count: int,
    *,
    data: xr.Dataset | None = None,
    pilots: int = 4,
    gap: float | None = None,
    time_limit: float | None = None,
    client: Any = None,
    progress: Callable[[str], None] | None = None,
    settings: Mapping[str, Any] | None = None,
) -> Reduction:
    """Keep the events that a plan of the study needs: distance is that of their costs at pilot plans.

    Parameters
    ----------
    assembly
        The study with its data.
    count
        Events to keep; every class keeps its probability.
    data
        What is reduced, over the same scenarios: the events, or the data of the study if left out.
    pilots
        Pilot plans, each for ten events drawn with a stream of the study's seed; to do nothing is one besides, where
        a plan may. Searches take the risk measure of the study.
    gap, time_limit
        Of each search, in place of the study's; a gap below 1 % is not asked of it.
    client
        A `dask.distributed.Client` that evaluates pilot plans.
    progress
        Hears what is done next.
    settings
        Settings of `drofcm.reduce_scenarios` in place of keeping classes, without tails.
    """
    study = assembly.study
    return reduce_by_cost(
        demand_shock.program(assembly.data),
        count,
        rng=stream(study.seed, "pilots"),
        data=assembly.data if data is None else data,
        risk=risk_measure(study),
        pilots=pilots,
        gap=max(_GAP, study.solver.mip_gap if gap is None else gap),
        time_limit=study.solver.time_limit_s if time_limit is None else time_limit,
        client=client,
        progress=progress,
        **{"classes": "event_class", **(settings or {})},
    )
