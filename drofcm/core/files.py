"""Files that appear complete or not at all, and whether they could."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from drofcm.core.errors import Finding, raise_if_any

__all__ = ["check_file_target", "encodable", "unwritable", "whole_file"]


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A new file beside ``path`` that takes its place when the block ends, and vanishes if the block fails.

    Two that write the same file at once do not meet; a link is followed, so that it stays one.
    """
    path = Path(os.path.realpath(path))
    # a name of its own length: that of the file may be as long as names can be
    unfinished = path.with_name(f".drofcm-{uuid.uuid4().hex[:8]}.part")
    try:
        yield unfinished
        unfinished.replace(path)
    finally:
        with suppress(OSError):
            unfinished.unlink(missing_ok=True)


def encodable(path: Path) -> str:
    """What stands against the path being handed to libraries that take UTF-8 only; empty for nothing."""
    try:
        str(path).encode("utf-8")
    except UnicodeEncodeError:
        return "the path holds bytes that are not UTF-8"
    return ""


def check_file_target(path: Path, option: str) -> None:
    """Refuse a file that could not be written, before hours are spent on what is to stand in it.

    Parameters
    ----------
    path
        The file.
    option
        By which it is named in the message.

    Raises
    ------
    InputError
        Naming option and file.
    """
    where = f"{option} {str(path)!r}"
    what = encodable(path) or _against(path)
    raise_if_any([Finding(where, what, "choose another file")] if what else [])


def _against(path: Path) -> str:
    if os.path.isdir(path):
        return "is a folder"
    if not os.path.isdir(path.parent):
        return f"there is no folder {path.parent}"
    if os.path.exists(path) and not path.is_file():
        return "is no regular file"
    existed = os.path.lexists(path)
    try:
        with whole_file(path) as probe:
            probe.write_bytes(b"probe")
            if existed:
                raise _EnoughError
        path.unlink()
    except _EnoughError:
        return ""
    except OSError as error:
        return unwritable(error)
    return ""


class _EnoughError(Exception):
    """Leaves the file that is there as it is."""


def unwritable(error: BaseException) -> str:
    """Why something cannot be written, in a few words."""
    reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return f"cannot be written: {reason}"
