"""What each candidate hub of a finished run is worth."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from drofcm.config import load_study
from drofcm.core.errors import raise_if_any
from drofcm.solve.result import Result
from drofcm.study.ambiguity import ambiguity_set
from drofcm.study.contents import read_data
from drofcm.study.folder import RunFolder
from drofcm.study.risk import risk_measure
from drofcm.validate.criticality import hub_criticality

__all__ = ["criticality_of_run"]


def criticality_of_run(
    path: Path,
    hubs: Sequence[str] | None = None,
    *,
    within: float = 0.01,
    gap: float = 0.01,
    time_limit: float | None = None,
    workers: int | None = None,
) -> pd.DataFrame:
    """The table of `drofcm.validate.criticality.hub_criticality` for the plan of a run folder.

    Raises
    ------
    InputError
        If files of the folder are missing or were changed, or a hub is unknown.
    """
    raise_if_any(RunFolder(path).faults())
    data = read_data(path)
    study = load_study(path / "study.resolved.yaml")
    return hub_criticality(
        data,
        Result.from_netcdf(path / "result.nc"),
        risk_measure(study),
        ambiguity_set(study, data),
        hubs=hubs,
        within=within,
        gap=gap,
        time_limit=time_limit,
        workers=workers,
    )
