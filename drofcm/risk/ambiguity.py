"""Ambiguity sets: which probability distributions over the scenarios nature may choose from."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["AmbiguitySet", "Nominal"]


class AmbiguitySet:
    """Base of the ambiguity sets."""


@dataclass(frozen=True)
class Nominal(AmbiguitySet):
    """The stated probabilities and no other."""

    def __str__(self) -> str:
        return "nominal"
