"""The exponent under every defensible choice at once (Steegen et al. 2016): is the choice larger than the interval?"""

import math
from collections.abc import Callable, Iterator

import numpy as np
import pandas as pd

from scalinglab.laws.estimators import ESTIMATORS, estimate
from scalinglab.laws.points import CONVENTIONS, Points, of_cells
from scalinglab.laws.verdict import of_design

# Which cells an analyst might leave out, and with what right.
DROPS: dict[str, Callable[[Points], np.ndarray]] = {
    "nothing": lambda p: np.ones(len(p), dtype=bool),
    "shortest budget": lambda p: p.d > p.d.min(),  # most of it was warmup
    "smallest size": lambda p: p.n > p.n.min(),
    "highest tenth of losses": lambda p: p.loss <= np.quantile(p.loss, 0.9),  # as Besiroglu et al. 2024 drop five
}


def universes(cells: pd.DataFrame) -> Iterator[tuple[str, str, Points]]:
    """(counting, dropped, points) of every choice of data."""
    for counting in CONVENTIONS:
        whole = of_cells(cells, counting)
        for dropped, keep in DROPS.items():
            yield counting, dropped, whole.take(keep(whole)) if len(whole) else whole


def table(cells: pd.DataFrame) -> pd.DataFrame:
    """One row a universe: estimator, counting, dropped, cells, exponent (NaN where the cells identify none)."""
    return pd.DataFrame(
        [
            {
                "estimator": name,
                "counting": counting,
                "dropped": dropped,
                "cells": len(data),
                "exponent_n": math.nan if of_design(data) else estimate(name, data),
            }
            for counting, dropped, data in universes(cells)
            for name in ESTIMATORS
        ]
    )
