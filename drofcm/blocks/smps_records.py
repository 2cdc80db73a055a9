"""Lines of SMPS files: sections and their records, in fixed or in free fields, and what the reader found.

All three files share one form: a header in the first column opens a section, its records begin with a blank, ``*``
begins a comment, ENDATA ends the file. Whoever reads a file states the form of each of its sections; a record that
does not have it never reaches the reader. Names may hold spaces in fixed fields, and only there.

Source: J.R. Birge, M.A.H. Dempster, H.I. Gassmann, E.A. Gunn, A.J. King, S.W. Wallace, "A standard input format for
multiperiod stochastic linear programs", COAL Newsletter 17 (1987), which takes the fields of a record from MPS.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, NamedTuple

from drofcm.core.errors import Finding, quoted, raise_if_any, suggest
from drofcm.core.reading import read_text

__all__ = [
    "BOUND",
    "NOTHING",
    "NUMBER",
    "Layout",
    "Log",
    "Record",
    "Section",
    "all_numbers",
    "is_entry",
    "number_of",
    "read_records",
]

Layout = Literal["auto", "fixed", "free"]

# Python's float() would take nan, 1_000 and 1e400 (infinite) as well; only a bound may be infinite
NUMBER = re.compile(r"[+-]?(\d{1,200}(\.\d*)?|\.\d+)([eEdD][+-]?0*\d{1,2})?", re.ASCII)
BOUND = re.compile(r"[+-]?((\d+\.?\d*|\.\d+)([eEdD][+-]?\d+)?|inf(inity)?)", re.ASCII | re.IGNORECASE)
MOST_BYTES: Final = 512 * 2**20
"""Bytes of a file; the largest published one has a tenth of it."""

_FIELDS = ((1, 3), (4, 12), (14, 22), (24, 36), (39, 47), (49, 61))


class Log:
    """Findings that stop the reader, and notes that go with the result."""

    def __init__(self) -> None:
        self.findings: list[Finding] = []
        self.notes: list[str] = []

    def error(self, where: str, what: str, fix: str = "") -> None:
        """Note a fault: where it is, what clashed, how to fix it."""
        self.findings.append(Finding(where, what, fix))

    def unknown(self, where: str, what: str, name: str, known: Iterable[str]) -> None:
        """Note a name that is not known, with the nearest one that is."""
        # a search for the nearest name is slow: a file of another problem would ask for thousands
        self.error(where, f"unknown {what} {quoted(name)}", suggest(name, known) if len(self.findings) < 20 else "")

    def stop(self) -> None:
        """Raise `InputError` with every fault so far; return if there is none."""
        raise_if_any(self.findings)


class Record(NamedTuple):
    """A line of a file: the words after the header of a section, or those of a record in it."""

    path: Path
    line: int
    section: str
    header: bool
    words: list[str]

    @property
    def where(self) -> str:
        """File and line."""
        return f"{self.path}:{self.line}"


@dataclass(frozen=True)
class Section:
    """What a record of a section must look like: the test, and the words for the message when it fails."""

    fits: Callable[[Sequence[str]], bool]
    form: str


def number_of(word: str) -> float:
    """Value of a word that matches `NUMBER` or `BOUND`; the exponent may be Fortran's D."""
    return float(word.lower().replace("d", "e"))


def all_numbers(words: Sequence[str]) -> bool:
    """Whether each word is a finite number."""
    return all(map(NUMBER.fullmatch, words))


def is_entry(words: Sequence[str]) -> bool:
    """Whether the words are a column or set, then rows with a number each."""
    return len(words) >= 3 and len(words) % 2 == 1 and all_numbers(words[2::2])


NOTHING = Section(lambda words: False, "no records")


def _fixed(text: str) -> list[str] | None:
    """The fields of a record in the fixed format; None if it does not stand in them."""
    if len(text) > 61 and not any(char.isspace() for char in text[60:62]):
        return None  # a word that runs over the end of the last field would be cut
    text = text[:61]
    words, last = [], 0
    for first, end in _FIELDS:
        if text[last:first].strip() or "\t" in text:
            return None
        word = text[first:end].strip()
        if word:
            words.append(word)
        last = end
    return words


def read_records(path: Path, sections: Mapping[str, Section], layout: Layout, log: Log) -> list[Record]:
    """Headers and records of a file in the order of its lines; what does not fit its section goes to the log.

    Parameters
    ----------
    path
        The file, UTF-8.
    sections
        Form of every section that the file may have.
    layout
        ``"fixed"``, ``"free"``, or ``"auto"``: free, unless more records fit in fixed fields.
    log
        Takes one finding for each line that does not fit, and one if ENDATA is missing.

    Raises
    ------
    InputError
        If the file cannot be read or is not UTF-8 text.
    """
    lines = read_text(path, most=MOST_BYTES).split("\n")
    headers, texts = _split(path, lines, sections, log)
    readings: list[tuple[list[Record], list[Finding]]] = []
    for name, split in (("free", str.split), ("fixed", _fixed)):
        if layout == name or (layout == "auto" and (not readings or readings[0][1])):
            readings.append(_formed(path, texts, sections, split))
    # on a tie the free format speaks: its messages are about words, not about positions in the line
    records, findings = min(readings, key=lambda reading: len(reading[1]))
    log.findings.extend(findings)
    return sorted(headers + records, key=lambda record: record.line)


def _split(
    path: Path, lines: Sequence[str], sections: Mapping[str, Section], log: Log
) -> tuple[list[Record], list[tuple[int, str, str]]]:
    headers: list[Record] = []
    texts: list[tuple[int, str, str]] = []
    section: str | None = None
    for number, line in enumerate(lines, start=1):
        if line.startswith("*") or not line.strip():
            continue
        if not line[0].isspace():
            word, *rest = line.split()
            section = word.upper() if word.upper() in sections else None
            if section is None:
                known = f"known: {', '.join(sections)}; records begin with a blank"
                log.error(f"{path}:{number}", f"unknown or unsupported section {quoted(word)}", known)
                continue
            headers.append(Record(path, number, section, True, rest))
            if section == "ENDATA":
                return headers, texts
        elif section is not None:
            texts.append((number, section, line.rstrip()))
        elif not headers:
            log.error(f"{path}:{number}", "a record before any section")
    last = max((number for number, line in enumerate(lines, start=1) if line.strip()), default=1)
    log.error(f"{path}:{last}", "no ENDATA: the file may be cut off")
    return headers, texts


def _formed(
    path: Path,
    texts: Sequence[tuple[int, str, str]],
    sections: Mapping[str, Section],
    split: Callable[[str], list[str] | None],
) -> tuple[list[Record], list[Finding]]:
    records, findings = [], []
    for number, section, text in texts:
        words = split(text)
        if words and sections[section].fits(words):
            records.append(Record(path, number, section, False, words))
        else:
            what = f"not a record of {section}: {quoted(' '.join(text.split()))}"
            fix = f"expected {sections[section].form}; names with spaces only in the fixed fields of MPS"
            findings.append(Finding(f"{path}:{number}", what, fix))
    return records, findings
