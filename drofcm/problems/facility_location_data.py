"""Data and results of facility location: cost matrices and layers in, open sites and who is served from where out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self, TypeAlias

import geopandas as gpd
import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr

from drofcm.core.errors import Finding, InputError, raise_if_any, shorten, suggest
from drofcm.core.units import labels_where
from drofcm.dsl.program import TwoStageProgram
from drofcm.siting.distance import straight_line

__all__ = ["Location", "LocationResult"]

Amounts: TypeAlias = float | Sequence[float] | npt.NDArray[Any] | xr.DataArray | pd.Series | None


@dataclass(frozen=True)
class LocationResult:
    """Sites to open, and what follows.

    Attributes
    ----------
    facilities
        Labels of the open sites.
    clients
        For every client the open site that serves it at least cost, and that cost; under capacities the site that
        takes most of it.
    assigned
        Share of each client that each site serves, (client, facility); None where the problem only covers.
    covered
        Clients within the service radius of an open site; all of them where there is no radius.
    objective, lower_bound
        Cost of this choice; no other costs less than the bound.
    """

    facilities: tuple[str, ...]
    clients: pd.DataFrame
    assigned: xr.DataArray | None
    covered: tuple[str, ...]
    objective: float
    lower_bound: float


@dataclass(frozen=True)
class Location(ABC):
    """A problem of facility location on labelled data; build it with `from_cost_matrix` or `from_geodataframe`.

    Attributes
    ----------
    data
        ``cost`` (client, facility), and what the problem needs of ``weights`` (client), ``fixed_cost``, ``capacity``,
        ``predefined`` (facility), ``p_facilities``, ``service_radius``.
    """

    data: xr.Dataset
    needs: ClassVar[tuple[str, ...]] = ()

    @abstractmethod
    def program(self) -> TwoStageProgram:
        """The program, to be looked at or extended."""

    @classmethod
    def from_cost_matrix(
        cls,
        cost_matrix: npt.ArrayLike | xr.DataArray | pd.DataFrame,
        weights: Amounts = None,
        p_facilities: int | None = None,
        service_radius: float | None = None,
        *,
        fixed_cost: Amounts = None,
        capacity: Amounts = None,
        predefined: Sequence[str] = (),
    ) -> Self:
        """From the cost of serving each client from each site.

        Parameters
        ----------
        cost_matrix
            Distance, time or money, (client, facility): an array, a frame (clients as index), or a labelled array over
            ``client`` and ``facility``. Without labels clients are c0, c1, ... and sites f0, f1, ...
        weights
            Weight of each client, one number or one a client.
        p_facilities
            How many sites to open.
        service_radius
            Cost up to which a site covers a client.
        fixed_cost, capacity
            Of each site.
        predefined
            Labels of sites that stand already.

        Raises
        ------
        InputError
            With every finding: what the problem needs and is not given, what has no effect on it, values that are
            missing, negative or not finite, wrong lengths, unknown sites, more or fewer sites than there can be.
        """
        cost = _cost(cost_matrix)
        clients, sites = cost.indexes["client"], cost.indexes["facility"]
        given = {
            "weights": (weights, "client"),
            "fixed_cost": (fixed_cost, "facility"),
            "capacity": (capacity, "facility"),
        }
        findings: list[Finding] = []
        data = xr.Dataset({"cost": cost})
        for name, (value, dim) in given.items():
            findings += _need_findings(name, value is not None, cls)
            if value is not None:
                try:
                    data[name] = _amounts(name, value, dim, cost.indexes[dim])
                except InputError as error:
                    findings += error.findings
        for name, number in {"p_facilities": p_facilities, "service_radius": service_radius}.items():
            findings += _need_findings(name, number is not None, cls)
            if number is not None:
                data[name] = float(number)
        findings += _count_findings(p_facilities, len(sites), predefined)
        findings += [
            Finding("predefined", f"unknown site {label!r}", suggest(str(label), sites))
            for label in predefined
            if label not in sites
        ]
        findings += _value_findings(cost, service_radius, cls)
        raise_if_any(findings)
        data["predefined"] = ("facility", np.isin(sites, list(predefined)).astype(float))
        if "fixed_cost" not in data:
            data["fixed_cost"] = ("facility", np.zeros(len(sites)))
        if service_radius is not None:
            data["covers"] = (cost <= service_radius).astype(float).expand_dims(scenario=[0])
        return cls(data.assign_coords(scenario=[0], client=clients, facility=sites))

    @classmethod
    def from_geodataframe(
        cls,
        gdf_demand: gpd.GeoDataFrame,
        gdf_fac: gpd.GeoDataFrame,
        weights_col: str | None = None,
        p_facilities: int | None = None,
        service_radius: float | None = None,
        *,
        fixed_cost_col: str | None = None,
        capacity_col: str | None = None,
        predefined_col: str | None = None,
        cost: xr.DataArray | None = None,
    ) -> Self:
        """From two layers of points with the column ``id``.

        Parameters
        ----------
        gdf_demand, gdf_fac
            Clients and sites, in the same projected CRS.
        weights_col
            Column of the clients with their weights.
        p_facilities, service_radius
            As in `from_cost_matrix`; the radius in km unless ``cost`` is given.
        fixed_cost_col, capacity_col, predefined_col
            Columns of the sites; ``predefined_col`` holds 1 where a site stands already.
        cost
            Labelled with the ids, over (client, facility) or any two dimensions in this order; for example
            ``RoadNetwork.travel_time(...)``. Left out: straight lines in km.

        Raises
        ------
        InputError
            If columns are missing or labels do not match, and as `from_cost_matrix` and `straight_line`.
        """
        columns = {"weights_col": (weights_col, gdf_demand)} | {
            name: (column, gdf_fac)
            for name, column in {
                "fixed_cost_col": fixed_cost_col,
                "capacity_col": capacity_col,
                "predefined_col": predefined_col,
            }.items()
        }
        raise_if_any(
            Finding(name, f"no column {column!r}", suggest(column, map(str, layer.columns)))
            for name, (column, layer) in columns.items()
            if column is not None and column not in layer
        )
        if cost is None:
            cost = straight_line(gdf_demand, gdf_fac, dims=("client", "facility"))
        else:
            cost = cost.rename(dict(zip(cost.dims, ("client", "facility"), strict=True)))
            raise_if_any(_label_findings(cost, gdf_demand, gdf_fac))
            cost = cost.sel(client=gdf_demand["id"].to_list(), facility=gdf_fac["id"].to_list())
        stands = gdf_fac["id"][gdf_fac[predefined_col] == 1].to_list() if predefined_col is not None else []
        return cls.from_cost_matrix(
            cost,
            None if weights_col is None else gdf_demand[weights_col].to_numpy(),
            p_facilities,
            service_radius,
            fixed_cost=None if fixed_cost_col is None else gdf_fac[fixed_cost_col].to_numpy(),
            capacity=None if capacity_col is None else gdf_fac[capacity_col].to_numpy(),
            predefined=stands,
        )

    def solve(self, *, gap: float = 1e-6, time_limit: float | None = None) -> LocationResult:
        """Find the sites to open.

        Parameters
        ----------
        gap
            Relative gap at which the search may stop.
        time_limit
            Seconds; None for no limit.

        Raises
        ------
        InfeasibleError
            If no choice of sites will do: clients out of every radius, too little capacity.
        SolveError
            If the limit was hit before any choice was found.
        """
        found = self.program().solve(method="extensive", gap=gap, time_limit=time_limit)
        opened = found.first_stage["opened"] > 0.5
        cost = self.data["cost"]
        best = cost.where(opened, np.inf)
        clients = pd.DataFrame(
            {"facility": best.idxmin("facility").values, "cost": best.min("facility").values},
            index=pd.Index(cost["client"].values, name="client"),
        )
        assigned = None
        if "assigned" in found.recourse:
            assigned = found.recourse["assigned"].isel(scenario=0, drop=True).transpose("client", "facility")
        if assigned is not None and "capacity" in self.data:
            most = assigned.idxmax("facility")
            clients = clients.assign(facility=most.values, cost=(cost * assigned).sum("facility").values)
        radius = float(self.data["service_radius"]) if "service_radius" in self.data else np.inf
        covered = clients.index[best.min("facility").values <= radius]
        sites = tuple(map(str, cost["facility"].values[opened.values]))
        return LocationResult(sites, clients, assigned, tuple(covered), found.objective, found.lower_bound)


def _cost(matrix: Any) -> xr.DataArray:
    if isinstance(matrix, xr.DataArray):
        if set(matrix.dims) != {"client", "facility"}:
            raise InputError([Finding("cost_matrix", f"has dimensions ({shorten(matrix.dims)}), not client, facility")])
        labelled = matrix.transpose("client", "facility").reset_coords(drop=True).astype(float)
    else:
        values = np.asarray(matrix, dtype=float)
        if values.ndim != 2 or not values.size:
            raise InputError([Finding("cost_matrix", f"has shape {values.shape}, clients by facilities is needed")])
        rows: Sequence[Any] = [f"c{k}" for k in range(values.shape[0])]
        columns: Sequence[Any] = [f"f{k}" for k in range(values.shape[1])]
        if isinstance(matrix, pd.DataFrame):
            rows, columns = matrix.index.astype(str).to_list(), matrix.columns.astype(str).to_list()
        labelled = xr.DataArray(values, coords={"client": rows, "facility": columns}, dims=("client", "facility"))
    twice = [dim for dim in labelled.dims if dim not in labelled.indexes or not labelled.indexes[dim].is_unique]
    raise_if_any(Finding("cost_matrix", f"labels of {dim} are missing or not unique") for dim in twice)
    return labelled.drop_attrs()


def _amounts(name: str, value: Any, dim: str, index: pd.Index) -> xr.DataArray:
    if isinstance(value, xr.DataArray):
        value = value.sel({dim: index}).values
    amounts = np.asarray(value, dtype=float)
    if amounts.ndim == 0:
        amounts = np.full(len(index), float(amounts))
    if amounts.shape != (len(index),):
        raise InputError([Finding(name, f"has shape {amounts.shape}, one number for each of {len(index)} is needed")])
    wrong = ~(np.isfinite(amounts) & (amounts >= 0))
    if wrong.any():
        raise InputError([Finding(name, f"must be finite numbers of at least 0, is not at {shorten(index[wrong])}")])
    return xr.DataArray(amounts, coords={dim: index})


def _need_findings(name: str, given: bool, kind: type[Location]) -> Iterator[Finding]:
    if name in kind.needs and not given:
        yield Finding(name, f"missing: {kind.__name__} needs it")
    if name not in kind.needs and given:
        yield Finding(name, f"has no effect on {kind.__name__}", "leave it out")


def _count_findings(p: int | None, sites: int, predefined: Sequence[str]) -> Iterator[Finding]:
    if p is None:
        return
    if not (p == int(p) and 1 <= p <= sites):
        yield Finding("p_facilities", f"must be a whole number between 1 and the number of sites, {sites}, is {p}")
    elif len(set(predefined)) > p:
        yield Finding("predefined", f"{len(set(predefined))} sites stand already, {p} are to be opened in all")


def _value_findings(cost: xr.DataArray, radius: float | None, kind: type[Location]) -> Iterator[Finding]:
    wrong = ~((cost >= 0) & (abs(cost) < np.inf))
    if bool(wrong.any()):
        fix = "pairs without a way: leave the client or the site out"
        yield Finding("cost_matrix", f"must be finite and at least 0, is not at {labels_where(wrong)}", fix)
    if radius is None:
        return
    if not (np.isfinite(radius) and radius >= 0):
        yield Finding("service_radius", f"must be a finite number, at least 0, is {radius}")
    elif "p_facilities" not in kind.needs:
        far = (cost > radius).all("facility")
        if bool(far.any()):
            labels = shorten(cost["client"].values[far.values])
            yield Finding("service_radius", f"no site lies within {radius:g} of {labels}", "widen it or add sites")


def _label_findings(cost: xr.DataArray, clients: gpd.GeoDataFrame, sites: gpd.GeoDataFrame) -> Iterator[Finding]:
    for dim, layer in {"client": clients, "facility": sites}.items():
        missing = pd.Index(layer["id"]).difference(cost.indexes[dim])
        if len(missing):
            yield Finding("cost", f"no value for {dim} {shorten(missing)}", "its labels are the ids of the layers")
