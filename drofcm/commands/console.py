"""What all commands share: where they print, how errors are told and with which exit code, and progress."""

from __future__ import annotations

import errno
import math
import os
import tempfile
import traceback
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Self

import typer
from rich.console import Group
from rich.live import Live
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from drofcm.commands.terminal import Terminal, visible
from drofcm.core.errors import DrofcmError, Finding, InfeasibleError, InputError, NotWrittenError
from drofcm.core.interrupts import held

if TYPE_CHECKING:
    from drofcm.solve.progress import Standing

__all__ = [
    "DONE",
    "NOTHING_FOUND",
    "NOT_CERTIFIED",
    "STOPPED",
    "Shown",
    "StudyPath",
    "err",
    "out",
    "say",
    "told",
    "warn",
    "working",
]

out = Terminal("stdout")
err = Terminal("stderr")

StudyPath = Annotated[Path, typer.Argument(help="Study file, study.yaml", show_default=False)]

DONE, WRONG_INPUT, INFEASIBLE, STOPPED, NOTHING_FOUND, NOT_CERTIFIED, NOT_WRITTEN = range(7)
UNEXPECTED: Final = 70
"""EX_SOFTWARE of sysexits.h: a fault of drofcm, or of what it stands on."""

_ClickException: Final[type[Any]] = typer.BadParameter.__mro__[2]
"""Of click, wherever this typer keeps it."""

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
        self._spinner = Spinner("dots", Text(visible(phase)))
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
        self._spinner.update(text=Text(visible(name)))
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
            out.print(f"{self._phase}: {standing.seconds:.0f} s, {self._reach(lower, upper, gap)}{_effort(standing)}")
            self._told = standing.seconds
        self._best = min(upper, self._best)

    def _reach(self, lower: float, upper: float, gap: float) -> str:
        if not math.isfinite(upper):
            return (
                f"no plan yet, none costs less than {_amount(lower)} {self._unit}"
                if lower > -math.inf
                else "no plan yet"
            )
        if not math.isfinite(lower):
            return f"a plan of {_amount(upper)} {self._unit}, no bound yet"
        return f"{_amount(lower)} to {_amount(upper)} {self._unit}, gap {gap:.2%}"

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
def working(text: str) -> Iterator[Callable[[str], None]]:
    """A spinner with what is being done, on a terminal; what it hands over changes the text."""
    with out.status(Text(visible(text))) as status:
        yield lambda what: status.update(Text(visible(what)))


@contextmanager
def told() -> Iterator[None]:
    """Every error as a message and an exit code, never as a traceback."""
    try:
        yield
    except InputError as error:
        for finding in error.findings:
            err.print(_line(finding))
        raise typer.Exit(WRONG_INPUT) from None
    except InfeasibleError as error:
        err.print(str(error))
        raise typer.Exit(INFEASIBLE) from None
    except NotWrittenError as error:
        _keep_what_was_found(error)
        raise typer.Exit(NOT_WRITTEN) from None
    except DrofcmError as error:
        err.print(str(error))
        raise typer.Exit(NOTHING_FOUND) from None
    except KeyboardInterrupt:
        err.print("interrupted before there was a plan; nothing was written")
        raise typer.Exit(NOTHING_FOUND) from None
    except (typer.Exit, typer.Abort, _ClickException):
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.errno == errno.EPIPE:
            raise  # --help into a pipe that is closed
        _keep_traceback(error)
        raise typer.Exit(UNEXPECTED) from None


def _keep_what_was_found(error: NotWrittenError) -> None:
    """Write it to where there is still room for it, and print it."""
    with held():
        path = _kept(error.what, ".csv", error.table, (Path.cwd, lambda: Path(tempfile.gettempdir())))
        err.print(_line(error))
        out.print("\n".join(filter(None, (error.summary, error.table.rstrip()))))
        where = "could be kept nowhere" if path is None else f"is kept in {path}"
        err.print(_line(f"the {error.what} is printed, and {where}"))


def _keep_traceback(error: Exception) -> None:
    text = "".join(traceback.format_exception(error))
    path = _kept("drofcm-traceback", ".txt", text, (lambda: Path(tempfile.gettempdir()), Path.cwd))
    what = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    where = f"the traceback is in {path}" if path is not None else "the traceback could be kept nowhere"
    err.print(_line(f"unexpected: {what} ({where}; please report it)"))


def _kept(stem: str, suffix: str, text: str, folders: Iterable[Callable[[], Path]]) -> Path | None:
    """A new file with the text in the first of the folders that takes it; None if none does."""
    for folder in folders:
        with suppress(OSError):
            return _new_file(folder(), stem, suffix, text)
    return None


def _new_file(folder: Path, stem: str, suffix: str, text: str) -> Path:
    for number in count(1):
        path = folder / (f"{stem}{suffix}" if number == 1 else f"{stem}-{number}{suffix}")
        try:
            with path.open("x", encoding="utf-8", errors="backslashreplace") as file:
                try:
                    file.write(text)
                    file.flush()
                    os.fsync(file.fileno())
                except OSError:
                    path.unlink()
                    raise
        except FileExistsError:
            continue
        return path
    raise AssertionError("unreachable")


def _line(what: object) -> str:
    """One line, whatever labels and names hold: no line may look like one that drofcm wrote."""
    return str(what).replace("\n", "\\n")


def say(text: str) -> None:
    """One line on stdout, whatever names it holds."""
    out.print(_line(text))


def warn(findings: Iterable[Finding]) -> None:
    """Findings that do not stop the command, on stderr."""
    for finding in findings:
        err.print(f"warning: {_line(finding)}", style="yellow")
