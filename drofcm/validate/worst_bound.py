"""What no distribution of an ambiguity set exceeds: upper bounds on the worst case that prove themselves.

The worst case is max { a E_p'[Q] + sum_k b_k CVaR_k,p'[Q] : p' in P }. A distribution of P that attains a value shows
that the worst case is at least that; here it is shown that it is at most that, by weak duality: any multipliers give
a bound, whoever found them. They are looked for with scipy, and the bound is then evaluated with NumPy over every row
and column of the set's definition, so that a search that went wrong gives a bound that is too high, never too low.
The search ends as soon as a bound proves what was claimed.
"""

from __future__ import annotations

import numpy as np
import xarray as xr

from drofcm.risk.sets import AmbiguitySet, KullbackLeibler, ModifiedChiSquared, Nominal
from drofcm.validate.ball_bound import ball_bound
from drofcm.validate.polyhedral_bound import Program
from drofcm.validate.terms import Terms, Vector

__all__ = ["largest_probability", "worst_bound"]


def worst_bound(
    ambiguity: AmbiguitySet, probability: xr.DataArray, cost: Vector, terms: Terms, claimed: float
) -> float:
    """A value of mean and CVaR terms that no distribution of the set exceeds; the search stops where it is `claimed`.

    Parameters
    ----------
    ambiguity
        A set with its figures (`drofcm.validate.set_figures.from_data`).
    probability
        Nominal probability, (scenario).
    cost
        Finite costs, (S).
    terms
        The measure.
    claimed
        The value to prove.

    Returns
    -------
    float
        Infinite where no bound was found.
    """
    spread = float(np.ptp(cost)) if len(cost) else 0.0
    sure = terms.total * float(cost.min())
    if spread == 0 or terms.total == 0:
        return sure
    # between 0 and 1, so that tolerances mean the same in every unit
    unit, target = (cost - cost.min()) / spread, (claimed - sure) / spread
    if isinstance(ambiguity, Nominal | KullbackLeibler | ModifiedChiSquared):
        bound = ball_bound(ambiguity, probability.values, unit, terms, target)
    else:
        bound = Program(ambiguity, probability, terms.cvar).bound(unit, terms, target)
    return sure + spread * bound


def largest_probability(ambiguity: AmbiguitySet, probability: xr.DataArray, scenario: int) -> float:
    """The largest probability of one scenario over a polyhedral set; NaN where it cannot be told."""
    only = np.zeros(len(probability))
    only[scenario] = 1.0
    return Program(ambiguity, probability, ()).value(only)
