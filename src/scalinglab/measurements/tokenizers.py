"""Kinds and sizes of tokenizers: how far they compress, how fast, and what a model makes of their tokens.

Models get equal FLOPs, so that a large vocabulary, whose head is dear, sees fewer tokens; their losses compare in bits
a byte of the same held-out text. Contexts have equally many tokens: who compresses more sees more of the text.
"""

import time
from collections import Counter
from dataclasses import asdict, replace
from typing import Annotated

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from numpy.typing import NDArray
from pydantic import Field
from pydantic.dataclasses import dataclass
from tokenizers import Tokenizer
from tokenizers.pre_tokenizers import ByteLevel

from scalinglab import config
from scalinglab.config import PositiveFloat, PositiveInt, Study, tokens_of
from scalinglab.corpus import tokenizers
from scalinglab.corpus.documents import read_documents
from scalinglab.corpus.merges import apply_merges, learn_merges
from scalinglab.corpus.packing import text_rows
from scalinglab.errors import UserError
from scalinglab.evaluation.text import bits_per_byte, token_losses
from scalinglab.figures import forest
from scalinglab.figures.style import new_figure, ordered_style
from scalinglab.measurements import Row, wording
from scalinglab.model.counts import count
from scalinglab.model.decoder import Decoder, initialise
from scalinglab.model.shape import shape_of
from scalinglab.paths import Paths
from scalinglab.stages.models import pick_device
from scalinglab.stages.paired import sweep_then_run
from scalinglab.stages.pretraining import read_rate_law
from scalinglab.theory.comparison import Comparison, compare
from scalinglab.theory.protocol import Rates, Seeds
from scalinglab.theory.tables import by_seed
from scalinglab.training.data import Batches
from scalinglab.training.loop import Stretch, train
from scalinglab.training.optimiser import AdamW
from scalinglab.training.schedule import run_rates, steps_of

REFERENCE = "bpe"  # of one vocabulary: its tokens decide how many FLOPs all get, and others are compared with it
BYTES_A_TOKEN = 4  # of English; so much of the held-out text has about as many tokens as the study's


@dataclass(frozen=True, config=config.STRICT)
class Settings:
    vocabularies: Annotated[tuple[PositiveInt, ...], Field(min_length=1)]
    sample_bytes: PositiveInt
    merges: PositiveInt
    trained: dict[str, tuple[PositiveInt, ...]]
    size: str
    tokens: str
    rates: Rates
    seeds: Seeds
    reference: PositiveInt
    margin: PositiveFloat


def measure(settings: Settings, study: Study, job: str) -> dict[str, list[Row]]:
    """Tables `compression`, a row a tokenizer; `models`, a row a run; `merges`, beside a reference; `steps`, a line cut
    by the first of them."""
    if unknown := settings.trained.keys() - tokenizers.KINDS.keys():
        kinds = ", ".join(tokenizers.KINDS)
        raise UserError(f"tokenizers: trained: {', '.join(sorted(unknown))}: no such kind; known: {kinds}")
    for kind, sizes in settings.trained.items():
        known_sizes = (tokenizers.BYTES,) if kind == "bytes" else settings.vocabularies
        if lacking := sorted(set(sizes) - set(known_sizes)):
            raise UserError(f"tokenizers: trained.{kind} = {lacking}: must be among {list(known_sizes)}")
    if settings.reference not in set(settings.trained.get(REFERENCE, ())) & set(settings.vocabularies):
        raise UserError(
            f"tokenizers: reference = {settings.reference}: vocabularies and trained.{REFERENCE} must hold it too"
        )
    documents = Paths(study.study).documents
    texts, held_out = ([one.text for one in read_documents(documents, split)] for split in ("train", "validation"))
    sample = _first_bytes(texts, settings.sample_bytes)
    held_out = _first_bytes(held_out, BYTES_A_TOKEN * study.mixture.validation_tokens)  # the same text for all
    line = _example(held_out)
    compression: list[Row] = []
    trained: list[Row] = []
    flops = _flops(study, settings, settings.reference) * tokens_of(settings.tokens)
    for kind in tokenizers.KINDS:
        for size in settings.vocabularies if kind != "bytes" else (tokenizers.BYTES,):
            begun = time.perf_counter()
            tokenizer = tokenizers.train(kind, size, sample)
            learnt = time.perf_counter()
            tokens, known = _encode(tokenizer, held_out)
            seconds, total = time.perf_counter() - learnt, sum(len(text.encode()) for text in held_out)
            compression.append(
                {
                    "kind": kind,
                    "vocabulary": tokenizer.get_vocab_size(),
                    "bytes a token": total / len(tokens),
                    "unknown bytes": 1 - known / total,
                    "MB/s": total / 1e6 / seconds,
                    "training s": learnt - begun,
                    "example": " ".join(tokenizer.encode(line).tokens),
                }
            )
            if size in settings.trained.get(kind, ()):
                trained += [
                    {"tokenizer": f"{kind} {size}", **row}
                    for row in _models(study, settings, tokenizer, kind, texts, tokens, flops)
                ]
    merges = _merges(sample, settings.merges)
    return {"compression": compression, "models": trained, "merges": merges, "steps": _steps(line, merges)}


