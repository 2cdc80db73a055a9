"""What all sections share: the types of their keys, and how a broken rule is told."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, ClassVar, Final, NamedTuple, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationInfo, model_validator
from pydantic_core import PydanticCustomError

from drofcm.core.errors import quoted
from drofcm.core.limits import LARGEST, LARGEST_ANY

__all__ = [
    "UNRULED",
    "Broken",
    "Count",
    "Hours",
    "Label",
    "Labels",
    "LayerName",
    "Location",
    "Megawatts",
    "NotNegative",
    "Positive",
    "Section",
    "Share",
    "Slug",
    "Voltage",
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
# names of files have up to 255 bytes, of which suffixes and the key of a run take some
LayerName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]+$", max_length=100)]
Slug = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$", max_length=100)]
Share = Annotated[float, Field(ge=0, le=1)]
NotNegative = Annotated[float, Field(ge=0, le=LARGEST_ANY)]
Positive = Annotated[float, Field(gt=0, le=LARGEST_ANY)]
Count = Annotated[int, Field(ge=0, le=int(LARGEST["hubs"]))]
Megawatts = Annotated[float, Field(ge=0, le=LARGEST["MW"])]
Hours = Annotated[float, Field(ge=0, le=LARGEST["h"])]
Voltage = Annotated[float, Field(gt=0, le=LARGEST["pu"])]

UNRULED: Final = {"rules": False}
"""Context in which the rules between keys are not asked for: what else can be said is found out nevertheless."""


class Section(BaseModel):
    """One mapping of the study file: unknown keys are refused, values are never converted, instances never change."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    essential: ClassVar[bool] = False
    """Whether nothing can be done with the section where its rules are broken."""

    def rules(self) -> Iterator[Broken]:
        """Rules between the keys of this section that do not hold."""
        return iter(())

    @model_validator(mode="after")
    def _obey_rules(self, info: ValidationInfo) -> Self:
        broken = [] if info.context is UNRULED and not self.essential else list(self.rules())
        if broken:
            text = "; ".join(f"{'.'.join(map(str, rule.loc))}: {rule.what} ({rule.fix})" for rule in broken)
            raise PydanticCustomError("rules", "{text}", {"text": text, "broken": broken})
        return self


def twice(labels: Labels, key: str) -> Iterator[Broken]:
    """Labels of the list ``key`` that stand in it more than once."""
    for place, label in enumerate(labels):
        if label in labels[:place]:
            yield Broken((key, place), f"{quoted(label)} is listed twice", "keep one")
