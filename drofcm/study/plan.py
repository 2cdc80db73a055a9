"""The planner's own plan: read from a table, checked against the data of the study, priced."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import xarray as xr

from drofcm.core.errors import Finding, quoted, raise_if_any
from drofcm.core.limits import LARGEST
from drofcm.core.randomness import stream
from drofcm.core.reading import read_rows, whole
from drofcm.fcm.catalogue import yearly_transport
from drofcm.problems import demand_shock
from drofcm.solve.result import Result
from drofcm.study.ambiguity import ambiguity_set
from drofcm.study.assemble import Assembly
from drofcm.study.frontier import tail_level
from drofcm.study.risk import risk_measure
from drofcm.validate.benefit import Benefit, benefit_of
from drofcm.validate.money import Money, formula, money_of

__all__ = ["Judged", "evaluate_plan", "judged", "read_plan"]

COLUMNS: Final = ("supplier", "hub", "fcm", "modules")
_LABELS: Final = COLUMNS[:3]


def read_plan(path: Path, data: xr.Dataset) -> xr.Dataset:
    """A plan from a table ``supplier,hub,fcm,modules``; hubs that receive modules are open.

    Parameters
    ----------
    path
        CSV file; further columns, such as those of ``tables/shipments.csv``, are ignored.
    data
        The labelled data of the study.

    Returns
    -------
    xarray.Dataset
        ``hub_active`` (hub) and ``shipped`` (supplier, hub, fcm).

    Raises
    ------
    InputError
        With every finding: unknown labels, counts that are negative or not whole, a shipment given twice, more than
        stock, room, budget or hub counts allow, hubs forced in that receive nothing.
    """
    shipped = xr.DataArray(0.0, coords={dim: data.indexes[dim] for dim in _LABELS}, dims=_LABELS)
    known = {dim: {str(label): place for place, label in enumerate(data.indexes[dim])} for dim in _LABELS}
    rows, faults = read_rows(path, COLUMNS, name=path.name, further=True, empty=True)
    seen: dict[tuple[str, ...], int] = {}
    for line, row in rows:
        place = f"{path.name}:{line}"
        labels = {dim: row[dim] for dim in _LABELS}
        unknown = [dim for dim in _LABELS if labels[dim] not in known[dim]]
        for dim in unknown:
            faults.unknown(f"{place}: {dim}", dim, labels[dim], list(known[dim]))
        modules = whole(row["modules"])
        if modules is None or modules < 0:
            what = f"must be a whole number of at least 0, got {quoted(row['modules'])}"
            faults.add(f"{place}: modules", what)
        elif modules > LARGEST["modules"]:
            faults.add(
                f"{place}: modules", f"{modules:,} is taken for a slip, at most {LARGEST['modules']:,.0f} are taken"
            )
        key = tuple(labels.values())
        if key in seen:
            faults.add(place, f"{', '.join(key)} is given already in line {seen[key]}", "add the two up")
        seen.setdefault(key, line)
        if modules is not None and not unknown:
            shipped[tuple(known[dim][labels[dim]] for dim in _LABELS)] = modules
    raise_if_any(faults.all)
    active = (shipped.sum(["supplier", "fcm"]) > 0).astype(float)
    plan = xr.Dataset({"hub_active": active, "shipped": shipped})
    raise_if_any(_limit_findings(plan, data, path.name))
    return plan


def evaluate_plan(assembly: Assembly, plan: xr.Dataset) -> Result:
    """The cost of a plan on the events of a study, the recourse of every event solved with its integers."""
    return demand_shock.program(assembly.data).evaluate(
        plan, risk_measure(assembly.study), ambiguity_set(assembly.study, assembly.data)
    )


@dataclass(frozen=True)
class Judged:
    """A plan beside doing nothing, in money.

    Attributes
    ----------
    money, unserved
        Of both, in this order: their figures, and the expected unserved energy of an event, MWh.
    benefit
        What the plan saves, and how sure that is.
    rate, alpha, formula
        Events a year, confidence level of the tails, and how the risk-weighted objective is made.
    """

    money: tuple[Money, Money]
    unserved: tuple[float, float]
    benefit: Benefit
    rate: float
    alpha: float
    formula: str


def judged(assembly: Assembly, plan: Result, nothing: Result) -> Judged:
    """Set a plan beside doing nothing; both meet the same years."""
    study, rate = assembly.study, float(assembly.data["event_rate"])
    alpha, seed, both = tail_level(study), study.seed, (plan, nothing)
    energy = [(own.terms["unserved_energy"].sum("node") * own.probability).sum() for own in both]
    first, second = (money_of(own, rate, alpha, rng=stream(seed, "years")) for own in both)
    return Judged(
        (first, second),
        (float(energy[0]), float(energy[1])),
        benefit_of(plan, nothing, rate, alpha, rng=stream(seed, "benefit")),
        rate,
        alpha,
        formula(str(risk_measure(study)), rate, str(plan.provenance["ambiguity"])),
    )


def _limit_findings(plan: xr.Dataset, data: xr.Dataset, name: str) -> Iterator[Finding]:
    shipped, active = plan["shipped"], plan["hub_active"]
    leaving = shipped.sum("hub")
    for supplier, fcm in np.argwhere((leaving > data["stock"]).transpose("supplier", "fcm").values):
        at = {"supplier": supplier, "fcm": fcm}
        who, kind = data["supplier"].values[supplier], data["fcm"].values[fcm]
        what = f"supplier {who!s} ships {leaving.isel(at):g} {kind!s}, its stock is {data['stock'].isel(at):g}"
        yield Finding(name, what, "ship less, or from another supplier")
    room = (data["footprint"] * shipped).sum(["supplier", "fcm"])
    for hub in data["hub"].values[(room > data["storage_limit"] + 1e-9).values]:
        taken, limit = float(room.sel(hub=hub)), float(data["storage_limit"].sel(hub=hub))
        yield Finding(name, f"hub {hub!s} holds {taken:g} slots, it has {limit:g}", "ship less to it")
    for hub in data["hub"].values[(active < data["hub_forced_in"]).values]:
        yield Finding(name, f"hub {hub!s} is forced in and receives nothing", "ship to it, or change hubs.forced_in")
    for hub in data["hub"].values[(active > 1 - data["hub_forced_out"]).values]:
        yield Finding(name, f"hub {hub!s} is forced out and receives modules", "ship elsewhere")
    count, low, high = int(active.sum()), int(data["hub_minimum"]), int(data["hub_maximum"])
    if not low <= count <= high:
        yield Finding(name, f"{count} hubs receive modules, the study asks for {low} to {high}", "open more or fewer")
    if "budget" in data:
        transport = (yearly_transport(data) * data["distance"] * shipped).sum()
        spent = float((data["setup_cost"] * active).sum() + transport + (data["module_cost"] * shipped).sum())
        if spent > float(data["budget"]) + 1e-6:
            what = f"costs {spent:,.0f} $/a, the budget is {float(data['budget']):,.0f} $/a"
            yield Finding(name, what, "ship less, or raise budget_per_year")
