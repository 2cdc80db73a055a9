"""The study file: every fault at once, at its place; a resolved file reads back as the same study."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from pydantic import ValidationError
from ruamel.yaml import YAML

from drofcm.config import StudyFile, json_schema, load_study, resolved
from drofcm.core.errors import InputError

HEAD = """\
name: tiny
seed: 7
data_centres:
  - {bus: "4", rating_mw: 1.6}
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "study.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def messages(folder: Path, text: str) -> list[str]:
    with pytest.raises(InputError) as caught:
        load_study(write(folder, text))
    return [str(finding) for finding in caught.value.findings]


def test_least_study_has_every_default(tmp_path: Path) -> None:
    study = load_study(write(tmp_path, HEAD))
    assert study.data_centres[0].running_mw == 0.5
    assert study.solver.mip_gap == 0.01
    assert len(study.step_hours) == 25
    assert sum(study.step_hours) == pytest.approx(8)


def test_misspelt_key_is_pointed_at(tmp_path: Path) -> None:
    found = messages(tmp_path, HEAD + "solver:\n  mip_gpa: 0.1\n")
    assert found == ["study.yaml:6:3: solver.mip_gpa: unknown key (did you mean 'mip_gap'?)"]


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        pytest.param(
            "hubs: {minimum: 4, maximum: 2}",
            "study.yaml:5:8: hubs.minimum: 4 is above maximum 2 (lower it or raise maximum)",
            id="order-of-counts",
        ),
        pytest.param(
            "hubs:\n  forced_in: [a, b]\n  forced_out:\n    - b",
            "study.yaml:6:18: hubs.forced_in.1: 'b' is forced in and out at once (remove it from one list)",
            id="in-and-out",
        ),
        pytest.param(
            "hubs: {maximum: 1, forced_in: [a, b]}",
            "study.yaml:5:20: hubs.forced_in: 2 hubs are forced in, maximum is 1 (force fewer or raise maximum)",
            id="too-many-forced",
        ),
        pytest.param(
            "hubs: {forced_out: [a, a]}",
            "study.yaml:5:24: hubs.forced_out.1: 'a' is listed twice (keep one)",
            id="twice",
        ),
        pytest.param(
            "events: {shares: {surge: 0.6}}",
            "study.yaml:5:10: events.shares: surge + training + drop + fault + storm + storm_surge is 1.1, not 1 "
            "(shares of events must sum to 1)",
            id="shares",
        ),
        pytest.param(
            "events: {shares: {surge: 0.35, storm: 0.15}}",
            "study.yaml:5:10: events.shares: a share is on storms, but weather is null "
            "(weather: {} takes the defaults)",
            id="storm-without-weather",
        ),
        pytest.param(
            "events: {weather: {}}",
            "study.yaml:5:10: events.weather: no share is on storms, but weather is given "
            "(give storm a share, or remove weather)",
            id="weather-without-storm",
        ),
        pytest.param(
            "events: {matrix: m.csv, fault_lines: ['1-2']}",
            "study.yaml:5:25: events.fault_lines: has no effect: the matrix says what happens "
            "(remove fault_lines or matrix)",
            id="matrix-and-lines",
        ),
        pytest.param(
            "catalogue: {contracts: [{technology: ups, modules: 1}, {technology: ups, modules: 2}]}",
            "study.yaml:5:56: catalogue.contracts.1: 'ups' is listed twice (keep one)",
            id="contract-twice",
        ),
        pytest.param(
            "nodes: {requirement_margin: 1.5}",
            "study.yaml:5:9: nodes.requirement_margin: has no effect with cap: alone (remove it, or write cap: share)",
            id="margin-without-effect",
        ),
        pytest.param(
            "nodes: {band: fixed, band_share: 0.2}",
            "study.yaml:5:22: nodes.band_share: has no effect with band: fixed (remove it, or write band: share)",
            id="band-without-effect",
        ),
        pytest.param(
            "catalogue: {life_a: 0}",
            "study.yaml:5:13: catalogue.life_a: must be greater than 0, got 0",
            id="no-life",
        ),
        pytest.param(
            "feeder:\n  voltage_minimum_pu: 1.06",
            "study.yaml:6:3: feeder.voltage_minimum_pu: 1.06 is not below voltage_maximum_pu 1.05 "
            "(exchange or correct the two limits)",
            id="voltage-limits",
        ),
        pytest.param(
            "nodes: {stabilise_within_h: 5.1}",
            "study.yaml:5:9: nodes.stabilise_within_h: 5.1 h is beyond the horizon: steps_min end at 8 h and no step "
            "starts at or after it, so nothing would say whether a node is stable (add steps or lower "
            "stabilise_within_h)",
            id="horizon",
        ),
        pytest.param(
            "risk: {expectation: 0, cvar: [], worst_case: 0}",
            "study.yaml:5:1: risk: all weights are zero, so events would cost nothing (give one of them a weight)",
            id="no-risk-weight",
        ),
        pytest.param(
            "risk: {cvar: [{alpha: 1, weight: 1}]}",
            "study.yaml:5:16: risk.cvar.0.alpha: must be less than 1, got 1",
            id="alpha",
        ),
        pytest.param(
            "budget_per_year: 100k",
            "study.yaml:5:1: budget_per_year: must be a valid number, got '100k'",
            id="text-for-number",
        ),
        pytest.param("area: {detour: .nan}", "study.yaml:5:8: area.detour: must be a finite number, got nan", id="nan"),
        pytest.param(
            "events: {scenarios: true}",
            "study.yaml:5:10: events.scenarios: must be a valid integer, got True",
            id="bool-for-count",
        ),
        pytest.param(
            "events: {file: shocks.nc, scenarios: 9}",
            "study.yaml:5:27: events.scenarios: has no effect on events that are read from a file "
            "(remove scenarios or file)",
            id="file-and-generator",
        ),
        pytest.param(
            "steps_min: []",
            "study.yaml:5:1: steps_min: has no steps (list at least one group: {count: 15, length: 1})",
            id="no-steps",
        ),
        pytest.param(
            "penalties: {critical_per_mwh: 1}",
            "study.yaml:5:13: penalties.critical_per_mwh: 1 is below flexible_per_mwh 4000 "
            "(critical load is served first, so it must cost at least as much)",
            id="order-of-penalties",
        ),
        pytest.param(
            "seed: 8", "study.yaml:5:1: key 'seed' is given twice, first in line 2 (keep one)", id="duplicate"
        ),
        pytest.param("hubs: [1", "study.yaml:6:1: not valid YAML", id="syntax"),
        pytest.param(
            "events: {scenarios: 1000000000}",
            "study.yaml:5:10: events.scenarios: 1,000,000,000 is taken for a slip, at most 1,000,000 are generated",
            id="scenarios",
        ),
        pytest.param(
            "events: {scenarios: 1000000}\nsteps_min: [{count: 100, length: 1.0}]",
            "study.yaml:5:10: events.scenarios: 1,000,000 events of 100 steps at 1 nodes or more are 100,000,000 "
            "figures, in arrays of 0.8 GB",
            id="memory",
        ),
        pytest.param(
            "steps_min: [{count: 100000, length: 0.05}]",
            "study.yaml:5:1: steps_min: 100,000 steps are taken for a slip, at most 2,000 are modelled",
            id="steps",
        ),
        pytest.param(
            "steps_min: [{count: 3, length: 10}, {count: 1, length: 525600}]",
            "study.yaml:5:1: steps_min: an event of 8,760.5 h is taken for a slip, at most 168 h are modelled "
            "(lengths are minutes)",
            id="horizon-of-a-year",
        ),
        pytest.param(
            "steps_min: [{count: 3, length: 10}, {count: 1, length: 1.0e-6}, {count: 1, length: 30}]",
            "study.yaml:5:48: steps_min.1.length: 6e-05 s is not a whole second, in which events are generated "
            "(choose steps of whole seconds)",
            id="part-of-a-second",
        ),
        pytest.param(
            "hubs: {maximum: 1" + 320 * "0" + "}",
            "study.yaml:5:8: hubs.maximum: must be less than or equal to 1000000, got a number of more than 60 digits",
            id="digits",
        ),
        pytest.param(
            "plants: [{bus: '4', kind: dg, output_mw: 1.0e+6}]",
            "study.yaml:5:31: plants.0.output_mw: must be less than or equal to 10000, got 1000000.0 "
            "(is it in the unit of the key?)",
            id="watts",
        ),
        pytest.param(
            "feeder: {source_voltage_pu: 1.0e+300}",
            "study.yaml:5:10: feeder.source_voltage_pu: must be less than or equal to 2, got 1e+300",
            id="voltage",
        ),
        pytest.param(
            "events: {fault_lines: []}",
            "study.yaml:5:10: events.fault_lines: lists no line, but 0.15 of the events put one out "
            "(name lines, write null for the laterals, or set shares.fault to 0)",
            id="faults-without-lines",
        ),
        pytest.param(
            "events: {shares: {surge: 0.35, storm: 0.15}, weather: {exposed_lines: []}}",
            "study.yaml:5:56: events.weather.exposed_lines: lists no line, so that storms would reach none",
            id="storms-without-lines",
        ),
        pytest.param(
            "penalties: {surplus_per_mwh: 1_0}",
            "study.yaml:5:13: penalties.surplus_per_mwh: '1_0' is no number in plain digits",
            id="underscore",
        ),
        pytest.param(
            "description: " + 70 * "x" + "\ntitle: [" + 70 * "y" + "]",
            "study.yaml:6:1: title: must be a valid string, got "
            "['yyyyyyyyyyyyyyyyyyyyyyyyyyyy...yyyyyyyyyyyyyyyyyyyyyyyyyyyy']",
            id="long-value",
        ),
    ],
)
def test_each_fault_is_one_message_at_its_place(tmp_path: Path, lines: str, expected: str) -> None:
    found = messages(tmp_path, HEAD + lines + "\n")
    assert len(found) == 1
    assert found[0].startswith(expected)


