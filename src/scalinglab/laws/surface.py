"""L(N, D) = E + (A / N^alpha + B / D^beta)^gamma, and the compute-optimal run on it.

`additive` has gamma = 1 (Hoffmann et al. 2022, eq. 2); `kaplan` has E = 0 (Kaplan et al. 2020, eq. 1.5, whose alpha_N
is gamma alpha here, and alpha_D gamma beta). Both have five parameters.
"""

from dataclasses import asdict, dataclass

import numpy as np

from scalinglab.laws.points import Array

FLOPS_PER_PARAMETER = 6.0  # C = 6 N D: two a multiply-add, and the backward pass is twice the forward


@dataclass(frozen=True)
class Optimum:
    """The run of least loss for a compute budget: parameters, tokens, nats a token."""

    n: float
    d: float
    loss: float


@dataclass(frozen=True)
class Surface:
    """A fitted surface, in the unit of the losses it was fitted to."""

    E: float
    A: float
    B: float
    alpha: float
    beta: float
    gamma: float = 1.0

    def loss(self, n: Array, d: Array) -> Array:
        return self.E + (self.A * n**-self.alpha + self.B * d**-self.beta) ** self.gamma

    @property
    def form(self) -> str:
        """The name of its form in parametric.FORMS."""
        return "additive" if self.gamma == 1 else "kaplan"

    @property
    def exponent_n(self) -> float:
        """a of N_opt ~ C^a for C = 6 N D: beta / (alpha + beta) (Hoffmann et al. 2022, eq. 4), whatever gamma."""
        return self.beta / (self.alpha + self.beta)

    def optimum(self, flops: float) -> Optimum:
        """Where the loss is least on 6 N D = C (Hoffmann et al. 2022, eq. 4, with G = (alpha A / beta B)^(1/(a+b)))."""
        g = (self.alpha * self.A / (self.beta * self.B)) ** (1 / (self.alpha + self.beta))
        n = g * (flops / FLOPS_PER_PARAMETER) ** self.exponent_n
        d = flops / FLOPS_PER_PARAMETER / n
        return Optimum(n, d, float(self.loss(np.array(n), np.array(d))))

    def as_dict(self) -> dict[str, float]:
        return {**asdict(self), "exponent_n": self.exponent_n}
