"""The optimum of a tiny demand-shock problem by enumeration, written from FORMULATION A.2 to A.4 in plain Python.

Every integer first stage, and for every scenario every number of modules sent and every ``stabilised``, is tried; what
remains is a continuous dispatch, solved by `scipy.optimize.linprog` row by row as the text has it. Nothing is shared
with the model page or with the certificate.
"""

from __future__ import annotations

import copy
import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import xarray as xr
from scipy.optimize import linprog

from drofcm.core.dims import DEMAND_SHOCK_DATA

Sent = tuple[tuple[tuple[str, str, str], int], ...]
"""Modules sent as sorted ((node, hub, fcm), number) with number > 0."""

_SIDES = 12


class Figures:
    """The data as dictionaries from labels to numbers."""

    def __init__(self, data: xr.Dataset) -> None:
        self.data = data
        self._tables = {str(name): _table(data[name]) for name in data.data_vars}
        self.has_scenario_travel = "scenario" in data.travel_time.dims
        self.by_technology = "shortfall_by_technology" in data and float(data.shortfall_by_technology) == 1
        self.nodes = [str(label) for label in data.node.values]
        self.hubs = [str(label) for label in data.hub.values]
        self.fcms = [str(label) for label in data.fcm.values]
        self.suppliers = [str(label) for label in data.supplier.values]
        self.buses = [str(label) for label in data.bus.values]
        self.lines = [str(label) for label in data.line.values]
        self.times = [int(label) for label in data.time.values]
        self.scenarios = [int(label) for label in data.scenario.values]
        self.start, self.end, clock = [], [], 0.0
        for t in self.times:
            self.start.append(clock)
            clock += self("step_length", t)
            self.end.append(clock)

    def __call__(self, name: str, *labels: Any) -> float:
        return self._tables[name][labels]

    def kind(self, fcm: str) -> str:
        if self("stores", fcm) == 1:
            return "store"
        return "generator" if self("travels", fcm) == 1 else "contract"

    def transport(self, fcm: str) -> float:
        """$ a module, km and year."""
        return self("transport_cost", fcm) / self("life", fcm) if self("travels", fcm) == 1 else 0.0

    def ready(self, s: int, hub: str, node: str, fcm: str) -> float:
        where = (s, hub, node) if self.has_scenario_travel else (hub, node)
        return self("travels", fcm) * self("travel_time", *where) + self("deployment_time", fcm)

    def imbalance(self, s: int, node: str, t: int) -> float:
        return self("shock", s, node, t) + (1 - self("energised", s, node)) * self("base_load", node)

    def concerned(self, s: int) -> list[str]:
        """Nodes with something to balance."""
        return [i for i in self.nodes if any(self.imbalance(s, i, t) != 0 for t in self.times)]


def _table(array: xr.DataArray) -> dict[tuple[Any, ...], float]:
    order = [dim for dim in ("scenario", *DEMAND_SHOCK_DATA[str(array.name)].dims) if dim in array.dims]
    array = array.transpose(*dict.fromkeys(order))
    labels = [array.indexes[dim].tolist() for dim in array.dims]
    return {
        key: float(value) for key, value in zip(itertools.product(*labels), array.values.ravel().tolist(), strict=True)
    }


