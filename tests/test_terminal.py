"""What reaches a terminal: text of data as it is, on any stream, and every end of a command with a code of its own."""

from __future__ import annotations

import io
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
import typer
from rich.table import Table
from typer.testing import CliRunner

from drofcm.cli import app
from drofcm.commands import console
from drofcm.commands.process import Commands
from drofcm.commands.terminal import Terminal, visible
from drofcm.core.errors import Finding, InfeasibleError, InputError, NotWrittenError, SolveError

HOSTILE = {
    "markup": ("x[big]", "x[big]"),
    "closing markup": ("x[/sm]", "x[/sm]"),
    "emoji": ("root:x:0", "root:x:0"),
    "escape sequence": ("\x1b[2Jgone", r"\x1b[2Jgone"),
    "C1 control": ("\x9b2J", r"\x9b2J"),
    "carriage return": ("ok\rforged", r"ok\rforged"),
    "bell and backspace": ("\a\b", r"\x07\x08"),
    "right to left": ("\u202e4", r"\u202e4"),
    "surrogate": ("\udc80", r"\udc80"),
    "line separator": ("a\u2028b", r"a\u2028b"),
    "letters of any script": ("Läufe 河", "Läufe 河"),
}


@pytest.mark.parametrize(("text", "seen"), HOSTILE.values(), ids=HOSTILE)
def test_labels_are_shown_as_they_are_wherever_they_stand(
    capsys: pytest.CaptureFixture[str], text: str, seen: str
) -> None:
    out = Terminal("stdout")
    table = Table(text, title=text)
    table.add_row(text)
    out.print(text)
    out.print(table)
    shown = capsys.readouterr().out
    lines = shown.split("\n")
    assert lines[0] == seen
    assert sum(seen in line for line in lines) == 4
    assert not {"\x1b", "\x9b", "\r", "\u202e", "\u2028"} & set(shown)


def test_new_lines_stay_and_a_finding_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert visible("a\nb") == "a\nb"
    with pytest.raises(typer.Exit), console.told():
        raise InputError([Finding("study.yaml:1:1: 'x\nstudy.yaml:9:9: forged'", "unknown key")])
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_a_narrow_encoding_shows_escapes(monkeypatch: pytest.MonkeyPatch) -> None:
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding="ascii"))
    Terminal("stdout").print("Läufe")
    sys.stdout.flush()
    assert raw.getvalue() == b"L\\xe4ufe\n"


def full() -> io.TextIOWrapper:
    return open("/dev/full", "w", encoding="utf-8")


def unread() -> io.TextIOWrapper:
    reader, writer = os.pipe()
    os.close(reader)
    return open(writer, "w", encoding="utf-8")


def closed() -> None:
    return None


@pytest.mark.parametrize("stream", [full, unread, closed])
def test_what_nobody_reads_does_not_end_the_command(
    monkeypatch: pytest.MonkeyPatch, stream: Callable[[], io.TextIOWrapper | None]
) -> None:
    opened = stream()
    monkeypatch.setattr(sys, "stdout", opened)
    out = Terminal("stdout")
    for _ in range(3):
        out.print("progress " * 2000)
    assert not out.is_terminal
    if opened is not None:
        opened.close()  # what is still buffered goes nowhere, without an error


# ---- ends -----------------------------------------------------------------------------------------------------------

ENDS = {
    "input": (InputError([Finding("a", "b")]), 1, "a: b"),
    "infeasible": (InfeasibleError("no plan"), 2, "no plan"),
    "nothing found": (SolveError("stopped"), 4, "stopped"),
    "interrupted": (KeyboardInterrupt(), 4, "interrupted before there was a plan; nothing was written"),
    "foreign": (UnicodeDecodeError("utf-8", b"\xe4", 0, 1, "wrong"), 70, "unexpected: UnicodeDecodeError"),
    "no message": (RecursionError(), 70, "unexpected: RecursionError"),
    "memory": (MemoryError("37 GB"), 70, "unexpected: MemoryError: 37 GB"),
}


@pytest.mark.parametrize(("error", "code", "message"), ENDS.values(), ids=ENDS)
def test_every_error_is_one_line_and_has_a_code(
    error: BaseException,
    code: int,
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with pytest.raises(typer.Exit) as end, console.told():
        raise error
    assert end.value.exit_code == code
    told = capsys.readouterr().err
    assert told.startswith(message)
    assert len(told.splitlines()) == 1
    kept = list(tmp_path.iterdir())
    assert len(kept) == (code == 70)
    if kept:
        assert str(kept[0]) in told
        assert "Traceback (most recent call last)" in kept[0].read_text(encoding="utf-8")


def test_a_plan_that_cannot_be_written_is_printed_and_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "plan.csv").write_text("mine", encoding="utf-8")
    table = "supplier,hub,fcm,modules\na,\udc80,c,2\n"
    with pytest.raises(typer.Exit) as end, console.told():
        raise NotWrittenError("runs/a", "no space left", table, "optimal: objective 3")
    assert end.value.exit_code == 6
    told = capsys.readouterr()
    assert told.out.splitlines() == ["optimal: objective 3", "supplier,hub,fcm,modules", r"a,\udc80,c,2"]
    assert "runs/a: no space left" in told.err
    assert str(tmp_path / "plan-2.csv") in told.err
    assert (tmp_path / "plan.csv").read_text(encoding="utf-8") == "mine"
    assert (tmp_path / "plan-2.csv").read_text(encoding="utf-8").splitlines()[1] == r"a,\udc80,c,2"


def test_where_no_folder_takes_it_the_plan_is_printed_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    monkeypatch.setattr(tempfile, "tempdir", str(gone))
    with pytest.raises(typer.Exit), console.told():
        raise NotWrittenError("runs/a", "no space left", "hub\na\n", "optimal")
    told = capsys.readouterr()
    assert told.out.splitlines() == ["optimal", "hub", "a"]
    assert "kept nowhere" in told.err


USAGE = {
    "unknown command": ("fly",),
    "unknown option": ("run", "study.yaml", "--fast"),
    "no argument": ("evaluate", "study.yaml"),
    "gap that is no figure": ("run", "study.yaml", "--gap", "nan"),
    "infinite gap": ("smps", "p", "--gap", "inf"),
    "negative gap": ("run", "study.yaml", "--gap", "-1"),
    "no time": ("run", "study.yaml", "--time-limit", "0"),
    "no time for a search": ("criticality", "run", "--time-limit", "0"),
    "time that is no figure": ("stability", "study.yaml", "--time-limit", "nan"),
    "level that is no figure": ("smps", "p", "--alpha", "nan"),
    "share that is no figure": ("criticality", "run", "--within", "nan"),
    "tail that is no figure": ("scenarios", "study.yaml", "--tail", "nan"),
    "multiple that is no figure": ("radius", "study.yaml", "--multiple", "0", "--multiple", "nan"),
}


@pytest.mark.parametrize("words", USAGE.values(), ids=USAGE)
def test_a_command_line_that_cannot_be_understood_has_a_code_of_its_own(words: tuple[str, ...]) -> None:
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 64
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    option = next((word for word in words if word.startswith("--")), "")
    assert option in done.stderr


def test_every_command_is_told_about() -> None:
    """Also one that knows nothing of the codes: the net is below all of them."""
    own = typer.Typer(cls=Commands)

    @own.command()
    def one() -> None:
        raise ZeroDivisionError

    @own.command()
    def other() -> None:
        raise KeyboardInterrupt

    assert CliRunner().invoke(own, ["one"]).exit_code == 70
    assert CliRunner().invoke(own, ["other"]).exit_code == 4
