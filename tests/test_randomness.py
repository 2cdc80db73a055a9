"""Drawn figures are the same bytes on every processor: with other instruction sets, and with other last bits."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import drawn_bytes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from drofcm.core.randomness import settled, stream
from drofcm.scenarios.loads import training_load

OLD_PROCESSOR = {
    "NPY_DISABLE_CPU_FEATURES": "X86_V3 X86_V4 AVX512_ICL AVX512_SPR",
    "GLIBC_TUNABLES": "glibc.cpu.hwcaps=-FMA,-FMA4,-AVX2,-AVX,-AVX512F",
    "OPENBLAS_CORETYPE": "Prescott",
}
"""Instructions that numpy, the library of mathematics and that of matrices do without."""


@pytest.fixture(scope="module")
def here() -> dict[str, object]:
    return {"drawn": drawn_bytes.drawn(), "tools": drawn_bytes.tools()}


def test_other_instruction_sets_draw_the_same_bytes(here: dict[str, object]) -> None:
    done = subprocess.run(
        [sys.executable, str(Path(drawn_bytes.__file__))],
        env=os.environ | OLD_PROCESSOR,
        capture_output=True,
        text=True,
        check=True,
    )
    there = json.loads(done.stdout)
    assert there["drawn"] == here["drawn"]
    if there["tools"] == here["tools"]:
        pytest.skip("the same on this machine: it has no other instructions to draw by")


def nudged(values: object, noise: np.random.Generator) -> np.ndarray:
    """Figures whose last bits are those of another processor."""
    exact = np.asarray(values, dtype=float)
    wrong = np.where(noise.random(exact.shape) < 0.5, np.nextafter(exact, np.inf), np.nextafter(exact, -np.inf))
    return np.where((exact == 0) | (noise.random(exact.shape) < 0.3), exact, wrong)


class Shaky(np.random.Generator):
    """A generator that makes other last bits of the same stream."""

    noise = np.random.default_rng(1)

    def standard_normal(self, *args: object, **options: object) -> np.ndarray:
        return nudged(super().standard_normal(*args, **options), self.noise)  # type: ignore[arg-type]

    def lognormal(self, *args: object, **options: object) -> np.ndarray:
        return nudged(super().lognormal(*args, **options), self.noise)  # type: ignore[arg-type]

    def exponential(self, *args: object, **options: object) -> np.ndarray:
        return nudged(super().exponential(*args, **options), self.noise)  # type: ignore[arg-type]

    def dirichlet(self, *args: object, **options: object) -> np.ndarray:
        return nudged(super().dirichlet(*args, **options), self.noise)  # type: ignore[arg-type]


def test_other_last_bits_of_every_function_draw_the_same_bytes(
    here: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    functions = {name: getattr(np, name) for name in ("exp", "log")}
    for name, exact in functions.items():
        monkeypatch.setattr(np, name, lambda x, exact=exact, **options: nudged(exact(x, **options), Shaky.noise))
    monkeypatch.setattr(
        np.random, "default_rng", lambda seed: seed if isinstance(seed, Shaky) else Shaky(np.random.PCG64(seed))
    )
    assert drawn_bytes.drawn() == here["drawn"]
    # without rounding they differ
    monkeypatch.setattr("drofcm.scenarios.loads.settled", lambda load: load)
    unsettled = training_load(3000, rng=stream(1, "a"), job="checkpoint_100")
    assert drawn_bytes.of(unsettled) != here["drawn"]["training"]  # type: ignore[index]


def test_what_is_drawn_keeps_its_bounds_where_these_are_no_round_figures() -> None:
    events = drawn_bytes.ensemble(20)
    most, least = {"3": 1.6 + 0.3333333, "4": 0.1234567 + 0.2}, {"3": -0.5, "4": -0.7654321}
    for node in ("3", "4"):
        assert float(events["shock_high"].sel(node=node).max()) <= most[node]
        assert float(events["shock_low"].sel(node=node).min()) >= least[node]
    assert (events["shock_low"] <= events["shock"]).all()
    assert (events["shock"] <= events["shock_high"]).all()


@given(st.lists(st.floats(-1e4, 1e4), min_size=1, max_size=20))
def test_settled_figures_keep_their_order_and_stay_settled(values: list[float]) -> None:
    drawn = np.sort(np.array(values))
    once = settled(drawn)
    assert (np.diff(once) >= 0).all()
    assert np.abs(once - drawn).max() <= 0.5e-6 + 1e-11
    assert settled(once).tobytes() == once.tobytes()
    assert not np.signbit(once[once == 0]).any()
