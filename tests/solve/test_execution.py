"""The same answer wherever scenarios are asked, and nothing left behind."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
import sites
from problems import lands, network_design
from processes import alive, script, until, worker_processes

import drofcm as dro
from drofcm.blocks.form import TwoStageBlocks
from drofcm.solve.execution import Executor, _Block, executor
from drofcm.solve.subproblem import Request

PLACES = ["here", "processes", "dask"]


@pytest.fixture(scope="module")
def processes() -> Iterator[Executor]:
    """Two processes that hold the siting problem."""
    with executor(sites.blocks(), workers=2) as ask:
        yield ask


@pytest.fixture
def place(request: pytest.FixtureRequest) -> dict[str, Any]:
    """Settings of a solve in one of the places."""
    if request.param == "dask":
        return {"client": request.getfixturevalue("client")}
    return {"workers": 2 if request.param == "processes" else 1}


def report(x: np.ndarray, numbers: range = range(sites.EVENTS)) -> dict[int, Request]:
    return {number: Request(x, relaxed=False, report=True) for number in numbers}


# ---- one answer -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("place", PLACES, indirect=True)
def test_integer_recourse_reaches_the_optimum_of_enumeration(place: dict[str, Any]) -> None:
    result = dro.solve(sites.blocks(), method="lshaped", gap=1e-7, **place)
    assert result.status == "optimal"
    assert result.objective == pytest.approx(sites.optimum(), rel=1e-6)
    assert result.lower_bound <= sites.optimum() * (1 + 1e-9)
    assert result.lower_bound == pytest.approx(sites.optimum(), rel=1e-6)
    assert result.provenance["workers"] == (1 if place.get("workers") == 1 else 2)


@pytest.mark.slow
@pytest.mark.parametrize("place", PLACES[1:], indirect=True)
def test_recourse_that_may_be_infeasible_reaches_the_published_optimum(place: dict[str, Any], benchmarks: Path) -> None:
    problem = network_design(benchmarks / "netdes" / "network-10-10-L-01.dat")
    result = problem.program().solve(method="lshaped", gap=5e-3, **place)
    assert result.objective == pytest.approx(problem.optimum, rel=5e-3)
    assert result.objective >= problem.optimum * (1 - 1e-6)
    assert result.lower_bound <= problem.optimum * (1 + 1e-6)


@pytest.mark.parametrize("kind", PLACES)
def test_every_plan_costs_what_enumeration_says(kind: str, request: pytest.FixtureRequest) -> None:
    with contextlib.ExitStack() as stack:
        if kind == "processes":
            ask = request.getfixturevalue("processes")
        else:
            client = request.getfixturevalue("client") if kind == "dask" else None
            ask = stack.enter_context(executor(sites.blocks(), client=client, workers=1))
        floors = ask.floors()
        for plan in sites.plans()[::3]:
            answers = ask.ask(report(np.array(plan, dtype=float)))
            assert sorted(answers) == list(range(sites.EVENTS))
            cost = [answers[number].upper for number in range(sites.EVENTS)]
            np.testing.assert_allclose(cost, sites.recourse_cost(plan), rtol=1e-6, atol=1e-6)
        some = ask.ask(report(np.ones(sites.SITES), range(2, 4)))
    assert sorted(some) == [2, 3]
    least = np.min([sites.recourse_cost(plan) for plan in sites.plans()], axis=0)
    floor = np.array([floors[number] for number in range(sites.EVENTS)])
    assert (floor <= least + 1e-6).all()
    assert floor.max() > 0


def test_linear_program_on_dask_with_fewer_scenarios_than_blocks_would_be(client: Any) -> None:
    problem = lands()
    result = problem.program().solve(method="lshaped", gap=1e-7, client=client)
    assert result.objective == pytest.approx(problem.optimum, rel=1e-6)


@pytest.mark.parametrize(("asked", "given"), [(1, 1), (2, 2), (3, 3), (50, 3)])
def test_as_many_workers_as_were_asked_for_but_no_idle_ones(asked: int, given: int) -> None:
    with executor(lands().program().blocks(), workers=asked) as ask:
        assert ask.workers == given


# ---- blocks ---------------------------------------------------------------------------------------------------------


def block_of(blocks: TwoStageBlocks) -> _Block:
    return _Block(blocks.first_stage, tuple((k, f"event {k}", own) for k, own in enumerate(blocks.scenarios)))


def test_only_matrices_travel() -> None:
    block = block_of(sites.blocks())
    before = pickle.dumps(block)
    cost = [answer.upper for answer in block.answers(report(np.ones(sites.SITES))).values()]
    assert len(pickle.dumps(block)) == len(before)
    again = [answer.upper for answer in pickle.loads(before).answers(report(np.ones(sites.SITES))).values()]
    assert again == cost


def test_block_is_as_large_as_its_arrays() -> None:
    """Dask decides by this figure where work goes; the default would be some fifty bytes."""
    rows, columns = 300, 400
    dense = np.random.default_rng(1).random((rows, columns))
    small = sites.blocks()
    large = dataclasses.replace(small.scenarios[0], recourse=sp.csr_array(dense))
    shared = _Block(small.first_stage, ((0, "a", large), (1, "b", large)))
    once = dense.nbytes + rows * columns * 4
    assert once < sys.getsizeof(shared) < 1.1 * once


def test_one_block_asked_from_two_threads_at_once() -> None:
    block = block_of(sites.blocks())
    wrong = []

    def ask(plan: tuple[int, ...]) -> None:
        for _ in range(5):
            answers = block.answers({k: Request(np.array(plan, dtype=float), exact=True) for k in block.numbers})
            cost = [answers[k].upper for k in block.numbers]
            if not np.allclose(cost, sites.recourse_cost(plan), rtol=1e-3):
                wrong.append(plan)

    threads = [threading.Thread(target=ask, args=(plan,)) for plan in ((1, 0, 1, 0), (0, 1, 1, 1), (0, 0, 0, 0))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


# ---- nothing is left behind -----------------------------------------------------------------------------------------


def kept(dask_worker: Any) -> tuple[int, int]:
    """Data and solvers that a worker of Dask holds."""
    import gc

    from drofcm.solve.subproblem import Subproblem

    gc.collect()
    return len(dask_worker.data), sum(isinstance(thing, Subproblem) for thing in gc.get_objects())


def test_workers_of_dask_forget_blocks_and_solvers_after_a_solve(client: Any) -> None:
    with executor(sites.blocks(), client=client) as ask:
        ask.ask(report(np.ones(sites.SITES)))
        # answers that were fetched are dropped a moment later
        until(lambda: np.array_equal(np.sum(list(client.run(kept).values()), axis=0), [sites.EVENTS, sites.EVENTS]))
    until(lambda: set(client.run(kept).values()) == {(0, 0)})


def test_processes_may_grow(processes: Executor) -> None:
    """Loky takes solvers that stay in memory for a leak and would begin again with new processes all the time."""
    processes.floors()
    before = worker_processes(os.getpid())
    assert len(before) == 2
    pool = processes._crew._pools[0]  # type: ignore[attr-defined]
    grow = "globals().setdefault('kept', []).append(bytearray(b'x') * 400_000_000)"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pool.submit(exec, grow).result()
        # longer than loky lets pass between two looks at the memory
        time.sleep(1.2)
        for _ in range(3):
            processes.floors()
            time.sleep(0.3)
    assert worker_processes(os.getpid()) == before


CLIENT = """
import os, sys, time
import sites
from drofcm.solve.execution import executor
with executor(sites.blocks(), workers=2) as ask:
    ask.floors()
    print("ready", flush=True)
    time.sleep(60)
"""


def test_processes_end_with_a_client_that_was_killed() -> None:
    process = script(CLIENT, stderr=subprocess.DEVNULL)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        pids = worker_processes(process.pid)
        assert len(pids) == 2
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    until(lambda: not any(map(alive, pids)), 5)
