"""The ladder of Porian et al. (2024, fig. 1): what moves the exponent from Kaplan et al.'s to Hoffmann et al.'s.

Each rung changes one thing of how the runs were made or counted, and keeps the changes of the rungs below it.
"""

import numpy as np
import pandas as pd

from scalinglab.laws import bootstrap
from scalinglab.laws.estimators import estimate
from scalinglab.laws.points import Points, of_cells

ESTIMATORS = ("iso-FLOP", "Kaplan's form")


# (what the rung changes, whose runs it takes, how they are counted), from the lowest up.
RUNGS = (
    ("Kaplan: one rate, long warmup,\nno decay, no embedding or head", "kaplan", "non_embedding"),
    ("+ the head is counted", "kaplan", "matmul"),
    ("+ short warmup", "warmup", "matmul"),
    ("+ decay to zero", "decay", "matmul"),
    ("+ rate follows size", "tuned", "matmul"),
)


def climb(cells: pd.DataFrame, noise: float | None, resamples: int, seed: int) -> pd.DataFrame:
    """One row a rung and estimator: exponent a of N_opt ~ C^a and its 95 % interval.

    cells holds the runs of every recipe, named in `recipe`. The interval comes from losses redrawn with the measured
    noise between seeds (relative), NaN where that is not known: with a trunk a size, resampling whole trunks would
    leave too few sizes for a minimum.
    """
    rows = []
    for rung, recipe, counting in RUNGS:
        data = of_cells(cells[cells["recipe"] == recipe], counting)

        def exponents(drawn: Points) -> dict[str, float]:
            return {name: estimate(name, drawn) for name in ESTIMATORS}

        redrawn = bootstrap.redrawn(data, exponents, noise, resamples, seed) if noise else pd.DataFrame()
        found = bootstrap.intervals(redrawn)
        for name, value in exponents(data).items():
            low, high = found.get(name, [np.nan, np.nan])
            row = {"rung": rung.replace("\n", " "), "recipe": recipe, "counting": counting, "estimator": name}
            rows.append({**row, "exponent_n": value, "low": low, "high": high})
    return pd.DataFrame(rows)
