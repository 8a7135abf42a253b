"""Approach 2 of Hoffmann et al. (2022): on lines of equal training FLOPs, the loss against size has a minimum.

The lines run through the grid: each size's losses are interpolated in ln C. A parabola in ln N goes through the points
around the lowest one; minima at an edge of a line are flagged, and take no part in the power law.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from scalinglab.laws.curves import curves, power_law
from scalinglab.laws.points import Array, Points
from scalinglab.parabola import Bottom, bottom

MIN_SIZES = 3  # a parabola


@dataclass(frozen=True)
class Minimum:
    """Optimum of one line; `inside` tells whether it lies between the line's sizes rather than at an edge."""

    flops: float
    params: float
    tokens: float
    loss: float
    inside: bool


@dataclass(frozen=True)
class Line:
    """One iso-FLOP line: parameters (growing), tokens and loss where sizes cross it, all [sizes]."""

    flops: float
    params: Array
    tokens: Array
    loss: Array


def lines(data: Points, count: int) -> list[Line]:
    """Up to `count` iso-FLOP lines that cross at least three sizes each, cheapest first."""
    sizes = curves(data)
    if len(sizes) < MIN_SIZES:
        return []
    # From where the third-cheapest size begins to where the third-dearest ends, three sizes can be crossed.
    low = sorted(size.low for size in sizes)[MIN_SIZES - 1]
    high = sorted((size.high for size in sizes), reverse=True)[MIN_SIZES - 1]
    flops = np.geomspace(low, high, count) if low < high else np.array([])
    crossed = np.array([size.covers(flops) for size in sizes])
    loss = np.array([size.loss(flops) for size in sizes])
    n, per_token = np.array([s.n for s in sizes]), np.array([s.flops_per_token for s in sizes])
    return [
        Line(float(c), n[on], c / per_token[on], loss[on, i])
        for i, c in enumerate(flops)
        if (on := crossed[:, i]).sum() >= MIN_SIZES
    ]


def table(found: list[Line]) -> pd.DataFrame:
    """The lines as one tidy table: flops, params, tokens, loss."""
    columns = ("flops", "params", "tokens", "loss")
    rows = [(line.flops, *point) for line in found for point in zip(line.params, line.tokens, line.loss, strict=True)]
    return pd.DataFrame(rows, columns=columns)


def minima(found: list[Line], window: float = 0.0) -> list[Minimum]:
    """The minimum of each line: a parabola in ln N through the points within a factor `window` of the lowest.

    At least its two neighbours take part, so 0 means three points.
    """
    return [_minimum(line, window) for line in found]


def _minimum(line: Line, window: float) -> Minimum:
    x, lowest = np.log(line.params), int(line.loss.argmin())
    near = np.abs(x - x[lowest]) <= np.log(max(window, 1.0))
    near[max(lowest - 1, 0) : lowest + 2] = True
    best = Bottom(float(x[lowest]), float(line.loss[lowest]), False)
    if 0 < lowest < len(x) - 1:
        best = bottom(x, line.loss, near)
    # Tokens at the optimum follow from interpolating ln D in ln N along the line.
    ln_d = np.interp(best.x, x, np.log(line.tokens))
    return Minimum(line.flops, float(np.exp(best.x)), float(np.exp(ln_d)), best.y, best.inside)


def exponent(data: Points, count: int, window: float = 0.0) -> float:
    """a of N_opt ~ C^a through the inner minima of `count` lines; NaN for fewer than two."""
    inner = [minimum for minimum in minima(lines(data, count), window) if minimum.inside]
    return power_law(np.array([m.flops for m in inner]), np.array([m.params for m in inner]))[0]
