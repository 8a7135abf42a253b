"""A surface whose truth is known, on a grid of sizes and budgets."""

import numpy as np
import pytest

from scalinglab.laws.points import Points, points
from scalinglab.laws.surface import Surface

TRUTH = Surface(E=1.8, A=400.0, B=1200.0, alpha=0.34, beta=0.37)


def grid(noise: float = 0.0, seed: int = 0, sizes: int = 7, budgets: int = 9) -> Points:
    """Losses of TRUTH with relative noise; each size is a trunk."""
    rng = np.random.default_rng(seed)
    n, d = (axis.ravel() for axis in np.meshgrid(np.geomspace(1e6, 1e9, sizes), np.geomspace(2e7, 2e10, budgets)))
    loss = TRUTH.loss(n, d) * (1 + noise * rng.standard_normal(len(n)))
    return points(n, d, loss, trunk=np.array([f"d{x:.0f}" for x in n]))


@pytest.fixture
def exact() -> Points:
    return grid()
