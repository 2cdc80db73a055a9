"""The main study with linear recourse: drofcm against mpi-sppy, one after the other on the same machine.

mpi-sppy gets an environment of its own. It needs an MPI library (mpi4py is imported also in a serial run):

    apt-get install openmpi-bin
    python -m venv ../mpisppy
    ../mpisppy/bin/pip install mpi-sppy==0.14.0 pyomo==6.10.1 highspy==1.15.1 mpi4py==4.1.2 scipy
    python tests/benchmarks/peers.py --peer ../mpisppy/bin/python --scenarios 20 --share 0.001 --limit 600

Both sides get the same matrices: the instance of ``decomposition.py`` (data and integers of the first stage as in
``studies/01_demand_shock_ieee33``, recourse without integers), written to a file as canonical matrices and built from
there as Pyomo models. Both minimise the expected cost, because the L-shaped method of mpi-sppy knows no risk measure.
Both go to the same gap, as a share of (do nothing - lower bound). mpi-sppy runs its serial L-shaped method with solver
``highs`` and is given two things for nothing: valid lower bounds of every eta, and the evaluation of its plans, from
which its upper bound comes, off the clock. HiGHS may use one thread in the L-shaped methods, as many as it likes in
the extensive forms. ``--continuous`` relaxes the first stage as well, which leaves the cutting planes alone.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp
from decomposition import describe, do_nothing, first_time, instance, relaxed, share_of_benefit

import drofcm as dro
from drofcm.blocks.form import TwoStageBlocks
from drofcm.problems import demand_shock
from drofcm.solve.execution import executor
from drofcm.solve.method import solve_blocks

PEER = Path(__file__).with_name("peer_mpisppy.py")


@dataclass(frozen=True)
class Run:
    """One side's search."""

    name: str
    log: pd.DataFrame
    building: float

    def tell(self, nothing: float) -> None:
        """Print where it stands."""
        last = self.log.iloc[-1]
        print(
            f"  {self.name:<32} {last.seconds:8.1f} s, built in {self.building:6.1f} s, {len(self.log):5} looks, "
            f"{last.lower_bound:,.0f} to {last.upper_bound:,.0f}: share "
            f"{share_of_benefit(last.lower_bound, last.upper_bound, nothing):.3%}",
            flush=True,
        )

    def reached(self, nothing: float) -> float:
        """The least share that it stood at."""
        shares = (
            share_of_benefit(low, up, nothing)
            for low, up in zip(self.log.lower_bound, self.log.upper_bound, strict=True)
        )
        return min(shares)


def write(path: Path, blocks: TwoStageBlocks, nothing: float) -> None:
    """The matrices and a lower bound of every scenario's cost as one npz file."""
    if any(own.first_stage_cost.any() for own in blocks.scenarios):
        raise SystemExit("the recourse cost holds first-stage columns, which mpi-sppy would drop from its subproblems")
    with executor(blocks, workers=1) as ask:
        floors = ask.floors()
    # the peer carries constants by a column of its own, so floors hold them already
    content: dict[str, Any] = {
        "probability": blocks.probability.values,
        "floor": np.array([floors[k] for k in range(len(blocks.scenarios))]),
        "nothing": nothing,
    }
    parts = {"first": blocks.first_stage, **{f"s{k}": own for k, own in enumerate(blocks.scenarios)}}
    for prefix, part in parts.items():
        for name, value in vars(part).items():
            if isinstance(value, sp.csr_array):
                content[f"{prefix}.{name}.data"] = value.data
                content[f"{prefix}.{name}.indices"] = value.indices.astype(np.int32)
                content[f"{prefix}.{name}.indptr"] = value.indptr.astype(np.int32)
                content[f"{prefix}.{name}.shape"] = np.array(value.shape)
            else:
                content[f"{prefix}.{name}"] = value
    np.savez(path, **content)


def without_integers(blocks: TwoStageBlocks) -> TwoStageBlocks:
    """The same with a continuous first stage."""
    first = blocks.first_stage
    return replace(blocks, first_stage=replace(first, integer=np.zeros_like(first.integer)))


def relative(continuous: TwoStageBlocks, share: float, nothing: float) -> float:
    """A relative gap at which the share is reached, unless whole modules save less than 70 % of what parts do."""
    result = solve_blocks(continuous, dro.Expectation(), method="lshaped", gap=1e-3, workers=1)
    return 0.7 * share * (nothing - result.upper_bound) / nothing


