"""Where scenarios are asked: in this process, in processes beside it, or on the Dask cluster that the user gives.

All three run the same code and give the same kind of answer. Answers are pure functions of scenario and request, so
whatever is lost with a worker is asked again. The solvers that a worker keeps are a cache and nothing else; they live
and die with the matrices they were made from.
"""

from __future__ import annotations

import pickle
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

import loky

from drofcm.blocks.form import FirstStage, Scenario, TwoStageBlocks
from drofcm.core.dims import SCENARIO
from drofcm.solve.cluster import Cluster
from drofcm.solve.highs import Outcome, Task
from drofcm.solve.processes import Crew, Late
from drofcm.solve.subproblem import Answer, Request, Subproblem

__all__ = ["Executor", "executor"]

_BATCHES_PER_WORKER, _BATCHES_WITH_INTEGERS = 4, 64

_GRACE = 10.0
"""Seconds after the time limit in which workers that hear of it themselves may answer still."""

Floors = dict[int, float]
Numbered = tuple[int, object, Scenario]


class Executor(Protocol):
    """Asks scenarios."""

    workers: int

    def ask(self, requests: Mapping[int, Request]) -> dict[int, Answer]:
        """The answers, by scenario."""

    def floors(self) -> Floors:
        """The least cost of every scenario over all first stages, integers relaxed."""

    def solve(self, tasks: Sequence[Task]) -> list[Outcome]:
        """Solve mixed-integer problems side by side."""


