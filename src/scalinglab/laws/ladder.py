"""After the ladder of Porian et al. (2024, fig. 1): which habits of training and counting move the exponent.

Each rung changes one thing of how the runs were made or counted, and keeps the changes of the rungs below it. Ours
tunes the learning rate alone, where they tune batch size and beta2 as well, and ends with a decay, which they found to
matter little.
"""

import numpy as np
import pandas as pd

from scalinglab.laws import bootstrap
from scalinglab.laws.estimators import raw
from scalinglab.laws.points import Points, of_cells

ESTIMATORS = ("iso-FLOP", "Kaplan's form")


# (what the rung changes, whose runs it takes, how they are counted), from the lowest up.
RUNGS = (
    ("One rate, long warmup, no decay,\nhead not counted", "base", "non_embedding"),
    ("+ head and attention counted", "base", "matmul"),
    ("+ short warmup", "warmup", "matmul"),
    ("+ decay to zero", "decay", "matmul"),
    ("+ rate follows size", "tuned", "matmul"),
)


def climb(cells: pd.DataFrame, noise: float | None, resamples: int, seed: int) -> pd.DataFrame:
    """One row a rung and estimator: exponent a of N_opt ~ C^a and its 95 % interval.

    cells holds the runs of every recipe, named in `recipe`. The interval comes from losses redrawn with the measured
    noise between seeds (relative), NaN where that is not known: with a trunk a size, resampling whole trunks would
    leave too few sizes for a minimum. `draws` tells how many of these draws had an exponent; it is NaN, too, where
    fewer than half had.
    """
    rows = []
    for rung, recipe, counting in RUNGS:
        data = of_cells(cells[cells["recipe"] == recipe], counting)

        def exponents(drawn: Points) -> dict[str, float]:
            return {name: raw(name, drawn) for name in ESTIMATORS}

        redrawn = bootstrap.redrawn(data, exponents, noise, resamples, seed) if noise else pd.DataFrame()
        found, draws = bootstrap.intervals(redrawn), bootstrap.draws_used(redrawn)
        for name, value in exponents(data).items():
            used = draws.get(name, 0)
            low, high = found[name] if 2 * used >= max(1, resamples) else [np.nan, np.nan]
            row = {"rung": rung.replace("\n", " "), "recipe": recipe, "counting": counting, "estimator": name}
            rows.append({**row, "exponent_n": value, "low": low, "high": high, "draws": used})
    return pd.DataFrame(rows)
