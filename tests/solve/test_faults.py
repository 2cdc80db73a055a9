"""Whatever dies, stalls or makes no sense: the same answer, or an error that says what and where."""

from __future__ import annotations

import dataclasses
import json
import os
import pickle
import signal
import sys
import threading
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
import sites
import xarray as xr
from processes import Cluster, Deadly, Killer, alive, script, until, worker_processes

import drofcm as dro
from drofcm.blocks.form import TwoStageBlocks
from drofcm.core.errors import (
    DrofcmError,
    DrofcmWarning,
    Finding,
    InfeasibleError,
    InputError,
    LostError,
    ModelError,
    SolveError,
)
from drofcm.solve import cluster as clusters
from drofcm.solve import execution, search
from drofcm.solve import processes as crews
from drofcm.solve.execution import executor
from drofcm.solve.progress import Standing
from drofcm.solve.spread import spread
from drofcm.solve.stopping import Stopping
from drofcm.solve.subproblem import Request, Subproblem


def assert_optimal(result: dro.Result) -> None:
    assert result.status == "optimal"
    assert result.objective == pytest.approx(sites.optimum(), rel=1e-6)
    assert result.lower_bound <= sites.optimum() * (1 + 1e-9)
    assert result.lower_bound == pytest.approx(sites.optimum(), rel=1e-6)


def solve(**settings: Any) -> dro.Result:
    return dro.solve(sites.blocks(), method="lshaped", gap=1e-7, **settings)


# ---- workers that are killed ----------------------------------------------------------------------------------------


def test_processes_killed_twice_in_mid_iteration() -> None:
    killer = Killer(lambda: worker_processes(os.getpid()), iterations=(2, 5))
    result = solve(workers=2, progress=killer)
    assert len(set(killer.killed)) == 2
    assert_optimal(result)


@pytest.mark.parametrize("allowed_failures", [pytest.param(0, marks=pytest.mark.slow), 3])
def test_workers_of_dask_killed_twice_in_mid_iteration(cluster: Cluster, client: Any, allowed_failures: int) -> None:
    """The worker that is left takes over, then a new one when that is killed too; with 0 Dask blames the tasks."""
    client.run_on_scheduler(_allow, allowed_failures)
    killer = Killer(cluster.replace_oldest, iterations=(2, 5))
    try:
        result = solve(client=client, progress=killer)
    finally:
        client.run_on_scheduler(_allow, 3)
    assert len(set(killer.killed)) == 2
    assert not any(map(alive, killer.killed))
    assert_optimal(result)


def _allow(failures: int, dask_scheduler: Any) -> None:
    dask_scheduler.allowed_failures = failures


def test_processes_that_die_again_and_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crews, "_ATTEMPTS", 2)
    requests: dict[int, Any] = {number: Deadly() for number in range(sites.EVENTS)}
    with (
        executor(sites.blocks(), workers=2) as ask,
        pytest.raises(SolveError, match="worker processes ended 2 times in a row"),
    ):
        ask.ask(requests)
    assert not worker_processes(os.getpid())


def test_workers_of_dask_that_die_again_and_again(client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clusters, "_ATTEMPTS", 2)
    client.run_on_scheduler(_allow, 0)
    try:
        requests: dict[int, Any] = {0: Deadly()}
        with (
            executor(sites.blocks(), client=client) as ask,
            pytest.raises(SolveError, match="lost its workers 2 times in a row"),
        ):
            ask.ask(requests)
    finally:
        client.run_on_scheduler(_allow, 3)


@pytest.mark.parametrize("planned", [False, True], ids=["before a plan", "with a plan"])
def test_last_worker_of_dask_is_killed_and_none_comes(
    cluster: Cluster, client: Any, monkeypatch: pytest.MonkeyPatch, planned: bool
) -> None:
    monkeypatch.setattr(clusters, "_PATIENCE", 2.0)
    settings = {"client": client, "progress": lambda *_: cluster.kill_workers()}
    if not planned:
        with pytest.raises(LostError, match="the cluster has had no worker for 2 s, before any plan was found"):
            solve(**settings)
        return
    with pytest.warns(DrofcmWarning, match="no worker for 2 s; the best plan so far is reported"):
        result = solve(**settings, start=_closed())
    assert_stopped(result, "interrupted")


