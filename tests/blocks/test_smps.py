"""SMPS files as a whole: published optima, finding the files, any program written and read back."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.testing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from smps_files import assert_scenario, extensive, extensive_bytes, notes, refused, write

from drofcm.blocks.form import TwoStageBlocks
from drofcm.blocks.smps import read_smps
from drofcm.core.errors import InputError
from drofcm.solve.highs import Outcome, solve

INF = math.inf


def optimum(blocks: TwoStageBlocks, **options: Any) -> Outcome:
    outcome = solve(extensive(blocks), **options)
    assert outcome.status == "optimal"
    assert outcome.x is not None
    return outcome


def share_matrices(blocks: TwoStageBlocks) -> bool:
    return len({(id(scenario.technology), id(scenario.recourse)) for scenario in blocks.scenarios}) == 1


# ---- published problems ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("core", "stochastic", "scenarios", "published", "digits"),
    [
        ("lands", "lands", 3, 381.853333, 6),
        ("4node", "4node-16", 16, 423.0125, 4),
        ("4node", "4node-128", 128, 423.0125, 4),
        ("env", "env-aggr", 5, 20478.698994, 6),
        ("pltexpa-2", "pltexpa-2-6", 6, -9.479354, 6),
        ("stormg2", "stormg2-8", 8, 15535235.730145, 5),
    ],
)
def test_linear_programs_reach_the_published_optimum(
    benchmarks: Path, core: str, stochastic: str, scenarios: int, published: float, digits: int
) -> None:
    folder = benchmarks / "slp"
    blocks = read_smps(folder / core, stochastic=folder / f"{stochastic}.sto")
    assert len(blocks.scenarios) == scenarios
    assert share_matrices(blocks)
    assert optimum(blocks).objective == pytest.approx(published, abs=10.0**-digits)


def test_lands_has_the_published_plan(benchmarks: Path) -> None:
    blocks = read_smps(benchmarks / "slp" / "lands")
    found = optimum(blocks).x
    assert found is not None
    plan = blocks.labelled_first_stage(found)["x"]
    assert plan["column"].values.tolist() == ["X1", "X2", "X3", "X4"]
    npt.assert_allclose(plan, [8 / 3, 4, 10 / 3, 2], atol=1e-6)


def test_probabilities_that_do_not_sum_to_one_are_refused(benchmarks: Path) -> None:
    folder = benchmarks / "slp"
    path = folder / "pltexpa-2-16.sto"
    (finding,) = refused(folder / "pltexpa-2", stochastic=path)
    assert finding.where == f"{path}:3"
    assert "BLOCK001" in finding.what
    assert "1.0002" in finding.what


def test_sslp_costs_what_was_published_at_the_published_plan(benchmarks: Path) -> None:
    blocks = read_smps(benchmarks / "siplib" / "sslp_5_25_50")
    assert len(blocks.scenarios) == 50
    assert share_matrices(blocks)
    plan = np.array([1.0, 0.0, 1.0, 0.0, 0.0])
    fixed = dataclasses.replace(blocks.first_stage, lower=plan, upper=plan)
    assert optimum(dataclasses.replace(blocks, first_stage=fixed)).objective == pytest.approx(-121.60, abs=1e-4)


@pytest.mark.slow
def test_sslp_reaches_the_published_optimum(benchmarks: Path) -> None:
    blocks = read_smps(benchmarks / "siplib" / "sslp_5_25_50")
    found = optimum(blocks)
    assert found.objective == pytest.approx(-121.60, abs=1e-4)
    assert found.x is not None
    npt.assert_allclose(found.x[:5], [1, 0, 1, 0, 0], atol=1e-6)


def test_dcap_has_random_recourse_and_its_relaxation_has_the_known_value(benchmarks: Path) -> None:
    """With integers 1834.57; the extensive form takes a minute, its LP relaxation (882.6152) checks the matrices."""
    blocks = read_smps(benchmarks / "siplib" / "dcap233_200")
    scenarios = blocks.scenarios
    assert len({id(scenario.recourse) for scenario in scenarios}) == 200
    assert len({id(scenario.technology) for scenario in scenarios}) == 1
    assert all(np.shares_memory(scenario.recourse.indices, scenarios[0].recourse.indices) for scenario in scenarios)
    relaxed = tuple(
        dataclasses.replace(scenario, integer=np.zeros_like(scenario.integer)) for scenario in blocks.scenarios
    )
    assert optimum(dataclasses.replace(blocks, scenarios=relaxed)).objective == pytest.approx(882.6152, abs=5e-4)


def drslp_demand(blocks: TwoStageBlocks) -> np.ndarray:
    """Right-hand sides of CON7 to CON11, (scenario, row)."""
    return np.array([scenario.row_upper[-5:] for scenario in blocks.scenarios])


def test_drslp_differs_between_both_readings(benchmarks: Path) -> None:
    stem = benchmarks / "dsp_dro" / "drslp_5_5_5_5"
    standard, core = read_smps(stem), read_smps(stem, reading="core")
    assert standard.probability.attrs["reading"] == "standard"
    assert "inherit" in notes(standard)
    assert core.probability.attrs["reading"] == "core"
    # SCEN_2 sets CON8 to CON11; SCEN_3, its child, sets CON7 and CON10; the core holds 1, 1, 0, 0, 1
    npt.assert_array_equal(drslp_demand(standard)[:3], [[1, 1, 0, 0, 1], [1, 0, 1, 1, 0], [0, 0, 1, 0, 0]])
    npt.assert_array_equal(drslp_demand(core)[:3], [[1, 1, 0, 0, 1], [1, 0, 1, 1, 0], [0, 1, 0, 0, 1]])
    assert optimum(standard).objective != pytest.approx(optimum(core).objective)


# ---- finding the files ----------------------------------------------------------------------------------------------


def test_files_by_stem_by_one_of_them_or_one_by_one(tmp_path: Path) -> None:
    stem = write(tmp_path)
    expected = extensive_bytes(read_smps(stem))
    assert extensive_bytes(read_smps(f"{stem}.cor")) == expected
    assert extensive_bytes(read_smps(f"{stem}.sto")) == expected
    (tmp_path / "toy.sto").rename(tmp_path / "other.v2.sto")
    assert extensive_bytes(read_smps(stem, stochastic=tmp_path / "other.v2.sto")) == expected
    paths = {"core": tmp_path / "toy.cor", "time": tmp_path / "toy.tim", "stochastic": tmp_path / "other.v2.sto"}
    blocks = read_smps(**paths)
    assert extensive_bytes(blocks) == expected
    assert blocks.probability.attrs["source"] == "toy.cor, toy.tim, other.v2.sto"


def test_missing_files_are_all_named(tmp_path: Path) -> None:
    assert [finding.where for finding in refused(tmp_path / "none")] == [
        str(tmp_path / f"none{suffix}") for suffix in (".cor", ".tim", ".sto")
    ]
    with pytest.raises(InputError, match="time: no path of the time file"):
        read_smps(core=write(tmp_path).with_suffix(".cor"))


@pytest.mark.parametrize("option", ["reading", "layout"])
def test_unknown_options_are_refused(tmp_path: Path, option: str) -> None:
    with pytest.raises(InputError, match=f"unknown {option} 'guess'"):
        read_smps(write(tmp_path), **{option: "guess"})


# ---- any program, written and read back -----------------------------------------------------------------------------

QUARTERS = st.integers(-40, 40).map(lambda number: number / 4)


def matrices(draw: st.DrawFn, rows: int, columns: int) -> np.ndarray:
    flat = draw(st.lists(QUARTERS | st.just(0.0), min_size=rows * columns, max_size=rows * columns))
    return np.array(flat, dtype=float).reshape(rows, columns)


@st.composite
def programs(draw: st.DrawFn) -> dict[str, Any]:
    """A first stage of n columns and m rows, a recourse of k columns and l rows, and what some scenarios replace."""
    n, m, k, rows = (draw(st.integers(low, 3)) for low in (1, 0, 1, 1))
    program: dict[str, Any] = {
        "A": matrices(draw, m, n),
        "T": matrices(draw, rows, n),
        "W": matrices(draw, rows, k),
        "cost": matrices(draw, 1, n + k)[0],
        "rhs": matrices(draw, 1, m + rows)[0],
        "sense": draw(st.lists(st.sampled_from("LGE"), min_size=m + rows, max_size=m + rows)),
        "lower": matrices(draw, 1, n + k)[0],
        "width": np.abs(matrices(draw, 1, n + k)[0]),
        "integer": draw(st.lists(st.booleans(), min_size=n + k, max_size=n + k)),
        "constant": draw(QUARTERS),
    }
    places = (
        [("T", i, j) for i in range(rows) for j in range(n)]
        + [("W", i, j) for i in range(rows) for j in range(k)]
        + [("rhs", i, 0) for i in range(rows)]
        + [("cost", 0, j) for j in range(k)]
    )
    changes = st.dictionaries(st.sampled_from(places), QUARTERS, max_size=4)
    program["scenarios"] = draw(st.lists(changes, min_size=1, max_size=4))
    return program


class Writer:
    """An SMPS file line by line, in fixed fields or free."""

    def __init__(self, fixed: bool) -> None:
        self.fixed, self.lines = fixed, list[str]()

    def section(self, *words: str) -> None:
        self.lines.append(" ".join(words))

    def record(self, *words: object, code: str = "") -> None:
        texts = [str(word) for word in words]
        if not self.fixed:
            self.lines.append(" ".join(["", *filter(None, [code, *texts])]))
            return
        fields = zip(texts, (10, 10, 15, 10, 12), strict=False)
        self.lines.append(f" {code:2s} " + "".join(text.ljust(width) for text, width in fields).rstrip())

    def text(self) -> str:
        return "\n".join([*self.lines, "ENDATA", ""])


def core_text(program: Mapping[str, Any], out: Writer) -> str:
    upper_right = np.zeros((len(program["A"]), program["W"].shape[1]))
    whole = np.block([[program["A"], upper_right], [program["T"], program["W"]]])
    out.section("NAME", "ANY")
    out.section("ROWS")
    out.record("COST", code="N")
    for number, sense in enumerate(program["sense"]):
        out.record(f"R{number}", code=sense)
    out.section("COLUMNS")
    for column, integer in enumerate(program["integer"]):
        if integer:
            out.record(f"M{column}", "'MARKER'", "", "'INTORG'") if out.fixed else out.record(
                "M", "'MARKER'", "'INTORG'"
            )
        out.record(f"C{column}", "COST", program["cost"][column])
        for row in np.flatnonzero(whole[:, column]):
            out.record(f"C{column}", f"R{row}", whole[row, column])
        if integer:
            out.record(f"M{column}", "'MARKER'", "", "'INTEND'") if out.fixed else out.record(
                "M", "'MARKER'", "'INTEND'"
            )
    out.section("RHS")
    out.record("RHS", "COST", -program["constant"])
    for row, value in enumerate(program["rhs"]):
        out.record("RHS", f"R{row}", value)
    out.section("BOUNDS")
    for column, (lower, width) in enumerate(zip(program["lower"], program["width"], strict=True)):
        out.record("BND", f"C{column}", lower, code="LO")
        out.record("BND", f"C{column}", lower + width, code="UP")
    return out.text()


def time_text(program: Mapping[str, Any], out: Writer) -> str:
    m, n = program["A"].shape
    out.section("TIME", "ANY")
    out.section("PERIODS")
    out.record("C0", "R0" if m else "COST", "", "ONE")
    out.record(f"C{n}", f"R{m}", "", "TWO")
    return out.text()


def stochastic_text(program: Mapping[str, Any], out: Writer) -> str:
    m, n = program["A"].shape
    out.section("STOCH", "ANY")
    out.section("SCENARIOS", "DISCRETE")
    for number, changes in enumerate(program["scenarios"]):
        out.record(f"S{number}", "ROOT", f"{1 / len(program['scenarios']):.10f}", "TWO", code="SC")
        for (kind, i, j), value in changes.items():
            column = {"T": f"C{j}", "W": f"C{n + j}", "cost": f"C{n + j}", "rhs": "RHS"}[kind]
            out.record(column, "COST" if kind == "cost" else f"R{m + i}", value)
    return out.text()


def row_bounds(sense: list[str], rhs: np.ndarray) -> tuple[list[float], list[float]]:
    pairs = list(zip(sense, rhs, strict=True))
    return [-INF if s == "L" else b for s, b in pairs], [INF if s == "G" else b for s, b in pairs]


@settings(max_examples=60)
@given(program=programs(), fixed=st.booleans())
def test_any_program_survives_writing_and_reading(
    tmp_path_factory: pytest.TempPathFactory, program: dict[str, Any], fixed: bool
) -> None:
    texts = [write(program, Writer(fixed)) for write in (core_text, time_text, stochastic_text)]
    blocks = read_smps(write(tmp_path_factory.mktemp("any"), *texts), layout="fixed" if fixed else "free")

    m, n = program["A"].shape
    upper = program["lower"] + program["width"]
    first = blocks.first_stage
    assert first.constant == program["constant"]
    npt.assert_array_equal(first.rows.toarray(), program["A"])
    npt.assert_array_equal(first.cost, program["cost"][:n])
    npt.assert_array_equal([first.row_lower, first.row_upper], row_bounds(program["sense"][:m], program["rhs"][:m]))
    npt.assert_array_equal([first.lower, first.upper], [program["lower"][:n], upper[:n]])
    npt.assert_array_equal(first.integer, program["integer"][:n])
    npt.assert_allclose(blocks.probability, 1 / len(program["scenarios"]))
    for scenario, changes in zip(blocks.scenarios, program["scenarios"], strict=True):
        expected = {name: program[name].copy() for name in ("T", "W")}
        expected |= {"rhs": program["rhs"][m:].copy()[:, None], "cost": program["cost"][None, n:].copy()}
        for (kind, i, j), value in changes.items():
            expected[kind][i, j] = value
        row_lower, row_upper = row_bounds(program["sense"][m:], expected["rhs"][:, 0])
        assert_scenario(
            scenario,
            technology=expected["T"],
            recourse=expected["W"],
            cost=expected["cost"][0],
            first_stage_cost=np.zeros(n),
            constant=0.0,
            row_lower=row_lower,
            row_upper=row_upper,
            lower=program["lower"][n:],
            upper=upper[n:],
            integer=program["integer"][n:],
        )
