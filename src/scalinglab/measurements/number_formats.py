"""What number formats of 16 bits do to the gradients of one trained model, against the scale of its loss.

Theory: fp16 has 5 bits of exponent and reaches from 2^-24 (subnormal) to 65,504; bf16 has the 8 of fp32, and fewer
digits. What is below half of the smallest number becomes zero (Micikevicius et al. 2018, section 3.2).
"""

import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Annotated, Any

import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure
from pydantic import Field
from pydantic.dataclasses import dataclass

from scalinglab import config
from scalinglab.config import PositiveInt, Study
from scalinglab.evaluation.rounding import Damage, damage, gradients_in
from scalinglab.figures.style import new_figure, ordered_style
from scalinglab.measurements import Row
from scalinglab.model.decoder import Decoder
from scalinglab.stages.trained import trained
from scalinglab.training.data import Batch
from scalinglab.training.precision import FORMATS, autocast, emulated

HALVES = ("fp16", "bf16")
LOGITS = "logits"  # no weights: what the head's products are given
WHOLE = "all weights"
# The parts of a parameter's name, and what it is a weight of; in this order.
KINDS = {"embedding": "embedding", "head": "head", "attention": "attention", "feed_forward": "feed-forward"}
OTHERS = "vectors"


@dataclass(frozen=True, config=config.STRICT)
class Settings:
    size: str
    tokens: str
    batches: PositiveInt
    log2_scales: Annotated[tuple[int, ...], Field(min_length=2)]
    repeats: PositiveInt


def measure(settings: Settings, study: Study, job: str) -> dict[str, list[Row]]:
    """Tables `formats`, `scales` (a row a format, scale and kind of weights), `magnitudes` (of gradients in fp32)."""
    run = trained(study, settings.size, settings.tokens, job)
    batches = [run.batches[step] for step in range(run.step, run.step + settings.batches)]  # would have come next
    exact = [gradients_in(run.model, batch, "fp32") for batch in batches]
    scales: list[Row] = []
    for name in HALVES:
        for power in settings.log2_scales:
            found: dict[str, Damage] = defaultdict(Damage)
            for batch, one in zip(batches, exact, strict=True):
                for parameter, hurt in damage(one, gradients_in(run.model, batch, name, 2.0**power)).items():
                    found[kind_of(parameter)] += hurt
                    found[WHOLE] += hurt
            head: Row = {"format": name, "log2 scale": power, "size": settings.size, "tokens": settings.tokens}
            scales += [{**head, "weights": kind, **hurt.shares()} for kind, hurt in found.items()]
    gradients: dict[str, list[torch.Tensor]] = defaultdict(list)
    for batch, one in zip(batches, exact, strict=True):
        for parameter, gradient in one.items():
            gradients[kind_of(parameter)].append(gradient.flatten())
        gradients[LOGITS].append(logit_gradients(run.model, batch).flatten())
    return {
        "formats": [_format(name, run.model, batches[0], exact[0], settings.repeats) for name in FORMATS],
        "scales": scales,
        "magnitudes": [row for kind, found in gradients.items() for row in octaves(kind, torch.cat(found))],
    }


def kind_of(parameter: str) -> str:
    """What kind of weights a parameter is of; norms and shifts are vectors."""
    parts = parameter.split(".")
    return next((kind for part, kind in KINDS.items() if part in parts), OTHERS)


@torch.no_grad()
def logit_gradients(model: Decoder, batch: Batch) -> torch.Tensor:
    """[N, V] derivatives of the loss by the logits, (softmax - onehot) / N, in fp32."""
    model.train()
    device = next(model.parameters()).device
    scored_N, targets_N = batch.scored_N.to(device), batch.targets_BT.to(device).flatten()
    p_NV = model.logits(batch.tokens_BT.to(device)).flatten(0, 1)[scored_N].softmax(dim=-1)
    p_NV[torch.arange(len(scored_N), device=device), targets_N[scored_N]] -= 1
    return p_NV / len(scored_N)


def octaves(kind: str, gradients_N: torch.Tensor) -> list[Row]:
    """Shares of the elements in each octave 2^e <= |g| < 2^(e + 1), over all that are not zero."""
    octave_N = torch.frexp(gradients_N[gradients_N != 0]).exponent - 1
    values, counts = octave_N.unique(return_counts=True)
    shares = (counts / counts.sum()).tolist()
    return [{"of": kind, "octave": e, "share": share} for e, share in zip(values.tolist(), shares, strict=True)]


