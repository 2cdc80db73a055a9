"""Clients and workers that are killed at random moments: the same answer, and nothing left behind."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import sites
from processes import alive, script, until, worker_processes

import drofcm as dro


def moments(count: int) -> list[np.random.Generator]:
    return [np.random.default_rng([20261202, number]) for number in range(count)]


def assert_optimal(objective: float, lower_bound: float) -> None:
    assert objective == pytest.approx(sites.optimum(), rel=1e-6)
    assert lower_bound == pytest.approx(sites.optimum(), rel=1e-6)


CLIENT = """
import sys, time
import drofcm as dro, sites
blocks, path, workers = sites.blocks(), sys.argv[1], int(sys.argv[2])
print("ready", flush=True)
# slow enough for the moment to lie within
dro.solve(blocks, method="lshaped", gap=1e-7, workers=workers, checkpoint=path,
    progress=lambda standing: time.sleep(0.02))
"""


def kill_client(folder: Path, rng: np.random.Generator, workers: int) -> None:
    """Kill a client at some moment of its search; what it has written is whole, and leads to the same answer."""
    path = folder / "checkpoint"
    process = script(CLIENT, path, workers)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n", process.communicate()[1]
        time.sleep(float(rng.uniform(0.0, 2.0)))
        pids = worker_processes(process.pid)
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=60)
    finally:
        process.kill()
    result = dro.solve(sites.blocks(), method="lshaped", gap=1e-7, workers=1, checkpoint=path)
    assert_optimal(result.objective, result.lower_bound)
    assert len(result.log)
    assert [entry.name for entry in folder.iterdir()] == ["checkpoint"]
    until(lambda: not any(map(alive, pids)), 30)


def kill_workers(rng: np.random.Generator, kills: int) -> None:
    """Kill workers at some moments of a search, some of them as soon as they are there."""
    over = threading.Event()
    killed: list[int] = []

    def kill() -> None:
        known: set[int] = set()
        while len(killed) < kills and not over.is_set():
            at_birth = rng.random() < 0.4
            if not at_birth and over.wait(float(rng.uniform(0.0, 1.0))):
                return
            pids = worker_processes(os.getpid())
            fresh = [pid for pid in pids if pid not in known]
            known.update(pids)
            for pid in (fresh if at_birth else pids)[:1]:
                os.kill(pid, signal.SIGKILL)
                killed.append(pid)
            time.sleep(0.001)

    thread = threading.Thread(target=kill, daemon=True)
    thread.start()
    try:
        result = dro.solve(
            sites.blocks(), method="lshaped", gap=1e-7, workers=2, progress=lambda standing: time.sleep(0.02)
        )
    finally:
        over.set()
        thread.join()
    assert_optimal(result.objective, result.lower_bound)
    assert killed
    assert not any(map(alive, killed))
    assert not worker_processes(os.getpid())


@pytest.mark.parametrize("rng", moments(1))
def test_client_is_killed_at_some_moment(tmp_path: Path, rng: np.random.Generator) -> None:
    kill_client(tmp_path, rng, workers=2)


@pytest.mark.parametrize("rng", moments(1))
def test_workers_are_killed_at_some_moments(rng: np.random.Generator) -> None:
    kill_workers(rng, kills=3)


@pytest.mark.slow
@pytest.mark.parametrize("rng", moments(31)[1:])
def test_client_is_killed_at_each_of_thirty_moments(tmp_path: Path, rng: np.random.Generator) -> None:
    kill_client(tmp_path, rng, workers=int(rng.integers(1, 3)))


@pytest.mark.slow
@pytest.mark.parametrize("rng", moments(11)[1:])
def test_thirty_workers_are_killed(rng: np.random.Generator) -> None:
    kill_workers(rng, kills=3)
