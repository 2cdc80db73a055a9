"""From a measured power trace to the process that generates more like it, and the figures of both side by side."""

from __future__ import annotations

from typing import Final, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr
from scipy.optimize import brentq
from scipy.stats import skew

from drofcm.core.errors import Finding, raise_if_any
from drofcm.core.randomness import stream
from drofcm.data import find_dataset
from drofcm.scenarios.ensemble import check_labelled
from drofcm.scenarios.loads import InferenceService, TrainingJob, inference_load, ramp_figures, training_load

__all__ = ["calibrate", "compare", "quantiles_of_change", "reference_table"]

Floats = npt.NDArray[np.float64]
LAGS: Final = (1, 10, 60)
QUANTILES: Final = (0.5, 0.9, 0.99, 0.999)

_DIP_BELOW = 0.5
_BRIEF_S = 8
_STOP_S = 100
_STALL_S = 3
_LEAST_S = 60
# stamps in minutes or days with a few decimals
_STAMP_TOLERANCE = 1e-3
_FEWEST_DIPS = 3
_FEWEST_STEADY_S = 10
_PEAK = 0.999
# the one measured service whose batch fills up while it is measured
_FILLING = "qwen_30b"


def calibrate(
    trace: xr.DataArray, *, workload: Literal["auto", "training", "inference"] = "auto"
) -> TrainingJob | InferenceService:
    """The process of `drofcm.scenarios.loads` whose figures are those of a measured trace.

    Training: durations of work and dips, shares of brief halts and of stops, and the ranges of idle power and plateau
    are read off the dips below half of the peak. What a trace of minutes cannot show (how the jump divides into the
    first second and the rest) stays as measured on the eight-GPU server of ``datasets/traces/ai_power``. Inference:
    level, spread, memory and skew by moments, stalls by their count.

    Parameters
    ----------
    trace
        One-second means over (second,), any unit of power: `drofcm.data.load_trace`.
    workload
        What ran; ``"auto"`` takes training if power is below half of the peak for more than a twentieth of the time.

    Returns
    -------
    TrainingJob or InferenceService
        What ``job=`` of `training_load` or ``service=`` of `inference_load` takes.

    Raises
    ------
    InputError
        If the trace is shorter than a minute, is constant or zero but for moments, has NaN or negative power, was read
        less often than once a second, or holds, for training, fewer than three dips, for inference hardly a second away
        from stalls.
    """
    raise_if_any(_check(trace))
    power = np.asarray(trace.values, dtype=float)
    share = power / np.quantile(power, _PEAK)
    if workload == "auto":
        workload = "training" if (share < _DIP_BELOW).mean() > 0.05 else "inference"
    return _training(share) if workload == "training" else _inference(share)


def _check(trace: xr.DataArray) -> list[Finding]:
    findings = check_labelled("trace", trace)
    if findings:
        return findings
    if trace.dims != ("second",):
        return [Finding("trace", f"must be over (second,), is over {trace.dims}", "one trace at a time")]
    values = np.asarray(trace.values, dtype=float)
    if np.isnan(values).any():
        findings.append(Finding("trace", f"NaN in {int(np.isnan(values).sum())} seconds", "cut or fill the trace"))
    elif (values < 0).any():
        findings.append(Finding("trace", f"power is negative in {int((values < 0).sum())} seconds"))
    elif np.ptp(values) <= 1e-9 * max(abs(values).max(), 1e-30):
        findings.append(Finding("trace", "power is constant", "nothing can be calibrated to a constant"))
    elif not np.quantile(values, _PEAK) > 0:
        what = f"power is 0 in all but {int((values > 0).sum())} seconds"
        findings.append(Finding("trace", what, "cut the trace to the time in which something runs"))
    if len(values) < _LEAST_S:
        findings.append(Finding("trace", f"is {len(values)} s long, {_LEAST_S} s are needed", "measure longer"))
    interval = float(trace.attrs.get("interval_s", 0.0))
    if interval > 1 + _STAMP_TOLERANCE:
        what = f"was read every {interval:.6g} s: what power does within a second cannot be seen in it"
        findings.append(Finding("trace", what, "measure at 1 s or faster"))
    return findings


def _runs(share: Floats) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
    """Lengths of the runs below and above half of the peak, without the two that the ends of the trace cut off."""
    low = share < _DIP_BELOW
    edges = np.flatnonzero(np.diff(low.astype(np.int8))) + 1
    bounds = np.concatenate([[0], edges, [len(share)]])
    length, kind = np.diff(bounds), low[bounds[:-1]]
    return length[1:-1], kind[1:-1]


def _training(share: Floats) -> TrainingJob:
    length, is_dip = _runs(share)
    dips, work = length[is_dip], length[~is_dip]
    if len(dips) < _FEWEST_DIPS or not len(work):
        what = f"holds {len(dips)} whole dips below half of the peak, a training job is told by {_FEWEST_DIPS} or more"
        raise_if_any([Finding("trace", what, "measure longer, or calibrate it as inference")])
    brief, stop = dips <= _BRIEF_S, dips >= _STOP_S
    usual = dips[~brief & ~stop]
    usual = usual if len(usual) else dips
    # what lies between plateau and idle power is on its way from one to the other
    low, high = share[share < 0.3], share[share > 0.8]
    idle = np.quantile(low, (0.1, 0.6)) if len(low) else np.full(2, share.min())
    plateau = np.quantile(high, (0.35, 0.85)) if len(high) else np.full(2, np.quantile(share, 0.9))
    return TrainingJob(
        busy_s=float(np.median(work)),
        busy_spread=_spread(work),
        dip_s=float(np.median(usual)),
        dip_spread=_spread(usual),
        brief=float(brief.mean()),
        stops=float(stop.mean()),
        idle=(float(idle[0]), float(idle[1])),
        plateau=(float(plateau[0]), float(plateau[1])),
    )


