"""The hours after the onset: what is asked of the nodes, what it costs not to serve, how costs are weighed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field

from drofcm.core.limits import LARGEST, LARGEST_ANY
from drofcm.sections.base import Broken, Hours, Megawatts, NotNegative, Section, Share

__all__ = [
    "Frontier",
    "Nodes",
    "Penalties",
    "Risk",
    "StepGroup",
    "Tail",
]


class StepGroup(Section):
    """Steps of equal length."""

    count: Annotated[int, Field(ge=1, le=10**12)] = Field(description="number of steps")
    length: Annotated[float, Field(gt=0, le=LARGEST_ANY)] = Field(description="length of each, minutes")


class Nodes(Section):
    """What is asked of the nodes, and what the supply can do for them."""

    stabilise_within_h: Annotated[Hours, Field(gt=0)] = Field(default=0.5, description="time allowed to stabilise, T_i")
    interruption_h: Hours | None = Field(
        default=None, description="interruption charged when not stabilised; null: as stabilise_within_h"
    )
    band: Literal["share", "fixed"] = Field(
        default="share",
        description="imbalance that counts as stable; share: band_share, at most band_mw; fixed: band_mw",
    )
    band_mw: Megawatts = Field(default=0.1, description="the band, or the most of it")
    band_share: Share = Field(default=0.1, description="the band as a share of base load and data-centre rating")
    critical_share: Share = Field(default=0.6, description="share of base load and data-centre rating served first")
    supply_ramp_mw_h: Annotated[NotNegative, Field(le=LARGEST["MW/h"])] = Field(
        default=2.4, description="how fast the supply of a node follows"
    )
    supply_headroom_mw: Megawatts = Field(default=0.4, description="how far the supply of a node follows")
    feeder_headroom_mw: Megawatts = Field(default=1.2, description="how far it follows, all nodes together")
    cap: Literal["alone", "share"] = Field(
        default="alone",
        description="modules that may be sent of a technology; alone: what the node could use if it had no others; "
        "share: its share of the need times requirement_margin, and each technology is missed by itself",
    )
    requirement_margin: Annotated[float, Field(ge=1, le=1000)] = Field(
        default=1.25, description="cap share: modules over the need, so that technologies can substitute"
    )

    @property
    def without_effect(self) -> tuple[str, ...]:
        """Keys that change nothing beside the others."""
        unused = {"requirement_margin": self.cap == "alone", "band_share": self.band == "fixed"}
        return tuple(key for key, idle in unused.items() if idle)

    def rules(self) -> Iterator[Broken]:
        """Keys without effect."""
        causes = {"requirement_margin": ("cap", "share"), "band_share": ("band", "share")}
        for key in self.without_effect:
            if key in self.model_fields_set:
                cause, wanted = causes[key]
                what = f"has no effect with {cause}: {getattr(self, cause)}"
                yield Broken((key,), what, f"remove it, or write {cause}: {wanted}")


class Penalties(Section):
    """What it costs not to serve."""

    unserved_per_mwh: NotNegative = Field(default=5000.0, description="$, interruption of a node not stabilised, gamma")
    critical_per_mwh: NotNegative = Field(default=15000.0, description="$, unserved critical energy")
    flexible_per_mwh: NotNegative = Field(default=4000.0, description="$, unserved flexible energy")
    surplus_per_mwh: NotNegative = Field(default=800.0, description="$, energy of a drop that is not absorbed")
    voltage_slack_per_pu2_h: NotNegative = Field(default=2e6, description="$, violation of a voltage limit, squared pu")

    def rules(self) -> Iterator[Broken]:
        """Critical load is worth at least as much as flexible load."""
        if self.critical_per_mwh < self.flexible_per_mwh:
            yield Broken(
                ("critical_per_mwh",),
                f"{self.critical_per_mwh:g} is below flexible_per_mwh {self.flexible_per_mwh:g}",
                "critical load is served first, so it must cost at least as much",
            )


class Tail(Section):
    """One CVaR term."""

    alpha: Annotated[float, Field(ge=0, lt=1)] = Field(description="confidence level; 0.9 averages the worst 10 %")
    weight: Annotated[NotNegative, Field(le=1e6)] = Field(description="weight of the term")


class Risk(Section):
    """Weights of the risk measures of the yearly recourse cost."""

    expectation: Annotated[NotNegative, Field(le=1e6)] = Field(default=0.5, description="weight of the mean")
    cvar: Annotated[tuple[Tail, ...], Field(strict=False)] = Field(
        default=(Tail(alpha=0.9, weight=0.5),), description="weights of means of the worst share"
    )
    worst_case: Annotated[NotNegative, Field(le=1e6)] = Field(default=0.0, description="weight of the worst scenario")

    @property
    def total(self) -> float:
        """Sum of the weights."""
        return self.expectation + self.worst_case + sum(tail.weight for tail in self.cvar)

    def rules(self) -> Iterator[Broken]:
        """At least one weight is positive."""
        if self.total <= 0:
            yield Broken((), "all weights are zero, so events would cost nothing", "give one of them a weight")


class Frontier(Section):
    """Plans of other risk measures and sizes of the ambiguity set, searched for comparison once the plan is found."""

    tail_weights: Annotated[tuple[Share, ...], Field(strict=False, min_length=1)] = Field(
        default=(0.0, 0.5, 1.0), description="w of (1 - w) mean + w CVaR at the largest confidence level of the study"
    )
    multiples: Annotated[tuple[NotNegative, ...], Field(strict=False)] = Field(
        default=(0.0, 0.5, 1.0, 2.0),
        description="radii as multiples of the one in ambiguity, rising from 0, the nominal distribution",
    )

    def rules(self) -> Iterator[Broken]:
        """Multiples rise from zero."""
        if not self.multiples or self.multiples[0] != 0 or list(self.multiples) != sorted(set(self.multiples)):
            yield Broken(("multiples",), f"must rise from 0, got {list(self.multiples)}", "0 is the nominal plan")
