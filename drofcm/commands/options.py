"""What options are asked beside what typer asks: figures that are figures, files that can be written."""

from __future__ import annotations

import math

import typer

__all__ = ["figure", "figures", "positive"]


def figure(value: float | None) -> float | None:
    """Neither infinite nor NaN."""
    if value is not None and not math.isfinite(value):
        raise typer.BadParameter(f"{value} is no figure")
    return value


def figures(values: list[float] | None) -> list[float] | None:
    """As `figure`, each of them."""
    for value in values or ():
        figure(value)
    return values


def positive(value: float | None) -> float | None:
    """As `figure`, and more than nothing."""
    if figure(value) is not None and value is not None and value <= 0:
        raise typer.BadParameter(f"{value:g} is not in the range x>0")
    return value
