"""Scenario reduction: few scenarios in place of many, as near as can be in the Kantorovich distance.

A reduction keeps some scenarios as they are and gives each the probability of those it stands for, which is the best
that can be done with the kept ones (Heitsch and Roemisch 2003, theorem 3.1). Classes of events may be kept apart:
then no probability leaves its class, so that rare classes keep their mass, and the severe part of each class can be a
class of its own. The way back to the original scenarios is part of what is returned.

Near in distance is not near in the decision. A kept scenario lies in the middle of those it stands for, so a strong
reduction by distance between data makes events milder than they are, and under a risk measure of the tail the plan for
it can be worse than one for a random subset. What the ensemble is for can be said by ``severity`` and ``risk``; best,
distance is measured in costs: reduce over a variable (scenario, plan) that holds the recourse cost of every scenario at
a few plans, unscaled (Keutchayan, Ortmann and Rei 2023, Problem-driven scenario clustering in stochastic optimization;
Bertsimas and Mundru 2023, Optimization-based scenario reduction for data-driven two-stage stochastic optimization).
`drofcm.validate.pilots.reduce_by_cost` does that for a program.

The main study with linear plans and recourse, 100 events to 12 (``tests/benchmarks/reduction.py decision --scenarios
100 --keep 12 --repeats 3``, with the study's seed and with ``--seed 2``), loss of the plan on all events against the
mean loss of three random subsets:

==============================================  =======  ========
distance by                                     study's  seed 2
==============================================  =======  ========
data                                            3.9      1.64
data, classes apart                             3.1      1.63
data, classes and tails apart                   2.5      0.86
data, classes, risk of the cost of nothing      0.40     0.27
costs at five plans                             0.12     0.23
costs, classes apart                            0.17     0.06
costs, risk                                     0.05     0.06
costs, classes apart, risk                      0.11     0.01
==============================================  =======  ========

On seed 2 random subsets lost 33.6 % of (do nothing - plan for all), costs with classes apart and risk 0.47 %.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr

from drofcm.core.dims import SCENARIO
from drofcm.core.errors import raise_if_any
from drofcm.risk.ambiguity import Nominal
from drofcm.risk.distance import Features, Norm, Scale, distance_blocks, features
from drofcm.risk.measures import RiskMeasure
from drofcm.risk.weights import worst_case_weights
from drofcm.scenarios.reduce_check import (
    METHODS,
    Ensemble,
    Labelled,
    Method,
    Stratum,
    budgets,
    check_arguments,
    check_kept,
    check_memory,
    ensemble_of,
    strata_of,
)
from drofcm.scenarios.selection import Positions, backward, distances, forward, grow, medoids, shrink, take

__all__ = ["METHODS", "Reduction", "redistribute", "reduce_scenarios"]

Vector = npt.NDArray[np.float64]
Values = TypeVar("Values", xr.DataArray, xr.Dataset)

_UNSEEN = 1e-6
"""Least share of its probability that a scenario counts in the choice, however little the risk measure asks for it."""


@dataclass(frozen=True)
class Reduction:
    """A reduced ensemble and the way back.

    Attributes
    ----------
    data
        The kept scenarios with everything else in the data, in their original order and under their original labels;
        ``probability`` (scenario) is redistributed and sums to what it summed to.
    representative
        Label of the scenario that stands for each original one, over the original ``scenario``.
    moved
        Distance of each original scenario to its representative, raised to ``order``, over the original ``scenario``.
    distance
        Kantorovich distance of the reduced to the original ensemble, in scaled units: the mean of ``moved``, to the
        power 1 / order. Between ensembles whose classes must not be mixed, where ``classes`` or ``tail`` is given.
    relative_distance
        The same as a share of the distance at which the ensemble lies from its mean scenario.
    stratum
        The set within which each original scenario was moved, as text: its class, and whether it is of the tail.
    recipe
        How it was made: method, numbers, what distance was measured by.
    """

    data: xr.Dataset
    representative: xr.DataArray
    moved: xr.DataArray
    distance: float
    relative_distance: float
    stratum: xr.DataArray
    recipe: dict[str, Any]

    def __str__(self) -> str:
        return (
            f"{self.representative.sizes[SCENARIO]} scenarios reduced to {self.data.sizes[SCENARIO]} "
            f"({self.recipe['method']}): Kantorovich distance {self.distance:.4g}, "
            f"{self.relative_distance:.1%} of that to the mean scenario"
        )

    def expand(self, values: Values) -> Values:
        """What is known of the kept scenarios, said of all: each original one gets the values of its representative.

        Parameters
        ----------
        values
            Anything over the ``scenario`` of the reduced data.

        Returns
        -------
        xarray.DataArray or xarray.Dataset
            The same over the original ``scenario``.
        """
        return values.sel({SCENARIO: self.representative.values}).assign_coords(
            {SCENARIO: self.representative[SCENARIO]}
        )

    def table(self) -> pd.DataFrame:
        """For each stratum: original and kept scenarios, probability before and after, distance moved on average."""
        original = pd.DataFrame(
            {
                "stratum": self.stratum.to_series(),
                "kept": np.isin(self.representative[SCENARIO].values, self.data[SCENARIO].values),
                "moved": self.moved.to_series(),
                "probability": self.representative["probability"].to_series(),
            }
        )
        original["cost"] = original["moved"] * original["probability"]
        after = self.data["probability"].to_series()
        original["after"] = after.reindex(original.index).fillna(0.0)
        groups = original.groupby("stratum", sort=False)
        return pd.DataFrame(
            {
                "scenarios": groups.size(),
                "kept": groups["kept"].sum(),
                "probability": groups["probability"].agg(math.fsum),
                "probability_kept": groups["after"].agg(math.fsum),
                "distance": groups["cost"].sum() / groups["probability"].sum(),
            }
        )


def reduce_scenarios(
    data: xr.Dataset,
    count: int | Mapping[str, int],
    *,
    over: str | Sequence[str] | None = None,
    method: Method = "forward",
    classes: Labelled | None = None,
    tail: float = 0.0,
    severity: Labelled | None = None,
    risk: RiskMeasure | None = None,
    norm: Norm = 1,
    order: float = 1.0,
    scale: Scale = "variable",
    weight: Mapping[str, float | xr.DataArray] | None = None,
    memory: float = 2.0,
    client: Any = None,
    workers: int | None = None,
) -> Reduction:
    """Keep few scenarios of many, and give them the probability of those they stand for.

    Parameters
    ----------
    data
        Labelled data with the dimension ``scenario``; without ``probability`` (scenario) all are equally likely.
    count
        How many scenarios to keep, or how many of each class.
    over
        Variables that distance is measured by; see `drofcm.risk.distance.features`. May be left out where only one
        is uncertain.
    method
        ``"forward"`` (fast forward selection) and ``"backward"`` (simultaneous backward reduction) by Heitsch and
        Roemisch; ``"k-medoids"`` goes on from forward selection with exchanges until none helps.
    classes
        Classes that keep their probability, each on its own: a variable or coordinate over (scenario), or its name
        (``"event_class"``).
    tail
        Share of the probability of each class that is its tail: the most severe scenarios, as few as hold that share
        at least, are kept apart and so keep their probability too. 0 keeps no tail apart.
    severity
        How bad a scenario is, over (scenario), or its name: a peak, an energy, or best the recourse cost at a plan.
        Left out it is the distance from the scenario whose every entry is the median.
    risk
        The risk measure that the reduced ensemble is meant for. Scenarios then count in the choice by their weight
        in the risk of ``severity`` (`worst_case_weights`) in place of their probability; probabilities are moved as
        without it.
    norm, order
        Norm, and the power of distances that is summed up (order of the Kantorovich distance).
    scale, weight
        See `drofcm.risk.distance.features`.
    memory
        GiB for the matrix of distances. Forward selection computes what does not fit again and again, the other
        methods refuse.
    client, workers
        A `dask.distributed.Client`, or else the number of local processes, that compute the matrix.

    Returns
    -------
    Reduction

    Raises
    ------
    InputError
        If more scenarios are asked for than exist, or fewer than there are classes (times two with a tail); a class
        has no members; something is NaN; a probability is zero, negative, or they do not sum to one; all findings at
        once.

    Examples
    --------
    >>> import drofcm as dro
    >>> import xarray as xr
    >>> data = xr.Dataset({"load": ("scenario", [1.0, 2.0, 9.0])}, coords={"scenario": ["a", "b", "c"]})
    >>> reduction = dro.reduce_scenarios(data, 2)
    >>> reduction.data["probability"].to_series().round(3).to_dict()
    {'b': 0.667, 'c': 0.333}
    >>> reduction.representative.values.tolist()
    ['b', 'b', 'c']
    """
    raise_if_any(check_arguments(method, tail, order, memory))
    ensemble = ensemble_of(data, classes, severity)
    points = features(ensemble.data, over, scale=scale, weight=weight)
    badness = _badness(ensemble, points, needed=tail > 0 or risk is not None)
    strata = strata_of(ensemble, badness, tail)
    shares = budgets(ensemble, strata, count)
    mass = _mass(ensemble.probability, badness, risk)
    raise_if_any(check_memory(method, strata, memory))
    settings = {"norm": norm, "order": order, "memory": memory, "client": client, "workers": workers}
    kept: list[Positions] = [np.array([], dtype=np.intp)] * len(strata)
    for numbers, budget in shares:
        sets = [strata[number].members for number in numbers]
        chosen = _choose(points, sets, mass, budget, method, settings)
        for number, places in zip(numbers, chosen, strict=True):
            kept[number] = np.sort(strata[number].members[places])
    recipe = {
        "method": method,
        "count": {str(name): int(own) for name, own in count.items()} if isinstance(count, Mapping) else int(count),
        "over": sorted(set(points.variable.tolist())),
        "classes": _name_of(classes),
        "tail": tail,
        "severity": _name_of(severity),
        "risk": None if risk is None else str(risk),
        "norm": norm,
        "order": order,
        "scale": scale,
    }
    return _redistributed(ensemble, points, strata, kept, norm, order, recipe)


def redistribute(
    data: xr.Dataset,
    kept: Sequence[Any],
    *,
    over: str | Sequence[str] | None = None,
    classes: Labelled | None = None,
    norm: Norm = 1,
    order: float = 1.0,
    scale: Scale = "variable",
    weight: Mapping[str, float | xr.DataArray] | None = None,
) -> Reduction:
    """The best probabilities for scenarios that were chosen already: each gives its own to the nearest that is kept.

    Of kept scenarios that are equally near the earlier one receives.

    Parameters
    ----------
    data
        As in `reduce_scenarios`.
    kept
        Labels of the scenarios to keep.
    over, classes, norm, order, scale, weight
        As in `reduce_scenarios`.

    Raises
    ------
    InputError
        If a label is unknown or given twice, or a class has no kept scenario.
    """
    raise_if_any(check_arguments("forward", 0.0, order, 0.0))
    ensemble = ensemble_of(data, classes, None)
    raise_if_any(check_kept(ensemble, kept))
    points = features(ensemble.data, over, scale=scale, weight=weight)
    strata = strata_of(ensemble, None, 0.0)
    positions = np.sort(ensemble.data.indexes[SCENARIO].get_indexer(pd.Index(list(kept))))
    own = [positions[np.isin(positions, stratum.members)] for stratum in strata]
    recipe = {
        "method": "given",
        "count": len(positions),
        "over": sorted(set(points.variable.tolist())),
        "classes": _name_of(classes),
        "norm": norm,
        "order": order,
        "scale": scale,
    }
    return _redistributed(ensemble, points, strata, own, norm, order, recipe)


def _badness(ensemble: Ensemble, points: Features, needed: bool) -> Vector | None:
    if ensemble.severity is not None or not needed:
        return ensemble.severity
    usual = np.quantile(points.values, 0.5, axis=0, weights=ensemble.probability.values, method="inverted_cdf")
    return np.asarray(np.abs(points.values - usual).sum(axis=1))


def _mass(probability: xr.DataArray, badness: Vector | None, risk: RiskMeasure | None) -> Vector:
    """What a scenario counts in the choice."""
    if risk is None:
        return np.asarray(probability.values)
    weights = worst_case_weights(risk, Nominal(), probability.copy(data=badness), probability)
    return np.asarray(np.maximum(weights.values, _UNSEEN * probability.values))


def _name_of(given: Labelled | None) -> str | None:
    return given if given is None or isinstance(given, str) else str(given.name or "given")


# ---- what comes out -------------------------------------------------------------------------------------------------


def _choose(
    points: Features,
    sets: list[Positions],
    mass: Vector,
    budget: int,
    method: Method,
    settings: Mapping[str, Any],
) -> list[list[int]]:
    """Places of the kept members of each set."""
    costs = distances(points, sets, **settings)
    masses = [mass[members] for members in sets]
    if method == "backward":
        return shrink(sets, [backward(cost, own) for cost, own in zip(costs, masses, strict=True)], budget)
    chosen = grow(sets, [forward(cost, own) for cost, own in zip(costs, masses, strict=True)], budget)
    if method == "k-medoids":
        return [medoids(cost, own, start) for cost, own, start in zip(costs, masses, chosen, strict=True)]
    return chosen


def _redistributed(
    ensemble: Ensemble,
    points: Features,
    strata: Sequence[Stratum],
    kept: Sequence[Positions],
    norm: Norm,
    order: float,
    recipe: dict[str, Any],
) -> Reduction:
    probability = ensemble.probability.values
    count = len(probability)
    target, moved = np.empty(count, dtype=np.intp), np.empty(count)
    after, names = np.zeros(count), np.empty(count, dtype=object)
    for stratum, own in zip(strata, kept, strict=True):
        members = stratum.members
        names[members] = stratum.name
        for rows, block in distance_blocks(take(points, members), take(points, own), norm=norm, order=order):
            nearest = block.argmin(axis=1)
            target[members[rows]] = own[nearest]
            moved[members[rows]] = block[np.arange(len(block)), nearest]
        # a twin of a kept scenario may lie before it, but a kept scenario stands for itself
        target[own] = own
        after[own] = _joined(probability[members], target[members], own)
    everything = np.sort(np.concatenate(kept))
    distance = math.pow(float(probability @ moved), 1 / order)
    labels = ensemble.data.indexes[SCENARIO]
    data = ensemble.data.isel({SCENARIO: everything})
    data = data.assign(probability=(SCENARIO, after[everything], ensemble.data["probability"].attrs))
    facts = {**recipe, "scenarios_before": count, "distance": distance}

    def labelled(name: str, values: npt.ArrayLike) -> xr.DataArray:
        return xr.DataArray(np.asarray(values), coords={SCENARIO: labels}, dims=SCENARIO, name=name)

    return Reduction(
        data=data.assign_attrs(reduction=json.dumps(facts)),
        representative=labelled("representative", labels[target]).assign_coords(
            probability=labelled("probability", probability)
        ),
        moved=labelled("moved", moved),
        distance=distance,
        relative_distance=_share(distance, _spread(points, probability, norm, order)),
        stratum=labelled("stratum", names.astype(str)),
        recipe=facts,
    )


def _joined(probability: Vector, target: Positions, own: Positions) -> Vector:
    """Probability of each kept member, so that the exactly rounded sum over the stratum stays what it was."""
    joined = np.array([math.fsum(probability[target == place]) for place in own])
    whole = math.fsum(probability)
    # what rounding left over goes to the largest, what is lost there again to the next
    for place in np.argsort(-joined, kind="stable"):
        if math.fsum(joined) == whole:
            break
        joined[place] += math.fsum([whole, *(-joined)])
    return joined


def _spread(points: Features, probability: Vector, norm: Norm, order: float) -> float:
    """Distance of the ensemble from its mean scenario."""
    mean = Features((probability @ points.values)[None], points.scenario[:1], points.variable)
    cost = sum(probability[rows] @ block[:, 0] for rows, block in distance_blocks(points, mean, norm=norm, order=order))
    return math.pow(float(cost), 1 / order)


def _share(distance: float, spread: float) -> float:
    return distance / spread if spread > 0 else 0.0
