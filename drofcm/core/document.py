"""A YAML file with the position of every key, so that a message can point at the line and column it is about."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from drofcm.core.errors import Finding, InputError

__all__ = ["Document"]


@dataclass(frozen=True)
class Document:
    """The content of a YAML file whose root is a mapping.

    Attributes
    ----------
    path
        Where it was read.
    values
        The content as plain types.
    root
        The tree of nodes, which knows positions.
    findings
        Keys given twice; the content holds the first of them.
    """

    path: Path
    values: dict[str, Any]
    root: MappingNode
    findings: tuple[Finding, ...]

    @classmethod
    def read(cls, path: Path) -> Document:
        """Read a YAML 1.2 file.

        Raises
        ------
        InputError
            If the file cannot be read, is not YAML, or is not a mapping with names as keys.
        """
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
            raise InputError([Finding(str(path), f"cannot be read: {reason}", "give a YAML file")]) from None
        try:
            root = _yaml().compose(text)
            if not isinstance(root, MappingNode) or not root.value:
                raise InputError([Finding(f"{path.name}:1:1", "holds no keys", "write key: value, one a line")])
            odd = [_at(path, key, "key is not a name", "keys are plain words") for key in _odd_keys(root)]
            if odd:
                raise InputError(odd)
            values = _yaml().load(text)
        except MarkedYAMLError as error:
            mark = error.problem_mark
            where = f"{path.name}:{mark.line + 1}:{mark.column + 1}" if mark else path.name
            what = ", ".join(part for part in (error.context, error.problem) if part)
            raise InputError([Finding(where, f"not valid YAML: {what}", "correct the syntax")]) from None
        except YAMLError as error:
            raise InputError([Finding(path.name, f"not valid YAML: {error}", "correct the syntax")]) from None
        return cls(path, values, root, tuple(_duplicates(path, root)))

    def position(self, loc: Sequence[str | int]) -> tuple[int, int]:
        """Line and column, from 1, of the key or item at ``loc``; of the nearest one above it where there is none."""
        node: Node = self.root
        mark = node.start_mark
        for part in loc:
            step = _child(node, part)
            if step is None:
                break
            mark, node = step
        return mark.line + 1, mark.column + 1

    def where(self, loc: Sequence[str | int]) -> str:
        """``study.yaml:5:3: solver.mip_gap``: file, position and dotted path of ``loc``."""
        line, column = self.position(loc)
        dotted = ".".join(f"{part}" for part in loc)
        return f"{self.path.name}:{line}:{column}" + (f": {dotted}" if dotted else "")


def _yaml() -> YAML:
    yaml = YAML(typ="safe", pure=True)
    yaml.allow_duplicate_keys = True  # reported by _duplicates, all at once
    return yaml


def _child(node: Node, part: str | int) -> tuple[Any, Node] | None:
    """Where the child begins for a reader (its key, or the item itself), and its node."""
    if isinstance(node, MappingNode):
        for key, value in node.value:
            if isinstance(key, ScalarNode) and key.value == part:
                return key.start_mark, value
    if isinstance(node, SequenceNode) and isinstance(part, int) and part < len(node.value):
        return node.value[part].start_mark, node.value[part]
    return None


def _walk(node: Node) -> Iterator[MappingNode]:
    if isinstance(node, MappingNode):
        yield node
        for _, value in node.value:
            yield from _walk(value)
    elif isinstance(node, SequenceNode):
        for item in node.value:
            yield from _walk(item)


def _odd_keys(root: Node) -> Iterator[Node]:
    for mapping in _walk(root):
        yield from (key for key, _ in mapping.value if not isinstance(key, ScalarNode))


def _duplicates(path: Path, root: Node) -> Iterator[Finding]:
    for mapping in _walk(root):
        first: dict[str, int] = {}
        for key, _ in mapping.value:
            if key.value in first:
                yield _at(path, key, f"key {key.value!r} is given twice, first in line {first[key.value]}", "keep one")
            first.setdefault(key.value, key.start_mark.line + 1)


def _at(path: Path, node: Node, what: str, fix: str) -> Finding:
    return Finding(f"{path.name}:{node.start_mark.line + 1}:{node.start_mark.column + 1}", what, fix)
