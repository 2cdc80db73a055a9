"""How scenarios are shared out when a program is assembled on a cluster."""

from __future__ import annotations

import gc
from typing import Any

import numpy as np
import numpy.testing as npt
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

import drofcm as dro
from drofcm.dsl import program as module
from drofcm.dsl.guard import StageModel


def order(m: dro.Stage, data: xr.Dataset) -> Any:
    return 3 * m.nonnegative("ordered")


def sell(m: dro.Stage, data: xr.Dataset) -> Any:
    sold = m.nonnegative("sold", upper=data.demand)
    m.subject_to("in_stock", sold <= m["ordered"])
    return -5 * sold


@given(st.integers(1, 5000), st.integers(1, 40))
def test_chunks_are_small_and_shared_evenly_where_that_pays(count: int, workers: int) -> None:
    size = module._chunk_size(count, workers)
    chunks = [len(range(begin, min(begin + size, count))) for begin in range(0, count, size)]
    assert sum(chunks) == count
    assert max(chunks) <= 200
    if count >= 200 * workers:
        rounds = -(-count // (200 * workers))
        # nobody has more than its share of scenarios, but for what rounding leaves
        assert size * rounds * workers < count + rounds * workers
    if workers == 1 or count < 80:
        assert len(chunks) == -(-count // 200)
    else:
        assert size >= 40


def test_both_workers_of_a_cluster_assemble_and_blocks_are_those_of_one_process(
    client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    demand = np.random.default_rng(5).uniform(10, 90, 90)
    program = dro.TwoStageProgram(
        xr.Dataset({"demand": ("scenario", demand)}, coords={"scenario": np.arange(90)}), order, sell
    )
    alone = program.on(program.data).blocks()
    sizes: list[int] = []
    original = module.spread

    def spy(function: Any, parts: list[Any], *arguments: Any, **settings: Any) -> Any:
        sizes.extend(part.data.sizes["scenario"] for part in parts)
        return original(function, parts, *arguments, **settings)

    monkeypatch.setattr(module, "spread", spy)
    blocks = program.blocks(client=client)
    assert sizes == [45, 45]
    for own, other in zip(blocks.scenarios, alone.scenarios, strict=True):
        for name, value in vars(own).items():
            expected = getattr(other, name)
            if hasattr(value, "toarray"):
                value, expected = value.toarray(), expected.toarray()
            npt.assert_array_equal(value, expected, err_msg=name)
    xr.testing.assert_equal(blocks.variables["sold"], alone.variables["sold"])


def test_no_more_than_one_chunk_is_in_memory_as_a_model() -> None:
    alive = []

    def watched(m: dro.Stage, data: xr.Dataset) -> Any:
        alive.append(sum(isinstance(thing, StageModel) for thing in gc.get_objects()))
        return sell(m, data)

    demand = np.random.default_rng(5).uniform(10, 90, 12)
    data = xr.Dataset({"demand": ("scenario", demand)}, coords={"scenario": np.arange(12)})
    gc.collect()
    gc.disable()
    try:
        dro.TwoStageProgram(data, order, watched).blocks(chunk=3)
    finally:
        gc.enable()
    assert alive == [alive[0]] * 4
