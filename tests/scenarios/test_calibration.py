"""A process calibrated to a trace: parameters that are known come back, and measured figures are met."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from scipy.stats import lognorm

from drofcm.core.errors import InputError
from drofcm.data import load_trace
from drofcm.scenarios.calibration import _shape, calibrate, compare, quantiles_of_change, reference_table
from drofcm.scenarios.loads import TRAINING_JOBS, InferenceService, TrainingJob, inference_load, training_load

# how far the generated quantile of the change within 1, 10 and 60 s may lie from that of a measured trace of a minute
# or two, share of peak: the 99 % quantile rests on one or two seconds of it
CHANGE_TOLERANCE = {0.5: 0.02, 0.9: 0.035, 0.99: 0.05}


@pytest.mark.parametrize("name", TRAINING_JOBS)
def test_a_training_job_comes_back(name: str) -> None:
    job = TRAINING_JOBS[name]
    found = calibrate(training_load(20_000, rng=np.random.default_rng(3), job=job))
    assert isinstance(found, TrainingJob)
    assert found.busy_s == pytest.approx(job.busy_s, rel=0.15)
    assert found.stops == pytest.approx(job.stops, abs=0.07)
    assert found.idle[0] == pytest.approx(np.mean(job.idle), abs=0.06)
    assert np.mean(found.plateau) == pytest.approx(np.mean(job.plateau), abs=0.04)
    if name != "checkpoint_50":  # its dips are so spread that some count as brief: together they must agree
        assert found.dip_s == pytest.approx(job.dip_s, rel=0.15)
        assert found.brief == pytest.approx(job.brief, abs=0.1)


def test_what_is_generated_from_a_calibrated_job_is_like_the_trace() -> None:
    trace = training_load(6_000, rng=np.random.default_rng(11), job="checkpoint_200")
    table = compare(trace, calibrate(trace), rng=np.random.default_rng(1), traces=30)
    for name, tolerance in {"mean": 0.06, "p05": 0.03, "p95": 0.03, "rise_1s": 0.08, "dip_median": 4}.items():
        assert table.loc[name, "median"] == pytest.approx(table.loc[name, "measured"], abs=tolerance), name


def test_an_inference_service_comes_back() -> None:
    service = InferenceService(level=0.88, spread=0.03, memory=0.4, skew=0.2)
    found = calibrate(inference_load(20_000, rng=np.random.default_rng(5), service=service))
    assert isinstance(found, InferenceService)
    peak = float(np.quantile(inference_load(20_000, rng=np.random.default_rng(5), service=service), 0.999))
    assert found.level * peak == pytest.approx(service.level, abs=0.01)
    assert found.spread * peak == pytest.approx(service.spread, rel=0.1)
    assert found.memory == pytest.approx(service.memory, abs=0.05)
    assert found.skew == pytest.approx(service.skew, abs=0.08)
    assert found.stall_every_s == np.inf


def test_stalls_are_counted() -> None:
    service = InferenceService(level=0.95, spread=0.01, memory=0.0, stall_every_s=200)
    found = calibrate(inference_load(20_000, rng=np.random.default_rng(8), service=service), workload="inference")
    assert isinstance(found, InferenceService)
    assert found.stall_every_s == pytest.approx(200, rel=0.3)


@pytest.mark.parametrize("shape", [0.1, 0.3, 0.8])
def test_the_shape_has_the_skewness_of_the_log_normal(shape: float) -> None:
    assert _shape(float(lognorm(shape).stats("s"))) == pytest.approx(shape, abs=1e-6)


def test_traces_that_say_nothing_are_refused() -> None:
    def trace(values: np.ndarray, **attrs: object) -> xr.DataArray:
        return xr.DataArray(values, dims="second", attrs=attrs)

    varying = 1 + 0.1 * np.random.default_rng(1).random(200)
    cases = {
        "power is constant": trace(np.full(200, 5.0)),
        "NaN in 1 seconds": trace(np.where(np.arange(200) == 7, np.nan, varying)),
        "power is negative in 1 seconds": trace(np.where(np.arange(200) == 7, -1, varying)),
        "is 30 s long, 60 s are needed": trace(varying[:30]),
        "was read every 5 s": trace(varying, interval_s=5.0),
        "must be a labelled array": varying,
        "must be over (second,)": xr.DataArray(varying, dims="time"),
    }
    for message, case in cases.items():
        with pytest.raises(InputError) as caught:
            calibrate(case)  # type: ignore[arg-type]
        assert message in str(caught.value)
    with pytest.raises(InputError, match="holds 0 whole dips"):
        calibrate(trace(varying), workload="training")


def test_measured_inference_and_what_is_generated_ramp_alike(benchmarks: Path) -> None:
    """1-s, 10-s and 60-s quantiles of change, against the process calibrated to each measured trace."""
    for number, path in enumerate(sorted((benchmarks / "ai_power" / "inference").glob("Llama*.csv"))):
        trace = load_trace(path)
        process = calibrate(trace)
        assert isinstance(process, InferenceService)
        rng = np.random.default_rng(number)
        generated = [
            quantiles_of_change(inference_load(trace.sizes["second"], rng=rng, service=process)) for _ in range(40)
        ]
        median = np.median(generated, axis=0)
        measured = quantiles_of_change(trace)
        for row, (level, tolerance) in enumerate(CHANGE_TOLERANCE.items()):
            away = np.abs(median[row] - measured.loc[level].to_numpy())
            assert (away <= tolerance).all(), (path.name, level, away)


def test_the_table_for_the_picture_is_complete() -> None:
    table = reference_table(traces=3)
    assert set(table.index.get_level_values("kind")) >= set(TRAINING_JOBS)
    assert not table.isna().any().any()
    assert (table["low"] <= table["median"]).all()
    again = reference_table(traces=3)
    assert table.equals(again)


def test_seconds_in_minutes_with_a_few_decimals_are_seconds(tmp_path: Path) -> None:
    path = tmp_path / "minutes.csv"
    power = np.repeat([0.9, 0.3], 30)
    rows = (f"{k / 60:.6f},{power[k % 60] + 0.01 * (k % 7)}" for k in range(900))
    path.write_text("minute,power_MW\n" + "\n".join(rows) + "\n", encoding="utf-8")
    trace = load_trace(path)
    assert trace.attrs["interval_s"] == pytest.approx(1, abs=1e-4)
    calibrate(trace)
    with pytest.raises(InputError, match=r"was read every 1\.1 s"):
        calibrate(trace.assign_attrs(interval_s=1.1))
