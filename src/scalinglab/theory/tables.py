"""How tables of runs and of verdicts are read: what was measured, by variant and seed, and what was found."""

import pandas as pd

from scalinglab.theory.comparison import Comparison
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


def by_seed(runs: pd.DataFrame, by: str, column: str = "loss") -> dict[str, list[float]]:
    """A column of the runs that are compared, by variant (named in the column `by`), in the order of their seeds."""
    compared = runs[runs["role"] == "run"].sort_values("seed", kind="stable")
    return {str(name): compared[compared[by] == name][column].tolist() for name in runs[by].unique()}


def comparisons(verdicts: pd.DataFrame) -> list[Comparison]:
    """The rows of a table of verdicts, whatever else stands in it."""
    rows = verdicts[list(Comparison.__dataclass_fields__)].to_dict("records")
    return [Comparison(**row) for row in rows]