@dataclass
class _LinearProgram:
    names: dict[tuple[Any, ...], int] = field(default_factory=dict)
    bounds: list[tuple[float | None, float | None]] = field(default_factory=list)
    cost: list[float] = field(default_factory=list)
    upper: list[tuple[dict[int, float], float]] = field(default_factory=list)
    equal: list[tuple[dict[int, float], float]] = field(default_factory=list)

    def variable(self, name: tuple[Any, ...], low: float | None, high: float | None, cost: float = 0.0) -> None:
        self.names[name] = len(self.bounds)
        self.bounds.append((low, high))
        self.cost.append(cost)

    def at_most(self, terms: list[tuple[float, tuple[Any, ...]]], right: float) -> None:
        self.upper.append((self._collect(terms), right))

    def equals(self, terms: list[tuple[float, tuple[Any, ...]]], right: float) -> None:
        self.equal.append((self._collect(terms), right))

    def _collect(self, terms: list[tuple[float, tuple[Any, ...]]]) -> dict[int, float]:
        """Variables that do not exist are zero."""
        row: dict[int, float] = {}
        for factor, name in terms:
            if name in self.names:
                row[self.names[name]] = row.get(self.names[name], 0.0) + factor
        return row

    def solve(self) -> tuple[float, dict[tuple[Any, ...], float]] | None:
        result = linprog(
            self.cost,
            **dict(zip(("A_ub", "b_ub"), self._matrix(self.upper), strict=True)),
            **dict(zip(("A_eq", "b_eq"), self._matrix(self.equal), strict=True)),
            bounds=self.bounds,
            method="highs",
        )
        if result.status == 2:
            return None
        assert result.status == 0, result.message
        return float(result.fun), {name: float(result.x[column]) for name, column in self.names.items()}

    def _matrix(self, rows: list[tuple[dict[int, float], float]]) -> tuple[np.ndarray, np.ndarray]:
        matrix = np.zeros((len(rows), len(self.bounds)))
        for r, (row, _) in enumerate(rows):
            for column, factor in row.items():
                matrix[r, column] = factor
        return matrix, np.array([right for _, right in rows])


def dispatch(
    f: Figures, s: int, sent: Sent, stabilised: dict[str, int]
) -> tuple[float, dict[tuple[Any, ...], float]] | None:
    """Recourse cost of an event ($) at fixed integers, and the dispatch; None if the rows contradict each other."""
    lp = _LinearProgram()
    here = f.concerned(s)
    n = {
        (i, fc, t): sum(
            number for (j, d, m), number in sent if (j, m) == (i, fc) and f.ready(s, d, i, fc) <= f.start[t] + 1e-9
        )
        for i in here
        for fc in f.fcms
        for t in f.times
    }
    for i in here:
        _fleets(lp, f, i, n)
        _node(lp, f, s, i, n, stabilised[i])
    for t in f.times:
        lp.at_most([(1, ("g", i, t)) for i in here], f("feeder_headroom"))
    _network(lp, f, s, here)
    solved = lp.solve()
    if solved is None:
        return None
    fixed = sum(shortfall(f, s, i, sent) for i in f.nodes)
    fixed += sum(
        f("unserved_penalty", i) * (1 - stabilised[i]) * f("critical_load", i) * f("interruption_time", i) for i in here
    )
    values = {**solved[1], **{("n", *key): float(value) for key, value in n.items()}}
    return solved[0] + fixed, values


def missing_share(f: Figures, s: int, node: str, sent: Sent) -> float:
    """Share of the need of a node that is without modules, where each is a part of what could be used alone."""
    return max(0.0, 1 - sum(number / f("usable", s, node, fc) for (i, _, fc), number in sent if i == node))


def shortfall(f: Figures, s: int, node: str, sent: Sent) -> float:
    """What missing modules cost at a node, $ an event."""
    need = {fc: f("requirement", s, node, fc) for fc in f.fcms}
    if f.by_technology:
        missing = {fc: need[fc] - sum(x for (i, _, m), x in sent if (i, m) == (node, fc)) for fc in f.fcms}
    else:
        share = missing_share(f, s, node, sent)
        missing = {fc: share * need[fc] for fc in f.fcms}
    return sum(f("shortfall_penalty", fc, node) * missing[fc] for fc in f.fcms)


