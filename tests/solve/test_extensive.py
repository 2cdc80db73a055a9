"""The extensive form: what it answers, what it refuses, and that its bounds hold however it stops."""

from __future__ import annotations

import importlib
import json
import pickle
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import drofcm as dro
from drofcm.core.errors import InfeasibleError, InputError, LimitError, ModelError, SolveError
from drofcm.solve.highs import MatrixProblem, solve
from drofcm.solve.progress import Standing

# Two machines are bought (4 and 5 a piece, at most 3 of each, at most 5 together), each makes 2 pieces. What is missing
# to the demand is bought in at the price of the scenario.
MACHINES = xr.Dataset(
    {
        "cost": ("machine", [4.0, 5.0]),
        "demand": ("scenario", [5.0, 8.0, 12.0]),
        "price": ("scenario", [1.0, 3.0, 6.0]),
        "probability": ("scenario", [0.5, 0.3, 0.2]),
    },
    coords={"scenario": [10, 20, 30], "machine": ["old", "new"]},
)


def buy(m: dro.Stage, data: xr.Dataset) -> Any:
    bought = m.integer("bought", over="machine", upper=3)
    m.subject_to("floor_space", bought.sum() <= 5)
    m.record("machines", (data.cost * bought).sum())
    return (data.cost * bought).sum() + 7


def produce(m: dro.Stage, data: xr.Dataset) -> Any:
    missing = m.nonnegative("missing")
    packed = m.integer("packed", where=data.scenario > 10)
    m.subject_to("served", 2 * m["bought"].sum() + missing >= data.demand)
    m.subject_to("packing", 2 * packed >= missing, where=data.scenario > 10)
    m.record("missed", missing)
    return data.price * missing + 0.5 * packed.fillna(0) + 2


def program() -> dro.TwoStageProgram:
    return dro.TwoStageProgram(MACHINES, buy, produce)


def by_hand(old: int, new: int) -> np.ndarray:
    """Recourse cost of a plan, by scenario."""
    missing = np.maximum(MACHINES.demand.values - 2 * (old + new), 0)
    packed = np.ceil(missing / 2) * [0, 1, 1]
    return MACHINES.price.values * missing + 0.5 * packed + 2


def total(old: int, new: int) -> float:
    return 4 * old + 5 * new + 7 + float(by_hand(old, new) @ MACHINES.probability.values)


def given(old: float, new: float) -> xr.Dataset:
    return xr.Dataset({"bought": ("machine", [old, new])}, coords={"machine": MACHINES.machine})


# ---- answers --------------------------------------------------------------------------------------------------------


def test_optimum_is_the_best_of_all_plans_constants_included() -> None:
    plans = {(old, new): total(old, new) for old in range(4) for new in range(4) if old + new <= 5}
    result = program().solve(gap=0)
    assert result.status == "optimal"
    assert result.objective == pytest.approx(min(plans.values()), abs=1e-9)
    assert plans[tuple(result.first_stage.bought.values.astype(int))] == pytest.approx(min(plans.values()))
    assert result.lower_bound <= result.objective == result.upper_bound
    assert result.gap == pytest.approx((result.upper_bound - result.lower_bound) / abs(result.upper_bound))
    assert result.gap <= 1e-9


def test_linopy_agrees_on_the_extensive_form() -> None:
    model = program().extensive_form(risk=dro.WorstCase())
    model.solve(solver_name="highs", output_flag=False)
    assert model.objective.value == pytest.approx(program().solve(risk=dro.WorstCase(), gap=0).objective)


def test_constants_alone() -> None:
    def nothing(m: dro.Stage, data: xr.Dataset) -> Any:
        return 40

    result = dro.TwoStageProgram(MACHINES, nothing, lambda m, data: data.price).solve()
    assert result.objective == pytest.approx(40 + 0.5 * 1 + 0.3 * 3 + 0.2 * 6)


def test_start_is_accepted_and_changes_nothing() -> None:
    cold, warm = program().solve(gap=0), program().solve(gap=0, start=given(0, 3))
    assert warm.objective == pytest.approx(cold.objective)
    assert warm.status == "optimal"


def test_start_that_does_not_fit_is_refused() -> None:
    with pytest.raises(ModelError, match="'bought'"):
        program().solve(start=given(1, 1).assign_coords(machine=["old", "other"]))


