"""A client that dies costs one iteration; a file that does not fit is refused by name."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import resource
import shutil
import signal
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
import sites
import xarray as xr
from processes import script, until

import drofcm as dro
from drofcm.core.errors import DrofcmWarning, InputError, SolveError
from drofcm.risk.ambiguity import AmbiguitySet
from drofcm.solve.checkpoint import Learnt, expect, held, problem_hash, write
from drofcm.solve.checkpoint import read as read_for
from drofcm.solve.cuts import CutPool
from drofcm.solve.regions import Region
from drofcm.solve.scaling import scaled
from drofcm.solve.subproblem import Point


def read(path: Path, key: str) -> Learnt | None:
    """A checkpoint of the siting problem, or of the one that is made up below."""
    return read_for(path, key, *((3, 3) if key == "key" else (sites.EVENTS, sites.SITES)))


def searched_key() -> str:
    """Of the program as a search sees it, in units of its own."""
    return key(scaled(sites.blocks()).blocks)


def key(blocks: Any = None, risk: Any = None) -> str:
    return problem_hash(blocks or sites.blocks(), risk or dro.Expectation(), dro.Nominal())


def solve(path: Path, risk: Any = None, **settings: Any) -> dro.Result:
    settings = {"gap": 1e-7, "workers": 1, **settings}
    return dro.solve(sites.blocks(), method="lshaped", risk=risk, checkpoint=path, **settings)


def pool(size: int, seed: int) -> CutPool:
    rng = np.random.default_rng(seed)
    gradients = sp.csr_array(rng.random((size, 3)) * (rng.random((size, 3)) < 0.5))
    return CutPool.of(rng.integers(0, 3, size), rng.random(size), gradients, rng.integers(0, 2, size).astype(float))


def learnt(size: int = 4) -> Learnt:
    """A checkpoint with every kind of content; the number of its cuts tells it from another."""
    regions = (
        Region(np.zeros(3), np.array([0.0, 1.0, 9.0]), 4.5, pool(size // 2, 1), [1, 2], 3, 7.5, np.array([0.0, 1, 8])),
        Region(np.array([1.0, 0.0, 0.0]), np.ones(3), -np.inf, pool(2, 2)),
    )
    return Learnt(
        cuts=pool(size, size),
        floor=np.array([-np.inf, 0.0, 1.0]),
        kept=np.array([2, 0]),
        lower=-np.inf,
        lower_origin="nowhere",
        plan=np.zeros(0),
        upper=np.inf,
        price=np.array([0.0, -2.5]),
        phase="relaxation" if size == 0 else "regions of the first stage",
        iteration=size,
        points=((), (Point(np.array([0.0, 1.0, 8.0]), 3.0), Point(np.zeros(3), -1.0)), ()),
        regions=None if size == 0 else regions,
        ruled_out=np.inf if size == 0 else 6.25,
    )


def same(one: Any, other: Any, where: str = "") -> None:
    """Equal to the last bit, part by part."""
    if isinstance(one, CutPool):
        assert one.gradients.shape == other.gradients.shape
        one = [one.scenario, one.constant, one.gradients.toarray(), one.bounds_cost]
        other = [other.scenario, other.constant, other.gradients.toarray(), other.bounds_cost]
    if dataclasses.is_dataclass(one):
        for field in dataclasses.fields(one):
            same(getattr(one, field.name), getattr(other, field.name), f"{where}.{field.name}")
    elif isinstance(one, tuple | list):
        assert len(one) == len(other), where
        for a, b in zip(one, other, strict=True):
            same(a, b, where)
    else:
        np.testing.assert_array_equal(one, other, err_msg=where)


def refused(path: Path, words: str) -> None:
    with pytest.raises(InputError) as caught:
        read(path, "key")
    (finding,) = caught.value.findings
    assert finding.where == str(path)
    assert words in finding.what
    assert finding.fix


# ---- there and back -------------------------------------------------------------------------------------------------


def test_what_was_written_is_read(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint"
    assert read(path, "key") is None
    for size in (0, 4, 9):
        write(path, "key", learnt(size))
        again = read(path, "key")
        assert again is not None
        same(again, learnt(size))
    assert [entry.name for entry in tmp_path.iterdir()] == ["checkpoint"]


@cache
def iterations_needed() -> int:
    return int(dro.solve(sites.blocks(), method="lshaped", gap=1e-7, workers=1).provenance["iterations"])


@pytest.mark.parametrize("left", [1, 2, 3, 7, 10])
def test_search_that_is_taken_up_ends_at_the_same_optimum(tmp_path: Path, left: int) -> None:
    """From every phase, so many iterations before the end; what was known then is known still."""
    path = tmp_path / "checkpoint"
    iterations = iterations_needed() - left
    # before there is a plan the limit is an error
    with contextlib.suppress(SolveError):
        assert solve(path, iterations=iterations).status == "iteration_limit"
    before = read(path, searched_key())
    assert before is not None
    assert iterations <= before.iteration <= iterations + 1
    assert (before.regions is not None) == (left == 1)
    seen: list[tuple[float, float]] = []
    result = solve(path, progress=lambda own: seen.append((own.lower, own.upper)))
    after = read(path, searched_key())
    assert after is not None
    assert result.objective == pytest.approx(sites.optimum(), rel=1e-6)
    assert result.status == "optimal"
    unit = scaled(sites.blocks()).unit
    assert before.lower * unit <= result.lower_bound <= sites.optimum() * (1 + 1e-9)
    assert all(before.lower * unit <= lower and upper <= before.upper * unit for lower, upper in seen)
    assert set(before.cuts.constant) <= set(after.cuts.constant)
    assert set(before.kept) <= set(after.kept)
    for early, late in zip(before.regions or (), after.regions or (), strict=before.regions is not None):
        assert early.bound <= late.bound
        assert set(early.kept) <= set(late.kept)
        assert set(early.cuts.constant) <= set(late.cuts.constant)
    assert result.provenance["iterations"] > before.iteration


def test_search_that_was_finished_is_not_searched_again(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint"
    first = solve(path)
    again = solve(path)
    assert again.provenance["iterations"] == first.provenance["iterations"]
    assert again.objective == first.objective
    assert again.lower_bound == first.lower_bound


def test_search_that_was_finished_is_reported_whole(tmp_path: Path) -> None:
    """Bounds to draw, and what one more unit of a first-stage limit is worth."""
    path = tmp_path / "checkpoint"
    first = solve(path)
    again = solve(path)
    (row,) = again.log.to_dict("records")
    assert row["lower_bound"] == pytest.approx(first.lower_bound, rel=1e-9)
    assert row["upper_bound"] == pytest.approx(first.upper_bound, rel=1e-6)
    assert set(again.log) == set(first.log)
    assert again.prices.identical(first.prices)
    assert again.first_stage.identical(first.first_stage)


def test_search_with_nothing_to_do_has_a_log_too(tmp_path: Path) -> None:
    closed = xr.Dataset({"opened": xr.zeros_like(sites.data().fixed)})
    result = solve(tmp_path / "checkpoint", iterations=0, start=closed)
    assert result.status == "iteration_limit"
    assert len(result.log) == 1


KILLED = """
import sys
from pathlib import Path
import drofcm as dro, sites
dro.solve(sites.blocks(), method="lshaped", gap=1e-7, workers=1, checkpoint=sys.argv[1],
    progress=lambda *_: print("iteration", flush=True) or sys.stdin.readline())
