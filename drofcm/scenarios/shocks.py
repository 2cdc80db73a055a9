"""Demand shocks of AI data centres: a seeded Monte Carlo ensemble, generated at one second, aggregated to steps.

Sign and reference: a shock is the change of a site's load against its running load, MW, positive when load rises.
``rating`` is the largest surge *above* the running load (1.6 MW of rating on 0.5 MW of running load can reach 2.1 MW);
a drop loses at most ``running``. So ``-running <= shock <= rating`` in every second.

Scenario k depends on the seed, the shares and k alone: it is the same in an ensemble of 20 and of 2,000, and in
whatever order or chunk it is made. Its class comes from the shares by a rule that keeps every prefix of the ensemble
in proportion, its figures from a random stream of its own.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import xarray as xr

from drofcm.core.errors import Finding, raise_if_any
from drofcm.core.randomness import settled, stream
from drofcm.scenarios.ensemble import seconds_of, step_statistics
from drofcm.scenarios.events import EVENTS, Sites
from drofcm.scenarios.generate import check_count, check_horizon, check_size, draw_all, whole
from drofcm.scenarios.shocks_check import check_downstream, check_lines, check_shares, check_sites

__all__ = ["EVENT_CLASSES", "SiteEvents", "demand_shocks", "event_classes", "shock_trace", "site_events"]

EVENT_CLASSES: Final = ("surge", "training", "drop", "fault")
"""Classes of events: the processes of `drofcm.scenarios.events`, and line faults alone or with one of them."""

_RECIPE: Final = "ai_shocks_1"
# what else happens while a line is out: the fault's voltage dip makes sites drop, or a surge meets a weakened feeder
_BESIDE_FAULT: Final = ("", "drop", "surge")
_BESIDE_FAULT_SHARES = (0.35, 0.35, 0.3)
_TOLERANCE = 1e-9


@dataclass(frozen=True)
class SiteEvents:
    """Checked arguments: everything that scenario k depends on."""

    nodes: npt.NDArray[np.str_]
    sites: Sites
    steps: npt.NDArray[np.int64]
    shares: dict[str, float]
    fault_lines: tuple[str, ...]
    cut_off: dict[str, npt.NDArray[np.bool_]]
    seed: int

    def draw(self, scenario: int, event: str) -> tuple[npt.NDArray[np.float64], str]:
        """Change of load, MW over (node, second), and the line that is out (``""``: none)."""
        seconds = int(self.steps.sum())
        rng = stream(self.seed, "shocks", scenario)
        if event != "fault":
            return EVENTS[event](self.sites, seconds, rng), ""
        line = str(stream(self.seed, "fault lines", scenario).choice(np.asarray(self.fault_lines)))
        beside = str(rng.choice(_BESIDE_FAULT, p=_BESIDE_FAULT_SHARES))
        if not beside:
            return np.zeros((len(self.nodes), seconds)), line
        return EVENTS[beside](self.sites.without(self.cut_off[line]), seconds, rng), line

    def settle(self, change: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Changes of load over (..., node, time) to a watt, within what the sites can gain and lose."""
        return np.clip(settled(change), -self.sites.running[:, None], self.sites.rating[:, None])


@dataclass(frozen=True)
class _Steps:
    """Scenario k in steps: mean, high and low over (node, time), and the line that is out."""

    study: SiteEvents
    classes: tuple[str, ...]

    def __call__(self, scenario: int) -> tuple[npt.NDArray[np.float64], str]:
        change, line = self.study.draw(scenario, self.classes[scenario])
        return self.study.settle(np.stack(step_statistics(change, self.study.steps))), line


