"""The process that a command runs in: from its first moment to its exit code."""

from __future__ import annotations

import signal
from typing import Any, Final

import typer
from typer.core import TyperGroup

from drofcm.commands.console import told
from drofcm.core.interrupts import STOPPING, heed

__all__ = ["App", "Commands"]

USAGE: Final = 64
"""Exit code of a command line that cannot be understood, EX_USAGE of sysexits.h; 2 means that no plan exists."""

_UsageError: Final[type[Any]] = typer.BadParameter.__mro__[1]
"""Of click, wherever this typer keeps it."""


class Commands(TyperGroup):
    """The commands; whatever ends one of them is told, and has an exit code."""

    def make_context(self, *args: Any, **options: Any) -> Any:
        """Read the command line."""
        with told():
            try:
                return super().make_context(*args, **options)
            except _UsageError as error:
                error.exit_code = USAGE
                raise

    def invoke(self, ctx: Any) -> Any:
        """Read what follows the name of the command, and run it."""
        with told():
            try:
                return super().invoke(ctx)
            except _UsageError as error:
                error.exit_code = USAGE
                raise


class App(typer.Typer):
    """What the process is started with."""

    def __call__(self, *args: Any, **options: Any) -> Any:
        """Run one command and end the process."""
        heed()
        try:
            return super().__call__(*args, **options)
        finally:
            # all is done and the exit code is known: a signal that comes while the interpreter ends changes nothing
            for number in STOPPING:
                signal.signal(number, signal.SIG_IGN)
