"""What a search has learnt, on disk after every iteration, so that a client that dies loses one iteration.

A checkpoint belongs to one problem: the hash of all matrices, of the risk measure and of the ambiguity set. Cuts are
valid whatever the gap or the time limit is, so these may differ when the search is taken up again.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import math
import os
import re
import secrets
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
import xarray as xr

from drofcm.blocks.form import TwoStageBlocks
from drofcm.core.errors import Finding, InputError, SolveError
from drofcm.risk.ambiguity import AmbiguitySet
from drofcm.risk.measures import RiskMeasure
from drofcm.solve.learnt import FACTS, NAMES, Learnt, packed, unpacked

__all__ = ["Learnt", "expect", "held", "problem_hash", "read", "refuse", "write"]

_SEAL = "seal"
"""The array with the hash of all others: what a slip of the disk or of a hand has changed is not taken for learnt."""


def problem_hash(blocks: TwoStageBlocks, risk: RiskMeasure, ambiguity: AmbiguitySet) -> str:
    """A hash of all that determines the answer."""
    hashed = _Hashed()
    for part in (risk, ambiguity, blocks.first_stage, blocks.scenarios, blocks.probability.values):
        hashed.take(part)
    return hashed.digest.hexdigest()


class _Hashed:
    """Content of nested dataclasses, to the last bit: what they print may be rounded."""

    def __init__(self) -> None:
        self.digest = hashlib.sha256()
        # scenarios share what they have in common; that is read once, and held so that no other takes its identity
        self._known: dict[int, tuple[Any, bytes]] = {}

    def take(self, value: Any) -> None:
        if isinstance(value, sp.csr_array):
            self.take((value.shape, value.indptr, value.indices, value.data))
        elif isinstance(value, xr.DataArray):
            self.take((value.dims, value.values))
        elif is_dataclass(value):
            self.digest.update(type(value).__name__.encode())
            self.take(tuple(getattr(value, field.name) for field in fields(value)))
        elif value is None:
            self.digest.update(b"None")
        elif isinstance(value, Mapping):
            self.take(tuple(item for pair in value.items() for item in pair))
        elif isinstance(value, tuple | list):
            self.digest.update(f"({len(value)}".encode())
            for own in value:
                self.take(own)
        else:
            if id(value) not in self._known:
                self._known[id(value)] = (value, self._of_array(np.ascontiguousarray(value)))
            self.digest.update(self._known[id(value)][1])

    def _of_array(self, array: npt.NDArray[Any]) -> bytes:
        if array.dtype.kind == "O":
            raise TypeError(f"cannot hash {array!r}")
        if array.dtype.kind == "i":
            # scipy chooses the width of indices by their size; it is no part of the problem
            array = array.astype(np.int64)
        return hashlib.sha256(f"{array.dtype.str}{array.shape}".encode() + array.tobytes()).digest()


def expect(path: Path | None, resume: bool) -> None:
    """Refuse a wish that the files do not fit: an old checkpoint without ``resume``, or ``resume`` without one.

    Parameters
    ----------
    path
        File of the checkpoint; None for none.
    resume
        Whether to go on from it.

    Raises
    ------
    InputError
        Naming the file.
    """
    if path is None:
        if resume:
            raise InputError([Finding("--resume", "needs the checkpoint to go on from", "add --checkpoint FILE")])
        return
    if resume and not path.exists():
        raise InputError([Finding(str(path), "there is no such checkpoint", "leave --resume out to begin one")])
    if path.exists() and not resume:
        raise InputError(
            [Finding(str(path), "a checkpoint is there already", "add --resume to go on from it, or delete it")]
        )
    if not path.parent.is_dir():
        raise InputError([Finding(str(path), f"there is no folder {path.parent} for it", "make it first")])
    with held(path):
        pass


@contextmanager
def held(path: Path | None) -> Iterator[None]:
    """Keep a checkpoint for one search, and take away what a search that was killed has left beside it.

    Raises
    ------
    InputError
        If another search has it, or nothing can be written there.
    """
    if path is None:
        yield
        return
    lock = path.with_name(path.name + ".lock")
    with closing(_Lock(path, lock)) as own:
        if own.locked:
            for name in os.listdir(path.parent):
                if name.startswith(path.name) and _PART.fullmatch(name[len(path.name) :]):
                    path.with_name(name).unlink(missing_ok=True)
        yield


_PART = re.compile(r"\.[0-9a-f]{8}\.part")


class _Lock:
    """A lock that ends with its process, however that ends."""

    def __init__(self, path: Path, lock: Path) -> None:
        self._lock = lock
        self.locked = False
        while not self.locked:
            try:
                self._file = lock.open("ab")
            except OSError as error:
                what = f"nothing can be written beside it: {error}"
                raise InputError([Finding(str(path), what, "give a place that can be written to")]) from error
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                self._file.close()
                raise InputError(
                    [
                        Finding(
                            str(path), "another search is writing this checkpoint", "wait for it, or give another name"
                        )
                    ]
                ) from None
            except OSError:
                # a file system that knows no locks: every writer has a name of its own for what is not complete yet
                return
            # whoever had it before may have taken the file away between opening and locking
            self.locked = lock.exists() and os.path.samestat(os.fstat(self._file.fileno()), lock.stat())
            if not self.locked:
                self._file.close()

    def close(self) -> None:
        """Give it back."""
        with suppress(OSError):
            self._lock.unlink(missing_ok=True)
        self._file.close()


def write(path: Path, key: str, learnt: Learnt) -> None:
    """Write a checkpoint; the file appears complete or not at all.

    Raises
    ------
    SolveError
        If the file cannot be written; an earlier one is left as it was.
    """
    temporary = path.with_name(f"{path.name}.{secrets.token_hex(4)}.part")
    arrays = packed(learnt, key)
    try:
        with temporary.open("xb") as file:
            np.savez(file, allow_pickle=False, **arrays, **{_SEAL: np.array(_seal(arrays))})
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        raise SolveError(f"the checkpoint {path} cannot be written: {error}") from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def read(path: Path, key: str, count: int, n: int) -> Learnt | None:
    """Read a checkpoint; None if there is none.

    Parameters
    ----------
    path
        The file.
    key
        Hash of the problem.
    count, n
        Its scenarios, and the columns of its first stage.

    Raises
    ------
    InputError
        If the file is no checkpoint, one of another problem, or one that was changed.
    """
    if not path.exists():
        return None
    try:
        arrays = _stored(path)
        facts = json.loads(str(arrays[FACTS]))
        same = facts["key"] == key
        learnt = unpacked(arrays, facts, count, n) if same else None
    except Exception as error:  # a file may hold anything, and what it makes zipfile, numpy and json raise is no list
        told = " ".join(str(error).split()) or type(error).__name__
        raise InputError([Finding(str(path), f"cannot be read as a checkpoint: {told}", "delete it")]) from error
    if not same:
        raise InputError(
            [
                Finding(
                    str(path),
                    "is the checkpoint of another problem: data, risk measure or ambiguity set differ",
                    "give another name, or delete it",
                )
            ]
        )
    return learnt


def refuse(path: Path, why: object) -> InputError:
    """The error that says that what a checkpoint holds does not fit the problem that it is one of."""
    return InputError([Finding(str(path), f"does not fit its problem: {why}", "delete it")])


def _stored(path: Path) -> dict[str, npt.NDArray[Any]]:
    """The arrays of a file. What they say about their size is compared with what there is before they are read."""
    if not path.is_file():
        raise ValueError("it is no file")
    # opened once: whoever writes another meanwhile puts it in the place of this one
    with path.open("rb") as whole:
        if not zipfile.is_zipfile(whole):
            raise ValueError("it is cut short, or was never one")
        return _checked(whole)


def _checked(whole: BinaryIO) -> dict[str, npt.NDArray[Any]]:
    size = os.fstat(whole.fileno()).st_size
    with zipfile.ZipFile(whole) as archive:
        members = archive.infolist()
        if sorted(own.filename for own in members) != sorted(f"{name}.npy" for name in (*NAMES, _SEAL)):
            raise ValueError("its parts are not those of a checkpoint of this version")
        if sum(own.file_size for own in members) > size or any(own.compress_type for own in members):
            raise ValueError("its parts are larger than the file")
        broken = archive.testzip()
        if broken is not None:
            raise ValueError(f"{broken} is damaged")
        for own in members:
            with archive.open(own) as file:
                major, _ = np.lib.format.read_magic(file)
                header = np.lib.format.read_array_header_1_0 if major == 1 else np.lib.format.read_array_header_2_0
                shape, _, dtype = header(file)
                if math.prod(shape) * dtype.itemsize != own.file_size - file.tell():
                    raise ValueError(f"{own.filename} is not as large as it says")
        arrays = {}
        for own in members:
            with archive.open(own) as file:
                arrays[own.filename.removesuffix(".npy")] = np.lib.format.read_array(file, allow_pickle=False)
    if str(arrays.pop(_SEAL)) != _seal(arrays):
        raise ValueError("it is not as it was written")
    return arrays


def _seal(arrays: Mapping[str, npt.NDArray[Any]]) -> str:
    """A hash of arrays, to the last bit."""
    digest = hashlib.sha256()
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        digest.update(f"{name}{array.dtype.str}{arrays[name].shape}".encode() + array.tobytes())
    return digest.hexdigest()
