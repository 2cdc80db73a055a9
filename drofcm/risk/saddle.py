"""Expectation and CVaR terms over an ambiguity set: one distribution that is the worst for all of them together.

    max over p' in P of  a E_p'[Q] + sum_k b_k CVaR_k,p'[Q]
        = min over zeta of  max over p' in P of  E_p'[ a Q + sum_k b_k (zeta_k + (Q - zeta_k)^+ / (1 - alpha_k)) ]

Every zeta gives an upper bound and a tangent plane, every mixture of nature's answers a distribution in P and a lower
bound. The planes are followed to their lowest point (Kelley 1960); their multipliers there mix the distribution. The
search ends where both bounds agree, so the answer carries its own proof.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.optimize import linprog

from drofcm.core.errors import SolveError
from drofcm.risk.nature import Nature

__all__ = ["Tail", "cvar_weights", "value_at_risk", "worst_distribution"]

Vector = npt.NDArray[np.float64]

_ROUNDING = 1e-9
_GAP = 1e-12
_ACCEPTED = 1e-9
_ITERATIONS = 2000


@dataclass(frozen=True)
class Tail:
    """One CVaR term: its weight, and its confidence level between 0 and 1."""

    weight: float
    alpha: float


@dataclass(frozen=True)
class _Tangent:
    """Nature's answer at thresholds, and the plane through its value there."""

    at: Vector
    value: float
    slope: Vector
    answer: Vector


def value_at_risk(cost: Vector, probability: Vector, alpha: float) -> float:
    """The smallest cost that is not exceeded with probability ``alpha`` at least."""
    order = np.argsort(cost, kind="stable")
    reached = np.cumsum(probability[order]) >= alpha - _ROUNDING
    return float(cost[order][np.argmax(reached)])


def cvar_weights(cost: Vector, probability: Vector, alpha: float) -> Vector:
    """Weights of CVaR under given probabilities, (S): from the most expensive scenario down, at most p / (1 - alpha).

    Between scenarios of equal cost the earlier one is taken first.
    """
    order = np.argsort(-cost, kind="stable")
    room = probability[order] / (1 - alpha)
    before = np.concatenate([[0.0], np.cumsum(room)[:-1]])
    weights = np.empty(len(cost))
    weights[order] = np.clip(1 - before, 0, room)
    return weights


def worst_distribution(cost: Vector, expectation: float, tails: tuple[Tail, ...], nature: Nature) -> Vector:
    """The distribution, (S), under which the weighted sum of mean and CVaR terms is largest.

    Parameters
    ----------
    cost
        Finite costs, (S).
    expectation
        Weight of the mean, at least 0.
    tails
        The CVaR terms.
    nature
        Answers with the worst distribution for values that do not fall where costs rise.
    """
    spread = float(np.ptp(cost))
    # costs between 0 and 1 and weights that sum to 1, so that tolerances mean the same whatever the unit
    unit = (cost - cost.min()) / (spread or 1.0)
    if spread == 0 or not tails:
        return nature(unit)
    total = expectation + sum(tail.weight for tail in tails)
    shares = tuple(Tail(tail.weight / total, tail.alpha) for tail in tails)
    return _Search(unit, expectation / total, shares, nature).run()


class _Search:
    """Tangent planes, the best value and the best distribution so far."""

    def __init__(self, cost: Vector, expectation: float, tails: tuple[Tail, ...], nature: Nature) -> None:
        self._cost, self._expectation, self._tails, self._nature = cost, expectation, tails, nature
        self._weight = np.array([tail.weight for tail in tails])
        self._left = np.array([1 - tail.alpha for tail in tails])
        self._planes: list[_Tangent] = []
        self._upper, self._lower = np.inf, -np.inf
        self._best: Vector = cost

    def run(self) -> Vector:
        """Follow the planes until upper and lower bound agree."""
        start = self._nature(self._cost)
        self._look(np.array([value_at_risk(self._cost, start, tail.alpha) for tail in self._tails]))
        for corner in (np.zeros(len(self._tails)), np.ones(len(self._tails))):
            self._look(corner)
        for _ in range(_ITERATIONS):
            if self._upper - self._lower <= _GAP:
                return self._best
            at, share = self._lowest()
            self._take(np.tensordot(share, [plane.answer for plane in self._planes], axes=1))
            if any(np.array_equal(at, plane.at) for plane in self._planes):
                break
            self._look(at)
        if self._upper - self._lower <= _ACCEPTED:
            return self._best
        raise SolveError(
            f"worst-case probabilities are known to {self._upper - self._lower:.2e} of the costs' "
            f"spread only, after {len(self._planes)} tangents"
        )

    def _look(self, at: Vector) -> None:
        """Nature's answer at thresholds ``at``: an upper bound, a plane, a distribution."""
        excess = self._cost[None, :] - at[:, None]
        slopes = self._weight / self._left
        value = self._expectation * self._cost + slopes @ np.maximum(excess, 0)
        answer = self._nature(value)
        plane = _Tangent(
            at=at,
            value=float(answer @ value + self._weight @ at),
            slope=self._weight - slopes * ((excess > 0) @ answer),
            answer=answer,
        )
        self._planes.append(plane)
        self._upper = min(self._upper, plane.value)
        self._take(answer)

    def _take(self, distribution: Vector) -> None:
        value = self._expectation * float(distribution @ self._cost)
        for tail in self._tails:
            value += tail.weight * float(cvar_weights(self._cost, distribution, tail.alpha) @ self._cost)
        if value > self._lower:
            self._lower, self._best = value, distribution

    def _lowest(self) -> tuple[Vector, Vector]:
        """The lowest point of all planes, and the mixture of planes that holds it up."""
        if len(self._tails) == 1:
            return self._lowest_on_line()
        slope = np.array([plane.slope for plane in self._planes])
        offset = np.array([plane.slope @ plane.at - plane.value for plane in self._planes])
        count = len(self._tails)
        solve: Any = linprog
        found = solve(
            np.append(np.zeros(count), 1.0),
            A_ub=np.column_stack([slope, -np.ones(len(slope))]),
            b_ub=offset,
            bounds=[*((0.0, 1.0) for _ in range(count)), (None, None)],
            method="highs",
            options={"primal_feasibility_tolerance": 1e-10, "dual_feasibility_tolerance": 1e-10},
        )
        if not found.success:
            raise SolveError(f"worst-case probabilities: {found.message}")
        share = np.maximum(-found.ineqlin.marginals, 0)
        return found.x[:count], share / share.sum()

    def _lowest_on_line(self) -> tuple[Vector, Vector]:
        """With one threshold, the lowest point lies between the last falling and the first rising tangent."""
        falling = max((k for k, plane in enumerate(self._planes) if plane.slope[0] < 0), key=self._place, default=None)
        rising = min((k for k, plane in enumerate(self._planes) if plane.slope[0] >= 0), key=self._place)
        share = np.zeros(len(self._planes))
        right = self._planes[rising]
        if falling is None:
            share[rising] = 1
            return right.at, share
        left = self._planes[falling]
        drop = float(right.slope[0] - left.slope[0])
        share[rising], share[falling] = -left.slope[0] / drop, right.slope[0] / drop
        offset = [plane.value - float(plane.slope @ plane.at) for plane in (left, right)]
        return np.clip(np.array([(offset[0] - offset[1]) / drop]), left.at, right.at), share

    def _place(self, number: int) -> float:
        return float(self._planes[number].at[0])
