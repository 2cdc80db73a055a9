"""Every changed sign, comparison, step length, shift or arrival of the problem page is caught.

A mutant is caught when it raises, when the certificate of its solution fails or when its objective is not the
enumerated optimum. A handful of mutants runs by default, all of them with ``-m slow``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from types import ModuleType
from typing import Any

import pytest
import xarray as xr
from cases.enumeration import Enumeration
from cases.loader import BY_HAND, load_case
from cases.model import certificate, solve
from validate.mutants import DATA, PAGE, Mutant, load, mutants, unchanged

TIGHTENS = "the row follows from the others; without it the relaxation is weaker, the problem is the same"
WIDER_BOX = "rows are kept for a wider range of withdrawals, and a row that cannot be violated changes nothing"
EQUIVALENT: dict[str, str] = {
    "stabilise: sign: data.surge - data.stability_band  ->  data.surge + data.stability_band": (
        "a node that is not stabilised is let off further, but what is unserved never exceeds the surge"
    ),
    "stabilise: sign: data.surplus_limit - data.stability_band  ->  data.surplus_limit + data.stability_band": (
        "a node that is not stabilised is let off further, but what is unabsorbed never exceeds its bound"
    ),
    "stabilise: comparison: data.cover_surge > 0  ->  data.cover_surge <= 0": TIGHTENS,
    "stabilise: comparison: data.cover_drop > 0  ->  data.cover_drop <= 0": TIGHTENS,
    "bring_a_fleet: comparison: share.fillna(0).sum('alternative') - m['stabilised'] >= 0"
    "  ->  share.fillna(0).sum('alternative') - m['stabilised'] <= 0": TIGHTENS,
    "bring_a_fleet: sign: share.fillna(0).sum('alternative') - m['stabilised']"
    "  ->  share.fillna(0).sum('alternative') + m['stabilised']": TIGHTENS,
    "bring_a_fleet: sign: held - part  ->  held + part": TIGHTENS,
    "bring_a_fleet: comparison: data.minimal_fleet > 0  ->  data.minimal_fleet <= 0": TIGHTENS,
    "derive: sign: surge.max('time') + follow_limit  ->  surge.max('time') - follow_limit": (
        "what is unabsorbed beyond the drop and the surge is run by modules for nothing, and no optimum does that"
    ),
    "_withdrawal_box: sign: live * limit - data['cut_off_load']  ->  live * limit + data['cut_off_load']": WIDER_BOX,
    "_withdrawal_box: sign: -limit  ->  limit": (
        "by the balance, supply less what is unabsorbed is at least the drop and the power of the modules, negative; "
        "that is the bound the mutant has, closer than the one of the page"
    ),
}
"""Mutants that are no other problem, and why."""

EVERY = 100
"""One mutant in so many runs by default."""


@dataclass(frozen=True)
class Reference:
    """A case with its enumerated optimum."""

    data: xr.Dataset
    risk: dict[str, Any]
    objective: float


@cache
def enumeration(name: str) -> Enumeration:
    return Enumeration(load_case(name).data)


@cache
def reference(name: str, first_stage: tuple[tuple[str, Any], ...] = ()) -> Reference:
    case = load_case(name, **dict(first_stage))
    found = enumeration(name).with_first_stage_of(case.data).optimum(case.risk)
    return Reference(case.data, case.risk, found.objective)


@cache
def as_printed() -> Reference:
    """Modules are missed technology by technology."""
    case = load_case("missing_modules", usable=[[[1, 1], [0, 0]]], shortfall_by_technology=1)
    return Reference(case.data, case.risk, Enumeration(case.data).optimum(case.risk).objective)


def references(mutant: Mutant) -> Iterator[Reference]:
    """The cases on which a mutant is tried, the most telling first."""
    if mutant.function == "place_modules":
        yield reference("stress", (("hub_forced_out", (1.0, 0.0)),))
        yield reference("stress", (("budget", 2000.0),))
    if mutant.function == "shortfall":
        yield as_printed()
    for name in ("stress", "enumerated", *BY_HAND):
        yield reference(name)


def why_caught(page: ModuleType, case: Reference) -> str | None:
    """What gives the page away on this case; None if it solves the case as it should."""
    try:
        found, weights = solve(case.data, case.risk, page.program(case.data))
    except Exception as error:
        # whatever a changed page stumbles over gives it away; that the page as it is does not has a test of its own
        return type(error).__name__
    if found.objective != pytest.approx(case.objective, rel=1e-5):
        return f"objective {found.objective:.2f} instead of {case.objective:.2f}"
    judged = certificate(found, case.risk, weights)
    return None if judged.passed else str(judged)


def survives(mutant: Mutant) -> bool:
    page = load(mutant)
    return all(why_caught(page, case) is None for case in references(mutant))


def test_the_page_itself_is_not_caught() -> None:
    assert why_caught(unchanged(), reference("stress")) is None


def test_equivalent_mutants_exist() -> None:
    """A reason whose mutant is gone with a change of the page must go too."""
    assert set(EQUIVALENT) <= {str(mutant) for module in (PAGE, DATA) for mutant in mutants(module)}


def _check(chosen: list[Mutant]) -> None:
    survivors = [str(mutant) for mutant in chosen if str(mutant) not in EQUIVALENT and survives(mutant)]
    assert not survivors, "\n".join(["mutants that nothing caught:", *survivors])


@pytest.mark.parametrize("module", [PAGE, DATA])
def test_some_mutants_are_caught(module: str) -> None:
    _check(mutants(module)[::EVERY])


@pytest.mark.slow
@pytest.mark.parametrize("module", [PAGE, DATA])
def test_every_mutant_is_caught(module: str) -> None:
    _check(mutants(module))
