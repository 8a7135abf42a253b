"""Whether one learning rate serves all widths: optima, how they move, what is lost, and which rule to take."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from scalinglab.config import width_of
from scalinglab.theory.comparison import Comparison, compare
from scalinglab.training.schedule import RateLaw
from scalinglab.tuning import BestRate, best_rate, fit

# What is added to the name of a parametrisation whose embedding has a rate of its own, the same at all widths.
# u-mup moves its embedding faster than all else too, and what that alone brings is to be told apart.
FAST = "-fast-embedding"
FAMILIES = ("standard", "mup", "u-mup", f"standard{FAST}", f"mup{FAST}")  # whose losses are measured over rates
LAW = f"standard{FAST}, law"  # the reference, as in the default study: a power law of rates from sweeps
# Whose sweeps each rule takes. Those with one rate take the best of one width.
RULES = {f"{family}, law": family for family in FAMILIES if family.startswith("standard")}
RULES |= {f"{family}, one rate": family for family in FAMILIES}


def follows_width(rule: str) -> bool:
    """Whether its rate is a power law of width."""
    return rule.endswith(", law")


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


def law(found: pd.DataFrame) -> RateLaw:
    """The power law through the best rates of one parametrisation's sizes, as a study takes it (rates)."""
    best = [
        BestRate(row.size_, row.rate, row.loss, row.inside)
        for row in found.rename(columns={"size": "size_"}).itertuples()
    ]
    return fit(best).rounded()


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
    return compare({rule: means.tolist() for rule, means in means_by_seed(runs).items()}, LAW, margin)


def means_by_seed(runs: pd.DataFrame) -> Mapping[str, pd.Series]:
    """Of each rule, the mean loss over sizes by seed, in their order; the seed that chose the rates is left out."""
    compared = runs[runs["seed"] != 0]
    means = compared.groupby(["rule", "seed"], sort=True)["loss"].agg(lambda losses: losses.mean(skipna=False))
    return {rule: means[rule].sort_index() for rule in RULES}


def winner(found: list[Comparison]) -> str:
    """The law, unless other rules are certainly better (and not equivalent): then the best of them."""
    better = [one for one in found if one.verdict == "better"]
    return min(better, key=lambda one: one.difference).variant if better else LAW
