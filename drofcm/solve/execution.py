"""Where scenarios are asked: in this process, in processes beside it, or on the Dask cluster that the user gives.

All three run the same code and give the same kind of answer. Answers are pure functions of scenario and request, so
whatever is lost with a worker is asked again. The solvers that a worker keeps are a cache and nothing else; they live
and die with the matrices they were made from.
"""

from __future__ import annotations

import multiprocessing.resource_tracker
import os
import pickle
import signal
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, CancelledError, Future, wait
from contextlib import contextmanager, suppress
from typing import Any, Protocol

import loky
from loky.process_executor import BrokenProcessPool

from drofcm.blocks.form import FirstStage, Scenario, TwoStageBlocks
from drofcm.core.dims import SCENARIO
from drofcm.core.errors import SolveError
from drofcm.solve.highs import Outcome, Task
from drofcm.solve.subproblem import Answer, Request, Subproblem

__all__ = ["Executor", "executor", "is_loss", "process_pool", "settle", "wait_for_worker", "without_interrupts"]

_ATTEMPTS = 5
"""How often in a row the workers may fail before anything is answered."""

_BATCHES_PER_WORKER, _BATCHES_WITH_INTEGERS = 4, 64

_AHEAD = 2
"""Shared batches that a worker is given at a time: one to work on, and one so that it need not wait for the next."""

_PATIENCE = 60.0
"""Seconds for which a cluster may have no worker at all: schedulers of batch systems need time to start new ones."""

_LOOK = 2.0
"""Seconds between two looks at what is waited for."""

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
def executor(blocks: TwoStageBlocks, client: Any = None, workers: int | None = None) -> Iterator[Executor]:
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

    Raises
    ------
    SolveError
        If workers end again and again before anything is answered, or the cluster is gone.
    """
    labels = blocks.probability[SCENARIO].values.tolist()
    numbered = tuple(zip(range(len(labels)), labels, blocks.scenarios, strict=True))
    if client is not None:
        cluster = _OnDask(client, blocks.first_stage, numbered)
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
    processes = _Processes(count, block)
    try:
        yield processes
    finally:
        processes.close()


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


def settle(parent: int) -> None:
    """Make a process beside this one ignore Ctrl-C, which is for the process that asks, and end when that is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_leave_with, args=(parent,), daemon=True).start()


def _move_in(block: _Block, parent: int) -> None:
    settle(parent)
    _resident.append(block)


def _leave_with(parent: int) -> None:
    """End this process when the one that asks is gone; one that was killed can tell nobody."""
    while os.getppid() == parent:
        time.sleep(1.0)
    os._exit(1)


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

    def __init__(self, workers: int, block: _Block) -> None:
        self.workers = workers
        self._block = block
        self._pools: list[Any] = []

    def ask(self, requests: Mapping[int, Request]) -> dict[int, Answer]:
        whole = any(own.steps or own.exact or own.report for own in requests.values())
        # what takes longest first; with integers a scenario can take a hundred times as long as the next
        numbers = sorted(requests, key=lambda n: -requests[n].steps)
        each = _BATCHES_WITH_INTEGERS if whole else _BATCHES_PER_WORKER
        queues = [[{n: requests[n] for n in batch} for batch in batches] for batches in self._at_home(numbers, each)]
        return self._all(_answer_resident, queues, shared=whole)

    def floors(self) -> Floors:
        return self._all(_floors_resident, self._at_home(self._block.numbers, _BATCHES_PER_WORKER))

    def solve(self, tasks: Sequence[Task]) -> list[Outcome]:
        if len(tasks) == 1:
            return _solved_here(tasks)
        queues = [[{k: tasks[k]} for k in range(first, len(tasks), self.workers)] for first in range(self.workers)]
        done = self._all(_outcomes, queues, shared=True)
        return [done[number] for number in range(len(tasks))]

    def close(self) -> None:
        for pool in self._pools:
            pool.shutdown(wait=True, kill_workers=True)
        self._pools = []

    def _at_home(self, numbers: list[int], each: int) -> list[list[list[int]]]:
        """Batches of scenarios by the worker they are at home with."""
        return [_batches([n for n in numbers if n % self.workers == home], each) for home in range(self.workers)]

    def _all(self, function: Any, queues: list[list[Any]], shared: bool = False) -> dict[int, Any]:
        """What a function answers for all batches; whether a worker whose queue is empty takes from another's."""
        done: dict[int, Any] = {}
        failures = 0
        while any(queues):
            known = len(done)
            try:
                queues = self._round(function, queues, shared, done)
            except BaseException:
                # after Ctrl-C or an error nobody waits for what was begun, and it may take long
                self.close()
                raise
            if any(queues):
                self.close()
                failures = 0 if len(done) > known else failures + 1
                if failures >= _ATTEMPTS:
                    raise SolveError(f"worker processes ended {failures} times in a row: is there memory enough?")
        return done

    def _round(self, function: Any, queues: list[list[Any]], shared: bool, done: dict[int, Any]) -> list[list[Any]]:
        """Answer what can be answered; what workers that ended leave, by worker."""
        waiting = [deque(queue) for queue in queues]
        left: list[list[Any]] = [[] for _ in queues]
        running: dict[Future[Any], tuple[int, Any]] = {}
        for worker, queue in enumerate(waiting):
            for _ in range(min(len(queue), _AHEAD) if shared else len(queue)):
                batch = queue.popleft()
                running[self._submit(worker, function, batch)] = worker, batch
        while running:
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                worker, batch = running.pop(future)
                try:
                    done |= future.result()
                except BrokenProcessPool:
                    left[worker].append(batch)
                    continue
                queue = waiting[worker] or max(waiting, key=len)
                if queue:
                    batch = queue.popleft()
                    running[self._submit(worker, function, batch)] = worker, batch
        return [[*own, *queue] for own, queue in zip(left, waiting, strict=True)]

    def _submit(self, worker: int, function: Any, batch: Any) -> Any:
        arguments = (self._block, os.getpid())
        self._pools += [process_pool(1, _move_in, arguments) for _ in range(self.workers - len(self._pools))]
        try:
            with without_interrupts():
                return self._pools[worker].submit(function, batch)
        except BrokenProcessPool as error:
            return _failed(error)


