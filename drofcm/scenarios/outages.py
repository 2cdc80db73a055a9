"""What weather and faults put out: lines by fragility, repairs in sequence, plants, hubs and roads.

Everything is a labelled array over ``scenario`` and the things that can fail. Random streams are keyed by the purpose
and the label of the scenario, so that one scenario is the same in every ensemble that holds it.

Fragility of a line is stated per kilometre: sections fail independently given the wind, so a line of length L survives
with (1 - F(w)) ** L. The log-normal curve is the usual one for structures under wind (Panteli, Pickering, Wilkinson,
Dawson and Mancarella 2017, IEEE Transactions on Power Systems 32(5), 3747-3757, for towers and lines); the figures of
`LINE_CURVE` and `HUB_CURVE` are engineering judgement.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr
from scipy.spatial.distance import cdist
from scipy.stats import norm

from drofcm.core.errors import Finding, raise_if_any, shorten
from drofcm.core.randomness import settled, stream
from drofcm.core.units import Quantity, check_quantities, labels_where
from drofcm.scenarios.ensemble import check_labelled
from drofcm.scenarios.generate import check_count, whole

__all__ = [
    "HUB_CURVE",
    "LINE_CURVE",
    "FragilityCurve",
    "draw_failures",
    "draw_hits",
    "gusts",
    "line_failure_probability",
    "out_in_time",
    "repair_hours",
    "sequential_outages",
]

Floats = npt.NDArray[np.float64]

_HOURS_A_YEAR: Final = 8760.0
_MOST_OUTAGES: Final = 10_000_000
_WIND = Quantity("m/s", ("scenario", "line"), "largest gust at the line", lower=0)
_LENGTH = Quantity("km", ("line",), "length of the line", lower=0)
_EXPOSURE = Quantity("1", ("line",), "share of the length that wind and trees can reach", lower=0)
_OUT = Quantity("1", ("scenario", "line"), "1: out", lower=0, upper=1, integer=True)


@dataclass(frozen=True)
class FragilityCurve:
    """Probability of failure by gust: log-normal.

    Attributes
    ----------
    median_m_s
        Gust at which one half fails.
    spread
        Standard deviation of the logarithm.
    """

    median_m_s: float
    spread: float

    def __post_init__(self) -> None:
        """Refuse a median or spread that is not above 0."""
        raise_if_any(
            Finding(f"FragilityCurve.{name}", f"must be above 0, got {value!r}")
            for name, value in (("median_m_s", self.median_m_s), ("spread", self.spread))
            if not (np.isfinite(value) and value > 0)
        )

    def __call__(self, gust: npt.ArrayLike) -> Floats:
        """Probability of failure at gusts in m/s; none at 0."""
        wind = np.asarray(gust, dtype=float)
        with np.errstate(divide="ignore"):
            return np.asarray(norm.cdf(np.log(wind / self.median_m_s) / self.spread), dtype=float)


LINE_CURVE: Final = FragilityCurve(45.0, 0.2)
"""A kilometre of overhead distribution line among trees."""

HUB_CURVE: Final = FragilityCurve(50.0, 0.2)
"""A hub that cannot be left: yard, gate or access road blocked."""


def gusts(
    x_km: npt.ArrayLike,
    y_km: npt.ArrayLike,
    *,
    rng: np.random.Generator,
    median_m_s: float,
    spread: float,
    local_spread: float = 0.1,
    correlation_km: float = 5.0,
) -> Floats:
    """Largest gusts of one storm at places: the storm's own strength times a field that neighbours share.

    Parameters
    ----------
    x_km, y_km
        Where the places are, km over (place).
    rng
        Source of randomness.
    median_m_s, spread
        Log-normal strength of the storm: median, m/s, and standard deviation of the logarithm.
    local_spread, correlation_km
        The field: standard deviation of its logarithm, and the distance over which its correlation falls to 1/e.

    Returns
    -------
    numpy.ndarray
        m/s over (place).
    """
    places = np.column_stack([np.asarray(x_km, dtype=float), np.asarray(y_km, dtype=float)])
    strength = median_m_s * np.exp(spread * rng.standard_normal())
    covariance = np.exp(-cdist(places, places) / correlation_km)
    # places that coincide make the matrix singular; a billionth on its diagonal does not show
    root = np.linalg.cholesky(covariance + 1e-9 * np.eye(len(places)))
    return settled(strength * np.exp(local_spread * (root @ rng.standard_normal(len(places)))))


def line_failure_probability(
    wind_speed: xr.DataArray,
    length: xr.DataArray,
    *,
    curve: FragilityCurve = LINE_CURVE,
    exposure: xr.DataArray | None = None,
) -> xr.DataArray:
    """Probability that an event puts a line out, by its fragility over length and exposure.

    Parameters
    ----------
    wind_speed
        Largest gust, m/s over (scenario, line).
    length
        km over (line,).
    curve
        Fragility of a kilometre.
    exposure
        Factor on the length over (line,): 0 for cables, 1 for a line that is exposed all along; 1 if left out.

    Returns
    -------
    xarray.DataArray
        1 - (1 - F(wind)) ** (length exposure), over (scenario, line).

    Raises
    ------
    InputError
        With every finding: units, labels, negative or missing figures.
    """
    parts = {"wind_speed": (wind_speed, _WIND), "length": (length, _LENGTH)}
    if exposure is not None:
        parts["exposure"] = (exposure, _EXPOSURE)
    findings: list[Finding] = []
    for name, (array, quantity) in parts.items():
        findings += _check(name, array, quantity)
    if not findings:
        for name, (array, _) in parts.items():
            apart = array.indexes["line"].symmetric_difference(wind_speed.indexes["line"])
            if len(apart):
                findings.append(Finding(name, f"line {shorten(apart)} is not in both", "wind_speed has the same lines"))
    raise_if_any(findings)
    reach = length if exposure is None else length * exposure.sel(line=length["line"])
    reach = reach.sel(line=wind_speed["line"]).drop_attrs()
    # log1p keeps small probabilities; a section that fails for certain makes the whole line fail
    per_km = curve(wind_speed.transpose("scenario", "line").values)
    with np.errstate(divide="ignore", invalid="ignore"):
        survives = np.where(reach.values > 0, reach.values * np.log1p(-per_km), 0.0)
    return (
        wind_speed.transpose("scenario", "line")
        .copy(data=-np.expm1(survives))
        .assign_attrs(units="1", long_name="probability that the line fails")
        .rename("failure_probability")
    )


def draw_failures(probability: xr.DataArray, *, seed: int, purpose: str = "line failures") -> xr.DataArray:
    """What fails in each scenario, independently given the probabilities.

    Parameters
    ----------
    probability
        Over (scenario, thing), 0 to 1; scenarios are whole numbers of 0 or above.
    seed
        The study's seed.
    purpose
        Names the random stream: failures of other things take another one.

    Returns
    -------
    xarray.DataArray
        1 where it fails, int8, same labels.

    Raises
    ------
    InputError
        If a probability lies outside 0 and 1 or is missing, the dimensions are not (scenario, thing), or a label of
        scenario is no whole number of 0 or above.
    """
    raise_if_any(_check_probability(probability) or _check_numbers(probability, "probability"))
    rows = probability.transpose("scenario", ...)
    things = rows.sizes[rows.dims[1]]
    drawn = np.stack([stream(seed, purpose, int(label)).random(things) for label in rows["scenario"].values])
    out = (drawn < rows.values).astype(np.int8)
    return rows.copy(data=out).assign_attrs(units="1", long_name="1: fails").rename("failed")


def _check_probability(probability: xr.DataArray) -> list[Finding]:
    findings = check_labelled("probability", probability)
    if findings:
        return findings
    if "scenario" not in probability.dims or probability.ndim != 2:
        return [Finding("probability", f"must be over (scenario, thing), is over ({shorten(probability.dims)})")]
    wrong = ~((probability >= 0) & (probability <= 1))
    if bool(wrong.any()):
        findings.append(Finding("probability", f"is not within 0 and 1 at {labels_where(wrong)}"))
    return findings


def _check_numbers(array: xr.DataArray, name: str) -> list[Finding]:
    """Labels of scenarios that key no random stream."""
    odd = [label for label in array["scenario"].values if not whole(label) or label < 0]
    what = f"labels must be whole numbers of 0 or above, not {shorten(odd)}"
    fix = "every scenario draws from a stream that its number keys"
    return [Finding(f"{name}['scenario']", what, fix)] if odd else []


def repair_hours(
    line_out: xr.DataArray, *, seed: int, median_h: float = 4.0, spread: float = 0.6, crews: int = 2
) -> xr.DataArray:
    """Hours from the event until each line is back: log-normal repairs, done by crews one after another.

    A crew takes the next line of the queue, in the order of the labels, as soon as it is free.

    Parameters
    ----------
    line_out
        1 where the line is out, over (scenario, line); scenarios are whole numbers of 0 or above.
    seed
        The study's seed.
    median_h, spread
        Duration of one repair: median, h, and standard deviation of its logarithm.
    crews
        How many repairs go on at once.

    Returns
    -------
    xarray.DataArray
        h over (scenario, line); 0 where the line is not out.

    Raises
    ------
    InputError
        If flags are not 0 or 1, or a figure lies outside its range.
    """
    findings = _check("line_out", line_out, _OUT)
    findings = findings or _check_numbers(line_out, "line_out")
    if not (np.isfinite(median_h) and median_h > 0):
        findings.append(Finding("median_h", f"must be above 0 h, got {median_h!r}"))
    if not (np.isfinite(spread) and spread >= 0):
        findings.append(Finding("spread", f"must be at least 0, got {spread!r}"))
    if not whole(crews) or crews < 1:
        findings.append(Finding("crews", f"must be a whole number of at least 1, got {crews!r}"))
    raise_if_any(findings)
    rows = line_out.transpose("scenario", "line")
    back = np.zeros(rows.shape)
    for row, label in enumerate(rows["scenario"].values):
        # drawn for every line, so that one more line out changes the queue but no duration
        takes = settled(median_h * stream(seed, "repairs", int(label)).lognormal(0.0, spread, rows.sizes["line"]))
        # more crews than lines stand idle
        free = np.zeros(min(crews, max(rows.sizes["line"], 1)))
        for place in np.flatnonzero(rows.values[row]):
            crew = int(np.argmin(free))
            free[crew] += takes[place]
            back[row, place] = free[crew]
    return rows.copy(data=back).assign_attrs(units="h", long_name="until the line is back").rename("repair")


def out_in_time(repair: xr.DataArray, step_length: xr.DataArray) -> xr.DataArray:
    """Share of each step for which a line is still out, over (scenario, line, time).

    Parameters
    ----------
    repair
        h over (scenario, line), 0 where the line was never out: `repair_hours`.
    step_length
        h over (time,), counted from the event.
    """
    end = step_length.cumsum("time").drop_attrs()
    begin = end - step_length.drop_attrs()
    share = ((repair.drop_attrs() - begin) / step_length.drop_attrs()).clip(min=0, max=1)
    return share.transpose("scenario", "line", "time").assign_attrs(units="1").rename("out")


def sequential_outages(failures_per_year: xr.DataArray, repair: xr.DataArray, *, years: int, seed: int) -> pd.DataFrame:
    """A history of independent failures and repairs, component by component: sequential Monte Carlo.

    Times between repair and the next failure, and repairs, are exponential (Billinton and Allan 1996, Reliability
    Evaluation of Power Systems, chapter 13): in the long run a component is out for rate r / (1 + rate r) of the time.

    Parameters
    ----------
    failures_per_year
        Failures per year in service, over (component,).
    repair
        Mean duration of a repair, h over (component,), same labels.
    years
        Length of the history.
    seed
        The study's seed; every component has a stream of its own.

    Returns
    -------
    pandas.DataFrame
        One line per outage, ordered by time: ``component``, ``begin_h``, ``hours`` (cut off at the end).

    Raises
    ------
    InputError
        If labels differ, a rate or duration is negative or missing, or ``years`` is not a whole number above 0.
    """
    dim = str(failures_per_year.dims[0]) if failures_per_year.dims else "component"
    table = {
        "failures_per_year": (failures_per_year, Quantity("1/a", (dim,), "failures a year", lower=0)),
        "repair": (repair, Quantity("h", (dim,), "mean repair", lower=0, above=True)),
    }
    findings = [found for name, (array, quantity) in table.items() for found in _check(name, array, quantity)]
    if not whole(years) or years < 1:
        findings.append(Finding("years", f"must be a whole number of at least 1, got {years!r}"))
    if not findings and len(failures_per_year.indexes[dim].symmetric_difference(repair.indexes[dim])):
        findings.append(Finding("repair", "components differ from those of failures_per_year", "use the same labels"))
    raise_if_any(findings)
    horizon = years * _HOURS_A_YEAR
    parts = []
    for label in failures_per_year[dim].values:
        rate = float(failures_per_year.sel({dim: label})) / _HOURS_A_YEAR
        if rate == 0:
            continue
        rng, mean = stream(seed, "sequence", str(label)), float(repair.sel({dim: label}))
        expected = int(horizon / (1 / rate + mean))
        if expected > _MOST_OUTAGES:
            what = f"{expected:,} outages of {label!s} are expected in {years:,} years"
            raise_if_any([Finding("years", what, f"at most {_MOST_OUTAGES:,} are drawn")])
        count = expected + 10 * int(np.sqrt(expected)) + 20
        begin, hours, clock = np.empty(0), np.empty(0), 0.0
        while clock < horizon:
            up, down = settled(rng.exponential(1 / rate, count)), settled(rng.exponential(mean, count))
            ends = clock + np.cumsum(up + down)
            begin, hours, clock = np.append(begin, ends - down), np.append(hours, down), float(ends[-1])
        within = begin < horizon
        begin, hours = begin[within], hours[within]
        parts.append(pd.DataFrame({"component": label, "begin_h": begin, "hours": np.minimum(hours, horizon - begin)}))
    columns = ["component", "begin_h", "hours"]
    history = pd.concat(parts) if parts else pd.DataFrame({name: [] for name in columns})
    return history[columns].sort_values(["begin_h", "component"], ignore_index=True)


def draw_hits(matrix: xr.DataArray, scenarios: int, *, seed: int, at_least_one: bool = True) -> xr.DataArray:
    """Which events happen where, by an event x location matrix of probabilities.

    The matrix is the one that paper D's event predictor hands on (Nazir, Ramachandran, Kundu and Adetola 2023, section
    III): entry (e, l) is the probability that event e happens at location l. Entries are independent.

    Parameters
    ----------
    matrix
        Probabilities over (event, location); 0 where an event cannot happen.
    scenarios
        How many scenarios to draw.
    seed
        The study's seed; every scenario has a stream of its own.
    at_least_one
        Draw given that something happens at all, as a study of events needs.

    Returns
    -------
    xarray.DataArray
        1 where it happens, int8 over (scenario, event, location).

    Raises
    ------
    InputError
        If a probability lies outside 0 and 1 or is missing, the dimensions differ, a label is given twice, or nothing
        can happen though something must.
    """
    findings = [*check_count(scenarios), *_check_matrix(matrix)]
    if not findings and at_least_one and float(matrix.max()) <= 0:
        findings.append(Finding("matrix", "every probability is 0: nothing can happen", "give one entry above 0"))
    raise_if_any(findings)
    chance = matrix.transpose("event", "location")
    flat = chance.values.ravel()
    # probability that nothing happens from entry j on
    quiet = np.append(np.cumprod((1 - flat)[::-1])[::-1], 1.0)
    hits = np.empty((scenarios, flat.size), dtype=np.int8)
    for k in range(scenarios):
        draws = stream(seed, "event matrix", k).random(flat.size)
        if not at_least_one:
            hits[k] = draws < flat
            continue
        pending = True
        for j, draw in enumerate(draws):
            # given that something happens and nothing has before j: p_j over 1 - (nothing from j on)
            happens = draw < (flat[j] / (1 - quiet[j]) if pending and quiet[j] < 1 else flat[j])
            hits[k, j] = happens
            pending = pending and not happens
    return xr.DataArray(
        hits.reshape(scenarios, *chance.shape),
        dims=("scenario", "event", "location"),
        coords={
            "scenario": np.arange(scenarios),
            "event": chance["event"].values.astype(str),
            "location": chance["location"].values.astype(str),
        },
        name="hit",
        attrs={"units": "1", "long_name": "1: the event happens there"},
    )


def _check_matrix(matrix: xr.DataArray) -> list[Finding]:
    findings = check_labelled("matrix", matrix)
    if findings:
        return findings
    if set(matrix.dims) != {"event", "location"}:
        return [Finding("matrix", f"must be over (event, location), is over ({shorten(matrix.dims)})")]
    for dim in ("event", "location"):
        index = matrix.indexes.get(dim)
        if index is None or not index.is_unique:
            findings.append(Finding(f"matrix[{dim!r}]", "labels are missing or given twice", "one label, one row"))
    if findings:
        return findings
    wrong = ~((matrix >= 0) & (matrix <= 1))
    if bool(wrong.any()):
        findings.append(Finding("matrix", f"is not within 0 and 1 at {labels_where(wrong)}", "0 where it cannot be"))
    return findings


def _check(name: str, array: xr.DataArray, quantity: Quantity) -> list[Finding]:
    findings = check_labelled(name, array)
    if findings:
        return findings
    return check_quantities(array.reset_coords(drop=True).to_dataset(name=name), {name: quantity}, "outages")
