"""How a run is shown while it runs: a live table on a terminal, lines in a log."""

from __future__ import annotations

import io
import math

import pytest
import sites
from rich.console import Console

import drofcm as dro
from drofcm.commands import console
from drofcm.commands.console import Shown
from drofcm.solve.progress import Standing

SEARCH = Standing(65.4, 1_159_690.0, 1_197_696.0, "regions of the first stage", 3476, 8, 30.2, 28.0)


def shown(monkeypatch: pytest.MonkeyPatch, terminal: bool, standings: list[Standing]) -> str:
    file = io.StringIO()
    monkeypatch.setattr(console, "out", Console(file=file, force_terminal=terminal, width=140, soft_wrap=True))
    with Shown("reading") as own:
        own.phase("solving: the plan")
        for standing in standings:
            own.bounds(standing)
    return file.getvalue()


def test_a_terminal_shows_a_table(monkeypatch: pytest.MonkeyPatch) -> None:
    told = shown(monkeypatch, True, [Standing(1.0, -math.inf, math.inf), SEARCH])
    for text in ("regions of the first stage", "1,159.7", "1,197.7", "3.17%", "3,476", "8", "30", "28", "masters"):
        assert text in told


def test_a_log_hears_of_better_plans_and_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    later = SEARCH._replace(seconds=70.0)
    told = shown(monkeypatch, False, [SEARCH, later, SEARCH._replace(seconds=90.0), later._replace(upper=1_190_000.0)])
    lines = told.splitlines()
    assert lines[0] == "solving: the plan"
    assert lines[1] == (
        "solving: the plan: 65 s, 1,159.7 to 1,197.7 k$/a, gap 3.17%, 3,476 cuts, 8 scenarios whole, "
        "30 s in masters, 28 s in scenarios"
    )
    assert [line.split(": ")[2].split(",")[0] for line in lines[1:]] == ["65 s", "90 s", "70 s"]


def test_the_decomposition_tells_what_it_knows() -> None:
    seen: list[Standing] = []
    result = dro.solve(sites.blocks(), method="lshaped", gap=1e-6, workers=1, progress=seen.append)
    assert [own.phase for own in seen] == result.log["phase"].tolist()[: len(seen)]
    assert [own.cuts for own in seen] == result.log["cuts"].tolist()[: len(seen)]
    assert seen[0].cuts > 0
    assert all(0 <= own.master_seconds <= own.seconds for own in seen)
    assert seen[-1].lower <= sites.optimum() * (1 + 1e-6)
    assert seen[-1].upper >= sites.optimum() * (1 - 1e-6)