def _spread(lengths: npt.NDArray[np.int64]) -> float:
    """Standard deviation of the logarithm; one observation says nothing about it."""
    return float(np.log(lengths).std(ddof=1)) if len(lengths) > 1 else 0.15


def _inference(share: Floats) -> InferenceService:
    stalled = share < _DIP_BELOW
    near = np.convolve(stalled, np.ones(2 * _STALL_S + 1), mode="same") > 0
    steady = share[~near]
    if len(steady) < _FEWEST_STEADY_S or not np.ptp(steady) > 0:
        what = f"{len(steady)} s of it are away from stalls, in which power varies: too little to tell a service by"
        raise_if_any([Finding("trace", what, "measure longer, or calibrate it as training")])
    deviation = steady - steady.mean()
    memory = float(np.clip((deviation[1:] * deviation[:-1]).mean() / deviation.var(), 0.0, 0.99))
    stalls = int((np.diff(stalled.astype(np.int8)) > 0).sum())
    return InferenceService(
        level=float(steady.mean()),
        spread=float(steady.std()),
        memory=memory,
        skew=_shape(float(skew(steady))),
        stall_every_s=len(share) / stalls if stalls else np.inf,
    )


def _shape(skewness: float) -> float:
    """Shape parameter of the log-normal with this skewness, at most 1; 0 if power does not lean upwards."""
    if skewness <= 0.05:
        return 0.0

    def surplus(shape: float) -> float:
        grown = np.exp(shape**2)
        return float((grown + 2) * np.sqrt(grown - 1) - skewness)

    return float(brentq(surplus, 1e-3, 1.0)) if surplus(1.0) > 0 > surplus(1e-3) else 1.0


def quantiles_of_change(load: npt.ArrayLike) -> pd.DataFrame:
    """Quantiles of the absolute change of power within 1, 10 and 60 seconds, as shares of the peak.

    Parameters
    ----------
    load
        Power at one-second resolution, over (second,), longer than a minute.

    Returns
    -------
    pandas.DataFrame
        A row per quantile (0.5, 0.9, 0.99, 0.999), a column per lag: ``1 s``, ``10 s``, ``60 s``.
    """
    power = np.asarray(load, dtype=float)
    share = power / np.quantile(power, _PEAK)
    return pd.DataFrame(
        {f"{lag} s": np.quantile(np.abs(share[lag:] - share[:-lag]), QUANTILES) for lag in LAGS},
        index=pd.Index(QUANTILES, name="quantile"),
    )


def compare(
    trace: xr.DataArray,
    process: TrainingJob | InferenceService,
    *,
    rng: np.random.Generator,
    traces: int = 60,
) -> pd.DataFrame:
    """Figures of a measured trace beside those of generated traces of the same length.

    Parameters
    ----------
    trace
        One-second means over (second,).
    process
        What generates.
    rng
        Source of randomness.
    traces
        How many traces are generated.

    Returns
    -------
    pandas.DataFrame
        A row per figure of `drofcm.scenarios.loads.ramp_figures`; columns ``measured``, and ``low``, ``median`` and
        ``high``: the 5 %, 50 % and 95 % quantiles over the generated traces.
    """
    seconds = trace.sizes["second"]
    rows = []
    for _ in range(traces):
        if isinstance(process, TrainingJob):
            load = training_load(seconds, rng=rng, job=process)
        else:
            load = inference_load(seconds, rng=rng, service=process)
        rows.append(ramp_figures(load))
    generated = pd.DataFrame(rows).quantile([0.05, 0.5, 0.95]).T.set_axis(["low", "median", "high"], axis=1)
    generated.insert(0, "measured", pd.Series(ramp_figures(trace.values)))
    return generated


def reference_table(*, seed: int = 0, traces: int = 40) -> pd.DataFrame:
    """The measured figures of ``datasets/traces/ai_power`` beside those of generated traces of the same length.

    Parameters
    ----------
    seed
        Seed of the generated traces; each kind and trace has a stream of its own.
    traces
        How many are generated of each kind.

    Returns
    -------
    pandas.DataFrame
        Index ``kind``, ``figure``; columns ``workload``, ``measured``, and ``low``, ``median``, ``high``: the 5 %, 50 %
        and 95 % quantiles over the generated traces.
    """
    measured = pd.read_csv(find_dataset("trace", "ai_power") / "ramps.csv", index_col="kind")
    parts = []
    for kind, row in measured.iterrows():
        name, length = str(kind), int(row["length"])
        figures = []
        for number in range(traces):
            rng = stream(seed, "reference", name, number)
            if row["workload"] == "training":
                load = training_load(length, rng=rng, job=name, start="cold")
            else:
                load = inference_load(length, rng=rng, service=name, filling=name == _FILLING)
            figures.append(ramp_figures(load))
        spread = pd.DataFrame(figures).quantile([0.05, 0.5, 0.95]).T.set_axis(["low", "median", "high"], axis=1)
        spread.insert(0, "workload", row["workload"])
        spread.insert(1, "measured", row[spread.index].astype(float))
        parts.append(pd.concat({name: spread}, names=["kind", "figure"]))
    return pd.concat(parts)
