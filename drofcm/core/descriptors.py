"""Standard output and standard error of the process, below Python: what libraries in C write there."""

from __future__ import annotations

import ctypes
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from types import FrameType
from typing import Any

__all__ = ["interrupts_deferred", "silenced"]

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
        with interrupts_deferred():
            stack.enter_context(_Redirected())
        yield


@contextmanager
def interrupts_deferred() -> Iterator[None]:
    """Ctrl-C and SIGTERM, if Python listens to them, arrive after the block; it must be over at once."""
    if threading.current_thread() is not threading.main_thread():
        # Python runs handlers of signals in the main thread alone
        yield
        return
    arrived: list[tuple[int, FrameType | None]] = []

    def note(number: int, frame: FrameType | None) -> None:
        arrived.append((number, frame))

    usual: dict[int, Callable[[int, FrameType | None], Any]] = {}
    for number in map(int, (signal.SIGINT, signal.SIGTERM)):
        handler = signal.getsignal(number)
        if callable(handler):
            usual[number] = handler
    try:
        for number in usual:
            signal.signal(number, note)
        yield
    finally:
        for number, handler in usual.items():
            signal.signal(number, handler)
        for number, frame in arrived:
            usual[number](number, frame)


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
        with interrupts_deferred(), _LOCK:
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
