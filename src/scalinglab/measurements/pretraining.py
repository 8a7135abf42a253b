"""What the questions of objectives and of architectures share: runs, verdicts on a common measure, tables and figures.

Compared is only what all models are asked alike: tokens of text given those before them, last answers of skill
documents, and classes of windows of text after fine-tuning. Losses of different objectives are refused.
"""

from collections.abc import Mapping
from dataclasses import asdict

import pandas as pd
from matplotlib.figure import Figure

from scalinglab.config import Study
from scalinglab.figures import forest
from scalinglab.figures.style import SKILL_TITLES, new_figure, ordered_style
from scalinglab.measurements import wording
from scalinglab.measurements.told_classes import TOLD, what_pretraining_does
from scalinglab.objectives.scores import check_comparable
from scalinglab.parts import Tables
from scalinglab.parts.objectives import Settings
from scalinglab.stages.objective_runs import GIVEN, Runs
from scalinglab.stages.paired import Row
from scalinglab.theory.comparison import compare
from scalinglab.theory.tables import by_seed, comparisons
from scalinglab.wilson import wilson

# What is fine-tuned at the factor in a column.
TUNED = {
    "tuning factor": "all weights",
    "tuning factor untrained": "all weights, untrained",
    "tuning factor frozen": "head alone",
    "tuning factor frozen untrained": "head alone, untrained",
}
UNITS = {"suffix nats": "nats a token of the suffix", "loss": "nats a target"}  # others are shares


def combine(settings: Settings, study: Study, found: Mapping[str, Tables]) -> Tables:
    """Tables `runs`, a row each; `differences` from the reference, a row a variant; `task`, of classification; and
    `bounds`, between which answers of skills lie."""
    runs = Runs(settings, study)
    check_comparable(settings.compare, runs.objectives)
    rows: list[Row] = [row for name in settings.variants for row in found[name]["runs"]]
    losses = {
        name: [row[settings.compare] for row in rows if row["variant"] == name and row["role"] == "run"]
        for name in settings.variants
    }
    judged = compare(losses, settings.reference, settings.margin)
    asked: Row = {"compare": settings.compare, "margin": settings.margin, "reference": settings.reference}
    windows = runs.windows
    task: Row = {
        "classes": len(windows.names),
        "names": " ".join(name.split("/")[-1] for name in windows.names),
        "train": len(windows.train_R),
        "test": len(windows.test_R),
        "majority": windows.majority,
        "single tokens": windows.told_by_single_tokens(),
        "documents": settings.documents,
        "rows": settings.rows,
        "size": settings.size,
        "steps": settings.fine_tuning.steps,
        "slowest": min(settings.fine_tuning.rates),
        "fastest": max(settings.fine_tuning.rates),
    }
    measured = {column for row in rows for column in row} - {"variant", *GIVEN}
    columns = ["variant", *GIVEN, *sorted(measured)]
    return {
        "runs": [{column: row.get(column, float("nan")) for column in columns} for row in rows],
        "differences": [asked | asdict(one) for one in judged],
        "task": [task],
        "bounds": runs.bounds,
    }


def compared(runs: pd.DataFrame) -> pd.DataFrame:
    """The runs that are compared, without the sweep of rates."""
    return runs[runs["role"] == "run"]


def skill_columns(runs: pd.DataFrame) -> list[str]:
    return [column for column in runs if column.startswith("skill ")]


def figures(tables: dict[str, pd.DataFrame]) -> dict[str, Figure]:
    """`forest`: differences from the reference; `tasks`: last answers by skill, and classification."""
    return {"forest": _forest(tables), "tasks": _tasks(tables)}


def _forest(tables: dict[str, pd.DataFrame]) -> Figure:
    table = tables["differences"]
    asked = table.iloc[0]
    losses = by_seed(tables["runs"], "variant", asked["compare"])
    unit = UNITS.get(asked["compare"], asked["compare"])
    return forest.draw(comparisons(table), losses, asked["reference"], asked["margin"], unit)


def _tasks(tables: dict[str, pd.DataFrame]) -> Figure:
    runs, task = compared(tables["runs"]), tables["task"].iloc[0]
    names = list(runs["variant"].unique())
    skills = skill_columns(runs)
    figure, (left, right) = new_figure(2, width=4.8, height=1.1 + 0.34 * len(names))
    styles, bounds = ordered_style(skills), tables["bounds"].set_index("skill")
    place = {name: row for row, name in enumerate(names)}
    for i, column in enumerate(skills):
        shift = 0.18 * (i - (len(skills) - 1) / 2)
        means = runs.groupby("variant")[column].mean()
        title = column.removeprefix("skill ")
        left.plot(runs[column], runs["variant"].map(place) + shift, ".", alpha=0.4, color=styles[column]["color"])
        left.plot(means, means.index.map(place) + shift, linestyle="", label=SKILL_TITLES[title], **styles[column])
        for bound, dashes in (("floor", ":"), ("Bayes", "--")):
            at = bounds.loc[title, bound]
            left.axvline(at, color=styles[column]["color"], linestyle=dashes, linewidth=1, alpha=0.7)
    left.set_xlabel("last answers that are right, share\n(dotted: without examples, dashed: Bayes optimum)")
    for i, (column, (label, style)) in enumerate(TOLD.items()):
        shift = 0.18 * (i - (len(TOLD) - 1) / 2)
        means = runs.groupby("variant")[column].mean()
        right.plot(runs[column], runs["variant"].map(place) + shift, ".", alpha=0.4, color=style["color"])
        right.plot(means, means.index.map(place) + shift, linestyle="", label=label, **style)
    right.axvline(task["majority"], color="black", linestyle=":", linewidth=1, label="largest class")
    right.axvline(
        task["single tokens"], color="black", linestyle="--", linewidth=1, label="naive Bayes of single tokens"
    )
    right.set_xlabel(f"windows told rightly after fine-tuning,\nof {task['classes']} classes, share")
    for axis in (left, right):
        axis.set_yticks(range(len(names)), names if axis is left else [""] * len(names))
        axis.set_ylim(len(names) - 0.4, -0.6)
        axis.legend(fontsize=7, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3 if axis is left else 2)
    return figure


