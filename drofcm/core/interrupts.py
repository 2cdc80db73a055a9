"""When Ctrl-C and the signals of batch systems are heeded: a search may be stopped, what writes its plan may not."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, Final

__all__ = ["STOPPING", "heed", "heeded", "held", "postponed"]

STOPPING: Final = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))
"""Ctrl-C, what batch systems send before they kill, and what a terminal sends that is closed."""

Handler = Callable[[int, FrameType | None], Any]


class _Watch:
    """Stands in for the handlers of the process while something is held."""

    def __init__(self, handlers: dict[int, Handler]) -> None:
        self.handlers = handlers
        self.heeding = False
        self.waiting: int | None = None

    def __call__(self, number: int, frame: FrameType | None) -> None:
        if self.heeding or self.waiting is not None:
            self.waiting = None
            self.handlers[number](number, frame)
        else:
            self.waiting = number


_watches: Final[list[_Watch]] = []
"""The one watch of the process, while there is one."""


def heed() -> None:
    """Make every signal that asks a process to stop raise `KeyboardInterrupt`, as Ctrl-C does; for command lines.

    A signal that whoever started the process has told it to ignore (``nohup``) stays ignored.
    """
    for number in STOPPING:
        if signal.getsignal(number) == signal.SIG_DFL:
            signal.signal(number, signal.default_int_handler)


@contextmanager
def held() -> Iterator[None]:
    """Within the block the first signal to stop waits for a `heeded` block, or is forgotten when this one ends.

    Whoever sends a second one means it: that is heeded at once. Nothing is held outside the main thread, where signals
    do not arrive, and for signals that end the process without Python being asked.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    if _watches:
        with _heeding(False):
            yield
        return
    current = {number: signal.getsignal(number) for number in STOPPING}
    watch = _Watch({number: handler for number, handler in current.items() if callable(handler)})
    _watches.append(watch)
    try:
        for number in watch.handlers:
            signal.signal(number, watch)
        yield
    finally:
        for number, handler in watch.handlers.items():
            signal.signal(number, handler)
        _watches.remove(watch)


@contextmanager
def heeded() -> Iterator[None]:
    """Within the block, inside of `held`, signals to stop raise at once; one that waited raises when it begins."""
    if not _watches or threading.current_thread() is not threading.main_thread():
        yield
        return
    with _heeding(True):
        _deliver()
        yield


@contextmanager
def postponed() -> Iterator[None]:
    """Signals to stop, if Python listens to them, arrive after the block, which must be over at once."""
    if threading.current_thread() is not threading.main_thread():
        # Python runs handlers of signals in the main thread alone
        yield
        return
    arrived: list[tuple[int, FrameType | None]] = []

    def note(number: int, frame: FrameType | None) -> None:
        arrived.append((number, frame))

    usual: dict[int, Handler] = {}
    for number in map(int, STOPPING):
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


@contextmanager
def _heeding(whether: bool) -> Iterator[None]:
    watch = _watches[0]
    before, watch.heeding = watch.heeding, whether
    try:
        yield
    finally:
        watch.heeding = before
    if before:
        _deliver()


def _deliver() -> None:
    watch = _watches[0]
    if watch.waiting is not None:
        watch(watch.waiting, None)
