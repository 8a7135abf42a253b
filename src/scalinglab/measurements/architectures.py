"""Decoder, encoder, or both? At equal parameters and equal tokens, and at equal parameters and equal training FLOPs."""

import pandas as pd

from scalinglab.measurements.pretraining import combine, compared, figures, report
from scalinglab.parts.architectures import Settings

__all__ = ["Settings", "combine", "figures", "findings"]


def findings(tables: dict[str, pd.DataFrame]) -> str:
    runs = compared(tables["runs"])
    means = runs.groupby("variant", sort=False).mean(numeric_only=True)
    first = means.loc[tables["differences"]["reference"].iloc[0]]
    lines = []
    for name, row in means.iterrows():
        parameters, tokens, flops = (row[key] / first[key] for key in ("parameters", "tokens", "flops"))
        lines.append(f"| {name} | {parameters:.3f} | {tokens:.3f} | {flops:.3f} |")
    table = "\n".join(lines)
    return f"""{report(tables)}
**What is equal**, as ratios to the reference. A token passes either the encoder or the decoder of an encoder-decoder,
so that one of as many parameters takes fewer FLOPs a token (Raffel et al. 2020, section 3.2.2), and one of as many
FLOPs has more parameters. FLOPs are those of the pairs that see each other, and of the head where there is a target.

| variant | parameters | tokens | training FLOPs |
|---|---|---|---|
{table}
"""
