"""Scenarios may have names: events that were read from a file are labelled as the file labels them."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import xarray as xr

from drofcm.report.dispatch import ALL_NODES, dispatch
from drofcm.report.inputs import ReportInput
from drofcm.solve.result import Result


def named(value: Any) -> Any:
    """The same with scenarios called event_0, event_1, ..."""
    if isinstance(value, xr.Dataset | xr.DataArray) and "scenario" in value.dims:
        return value.assign_coords(scenario=[f"event_{label}" for label in value["scenario"].values])
    return value


def named_result(result: Result) -> Result:
    return replace(result, **{field.name: named(getattr(result, field.name)) for field in fields(result)})


def test_dispatch_of_named_scenarios_can_be_chosen(report_input: ReportInput) -> None:
    inputs = replace(
        report_input,
        data=named(report_input.data),
        plan=named_result(report_input.plan),
        baselines={name: named_result(own) for name, own in report_input.baselines.items()},
        quantities=named(report_input.quantities),
    )
    choice, _ = dispatch(inputs)
    scenario, node = choice.children
    assert sorted(value for value, _ in scenario.options) == [f"event_{number}" for number in range(6)]
    assert scenario.value.startswith("event_")
    assert node.value == ALL_NODES
