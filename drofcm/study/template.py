"""A new study: every key with its default and what it means, and the schema for editors beside it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel

from drofcm.config import StudyFile, json_schema, resolved
from drofcm.core.errors import Finding, InputError
from drofcm.study.publish import writing

__all__ = ["new_study", "template"]

_START: Final = {
    "title": "Siting flexible capacity against AI demand shocks",
    "seed": 1,
    "data_centres": [
        {"bus": "4", "rating_mw": 1.6},
        {"bus": "20", "rating_mw": 1.2},
        {"bus": "24", "rating_mw": 2.0},
    ],
    "events": {"scenarios": 10},
}
_SCHEMA: Final = "study.schema.json"


def new_study(folder: Path, name: str) -> Path:
    """Make ``<folder>/<name>/study.yaml`` and the schema beside it.

    Raises
    ------
    InputError
        If the name is no slug, or the folder exists.
    """
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
        what = f"{name!r} cannot name a study"
        raise InputError([Finding("name", what, "lower case letters, digits and underscore, a letter first")])
    target = folder / name
    if target.exists():
        raise InputError([Finding(str(target), "exists already", "choose another name; nothing is overwritten")])
    with writing(target) as made:
        (made / "study.yaml").write_text(template(name), encoding="utf-8")
        (made / _SCHEMA).write_text(json.dumps(json_schema(), indent=2) + "\n", encoding="utf-8")
    return target / "study.yaml"


def template(name: str) -> str:
    """The text of a study file with every key, its default and its description."""
    study = StudyFile.model_validate({"name": name, **_START})
    lines = [f"# yaml-language-server: $schema={_SCHEMA}", *_section(StudyFile, resolved(study), "")]
    return "\n".join(lines) + "\n"


def _section(model: type[BaseModel], values: dict[str, Any], indent: str) -> Iterator[str]:
    for key, value in values.items():
        field = model.model_fields[key]
        comment = f" # {field.description}" if field.description else ""
        if isinstance(value, dict) and isinstance(field.annotation, type):
            yield f"{indent}{key}:{comment}"
            yield from _section(field.annotation, value, indent + "  ")
        elif isinstance(value, list) and value:
            yield f"{indent}{key}:{comment}"
            yield from (f"{indent}  - {_flow(item)}" for item in value)
        else:
            yield f"{indent}{key}: {_flow(value)}{comment}"


def _flow(value: Any) -> str:
    """A value on one line; JSON is YAML, and keys need no quotes."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_flow(item)}" for key, item in value.items()) + "}"
    return json.dumps(value)
