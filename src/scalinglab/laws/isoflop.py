"""Approach 2 of Hoffmann et al. (2022): on lines of equal training FLOPs, the loss against size has a minimum.

The lines run through the grid: each trunk's losses are interpolated in ln D to the tokens that spend the FLOPs.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.interpolate import PchipInterpolator

Array = NDArray[np.float64]
MIN_SIZES = 3  # a parabola


@dataclass(frozen=True)
class Minimum:
    """Optimum of one line; `inside` tells whether it lies between the line's sizes rather than at an edge."""

    flops: float
    params: float
    tokens: float
    loss: float
    inside: bool


def lines(cells: pd.DataFrame, count: int, params: str, loss: str) -> pd.DataFrame:
    """Points (flops, params, tokens, loss) of `count` iso-FLOP lines that cross at least three sizes each.

    cells: one row a (width, budget), with `flops`, `tokens` and the columns named by params and loss.
    """
    curves = {float(n): trunk.sort_values("tokens") for n, trunk in cells.groupby(params) if len(trunk) > 1}
    spans = [(trunk["flops"].min(), trunk["flops"].max()) for trunk in curves.values()]
    if len(spans) < MIN_SIZES:
        return pd.DataFrame(columns=["flops", "params", "tokens", "loss"])
    # From where the third-cheapest trunk begins to where the third-dearest ends, three sizes can be crossed.
    low = sorted(low for low, _ in spans)[MIN_SIZES - 1]
    high = sorted((high for _, high in spans), reverse=True)[MIN_SIZES - 1]
    rows = []
    for flops in np.geomspace(low, high, count) if low < high else []:
        crossed = [
            (flops, n, *_interpolate(trunk, flops, loss))
            for n, trunk in curves.items()
            if trunk["flops"].min() * (1 - 1e-9) <= flops <= trunk["flops"].max() * (1 + 1e-9)
        ]
        rows += crossed if len(crossed) >= MIN_SIZES else []
    return pd.DataFrame(rows, columns=["flops", "params", "tokens", "loss"])


def _interpolate(trunk: pd.DataFrame, flops: float, loss: str) -> tuple[float, float]:
    """Tokens and loss of a trunk at a number of FLOPs: monotone cubic in logarithms (Fritsch & Carlson 1980)."""
    per_token = trunk["flops"].iloc[0] / trunk["tokens"].iloc[0]
    tokens = flops / per_token
    ln_tokens = np.log(trunk["tokens"].to_numpy(float))
    curve = PchipInterpolator(ln_tokens, np.log(trunk[loss].to_numpy(float)))
    return tokens, float(np.exp(curve(np.clip(np.log(tokens), ln_tokens[0], ln_tokens[-1]))))


def minima(points: pd.DataFrame) -> list[Minimum]:
    """The minimum of each line: a parabola in ln N through its three points around the lowest."""
    found = []
    for flops, line in points.groupby("flops"):
        line = line.sort_values("params").reset_index(drop=True)
        lowest = int(line["loss"].idxmin())
        inside = 0 < lowest < len(line) - 1
        middle = min(max(lowest, 1), len(line) - 2)
        around = line.iloc[middle - 1 : middle + 2]
        x, y = np.log(around["params"].to_numpy(float)), around["loss"].to_numpy(float)
        a, b, c = np.polyfit(x - x[1], y, 2)
        if inside and a > 0:
            ln_n = x[1] - b / (2 * a)
            loss = c - b**2 / (4 * a)
        else:
            inside, ln_n, loss = False, float(np.log(line["params"][lowest])), float(line["loss"][lowest])
        # Tokens at the optimum follow from interpolating ln D in ln N along the line.
        ln_d = np.interp(ln_n, np.log(line["params"]), np.log(line["tokens"]))
        found.append(Minimum(float(str(flops)), float(np.exp(ln_n)), float(np.exp(ln_d)), float(loss), inside))
    return found


def power_law(x: Array, y: Array) -> tuple[float, float]:
    """(exponent, prefactor) of y = prefactor * x^exponent by least squares in logarithms; NaN for fewer than 2."""
    if len(x) < 2:
        return float("nan"), float("nan")
    slope, intercept = np.polyfit(np.log(x), np.log(y), 1)
    return float(slope), float(np.exp(intercept))
