"""The cases of this folder: data from ``case.yaml`` through the builder, and the numbers worked out in its README."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import xarray as xr
from cases.builder import small_data
from ruamel.yaml import YAML

FOLDER = Path(__file__).parent
BY_HAND = (
    *("drop_raises_voltage", "two_waves", "bus_cut_off", "capacitor_cut_off", "supply_follows", "swing"),
    "missing_modules",
)


@dataclass(frozen=True)
class Case:
    """Data, risk measure as plain numbers, expected figures."""

    name: str
    data: xr.Dataset
    risk: dict[str, Any]
    expected: dict[str, float]


def load_case(name: str, **overrides: Any) -> Case:
    """The case in the folder ``name``; ``overrides`` go to the builder."""
    text = YAML(typ="safe").load((FOLDER / name / "case.yaml").read_text(encoding="utf-8"))
    data = small_data(**{**text["data"], **overrides})
    return Case(name, data, text["risk"], text.get("expected", {}))
