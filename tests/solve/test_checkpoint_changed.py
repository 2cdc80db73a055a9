"""A checkpoint that was cut, changed or made up is refused by name, or leads to the same answer."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sites

import drofcm as dro
from drofcm.core.errors import InputError
from drofcm.solve import checkpoint as checkpoints
from drofcm.solve.learnt import NAMES

MUTATIONS = 40

Arrays = dict[str, np.ndarray]


def solve(path: Path, **settings: Any) -> dro.Result:
    settings = {"gap": 1e-7, "workers": 1, "time_limit": 60.0, **settings}
    return dro.solve(sites.blocks(), method="lshaped", checkpoint=path, **settings)


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The checkpoint of a search that is split into regions and has a plan, points and cuts of all kinds."""
    path = tmp_path_factory.mktemp("kept") / "checkpoint"
    solve(path)
    return path.read_bytes()


def arrays_of(content: bytes) -> Arrays:
    with np.load(io.BytesIO(content)) as stored:
        return dict(stored)


def written(path: Path, arrays: Arrays, sealed: bool = True) -> None:
    """As a search writes it; the seal fits, unless the one that was there is to stay."""
    content = {name: own for name, own in arrays.items() if name != "seal"}
    seal = np.array(checkpoints._seal(content)) if sealed else arrays["seal"]
    with path.open("wb") as file:
        np.savez(file, **content, seal=seal)


def refused(path: Path, words: str = "") -> None:
    with pytest.raises(InputError) as caught:
        solve(path)
    (finding,) = caught.value.findings
    assert finding.where == str(path)
    assert words in finding.what
    assert "\n" not in finding.what
    assert finding.fix == "delete it"


# ---- by chance ------------------------------------------------------------------------------------------------------


def cut(content: bytes, rng: np.random.Generator) -> bytes:
    return content[: rng.integers(len(content))]


def flipped(content: bytes, rng: np.random.Generator) -> bytes:
    changed = bytearray(content)
    for place in rng.integers(len(content), size=rng.integers(1, 4)):
        changed[place] ^= 1 << rng.integers(8)
    return bytes(changed)


def overwritten(content: bytes, rng: np.random.Generator) -> bytes:
    begin, size = rng.integers(len(content)), rng.integers(1, 500)
    return content[:begin] + rng.bytes(size) + content[begin + size :]


def edited(content: bytes, rng: np.random.Generator) -> bytes:
    """One array changed as a hand would, and the seal left as it was."""
    arrays = arrays_of(content)
    name = str(rng.choice([name for name in NAMES if arrays[name].size]))
    own = arrays[name]
    changes: list[Callable[[], Any]] = [
        lambda: own[..., :-1] if own.ndim else np.array(str(own)[:-1]),
        lambda: np.concatenate([own, own]) if own.ndim else np.array("{}"),
        lambda: own + 1 if own.dtype.kind in "fi" else own.astype("U"),
        lambda: own.astype("U20"),
        lambda: np.full_like(own, np.nan if own.dtype.kind == "f" else 0),
    ]
    arrays[name] = changes[rng.integers(len(changes))]()
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


