"""A page of figures and tables in the style of the report, in one file, for whatever is not the report of a plan."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from bokeh.models import Model

from drofcm.report.page import write_page

__all__ = ["Section", "write_sheet"]


@dataclass(frozen=True)
class Section:
    """A heading with what stands under it.

    Attributes
    ----------
    heading, text, note
        Words: above the figures, and small below the table.
    figures
        Bokeh figures with names of their own.
    table
        Texts as they are to be shown.
    text_columns
        How many of its columns, from the left, are words; the others stand to the right.
    """

    heading: str
    text: Sequence[str] = ()
    figures: Sequence[Model] = ()
    table: pd.DataFrame | None = None
    text_columns: int = 1
    note: str = ""

    @property
    def names(self) -> list[str]:
        """Where the page puts the figures."""
        return [str(figure.name) for figure in self.figures]

    @property
    def head(self) -> list[str]:
        """Heads of the table's columns."""
        return [] if self.table is None else list(map(str, self.table.columns))

    @property
    def rows(self) -> list[list[str]]:
        """Rows of the table."""
        return [] if self.table is None else self.table.astype(str).to_numpy().tolist()

    @property
    def numeric(self) -> list[bool]:
        """Which columns stand to the right."""
        return [place >= self.text_columns for place in range(len(self.head))]


def write_sheet(path: Path, heading: str, lead: Sequence[str], sections: Sequence[Section]) -> None:
    """Write the page as one HTML file that needs no other file, no server and no network.

    The file appears under its name only when it is complete.

    Parameters
    ----------
    path
        The file to write; its folder exists.
    heading, lead
        Title, and sentences under it; the first is the answer.
    sections
        In order.
    """
    models = [model for section in sections for model in section.figures]
    write_page(path, "sheet.html", heading, models, {"heading": heading, "lead": lead, "sections": sections})
