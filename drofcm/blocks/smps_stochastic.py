"""The stochastic file of SMPS: independent elements and blocks, or scenarios, and what each of them changes.

An entry replaces a value of the core file: a coefficient, cost, right-hand side, range or bound of the recourse, a
cost of the first stage, or the constant. Scenarios are numbered as they are listed, or as the product of all
independent realisations, the last varying fastest. ``reading`` decides what a realisation starts from: the published
collections were written under both conventions.

Sources: J.R. Birge, M.A.H. Dempster, H.I. Gassmann, E.A. Gunn, A.J. King, S.W. Wallace, "A standard input format for
multiperiod stochastic linear programs", COAL Newsletter 17 (1987); H.I. Gassmann, B. Kristjansson, "The SMPS format
explained", IMA Journal of Management Mathematics 19 (2008).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from drofcm.blocks.smps_records import (
    BOUND,
    NOTHING,
    NUMBER,
    Layout,
    Log,
    Record,
    Section,
    all_numbers,
    is_entry,
    number_of,
    read_records,
)
from drofcm.blocks.smps_stages import Stages
from drofcm.core.errors import shorten

__all__ = ["Changes", "Element", "Reading", "Stochastics"]

Reading = Literal["standard", "core"]
Element = tuple[str, int]
"""What a scenario may change: a kind of quantity and its position in the recourse."""
Changes = Mapping[Element, float]

ROUNDING = 1e-5
"""Probabilities are printed with few digits; a sum that is off by less is scaled to one."""

_RANDOM_BOUNDS = {"UP": ("upper",), "LO": ("lower",), "FX": ("lower", "upper")}


def _is_random_bound(words: Sequence[str]) -> bool:
    return words[0] in _RANDOM_BOUNDS and len(words) in (3, 4) and bool(BOUND.fullmatch(words[-1]))


def _is_change(words: Sequence[str]) -> bool:
    return bool(words) and (_is_random_bound(words) or is_entry(words))


def _without_tail(words: Sequence[str]) -> Sequence[str] | None:
    """An INDEP record without its (period and) probability."""
    for tail in (2, 1):
        entry = words[:-tail]
        if len(entry) <= 4 and _is_change(entry) and NUMBER.fullmatch(words[-1]):
            return entry
    return None


def _opens_block(words: Sequence[str]) -> bool:
    return len(words) == 4 and words[0] == "BL"


def _is_block(words: Sequence[str]) -> bool:
    return (_opens_block(words) and all_numbers(words[3:])) or _is_change(words)


def _opens_scenario(words: Sequence[str]) -> bool:
    return len(words) == 5 and words[0] == "SC"


def _is_scenario(words: Sequence[str]) -> bool:
    return (_opens_scenario(words) and all_numbers(words[3:4])) or _is_change(words)


_ENTRY = "column, row, number (and again row, number), or UP/LO/FX, set, column, number"
_SECTIONS = {
    "STOCH": NOTHING,
    "INDEP": Section(
        lambda words: _without_tail(words) is not None,
        "column, row, number, period, probability, or UP/LO/FX, set, column, number, period, probability",
    ),
    "BLOCKS": Section(_is_block, f"BL, block, period, probability; then {_ENTRY}"),
    "SCENARIOS": Section(_is_scenario, f"SC, scenario, parent, probability, period; then {_ENTRY}"),
    "ENDATA": NOTHING,
}


@dataclass
class _Block:
    """Realisations of one independent block, or of one element of INDEP."""

    label: str
    where: str
    probabilities: list[float] = field(default_factory=list)
    changes: list[dict[Element, float]] = field(default_factory=list)


class Stochastics:
    """Independent blocks, or scenarios, with what each of them changes.

    Attributes
    ----------
    reading
        What a realisation starts from, see `read_smps`.
    where
        Every element that some scenario changes, and the value it takes -> file and line of the last such entry.
    """

    def __init__(self, path: Path, layout: Layout, reading: Reading, stages: Stages, log: Log) -> None:
        self.reading, self.stages, self.log = reading, stages, log
        self._blocks: dict[tuple[str, ...], _Block] = {}
        self._listed = _Block("the scenarios", str(path))
        self._names: dict[str, int] = {}
        self.where: dict[tuple[Element, float], str] = {}
        self._owner: dict[Element, _Block] = {}
        self._target: dict[Element, float] | None = None
        self._fresh: set[Element] = set()
        self._block: _Block | None = None
        self._incomplete: dict[str, None] = {}
        self._children = 0
        self._sections: dict[str, str] = {}
        readers = {"INDEP": self._in_indep, "BLOCKS": self._in_blocks, "SCENARIOS": self._in_scenarios}
        for record in read_records(path, _SECTIONS, layout, log):
            if record.header:
                self._header(record)
            else:
                readers[record.section](record)
        self._end_of_realisation()
        self._finish()

    def _header(self, record: Record) -> None:
        self._end_of_realisation()
        self._target = None
        if record.section not in ("INDEP", "BLOCKS", "SCENARIOS"):
            return
        self._sections.setdefault(record.section, record.where)
        if "SCENARIOS" in self._sections and len(self._sections) > 1:
            self.log.error(record.where, "SCENARIOS together with INDEP or BLOCKS: the joint distribution is open")
        kind, *modifications = [word.upper() for word in record.words] or ["DISCRETE"]
        if kind == "REPLACE":
            kind, modifications = "DISCRETE", ["REPLACE"]
        if kind != "DISCRETE":
            self.log.error(record.where, f"{record.section} with distribution {kind!r}", "only DISCRETE can be read")
        for word in modifications:
            if word != "REPLACE":
                self.log.error(record.where, f"{record.section} with modification {word!r}", "only REPLACE can be read")

    def _probability(self, record: Record, word: str) -> float:
        value = number_of(word)
        if not 0 <= value <= 1:
            self.log.error(record.where, f"probability {word} is not between 0 and 1")
        return value

    def _second(self, record: Record, period: str, what: str) -> bool:
        names = self.stages.periods.names
        if period not in names:
            self.log.unknown(record.where, "period", period, names)
        elif period == names[0]:
            self.log.error(record.where, f"{what} in the first period {period!r}", "only the second can be random")
        return period == names[1]

    def _in_indep(self, record: Record) -> None:
        entry = _without_tail(record.words)
        assert entry is not None, "the section admits no other record"
        rest = record.words[len(entry) :]
        if len(rest) == 2 and not self._second(record, rest[0], "a random element"):
            return
        probability = self._probability(record, rest[-1])
        changes = dict(self._elements(record, entry))
        if not changes:
            return
        key = ("INDEP", *map(str, changes))
        block = self._blocks.setdefault(key, _Block(f"element {' '.join(entry[:-1])!r}", record.where))
        self._claim(record, block, changes)
        block.probabilities.append(probability)
        block.changes.append(changes)

    def _claim(self, record: Record, block: _Block, elements: Iterable[Element]) -> None:
        for element in elements:
            owner = self._owner.setdefault(element, block)
            if owner is not block:
                what = f"{block.label} changes what {owner.label} changes already"
                self.log.error(record.where, what, f"see {owner.where}: independent blocks must not overlap")

    def _in_blocks(self, record: Record) -> None:
        if not _opens_block(record.words):
            self._entry(record)
            return
        self._end_of_realisation()
        _, name, period, probability = record.words
        self._second(record, period, f"block {name!r}")
        block = self._blocks.setdefault(("BLOCKS", name), _Block(f"block {name!r}", record.where))
        inherited = block.changes[0] if block.changes and self.reading == "standard" else {}
        self._begin(block, self._probability(record, probability), inherited)

    def _in_scenarios(self, record: Record) -> None:
        if not _opens_scenario(record.words):
            self._entry(record)
            return
        self._end_of_realisation()
        name, parent, probability, period = (word.strip("'") for word in record.words[1:])
        inherited: Changes = {}
        if parent in self._names:
            self._children += 1
            inherited = self._listed.changes[self._names[parent]] if self.reading == "standard" else {}
        elif parent != "ROOT":
            self.log.unknown(record.where, "parent", parent, ["ROOT", *self._names])
        if not self._listed.changes:
            self._listed.where = record.where
        # the first scenario starts the tree: whether it is said to branch in the first period changes nothing
        if self._listed.changes or period != self.stages.periods.names[0]:
            self._second(record, period, f"scenario {name!r} branches")
        if name in self._names:
            self.log.error(record.where, f"scenario {name!r} is declared twice")
        self._names.setdefault(name, len(self._listed.changes))
        self._begin(self._listed, self._probability(record, probability), inherited)

    def _begin(self, block: _Block, probability: float, inherited: Changes) -> None:
        self._target = dict(inherited)
        self._fresh, self._block = set(), block
        block.probabilities.append(probability)
        block.changes.append(self._target)

    def _end_of_realisation(self) -> None:
        block, self._block = self._block, None
        if block is not None and block is not self._listed and self._fresh != block.changes[0].keys():
            self._incomplete[block.label] = None

    def _entry(self, record: Record) -> None:
        if self._target is None or self._block is None:
            opening = "BL" if record.section == "BLOCKS" else "SC"
            self.log.error(record.where, f"an entry before the first {opening} record")
            return
        elements = list(self._elements(record, record.words))
        if self._block is not self._listed:
            self._claim(record, self._block, (element for element, _ in elements))
        for element, value in elements:
            if element in self._fresh:
                self.log.error(record.where, f"{' '.join(record.words)!r}: given twice in the same realisation")
            self._fresh.add(element)
            self._target[element] = value

    def _elements(self, record: Record, entry: Sequence[str]) -> Iterator[tuple[Element, float]]:
        """What an entry changes; nothing where it is faulty or concerns an ignored row."""
        core = self.stages.core
        if _is_random_bound(entry) and not (len(entry) == 3 and entry[0] in core.columns):
            value = number_of(entry[-1])
            for element in self._bound_elements(record, entry[0], entry[-2]):
                self.where[element, value] = record.where
                yield element, value
            return
        for label, word in zip(entry[1::2], entry[2::2], strict=True):
            row = core.row(record, label)
            if row is None:
                continue
            if row >= 0 and not self.stages.periods.second_row[row]:
                self.log.error(record.where, f"row {label!r} of the first period cannot be random")
                continue
            found, value = self._element(record, entry[0], row), number_of(word)
            if found is not None:
                self.where[found, value] = record.where
                yield found, value

    def _bound_elements(self, record: Record, kind: str, name: str) -> Iterator[Element]:
        core, stages = self.stages.core, self.stages
        column = core.columns.get(name)
        if column is None:
            self.log.unknown(record.where, "column", name, core.columns)
        elif not stages.periods.second_column[column]:
            self.log.error(record.where, f"the bound of column {name!r} of the first period cannot be random")
        else:
            yield from ((side, int(stages.column_at[column])) for side in _RANDOM_BOUNDS[kind])

    def _element(self, record: Record, name: str, row: int) -> Element | None:
        core, stages = self.stages.core, self.stages
        sets = {kind for kind in ("RHS", "RANGES") if name in core.sets[kind] or name.upper() == kind}
        if len(sets) + (name in core.columns) > 1:
            what = f"{name!r} may be {' or '.join([*sorted(sets), 'a column'][: len(sets) + 1])}"
            self.log.error(record.where, what, "rename the column or the set")
            return None
        position = int(stages.row_at[row]) if row >= 0 else 0
        if sets == {"RHS"}:
            return ("constant", 0) if row < 0 else ("rhs", position)
        if sets == {"RANGES"}:
            if row < 0:
                self.log.error(record.where, "the objective has no range")
                return None
            return "ranges", position
        if name not in core.columns:
            self.log.unknown(record.where, "column or set", name, [*core.columns, "RHS", *core.sets["RHS"]])
            return None
        column = core.columns[name]
        second, at = bool(stages.periods.second_column[column]), int(stages.column_at[column])
        if row < 0:
            return ("cost" if second else "first_stage_cost"), at
        return ("recourse" if second else "technology"), position * len(stages.names[second]) + at

    def _finish(self) -> None:
        for block in [*self._blocks.values(), *([self._listed] if self._listed.changes else [])]:
            total = math.fsum(block.probabilities)
            if abs(total - 1) > ROUNDING:
                self.log.error(block.where, f"the probabilities of {block.label} sum to {total:.10g}, not to 1")
            elif abs(total - 1) > 1e-12:
                self.log.notes.append(f"the probabilities of {block.label} sum to {total:.10g} and were scaled to 1")
                block.probabilities = [probability / total for probability in block.probabilities]
        standard = self.reading == "standard"
        if self._incomplete:
            rule = "those of the first listed, if any, or of the core" if standard else "those of the core"
            self.log.notes.append(f"values that a realisation does not list are {rule}: {shorten(self._incomplete)}")
        if self._children:
            rule = "inherit from it" if standard else "change the core file all the same"
            self.log.notes.append(f"{self._children} scenarios have another scenario as parent and {rule}")

    def scenarios(self, most: int) -> list[tuple[float, Changes]]:
        """Probability of every scenario and what it changes; a product of more than ``most`` goes to the log."""
        if self._listed.changes:
            return list(zip(self._listed.probabilities, self._listed.changes, strict=True))
        blocks = list(self._blocks.values())
        count = math.prod(len(block.changes) for block in blocks)
        if count > most:
            what = f"{len(blocks)} independent blocks have {count:,} joint realisations, more than {most:,}"
            self.log.error(blocks[0].where, what, "raise max_scenarios, or sample")
            return []
        realisations = [list(zip(block.probabilities, block.changes, strict=True)) for block in blocks]
        return [
            (math.prod(probability for probability, _ in joint), _union(changes for _, changes in joint))
            for joint in itertools.product(*realisations)
        ]


def _union(parts: Iterable[Changes]) -> Changes:
    union: dict[Element, float] = {}
    for part in parts:
        union.update(part)
    return union