def _first_bytes(texts: list[str], n: int) -> list[str]:
    """The first texts, of about n bytes together."""
    sizes = np.cumsum([len(text.encode()) for text in texts])
    return texts[: int(np.searchsorted(sizes, n)) + 1]


def _example(texts: list[str]) -> str:
    """A line that shows how text is cut: the first of some length that has words, of few spaces."""
    lines = (line.strip() for text in texts for line in text.split("\n"))
    return next((line for line in lines if 30 <= len(line) <= 60 and line.count(" ") >= 3), texts[0][:50])


def _encode(tokenizer: Tokenizer, texts: list[str]) -> tuple[NDArray[np.uint16], int]:
    """All texts as one stream of ids, and the bytes that they stand for."""
    tokens = np.concatenate([np.array(one.ids, np.uint16) for one in tokenizer.encode_batch(texts)])
    return tokens, int(np.array(tokenizers.bytes_of(tokenizer))[tokens].sum())


def _flops(study: Study, settings: Settings, vocabulary: int) -> int:
    """Of training on one token."""
    shape = shape_of(settings.size, study.model, vocabulary, study.mixture.seq_len)
    return count(shape, study.model).flops_per_token


def _models(
    study: Study,
    settings: Settings,
    tokenizer: Tokenizer,
    kind: str,
    texts: list[str],
    held_out: NDArray[np.uint16],
    flops: int,
) -> list[Row]:
    """Bits a byte of models of text alone that take so many FLOPs to train: the sweep of rates, then all seeds."""
    vocabulary, seq_len = tokenizer.get_vocab_size(), study.mixture.seq_len
    budget = flops // _flops(study, settings, vocabulary)
    tokens, _ = _encode(tokenizer, texts)
    rows_RT = np.random.default_rng(study.seed).permutation(text_rows(tokens, seq_len))
    steps = steps_of(budget, study.training.batch_tokens)
    batches = Batches(
        rows_RT, np.ones((len(rows_RT), seq_len), bool), study.training.batch_tokens, study.mixture.repeat
    )
    batches.check(steps, f"tokenizers: {kind} {vocabulary}")
    held_RT = text_rows(held_out, seq_len)
    nbytes = int(np.array(tokenizers.bytes_of(tokenizer))[held_RT[:, 1:]].sum())
    peak, device = read_rate_law(study).peak(settings.size), pick_device(study)

    def once(role: str, seed: int, factor: float) -> Row:
        model = Decoder(shape_of(settings.size, study.model, vocabulary, seq_len), study.model)
        initialise(model, seed)
        model.to(device)
        finished = train(
            model, AdamW(model, study.training), batches, Stretch(0, steps),
            run_rates(peak, steps, study.training, factor), study.training, replace(study.execution, compile=False),
            lambda step, point: None, 0,
        )  # fmt: skip
        nats = float(token_losses(model, held_RT, study.evaluation.batch_rows).sum()) if finished else float("nan")
        about: Row = {"kind": kind, "vocabulary": vocabulary, "tokens": budget, "size": settings.size}
        about |= {"reference": settings.reference, "margin": settings.margin}
        about |= {"slowest": min(settings.rates), "fastest": max(settings.rates)}
        return about | {"role": role, "seed": seed, "factor": factor, "bits a byte": bits_per_byte(nats, nbytes)}

    return sweep_then_run(settings.rates, settings.seeds, once, "bits a byte")


