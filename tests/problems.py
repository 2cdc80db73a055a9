"""Two-stage problems with published or closed-form optima, written as a user of the DSL writes them.

A problem is data: its labelled arrays, its two stages, the optimum and, where the source gives them, the values of
first-stage variables. An empty ``plan`` claims nothing about the first stage. Each names its source. Problems that
are read from the external benchmarks are functions of the file.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

import drofcm as dro

Stage = Callable[..., Any]


@dataclass(frozen=True)
class Problem:
    """A two-stage problem whose answer is known under ``risk``."""

    name: str
    source: str
    data: xr.Dataset
    first_stage: Stage
    recourse: Stage
    optimum: float
    plan: Mapping[str, Sequence[float]] = field(default_factory=dict)
    risk: Any = field(default_factory=lambda: dro.Expectation())

    def program(self) -> dro.TwoStageProgram:
        return dro.TwoStageProgram(self.data, first_stage=self.first_stage, recourse=self.recourse)


def relabelled(data: xr.Dataset, **labels: Sequence[Any]) -> xr.Dataset:
    return data.assign_coords({dim: np.asarray(names) for dim, names in labels.items()})


# ---- the farmer -----------------------------------------------------------------------------------------------------


def farmer_plan(m: dro.Stage, data: xr.Dataset) -> Any:
    area = m.nonnegative("area", over="crop")
    m.subject_to("land", area.sum() <= data.land)
    return (data.planting_cost * area).sum()


def farmer_harvest(m: dro.Stage, data: xr.Dataset) -> Any:
    bought = m.nonnegative("bought", over="crop", upper=data.purchase_limit)
    sold = m.nonnegative("sold", over="crop", upper=data.quota)
    surplus = m.nonnegative("sold_above_quota", over="crop", upper=data.surplus_limit)
    m.subject_to("feed", data.crop_yield * m["area"] + bought - sold - surplus >= data.feed)
    income = data.price * sold + data.surplus_price * surplus
    return (data.purchase_price * bought - income).sum("crop")


def farmer(risk: Any = None, optimum: float = -108390.0, plan: Sequence[float] = (170, 80, 250)) -> Problem:
    """The farmer of Birge and Louveaux; three equally likely harvests."""
    data = xr.Dataset(
        {
            "land": 500.0,
            "planting_cost": ("crop", [150.0, 230.0, 260.0]),
            "crop_yield": (("scenario", "crop"), [[3.0, 3.6, 24.0], [2.5, 3.0, 20.0], [2.0, 2.4, 16.0]]),
            "feed": ("crop", [200.0, 240.0, 0.0]),
            "purchase_price": ("crop", [238.0, 210.0, 0.0]),
            "purchase_limit": ("crop", [np.inf, np.inf, 0.0]),
            "price": ("crop", [170.0, 150.0, 36.0]),
            "quota": ("crop", [np.inf, np.inf, 6000.0]),
            "surplus_price": ("crop", [0.0, 0.0, 10.0]),
            "surplus_limit": ("crop", [0.0, 0.0, np.inf]),
            "probability": ("scenario", [1 / 3, 1 / 3, 1 / 3]),
        }
    )
    return Problem(
        name="farmer",
        source="Birge and Louveaux, Introduction to Stochastic Programming, 2nd ed., 1.1",
        data=relabelled(data, scenario=[0, 1, 2], crop=["wheat", "corn", "sugar_beet"]),
        first_stage=farmer_plan,
        recourse=farmer_harvest,
        optimum=optimum,
        plan={"area": plan},
        risk=risk or dro.Expectation(),
    )


# ---- the newsvendor -------------------------------------------------------------------------------------------------


def newsvendor_plan(m: dro.Stage, data: xr.Dataset) -> Any:
    ordered = m.nonnegative("ordered")
    return data.unit_cost * ordered


def newsvendor_day(m: dro.Stage, data: xr.Dataset) -> Any:
    sold = m.nonnegative("sold", upper=data.demand)
    returned = m.nonnegative("returned")
    m.subject_to("papers", sold + returned == m["ordered"])
    return -data.price * sold - data.salvage * returned


def newsvendor(alpha: float) -> Problem:
    """The newsvendor under CVaR(alpha).

    Income grows with demand, so the worst share 1 - alpha of days is the one of lowest demand, and the best order is
    the quantile (1 - alpha) (price - cost) / (price - salvage) of demand.
    """
    cost, price, salvage = 6.0, 10.0, 1.0
    demand = np.array([12.0, 20.0, 25.0, 31.0, 40.0, 55.0, 70.0])
    probability = np.array([0.10, 0.15, 0.20, 0.20, 0.15, 0.12, 0.08])
    ordered = demand[np.searchsorted(np.cumsum(probability), (1 - alpha) * (price - cost) / (price - salvage))]
    mass_below = np.concatenate([[0.0], np.cumsum(probability)[:-1]])
    tail = np.clip(1 - alpha - mass_below, 0.0, probability) / (1 - alpha)
    income = price * np.minimum(ordered, demand) + salvage * np.maximum(ordered - demand, 0.0)
    data = xr.Dataset(
        {
            "unit_cost": cost,
            "price": price,
            "salvage": salvage,
            "demand": ("scenario", demand),
            "probability": ("scenario", probability),
        }
    )
    return Problem(
        name=f"newsvendor, alpha {alpha}",
        source="Chen, Xu and Zhang, A Risk-Averse Newsvendor Model Under the CVaR Criterion, Oper. Res. 57 (2009)",
        data=relabelled(data, scenario=range(len(demand))),
        first_stage=newsvendor_plan,
        recourse=newsvendor_day,
        optimum=float(cost * ordered - tail @ income),
        plan={"ordered": [ordered]},
        risk=dro.CVaR(alpha),
    )


# ---- a portfolio robust over a continuous support -------------------------------------------------------------------


def portfolio_plan(m: dro.Stage, data: xr.Dataset) -> Any:
    """Shares of assets, the threshold of CVaR, and the price of a unit of transport."""
    share = m.nonnegative("share", over="asset")
    m.variable("threshold")
    m.subject_to("invested", share.sum() == 1)
    return data.radius * m.nonnegative("transport_price")


def portfolio_year(m: dro.Stage, data: xr.Dataset) -> Any:
    """The worst of the piecewise-linear loss around a sample, (12) of the source."""
    worst = m.variable("worst")
    support = m.nonnegative("support_price", over="piece asset")
    earned = (data.sample * m["share"]).sum("asset")
    away = (support * (data.sample - data.lowest)).sum("asset")
    m.subject_to("worst", data.slope * earned + data.offset * m["threshold"] + away <= worst)
    for name, sign in (("steepest_up", 1), ("steepest_down", -1)):
        m.subject_to(name, sign * (support + data.slope * m["share"]) <= m["transport_price"])
    return worst


def robust_portfolio() -> Problem:
    """Mean and CVaR of a portfolio over a Wasserstein ball around 30 samples whose support is all returns above -1.

    What `drofcm.Wasserstein` does not cover: there mass stays on the scenarios that are listed. With a continuous
    support the worst case moves samples anywhere within it; for a loss that is a maximum of linear pieces the dual is
    a linear program (Mohajerin Esfahani and Kuhn), written here as a two-stage program: a sample is a scenario, and
    the ball is in the rows.
    """
    assets, samples = np.arange(1, 11), 30
    generator = np.random.RandomState(1)  # the generator of the source, so that the samples are its samples
    common = 0.02 * generator.normal(size=(samples, 10))
    own = 0.03 * assets + 0.025 * assets * generator.normal(size=(samples, 10))
    aversion, alpha = 10.0, 0.2
    data = xr.Dataset(
        {
            "sample": (("scenario", "asset"), np.maximum(common + own, -1.0)),
            "lowest": -1.0,
            "radius": 0.01,
            "slope": ("piece", [-1.0, -1 - aversion / alpha]),
            "offset": ("piece", [aversion, aversion - aversion / alpha]),
        }
    )
    return Problem(
        name="robust portfolio",
        source="Mohajerin Esfahani and Kuhn, Data-driven DRO using the Wasserstein metric, Math. Program. 171 (2018), "
        "corollary 5.1; figures and optimum of RSOME's documentation",
        data=relabelled(data, scenario=range(samples), asset=assets, piece=["mean", "tail"]),
        first_stage=portfolio_plan,
        recourse=portfolio_year,
        optimum=-1.1362073575769465,
    )


# ---- capacity expansion of Louveaux and Smeers ----------------------------------------------------------------------


def lands_plan(m: dro.Stage, data: xr.Dataset) -> Any:
    capacity = m.nonnegative("capacity", over="plant")
    m.subject_to("least_capacity", capacity.sum() >= data.least_capacity)
    m.subject_to("budget", (data.investment * capacity).sum() <= data.budget)
    return (data.investment * capacity).sum()


def lands_operate(m: dro.Stage, data: xr.Dataset) -> Any:
    output = m.nonnegative("output", over="plant mode")
    m.subject_to("capacity", output.sum("mode") <= m["capacity"])
    m.subject_to("demand", output.sum("plant") == data.demand)
    return (data.fuel * data.duration * output).sum(["plant", "mode"])


def lands() -> Problem:
    """Investment in four plants for three modes of demand, the first of them uncertain."""
    data = xr.Dataset(
        {
            "investment": ("plant", [10.0, 7.0, 16.0, 6.0]),
            "fuel": ("plant", [4.0, 4.5, 3.2, 5.5]),
            "duration": ("mode", [10.0, 6.0, 1.0]),
            "least_capacity": 12.0,
            "budget": 120.0,
            "demand": (("scenario", "mode"), [[3.0, 3.0, 2.0], [5.0, 3.0, 2.0], [7.0, 3.0, 2.0]]),
            "probability": ("scenario", [0.3, 0.4, 0.3]),
        }
    )
    return Problem(
        name="LandS",
        source="Louveaux and Smeers, in Ermoliev and Wets, Numerical Techniques for Stochastic Optimization, 1988; "
        "optimum from Felt's slptestset",
        data=relabelled(data, scenario=[0, 1, 2], plant=["a", "b", "c", "d"], mode=["base", "medium", "peak"]),
        first_stage=lands_plan,
        recourse=lands_operate,
        optimum=381.853333,
        plan={"capacity": [8 / 3, 4, 10 / 3, 2]},
    )


# ---- capacitated facility location ----------------------------------------------------------------------------------

ORLIB_OPTIMA = {7500.0: 1040444.375, 12500.0: 1098000.450, 17500.0: 1153000.450, 25000.0: 1235500.450}
"""Fixed cost of a site -> optimum, of cap41 to cap44."""


def location_plan(m: dro.Stage, data: xr.Dataset) -> Any:
    opened = m.binary("opened", over="site")
    return (data.fixed_cost * opened).sum()


def location_serve(m: dro.Stage, data: xr.Dataset) -> Any:
    share = m.nonnegative("share", over="site customer")
    m.subject_to("served", share.sum("site") == 1)
    m.subject_to("capacity", (data.demand * share).sum("customer") <= data.capacity * m["opened"])
    m.subject_to("only_from_open_sites", share <= m["opened"])
    return (data.allocation_cost * share).sum(["site", "customer"])


def facility_location(path: Path, fixed_cost: float) -> Problem:
    """Beasley's cap41 with another fixed cost; one scenario. The site whose fixed cost is zero keeps it."""
    figures = iter(path.read_text(encoding="ascii").split())
    sites, customers = int(next(figures)), int(next(figures))
    site = np.array([[float(next(figures)) for _ in range(2)] for _ in range(sites)])
    rows = np.array([[float(next(figures)) for _ in range(1 + sites)] for _ in range(customers)])
    data = xr.Dataset(
        {
            "capacity": ("site", site[:, 0]),
            "fixed_cost": ("site", np.where(site[:, 1] > 0, fixed_cost, 0.0)),
            "demand": (("scenario", "customer"), rows[:, 0][np.newaxis]),
            "allocation_cost": (("customer", "site"), rows[:, 1:]),
        }
    )
    return Problem(
        name=f"{path.stem}, fixed cost {fixed_cost:g}",
        source="Beasley, OR-Library, capacitated warehouse location",
        data=relabelled(data, scenario=[0], site=range(1, sites + 1), customer=range(1, customers + 1)),
        first_stage=location_plan,
        recourse=location_serve,
        optimum=ORLIB_OPTIMA[fixed_cost],
    )


