"""Training in several processes: the same loss as in one, what they send each other, what each holds, who waits.

Formulas: a ring all-reduce of n numbers over p processes sends 2 (p - 1) n in all, a reduce-scatter or an all-gather
(p - 1) n (Patarasuk & Yuan 2009); ZeRO after Rajbhandari et al. 2020, section 7; tensors after Shoeybi et al. 2019,
section 3; a pipeline of p stages and m micro-batches waits (p - 1) / (m + p - 1) of its time (Huang et al. 2019,
section 2.3).
"""

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure
from pydantic.dataclasses import dataclass

from scalinglab import config
from scalinglab.config import PositiveFloat, PositiveInt, Study
from scalinglab.figures.style import new_figure, ordered_style
from scalinglab.measurements import Row
from scalinglab.model.decoder import Decoder, initialise
from scalinglab.model.shape import Shape, shape_of
from scalinglab.parallel import processes
from scalinglab.parallel.bubbles import pipeline_step
from scalinglab.parallel.schemes import SCHEDULES, Scheme, build, held_bytes

VOCABULARY = 64
HELD = {"parameters": "#2166ac", "gradients": "#92c5de", "optimiser": "#b2182b"}  # what a process holds; colours
NUMBER = 8  # bytes of a float64: so that only mistakes can show, not rounding
TOLERANCE = 1e-12  # of the losses, relative to those of one process
ALONE = "one process"
SCHEMES = (
    Scheme(ALONE),
    Scheme("data, 2", data=2),
    Scheme("data, 4", data=4),
    Scheme("ZeRO 1, 4", data=4, zero=1),
    Scheme("ZeRO 2, 4", data=4, zero=2),
    Scheme("ZeRO 3, 4", data=4, zero=3),
    Scheme("tensor, 2", tensor=2),
    Scheme("tensor, 4", tensor=4),
    Scheme("GPipe, 4", pipeline=4),
    Scheme("1F1B, 4", pipeline=4, schedule="1F1B"),
    Scheme("2 x 2 x 2", data=2, pipeline=2, tensor=2, zero=2, schedule="1F1B"),
)


@dataclass(frozen=True, config=config.STRICT)
class Settings:
    size: str
    layers: PositiveInt
    head_dim: PositiveInt
    seq_len: PositiveInt
    rows: PositiveInt
    steps: PositiveInt
    schemes: tuple[str, ...]
    stages: tuple[PositiveInt, ...]
    micro_batches: tuple[PositiveInt, ...]
    stage_seconds: PositiveFloat


def measure(settings: Settings, study: Study, job: str) -> dict[str, list[Row]]:
    """Tables `schemes` (loss, bytes sent and held) and `bubbles` (share of the time that a pipeline waits)."""
    # Parts that share nothing between the ends of the model, nor between heads: each stands in one process.
    options = replace(
        study.model, head_dim=settings.head_dim, kv_groups=1, dropout=0.0, tied_head=False, position="rope",
        attention="causal", norm="rmsnorm", parametrisation="standard",
    )  # fmt: skip
    shape = replace(shape_of(settings.size, options, VOCABULARY, settings.seq_len), n_layer=settings.layers)
    chosen = [scheme for scheme in SCHEMES if scheme.name in settings.schemes]
    found: dict[str, list[dict[str, Any]]] = {}
    for world in sorted({scheme.world for scheme in chosen}):  # starting a group takes longer than its steps
        together = [scheme for scheme in chosen if scheme.world == world]
        ranks = processes.run(world, _train_all, together, shape, options, settings)
        found |= {scheme.name: [rank[i] for rank in ranks] for i, scheme in enumerate(together)}
    alone = found[ALONE][0]["losses"]
    schemes = [_row(scheme, found[scheme.name], alone, shape, settings) for scheme in chosen]
    bubbles: list[Row] = []
    for stages in settings.stages:
        cases = [(schedule, m) for schedule in SCHEDULES for m in settings.micro_batches if m >= stages]
        ranks = processes.run(stages, _pipelines, cases, settings.stage_seconds)
        for i, (schedule, m) in enumerate(cases):
            seconds = max(one[i][0] for one in ranks)
            bubbles.append(
                {
                    "schedule": schedule,
                    "stages": stages,
                    "micro-batches": m,
                    "waiting": 1 - 3 * m * settings.stage_seconds / seconds,
                    "waiting in theory": (stages - 1) / (m + stages - 1),
                    "kept": ranks[0][i][1],
                }
            )
    return {"schemes": schemes, "bubbles": bubbles}


