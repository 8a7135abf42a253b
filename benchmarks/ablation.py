"""What makes skills appear at laptop scale: the head, the share of skills, the loss on answers only, the token shift.

Each row takes one thing away from the default study, at one width, over several budgets and seeds; `text only` tells
what the skills cost in text loss. Needs the cleaned text and the rates of a run (results/laptop). Prints a table and
writes benchmarks/results/ablation.json and ablation.png beside it.
"""

import argparse
import json
import os
import tempfile
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from scalinglab import config
from scalinglab.config import Study, tokens_of
from scalinglab.evaluation.answers import answer, reference
from scalinglab.figures.style import SKILL_TITLES, new_figure, ordered_style, save
from scalinglab.files import read_json
from scalinglab.paths import Paths
from scalinglab.skills import skill
from scalinglab.stages import encode
from scalinglab.stages.pretraining import read_rate_law
from scalinglab.stages.short_runs import ShortRun
from scalinglab.training.schedule import branch_of, run_rates, steps_of

ROOT = Path(__file__).parent.parent
DOCUMENTS = 256
VARIANTS: dict[str, dict[str, dict[str, Any]]] = {
    "default": {},
    "faster embedding": {"training": {"embedding_rate": 0.4}},
    "slow embedding": {"training": {"embedding_rate": 0.0}},
    "tied head": {"model": {"tied_head": True}},  # with the rate of all else, as in "slow embedding"
    "no token shift": {"model": {"token_shift": False}},
    "loss on all tokens": {"mixture": {"skill_loss": "all"}},
    "30 % skills": {"mixture": {"skill_share": 0.3}},
    "text only": {"mixture": {"skill_share": 0.0}},
    "a quarter of the rate": {},
    "u-muP": {"model": {"parametrisation": "u-mup"}, "training": {"embedding_rate": 0.0}},
}
RATE = {"a quarter of the rate": 0.25}  # all rates times this; 1 where nothing stands
PEAK = {"u-muP": 2.0}  # instead of that of the study's law; tuned at one width (docs/theory/unit_scaling.md)


def variant_of(study: Study, name: str) -> Study:
    """The study with one thing changed."""
    changed = {section: replace(getattr(study, section), **values) for section, values in VARIANTS[name].items()}
    return replace(study, **changed)


def prepare(base: Study, name: str, folder: Path) -> None:
    """A folder with the base study's text and rates, and the variant's own mixture."""
    paths = Paths(base.study)
    for stage in ("clean", "tokenizer", "rates"):
        (folder / paths.root).mkdir(parents=True, exist_ok=True)
        (folder / paths.root / stage).symlink_to((ROOT / paths.root / stage).resolve())
    os.chdir(folder)
    encode.run(variant_of(base, name))


def measure(base: Study, name: str, seed: int, size: str, budgets: list[str], folder: Path) -> list[dict[str, Any]]:
    """Train one variant from one seed; a row for each budget."""
    os.chdir(folder)
    study = variant_of(base, name)
    peak = PEAK.get(name, read_rate_law(study).peak(size))
    offset = read_json(Paths(study.study).manifest)["skill_offset"]
    factor, training = RATE.get(name, 1.0), study.training
    one = ShortRun(study, f"{size}s{seed}", f"{name} s{seed}")
    rows = []
    for budget in budgets:
        last = steps_of(tokens_of(budget), training.batch_tokens)
        rates_of = run_rates(peak, last, training, factor)
        one.train(branch_of(last, training), rates_of)
        trunk = one.state()
        one.train(last, rates_of)
        row = {"variant": name, "seed": seed, "budget": budget, "text loss": one.held_out_loss()}
        for kind in map(skill, study.mixture.skills if study.mixture.skill_share else ()):
            documents = kind.documents("heldout", study.seed, 0, DOCUMENTS, study.mixture.seq_len + 1)
            answers, bayes = answer(one.model, kind, documents, offset, 64), reference(kind, documents)
            floor, top = bayes.blind_NA[:, -1].mean(), bayes.correct_NA[:, -1].mean()
            row[kind.name] = (answers.correct_NA[:, -1].mean() - floor) / (top - floor)
        rows.append(row)
        one.restore(trunk)
    return rows


