"""Iso-FLOP lines with their minima, and the optimal size against FLOPs with the fitted power law and its interval."""

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from scalinglab.figures.style import MARKERS, Tables, new_figure
from scalinglab.laws.analysis import MAIN


def draw(tables: Tables) -> Figure:
    figure, (left, right) = new_figure(2, width=4.4, height=3.8)
    minima = tables.laws["isoflop_minima"]
    if not minima:
        left.set_title("No iso-FLOP line crosses three sizes", fontsize=8)
        return figure
    colours = mpl.colormaps["cividis"]
    for i, (flops, line) in enumerate(tables.isoflop.groupby("flops")):
        line = line.sort_values("params")
        colour = colours(0.9 * i / max(1, len(minima) - 1))
        left.plot(
            line["params"], line["loss"], color=colour, marker=MARKERS[i % len(MARKERS)], markersize=4, linewidth=1,
            label=f"{float(str(flops)):.1e}",
        )  # fmt: skip
        minimum = minima[i]
        if minimum["inside"]:
            left.plot(minimum["params"], minimum["loss"], "r+", markersize=11, markeredgewidth=2)
    left.set_xscale("log")
    left.set_xlabel("parameters in matrix products")
    left.set_ylabel("held-out loss (nats a token)")
    left.set_title("Lines of equal training FLOPs")
    left.legend(title="FLOPs (+ minimum)", fontsize=7, title_fontsize=7, loc="upper left",
                bbox_to_anchor=(1, 1))  # fmt: skip

    inner = [m for m in minima if m["inside"]]
    edge = [m for m in minima if not m["inside"]]
    right.plot([m["flops"] for m in inner], [m["params"] for m in inner], "r+", markersize=11, markeredgewidth=2,
               label="minimum inside the grid")  # fmt: skip
    right.plot([m["flops"] for m in edge], [m["params"] for m in edge], "kx", label="lowest point at an edge")
    main = tables.laws["conventions"][MAIN]
    exponent = main["exponents"].get("iso-FLOP")
    if inner and exponent is not None:
        x = np.geomspace(min(m["flops"] for m in minima), max(m["flops"] for m in minima), 50)
        logs = np.log([[m["flops"], m["params"]] for m in inner])
        y = np.exp(logs[:, 1].mean() + exponent * (np.log(x) - logs[:, 0].mean()))
        low, high = main["intervals_95"].get("exponent iso-FLOP", [None, None])
        interval = "" if low is None else f" [{low:.2f}, {high:.2f}]"
        right.plot(x, y, "r-", linewidth=1, label=f"N ~ C^{exponent:.2f}{interval}")
    right.set_xscale("log")
    right.set_yscale("log")
    right.set_xlabel("training FLOPs")
    right.set_ylabel("optimal parameters")
    right.set_title("Optimal size and its exponent [95 %]")
    right.legend(fontsize=8)
    return figure