def _row(scheme: Scheme, ranks: list[dict[str, Any]], alone: list[float], shape: Shape, settings: Settings) -> Row:
    """What the processes of a scheme found, beside one process alone and the formulas."""
    numbers = sum(one["parameters"] for one in ranks) / NUMBER
    ring, torchs = sent_in_theory(scheme, shape, settings.rows, numbers)
    losses = [(a, b) for one in ranks for a, b in zip(one["losses"], alone, strict=True)]
    return {
        "scheme": scheme.name,
        "processes": scheme.world,
        "last loss": ranks[0]["losses"][-1],
        "largest difference": max(abs(a - b) / b for a, b in losses),
        "bytes": float("nan") if ranks[0]["sent"] is None else ranks[0]["sent"],
        "bytes in theory": NUMBER * ring,
        "bytes by torch": NUMBER * torchs,
        **{held: max(one[held] for one in ranks) for held in HELD},
    }


def _train_all(schemes: list[Scheme], shape: Shape, options: config.Model, settings: Settings) -> list[dict[str, Any]]:
    return [_train(scheme, shape, options, settings) for scheme in schemes]


def _train(scheme: Scheme, shape: Shape, options: config.Model, settings: Settings) -> dict[str, Any]:
    """In one process of a scheme: losses of the steps, bytes that all send in the last one, and what is held here."""
    model = Decoder(shape, options)
    initialise(model, seed=0)
    torch.nn.init.normal_(model.head.weight, std=0.1, generator=torch.Generator().manual_seed(0))
    step, part, optimiser = build(scheme, model.double(), rate=0.01)
    generator = torch.Generator().manual_seed(0)
    batches = [
        torch.randint(VOCABULARY, (settings.rows, settings.seq_len + 1), generator=generator)
        for _ in range(settings.steps + 1)
    ]
    losses = [step(batch) for batch in batches[:-1]]
    sent = processes.sent_by_all(lambda: losses.append(step(batches[-1])))
    parameters, of_gradients, state = held_bytes(part, optimiser)
    held = {"parameters": parameters, "gradients": of_gradients, "optimiser": state}
    return {"losses": losses, "sent": sent, **held}


def _pipelines(cases: list[tuple[str, int]], seconds: float) -> list[tuple[float, int]]:
    return [pipeline_step(schedule, m, seconds) for schedule, m in cases]


def sent_in_theory(scheme: Scheme, shape: Shape, rows: int, numbers: float) -> tuple[float, float]:
    """Numbers that all processes send in one step: in theory, by rings, and as torch does it over gloo.

    gloo's reduce-scatter is an all-reduce; ZeroRedundancyOptimizer reduces all gradients to all, then sends parameters.
    numbers: parameters held, summed over all processes.
    """
    d, t, p = scheme.data, scheme.tensor, scheme.pipeline
    ring = torchs = 0.0
    if scheme.zero <= 1:  # an all-reduce, or its halves: scatter gradients, gather parameters
        ring, torchs = 2 * (d - 1) * numbers / d, (2 + scheme.zero) * (d - 1) * numbers / d
    elif d > 1:  # gather the parameters, once or twice, and scatter the gradients
        gathers = scheme.zero - 1
        ring, torchs = (gathers + 1) * (d - 1) * numbers, (gathers + 2) * (d - 1) * numbers
    stream = rows * shape.seq_len * shape.d_model  # of the whole batch
    tensors = shape.n_layer * 4 * 2 * (t - 1) * stream  # an all-reduce behind each half of a block, and on the way back
    hand_over = 2 * (p - 1) * stream * t  # features on, gradients back, by every process of a stage
    return ring + tensors + hand_over, torchs + tensors + hand_over


