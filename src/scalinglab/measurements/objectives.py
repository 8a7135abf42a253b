"""What should a model be trained to predict? One stack of blocks, under objectives that differ in what is seen."""

import pandas as pd

from scalinglab.measurements.pretraining import Settings, compared, figures, interval, measure, report

__all__ = ["Settings", "figures", "findings", "measure"]


def findings(tables: dict[str, pd.DataFrame]) -> str:
    means = compared(tables["runs"]).groupby("variant", sort=False).mean(numeric_only=True)
    rows = tables["task"]["rows"].iloc[0]
    best, worst = means["suffix nats"].idxmin(), means["suffix nats"].idxmax()
    own = means["loss"].idxmin()
    said = (
        f"Suffixes are likeliest under {best} ({means.loc[best, 'suffix nats']:.2f} nats a token), least likely under "
        f"{worst} ({means.loc[worst, 'suffix nats']:.2f}); the smallest loss of its own has {own} "
        f"({means.loc[own, 'loss']:.2f})."
    )
    for name, row in means[means["next sentence"].notna()].iterrows():
        said += (
            f" Next-sentence prediction ({name}): {interval(row['next sentence'], rows)} of {rows} pairs of halves "
            "told rightly, where chance is 50 %."
        )
    return f"""{report(tables)}
{said}
"""
