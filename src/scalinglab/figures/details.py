"""What a controlled study shows beside its verdicts: the sweep of learning rates, and all that was measured."""

import math
import re
from collections.abc import Mapping
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from scalinglab.figures.style import new_figure, ordered_style
from scalinglab.theory.protocol import RATIOS, Protocol
from scalinglab.theory.tables import mean, measured

AT_LENGTH = re.compile(r"loss at (\d+)x")  # columns of the measure context_length
COLUMNS = 3  # of panels, at most
WORST = 1.0  # above the lowest loss of a sweep; a rate that is worse than this is bad, and not worth the scale
DECADES = 2  # positive values further apart are shown on a logarithmic axis

Styles = Mapping[str, dict[str, Any]]


def draw(protocol: Protocol, runs: Mapping[str, pd.DataFrame]) -> Figure:
    """A panel for the sweep, one for losses at several lengths if there are any, and one for each other measure."""
    of_seeds = {name: table[table["role"] == "run"] for name, table in runs.items()}
    columns = measured(next(iter(of_seeds.values())))
    lengths = {int(found[1]): column for column in columns if (found := AT_LENGTH.fullmatch(column))}
    others = [column for column in columns if column not in lengths.values() and not _is_flag(of_seeds, column)]
    n = 1 + bool(lengths) + len(others)
    wide = min(n, COLUMNS)
    figure, axes = new_figure(wide, width=3.5, height=1.5 + 0.27 * len(runs), rows=math.ceil(n / wide))
    styles = ordered_style(list(runs))
    _sweep(axes[0], protocol, runs, styles)
    if lengths:
        _lengths(axes[1], protocol, of_seeds, lengths, styles)
    for axis, column in zip(axes[n - len(others) : n], others, strict=True):
        _dots(axis, of_seeds, column, styles)
    for axis in axes[n:]:
        axis.set_axis_off()
    figure.legend(
        *axes[0].get_legend_handles_labels(), fontsize=7, loc="outside lower center", ncols=min(len(runs), 2 * wide)
    )
    return figure


def _is_flag(of_seeds: Mapping[str, pd.DataFrame], column: str) -> bool:
    """Whether a measure only says yes or no, as of how a format was computed: the page says it, and no panel does."""
    return column not in RATIOS and all(set(table[column].dropna()) <= {0, 1} for table in of_seeds.values())


def _sweep(axis: Axes, protocol: Protocol, runs: Mapping[str, pd.DataFrame], styles: Styles) -> None:
    """Losses of the seed that is compared nowhere; where it diverged, or is far worse than all else, a cross on top."""
    sweeps = {name: table[table["role"] == "sweep"].sort_values("factor") for name, table in runs.items()}
    for name, line in sweeps.items():
        axis.plot(line["factor"], line["loss"], label=name, markersize=4, linewidth=1, **styles[name])
    axis.set_xscale("log", base=2)
    axis.set_xticks(protocol.rates, [f"{rate:g}" for rate in protocol.rates])
    axis.minorticks_off()
    axis.set_xlabel("learning rate, times the study's")
    axis.set_ylabel(protocol.unit)
    lowest, title = pd.concat(sweeps.values())["loss"].min(), "the sweep, of another seed"
    bad = {name: line.loc[~(line["loss"] <= lowest + WORST), "factor"] for name, line in sweeps.items()}
    if any(map(len, bad.values())):
        if math.isfinite(lowest):
            axis.set_ylim(lowest - 0.05 * WORST, lowest + WORST)
        title += f";\ncrosses: diverged, or more than {WORST:g} above the lowest"
    for i, (name, factors) in enumerate(bad.items()):
        at = [1 - 0.03 * (i + 1)] * len(factors)  # of the axis' height; below each other, as they may coincide
        axis.plot(factors, at, "x", transform=axis.get_xaxis_transform(), color=styles[name]["color"], markersize=5)
    axis.set_title(title, fontsize=8, loc="left")


def _lengths(
    axis: Axes,
    protocol: Protocol,
    of_seeds: Mapping[str, pd.DataFrame],
    lengths: Mapping[int, str],
    styles: Styles,
) -> None:
    """Losses on the same text in longer windows: lines of means, and each seed."""
    for name, table in of_seeds.items():
        for times, column in lengths.items():
            axis.plot([times] * len(table), table[column], ".", markersize=3, alpha=0.5, color=styles[name]["color"])
        means = [mean(table, column) for column in lengths.values()]
        axis.plot(list(lengths), means, markersize=4, linewidth=1, **styles[name])
    axis.set_xscale("log", base=2)
    axis.set_xticks(list(lengths), [f"{times}x" for times in lengths])
    axis.minorticks_off()
    axis.set_xlabel("window, times the trained length")
    axis.set_ylabel(protocol.unit)
    axis.set_title("the same text in longer windows", fontsize=8, loc="left")


def _dots(axis: Axes, of_seeds: Mapping[str, pd.DataFrame], column: str, styles: Styles) -> None:
    """A measure by variant: each seed, and the mean. A ratio is one of means, and so has no seeds."""
    shown = []
    for row, (name, table) in enumerate(of_seeds.items()):
        means = mean(table, column)
        axis.plot(means, row, markersize=5, **styles[name])
        shown.append(means)
        if column not in RATIOS:
            axis.plot(table[column], [row] * len(table), ".", markersize=3, alpha=0.5, color=styles[name]["color"])
            shown += list(table[column])
    finite = [value for value in shown if math.isfinite(value)]
    if finite and min(finite) > 0 and max(finite) > 10**DECADES * min(finite):
        axis.set_xscale("log")
    axis.set_yticks(range(len(of_seeds)), list(of_seeds), fontsize=7)
    axis.set_ylim(len(of_seeds) - 0.4, -0.6)
    axis.set_xlabel(column)
