"""Distance in recourse costs against distance between data, on programs that are solved by hand."""

from __future__ import annotations

import itertools
import json
from typing import Any

import numpy as np
import pytest
import xarray as xr
from sites import choose, plans, recourse_cost, send
from sites import data as sites_data

import drofcm as dro
from drofcm.core.errors import InputError
from drofcm.validate.pilots import NOTHING, pilot_plans, plan_costs, reduce_by_cost

PRICE, BUY = 9.0, 3.0


def stock(m: dro.Stage, data: xr.Dataset) -> Any:
    ordered = m.integer("ordered", upper=20)
    return BUY * ordered


def serve(m: dro.Stage, data: xr.Dataset) -> Any:
    """What is needed and not in stock is bought dearly; the noise is there to be looked at and costs nothing."""
    late = m.nonnegative("late")
    m.subject_to("met", late + m["ordered"] >= data.need)
    return PRICE * late


NEED = np.array([2.0, 2.0, 2.0, 2.0, 10.0, 10.0])
NOISE = np.array([0.0, 100.0, 200.0, 300.0, 0.0, 300.0])


def need_and_noise() -> xr.Dataset:
    """Six scenarios: two needs, and a noise that is far larger and means nothing."""
    return xr.Dataset(
        {"need": ("scenario", NEED), "noise": ("scenario", NOISE)},
        coords={"scenario": list("abcdef"), "event_class": ("scenario", ["calm"] * 4 + ["surge"] * 2)},
    )


def program() -> dro.TwoStageProgram:
    return dro.TwoStageProgram(need_and_noise(), stock, serve)


def true_cost(ordered: float) -> float:
    return BUY * ordered + PRICE * float(np.maximum(NEED - ordered, 0).mean())


def test_data_mislead_and_costs_do_not() -> None:
    """Two scenarios by data are a low and a high noise; by costs a low and a high need, with 4/6 and 2/6.

    The order goes up as long as P(need > order) >= 3/9: one third suffices for the tenth.
    """
    data = need_and_noise()
    best = min(range(21), key=lambda ordered: (true_cost(ordered), -ordered))
    by_data = dro.reduce_scenarios(data, 2, over="noise need", scale="none").data
    assert set(by_data["need"].values) == {2.0}
    by_cost = reduce_by_cost(program(), 2, rng=np.random.default_rng(1), pilots=2, draw=2)
    assert sorted(by_cost.data["need"].values) == [2.0, 10.0]
    mass = by_cost.data["probability"].groupby(by_cost.data["need"]).sum().to_series().to_dict()
    assert mass == pytest.approx({2.0: 4 / 6, 10.0: 2 / 6})
    assert by_cost.distance == pytest.approx(0, abs=1e-6)
    worst = dro.WorstCase()
    plans_made = {
        name: float(dro.TwoStageProgram(own, stock, serve).solve(worst, gap=0).first_stage["ordered"])
        for name, own in {"all": data, "data": by_data, "cost": by_cost.data}.items()
    }
    assert plans_made == pytest.approx({"all": 10, "data": 2, "cost": 10})
    kept = dro.TwoStageProgram(by_cost.data, stock, serve).solve(gap=0)
    assert kept.objective == pytest.approx(true_cost(best))


def test_costs_are_those_of_hand() -> None:
    ordered = [0.0, 1.0, 5.0, 20.0]
    given = xr.Dataset({"ordered": ("plan", ordered)}, coords={"plan": ["nothing", "one", "five", "all"]})
    costs = plan_costs(program(), given)
    assert costs.dims == ("scenario", "plan")
    np.testing.assert_allclose(costs, PRICE * np.maximum(NEED[:, None] - ordered, 0), atol=1e-6)


def test_integers_of_the_recourse_are_kept() -> None:
    """Against all ways to send the clients, which the relaxation undercuts."""
    sites = dro.TwoStageProgram(sites_data(), choose, send)
    some = [plan for plan in plans() if sum(plan) in (1, 2)][:4]
    given = xr.Dataset(
        {"opened": (("plan", "site"), np.array(some, dtype=float))},
        coords={"plan": range(len(some)), "site": sites_data()["site"]},
    )
    expected = np.array([recourse_cost(plan) for plan in some]).T
    np.testing.assert_allclose(plan_costs(sites, given), expected, atol=1e-6)


