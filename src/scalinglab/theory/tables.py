"""How the runs of a controlled study are read: which columns were measured, and their means over seeds."""

import pandas as pd

from scalinglab.theory.protocol import RATIOS, RUN_COLUMNS


def measured(runs: pd.DataFrame) -> list[str]:
    """Columns that `measures` of the study added, and ratios that can be made of them."""
    columns = [column for column in runs if column not in RUN_COLUMNS]
    return columns + [name for name, parts in RATIOS.items() if set(parts) <= set(columns)]


def mean(runs: pd.DataFrame, column: str) -> float:
    """Of a measure over seeds; of a ratio, that of the means."""
    if column in RATIOS:
        above, below = (float(runs[part].mean()) for part in RATIOS[column])
        return above / below
    return float(runs[column].mean())
