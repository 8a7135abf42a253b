"""What should a model be trained to predict? One stack of blocks, under objectives that differ in what is seen."""

import pandas as pd

from scalinglab.measurements import wording
from scalinglab.measurements.pretraining import combine, compared, figures, interval, report
from scalinglab.parts.objectives import Settings

__all__ = ["Settings", "combine", "figures", "findings"]


def findings(tables: dict[str, pd.DataFrame]) -> str:
    runs, rows = compared(tables["runs"]), tables["task"]["rows"].iloc[0]
    suffixes = wording.whole_means(runs, "variant", "suffix nats")
    best, worst = suffixes.idxmin(), suffixes.idxmax()
    said = (
        f"Suffixes are likeliest under {best} ({suffixes[best]:.2f} nats a token), least likely under {worst} "
        f"({suffixes[worst]:.2f})."
    )
    told = wording.whole_means(runs, "variant", "next sentence").dropna()
    for name, share in told.items():
        said += (
            f" Next-sentence prediction ({name}): {interval(share, rows)} of {rows} pairs of halves told rightly, "
            "where chance is 50 %. It is one target among the others of its row, and so weighs less than in Devlin et "
            "al. (2019), where it weighs as much as all of them."
        )
    return f"""{report(tables)}
{said}
"""
