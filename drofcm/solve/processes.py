"""Processes beside this one that are asked batch by batch; what one that ends has not answered is asked again."""

from __future__ import annotations

import multiprocessing.resource_tracker
import os
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import contextmanager, suppress
from typing import Any

import loky
from loky.process_executor import BrokenProcessPool

from drofcm.core.errors import LostError, OverdueError

__all__ = ["Crew", "Late"]

_ATTEMPTS = 5
"""How often in a row processes may end before anything is answered."""

_AHEAD = 2
"""Shared batches that a process is given at a time: one to work on, and one so that it need not wait for the next."""

_LOOK = 2.0
"""Seconds between two looks at the clock while processes are waited for."""

Late = Callable[[], bool]
"""Whether the time is up for those who are waited for."""

_BLOCKED = {signal.SIGINT, signal.SIGTERM}


class Crew:
    """Processes, none started before it is asked, each with queues of its own.

    Parameters
    ----------
    workers
        How many.
    arrive
        Function and arguments that every process begins with. They travel as a task does: what a process gets at its
        birth the operating system may never finish writing if the process dies over it.
    """

    def __init__(self, workers: int, arrive: tuple[Any, ...] = ()) -> None:
        self.workers = workers
        self._arrive = arrive
        self._pools: dict[int, Any] = {}

    def run(
        self, function: Callable[[Any], dict[int, Any]], queues: list[list[Any]], shared: bool = False, late: Any = None
    ) -> dict[int, Any]:
        """What a function answers for all batches.

        Parameters
        ----------
        function
            Answers a batch by number.
        queues
            Batches of every process.
        shared
            Whether a process whose queue is empty takes from another's.
        late
            Whether the time is up; None to wait as long as it takes.

        Raises
        ------
        LostError
            If processes end again and again before anything is answered.
        OverdueError
            If the time is up.
        """
        done: dict[int, Any] = {}
        failures = 0
        while any(queues):
            known = len(done)
            try:
                queues = self._round(function, queues, shared, done, late)
            except BaseException:
                # after Ctrl-C or an error nobody waits for what was begun, and it may take long
                self.close()
                raise
            if any(queues):
                failures = 0 if len(done) > known else failures + 1
                if failures >= _ATTEMPTS:
                    self.close()
                    raise LostError(f"worker processes ended {failures} times in a row: is there memory enough?")
        return done

    def close(self) -> None:
        """End all processes."""
        for worker in list(self._pools):
            self._end(worker)

    def _round(
        self, function: Any, queues: list[list[Any]], shared: bool, done: dict[int, Any], late: Late | None
    ) -> list[list[Any]]:
        """Answer what can be answered; what processes that ended leave, by process."""
        waiting = [deque(queue) for queue in queues]
        left: list[list[Any]] = [[] for _ in queues]
        running: dict[Future[Any], tuple[int, Any]] = {}
        for worker, queue in enumerate(waiting):
            for _ in range(min(len(queue), _AHEAD) if shared else len(queue)):
                batch = queue.popleft()
                running[self._submit(worker, function, batch)] = worker, batch
        while running:
            look = None if late is None else _LOOK
            for future in wait(running, timeout=look, return_when=FIRST_COMPLETED).done:
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
            if running and late is not None and late():
                raise OverdueError("the time is up and worker processes have not answered")
        for worker, own in enumerate(left):
            if own:
                self._end(worker)
        return [[*own, *queue] for own, queue in zip(left, waiting, strict=True)]

    def _submit(self, worker: int, function: Any, batch: Any) -> Any:
        try:
            with _without_interrupts():
                if worker not in self._pools:
                    self._begin(worker)
                return self._pools[worker].submit(function, batch)
        except BrokenProcessPool as error:
            failed: Future[Any] = Future()
            failed.set_exception(error)
            return failed

    def _begin(self, worker: int) -> None:
        # solvers that stay are no leak; loky would end a worker whose memory grows by 300 MB
        environment = {"LOKY_MAX_MEMORY_LEAK_SIZE": "1e18"}
        pool: Any = loky.ProcessPoolExecutor(1, initializer=_settle, initargs=(os.getpid(),), env=environment)
        self._pools[worker] = pool
        function, *arguments = self._arrive or (os.getpid,)
        pool.submit(function, *arguments)
        # this process keeps copies of the ends of the pipes that are its worker's. Without them a message that the
        # worker's death cuts short ends there; with them both sides of it would wait for the rest for ever
        pool._result_queue._writer.close()
        pool._call_queue._reader.close()

    def _end(self, worker: int) -> None:
        pool = self._pools.pop(worker, None)
        if pool is not None:
            # who stands still in the middle of an answer would be waited for
            for pid in list(pool._processes):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            pool.shutdown(wait=True, kill_workers=True)


def _settle(parent: int) -> None:
    """Make a process ignore Ctrl-C, which is for the process that asks, and end when that is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _BLOCKED)
    threading.Thread(target=_leave_with, args=(parent,), daemon=True).start()


def _leave_with(parent: int) -> None:
    """End this process when the one that asks is gone; one that was killed can tell nobody."""
    while os.getppid() == parent:
        time.sleep(1.0)
    os._exit(1)


@contextmanager
def _without_interrupts() -> Iterator[None]:
    """Hold Ctrl-C back for a moment; a process that is started here inherits that until it can look after itself."""
    # the tracker lifts the mask when it starts, so it must be there before
    multiprocessing.resource_tracker.ensure_running()
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, _BLOCKED)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
