"""SMPS files (.cor, .tim, .sto) as `TwoStageBlocks`.

Each file has its reader: `smps_core`, `smps_stages` (the time file) and `smps_stochastic`, on the lines of
`smps_records`. Here their answers become matrices, and scenarios with equal matrices or vectors share them.

Sources: J.R. Birge, M.A.H. Dempster, H.I. Gassmann, E.A. Gunn, A.J. King, S.W. Wallace, "A standard input format for
multiperiod stochastic linear programs", COAL Newsletter 17 (1987); H.I. Gassmann, B. Kristjansson, "The SMPS format
explained", IMA Journal of Management Mathematics 19 (2008). What the sources leave open is decided in these modules
and stated in the docstring of `read_smps`; what a file leaves open is refused, or decided and stated in the notes of
the result.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar, get_args

import numpy as np
import scipy.sparse as sp
import xarray as xr

from drofcm.blocks.form import FirstStage, Scenario, TwoStageBlocks, Vector
from drofcm.blocks.smps_core import Core
from drofcm.blocks.smps_records import Layout, Log
from drofcm.blocks.smps_stages import Periods, Stages, column_bounds, row_bounds
from drofcm.blocks.smps_stochastic import Changes, Element, Reading, Stochastics
from drofcm.core.dims import SCENARIO
from drofcm.core.errors import Finding, InputError, shorten
from drofcm.core.reading import file_fault

__all__ = ["Layout", "Reading", "read_smps"]

T = TypeVar("T")

_SUFFIXES = {"core": (".cor", ".core", ".mps"), "time": (".tim", ".time"), "stochastic": (".sto", ".stoch")}


def read_smps(
    stem: str | Path | None = None,
    *,
    core: str | Path | None = None,
    time: str | Path | None = None,
    stochastic: str | Path | None = None,
    reading: Reading = "standard",
    layout: Layout = "auto",
    max_scenarios: int = 100_000,
) -> TwoStageBlocks:
    """Read a two-stage stochastic program from its three SMPS files.

    Parameters
    ----------
    stem
        Common path of the files without suffix (``folder/lands``), or one of the files.
    core, time, stochastic
        Path of a file that does not follow the stem.
    reading
        What a block of the stochastic file starts from. ``"standard"``: a scenario (``SC``) inherits from its parent,
        a later realisation of a block (``BL``) from the first one listed. ``"core"``: each changes the core file.
    layout
        ``"fixed"`` fields (names may hold spaces) or ``"free"`` (separated by blanks). ``"auto"`` takes, file by
        file, the free one unless only the fixed one fits.
    max_scenarios
        Largest product of independent realisations that is formed.

    Returns
    -------
    TwoStageBlocks
        Variables ``x`` (column), the first stage, and ``y`` (scenario, recourse_column), labelled by the columns of
        the core file; no recorded terms. Scenarios are numbered in the order of the file, or of the product of all
        INDEP elements and BLOCKS, the last varying fastest. Scenarios with equal matrices or vectors share them.
        ``probability.attrs`` states ``sense`` (``"max"``: costs were negated), ``reading`` and ``notes``: every
        decision that the files left open.

    Raises
    ------
    InputError
        With every fault found, each with file and line.

    Notes
    -----
    Objective constant: minus the right-hand side of the objective. A random cost of a first-stage column, or a random
    constant, enters the recourse cost as its difference from the core. A negative UP without a lower bound drops the
    lower bound; an integer column between markers without any bound is binary (both as CPLEX reads them). Objective:
    the first N row; further N rows are ignored. Not supported, hence refused: more than two periods, distributions
    other than DISCRETE, modifications other than REPLACE, semi-continuous columns, several sets of RHS, RANGES or
    BOUNDS, sections other than those of linear two-stage programs. A right-hand side, range or bound given again with
    the same value is accepted, every other duplicate refused.
    """
    for name, value, legal in (("reading", reading, get_args(Reading)), ("layout", layout, get_args(Layout))):
        if value not in legal:
            raise InputError([Finding(name, f"unknown {name} {value!r}", f"one of {', '.join(legal)}")])
    log = Log()
    paths = _locate(stem, {"core": core, "time": time, "stochastic": stochastic}, log)
    log.stop()
    the_core = Core(paths["core"], layout, log)
    log.stop()
    periods = Periods(paths["time"], layout, the_core, log)
    log.stop()
    stages = Stages(the_core, periods, log)
    stochastics = Stochastics(paths["stochastic"], layout, reading, stages, log)
    scenarios = stochastics.scenarios(max_scenarios)
    log.stop()
    return _assemble(stages, stochastics, scenarios, paths)


def _locate(stem: str | Path | None, given: Mapping[str, str | Path | None], log: Log) -> dict[str, Path]:
    suffixes = [suffix for group in _SUFFIXES.values() for suffix in group]
    base = None if stem is None else Path(stem)
    if base is not None and base.suffix.lower() in suffixes:
        base = base.with_suffix("")
    if base is not None and (not base.name or base.name == ".."):
        log.error(str(stem), "is a folder, give the stem of the files")
        return {}
    paths = {}
    for kind, value in given.items():
        if value is not None:
            tried = [Path(value)]
        elif base is not None:
            tried = [base.with_name(base.name + end) for suffix in _SUFFIXES[kind] for end in (suffix, suffix.upper())]
        else:
            log.error(kind, f"no path of the {kind} file", f"pass a stem, or {kind}=")
            continue
        faults = [file_fault(path) for path in tried]
        found = [path for path, fault in zip(tried, faults, strict=True) if fault is None]
        # a name that is there and cannot be read is what is meant
        there = [fault for fault in faults if fault is not None and not fault.what.endswith("no such file")]
        if found:
            paths[kind] = found[0]
        elif there:
            log.findings.append(there[0])
        elif base is not None and value is None and base.is_dir():
            log.error(str(stem), f"is a folder, and no {kind} file stands beside it", "give the stem of the files")
        else:
            log.error(str(tried[0]), f"no such {kind} file", f"pass {kind}= (--{kind}) if it has another name")
    return paths


class _Pattern:
    """A matrix whose scenarios differ in the values of some entries only, so that they share its pattern."""

    def __init__(self, entries: Mapping[tuple[int, int], float], shape: tuple[int, int], changing: set[int]) -> None:
        values = {row * shape[1] + column: value for (row, column), value in entries.items()}
        self.keys = np.array(sorted(values.keys() | changing), dtype=np.int64)
        self.shape = shape
        data = np.array([values.get(key, 0.0) for key in self.keys.tolist()], dtype=float)
        columns = self.keys % shape[1] if shape[1] else self.keys
        rows = self.keys // shape[1] if shape[1] else self.keys
        start = np.searchsorted(rows, np.arange(shape[0] + 1))
        self.base = sp.csr_array((data, columns, start), shape=shape)

    def at(self, changes: Mapping[int, float]) -> sp.csr_array:
        data = self.base.data
        if changes:
            data = data.copy()
            data[np.searchsorted(self.keys, list(changes))] = list(changes.values())
        matrix = sp.csr_array((data, self.base.indices, self.base.indptr), shape=self.shape)
        if not data.all():
            matrix = matrix.copy()
            matrix.eliminate_zeros()
        return matrix


class _Recourse:
    """Matrices of the recourse scenario by scenario; equal parts are the same object."""

    def __init__(self, stages: Stages, changing: Iterable[Element]) -> None:
        self.stages = stages
        core = stages.core
        sizes = {"technology": len(stages.names[0]), "recourse": len(stages.names[1])}
        rows = int(stages.periods.second_row.sum())
        elements = set(changing)
        self.patterns = {
            name: _Pattern(
                stages.matrix(second_row=True, second_column=name == "recourse"),
                (rows, sizes[name]),
                {at for kind, at in elements if kind == name},
            )
            for name in sizes
        }
        self.given = {
            "rhs": stages.rows(core.rhs, second=True),
            "ranges": stages.rows(core.ranges, second=True),
            "lower": stages.columns(core.lower, second=True),
            "upper": stages.columns(core.upper, second=True),
            "cost": stages.cost(second=True),
            "first_stage_cost": stages.cost(second=False),
        }
        self.senses, self.integer = stages.senses(second=True), stages.integer(second=True)
        self._parts: dict[tuple[object, ...], object] = {}

    def scenario(self, changes: Changes) -> Scenario:
        by_kind: dict[str, dict[int, float]] = {}
        for (kind, at), value in changes.items():
            by_kind.setdefault(kind, {})[at] = value
        row_lower, row_upper = self._shared(by_kind, ("rhs", "ranges"), self._row_bounds)
        lower, upper = self._shared(by_kind, ("lower", "upper"), self._column_bounds)
        core = self.stages.core
        constant = by_kind.get("constant", {}).get(0)
        return Scenario(
            cost=self._shared(by_kind, ("cost",), self._cost),
            first_stage_cost=self._shared(by_kind, ("first_stage_cost",), self._first_stage_cost),
            constant=0.0 if constant is None else self.stages.sign * (core.rhs.get(-1, 0.0) - constant),
            technology=self._shared(by_kind, ("technology",), self.patterns["technology"].at),
            recourse=self._shared(by_kind, ("recourse",), self.patterns["recourse"].at),
            row_lower=row_lower,
            row_upper=row_upper,
            lower=lower,
            upper=upper,
            integer=self.integer,
        )

    def _shared(self, by_kind: Mapping[str, Mapping[int, float]], kinds: Sequence[str], build: Callable[..., T]) -> T:
        parts = [by_kind.get(kind, {}) for kind in kinds]
        key = (*kinds, *(tuple(sorted(part.items())) for part in parts))
        if key not in self._parts:
            self._parts[key] = build(*parts)
        return self._parts[key]  # type: ignore[return-value]  # the key names the builder

    def _changed(self, kind: str, changes: Mapping[int, float], sign: float = 1.0) -> Vector:
        vector = self.given[kind].copy()
        vector[list(changes)] = [sign * value for value in changes.values()]
        return vector

    def _row_bounds(self, rhs: Mapping[int, float], ranges: Mapping[int, float]) -> tuple[Vector, Vector]:
        return row_bounds(self.senses, self._changed("rhs", rhs), self._changed("ranges", ranges))

    def _column_bounds(self, lower: Mapping[int, float], upper: Mapping[int, float]) -> tuple[Vector, Vector]:
        given = self._changed("lower", lower), self._changed("upper", upper)
        names = self.stages.names[1]
        self.stages.dropped.update(names[np.isnan(given[0]) & (given[1] < 0)])
        return column_bounds(*given)

    def _cost(self, changes: Mapping[int, float]) -> Vector:
        return self._changed("cost", changes, self.stages.sign)

    def _first_stage_cost(self, changes: Mapping[int, float]) -> Vector:
        return self._changed("first_stage_cost", changes, self.stages.sign) - self.given["first_stage_cost"]


def _assemble(
    stages: Stages, stochastics: Stochastics, scenarios: Sequence[tuple[float, Changes]], paths: Mapping[str, Path]
) -> TwoStageBlocks:
    log = stages.log
    recourse = _Recourse(stages, (element for element, _ in stochastics.where))
    built = tuple(recourse.scenario(changes) for _, changes in scenarios)
    _check_bounds(stages, stochastics, scenarios, built)
    log.stop()
    if stages.dropped:
        named = shorten(sorted(stages.dropped))
        log.notes.append(f"a negative upper bound without a lower bound drops the lower bound: {named}")
    probability = np.array([weight for weight, _ in scenarios])
    first, second = (len(names) for names in stages.names)
    number = np.arange(len(built), dtype=np.int64)
    coords = {SCENARIO: number}
    positions = first + number[:, None] * second + np.arange(second)
    return TwoStageBlocks(
        first_stage=_first_stage(stages),
        scenarios=built,
        probability=xr.DataArray(
            probability,
            coords=coords,
            dims=SCENARIO,
            name="probability",
            attrs={
                "units": "1",
                "source": ", ".join(path.name for path in paths.values()),
                "sense": "max" if stages.core.maximise else "min",
                "reading": stochastics.reading,
                "notes": "; ".join(log.notes),
            },
        ),
        variables={
            "x": xr.DataArray(np.arange(first), coords={"column": stages.names[0]}, dims="column"),
            "y": xr.DataArray(
                positions, coords={**coords, "recourse_column": stages.names[1]}, dims=(SCENARIO, "recourse_column")
            ),
        },
        first_stage_names=("x",),
        terms={},
    )


def _first_stage(stages: Stages) -> FirstStage:
    core = stages.core
    row_lower, row_upper = row_bounds(
        stages.senses(second=False), stages.rows(core.rhs, second=False), stages.rows(core.ranges, second=False)
    )
    lower, upper = column_bounds(stages.columns(core.lower, second=False), stages.columns(core.upper, second=False))
    shape = (len(row_lower), len(lower))
    return FirstStage(
        cost=stages.cost(second=False),
        constant=-stages.sign * core.rhs.get(-1, 0.0),
        rows=_Pattern(stages.matrix(second_row=False, second_column=False), shape, set()).at({}),
        row_lower=row_lower,
        row_upper=row_upper,
        lower=lower,
        upper=upper,
        integer=stages.integer(second=False),
    )


def _check_bounds(
    stages: Stages,
    stochastics: Stochastics,
    scenarios: Sequence[tuple[float, Changes]],
    built: Sequence[Scenario],
) -> None:
    """Random bounds that cross; those of the core file were checked before."""
    seen: set[int] = set()
    for number, (scenario, (_, changes)) in enumerate(zip(built, scenarios, strict=True)):
        if id(scenario.lower) in seen:
            continue
        seen.add(id(scenario.lower))
        for at in np.flatnonzero(scenario.lower > scenario.upper).tolist():
            side = ("upper", at) if ("upper", at) in changes else ("lower", at)
            bounds = f"lower bound {scenario.lower[at]:g} above upper {scenario.upper[at]:g}"
            what = f"column '{stages.names[1][at]}': {bounds} in scenario {number}"
            stages.log.error(stochastics.where[side, changes[side]], what)
