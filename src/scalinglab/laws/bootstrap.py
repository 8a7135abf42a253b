"""Intervals by resampling whole trunks: branches of one trunk share their history and are not independent.

Where trunks are too few for that, by redrawing the losses with a measured noise.
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pandas as pd

from scalinglab.laws.points import Points, resample

MIN_SIZES, MIN_CELLS = 3, 6  # below these a resample cannot carry a surface
MIN_DRAWS = 20  # below this the ends of a 95 % interval are single draws


def resamples(data: Points, statistic: Callable[[Points], dict[str, float]], count: int, seed: int) -> pd.DataFrame:
    """One row a resample: the statistic of as many trunks as there are, drawn with replacement.

    Draws with fewer than three sizes, or no more cells than a surface has parameters, are left out; the number of rows
    tells how many were not.
    """
    rng = np.random.default_rng(seed)
    rows = []
    for _ in range(count if len(data) else 0):
        drawn = resample(data, rng)
        if len(np.unique(drawn.n)) >= MIN_SIZES and len(drawn) >= MIN_CELLS:
            rows.append(statistic(drawn))
    return pd.DataFrame(rows)


def redrawn(
    data: Points, statistic: Callable[[Points], dict[str, float]], noise: float, count: int, seed: int
) -> pd.DataFrame:
    """One row a draw: the statistic of the same cells with losses times exp(noise z), z normal and shared by a trunk.

    Replicas show that cells of a trunk err together.
    """
    rng = np.random.default_rng(seed)
    names, trunk = np.unique(data.trunk, return_inverse=True)
    return pd.DataFrame(
        statistic(replace(data, loss=data.loss * np.exp(noise * rng.standard_normal(len(names))[trunk])))
        for _ in range(count)
    )


def intervals(table: pd.DataFrame, level: float = 0.95) -> dict[str, list[float]]:
    """Percentile intervals [low, high] of each column; one with fewer than MIN_DRAWS numbers has none."""
    tail = (1 - level) / 2
    return {
        str(name): [float(column.quantile(tail)), float(column.quantile(1 - tail))]
        for name, column in table.items()
        if column.notna().sum() >= MIN_DRAWS
    }


def draws_used(table: pd.DataFrame) -> dict[str, int]:
    """How many draws gave each column a number: those that did not are missing from its interval."""
    return {str(name): int(column.notna().sum()) for name, column in table.items()}
