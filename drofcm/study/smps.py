"""A problem in SMPS format from its files to its answer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from drofcm.blocks.dro import read_dro
from drofcm.blocks.smps import read_smps
from drofcm.risk.ambiguity import AmbiguitySet, Nominal
from drofcm.risk.measures import CVaR, Expectation
from drofcm.solve.checkpoint import expect
from drofcm.solve.method import solve_blocks
from drofcm.solve.result import Result

__all__ = ["solve_smps"]


def solve_smps(
    file: Path,
    *,
    core: Path | None = None,
    time: Path | None = None,
    stochastic: Path | None = None,
    reading: Any = "standard",
    dro: Path | None = None,
    cvar: float = 0.0,
    alpha: float = 0.9,
    checkpoint: Path | None = None,
    resume: bool = False,
    **settings: Any,
) -> Result:
    """Read and solve a two-stage problem.

    Parameters
    ----------
    file
        Common stem of the files, or one of them.
    core, time, stochastic
        The .cor, .tim and .sto file, where its name differs.
    reading
        What a scenario changes; see `drofcm.read_smps`.
    dro
        A .dro file: nominal probabilities and the Wasserstein ball around them; see `drofcm.read_dro`.
    cvar, alpha
        Weight and confidence level of CVaR; the expectation has the rest of the weight.
    checkpoint
        File that keeps what the decomposition has learnt.
    resume
        Go on from the checkpoint; without, one that exists is refused.
    **settings
        As `drofcm.solve.method.solve_blocks`.

    Raises
    ------
    InputError
        With every fault of the files, or if the checkpoint does not fit.
    """
    expect(checkpoint, resume)
    blocks = read_smps(file, core=core, time=time, stochastic=stochastic, reading=reading)
    ambiguity: AmbiguitySet = Nominal()
    if dro is not None:
        blocks, ambiguity = read_dro(dro, blocks)
    risk = (1 - cvar) * Expectation() + cvar * CVaR(alpha)
    return solve_blocks(blocks, risk, ambiguity, checkpoint=checkpoint, **settings)
