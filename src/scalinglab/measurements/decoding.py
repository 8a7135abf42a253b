"""Ways of writing with one trained model: how likely, how repetitive, and how fast with and without a memory.

The memory holds keys and values of what was read (a "KV cache"), so that a token costs one position and not the whole
context. It changes no logit, and so no text: tests hold both.
"""

import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated

import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor

from scalinglab import config
from scalinglab.config import PositiveInt, Study
from scalinglab.corpus import bpe
from scalinglab.errors import UserError
from scalinglab.evaluation.decoding import Strategy, generate
from scalinglab.evaluation.text import token_losses
from scalinglab.figures.style import new_figure, ordered_style
from scalinglab.files import read_json
from scalinglab.measurements import Row, wording
from scalinglab.measurements.powers import power
from scalinglab.model.decoder import Decoder, initialise
from scalinglab.model.memory import LayerMemory
from scalinglab.model.shape import shape_of
from scalinglab.paths import Paths
from scalinglab.shards import open_shard
from scalinglab.stages.trained import trained

TEXT = "the text itself"
GRAM = 4  # tokens in a row that count as a repetition


@dataclass(frozen=True, config=config.STRICT)
class Settings:
    size: str
    tokens: str
    prompts: PositiveInt
    prompt_tokens: PositiveInt
    strategies: dict[str, Strategy]
    beams: Annotated[int, Field(ge=2)]
    length_penalties: Annotated[tuple[float, ...], Field(min_length=2)]
    lengths: Annotated[tuple[PositiveInt, ...], Field(min_length=3)]
    rows: PositiveInt
    shared_size: str
    shared_by: Annotated[tuple[PositiveInt, ...], Field(min_length=2)]
    shared_length: PositiveInt


def measure(settings: Settings, study: Study, job: str) -> dict[str, list[Row]]:
    """Tables `strategies`, a row each and one of the text itself; `penalties`, a row a length penalty; `speed`, a row a
    length; `memories`, a row a number of query heads that share keys and values."""
    model = trained(study, settings.size, settings.tokens, job).model
    rows_RT = open_shard(Paths(study.study).of("encode", ""), "validation.npy")[: settings.prompts].astype(np.int64)
    device = next(model.parameters()).device
    text_BT = torch.from_numpy(rows_RT[:, : study.mixture.seq_len]).to(device)
    prompts_BT = text_BT[:, : settings.prompt_tokens]
    new = study.mixture.seq_len - settings.prompt_tokens
    paths = Paths(study.study)
    tokenizer = bpe.load(paths.tokenizer, read_json(paths.tokenizer_report)["sha256"])
    written = {TEXT: text_BT[:, settings.prompt_tokens :]}
    for name, strategy in settings.strategies.items():
        written[name] = generate(model, prompts_BT, new, strategy, seed=study.seed)
    strategies = [
        _scored(model, prompts_BT, name, written_BT, settings)
        | {"prompt": tokenizer.decode(prompts_BT[0].tolist()), "sample": tokenizer.decode(written_BT[0].tolist())}
        for name, written_BT in written.items()
    ]
    return {
        "strategies": strategies,
        "penalties": _penalties(model, prompts_BT, new, settings),
        "speed": [_speed(settings, study, length) for length in settings.lengths],
        "memories": _memories(settings, study),
    }


def _scored(model: Decoder, prompts_BT: Tensor, name: str, written_BT: Tensor, settings: Settings) -> Row:
    """What the model thinks of a continuation, and how often it says the same again."""
    whole_RT = torch.cat([prompts_BT, written_BT], dim=1).cpu().numpy().astype(np.uint16)
    nats = token_losses(model, whole_RT, len(whole_RT))[:, settings.prompt_tokens - 1 :].mean()
    return {
        "strategy": name,
        "size": settings.size,
        "tokens": settings.tokens,
        "nats": float(nats),
        "repeated": repeated_share(written_BT),
        "distinct": float(np.mean([len(set(row)) / len(row) for row in written_BT.tolist()])),
    }


def repeated_share(written_BT: Tensor, gram: int = GRAM) -> float:
    """Share of runs of so many tokens that stood in the same text before."""
    shares = []
    for row in written_BT.tolist():
        grams = [tuple(row[i : i + gram]) for i in range(len(row) - gram + 1)]
        shares.append(1 - len(set(grams)) / len(grams))
    return float(np.mean(shares))


