"""The tender: what scenarios see of the first stage.

Columns of the first stage that enter every scenario alike (one module at a hub, whichever supplier it came from) reach
it as their sum only. As a column of its own the sum can be branched on, it stands in the rows once instead of once for
each of its parts, and multipliers of the Lagrangian dual are sought for the sums instead of for the parts.

References
----------
Ahmed, S., Tawarmalani, M. and Sahinidis, N. V. (2004). A finite branch-and-bound algorithm for two-stage stochastic
integer programs. Mathematical Programming 100: 355-377.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from drofcm.blocks.form import FirstStage, LabelledMap, Scenario, TwoStageBlocks

__all__ = ["Tender", "with_tender"]

Vector = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Tender:
    """A program whose scenarios see sums of the first stage's columns.

    Attributes
    ----------
    blocks
        The program; behind the columns of its first stage stand the sums, and behind its rows what defines them.
    sums
        The sums, (sums x columns as they were).
    """

    blocks: TwoStageBlocks
    sums: sp.csr_array

    def lift(self, x: Vector) -> Vector:
        """A first stage with its sums."""
        return np.concatenate([x, self.sums @ x])

    def settled(self, x: Vector) -> Vector:
        """The same first stage with its sums computed anew: a solver's are right to its tolerance only."""
        return self.lift(x[: self.sums.shape[1]])


def with_tender(blocks: TwoStageBlocks) -> Tender:
    """Give columns of the first stage that enter every scenario alike a sum that enters in their place.

    The program stays the same: optimum, plans, names and labels.
    """
    n = len(blocks.first_stage.cost)
    groups = _alike(blocks.scenarios)
    count = len(groups)
    members = np.array([column for group in groups for column in group], dtype=np.int64)
    row = np.repeat(np.arange(count), [len(group) for group in groups])
    sums = sp.csr_array((np.ones(len(members)), (row, members)), shape=(count, n))
    if not count:
        return Tender(blocks, sums)
    # the first of a group stands for all of it
    first = np.array([group[0] for group in groups], dtype=np.int64)
    hidden = np.ones(n)
    hidden[members] = 0
    seen = sp.csr_array(
        sp.hstack([sp.diags_array(hidden), sp.csr_array((np.ones(count), (first, np.arange(count))), shape=(n, count))])
    )
    moved: dict[int, sp.csr_array] = {}
    scenarios = tuple(_seen(own, seen, moved) for own in blocks.scenarios)
    variables = {
        name: at if name in blocks.first_stage_names else at.copy(data=np.where(at.values < 0, -1, at.values + count))
        for name, at in blocks.variables.items()
    }
    widened = replace(
        blocks,
        first_stage=_with_sums(blocks.first_stage, sums),
        scenarios=scenarios,
        variables=variables,
        terms={name: _widened(term, n, count) for name, term in blocks.terms.items()},
    )
    return Tender(widened, sums)


def _alike(scenarios: Sequence[Scenario]) -> list[list[int]]:
    """Groups of two columns and more that enter every scenario with the same coefficients, at least one not zero."""
    distinct = {id(own.technology): own.technology for own in scenarios}
    charged = {own.first_stage_cost.tobytes(): own.first_stage_cost for own in scenarios}
    entering = sp.csc_array(sp.vstack([*distinct.values(), sp.csr_array(np.array(list(charged.values())))]))
    entering.eliminate_zeros()
    entering.sort_indices()
    groups: dict[tuple[bytes, bytes], list[int]] = defaultdict(list)
    for column in range(entering.shape[1]):
        part = slice(entering.indptr[column], entering.indptr[column + 1])
        if part.stop > part.start:
            groups[entering.indices[part].tobytes(), entering.data[part].tobytes()].append(column)
    return [group for group in groups.values() if len(group) > 1]


def _seen(own: Scenario, seen: sp.csr_array, moved: dict[int, sp.csr_array]) -> Scenario:
    """A scenario behind the sums; a technology that scenarios share stays shared."""
    key = id(own.technology)
    if key not in moved:
        moved[key] = sp.csr_array(own.technology @ seen)
    return replace(own, technology=moved[key], first_stage_cost=own.first_stage_cost @ seen)


def _with_sums(first: FirstStage, sums: sp.csr_array) -> FirstStage:
    count = sums.shape[0]
    rows = [
        [first.rows, sp.csr_array((len(first.row_lower), count))],
        [sums, sp.csr_array(-sp.eye_array(count))],
    ]
    zero = np.zeros(count)
    whole = sums @ (~first.integer).astype(float) == 0
    return FirstStage(
        cost=np.concatenate([first.cost, zero]),
        constant=first.constant,
        rows=sp.csr_array(sp.vstack([sp.hstack(pair) for pair in rows])),
        row_lower=np.concatenate([first.row_lower, zero]),
        row_upper=np.concatenate([first.row_upper, zero]),
        lower=np.concatenate([first.lower, sums @ first.lower]),
        upper=np.concatenate([first.upper, sums @ first.upper]),
        integer=np.concatenate([first.integer, whole]),
    )


def _widened(term: LabelledMap, n: int, count: int) -> LabelledMap:
    matrix = term.matrix
    between = sp.csr_array((matrix.shape[0], count))
    return replace(term, matrix=sp.csr_array(sp.hstack([matrix[:, :n], between, matrix[:, n:]])))
