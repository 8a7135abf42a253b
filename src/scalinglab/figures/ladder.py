"""The exponent on each rung of the ladder, with intervals, between the published ends."""

import pandas as pd
from matplotlib.figure import Figure

from scalinglab.figures.style import new_figure
from scalinglab.laws.ladder import ESTIMATORS, RUNGS

# Kaplan et al., eq. 1.7; Hoffmann et al., table 2, approach 1.
PUBLISHED = {"Kaplan et al. 2020: 0.73": 0.73, "Hoffmann et al. 2022: 0.50": 0.50}
COLOURS = ("#1b9e77", "#d95f02")


def draw(rungs: pd.DataFrame) -> Figure:
    figure, (axis,) = new_figure(1, width=6.4, height=3.4)
    for i, (name, colour) in enumerate(zip(ESTIMATORS, COLOURS, strict=True)):
        here = rungs[rungs["estimator"] == name].reset_index(drop=True)
        bars = [(here["exponent_n"] - here["low"]).clip(lower=0), (here["high"] - here["exponent_n"]).clip(lower=0)]
        axis.errorbar(here["exponent_n"], here.index + 0.2 * (i - 0.5), xerr=bars, fmt="os"[i], color=colour,
                      capsize=3, markersize=5, label=name)  # fmt: skip
    for (label, value), line in zip(PUBLISHED.items(), (":", "--"), strict=True):
        axis.axvline(value, color="grey", linestyle=line, linewidth=1, label=label)
    axis.set_yticks(range(len(RUNGS)), [name for name, _, _ in RUNGS])
    axis.invert_yaxis()
    about = "95 %, from the noise between seeds" if rungs["low"].notna().any() else "no intervals: too little is known"
    axis.set_xlabel(f"exponent a of N_opt ~ C^a\n({about})")
    axis.set_title("One change at a time (after Porian et al. 2024)", fontsize=9)
    figure.legend(fontsize=7, loc="outside lower center", ncols=4)
    return figure
