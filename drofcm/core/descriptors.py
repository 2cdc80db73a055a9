"""Standard output and standard error of the process, below Python: what libraries in C write there."""

from __future__ import annotations

import ctypes
import os
import platform
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import cache

from drofcm.core.interrupts import postponed

__all__ = ["silenced", "unprinted"]

_OUTPUT = (1, 2)
_LOCK = threading.RLock()
_depth = 0


@contextmanager
def silenced() -> Iterator[None]:
    """Nothing that a library in C writes to the process's output is seen.

    The descriptors belong to the whole process: what other threads write meanwhile is lost with it, so this belongs
    around what is over soon. Threads that come here together are let in together; the last one out gives the
    descriptors back.
    """
    with ExitStack() as stack:
        # what gives the descriptors back must be in place before an interrupt can come between
        with postponed():
            stack.enter_context(_Redirected())
        yield


@contextmanager
def unprinted() -> Iterator[None]:
    """What a library in C prints (printf, puts) is not seen; descriptors stay as they are, and so does all of Python's.

    For what takes long: nobody else's output is lost. Only where the C library lets its standard output be replaced
    (glibc, macOS); elsewhere what is printed is seen.
    """
    with ExitStack() as stack:
        # without a stream that leads nowhere C would write to none at all
        if _stdout() is not None and _nowhere() is not None:
            with postponed():
                stack.enter_context(_Nowhere())
        yield


class _Nowhere:
    """The stream that C prints to leads nowhere; one replacement for all who ask for it at once."""

    _depth = 0
    _usual: int | None = None

    def __enter__(self) -> None:
        stream = _stdout()
        assert stream is not None  # who comes here has asked
        with _LOCK:
            if _Nowhere._depth == 0:
                _Nowhere._usual, stream.value = stream.value, _nowhere()
            _Nowhere._depth += 1

    def __exit__(self, *error: object) -> None:
        stream = _stdout()
        assert stream is not None
        with postponed(), _LOCK:
            _Nowhere._depth -= 1
            if _Nowhere._depth == 0:
                stream.value = _Nowhere._usual


@cache
def _stdout() -> ctypes.c_void_p | None:
    """The variable that holds C's standard output; None where it is none, or must not be written to."""
    if sys.platform == "darwin":
        return ctypes.c_void_p.in_dll(ctypes.CDLL(None), "__stdoutp")
    if platform.libc_ver()[0] == "glibc":
        return ctypes.c_void_p.in_dll(ctypes.CDLL(None), "stdout")
    return None


@cache
def _nowhere() -> int | None:
    """A stream of C to where nothing is kept."""
    fopen = ctypes.CDLL(None).fopen
    fopen.restype, fopen.argtypes = ctypes.c_void_p, [ctypes.c_char_p, ctypes.c_char_p]
    stream: int | None = fopen(os.devnull.encode(), b"w")
    return stream


class _Redirected:
    """Descriptors 1 and 2 lead nowhere; one redirection for all who ask for it at once."""

    _saved: tuple[tuple[int, int], ...] = ()

    def __enter__(self) -> None:
        global _depth
        with _LOCK:
            if _depth == 0:
                _flush()
                _Redirected._saved = tuple((number, os.dup(number)) for number in _open())
                nowhere = os.open(os.devnull, os.O_WRONLY)
                for number, _ in _Redirected._saved:
                    os.dup2(nowhere, number)
                os.close(nowhere)
            _depth += 1

    def __exit__(self, *error: object) -> None:
        global _depth
        with postponed(), _LOCK:
            _depth -= 1
            if _depth == 0:
                _flush()  # C keeps what it was given until then, and would write it after all
                for number, copy in _Redirected._saved:
                    os.dup2(copy, number)
                    os.close(copy)
                _Redirected._saved = ()


def _open() -> Iterator[int]:
    for number in _OUTPUT:
        with suppress(OSError):  # a process may have been started without
            os.fstat(number)
            yield number


def _flush() -> None:
    ctypes.CDLL(None).fflush(None)