def test_scheduler_of_dask_is_killed(tmp_path: Path) -> None:
    from distributed import Client

    cluster, path = Cluster(tmp_path), tmp_path / "checkpoint"
    try:
        cluster.start_worker()
        with Client(cluster.address, timeout=2) as client:
            client.wait_for_workers(1, timeout=60)
            with pytest.warns(DrofcmWarning, match="scheduler of the cluster is gone.*--resume goes on from it"):
                result = solve(
                    client=client, start=_closed(), checkpoint=path, progress=lambda *_: cluster.scheduler.kill()
                )
            assert_stopped(result, "interrupted")
            with pytest.raises(LostError, match="the scheduler of the cluster is gone"):
                spread(len, ["one", "two"], client=client)
    finally:
        cluster.close()
    assert_optimal(solve(workers=1, checkpoint=path))


def assert_stopped(result: dro.Result, status: str) -> None:
    """The plan to open nothing, or a better one, at its true cost and with valid bounds."""
    assert result.status == status
    plan = tuple(result.first_stage.opened.values.round().astype(int).tolist())
    given = sites.data()
    cost = float(given.fixed.values @ plan + given.probability.values @ np.array(sites.recourse_cost(plan)))
    assert result.objective == result.upper_bound == pytest.approx(cost, rel=1e-6)
    assert result.lower_bound <= sites.optimum() * (1 + 1e-9) <= result.upper_bound * (1 + 1e-9)


# ---- workers of other environments ----------------------------------------------------------------------------------


def test_worker_of_dask_without_drofcm_is_left_out(cluster: Cluster, client: Any, tmp_path: Path) -> None:
    (tmp_path / "drofcm.py").write_text("raise ImportError('no such package here')", encoding="utf-8")
    before = len(cluster.workers)
    cluster.start_worker(folder=tmp_path)
    client.wait_for_workers(before + 1, timeout=60)
    with pytest.warns(DrofcmWarning, match=r"left out: those at tcp://\S+ cannot import drofcm \(.*no such package"):
        result = solve(client=client)
    assert_optimal(result)
    for process in cluster.workers[:before]:
        process.kill()
        process.wait()
    until(lambda: len(client.scheduler_info(n_workers=-1)["workers"]) == 1)
    with pytest.raises(LostError, match=r"no worker of the cluster can do the work: those at .* cannot import drofcm"):
        solve(client=client)
    cluster.kill_workers()


HERE = {
    "python": ".".join(map(str, sys.version_info)),
    **{name: version(name) for name in ("drofcm", "numpy", "highspy")},
}


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({}, ""),
        ({"drofcm": None}, ""),
        ({"python": "3.7.1.final.0"}, "have python 3.7.1.final.0 instead of"),
        ({"drofcm": "0.0.1"}, "have drofcm 0.0.1 instead of"),
        ({"highspy": "1.0.0"}, "have highspy 1.0.0 instead of"),
        ({"numpy": "1.26.4", "highspy": "9"}, "numpy 1.26.4 instead of"),
        ({"numpy": ".".join(HERE["numpy"].split(".")[:2]) + ".99"}, ""),
    ],
)
def test_versions_that_matter(changed: dict[str, Any], told: str) -> None:
    found = clusters._differences({**HERE, **changed})
    assert (told in found) if told else found == ""


# ---- processes that are killed or stand still -----------------------------------------------------------------------


def numbered(batch: list[int]) -> dict[int, int]:
    return {number: number**2 for number in batch}


