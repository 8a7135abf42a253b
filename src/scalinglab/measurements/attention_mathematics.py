"""Why scores are divided by sqrt(d_k): variance, entropy and gradients of attention over random queries and keys.

Theory: q.k of independent channels of unit variance has variance d_k (Vaswani et al. 2017, section 3.2.1). Softmax over
T Gaussian scores of variance s^2 is the random energy model (Derrida 1981): its entropy is ln T - s^2 / 2 as long as
s^2 < 2 ln T, and beyond that it freezes on a few keys.
"""

import math
from typing import Annotated, Any

import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor

from scalinglab import config
from scalinglab.config import PositiveInt, Study
from scalinglab.figures.style import new_figure
from scalinglab.measurements import Row
from scalinglab.measurements.powers import power
from scalinglab.model.attention import ATTENTIONS
from scalinglab.model.positions import NoPosition
from scalinglab.model.shape import Shape

AT_ONCE = 64  # queries; bounds the memory
STYLE: dict[str, Any] = {"scaled": {"color": "#2166ac", "marker": "o"}, "unscaled": {"color": "#b2182b", "marker": "s"}}
ATTENTION_OF = {"scaled": "causal", "unscaled": "unscaled"}


@dataclass(frozen=True, config=config.STRICT)
class Settings:
    head_dims: Annotated[tuple[PositiveInt, ...], Field(min_length=2)]
    keys: Annotated[int, Field(ge=2)]
    queries: Annotated[int, Field(ge=2)]


def measure(settings: Settings, study: Study, job: str) -> dict[str, list[Row]]:
    """Table `attention`: for each d_k, with and without the factor, of random vectors and of an untrained layer."""
    rows: list[Row] = []
    for head_dim in settings.head_dims:
        for kind in STYLE:
            generator = torch.Generator().manual_seed(study.seed)
            rows.append(
                _row("random vectors", kind, head_dim, settings)
                | _random_vectors(head_dim, kind == "scaled", settings, generator)
            )
            rows.append(
                _row("untrained layer", kind, head_dim, settings)
                | _untrained_layer(head_dim, ATTENTION_OF[kind], settings, generator)
            )
    return {"attention": rows}


def _row(of: str, kind: str, head_dim: int, settings: Settings) -> Row:
    return {"of": of, "kind": kind, "d_k": head_dim, "keys": settings.keys}


def _random_vectors(head_dim: int, scaled: bool, settings: Settings, generator: torch.Generator) -> Row:
    """Statistics of softmax attention of q ~ N(0, I) over keys ~ N(0, I), and the gradient that reaches the query.

    The gradient is that of a scalar whose derivative by each attention weight is N(0, 1).
    """
    scale = head_dim**-0.5 if scaled else 1.0
    scores, gradients = [], []
    for start in range(0, settings.queries, AT_ONCE):
        n = min(AT_ONCE, settings.queries - start)
        q_NK = torch.randn(n, head_dim, generator=generator).requires_grad_()
        keys_NTK = torch.randn(n, settings.keys, head_dim, generator=generator)
        upstream_NT = torch.randn(n, settings.keys, generator=generator)
        scores_NT = torch.einsum("nk,ntk->nt", q_NK, keys_NTK) * scale
        (gradient_NK,) = torch.autograd.grad((scores_NT.softmax(dim=-1) * upstream_NT).sum(), q_NK)
        scores.append(scores_NT.detach())
        gradients.append(gradient_NK)
    scores_NT = torch.cat(scores)
    return {
        "variance": float(scores_NT.var()),
        **_of_weights(scores_NT.double().softmax(dim=-1)),
        "gradient": float(torch.cat(gradients).square().mean().sqrt()),
        "median gradient": float(torch.cat(gradients).square().mean(dim=1).median().sqrt()),
        "gradient of a tenth": _share_of_a_tenth(torch.cat(gradients).square().sum(dim=1)),
    }


