"""Words for numbers of compared runs, above all of those that diverged."""

from dataclasses import asdict

import numpy as np
import pandas as pd

from scalinglab.measurements import wording
from scalinglab.theory.comparison import compare

NAN = float("nan")


def test_a_method_that_diverged_once_is_nobodys_best() -> None:
    runs = pd.DataFrame({"method": ["b", "b", "a", "a"], "loss": [3.0, 3.2, 2.0, NAN]})
    means = wording.whole_means(runs, "method", "loss")
    assert list(means.index) == ["b", "a"], "in the order of the runs"
    assert means["b"] == 3.1
    assert np.isnan(means["a"])
    assert means.idxmin() == "b"


def test_means_say_how_many_diverged() -> None:
    assert wording.mean(pd.Series([3.0, 3.2])) == "3.100"
    assert wording.mean(pd.Series([3.0, NAN, NAN])) == "2 of 3 diverged, the others 3.000"
    assert wording.mean(pd.Series([NAN, NAN])) == "2 of 2 diverged"


def test_verdicts_in_words() -> None:
    found = compare({"a": [3.0, 3.1, 3.2], "b": [3.1, 3.2, 3.3], "c": [3.0, NAN, 3.2]}, "a", 0.02)
    assert [wording.verdict(asdict(one)) for one in found] == ["+0.100 (+0.100 to +0.100), worse", "diverged, worse"]


def test_choices_at_the_edge_of_what_was_tried() -> None:
    assert wording.chosen(2, 0.5, 2) == "2 (edge)"
    assert wording.chosen(0.5, 0.5, 2) == "0.5 (edge)"
    assert wording.chosen(1, 0.5, 2) == "1"
    assert wording.chosen(1, 1, 1) == "1", "nothing else was tried"


def test_a_paragraph_of_verdicts_with_the_largest_differences_first() -> None:
    losses = {
        "a": [3.0, 3.1, 3.2],
        "b": [3.1, 3.2, 3.31],
        "c": [3.0, NAN, 3.2],
        "d": [3.5, 3.6, 3.71],
        "e": [3.0, 3.1, 3.2],
    }
    found = pd.DataFrame([asdict(one) for one in compare(losses, "a", 0.02)])
    assert wording.in_words(found, "a", 0.02) == (
        "**Against `a`.** Worse: c (diverged); d (+0.503); b (+0.103). Equivalent (certainly less than 0.02 apart): "
        "e (+0.000)."
    )
    failed = pd.DataFrame([asdict(one) for one in compare({"a": [3.0, NAN, 3.2], "b": [3.1, 3.2, 3.3]}, "a", 0.02)])
    assert wording.in_words(failed, "a", 0.02) == "**Against `a`.** Better: b (the reference diverged)."


def test_one_difference_has_no_interval() -> None:
    (found,) = compare({"a": [3.0], "b": [3.1]}, "a", 0.02)
    assert wording.verdict(asdict(found)) == "+0.100, no verdict"


def test_texts_are_shown_within_a_line() -> None:
    assert wording.code("a `b`\n  c") == "`a 'b' ↵ c`"
