"""The events a plan is made for."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Annotated, Final

from pydantic import Field

from drofcm.core.limits import LARGEST, MOST_SCENARIOS
from drofcm.sections.base import Broken, Labels, NotNegative, Positive, Section, Share, twice

__all__ = [
    "Events",
    "Shares",
    "Weather",
]


class Shares(Section):
    """Shares of the kinds of events; they sum to one."""

    surge: Share = 0.5
    training: Share = 0.15
    drop: Share = 0.2
    fault: Share = 0.15
    storm: Share = 0.0
    storm_surge: Share = 0.0

    def rules(self) -> Iterator[Broken]:
        """Shares sum to one."""
        total = sum(self.model_dump().values())
        if not math.isclose(total, 1, abs_tol=1e-6):
            yield Broken(
                (), f"{' + '.join(type(self).model_fields)} is {total:g}, not 1", "shares of events must sum to 1"
            )


class Weather(Section):
    """Storms: how strong they are and what they can reach."""

    exposed_lines: Labels | None = Field(
        default=None, description="overhead lines; null: those that a fault may put out"
    )
    gust_m_s: Annotated[Positive, Field(le=200)] = Field(
        default=32.0, description="median of the largest gust of a storm"
    )
    gust_spread: Annotated[NotNegative, Field(le=10)] = Field(
        default=0.2, description="standard deviation of its logarithm"
    )
    local_spread: Annotated[NotNegative, Field(le=10)] = Field(
        default=0.1, description="the same from place to place in one storm"
    )
    correlation_km: Annotated[Positive, Field(le=LARGEST["km"])] = Field(
        default=5.0, description="distance over which gusts are alike"
    )
    line_median_m_s: Annotated[Positive, Field(le=1000)] = Field(
        default=45.0, description="gust at which one half of the kilometres of line fail"
    )
    line_spread: Annotated[Positive, Field(le=10)] = Field(
        default=0.2, description="standard deviation of its logarithm"
    )
    hub_median_m_s: Annotated[Positive, Field(le=1000)] = Field(
        default=50.0, description="gust at which one half of the hubs are cut off"
    )
    hub_spread: Annotated[Positive, Field(le=10)] = Field(
        default=0.2, description="standard deviation of its logarithm"
    )

    def rules(self) -> Iterator[Broken]:
        """Lines listed twice; no line at all."""
        yield from twice(self.exposed_lines or (), "exposed_lines")
        if self.exposed_lines == ():
            yield Broken(
                ("exposed_lines",), "lists no line, so that storms would reach none", "name lines, or write null"
            )


_MATRIX_SAYS: Final = frozenset({"shares", "fault_lines", "weather"})
"""Keys in whose place a matrix stands."""

_GENERATOR_KEYS: Final = _MATRIX_SAYS | {"scenarios", "matrix"}
"""Keys that say how events are generated."""


class Events(Section):
    """The events a plan is made for: generated with the study's seed, or read from a file."""

    rate_per_year: Annotated[Positive, Field(le=LARGEST["events/a"])] = Field(
        default=24.0, description="events in a year"
    )
    scenarios: Annotated[int, Field(ge=1, le=10**12)] = Field(default=20, description="number of events to generate")
    shares: Shares = Field(default=Shares(), description="what kinds of events there are; they sum to 1")
    fault_lines: Labels | None = Field(
        default=None, description="lines that a fault may put out; null: all that feed at most half of the load"
    )
    hub_outage_probability: Share = Field(default=0.03, description="chance that the event puts a hub out of use")
    weather: Weather | None = Field(default=None, description="what storms do; null: no share is on storms")
    matrix: str | None = Field(
        default=None,
        description="CSV beside this file with columns event, location, probability, in place of shares; null: shares",
    )
    file: str | None = Field(
        default=None,
        description="netCDF beside this file, as drofcm scenarios writes it; null: generate",
    )

    @property
    def without_effect(self) -> frozenset[str]:
        """Keys that the file or the matrix makes idle."""
        if self.file is not None:
            return _GENERATOR_KEYS
        return _MATRIX_SAYS if self.matrix is not None else frozenset()

    def rules(self) -> Iterator[Broken]:
        """Lines listed twice; keys without effect; a number out of reach; faults and storms that hit no line."""
        yield from twice(self.fault_lines or (), "fault_lines")
        if self.scenarios > MOST_SCENARIOS:
            what = f"{self.scenarios:,} is taken for a slip, at most {MOST_SCENARIOS:,} are generated"
            yield Broken(("scenarios",), what, "lower it")
        if self.fault_lines == () and self.shares.fault > 0 and self.file is None and self.matrix is None:
            what = f"lists no line, but {self.shares.fault:g} of the events put one out"
            yield Broken(("fault_lines",), what, "name lines, write null for the laterals, or set shares.fault to 0")
        if self.file is not None:
            for key in sorted(self.without_effect & self.model_fields_set):
                yield Broken((key,), "has no effect on events that are read from a file", f"remove {key} or file")
        elif self.matrix is not None:
            for key in sorted(self.without_effect & self.model_fields_set):
                yield Broken((key,), "has no effect: the matrix says what happens", f"remove {key} or matrix")
        elif (self.shares.storm + self.shares.storm_surge > 0) != (self.weather is not None):
            what = "a share is on storms, but" if self.weather is None else "no share is on storms, but weather"
            yield Broken(
                ("shares",) if self.weather is None else ("weather",),
                f"{what} {'weather is null' if self.weather is None else 'is given'}",
                "weather: {} takes the defaults" if self.weather is None else "give storm a share, or remove weather",
            )
