"""Is a variant better than the reference? Paired differences over seeds, with a verdict that may be "inconclusive".

Two tests for each variant: whether the mean difference is zero (paired t-test), and whether it is smaller than a margin
stated beforehand (two one-sided tests, Schuirmann 1987). Both kinds of p-values are adjusted over the variants of a
study (Benjamini & Hochberg 1995).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import stats

MIN_SEEDS = 3  # below this there is no verdict: an interval from two differences is 13 standard errors wide
ALPHA = 0.05

Verdict = Literal["better", "worse", "equivalent", "inconclusive", "no verdict"]


@dataclass(frozen=True)
class Comparison:
    """One variant against the reference, in the unit of the measure; lower is better.

    difference: mean over seeds of variant - reference, with its 95 % interval [low, high]. p_zero: that there is no
    difference. p_margin: that it is as large as the margin. Both are adjusted over the study's variants.
    """

    variant: str
    seeds: int
    mean: float
    difference: float
    low: float
    high: float
    p_zero: float
    p_margin: float
    verdict: Verdict


def compare(losses: Mapping[str, Sequence[float]], reference: str, margin: float) -> list[Comparison]:
    """Every variant but the reference against it; the i-th losses of all variants are of the same seed.

    A run that diverged (NaN) is infinitely bad: a variant that diverged for a seed where the reference did not is
    worse, and the other way round. Raises ValueError where the numbers of seeds differ.
    """
    pairs = {name: np.nan_to_num(np.asarray(values, float), nan=np.inf) for name, values in losses.items()}
    if len({len(values) for values in pairs.values()}) != 1:
        raise ValueError(f"seeds by variant: { {name: len(values) for name, values in pairs.items()} }; pair them")
    with np.errstate(invalid="ignore"):  # where both diverged, their difference is nothing at all
        found = {name: _tests(values - pairs[reference], margin) for name, values in pairs.items() if name != reference}
    zero = dict(zip(found, adjusted([p for *_, p, _ in found.values()]), strict=True))
    within = dict(zip(found, adjusted([p for *_, p in found.values()]), strict=True))
    return [
        Comparison(
            name,
            len(pairs[name]),
            float(pairs[name].mean()),
            difference,
            low,
            high,
            zero[name],
            within[name],
            _verdict(difference, len(pairs[name]), zero[name], within[name]),
        )
        for name, (difference, low, high, _, _) in found.items()
    ]


def adjusted(p_values: Sequence[float]) -> list[float]:
    """p-values that control the false discovery rate over all of them (Benjamini & Hochberg 1995)."""
    return [float(p) for p in stats.false_discovery_control(p_values)] if p_values else []


def _tests(differences: NDArray[np.float64], margin: float) -> tuple[float, float, float, float, float]:
    """Mean, its 95 % interval, and the p-values of no difference and of one as large as the margin."""
    n, mean = len(differences), float(differences.mean())
    if np.isinf(mean):  # diverged on one side only
        return mean, np.nan, np.nan, 0.0, 1.0
    if n < MIN_SEEDS or np.isnan(mean):
        return mean, np.nan, np.nan, 1.0, 1.0
    error = float(differences.std(ddof=1)) / np.sqrt(n)
    if error == 0:  # bitwise the same in every seed
        return mean, mean, mean, float(mean == 0), float(abs(mean) >= margin)
    t = stats.t(n - 1)
    reach = float(t.ppf(1 - ALPHA / 2)) * error
    p_zero = 2 * float(t.sf(abs(mean) / error))
    p_margin = max(float(t.sf((mean + margin) / error)), float(t.cdf((mean - margin) / error)))
    return mean, mean - reach, mean + reach, p_zero, p_margin


def _verdict(difference: float, seeds: int, p_zero: float, p_margin: float) -> Verdict:
    """Equivalent goes first: a difference that is certain, and certainly too small to matter, does not matter."""
    if seeds < MIN_SEEDS:
        return "no verdict"
    if p_margin < ALPHA:
        return "equivalent"
    if p_zero < ALPHA:
        return "better" if difference < 0 else "worse"
    return "inconclusive"
