"""Siting and dispatching flexible capacity on grids with AI data centres, under uncertainty that is not well known."""

from drofcm.blocks.dro import read_dro
from drofcm.blocks.smps import read_smps
from drofcm.core.errors import DrofcmError, Finding, InfeasibleError, InputError, ModelError, SolveError
from drofcm.data import load_trace
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
from drofcm.scenarios.reduce import reduce_scenarios
from drofcm.solve.result import Result
from drofcm.validate.crossvalidation import cross_validate
from drofcm.validate.evaluate import evaluate
from drofcm.validate.information import expected_value_of_perfect_information, value_of_stochastic_solution
from drofcm.validate.optimality import optimality_gap
from drofcm.validate.outofsample import out_of_sample, paired_differences

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
    "cross_validate",
    "evaluate",
    "expected_value_of_perfect_information",
    "load_trace",
    "optimality_gap",
    "out_of_sample",
    "paired_differences",
    "read_dro",
    "read_smps",
    "reduce_scenarios",
    "solve",
    "value_of_stochastic_solution",
    "worst_case_probability",
    "worst_case_weights",
]
