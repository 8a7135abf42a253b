"""What a training step holds in memory, and what buys it back: gradient checkpointing and accumulation.

Checkpointing keeps the inputs of groups of layers and computes the rest again on the way back: with groups of sqrt(L)
of L layers, memory grows with sqrt(L) for one more forward pass (Chen et al. 2016, section 4.1). Accumulation adds up
the gradients of small batches. Both must give the gradients of a plain step.
"""

import functools
import math
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Annotated

import pandas as pd
import torch
from matplotlib.figure import Figure
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from scalinglab import config
from scalinglab.allocations import peak_bytes
from scalinglab.config import PositiveInt, Study
from scalinglab.figures.style import new_figure, ordered_style
from scalinglab.measurements import Row
from scalinglab.measurements.powers import power
from scalinglab.model.decoder import Decoder, initialise
from scalinglab.model.linear_loss import linear_cross_entropy
from scalinglab.model.shape import shape_of

VOCABULARY = 256  # small: here the layers are to be measured, not the head
# Layers that are computed again together, of L; 0 keeps everything.
POLICIES: dict[str, Callable[[int], int]] = {
    "keep everything": lambda layers: 0,
    "each layer": lambda layers: 1,
    "groups of sqrt(L)": lambda layers: round(math.sqrt(layers)),
}
THEORY = {"keep everything": "L", "each layer": "L", "groups of sqrt(L)": "sqrt(L)"}


@dataclass(frozen=True, config=config.STRICT)
class Settings:
    size: str
    layers: Annotated[tuple[PositiveInt, ...], Field(min_length=3)]
    seq_len: PositiveInt
    batch_tokens: PositiveInt
    micro_batches: tuple[PositiveInt, ...]
    accumulate_layers: PositiveInt
    repeats: PositiveInt


def measure(settings: Settings, study: Study, job: str) -> dict[str, list[Row]]:
    """Tables `checkpointing`, a row a policy and depth, and `accumulation`, a row a number of parts of the batch."""
    torch.set_num_threads(study.execution.threads)
    checkpointing = [row for layers in settings.layers for row in _policies(settings, study, layers)]
    model = _model(settings, study, settings.accumulate_layers).double()
    tokens_BT = _tokens(settings)
    plain = gradients(model, tokens_BT, 0)
    accumulation: list[Row] = [
        {
            "parts": parts,
            "layers": settings.accumulate_layers,
            "peak bytes": peak_bytes(functools.partial(accumulate, model, tokens_BT, parts)),
            "largest difference": _difference(accumulate(model, tokens_BT, parts), plain),
        }
        for parts in settings.micro_batches
    ]
    return {"checkpointing": checkpointing, "accumulation": accumulation}


def _policies(settings: Settings, study: Study, layers: int) -> list[Row]:
    """Every policy at one depth; its time is the least of a few, policies in turn."""
    model, tokens_BT = _model(settings, study, layers), _tokens(settings)
    steps = {
        policy: functools.partial(gradients, model, tokens_BT, group_of(layers))
        for policy, group_of in POLICIES.items()
    }
    best = dict.fromkeys(POLICIES, float("inf"))
    for _ in range(settings.repeats):
        for policy, step in steps.items():
            begun = time.perf_counter()
            step()
            best[policy] = min(best[policy], time.perf_counter() - begun)
    plain = gradients(model, tokens_BT, 0)
    return [
        {
            "policy": policy,
            "layers": layers,
            "input bytes": tokens_BT[:, :-1].numel() * model.shape.d_model * next(model.parameters()).element_size(),
            "peak bytes": peak_bytes(step),
            "seconds": best[policy],
            "largest difference": _difference(step(), plain),
        }
        for policy, step in steps.items()
    ]


def gradients(model: Decoder, tokens_BT: Tensor, group: int) -> list[Tensor]:
    """Gradients of the next-token loss, with so many layers at a time computed again on the way back; 0: none."""
    return list(torch.autograd.grad(_loss(model, tokens_BT, group), list(model.parameters())))


def accumulate(model: Decoder, tokens_BT: Tensor, parts: int) -> list[Tensor]:
    """The same gradients as the sum over equal parts of the batch."""
    total = [torch.zeros_like(parameter) for parameter in model.parameters()]
    for part_BT in tokens_BT.chunk(parts):
        for so_far, gradient in zip(total, gradients(model, part_BT, 0), strict=True):
            so_far += gradient * (len(part_BT) / len(tokens_BT))
    return total


