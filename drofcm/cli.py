"""The command line: parse, call one function, print.

Exit codes: 0 done; 1 the input is wrong; 2 no plan exists; 3 stopped at a limit, by Ctrl-C or SIGTERM, with a plan
and valid bounds; 4 stopped without a plan, nothing was written; 5 the plan failed its certificate; 6 there is a plan,
but it cannot be written where it was to stand: it is printed and kept elsewhere; 64 the command line cannot be
understood; 70 something unexpected, the traceback was kept; 130 and 143 ended by Ctrl-C or SIGTERM before the command
had begun.
"""

from __future__ import annotations

import json
from importlib.metadata import version
from typing import Annotated

import typer

from drofcm.commands.console import out
from drofcm.commands.events import scenarios, stability
from drofcm.commands.process import App, Commands
from drofcm.commands.robustness import radius, robustness
from drofcm.commands.smps import smps
from drofcm.commands.study import criticality, evaluate, new, report, run, validate

__all__ = ["app"]

app = App(
    cls=Commands,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
for command in (new, validate, run, smps, evaluate, radius, robustness, scenarios, stability, report, criticality):
    app.command()(command)


def _version(asked: bool) -> None:
    if asked:
        out.print(f"drofcm {version('drofcm')}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and end.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    """Siting and dispatching flexible capacity on grids with AI data centres."""


@app.command()
def schema() -> None:
    """Print the JSON schema of study files."""
    from drofcm.config import json_schema

    out.print(json.dumps(json_schema(), indent=2))