def test_progress_and_log() -> None:
    seen: list[Standing] = []
    result = network().solve(gap=0.3, progress=seen.append)
    assert seen
    assert list(result.log.columns) == ["seconds", "lower_bound", "upper_bound", "gap", "phase"]
    assert len(result.log) == len(seen) + 1
    assert (result.log.seconds.diff().dropna() >= 0).all()
    assert (result.log.lower_bound <= result.objective * (1 + 1e-9)).all()
    assert (result.log.upper_bound >= result.lower_bound * (1 - 1e-9)).all()
    assert 0 <= result.gap <= 0.3


# ---- refusals -------------------------------------------------------------------------------------------------------


def test_infeasible_names_the_rows(capfd: pytest.CaptureFixture[str]) -> None:
    def first(m: dro.Stage, data: xr.Dataset) -> Any:
        cost = buy(m, data)
        m.subject_to("at_least_six", m["bought"].sum() >= 6)
        return cost

    with pytest.raises(InfeasibleError, match="no plan satisfies every row") as caught:
        dro.TwoStageProgram(MACHINES, first, produce).solve()
    assert "at_least_six" in caught.value.listing
    assert "floor_space" in caught.value.listing
    assert "served" not in caught.value.listing
    assert "at_least_six" in str(caught.value)
    assert capfd.readouterr().out == ""


def test_infeasible_only_with_integers() -> None:
    def first(m: dro.Stage, data: xr.Dataset) -> Any:
        cost = buy(m, data)
        m.subject_to("odd", 2 * m["bought"].sum() == 3)
        return cost

    with pytest.raises(InfeasibleError, match="no plan satisfies every row"):
        dro.TwoStageProgram(MACHINES, first, produce).solve()


@pytest.mark.parametrize("kind", ["linear", "integer"])
def test_unbounded(kind: str) -> None:
    def respond(m: dro.Stage, data: xr.Dataset) -> Any:
        return -1 * (m.integer("sold") if kind == "integer" else m.nonnegative("sold"))

    with pytest.raises(SolveError, match="unbounded") as caught:
        dro.TwoStageProgram(MACHINES, buy, respond).solve()
    assert not isinstance(caught.value, InfeasibleError)


def test_time_limit_before_any_plan() -> None:
    with pytest.raises(LimitError, match=r"time_limit.*before any plan") as caught:
        network().solve(time_limit=0.0)
    again = pickle.loads(pickle.dumps(caught.value))
    assert (str(again), again.lower_bound) == (str(caught.value), caught.value.lower_bound)


@pytest.mark.parametrize(("option", "value"), [("gap", -0.1), ("gap", np.nan), ("method", "benders")])
def test_options_that_make_no_sense(option: str, value: Any) -> None:
    with pytest.raises(ValueError, match=option):
        program().solve(**{option: value})


# ---- evaluate -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("old", "new"), [(0, 0), (1, 1), (3, 2), (0, 3)])
def test_evaluate_equals_the_computation_by_hand(old: int, new: int) -> None:
    result = program().evaluate(given(old, new))
    assert result.status == "evaluated"
    np.testing.assert_allclose(result.recourse_cost, by_hand(old, new), atol=1e-9)
    assert result.objective == pytest.approx(total(old, new))
    assert result.upper_bound == result.objective
    assert result.lower_bound == -np.inf
    np.testing.assert_allclose(result.terms.missed, np.maximum(MACHINES.demand - 2 * (old + new), 0))
    assert result.terms.machines == 4 * old + 5 * new
    assert np.isnan(result.recourse.packed.sel(scenario=10))


def test_evaluate_under_risk() -> None:
    result = program().evaluate(given(1, 1), risk=0.5 * dro.Expectation() + 2 * dro.WorstCase())
    cost = by_hand(1, 1)
    assert result.objective == pytest.approx(9 + 7 + 0.5 * cost @ MACHINES.probability.values + 2 * cost.max())
    np.testing.assert_allclose(result.risk_weight, 0.5 * MACHINES.probability + [0, 0, 2])
    assert result.risk_weight.sum() == pytest.approx(2.5)


def test_evaluate_refuses_what_is_no_plan() -> None:
    for plan, error, words in [
        (given(1, 0.5), InfeasibleError, "integrality of bought"),
        (given(4, 0), InfeasibleError, "bounds or integrality of bought"),
        (given(-1, 0), InfeasibleError, "bounds or integrality of bought"),
        (given(3, 3), InfeasibleError, "breaks 1 rows of the first stage"),
        (given(1, np.nan), ModelError, "'bought'.*NaN"),
        (given(1, 1).assign_coords(machine=["old", "other"]), ModelError, "'bought'.*do not match.*other"),
        (xr.Dataset(), ModelError, "lacks the first-stage variable 'bought'"),
    ]:
        with pytest.raises(error, match=words):
            program().evaluate(plan)


