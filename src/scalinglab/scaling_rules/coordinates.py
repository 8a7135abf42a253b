"""Coordinate check (Yang et al. 2022, appendix D.1): how large features are, and how far training has moved them."""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from scalinglab.model.decoder import Block, Decoder
from scalinglab.training.data import Batch
from scalinglab.training.optimiser import AdamW
from scalinglab.training.schedule import Rates

# The power of width with which a feature's change should grow: none where rules hold. Under the standard ones a step of
# one rate moves what a matrix adds in proportion to its width, for all its entries move the same way (section 5).
FEATURES = ("embedding", "attention scores", "block", "logits")


@torch.no_grad()
def features(model: Decoder, tokens_BT: Tensor) -> dict[str, Tensor]:
    """Embeddings, the last block's attention scores and output, and logits, in float64."""
    x_BTD = model.position.embed(model.embedding(tokens_BT))
    found = {"embedding": x_BTD}
    for block in model.blocks:
        assert isinstance(block, Block)
        scores_BHTT = block.attention.scores(block.attention_input(x_BTD))
        x_BTD = block(x_BTD)
    found |= {"attention scores": scores_BHTT, "block": x_BTD, "logits": model.head(model.norm(x_BTD))}
    return {name: value.double() for name, value in found.items()}


def check(
    model: Decoder, optimiser: AdamW, batches: Sequence[Batch], rate: float
) -> Iterator[dict[str, float | int | str]]:
    """One row a step and feature: its root mean square, and that of its change since step 0, on the first batch.

    Every step is taken at the full rate, without warmup or clipping: what the rules say of single steps.
    """
    model.train()
    first = features(model, batches[0].tokens_BT)
    for step in range(len(batches) + 1):
        for name, now in features(model, batches[0].tokens_BT).items():
            yield {"step": step, "feature": name, "rms": rms(now), "change": rms(now - first[name])}
        if step < len(batches):
            batch = batches[step]
            model.loss(batch.tokens_BT, batch.targets_BT, batch.scored_N).backward()
            optimiser.step(Rates.alike(rate))


def rms(x: Tensor) -> float:
    """Root mean square of all entries."""
    return float(x.detach().double().square().mean().sqrt())
