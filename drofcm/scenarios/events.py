"""What AI events do to the load of several data centres at once: surges, training swings, drops and recoveries.

Each event process returns the change of load of every site against its running load, in MW at one-second resolution,
within ``-running`` and ``+rating``; t = 0 is the onset, the second in which the first site departs from its plan.

What sites have in common is drawn once per event (the job that spans them, the voltage dip, the operator's decision
to reconnect); what is their own is drawn per site (a local share of the load, lags, depth, durations). Shapes within
seconds are measured (`drofcm.scenarios.loads`). Documented cases are about 1,500 MW (10 July 2024: six faults in 82
seconds) and 1,800 MW (February 2025) of data centres that left at once (NERC, Incident Review of January 2025 and State
of Reliability 2025, read through secondary summaries). How many sites take part, how deep and how long events are, and
the return in stages after minutes to an hour, are engineering judgement.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

import numpy as np
import numpy.typing as npt

from drofcm.scenarios.loads import Start, inference_load, training_load

__all__ = ["EVENTS", "Sites", "drop", "surge", "training"]

Floats = npt.NDArray[np.float64]

_MINUTE, _HOUR = 60.0, 3600.0
# idle power of servers stands in the running load, so a job adds what lies above it
_IDLE_SHARE = 0.15
_SITES_TOGETHER = (0.2, 0.35, 0.3, 0.15)
_JOBS: Final = ("checkpoint_1000", "checkpoint_500", "checkpoint_200", "checkpoint_100", "checkpoint_50")
_NEW_JOB_SHARES = (0.55, 0.05, 0.25, 0.1, 0.05)
_SWINGING_JOB_SHARES = (0.25, 0.25, 0.25, 0.15, 0.1)
_SERVICES: Final = ("llama_8b", "llama_70b", "llama_405b")
_FAULT_SEQUENCE_S = 82
_MOST_FAULTS = 6


@dataclass(frozen=True)
class Sites:
    """Data centres, in the order of their labels.

    Attributes
    ----------
    rating
        Largest surge above the running load, MW over (node,).
    running
        Load before the event that can leave, MW over (node,).
    """

    rating: Floats
    running: Floats

    def without(self, cut_off: npt.NDArray[np.bool_]) -> Sites:
        """The same sites; nothing can happen where ``cut_off`` (node,) holds."""
        return Sites(np.where(cut_off, 0.0, self.rating), np.where(cut_off, 0.0, self.running))


def surge(sites: Sites, seconds: int, rng: np.random.Generator) -> Floats:
    """New load on idle capacity of one to four sites: a training job that spans them, or inference from elsewhere.

    Typically 0.4 to 1.0 of the rating for half an hour to four hours; one in five lasts minutes, so that supply can
    follow or wait, one in seven lasts up to eight hours, so that energy counts. Most sites start within seconds of
    the first, some join minutes later; dips of the common job are common to all.

    Parameters
    ----------
    sites
        The data centres; those with a rating of zero take no part.
    seconds
        Length of the horizon.
    rng
        Source of randomness.

    Returns
    -------
    numpy.ndarray
        Change of load, MW over (node, second), zero or above.
    """
    change = np.zeros((len(sites.rating), seconds))
    chosen = _choose(sites.rating > 0, rng)
    duration = _surge_duration(rng)
    level = rng.uniform(0.4, 1.0)
    trains = rng.random() < 0.75
    job = str(rng.choice(_JOBS, p=_NEW_JOB_SHARES))
    common = _new_load(seconds, trains, job, rng)
    for rank, site in enumerate(chosen):
        share = np.clip(level + 0.1 * rng.standard_normal(), 0.3, 1.0)
        own = _new_load(seconds, trains, job, rng)
        joint = rng.uniform(0.6, 0.95)
        lag = 0 if rank == 0 else int(rng.integers(0, 6))
        joins_later = rank > 0 and rng.random() < 0.3
        start = int(rng.uniform(1, 15) * _MINUTE) if joins_later else lag
        end = start + int(duration * rng.uniform(0.9, 1.1))
        load = joint * _delayed(common, lag) + (1 - joint) * _delayed(own, lag)
        window = _rise(seconds, start, rng) if joins_later else (np.arange(seconds) >= start).astype(float)
        change[site] = sites.rating[site] * share * load * window * (1 - _rise(seconds, end, rng))
    return change


def training(sites: Sites, seconds: int, rng: np.random.Generator) -> Floats:
    """The swing of training that is planned already: the sites' load departs from its mean, which stands in the plan.

    One job spans the sites, so that they swing together; its energy is that of the plan at every site.

    Parameters
    ----------
    sites
        The data centres; those with a rating or running load of zero take no part.
    seconds
        Length of the horizon.
    rng
        Source of randomness.

    Returns
    -------
    numpy.ndarray
        Change of load, MW over (node, second), of mean zero at every site.
    """
    change = np.zeros((len(sites.rating), seconds))
    chosen = _choose((sites.rating > 0) & (sites.running > 0), rng)
    length = min(seconds, int(rng.uniform(1.0, 8.0) * _HOUR))
    job = str(rng.choice(_JOBS, p=_SWINGING_JOB_SHARES))
    common = _training(length, job, "running", rng)
    depth = rng.uniform(0.75, 0.98)
    for site in chosen:
        joint = rng.uniform(0.7, 0.98)
        lag = int(rng.integers(0, 3))
        load = joint * np.roll(common, lag) + (1 - joint) * _training(length, job, "running", rng)
        swing = load - load.mean()
        reach = min(sites.running[site] / max(-swing.min(), 1e-6), sites.rating[site] / max(swing.max(), 1e-6))
        change[site, :length] = depth * reach * swing
    return change


def drop(sites: Sites, seconds: int, rng: np.random.Generator) -> Floats:
    """Running load that leaves within a second, and its return in stages.

    In four of five events a sequence of faults dips the voltage of the whole campus and most sites transfer to their
    own supply, nearly all at the same fault; otherwise a single site trips. Operators reconnect after minutes to an
    hour, each site in two to five stages.

    Parameters
    ----------
    sites
        The data centres; those without running load take no part.
    seconds
        Length of the horizon.
    rng
        Source of randomness.

    Returns
    -------
    numpy.ndarray
        Change of load, MW over (node, second), zero or below.
    """
    change = np.zeros((len(sites.running), seconds))
    able = np.flatnonzero(sites.running > 0)
    campus = rng.random() < 0.8
    chosen = able[rng.random(len(able)) < 0.85] if campus else able[:0]
    if len(chosen) == 0 and len(able):
        chosen = rng.choice(able, size=1)
    trips = _trip_seconds(len(chosen), rng)
    depth = rng.uniform(0.6, 1.0)
    hold = rng.lognormal(np.log(12 * _MINUTE), 0.8)
    for site, trip in zip(chosen, trips, strict=True):
        lost = np.clip(depth + 0.08 * rng.standard_normal(), 0.3, 1.0)
        back = trip + np.clip(hold * rng.lognormal(0.0, 0.2), _MINUTE, _HOUR)
        stages = int(rng.integers(2, 6))
        parts = rng.dirichlet(np.full(stages, 4.0))
        gone = (np.arange(seconds) >= trip).astype(float)
        for part in parts:
            gone -= part * _rise(seconds, int(back), rng)
            back += rng.uniform(1, 8) * _MINUTE
        change[site] = -sites.running[site] * lost * np.clip(gone, 0.0, 1.0)
        change[site, min(int(back) + int(_MINUTE), seconds) :] = 0.0
    return change


EVENTS: Final[Mapping[str, Callable[[Sites, int, np.random.Generator], Floats]]] = MappingProxyType(
    {"surge": surge, "training": training, "drop": drop}
)
"""Event processes by class."""


def _choose(able: npt.NDArray[np.bool_], rng: np.random.Generator) -> npt.NDArray[np.int64]:
    """One to four of the sites that are able, in random order."""
    candidates = np.flatnonzero(able)
    count = 1 + int(rng.choice(len(_SITES_TOGETHER), p=_SITES_TOGETHER))
    return np.asarray(rng.permutation(candidates)[:count], dtype=np.int64)


def _surge_duration(rng: np.random.Generator) -> float:
    """Seconds: minutes in 20 %, up to eight hours in 15 %, otherwise half an hour to four hours around 1.5 hours."""
    kind = rng.random()
    if kind < 0.2:
        return float(rng.uniform(5, 30) * _MINUTE)
    if kind > 0.85:
        return float(rng.uniform(4, 8) * _HOUR)
    return float(np.clip(rng.lognormal(np.log(1.5), 0.6), 0.5, 4.0) * _HOUR)


def _new_load(seconds: int, trains: bool, job: str, rng: np.random.Generator) -> Floats:
    """Load that begins in the first second, share of its peak above idle power."""
    if trains:
        return _training(seconds, job, "warm", rng)
    service = str(rng.choice(_SERVICES))
    return np.asarray(inference_load(seconds, rng=rng, service=service, filling=True), dtype=float)


def _training(seconds: int, job: str, start: Start, rng: np.random.Generator) -> Floats:
    load = np.asarray(training_load(seconds, rng=rng, job=job, start=start), dtype=float)
    return np.clip((load - _IDLE_SHARE) / (1 - _IDLE_SHARE), 0.0, 1.0)


def _delayed(load: Floats, lag: int) -> Floats:
    return np.concatenate([np.zeros(lag), load])[: len(load)]


def _rise(seconds: int, start: int, rng: np.random.Generator) -> Floats:
    """From 0 to 1 at ``start``: about half within the first second, all but a per cent within fifteen."""
    since = np.arange(seconds) - start
    jump, rest_s = rng.uniform(0.45, 0.65), rng.uniform(1.5, 3.5)
    rising = 1 - (1 - jump) * np.exp(-np.maximum(since, 0) / rest_s)
    return np.where(since < 0, 0.0, np.where(since > _MINUTE, 1.0, rising))


def _trip_seconds(count: int, rng: np.random.Generator) -> npt.NDArray[np.int64]:
    """When each site transfers: at the fault its controls count up to, the same one for most; the first is at 0."""
    faults = np.sort(rng.integers(0, _FAULT_SEQUENCE_S + 1, size=int(rng.integers(1, _MOST_FAULTS + 1))))
    common = rng.integers(len(faults))
    own = rng.integers(len(faults), size=count)
    at = faults[np.where(rng.random(count) < 0.85, common, own)]
    return np.asarray(at - at.min(initial=_FAULT_SEQUENCE_S), dtype=np.int64)