def _loss(model: Decoder, tokens_BT: Tensor, group: int) -> Tensor:
    x_BTD = model.position.embed(model.embedding(tokens_BT[:, :-1]))
    blocks = list(model.blocks)
    for start in range(0, len(blocks), group or len(blocks)):
        some = nn.Sequential(*blocks[start : start + (group or len(blocks))])
        x_BTD = checkpoint(some, x_BTD, use_reentrant=False) if group else some(x_BTD)
    return linear_cross_entropy(model.norm(x_BTD).flatten(0, 1), model.head.weight, tokens_BT[:, 1:].flatten())


def _model(settings: Settings, study: Study, layers: int) -> Decoder:
    # Nothing drawn, and nothing that rows of a batch tell each other: else its parts are not the batch.
    options = replace(study.model, dropout=0.0, norm="rmsnorm", parametrisation="standard")
    shape = shape_of(settings.size, options, VOCABULARY, settings.seq_len)
    model = Decoder(replace(shape, n_layer=layers), options)
    initialise(model, study.seed)
    nn.init.normal_(model.head.weight, generator=torch.Generator().manual_seed(study.seed))  # zero passes nothing back
    return model


def _tokens(settings: Settings) -> Tensor:
    rows = settings.batch_tokens // settings.seq_len
    return torch.randint(VOCABULARY, (rows, settings.seq_len + 1), generator=torch.Generator().manual_seed(0))


def _difference(found: list[Tensor], plain: list[Tensor]) -> float:
    """The largest difference of any gradient, relative to the largest gradient of its tensor."""
    pairs = zip(found, plain, strict=True)
    return max(float((a - b).abs().max() / b.abs().max().clamp(min=1e-30)) for a, b in pairs)


def _power(line: pd.DataFrame, column: str) -> float:
    late = line[line["layers"] >= line["layers"].median()]
    return power(late["layers"], late[column])


def kept_ratio(table: pd.DataFrame) -> float:
    """What a layer keeps for its way back, in units of its input: from how memory grows where everything is kept."""
    plain = table[table["policy"] == "keep everything"].sort_values("layers")
    first, last = plain.iloc[0], plain.iloc[-1]
    a_layer = (last["peak bytes"] - first["peak bytes"]) / (last["layers"] - first["layers"])
    return float(a_layer / last["input bytes"])


def predicted(table: pd.DataFrame, policy: str, layers: int) -> float:
    """Bytes of a step at its peak, when the way back begins: the inputs of groups of g layers, and what one keeps.

    L / g + r g inputs (Chen et al. 2016, section 4.1, for r = 1). r and what is outside the layers are fitted to where
    everything is kept.
    """
    plain = table[table["policy"] == "keep everything"].sort_values("layers").set_index("layers")
    ratio, unit, shallow = kept_ratio(table), float(plain["input bytes"].iloc[0]), plain.index[0]
    outside = plain["peak bytes"].iloc[0] - ratio * unit * shallow
    group = POLICIES[policy](layers)
    held = layers / group + ratio * group if group else ratio * layers
    return float(outside + held * unit)


