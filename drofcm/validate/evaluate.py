"""What a given plan costs: on the scenarios it was made for, or on fresh ones that it has never seen."""

from __future__ import annotations

from typing import Any

import xarray as xr

from drofcm.blocks.form import TwoStageBlocks
from drofcm.core.dims import SCENARIO
from drofcm.dsl.program import TwoStageProgram
from drofcm.risk.ambiguity import AmbiguitySet
from drofcm.risk.measures import RiskMeasure
from drofcm.solve.method import evaluate_blocks
from drofcm.solve.result import Result

__all__ = ["evaluate"]

_FEW = 64
"""Scenarios up to which starting processes takes longer than what they save."""


def evaluate(
    problem: TwoStageProgram | TwoStageBlocks,
    plan: xr.Dataset | Result,
    *,
    data: xr.Dataset | None = None,
    risk: RiskMeasure | None = None,
    ambiguity: AmbiguitySet | None = None,
    client: Any = None,
    workers: int | None = None,
    preferred: bool | None = None,
) -> Result:
    """Hold a plan fixed and solve the recourse of every scenario, integers included.

    Parameters
    ----------
    problem
        A program of the language, or matrices such as `drofcm.read_smps` returns.
    plan
        Every variable of the first stage, labelled as declared; or the result that holds it.
    data
        Fresh scenarios for a program: the same declaration is used on them. Its own data if left out.
    risk, ambiguity
        What ``objective`` judges the recourse cost by: the expectation over the nominal probabilities if left out.
    client
        A `dask.distributed.Client` on which scenarios are assembled and solved; drofcm starts none.
    workers
        Local processes without a client; 1 stays in this process. None takes as many as there are cores if there are
        more than a few scenarios.
    preferred
        Whether the recourse is the one that the program's `drofcm.TwoStageProgram.preference` wants among those of the
        same cost. Left out, it is on the program's own scenarios, and not on fresh ``data``, of which costs are wanted.

    Returns
    -------
    Result
        Of status ``"evaluated"``: ``cost`` and ``recourse_cost`` (scenario), ``mean``, ``cvar(alpha)``, the recorded
        ``terms`` and the ``recourse``, all labelled.

    Raises
    ------
    ModelError
        If the plan's variables or labels do not match the program.
    InfeasibleError
        If the plan breaks a row, a bound or the integrality of the first stage, or a scenario has no recourse at it.
    TypeError
        If ``data`` are given for matrices, which hold no declaration.

    Examples
    --------
    >>> import drofcm as dro
    >>> import xarray as xr
    >>> data = xr.Dataset({"demand": ("scenario", [40.0, 60.0])}, coords={"scenario": [0, 1]})
    >>> program = dro.TwoStageProgram(data)
    >>> @program.first_stage
    ... def order(m, data):
    ...     return 3 * m.nonnegative("ordered")
    >>> @program.recourse
    ... def sell(m, data):
    ...     sold = m.nonnegative("sold", upper=data.demand)
    ...     m.subject_to("in_stock", sold <= m["ordered"])
    ...     return -5 * sold
    >>> fresh = xr.Dataset({"demand": ("scenario", [30.0, 50.0])}, coords={"scenario": [0, 1]})
    >>> tried = dro.evaluate(program, xr.Dataset({"ordered": 40.0}), data=fresh)
    >>> tried.cost.values.round(6).tolist(), round(tried.mean, 6), round(tried.cvar(0.5), 6)
    ([-30.0, -80.0], -55.0, -30.0)
    """
    first_stage = plan.first_stage if isinstance(plan, Result) else plan
    if isinstance(problem, TwoStageProgram):
        program = problem if data is None else problem.on(data)
        count = program.data.sizes[SCENARIO]
        return program.evaluate(
            first_stage,
            risk,
            ambiguity,
            client=client,
            workers=_processes(workers, count),
            preferred=data is None if preferred is None else preferred,
        )
    if data is not None:
        raise TypeError("matrices hold no declaration that could be used on other data: give a TwoStageProgram")
    count = len(problem.scenarios)
    return evaluate_blocks(problem, first_stage, risk, ambiguity, client=client, workers=_processes(workers, count))


def _processes(workers: int | None, scenarios: int) -> int | None:
    return 1 if workers is None and scenarios <= _FEW else workers
