"""Minimal fleets: the fewest modules at a node with which it can be stabilised at all.

A node counts as stabilised if modules deliver (or absorb), from its deadline on, what the supply cannot follow. That
takes enough power at every step and enough energy over every run of steps, of technologies that can be there in time.
The whole-numbered fleets that have both form an up-set; its minimal elements m_1, ..., m_K say all about it:

    stabilised (u = 1)  =>  n >= m_k for some k,

a disjunction whose convex hull is n >= sum_k m_k share_k, sum_k share_k >= u, share >= 0 (Balas 1985). With it the
relaxation can no longer stabilise a node by fractions of modules.

References
----------
Balas, E. (1985). Disjunctive programming and a hierarchy of relaxations for discrete optimization problems.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import xarray as xr

from drofcm.fcm.catalogue import can_absorb, is_storage
from drofcm.fcm.requirement import step_end

__all__ = ["minimal_fleets"]

Vector = npt.NDArray[np.float64]
Fleets = npt.NDArray[np.int64]

_TOLERANCE = 1e-6
_MOST_FLEETS = 20_000
"""Fleets that are looked through for one node and scenario; with more, its disjunction is left out."""


def minimal_fleets(
    data: xr.Dataset, cover_surge: xr.DataArray, cover_drop: xr.DataArray, available: xr.DataArray
) -> xr.Dataset:
    """The minimal fleets of every node and scenario that stabilise it.

    They are necessary, not sufficient: ramps, the network and what other nodes need are left out.

    Parameters
    ----------
    data
        Technologies, supply limits and requirement of the A.1 Dataset, and ``imbalance`` and ``node_energised``.
    cover_surge, cover_drop
        Least net power that modules deliver, or absorb, where a node is stabilised, MW, (scenario, node, time);
        zero before the deadline.
    available
        Whether any module of a technology can run at a node by the start of a step, (scenario, node, fcm, time).

    Returns
    -------
    xarray.Dataset
        ``fleet_needed`` (scenario, node): whether a stabilised node needs modules at all; ``minimal_fleet``
        (scenario, node, alternative, fcm), modules; ``alternative_exists`` (scenario, node, alternative). A node that
        needs modules and has no alternative cannot be stabilised.
    """
    need = _Need(data, cover_surge, cover_drop, available)
    scenarios, nodes, technologies = (data.indexes[dim] for dim in ("scenario", "node", "fcm"))
    needed = np.zeros((len(scenarios), len(nodes)), dtype=bool)
    found: dict[tuple[int, int], Fleets] = {}
    for s, i in np.argwhere(need.anything).tolist():
        fleets = need.minimal(s, i)
        if fleets is not None:
            needed[s, i], found[s, i] = True, fleets
    most = max([1, *(len(fleets) for fleets in found.values())])
    fleet = np.zeros((len(scenarios), len(nodes), most, len(technologies)))
    exists = np.zeros((len(scenarios), len(nodes), most), dtype=bool)
    for (s, i), fleets in found.items():
        fleet[s, i, : len(fleets)] = fleets
        exists[s, i, : len(fleets)] = True
    return xr.Dataset(
        {
            "fleet_needed": (("scenario", "node"), needed),
            "minimal_fleet": (("scenario", "node", "alternative", "fcm"), fleet),
            "alternative_exists": (("scenario", "node", "alternative"), exists),
        },
        coords={"scenario": scenarios, "node": nodes, "alternative": np.arange(most), "fcm": technologies},
    )


class _Need:
    """Power and energy that a stabilised node needs, as rows over whole-numbered fleets."""

    def __init__(
        self, data: xr.Dataset, cover_surge: xr.DataArray, cover_drop: xr.DataArray, available: xr.DataArray
    ) -> None:
        storage = is_storage(data)
        by_step = ("scenario", "node", "time")
        self._surge = cover_surge.transpose(*by_step).values
        self._drop = cover_drop.transpose(*by_step).values
        self._available = available.transpose("scenario", "node", "fcm", "time").values.astype(float)
        stock = xr.DataArray(np.minimum(data["requirement"], data["stock"].sum("supplier")))
        self._most = np.floor(stock.transpose("scenario", "node", "fcm").values + _TOLERANCE).astype(int)
        self._most *= self._available.any(axis=-1)
        self._length = data["step_length"].values
        self._power = data["power"].values
        self._absorbed_power = (data["power"] * can_absorb(data)).values
        # a store gives at most what it holds when full, and at most what it brought plus what it took up on the way
        self._full = xr.where(storage, data["eta_discharge"] * data["energy"], data["energy"]).values
        self._brought = (self._full * xr.where(storage, data["initial_soc"], 1.0)).values
        self._absorbs = can_absorb(data).values
        self._capacity = data["energy"].values
        self._eta = data["eta_charge"].values, data["eta_discharge"].values
        follow = data["node_energised"] * np.minimum(data["supply_headroom"], data["supply_ramp"] * step_end(data))
        # what stores can take up before a run of steps: from the supply, or from a drop
        charging = xr.DataArray(follow + (-data["imbalance"]).clip(min=0)) * data["step_length"]
        self._charging = charging.transpose(*by_step).values
        self.anything = ((self._surge > _TOLERANCE) | (self._drop > _TOLERANCE)).any(axis=-1)

    def minimal(self, s: int, i: int) -> Fleets | None:
        """The minimal fleets, (alternative, fcm); None if there are too many fleets to look through."""
        most = self._most[s, i]
        # the last technology is not enumerated: what it has to add follows from the rest
        last = int(np.argmax(most))
        others = np.delete(np.arange(len(most)), last)
        count = math.prod((most[others] + 1).tolist())
        if count > _MOST_FLEETS:
            return None
        rows, least = self._rows(s, i)
        counts = itertools.product(*(range(most[one] + 1) for one in others))
        fleets = np.array(list(counts), dtype=np.int64).reshape(count, len(others))
        missing = least - fleets @ rows[:, others].T  # (fleet, row)
        helps = rows[:, last] > 0
        possible = (missing[:, ~helps] <= _TOLERANCE).all(axis=1)
        added = np.ceil((missing[:, helps] / rows[helps, last]).max(axis=1, initial=0.0) - _TOLERANCE).clip(min=0)
        keep = possible & (added <= most[last])
        return _minimal(np.insert(fleets[keep], last, added[keep], axis=1).astype(np.int64))

    def _rows(self, s: int, i: int) -> tuple[Vector, Vector]:
        """Rows and right-hand sides, rows n >= least, of everything that a stabilised node needs."""
        here, before = self._available[s, i], np.cumsum(self._charging[s, i]) - self._charging[s, i]
        rows, least = [np.zeros((0, len(here)))], [np.zeros(0)]
        for run, cover in _runs(self._surge[s, i]):
            energy = np.cumsum(cover * self._length[run])
            rows += [each * here[:, run].T for each in (self._power, self._full, self._brought)]
            least += [cover, energy, energy - before[run[0]]]
        for run, cover in _runs(self._drop[s, i]):
            hours = np.cumsum(self._length[run])
            rows += [self._absorbed_power * here[:, run].T, self._taken(hours) * here[:, run].T]
            least += [cover, np.cumsum(cover * self._length[run])]
        return np.concatenate(rows), np.concatenate(least)

    def _taken(self, hours: Vector) -> Vector:
        """The most that an empty store takes from the node in so many hours, MWh a module, (step, fcm).

        A store that charges and discharges at once burns power. With a charged and b discharged, a - b is largest,
        subject to a + b <= power x hours and eta_c a - b / eta_d <= capacity, at b = 0 or where both rows are tight.
        """
        charge, discharge = self._eta
        most = hours[:, None] * self._power
        surplus = (charge * most - self._capacity).clip(min=0)
        taken: Vector = np.where(self._absorbs, most - 2 * surplus / (charge + 1 / discharge), 0.0)
        return taken


def _runs(cover: Vector) -> Iterator[tuple[npt.NDArray[np.int64], Vector]]:
    """Runs of consecutive steps with something to cover."""
    steps = np.flatnonzero(cover > _TOLERANCE)
    for run in np.split(steps, np.flatnonzero(np.diff(steps) > 1) + 1):
        if len(run):
            yield run, cover[run]


def _minimal(fleets: Fleets) -> Fleets:
    """Those fleets of which no other is a part."""
    left = fleets[np.argsort(fleets.sum(axis=1), kind="stable")]
    kept = []
    while len(left):
        kept.append(left[0])
        left = left[~(left >= left[0]).all(axis=1)]
    return np.array(kept, dtype=np.int64).reshape(len(kept), fleets.shape[1])
