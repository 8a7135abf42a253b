"""Position codes by name. Each may act on the embeddings (`embed`) or on queries and keys (`rotate`)."""

import torch
from torch import Tensor, nn

from scalinglab.model.shape import Shape


class NoPosition(nn.Module):
    """The causal mask alone tells the order."""

    def __init__(self, shape: Shape, theta: float) -> None:
        super().__init__()

    def embed(self, x_BTD: Tensor) -> Tensor:
        return x_BTD

    def rotate(self, x_BTHK: Tensor) -> Tensor:
        return x_BTHK


class LearnedPosition(NoPosition):
    """One learned vector a position, added to the embeddings."""

    def __init__(self, shape: Shape, theta: float) -> None:
        super().__init__(shape, theta)
        self.table_TD = nn.Parameter(torch.zeros(shape.seq_len, shape.d_model))

    def embed(self, x_BTD: Tensor) -> Tensor:
        return x_BTD + self.table_TD[: x_BTD.shape[1]]


class Rotary(NoPosition):
    """RoPE (Su et al. 2021, eq. 15): channel pairs (2i, 2i+1) turn by the angle t * theta^(-2i/K).

    A complex product does the rotation in one pass forward and one backward.
    """

    turn_TP: Tensor

    def __init__(self, shape: Shape, theta: float) -> None:
        super().__init__(shape, theta)
        pairs_P = torch.arange(0, shape.head_dim, 2, dtype=torch.float64) / shape.head_dim
        angle_TP = torch.arange(shape.seq_len, dtype=torch.float64)[:, None] * theta**-pairs_P
        turn_TP = torch.polar(torch.ones_like(angle_TP), angle_TP).to(torch.complex64)
        self.register_buffer("turn_TP", turn_TP, persistent=False)

    def rotate(self, x_BTHK: Tensor) -> Tensor:
        pairs = torch.view_as_complex(x_BTHK.float().unflatten(-1, (-1, 2)))
        turned = torch.view_as_real(pairs * self.turn_TP[: x_BTHK.shape[1], None, :])
        return turned.flatten(-2).to(x_BTHK.dtype)


POSITIONS: dict[str, type[NoPosition]] = {"rope": Rotary, "learned": LearnedPosition, "none": NoPosition}