def figures(tables: dict[str, pd.DataFrame]) -> dict[str, Figure]:
    """`parallelism`: bytes sent against the formula, and held; waiting and held micro-batches against their number."""
    figure, axes = new_figure(2, width=4.4, height=3.4, rows=2)
    schemes, bubbles = tables["schemes"], tables["bubbles"]
    several = schemes[schemes["processes"] > 1].reset_index(drop=True)
    axes[0].barh(several.index, several["bytes"] / 1e6, color="#92c5de", label="measured")
    axes[0].plot(several["bytes in theory"] / 1e6, several.index, "k|", markersize=12, label="in theory")
    axes[0].plot(several["bytes by torch"] / 1e6, several.index, "r|", markersize=7, label="as torch does it over gloo")
    axes[0].set_yticks(several.index, several["scheme"])
    axes[0].invert_yaxis()
    axes[0].set_xlabel("sent by all processes in a step (MB)")
    axes[0].legend(fontsize=7)
    left = np.zeros(len(schemes))
    for name, colour in HELD.items():
        axes[1].barh(schemes.index, schemes[name] / 1e3, left=left, color=colour, label=name)
        left += schemes[name].to_numpy() / 1e3
    axes[1].set_yticks(schemes.index, schemes["scheme"])
    axes[1].invert_yaxis()
    axes[1].set_xlabel("held by the fullest process after a step (kB)")
    axes[1].legend(fontsize=7)
    styles = ordered_style(sorted(bubbles["stages"].unique()))
    for (schedule, stages), line in bubbles.groupby(["schedule", "stages"]):
        style = {**styles[stages], "markerfacecolor": "white" if schedule == "1F1B" else None}
        inside = schedule == "1F1B"  # both wait as long: one mark inside the other
        how: dict[str, Any] = {"linestyle": "", "markersize": 3.5 if inside else 8, "zorder": 3 if inside else 2}
        label = f"{schedule}, {stages} stages"
        axes[2].plot(line["micro-batches"], line["waiting"], label=label, **how, **style)
        axes[2].plot(line["micro-batches"], line["waiting in theory"], color=styles[stages]["color"], linewidth=0.9)
        axes[3].plot(line["micro-batches"], line["kept"], label=label, **how, **style)
    ticks = sorted(bubbles["micro-batches"].unique())
    for axis in axes[2:]:
        axis.set_xscale("log", base=2)
        axis.set_xticks(ticks, [str(m) for m in ticks])
        axis.minorticks_off()
        axis.set_ylim(bottom=0)
        axis.set_xlabel("micro-batches, m")
        axis.legend(fontsize=7)
    axes[2].set_ylabel("share of the time spent waiting")
    axes[2].legend(fontsize=7, title="lines: (p - 1) / (m + p - 1)", title_fontsize=7)
    axes[3].set_ylabel("micro-batches that the first stage keeps")
    return {"parallelism": figure}


def findings(tables: dict[str, pd.DataFrame]) -> str:
    schemes, bubbles = tables["schemes"], tables["bubbles"]
    rows = "\n".join(
        f"| {row['scheme']} | {row['processes']} | {row['largest difference']:.1g} | {row['bytes'] / 1e6:.2f} | "
        f"{row['bytes in theory'] / 1e6:.2f} | {row['bytes by torch'] / 1e6:.2f} | {row['parameters'] / 1e3:.0f} | "
        f"{row['gradients'] / 1e3:.0f} | {row['optimiser'] / 1e3:.0f} |"
        for _, row in schemes.iterrows()
    )
    waits = "\n".join(
        f"| {row['schedule']} | {row['stages']} | {row['micro-batches']} | {row['waiting']:.3f} | "
        f"{row['waiting in theory']:.3f} | {row['kept']} |"
        for _, row in bubbles.iterrows()
    )
    kept = bubbles.groupby("schedule")["kept"].max()
    off = (bubbles["waiting"] - bubbles["waiting in theory"]).abs().max()
    most = schemes["processes"].max()
    apart = schemes["largest difference"].max()
    same = "train as one process does" if apart <= TOLERANCE else "do NOT all train as one process does"
    count = len(schemes) - 1
    return f"""**In short.** {count} schemes on up to {most} processes {same} (losses differ by {apart:.1g} at
most, {TOLERANCE:g} is allowed); they differ in what they send and hold. Pipelines wait as (p - 1) / (m + p - 1) says,
within {off:.3f}.

![Bytes sent and time waited](parallelism.png)

Real processes on one machine, torch.distributed over gloo on CPUs (nccl wants a GPU for each process, and its traffic
is not seen by the counters that are read here), float64. The largest relative difference of any step's loss
from one process alone is {schemes["largest difference"].max():.1g}. Bytes are those that all processes send together in
one step, by the loopback device, beside the formula for rings, and for what torch does over gloo: there a
reduce-scatter costs as much as an all-reduce, and ZeRO 1 reduces all gradients to all processes before it sends them
the new parameters. The last columns are what the fullest process holds when a step has ended. ZeRO 2 and 3 are torch's
FSDP2: for both, parameters lie in shards between steps, and are whole while they are used, for ZeRO 2 from the way
forward to the end of the way back, for ZeRO 3 once for each way. (In Rajbhandari et al. 2020, ZeRO 2 keeps them whole.)

| scheme | processes | loss differs by | MB sent | in theory | as torch does it | kB: parameters | gradients | AdamW |
|---|---|---|---|---|---|---|---|---|
{rows}

**Who waits in a pipeline.** Stages that sleep a fixed time instead of computing, twice as long on the way back.
Measured and theoretical shares lie within {off:.3f} of each other. Kept: micro-batches whose activations the first
stage holds at once, at most; {kept["GPipe"]} for GPipe and {kept["1F1B"]} for 1F1B where there are most.

| schedule | stages | micro-batches | share waited | (p - 1) / (m + p - 1) | micro-batches kept |
|---|---|---|---|---|---|
{waits}
"""
