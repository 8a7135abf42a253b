"""The lowest point of a measured bowl: what iso-FLOP lines and learning-rate sweeps both look for."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Bottom:
    """Place and height of a minimum; `inside` tells whether it lies between the points rather than at an end."""

    x: float
    y: float
    inside: bool


def bottom(x: Array, y: Array, near: NDArray[np.generic]) -> Bottom:
    """Least-squares parabola through the points `near` (a mask or places), three at least, around the lowest of all.

    Where it has no bottom between those points (they were no bowl, or the lowest lies at the end of all), the lowest
    point itself is given, flagged as not inside.
    """
    lowest = int(np.argmin(y))
    own, values = x[near] - x[lowest], y[near]
    if len(own) >= 3:
        a, b, c = np.polyfit(own, values, 2)
        if a > 0 and own.min() <= -b / (2 * a) <= own.max():
            return Bottom(float(x[lowest] - b / (2 * a)), float(c - b**2 / (4 * a)), True)
    return Bottom(float(x[lowest]), float(y[lowest]), False)
