"""Run folders: found by what went in, sealed when they are written, checked when they are opened again."""

from __future__ import annotations

import hashlib
import json
import math
import os
import subprocess
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path, PurePosixPath
from typing import Any, Final

import numpy as np
import xarray as xr

from drofcm.config import StudyFile, resolved
from drofcm.core.errors import Finding, InputError, raise_if_any, shorten
from drofcm.study.publish import writing
from drofcm.validate.money import FIGURES

__all__ = [
    "CHANGED",
    "CONTENTS",
    "OBJECTIVE",
    "PROVENANCE",
    "RunFolder",
    "digest_data",
    "digest_files",
    "digest_of",
    "is_better",
    "run_key",
    "seal",
    "versions",
    "writing",
]

PROVENANCE: Final = "provenance.json"
OBJECTIVE: Final = "risk_weighted_objective"
"""Entry of the provenance: what the search minimised, $/a; with a comma and the name of a plan, that of a baseline."""
REBUILT: Final = frozenset({PROVENANCE, "report.html"})
"""Files whose content is not sealed: the seal itself, and the report, which `drofcm report` writes again."""

CONTENTS: Final = (
    PROVENANCE,
    "baselines",
    "certificate.csv",
    "data.nc",
    "hubs.gpkg",
    "log.txt",
    "report.html",
    "result.nc",
    "study.resolved.yaml",
    "tables",
)
"""What stands at the top of a run folder."""

CHANGED: Final = "was changed after the run"

_LARGEST: Final = 2**34
"""Bytes of a file that is still read to the end; no study comes near, and a sparse file can be of any size."""
_SAME: Final = 1e-9
"""Costs that differ by less, as a share, are equal."""

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
    stayed
        Whether something was solved, but what was there is at least as good and stays.
    """

    path: Path
    reopened: bool = False
    stayed: bool = False

    @property
    def provenance(self) -> dict[str, Any]:
        """Versions, seed, hashes of inputs and files, status and bounds.

        Raises
        ------
        InputError
            If the folder has none that can be read.
        """
        file = self.path / PROVENANCE
        if not os.path.isdir(self.path):
            what = "is no folder" if os.path.exists(self.path) else "there is no such folder"
            raise InputError([Finding(str(self.path), what, "give the folder of a run, as drofcm run names it")])
        try:
            content = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else None
        except (OSError, ValueError, RecursionError):
            content = None
        if not isinstance(content, dict) or not _is_sealed(content.get("files")):
            raise InputError([Finding(str(self.path), f"{PROVENANCE} is missing or unreadable", "run the study again")])
        return content

    @property
    def status(self) -> str:
        """``"optimal"``, or why the solver stopped earlier."""
        return str(self.provenance.get("status"))

    @property
    def begun(self) -> bool:
        """Whether something stands there that a run would write."""
        return any(os.path.lexists(self.path / name) for name in CONTENTS)

    def faults(self) -> list[Finding]:
        """What is missing or was changed since the folder was written; empty for a whole one."""
        try:
            provenance = self.provenance
        except InputError as error:
            return list(error.findings)
        findings = []
        for name, digest in provenance["files"].items():
            file = self.path / name
            if name in REBUILT:
                continue
            if not _is_file(file):
                findings.append(Finding(str(file), "is missing", "run the study again"))
            elif not _is_same(file, digest):
                findings.append(Finding(str(file), CHANGED, "run the study again"))
        wrong = [key for key, holds in _FACTS.items() if not holds(provenance.get(key))]
        if wrong:
            what = f"does not state {shorten(wrong)} as a run does"
            findings.append(Finding(str(self.path / PROVENANCE), what, "run the study again"))
        return findings

    def own(self) -> set[str]:
        """Files of the folder that are as the run wrote them; what is changed or beside them is the user's."""
        try:
            sealed = self.provenance["files"]
        except InputError:
            return set()
        return {*REBUILT, *(name for name, digest in sealed.items() if _is_same(self.path / name, digest))}


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _are_findings(value: Any) -> bool:
    names = {"where", "what", "fix", "severity"}
    return isinstance(value, list) and all(isinstance(own, dict) and set(own) == names for own in value)


def _is_money(value: Any) -> bool:
    """Plans with their figures; what commands print of a run."""
    return isinstance(value, dict) and all(
        isinstance(own, dict) and all(_is_number(own.get(figure)) for figure in FIGURES) for own in value.values()
    )


_FACTS: Final[dict[str, Callable[[Any], bool]]] = {
    **dict.fromkeys((OBJECTIVE, "lower_bound", "upper_bound", "gap", "gap_of_benefit"), _is_number),
    "status": lambda value: isinstance(value, str),
    "certified": lambda value: isinstance(value, bool),
    "warnings": _are_findings,
    "alpha": _is_number,
    "money": _is_money,
    "told": lambda value: isinstance(value, list) and all(isinstance(own, str) for own in value),
}
"""What everybody who opens a run asks of its provenance."""


def _is_sealed(files: Any) -> bool:
    """Whether this may be the list of a folder's files: names within it, and digests."""
    return isinstance(files, dict) and all(
        isinstance(digest, str) and not PurePosixPath(name).is_absolute() and ".." not in PurePosixPath(name).parts
        for name, digest in files.items()
    )


def is_better(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> bool:
    """Whether one run of a study says more than another, by their provenances: equal ones do not.

    A certified plan before one that is not; a search that reached its gap before one that was stopped; then the cheaper
    plan, the comparison with other plans, and the higher bound.
    """
    for key in ("certified", "optimal", OBJECTIVE, "compared", "lower_bound"):
        mine, other = _rank(ours, key), _rank(theirs, key)
        if not math.isclose(mine, other, rel_tol=_SAME):
            return mine > other
    return False


def _rank(facts: Mapping[str, Any], key: str) -> float:
    if key == "optimal":
        return float(facts.get("status") == "optimal")
    value = facts.get(key)
    if not isinstance(value, int | float) or math.isnan(value):
        return -math.inf
    return -float(value) if key == OBJECTIVE else float(value)


def digest_files(files: Mapping[str, Path]) -> dict[str, str]:
    """SHA-256 of each file, under the name by which the study knows it (never a path of this machine).

    What is no regular file (a folder, a pipe, a link that leads nowhere) holds nothing that was read and is left out.

    Raises
    ------
    InputError
        Naming every file that cannot be read, or is too large to be.
    """
    found, findings = {}, []
    for name in sorted(files):
        file = files[name]
        if not _is_file(file):
            continue
        try:
            if file.stat().st_size > _LARGEST:
                findings.append(Finding(str(file), f"is larger than {_LARGEST >> 30} GiB", "take it out of the folder"))
                continue
            found[name] = _digest(file)
        except OSError as error:
            findings.append(Finding(str(file), f"cannot be read: {error.strerror}"))
    raise_if_any(findings)
    return found


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
    return sorted(file for file in folder.rglob("*") if _is_file(file) and file.name != PROVENANCE)


def _is_file(file: Path) -> bool:
    try:
        return file.is_file()
    except (OSError, ValueError):  # a name too long for any file, or with a null character
        return False


def _is_same(file: Path, digest: str) -> bool:
    try:
        return _is_file(file) and _digest(file) == digest
    except OSError:  # not ours to read
        return False


def _digest(file: Path) -> str:
    if file.stat().st_size > _LARGEST:
        return f"more than {_LARGEST} bytes"
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{type(value).__name__} cannot be written to {PROVENANCE}")
