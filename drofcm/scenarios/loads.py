"""Power of AI computing at one-second resolution, as a share of its own peak.

Two processes are told apart by measurement (``datasets/traces/ai_power``). A training job alternates between a busy
plateau and dips to idle power (checkpoint, synchronisation, data loading): rectangular, with half of the peak gained
or lost within a second. Inference at a steady batch size is nearly flat.

The figures of the processes below are fitted so that 700-second traces reproduce the table of measured figures; the
tests hold every one of them to that table, with the tolerance stated there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Literal, TypeVar

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr
from scipy.signal import lfilter

from drofcm.core.errors import Finding, raise_if_any, suggest
from drofcm.core.randomness import settled
from drofcm.scenarios.generate import whole

__all__ = [
    "INFERENCE_SERVICES",
    "TRAINING_JOBS",
    "InferenceService",
    "Start",
    "TrainingJob",
    "check_processes",
    "inference_load",
    "ramp_figures",
    "service_of",
    "training_load",
]

Floats = npt.NDArray[np.float64]
Start = Literal["cold", "warm", "running"]

MOST_SECONDS: Final = 366 * 86_400
"""Longest trace that is drawn at once; a score of arrays of that length are made on the way, 250 MB each."""

# the 8 x H100 server of the measured traces, shares of its peak
_IDLE = (0.126, 0.160)
_PLATEAU = (0.920, 0.970)
_LOADING_S = (108, 122)
_STOP_S = (110, 260)
_DIP_BELOW = 0.5


@dataclass(frozen=True)
class TrainingJob:
    """How one kind of training job alternates between work and dips.

    Attributes
    ----------
    busy_s, busy_spread
        Median seconds of work between two dips, and the standard deviation of its logarithm.
    dip_s, dip_spread
        Median seconds of a long dip (a checkpoint is written), and the standard deviation of its logarithm.
    brief
        Share of dips that are brief halts of 3 to 8 seconds (synchronisation, data loading).
    stops
        Share of dips that are stops: the job is loaded again, idle for two to four minutes.
    idle, plateau
        Ranges of power in dips and at work, shares of peak.
    """

    busy_s: float
    dip_s: float
    brief: float
    stops: float = 0.0
    busy_spread: float = 0.3
    dip_spread: float = 0.15
    idle: tuple[float, float] = _IDLE
    plateau: tuple[float, float] = _PLATEAU

    def __post_init__(self) -> None:
        """Refuse durations, shares and ranges that cannot be."""
        bounds = {"busy_s": (0.5, np.inf), "dip_s": (0.5, np.inf), "brief": (0, 1), "stops": (0, 1 - self.brief)}
        bounds |= {"busy_spread": (0, np.inf), "dip_spread": (0, np.inf)}
        findings = _outside(self, bounds)
        for name, (low, high) in (("idle", self.idle), ("plateau", self.plateau)):
            if not 0 <= low <= high <= 1:
                findings.append(Finding(f"TrainingJob.{name}", f"must rise within 0 and 1, got ({low:g}, {high:g})"))
        raise_if_any(findings)


@dataclass(frozen=True)
class InferenceService:
    """How the power of a service at steady batch size varies around its level.

    Attributes
    ----------
    level, spread
        Mean and standard deviation, shares of peak.
    memory
        Correlation between one second and the next.
    skew
        How much farther power reaches above its level than below (log-normal shape parameter; 0: symmetric).
    stall_every_s
        Mean seconds between stalls, in which power falls towards a third of peak for a second or two.
    """

    level: float
    spread: float
    memory: float
    skew: float = 0.0
    stall_every_s: float = np.inf

    def __post_init__(self) -> None:
        """Refuse levels, spreads and memories that cannot be."""
        bounds = {"level": (0, 1), "spread": (0, 1), "memory": (0, 0.999), "skew": (0, 2), "stall_every_s": (1, np.inf)}
        raise_if_any(_outside(self, bounds))


def _outside(process: TrainingJob | InferenceService, bounds: Mapping[str, tuple[float, float]]) -> list[Finding]:
    return [
        Finding(f"{type(process).__name__}.{name}", f"must be within {low:g} and {high:g}, got {value:g}")
        for name, (low, high) in bounds.items()
        if not low <= (value := float(getattr(process, name))) <= high
    ]


TRAINING_JOBS: Final[Mapping[str, TrainingJob]] = MappingProxyType(
    {
        "checkpoint_50": TrainingJob(busy_s=18, dip_s=15, brief=0.0, busy_spread=0.15, dip_spread=0.75),
        "checkpoint_100": TrainingJob(busy_s=27, dip_s=34, brief=0.2),
        "checkpoint_200": TrainingJob(busy_s=42, dip_s=24, brief=0.3),
        "checkpoint_500": TrainingJob(busy_s=65, dip_s=25, brief=0.2, stops=0.2),
        "checkpoint_1000": TrainingJob(busy_s=165, dip_s=26, brief=0.15),
    }
)
"""Kinds of training job by the number of steps between two checkpoints."""

INFERENCE_SERVICES: Final[Mapping[str, InferenceService]] = MappingProxyType(
    {
        "llama_8b": InferenceService(level=0.951, spread=0.024, memory=0.0),
        "llama_70b": InferenceService(level=0.908, spread=0.030, memory=0.2, skew=0.25),
        "llama_405b": InferenceService(level=0.885, spread=0.043, memory=0.42, skew=0.15),
        "qwen_30b": InferenceService(level=0.965, spread=0.014, memory=0.3, stall_every_s=179.0),
    }
)
"""Kinds of inference service by the measured model."""


def training_load(
    seconds: int, *, rng: np.random.Generator, job: str | TrainingJob = "checkpoint_1000", start: Start = "running"
) -> xr.DataArray:
    """One-second means of the power of a training job.

    Parameters
    ----------
    seconds
        Length of the trace.
    rng
        Source of randomness.
    job
        A kind of job, a key of `TRAINING_JOBS`, or one of your own (`drofcm.scenarios.calibration.calibrate`).
    start
        ``"cold"``: the job is loaded first, about two minutes at idle power, as in the measured traces;
        ``"warm"``: work begins in the first second, from idle power; ``"running"``: the job has run for long.

    Returns
    -------
    xarray.DataArray
        Share of peak over (second,), within [0, 1].

    Raises
    ------
    InputError
        If the length is not a positive whole number, or the kind of job or start is unknown.
    """
    findings = _check_length(seconds) + _check_kind("job", job, TRAINING_JOBS)
    if start not in ("cold", "warm", "running"):
        findings.append(Finding("start", f"unknown start {start!r}", suggest(str(start), ("cold", "warm", "running"))))
    raise_if_any(findings)
    kind = job if isinstance(job, TrainingJob) else TRAINING_JOBS[job]
    lead = int(rng.integers(600, 1800)) if start == "running" else 0
    length, busy = _blocks(kind, seconds + lead, start == "cold", rng)
    load = _follow_blocks(kind, length, busy, rng)[lead : lead + seconds]
    return _share_of_peak(load)


def _blocks(
    kind: TrainingJob, seconds: int, cold: bool, rng: np.random.Generator
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
    """Alternating blocks of work and dip, at least ``seconds`` long in all: lengths in seconds, and which are work."""
    mean_cycle = kind.busy_s + kind.dip_s * (1 - kind.brief)
    pairs = int(1.5 * seconds / mean_cycle) + 8
    work = rng.lognormal(np.log(kind.busy_s), kind.busy_spread, pairs)
    dip = rng.lognormal(np.log(kind.dip_s), kind.dip_spread, pairs)
    sort = rng.random(pairs)
    dip = np.where(sort < kind.brief, rng.uniform(3, 8, pairs), dip)
    dip = np.where(sort > 1 - kind.stops, rng.uniform(*_STOP_S, pairs), dip)
    length = np.maximum(np.rint(np.stack([work, dip], axis=1)), 1).astype(np.int64).ravel()
    busy = np.tile([True, False], pairs)
    if cold:
        length = np.concatenate([[rng.integers(*_LOADING_S)], length])
        busy = np.concatenate([[False], busy])
    if length.sum() < seconds:
        length[-2] += seconds - length.sum()
    last = int(np.searchsorted(np.cumsum(length), seconds)) + 1
    return length[:last], busy[:last]


def _follow_blocks(
    kind: TrainingJob, length: npt.NDArray[np.int64], busy: npt.NDArray[np.bool_], rng: np.random.Generator
) -> Floats:
    """Power that moves to the level of each block: a jump in the first second, a fast rest, a slow rest."""
    count = len(length)
    idle = float(rng.uniform(*kind.idle))
    level = np.where(busy, rng.uniform(*kind.plateau, count), idle + rng.uniform(-0.004, 0.004, count))
    jump = np.where(busy, rng.uniform(0.50, 0.76, count), rng.uniform(0.25, 0.76, count))
    fast_s = np.where(busy, rng.uniform(1.5, 3.5, count), rng.uniform(0.8, 2.5, count))
    slow = np.where(busy, rng.uniform(0.14, 0.26, count), rng.uniform(0.01, 0.12, count))
    slow_s = np.where(busy, 16.0, 8.0)

    def left(block: npt.NDArray[np.int64], second: npt.NDArray[np.int64]) -> Floats:
        quick = (1 - slow[block]) * (1 - jump[block]) * np.exp(-second / fast_s[block])
        return np.asarray(quick + slow[block] * np.exp(-(second + 1) / slow_s[block]), dtype=float)

    blocks = np.arange(count, dtype=np.int64)
    left_at_end = left(blocks, length - 1)
    begin = np.empty(count)
    begin[0] = idle
    for index in range(count - 1):
        begin[index + 1] = level[index] + (begin[index] - level[index]) * left_at_end[index]
    block = np.repeat(blocks, length)
    second = np.arange(len(block)) - np.repeat(np.cumsum(length) - length, length)
    load = level[block] + (begin - level)[block] * left(block, second)
    return load + _jitter(load, kind.idle[1], rng)


def _jitter(load: Floats, idle: float, rng: np.random.Generator) -> Floats:
    """Variation from iteration to iteration: grows with the work done, seldom a second that waits for the others."""
    work = np.clip((load - idle) / (1 - idle), 0.0, 1.0)
    waits = rng.random(len(load)) < 0.004
    wait = np.where(waits, rng.uniform(0.08, 0.35, len(load)), 0.0)
    lull = np.where(rng.random(len(load)) < 0.01, rng.uniform(0.005, 0.02, len(load)), 0.0)
    return np.asarray((0.002 + 0.014 * work) * rng.standard_normal(len(load)) - wait * work - lull, dtype=float)


def inference_load(
    seconds: int, *, rng: np.random.Generator, service: str | InferenceService = "llama_405b", filling: bool = False
) -> xr.DataArray:
    """One-second means of the power of inference at a steady batch size.

    Parameters
    ----------
    seconds
        Length of the trace.
    rng
        Source of randomness.
    service
        A kind of service, a key of `INFERENCE_SERVICES`, or one of your own
        (`drofcm.scenarios.calibration.calibrate`).
    filling
        Whether the service begins with a batch that fills up within about two minutes; otherwise it is steady.

    Returns
    -------
    xarray.DataArray
        Share of peak over (second,), within [0, 1].

    Raises
    ------
    InputError
        If the length is not a positive whole number, or the kind of service is unknown.
    """
    raise_if_any(_check_length(seconds) + _check_kind("service", service, INFERENCE_SERVICES))
    kind = service_of(service)
    noise = rng.standard_normal(seconds)
    load = kind.level + kind.spread * _skewed(_autoregressive(noise, kind.memory), kind.skew)
    if filling:
        load = load - 0.15 * np.exp(-np.arange(seconds) / 45.0)
    stalls = rng.random(seconds) < 1 / kind.stall_every_s
    load = np.where(stalls, rng.uniform(0.3, 0.5, seconds), load)
    after = np.concatenate([[False], stalls[:-1]]) & ~stalls
    load = np.where(after, load - np.maximum(rng.uniform(-0.3, 0.3, seconds), 0.0), load)
    return _share_of_peak(load)


def _autoregressive(noise: Floats, memory: float) -> Floats:
    """Stationary first-order process of unit variance: x_t = memory x_{t-1} + sqrt(1 - memory^2) noise_t."""
    scaled = noise * np.sqrt(1 - memory**2)
    scaled[0] = noise[0]
    return np.asarray(lfilter([1.0], [1.0, -memory], scaled), dtype=float)


def _skewed(noise: Floats, skew: float) -> Floats:
    """Standard normal noise made log-normal, kept at mean zero and unit variance."""
    if skew == 0:
        return noise
    bent = np.exp(skew * noise)
    mean = np.exp(skew**2 / 2)
    return np.asarray((bent - mean) / (mean * np.sqrt(np.exp(skew**2) - 1)), dtype=float)


def ramp_figures(load: npt.ArrayLike) -> dict[str, float]:
    """The figures of the calibration table for one trace.

    Parameters
    ----------
    load
        Power at one-second resolution, over (second,), any unit: the figures are shares of its own peak, the
        99.9 % quantile.

    Returns
    -------
    dict
        ``mean``, ``p05``, ``p95``, ``min``; the largest rise and fall within 1 and 10 s (``rise_1s``, ``fall_1s``,
        ``rise_10s``, ``fall_10s``, all positive), the largest change within 60 s (``change_60s``), the 99 % quantile
        of the change within 1 s (``change_1s_p99``); number, median and longest duration in s of dips below half
        of the peak (``dips``, ``dip_median``, ``dip_longest``); the autocorrelation at 10 s.
    """
    power = np.asarray(load, dtype=float)
    share = power / np.quantile(power, 0.999)
    step, ten, minute = (share[lag:] - share[:-lag] for lag in (1, 10, 60))
    edges = np.flatnonzero(np.diff(np.concatenate([[0], share < _DIP_BELOW, [0]]).astype(np.int8)))
    dips = edges[1::2] - edges[::2]
    return {
        "mean": float(share.mean()),
        "p05": float(np.quantile(share, 0.05)),
        "p95": float(np.quantile(share, 0.95)),
        "min": float(share.min()),
        "rise_1s": float(step.max()),
        "fall_1s": float(-step.min()),
        "change_1s_p99": float(np.quantile(np.abs(step), 0.99)),
        "rise_10s": float(ten.max()),
        "fall_10s": float(-ten.min()),
        "change_60s": float(np.abs(minute).max()),
        "dips": float(len(dips)),
        "dip_median": float(np.median(dips)) if len(dips) else 0.0,
        "dip_longest": float(dips.max()) if len(dips) else 0.0,
        "autocorrelation_10s": float(pd.Series(share).autocorr(10)),
    }


def _share_of_peak(load: Floats) -> xr.DataArray:
    return xr.DataArray(
        np.clip(settled(load), 0.0, 1.0),
        dims="second",
        coords={"second": np.arange(len(load))},
        attrs={"units": "1", "long_name": "power, share of peak"},
    )


def _check_length(seconds: int) -> list[Finding]:
    if not whole(seconds) or seconds < 1:
        return [Finding("seconds", f"must be a whole number above zero, got {seconds!r}")]
    if seconds > MOST_SECONDS:
        what = f"{seconds:,} s are {seconds / 86_400:,.0f} days, at most {MOST_SECONDS // 86_400} are drawn at once"
        return [Finding("seconds", what, "draw shorter traces")]
    return []


_Kind = TypeVar("_Kind", TrainingJob, InferenceService)


def _check_kind(name: str, kind: str | _Kind, known: Mapping[str, _Kind]) -> list[Finding]:
    if isinstance(kind, type(next(iter(known.values())))):
        return []
    return [] if str(kind) in known else [Finding(name, f"unknown {name} {kind!r}", suggest(str(kind), known))]


def check_processes(job: str | TrainingJob, service: str | InferenceService) -> list[Finding]:
    """What is wrong with the names of a job and a service."""
    return _check_kind("job", job, TRAINING_JOBS) + _check_kind("service", service, INFERENCE_SERVICES)


def service_of(service: str | InferenceService) -> InferenceService:
    """The service of this name, or the service itself."""
    return INFERENCE_SERVICES[service] if isinstance(service, str) else service
