"""What is shown on a terminal: text as it is, on whatever stands at the other end.

Labels, names and paths come from data. None of them may steer the terminal (escape sequences), look like a line of
drofcm's own, or be read as markup; and no reader that went away, full disk or narrow encoding may end a command.
"""

from __future__ import annotations

import os
import sys
import unicodedata
from contextlib import suppress
from typing import Any, Final, TextIO

from rich.console import Console
from rich.text import Text

__all__ = ["Steady", "Terminal", "visible"]

_HIDDEN: Final = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
"""Unicode categories of what is not seen or moves the cursor: controls, directions, surrogates, line separators."""


def visible(text: str) -> str:
    """The text with everything that does not print shown by its escape; new lines stay."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        repr(character)[1:-1] if character != "\n" and unicodedata.category(character) in _HIDDEN else character
        for character in text
    )


class Steady:
    """A standard stream of the process that can always be written to.

    What its encoding lacks is written by its escape. Once nobody reads it any more, or its disk is full, what is
    written is lost and the command goes on.

    Parameters
    ----------
    name
        ``"stdout"`` or ``"stderr"``, looked up anew whenever something is written.
    """

    def __init__(self, name: str) -> None:
        self._name = name

    @property
    def encoding(self) -> str:
        """Of the stream; a process may have none."""
        return getattr(self._stream, "encoding", None) or "utf-8"

    def isatty(self) -> bool:
        """Whether a terminal is at the other end."""
        with suppress(OSError, ValueError, AttributeError):
            return bool(self._stream.isatty())  # type: ignore[union-attr]
        return False

    def fileno(self) -> int:
        """The descriptor, for those who ask for the size of the terminal."""
        if self._stream is None:
            raise OSError(f"{self._name} is closed")
        return self._stream.fileno()

    def write(self, text: str) -> int:
        """Write what can be written."""
        stream = self._stream
        if stream is not None:
            try:
                stream.write(text.encode(self.encoding, "backslashreplace").decode(self.encoding))
            except (OSError, ValueError):
                self._give_up(stream)
        return len(text)

    def flush(self) -> None:
        """Hand on what was written."""
        stream = self._stream
        if stream is not None:
            try:
                stream.flush()
            except (OSError, ValueError):
                self._give_up(stream)

    @property
    def _stream(self) -> TextIO | None:
        stream: TextIO | None = getattr(sys, self._name)
        # a live table puts a stream of its own there, which writes to this one
        return getattr(stream, "rich_proxied_file", stream)

    def _give_up(self, stream: TextIO) -> None:
        """Let the descriptor lead nowhere: what is still buffered would fail once more when the process ends."""
        with suppress(OSError, ValueError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, stream.fileno())
            os.close(nowhere)


class Terminal(Console):
    """A console for text that comes from data: no markup, no emoji, nothing that does not print.

    Parameters
    ----------
    name
        ``"stdout"`` or ``"stderr"``.
    """

    def __init__(self, name: str) -> None:
        super().__init__(file=Steady(name), soft_wrap=True, highlight=False, markup=False, emoji=False)  # type: ignore[arg-type]

    def render_str(self, text: str, **options: Any) -> Text:
        """Text as it is; every string that is printed, in a table or not, comes by here."""
        return super().render_str(visible(text), **{**options, "markup": False, "emoji": False})
