"""A run beside other plans: the one for the stated probabilities, and the frontier of cost against tail risk."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from pydantic import ValidationError
from tiny import TINY

from drofcm.config import Frontier
from drofcm.core.errors import SolveError
from drofcm.report import tables
from drofcm.report.alternatives import moves_part
from drofcm.report.inputs import NOMINAL_PLAN
from drofcm.study import run
from drofcm.study.contents import read_back, rebuild_report
from drofcm.study.folder import RunFolder
from drofcm.study.run import run_study

GAP = 1e-4
ROBUST = f"""{TINY}
risk: {{expectation: 1.0, cvar: []}}
ambiguity: {{kind: total_variation, radius: 0.6}}
frontier: {{tail_weights: [0, 1], multiples: [0, 1, 2]}}
solver: {{mip_gap: {GAP}, time_limit_s: 120}}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    place = tmp_path_factory.mktemp("robust")
    (place / "study.yaml").write_text(ROBUST, encoding="utf-8")
    return run_study(place / "study.yaml", place / "runs")


def test_each_plan_is_the_best_for_its_own_distributions(folder: RunFolder) -> None:
    inputs = read_back(folder.path)
    nominal = inputs.baselines[NOMINAL_PLAN]
    # all baselines are priced over the ambiguity set; means are under the stated probabilities
    assert inputs.plan.objective <= nominal.objective * (1 + GAP)
    assert nominal.mean <= inputs.plan.mean * (1 + GAP)
    assert nominal.mean < inputs.baselines["do nothing"].mean
    table = tables.moves(inputs)
    for column, plan in (("nominal", nominal), ("modules", inputs.plan)):
        assert table[column].sum() == pytest.approx(float(plan.first_stage["shipped"].sum()))


def test_frontier(folder: RunFolder) -> None:
    plans = read_back(folder.path).frontier
    assert plans is not None
    assert list(plans.index.get_level_values("risk").unique()) == ["as in the study", "CVaR(0.9)"]
    for _, own in plans.groupby(level="risk"):
        assert list(own.index.get_level_values("multiple")) == [0, 1, 2]
        assert (own["risk_weighted_objective"].diff().dropna() >= -GAP * own["risk_weighted_objective"].iloc[1:]).all()
    own, averse = plans.loc["as in the study"], plans.loc["CVaR(0.9)"]
    assert own.loc[0, "expected_cost"] <= plans["expected_cost"].min() * (1 + GAP)
    # CVaR with the plan's own cost, spread over the events of a year, is what the averse plan makes small
    borne = plans["first_stage_cost"] + 24 * plans["event_tail"]
    assert borne.loc["CVaR(0.9)", 0] <= borne.min() * (1 + GAP)
    # all distributions at twice the radius: the mean there is the worst event, as is the tail of three events
    assert own.loc[2, "risk_weighted_objective"] == pytest.approx(averse.loc[0, "risk_weighted_objective"], rel=2 * GAP)
    written = pd.read_csv(folder.path / "tables" / "frontier.csv")
    assert written["expected_cost_usd_per_a"].tolist() == pytest.approx(plans["expected_cost"].tolist())


def test_the_page_shows_both(folder: RunFolder) -> None:
    page = rebuild_report(folder.path).read_text(encoding="utf-8")
    part = moves_part(read_back(folder.path))
    assert part is not None
    assert part.heading.startswith("Robustness")
    assert part.heading in page
    assert 'id="moves"' in page
    assert 'id="frontier-plans"' in page
    assert folder.faults() == []


@pytest.mark.slow
def test_a_comparison_that_fails_costs_no_plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    few = "frontier: {tail_weights: [0], multiples: [0]}"
    (tmp_path / "study.yaml").write_text(f"{TINY}{few}\n", encoding="utf-8")

    def fail(*arguments: object) -> pd.DataFrame:
        raise SolveError("a worker process ended before it had answered")

    with monkeypatch.context() as broken:
        broken.setattr(run, "frontier_of", fail)
        first = run_study(tmp_path / "study.yaml", tmp_path / "runs", gap=0.05)
    assert first.status == "optimal"
    assert [finding["where"] for finding in first.provenance["warnings"]] == ["comparison with other plans"]
    assert read_back(first.path).frontier is None
    # the same command takes it up
    again = run_study(tmp_path / "study.yaml", tmp_path / "runs", gap=0.05)
    assert not again.reopened
    assert again.path == first.path
    assert again.provenance["warnings"] == []
    assert read_back(again.path).frontier is not None
    assert run_study(tmp_path / "study.yaml", tmp_path / "runs", gap=0.05).reopened


@pytest.mark.parametrize("multiples", [(), (1.0, 2.0), (0.0, 2.0, 1.0), (0.0, 0.0)])
def test_multiples_rise_from_zero(multiples: tuple[float, ...]) -> None:
    with pytest.raises(ValidationError, match="must rise from 0"):
        Frontier(multiples=multiples)