def _penalties(model: Decoder, prompts_BT: Tensor, new: int, settings: Settings) -> list[Row]:
    """Beam search that may end a text at the end of a document, by the power of the length penalty."""
    rows: list[Row] = []
    for penalty in settings.length_penalties:
        strategy = Strategy(beams=settings.beams, length_penalty=penalty)
        written_BT = generate(model, prompts_BT, new, strategy, end=bpe.EOS)
        lengths_B = (written_BT != bpe.EOS).long().cumprod(dim=1).sum(dim=1).double()
        about: Row = {"length penalty": penalty, "beams": settings.beams, "at most": new}
        rows.append(
            about | {"tokens": float(lengths_B.mean()), "ended at once": float((lengths_B == 0).double().mean())}
        )
    return rows


def _memories(settings: Settings, study: Study) -> list[Row]:
    """What a memory holds and how fast it writes, by how many query heads share their keys and values."""
    vocabulary, length = read_json(Paths(study.study).manifest)["vocab_size"], settings.shared_length
    heads = shape_of(settings.shared_size, study.model, vocabulary, length).n_head
    if uneven := [by for by in settings.shared_by if heads % by]:
        raise UserError(f"decoding: shared_by = {uneven}: each must divide the {heads} heads of {settings.shared_size}")
    if 1 not in settings.shared_by:
        raise UserError(
            f"decoding: shared_by = {list(settings.shared_by)}: must hold 1, with which others are compared"
        )
    prompts_BT, rows = torch.zeros(settings.rows, 1, dtype=torch.long), list[Row]()
    for by in settings.shared_by:
        options = replace(study.model, kv_groups=by)
        model = Decoder(shape_of(settings.shared_size, options, vocabulary, length), options).eval()
        initialise(model, study.seed)
        memories = [LayerMemory() for _ in model.blocks]
        with torch.no_grad():
            model.extend(prompts_BT.expand(-1, length), memories)
        held = [x for memory in memories for x in (memory.k_BHTK, memory.v_BHTK) if x is not None]
        generate(model, prompts_BT, 8, Strategy(temperature=0))  # to warm up
        begun = time.perf_counter()
        generate(model, prompts_BT, length - 1, Strategy(temperature=0))
        seconds = (time.perf_counter() - begun) / (length - 1)
        rows.append({"size": settings.shared_size, "query heads": heads, "shared by": by, "length": length})
        rows[-1] |= {"bytes a token": sum(x.nbytes for x in held) / (settings.rows * length), "seconds": seconds}
        rows[-1] |= {"in theory": 2 * len(model.blocks) * (heads // by) * model.shape.head_dim * held[0].element_size()}
    return rows


def _speed(settings: Settings, study: Study, length: int) -> Row:
    """Seconds a token, greedily from one token to `length`, by an untrained model: its texts do not matter."""
    vocabulary = read_json(Paths(study.study).manifest)["vocab_size"]
    model = Decoder(shape_of(settings.size, study.model, vocabulary, length), study.model)
    initialise(model, study.seed)
    prompts_BT = torch.zeros(settings.rows, 1, dtype=torch.long)
    found: Row = {"length": length, "rows": settings.rows}
    for name, remember in (("with a memory", True), ("without", False)):
        generate(model, prompts_BT, min(8, length - 1), Strategy(temperature=0), remember=remember)  # to warm up
        begun = time.perf_counter()
        generate(model, prompts_BT, length - 1, Strategy(temperature=0), remember=remember)
        found[name] = (time.perf_counter() - begun) / (length - 1)
    return found


def _powers(speed: pd.DataFrame) -> Mapping[str, float]:
    """Of the time a token against length, over the upper half of the lengths."""
    late = speed[speed["length"] >= speed["length"].median()]
    return {name: power(late["length"], late[name]) for name in ("with a memory", "without")}


def figures(tables: dict[str, pd.DataFrame]) -> dict[str, Figure]:
    """`decoding`: repetition against likelihood, and time a token against length."""
    figure, axes = new_figure(2, width=4.4, height=3.4)
    styles = ordered_style([name for name in tables["strategies"]["strategy"] if name != TEXT])
    for _, row in tables["strategies"].iterrows():
        drawn = styles.get(row["strategy"], {"color": "#b2182b", "marker": "*", "markersize": 11})
        axes[0].plot(row["nats"], row["repeated"], linestyle="", label=row["strategy"], **drawn)
    axes[0].legend(fontsize=7)
    axes[0].set_xlabel("nats a token, by the model itself")
    axes[0].set_ylabel(f"share of runs of {GRAM} tokens that came before")
    speed, powers = tables["speed"], _powers(tables["speed"])
    for name, style in (("with a memory", "o-"), ("without", "s-")):
        axes[1].plot(speed["length"], 1e3 * speed[name], style, markersize=4, linewidth=1.1,
                     color="#2166ac" if name == "with a memory" else "#b2182b",
                     label=f"{name}: length^{powers[name]:.2f}")  # fmt: skip
    axes[1].set_xscale("log", base=2)
    axes[1].set_yscale("log")
    axes[1].set_xticks(speed["length"], [str(n) for n in speed["length"]])
    axes[1].minorticks_off()
    times = 1e3 * speed[["with a memory", "without"]]
    ticks = [n for n in (1, 2, 5, 10, 20, 50, 100, 200, 500) if times.min(axis=None) / 2 < n < 2 * times.max(axis=None)]
    axes[1].set_yticks(ticks, [str(n) for n in ticks])
    axes[1].set_xlabel("tokens written")
    axes[1].set_ylabel(f"ms a token, {speed['rows'].iloc[0]} texts at once")
    axes[1].legend(fontsize=7)
    return {"decoding": figure}


def findings(tables: dict[str, pd.DataFrame]) -> str:
    table, speed = tables["strategies"], tables["speed"]
    rows = "\n".join(
        f"| {row['strategy']} | {row['nats']:.2f} | {row['repeated']:.1%} | {row['distinct']:.1%} |"
        for _, row in table.iterrows()
    )
    itself = table[table["strategy"] == TEXT].iloc[0]
    others = table[table["strategy"] != TEXT]
    likeliest = others.loc[others["nats"].idxmin()]
    nearest = others.loc[(others["nats"] - itself["nats"]).abs().idxmin()]
    last, powers = speed.iloc[-1], _powers(speed)
    penalties = tables["penalties"]
    ended = "\n".join(
        f"| {row['length penalty']:g} | {row['tokens']:.1f} | {row['ended at once']:.0%} |"
        for _, row in penalties.iterrows()
    )
    memories = tables["memories"]
    alone = memories.loc[memories["shared by"].idxmin()]
    shared = "\n".join(
        f"| {row['shared by']:.0f} | {row['query heads'] / row['shared by']:.0f} | {row['bytes a token']:,.0f} "
        f"({row['in theory']:,.0f}) | {1e3 * row['seconds']:.1f} | {row['seconds'] / alone['seconds']:.2f} |"
        for _, row in memories.iterrows()
    )
    samples = "\n".join(f"* {row['strategy']}: {wording.code(row['sample'])}" for _, row in table.iterrows())
    return f"""**In short.** The likeliest text is written by {likeliest["strategy"]} ({likeliest["nats"]:.2f} nats a
token, {likeliest["repeated"]:.0%} repeated); real text has {itself["nats"]:.2f} and {itself["repeated"]:.0%}. Nearest
to that in likelihood comes {nearest["strategy"]} ({nearest["nats"]:.2f}). A memory writes {last["length"]:.0f} tokens
{last["without"] / last["with a memory"]:.0f} times as fast.

![Ways of writing](decoding.png)

A model of {itself["size"]} after {itself["tokens"]} tokens continues held-out text to the end of its context.
Likelihood is its own opinion of what it wrote; repeated: runs of {GRAM} tokens that stood in the same
continuation before.

| strategy | nats a token | repeated | distinct tokens |
|---|---|---|---|
{rows}

**One continuation each** of {wording.code(itself["prompt"])}:

{samples}

**Texts that may end.** Beam search of {penalties["beams"].iloc[0]:.0f} beams, which may end a text where a document
could end, within {penalties["at most"].iloc[0]:.0f} tokens. Its score is the log-likelihood over ((5 + length) / 6) to
the power of the penalty (Wu et al. 2016, eq. 14): without one, every token makes a text less likely.

| length penalty | tokens, mean | ended at once |
|---|---|---|
{ended}

**Speed**, on the CPU. A memory keeps keys and values of what was read (a KV cache); without it, all is read again for
each token. With a memory the time a token grows with the length to the {powers["with a memory"]:.2f},
without to the {powers["without"]:.2f}; at {last["length"]:.0f} tokens a memory is
{last["without"] / last["with a memory"]:.1f} times as fast.

**What a memory holds.** Query heads that share keys and values (grouped-query attention; all of them: multi-query)
keep less: bytes a token of one text (in theory, 2 layers heads head_dim numbers), for an untrained model of
{alone["size"]} with {alone["query heads"]:.0f} query heads that writes {alone["length"]:.0f} tokens in as many texts at
once as above.

| query heads that share | heads kept | bytes a token | ms a token | to none shared |
|---|---|---|---|---|
{shared}
"""
