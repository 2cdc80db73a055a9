"""Data folders: what comes with drofcm is sound, and every kind of damage is found, all at once, by file and line."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from drofcm.core.dims import DEMAND_SHOCK_DATA
from drofcm.core.errors import InputError
from drofcm.core.units import check_quantities
from drofcm.data import (
    CATALOGUE,
    FEEDER_BUSES,
    FEEDER_LINES,
    find_dataset,
    load_catalogue,
    load_feeder,
    read_datapackage,
    read_feeder,
    verify_datapackage,
)

Edit = Callable[[str, str, str], None]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the IEEE 33-bus feeder that may be damaged."""
    return Path(shutil.copytree(find_dataset("feeder", "ieee33"), tmp_path / "mine"))


@pytest.fixture
def edit(folder: Path) -> Edit:
    """Replace text in a file of the folder and put the hash right, so that only the damage itself is found."""

    def change(name: str, old: str, new: str) -> None:
        path, descriptor = folder / name, folder / "datapackage.yaml"
        before = hashlib.sha256(path.read_bytes()).hexdigest()
        text = path.read_text(encoding="utf-8")
        assert old in text
        path.write_text(text.replace(old, new, 1), encoding="utf-8")
        if path != descriptor:
            after = hashlib.sha256(path.read_bytes()).hexdigest()
            descriptor.write_text(descriptor.read_text(encoding="utf-8").replace(before, after), encoding="utf-8")

    return change


def findings(folder: Path) -> list[str]:
    with pytest.raises(InputError) as caught:
        load_feeder(folder)
    return [str(finding).removeprefix(f"{folder}/") for finding in caught.value.findings]


# ==== What comes with drofcm ============================================================================


def test_every_data_folder_of_the_checkout_is_sound(root: Path) -> None:
    described = [path.parent for top in ("datasets", "geo") for path in sorted((root / top).rglob("datapackage.yaml"))]
    assert find_dataset("feeder", "ieee33") in described
    assert {str(folder): [str(found) for found in verify_datapackage(folder)] for folder in described} == {
        str(folder): [] for folder in described
    }
    for folder in described:
        assert (folder / "README.md").is_file()


def test_the_feeder_has_its_units_and_totals() -> None:
    table = load_feeder("ieee33")
    assert check_quantities(table.drop_vars(["from_bus", "to_bus"]), FEEDER_BUSES | FEEDER_LINES) == []
    assert table.attrs == {"name": "ieee33", "nominal_kv": 12.66, "source_bus": "1"}
    assert (table.sizes["bus"], table.sizes["line"]) == (33, 32)
    assert float(table.base_load.sum()) == pytest.approx(3.715)
    assert float(table.base_reactive.sum()) == pytest.approx(2.3)
    assert table.bus.values.tolist() == [str(number) for number in range(1, 34)]
    ends = np.char.add(np.char.add(table.from_bus.values, "-"), table.to_bus.values)
    assert ends.tolist() == table.line.values.tolist()


def test_the_catalogue_fits_the_data_contract() -> None:
    catalogue = load_catalogue("fcm_2026")
    assert check_quantities(catalogue.drop_vars(["name", "source"]), CATALOGUE) == []
    for name in CATALOGUE.keys() & DEMAND_SHOCK_DATA.keys():
        assert catalogue[name].attrs["units"] == DEMAND_SHOCK_DATA[name].unit
    assert set(catalogue.fcm.values.tolist()) == {"battery", "generator", "demand_response", "long_duration"}


def test_names_and_folders_lead_to_the_same_data() -> None:
    assert load_feeder(find_dataset("feeder", "ieee33")).identical(load_feeder("ieee33"))
    assert load_feeder(str(find_dataset("feeder", "ieee33"))).identical(load_feeder("ieee33"))


def test_unknown_datasets_are_refused_with_a_suggestion() -> None:
    with pytest.raises(InputError, match=r"feeder 'ieee34': no such dataset \(did you mean 'ieee33'\?\)"):
        load_feeder("ieee34")
    with pytest.raises(InputError, match=r"unknown kind of dataset 'feder' \(did you mean 'feeder'\?\)"):
        find_dataset("feder", "ieee33")  # type: ignore[arg-type]


# ==== Damage ============================================================================================


def test_a_changed_file_is_refused_until_its_hash_is_changed(folder: Path, edit: Edit) -> None:
    lines = folder / "lines.csv"
    lines.write_text(lines.read_text().replace("0.0922", "0.0923"))
    (only,) = findings(folder)
    new = hashlib.sha256(lines.read_bytes()).hexdigest()
    assert only.startswith("lines.csv: sha256 differs")
    assert f"sha256:{new}" in only
    edit("lines.csv", "0.0923", "0.0924")  # the hash of the descriptor is still the first one
    assert len(findings(folder)) == 1


