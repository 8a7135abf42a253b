"""Intervals by resampling whole trunks: branches of one trunk share their history and are not independent."""

from collections.abc import Callable

import numpy as np
import pandas as pd


def by_trunk(
    cells: pd.DataFrame, statistic: Callable[[pd.DataFrame], dict[str, float]], resamples: int, seed: int
) -> pd.DataFrame:
    """One row a resample: the statistic of as many trunks (column `size`) as there are, drawn with replacement.

    Resamples with fewer than three distinct widths cannot carry a surface in N and are drawn anew.
    """
    rng = np.random.default_rng(seed)
    trunks = dict(list(cells.groupby("size")))
    widths = {size: group["width"].iloc[0] for size, group in trunks.items()}
    names = sorted(trunks)
    rows: list[dict[str, float]] = []
    while len(rows) < resamples and len(set(widths.values())) >= 3:
        drawn = rng.choice(names, size=len(names))
        if len({widths[name] for name in drawn}) >= 3:
            rows.append(statistic(pd.concat([trunks[name] for name in drawn], ignore_index=True)))
    return pd.DataFrame(rows)


def intervals(resamples: pd.DataFrame, level: float = 0.95) -> dict[str, list[float]]:
    """Percentile intervals [low, high] of each column."""
    tail = (1 - level) / 2
    return {
        str(name): [float(np.nanquantile(column, tail)), float(np.nanquantile(column, 1 - tail))]
        for name, column in resamples.items()
    }
