"""Plans under every risk measure over every ambiguity set: extensive form, decomposition and enumeration agree.

The recourse cost of every first stage is known in closed form; its worst case is that of the linear programs of
``tests/robust.py``.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from functools import cache
from typing import Any

import numpy as np
import pytest
import robust
import xarray as xr

import drofcm as dro
from drofcm.core.errors import InputError, ModelError
from drofcm.solve import master
from drofcm.solve.method import Method

MEASURES = [
    dro.CVaR(0.6),
    0.25 * dro.Expectation() + dro.CVaR(0.5) + 0.5 * dro.CVaR(0.8),
    0.5 * dro.Expectation() + 0.5 * dro.CVaR(0.75) + 0.25 * dro.WorstCase(),
]
ROOM = xr.DataArray([0.5, 0.45, 0.4, 0.4, 0.35, 0.2], coords={"scenario": np.arange(6)}, dims="scenario")
SETS = [
    dro.Nominal(),
    dro.Wasserstein(0.4, over="need"),
    dro.Wasserstein(0.5, over="need price", norm=2, order=2, support=[0, 3, 5]),
    dro.TotalVariation(0.15),
    dro.Moments("need", mean=0.3, variance=(0.8, 1.3)),
    dro.ProbabilityBox(0.02, ROOM),
    dro.ModifiedChiSquared(0.2),
    dro.KullbackLeibler(0.08),
    dro.Wasserstein(0.8, over="need") & dro.Moments("need", mean=0.2),
    dro.TotalVariation(0.3) & dro.ProbabilityBox(0.0, ROOM),
]
BALLS = (dro.ModifiedChiSquared, dro.KullbackLeibler)
FINITE = [own for own in SETS if not isinstance(own, BALLS)]
MOST = 2


def events(whole: bool) -> xr.Dataset:
    """Six events, the last of them never seen."""
    rng = np.random.default_rng(8)
    return xr.Dataset(
        {
            "unit_cost": ("item", [6.5, 8.0]),
            "content": (("resource", "item"), [[1.0, 2.0], [2.0, 1.0]]),
            "need": (("scenario", "resource"), rng.integers(0, 7, (6, 2)).astype(float)),
            "price": (("scenario", "resource"), rng.integers(2, 7, (6, 2)).astype(float)),
            "batch": 2.0,
            "whole": whole,
            "probability": ("scenario", [0.3, 0.25, 0.2, 0.15, 0.1, 0.0]),
        },
        coords={"scenario": np.arange(6), "item": ["a", "b"], "resource": ["r", "s"]},
    )


def stock(m: dro.Stage, data: xr.Dataset) -> Any:
    return (data.unit_cost * m.integer("stock", over="item", upper=MOST)).sum()


def cover(m: dro.Stage, data: xr.Dataset) -> Any:
    batches = (m.integer if bool(data.whole) else m.nonnegative)("batches", over="resource")
    m.subject_to("need", data.batch * batches + (data.content * m["stock"]).sum("item") >= data.need)
    return (data.price * batches).sum("resource")


@cache
def program(whole: bool) -> dro.TwoStageProgram:
    return dro.TwoStageProgram(events(whole), stock, cover)


def enumerated(data: xr.Dataset, risk: Any, ambiguity: Any) -> float:
    """The best plan's cost by worst-case weights; at that plan the linear program of the definitions agrees."""
    values = {}
    for plan in itertools.product(range(MOST + 1), repeat=2):
        missing = np.maximum(data.need.values - data.content.values @ np.array(plan, dtype=float), 0.0) / 2
        cost = (data.price.values * (np.ceil(missing - 1e-9) if data.whole else missing)).sum(axis=1)
        costs = data.probability.copy(data=cost)
        rho = float(dro.worst_case_weights(risk, ambiguity, costs, data.probability) @ costs)
        values[plan] = (float(data.unit_cost.values @ plan) + rho, rho, cost)
    best, rho, cost = min(values.values(), key=lambda value: value[0])
    if not isinstance(ambiguity, BALLS):  # tangent planes take long to close in; test_ambiguity.py has them
        assert rho == pytest.approx(robust.worst_value(risk, ambiguity, cost, data.probability.values))
    return best