def process_pool(workers: int, initializer: Any, arguments: tuple[Any, ...]) -> Any:
    """Processes beside this one, none started yet; the initializer and its arguments are run in each."""
    # solvers that stay are no leak; loky would end a worker whose memory grows by 300 MB
    environment = {"LOKY_MAX_MEMORY_LEAK_SIZE": "1e18"}
    return loky.ProcessPoolExecutor(workers, initializer=initializer, initargs=arguments, env=environment)


def _failed(error: Exception) -> Future[Any]:
    failed: Future[Any] = Future()
    failed.set_exception(error)
    return failed


@contextmanager
def without_interrupts() -> Iterator[None]:
    """Hold Ctrl-C back; a process that is started here inherits that until it can look after itself."""
    # the tracker lifts the mask when it starts, so it must be there before
    multiprocessing.resource_tracker.ensure_running()
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


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

    def __init__(self, client: Any, first_stage: FirstStage, scenarios: Sequence[Numbered]) -> None:
        self._client = client
        threads = [worker["nthreads"] for worker in wait_for_worker(client)]
        self.workers = max(1, len(threads))
        count = min(len(scenarios), max(1, sum(threads)) * _BATCHES_PER_WORKER)
        self._blocks = [_Block(first_stage, tuple(scenarios[k::count])) for k in range(count)]
        self._home = {number: k for k, block in enumerate(self._blocks) for number in block.numbers}
        self._sent: dict[int, Any] = {}

    def ask(self, requests: Mapping[int, Request]) -> dict[int, Answer]:
        by_block: dict[int, dict[int, Request]] = {}
        for number, request in requests.items():
            by_block.setdefault(self._home[number], {})[number] = request
        return self._all(_answer_block, {k: (own,) for k, own in by_block.items()})

    def floors(self) -> Floors:
        return self._all(_floors_block, {k: () for k in range(len(self._blocks))})

    def solve(self, tasks: Sequence[Task]) -> list[Outcome]:
        if len(tasks) == 1:
            return _solved_here(tasks)
        done: dict[int, Outcome] = {}
        numbered = list(enumerate(tasks))
        for first in range(0, len(numbered), len(self._blocks)):
            some = numbered[first : first + len(self._blocks)]
            done |= self._all(_outcomes_at, {k: ({number: task},) for k, (number, task) in enumerate(some)})
        return [done[number] for number in range(len(tasks))]

    def close(self) -> None:
        self._sent.clear()

    def _all(self, function: Any, work: dict[int, tuple[Any, ...]]) -> dict[int, Any]:
        done: dict[int, Any] = {}
        failures = 0
        while work:
            wait_for_worker(self._client)
            lost: dict[int, tuple[Any, ...]] = {}
            futures = {k: self._submit(function, k, arguments) for k, arguments in work.items()}
            try:
                for k, future in futures.items():
                    try:
                        done |= self._result(future)
                    except Exception as error:
                        if not is_loss(error):
                            raise
                        self._sent.pop(k, None)
                        lost[k] = work[k]
            finally:
                # what nobody refers to any more is dropped by the cluster, also after Ctrl-C
                futures.clear()
            failures = 0 if len(lost) < len(work) else failures + 1
            if failures >= _ATTEMPTS:
                raise SolveError(f"the cluster lost its workers {failures} times in a row: is there memory enough?")
            work = lost
        return done

    def _submit(self, function: Any, k: int, arguments: tuple[Any, ...]) -> Any:
        try:
            if k not in self._sent:
                self._sent[k] = self._client.scatter(self._blocks[k], hash=False)
            return self._client.submit(function, self._sent[k], *arguments, pure=False)
        except OSError as error:
            return _failed(error)

    def _result(self, future: Any) -> Any:
        """What a task has found; a cluster that has nobody to do it is not waited for."""
        while True:
            try:
                return future.result(timeout=_LOOK)
            except TimeoutError:
                if future.done():
                    raise
            wait_for_worker(self._client)


def wait_for_worker(client: Any) -> list[Any]:
    """The workers of a cluster, as soon as there is one.

    Raises
    ------
    SolveError
        If the scheduler is gone, or no worker comes.
    """
    deadline = time.monotonic() + _PATIENCE
    while True:
        with suppress(OSError):
            workers = list(client.scheduler_info(n_workers=-1).get("workers", {}).values())
            if workers:
                return workers
        if client.status in ("closing", "closed"):
            raise SolveError("the scheduler of the cluster is gone")
        if time.monotonic() > deadline:
            raise SolveError(f"the cluster has had no worker for {_PATIENCE:.0f} s")
        time.sleep(0.2)


def is_loss(error: Exception) -> bool:
    """Whether a task failed because its worker or its data are gone."""
    # imported here, because it takes half a second and most solves need no cluster
    from distributed import KilledWorker

    return isinstance(error, CancelledError | KilledWorker | OSError)
