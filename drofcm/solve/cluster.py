"""The Dask cluster that the user gives: which of its workers can do the work, and what becomes of what they are asked.

Workers come and go. Before a worker is given anything its versions are compared with those here, and it has imported
drofcm once; one that cannot is left out, with a warning. What is lost with a worker is asked again.
"""

from __future__ import annotations

import asyncio
import importlib.metadata
import pickle
import sys
import time
import warnings
import weakref
from collections.abc import Callable, Iterable
from concurrent.futures import CancelledError
from typing import Any, Final

from drofcm.core.errors import DrofcmError, DrofcmWarning, LostError, OverdueError, shorten

__all__ = ["Cluster", "wait_for_worker"]

_ATTEMPTS = 5
"""How often in a row everything that is asked may be lost."""

_PATIENCE = 60.0
"""Seconds for which a cluster may have no worker at all: schedulers of batch systems need time to start new ones."""

_LOOK = 2.0
"""Seconds between two looks at what is waited for."""

_ANSWER = 10.0
"""Seconds for which the scheduler may be silent."""

_ARRIVAL = 60.0
"""Seconds that a worker is given to import drofcm, once; others begin without it."""

_ALIKE: Final = {"drofcm": 9, "highspy": 9, "linopy": 9, "numpy": 2, "scipy": 2, "xarray": 2, "pandas": 2}
"""Packages that make the answer or travel in it, and how many parts of their versions must be those of here."""


