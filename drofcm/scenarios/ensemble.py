"""Ensembles of scenarios: aggregation of one-second traces to unequal steps, and checks.

An ensemble is a labelled ``xarray.Dataset`` with the dimension ``scenario``, the variable ``probability``, units on
every variable, and the seed and recipe it was made with in its attributes.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import xarray as xr

from drofcm.core.dims import SCENARIO
from drofcm.core.errors import Finding, raise_if_any, shorten
from drofcm.core.units import Quantity, check_quantities, labels_where

__all__ = ["aggregate", "check", "check_labelled", "coarsen", "seconds_of", "step_statistics"]

_PROBABILITY = Quantity("1", (SCENARIO,), "probability given an event", lower=0, upper=1)
_STEP_LENGTH = Quantity("h", ("time",), "length of the step", lower=0, above=True)
_TOLERANCE = 1e-9
# 1/60 h is no binary fraction: a step is whole seconds if it is within a microsecond of them
_SECOND_TOLERANCE = 1e-6


def check_labelled(name: str, value: object) -> list[Finding]:
    """A finding if ``value`` is not a labelled array."""
    if isinstance(value, xr.DataArray):
        return []
    return [Finding(name, f"must be a labelled array, got {type(value).__name__}", "xarray.DataArray(..., dims=...)")]


def seconds_of(step_length: xr.DataArray) -> tuple[npt.NDArray[np.int64], list[Finding]]:
    """Steps in whole seconds, and what is wrong with them.

    Parameters
    ----------
    step_length
        h over (time,).

    Returns
    -------
    seconds
        Length of each step over (time,); meaningful if there is no finding.
    findings
        Missing unit, wrong dimensions, NaN, zero or negative steps, steps that are not whole seconds.
    """
    where, none = "step_length", np.ones(0, dtype=np.int64)
    findings = check_labelled(where, step_length)
    if findings:
        return none, findings
    findings = check_quantities(
        step_length.reset_coords(drop=True).to_dataset(name=where), {where: _STEP_LENGTH}, "steps"
    )
    if findings:
        return none, findings
    if step_length.size == 0:
        return none, [Finding(where, "there is no step", "give at least one step")]
    exact = step_length * 3600.0
    whole = exact.round()
    broken = (abs(exact - whole) > _SECOND_TOLERANCE) | (whole < 1)
    if broken.any():
        example = float(exact.values[np.argmax(broken.values)])
        fix = "traces are generated at 1 s: choose steps of whole seconds"
        findings.append(Finding(where, f"{example:.6g} s is not a whole second at {labels_where(broken)}", fix))
    return np.asarray(whole.values, dtype=np.int64), findings


def aggregate(trace: xr.DataArray, step_length: xr.DataArray) -> xr.Dataset:
    """Means and extremes of one-second traces within steps of unequal length.

    The mean keeps the energy of every step; the extremes keep what the mean hides (FORMULATION A.3: the mean drives
    the dispatch, the extremes the power that must be at hand).

    Parameters
    ----------
    trace
        One-second means over (..., second); ``second``, if it has labels, counts 0, 1, 2, ...
    step_length
        h over (time,): whole seconds that add up to the length of the trace.

    Returns
    -------
    xarray.Dataset
        ``mean``, ``high`` and ``low`` over (..., time), in the unit of the trace; low <= mean <= high.

    Raises
    ------
    InputError
        If a step is not whole seconds, the steps do not cover the trace, the trace has gaps or NaN.
    """
    seconds, findings = seconds_of(step_length)
    findings += _check_trace(trace)
    if not findings and seconds.sum() != trace.sizes["second"]:
        what = f"the steps cover {seconds.sum()} s, the trace has {trace.sizes['second']} s"
        findings.append(Finding("step_length", what, "steps and trace must cover the same horizon"))
    raise_if_any(findings)
    others = [dim for dim in trace.dims if dim != "second"]
    values = np.asarray(trace.transpose(*others, "second").values, dtype=float)
    mean, high, low = step_statistics(values, seconds)
    coords = {name: coord for name, coord in trace.coords.items() if "second" not in coord.dims}
    out = xr.Dataset(
        {name: ((*others, "time"), value) for name, value in (("mean", mean), ("high", high), ("low", low))},
        coords={**coords, "time": step_length["time"]},
    )
    for variable in out.data_vars.values():
        variable.attrs.update({key: trace.attrs[key] for key in ("units",) if key in trace.attrs})
    return out


def coarsen(steps: xr.Dataset, step_length: xr.DataArray, longer: xr.DataArray) -> xr.Dataset:
    """Aggregate once more, to longer steps: what `aggregate` to the longer steps would have given.

    Parameters
    ----------
    steps
        ``mean``, ``high`` and ``low`` over (..., time), as `aggregate` returns them.
    step_length
        Their steps, h over (time).
    longer
        Steps that each consist of whole steps of ``step_length``, h over (time).

    Returns
    -------
    xarray.Dataset
        ``mean`` (which keeps the energy), ``high`` and ``low`` (which keep the extremes within a second) over the
        longer steps.

    Raises
    ------
    InputError
        If steps are not whole seconds, or an edge of the longer steps is no edge of the shorter ones.
    """
    short, findings = seconds_of(step_length)
    wide, more = seconds_of(longer)
    findings += [Finding("longer", finding.what, finding.fix) for finding in more]
    if not findings:
        edges, wanted = np.cumsum(short), np.cumsum(wide)
        astray = wanted[~np.isin(wanted, edges)]
        if len(astray) or edges[-1] != wanted[-1]:
            what = f"edges at {shorten(astray)} s fall within shorter steps" if len(astray) else "end earlier or later"
            findings.append(Finding("longer", what, "each longer step is made of whole shorter ones"))
    raise_if_any(findings)
    begin = np.searchsorted(np.cumsum(short), np.cumsum(wide) - wide, side="right")
    out = {}
    for name, reduce in (("mean", np.add), ("high", np.maximum), ("low", np.minimum)):
        others = [dim for dim in steps[name].dims if dim != "time"]
        values = steps[name].transpose(*others, "time").values
        values = values * short if name == "mean" else values
        joined = reduce.reduceat(values, begin, axis=-1)
        out[name] = ((*others, "time"), joined / wide if name == "mean" else joined, steps[name].attrs)
    coords = {name: coord for name, coord in steps.coords.items() if "time" not in coord.dims}
    return xr.Dataset(out, coords={**coords, "time": longer["time"]})


def step_statistics(
    values: npt.NDArray[np.float64], seconds: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Mean, largest and smallest value of each step along the last axis; ``seconds`` must add up to its length."""
    begin = np.concatenate([[0], np.cumsum(seconds)[:-1]])
    high = np.maximum.reduceat(values, begin, axis=-1)
    low = np.minimum.reduceat(values, begin, axis=-1)
    # the sum of equal values is rounded: without the clip a flat step could lie above its own maximum
    mean = np.clip(np.add.reduceat(values, begin, axis=-1) / seconds, low, high)
    return mean, high, low


