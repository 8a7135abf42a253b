"""What the heads of a trained model look at: maps of attention, and the role of each head.

Roles are mean attention weights, on random tokens that come twice, so that frequent pairs of text do not count, and in
documents of a skill, where a model of this size has learnt to look: evaluation/in_context.py says from where to where.
"""

import math
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from numpy.typing import NDArray
from pydantic.dataclasses import dataclass

from scalinglab import config
from scalinglab.config import PositiveInt, Study
from scalinglab.corpus import bpe
from scalinglab.errors import UserError
from scalinglab.evaluation.in_context import (
    ROLES,
    attention_weights,
    even_on_pairs,
    repeated_rows,
    roles_on_copies,
    roles_on_pairs,
)
from scalinglab.evaluation.text import token_losses
from scalinglab.figures.style import new_figure
from scalinglab.files import read_json
from scalinglab.measurements import Row
from scalinglab.paths import Paths
from scalinglab.shards import open_shard
from scalinglab.skills import skill
from scalinglab.skills.pairs import PairSkill
from scalinglab.stages.trained import trained

SAVES = 0.1  # nats that a second copy must cost less before anything is said to be copied
ROWS = 64  # of repeated random tokens, and documents of the skill
COPIES = "repeated random tokens"


@dataclass(frozen=True, config=config.STRICT)
class Settings:
    size: str
    tokens: str
    skill: str
    shown: PositiveInt


