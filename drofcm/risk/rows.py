"""Risk measures as rows over the costs of the scenarios: what a master problem holds.

    rho(theta) = min { cost.theta + auxiliary_cost.a : rows theta + auxiliary_rows a >= 0, a >= lower }

the matrix form of what `drofcm.risk.reformulate` writes into a linopy model. Where no finite description is known,
`worst_case_weights` gives one row at a time instead (risk-set cuts).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import singledispatch

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
import xarray as xr

from drofcm.risk.ambiguity import AmbiguitySet, Nominal
from drofcm.risk.measures import CVaR, Expectation, RiskMeasure, WorstCase, as_sum

__all__ = ["RiskRows", "risk_rows"]

Vector = npt.NDArray[np.float64]


@dataclass(frozen=True)
class RiskRows:
    """A risk measure over S scenarios with K auxiliary columns and R rows.

    Attributes
    ----------
    cost, auxiliary_cost
        What the scenarios' costs (S) and the auxiliary columns (K) weigh.
    lower
        Lower bounds of the auxiliary columns, (K).
    rows, auxiliary_rows
        (R x S) and (R x K); the sum is at least zero.
    """

    cost: Vector
    auxiliary_cost: Vector
    lower: Vector
    rows: sp.csr_array
    auxiliary_rows: sp.csr_array


def risk_rows(risk: RiskMeasure, ambiguity: AmbiguitySet, probability: xr.DataArray) -> RiskRows | None:
    """The rows of a risk measure over an ambiguity set; None where it has no finite description.

    Parameters
    ----------
    risk, ambiguity
        What to minimise.
    probability
        Nominal probability, (scenario).
    """
    if not isinstance(ambiguity, Nominal):
        return None
    p = probability.values.astype(float)
    parts = [(weight, _rows(measure, p)) for weight, measure in as_sum(risk).terms if weight > 0]
    cost = np.zeros(len(p))
    for weight, part in parts:
        cost += weight * part.cost
    return RiskRows(
        cost=cost,
        auxiliary_cost=np.concatenate([np.zeros(0), *(weight * part.auxiliary_cost for weight, part in parts)]),
        lower=np.concatenate([np.zeros(0), *(part.lower for _, part in parts)]),
        rows=sp.csr_array(sp.vstack([sp.csr_array((0, len(p))), *(part.rows for _, part in parts)])),
        auxiliary_rows=sp.csr_array(sp.block_diag([sp.csr_array((0, 0)), *(part.auxiliary_rows for _, part in parts)])),
    )


@singledispatch
def _rows(measure: RiskMeasure, probability: Vector) -> RiskRows:
    raise TypeError(f"no rows are known for {measure!r}")


@_rows.register
def _(measure: Expectation, probability: Vector) -> RiskRows:
    none = np.zeros(0)
    return RiskRows(probability, none, none, sp.csr_array((0, len(probability))), sp.csr_array((0, 0)))


@_rows.register
def _(measure: WorstCase, probability: Vector) -> RiskRows:
    possible = np.flatnonzero(probability > 0)
    count = len(possible)
    rows = sp.csr_array((-np.ones(count), (np.arange(count), possible)), shape=(count, len(probability)))
    top = sp.csr_array(np.ones((count, 1)))
    return RiskRows(np.zeros(len(probability)), np.ones(1), np.array([-np.inf]), rows, top)


@_rows.register
def _(measure: CVaR, probability: Vector) -> RiskRows:
    count = len(probability)
    return RiskRows(
        cost=np.zeros(count),
        auxiliary_cost=np.concatenate([[1.0], probability / (1 - measure.alpha)]),
        lower=np.concatenate([[-np.inf], np.zeros(count)]),
        rows=sp.csr_array(-sp.eye_array(count)),
        # threshold + excess_s >= theta_s
        auxiliary_rows=sp.csr_array(sp.hstack([sp.csr_array(np.ones((count, 1))), sp.eye_array(count)])),
    )
