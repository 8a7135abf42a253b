"""Feed-forward kinds by name. Each maps [B, T, D] to [B, T, D] through the hidden width F."""

from collections.abc import Callable
from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor, nn

from scalinglab.config import Model
from scalinglab.model.experts import Experts, shape_of_expert
from scalinglab.model.shape import Shape

Activation = Callable[[Tensor], Tensor]


class Plain(nn.Module):
    """down(activation(up x)), Vaswani et al. 2017, eq. 2, without biases."""

    n_matrices = 2

    def __init__(self, shape: Shape, activation: Activation) -> None:
        super().__init__()
        self.activation = activation
        self.up = nn.Linear(shape.d_model, shape.d_ff, bias=False)
        self.down = nn.Linear(shape.d_ff, shape.d_model, bias=False)

    def forward(self, x_BTD: Tensor) -> Tensor:
        return self.down(self.activation(self.up(x_BTD)))


class Gated(nn.Module):
    """down(activation(gate x) * (up x)), Shazeer 2020, eq. 5 and 6.

    Two products instead of one that is then cut in half: element-wise kernels on half rows run at a third of the speed.
    """

    n_matrices = 3

    def __init__(self, shape: Shape, activation: Activation) -> None:
        super().__init__()
        self.activation = activation
        self.gate = nn.Linear(shape.d_model, shape.d_ff, bias=False)
        self.up = nn.Linear(shape.d_model, shape.d_ff, bias=False)
        self.down = nn.Linear(shape.d_ff, shape.d_model, bias=False)

    def forward(self, x_BTD: Tensor) -> Tensor:
        return self.down(self.activation(self.gate(x_BTD)) * self.up(x_BTD))


@dataclass(frozen=True)
class Kind:
    """A form and the activation in it. Kinds are of equal size where n_matrices * model.ff_ratio is."""

    form: type[Plain] | type[Gated]
    activation: Activation

    def __call__(self, shape: Shape, options: Model) -> nn.Module:
        return self.form(shape, self.activation)

    def n_weights(self, shape: Shape, options: Model) -> int:
        """Elements of its matrices."""
        return self.form.n_matrices * shape.d_model * shape.d_ff

    def n_active(self, shape: Shape, options: Model) -> int:
        """How many of them multiply for one token."""
        return self.n_weights(shape, options)


class Mixture(Kind):
    """Experts of a kind behind a router (see experts.py)."""

    def __call__(self, shape: Shape, options: Model) -> nn.Module:
        return Experts(shape, options, lambda of_one: self.form(of_one, self.activation))

    def n_weights(self, shape: Shape, options: Model) -> int:
        return self._of_router_and(options.experts, shape, options)

    def n_active(self, shape: Shape, options: Model) -> int:
        return self._of_router_and(options.active_experts, shape, options)

    def _of_router_and(self, experts: int, shape: Shape, options: Model) -> int:
        of_one = super().n_weights(shape_of_expert(shape, options), options)
        return shape.d_model * options.experts + experts * of_one


def squared_relu(x: Tensor) -> Tensor:
    """max(x, 0)^2, So et al. 2021, section 4."""
    return F.relu(x).square()


def identity(x: Tensor) -> Tensor:
    return x


FEED_FORWARDS: dict[str, Kind] = {
    "swiglu": Kind(Gated, F.silu),
    "geglu": Kind(Gated, F.gelu),
    "experts": Mixture(Gated, F.silu),
    "gelu": Kind(Plain, F.gelu),  # Hendrycks & Gimpel 2016
    "silu": Kind(Plain, F.silu),
    "relu": Kind(Plain, F.relu),
    "relu2": Kind(Plain, squared_relu),
    "identity": Kind(Plain, identity),
}
