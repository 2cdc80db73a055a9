"""How long it takes to turn the main study into canonical matrices, and what that costs in memory and transfers.

    python tests/benchmarks/assembly.py workers --scenarios 2000 --workers 0 1 2
    python tests/benchmarks/assembly.py chunks --scenarios 400 --chunk 50 200 400
    python tests/benchmarks/assembly.py growth --scenarios 100 --hubs 8 30 100 --suppliers 3 12 48

All use the generator of ``studies/01_demand_shock_ieee33`` with another number of scenarios. ``workers`` assembles in
the client's process (0) or on a `distributed.LocalCluster` of that many processes of one thread, started and warmed up
off the clock; the scheduler lives in the client's process and counts there. Bytes shipped are the pickled sizes of what
travels: declaration and data to the workers, matrices back. ``growth`` repeats hubs or suppliers under new labels. Each
line also says how long HiGHS takes to receive the same matrices as one extensive form (joining them, ``passModel``),
which no way of declaring a problem can avoid. Every line comes from a process of its own, so that its peak memory is.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import pickle
import resource
import time
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import cloudpickle
import numpy as np
import xarray as xr
from decomposition import describe, instance

import drofcm as dro
from drofcm.blocks.form import TwoStageBlocks
from drofcm.problems import demand_shock
from drofcm.solve.extensive import whole_problem
from drofcm.solve.highs import LinearProgram


@dataclass(frozen=True)
class Case:
    """One line."""

    scenarios: int
    seed: int | None = None
    hubs: int | None = None
    suppliers: int | None = None
    workers: int = 0
    chunk: int | None = None
    shipped: bool = False


def repeated(data: xr.Dataset, dim: str, count: int | None) -> xr.Dataset:
    """The data with another number of hubs or suppliers: the same ones again under new labels."""
    if count is None:
        return data
    labels = [f"{dim}_{k}" for k in range(count)]
    again = data.isel({dim: np.arange(count) % data.sizes[dim]}).assign_coords({dim: labels})
    if dim == "hub":
        again["hub_maximum"] = again["hub_maximum"].copy(data=np.asarray(count, dtype=again["hub_maximum"].dtype))
    return again


def peak() -> float:
    """The most memory that this process has held, GiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def stored(blocks: TwoStageBlocks) -> float:
    """Bytes of the scenarios' distinct arrays, MiB."""
    distinct: dict[int, int] = {}
    for own in blocks.scenarios:
        for value in vars(own).values():
            for array in [value.data, value.indices, value.indptr] if hasattr(value, "indptr") else [value]:
                if isinstance(array, np.ndarray):
                    distinct[id(array)] = array.nbytes
    return sum(distinct.values()) / 2**20


def travels(program: dro.TwoStageProgram, blocks: TwoStageBlocks) -> tuple[float, float]:
    """What goes to the workers and what comes back, MiB, if every scenario travels once."""
    there = len(cloudpickle.dumps(program._part(slice(None))))
    return there / 2**20, len(pickle.dumps(blocks, protocol=5)) / 2**20


def measure(case: Case) -> dict[str, Any]:
    """Assemble once, in this process or on a cluster."""
    data, risk = instance(case.scenarios, case.seed)
    data = repeated(repeated(data, "hub", case.hubs), "supplier", case.suppliers)
    program = demand_shock.program(data)
    before = peak()
    with ExitStack() as stack:
        client = None
        if case.workers:
            from distributed import Client, LocalCluster

            cluster = LocalCluster(n_workers=case.workers, threads_per_worker=1, dashboard_address=":0", memory_limit=0)
            client = stack.enter_context(Client(stack.enter_context(cluster)))
            client.run(demand_shock.program(instance(2, case.seed)[0]).blocks)
        began, used = time.perf_counter(), time.process_time()
        blocks = program.blocks(client=client, chunk=case.chunk)
        seconds, processor = time.perf_counter() - began, time.process_time() - used
    found: dict[str, Any] = {
        "size": describe(blocks),
        "hubs": data.sizes["hub"],
        "suppliers": data.sizes["supplier"],
        "seconds": seconds,
        "processor": processor,
        "before": before,
        "peak": peak(),
        "stored": stored(blocks),
        "load": os.getloadavg()[0],
    }
    if case.shipped:
        found["there"], found["back"] = travels(program, blocks)
    began = time.perf_counter()
    problem = whole_problem(blocks, risk, dro.Nominal())
    found["joined"] = time.perf_counter() - began
    began = time.perf_counter()
    LinearProgram(problem)
    found["passed"] = time.perf_counter() - began
    return found


def alone(case: Case) -> dict[str, Any]:
    """Measure in a fresh process."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(measure, case).result()


def line(found: dict[str, Any], count: int) -> str:
    """One result."""
    return (
        f"{found['seconds']:7.1f} s ({found['processor']:.1f} s of this process's CPU), "
        f"{1e3 * found['seconds'] / count:6.1f} ms a scenario; {found['stored']:.1f} MiB stored; client's peak "
        f"{found['peak']:.2f} GiB ({found['before']:.2f} before); to HiGHS: join {found['joined']:.2f} s, pass "
        f"{found['passed']:.2f} s; load {found['load']:.1f}"
    )


def workers(arguments: argparse.Namespace) -> None:
    """Seconds in this process, and on clusters of several sizes."""
    for count in arguments.scenarios:
        alike: dict[int, float] = {}
        for number in arguments.workers:
            found = alone(Case(count, arguments.seed, workers=number, shipped=True))
            if not alike:
                print(found["size"])
            alike[number] = found["seconds"]
            where = f"{number} worker{'s' if number > 1 else ''}" if number else "this process"
            print(f"  {where:<12} {line(found, count)}", flush=True)
            if number:
                print(f"               shipped {found['there']:.1f} MiB there, {found['back']:.1f} MiB back")
        if 1 in alike and 2 in alike:
            print(f"  1 worker against 2: {alike[1] / alike[2]:.2f}")


def chunks(arguments: argparse.Namespace) -> None:
    """Seconds and memory by the number of scenarios that are assembled at a time."""
    for count in arguments.scenarios:
        for chunk in arguments.chunk:
            found = alone(Case(count, arguments.seed, chunk=chunk))
            print(f"{count} in chunks of {chunk:<5} {line(found, count)}", flush=True)


def growth(arguments: argparse.Namespace) -> None:
    """Seconds and memory as hubs or suppliers grow."""
    for count in arguments.scenarios:
        cases = [Case(count, arguments.seed, hubs=number) for number in arguments.hubs]
        cases += [Case(count, arguments.seed, suppliers=number) for number in arguments.suppliers]
        for case in cases:
            found = alone(case)
            print(f"{found['hubs']:4} hubs, {found['suppliers']:3} suppliers: {found['size']}")
            print(f"  {line(found, count)}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["workers", "chunks", "growth"])
    parser.add_argument("--scenarios", type=int, nargs="+", default=[100])
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--chunk", type=int, nargs="+", default=[50, 200])
    parser.add_argument("--hubs", type=int, nargs="*", default=[8, 30, 100])
    parser.add_argument("--suppliers", type=int, nargs="*", default=[3, 12, 48])
    parser.add_argument("--seed", type=int, default=None)
    arguments = parser.parse_args()
    {"workers": workers, "chunks": chunks, "growth": growth}[arguments.what](arguments)


if __name__ == "__main__":
    main()
