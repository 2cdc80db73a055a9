"""Folders that appear whole or not at all, beside whatever else stands there.

What a command writes is made in a hidden folder beside the target and then moved there. Only files that the command
wrote itself are replaced; what else is in the target is the user's and stays as it is. Whoever moves, makes or removes
such folders holds a lock on the folder above (of the file system, so that it ends with the process). A process that is
killed leaves its hidden folder behind: the next one finishes what was complete and removes what was not.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
import uuid
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath
from typing import Final

from drofcm.core.errors import Finding, InputError, raise_if_any, shorten
from drofcm.core.files import encodable, unwritable

__all__ = ["alone", "check_target", "tidy", "writing"]

_HIDDEN: Final = re.compile(r"\.drofcm-[0-9a-f]{8}")
_JOURNAL: Final = ".publish.json"
"""In a hidden folder: it is complete, and where it is to go."""
_AGAIN: Final = 10
"""How often the folders above are made anew because another process removes them as empty."""


@contextmanager
def alone(folder: Path) -> Iterator[bool]:
    """No other process makes, moves or removes run folders in the folder; False where its file system has no locks."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        yield _lock(descriptor, fcntl.LOCK_EX)
    finally:
        os.close(descriptor)


def _lock(descriptor: int, how: int) -> bool:
    try:
        fcntl.flock(descriptor, how)
    except OSError:
        return False
    return True


@contextmanager
def writing(
    path: Path,
    *,
    own: Callable[[Path], Collection[str]] | None = None,
    stays: Callable[[Path, Path], bool] | None = None,
    last: str | None = None,
) -> Iterator[Path]:
    """A hidden folder whose files are moved to ``path`` when the block ends, and which vanishes if the block fails.

    Parameters
    ----------
    path
        The folder to write.
    own
        Names, relative to it, of the files in a folder that is there already which may be replaced; those that are not
        written again are removed. Those that are written, if left out.
    stays
        Whether what is there is to stay as it is; asked with the hidden folder and the one that is there.
    last
        The file without which the folder is not whole: taken away first and moved last.

    Raises
    ------
    InputError
        If the folder above cannot be written, or files are in the way that are not the command's own.
    """
    made = [parent for parent in (path.parent, *path.parent.parents) if not os.path.exists(parent)]
    hidden: Path | None = None
    claim = None
    try:
        try:
            hidden, claim = _begin(path.parent)
        except OSError as error:
            raise InputError([Finding(str(path.parent), unwritable(error), "choose another folder")]) from None
        yield hidden
        with alone(path.parent):
            if not (path.is_dir() and stays is not None and stays(hidden, path)):
                _publish(hidden, path, own, last)
    except BaseException:
        if hidden is not None:
            shutil.rmtree(hidden, ignore_errors=True)
        _remove_empty(made)
        raise
    finally:
        if claim is not None:
            os.close(claim)
    shutil.rmtree(hidden, ignore_errors=True)