def test_every_bad_cell_is_named_by_line_at_once(folder: Path, edit: Edit) -> None:
    edit("lines.csv", "0.0922", "-0.0922")
    edit("lines.csv", "3-4,3,4,0.3660", "3-4,3,4,0.366O")
    edit("lines.csv", "5-6,5,6,0.8190,0.7070,11.6", "4-5,5,6,nan,0.7070,0")
    edit("lines.csv", "32-33,32,33,0.3410", "32-33,,33,0.3410")
    edit("buses.csv", "7,0.200,0.100", "7,0.200")
    found = findings(folder)
    for expected in (
        "lines.csv:2: resistance: must be at least 0 ohm, is '-0.0922'",
        "lines.csv:4: resistance: must be a number in plain digits, is '0.366O'",
        "lines.csv:6: line: label '4-5' stands already in line 5 (labels must be unique)",
        "lines.csv:6: resistance: must be a number in plain digits, is 'nan'",
        "lines.csv:6: rating: must be above 0 MVA, is '0'",
        "lines.csv:33: from_bus: is empty (give a text)",
        "buses.csv:8: number of cells differs from the header: 2, not 3",
    ):
        assert expected in found
    assert len(found) == 7


def test_units_are_never_converted(folder: Path, edit: Edit) -> None:
    edit("datapackage.yaml", "base_load, type: number, unit: MW", "base_load, type: number, unit: kW")
    (only,) = findings(folder)
    assert "column 'base_load': unit is 'kW', 'MW' is needed" in only


def test_columns_must_be_those_described(folder: Path, edit: Edit) -> None:
    edit("lines.csv", "reactance", "reactence")
    found = findings(folder)
    assert found == [
        "lines.csv:1: columns differ from datapackage.yaml: missing reactance; undescribed reactence "
        "(described: line, from_bus, to_bus, resistance, reactance, rating)"
    ]
    edit("datapackage.yaml", "{name: reactance,", "{name: reactence,")
    assert any("lines.csv:1: column 'reactance' is missing" in text for text in findings(folder))


def test_the_descriptor_is_checked_with_line_and_column(folder: Path, edit: Edit) -> None:
    edit("datapackage.yaml", "title: IEEE 33-bus", "titel: IEEE 33-bus")
    edit("datapackage.yaml", "unit: MVA, ", "")
    edit("datapackage.yaml", "nominal_kv: 12.66", "nominal_kv: 0")
    found = findings(folder)
    text = (folder / "datapackage.yaml").read_text().splitlines()
    at = {word: 1 + next(i for i, line in enumerate(text) if word in line) for word in ("nominal_kv", "name: rating")}
    assert len(found) == 3
    assert any(each.endswith(": title: Field required") for each in found)
    assert f"datapackage.yaml:{at['nominal_kv']}:3: feeder.nominal_kv: Input should be greater than 0" in found
    rating = next(each for each in found if "'rating' holds numbers and states no unit" in each)
    assert rating.startswith(f"datapackage.yaml:{at['name: rating']}:")


def test_what_is_missing_is_named(folder: Path, edit: Edit, tmp_path: Path) -> None:
    edit("datapackage.yaml", "name: lines", "name: line")
    assert any("resource 'lines' is missing (did you mean 'line'?)" in text for text in findings(folder))
    edit("datapackage.yaml", "name: line\n", "name: lines\n")
    edit("datapackage.yaml", 'feeder:\n  nominal_kv: 12.66\n  source_bus: "1"\n', "")
    (folder / "buses.csv").unlink()
    found = findings(folder)
    assert "buses.csv: no such file, but resource 'buses' of datapackage.yaml" in found
    assert any("key 'feeder' is missing" in text for text in found)
    (folder / "datapackage.yaml").write_text("name: [1\n")
    assert any("not valid YAML" in text and "datapackage.yaml:2" in text for text in findings(folder))
    with pytest.raises(InputError, match="no such file"):
        read_datapackage(tmp_path)


def test_files_outside_and_files_that_nobody_describes_are_found(folder: Path, edit: Edit) -> None:
    (folder / "more.csv").write_text("a\n1\n")
    (warning,) = verify_datapackage(folder)
    assert warning.severity == "warning"
    assert warning.where.endswith("more.csv")
    load_feeder(folder)
    edit("datapackage.yaml", "path: lines.csv", "path: ../lines.csv")
    assert any("lies outside the data folder" in text for text in findings(folder))


def test_a_column_with_an_endless_name_is_told_in_short(folder: Path, edit: Edit) -> None:
    edit("datapackage.yaml", "name: resistance", "name: r" + 4000 * "e")
    told = [str(found) for found in verify_datapackage(folder)]
    assert any("columns differ" in text and "undescribed resistance" in text for text in told)
    assert max(map(len, told)) < 1000


def test_a_feeder_may_have_several_sources(folder: Path, edit: Edit) -> None:
    edit("datapackage.yaml", 'source_bus: "1"', 'source_bus: ["1", "18"]')
    assert load_feeder(folder).attrs["source_bus"] == ["1", "18"]


