"""Decomposition against published optima, the extensive form and full enumeration."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from problems import farmer, lands, newsvendor

import drofcm as dro
from drofcm.core.errors import InfeasibleError, ModelError, SolveError
from drofcm.solve import integers, lshaped, master
from drofcm.solve.method import choose

MEASURES = [
    dro.Expectation(),
    dro.CVaR(0.7),
    dro.WorstCase(),
    0.5 * dro.Expectation() + 0.3 * dro.CVaR(0.8) + 0.2 * dro.WorstCase(),
]


# ---- published optima -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("problem", [farmer(), lands(), newsvendor(0.8)], ids=lambda problem: problem.name)
def test_published_linear(problem: Any) -> None:
    result = problem.program().solve(risk=problem.risk, method="lshaped", gap=1e-7, workers=1)
    assert result.objective == pytest.approx(problem.optimum, rel=1e-6)
    assert result.lower_bound <= problem.optimum + 1e-6 * abs(problem.optimum)
    assert result.status == "optimal"
    assert result.provenance["method"] == "lshaped"
    for name, values in problem.plan.items():
        assert result.first_stage[name].values.ravel() == pytest.approx(np.ravel(values), rel=1e-3, abs=1e-3)


# ---- against the extensive form and enumeration ---------------------------------------------------------------------

SIZES = xr.Dataset(
    {"price": ("machine", [4.0, 5.0]), "size": ("machine", [2.0, 3.0]), "most": ("machine", [3, 2])},
    coords={"machine": ["old", "new"]},
)


def buy(m: dro.Stage, data: xr.Dataset) -> Any:
    bought = m.integer("bought", over="machine", upper=data.most)
    m.subject_to("room", bought.sum() <= 4)
    return (data.price * bought).sum() + 7


def run(m: dro.Stage, data: xr.Dataset) -> Any:
    """Whole batches on the machines; what is not made is bought dear."""
    batches = m.integer("batches", over="machine", upper=9)
    missing = m.nonnegative("missing", upper=60)
    m.subject_to("machines", batches <= data.speed * m["bought"])
    m.subject_to("demand", (data["size"] * batches).sum("machine") + missing >= data.demand)
    return data.wage * batches.sum("machine") + 6 * missing + 0.5 * m["bought"].sum() + 1


def batches_by_hand(bought: tuple[int, int], demand: float, wage: float, speed: int) -> float:
    """The cheapest recourse by enumeration."""
    best = np.inf
    for batches in itertools.product(*(range(min(9, speed * own) + 1) for own in bought)):
        missing = max(0.0, demand - 2 * batches[0] - 3 * batches[1])
        best = min(best, wage * sum(batches) + 6 * missing)
    return best + 0.5 * sum(bought) + 1


events = st.lists(
    st.tuples(st.floats(0, 20), st.sampled_from([1.0, 2.5, 7.0]), st.integers(1, 3)), min_size=2, max_size=5
)


@settings(max_examples=12, deadline=None)
@given(events=events, measure=st.sampled_from(MEASURES), seed=st.integers(0, 1000))
def test_optimum_is_the_best_of_all_plans(events: list[tuple[float, float, int]], measure: Any, seed: int) -> None:
    probability = np.random.default_rng(seed).dirichlet(np.ones(len(events)))
    demand, wage, speed = (np.array(column) for column in zip(*events, strict=True))
    data = SIZES.assign(
        demand=("scenario", demand),
        wage=("scenario", wage),
        speed=("scenario", speed),
        probability=("scenario", probability),
    ).assign_coords(scenario=range(len(events)))
    values = {}
    for plan in itertools.product(range(4), range(3)):
        if sum(plan) <= 4:
            cost = xr.DataArray([batches_by_hand(plan, *event) for event in events], coords=[data.scenario])
            weight = dro.worst_case_weights(measure, dro.Nominal(), cost, data.probability)
            values[plan] = 4 * plan[0] + 5 * plan[1] + 7 + float((weight * cost).sum())
    best = min(values.values())
    result = dro.TwoStageProgram(data, buy, run).solve(risk=measure, method="lshaped", gap=1e-6, workers=1)
    assert result.objective == pytest.approx(best, rel=1e-5, abs=1e-5)
    assert result.lower_bound <= best + 1e-5 * abs(best)
    assert result.status == "optimal"


def several(count: int = 8) -> dro.TwoStageProgram:
    rng = np.random.default_rng(5)
    data = SIZES.assign(
        demand=("scenario", rng.uniform(0, 22, count)),
        wage=("scenario", rng.choice([1.0, 2.5, 7.0], count)),
        speed=("scenario", rng.integers(1, 4, count)),
    ).assign_coords(scenario=[f"event {k}" for k in range(count)])
    return dro.TwoStageProgram(data, buy, run)


@pytest.mark.parametrize("measure", MEASURES, ids=str)
def test_both_methods_agree(measure: Any) -> None:
    extensive = several().solve(risk=measure, method="extensive", gap=1e-7)
    decomposed = several().solve(risk=measure, method="lshaped", gap=1e-7, workers=1)
    assert decomposed.objective == pytest.approx(extensive.objective, rel=1e-6)
    assert decomposed.lower_bound <= extensive.objective * (1 + 1e-6)


def test_risk_set_cuts_reach_the_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a measure has no finite rows, cuts by its worst-case weights give the same optimum."""
    measure = MEASURES[3]
    with_rows = several().solve(risk=measure, method="lshaped", gap=1e-6, workers=1)
    monkeypatch.setattr(master, "risk_rows", lambda *arguments: None)
    with_cuts = several().solve(risk=measure, method="lshaped", gap=1e-6, workers=1)
    assert with_cuts.objective == pytest.approx(with_rows.objective, rel=1e-5)
    assert with_cuts.lower_bound <= with_rows.objective * (1 + 1e-6)