def _begin(parent: Path) -> tuple[Path, int]:
    """A hidden folder, and the descriptor that says as long as it is open that someone is at work on it."""
    for attempt in range(_AGAIN):
        try:
            parent.mkdir(parents=True, exist_ok=True)
            with alone(parent):
                hidden = parent / f".drofcm-{uuid.uuid4().hex[:8]}"
                hidden.mkdir()
                claim = os.open(hidden, os.O_RDONLY)
                _lock(claim, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return hidden, claim
        except FileNotFoundError:
            if attempt == _AGAIN - 1:
                raise
    raise AssertionError("unreachable")


def _publish(hidden: Path, path: Path, own: Callable[[Path], Collection[str]] | None, last: str | None) -> None:
    if not os.path.lexists(path):
        hidden.rename(path)
        return
    names = _names(hidden)
    mine = set(names) if own is None else set(own(path))
    raise_if_any(_in_the_way(path, names, mine))
    remove = sorted(mine - set(names))
    plan = {"target": path.name, "remove": remove, "last": last}
    unfinished = hidden / f"{_JOURNAL}.part"
    unfinished.write_text(json.dumps(plan), encoding="utf-8")
    unfinished.rename(hidden / _JOURNAL)
    _finish(hidden, path, remove, last)


def _finish(hidden: Path, path: Path, remove: Collection[str], last: str | None) -> None:
    """Move what is in the hidden folder; may have been begun before."""
    names = [name for name in _names(hidden) if name != _JOURNAL]
    path.mkdir(exist_ok=True)
    if last in names:
        (path / last).unlink(missing_ok=True)
    for name in sorted(names, key=lambda name: name == last):
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (hidden / name).replace(path / name)
    for name in remove:
        (path / name).unlink(missing_ok=True)
        with suppress(OSError):
            (path / name).parent.rmdir()


def _in_the_way(path: Path, names: Collection[str], mine: Collection[str]) -> Iterator[Finding]:
    if path.is_symlink() or not path.is_dir():
        yield Finding(str(path), "is no folder", "move it away")
        return
    taken = [name for name in names if os.path.lexists(path / name) and (name not in mine or _is_no_file(path / name))]
    for folder in sorted({parent for name in names for parent in Path(name).parents if parent != Path()}):
        there = path / folder
        if there.is_symlink() or (there.exists() and not there.is_dir()):
            taken.append(str(folder))
    if taken:
        what = f"{shorten(taken)} {'is' if len(taken) == 1 else 'are'} there and not as this command wrote it"
        yield Finding(str(path), what, "move the folder away, or write to another one; nothing in it was changed")


def _is_no_file(path: Path) -> bool:
    return path.is_symlink() or not path.is_file()


def _names(folder: Path) -> list[str]:
    return sorted(file.relative_to(folder).as_posix() for file in folder.rglob("*") if not file.is_dir())


def _remove_empty(folders: Collection[Path]) -> None:
    """Folders that were made for what failed go too, unless someone else uses them by now."""
    for folder in folders:
        with suppress(OSError):
            folder.rmdir()


def tidy(parent: Path) -> None:
    """Finish or remove what processes that were killed have left in a folder; to be called `alone` in it."""
    for hidden in sorted(parent.iterdir()):
        if not _HIDDEN.fullmatch(hidden.name) or hidden.is_symlink() or not hidden.is_dir():
            continue
        with suppress(OSError):  # it is another user's, or gone
            claim = os.open(hidden, os.O_RDONLY)
            try:
                if _lock(claim, fcntl.LOCK_EX | fcntl.LOCK_NB):
                    _take_over(hidden)
            finally:
                os.close(claim)


def _take_over(hidden: Path) -> None:
    try:
        plan = json.loads((hidden / _JOURNAL).read_text(encoding="utf-8"))
        target, remove, last = plan["target"], plan["remove"], plan["last"]
        if not all(map(_is_within, (target, *remove, *([] if last is None else [last])))) or "/" in target:
            raise ValueError("leads elsewhere")
    except (OSError, ValueError, KeyError, TypeError):
        pass  # it never was complete
    else:
        _finish(hidden, hidden.parent / target, remove, last)
    shutil.rmtree(hidden, ignore_errors=True)


def _is_within(name: str) -> bool:
    parts = PurePosixPath(name).parts
    return bool(parts) and not PurePosixPath(name).is_absolute() and ".." not in parts


def check_target(path: Path, option: str, own: Callable[[Path], Collection[str]], names: Collection[str]) -> None:
    """Refuse a folder that could not be written, before hours are spent on what is to stand in it.

    Everything is tried and nothing stays.

    Parameters
    ----------
    path
        The folder.
    option
        By which the user has chosen it.
    own
        As in `writing`.
    names
        Files and folders at the top of what will be written.

    Raises
    ------
    InputError
        Naming the folder.
    """
    fix = f"choose another {option}"
    if encodable(path):
        raise InputError([Finding(repr(str(path)), encodable(path), fix)])
    if os.path.lexists(path):
        mine = {*own(path), *(name.split("/")[0] for name in own(path))}
        taken = [name for name in names if not (path / name).is_dir() or (path / name).is_symlink()]
        raise_if_any(_in_the_way(path, taken, mine))
    made = [parent for parent in (path, *path.parents) if not os.path.exists(parent)]
    try:
        path.mkdir(parents=True, exist_ok=True)
        probe = path / f".drofcm-{uuid.uuid4().hex[:8]}.part"
        beside = path.parent / f".drofcm-{uuid.uuid4().hex[:8]}"
        try:
            probe.write_bytes(b"probe")
            beside.mkdir()
        finally:
            with suppress(OSError):
                probe.unlink(missing_ok=True)
            with suppress(OSError):
                beside.rmdir()
    except OSError as error:
        raise InputError([Finding(str(path.parent), unwritable(error), fix)]) from None
    finally:
        _remove_empty(made)
