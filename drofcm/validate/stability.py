"""Does the plan depend on which scenarios were drawn: in-sample and out-of-sample stability.

Kaut, M. and Wallace, S. W. (2007). Evaluation of scenario-generation methods for stochastic programming. Pacific
Journal of Optimization 3, 257-271. Several ensembles are made in the same way, and each gives a plan x_m.

In-sample stability: the optimal values F(x_m; ensemble m) are about the same, whichever ensemble is used. Out-of-sample
stability: the plans cost about the same in truth, F(x_m; truth). A method may have either without the other: plans that
cost the same in truth, each promising something else, can be used if their promises are not believed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd
import xarray as xr

from drofcm.core.dims import SCENARIO
from drofcm.core.errors import Finding, raise_if_any
from drofcm.dsl.program import TwoStageProgram
from drofcm.risk.ambiguity import AmbiguitySet
from drofcm.risk.measures import Expectation, RiskMeasure
from drofcm.scenarios.importance import effective_size
from drofcm.solve.result import Result
from drofcm.validate.outofsample import caution_of, draws_behind

__all__ = ["Stability", "stability"]


@dataclass(frozen=True)
class Stability:
    """Plans from several ensembles, what each promised and what each costs.

    Attributes
    ----------
    table
        One line per ensemble: ``scenarios``; ``in_sample``, the cost of its plan on itself, with ``lower_bound``, the
        least that any plan costs on it, and ``gap``; ``out_of_sample``, the cost of its plan in truth; ``promise``,
        in_sample - out_of_sample: what the ensemble leaves out if negative. All these are the objective, risk measure
        included; ``mean_in_sample`` and ``mean_out_of_sample`` are the expected costs of the same plans.
    plans
        First stages by ``ensemble``.
    truth
        What plans were judged by: ``"reference"``, or ``"other ensembles"`` where no reference was given.
    draws
        Scenarios that the risk measure rests on in the smallest ensemble: of a tail those in it.
    """

    table: pd.DataFrame
    plans: xr.Dataset
    truth: str
    draws: float = math.inf

    @property
    def in_sample_spread(self) -> float:
        """Largest less smallest in-sample cost, as a share of their mean."""
        return _spread(self.table["in_sample"])

    @property
    def out_of_sample_spread(self) -> float:
        """Largest less smallest out-of-sample cost, as a share of their mean."""
        return _spread(self.table["out_of_sample"])

    @property
    def bias(self) -> float:
        """Mean of what plans promise less what they cost, as a share of the mean cost."""
        return _share(float(self.table["promise"].mean()), float(self.table["out_of_sample"].mean()))

    @property
    def unproven(self) -> float:
        """The largest gap left by a search: spreads that are smaller say nothing about the ensembles."""
        return float(self.table["gap"].max())

    @property
    def caution(self) -> str:
        """Why costs of ensembles say less than they seem to: too few scenarios in the tail; empty if enough."""
        return caution_of(self.draws)

    def __str__(self) -> str:
        few = f"; in the smallest ensemble the risk {self.caution}" if self.caution else ""
        return (
            f"{len(self.table)} ensembles: costs spread by {self.in_sample_spread:.2%} in sample and by "
            f"{self.out_of_sample_spread:.2%} out of sample ({self.truth}); what plans promise lies {self.bias:+.2%} "
            f"from what they cost; searches ended within {self.unproven:.2%}{few}"
        )


def stability(
    programs: Mapping[str, TwoStageProgram],
    reference: TwoStageProgram | None = None,
    *,
    risk: RiskMeasure | None = None,
    ambiguity: AmbiguitySet | None = None,
    progress: Callable[[str], None] | None = None,
    **settings: Any,
) -> Stability:
    """Solve one program on several ensembles, and judge every plan by the same truth.

    Parameters
    ----------
    programs
        The same declaration on ensembles that were made in the same way (drawn with other seeds, reduced from other
        samples), by name; two at least.
    reference
        The declaration on the largest ensemble that plans can be evaluated on. Left out, each plan is evaluated on
        the other ensembles, which shows instability but cannot prove stability (Kaut and Wallace 2007, section 4.1).
    risk, ambiguity
        As in `drofcm.TwoStageProgram.solve`.
    progress
        Hears what is done next.
    **settings
        Further settings of `drofcm.TwoStageProgram.solve`: ``gap``, ``time_limit``, ``method``.

    Returns
    -------
    Stability

    Raises
    ------
    InputError
        If there are fewer than two ensembles, or their first stages differ.
    InfeasibleError, SolveError
        As in `drofcm.TwoStageProgram.solve`, and if a plan has no recourse in a scenario of the reference.

    Examples
    --------
    >>> import drofcm as dro
    >>> import numpy as np
    >>> import xarray as xr
    >>> def order(m, data):
    ...     return 3 * m.nonnegative("ordered")
    >>> def sell(m, data):
    ...     sold = m.nonnegative("sold", upper=data.demand)
    ...     m.subject_to("in_stock", sold <= m["ordered"])
    ...     return -5 * sold
    >>> def on(demand):
    ...     data = xr.Dataset({"demand": ("scenario", demand)}, coords={"scenario": range(len(demand))})
    ...     return dro.TwoStageProgram(data, order, sell)
    >>> found = stability({"a": on([40.0, 60.0]), "b": on([30.0, 70.0])}, on([30.0, 40.0, 60.0, 70.0]))
    >>> found.table["out_of_sample"].round(6).to_dict()
    {'a': -67.5, 'b': -60.0}
    """
    tell = progress or (lambda _: None)
    raise_if_any(_check(programs))
    results: dict[str, Result] = {}
    for name, program in programs.items():
        tell(f"solving ensemble {name}")
        results[name] = program.solve(risk=risk, ambiguity=ambiguity, **{"preferred": False, **settings})
    raise_if_any(_check_alike(results))
    costs, means = {}, {}
    for name, result in results.items():
        tell(f"evaluating the plan of ensemble {name}")
        judges = [reference] if reference is not None else [own for other, own in programs.items() if other != name]
        judged = [judge.evaluate(result.first_stage, risk, ambiguity, preferred=False) for judge in judges]
        costs[name] = math.fsum(own.objective for own in judged) / len(judged)
        means[name] = math.fsum(own.mean for own in judged) / len(judged)
    table = pd.DataFrame(
        {
            "scenarios": {name: own.recourse_cost.sizes[SCENARIO] for name, own in results.items()},
            "in_sample": {name: own.objective for name, own in results.items()},
            "lower_bound": {name: own.lower_bound for name, own in results.items()},
            "gap": {name: own.gap for name, own in results.items()},
            "out_of_sample": costs,
            "mean_in_sample": {name: own.mean for name, own in results.items()},
            "mean_out_of_sample": means,
        }
    ).rename_axis("ensemble")
    names = pd.Index(list(results), name="ensemble")
    return Stability(
        table=table.assign(promise=table["in_sample"] - table["out_of_sample"]),
        plans=xr.concat([own.first_stage for own in results.values()], dim=names, join="exact"),
        truth="other ensembles" if reference is None else "reference",
        draws=min(draws_behind(risk or Expectation(), effective_size(own.probability)) for own in results.values()),
    )


def _check(programs: Mapping[str, TwoStageProgram]) -> list[Finding]:
    if len(programs) >= 2:
        return []
    return [Finding("programs", f"{len(programs)} given, stability is between several", "give two ensembles at least")]


def _check_alike(results: Mapping[str, Result]) -> list[Finding]:
    (first, one), *others = results.items()
    return [
        Finding(f"programs[{name!r}]", f"its first stage has other variables or labels than that of {first!r}")
        for name, other in others
        if not _alike(one.first_stage, other.first_stage)
    ]


def _alike(one: xr.Dataset, other: xr.Dataset) -> bool:
    dims = [{name: array.dims for name, array in own.variables.items()} for own in (one, other)]
    return dims[0] == dims[1] and all(index.equals(one.indexes[dim]) for dim, index in other.indexes.items())


def _spread(costs: pd.Series) -> float:
    return _share(float(costs.max() - costs.min()), float(costs.mean()))


def _share(part: float, whole: float) -> float:
    if part == 0:
        return 0.0
    return part / abs(whole) if whole != 0 else math.copysign(math.inf, part)
