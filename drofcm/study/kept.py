"""What is kept of a plan whose folder or file cannot be written."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pandas as pd

from drofcm.solve.result import Result

__all__ = ["full_disk_told", "summary_of_plan", "table_of_columns", "table_of_plan"]

_ROOM: Final = 2**20
"""Bytes: a disk with less is full."""


def table_of_plan(plan: Result) -> str:
    """The modules of a plan as the table that ``drofcm evaluate`` reads, CSV."""
    shipped = plan.first_stage["shipped"].to_series().round().astype(int).rename("modules")
    return _csv(shipped[shipped > 0])


def summary_of_plan(plan: Result) -> str:
    """How the plan stands, and the hubs it opens."""
    opened = plan.first_stage["hub_active"].to_series()
    return f"{plan}; hubs open: {', '.join(map(str, opened.index[opened > 0.5])) or 'none'}"


def table_of_columns(plan: Result) -> str:
    """The columns of a plan that are not zero, CSV."""
    values = plan.first_stage["x"].to_series().rename_axis("column").rename("value")
    return _csv(values[values != 0])


def _csv(values: pd.Series) -> str:
    return str(values.reset_index().to_csv(index=False, lineterminator="\n"))


@contextmanager
def full_disk_told(folder: Path) -> Iterator[None]:
    """Say of a full disk that it is full: some libraries call that an HDF error."""
    try:
        yield
    except (OSError, RuntimeError) as error:
        if getattr(error, "errno", None) == errno.ENOSPC or shutil.disk_usage(folder).free < _ROOM:
            raise OSError(errno.ENOSPC, f"no space left at {folder}") from error
        raise
