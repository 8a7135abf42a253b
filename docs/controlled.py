"""A page of docs/theory/ on a controlled study: verdicts and numbers from its results, whatever the study says now; the
meaning of keys, and sizes of models, by today's preset and code."""

import inspect
import json
import math
import re
from pathlib import Path

import model_sizes
import pandas as pd
import yaml
from reliability import ROOT

from scalinglab.config import tokens_of
from scalinglab.measurements import wording
from scalinglab.model.attention import ATTENTIONS
from scalinglab.model.positions import POSITIONS
from scalinglab.theory.measures import MEASURES
from scalinglab.theory.tables import mean, measured
from scalinglab.training.schedule import steps_of

REGISTRIES = {"model.attention": ATTENTIONS, "model.position": POSITIONS}  # whose kinds say what they are
NOTES = {  # of a measure, on what a reader may take it for
    "noise_scale": "It is of the end of training, when the gradient is small. A batch below it may still cost "
    "much in a short run: what it takes is steps, and no rate makes up for a lack of them.",
    "number_format": "Formats are those of the products; weights, their updates and moments are fp32 in all variants.",
    "leak": "Batch norm is evaluated with running averages, through which nothing leaks: losses of this page do not "
    "gain from looking ahead.",
    "context_length": "(The text as one stream; the study's loss is of windows that begin elsewhere.)",
}


def page(folder: Path) -> str:
    """Question, answer, verdicts, what the variants are, the sweep of rates, and what else was measured."""
    study = json.loads((folder / "protocol.json").read_text(encoding="utf-8"))
    verdicts = pd.read_csv(folder / "verdicts.csv")
    order = [study["reference"], *verdicts["variant"]]
    runs = {variant: pd.read_csv(folder / f"runs/{variant}.csv") for variant in order}
    runs = {variant: table[table["role"] == "run"] for variant, table in runs.items()}
    reference = runs[study["reference"]]
    lines = [
        f"# {study['question']}",
        "",
        wording.in_words(verdicts, study["reference"], study["margin"]),
        "",
        f"On the data of `{study['study']}`: {study['size']}, {study['tokens']} tokens a run, {len(reference)} paired "
        f"seeds. Differences from `{study['reference']}` ({reference['loss'].mean():.3f}), in {study['unit']}; less is "
        f"better. Margin: {study['margin']:g}. Rates tried: {', '.join(f'{rate:g}' for rate in study['rates'])} times "
        "the study's. All words are explained in [the index](README.md#words).",
        "",
        f"![Forest plot](../../results/theory/{study['name']}/forest.png)",
        "",
        "| variant | what it changes | difference | 95 % interval | verdict | rate, times the study's |",
        "|---|---|---|---|---|---|",
        *(
            f"| {row.variant} | {_changes(study['variants'][row.variant], study)} | "
            f"{_difference(row.difference, row.low, row.high, runs[str(row.variant)])} | {row.verdict} | "
            f"{_rate(runs[str(row.variant)], study)} |"
            for row in verdicts.itertuples()
        ),
        "",
        f"`{study['reference']}` itself ({_changes(study['variants'][study['reference']], study)}): "
        f"{_rate(reference, study)} times the study's rate. All variants: {_changes(study['base'], study)}.",
        "",
        *_keys(study),
        *model_sizes.in_words(model_sizes.counts(study, ROOT)),
        "",
        f"![Details](../../results/theory/{study['name']}/details.png)",
    ]
    if columns := measured(reference):
        lines += ["", "**Measured**, means over seeds (dots in the figure):", ""]
        lines += [f"* `{name}`: {_meant(name)}" for name in study["measures"]]
        lines += [
            "",
            "| variant | " + " | ".join(columns) + " |",
            "|---|" + "---|" * len(columns),
            *(
                f"| {variant} | " + " | ".join(_shown(mean(table, column)) for column in columns) + " |"
                for variant, table in runs.items()
            ),
        ]
    return "\n".join([*lines, ""])


def _keys(study: dict) -> list[str]:
    """What the keys mean that the variants change, by the comments of the presets; kinds by their own words."""
    all_changes = [study["base"], *study["variants"].values()]
    values: dict[str, list[str]] = {}
    for changes in all_changes:
        for section, keys in changes.items():
            for key, value in keys.items():
                values.setdefault(f"{section}.{key}", []).append(str(value))
    lines = []
    for key, used in values.items():
        lines.append(f"* `{key}`: {_comment(*key.split('.'))}{_otherwise(key, study)}")
        kinds = REGISTRIES.get(key, {})
        lines += [
            f"    * `{value}`: {_first_paragraph(kinds[value])}" for value in dict.fromkeys(used) if value in kinds
        ]
    return lines


def _otherwise(key: str, study: dict) -> str:
    """What a key is where a variant does not say it, by today's preset; nothing where all say it."""
    section, name = key.split(".")
    if name in study["base"].get(section, {}) or not (path := ROOT / f"presets/{study['study']}.yaml").exists():
        return ""
    return f" (else {yaml.safe_load(path.read_text(encoding='utf-8'))[section][name]})"


def _comment(section: str, key: str) -> str:
    """What stands behind a key in presets/laptop.yaml."""
    text = (ROOT / "presets/laptop.yaml").read_text(encoding="utf-8")
    (body,) = re.findall(rf"^{section}:\n((?:(?:  .*)?\n)*)", text, re.MULTILINE)
    (comment,) = re.findall(rf"^  {key}:[^#\n]*# (.*)$", body, re.MULTILINE)
    return comment


def _first_paragraph(kind: type) -> str:
    return " ".join((inspect.getdoc(kind) or "").split("\n\n")[0].split())


def _meant(measure: str) -> str:
    """What a measure is, as its function says, and what is to be noted of it."""
    said = " ".join((inspect.getdoc(MEASURES[measure]) or "").split())
    return f"{said} {NOTES[measure]}" if measure in NOTES else said


def _difference(difference: float, low: float, high: float, table: pd.DataFrame) -> str:
    """Two cells: the difference and its interval; where runs diverged, how many, and the mean of the others."""
    if math.isfinite(difference):
        return f"{difference:+.3f} | {low:+.3f} to {high:+.3f}"
    if difference < 0:
        return "the reference diverged | "
    loss = table["loss"]
    rest = f", the others have {loss.mean():.3f}" if loss.notna().any() else ""
    return f"{loss.isna().sum()} of {len(loss)} diverged{rest} | "


def _changes(changes: dict, study: dict) -> str:
    """What a variant, or all of them, change of params.yaml; of a batch, how many steps that leaves."""
    shown = []
    for section, values in changes.items():
        for key, value in values.items():
            steps = f" ({steps_of(tokens_of(study['tokens']), value):,} steps)" if key == "batch_tokens" else ""
            shown.append(f"`{section}.{key}: {value}`{steps}")
    return ", ".join(shown) or "as in the study"


def _rate(table: pd.DataFrame, study: dict) -> str:
    """The factor that the sweep chose, and whether it lies at the edge of what was tried."""
    factor = table["factor"].iloc[0]
    edge = wording.at_edge(factor, min(study["rates"]), max(study["rates"]))
    return f"{factor:g}" + (" (the edge of those tried)" if edge else "")


def _shown(value: float) -> str:
    """Four digits that say something."""
    if value != value:
        return ""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
