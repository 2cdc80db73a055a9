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
_WHOLE = 1e-9
_MOST_FLEETS = 2_000
"""Minimal fleets of one node and scenario; with more, its disjunction is left out."""
_MOST_BEGUN = 200_000
"""Fleets that are begun at a time while the minimal ones of one node and scenario are made."""


def minimal_fleets(
    data: xr.Dataset, cover_surge: xr.DataArray, cover_drop: xr.DataArray, available: xr.DataArray
) -> xr.Dataset:
    """The minimal fleets of every node and scenario that stabilise it.

    They are necessary, not sufficient: ramps, the network and what other nodes need are left out.

    Parameters
    ----------
    data
        Technologies, supply limits, stock and ``usable`` of the A.1 Dataset, ``imbalance`` and ``node_energised``.
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
        needs modules and has no alternative cannot be stabilised. ``fleets_left_out`` (scenario, node): whether a node
        has more minimal fleets than are listed, so that none is.
    """
    need = _Need(data, cover_surge, cover_drop, available)
    scenarios, nodes, technologies = (data.indexes[dim] for dim in ("scenario", "node", "fcm"))
    needed = np.zeros((len(scenarios), len(nodes)), dtype=bool)
    left_out = np.zeros_like(needed)
    found: dict[tuple[int, int], Fleets] = {}
    for s, i in np.argwhere(need.anything).tolist():
        fleets = need.minimal(s, i)
        if fleets is None:
            left_out[s, i] = True
        else:
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
            "fleets_left_out": (("scenario", "node"), left_out),
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
        stock = xr.DataArray(np.minimum(data["usable"], data["stock"].sum("supplier")))
        self._most = np.floor(stock.transpose("scenario", "node", "fcm").values + _TOLERANCE).astype(int)
        self._most *= self._available.any(axis=-1)
        self._length = data["step_length"].values
        self._power = data["power"].values
        self._absorbed_power = (data["power"] * can_absorb(data)).values
        absorbs = can_absorb(data)
        # a store gives at most what it holds when full, and at most what it brought plus what it took up on the way
        full = xr.where(storage, data["eta_discharge"] * data["energy"], data["energy"])
        brought = full * xr.where(storage, data["initial_soc"], 1.0)
        self._full, self._brought = xr.where(absorbs, full, brought).values, brought.values
        self._absorbs = absorbs.values
        self._capacity = data["energy"].values
        self._eta = data["eta_charge"].values, data["eta_discharge"].values
        follow = data["node_energised"] * np.minimum(data["supply_headroom"], data["supply_ramp"] * step_end(data))
        # what stores can take up before a run of steps: from the supply, or from a drop
        charging = xr.DataArray(follow + (-data["imbalance"]).clip(min=0)) * data["step_length"]
        self._charging = charging.transpose(*by_step).values
        self.anything = ((self._surge > _TOLERANCE) | (self._drop > _TOLERANCE)).any(axis=-1)

    def minimal(self, s: int, i: int) -> Fleets | None:
        """The minimal fleets, (alternative, fcm); None if there are too many."""
        return smallest_covers(*self._rows(s, i), self._most[s, i], _MOST_FLEETS)

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


def smallest_covers(rows: Vector, least: Vector, most: npt.NDArray[np.int64], limit: int) -> Fleets | None:
    """The minimal whole numbers n of 0 <= n <= most with rows n >= least.

    They are made number by number, from what the numbers so far leave to be covered: no more of a column than its rows
    can use, no less than the columns behind it need, and the last follows from the rest. A beginning of which one
    could be taken away, because every row that it helps is covered without it, leads to no minimal one and is dropped.

    Parameters
    ----------
    rows
        Not negative, (row, column).
    least
        To be covered, (row,).
    most
        The most of each column, (column,).
    limit
        How many there may be.

    Returns
    -------
    numpy.ndarray or None
        (number, column), none of them a part of another; None if there are more than the limit.
    """
    rows = _binding(rows[least > _TOLERANCE] / (least[least > _TOLERANCE, None] - _TOLERANCE))
    # the column with the widest range comes last, where nothing is tried
    order = np.argsort(most, kind="stable")
    rows, most = rows[:, order], most[order]
    behind = np.cumsum((rows * most)[:, ::-1], axis=1)[:, ::-1]
    begun, left = np.zeros((1, 0), dtype=np.int64), np.ones((1, len(rows)))
    for column in range(len(most)):
        after = behind[:, column + 1] if column + 1 < len(most) else np.zeros(len(rows))
        first, last = _range(rows[:, column], left, after, int(most[column]))
        count = (last - first + 1).clip(min=0)
        if count.sum() > _MOST_BEGUN:
            return None
        origin = np.repeat(np.arange(len(begun)), count)
        number = first[origin] + np.arange(len(origin)) - np.repeat(np.cumsum(count) - count, count)
        begun = np.column_stack([begun[origin], number])
        left = left[origin] - number[:, None] * rows[:, column]
        keep = ~_superfluous(rows[:, : column + 1], begun, left)
        begun, left = begun[keep], left[keep]
    return begun[:, np.argsort(order)] if len(begun) <= limit else None


def _range(row: Vector, left: Vector, after: Vector, most: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Least and largest number of a column for every beginning; the largest is below the least where none will do."""
    helps = row > 0
    largest = np.ceil((left[:, helps] / row[helps]).max(axis=1, initial=0.0) - _WHOLE).clip(max=most)
    short = left - after
    least = np.ceil((short[:, helps] / row[helps]).max(axis=1, initial=0.0) - _WHOLE)
    least[(short[:, ~helps] > _WHOLE).any(axis=1)] = np.inf
    least[least > most] = most + 1
    return least.astype(np.int64), largest.astype(np.int64)


def _superfluous(rows: Vector, begun: Fleets, left: Vector) -> npt.NDArray[np.bool_]:
    """Whether one of some column could be taken away from a beginning: all rows that it helps are covered without."""
    found = np.zeros(len(begun), dtype=bool)
    for column in range(rows.shape[1]):
        row = rows[:, column]
        helps = row > 0
        found |= (begun[:, column] > 0) & (left[:, helps] + row[helps] <= _WHOLE).all(axis=1)
    return found


def _binding(rows: Vector) -> Vector:
    """Rows >= 1 without those that another implies."""
    kept: list[Vector] = []
    for row in rows[np.argsort(rows.sum(axis=1), kind="stable")]:
        if not any((row >= other).all() for other in kept):
            kept.append(row)
    return np.array(kept).reshape(len(kept), rows.shape[1])
