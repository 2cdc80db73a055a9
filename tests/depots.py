"""Whole modules from several suppliers to depots, then whole modules to clients; solved by trying everything.

Scenarios see the modules at a depot, not where they came from; modules of one supplier are few.
"""

from __future__ import annotations

import itertools
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

import drofcm as dro
from drofcm.blocks.form import TwoStageBlocks

SUPPLIERS, DEPOTS, EVENTS = 3, 2, 5
RENT, MISSING = 0.4, 4.0


@cache
def data() -> xr.Dataset:
    rng = np.random.default_rng(20261122)
    return xr.Dataset(
        {
            "stock": ("supplier", [3.0, 2.0, 2.0]),
            "price": (("supplier", "depot"), rng.uniform(1.0, 2.5, (SUPPLIERS, DEPOTS)).round(2)),
            "reach": (("scenario", "depot"), rng.uniform(0.6, 1.4, (EVENTS, DEPOTS)).round(2)),
            "demand": ("scenario", rng.uniform(0.5, 4.0, EVENTS).round(2)),
            "probability": ("scenario", rng.dirichlet(np.ones(EVENTS))),
        },
        coords={
            "supplier": [f"supplier {k}" for k in range(SUPPLIERS)],
            "depot": [f"depot {k}" for k in range(DEPOTS)],
            "scenario": [f"event {k}" for k in range(EVENTS)],
        },
    )


def buy(m: dro.Stage, data: xr.Dataset) -> Any:
    rented = m.binary("rented", over="depot")
    bought = m.integer("bought", over="supplier depot")
    m.subject_to("stock", bought.sum("depot") <= data.stock)
    m.subject_to("room", bought.sum("supplier") <= data.stock.sum() * rented)
    return (data.price * bought).sum() + RENT * rented.sum()


def send(m: dro.Stage, data: xr.Dataset) -> Any:
    sent = m.integer("sent", over="depot")
    missing = m.nonnegative("missing")
    m.subject_to("there", sent - m["bought"].sum("supplier") <= 0)
    m.subject_to("met", (data.reach * sent).sum("depot") + missing >= data.demand)
    m.record("missing", missing)
    return 0.2 * sent.sum("depot") + MISSING * missing


@cache
def blocks() -> TwoStageBlocks:
    return dro.TwoStageProgram(data(), buy, send).blocks()


def plans() -> list[tuple[int, ...]]:
    """All plans, supplier by supplier, depot by depot."""
    stock = data().stock.values.astype(int)
    own = [[way for way in itertools.product(range(most + 1), repeat=DEPOTS) if sum(way) <= most] for most in stock]
    return [tuple(itertools.chain(*ways)) for ways in itertools.product(*own)]


def columns(plan: tuple[int, ...]) -> npt.NDArray[np.float64]:
    """First stage of the blocks at a plan: depots that are rented, then modules."""
    there = np.array(plan).reshape(SUPPLIERS, DEPOTS).sum(axis=0)
    return np.array([*(there > 0), *plan], dtype=float)


def value(plan: tuple[int, ...]) -> float:
    """What a plan costs on average."""
    given = data()
    bought = np.array(plan).reshape(SUPPLIERS, DEPOTS)
    there = bought.sum(axis=0)
    cost = []
    for reach, demand in zip(given.reach.values, given.demand.values, strict=True):
        ways = itertools.product(*(range(most + 1) for most in there))
        cost.append(min(0.2 * sum(way) + MISSING * max(0.0, demand - float(reach @ way)) for way in ways))
    rent = RENT * int((there > 0).sum())
    return float((given.price.values * bought).sum() + rent + given.probability.values @ cost)


@cache
def optimum() -> float:
    return min(value(plan) for plan in plans())
