"""Attention over parts of the past in less than quadratic time, on queries, keys and values [B, H, T, K].

What each computes is said by a mask or a recurrence; tests hold it to that.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

CHUNK = 64  # positions of linear attention that are taken at once


def windowed(q_BHTK: Tensor, k_BHTK: Tensor, v_BHTK: Tensor, window: int, scale: float) -> Tensor:
    """Softmax attention of each position to itself and the window - 1 before it: O(T window K).

    Blocks of one window look at themselves and the block before (Beltagy et al. 2020, section 3.1).
    """
    length = q_BHTK.shape[2]
    q_BHNWK = _blocks(q_BHTK, window)
    k_BHNXK, v_BHNXK = (_with_previous(_blocks(x_BHTK, window)) for x_BHTK in (k_BHTK, v_BHTK))
    near_NWX = _near(q_BHNWK.shape[2], window, q_BHTK.device)
    y_CNWK = F.scaled_dot_product_attention(
        q_BHNWK.flatten(0, 1), k_BHNXK.flatten(0, 1), v_BHNXK.flatten(0, 1), near_NWX, scale=scale
    )
    return y_CNWK.unflatten(0, q_BHTK.shape[:2]).flatten(2, 3)[:, :, :length]


def strided(q_BHTK: Tensor, k_BHTK: Tensor, v_BHTK: Tensor, stride: int, scale: float) -> Tensor:
    """Softmax attention to the last `stride` positions and to every stride-th before: O(T sqrt(T) K) at sqrt(T).

    Child et al. 2019, section 4.2, both patterns in one head: near keys block by block, far ones among the positions
    that share a remainder.
    """
    length = q_BHTK.shape[2]
    q_BHNWK, k_BHNWK, v_BHNWK = (_blocks(x_BHTK, stride) for x_BHTK in (q_BHTK, k_BHTK, v_BHTK))
    blocks = q_BHNWK.shape[2]
    near_BHNWX = q_BHNWK @ _with_previous(k_BHNWK).transpose(-1, -2)
    near_BHNWX = near_BHNWX.masked_fill(~_near(blocks, stride, q_BHTK.device), -torch.inf)
    q_BHWNK, k_BHWNK, v_BHWNK = (x.transpose(2, 3) for x in (q_BHNWK, k_BHNWK, v_BHNWK))
    far_BHWNN = q_BHWNK @ k_BHWNK.transpose(-1, -2)
    not_before_NN = torch.ones(blocks, blocks, dtype=torch.bool, device=q_BHTK.device).triu()
    far_BHWNN = far_BHWNN.masked_fill(not_before_NN, -torch.inf)
    scores_BHNWY = torch.cat([near_BHNWX, far_BHWNN.transpose(2, 3)], dim=-1) * scale
    near_BHNWX, far_BHNWN = scores_BHNWY.softmax(dim=-1).split([2 * stride, blocks], dim=-1)
    y_BHNWK = near_BHNWX @ _with_previous(v_BHNWK) + (far_BHNWN.transpose(2, 3) @ v_BHWNK).transpose(2, 3)
    return y_BHNWK.flatten(2, 3)[:, :, :length]


def linear(q_BHTK: Tensor, k_BHTK: Tensor, v_BHTK: Tensor) -> Tensor:
    """Linear attention of positive features, chunk by chunk: O(T K^2).

    Within a chunk the quadratic form, and what came before as one matrix (Hua et al. 2022, section 3.3).
    """
    length = q_BHTK.shape[2]
    q_BHNCK, k_BHNCK, v_BHNCK = (_blocks(x_BHTK, min(CHUNK, length)) for x_BHTK in (q_BHTK, k_BHTK, v_BHTK))
    weights_BHNCC = (q_BHNCK @ k_BHNCK.transpose(-1, -2)).tril()
    total_BHNC1, y_BHNCK = weights_BHNCC.sum(dim=-1, keepdim=True), weights_BHNCC @ v_BHNCK
    if q_BHNCK.shape[2] > 1:
        y_BHNCK = y_BHNCK + q_BHNCK @ _before(k_BHNCK.transpose(-1, -2) @ v_BHNCK)
        total_BHNC1 = total_BHNC1 + q_BHNCK @ _before(k_BHNCK.sum(dim=3)[..., None])
    return (y_BHNCK / total_BHNC1.clamp(min=1e-30)).flatten(2, 3)[:, :, :length]


def linear_recurrent(q_BHTK: Tensor, k_BHTK: Tensor, v_BHTK: Tensor) -> Tensor:
    """The same as a recurrent network, one position after the other (Katharopoulos et al. 2020, eq. 18 to 20)."""
    state_BHKV = torch.zeros_like(k_BHTK[:, :, :1].transpose(-1, -2) @ v_BHTK[:, :, :1])
    total_BHK = torch.zeros_like(k_BHTK[:, :, 0])
    outputs = []
    for q_BHK, k_BHK, v_BHK in zip(q_BHTK.unbind(2), k_BHTK.unbind(2), v_BHTK.unbind(2), strict=True):
        state_BHKV = state_BHKV + k_BHK[..., None] * v_BHK[..., None, :]
        total_BHK = total_BHK + k_BHK
        y_BHV = (q_BHK[..., None, :] @ state_BHKV)[..., 0, :]
        outputs.append(y_BHV / (q_BHK * total_BHK).sum(dim=-1, keepdim=True))
    return torch.stack(outputs, dim=2)


def _blocks(x_BHTK: Tensor, size: int) -> Tensor:
    """[B, H, N, size, K], with zeros behind the end."""
    return F.pad(x_BHTK, (0, 0, 0, -x_BHTK.shape[2] % size)).unflatten(2, (-1, size))


def _with_previous(x_BHNWK: Tensor) -> Tensor:
    """[B, H, N, 2 W, K]: each block behind the one before it, the first behind zeros."""
    return torch.cat([F.pad(x_BHNWK, (0, 0, 0, 0, 1, 0))[:, :, :-1], x_BHNWK], dim=3)


def _near(blocks: int, window: int, device: torch.device) -> Tensor:
    """[N, W, 2 W] whether a key of the block before, or of the own, lies less than a window behind a query."""
    key_X = torch.arange(2 * window, device=device) - window
    distance_WX = torch.arange(window, device=device)[:, None] - key_X
    near_WX = (distance_WX >= 0) & (distance_WX < window)
    first_N = torch.arange(blocks, device=device) == 0
    return near_WX & ~(first_N[:, None, None] & (key_X < 0))


def _before(x_BHNKV: Tensor) -> Tensor:
    """Sums over all earlier blocks."""
    return x_BHNKV.cumsum(dim=2) - x_BHNKV
