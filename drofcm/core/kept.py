"""What was found and could not be written."""

from __future__ import annotations

from drofcm.core.errors import DrofcmError

__all__ = ["NotWrittenError"]


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
