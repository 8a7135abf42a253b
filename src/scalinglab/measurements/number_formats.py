"""What number formats of 16 bits do to the gradients of one trained model, against the scale of its loss.

Theory: fp16 has 5 bits of exponent and reaches from 2^-24 (subnormal) to 65,504; bf16 has the 8 of fp32 and fewer digits.
A gradient that a product makes in fp16 is zero below half of the smallest number (Micikevicius et al. 2018, section 3.2).
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
from scalinglab.config import PositiveInt, Study, tokens_of
from scalinglab.evaluation.rounding import Damage, damage, gradients_in
from scalinglab.figures.style import new_figure, ordered_style
from scalinglab.model.decoder import Decoder
from scalinglab.stages.pretraining import read_rate_law
from scalinglab.stages.short_runs import ShortRun
from scalinglab.training.data import Batch
from scalinglab.training.precision import FORMATS, autocast, emulated
from scalinglab.training.schedule import run_rate, steps_of

Row = dict[str, float | int | str]
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
    steps = steps_of(tokens_of(settings.tokens), study.training.batch_tokens)
    run = ShortRun(study, settings.size, job)
    run.train(steps, run_rate(read_rate_law(study).peak(settings.size), steps, study.training))
    batches = [run.batches[step] for step in range(steps, steps + settings.batches)]  # would have come next
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
        "off": sum(damage(exact, ours).values(), Damage()).shares()["error"],
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
        times.append(time.perf_counter() - begun)
    return min(times[1:])


def figures(tables: dict[str, pd.DataFrame]) -> dict[str, Figure]:
    """`formats`: how large gradients are, and what becomes of them at each scale of the loss."""
    magnitudes, scales = tables["magnitudes"], tables["scales"]
    half = tables["formats"].set_index("format").loc["fp16"]
    figure, (left, right) = new_figure(2, width=4.6, height=3.6)
    kinds = [*KINDS.values(), OTHERS, LOGITS]
    styles = ordered_style(kinds)
    for kind in kinds:
        line = magnitudes[magnitudes["of"] == kind].sort_values("octave")
        left.plot(line["octave"], line["share"], markersize=3, linewidth=1.0, label=kind, **styles[kind])
    left.set_yscale("log")
    left.set_ylim(bottom=1e-5)
    left.set_xlim(left=max(-60, magnitudes["octave"].min()))
    below = np.log2(half["smallest"])
    left.axvspan(left.get_xlim()[0], below, color="#b2182b", alpha=0.12, linewidth=0, label="below fp16")
    left.axvspan(below, np.log2(half["smallest normal"]), color="#b2182b", alpha=0.05, linewidth=0,
                 label="fp16 with fewer digits")  # fmt: skip
    left.set_xlabel("log2 |gradient| in fp32")
    left.set_ylabel("share of elements in an octave")
    left.legend(fontsize=6.5)
    for name, colour in zip(HALVES, ("#b2182b", "#2166ac"), strict=True):
        line = scales[(scales["format"] == name) & (scales["weights"] == WHOLE)]
        for column, style in (("flushed", "o-"), ("overflowed", "s:")):
            right.plot(line["log2 scale"], line[column], style, color=colour, markersize=3.5, linewidth=1.1,
                       label=f"{name}, {column}")  # fmt: skip
    right.set_xlabel("log2 of the loss scale")
    right.set_ylabel("share of all weights' gradients")
    right.set_ylim(-0.02, 1.02)
    right.legend(fontsize=7)
    return {"formats": figure}


def findings(tables: dict[str, pd.DataFrame]) -> str:
    formats, scales = tables["formats"], tables["scales"]
    whole = scales[(scales["format"] == "fp16") & (scales["weights"] == WHOLE)].set_index("log2 scale").sort_index()
    kinds = scales[scales["weights"] != WHOLE]
    bare = _nearest(whole.index, 0)
    table = "\n".join(
        f"| {row['format']} | {row['bits']} | {row['epsilon']:.2g} | {row['smallest']:.2g} | "
        f"{row['smallest normal']:.2g} | {row['largest']:.3g} | {row['off']:.2%} |"
        for _, row in formats.iterrows()
    )
    least = whole["error"].idxmin()
    overflow = whole.index[whole["overflowed"] > 0]
    limit = f"From 2^{overflow[0]} on some overflow" if len(overflow) else "None overflows at any of these scales"
    lost = kinds[(kinds["format"] == "fp16") & (kinds["log2 scale"] == bare)].set_index("weights")["flushed"]
    by_kind = ", ".join(f"{kind} {share:.1%}" for kind, share in lost.sort_values(ascending=False).items())
    brain = scales[(scales["format"] == "bf16") & (scales["weights"] == WHOLE)]
    logits = tables["magnitudes"][tables["magnitudes"]["of"] == LOGITS]
    half = formats.set_index("format").loc["fp16"]
    zeroed = logits[logits["octave"] < np.log2(half["smallest"]) - 1]["share"].sum()  # half of it rounds to zero
    first = scales.iloc[0]
    return f"""![Gradients and formats](formats.png)

A model of {first["size"]} after {first["tokens"]} tokens. Off: the distance of all weights' gradients from those of fp32,
of the same weights and batches and without a loss scale, relative to their norm.

| format | bits | epsilon | smallest | smallest normal | largest | off |
|---|---|---|---|---|---|---|
{table}

{_how(formats)}

**Without a loss scale** fp16 makes {whole.loc[bare, "flushed"]:.1%} of the weights' gradients zero: {by_kind}.
They are lost on the way: of the logits' gradients, which every other one is made of, {zeroed:.0%} are below what fp16
can hold. At a scale of 2^{whole.index[0]}, where gradients are those of a batch with as many times the targets, it is
{whole.iloc[0]["flushed"]:.0%}.

**With one** the gradients are nearest to those of fp32 at 2^{least} ({whole.loc[least, "error"]:.2%} off,
{whole.loc[least, "flushed"]:.2%} zero). {limit}. bf16 needs no scale: at most {brain["flushed"].max():.2%} are zero at any,
and its {brain["error"].min():.2%} to {brain["error"].max():.2%} are digits.
"""


def _how(formats: pd.DataFrame) -> str:
    """Whether the formats are emulated, and what that is worth."""
    said = []
    for _, row in formats[formats["format"] != "fp32"].iterrows():
        slower = f"a step takes {1e3 * row['seconds']:.0f} ms, by the library {1e3 * row['seconds of the library']:.0f}"
        if row["emulated"]:
            how = "emulated (products in fp32, rounded; what is cast where is torch.autocast's)"
        else:
            how = "the device's own"
        said.append(
            f"{row['format']} is {how} on this {row['device']}: {slower}, and gradients are "
            f"{row['off the library']:.2%} off the library's."
        )
    return " ".join([*said, "Weights, their updates and every evaluation are fp32."])


def _nearest(values: pd.Index, wanted: int) -> int:
    return min(values, key=lambda value: abs(value - wanted))