def test_processes_killed_at_birth() -> None:
    """Before they have read what they begin with, which is more than a pipe holds."""
    crew = crews.Crew(2, (len, bytes(2_000_000)))
    killed: list[int] = []

    def kill() -> None:
        while len(killed) < 3:
            for pid in set(worker_processes(os.getpid())) - set(killed):
                os.kill(pid, signal.SIGKILL)
                killed.append(pid)

    thread = threading.Thread(target=kill, daemon=True)
    thread.start()
    try:
        assert crew.run(numbered, [[[1, 2]], [[3], [4]]]) == {1: 1, 2: 4, 3: 9, 4: 16}
    finally:
        crew.close()
    thread.join(1)
    assert len(killed) >= 3
    assert not worker_processes(os.getpid())


def dies_while_it_answers(marker: Path) -> dict[int, Any]:
    if not marker.exists():
        marker.touch()
        threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGKILL)).start()
        return {0: [bytes(100_000_000) for _ in range(8)]}
    return {0: "answered"}


def test_process_killed_in_the_middle_of_its_answer(tmp_path: Path) -> None:
    crew = crews.Crew(1)
    try:
        assert crew.run(dies_while_it_answers, [[tmp_path / "marker"]]) == {0: "answered"}
    finally:
        crew.close()


