"""The head: logits from features, with what a parametrisation multiplies them with."""

import torch.nn.functional as F
from torch import Tensor, nn


class Readout(nn.Linear):
    """Logits = multiplier * W x."""

    multiplier = 1.0

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(*self.operands(x))

    def operands(self, x_ND: Tensor) -> tuple[Tensor, Tensor]:
        """Features and weights whose product are the logits."""
        return (x_ND if self.multiplier == 1 else self.multiplier * x_ND), self.weight
