"""Files and folders that a study file names: they stand beside it, and nothing else of the machine is read.

A study file may come from anyone. A name that leads out of its folder, by an absolute path, by ``..`` or by a link, is
refused unless the person who runs it has named the folder in ``$DROFCM_DATA``.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from drofcm.core.errors import Finding, InputError, quoted, suggest
from drofcm.core.reading import file_fault

__all__ = ["ALLOWED", "file_beside", "folder_beside", "strays"]

ALLOWED: Final = "DROFCM_DATA"
"""Variable of the environment: folders, separated as in ``$PATH``, that studies may read besides their own."""

_ASK: Final = f"copy it into the study's folder, or name the folder that holds it in the environment as {ALLOWED}"


def file_beside(folder: Path, name: str, key: str) -> Path:
    """The file that a study file calls ``name``.

    Parameters
    ----------
    folder
        Folder of the study file.
    name
        What the study file says.
    key
        Where it says so, for messages.

    Raises
    ------
    InputError
        If there is no such file, or it lies outside the folder.
    """
    path = folder / name
    _refuse_outside(path, folder, name, key)
    fault = file_fault(path, f"{key}: {quoted(name)}")
    if fault is None:
        return path
    if fault.what.endswith("no such file"):
        near = suggest(path.name, (file.name for file in path.parent.iterdir())) if path.parent.is_dir() else ""
        raise InputError([Finding(key, f"{quoted(name)}: no such file beside the study file", near)])
    raise InputError([fault])


def folder_beside(folder: Path, name: str, key: str) -> Path | None:
    """The folder that a study file calls ``name``, None if there is none beside the study file.

    Raises
    ------
    InputError
        If it lies outside the folder of the study file.
    """
    path = folder / name
    _refuse_outside(path, folder, name, key)
    try:
        return path if path.is_dir() else None
    except (OSError, ValueError):  # a name that no folder can have
        return None


def strays(base: Path, folder: Path, key: str) -> Iterator[Finding]:
    """Files below a folder of data that are links to somewhere else."""
    for path in sorted(base.rglob("*")):
        if path.is_symlink() and not _is_inside(path, (base, folder)):
            yield Finding(f"{key}: {path.relative_to(base)}", "is a link out of the study's folder", _ASK)


def _refuse_outside(path: Path, folder: Path, name: str, key: str) -> None:
    try:
        inside = _is_inside(path, (folder,))
    except (OSError, ValueError, RuntimeError):  # too long, a zero byte, links in a circle: file_fault has the words
        return
    if not inside:
        raise InputError([Finding(key, f"{quoted(name)} lies outside the folder of the study file", _ASK)])


def _is_inside(path: Path, folders: tuple[Path, ...]) -> bool:
    asked = [Path(text) for text in os.environ.get(ALLOWED, "").split(os.pathsep) if text]
    real = path.resolve()
    return any(real.is_relative_to(folder.resolve()) for folder in (*folders, *asked))
