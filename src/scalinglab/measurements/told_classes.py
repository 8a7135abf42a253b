"""What fine-tuning says of pretraining: classes told by all weights or the head alone, with pretraining and without."""

from typing import Any

import pandas as pd

from scalinglab.theory.comparison import compare

HOLLOW = {"markerfacecolor": "white"}  # of a head alone
TOLD: dict[str, tuple[str, dict[str, Any]]] = {  # classification: a column, what it is called, how it is drawn
    "accuracy": ("all weights, pretrained", {"color": "#2166ac", "marker": "o"}),
    "accuracy untrained": ("all weights, untrained", {"color": "#b2182b", "marker": "s"}),
    "accuracy frozen": ("head alone, pretrained", {"color": "#2166ac", "marker": "o", **HOLLOW}),
    "accuracy frozen untrained": ("head alone, untrained", {"color": "#b2182b", "marker": "s", **HOLLOW}),
}


def what_pretraining_does(runs: pd.DataFrame, margin: float, of_tokens: float) -> str:
    """In words: which variants tell classes better with pretraining, which worse, by paired seeds and one margin.

    of_tokens: the accuracy of single tokens.
    """
    said = []
    for column, how in (("accuracy", "Of all weights"), ("accuracy frozen", "Of the head alone")):
        groups: dict[str, list[str]] = {}
        for name, own in runs.groupby("variant", sort=False):
            errors = {"with": list(1 - own[column]), "without": list(1 - own[f"{column} untrained"])}
            (found,) = compare(errors, "without", margin)
            groups.setdefault(found.verdict, []).append(f"{name} ({-found.difference:+.1%})")
        words = {"better": "pretraining helps {}", "worse": "it hurts {}", "equivalent": "it changes nothing for {}"}
        rest = [name for verdict, names in groups.items() if verdict not in words for name in names]
        parts = [text.format(", ".join(groups[verdict])) for verdict, text in words.items() if verdict in groups]
        parts += [f"it is not told apart from none for {', '.join(rest)}"] if rest else []
        said.append(f"{how}: {'; '.join(parts)}.")
    return (
        f"**What pretraining does** for classification, in accuracy over paired seeds, margin {margin:g}. "
        f"{' '.join(said)} Single tokens tell much here: naive Bayes, which knows no order and nothing but the same "
        f"windows, is right for {of_tokens:.1%}."
    )
