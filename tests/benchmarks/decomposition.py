"""How the decomposition does on the main study, against HiGHS on the extensive form, and how its cost grows.

    python tests/benchmarks/decomposition.py race --scenarios 100 --share 0.005 --limit 300 --highs-limit 1800
    python tests/benchmarks/decomposition.py curve --scenarios 100 200 500 1000 2000 --linear --share 0.01 --limit 400

All runs use the generator of ``studies/01_demand_shock_ieee33``, its five data-centre nodes, eight hubs and 25 steps,
with another number of scenarios. Gaps are shares of (do nothing - lower bound). Ratios are of times within one run;
absolute times depend on the machine, of which the number of cores is printed. ``assembly.py`` measures the assembly,
``peers.py`` other solvers.
"""

from __future__ import annotations

import argparse
import os
import resource
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr

import drofcm as dro
from drofcm.blocks.form import TwoStageBlocks
from drofcm.config import changed, load_study
from drofcm.problems import demand_shock
from drofcm.risk.measures import RiskMeasure
from drofcm.solve.method import solve_blocks
from drofcm.solve.recourse import result_at
from drofcm.study.assemble import assemble
from drofcm.study.risk import risk_measure

STUDY = Path(__file__).parents[2] / "studies" / "01_demand_shock_ieee33" / "study.yaml"

_COST = 0.8
"""Gaps are asked relative to the cost; doing nothing costs 1.8 times the optimum or a little more at 100 scenarios."""


def instance(scenarios: int, seed: int | None) -> tuple[xr.Dataset, RiskMeasure]:
    """The data of the main study with another number of scenarios, and its risk measure."""
    study = load_study(STUDY)
    study = changed(study, seed=study.seed if seed is None else seed, events={"scenarios": scenarios})
    return assemble(study, STUDY.parent, lambda *key: "study").data, risk_measure(study)


def relaxed(blocks: TwoStageBlocks) -> TwoStageBlocks:
    """The same with linear recourse."""
    scenarios = tuple(replace(own, integer=np.zeros_like(own.integer)) for own in blocks.scenarios)
    return replace(blocks, scenarios=scenarios)


def do_nothing(blocks: TwoStageBlocks, risk: RiskMeasure) -> float:
    """Cost of the empty plan."""
    empty = pd.DataFrame({"seconds": []})
    return result_at(
        blocks,
        np.zeros(len(blocks.first_stage.cost)),
        risk,
        dro.Nominal(),
        status="evaluated",
        lower_bound=-np.inf,
        log=empty,
        provenance={},
    ).objective


def describe(blocks: TwoStageBlocks) -> str:
    columns = sum(len(own.cost) for own in blocks.scenarios)
    integers = sum(int(own.integer.sum()) for own in blocks.scenarios)
    rows = sum(len(own.row_lower) for own in blocks.scenarios)
    entries = sum(own.recourse.nnz + own.technology.nnz for own in blocks.scenarios)
    return (
        f"{len(blocks.scenarios)} scenarios, {columns:,} columns ({integers:,} integer), {rows:,} rows, "
        f"{entries:,} non-zeros; {os.cpu_count()} cores"
    )


def peak() -> str:
    """Of this process, and of the largest of its workers that have ended."""
    own, worker = (
        resource.getrusage(who).ru_maxrss / 2**20 for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )
    return f"{own:.2f} GiB, largest worker {worker:.2f} GiB"


def share_of_benefit(lower: float, upper: float, nothing: float) -> float:
    """(upper - lower) / (do nothing - lower)."""
    return (upper - lower) / (nothing - lower) if np.isfinite(upper) else np.inf


def first_time(log: pd.DataFrame, share: float, nothing: float) -> float:
    """Seconds until a search first stood at a share of the benefit that it reached at its end, if not before."""
    shares = [share_of_benefit(low, up, nothing) for low, up in zip(log.lower_bound, log.upper_bound, strict=True)]
    reached = log.seconds[np.array(shares) <= share * (1 + 1e-9)]
    # the plan is solved anew at the end, which can bring its cost down a little
    return float(reached.min()) if len(reached) else float(log.seconds.iloc[-1])