def _share_of_a_tenth(squares_N: Tensor) -> float:
    """What part of a sum the largest tenth of its terms makes up."""
    largest = squares_N.sort(descending=True).values[: max(1, len(squares_N) // 10)]
    return float(largest.sum() / squares_N.sum())


@torch.no_grad()
def _untrained_layer(head_dim: int, attention: str, settings: Settings, generator: torch.Generator) -> Row:
    """The same of one head of our own attention, as initialised, over unit-variance inputs; its last query counts."""
    shape = Shape(
        vocab_size=2, seq_len=settings.keys, d_model=head_dim, n_layer=1, n_head=1, n_kv_head=1, head_dim=head_dim,
        d_ff=8, window=settings.keys,
    )  # fmt: skip
    layer = ATTENTIONS[attention](shape, NoPosition(shape, 1.0))
    weights = []
    for start in range(0, settings.queries, AT_ONCE):
        n = min(AT_ONCE, settings.queries - start)
        layer.qkv.weight.normal_(0.0, (3 * head_dim) ** -0.5, generator=generator)  # as in decoder.initialise
        weights.append(layer.weights(torch.randn(n, settings.keys, head_dim, generator=generator))[:, 0, -1])
    weights_NT = torch.cat(weights)
    logs_NT = weights_NT.clamp(min=1e-38).log()
    return {"variance": float(logs_NT.var(dim=-1).mean()), **_of_weights(weights_NT)} | dict.fromkeys(
        ("gradient", "median gradient", "gradient of a tenth"), float("nan")
    )


def _of_weights(weights_NT: Tensor) -> Row:
    """Mean entropy in nats, mean largest weight, the share of queries that give more than 99 % to one key, and the norm
    of the softmax's Jacobian (Frobenius), root mean square over queries and median."""
    weights_NT = weights_NT.double()  # what is left of saturated queries is a small difference of ones
    squares_NT = weights_NT.square()
    apart_N = squares_NT.sum(dim=-1).square() - squares_NT.square().sum(dim=-1)  # off the diagonal: (p_i p_j)^2
    jacobian_N = (squares_NT * (1 - weights_NT).square()).sum(dim=-1) + apart_N.clamp(min=0)
    return {
        "entropy": float(torch.special.entr(weights_NT).sum(dim=-1).mean()),
        "largest": float(weights_NT.amax(dim=-1).mean()),
        "saturated": float((weights_NT.amax(dim=-1) > 0.99).double().mean()),
        "jacobian": float(jacobian_N.mean().sqrt()),
        "median jacobian": float(jacobian_N.median().sqrt()),
    }


def figures(tables: dict[str, pd.DataFrame]) -> dict[str, Figure]:
    """`attention`: variance, entropy, largest weight, saturation, Jacobian and gradient against d_k."""
    table = tables["attention"]
    keys = int(table["keys"].iloc[0])
    figure, axes = new_figure(3, width=3.5, height=2.9, rows=2)
    panels = (
        ("variance", "variance of a query's scores"),
        ("entropy", f"entropy over {keys} keys (nats)"),
        ("largest", "largest weight"),
        ("saturated", "queries with over 99 % on one key"),
        ("median jacobian", "norm of softmax's Jacobian, median"),
        ("median gradient", "gradient on a query, median"),
    )
    for axis, (column, label) in zip(axes, panels, strict=True):
        for (of, kind), line in table.groupby(["of", "kind"]):
            random = of == "random vectors"
            if column == "median gradient" and not random:
                continue  # of them there is none
            axis.plot(
                line["d_k"], line[column], markersize=4, linewidth=1.2, linestyle="-" if random else ":",
                markerfacecolor=None if random else "white", label=f"{kind}, {of}", **STYLE[str(kind)],
            )  # fmt: skip
        dims = np.geomspace(table["d_k"].min(), table["d_k"].max(), 200)
        if column == "variance":
            axis.plot(dims, dims, color="black", linewidth=0.7, label="theory of random vectors")
            axis.plot(dims, np.ones_like(dims), color="black", linewidth=0.7)
        if column == "entropy":
            axis.axhline(math.log(keys) - 0.5, color="black", linewidth=0.7)
            axis.axhline(math.log(keys), color="grey", linewidth=0.9, linestyle="--", label="uniform attention")
        if column == "largest":
            axis.set_ylim(0, 1.02)
            axis.axhline(1 / keys, color="grey", linewidth=0.9, linestyle="--")
        axis.set_xscale("log", base=2)
        axis.set_xticks(table["d_k"].unique(), [str(d) for d in table["d_k"].unique()])
        axis.minorticks_off()
        if column == "median gradient":
            for kind, line in table[table["of"] == "random vectors"].groupby("kind"):
                axis.plot(line["d_k"], line["gradient"], color=STYLE[str(kind)]["color"], linewidth=1, linestyle="--")
            axis.set_title("dashed: root mean square of all queries", fontsize=8, loc="left")
        if column in ("variance", "median jacobian", "median gradient"):
            axis.set_yscale("log")
        axis.set_xlabel("channels of a head, d_k")
        axis.set_ylabel(label)
    shown = {
        label: handle for axis in axes[:2] for handle, label in zip(*axis.get_legend_handles_labels(), strict=True)
    }
    figure.legend(shown.values(), shown.keys(), loc="outside lower center", ncols=3, fontsize=7)
    return {"attention": figure}


def findings(tables: dict[str, pd.DataFrame]) -> str:
    table = tables["attention"]
    keys = int(table["keys"].iloc[0])
    low, high = int(table["d_k"].min()), int(table["d_k"].max())

    def at(of: str, kind: str, head_dim: int) -> pd.Series:
        return table[(table["of"] == of) & (table["kind"] == kind) & (table["d_k"] == head_dim)].iloc[0]

    bare = table[(table["of"] == "random vectors") & (table["kind"] == "unscaled")]
    grows = power(bare["d_k"], bare["variance"])
    small, large = at("random vectors", "unscaled", low), at("random vectors", "unscaled", high)
    kept, layer = at("random vectors", "scaled", high), at("untrained layer", "scaled", high)
    layer_bare = at("untrained layer", "unscaled", high)
    frozen = 2 * math.log(keys)
    vanishes = large["gradient"] < kept["gradient"]
    whole = "gradients vanish as a whole" if vanishes else "gradients do not vanish as a whole, few queries have them"
    return f"""**In short.** Without the factor, scores vary as d_k (to the {grows:.2f}) and attention settles on single
keys: at d_k = {high} the typical query gets a gradient of {large["median gradient"]:.1g}, with the factor
{kept["median gradient"]:.1g}.

![Attention against the width of a head](attention.png)

**Random vectors.** Queries and keys of independent channels of unit variance. The variance of q.k grows as d_k to the
power {grows:.3f}: {small["variance"]:.1f} at d_k = {low}, {large["variance"]:.0f} at {high}. Divided by sqrt(d_k) it is
{kept["variance"]:.3f} at {high}. Over {keys} keys the entropy of the weights is then {kept["entropy"]:.2f} nats (in
theory ln {keys} - 1/2 = {math.log(keys) - 0.5:.2f}; a uniform reader has {math.log(keys):.2f}), whatever the width.
Without the factor it is {small["entropy"]:.2f} at d_k = {low} and {large["entropy"]:.2f} at {high}; softmax over many
random scores freezes on single keys where their variance passes 2 ln {keys} = {frozen:.1f} (Derrida 1981); with {keys}
the passage is gradual. The largest weight at {high} is
{large["largest"]:.2f} on average, with the factor {kept["largest"]:.2f}.

**Do gradients vanish**, as Vaswani et al. (2017) suspect? At d_k = {high} and without the factor
{large["saturated"]:.0%} of the queries give more than 99 % to one key (with it {kept["saturated"]:.0%}), and what
softmax passes on to its scores is little: the norm of its Jacobian is {large["median jacobian"]:.2g} for the median
query, with the factor {kept["median jacobian"]:.2g}. But the way back from scores to queries goes
through keys that nothing divides. The gradient on the median query (of a random sum of the weights) is
{large["median gradient"]:.2g} without and
{kept["median gradient"]:.2g} with it, the root mean square over all {large["gradient"]:.2g} and
{kept["gradient"]:.2g}: {whole}. Without the factor a tenth of the
queries get {large["gradient of a tenth"]:.0%} of the squared gradient, with it {kept["gradient of a tenth"]:.0%}.

**Our own layers** start smaller: queries and keys have a variance of 1/3 each, so that scaled scores have one of
{layer["variance"]:.3f} (1/9 in theory) and attention starts nearly uniform ({layer["entropy"]:.2f} nats). Without the
factor the variance is {layer_bare["variance"]:.0f} at d_k = {high} and the entropy {layer_bare["entropy"]:.2f}.
"""
