"""Run folders: found by what went in, written whole or not at all, checked when they are opened again."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, Final

import numpy as np
import xarray as xr

from drofcm.config import StudyFile, resolved
from drofcm.core.errors import Finding, InputError

__all__ = ["RunFolder", "digest_data", "digest_files", "digest_of", "run_key", "seal", "versions", "writing"]

PROVENANCE: Final = "provenance.json"
REBUILT: Final = frozenset({PROVENANCE, "report.html"})
"""Files whose content is not sealed: the seal itself, and the report, which `drofcm report` writes again."""

_LIBRARIES = ("drofcm", "geopandas", "highspy", "linopy", "numpy", "pandas", "scipy", "xarray")


@dataclass(frozen=True)
class RunFolder:
    """A finished run.

    Attributes
    ----------
    path
        The folder ``<runs>/<name>-<hash>``.
    reopened
        Whether it was there already, so that nothing was solved.
    """

    path: Path
    reopened: bool = False

    @property
    def provenance(self) -> dict[str, Any]:
        """Versions, seed, hashes of inputs and files, status and bounds."""
        content: dict[str, Any] = json.loads((self.path / PROVENANCE).read_text(encoding="utf-8"))
        return content

    @property
    def status(self) -> str:
        """``"optimal"``, or why the solver stopped earlier."""
        return str(self.provenance["status"])

    def faults(self) -> list[Finding]:
        """What is missing or was changed since the folder was written; empty for a whole one."""
        try:
            sealed = self.provenance["files"]
        except (OSError, ValueError, KeyError):
            return [Finding(str(self.path), f"{PROVENANCE} is missing or unreadable", "run the study again")]
        findings = []
        for name, digest in sealed.items():
            file = self.path / name
            if not file.is_file():
                findings.append(Finding(str(file), "is missing", "run the study again"))
            elif name not in REBUILT and _digest(file) != digest:
                findings.append(Finding(str(file), "was changed after the run", "run the study again"))
        return findings


def digest_files(files: Mapping[str, Path]) -> dict[str, str]:
    """SHA-256 of each file, under the name by which the study knows it (never a path of this machine)."""
    return {name: _digest(files[name]) for name in sorted(files)}


def digest_data(data: xr.Dataset) -> str:
    """SHA-256 over names, dimensions, labels, units and every value; the order of variables does not count."""
    state = hashlib.sha256()
    for name in sorted(map(str, data.variables)):
        variable = data[name]
        values = variable.values
        head = [name, list(map(str, variable.dims)), list(values.shape), variable.attrs.get("units")]
        state.update(json.dumps(head).encode())
        if values.dtype.kind in "biuf":
            state.update(np.ascontiguousarray(values, dtype="<f8").tobytes())
        else:
            state.update(json.dumps(values.ravel().tolist(), default=str).encode())
    return state.hexdigest()


def run_key(study: StudyFile, inputs: Mapping[str, str], data: xr.Dataset) -> str:
    """Twelve hexadecimal digits that are equal for equal runs: study with all defaults, inputs, data and version."""
    content = {
        "study": resolved(study),
        "inputs": dict(inputs),
        "data": digest_data(data),
        "drofcm": metadata.version("drofcm"),
    }
    return digest_of(content)


def digest_of(content: Mapping[str, Any]) -> str:
    """Twelve hexadecimal digits that are equal for equal content, whatever the order of its keys."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:12]


@contextmanager
def writing(path: Path) -> Iterator[Path]:
    """A sibling folder that takes the place of ``path`` when the block ends, and vanishes if the block fails.

    Raises
    ------
    InputError
        If the folder above cannot be written.
    """
    made = [parent for parent in (path.parent, *path.parent.parents) if not parent.exists()]
    temporary = path.parent / f".{path.name}-{uuid.uuid4().hex[:8]}"
    try:
        try:
            temporary.mkdir(parents=True)
        except OSError as error:
            finding = Finding(str(path.parent), f"cannot be written: {error.strerror}", "choose another --runs folder")
            raise InputError([finding]) from None
        yield temporary
        _publish(temporary, path)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        with suppress(OSError):  # folders made for this run go too, unless someone else uses them by now
            for parent in made:
                parent.rmdir()
        raise


def _publish(temporary: Path, path: Path) -> None:
    retired = temporary.with_name(temporary.name + "-old")
    if path.exists():
        path.rename(retired)
    temporary.rename(path)
    shutil.rmtree(retired, ignore_errors=True)


def seal(folder: Path, provenance: Mapping[str, Any]) -> None:
    """Write ``provenance.json`` with the SHA-256 of every file in the folder; nothing is written after it."""
    files = {file.relative_to(folder).as_posix(): file for file in _files(folder)}
    content = {**provenance, "files": digest_files(files)}
    text = json.dumps(content, indent=2, sort_keys=True, default=_plain)
    (folder / PROVENANCE).write_text(text + "\n", encoding="utf-8")


def versions() -> dict[str, str]:
    """Versions of drofcm and the libraries that shape results, and the revision of a drofcm checkout."""
    found = {name: metadata.version(name) for name in _LIBRARIES}
    checkout = Path(__file__).resolve().parents[2]
    if (checkout / ".git").exists():
        with suppress(OSError, subprocess.CalledProcessError):
            command = ["git", "-C", str(checkout), "describe", "--always", "--dirty", "--abbrev=40"]
            found["revision"] = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
    return found


def _files(folder: Path) -> Iterable[Path]:
    return sorted(file for file in folder.rglob("*") if file.is_file() and file.name != PROVENANCE)


def _digest(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{type(value).__name__} cannot be written to {PROVENANCE}")
