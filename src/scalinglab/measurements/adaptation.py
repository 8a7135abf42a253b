"""Low-rank adaptation against full fine-tuning (LoRA, Hu et al. 2021): what each learns of a new domain, and forgets.

The domain is one distribution or source of the corpus; models are pretrained on text of all others, one a seed, and all
methods adapt the same ones. Each method runs at its best rate, chosen on a seed that is compared nowhere.
"""

from dataclasses import asdict, replace
from dataclasses import dataclass as plain_dataclass
from functools import cache
from typing import Annotated

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from numpy.typing import NDArray
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor

from scalinglab import config
from scalinglab.config import PositiveFloat, PositiveInt, Study, tokens_of
from scalinglab.corpus import bpe
from scalinglab.corpus.documents import Document, read_documents
from scalinglab.corpus.packing import text_rows
from scalinglab.errors import UserError
from scalinglab.evaluation.text import token_losses
from scalinglab.figures import forest
from scalinglab.figures.style import new_figure, ordered_style
from scalinglab.files import read_json
from scalinglab.measurements import Row, wording
from scalinglab.model.decoder import Decoder, initialise
from scalinglab.paths import Paths
from scalinglab.stages.models import build_model, pick_device
from scalinglab.stages.paired import PairedRuns
from scalinglab.stages.pretraining import read_rate_law
from scalinglab.stages.short_runs import job_identity
from scalinglab.stages.stretches import train_stretch
from scalinglab.theory.comparison import compare
from scalinglab.theory.protocol import Rates, Seeds
from scalinglab.theory.tables import by_seed, comparisons
from scalinglab.training.data import Batches
from scalinglab.training.loop import Stretch
from scalinglab.training.optimiser import AdamW
from scalinglab.training.schedule import run_rates, steps_of
from scalinglab.transfer.low_rank import add_low_rank, freeze, trainable

FULL, HEAD = "full", "head"
WARMUP_SHARE = 0.1  # of an adaptation's tokens; then its rate decays linearly to zero


@dataclass(frozen=True, config=config.STRICT)
class Settings:
    size: str
    tokens: str
    domain: str
    adaptation_tokens: str
    ranks: Annotated[tuple[PositiveInt, ...], Field(min_length=1)]
    alpha: PositiveFloat
    rates: Rates
    seeds: Seeds
    margin: PositiveFloat


@plain_dataclass(frozen=True)
class Corpus:
    """Rows of text [R, T + 1] to train on and held out, of so many documents to train on."""

    train_RT: NDArray[np.uint16]
    held_RT: NDArray[np.uint16]
    documents: int


@plain_dataclass(frozen=True)
class Base:
    """A pretrained model, and its held-out losses on the domain and on the rest."""

    tensors: dict[str, Tensor]
    domain: float
    rest: float


def measure(settings: Settings, study: Study, job: str) -> dict[str, list[Row]]:
    """Tables `runs`, a row each; `verdicts`, of each method against full fine-tuning; `corpus`, a row."""
    domain, rest, mentions = _corpora(study, settings.domain)
    peak = read_rate_law(study).peak(settings.size)
    # Method, seed and rate are in the key of a run.
    decides = (settings.size, settings.tokens, settings.domain, settings.adaptation_tokens, settings.alpha, peak)
    identity = job_identity(study, *decides)
    one = _Adaptation(settings, study, f"{job}.{identity[:12]}", domain, rest)
    paired = PairedRuns(study, job, identity)
    methods = [FULL, HEAD, *(f"rank-{rank}" for rank in settings.ranks)]
    runs: list[Row] = []
    for method in methods:

        def adapt(key: str, seed: int, factor: float, method: str = method) -> Row:
            return one.run(method, key, seed, factor)

        runs += [{"method": method, **row} for row in paired.of(settings.rates, settings.seeds, adapt, method)]
    verdicts: list[Row] = []
    for of in ("loss", "rest"):
        losses = {
            method: [float(row[of]) for row in runs if row["method"] == method and row["role"] == "run"]
            for method in methods
        }
        verdicts += [{"of": of, **asdict(found)} for found in compare(losses, FULL, settings.margin)]
    corpus: Row = {
        "domain": settings.domain,
        "documents": domain.documents,
        "training tokens": domain.train_RT[:, 1:].size,
        "held-out tokens": domain.held_RT[:, 1:].size,
        "other documents": rest.documents,
        "other held-out tokens": rest.held_RT[:, 1:].size,
        "mentions": mentions,
        "margin": settings.margin,
        "size": settings.size,
        "tokens": settings.tokens,
        "adaptation tokens": settings.adaptation_tokens,
        "slowest": min(settings.rates),
        "fastest": max(settings.rates),
    }
    return {"runs": runs, "verdicts": verdicts, "corpus": [corpus]}