def test_evaluate_names_the_scenario_without_recourse() -> None:
    def strict(m: dro.Stage, data: xr.Dataset) -> Any:
        m.subject_to("served", 2 * m["bought"].sum() - m.nonnegative("surplus") == data.demand - 2)
        return 0

    with pytest.raises(InfeasibleError, match="scenario 20, 30"):
        dro.TwoStageProgram(MACHINES, buy, strict).evaluate(given(1, 1))


# ---- netCDF ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["solved", "evaluated"])
def test_netcdf_round_trip(tmp_path: Path, kind: str) -> None:
    result = program().solve() if kind == "solved" else program().evaluate(given(1, 1))
    path = tmp_path / "result.nc"
    result.to_netcdf(path)
    again = dro.Result.from_netcdf(path)
    assert [entry.name for entry in tmp_path.iterdir()] == ["result.nc"]
    for name in ("first_stage", "recourse", "terms"):
        xr.testing.assert_identical(getattr(again, name), getattr(result, name))
    for name in ("recourse_cost", "probability", "worst_case_probability", "risk_weight"):
        xr.testing.assert_identical(getattr(again, name), getattr(result, name))
    for name in ("objective", "lower_bound", "upper_bound", "gap", "status", "provenance"):
        assert getattr(again, name) == getattr(result, name), name
    assert list(again.log.columns) == list(result.log.columns)
    pd.testing.assert_frame_equal(again.log, result.log, check_dtype=False, check_index_type=False)
    assert str(again) == str(result)


def test_netcdf_is_written_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "result.nc"
    program().evaluate(given(1, 1)).to_netcdf(path)
    before = path.read_bytes()

    def full(self: xr.DataTree, file: Path, **options: Any) -> None:
        Path(file).write_bytes(b"half of it")
        raise OSError("no space left on device")

    monkeypatch.setattr(xr.DataTree, "to_netcdf", full)
    with pytest.raises(OSError, match="no space"):
        program().evaluate(given(3, 2)).to_netcdf(path)
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["result.nc"]


def test_what_is_no_result_is_refused(tmp_path: Path) -> None:
    text, other = tmp_path / "text.nc", tmp_path / "other.nc"
    text.write_text("no netCDF")
    MACHINES.to_netcdf(other)
    for path in (text, other, tmp_path / "absent.nc"):
        with pytest.raises(InputError, match=path.name):
            dro.Result.from_netcdf(path)


# ---- a search that is stopped ---------------------------------------------------------------------------------------


def network(scenarios: int = 8, size: int = 12) -> dro.TwoStageProgram:
    """A fixed-charge network design that takes far longer than a test may: arcs are opened, then demand is routed."""
    rng = np.random.default_rng(20261121)
    nodes = [f"n{number}" for number in range(size)]
    data = xr.Dataset(
        {
            "fixed": (("start", "end"), rng.integers(20, 200, (size, size)).astype(float)),
            "unit": (("start", "end"), rng.integers(1, 20, (size, size)).astype(float)),
            "capacity": (("start", "end"), rng.integers(10, 25, (size, size)).astype(float)),
            "balance": (("scenario", "node"), _balances(rng, scenarios, size)),
        },
        coords={"scenario": range(scenarios), "node": nodes, "start": nodes, "end": nodes},
    )
    return dro.TwoStageProgram(data, open_arcs, route)


def _balances(rng: np.random.Generator, scenarios: int, size: int) -> np.ndarray:
    supply = rng.integers(-15, 15, (scenarios, size)).astype(float)
    supply[:, -1] -= supply.sum(axis=1)
    return supply


def open_arcs(m: dro.Stage, data: xr.Dataset) -> Any:
    opened = m.binary("opened", over="start end")
    return (data.fixed * opened).sum()


def route(m: dro.Stage, data: xr.Dataset) -> Any:
    flow = m.nonnegative("flow", over="start end")
    short, surplus = m.nonnegative("short", over="node"), m.nonnegative("surplus", over="node")
    m.subject_to("capacity", flow - data.capacity * m["opened"] <= 0)
    leaving = flow.sum("end").rename(start="node")
    entering = flow.sum("start").rename(end="node")
    m.subject_to("conserved", leaving - entering + short - surplus == data.balance)
    return (data.unit * flow).sum(["start", "end"]) + 400 * (short + surplus).sum("node")


