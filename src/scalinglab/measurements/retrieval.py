"""Nearest neighbours in stored text beside a model (kNN-LM, Khandelwal et al. 2020): what they are worth, and where.

Neighbours, temperature and weight are chosen on one half of the held-out documents and judged on the other. What was
stored is either text that the model was trained on, or as much that it has never seen.
"""

import dataclasses
from collections.abc import Iterator
from dataclasses import asdict, replace
from typing import Annotated, Literal

import numpy as np
import pandas as pd
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor

from scalinglab import config
from scalinglab.config import PositiveFloat, PositiveInt, Study
from scalinglab.corpus import bpe
from scalinglab.corpus.documents import read_documents
from scalinglab.corpus.packing import text_rows
from scalinglab.errors import UserError
from scalinglab.evaluation.text import token_losses
from scalinglab.figures.style import new_figure, ordered_style
from scalinglab.files import read_json
from scalinglab.measurements import Row, wording
from scalinglab.model.counts import count
from scalinglab.model.decoder import Decoder
from scalinglab.paths import Paths
from scalinglab.shards import open_shard
from scalinglab.stages.trained import trained
from scalinglab.transfer import neighbours

GRAM = 4  # tokens of context that count as the same
RESAMPLES = 2000  # of documents, for an interval


@dataclass(frozen=True, config=config.STRICT)
class Store:
    """A datastore: from which text, and what of the model its keys are."""

    text: Literal["seen", "unseen"]
    features: Literal["feed-forward", "final"]


@dataclass(frozen=True, config=config.STRICT)
class Settings:
    size: str
    tokens: str
    stores: Annotated[dict[str, Store], Field(min_length=1)]
    pairs: Annotated[tuple[PositiveInt, ...], Field(min_length=2)]
    neighbours: Annotated[tuple[PositiveInt, ...], Field(min_length=1)]
    temperatures: Annotated[tuple[PositiveFloat, ...], Field(min_length=1)]
    weights: Annotated[tuple[Annotated[float, Field(ge=0, lt=1)], ...], Field(min_length=2)]
    document_rows: PositiveInt


@dataclass(frozen=True, config=config.STRICT)
class Choice:
    """What is chosen on the first half: number of neighbours, temperature as a share of the spread, and weight."""

    k: int
    temperature: float
    weight: float


@dataclasses.dataclass(frozen=True)
class HeldOut:
    """Held-out rows [R, T + 1], and of each of their targets [Q]: its document, whether that judges or chooses, and its
    nats by the model alone. seed: of intervals."""

    rows_RT: NDArray[np.uint16]
    document_Q: NDArray[np.int64]
    judges_Q: NDArray[np.bool_]
    alone_Q: NDArray[np.float64]
    seed: int

    def choosing(self, nats_Q: NDArray[np.float64]) -> float:
        """Mean nats on the documents that choose."""
        return float(nats_Q[~self.judges_Q].mean())

    def judged(self, nats_Q: NDArray[np.float64], among_Q: NDArray[np.bool_] | None = None) -> Row:
        """Mean nats on the documents that judge, and the difference with its 95 % interval over documents that are
        drawn again (percentile bootstrap, paired). NaN where none of them has such a token."""
        at = self.judges_Q if among_Q is None else self.judges_Q & among_Q
        columns = ("model alone", "nats", "difference", "low", "high")
        if not at.any():
            return dict.fromkeys(columns, float("nan"))
        difference_Q = (nats_Q - self.alone_Q)[at]
        _, own_Q = np.unique(self.document_Q[at], return_inverse=True)
        sums_D, tokens_D = np.bincount(own_Q, difference_Q), np.bincount(own_Q)
        drawn = np.random.default_rng(self.seed).integers(len(sums_D), size=(RESAMPLES, len(sums_D)))
        low, high = np.quantile(sums_D[drawn].sum(1) / tokens_D[drawn].sum(1), (0.025, 0.975))
        means = (self.alone_Q[at].mean(), nats_Q[at].mean(), difference_Q.mean(), low, high)
        return {name: float(value) for name, value in zip(columns, means, strict=True)}


