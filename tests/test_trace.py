"""Reading measured traces: seconds against brute force, and every fault with file and line, all at once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drofcm.core.errors import InputError
from drofcm.data import load_trace


@pytest.fixture
def written(tmp_path: Path):
    def write(text: str) -> Path:
        path = tmp_path / "trace.csv"
        path.write_text(text, encoding="utf-8")
        return path

    return write


def findings(path: Path, **options: object) -> list[str]:
    with pytest.raises(InputError) as caught:
        load_trace(path, **options)  # type: ignore[arg-type]
    return [str(finding).replace(f"{path}", "trace.csv") for finding in caught.value.findings]


def test_irregular_readings_stand_until_the_next(written) -> None:
    trace = load_trace(written("t,power_kw\n0,100\n0.25,200\n1.5,400\n2,300\n3.5,0\n"))
    # by hand: [0, 1): 100 for 0.25 s and 200 for 0.75 s; [1, 2): 200 and 400 for half a second each; then 300;
    # [3, 4): 300 for half a second, then 0; the last reading stands for the usual interval, 0.875 s
    assert trace.values == pytest.approx([0.175, 0.3, 0.3, 0.15])
    assert (trace.attrs["units"], trace.attrs["interval_s"]) == ("MW", pytest.approx(0.875))


def test_power_runs_straight_between_readings_if_asked(written) -> None:
    trace = load_trace(written("t,power [MW]\n0,0\n0.5,1\n2.5,3\n3,3\n"), between="linear", longest_gap_s=2)
    # by hand: 0 to 1 in half a second, then 1 MW/s: 1 to 1.5, 1.5 to 2.5, 2.5 to 3 and 3
    assert trace.values == pytest.approx([0.25 + 0.625, 2.0, 0.5 * 2.75 + 0.5 * 3])


@settings(max_examples=40)
@given(
    st.lists(st.tuples(st.integers(1, 12), st.integers(0, 900)), min_size=15, max_size=60),
    st.sampled_from(["hold", "linear"]),
)
def test_energy_is_that_of_brute_force(tmp_path_factory: pytest.TempPathFactory, readings, between: str) -> None:
    path = tmp_path_factory.mktemp("trace") / "t.csv"
    ticks = np.cumsum([0, *(step for step, _ in readings[1:])])  # tenths of a second
    power = np.array([watts for _, watts in readings], dtype=float)
    path.write_text(
        "s,W\n" + "\n".join(f"{float(tick) / 10!r},{watts}" for tick, watts in zip(ticks, power, strict=True))
    )
    trace = load_trace(path, between=between, longest_gap_s=10)
    fine = np.arange(0, 10 * (ticks[-1] // 10)) + 0.5
    if between == "hold":
        value = power[np.searchsorted(ticks, fine, side="right") - 1]
    else:
        value = np.interp(fine, ticks, power)
    expected = value.reshape(-1, 10).mean(axis=1)
    assert trace.values[: len(expected)] * 1e6 == pytest.approx(expected, abs=1e-6)


def test_dates_and_units(written) -> None:
    text = "when,site,power\n2026-01-01T00:00:00Z,a,2\n2026-01-01T00:00:01Z,a,3\n2026-01-01T00:00:02Z,a,4\n"
    path = written(text)
    assert load_trace(path, power="power", unit="MW").values == pytest.approx([2, 3, 4])
    found = findings(path)
    assert len(found) == 1
    assert found[0].startswith(
        "trace.csv:1: which column is the power cannot be told: 'site', 'power' (name it: power="
    )
    assert (
        "no unit is stated (end the name in _W, _kW or _MW, or give unit= (--unit" in findings(path, power="power")[0]
    )
    assert "no column 'powr' (did you mean 'power'?)" in findings(path, power="powr")[0]
    assert "unknown unit 'GW'" in findings(path, power="power", unit="GW")[0]


def test_a_unit_is_never_guessed_against_the_column(written) -> None:
    assert findings(written("t,power_kW\n0,1\n1,1\n2,1\n"), unit="W") == [
        "trace.csv:1: power_kW: the column says kW, unit='W' is asked for (correct one)"
    ]


def test_all_faults_at_once_with_their_lines(written) -> None:
    text = "t,p_W\n0,10\n1,-3\n2,11\n2,12\n1.5,12\n3,x\n4,10\nnoon,10\n5,10\n6,10,7\n7,10\n90,10\n91,nan\n92,9\n"
    found = findings(written(text))
    assert found == [
        "trace.csv:11: number of cells differs from the header",
        "trace.csv:9: t: is no time: 'noon'",
        "trace.csv:7: p_W: is no number: 'x'",
        "trace.csv:14: p_W: is no number: 'nan'",
        "trace.csv:3: p_W: is negative: -3",
        "trace.csv:5: t: the same time as in line 4",
        "trace.csv:6: t: lies before line 5",
        "trace.csv:13: no reading for 83 s; at most 20 s are bridged (1 s, or ten times the usual interval if that is "
        "longer) (cut the trace there, or raise longest_gap_s (--longest-gap-s))",
    ]


def test_the_gap_rule_is_the_users(written) -> None:
    path = written("t,p_W\n0,10\n1,10\n2,10\n7,20\n8,20\n")
    assert load_trace(path).attrs["longest_gap_s"] == 5
    assert "no reading for 5 s; at most 3 s are bridged (longest_gap_s)" in findings(path, longest_gap_s=3)[0]
    assert "must be above 0 s" in findings(path, longest_gap_s=0)[0]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "holds no readings"),
        ("t,p_W\n", "holds no readings"),
        ("t,p_W\n0,1\n0.5,2\n", "holds less than a second"),
    ],
)
def test_files_without_a_trace(written, text: str, message: str) -> None:
    assert message in findings(written(text))[0]


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.csv: cannot be read: no such file"):
        load_trace(tmp_path / "none.csv")


def test_measured_traces_are_read_to_the_second(benchmarks: Path) -> None:
    paths = sorted((benchmarks / "ai_power" / "inference").glob("*.csv"))
    assert len(paths) == 4
    for path in paths:
        table = pd.read_csv(path)
        by_second = table["power_total_W"].groupby(table["relative_time_s"].astype(int)).mean().to_numpy() / 1e6
        trace = load_trace(path)
        assert len(by_second) - len(trace) in (0, 1)  # a last second that is not whole
        assert trace.values == pytest.approx(by_second[: len(trace)], rel=1e-9)


# ==== What the columns mean =============================================================================

READINGS = (100.0, 200.0, 300.0, 250.0)


def table(head: str, stamps: list[str], separator: str = ",", powers: tuple[object, ...] = READINGS) -> str:
    cells = (f"{stamp}{separator}{power}" for stamp, power in zip(stamps, powers, strict=True))
    return "\n".join([head, *cells]) + "\n"


@pytest.mark.parametrize(
    ("head", "stamps", "options"),
    [
        ("timestamp_ms", ["1714557600000", "1714557601000", "1714557602000", "1714557603000"], {}),
        ("time_ns", [f"{1714557600 + k}000000007" for k in range(4)], {}),
        ("timestamp", [f"{1714557600 + k}000000" for k in range(4)], {}),
        ("unix time", [f"{1714557600 + k}" for k in range(4)], {}),
        ("elapsedMs", ["0", "1000", "2000", "3000"], {}),
        ("ms_since_start", ["5", "1005", "2005", "3005"], {}),
        ("Time (sec)", ["0", "1", "2", "3"], {}),
        ("t [s]", ["0", "1", "2", "3"], {}),
        ("minute", [f"{k / 60!r}" for k in range(4)], {}),
        ("hours", [f"{k / 3600!r}" for k in range(4)], {}),
        ("time", [f"{45000 + k / 86400!r}" for k in range(4)], {"time_unit": "d"}),
        ("time", ["0", "1000", "2000", "3000"], {"time_unit": "ms"}),
        ("when", [f"2026-03-29T00:59:5{k + 6}.000+01:00" for k in range(4)], {}),
        ("when", ["2026-01-01 10:00:00+01:00", *(f"2026-01-01T09:00:0{k}Z" for k in (1, 2, 3))], {}),
    ],
)
def test_stamps_a_second_apart_in_every_unit(written, head: str, stamps: list[str], options) -> None:
    trace = load_trace(written(table(f"{head},power_kW", stamps)), **options)
    assert trace.values == pytest.approx([0.1, 0.2, 0.3, 0.25], abs=1e-5)
    assert trace.attrs["interval_s"] == pytest.approx(1, rel=1e-5)


@pytest.mark.parametrize(
    ("head", "stamps", "options", "message"),
    [
        ("time", ["0", "1", "2", "3"], {}, "time: no unit of time is stated (end the name in _s, _ms"),
        ("sample", ["0", "1", "2", "3"], {}, "sample: no unit of time is stated"),
        ("month", ["0", "1", "2", "3"], {}, "month: no unit of time is stated"),
        ("min s", ["0", "1", "2", "3"], {}, "the unit of time may be min or s"),
        ("date", ["45000.1", "45000.2", "45000.3", "45000.4"], {}, "as spreadsheets count them, are 'd'"),
        ("time_s", [f"{1714557600 + k}000" for k in range(4)], {}, "look like ms since 1970"),
        ("time_ms", [f"{1714557600 + k}" for k in range(4)], {}, "look like s since 1970"),
        ("time_ms", ["0", "1", "2", "3"], {"time_unit": "s"}, "the column says ms, time_unit='s' is asked for"),
        ("time", ["0", "1", "2", "3"], {"time_unit": "sec"}, "unknown unit 'sec'"),
        ("when", [f"2026-01-01T00:00:0{k}" for k in range(4)], {"time_unit": "s"}, "holds dates and times"),
        ("when", ["2026-01-01T00:00:00", *(f"2026-01-01T00:00:0{k}Z" for k in (1, 2, 3))], {}, "3 stamps state a time"),
        ("when", ["1.2.2026 00:00", "1.2.2026 00:01", "1.2.2026 00:02", "1.2.2026 00:03"], {}, "is no time"),
        ("day", ["0", "200", "400", "600"], {"longest_gap_s": 1e9}, "the readings span 600 days"),
    ],
)
def test_units_of_time_that_are_not_understood_are_refused(written, head, stamps, options, message: str) -> None:
    found = findings(written(table(f"{head},power_kW", stamps)), **options)
    assert message in found[0]
    assert found[0].startswith("trace.csv:") or "time_unit" in found[0]


@pytest.mark.parametrize(
    ("head", "options", "message"),
    [
        ("power_mw", {}, "power_mw: mw may be milliwatts or megawatts (end the name in _W, _kW or _MW, or give unit="),
        ("power_mW", {}, "mW may be milliwatts or megawatts"),
        ("power", {}, "no unit is stated"),
        ("power_raw", {}, "no unit is stated"),
        ("energy_kWh", {}, "is in kWh, which is no power"),
        ("energy_kWh", {"unit": "kW"}, "is in kWh, which is no power"),
        ("power_MW", {"unit": "W"}, "the column says MW, unit='W' is asked for"),
    ],
)
def test_units_of_power_that_are_not_understood_are_refused(written, head: str, options, message: str) -> None:
    assert message in findings(written(table(f"t,{head}", ["0", "1", "2", "3"])), **options)[0]


def test_an_ambiguous_unit_is_settled_by_the_argument_and_absurd_power_is_refused(written) -> None:
    path = written(table("time_s,power_mw", ["0", "1", "2", "3"]))
    assert load_trace(path, unit="MW").values == pytest.approx(READINGS)
    path = written(table("time_s,power_mw", ["0", "1", "2", "3"], powers=(300_000, 310_000, 305_000, 300_000)))
    assert "310,000 MW are more than any site draws (correct the unit" in findings(path, unit="MW")[0]


# ==== How it is written =================================================================================


@pytest.mark.parametrize(
    "text",
    [
        "time_s;power_kW\n0;100,5\n1;200,5\n2;300,25\n",
        "time_s\tpower_kW\n0\t100.5\n1\t200.5\n2\t300.25\n",
        "time_s\tpower_kW\n0,0\t100,5\n1,0\t200,5\n2,0\t300,25\n",
        '\ufefftime_s,"power, kW"\n0,100.5\n1,200.5\n2,300.25\n',
        'time_s,power_kW\n0,"100,5"\n1,"200,5"\n2,"300,25"\n',
        "\ntime_s;power_kW;note\n0;100,5;a,b\n1;200,5;c\n2;300,25;\n",
    ],
)
def test_separators_and_decimal_commas(written, text: str) -> None:
    assert load_trace(written(text)).values == pytest.approx([0.1005, 0.2005, 0.30025])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("time_s;power_W\n0;1,500\n1;2,500\n", "1: power_W: its commas may be decimal marks or set thousands apart"),
        ("time_s;power_W\n0;1.500,5\n1;2,5\n", "2: power_W: is no number: '1.500,5'"),
        ("0,100\n1,200\n2,300\n", "1: the first line holds readings; a header is needed"),
        ("2026-01-01T00:00:00Z;100,5\n2026-01-01T00:00:01Z;200\n", "1: the first line holds readings"),
        ("t,p_W\n0," + "1" * 200_000 + "\n1,2\n", "2: a cell of more than 131,072 characters"),
        ("power_kW\n1\n2\n", "1: there is one column, 'power_kW'"),
        ("time;s\tpower_W\n0;1\t1\n", "1: cells may be separated by semicolons and tabs"),
    ],
)
def test_files_that_can_be_read_in_two_ways_or_none_are_refused(written, text: str, message: str) -> None:
    found = findings(written(text))
    assert found[0].startswith(f"trace.csv:{message}")


def test_a_column_named_twice_and_one_for_both_are_refused(written) -> None:
    path = written("time_s,p_W,p_W\n0,1,2\n1,1,2\n")
    assert "column 'p_W' stands there 2 times" in findings(path, power="p_W")[0]
    assert "cannot be time and power" in findings(path, time="time_s", power="time_s")[0]


def test_files_that_are_no_text(tmp_path: Path) -> None:
    path = tmp_path / "trace.csv"
    path.write_bytes("zeit_s,leistung für alle_W\n0,1\n1,1\n".encode("latin-1"))
    assert "UTF-8" in findings(path)[0]
