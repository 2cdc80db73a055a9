"""What can be said about a study before anything is solved."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import xarray as xr

from drofcm.blocks.form import FirstStage, Scenario
from drofcm.core.errors import Finding
from drofcm.problems import demand_shock
from drofcm.study.assemble import Assembly
from drofcm.study.run import open_study
from drofcm.validate.replay import base_violations, hosting_capacity

__all__ = ["Survey", "survey"]


@dataclass(frozen=True)
class Survey:
    """A study that is in order, and how it stands.

    Attributes
    ----------
    assembly
        The study with its data.
    findings
        Warnings: what the data checks found, and limits that the base case breaks in AC power flow.
    hosting
        Load that each data-centre bus alone can take on besides its base load, MW over (bus,), by AC power flow.
    variables, integers, rows, nonzeros
        Size of the extensive form, before the rows of the risk measure.
    """

    assembly: Assembly
    findings: tuple[Finding, ...]
    hosting: xr.DataArray
    variables: int
    integers: int
    rows: int
    nonzeros: int


def survey(path: Path | str) -> Survey:
    """Assemble a study, count its program, and check its feeder in AC power flow.

    Raises
    ------
    InputError
        With every fault of the input.
    """
    assembly = open_study(path)
    data, section, feeder = assembly.data, assembly.study.feeder, assembly.sources.feeder
    load = data["base_load"], data["base_reactive"], section.source_voltage_pu
    limits = data["v_min"], data["v_max"]
    violations = base_violations(feeder, *load, *limits)
    centres = [centre.bus for centre in assembly.study.data_centres]
    hosting = hosting_capacity(feeder, centres, *load, *limits, section.tan_phi)
    blocks = demand_shock.program(data).blocks()
    parts: list[FirstStage | Scenario] = [blocks.first_stage, *blocks.scenarios]
    return Survey(
        assembly,
        (*assembly.findings, *violations),
        hosting,
        variables=sum(len(part.cost) for part in parts),
        integers=sum(int(part.integer.sum()) for part in parts),
        rows=sum(len(part.row_lower) for part in parts),
        nonzeros=blocks.first_stage.rows.nnz
        + sum(part.technology.nnz + part.recourse.nnz for part in blocks.scenarios),
    )
