"""Attention kinds by name. Each maps [B, T, D] to [B, T, D] and sees only the past."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from scalinglab.errors import UserError
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
        self._rotate, self._bias = position.rotate, position.bias

    def forward(self, x_BTD: Tensor) -> Tensor:
        q_BHTK, k_BHTK, v_BHTK = self._project(x_BTD)
        bias_HTT = self._bias(x_BTD.shape[1])
        mask_HTT = None if bias_HTT is None else _hide_future(bias_HTT).to(x_BTD.dtype)
        y_BHTK = F.scaled_dot_product_attention(
            q_BHTK,
            k_BHTK,
            v_BHTK,
            mask_HTT,
            is_causal=mask_HTT is None,
            enable_gqa=self.n_kv_head != self.n_head,
            scale=self.scale(),
        )
        return self.out(y_BHTK.transpose(1, 2).flatten(2))

    def scale(self) -> float:
        """What scores are multiplied with: products of K independent channels of unit variance have variance K."""
        return self.head_dim**-0.5

    def weights(self, x_BTD: Tensor) -> Tensor:
        """[B, H, T, T] how much each position takes from each earlier one: for looking inside, not for training."""
        q_BHTK, k_BHTK, _ = self._project(x_BTD)
        return self._weigh(q_BHTK, self._for_each_query_head(k_BHTK))

    def _weigh(self, q_BHTK: Tensor, k_BHTK: Tensor) -> Tensor:
        scores_BHTT = q_BHTK @ k_BHTK.transpose(-1, -2) * self.scale()
        bias_HTT = self._bias(scores_BHTT.shape[-1])
        return _hide_future(scores_BHTT if bias_HTT is None else scores_BHTT + bias_HTT).softmax(dim=-1)

    def _project(self, x_BTD: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values, [B, heads, T, K] each."""
        qkv_BTHK = self.qkv(x_BTD).unflatten(-1, (-1, self.head_dim))
        qk_BTHK, v_BTHK = qkv_BTHK.split([self.n_head + self.n_kv_head, self.n_kv_head], dim=2)
        # Queries and keys turn together: one pass over one tensor instead of two.
        q_BTHK, k_BTHK = self._rotate(qk_BTHK).split([self.n_head, self.n_kv_head], dim=2)
        return q_BTHK.transpose(1, 2), k_BTHK.transpose(1, 2), v_BTHK.transpose(1, 2)

    def _for_each_query_head(self, x_BHTK: Tensor) -> Tensor:
        return x_BHTK.repeat_interleave(self.n_head // self.n_kv_head, dim=1)


class UnscaledAttention(CausalAttention):
    """Attention without 1 / sqrt(K): for the study of what that factor is for."""

    def scale(self) -> float:
        return 1.0


class LinearAttention(CausalAttention):
    """Attention whose weights are products of features, phi(x) = elu(x) + 1 (Katharopoulos et al. 2020, eq. 7 to 9).

    Its past is a matrix of fixed size, however long the context. It is computed here in the quadratic form, which is
    the faster one for contexts as short as a head is wide. Raises UserError where the position code acts on scores.
    """

    def __init__(self, shape: Shape, position: NoPosition) -> None:
        super().__init__(shape, position)
        if type(position).bias is not NoPosition.bias:
            raise UserError(
                "model.attention = 'linear' has no scores that model.position could be added to; take rope, learned, "
                "sinusoidal or none"
            )

    def forward(self, x_BTD: Tensor) -> Tensor:
        q_BHTK, k_BHTK, v_BHTK = self._project(x_BTD)
        weights_BHTT = self._weigh(q_BHTK, self._for_each_query_head(k_BHTK))
        return self.out((weights_BHTT @ self._for_each_query_head(v_BHTK)).transpose(1, 2).flatten(2))

    def _weigh(self, q_BHTK: Tensor, k_BHTK: Tensor) -> Tensor:
        scores_BHTT = ((F.elu(q_BHTK) + 1) @ (F.elu(k_BHTK) + 1).transpose(-1, -2)).tril()
        return scores_BHTT / scores_BHTT.sum(dim=-1, keepdim=True)


def _hide_future(scores_TT: Tensor) -> Tensor:
    """Scores [..., T, T] of queries and keys with minus infinity where the key comes later."""
    later_TT = torch.ones(scores_TT.shape[-2:], dtype=torch.bool, device=scores_TT.device).triu(1)
    return scores_TT.masked_fill(later_TT, -torch.inf)


class TokenShift(nn.Module):
    """Mix in the previous position with one learned weight a channel (Peng et al. 2023, eq. 11)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.mix_D = nn.Parameter(torch.zeros(width))

    def forward(self, x_BTD: Tensor) -> Tensor:
        previous_BTD = F.pad(x_BTD, (0, 0, 1, 0))[:, :-1]
        return torch.lerp(x_BTD, previous_BTD, self.mix_D)


ATTENTIONS: dict[str, type[CausalAttention]] = {
    "causal": CausalAttention,
    "unscaled": UnscaledAttention,
    "linear": LinearAttention,
}
