"""What all figures share: the tables they draw from, sizes' colours and markers, axes and saving."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from scalinglab.files import atomic
from scalinglab.training.schedule import RateLaw

MARKERS = "osD^vP*X"
SKILL_TITLES = {
    "recall": "Recall",
    "perm": "Permutation",
    "mqar": "Multi-query recall",
    "markov": "Markov chain",
    "shift": "Modular shift",
    "affine": "Affine map",
    "prior": "Prior mapping",
    "copy": "Repeated copy",
    "reverse": "Reversed words",
    "cycle": "Cycled letters",
    "insertions": "Insertions removed",
    "addition": "Addition",
    "memory": "Memory (no context)",
}
RC: Any = {"font.size": 9, "axes.spines.top": False, "axes.spines.right": False, "legend.frameon": False}


@dataclass(frozen=True)
class Tables:
    """Everything a figure may draw from."""

    sweeps: pd.DataFrame
    rates: pd.DataFrame
    rate_law: RateLaw
    cells: pd.DataFrame
    shots: pd.DataFrame
    exact: pd.DataFrame
    prompts: pd.DataFrame
    text: pd.DataFrame
    lines: pd.DataFrame
    emergence: dict[str, Any]
    isoflop: pd.DataFrame
    forecast: pd.DataFrame
    universes: pd.DataFrame
    laws: dict[str, Any]


def new_figure(columns: int, width: float = 3.6, height: float = 3.2, rows: int = 1) -> tuple[Figure, list[Axes]]:
    """A row (or grid) of panels; no global pyplot state."""
    with mpl.rc_context(RC):
        figure = Figure(figsize=(width * columns, height * rows), layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.subplots(rows, columns, squeeze=False)
    return figure, [axis for row in axes for axis in row]


def no_skills() -> Figure:
    """What a figure about skills says of a study without any."""
    return nothing("This study has no skills")


def nothing(why: str) -> Figure:
    """A figure that says why there is nothing to draw."""
    figure, (axis,) = new_figure(1)
    axis.set_axis_off()
    axis.text(0.5, 0.5, why, ha="center", va="center", wrap=True)
    return figure


def save(figure: Figure, path: Path, dpi: int) -> None:
    """PNG without a time stamp or version, so that equal figures are equal bytes."""
    with atomic(path) as temporary:
        figure.savefig(temporary, dpi=dpi, format="png", metadata={"Software": None})


def ordered_style(labels: Sequence[Any]) -> dict[Any, dict[str, Any]]:
    """Colour and marker of each label in the order given, dark to light."""
    colours = mpl.colormaps["viridis"]
    return {
        label: {"color": colours(0.9 * i / max(1, len(labels) - 1)), "marker": MARKERS[i % len(MARKERS)]}
        for i, label in enumerate(labels)
    }


def size_style(widths: list[int]) -> dict[int, dict[str, Any]]:
    """Colour and marker of each width, dark for small to light for large."""
    return ordered_style(sorted(set(widths)))


def shots_axis(axis: Axes, shots: pd.DataFrame) -> None:
    """An axis of numbers of examples, zero included, with a tick for each that was measured."""
    ks = sorted(shots["k"].unique())
    axis.set_xscale("symlog", linthresh=1)
    axis.set_xticks(ks, [str(k) for k in ks])
    axis.minorticks_off()
    axis.set_xlim(-0.15, 1.15 * max(1, *ks) if len(ks) > 1 else 1.15)
    axis.set_xlabel("examples in context, k")


def at_largest_budget(tables: Tables) -> pd.DataFrame:
    """The shot sweeps of all queries, first seed, of the cells with most tokens."""
    shots = first_seed(tables.shots[tables.shots["query"] == "all"])
    shots = shots.merge(tables.cells[["size", "budget", "width", "tokens"]], on=["size", "budget"])
    return shots[shots["tokens"] == shots["tokens"].max()]


def width_lines(
    axis: Axes, rows: pd.DataFrame, column: str, styles: dict[int, dict[str, Any]], band: Sequence[str] = ()
) -> None:
    """A column against the number of examples, one line a width, wide ones first; `band`: an interval's columns."""
    for width, line in sorted(rows.groupby("width"), reverse=True):
        line, style = line.sort_values("k"), styles[int(str(width))]
        axis.plot(line["k"], line[column], markersize=4, linewidth=1.1, label=f"width {width}", **style)
        if band:
            axis.fill_between(line["k"], line[band[0]], line[band[1]], alpha=0.15, color=style["color"])


def trunk_lines(axis: Axes, rows: pd.DataFrame, column: str, styles: dict[int, dict[str, Any]]) -> None:
    """A column against training tokens, one line a trunk; replicas faint, under one label (see one_each)."""
    for size, line in rows.groupby("size", sort=False):
        line = line.sort_values("tokens")
        width, replica = int(line["width"].iloc[0]), "s" in str(size)
        axis.plot(line["tokens"], line[column], markersize=4, linewidth=1.0, alpha=0.4 if replica else 1,
                  label="other seeds" if replica else f"width {width}", **styles[width])  # fmt: skip


def one_each(axis: Axes) -> tuple[list[Any], list[str]]:
    """Handles and labels of an axis for its legend, each label once."""
    found = dict(zip(*reversed(axis.get_legend_handles_labels()), strict=True))
    return list(found.values()), list(found)


def tokens_axis(axis: Axes, cells: pd.DataFrame) -> None:
    """A logarithmic token axis whose ticks are the budgets, by their names in params.yaml."""
    budgets = cells.drop_duplicates("budget").sort_values("tokens")
    axis.set_xscale("log")
    axis.set_xlabel("training tokens")
    axis.set_xticks(budgets["tokens"].tolist(), budgets["budget"].tolist())
    fit_labels(axis, len(budgets))
    axis.minorticks_off()


def fit_labels(axis: Axes, ticks: int) -> None:
    """Keep the labels of many ticks from running into each other."""
    axis.tick_params(axis="x", labelsize=7 if ticks > 5 else 9, rotation=30 if ticks > 6 else 0)


def first_seed(cells: pd.DataFrame) -> pd.DataFrame:
    """The cells of the main grid, without replicas."""
    return cells[~cells["size"].str.contains("s")]
