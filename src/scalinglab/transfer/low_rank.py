"""Low-rank adaptation (LoRA, Hu et al. 2021): a trained model learns an update of few parameters.

The update is added to the weights and not computed beside them: that is the same function, and torch's own
parametrizations keep it, save it and merge it. At these widths the sum costs next to nothing a step; what low rank
saves here is trained parameters and their moments, not time.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from scalinglab.errors import UserError


class LowRank(nn.Module):
    """W + (alpha / rank) B A for a weight [out, in] (eq. 3 and section 4.1); B = 0 at first, A is normal."""

    def __init__(self, weight_OI: Tensor, rank: int, alpha: float, generator: torch.Generator) -> None:
        super().__init__()
        n_out, n_in = weight_OI.shape
        a_RI = torch.randn(rank, n_in, generator=generator) / math.sqrt(n_in)
        self.a_RI = nn.Parameter(a_RI.to(weight_OI))
        self.b_OR = nn.Parameter(weight_OI.new_zeros(n_out, rank))
        self._scale = alpha / rank

    def forward(self, weight_OI: Tensor) -> Tensor:
        return weight_OI + self._scale * self.b_OR @ self.a_RI


def freeze(model: nn.Module, but: str = "") -> None:
    """Let no parameter learn, but those whose names begin so."""
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(bool(but) and name.startswith(but))


def add_low_rank(model: nn.Module, rank: int, alpha: float, seed: int) -> None:
    """Freeze a model, and give every matrix of its blocks an update that learns. Embedding and head stay as they are.

    Raises UserError where a matrix has no such rank.
    """
    freeze(model)
    generator = torch.Generator().manual_seed(seed)
    for name, part in list(model.named_modules()):
        if isinstance(part, nn.Linear) and name.startswith("blocks."):
            if rank > min(part.weight.shape):
                raise UserError(f"rank {rank}: {name} is {tuple(part.weight.shape)}; ask for a lower rank")
            parametrize.register_parametrization(part, "weight", LowRank(part.weight, rank, alpha, generator))


def merge(model: nn.Module) -> None:
    """Put all updates into the weights: what is left is a model of the shape that was adapted."""
    for part in list(model.modules()):
        if parametrize.is_parametrized(part, "weight"):
            parametrize.remove_parametrizations(part, "weight", leave_parametrized=True)


def trainable(model: nn.Module) -> int:
    """How many parameters learn."""
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
