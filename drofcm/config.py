"""The study file: what it may say, and every fault in it at once, with file, line and column.

Every quantity carries its unit in the name of its key. Defaults are the parameter set under which the main study was
developed; `drofcm new` writes them all out, so that nothing a study rests on stays hidden. The sections themselves
are in `drofcm.sections`, a module a theme.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Final, Literal, get_args

from pydantic import Field, TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from drofcm.core.document import Document
from drofcm.core.errors import Finding, InputError, quoted, raise_if_any, suggest
from drofcm.core.limits import MOST_CELLS, MOST_HOURS, MOST_SCENARIOS, MOST_STEPS
from drofcm.sections.ambiguity import (
    KINDS,
    POLYHEDRAL,
    Ambiguity,
    ChiSquaredBall,
    CommonSet,
    EntropyBall,
    IntervalSet,
    MomentBands,
    NominalSet,
    TotalVariationBall,
    WassersteinBall,
)
from drofcm.sections.base import UNRULED, Broken, Location, NotNegative, Positive, Section, Slug
from drofcm.sections.events import Events, Shares, Weather
from drofcm.sections.grid import DataCentre, FeederSection, Plant
from drofcm.sections.operation import Frontier, Nodes, Penalties, Risk, StepGroup, Tail
from drofcm.sections.siting import Area, Candidates, Catalogue, Contract, Hubs

__all__ = [
    "Ambiguity",
    "Area",
    "Candidates",
    "Catalogue",
    "ChiSquaredBall",
    "CommonSet",
    "Contract",
    "DataCentre",
    "EntropyBall",
    "Events",
    "FeederSection",
    "Frontier",
    "Hubs",
    "IntervalSet",
    "MomentBands",
    "Nodes",
    "NominalSet",
    "Penalties",
    "Plant",
    "Risk",
    "Shares",
    "Solver",
    "StepGroup",
    "StudyFile",
    "StudyText",
    "Tail",
    "TotalVariationBall",
    "WassersteinBall",
    "Weather",
    "changed",
    "json_schema",
    "load_study",
    "read_study",
    "resolved",
]


class Solver(Section):
    """How, and how far, the program is solved."""

    method: Literal["auto", "extensive", "lshaped"] = Field(
        default="auto", description="auto chooses by size; extensive: one program; lshaped: decomposition by scenario"
    )
    mip_gap: Annotated[float, Field(ge=0, lt=1)] = Field(default=0.01, description="relative gap at which to stop")
    time_limit_s: Annotated[Positive, Field(le=1e8)] | None = Field(
        default=600.0, description="seconds; null: no limit"
    )


class StudyFile(Section):
    """A study, complete and consistent in itself; what it names is checked against the data when it is assembled."""

    name: Slug = Field(description="lower case, digits and underscore; names the run folder")
    title: str = Field(default="", description="one line for the head of the report")
    description: str = Field(default="", description="the question of the study, for the report")
    problem: Literal["demand_shock"] = "demand_shock"
    seed: Annotated[int, Field(ge=0, le=2**63 - 1)] = Field(description="every random draw depends on it")
    feeder: FeederSection = FeederSection()
    area: Area = Area()
    catalogue: Catalogue = Catalogue()
    hubs: Hubs = Hubs()
    budget_per_year: NotNegative | None = Field(default=None, description="$, limit of first-stage cost; null: none")
    data_centres: Annotated[tuple[DataCentre, ...], Field(strict=False)]
    plants: Annotated[tuple[Plant, ...], Field(strict=False)] = Field(
        default=(), description="generators on the feeder that run before the event and may trip"
    )
    events: Events = Events()
    steps_min: Annotated[tuple[StepGroup, ...], Field(strict=False)] = Field(
        default=tuple(
            StepGroup(count=count, length=length)
            for count, length in ((15, 1.0), (3, 5.0), (2, 15.0), (2, 30.0), (1, 60.0), (1, 120.0), (1, 180.0))
        ),
        description="steps after the onset, minutes",
    )
    nodes: Nodes = Nodes()
    penalties: Penalties = Penalties()
    risk: Risk = Risk()
    ambiguity: Ambiguity = Field(
        default=NominalSet(), description="which distributions of events the plan is made for; nominal: as generated"
    )
    frontier: Frontier | None = Field(
        default=None, description="cost against tail risk for the report, a search for each point; null: none"
    )
    solver: Solver = Solver()

    @property
    def step_hours(self) -> tuple[float, ...]:
        """Length of every step, h."""
        return tuple(group.length / 60 for group in self.steps_min for _ in range(group.count))

    def rules(self) -> Iterator[Broken]:
        """Rules between sections."""
        sections = {name: getattr(self, name) for name in type(self).model_fields}
        return _across(sections)


def _steps(steps_min: tuple[StepGroup, ...]) -> Iterator[Broken]:
    if not steps_min:
        yield Broken(("steps_min",), "has no steps", "list at least one group: {count: 15, length: 1}")
    count = sum(group.count for group in steps_min)
    if count > MOST_STEPS:
        what = f"{count:,} steps are taken for a slip, at most {MOST_STEPS:,} are modelled"
        yield Broken(("steps_min",), what, "take longer steps, or fewer")
    horizon = sum(group.count * group.length for group in steps_min) / 60
    if horizon > MOST_HOURS:
        what = f"an event of {horizon:,.6g} h is taken for a slip, at most {MOST_HOURS:g} h are modelled"
        yield Broken(("steps_min",), what, "lengths are minutes")


def _whole_seconds(events: Events, steps_min: tuple[StepGroup, ...]) -> Iterator[Broken]:
    """Events are generated second by second; those of a file may have any steps."""
    for place, group in enumerate(steps_min):
        seconds = group.length * 60
        if events.file is None and (abs(seconds - round(seconds)) > 1e-6 or round(seconds) < 1):
            what = f"{seconds:.6g} s is not a whole second, in which events are generated"
            yield Broken(("steps_min", place, "length"), what, "choose steps of whole seconds")


def _size(
    data_centres: tuple[DataCentre, ...],
    plants: tuple[Plant, ...],
    events: Events,
    steps_min: tuple[StepGroup, ...],
) -> Iterator[Broken]:
    nodes = len({centre.bus for centre in data_centres} | {plant.bus for plant in plants})
    steps = sum(group.count for group in steps_min)
    cells = events.scenarios * steps * nodes
    told = steps > MOST_STEPS or events.scenarios > MOST_SCENARIOS
    if events.file is None and cells > MOST_CELLS and not told:
        what = (
            f"{events.scenarios:,} events of {steps:,} steps at {nodes} nodes or more are {cells:,} figures, in arrays "
            f"of {cells * 8 / 1e9:,.1f} GB, at most {MOST_CELLS:,} are taken"
        )
        yield Broken(("events", "scenarios"), what, "generate fewer, or reduce them with drofcm scenarios --reduce")


def _horizon(nodes: Nodes, steps_min: tuple[StepGroup, ...]) -> Iterator[Broken]:
    if not steps_min:
        return
    horizon = sum(group.count * group.length for group in steps_min) / 60
    last = horizon - steps_min[-1].length / 60
    if nodes.stabilise_within_h > last + 1e-9:
        yield Broken(
            ("nodes", "stabilise_within_h"),
            f"{nodes.stabilise_within_h:g} h is beyond the horizon: steps_min end at {horizon:g} h and no step starts "
            "at or after it, so nothing would say whether a node is stable",
            "add steps or lower stabilise_within_h",
        )


def _one_per_bus(data_centres: tuple[DataCentre, ...]) -> Iterator[Broken]:
    if not data_centres:
        yield Broken(("data_centres",), "lists no data centre", "list at least one: {bus: ..., rating_mw: ...}")
    seen: set[str] = set()
    for place, centre in enumerate(data_centres):
        if centre.bus in seen:
            yield Broken(("data_centres", place, "bus"), f"bus {quoted(centre.bus)} is given twice", "merge them")
        seen.add(centre.bus)


_ACROSS: Final[tuple[tuple[tuple[str, ...], Callable[..., Iterator[Broken]]], ...]] = (
    (("steps_min",), _steps),
    (("events", "steps_min"), _whole_seconds),
    (("data_centres", "plants", "events", "steps_min"), _size),
    (("nodes", "steps_min"), _horizon),
    (("data_centres",), _one_per_bus),
)


def _across(sections: dict[str, Any]) -> Iterator[Broken]:
    for names, rule in _ACROSS:
        if all(name in sections for name in names):
            yield from rule(*(sections[name] for name in names))


@dataclass(frozen=True)
class StudyText:
    """A study file as it was read.

    Attributes
    ----------
    study
        What it says, if every key by itself is in order: what it names can be looked up even where rules between keys
        are broken. None otherwise.
    findings
        Every fault of the file, in its order.
    where
        Says where a key stands: ``study.yaml:5:3: solver.mip_gap``.
    """

    study: StudyFile | None
    findings: tuple[Finding, ...]
    where: Callable[[Sequence[str | int]], str]


def read_study(path: Path | str) -> StudyText:
    """Read a study file without raising what is wrong with its keys.

    Raises
    ------
    InputError
        If it cannot be read or is no YAML mapping.
    """
    document = Document.read(Path(path))
    told = {finding.where for finding in document.findings}
    try:
        study = StudyFile.model_validate(document.values)
    except ValidationError as error:
        broken = [fault for details in error.errors() for fault in _faults(details)]
        broken += [rule for rule in _across(_valid_sections(document.values)) if rule not in broken]
        broken.sort(key=lambda fault: document.position(fault.loc))
        found = [Finding(document.where(loc), what, fix) for loc, what, fix in broken]
        findings = [*document.findings, *(finding for finding in found if finding.where not in told)]
        try:
            lenient = StudyFile.model_validate(document.values, context=UNRULED)
        except ValidationError:  # told above
            return StudyText(None, tuple(findings), document.where)
        within_reach = sum(group.count for group in lenient.steps_min) <= MOST_STEPS
        return StudyText(lenient if within_reach else None, tuple(findings), document.where)
    return StudyText(study, document.findings, document.where)


def load_study(path: Path | str) -> StudyFile:
    """Read and check a study file.

    Parameters
    ----------
    path
        A YAML 1.2 file.

    Raises
    ------
    InputError
        With every fault of the file as ``study.yaml:5:3: solver.mip_gpa: unknown key (did you mean 'mip_gap'?)``:
        syntax, duplicate keys, unknown keys, missing keys, wrong types, values out of range, rules between keys.
    """
    read = read_study(path)
    raise_if_any(read.findings)
    assert read.study is not None  # without a study there is a finding
    return read.study


def _valid_sections(values: dict[str, Any]) -> dict[str, Any]:
    """The sections that are in order by themselves, so that the rules between them can still be checked."""
    sections = {}
    for name, field in StudyFile.model_fields.items():
        if name in values:
            # a faulty section has been reported already
            with contextlib.suppress(ValidationError):
                sections[name] = _adapter(name).validate_python(values[name])
        elif not field.is_required():
            sections[name] = field.get_default()
    return sections


@cache
def _adapter(name: str) -> TypeAdapter[Any]:
    field = StudyFile.model_fields[name]
    annotation: Any = Annotated[field.annotation, field]
    return TypeAdapter(annotation)


def _faults(details: ErrorDetails) -> Iterator[Broken]:
    """What one finding of pydantic means in the words of this file."""
    tagged = details["loc"]
    loc = tuple(part for place, part in enumerate(tagged) if not _is_tag(tagged, place))
    if details["type"] == "rules":
        yield from (Broken((*loc, *rule.loc), rule.what, rule.fix) for rule in details["ctx"]["broken"])
    elif details["type"] == "extra_forbidden":
        yield Broken(loc, "unknown key", suggest(str(loc[-1]), _keys_at(tagged[:-1])))
    elif details["type"] in ("union_tag_invalid", "union_tag_not_found"):
        kinds = list(KINDS) if loc == ("ambiguity",) else [kind for kind in KINDS if kind in POLYHEDRAL]
        given = details["ctx"].get("tag")
        if given is None:
            yield Broken(loc, "the key kind is missing", f"one of {', '.join(kinds)}")
        else:
            yield Broken((*loc, "kind"), f"{quoted(given)} is no kind of ambiguity set", suggest(str(given), kinds))
    elif details["type"] == "missing":
        yield Broken(loc, "missing", "the key has no default")
    else:
        must = re.sub(r"^(Input|String) should ", "must ", details["msg"]).replace("valid tuple", "list")
        slip = details["type"] == "less_than_equal" and details["ctx"]["le"] > 1
        yield Broken(loc, f"{must}, got {quoted(details['input'])}", "is it in the unit of the key?" if slip else "")


def _is_tag(loc: Location, place: int) -> bool:
    """Whether a part of pydantic's path names the kind of an ambiguity set, which is no level of the file."""
    before = loc[:place]
    return loc[place] in KINDS and (before == ("ambiguity",) or before[-2:-1] == ("sets",))