def _check_trace(trace: xr.DataArray) -> list[Finding]:
    findings = check_labelled("trace", trace)
    if findings:
        return findings
    if "second" not in trace.dims:
        return [Finding("trace", "dimension second is missing", f"has ({shorten(trace.dims)})")]
    if "second" in trace.coords and not np.array_equal(trace["second"].values, np.arange(trace.sizes["second"])):
        fix = "second must count 0, 1, 2, ... to the end of the horizon"
        findings.append(Finding("trace['second']", "the trace has gaps or does not begin at the onset", fix))
    missing = trace.isnull()
    if missing.any():
        findings.append(Finding("trace", f"NaN at {labels_where(missing)}", "fill in the missing figures"))
    return findings


def check(ensemble: xr.Dataset, where: str = "ensemble") -> list[Finding]:
    """Check an ensemble; return every finding.

    Parameters
    ----------
    ensemble
        Any variables over (scenario, ...), with ``probability`` (scenario,).
    where
        How the ensemble is called in messages.

    Returns
    -------
    list of Finding
        Errors: no scenario, missing or repeated labels, gaps in ``time`` or ``second``, probabilities that are
        missing, negative, NaN or do not sum to one, variables without a unit, NaN, a mean outside its extremes.
        Warnings: no seed or recipe, so that nobody can make the ensemble again.
    """
    if not ensemble.sizes.get(SCENARIO):
        return [Finding(where, "there is no scenario", "give the dimension 'scenario' at least one label")]
    findings = _check_labels(ensemble, where)
    findings += _check_probability(ensemble, where)
    for name, variable in ensemble.data_vars.items():
        if name == "probability":
            continue
        unit = variable.attrs.get("units")
        if not isinstance(unit, str) or not unit:
            findings.append(Finding(f"{where}[{name!r}]", "no unit is stated", "set attrs['units'], '1' for flags"))
        missing = variable.isnull()
        if missing.any():
            findings.append(Finding(f"{where}[{name!r}]", f"NaN at {labels_where(missing)}", "fill in the figures"))
    findings += _check_extremes(ensemble, where)
    findings += [
        Finding(f"{where}.attrs[{key!r}]", "is missing: the ensemble cannot be made again", severity="warning")
        for key in ("seed", "recipe")
        if key not in ensemble.attrs
    ]
    return findings


