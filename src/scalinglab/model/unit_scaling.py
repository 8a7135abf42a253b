"""Operations of unit scale forwards and backwards: what the parametrisation u-mup makes a decoder of.

Blake et al. 2023 (Unit Scaling) and 2024 (u-muP, appendix B): where inputs, weights and the gradients that arrive have
unit variance, so have outputs and the gradients that leave. A factor may differ between the two ways only where it
scales all that lies behind it, and so each parameter's gradient by one number, which Adam does not see: on weights, at
the two ends of a residual branch, and in front of the loss.
"""

import math
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from scalinglab.model.attention import CausalAttention, TokenShift
from scalinglab.model.feed_forward import Activation
from scalinglab.model.parametrisations import residual_shares
from scalinglab.model.positions import distances
from scalinglab.model.readout import Readout
from scalinglab.model.residual import Residual


class _Scale(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, forwards: float, backwards: float) -> Tensor:
        ctx.backwards = backwards
        return x.view_as(x) if forwards == 1 else x * forwards

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        return grads[0] * ctx.backwards, None, None


def scale(x: Tensor, forwards: float, backwards: float) -> Tensor:
    """x times one factor, whose gradient is multiplied with another."""
    return _Scale.apply(x, forwards, backwards)


def summed(weight: Tensor, terms: int) -> Tensor:
    """A weight whose gradient is a sum over so many terms of unit variance, brought back to it."""
    return scale(weight, 1.0, terms**-0.5)


class UnitLinear(nn.Linear):
    """W x / sqrt(fan_in). gain: brings x to unit scale; kept with the weights, for it may depend on the context."""

    gain: Tensor

    def __init__(self, plain: nn.Linear, gain: float = 1.0) -> None:
        super().__init__(plain.in_features, plain.out_features, bias=False)
        self._scaled = gain != 1
        self.register_buffer("gain", torch.tensor(gain))

    def forward(self, x: Tensor) -> Tensor:
        x = x * self.gain if self._scaled else x
        terms = x.numel() // self.in_features
        return F.linear(x, scale(self.weight, self.in_features**-0.5, terms**-0.5))


class UnitEmbedding(nn.Embedding):
    def forward(self, tokens: Tensor) -> Tensor:
        weight = scale(self.weight, 1.0, math.sqrt(self.num_embeddings / tokens.numel()))
        return F.embedding(tokens, weight)


class UnitRMSNorm(nn.RMSNorm):
    def forward(self, x: Tensor) -> Tensor:
        gains = summed(self.weight, x.numel() // x.shape[-1])
        return F.rms_norm(x, self.normalized_shape, gains, self.eps)


class UnitTokenShift(TokenShift):
    def mix(self, x_BTD: Tensor) -> Tensor:
        return summed(self.mix_D, x_BTD.numel() // x_BTD.shape[-1])


class UnitResidual(Residual):
    """Branch and stream with shares whose squares add up to 1. The branch's own share of the gradient is taken where
    it leaves the branch, so that inside it is of unit scale."""

    def __init__(self, branch: float, stream: float) -> None:
        super().__init__()
        self.branch, self.stream = branch, stream

    def forward(self, x_BTD: Tensor, part: Any) -> Tensor:
        return self.stream * x_BTD + scale(part(scale(x_BTD, 1.0, self.branch)), self.branch, 1.0)


class UnitReadout(Readout):
    """W x / fan_in, and unit gradients from the mean loss of all positions.

    Of a mean of N losses the gradient of a logit is (p - 1) / N, whose root mean square is sqrt(V - 1) / (V N) where
    all are equally likely (Blake et al. 2023, table A.2).
    """

    def operands(self, x_ND: Tensor) -> tuple[Tensor, Tensor]:
        rows = x_ND.numel() // self.in_features
        unit = rows * self.out_features / math.sqrt(self.out_features - 1)
        return (
            scale(x_ND, self.multiplier, unit * self.out_features**-0.5),
            scale(self.weight, 1.0, unit / self.multiplier * rows**-0.5),
        )


def root_mean_square(activation: Activation) -> float:
    """sqrt(E f(z)^2) of a standard normal z, by Gauss-Hermite quadrature."""
    z, weight = np.polynomial.hermite_e.hermegauss(200)
    squares = activation(torch.from_numpy(z)).square().numpy()
    return math.sqrt(float(squares @ weight) / float(weight.sum()))


def uniform_mean_square(attention: CausalAttention, length: int) -> float:
    """Of an average over all keys that each of so many positions reads, of values of unit variance.

    So attention begins: its scores have a variance of 1 / d_k. Causal attention averages t values at position t.
    """
    reads_TT = attention.reads(distances(length, torch.device("cpu")))
    return float((1 / reads_TT.sum(dim=1)).mean())


def unit_scale(block: Any, layer: int, n_layer: int, length: int) -> None:
    """Put the unit-scaled operation in the place of each plain one of a decoder's block; weights are still to be drawn.

    length: of the contexts that it will be trained on.
    """
    gains = {
        "attention.out": uniform_mean_square(block.attention, length) ** -0.5,
        "feed_forward.down": 1 / root_mean_square(block.feed_forward.activation),
    }
    for name, module in list(block.named_modules()):
        if type(module) is nn.Linear:
            block.set_submodule(name, UnitLinear(module, gains.get(name, 1.0)))
        elif type(module) is nn.RMSNorm:
            block.set_submodule(name, UnitRMSNorm(module.normalized_shape, eps=module.eps))
    if block.shift is not None:
        block.shift = UnitTokenShift(len(block.shift.mix_D))
    shares = residual_shares(layer, n_layer)
    block.attention_residual, block.feed_forward_residual = (UnitResidual(*one) for one in shares)
