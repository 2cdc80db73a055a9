"""The Frictionless descriptor of a data folder, and whether the files in the folder are those it describes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import pydantic
import pyogrio

from drofcm.core.document import Document
from drofcm.core.errors import Finding, InputError, quoted, raise_if_any, shorten
from drofcm.core.limits import MOST_KV
from drofcm.core.reading import digest_file, file_fault, read_columns

__all__ = [
    "DESCRIPTOR",
    "DataPackage",
    "Resource",
    "read_datapackage",
    "read_descriptor",
    "verify_datapackage",
    "verify_files",
]

DESCRIPTOR: Final = "datapackage.yaml"
_SQLITE: Final = b"SQLite format 3\0"


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

    nominal_kv: Annotated[float, pydantic.Field(gt=0, allow_inf_nan=False, strict=True)]
    source_bus: str | tuple[str, ...]

    @pydantic.field_validator("nominal_kv")
    @classmethod
    def _is_no_volts(cls, value: float) -> float:
        if value > MOST_KV:
            raise ValueError(f"{value:g} kV is no voltage of a feeder, at most {MOST_KV:g}: is it in volts?")
        return value


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
    fault = file_fault(path)
    if fault is not None:
        return None, [Finding(fault.where, fault.what, "every data folder is described by a data package")]
    try:
        document = Document.read(path, str(path))
    except InputError as error:
        return None, list(error.findings)
    findings = list(document.findings)
    try:
        return DataPackage.model_validate(document.values), findings
    except pydantic.ValidationError as error:
        faults = error.errors()
        # a list whose items are faulty is empty for pydantic, which is no fault of its own
        deeper = {each["loc"][:depth] for each in faults for depth in range(len(each["loc"]))}
        told = {finding.where for finding in findings}
        for details in faults:
            where = document.where(details["loc"])
            if where not in told and not (details["type"] == "too_short" and details["loc"] in deeper):
                findings.append(Finding(where, _plain(details)))
        return None, findings


def _plain(fault: Mapping[str, Any]) -> str:
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
        try:
            inside = path.resolve().is_relative_to(folder.resolve())
        except (OSError, ValueError, RuntimeError):  # too long, a zero byte, links in a circle
            yield Finding(str(folder / DESCRIPTOR), f"no file can be called {quoted(resource.path)}")
            continue
        if not inside:
            yield Finding(str(path), "lies outside the data folder")
        elif (fault := file_fault(path)) is not None:
            what = (
                f"{fault.what.removeprefix('cannot be read: ')}, but resource {quoted(resource.name)} of {DESCRIPTOR}"
            )
            yield Finding(str(path), what)
        else:
            yield from _verify_file(path, resource)
    described = _resolved(folder, package)
    for path in sorted(folder.rglob("*")):
        apart = path.name.startswith((".", "README", "LICENSE", DESCRIPTOR)) or path.suffix == ".py"
        if not apart and file_fault(path) is None and path.resolve() not in described:
            yield Finding(str(path), f"not a resource of {DESCRIPTOR}", "list it or remove it", "warning")


def _resolved(folder: Path, package: DataPackage) -> set[Path]:
    found = set()
    for resource in package.resources:
        with suppress(OSError, ValueError, RuntimeError):  # told by verify_files
            found.add((folder / resource.path).resolve())
    return found


def _verify_file(path: Path, resource: Resource) -> Iterator[Finding]:
    try:
        digest = f"sha256:{digest_file(path)}"
        found = _columns(path, resource)
    except InputError as error:
        yield from error.findings
        return
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
    if resource.format == "gpkg":
        # The geometry is part of the format and not a column of the table.
        described = [name for name in described if name not in ("geometry", "geom")]
    if found is not None and found != described:
        missing, surplus = sorted(set(described) - set(found)), sorted(set(found) - set(described))
        parts = [f"missing {shorten(missing)}"] * bool(missing) + [f"undescribed {shorten(surplus)}"] * bool(surplus)
        yield Finding(
            f"{path}:1" if resource.format == "csv" else str(path),
            f"columns differ from {DESCRIPTOR}: {'; '.join(parts) or 'their order'}",
            f"described: {shorten(described, len(described))}",
        )


def _columns(path: Path, resource: Resource) -> list[str] | None:
    """Columns of a file whose format says them; None for others."""
    if resource.format == "csv":
        return read_columns(path)
    if resource.format != "gpkg":
        return None
    with path.open("rb") as file:
        if file.read(len(_SQLITE)) != _SQLITE:
            # GDAL would open whatever stands in it, descriptions of services on the network among them
            raise InputError([Finding(str(path), "is no GeoPackage", "correct format, or the file")])
    try:
        return [str(name) for name in pyogrio.read_info(path)["fields"]]
    except (pyogrio.errors.DataSourceError, pyogrio.errors.DataLayerError, ValueError) as error:
        raise InputError([Finding(str(path), f"cannot be read as a GeoPackage: {error}")]) from None
