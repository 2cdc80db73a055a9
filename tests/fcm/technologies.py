"""Three technologies for cases worked by hand: a store, a generator, and contracts that do not travel."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

FCM = ["battery", "generator", "demand_response"]
TECHNOLOGIES: dict[str, Any] = {
    "eta_charge": ("fcm", [0.8, 1.0, 1.0]),
    "eta_discharge": ("fcm", [0.5, 1.0, 1.0]),
    "initial_soc": ("fcm", [0.6, 0.0, 0.0]),
    "stores": ("fcm", [1, 0, 0]),
    "absorbs": ("fcm", [1, 0, 0]),
    "travels": ("fcm", [1, 1, 0]),
}


def changed(data: xr.Dataset, **changes: Any) -> xr.Dataset:
    """The data with other values, in the shape that the old ones have."""
    return data.assign(
        {name: data[name].copy(data=np.broadcast_to(v, data[name].shape)) for name, v in changes.items()}
    )
