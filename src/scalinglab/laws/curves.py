"""Losses between the measured budgets: each size's cells, interpolated in ln C."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import PchipInterpolator

from scalinglab.laws.points import Array, Points


@dataclass(frozen=True)
class Curve:
    """One size: parameters, FLOPs a token, and ln loss as a monotone cubic of ln C (Fritsch & Carlson 1980)."""

    n: float
    flops_per_token: float
    low: float
    high: float
    ln_loss: PchipInterpolator

    def covers(self, flops: Array) -> NDArray[np.bool_]:
        return (self.low * (1 - 1e-9) <= flops) & (flops <= self.high * (1 + 1e-9))

    def loss(self, flops: Array) -> Array:
        """Loss at some FLOPs; beyond the measured range, that of its end."""
        return np.exp(self.ln_loss(np.log(np.clip(flops, self.low, self.high))))


def curves(data: Points) -> list[Curve]:
    """A curve for each size with two budgets or more, smallest first; replicas enter by their mean."""
    mean = data.averaged()
    found = []
    for n in np.unique(mean.n):
        trunk = mean.take(mean.n == n)
        if len(trunk) < 2:
            continue
        trunk = trunk.take(np.argsort(trunk.c))
        line = PchipInterpolator(np.log(trunk.c), np.log(trunk.loss))
        found.append(Curve(float(n), float(trunk.c[0] / trunk.d[0]), float(trunk.c[0]), float(trunk.c[-1]), line))
    return found


def power_law(x: Array, y: Array) -> tuple[float, float]:
    """(exponent, prefactor) of y = prefactor * x^exponent by least squares in logarithms; NaN for fewer than 2."""
    if len(np.unique(x)) < 2:
        return float("nan"), float("nan")
    slope, intercept = np.polyfit(np.log(x), np.log(y), 1)
    return float(slope), float(np.exp(intercept))