def figures(tables: dict[str, pd.DataFrame]) -> dict[str, Figure]:
    """`memory`: peak memory and time against layers, and peak memory against the parts of a batch."""
    figure, axes = new_figure(3, width=3.5, height=3.1)
    table = tables["checkpointing"]
    plain = table[table["policy"] == "keep everything"].set_index("layers")["seconds"]
    for policy, style in ordered_style(list(POLICIES)).items():
        line = table[table["policy"] == policy]
        label = f"{policy}: L^{_power(line, 'peak bytes'):.2f}"
        axes[0].plot(line["layers"], line["peak bytes"] / 1e6, markersize=4, linestyle="", label=label, **style)
        axes[0].plot(
            line["layers"], [predicted(table, policy, layers) / 1e6 for layers in line["layers"]],
            linewidth=1, color=style["color"],
        )  # fmt: skip
        share = line["seconds"].to_numpy() / plain.loc[line["layers"]].to_numpy()
        axes[1].plot(line["layers"], share, markersize=4, linewidth=1.1, label=policy, **style)
    for axis in axes[:2]:
        axis.set_xscale("log", base=2)
        axis.set_xticks(table["layers"].unique(), [str(n) for n in table["layers"].unique()])
        axis.minorticks_off()
        axis.set_xlabel("layers, L")
        axis.legend(fontsize=7)
    axes[0].set_yscale("log")
    axes[0].set_ylabel("peak memory of a step (MB)")
    axes[0].set_title("lines: predicted", fontsize=8, loc="left")
    axes[1].axhline(4 / 3, color="grey", linewidth=0.9, linestyle="--", label="one more way forward: 4/3")
    axes[1].legend(fontsize=7)
    axes[1].set_ylabel("time of a step, to keeping everything")
    axes[1].set_ylim(bottom=0)
    parts = tables["accumulation"]
    axes[2].plot(parts["parts"], parts["peak bytes"] / 1e6, "o-", color="#2166ac", markersize=4, linewidth=1.1)
    axes[2].set_xscale("log", base=2)
    axes[2].set_xticks(parts["parts"], [str(n) for n in parts["parts"]])
    axes[2].minorticks_off()
    axes[2].set_ylim(bottom=0)
    axes[2].set_xlabel("parts that the batch is split into")
    axes[2].set_ylabel(f"peak memory, {parts['layers'].iloc[0]} layers (MB)")
    return {"memory": figure}


def findings(tables: dict[str, pd.DataFrame]) -> str:
    table, parts = tables["checkpointing"], tables["accumulation"]
    deepest = table[table["layers"] == table["layers"].max()].set_index("policy")
    plain, depth = deepest.loc["keep everything"], int(table["layers"].max())
    rows = "\n".join(
        f"| {policy} | {THEORY[policy]} | {_power(table[table['policy'] == policy], 'peak bytes'):.2f} | "
        f"{deepest.loc[policy, 'peak bytes'] / 1e6:.0f} | {predicted(table, policy, depth) / 1e6:.0f} | "
        f"{deepest.loc[policy, 'seconds'] / plain['seconds']:.2f} | "
        f"{table[table['policy'] == policy]['largest difference'].max():.1g} |"
        for policy in POLICIES
    )
    ratio = kept_ratio(table)
    each, groups = (deepest.loc[policy, "peak bytes"] for policy in ("each layer", "groups of sqrt(L)"))
    split = "\n".join(
        f"| {row['parts']:.0f} | {row['peak bytes'] / 1e6:.0f} | {row['largest difference']:.1g} |"
        for _, row in parts.iterrows()
    )
    whole, smallest = parts.iloc[0], parts.iloc[-1]
    return f"""**In short.** Computing each of {depth} layers again on the way back holds {each / 1e6:.0f} MB instead of
{plain["peak bytes"] / 1e6:.0f}, takes {deepest.loc["each layer", "seconds"] / plain["seconds"]:.2f} times as long and
changes gradients by at most {table["largest difference"].max():.1g}; a batch in {smallest["parts"]:.0f} parts holds
{smallest["peak bytes"] / 1e6:.0f} MB instead of {whole["peak bytes"] / 1e6:.0f}.

![Memory of a training step](memory.png)

**Checkpointing.** Peak memory of a forward and backward pass, gradients included. Powers of the depth L are fitted over
its upper half; memory and time (to keeping everything; one more way forward makes it 4/3 in theory) are at L = {depth},
differences over all depths.

| computed again | in theory, if deep | memory ~ L to the | MB | predicted | time | gradients differ by at most |
|---|---|---|---|---|---|---|
{rows}

A layer keeps {ratio:.0f} times its own input. Groups of g of L layers keep L/g inputs and, while one group is computed
again, what its g layers keep, L/g + {ratio:.0f} g inputs together (*predicted*; of keeping everything, fitted): least
at g = sqrt(L / {ratio:.0f}), which is {math.sqrt(depth / ratio):.1f} at L = {depth}. The rule of sqrt(L) takes a layer
to keep no more than its input (Chen et al. 2016). Here groups of one hold {each / 1e6:.0f} MB, of sqrt(L)
{groups / 1e6:.0f} MB; their powers of L are alike because of what one group keeps, which is not yet small beside L.

**Accumulation.** The batch in parts one after the other, {parts["layers"].iloc[0]} layers in float64.

| parts | MB | largest difference of a gradient |
|---|---|---|
{split}
"""