class Cluster:
    """The workers of a cluster that can do the work. One object for each client: who was looked at is remembered.

    Parameters
    ----------
    client
        A `dask.distributed.Client` of the user's; drofcm starts none.
    """

    _known: Final[weakref.WeakKeyDictionary[Any, Cluster]] = weakref.WeakKeyDictionary()

    def __init__(self, client: Any) -> None:
        self.client = client
        self._faults: dict[str, str] = {}
        self._asked: dict[str, tuple[Any, float]] = {}

    @classmethod
    def of(cls, client: Any) -> Cluster:
        """The cluster of a client."""
        if client.asynchronous:
            raise ValueError("client must not be asynchronous")
        if client not in cls._known:
            # a reference to the client would keep it as its own key
            cls._known[client] = cls(weakref.proxy(client))
        return cls._known[client]

    def workers(self, late: Callable[[], bool] | None = None) -> dict[str, dict[str, Any]]:
        """What is known of the workers that can do the work, by address, as soon as there is one.

        Raises
        ------
        LostError
            If the scheduler is gone, no worker comes, or none that is there can do the work.
        OverdueError
            If the time is up.
        """
        deadline = time.monotonic() + _PATIENCE
        while True:
            there = self._there()
            self._look_at([address for address in there if address not in self._faults], late)
            fit = {address: own for address, own in there.items() if self._faults.get(address) == ""}
            if fit:
                return fit
            self._refuse_if_gone()
            if there and all(address in self._faults for address in there):
                raise LostError(f"no worker of the cluster can do the work: {self._told(there)}")
            if late is not None and late():
                raise OverdueError("the time is up and the cluster has no worker")
            if time.monotonic() > deadline:
                raise LostError(f"the cluster has had no worker for {_PATIENCE:.0f} s")
            time.sleep(0.2)

    def run(
        self,
        keys: Iterable[int],
        submit: Callable[[int, list[str]], Any],
        forget: Callable[[int], object] = lambda key: None,
        late: Callable[[], bool] | None = None,
        blame: bool = False,
    ) -> dict[int, Any]:
        """The answers to what is submitted, by key.

        Parameters
        ----------
        keys
            Numbers of what is asked.
        submit
            Sends a question to workers with one of the given addresses; the future of its answer.
        forget
            Called where a question was lost, before it is submitted again.
        late
            Whether the time is up; None to wait as long as it takes.
        blame
            Whether a question that has cost several workers their lives, by the count of Dask, is not asked again.

        Raises
        ------
        LostError
            If the scheduler is gone, no worker comes, everything is lost again and again, or the cluster cannot read
            what it is sent.
        OverdueError
            If the time is up.
        """
        done: dict[int, Any] = {}
        left, failures = list(keys), 0
        while left:
            addresses = list(self.workers(late))
            futures = {key: self._submitted(submit, key, addresses) for key in left}
            lost: dict[int, Exception] = {}
            try:
                for key, future in futures.items():
                    try:
                        done[key] = self._result(future, addresses, late)
                    except Exception as error:
                        self._refuse(error)
                        if blame and _is_deadly(error):
                            raise LostError(f"the cluster lost what it was asked for: {_one_line(error)}") from error
                        forget(key)
                        lost[key] = error
            finally:
                # what nobody refers to any more is dropped by the cluster, also after Ctrl-C
                futures.clear()
            failures = 0 if len(lost) < len(left) else failures + 1
            if failures >= _ATTEMPTS:
                why = _one_line(next(iter(lost.values())))
                raise LostError(
                    f"the cluster lost its workers {failures} times in a row: is there memory enough? {why}"
                )
            left = list(lost)
        return done

    def _submitted(self, submit: Callable[[int, list[str]], Any], key: int, addresses: list[str]) -> Any:
        """The future of what is asked; the error where it could not be sent."""
        try:
            return submit(key, addresses)
        except Exception as error:
            self._refuse(error)
            return error

    def _result(self, future: Any, addresses: list[str], late: Callable[[], bool] | None) -> Any:
        """What a task has found; a cluster that has nobody to do it is not waited for."""
        if isinstance(future, Exception):
            raise future
        while True:
            try:
                return future.result(timeout=_LOOK)
            except TimeoutError:
                if future.done():
                    raise
            if self.workers(late).keys().isdisjoint(addresses):
                raise ConnectionError("the workers that could do it are gone")
            if late is not None and late():
                raise OverdueError("the time is up and the cluster has not answered")

    def _refuse(self, error: Exception) -> None:
        """Raise what is no loss of a worker or of its data; return after a loss."""
        if isinstance(error, DrofcmError):
            raise error
        self._refuse_if_gone()
        if isinstance(error, CancelledError | OSError) or _is_deadly(error):
            return
        if isinstance(error, ImportError | pickle.UnpicklingError) or "deserializ" in str(error):
            why = _one_line(error.__cause__ or error)
            raise LostError(
                f"the cluster cannot read what it is sent: {why}. Scheduler and workers must be able to import drofcm "
                "and the modules of the program"
            ) from error
        raise error

    def _refuse_if_gone(self) -> None:
        if self.client.status in ("closing", "closed"):
            raise LostError("the scheduler of the cluster is gone")

    # ---- who can do the work ----------------------------------------------------------------------------------------

    def _there(self) -> dict[str, dict[str, Any]]:
        """All workers of the cluster; none while the scheduler does not answer."""
        try:
            identity = self.client.scheduler.identity
            found = self.client.sync(identity, n_workers=-1, callback_timeout=_ANSWER)
        except (OSError, RuntimeError, AttributeError, CancelledError, asyncio.CancelledError):
            # a connection that is lost, or a client that is closing; that it is closed is asked elsewhere
            return {}
        return dict(found.get("workers", {}))

    def _look_at(self, new: list[str], late: Callable[[], bool] | None) -> None:
        """Find out whether workers can do the work; those that do not answer are looked at again later."""
        unasked = [address for address in new if address not in self._asked]
        if unasked:
            for address, fault in self._versions(unasked).items():
                if fault:
                    self._faults[address] = fault
                else:
                    self._asked[address] = (self._ask_to_import(address), time.monotonic() + _ARRIVAL)
        while waiting := [address for address in new if address in self._asked and address not in self._faults]:
            for address in waiting:
                future, deadline = self._asked[address]
                if future.cancelled():
                    # the scheduler has forgotten it
                    del self._asked[address]
                elif future.done():
                    self._faults[address] = _outcome(future)
                elif time.monotonic() > deadline:
                    self._faults[address] = f"have not imported drofcm within {_ARRIVAL:.0f} s"
            if self.client.status != "running" or (late is not None and late()):
                break
            # those that have answered need not wait for one that is gone
            if not set(waiting) & self._there().keys():
                break
            time.sleep(0.05)
        self._asked = {address: own for address, own in self._asked.items() if address not in self._faults}
        faulty = [address for address in new if self._faults.get(address)]
        if faulty and any(fault == "" for fault in self._faults.values()):
            warnings.warn(
                f"some workers of the cluster are left out: {self._told(faulty)}", DrofcmWarning, stacklevel=2
            )

    def _versions(self, addresses: list[str]) -> dict[str, str]:
        """What speaks against workers by their versions; empty where nothing does. Silent ones are missing."""
        message = {"op": "versions", "packages": list(_ALIKE)}
        settings: dict[str, Any] = {"msg": message, "workers": addresses, "on_error": "ignore"}
        try:
            found = self.client.sync(self.client.scheduler.broadcast, callback_timeout=_ANSWER, **settings)
        except TimeoutError:
            # one that stands still keeps the answers of all from coming
            alone = [self._versions([address]) for address in addresses] if len(addresses) > 1 else []
            return {address: fault for own in alone for address, fault in own.items()}
        except (OSError, RuntimeError, AttributeError, CancelledError, asyncio.CancelledError):
            return {}
        return {address: _differences(own["packages"]) for address, own in found.items()}

    def _ask_to_import(self, address: str) -> Any:
        # a function within a function travels as it is; one of a module would be imported, which is what is asked
        def arrives() -> str:
            import importlib

            try:
                importlib.import_module("drofcm.solve.execution")
            except BaseException as error:
                return f"{type(error).__name__}: {error}"
            return ""

        return self.client.submit(arrives, workers=[address], allow_other_workers=False, pure=False)

    def _told(self, addresses: Iterable[str]) -> str:
        """What is wrong with workers, those with the same fault together."""
        by_fault: dict[str, list[str]] = {}
        for address in addresses:
            by_fault.setdefault(self._faults[address], []).append(address)
        return "; ".join(f"those at {shorten(own)} {fault}" for fault, own in by_fault.items() if fault)


