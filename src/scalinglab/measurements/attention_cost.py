"""What attention costs: time and memory of each kind against the length of the context and the width of a head.

Time is that of a forward and a backward pass of the mixing alone, without projections: the least of a few repeats,
kinds in turn, so that a slow moment of the machine hits all alike. Memory is what the forward pass keeps for the
backward one, counted exactly by the hooks of torch's autograd; it does not depend on the machine.
"""

import time
from collections.abc import Callable
from typing import Annotated

import pandas as pd
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import elu, scaled_dot_product_attention

from scalinglab import config
from scalinglab.config import PositiveInt, Study
from scalinglab.figures.style import new_figure, ordered_style
from scalinglab.measurements import Row
from scalinglab.measurements.powers import power
from scalinglab.model import attention_kernels

Attend = Callable[[Tensor, Tensor, Tensor], Tensor]
HEADS = 2


@dataclass(frozen=True, config=config.STRICT)
class Settings:
    lengths: Annotated[tuple[PositiveInt, ...], Field(min_length=3)]
    head_dims: Annotated[tuple[PositiveInt, ...], Field(min_length=3)]
    head_dim: PositiveInt
    length: PositiveInt
    window: PositiveInt
    fit_from: PositiveInt
    repeats: PositiveInt


def _math(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    with sdpa_kernel(SDPBackend.MATH):
        return scaled_dot_product_attention(q, k, v, is_causal=True)


def _fused(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    with sdpa_kernel(SDPBackend.FLASH_ATTENTION):
        return scaled_dot_product_attention(q, k, v, is_causal=True)


def _linear(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return attention_kernels.linear(elu(q) + 1, elu(k) + 1, v)


def kinds(window: int) -> dict[str, Attend]:
    """The kinds by name. The stride of strided attention is the square root of the length."""

    def windowed(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return attention_kernels.windowed(q, k, v, window, q.shape[-1] ** -0.5)

    def strided(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return attention_kernels.strided(q, k, v, round(q.shape[2] ** 0.5), q.shape[-1] ** -0.5)

    return {"full, formula": _math, "full, fused": _fused, "strided": strided, "window": windowed, "linear": _linear}


# Time in theory, as powers of the length n and the width d of a head.
THEORY = {
    "full, formula": ("n^2 d", 2.0, 1.0),
    "full, fused": ("n^2 d", 2.0, 1.0),
    "strided": ("n sqrt(n) d", 1.5, 1.0),
    "window": ("n w d", 1.0, 1.0),
    "linear": ("n d^2", 1.0, 2.0),
}
# Of what is kept for the way back, as powers of n: weights n^2, of the fused kernel none; strided ones of n sqrt(n).
KEPT = {"full, formula": 2.0, "full, fused": 1.0, "strided": 1.5, "window": 1.0, "linear": 1.0}


def measure(settings: Settings, study: Study, job: str) -> dict[str, list[Row]]:
    """Tables `cost`, a row a kind, length and width, and `exponents` fitted to it, beside those in theory."""
    torch.set_num_threads(study.execution.threads)
    device = torch.device("cpu")  # fused kernels of other devices take neither these widths nor this precision
    by_length = [(length, settings.head_dim) for length in settings.lengths]
    by_width = [(settings.length, head_dim) for head_dim in settings.head_dims]
    rows: list[Row] = []
    for along, points in (("length", by_length), ("width", by_width)):
        for length, head_dim in points:
            for name, attend in kinds(settings.window).items():
                row: Row = {"along": along, "kind": name, "n": length, "d": head_dim, "device": device.type,
                            "threads": torch.get_num_threads()}  # fmt: skip
                rows.append(row | {"kept bytes": kept_bytes(attend, length, head_dim, device)})
            times = _seconds(kinds(settings.window), length, head_dim, settings.repeats, device)
            for row, seconds in zip(rows[-len(times) :], times, strict=True):
                row["seconds"] = seconds
    return {"cost": rows, "exponents": exponents(pd.DataFrame(rows), settings.fit_from)}


def exponents(cost: pd.DataFrame, fit_from: int) -> list[Row]:
    """Powers of time and memory fitted by least squares in the logarithms: of the length from `fit_from` on, where what
    grows fastest has taken over, and of the width over its upper half."""
    found: list[Row] = []
    for (along, kind), line in cost.groupby(["along", "kind"], sort=False):
        order, of_length, of_width = THEORY[str(kind)]
        column = "n" if along == "length" else "d"
        late = line[line["n"] >= fit_from] if along == "length" else line[line["d"] >= line["d"].median()]
        theory = of_length if along == "length" else of_width
        found.append(
            {"kind": kind, "along": along, "from": int(late[column].min()), "order": order, "time in theory": theory}
            | {"time": power(late[column], late["seconds"]), "memory": power(late[column], late["kept bytes"])}
        )
    return found


def _inputs(length: int, head_dim: int, device: torch.device) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    shape = (1, HEADS, length, head_dim)
    return [torch.randn(shape, generator=generator).to(device).requires_grad_() for _ in range(3)]


def kept_bytes(attend: Attend, length: int, head_dim: int, device: torch.device) -> int:
    """Bytes that a forward pass keeps for the backward one, beside its inputs; tensors that share memory count once."""
    inputs = _inputs(length, head_dim, device)
    own = {x.untyped_storage().data_ptr() for x in inputs}
    kept: dict[int, tuple[int, Tensor]] = {}  # the tensors too: memory that is freed may be another's next

    def keep(x: Tensor) -> Tensor:
        storage = x.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = (storage.nbytes(), x)
        return x

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda x: x):
        attend(*inputs)
    return sum(size for size, _ in kept.values())


def _seconds(attends: dict[str, Attend], length: int, head_dim: int, repeats: int, device: torch.device) -> list[float]:
    """The least seconds of a forward and backward pass of each kind."""
    inputs = _inputs(length, head_dim, device)
    upstream = torch.ones_like(inputs[0])
    best = dict.fromkeys(attends, float("inf"))
    for turn in range(repeats + 1):  # the first only warms up
        for name, attend in attends.items():
            begun = time.perf_counter()
            torch.autograd.grad(attend(*inputs), inputs, upstream)
            if turn:
                best[name] = min(best[name], time.perf_counter() - begun)
    return list(best.values())


def figures(tables: dict[str, pd.DataFrame]) -> dict[str, Figure]:
    """`cost`: time and memory against length, and time against width, with the fitted powers."""
    cost, fits = tables["cost"], tables["exponents"]
    figure, axes = new_figure(3, width=3.7, height=3.4)
    panels = (
        ("length", "n", "seconds", "time"),
        ("length", "n", "kept bytes", "memory"),
        ("width", "d", "seconds", "time"),
    )
    for axis, (along, column, what, fitted) in zip(axes, panels, strict=True):
        _lines(axis, cost[cost["along"] == along], fits[fits["along"] == along].set_index("kind"), column, what, fitted)
        axis.set_xlabel("length of the context, n" if along == "length" else "channels of a head, d")
    axes[0].set_ylabel("forward and backward (s)")
    axes[1].set_ylabel("kept for the backward pass (bytes)")
    axes[2].set_ylabel("forward and backward (s)")
    return {"cost": figure}


def _lines(axis: Axes, cost: pd.DataFrame, fits: pd.DataFrame, column: str, what: str, fitted: str) -> None:
    for kind, style in ordered_style(list(THEORY)).items():
        line = cost[cost["kind"] == kind]
        label = f"{kind}: {column}^{fits.loc[kind, fitted]:.2f}"
        axis.plot(line[column], line[what], markersize=4, linewidth=1.1, label=label, **style)
    axis.set_xscale("log", base=2)
    axis.set_yscale("log")
    ticks = sorted(cost[column].unique())
    axis.set_xticks(ticks, [str(tick) for tick in ticks], fontsize=7)
    axis.minorticks_off()
    axis.legend(fontsize=7)


def findings(tables: dict[str, pd.DataFrame]) -> str:
    cost, fits = tables["cost"], tables["exponents"]
    length = fits[fits["along"] == "length"].set_index("kind")
    width = fits[fits["along"] == "width"].set_index("kind")
    longest = cost[(cost["along"] == "length") & (cost["n"] == cost["n"].max())].set_index("kind")
    rows = "\n".join(
        f"| {kind} | {n['order']} | {n['time']:.2f} ({n['time in theory']:g}) | "
        f"{width.loc[kind, 'time']:.2f} ({width.loc[kind, 'time in theory']:g}) | {n['memory']:.2f} "
        f"({KEPT[str(kind)]:g}) | "
        f"{longest.loc[kind, 'seconds'] * 1e3:.1f} | {longest.loc[kind, 'kept bytes'] / 1e6:.2f} |"
        for kind, n in length.iterrows()
    )
    others = ", ".join(
        f"{longest.loc[kind, 'kept bytes'] / longest.loc['full, fused', 'kept bytes']:.0f} ({kind})"
        for kind in ("strided", "window", "linear")
    )
    formula, fused = longest.loc["full, formula"], longest.loc["full, fused"]
    grows = "; ".join(f"{kind} {n['time']:.2f}" for kind, n in length.iterrows())
    return f"""**In short.** Time grows with the length n to the power of: {grows}.

![Cost of attention](cost.png)

Forward and backward pass of {HEADS} heads and one sequence, on {cost["device"].iloc[0]}, threads:
{cost["threads"].iloc[0]}. Powers are fitted from n = {length["from"].iloc[0]} and d = {width["from"].iloc[0]} on; in
brackets those in theory.

| kind | order | time ~ n to the | time ~ d to the | memory ~ n to the | ms at n = {cost["n"].max()} | MB kept there |
|---|---|---|---|---|---|---|
{rows}

The fused kernel computes the same as the formula in {fused["seconds"] / formula["seconds"]:.2f} of the time at n =
{cost["n"].max()}, and keeps {fused["kept bytes"] / formula["kept bytes"]:.4f} of the memory: it never writes the n x n
weights down (Dao et al. 2022). Its time still grows with n to the {length.loc["full, fused", "time"]:.2f}. The other
kinds are plain operations, whose every result is kept: {others} times as much as the fused kernel.
"""
