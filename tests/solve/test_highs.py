"""Linear programs that stay in memory, and what is done when HiGHS gives one up."""

from __future__ import annotations

import highspy
import numpy as np
import pytest
import scipy.sparse as sp

from drofcm.core.errors import SolveError
from drofcm.solve.highs import LinearProgram, MatrixProblem


def largest_sum() -> LinearProgram:
    """max x + y subject to x + 2y <= 4, 3x + y <= 6, both at least 0: 2.8 at (1.6, 1.2)."""
    return LinearProgram(
        MatrixProblem(
            cost=np.array([-1.0, -1.0]),
            constant=0.0,
            rows=sp.csr_array(np.array([[1.0, 2.0], [3.0, 1.0]])),
            row_lower=np.full(2, -np.inf),
            row_upper=np.array([4.0, 6.0]),
            lower=np.zeros(2),
            upper=np.full(2, np.inf),
            integer=np.zeros(2, dtype=bool),
        )
    )


@pytest.mark.parametrize("failures", range(5))
def test_program_that_is_given_up_is_solved_from_scratch_in_other_ways(
    failures: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, str]] = []
    run = LinearProgram._run

    def giving_up(self: LinearProgram) -> highspy.HighsModelStatus:
        asked.append(tuple(self._highs.getOptionValue(name)[1] for name in ("presolve", "solver")))
        status = run(self)
        return highspy.HighsModelStatus.kUnknown if len(asked) <= failures else status

    program = largest_sum()
    monkeypatch.setattr(LinearProgram, "_run", giving_up)
    if failures == 4:
        with pytest.raises(SolveError, match="HiGHS stopped with"):
            program.solve()
        return
    outcome = program.solve()
    assert outcome.status == "optimal"
    assert outcome.objective == pytest.approx(-2.8)
    assert outcome.x == pytest.approx([1.6, 1.2])
    assert outcome.dual == pytest.approx([-0.4, -0.2])
    ways = [("choose", "choose"), ("off", "choose"), ("on", "choose"), ("choose", "ipm")]
    assert asked == ways[: failures + 1]
    # and the usual way is the usual one again
    asked.clear()
    program.set_row_bounds(np.full(2, -np.inf), np.array([8.0, 12.0]))
    monkeypatch.setattr(LinearProgram, "_run", run)
    assert program.solve().objective == pytest.approx(-5.6)
    assert program._highs.getOptionValue("presolve")[1] == "choose"
    assert program._highs.getOptionValue("solver")[1] == "choose"
