"""What all commands share: where they print, how errors are told and with which exit code, and progress."""

from __future__ import annotations

import math
import signal
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Self

import typer
from rich.console import Console, Group
from rich.live import Live
from rich.spinner import Spinner
from rich.table import Table

from drofcm.core.errors import DrofcmError, Finding, InfeasibleError, InputError

if TYPE_CHECKING:
    from drofcm.solve.progress import Standing

__all__ = [
    "NOT_CERTIFIED",
    "STOPPED",
    "Shown",
    "StudyPath",
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


def stop_at_sigterm() -> None:
    """Schedulers end a job with SIGTERM: it stops the search as Ctrl-C does, and the plan so far is written."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)


_QUIET = 20.0
"""Seconds after which a log that is no terminal hears of the bounds again."""

_ROWS = 12
"""Lines of the live table."""


class Shown:
    """Shows how a run gets on: a live table on a terminal, lines where it is none.

    Parameters
    ----------
    phase
        What is done first.
    scale, unit
        Of the bounds.
    """

    def __init__(self, phase: str, *, scale: float = 1e-3, unit: str = "k$/a") -> None:
        self._scale, self._unit = scale, unit
        self._spinner = Spinner("dots", phase)
        self._live = Live(self._spinner, console=out, transient=True)
        self._rows: deque[tuple[str, ...]] = deque(maxlen=_ROWS)
        self._phase = phase
        self._best, self._told = math.inf, 0.0

    def __enter__(self) -> Self:
        if out.is_terminal:
            self._live.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._live.stop()

    def phase(self, name: str) -> None:
        """A phase begins."""
        self._phase, self._best, self._told = name, math.inf, 0.0
        self._rows.clear()
        self._spinner.update(text=name)
        self._live.update(self._spinner)
        if not out.is_terminal:
            out.print(name)

    def bounds(self, standing: Standing) -> None:
        """How the search stands."""
        lower, upper = standing.lower * self._scale, standing.upper * self._scale
        gap = (upper - lower) / abs(upper) if math.isfinite(upper) and math.isfinite(lower) else math.inf
        self._rows.append(
            (
                f"{standing.seconds:.0f}",
                standing.phase or "one program",
                _amount(lower),
                _amount(upper),
                f"{gap:.2%}" if math.isfinite(gap) else "–",
                f"{standing.cuts:,}",
                str(standing.kept),
                f"{standing.master_seconds:.0f}",
                f"{standing.scenario_seconds:.0f}",
            )
        )
        self._live.update(Group(self._spinner, self._table()))
        if not out.is_terminal and (upper < self._best or standing.seconds > self._told + _QUIET):
            out.print(
                f"{self._phase}: {standing.seconds:.0f} s, {_amount(lower)} to {_amount(upper)} {self._unit}, "
                f"gap {gap:.2%}{_effort(standing)}"
            )
            self._told = standing.seconds
        self._best = min(upper, self._best)

    def _table(self) -> Table:
        heads = ("s", "search", f"least {self._unit}".strip(), "most", "gap", "cuts", "whole", "masters", "scenarios")
        table = Table(box=None)
        for head in heads:
            table.add_column(head, justify="left" if head == "search" else "right", no_wrap=True)
        for row in self._rows:
            table.add_row(*row)
        return table


def _amount(value: float) -> str:
    return f"{value:,.1f}" if abs(value) >= 100 else f"{value:,.6g}"


def _effort(standing: Standing) -> str:
    if not standing.phase:
        return ""
    return (
        f", {standing.cuts:,} cuts, {standing.kept} scenarios whole, {standing.master_seconds:.0f} s in masters, "
        f"{standing.scenario_seconds:.0f} s in scenarios"
    )


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
