"""Dependence between quantities that scenarios draw together: copulas, block bootstrap, tail dependence.

A copula keeps the margins of the data and models how they move together. The Gaussian one has no tail dependence
whatever its correlations; a vine can have (Aas, Czado, Frigessi and Bakken 2009, Insurance: Mathematics and Economics
44, 182-198). So tail dependence is reported for data and for samples, and the choice can be judged. Vines are fitted by
pyvinecopulib, block bootstraps drawn by arch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
import numpy.typing as npt
import xarray as xr
from scipy.stats import norm, rankdata

from drofcm.core.errors import Finding, raise_if_any, shorten, suggest
from drofcm.core.randomness import stream
from drofcm.core.units import labels_where
from drofcm.scenarios.ensemble import check_labelled
from drofcm.scenarios.generate import check_count, whole

__all__ = ["Copula", "block_bootstrap", "fit_copula", "tail_dependence", "tail_report"]

Floats = npt.NDArray[np.float64]
Kind = Literal["gaussian", "vine"]

_KINDS: Final = ("gaussian", "vine")
_FEWEST: Final = 30
_MOST_TIED: Final = 0.5
_FAMILIES: Final = ("indep", "gaussian", "student", "clayton", "gumbel", "frank", "joe", "bb1", "bb7")
"""Pair copulas that a vine chooses from: with and without tails, on one side or both."""


@dataclass(frozen=True)
class Copula:
    """How variables move together, with their margins.

    Attributes
    ----------
    kind
        ``"gaussian"`` or ``"vine"``.
    variables
        Labels of the variables, in the order of the columns.
    margins
        The sorted observations of each variable, (observation, variable); sampled values lie between them.
    correlation
        Correlation of the normal scores, (variable, variable).
    vine
        The vine as JSON; empty for a Gaussian copula.
    units
        Unit of the data, if it states one.
    """

    kind: Kind
    variables: tuple[str, ...]
    margins: Floats
    correlation: Floats
    vine: str = ""
    units: str = ""

    def sample(self, scenarios: int, *, seed: int, purpose: str = "copula", first: int = 0) -> xr.DataArray:
        """Draw scenarios; scenario k depends on the seed, the purpose and k alone.

        Parameters
        ----------
        scenarios
            How many.
        seed
            The study's seed.
        purpose
            Names the random stream.
        first
            Label of the first scenario, so that an ensemble can be drawn in parts.

        Returns
        -------
        xarray.DataArray
            Over (scenario, variable), each between the smallest and the largest observation of its variable.

        Raises
        ------
        InputError
            If ``scenarios`` is not a whole number of at least 1.
        """
        raise_if_any(check_count(scenarios))
        labels = np.arange(first, first + scenarios)
        free = np.stack([stream(seed, purpose, int(label)).random(len(self.variables)) for label in labels])
        tied = self._dependent(free)
        values = np.stack(
            [np.quantile(self.margins[:, column], tied[:, column]) for column in range(len(self.variables))], axis=1
        )
        return xr.DataArray(
            values,
            dims=("scenario", "variable"),
            coords={"scenario": labels, "variable": list(self.variables)},
            attrs={"units": self.units} if self.units else {},
        )

    def _dependent(self, free: Floats) -> Floats:
        """Independent uniforms made dependent, row by row."""
        if self.kind == "gaussian":
            # a column draws on those before it: the lower Cholesky factor
            return np.asarray(norm.cdf(norm.ppf(free) @ np.linalg.cholesky(self.correlation).T), dtype=float)
        import pyvinecopulib

        vine = pyvinecopulib.Vinecop.from_json(self.vine)
        return np.asarray(vine.inverse_rosenblatt(np.asfortranarray(free), num_threads=1), dtype=float)


def fit_copula(data: xr.DataArray, kind: Kind = "vine") -> Copula:
    """Fit a copula and the empirical margins to observations.

    Parameters
    ----------
    data
        Observations over (observation, variable), in any unit.
    kind
        ``"gaussian"``: correlation of the normal scores; ``"vine"``: a regular vine whose trees, families (with and
        without tail dependence, rotated where needed) and parameters are chosen by BIC.

    Returns
    -------
    Copula
        To draw scenarios from.

    Raises
    ------
    InputError
        With every finding: fewer than 30 observations or two variables, missing values, variables that are constant or
        mostly ties, variables of which one is a function of another.
    """
    findings = _check(data, "data", "observation")
    if kind not in _KINDS:
        findings.append(Finding("kind", f"unknown kind of copula {kind!r}", suggest(str(kind), _KINDS)))
    if not findings:
        findings = _check_variables(data)
    raise_if_any(findings)
    rows = data.transpose("observation", "variable")
    values = np.asarray(rows.values, dtype=float)
    ranks = np.asarray(rankdata(values, axis=0), dtype=float) / (len(values) + 1)
    correlation = np.asarray(np.corrcoef(norm.ppf(ranks), rowvar=False), dtype=float)
    names = tuple(str(label) for label in rows["variable"].values)
    raise_if_any(_check_independent(correlation, names))
    return Copula(
        kind=kind,
        variables=names,
        margins=np.sort(values, axis=0),
        correlation=correlation,
        vine=_fit_vine(ranks) if kind == "vine" else "",
        units=str(data.attrs.get("units", "")),
    )


def _fit_vine(ranks: Floats) -> str:
    import pyvinecopulib

    families = [getattr(pyvinecopulib.BicopFamily, name) for name in _FAMILIES]
    controls = pyvinecopulib.FitControlsVinecop(family_set=families, selection_criterion="bic", num_threads=1)
    return str(pyvinecopulib.Vinecop.from_data(np.asfortranarray(ranks), controls=controls).to_json())


def _check(data: xr.DataArray, name: str, rows: str) -> list[Finding]:
    findings = check_labelled(name, data)
    if findings:
        return findings
    if set(data.dims) != {rows, "variable"}:
        return [Finding(name, f"must be over ({rows}, variable), is over ({shorten(data.dims)})", "rename or stack")]
    index = data.indexes.get("variable")
    if index is None or not index.is_unique:
        findings.append(Finding(f"{name}['variable']", "labels are missing or given twice", "label every variable"))
    if data.dtype.kind not in "biuf":
        findings.append(Finding(name, f"values are not numbers (dtype {data.dtype})"))
    elif bool(data.isnull().any()):
        what = f"NaN at {labels_where(data.isnull())}"
        findings.append(Finding(name, what, "fill in the figures or drop the rows"))
    return findings


def _check_variables(data: xr.DataArray) -> list[Finding]:
    findings = []
    count = data.sizes["observation"]
    if count < _FEWEST:
        findings.append(Finding("data", f"has {count} observations, {_FEWEST} are needed", "give a longer record"))
    if data.sizes["variable"] < 2:
        findings.append(Finding("data", "has one variable", "dependence needs two or more"))
    for label in data["variable"].values:
        values, repeats = np.unique(data.sel(variable=label).values, return_counts=True)
        where = f"data[variable={str(label)!r}]"
        if len(values) == 1:
            what = f"is constant at {values[0]:g}: nothing depends on it"
            findings.append(Finding(where, what, "leave it out, and set it in every scenario"))
        elif repeats.max() > _MOST_TIED * count:
            what = f"is {values[repeats.argmax()]:g} in {repeats.max()} of {count} observations: ranks say little"
            findings.append(Finding(where, what, "model how often it takes that value apart from how large it is"))
    return findings


def _check_independent(correlation: Floats, names: tuple[str, ...]) -> list[Finding]:
    """Pairs of which one is a monotone function of the other, or else columns that depend on several."""
    pairs = np.argwhere(np.triu(np.abs(correlation) > 1 - 1e-9, 1))
    if len(pairs):
        return [
            Finding("data", f"{names[one]!r} and {names[other]!r} are functions of each other", "leave one out")
            for one, other in pairs
        ]
    if np.linalg.eigvalsh(correlation).min() < 1e-9:
        return [Finding("data", "some variables are functions of the others together", "leave one of them out")]
    return []


def tail_dependence(data: xr.DataArray, level: float = 0.05) -> xr.DataArray:
    """How often two variables are extreme together, given that one of them is.

    Parameters
    ----------
    data
        Over (observation, variable), or (scenario, variable).
    level
        What counts as extreme: the share of observations in a tail.

    Returns
    -------
    xarray.DataArray
        Over (tail, variable, other), tail "lower" and "upper": the share of the other's extremes that coincide, at most
        1. Independence gives ``level``.

    Raises
    ------
    InputError
        If values are missing, or a tail would hold fewer than five observations.
    """
    rows = "scenario" if isinstance(data, xr.DataArray) and "scenario" in data.dims else "observation"
    findings = _check(data, "data", rows)
    if not 0 < level <= 0.5:
        findings.append(Finding("level", f"must be above 0 and at most 0.5, got {level!r}"))
    elif not findings and level * data.sizes[rows] < 5:
        what = f"a tail of {level:g} of {data.sizes[rows]} observations holds fewer than 5"
        findings.append(Finding("level", what, f"give {np.ceil(5 / level):.0f} observations, or a wider tail"))
    raise_if_any(findings)
    values = np.asarray(data.transpose(rows, "variable").values, dtype=float)
    share = np.asarray(rankdata(values, axis=0), dtype=float) / (len(values) + 1)
    joint = []
    for extreme in (share <= level, share >= 1 - level):
        tail = extreme.astype(float)
        joint.append((tail.T @ tail) / np.maximum(tail.sum(axis=0), 1.0)[:, None])
    names = [str(label) for label in data["variable"].values]
    return xr.DataArray(
        np.stack(joint),
        dims=("tail", "variable", "other"),
        coords={"tail": ["lower", "upper"], "variable": names, "other": names},
        attrs={"units": "1", "level": level},
    )


def tail_report(data: xr.DataArray, copula: Copula, *, seed: int, level: float = 0.05) -> xr.Dataset:
    """Tail dependence of the data beside that of a sample of a copula.

    Parameters
    ----------
    data
        The observations the copula was fitted to.
    copula
        The copula.
    seed
        Seed of the sample.
    level
        What counts as extreme.

    Returns
    -------
    xarray.Dataset
        ``data`` and ``copula`` over (tail, variable, other), from a sample of 20,000.
    """
    sampled = tail_dependence(copula.sample(20_000, seed=seed, purpose="tail report"), level)
    return xr.Dataset({"data": tail_dependence(data, level), "copula": sampled})


def block_bootstrap(
    residuals: xr.DataArray, scenarios: int, *, seed: int, steps: int | None = None, block: int | None = None
) -> xr.DataArray:
    """Paths of residuals drawn in blocks, which keeps what neighbours in time and variables in a row have in common.

    The stationary bootstrap (Politis and Romano 1994): blocks of geometric length, wrapped around the end.

    Parameters
    ----------
    residuals
        Over (time, variable), evenly spaced.
    scenarios
        How many paths.
    seed
        The study's seed; path k depends on the seed and k alone.
    steps
        Length of the paths, at most that of the record; all of it if left out.
    block
        Mean length of a block; chosen by Politis and White (2004) if left out: the longest over the variables.

    Returns
    -------
    xarray.DataArray
        Over (scenario, time, variable); ``attrs["block"]`` is the mean length of a block.

    Raises
    ------
    InputError
        With every finding: missing or constant residuals, fewer than 30 steps, paths longer than the record.
    """
    from arch.bootstrap import StationaryBootstrap, optimal_block_length

    findings = _check(residuals, "residuals", "time")
    if not findings:
        findings = _check_record(residuals, scenarios, steps, block)
    raise_if_any(findings)
    values = np.asarray(residuals.transpose("time", "variable").values, dtype=float)
    usual = float(optimal_block_length(values)["stationary"].max()) if block is None else block
    length = max(1, round(usual))
    count = len(values) if steps is None else steps
    paths = np.empty((scenarios, count, values.shape[1]))
    for k in range(scenarios):
        drawn = StationaryBootstrap(length, values, seed=stream(seed, "bootstrap", k))
        paths[k] = next(iter(drawn.bootstrap(1)))[0][0][:count]
    return xr.DataArray(
        paths,
        dims=("scenario", "time", "variable"),
        coords={
            "scenario": np.arange(scenarios),
            "time": np.arange(count),
            "variable": [str(label) for label in residuals["variable"].values],
        },
        attrs={**{key: residuals.attrs[key] for key in ("units",) if key in residuals.attrs}, "block": length},
    )


def _check_record(residuals: xr.DataArray, scenarios: int, steps: int | None, block: int | None) -> list[Finding]:
    findings = [*check_count(scenarios)]
    count = residuals.sizes["time"]
    if count < _FEWEST:
        findings.append(Finding("residuals", f"has {count} steps, {_FEWEST} are needed", "give a longer record"))
    if steps is not None and not (whole(steps) and 1 <= steps <= count):
        findings.append(Finding("steps", f"must be a whole number within 1 and {count}, got {steps!r}"))
    if block is not None and not (whole(block) and 1 <= block <= count):
        findings.append(Finding("block", f"must be a whole number within 1 and {count}, got {block!r}"))
    for label in residuals["variable"].values:
        if float(np.ptp(residuals.sel(variable=label).values)) == 0:
            where = f"residuals[variable={str(label)!r}]"
            findings.append(Finding(where, "is constant", "leave it out: there is nothing to draw"))
    return findings