class _Adaptation:
    """Runs of the job that share pretrained models, which are made where a run needs them first."""

    def __init__(self, settings: Settings, study: Study, name: str, domain: Corpus, rest: Corpus) -> None:
        self._settings, self._study, self._name, self._domain, self._rest = settings, study, name, domain, rest
        self._peak = read_rate_law(study).peak(settings.size)
        self._base = cache(self._pretrain)

    def run(self, method: str, key: str, seed: int, factor: float) -> Row:
        """Adapt the pretrained model of a seed; its losses before and after (NaN where it diverged)."""
        base, tokens = self._base(seed), tokens_of(self._settings.adaptation_tokens)
        model = self._model()
        model.load_state_dict(base.tensors)
        if method == HEAD:
            freeze(model, but="head.")
        elif method != FULL:
            add_low_rank(model, int(method.removeprefix("rank-")), self._settings.alpha, seed)
        training = replace(self._study.training, schedule="linear", warmup_tokens=round(WARMUP_SHARE * tokens))
        # Whatever the study's order: a seed has its own, the same for all methods.
        rows_RT = np.random.default_rng(seed).permutation(self._domain.train_RT)
        finished = self._train(replace(self._study, training=training), key, model, rows_RT, tokens, factor)
        domain, rest = self._losses(model) if finished else (float("nan"), float("nan"))
        learning = {"parameters": trainable(model), "of": sum(one.numel() for one in self._model().parameters())}
        before = {"loss before": base.domain, "rest before": base.rest}
        return {"rate": factor * self._peak, "loss": domain, "rest": rest, **before, **learning}

    def _pretrain(self, seed: int) -> Base:
        model = self._model()
        initialise(model, self._study.seed + seed)
        rows_RT = np.random.default_rng(self._study.seed).permutation(self._rest.train_RT)
        self._train(self._study, f"base-{seed}", model, rows_RT, tokens_of(self._settings.tokens), 1.0)
        return Base({name: tensor.clone() for name, tensor in model.state_dict().items()}, *self._losses(model))

    def _model(self) -> Decoder:
        return build_model(self._study, self._settings.size).to(pick_device(self._study))

    def _train(
        self, study: Study, key: str, model: Decoder, rows_RT: NDArray[np.uint16], tokens: int, factor: float
    ) -> bool:
        """Train on rows of text in their order; False where it diverged."""
        training = study.training
        steps = steps_of(tokens, training.batch_tokens)
        scored_RT = np.ones((len(rows_RT), study.mixture.seq_len), bool)
        batches = Batches(rows_RT, scored_RT, training.batch_tokens, study.mixture.repeat)
        rates_of = run_rates(self._peak, steps, training, factor)
        optimiser, stretch = AdamW(model, training), Stretch(0, steps)
        return not train_stretch(study, f"{self._name}.{key}", model, optimiser, batches, stretch, rates_of).diverged

    def _losses(self, model: Decoder) -> tuple[float, float]:
        """Mean held-out nats a token, on the domain and on the rest."""
        rows = self._study.evaluation.batch_rows
        domain, rest = (float(token_losses(model, of.held_RT, rows).mean()) for of in (self._domain, self._rest))
        return domain, rest


def _corpora(study: Study, domain: str) -> tuple[Corpus, Corpus, int]:
    """Text of the domain and of the rest, and how many of the rest's documents to train on name the domain."""
    paths = Paths(study.study)
    documents = list(read_documents(paths.documents))
    own = [one for one in documents if domain in (one.source, _top(one))]
    splits = {one.split for one in own}
    if not {"train", "validation"} <= splits or len(own) == len(documents):
        tops = sorted({_top(one) for one in documents if one.split == "validation"})
        raise UserError(
            f"studies/adaptation.yaml: domain = {domain!r}: there must be documents of it to train on and held-out "
            f"ones, and others beside it; folders with held-out documents: {', '.join(tops)}"
        )
    others = [one for one in documents if domain not in (one.source, _top(one))]
    mentions = sum(one.split == "train" and domain in one.text for one in others)
    return _corpus(study, own), _corpus(study, others), mentions


def _top(document: Document) -> str:
    return document.path.split("/")[0]


