"""Risk measures as linear rows of the extensive form.

Every measure becomes an expression to minimise and rows over auxiliary variables, written into the linopy model that
holds both stages: equations (14) to (16) of paper A for CVaR (Rockafellar and Uryasev 2002).
"""

from __future__ import annotations

from functools import singledispatch

import linopy
import xarray as xr
from linopy.expressions import LinearExpression

from drofcm.core.dims import SCENARIO
from drofcm.risk.ambiguity import AmbiguitySet, Nominal
from drofcm.risk.measures import CVaR, Expectation, RiskMeasure, WorstCase, as_sum

__all__ = ["risk_expression"]


def risk_expression(
    model: linopy.Model,
    risk: RiskMeasure,
    ambiguity: AmbiguitySet,
    cost: LinearExpression,
    probability: xr.DataArray,
) -> LinearExpression:
    """Write the rows of a risk measure into a model and return the expression that bounds it from above.

    Parameters
    ----------
    model
        Model that holds the variables of ``cost``; variables ``risk_...`` and rows of the same names are added.
    risk, ambiguity
        What to minimise.
    cost
        Recourse cost, (scenario).
    probability
        Nominal probability, (scenario).

    Returns
    -------
    linopy.LinearExpression
        Scalar; equal to rho(cost) wherever it is minimised.
    """
    if not isinstance(ambiguity, Nominal):
        raise TypeError(f"an ambiguity set is needed, got {ambiguity!r}")
    total = LinearExpression(xr.DataArray(0.0), model)
    for number, (weight, measure) in enumerate(as_sum(risk).terms):
        if weight > 0:
            total = total + weight * _rows(measure, model, f"risk_{number}", cost, probability)
    return total


@singledispatch
def _rows(
    measure: RiskMeasure, model: linopy.Model, name: str, cost: LinearExpression, probability: xr.DataArray
) -> LinearExpression:
    raise TypeError(f"no rows are known for {measure!r}")


@_rows.register
def _(
    measure: Expectation, model: linopy.Model, name: str, cost: LinearExpression, probability: xr.DataArray
) -> LinearExpression:
    return (probability * cost).sum(SCENARIO)


@_rows.register
def _(
    measure: WorstCase, model: linopy.Model, name: str, cost: LinearExpression, probability: xr.DataArray
) -> LinearExpression:
    worst = model.add_variables(name=f"{name}_worst")
    # a scenario that cannot happen is not the worst case
    model.add_constraints(cost - worst <= 0, name=f"{name}_worst", mask=probability > 0)
    return worst.to_linexpr()


@_rows.register
def _(
    measure: CVaR, model: linopy.Model, name: str, cost: LinearExpression, probability: xr.DataArray
) -> LinearExpression:
    threshold = model.add_variables(name=f"{name}_threshold")  # zeta
    excess = model.add_variables(lower=0, coords=[probability.indexes[SCENARIO]], name=f"{name}_excess")  # eta_s
    model.add_constraints(excess >= cost - threshold, name=f"{name}_excess")  # (16)
    return threshold + (probability / (1 - measure.alpha) * excess).sum(SCENARIO)  # (15)
