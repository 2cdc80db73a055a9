"""`TwoStageProgram`: a planning problem declared once, solved in many ways."""

from __future__ import annotations

import copy
import gc
import inspect
import logging
import math
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import linopy
import numpy as np
import pandas as pd
import xarray as xr
from linopy.expressions import LinearExpression

from drofcm.blocks.extract import extract
from drofcm.blocks.form import TwoStageBlocks
from drofcm.blocks.join import join
from drofcm.blocks.select import select
from drofcm.core.dims import SCENARIO
from drofcm.core.errors import DrofcmError, InfeasibleError, ModelError, labels_of
from drofcm.dsl.guard import StageModel, v1_semantics, watched
from drofcm.dsl.hints import PROBABILITY, hint, place, unexpected
from drofcm.dsl.names import checked_data
from drofcm.dsl.preference import Preference, assembled
from drofcm.dsl.sound import check_model
from drofcm.dsl.stage import Kind, Stage
from drofcm.risk.ambiguity import AmbiguitySet, Nominal, bind
from drofcm.risk.measures import Expectation, RiskMeasure, as_sum
from drofcm.risk.reformulate import risk_expression
from drofcm.risk.weights import check_probability
from drofcm.solve.cluster import wait_for_worker
from drofcm.solve.extensive import infeasibility_listing
from drofcm.solve.method import Method, evaluate_blocks, solve_blocks
from drofcm.solve.preference import Wanted, as_it_came
from drofcm.solve.preference import preferred as choose_preferred
from drofcm.solve.progress import Progress
from drofcm.solve.result import Result
from drofcm.solve.spread import spread

__all__ = ["TwoStageProgram", "solve"]

_CHUNK = 200
"""Scenarios that are assembled at a time: beyond, memory grows and time per scenario does not fall."""

_LEAST_CHUNK = 40
"""Scenarios for which another worker pays: the fixed time of a chunk is that of about a hundred scenarios."""

_ROUNDING = 1e-9
"""By which weights may miss one."""

_SETTINGS = frozenset(inspect.signature(solve_blocks).parameters)

StageFunction = Callable[[Stage, xr.Dataset], Any]


@dataclass(frozen=True)
class _Declared:
    """Both stages in one model, before risk and objective."""

    model: StageModel
    first_stage_names: tuple[str, ...]
    first_stage_cost: LinearExpression
    recourse_cost: LinearExpression
    terms: dict[str, LinearExpression]


