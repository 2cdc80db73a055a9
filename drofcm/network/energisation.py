"""Which buses an event leaves without a source."""

from __future__ import annotations

import numpy as np
import xarray as xr

from drofcm.core.errors import Finding, InputError
from drofcm.core.units import labels_where
from drofcm.network.feeder import Feeder

__all__ = ["energised"]


def energised(feeder: Feeder, lines_out: xr.DataArray) -> xr.DataArray:
    """Whether each bus still has its source, when lines are out and no switch is thrown.

    Parameters
    ----------
    feeder
        The feeder.
    lines_out
        True (1) where the line is out, over (scenario, line).

    Returns
    -------
    xr.DataArray
        1 energised, 0 cut off, int8 over (scenario, bus).

    Raises
    ------
    InputError
        If labels differ or a value is neither 0 nor 1.
    """
    out = feeder.aligned(lines_out, "line", "1", "lines_out").transpose("line", "scenario")
    neither = (out != 0) & (out != 1)
    if bool(neither.any()):
        raise InputError([Finding("lines_out", f"must be 0 or 1, is not at {labels_where(neither)}")])
    cuts = feeder.path_sum(feeder.along_lines(out.values))
    return xr.DataArray(
        (cuts < 0.5).T.astype(np.int8),
        coords={"scenario": out.indexes["scenario"], "bus": feeder.bus},
        dims=("scenario", "bus"),
        name="energised",
        attrs={"units": "1"},
    )
