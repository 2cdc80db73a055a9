"""SMPS files: published optima, every kind of section against matrices written by hand, every refusal with its line."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.testing as npt
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from drofcm.blocks.form import Scenario, TwoStageBlocks
from drofcm.blocks.smps import read_smps
from drofcm.core.errors import Finding, InputError
from drofcm.solve.highs import MatrixProblem, Outcome, solve

INF = math.inf

CORE = """\
NAME          TOY
* a comment
ROWS
 N  COST
 L  CAP
 G  NEED
 E  BAL
COLUMNS
    BUILD     COST      3.0            CAP       1.0
    BUILD     NEED      2.0
    LAND      COST      -1.0           CAP       4.0
    BUY       COST      5.0            NEED      1.0
    BUY       BAL       1.0
    KEEP      COST      1.0            BAL       -1.0
RHS
    RHS       CAP       10.0           NEED      4.0
    RHS       BAL       1.5
ENDATA
"""
TIME = """\
TIME          TOY
PERIODS
    BUILD     CAP                      NOW
    BUY       NEED                     LATER
ENDATA
"""
INDEP = """\
STOCH         TOY
INDEP         DISCRETE
    RHS       NEED      4.0            LATER     0.25
    RHS       NEED      6.0            LATER     0.75
    BUY       COST      5.0            LATER     0.5
    BUY       COST      7.0            LATER     0.5
ENDATA
"""
BLOCKS = """\
STOCH         TOY
BLOCKS        DISCRETE
 BL ONE       LATER     0.25
    RHS       NEED      8.0            BAL       2.0
    BUILD     NEED      1.0
 BL ONE       LATER     0.75
    RHS       NEED      9.0
ENDATA
"""
SCENARIOS = """\
STOCH         TOY
SCENARIOS     DISCRETE
 SC A         'ROOT'    0.5            LATER
    RHS       NEED      8.0
    BUY       COST      6.0            BAL       2.0
 SC B         A         0.25           LATER
    RHS       BAL       3.0
 SC C         ROOT      0.25           LATER
