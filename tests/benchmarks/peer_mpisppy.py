"""Solve a two-stage program from a file with mpi-sppy. Run by ``peers.py`` in an environment of its own.

    PYTHON tests/benchmarks/peer_mpisppy.py lshaped FILE.npz --share 0.001 --limit 600
    PYTHON tests/benchmarks/peer_mpisppy.py extensive FILE.npz --gap 1e-3 --limit 600

The last line that it prints is the outcome as JSON. The clock of the L-shaped method leaves out what mpi-sppy does not
do by itself in a serial run: the evaluation of each plan, from which the upper bound comes.
"""

from __future__ import annotations

import argparse
import json
import resource
import time
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import highspy
import mpisppy.utils.sputils as sputils
import numpy as np
import pyomo.environ as pyo
import scipy.sparse as sp
from mpisppy.opt.ef import ExtensiveForm
from mpisppy.opt.lshaped import LShapedMethod
from pyomo.core.expr.numeric_expr import LinearExpression

SOLVER = "highs"


@dataclass(frozen=True)
class Part:
    """Matrices of the first stage, or of the recourse of one scenario."""

    arrays: dict[str, Any]

    def __getattr__(self, name: str) -> Any:
        return self.arrays[name]


@dataclass(frozen=True)
class Program:
    """What ``peers.py`` wrote: min c.x + sum_s p_s (q_s.w_s + constant_s)."""

    first: Part
    scenarios: list[Part]
    probability: np.ndarray
    floor: np.ndarray
    nothing: float

    @classmethod
    def read(cls, path: Path) -> Program:
        """Read a file."""
        with np.load(path) as stored:
            content = {name: stored[name] for name in stored.files}
        count = len(content["probability"])
        return cls(
            first=_part(content, "first"),
            scenarios=[_part(content, f"s{k}") for k in range(count)],
            probability=content["probability"],
            floor=content["floor"],
            nothing=float(content["nothing"]),
        )


def _part(content: dict[str, np.ndarray], prefix: str) -> Part:
    arrays: dict[str, Any] = {}
    for key, value in content.items():
        head, _, name = key.partition(".")
        if head == prefix and "." not in name:
            arrays[name] = value
    for name in {key.split(".")[1] for key in content if key.startswith(f"{prefix}.") and key.endswith(".data")}:
        data, indices, indptr, shape = (content[f"{prefix}.{name}.{part}"] for part in SPARSE)
        arrays[name] = sp.csr_array((data, indices, indptr), shape=tuple(shape))
    return Part(arrays)


SPARSE = ("data", "indices", "indptr", "shape")


def model_of(program: Program, number: int) -> pyo.ConcreteModel:
    """Both stages of one scenario as a Pyomo model; constants of the cost are left out or carried by a column.

    mpi-sppy takes the constant of one scenario for that of all, so that of the recourse is the cost of a column which
    is one. That of the first stage is added to what it reports.
    """
    first, own = program.first, program.scenarios[number]
    model = pyo.ConcreteModel()
    model.x = _columns(first)
    model.w = _columns(own)
    model.one = pyo.Var(bounds=(1, 1))
    x, w = list(model.x.values()), list(model.w.values())
    _rows(model, "first_rows", first.rows, x, first)
    _rows(model, "rows", sp.csr_array(sp.hstack([own.technology, own.recourse])), [*x, *w], own)
    here = LinearExpression(linear_coefs=first.cost.tolist(), linear_vars=x)
    later = LinearExpression(linear_coefs=[*own.cost.tolist(), float(own.constant)], linear_vars=[*w, model.one])
    model.cost = pyo.Objective(expr=here + later, sense=pyo.minimize)
    sputils.attach_root_node(model, here, [model.x])
    model._mpisppy_probability = float(program.probability[number])
    return model


def _columns(part: Part) -> pyo.Var:
    bounds = [
        tuple(float(v) if np.isfinite(v) else None for v in pair) for pair in zip(part.lower, part.upper, strict=True)
    ]
    return pyo.Var(
        range(len(part.cost)),
        bounds=dict(enumerate(bounds)),
        within={k: pyo.Integers if flag else pyo.Reals for k, flag in enumerate(part.integer.tolist())},
    )


def _rows(model: pyo.ConcreteModel, name: str, matrix: sp.csr_array, columns: list[Any], part: Part) -> None:
    def rule(_: Any, k: int) -> Any:
        at = slice(matrix.indptr[k], matrix.indptr[k + 1])
        low, high = float(part.row_lower[k]), float(part.row_upper[k])
        if at.start == at.stop:
            if not low <= 0 <= high:
                raise ValueError(f"{name} {k} has no column and is not fulfilled")
            return pyo.Constraint.Skip
        body = LinearExpression(
            linear_coefs=matrix.data[at].tolist(), linear_vars=[columns[c] for c in matrix.indices[at]]
        )
        if low == high:
            return body == low
        return pyo.inequality(low if np.isfinite(low) else None, body, high if np.isfinite(high) else None)

    setattr(model, name, pyo.Constraint(range(matrix.shape[0]), rule=rule))


