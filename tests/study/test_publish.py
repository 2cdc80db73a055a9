"""Folders that appear whole beside what is the user's, whoever else writes, and whoever is killed on the way."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from drofcm.core.errors import InputError
from drofcm.core.files import check_file_target, whole_file
from drofcm.study import publish
from drofcm.study.publish import alone, check_target, tidy, writing

NAMES = ("a.txt", "tables/b.txt", "seal")


def fill(folder: Path, text: str, names: tuple[str, ...] = NAMES) -> None:
    for name in names:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")


def write(target: Path, text: str, names: tuple[str, ...] = NAMES, **options: Any) -> None:
    with writing(target, last="seal", **options) as folder:
        fill(folder, text, names)


def content(folder: Path) -> dict[str, str]:
    files = (file for file in folder.rglob("*") if file.is_file())
    return {file.relative_to(folder).as_posix(): file.read_text(encoding="utf-8") for file in files}


@pytest.fixture
def target(tmp_path: Path) -> Path:
    """A folder that was written, with files of the user's in it."""
    target = tmp_path / "runs" / "a-1"
    write(target, "old")
    (target / "notes.txt").write_text("mine", encoding="utf-8")
    (target / "tables" / "mine.txt").write_text("mine", encoding="utf-8")
    return target


MINE = {"notes.txt": "mine", "tables/mine.txt": "mine"}


def test_only_what_the_command_writes_is_replaced(target: Path) -> None:
    write(target, "new")
    assert content(target) == {**dict.fromkeys(NAMES, "new"), **MINE}
    assert [path.name for path in target.parent.iterdir()] == [target.name]


def test_what_it_wrote_before_and_not_again_goes(target: Path) -> None:
    write(target, "new", ("a.txt", "seal"), own=lambda _: NAMES)
    assert content(target) == {"a.txt": "new", "seal": "new", **MINE}


@pytest.mark.parametrize("name", ["a.txt", "tables/b.txt"])
def test_a_file_that_is_not_its_own_is_in_the_way(target: Path, name: str) -> None:
    before = content(target)
    with pytest.raises(InputError, match=f"{name} is there and not as this command wrote it"):
        write(target, "new", own=lambda _: set(NAMES) - {name})
    assert content(target) == before
    assert [path.name for path in target.parent.iterdir()] == [target.name]


def as_folder(path: Path) -> None:
    path.mkdir()


def as_link(path: Path) -> None:
    path.symlink_to(path.parent.parent / "elsewhere.txt")


@pytest.mark.parametrize("stands", [as_folder, as_link])
def test_what_is_no_file_is_never_replaced(target: Path, stands: Callable[[Path], None]) -> None:
    (target / "a.txt").unlink()
    stands(target / "a.txt")
    with pytest.raises(InputError, match=r"a\.txt is there"):
        write(target, "new")
    assert (target / "a.txt").is_dir() or (target / "a.txt").is_symlink()
    assert not (target.parent / "elsewhere.txt").exists()


