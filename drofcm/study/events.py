"""The events of a study: read from the file it names, or generated as it says."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import xarray as xr

from drofcm.config import StudyFile, Weather
from drofcm.core.errors import Finding, raise_if_any
from drofcm.core.limits import MOST_CELLS
from drofcm.network.feeder import Feeder
from drofcm.network.lindistflow import sensitivities
from drofcm.scenarios.combined import Storm, combined_events
from drofcm.scenarios.outages import FragilityCurve
from drofcm.scenarios.plants import Plants
from drofcm.scenarios.shocks import demand_shocks
from drofcm.study.sources import Sources

__all__ = ["fault_lines", "generate_events", "study_events"]


def fault_lines(study: StudyFile, feeder: Feeder) -> list[str]:
    """Lines that a fault may put out: those of the study, or else all that feed at most half of the load."""
    if study.events.fault_lines is not None:
        return list(study.events.fault_lines)
    load = feeder.table["base_load"].values
    fed = feeder.subtree_sum(load)[feeder.fed_bus]
    return [str(line) for line, mw in zip(feeder.line, fed, strict=True) if mw <= 0.5 * load.sum()]


def study_events(study: StudyFile, sources: Sources, steps: xr.DataArray) -> xr.Dataset:
    """The shocks at the data centres with ``line_out`` over every line, ``probability`` and ``event_class``.

    Parameters
    ----------
    study
        The study file.
    sources
        What it names.
    steps
        Length of the steps, h over (time).

    Raises
    ------
    InputError
        With every fault of what the generator is given.
    """
    feeder = sources.feeder
    if sources.events is None:
        return generate_events(study, sources, steps)
    events = sources.events
    if "line_out" in events:
        return events.reindex(line=feeder.line, fill_value=0)
    none = np.zeros((events.sizes["scenario"], len(feeder.line)), dtype=np.int8)
    return events.assign_coords(line=feeder.line).assign(line_out=(("scenario", "line"), none))


def generate_events(
    study: StudyFile,
    sources: Sources,
    steps: xr.DataArray,
    *,
    scenarios: int | None = None,
    client: Any = None,
    chunk: int | None = None,
) -> xr.Dataset:
    """The ensemble that the study describes.

    Parameters
    ----------
    study
        The study file; its ``events.file`` is not looked at.
    sources
        What it names.
    steps
        Length of the steps, h over (time).
    scenarios
        In place of ``events.scenarios``.
    client, chunk
        A `dask.distributed.Client` that draws, and scenarios per task; the ensemble does not depend on them.

    Raises
    ------
    InputError
        With every fault of what the generator is given.
    """
    feeder, section = sources.feeder, study.events
    buses = [centre.bus for centre in study.data_centres]
    count = section.scenarios if scenarios is None else scenarios
    raise_if_any(_size_findings(count, steps.size, len({*buses, *(plant.bus for plant in study.plants)})))
    megawatt = {"units": "MW"}
    common: dict[str, Any] = {
        "scenarios": count,
        "rating": xr.DataArray([centre.rating_mw for centre in study.data_centres], {"node": buses}, attrs=megawatt),
        "running": xr.DataArray([centre.running_mw for centre in study.data_centres], {"node": buses}, attrs=megawatt),
        "step_length": steps,
        "fault_lines": fault_lines(study, feeder),
        "seed": study.seed,
        "client": client,
        "chunk": chunk,
    }
    shares = {name: share for name, share in section.shares.model_dump().items() if share > 0}
    if not study.plants and section.weather is None and section.matrix is None:
        return demand_shocks(
            **common,
            shares=shares,
            lines=[str(line) for line in feeder.line],
            downstream=sensitivities(feeder, buses)["downstream"],
        )
    return combined_events(
        **common,
        shares=None if section.matrix else shares,
        downstream=sensitivities(feeder, [str(bus) for bus in feeder.bus])["downstream"],
        plants=Plants(
            tuple(plant.bus for plant in study.plants),
            tuple(plant.kind for plant in study.plants),
            np.array([plant.output_mw for plant in study.plants], dtype=float),
        ),
        storm=None if section.weather is None else _storm(study, section.weather, sources),
        matrix=sources.matrix,
        hubs=[str(hub) for hub in sources.layers["hubs"]["id"]],
        hub_outage_probability=section.hub_outage_probability,
    )


def _size_findings(scenarios: int, steps: int, nodes: int) -> Iterator[Finding]:
    """The study file is asked the same; here the number may come from elsewhere."""
    if scenarios * steps * nodes > MOST_CELLS:
        what = f"{scenarios:,} events of {steps:,} steps at {nodes} nodes are more than {MOST_CELLS:,} figures"
        yield Finding("scenarios", what, "generate fewer")


def _storm(study: StudyFile, weather: Weather, sources: Sources) -> Storm:
    """Exposed lines and hubs where the layers have them; a line is as much longer than straight as a road is."""
    exposed = fault_lines(study, sources.feeder) if weather.exposed_lines is None else list(weather.exposed_lines)
    lines, hubs = sources.layers["lines"].set_index("id").loc[exposed], sources.layers["hubs"]
    middle = lines.geometry.interpolate(0.5, normalized=True)
    return Storm(
        lines=tuple(exposed),
        line_km=lines.geometry.length.to_numpy() * study.area.detour / 1000,
        line_x_km=middle.x.to_numpy() / 1000,
        line_y_km=middle.y.to_numpy() / 1000,
        hub_x_km=hubs.geometry.x.to_numpy() / 1000,
        hub_y_km=hubs.geometry.y.to_numpy() / 1000,
        gust_m_s=weather.gust_m_s,
        gust_spread=weather.gust_spread,
        local_spread=weather.local_spread,
        correlation_km=weather.correlation_km,
        line_curve=FragilityCurve(weather.line_median_m_s, weather.line_spread),
        hub_curve=FragilityCurve(weather.hub_median_m_s, weather.hub_spread),
    )
