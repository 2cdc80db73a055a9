"""What libraries in C print reaches nobody; what Python prints does, and so does Ctrl-C."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from drofcm.core.descriptors import silenced, unprinted
from drofcm.core.interrupts import postponed

LIBC = ctypes.CDLL(None)


@pytest.fixture
def ctrl_c() -> Iterator[None]:
    """Ctrl-C is heeded, even if who started the tests has told them to ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def say(text: str, number: int = 1) -> None:
    """As a library in C does: past Python, through a buffer of its own for standard output."""
    if number == 1:
        LIBC.puts(text.encode())
    else:
        os.write(number, f"{text}\n".encode())


def test_nothing_of_it_is_seen_and_all_else_is(capfd: pytest.CaptureFixture[str]) -> None:
    say("before")
    with silenced():
        say("banner")
        say("warning", 2)
        with silenced():
            say("inner banner")
        say("still a banner")
    say("after")
    LIBC.fflush(None)
    assert capfd.readouterr() == ("before\nafter\n", "")


def test_output_is_back_after_an_error(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ZeroDivisionError), silenced():
        say(str(1 // 0))
    say("after")
    LIBC.fflush(None)
    assert capfd.readouterr().out == "after\n"


def test_threads_leave_the_output_as_it_was(capfd: pytest.CaptureFixture[str]) -> None:
    before = [os.fstat(number).st_ino for number in (1, 2)]
    count = len(os.listdir("/proc/self/fd"))

    def often() -> None:
        for _ in range(200):
            with silenced():
                say("banner")

    threads = [threading.Thread(target=often) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [os.fstat(number).st_ino for number in (1, 2)] == before
    assert len(os.listdir("/proc/self/fd")) == count
    assert capfd.readouterr() == ("", "")


def test_what_c_prints_is_not_seen_and_what_others_write_is(capfd: pytest.CaptureFixture[str]) -> None:
    say("before")
    with unprinted():
        say("left over from debugging")
        with unprinted():
            say("and more")
        say("and still more")
        # another thread, a child process or Python itself
        os.write(1, b"a line of the log\n")
        os.write(2, b"a warning\n")
    say("after")
    LIBC.fflush(None)
    seen = capfd.readouterr()
    assert sorted(seen.out.splitlines()) == ["a line of the log", "after", "before"]
    assert seen.err == "a warning\n"


@pytest.mark.usefixtures("ctrl_c")
def test_ctrl_c_inside_gives_the_output_back(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(KeyboardInterrupt), silenced():  # noqa: PT012 - it may arrive at any line of the block
        os.kill(os.getpid(), signal.SIGINT)
        for _ in range(1000):
            say("banner")
    say("after")
    LIBC.fflush(None)
    assert capfd.readouterr().out == "after\n"


@pytest.mark.usefixtures("ctrl_c")
def test_ctrl_c_is_late_never_lost() -> None:
    reached = []
    with pytest.raises(KeyboardInterrupt), postponed():  # noqa: PT012 - the block itself is what is tested
        os.kill(os.getpid(), signal.SIGINT)
        reached.append("end of the block")
    assert reached == ["end of the block"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


LOUD = """
import ctypes, sys
import highspy
libc, usual = ctypes.CDLL(None), highspy.Highs.__init__
def announcing(self):
    libc.puts(b"Running HiGHS: Copyright")
    usual(self)
if sys.argv[2] == "loud":
    highspy.Highs.__init__ = announcing
sys.path.insert(0, sys.argv[1])
import drofcm as dro
from problems import farmer
program = farmer().program()
for method in ("extensive", "lshaped"):
    print(f"{program.solve(method=method, gap=1e-6, workers=1).objective:.5g}")
"""


@pytest.mark.parametrize("kind", ["as installed", "loud"])
def test_solving_prints_nothing(root: Path, kind: str) -> None:
    """The farmer's -108,390 (Birge and Louveaux 2011, section 1.1) and not a word beside."""
    done = subprocess.run(
        [sys.executable, "-c", LOUD, str(root / "tests"), kind], capture_output=True, text=True, timeout=120
    )
    assert (done.stdout, done.stderr) == ("-1.0839e+05\n-1.0839e+05\n", "")