def test_nothing_is_written_through_a_link_to_another_folder(target: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    (target / "tables").rename(other)
    (target / "tables").symlink_to(other)
    before = content(other)
    with pytest.raises(InputError, match="tables is there"):
        write(target, "new")
    assert content(other) == before


def test_what_is_better_stays(target: Path) -> None:
    before = content(target)
    write(target, "new", stays=lambda made, there: (there / "a.txt").exists() and (made / "a.txt").exists())
    assert content(target) == before
    assert [path.name for path in target.parent.iterdir()] == [target.name]


# ---- two at once ----------------------------------------------------------------------------------------------------


def _repeat(target: Path, text: str, times: int, failures: Any) -> None:
    for _ in range(times):
        try:
            write(target, text)
        except BaseException as error:
            failures.put(f"{type(error).__name__}: {error}")


def pairs(target: Path, times: int) -> Counter[str]:
    context = multiprocessing.get_context("fork")
    failures = context.Queue()
    both = [context.Process(target=_repeat, args=(target, text, times, failures)) for text in ("one", "two")]
    for process in both:
        process.start()
    for process in both:
        process.join()
    failures.put("end")
    return Counter(iter(failures.get, "end"))


@pytest.mark.parametrize("times", [100, pytest.param(3000, marks=pytest.mark.slow)])
def test_two_that_write_the_same_folder_do_not_meet(target: Path, times: int) -> None:
    assert pairs(target, times) == Counter()
    found = content(target)
    assert len({found[name] for name in NAMES}) == 1
    assert {name: found[name] for name in MINE} == MINE
    assert [path.name for path in target.parent.iterdir()] == [target.name]


def test_what_someone_is_at_work_on_is_left_alone(tmp_path: Path) -> None:
    with writing(tmp_path / "a-1") as folder:
        fill(folder, "new")
        with alone(tmp_path):
            tidy(tmp_path)
        assert folder.is_dir()
    assert content(tmp_path / "a-1") == dict.fromkeys(NAMES, "new")


# ---- killed on the way ----------------------------------------------------------------------------------------------


def killed(target: Path, moves: int) -> None:
    """A process that writes the folder and is killed after so many files are moved."""

    def work() -> None:
        replace, count = Path.replace, 0

        def counted(path: Path, to: Path) -> Path:
            nonlocal count
            if count == moves:
                os.kill(os.getpid(), signal.SIGKILL)
            count += 1
            return replace(path, to)

        publish.Path.replace = counted  # type: ignore[method-assign,assignment]
        if moves < 0:
            publish._publish = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
        write(target, "new")

    process = multiprocessing.get_context("fork").Process(target=work)
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL


def test_killed_before_it_is_complete_leaves_what_was_there(target: Path) -> None:
    killed(target, -1)
    assert len(list(target.parent.iterdir())) == 2
    with alone(target.parent):
        tidy(target.parent)
    assert content(target) == {**dict.fromkeys(NAMES, "old"), **MINE}
    assert [path.name for path in target.parent.iterdir()] == [target.name]


@pytest.mark.parametrize("moves", range(len(NAMES)))
def test_killed_while_files_are_moved_is_finished_by_the_next(target: Path, moves: int) -> None:
    killed(target, moves)
    assert not (target / "seal").exists()  # whoever looks at the folder sees that it is not whole
    for _ in range(2):
        with alone(target.parent):
            tidy(target.parent)
    assert content(target) == {**dict.fromkeys(NAMES, "new"), **MINE}
    assert [path.name for path in target.parent.iterdir()] == [target.name]


@pytest.mark.parametrize("journal", ["", "[]", '{"target": "../../x"}', '{"target": 1, "remove": [], "last": null}'])
def test_a_journal_that_is_none_is_removed_with_its_folder(tmp_path: Path, journal: str) -> None:
    hidden = tmp_path / ".drofcm-01234567"
    hidden.mkdir()
    (hidden / ".publish.json").write_text(journal, encoding="utf-8")
    (tmp_path / ".drofcm-mine").mkdir()
    with alone(tmp_path):
        tidy(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [".drofcm-mine"]


def test_a_journal_leads_out_of_no_folder(tmp_path: Path) -> None:
    hidden = tmp_path / "runs" / ".drofcm-01234567"
    hidden.mkdir(parents=True)
    (tmp_path / "mine.txt").write_text("mine", encoding="utf-8")
    plan = {"target": "../..", "remove": ["../../mine.txt", str(tmp_path / "mine.txt")], "last": None}
    (hidden / ".publish.json").write_text(json.dumps(plan), encoding="utf-8")
    with alone(tmp_path / "runs"):
        tidy(tmp_path / "runs")
    assert (tmp_path / "mine.txt").exists()


# ---- targets --------------------------------------------------------------------------------------------------------


def check(path: Path) -> None:
    check_target(path, "--runs", lambda _: (), NAMES)


def a_file_in_the_way(folder: Path) -> Path:
    (folder / "runs").write_text("a file", encoding="utf-8")
    return folder / "runs" / "a-1"


def a_long_name(folder: Path) -> Path:
    return folder / "runs" / ("a" * 300)


def bytes_that_are_no_text(folder: Path) -> Path:
    return folder / os.fsdecode(b"runs-\xe4") / "a-1"


def no_file_system(folder: Path) -> Path:
    return Path("/proc/nope/a-1")


@pytest.mark.parametrize("path", [a_file_in_the_way, a_long_name, bytes_that_are_no_text, no_file_system])
def test_a_folder_that_could_not_be_written_is_refused_and_nothing_is_made(
    tmp_path: Path, path: Callable[[Path], Path]
) -> None:
    where = path(tmp_path)
    before = list(tmp_path.iterdir())
    with pytest.raises(InputError, match="choose another --runs"):
        check(where)
    assert list(tmp_path.iterdir()) == before


def test_a_folder_that_could_be_written_is_not_made_either(tmp_path: Path, target: Path) -> None:
    check(tmp_path / "new" / "deep" / "a-1")
    assert not (tmp_path / "new").exists()
    before, stamp = content(target), time.time()
    check_target(target, "--runs", lambda _: NAMES, NAMES)
    assert content(target) == before
    assert all(file.stat().st_mtime <= stamp for file in target.rglob("*.txt"))
    with pytest.raises(InputError, match="not as this command wrote it"):
        check(target)


def in_no_folder(folder: Path) -> Path:
    return folder / "none" / "x.nc"


def a_folder(folder: Path) -> Path:
    return folder


def a_device(folder: Path) -> Path:
    return Path("/dev/null")


def a_long_file(folder: Path) -> Path:
    return folder / ("x" * 300)


@pytest.mark.parametrize("path", [in_no_folder, a_folder, a_device, a_long_file, bytes_that_are_no_text])
def test_a_file_that_could_not_be_written_is_refused(tmp_path: Path, path: Callable[[Path], Path]) -> None:
    with pytest.raises(InputError, match="--save"):
        check_file_target(path(tmp_path), "--save")
    assert list(tmp_path.iterdir()) == []
    assert Path("/dev/null").is_char_device()


def test_a_file_that_could_be_written_stays_as_it_is(tmp_path: Path) -> None:
    check_file_target(tmp_path / "x.nc", "--save")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "x.nc").write_text("old", encoding="utf-8")
    check_file_target(tmp_path / "x.nc", "--save")
    assert content(tmp_path) == {"x.nc": "old"}


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "real.txt").write_text("old", encoding="utf-8")
    (tmp_path / "link.txt").symlink_to("real.txt")
    with whole_file(tmp_path / "link.txt") as unfinished:
        unfinished.write_text("new", encoding="utf-8")
    assert (tmp_path / "link.txt").is_symlink()
    assert (tmp_path / "real.txt").read_text(encoding="utf-8") == "new"