def test_pilot_plans_are_the_best_for_their_draws() -> None:
    """Against enumeration over plans of the sites, with the probabilities of the draw."""
    sites, data = dro.TwoStageProgram(sites_data(), choose, send), sites_data()
    found = pilot_plans(sites, np.random.default_rng(5), count=3, scenarios=3, gap=0)
    draws = json.loads(found.attrs["pilots"])
    assert [len(set(draw["scenarios"])) for draw in draws] == [3, 3, 3]
    assert found["plan"].values[0] == NOTHING
    assert not found["opened"].sel(plan=NOTHING).any()
    seen = {tuple(np.zeros(data.sizes["site"], dtype=int))}
    for draw in draws:
        own = data["probability"].values[draw["scenarios"]]
        cost = {
            plan: data["fixed"].values @ plan + own @ np.array(recourse_cost(plan))[draw["scenarios"]] / own.sum()
            for plan in plans()
            if sum(plan) <= 3
        }
        name = f"draw {draw['draw']}"
        best = min(cost, key=lambda plan: cost[plan])
        assert (name in found["plan"]) == (best not in seen)
        if name in found["plan"]:
            chosen = tuple(found["opened"].sel(plan=name).values.round().astype(int))
            assert cost[chosen] == pytest.approx(cost[best])
        seen.add(best)


def test_same_seed_same_plans_and_nothing_impossible_is_drawn() -> None:
    data = need_and_noise().assign(probability=("scenario", [0.5, 0.0, 0.0, 0.0, 0.5, 0.0]))
    own = dro.TwoStageProgram(data, stock, serve)
    one, other = (pilot_plans(own, np.random.default_rng(3), scenarios=1) for _ in range(2))
    assert one.identical(other)
    assert set(itertools.chain(*(draw["scenarios"] for draw in json.loads(one.attrs["pilots"])))) <= {0, 4}
    assert set(one["ordered"].values.round()) <= {0.0, 2.0, 10.0}


def test_classes_keep_their_mass_and_the_data_what_they_were() -> None:
    events = need_and_noise()[["noise"]]
    found = reduce_by_cost(
        program(), 3, rng=np.random.default_rng(0), data=events, classes="event_class", risk=dro.CVaR(0.5)
    )
    mass = found.data["probability"].groupby("event_class").sum().to_series().to_dict()
    assert mass == pytest.approx({"calm": 4 / 6, "surge": 2 / 6}, abs=1e-15)
    assert set(found.data.data_vars) == {"noise", "probability"}
    assert found.data["noise"].equals(events["noise"].sel(scenario=found.data["scenario"]))
    recipe = json.loads(found.data.attrs["reduction"])
    assert recipe == found.recipe
    assert recipe["by"] == "costs"
    assert recipe["classes"] == "event_class"
    assert recipe["pilots"]["plans"][0] == NOTHING
    assert recipe["pilots"]["risk"] == str(dro.CVaR(0.5))


def demanding(m: dro.Stage, data: xr.Dataset) -> Any:
    ordered = m.integer("ordered", lower=3, upper=20)
    return BUY * ordered


def hopeless(m: dro.Stage, data: xr.Dataset) -> Any:
    late = m.nonnegative("late", upper=4)
    m.subject_to("met", late + m["ordered"] >= data.need)
    return PRICE * late


def test_nothing_is_left_out_where_it_is_no_plan() -> None:
    own = dro.TwoStageProgram(need_and_noise(), demanding, serve)
    found = pilot_plans(own, np.random.default_rng(0), count=2, scenarios=6)
    assert found["plan"].values.tolist() == ["draw 1"]
    with pytest.raises(InputError, match="to do nothing is no plan of this program"):
        pilot_plans(own, np.random.default_rng(0), count=0)


def test_refusals() -> None:
    rng = np.random.default_rng(0)
    own = dro.TwoStageProgram(need_and_noise(), stock, hopeless)
    given = xr.Dataset({"ordered": ("plan", [0.0, 10.0, 5.0])}, coords={"plan": ["nothing", "ten", "five"]})
    with pytest.raises(InputError, match="plan='nothing'") as caught:
        plan_costs(own, given)
    assert [finding.where for finding in caught.value.findings] == ["plans, plan='nothing'", "plans, plan='five'"]
    with pytest.raises(InputError, match="no labelled dimension 'plan'"):
        plan_costs(program(), given.isel(plan=0, drop=True))
    with pytest.raises(InputError, match="2 problems") as caught:
        pilot_plans(program(), rng, count=-1, scenarios=0)
    with pytest.raises(InputError, match="has other scenarios than the program"):
        reduce_by_cost(program(), 2, rng=rng, data=need_and_noise().isel(scenario=slice(5)))
    other = need_and_noise().assign(probability=("scenario", [0.5, 0.1, 0.1, 0.1, 0.1, 0.1]))
    with pytest.raises(InputError, match="is not that of the program"):
        reduce_by_cost(program(), 2, rng=rng, data=other)
    for count, settings in ((7, {}), (1, {"classes": "event_class"}), (3, {"classes": "event_class", "tail": 0.1})):
        with pytest.raises(InputError, match="count="):
            reduce_by_cost(program(), count, rng=Never(), **settings)


class Never(np.random.Generator):
    """Fails when it is asked for anything: nothing was drawn, and so nothing solved."""

    def __init__(self) -> None:
        super().__init__(np.random.PCG64(0))

    def choice(self, *_: Any, **__: Any) -> Any:
        raise AssertionError("drawn before the refusal")
