"""Kinds of flexible capacity, and the rules that the rows of a catalogue obey.

A technology is of exactly one kind (FORMULATION A.3), told by two flags:

=================  ======  =======
kind               stores  travels
=================  ======  =======
storage            1       1
generator          0       1
demand response    0       0
=================  ======  =======
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import xarray as xr

from drofcm.core.errors import Finding
from drofcm.core.units import check_quantities, labels_where
from drofcm.data import CATALOGUE

__all__ = ["can_absorb", "check_catalogue", "is_demand_response", "is_generator", "is_storage", "yearly_transport"]

_FLAGS: Final = ("stores", "absorbs", "travels")
_TEXTS: Final = ("name", "source")


def is_storage(data: xr.Dataset) -> xr.DataArray:
    """Whether a technology charges and discharges, bool over ``fcm``."""
    return (data["stores"] == 1).rename("is_storage")


def can_absorb(data: xr.Dataset) -> xr.DataArray:
    """Whether a technology can take power from the feeder, bool over ``fcm``: a store with ``absorbs``.

    The one rule for dispatch, requirement, minimal fleets and cover rows: a store without it brings energy and
    delivers it, and is never charged.
    """
    return ((data["stores"] == 1) & (data["absorbs"] == 1)).rename("can_absorb")


def is_generator(data: xr.Dataset) -> xr.DataArray:
    """Whether a technology travels and turns fuel into power, bool over ``fcm``."""
    return ((data["stores"] == 0) & (data["travels"] == 1)).rename("is_generator")


def is_demand_response(data: xr.Dataset) -> xr.DataArray:
    """Whether a technology is load at the node that can be called off, bool over ``fcm``."""
    return ((data["stores"] == 0) & (data["travels"] == 0)).rename("is_demand_response")


def yearly_transport(data: xr.Dataset) -> xr.DataArray:
    """Transport from supplier to hub, $/(module km a) over ``fcm``: once in the life of what travels."""
    return (data["transport_cost"] * data["travels"] / data["life"]).drop_attrs().rename("yearly_transport")


def check_catalogue(table: xr.Dataset) -> list[Finding]:
    """Every fault of a catalogue of technologies.

    Parameters
    ----------
    table
        The variables of `drofcm.data.CATALOGUE` over ``fcm``, as `drofcm.data.load_catalogue` returns them.

    Returns
    -------
    list of Finding
        Units, ranges and missing values first; and, where the flags can be read, kinds that contradict themselves:
        a store that does not travel, something that absorbs or has a state of charge without storing, losses of a
        technology that has none (``eta_charge`` and ``eta_discharge`` of a non-store are 1).
    """
    findings = check_quantities(table.drop_vars(_TEXTS, errors="ignore"), CATALOGUE, where="catalogue")
    if all(name in table and table[name].dims == ("fcm",) and table[name].dtype.kind in "biuf" for name in _FLAGS):
        findings += _contradictions(table)
    return findings


def _contradictions(table: xr.Dataset) -> Iterator[Finding]:
    storage = is_storage(table)
    rules = [
        ("travels", storage & (table["travels"] == 0), "a store travels; load at the node that shifts is no store"),
        ("absorbs", ~storage & (table["absorbs"] == 1), "only a store can take up surplus power"),
    ]
    for name, neutral in (("initial_soc", 0.0), ("eta_charge", 1.0), ("eta_discharge", 1.0)):
        if name in table and table[name].dims == ("fcm",):
            wrong = ~storage & table[name].notnull() & (table[name] != neutral)
            rules.append((name, wrong, f"only a store has one; write {neutral:g}"))
    for name, wrong, why in rules:
        if wrong.any():
            yield Finding(
                f"catalogue[{name!r}]", f"contradicts the kind of the technology at {labels_where(wrong)}", why
            )