def test_a_technology_that_absorbs_without_a_store_is_refused(tmp_path: Path) -> None:
    mine = Path(shutil.copytree(find_dataset("catalogue", "fcm_2026"), tmp_path / "mine"))
    table = mine / "technologies.csv"
    header, *rows = table.read_text(encoding="utf-8").splitlines()
    before = hashlib.sha256(table.read_bytes()).hexdigest()
    columns = header.split(",")
    cells = next(row for row in rows if row.startswith("generator")).split(",")
    changed = [*cells]
    changed[columns.index("absorbs")] = "1"
    table.write_text(table.read_text(encoding="utf-8").replace(",".join(cells), ",".join(changed)), encoding="utf-8")
    descriptor = mine / "datapackage.yaml"
    after = hashlib.sha256(table.read_bytes()).hexdigest()
    descriptor.write_text(descriptor.read_text(encoding="utf-8").replace(before, after), encoding="utf-8")
    with pytest.raises(InputError, match="generator: absorbs = 1 needs stores = 1"):
        load_catalogue(mine)


# ==== Columns that nobody reads, and figures that nobody can mean =======================================


def with_column(folder: Path, edit: Edit, name: str, cells: list[str], unit: str | None = "1") -> None:
    """Describe one more column of the lines, with these cells and 1 in all others."""
    lines = (folder / "lines.csv").read_text(encoding="utf-8").split("\n")
    values = [name, *cells, *["1"] * len(lines)]
    changed = [f"{line},{values[at]}" if line else line for at, line in enumerate(lines)]
    edit("lines.csv", "\n".join(lines), "\n".join(changed))
    text = (folder / "datapackage.yaml").read_text(encoding="utf-8")
    last = [line for line in text.split("\n") if "- {name:" in line and "type:" in line][-1]
    kind = "type: string" if unit is None else f'type: number, unit: "{unit}"'
    edit("datapackage.yaml", last, f"{last}\n{last[: last.index('-')]}- {{name: {name}, {kind}, description: more}}")


@pytest.mark.parametrize(
    ("column", "cell"),
    [
        *(("closed", "0"), ("in_service", "False"), ("Switch", "open"), ("status", "0.0"), ("normally_open", "1")),
        *(("parallel", "2"), ("out_of_service", "true"), ("scaling", "0.5"), ("In Service", "no")),
    ],
)
def test_a_column_that_takes_a_line_out_is_refused_by_line(folder: Path, edit: Edit, column: str, cell: str) -> None:
    neutral = "0" if column in ("normally_open", "out_of_service") else "1"
    with_column(folder, edit, column, [neutral, neutral, cell, *[neutral] * 29])
    (only,) = findings(folder)
    assert only.startswith(f"lines.csv:4: {column}: says that a row does not count as it stands (line 4: {cell!r})")


def test_a_column_that_nobody_reads_is_a_warning(folder: Path, edit: Edit) -> None:
    with_column(folder, edit, "closed", ["1"])
    with_column(folder, edit, "length", ["0.3"], "km")
    table, told = read_feeder(folder)
    assert table is not None
    assert table.identical(load_feeder("ieee33"))
    assert [(finding.where.split(":", 1)[1], finding.severity) for finding in told] == [
        ("1: closed", "warning"),
        ("1: length", "warning"),
    ]


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("nominal_kv: 12.66", "nominal_kv: 12660", "12660 kV is no voltage of a feeder, at most 150: is it in volts?"),
        ("nominal_kv: 12.66", "nominal_kv: .inf", "feeder.nominal_kv: Input should be a finite number"),
        ("title: IEEE", "title: &t [*t]\nx: IEEE", "the alias *t refers to what it stands in"),
        ("path: lines.csv", "path: " + "a" * 300, "File name too long"),
        ("path: lines.csv", "path: .", "is a folder, a file is needed"),
    ],
)
def test_a_descriptor_that_nobody_means_is_refused(folder: Path, edit: Edit, old: str, new: str, expected: str) -> None:
    edit("datapackage.yaml", old, new)
    assert any(expected in text for text in findings(folder)), findings(folder)


@pytest.mark.parametrize("cell", ["1_0", "\u0661", "inf", "0x1", "1e7", "0,0922"])
def test_what_is_no_number_of_a_line_is_refused(folder: Path, edit: Edit, cell: str) -> None:
    edit("lines.csv", "0.0922", f'"{cell}"')
    (only,) = findings(folder)
    assert only.startswith("lines.csv:2: resistance: ")
    assert only.endswith(f"is {cell!r}")


def test_a_table_that_is_not_utf8_and_one_with_semicolons_are_told_once(folder: Path, edit: Edit) -> None:
    buses = folder / "buses.csv"
    buses.write_bytes(buses.read_bytes().replace(b"\n5,", b"\n\xfc,"))
    (only,) = findings(folder)
    assert only == "buses.csv:6: is not UTF-8 text (save the file as UTF-8)"


def test_one_faulty_field_is_one_finding(folder: Path, edit: Edit) -> None:
    edit("datapackage.yaml", "{name: rating, type: number,", "{name: rating, type: nmber,")
    assert len(findings(folder)) == 1