def own_run(blocks: TwoStageBlocks, method: str, workers: int, gap: float, limit: float, building: float) -> Run:
    """drofcm on the matrices."""
    result = solve_blocks(blocks, dro.Expectation(), method=method, gap=gap, time_limit=limit, workers=workers)
    name = "drofcm extensive form" if method == "extensive" else f"drofcm decomposition, workers={workers}"
    return Run(name, result.log[["seconds", "lower_bound", "upper_bound"]], building)


def peer_run(python: Path, method: str, file: Path, share: float, gap: float, limit: float) -> Run:
    """mpi-sppy on the file, in its own environment."""
    command = [str(python), str(PEER), method, str(file), f"--share={share}", f"--gap={gap}", f"--limit={limit}"]
    # the caller's interpreter settings are not the peer's
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if done.returncode:
        sys.exit(f"mpi-sppy failed:\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}")
    outcome = json.loads(done.stdout.splitlines()[-1])
    name = "mpi-sppy extensive form" if method == "extensive" else "mpi-sppy L-shaped, serial"
    print(f"  versions {outcome['versions']}, peak {outcome['peak']:.2f} GiB, load {os.getloadavg()[0]:.1f}")
    return Run(
        name, pd.DataFrame(outcome["log"], columns=["seconds", "lower_bound", "upper_bound"]), outcome["building"]
    )


def compare(ours: Run, theirs: Run, share: float, nothing: float) -> None:
    """Times to the gap that was asked for, or to the least one that both reach."""
    both = max(share, ours.reached(nothing), theirs.reached(nothing))
    fast, slow = first_time(ours.log, both, nothing), first_time(theirs.log, both, nothing)
    print(
        f"  {ours.name} against {theirs.name}, to {both:.3%}: {fast:.1f} s against {slow:.1f} s, "
        f"1 : {slow / fast:.1f}; with building {fast + ours.building:.1f} s against {slow + theirs.building:.1f} s, "
        f"1 : {(slow + theirs.building) / (fast + ours.building):.1f}"
    )


def measure(count: int, arguments: argparse.Namespace) -> None:
    """All runs for one number of scenarios."""
    data, _ = instance(count, arguments.seed)
    began = time.perf_counter()
    blocks = relaxed(demand_shock.program(data).blocks())
    building = time.perf_counter() - began
    nothing = do_nothing(blocks, dro.Expectation())
    print(f"{describe(blocks)}, load {os.getloadavg()[0]:.1f}; do nothing {nothing:,.0f}", flush=True)
    continuous = without_integers(blocks)
    if arguments.continuous:
        blocks = continuous
    gap = relative(continuous, arguments.share, nothing)

    def add(make: Callable[[], Run]) -> Run:
        run = make()
        run.tell(nothing)
        return run

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "program.npz"
        write(file, blocks, nothing)
        own = [
            add(lambda workers=workers: own_run(blocks, "lshaped", workers, gap, arguments.limit, building))
            for workers in arguments.workers
        ]
        own.append(add(lambda: own_run(blocks, "extensive", 1, gap, arguments.limit, building)))
        for method in arguments.methods:
            theirs = add(
                lambda method=method: peer_run(arguments.peer, method, file, arguments.share, gap, arguments.limit)
            )
            for ours in own:
                compare(ours, theirs, arguments.share, nothing)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer", type=Path, required=True, help="Python of the environment that holds mpi-sppy")
    parser.add_argument("--scenarios", type=int, nargs="+", default=[20])
    parser.add_argument("--workers", type=int, nargs="+", default=[1], help="processes of drofcm's decomposition")
    parser.add_argument("--methods", nargs="+", choices=["lshaped", "extensive"], default=["lshaped", "extensive"])
    parser.add_argument("--share", type=float, default=1e-3, help="gap as a share of (do nothing - lower bound)")
    parser.add_argument("--limit", type=float, default=600.0, help="seconds of each run, building excluded")
    parser.add_argument("--continuous", action="store_true", help="a first stage without integers as well")
    parser.add_argument("--seed", type=int, default=None)
    arguments = parser.parse_args()
    for count in arguments.scenarios:
        measure(count, arguments)


if __name__ == "__main__":
    main()