# ---- stochastic fixed-charge network design -------------------------------------------------------------------------

NETDES_OPTIMA = {
    "network-10-10-L-01": 88557.3,
    "network-10-10-H-01": 27523.7,
    "network-10-20-L-01": 116823.8,
    "network-10-20-H-01": 26070.0,
    "network-10-30-L-01": 99949.8,
    "network-10-30-H-01": 103313.3,
}


def network_plan(m: dro.Stage, data: xr.Dataset) -> Any:
    built = m.binary("built", over="arc")
    return (data.fixed_cost * built).sum()


def network_flow(m: dro.Stage, data: xr.Dataset) -> Any:
    flow = m.nonnegative("flow", over="arc")
    m.subject_to("balance", (data.incidence * flow).sum("arc") == data.supply)
    m.subject_to("capacity", flow <= data.capacity * m["built"])
    return (data.flow_cost * flow).sum("arc")


def network_design(path: Path) -> Problem:
    """An instance of mpi-sppy's examples/netdes; its recourse can be infeasible."""
    lines = path.read_text(encoding="ascii").splitlines()
    body = lines[lines.index("+") + 1 :]
    adjacency, fixed = _matrix(body[3]), _matrix(body[4])
    scenarios = int(body[5])
    blocks = [[_matrix(line) for line in body[8 + 4 * k : 11 + 4 * k]] for k in range(scenarios)]
    tail, head = np.nonzero(adjacency)
    node = np.arange(len(adjacency))
    incidence = (node[:, np.newaxis] == tail).astype(float) - (node[:, np.newaxis] == head)
    data = xr.Dataset(
        {
            "fixed_cost": ("arc", fixed[tail, head]),
            "incidence": (("node", "arc"), incidence),
            "flow_cost": (("scenario", "arc"), np.stack([cost[tail, head] for cost, _, _ in blocks])),
            "capacity": (("scenario", "arc"), np.stack([capacity[tail, head] for _, capacity, _ in blocks])),
            "supply": (("scenario", "node"), np.stack([supply[0] for _, _, supply in blocks])),
            "probability": ("scenario", _matrix(body[6])[0]),
        }
    )
    arcs = [f"{i}-{j}" for i, j in zip(tail, head, strict=True)]
    return Problem(
        name=path.stem,
        source="Pyomo/mpi-sppy, examples/netdes",
        data=relabelled(data, scenario=range(scenarios), arc=arcs, node=node),
        first_stage=network_plan,
        recourse=network_flow,
        optimum=NETDES_OPTIMA[path.stem],
    )


def _matrix(line: str) -> np.ndarray:
    return np.array([[float(figure) for figure in row.split(",")] for row in line.split(";")])
