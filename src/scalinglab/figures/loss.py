"""Held-out bits per byte against tokens, one line a size; replicas as faint lines of the same style."""

from matplotlib.figure import Figure

from scalinglab.figures.style import Tables, new_figure, size_style, tokens_axis


def draw(tables: Tables) -> Figure:
    figure, (axis,) = new_figure(1, width=6.6, height=3.8)
    styles = size_style(tables.cells["width"].tolist())
    for size, trunk in sorted(tables.cells.groupby("size"), key=lambda pair: -int(pair[1]["width"].iloc[0])):
        trunk = trunk.sort_values("tokens")
        replica = "s" in str(size)
        axis.plot(
            trunk["tokens"],
            trunk["val/bpb"],
            label=None
            if replica
            else f"width {trunk['width'].iloc[0]} ({trunk['params_matmul'].iloc[0]:,} parameters)",
            alpha=0.35 if replica else 1.0,
            markersize=5,
            linewidth=1.2,
            **styles[int(trunk["width"].iloc[0])],
        )
    tokens_axis(axis, tables.cells)
    axis.set_yscale("log")
    low, high = tables.cells["val/bpb"].min(), tables.cells["val/bpb"].max()
    ticks = [tick / 5 for tick in range(int(5 * low), int(5 * high) + 2)] if low < high else [low]
    axis.set_yticks(ticks, [f"{tick:.1f}" for tick in ticks])
    axis.minorticks_off()
    axis.set_ylabel("held-out bits per byte")
    figure.legend(fontsize=8, loc="outside right upper")
    axis.set_title("Loss falls with size and tokens")
    return figure
