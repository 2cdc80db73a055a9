"""A small SMPS program as text, and what tests of its reader share.

The first stage is BUILD, LAND with row CAP; the recourse is BUY, KEEP with rows NEED, BAL.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.testing as npt
import pytest
import scipy.sparse as sp

from drofcm.blocks.form import Scenario, TwoStageBlocks
from drofcm.blocks.smps import read_smps
from drofcm.core.errors import Finding, InputError
from drofcm.solve.highs import MatrixProblem

CORE = """\
NAME          TOY
* a comment
ROWS
 N  COST
 L  CAP
 G  NEED
 E  BAL
COLUMNS
    BUILD     COST      3.0            CAP       1.0
    BUILD     NEED      2.0
    LAND      COST      -1.0           CAP       4.0
    BUY       COST      5.0            NEED      1.0
    BUY       BAL       1.0
    KEEP      COST      1.0            BAL       -1.0
RHS
    RHS       CAP       10.0           NEED      4.0
    RHS       BAL       1.5
ENDATA
"""
TIME = """\
TIME          TOY
PERIODS
    BUILD     CAP                      NOW
    BUY       NEED                     LATER
ENDATA
"""
INDEP = """\
STOCH         TOY
INDEP         DISCRETE
    RHS       NEED      4.0            LATER     0.25
    RHS       NEED      6.0            LATER     0.75
    BUY       COST      5.0            LATER     0.5
    BUY       COST      7.0            LATER     0.5
ENDATA
"""
BLOCKS = """\
STOCH         TOY
BLOCKS        DISCRETE
 BL ONE       LATER     0.25
    RHS       NEED      8.0            BAL       2.0
    BUILD     NEED      1.0
 BL ONE       LATER     0.75
    RHS       NEED      9.0
ENDATA
"""
SCENARIOS = """\
STOCH         TOY
SCENARIOS     DISCRETE
 SC A         'ROOT'    0.5            LATER
    RHS       NEED      8.0
    BUY       COST      6.0            BAL       2.0
 SC B         A         0.25           LATER
    RHS       BAL       3.0
 SC C         ROOT      0.25           LATER
ENDATA
"""


def write(folder: Path, core: str = CORE, time: str = TIME, stochastic: str = INDEP) -> Path:
    for suffix, text in ((".cor", core), (".tim", time), (".sto", stochastic)):
        (folder / f"toy{suffix}").write_text(text, encoding="utf-8")
    return folder / "toy"


def with_section(section: str, records: str) -> str:
    return CORE.replace("ENDATA", f"{section}\n{records}ENDATA")


def refused(stem: Path, **options: Any) -> tuple[Finding, ...]:
    with pytest.raises(InputError) as caught:
        read_smps(stem, **options)
    return caught.value.findings


def line_of(text: str, fragment: str, nth: int = 1) -> int:
    numbers = [number for number, line in enumerate(text.split("\n"), start=1) if fragment in line]
    return numbers[nth - 1]


def notes(blocks: TwoStageBlocks) -> str:
    return str(blocks.probability.attrs["notes"])


def extensive(blocks: TwoStageBlocks) -> MatrixProblem:
    """The problem of the expected cost, written down without any code of the package."""
    first, scenarios, weights = blocks.first_stage, blocks.scenarios, blocks.probability.values
    pairs = list(zip(weights, scenarios, strict=True))
    own = np.concatenate([weight * scenario.cost for weight, scenario in pairs])
    x_cost = first.cost + sum(weight * scenario.first_stage_cost for weight, scenario in pairs)
    padding = sp.csr_array((first.rows.shape[0], len(own)))
    linking = sp.vstack([scenario.technology for scenario in scenarios])
    rows = sp.vstack(
        [
            sp.hstack([first.rows, padding]),
            sp.hstack([linking, sp.block_diag([scenario.recourse for scenario in scenarios])]),
        ]
    )

    def all_of(name: str) -> np.ndarray:
        return np.concatenate([getattr(part, name) for part in (first, *scenarios)])

    return MatrixProblem(
        cost=np.concatenate([x_cost, own]),
        constant=first.constant + sum(weight * scenario.constant for weight, scenario in pairs),
        rows=sp.csr_array(rows),
        row_lower=all_of("row_lower"),
        row_upper=all_of("row_upper"),
        lower=all_of("lower"),
        upper=all_of("upper"),
        integer=all_of("integer"),
    )


def extensive_bytes(blocks: TwoStageBlocks) -> tuple[bytes, ...]:
    problem = extensive(blocks)
    return tuple(
        (part.toarray() if sp.issparse(part) else np.asarray(part)).tobytes() for part in vars(problem).values()
    )


def assert_scenario(actual: Scenario, **expected: Any) -> None:
    for name, value in expected.items():
        got = getattr(actual, name)
        npt.assert_array_equal(got.toarray() if sp.issparse(got) else got, value, err_msg=name)