def _fleets(lp: _LinearProgram, f: Figures, i: str, n: dict[tuple[str, str, int], int]) -> None:
    for fc in f.fcms:
        kind, last = f.kind(fc), f.times[-1]
        for t in f.times:
            dt, most = f("step_length", t), f("power", fc) * n[i, fc, t]
            cost = f("dispatch_cost", fc) * dt
            if kind == "store":
                lp.variable(("charge", i, fc, t), 0, None if f("absorbs", fc) else 0)
                lp.variable(("discharge", i, fc, t), 0, None, cost)
                lp.variable(("soc", i, fc, t), 0, f("energy", fc) * n[i, fc, t])
                lp.at_most([(1, ("charge", i, fc, t)), (1, ("discharge", i, fc, t))], most)
                new = n[i, fc, t] - (n[i, fc, t - 1] if t > 0 else 0)
                lp.equals(
                    [
                        (1, ("soc", i, fc, t)),
                        (-1, ("soc", i, fc, t - 1)),
                        (-dt * f("eta_charge", fc), ("charge", i, fc, t)),
                        (dt / f("eta_discharge", fc), ("discharge", i, fc, t)),
                    ],
                    f("initial_soc", fc) * f("energy", fc) * new,
                )
            else:
                lp.variable((kind, i, fc, t), 0, most, cost)
            for sign in (1, -1):
                lp.at_most(
                    [(sign * a, (k, i, fc, t)) for a, k in _NET] + [(-sign * a, (k, i, fc, t - 1)) for a, k in _NET],
                    f("ramp", fc) * dt * n[i, fc, t],
                )
        if kind != "store":
            lp.at_most([(f("step_length", t), (kind, i, fc, t)) for t in f.times], f("energy", fc) * n[i, fc, last])


_NET = ((1, "discharge"), (-1, "charge"), (1, "generator"), (1, "contract"))


def _node(lp: _LinearProgram, f: Figures, s: int, i: str, n: dict[tuple[str, str, int], int], stabilised: int) -> None:
    live, critical, band = f("energised", s, i), f("critical_load", i), f("stability_band", i)
    for t in f.times:
        dt, needed = f("step_length", t), f.imbalance(s, i, t)
        total = max(f("base_load", i) + f("shock", s, i, t), 0)
        follow = live * f("supply_headroom", i)
        followed = live * min(f("supply_headroom", i), f("supply_ramp", i) * f.end[t])
        largest_surge = max(max(f.imbalance(s, i, other), 0) for other in f.times)
        modules = sum(f("power", fc) * f("usable", s, i, fc) for fc in f.fcms)
        m_minus = max(-needed, 0) + followed + min(modules, largest_surge + followed)
        m_plus = max(needed, 0)
        if stabilised and f.start[t] >= f("stabilise_within", i) - 1e-9:
            m_plus, m_minus = min(m_plus, band), min(m_minus, band)
        lp.variable(("g", i, t), -follow, follow)
        lp.variable(("critical", i, t), 0, min(critical, total), f("critical_penalty", i) * dt)
        lp.variable(("flexible", i, t), 0, max(total - critical, 0), f("flexible_penalty", i) * dt)
        lp.variable(("surplus", i, t), 0, m_minus, f("surplus_penalty", i) * dt)
        contracts = [(1.0, ("contract", i, fc, t)) for fc in f.fcms]
        lp.at_most([(1, ("flexible", i, t)), *contracts], max(total - critical, 0))
        lp.at_most([(1, ("critical", i, t)), (1, ("flexible", i, t))], m_plus)
        lp.equals(
            [(a, (k, i, fc, t)) for a, k in _NET for fc in f.fcms]
            + [(1, ("g", i, t)), (1, ("critical", i, t)), (1, ("flexible", i, t)), (-1, ("surplus", i, t))],
            needed,
        )
        for sign in (1, -1):
            lp.at_most([(sign, ("g", i, t)), (-sign, ("g", i, t - 1))], f("supply_ramp", i) * dt)


