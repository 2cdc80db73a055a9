"""Whole problems side by side: folds, replications, repetitions, which do not depend on each other."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import loky
from loky.process_executor import BrokenProcessPool

from drofcm.core.errors import SolveError
from drofcm.solve.execution import is_loss, process_pool, settle, wait_for_worker, without_interrupts

__all__ = ["spread"]

T = TypeVar("T")
R = TypeVar("R")


def spread(function: Callable[[T], R], items: Sequence[T], client: Any = None, workers: int | None = None) -> list[R]:
    """Call a function on items that do not depend on each other.

    Parameters
    ----------
    function
        Stands at module level; it travels with each item.
    items
        Its arguments.
    client
        A `dask.distributed.Client` of the user's, whose cluster asks lost workers' items again; drofcm starts none.
    workers
        Local processes without a client; 1 stays in this process, None takes as many as there are cores.

    Returns
    -------
    list
        What the function returned, in the order of the items.

    Raises
    ------
    SolveError
        If a worker process ends before it has answered, or the cluster has no worker.
    """
    items = list(items)
    if client is not None:
        wait_for_worker(client)
        try:
            with warnings.catch_warnings():
                # items that were scattered, as Dask would have it, would be lost with the worker that holds them
                warnings.filterwarnings("ignore", message="Sending large graph")
                futures = client.map(function, items, pure=False)
            return list(client.gather(futures))
        except Exception as error:
            if is_loss(error):
                raise SolveError(f"the cluster lost what it was asked for: {error}") from error
            raise
    count = min(len(items), workers if workers is not None else loky.cpu_count())
    if count <= 1:
        return [function(item) for item in items]
    pool = process_pool(count, settle, (os.getpid(),))
    try:
        with without_interrupts():
            futures = [pool.submit(function, item) for item in items]
        return [future.result() for future in futures]
    except BrokenProcessPool:
        raise SolveError("a worker process ended before it had answered: is there memory enough?") from None
    finally:
        pool.shutdown(wait=True, kill_workers=True)
