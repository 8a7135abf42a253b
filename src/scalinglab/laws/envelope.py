"""Approach 1 of Hoffmann et al. (2022): at each compute, the size whose curve is lowest; a power law through them.

The curves are those of annealed losses against FLOPs, one a size. Sizes are few, so the envelope is a staircase; each
stair enters where its size takes over from the next smaller one, at the geometric mean of the two.
"""

import numpy as np

from scalinglab.laws.curves import curves, power_law
from scalinglab.laws.points import Array, Points

STEPS = 400  # places in ln C at which the lowest curve is sought


def crossings(data: Points) -> tuple[Array, Array]:
    """(C, N): where the envelope passes from one size to the next, and the geometric mean of the two sizes.

    A change between sizes that were not both measured at that compute is no crossing, and is left out.
    """
    sizes = curves(data)
    if len(sizes) < 2:
        return np.array([]), np.array([])
    flops = np.geomspace(min(s.low for s in sizes), max(s.high for s in sizes), STEPS)
    losses = np.stack([np.where(size.covers(flops), size.loss(flops), np.inf) for size in sizes])
    best = losses.argmin(axis=0)
    steps = np.flatnonzero(best[1:] > best[:-1])
    both = [i for i in steps if np.isfinite(losses[[best[i], best[i + 1]]][:, i : i + 2]).all()]
    n = np.array([size.n for size in sizes])
    return flops[both], np.sqrt(n[best[both]] * n[best[np.array(both, dtype=int) + 1]])


def exponent(data: Points) -> float:
    """a of N_opt ~ C^a along the envelope; NaN for fewer than two crossings."""
    return power_law(*crossings(data))[0]
