"""Files of the user's: what is wrong with one is told with file and line, and what a number is, is one thing."""

from __future__ import annotations

import os
from pathlib import Path

import netCDF4
import numpy as np
import pytest

from drofcm.core.document import Document
from drofcm.core.errors import Finding, InputError
from drofcm.core.reading import number, read_dataset, read_rows, read_text, whole

COLUMNS = ("event", "probability")


def told(path: Path) -> list[str]:
    """Findings about a table of two columns."""
    try:
        _, faults = read_rows(path, COLUMNS, name=path.name)
    except InputError as error:
        return [str(finding) for finding in error.findings]
    return [str(finding) for finding in faults.all]


def table(folder: Path, content: bytes) -> Path:
    path = folder / "t.csv"
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        pytest.param("event,probability\na,1\nMüller,0\n".encode("latin-1"), "t.csv:3: is not UTF-8 text", id="latin1"),
        pytest.param("event,probability\n".encode("utf-16"), "t.csv:1: is not UTF-8 text", id="utf16"),
        pytest.param(b"event;probability\na;1\n", "t.csv:1: the columns are not separated by commas", id="semicolons"),
        pytest.param(b"event\tprobability\na\t1\n", "t.csv:1: the columns are not separated by commas", id="tabs"),
        pytest.param(b"event,chance\na,1\n", "t.csv:1: column probability is missing", id="missing"),
        pytest.param(b"event,probability,event\na,1,b\n", "t.csv:1: column 'event' is named 2 times", id="twice"),
        pytest.param(
            b"event,probability\na,1,2\n", "t.csv:2: number of cells differs from the header: 3, not 2", id="many"
        ),
        pytest.param(
            b"event,probability\n\na\n", "t.csv:3: number of cells differs from the header: 1, not 2", id="few"
        ),
        pytest.param(b'event,probability\na,"1\nb,2\n', "t.csv:3: is no CSV", id="open-quote"),
        pytest.param(b"event,probability\n" + b"a" * 200_000 + b",1\n", "t.csv:2: a cell of more than", id="long-cell"),
        pytest.param(b"event,probability\n", "t.csv: the table has no rows", id="no-rows"),
        pytest.param(b"", "t.csv:1: column event, probability is missing", id="empty"),
    ],
)
def test_a_table_that_is_none_is_told_by_line(tmp_path: Path, content: bytes, expected: str) -> None:
    found = told(table(tmp_path, content))
    assert any(each.startswith(expected) for each in found), found


def test_a_table_with_byte_order_mark_blank_lines_and_columns_in_another_order_is_read(tmp_path: Path) -> None:
    path = table(tmp_path, "\ufeffprobability,event\r\n 0.5 , Müller \r\n,\r\n\r\n".encode())
    rows, faults = read_rows(path, COLUMNS)
    assert faults.all == []
    assert rows == [(2, {"event": "Müller", "probability": "0.5"})]


def test_faults_of_many_lines_are_counted_not_listed(tmp_path: Path) -> None:
    found = told(table(tmp_path, b"event,probability\n" + b"x\n" * 10_000))
    assert len(found) == 21
    assert found[-1].startswith("t.csv: and 9,980 more faults")


def test_what_is_no_file_is_not_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "round").symlink_to(tmp_path / "round")
    for name, what in (
        ("absent", "no such file"),
        (".", "is a folder"),
        ("pipe", "is no regular file"),
        ("a" * 300, "cannot be read"),
        ("a\0b", "no file can have such a name"),
        ("round", "cannot be read"),
    ):
        with pytest.raises(InputError, match=what):
            read_text(tmp_path / name)
    with pytest.raises(InputError, match="is no regular file"):
        read_text(Path("/dev/zero"))


def test_a_file_that_is_too_large_is_not_read_to_its_end(tmp_path: Path) -> None:
    path = tmp_path / "large"
    with path.open("wb") as file:
        file.truncate(2**40)
    with pytest.raises(InputError, match="holds more than 64 MiB"):
        read_text(path)


@pytest.mark.parametrize(
    ("text", "value"),
    [("1", 1.0), (" -1.5e3 ", -1500.0), ("+.5", 0.5), ("1.", 1.0), ("1E2", 100.0)],
)
def test_numbers_are_plain_digits(text: str, value: float) -> None:
    assert number(text) == value


@pytest.mark.parametrize(
    "text", ["", "1_0", "\u0661", "nan", "inf", "1e400", "1,5", "1.000,5", "0x10", "1 0", "true", "--1", "."]
)
def test_what_python_would_take_for_a_number_besides_is_none(text: str) -> None:
    assert number(text) is None
    assert whole(text) is None


def test_whole_numbers() -> None:
    assert [whole(text) for text in ("3", "3.0", "-2", "3.5", "1e15", "1e3")] == [3, 3, -2, None, None, 1000]


def test_a_small_file_that_declares_huge_arrays_is_refused_before_it_is_read(tmp_path: Path) -> None:
    with netCDF4.Dataset(tmp_path / "bomb.nc", "w") as file:
        file.createDimension("scenario", 10**10)
        # a variable with the name of its dimension is an index, which is read when the file is opened
        file.createVariable("scenario", "f8", ("scenario",), zlib=True, chunksizes=(1 << 16,))
    assert (tmp_path / "bomb.nc").stat().st_size < 100_000
    with pytest.raises(InputError, match="declares arrays of 75 GiB, at most 2 GiB are read"):
        read_dataset(tmp_path / "bomb.nc")