"""


def test_client_is_killed_in_mid_search(tmp_path: Path) -> None:
    """SIGKILL after the fourth iteration; the fifth is lost and nothing else is."""
    path = tmp_path / "checkpoint"
    process = script(KILLED, path, stdin=-1)
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        for _ in range(4):
            assert process.stdout.readline() == "iteration\n"
            process.stdin.write("\n")
            process.stdin.flush()
        assert process.stdout.readline() == "iteration\n"
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate()
    before = read(path, searched_key())
    assert before is not None
    assert before.iteration == 4
    assert len(before.cuts) == 4 * sites.EVENTS
    result = solve(path)
    after = read(path, searched_key())
    assert after is not None
    assert len(after.cuts) >= len(before.cuts)
    assert result.objective == pytest.approx(sites.optimum(), rel=1e-6)
    assert result.lower_bound == pytest.approx(sites.optimum(), rel=1e-6)


# ---- another problem ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "risk", [dro.CVaR(0.9), dro.Expectation() + dro.CVaR(0.9), (1 + 1e-9) * dro.Expectation()], ids=str
)
def test_checkpoint_of_another_risk_is_refused(tmp_path: Path, risk: Any) -> None:
    path = tmp_path / "checkpoint"
    solve(path)
    before = path.read_bytes()
    with pytest.raises(InputError, match="another problem") as caught:
        solve(path, risk)
    assert caught.value.findings[0].where == str(path)
    assert path.read_bytes() == before


@dataclasses.dataclass(frozen=True)
class Ball(AmbiguitySet):
    """Stands for an ambiguity set with many figures, which printing would leave out."""

    distance: np.ndarray


def _arrays() -> list[tuple[str, int | None, str]]:
    blocks = sites.blocks()
    parts = [("first", None, blocks.first_stage), ("scenario", 3, blocks.scenarios[3])]
    return [(name, number, field.name) for name, number, part in parts for field in dataclasses.fields(part)]


@pytest.mark.parametrize(("part", "number", "name"), _arrays())
def test_hash_depends_on_every_figure(part: str, number: int | None, name: str) -> None:
    blocks = sites.blocks()
    owner = blocks.first_stage if number is None else blocks.scenarios[number]
    value = getattr(owner, name)
    if isinstance(value, sp.csr_array):
        changes = [sp.csr_array(value + sp.csr_array(([1e-12], ([0], [0])), shape=value.shape))] if value.nnz else []
        changes.append(sp.csr_array(sp.vstack([value, value])))
    elif isinstance(value, np.ndarray) and value.dtype == bool:
        changes = [~value]
    else:
        changes = [np.nextafter(value, 7.0)]
    for change in changes:
        other = dataclasses.replace(owner, **{name: change})
        if number is None:
            changed = dataclasses.replace(blocks, first_stage=other)
        else:
            scenarios = (*blocks.scenarios[:number], other, *blocks.scenarios[number + 1 :])
            changed = dataclasses.replace(blocks, scenarios=scenarios)
        assert key(changed) != key()


def test_hash_of_probabilities_scenarios_and_ambiguity() -> None:
    blocks = sites.blocks()
    swapped = blocks.probability.copy(data=blocks.probability.values[::-1])
    fewer = dataclasses.replace(blocks, scenarios=blocks.scenarios[:-1])
    distance = np.zeros((60, 60))
    other = distance.copy()
    other[30, 30] = 1.0
    balls = [problem_hash(blocks, dro.Expectation(), Ball(matrix)) for matrix in (distance, other)]
    hashes = [key(), key(dataclasses.replace(blocks, probability=swapped)), key(fewer), *balls]
    assert len(set(hashes)) == len(hashes)


def test_hash_is_the_same_in_another_process() -> None:
    program = "import sites, drofcm as dro; from drofcm.solve.checkpoint import problem_hash as h; "
    process = script(program + "print(h(sites.blocks(), dro.Expectation(), dro.Nominal()))")
    out, err = process.communicate(timeout=60)
    assert out.strip() == key(), err


def test_hash_does_not_depend_on_the_width_of_indices_or_on_what_is_shared() -> None:
    blocks = sites.blocks()

    def wide(matrix: sp.csr_array) -> sp.csr_array:
        parts = (matrix.data.copy(), matrix.indices.astype(np.int64), matrix.indptr.astype(np.int64))
        return sp.csr_array(parts, shape=matrix.shape)

    scenarios = tuple(
        dataclasses.replace(own, technology=wide(own.technology), recourse=wide(own.recourse))
        for own in blocks.scenarios
    )
    assert key(dataclasses.replace(blocks, scenarios=scenarios)) == key()


# ---- files that are no checkpoints ----------------------------------------------------------------------------------


def test_file_that_is_cut_short_anywhere_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint"
    write(path, "key", learnt())
    whole = path.read_bytes()
    for size in (0, 1, 10, len(whole) // 3, len(whole) // 2, len(whole) - 30, len(whole) - 1):
        path.write_bytes(whole[:size])
        refused(path, "cannot be read as a checkpoint")


def test_file_with_a_flipped_bit_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint"
    write(path, "key", learnt(1000))
    whole = bytearray(path.read_bytes())
    whole[whole.index(b"constant.npy") + 2000] ^= 4
    path.write_bytes(bytes(whole))
    refused(path, "cannot be read as a checkpoint")


def text(path: Path) -> None:
    path.write_text("no checkpoint", encoding="utf-8")


def bare_array(path: Path) -> None:
    with path.open("wb") as file:
        np.save(file, np.ones(3))


def other_archive(path: Path) -> None:
    with path.open("wb") as file:
        np.savez(file, figures=np.ones(3))


def other_facts(path: Path) -> None:
    write(path, "key", learnt())
    with np.load(path) as stored:
        arrays = dict(stored)
    arrays["facts"] = np.array('{"key": "key", "lower": 3}')
    with path.open("wb") as file:
        np.savez(file, **arrays)


@pytest.mark.parametrize("make", [text, bare_array, other_archive, other_facts, Path.mkdir])
def test_other_files_are_refused(tmp_path: Path, make: Callable[[Path], None]) -> None:
    path = tmp_path / "checkpoint"
    make(path)
    refused(path, "cannot be read as a checkpoint")


# ---- whole or not at all --------------------------------------------------------------------------------------------

WRITING = """
import runpy, sys
from pathlib import Path
module = runpy.run_path(sys.argv[1])
contents = [module["learnt"](size) for size in (20_000, 40_000)]
print("ready", flush=True)
for k in range(100_000):
    module["write"](Path(sys.argv[2]), "key", contents[k % 2])
