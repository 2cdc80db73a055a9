"""Siting and dispatching flexible capacity on grids with AI data centres, under uncertainty that is not well known."""

import sys
from importlib import import_module
from importlib.metadata import version
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    __version__: str
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

# A name is imported when it is first asked for: a worker process that needs one module does not load them all.
_HOMES: Final = {
    "blocks.dro": "read_dro",
    "blocks.smps": "read_smps",
    "core.errors": "DrofcmError Finding InfeasibleError InputError ModelError SolveError",
    "data": "load_trace",
    "dsl.program": "TwoStageProgram solve",
    "dsl.stage": "Stage",
    "risk.ambiguity": "KullbackLeibler ModifiedChiSquared Moments Nominal ProbabilityBox TotalVariation Wasserstein "
    "bind",
    "risk.measures": "CVaR Expectation WorstCase",
    "risk.weights": "worst_case_probability worst_case_weights",
    "scenarios.reduce": "reduce_scenarios",
    "solve.result": "Result",
    "validate.crossvalidation": "cross_validate",
    "validate.evaluate": "evaluate",
    "validate.information": "expected_value_of_perfect_information value_of_stochastic_solution",
    "validate.optimality": "optimality_gap",
    "validate.outofsample": "out_of_sample paired_differences",
}
_HOME_OF: Final = {name: home for home, names in _HOMES.items() for name in names.split()}


if not TYPE_CHECKING:  # a type checker that saw it would take every misspelt name for a public one

    def __getattr__(name: str) -> Any:
        if name == "__version__":
            return version(__name__)
        if name not in _HOME_OF:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = getattr(import_module(f"{__name__}.{_HOME_OF[name]}"), name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


class _Curated(ModuleType):
    """The package, whose `solve` is always the function: importing the subpackage of that name does not bind it."""

    def __setattr__(self, name: str, value: object) -> None:
        if not (name in _HOME_OF and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Curated