def test_a_netcdf_file_that_is_cut_or_none_is_refused(tmp_path: Path) -> None:
    with netCDF4.Dataset(tmp_path / "a.nc", "w") as file:
        file.createDimension("x", 1000)
        file.createVariable("v", "f8", ("x",))[:] = np.arange(1000)
    (tmp_path / "a.nc").write_bytes((tmp_path / "a.nc").read_bytes()[:5000])
    for name, content in (("b.nc", b"a,b\n"), ("c.nc", b"")):
        (tmp_path / name).write_bytes(content)
    for name in ("a.nc", "b.nc", "c.nc", "d.nc"):
        with pytest.raises(InputError, match=rf"{name}: cannot be read"):
            read_dataset(tmp_path / name)


def test_findings_show_what_files_hold_and_never_obey_it() -> None:
    finding = Finding("s.yaml:1:1: \x1b[2J", "unknown\nstudy.yaml:1:1: forged", "\ud800\u202e")
    assert str(finding) == r"s.yaml:1:1: \x1b[2J: unknown\nstudy.yaml:1:1: forged (\ud800\u202e)"
    assert str(Finding("Müller, 東京", "fine 👍")) == "Müller, 東京: fine 👍"


# ==== YAML ==============================================================================================


def findings_of(folder: Path, text: str) -> list[str]:
    path = folder / "s.yaml"
    path.write_text(text, encoding="utf-8")
    try:
        return [str(finding) for finding in Document.read(path).findings]
    except InputError as error:
        return [str(finding) for finding in error.findings]


LAUGHS = "a0: &a0 [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 10)
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param(
            "a: &f {self: *f}\n", "s.yaml:1:14: not valid YAML: the alias *f refers to what it stands in", id="self"
        ),
        pytest.param("a: &f [[*f]]\n", "s.yaml:1:9: not valid YAML: the alias *f refers", id="self-in-list"),
        pytest.param(LAUGHS, "s.yaml:1:1: has more than 100,000 keys and values", id="laughs"),
        pytest.param("a: " + "[" * 2000, "s.yaml:1:54: not valid YAML: more than 50 levels", id="nesting"),
        pytest.param("- " * 2000 + "a", "s.yaml:1:103: not valid YAML: more than 50 levels", id="nesting-of-items"),
        pytest.param("a: b\n" * 60_000, "holds more than 256 KiB", id="size"),
        pytest.param("a: 2024-02-30\n", "s.yaml:1:1: a: '2024-02-30' is no timestamp", id="no-such-day"),
        pytest.param("a: {b: !!int abc}\n", "s.yaml:1:5: a.b: 'abc' is no number in plain digits", id="tag-int"),
        pytest.param("a: [!!bool maybe]\n", "s.yaml:1:5: a.0: 'maybe' is no bool", id="tag-bool"),
        pytest.param("a: " + "1" * 4301, "s.yaml:1:1: a: '1111", id="digits"),
        pytest.param("a: -" + "1" * 1001, "1111' has 1,001 digits, at most 1,000 are read", id="digits-counted"),
        pytest.param("a: 1_000\n", "s.yaml:1:1: a: '1_000' is no number in plain digits", id="underscore"),
        pytest.param("a: 0x1F\n", "s.yaml:1:1: a: '0x1F' is no number in plain digits", id="hexadecimal"),
        pytest.param("a: 007\n", "s.yaml:1:1: a: '007' is no number in plain digits", id="leading-zeros"),
        pytest.param('"\\e[31mx\\ny": 1\n', r"s.yaml:1:1: key '\x1b[31mx\ny' holds characters", id="escape-in-key"),
        pytest.param(
            'a: "\\ud800"\n', r"s.yaml:1:1: a: holds characters that cannot be shown: '\ud800'", id="surrogate"
        ),
        pytest.param('a: "\\e[31m"\n', r"s.yaml:1:1: a: holds characters that cannot be shown", id="escape"),
        pytest.param("a: 1\nb: x\x07y\n", r"s.yaml:2:5: not valid YAML: the character '\x07'", id="control"),
        pytest.param("!!int abc: 1\nabc: 2\n", "s.yaml:2:1: key 'abc' is given twice", id="key-with-a-tag"),
    ],
)
def test_yaml_that_nobody_means_is_refused_at_its_place(tmp_path: Path, text: str, expected: str) -> None:
    found = findings_of(tmp_path, text)
    assert any(expected in each for each in found), found


def test_yaml_that_people_write_is_read(tmp_path: Path) -> None:
    path = tmp_path / "s.yaml"
    path.write_text(
        "\ufeffbase: &b {x: 1, y: [1.5, -2, 1e3]}\nmore: {<<: *b, x: 2}\nagain: *b\n"
        "text: |\n  two\n  lines\nname: \U0001f469\u200d\U0001f527 Zürich\n",
        encoding="utf-8",
    )
    document = Document.read(path)
    assert document.findings == ()
    assert document.values["more"] == {"x": 2, "y": [1.5, -2, 1e3]}
    assert document.values["again"]["x"] == 1
    assert document.values["text"] == "two\nlines\n"
