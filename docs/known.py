"""What courses teach of controlled studies and what was seen before at this size, and whether it comes out here."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from scalinglab.measurements import wording
from scalinglab.theory.comparison import compare

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
EXPECTED = {"<": {"worse"}, "~": {"inconclusive", "equivalent"}}  # of the second, beside the first
GPU = "benchmarks/results/gpu_studies.json"


def section(root: Path, name: str) -> str:
    """The lines of one study; empty where nothing is known of it or it has no results."""
    rows = _rows(root, name)
    if not rows:
        return ""
    head = [
        "",
        "**Known results.** What is taught, or was seen before at 0.1M parameters with 3 seeds, and the paired "
        "difference of the second from the first here (each pair alone, its p-values not adjusted).",
        "",
        "| known | here | on a GPU, if measured there |",
        "|---|---|---|",
    ]
    return "\n".join([*head, *rows, ""])


def index(root: Path) -> str:
    """All that is known, with links to the pages."""
    rows = [row.replace("| ", f"| [{name}]({name}.md) | ", 1) for name in KNOWN for row in _rows(root, name)]
    head = ["## Known results", "", "| study | known | here | on a GPU |", "|---|---|---|---|"]
    return "\n".join([*head, *rows, ""]) if rows else ""


def _rows(root: Path, name: str) -> list[str]:
    folder = root / "results/theory" / name
    if name not in KNOWN or not (folder / "protocol.json").exists():
        return []
    protocol = json.loads((folder / "protocol.json").read_text(encoding="utf-8"))
    here = {variant: _losses(folder / f"runs/{variant}.csv") for variant in protocol["variants"]}
    path = root / GPU
    there = json.loads(path.read_text(encoding="utf-8")).get(name, {}) if path.exists() else {}
    return [
        f"| `{first}` {'is better than' if sign == '<' else 'is not told apart from'} `{second}` | "
        f"{_found(here, first, sign, second, protocol['margin'])} | "
        f"{_found(there.get('losses', {}), first, sign, second, protocol['margin'])} |"
        for first, sign, second in KNOWN[name]
    ]


def _losses(path: Path) -> list[float]:
    runs = pd.read_csv(path)
    return list(runs[runs["role"] == "run"].sort_values("seed")["loss"])


def _found(losses: Mapping[str, Sequence[float | None]], first: str, sign: str, second: str, margin: float) -> str:
    """The verdict, and whether it is what is known; empty where one of the two was not run."""
    if first not in losses or second not in losses:
        return ""
    pair = {name: list(pd.Series(losses[name], dtype=float)) for name in (first, second)}
    (found,) = compare(pair, first, margin)
    said = wording.verdict(vars(found))
    if found.verdict in EXPECTED[sign]:
        return f"{said}: as known"
    reversed_ = sign == "<" and found.verdict == "better"
    return f"{said}: **{'the reverse' if reversed_ else 'not seen'}**"
