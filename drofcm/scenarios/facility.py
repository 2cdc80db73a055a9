"""From servers to megawatts at a bus: what smooths when many servers add up, and what does not.

Servers of one training job wait for each other, so that their swings add up: a job of any size swings like one server.
Servers of an inference service answer requests of their own: the deviations of n servers shrink as 1 / sqrt(n), their
skew with them, and stalls of single servers become a share of the level. Jobs that do not know of each other smooth as
independent processes do. Cooling and losses follow the computers with minutes of delay, so that they smooth the fastest
swings a little (``overhead``, ``cooling_s``: engineering judgement).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import xarray as xr
from scipy.signal import lfilter

from drofcm.core.errors import Finding, raise_if_any
from drofcm.core.randomness import settled
from drofcm.scenarios.loads import (
    InferenceService,
    TrainingJob,
    check_processes,
    inference_load,
    service_of,
    training_load,
)

__all__ = ["Facility", "cluster_load", "day_of_requests", "facility_load", "pooled"]

Floats = npt.NDArray[np.float64]

# from the level of a service to the middle of 0.3 to 0.5 of peak, where a stall leaves it
_STALL_DEPTH = 0.55
_DAY_S = 86_400.0
_BUSIEST_HOUR = 14.0


@dataclass(frozen=True)
class Facility:
    """What a data centre at one bus runs.

    Attributes
    ----------
    training_mw
        Peak power of the computers of each training job, MW; every entry is one synchronous job.
    inference_mw
        Peak power of the computers that serve requests, MW.
    job, service
        The process of the training jobs and of the inference servers.
    server_kw
        Peak power of one server, kW: it tells how many servers share the requests.
    overhead
        Cooling and losses over computing, at full load.
    cooling_s
        How slowly cooling follows, s.
    night
        Requests at the quietest hour over those at the busiest; 1: flat.
    """

    training_mw: tuple[float, ...] = ()
    inference_mw: float = 0.0
    job: str | TrainingJob = "checkpoint_1000"
    service: str | InferenceService = "llama_405b"
    server_kw: float = 5.5
    overhead: float = 0.2
    cooling_s: float = 300.0
    night: float = 1.0

    def __post_init__(self) -> None:
        """Refuse what cannot be.

        Raises
        ------
        InputError
            If a power, share or time lies outside its range, nothing runs, or a process is unknown.
        """
        ranges = {
            **{f"training_mw[{place}]": (mw, 0.0, np.inf) for place, mw in enumerate(self.training_mw)},
            "inference_mw": (self.inference_mw, 0.0, np.inf),
            "server_kw": (self.server_kw, 1e-9, np.inf),
            "overhead": (self.overhead, 0.0, np.inf),
            "cooling_s": (self.cooling_s, 0.0, np.inf),
            "night": (self.night, 0.0, 1.0),
        }
        findings = [
            Finding(name, f"must be within {low:g} and {high:g}, got {value!r}")
            for name, (value, low, high) in ranges.items()
            if not low <= value <= high or not np.isfinite(value)
        ]
        if not findings and self.peak_mw <= 0:
            findings.append(Finding("training_mw", "nothing runs", "give training_mw or inference_mw above 0"))
        raise_if_any([*findings, *check_processes(self.job, self.service)])

    @property
    def peak_mw(self) -> float:
        """Largest power at the bus, MW."""
        return (1 + self.overhead) * (sum(self.training_mw) + self.inference_mw)


def pooled(service: InferenceService, servers: int) -> InferenceService:
    """What n independent servers of a service do together, as a share of n times the peak of one.

    Level and memory stay, spread and skew shrink as 1 / sqrt(n) (exact for the first two moments and the skewness of
    small shape parameters); stalls of single servers lower the level by their share and add to the spread.

    Parameters
    ----------
    service
        One server.
    servers
        How many, at least 1.

    Raises
    ------
    InputError
        If ``servers`` is not a whole number of at least 1.
    """
    if not isinstance(servers, int | np.integer) or servers < 1:
        raise_if_any([Finding("servers", f"must be a whole number of at least 1, got {servers!r}")])
    if servers == 1:
        return service
    rate = 1 / service.stall_every_s
    variance = service.spread**2 + rate * (1 - rate) * _STALL_DEPTH**2
    return replace(
        service,
        level=service.level - rate * _STALL_DEPTH,
        spread=float(np.sqrt(variance / servers)),
        skew=service.skew / float(np.sqrt(servers)),
        stall_every_s=np.inf,
    )


def day_of_requests(seconds: int, *, night: float, start_hour: float) -> Floats:
    """Requests over a day as a share of the busiest hour, 14 h: a cosine between ``night`` and 1, over (second)."""
    hour = start_hour + np.arange(seconds) / 3600
    phase = 2 * np.pi * (hour - _BUSIEST_HOUR) * 3600 / _DAY_S
    return np.asarray(night + (1 - night) * 0.5 * (1 + np.cos(phase)), dtype=float)


def facility_load(
    facility: Facility, seconds: int, *, rng: np.random.Generator, start_hour: float = _BUSIEST_HOUR
) -> xr.DataArray:
    """Power of one data centre at its bus.

    Parameters
    ----------
    facility
        What it runs.
    seconds
        Length of the trace.
    rng
        Source of randomness.
    start_hour
        Hour of the day at which the trace begins; only a facility with ``night`` below 1 depends on it.

    Returns
    -------
    xarray.DataArray
        One-second means, MW over (second,), at most ``facility.peak_mw``.

    Raises
    ------
    InputError
        If the length is not a positive whole number.
    """
    jobs = [np.asarray(training_load(seconds, rng=rng, job=facility.job)) for _ in facility.training_mw]
    return _at_bus(facility, jobs, seconds, rng, start_hour)


def cluster_load(
    facilities: Sequence[Facility],
    seconds: int,
    *,
    rng: np.random.Generator,
    common: float = 0.85,
    start_hour: float = _BUSIEST_HOUR,
) -> xr.DataArray:
    """Power of several data centres whose training jobs span the sites and therefore swing together.

    Parameters
    ----------
    facilities
        What each site runs; the k-th training job of every site is part of one job of the cluster.
    seconds
        Length of the traces.
    rng
        Source of randomness.
    common
        Share of each site's job that follows the job of the cluster, 0 to 1; the rest is the site's own.
    start_hour
        Hour of the day at which the traces begin.

    Returns
    -------
    xarray.DataArray
        MW over (site, second); sites count 0, 1, 2, ...

    Raises
    ------
    InputError
        If there is no facility, the share lies outside 0 and 1, or the length is not a positive whole number.
    """
    findings = [] if len(facilities) else [Finding("facilities", "there is no facility", "give at least one")]
    if not 0 <= common <= 1:
        findings.append(Finding("common", f"must be within 0 and 1, got {common!r}"))
    raise_if_any(findings)
    most = max(len(facility.training_mw) for facility in facilities)
    first = next((facility.job for facility in facilities if facility.training_mw), "checkpoint_1000")
    spanning = [np.asarray(training_load(seconds, rng=rng, job=first)) for _ in range(most)]
    rows = []
    for facility in facilities:
        own = [np.asarray(training_load(seconds, rng=rng, job=facility.job)) for _ in facility.training_mw]
        jobs = [common * joint + (1 - common) * alone for joint, alone in zip(spanning, own, strict=False)]
        rows.append(_at_bus(facility, jobs, seconds, rng, start_hour).values)
    return xr.DataArray(
        np.stack(rows),
        dims=("site", "second"),
        coords={"site": np.arange(len(rows)), "second": np.arange(seconds)},
        attrs={"units": "MW", "long_name": "power at the bus"},
    )


def _at_bus(
    facility: Facility, jobs: Sequence[Floats], seconds: int, rng: np.random.Generator, start_hour: float
) -> xr.DataArray:
    computing = np.zeros(seconds)
    for mw, job in zip(facility.training_mw, jobs, strict=True):
        computing += mw * job
    if facility.inference_mw > 0:
        servers = max(1, round(1000 * facility.inference_mw / facility.server_kw))
        single = service_of(facility.service)
        served = np.asarray(inference_load(seconds, rng=rng, service=pooled(single, servers)))
        computing += (
            facility.inference_mw * served * day_of_requests(seconds, night=facility.night, start_hour=start_hour)
        )
    return xr.DataArray(
        np.minimum(settled(computing + facility.overhead * _slowly(computing, facility.cooling_s)), facility.peak_mw),
        dims="second",
        coords={"second": np.arange(seconds)},
        attrs={"units": "MW", "long_name": "power at the bus"},
    )


def _slowly(load: Floats, time_s: float) -> Floats:
    """The load as a first-order lag follows it, at rest with its mean before the trace begins."""
    if time_s == 0 or not len(load):
        return load
    keep = float(np.exp(-1 / time_s))
    before = np.array([keep * load[: int(3 * time_s) + 1].mean()])
    followed, _ = lfilter([1 - keep], [1.0, -keep], load, zi=before)
    return np.asarray(followed, dtype=float)
