"""A YAML file with the position of every key, so that a message can point at the line and column it is about."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from ruamel.yaml import YAML
from ruamel.yaml.composer import Composer, ComposerError
from ruamel.yaml.error import MarkedYAMLError, StringMark, YAMLError
from ruamel.yaml.events import AliasEvent
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode
from ruamel.yaml.reader import ReaderError

from drofcm.core.errors import Finding, InputError, quoted
from drofcm.core.reading import read_text

__all__ = ["Document"]

MOST_BYTES: Final = 256 * 2**10
"""Bytes of a YAML file: the largest of ours has 6 kB, and a megabyte takes a quarter of a minute to read."""
MOST_NODES: Final = 100_000
"""Keys, values and items of a file, those that aliases repeat counted each time."""
MOST_LEVELS: Final = 50
"""Levels of mappings and lists within each other."""

Location = tuple[str | int, ...]

_PREFIX: Final = "tag:yaml.org,2002:"
# 0x1f, 1_000 and 007 would arrive as numbers that read otherwise, or as labels that nobody wrote
_INTEGER: Final = re.compile(r"[+-]?(0|[1-9][0-9]*)")
_MOST_DIGITS: Final = 1000
"""Python itself refuses numbers of more than 4300 digits, and takes long over fewer; no key needs as many as these."""


@dataclass(frozen=True)
class Document:
    """The content of a YAML file whose root is a mapping.

    Attributes
    ----------
    name
        How findings call the file.
    values
        The content as plain types.
    root
        The tree of nodes, which knows positions.
    findings
        Keys given twice, of which the content holds the first; values that are not what they claim to be, or hold
        characters that cannot be shown, of which the content holds the text.
    """

    name: str
    values: dict[str, Any]
    root: MappingNode
    findings: tuple[Finding, ...]

    @classmethod
    def read(cls, path: Path, name: str | None = None) -> Document:
        """Read a YAML 1.2 file.

        Parameters
        ----------
        path
            The file.
        name
            How findings call it; the name of the file if left out.

        Raises
        ------
        InputError
            If the file cannot be read, is not YAML, is not a mapping with names as keys, or is so large, so deep or so
            full of aliases that nobody can have written it.
        """
        name = path.name if name is None else name
        text = read_text(path, name=str(path), most=MOST_BYTES)
        try:
            root = _yaml().compose(text)
            if not isinstance(root, MappingNode) or not root.value:
                raise InputError([Finding(f"{name}:1:1", "holds no keys", "write key: value, one a line")])
            if _size(root, {}) > MOST_NODES:
                what = f"has more than {MOST_NODES:,} keys and values once its aliases are written out"
                raise InputError([Finding(f"{name}:1:1", what, "write out what is meant, or use fewer aliases")])
            odd = [_at(name, key, "key is not a name", "keys are plain words") for key in _odd_keys(root)]
            if odd:
                raise InputError(odd)
            findings = [*_keys(name, root), *_scalars(name, root)]
            values = _yaml().constructor.construct_document(root)
        except MarkedYAMLError as error:
            mark = error.problem_mark
            where = f"{name}:{mark.line + 1}:{mark.column + 1}" if mark else name
            what = ", ".join(part for part in (error.context, error.problem) if part)
            raise InputError([Finding(where, f"not valid YAML: {what}", "correct the syntax")]) from None
        except ReaderError as error:
            before = text[: error.position]
            line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
            where = f"{name}:{line}:{column}"
            what = f"not valid YAML: the character {quoted(chr(error.character))} is not allowed"
            raise InputError([Finding(where, what, "remove it")]) from None
        except YAMLError as error:
            raise InputError([Finding(name, f"not valid YAML: {error}", "correct the syntax")]) from None
        return cls(name, values, root, tuple(findings))

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
        dotted = _dotted(loc)
        return f"{self.name}:{line}:{column}" + (f": {dotted}" if dotted else "")


class _Composer(Composer):
    """Refuses what would be followed for ever: an alias within what it stands for, and levels without end."""

    def __init__(self, loader: Any = None) -> None:
        super().__init__(loader=loader)
        self._open: list[str | None] = []

    def compose_node(self, parent: Any, index: Any) -> Any:
        """Compose the next node."""
        event = self.parser.peek_event()
        anchor = getattr(event, "anchor", None)
        if isinstance(event, AliasEvent):
            if anchor in self._open:
                raise ComposerError(None, None, f"the alias *{anchor} refers to what it stands in", event.start_mark)
            return super().compose_node(parent, index)
        if len(self._open) > MOST_LEVELS:
            raise ComposerError(None, None, f"more than {MOST_LEVELS} levels within each other", event.start_mark)
        self._open.append(anchor)
        node = super().compose_node(parent, index)
        self._open.pop()
        return node


def _yaml() -> YAML:
    yaml = YAML(typ="safe", pure=True)
    yaml.Composer = _Composer
    yaml.allow_duplicate_keys = True  # reported by _keys, all at once
    return yaml


def _dotted(loc: Sequence[str | int]) -> str:
    return ".".join(f"{part}" if str(part).isprintable() and len(str(part)) <= 60 else quoted(part) for part in loc)


def _child(node: Node, part: str | int) -> tuple[Any, Node] | None:
    """Where the child begins for a reader (its key, or the item itself), and its node."""
    if isinstance(node, MappingNode):
        for key, value in node.value:
            if isinstance(key, ScalarNode) and key.value == part:
                return key.start_mark, value
    if isinstance(node, SequenceNode) and isinstance(part, int) and part < len(node.value):
        return node.value[part].start_mark, node.value[part]
    return None


def _size(node: Node, known: dict[int, int]) -> int:
    """Number of nodes below, those that aliases repeat counted each time."""
    if id(node) not in known:
        children: list[Node] = []
        if isinstance(node, MappingNode):
            children = [part for pair in node.value for part in pair]
        elif isinstance(node, SequenceNode):
            children = node.value
        known[id(node)] = 1 + sum(_size(child, known) for child in children)
    return known[id(node)]


def _walk(node: Node, loc: Location = ()) -> Iterator[tuple[Location, StringMark, Node]]:
    """Every node with the path that leads to it and where that begins for a reader."""
    pairs: list[tuple[str | int, Node, Node]] = []
    if isinstance(node, MappingNode):
        pairs = [(str(key.value), key, value) for key, value in node.value]
    elif isinstance(node, SequenceNode):
        pairs = [(place, item, item) for place, item in enumerate(node.value)]
    for part, begin, child in pairs:
        yield (*loc, part), begin.start_mark, child
        yield from _walk(child, (*loc, part))


def _mappings(root: Node) -> Iterator[MappingNode]:
    nodes = [root, *(node for _, _, node in _walk(root))]
    yield from {id(node): node for node in nodes if isinstance(node, MappingNode)}.values()


def _odd_keys(root: Node) -> Iterator[Node]:
    for mapping in _mappings(root):
        yield from (key for key, _ in mapping.value if not isinstance(key, ScalarNode))


def _keys(name: str, root: Node) -> Iterator[Finding]:
    """Keys given twice, and keys that cannot be shown; what a key looks like, it is a name."""
    for mapping in _mappings(root):
        first: dict[str, int] = {}
        for key, _ in mapping.value:
            if key.value in first:
                what = f"key {quoted(key.value)} is given twice, first in line {first[key.value]}"
                yield _at(name, key, what, "keep one")
            first.setdefault(key.value, key.start_mark.line + 1)
            if str(key.tag) != f"{_PREFIX}merge":
                key.tag = f"{_PREFIX}str"
            if not key.value.isprintable():
                yield _at(name, key, f"key {quoted(key.value)} holds characters that cannot be shown", "remove them")


def _scalars(name: str, root: Node) -> Iterator[Finding]:
    """Values that are not what their tag says, or hold what no terminal should be sent; those become plain text."""
    constructor = _yaml().constructor
    for loc, mark, node in _walk(root):
        if not isinstance(node, ScalarNode):
            continue
        what, fix = _scalar_fault(constructor, node)
        if what:
            node.tag = f"{_PREFIX}str"
            yield Finding(f"{name}:{mark.line + 1}:{mark.column + 1}: {_dotted(loc)}", what, fix)


def _scalar_fault(constructor: Any, node: ScalarNode) -> tuple[str, str]:
    text = node.value
    kind = str(node.tag).removeprefix(_PREFIX)
    if kind == "str":
        shown = text.replace("\n", "").replace("\t", "")
        # joiners of emoji and scripts cannot be printed alone, and do no harm
        if shown.isprintable() or not any(_harmful(char) for char in shown):
            return "", ""
        return f"holds characters that cannot be shown: {quoted(text)}", "remove them"
    if (kind == "int" and not _INTEGER.fullmatch(text)) or (kind == "float" and "_" in text):
        return f"{quoted(text)} is no number in plain digits", "write 12 or 1.5; put a label in quotation marks"
    digits = len(text.lstrip("+-"))
    if kind == "int" and digits > _MOST_DIGITS:
        return f"{quoted(text)} has {digits:,} digits, at most {_MOST_DIGITS:,} are read", "correct it"
    try:
        constructor.construct_object(node)
    except MarkedYAMLError:
        return "", ""  # told by whoever constructs the whole
    except (ValueError, KeyError, IndexError, OverflowError, ArithmeticError, TypeError):
        return f"{quoted(text)} is no {kind}", "correct it, or put it in quotation marks if it is text"
    return "", ""


def _harmful(char: str) -> bool:
    return not char.isprintable() and (ord(char) < 0xA0 or 0xD800 <= ord(char) <= 0xDFFF or char in _DIRECTIONS)


# marks that turn the direction of text around, and line ends of Unicode
_DIRECTIONS: Final = frozenset("\u2028\u2029\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def _at(name: str, node: Node, what: str, fix: str) -> Finding:
    return Finding(f"{name}:{node.start_mark.line + 1}:{node.start_mark.column + 1}", what, fix)
