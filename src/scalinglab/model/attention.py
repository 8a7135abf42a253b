"""Attention kinds by name. Each maps [B, T, D] to [B, T, D] and sees only the past, unless it is told otherwise."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from scalinglab.errors import UserError
from scalinglab.model import attention_kernels, state_space
from scalinglab.model.memory import LayerMemory
from scalinglab.model.positions import NoPosition, distances
from scalinglab.model.shape import Shape


class CausalAttention(nn.Module):
    """Softmax attention (Vaswani et al. 2017, eq. 1) through torch's fused kernel; grouped queries where
    n_kv_head < n_head (Ainslie et al. 2023)."""

    takes_bias = True  # whether a position code may act on its scores

    def __init__(self, shape: Shape, position: NoPosition) -> None:
        super().__init__()
        if not self.takes_bias and type(position).bias is not NoPosition.bias:
            raise UserError(
                f"model.attention of kind {type(self).__name__} has no matrix of scores that model.position could be "
                "added to; take rope, learned, sinusoidal or none"
            )
        self.n_head, self.n_kv_head, self.head_dim = shape.n_head, shape.n_kv_head, shape.head_dim
        self.window = shape.window
        self.score_scale = self.head_dim**-0.5  # products of K channels of unit variance have variance K
        self.qkv = nn.Linear(shape.d_model, (self.n_head + 2 * self.n_kv_head) * self.head_dim, bias=False)
        self.out = nn.Linear(self.n_head * self.head_dim, shape.d_model, bias=False)
        self._rotate, self._bias = position.rotate, position.bias

    def forward(self, x_BTD: Tensor, memory: LayerMemory | None = None, visible_TT: Tensor | None = None) -> Tensor:
        """memory: of the positions before x, which are read as well; x is added to it. visible: what sees what (query,
        key) instead of the past alone, for x without a memory."""
        if visible_TT is not None:
            y_BHTK = self._look(*self._project(x_BTD), visible_TT)
        elif memory is None:
            y_BHTK = self._mix(*self._project(x_BTD))
        else:
            q_BHTK, *new = self._project(x_BTD, start=memory.length)
            k_BHTK, v_BHTK = map(self._for_each_query_head, memory.append(*new))
            y_BHTK = self._weigh(q_BHTK, k_BHTK) @ v_BHTK
        return self.out(y_BHTK.transpose(1, 2).flatten(2))

    def _mix(self, q_BHTK: Tensor, k_BHTK: Tensor, v_BHTK: Tensor) -> Tensor:
        """[B, H, T, K] what each position takes from the values of its past."""
        bias_HTT = self._bias(q_BHTK.shape[2])
        mask_HTT = None if bias_HTT is None else _hide_future(bias_HTT).to(q_BHTK.dtype)
        return F.scaled_dot_product_attention(
            q_BHTK,
            k_BHTK,
            v_BHTK,
            mask_HTT,
            is_causal=mask_HTT is None,
            enable_gqa=self.n_kv_head != self.n_head,
            scale=self.scale(),
        )

    def _look(self, q_BHTK: Tensor, k_BHTK: Tensor, v_BHTK: Tensor, visible_TT: Tensor) -> Tensor:
        """What each position takes from the values that it sees. Raises UserError where the parts only look back."""
        if not self.takes_bias or self._bias(1) is not None:
            raise UserError(
                "model.attention, or model.position, knows no keys that come after their query; to look both ways take "
                "attention causal or unscaled, and position rope, learned, sinusoidal or none"
            )
        grouped = self.n_kv_head != self.n_head
        return F.scaled_dot_product_attention(
            q_BHTK, k_BHTK, v_BHTK, visible_TT, enable_gqa=grouped, scale=self.scale()
        )

    def scale(self) -> float:
        """What scores are multiplied with."""
        return self.score_scale

    @staticmethod
    def pairs(shape: Shape) -> int:
        """Query-key pairs of one context and head that are multiplied: position t reads t + 1 keys."""
        return shape.seq_len * (shape.seq_len + 1) // 2

    @staticmethod
    def n_weights(shape: Shape) -> int:
        """Elements of the layer's matrices."""
        queries, keys = shape.n_head * shape.head_dim, shape.n_kv_head * shape.head_dim
        return shape.d_model * (queries + 2 * keys) + queries * shape.d_model

    @staticmethod
    def n_vectors(shape: Shape) -> int:
        """Elements of its other parameters."""
        return 0

    def weights(self, x_BTD: Tensor) -> Tensor:
        """[B, H, T, T] how much each position takes from each earlier one: for looking inside, not for training."""
        q_BHTK, k_BHTK, _ = self._project(x_BTD)
        return self._weigh(q_BHTK, self._for_each_query_head(k_BHTK))

    def scores(self, x_BTD: Tensor) -> Tensor:
        """[B, H, T, T] scaled products of all queries and keys, before any bias and mask."""
        q_BHTK, k_BHTK, _ = self._project(x_BTD)
        return q_BHTK @ self._for_each_query_head(k_BHTK).transpose(-1, -2) * self.scale()

    def _weigh(self, q_BHQK: Tensor, k_BHTK: Tensor) -> Tensor:
        """[B, H, Q, T] weights of the last Q of T positions."""
        scores_BHQT = q_BHQK @ k_BHTK.transpose(-1, -2) * self.scale()
        queries, length = scores_BHQT.shape[-2:]
        if (bias_HQT := self._bias(length, queries)) is not None:
            scores_BHQT = scores_BHQT + bias_HQT
        distance_QT = distances(length, scores_BHQT.device, queries)
        return scores_BHQT.masked_fill(~self.reads(distance_QT), -torch.inf).softmax(dim=-1)

    def reads(self, distance_QT: Tensor) -> Tensor:
        """Whether keys so far behind their query are looked at."""
        return distance_QT >= 0

    def _project(self, x_BTD: Tensor, start: int = 0) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values, [B, heads, T, K] each, of positions from `start` on."""
        qkv_BTHK = self.qkv(x_BTD).unflatten(-1, (-1, self.head_dim))
        qk_BTHK, v_BTHK = qkv_BTHK.split([self.n_head + self.n_kv_head, self.n_kv_head], dim=2)
        # Queries and keys turn together: one pass over one tensor instead of two.
        q_BTHK, k_BTHK = self._rotate(qk_BTHK, start).split([self.n_head, self.n_kv_head], dim=2)
        return q_BTHK.transpose(1, 2), k_BTHK.transpose(1, 2), v_BTHK.transpose(1, 2)

    def _for_each_query_head(self, x_BHTK: Tensor) -> Tensor:
        return x_BHTK.repeat_interleave(self.n_head // self.n_kv_head, dim=1)


class UnscaledAttention(CausalAttention):
    """Attention without 1 / sqrt(K): for the study of what that factor is for."""

    def scale(self) -> float:
        return 1.0


class WindowAttention(CausalAttention):
    """Softmax attention to the last `window` positions (Beltagy et al. 2020): layers on top of it see further."""

    takes_bias = False

    @staticmethod
    def pairs(shape: Shape) -> int:
        return sum(min(t + 1, shape.window) for t in range(shape.seq_len))

    def _mix(self, q_BHTK: Tensor, k_BHTK: Tensor, v_BHTK: Tensor) -> Tensor:
        k_BHTK, v_BHTK = self._for_each_query_head(k_BHTK), self._for_each_query_head(v_BHTK)
        return attention_kernels.windowed(q_BHTK, k_BHTK, v_BHTK, self.window, self.scale())

    def reads(self, distance_QT: Tensor) -> Tensor:
        return (distance_QT >= 0) & (distance_QT < self.window)


class StridedAttention(CausalAttention):
    """Softmax attention to the last `window` positions and every window-th before (Child et al. 2019)."""

    takes_bias = False

    @staticmethod
    def pairs(shape: Shape) -> int:
        return sum(min(t + 1, shape.window) + t // shape.window for t in range(shape.seq_len))

    def _mix(self, q_BHTK: Tensor, k_BHTK: Tensor, v_BHTK: Tensor) -> Tensor:
        k_BHTK, v_BHTK = self._for_each_query_head(k_BHTK), self._for_each_query_head(v_BHTK)
        return attention_kernels.strided(q_BHTK, k_BHTK, v_BHTK, self.window, self.scale())

    def reads(self, distance_QT: Tensor) -> Tensor:
        return (distance_QT >= 0) & ((distance_QT < self.window) | (distance_QT % self.window == 0))


class LinearAttention(CausalAttention):
    """Attention whose weights are products of features, phi(x) = elu(x) + 1 (Katharopoulos et al. 2020, eq. 7 to 9).

    Its past is a matrix of fixed size, however long the context.
    """

    takes_bias = False

    @staticmethod
    def pairs(shape: Shape) -> int:
        """Of one chunk; in longer contexts each position also writes and reads the matrix of what came before."""
        chunk = min(shape.seq_len, attention_kernels.CHUNK)
        return shape.seq_len * (chunk + 1) // 2 + (shape.seq_len * shape.head_dim if shape.seq_len > chunk else 0)

    def _mix(self, q_BHTK: Tensor, k_BHTK: Tensor, v_BHTK: Tensor) -> Tensor:
        k_BHTK, v_BHTK = self._for_each_query_head(k_BHTK), self._for_each_query_head(v_BHTK)
        return attention_kernels.linear(F.elu(q_BHTK) + 1, F.elu(k_BHTK) + 1, v_BHTK)

    def _weigh(self, q_BHQK: Tensor, k_BHTK: Tensor) -> Tensor:
        scores_BHQT = (F.elu(q_BHQK) + 1) @ (F.elu(k_BHTK) + 1).transpose(-1, -2)
        queries, length = scores_BHQT.shape[-2:]
        scores_BHQT = scores_BHQT * self.reads(distances(length, scores_BHQT.device, queries))
        return scores_BHQT / scores_BHQT.sum(dim=-1, keepdim=True)


class SelectiveAttention(LinearAttention):
    """A selective state space (Gu & Dao 2023) with one decay a head: so it is a kind of attention (Dao & Gu 2024).

    Each position chooses its step d_t = softplus(.) > 0: the state decays by exp(-d_t rate), and takes in d_t k_t v_t^T
    (Gu & Dao 2023, eq. 4 and algorithm 2, with d_t B for the discretised B). Large steps forget and write, small ones
    pass by. That stands where linear attention has its denominator, and is all that sets the two apart: features are
    the same (Dao & Gu 2024, section 9.4.3). Of Mamba's block there is neither a convolution, for which the token shift
    stands, nor a gate.
    """

    FASTEST, SLOWEST = 1e-1, 1e-3  # steps at first: heads that remember some ten positions to some thousand

    def __init__(self, shape: Shape, position: NoPosition) -> None:
        super().__init__(shape, position)
        self.step = nn.Linear(shape.d_model, self.n_head)
        self.log_rate_H = nn.Parameter(torch.zeros(self.n_head))
        middle_H = (torch.arange(self.n_head) + 0.5) / self.n_head
        step_H = self.FASTEST * (self.SLOWEST / self.FASTEST) ** middle_H
        with torch.no_grad():
            self.step.bias.copy_(step_H.expm1().log())  # softplus of that is the step

    def forward(self, x_BTD: Tensor, memory: LayerMemory | None = None, visible_TT: Tensor | None = None) -> Tensor:
        """memory: its state is what the positions before x have left. visible: refused: it only looks back."""
        if visible_TT is not None:
            return super().forward(x_BTD, memory, visible_TT)
        memory = memory or LayerMemory()
        q_BHTK, k_BHTK, v_BHTK = self._features(x_BTD, memory.length)
        step_BHT, log_a_BHT = self._steps(x_BTD)
        written_BHTK = step_BHT[..., None] * v_BHTK
        y_BHTK, state_BHKK = state_space.chunked(q_BHTK, k_BHTK, written_BHTK, log_a_BHT, memory.state_BHKK)
        memory.carry(state_BHKK, x_BTD.shape[1])
        return self.out(y_BHTK.transpose(1, 2).flatten(2))

    def weights(self, x_BTD: Tensor) -> Tensor:
        """[B, H, T, T] what multiplies the values; it adds up to nothing in particular."""
        q_BHTK, k_BHTK, _ = self._features(x_BTD, 0)
        step_BHT, log_a_BHT = self._steps(x_BTD)
        return q_BHTK @ k_BHTK.transpose(-1, -2) * state_space.decays(log_a_BHT) * step_BHT[..., None, :]

    def _features(self, x_BTD: Tensor, start: int) -> tuple[Tensor, Tensor, Tensor]:
        """phi(queries) / K, phi(keys) and values of each query head, [B, H, T, K] each.

        Without a denominator products of K positive features would grow with K, and what is read with them.
        """
        q_BHTK, k_BHTK, v_BHTK = self._project(x_BTD, start)
        k_BHTK, v_BHTK = self._for_each_query_head(k_BHTK), self._for_each_query_head(v_BHTK)
        return (F.elu(q_BHTK) + 1) / self.head_dim, F.elu(k_BHTK) + 1, v_BHTK

    def _steps(self, x_BTD: Tensor) -> tuple[Tensor, Tensor]:
        """[B, H, T] the step of each position, and the logarithm of what it leaves of the state."""
        step_BHT = F.softplus(self.step(x_BTD)).transpose(1, 2)
        return step_BHT, -self.log_rate_H.exp()[:, None] * step_BHT

    @staticmethod
    def n_weights(shape: Shape) -> int:
        return CausalAttention.n_weights(shape) + shape.d_model * shape.n_head

    @staticmethod
    def n_vectors(shape: Shape) -> int:
        return 2 * shape.n_head


def _hide_future(scores_TT: Tensor) -> Tensor:
    """Scores [..., T, T] of queries and keys with minus infinity where the key comes later."""
    later_TT = torch.ones(scores_TT.shape[-2:], dtype=torch.bool, device=scores_TT.device).triu(1)
    return scores_TT.masked_fill(later_TT, -torch.inf)


class TokenShift(nn.Module):
    """Mix in the previous position with one learned weight a channel (Peng et al. 2023, eq. 11)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.mix_D = nn.Parameter(torch.zeros(width))

    def forward(self, x_BTD: Tensor, memory: LayerMemory | None = None) -> Tensor:
        previous_BTD = F.pad(x_BTD, (0, 0, 1, 0))[:, :-1]
        if memory is not None:
            if memory.shifted_B1D is not None:
                previous_BTD = torch.cat([memory.shifted_B1D, x_BTD], dim=1)[:, :-1]
            memory.shifted_B1D = x_BTD[:, -1:]
        return torch.lerp(x_BTD, previous_BTD, self.mix(x_BTD))

    def mix(self, x_BTD: Tensor) -> Tensor:
        """[D] share of the previous position."""
        return self.mix_D


ATTENTIONS: dict[str, type[CausalAttention]] = {
    "causal": CausalAttention,
    "unscaled": UnscaledAttention,
    "window": WindowAttention,
    "strided": StridedAttention,
    "linear": LinearAttention,
    "selective": SelectiveAttention,
}
