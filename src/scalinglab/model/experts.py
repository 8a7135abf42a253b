"""Mixture of experts: a router sends each token to a few of many feed-forward parts (Shazeer et al. 2017).

Token choice, and no token is dropped. The experts of a token are together as wide as the dense part: what a token costs
does not grow with their number, but for the router.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from scalinglab.config import Model
from scalinglab.errors import UserError
from scalinglab.model.shape import Shape


class Experts(nn.Module):
    """Sum over a token's experts of weight * expert(x). Tensor names: N tokens, E experts, A of them for each token."""

    def __init__(self, shape: Shape, options: Model, expert: Callable[[Shape], nn.Module]) -> None:
        super().__init__()
        self._active, self._balance = options.active_experts, options.balance
        self.router = nn.Linear(shape.d_model, options.experts, bias=False)
        self.experts = nn.ModuleList(expert(shape_of_expert(shape, options)) for _ in range(options.experts))

    def forward(self, x_BTD: Tensor) -> Tensor:
        x_ND = x_BTD.flatten(0, -2)
        p_NE, weight_NA, chosen_NA = self.route(x_ND)
        # Tokens of one expert stand together, so that each expert is one product of matrices.
        order_M = chosen_NA.flatten().argsort(stable=True)
        sizes = chosen_NA.flatten().bincount(minlength=len(self.experts)).tolist()
        parts = x_ND.index_select(0, order_M // self._active).split(sizes)
        y_MD = torch.cat([expert(part) for expert, part in zip(self.experts, parts, strict=True)])
        y_NAD = y_MD.index_select(0, order_M.argsort()).unflatten(0, (-1, self._active))
        y_BTD = (weight_NA[..., None] * y_NAD).sum(dim=1).view_as(x_BTD)
        if self.training and self._balance:
            y_BTD = WithGradientOf.apply(y_BTD, self._balance * balance_loss(p_NE, chosen_NA))
        return y_BTD

    def route(self, x_ND: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Probabilities [N, E], and of each token's experts the weights [N, A] and numbers [N, A], the likeliest first.

        Of several experts the weights add up to one (Jiang et al. 2024, section 2.1). Of a single one that would be one
        whatever the router says, which would teach it nothing: there it is the probability (Fedus et al. 2022, eq. 2).
        """
        p_NE = self.router(x_ND).softmax(dim=-1)
        weight_NA, chosen_NA = p_NE.topk(self._active, dim=-1)
        if self._active > 1:
            weight_NA = weight_NA / weight_NA.sum(dim=-1, keepdim=True)
        return p_NE, weight_NA, chosen_NA


def shape_of_expert(shape: Shape, options: Model) -> Shape:
    """The hidden width shared out among a token's experts. Raises UserError where that does not come out even."""
    if shape.d_ff % options.active_experts:
        raise UserError(
            f"model.active_experts = {options.active_experts}: does not divide the hidden width {shape.d_ff} of width "
            f"{shape.d_model}; take a divisor"
        )
    return replace(shape, d_ff=shape.d_ff // options.active_experts)


def balance_loss(p_NE: Tensor, chosen_NA: Tensor) -> Tensor:
    """E * sum of f_i P_i over experts: their shares of tokens and of probability (Fedus et al. 2022, eq. 4 to 6).

    1 where all get equally much, E where one gets everything.
    """
    experts = p_NE.shape[1]
    share_E = chosen_NA.flatten().bincount(minlength=experts) / chosen_NA.numel()
    return experts * (share_E * p_NE.mean(dim=0)).sum()


class WithGradientOf(torch.autograd.Function):
    """x itself; a backward pass through it also goes through the auxiliary loss.

    So training minimises the sum of both losses, while the loss that is computed, and recorded, stays the one of text.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, auxiliary: Tensor) -> Tensor:
        ctx.save_for_backward(auxiliary)
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor]:
        (auxiliary,) = ctx.saved_tensors
        return grads[0], torch.ones_like(auxiliary)
