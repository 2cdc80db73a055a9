"""What is computed beside the plan is computed under the ambiguity set that the plan was made for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from cases.builder import small_data
from ruamel.yaml import YAML
from tiny import TINY

import drofcm as dro
from drofcm.config import StudyFile, resolved
from drofcm.core.errors import InputError
from drofcm.problems import demand_shock
from drofcm.study.folder import OBJECTIVE, seal
from drofcm.study.radius import ball, choose_radius
from drofcm.study.regret import criticality_of_run
from drofcm.study.robustness import run_robustness
from drofcm.study.stability import study_stability

WORST = "ambiguity: {kind: total_variation, radius: 1.0}\nrisk: {expectation: 1.0, cvar: []}\n"


@pytest.fixture(scope="module")
def data() -> xr.Dataset:
    """The two events of the closed bridge, of which the second costs far more where hub k is closed."""
    shock = [[0.5, 0.5, 0.5], [0, 0, 0]]
    return small_data(
        fcm=["generator"],
        travel_time=[[[0.2, 0.2], [0.4, 0.4]], [[1.0, 1.0], [0.4, 0.4]]],
        shock=[shock, shock],
        setup_cost={"h": 1000, "k": 1500},
        transport_cost=0,
        module_cost=0,
        deployment_time=0,
        ramp=100,
        dispatch_cost=0,
        shortfall_penalty=0,
        unserved_penalty=0,
        critical_penalty=10_000,
        flexible_penalty=10_000,
        supply_ramp=0,
        supply_headroom=0,
        event_rate=1,
        stock=1,
    )


def test_hubs_are_worth_what_they_are_in_the_worst_case(data: xr.Dataset, tmp_path: Path) -> None:
    program = demand_shock.program(data)
    everywhere = dro.TotalVariation(1.0)
    plan = program.solve(dro.Expectation(), everywhere, gap=1e-7)
    plan.to_netcdf(tmp_path / "result.nc")
    data.to_netcdf(tmp_path / "data.nc", engine="netcdf4")
    study = StudyFile.model_validate(YAML(typ="safe").load(TINY + WORST))
    with (tmp_path / "study.resolved.yaml").open("w", encoding="utf-8") as stream:
        YAML(typ="safe").dump(resolved(study), stream)
    facts = {name: getattr(plan, name) for name in ("lower_bound", "upper_bound", "gap", "status")}
    facts |= {OBJECTIVE: plan.objective, "gap_of_benefit": plan.gap, "certified": True, "warnings": []}
    seal(tmp_path, {**facts, "alpha": 0.9, "money": {}, "told": []})
    table = criticality_of_run(tmp_path, gap=1e-7, workers=1)

    # every plan: which hubs are open, each with its one generator or without
    cost = {}
    for opened in [(), ("h",), ("k",), ("h", "k")]:
        best = np.inf
        for holds in [(), ("h",), ("k",), ("h", "k")]:
            own = plan.first_stage.copy(deep=True) * 0
            for hub in opened:
                own["hub_active"].loc[{"hub": hub}] = 1
            for hub in set(holds) & set(opened):
                own["shipped"].loc[{"hub": hub}] = 1
            if (own["shipped"].sum("hub") <= data["stock"]).all():
                judged = program.evaluate(own, dro.Expectation())
                best = min(best, judged.first_stage_cost + float(data["event_rate"]) * judged.recourse_cost.max())
        cost[opened] = float(best)
    least = min(cost.values())
    assert plan.objective == pytest.approx(least)
    for hub, row in table.iterrows():
        forced = min(value for opened, value in cost.items() if (hub in opened) != row["open"])
        assert row["extra_at_least"] == pytest.approx(forced - least, abs=0.1)
        assert row["extra_at_most"] == pytest.approx(forced - least, abs=0.1)


@pytest.mark.slow
def test_stability_of_a_plan_for_the_worst_distribution_is_that_of_the_worst_case(tmp_path: Path) -> None:
    tables = []
    for number, text in enumerate([WORST, "risk: {expectation: 0.0, cvar: [], worst_case: 1.0}\n"]):
        path = tmp_path / f"{number}.yaml"
        path.write_text(TINY + text, encoding="utf-8")
        tables.append(study_stability(path, scenarios=2, repeats=2, reference=2, gap=1e-4, time_limit=60).table)
    one, other = tables
    np.testing.assert_allclose(one["in_sample"], other["in_sample"], rtol=3e-4)
    np.testing.assert_allclose(one["lower_bound"], other["lower_bound"], rtol=3e-4)


def test_a_radius_is_sought_for_a_wasserstein_ball_alone(tmp_path: Path, data: xr.Dataset) -> None:
    path = tmp_path / "study.yaml"
    path.write_text(TINY + WORST, encoding="utf-8")
    for begin in (
        lambda: choose_radius(path, tmp_path / "runs", folds=2),
        lambda: run_robustness(path, path, tmp_path / "runs"),
    ):
        with pytest.raises(InputError, match=r"ambiguity\.kind: .*the study asks for total_variation"):
            begin()
    assert not (tmp_path / "runs").exists()
    nominal = StudyFile.model_validate(YAML(typ="safe").load(TINY))
    assert ball(nominal, data.assign(energised=data["shock"], hub_available=data["shock"])).radius == 0
