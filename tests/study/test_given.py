"""Events, distances and matrices of files: what is wrong is told at its place, and what was checked is what is used."""

from __future__ import annotations

from pathlib import Path

import mutate
import numpy as np
import pytest
import xarray as xr

from drofcm.core.errors import InputError
from drofcm.data import find_dataset
from drofcm.study.given import read_distances, read_events
from drofcm.study.matrix import read_matrix
from drofcm.study.plan import read_plan
from drofcm.study.run import open_study

HOURS = (1 / 6, 1 / 6, 1 / 6, 0.5)


def told(folder: Path, data: xr.Dataset) -> list[str]:
    data.to_netcdf(folder / "events.nc", engine="netcdf4")
    with pytest.raises(InputError) as caught:
        read_events(folder / "events.nc", HOURS)
    return [str(finding) for finding in caught.value.findings]


def test_events_that_are_text_infinite_or_too_large_are_refused(tmp_path: Path) -> None:
    sound = mutate.events()
    text = sound.assign(shock=sound["shock"].astype(str).assign_attrs(units="MW"))
    assert told(tmp_path, text)[0].startswith("events.nc['shock']: values are not numbers")
    for value, what in (
        (np.inf, "infinite at scenario=1, node=2, time=3"),
        (1e6, "1e+06 MW at scenario=1, node=2, time=3"),
    ):
        changed = sound["shock_high"].copy(data=sound["shock_high"].values.copy())
        changed[-1, -1, -1] = value
        (only,) = told(tmp_path, sound.assign(shock_high=changed))
        assert only.startswith(f"events.nc['shock_high']: {what}")


def test_units_that_are_no_text_and_classes_over_other_dimensions_are_refused(tmp_path: Path) -> None:
    sound = mutate.events()
    odd = sound.assign(shock=sound["shock"].assign_attrs(units=[1, 2]))
    assert any("unit is" in each and "'MW' is needed" in each for each in told(tmp_path, odd))
    classes = sound.assign_coords(event_class=("time", list("abcd")))
    assert any("['event_class']: is over (time)" in each for each in told(tmp_path, classes))


def test_labels_that_are_numbers_become_the_text_that_labels_of_a_study_are(tmp_path: Path) -> None:
    sound = mutate.events()
    out = sound.assign(line_out=(("scenario", "line"), [[1, 0], [0, 1]], {"units": "1"}))
    out.assign_coords(node=[3, 2], line=[12, 23]).to_netcdf(tmp_path / "events.nc", engine="netcdf4")
    events, _ = read_events(tmp_path / "events.nc", HOURS)
    assert [*events["node"].values, *events["line"].values] == ["3", "2", "12", "23"]
    assert any("['node']: labels are no text" in each for each in told(tmp_path, sound.assign_coords(node=[3.0, 2.0])))


def test_steps_that_a_file_does_not_state_are_worth_a_warning(tmp_path: Path) -> None:
    sound = mutate.events()
    sound.drop_vars("step_length").to_netcdf(tmp_path / "events.nc", engine="netcdf4")
    _, (warning,) = read_events(tmp_path / "events.nc", HOURS)
    assert warning.severity == "warning"
    assert "['step_length']: is missing: the 4 steps of the file are taken for those of steps_min" in str(warning)
    text = sound.assign_coords(step_length=("time", list("abcd")))
    assert any("['step_length']: values are not numbers" in each for each in told(tmp_path, text))


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ("meteor,3,0.5", "m.csv:2: event: unknown event 'meteor'"),
        ("surge,7,0.5", "m.csv:2: location: surge cannot happen at '7' (it can at: 3)"),
        ("surge,3,1_0", "m.csv:2: probability: must be a probability within 0 and 1, got '1_0'"),
        ("surge,3,\u0661", "m.csv:2: probability: must be a probability within 0 and 1, got '\u0661'"),
        ("surge,3,nan", "m.csv:2: probability: must be a probability"),
        ("surge;3;0.5", "m.csv:2: number of cells differs"),
    ],
)
def test_a_matrix_names_events_and_places_that_there_are(tmp_path: Path, row: str, expected: str) -> None:
    (tmp_path / "m.csv").write_text(f"event,location,probability\n{row}\n", encoding="utf-8")
    with pytest.raises(InputError) as caught:
        read_matrix(tmp_path / "m.csv", {"surge": ["3"], "line_fault": ["1-2"]})
    assert str(caught.value.findings[0]).startswith(expected)


@pytest.mark.parametrize("cell", ["1_0", "\u0661", "inf", "1e6", "5,0", ""])
def test_what_is_no_distance_is_refused(tmp_path: Path, cell: str) -> None:
    (tmp_path / "km.csv").write_text(f'supplier,hub,distance_km\ns,h,"{cell}"\n', encoding="utf-8")
    like = xr.DataArray(np.zeros((1, 1)), {"supplier": ["s"], "hub": ["h"]})
    with pytest.raises(InputError, match=r"km.csv:2: distance_km: must be a number of km from 0 to 40,000"):
        read_distances(tmp_path / "km.csv", like)


def test_a_plan_is_refused_with_what_is_no_number_and_the_study_with_all_that_is_wrong_in_it(tmp_path: Path) -> None:
    mutate.write_study(tmp_path, "study", find_dataset("catalogue", "fcm_2026"))
    data = open_study(tmp_path / "study.yaml").data
    for cell in ("1_0", "\u0661", "1e9", "inf"):
        (tmp_path / "plan.csv").write_text(f"supplier,hub,fcm,modules\ns,a,battery,{cell}\n", encoding="utf-8")
        with pytest.raises(InputError, match=r"plan.csv:2: modules: "):
            read_plan(tmp_path / "plan.csv", data)
    text = (tmp_path / "study.yaml").read_text(encoding="utf-8")
    text = text.replace("minimum: 0", "minimum: 3").replace("forced_in: [a]", "forced_in: [nowhere]")
    (tmp_path / "study.yaml").write_text(
        text.replace('monitored_buses: ["3"]', 'monitored_buses: ["9"]'), encoding="utf-8"
    )
    with pytest.raises(InputError) as caught:
        open_study(tmp_path / "study.yaml")
    found = "\n".join(str(finding) for finding in caught.value.findings)
    for part in ("hubs.minimum: 3 is above maximum 2", "unknown hub 'nowhere'", "unknown bus '9'"):
        assert part in found
