"""Broken files of every kind, seeded: each is read or refused, in time, without a traceback, and nothing is written.

Readers are those that the commands call. They run in a child process, so that a library underneath that crashes or
asks for all memory is a finding and not the end of the tests.
"""

from __future__ import annotations

import json
import multiprocessing
import resource
import shutil
import signal
import tempfile
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import mutate
import numpy as np
import pytest

from drofcm.blocks.smps import read_smps
from drofcm.core.errors import DrofcmError, InputError
from drofcm.data import find_dataset
from drofcm.study.contents import read_back
from drofcm.study.folder import RunFolder
from drofcm.study.plan import read_plan
from drofcm.study.run import open_study

SECONDS = 60
"""For one input, on a machine that has other work; a sound one takes less than one."""
MEMORY = 12 * 2**30
SEED = 15


def study(folder: Path) -> object:
    return open_study(folder / "study.yaml")


def plan(folder: Path) -> object:
    return read_plan(folder / "plan.csv", open_study(folder / "study.yaml").data)


def smps(folder: Path) -> object:
    return read_smps(folder / "p")


def run(folder: Path) -> object:
    return read_back(folder / "run")


@dataclass(frozen=True)
class Kind:
    """What is changed, what reads it, and how many inputs the quick and the long test try."""

    change: mutate.Change
    read: Callable[[Path], object]
    says: str
    quick: int
    long: int


NET, MODULES = ("net/buses.csv", "net/lines.csv"), ("modules/technologies.csv",)
KINDS = {
    "values of the study": Kind(mutate.values("study.yaml"), study, "study", 30, 330),
    "text of the study": Kind(mutate.text("study.yaml"), study, "study", 10, 120),
    "cells of tables": Kind(mutate.cells(*NET, *MODULES), study, "study", 8, 80),
    "text of tables": Kind(mutate.text(*NET, *MODULES), study, "study", 6, 60),
    "data package": Kind(mutate.values("net/datapackage.yaml"), study, "study", 6, 70),
    "text of data packages": Kind(
        mutate.text("net/datapackage.yaml", "modules/datapackage.yaml"), study, "study", 4, 40
    ),
    "layers": Kind(mutate.layers, study, "study", 8, 100),
    "events": Kind(mutate.arrays, study, "events", 10, 120),
    "matrix": Kind(mutate.cells("matrix.csv"), study, "matrix", 4, 40),
    "distances": Kind(mutate.cells("km.csv"), study, "study", 4, 40),
    "plan": Kind(mutate.cells("plan.csv"), plan, "study", 3, 30),
    "smps": Kind(mutate.text("p.cor", "p.tim", "p.sto"), smps, "study", 7, 100),
}
RUNS = Kind(mutate.runs, run, "study", 3, 60)


@pytest.fixture(scope="module")
def catalogue() -> Path:
    return find_dataset("catalogue", "fcm_2026")


def children(kind: Kind, count: int, base: Path) -> list[str]:
    """What is wrong with how ``count`` changed copies of ``base`` are read, in a child process."""
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    child = context.Process(target=_read_all, args=(kind, count, base, sender))
    child.start()
    sender.close()
    faults, last = [], "the first"
    while True:
        try:
            last, fault = receiver.recv()
        except EOFError:
            break
        faults += [f"{last}: {fault}"] * bool(fault)
    child.join()
    return faults if child.exitcode == 0 else [*faults, f"{last}: the process died with {child.exitcode}"]


class _Late(BaseException):
    """An input took too long."""


def _read_all(kind: Kind, count: int, base: Path, sender: Connection) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))

    def late(*_: object) -> None:
        raise _Late

    signal.signal(signal.SIGALRM, late)
    for number in range(count):
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(shutil.copytree(base, Path(scratch) / "s"))
            what = kind.change(np.random.default_rng([SEED, number]), folder)
            sender.send((f"{number} ({what})", ""))  # named should the process die
            fault = _fault(kind, folder)
            if fault:
                sender.send((f"{number} ({what})", fault))


def _fault(kind: Kind, folder: Path) -> str:
    before = _state(folder)
    signal.alarm(SECONDS)
    try:
        kind.read(folder)
        told = ""
    except DrofcmError as error:
        told = _unfit(error)
    except _Late:
        told = f"no end in {SECONDS} s"
    except BaseException:
        told = traceback.format_exc(limit=-4)
    finally:
        signal.alarm(0)
    return told or ("" if _state(folder) == before else "something was written")


def _unfit(error: DrofcmError) -> str:
    """What is wrong with a message: escape sequences, or an essay."""
    lines = [str(finding) for finding in error.findings] if isinstance(error, InputError) else str(error).split("\n")
    odd = [line for line in lines if not line.isprintable() or len(line) > 2000]
    return f"cannot be shown: {odd[0][:300]!r}" if odd or not lines else ""


def _state(folder: Path) -> dict[str, tuple[int, int]]:
    return {str(path): (path.stat().st_mtime_ns, path.stat().st_size) for path in sorted(folder.rglob("*"))}


@pytest.mark.parametrize("name", KINDS)
def test_broken_files_are_refused(name: str, tmp_path: Path, catalogue: Path) -> None:
    kind = KINDS[name]
    mutate.write_study(tmp_path, kind.says, catalogue)
    assert children(kind, kind.quick, tmp_path) == []


@pytest.mark.slow
@pytest.mark.parametrize("name", KINDS)
def test_more_broken_files_are_refused(name: str, tmp_path: Path, catalogue: Path) -> None:
    kind = KINDS[name]
    mutate.write_study(tmp_path, kind.says, catalogue)
    assert children(kind, kind.long, tmp_path) == []


def test_broken_run_folders_are_refused(tmp_path: Path, tiny_told: tuple[RunFolder, str]) -> None:
    shutil.copytree(tiny_told[0].path, tmp_path / "run")
    assert children(RUNS, RUNS.quick, tmp_path) == []


@pytest.mark.slow
def test_more_broken_run_folders_are_refused(tmp_path: Path, tiny_told: tuple[RunFolder, str]) -> None:
    shutil.copytree(tiny_told[0].path, tmp_path / "run")
    assert children(RUNS, RUNS.long, tmp_path) == []


def test_the_sound_study_is_read(tmp_path: Path, catalogue: Path) -> None:
    """Without it, everything could be refused for a reason of its own."""
    for says in mutate.SAYS:
        (tmp_path / says).mkdir()
        mutate.write_study(tmp_path / says, says, catalogue)
        data: Any = open_study(tmp_path / says / "study.yaml").data
        assert data.sizes["scenario"] == 2
    assert float(read_plan(tmp_path / "study" / "plan.csv", data)["shipped"].sum()) == 3
    assert json.loads((tmp_path / "study" / "place" / "hubs.geojson").read_text())["features"]
    assert len(read_smps(tmp_path / "study" / "p").scenarios) == 4


def test_the_quick_and_the_long_test_try_as_many_as_they_should() -> None:
    kinds = [*KINDS.values(), RUNS]
    assert sum(kind.quick for kind in kinds) >= 100
    assert sum(kind.long for kind in kinds) >= 1000
