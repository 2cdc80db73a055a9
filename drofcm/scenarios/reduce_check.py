"""What a reduction starts from: checked data, the sets of scenarios that stay apart, and how many each may keep."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr

from drofcm.core.dims import SCENARIO
from drofcm.core.errors import Finding, raise_if_any, shorten, suggest
from drofcm.risk.weights import check_probability
from drofcm.scenarios.selection import Positions

__all__ = [
    "METHODS",
    "Ensemble",
    "Labelled",
    "Method",
    "Stratum",
    "budgets",
    "check_arguments",
    "check_kept",
    "check_memory",
    "ensemble_of",
    "strata_of",
]

Method = Literal["forward", "backward", "k-medoids"]
METHODS: Final[tuple[Method, ...]] = ("forward", "backward", "k-medoids")

Vector = npt.NDArray[np.float64]
Labelled: TypeAlias = "str | xr.DataArray"


@dataclass(frozen=True)
class Ensemble:
    """Checked data; ``event_class`` and ``severity`` over (scenario), empty where none are given."""

    data: xr.Dataset
    probability: xr.DataArray
    event_class: npt.NDArray[np.str_] | None
    severity: Vector | None


@dataclass(frozen=True)
class Stratum:
    """Scenarios that stand for each other only."""

    name: str
    event_class: str
    members: Positions


def check_arguments(method: str, tail: float, order: float, memory: float) -> Iterator[Finding]:
    """Findings about numbers and words that do not depend on the data."""
    if method not in METHODS:
        yield Finding(f"method={method!r}", "is unknown", suggest(method, METHODS))
    if not 0 <= tail < 1:
        yield Finding(f"tail={tail!r}", "must be a share of at least 0 and below 1", "0.1 keeps the worst tenth apart")
    if not (math.isfinite(order) and order >= 1):
        yield Finding(f"order={order!r}", "must be finite and at least 1", "1 is the usual Kantorovich distance")
    if not memory >= 0:
        yield Finding(f"memory={memory!r}", "must be at least 0 GiB", "2 holds 23,000 scenarios of one class")


def ensemble_of(data: xr.Dataset, classes: Labelled | None, severity: Labelled | None) -> Ensemble:
    """The checked data, with the class and severity of every scenario; raises with every finding."""
    index = data.indexes.get(SCENARIO)
    if index is None or not len(index):
        raise_if_any([Finding("data", f"no labelled dimension {SCENARIO!r}", "assign_coords(scenario=...)")])
    assert index is not None
    if not index.is_unique:
        twice = shorten(index[index.duplicated()].unique())
        raise_if_any([Finding("data['scenario']", f"duplicate labels: {twice}", "labels must be unique")])
    if "probability" not in data:
        data = data.assign(probability=(SCENARIO, np.full(len(index), 1 / len(index)), {"units": "1"}))
    findings = list(_check_probability(data))
    by_scenario: dict[str, npt.NDArray[Any] | None] = {}
    for where, given in (("classes", classes), ("severity", severity)):
        array, finding = _over_scenario(data, where, given)
        findings += [] if finding is None else [finding]
        by_scenario[where] = array
    raise_if_any(findings)
    event_class, own = by_scenario["classes"], by_scenario["severity"]
    return Ensemble(
        data,
        data["probability"].reset_coords(drop=True).astype(float),
        None if event_class is None else event_class.astype(str),
        None if own is None else own.astype(float),
    )


def _check_probability(data: xr.Dataset) -> Iterator[Finding]:
    probability = data["probability"]
    if probability.dims != (SCENARIO,):
        yield Finding("data['probability']", f"must be over (scenario), is over {probability.dims}")
        return
    try:
        check_probability(probability)
    except ValueError as error:
        yield Finding("data['probability']", str(error), "mend the probabilities before the reduction")
        return
    none = probability[SCENARIO].values[probability.values == 0]
    if len(none):
        what = f"is 0 at scenario {shorten(none)}: it would be dropped or kept by accident"
        yield Finding("data['probability']", what, "remove these scenarios, or give them a probability")


def _over_scenario(
    data: xr.Dataset, where: str, given: Labelled | None
) -> tuple[npt.NDArray[Any] | None, Finding | None]:
    if given is None:
        return None, None
    if isinstance(given, str):
        known = [str(name) for name in data.variables if data[name].dims == (SCENARIO,)]
        if given not in known:
            return None, Finding(f"{where}={given!r}", "is nothing over (scenario) in the data", suggest(given, known))
        array = data[given]
    elif given.dims != (SCENARIO,) or not data.indexes[SCENARIO].equals(given.indexes.get(SCENARIO)):
        return None, Finding(where, f"must be over the scenarios of the data, is over {given.dims}", "align it first")
    else:
        array = given
    bad = array.isnull().values
    if where == "severity" and array.dtype.kind not in "biuf":
        return None, Finding(where, f"must be numbers (dtype {array.dtype})")
    if where == "severity" and not bad.any():
        bad = ~np.isfinite(array.values.astype(float))
    if bad.any():
        labels = shorten(data.indexes[SCENARIO][bad])
        return None, Finding(where, f"is missing or not finite at scenario {labels}", "every scenario needs one")
    return array.values, None


def check_kept(ensemble: Ensemble, kept: Sequence[Any]) -> Iterator[Finding]:
    """Findings about a selection that the user made."""
    index, chosen = ensemble.data.indexes[SCENARIO], pd.Index(list(kept))
    if not len(chosen):
        yield Finding("kept", "names no scenario", "name at least one")
        return
    unknown = chosen[~chosen.isin(index)]
    if len(unknown):
        yield Finding("kept", f"unknown scenario {shorten(unknown)}", f"known: {shorten(index)}")
    if not chosen.is_unique:
        yield Finding(
            "kept", f"scenario {shorten(chosen[chosen.duplicated()].unique())} is given twice", "once is enough"
        )
    if ensemble.event_class is not None:
        without = sorted(set(ensemble.event_class) - set(ensemble.event_class[index.isin(chosen)]))
        if without:
            yield Finding("kept", f"no scenario of class {shorten(without)} is kept", "its probability has no place")


def check_memory(method: Method, strata: Sequence[Stratum], memory: float) -> Iterator[Finding]:
    """A finding if the method needs a matrix that is larger than allowed."""
    needed = sum(len(stratum.members) ** 2 for stratum in strata) * 4 / 2**30
    if method != "forward" and needed > memory:
        count = sum(len(stratum.members) for stratum in strata)
        what = f"needs the distances of {count} scenarios at once: {needed:.1f} GiB, memory={memory:g} is allowed"
        yield Finding(f"method={method!r}", what, "raise memory, keep classes apart, or choose 'forward'")


def strata_of(ensemble: Ensemble, badness: Vector | None, tail: float) -> list[Stratum]:
    """Classes in the order in which they come, each with its tail after it."""
    count = ensemble.data.sizes[SCENARIO]
    names = ensemble.event_class if ensemble.event_class is not None else np.full(count, "")
    strata = []
    for name in pd.unique(names):
        members = np.flatnonzero(names == name)
        label = str(name) or "all"
        severe = np.array([], dtype=np.intp)
        if tail > 0 and len(members) > 1:
            assert badness is not None
            severe = _tail(members, badness, ensemble.probability.values, tail)
        strata.append(Stratum(label, label, np.setdiff1d(members, severe)))
        if len(severe):
            strata.append(Stratum(f"{label} (tail)", label, severe))
    return strata


def _tail(members: Positions, badness: Vector, probability: Vector, share: float) -> Positions:
    """The most severe members, as few as hold the share of the class at least, but never all."""
    order = members[np.argsort(-badness[members], kind="stable")]
    reached = np.cumsum(probability[order])
    enough = int(np.searchsorted(reached, share * reached[-1] * (1 - 1e-9))) + 1
    return np.sort(order[: min(enough, len(members) - 1)])


def budgets(
    ensemble: Ensemble, strata: Sequence[Stratum], count: int | Mapping[str, int]
) -> list[tuple[list[int], int]]:
    """Which strata share how many scenarios."""
    if not isinstance(count, Mapping):
        numbers = list(range(len(strata)))
        raise_if_any(_check_count("count", count, [strata[number] for number in numbers]))
        return [(numbers, count)]
    if ensemble.event_class is None:
        raise_if_any([Finding("count", "counts scenarios by class, but no classes are given", "give classes=...")])
    count = {str(name): own for name, own in count.items()}
    by_class: dict[str, list[int]] = {}
    for number, stratum in enumerate(strata):
        by_class.setdefault(stratum.event_class, []).append(number)
    findings = [
        Finding(f"count[{name!r}]", "no scenario is of this class", suggest(name, by_class))
        for name in count
        if name not in by_class
    ]
    for name, numbers in by_class.items():
        if name not in count:
            findings.append(
                Finding("count", f"class {name!r} has no number", "every class keeps at least one scenario")
            )
        else:
            findings += _check_count(f"count[{name!r}]", count[name], [strata[number] for number in numbers])
    raise_if_any(findings)
    return [(numbers, count[name]) for name, numbers in by_class.items()]


def _check_count(where: str, count: int, strata: Sequence[Stratum]) -> Iterator[Finding]:
    there = sum(len(stratum.members) for stratum in strata)
    if isinstance(count, bool) or not isinstance(count, int | np.integer) or count < 1:
        yield Finding(f"{where}={count!r}", "must be a whole number of at least 1")
    elif count > there:
        yield Finding(f"{where}={count}", f"only {there} scenarios exist", f"ask for {there} at most")
    elif count < len(strata):
        named = shorten([stratum.name for stratum in strata])
        fix = "ask for more, join classes, or set tail=0"
        yield Finding(f"{where}={count}", f"{len(strata)} sets keep their probability apart: {named}", fix)
