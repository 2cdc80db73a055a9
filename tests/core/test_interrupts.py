"""Ctrl-C and SIGTERM: at once where they are heeded, after the work where they are held."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator

import pytest

from drofcm.core.interrupts import heed, heeded, held


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    # who started the tests may have told them to ignore Ctrl-C, as shells do for what runs behind
    signal.signal(signal.SIGINT, signal.default_int_handler)
    heed()
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


both = pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])


def send(number: int) -> None:
    os.kill(os.getpid(), number)


@both
def test_outside_it_raises_at_once(number: int) -> None:
    with pytest.raises(KeyboardInterrupt):
        send(number)


@both
def test_the_first_is_held_and_the_work_is_done(number: int) -> None:
    done = []
    with held():
        send(number)
        done.append("plan")
        with held():
            done.append("folder")
    assert done == ["plan", "folder"]
    with pytest.raises(KeyboardInterrupt):
        send(number)


@both
def test_the_second_is_meant(number: int) -> None:
    def work() -> None:
        with held():
            send(signal.SIGINT)
            send(number)

    with pytest.raises(KeyboardInterrupt):
        work()


@both
def test_a_search_within_is_stopped_and_what_follows_is_held(number: int) -> None:
    done = []
    with held():
        with pytest.raises(KeyboardInterrupt), heeded():
            send(number)
        send(number)
        done.append("plan")
    assert done == ["plan"]


def test_what_waits_is_heard_when_the_next_search_begins() -> None:
    searched = []
    with held():
        send(signal.SIGTERM)
        with pytest.raises(KeyboardInterrupt), heeded():
            searched.append("never")
    assert searched == []


def test_what_waits_is_heard_when_a_search_goes_on() -> None:
    done = []

    def search() -> None:
        with heeded():
            with held():
                send(signal.SIGINT)
                done.append("checkpoint")
            done.append("never")

    with held(), pytest.raises(KeyboardInterrupt):
        search()
    assert done == ["checkpoint"]


def test_what_is_to_be_ignored_stays_ignored() -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    heed()
    with held():
        send(signal.SIGHUP)
    assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN


def test_other_threads_have_no_signals_to_hold() -> None:
    done = []

    def work() -> None:
        with held(), heeded():
            done.append("plan")

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert done == ["plan"]
