"""Whole problems side by side: folds, replications, repetitions, which do not depend on each other."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeVar

import loky

from drofcm.solve.cluster import Cluster
from drofcm.solve.processes import Crew

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
    LostError
        If worker processes end again and again before anything is answered, or the cluster has no worker.
    """
    items = list(items)
    if client is not None:
        found = _on_cluster(function, items, client)
        return [found[k] for k in range(len(items))]
    count = min(len(items), workers if workers is not None else loky.cpu_count())
    if count <= 1:
        return [function(item) for item in items]
    crew = Crew(count)
    try:
        queues = [[{k: items[k]} for k in range(first, len(items), count)] for first in range(count)]
        found = crew.run(partial(_answered, function), queues, shared=True)
    finally:
        crew.close()
    return [found[k] for k in range(len(items))]


def _answered(function: Callable[[T], R], batch: dict[int, T]) -> dict[int, R]:
    return {k: function(item) for k, item in batch.items()}


def _on_cluster(function: Callable[[T], R], items: Sequence[T], client: Any) -> dict[int, R]:
    def submit(k: int, addresses: list[str]) -> Any:
        return client.submit(function, items[k], workers=addresses, pure=False)

    with warnings.catch_warnings():
        # items that were scattered, as Dask would have it, would be lost with the worker that holds them
        warnings.filterwarnings("ignore", message="Sending large graph")
        return Cluster.of(client).run(range(len(items)), submit, blame=True)