def _format(name: str, model: Decoder, batch: Batch, exact: dict[str, torch.Tensor], repeats: int) -> Row:
    """The numbers of a format, how it is computed here, and how long forward and backward pass take."""
    held, device = torch.finfo(FORMATS[name]), next(model.parameters()).device
    library = dict(zip(exact, _by_library(model, batch, name), strict=True))
    ours = gradients_in(model, batch, name)
    return {
        "format": name,
        "bits": held.bits,
        "epsilon": held.eps,
        "smallest normal": held.smallest_normal,
        "smallest": held.smallest_normal * held.eps,
        "largest": held.max,
        "device": device.type,
        "emulated": int(emulated(name, device)),
        "seconds": _seconds(lambda: gradients_in(model, batch, name), repeats),
        "seconds of the library": _seconds(lambda: _by_library(model, batch, name), repeats),
        "off the library": sum(damage(library, ours).values(), Damage()).shares()["error"],
    }


def _by_library(model: Decoder, batch: Batch, name: str) -> Sequence[torch.Tensor]:
    """Gradients as torch.autocast gives them, with its own products."""
    device = next(model.parameters()).device
    with autocast(name, device):
        loss = model.loss(batch.tokens_BT.to(device), batch.targets_BT.to(device), batch.scored_N.to(device))
    return torch.autograd.grad(loss, list(model.parameters()))


def _seconds(call: Callable[[], Any], repeats: int) -> float:
    """The shortest of several calls, of which the first warms up."""
    times = []
    for _ in range(repeats + 1):
        begun = time.perf_counter()
        call()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        times.append(time.perf_counter() - begun)
    return min(times[1:])


def figures(tables: dict[str, pd.DataFrame]) -> dict[str, Figure]:
    """`formats`: how large gradients are, and what becomes of them at each scale of the loss."""
    magnitudes, scales = tables["magnitudes"], tables["scales"]
    half = tables["formats"].set_index("format").loc["fp16"]
    figure, (sizes, shares, errors) = new_figure(3, width=3.9, height=3.6)
    kinds = [*KINDS.values(), OTHERS, LOGITS]
    styles = ordered_style(kinds)
    for kind in kinds:
        line = magnitudes[magnitudes["of"] == kind].sort_values("octave")
        sizes.plot(line["octave"], line["share"], markersize=3, linewidth=1.0, label=kind, **styles[kind])
    sizes.set_yscale("log")
    sizes.set_ylim(bottom=1e-5)
    first, below, normal = max(-60, magnitudes["octave"].min()), np.log2(half["smallest"]), half["smallest normal"]
    sizes.set_xlim(left=first)
    for start, end, alpha, label in (
        (first, below, 0.14, "below fp16"),
        (below, np.log2(normal), 0.05, "fewer digits in fp16"),
    ):
        sizes.axvspan(start, end, color="#b2182b", alpha=alpha, linewidth=0, label=label)
    sizes.set_xlabel("log2 |gradient| in fp32")
    sizes.set_ylabel("share of elements in an octave")
    figure.legend(*sizes.get_legend_handles_labels(), loc="outside lower left", ncols=8, fontsize=7)
    scale = "log2 of the loss scale"
    for column, kind, style in (("flushed", WHOLE, "o-"), ("flushed", "head", "^--"), ("overflowed", WHOLE, "s:")):
        line = scales[(scales["format"] == "fp16") & (scales["weights"] == kind) & (scales[column] > 0)]
        shares.plot(line["log2 scale"], line[column], style, color="#b2182b", markersize=3.5, linewidth=1.1,
                    label=f"{column}, {kind}")  # fmt: skip
    for name, style in (("fp16", "o-"), ("bf16", "s-")):
        line = scales[(scales["format"] == name) & (scales["weights"] == WHOLE)]
        errors.plot(line["log2 scale"], line["error"], style, markersize=3.5, linewidth=1.1, label=name,
                    color="#b2182b" if name == "fp16" else "#2166ac")  # fmt: skip
    for axis, label in ((shares, "share of gradients in fp16, where not 0"), (errors, "error / norm, all weights")):
        axis.set_yscale("log")
        axis.set_xlim(scales["log2 scale"].min() - 1, scales["log2 scale"].max() + 1)
        axis.set_xlabel(scale)
        axis.set_ylabel(label)
        axis.legend(fontsize=7)
    return {"formats": figure}