"""


def test_file_is_whole_whenever_its_writer_is_killed(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint"
    write(path, "key", learnt())
    process = script(WRITING, __file__, path)
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == "ready\n", process.communicate()[1]
        until(lambda: path.stat().st_size > 100_000, 20)
        for _ in range(100):
            found = read(path, "key")
            assert found is not None
            assert len(found.cuts) == found.iteration
            time.sleep(0.001)
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate()
    found = read(path, "key")
    assert found is not None
    same(found, learnt(found.iteration))


def test_full_disk_leaves_the_earlier_checkpoint_and_says_so(tmp_path: Path) -> None:
    """A limit on the size of files stands for the disk that is full."""
    path = tmp_path / "checkpoint"
    write(path, "key", learnt())
    before = path.read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, limits[1]))
    try:
        with pytest.raises(SolveError, match=f"{path} cannot be written"):
            write(path, "key", learnt(5000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["checkpoint"]


def test_checkpoint_that_cannot_be_written_is_a_warning(tmp_path: Path) -> None:
    """Its folder goes away in mid-search; the plan does not."""
    path = tmp_path / "folder" / "checkpoint"
    path.parent.mkdir()
    with pytest.warns(DrofcmWarning, match="cannot be written: .*; the search goes on without it") as told:
        result = solve(path, progress=lambda _: shutil.rmtree(path.parent, ignore_errors=True))
    assert result.status == "optimal"
    assert result.objective == pytest.approx(sites.optimum(), rel=1e-6)
    assert len(told) == 1


# ---- one search at a time -------------------------------------------------------------------------------------------


def test_second_search_on_a_checkpoint_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint"
    with held(path):
        for attempt in (lambda: solve(path), lambda: expect(path, resume=False)):
            with pytest.raises(InputError) as caught:
                attempt()
            assert caught.value.findings[0].where == str(path)
            assert "another search is writing" in caught.value.findings[0].what
    solve(path)
    assert [entry.name for entry in tmp_path.iterdir()] == ["checkpoint"]


def test_what_a_search_that_was_killed_has_left_is_taken_away(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint"
    mine = tmp_path / "checkpoint.old.part"
    for name in ("checkpoint.lock", "checkpoint.0123abcd.part", mine.name):
        (tmp_path / name).write_bytes(b"half")
    solve(path)
    assert {entry.name for entry in tmp_path.iterdir()} == {path.name, mine.name}


# ---- what the user may wish for -------------------------------------------------------------------------------------


def test_wishes_that_fit(tmp_path: Path) -> None:
    there, absent = tmp_path / "there", tmp_path / "absent"
    there.touch()
    for path, resume in ((None, False), (absent, False), (there, True), (Path(os.path.relpath(absent)), False)):
        expect(path, resume)


def test_wishes_that_do_not(tmp_path: Path) -> None:
    there = tmp_path / "there"
    there.touch()
    for path, resume, where, words in [
        (None, True, "--resume", "needs the checkpoint"),
        (there, False, str(there), "is there already"),
        (tmp_path / "absent", True, str(tmp_path / "absent"), "no such checkpoint"),
        (tmp_path / "no" / "folder", False, str(tmp_path / "no" / "folder"), f"no folder {tmp_path / 'no'}"),
    ]:
        with pytest.raises(InputError) as caught:
            expect(path, resume)
        (finding,) = caught.value.findings
        assert finding.where == where
        assert words in finding.what
        assert finding.fix
