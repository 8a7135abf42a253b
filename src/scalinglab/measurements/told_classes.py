"""What fine-tuning says of pretraining: classes told by all weights or the head alone, with pretraining and without."""

from typing import Any

import numpy as np
import pandas as pd

from scalinglab.theory.comparison import compare

MARGIN = 0.02  # of accuracy
NONE = "none"
WORDS = {
    "better": "better with it",
    "worse": "worse",
    "equivalent": "changed by less than the margin",
    "inconclusive": "not told apart",
    "no verdict": "without a verdict (fewer than 3 seeds)",
}
HOLLOW = {"markerfacecolor": "white"}  # of a head alone
TOLD: dict[str, tuple[str, dict[str, Any]]] = {  # classification: a column, what it is called, how it is drawn
    "accuracy": ("all weights, pretrained", {"color": "#2166ac", "marker": "o"}),
    "accuracy untrained": ("all weights, untrained", {"color": "#b2182b", "marker": "s"}),
    "accuracy frozen": ("head alone, pretrained", {"color": "#2166ac", "marker": "o", **HOLLOW}),
    "accuracy frozen untrained": ("head alone, untrained", {"color": "#b2182b", "marker": "s", **HOLLOW}),
}


def what_pretraining_does(runs: pd.DataFrame, of_tokens: float) -> str:
    """In words: which variants tell classes better with pretraining, which worse, over paired seeds.

    of_tokens: the accuracy of single tokens. p-values are adjusted over all variants and both ways of learning.
    """
    ways = {"Of all weights": "accuracy", "Of the head alone": "accuracy frozen"}
    more = {
        (way, str(name)): list(own[f"{column} untrained"] - own[column])  # errors: fewer are better
        for way, column in ways.items()
        for name, own in runs.groupby("variant", sort=False)
    }
    places = {str(i): key for i, key in enumerate(more)}
    errors = {place: more[key] for place, key in places.items()} | {NONE: [0.0] * len(next(iter(more.values())))}
    found = {places[one.variant]: one for one in compare(errors, NONE, MARGIN)}
    said = []
    for way in ways:
        parts = []
        for verdict, words in WORDS.items():
            of = [(name, one) for (its, name), one in found.items() if its == way and one.verdict == verdict]
            names = [f"{name} ({-one.difference:+.1%})" for name, one in of if np.isfinite(one.difference)]
            names += [f"{name} (some runs diverged)" for name, one in of if not np.isfinite(one.difference)]
            parts += [f"{words}: {'; '.join(names)}"] if names else []
        said.append(f"{way}: {'. '.join(part[0].upper() + part[1:] for part in parts)}.")
    return (
        f"**What pretraining does** for classification, in accuracy over paired seeds (margin {MARGIN:.0%}). "
        f"{' '.join(said)} Naive Bayes of single tokens, which knows no order and nothing but the same windows, is "
        f"right for {of_tokens:.1%}."
    )
