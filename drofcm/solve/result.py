"""`Result`: a plan with its recourse, its bounds and where they come from."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pandas as pd
import xarray as xr

from drofcm.core.errors import Finding, InputError
from drofcm.core.files import whole_file
from drofcm.core.labels import from_file, to_file
from drofcm.risk.ambiguity import Nominal
from drofcm.risk.measures import CVaR
from drofcm.risk.weights import worst_case_weights

__all__ = ["Result", "Status"]

Status = Literal["optimal", "stalled", "time_limit", "iteration_limit", "interrupted", "evaluated"]

_NO_PRICES = "prices come from the decomposition (method='lshaped') where the first stage has rows"

_GROUPS = ("first_stage", "recourse", "terms", "prices")
_SERIES = ("recourse_cost", "probability", "worst_case_probability", "risk_weight")
_NUMBERS = ("objective", "lower_bound", "upper_bound", "gap")


@dataclass(frozen=True)
class Result:
    """A plan, the recourse re-solved at it in every scenario, and valid bounds.

    Attributes
    ----------
    first_stage, recourse
        The variables, labelled as declared; NaN where a variable does not exist. Of the recourses that cost the same,
        the one that the program's `drofcm.TwoStageProgram.preference` wants, where it has one:
        ``provenance["preference"]`` says in which scenarios it is not, and why. The preference's own variables are
        not part of it.
    terms
        The recorded terms of both stages.
    recourse_cost
        Optimal recourse cost at the plan, (scenario).
    probability
        Nominal probability, (scenario).
    worst_case_probability
        The distribution nature picks from the ambiguity set at the plan, (scenario); sums to one.
    risk_weight
        Weights w with rho = sum(w * recourse_cost), (scenario); sum to the sum of the weights of the risk measure.
    objective
        First-stage cost plus the risk of ``recourse_cost``.
    lower_bound, upper_bound
        No plan costs less than the lower bound; the upper bound is the cost of this plan. Their origin stands in
        ``provenance``. A plan that was evaluated, not optimised, has a lower bound of minus infinity.
    gap
        (upper_bound - lower_bound) / abs(upper_bound).
    status
        ``"optimal"``: within the gap asked for, by these bounds; ``"stalled"``: the solver's arithmetic can close it no
        further; ``"time_limit"``, ``"iteration_limit"`` or ``"interrupted"``: the best plan so far;
        ``"evaluated"``: a plan that was given.
    log
        One row per report of the search: seconds, phase, lower_bound, upper_bound, gap.
    provenance
        Settings, versions, origin of the bounds.
    prices
        By decomposition: for every row of the first stage its dual in the linear relaxation, what the objective rises
        by when the row's active side rises by one. A limit that binds from above has a negative price: its amount is
        what one more unit is worth. The extensive form and evaluations have none: ``prices.attrs["why_empty"]``.
    """

    first_stage: xr.Dataset
    recourse: xr.Dataset
    terms: xr.Dataset
    recourse_cost: xr.DataArray
    probability: xr.DataArray
    worst_case_probability: xr.DataArray
    risk_weight: xr.DataArray
    objective: float
    lower_bound: float
    upper_bound: float
    gap: float
    status: Status
    log: pd.DataFrame
    provenance: dict[str, Any] = field(default_factory=dict)
    prices: xr.Dataset = field(default_factory=xr.Dataset)

    def __post_init__(self) -> None:
        if not self.prices and not self.prices.attrs:
            object.__setattr__(self, "prices", self.prices.assign_attrs(why_empty=_NO_PRICES))

    def __str__(self) -> str:
        return (
            f"{self.status}: objective {self.objective:,.6g}, lower bound {self.lower_bound:,.6g}, gap {self.gap:.3%}, "
            f"{self.recourse_cost.sizes['scenario']} scenarios"
        )

    @property
    def first_stage_cost(self) -> float:
        """What the plan costs before anything happens: the objective without the risk of the recourse."""
        return self.objective - float((self.risk_weight * self.recourse_cost).sum())

    @property
    def cost(self) -> xr.DataArray:
        """Cost of the plan with its recourse, (scenario): first stage plus recourse."""
        return (self.first_stage_cost + self.recourse_cost).rename("cost")

    @property
    def mean(self) -> float:
        """Expected cost under the nominal probabilities."""
        return float((self.probability * self.cost).sum())

    def cvar(self, alpha: float) -> float:
        """Mean cost of the worst share ``1 - alpha`` under the nominal probabilities; first-stage cost included."""
        return float((worst_case_weights(CVaR(alpha), Nominal(), self.cost, self.probability) * self.cost).sum())

    def to_netcdf(self, path: str | os.PathLike[str]) -> None:
        """Write everything to one netCDF file; the file appears complete or not at all.

        Raises
        ------
        FileNotFoundError
            If there is no such folder.
        """
        path = Path(path)
        if not path.parent.is_dir():
            # netCDF would say that it is not permitted
            raise FileNotFoundError(f"{path}: there is no folder {str(path.parent)!r} to write to")
        tree = {f"/{name}": to_file(getattr(self, name)) for name in _GROUPS}
        tree["/scenario"] = to_file(xr.Dataset({name: getattr(self, name) for name in _SERIES}))
        # columns of numbers and of text only, so that the log survives as it is
        tree["/log"] = xr.Dataset.from_dataframe(self.log.rename_axis("row"))
        root = xr.Dataset(attrs={"status": self.status, "provenance": json.dumps(self.provenance)})
        tree["/"] = root.assign({name: float(getattr(self, name)) for name in _NUMBERS})
        with whole_file(path) as unfinished:
            xr.DataTree.from_dict(tree).to_netcdf(unfinished, engine="netcdf4")

    @classmethod
    def from_netcdf(cls, path: str | os.PathLike[str]) -> Result:
        """Read what `to_netcdf` wrote.

        Raises
        ------
        InputError
            If the file is not a drofcm result.
        """
        try:
            with xr.open_datatree(path, engine="netcdf4") as opened:
                tree = opened.load()
        except (OSError, ValueError, RuntimeError, MemoryError) as error:
            raise InputError([Finding(str(path), f"cannot be read as a result: {error}")]) from error
        if "status" not in tree.attrs:
            raise InputError([Finding(str(path), "is not a result of drofcm", "give a result.nc from a run folder")])
        try:
            group = {name: from_file(node.to_dataset(inherit=False)) for name, node in tree.children.items()}
            fields: dict[str, Any] = {name: group[name] for name in _GROUPS}
            fields |= {name: group["scenario"][name] for name in _SERIES}
            fields |= {name: float(tree.to_dataset()[name]) for name in _NUMBERS}
            return cls(
                **fields,
                status=tree.attrs["status"],
                log=group["log"].to_dataframe().rename_axis(None),
                provenance=json.loads(tree.attrs["provenance"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            what = f"does not hold what a result of drofcm holds ({type(error).__name__}: {error})"
            raise InputError([Finding(str(path), what, "give a result.nc from a run folder")]) from error
