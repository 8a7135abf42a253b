"""How many pairs can be recalled by what mixes positions: attention, or a state of fixed size (Arora et al. 2023)?

Small decoders learn multi-query recall alone, from rows with few and with many pairs in turn: from the longest rows
alone, softmax attention seldom leaves its plateau. Each mixer takes the best of a few rates for a seed that is compared
nowhere; the other seeds are paired.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from pydantic import Field
from pydantic.dataclasses import dataclass
from scipy import stats

from scalinglab import config
from scalinglab.config import PositiveFloat, PositiveInt, Share, Study, tokens_of
from scalinglab.corpus.packing import answer_targets
from scalinglab.evaluation.answers import answer
from scalinglab.figures.style import new_figure, ordered_style
from scalinglab.measurements import Row, wording
from scalinglab.model.decoder import Decoder, initialise
from scalinglab.model.shape import Shape, shape_of
from scalinglab.skills.multi_query import MultiQuery
from scalinglab.stages.models import pick_device
from scalinglab.stages.paired import SWEEP_SEED
from scalinglab.theory.comparison import MIN_SEEDS, compare
from scalinglab.training.data import Batches
from scalinglab.training.loop import Stretch, train
from scalinglab.training.optimiser import AdamW
from scalinglab.training.schedule import run_rates, steps_of

BATCH_ROWS = 64  # of held-out documents at once


@dataclass(frozen=True, config=config.STRICT)
class Mixer:
    attention: str
    head_dim: PositiveInt


@dataclass(frozen=True, config=config.STRICT)
class Settings:
    size: str
    tokens: str
    batch_tokens: PositiveInt
    pairs: Annotated[tuple[PositiveInt, ...], Field(min_length=2)]
    symbols: PositiveInt
    rates: Annotated[tuple[PositiveFloat, ...], Field(min_length=1)]
    seeds: Annotated[tuple[PositiveInt, ...], Field(min_length=MIN_SEEDS)]
    documents: PositiveInt
    margin: PositiveFloat
    recalled: Share
    mixers: Annotated[dict[str, Mixer], Field(min_length=2)]


def measure(settings: Settings, study: Study, job: str) -> dict[str, list[Row]]:
    """Tables `recall`, a row a model and number of pairs, and `verdicts` on the errors against the first mixer."""
    rows: list[Row] = []
    for name, mixer in settings.mixers.items():
        options = replace(study.model, attention=mixer.attention, head_dim=mixer.head_dim)
        sweep = [_recall(settings, study, options, SWEEP_SEED, rate, "chosen by") for rate in settings.rates]
        # Of rates that recall everywhere, the highest: it leaves the plateau soonest, and so for the most seeds.
        enough = [
            rate for rate, found in zip(settings.rates, sweep, strict=True) if min(found.values()) >= settings.recalled
        ]
        means = [float(np.mean(list(found.values()))) for found in sweep]
        best = max(enough) if enough else settings.rates[int(np.argmax(means))]
        runs = [("sweep", SWEEP_SEED, rate, found) for rate, found in zip(settings.rates, sweep, strict=True)]
        of_seed = {seed: _recall(settings, study, options, seed, best, "heldout") for seed in settings.seeds}
        runs += [("run", seed, best, found) for seed, found in of_seed.items()]
        own: Row = {
            "mixer": name,
            "kept": kept(_shape(settings, options), mixer.attention),
            "recalled": settings.recalled,
        }
        rows += [
            own | {"role": role, "seed": seed, "rate": rate, "pairs": pairs, "accuracy": accuracy}
            for role, seed, rate, found in runs
            for pairs, accuracy in found.items()
        ]
    return {"recall": rows, "verdicts": _verdicts(pd.DataFrame(rows), settings.margin)}


def kept(shape: Shape, attention: str) -> int:
    """Numbers that a layer must keep of a whole context to go on writing."""
    width = shape.n_head * shape.head_dim
    fixed = {"linear": width * (shape.head_dim + 1), "selective": width * shape.head_dim}  # linear: its denominator too
    return fixed.get(attention, 2 * shape.n_kv_head * shape.head_dim * shape.seq_len)


def rows_of(
    settings: Settings, split: str, seed: int, count: int, pairs: Sequence[int]
) -> tuple[np.ndarray, np.ndarray]:
    """Rows [count, T + 1] whose numbers of pairs take turns, and [count, T] which of their targets are answers."""
    length = _length(settings) + 1
    rows_RT, scored_RT = np.empty((count, length), np.uint16), np.empty((count, length - 1), bool)
    for turn, n in enumerate(pairs):
        skill, own = _skill(settings, n), slice(turn, None, len(pairs))
        rows_RT[own] = skill.documents(split, seed, 0, len(rows_RT[own]), length)
        scored_RT[own] = answer_targets(skill, rows_RT[own])
    return rows_RT, scored_RT


def _skill(settings: Settings, pairs: int) -> MultiQuery:
    return MultiQuery(pairs=pairs, keys=settings.symbols, values=settings.symbols)


def _length(settings: Settings) -> int:
    """The context: the most pairs, and as many questions with their answers."""
    return 4 * max(settings.pairs)


def _shape(settings: Settings, options: config.Model) -> Shape:
    return shape_of(settings.size, options, _skill(settings, 1).symbols, _length(settings))


def _recall(
    settings: Settings, study: Study, options: config.Model, seed: int, rate: float, split: str
) -> dict[int, float]:
    """Accuracy of one trained model on documents of a split, by their number of pairs; 0 where it diverged."""
    length = _length(settings)
    # One rate for all, the embedding too: it is what is swept.
    whole_rows = max(1, settings.batch_tokens // length) * length
    training = replace(study.training, batch_tokens=whole_rows, embedding_rate=0.0)
    steps = steps_of(tokens_of(settings.tokens), training.batch_tokens)
    rows_RT, scored_RT = rows_of(settings, "train", seed, steps * training.batch_tokens // length, settings.pairs)
    model = Decoder(_shape(settings, options), options)
    initialise(model, seed)
    model.to(pick_device(study))
    finished = train(
        model, AdamW(model, training), Batches(rows_RT, scored_RT, training.batch_tokens, repeat=1),
        Stretch(0, steps), run_rates(rate, steps, training), training, replace(study.execution, compile=False),
        lambda step, point: None, 0,
    )  # fmt: skip
    found = {}
    for pairs in settings.pairs:
        held_out, _ = rows_of(settings, split, 0, settings.documents, [pairs])
        right_NA = answer(model, _skill(settings, pairs), held_out, 0, BATCH_ROWS).correct_NA
        found[pairs] = float(right_NA.mean()) if finished else 0.0
    return found


def _verdicts(recall: pd.DataFrame, margin: float) -> list[Row]:
    """Differences of the errors from those of the first mixer at each number of pairs."""
    runs = recall[recall["role"] == "run"]
    reference, found = str(runs["mixer"].iloc[0]), list[Row]()
    for pairs, group in runs.groupby("pairs"):
        errors = {str(name): list(1 - one["accuracy"]) for name, one in group.groupby("mixer", sort=False)}
        at: Row = {"pairs": int(str(pairs)), "reference": reference, "margin": margin}
        found += [
            at
            | {"mixer": one.variant, "difference": one.difference, "low": one.low, "high": one.high}
            | {"verdict": one.verdict}
            for one in compare(errors, reference, margin)
        ]
    return found


def figures(tables: dict[str, pd.DataFrame]) -> dict[str, Figure]:
    """`recall`: accuracy against the number of pairs, means with intervals, and each seed."""
    runs = _runs(tables)
    figure, (axis,) = new_figure(1, width=7.0, height=3.4)
    names, pairs = list(runs["mixer"].unique()), sorted(runs["pairs"].unique())
    for i, (name, style) in enumerate(ordered_style(names).items()):
        one = runs[runs["mixer"] == name]
        of_pairs = one.groupby("pairs")["accuracy"]
        aside = 1.03 ** (i - (len(names) - 1) / 2)  # so that intervals do not hide each other
        axis.errorbar(
            of_pairs.mean().index * aside, of_pairs.mean(), yerr=of_pairs.agg(_reach), markersize=5, linewidth=1.1,
            capsize=2, label=f"{name}: {one['kept'].iloc[0]:,} numbers kept", **style,
        )  # fmt: skip
        axis.plot(one["pairs"] * aside, one["accuracy"], ".", markersize=4, alpha=0.5, color=style["color"])
    axis.plot(pairs, [1 / n for n in pairs], "--", color="gray", linewidth=1, label="chance: one of the row's values")
    axis.set_xscale("log", base=2)
    axis.set_xticks(pairs, [str(n) for n in pairs])
    axis.minorticks_off()
    axis.set_ylim(-0.03, 1.03)
    axis.set_xlabel("pairs in the context")
    axis.set_ylabel("accuracy on held-out rows")
    axis.legend(fontsize=7, loc="upper left", bbox_to_anchor=(1.01, 1))
    return {"recall": figure}


def findings(tables: dict[str, pd.DataFrame]) -> str:
    runs, verdicts = _runs(tables), tables["verdicts"]
    pairs, reference = sorted(runs["pairs"].unique()), str(verdicts["reference"].iloc[0])
    said = verdicts.set_index(["mixer", "pairs"])["verdict"]
    rates = sorted(tables["recall"]["rate"].unique())
    threshold, lines, most, few = float(runs["recalled"].iloc[0]), [], [], []
    for name, one in runs.groupby("mixer", sort=False):
        of_pairs = one.groupby("pairs")["accuracy"]
        mean, reach = of_pairs.mean(), of_pairs.agg(_reach)
        cells = [
            f"{mean[n]:.3f} +- {reach[n]:.3f}" + (f" ({said[name, n]})" if name != reference else "") for n in pairs
        ]
        rate = wording.chosen(one["rate"].iloc[0], rates[0], rates[-1])
        lines.append(f"| {name} | {one['kept'].iloc[0]:,} | {rate} | " + " | ".join(cells) + " |")
        middle, learnt = of_pairs.median(), int((one[one["pairs"] == pairs[0]]["accuracy"] >= threshold).sum())
        held = [n for n in pairs if (middle[middle.index <= n] >= threshold).all()]
        most.append(f"{name} {max(held)}" if held else f"{name} fewer than {pairs[0]}")
        few.append(f"{name} {learnt}")
    told = verdicts[verdicts["verdict"].isin(["better", "worse"])]
    groups = told.groupby(["mixer", "verdict"], sort=False)["pairs"]
    certain = "; ".join(f"{mixer} {verdict} at {', '.join(map(str, at))}" for (mixer, verdict), at in groups) or "none"
    return f"""**In short.** Of {runs["seed"].nunique()} seeds so many learn to recall at least {threshold:.0%} of
{pairs[0]} pairs: {"; ".join(few)}. The median seed does so up to so many: {"; ".join(most)}. Certainly apart from
{reference}, over all seeds and by the number of pairs: {certain}.

![Recall](recall.png)

Accuracy on held-out rows: the mean of {runs["seed"].nunique()} seeds with its 95 % interval (wide where some seeds
learn and others do not), and the verdict on the error beside that of {reference} (paired seeds, margin
{verdicts["margin"].iloc[0]:g}). Numbers kept: what a layer needs of a whole context to go on writing. Rates tried:
{", ".join(f"{rate:g}" for rate in rates)}.

| mixer | numbers kept | rate | {" | ".join(f"{n} pairs" for n in pairs)} |
|---|---|---|{"---|" * len(pairs)}
{chr(10).join(lines)}

A guess among the values of the row is right once in as many times as there are pairs.
"""


def _runs(tables: dict[str, pd.DataFrame]) -> pd.DataFrame:
    return tables["recall"][tables["recall"]["role"] == "run"]


def _reach(accuracies: pd.Series) -> float:
    """Half of the 95 % interval of the mean, by Student's t."""
    return float(stats.t(len(accuracies) - 1).ppf(0.975) * accuracies.sem())
