"""Position codes by name. Each may act on the embeddings (`embed`), queries and keys (`rotate`), or scores (`bias`)."""

import torch
from torch import Tensor, nn

from scalinglab.model.shape import Shape


class NoPosition(nn.Module):
    """The causal mask alone tells the order."""

    def __init__(self, shape: Shape, theta: float) -> None:
        super().__init__()

    @staticmethod
    def n_parameters(shape: Shape) -> int:
        """How many parameters the code has."""
        return 0

    def embed(self, x_BTD: Tensor, start: int = 0) -> Tensor:
        """What is added to embeddings; the first of them stands at position `start`."""
        return x_BTD

    def rotate(self, x_BTHK: Tensor, start: int = 0) -> Tensor:
        """What is done to queries and keys."""
        return x_BTHK

    def bias(self, length: int, queries: int | None = None) -> Tensor | None:
        """[H, Q, T] what is added to the scores of the last Q queries (all, by default) and T keys; None: nothing."""
        return None


class LearnedPosition(NoPosition):
    """One learned vector a position, added to the embeddings."""

    def __init__(self, shape: Shape, theta: float) -> None:
        super().__init__(shape, theta)
        self.table_TD = nn.Parameter(torch.zeros(shape.seq_len, shape.d_model))

    @staticmethod
    def n_parameters(shape: Shape) -> int:
        return shape.seq_len * shape.d_model

    def embed(self, x_BTD: Tensor, start: int = 0) -> Tensor:
        return x_BTD + self.table_TD[start : start + x_BTD.shape[1]]


class Sinusoidal(NoPosition):
    """Sines and cosines of the position, added to the embeddings (Vaswani et al. 2017, section 3.5)."""

    wave_TD: Tensor

    def __init__(self, shape: Shape, theta: float) -> None:
        super().__init__(shape, theta)
        angle_TP = angles(shape.seq_len, shape.d_model, theta)
        wave_TD = torch.stack([angle_TP.sin(), angle_TP.cos()], dim=-1).flatten(-2)
        self.register_buffer("wave_TD", wave_TD.float(), persistent=False)

    def embed(self, x_BTD: Tensor, start: int = 0) -> Tensor:
        return x_BTD + self.wave_TD[start : start + x_BTD.shape[1]].to(x_BTD.dtype)


class Rotary(NoPosition):
    """RoPE (Su et al. 2021, eq. 15): channel pairs (2i, 2i+1) turn by the angle t * theta^(-2i/K).

    A complex product does the rotation in one pass forward and one backward.
    """

    turn_TP: Tensor

    def __init__(self, shape: Shape, theta: float) -> None:
        super().__init__(shape, theta)
        angle_TP = angles(shape.seq_len, shape.head_dim, theta)
        turn_TP = torch.polar(torch.ones_like(angle_TP), angle_TP)
        self.register_buffer("turn_TP", turn_TP, persistent=False)

    def rotate(self, x_BTHK: Tensor, start: int = 0) -> Tensor:
        wide = x_BTHK.to(torch.promote_types(x_BTHK.dtype, torch.float32))  # there are no complex numbers of 16 bits
        pairs = torch.view_as_complex(wide.unflatten(-1, (-1, 2)))
        turn_TP = self.turn_TP[start : start + x_BTHK.shape[1], None, :].to(pairs.dtype)
        return torch.view_as_real(pairs * turn_TP).flatten(-2).to(x_BTHK.dtype)


class Alibi(NoPosition):
    """Scores fall linearly with distance, each head at its own slope (Press et al. 2022, section 3)."""

    slope_H: Tensor

    def __init__(self, shape: Shape, theta: float) -> None:
        super().__init__(shape, theta)
        slope_H = 2.0 ** (-8 * torch.arange(1, shape.n_head + 1) / shape.n_head)
        self.register_buffer("slope_H", slope_H, persistent=False)

    def bias(self, length: int, queries: int | None = None) -> Tensor:
        return -self.slope_H[:, None, None] * distances(length, self.slope_H.device, queries)


class RelativeBias(NoPosition):
    """A learned bias for each head and bucket of distance, shared by the layers (Raffel et al. 2020, section 2.1).

    Half of the buckets are single distances, the others grow logarithmically up to `most`, beyond which all share one.
    That is half of the length it is trained on, and goes with the weights: so every bucket is trained.
    """

    BUCKETS = 32
    most: Tensor

    def __init__(self, shape: Shape, theta: float) -> None:
        super().__init__(shape, theta)
        self.register_buffer("most", torch.tensor(float(max(self.BUCKETS, shape.seq_len // 2))))
        self.table_HN = nn.Parameter(torch.zeros(shape.n_head, self.BUCKETS))

    @staticmethod
    def n_parameters(shape: Shape) -> int:
        return shape.n_head * RelativeBias.BUCKETS

    def bias(self, length: int, queries: int | None = None) -> Tensor:
        single = self.BUCKETS // 2
        distance_QT = distances(length, self.table_HN.device, queries).clamp(min=0)
        grown = (distance_QT.clamp(min=single) / single).log() / (self.most / single).log() * (self.BUCKETS - single)
        bucket_QT = torch.where(distance_QT < single, distance_QT, (single + grown.long()).clamp(max=self.BUCKETS - 1))
        return self.table_HN[:, bucket_QT]


def angles(length: int, channels: int, theta: float) -> Tensor:
    """[T, channels / 2] in float64: position t times theta^(-2i / channels)."""
    pairs_P = torch.arange(0, channels, 2, dtype=torch.float64) / channels
    return torch.arange(length, dtype=torch.float64)[:, None] * theta**-pairs_P


def distances(length: int, device: torch.device, queries: int | None = None) -> Tensor:
    """[Q, T] how far key j lies behind query i, i - j, for the last Q of T queries; by default for all."""
    place_T = torch.arange(length, device=device)
    return place_T[length - (length if queries is None else queries) :, None] - place_T


POSITIONS: dict[str, type[NoPosition]] = {
    "rope": Rotary,
    "learned": LearnedPosition,
    "sinusoidal": Sinusoidal,
    "relative": RelativeBias,
    "alibi": Alibi,
    "none": NoPosition,
}