def event_classes(
    scenarios: int, shares: Mapping[str, float], known: Sequence[str] = EVENT_CLASSES
) -> npt.NDArray[np.str_]:
    """The class of every scenario, so that every prefix of the ensemble holds its shares.

    Scenario k gets the class with the earliest deadline among those that are due (the chairman assignment of
    Tijdeman 1980, Discrete Mathematics 32, 323-330). The count of each class is then less than one away from
    share x scenarios, for every number of scenarios: exact where that is whole for every class, rounded up or down
    otherwise. Stratifying by largest remainder would do as well for one ensemble, but would give scenario k another
    class whenever scenarios are added. The order carries no randomness; scenarios of a class are exchangeable.

    Parameters
    ----------
    scenarios
        Number of scenarios, at least 1.
    shares
        Share of each class, by name; they sum to 1. Classes left out have none.
    known
        Names of the classes; their order decides between classes that are due alike.

    Returns
    -------
    numpy.ndarray
        Names of classes over (scenario,).

    Raises
    ------
    InputError
        If the number is not at least 1, a class is unknown, or the shares are negative or do not sum to 1.
    """
    raise_if_any([*check_count(scenarios), *check_shares(shares, known)])
    names = [name for name in known if shares.get(name, 0.0) > 0]
    share = np.array([shares[name] for name in names])
    share /= share.sum()
    if len(names) == 1:
        return np.full(scenarios, names[0])
    slack = 1 / (2 * len(names) - 2)
    count = np.zeros(len(names))
    order = np.empty(scenarios, dtype=np.int64)
    for k in range(scenarios):
        behind = share * (k + 1) - count
        due = behind >= slack - _TOLERANCE
        deadline = np.where(due, (1 - slack - behind) / share, np.inf)
        order[k] = np.flatnonzero(deadline <= deadline.min() + _TOLERANCE)[0]
        count[order[k]] += 1
    return np.asarray(names)[order]


def demand_shocks(
    *,
    scenarios: int,
    rating: xr.DataArray,
    running: xr.DataArray,
    step_length: xr.DataArray,
    shares: Mapping[str, float],
    fault_lines: Sequence[str],
    lines: Sequence[str],
    seed: int,
    downstream: xr.DataArray | None = None,
    client: Any = None,
    chunk: int | None = None,
) -> xr.Dataset:
    """An ensemble of demand shocks, equally probable.

    Parameters
    ----------
    scenarios
        Number of scenarios S.
    rating
        Largest surge above the running load, MW over (node,).
    running
        Load before the event that can leave, MW over (node,), same labels as ``rating``.
    step_length
        h over (time,): whole seconds; they add up to the horizon (8 h in the main study).
    shares
        Share of each class of event (`EVENT_CLASSES`); they sum to 1.
    fault_lines
        Lines that a fault may put out for the whole event (laterals); may be empty if no share is on faults.
    lines
        Labels of all lines.
    seed
        The study's seed.
    downstream
        0/1 over (line, node): 1 where the line feeds the node. With it, no shock falls on a node that the fault cuts
        off; without it, whoever knows the feeder must set the shock to zero there.
    client, chunk
        A `dask.distributed.Client` that draws, and scenarios per task; the ensemble does not depend on them.

    Returns
    -------
    xarray.Dataset
        ``shock``, ``shock_high``, ``shock_low``: mean, largest and smallest change of load in each step, MW over
        (scenario, node, time); ``line_out``: 1 where the fault puts the line out, over (scenario, line);
        ``probability``: 1/S; coordinate ``event_class`` (scenario). The seed and the recipe (JSON) are in ``attrs``.

    Raises
    ------
    InputError
        With every finding: wrong units, labels, signs or NaN, steps that are not whole seconds, unknown classes,
        shares that do not sum to 1, fault lines that do not exist, classes that no site or line can have.

    Notes
    -----
    One scenario is held at one-second resolution at a time, whatever their number. Changes of load are rounded to a
    watt, so that they are the same on every processor.
    """
    findings = [
        *check_count(scenarios),
        *check_lines(fault_lines, lines),
        *check_shares(shares, EVENT_CLASSES),
    ]
    study = site_events(rating, running, step_length, shares, fault_lines, seed, downstream, findings)
    raise_if_any(check_size(scenarios, len(study.nodes), len(study.steps)))
    classes = event_classes(scenarios, shares)
    drawn = draw_all(_Steps(study, tuple(map(str, classes))), scenarios, client=client, chunk=chunk)
    mean, high, low = np.stack([steps for steps, _ in drawn], axis=1)
    position = {str(label): index for index, label in enumerate(lines)}
    line_out = np.zeros((scenarios, len(position)), dtype=np.int8)
    for k, (_, line) in enumerate(drawn):
        if line:
            line_out[k, position[line]] = 1
    over = ("scenario", "node", "time")
    recipe = {
        "generator": _RECIPE,
        "shares": study.shares,
        "horizon_s": int(study.steps.sum()),
        "fault_lines": list(study.fault_lines),
    }
    return xr.Dataset(
        {
            "shock": (over, mean, {"units": "MW", "long_name": "mean change of load in the step"}),
            "shock_high": (over, high, {"units": "MW", "long_name": "largest change of load within the step"}),
            "shock_low": (over, low, {"units": "MW", "long_name": "smallest change of load within the step"}),
            "line_out": (("scenario", "line"), line_out, {"units": "1", "long_name": "1: the event puts the line out"}),
            "probability": ("scenario", np.full(scenarios, 1 / scenarios), {"units": "1"}),
        },
        coords={
            "scenario": np.arange(scenarios, dtype=np.int64),
            "node": study.nodes,
            "time": np.asarray(step_length["time"].values),
            "line": [str(label) for label in lines],
            "event_class": ("scenario", classes),
        },
        attrs={"seed": seed, "recipe": json.dumps(recipe)},
    )


