"""Real processes for tests: a Dask cluster on loopback, worker processes by their ids, and what ends them."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from drofcm.solve.progress import Standing

TESTS = Path(__file__).resolve().parent
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(TESTS)}


def until(condition: Callable[[], Any], seconds: float = 30.0) -> Any:
    """Wait for something to become true, and hand it back."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, f"still not so after {seconds} s"
        time.sleep(0.02)
    return found


def alive(pid: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    except OSError:
        return False
    return stat.rsplit(")", 1)[1].split()[0] != "Z"


def worker_processes(parent: int) -> list[int]:
    """The loky workers of a process, oldest first."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            fields = (folder / "stat").read_text(encoding="utf-8").rsplit(")", 1)[1].split()
            command = (folder / "cmdline").read_bytes()
            if int(fields[1]) == parent and fields[0] != "Z" and b"popen_loky" in command:
                found.append(int(folder.name))
    return sorted(found)


def script(text: str, *arguments: object, **options: Any) -> subprocess.Popen[str]:
    """A Python process of its own, in a session of its own, that can import the helpers of the tests."""
    command = [sys.executable, "-c", text, *map(str, arguments)]
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, env=ENVIRONMENT, start_new_session=True, **{**pipes, **options})


class Deadly:
    """A request that ends the process that looks at it, as a lack of memory would."""

    steps = 1

    @property
    def report(self) -> bool:
        os.kill(os.getpid(), signal.SIGKILL)
        return False


class Killer:
    """As the progress of a search: at some iterations it kills the first of the workers that ``pick`` names.

    All are stopped first, so that none can answer what is asked next, and the kill comes while that is waited for.
    """

    def __init__(self, pick: Callable[[], list[int]], iterations: tuple[int, ...]) -> None:
        self.killed: list[int] = []
        self._pick, self._iterations, self._count = pick, iterations, 0

    def __call__(self, standing: Standing) -> None:
        self._count += 1
        if self._count in self._iterations:
            pids = self._pick()
            for pid in pids:
                os.kill(pid, signal.SIGSTOP)
            self.killed.append(pids[0])
            threading.Timer(0.3, self._kill_first, (pids,)).start()

    @staticmethod
    def _kill_first(pids: list[int]) -> None:
        os.kill(pids[0], signal.SIGKILL)
        for pid in pids[1:]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)


class Cluster:
    """`dask scheduler` and `dask worker` processes."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "scheduler.json"
        self._log = (folder / "log.txt").open("w", encoding="utf-8")
        self.workers: list[subprocess.Popen[bytes]] = []
        # a scheduler whose tests were killed ends by itself
        self.scheduler = self._start("dask_scheduler", "--host", "127.0.0.1", "--port", "0", "--idle-timeout", "600")
        self.address: str = until(self._address)

    def start_worker(self, threads: int = 1, folder: Path | None = None) -> None:
        """One more worker, in a folder whose modules it imports before others."""
        options = ("--no-nanny", "--nthreads", str(threads), "--memory-limit", "0", "--death-timeout", "30")
        self.workers.append(self._start("dask_worker", *options, folder=folder))

    def replace_oldest(self) -> list[int]:
        """Start one more worker; the ids of those there were, of which the oldest is counted as dead from now on."""
        pids = [process.pid for process in self.workers]
        threading.Thread(target=self.workers.pop(0).wait, daemon=True).start()
        self.start_worker()
        return pids

    def kill_workers(self) -> None:
        for process in self.workers:
            process.kill()
            process.wait()
        self.workers = []

    def ensure(self, threads: tuple[int, ...]) -> None:
        self.workers = [process for process in self.workers if process.poll() is None]
        for count in threads[len(self.workers) :]:
            self.start_worker(count)

    def close(self) -> None:
        for process in (*self.workers, self.scheduler):
            process.kill()
            process.wait()
        self._log.close()

    def _start(self, program: str, *options: str, folder: Path | None = None) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", f"distributed.cli.{program}", "--scheduler-file", str(self._file)]
        return subprocess.Popen(
            [*command, "--no-dashboard", *options], cwd=folder, env=ENVIRONMENT, stdout=self._log, stderr=self._log
        )

    def _address(self) -> Any:
        with contextlib.suppress(OSError, ValueError):
            return json.loads(self._file.read_text(encoding="utf-8"))["address"]
        return None