@pytest.mark.parametrize("mutate", [cut, flipped, overwritten, edited])
def test_whatever_happens_to_the_file_it_is_refused_or_leads_to_the_same_answer(
    tmp_path: Path, kept: bytes, mutate: Callable[[bytes, np.random.Generator], bytes]
) -> None:
    rng = np.random.default_rng([20261201, len(mutate.__name__)])
    path, taken = tmp_path / "checkpoint", 0
    for _ in range(MUTATIONS // 4):
        path.write_bytes(mutate(kept, rng))
        try:
            result = solve(path)
        except InputError as error:
            (finding,) = error.findings
            assert finding.where == str(path)
            assert "\n" not in finding.what
        else:
            taken += 1
            assert result.status == "optimal"
            assert result.objective == pytest.approx(sites.optimum(), rel=1e-6)
            assert result.lower_bound == pytest.approx(sites.optimum(), rel=1e-6)
    # bits that mean nothing, such as the time of an entry
    assert taken < MUTATIONS // 8


# ---- on purpose, with a seal that fits ------------------------------------------------------------------------------


def test_seal_that_is_made_anew_fits(tmp_path: Path, kept: bytes) -> None:
    written(tmp_path / "checkpoint", arrays_of(kept))
    assert solve(tmp_path / "checkpoint").objective == pytest.approx(sites.optimum(), rel=1e-6)


@pytest.mark.parametrize("name", [name for name in NAMES if name != "facts"])
@pytest.mark.parametrize("change", ["shape", "type", "value"])
def test_arrays_that_no_search_can_have_learnt(tmp_path: Path, kept: bytes, name: str, change: str) -> None:
    arrays = arrays_of(kept)
    own = arrays[name]
    if change == "shape":
        arrays[name] = own.reshape(*own.shape, 1)
    elif change == "type":
        arrays[name] = own.astype("U9" if own.dtype.kind != "f" else "f4")
    elif name in ("price", "plan", "floor") or own.dtype.kind == "f":
        arrays[name] = np.full_like(own, np.nan)
    elif own.dtype.kind == "i":
        arrays[name] = np.full_like(own, -(2**30))
    else:
        pytest.skip("any truth is one")
    if arrays[name].size == 0 and change == "value":
        pytest.skip("there is none")
    if name == "region_plan" and change == "value":
        arrays["region_value"] = np.zeros_like(arrays["region_value"])
    written(tmp_path / "checkpoint", arrays)
    refused(tmp_path / "checkpoint", name.split("_")[0])


FACTS: list[tuple[str, Any, str]] = [
    ("upper", "12", "upper"),
    ("upper", float("nan"), "is no number"),
    ("upper", -1e9, "above the cost"),
    ("lower", 1e9, "above the cost"),
    ("lower", float("inf"), "leave no plan"),
    ("upper", float("inf"), "a plan without a cost"),
    ("iteration", -1, "iteration"),
    ("iteration", True, "iteration"),
    ("phase", "the end", "phase"),
    ("split", False, "regions"),
    ("ruled_out", None, "ruled_out"),
    ("more", 1.0, "facts"),
]


@pytest.mark.parametrize(("name", "value", "words"), FACTS)
def test_figures_that_no_search_can_have_learnt(tmp_path: Path, kept: bytes, name: str, value: Any, words: str) -> None:
    arrays = arrays_of(kept)
    arrays["facts"] = np.array(json.dumps({**json.loads(str(arrays["facts"])), name: value}))
    written(tmp_path / "checkpoint", arrays)
    refused(tmp_path / "checkpoint", words)


def change_plan(arrays: Arrays) -> None:
    arrays["plan"] = np.full(sites.SITES, 7.0)


def change_row(arrays: Arrays) -> None:
    arrays["plan"] = np.ones(sites.SITES)


def change_half(arrays: Arrays) -> None:
    arrays["plan"] = np.full(sites.SITES, 0.5)


def change_cost(arrays: Arrays) -> None:
    """Both bounds a tenth below the optimum: what is searched for would be ruled out."""
    facts = json.loads(str(arrays["facts"]))
    arrays["facts"] = np.array(json.dumps({**facts, "upper": 0.9 * facts["upper"], "lower": 0.8 * facts["lower"]}))


def change_other_plan(arrays: Arrays) -> None:
    """The plan to open nothing at the cost of the best one."""
    arrays["plan"] = np.zeros(sites.SITES)


def change_floor(arrays: Arrays) -> None:
    arrays["floor"] = arrays["floor"] + 1e4


def change_cuts(arrays: Arrays) -> None:
    arrays["constant"] = arrays["constant"] + 1e4


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (change_plan, "does not fit its problem: the plan breaks bounds or integrality of opened"),
        (change_row, "the plan breaks 1 rows of the first stage: most"),
        (change_half, "the plan breaks bounds or integrality of opened"),
        (change_cost, "its plan costs"),
        (change_other_plan, "its plan costs"),
        (change_floor, "a scenario costs less at its plan than its bounds allow"),
        (change_cuts, "a scenario costs less at its plan than its bounds allow"),
    ],
)
def test_what_is_false_at_the_plan_is_refused(
    tmp_path: Path, kept: bytes, change: Callable[[Arrays], None], words: str
) -> None:
    arrays = arrays_of(kept)
    change(arrays)
    written(tmp_path / "checkpoint", arrays)
    refused(tmp_path / "checkpoint", words)


# ---- sizes that are looked at first ---------------------------------------------------------------------------------


def member(shape: tuple[int, ...], content: bytes = b"") -> bytes:
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": "<f8", "fortran_order": False, "shape": shape})
    return file.getvalue() + content


def replaced(kept: bytes, path: Path, content: bytes, compression: int = zipfile.ZIP_STORED) -> None:
    """The checkpoint with other content for one of its arrays."""
    with zipfile.ZipFile(io.BytesIO(kept)) as old, zipfile.ZipFile(path, "w", compression) as new:
        for name in old.namelist():
            new.writestr(name, content if name == "constant.npy" else old.read(name))


def test_array_that_says_it_is_larger_than_memory(tmp_path: Path, kept: bytes) -> None:
    path = tmp_path / "checkpoint"
    for shape in ((10**11,), (10**6, 10**6), (2**62, 8), (-1,)):
        replaced(kept, path, member(shape))
        refused(path, "cannot be read as a checkpoint")


def test_archive_that_is_small_and_unpacks_large(tmp_path: Path, kept: bytes) -> None:
    path = tmp_path / "checkpoint"
    replaced(kept, path, member((10**7,), bytes(8 * 10**7)), zipfile.ZIP_DEFLATED)
    assert path.stat().st_size < 10**6
    refused(path, "its parts are larger than the file")


def test_matrix_with_more_rows_than_are_remembered(tmp_path: Path, kept: bytes) -> None:
    arrays = arrays_of(kept)
    rows = 10**6
    arrays["point_scenario"], arrays["point_cost"] = np.zeros(rows, dtype=np.int64), np.zeros(rows)
    arrays["point_shape"] = np.array([rows, sites.SITES])
    arrays["point_indptr"] = np.zeros(rows + 1, dtype=np.int64)
    arrays["point_data"], arrays["point_indices"] = np.zeros(0), np.zeros(0, dtype=np.int64)
    written(tmp_path / "checkpoint", arrays)
    refused(tmp_path / "checkpoint", "point: more than are remembered")