def _corpus(study: Study, documents: list[Document]) -> Corpus:
    """Documents as rows; held-out ones spread evenly, at most as many as the study's."""
    paths, length = Paths(study.study), study.mixture.seq_len
    tokenizer = bpe.load(paths.tokenizer, read_json(paths.tokenizer_report)["sha256"])

    def rows(split: str) -> NDArray[np.uint16]:
        texts = [one.text for one in documents if one.split == split]
        tokens = [np.array([*tokenizer.encode(text), bpe.EOS], np.uint16) for text in texts]
        return text_rows(np.concatenate(tokens), length)

    held_RT = rows("validation")
    if not len(held_RT):
        raise UserError(
            f"held-out text of {_top(documents[0])} is shorter than a context; raise clean.validation_share"
        )
    most = min(len(held_RT), study.mixture.validation_tokens // length)
    held_RT = held_RT[np.linspace(0, len(held_RT) - 1, most).astype(int)]
    return Corpus(rows("train"), held_RT, sum(one.split == "train" for one in documents))


def _runs(tables: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """The compared runs, with what they learnt and forgot."""
    runs = tables["runs"][tables["runs"]["role"] == "run"]
    return runs.assign(learnt=runs["loss"] - runs["loss before"], forgot=runs["rest"] - runs["rest before"])


def figures(tables: dict[str, pd.DataFrame]) -> dict[str, Figure]:
    """`adaptation`: loss on the domain against trained parameters, and what was forgotten against what was learnt;
    `forest`: differences on the domain."""
    return {"adaptation": _learnt(tables), "forest": _forest(tables)}


def _forest(tables: dict[str, pd.DataFrame]) -> Figure:
    corpus, verdicts = tables["corpus"].iloc[0], tables["verdicts"]
    found = comparisons(verdicts[verdicts["of"] == "loss"])
    title = f"Adapted to {corpus['domain']}\n{corpus['size']}, {corpus['adaptation tokens']} tokens"
    unit = f"nats a held-out token of {corpus['domain']}"
    return forest.draw(found, by_seed(tables["runs"], "method"), FULL, corpus["margin"], unit, title)


def _learnt(tables: dict[str, pd.DataFrame]) -> Figure:
    figure, axes = new_figure(2, width=4.6, height=3.5)
    runs, domain = _runs(tables), tables["corpus"]["domain"].iloc[0]
    styles = ordered_style(list(runs["method"].unique()))
    for method, line in runs.groupby("method", sort=False):
        axes[0].plot(line["parameters"], line["loss"], ".", color=styles[method]["color"], alpha=0.4)
        mean = {"linestyle": "", "markersize": 6, "label": method, **styles[method]}
        axes[0].plot(line["parameters"].iloc[0], line["loss"].mean(), **mean)
        axes[1].plot(line["learnt"], line["forgot"], ".", color=styles[method]["color"], alpha=0.4)
        axes[1].plot(line["learnt"].mean(), line["forgot"].mean(), **mean)
    axes[0].axhline(runs["loss before"].mean(), color="#b2182b", linestyle="--", linewidth=1.0, label="before")
    axes[0].set_xscale("log")
    axes[0].set_xlabel("parameters that learn")
    axes[0].set_ylabel(f"nats a held-out token of {domain}")
    axes[0].legend(fontsize=7)
    axes[1].axhline(0, color="black", linewidth=0.8)
    axes[1].set_xlabel(f"change of the loss on {domain}, nats a token")
    axes[1].set_ylabel("change of the loss on the rest, nats a token")
    return figure


def findings(tables: dict[str, pd.DataFrame]) -> str:
    runs, corpus = _runs(tables), tables["corpus"].iloc[0]
    verdicts = tables["verdicts"].set_index(["of", "variant"])
    lines = []
    for method, group in runs.groupby("method", sort=False):
        first, factor = group.iloc[0], group["factor"].iloc[0]
        cells = [str(method), f"{first['parameters']:,} ({first['parameters'] / first['of']:.1%})"]
        cells += [wording.chosen(factor, corpus["slowest"], corpus["fastest"]), wording.mean(group["loss"])]
        for of in ("loss", "rest"):
            if of == "rest":
                cells.append(wording.mean(group["forgot"]))
            if method == FULL:
                cells.append("")
                continue
            cells.append(wording.verdict(verdicts.loc[(of, method)]))
        lines.append(f"| {' | '.join(cells)} |")
    means = pd.DataFrame({column: wording.whole_means(runs, "method", column) for column in ("learnt", "forgot")})
    low_rank = means[means.index.str.startswith("rank-")]
    reached = (low_rank["learnt"] / means.loc[FULL, "learnt"]).dropna()
    price = (-means["forgot"] / means["learnt"]).dropna()
    best = reached.idxmax()
    return f"""**In short.** Of what all weights learn of a new domain, {best} learns {reached[best]:.0%}, and forgets
{low_rank.loc[best, "forgot"] / means.loc[FULL, "forgot"]:.0%} as much of the rest.

![Adaptation](adaptation.png)

![Differences](forest.png)

Models of {corpus["size"]} are pretrained on {corpus["tokens"]} tokens of text alone, without skills, from
{corpus["other documents"]} documents. None is of {corpus["domain"]}; {corpus["mentions"]} of them mention it. Then they
see {corpus["adaptation tokens"]} tokens of its {corpus["documents"]} documents. (The tokenizer has learnt from all.)
Held out are {corpus["held-out tokens"]:,} tokens of it, and {corpus["other held-out tokens"]:,} of the rest: before
adaptation models need {runs["loss before"].mean():.3f} and {runs["rest before"].mean():.3f} nats a token.

`full` trains every parameter, `head` the head alone, `rank-r` an update of rank r of each matrix in the blocks. Paired
differences from `full` over {runs["seed"].nunique()} seeds, with 95 % intervals; less is better. Margin:
{corpus["margin"]:g} nats. Rates are times the study's for this size.

| method | parameters that learn | rate | {corpus["domain"]} | difference | forgotten of the rest | difference |
|---|---|---|---|---|---|---|
{chr(10).join(lines)}

Of what full fine-tuning gains, low rank gains {", ".join(f"{share:.0%} ({name})" for name, share in reached.items())}.
For each nat learnt of {corpus["domain"]}, so many are lost on the rest:
{", ".join(f"{nats:.2f} ({name})" for name, nats in price.items())}.
"""
