"""The problem page, solved and certified: what every case compares with."""

from __future__ import annotations

from typing import Any

import xarray as xr
from cases.labelled import Solution

from drofcm.dsl.program import TwoStageProgram
from drofcm.problems import demand_shock
from drofcm.risk.measures import CVaR, Expectation
from drofcm.validate.certificate import Certificate, certify

GAP = 1e-7


def measure(risk: dict[str, Any]) -> Any:
    """The risk measure of ``{"expectation": a, "cvar": [(alpha, b)]}``."""
    parts = [risk["expectation"] * Expectation()] if risk.get("expectation") else []
    parts += [weight * CVaR(alpha) for alpha, weight in risk.get("cvar", ())]
    total = parts[0]
    for part in parts[1:]:
        total = total + part
    return total


def solve(
    data: xr.Dataset, risk: dict[str, Any], program: TwoStageProgram | None = None
) -> tuple[Solution, xr.DataArray]:
    """The solution of the problem page and its risk weights; of ``program`` if there is one of these data already."""
    result = (program or demand_shock.program(data)).solve(risk=measure(risk), gap=GAP)
    solution = Solution(
        data, result.first_stage, result.recourse, result.terms, result.recourse_cost, float(result.objective)
    )
    return solution, result.risk_weight


def certificate(found: Solution, risk: dict[str, Any], weights: xr.DataArray | None) -> Certificate:
    """The certificate of a solution under ``risk``, with its risk weights if there are any."""
    return certify(
        found.data,
        found.first_stage,
        found.recourse,
        found.terms,
        found.recourse_cost,
        objective=found.objective,
        risk_weights=weights,
        risk=risk,
    )


def solve_and_certify(data: xr.Dataset, risk: dict[str, Any], program: TwoStageProgram | None = None) -> Solution:
    """The solution of the problem page, after the certificate passed."""
    found, weights = solve(data, risk, program)
    certificate(found, risk, weights).raise_if_failed()
    return found