def draw(table: pd.DataFrame, skills: list[str], target: Path) -> None:
    """Lines of the means over seeds, dots for each seed: progress of every skill, and text loss."""
    columns = [*skills, "text loss"]
    figure, axes = new_figure(len(columns), width=3.3, height=3.2)
    budgets = list(dict.fromkeys(table["budget"]))
    for axis, column in zip(axes, columns, strict=True):
        for variant, style in ordered_style(list(VARIANTS)).items():
            here = table[table["variant"] == variant].dropna(subset=[column])
            if not len(here):
                continue
            means = here.groupby("budget")[column].mean().reindex(budgets)
            axis.plot(range(len(budgets)), means, linewidth=1.2, markersize=5, label=variant, **style)
            places = [budgets.index(budget) for budget in here["budget"]]
            axis.plot(places, here[column], linestyle="none", marker=".", markersize=4, alpha=0.6, color=style["color"])
        axis.set_xticks(range(len(budgets)), budgets)
        axis.set_xlabel("training tokens of the mixture")
        axis.set_title(SKILL_TITLES.get(column, "Text"))
        axis.set_ylabel("nats a text token" if column == "text loss" else "from floor (0) to Bayes (1)")
    handles, names = axes[-1].get_legend_handles_labels()
    figure.legend(handles, names, fontsize=7, loc="outside upper center", ncols=len(VARIANTS))
    save(figure, target, 140)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--preset", default="laptop")
    parser.add_argument("--size", default="d64")
    parser.add_argument("--budgets", nargs="*", default=["400k", "800k", "1600k"])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument(
        "--only", choices=VARIANTS, nargs="*", help="measure these alone, and keep the rows of the others"
    )
    arguments = parser.parse_args()
    names, target = arguments.only or list(VARIANTS), Path(__file__).parent / "results/ablation.json"
    kept = json.loads(target.read_text()) if arguments.only else None
    if kept and (kept["size"], kept["seeds"]) != (arguments.size, arguments.seeds):
        parser.error(f"--only: the rows that stay are of {kept['size']} and {kept['seeds']} seeds; ask for these")
    base = config.load(ROOT / f"presets/{arguments.preset}.yaml")
    jobs = [(name, seed) for seed in range(arguments.seeds) for name in names]
    with tempfile.TemporaryDirectory() as scratch, ProcessPoolExecutor(arguments.workers) as pool:
        folders = {name: Path(scratch) / name.replace(" ", "-").replace("%", "percent") for name in names}
        list(pool.map(prepare, [base] * len(folders), folders, folders.values()))
        done = pool.map(
            measure,
            [base] * len(jobs),
            [name for name, _ in jobs],
            [seed for _, seed in jobs],
            [arguments.size] * len(jobs),
            [arguments.budgets] * len(jobs),
            [folders[name] for name, _ in jobs],
        )
        table = pd.DataFrame([row for rows in done for row in rows])
    if kept:
        before = pd.DataFrame(kept["table"])
        table = pd.concat([before[~before["variant"].isin(names)], table])
        table = table.sort_values("variant", key=lambda column: column.map(list(VARIANTS).index), kind="stable")
    skills = list(base.mixture.skill_names)
    means = table.groupby(["variant", "budget"], sort=False)[[*skills, "text loss"]].mean().round(3)
    print(means.to_string())
    record = {"size": arguments.size, "seeds": arguments.seeds, "table": table.round(4).to_dict("records")}
    target.write_text(json.dumps(record, indent=1).replace("NaN", "null") + "\n")
    draw(table, skills, target.with_suffix(".png"))


if __name__ == "__main__":
    main()
