"""Which distributions of events a plan is made for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Final, Literal, get_args

from pydantic import Field

from drofcm.core.limits import LARGEST_ANY
from drofcm.sections.base import Broken, Labels, NotNegative, Section, Share

__all__ = [
    "KINDS",
    "POLYHEDRAL",
    "Ambiguity",
    "ChiSquaredBall",
    "CommonSet",
    "EntropyBall",
    "IntervalSet",
    "MomentBands",
    "NominalSet",
    "TotalVariationBall",
    "WassersteinBall",
]


class NominalSet(Section):
    """The stated probabilities and no other."""

    kind: Literal["nominal"] = "nominal"


class WassersteinBall(Section):
    """Probability may move between events, at a cost that grows with their distance."""

    kind: Literal["wasserstein"]
    radius: NotNegative = Field(description="largest mean distance that probability is moved; 0: nominal")
    over: Annotated[Labels, Field(min_length=1)] = Field(
        default=("shock",), description="variables that distance is measured by, each in units of its deviation"
    )
    norm: Literal[1, 2, "inf"] = Field(default=1, description="norm of the distance")
    order: Annotated[float, Field(ge=1, le=100)] = Field(default=1.0, description="order of the distance")
    by_duration: bool = Field(default=True, description="steps count by their length")


class TotalVariationBall(Section):
    """Some of the probability may move anywhere."""

    kind: Literal["total_variation"]
    radius: Share = Field(description="probability that may be moved; 0: nominal")


class MomentBands(Section):
    """Means and variances of variables stay within bands; the distribution is free otherwise."""

    kind: Literal["moments"]
    over: Annotated[Labels, Field(min_length=1)] = Field(default=("shock",), description="variables, entry by entry")
    mean_deviations: NotNegative | None = Field(
        default=None, description="half-width of the band of means, nominal standard deviations; null: free"
    )
    variance_low: Annotated[float, Field(ge=0, le=1)] | None = Field(
        default=None, description="lower bound of second moments over nominal variances; null: 0"
    )
    variance_high: Annotated[float, Field(ge=1, le=LARGEST_ANY)] | None = Field(
        default=None, description="upper bound of second moments over nominal variances; null: none"
    )

    def rules(self) -> Iterator[Broken]:
        """Something is bounded."""
        if self.mean_deviations is None and self.variance_low is None and self.variance_high is None:
            yield Broken((), "bounds no moment", "give mean_deviations, variance_low or variance_high")


class IntervalSet(Section):
    """The probability of every event lies in an interval."""

    kind: Literal["probability_box"]
    lower: Share = Field(default=0.0, description="least probability of an event")
    upper: Share = Field(default=1.0, description="largest probability of an event")

    def rules(self) -> Iterator[Broken]:
        """Order of the bounds."""
        if self.lower > self.upper:
            yield Broken(("lower",), f"{self.lower:g} is above upper {self.upper:g}", "exchange the two")


class ChiSquaredBall(Section):
    """Euclidean distance between the probabilities."""

    kind: Literal["modified_chi_squared"]
    radius: NotNegative = Field(description="largest distance; 0: nominal")


class EntropyBall(Section):
    """Relative entropy to the nominal probabilities."""

    kind: Literal["kullback_leibler"]
    radius: NotNegative = Field(description="largest relative entropy, nats; 0: nominal")


Polyhedron = Annotated[WassersteinBall | TotalVariationBall | MomentBands | IntervalSet, Field(discriminator="kind")]


class CommonSet(Section):
    """What lies in all of several sets."""

    kind: Literal["intersection"]
    sets: Annotated[tuple[Polyhedron, ...], Field(strict=False)] = Field(
        description="two sets or more; divergence balls cannot be among them"
    )

    def rules(self) -> Iterator[Broken]:
        """Two sets at least."""
        if len(self.sets) < 2:
            yield Broken(("sets",), f"lists {len(self.sets)}, an intersection needs two", "list more, or use its kind")


Ambiguity = Annotated[
    NominalSet
    | WassersteinBall
    | TotalVariationBall
    | MomentBands
    | IntervalSet
    | ChiSquaredBall
    | EntropyBall
    | CommonSet,
    Field(discriminator="kind"),
]

POLYHEDRAL: Final = ("wasserstein", "total_variation", "moments", "probability_box")
"""Kinds that an intersection may hold."""

KINDS: Final[dict[str, type[Section]]] = {
    get_args(section.model_fields["kind"].annotation)[0]: section for section in get_args(get_args(Ambiguity)[0])
}
"""The section of every kind."""
