"""Where a command has its work done: a client of the option ``--scheduler``, and what is to be said about workers."""

from __future__ import annotations

import asyncio
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from drofcm.commands.console import warn
from drofcm.core.errors import DrofcmWarning, Finding, InputError

__all__ = ["cluster"]

ANSWER_SECONDS = 10
"""How long a scheduler is given to answer, at the start and when its connection is lost."""

_ADVICE = {
    "tls": "certificates are set in the Dask configuration, distributed.comm.tls; without them use tcp://",
    "ucx": "ucx needs the package distributed-ucxx here and on the cluster; without it use tcp://",
    "ucxx": "ucxx needs the package distributed-ucxx here and on the cluster; without it use tcp://",
}
_PLAIN = "give the address that the scheduler prints when it starts, such as tcp://host:8786"


@contextmanager
def cluster(scheduler: str | None) -> Iterator[Any]:
    """A client of a running scheduler, or None; warnings of the searches meanwhile are lines on stderr.

    Raises
    ------
    InputError
        If no scheduler answers at the address, or distributed refuses it.
    """
    with _warnings_told():
        if scheduler is None:
            yield None
            return
        client = _connected(scheduler)
        try:
            yield client
        finally:
            _close(client)


@contextmanager
def _warnings_told() -> Iterator[None]:
    """Each warning of drofcm as a line, whatever the filters of the interpreter are; others as ever."""
    with warnings.catch_warnings():
        warnings.simplefilter("always", DrofcmWarning)
        others = warnings.showwarning

        def show(message: Warning | str, category: type[Warning], *where: Any, **settings: Any) -> None:
            if issubclass(category, DrofcmWarning):
                warn([Finding("the search", str(message))])
            else:
                others(message, category, *where, **settings)

        warnings.showwarning = show
        yield


def _close(client: Any) -> None:
    # a scheduler that is gone was told where it mattered; there is nothing left to take leave of
    with suppress(OSError, RuntimeError):
        client.close(timeout=2)


def _connected(scheduler: str) -> Any:
    # imported here, because it takes half a second and most commands need no cluster
    from distributed import Client

    # what becomes of the cluster is told in drofcm's own lines, once and in words
    for name in list(logging.root.manager.loggerDict):
        if name.partition(".")[0] in ("distributed", "tornado"):
            logging.getLogger(name).setLevel(logging.CRITICAL + 1)
    try:
        # a client that gets no answer cannot be closed either, so none is made before there is one
        asyncio.run(_knock(scheduler))
        return Client(scheduler, timeout=ANSWER_SECONDS, set_as_default=False)
    except Exception as error:  # an address is refused by whatever part of distributed looks at it first
        what = f"no scheduler answers at {scheduler!r}: {_one_line(error)}"
        fix = _ADVICE.get(scheduler.partition("://")[0], _PLAIN)
        raise InputError([Finding("--scheduler", what, fix)]) from None


async def _knock(scheduler: str) -> None:
    from distributed.comm.core import connect
    from distributed.core import coerce_to_address
    from distributed.security import Security

    certificates = Security().get_connection_args("client")
    comm = await connect(coerce_to_address(scheduler), timeout=ANSWER_SECONDS, **certificates)
    await comm.close()


def _one_line(error: Exception) -> str:
    """What an error says, on one line and without a full stop; its kind where it says nothing."""
    return " ".join(str(error).split()).rstrip(".") or type(error).__name__
