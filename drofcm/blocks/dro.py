"""`.dro` files: the Wasserstein ball that stands beside the SMPS files of DSP's distributionally robust problems.

Source: Argonne-National-Laboratory/DSP, examples/dro. Line 1: radius. Line 2: number n of reference scenarios, the
first n of the stochastic file. Line 3: their n probabilities. Then for every scenario of the stochastic file its n
distances to the references. Numbers are separated by commas or blanks.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import xarray as xr

from drofcm.blocks.form import TwoStageBlocks
from drofcm.blocks.smps_records import MOST_BYTES
from drofcm.core.dims import SCENARIO
from drofcm.core.errors import Finding, InputError, quoted, raise_if_any
from drofcm.core.reading import number, read_text
from drofcm.risk.ambiguity import REFERENCE, Wasserstein

__all__ = ["read_dro"]

_ROUNDING = 1e-9
_MOST_FAULTS = 20


def read_dro(path: str | Path, blocks: TwoStageBlocks) -> tuple[TwoStageBlocks, Wasserstein]:
    """Read the Wasserstein ball of a distributionally robust problem.

    Parameters
    ----------
    path
        The file.
    blocks
        The program, as `read_smps` returns it; its scenarios are the support.

    Returns
    -------
    TwoStageBlocks, Wasserstein
        The program with the nominal probabilities of the file (zero for scenarios that are no reference), and the
        ball of order 1 with the distances of the file.

    Raises
    ------
    InputError
        With every fault found, each with file and line.
    """
    path = Path(path)
    lines = read_text(path, most=MOST_BYTES).split("\n")
    findings: list[Finding] = []
    rows = [
        (number, _numbers(f"{path}:{number}", line, findings))
        for number, line in enumerate(lines, start=1)
        if line.strip()
    ]
    raise_if_any(findings)
    count = len(blocks.scenarios)
    if len(rows) != 3 + count:
        what = f"has {len(rows)} lines of numbers, needed are 3 and one for each of the {count} scenarios"
        raise InputError([Finding(str(path), what, "give the .dro file that belongs to the stochastic file")])
    references = _head(path, rows, count, findings)
    for line, values in rows[3:]:
        if len(values) != references:
            what = f"holds {len(values)} distances, references are {references}"
            findings.append(Finding(f"{path}:{line}", what))
    raise_if_any(findings)
    index = blocks.probability.indexes[SCENARIO]
    probability = np.zeros(count)
    probability[:references] = rows[2][1]
    distance = xr.DataArray(
        np.array([values for _, values in rows[3:]]).T,
        coords={REFERENCE: index[:references].rename(REFERENCE), SCENARIO: index},
        dims=(REFERENCE, SCENARIO),
    )
    try:
        ball = Wasserstein(rows[0][1][0], distance=distance)
    except ValueError as error:
        raise InputError([Finding(str(path), str(error))]) from None
    return replace(blocks, probability=blocks.probability.copy(data=probability)), ball


def _head(path: Path, rows: list[tuple[int, list[float]]], count: int, findings: list[Finding]) -> int:
    """Check the first three lines; the number of references."""
    (first, radius), (second, size), (third, mass) = rows[:3]
    if len(radius) != 1:
        findings.append(Finding(f"{path}:{first}", f"the radius is one number, got {len(radius)}"))
    if len(size) != 1 or size[0] != int(size[0]) or not 1 <= size[0] <= count:
        what = f"the number of references is a whole number from 1 to {count}, got {_listed(size)}"
        findings.append(Finding(f"{path}:{second}", what))
        raise_if_any(findings)
    if len(mass) != size[0]:
        findings.append(Finding(f"{path}:{third}", f"holds {len(mass)} probabilities, references are {size[0]:g}"))
    elif min(mass) < 0 or abs(sum(mass) - 1) > _ROUNDING * len(mass):
        what = f"probabilities must be at least 0 and sum to 1, got {_listed(mass)}, sum {sum(mass):.10g}"
        findings.append(Finding(f"{path}:{third}", what))
    return int(size[0])


def _numbers(where: str, line: str, findings: list[Finding]) -> list[float]:
    numbers = []
    for word in line.replace(",", " ").split():
        value = number(word)
        if value is not None:
            numbers.append(value)
        elif len(findings) < _MOST_FAULTS:
            findings.append(Finding(where, f"{quoted(word)} is no number", "numbers, separated by commas"))
    return numbers


def _listed(values: list[float]) -> str:
    return ", ".join(f"{value:g}" for value in values[:5])
