"""Siting and dispatching flexible capacity on grids with AI data centres, under uncertainty that is not well known."""

from drofcm.blocks.smps import read_smps
from drofcm.core.errors import DrofcmError, Finding, InfeasibleError, InputError, ModelError, SolveError
from drofcm.data import load_trace
from drofcm.dsl.program import TwoStageProgram, solve
from drofcm.dsl.stage import Stage
from drofcm.risk.ambiguity import Nominal
from drofcm.risk.measures import CVaR, Expectation, WorstCase
from drofcm.risk.weights import worst_case_weights
from drofcm.scenarios.reduce import Reduction, reduce_scenarios
from drofcm.solve.result import Result

__all__ = [
    "CVaR",
    "DrofcmError",
    "Expectation",
    "Finding",
    "InfeasibleError",
    "InputError",
    "ModelError",
    "Nominal",
    "Reduction",
    "Result",
    "SolveError",
    "Stage",
    "TwoStageProgram",
    "WorstCase",
    "load_trace",
    "read_smps",
    "reduce_scenarios",
    "solve",
    "worst_case_weights",
]
