"""The pages of docs/theory/, one a question that has results, and their index (see update_readme.py)."""

import json
import re
from pathlib import Path

import known
import norm_parts
import on_gpu
import pandas as pd
import vocabulary
from controlled import page

from scalinglab import pipeline
from scalinglab.theory.course import by_lecture

ROOT = Path(__file__).parent.parent
HEAD = "<!-- written by docs/update_readme.py from results/theory/ -->"
INDEX = """# A course on language models, measured

One question of a course on language models each, answered on models of this repository. Some are measured once, and
the page says what was seen. Most are controlled studies: each variant of a study is
trained at the best of a few learning rates, chosen on a seed that is compared nowhere; the compared seeds are paired:
variant and reference share initial seeds and the order of the data. The verdict is *equivalent* where the difference is
certainly smaller than a margin stated beforehand (two one-sided tests), else *better* or *worse* where it is certainly
not zero, else *inconclusive*; p-values are adjusted over the variants of a study (Benjamini & Hochberg 1995). Intervals
are of one difference alone: where one touches zero or the margin, the verdict may be another.

```sh
scalinglab theory                        # lists the questions
scalinglab theory positions --quick      # a small form in a few minutes: fewer tokens and seeds, one rate
snakemake --cores 2 theory_positions     # the whole; `theory` for all of them
```

The quick form reads the study's data: after a run of the study, or `snakemake --cores 2
results/laptop/encode/train.npy`.

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
    questions, asides = _questions(root), on_gpu.sections(root)
    asides["norms"] = asides.get("norms", "") + norm_parts.section(root)
    found = {}
    for name in questions:
        folder = root / "results/theory" / name
        if (folder / "protocol.json").exists():
            found[name] = f"{HEAD}\n\n{page(folder)}"
        elif (folder / "findings.md").exists():
            found[name] = measured_page(folder)
        if name in found:
            found[name] += known.section(root, name) + asides.get(name, "")
    rows = [
        f"| {lecture} | {f'[{name}]({name}.md)' if name in found else name} | {questions[name]['question']} | "
        f"{', '.join(questions[name].get('variants', ['measured']))} |"
        for lecture, names in by_lecture(questions).items()
        for name in names
    ]
    head = ["## The course", "", "| lecture | name | question | variants |", "|---|---|---|---|"]
    index = "\n".join([HEAD, "", INDEX, *_times(root), vocabulary.section(), *head, *rows, "", known.index(root)])
    return {"docs/theory/README.md": index} | {f"docs/theory/{name}.md": text for name, text in found.items()}


def _times(root: Path) -> list[str]:
    """How long questions take, where that was measured (benchmarks/theory_time.py)."""
    path = root / "benchmarks/results/theory_time.json"
    if not path.exists():
        return []
    measured = json.loads(path.read_text(encoding="utf-8"))
    table, cores = pd.DataFrame(measured["table"]).T, measured["cores"]
    # Jobs of a question share the cores, but none of them is shorter than its longest job.
    whole = table[["whole CPU s"]].div(cores).join(table["longest job CPU s"]).max(axis=1).dropna() / 60
    quick = table["quick wall s"].dropna()
    long = ", ".join(f"{name} ({minutes:.0f})" for name, minutes in whole[whole.round() > 20].items()) or "none"
    return [
        "**Times**, by CPU seconds that were counted on a shared machine (benchmarks/theory_time.py): on "
        f"{cores} cores the whole of a question takes {whole.min():.0f} to {whole.max():.0f} minutes, in the median "
        f"{whole.median():.0f}; longer than 20: {long}. Quick forms took {quick.min():.0f} to {quick.max():.0f} s, "
        f"by the clock ({len(quick)} were timed).",
        "",
    ]


def _questions(root: Path) -> dict[str, dict]:
    """All that is asked in studies/, by name."""
    asked = pipeline.read_theory(root)
    return {**asked.get("measured", {}), **asked.get("theory", {})}


def gallery(root: Path = ROOT) -> str:
    """A line for each page, by lecture, with what was found in words."""
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
    """The verdicts of a controlled study, or what a measurement says in short; None where there are no results."""
    if (folder / "protocol.json").exists():
        verdicts = pd.read_csv(folder / "verdicts.csv")
        protocol = json.loads((folder / "protocol.json").read_text(encoding="utf-8"))
        groups = verdicts.groupby("verdict", sort=False)
        words = "; ".join(f"{verdict}: {', '.join(group['variant'])}" for verdict, group in groups)
        return f" Against {protocol['reference']}, {words}."
    path = folder / "findings.md"
    return f" {_first_sentence(path.read_text(encoding='utf-8'))}" if path.exists() else None


def _first_sentence(findings: str) -> str:
    """Of the first paragraph, as plain text; all of it where that is verdicts."""
    paragraph = " ".join(findings.split("\n\n")[0].split()).removeprefix("**In short.** ")
    if paragraph.startswith("**Against"):
        return re.sub(r"[*`]", "", paragraph)
    return re.split(r"(?<=\.)\s+(?=[A-Z*])", paragraph)[0].replace("`", "")


def measured_page(folder: Path) -> str:
    """One measurement: its question and what it found, with its figures."""
    asked = json.loads((folder / "measurement.json").read_text(encoding="utf-8"))
    text = (folder / "findings.md").read_text(encoding="utf-8")
    text = re.sub(r"(!\[[^\]]*\]\()", rf"\1../../results/theory/{asked['name']}/", text)
    settings = _in_words(asked["settings"])
    return f"{HEAD}\n\n# {asked['question']}\n\n{text}\nWith the parameters of `{asked['study']}`; {settings}.\n"


def _in_words(settings: dict) -> str:
    """Keys and values, without the braces and quotes of a mapping within."""
    return ", ".join(
        f"{key} ({_in_words(value)})" if isinstance(value, dict) else f"{key} {value}"
        for key, value in settings.items()
    )