def measure(settings: Settings, study: Study, job: str) -> dict[str, list[Row]]:
    """Tables `heads` (roles), `losses` (where the context can tell, where not) and `maps` (weights of one row each).

    Raises UserError where the skill is none of pairs, or is not in the mixture.
    """
    pairs = _pair_skill(settings, study)
    model = trained(study, settings.size, settings.tokens, job).model
    manifest, seq_len = read_json(Paths(study.study).manifest), study.mixture.seq_len
    offset = manifest["skill_offset"]
    text_tokens = range(offset + study.tokenizer.skill_symbols, manifest["vocab_size"])
    twice_RT = repeated_rows(seq_len, text_tokens, ROWS)
    symbols_RT = pairs.documents("heldout", study.seed, 0, ROWS, seq_len + 1)
    documents_RT = symbols_RT + np.uint16(offset)
    losses_RT, half = token_losses(model, twice_RT, ROWS), seq_len // 2
    answers_RS, known_RS = token_losses(model, documents_RT, ROWS)[:, 1::2], pairs.seen(symbols_RT)
    losses: list[Row] = [
        {"of": COPIES, "at": "the first copy", "loss": float(losses_RT[:, : half - 1].mean())},
        {"of": COPIES, "at": "the second copy", "loss": float(losses_RT[:, half:].mean())},
        {"of": COPIES, "at": "a uniform guess", "loss": math.log(manifest["vocab_size"])},
        {"of": settings.skill, "at": "keys that are new", "loss": float(answers_RS[~known_RS].mean())},
        {"of": settings.skill, "at": "keys that came before", "loss": float(answers_RS[known_RS].mean())},
    ]
    text_RT = open_shard(Paths(study.study).of("encode", ""), "validation.npy")[:1]
    short_RT = repeated_rows(2 * (settings.shown // 2), text_tokens, 1)
    tokenizer = bpe.load(Paths(study.study).tokenizer, read_json(Paths(study.study).tokenizer_report)["sha256"])
    maps: list[Row] = []
    for of, row_RT in (("text", text_RT), (COPIES, short_RT), (settings.skill, documents_RT[:1])):
        row_RT = row_RT[:, : settings.shown]
        pieces = [tokenizer.id_to_piece(int(token)) for token in row_RT[0]]
        for layer, weights_BHTT in enumerate(attention_weights(model, row_RT)):
            for head, weights_TT in enumerate(weights_BHTT[0].tolist()):
                maps += [
                    {"of": of, "layer": layer, "head": head, "query": i, "key": j, "token": pieces[i], "weight": weight}
                    for i, weights_T in enumerate(weights_TT)
                    for j, weight in enumerate(weights_T[: i + 1])
                ]
    x_RS = pairs.read(symbols_RT).x_NS
    found = (
        (
            COPIES,
            [roles_on_copies(weights_BHTT, half) for weights_BHTT in attention_weights(model, twice_RT[:, :-1])],
            float(np.mean([1 / (place + 1) for place in range(half, 2 * half)])),
        ),
        (
            settings.skill,
            [roles_on_pairs(weights_BHTT, x_RS) for weights_BHTT in attention_weights(model, documents_RT[:, :-1])],
            even_on_pairs(x_RS),
        ),
    )
    shift = study.model.token_shift
    heads = [{**row, "token shift": shift} for of, layers, even in found for row in _heads(settings, of, layers, even)]
    return {"heads": heads, "losses": losses, "maps": maps}


def _pair_skill(settings: Settings, study: Study) -> PairSkill:
    names = study.mixture.skill_names
    if settings.skill not in names:
        raise UserError(
            f"attention_maps: skill = {settings.skill!r}: not in mixture.skills; take of {', '.join(names)}"
        )
    one = skill(study.mixture.skills[names.index(settings.skill)])
    if not isinstance(one, PairSkill):
        raise UserError(f"attention_maps: skill = {settings.skill!r}: no skill of keys and answers; take recall")
    return one


def _heads(
    settings: Settings, of: str, layers: Sequence[Mapping[str, NDArray[np.float64]]], even: float
) -> Iterator[Row]:
    """A row a head: the weights that it gives, and that of a head which reads evenly."""
    for layer, roles in enumerate(layers):
        for head in range(len(roles[ROLES[0]])):
            named: Row = {"of": of, "size": settings.size, "tokens": settings.tokens, "layer": layer, "head": head}
            yield {**named, **{role: float(by_head[head]) for role, by_head in roles.items()}, "even": even}


def figures(tables: dict[str, pd.DataFrame]) -> dict[str, Figure]:
    """`maps`: a row of heads for each input."""
    maps = tables["maps"]
    kinds, heads = list(maps["of"].unique()), list(maps.groupby(["layer", "head"]).groups)
    figure, axes = new_figure(len(heads), width=2.9, height=3.3, rows=len(kinds))
    for row, of in enumerate(kinds):
        for column, (layer, head) in enumerate(heads):
            axis = axes[row * len(heads) + column]
            one = maps[(maps["of"] == of) & (maps["layer"] == layer) & (maps["head"] == head)]
            grid = one.pivot(index="query", columns="key", values="weight").to_numpy()
            drawn = axis.imshow(grid, cmap="magma_r", vmin=0, vmax=1)
            axis.set_title(f"{of}\nlayer {layer}, head {head}", fontsize=8)
            axis.set_xlabel("key")
            axis.set_yticks([])
            if column == 0:
                tokens = maps[maps["of"] == of].drop_duplicates("query")["token"]
                axis.set_yticks(range(len(tokens)), [_label(str(token)) for token in tokens], fontsize=6)
                axis.set_ylabel("query")
    figure.colorbar(drawn, ax=axes, label="attention weight", shrink=0.6)
    return {"maps": figure}


def _label(token: str) -> str:
    """A token as it is written beside a map; of the skills' symbols the number."""
    return token.removeprefix("<skill").removesuffix(">").replace("$", r"\$")


def findings(tables: dict[str, pd.DataFrame]) -> str:
    heads, losses = tables["heads"], tables["losses"].set_index(["of", "at"])["loss"]
    first, taught = heads.iloc[0], heads[heads["of"] != COPIES]
    skill_name = taught["of"].iloc[0]
    saved = losses[COPIES, "the first copy"] - losses[COPIES, "the second copy"]
    none = "" if saved > SAVES else " No head has learnt induction for text, and *the strongest* means little here."
    shift = (
        "The keys of this model hold some of the position before each (`token_shift`), so that a head of the first "
        "layer can do what takes two layers without."
        if first["token shift"]
        else ""
    )
    new, known = losses[skill_name, "keys that are new"], losses[skill_name, "keys that came before"]
    strongest = taught.loc[taught["induction"].idxmax()]
    return f"""**In short.** In documents of {skill_name} a head gives {strongest["induction"]:.0%} of its weight to the
answers that followed the same key before (layer {strongest["layer"]}, head {strongest["head"]}), and the answer to such
a key costs {known:.2f} nats instead of {new:.2f}.

![Maps of attention](maps.png)

A model of {first["size"]} after {first["tokens"]} tokens.

**Random tokens that come twice.** The mean weight that each head gives, from the second copy, to the place before, to
the same token's first copy, and to what followed that; a head that reads evenly gives
{heads[heads["of"] == COPIES]["even"].iloc[0]:.3f}.

{_table(heads[heads["of"] == COPIES])}

Loss on the first copy is {losses[COPIES, "the first copy"]:.2f} nats a token, on the second
{losses[COPIES, "the second copy"]:.2f}: the context saves {saved:.2f}. (A uniform guess costs
{losses[COPIES, "a uniform guess"]:.2f}; a model that expects text is surer of what random tokens are not.){none}

**Documents of {skill_name}**, symbols (numbers in the figure) that are keys and answers in turn.
The same roles, from a key that came before: to the place
before it, to its earlier copies together, and to the answers that followed them, which say what is to be answered; a
head that reads evenly gives {taught["even"].iloc[0]:.3f} to either of the last two.

{_table(taught)}

The answer to a new key costs {new:.2f} nats, to one that came before {known:.2f}: the context saves {new - known:.2f}.
{shift}
"""


def _table(heads: pd.DataFrame) -> str:
    """A row a head, and the strongest of each role below."""
    lines = [
        f"| {row['layer']} | {row['head']} | " + " | ".join(f"{row[role]:.3f}" for role in ROLES) + " |"
        for _, row in heads.iterrows()
    ]
    best = {role: heads.loc[heads[role].idxmax()] for role in ROLES}
    most = "; ".join(
        f"{role}: layer {row['layer']}, head {row['head']} ({row[role]:.2f})" for role, row in best.items()
    )
    head = f"| layer | head | {' | '.join(ROLES)} |\n|---|---|{'---|' * len(ROLES)}\n"
    return head + "\n".join(lines) + f"\n\nThe strongest of each: {most}."
