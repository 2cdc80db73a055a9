"""The demand-shock problem as plain rows and columns, written from FORMULATION A.1 to A.4 for scipy's own HiGHS.

Only what the text states: no row that merely tightens, no minimal fleet, no screening of the network, no bound that
follows from others. Figures are looked up by label; nothing is shared with the model page or with the certificate.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
import xarray as xr
from cases.enumeration import Figures
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import csr_array

Expression = dict[int, float]
"""Factor of each column; the column -1 is the constant."""

_SAME_INSTANT = 1e-9
_SIDES = 12
_MONEY = 1e-3  # solved in k$


def combine(parts: Iterable[tuple[float, Expression]]) -> Expression:
    """Weighted sum of expressions."""
    total: Expression = defaultdict(float)
    for factor, expression in parts:
        for column, own in expression.items():
            total[column] += factor * own
    return total


def constant(value: float) -> Expression:
    """An expression without columns."""
    return {-1: value}


@dataclass
class Rows:
    """A mixed-integer program that grows row by row."""

    lower: list[float] = field(default_factory=list)
    upper: list[float] = field(default_factory=list)
    whole: list[bool] = field(default_factory=list)
    rows: list[tuple[Expression, float, float]] = field(default_factory=list)

    def column(self, upper: float = math.inf, lower: float = 0.0, *, whole: bool = False) -> Expression:
        self.lower.append(lower)
        self.upper.append(upper)
        self.whole.append(whole)
        return {len(self.lower) - 1: 1.0}

    def within(self, expression: Expression, low: float, high: float) -> None:
        self.rows.append((expression, low, high))

    def at_most(self, left: Expression, right: Expression | float = 0.0) -> None:
        right = constant(right) if isinstance(right, int | float) else right
        self.within(combine([(1, left), (-1, right)]), -math.inf, 0.0)

    def equal(self, left: Expression, right: Expression | float = 0.0) -> None:
        right = constant(right) if isinstance(right, int | float) else right
        self.within(combine([(1, left), (-1, right)]), 0.0, 0.0)

    def least(self, cost: Expression) -> tuple[float, np.ndarray]:
        """The least cost and the columns; every row holds to the solver's tolerance."""
        at, entries, low, high = [], [], [], []
        for row, (expression, least, most) in enumerate(self.rows):
            fixed = expression.get(-1, 0.0)
            low.append(least - fixed)
            high.append(most - fixed)
            at += [(row, column) for column in expression if column >= 0]
            entries += [own for column, own in expression.items() if column >= 0]
        objective = np.zeros(len(self.lower))
        for column, own in cost.items():
            if column >= 0:
                objective[column] += own * _MONEY
        matrix = csr_array((entries, tuple(zip(*at, strict=True))), shape=(len(self.rows), len(self.lower)))
        found = milp(
            objective,
            integrality=np.array(self.whole),
            bounds=Bounds(np.array(self.lower), np.array(self.upper)),
            constraints=LinearConstraint(matrix, low, high),
            options={"mip_rel_gap": 0.0},
        )
        assert found.status == 0, found.message
        return found.fun / _MONEY + cost.get(-1, 0.0), found.x