ENDATA
"""
# The first stage is BUILD, LAND with row CAP; the recourse is BUY, KEEP with rows NEED, BAL.


def write(folder: Path, core: str = CORE, time: str = TIME, stochastic: str = INDEP) -> Path:
    for suffix, text in ((".cor", core), (".tim", time), (".sto", stochastic)):
        (folder / f"toy{suffix}").write_text(text, encoding="utf-8")
    return folder / "toy"


def with_section(section: str, records: str) -> str:
    return CORE.replace("ENDATA", f"{section}\n{records}ENDATA")


def refused(stem: Path, **options: Any) -> tuple[Finding, ...]:
    with pytest.raises(InputError) as caught:
        read_smps(stem, **options)
    return caught.value.findings


def line_of(text: str, fragment: str, nth: int = 1) -> int:
    numbers = [number for number, line in enumerate(text.split("\n"), start=1) if fragment in line]
    return numbers[nth - 1]


def notes(blocks: TwoStageBlocks) -> str:
    return str(blocks.probability.attrs["notes"])


def extensive(blocks: TwoStageBlocks) -> MatrixProblem:
    """The problem of the expected cost, written down without any code of the package."""
    first, scenarios, weights = blocks.first_stage, blocks.scenarios, blocks.probability.values
    pairs = list(zip(weights, scenarios, strict=True))
    own = np.concatenate([weight * scenario.cost for weight, scenario in pairs])
    x_cost = first.cost + sum(weight * scenario.first_stage_cost for weight, scenario in pairs)
    padding = sp.csr_array((first.rows.shape[0], len(own)))
    linking = sp.vstack([scenario.technology for scenario in scenarios])
    rows = sp.vstack(
        [
            sp.hstack([first.rows, padding]),
            sp.hstack([linking, sp.block_diag([scenario.recourse for scenario in scenarios])]),
        ]
    )

    def all_of(name: str) -> np.ndarray:
        return np.concatenate([getattr(part, name) for part in (first, *scenarios)])

    return MatrixProblem(
        cost=np.concatenate([x_cost, own]),
        constant=first.constant + sum(weight * scenario.constant for weight, scenario in pairs),
        rows=sp.csr_array(rows),
        row_lower=all_of("row_lower"),
        row_upper=all_of("row_upper"),
        lower=all_of("lower"),
        upper=all_of("upper"),
        integer=all_of("integer"),
    )


def optimum(blocks: TwoStageBlocks, **options: Any) -> Outcome:
    outcome = solve(extensive(blocks), **options)
    assert outcome.status == "optimal"
    assert outcome.x is not None
    return outcome


def assert_scenario(actual: Scenario, **expected: Any) -> None:
    for name, value in expected.items():
        got = getattr(actual, name)
        npt.assert_array_equal(got.toarray() if sp.issparse(got) else got, value, err_msg=name)


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


# ---- what the sections say ------------------------------------------------------------------------------------------


def test_independent_elements_form_their_product(tmp_path: Path) -> None:
    blocks = read_smps(write(tmp_path))
    npt.assert_allclose(blocks.probability, [0.125, 0.125, 0.375, 0.375])
    first = blocks.first_stage
    npt.assert_array_equal(first.cost, [3, -1])
    npt.assert_array_equal(first.rows.toarray(), [[1, 4]])
    npt.assert_array_equal([first.row_lower, first.row_upper], [[-INF], [10]])
    npt.assert_array_equal([first.lower, first.upper], [[0, 0], [INF, INF]])
    assert first.constant == 0
    for scenario, need, cost in zip(blocks.scenarios, [4, 4, 6, 6], [5, 7, 5, 7], strict=True):
        assert_scenario(
            scenario,
            cost=[cost, 1],
            first_stage_cost=[0, 0],
            constant=0.0,
            technology=[[2, 0], [0, 0]],
            recourse=[[1, 0], [1, -1]],
            row_lower=[need, 1.5],
            row_upper=[INF, 1.5],
            lower=[0, 0],
            upper=[INF, INF],
            integer=[False, False],
        )
    assert notes(blocks) == ""


def test_labels_lead_back_to_the_names_of_the_core(tmp_path: Path) -> None:
    blocks = read_smps(write(tmp_path))
    columns = blocks.columns(np.array([1.0, 2.0]), [np.array([10.0 * s, 10.0 * s + 1]) for s in range(4)])
    first, recourse = blocks.labelled_first_stage(columns), blocks.labelled_recourse(columns)
    assert first["x"].sel(column="LAND") == 2
    assert recourse["y"].dims == ("scenario", "recourse_column")
    assert recourse["y"].sel(scenario=3, recourse_column="KEEP") == 31
    npt.assert_array_equal(blocks.first_stage_columns(first), [1, 2])


def test_blocks_inherit_from_the_first_realisation_or_change_the_core(tmp_path: Path) -> None:
    stem = write(tmp_path, stochastic=BLOCKS)
    standard, core = read_smps(stem), read_smps(stem, reading="core")
    for blocks in (standard, core):
        npt.assert_allclose(blocks.probability, [0.25, 0.75])
        assert_scenario(blocks.scenarios[0], row_lower=[8, 2], technology=[[1, 0], [0, 0]])
    assert_scenario(standard.scenarios[1], row_lower=[9, 2], technology=[[1, 0], [0, 0]])
    assert_scenario(core.scenarios[1], row_lower=[9, 1.5], technology=[[2, 0], [0, 0]])
    assert "'ONE'" in notes(standard)
    assert "first listed" in notes(standard)
    assert "core" in notes(core)


def test_a_third_realisation_inherits_from_the_first_not_from_the_second(tmp_path: Path) -> None:
    third = " BL ONE       LATER     0.25\n    RHS       BAL       7.0\nENDATA"
    stem = write(tmp_path, stochastic=BLOCKS.replace("0.75", "0.5").replace("ENDATA", third))
    assert_scenario(read_smps(stem).scenarios[2], row_lower=[8, 7], technology=[[1, 0], [0, 0]])
    assert_scenario(read_smps(stem, reading="core").scenarios[2], row_lower=[4, 7], technology=[[2, 0], [0, 0]])


def test_two_blocks_and_an_element_form_their_product(tmp_path: Path) -> None:
    more = " BL TWO       LATER     1.0\n    KEEP      COST      2.0\n"
    indep = "INDEP\n    BUY       BAL       2.0            LATER     0.5\n    BUY       BAL       3.0   LATER  0.5\n"
    blocks = read_smps(write(tmp_path, stochastic=BLOCKS.replace("ENDATA", more + indep + "ENDATA")))
    npt.assert_allclose(blocks.probability, [0.125, 0.125, 0.375, 0.375])
    assert [scenario.recourse.toarray()[1, 0] for scenario in blocks.scenarios] == [2, 3, 2, 3]
    assert [scenario.row_lower[0] for scenario in blocks.scenarios] == [8, 8, 9, 9]
    assert all(scenario.cost[1] == 2 for scenario in blocks.scenarios)
    assert blocks.scenarios[0].recourse is blocks.scenarios[2].recourse
    assert blocks.scenarios[0].row_lower is blocks.scenarios[1].row_lower


def test_scenarios_inherit_from_their_parent_or_change_the_core(tmp_path: Path) -> None:
    stem = write(tmp_path, stochastic=SCENARIOS)
    standard, core = read_smps(stem), read_smps(stem, reading="core")
    for blocks in (standard, core):
        npt.assert_allclose(blocks.probability, [0.5, 0.25, 0.25])
        assert_scenario(blocks.scenarios[0], cost=[6, 1], row_lower=[8, 1.5], recourse=[[1, 0], [2, -1]])
        assert_scenario(blocks.scenarios[2], cost=[5, 1], row_lower=[4, 1.5], recourse=[[1, 0], [1, -1]])
    assert_scenario(standard.scenarios[1], cost=[6, 1], row_lower=[8, 3], recourse=[[1, 0], [2, -1]])
    assert_scenario(core.scenarios[1], cost=[5, 1], row_lower=[4, 3], recourse=[[1, 0], [1, -1]])


def test_the_first_scenario_may_branch_in_the_first_period_but_no_other(tmp_path: Path) -> None:
    rooted = SCENARIOS.replace("0.5            LATER", "0.5            NOW")
    assert len(read_smps(write(tmp_path, stochastic=rooted)).scenarios) == 3
    split = SCENARIOS.replace("ROOT      0.25           LATER", "ROOT      0.25           NOW")
    (finding,) = refused(write(tmp_path, stochastic=split))
    assert finding.where == f"{tmp_path / 'toy.sto'}:{line_of(split, 'SC C')}"


def test_a_file_without_random_elements_has_one_scenario(tmp_path: Path) -> None:
    blocks = read_smps(write(tmp_path, stochastic="STOCH TOY\nENDATA\n"))
    npt.assert_array_equal(blocks.probability, [1.0])
    assert_scenario(blocks.scenarios[0], row_lower=[4, 1.5])


def test_ranges(tmp_path: Path) -> None:
    ranges = "    RNG       CAP       -4.0           NEED      3.0\n    RNG       BAL       {}\n"
    for width, bounds in ((2.0, [1.5, 3.5]), (-2.0, [-0.5, 1.5]), (0.0, [1.5, 1.5])):
        stochastic = INDEP.replace("ENDATA", "    RNG       NEED      5.0            LATER     1.0\nENDATA")
        stem = write(tmp_path, core=with_section("RANGES", ranges.format(width)), stochastic=stochastic)
        blocks = read_smps(stem)
        npt.assert_array_equal([blocks.first_stage.row_lower, blocks.first_stage.row_upper], [[6], [10]])
        assert_scenario(blocks.scenarios[0], row_lower=[4, bounds[0]], row_upper=[9, bounds[1]])
        assert_scenario(blocks.scenarios[-1], row_lower=[6, bounds[0]], row_upper=[11, bounds[1]])


@pytest.mark.parametrize(
    ("records", "lower", "upper", "integer"),
    [
        (" UP BND       BUY       4.0\n", 0, 4, False),
        (" UP BUY 4\n", 0, 4, False),
        (" LO BND       BUY       -4.0\n", -4, INF, False),
        (" LO BND       BUY       1.0\n UP BND       BUY       2.0\n", 1, 2, False),
        (" FX BND       BUY       2.5\n", 2.5, 2.5, False),
        (" FR BND       BUY\n", -INF, INF, False),
        (" FR BUY\n", -INF, INF, False),
        (" FR BND BUY 0\n", -INF, INF, False),
        (" MI BND       BUY\n", -INF, INF, False),
        (" MI BND       BUY\n UP BND       BUY       3.0\n", -INF, 3, False),
        (" PL BND       BUY\n", 0, INF, False),
        (" BV BND       BUY\n", 0, 1, True),
        (" BV BND       BUY       1.0\n", 0, 1, True),
        (" LI BND       BUY       2\n", 2, INF, True),
        (" UI BND       BUY       7\n", 0, 7, True),
        (" UP BND       BUY       0.0\n", 0, 0, False),
        (" UP BND       BUY       1e30\n", 0, INF, False),
        (" LO BND       BUY       -inf\n", -INF, INF, False),
        (" UP BND       BUY       1.7976931348623157e+308\n", 0, INF, False),
        (" UP BND       BUY       4\n UP BND       BUY       4.0\n", 0, 4, False),
    ],
)
def test_bounds(tmp_path: Path, records: str, lower: float, upper: float, integer: bool) -> None:
    (scenario, *_) = read_smps(write(tmp_path, core=with_section("BOUNDS", records))).scenarios
    assert_scenario(scenario, lower=[lower, 0], upper=[upper, INF], integer=[integer, False])


def test_a_negative_upper_bound_alone_drops_the_lower_one_and_says_so(tmp_path: Path) -> None:
    blocks = read_smps(write(tmp_path, core=with_section("BOUNDS", " UP BND       BUY       -2.0\n")))
    assert_scenario(blocks.scenarios[0], lower=[-INF, 0], upper=[-2, INF])
    assert "negative upper bound" in notes(blocks)
    assert "BUY" in notes(blocks)
    stochastic = INDEP.replace("ENDATA", " UP BND       KEEP      -1.0           LATER     1.0\nENDATA")
    blocks = read_smps(write(tmp_path, stochastic=stochastic))
    assert_scenario(blocks.scenarios[0], lower=[0, -INF], upper=[INF, -1])
    assert "KEEP" in notes(blocks)


def test_random_bounds(tmp_path: Path) -> None:
    stochastic = """\
