"""The pages of docs/theory/, one a question that has results, and their index (see update_readme.py)."""

import inspect
import json
import math
from pathlib import Path

import pandas as pd

from scalinglab import pipeline
from scalinglab.theory.course import by_lecture
from scalinglab.theory.measures import MEASURES
from scalinglab.theory.tables import mean, measured

ROOT = Path(__file__).parent.parent
# Results from before the embedding had a rate of its own in the study. A name goes when its question is run anew.
SLOW_EMBEDDING = {
    "attention_scale",
    "attention_maps",
    "attention_kinds",
    "positions",
    "feed_forward",
    "norms",
    "precision",
    "number_formats",
    "tokenizers",
    "decoding",
    "retrieval",
    "adaptation",
    "distillation",
}
THEN = "Models of this page are from before the study took a rate of its own for the embedding: `embedding_rate: 0`.\n"
NOTES = {  # of a measure, on what a reader may take it for
    "noise_scale": "It is of the end of training, when the gradient is small. A batch below it may still cost "
    "much in a short run: what it takes is steps, and no rate makes up for a lack of them.",
}
HEAD = "<!-- written by docs/update_readme.py from results/theory/ -->"
INDEX = """# A course on language models, measured

One question of a course on language models each, answered on models of this repository. Some are measured once, and
the page says what was seen. Most are controlled studies: each variant of a study is
trained at the best of a few learning rates, chosen on a seed that is compared nowhere; the compared seeds are paired:
variant and reference share initial seeds and the order of the data. The verdict is *equivalent* where the difference is
certainly smaller than a margin stated beforehand (two one-sided tests), else *better* or *worse* where it is certainly
not zero, else *inconclusive*; p-values are adjusted over the variants of a study (Benjamini & Hochberg 1995).

```sh
scalinglab theory                        # lists the questions
scalinglab theory positions --quick      # a small form in a few minutes: fewer tokens and seeds, one rate
snakemake --cores 2 theory_positions     # the whole; `theory` for all of them
```

Widths and tokens suit the `laptop` study. Where a study with longer warmup or batches stands in `params.yaml` (`gpu`),
raise `tokens` in the file, or set its `training` under `base`.

## Add a variant

A variant is a line under `variants` in `studies/<name>.yaml`: sections and keys of `params.yaml` that it changes. This
change adds an activation (a test applies it):

```diff
--- a/src/scalinglab/model/feed_forward.py
+++ b/src/scalinglab/model/feed_forward.py
@@ -76,3 +76,4 @@
     "relu2": Kind(Plain, squared_relu),
     "identity": Kind(Plain, identity),
+    "mish": Kind(Plain, F.mish),  # Misra 2019
 }
--- a/studies/feed_forward.yaml
+++ b/studies/feed_forward.yaml
@@ -22,2 +22,3 @@
       relu2: {model: {feed_forward: relu2, ff_ratio: 4.125}}
       identity: {model: {feed_forward: identity, ff_ratio: 4.125}}
+      mish: {model: {feed_forward: mish, ff_ratio: 4.125}}
```

`scalinglab theory feed_forward --quick` looks at it in minutes; `snakemake --cores 2 theory_feed_forward` trains it
with all seeds and gives the verdict.
"""


def pages(root: Path = ROOT) -> dict[str, str]:
    """Path below the root -> text, for the index and each study whose verdicts are there."""
    questions = _questions(root)
    found = {}
    for name in questions:
        folder = root / "results/theory" / name
        if (folder / "protocol.json").exists():
            found[name] = page(folder)
        elif (folder / "findings.md").exists():
            found[name] = measured_page(folder)
        if name in found and name in SLOW_EMBEDDING:
            found[name] += f"\n{THEN}"
    rows = [
        f"| {lecture} | {f'[{name}]({name}.md)' if name in found else name} | {questions[name]['question']} | "
        f"{', '.join(questions[name].get('variants', ['measured']))} |"
        for lecture, names in by_lecture(questions).items()
        for name in names
    ]
    head = ["## The course", "", "| lecture | name | question | variants |", "|---|---|---|---|"]
    index = "\n".join([HEAD, "", INDEX, *head, *rows, ""])
    return {"docs/theory/README.md": index} | {f"docs/theory/{name}.md": text for name, text in found.items()}


def _questions(root: Path) -> dict[str, dict]:
    """All that is asked in studies/, by name."""
    asked = pipeline.read_theory(root)
    return {**asked.get("measured", {}), **asked.get("theory", {})}


def gallery(root: Path = ROOT) -> str:
    """A line for each page, by lecture, with its verdicts in words."""
    questions, lines = _questions(root), []
    for lecture, names in by_lecture(questions).items():
        said = {name: _said(root / "results/theory" / name) for name in names}
        links = [
            f"    * [{questions[name]['question']}](docs/theory/{name}.md){text}"
            for name, text in said.items()
            if text is not None
        ]
        lines += [f"* {lecture}", *links] if links else []
    return "\n".join(lines)


def _said(folder: Path) -> str | None:
    """The verdicts of a controlled study in words; nothing of a measurement; None where there are no results."""
    if (folder / "protocol.json").exists():
        verdicts = pd.read_csv(folder / "verdicts.csv")
        protocol = json.loads((folder / "protocol.json").read_text(encoding="utf-8"))
        groups = verdicts.groupby("verdict", sort=False)
        words = "; ".join(f"{verdict}: {', '.join(group['variant'])}" for verdict, group in groups)
        return f" Against {protocol['reference']}, {words}."
    return "" if (folder / "findings.md").exists() else None


