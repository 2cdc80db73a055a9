"""Risk measures over polyhedral ambiguity sets as rows over the costs of the scenarios.

    rho(theta) = min { cost.theta + auxiliary_cost.a : rows theta + auxiliary_rows a >= 0, a >= lower }

by the dual of max { w.theta : w in W }, W as in `drofcm.risk.weights` and P as in `drofcm.risk.polytope`: one column
for each row of P, for CVaR a threshold and an excess of every scenario (equations (14) to (16) of paper A; Rockafellar
and Uryasev 2002), for the worst case one column. This is the only place where rows are stated; a linopy model is given
the same ones (`drofcm.risk.reformulate`). Divergence balls have no finite rows: there `worst_case_weights` gives one
row at a time (risk-set cuts).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
import xarray as xr

from drofcm.risk.ambiguity import AmbiguitySet, Intersection, KullbackLeibler, ModifiedChiSquared, Wasserstein
from drofcm.risk.measures import CVaR, Expectation, RiskMeasure, as_sum
from drofcm.risk.nature import reachable
from drofcm.risk.polytope import check_not_empty, polytope

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


def risk_rows(
    risk: RiskMeasure, ambiguity: AmbiguitySet, probability: xr.DataArray, most: int | None = None
) -> RiskRows | None:
    """The rows of a risk measure over an ambiguity set; None where there is no finite description, or a larger one.

    Parameters
    ----------
    risk, ambiguity
        What to minimise; the set is bound.
    probability
        Nominal probability, (scenario).
    most
        Moves between scenarios up to which a Wasserstein ball is written as rows; None for no limit.

    Raises
    ------
    InputError
        If the set is not bound, holds no distribution, or was made for other scenarios.
    """
    sets = ambiguity.sets if isinstance(ambiguity, Intersection) else (ambiguity,)
    if isinstance(ambiguity, ModifiedChiSquared | KullbackLeibler):
        return None
    pairs = np.count_nonzero(probability.values) * len(probability)
    if most is not None and pairs > most and any(isinstance(own, Wasserstein) for own in sets):
        return None
    check_not_empty(ambiguity, probability)
    return _Dual(ambiguity, probability).of(risk)


class _Dual:
    """Columns and rows of the dual, in the order: those of P, then term by term."""

    def __init__(self, ambiguity: AmbiguitySet, probability: xr.DataArray) -> None:
        self._ambiguity, self._probability = ambiguity, probability
        self._shape = polytope(ambiguity, probability)
        count, width = self._shape.movement.shape
        self._cost = np.zeros(count)
        self._auxiliary_cost = [self._shape.limit]
        self._lower = [np.where(self._shape.equal, -np.inf, 0.0)]
        # the row of every column of P: its price covers what the terms gain by it
        self._gain = np.zeros(count)
        self._gain_of_excess: list[sp.csr_array] = []
        self._rows: list[sp.csr_array] = []
        self._own: list[sp.csr_array] = []
        self._width = width

    def of(self, risk: RiskMeasure) -> RiskRows:
        for weight, measure in as_sum(risk).terms:
            if weight > 0:
                if isinstance(measure, Expectation):
                    self._expectation(weight)
                elif isinstance(measure, CVaR):
                    self._tail(weight, measure.alpha)
                else:
                    self._worst(weight)
        shape = self._shape
        moved = sp.csr_array(shape.movement.T)
        first = [shape.rows.T, *(-(moved @ gain) for gain in self._gain_of_excess)]
        beside = sp.block_diag([sp.csr_array((0, len(shape.limit))), *self._own])
        return RiskRows(
            cost=self._cost,
            auxiliary_cost=np.concatenate(self._auxiliary_cost),
            lower=np.concatenate(self._lower),
            rows=sp.csr_array(sp.vstack([-(moved * self._gain[None, :]), *self._rows])),
            auxiliary_rows=sp.csr_array(sp.vstack([sp.hstack(first), beside])),
        )

    def _expectation(self, weight: float) -> None:
        self._cost += weight * self._shape.base
        self._gain += weight

    def _tail(self, weight: float, alpha: float) -> None:
        """Threshold + excess_s >= theta_s; the excess is weighted with the probability, base and movement."""
        count = len(self._cost)
        share = weight / (1 - alpha)
        self._add(
            cost=np.concatenate([[weight], share * self._shape.base]),
            lower=np.concatenate([[-np.inf], np.zeros(count)]),
            rows=sp.csr_array(-sp.eye_array(count)),
            own=sp.csr_array(sp.hstack([sp.csr_array(np.ones((count, 1))), sp.eye_array(count)])),
            gain=sp.csr_array(sp.hstack([sp.csr_array((count, 1)), share * sp.eye_array(count)])),
        )

    def _worst(self, weight: float) -> None:
        possible = np.flatnonzero(reachable(self._ambiguity, self._probability))
        size, count = len(possible), len(self._cost)
        self._add(
            cost=np.array([weight]),
            lower=np.array([-np.inf]),
            rows=sp.csr_array((-np.ones(size), (np.arange(size), possible)), shape=(size, count)),
            own=sp.csr_array(np.ones((size, 1))),
            gain=sp.csr_array((count, 1)),
        )

    def _add(self, cost: Vector, lower: Vector, rows: sp.csr_array, own: sp.csr_array, gain: sp.csr_array) -> None:
        self._auxiliary_cost.append(cost)
        self._lower.append(lower)
        self._rows.append(rows)
        self._own.append(own)
        self._gain_of_excess.append(gain)