STOCH         TOY
INDEP
 UP BND       BUY       3.0            LATER     0.5
 UP BND       BUY       5.0            LATER     0.5
BLOCKS
 BL ONE       LATER     1.0
 FX BND       KEEP      2.0
ENDATA
"""
    core = with_section("BOUNDS", " LO BND       BUY       1.0\n UP BND       BUY       9.0\n")
    blocks = read_smps(write(tmp_path, core=core, stochastic=stochastic))
    assert_scenario(blocks.scenarios[0], lower=[1, 2], upper=[3, 2])
    assert_scenario(blocks.scenarios[1], lower=[1, 2], upper=[5, 2])


def test_integer_markers(tmp_path: Path) -> None:
    core = CORE.replace("    LAND ", "    M1        'MARKER'                 'INTORG'\n    LAND ", 1)
    core = core.replace("    KEEP ", "    M2        'MARKER'                 'INTEND'\n    KEEP ", 1)
    core = core.replace("ENDATA", "BOUNDS\n LO BND       BUY       0.0\nENDATA")
    blocks = read_smps(write(tmp_path, core=core))
    npt.assert_array_equal(blocks.first_stage.integer, [False, True])
    npt.assert_array_equal(blocks.first_stage.upper, [INF, 1])
    assert_scenario(blocks.scenarios[0], integer=[True, False], upper=[INF, INF])
    assert "1 integer columns without a bound are binary: LAND" in notes(blocks)


def test_the_constant_is_minus_the_right_hand_side_of_the_objective(tmp_path: Path) -> None:
    core = CORE.replace("    RHS       BAL ", "    RHS       COST      -7.0\n    RHS       BAL ")
    stochastic = SCENARIOS.replace(" SC B", "    RHS       COST      -10.0\n SC B", 1)
    blocks = read_smps(write(tmp_path, core=core, stochastic=stochastic))
    assert blocks.first_stage.constant == 7
    # in the scenario the constant is 10: three more than the first stage counts already
    assert [scenario.constant for scenario in blocks.scenarios] == [3, 3, 0]


def test_a_random_cost_of_the_first_stage_enters_as_its_difference(tmp_path: Path) -> None:
    blocks = read_smps(write(tmp_path, stochastic=SCENARIOS.replace("RHS       BAL", "BUILD     COST")))
    npt.assert_array_equal(blocks.first_stage.cost, [3, -1])
    npt.assert_array_equal([scenario.first_stage_cost for scenario in blocks.scenarios], [[0, 0], [0, 0], [0, 0]])
    changed = SCENARIOS.replace("RHS       BAL       3.0", "BUILD     COST      5.0")
    blocks = read_smps(write(tmp_path, stochastic=changed))
    npt.assert_array_equal([scenario.first_stage_cost for scenario in blocks.scenarios], [[0, 0], [2, 0], [0, 0]])


@pytest.mark.parametrize("section", ["OBJSENSE\n    MAX\n", "OBJSENSE MAX\n", "OBJSENSE\n    MAXIMIZE\n"])
def test_maximisation_is_negated(tmp_path: Path, section: str) -> None:
    core = CORE.replace("ROWS\n", section + "ROWS\n").replace("    RHS       BAL ", "    RHS COST -7.0\n    RHS BAL ")
    stochastic = SCENARIOS.replace("RHS       BAL       3.0", "BUILD COST 5.0\n    RHS COST -10.0")
    blocks = read_smps(write(tmp_path, core=core, stochastic=stochastic))
    assert blocks.probability.attrs["sense"] == "max"
    npt.assert_array_equal(blocks.first_stage.cost, [-3, 1])
    assert blocks.first_stage.constant == -7
    assert_scenario(blocks.scenarios[0], cost=[-6, -1], constant=0.0)
    assert_scenario(blocks.scenarios[1], cost=[-6, -1], first_stage_cost=[-2, 0], constant=-3.0)
    minimised = read_smps(write(tmp_path, core=core.replace("MAX", "MIN").replace("MINIMIZE", "MINIMISE")))
    assert minimised.probability.attrs["sense"] == "min"
    npt.assert_array_equal(minimised.first_stage.cost, [3, -1])


def test_rows_of_type_n_beyond_the_objective_are_ignored(tmp_path: Path) -> None:
    core = CORE.replace(" G  NEED", " N  COUNT\n G  NEED")
    core = core.replace("    KEEP ", "    BUY       COUNT     9.0\n    KEEP ", 1)
    core = core.replace("ENDATA", "    RHS       COUNT     3.0\nENDATA")
    stochastic = SCENARIOS.replace(" SC B", "    BUY       COUNT     8.0\n SC B", 1)
    blocks, plain = (
        read_smps(write(tmp_path, core=core, stochastic=stochastic)),
        read_smps(write(tmp_path, stochastic=SCENARIOS)),
    )
    assert "COUNT" in notes(blocks)
    for got, expected in zip(blocks.scenarios, plain.scenarios, strict=True):
        npt.assert_array_equal(got.recourse.toarray(), expected.recourse.toarray())
        npt.assert_array_equal(got.row_lower, expected.row_lower)


def test_an_entry_absent_from_the_core_or_set_to_zero(tmp_path: Path) -> None:
    changed = SCENARIOS.replace("RHS       BAL       3.0", "LAND      BAL       3.0            NEED      0.0")
    changed = changed.replace(" SC C", "    BUY       NEED      0.0\n SC C")
    blocks = read_smps(write(tmp_path, stochastic=changed))
    assert_scenario(blocks.scenarios[1], technology=[[2, 0], [0, 3]], recourse=[[0, 0], [2, -1]])
    for scenario in blocks.scenarios:
        assert scenario.technology.data.all(), "no stored zeros"
        assert scenario.recourse.data.all(), "no stored zeros"
    assert blocks.scenarios[0].technology is blocks.scenarios[2].technology


def test_explicit_periods_in_any_order(tmp_path: Path) -> None:
    time = """\
