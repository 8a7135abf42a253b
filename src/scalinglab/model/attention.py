"""Attention kinds by name. Each maps [B, T, D] to [B, T, D] and sees only the past."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from scalinglab.model.positions import NoPosition
from scalinglab.model.shape import Shape


class CausalAttention(nn.Module):
    """Softmax attention (Vaswani et al. 2017, eq. 1) through torch's fused kernel; grouped queries where
    n_kv_head < n_head (Ainslie et al. 2023)."""

    def __init__(self, shape: Shape, position: NoPosition) -> None:
        super().__init__()
        self.n_head, self.n_kv_head, self.head_dim = shape.n_head, shape.n_kv_head, shape.head_dim
        self.qkv = nn.Linear(shape.d_model, (self.n_head + 2 * self.n_kv_head) * self.head_dim, bias=False)
        self.out = nn.Linear(self.n_head * self.head_dim, shape.d_model, bias=False)
        self._rotate = position.rotate

    def forward(self, x_BTD: Tensor) -> Tensor:
        qkv_BTHK = self.qkv(x_BTD).unflatten(-1, (-1, self.head_dim))
        qk_BTHK, v_BTHK = qkv_BTHK.split([self.n_head + self.n_kv_head, self.n_kv_head], dim=2)
        # Queries and keys turn together: one pass over one tensor instead of two.
        q_BTHK, k_BTHK = self._rotate(qk_BTHK).split([self.n_head, self.n_kv_head], dim=2)
        y_BHTK = F.scaled_dot_product_attention(
            q_BTHK.transpose(1, 2),
            k_BTHK.transpose(1, 2),
            v_BTHK.transpose(1, 2),
            is_causal=True,
            enable_gqa=self.n_kv_head != self.n_head,
        )
        return self.out(y_BHTK.transpose(1, 2).flatten(2))


class TokenShift(nn.Module):
    """Mix in the previous position with one learned weight a channel (Peng et al. 2023, eq. 11)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.mix_D = nn.Parameter(torch.zeros(width))

    def forward(self, x_BTD: Tensor) -> Tensor:
        previous_BTD = F.pad(x_BTD, (0, 0, 1, 0))[:, :-1]
        return torch.lerp(x_BTD, previous_BTD, self.mix_D)


ATTENTIONS: dict[str, type[nn.Module]] = {"causal": CausalAttention}
