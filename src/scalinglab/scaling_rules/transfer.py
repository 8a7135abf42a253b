"""Whether one learning rate serves all widths: optima, how they move, what is lost, and which rule to take."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from scalinglab.config import width_of
from scalinglab.theory.comparison import Comparison, compare
from scalinglab.tuning import best_rate

LAW = "standard, law"  # the present way: a power law of rates, from sweeps at several widths
# Whose parametrisation each rule takes. All but the law take the best rate of one width.
RULES = {LAW: "standard", "standard, one rate": "standard", "mup, one rate": "mup", "u-mup, one rate": "u-mup"}
# The law with a faster embedding: u-mup moves its embedding many times faster too, and that is to be told apart.
FAST = "fast-embedding"
RULES[f"{LAW}, {FAST}"] = FAST


def optima(basin: pd.DataFrame) -> pd.DataFrame:
    """Of each parametrisation and size, the bottom of the bowl of losses over rates; `rule` is empty in a sweep."""
    rows = []
    for (parametrisation, size), sweep in basin.groupby(["parametrisation", "size"], sort=False):
        best = best_rate(str(size), sweep["rate"].tolist(), sweep["loss"].tolist())
        row = {"parametrisation": parametrisation, "size": size, "width": width_of(str(size)), "rate": best.rate}
        rows.append({**row, "loss": best.loss, "inside": best.inside})
    return pd.DataFrame(rows)


def shift(found: pd.DataFrame) -> float:
    """By how many doublings the best rate moves per doubling of width: the power of its law (Yang et al.: 0)."""
    return float(np.polyfit(np.log(found["width"]), np.log(found["rate"]), 1)[0])


def tuned_rate(basin: pd.DataFrame, parametrisation: str, size: str) -> float:
    """The best of the rates that were tried at one size. Raises ValueError where every run diverged."""
    sweep = basin[(basin["parametrisation"] == parametrisation) & (basin["size"] == size)].dropna(subset="loss")
    if sweep.empty:
        raise ValueError(f"{parametrisation} at {size}: every rate diverged")
    return float(sweep.loc[sweep["loss"].idxmin(), "rate"])


def regrets(basin: pd.DataFrame, runs: pd.DataFrame) -> pd.DataFrame:
    """Of each rule and size, on the sweep's seed: its loss, and how far that lies above its parametrisation's lowest.

    basin: the sweep. runs: of the rules, with the sweep's seed, 0, among others. Infinite where a run diverged.
    """
    own = runs[runs["seed"] == 0]
    every = pd.concat([basin, own])
    lowest = every.groupby(["parametrisation", "size"])["loss"].min()
    rows = [
        {
            "rule": row.rule,
            "size": row.size_,
            "rate": row.rate,
            "loss": row.loss,
            "regret": np.nan_to_num(row.loss - lowest[(row.parametrisation, row.size_)], nan=np.inf),
        }
        for row in own.rename(columns={"size": "size_"}).itertuples()
    ]
    return pd.DataFrame(rows)


def judge(runs: pd.DataFrame, margin: float) -> list[Comparison]:
    """Every rule against the law, by the mean loss over sizes, paired by seeds that chose no rate."""
    compared = runs[runs["seed"] != 0]
    means = compared.groupby(["rule", "seed"], sort=True)["loss"].agg(lambda losses: losses.mean(skipna=False))
    losses: Mapping[str, list[float]] = {rule: means[rule].sort_index().tolist() for rule in RULES}
    return compare(losses, LAW, margin)


def winner(found: list[Comparison]) -> str:
    """The law, unless other rules are certainly better (and not equivalent): then the best of them."""
    better = [one for one in found if one.verdict == "better"]
    return min(better, key=lambda one: one.difference).variant if better else LAW
