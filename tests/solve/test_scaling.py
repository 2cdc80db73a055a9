"""The same program in other units of cost and quantity, and figures that no unit brings together."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal

import numpy as np
import pytest
import xarray as xr

import drofcm as dro
from drofcm.core.errors import InfeasibleError, LimitError, ModelError, SolveError
from drofcm.solve.scaling import scaled

METHODS: tuple[Literal["extensive", "lshaped"], ...] = ("extensive", "lshaped")


def here(method: str) -> dict[str, Any]:
    return {"workers": 1} if method == "lshaped" else {}


def supply(cost: float = 1.0, quantity: float = 1.0, whole: bool = False) -> dro.TwoStageProgram:
    """Order at two sites before the demand is known, open them for a rent, buy what is missing.

    In a unit of cost and one of quantity: the plan opens site a and orders 8 there.
    """
    data = xr.Dataset(
        {
            "price": ("site", np.array([2.0, 3.0]) * cost / quantity),
            "rent": ("site", np.array([4.0, 3.0]) * cost),
            "demand": ("scenario", np.array([5.0, 9.0]) * quantity),
        },
        coords={"site": ["a", "b"], "scenario": [0, 1]},
    )
    program = dro.TwoStageProgram(data)

    @program.first_stage
    def order(m: Any, data: Any) -> Any:
        active = m.binary("active", over="site")
        kind = m.integer if whole else m.nonnegative
        ordered = kind("ordered", over="site", upper=8.0 * quantity)
        m.subject_to("room", ordered <= 8.0 * quantity * active)
        m.record("spent", (data.price * ordered).sum())
        return (data.price * ordered + data.rent * active).sum()

    @program.recourse
    def buy(m: Any, data: Any) -> Any:
        bought = m.nonnegative("bought")
        m.subject_to("met", m["ordered"].sum("site") + bought >= data.demand)
        return 10 * cost / quantity * bought

    return program


RIGHT = 8 * 2 + 4 + 10 * 1 / 2


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("cost", [1e-9, 1e-6, 1.0, 1e4, 1e9, 2.0**60])
def test_unit_of_cost_changes_nothing_but_figures(method: Any, cost: float) -> None:
    told: list[Any] = []
    result = supply(cost).solve(method=method, gap=1e-6, progress=told.append, **here(method))
    assert result.status == "optimal"
    assert result.objective == pytest.approx(RIGHT * cost, rel=2e-6)
    assert result.lower_bound == pytest.approx(RIGHT * cost, rel=2e-6)
    assert result.first_stage["ordered"].values == pytest.approx([8, 0], abs=1e-4)
    assert result.recourse_cost.values == pytest.approx([0, 10 * cost], abs=1e-3 * cost)
    assert float(result.terms["spent"]) == pytest.approx(16 * cost, rel=1e-4)
    assert result.log["upper_bound"].iloc[-1] == pytest.approx(RIGHT * cost, rel=2e-6)
    if method == "lshaped":
        assert told[-1].upper == pytest.approx(RIGHT * cost, rel=2e-6)
        dearer = supply(2 * cost).solve(method=method, gap=1e-6, **here(method))
        # a power of two is the same search
        assert dearer.objective == 2 * result.objective
        assert dearer.provenance["iterations"] == result.provenance["iterations"]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("cost", "quantity"), [(1.0, 1e-6), (1e6, 1e-6), (1.0, 1e-9), (1.0, 1e9), (1e-3, 1e9)])
def test_unit_of_quantity_changes_nothing_but_figures(method: Any, cost: float, quantity: float) -> None:
    program = supply(cost, quantity)
    result = program.solve(method=method, gap=1e-6, **here(method))
    assert result.status == "optimal"
    assert result.objective == pytest.approx(RIGHT * cost, rel=2e-6)
    assert result.lower_bound == pytest.approx(RIGHT * cost, rel=2e-6)
    assert result.first_stage["ordered"].values == pytest.approx([8 * quantity, 0], abs=1e-4 * quantity)
    assert result.recourse["bought"].values == pytest.approx([0, quantity], abs=1e-4 * quantity)
    assert float(result.terms["spent"]) == pytest.approx(16 * cost, rel=1e-4)
    evaluated = program.evaluate(result.first_stage)
    assert evaluated.objective == pytest.approx(result.objective, rel=1e-9)
    again = program.solve(method=method, gap=1e-6, start=result.first_stage, **here(method))
    assert again.objective == pytest.approx(RIGHT * cost, rel=2e-6)


def test_prices_are_those_of_the_rows_as_they_were_written() -> None:
    def program(unit: float) -> dro.TwoStageProgram:
        data = xr.Dataset({"demand": ("scenario", np.array([5.0, 9.0]) * unit)}, coords={"scenario": [0, 1]})
        own = dro.TwoStageProgram(data)

        @own.first_stage
        def order(m: Any, data: Any) -> Any:
            ordered = m.nonnegative("ordered")
            m.subject_to("most", 7 * ordered <= 7 * 3.0 * unit)
            return 2 / unit * ordered

        @own.recourse
        def buy(m: Any, data: Any) -> Any:
            bought = m.nonnegative("bought")
            m.subject_to("met", m["ordered"] + bought >= data.demand)
            return 10 / unit * bought

        return own

    for unit in (1.0, 1e-7, 1e8):
        result = program(unit).solve(method="lshaped", gap=1e-6, workers=1)
        # one more of the row's own unit, a seventh of what is ordered, saves 8 / 7
        assert float(result.prices["most"]) * unit == pytest.approx(-8 / 7, rel=1e-5)


def test_whole_columns_keep_their_unit_and_what_is_lost_beside_them_is_refused_by_name() -> None:
    data = xr.Dataset({"demand": ("scenario", [5.0, 9.0])}, coords={"scenario": ["dry", "wet"], "site": ["a", "b"]})
    program = dro.TwoStageProgram(data)

    @program.first_stage
    def order(m: Any, data: Any) -> Any:
        return m.integer("lots", over="site").sum()

    @program.recourse
    def buy(m: Any, data: Any) -> Any:
        extra = m.integer("extra")
        weight = xr.DataArray([1.0, 1e-12], coords={"site": ["a", "b"]}, dims="site")
        m.subject_to("met", (weight * m["lots"]).sum("site") + extra >= data.demand)
        return 10 * extra

    for solving in (lambda: program.solve(), lambda: program.solve(method="lshaped", workers=1)):
        with pytest.raises(ModelError, match=r"badly scaled.*scenario 'dry': the coefficient of lots\[site='b'\]"):
            solving()


def test_well_proportioned_program_keeps_its_columns_and_shares_its_matrices() -> None:
    blocks = supply().blocks()
    own = scaled(blocks)
    assert own.columns is None
    assert own.blocks.scenarios[0].recourse is blocks.scenarios[0].recourse
    small = supply(quantity=1e-9).blocks()
    one = small.scenarios[0]
    shared = tuple(replace(own, technology=one.technology, recourse=one.recourse) for own in small.scenarios)
    other = scaled(replace(small, scenarios=shared))
    assert other.columns is not None
    assert other.blocks.scenarios[0].recourse is other.blocks.scenarios[1].recourse
    assert np.array_equal(np.log2(other.columns), np.round(np.log2(other.columns)))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("stage", ["order", "buy"])
def test_infinite_cost_in_matrices_is_refused_by_name(method: Any, stage: str) -> None:
    blocks = supply().blocks()
    part = blocks.first_stage if stage == "order" else blocks.scenarios[1]
    part.cost[-1] = np.inf
    name = (
        r"first stage: the cost of ordered\[site='b'\] is inf" if stage == "order" else "scenario 1: the cost of bought"
    )
    with pytest.raises(ModelError, match=name):
        dro.solve(blocks, method=method, **here(method))
    with pytest.raises(ModelError, match=name):
        dro.evaluate(blocks, xr.Dataset({"ordered": ("site", [8.0, 0.0]), "active": ("site", [1.0, 0.0])}))


# ---- far away -----------------------------------------------------------------------------------------------------


def newsvendor(demand: float, lower: float = 0.0) -> dro.TwoStageProgram:
    """Order at 3, sell at 10, salvage at 1, demands of 1, 2 and 3 units: order 3."""
    data = xr.Dataset({"demand": ("scenario", np.array([1.0, 2.0, 3.0]) * demand)}, coords={"scenario": [0, 1, 2]})
    program = dro.TwoStageProgram(data)

    @program.first_stage
    def order(m: Any, data: Any) -> Any:
        return 3 * m.variable("ordered", lower=lower)

    @program.recourse
    def sell(m: Any, data: Any) -> Any:
        sold, left = m.nonnegative("sold", upper=data.demand), m.nonnegative("salvaged")
        m.subject_to("stock", sold + left <= m["ordered"])
        return -10 * sold - left

    return program


@pytest.mark.parametrize("demand", [1.0, 1e5, 1e7, 1e9])
def test_costs_without_a_floor_are_bounded_at_any_size(demand: float) -> None:
    result = newsvendor(demand).solve(method="lshaped", gap=1e-6, workers=1)
    assert result.objective == pytest.approx(-12 * demand, rel=2e-6)
    assert result.lower_bound == pytest.approx(-12 * demand, rel=2e-6)


def test_plan_far_from_zero_is_found() -> None:
    result = newsvendor(5e5, lower=2e6).solve(method="lshaped", gap=1e-6, workers=1)
    assert result.objective == pytest.approx(3 * 2e6 - 10 * 1e6 - 1e6, rel=2e-6)


def test_program_that_is_unbounded_is_proven_so() -> None:
    program = newsvendor(1.0)

    @program.recourse
    def sell(m: Any, data: Any) -> Any:
        left = m.nonnegative("salvaged")
        m.subject_to("stock", left <= m["ordered"] + data.demand)
        return -4 * left

    with pytest.raises(SolveError, match="unbounded"):
        program.solve(method="lshaped", workers=1)


def test_master_without_floors_that_nothing_satisfies() -> None:
    program = newsvendor(1.0)

    @program.first_stage
    def order(m: Any, data: Any) -> Any:
        ordered, other = m.variable("ordered"), m.variable("other")
        m.subject_to("above", ordered >= other + 2e7)
        m.subject_to("below", ordered <= other + 1e7)
        return 3 * ordered

    with pytest.raises(InfeasibleError):
        program.solve(method="lshaped", workers=1)


def test_limit_before_any_plan_tells_the_bound_in_the_units_given() -> None:
    with pytest.raises(LimitError) as caught:
        supply(1e6).solve(method="lshaped", iterations=0, workers=1)
    assert caught.value.lower_bound == -np.inf or caught.value.lower_bound >= 0
