"""Feed-forward kinds by name. Each maps [B, T, D] to [B, T, D] through the hidden width F."""

import torch.nn.functional as F
from torch import Tensor, nn

from scalinglab.model.shape import Shape


class SwiGLU(nn.Module):
    """down(silu(gate x) * (up x)), Shazeer 2020, eq. 6; gate and up are one matrix product."""

    n_matrices = 3

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.gate_up = nn.Linear(shape.d_model, 2 * shape.d_ff, bias=False)
        self.down = nn.Linear(shape.d_ff, shape.d_model, bias=False)

    def forward(self, x_BTD: Tensor) -> Tensor:
        gate_BTF, up_BTF = self.gate_up(x_BTD).chunk(2, dim=-1)
        return self.down(F.silu(gate_BTF) * up_BTF)


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
