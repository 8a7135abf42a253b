"""A forest plot: the paired difference of every variant from the reference, with its interval, margin and verdict."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from scalinglab.figures.style import new_figure
from scalinglab.theory.comparison import Comparison
from scalinglab.theory.protocol import Protocol

WIDEST = 75  # letters of a label below the axis, before it takes two lines
COLOURS = {
    "better": "#1b7837",
    "worse": "#b2182b",
    "equivalent": "#2166ac",
    "inconclusive": "#777777",
    "no verdict": "#777777",
}


def draw(
    found: Sequence[Comparison],
    losses: Mapping[str, Sequence[float]],
    reference: str,
    margin: float,
    unit: str,
    title: str = "",
) -> Figure:
    """Variants in the order of the study, from top to bottom; left of zero is better.

    losses: of all seeds. title: lines above, to whose last one the number of seeds is added.
    """
    figure, (axis,) = new_figure(1, width=6.8, height=1.3 + 0.34 * len(found))
    rows(axis, found, margin, paired(losses, reference))
    label = f"difference from {reference} ({unit}); less is better"
    axis.set_xlabel(label if len(label) < WIDEST else label.replace(" (", "\n(", 1))
    axis.set_title(
        f"{title}{', ' if title else ''}{found[0].seeds} paired seeds; 95 % intervals; shaded: within the margin of "
        f"{margin:g}",
        fontsize=8,
        loc="left",
    )
    return figure


def of_study(protocol: Protocol, found: Sequence[Comparison], losses: Mapping[str, Sequence[float]]) -> Figure:
    """The forest plot of a controlled study."""
    title = f"{protocol.question}\n{protocol.size}, {protocol.tokens} tokens"
    return draw(found, losses, protocol.reference, protocol.margin, protocol.unit, title)


def paired(losses: Mapping[str, Sequence[float]], reference: str) -> dict[str, NDArray[np.float64]]:
    """Differences from the reference, seed by seed; NaN where either diverged."""
    return {name: np.asarray(values) - np.asarray(losses[reference]) for name, values in losses.items()}


def rows(axis: Axes, found: Sequence[Comparison], margin: float, of_seeds: Mapping[str, NDArray[np.float64]]) -> None:
    """A row each: the difference, its interval, each seed, and in words the verdict, right of the axis."""
    for row, one in enumerate(found):
        colour = COLOURS[one.verdict]
        axis.plot(
            of_seeds[one.variant],
            np.full(len(of_seeds[one.variant]), row + 0.25),
            ".",
            markersize=3,
            alpha=0.5,
            color=colour,
        )
        if np.isfinite(one.difference):
            axis.plot([one.low, one.high], [row, row], color=colour, linewidth=1.6)
            axis.plot(one.difference, row, "o", color=colour, markersize=5)
        shown = f"{one.difference:+.3f}  {one.verdict}" if np.isfinite(one.difference) else f"diverged  {one.verdict}"
        axis.annotate(shown, (1.02, row), xycoords=("axes fraction", "data"), va="center", color=colour)
    axis.axvline(0, color="black", linewidth=0.9)
    axis.axvspan(-margin, margin, color="#2166ac", alpha=0.12, linewidth=0)
    axis.set_yticks(range(len(found)), [one.variant for one in found])
    axis.set_ylim(len(found) - 0.4, -0.6)
