"""Matrix products of 8-bit floats, simulated: operands are rounded, products and sums are not.

Micikevicius et al. 2022: e4m3 for weights and activations, e5m2 for gradients. No tensor is rescaled to fit; numbers
beyond the largest become it.
"""

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from scalinglab.model.decoder import Decoder
from scalinglab.model.unit_scaling import UnitLinear

FORWARDS, BACKWARDS = torch.float8_e4m3fn, torch.float8_e5m2


@dataclass
class Lost:
    """Numbers that were rounded, by kind of tensor: [all that were not zero, those that became it, those cut off]."""

    counts: dict[str, list[int]] = field(default_factory=dict)

    def add(self, kind: str, exact: Tensor, rounded: Tensor, largest: float) -> None:
        some = exact != 0
        found = [some.sum(), (some & (rounded == 0)).sum(), (exact.abs() > largest).sum()]
        so_far = self.counts.get(kind, [0, 0, 0])
        self.counts[kind] = [a + int(b) for a, b in zip(so_far, found, strict=True)]


def rounded(x: Tensor, dtype: torch.dtype, kind: str = "", lost: Lost | None = None) -> Tensor:
    """x as 8-bit floats would hold it, in its own type."""
    largest = torch.finfo(dtype).max
    found = x.clamp(-largest, largest).to(dtype).to(x.dtype)
    if lost is not None:
        lost.add(kind, x, found, largest)
    return found


class _Product(torch.autograd.Function):
    """forwards * x W^T. The gradient of W is multiplied with `weights` instead, that of x is the true one."""

    @staticmethod
    def forward(
        ctx: Any, x_NI: Tensor, weight_OI: Tensor, forwards: float, weights: float, layer: "Fp8Linear"
    ) -> Tensor:
        x_NI = rounded(x_NI, FORWARDS, "activations", layer.lost)
        weight_OI = rounded(weight_OI, FORWARDS, "weights", layer.lost)
        ctx.save_for_backward(x_NI, weight_OI)
        ctx.factors, ctx.layer = (forwards, weights), layer
        return forwards * (x_NI @ weight_OI.t())

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, None, None, None]:
        x_NI, weight_OI = ctx.saved_tensors
        (forwards, weights), by = ctx.factors, ctx.layer.gradient_scale
        grad_NO = rounded(by * grads[0], BACKWARDS, "gradients", ctx.layer.lost) / by
        return forwards * (grad_NO @ weight_OI), weights * (grad_NO.t() @ x_NI), None, None, None


class Fp8Linear(nn.Module):
    """A linear layer, unit-scaled or not, on the same weights; its product and the two behind it round their operands.

    gradient_scale: what gradients are multiplied with before they are rounded, and divided by after: a loss scale
    (Micikevicius et al. 2018, section 3.2).
    """

    gain: Tensor

    def __init__(self, plain: nn.Linear, gradient_scale: float) -> None:
        super().__init__()
        self.weight, self.gradient_scale = plain.weight, gradient_scale
        self.lost: Lost | None = None
        self._unit = isinstance(plain, UnitLinear)
        if isinstance(plain, UnitLinear):
            self.register_buffer("gain", plain.gain)

    def forward(self, x: Tensor) -> Tensor:
        x_NI = x.flatten(0, -2)
        factors = (1.0, 1.0)
        if self._unit:
            x_NI = x_NI * self.gain
            factors = (x.shape[-1] ** -0.5, len(x_NI) ** -0.5)
        return _Product.apply(x_NI, self.weight, *factors, self).unflatten(0, x.shape[:-1])


def round_products(model: Decoder, gradient_scale: float) -> None:
    """Make every product with a block's weights one of 8-bit floats. Embedding, scores, norms and head stay exact."""
    for name, module in list(model.blocks.named_modules()):
        if isinstance(module, nn.Linear):
            model.blocks.set_submodule(name, Fp8Linear(module, gradient_scale))


def count_lost(model: Decoder, tokens_BT: Tensor, targets_BT: Tensor, scored_N: Tensor) -> Lost:
    """What rounding loses in one training step."""
    layers, lost = [one for one in model.modules() if isinstance(one, Fp8Linear)], Lost()
    for layer in layers:
        layer.lost = lost
    model.loss(tokens_BT, targets_BT, scored_N).backward()
    for layer in layers:
        layer.lost = None
    for parameter in model.parameters():
        parameter.grad = None
    return lost