def solves() -> Iterator[Any]:
    """Every measure over every set by both methods, by default by one of them.

    Linear and integer recourse alternate, and so do the methods by default, so that every set and every measure meets
    both, and either method both kinds of recourse.
    """
    for i, risk in enumerate(MEASURES):
        for j, ambiguity in enumerate(SETS):
            for k, method in enumerate(("extensive", "lshaped")):
                marks = [] if (i + j // 2 + k) % 2 == 0 else [pytest.mark.slow]
                yield pytest.param(
                    risk, ambiguity, method, (i + j) % 2 == 0, id=f"{risk}-{ambiguity}-{method}", marks=marks
                )


@cache
def expected_optimum(whole: bool, risk: Any, ambiguity: Any) -> float:
    data = program(whole).data
    return enumerated(data, risk, dro.bind(ambiguity, data))


@pytest.mark.parametrize(("risk", "ambiguity", "method", "whole"), solves())
def test_methods_find_the_enumerated_optimum(risk: Any, ambiguity: Any, method: Method, whole: bool) -> None:
    made = program(whole)
    data = made.data
    expected = expected_optimum(whole, risk, ambiguity)
    result = made.solve(risk=risk, ambiguity=ambiguity, method=method, gap=1e-6, workers=1)
    assert result.status == "optimal"
    assert result.objective == pytest.approx(expected, rel=3e-6)
    assert result.lower_bound == pytest.approx(expected, rel=3e-6)
    assert float(result.worst_case_probability.sum()) == pytest.approx(1)
    first = float((data.unit_cost * result.first_stage["stock"]).sum())
    assert first + float(result.risk_weight @ result.recourse_cost) == pytest.approx(result.objective)


@pytest.mark.parametrize("ambiguity", FINITE[1:], ids=str)
def test_linopy_model_has_the_same_optimum(ambiguity: Any) -> None:
    model = program(False).extensive_form(MEASURES[-1], ambiguity)
    model.solve(solver_name="highs", io_api="direct", output_flag=False, mip_rel_gap=1e-9)
    expected = expected_optimum(False, MEASURES[-1], ambiguity)
    assert float(model.objective.value) == pytest.approx(expected, rel=1e-6)


def test_wasserstein_by_cuts_where_it_has_too_many_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(master, "_MOST_MOVES", 0)
    made = program(True)
    ambiguity = dro.Wasserstein(0.4, over="need")
    expected = expected_optimum(True, MEASURES[1], ambiguity)
    for method in ("extensive", "lshaped"):
        result = made.solve(risk=MEASURES[1], ambiguity=ambiguity, method=method, gap=1e-6, workers=1)
        assert result.objective == pytest.approx(expected, rel=3e-6)


def test_a_plan_is_judged_by_the_set() -> None:
    made = program(False)
    data = made.data
    plan = made.solve(gap=1e-9).first_stage
    values = [
        made.evaluate(plan, MEASURES[0], dro.Wasserstein(radius, over="need")).objective for radius in (0, 0.3, 1, 50)
    ]
    assert values == sorted(values)
    assert values[0] == pytest.approx(made.evaluate(plan, MEASURES[0]).objective)
    cost = made.evaluate(plan).recourse_cost
    first = float((data.unit_cost * plan["stock"]).sum())
    assert values[-1] == pytest.approx(first + float(cost.max()))


def test_provenance_says_how_large_the_ball_is() -> None:
    made = program(False)
    data = made.data
    ambiguity = dro.Wasserstein(0.4, over="need", scale="none", norm="inf")
    size = made.solve(ambiguity=ambiguity).provenance["ambiguity_size"]
    need, p = data.need.values, data.probability.values
    mean = sum(p[i] * p[j] * np.abs(need[i] - need[j]).max() for i, j in itertools.product(range(6), repeat=2))
    assert size == pytest.approx({"radius": 0.4, "mean_distance": mean, "radius_share": 0.4 / mean})


def test_a_divergence_ball_has_no_extensive_form_for_linopy() -> None:
    made = program(False)
    with pytest.raises(ModelError, match=r"Kullback-Leibler\(0.1\) has no finite rows"):
        made.extensive_form(dro.Expectation(), dro.KullbackLeibler(0.1))


def test_matrices_need_a_bound_set() -> None:
    made = program(False)
    with pytest.raises(InputError, match="is not bound to labelled data"):
        dro.solve(made.blocks(), ambiguity=dro.Wasserstein(0.1, over="need"))
    with pytest.raises(InputError, match="over: is left out, but 2 variables are uncertain: need, price"):
        made.solve(ambiguity=dro.Wasserstein(0.1))


def test_sets_that_share_nothing_are_refused_by_both_methods() -> None:
    made = program(False)
    apart = dro.TotalVariation(0.05) & dro.ProbabilityBox(0.15)
    for method in ("extensive", "lshaped"):
        with pytest.raises(InputError, match="has no distribution in common"):
            made.solve(ambiguity=apart, method=method)