def findings(tables: dict[str, pd.DataFrame]) -> str:
    formats, scales = tables["formats"], tables["scales"]
    of_all = scales[scales["weights"] == WHOLE].set_index("log2 scale").sort_index()
    whole, brain = (of_all[of_all["format"] == name] for name in HALVES)
    bare, lowest = min(whole.index, key=abs), whole.index[0]  # the scale nearest to none, and the smallest
    off = {"fp32": 0.0} | {name: of_all[of_all["format"] == name].loc[bare, "error"] for name in HALVES}
    table = "\n".join(
        f"| {row['format']} | {row['bits']} | {row['epsilon']:.2g} | {row['smallest']:.2g} | "
        f"{row['smallest normal']:.2g} | {row['largest']:.3g} | {off[row['format']]:.2%} |"
        for _, row in formats.iterrows()
    )
    sound = whole[whole["overflowed"] == 0]["error"]
    good = sound.index[sound <= 1.01 * sound.min()]  # what differs less is a tie
    overflow = whole.index[whole["overflowed"] > 0]
    limit = f"From 2^{overflow[0]} on some overflow" if len(overflow) else "None overflows at any of these scales"
    lost = scales[(scales["format"] == "fp16") & (scales["log2 scale"] == bare) & (scales["weights"] != WHOLE)]
    by_kind = ", ".join(
        f"{row['weights']} {row['flushed']:.1%}" for _, row in lost.sort_values("flushed", ascending=False).iterrows()
    )
    logits = tables["magnitudes"][tables["magnitudes"]["of"] == LOGITS]
    half = formats.set_index("format").loc["fp16"]
    zeroed = logits[logits["octave"] < np.log2(half["smallest"]) - 1]["share"].sum()  # half of it rounds to zero
    first = scales.iloc[0]
    return f"""**In short.** Without a loss scale fp16 makes {whole.loc[bare, "flushed"]:.1%} of the weights' gradients
zero, with one of 2^{good[0]} to 2^{good[-1]} at most {whole.loc[good, "flushed"].max():.2%}; bf16 needs none.

![Gradients and formats](formats.png)

A model of {first["size"]} after {first["tokens"]} tokens. Off: how far all weights' gradients are from those of fp32,
relative to their norm, without a loss scale.

| format | bits | epsilon | smallest | smallest normal | largest | off |
|---|---|---|---|---|---|---|
{table}

{_how(formats)}

**At a loss scale of 2^{bare}** fp16 makes {whole.loc[bare, "flushed"]:.1%} of the weights' gradients zero: {by_kind}.
Of the logits' gradients, which all others are made of, {zeroed:.0%} are zero in fp16 without a scale: they are divided
by the number of targets. At 2^{lowest}, {whole.loc[lowest, "flushed"]:.0%} of the weights' gradients are zero, and all
are {whole.loc[lowest, "error"]:.0%} off.

**The best scales** are 2^{good[0]} to 2^{good[-1]}: {sound.min():.2%} off, at most
{whole.loc[good, "flushed"].max():.2%} zero. {limit}. bf16 needs none: at most
{brain["flushed"].max():.2%} are zero at any, and it is {brain["error"].min():.2%} to {brain["error"].max():.2%} off
for its few digits.
"""


def _how(formats: pd.DataFrame) -> str:
    """Whether the formats are emulated, and what that is worth."""
    said = []
    for _, row in formats[formats["format"] != "fp32"].iterrows():
        slower = f"a step takes {1e3 * row['seconds']:.0f} ms, by the library {1e3 * row['seconds of the library']:.0f}"
        if row["emulated"]:
            how = "emulated (products and attention in fp32, then rounded; torch.autocast says what is cast where)"
        else:
            how = "the device's own"
        said.append(
            f"{row['format']} is {how} on this {row['device']}: {slower}, and gradients are "
            f"{row['off the library']:.2%} off the library's."
        )
    return " ".join([*said, "Weights, their updates and every evaluation are fp32."])
