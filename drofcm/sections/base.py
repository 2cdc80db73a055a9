"""What all sections share: the types of their keys, and how a broken rule is told."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, NamedTuple, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

__all__ = [
    "Broken",
    "Label",
    "Labels",
    "LayerName",
    "Location",
    "NotNegative",
    "Positive",
    "Section",
    "Share",
    "Slug",
    "twice",
]


Location = tuple[str | int, ...]


class Broken(NamedTuple):
    """A rule between keys that does not hold: the key to blame (relative), what clashed and how to fix it."""

    loc: Location
    what: str
    fix: str


def _as_label(value: Any) -> Any:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


Label = Annotated[str, BeforeValidator(_as_label), Field(min_length=1)]
Labels = Annotated[tuple[Label, ...], Field(strict=False)]
LayerName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]+$")]
Share = Annotated[float, Field(ge=0, le=1)]
NotNegative = Annotated[float, Field(ge=0)]
Positive = Annotated[float, Field(gt=0)]
Slug = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]


class Section(BaseModel):
    """One mapping of the study file: unknown keys are refused, values are never converted, instances never change."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    def rules(self) -> Iterator[Broken]:
        """Rules between the keys of this section that do not hold."""
        return iter(())

    @model_validator(mode="after")
    def _obey_rules(self) -> Self:
        broken = list(self.rules())
        if broken:
            text = "; ".join(f"{'.'.join(map(str, rule.loc))}: {rule.what} ({rule.fix})" for rule in broken)
            raise PydanticCustomError("rules", "{text}", {"text": text, "broken": broken})
        return self


def twice(labels: Labels, key: str) -> Iterator[Broken]:
    """Labels of the list ``key`` that stand in it more than once."""
    for place, label in enumerate(labels):
        if label in labels[:place]:
            yield Broken((key, place), f"{label!r} is listed twice", "keep one")
