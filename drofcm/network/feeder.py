"""A radial feeder with labels: checked, oriented away from its sources, with sums along the tree.

Everything linear that a radial network does is one of two sums: along the path from the source to a bus
(voltage falls, outages), and over everything that a bus feeds (flows). Numbering buses from the source outwards
makes both of them a triangular solve with the sparse matrix I - P, P the parent of each bus.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import networkx as nx
import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse.linalg import spsolve_triangular

from drofcm.core.errors import Finding, InputError, raise_if_any, shorten, suggest
from drofcm.core.units import check_quantities
from drofcm.data import FEEDER_BUSES, FEEDER_LINES

__all__ = ["Feeder"]


@dataclass(frozen=True, eq=False)
class Feeder:
    """A forest of buses with one source per tree; build it with `from_tables`.

    Attributes
    ----------
    name
        Name of the dataset.
    nominal_kv
        Line-to-line voltage base, kV.
    sources
        Labels of the source buses.
    table
        The tables of `drofcm.data.load_feeder`, with ``from_bus`` on the side of the source in every line.
    parent
        Position of the next bus towards the source, over bus; -1 at a source.
    feeding_line
        Position of the line towards the source, over bus; -1 at a source.
    order
        Positions of the buses from the sources outwards.
    """

    name: str
    nominal_kv: float
    sources: tuple[str, ...]
    table: xr.Dataset
    parent: NDArray[np.int64]
    feeding_line: NDArray[np.int64]
    order: NDArray[np.int64]

    @classmethod
    def from_tables(cls, table: xr.Dataset) -> Feeder:
        """Check the tables of a feeder and orient its lines.

        Parameters
        ----------
        table
            As returned by `drofcm.data.load_feeder`: ``base_load`` [MW], ``base_reactive`` [Mvar] over bus;
            ``from_bus``, ``to_bus``, ``resistance``, ``reactance`` [ohm], ``rating`` [MVA] over line; attributes
            ``nominal_kv``, ``source_bus`` and ``name``. Lines may be given in either direction.

        Raises
        ------
        InputError
            With every finding, naming buses and lines: wrong unit, sign or missing figure, duplicate label,
            unknown bus, zero impedance, loop, island, several sources in one tree.
        """
        name = str(table.attrs.get("name", "feeder"))
        sources = _sources(table)
        findings = list(_table_findings(table, sources, name))
        raise_if_any(findings)
        graph = _graph(table)
        raise_if_any(_topology_findings(graph, sources, name))
        return cls(name, float(table.attrs["nominal_kv"]), sources, *_orient(table, graph, sources))

    @property
    def bus(self) -> pd.Index:
        """Labels of the buses."""
        return self.table.indexes["bus"]

    @property
    def line(self) -> pd.Index:
        """Labels of the lines."""
        return self.table.indexes["line"]

    @cached_property
    def fed_bus(self) -> NDArray[np.int64]:
        """Position of the bus at the far end of each line, over line."""
        fed = np.empty(len(self.line), dtype=np.int64)
        buses = np.flatnonzero(self.feeding_line >= 0)
        fed[self.feeding_line[buses]] = buses
        return fed

    @cached_property
    def _outwards(self) -> sparse.csr_array:
        """I - P with the buses in `order`: unit lower triangular, since a parent comes before its children."""
        count = len(self.bus)
        rank = np.empty(count, dtype=np.int64)
        rank[self.order] = np.arange(count)
        child = np.flatnonzero(self.parent >= 0)
        parents = sparse.csr_array((np.ones(len(child)), (rank[child], rank[self.parent[child]])), (count, count))
        return sparse.csr_array(sparse.eye_array(count) - parents)

    def path_sum(self, values: NDArray[np.floating]) -> NDArray[np.float64]:
        """For each bus the sum of ``values`` on the path from its source; (bus, ...) to (bus, ...)."""
        return self._solve(self._outwards, values, lower=True)

    def subtree_sum(self, values: NDArray[np.floating]) -> NDArray[np.float64]:
        """For each bus the sum of ``values`` over itself and all it feeds; (bus, ...) to (bus, ...)."""
        return self._solve(sparse.csr_array(self._outwards.T), values, lower=False)

    def _solve(self, matrix: sparse.csr_array, values: NDArray[np.floating], lower: bool) -> NDArray[np.float64]:
        flat = np.asarray(values, dtype=np.float64).reshape(len(self.bus), -1)
        sums = np.empty_like(flat)
        sums[self.order] = spsolve_triangular(matrix, flat[self.order], lower=lower, unit_diagonal=True)
        return sums.reshape(np.shape(values))

    def along_lines(self, values: NDArray[np.floating]) -> NDArray[np.float64]:
        """``values`` over line as an array over bus: that of the feeding line, 0 at the sources."""
        over_bus = np.zeros((len(self.bus), *np.shape(values)[1:]))
        over_bus[self.fed_bus] = values
        return over_bus

    def aligned(self, array: xr.DataArray, dim: str, unit: str, name: str) -> xr.DataArray:
        """``array`` in the order of the feeder's buses or lines.

        Parameters
        ----------
        array
            Has dimension ``dim``, ``"bus"`` or ``"line"``, with exactly the feeder's labels in any order.
        unit
            Refused if ``attrs["units"]`` states another one.
        name
            How the array is called in messages.

        Raises
        ------
        InputError
            If dimension, labels or unit differ, or a value is missing.
        """
        own = self.table.indexes[dim]
        if dim not in array.indexes:
            raise InputError([Finding(name, f"has no labels along {dim!r}", f"has ({shorten(array.dims)})")])
        findings = []
        missing, surplus = own.difference(array.indexes[dim]), array.indexes[dim].difference(own)
        if len(missing):
            findings.append(Finding(name, f"no value for {dim} {shorten(missing.to_numpy())}"))
        if len(surplus):
            findings.append(Finding(name, f"{dim} {shorten(surplus.to_numpy())} not in feeder {self.name!r}"))
        if not array.indexes[dim].is_unique:
            findings.append(Finding(name, f"duplicate labels along {dim!r}"))
        if array.attrs.get("units", unit) != unit:
            findings.append(Finding(name, f"unit is {array.attrs['units']!r}, {unit!r} is needed"))
        if bool(array.isnull().any()):
            findings.append(Finding(name, "NaN among the values", "fill in the missing figures"))
        raise_if_any(findings)
        return array.sel({dim: own})

    def positions(self, bus: Sequence[str] | NDArray[np.str_] | xr.DataArray) -> NDArray[np.int64]:
        """Positions of the buses with these labels; `InputError` for labels unknown or given twice."""
        labels = pd.Index(np.asarray(bus, dtype=object))
        findings = [
            Finding(f"bus {label!r}", f"not in feeder {self.name!r}", suggest(str(label), self.bus))
            for label in labels.unique().difference(self.bus, sort=False)
        ]
        if not labels.is_unique:
            findings.append(Finding("bus", f"given twice: {shorten(labels[labels.duplicated()].unique().to_numpy())}"))
        raise_if_any(findings)
        return np.asarray(self.bus.get_indexer(labels), dtype=np.int64)


# ==== Checks ============================================================================================


def _sources(table: xr.Dataset) -> tuple[str, ...]:
    given = table.attrs.get("source_bus", ())
    return (given,) if isinstance(given, str) else tuple(str(label) for label in given)


def _table_findings(table: xr.Dataset, sources: tuple[str, ...], name: str) -> Iterator[Finding]:
    ends = [end for end in ("from_bus", "to_bus") if end in table.data_vars]
    yield from check_quantities(table.drop_vars(ends), {**FEEDER_BUSES, **FEEDER_LINES}, f"feeder {name!r}")
    if not table.attrs.get("nominal_kv", 0) > 0:
        yield Finding(f"feeder {name!r}", "attribute 'nominal_kv' must state the line-to-line voltage in kV")
    if not sources:
        yield Finding(f"feeder {name!r}", "attribute 'source_bus' must name at least one bus")
    known = set(table.indexes["bus"]) if "bus" in table.indexes else set()
    for bus in sources:
        if bus not in known:
            yield Finding(f"feeder {name!r}: source_bus", f"unknown bus {bus!r}", suggest(bus, known))
    for end in ("from_bus", "to_bus"):
        if end not in ends:
            yield Finding(f"feeder {name!r}[{end!r}]", "missing: bus at one end of each line")
            continue
        for line, bus in zip(table["line"].values.tolist(), table[end].values.tolist(), strict=True):
            if bus not in known:
                yield Finding(
                    f"feeder {name!r}, line {line!r}: {end}", f"unknown bus {bus!r}", suggest(str(bus), known)
                )
    if {"resistance", "reactance"} <= set(table.data_vars):
        zero = (table["resistance"] == 0) & (table["reactance"] == 0)
        for line in table["line"].values[zero.values].tolist():
            yield Finding(
                f"feeder {name!r}, line {line!r}", "impedance is zero", "a closed switch joins two buses: make them one"
            )


def _graph(table: xr.Dataset) -> nx.MultiGraph[str]:
    graph: nx.MultiGraph[str] = nx.MultiGraph()
    graph.add_nodes_from(table["bus"].values.tolist())
    ends = (table[name].values.tolist() for name in ("from_bus", "to_bus", "line"))
    graph.add_edges_from(zip(*ends, strict=True))
    return graph


def _topology_findings(graph: nx.MultiGraph[str], sources: tuple[str, ...], name: str) -> Iterator[Finding]:
    for buses in nx.connected_components(graph):
        tree = graph.subgraph(buses)
        feeding = [bus for bus in sources if bus in buses]
        if not feeding:
            yield Finding(
                f"feeder {name!r}, bus {shorten(sorted(buses))}",
                "an island: no line leads to a source",
                "connect these buses or leave them out",
            )
        if len(feeding) > 1:
            yield Finding(
                f"feeder {name!r}, bus {shorten(feeding)}",
                "several sources in one connected tree: how they share the load would be undefined",
                "open a line between them or keep one source",
            )
        if tree.number_of_edges() >= tree.number_of_nodes():
            yield from _loops(tree, name)


def _loops(graph: nx.MultiGraph[str], name: str) -> Iterator[Finding]:
    """One finding for each line that a spanning tree does without."""
    tree: nx.Graph[str] = nx.Graph()
    for bus, other, line in nx.minimum_spanning_edges(graph, keys=True, data=False):
        tree.add_edge(bus, other, line=line)
    kept = set(nx.get_edge_attributes(tree, "line").values())
    for bus, other, line in graph.edges(keys=True):
        if line in kept:
            continue
        around = [] if bus == other else nx.shortest_path(tree, bus, other)
        others = [tree.edges[pair]["line"] for pair in itertools.pairwise(around)]
        yield Finding(
            f"feeder {name!r}, line {line!r}",
            f"closes a loop with line {shorten(others, most=40)}" if others else "both ends are the same bus",
            "the feeder must be radial: leave one line of the loop open, that is, out of the table",
        )


def _orient(
    table: xr.Dataset, graph: nx.MultiGraph[str], sources: tuple[str, ...]
) -> tuple[xr.Dataset, NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """The table with lines away from the source, and parent, feeding line and outward order of the buses."""
    bus, line = table.indexes["bus"], table.indexes["line"]
    place = {label: position for position, label in enumerate(bus)}
    line_place = {label: position for position, label in enumerate(line)}
    parent, feeding_line = np.full(len(bus), -1), np.full(len(bus), -1)
    ends: dict[int, tuple[str, str]] = {}
    order = []
    for source in sources:
        order.append(place[source])
        for near, far in nx.bfs_edges(graph, source):
            position = line_place[next(iter(graph[near][far]))]
            parent[place[far]], feeding_line[place[far]] = place[near], position
            ends[position] = near, far
            order.append(place[far])
    from_bus, to_bus = zip(*(ends[position] for position in range(len(line))), strict=True) if ends else ((), ())
    oriented = table.assign(from_bus=("line", np.array(from_bus, str)), to_bus=("line", np.array(to_bus, str)))
    return oriented, parent, feeding_line, np.array(order, dtype=np.int64)
