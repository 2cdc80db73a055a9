"""The canonical matrices of a small program against matrices written by hand, and the way back to labels."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.testing as npt
import pytest
import scipy.sparse as sp
import xarray as xr

import drofcm as dro
from drofcm.blocks.form import Scenario, TwoStageBlocks
from drofcm.core.errors import ModelError

INF = np.inf


def data() -> xr.Dataset:
    return xr.Dataset(
        {
            "build_cost": ("hub", [3.0, 4.0]),
            "share": (("scenario", "hub"), [[0.5, 1.0], [1.0, 0.0], [0.25, 0.75]]),
            "demand": (("scenario", "time"), [[5.0, 6.0], [7.0, 8.0], [9.0, 10.0]]),
            "price": ("scenario", [10.0, 20.0, 30.0]),
            "limit": (("scenario", "time"), [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]),
            "probability": ("scenario", [0.2, 0.3, 0.5]),
        },
        coords={"scenario": [4, 7, 9], "hub": ["a", "b"], "time": [0, 1]},
    )


def plan(m: dro.Stage, data: xr.Dataset) -> Any:
    opened = m.binary("opened", over="hub")
    bought = m.nonnegative("bought", upper=12.0)
    m.subject_to("any", opened.sum("hub") >= 1)
    m.subject_to("linked", bought - 10 * opened.sum("hub") <= 2)
    m.record("build", (data.build_cost * opened).sum())
    return (data.build_cost * opened).sum() + 1.5 * bought + 100


def respond(m: dro.Stage, data: xr.Dataset) -> Any:
    unserved = m.nonnegative("unserved", over="time", upper=data.limit)
    shifted = m.variable("shifted", lower=-2, upper=2)
    lots = m.integer("lots", over="hub", where=xr.DataArray([False, True], coords={"hub": data.hub}))
    m.subject_to("served", unserved + shifted + (data.share * m["opened"]).sum("hub") + m["bought"] >= data.demand)
    m.subject_to("lots_bought", lots.sum("hub") - 2 * m["bought"] == -1)
    m.record("missing", unserved.sum("time") + 1)
    cost = data.price * unserved.sum("time") + 0.5 * shifted + 7 * lots.sum("hub")
    return cost - 0.25 * m["bought"] + data.price + (data.share * m["opened"]).sum("hub")


@pytest.fixture(scope="module")
def blocks() -> TwoStageBlocks:
    return dro.TwoStageProgram(data(), plan, respond).blocks()


# columns of the first stage: opened a, opened b, bought; of a scenario: unserved 0, unserved 1, shifted, lots b


def test_first_stage(blocks: TwoStageBlocks) -> None:
    first = blocks.first_stage
    npt.assert_array_equal(first.cost, [3, 4, 1.5])
    assert first.constant == 100
    npt.assert_array_equal(first.rows.toarray(), [[1, 1, 0], [-10, -10, 1]])
    npt.assert_array_equal(first.row_lower, [1, -INF])
    npt.assert_array_equal(first.row_upper, [INF, 2])
    npt.assert_array_equal(first.lower, [0, 0, 0])
    npt.assert_array_equal(first.upper, [1, 1, 12])
    npt.assert_array_equal(first.integer, [True, True, False])


@pytest.mark.parametrize(
    ("number", "share", "demand", "price", "limit"),
    [
        (0, (0.5, 1.0), (5.0, 6.0), 10.0, (1.0, 2.0)),
        (1, (1.0, 0.0), (7.0, 8.0), 20.0, (3.0, 4.0)),
        (2, (0.25, 0.75), (9.0, 10.0), 30.0, (5.0, 6.0)),
    ],
)
def test_scenario(
    blocks: TwoStageBlocks,
    number: int,
    share: tuple[float, float],
    demand: tuple[float, float],
    price: float,
    limit: tuple[float, float],
) -> None:
    scenario = blocks.scenarios[number]
    npt.assert_array_equal(scenario.cost, [price, price, 0.5, 7])
    npt.assert_array_equal(scenario.first_stage_cost, [*share, -0.25])
    assert scenario.constant == price
    npt.assert_array_equal(scenario.technology.toarray(), [[*share, 1], [*share, 1], [0, 0, -2]])
    npt.assert_array_equal(scenario.recourse.toarray(), [[1, 0, 1, 0], [0, 1, 1, 0], [0, 0, 0, 1]])
    npt.assert_array_equal(scenario.row_lower, [*demand, -1])
    npt.assert_array_equal(scenario.row_upper, [INF, INF, -1])
    npt.assert_array_equal(scenario.lower, [0, 0, -2, 0])
    npt.assert_array_equal(scenario.upper, [*limit, 2, INF])
    npt.assert_array_equal(scenario.integer, [False, False, False, True])


def test_probability(blocks: TwoStageBlocks) -> None:
    npt.assert_array_equal(blocks.probability, [0.2, 0.3, 0.5])
    npt.assert_array_equal(blocks.probability.scenario, [4, 7, 9])


def same(one: Scenario, other: Scenario) -> None:
    for name, value in vars(one).items():
        also = getattr(other, name)
        if sp.issparse(value):
            assert value.shape == also.shape
            value, also = value.toarray(), also.toarray()
        npt.assert_array_equal(value, also, err_msg=name)


@pytest.mark.parametrize("chunk", [[4], [7], [9], [4, 9], [9, 7], [4, 7, 9]], ids=str)
def test_a_chunk_of_scenarios_has_the_same_blocks(blocks: TwoStageBlocks, chunk: list[int]) -> None:
    part = data().sel(scenario=chunk)
    part["probability"] = part.probability / part.probability.sum()
    chunked = dro.TwoStageProgram(part, plan, respond).blocks()
    for name, value in vars(blocks.first_stage).items():
        also = getattr(chunked.first_stage, name)
        if sp.issparse(value):
            value, also = value.toarray(), also.toarray()
        npt.assert_array_equal(value, also, err_msg=name)
    assert len(chunked.scenarios) == len(chunk)
    for label, scenario in zip(chunk, chunked.scenarios, strict=True):
        same(blocks.scenarios[[4, 7, 9].index(label)], scenario)


def test_two_calls_give_the_same_blocks(blocks: TwoStageBlocks) -> None:
    again = dro.TwoStageProgram(data(), plan, respond).blocks()
    for one, other in zip(blocks.scenarios, again.scenarios, strict=True):
        same(one, other)


def test_columns_find_their_labels(blocks: TwoStageBlocks) -> None:
    x = np.array([1.0, 0.0, 2.5])
    recourse = [np.array([10.0, 11, 12, 13]) + 100 * number for number in range(3)]
    columns = blocks.columns(x, recourse)
    first, second = blocks.labelled_first_stage(x), blocks.labelled_recourse(columns)
    assert list(first) == ["opened", "bought"]
    assert first.opened.sel(hub="a") == 1
    assert first.bought == 2.5
    assert set(second) == {"unserved", "shifted", "lots"}
    assert second.unserved.dims == ("scenario", "time")
    assert second.unserved.sel(scenario=7, time=1) == 111
    assert second.shifted.sel(scenario=9) == 212
    assert second.lots.sel(scenario=4, hub="b") == 13
    assert second.lots.sel(hub="a").isnull().all()
    terms = blocks.labelled_terms(columns)
    assert terms.build == 3
    npt.assert_array_equal(terms.missing, [10 + 11 + 1, 110 + 111 + 1, 210 + 211 + 1])


def test_first_stage_round_trip(blocks: TwoStageBlocks) -> None:
    x = np.array([0.0, 1.0, 2.5])
    labelled = blocks.labelled_first_stage(x)
    npt.assert_array_equal(blocks.first_stage_columns(labelled), x)
    npt.assert_array_equal(blocks.first_stage_columns(labelled.isel(hub=[1, 0])), x)


def test_plan_that_does_not_fit(blocks: TwoStageBlocks) -> None:
    labelled = blocks.labelled_first_stage(np.array([0.0, 1.0, 2.5]))
    for bad, words in [
        (labelled.drop_vars("bought"), "lacks the first-stage variable 'bought'"),
        (labelled.assign_coords(hub=["a", "c"]), r"'opened'.*'hub' do not match.*'b' missing; 'c' unknown"),
        (labelled.isel(hub=[0]), r"'opened'.*'hub' do not match.*b"),
        (labelled.isel(hub=0), "'opened'.*dimensions"),
        (labelled.where(labelled.hub == "a"), "'opened'.*NaN"),
    ]:
        with pytest.raises(ModelError, match=words):
            blocks.first_stage_columns(bad)


def test_program_without_rows_or_recourse_columns() -> None:
    """Nothing to decide is a program too: the recourse cost is data and first stage alone."""
    blocks = dro.TwoStageProgram(
        data(), lambda m, data: m.nonnegative("bought", upper=3), lambda m, data: data.price - 2 * m["bought"]
    ).blocks()
    assert blocks.first_stage.rows.shape == (0, 1)
    for scenario, price in zip(blocks.scenarios, (10, 20, 30), strict=True):
        assert scenario.recourse.shape == (0, 0)
        npt.assert_array_equal(scenario.first_stage_cost, [-2])
        assert scenario.constant == price


def test_semi_continuous_variables_are_refused() -> None:
    def recourse(m: dro.Stage, data: xr.Dataset) -> Any:
        m.model.add_variables(lower=1, upper=2, coords=[data.indexes["scenario"]], name="x", semi_continuous=True)
        return m["x"]

    with pytest.raises(ModelError, match="semi-continuous"):
        dro.TwoStageProgram(data(), plan, recourse).blocks()
