"""Pictures of an ensemble: how the load goes on, how often each class comes, what moves together, how loads ramp."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import pandas as pd
import xarray as xr
from matplotlib.figure import Figure

from drofcm.report.style import INK, MUTED

__all__ = ["class_chart", "dependence_chart", "exceedance_chart", "fan_chart", "ramp_chart"]

_BLUE: Final = "#0072b2"
_ORANGE: Final = "#d55e00"
_BANDS: Final = ((0.05, 0.95, 0.18), (0.25, 0.75, 0.35))
_FIGURES: Final = {
    "mean": "mean",
    "p05": "5 % quantile",
    "p95": "95 % quantile",
    "change_1s_p99": "1 s, 99 % quantile",
    "rise_1s": "1 s, largest rise",
    "fall_1s": "1 s, largest fall",
    "rise_10s": "10 s, largest rise",
    "fall_10s": "10 s, largest fall",
    "change_60s": "60 s, largest change",
    "dip_median": "median dip, s",
}


def fan_chart(ensemble: xr.Dataset, step_length: xr.DataArray) -> Figure:
    """Change of load of all nodes together over time, a panel per class: median, quarters, 5 to 95 %, and extremes.

    Parameters
    ----------
    ensemble
        ``shock``, ``shock_high``, ``shock_low`` [MW] over (scenario, node, time), ``probability`` and ``event_class``
        over (scenario).
    step_length
        h over (time).
    """
    classes = list(dict.fromkeys(map(str, ensemble["event_class"].values)))
    figure = Figure(figsize=(3.1 * min(len(classes), 3), 2.5 * -(-len(classes) // 3)), layout="constrained")
    axes = figure.subplots(-(-len(classes) // 3), min(len(classes), 3), sharex=True, sharey=True, squeeze=False)
    edges = np.concatenate([[0.0], np.cumsum(step_length.values)]) * 60
    for axis, name in zip(axes.flat, classes, strict=False):
        chosen = ensemble.isel(scenario=np.flatnonzero(ensemble["event_class"].values == name))
        weight = chosen["probability"].values
        total = {key: chosen[key].sum("node").transpose("scenario", "time").values for key in _PARTS}
        for low, high, alpha in _BANDS:
            band = [_quantile(total["shock"], weight, level) for level in (low, high)]
            axis.fill_between(edges, _steps(band[0]), _steps(band[1]), step="post", color=_BLUE, alpha=alpha, lw=0)
        axis.step(edges, _steps(_quantile(total["shock"], weight, 0.5)), where="post", color=_BLUE, lw=1.4)
        for key in ("shock_high", "shock_low"):
            extreme = total[key].max(axis=0) if key == "shock_high" else total[key].min(axis=0)
            axis.step(edges, _steps(extreme), where="post", color=_ORANGE, lw=0.8, ls=":")
        axis.set_title(f"{name.replace('_', ' ')}, {weight.sum():.0%} of events", fontsize=9, color=INK)
        axis.axhline(0, color=MUTED, lw=0.5)
    for axis in axes.flat[len(classes) :]:
        axis.set_axis_off()
    axes[0, 0].set_xscale("symlog", linthresh=10)
    axes[0, 0].set_xlim(0, edges[-1])
    figure.supxlabel("minutes after the onset", fontsize=9)
    figure.supylabel("change of load, all nodes, MW", fontsize=9)
    return _tidy(figure)


_PARTS: Final = ("shock", "shock_high", "shock_low")


def _steps(values: Any) -> Any:
    """A value per edge: the last one is repeated."""
    return np.append(values, values[-1])


def _quantile(values: Any, weight: Any, level: float) -> Any:
    """Quantile over scenarios with their probabilities, (time)."""
    order = np.argsort(values, axis=0)
    mass = np.cumsum(weight[order], axis=0) / weight.sum()
    place = np.argmax(mass >= level - 1e-12, axis=0)
    return np.take_along_axis(values, np.take_along_axis(order, place[None], axis=0), axis=0)[0]


def class_chart(ensemble: xr.Dataset, kept: xr.Dataset | None = None) -> Figure:
    """Probability and number of scenarios of each class; beside it those of the reduced ensemble, if there is one."""
    shares = {"generated": ensemble} | ({"reduced": kept} if kept is not None else {})
    classes = list(dict.fromkeys(map(str, ensemble["event_class"].values)))
    figure = Figure(figsize=(5.5, 0.6 + 0.38 * len(classes)), layout="constrained")
    axis = figure.subplots()
    height = 0.8 / len(shares)
    for rank, (label, data) in enumerate(shares.items()):
        member = data["event_class"].values.astype(str)
        mass = [float(data["probability"].values[member == name].sum()) for name in classes]
        at = np.arange(len(classes)) + (rank - (len(shares) - 1) / 2) * height
        axis.barh(at, mass, height, color=(_BLUE, _ORANGE)[rank], label=label)
        for place, name, share in zip(at, classes, mass, strict=True):
            text = f" {share:.1%}, {int((member == name).sum())} scenarios"
            axis.text(share, place, text, va="center", fontsize=7, color=INK)
    axis.set_yticks(range(len(classes)), [name.replace("_", " ") for name in classes])
    axis.invert_yaxis()
    axis.set_xlim(0, 1.45 * max(axis.get_xlim()[1], 0.01))
    axis.set_xlabel("probability given an event", fontsize=9)
    if kept is not None:
        axis.legend(fontsize=7, frameon=False)
    return _tidy(figure)


def dependence_chart(ensemble: xr.Dataset) -> Figure:
    """Rank correlation between nodes of the largest change of load in an event: what comes together."""
    size = abs(ensemble["shock"]).max("time")
    peak = ensemble["shock"].isel(time=abs(ensemble["shock"]).argmax("time")).where(size > 0, 0.0)
    table = pd.DataFrame(peak.transpose("scenario", "node").values, columns=[str(node) for node in peak["node"].values])
    table = table.loc[:, table.nunique() > 1]
    correlation = table.corr("spearman")
    figure = Figure(figsize=(1.6 + 0.36 * len(table.columns), 1.2 + 0.36 * len(table.columns)), layout="constrained")
    axis = figure.subplots()
    image = axis.imshow(correlation, vmin=-1, vmax=1, cmap="RdBu_r")
    axis.set_xticks(range(len(correlation)), list(correlation.columns))
    axis.set_yticks(range(len(correlation)), list(correlation.columns))
    axis.set_xlabel("bus", fontsize=9)
    axis.set_ylabel("bus", fontsize=9)
    figure.colorbar(image, ax=axis, shrink=0.7).ax.tick_params(labelsize=7)
    axis.set_title("rank correlation of the largest change", fontsize=9, color=INK)
    return _tidy(figure)


def ramp_chart(table: pd.DataFrame) -> Figure:
    """Measured figures against generated ones, a panel per figure.

    Parameters
    ----------
    table
        `drofcm.scenarios.calibration.reference_table`.
    """
    kinds = list(dict.fromkeys(table.index.get_level_values("kind")))
    figure = Figure(figsize=(11, 5.2), layout="constrained")
    axes = figure.subplots(2, 5, sharey=True)
    at = np.arange(len(kinds))
    for axis, (name, title) in zip(axes.flat, _FIGURES.items(), strict=True):
        rows = table.xs(name, level="figure").loc[kinds]
        axis.hlines(at, rows["low"], rows["high"], color=_BLUE, lw=4, alpha=0.35, label="generated, 5 to 95 %")
        axis.plot(rows["median"], at, "|", color=_BLUE, ms=9, mew=1.6, label="generated, median")
        axis.plot(rows["measured"], at, "o", color=_ORANGE, ms=4, label="measured")
        axis.set_title(title, fontsize=9, color=INK)
        axis.set_xlim(left=0)
    axes[0, 0].set_yticks(at, [kind.replace("_", " ") for kind in kinds])
    axes[0, 0].invert_yaxis()
    figure.legend(
        *axes[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=3, fontsize=8, frameon=False
    )
    figure.supxlabel("share of the trace's own peak, unless seconds", fontsize=9)
    return _tidy(figure)


def exceedance_chart(loads: Mapping[str, tuple[xr.DataArray, xr.DataArray]]) -> Figure:
    """How often power changes by more than so much within 1, 10 and 60 s: measured traces and what is generated.

    Parameters
    ----------
    loads
        By name: a measured trace and a generated one, each over (second,), in one unit.
    """
    figure = Figure(figsize=(9, 2.6 * len(loads)), layout="constrained")
    axes = figure.subplots(len(loads), 3, sharey=True, squeeze=False)
    for row, (name, pair) in zip(axes, loads.items(), strict=True):
        for axis, lag in zip(row, (1, 10, 60), strict=True):
            for load, colour, label in zip(pair, (_ORANGE, _BLUE), ("measured", "generated"), strict=True):
                share = load.values / np.quantile(load.values, 0.999)
                change = np.sort(np.abs(share[lag:] - share[:-lag]))
                left = 1 - np.arange(len(change)) / len(change)
                axis.step(change, left, where="post", color=colour, lw=1.3, label=label)
            axis.set_yscale("log")
            axis.set_title(f"within {lag} s", fontsize=9, color=INK)
        row[0].legend(fontsize=7, frameon=False)
        row[0].set_ylabel(name if len(name) <= 28 else f"{name[:27]}…", fontsize=8)
    figure.supxlabel("change of power, share of peak", fontsize=9)
    figure.supylabel("share of seconds with more", fontsize=9)
    return _tidy(figure)


def _tidy(figure: Figure) -> Figure:
    for axis in figure.axes:
        axis.tick_params(labelsize=7)
        for side in ("top", "right"):
            if side in axis.spines:
                axis.spines[side].set_visible(False)
    return figure