def test_time_limit_is_heard_while_processes_stand_still(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(execution, "_GRACE", 0.5)
    monkeypatch.setattr(crews, "_LOOK", 0.1)
    stopped: list[int] = []

    def stop(standing: Standing) -> None:
        if not stopped:
            stopped.extend(worker_processes(os.getpid()))
            for pid in stopped:
                os.kill(pid, signal.SIGSTOP)

    # nothing is left of the time, and still not quite nothing: somebody is asked, and does not answer
    monkeypatch.setattr(Stopping, "remaining", property(lambda self: 0.01 if stopped else 600.0))
    result = solve(workers=2, time_limit=600.0, start=_closed(), progress=stop)
    assert len(stopped) == 2
    assert not any(map(alive, stopped))
    assert_stopped(result, "time_limit")


# ---- Ctrl-C ---------------------------------------------------------------------------------------------------------

INTERRUPTED = """
import json, os, signal, sys, threading, time
import drofcm as dro, sites, xarray as xr
from drofcm.solve import lshaped
from processes import worker_processes

when = sys.argv[1]
group = lambda: os.killpg(0, signal.SIGINT)

def stop(standing):
    # once there is a plan
    if when == "reporting" or standing.upper == float("inf") or signal.getsignal(signal.SIGALRM) == stop:
        return
    signal.signal(signal.SIGALRM, stop)
    if when == "between":
        group()
    while_workers_stand_still()

def while_workers_stand_still():
    pids = worker_processes(os.getpid())
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    def later():
        group()
        for pid in pids:
            os.kill(pid, signal.SIGCONT)
    threading.Timer(0.5, later).start()

def when_started():
    while not worker_processes(os.getpid()):
        time.sleep(0.01)
    # a few hundredths of a second into what takes a second or more
    time.sleep(float(sys.argv[2]))
    group()

def report(*arguments, **settings):
    if signal.getsignal(signal.SIGALRM) != report:
        signal.signal(signal.SIGALRM, report)
        while_workers_stand_still()
    return original(*arguments, **settings)

blocks = sites.blocks()
original = lshaped.result_at
start = None
if when == "starting":
    threading.Thread(target=when_started).start()
elif when == "reporting":
    lshaped.result_at = report
else:
    # all but the last are open: with a plan from the first iteration on, there is much to ask still
    opened = [1.0, 1.0, 1.0, 0.0]
    start = xr.Dataset({"opened": ("site", opened)}, coords={"site": sites.data().site})
try:
    found = dro.solve(blocks, method="lshaped", gap=0, workers=2, progress=stop, start=start)
except dro.SolveError as error:
    print(json.dumps(dict(error=str(error), left=worker_processes(os.getpid()))))
else:
    plan = found.first_stage.opened.values.round().astype(int).tolist()
    print(json.dumps(dict(status=found.status, lower=found.lower_bound, upper=found.upper_bound,
        objective=found.objective, plan=plan, left=worker_processes(os.getpid()))))
"""


def interrupted(*arguments: object) -> dict[str, Any]:
    process = script(INTERRUPTED, *arguments)
    try:
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 0, err
    assert err == ""
    answer: dict[str, Any] = json.loads(out)
    assert answer["left"] == []
    return answer


@pytest.mark.parametrize("when", [pytest.param("between", marks=pytest.mark.slow), "while workers are busy"])
def test_ctrl_c_to_all_processes_keeps_the_best_plan_and_valid_bounds(when: str) -> None:
    answer = interrupted(when)
    assert answer["status"] == "interrupted"
    given = sites.data()
    plan = tuple(answer["plan"])
    cost = float(given.fixed.values @ plan + given.probability.values @ np.array(sites.recourse_cost(plan)))
    assert answer["upper"] == answer["objective"] == pytest.approx(cost, rel=1e-6)
    assert answer["lower"] <= sites.optimum() * (1 + 1e-9)
    assert sites.optimum() <= answer["upper"] * (1 + 1e-9)


def test_ctrl_c_while_the_plan_is_reported_loses_nothing() -> None:
    answer = interrupted("reporting")
    assert answer["status"] == "optimal"
    assert answer["lower"] == pytest.approx(sites.optimum(), rel=1e-7)
    assert answer["objective"] == pytest.approx(sites.optimum(), rel=1e-9)


@pytest.mark.parametrize("later", [pytest.param(0.0, marks=pytest.mark.slow), 0.3])
def test_ctrl_c_while_processes_start(later: float) -> None:
    answer = interrupted("starting", later)
    assert "stopped (interrupted)" in answer["error"]
    assert "before any plan" in answer["error"]


# ---- programs that make no sense ------------------------------------------------------------------------------------


def changed(number: int, **arrays: Any) -> TwoStageBlocks:
    blocks = sites.blocks()
    scenarios = list(blocks.scenarios)
    scenarios[number] = dataclasses.replace(scenarios[number], **arrays)
    return dataclasses.replace(blocks, scenarios=tuple(scenarios))


def unbounded(number: int) -> TwoStageBlocks:
    """More overflow than is needed earns money without end."""
    return changed(number, cost=np.where(np.isinf(sites.blocks().scenarios[number].upper), -1.0, 1.0))


@pytest.mark.parametrize("place", ["here", "processes", "dask"])
def test_unbounded_recourse_is_named_wherever_it_is_asked(place: str, request: pytest.FixtureRequest) -> None:
    settings: dict[str, Any] = {"workers": 2 if place == "processes" else 1}
    if place == "dask":
        settings = {"client": request.getfixturevalue("client")}
    with pytest.raises(SolveError, match="recourse of scenario 'event 5' is unbounded") as caught:
        dro.solve(unbounded(5), method="lshaped", **settings)
    assert not isinstance(caught.value, InfeasibleError)


@pytest.mark.parametrize("array", ["cost", "row_lower", "upper", "technology", "constant"])
def test_nan_is_refused_with_the_scenario(array: str) -> None:
    value = getattr(sites.blocks().scenarios[3], array)
    if isinstance(value, sp.csr_array):
        bad = value.copy()
        bad.data[0] = np.nan
    else:
        bad = np.full_like(value, np.nan)
    with pytest.raises(ModelError, match=r"scenario event 3: .* is NaN"):
        dro.solve(changed(3, **{array: bad}), method="lshaped", workers=1)


def test_nan_in_the_first_stage_is_refused() -> None:
    blocks = sites.blocks()
    first = dataclasses.replace(blocks.first_stage, cost=np.full(sites.SITES, np.nan))
    with pytest.raises(ModelError, match=r"first stage: .* is NaN"):
        dro.solve(dataclasses.replace(blocks, first_stage=first), method="lshaped", workers=1)


def test_first_stage_without_any_plan() -> None:
    def impossible(m: dro.Stage, data: xr.Dataset) -> Any:
        cost = sites.choose(m, data)
        m.subject_to("least", m["opened"].sum() >= sites.MOST + 1)
        return cost

    with pytest.raises(InfeasibleError):
        dro.TwoStageProgram(sites.data(), impossible, sites.send).solve(method="lshaped", workers=1)


def test_first_stage_without_any_whole_plan() -> None:
    """The relaxation has plans: the master with its integers finds that there is none."""

    def half(m: dro.Stage, data: xr.Dataset) -> Any:
        cost = sites.choose(m, data)
        m.subject_to("half", 2 * m["opened"].sum() == 3)
        return cost

    with pytest.raises(InfeasibleError, match="no plan"):
        dro.TwoStageProgram(sites.data(), half, sites.send).solve(method="lshaped", workers=1)


@pytest.mark.parametrize(
    "error",
    [
        InputError([Finding("study.yaml:3", "is wrong", "mend it"), Finding("data.csv", "is missing")]),
        InfeasibleError("no plan satisfies every row", "  row_a: x >= 1"),
        ModelError("scenario 3: NaN"),
        SolveError("stopped"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_errors_survive_the_way_between_processes(error: DrofcmError) -> None:
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is type(error)
    assert str(again) == str(error)
    assert vars(again) == vars(error)


# ---- time limits of single problems ---------------------------------------------------------------------------------


@cache
def market_split() -> tuple[dro.TwoStageProgram, dict[int, float]]:
    """Equal sums of subsets, which no search finds in a blink (Cornuejols and Dawande 1998), with a planted answer.

    With x = 1 all sums must be half of what there is, with x = 0 nothing need be chosen: both cost nothing but the
    constant 5 - 3 x, so the recourse costs 5 and 2.
    """
    rng = np.random.default_rng(20261121)
    size = rng.integers(0, 100, (5, 40)).astype(float)
    data = xr.Dataset(
        {"size": (("row", "item"), size), "target": ("row", size[:, ::2].sum(axis=1)), "event": ("scenario", [0.0])},
        coords={"row": range(5), "item": range(40), "scenario": ["only"]},
    )

    def plan(m: dro.Stage, data: xr.Dataset) -> Any:
        return 0 * m.binary("x")

    def split(m: dro.Stage, data: xr.Dataset) -> Any:
        chosen = m.binary("chosen", over="item")
        above, below = m.nonnegative("above", over="row"), m.nonnegative("below", over="row")
        m.subject_to("sums", (data["size"] * chosen).sum("item") - above + below - data.target * m["x"] == data.event)
        return (above + below).sum("row") - 3 * m["x"] + 5

    return dro.TwoStageProgram(data, plan, split), {0: 5.0, 1: 2.0}


@pytest.mark.parametrize("x", [0, 1])
def test_bounds_of_a_recourse_that_is_cut_short_are_valid(x: int) -> None:
    program, cost = market_split()
    blocks = program.blocks()
    own = Subproblem(blocks.first_stage, blocks.scenarios[0], "only")
    for gradient in (-3.0, 40.0):
        request = Request(
            np.array([float(x)]), exact=True, steps=3, gradient=np.array([gradient]), seconds=0.2, target=cost[x]
        )
        answer = own.answer(request)
        assert answer.lower <= cost[x] + 1e-6
        assert answer.upper >= cost[x] - 1e-6
        assert answer.lagrangian
        for constant, slope in answer.lagrangian:
            assert all(constant + slope[0] * at <= known + 1e-6 for at, known in cost.items())
        if x == 1:
            assert answer.upper > answer.lower + 1, "it was not cut short"


@pytest.mark.parametrize("seconds", [1e-9, 1e-4])
def test_search_whose_lagrangian_problems_are_cut_short_is_right(
    seconds: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search, "_SECONDS", seconds)
    assert_optimal(solve(workers=1))


@pytest.mark.slow
def test_time_limit_with_processes_leaves_valid_bounds_and_no_process() -> None:
    result = solve(workers=2, time_limit=0.0, start=_closed())
    assert result.status == "time_limit"
    assert result.lower_bound <= sites.optimum() * (1 + 1e-9) <= result.upper_bound * (1 + 1e-9)
    until(lambda: not worker_processes(os.getpid()), 5)


def _closed() -> xr.Dataset:
    return xr.Dataset({"opened": xr.zeros_like(sites.data().fixed)})
