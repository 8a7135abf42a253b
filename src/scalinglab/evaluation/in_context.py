"""In-context learning on plain text and on repeated random tokens, after Olsson et al. (2022).

Loss by position, what a text's own first half is worth to its second against another text's, what follows random tokens
the second time, and the heads that look for it.
"""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from scalinglab.evaluation.rows import Row
from scalinglab.evaluation.text import token_losses
from scalinglab.model.decoder import Block, Decoder

TEXT_COLUMNS = ("measure", "at", "value", "items")
ROWS = 64  # of repeated random tokens
ROLES = ("previous token", "duplicate", "induction")  # of heads


def by_position(losses_RT: NDArray[np.float64]) -> list[Row]:
    """`position`: mean loss of the t-th target, nats. `gain`: that of the last quarter of the context minus that of the
    first (negative where context helps), like their score of the 500th token minus the 50th."""
    rows, length = losses_RT.shape
    means_T = losses_RT.mean(axis=0)
    quarter = max(1, length // 4)
    table: list[Row] = [_row("position", t, means_T[t], rows) for t in range(length)]
    gain = means_T[-quarter:].mean() - means_T[:quarter].mean()
    return [*table, _row("gain", length, gain, rows * quarter)]


def with_foreign_half(rows_RT: NDArray[np.uint16]) -> NDArray[np.uint16]:
    """Rows whose first half is that of a row far away: the same targets without their own past."""
    half = rows_RT.shape[1] // 2
    foreign_RT = rows_RT.copy()
    foreign_RT[:, :half] = np.roll(rows_RT, len(rows_RT) // 2, axis=0)[:, :half]
    return foreign_RT


def own_half(losses_RT: NDArray[np.float64], foreign_RT: NDArray[np.float64], rows_RT: NDArray[np.uint16]) -> list[Row]:
    """What the own first half saves: loss behind a foreign one minus loss behind the own, nats, on the same targets.

    `seen`: targets of the last quarter that complete a bigram of the own first half; `new`: the others. A frequent
    bigram is cheap with either half, so that only use of the context is left.
    """
    length = losses_RT.shape[1]
    half, late = rows_RT.shape[1] // 2, length - max(1, length // 4)
    seen_RL = completes_bigram_of(rows_RT[:, :half], rows_RT[:, late:])
    saved_RL = (foreign_RT - losses_RT)[:, late:]
    return [
        _row("own_half", at, saved_RL[mask].mean() if mask.any() else float("nan"), int(mask.sum()))
        for at, mask in (("seen", seen_RL), ("new", ~seen_RL))
    ]


def completes_bigram_of(first_RT: NDArray[np.uint16], rest_RT: NDArray[np.uint16]) -> NDArray[np.bool_]:
    """[R, L] whether each pair of neighbours in the rest [R, L + 1] stands in the first part of its row."""
    known, asked = (part[:, :-1].astype(np.int64) << 32 | part[:, 1:] for part in (first_RT, rest_RT))
    return np.array([np.isin(own, old) for own, old in zip(asked, known, strict=True)])


def repeated_rows(seq_len: int, tokens: Sequence[int], rows: int = ROWS) -> NDArray[np.uint16]:
    """Rows [R, seq_len + 1] of random tokens that repeat after half of the context; the same for every model."""
    rng = np.random.Generator(np.random.Philox(key=seq_len))
    half = np.asarray(tokens)[rng.integers(len(tokens), size=(rows, seq_len // 2))]
    return np.concatenate([half, half, half[:, :1]], axis=1).astype(np.uint16)


def on_repeats(model: Decoder, seq_len: int, tokens: range, batch_rows: int) -> list[Row]:
    """`induction`: loss on the first and the second copy of random tokens. `prefix`: of each head, `layer.head`, the
    mean attention from a token of the second copy to what followed it in the first."""
    rows_RT = repeated_rows(seq_len, tokens)
    losses_RT = token_losses(model, rows_RT, batch_rows)
    half = seq_len // 2
    table: list[Row] = [
        # The first target of the second copy cannot be told from a new token.
        _row("induction", "first", losses_RT[:, : half - 1].mean(), len(rows_RT) * (half - 1)),
        _row("induction", "second", losses_RT[:, half:].mean(), len(rows_RT) * half),
    ]
    for layer, scores_H in enumerate(prefix_matching(model, rows_RT[:, :-1], half)):
        table += [_row("prefix", f"{layer}.{head}", score, len(rows_RT)) for head, score in enumerate(scores_H)]
    return table


def prefix_matching(model: Decoder, rows_RT: NDArray[np.uint16], period: int) -> list[NDArray[np.float64]]:
    """For each layer, [H] the mean attention from position t to t - period + 1, over the second copy."""
    return [looking_back(weights_BHTT, period - 1, period) for weights_BHTT in attention_weights(model, rows_RT)]


@torch.no_grad()
def attention_weights(model: Decoder, rows_RT: NDArray[np.uint16]) -> list[Tensor]:
    """[B, H, T, T] of each layer: how much each position takes from each earlier one."""
    model.eval()
    tokens_BT = torch.from_numpy(rows_RT.astype(np.int64)).to(next(model.parameters()).device)
    x_BTD = model.position.embed(model.embedding(tokens_BT))
    found = []
    for block in model.blocks:
        assert isinstance(block, Block)
        found.append(block.attention.weights(block.attention_input(x_BTD)))
        x_BTD = block(x_BTD)
    return found


def looking_back(weights_BHTT: Tensor, distance: int, start: int) -> NDArray[np.float64]:
    """[H] the mean weight that positions from `start` on give to the one so many places back."""
    looked_BHT = weights_BHTT.diagonal(offset=-distance, dim1=-2, dim2=-1)[..., start - distance :]
    return looked_BHT.mean(dim=(0, 2)).double().cpu().numpy()


def roles_on_copies(weights_BHTT: Tensor, period: int) -> dict[str, NDArray[np.float64]]:
    """[H] of each role: the mean weight from places of the second copy of random tokens to the place before (previous
    token), to the same token in the first copy (duplicate), and to what followed it there (induction; Olsson et al.
    2022)."""
    back = dict(zip(ROLES, (1, period, period - 1), strict=True))
    return {role: looking_back(weights_BHTT, distance, period) for role, distance in back.items()}


def roles_on_pairs(weights_BHTT: Tensor, x_NS: NDArray[np.int64]) -> dict[str, NDArray[np.float64]]:
    """[H] of each role in documents `[task] x1 y1 x2 y2 ...` without their last answer: what induction is there.

    From a key that came before: the weight of the place before it, of all its earlier copies together, and of the
    answers to them.
    """
    same_N1SS = torch.from_numpy(_earlier_copies(x_NS))[:, None].to(weights_BHTT.device)
    again_NS = same_N1SS[:, 0].any(dim=-1)
    from_keys_BHST = weights_BHTT[:, :, 1::2]
    found_BHS = (
        weights_BHTT.diagonal(offset=-1, dim1=-2, dim2=-1)[..., ::2],
        (from_keys_BHST[..., 1::2] * same_N1SS).sum(-1),
        (from_keys_BHST[..., 2::2] * same_N1SS[..., :-1]).sum(-1),  # the last key has no answer
    )
    means_H = [one_BHS.movedim(1, -1)[again_NS].double().mean(0).cpu().numpy() for one_BHS in found_BHS]
    return dict(zip(ROLES, means_H, strict=True))


def even_on_pairs(x_NS: NDArray[np.int64]) -> float:
    """The weight that a head which reads evenly gives to the earlier copies of a key, or to the answers to them."""
    copies_NS = _earlier_copies(x_NS).sum(axis=2)
    visible_S = 2 + 2 * np.arange(x_NS.shape[1])
    return float((copies_NS / visible_S)[copies_NS > 0].mean())


def _earlier_copies(x_NS: NDArray[np.int64]) -> NDArray[np.bool_]:
    """[N, S, S] whether the second of two pairs stands earlier and has the same key."""
    return np.tril(x_NS[:, :, None] == x_NS[:, None, :], k=-1)


def _row(measure: str, at: int | str, value: float, items: int) -> Row:
    return {"measure": measure, "at": str(at), "value": float(value), "items": items}
