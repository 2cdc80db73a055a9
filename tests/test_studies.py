"""The studies that are shipped mean something: a proven interval, a plan in it, and a plan that matters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pytest
import xarray as xr
from ruamel.yaml import YAML

from drofcm.solve.result import Result
from drofcm.study.assemble import Assembly
from drofcm.study.plan import evaluate_plan, read_plan
from drofcm.study.run import open_study, run_study, solve_do_nothing

MAIN = "01_demand_shock_ieee33"
SITING = "03_hub_siting_oberrhein"
UNIFIED = "06_surges_and_faults_ieee33"
SINGLE = ("plan_surges_only", "plan_outages_only")

WIDTH = {MAIN: 0.01, SITING: 0.01, UNIFIED: 0.02}
"""Study -> how wide its proven interval may be, as a share of its upper end."""
WORSE = {MAIN: 1.25, SITING: 1.25, UNIFIED: 1.5}
"""Study -> at least how many times the cost of the plan doing nothing costs."""


@dataclass(frozen=True)
class Shipped:
    """A study of the repository; each of its plans is evaluated once."""

    folder: Path

    @cached_property
    def expected(self) -> Mapping[str, dict[str, float]]:
        found: Mapping[str, dict[str, float]] = YAML(typ="safe").load(self.folder / "expected.yaml")
        return found

    @property
    def interval(self) -> tuple[float, float]:
        ends = self.expected["objective_per_year"]
        return float(ends["lower"]), float(ends["upper"])

    @cached_property
    def assembly(self) -> Assembly:
        return open_study(self.folder / "study.yaml")

    @cached_property
    def plan(self) -> Result:
        return self.priced("plan")

    @cached_property
    def nothing(self) -> Result:
        return solve_do_nothing(self.assembly)

    def priced(self, plan: str) -> Result:
        return evaluate_plan(self.assembly, read_plan(self.folder / f"{plan}.csv", self.assembly.data))


@pytest.fixture(scope="module")
def shipped(root: Path) -> dict[str, Shipped]:
    return {name: Shipped(root / "studies" / name) for name in WIDTH}


def unserved(result: Result) -> xr.DataArray:
    """Unserved energy of each event."""
    return result.terms["unserved_energy"].sum("node")


# ---- every study ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", WIDTH)
def test_the_interval_is_narrow(shipped: dict[str, Shipped], name: str) -> None:
    lower, upper = shipped[name].interval
    assert 0 < lower <= upper
    assert upper - lower <= WIDTH[name] * upper


@pytest.mark.parametrize("name", WIDTH)
def test_the_plan_costs_what_is_said_and_doing_nothing_much_more(shipped: dict[str, Shipped], name: str) -> None:
    """The upper end is the cost of ``plan.csv``, all scenarios solved anew.

    The expected-value plan of the main study is to do nothing: the mean shock lies within what the supply follows.
    """
    study = shipped[name]
    assert study.plan.objective == pytest.approx(study.interval[1], rel=1e-5)
    assert study.nothing.objective >= WORSE[name] * study.plan.objective


@pytest.mark.parametrize(("name", "hubs"), [(MAIN, 1), (SITING, 2)])
def test_the_plan_mixes_hubs_and_technologies(shipped: dict[str, Shipped], name: str, hubs: int) -> None:
    modules = shipped[name].plan.first_stage.shipped
    assert int((modules.sum(["supplier", "fcm"]) > 0).sum()) >= hubs
    assert int((modules.sum(["supplier", "hub"]) > 0).sum()) >= 2


@pytest.mark.slow
@pytest.mark.parametrize("name", [MAIN, SITING])
def test_the_study_runs_into_the_interval(shipped: dict[str, Shipped], name: str, tmp_path: Path) -> None:
    lower, upper = shipped[name].interval
    facts = run_study(shipped[name].folder / "study.yaml", tmp_path).provenance
    assert facts["certified"]
    assert facts["status"] == "optimal"
    assert facts["lower_bound"] <= upper
    assert lower <= facts["risk_weighted_objective"] <= upper * 1.01


# ---- the main study -------------------------------------------------------------------------------------------------


def test_most_of_the_unserved_energy_is_avoided_but_not_all(shipped: dict[str, Shipped]) -> None:
    study = shipped[MAIN]
    plan, nothing = (float((unserved(own) * own.probability).sum()) for own in (study.plan, study.nothing))
    assert 0.02 * nothing < plan < 0.5 * nothing


# ---- surges and faults together -------------------------------------------------------------------------------------


def by_class(study: Shipped, result: Result) -> dict[str, float]:
    """Unserved energy of all events of a class."""
    classes, energy = study.assembly.data["event_class"].values, unserved(result).values
    return {str(name): float(energy[classes == name].sum()) for name in set(classes)}


def test_the_unified_plan_serves_outages_surges_and_both(shipped: dict[str, Shipped]) -> None:
    study = shipped[UNIFIED]
    plan, nothing = by_class(study, study.plan), by_class(study, study.nothing)
    assert set(plan) == {"surge", "storm", "storm_surge"}
    assert all(plan[name] < 0.5 * nothing[name] for name in plan)


@pytest.mark.slow
@pytest.mark.parametrize("single", SINGLE)
def test_planning_for_one_costs_more_than_planning_for_both(shipped: dict[str, Shipped], single: str) -> None:
    study = shipped[UNIFIED]
    found = study.priced(single)
    assert found.objective == pytest.approx(study.expected["plans_for_one_per_year"][single], rel=1e-5)
    assert found.objective >= 1.05 * study.plan.objective
    own, best = by_class(study, found), by_class(study, study.plan)
    assert all(best[name] <= own[name] for name in best)


def test_the_unified_events_put_lines_plants_and_hubs_out(shipped: dict[str, Shipped]) -> None:
    data = shipped[UNIFIED].assembly.data
    assert int((data["energised"] == 0).any("bus").sum()) >= 3
    assert int((data["hub_available"] == 0).any("hub").sum()) >= 3
    assert float(data["embedded_generation"].sum()) == pytest.approx(1.3)
    dark = data["energised"].sel(bus="30") == 0
    assert float(data["shock_high"].sel(node="30").where(~dark).max()) == pytest.approx(0.2)  # its generator trips