def _merges(sample: list[str], n: int) -> list[Row]:
    """The first merges of our plain byte-pair encoding, beside the library's."""
    cut = ByteLevel(add_prefix_space=False).pre_tokenize_str
    words = Counter(word for text in sample for word, _ in cut(text))
    fast = tokenizers.merges_of(tokenizers.train("bpe", tokenizers.BYTES + n, sample))
    return [
        {"step": i + 1, "left": left, "right": right, "the same": int((left, right) == fast[i])}
        for i, (left, right) in enumerate(learn_merges(words, n))
    ]


def _steps(line: str, merges: list[Row]) -> list[Row]:
    """A line in the pieces that it is in after so many merges, words apart; those where nothing changes left out."""
    words = [word for word, _ in ByteLevel(add_prefix_space=False).pre_tokenize_str(line)]
    pairs, rows = [(str(row["left"]), str(row["right"])) for row in merges], list[Row]()
    for n in (0, *(2**power for power in range(len(pairs).bit_length())), len(pairs)):
        pieces = " ".join(piece for word in words for piece in apply_merges(word, pairs[:n]))
        if not rows or rows[-1]["pieces"] != pieces:
            rows.append({"merges": n, "pieces": pieces})
    return rows


def apart(sizes: list[int]) -> list[int]:
    """Those that leave room for each other's labels on an axis in powers of two, from the largest down."""
    kept: list[int] = []
    for size in sorted(sizes, reverse=True):
        if not kept or size <= 0.75 * kept[-1]:
            kept.append(size)
    return kept[::-1]


def figures(tables: dict[str, pd.DataFrame]) -> dict[str, Figure]:
    """`tokenizers`: compression and bits a byte against the vocabulary; `forest`: differences from the reference."""
    models = compared(tables["models"])
    found, losses, reference = verdicts_of(models)
    drawn = forest.draw(
        found, losses, reference, models["margin"].iloc[0], "bits a byte of held-out text",
        f"How should text be cut?\n{models['size'].iloc[0]}, equal FLOPs",
    )  # fmt: skip
    return {"tokenizers": _against_vocabulary(tables["compression"], models), "forest": drawn}


def compared(models: pd.DataFrame) -> pd.DataFrame:
    """The runs that are compared, without those of the sweep."""
    return models[models["role"] == "run"]


def verdicts_of(models: pd.DataFrame) -> tuple[list[Comparison], dict[str, list[float]], str]:
    """All tokenizers against the reference; their bits a byte by seed; and the reference's name."""
    reference = f"{REFERENCE} {models['reference'].iloc[0]}"
    of_seeds = by_seed(models, "tokenizer", "bits a byte")
    return compare(of_seeds, reference, models["margin"].iloc[0]), of_seeds, reference