def shock_trace(
    *,
    scenario: int,
    rating: xr.DataArray,
    running: xr.DataArray,
    step_length: xr.DataArray,
    shares: Mapping[str, float],
    fault_lines: Sequence[str],
    seed: int,
    downstream: xr.DataArray | None = None,
) -> xr.DataArray:
    """The one-second trace of one scenario of `demand_shocks`: the same draw, before aggregation.

    Parameters
    ----------
    scenario
        Label k of the scenario, 0 or above; it need not be in any ensemble yet.
    rating, running, step_length, shares, fault_lines, seed, downstream
        As for `demand_shocks`.

    Returns
    -------
    xarray.DataArray
        Change of load, MW over (node, second), with scalar coordinates ``scenario``, ``event_class`` and
        ``line_out`` (the label of the line that is out, or ``""``).

    Raises
    ------
    InputError
        As `demand_shocks`, and if ``scenario`` is negative.
    """
    findings = list(check_shares(shares, EVENT_CLASSES))
    if not whole(scenario) or scenario < 0:
        findings.append(Finding("scenario", f"must be a whole number of 0 or above, got {scenario!r}"))
    study = site_events(rating, running, step_length, shares, fault_lines, seed, downstream, findings)
    event = str(event_classes(scenario + 1, shares)[-1])
    change, line = study.draw(scenario, event)
    return xr.DataArray(
        study.settle(change),
        dims=("node", "second"),
        coords={
            "node": study.nodes,
            "second": np.arange(change.shape[1]),
            "scenario": scenario,
            "event_class": event,
            "line_out": line,
        },
        name="shock",
        attrs={"units": "MW", "long_name": "change of load"},
    )


def _order(name: str) -> int:
    """Classes of this module first, in their order."""
    return EVENT_CLASSES.index(name) if name in EVENT_CLASSES else len(EVENT_CLASSES)


def site_events(
    rating: xr.DataArray,
    running: xr.DataArray,
    step_length: xr.DataArray,
    shares: Mapping[str, float],
    fault_lines: Sequence[str],
    seed: int,
    downstream: xr.DataArray | None,
    findings: list[Finding],
) -> SiteEvents:
    """Bind what the demand side of a scenario depends on.

    Arguments are those of `demand_shocks`; ``findings`` are those found before, raised together with what is found
    here. Whether the shares name known classes and sum to 1 is for the caller to say, who knows the classes.
    """
    steps, step_findings = seconds_of(step_length)
    findings = [*findings, *step_findings, *check_horizon(int(steps.sum())), *check_sites(rating, running, shares)]
    if not whole(seed) or seed < 0:
        findings.append(Finding("seed", f"must be a whole number of 0 or above, got {seed!r}"))
    if shares.get("fault", 0) > 0 and not len(fault_lines):
        fix = "name the lines that may fail, or set the share to 0"
        findings.append(Finding("fault_lines", f"share of 'fault' is {shares['fault']:g}, but no line may fail", fix))
    findings += check_downstream(downstream, fault_lines, rating)
    raise_if_any(findings)
    nodes = rating["node"].values
    cut_off = {str(line): np.zeros(len(nodes), dtype=bool) for line in fault_lines}
    if downstream is not None:
        for line in cut_off:
            cut_off[line] = downstream.sel(line=line, node=nodes).values.astype(bool)
    return SiteEvents(
        nodes=np.asarray([str(node) for node in nodes]),
        sites=Sites(np.asarray(rating, dtype=float), np.asarray(running.sel(node=nodes), dtype=float)),
        steps=steps,
        shares={name: float(shares[name]) for name in sorted(shares, key=_order)},
        fault_lines=tuple(str(line) for line in fault_lines),
        cut_off=cut_off,
        seed=seed,
    )
