"""Normalisation layers by name."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor, nn


class BatchNorm(nn.BatchNorm1d):
    """Over all rows and positions of a batch (Ioffe & Szegedy 2015); at evaluation, over what training saw.

    In training, a position's features depend on those that come after it: the next token leaks into the past.
    """

    def forward(self, x_BTD: Tensor) -> Tensor:
        return super().forward(x_BTD.flatten(0, 1)).view_as(x_BTD)


@dataclass(frozen=True)
class Kind:
    """A layer of some width, and how many learned vectors it has."""

    build: Callable[[int], nn.Module]
    n_vectors: int

    def __call__(self, width: int) -> nn.Module:
        return self.build(width)


NORMS: dict[str, Kind] = {
    "rmsnorm": Kind(lambda width: nn.RMSNorm(width, eps=1e-6), 1),  # Zhang & Sennrich 2019
    "layernorm": Kind(lambda width: nn.LayerNorm(width, bias=False), 1),  # Ba et al. 2016
    "batchnorm": Kind(BatchNorm, 2),
    "none": Kind(lambda width: nn.Identity(), 0),
}