def _keys_at(loc: Location) -> list[str]:
    """The keys that the section at ``loc`` may have."""
    section: Any = StudyFile
    for place, part in enumerate(loc):
        if _is_tag(loc, place):
            section = KINDS[str(part)]
        elif isinstance(part, str):
            section = _section_of(section.model_fields[part].annotation)
    return list(section.model_fields)


def _section_of(annotation: Any) -> Any:
    """The section type inside ``tuple[Section, ...]`` and the like."""
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return annotation
    return next((found for part in get_args(annotation) if (found := _section_of(part)) is not None), None)


def changed(study: StudyFile, **changes: Any) -> StudyFile:
    """A study with other values, checked as if its file said so.

    Parameters
    ----------
    study
        The study file.
    **changes
        New values of its keys; mappings change the keys they name and leave the rest of a section as it is.

    Raises
    ------
    InputError
        With every value that is refused, as ``solver.mip_gap: must be less than 1, got 2.0``.
    """
    values = study.model_dump(exclude_unset=True)
    for key, value in changes.items():
        values[key] = {**values.get(key, {}), **value} if isinstance(value, Mapping) else value
    try:
        return StudyFile.model_validate(values)
    except ValidationError as error:
        broken = [fault for details in error.errors() for fault in _faults(details)]
        raise InputError([Finding(".".join(map(str, loc)), what, fix) for loc, what, fix in broken]) from None


def resolved(study: StudyFile) -> dict[str, Any]:
    """Every key of the study with its value, defaults included, as plain types that YAML and JSON can hold."""
    values = study.model_dump(mode="json")
    for key in study.events.without_effect:  # load_study refuses them
        del values["events"][key]
    for key in study.nodes.without_effect:
        del values["nodes"][key]
    area = study.area
    for key, used in {
        "detour": area.roads is None,
        "road_speed_km_h": area.roads is None,
        "snap_limit_m": area.roads is not None,
        "closed_h": area.roads is not None and area.hazards is not None,
    }.items():
        if not used:
            del values["area"][key]
    return values


def json_schema() -> dict[str, Any]:
    """The JSON schema of study files, for completion and checks in editors."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **StudyFile.model_json_schema()}
