"""What was seen before at 0.1M parameters (3 seeds, one learning rate for all), and whether it comes out here."""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from scalinglab.measurements import wording
from scalinglab.theory.comparison import compare
from scalinglab.theory.tables import of_seeds

# Of a study, pairs: the first is better than the second; or with "~", the two cannot be told apart.
KNOWN = {
    "attention_scale": [("scaled", "<", "unscaled")],
    "positions": [("rope", "<", "learned"), ("learned", "<", "none"), ("rope", "<", "none")],
    "feed_forward": [("swiglu", "<", "identity"), ("gelu", "<", "identity"), ("relu", "<", "identity")],
    "norms": [
        ("layernorm", "<", "batchnorm"),
        ("layernorm", "<", "none"),
        ("rmsnorm", "<", "batchnorm"),
        ("rmsnorm", "<", "none"),
        ("rmsnorm", "~", "layernorm"),
    ],
    "attention_kinds": [("multi-head", "~", "multi-query")],
    "mixers": [("causal", "<", "linear")],
}
# What is said of the verdict on the second.
OUTCOMES = {
    "<": {"worse": "as known", "better": "**the reverse**"},
    "~": {"equivalent": "as known", "inconclusive": "not told apart here either"},
}
LEGEND = (
    "What was seen before at 0.1M parameters with 3 seeds, and here: the second's loss minus the first's, paired, each "
    "pair alone (p-values are not adjusted)."
)
GPU = "benchmarks/results/gpu_studies.json"


def section(root: Path, name: str) -> str:
    """The lines of one study; empty where nothing is known of it or it has no results."""
    rows = _rows(root, name)
    if not rows:
        return ""
    head = [
        "",
        f"**Known results.** {LEGEND}",
        "",
        "| known | here | on a GPU, if measured there |",
        "|---|---|---|",
    ]
    return "\n".join([*head, *rows, ""])


def index(root: Path) -> str:
    """All that is known, with links to the pages."""
    rows = [row.replace("| ", f"| [{name}]({name}.md) | ", 1) for name in KNOWN for row in _rows(root, name)]
    head = ["## Known results", "", LEGEND, "", "| study | known | here | on a GPU |", "|---|---|---|---|"]
    return "\n".join([*head, *rows, ""]) if rows else ""


def _rows(root: Path, name: str) -> list[str]:
    folder = root / "results/theory" / name
    if name not in KNOWN or not (folder / "protocol.json").exists():
        return []
    protocol = json.loads((folder / "protocol.json").read_text(encoding="utf-8"))
    here = {variant: of_seeds(pd.read_csv(folder / f"runs/{variant}.csv")) for variant in protocol["variants"]}
    path = root / GPU
    there = json.loads(path.read_text(encoding="utf-8")).get(name, {}) if path.exists() else {}
    return [
        f"| `{first}` {'is better than' if sign == '<' else 'is not told apart from'} `{second}` | "
        f"{_found(here, first, sign, second, protocol['margin'])} | "
        f"{_found(there.get('losses', {}), first, sign, second, protocol['margin'])} |"
        for first, sign, second in KNOWN[name]
    ]


def _found(losses: Mapping[str, Sequence[float | None]], first: str, sign: str, second: str, margin: float) -> str:
    """The verdict, and whether it is what is known; empty where one of the two was not run."""
    if first not in losses or second not in losses:
        return ""
    pair = {name: list(pd.Series(losses[name], dtype=float)) for name in (first, second)}
    (found,) = compare(pair, first, margin)
    said = wording.verdict(vars(found))
    if lost := ", ".join(
        f"{sum(math.isnan(loss) for loss in values)} of {len(values)} of `{name}`"
        for name, values in pair.items()
        if any(map(math.isnan, values))
    ):
        said = f"diverged: {lost}, at the rate that seed 0 chose; {found.verdict}"
    return f"{said}: {OUTCOMES[sign].get(found.verdict, '**not seen**')}"
