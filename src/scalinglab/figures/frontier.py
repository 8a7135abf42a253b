"""Measured against fitted loss, and loss against FLOPs with the fitted compute-optimal frontier."""

import numpy as np
from matplotlib.figure import Figure

from scalinglab.figures.style import Tables, new_figure, size_style
from scalinglab.laws.analysis import MAIN
from scalinglab.laws.surface import FLOPS_PER_PARAMETER, Surface


def draw(tables: Tables) -> Figure:
    figure, (left, right) = new_figure(2, width=4.4, height=3.8)
    cells = tables.cells[~tables.cells["diverged"]]
    styles = size_style(cells["width"].tolist())
    main = tables.laws["conventions"][MAIN]
    if not main["surface"]:
        left.set_title("No surface: " + main["not_fitted_because"], fontsize=7)
        return figure
    surface = Surface(**main["surface"])
    for width, group in cells.groupby("width"):
        style = {**styles[int(str(width))], "linestyle": "none", "markersize": 5, "label": f"width {width}"}
        left.plot(group["flops"], group["val/loss"], **style)
        predicted = surface.loss(group["params_matmul"].to_numpy(float), group["tokens"].to_numpy(float))
        right.plot(predicted, 100 * (group["val/loss"] / predicted - 1), **style)
    flops = np.geomspace(cells["flops"].min(), cells["flops"].max(), 100)
    n = np.geomspace(cells["params_matmul"].min() / 4, cells["params_matmul"].max() * 4, 400)
    best = [surface.loss(n, c / (FLOPS_PER_PARAMETER * n)).min() for c in flops]
    left.plot(flops, best, "k-", linewidth=1, label="fitted optimum, C = 6ND")
    left.set_xscale("log")
    left.set_xlabel("training FLOPs")
    left.set_ylabel("held-out loss (nats a token)")
    left.set_title("E + A/N^α + B/D^β")
    left.legend(fontsize=7)
    error, noise = main["rms_relative_error"], tables.laws["seed_noise"]
    right.axhline(0, color="black", linewidth=0.8)
    right.set_xlabel("fitted loss (nats a token)")
    right.set_ylabel("measured minus fitted (%)")
    beside = "" if noise is None else f", {100 * noise:.1f} % between seeds"
    right.set_title(f"Residuals: {100 * error:.1f} % root mean square{beside}", fontsize=9)
    return figure