def interval(share: float, n: int) -> str:
    """A share of n items with its Wilson interval."""
    low, high = wilson(share * n, n)
    return f"{share:.1%} ({low:.1%} to {high:.1%})"


def _main_table(tables: dict[str, pd.DataFrame]) -> str:
    """A row a variant: what its training took, its rate, and its verdict."""
    runs, table = compared(tables["runs"]), tables["differences"]
    compare_by = table["compare"].iloc[0]
    tried = tables["runs"].groupby("variant")["factor"].agg(["min", "max"])
    verdicts = {row["variant"]: row for _, row in table.iterrows()}
    lines = [
        f"| variant | trained on | parameters | tokens | training FLOPs | rate | {compare_by} "
        "| difference, 95 % interval, verdict |",
        "|---|" + "---|" * 7,
    ]
    for name, own in runs.groupby("variant", sort=False):
        row = own.mean(numeric_only=True)
        said = wording.verdict(verdicts[str(name)]) if name in verdicts else "reference"
        lines.append(
            f"| {name} | {own['trained on'].iloc[0]} | {row['parameters']:,.0f} | {row['tokens']:,.0f} | "
            f"{row['flops']:.3g} | {wording.chosen(row['factor'], *tried.loc[name])} | "
            f"{wording.mean(own[compare_by])} | {said} |"
        )
    return "\n".join(lines)


def _task_table(tables: dict[str, pd.DataFrame]) -> str:
    """A row a variant: answers by skill, and classification; below, between which bounds answers lie."""
    runs, task, bounds = compared(tables["runs"]), tables["task"].iloc[0], tables["bounds"].set_index("skill")
    skills = {column: column.removeprefix("skill ") for column in skill_columns(runs)}
    classes = [f"classes, {label}" for label, _ in TOLD.values()]
    heads = ["own loss", *(SKILL_TITLES[skill] for skill in skills.values()), *classes, "rate of fine-tuning"]
    lines = [f"| variant | {' | '.join(heads)} |", "|---|" + "---|" * len(heads)]
    for name, row in runs.groupby("variant", sort=False).mean(numeric_only=True).iterrows():
        shares = [f"{row[column]:.1%}" for column in skills]
        shares += [interval(row[column], task["test"]) for column in TOLD]
        shares.append(wording.chosen(row["tuning factor"], task["slowest"], task["fastest"]))
        lines.append(f"| {name} | {row['loss']:.3f} | {' | '.join(shares)} |")
    no_classes = "| " * (len(TOLD) + 1)
    for bound, what in (("floor", "*optimum without examples*"), ("Bayes", "*Bayes optimum*")):
        shares = [f"{bounds.loc[skill, bound]:.1%}" for skill in skills.values()]
        lines.append(f"| {what} | | {' | '.join(shares)} {no_classes}|")
    return "\n".join(lines)


def _edges(runs: pd.DataFrame, task: pd.Series) -> str:
    """A paragraph on rates of fine-tuning that lie at an edge of those tried; empty where none does."""
    means = runs.groupby("variant", sort=False).mean(numeric_only=True)
    found = [
        f"{name} ({TUNED[column]})"
        for column in TUNED
        for name, factor in means[column].items()
        if wording.at_edge(factor, task["slowest"], task["fastest"])
    ]
    return f"Rates of fine-tuning at an edge of those tried: {'; '.join(found)}.\n\n" if found else ""


def report(tables: dict[str, pd.DataFrame]) -> str:
    """What is said of both questions: verdicts, costs, answers, classification."""
    runs, table, task = compared(tables["runs"]), tables["differences"], tables["task"].iloc[0]
    asked, packages = table.iloc[0], task["names"].replace(" ", ", ")
    return f"""{wording.in_words(table, asked["reference"], asked["margin"])}

![Differences](forest.png)

Models of {task["size"]}, {asked["seeds"]} paired seeds; each variant at the best of its rates (times the study's),
chosen by suffix nats on another seed. Compared: {asked["compare"]}; margin {asked["margin"]:g}. Suffix nats: of the
second half of {task["rows"]} held-out rows of text, a token, each given all before it (the chain rule). Not every
objective is trained on suffixes: where it is not, some of its distance is that of a form it has not seen.

{_main_table(tables)}

**Tasks.** Last answers of {task["documents"]} held-out documents a skill, behind everything before them, free among
the whole vocabulary. Classes: which of {task["classes"]} packages a window of a file is from ({packages}),
after {task["steps"]} steps on {task["train"]} windows of fine-tuning all weights, or of a linear head alone on features
that stay as they are; with and without pretraining, each at the best of a few rates (times the study's) for another
seed and on windows of files that are neither trained on nor tested;
{task["test"]} windows of other files to tell, of which the largest class has {task["majority"]:.1%}; their 95 %
intervals (Wilson) are for the windows. The text of the files, though no label, may have come by in pretraining.

![Tasks](tasks.png)

{_task_table(tables)}

{_edges(runs, task)}{what_pretraining_does(runs, task["single tokens"])}

*Own loss* is each objective's on held-out text. It is of its own targets, and so compares with none of another
objective: `compare: loss` is refused. In rows of skills, targets are answers only, whatever the objective.
"""
