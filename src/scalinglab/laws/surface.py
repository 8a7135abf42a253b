"""L(N, D) = E + (A / N^alpha + B / D^beta)^gamma, and the compute-optimal run on it.

`additive` has gamma = 1 (Hoffmann et al. 2022, eq. 2); `kaplan` has E = 0 (Kaplan et al. 2020, eq. 1.5, whose alpha_N
is gamma alpha here, and alpha_D gamma beta). Both have five parameters.
"""

import math
from dataclasses import asdict, dataclass

import numpy as np

from scalinglab.laws.points import Array

FLOPS_PER_PARAMETER = 6.0  # C = 6 N D: two a multiply-add, and the backward pass is twice the forward
FLAT = 1e-3  # an exponent below this changes the loss by less than 1 % over four decades
MOST_LN_N = 300.0  # beyond e^300 parameters, or below their inverse, there is no optimum to speak of


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
        """a of N_opt ~ C^a for C = 6 N D: beta / (alpha + beta) (Hoffmann et al. 2022, eq. 4), whatever gamma.

        NaN for a surface that is flat in size or in tokens: it has no optimum.
        """
        return self.beta / (self.alpha + self.beta) if min(self.alpha, self.beta) > FLAT else math.nan

    def optimum(self, flops: float) -> Optimum:
        """Where the loss is least on 6 N D = C (Hoffmann et al. 2022, eq. 4, with G = (alpha A / beta B)^(1/(a+b))).

        NaN for a surface that is flat in size or in tokens: the more of the other, the better.
        """
        none = Optimum(math.nan, math.nan, math.nan)
        if min(self.alpha, self.beta) <= FLAT or min(self.A, self.B) <= 0:
            return none
        ln_g = math.log(self.alpha * self.A / (self.beta * self.B)) / (self.alpha + self.beta)
        ln_n = ln_g + self.exponent_n * math.log(flops / FLOPS_PER_PARAMETER)
        if abs(ln_n) > MOST_LN_N:
            return none
        n = math.exp(ln_n)
        d = flops / FLOPS_PER_PARAMETER / n
        return Optimum(n, d, float(self.loss(np.array(n), np.array(d))))

    def as_dict(self) -> dict[str, float]:
        return {**asdict(self), "exponent_n": self.exponent_n}
