"""Siting and dispatching flexible capacity on grids with AI data centres, under uncertainty that is not well known."""

from drofcm.blocks.smps import read_smps
from drofcm.core.errors import DrofcmError, Finding, InfeasibleError, InputError, ModelError, SolveError
from drofcm.dsl.program import TwoStageProgram, solve
from drofcm.dsl.stage import Stage
from drofcm.risk.ambiguity import (
    KullbackLeibler,
    ModifiedChiSquared,
    Moments,
    Nominal,
    ProbabilityBox,
    TotalVariation,
    Wasserstein,
    bind,
)
from drofcm.risk.measures import CVaR, Expectation, WorstCase
from drofcm.risk.weights import worst_case_probability, worst_case_weights
from drofcm.solve.result import Result

__all__ = [
    "CVaR",
    "DrofcmError",
    "Expectation",
    "Finding",
    "InfeasibleError",
    "InputError",
    "KullbackLeibler",
    "ModelError",
    "ModifiedChiSquared",
    "Moments",
    "Nominal",
    "ProbabilityBox",
    "Result",
    "SolveError",
    "Stage",
    "TotalVariation",
    "TwoStageProgram",
    "Wasserstein",
    "WorstCase",
    "bind",
    "read_smps",
    "solve",
    "worst_case_probability",
    "worst_case_weights",
]
