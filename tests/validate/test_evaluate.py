"""A fixed plan on fresh scenarios: the same figures wherever they are computed, and equal to those by hand."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from problems import farmer, newsvendor, newsvendor_day, newsvendor_plan

import drofcm as dro
from drofcm.blocks.select import select


def knapsack_plan(m: dro.Stage, data: xr.Dataset) -> object:
    size = m.integer("size", upper=6)
    m.record("invested", 2.0 * size)
    return 2.0 * size


def knapsack_day(m: dro.Stage, data: xr.Dataset) -> object:
    packed = m.binary("packed", over="item", where=data.offered)
    m.subject_to("room", (data.weight * packed.fillna(0)).sum("item") <= m["size"], where=data.offered.any("item"))
    left = (data.value * (1 - packed.fillna(0))).sum("item")
    m.record("left", left)
    return left


WEIGHT, VALUE = np.array([2.0, 3.0, 4.0]), np.array([5.0, 7.0, 8.0])


def knapsack(offered: np.ndarray) -> dro.TwoStageProgram:
    """Integer recourse with items that exist in some scenarios only."""
    data = xr.Dataset(
        {
            "weight": ("item", WEIGHT),
            "value": ("item", VALUE),
            "offered": (("scenario", "item"), offered.astype(bool)),
        }
    )
    labels = [f"day {number}" for number in range(len(offered))]
    return dro.TwoStageProgram(data.assign_coords(scenario=labels, item=["a", "b", "c"]), knapsack_plan, knapsack_day)


def left_by_enumeration(size: int, offered: np.ndarray) -> float:
    choices = np.array(np.meshgrid([0, 1], [0, 1], [0, 1])).T.reshape(-1, 3)
    fits = choices[(choices <= offered).all(axis=1) & (choices @ WEIGHT <= size)]
    return float(VALUE.sum() - (fits @ VALUE).max())


OFFERED = np.array([[1, 1, 1], [1, 0, 0], [0, 1, 1], [0, 0, 1], [1, 1, 0]])


@pytest.mark.parametrize("size", [0, 3, 5])
def test_integer_recourse_equals_enumeration(size: int) -> None:
    program = knapsack(OFFERED)
    result = dro.evaluate(program, xr.Dataset({"size": float(size)}))
    by_hand = [left_by_enumeration(size, own) for own in OFFERED]
    assert result.status == "evaluated"
    assert result.recourse_cost.values == pytest.approx(by_hand)
    assert result.first_stage_cost == pytest.approx(2.0 * size)
    assert result.cost.values == pytest.approx(2.0 * size + np.array(by_hand))
    assert result.mean == pytest.approx(2.0 * size + np.mean(by_hand))
    assert result.cvar(0.8) == pytest.approx(2.0 * size + max(by_hand))
    assert result.terms["left"].values == pytest.approx(by_hand)
    assert list(result.cost["scenario"].values) == [f"day {number}" for number in range(5)]


def test_fresh_scenarios_are_other_data_of_the_same_program() -> None:
    problem = newsvendor(0.0)
    fresh = problem.data.drop_dims("scenario").assign(demand=("scenario", [10.0, 30.0])).assign_coords(scenario=[7, 8])
    result = dro.evaluate(problem.program(), problem.program().solve(), data=fresh)
    ordered = problem.plan["ordered"][0]
    by_hand = [6 * ordered - 10 * min(ordered, d) - max(ordered - d, 0) for d in (10.0, 30.0)]
    assert result.cost.values == pytest.approx(by_hand)
    assert result.cost["scenario"].values.tolist() == [7, 8]


def test_every_way_to_compute_gives_the_same(client: object) -> None:
    rng = np.random.default_rng(5)
    program = knapsack(rng.integers(0, 2, (12, 3)))
    plan = xr.Dataset({"size": 4.0})
    here = dro.evaluate(program, plan, workers=1)
    beside = dro.evaluate(program, plan, workers=2)
    matrices = dro.evaluate(program.blocks(), plan, workers=1)
    cluster = dro.evaluate(knapsack(program.data.offered.values.astype(int)), plan, client=client)
    for other in (beside, matrices, cluster):
        xr.testing.assert_allclose(other.cost, here.cost)
        xr.testing.assert_allclose(other.terms, here.terms)


@pytest.mark.parametrize(
    ("plan", "what"),
    [({"size": 7.0}, "bounds or integrality of size"), ({"size": 1.5}, "bounds or integrality of size")],
)
def test_a_plan_that_is_none_is_refused(plan: dict[str, float], what: str) -> None:
    with pytest.raises(dro.InfeasibleError, match=what):
        dro.evaluate(knapsack(OFFERED), xr.Dataset(plan))


def test_matrices_take_no_fresh_data() -> None:
    program = knapsack(OFFERED)
    with pytest.raises(TypeError, match="no declaration"):
        dro.evaluate(program.blocks(), xr.Dataset({"size": 1.0}), data=program.data)


# ---- some of the scenarios ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("chosen", [[0], [3, 1], [4, 0, 2]])
def test_shared_blocks_are_those_assembled_alone(chosen: list[int]) -> None:
    program = knapsack(OFFERED)
    whole = program.blocks()
    labels = [f"day {number}" for number in chosen]
    part = program.select(labels)
    shared, alone = part.blocks(), program.on(part.data).blocks()
    assert shared.scenarios[0].recourse is whole.scenarios[chosen[0]].recourse
    for own, other in zip(shared.scenarios, alone.scenarios, strict=True):
        assert (own.recourse != other.recourse).nnz == 0
        assert own.cost.tolist() == other.cost.tolist()
    for name, at in shared.variables.items():
        xr.testing.assert_identical(at.drop_attrs(), alone.variables[name].drop_attrs())
    columns = np.arange(float(shared.terms["left"].matrix.shape[1]))
    for name, term in shared.terms.items():
        assert term(columns).values == pytest.approx(alone.terms[name](columns).values)
    assert part.probability.values == pytest.approx(np.full(len(chosen), 1 / len(chosen)))


def test_selected_scenarios_keep_their_proportions() -> None:
    part = newsvendor(0.5).program().select([0, 3])
    assert part.probability.values == pytest.approx([1 / 3, 2 / 3])


@pytest.mark.parametrize(
    ("labels", "what"), [([0, 9], "unknown scenario 9"), ([1, 1], "given twice"), ([], "no probab")]
)
def test_a_selection_that_is_none_is_refused(labels: list[int], what: str) -> None:
    with pytest.raises(dro.ModelError, match=what):
        farmer().program().select(labels)


def test_an_empty_probability_is_refused() -> None:
    data = newsvendor(0.5).data.isel(scenario=[0, 1]).assign(probability=("scenario", [0.0, 1.0]))
    program = dro.TwoStageProgram(data, newsvendor_plan, newsvendor_day)
    with pytest.raises(dro.ModelError, match="no probability"):
        program.select([0])
    assert select(program.blocks(), [1], program.probability.isel(scenario=[1])).probability.values.tolist() == [1.0]