class Evaluation:
    """Cost of a plan: the recourse of every scenario, by HiGHS, from the last basis."""

    def __init__(self, program: Program) -> None:
        self._program = program
        self._solvers = [self._load(own) for own in program.scenarios]

    def __call__(self, x: np.ndarray) -> float:
        total = float(self._program.first.cost @ x) + float(self._program.first.constant)
        for weight, own, solver in zip(self._program.probability, self._program.scenarios, self._solvers, strict=True):
            shift = own.technology @ x
            positions = np.arange(len(shift), dtype=np.int32)
            solver.changeRowsBounds(len(shift), positions, own.row_lower - shift, own.row_upper - shift)
            solver.run()
            if solver.getModelStatus() != highspy.HighsModelStatus.kOptimal:
                return np.inf
            total += float(weight) * (solver.getInfo().objective_function_value + float(own.constant))
        return total

    @staticmethod
    def _load(own: Part) -> highspy.Highs:
        problem = highspy.HighsLp()
        problem.num_row_, problem.num_col_ = own.recourse.shape
        problem.col_cost_, problem.col_lower_, problem.col_upper_ = own.cost, own.lower, own.upper
        problem.row_lower_, problem.row_upper_ = own.row_lower, own.row_upper
        problem.a_matrix_.format_ = highspy.MatrixFormat.kRowwise
        problem.a_matrix_.start_, problem.a_matrix_.index_ = own.recourse.indptr, own.recourse.indices
        problem.a_matrix_.value_ = own.recourse.data
        solver = highspy.Highs()
        solver.setOptionValue("output_flag", False)
        solver.setOptionValue("threads", 1)
        solver.passModel(problem)
        return solver


class Timed(LShapedMethod):
    """The L-shaped method that knows when its models were ready."""

    ready = 0.0

    def set_eta_bounds(self) -> None:
        """The last thing that is done before the loop."""
        super().set_eta_bounds()
        self.ready = time.perf_counter()


def lshaped(program: Program, arguments: argparse.Namespace) -> dict[str, Any]:
    """Serial L-shaped method until the gap, as a share of (do nothing - lower bound), or the time limit."""
    evaluate = Evaluation(program)
    names = [f"scenario{k}" for k in range(len(program.scenarios))]
    numbers = {name: k for k, name in enumerate(names)}
    constant = float(program.first.constant)
    log: list[tuple[float, float, float]] = []
    lost = 0.0
    began = time.perf_counter()
    method = Timed(
        {
            "root_solver": SOLVER,
            "sp_solver": SOLVER,
            "root_solver_options": {"threads": 1},
            "sp_solver_options": {"threads": 1},
            "valid_eta_lb": {
                name: float(p * low) for name, p, low in zip(names, program.probability, program.floor, strict=True)
            },
            "max_iter": 1_000_000,
            "verbose": False,
        },
        names,
        lambda name: model_of(program, numbers[name]),
    )

    def look() -> bool:
        nonlocal lost
        at = time.perf_counter()
        x = np.array([var.value for var in method.root_vars])
        x = np.where(program.first.integer, np.round(x), x)
        upper = min(evaluate(x), log[-1][2] if log else np.inf)
        lower = max(float(method._LShaped_bound) + constant, log[-1][1] if log else -np.inf)
        log.append((at - method.ready - lost, lower, upper))
        lost += time.perf_counter() - at
        return (upper - lower) / (program.nothing - lower) <= arguments.share or log[-1][0] > arguments.limit

    class Watch:
        def __init__(self, *_: Any) -> None:
            pass

        def convergence_value(self) -> None:
            pass

        def is_converged(self) -> bool:
            return look()

    method.lshaped_algorithm(converger=Watch)
    if method.first_stage_solution_available:
        # no cut was found, so that the loop was left before the look
        look()
    return {"log": log, "building": method.ready - began, "iterations": len(log)}


def extensive(program: Program, arguments: argparse.Namespace) -> dict[str, Any]:
    """The extensive form to a relative gap or the time limit."""
    names = [f"scenario{k}" for k in range(len(program.scenarios))]
    numbers = {name: k for k, name in enumerate(names)}
    began = time.perf_counter()
    form = ExtensiveForm({"solver": SOLVER}, names, lambda name: model_of(program, numbers[name]))
    ready = time.perf_counter()
    options = {"mip_rel_gap": arguments.gap, "time_limit": arguments.limit}
    results = form.solve_extensive_form(solver_options=options)
    seconds = time.perf_counter() - ready
    constant = float(program.first.constant)
    lower, upper = (float(results.problem[0][side]) + constant for side in ("Lower bound", "Upper bound"))
    return {"log": [(seconds, lower, upper)], "building": ready - began, "iterations": 1}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("method", choices=["lshaped", "extensive"])
    parser.add_argument("file", type=Path)
    parser.add_argument("--share", type=float, default=1e-3, help="gap of the L-shaped method: see peers.py")
    parser.add_argument("--gap", type=float, default=1e-4, help="relative gap of the extensive form")
    parser.add_argument("--limit", type=float, default=600.0, help="seconds")
    arguments = parser.parse_args()
    outcome = {"lshaped": lshaped, "extensive": extensive}[arguments.method](Program.read(arguments.file), arguments)
    outcome["versions"] = {name: version(name) for name in ("mpi-sppy", "pyomo", "highspy")}
    outcome["peak"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(json.dumps(outcome))


if __name__ == "__main__":
    main()
