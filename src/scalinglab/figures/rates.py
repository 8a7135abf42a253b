"""Learning-rate sweeps: held-out loss against rate for each width, and the law through the best rates."""

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter, ScalarFormatter

from scalinglab.config import width_of
from scalinglab.figures.style import Tables, new_figure, size_style


def draw(tables: Tables) -> Figure:
    figure, (left, right) = new_figure(2, width=4.0)
    best = tables.rates.assign(width=tables.rates["size"].map(width_of))
    widths = sorted(set(best["width"]) | set(tables.cells["width"]))
    styles = size_style(widths)
    for size, sweep in tables.sweeps.groupby("size", sort=False):
        style = styles[width_of(str(size))]
        left.plot(sweep["rate"], sweep["val/loss"], linewidth=1, markersize=4, label=size, **style)
    for row in best.itertuples():
        left.axvline(row.rate, color=styles[row.width]["color"], linestyle=":", linewidth=1)
    left.plot([], [], "k:", linewidth=1, label="bottom of the bowl")
    left.set_xscale("log")
    left.set_xlabel("peak learning rate")
    left.set_ylabel("held-out loss (nats a token)")
    left.set_title(f"After {int(tables.sweeps['tokens'].max()):,} tokens", fontsize=9)
    figure.legend(*left.get_legend_handles_labels(), fontsize=7, loc="outside lower center", ncols=len(best) + 1)
    for row in best.itertuples():
        fill = "full" if row.inside else "none"
        right.plot(row.width, row.rate, linestyle="", markersize=6, fillstyle=fill, **styles[row.width])
    law = tables.rate_law
    line = np.array([widths[0], widths[-1]], dtype=float)
    right.plot(line, law.prefactor * line**law.exponent, "k-", linewidth=1,
               label=f"{law.prefactor:g} width^{law.exponent:g}")  # fmt: skip
    right.set_xscale("log")
    right.set_yscale("log")
    right.set_xticks(widths, [str(width) for width in widths])
    right.xaxis.set_minor_formatter(NullFormatter())
    right.yaxis.set_major_formatter(ScalarFormatter())
    right.yaxis.set_minor_formatter(NullFormatter())
    right.set_xlabel("width")
    right.set_ylabel("best peak learning rate")
    at_edge = "" if best["inside"].all() else "; hollow: no bowl"
    right.set_title(f"The law that trunks follow{at_edge}", fontsize=9)
    right.legend(fontsize=8)
    return figure
