"""The feeder, and what stands on it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field

from drofcm.core.limits import LARGEST
from drofcm.sections.base import Broken, Label, Labels, Megawatts, NotNegative, Section, Voltage, twice

__all__ = [
    "DataCentre",
    "FeederSection",
    "Plant",
]


class FeederSection(Section):
    """The feeder and its limits."""

    name: str = Field(
        default="ieee33", min_length=1, description="dataset under datasets/feeders, or a folder beside this file"
    )
    source_voltage_pu: Voltage = Field(default=1.045, description="voltage at the source bus")
    voltage_minimum_pu: Voltage = Field(default=0.95, description="lower limit of every monitored bus")
    voltage_maximum_pu: Voltage = Field(default=1.05, description="upper limit of every monitored bus")
    tan_phi: Annotated[NotNegative, Field(le=100)] = Field(
        default=0.25, description="reactive over active power of a shock"
    )
    monitored_buses: Labels | None = Field(default=None, description="buses whose voltage is limited; null: all")
    monitored_lines: Labels | None = Field(default=None, description="lines whose rating is enforced; null: all")

    def rules(self) -> Iterator[Broken]:
        """Order of the voltage limits; labels listed twice."""
        if self.voltage_minimum_pu >= self.voltage_maximum_pu:
            yield Broken(
                ("voltage_minimum_pu",),
                f"{self.voltage_minimum_pu:g} is not below voltage_maximum_pu {self.voltage_maximum_pu:g}",
                "exchange or correct the two limits",
            )
        for key in ("monitored_buses", "monitored_lines"):
            yield from twice(getattr(self, key) or (), key)


class DataCentre(Section):
    """A data centre on the feeder."""

    bus: Label = Field(description="bus that feeds it")
    rating_mw: Annotated[float, Field(gt=0, le=LARGEST["MW"])] = Field(
        description="largest surge above the running load"
    )
    running_mw: Megawatts = Field(default=0.5, description="load before the event, which a drop can take away")


class Plant(Section):
    """A generator on the feeder, which runs before the event."""

    bus: Label = Field(description="bus it feeds into")
    kind: Literal["dg", "pv"] = Field(description="dg: engine or turbine; pv: photovoltaics")
    output_mw: Annotated[float, Field(gt=0, le=LARGEST["MW"])] = Field(
        description="output before the event, at most the feeder's load at the bus"
    )
