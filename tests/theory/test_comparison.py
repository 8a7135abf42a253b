"""Verdicts: against scipy's tests, by their error rates on simulated studies, and where there is none."""

import numpy as np
import pytest
from scipy import stats

from scalinglab.theory.comparison import ALPHA, Comparison, adjusted, compare

REFERENCE = [3.00, 3.02, 2.99, 3.01, 3.03]


def one(differences: list[float], margin: float = 0.02) -> Comparison:
    losses = {"a": REFERENCE, "b": [x + d for x, d in zip(REFERENCE, differences, strict=False)]}
    losses["a"] = REFERENCE[: len(differences)]
    (found,) = compare(losses, "a", margin)
    return found


@pytest.mark.parametrize(
    ("differences", "verdict"),
    [
        ([0.10, 0.12, 0.09, 0.11, 0.10], "worse"),
        ([-0.10, -0.12, -0.09, -0.11, -0.10], "better"),
        ([0.001, -0.002, 0.002, 0.0, -0.001], "equivalent"),
        ([0.005, 0.006, 0.005, 0.004, 0.005], "equivalent"),  # certain, and too small to matter
        ([0.1, -0.1, 0.05, -0.04, 0.02], "inconclusive"),
        ([0.0, 0.0, 0.0, 0.0, 0.0], "equivalent"),
        ([0.1, 0.1, 0.1, 0.1, 0.1], "worse"),
        ([0.1, float("nan"), 0.1, 0.1, 0.1], "worse"),
        ([0.1, 0.1], "no verdict"),
    ],
)
def test_verdicts(differences: list[float], verdict: str) -> None:
    assert one(differences).verdict == verdict


def test_the_reference_may_be_what_diverges() -> None:
    nan = float("nan")
    found = compare({"a": [3, nan, 3], "b": [3.1, 3.1, 3.1], "c": [3, nan, 3]}, "a", 0.02)
    assert [one.verdict for one in found] == ["better", "inconclusive"]


def test_interval_and_p_values_are_those_of_scipy() -> None:
    differences = [0.03, 0.01, 0.02, 0.05, 0.00]
    found = one(differences, margin=0.04)
    plain = stats.ttest_1samp(differences, 0)
    assert found.p_zero == pytest.approx(plain.pvalue)
    assert (found.low, found.high) == pytest.approx(tuple(plain.confidence_interval(0.95)))
    sides = [
        stats.ttest_1samp(differences, -0.04, alternative="greater").pvalue,
        stats.ttest_1samp(differences, 0.04, alternative="less").pvalue,
    ]
    assert found.p_margin == pytest.approx(max(sides))


def test_adjusted_is_the_textbook_example() -> None:
    """Benjamini & Hochberg 1995, section 4.1: of these 15, the first four are rejected at 0.05."""
    p_values = [0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344, 0.0459, 0.3240, 0.4262, 0.5719, 0.6528,
                0.7590, 1.0000]  # fmt: skip
    assert sum(p < ALPHA for p in adjusted(p_values)) == 4
    assert adjusted([]) == []


def test_error_rates_are_as_stated() -> None:
    """2,000 studies of 4 variants and 5 seeds: how often a verdict is wrong, where nothing or the margin is true."""
    rng = np.random.default_rng(0)
    for truth, wrong in ((0.0, {"better", "worse"}), (0.02, {"equivalent"})):
        studies = 0
        for _ in range(2000):
            losses = {"a": list(rng.normal(3, 0.01, 5))}
            losses |= {name: list(rng.normal(3 + truth, 0.01, 5)) for name in "bcde"}
            studies += any(found.verdict in wrong for found in compare(losses, "a", 0.02))
        assert studies / 2000 < 0.065, truth


def test_unpaired_seeds_are_refused() -> None:
    with pytest.raises(ValueError, match="pair them"):
        compare({"a": [1, 2, 3], "b": [1, 2]}, "a", 0.02)
