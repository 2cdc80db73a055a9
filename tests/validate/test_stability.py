"""Stability against the newsvendor, whose plan and costs are known in closed form for every ensemble."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from tiny import TINY
from typer.testing import CliRunner

import drofcm as dro
from drofcm.cli import app
from drofcm.core.errors import InputError
from drofcm.study.stability import study_stability
from drofcm.validate.stability import stability

COST, PRICE = 3.0, 5.0


def order(m: dro.Stage, data: xr.Dataset) -> Any:
    return COST * m.nonnegative("ordered")


def sell(m: dro.Stage, data: xr.Dataset) -> Any:
    sold = m.nonnegative("sold", upper=data.demand)
    m.subject_to("in_stock", sold <= m["ordered"])
    return -PRICE * sold


def program(demand: np.ndarray, probability: np.ndarray | None = None) -> dro.TwoStageProgram:
    data = xr.Dataset({"demand": ("scenario", demand)}, coords={"scenario": np.arange(len(demand))})
    if probability is not None:
        data = data.assign(probability=("scenario", probability))
    return dro.TwoStageProgram(data, order, sell)


def cost(x: float, demand: np.ndarray) -> float:
    return COST * x - PRICE * float(np.minimum(x, demand).mean())


def best(demand: np.ndarray) -> float:
    """The critical quantile: order until P(demand > x) <= cost / price."""
    return float(np.quantile(demand, 1 - COST / PRICE, method="inverted_cdf"))


def samples(count: int, size: int) -> dict[str, np.ndarray]:
    return {f"draw {k}": np.random.default_rng(k).gamma(4.0, 10.0, size) for k in range(count)}


def test_figures_are_those_of_the_newsvendor() -> None:
    drawn, truth = samples(4, 33), np.random.default_rng(99).gamma(4.0, 10.0, 101)
    found = stability({name: program(own) for name, own in drawn.items()}, program(truth))
    table = found.table
    for name, own in drawn.items():
        assert table.loc[name, "in_sample"] == pytest.approx(cost(best(own), own), abs=1e-5)
        assert table.loc[name, "out_of_sample"] == pytest.approx(cost(best(own), truth), abs=1e-5)
        assert float(found.plans["ordered"].sel(ensemble=name)) == pytest.approx(best(own), abs=1e-5)
    np.testing.assert_allclose(table["promise"], table["in_sample"] - table["out_of_sample"])
    ins, outs = (
        [cost(best(own), judge(own)) for own in drawn.values()] for judge in (lambda own: own, lambda _: truth)
    )
    assert found.in_sample_spread == pytest.approx((max(ins) - min(ins)) / -np.mean(ins), rel=1e-6)
    assert found.out_of_sample_spread == pytest.approx((max(outs) - min(outs)) / -np.mean(outs), rel=1e-5)
    assert found.bias == pytest.approx((np.mean(ins) - np.mean(outs)) / -np.mean(outs), rel=1e-5)
    assert found.truth == "reference"
    assert "4 ensembles" in str(found)
    assert found.unproven <= 1e-3


def test_expected_costs_stand_beside_an_objective_that_is_none() -> None:
    """Half mean, half CVaR: the means are those of the same plans without the tail."""
    drawn, truth = samples(2, 20), np.random.default_rng(98).gamma(4.0, 10.0, 50)
    risk = 0.5 * dro.Expectation() + 0.5 * dro.CVaR(0.8)
    found = stability({name: program(own) for name, own in drawn.items()}, program(truth), risk=risk)
    for name, own in drawn.items():
        ordered = float(found.plans["ordered"].sel(ensemble=name))
        assert found.table.loc[name, "mean_in_sample"] == pytest.approx(cost(ordered, own), abs=1e-5)
        assert found.table.loc[name, "mean_out_of_sample"] == pytest.approx(cost(ordered, truth), abs=1e-5)
    assert (found.table["mean_out_of_sample"] < found.table["out_of_sample"]).all()


def test_without_a_reference_each_judges_the_others() -> None:
    drawn = samples(3, 21)
    found = stability({name: program(own) for name, own in drawn.items()})
    for name, own in drawn.items():
        others = [cost(best(own), other) for key, other in drawn.items() if key != name]
        assert found.table.loc[name, "out_of_sample"] == pytest.approx(np.mean(others), abs=1e-5)
    assert found.truth == "other ensembles"


def test_equal_ensembles_are_stable_and_more_scenarios_are_more_so() -> None:
    own = samples(1, 25)["draw 0"]
    found = stability({"a": program(own), "b": program(own)}, program(own))
    assert found.in_sample_spread == 0
    assert found.out_of_sample_spread == 0
    assert found.bias == pytest.approx(0, abs=1e-9)
    truth = np.random.default_rng(99).gamma(4.0, 10.0, 201)
    few, many = (
        stability({name: program(own) for name, own in samples(4, size).items()}, program(truth)) for size in (8, 80)
    )
    assert many.in_sample_spread < few.in_sample_spread
    assert many.out_of_sample_spread < few.out_of_sample_spread
    # what is optimised on few scenarios looks better than it is
    assert few.bias < 0


def test_refusals() -> None:
    own = samples(1, 5)["draw 0"]
    with pytest.raises(InputError, match="1 given"):
        stability({"a": program(own)})

    def other(m: dro.Stage, data: xr.Dataset) -> Any:
        return COST * m.nonnegative("bought")

    def sold(m: dro.Stage, data: xr.Dataset) -> Any:
        amount = m.nonnegative("sold", upper=data.demand)
        m.subject_to("in_stock", amount <= m["bought"])
        return -PRICE * amount

    with pytest.raises(InputError, match=r"programs\['b'\]: its first stage has other variables"):
        stability({"a": program(own), "b": dro.TwoStageProgram(program(own).data, other, sold)})


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    path = tmp_path / "study.yaml"
    path.write_text(TINY, encoding="utf-8")
    return path


@pytest.mark.slow
def test_command_shows_every_ensemble(tiny: Path) -> None:
    command = ["stability", str(tiny), "--scenarios", "2", "--repeats", "2", "--reference", "2", "--gap", "0.1"]
    told = CliRunner().invoke(app, command)
    assert told.exit_code == 0, told.output
    assert "2 ensembles: costs spread by" in told.stdout
    assert "Expected cost of plans, k$/a" in told.stdout
    assert "Risk-weighted objective of plans (no cash), k$/a" in told.stdout
    assert "out of sample (reference)" in told.stdout


@pytest.mark.slow
@pytest.mark.parametrize("how", [{"pilots": 1}, {"by": "data"}], ids=["by costs", "by data"])
def test_plans_from_reduced_events_are_judged_by_the_reference(tiny: Path, how: dict[str, Any]) -> None:
    found = study_stability(tiny, scenarios=6, drawn=8, repeats=2, reference=3, gap=0.05, **how)
    assert found.table["scenarios"].tolist() == [6, 6]
    assert (found.table["in_sample"] >= found.table["lower_bound"] - 1e-6).all()
    assert found.unproven <= 0.05


def test_command_refuses_numbers_that_make_no_sense(tiny: Path) -> None:
    with pytest.raises(InputError, match="3 events cannot be reduced to 4") as caught:
        study_stability(tiny, scenarios=4, drawn=3, repeats=1)
    assert "repeats: must be at least 2, is 1" in str(caught.value)
    with pytest.raises(InputError, match="distance is measured by costs at pilot plans") as caught:
        study_stability(tiny, scenarios=2, drawn=3, over="shock", pilots=-1)
    assert "pilots: must be at least 0, is -1" in str(caught.value)
