"""What is told besides when a stage function or a call fails: the line, and what was probably meant."""

from __future__ import annotations

import re
import traceback
from collections.abc import Mapping
from typing import Any, Final

import xarray as xr

from drofcm.core.dims import SCENARIO

__all__ = ["PROBABILITY", "hint", "place", "unexpected"]

PROBABILITY: Final = "probability"

_METHODS: Final[Mapping[str, str]] = {
    "add_variables": "declare a variable with m.variable(name, over='site'), m.nonnegative, m.integer or m.binary",
    "add_variable": "declare a variable with m.variable(name, over='site'), m.nonnegative, m.integer or m.binary",
    "continuous": "declare a variable with m.variable(name, over='site') or m.nonnegative",
    "add_constraints": "add a row with m.subject_to(name, x <= limit)",
    "add_constraint": "add a row with m.subject_to(name, x <= limit)",
    "add_objective": "return the cost from the stage function",
    "minimize": "return the cost from the stage function",
    "variables": "m['name'] is the variable of that name; m.model is the linopy model",
    "constraints": "m.model is the linopy model",
}
"""Words of linopy and its relatives, and how a stage says it."""

_OTHER_SOLVERS: Final = (
    "drofcm solves with HiGHS; program.extensive_form(risk).solve(solver_name=...) hands the whole program to another"
)

_KEYWORDS: Final[Mapping[str, str]] = {
    "coords": "dimensions go by name and labels come from the data: over='site hub'",
    "dims": "dimensions go by name and labels come from the data: over='site hub'",
    "mask": "where=... says where it exists",
    "lb": "bounds are lower= and upper=",
    "ub": "bounds are lower= and upper=",
    "integer": "use m.integer(name, over=...)",
    "binary": "use m.binary(name, over=...)",
    "sense": "costs are minimised: negate what is to be maximised",
    "solver_name": _OTHER_SOLVERS,
    "solver": _OTHER_SOLVERS,
    "mip_gap": "gap= is the relative gap at which the search may stop",
    "timeout": "time_limit= is in seconds",
    "n_jobs": "workers= is the number of local processes",
}
"""Keywords of other tools, and how drofcm says it."""


def place(error: Exception, function: Any) -> str:
    """Function and line of a stage function at which an error arose."""
    code = getattr(function, "__code__", None)
    if code is None:
        return str(getattr(function, "__name__", type(function).__name__))
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if frame.filename == code.co_filename:
            return f"{code.co_name}, line {frame.lineno}: {frame.line}"
    return str(code.co_name)


def hint(error: Exception, kind: str, data: xr.Dataset) -> str:
    """What is added to the message of an error in a stage function; empty if nothing comes to mind."""
    if isinstance(error, AttributeError):
        missing: Any = error.name
    else:
        missing = error.args[0] if error.args else None
    if not isinstance(missing, str):
        return ""
    if missing == PROBABILITY:
        return (
            " (a stage does not see how likely a scenario is: the risk measure applies the probabilities to the costs; "
            "Result.probability holds them)"
        )
    if kind == "first stage" and missing in data.variables and SCENARIO in data[missing].dims:
        return f" ({missing!r} is uncertain: the first stage sees nothing that has the dimension {SCENARIO!r})"
    if isinstance(error, AttributeError) and missing in _METHODS and type(error.obj).__name__ == "Stage":
        return f" ({_METHODS[missing]})"
    keyword = re.search(r"unexpected keyword argument '(\w+)'", str(error))
    return f" ({_KEYWORDS[keyword[1]]})" if keyword and keyword[1] in _KEYWORDS else ""


def unexpected(function: str, settings: Mapping[str, Any]) -> TypeError:
    """The error of a call with settings that it does not have."""
    name = next(iter(settings))
    told = f": {_KEYWORDS[name]}" if name in _KEYWORDS else ""
    return TypeError(f"{function}() got an unexpected keyword argument {name!r}{told}")