def _against_vocabulary(compression: pd.DataFrame, models: pd.DataFrame) -> Figure:
    figure, axes = new_figure(2, width=4.2, height=3.3)
    styles = ordered_style(list(tokenizers.KINDS))
    for axis, (table, column) in zip(axes, ((compression, "bytes a token"), (models, "bits a byte")), strict=True):
        for kind, line in table.groupby("kind", sort=False):
            points = line.groupby("vocabulary")[column]
            axis.plot(points.mean().index, points.mean(), markersize=5, linewidth=1.1, label=kind, **styles[str(kind)])
            if table is models:
                axis.plot(line["vocabulary"], line[column], ".", color=styles[str(kind)]["color"], alpha=0.4)
        ticks = apart(compression["vocabulary"].unique().tolist())
        axis.set_xscale("log", base=2)
        axis.set_xticks(ticks, [str(n) for n in ticks], fontsize=7)
        axis.minorticks_off()
        axis.set_xlabel("vocabulary")
        axis.set_ylabel(f"{column}, held-out text")
        axis.legend(fontsize=7)
    return figure


def findings(tables: dict[str, pd.DataFrame]) -> str:
    compression, merges = tables["compression"], tables["merges"]
    models = compared(tables["models"])
    cut = "\n".join(
        f"| {row['kind']} | {row['vocabulary']} | {row['bytes a token']:.2f} | {row['unknown bytes']:.2%} | "
        f"{row['MB/s']:.1f} | {row['training s']:.1f} |"
        for _, row in compression.iterrows()
    )
    comparisons, _, reference = verdicts_of(models)
    vocabulary, margin = models["reference"].iloc[0], models["margin"].iloc[0]
    slowest, fastest = models["slowest"].iloc[0], models["fastest"].iloc[0]
    verdicts = pd.DataFrame([asdict(one) for one in comparisons])
    found = {row["variant"]: wording.verdict(row) for row in verdicts.to_dict("records")}
    trained = [
        f"| {name} | {group['tokens'].iloc[0]:,} | {wording.chosen(group['factor'].iloc[0], slowest, fastest)} | "
        f"{wording.mean(group['bits a byte'])} | {found.get(str(name), '')} |"
        for name, group in models.groupby("tokenizer", sort=False)
    ]
    shown = compression[compression["vocabulary"].isin({tokenizers.BYTES, vocabulary, compression["vocabulary"].max()})]
    examples = "\n".join(
        f"* {row['kind']} {row['vocabulary']}: " + " ".join(wording.code(piece) for piece in row["example"].split(" "))
        for _, row in shown.iterrows()
    )
    first = ", ".join(
        f"`{left}`+`{right}`" for left, right in merges[["left", "right"]].head(12).itertuples(index=False)
    )
    steps = "\n".join(
        f"* {row['merges']}: " + " ".join(wording.code(piece) for piece in row["pieces"].split(" "))
        for _, row in tables["steps"].iterrows()
    )
    means = wording.whole_means(models, "tokenizer", "bits a byte")
    best, worst = means.idxmin(), means.idxmax()
    return f"""**In short.** At equal FLOPs {best} needs least ({means.min():.3f} bits a byte), {worst} most
({means.max():.3f}). {wording.in_words(verdicts, reference, margin)}

![Tokenizers](tokenizers.png)

All tokenizers work on UTF-8 bytes and cut words alike; sizes are those that the library makes: a unigram tokenizer has
fewer pieces than were asked for where the sample holds no more. Speeds are of one run on a shared machine.

| kind | vocabulary | bytes a token | unknown bytes | MB/s | training s |
|---|---|---|---|---|---|
{cut}

**A held-out line**, cut by some of them (a space is written as Ġ, `##` goes on with a word):

{examples}

**Models** of text alone, {models["seed"].nunique()} paired seeds, equal FLOPs, at the best of the rates for each (times
the study's for their width): bits a byte, and the difference from {reference} with its 95 % interval. Margin:
{margin:g}.

![Differences](forest.png)

| tokenizer | tokens | rate | bits a byte | difference, verdict |
|---|---|---|---|---|
{chr(10).join(trained)}

**Merges, step by step.** Plain byte-pair encoding (`corpus/merges.py`; a line's end is written as Ċ)
begins with {first}. Of its first {len(merges)} merges {merges["the same"].sum()} are those of the library. The line
above after so many of them:

{steps}
"""
