"""The errors of drofcm and the form of their messages.

Every message has three parts: where the fault is (file:line, or an array with its labels), what clashed and why
that is refused, and how to fix it. Input is checked completely before anything is raised, so that a user sees
all findings at once.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any, Final, Literal

__all__ = [
    "DrofcmError",
    "DrofcmWarning",
    "Finding",
    "InfeasibleError",
    "InputError",
    "LimitError",
    "LostError",
    "ModelError",
    "NotWrittenError",
    "OverdueError",
    "SolveError",
    "errors_of",
    "labels_of",
    "printable",
    "quoted",
    "raise_if_any",
    "shorten",
    "suggest",
    "text_of",
]


_MOST_LETTERS = 1000
"""Of each part of a finding."""


class DrofcmError(Exception):
    """Base of every error that drofcm raises on purpose."""


class DrofcmWarning(UserWarning):
    """Something worth knowing that stops nothing, while a search goes on; the command line prints it as a warning."""


@dataclass(frozen=True)
class Finding:
    """One fault, or one thing worth knowing, in the user's input.

    Attributes
    ----------
    where
        ``file:line:column: key`` for files, the name of the array with its labels otherwise.
    what
        What clashed, and why that is refused.
    fix
        What the user can do about it.
    severity
        An ``"error"`` stops the study, a ``"warning"`` is shown and the study goes on.
    """

    where: str
    what: str
    fix: str = ""
    severity: Literal["error", "warning"] = "error"

    def __post_init__(self) -> None:
        # what stands in a file is shown, never obeyed: no escape sequence, and no line that only looks like a finding
        for part in ("where", "what", "fix"):
            text = printable(getattr(self, part))
            # a name of thousands of letters is a fault of its own, and is told without repeating it
            half = _MOST_LETTERS // 2
            cut = text if len(text) <= _MOST_LETTERS else f"{text[:half]}...{text[-half:]}"
            object.__setattr__(self, part, cut)

    def __str__(self) -> str:
        return f"{self.where}: {self.what}" + (f" ({self.fix})" if self.fix else "")


class InputError(DrofcmError, ValueError):
    """The input breaks one or more rules; ``findings`` holds all of them."""

    def __init__(self, findings: Iterable[Finding]) -> None:
        self.findings = tuple(findings)
        count = len(self.findings)
        head = f"{count} problem{'s' if count != 1 else ''} in the input:"
        super().__init__("\n".join([head, *(f"  {finding}" for finding in self.findings)]))

    def __reduce__(self) -> tuple[Any, ...]:
        # an error that a worker raises is made again where it is shown
        return type(self), (self.findings,)


class ModelError(DrofcmError, ValueError):
    """A declaration breaks a rule of the two-stage DSL; the message names the variable or row."""


class SolveError(DrofcmError, RuntimeError):
    """The solver stopped without a plan that may be reported."""


class LimitError(SolveError):
    """A limit was hit before any plan was found; ``lower_bound`` is what no plan costs less than."""

    def __init__(self, status: str, seconds: float, lower_bound: float) -> None:
        self.status, self.seconds, self.lower_bound = status, seconds, lower_bound
        bound = f"no plan costs less than {lower_bound:,.6g}" if lower_bound > -math.inf else "there is no bound yet"
        super().__init__(
            f"stopped ({status}) after {seconds:.0f} s before any plan was found; {bound}. Give it more time"
        )

    def __reduce__(self) -> tuple[Any, ...]:
        # an error that a worker raises is made again where it is shown
        return type(self), (self.status, self.seconds, self.lower_bound)


class LostError(SolveError):
    """Those who did the work are gone for good: worker processes, or the cluster; a plan found before is not lost."""


class OverdueError(SolveError):
    """The time is up and those who do the work have not answered; a search ends with what it has found."""


class InfeasibleError(SolveError):
    """No plan satisfies every row; ``listing`` holds the rows that contradict each other."""

    def __init__(self, message: str, listing: str = "") -> None:
        self.listing = listing
        super().__init__(message + (f"\n{listing}" if listing else ""))


class NotWrittenError(DrofcmError):
    """A search is over, but its result could not be written where it was to stand.

    Parameters
    ----------
    where
        What was to be written.
    why
        What stood against it.
    table
        What was found, CSV: of a plan what is not zero in the first stage.
    summary
        Status, cost and bounds of the plan, in a line.
    what
        Of what it is a table, in one word.
    """

    def __init__(self, where: str, why: str, table: str, summary: str = "", what: str = "plan") -> None:
        self.where, self.why, self.table, self.summary, self.what = where, why, table, summary, what
        super().__init__(f"{where}: {why}")

    def __reduce__(self) -> tuple[type[NotWrittenError], tuple[str, ...]]:
        return type(self), (self.where, self.why, self.table, self.summary, self.what)


def printable(text: str) -> str:
    r"""The text with control characters, line breaks and lone surrogates written as ``\x1b``, ``\n``, ``\ud800``."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def quoted(value: object, most: int = 60) -> str:
    """``repr`` of a value that the user gave, cut in the middle where it is long."""
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) >= 10**most:
        return f"a number of more than {most} digits"  # Python refuses to write thousands of digits
    return _cut(repr(value), most)


def _cut(text: str, most: int) -> str:
    half = most // 2
    return text if len(text) <= most else f"{text[:half]}...{text[-half:]}"


def errors_of(findings: Iterable[Finding]) -> list[Finding]:
    """Those findings that stop the study."""
    return [finding for finding in findings if finding.severity == "error"]


def raise_if_any(findings: Iterable[Finding]) -> None:
    """Raise one ``InputError`` with every finding of severity ``"error"``; return if there is none."""
    errors = errors_of(findings)
    if errors:
        raise InputError(errors)


def suggest(word: str, known: Iterable[str]) -> str:
    """``"did you mean 'x'?"`` for the nearest known word, otherwise the list of known words."""
    candidates = sorted(str(name) for name in known)
    # no name is that long, and the search takes time that grows with it
    near = difflib.get_close_matches(word[:200], candidates, n=1, cutoff=0.6)
    return f"did you mean {near[0]!r}?" if near else f"known: {shorten(candidates)}"


_MOST_CHARACTERS: Final = 200
"""Of one name in a message; a longer one is cut in the middle."""


def shorten(labels: Collection[Any], most: int = 6) -> str:
    """The first names of a sequence and how many were left out, for messages; see `labels_of` for labels of data."""
    return _first([_cut(str(label), _MOST_CHARACTERS) for label in list(labels)[:most]], len(labels))


def labels_of(labels: Collection[Any], most: int = 6) -> str:
    """The first labels of a dimension and how many were left out; text in quotes, so that '1' is not 1."""
    return _first([text_of(label) for label in list(labels)[:most]], len(labels))


def text_of(label: Any) -> str:
    """A label as messages show it: text in quotes, anything else as it prints."""
    return _cut(repr(str(label)) if isinstance(label, str) else str(label), _MOST_CHARACTERS)


def _first(shown: list[str], count: int) -> str:
    left = count - len(shown)
    return ", ".join(shown) + (f" and {left} more" if left > 0 else "")
