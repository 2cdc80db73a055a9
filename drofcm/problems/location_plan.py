"""Plans for the demand-shock problem that choose hubs by travel alone: yardsticks, and starts for the search."""

from __future__ import annotations

import numpy as np
import xarray as xr

from drofcm.core.errors import Finding, InputError
from drofcm.problems.facility_location import PMedian

__all__ = ["median_plan"]


def median_plan(data: xr.Dataset, hubs: int) -> xr.Dataset:
    """Open the p-median of the nodes and stock each hub with what its nodes ask for, as stock and room allow.

    A node weighs as much as the power it asks for in the mean of all events; travel times are those of the mean. Every
    node is served from its nearest open hub with the modules it asks for in the mean, rounded up; technologies take the
    room of a hub in the order of their cost per MW, and modules come from the nearest supplier that has one.

    Parameters
    ----------
    data
        Data of A.1.
    hubs
        Number of hubs to open.

    Returns
    -------
    xarray.Dataset
        ``hub_active`` (hub) and ``shipped`` (supplier, hub, fcm): within stock, room and the limits of the hubs; the
        budget is not looked at.

    Raises
    ------
    InputError
        If so many hubs must not or cannot be opened.
    """
    usable = data.hub.values[(data.hub_forced_out == 0).values]
    least, most = int(data.hub_minimum), min(int(data.hub_maximum), len(usable))
    if not max(least, 1) <= hubs <= most:
        raise InputError([Finding("hubs", f"must be between {max(least, 1)} and {most}, is {hubs}")])
    times, wanted = data.travel_time, data.requirement
    if "scenario" in times.dims:
        times = (data.probability * times).sum("scenario")
    mean = (data.probability * wanted).sum("scenario")
    weight = (data.power * mean).sum("fcm")
    forced = [str(hub) for hub in data.hub.values[(data.hub_forced_in == 1).values]]
    cost = times.sel(hub=usable).rename(node="client", hub="facility").transpose("client", "facility")
    found = PMedian.from_cost_matrix(cost, weight.values, hubs, predefined=forced).solve()
    nearest = found.clients["facility"]
    plan = xr.Dataset(
        {
            "hub_active": ("hub", np.isin(data.hub.values, found.facilities).astype(float)),
            "shipped": xr.zeros_like(data.distance * data.stock).transpose("supplier", "hub", "fcm"),
        }
    )
    # copies, and of floating point: what is taken is taken off them
    stock, room = data.stock.astype(float), data.storage_limit.astype(float)
    order = (data.module_cost / data.power).to_series().sort_values(kind="stable").index
    for hub in found.facilities:
        served = nearest.index[nearest == hub]
        asked = np.ceil(mean.sel(node=list(served)).sum("node") - 1e-9)
        for fcm in order:
            fit = np.floor(float(room.sel(hub=hub)) / float(data.footprint.sel(fcm=fcm)) + 1e-9)
            left = min(float(asked.sel(fcm=fcm)), fit)
            for supplier in data.distance.sel(hub=hub).to_series().sort_values(kind="stable").index:
                taken = min(left, float(stock.sel(supplier=supplier, fcm=fcm)))
                at = {"supplier": supplier, "fcm": fcm}
                plan["shipped"].loc[{**at, "hub": hub}] = taken
                stock.loc[at] -= taken
                room.loc[{"hub": hub}] -= taken * float(data.footprint.sel(fcm=fcm))
                left -= taken
    return plan.drop_attrs()
