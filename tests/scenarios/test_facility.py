"""Many servers at one bus: what smooths and what does not, against sums of single servers and closed forms."""

from __future__ import annotations

import numpy as np
import pytest

from drofcm.core.errors import InputError
from drofcm.scenarios.facility import Facility, cluster_load, day_of_requests, facility_load, pooled
from drofcm.scenarios.loads import INFERENCE_SERVICES, inference_load, ramp_figures


@pytest.mark.parametrize("servers", [4, 25])
def test_pooled_servers_are_the_sum_of_single_ones(servers: int) -> None:
    service = INFERENCE_SERVICES["llama_70b"]
    rng = np.random.default_rng(2)
    single = np.mean([inference_load(4000, rng=rng, service=service) for _ in range(servers)], axis=0)
    together = np.asarray(inference_load(4000, rng=rng, service=pooled(service, servers)))
    assert together.mean() == pytest.approx(single.mean(), abs=0.003)
    assert together.std() == pytest.approx(single.std(), rel=0.12)
    assert np.abs(np.diff(together)).mean() == pytest.approx(np.abs(np.diff(single)).mean(), rel=0.12)


def test_stalls_of_single_servers_become_level_and_spread() -> None:
    service = INFERENCE_SERVICES["qwen_30b"]
    rng = np.random.default_rng(4)
    single = np.mean([inference_load(6000, rng=rng, service=service) for _ in range(40)], axis=0)
    together = pooled(service, 40)
    assert together.level == pytest.approx(single.mean(), abs=0.004)
    assert together.spread == pytest.approx(single.std(), rel=0.2)


def test_one_job_does_not_smooth_and_many_do() -> None:
    rng = np.random.default_rng(6)

    def swing(facility: Facility) -> float:
        return float(np.mean([facility_load(facility, 1800, rng=rng).std() for _ in range(6)]))

    bare = {"overhead": 0.0}
    one, large = (swing(Facility(training_mw=(mw,), **bare)) / mw for mw in (0.01, 10.0))
    assert large == pytest.approx(one, rel=0.3)  # a job of a thousand servers swings like that of one
    sixteen = swing(Facility(training_mw=(10 / 16,) * 16, **bare)) / 10
    assert sixteen == pytest.approx(large / 4, rel=0.35)  # independent jobs: 1 / sqrt(16)
    served = [swing(Facility(inference_mw=mw, **bare)) / mw for mw in (0.0055, 0.55)]
    assert served[1] == pytest.approx(served[0] / 10, rel=0.15)  # a hundred servers: 1 / sqrt(100)


def test_sites_of_a_cluster_swing_together_as_far_as_they_share_the_job() -> None:
    def correlation(common: float) -> float:
        rng = np.random.default_rng(9)
        sites = [Facility(training_mw=(5.0,), overhead=0.0)] * 2
        rows = [cluster_load(sites, 3600, rng=rng, common=common).values for _ in range(6)]
        return float(np.mean([np.corrcoef(pair)[0, 1] for pair in rows]))

    assert correlation(1.0) == pytest.approx(1, abs=1e-9)
    assert abs(correlation(0.0)) < 0.15
    half = correlation(0.5)
    assert half == pytest.approx(0.5, abs=0.15)  # 0.25 / (0.25 + 0.25)


def test_cooling_keeps_energy_and_softens_ramps() -> None:
    fast, slow = (
        facility_load(Facility(training_mw=(1.0,), overhead=0.4, cooling_s=delay), 7200, rng=np.random.default_rng(3))
        for delay in (0.0, 300.0)
    )
    assert float(slow.mean()) == pytest.approx(float(fast.mean()), rel=0.02)
    assert ramp_figures(slow)["rise_1s"] < 0.9 * ramp_figures(fast)["rise_1s"]


def test_power_is_within_the_peak_and_follows_the_day() -> None:
    facility = Facility(training_mw=(1.0, 2.0), inference_mw=3.0, night=0.5)
    load = facility_load(facility, 3600, rng=np.random.default_rng(1))
    assert load.attrs["units"] == "MW"
    assert 0 < float(load.min()) <= float(load.max()) <= facility.peak_mw
    day = day_of_requests(86_400, night=0.5, start_hour=0.0)
    assert (np.argmax(day) / 3600, day.max()) == (pytest.approx(14, abs=0.01), pytest.approx(1))
    assert (day.min(), day.mean()) == (pytest.approx(0.5), pytest.approx(0.75))


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(InputError) as caught:
        Facility(training_mw=(1.0, -1.0), night=1.5, service="llama_8", job="checkpoint_51")
    assert len(caught.value.findings) == 4
    assert "training_mw[1]: must be within 0 and inf, got -1.0" in str(caught.value)
    with pytest.raises(InputError, match="nothing runs"):
        Facility()
    with pytest.raises(InputError, match="servers: must be a whole number of at least 1, got 0"):
        pooled(INFERENCE_SERVICES["llama_8b"], 0)
    with pytest.raises(InputError, match="there is no facility"):
        cluster_load([], 10, rng=np.random.default_rng(0))