def _check_labels(ensemble: xr.Dataset, where: str) -> list[Finding]:
    findings = []
    for dim in ensemble.dims:
        index = ensemble.indexes.get(dim)
        if index is None:
            findings.append(Finding(f"{where}[{dim!r}]", "dimension has no labels", f"assign_coords({dim}=...)"))
        elif not index.is_unique:
            twice = shorten(index[index.duplicated()].unique())
            findings.append(Finding(f"{where}[{dim!r}]", f"duplicate labels: {twice}", "labels must be unique"))
        elif dim in ("time", "second") and not np.array_equal(index.to_numpy(), np.arange(len(index))):
            findings.append(Finding(f"{where}[{dim!r}]", f"has gaps: {shorten(index)}", "labels must be 0, 1, 2, ..."))
    return findings


def _check_probability(ensemble: xr.Dataset, where: str) -> list[Finding]:
    if "probability" not in ensemble:
        return [Finding(f"{where}['probability']", "missing", "equal weights are 1 / number of scenarios")]
    probability = ensemble["probability"].reset_coords(drop=True)
    # labels are checked with the ensemble, so positions serve here
    alone = probability.drop_vars(SCENARIO, errors="ignore").to_dataset(name="probability")
    alone = alone.assign_coords({SCENARIO: np.arange(ensemble.sizes[SCENARIO])}) if SCENARIO in alone.dims else alone
    findings = check_quantities(alone, {"probability": _PROBABILITY}, where)
    total = float(probability.sum()) if probability.dtype.kind in "biuf" else np.nan
    if np.isfinite(total) and abs(total - 1) > _TOLERANCE:
        fix = "divide by the sum if the proportions are right"
        findings.append(Finding(f"{where}['probability']", f"sums to {total:.9g}, must sum to 1", fix))
    return findings


def _check_extremes(ensemble: xr.Dataset, where: str) -> list[Finding]:
    findings = []
    for name in map(str, ensemble.data_vars):
        for suffix, sign in (("_high", 1.0), ("_low", -1.0)):
            extreme = f"{name}{suffix}"
            if extreme not in ensemble or set(ensemble[extreme].dims) != set(ensemble[name].dims):
                continue
            if any(ensemble[each].dtype.kind not in "biuf" for each in (name, extreme)):
                continue  # text has no order; whoever knows the quantities says that they must be numbers
            outside = sign * (ensemble[name] - ensemble[extreme]) > _TOLERANCE
            if outside.any():
                side = "above" if sign > 0 else "below"
                what = f"the mean is {side} {extreme} at {labels_where(outside)}"
                findings.append(Finding(f"{where}[{name!r}]", what, "low <= mean <= high in every step"))
    return findings
