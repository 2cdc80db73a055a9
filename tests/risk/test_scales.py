"""Worst cases in any unit: exact scaling, shifts, radii from nothing to everything, labels in any order.

The independent answer is the linear program of the definition (``robust``) at scale 1; at other scales values follow.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import robust
import xarray as xr

import drofcm as dro
from drofcm.core.errors import InputError
from drofcm.risk.rows import risk_rows
from drofcm.risk.weights import worst_case

COUNT = 6
RISK = 0.25 * dro.Expectation() + 0.5 * dro.CVaR(0.5) + 0.25 * dro.CVaR(0.8)
RNG = np.random.default_rng(31)
P = np.append(RNG.dirichlet(np.ones(COUNT - 1)), 0.0)
COST = np.round(RNG.normal(size=COUNT) * 10, 1)
POINTS = RNG.normal(size=(COUNT, 2))


def over(values: Any, labels: Any = None) -> xr.DataArray:
    values = np.asarray(values, dtype=float)
    labels = np.arange(len(values)) if labels is None else labels
    return xr.DataArray(values, coords={"scenario": labels}, dims="scenario")


def between(scale: float = 1.0) -> xr.DataArray:
    labels = np.arange(COUNT)
    apart = np.abs(POINTS[:, None] - POINTS[None]).sum(axis=2) * scale
    return xr.DataArray(apart, coords={"reference": labels, "scenario": labels}, dims=("reference", "scenario"))


DATA = xr.Dataset({"load": ("scenario", POINTS[:, 0]), "probability": over(P)}, coords={"scenario": np.arange(COUNT)})
BOX = dro.ProbabilityBox(over(np.maximum(P - 0.1, 0)), over(np.minimum(P + 0.1, 1)))
SETS = [
    dro.Nominal(),
    dro.TotalVariation(0.1),
    dro.Wasserstein(0.4, distance=between()),
    dro.Wasserstein(0.4, order=2, distance=between()),
    BOX,
    dro.bind(dro.Moments("load", mean=0.2, variance=(0.5, 1.5)), DATA),
    dro.Wasserstein(0.4, order=2, distance=between()) & BOX,
    dro.ModifiedChiSquared(0.2),
    dro.KullbackLeibler(0.1),
]
SCALES = [1e-9, 1e-3, 1e4, 1e9]


def judged(ambiguity: Any, cost: np.ndarray, risk: Any = RISK) -> tuple[float, np.ndarray]:
    weights, chosen = worst_case(risk, ambiguity, over(cost), over(P))
    return float(weights.values @ cost), chosen.values


@pytest.mark.parametrize("ambiguity", SETS, ids=str)
def test_values_scale_with_costs_and_weights_and_shift_with_sure_costs(ambiguity: Any) -> None:
    value, chosen = judged(ambiguity, COST)
    assert value == pytest.approx(robust.worst_value(RISK, ambiguity, COST, P), rel=1e-6)
    for scale in SCALES:
        scaled, there = judged(ambiguity, scale * COST)
        assert scaled == pytest.approx(scale * value, rel=1e-9)
        np.testing.assert_allclose(there, chosen, atol=1e-9)
        assert judged(ambiguity, COST, scale * RISK)[0] == pytest.approx(scale * value, rel=1e-9)
    assert judged(ambiguity, COST + 1e6)[0] == pytest.approx(value + 1e6, rel=1e-12)
    assert judged(ambiguity, np.full(COUNT, 7e8))[0] == pytest.approx(7e8)


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("order", [1.0, 1.5, 2.0, 8.0])
def test_units_of_distance_do_not_count(order: float, scale: float) -> None:
    """Distances and radius together, also where a power of them is far from 1; rows say what weights say."""
    for more in (dro.TotalVariation(1.0), BOX):
        value = judged(dro.Wasserstein(0.4, order=order, distance=between()) & more, COST)[0]
        ball = dro.Wasserstein(0.4 * scale, order=order, distance=between(scale))
        assert judged(ball & more, COST)[0] == pytest.approx(value, rel=1e-7)
        assert by_rows(ball & more, COST) == pytest.approx(value, rel=1e-6)
    assert judged(ball, COST)[0] == pytest.approx(judged(ball & dro.TotalVariation(1.0), COST)[0], rel=1e-7)


def by_rows(ambiguity: Any, cost: np.ndarray) -> float:
    """The value of the rows that an extensive form holds, at given costs."""
    from scipy.optimize import linprog

    rows = risk_rows(RISK, ambiguity, over(P))
    assert rows is not None
    found = linprog(
        rows.auxiliary_cost,
        A_ub=-rows.auxiliary_rows,
        b_ub=rows.rows @ cost,
        bounds=np.column_stack([rows.lower, np.full(len(rows.lower), np.inf)]),
        method="highs",
    )
    assert found.success, found.message
    return float(found.fun + rows.cost @ cost)


@pytest.mark.parametrize("ambiguity", [own for own in SETS[:-2]], ids=str)
def test_rows_of_the_extensive_form_have_the_value_of_the_weights(ambiguity: Any) -> None:
    for scale in (1e-3, 1.0, 1e4):
        assert by_rows(ambiguity, scale * COST) == pytest.approx(scale * judged(ambiguity, COST)[0], rel=1e-6)


@pytest.mark.parametrize(
    "ball",
    [
        lambda radius: dro.Wasserstein(radius, distance=between()),
        lambda radius: dro.Wasserstein(radius, order=2, distance=between()),
        lambda radius: dro.Wasserstein(radius, distance=between()) & dro.TotalVariation(1.0),
        lambda radius: dro.TotalVariation(min(radius, 1.0)),
        dro.ModifiedChiSquared,
        dro.KullbackLeibler,
    ],
)
def test_every_radius_from_nothing_to_everything_ends_and_grows(ball: Any) -> None:
    """From radii that rounding hides to radii that hold everything, each answered at once."""
    values = [
        judged(ball(radius), COST)[0] for radius in (0.0, 1e-300, 1e-30, 1e-18, 1e-12, 1e-6, 1e-2, 1.0, 30.0, 1e30)
    ]
    assert values[0] == pytest.approx(judged(dro.Nominal(), COST)[0])
    assert (np.diff(values) >= -1e-9).all()
    assert values[4] == pytest.approx(values[0], abs=1e-3)
    worst = COST[P > 0].max() if ball in (dro.ModifiedChiSquared, dro.KullbackLeibler) else COST.max()
    assert values[-1] == pytest.approx(worst)


def test_the_entropy_at_which_only_the_worst_is_left_is_met_exactly() -> None:
    for count in range(2, 60):
        p, cost = over(np.full(count, 1 / count)), over(np.arange(count))
        for radius in (np.log(count), np.log(count) * (1 - 1e-15), np.log(count) * (1 + 1e-15)):
            found = worst_case(dro.Expectation(), dro.KullbackLeibler(float(radius)), cost, p)[0]
            assert float(found @ cost) == pytest.approx(count - 1, rel=1e-6)


def test_numbers_of_numpy_bound_means_as_well() -> None:
    """A band of one standard deviation is one whatever type says 1."""
    expected = dro.bind(dro.Moments("load", mean=1.0), DATA)
    for number in (np.int64(1), np.float32(1.0), np.float64(1.0), 1):
        bound: Any = dro.bind(dro.Moments("load", mean=number), DATA)  # type: ignore[arg-type]
        assert bound.conditions.function.sizes["condition"] == 1
        assert judged(bound, COST)[0] == pytest.approx(judged(expected, COST)[0])


def test_limits_that_nothing_reaches_are_no_rows() -> None:
    wide: Any = dro.bind(dro.Moments("load", mean=0.2, variance=(0.0, 1e9)), DATA)
    rows = risk_rows(RISK, wide, over(P))
    assert rows is not None
    assert np.abs(rows.auxiliary_cost).max() < 1e3
    only = dro.bind(dro.Moments("load", mean=0.2), DATA)
    assert judged(wide, COST)[0] == pytest.approx(judged(only, COST)[0])


@pytest.mark.parametrize("ambiguity", SETS, ids=str)
def test_costs_in_another_order_are_matched_by_label(ambiguity: Any) -> None:
    order = RNG.permutation(COUNT)
    weights, chosen = worst_case(RISK, ambiguity, over(COST), over(P))
    there, picked = worst_case(RISK, ambiguity, over(COST[order], order), over(P))
    xr.testing.assert_allclose(there.sortby("scenario"), weights)
    xr.testing.assert_allclose(picked.sortby("scenario"), chosen)


@pytest.mark.parametrize(
    ("cost", "probability", "message"),
    [
        (over([1.0, 2.0], ["a", "b"]), over([0.5, 0.5], ["a", "c"]), "other scenarios than the probabilities: b, c"),
        (over([1.0, np.nan]), over([0.5, 0.5]), "cost is NaN at scenario 1"),
        (over([1.0, 2.0]), over([0.5, 0.6]), "probabilities must sum to 1, they sum to 1.1"),
        (over([1.0, 2.0]), over([1.5, -0.5]), r"probability must be at least 0, is \[-0.5\] at scenario \[1\]"),
    ],
)
def test_costs_and_probabilities_that_do_not_belong_together(cost: Any, probability: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        dro.worst_case_weights(RISK, dro.TotalVariation(0.1), cost, probability)


def test_figures_for_other_scenarios_are_refused_where_a_set_is_described() -> None:
    from drofcm.risk.ambiguity import describe

    with pytest.raises(InputError, match="made for other scenarios than the probabilities"):
        describe(SETS[2], over([0.5, 0.5], ["a", "b"]))
    with pytest.raises(InputError, match=r"data\['probability'\]: must be numbers"):
        dro.bind(dro.Wasserstein(0.1, over="load"), DATA.assign(probability=("scenario", list("abcdef"))))


@pytest.mark.parametrize("ambiguity", [dro.Nominal(), dro.TotalVariation(0.5), dro.KullbackLeibler(1.0)], ids=str)
def test_a_single_scenario(ambiguity: Any) -> None:
    found = worst_case(RISK + dro.WorstCase(), ambiguity, over([3.0]), over([1.0]))
    assert [float(own[0]) for own in found] == pytest.approx([2.0, 1.0])


@pytest.mark.parametrize("ambiguity", [dro.Nominal(), dro.TotalVariation(0.2)])
def test_a_cost_that_is_infinite_has_no_weights_whatever_its_probability(ambiguity: Any) -> None:
    # beside a weight of zero it would make a risk of NaN
    with pytest.raises(ValueError, match=r"cost is infinite at scenario \[5\]"):
        worst_case(RISK, ambiguity, over([*COST[:-1], np.inf]), over(P))
