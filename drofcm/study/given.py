"""Events and distances that a study is given in files: read, and checked against what the study says of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import numpy as np
import xarray as xr

from drofcm.core.dims import DEMAND_SHOCK_DATA
from drofcm.core.errors import Finding, quoted, raise_if_any, shorten
from drofcm.core.limits import LARGEST
from drofcm.core.reading import number, read_dataset, read_rows
from drofcm.core.units import Quantity, check_quantities
from drofcm.scenarios import ensemble

__all__ = ["read_distances", "read_events"]

_EVENTS: Final = {name: DEMAND_SHOCK_DATA[name] for name in ("shock", "shock_high", "shock_low", "probability")} | {
    "line_out": Quantity("1", ("scenario", "line"), "1: the event puts the line out", lower=0, upper=1, required=False),
    "hub_available": Quantity("1", ("scenario", "hub"), "0: the hub is out of use", lower=0, upper=1, required=False),
    "travel_factor": Quantity(
        "1", ("scenario", "hub"), "road time over a fair day's", lower=0, above=True, required=False
    ),
}


def read_distances(path: Path, like: xr.DataArray) -> xr.DataArray:
    """Road distances of a table, over the suppliers and hubs of the layers."""
    places = {dim: {str(label): at for at, label in enumerate(like[dim].values)} for dim in ("supplier", "hub")}
    table = np.full([len(labels) for labels in places.values()], np.nan)
    rows, faults = read_rows(path, ("supplier", "hub", "distance_km"), name=path.name)
    seen: dict[tuple[str, ...], int] = {}
    for line, row in rows:
        place = f"{path.name}:{line}"
        pair = tuple(row[dim] for dim in places)
        if pair in seen:
            faults.add(place, f"{' to '.join(pair)} stands already in line {seen[pair]}", "keep one")
        seen.setdefault(pair, line)
        unknown = [dim for dim in places if row[dim] not in places[dim]]
        for dim in unknown:
            faults.unknown(f"{place}: {dim}", dim, row[dim], list(places[dim]))
        km = number(row["distance_km"])
        if km is None or not 0 <= km <= LARGEST["km"]:
            what = f"must be a number of km from 0 to {LARGEST['km']:,.0f}, got {quoted(row['distance_km'])}"
            faults.add(f"{place}: distance_km", what)
        elif not unknown:
            table[tuple(places[dim][row[dim]] for dim in places)] = km
    suppliers = np.array(list(places["supplier"]))
    for hub, at in places["hub"].items():
        missing = suppliers[np.isnan(table[:, at])]
        if len(missing):
            what = f"hub {quoted(hub)} has no distance to supplier {shorten(missing)}"
            faults.add(path.name, what, "add the rows, or leave out area.distances")
    raise_if_any(faults.all)
    return like.transpose(*places).copy(data=table).assign_attrs(units="km")


def read_events(path: Path, step_hours: Sequence[float]) -> tuple[xr.Dataset, list[Finding]]:
    """Events of a netCDF file, checked as data and as an ensemble, and what is worth knowing about them.

    Parameters
    ----------
    path
        A file as `drofcm scenarios` writes it.
    step_hours
        Length of the steps that it must have, h.

    Raises
    ------
    InputError
        With every fault, by array and labels.
    """
    events = read_dataset(path, name=path.name)
    events, findings = _text_labels(events, path.name)
    findings += check_quantities(events, _EVENTS, path.name)
    blamed = {finding.where for finding in findings}
    findings += [finding for finding in ensemble.check(events, path.name) if finding.where not in blamed]
    findings += _step_findings(events, step_hours, path.name)
    classes = events.coords.get("event_class")
    if classes is not None and classes.dims != ("scenario",):
        what = f"is over ({shorten(classes.dims)}), not over (scenario)"
        findings.append(Finding(f"{path.name}['event_class']", what, "one class for every scenario"))
    raise_if_any(findings)
    if classes is None:
        events = events.assign_coords(event_class=("scenario", np.full(events.sizes["scenario"], "event")))
    # who made a file by hand knows neither seed nor recipe, and needs none
    return events, [finding for finding in findings if "step_length" in finding.where]


def _text_labels(events: xr.Dataset, name: str) -> tuple[xr.Dataset, list[Finding]]:
    """The events with labels of places as text, which those of a study are; whole numbers become text."""
    findings = []
    for index in map(str, events.indexes):
        events[index].attrs.clear()  # labels have none, and would differ from those of the study by them
    for dim in ("node", "line", "hub"):
        labels = events.indexes.get(dim)
        if labels is None:
            continue
        if labels.dtype.kind in "iu":
            events = events.assign_coords({dim: [str(label) for label in labels]})
        elif not all(isinstance(label, str) for label in labels):
            findings.append(Finding(f"{name}[{dim!r}]", f"labels are no text: {shorten(labels)}", "write them as text"))
    return events, findings


_STEPS: Final = {"step_length": Quantity("h", ("time",), "length of the step", lower=0, above=True)}


def _step_findings(events: xr.Dataset, step_hours: Sequence[float], name: str) -> Iterator[Finding]:
    """Whether the steps of a file are those of the study."""
    steps = len(step_hours)
    if events.sizes.get("time") != steps:
        what = f"has {events.sizes.get('time', 0)} steps, steps_min of the study make {steps}"
        yield Finding(f"{name}['time']", what, "both must be the same steps")
        return
    if "step_length" not in events.coords:
        what = f"is missing: the {steps} steps of the file are taken for those of steps_min"
        yield Finding(f"{name}['step_length']", what, "drofcm scenarios writes it", "warning")
        return
    stated = events["step_length"].reset_coords(drop=True)
    stated.attrs.setdefault("units", "h")
    found = check_quantities(stated.to_dataset(name="step_length"), _STEPS, name)
    yield from found
    if not found and not np.allclose(stated, step_hours, rtol=1e-9):
        what = "the steps have other lengths than steps_min of the study"
        yield Finding(f"{name}['step_length']", what, "both must be the same steps")
