"""Output that generators on the feeder lose in an event: trips of DG and PV, clouds, storms.

A plant runs at its stated output before the event and can lose up to that. A voltage dip trips some of them; PV comes
back 300 s later over 300 s (enter-service delay and ramp of IEEE 1547-2018, 4.10.3), a generator is started again by
hand. Probabilities of trips and the clouds are engineering judgement.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
import numpy.typing as npt
from scipy.ndimage import uniform_filter1d

from drofcm.core.errors import Finding, raise_if_any, suggest
from drofcm.core.randomness import settled

__all__ = ["KINDS", "Plants", "Sky", "clear_share", "lost_output"]

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]
Sky = Literal["clear", "passing", "storm"]

KINDS: Final = ("dg", "pv")
"""Kinds of plant: a generator with an engine or turbine, and photovoltaics."""

_TRIPS_IN_DIP: Final = {"dg": 0.3, "pv": 0.5}
_TRIPS_ALONE: Final = {"dg": 0.02, "pv": 0.0}
_DIP_SEQUENCE_S = 82
_PV_WAITS_S, _PV_RETURNS_S = 300, 300
_DG_WAITS_S, _DG_RETURNS_S = 2700.0, 300
_CLEAR_S, _CLOUD_S, _EDGE_S = 600.0, 240.0, 45


@dataclass(frozen=True)
class Plants:
    """Generators on the feeder, in the order of their labels.

    Attributes
    ----------
    node
        Label of the bus of each plant; several may share a bus.
    kind
        ``"dg"`` or ``"pv"`` for each plant.
    output
        Output before the event, MW over (plant).
    """

    node: tuple[str, ...]
    kind: tuple[str, ...]
    output: Floats

    def __post_init__(self) -> None:
        """Refuse unknown kinds, negative output, and lists of different length."""
        findings = [
            Finding(f"plants[{place}]", f"unknown kind {kind!r}", suggest(kind, KINDS))
            for place, kind in enumerate(self.kind)
            if kind not in KINDS
        ]
        if not len(self.node) == len(self.kind) == len(self.output):
            sizes = f"{len(self.node)} nodes, {len(self.kind)} kinds, {len(self.output)} outputs"
            findings.append(Finding("plants", f"{sizes} do not match", "one of each per plant"))
        findings += [
            Finding(f"plants[{place}]", f"output must be 0 MW or above, is {value:g}")
            for place, value in enumerate(self.output)
            if not (np.isfinite(value) and value >= 0)
        ]
        raise_if_any(findings)

    def trips(self, dip: bool, rng: np.random.Generator) -> Flags:
        """Which plants trip: some in a voltage dip, seldom one by itself."""
        chance = _TRIPS_IN_DIP if dip else _TRIPS_ALONE
        return np.asarray(rng.random(len(self.kind)) < [chance[kind] for kind in self.kind])


def clear_share(seconds: int, sky: Sky, rng: np.random.Generator) -> Floats:
    """Irradiance as a share of that at the onset, over (second), from 1 in the first second.

    Parameters
    ----------
    seconds
        Length of the trace.
    sky
        ``"clear"``: 1 throughout; ``"passing"``: clouds of about four minutes every ten, edges of 45 s; ``"storm"``: it
        darkens within minutes and stays so.
    rng
        Source of randomness.
    """
    if sky == "clear":
        return np.ones(seconds)
    if sky == "storm":
        begin, falls = rng.uniform(0, 900), rng.uniform(300, 1200)
        dark = rng.uniform(0.08, 0.25)
        part = np.clip((np.arange(seconds) - begin) / falls, 0, 1)
        return np.asarray(1 - (1 - dark) * part, dtype=float)
    pairs = int(3 * seconds / (_CLEAR_S + _CLOUD_S)) + 10
    length = np.stack([rng.exponential(_CLEAR_S, pairs), rng.exponential(_CLOUD_S, pairs)], axis=1)
    # the trace begins in the sun: the plant runs at its stated output
    length[0, 0] += _EDGE_S
    level = np.stack([np.ones(pairs), 1 - rng.uniform(0.4, 0.8, pairs)], axis=1).ravel()
    edges = np.cumsum(np.ceil(length).astype(np.int64).ravel())
    if edges[-1] < seconds:
        edges[-1] = seconds
    share = level[np.searchsorted(edges, np.arange(seconds), side="right")]
    return np.asarray(uniform_filter1d(share, min(_EDGE_S, seconds), mode="nearest"), dtype=float)


def lost_output(
    plants: Plants,
    seconds: int,
    *,
    tripped: Flags,
    sky: Sky,
    rng: np.random.Generator,
    shaded: Flags | None = None,
) -> Floats:
    """Output that each plant has lost against that before the event.

    The sky is common: clouds reach each PV plant within two minutes of the first, and a fifth of their depth is each
    plant's own. Trips fall into the first 82 seconds.

    Parameters
    ----------
    plants
        The plants.
    seconds
        Length of the traces.
    tripped
        Which plants trip, over (plant).
    sky
        What the sky does: `clear_share`.
    rng
        Source of randomness.
    shaded
        Which plants the clouds reach, over (plant); all if left out.

    Returns
    -------
    numpy.ndarray
        MW over (plant, second), between 0 and the output.
    """
    lost = np.zeros((len(plants.kind), seconds))
    common = clear_share(seconds, sky, rng)
    # one dip for all: what trips, trips at the same time
    trip = int(rng.integers(0, _DIP_SEQUENCE_S + 1))
    for place, kind in enumerate(plants.kind):
        own, lag = clear_share(seconds, sky, rng), int(rng.integers(0, 121))
        waits = float(np.clip(rng.lognormal(np.log(_DG_WAITS_S), 0.5), 600, 14_400))
        available = np.ones(seconds)
        if kind == "pv" and (shaded is None or shaded[place]):
            moved = np.concatenate([np.ones(lag), common])[:seconds]
            available = 0.8 * moved + 0.2 * own
        if tripped[place]:
            back, over = (_PV_WAITS_S, _PV_RETURNS_S) if kind == "pv" else (int(waits), _DG_RETURNS_S)
            since = np.arange(seconds) - trip
            available = available * np.where(since < 0, 1.0, np.clip((since - back) / over, 0, 1))
        output = plants.output[place]
        lost[place] = np.minimum(settled(output * np.clip(1 - available, 0.0, 1.0)), output)
    return lost
