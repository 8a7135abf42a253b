"""Nearest-neighbour language models (kNN-LM, Khandelwal et al. 2020): stored contexts vote on the next token.

A datastore is a table of keys [K, D], features of contexts, and values [K], the token that followed each. The search is
exact, by brute force: distances are one matrix product a block.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from scalinglab.model.decoder import Decoder

QUERIES, KEYS = 256, 8192  # at once: their distances are 8 MB
FEATURES = ("feed-forward", "final")  # of a context: the last feed-forward's input, or what the head reads


@torch.no_grad()
def features(model: Decoder, rows_RT: NDArray[np.uint16], kind: str, batch_rows: int) -> Tensor:
    """Features [R * T, D] of every context in rows [R, T + 1], the last token of which is only a target."""
    model.eval()
    device, read = next(model.parameters()).device, []

    def keep(_: object, inputs: tuple[Tensor]) -> None:
        read.append(inputs[0].flatten(0, 1))

    last = f"blocks.{model.shape.n_layer - 1}.feed_forward"
    hook = model.get_submodule(last if kind == "feed-forward" else "head").register_forward_pre_hook(keep)
    for start in range(0, len(rows_RT), batch_rows):
        model.logits(torch.from_numpy(rows_RT[start : start + batch_rows, :-1].astype(np.int64)).to(device))
    hook.remove()
    return torch.cat(read)


def spread(keys_KD: Tensor) -> float:
    """Mean squared distance between two of the keys, drawn at random: twice the trace of their covariance."""
    return 2 * float(keys_KD.double().var(dim=0, correction=0).sum())


def nearest(queries_QD: Tensor, keys_KD: Tensor, sizes: Sequence[int], k: int) -> Iterator[tuple[int, Tensor, Tensor]]:
    """Yield, for growing sizes, squared distances [Q, k] and places [Q, k] of the nearest among so many first keys.

    The nearest comes first; where there are fewer than k keys, the rest is infinitely far. All sizes together cost one
    search of the largest.
    """
    n = len(queries_QD)
    far_Qk = torch.full((n, k), torch.inf, device=queries_QD.device)
    place_Qk = torch.zeros((n, k), dtype=torch.long, device=queries_QD.device)
    norms_Q, norms_K = queries_QD.square().sum(1), keys_KD.square().sum(1)
    done = 0
    for size in sizes:
        for first in range(done, size, KEYS):
            last = min(first + KEYS, size)
            for at in (slice(start, start + QUERIES) for start in range(0, n, QUERIES)):
                # |q - x|^2 without |q|^2, which changes no order.
                block = torch.addmm(norms_K[first:last], queries_QD[at], keys_KD[first:last].t(), alpha=-2)
                distance, place = block.topk(min(k, last - first), dim=1, largest=False)
                both = torch.cat([far_Qk[at], distance], dim=1)
                far_Qk[at], kept = both.topk(k, dim=1, largest=False)
                place_Qk[at] = torch.cat([place_Qk[at], place + first], dim=1).gather(1, kept)
        done = size
        yield size, (far_Qk + norms_Q[:, None]).clamp(min=0), place_Qk.clone()


def neighbour_probability(far_Qk: Tensor, values_Qk: Tensor, targets_Q: Tensor, temperature: float) -> Tensor:
    """p_kNN(target), [Q] in float64: the share of exp(-distance / temperature) on neighbours with that value (eq. 2).

    The paper's temperature is 1.
    """
    weights_Qk = torch.softmax(-far_Qk.double() / temperature, dim=1)
    return (weights_Qk * (values_Qk == targets_Q[:, None])).sum(1)


def mixed_nats(p_model_Q: Tensor, p_neighbours_Q: Tensor, weight: float) -> Tensor:
    """-log(weight p_kNN + (1 - weight) p_LM) of each target (eq. 3)."""
    return -(weight * p_neighbours_Q + (1 - weight) * p_model_Q).log()


def grams(rows_RT: NDArray[np.uint16], n: int) -> NDArray[np.uint64]:
    """The last n tokens of each context that has as many, as one number each: [R, T - n + 1]. n is 4 at most."""
    tokens = rows_RT[:, :-1].astype(np.uint64)
    length = tokens.shape[1] - n + 1
    found = np.zeros((len(tokens), length), np.uint64)
    for i in range(n):
        found = found << np.uint64(16) | tokens[:, i : i + length]
    return found
