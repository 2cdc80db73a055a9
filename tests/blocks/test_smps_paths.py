"""SMPS files as they come: with a byte order mark, under other names, in folders, with numbers that are none."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from smps_files import CORE, INDEP, TIME
from typer.testing import CliRunner

from drofcm.blocks.smps import read_smps
from drofcm.cli import app
from drofcm.core.errors import InputError


@pytest.fixture
def stem(tmp_path: Path) -> Path:
    """The files of the small program."""
    for suffix, text in ((".cor", CORE), (".tim", TIME), (".sto", INDEP)):
        (tmp_path / f"p{suffix}").write_text(text, encoding="utf-8")
    return tmp_path / "p"


def told(stem: Path | str) -> str:
    with pytest.raises(InputError) as caught:
        read_smps(stem)
    return "\n".join(str(finding) for finding in caught.value.findings)


def test_files_with_a_byte_order_mark_are_read(stem: Path) -> None:
    for suffix in (".cor", ".tim", ".sto"):
        path = stem.with_suffix(suffix)
        path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert len(read_smps(stem).scenarios) == 4


def test_a_core_file_may_be_called_mps(stem: Path) -> None:
    stem.with_suffix(".cor").rename(stem.with_suffix(".mps"))
    assert len(read_smps(stem).scenarios) == 4
    assert len(read_smps(stem.with_suffix(".mps")).scenarios) == 4


def test_core_and_time_may_be_named_at_the_command_line(stem: Path) -> None:
    stem.with_suffix(".cor").rename(stem.with_name("c.txt"))
    stem.with_suffix(".tim").rename(stem.with_name("t.txt"))
    assert "pass core= (--core) if it has another name" in told(stem)
    options = ["--core", str(stem.with_name("c.txt")), "--time", str(stem.with_name("t.txt"))]
    done = CliRunner().invoke(app, ["smps", str(stem), *options])
    assert done.exit_code == 0, done.output


@pytest.mark.parametrize("name", [".", "..", "/", ""])
def test_a_folder_is_no_stem(name: str) -> None:
    assert "is a folder, give the stem of the files" in told(name)


def test_what_stands_under_the_name_of_a_file_and_is_none_is_told(stem: Path) -> None:
    stem.with_suffix(".sto").unlink()
    os.mkfifo(stem.with_suffix(".sto"))
    assert "p.sto: is no regular file" in told(stem)
    stem.with_suffix(".sto").unlink()
    stem.with_suffix(".sto").mkdir()
    assert "p.sto: is a folder" in told(stem)
    stem.with_suffix(".cor").write_bytes(CORE.replace("TOY", "T\xd6Y").encode("latin-1"))
    stem.with_suffix(".sto").rmdir()
    stem.with_suffix(".sto").write_text(INDEP, encoding="utf-8")
    assert "p.cor:1: is not UTF-8 text" in told(stem)


@pytest.mark.parametrize("word", ["\u0663.0", "1_0", "nan", "9" * 400])
def test_what_is_no_number_is_refused_by_line(stem: Path, word: str) -> None:
    stem.with_suffix(".cor").write_text(
        CORE.replace("BUILD     COST      3.0 ", f"BUILD COST {word} "), encoding="utf-8"
    )
    assert "p.cor:9: not a record of COLUMNS" in told(stem)