def test_every_fault_is_reported_at_once_in_the_order_of_the_file(tmp_path: Path) -> None:
    text = """\
name: Not a slug
data_centres:
  - {bus: 4, rating_mw: 1.6}
  - {bus: "4", rating_mw: 1}
  - {rating: 3}
nodes: {stabilise_within_h: 10}
solver:
  mip_gpa: 0.1
  method: fast
"""
    found = messages(tmp_path, text)
    assert [message.split(": ")[1] for message in found] == [
        "name",
        "seed",
        "data_centres.2.bus",
        "data_centres.2.rating_mw",
        "data_centres.2.rating",
        "nodes.stabilise_within_h",
        "solver.mip_gpa",
        "solver.method",
    ]


def test_bus_given_twice_whether_written_as_number_or_text(tmp_path: Path) -> None:
    found = messages(
        tmp_path, "name: a\nseed: 1\ndata_centres:\n- {bus: 4, rating_mw: 1}\n- {bus: '4', rating_mw: 1}\n"
    )
    assert found == ["study.yaml:5:4: data_centres.1.bus: bus '4' is given twice (merge them)"]


@pytest.mark.parametrize("text", ["", "- 1\n", "just words\n"])
def test_file_without_keys(tmp_path: Path, text: str) -> None:
    assert "holds no keys" in messages(tmp_path, text)[0]


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        load_study(tmp_path / "absent.yaml")


@pytest.mark.parametrize("nodes", ["{}", "{cap: share, requirement_margin: 2.0, band: fixed}"])
def test_resolved_study_reads_back_as_the_same_study(tmp_path: Path, nodes: str) -> None:
    keys = f"events: {{file: shocks.nc}}\nrisk: {{cvar: []}}\nnodes: {nodes}\n"
    study = load_study(write(tmp_path, HEAD + keys))
    with (tmp_path / "resolved.yaml").open("w", encoding="utf-8") as stream:
        YAML(typ="safe").dump(resolved(study), stream)
    assert load_study(tmp_path / "resolved.yaml") == study


def test_schema_describes_what_the_models_accept() -> None:
    schema = json_schema()
    assert schema["additionalProperties"] is False
    assert set(schema["properties"]) == set(StudyFile.model_fields)
    assert json.loads(json.dumps(schema)) == schema


def test_study_built_in_python_obeys_the_same_rules() -> None:
    with pytest.raises(ValidationError, match="forced in and out"):
        StudyFile.model_validate(
            {
                "name": "a",
                "seed": 1,
                "data_centres": [{"bus": "4", "rating_mw": 1.0}],
                "hubs": {"forced_in": ["x"], "forced_out": ["x"]},
            }
        )