class TwoStageProgram:
    """A two-stage stochastic program, declared stage by stage on labelled data.

    Parameters
    ----------
    data
        Labelled data. What has the ``scenario`` dimension is uncertain. The optional variable ``probability``
        (scenario) holds the nominal probabilities; without it all scenarios are equally likely.
    first_stage, recourse
        The stage functions, each ``function(stage, data) -> cost``; they may also be given later by decoration. They
        are called once per set of scenarios and must be pure. The first receives the data without anything that has
        the scenario dimension and returns a scalar; the second returns one cost per scenario. Functions at module
        level can be sent to other processes; a nested function would take all data along.
    preference
        What tells apart recourses of the same cost, ``function(stage, data) -> expressions``; see `preference`.

    Raises
    ------
    ModelError
        If the data have no labelled ``scenario`` dimension, or the probabilities are no distribution.

    Examples
    --------
    >>> import drofcm as dro
    >>> import xarray as xr
    >>> data = xr.Dataset({"demand": ("scenario", [40.0, 60.0])}, coords={"scenario": [0, 1]})
    >>> program = dro.TwoStageProgram(data)
    >>> @program.first_stage
    ... def order(m, data):
    ...     return 3 * m.nonnegative("ordered")
    >>> @program.recourse
    ... def sell(m, data):
    ...     sold = m.nonnegative("sold", upper=data.demand)
    ...     m.subject_to("in_stock", sold <= m["ordered"])
    ...     return -5 * sold
    >>> round(program.solve().objective, 6)
    -80.0
    """

    def __init__(
        self,
        data: xr.Dataset,
        first_stage: StageFunction | None = None,
        recourse: StageFunction | None = None,
        preference: StageFunction | None = None,
    ) -> None:
        data = checked_data(data)
        count = data.sizes[SCENARIO]
        if "probability" not in data:
            data = data.assign(probability=(SCENARIO, np.full(count, 1 / count)))
        if data["probability"].dims != (SCENARIO,):
            raise ModelError(f"probability must have the dimension {SCENARIO!r} only, has {data['probability'].dims}")
        try:
            check_probability(data["probability"])
        except ValueError as error:
            raise ModelError(str(error)) from None
        self.data = data
        self._functions: dict[Kind, StageFunction | None] = {"first stage": first_stage, "recourse": recourse}
        self._preference = preference
        # what was assembled last, and from what: solving and evaluating want the same blocks
        self._assembled: tuple[tuple[Any, ...], TwoStageBlocks] | None = None
        self._wanted: tuple[tuple[Any, ...], list[Wanted]] | None = None

    def first_stage(self, function: StageFunction) -> StageFunction:
        """Decorator: what is decided before the event."""
        self._functions["first stage"] = function
        return function

    def recourse(self, function: StageFunction) -> StageFunction:
        """Decorator: what is decided after it, in every scenario."""
        self._functions["recourse"] = function
        return function

    def preference(self, function: StageFunction) -> StageFunction:
        """Decorator: which recourse is shown, of those that cost the same.

        The cheapest recourse is seldom the only one, and which of them a solver returns is chance: a store may pulse
        and rest beside load that stays dark, at equal cost. A preference names expressions that are to be as small as
        they can be, one after another: at the plan and the integers that were found, the first is minimised among all
        recourses of the same cost, the next among those that are left, and so on.

        It changes no plan, no cost and no bound, and neither `blocks` nor `extensive_form` knows of it. It is looked
        at where a recourse is shown (`solve`, `evaluate`), unless ``preferred=False``.

        Parameters
        ----------
        function
            ``function(stage, data)`` with the data of the recourse; ``stage["name"]`` is a variable of either stage. It
            returns one expression per scenario, or a list of them, the most important first. It may add continuous
            variables and rows, which say what is to be small: they appear in no result, and a row that no recourse
            of that cost satisfies leaves the recourse as it is.

        Raises
        ------
        ModelError
            When the program is solved or evaluated, before anything is searched for: if the function breaks a rule of
            the language, adds integers, changes a variable of the program, or returns nothing.

        Notes
        -----
        Where a recourse stays as it came from the solver, because its integers are whole by tolerance only, an
        expression has no least value, or its cost would change by more than 1e-9 of it, there is a `DrofcmWarning`, and
        ``Result.provenance["preference"]["kept"]`` has the reason and the scenarios.

        Examples
        --------
        A store of 2 MWh beside 3 MWh of load: when it delivers makes no difference to the cost. Asked to serve early,
        it does.

        >>> import drofcm as dro
        >>> import xarray as xr
        >>> data = xr.Dataset(
        ...     {"demand": (("scenario", "hour"), [[1.0, 1.0, 1.0]]), "stored": 2.0},
        ...     coords={"scenario": ["dark"], "hour": [0, 1, 2]},
        ... )
        >>> program = dro.TwoStageProgram(data)
        >>> @program.first_stage
        ... def build(m, data):
        ...     return 10 * m.binary("built")
        >>> @program.recourse
        ... def serve(m, data):
        ...     served = m.nonnegative("served", over="hour", upper=data.demand)
        ...     m.subject_to("energy", served.sum("hour") <= data.stored * m["built"])
        ...     return 100 * (data.demand - served).sum("hour")
        >>> @program.preference
        ... def early(m, data):
        ...     return (data.hour * m["served"]).sum("hour")
        >>> program.solve().recourse["served"].values.round(6).tolist()
        [[1.0, 1.0, 0.0]]
        """
        self._preference = function
        return function

    @property
    def probability(self) -> xr.DataArray:
        """Nominal probability, (scenario)."""
        return self.data["probability"].reset_coords(drop=True).astype(float)

    def extensive_form(self, risk: RiskMeasure | None = None, ambiguity: AmbiguitySet | None = None) -> linopy.Model:
        """The whole program as one `linopy.Model`: look at it, extend it, or hand it to any solver linopy knows.

        Parameters
        ----------
        risk
            Risk measure of the recourse cost; the expectation if left out.
        ambiguity
            Ambiguity set, bound to the data here; the nominal distribution if left out.

        Raises
        ------
        ModelError
            If a stage breaks a rule of the language, or the ambiguity set is a divergence ball, which has no finite
            rows (`solve` adds them as cuts).
        InputError
            If the ambiguity set does not fit the data; see `drofcm.bind`.
        """
        _warn_of_weights(risk)
        bound = self._bound(ambiguity)
        declared = self._declare()
        self._extract(declared)
        return self._with_risk(declared, risk or Expectation(), bound)

    def blocks(self, client: Any = None, chunk: int | None = None) -> TwoStageBlocks:
        """The program as canonical matrices with the way back to labels.

        Parameters
        ----------
        client
            A `dask.distributed.Client` on whose workers the chunks are assembled. The stage functions travel there, so
            they must stand at module level or be picklable otherwise.
        chunk
            Scenarios assembled at a time; None takes as many as keep the assembly small and the workers evenly busy.
            Blocks do not depend on it.

        Raises
        ------
        ModelError
            If a stage breaks a rule of the language, scenarios are coupled, or a stage function is not pure.
        SolveError
            If the cluster has no worker.
        """
        count = self.data.sizes[SCENARIO]
        if chunk is not None and chunk < 1:
            raise ValueError(f"chunk must be at least 1, got {chunk!r}")
        made_of = (self.data, *self._functions.values())
        if chunk is None and self._assembled is not None and _are(self._assembled[0], made_of):
            return self._assembled[1]
        size = chunk or _chunk_size(count, 1 if client is None else len(wait_for_worker(client)))
        parts = [self._part(slice(begin, begin + size)) for begin in range(0, count, size)]
        few = len(parts) == 1 and count < _LEAST_CHUNK
        assembled = _assembled if few else _assembled_and_forgotten
        joined = join(spread(assembled, parts, client, workers=1), self.probability)
        if chunk is None:
            self._assembled = (made_of, joined)
        return joined

    def solve(
        self,
        risk: RiskMeasure | None = None,
        ambiguity: AmbiguitySet | None = None,
        method: Method = "auto",
        gap: float = 1e-3,
        time_limit: float | None = None,
        iterations: int | None = None,
        client: Any = None,
        workers: int | None = None,
        checkpoint: Path | str | None = None,
        start: xr.Dataset | None = None,
        progress: Progress | None = None,
        preferred: bool = True,
        **unknown: Any,
    ) -> Result:
        """Find the plan that minimises first-stage cost plus the risk of the recourse cost.

        Parameters
        ----------
        risk
            Risk measure of the recourse cost; the expectation if left out.
        ambiguity
            Ambiguity set, bound to the data here; the nominal distribution if left out.
        method
            ``"extensive"``: one mixed-integer problem; ``"lshaped"``: decomposition by scenario; ``"auto"`` chooses by
            size and says why in ``provenance["method_chosen"]``.
        gap
            Relative gap at which the search may stop.
        time_limit
            Seconds; None for no limit. A search that hits it returns its best plan with valid bounds.
        iterations
            Iterations of the decomposition; None for no limit.
        client
            A `dask.distributed.Client` on which the decomposition solves scenarios; drofcm starts none itself.
        workers
            Without a client, the local processes that solve scenarios; 1 stays in this process, None takes as many as
            there are cores.
        checkpoint
            File that keeps what the decomposition has learnt; a search that finds it there goes on from it.
        start
            A plan to start from, labelled as `Result.first_stage`.
        progress
            Called while the search runs, with seconds, bounds and counts: a `drofcm.solve.progress.Standing`.
        preferred
            Whether the recourse that is shown is the one that the program's `preference` wants, if it has one; without,
            it is any of those that cost the same.

        Raises
        ------
        ModelError
            If a stage or the preference breaks a rule of the language.
        InfeasibleError
            If no plan exists; with the rows that contradict each other.
        SolveError
            If the program is unbounded, or a limit was hit before any plan was found.
        InputError
            If the checkpoint belongs to another problem, or the ambiguity set does not fit the data (see
            `drofcm.bind`).
        """
        if unknown:
            raise unexpected("solve", unknown)
        _warn_of_weights(risk)
        bound = self._bound(ambiguity)
        blocks = self.blocks(client)
        # before the search, so that a mistake in the preference costs no plan
        wanted = self._wishes(blocks, client) if preferred else []
        try:
            result = solve_blocks(
                blocks,
                risk,
                bound,
                method=method,
                gap=gap,
                time_limit=time_limit,
                iterations=iterations,
                client=client,
                workers=workers,
                checkpoint=checkpoint,
                start=start,
                progress=progress,
            )
        except InfeasibleError as error:
            # what judges the cost rules no plan out
            model = self._with_risk(self._declare(), Expectation(), Nominal())
            with _known_to_fail():
                listing = infeasibility_listing(model)
            raise InfeasibleError(str(error), listing) from None
        if not wanted:
            return result
        try:
            return choose_preferred(blocks, wanted, result, client, workers)
        except KeyboardInterrupt:
            # the plan is there and is not to be lost
            return as_it_came(result, wanted, "the choice was interrupted")

    def evaluate(
        self,
        plan: xr.Dataset,
        risk: RiskMeasure | None = None,
        ambiguity: AmbiguitySet | None = None,
        client: Any = None,
        workers: int | None = 1,
        preferred: bool = True,
    ) -> Result:
        """The cost of a given plan, with the recourse of every scenario solved with its integers.

        Parameters
        ----------
        plan
            Every variable of the first stage, labelled as declared.
        risk, ambiguity, client, workers, preferred
            As in `solve`.

        Raises
        ------
        ModelError
            If the plan's variables or labels do not match the program.
        InfeasibleError
            If the plan breaks a first-stage row, or a scenario has no recourse at it.
        """
        _warn_of_weights(risk)
        bound = self._bound(ambiguity)
        blocks = self.blocks(client)
        wanted = self._wishes(blocks, client) if preferred else []
        result = evaluate_blocks(blocks, plan, risk, bound, client=client, workers=workers)
        return choose_preferred(blocks, wanted, result, client, workers) if wanted else result

    def on(self, data: xr.Dataset) -> TwoStageProgram:
        """The same declaration on other data: fresh scenarios, for example."""
        return TwoStageProgram(data, self._functions["first stage"], self._functions["recourse"], self._preference)

    def select(self, scenarios: Sequence[Any]) -> TwoStageProgram:
        """The same program, given that one of these scenarios happens; what is assembled already is shared.

        Parameters
        ----------
        scenarios
            Labels, each once.

        Raises
        ------
        ModelError
            If a label is unknown or given twice, or none of the scenarios can happen.
        """
        index = self.data.indexes[SCENARIO]
        labels = list(scenarios)
        unknown = [label for label in labels if label not in index]
        if unknown or len(set(labels)) < len(labels):
            what = f"unknown {SCENARIO} {labels_of(unknown)}" if unknown else "a scenario is given twice"
            raise ModelError(f"select: {what}")
        positions = [int(place) for place in index.get_indexer(pd.Index(labels))]
        data = self.data.isel({SCENARIO: positions})
        total = float(data["probability"].sum())
        if not total > 0:
            raise ModelError(f"select: scenarios {labels_of(labels)} have no probability")
        part = self.on(data.assign(probability=(data["probability"] / total).assign_attrs(data["probability"].attrs)))
        if self._assembled is not None and _are(self._assembled[0], (self.data, *self._functions.values())):
            made_of = (part.data, *part._functions.values())
            part._assembled = (made_of, select(self._assembled[1], positions, part.probability))
        return part

    def _bound(self, ambiguity: AmbiguitySet | None) -> AmbiguitySet:
        """The ambiguity set with the figures of this program's data in it."""
        return bind(ambiguity or Nominal(), self.data)

    def _part(self, scenarios: slice) -> TwoStageProgram:
        """The same declaration on some of the scenarios; their probabilities no longer sum to one."""
        part = copy.copy(self)
        part._assembled = part._wanted = None
        part.data = self.data.isel({SCENARIO: scenarios})
        return part

    def _wishes(self, blocks: TwoStageBlocks, client: Any) -> list[Wanted]:
        """What the preference adds to each scenario; nothing where there is none."""
        if self._preference is None:
            return []
        made_of = (blocks, self._preference)
        if self._wanted is None or not _are(self._wanted[0], made_of):
            size = _chunk_size(len(blocks.scenarios), 1 if client is None else len(wait_for_worker(client)))
            parts = Preference.parts(self._preference, self.data, blocks, size)
            self._wanted = (made_of, [own for part in spread(assembled, parts, client, workers=1) for own in part])
        return self._wanted[1]

    def _assemble(self) -> TwoStageBlocks:
        return self._extract(self._declare())

    def _declare(self) -> _Declared:
        model = StageModel(frozenset(self.data.dims))
        certain = self.data.drop_dims(SCENARIO)
        first = self._run("first stage", Stage(model, certain, "first stage"), certain)
        names = tuple(str(name) for name in model.variables)
        rows = set(model.constraints)
        for name, row in model.constraints.items():
            if SCENARIO in row.coord_dims:
                raise ModelError(f"row {name!r} of the first stage has the scenario dimension")
        # how likely a scenario is changes nothing in it: the risk measure weighs its cost
        second = self._run("recourse", Stage(model, self.data, "recourse"), self.data.drop_vars(PROBABILITY))
        for name, variable in model.variables.items():
            if name not in names and SCENARIO not in variable.dims:
                raise ModelError(f"variable {name!r} of the recourse has no scenario dimension")
        for name, row in model.constraints.items():
            if name not in rows and SCENARIO not in row.coord_dims:
                raise ModelError(f"row {name!r} of the recourse has no scenario dimension")
        check_model(model, self.data)
        twice = sorted(first[1].keys() & second[1].keys())
        if twice:
            raise ModelError(f"term {twice[0]!r} is recorded in both stages")
        return _Declared(model, names, first[0], second[0], {**first[1], **second[1]})

    def _run(self, kind: Kind, stage: Stage, data: xr.Dataset) -> tuple[LinearExpression, dict[str, LinearExpression]]:
        function = self._functions[kind]
        if function is None:
            decorator = "first_stage" if kind == "first stage" else "recourse"
            raise ModelError(f"the program has no {kind}: decorate a function with @program.{decorator}")
        model = stage.model
        assert isinstance(model, StageModel)
        with watched(model):
            try:
                cost = function(stage, data)
            except DrofcmError:
                raise
            except (ValueError, KeyError, AttributeError, TypeError, IndexError, NotImplementedError) as error:
                told = hint(error, kind, self.data)
                raise ModelError(f"in the {kind}, {place(error, function)}: {error}{told}") from error
            return stage.cost(cost), stage.terms

    def _extract(self, declared: _Declared) -> TwoStageBlocks:
        return extract(
            declared.model,
            declared.first_stage_names,
            declared.first_stage_cost,
            declared.recourse_cost,
            declared.terms,
            self.probability,
        )

    def _with_risk(self, declared: _Declared, risk: RiskMeasure, ambiguity: AmbiguitySet) -> linopy.Model:
        model = declared.model
        as_sum(risk)
        with v1_semantics():
            recourse = risk_expression(model, risk, ambiguity, declared.recourse_cost, self.probability)
            objective = declared.first_stage_cost + recourse
            constant = float(objective.const)
            if constant != 0:
                # linopy refuses a constant in the objective; a variable that is one carries it
                one = model.add_variables(lower=1, upper=1, name="objective_constant")
                objective = objective - constant + constant * one
            model.add_objective(objective)
        return model