def measured_page(folder: Path) -> str:
    """One measurement: its question and what it found, with its figures."""
    asked = json.loads((folder / "measurement.json").read_text(encoding="utf-8"))
    text = (folder / "findings.md").read_text(encoding="utf-8")
    text = text.replace("](", f"](../../results/theory/{asked['name']}/")
    settings = ", ".join(f"{key} {value}" for key, value in asked["settings"].items())
    return f"{HEAD}\n\n# {asked['question']}\n\n{text}\nWith the parameters of `{asked['study']}`; {settings}.\n"


def page(folder: Path) -> str:
    """One study: its question, verdicts, and what else was measured; all from its results, whatever it says now."""
    study = json.loads((folder / "protocol.json").read_text(encoding="utf-8"))
    verdicts = pd.read_csv(folder / "verdicts.csv")
    runs = {variant: pd.read_csv(folder / f"runs/{variant}.csv") for variant in study["variants"]}
    runs = {variant: table[table["role"] == "run"] for variant, table in runs.items()}
    reference = runs[study["reference"]]
    lines = [
        HEAD,
        "",
        f"# {study['question']}",
        "",
        f"On the data of `{study['study']}`: {study['size']}, {study['tokens']} tokens a run, {len(reference)} paired "
        f"seeds. Differences from `{study['reference']}` ({reference['loss'].mean():.3f}), in {study['unit']}; less is "
        f"better. Margin: {study['margin']:g}. Rates tried: {', '.join(f'{rate:g}' for rate in study['rates'])} times "
        "the study's.",
        "",
        f"![Forest plot](../../results/theory/{study['name']}/forest.png)",
        "",
        "| variant | what it changes | difference | 95 % interval | verdict | rate, times the study's |",
        "|---|---|---|---|---|---|",
        *(
            f"| {row.variant} | {_changes(study['variants'][row.variant])} | "
            f"{_difference(row.difference, row.low, row.high, runs[str(row.variant)])} | {row.verdict} | "
            f"{_rate(runs[str(row.variant)], study)} |"
            for row in verdicts.itertuples()
        ),
        "",
        in_words(verdicts, study),
        "",
        f"`{study['reference']}` itself ({_changes(study['variants'][study['reference']])}): {_rate(reference, study)} "
        f"times the study's rate. All variants: {_changes(study['base'])}.",
    ]
    lines += ["", f"![Details](../../results/theory/{study['name']}/details.png)"]
    if measures := measured(reference):
        lines += ["", "**Measured**, means over seeds (dots in the figure):", ""]
        lines += [f"* `{name}`: {_meant(name)}" for name in study["measures"]]
        lines += [
            "",
            "| variant | " + " | ".join(measures) + " |",
            "|---|" + "---|" * len(measures),
            *(
                f"| {variant} | " + " | ".join(_shown(mean(table, column)) for column in measures) + " |"
                for variant, table in runs.items()
            ),
        ]
    return "\n".join([*lines, ""])


def in_words(verdicts: pd.DataFrame, study: dict) -> str:
    """The verdicts as a paragraph, the largest differences first."""
    groups, said = verdicts.groupby("verdict"), []
    for verdict, words in (
        ("better", "Better"),
        ("worse", "Worse"),
        ("equivalent", "Equivalent (certainly less than {margin:g} apart)"),
        ("inconclusive", "Not told apart, nor shown to be equivalent"),
        ("no verdict", "Without a verdict (fewer than 3 seeds)"),
    ):
        if verdict in groups.groups:
            rows = groups.get_group(verdict).sort_values("difference", key=abs, ascending=False)
            names = [
                f"{row.variant} ({row.difference:+.3f})"
                if math.isfinite(row.difference)
                else f"{row.variant} (diverged)"
                for row in rows.itertuples()
            ]
            said.append(f"{words.format(**study)}: {', '.join(names)}.")
    return f"**Against `{study['reference']}`.** {' '.join(said)}"


def _meant(measure: str) -> str:
    """What a measure is, as its function says, and what is to be noted of it."""
    said = " ".join((inspect.getdoc(MEASURES[measure]) or "").split())
    return f"{said} {NOTES[measure]}" if measure in NOTES else said


def _difference(difference: float, low: float, high: float, table: pd.DataFrame) -> str:
    """Two cells: the difference and its interval; where runs diverged, how many, and the mean of the others."""
    if math.isfinite(difference):
        return f"{difference:+.3f} | {low:+.3f} to {high:+.3f}"
    loss = table["loss"]
    rest = f", the others have {loss.mean():.3f}" if loss.notna().any() else ""
    return f"{loss.isna().sum()} of {len(loss)} diverged{rest} | "


def _changes(changes: dict) -> str:
    """What a variant, or all of them, change of params.yaml."""
    keys = [f"`{section}.{key}: {value}`" for section, values in changes.items() for key, value in values.items()]
    return ", ".join(keys) or "as in the study"


def _rate(table: pd.DataFrame, study: dict) -> str:
    """The factor that the sweep chose, and whether it lies at the edge of what was tried."""
    factor = table["factor"].iloc[0]
    edge = len(study["rates"]) > 1 and factor in (min(study["rates"]), max(study["rates"]))
    return f"{factor:g}" + (" (the edge of those tried)" if edge else "")


def _shown(value: float) -> str:
    return "" if value != value else f"{value:.3f}"