class Problem:
    """Costs of plans and of the best plan.

    Parameters
    ----------
    data
        The labelled data of A.1.
    """

    def __init__(self, data: xr.Dataset) -> None:
        self.f = Figures(data)

    def recourse_cost(self, plan: xr.Dataset, scenario: int) -> float:
        """What an event costs at a plan, $/a, as if there were no other."""
        staged = plan.shipped.sum("supplier")
        rows = Rows()
        held = {(d, fc): constant(round(float(staged.sel(hub=d, fcm=fc)))) for d in self.f.hubs for fc in self.f.fcms}
        cost = Event(self.f, scenario, rows).cost(held)
        return self.f("event_rate") * rows.least(cost)[0]

    def optimum(self, expectation: float = 1.0, cvar: Mapping[float, float] | None = None) -> float:
        """The least of first-stage cost and weighted risk, $/a; ``cvar`` maps a level to its weight."""
        f, rows = self.f, Rows()
        first, held = self._first_stage(rows)
        events = {s: combine([(f("event_rate"), Event(f, s, rows).cost(held))]) for s in f.scenarios}
        parts = [(1.0, first)] + [(expectation * f("probability", s), events[s]) for s in f.scenarios]
        for alpha, weight in (cvar or {}).items():
            threshold = rows.column(lower=-math.inf)
            parts.append((weight, threshold))
            for s in f.scenarios:
                beyond = rows.column()
                rows.at_most(combine([(1, events[s]), (-1, threshold)]), beyond)
                parts.append((weight * f("probability", s) / (1 - alpha), beyond))
        return rows.least(combine(parts))[0]

    def _first_stage(self, rows: Rows) -> tuple[Expression, dict[tuple[str, str], Expression]]:
        """Cost (1) and the modules held at every hub, with (2) to (4)."""
        f = self.f
        active = {d: rows.column(1 - f("hub_forced_out", d), f("hub_forced_in", d), whole=True) for d in f.hubs}
        shipped = {(g, d, fc): rows.column(whole=True) for g in f.suppliers for d in f.hubs for fc in f.fcms}
        for g in f.suppliers:
            for fc in f.fcms:
                rows.at_most(combine((1, shipped[g, d, fc]) for d in f.hubs), f("stock", g, fc))
        for d in f.hubs:
            room = combine((f("footprint", fc), shipped[g, d, fc]) for g in f.suppliers for fc in f.fcms)
            rows.at_most(room, combine([(f("storage_limit", d), active[d])]))
        rows.within(combine((1, own) for own in active.values()), f("hub_minimum"), f("hub_maximum"))
        cost = combine(
            [(f("setup_cost", d), own) for d, own in active.items()]
            + [
                (f("module_cost", fc) + f.transport(fc) * f("distance", g, d), own)
                for (g, d, fc), own in shipped.items()
            ]
        )
        if "budget" in f.data:
            rows.at_most(cost, f("budget"))
        held = {(d, fc): combine((1, shipped[g, d, fc]) for g in f.suppliers) for d in f.hubs for fc in f.fcms}
        return cost, held


