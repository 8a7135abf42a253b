"""Intervals by resampling whole trunks: branches of one trunk share their history and are not independent."""

from collections.abc import Callable

import numpy as np
import pandas as pd


def by_trunk(
    cells: pd.DataFrame,
    statistic: Callable[[pd.DataFrame], dict[str, float]],
    resamples: int,
    seed: int,
    min_cells: int = 0,
) -> pd.DataFrame:
    """One row a resample: the statistic of as many trunks (column `size`) as there are, drawn with replacement.

    Resamples with fewer than three distinct widths, or with fewer than `min_cells` cells, cannot carry a surface; they
    are left out, and the number of rows tells how many were not.
    """
    rng = np.random.default_rng(seed)
    trunks = dict(list(cells.groupby("size")))
    widths = {size: group["width"].iloc[0] for size, group in trunks.items()}
    names = sorted(trunks)
    rows: list[dict[str, float]] = []
    for _ in range(resamples if names else 0):
        drawn = rng.choice(names, size=len(names))
        sample = pd.concat([trunks[name] for name in drawn], ignore_index=True)
        if len({widths[name] for name in drawn}) >= 3 and len(sample) >= min_cells:
            rows.append(statistic(sample))
    return pd.DataFrame(rows)


def intervals(resamples: pd.DataFrame, level: float = 0.95) -> dict[str, list[float]]:
    """Percentile intervals [low, high] of each column."""
    tail = (1 - level) / 2
    return {
        str(name): [float(np.nanquantile(column, tail)), float(np.nanquantile(column, 1 - tail))]
        for name, column in resamples.items()
    }