def rent(m: dro.Stage, data: xr.Dataset) -> Any:
    rented = m.binary("rented", over="machine")
    bought = m.integer("bought", over="machine", upper=data.most)
    m.subject_to("room", bought.sum() <= 4)
    m.subject_to("hall", bought <= data.most * rented)
    return (data.price * bought).sum() + 2 * rented.sum() + 7


def test_regions_of_the_first_stage(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without Lagrangian cuts scenarios must be kept whole; searched by regions, the optimum is the best plan's."""
    monkeypatch.setattr(integers.IntegerPhase, "_drive", lambda *arguments: None)
    monkeypatch.setattr(integers.IntegerPhase, "_strengthen", lambda *arguments: None)
    monkeypatch.setattr(lshaped, "strengthen", lambda search: None)
    data = several(6).data
    probability = data.probability if "probability" in data else xr.full_like(data.demand, 1 / 6)
    values = {}
    for plan in itertools.product(range(4), range(3)):
        if sum(plan) <= 4:
            events = zip(data.demand.values, data.wage.values, data.speed.values, strict=True)
            cost = sum(p * batches_by_hand(plan, *event) for p, event in zip(probability.values, events, strict=True))
            values[plan] = 4 * plan[0] + 5 * plan[1] + 2 * sum(own > 0 for own in plan) + 7 + cost
    result = dro.TwoStageProgram(data, rent, run).solve(method="lshaped", gap=1e-6, workers=1)
    assert result.objective == pytest.approx(min(values.values()), rel=1e-6)
    assert result.lower_bound == pytest.approx(min(values.values()), rel=1e-5)
    assert "regions of the first stage" in set(result.log.phase)
    assert result.provenance["kept_whole"]


# ---- what is hard about integer recourse ----------------------------------------------------------------------------


def parity(m: dro.Stage, data: xr.Dataset) -> Any:
    """2 a + 2 b + spare = stock with a, b whole and little spare: relaxed there always is a recourse."""
    pair = m.integer("pair", upper=10)
    spare = m.nonnegative("spare", upper=data.spare)
    m.subject_to("even", 2 * pair + spare == m["stock"])
    return 3 * pair + data.price * spare


def choose_stock(m: dro.Stage, data: xr.Dataset) -> Any:
    stock = m.integer("stock", upper=9)
    m.subject_to("enough", 1 * stock >= 3)
    return 1 * stock


def test_recourse_that_only_its_relaxation_has() -> None:
    """At stock 3 the relaxation has a recourse and the scenario without spare has none: 4 is the cheapest plan."""
    data = xr.Dataset(
        {"spare": ("scenario", [0.0, 1.0]), "price": ("scenario", [1.0, 1.0])}, coords={"scenario": ["none", "one"]}
    )
    program = dro.TwoStageProgram(data, choose_stock, parity)
    result = program.solve(method="lshaped", gap=1e-6, workers=1)
    assert float(result.first_stage.stock) == 4
    assert result.objective == pytest.approx(4 + 6)
    assert result.lower_bound == pytest.approx(10)


def test_start_prices_log_and_provenance() -> None:
    cold = several().solve(method="lshaped", gap=1e-6, workers=1)
    warm = several().solve(method="lshaped", gap=1e-6, workers=1, start=cold.first_stage)
    assert warm.objective == pytest.approx(cold.objective)
    assert np.isfinite(warm.log.upper_bound.iloc[0])
    assert warm.log.upper_bound.is_monotonic_decreasing
    assert warm.log.lower_bound.is_monotonic_increasing
    assert {"cuts", "kept", "master_seconds", "scenario_seconds"} <= set(warm.log.columns)
    assert warm.provenance["lower_bound"]
    assert warm.provenance["upper_bound"]
    assert set(cold.prices) == {"room"}


def test_price_of_a_row_is_what_one_more_unit_is_worth() -> None:
    """The farmer's land: the slope of the optimum over the land, by solving again with a little more."""
    problem = farmer()
    result = problem.program().solve(method="lshaped", gap=1e-9, workers=1)
    more = dro.TwoStageProgram(
        problem.data.assign(land=problem.data.land + 1), problem.first_stage, problem.recourse
    ).solve(method="extensive", gap=1e-9)
    assert float(result.prices["land"]) == pytest.approx(more.objective - problem.optimum, rel=1e-3)


def test_result_survives_netcdf(tmp_path: Path) -> None:
    result = several().solve(method="lshaped", gap=1e-4, workers=1)
    result.to_netcdf(tmp_path / "result.nc")
    again = dro.Result.from_netcdf(tmp_path / "result.nc")
    xr.testing.assert_identical(again.prices, result.prices)
    assert again.log.columns.tolist() == result.log.columns.tolist()


# ---- limits and refusals --------------------------------------------------------------------------------------------


def test_iteration_limit_leaves_valid_bounds() -> None:
    optimum = several().solve(method="extensive", gap=1e-7).objective
    start = several().solve(method="extensive", gap=0.5).first_stage
    result = several().solve(method="lshaped", gap=0, iterations=2, start=start, workers=1)
    assert result.status == "iteration_limit"
    assert result.lower_bound <= optimum * (1 + 1e-7)
    assert result.objective >= optimum * (1 - 1e-7)


@pytest.mark.parametrize("method", ["extensive", "lshaped"])
def test_start_that_breaks_a_row_is_refused(method: Any) -> None:
    program = several()
    too_many = program.solve(gap=1e-3).first_stage.assign(bought=("machine", [3.0, 2.0]))
    with pytest.raises(ModelError, match="start: the plan breaks 1 rows of the first stage: room"):
        program.solve(method=method, start=too_many, workers=1)


def choose_shop(m: dro.Stage, data: xr.Dataset) -> Any:
    shop = m.binary("shop")
    stock = m.integer("stock", upper=9)
    m.subject_to("enough", stock >= 3 * shop)
    m.subject_to("must", 1 * shop >= 1)
    m.subject_to("opened", stock <= 9 * shop)
    return 1 * stock


def test_scenario_kept_before_there_is_a_plan() -> None:
    """With binaries, and no plan yet when a scenario without integer recourse is kept whole: it still ends."""
    data = xr.Dataset({"spare": ("scenario", [0.0, 1.0]), "price": ("scenario", [1.0, 1.0])})
    program = dro.TwoStageProgram(data.assign_coords(scenario=[0, 1]), choose_shop, parity)
    result = program.solve(method="lshaped", gap=1e-6, iterations=60, workers=1)
    assert result.status == "optimal"
    assert result.objective == pytest.approx(10)


def test_limit_before_any_plan() -> None:
    with pytest.raises(SolveError, match="before any plan was found"):
        several().solve(method="lshaped", gap=0, iterations=1, workers=1)


def test_unbounded_recourse_is_named() -> None:
    def sell(m: dro.Stage, data: xr.Dataset) -> Any:
        sold = m.nonnegative("sold")
        m.subject_to("from_stock", sold >= m["stock"])
        return -data.price * sold

    data = xr.Dataset({"price": ("scenario", [0.0, 1.0])}, coords={"scenario": ["free", "dear"]})
    with pytest.raises(SolveError, match="'dear' is unbounded"):
        dro.TwoStageProgram(data, choose_stock, sell).solve(method="lshaped", workers=1)


def test_infeasible_first_stage() -> None:
    def too_much(m: dro.Stage, data: xr.Dataset) -> Any:
        cost = choose_stock(m, data)
        m.subject_to("more_than_there_is", 1 * m["stock"] >= 12)
        return cost

    data = xr.Dataset(
        {"spare": ("scenario", [1.0, 1.0]), "price": ("scenario", [1.0, 1.0])}, coords={"scenario": [0, 1]}
    )
    with pytest.raises(InfeasibleError):
        dro.TwoStageProgram(data, too_much, parity).solve(method="lshaped", workers=1)


def test_nan_in_a_scenario_is_named() -> None:
    blocks = several().blocks()
    blocks.scenarios[3].cost[:] = np.nan
    with pytest.raises(ModelError, match="event 3"):
        dro.solve(blocks, method="lshaped")


def test_method_is_chosen_by_size_and_said() -> None:
    small = several().solve()
    assert small.provenance["method"] == "extensive"
    assert "8 scenarios" in small.provenance["method_chosen"]
    assert choose(several(600).blocks())[0] == "lshaped"
    assert choose(several(1).blocks())[0] == "extensive"
    with pytest.raises(ValueError, match="'auto', 'extensive' or 'lshaped'"):
        several().solve(method="benders")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="needs method='lshaped'"):
        several().solve(method="extensive", checkpoint="file.npz")
