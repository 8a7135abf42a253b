"""How a part of a block is added to the residual stream."""

from collections.abc import Callable

from torch import Tensor, nn


class Residual(nn.Module):
    """x + part(x)."""

    def forward(self, x_BTD: Tensor, part: Callable[[Tensor], Tensor]) -> Tensor:
        return x_BTD + part(x_BTD)