TIME          TOY
PERIODS       EXPLICIT
    NOW
    LATER
ROWS
    COST      NOW
    NEED      NOW
    CAP       LATER
    BAL       LATER
COLUMNS
    BUY       NOW
    BUILD     LATER
    LAND      LATER
    KEEP      LATER
ENDATA
"""
    core = CORE.replace("    BUILD     NEED      2.0\n", "")
    core = core.replace("BUY       BAL       1.0", "BUY       CAP       8.0")
    stochastic = "STOCH\nINDEP\n    RHS CAP 12 LATER 1\nENDATA\n"
    blocks = read_smps(write(tmp_path, core=core, time=time, stochastic=stochastic))
    assert blocks.variables["x"]["column"].values.tolist() == ["BUY"]
    npt.assert_array_equal(blocks.first_stage.rows.toarray(), [[1]])
    npt.assert_array_equal(blocks.first_stage.row_lower, [4])
    assert_scenario(
        blocks.scenarios[0],
        cost=[3, -1, 1],
        technology=[[8], [0]],
        recourse=[[1, 4, 0], [0, 0, -1]],
        row_lower=[-INF, 1.5],
        row_upper=[12, 1.5],
    )


@pytest.mark.parametrize("first", ["COST", "CAP"])
def test_the_first_period_may_begin_with_the_objective(tmp_path: Path, first: str) -> None:
    time = TIME.replace("CAP ", f"{first:4s}").replace("PERIODS", "PERIODS       IMPLICIT")
    npt.assert_array_equal(read_smps(write(tmp_path, time=time)).first_stage.rows.toarray(), [[1, 4]])


# ---- fixed and free -------------------------------------------------------------------------------------------------


def test_free_and_fixed_fields_say_the_same(tmp_path: Path) -> None:
    def free(text: str) -> str:
        return "\n".join(line if line[:1] != " " else "\t" + " ".join(line.split()) for line in text.split("\n"))

    fixed = read_smps(write(tmp_path, stochastic=SCENARIOS))
    loose = read_smps(write(tmp_path, free(CORE), free(TIME), free(SCENARIOS)))
    forced = read_smps(write(tmp_path, stochastic=SCENARIOS), layout="fixed")
    assert extensive_bytes(fixed) == extensive_bytes(loose) == extensive_bytes(forced)


def extensive_bytes(blocks: TwoStageBlocks) -> tuple[bytes, ...]:
    problem = extensive(blocks)
    return tuple(
        (part.toarray() if sp.issparse(part) else np.asarray(part)).tobytes() for part in vars(problem).values()
    )


def test_names_with_spaces_in_fixed_fields(tmp_path: Path) -> None:
    def spaced(text: str) -> str:
        for old, new in (("BUILD", "BU LD"), ("KEEP", "K EP"), ("NEED", "NE D"), ("LATER", "L TER")):
            text = text.replace(old, new)
        return text

    stem = write(tmp_path, spaced(CORE), spaced(TIME), spaced(INDEP))
    blocks = read_smps(stem)
    assert blocks.variables["x"]["column"].values.tolist() == ["BU LD", "LAND"]
    assert blocks.variables["y"]["recourse_column"].values.tolist() == ["BUY", "K EP"]
    assert extensive_bytes(blocks) == extensive_bytes(read_smps(write(tmp_path)))
    write(tmp_path, spaced(CORE), spaced(TIME), spaced(INDEP))
    findings = refused(stem, layout="free")
    assert f"{stem}.cor:{line_of(CORE, ' G  NEED')}" in [finding.where for finding in findings]
    assert "fixed fields" in findings[0].fix


def test_numbers_with_a_fortran_exponent(tmp_path: Path) -> None:
    blocks = read_smps(write(tmp_path, core=CORE.replace("CAP       10.0", "CAP       1.D+001")))
    npt.assert_array_equal(blocks.first_stage.row_upper, [10])


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


# ---- refusals -------------------------------------------------------------------------------------------------------

REFUSED: list[tuple[str, str, str, str, str]] = [
    # file, its text, what is replaced, by what, what the message says;
    # the fault is on the line that ends in <<, otherwise on the last line that was put in
    ("cor", CORE, " E  BAL", " E  BAL\n E  CAP", "row 'CAP' is declared twice"),
    ("cor", CORE, " E  BAL", " E  BAL\n X  ODD", "unknown type of row 'X'"),
    ("cor", CORE, " E  BAL", " E  BAL\n E", "not a record of ROWS"),
    ("cor", CORE, "    BUILD     NEED      2.0", "    BUILD     NEDE      2.0", "unknown row 'NEDE'"),
    ("cor", CORE, "    BUILD     NEED      2.0", "    BUILD     CAP       2.0", "'BUILD', row 'CAP' is given twice"),
    ("cor", CORE, "    BUILD     NEED      2.0", "    BUILD     NEED      two", "not a record of COLUMNS"),
    ("cor", CORE, "    BUILD     NEED      2.0", "    BUILD     NEED      nan", "not a record of COLUMNS"),
    ("cor", CORE, "    BUILD     NEED      2.0", "    BUILD     NEED      1_0", "not a record of COLUMNS"),
    ("cor", CORE, "    BUILD     NEED      2.0", "    BUILD     NEED      1e400", "not a record of COLUMNS"),
    ("cor", CORE, "RHS\n", "    BUILD     BAL       2.0\nRHS\n", "column 'BUILD' is declared twice"),
    ("cor", CORE, "RHS\n", "    M1        'MARKER'                 'INTO'\nRHS\n", "unknown marker 'INTO'"),
    ("cor", CORE, "    RHS       BAL ", "    RHS       CAP       11.0\n    RHS       BAL ", "'CAP' is given twice"),
    ("cor", CORE, "    RHS       BAL ", "    R2        BAL       1.0\n    RHS       BAL ", "a second set of RHS"),
    ("cor", CORE, "    RHS       BAL ", "    RHS       ODD       1.0\n    RHS       BAL ", "unknown row 'ODD'"),
    ("cor", CORE, "ENDATA", "RANGES\n    RNG       COST      1.0\nENDATA", "the objective 'COST' has no range"),
    ("cor", CORE, "ENDATA", "BOUNDS\n SC BND       BUY       1.0\nENDATA", "'BUY' is semi-continuous"),
    ("cor", CORE, "ENDATA", "BOUNDS\n UP BND       BYU       1.0\nENDATA", "unknown column 'BYU'"),
    ("cor", CORE, "ENDATA", "BOUNDS\n XX BND       BUY       1.0\nENDATA", "not a record of BOUNDS"),
    ("cor", CORE, "ENDATA", "BOUNDS\n UP BND       BUY\nENDATA", "not a record of BOUNDS"),
    ("cor", CORE, "ENDATA", "BOUNDS\n UP B BUY 1\n UP B BUY 2\nENDATA", "upper bound of column 'BUY' is given twice"),
    ("cor", CORE, "ENDATA", "BOUNDS\n LO B BUY 0\n UP B BUY -2\nENDATA", "lower bound 0 above upper -2"),
    ("cor", CORE, "ENDATA", "BOUNDS\n UP B BUY 1\n UP C KEEP 2\nENDATA", "a second set of BOUNDS: 'C' after 'B'"),
    ("cor", CORE, "ENDATA", "QUADOBJ<<\n    BUY       BUY       1.0\nENDATA", "unsupported section 'QUADOBJ'"),
    ("cor", CORE, "ROWS\n", "OBJSENSE\n    MOST\nROWS\n", "unknown sense 'MOST'"),
    ("cor", CORE, "NAME ", "    BUY       BUY       1.0\nNAME ", "a record before any section"),
    ("cor", CORE, "    BUY       BAL       1.0", "    BUY       CAP       1.0", "row 'CAP' of the first period holds"),
    ("tim", TIME, "LATER\n", "LATER\n    KEEP      BAL                      LAST\n", "a third period 'LAST'"),
    ("tim", TIME, "    BUY       NEED", "    BYU       NEED", "unknown column 'BYU'"),
    ("tim", TIME, "    BUY       NEED", "    BUY       NEDE", "unknown row 'NEDE'"),
    ("tim", TIME, "    BUY       NEED", "    BUY       COST", "the second period begins with the objective"),
    ("tim", TIME, "    BUILD     CAP ", "    LAND      CAP ", "those before have no period"),
    ("tim", TIME, "    BUILD     CAP ", "    BUILD     NEED", "those before have no period"),
    ("tim", TIME, "PERIODS", "PERIODS       LOOSE", "unknown kind of PERIODS 'LOOSE'"),
    ("tim", TIME, "LATER", "NOW", "period 'NOW' is declared twice"),
    ("tim", TIME, "ENDATA", "ROWS\n    CAP       NOW\nENDATA", "ROWS needs PERIODS EXPLICIT"),
    ("tim", TIME, "ENDATA", "NODES\nENDATA", "unsupported section 'NODES'"),
    ("sto", INDEP, "ENDATA", "NODES\nENDATA", "unsupported section 'NODES'"),
    ("sto", INDEP, "DISCRETE", "NORMAL", "INDEP with distribution 'NORMAL'"),
    ("sto", INDEP, "DISCRETE", "DISCRETE  ADD", "INDEP with modification 'ADD'"),
    ("sto", INDEP, "    RHS       NEED      4.0", "    RHS       NEDE      4.0", "unknown row 'NEDE'"),
    ("sto", INDEP, "    RHS       NEED      4.0", "    BYU       NEED      4.0", "unknown column or set 'BYU'"),
    ("sto", INDEP, "4.0            LATER ", "4.0            SOON  ", "unknown period 'SOON'"),
    ("sto", INDEP, "4.0            LATER ", "4.0            NOW   ", "a random element in the first period"),
    ("sto", INDEP, "    RHS       NEED      4.0", "    RHS       CAP       4.0", "row 'CAP' of the first period"),
    ("sto", INDEP, "    BUY       COST      5.0", "    BUY       CAP       5.0", "row 'CAP' of the first period"),
    ("sto", INDEP, "    BUY       COST      5.0", " UP BND       LAND      5.0", "'LAND' of the first period"),
    ("sto", INDEP, "    BUY       COST      5.0", " UP BND       BYU       5.0", "unknown column 'BYU'"),
    ("sto", INDEP, "    BUY       COST      5.0", "    RANGES    COST      5.0", "the objective has no range"),
    ("sto", INDEP, "LATER     0.25", "LATER     1.25", "probability 1.25 is not between 0 and 1"),
    ("sto", INDEP, "LATER     0.25", "LATER     -.25", "probability -.25 is not between 0 and 1"),
    ("sto", INDEP, "LATER     0.25", "LATER     0.24", "element 'RHS NEED' sum to 0.99, not to 1"),
    ("sto", INDEP, "LATER     0.25", "LATER     x", "not a record of INDEP"),
    ("sto", BLOCKS, "LATER     0.25", "LATER     0.26", "block 'ONE' sum to 1.01, not to 1"),
    ("sto", BLOCKS, "ONE       LATER     0.25", "ONE       NOW       0.25", "block 'ONE' in the first period"),
    ("sto", BLOCKS, "    BUILD     NEED", "    RHS       NEED", "given twice in the same realisation"),
    ("sto", BLOCKS, " BL ONE ", "    BUILD     NEED      1.5\n BL ONE ", "an entry before the first BL record"),
    ("sto", BLOCKS, "ENDATA", " BL TWO       LATER     1.0\n    RHS NEED 1.0\nENDATA", "block 'TWO' changes"),
    ("sto", BLOCKS, "ENDATA", "INDEP\n    RHS NEED 1.0 LATER 1.0\nENDATA", "changes what block 'ONE' changes already"),
    ("sto", BLOCKS, "    RHS       NEED      9.0", "    RHS       NEED", "not a record of BLOCKS"),
    ("sto", SCENARIOS, " 'ROOT'    0.5  ", " 'ROOT'    0.6  ", "the scenarios sum to 1.1, not to 1"),
    ("sto", SCENARIOS, " SC B         A ", " SC B         D ", "unknown parent 'D'"),
    ("sto", SCENARIOS, " SC B ", " SC A ", "scenario 'A' is declared twice"),
    ("sto", SCENARIOS, "    RHS       BAL       3.0", "    RHS       CAP       3.0", "row 'CAP' of the first period"),
    ("sto", SCENARIOS, "    RHS       BAL       3.0", "    RHS BAL 3.0\n    RHS BAL 3.0", "given twice"),
    ("sto", SCENARIOS, "ENDATA", "INDEP<<\n    BUY COST 1 LATER 1\nENDATA", "SCENARIOS together with INDEP or BLOCKS"),
    ("sto", SCENARIOS, "    RHS       BAL       3.0", " LO BND BUY 0\n UP BND BUY -3.0", "in scenario 1"),
]


@pytest.mark.parametrize(("suffix", "text", "old", "new", "message"), REFUSED, ids=lambda value: str(value)[:30])
def test_faults_are_refused_with_their_line(
    tmp_path: Path, suffix: str, text: str, old: str, new: str, message: str
) -> None:
    marked = text.replace(old, new, 1)
    faulty = marked.replace("<<", "")
    assert faulty != text
    files = {"cor": CORE, "tim": TIME, "sto": INDEP} | {suffix: faulty}
    stem = write(tmp_path, *(files[name] for name in ("cor", "tim", "sto")))
    matching = [finding for finding in refused(stem) if message in finding.what]
    assert len(matching) == 1, f"{message!r} not in {refused(stem)}"
    kept = set(text.split("\n"))
    put_in = [number for number, line in enumerate(faulty.split("\n"), start=1) if line not in kept]
    assert matching[0].where == f"{stem}.{suffix}:{line_of(marked, '<<') if '<<' in marked else put_in[-1]}"


def test_the_line_of_a_bad_coefficient_is_the_one_that_holds_it(tmp_path: Path) -> None:
    core = CORE.replace(
        "    KEEP      COST      1.0            BAL       -1.0", "    KEEP      COST      1.0\n    KEEP CAP 1"
    )
    (finding,) = refused(write(tmp_path, core=core))
    assert finding.where == f"{tmp_path / 'toy.cor'}:{line_of(core, 'KEEP CAP')}"
    assert "'CAP'" in finding.what
    assert "'KEEP'" in finding.what


def test_all_faults_are_reported_at_once(tmp_path: Path) -> None:
    core = CORE.replace("BUILD     NEED", "BUILD     NEDE").replace("NEED      4.0", "NEED      four")
    findings = refused(write(tmp_path, core=core))
    lines = {line_of(core, "NEDE"), line_of(core, "four")}
    assert {finding.where for finding in findings} == {f"{tmp_path / 'toy.cor'}:{line}" for line in lines}
    assert "did you mean 'NEED'?" in str(findings[0]) + str(findings[1])
    stochastic = INDEP.replace("COST", "CAP").replace("RHS", "RSH")
    assert len(refused(write(tmp_path, stochastic=stochastic))) == 4


def test_too_many_joint_realisations_are_refused_with_their_count(tmp_path: Path) -> None:
    stem = write(tmp_path)
    assert len(read_smps(stem, max_scenarios=4).scenarios) == 4
    (finding,) = refused(stem, max_scenarios=3)
    assert finding.where == f"{stem}.sto:3"
    assert "4 joint realisations, more than 3" in finding.what


def test_rounded_probabilities_are_scaled_and_said_so(tmp_path: Path) -> None:
    stochastic = SCENARIOS.replace("0.5  ", "0.333333").replace("0.25  ", "0.333333")
    blocks = read_smps(write(tmp_path, stochastic=stochastic))
    npt.assert_allclose(blocks.probability, 1 / 3, rtol=1e-12)
    assert "sum to 0.999999" in notes(blocks)


def test_a_name_that_is_a_column_and_a_set_is_refused(tmp_path: Path) -> None:
    (finding, *_) = refused(
        write(tmp_path, core=CORE.replace("    BUY ", "    RHS ", 2), time=TIME.replace("BUY", "RHS"))
    )
    assert finding.where == f"{tmp_path / 'toy.sto'}:3"
    assert "'RHS' may be RHS or a column" in finding.what


@pytest.mark.parametrize(
    ("files", "where", "message"),
    [
        ({"core": CORE.replace("ENDATA\n", "")}, ".cor:17", "no ENDATA"),
        ({"stochastic": INDEP.replace("ENDATA", "")}, ".sto:6", "no ENDATA"),
        ({"core": "NAME\nROWS\n L  CAP\nENDATA\n"}, ".cor", "no objective"),
        ({"core": "NAME\nROWS\n N  COST\nENDATA\n"}, ".cor", "no columns"),
        ({"time": "TIME\nPERIODS\n    BUILD     CAP       NOW\nENDATA\n"}, ".tim", "1 periods"),
        ({"time": "TIME\nENDATA\n"}, ".tim", "0 periods"),
        ({"time": TIME.replace("BUY ", "BUILD").replace("NEED", "CAP")}, ".tim", "period 'NOW' has no columns"),
    ],
)
def test_incomplete_files_are_refused(tmp_path: Path, files: Mapping[str, str], where: str, message: str) -> None:
    stem = write(tmp_path, **files)
    assert any(finding.where == f"{stem}{where}" and message in finding.what for finding in refused(stem))


def test_explicit_periods_must_name_every_row_and_column_once(tmp_path: Path) -> None:
    rows = "    CAP       NOW\n    CAP       NOW\n    NEED      LATER\n"
    columns = "    BUILD     NOW\n    BYU       LATER\n    LAND      LAST\n    KEEP      LATER\n"
    time = f"TIME\nPERIODS EXPLICIT\n    NOW\n    LATER\nROWS\n{rows}COLUMNS\n{columns}ENDATA\n"
    path = tmp_path / "toy.tim"
    found = {(finding.where, finding.what) for finding in refused(write(tmp_path, time=time))}
    assert found == {
        (f"{path}:7", "'CAP' is given a period twice"),
        (f"{path}:11", "unknown column 'BYU'"),
        (f"{path}:12", "a third period 'LAST'"),
        (str(path), "ROWS without a period: BAL"),
        (str(path), "COLUMNS without a period: BUY"),
    }


def test_a_file_that_is_not_text_is_refused(tmp_path: Path) -> None:
    stem = write(tmp_path)
    (tmp_path / "toy.cor").write_bytes(CORE.encode().replace(b"comment", b"comm\xe9nt"))
    (finding,) = refused(stem)
    assert finding.where == f"{stem}.cor:2"


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
