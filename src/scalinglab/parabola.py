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


def bottom(x: Array, y: Array, window: float = 0.0) -> Bottom:
    """Least-squares parabola through the points within `window` of the lowest one, its two neighbours at least.

    x must grow. A lowest point at an end, or a parabola whose bottom lies outside the points that made it (the window
    was no neighbourhood), gives that lowest point itself, flagged as not inside.
    """
    lowest = int(np.argmin(y))
    if 0 < lowest < len(y) - 1:
        near = np.abs(x - x[lowest]) <= window
        near[lowest - 1 : lowest + 2] = True
        a, b, c = np.polyfit(x[near] - x[lowest], y[near], 2)
        if a > 0 and x[near].min() <= x[lowest] - b / (2 * a) <= x[near].max():
            return Bottom(float(x[lowest] - b / (2 * a)), float(c - b**2 / (4 * a)), True)
    return Bottom(float(x[lowest]), float(y[lowest]), False)
