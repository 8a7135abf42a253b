"""table: the cells' files gathered into tidy tables, one row a cell (and shot count, or answer length)."""

import pandas as pd

from scalinglab.config import Study
from scalinglab.files import read_json, write_json, write_text
from scalinglab.paths import Paths


def run(study: Study) -> None:
    paths = Paths(study.study)
    cells = pd.DataFrame(
        read_json(paths.evaluation(study.grid.evaluate_after(budget), size, budget))
        for size, budget in study.grid.cells()
    )
    tables = {
        suffix: pd.concat(pd.read_csv(paths.cell("shots", size, budget, suffix)) for size, budget in study.grid.cells())
        for suffix in (".csv", ".exact.csv")
    }
    at_k = tables[".csv"][tables[".csv"]["k"] == study.emergence.k]
    accuracy = at_k.pivot(index=["size", "budget"], columns="skill", values="icl/acc")
    accuracy.columns = [f"icl/{name}:{study.emergence.k}" for name in accuracy.columns]
    cells = cells.merge(accuracy.reset_index(), on=["size", "budget"], how="left")
    for name, table in (("cells", cells), ("shots", tables[".csv"]), ("exact", tables[".exact.csv"])):
        write_text(paths.of("table", f"{name}.csv"), table.to_csv(index=False, float_format="%.8g"))
    write_json(paths.of("table", "metrics.json"), summary(cells))


def summary(cells: pd.DataFrame) -> dict[str, object]:
    """What `dvc metrics show` looks at; `scalinglab compare` goes cell by cell."""
    finished = cells[~cells["diverged"]]
    best = finished.loc[finished["val/bpb"].idxmin()] if len(finished) else None
    return {
        "cells": len(cells),
        "diverged": int(cells["diverged"].sum()),
        "best_cell": None if best is None else f"{best['size']}-{best['budget']}",
        "best_val/bpb": None if best is None else float(best["val/bpb"]),
        "seed_noise": seed_noise(finished),
    }


def seed_noise(cells: pd.DataFrame) -> float | None:
    """Relative standard deviation of val/bpb between seeds, pooled over the (width, budget) pairs that have several.

    None where no cell was repeated.
    """
    groups = cells.groupby(["width", "budget"])["val/bpb"]
    repeated = [(len(g), float((g / g.mean()).var(ddof=1))) for _, g in groups if len(g) > 1]
    if not repeated:
        return None
    freedom = sum(n - 1 for n, _ in repeated)
    return (sum((n - 1) * variance for n, variance in repeated) / freedom) ** 0.5
