"""Where scenarios are asked: in this process, in processes beside it, or on the Dask cluster that the user gives.

All three run the same code and give the same kind of answer. Answers are pure functions of scenario and request, so
whatever is lost with a worker is asked again. What workers keep in memory is a cache and nothing else.
"""

from __future__ import annotations

import os
import signal
import uuid
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import CancelledError
from contextlib import contextmanager
from typing import Any, Protocol

import loky
from loky.process_executor import BrokenProcessPool

from drofcm.blocks.form import FirstStage, Scenario, TwoStageBlocks
from drofcm.core.dims import SCENARIO
from drofcm.core.errors import SolveError
from drofcm.solve.subproblem import Answer, Request, Subproblem

__all__ = ["Executor", "executor"]

_ATTEMPTS = 5
"""How often in a row the workers may fail before anything is answered."""

_BATCHES_PER_WORKER = 4

Floors = dict[int, float]
Block = tuple[FirstStage, tuple[tuple[int, object, Scenario], ...]]


class Executor(Protocol):
    """Asks scenarios."""

    workers: int

    def ask(self, requests: Mapping[int, Request]) -> dict[int, Answer]:
        """The answers, by scenario."""

    def floors(self) -> Floors:
        """The least cost of every scenario over all first stages, integers relaxed."""


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
    """
    labels = blocks.probability[SCENARIO].values.tolist()
    numbered = tuple(zip(range(len(labels)), labels, blocks.scenarios, strict=True))
    if client is not None:
        yield _OnDask(client, blocks.first_stage, numbered)
        return
    count = workers if workers is not None else (os.cpu_count() or 1)
    count = min(count, max(1, len(numbered) // 2))
    if count <= 1:
        yield _Here((blocks.first_stage, numbered))
        return
    processes = _Processes(count, (blocks.first_stage, numbered))
    try:
        yield processes
    finally:
        processes.close()


class _Here:
    """One after the other in this process."""

    workers = 1

    def __init__(self, block: Block) -> None:
        self._own = _subproblems(block)

    def ask(self, requests: Mapping[int, Request]) -> dict[int, Answer]:
        return {number: self._own[number].answer(request) for number, request in requests.items()}

    def floors(self) -> Floors:
        return {number: own.floor() for number, own in self._own.items()}


def _subproblems(block: Block) -> dict[int, Subproblem]:
    first_stage, scenarios = block
    return {number: Subproblem(first_stage, scenario, label) for number, label, scenario in scenarios}


# ---- processes beside this one --------------------------------------------------------------------------------------

_resident: dict[int, Subproblem] = {}


def _move_in(block: Block) -> None:
    # Ctrl-C is for the process that asks
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _resident.update(_subproblems(block))


def _answer_resident(requests: Mapping[int, Request]) -> dict[int, Answer]:
    return {number: _resident[number].answer(request) for number, request in requests.items()}


def _floors_resident(numbers: Sequence[int]) -> Floors:
    return {number: _resident[number].floor() for number in numbers}


class _Processes:
    """Processes that each hold all scenarios and take the next batch when they are free."""

    def __init__(self, workers: int, block: Block) -> None:
        self.workers = workers
        self._block = block
        self._pool: Any = None

    def ask(self, requests: Mapping[int, Request]) -> dict[int, Answer]:
        batches = [{n: requests[n] for n in batch} for batch in _batches(list(requests), self.workers)]
        return self._all(_answer_resident, batches)

    def floors(self) -> Floors:
        return self._all(_floors_resident, _batches([number for number, _, _ in self._block[1]], self.workers))

    def close(self) -> None:
        if self._pool is not None:
            self._pool.shutdown(wait=False, kill_workers=True)
            self._pool = None

    def _all(self, function: Any, batches: list[Any]) -> dict[int, Any]:
        done: dict[int, Any] = {}
        failures = 0
        while batches:
            if self._pool is None:
                self._pool = loky.ProcessPoolExecutor(self.workers, initializer=_move_in, initargs=(self._block,))
            left, known = [], len(done)
            futures = [(batch, self._submit(function, batch)) for batch in batches]
            for batch, future in futures:
                try:
                    done |= future.result()
                except BrokenProcessPool:
                    left.append(batch)
            if left:
                self.close()
                failures = 0 if len(done) > known else failures + 1
                if failures >= _ATTEMPTS:
                    raise SolveError(f"worker processes ended {failures} times in a row: is there memory enough?")
            batches = left
        return done

    def _submit(self, function: Any, batch: Any) -> Any:
        try:
            return self._pool.submit(function, batch)
        except BrokenProcessPool as error:
            failed = loky.Future()
            failed.set_exception(error)
            return failed


def _batches(numbers: list[int], workers: int) -> list[list[int]]:
    """Small batches, dealt in turn, so that no worker waits long for another."""
    count = min(len(numbers), workers * _BATCHES_PER_WORKER)
    return [numbers[k::count] for k in range(count)]


# ---- Dask -----------------------------------------------------------------------------------------------------------

_caches: dict[str, dict[int, Subproblem]] = {}


def _cached(token: str, block: Block) -> dict[int, Subproblem]:
    if token not in _caches:
        _caches[token] = _subproblems(block)
    return _caches[token]


def _answer_block(token: str, block: Block, requests: Mapping[int, Request]) -> dict[int, Answer]:
    own = _cached(token, block)
    return {number: own[number].answer(request) for number, request in requests.items()}


def _floors_block(token: str, block: Block) -> Floors:
    return {number: own.floor() for number, own in _cached(token, block).items()}


class _OnDask:
    """Blocks of scenarios that live on the workers of a cluster; a block that is lost is sent again."""

    def __init__(self, client: Any, first_stage: FirstStage, scenarios: Sequence[tuple[int, object, Scenario]]) -> None:
        self._client = client
        self.workers = max(1, len(client.scheduler_info(n_workers=-1)["workers"]))
        count = min(len(scenarios), self.workers * _BATCHES_PER_WORKER)
        self._blocks: list[Block] = [(first_stage, tuple(scenarios[k::count])) for k in range(count)]
        self._home = {number: k for k, block in enumerate(self._blocks) for number, _, _ in block[1]}
        self._token = uuid.uuid4().hex
        self._sent: dict[int, Any] = {}

    def ask(self, requests: Mapping[int, Request]) -> dict[int, Answer]:
        by_block: dict[int, dict[int, Request]] = {}
        for number, request in requests.items():
            by_block.setdefault(self._home[number], {})[number] = request
        return self._all(_answer_block, {k: (own,) for k, own in by_block.items()})

    def floors(self) -> Floors:
        return self._all(_floors_block, {k: () for k in range(len(self._blocks))})

    def _all(self, function: Any, work: dict[int, tuple[Any, ...]]) -> dict[int, Any]:
        done: dict[int, Any] = {}
        failures = 0
        while work:
            futures = {k: self._submit(function, k, arguments) for k, arguments in work.items()}
            lost: dict[int, tuple[Any, ...]] = {}
            for k, future in futures.items():
                try:
                    done |= future.result()
                except Exception as error:
                    if not _is_loss(error):
                        raise
                    self._sent.pop(k, None)
                    lost[k] = work[k]
            failures = 0 if len(lost) < len(work) else failures + 1
            if failures >= _ATTEMPTS:
                raise SolveError(f"the cluster lost its workers {failures} times in a row")
            work = lost
        return done

    def _submit(self, function: Any, k: int, arguments: tuple[Any, ...]) -> Any:
        if k not in self._sent:
            self._sent[k] = self._client.scatter(self._blocks[k], hash=False)
        return self._client.submit(function, f"{self._token}-{k}", self._sent[k], *arguments, pure=False)


def _is_loss(error: Exception) -> bool:
    """Whether a task failed because its worker or its data are gone."""
    # imported here, because it takes half a second and most solves need no cluster
    from distributed import KilledWorker
    from distributed.comm.core import CommClosedError

    return isinstance(error, CancelledError | KilledWorker | CommClosedError)
