"""What is found beside a plan that is there: no fault of it costs the plan, and all of it is told."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from tiny import TINY

from drofcm.study import run
from drofcm.study.run import open_study
from drofcm.validate.information import Foresight


@pytest.mark.parametrize("error", [ValueError("no weights"), MemoryError("too much"), KeyboardInterrupt()])
def test_foresight_that_fails_is_left_out_with_the_reason(
    error: BaseException, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> Foresight:
        raise error

    (tmp_path / "study.yaml").write_text(TINY, encoding="utf-8")
    monkeypatch.setattr(run, "foresight", fail)
    log = run._Logged(run._Silent())
    found = run._foreseen(open_study(tmp_path / "study.yaml"), cast(Any, None), cast(Any, None), log, None)
    assert str(error) in found.left_out
    assert found.left_out


def test_scenarios_whose_dispatch_is_another_one_are_warnings() -> None:
    # the provenance holds labels as messages show them: text in quotes, numbers as they are
    kept = {"its integers are not whole": ["0", "'wet'"]}
    plan = SimpleNamespace(provenance={"preference": {"expressions": 2, "kept": kept}})
    (told,) = run._Outcome(cast(Any, plan), {}, None, (), Foresight()).findings
    assert told.severity == "warning"
    assert told.where == "dispatch of scenario 0, 'wet'"
    assert "its integers are not whole" in told.what
