"""What docs/theory/norms.md says of the parts of batch norm, from benchmarks/results/norms.json."""

import json
from pathlib import Path

import pandas as pd

from scalinglab.measurements import wording


def section(root: Path) -> str:
    """A table of norms between RMSNorm and batch norm, and what of them decides; empty where nothing was measured."""
    path = root / "benchmarks/results/norms.json"
    if not path.exists():
        return ""
    found = json.loads(path.read_text(encoding="utf-8"))
    table, verdicts = pd.DataFrame(found["table"]), {row["variant"]: row for row in found["verdicts"]}
    rows = [
        f"| {row['norm']} | {row['factor']:g} | {row['loss']:.3f} | "
        f"{wording.verdict(verdicts[row['norm']]) if row['norm'] in verdicts else 'reference'} | {row['growth']:.1f} | "
        f"{row['growth at the highest rate']:.1f} |"
        for row in table.to_dict("records")
    ]
    seeds = next(iter(verdicts.values()))["seeds"]
    lines = [
        "",
        f"**Between RMSNorm and batch norm** (benchmarks/norms.py, {seeds} paired seeds, margin {found['margin']:g}): "
        "norms that divide all of a batch by one number, or each channel by one, and so leave a token's size beside "
        "that of others; and RMSNorm, which does not, with the mean of the batch taken off. Growth: of the residual "
        "stream, its root mean square behind the last block over that before the first. Where a token's size does not "
        "count for what reads it, nothing need hold it back.",
        "",
        "| norm | rate, times the study's | loss | difference, 95 % interval, verdict | growth | at the highest rate |",
        "|---|---|---|---|---|---|",
        *rows,
    ]
    return "\n".join([*lines, ""])
