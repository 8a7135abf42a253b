"""Held-out loss on text, in nats a token and bits a byte."""

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from scalinglab.model.decoder import Decoder


@torch.no_grad()
def token_losses(model: Decoder, rows_RT: NDArray[np.uint16], batch_rows: int) -> NDArray[np.float64]:
    """-log p of each target in nats, [R, T], for rows [R, T + 1]; batch_rows bounds the memory."""
    model.eval()
    device = next(model.parameters()).device
    losses = []
    for start in range(0, len(rows_RT), batch_rows):
        block = torch.from_numpy(rows_RT[start : start + batch_rows].astype(np.int64)).to(device)
        logits_BTV = model.logits(block[:, :-1])
        losses.append(negative_log_likelihood(logits_BTV, block[:, 1:]).double().cpu().numpy())
    return np.concatenate(losses)


def negative_log_likelihood(logits: Tensor, targets: Tensor) -> Tensor:
    """-log softmax(logits)[targets] in nats: [..., V] and [...] to [...]; no second copy of the logits is made."""
    gold = logits.gather(-1, targets[..., None])[..., 0]
    return torch.logsumexp(logits, dim=-1) - gold


def bits_per_byte(total_nats: float, total_bytes: int) -> float:
    """Loss of a text in bits a UTF-8 byte, which compares across tokenizers."""
    return total_nats / math.log(2) / total_bytes