@contextmanager
def executor(
    blocks: TwoStageBlocks,
    client: Any = None,
    workers: int | None = None,
    remaining: Callable[[], float | None] = lambda: None,
) -> Iterator[Executor]:
    """Choose where scenarios are asked.

    Parameters
    ----------
    blocks
        The program.
    client
        A `dask.distributed.Client` of the user's; drofcm starts none.
    workers
        Local processes without a client; 1 stays in this process. None takes as many as there are cores, if there
        are scenarios enough to share.
    remaining
        Seconds that are left; None without a limit. What is to be reported is waited for all the same.

    Raises
    ------
    LostError
        If workers end again and again before anything is answered, or the cluster is gone.
    OverdueError
        If nothing is left of the time and workers do not answer.
    """
    clock = _Clock(remaining)
    labels = blocks.probability[SCENARIO].values.tolist()
    numbered = tuple(zip(range(len(labels)), labels, blocks.scenarios, strict=True))
    if client is not None:
        cluster = _OnDask(client, blocks.first_stage, numbered, clock)
        try:
            yield cluster
        finally:
            cluster.close()
        return
    count = min(workers, len(numbered)) if workers is not None else min(loky.cpu_count(), len(numbered) // 2)
    block = _Block(blocks.first_stage, numbered)
    if count <= 1:
        yield _Here(block)
        return
    processes = _Processes(count, block, clock)
    try:
        yield processes
    finally:
        processes.close()


class _Clock:
    """Tells those who wait for workers that the time is up."""

    def __init__(self, remaining: Callable[[], float | None]) -> None:
        self._remaining = remaining

    def late(self, requests: Mapping[int, Request] | None = None) -> Late | None:
        """Whether the time is up, by and by; None where it has no limit or what is asked for is to be reported."""
        left = self._remaining()
        if left is None or any(own.report for own in (requests or {}).values()):
            return None
        end = time.monotonic() + left + _GRACE
        return lambda: time.monotonic() > end


class _Block:
    """Some scenarios and their solvers. Only matrices travel; solvers are made where they are first asked."""

    def __init__(self, first_stage: FirstStage, scenarios: tuple[Numbered, ...]) -> None:
        self._first_stage, self._scenarios = first_stage, scenarios
        self.numbers = [number for number, _, _ in scenarios]
        self._own: dict[int, Subproblem] = {}
        # a task that was given up may still run in another thread of the worker when the block is asked again
        self._alone = threading.Lock()

    def __reduce__(self) -> tuple[Any, ...]:
        return _Block, (self._first_stage, self._scenarios)

    def __sizeof__(self) -> int:
        """Bytes of the matrices: Dask decides by it where blocks go and when a worker is full."""
        buffers: list[pickle.PickleBuffer] = []
        head = pickle.dumps(self, protocol=5, buffer_callback=buffers.append)
        return len(head) + sum(buffer.raw().nbytes for buffer in buffers)

    def answers(self, requests: Mapping[int, Request]) -> dict[int, Answer]:
        with self._alone:
            return {number: self._solver(number).answer(request) for number, request in requests.items()}

    def floors(self, numbers: Iterable[int]) -> Floors:
        with self._alone:
            return {number: self._solver(number).floor() for number in numbers}

    def _solver(self, number: int) -> Subproblem:
        if number not in self._own:
            _, label, scenario = self._scenarios[self.numbers.index(number)]
            self._own[number] = Subproblem(self._first_stage, scenario, label)
        return self._own[number]


class _Here:
    """One after the other in this process."""

    workers = 1

    def __init__(self, block: _Block) -> None:
        self._block = block

    def ask(self, requests: Mapping[int, Request]) -> dict[int, Answer]:
        return self._block.answers(requests)

    def floors(self) -> Floors:
        return self._block.floors(self._block.numbers)

    def solve(self, tasks: Sequence[Task]) -> list[Outcome]:
        return _solved_here(tasks)


def _solved_here(tasks: Sequence[Task]) -> list[Outcome]:
    """One after the other; Ctrl-C stops a search with what it has found."""
    return [task.run(interruptible=True) for task in tasks]


# ---- processes beside this one --------------------------------------------------------------------------------------

_resident: list[_Block] = []


def _move_in(block: _Block) -> None:
    _resident.append(block)


def _answer_resident(requests: Mapping[int, Request]) -> dict[int, Answer]:
    return _resident[0].answers(requests)


def _floors_resident(numbers: Sequence[int]) -> Floors:
    return _resident[0].floors(numbers)


def _outcomes(tasks: Mapping[int, Task]) -> dict[int, Outcome]:
    return {number: task.run() for number, task in tasks.items()}


class _Processes:
    """Processes that each hold all scenarios, and the solvers of those that are at home with them.

    Linear questions go home, where a basis waits; the others, a hundred times as long, to whoever is free.
    """

    def __init__(self, workers: int, block: _Block, clock: _Clock) -> None:
        self.workers = workers
        self._block, self._clock = block, clock
        self._crew = Crew(workers, (_move_in, block))

    def ask(self, requests: Mapping[int, Request]) -> dict[int, Answer]:
        whole = any(own.steps or own.exact or own.report for own in requests.values())
        # what takes longest first; with integers a scenario can take a hundred times as long as the next
        numbers = sorted(requests, key=lambda n: -requests[n].steps)
        each = _BATCHES_WITH_INTEGERS if whole else _BATCHES_PER_WORKER
        queues = [[{n: requests[n] for n in batch} for batch in batches] for batches in self._at_home(numbers, each)]
        return self._crew.run(_answer_resident, queues, shared=whole, late=self._clock.late(requests))

    def floors(self) -> Floors:
        queues: list[list[Any]] = [*self._at_home(self._block.numbers, _BATCHES_PER_WORKER)]
        return self._crew.run(_floors_resident, queues, late=self._clock.late())

    def solve(self, tasks: Sequence[Task]) -> list[Outcome]:
        if len(tasks) == 1:
            return _solved_here(tasks)
        queues = [[{k: tasks[k]} for k in range(first, len(tasks), self.workers)] for first in range(self.workers)]
        done = self._crew.run(_outcomes, queues, shared=True, late=self._clock.late())
        return [done[number] for number in range(len(tasks))]

    def close(self) -> None:
        self._crew.close()

    def _at_home(self, numbers: list[int], each: int) -> list[list[list[int]]]:
        """Batches of scenarios by the worker they are at home with."""
        return [_batches([n for n in numbers if n % self.workers == home], each) for home in range(self.workers)]


def _batches(numbers: list[int], most: int) -> list[list[int]]:
    """Small batches, dealt in turn, so that no worker waits long for another."""
    count = min(len(numbers), most)
    return [numbers[k::count] for k in range(count)]


# ---- Dask -----------------------------------------------------------------------------------------------------------


def _answer_block(block: _Block, requests: Mapping[int, Request]) -> dict[int, Answer]:
    return block.answers(requests)


def _floors_block(block: _Block) -> Floors:
    return block.floors(block.numbers)


def _outcomes_at(block: _Block, tasks: Mapping[int, Task]) -> dict[int, Outcome]:
    """The block only says where."""
    return _outcomes(tasks)


class _OnDask:
    """Blocks of scenarios that live on the workers of a cluster; a block that is lost is sent again.

    A block is released by its last future: then its worker forgets matrices and solvers.
    """

    def __init__(self, client: Any, first_stage: FirstStage, scenarios: Sequence[Numbered], clock: _Clock) -> None:
        self._cluster, self._client, self._clock = Cluster.of(client), client, clock
        threads = [worker["nthreads"] for worker in self._cluster.workers(clock.late()).values()]
        self.workers = max(1, len(threads))
        count = min(len(scenarios), max(1, sum(threads)) * _BATCHES_PER_WORKER)
        self._blocks = [_Block(first_stage, tuple(scenarios[k::count])) for k in range(count)]
        self._home = {number: k for k, block in enumerate(self._blocks) for number in block.numbers}
        self._sent: dict[int, Any] = {}

    def ask(self, requests: Mapping[int, Request]) -> dict[int, Answer]:
        by_block: dict[int, dict[int, Request]] = {}
        for number, request in requests.items():
            by_block.setdefault(self._home[number], {})[number] = request
        return self._all(_answer_block, {k: (own,) for k, own in by_block.items()}, self._clock.late(requests))

    def floors(self) -> Floors:
        return self._all(_floors_block, {k: () for k in range(len(self._blocks))}, self._clock.late())

    def solve(self, tasks: Sequence[Task]) -> list[Outcome]:
        if len(tasks) == 1:
            return _solved_here(tasks)
        done: dict[int, Outcome] = {}
        numbered = list(enumerate(tasks))
        for first in range(0, len(numbered), len(self._blocks)):
            some = numbered[first : first + len(self._blocks)]
            work: dict[int, tuple[Any, ...]] = {k: ({number: task},) for k, (number, task) in enumerate(some)}
            done |= self._all(_outcomes_at, work, self._clock.late())
        return [done[number] for number in range(len(tasks))]

    def close(self) -> None:
        self._sent.clear()

    def _all(self, function: Any, work: dict[int, tuple[Any, ...]], late: Late | None) -> dict[int, Any]:
        def submit(k: int, addresses: list[str]) -> Any:
            if k not in self._sent:
                self._sent[k] = self._client.scatter(self._blocks[k], workers=addresses, hash=False)
            return self._client.submit(function, self._sent[k], *work[k], workers=addresses, pure=False)

        def forget(k: int) -> None:
            self._sent.pop(k, None)

        found = self._cluster.run(work, submit, forget, late)
        return {number: own for part in found.values() for number, own in part.items()}
