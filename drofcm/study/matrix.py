"""The event x location matrix of a study, read from CSV."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import xarray as xr

from drofcm.core.errors import quoted, raise_if_any, shorten
from drofcm.core.reading import number, read_rows

__all__ = ["read_matrix"]

_COLUMNS: Final = ("event", "location", "probability")


def read_matrix(path: Path, places: Mapping[str, Sequence[str]] | None = None) -> xr.DataArray:
    """Probabilities over (event, location); pairs that the file leaves out cannot happen.

    Parameters
    ----------
    path
        A CSV file with the columns event, location, probability.
    places
        Events that there are, and where each can happen; None asks for neither.

    Raises
    ------
    InputError
        With every finding as ``file:line``: columns, empty cells, pairs given twice, probabilities outside 0 and 1,
        events that there are not, places where they cannot happen.
    """
    rows, faults = read_rows(path, _COLUMNS, name=path.name)
    found: dict[tuple[str, str], float] = {}
    for line, cells in rows:
        where = f"{path.name}:{line}"
        event, location = pair = cells["event"], cells["location"]
        chance = number(cells["probability"])
        if not all(pair):
            faults.add(where, "event or location is empty", "name both")
        elif pair in found:
            faults.add(where, f"{quoted(event)} at {quoted(location)} is given twice", "keep one")
        elif places is not None and event not in places:
            faults.unknown(f"{where}: event", "event", event, list(places))
        elif places is not None and location not in places[event] and chance != 0:
            what = f"{event} cannot happen at {quoted(location)}"
            faults.add(f"{where}: location", what, f"it can at: {shorten(places[event]) or 'no place'}")
        if chance is None or not 0 <= chance <= 1:
            what = f"must be a probability within 0 and 1, got {quoted(cells['probability'])}"
            faults.add(f"{where}: probability", what)
        elif all(pair):
            found.setdefault((event, location), chance)
    raise_if_any(faults.all)
    events, locations = (list(dict.fromkeys(pair[axis] for pair in found)) for axis in (0, 1))
    table = [[found.get((event, place), 0.0) for place in locations] for event in events]
    return xr.DataArray(table, dims=("event", "location"), coords={"event": events, "location": locations})
