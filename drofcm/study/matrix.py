"""The event x location matrix of a study, read from CSV."""

from __future__ import annotations

import csv
import math
from pathlib import Path

import xarray as xr

from drofcm.core.errors import Finding, InputError, raise_if_any, shorten

__all__ = ["read_matrix"]

_COLUMNS = ["event", "location", "probability"]


def read_matrix(path: Path) -> xr.DataArray:
    """Probabilities over (event, location); pairs that the file leaves out cannot happen.

    Parameters
    ----------
    path
        A CSV file with the columns event, location, probability.

    Raises
    ------
    InputError
        With every finding as ``file:line``: columns, empty cells, pairs given twice, probabilities outside 0 and 1.
    """
    findings: list[Finding] = []
    found: dict[tuple[str, str], float] = {}
    with path.open(newline="", encoding="utf-8-sig") as stream:
        reader = csv.DictReader(stream, restkey="")
        if list(reader.fieldnames or ()) != _COLUMNS:
            what = f"columns are {shorten(reader.fieldnames or ())}"
            raise InputError([Finding(f"{path.name}:1", what, f"the columns are {', '.join(_COLUMNS)}")])
        for row in reader:
            where = f"{path.name}:{reader.line_num}"
            if "" in row or None in row.values():
                findings.append(Finding(where, "number of cells differs from the header"))
                continue
            pair = row["event"].strip(), row["location"].strip()
            chance = _probability(row["probability"])
            if not all(pair):
                findings.append(Finding(where, "event or location is empty", "name both"))
            elif pair in found:
                findings.append(Finding(where, f"{pair[0]} at {pair[1]} is given twice", "keep one"))
            elif math.isnan(chance):
                what = f"must be a probability within 0 and 1, got {row['probability']!r}"
                findings.append(Finding(f"{where}: probability", what))
            else:
                found[pair] = chance
    if not found and not findings:
        findings.append(Finding(path.name, "the matrix has no rows"))
    raise_if_any(findings)
    events, places = (list(dict.fromkeys(pair[axis] for pair in found)) for axis in (0, 1))
    table = [[found.get((event, place), 0.0) for place in places] for event in events]
    return xr.DataArray(table, dims=("event", "location"), coords={"event": events, "location": places})


def _probability(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        return math.nan
    return number if 0 <= number <= 1 else math.nan
