"""What a command says about those who do its work."""

from __future__ import annotations

import warnings

import pytest

from drofcm.commands.cluster import cluster
from drofcm.core.errors import DrofcmWarning


@pytest.mark.parametrize("filters", ["ignore", "error", "default"])
def test_warnings_of_a_search_are_lines_on_stderr(capsys: pytest.CaptureFixture[str], filters: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter(filters)  # type: ignore[arg-type]
        with cluster(None) as client:
            for number in range(2):
                warnings.warn(f"the disk is full, {number}", DrofcmWarning, stacklevel=1)
    assert client is None
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == [f"warning: the search: the disk is full, {number}" for number in range(2)]
