"""What all commands share: where they print, how errors are told and with which exit code, clusters and progress."""

from __future__ import annotations

import math
import signal
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from drofcm.core.errors import DrofcmError, Finding, InfeasibleError, InputError

__all__ = [
    "NOT_CERTIFIED",
    "STOPPED",
    "Shown",
    "StudyPath",
    "cluster",
    "err",
    "out",
    "stop_at_sigterm",
    "told",
    "warn",
]

out = Console(soft_wrap=True, highlight=False)
err = Console(stderr=True, soft_wrap=True, highlight=False)

StudyPath = Annotated[Path, typer.Argument(help="Study file, study.yaml", show_default=False)]

WRONG_INPUT, INFEASIBLE, STOPPED, NOTHING_FOUND, NOT_CERTIFIED = 1, 2, 3, 4, 5
ANSWER_SECONDS = 10
"""How long a scheduler is given to answer, at the start and when its connection is lost."""


def stop_at_sigterm() -> None:
    """Schedulers end a job with SIGTERM: it stops the search as Ctrl-C does, and the plan so far is written."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)


_QUIET = 20.0
"""Seconds after which a log that is no terminal hears of the bounds again."""


class Shown:
    """Shows the phase and the bounds of a run."""

    def __init__(self, status: Any) -> None:
        self._status = status
        self._phase = ""
        self._best = math.inf
        self._told = 0.0

    def phase(self, name: str) -> None:
        """A phase begins."""
        self._phase = name
        self._status.update(name)
        if not out.is_terminal:
            out.print(name)

    def bounds(self, seconds: float, lower: float, upper: float) -> None:
        """Bounds of the cost, $/a, after so many seconds."""
        gap = (upper - lower) / abs(upper) if math.isfinite(upper) and math.isfinite(lower) else math.inf
        line = f"{self._phase}: {seconds:.0f} s, {lower / 1e3:,.1f} to {upper / 1e3:,.1f} k$/a, gap {gap:.2%}"
        self._status.update(line)
        if not out.is_terminal and (upper < self._best or seconds > self._told + _QUIET):
            out.print(line)
            self._told = seconds
        self._best = min(upper, self._best)


@contextmanager
def cluster(scheduler: str | None) -> Iterator[Any]:
    """A client of a running scheduler, or None."""
    if scheduler is None:
        yield None
        return
    from distributed import Client

    try:
        client = Client(scheduler, timeout=ANSWER_SECONDS)
    except (OSError, ValueError) as error:
        raise InputError([Finding("--scheduler", f"no scheduler answers at {scheduler!r}: {error}")]) from None
    with client:
        yield client


@contextmanager
def told() -> Iterator[None]:
    """Every error that is meant for people as a message and an exit code, never as a traceback."""
    try:
        yield
    except InputError as error:
        for finding in error.findings:
            err.print(str(finding), markup=False)
        raise typer.Exit(WRONG_INPUT) from None
    except InfeasibleError as error:
        err.print(str(error), markup=False)
        raise typer.Exit(INFEASIBLE) from None
    except DrofcmError as error:
        err.print(str(error), markup=False)
        raise typer.Exit(NOTHING_FOUND) from None
    except KeyboardInterrupt:
        err.print("interrupted before there was a plan; nothing was written")
        raise typer.Exit(NOTHING_FOUND) from None


def warn(findings: Iterable[Finding]) -> None:
    """Findings that do not stop the command, on stderr."""
    for finding in findings:
        err.print(f"warning: {finding}", markup=False, style="yellow")
