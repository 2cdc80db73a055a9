"""What it would be worth to know the event before the plan is made, found where that is cheap beside the search."""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import Any, Final

import loky

from drofcm.core.dims import SCENARIO
from drofcm.core.errors import DrofcmError
from drofcm.dsl.program import TwoStageProgram
from drofcm.risk.ambiguity import AmbiguitySet
from drofcm.risk.measures import RiskMeasure
from drofcm.solve.result import Result
from drofcm.validate.information import Foresight, expected_value_of_perfect_information

__all__ = ["SHARE", "foresight", "foresight_from", "plain"]

SHARE: Final = 0.1
"""Of the time of the search, that the searches for one scenario each may take together."""
_ALWAYS: Final = 5.0
"""Seconds they may take anyway."""
_LEAST: Final = 0.1
"""Seconds of a scenario below which its bounds say nothing."""
_ONE_PROCESS: Final = 10.0
"""Seconds of searches up to which starting processes takes longer than what they save."""


def foresight(
    program: TwoStageProgram, plan: Result, risk: RiskMeasure, ambiguity: AmbiguitySet, gap: float, client: Any = None
) -> Foresight:
    """The value of perfect information, from one short search a scenario, or why it is left out.

    Searches that are stopped count with their bounds: the interval is valid and wider.

    Parameters
    ----------
    program, risk, ambiguity
        What the plan was made for.
    plan
        The plan with its bounds.
    gap
        Relative gap of each search.
    client
        A `dask.distributed.Client` on which they run.
    """
    if plan.status == "interrupted":
        return Foresight(left_out="the search was interrupted")
    searched = float(plan.provenance.get("seconds", 0.0))
    together = max(SHARE * searched, _ALWAYS)
    workers = 1 if together <= _ONE_PROCESS else loky.cpu_count()
    count = int(program.data.sizes[SCENARIO])
    each = together * workers / count
    if each < _LEAST:
        what = (
            f"{SHARE:.0%} of the time of the search ({searched:.0f} s) is {each:.2g} s for each of {count:,} scenarios"
        )
        return Foresight(left_out=f"{what}, too little to tell")
    began = time.perf_counter()
    try:
        found = expected_value_of_perfect_information(
            program,
            risk=risk,
            ambiguity=ambiguity,
            solution=plan,
            gap=gap,
            seconds=together,
            client=client,
            workers=workers,
        )
    except DrofcmError as error:
        return Foresight(left_out=f"the search failed: {error}")
    return Foresight(found.lower, found.upper, time.perf_counter() - began)


def plain(found: Foresight) -> dict[str, Any]:
    """As it stands in the provenance of a run."""
    return asdict(found)


def foresight_from(facts: Any) -> Foresight | None:
    """Read back what `plain` wrote; None if a run has none."""
    return None if facts is None else Foresight(**facts)
