"""What every section of SMPS files says, against matrices written by hand, in fixed and in free fields."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import numpy.testing as npt
import pytest
from smps_files import (
    BLOCKS,
    CORE,
    INDEP,
    SCENARIOS,
    TIME,
    assert_scenario,
    extensive_bytes,
    line_of,
    notes,
    refused,
    with_section,
    write,
)

from drofcm.blocks.smps import read_smps

INF = math.inf


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


def test_rounded_probabilities_are_scaled_and_said_so(tmp_path: Path) -> None:
    stochastic = SCENARIOS.replace("0.5  ", "0.333333").replace("0.25  ", "0.333333")
    blocks = read_smps(write(tmp_path, stochastic=stochastic))
    npt.assert_allclose(blocks.probability, 1 / 3, rtol=1e-12)
    assert "sum to 0.999999" in notes(blocks)


# ---- fixed and free -------------------------------------------------------------------------------------------------


def test_free_and_fixed_fields_say_the_same(tmp_path: Path) -> None:
    def free(text: str) -> str:
        return "\n".join(line if line[:1] != " " else "\t" + " ".join(line.split()) for line in text.split("\n"))

    fixed = read_smps(write(tmp_path, stochastic=SCENARIOS))
    loose = read_smps(write(tmp_path, free(CORE), free(TIME), free(SCENARIOS)))
    forced = read_smps(write(tmp_path, stochastic=SCENARIOS), layout="fixed")
    assert extensive_bytes(fixed) == extensive_bytes(loose) == extensive_bytes(forced)


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
