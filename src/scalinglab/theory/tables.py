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


def of_seeds(runs: pd.DataFrame, column: str = "loss") -> list[float]:
    """A column of a variant's runs that are compared, in the order of their seeds."""
    return runs[runs["role"] == "run"].sort_values("seed")[column].tolist()


def by_seed(runs: pd.DataFrame, by: str, column: str = "loss") -> dict[str, list[float]]:
    """The same of all variants, whose names stand in the column `by`."""
    return {str(name): of_seeds(line, column) for name, line in runs.groupby(by, sort=False)}


def comparisons(verdicts: pd.DataFrame) -> list[Comparison]:
    """The rows of a table of verdicts, whatever else stands in it."""
    rows = verdicts[list(Comparison.__dataclass_fields__)].to_dict("records")
    return [Comparison(**row) for row in rows]
