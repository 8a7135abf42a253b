"""A selective state space: a recurrence whose decay depends on the input, on queries, keys and values [B, H, T, K].

h_t = a_t h_{t-1} + k_t v_t^T and y_t = q_t h_t, with one a_t in (0, 1] a head and position: state-space duality in the
terms of attention (Dao & Gu 2024, section 4; q, k and v are their C, B and X). With a_t = 1 it is linear
attention without its denominator. Tests hold the forms to each other.
"""

import torch
from torch import Tensor

from scalinglab.model.attention_kernels import CHUNK


def decays(log_a_BHT: Tensor) -> Tensor:
    """[B, H, T, T] what is left at position t of what was written at s: a_{s+1} ... a_t, and 0 where s comes later.

    From sums of the logarithms over s+1..t, and not from quotients of products, which overflow (section 6).
    """
    total_BHT = log_a_BHT.cumsum(dim=-1)
    log_BHTT = total_BHT[..., :, None] - total_BHT[..., None, :]
    later_TT = torch.ones(log_BHTT.shape[-2:], dtype=torch.bool, device=log_a_BHT.device).triu(1)
    return log_BHTT.masked_fill(later_TT, -torch.inf).exp()


def chunked(
    q_BHTK: Tensor, k_BHTK: Tensor, v_BHTV: Tensor, log_a_BHT: Tensor, state_BHKV: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Outputs [B, H, T, V] and the state behind the last position: O(T K V), as products of matrices.

    Within a chunk the quadratic form, and what came before as one matrix (Dao & Gu 2024, section 6).
    """
    outputs = []
    pieces = (x.split(CHUNK, dim=2) for x in (q_BHTK, k_BHTK, v_BHTV, log_a_BHT))
    for q_BHCK, k_BHCK, v_BHCV, log_a_BHC in zip(*pieces, strict=True):
        decay_BHCC = decays(log_a_BHC)
        y_BHCV = (q_BHCK @ k_BHCK.transpose(-1, -2) * decay_BHCC) @ v_BHCV
        written_BHKV = (k_BHCK * decay_BHCC[..., -1, :, None]).transpose(-1, -2) @ v_BHCV
        if state_BHKV is not None:
            since_BHC1 = log_a_BHC.cumsum(dim=-1).exp()[..., None]  # what is left of the state before the chunk
            y_BHCV = y_BHCV + (q_BHCK * since_BHC1) @ state_BHKV
            written_BHKV = written_BHKV + since_BHC1[..., -1:, :] * state_BHKV
        state_BHKV = written_BHKV
        outputs.append(y_BHCV)
    assert state_BHKV is not None
    return torch.cat(outputs, dim=2), state_BHKV


def recurrent(q_BHTK: Tensor, k_BHTK: Tensor, v_BHTV: Tensor, log_a_BHT: Tensor) -> Tensor:
    """The outputs as a recurrent network gives them, one position after the other."""
    state_BHKV = torch.zeros_like(k_BHTK[:, :, 0, :, None] * v_BHTV[:, :, 0, None, :])
    outputs = []
    for t in range(q_BHTK.shape[2]):
        written_BHKV = k_BHTK[:, :, t, :, None] * v_BHTV[:, :, t, None, :]
        state_BHKV = log_a_BHT[:, :, t, None, None].exp() * state_BHKV + written_BHKV
        outputs.append((q_BHTK[:, :, t, None, :] @ state_BHKV)[:, :, 0])
    return torch.stack(outputs, dim=2)