def _network(lp: _LinearProgram, f: Figures, s: int, here: list[str]) -> None:
    live = {i: f("energised", s, i) for i in f.nodes}
    for t in f.times:
        # change of withdrawal: variables, then constants of loads that are cut off
        active = {i: [(live[i], ("g", i, t)), (-live[i], ("surplus", i, t))] for i in here}
        modules = {i: [(a, (k, i, fc, t)) for a, k in _NET[:3] for fc in f.fcms] for i in here}
        reactive = {
            i: [(a * f("tan_phi", i) * live[i], k) for a, k in [(1, ("g", i, t)), (-1, ("surplus", i, t)), *modules[i]]]
            for i in here
        }
        lost = {i: (1 - live[i]) * f("base_load", i) for i in f.nodes}
        lost_q = {i: (1 - live[i]) * f("base_reactive", i) for i in f.nodes}
        for b in f.buses:
            if f("monitored_bus", b) != 1 or f("energised", s, b) == 0:
                continue
            lp.variable(("slack", b, t), 0, None, f("slack_penalty") * f("step_length", t))
            fall = [(2 * f("path_resistance", b, i) * a, k) for i in here for a, k in active[i]]
            fall += [(2 * f("path_reactance", b, i) * a, k) for i in here for a, k in reactive[i]]
            still = f("v_base", b) ** 2 + 2 * sum(
                f("path_resistance", b, i) * lost[i] + f("path_reactance", b, i) * lost_q[i] for i in f.nodes
            )
            lp.at_most([(-a, k) for a, k in fall] + [(-1, ("slack", b, t))], f("v_max", b) ** 2 - still)
            lp.at_most([*fall, (-1, ("slack", b, t))], still - f("v_min", b) ** 2)
        for e in f.lines:
            if f("monitored_line", e) != 1:
                continue
            flow = f("flow_base", e) - sum(f("downstream", e, i) * lost[i] for i in f.nodes)
            flow_q = f("flow_base_reactive", e) - sum(f("downstream", e, i) * lost_q[i] for i in f.nodes)
            for k in range(_SIDES):
                c, z = math.cos(2 * math.pi * k / _SIDES), math.sin(2 * math.pi * k / _SIDES)
                terms = [(c * f("downstream", e, i) * a, name) for i in here for a, name in active[i]]
                terms += [(z * f("downstream", e, i) * a, name) for i in here for a, name in reactive[i]]
                lp.at_most(terms, f("rating", e) * math.cos(math.pi / _SIDES) - c * flow - z * flow_q)


def _sendings(f: Figures, s: int) -> Iterator[Sent]:
    """Every way to send modules that arrive, within what is usable and what all suppliers have."""
    cells = []
    for i in f.nodes:
        for fc in f.fcms:
            hubs = [d for d in f.hubs if f.ready(s, d, i, fc) <= f.start[-1] + 1e-9]
            most = int(min(f("usable", s, i, fc), sum(f("stock", g, fc) for g in f.suppliers)))
            ways = [
                tuple(((i, d, fc), x) for d, x in zip(hubs, numbers, strict=True) if x > 0)
                for numbers in itertools.product(range(most + 1), repeat=len(hubs))
                if sum(numbers) <= most
            ]
            cells.append(ways)
    stock = {fc: sum(f("stock", g, fc) for g in f.suppliers) for fc in f.fcms}
    for choice in itertools.product(*cells):
        sent = tuple(sorted(entry for way in choice for entry in way))
        if all(sum(x for (_, _, m), x in sent if m == fc) <= stock[fc] for fc in f.fcms):
            yield sent


def _stagings(f: Figures) -> Iterator[dict[tuple[str, str, str], int]]:
    """Every allocation of the stock of every supplier to hubs."""
    keys = [(g, fc) for g in f.suppliers for fc in f.fcms]
    ways = []
    for g, fc in keys:
        most = int(f("stock", g, fc))
        ways.append([x for x in itertools.product(range(most + 1), repeat=len(f.hubs)) if sum(x) <= most])
    for choice in itertools.product(*ways):
        yield {
            (g, d, fc): x
            for (g, fc), numbers in zip(keys, choice, strict=True)
            for d, x in zip(f.hubs, numbers, strict=True)
        }


def mean_cvar(cost: list[float], probability: list[float], weights: dict[str, Any]) -> float:
    """``{"expectation": a, "cvar": [(alpha, b)]}`` by filling the tail from the worst scenario down."""
    value = weights.get("expectation", 0.0) * sum(p * q for p, q in zip(probability, cost, strict=True))
    for alpha, weight in weights.get("cvar", ()):
        left, tail = 1 - alpha, 0.0
        for q, p in sorted(zip(cost, probability, strict=True), reverse=True):
            tail += q * min(p, left)
            left -= min(p, left)
        value += weight * tail / (1 - alpha)
    return value


