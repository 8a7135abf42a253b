"""A specification curve (Simonsohn et al. 2020): every choice of analysis, sorted by the exponent that it gives."""

from matplotlib.figure import Figure

from scalinglab.figures.style import Tables, new_figure, nothing
from scalinglab.laws.analysis import MAIN, surface_name

COLOURS = {"matmul": "#1b9e77", "total": "#7570b3", "non_embedding": "#d95f02"}


def draw(tables: Tables) -> Figure:
    table = tables.universes.dropna(subset="exponent_n").sort_values("exponent_n", ignore_index=True)
    figure, (top, bottom) = new_figure(1, width=8.0, height=3.2, rows=2)
    if table.empty:
        return nothing("No analysis has an exponent: the cells identify none")
    for counting, colour in COLOURS.items():
        here = table[table["counting"] == counting]
        top.plot(here.index, here["exponent_n"], ".", color=colour, label=f"counting: {counting}")
    main = tables.laws["conventions"][MAIN]
    interval = main["intervals_95"].get(f"exponent {surface_name('additive')}")
    if interval:
        top.axhspan(*interval, color="grey", alpha=0.15, linewidth=0,
                    label="95 % interval of one choice (additive, Huber 1e-3, matmul)")  # fmt: skip
    same = table[table["counting"] == MAIN]["exponent_n"]
    top.set_ylabel("exponent a of N_opt ~ C^a")
    top.set_xticks([])
    top.set_title(
        f"{len(table)} analyses: {table['exponent_n'].min():.2f} to {table['exponent_n'].max():.2f}; with one counting "
        f"({MAIN}) {same.min():.2f} to {same.max():.2f}",
        fontsize=9,
    )
    top.legend(fontsize=7)
    rows = [("estimator", name) for name in dict.fromkeys(tables.universes["estimator"])]
    rows += [("dropped", name) for name in dict.fromkeys(tables.universes["dropped"])]
    for i, (column, name) in enumerate(rows):
        here = table[table[column] == name]
        bottom.scatter(here.index, [i] * len(here), s=6, marker="|", c=[COLOURS[c] for c in here["counting"]])
    labels = [name if column == "estimator" else f"without {name}" for column, name in rows]
    bottom.set_yticks(range(len(rows)), [label.replace("without nothing", "all cells") for label in labels], fontsize=7)
    bottom.invert_yaxis()
    bottom.set_xticks([])
    bottom.set_xlabel("analyses, by exponent")
    return figure
