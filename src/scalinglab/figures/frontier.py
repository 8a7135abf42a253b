"""Loss against FLOPs with the fitted optima, and what each form of the surface leaves unexplained."""

import numpy as np
from matplotlib.figure import Figure

from scalinglab.figures.style import Tables, new_figure, size_style
from scalinglab.laws.analysis import MAIN
from scalinglab.laws.surface import FLOPS_PER_PARAMETER, Surface

FORMULAS = {"additive": "E + A/N^α + B/D^β", "kaplan": "(A/N^α + B/D^β)^γ"}


def draw(tables: Tables) -> Figure:
    figure, (left, middle, right) = new_figure(3, width=3.8, height=3.6)
    cells = tables.cells[~tables.cells["diverged"]]
    styles = size_style(cells["width"].tolist())
    main = tables.laws["conventions"][MAIN]
    if not main["forms"]:
        left.set_title("No surface: " + main["not_fitted_because"], fontsize=7)
        return figure
    surfaces = {form: Surface(**values["surface"]) for form, values in main["forms"].items()}
    for width, group in cells.groupby("width"):
        style = {**styles[int(str(width))], "linestyle": "none", "markersize": 5, "label": f"width {width}"}
        left.plot(FLOPS_PER_PARAMETER * group["params_matmul"] * group["tokens"], group["val/loss"], **style)
        for axis, surface in zip((middle, right), surfaces.values(), strict=False):
            predicted = surface.loss(group["params_matmul"].to_numpy(float), group["tokens"].to_numpy(float))
            axis.plot(predicted, 100 * (group["val/loss"] / predicted - 1), **style)
    six_nd = FLOPS_PER_PARAMETER * cells["params_matmul"] * cells["tokens"]
    flops = np.geomspace(six_nd.min(), six_nd.max(), 100)
    for (form, surface), line in zip(surfaces.items(), ("k:", "k-"), strict=False):
        left.plot(flops, [surface.optimum(c).loss for c in flops], line, linewidth=1, label=f"optimum, {form} form")
    left.set_xscale("log")
    left.set_xlabel("6 N D (FLOPs), N in matrix products")
    left.set_ylabel("held-out loss (nats a token)")
    left.set_title("Loss and the fitted optima", fontsize=9)
    left.legend(fontsize=7)
    noise = tables.laws["seed_noise"]
    beside = "" if noise is None else f" ({100 * noise:.1f} % between seeds)"
    for axis, (form, values) in zip((middle, right), main["forms"].items(), strict=False):
        axis.axhline(0, color="black", linewidth=0.8)
        axis.set_xlabel("fitted loss (nats a token)")
        axis.set_title(f"{FORMULAS[form]}: {100 * values['rms_relative_error']:.1f} % rms{beside}", fontsize=8)
    middle.set_ylabel("measured minus fitted (%)")
    ends = [*middle.get_ylim(), *right.get_ylim()]
    for axis in (middle, right):
        axis.set_ylim(min(ends), max(ends))
    return figure
