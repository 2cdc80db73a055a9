"""Facility location: p-median, maximal coverage, set covering, p-centre and capacitated fixed charge.

Written in the two-stage language: sites are opened before, clients assigned after; with one scenario these are the
problems of the textbooks. They choose places by travel alone, which makes them yardsticks and starts for the full plan.

References
----------
Hakimi, S. L. (1964). Optimum locations of switching centers and the absolute centers and medians of a graph.
Operations Research 12, 450-459 (p-median, p-centre).
Toregas, C., Swain, R., ReVelle, C. and Bergman, L. (1971). The location of emergency service facilities. Operations
Research 19, 1363-1373 (set covering).
Church, R. and ReVelle, C. (1974). The maximal covering location problem. Papers in Regional Science 32, 101-118.
Beasley, J. E. (1988). An algorithm for solving large capacitated warehouse location problems. European Journal of
Operational Research 33, 314-325 (capacitated fixed charge).
"""

from __future__ import annotations

import linopy
import xarray as xr
from linopy.expressions import LinearExpression

from drofcm.dsl.program import TwoStageProgram
from drofcm.dsl.stage import Stage
from drofcm.problems.facility_location_data import Location

__all__ = ["CapacitatedFixedCharge", "MaximalCoverage", "PCentre", "PMedian", "SetCovering"]


class PMedian(Location):
    """Open p sites so that the weighted sum of what it costs to serve every client from its site is least."""

    needs = ("weights", "p_facilities")

    def program(self) -> TwoStageProgram:
        """The program, to be looked at or extended."""
        return TwoStageProgram(self.data, first_stage=open_sites, recourse=assign)


class CapacitatedFixedCharge(Location):
    """Open sites at a fixed cost each, and serve every client in parts from sites within their capacity.

    The cost of a pair is that of serving the whole client; ``weights`` are what clients take of the capacity.
    """

    needs = ("weights", "fixed_cost", "capacity")

    def program(self) -> TwoStageProgram:
        """The program, to be looked at or extended."""
        return TwoStageProgram(self.data, first_stage=open_sites, recourse=assign_within_capacity)


class MaximalCoverage(Location):
    """Open p sites so that the weight of clients farther than the service radius from every one of them is least.

    The objective is the weight that is not covered; `LocationResult.covered` names the rest.
    """

    needs = ("weights", "p_facilities", "service_radius")

    def program(self) -> TwoStageProgram:
        """The program, to be looked at or extended."""
        return TwoStageProgram(self.data, first_stage=open_sites, recourse=cover)


class SetCovering(Location):
    """Open as few sites as possible so that every client lies within the service radius of one."""

    needs = ("service_radius",)

    def program(self) -> TwoStageProgram:
        """The program, to be looked at or extended."""
        return TwoStageProgram(self.data, first_stage=open_few_sites, recourse=cover_all)


class PCentre(Location):
    """Open p sites so that the client that is served worst is served as well as possible."""

    needs = ("p_facilities",)

    def program(self) -> TwoStageProgram:
        """The program, to be looked at or extended."""
        return TwoStageProgram(self.data, first_stage=open_sites, recourse=reach)


# ==== Stages ============================================================================================


def open_sites(m: Stage, data: xr.Dataset) -> LinearExpression:
    """Sites at their fixed cost, p of them if their number is given, those that stand already among them."""
    opened = m.binary("opened", over="facility")
    m.subject_to("predefined", opened >= data.predefined)
    if "p_facilities" in data:
        m.subject_to("number", opened.sum("facility") == data.p_facilities)
    cost: LinearExpression = (data.fixed_cost * opened).sum("facility")
    return cost


def open_few_sites(m: Stage, data: xr.Dataset) -> LinearExpression:
    """Every site counts one."""
    opened = m.binary("opened", over="facility")
    m.subject_to("predefined", opened >= data.predefined)
    count: LinearExpression = opened.sum("facility")
    return count


def assign(m: Stage, data: xr.Dataset) -> LinearExpression:
    """Every client to an open site; shares need not be whole, because the nearest open site takes all."""
    assigned = _assigned(m, m.nonnegative("assigned", over="client facility"))
    cost: LinearExpression = (data.weights * data.cost * assigned).sum(["client", "facility"])
    return cost


def assign_within_capacity(m: Stage, data: xr.Dataset) -> LinearExpression:
    """Shares of clients to open sites, within the capacity of each."""
    assigned = _assigned(m, m.nonnegative("assigned", over="client facility"))
    m.subject_to("capacity", (data.weights * assigned).sum("client") <= data.capacity * m["opened"])
    cost: LinearExpression = (data.cost * assigned).sum(["client", "facility"])
    return cost


def reach(m: Stage, data: xr.Dataset) -> LinearExpression:
    """Every client to one open site; the worst cost of all counts."""
    assigned = _assigned(m, m.binary("assigned", over="client facility"))
    worst = m.nonnegative("worst")
    m.subject_to("worst", (data.cost * assigned).sum("facility") <= worst)
    return 1 * worst


def cover(m: Stage, data: xr.Dataset) -> LinearExpression:
    """A client is covered if an open site lies within the radius; the weight of the others counts."""
    covered = m.nonnegative("covered", over="client", upper=1.0)
    m.subject_to("within", covered <= (data.covers * m["opened"]).sum("facility"))
    missed: LinearExpression = (data.weights - data.weights * covered).sum("client")
    return missed


def cover_all(m: Stage, data: xr.Dataset) -> LinearExpression:
    """Every client is covered; being covered costs nothing."""
    covered = m.nonnegative("covered", over="client", upper=1.0)
    m.subject_to("within", covered <= (data.covers * m["opened"]).sum("facility"))
    m.subject_to("everyone", covered >= 1)
    nothing: LinearExpression = (0 * covered).sum("client")
    return nothing


def _assigned(m: Stage, assigned: linopy.Variable) -> linopy.Variable:
    m.subject_to("everyone", assigned.sum("facility") == 1)
    m.subject_to("open", assigned <= m["opened"])
    return assigned
