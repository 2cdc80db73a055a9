"""Which hazard zones an event finds flooded or burning: with the lines it puts out, or by chance."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import xarray as xr

from drofcm.core.errors import Finding, raise_if_any
from drofcm.core.randomness import stream
from drofcm.core.units import Quantity, check_quantities

__all__ = ["active_zones"]

_NEEDED = {
    "line_out": Quantity("1", ("scenario", "line"), "1: the event puts the line out", lower=0, upper=1),
    "crosses": Quantity("1", ("zone", "line"), "1: the line passes through the zone", lower=0, upper=1, integer=True),
    "probability": Quantity("1", ("zone",), "chance that an event finds the zone active", lower=0, upper=1),
}


def active_zones(line_out: xr.DataArray, crosses: xr.DataArray, probability: xr.DataArray, seed: int) -> xr.DataArray:
    """Zones that are active in each scenario.

    A zone is active where the event puts out a line that passes through it: what cut the line closes the roads there.
    Besides, each zone is active by chance, independently of the others; scenario k draws from a stream of its own, so
    it is the same however many scenarios there are.

    Parameters
    ----------
    line_out
        1 where the event puts the line out, (scenario, line).
    crosses
        1 where the line passes through the zone, (zone, line).
    probability
        Chance that an event finds the zone active, (zone).
    seed
        The study's seed.

    Returns
    -------
    xarray.DataArray
        0 or 1 over (scenario, zone).

    Raises
    ------
    InputError
        If dimensions, labels or values of the three do not fit.
    """
    given = {"line_out": line_out, "crosses": crosses, "probability": probability}
    raise_if_any(_findings(given))
    hit = xr.dot(line_out, crosses.sel(line=line_out["line"].values).astype(float), dim="line") > 0
    zones = probability["zone"].values
    draws = np.array([stream(seed, "hazards", k).random(len(zones)) for k in range(line_out.sizes["scenario"])])
    chance = xr.DataArray(draws, coords={"scenario": line_out["scenario"].values, "zone": zones}) < probability
    active: xr.DataArray = (hit | chance).astype(np.int8).transpose("scenario", "zone")
    return active.reset_coords(drop=True).rename("zone_active").assign_attrs(units="1")


def _findings(given: dict[str, xr.DataArray]) -> Iterator[Finding]:
    findings = [
        finding
        for name, array in given.items()
        for finding in check_quantities(
            array.reset_coords(drop=True).assign_attrs(units="1").to_dataset(name=name),
            {name: _NEEDED[name]},
            "active_zones",
        )
    ]
    yield from findings
    if findings:
        return  # labels can be compared where there are labels
    missing = given["line_out"].indexes["line"].difference(given["crosses"].indexes["line"])
    if len(missing):
        yield Finding("active_zones['crosses']", f"no value for line {missing[0]!r}")
    if not given["crosses"].indexes["zone"].equals(given["probability"].indexes["zone"]):
        yield Finding("active_zones['probability']", "its zones are not those of 'crosses'")
