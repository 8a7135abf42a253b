"""How numbers of compared runs are put into words: runs that diverged, differences with verdicts, edges of what was
tried."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd


def whole_means(runs: pd.DataFrame, by: str, column: str) -> pd.Series:
    """The mean of each group, in their order; NaN where a run of it diverged, so that it is no group's best."""
    return runs.groupby(by, sort=False)[column].agg(lambda values: values.mean(skipna=False))


def mean(values: pd.Series) -> str:
    """`3.100`, or how many diverged and the mean of the others."""
    lost = int(values.isna().sum())
    if not lost:
        return f"{values.mean():.3f}"
    return f"{lost} of {len(values)} diverged" + (f", the others {values.mean():.3f}" if lost < len(values) else "")


def verdict(one: Mapping[str, Any]) -> str:
    """`+0.040 (+0.030 to +0.050), worse`, of a row of theory.comparison.Comparison."""
    if not np.isfinite(one["difference"]):
        return f"diverged, {one['verdict']}"
    interval = f" ({one['low']:+.3f} to {one['high']:+.3f})" if np.isfinite(one["low"]) else ""  # none of few seeds
    return f"{one['difference']:+.3f}{interval}, {one['verdict']}"


def at_edge(value: float, smallest: float, largest: float) -> bool:
    """Whether a value that was chosen among several is the smallest or the largest of them."""
    return smallest < largest and value in (smallest, largest)


def chosen(value: float, smallest: float, largest: float) -> str:
    """What was chosen among values from the smallest to the largest, and whether it is one of these."""
    return f"{value:g}" + (" (edge)" if at_edge(value, smallest, largest) else "")


def code(text: str) -> str:
    """A text as code within a line of Markdown; breaks of lines as arrows."""
    return f"`{' '.join(str(text).replace('`', chr(39)).replace(chr(10), ' ↵ ').split())}`"


def in_words(verdicts: pd.DataFrame, reference: str, margin: float) -> str:
    """A paragraph on rows of theory.comparison.Comparison: by verdict, the largest differences first."""
    groups, said = verdicts.groupby("verdict"), []
    for of, words in (
        ("better", "Better"),
        ("worse", "Worse"),
        ("equivalent", f"Equivalent (certainly less than {margin:g} apart)"),
        ("inconclusive", "Not told apart, nor shown to be equivalent"),
        ("no verdict", "Without a verdict (fewer than 3 seeds)"),
    ):
        if of in groups.groups:
            rows = groups.get_group(of).sort_values("difference", key=abs, ascending=False)
            names = [f"{row.variant} ({_amount(row.difference)})" for row in rows.itertuples()]
            said.append(f"{words}: {'; '.join(names)}.")
    return f"**Against `{reference}`.** {' '.join(said)}"


def _amount(difference: float) -> str:
    """A difference; of runs that diverged, whose they are."""
    if np.isfinite(difference):
        return f"{difference:+.3f}"
    return "the reference diverged" if difference < 0 else "diverged"
