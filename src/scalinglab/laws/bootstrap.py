"""Intervals by resampling whole trunks: branches of one trunk share their history and are not independent."""

from collections.abc import Callable

import numpy as np
import pandas as pd

from scalinglab.laws.points import Points, resample

MIN_SIZES, MIN_CELLS = 3, 6  # below these a resample cannot carry a surface


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


def intervals(table: pd.DataFrame, level: float = 0.95) -> dict[str, list[float]]:
    """Percentile intervals [low, high] of each column; a column without any number has none."""
    tail = (1 - level) / 2
    return {
        str(name): [float(column.quantile(tail)), float(column.quantile(1 - tail))]
        for name, column in table.items()
        if column.notna().any()
    }
