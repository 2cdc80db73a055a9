"""How sure the worth of a plan is, and what scenarios and foresight are worth, in sentences computed from figures."""

from __future__ import annotations

import math

from drofcm.report.inputs import EXPECTED_VALUE_PLAN, ReportInput
from drofcm.report.style import aligned, amount, money, number, percent
from drofcm.validate.benefit import Benefit
from drofcm.validate.information import Foresight

__all__ = ["information", "sure"]


def sure(found: Benefit, rate: float) -> str:
    """How sure it is that a plan costs less than doing nothing, in expected money.

    Parameters
    ----------
    found
        The plan against doing nothing.
    rate
        Events a year.
    """
    saving = found.saving
    if found.same:
        return "There is nothing to be sure of: the plan is to do nothing."
    if not math.isfinite(saving.lower):
        return f"How sure that is cannot be told: {saving.caution}. {_conditions(found, rate)}"
    told = (
        f"How sure that is: by resampling the {found.events} events it saves {_span(saving.lower, saving.upper)} k$/a "
        f"({percent(saving.level)})"
    )
    if saving.lower <= 0 <= saving.upper:
        told += ", zero included: these events do not settle whether it saves"
    elif saving.upper < 0:
        told += ": in expectation it does not pay, it buys a lighter tail"
    few = f"; the interval {saving.caution}" if saving.caution else ""
    return f"{told}{few}. {_conditions(found, rate)}"


def _span(lower: float, upper: float) -> str:
    """Two sums in thousands, to as many decimals as the larger needs."""
    low, high = aligned([lower / 1000, upper / 1000])
    return low if low == high else f"{low} to {high}"


def _conditions(found: Benefit, rate: float) -> str:
    pays = ""
    if 0 < found.break_even < math.inf:
        pays = f"It pays from {amount(found.break_even)} events a year on, {amount(rate)} are assumed. "
    return (
        f"{pays}A plan that was chosen on these same events looks better on them than on fresh ones; and what an event "
        "costs rests on the study's penalties for load that is not served."
    )


def information(inputs: ReportInput) -> list[tuple[str, str]]:
    """What scenarios are worth, what foresight would be worth, and how sure the plan's own worth is."""
    lines = [("Scenarios are worth (VSS)", _stochastic_solution(inputs))]
    known = inputs.foresight
    if known is not None:
        told = f"left out: {known.left_out}" if known.left_out else _foresight(known)
        lines.append(("Knowing the event would be worth (EVPI)", told))
    tail = inputs.benefit.tail
    if math.isfinite(tail.lower) and tail.method != "constant in the sample":
        few = f"; it {tail.caution}" if tail.caution else ""
        told = f"{_span(tail.lower, tail.upper)} k$ than if nothing were done ({percent(tail.level)}){few}"
        lines.append((f"An event of the dearest {percent(1 - inputs.alpha)} is cheaper by", told))
    return lines


def _stochastic_solution(inputs: ReportInput) -> str:
    found = inputs.stochastic_solution
    if math.isfinite(found.upper):
        span = f"{_span(found.lower, found.upper)} k$/a"
    else:
        span = f"at least {money(found.lower)} k$/a"
    shipped = inputs.baselines[EXPECTED_VALUE_PLAN].first_stage["shipped"]
    idle = "" if shipped.any() else ", which is to ship nothing,"
    extra = inputs.money[EXPECTED_VALUE_PLAN].expected - inputs.money["this plan"].expected
    return (
        f"{span} of the risk-weighted objective; in money the plan made for the mean event{idle} costs "
        f"{money(abs(extra))} k$/a {'more' if extra >= 0 else 'less'} in expectation"
    )


def _foresight(known: Foresight) -> str:
    span = f"{_span(known.lower, known.upper)} k$/a"
    if not math.isfinite(known.upper):
        span = f"{money(known.lower)} k$/a or more"
    return f"{span} of the risk-weighted objective, found in {number(known.seconds, 0)} s"