class Event:
    """Stage II of one scenario: its columns and rows are entered into ``rows``."""

    def __init__(self, figures: Figures, scenario: int, rows: Rows) -> None:
        self.f, self.s, self.rows = figures, scenario, rows
        self.here = figures.concerned(scenario)
        self.sent: dict[tuple[str, str, str], Expression] = {}
        self.arrived: dict[tuple[str, str, int], Expression] = {}
        self.output: dict[tuple[str, str, str, int], Expression] = {}
        self.follow: dict[tuple[str, int], Expression] = {}
        self.surplus: dict[tuple[str, int], Expression] = {}
        self.costs: list[tuple[float, Expression]] = []

    def cost(self, held: Mapping[tuple[str, str], Expression]) -> Expression:
        """Recourse cost (5), $ an event, with the modules that are held at every hub."""
        f = self.f
        self._send(held)
        for i in self.here:
            for fc in f.fcms:
                if (i, fc, 0) in self.arrived:
                    self._run(i, fc)
            self._supply(i)
            self._balance(i)
        for t in f.times:
            self.rows.at_most(combine((1, self.follow[i, t]) for i in self.here), f("feeder_headroom"))
        for i in f.nodes:
            self.costs.append((1, self._shortfall(i)))
        for t in f.times:
            self._network(t)
        return combine(self.costs)

    def _send(self, held: Mapping[tuple[str, str], Expression]) -> None:
        f, s, rows = self.f, self.s, self.rows
        for i in self.here:
            for fc in f.fcms:
                near = [d for d in f.hubs if f.ready(s, d, i, fc) <= f.start[-1] + _SAME_INSTANT]
                if f("usable", s, i, fc) == 0 or not near:
                    continue
                for d in near:
                    self.sent[i, d, fc] = rows.column(whole=True)
                rows.at_most(combine((1, self.sent[i, d, fc]) for d in near), f("usable", s, i, fc))  # (7)
                for t in f.times:
                    there = [d for d in near if f.ready(s, d, i, fc) <= f.start[t] + _SAME_INSTANT]
                    self.arrived[i, fc, t] = combine((1, self.sent[i, d, fc]) for d in there)
        for (d, fc), modules in held.items():
            leaving = combine((1, own) for (_, e, m), own in self.sent.items() if (e, m) == (d, fc))
            rows.at_most(leaving, combine([(f("hub_available", s, d), modules)]))  # (6)

    def _run(self, i: str, fc: str) -> None:
        """(10) to (12) for the fleet of a technology at a node."""
        f, rows, kind = self.f, self.rows, self.f.kind(fc)
        soc: Expression = {}
        before: dict[str, Expression] = {name: {} for name in ("net", "arrived")}
        for t in f.times:
            dt, n = f("step_length", t), self.arrived[i, fc, t]
            out = rows.column()
            name = {"store": "discharge", "generator": "generation", "contract": "called"}[kind]
            self.output[name, i, fc, t] = out
            self.costs.append((f("dispatch_cost", fc) * dt, out))
            net = out
            if kind == "store":
                charge = rows.column() if f("absorbs", fc) == 1 else {}
                self.output["charge", i, fc, t] = charge
                net = combine([(1, out), (-1, charge)])
                level = rows.column()
                new = combine([(1, n), (-1, before["arrived"])])
                rows.equal(
                    level,
                    combine(
                        [
                            (1, soc),
                            (dt * f("eta_charge", fc), charge),
                            (-dt / f("eta_discharge", fc), out),
                            (f("initial_soc", fc) * f("energy", fc), new),
                        ]
                    ),
                )
                rows.at_most(level, combine([(f("energy", fc), n)]))
                rows.at_most(combine([(1, charge), (1, out)]), combine([(f("power", fc), n)]))
                soc = level
            else:
                rows.at_most(out, combine([(f("power", fc), n)]))
            for sign in (1, -1):
                swing = combine([(sign, net), (-sign, before["net"])])
                rows.at_most(swing, combine([(f("ramp", fc) * dt, n)]))
            before = {"net": net, "arrived": n}
        if kind != "store":
            used = combine((f("step_length", t), self.output[name, i, fc, t]) for t in f.times)
            rows.at_most(used, combine([(f("energy", fc), self.arrived[i, fc, f.times[-1]])]))

    def _supply(self, i: str) -> None:
        f, rows = self.f, self.rows
        reach, earlier = f("energised", self.s, i) * f("supply_headroom", i), Expression()
        for t in f.times:
            self.follow[i, t] = own = rows.column(reach, -reach)
            step = f("supply_ramp", i) * f("step_length", t)
            rows.within(combine([(1, own), (-1, earlier)]), -step, step)
            earlier = own

    def _at_node(self, name: str, i: str, t: int) -> Iterator[Expression]:
        return (self.output[name, i, fc, t] for fc in self.f.fcms if (name, i, fc, t) in self.output)

    def _balance(self, i: str) -> None:
        """The node balance and (8)."""
        f, s, rows = self.f, self.s, self.rows
        stable = rows.column(1, whole=True)
        at_stake = f("unserved_penalty", i) * f("critical_load", i) * f("interruption_time", i)
        self.costs += [(1, constant(at_stake)), (-at_stake, stable)]
        band = f("stability_band", i)
        largest_surge = max(max(f.imbalance(s, i, t), 0.0) for t in f.times)
        for t in f.times:
            dt, wanted = f("step_length", t), f.imbalance(s, i, t)
            load = max(f("base_load", i) + f("shock", s, i, t), 0.0)
            followed = f("energised", s, i) * min(f("supply_headroom", i), f("supply_ramp", i) * f.end[t])
            all_modules = sum(f("power", fc) * f("usable", s, i, fc) for fc in f.fcms)
            most_left = max(-wanted, 0.0) + followed + min(all_modules, largest_surge + followed)  # M-
            critical = rows.column(min(f("critical_load", i), load))
            flexible = rows.column()
            surplus = self.surplus[i, t] = rows.column(most_left)
            called = [(1.0, own) for own in self._at_node("called", i, t)]
            unserved = combine([(1, critical), (1, flexible)])
            rows.at_most(combine([(1, flexible), *called]), max(load - f("critical_load", i), 0.0))
            rows.at_most(unserved, max(wanted, 0.0))
            met = [
                *called,
                *((1.0, own) for name in ("discharge", "generation") for own in self._at_node(name, i, t)),
                *((-1.0, own) for own in self._at_node("charge", i, t)),
                (1.0, self.follow[i, t]),
                (1.0, unserved),
                (-1.0, surplus),
            ]
            rows.equal(combine(met), wanted)
            if f.start[t] >= f("stabilise_within", i) - _SAME_INSTANT:
                for left, most in ((unserved, max(wanted, 0.0)), (surplus, most_left)):
                    beyond = max(most - band, 0.0)
                    rows.at_most(combine([(1, left), (beyond, stable)]), band + beyond)
            self.costs += [
                (f("critical_penalty", i) * dt, critical),
                (f("flexible_penalty", i) * dt, flexible),
                (f("surplus_penalty", i) * dt, surplus),
            ]

    def _shortfall(self, i: str) -> Expression:
        f, s = self.f, self.s
        price = {fc: f("shortfall_penalty", fc, i) for fc in f.fcms}
        sent = [(fc, own) for (j, _, fc), own in self.sent.items() if j == i]
        need = sum(price[fc] * f("requirement", s, i, fc) for fc in f.fcms)
        if f.by_technology:
            return combine([(1, constant(need)), *((-price[fc], own) for fc, own in sent)])
        if need == 0:
            return {}
        missing = self.rows.column()  # m_i
        met = combine((1 / f("usable", s, i, fc), own) for fc, own in sent)
        self.rows.at_most(combine([(1, constant(1.0)), (-1, met)]), missing)
        return combine([(need, missing)])

    def _network(self, t: int) -> None:
        """A.4: voltages with their slack, and ratings, at every monitored bus and line."""
        f, s, rows = self.f, self.s, self.rows
        active: dict[str, Expression] = {}
        reactive: dict[str, Expression] = {}
        for i in f.nodes:
            live = f("energised", s, i)
            net, modules = Expression(), Expression()
            if i in self.here:
                net = combine([(1, self.follow[i, t]), (-1, self.surplus[i, t])])
                sign = {"discharge": 1.0, "generation": 1.0, "charge": -1.0}
                modules = combine((sign[name], own) for name in sign for own in self._at_node(name, i, t))
            lost, lost_q = (1 - live) * f("base_load", i), (1 - live) * f("base_reactive", i)
            active[i] = combine([(live, net), (-1, constant(lost))])
            factor = live * f("tan_phi", i)
            reactive[i] = combine([(factor, net), (factor, modules), (-1, constant(lost_q))])
        for b in f.buses:
            if f("monitored_bus", b) == 1 and f("energised", s, b) == 1:
                falls = [(-2 * f("path_resistance", b, i), active[i]) for i in f.nodes]
                falls += [(-2 * f("path_reactance", b, i), reactive[i]) for i in f.nodes]
                slack = rows.column()
                self.costs.append((f("slack_penalty") * f("step_length", t), slack))
                squared = combine([(1, constant(f("v_base", b) ** 2)), *falls])
                rows.within(combine([(1, squared), (1, slack)]), f("v_min", b) ** 2, math.inf)
                rows.within(combine([(1, squared), (-1, slack)]), -math.inf, f("v_max", b) ** 2)
        for e in f.lines:
            if f("monitored_line", e) == 1:
                feeds = [i for i in f.nodes if f("downstream", e, i) == 1]
                p = combine([(1, constant(f("flow_base", e))), *((1, active[i]) for i in feeds)])
                q = combine([(1, constant(f("flow_base_reactive", e))), *((1, reactive[i]) for i in feeds)])
                for side in range(_SIDES):
                    angle = 2 * math.pi * side / _SIDES
                    along = combine([(math.cos(angle), p), (math.sin(angle), q)])
                    rows.at_most(along, f("rating", e) * math.cos(math.pi / _SIDES))
