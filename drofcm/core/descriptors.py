"""Standard output and standard error of the process, below Python: what libraries in C write there."""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress

from drofcm.core.interrupts import postponed

__all__ = ["silenced"]

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
