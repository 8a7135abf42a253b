"""What the heads of a trained model look at: maps of attention, and the role of each head.

Roles are mean attention weights on random tokens that come twice, so that frequent pairs of text do not count: to the
place before (previous token), to the same token in the first copy (duplicate), to what followed it there (induction;
Olsson et al. 2022).
"""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from pydantic.dataclasses import dataclass

from scalinglab import config
from scalinglab.config import PositiveInt, Study
from scalinglab.corpus import bpe
from scalinglab.evaluation.in_context import attention_weights, looking_back, repeated_rows
from scalinglab.evaluation.text import token_losses
from scalinglab.figures.style import new_figure
from scalinglab.files import read_json
from scalinglab.measurements import Row
from scalinglab.paths import Paths
from scalinglab.shards import open_shard
from scalinglab.stages.trained import trained

ROLES = ("previous token", "duplicate", "induction")
ROWS = 64  # of repeated random tokens


@dataclass(frozen=True, config=config.STRICT)
class Settings:
    size: str
    tokens: str
    shown: PositiveInt


def measure(settings: Settings, study: Study, job: str) -> dict[str, list[Row]]:
    """Tables `heads` (roles), `copies` (loss on the first and the second copy) and `maps` (weights of one row each)."""
    model = trained(study, settings.size, settings.tokens, job).model
    manifest = read_json(Paths(study.study).manifest)
    text_tokens = range(manifest["skill_offset"] + study.tokenizer.skill_symbols, manifest["vocab_size"])
    half = study.mixture.seq_len // 2
    twice_RT = repeated_rows(2 * half, text_tokens, ROWS)
    layers = attention_weights(model, twice_RT[:, :-1])
    back = dict(zip(ROLES, (1, half, half - 1), strict=True))
    heads: list[Row] = [
        {
            "size": settings.size,
            "tokens": settings.tokens,
            "layer": layer,
            "head": head,
            **{role: float(looking_back(weights_BHTT, by, half)[head]) for role, by in back.items()},
            "chance": float(np.mean([1 / (place + 1) for place in range(half, 2 * half)])),
        }
        for layer, weights_BHTT in enumerate(layers)
        for head in range(weights_BHTT.shape[1])
    ]
    losses_RT = token_losses(model, twice_RT, ROWS)
    copies: list[Row] = [
        {"copy": "first", "loss": float(losses_RT[:, : half - 1].mean())},
        {"copy": "second", "loss": float(losses_RT[:, half:].mean())},
    ]
    text_RT = open_shard(Paths(study.study).of("encode", ""), "validation.npy")[:1]
    period = settings.shown // 2
    short_RT = repeated_rows(2 * period, text_tokens, 1)
    tokenizer = bpe.load(Paths(study.study).tokenizer, read_json(Paths(study.study).tokenizer_report)["sha256"])
    maps: list[Row] = []
    for of, row_RT in (("text", text_RT[:, : settings.shown]), ("repeated random tokens", short_RT[:, :-1])):
        pieces = [tokenizer.id_to_piece(int(token)) for token in row_RT[0]]
        for layer, weights_BHTT in enumerate(attention_weights(model, row_RT)):
            for head, weights_TT in enumerate(weights_BHTT[0].tolist()):
                maps += [
                    {"of": of, "layer": layer, "head": head, "query": i, "key": j, "token": pieces[i], "weight": weight}
                    for i, weights_T in enumerate(weights_TT)
                    for j, weight in enumerate(weights_T[: i + 1])
                ]
    return {"heads": heads, "copies": copies, "maps": maps}


def figures(tables: dict[str, pd.DataFrame]) -> dict[str, Figure]:
    """`maps`: a row of heads for each input."""
    maps = tables["maps"]
    kinds, heads = list(maps["of"].unique()), list(maps.groupby(["layer", "head"]).groups)
    figure, axes = new_figure(len(heads), width=2.6, height=2.8, rows=len(kinds))
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
                axis.set_yticks(range(len(tokens)), [str(t).replace("$", r"\$") for t in tokens], fontsize=4.5)
                axis.set_ylabel("query")
    figure.colorbar(drawn, ax=axes, label="attention weight", shrink=0.6)
    return {"maps": figure}


def findings(tables: dict[str, pd.DataFrame]) -> str:
    heads, copies = tables["heads"], tables["copies"].set_index("copy")["loss"]
    first = heads.iloc[0]
    lines = [
        f"| {row['layer']} | {row['head']} | " + " | ".join(f"{row[role]:.3f}" for role in ROLES) + " |"
        for _, row in heads.iterrows()
    ]
    best = {role: heads.loc[heads[role].idxmax()] for role in ROLES}
    most = "; ".join(
        f"{role}: layer {row['layer']}, head {row['head']} ({row[role]:.2f})" for role, row in best.items()
    )
    return f"""![Maps of attention](maps.png)

A model of {first["size"]} after {first["tokens"]} tokens, on random tokens that come twice. The mean weight that each
head gives, from the second copy, to the place before, to the same token's first copy, and to what followed that; a head
that reads evenly gives {first["chance"]:.3f}.

| layer | head | previous token | duplicate | induction |
|---|---|---|---|---|
{chr(10).join(lines)}

The strongest of each: {most}. Loss on the first copy is {copies["first"]:.2f} nats a token, on the second
{copies["second"]:.2f}: the context saves {copies["first"] - copies["second"]:.2f}.
"""