def _chunk_size(count: int, workers: int) -> int:
    """Scenarios to assemble at a time, so that no worker waits for another with a larger share."""
    chunks = math.ceil(count / _CHUNK)
    even = math.ceil(chunks / workers) * workers
    # every chunk costs a fixed time, so few scenarios are not shared out among many workers
    return math.ceil(count / max(chunks, min(even, count // _LEAST_CHUNK)))


def _are(some: tuple[Any, ...], others: tuple[Any, ...]) -> bool:
    """Whether the same objects stand in both."""
    return len(some) == len(others) and all(one is other for one, other in zip(some, others, strict=True))


def _assembled(part: TwoStageProgram) -> TwoStageBlocks:
    return part._assemble()


def _assembled_and_forgotten(part: TwoStageProgram) -> TwoStageBlocks:
    """The same, and the model goes: it and its variables refer to each other, a gigabyte that would stay for long."""
    try:
        return _assembled(part)
    finally:
        gc.collect()


def solve(problem: TwoStageProgram | TwoStageBlocks, **settings: Any) -> Result:
    """Solve a program, however it was made.

    Parameters
    ----------
    problem
        A program of the language, or matrices such as `read_smps` returns.
    **settings
        As `TwoStageProgram.solve`.
    """
    if isinstance(problem, TwoStageProgram):
        return problem.solve(**settings)
    if not isinstance(problem, TwoStageBlocks):
        raise ModelError(
            f"solve: a TwoStageProgram or TwoStageBlocks is needed, got {type(problem).__name__} (a linopy.Model has a "
            "solve() of its own)"
        )
    # matrices have no preference
    settings.pop("preferred", None)
    unknown = {name: value for name, value in settings.items() if name not in _SETTINGS}
    if unknown:
        raise unexpected("solve", unknown)
    _warn_of_weights(settings.get("risk"))
    return solve_blocks(problem, **settings)


def _warn_of_weights(risk: RiskMeasure | None) -> None:
    """Weights that do not sum to one are legal, and more often a slip."""
    total = as_sum(risk).total if risk is not None else 1.0
    if abs(total - 1) > _ROUNDING:
        what = f"weights of the risk measure sum to {total:g}: the recourse cost is counted that many times"
        warnings.warn(f"{what} (weights that sum to 1 keep it a cost)", UserWarning, stacklevel=3)


@contextmanager
def _known_to_fail() -> Iterator[None]:
    """A model is solved only to list the rows that contradict each other: linopy need not warn that it failed."""
    logger = logging.getLogger("linopy.constants")

    def others(record: logging.LogRecord) -> bool:
        return not record.getMessage().startswith("Optimization potentially failed")

    logger.addFilter(others)
    try:
        yield
    finally:
        logger.removeFilter(others)
