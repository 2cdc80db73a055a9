"""Plans under every risk measure over every ambiguity set: extensive form, decomposition and enumeration agree.

Enumeration judges the recourse cost of every first stage, known in closed form, by the linear programs of
``tests/robust.py``.
"""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
import robust
import xarray as xr

import drofcm as dro
from drofcm.core.errors import InputError, ModelError
from drofcm.solve import master

MEASURES = [
    dro.Expectation(),
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
FINITE = [own for own in SETS if not isinstance(own, dro.ModifiedChiSquared | dro.KullbackLeibler)]
MOST = 2


def events(whole: bool) -> xr.Dataset:
    """Six events, the last of them never seen."""
    rng = np.random.default_rng(8)
    return xr.Dataset(
        {
            "unit_cost": ("item", [3.0, 4.5]),
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


def enumerated(data: xr.Dataset, risk: Any, ambiguity: Any) -> float:
    """The best plan's cost."""
    best = math.inf
    for plan in itertools.product(range(MOST + 1), repeat=2):
        missing = np.maximum(data.need.values - data.content.values @ np.array(plan, dtype=float), 0.0) / 2
        cost = (data.price.values * (np.ceil(missing - 1e-9) if data.whole else missing)).sum(axis=1)
        rho = robust.worst_value(risk, ambiguity, cost, data.probability.values)
        best = min(best, float(data.unit_cost.values @ plan) + rho)
    return best


@pytest.mark.parametrize("ambiguity", SETS, ids=str)
@pytest.mark.parametrize("risk", MEASURES, ids=str)
def test_extensive_form_decomposition_and_enumeration_agree(risk: Any, ambiguity: Any) -> None:
    # linear and integer recourse in turn, so that every set and every measure meets both
    data = events(whole=(MEASURES.index(risk) + SETS.index(ambiguity)) % 2 == 0)
    program = dro.TwoStageProgram(data, stock, cover)
    expected = enumerated(data, risk, dro.bind(ambiguity, data))
    for method in ("extensive", "lshaped"):
        result = program.solve(risk=risk, ambiguity=ambiguity, method=method, gap=1e-6, workers=1)
        assert result.status == "optimal"
        assert result.objective == pytest.approx(expected, rel=3e-6)
        assert result.lower_bound == pytest.approx(expected, rel=3e-6)
        assert float(result.worst_case_probability.sum()) == pytest.approx(1)
        first = float((data.unit_cost * result.first_stage["stock"]).sum())
        assert first + float(result.risk_weight @ result.recourse_cost) == pytest.approx(result.objective)


@pytest.mark.parametrize("ambiguity", FINITE[1:], ids=str)
def test_linopy_model_has_the_same_optimum(ambiguity: Any) -> None:
    data = events(whole=False)
    program = dro.TwoStageProgram(data, stock, cover)
    model = program.extensive_form(MEASURES[3], ambiguity)
    model.solve(solver_name="highs", io_api="direct", output_flag=False, mip_rel_gap=1e-9)
    expected = enumerated(data, MEASURES[3], dro.bind(ambiguity, data))
    assert float(model.objective.value) == pytest.approx(expected, rel=1e-6)


def test_wasserstein_by_cuts_where_it_has_too_many_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(master, "_MOST_MOVES", 0)
    data = events(whole=True)
    program = dro.TwoStageProgram(data, stock, cover)
    ambiguity = dro.Wasserstein(0.4, over="need")
    expected = enumerated(data, MEASURES[2], dro.bind(ambiguity, data))
    for method in ("extensive", "lshaped"):
        result = program.solve(risk=MEASURES[2], ambiguity=ambiguity, method=method, gap=1e-6, workers=1)
        assert result.objective == pytest.approx(expected, rel=3e-6)


def test_a_plan_is_judged_by_the_set() -> None:
    data = events(whole=False)
    program = dro.TwoStageProgram(data, stock, cover)
    plan = program.solve(gap=1e-9).first_stage
    values = [
        program.evaluate(plan, MEASURES[1], dro.Wasserstein(radius, over="need")).objective
        for radius in (0, 0.3, 1, 50)
    ]
    assert values == sorted(values)
    assert values[0] == pytest.approx(program.evaluate(plan, MEASURES[1]).objective)
    cost = program.evaluate(plan).recourse_cost
    first = float((data.unit_cost * plan["stock"]).sum())
    assert values[-1] == pytest.approx(first + float(cost.max()))


def test_provenance_says_how_large_the_ball_is() -> None:
    data = events(whole=False)
    program = dro.TwoStageProgram(data, stock, cover)
    ambiguity = dro.Wasserstein(0.4, over="need", scale="none", norm="inf")
    size = program.solve(ambiguity=ambiguity).provenance["ambiguity_size"]
    need, p = data.need.values, data.probability.values
    mean = sum(p[i] * p[j] * np.abs(need[i] - need[j]).max() for i, j in itertools.product(range(6), repeat=2))
    assert size == pytest.approx({"radius": 0.4, "mean_distance": mean, "radius_share": 0.4 / mean})


def test_a_divergence_ball_has_no_extensive_form_for_linopy() -> None:
    program = dro.TwoStageProgram(events(whole=False), stock, cover)
    with pytest.raises(ModelError, match=r"Kullback-Leibler\(0.1\) has no finite rows"):
        program.extensive_form(dro.Expectation(), dro.KullbackLeibler(0.1))


def test_matrices_need_a_bound_set() -> None:
    program = dro.TwoStageProgram(events(whole=False), stock, cover)
    with pytest.raises(InputError, match="is not bound to labelled data"):
        dro.solve(program.blocks(), ambiguity=dro.Wasserstein(0.1, over="need"))
    with pytest.raises(InputError, match="over: is left out, but 2 variables are uncertain: need, price"):
        program.solve(ambiguity=dro.Wasserstein(0.1))


def test_sets_that_share_nothing_are_refused_by_both_methods() -> None:
    program = dro.TwoStageProgram(events(whole=False), stock, cover)
    apart = dro.TotalVariation(0.05) & dro.ProbabilityBox(0.15)
    for method in ("extensive", "lshaped"):
        with pytest.raises(InputError, match="has no distribution in common"):
            program.solve(ambiguity=apart, method=method)
