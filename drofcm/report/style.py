"""One look for the whole report: colours that colour-blind readers can tell apart, names, and numbers with units."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Final

__all__ = [
    "INK",
    "MUTED",
    "PLAN_COLOURS",
    "SUPPLY",
    "UNABSORBED",
    "UNSERVED_CRITICAL",
    "UNSERVED_FLEXIBLE",
    "aligned",
    "amount",
    "colours_of",
    "join",
    "money",
    "number",
    "percent",
    "plot_text",
    "technology",
]

INK: Final = "#1a1a1a"
MUTED: Final = "#6b6b6b"

# Okabe and Ito (2008), Color Universal Design; technologies and energy that is missed never share a colour
_TECHNOLOGY: Final = {
    "battery": "#0072b2",
    "generator": "#d55e00",
    "demand_response": "#009e73",
    "long_duration": "#cc79a7",
}
_SPARE: Final = ("#f0e442", "#785ef0", "#5d3a1a", "#44aa99", "#882255", "#88ccee")
SUPPLY: Final = "#9ecae1"
UNSERVED_CRITICAL: Final = "#1a1a1a"
UNSERVED_FLEXIBLE: Final = "#8c8c8c"
UNABSORBED: Final = "#e69f00"
PLAN_COLOURS: Final = {
    "this plan": "#1b2a4a",
    "nominal plan": "#4f6d9a",
    "expected-value plan": "#8796b5",
    "median plan": "#6f8f7f",
    "do nothing": "#c9c9c9",
}

_NAMES: Final = {
    "battery": ("battery", "batteries"),
    "generator": ("generator", "generators"),
    "demand_response": ("demand-response contract", "demand-response contracts"),
    "long_duration": ("long-duration store", "long-duration stores"),
}


def colours_of(technologies: Sequence[str]) -> dict[str, str]:
    """A colour per technology: fixed for those of the catalogue, the spare ones in order for others."""
    spare = iter(_SPARE * (1 + len(technologies) // len(_SPARE)))
    return {name: _TECHNOLOGY.get(name) or next(spare) for name in technologies}


def technology(label: str, count: float | None = None) -> str:
    """A technology for people: ``"demand response"``; with a count: ``"3 demand-response contracts"``."""
    plain = label.replace("_", " ").replace("long duration", "long-duration")
    if count is None:
        return plain
    one, many = _NAMES.get(label, (f"{plain} module", f"{plain} modules"))
    return f"{number(count, 0)} {one if round(count) == 1 else many}"


def number(value: float, decimals: int) -> str:
    """Fixed decimals with thousands separators; a dash for NaN, no minus sign in front of zero."""
    if math.isnan(value):
        return "–"
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    text = f"{value:,.{decimals}f}"
    if float(text.replace(",", "")) == 0:
        text = text.lstrip("-")
    return text.replace("-", "−")


def amount(value: float, digits: int = 3) -> str:
    """A quantity to ``digits`` significant digits, never in scientific notation."""
    if not math.isfinite(value) or value == round(value):
        return number(value, 0)
    decimals = digits - 1 - math.floor(math.log10(abs(value)))
    return number(round(value, decimals), min(max(decimals, 0), 6))


def money(dollars: float) -> str:
    """Thousands of dollars without the unit: 754,321 $ is ``"754"``, 7,543 $ is ``"7.5"``."""
    return number(dollars / 1000, 0 if abs(dollars) >= 1e5 else 1)


def aligned(values: Iterable[float], digits: int = 3) -> list[str]:
    """Quantities of one column: as many decimals each as give the largest ``digits`` significant digits."""
    shown = [float(value) for value in values]
    largest = max((abs(value) for value in shown if math.isfinite(value)), default=0.0)
    decimals = digits - 1 - math.floor(math.log10(largest)) if largest > 0 else 0
    return [number(value, min(max(decimals, 0), 6)) for value in shown]


def percent(share: float, decimals: int = 0) -> str:
    """A share as percentage with its sign and unit."""
    return f"{number(100 * share, decimals)} %" if not math.isnan(share) else "–"


def join(parts: Sequence[str]) -> str:
    """``"a"``, ``"a and b"``, ``"a, b and c"``."""
    *most, last = parts
    return f"{', '.join(most)} and {last}" if most else last


def plot_text(text: str) -> str:
    """Text that Bokeh draws as it stands: pairs that would start mathematical notation are broken up."""
    for opening in ("$$", r"\[", r"\("):
        text = text.replace(opening, "\u200b".join(opening))
    return text
