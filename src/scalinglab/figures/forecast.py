"""The sealed extrapolation: loss of the largest budgets as forecast before they were evaluated, and as measured."""

import numpy as np
from matplotlib.figure import Figure

from scalinglab.figures.style import Tables, new_figure, nothing, size_style

BARS = {
    "kaplan": "Kaplan's\nform",
    "additive": "additive\nform",
    "log_linear": "log-linear",
    "nearest_run": "nearest\nrun",
}


def draw(tables: Tables) -> Figure:
    figure, (left, right) = new_figure(2, width=4.4, height=3.8)
    table, score = tables.forecast, tables.laws["forecast"]
    if table.empty or not score:
        return nothing("No cell was forecast: too few to fit a law to")
    styles = size_style(tables.cells["width"].tolist())
    for width, cells in sorted(table.groupby("width"), reverse=True):
        bars = np.abs(np.stack([cells["predicted"] - cells["low"], cells["high"] - cells["predicted"]]))
        style = {**styles[int(str(width))], "linestyle": "none", "markersize": 5, "capsize": 2}
        left.errorbar(cells["val/loss"], cells["predicted"], yerr=bars, label=f"width {width}", **style)
    ends = [table[["val/loss", "low"]].min().min(), table[["val/loss", "high"]].max().max()]
    left.plot(ends, ends, color="black", linewidth=0.8)
    left.set_xlabel("measured loss (nats a token)")
    left.set_ylabel("forecast (95 % prediction interval)")
    left.set_title(
        f"{score['cells']} sealed cells, {score['form']} form: {100 * score['coverage_95']:.0f} % in their interval",
        fontsize=9,
    )
    left.legend(fontsize=7)
    names = [name for name in BARS if f"{name}_mean_relative_error" in score]
    for shift, (kind, colour) in enumerate((("mean", "#1b9e77"), ("largest", "#d95f02"))):
        values = [100 * score[f"{name}_{kind}_relative_error"] for name in names]
        bars = right.bar(np.arange(len(names)) + 0.4 * shift - 0.2, values, width=0.38, color=colour, label=kind)
        right.bar_label(bars, fmt="%.1f", fontsize=7)
    right.set_xticks(range(len(names)), [BARS[name] for name in names])
    right.set_ylabel("relative error (%)")
    right.set_title("Both forms against two baselines", fontsize=9)
    right.legend(fontsize=8)
    return figure
