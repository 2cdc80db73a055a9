"""Plans that are evaluated with all their integers: an upper bound each, and what every scenario answered."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from drofcm.solve.regions import Region
from drofcm.solve.search import Search
from drofcm.solve.subproblem import Answer, Request

__all__ = ["Evaluation", "Visited"]

Vector = npt.NDArray[np.float64]

_EXACT = 1e-4
"""Relative gap of every scenario's exact cost, at most."""

_PARTS = 4
"""Parts of the scenarios that are asked one after the other where a plan may turn out not to be worth it."""


@dataclass
class Visited:
    """A plan that was evaluated: cost, (S), what the scenarios answered, how often and in which regions it came up."""

    cost: Vector
    answers: dict[int, Answer] = field(repr=False)
    times: int = 0
    regions: list[Region] = field(default_factory=list, repr=False)


class Evaluation:
    """All plans that were evaluated in a search; none is solved twice.

    Parameters
    ----------
    search
        What is known so far; it takes down plans and cuts.
    """

    def __init__(self, search: Search) -> None:
        self._search = search
        self._visited: dict[bytes, Visited] = {}
        self._hopeless: set[bytes] = set()

    def __contains__(self, x: Vector) -> bool:
        return _key(x) in self._visited or _key(x) in self._hopeless

    def __len__(self) -> int:
        return len(self._visited) + len(self._hopeless)

    def at(self, x: Vector) -> Visited:
        """Solve all scenarios at a plan with their integers."""
        key = _key(x)
        if key not in self._visited:
            self._visited[key] = self._visit(x, self._exact(x, range(self._search.count)))
        return self._visited[key]

    def attempt(self, x: Vector, below: float, known: Vector, order: npt.NDArray[np.int64]) -> None:
        """Solve scenarios at a plan in some order, as long as it can cost less than something.

        Parameters
        ----------
        x
            The plan, (n).
        below
            What it must be able to cost less than.
        known
            Lower bounds of the costs of scenarios, (S).
        order
            Scenarios, those that tell most first.
        """
        search, known, answers = self._search, known.copy(), dict[int, Answer]()
        for part in np.array_split(order, _PARTS):
            answers |= self._exact(x, part.tolist())
            known[part] = np.maximum(known[part], [answers[s].lower for s in part.tolist()])
            # a plan without a recourse is hopeless whatever its weight would be
            if search.reason is not None or np.isposinf(known).any() or search.objective(x, known) >= below:
                self._hopeless.add(_key(x))
                return
        self._visited[_key(x)] = self._visit(x, answers)

    def _exact(self, x: Vector, scenarios: Iterable[int]) -> dict[int, Answer]:
        """Some scenarios at a plan with their integers."""
        search = self._search
        gap = min(_EXACT, search.stop.gap / 4)
        exact = Request(x, exact=True, gap=gap, seconds=search.stop.remaining)
        answers = search.answers(dict.fromkeys(scenarios, exact))
        search.take_cuts(x, answers)
        return answers

    def _visit(self, x: Vector, answers: dict[int, Answer]) -> Visited:
        """Take down what all scenarios answered at a plan."""
        search = self._search
        cost = np.array([answers[s].upper for s in range(search.count)])
        nothing = [s for s in range(search.count) if answers[s].violation == 0 and np.isposinf(answers[s].lower)]
        if nothing:
            # its relaxation has a recourse and the scenario has none: no cut of the relaxation will tell
            search.master.keep(nothing)
        if np.isfinite(cost).all():
            search.master.learn_weights(cost)
            search.take_plan(x, cost)
        return Visited(cost, answers)


def _key(x: Vector) -> bytes:
    return np.round(x, 9).tobytes()
