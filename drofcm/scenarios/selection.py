"""Which members of a set stand for the rest: greedy selection by what it costs to move everybody to a member.

Forward selection and backward reduction are generators: one member after the other, each with what it gains or costs.
Gains never rise and costs never fall as they go on, so the sequences of sets that do not exchange mass can be merged
into the greedy sequence of all of them (`grow`, `shrink`).

References
----------
Heitsch, H. and Roemisch, W. (2003). Scenario reduction algorithms in stochastic programming. Computational
Optimization and Applications 24, 187-206: algorithms 2.2 (simultaneous backward reduction) and 2.4 (fast forward
selection).
Minoux, M. (1978). Accelerated greedy algorithms for maximizing submodular set functions.
Schubert, E. and Rousseeuw, P. J. (2021). Fast and eager k-medoids clustering. Information Systems 101, 101804.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, TypeAlias

import loky
import numpy as np
import numpy.typing as npt

from drofcm.risk.distance import Features, Norm, distance_blocks

__all__ = ["Distances", "backward", "distances", "forward", "grow", "medoids", "shrink", "take"]

Vector = npt.NDArray[np.float64]
Positions = npt.NDArray[np.intp]
Matrix: TypeAlias = "npt.NDArray[np.float32] | Vector"
Step = tuple[int, float]

_GIB = 2**30
_TASK_OPERATIONS = 2e9
"""Coordinates compared in one task: some seconds of work."""
_LOKY = {"LOKY_MAX_MEMORY_LEAK_SIZE": "1e18"}
"""Points that stay are no leak; loky would end a worker whose memory grows by 300 MB."""
_TIE = 1e-12
"""Costs that differ by less, relative to the cost of the first step, are equal: rounding must not break ties."""


class Distances:
    """What it costs to move one unit of mass between the members of a set.

    Parameters
    ----------
    points
        The members, n of them.
    norm, order
        As in `drofcm.risk.distance.distance_blocks`.
    matrix
        All distances, (n, n). Without it rows are computed whenever they are asked for.
    """

    def __init__(self, points: Features, norm: Norm = 1, order: float = 1.0, matrix: Matrix | None = None) -> None:
        self._points, self._norm, self._order = points, norm, order
        self._matrix = matrix

    def __len__(self) -> int:
        return len(self._points)

    @property
    def matrix(self) -> Matrix:
        """The whole matrix, (n, n).

        Raises
        ------
        MemoryError
            If it is not held.
        """
        if self._matrix is None:
            raise MemoryError(f"{len(self)} x {len(self)} distances are not held")
        return self._matrix

    def rows(self, at: Positions) -> Vector:
        """Distances from some members to all, (len(at), n)."""
        if self._matrix is not None:
            return self._matrix[at].astype(np.float64, copy=False)
        blocks = distance_blocks(take(self._points, at), self._points, norm=self._norm, order=self._order)
        return np.concatenate([block for _, block in blocks])


def take(points: Features, at: Positions | slice) -> Features:
    """Some of the points."""
    return Features(points.values[at], points.scenario[at], points.variable)


def distances(
    points: Features,
    sets: Sequence[Positions],
    *,
    norm: Norm = 1,
    order: float = 1.0,
    memory: float = 2.0,
    client: Any = None,
    workers: int | None = None,
) -> list[Distances]:
    """The distances within each of several sets of points.

    A matrix is held if it fits into memory: in double precision where all are small, in single precision otherwise.

    Parameters
    ----------
    points
        All points.
    sets
        Members of each set.
    norm, order
        As in `drofcm.risk.distance.distance_blocks`.
    memory
        GiB that the matrices may take.
    client
        A `dask.distributed.Client` on whose workers blocks of the matrices are computed.
    workers
        Without a client, the local processes that do so; None takes as many as there are cores, if it is worth it.
    """
    members = [take(points, own) for own in sets]
    entries = sum(len(own) ** 2 for own in sets)
    if entries * 4 > memory * _GIB:
        return [Distances(own, norm, order) for own in members]
    precision = np.dtype(np.float64 if entries * 32 <= memory * _GIB else np.float32)
    width = points.values.shape[1]
    tasks = []
    for number, own in enumerate(sets):
        rows = max(1, int(_TASK_OPERATIONS / max(1, len(own) * width)))
        tasks += [_Task(number, start, start + rows, norm, order, precision) for start in range(0, len(own), rows)]
    matrices = [np.zeros((len(own), len(own)), precision) for own in sets]
    # small sets are many tasks and little work, which no process is worth starting for
    useful = min(len(tasks), int(entries * width / _TASK_OPERATIONS))
    for task, block in zip(tasks, _blocks(members, tasks, client, workers, useful), strict=True):
        matrix = matrices[task.number]
        matrix[task.start : task.stop, task.start :] = block
        matrix[task.start :, task.start : task.stop] = block.T
    return [Distances(own, norm, order, matrix) for own, matrix in zip(members, matrices, strict=True)]


class _Task(NamedTuple):
    """Some rows of the upper triangle of one matrix."""

    number: int
    start: int
    stop: int
    norm: Norm
    order: float
    precision: np.dtype[Any]


def _blocks(
    members: list[Features], tasks: list[_Task], client: Any, workers: int | None, useful: int
) -> Iterator[Matrix]:
    """The blocks in turn; where one is computed does not change it."""
    count = min(workers if workers is not None else loky.cpu_count(), useful)
    if client is not None:
        everywhere = client.scatter(members, broadcast=True, hash=False)
        futures = [client.submit(_upper_block, everywhere, task, pure=False) for task in tasks]
        while futures:
            yield futures.pop(0).result()
    elif count > 1:
        with loky.ProcessPoolExecutor(count, initializer=_keep, initargs=(members,), env=_LOKY) as pool:
            yield from pool.map(_kept_block, tasks)
    else:
        yield from (_upper_block(members, task) for task in tasks)


_kept: list[list[Features]] = []


def _keep(members: list[Features]) -> None:
    _kept.append(members)


def _kept_block(task: _Task) -> Matrix:
    return _upper_block(_kept[-1], task)


def _upper_block(members: list[Features], task: _Task) -> Matrix:
    points = members[task.number]
    some, rest = take(points, slice(task.start, task.stop)), take(points, slice(task.start, None))
    blocks = distance_blocks(some, rest, norm=task.norm, order=task.order)
    return np.concatenate([block.astype(task.precision) for _, block in blocks])


# ---- one set --------------------------------------------------------------------------------------------------------


def forward(cost: Distances, mass: Vector) -> Iterator[Step]:
    """Fast forward selection: always the member that lowers the cost of moving everybody to a chosen one the most.

    A gain that was computed earlier bounds the gain of today from above, so only those members are looked at again
    whose old gain still promises most; the choice is that of looking at all of them. Ties go to the earlier member.

    Parameters
    ----------
    cost
        Cost of moving mass between members.
    mass
        What each member weighs, (n), above zero.

    Yields
    ------
    int, float
        A member, and by how much it lowers the cost (infinite for the first); all members in turn.
    """
    count = len(cost)
    alone = np.concatenate([cost.rows(some) @ mass for some in _batches(np.arange(count), 256)])
    tie = _TIE * float(alone.min())
    chosen = int(np.argmax(alone <= alone.min() + tie))
    yield chosen, math.inf
    nearest = cost.rows(np.array([chosen]))[0]

    def gain(some: Positions) -> Vector:
        return np.asarray(np.maximum(nearest - cost.rows(some), 0.0) @ mass)

    promise = np.concatenate([gain(some) for some in _batches(np.arange(count), 256)])
    promise[chosen] = -math.inf
    for left in range(count - 1, 0, -1):
        order = np.argsort(-promise, kind="stable")[:left]
        best, seen = -math.inf, 0
        while seen < left and promise[order[seen]] >= best - tie:
            some = order[seen : seen + max(16, seen)]
            promise[some] = gain(some)
            best = max(best, float(promise[some].max()))
            seen += len(some)
        looked_at = order[:seen]
        chosen = int(looked_at[promise[looked_at] >= best - tie].min())
        yield chosen, float(promise[chosen])
        promise[chosen] = -math.inf
        nearest = np.minimum(nearest, cost.rows(np.array([chosen]))[0])


def backward(cost: Distances, mass: Vector) -> Iterator[Step]:
    """Simultaneous backward reduction: always drop the member whose loss costs least, what was dropped moving along.

    Every member knows the nearest member that is left and the one after it, so the cost of dropping a member is a sum
    over those that it stands for. Of equal choices the later member is dropped.

    Parameters
    ----------
    cost
        Cost of moving mass between members.
    mass
        What each member weighs, (n), above zero.

    Yields
    ------
    int, float
        A member to drop, and by how much that raises the cost; all members but one.
    """
    count = len(cost)
    every = np.arange(count)
    left = np.ones(count, dtype=bool)
    nearest, here = every.copy(), np.zeros(count)
    following, there = every.copy(), np.full(count, math.inf)
    if count > 1:
        _find_following(cost, every, nearest, following, there, left)
    for _ in range(count - 1):
        loss = np.bincount(nearest, weights=mass * (there - here), minlength=count)
        loss[~left] = math.inf
        dropped = int(np.flatnonzero(loss <= loss.min() * (1 + _TIE))[-1])
        yield dropped, float(loss[dropped])
        left[dropped] = False
        moved = nearest == dropped
        lost = moved | (following == dropped)
        nearest[moved], here[moved] = following[moved], there[moved]
        _find_following(cost, np.flatnonzero(lost), nearest, following, there, left)


def _find_following(
    cost: Distances, members: Positions, nearest: Positions, following: Positions, there: Vector, left: npt.NDArray[Any]
) -> None:
    """Fill in the nearest member that is left besides ``nearest``, and how far it is; infinite if there is none."""
    for some in _batches(members, 256):
        rows = cost.rows(some)
        rows[:, ~left] = math.inf
        rows[np.arange(len(some)), nearest[some]] = math.inf
        following[some] = rows.argmin(axis=1)
        there[some] = rows[np.arange(len(some)), following[some]]


def medoids(cost: Distances, mass: Vector, start: Sequence[int]) -> list[int]:
    """Members that no single exchange improves (FasterPAM), found from a first choice.

    Parameters
    ----------
    cost
        Cost of moving mass between members; the matrix must be held.
    mass
        What each member weighs, (n), above zero.
    start
        The first choice.
    """
    if len(start) in (1, len(cost)):
        # forward selection finds the best single member, and all of them cannot be exchanged
        return list(start)
    # row i is what it costs to move the mass of member i, so the sum over rows is the cost of the choice
    weighted = np.ascontiguousarray(cost.matrix * mass[:, None].astype(cost.matrix.dtype))
    # imported here: it brings scikit-learn along, which takes longer than everything else together
    import kmedoids

    found = kmedoids.fasterpam(weighted, np.asarray(start, dtype=np.uint64), n_cpu=1)
    return [int(member) for member in found.medoids]


# ---- several sets ---------------------------------------------------------------------------------------------------


def grow(sets: Sequence[Positions], steps: Sequence[Iterator[Step]], count: int) -> list[list[int]]:
    """Forward selection in sets that exchange no mass: the first of each, then the best of all until there are enough.

    Parameters
    ----------
    sets
        Members of each set, numbered throughout.
    steps
        `forward` of each set.
    count
        How many to choose, at least one a set and no more than there are.

    Returns
    -------
    list of list of int
        For each set the places of those chosen, in the order of choice.
    """
    chosen = [[next(own)[0]] for own in steps]
    waiting: list[tuple[float, int, int, int]] = []

    def wait(number: int) -> None:
        step = next(steps[number], None)
        if step is not None:
            heapq.heappush(waiting, (-step[1], int(sets[number][step[0]]), number, step[0]))

    _take_turns(range(len(sets)), count - len(sets), waiting, wait, lambda number, place: chosen[number].append(place))
    return chosen


def shrink(sets: Sequence[Positions], steps: Sequence[Iterator[Step]], count: int) -> list[list[int]]:
    """Backward reduction in sets that exchange no mass: the cheapest of all is dropped until there are few enough.

    Parameters
    ----------
    sets
        Members of each set, numbered throughout.
    steps
        `backward` of each set.
    count
        How many to keep, at least one a set and no more than there are.

    Returns
    -------
    list of list of int
        For each set the places of those kept, in order.
    """
    kept = [set(range(len(own))) for own in sets]
    waiting: list[tuple[float, int, int, int]] = []

    def wait(number: int) -> None:
        step = next(steps[number], None)
        if step is not None:
            heapq.heappush(waiting, (step[1], -int(sets[number][step[0]]), number, step[0]))

    surplus = sum(map(len, sets)) - count
    _take_turns(range(len(sets)), surplus, waiting, wait, lambda number, place: kept[number].remove(place))
    return [sorted(own) for own in kept]


def _take_turns(
    numbers: Sequence[int],
    turns: int,
    waiting: list[tuple[float, int, int, int]],
    wait: Callable[[int], None],
    act: Callable[[int, int], None],
) -> None:
    """Take the least of what is waiting; its set sends the next."""
    if turns <= 0:
        return
    for number in numbers:
        wait(number)
    for turn in range(turns):
        _, _, number, place = heapq.heappop(waiting)
        act(number, place)
        if turn + 1 < turns:
            wait(number)


def _batches(members: Positions, size: int) -> Iterator[Positions]:
    for start in range(0, len(members), size):
        yield members[start : start + size]