def race(arguments: argparse.Namespace) -> None:
    """Decomposition to a gap, then HiGHS with default threads on the extensive form until both have the same gap."""
    for count in arguments.scenarios:
        data, risk = instance(count, arguments.seed)
        began = time.perf_counter()
        blocks = demand_shock.program(data).blocks()
        if arguments.linear:
            blocks = relaxed(blocks)
        print(describe(blocks))
        print(f"assembled in {time.perf_counter() - began:.1f} s")
        nothing = do_nothing(blocks, risk)
        result = solve_blocks(
            blocks,
            risk,
            method="lshaped",
            gap=arguments.share * _COST,
            time_limit=arguments.limit,
            workers=arguments.workers,
        )
        share = share_of_benefit(result.lower_bound, result.upper_bound, nothing)
        spent = result.provenance["seconds_by_kind"]
        asked = sum(spent.get(kind, 0) for kind in ("relaxed", "exact", "lagrangian"))
        # masters are solved side by side and waited for; what scenarios wait for each other counts as outside
        waited = spent["master"] + asked / result.provenance["workers"]
        outside = 1 - waited / result.log.seconds.iloc[-1]
        print(
            f"decomposition: {result.log.seconds.iloc[-1]:.0f} s, {result.lower_bound:,.0f} to "
            f"{result.upper_bound:,.0f}, do nothing {nothing:,.0f}: share {share:.3%}; "
            f"{result.provenance['iterations']} iterations, {result.provenance['cuts']} cuts, "
            f"{len(result.provenance['kept_whole'])} scenarios whole"
        )
        print("  seconds: " + ", ".join(f"{kind} {seconds:.0f}" for kind, seconds in spent.items()))
        print(f"  outside HiGHS, idle workers included, {outside:.0%}; peak memory {peak()}")
        if arguments.highs_limit:
            extensive = solve_blocks(
                blocks, risk, method="extensive", gap=arguments.share * _COST, time_limit=arguments.highs_limit
            )
            own = share_of_benefit(extensive.lower_bound, extensive.upper_bound, nothing)
            both = max(share, own)
            fast, slow = first_time(result.log, both, nothing), first_time(extensive.log, both, nothing)
            print(
                f"extensive form: {extensive.log.seconds.iloc[-1]:.0f} s, {extensive.lower_bound:,.0f} to "
                f"{extensive.upper_bound:,.0f}: share {own:.3%}"
            )
            print(f"  to {both:.3%}, which both reach: {fast:.0f} s against {slow:.0f} s, ratio 1 : {slow / fast:.1f}")


def curve(arguments: argparse.Namespace) -> None:
    """Milliseconds per scenario as scenarios grow: of the whole search, and of a round of Benders cuts."""
    print(f"{'':>9} {'ms a scenario':>41}   {'ms a scenario and round':>28}")
    print(f"{'scenarios':>9} {'assembly':>10} {'search':>10} {'of it masters':>19}   {'scenarios':>12} {'master':>15}")
    for count in arguments.scenarios:
        data, risk = instance(count, arguments.seed)
        began = time.perf_counter()
        blocks = demand_shock.program(data).blocks()
        assembly = time.perf_counter() - began
        if arguments.linear:
            blocks = relaxed(blocks)
        nothing = do_nothing(blocks, risk)
        result = solve_blocks(
            blocks,
            risk,
            method="lshaped",
            gap=arguments.share * _COST,
            time_limit=arguments.limit,
            workers=arguments.workers,
        )
        log = result.log
        rounds = log[log.phase == "relaxation"]
        cost = rounds.iloc[-1][["scenario_seconds", "master_seconds"]] / len(rounds) / count * 1e3
        share = share_of_benefit(result.lower_bound, result.upper_bound, nothing)
        print(
            f"{count:>9} {1e3 * assembly / count:>10.1f} {1e3 * log.seconds.iloc[-1] / count:>10.1f} "
            f"{1e3 * log.master_seconds.iloc[-1] / count:>19.1f}   {cost.scenario_seconds:>12.2f} "
            f"{cost.master_seconds:>15.2f}   {len(rounds)} rounds, share {share:.2%}, peak {peak()}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["race", "curve"])
    parser.add_argument("--scenarios", type=int, nargs="+", default=[100])
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--share", type=float, default=0.005, help="gap as a share of (do nothing - lower bound)")
    parser.add_argument("--limit", type=float, default=300.0, help="seconds of the decomposition")
    parser.add_argument("--highs-limit", type=float, default=0.0, help="seconds of the extensive form; 0 leaves it out")
    parser.add_argument("--workers", type=int, default=None)
    parser.add_argument("--linear", action="store_true", help="recourse without integers")
    arguments = parser.parse_args()
    {"race": race, "curve": curve}[arguments.what](arguments)


if __name__ == "__main__":
    main()
