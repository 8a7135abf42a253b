"""The exponent of the optimal size under three ways of counting: Pearce & Song's analytic curve, and our own grid."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from scalinglab.figures.style import Tables, new_figure
from scalinglab.laws import counting

LABELS = {"non_embedding": "without\nembedding", "matmul": "in matrix\nproducts", "total": "all"}
ESTIMATORS = {"additive surface": ("o", -0.15), "kaplan surface": ("^", 0.0), "iso-FLOP": ("s", 0.15)}


def draw(tables: Tables) -> Figure:
    figure, (left, right) = new_figure(2, width=4.4, height=3.8)
    _published(left)
    _own(right, tables.laws["conventions"])
    return figure


def _published(axis: Axes) -> None:
    n = np.geomspace(1e2, 1e12, 200)
    axis.plot(counting.compute_of_optimum(n), counting.local_exponent(n), "k-", linewidth=1.2,
              label="analytic, without embedding")  # fmt: skip
    surface = counting.CHINCHILLA
    axis.axhline(surface.exponent_n, color="grey", linestyle="--", linewidth=1, label="analytic, all parameters")
    for convention, flops, marker in (("non_embedding", (12.95, 20.7), "ro"), ("total", (14.0, 20.7), "bs")):
        frontier = counting.simulated_frontier(convention, flops)
        middle = 10 ** (sum(flops) / 2)
        axis.errorbar(middle, frontier.exponent, xerr=[[middle - 10 ** flops[0]], [10 ** flops[1] - middle]],
                      fmt=marker, markersize=5, linewidth=1,
                      label=f"fitted over that range: {frontier.exponent:.2f}")  # fmt: skip
    axis.set_xscale("log")
    axis.set_xlabel("compute 6ND, counted the same way")
    axis.set_ylabel("exponent a of N_opt ~ C^a")
    axis.set_title("Chinchilla's surface (Pearce & Song 2024)", fontsize=9)
    axis.legend(fontsize=7)


def _own(axis: Axes, conventions: dict[str, Any]) -> None:
    for estimator, (marker, shift) in ESTIMATORS.items():
        places, values, bars = [], [], []
        for i, name in enumerate(LABELS):
            value = conventions[name]["exponents"].get(estimator)
            if value is None:
                continue
            low, high = conventions[name]["intervals_95"].get(f"exponent {estimator}", [value, value])
            places.append(i + shift)
            values.append(value)
            bars.append((max(0.0, value - low), max(0.0, high - value)))
        if places:
            axis.errorbar(places, values, yerr=np.transpose(bars), fmt=marker, capsize=3, label=estimator)
    axis.set_xticks(range(len(LABELS)), list(LABELS.values()))
    axis.set_xlim(-0.5, len(LABELS) - 0.5)
    axis.set_xlabel("parameters counted")
    axis.set_ylabel("exponent a (95 % by resampling trunks)")
    axis.set_title("This study" if axis.containers else "This study: no exponent", fontsize=9)
    if axis.containers:
        axis.legend(fontsize=7, loc="upper center", bbox_to_anchor=(0.5, -0.24), ncols=len(ESTIMATORS))