@dataclass
class Optimum:
    """The best plan, with the recourse that goes with it."""

    objective: float
    active: dict[str, int]
    shipped: dict[tuple[str, str, str], int]
    recourse: dict[int, tuple[float, Sent, dict[str, int]]]
    programs: int


class Enumeration:
    """Values of every recourse, from which the optimum for any risk measure follows."""

    def __init__(self, data: xr.Dataset) -> None:
        self.figures = f = Figures(data)
        self.programs = 0
        self._values: dict[int, list[tuple[float, Sent, dict[str, int]]]] = {}
        for s in f.scenarios:
            rows = []
            here = f.concerned(s)
            for sent in _sendings(f, s):
                for choice in itertools.product((0, 1), repeat=len(here)):
                    stabilised = dict(zip(here, choice, strict=True))
                    self.programs += 1
                    solved = dispatch(f, s, sent, stabilised)
                    if solved is not None:
                        rows.append((solved[0], sent, stabilised))
            self._values[s] = sorted(rows, key=lambda row: row[0])

    def with_first_stage_of(self, data: xr.Dataset) -> Enumeration:
        """The same recourse values for data that differ in the rows of the first stage only."""
        other = copy.copy(self)
        other.figures = Figures(data)
        return other

    def recourse(self, s: int, staged: dict[tuple[str, str], int]) -> tuple[float, Sent, dict[str, int]]:
        """The cheapest recourse to the event with these modules at (hub, fcm)."""
        f = self.figures
        for row in self._values[s]:
            used: dict[tuple[str, str], int] = {}
            for (_, d, fc), x in row[1]:
                used[d, fc] = used.get((d, fc), 0) + x
            if all(x <= f("hub_available", s, d) * staged.get((d, fc), 0) for (d, fc), x in used.items()):
                return row
        raise AssertionError(f"scenario {s} has no recourse")

    def optimum(self, weights: dict[str, Any]) -> Optimum:
        """The best first stage under the risk measure."""
        f = self.figures
        probability = [f("probability", s) for s in f.scenarios]
        memory: dict[tuple[Any, ...], dict[int, tuple[float, Sent, dict[str, int]]]] = {}
        best: Optimum | None = None
        for shipped in _stagings(f):
            staged = {(d, fc): sum(shipped[g, d, fc] for g in f.suppliers) for d in f.hubs for fc in f.fcms}
            key = tuple(sorted(staged.items()))
            for choice in itertools.product((0, 1), repeat=len(f.hubs)):
                active = dict(zip(f.hubs, choice, strict=True))
                cost = _first_stage_cost(f, active, shipped)
                if cost is None:
                    continue
                if key not in memory:
                    memory[key] = {s: self.recourse(s, staged) for s in f.scenarios}
                yearly = [f("event_rate") * memory[key][s][0] for s in f.scenarios]
                objective = cost + mean_cvar(yearly, probability, weights)
                if best is None or objective < best.objective:
                    best = Optimum(objective, active, shipped, memory[key], self.programs)
        assert best is not None
        return best


def _first_stage_cost(f: Figures, active: dict[str, int], shipped: dict[tuple[str, str, str], int]) -> float | None:
    """Cost (1) of the plan, None if it breaks a row of the first stage."""
    count = sum(active.values())
    if not f("hub_minimum") <= count <= f("hub_maximum"):
        return None
    for d in f.hubs:
        if active[d] < f("hub_forced_in", d) or active[d] > 1 - f("hub_forced_out", d):
            return None
        room = sum(f("footprint", fc) * x for (_, e, fc), x in shipped.items() if e == d)
        if room > f("storage_limit", d) * active[d] + 1e-9:
            return None
    cost = sum(f("setup_cost", d) * active[d] for d in f.hubs)
    cost += sum((f.transport(fc) * f("distance", g, d) + f("module_cost", fc)) * x for (g, d, fc), x in shipped.items())
    limit = f("budget") if "budget" in f.data else math.inf
    return cost if cost <= limit + 1e-9 else None
