"""Feed-forward kinds by name. Each maps [B, T, D] to [B, T, D] through the hidden width F."""

import torch.nn.functional as F
from torch import Tensor, nn

from scalinglab.model.shape import Shape


class SwiGLU(nn.Module):
    """down(silu(gate x) * (up x)), Shazeer 2020, eq. 6.

    Two products instead of one that is then cut in half: element-wise kernels on half rows run at a third of the speed.
    """

    n_matrices = 3

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.gate = nn.Linear(shape.d_model, shape.d_ff, bias=False)
        self.up = nn.Linear(shape.d_model, shape.d_ff, bias=False)
        self.down = nn.Linear(shape.d_ff, shape.d_model, bias=False)

    def forward(self, x_BTD: Tensor) -> Tensor:
        return self.down(F.silu(self.gate(x_BTD)) * self.up(x_BTD))


class GELU(nn.Module):
    """down(gelu(up x)), Hendrycks & Gimpel 2016."""

    n_matrices = 2

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.up = nn.Linear(shape.d_model, shape.d_ff, bias=False)
        self.down = nn.Linear(shape.d_ff, shape.d_model, bias=False)

    def forward(self, x_BTD: Tensor) -> Tensor:
        return self.down(F.gelu(self.up(x_BTD)))


FEED_FORWARDS: dict[str, type[SwiGLU] | type[GELU]] = {"swiglu": SwiGLU, "gelu": GELU}
