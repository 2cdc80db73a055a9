"""Whole problems side by side: in their order, wherever they are solved, and told as lost where a worker is."""

from __future__ import annotations

import os
import signal
import warnings
from pathlib import Path
from typing import Any

import pytest
from processes import worker_processes

from drofcm.core.errors import SolveError
from drofcm.solve import processes
from drofcm.solve.spread import spread


def squared(number: int) -> int:
    return number**2


def dies(number: int) -> int:
    if number == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def refuses(number: int) -> int:
    raise SolveError(f"number {number} is not wanted")


@pytest.mark.parametrize("workers", [1, 2])
def test_answers_stand_in_the_order_of_the_items(workers: int) -> None:
    assert spread(squared, range(7), workers=workers) == [0, 1, 4, 9, 16, 25, 36]
    assert spread(squared, [], workers=workers) == []


def test_answers_of_a_cluster_stand_in_the_order_of_the_items(client: Any) -> None:
    assert spread(squared, range(7), client=client) == [0, 1, 4, 9, 16, 25, 36]


def test_large_items_of_a_cluster_are_no_warning(client: Any) -> None:
    """Dask would have them scattered, but then they are lost with the worker that holds them."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert spread(len, [bytes(12_000_000)] * 2, client=client) == [12_000_000] * 2


def test_an_error_of_an_item_is_raised_as_it_is(client: Any) -> None:
    for where in ({"workers": 1}, {"workers": 2}, {"client": client}):
        with pytest.raises(SolveError, match="is not wanted"):
            spread(refuses, range(4), **where)


def dies_once(marker: Path) -> int:
    if not marker.exists():
        marker.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return 7


def test_item_whose_process_was_killed_is_asked_again(tmp_path: Path) -> None:
    assert spread(dies_once, [tmp_path / "one", tmp_path / "other"], workers=2) == [7, 7]


def test_item_that_kills_every_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "_ATTEMPTS", 1)
    with pytest.raises(SolveError, match="worker processes ended 1 times in a row"):
        spread(dies, range(6), workers=2)
    assert not worker_processes(os.getpid())


def test_item_that_kills_its_worker_of_a_cluster(client: Any) -> None:
    """With no failure allowed Dask gives the item up after the first worker; the other one is left."""
    client.run_on_scheduler(_allow, 0)
    try:
        with pytest.raises(SolveError, match="the cluster lost what it was asked for"):
            spread(dies, range(6), client=client)
    finally:
        client.run_on_scheduler(_allow, 3)


def _allow(failures: int, dask_scheduler: Any) -> None:
    dask_scheduler.allowed_failures = failures
