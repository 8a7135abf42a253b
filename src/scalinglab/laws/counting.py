"""What the choice of counting parameters does to an exponent (Pearce & Song 2024, "Reconciling Kaplan and Chinchilla").

On a Chinchilla surface in total parameters, small models are mostly embedding: counted without it, the optimal size
seems to grow faster with compute.
"""

from dataclasses import dataclass

import numpy as np

from scalinglab.laws.curves import power_law
from scalinglab.laws.points import Array
from scalinglab.laws.surface import FLOPS_PER_PARAMETER, Surface

# Epoch AI's refit of Chinchilla (Besiroglu et al. 2024), as Pearce & Song round it.
CHINCHILLA = Surface(E=1.8172, A=482.01, B=2085.43, alpha=0.3478, beta=0.3658)
EMBEDDING = 47491.0  # N_total = N + 47491 N^(1/3) over Chinchilla's models (Pearce & Song 2024, eq. 8)


def total_parameters(n: Array, embedding: float = EMBEDDING) -> Array:
    """Total from non-embedding parameters: width grows as the cube root of N at fixed aspect (their eq. 8)."""
    return n + embedding * np.cbrt(n)


def compute_of_optimum(n: Array, surface: Surface = CHINCHILLA, embedding: float = EMBEDDING) -> Array:
    """C = 6 N D, counted without embedding, at which N non-embedding parameters are optimal.

    The minimum over N of A / N_total(N)^alpha + B / (C / 6N)^beta at fixed C, solved for C (their eq. 14).
    """
    total = total_parameters(n, embedding)
    slope = 1 + embedding / 3 * n ** (-2 / 3)
    ratio = surface.beta * surface.B / (surface.alpha * surface.A)
    inner = ratio * n ** (surface.beta - 1) * total ** (surface.alpha + 1) / slope
    return FLOPS_PER_PARAMETER * inner ** (1 / surface.beta)


def local_exponent(n: Array, surface: Surface = CHINCHILLA, embedding: float = EMBEDDING) -> Array:
    """d ln N / d ln C along the optimum at N: from beta / (beta + alpha / 3) to beta / (beta + alpha) (eq. 16)."""
    step = 1e-4
    rise = np.log(compute_of_optimum(n * np.exp(step), surface, embedding)) - np.log(
        compute_of_optimum(n * np.exp(-step), surface, embedding)
    )
    return 2 * step / rise


@dataclass(frozen=True)
class Frontier:
    """An envelope over simulated runs: compute, the best size at it, and the exponent of the power law through them."""

    flops: Array
    n: Array
    exponent: float


def simulated_frontier(
    convention: str, log10_flops: tuple[float, float], surface: Surface = CHINCHILLA, embedding: float = EMBEDDING
) -> Frontier:
    """The experiment of their section 4: 20 sizes of Kaplan's range, 1,000 token counts, the envelope at 100 computes.

    convention: `non_embedding` or `total`, for both N and C = 6 N D. The run whose compute is nearest stands for a
    compute, as in their script; a finer grid moves the exponents in the second decimal.
    """
    n = np.logspace(2.9, 9.2, 20)
    d = np.logspace(6, 25, 1000)
    total = total_parameters(n, embedding)
    loss = surface.loss(total[:, None], d[None, :])
    counted = n if convention == "non_embedding" else total
    compute = FLOPS_PER_PARAMETER * counted[:, None] * d
    flops = np.logspace(*log10_flops, 100)
    nearest = np.abs(compute[:, :, None] - flops).argmin(axis=1)
    best = counted[np.take_along_axis(loss, nearest, axis=1).argmin(axis=0)]
    return Frontier(flops, best, power_law(flops, best)[0])
