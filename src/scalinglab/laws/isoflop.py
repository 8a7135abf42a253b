"""Approach 2 of Hoffmann et al. (2022): on lines of equal training FLOPs, the loss against size has a minimum.

The lines run through the grid: each size's losses are interpolated in ln C. A parabola in ln N goes through the points
around the lowest one; minima at an edge of a line are flagged, and take no part in the power law.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from scalinglab.laws.curves import curves, power_law
from scalinglab.laws.points import Points
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


def lines(data: Points, count: int) -> pd.DataFrame:
    """Points (flops, params, tokens, loss) of `count` iso-FLOP lines that cross at least three sizes each."""
    sizes = curves(data)
    columns = ["flops", "params", "tokens", "loss"]
    if len(sizes) < MIN_SIZES:
        return pd.DataFrame(columns=columns)
    # From where the third-cheapest size begins to where the third-dearest ends, three sizes can be crossed.
    low = sorted(size.low for size in sizes)[MIN_SIZES - 1]
    high = sorted((size.high for size in sizes), reverse=True)[MIN_SIZES - 1]
    flops = np.geomspace(low, high, count) if low < high else np.array([])
    parts = [
        pd.DataFrame({"flops": c, "params": s.n, "tokens": c / s.flops_per_token, "loss": s.loss(c)})
        for s in sizes
        for c in [flops[s.covers(flops)]]
    ]
    table = pd.concat(parts, ignore_index=True).sort_values(["flops", "params"], ignore_index=True)
    return table[table.groupby("flops")["flops"].transform("size") >= MIN_SIZES].reset_index(drop=True)


def minima(points: pd.DataFrame, window: float = 0.0) -> list[Minimum]:
    """The minimum of each line: a parabola in ln N through the points within a factor `window` of the lowest.

    At least its two neighbours take part, so 0 means three points.
    """
    found = []
    for flops, line in points.groupby("flops"):
        line = line.sort_values("params").reset_index(drop=True)
        x, y = np.log(line["params"].to_numpy(float)), line["loss"].to_numpy(float)
        lowest = int(y.argmin())
        near = np.abs(x - x[lowest]) <= np.log(max(window, 1.0))
        near[max(lowest - 1, 0) : lowest + 2] = True
        best = bottom(x, y, near) if 0 < lowest < len(y) - 1 else Bottom(float(x[lowest]), float(y[lowest]), False)
        # Tokens at the optimum follow from interpolating ln D in ln N along the line.
        ln_d = np.interp(best.x, x, np.log(line["tokens"]))
        found.append(Minimum(float(str(flops)), float(np.exp(best.x)), float(np.exp(ln_d)), best.y, best.inside))
    return found


def exponent(data: Points, count: int, window: float = 0.0) -> float:
    """a of N_opt ~ C^a through the inner minima of `count` lines; NaN for fewer than two."""
    inner = [minimum for minimum in minima(lines(data, count), window) if minimum.inside]
    return power_law(np.array([m.flops for m in inner]), np.array([m.params for m in inner]))[0]