def measure(settings: Settings, study: Study, job: str) -> dict[str, list[Row]]:
    """Tables `sizes`, a row a store and number of pairs; `weights`; `temperatures` and `contexts` of the largest."""
    if list(settings.pairs) != sorted(set(settings.pairs)):
        raise UserError(f"studies/retrieval.yaml: pairs: {list(settings.pairs)}: list growing numbers")
    run = trained(study, settings.size, settings.tokens, job)
    held = _held_out(study, run.model, settings.document_rows)
    trained_rows = run.step * (study.training.batch_tokens // study.mixture.seq_len)
    tables: dict[str, list[Row]] = {"sizes": [], "weights": [], "temperatures": [], "contexts": []}
    for name, store in settings.stores.items():
        rows_RT = _stored(study, store, trained_rows, settings.pairs[-1])
        for table, rows in _of_store(settings, study, run.model, rows_RT, store.features, held).items():
            tables[table] += [{"store": name, **row} for row in rows]
    return tables


def _held_out(study: Study, model: Decoder, most_rows: int) -> HeldOut:
    """Rows of every held-out document, at most so many of each; every other document by length is a judge."""
    paths, length = Paths(study.study), study.mixture.seq_len
    tokenizer = bpe.load(paths.tokenizer, read_json(paths.tokenizer_report)["sha256"])
    texts = (one.text for one in read_documents(paths.documents, "validation"))
    rows = [text_rows(np.array([*tokenizer.encode(text), bpe.EOS], np.uint16), length) for text in texts]
    rows = sorted((one for one in rows if len(one)), key=len, reverse=True)
    if len(rows) < 2:
        raise UserError(f"{len(rows)} held-out document(s) are as long as a context; raise clean.validation_share")
    taken = [one[np.linspace(0, len(one) - 1, min(len(one), most_rows)).astype(int)] for one in rows]
    document_Q = np.repeat(np.arange(len(taken)), [one[:, 1:].size for one in taken])
    rows_RT = np.concatenate(taken)
    alone_Q = token_losses(model, rows_RT, study.evaluation.batch_rows).flatten()
    return HeldOut(rows_RT, document_Q, document_Q % 2 == 1, alone_Q, study.seed)


def _stored(study: Study, store: Store, trained_rows: int, pairs: int) -> NDArray[np.uint16]:
    """Rows of text in the order of training: the first of those trained on, or of those that come after."""
    folder = Paths(study.study).of("encode", "")
    rows_RT = open_shard(folder, "train.npy")
    rows_RT = rows_RT[:trained_rows] if store.text == "seen" else rows_RT[trained_rows:]
    symbols = read_json(Paths(study.study).manifest)["skill_offset"] + np.arange(study.tokenizer.skill_symbols)
    text_RT = rows_RT[~np.isin(rows_RT[:, 0], symbols)]  # no text holds the symbol that a skill document begins with
    needed = -(-pairs // study.mixture.seq_len)
    if len(text_RT) < needed:
        raise UserError(
            f"studies/retrieval.yaml: pairs: {pairs:,}: there are {len(text_RT) * study.mixture.seq_len:,} of "
            f"{store.text} text; ask for fewer, or change tokens"
        )
    return np.ascontiguousarray(text_RT[:needed])


def _of_store(
    settings: Settings, study: Study, model: Decoder, rows_RT: NDArray[np.uint16], kind: str, held: HeldOut
) -> dict[str, list[Row]]:
    """Rows of all tables that tell of one store."""
    queries_QD, keys_KD = (
        neighbours.features(model, rows, kind, study.evaluation.batch_rows) for rows in (held.rows_RT, rows_RT)
    )
    targets_Q, values_K = (
        torch.from_numpy(rows[:, 1:].astype(np.int64)).flatten().to(keys_KD.device) for rows in (held.rows_RT, rows_RT)
    )
    spread, forward = neighbours.spread(keys_KD), count(model.shape, study.model).flops_per_token / 3
    p_model_Q = torch.from_numpy(np.exp(-held.alone_Q)).to(keys_KD.device)
    sizes: list[Row] = []
    weights: list[Row] = []
    for pairs, far_Qk, place_Qk in neighbours.nearest(queries_QD, keys_KD, settings.pairs, max(settings.neighbours)):
        tried = dict(_tried(settings, spread, far_Qk, values_K[place_Qk], targets_Q, p_model_Q))
        best = min(tried, key=lambda choice: held.choosing(tried[choice]))
        flops: Row = {"model FLOPs": forward, "search FLOPs": 2 * model.shape.d_model * pairs}
        sizes.append({"features": kind, "pairs": pairs, **asdict(best), **held.judged(tried[best]), **flops})
        weights += [
            {"pairs": pairs, "weight": choice.weight, "nats": held.judged(nats_Q)["nats"]}
            for choice, nats_Q in tried.items()
            if choice == replace(best, weight=choice.weight)
        ]
    temperatures: list[Row] = []
    for k in settings.neighbours:
        for temperature in settings.temperatures:
            weighted = [tried[Choice(k, temperature, weight)] for weight in settings.weights]
            nats = held.judged(min(weighted, key=held.choosing))["nats"]
            temperatures.append({"k": k, "temperature": temperature, "nats": nats})
    contexts = _contexts(rows_RT, held, tried[best])
    return {"sizes": sizes, "weights": weights, "temperatures": temperatures, "contexts": contexts}


def _contexts(rows_RT: NDArray[np.uint16], held: HeldOut, nats_Q: NDArray[np.float64]) -> list[Row]:
    """Tokens behind contexts that stand in the store, and behind others; the first of a row have too few to tell."""
    known_RT = np.isin(neighbours.grams(held.rows_RT, GRAM), np.unique(neighbours.grams(rows_RT, GRAM)))
    told_Q, known_Q = (np.pad(of_RT, ((0, 0), (GRAM - 1, 0))).flatten() for of_RT in (np.ones_like(known_RT), known_RT))
    found: list[Row] = []
    for context, among_Q in (("stored", known_Q), ("not stored", told_Q & ~known_Q)):
        share = (among_Q & held.judges_Q).sum() / (told_Q & held.judges_Q).sum()
        found.append({"context": context, "share": float(share), **held.judged(nats_Q, among_Q)})
    return found


def _tried(
    settings: Settings, spread: float, far_Qk: Tensor, values_Qk: Tensor, targets_Q: Tensor, p_model_Q: Tensor
) -> Iterator[tuple[Choice, NDArray[np.float64]]]:
    """Nats [Q] of every choice."""
    for k in settings.neighbours:
        for temperature in settings.temperatures:
            nearest = far_Qk[:, :k], values_Qk[:, :k]
            p_Q = neighbours.neighbour_probability(*nearest, targets_Q, temperature * spread)
            for weight in settings.weights:
                yield Choice(k, temperature, weight), neighbours.mixed_nats(p_model_Q, p_Q, weight).cpu().numpy()


def figures(tables: dict[str, pd.DataFrame]) -> dict[str, Figure]:
    """`retrieval`: nats against the size of the store, the weight, and the temperature."""
    figure, axes = new_figure(3, width=4.0, height=3.4)
    sizes = tables["sizes"]
    alone = sizes["model alone"].iloc[0]
    styles = ordered_style(list(sizes["store"].unique()))
    for name, line in sizes.groupby("store", sort=False):
        axes[0].plot(line["pairs"], line["nats"], markersize=5, linewidth=1.1, label=name, **styles[name])
        axes[0].fill_between(
            line["pairs"], alone + line["low"], alone + line["high"], color=styles[name]["color"], alpha=0.12
        )
    axes[0].set_xscale("log", base=2)
    axes[0].set_xticks(sizes["pairs"].unique(), [_short(n) for n in sizes["pairs"].unique()], fontsize=7)
    axes[0].minorticks_off()
    axes[0].set_xlabel("stored pairs of context and token")
    first = sizes["store"].iloc[0]
    weights = tables["weights"][tables["weights"]["store"] == first]
    shown = ordered_style(list(weights["pairs"].unique()))
    for pairs, line in weights.groupby("pairs"):
        axes[1].plot(line["weight"], line["nats"], markersize=4, linewidth=1.1, label=_short(pairs), **shown[pairs])
    axes[1].set_xlabel(f"weight of the neighbours; {first}")
    _legend_above(axes[1], "pairs")
    temperatures = tables["temperatures"][tables["temperatures"]["store"] == first]
    shown = ordered_style(list(temperatures["k"].unique()))
    for k, line in temperatures.groupby("k"):
        axes[2].plot(line["temperature"], line["nats"], markersize=4, linewidth=1.1, label=f"{k}", **shown[k])
    axes[2].set_xscale("log")
    axes[2].set_xlabel(f"temperature / spread of the keys; {_short(sizes['pairs'].max())} pairs")
    _legend_above(axes[2], "neighbours")
    for axis in axes:
        axis.axhline(alone, color="#b2182b", linestyle="--", linewidth=1.0, label="the model alone")
        axis.set_ylabel("nats a held-out token")
    axes[0].legend(fontsize=7)
    return {"retrieval": figure}


def _legend_above(axis: Axes, title: str) -> None:
    axis.legend(fontsize=7, title=title, title_fontsize=7, ncols=7, loc="lower center", bbox_to_anchor=(0.5, 1.0),
                handletextpad=0.2, columnspacing=0.7, handlelength=1.2)  # fmt: skip


def _short(n: object) -> str:
    return f"{float(str(n)) / 1000:g}k"


def findings(tables: dict[str, pd.DataFrame]) -> str:
    sizes, contexts = tables["sizes"], tables["contexts"]
    largest = sizes[sizes["pairs"] == sizes["pairs"].max()]
    tried = {name: tables["temperatures"][name].agg(["min", "max"]) for name in ("k", "temperature")}
    rows = "\n".join(
        f"| {row['store']} | {wording.chosen(row['k'], *tried['k'])} | "
        f"{wording.chosen(row['temperature'], *tried['temperature'])} | {row['weight']:g} | {row['nats']:.3f} | "
        f"{row['difference']:+.3f} | {row['low']:+.3f} to {row['high']:+.3f} |"
        for _, row in largest.iterrows()
    )
    split = "\n".join(
        f"| {row['store']} | {row['context']} | {row['share']:.0%} | {row['model alone']:.3f} | {row['nats']:.3f} | "
        f"{row['difference']:+.3f} | {row['low']:+.3f} to {row['high']:+.3f} |"
        for _, row in contexts.iterrows()
    )
    doublings = [
        f"{(last['nats'] - first['nats']) / np.log2(last['pairs'] / first['pairs']):+.3f} ({name})"
        for name, line in sizes.groupby("store", sort=False)
        for first, last in [(line.iloc[-2], line.iloc[-1])]
    ]
    cost = largest.iloc[0]
    gains = "; ".join(f"{row['store']} {row['difference']:+.3f}" for _, row in largest.iterrows())
    return f"""**In short.** Neighbours among {cost["pairs"]:,} stored contexts change the loss by so many nats a token:
{gains}. The search costs {cost["search FLOPs"] / cost["model FLOPs"]:.0f} times as much as the model itself.

![Neighbours in stored text](retrieval.png)

The model is trained as in the study, on text and skills; what is stored and what is held out is text alone. The model
alone needs {cost["model alone"]:.3f} nats a held-out token. Beside it vote the k nearest of {cost["pairs"]:,} stored
contexts; k, temperature (as a share of the keys' spread) and weight are chosen on other held-out documents (edge:
the largest or smallest that was tried).

| store | k | temperature | weight | nats | difference | 95 % interval, over documents |
|---|---|---|---|---|---|---|
{rows}

The last doubling of the store changed the loss by {", ".join(doublings)} nats.

**Where it helps.** Tokens whose last {GRAM} tokens of context stand in the largest store, and those whose do not:

| store | context | share of tokens | the model alone | with neighbours | difference | 95 % interval |
|---|---|---|---|---|---|---|
{split}

**What it costs.** Exact search among {cost["pairs"]:,} keys takes {cost["search FLOPs"] / 1e6:.1f} MFLOPs a token; the
model's own forward pass takes {cost["model FLOPs"] / 1e6:.2f}. Their ratio is
{cost["search FLOPs"] / cost["model FLOPs"]:.0f}.
"""
