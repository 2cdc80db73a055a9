"""The Frictionless descriptor of a data folder, and whether the files in the folder are those it describes."""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import pydantic
import pyogrio
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError

from drofcm.core.errors import Finding, raise_if_any, shorten

__all__ = [
    "DESCRIPTOR",
    "DataPackage",
    "Resource",
    "dotted",
    "plain",
    "read_datapackage",
    "read_descriptor",
    "verify_datapackage",
    "verify_files",
]

DESCRIPTOR: Final = "datapackage.yaml"


class _Model(pydantic.BaseModel):
    # The standard lets a package carry keys of its own, so unknown keys stand; what drofcm needs is required.
    model_config = pydantic.ConfigDict(extra="allow", frozen=True, populate_by_name=True)


class Column(_Model):
    """A column of a table; numbers must state their unit (``"1"`` for shares, flags and factors)."""

    name: str
    type: Literal["string", "number", "integer", "boolean", "date", "datetime", "geojson", "geopoint", "any"]
    description: str
    unit: str | None = None

    @pydantic.model_validator(mode="after")
    def _numbers_have_units(self) -> Column:
        if self.type in ("number", "integer") and not self.unit:
            raise ValueError(f"column {self.name!r} holds numbers and states no unit")
        return self


class TableSchema(_Model):
    """The columns of a table, in the order of the file."""

    fields_: tuple[Column, ...] = pydantic.Field(alias="fields", min_length=1)


class Resource(_Model):
    """One file of the package."""

    name: str
    path: str
    hash: str = pydantic.Field(pattern=r"^sha256:[0-9a-f]{64}$")
    format: str
    table: TableSchema | None = pydantic.Field(default=None, alias="schema")


class Source(_Model):
    """Where the figures come from."""

    title: str


class FeederFacts(_Model):
    """What a feeder needs besides its tables."""

    nominal_kv: Annotated[float, pydantic.Field(gt=0, allow_inf_nan=False)]
    source_bus: str | tuple[str, ...]


class DataPackage(_Model):
    """``datapackage.yaml``: the Frictionless descriptor of a data folder.

    Besides the standard's keys a feeder states ``feeder: {nominal_kv, source_bus}``; geographic packages state
    ``crs`` and ``bbox``.
    """

    name: str
    title: str
    description: str
    sources: tuple[Source, ...] = pydantic.Field(min_length=1)
    licenses: tuple[dict[str, Any], ...] = pydantic.Field(min_length=1)
    resources: tuple[Resource, ...] = pydantic.Field(min_length=1)
    feeder: FeederFacts | None = None


def read_datapackage(folder: Path | str) -> DataPackage:
    """The descriptor of a data folder.

    Raises
    ------
    InputError
        If the file is missing, is not YAML or breaks the model; findings carry ``file:line:column: key``.
    """
    package, findings = read_descriptor(Path(folder))
    raise_if_any(findings)
    assert package is not None  # without a package there is a finding
    return package


def read_descriptor(folder: Path) -> tuple[DataPackage | None, list[Finding]]:
    """The descriptor, or None and what is wrong with it."""
    path = folder / DESCRIPTOR
    if not path.is_file():
        return None, [Finding(str(path), "no such file", "every data folder is described by a data package")]
    try:
        document = YAML(typ="rt").load(path.read_text(encoding="utf-8"))
    except MarkedYAMLError as error:
        mark = error.problem_mark
        place = f":{mark.line + 1}:{mark.column + 1}" if mark else ""
        return None, [Finding(f"{path}{place}", f"not valid YAML: {error.problem}")]
    try:
        return DataPackage.model_validate(document), []
    except pydantic.ValidationError as error:
        return None, [
            Finding(f"{path}:{_position(document, fault['loc'])}: {dotted(fault['loc'])}", plain(fault))
            for fault in error.errors()
        ]


def _position(document: Any, loc: Sequence[int | str]) -> str:
    """``line:column`` of the deepest part of ``loc`` that stands in the YAML document."""
    line, column, here = 0, 0, document
    for key in loc:
        marks = getattr(here, "lc", None)
        if marks is None or not marks.data or key not in marks.data:
            break
        line, column = marks.data[key][:2]
        here = here[key]
    return f"{line + 1}:{column + 1}"


def dotted(loc: Sequence[int | str]) -> str:
    """A path of pydantic's as one word."""
    return ".".join(str(key) for key in loc)


def plain(fault: Mapping[str, Any]) -> str:
    """A message of pydantic's without its prefix."""
    return str(fault["msg"]).removeprefix("Value error, ")


def verify_datapackage(folder: Path | str) -> list[Finding]:
    """Check a data folder against its ``datapackage.yaml``; return every finding.

    Errors: the descriptor breaks the model, a file is missing or lies outside the folder, its sha256 differs, the
    columns of a table differ from those described, numbers without unit. A file that the descriptor does not list
    is a warning, because nobody can tell where it comes from.
    """
    folder = Path(folder)
    package, findings = read_descriptor(folder)
    if package is not None:
        findings += verify_files(folder, package)
    return findings


def verify_files(folder: Path, package: DataPackage) -> Iterator[Finding]:
    """What differs between the files of a folder and those that its descriptor lists."""
    for resource in package.resources:
        path = folder / resource.path
        if not path.resolve().is_relative_to(folder.resolve()):
            yield Finding(str(path), "lies outside the data folder")
        elif not path.is_file():
            yield Finding(str(path), f"no such file, but resource {resource.name!r} of {DESCRIPTOR}")
        else:
            yield from _verify_file(path, resource)
    described = {(folder / resource.path).resolve() for resource in package.resources}
    for path in sorted(folder.rglob("*")):
        apart = path.name.startswith((".", "README", "LICENSE", DESCRIPTOR)) or path.suffix == ".py"
        if path.is_file() and not apart and path.resolve() not in described:
            yield Finding(str(path), f"not a resource of {DESCRIPTOR}", "list it or remove it", "warning")


def _verify_file(path: Path, resource: Resource) -> Iterator[Finding]:
    digest = f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}"
    if digest != resource.hash:
        yield Finding(
            str(path),
            f"sha256 differs from {DESCRIPTOR}: the file is not the one described",
            f"restore it, or if the change is meant write hash: {digest}",
        )
    if resource.table is None:
        if resource.format in ("csv", "gpkg"):
            yield Finding(str(path), f"resource {resource.name!r} has no schema", "describe its columns with units")
        return
    described = [column.name for column in resource.table.fields_]
    if resource.format == "csv":
        found = _header(path)
    elif resource.format == "gpkg":
        # The geometry is part of the format and not a column of the table.
        found = [str(name) for name in pyogrio.read_info(path)["fields"]]
        described = [name for name in described if name not in ("geometry", "geom")]
    else:
        return
    if found != described:
        missing, surplus = sorted(set(described) - set(found)), sorted(set(found) - set(described))
        parts = [f"missing {shorten(missing)}"] * bool(missing) + [f"undescribed {shorten(surplus)}"] * bool(surplus)
        yield Finding(
            f"{path}:1" if resource.format == "csv" else str(path),
            f"columns differ from {DESCRIPTOR}: {'; '.join(parts) or 'their order'}",
            f"described: {', '.join(described)}",
        )


def _header(path: Path) -> list[str]:
    with path.open(newline="", encoding="utf-8-sig") as file:
        return next(csv.reader(file), [])