def network_plan() -> xr.Dataset:
    labels = network().data
    return xr.Dataset({"opened": xr.zeros_like(labels.fixed)})


@pytest.mark.parametrize(("step", "status"), [("solve_recourse", "interrupted"), ("result_at", "optimal")])
def test_ctrl_c_beside_the_search_keeps_the_plan(monkeypatch: pytest.MonkeyPatch, step: str, status: str) -> None:
    module = importlib.import_module("drofcm.solve.extensive")
    real, pressed = getattr(module, step), []

    def press(*arguments: Any, **options: Any) -> Any:
        if not pressed:
            pressed.append(step)
            raise KeyboardInterrupt
        return real(*arguments, **options)

    monkeypatch.setattr(module, step, press)
    result = program().solve(method="extensive", ambiguity=dro.ModifiedChiSquared(0.1), gap=1e-6)
    assert pressed
    assert result.status == status
    assert result.lower_bound <= result.objective
    judged = dro.evaluate(program(), result.first_stage, ambiguity=dro.ModifiedChiSquared(0.1), workers=1)
    assert result.objective == pytest.approx(judged.objective)


def test_time_limit_with_a_plan() -> None:
    result = network().solve(gap=0, time_limit=2, start=network_plan())
    assert result.status == "time_limit"
    assert -np.inf < result.lower_bound <= result.upper_bound == result.objective
    assert result.gap == pytest.approx((result.upper_bound - result.lower_bound) / result.upper_bound)
    assert program_cost(result) == pytest.approx(result.objective)


def program_cost(result: dro.Result) -> float:
    return network().evaluate(result.first_stage).objective


INTERRUPTED = """
import json, runpy, sys
import highspy
module = runpy.run_path(sys.argv[1])
program, run = module["network"](scenarios=25), highspy.Highs.solve
def announced(self):
    print("running", flush=True)
    return run(self)
highspy.Highs.solve = announced
result = program.solve(gap=0, time_limit=120, start=module["network_plan"]())
highspy.Highs.solve = run
print(json.dumps(dict(status=result.status, lower=result.lower_bound, upper=result.upper_bound,
    objective=result.objective, again=program.evaluate(result.first_stage).objective)))
"""


def test_ctrl_c_keeps_the_best_plan_and_valid_bounds() -> None:
    """A real process, a real SIGINT in the middle of a search that has a plan to keep."""
    process = subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED, __file__], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "running\n"
        # long enough for the start to be completed, far too short for the search to end
        time.sleep(4)
        assert process.poll() is None
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=15)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 0, err
    answer = json.loads(out.splitlines()[-1])
    assert answer["status"] == "interrupted"
    # opening nothing is what it started from
    nothing = network(scenarios=25).evaluate(network_plan()).objective
    assert 0 < answer["lower"] < answer["upper"] == answer["objective"] <= nothing
    assert answer["again"] == pytest.approx(answer["objective"])


# ---- HiGHS itself ---------------------------------------------------------------------------------------------------


def problem(cost: list[float], constant: float = 0.0, integer: bool = False) -> MatrixProblem:
    n = len(cost)
    return MatrixProblem(
        np.array(cost, dtype=float), constant, np.ones((1, n)), np.array([1.5]), np.array([np.inf]),
        np.zeros(n), np.full(n, 10.0), np.full(n, integer),
    )  # fmt: skip


@pytest.mark.parametrize("scale", [1e-9, 1.0, 1e9])
@pytest.mark.parametrize("integer", [False, True])
def test_objective_and_bound_in_the_units_that_were_given(scale: float, integer: bool) -> None:
    """Costs are scaled on the way in; what comes back must not show it."""
    outcome = solve(problem([3 * scale, 5 * scale], constant=7 * scale, integer=integer))
    expected = scale * (7 + 3 * (2 if integer else 1.5))
    assert outcome.objective == pytest.approx(expected, rel=1e-9)
    assert outcome.bound == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(("lower", "upper", "status"), [(-1.0, 1.0, "optimal"), (1.0, 2.0, "infeasible")])
def test_problem_without_columns(lower: float, upper: float, status: str) -> None:
    empty = np.zeros(0)
    outcome = solve(
        MatrixProblem(
            empty, 3.0, np.zeros((1, 0)), np.array([lower]), np.array([upper]), empty, empty, empty.astype(bool)
        )
    )
    assert outcome.status == status
    assert outcome.objective == (3.0 if status == "optimal" else np.inf)
