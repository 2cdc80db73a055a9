"""What the SMPS reader refuses, each fault with its file and line."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
from smps_files import BLOCKS, CORE, INDEP, SCENARIOS, TIME, line_of, refused, write

from drofcm.blocks.smps import read_smps

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
    ("cor", CORE, "ENDATA", "BOUNDS\n LO B BUY 0\n UP B BUY -2\nENDATA", "column 'BUY': lower bound 0 above upper -2"),
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


def test_a_random_bound_that_crosses_is_found_where_it_was_set(tmp_path: Path) -> None:
    core = CORE.replace("ENDATA", "BOUNDS\n LO BND       BUY       1.0\nENDATA")
    bounds = "".join(f" UP BND       BUY       {upper}            LATER     {1 / 4}\n" for upper in (9, 0, 0.5, 7))
    text = f"STOCH\nINDEP\n{bounds}ENDATA\n"
    assert [(finding.where, finding.what) for finding in refused(write(tmp_path, core=core, stochastic=text))] == [
        (f"{tmp_path / 'toy.sto'}:4", "column 'BUY': lower bound 1 above upper 0 in scenario 1"),
        (f"{tmp_path / 'toy.sto'}:5", "column 'BUY': lower bound 1 above upper 0.5 in scenario 2"),
    ]


def test_too_many_joint_realisations_are_refused_with_their_count(tmp_path: Path) -> None:
    stem = write(tmp_path)
    assert len(read_smps(stem, max_scenarios=4).scenarios) == 4
    (finding,) = refused(stem, max_scenarios=3)
    assert finding.where == f"{stem}.sto:3"
    assert "4 joint realisations, more than 3" in finding.what


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
