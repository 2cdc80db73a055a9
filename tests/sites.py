"""A siting problem with integer recourse that full enumeration solves: open sites, then send every client to one."""

from __future__ import annotations

import itertools
from functools import cache
from typing import Any

import numpy as np
import xarray as xr

import drofcm as dro
from drofcm.blocks.form import TwoStageBlocks

SITES, CLIENTS, EVENTS = 4, 5, 8
MOST = 3
OVERFLOW = 20.0


@cache
def data() -> xr.Dataset:
    rng = np.random.default_rng(20261121)
    return xr.Dataset(
        {
            "fixed": ("site", rng.uniform(5, 12, SITES).round(1)),
            "capacity": ("site", rng.uniform(4, 7, SITES).round(1)),
            "demand": ("client", rng.uniform(2, 5, CLIENTS).round(1)),
            "travel": (("site", "client"), rng.uniform(1, 12, (SITES, CLIENTS)).round(1)),
            "present": (("scenario", "client"), rng.integers(0, 2, (EVENTS, CLIENTS)).astype(float)),
            "probability": ("scenario", rng.dirichlet(np.ones(EVENTS))),
        },
        coords={
            "site": [f"site {k}" for k in range(SITES)],
            "client": [f"client {k}" for k in range(CLIENTS)],
            "scenario": [f"event {k}" for k in range(EVENTS)],
        },
    )


def choose(m: dro.Stage, data: xr.Dataset) -> Any:
    opened = m.binary("opened", over="site")
    m.subject_to("most", opened.sum() <= MOST)
    return (data.fixed * opened).sum()


def send(m: dro.Stage, data: xr.Dataset) -> Any:
    sent = m.binary("sent", over="site client")
    overflow = m.nonnegative("overflow", over="site")
    m.subject_to("everyone", sent.sum("site") == data.present)
    m.subject_to("room", (data.demand * sent).sum("client") - overflow - data.capacity * m["opened"] <= 0)
    return (data.travel * sent).sum(["site", "client"]) + OVERFLOW * overflow.sum("site")


@cache
def blocks() -> TwoStageBlocks:
    return dro.TwoStageProgram(data(), choose, send).blocks()


@cache
def recourse_cost(plan: tuple[int, ...]) -> tuple[float, ...]:
    """The cheapest recourse of every event at a plan, by trying all ways to send the clients."""
    given = data()
    room = given.capacity.values * plan
    costs = []
    for present in given.present.values:
        who = np.flatnonzero(present)
        best = np.inf
        for way in itertools.product(range(SITES), repeat=len(who)):
            sites = np.array(way, dtype=int)
            load = np.bincount(sites, weights=given.demand.values[who], minlength=SITES)
            cost = given.travel.values[sites, who].sum() + OVERFLOW * np.maximum(load - room, 0).sum()
            best = min(best, float(cost))
        costs.append(best)
    return tuple(costs)


def plans() -> list[tuple[int, ...]]:
    return list(itertools.product((0, 1), repeat=SITES))


@cache
def optimum() -> float:
    given = data()
    return min(
        float(given.fixed.values @ plan + given.probability.values @ np.array(recourse_cost(plan)))
        for plan in plans()
        if sum(plan) <= MOST
    )