def wait_for_worker(client: Any) -> list[dict[str, Any]]:
    """The workers of a cluster that can do the work, as soon as there is one.

    Raises
    ------
    LostError
        If the scheduler is gone, no worker comes, or none that is there can do the work.
    """
    return list(Cluster.of(client).workers().values())


def _differences(packages: dict[str, Any]) -> str:
    """What keeps a worker with these versions from giving the answers that would be given here."""
    here = {"python": ".".join(map(str, sys.version_info)), **{name: _version(name) for name in _ALIKE}}
    parts = {"python": 2, **_ALIKE}
    # a package without a version is not installed, or stands on the path of the worker: importing it tells
    pairs = {name: (own, packages.get(name)) for name, own in here.items()}
    other = [
        f"{name} {there} instead of {own}"
        for name, (own, there) in pairs.items()
        if own and there and own.split(".")[: parts[name]] != there.split(".")[: parts[name]]
    ]
    return f"have {', '.join(other)}" if other else ""


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _is_deadly(error: Exception) -> bool:
    """Whether Dask has given a task up for the workers that ended over it."""
    # imported here, because it takes half a second and most solves need no cluster
    from distributed import KilledWorker

    return isinstance(error, KilledWorker)


def _outcome(future: Any) -> str:
    """What a worker says about its import of drofcm."""
    try:
        fault = future.result(timeout=_ANSWER)
    except Exception as error:
        fault = _one_line(error)
    return f"cannot import drofcm ({fault})" if fault else ""


def _one_line(error: BaseException) -> str:
    """What an error says, on one line; its kind where it says nothing."""
    return " ".join(str(error).split()) or type(error).__name__
