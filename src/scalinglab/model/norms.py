"""Normalisation layers by name."""

from collections.abc import Callable

from torch import nn

NORMS: dict[str, Callable[[int], nn.Module]] = {
    "rmsnorm": lambda width: nn.RMSNorm(width, eps=1e-6),  # Zhang & Sennrich 2019
    "layernorm": lambda width: nn.LayerNorm(width, bias=False),  # Ba et al. 2016
    "none": lambda width: nn.Identity(),
}
